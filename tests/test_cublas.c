/* test_cublas.c: the vendor's dense products, by scripted libraries: which of them are loaded, what they are told, what they refuse. */
#define _GNU_SOURCE
#include "cuda_fixture.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_CUBLAS MJ_TEST_BUILD_DIR "/tests/libfake_cublas.so"

/* A toolkit's folder with the fake libraries under the vendor's names; `names` NULL-terminated. */
static void make_toolkit(char folder[256], const char *const *names)
{
    char path[600], target[PATH_MAX];
    snprintf(folder, 256, "/tmp/moejit-toolkit-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/lib64", folder);
    CHECK_INT(mkdir(path, 0700), 0);
    for (; *names; names++) {
        bool is_nvrtc = strstr(*names, "nvrtc");
        CHECK(realpath(is_nvrtc ? FAKE_NVRTC : FAKE_CUBLAS, target));
        snprintf(path, sizeof path, "%s/lib64/%s", folder, *names);
        CHECK_INT(symlink(target, path), 0);
    }
    setenv("CUDA_HOME", folder, 1);
}

static void remove_toolkit(const char *folder, const char *const *names)
{
    char path[600];
    for (; *names; names++) {
        snprintf(path, sizeof path, "%s/lib64/%s", folder, *names);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/lib64", folder);
    rmdir(path);
    rmdir(folder);
    unsetenv("CUDA_HOME");
}

static mj_status multiply(fixture *f, const char *format, uint32_t n)
{
    static _Alignas(16) char a[16], b[16], c[16];
    f->error.text[0] = '\0';
    return cuda->dense_product(f->device, format, n, a, b, c, NULL, &f->error);
}

TEST(dense_products_of_the_vendor)
{
    static const char *const names[] = {"libnvrtc.so.13", "libcublas.so.13", "libcublasLt.so.13", NULL};
    fixture f;
    char folder[256];
    make_toolkit(folder, names);
    void *library = dlopen(FAKE_CUBLAS, RTLD_NOW);
    long (*count)(const char *) = (long (*)(const char *))dlsym(library, "fake_cublas_count");
    open_device(&f);
    CHECK_STATUS(multiply(&f, "bf16", 8192), MJ_OK);
    CHECK_STATUS(multiply(&f, "f16", 128), MJ_OK);
    CHECK_INT(count("gemm"), 2);
    CHECK_STATUS(multiply(&f, "e4m3", 8192), MJ_OK);
    CHECK_STATUS(multiply(&f, "e4m3", 8192), MJ_OK);
    CHECK_STATUS(multiply(&f, "e4m3", 4096), MJ_OK); /* other layouts */
    CHECK_INT(count("e4m3"), 3);
    setenv("FAKE_CUBLAS", "matmul=13 gemm=14", 1);
    CHECK_STATUS(multiply(&f, "e4m3", 4096), MJ_ERR_DEVICE);
    CHECK_CONTAINS(f.error.text, "code 13");
    CHECK_STATUS(multiply(&f, "bf16", 4096), MJ_ERR_DEVICE);
    unsetenv("FAKE_CUBLAS");
    CHECK_STATUS(multiply(&f, "e4m3fnuz", 4096), MJ_ERR_UNSUPPORTED);
    CHECK_STATUS(multiply(&f, "bf16", 0), MJ_ERR_ARGUMENT);
    close_all(&f);
    CHECK_INT(count("live"), 0);
    CHECK_INT(fake_count("live"), 0);
    CHECK_INT(fake_count("pushed"), 0);
    /* A device without fp8, one where nothing starts, one without memory for the library. */
    static const struct {
        const char *cublas, *cuda, *text;
        mj_status status;
    } bad[] = {{"found=0", "", "no product in e4m3 for this device", MJ_ERR_UNSUPPORTED},
               {"create=1", "", "does not start", MJ_ERR_UNSUPPORTED},
               {"", "free_mib=16", "", MJ_ERR_DEVICE_MEMORY}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        open_device(&f);
        fake_script(bad[i].cuda);
        setenv("FAKE_CUBLAS", bad[i].cublas, 1);
        CHECK_STATUS(multiply(&f, "e4m3", 8192), bad[i].status);
        CHECK_CONTAINS(f.error.text, bad[i].text);
        unsetenv("FAKE_CUBLAS");
        close_all(&f);
        CHECK_INT(count("live"), 0);
        CHECK_INT(fake_count("live"), 0);
    }
    dlclose(library);
    remove_toolkit(folder, names);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    void *library = open_fake_driver();
    if (!library) {
        return 2;
    }
    RUN(dense_products_of_the_vendor);
    dlclose(library);
    return CHECK_END();
}
