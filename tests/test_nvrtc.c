/* test_nvrtc.c: finding, loading and calling NVRTC: the fake one for every way to fail, a real one where there is one. */
#define _GNU_SOURCE
#include "check.h"
#include "compile_log.h"
#include "nvrtc.h"
#include "temp_folder.h"

#define FAKE MJ_TEST_BUILD_DIR "/tests/libfake_nvrtc.so"

static mj_nvrtc *open_fake(const char *script)
{
    mj_nvrtc *nvrtc = NULL;
    mj_error error = {0};
    setenv("FAKE_NVRTC", script, 1);
    if (mj_nvrtc_open(FAKE, &nvrtc, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return nvrtc;
}

/* ---- Logs ---- */

TEST(first_error_of_a_log)
{
    static const struct {
        const char *log, *want;
    } rows[] = {
        {"", ""},
        {NULL, ""},
        {"moejit.cu(3): warning #177: unused\nmoejit.cu(7): error: identifier \"y\" is undefined\n1 error\n",
         "moejit.cu(7): error: identifier \"y\" is undefined"},
        {"<stdin>:1:2: warning: x\r\n<stdin>:9:1: error: expected ';'\r\n", "<stdin>:9:1: error: expected ';'"},
        {"\n\n  nothing of note\nmore\n", "nothing of note"},
        {"/usr/bin/ld: k.o: undefined reference to `f'\ncollect2: error: ld returned 1\n",
         "/usr/bin/ld: k.o: undefined reference to `f'"},
        {"tab\there: error: \x01x", "tab here: error:  x"},
    };
    char out[64];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mj_log_first_error(rows[i].log, out, sizeof out);
        CHECK_STRING(out, rows[i].want);
    }
    char tiny[8];
    mj_log_first_error("a very long error: line", tiny, sizeof tiny);
    CHECK_STRING(tiny, "a very ");
}

TEST(numbers_of_ptxas)
{
    mj_kernel_attributes a = {0};
    mj_log_ptxas_attributes("ptxas info    : Used 40 registers, used 1 barriers, 16 bytes smem\n"
                            "    32 bytes stack frame, 48 bytes spill stores, 44 bytes spill loads\n"
                            "ptxas info    : Used 168 registers, 380 bytes cmem[0]\n",
                            &a);
    CHECK_INT(a.regs_thread, 168);
    CHECK_INT(a.local_bytes, 48);
    CHECK_INT(a.static_smem_bytes, 16);
    mj_kernel_attributes none = {0};
    mj_log_ptxas_attributes(" registers\nno bytes stack frame", &none);
    CHECK_INT(none.regs_thread, 0);
    CHECK_INT(none.local_bytes, 0);
    mj_log_ptxas_attributes(NULL, &none);
}

TEST(lost_overlap)
{
    static const struct {
        const char *log, *want;
    } rows[] = {
        {NULL, ""},
        {"", ""},
        {"ptxas info    : Used 168 registers, used 16 barriers\n", ""},
        {"ptxas info    : (C7517) warpgroup.wait is injected in around line 45 by compiler\n"
         "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
         "insufficient register resources for the wgmma pipeline in the function 'k'\nptxas info    : 0 bytes gmem\n",
         "(C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register "
         "resources for the wgmma pipeline in the function 'k'"},
        {"ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine register count "
         "at entry.\r\nmore\n",
         "(C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine register count at entry."},
        {"a line\n'setmaxnreg' ignored to maintain minimum register requirement.\n(C1)\n",
         "'setmaxnreg' ignored to maintain minimum register requirement."},
    };
    char out[MJ_LOST_OVERLAP_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK(mj_log_lost_overlap(rows[i].log, out, sizeof out) == (rows[i].want[0] != '\0'));
        CHECK_STRING(out, rows[i].want);
    }
    char tiny[8];
    CHECK(mj_log_lost_overlap(rows[4].log, tiny, sizeof tiny));
    CHECK_STRING(tiny, "(C7508)");
}

/* ---- The fake ---- */

TEST(compiles)
{
    mj_nvrtc *nvrtc = open_fake("version=12.4");
    mj_compiled out;
    mj_error error = {0};
    CHECK(nvrtc);
    CHECK_CONTAINS(mj_nvrtc_identity(nvrtc), "nvrtc 12.4 (");
    CHECK_CONTAINS(mj_nvrtc_path(nvrtc), "libfake_nvrtc.so");
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_90a", "source", &out, &error), MJ_OK);
    CHECK_INT(memcmp(out.binary, "--gpu-architecture=sm_90a\n", 26), 0);
    CHECK(memmem(out.binary, out.binary_bytes, "-std=c++17\n-default-device\n", 27));
    CHECK(!memmem(out.binary, out.binary_bytes, "--no-cache", 10)); /* 12 does not know it */
    CHECK_INT(out.attributes.regs_thread, 77);
    CHECK_INT(out.attributes.local_bytes, 0);
    CHECK_INT(out.attributes.static_smem_bytes, 512);
    CHECK_CONTAINS(out.log, "ptxas info");
    mj_compiled_free(&out);
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_80", "SPILL", &out, &error), MJ_OK);
    CHECK_INT(out.attributes.local_bytes, 24);
    mj_compiled_free(&out);
    mj_nvrtc_close(nvrtc);
}

TEST(own_cache_is_off)
{
    mj_nvrtc *nvrtc = open_fake("version=13.0");
    mj_compiled out;
    CHECK(nvrtc);
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_90a", "source", &out, NULL), MJ_OK);
    CHECK(memmem(out.binary, out.binary_bytes, "--no-cache\n", 11));
    mj_compiled_free(&out);
    mj_nvrtc_close(nvrtc);
}

TEST(source_errors_are_one_line)
{
    mj_nvrtc *nvrtc = open_fake("");
    mj_compiled out;
    mj_error error = {0};
    CHECK(nvrtc);
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_90a", "a\nb\nBROKEN", &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "moejit.cu(3): error: BROKEN is undefined");
    CHECK(!strchr(error.text, '\n'));
    CHECK(out.binary == NULL && out.log == NULL);
    mj_nvrtc_close(nvrtc);
}

TEST(targets)
{
    mj_nvrtc *nvrtc = open_fake("archs=86");
    mj_compiled out;
    mj_error error = {0};
    CHECK(nvrtc);
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_90a", "x", &out, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "cannot compile for sm_90a; it knows sm_75 to sm_86");
    static const char *const bad[] = {"", "90a", "sm_", "sm_90 -DX", "compute_90", "sm_90ab;x", "sm_-80", "native"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(mj_nvrtc_compile(nvrtc, bad[i], "x", &out, &error), MJ_ERR_ARGUMENT);
    }
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, NULL, "x", &out, &error), MJ_ERR_ARGUMENT);
    mj_nvrtc_close(nvrtc);
}

TEST(single_failures)
{
    static const char *const scripts[] = {"create=5", "compile=11", "size=3", "cubin=2"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        mj_nvrtc *nvrtc = open_fake(scripts[i]);
        mj_compiled out;
        mj_error error = {0};
        CHECK(nvrtc);
        CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_80", "x", &out, &error), MJ_ERR_COMPILE);
        CHECK_CONTAINS(error.text, "nvrtc 13.0");
        CHECK(out.binary == NULL);
        mj_nvrtc_close(nvrtc);
    }
    setenv("FAKE_NVRTC", "version_result=1", 1);
    mj_nvrtc *nvrtc = NULL;
    mj_error error = {0};
    CHECK_STATUS(mj_nvrtc_open(FAKE, &nvrtc, &error), MJ_ERR_NO_COMPILER);
    CHECK(nvrtc == NULL);
    setenv("FAKE_NVRTC", "", 1);
}

/* ---- Finding ---- */

TEST(given_path_is_the_only_one)
{
    mj_nvrtc *nvrtc = NULL;
    mj_error error = {0};
    CHECK_STATUS(mj_nvrtc_open("/nonexistent/libnvrtc.so", &nvrtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "/nonexistent/libnvrtc.so");
    CHECK_STATUS(mj_nvrtc_open(temp_folder_make(), &nvrtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "no libnvrtc.so in that folder");
    setenv("MOEJIT_NVRTC", "/nonexistent/by-variable.so", 1);
    CHECK_STATUS(mj_nvrtc_open(NULL, &nvrtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "by-variable.so");
    CHECK_STATUS(mj_nvrtc_open(FAKE, &nvrtc, &error), MJ_OK); /* an argument goes before the variable */
    mj_nvrtc_close(nvrtc);
    unsetenv("MOEJIT_NVRTC");
    /* A library that is none. */
    CHECK_STATUS(mj_nvrtc_open(MJ_TEST_BUILD_DIR "/tests/libfake_cuda.so", &nvrtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "has no nvrtcVersion");
    mj_nvrtc_close(NULL);
}

static void place(const char *folder, const char *name)
{
    char command[1024], path[700], fake[1100];
    snprintf(path, sizeof path, "%s/%s", temp_folder, folder);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    snprintf(command, sizeof command, "%s/%s", path, name);
    snprintf(fake, sizeof fake, "%s/%s", check_build_dir(),
             FAKE); /* a link's target is not relative to where we work */
    if (symlink(fake, command) != 0) {
        check_fail(__FILE__, __LINE__, "%s", command);
    }
}

typedef struct found {
    char paths[32][700];
    int count;
} found;

static bool collect(void *user, const char *path)
{
    found *f = user;
    if (strncmp(path, temp_folder, strlen(temp_folder)) == 0 && f->count < 32) {
        snprintf(f->paths[f->count++], 700, "%s", path + strlen(temp_folder) + 1);
    }
    return true;
}

static bool stop_at_first(void *user, const char *path)
{
    (void)path;
    return ++*(int *)user < 1;
}

TEST(folders_in_order)
{
    char value[700];
    found f = {.count = 0};
    temp_folder_make();
    place("cuda/lib64", "libnvrtc.so.12");
    place("cuda/lib64", "libnvrtc.so.13");
    place("cuda/lib64", "libnvrtc.so");
    place("cuda/lib64", "libnvrtc.so.11.2");
    place("cuda/lib64", "libnvrtc.alt.so.13");
    place("cuda/lib64", "libnvrtc-builtins.so.13.0");
    place("venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib", "libnvrtc.so.12");
    place("venv/lib/python3.11/site-packages/nvidia/cu13/lib", "libnvrtc.so.13");
    place("home/.local/lib/python3.9/site-packages/nvidia/cuda_nvrtc/lib", "libnvrtc.so.11.2");
    place("python/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib", "libnvrtc.so.12");
    place("python/bin", "python3");
    snprintf(value, sizeof value, "%s/cuda", temp_folder), setenv("CUDA_HOME", value, 1);
    snprintf(value, sizeof value, "%s/venv", temp_folder), setenv("VIRTUAL_ENV", value, 1);
    snprintf(value, sizeof value, "%s/home", temp_folder), setenv("HOME", value, 1);
    snprintf(value, sizeof value, "/nowhere::%s/python/bin:/usr/bin", temp_folder), setenv("PATH", value, 1);
    mj_nvrtc_candidates(collect, &f);
    static const char *const want[] = {
        "cuda/lib64/libnvrtc.so.13",
        "cuda/lib64/libnvrtc.so.12",
        "cuda/lib64/libnvrtc.so.11.2",
        "cuda/lib64/libnvrtc.so",
        "venv/lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
        "venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "python/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "home/.local/lib/python3.9/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.11.2",
    };
    CHECK_INT(f.count, sizeof want / sizeof want[0]);
    for (int i = 0; i < f.count; i++) {
        CHECK_STRING(f.paths[i], want[i]);
    }
    int visits = 0;
    mj_nvrtc_candidates(stop_at_first, &visits);
    CHECK_INT(visits, 1);
    mj_nvrtc *nvrtc = NULL;
    CHECK_STATUS(mj_nvrtc_open(NULL, &nvrtc, NULL), MJ_OK);
    CHECK_CONTAINS(mj_nvrtc_identity(nvrtc), "nvrtc 13.0");
    mj_nvrtc_close(nvrtc);
    unsetenv("CUDA_HOME");
    unsetenv("VIRTUAL_ENV");
    temp_folder_remove();
}

TEST(patch_level_from_the_name)
{
    char path[700];
    mj_nvrtc *nvrtc = NULL;
    temp_folder_make();
    snprintf(path, sizeof path, "%s/libnvrtc.so.13.0.88", temp_folder);
    size_t bytes = 0;
    char *library = temp_read(FAKE, &bytes);
    CHECK(library);
    temp_write(path, library, bytes);
    free(library);
    CHECK_STATUS(mj_nvrtc_open(path, &nvrtc, NULL), MJ_OK);
    CHECK_STRING(mj_nvrtc_identity(nvrtc), "nvrtc 13.0.88");
    mj_nvrtc_close(nvrtc);
    temp_folder_remove();
}

/* ---- A real one ---- */

static const char real_source[] = "extern \"C\" __global__ void __launch_bounds__(128) k(float *p)\n"
                                  "{ extern __shared__ float s[]; s[threadIdx.x] = p[threadIdx.x]; __syncthreads(); "
                                  "p[threadIdx.x] = s[127 - threadIdx.x]; }\n";

TEST(real_nvrtc)
{
    mj_nvrtc *nvrtc = NULL;
    mj_compiled out;
    mj_error error = {0};
    const char *path = getenv("MOEJIT_NVRTC");
    if (!path || !*path) { /* tests/skips.txt goes by it: no NVRTC that was found by chance */
        SKIP("no NVRTC: MOEJIT_NVRTC");
    }
    CHECK_STATUS(mj_nvrtc_open(path, &nvrtc, &error), MJ_OK);
    static const char *const all[] = {"sm_80", "sm_90a"};
    for (size_t i = 0; i < 2; i++) {
        CHECK_STATUS(mj_nvrtc_compile(nvrtc, all[i], real_source, &out, &error), MJ_OK);
        CHECK(out.binary_bytes > 500 && memcmp(out.binary, "\177ELF", 4) == 0);
        CHECK(out.attributes.regs_thread > 4 && out.attributes.regs_thread < 64);
        CHECK_INT(out.attributes.local_bytes, 0);
        CHECK(out.compile_seconds > 0 && out.compile_seconds < 60);
        mj_compiled_free(&out);
    }
    char lost[MJ_LOST_OVERLAP_MAX]; /* a kernel that does not say how many threads it has */
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_90a",
                                  "extern \"C\" __global__ void k() { asm volatile(\"setmaxnreg.inc.sync.aligned.u32 "
                                  "232;\"); }",
                                  &out, &error),
                 MJ_OK);
    CHECK(mj_log_lost_overlap(out.log, lost, sizeof lost));
    CHECK_CONTAINS(lost, "'setmaxnreg' ignored");
    mj_compiled_free(&out);
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_80", "__global__ void f() { int x = undefined_name; }", &out, &error),
                 MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "undefined_name");
    CHECK_STATUS(mj_nvrtc_compile(nvrtc, "sm_20", real_source, &out, &error), MJ_ERR_UNSUPPORTED);
    mj_nvrtc_close(nvrtc);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(real_nvrtc); /* before the others change the environment */
    unsetenv("MOEJIT_NVRTC");
    RUN(first_error_of_a_log);
    RUN(numbers_of_ptxas);
    RUN(lost_overlap);
    RUN(compiles);
    RUN(own_cache_is_off);
    RUN(source_errors_are_one_line);
    RUN(targets);
    RUN(single_failures);
    RUN(given_path_is_the_only_one);
    RUN(folders_in_order);
    RUN(patch_level_from_the_name);
    temp_folder_remove();
    return CHECK_END();
}
