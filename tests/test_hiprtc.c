/* test_hiprtc.c: finding hipRTC and calling it in its own process: the fake one for every way to fail, and to die; real ones
 * where they are. */
#define _GNU_SOURCE
#include "check.h"
#include "code_object.h"
#include "hiprtc.h"
#include "hiprtc_targets.h"
#include "temp_folder.h"

#include <dlfcn.h>
#include <sys/auxv.h>

#define FAKE MJ_TEST_BUILD_DIR "/tests/libfake_hiprtc.so"

static char real_path[1024], real_old_path[1024];

static mj_hiprtc *open_fake(const char *script)
{
    mj_hiprtc *hiprtc = NULL;
    mj_error error = {0};
    setenv("FAKE_HIPRTC", script, 1);
    if (mj_hiprtc_open(FAKE, &hiprtc, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return hiprtc;
}

static mj_status compile(const mj_hiprtc *hiprtc, const char *target, const char *source, mj_compiled *out,
                         mj_error *error)
{
    return mj_hiprtc_compile(hiprtc, target, source, strlen(source), out, error);
}

/* ---- The fake ---- */

TEST(compiles)
{
    mj_hiprtc *hiprtc = open_fake("");
    mj_compiled out;
    mj_code_object object;
    mj_error error = {0};
    CHECK(hiprtc);
    CHECK_CONTAINS(mj_hiprtc_path(hiprtc), "libfake_hiprtc.so");
    CHECK_STATUS(compile(hiprtc, "gfx942", "source", &out, &error), MJ_OK);
    CHECK_STATUS(mj_code_object_read(out.binary, out.binary_bytes, &object, &error), MJ_OK);
    CHECK_STRING(object.target, "gfx942");
    CHECK_CONTAINS(out.log, "--offload-arch=gfx942\n-O3\n-std=c++17\n");
    CHECK_CONTAINS(out.log, "moejit-hiprtc\ncache 0\n"); /* not in this process, and no cache in the home */
    CHECK_INT(out.attributes.regs_thread, 77);
    CHECK_INT(out.attributes.local_bytes, 0);
    CHECK_INT(out.attributes.static_smem_bytes, 512);
    CHECK_INT(out.attributes.threads_block_max, 1024);
    mj_compiled_free(&out);
    CHECK_STATUS(compile(hiprtc, "gfx1100", "SPILL", &out, &error), MJ_OK);
    CHECK_CONTAINS(out.log, "--offload-arch=gfx1100\n");
    CHECK_INT(out.attributes.local_bytes, 24);
    mj_compiled_free(&out);
    mj_hiprtc_close(hiprtc);
}

/* The library's folder first, and never the current one, which an empty element stands for. */
TEST(where_the_loader_looks)
{
    static const struct {
        const char *inherited, *more;
    } rows[] = {{NULL, ""}, {"", ""}, {"/nonexistent/a:/nonexistent/b", ":/nonexistent/a:/nonexistent/b"}};
    char *before = getenv("LD_LIBRARY_PATH") ? strdup(getenv("LD_LIBRARY_PATH")) : NULL;
    mj_hiprtc *hiprtc = open_fake("");
    CHECK(hiprtc);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mj_compiled out;
        mj_error error = {0};
        char want[1200];
        const char *path = mj_hiprtc_path(hiprtc);
        snprintf(want, sizeof want, "search %.*s%s\n", (int)(strrchr(path, '/') - path), path, rows[i].more);
        unsetenv("LD_LIBRARY_PATH");
        if (rows[i].inherited) {
            setenv("LD_LIBRARY_PATH", rows[i].inherited, 1);
        }
        CHECK_STATUS(compile(hiprtc, "gfx942", "source", &out, &error), MJ_OK);
        CHECK_CONTAINS(out.log, want);
        mj_compiled_free(&out);
    }
    unsetenv("LD_LIBRARY_PATH");
    if (before) {
        setenv("LD_LIBRARY_PATH", before, 1);
    }
    free(before);
    mj_hiprtc_close(hiprtc);
}

TEST(source_errors_are_one_line)
{
    mj_hiprtc *hiprtc = open_fake("");
    mj_compiled out;
    mj_error error = {0};
    CHECK(hiprtc);
    CHECK_STATUS(compile(hiprtc, "gfx942", "a\nb\nBROKEN", &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "moejit.hip:3:5: error: BROKEN is undefined");
    CHECK(!strchr(error.text, '\n'));
    CHECK(out.binary == NULL && out.log == NULL);
    mj_hiprtc_close(hiprtc);
}

TEST(its_death_is_an_error_like_another)
{
    mj_hiprtc *hiprtc = open_fake("abort_on=POISON");
    mj_compiled out;
    mj_error error = {0};
    CHECK(hiprtc);
    CHECK_STATUS(compile(hiprtc, "gfx942", "POISON", &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "crashed (signal 6) on code for gfx942: LLVM ERROR: Cannot select");
    CHECK(out.binary == NULL && out.log == NULL);
    CHECK_STATUS(compile(hiprtc, "gfx942", "harmless", &out, &error), MJ_OK);
    mj_compiled_free(&out);
    mj_hiprtc_close(hiprtc);
}

TEST(targets)
{
    mj_hiprtc *hiprtc = open_fake("targets=gfx90a,gfx1030");
    mj_compiled out;
    mj_error error = {0};
    CHECK(hiprtc);
    CHECK_STATUS(compile(hiprtc, "gfx942", "x", &out, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "cannot compile for gfx942: it does not know this target");
    CHECK_STATUS(mj_hiprtc_try_target(hiprtc, "gfx942", &error), MJ_ERR_UNSUPPORTED);
    CHECK_STATUS(mj_hiprtc_try_target(hiprtc, "gfx90a", &error), MJ_OK);
    static const char *const bad[] = {
        "",        "90a",    "gfx",           "sm_90a", "gfx942 -DX", "gfx942:", "gfx942:xnack",
        "gfx942:", "native", "gfx942;gfx90a", "GFX942"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(compile(hiprtc, bad[i], "x", &out, &error), MJ_ERR_ARGUMENT);
    }
    CHECK_STATUS(compile(hiprtc, NULL, "x", &out, &error), MJ_ERR_ARGUMENT);
    mj_hiprtc_close(hiprtc);
}

/* Each target is tried once per compiler. */
TEST(targets_are_tried_once)
{
    static const char *const wanted[] = {"gfx90a", "gfx942", "gfx1100"};
    bool can[3] = {false};
    mj_error error = {0};
    mj_hiprtc *hiprtc = open_fake("targets=gfx90a,gfx1100");
    CHECK(hiprtc);
    temp_folder_make();
    CHECK_STATUS(mj_hiprtc_targets(temp_path("cache"), hiprtc, wanted, 3, can, &error), MJ_OK);
    CHECK(can[0] && !can[1] && can[2]);
    setenv("FAKE_HIPRTC", "targets=gfx942", 1); /* would say otherwise, if it were asked */
    memset(can, 0, sizeof can);
    CHECK_STATUS(mj_hiprtc_targets(temp_path("cache"), hiprtc, wanted, 3, can, &error), MJ_OK);
    CHECK(can[0] && !can[1] && can[2]);
    CHECK_STATUS(mj_hiprtc_targets("", hiprtc, wanted, 3, can, &error), MJ_OK);
    CHECK(!can[0] && can[1] && !can[2]);
    char *text = temp_read(temp_path("cache/hiprtc-targets.json"), NULL);
    char *digit = text ? strstr(text, mj_hiprtc_identity(hiprtc)) : NULL;
    CHECK(digit);
    digit[strlen(mj_hiprtc_identity(hiprtc)) - 1] ^= 1; /* another compiler's answers are none of this one's */
    temp_write(temp_path("cache/hiprtc-targets.json"), text, strlen(text));
    free(text);
    CHECK_STATUS(mj_hiprtc_targets(temp_path("cache"), hiprtc, wanted, 3, can, &error), MJ_OK);
    CHECK(!can[0] && can[1] && !can[2]);
    temp_write(temp_path("cache/hiprtc-targets.json"), "{ damaged", 9);
    CHECK_STATUS(mj_hiprtc_targets(temp_path("cache"), hiprtc, wanted, 3, can, &error), MJ_OK);
    CHECK(!can[0] && can[1] && !can[2]);
    mj_hiprtc_close(hiprtc);
}

TEST(single_failures)
{
    static const struct {
        const char *script, *source;
        mj_status status;
        const char *text;
    } rows[] = {
        {"create=5", "x", MJ_ERR_COMPILE, "HIPRTC_ERROR_FAKE"},
        {"compile=9", "x", MJ_ERR_COMPILE, "HIPRTC_ERROR_FAKE"}, /* its log has no error */
        {"size=3", "x", MJ_ERR_COMPILE, "made no code object"},
        {"code=2", "x", MJ_ERR_COMPILE, "HIPRTC_ERROR_FAKE"},
        {"", "DAMAGED", MJ_ERR_FORMAT, "code object"},
        {"", "OTHER", MJ_ERR_COMPILE, "made code for gfx1100, not for gfx942"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mj_hiprtc *hiprtc = open_fake("");
        mj_compiled out;
        mj_error error = {0};
        CHECK(hiprtc);
        setenv("FAKE_HIPRTC", rows[i].script, 1);
        CHECK_STATUS(compile(hiprtc, "gfx942", rows[i].source, &out, &error), rows[i].status);
        CHECK_CONTAINS(error.text, rows[i].text);
        CHECK(out.binary == NULL);
        mj_hiprtc_close(hiprtc);
    }
    setenv("FAKE_HIPRTC", "", 1);
}

TEST(no_room_for_files)
{
    mj_hiprtc *hiprtc = open_fake("");
    mj_compiled out;
    mj_error error = {0};
    const char *kept = getenv("TMPDIR");
    char *copy = kept ? strdup(kept) : NULL;
    CHECK(hiprtc);
    setenv("TMPDIR", "/nonexistent/folder", 1);
    mj_status status = compile(hiprtc, "gfx942", "x", &out, &error);
    copy ? setenv("TMPDIR", copy, 1) : unsetenv("TMPDIR");
    free(copy);
    mj_hiprtc_close(hiprtc);
    CHECK_STATUS(status, MJ_ERR_IO);
    CHECK_CONTAINS(error.text, "/nonexistent/folder");
}

/* ---- Finding ---- */

TEST(given_path_is_the_only_one)
{
    mj_hiprtc *hiprtc = NULL;
    mj_error error = {0};
    CHECK_STATUS(mj_hiprtc_open("/nonexistent/libhiprtc.so", &hiprtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "/nonexistent/libhiprtc.so");
    CHECK_STATUS(mj_hiprtc_open(temp_folder_make(), &hiprtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "no libhiprtc.so or libamdhip64.so in that folder");
    setenv("MOEJIT_HIPRTC", "/nonexistent/by-variable.so", 1);
    CHECK_STATUS(mj_hiprtc_open(NULL, &hiprtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "by-variable.so");
    CHECK_STATUS(mj_hiprtc_open(FAKE, &hiprtc, &error), MJ_OK); /* an argument goes before the variable */
    mj_hiprtc_close(hiprtc);
    unsetenv("MOEJIT_HIPRTC");
    /* A library that is none: the HIP runtime of ROCm 6 and later. */
    CHECK_STATUS(mj_hiprtc_open(MJ_TEST_BUILD_DIR "/tests/libfake_hip.so", &hiprtc, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "holds no hipRTC");
    mj_hiprtc_close(NULL);
}

/* The fake library as <temp>/<folder>/<name>. */
static void place(const char *folder, const char *name)
{
    char command[2048];
    snprintf(command, sizeof command, "mkdir -p '%s/%s' && cp " FAKE " '%s/%s/%s'", temp_folder, folder, temp_folder,
             folder, name);
    if (system(command) != 0) {
        check_fail(__FILE__, __LINE__, "%s", command);
    }
}

static void expect_from(const char *given, const char *tail)
{
    mj_hiprtc *hiprtc = NULL;
    mj_error error = {0};
    if (mj_hiprtc_open(given, &hiprtc, &error) != MJ_OK || !strstr(mj_hiprtc_path(hiprtc), tail)) {
        check_fail(__FILE__, __LINE__, "%s", hiprtc ? mj_hiprtc_path(hiprtc) : error.text);
    }
    mj_hiprtc_close(hiprtc);
}

TEST(folders_in_order)
{
    temp_folder_make();
    place("rocm/lib", "libamdhip64.so.5");
    setenv("ROCM_PATH", temp_path("rocm"), 1);
    expect_from(NULL, "/rocm/lib/libamdhip64.so.5");
    place("rocm/lib", "libhiprtc.so.5");
    place("rocm/lib", "libhiprtc.so.6");
    expect_from(NULL, "/rocm/lib/libhiprtc.so.6"); /* the one with the compiler alone, and the newest */
    place("hip/lib", "libhiprtc.so.7");
    setenv("HIP_PATH", temp_path("hip"), 1);
    expect_from(NULL, "/rocm/lib/libhiprtc.so.6");
    setenv("ROCM_PATH", "/nonexistent", 1);
    expect_from(NULL, "/hip/lib/libhiprtc.so.7");
    temp_write(temp_path("hip/lib/libhiprtc.so.8"), "no library", 10); /* what does not work is passed over */
    expect_from(NULL, "/hip/lib/libhiprtc.so.7");
    expect_from(temp_path("hip"), "/hip/lib/libhiprtc.so.7");
    expect_from(temp_path("hip/lib"), "/hip/lib/libhiprtc.so.7");
    place("root/usr/lib/x86_64-linux-gnu", "libhiprtc.so.6");
    expect_from(temp_path("root"), "/usr/lib/x86_64-linux-gnu/libhiprtc.so.6");
    unsetenv("ROCM_PATH");
    unsetenv("HIP_PATH");
}

TEST(version_from_the_name)
{
    mj_hiprtc *hiprtc = NULL;
    mj_error error = {0};
    char first[128];
    temp_folder_make();
    place("lib", "libhiprtc.so.6.4.43484");
    CHECK_INT(symlink("libhiprtc.so.6.4.43484", temp_path("lib/libhiprtc.so.6")), 0);
    place("lib", "libamd_comgr.so.3"); /* what compiles is a part of the identity */
    CHECK_STATUS(mj_hiprtc_open(temp_path("lib"), &hiprtc, &error), MJ_OK);
    snprintf(first, sizeof first, "%s", mj_hiprtc_identity(hiprtc));
    mj_hiprtc_close(hiprtc);
    CHECK_CONTAINS(first, "hiprtc 6.4.43484 comgr 3 ");
    CHECK_STATUS(mj_hiprtc_open(temp_path("lib"), &hiprtc, &error), MJ_OK);
    CHECK_STRING(mj_hiprtc_identity(hiprtc), first);
    mj_hiprtc_close(hiprtc);
    FILE *comgr = fopen(temp_path("lib/libamd_comgr.so.3"), "ab"); /* another build of the same version */
    CHECK(comgr);
    fputc(0, comgr);
    fclose(comgr);
    CHECK_STATUS(mj_hiprtc_open(temp_path("lib"), &hiprtc, &error), MJ_OK);
    CHECK(strcmp(mj_hiprtc_identity(hiprtc), first) != 0);
    mj_hiprtc_close(hiprtc);
}

/* A library that brings a C library of its own runs with that one's loader: here the machine's own, copied. */
TEST(own_loader)
{
    mj_hiprtc *hiprtc = NULL;
    mj_compiled out;
    mj_error error = {0};
    Dl_info loader;
    char command[2048];
    CHECK(dladdr((void *)getauxval(AT_BASE), &loader) && strstr(loader.dli_fname, "/ld-linux"));
    temp_folder_make();
    place("root/usr/lib/any-linux-gnu", "libhiprtc.so.6");
    snprintf(command, sizeof command, "cp -L '%s' '%s/root/usr/lib/any-linux-gnu/'", loader.dli_fname, temp_folder);
    CHECK_INT(system(command), 0);
    CHECK_STATUS(mj_hiprtc_open(temp_path("root"), &hiprtc, &error), MJ_OK);
    CHECK_STATUS(compile(hiprtc, "gfx942", "x", &out, &error), MJ_OK);
    CHECK_CONTAINS(out.log, "/root/usr/lib/any-linux-gnu/ld-linux");
    mj_compiled_free(&out);
    mj_hiprtc_close(hiprtc);
    /* Without one the library's companions are looked for beside it. */
    place("plain", "libhiprtc.so.6");
    CHECK_STATUS(mj_hiprtc_open(temp_path("plain"), &hiprtc, &error), MJ_OK);
    CHECK_STATUS(compile(hiprtc, "gfx942", "x", &out, &error), MJ_OK);
    CHECK_CONTAINS(out.log, "moejit-hiprtc\n");
    CHECK_CONTAINS(out.log, "/plain");
    mj_compiled_free(&out);
    mj_hiprtc_close(hiprtc);
}

/* ---- Real ones ---- */

static const char source[] = "extern \"C\" __global__ __launch_bounds__(256) void k(float *out, int n)\n"
                             "{\n"
                             "    __shared__ float tile[1024];\n"
                             "    tile[threadIdx.x] = out[threadIdx.x];\n"
                             "    __syncthreads();\n"
                             "    out[threadIdx.x] = tile[(threadIdx.x + n) & 1023];\n"
                             "}\n";

static void check_real(const mj_hiprtc *hiprtc, const char *target)
{
    mj_compiled out;
    mj_error error = {0};
    if (compile(hiprtc, target, source, &out, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        return;
    }
    if (out.attributes.static_smem_bytes != 4096 || out.attributes.local_bytes != 0 ||
        out.attributes.regs_thread == 0 || out.attributes.threads_block_max != 256) {
        check_fail(__FILE__, __LINE__, "%s: %u registers, %u bytes of LDS, %u of scratch, %u threads", target,
                   out.attributes.regs_thread, out.attributes.static_smem_bytes, out.attributes.local_bytes,
                   out.attributes.threads_block_max);
    }
    mj_compiled_free(&out);
}

TEST(real_hiprtc)
{
    static const char *const targets[] = {"gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1151", "gfx1200", "gfx1201"};
    mj_hiprtc *hiprtc = NULL;
    mj_compiled out;
    mj_error error = {0};
    if (!real_path[0]) {
        SKIP("no hipRTC: tests/setup_hiprtc.sh and MOEJIT_HIPRTC");
    }
    CHECK_STATUS(mj_hiprtc_open(real_path, &hiprtc, &error), MJ_OK);
    CHECK_CONTAINS(mj_hiprtc_identity(hiprtc), "comgr");
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        check_real(hiprtc, targets[i]);
    }
    CHECK_STATUS(compile(hiprtc, "gfx942", "int x = y;", &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "undeclared identifier 'y'");
    CHECK_STATUS(compile(hiprtc, "gfx9999", source, &out, &error), MJ_ERR_UNSUPPORTED);
    mj_hiprtc_close(hiprtc);
}

/* An intrinsic that a target lacks ends this compiler, and nothing else. */
TEST(real_hiprtc_dies)
{
    static const char wrong[] = "typedef int v4 __attribute__((ext_vector_type(4)));\n"
                                "extern \"C\" __global__ void k(v4 *out)\n"
                                "{\n"
                                "    *out = __builtin_amdgcn_mfma_i32_16x16x16i8(1, 2, *out, 0, 0, 0);\n"
                                "}\n";
    mj_hiprtc *hiprtc = NULL;
    mj_compiled out;
    mj_error error = {0};
    if (!real_path[0]) {
        SKIP("no hipRTC: tests/setup_hiprtc.sh and MOEJIT_HIPRTC");
    }
    CHECK_STATUS(mj_hiprtc_open(real_path, &hiprtc, &error), MJ_OK);
    CHECK_STATUS(compile(hiprtc, "gfx90a", wrong, &out, &error), MJ_OK);
    mj_compiled_free(&out);
    CHECK_STATUS(compile(hiprtc, "gfx942", wrong, &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "crashed");
    mj_hiprtc_close(hiprtc);
}

/* The older one, where hipRTC is a part of the runtime: knows gfx90a, ends on gfx942. */
TEST(real_older_hiprtc)
{
    mj_hiprtc *hiprtc = NULL;
    mj_error error = {0};
    if (!real_old_path[0]) {
        SKIP("no hipRTC: tests/setup_hiprtc.sh and MOEJIT_TEST_HIPRTC");
    }
    CHECK_STATUS(mj_hiprtc_open(real_old_path, &hiprtc, &error), MJ_OK);
    check_real(hiprtc, "gfx90a");
    CHECK_STATUS(mj_hiprtc_try_target(hiprtc, "gfx9999", &error), MJ_ERR_UNSUPPORTED);
    mj_hiprtc_close(hiprtc);
}

int main(int argc, char **argv)
{
    const char *real = getenv("MOEJIT_HIPRTC"), *old = getenv("MOEJIT_TEST_HIPRTC");
    CHECK_BEGIN(argc, argv);
    snprintf(real_path, sizeof real_path, "%s", real ? real : "");
    snprintf(real_old_path, sizeof real_old_path, "%s", old ? old : "");
    unsetenv("MOEJIT_HIPRTC"); /* the cases see only what they set */
    unsetenv("ROCM_PATH");
    unsetenv("HIP_PATH");
    RUN(compiles);
    RUN(where_the_loader_looks);
    RUN(source_errors_are_one_line);
    RUN(its_death_is_an_error_like_another);
    RUN(targets);
    RUN(targets_are_tried_once);
    RUN(single_failures);
    RUN(no_room_for_files);
    RUN(given_path_is_the_only_one);
    RUN(folders_in_order);
    RUN(version_from_the_name);
    RUN(own_loader);
    RUN(real_hiprtc);
    RUN(real_hiprtc_dies);
    RUN(real_older_hiprtc);
    temp_folder_remove();
    return CHECK_END();
}
