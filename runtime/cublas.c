/* cublas.c: see cublas.h. Types and numbers as in cublas_api.h and library_types.h of CUDA 11 to 13. */
#define _GNU_SOURCE
#include "cublas.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPERATION_NONE = 0,
    OPERATION_TRANSPOSE = 1,
    TYPE_F16 = 2,
    TYPE_BF16 = 14,
    COMPUTE_F32 = 68,
    ALGORITHM_DEFAULT = -1,
};

struct mj_cublas {
    void *library, *handle;
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, void *stream);
    int (*gemm)(void *handle, int trans_a, int trans_b, int m, int n, int k, const void *alpha, const void *a,
                int a_type, int lda, const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc,
                int compute, int algorithm);
};

/* ---- Finding ---- */

static bool open_match(const char *pattern, void **library)
{
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = found.gl_pathc; i-- > 0 && !*library;) { /* the highest version last */
            *library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
        }
    }
    globfree(&found);
    return *library != NULL;
}

typedef struct search {
    const char *stem; /* "libcublas" */
    void *library;
} search;

/* Toolkits and the CUDA 13 packages keep the libraries in one folder, older packages in sister folders. */
static bool look_beside(void *user, const char *nvrtc_path)
{
    static const char *const places[] = {"", "../../cublas/lib/"};
    search *s = user;
    const char *slash = strrchr(nvrtc_path, '/');
    char pattern[PATH_MAX];
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
        int length = snprintf(pattern, sizeof pattern, "%.*s/%s%s.so.[0-9]*", (int)(slash - nvrtc_path), nvrtc_path,
                              places[i], s->stem);
        if (length > 0 && (size_t)length < sizeof pattern && open_match(pattern, &s->library)) {
            return false; /* found: look no further */
        }
    }
    return true;
}

void *mj_cublas_library(const char *stem)
{
    search s = {.stem = stem};
    mj_nvrtc_candidates(look_beside, &s);
    for (int version = 13; !s.library && version >= 11; version--) {
        char name[64];
        snprintf(name, sizeof name, "%s.so.%d", stem, version);
        s.library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    return s.library;
}

static bool load_functions(mj_cublas *cublas)
{
    const struct {
        const char *name;
        void **slot;
    } functions[] = {
        {"cublasCreate_v2", (void **)&cublas->create},
        {"cublasDestroy_v2", (void **)&cublas->destroy},
        {"cublasSetStream_v2", (void **)&cublas->set_stream},
        {"cublasGemmEx", (void **)&cublas->gemm},
    };
    bool whole = true;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        *functions[i].slot = dlsym(cublas->library, functions[i].name);
        whole = whole && *functions[i].slot;
    }
    return whole;
}

void mj_cublas_close(mj_cublas *cublas)
{
    if (!cublas) {
        return;
    }
    if (cublas->handle) {
        cublas->destroy(cublas->handle);
    }
    if (cublas->library) {
        dlclose(cublas->library);
    }
    free(cublas);
}

static mj_status open_cublas(mj_cublas **out, mj_error *error)
{
    mj_cublas *cublas = calloc(1, sizeof *cublas);
    if (!cublas) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for cuBLAS's functions");
    }
    cublas->library = mj_cublas_library("libcublas");
    if (!cublas->library || !load_functions(cublas) || cublas->create(&cublas->handle) != 0) {
        bool was_found = cublas->library != NULL;
        mj_cublas_close(cublas);
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "cuBLAS %s",
                       was_found ? "does not start on this device" : "is not installed");
    }
    *out = cublas;
    return MJ_OK;
}

/* ---- The product ---- */

static mj_status multiply(mj_cuda_device *device, int type, int n, const void *a, const void *b, void *c, void *stream,
                          mj_error *error)
{
    const float one = 1.0f, zero = 0.0f;
    mj_status status = device->cublas ? MJ_OK : open_cublas(&device->cublas, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_cublas *cublas = device->cublas;
    int code = cublas->set_stream(cublas->handle, stream);
    if (code == 0) {
        code = cublas->gemm(cublas->handle, OPERATION_TRANSPOSE, OPERATION_NONE, n, n, n, &one, a, type, n, b, type, n,
                            &zero, c, type, n, COMPUTE_F32, ALGORITHM_DEFAULT);
    }
    return code == 0 ? MJ_OK : mj_fail(error, MJ_ERR_DEVICE, "cuBLAS refuses a dense product: code %d", code);
}

mj_status mj_cuda_dense_product(void *opaque, const char *format, uint32_t n, const void *a, const void *b, void *c,
                                void *stream, mj_error *error)
{
    mj_cuda_device *device = opaque;
    cu_context popped = NULL;
    bool is_bf16 = strcmp(format, "bf16") == 0, is_fp8 = strcmp(format, "e4m3") == 0;
    if (!is_bf16 && !is_fp8 && strcmp(format, "f16") != 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "no dense product in %s", format);
    }
    if (n == 0 || n > INT_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "a dense product of size %u", n);
    }
    mj_status status =
        mj_cuda_check(device->api, device->api->context_push(device->context), "selecting the GPU", error);
    if (status == MJ_OK) {
        status = is_fp8 ? mj_cublaslt_multiply(device, n, a, b, c, stream, error)
                        : multiply(device, is_bf16 ? TYPE_BF16 : TYPE_F16, (int)n, a, b, c, stream, error);
        device->api->context_pop(&popped);
    }
    return status;
}
