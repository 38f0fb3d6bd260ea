/* cublaslt.c: the dense product in fp8, which cuBLAS proper does not have; see cublas.h. Types and numbers as in cublasLt.h and
 * library_types.h of CUDA 11.8 to 13. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

#include "cublas.h"

enum {
    OPERATION_TRANSPOSE = 1,
    TYPE_F32 = 0,
    TYPE_BF16 = 14,
    TYPE_E4M3 = 28,
    COMPUTE_F32 = 68,
    DESC_TRANSPOSE_A = 3,
    DESC_FAST_SUMS = 25,
    PREFER_WORKSPACE_BYTES = 1,
};
#define WORKSPACE_BYTES ((size_t)32 << 20) /* what NVIDIA advises for sm_90 */

typedef struct heuristic { /* cublasLtMatmulHeuristicResult_t */
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} heuristic;

struct mj_cublaslt {
    mj_cuda_device *device;
    void *library, *handle, *workspace;
    void *desc, *codes, *output; /* of a product of size n */
    uint32_t n;
    heuristic chosen;
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*desc_create)(void **desc, int compute, int scale_type);
    int (*desc_destroy)(void *desc);
    int (*desc_set)(void *desc, int attribute, const void *value, size_t bytes);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading);
    int (*layout_destroy)(void *layout);
    int (*preference_create)(void **preference);
    int (*preference_destroy)(void *preference);
    int (*preference_set)(void *preference, int attribute, const void *value, size_t bytes);
    int (*choose)(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference, int asked,
                  heuristic *out, int *found);
    int (*matmul)(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                  void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                  const void *algorithm, void *workspace, size_t workspace_bytes, void *stream);
};

static bool load_functions(mj_cublaslt *lt)
{
    const struct {
        const char *name;
        void **slot;
    } functions[] = {
        {"cublasLtCreate", (void **)&lt->create},
        {"cublasLtDestroy", (void **)&lt->destroy},
        {"cublasLtMatmulDescCreate", (void **)&lt->desc_create},
        {"cublasLtMatmulDescDestroy", (void **)&lt->desc_destroy},
        {"cublasLtMatmulDescSetAttribute", (void **)&lt->desc_set},
        {"cublasLtMatrixLayoutCreate", (void **)&lt->layout_create},
        {"cublasLtMatrixLayoutDestroy", (void **)&lt->layout_destroy},
        {"cublasLtMatmulPreferenceCreate", (void **)&lt->preference_create},
        {"cublasLtMatmulPreferenceDestroy", (void **)&lt->preference_destroy},
        {"cublasLtMatmulPreferenceSetAttribute", (void **)&lt->preference_set},
        {"cublasLtMatmulAlgoGetHeuristic", (void **)&lt->choose},
        {"cublasLtMatmul", (void **)&lt->matmul},
    };
    bool whole = true;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        *functions[i].slot = dlsym(lt->library, functions[i].name);
        whole = whole && *functions[i].slot;
    }
    return whole;
}

static void close_size(mj_cublaslt *lt)
{
    if (lt->desc) {
        lt->desc_destroy(lt->desc);
    }
    if (lt->codes) {
        lt->layout_destroy(lt->codes);
    }
    if (lt->output) {
        lt->layout_destroy(lt->output);
    }
    lt->desc = lt->codes = lt->output = NULL;
    lt->n = 0;
}

void mj_cublaslt_close(mj_cublaslt *lt)
{
    if (!lt) {
        return;
    }
    close_size(lt);
    if (lt->handle) {
        lt->destroy(lt->handle);
    }
    if (lt->workspace) {
        mj_cuda_memory_free(lt->device, lt->workspace);
    }
    if (lt->library) {
        dlclose(lt->library);
    }
    free(lt);
}

static mj_status open_library(mj_cuda_device *device, mj_cublaslt **out, mj_error *error)
{
    mj_cublaslt *lt = calloc(1, sizeof *lt);
    if (!lt) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for cuBLASLt's functions");
    }
    lt->device = device;
    lt->library = mj_cublas_library("libcublasLt");
    if (!lt->library || !load_functions(lt) || lt->create(&lt->handle) != 0) {
        bool was_found = lt->library != NULL;
        mj_cublaslt_close(lt);
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "cuBLASLt %s",
                       was_found ? "does not start on this device" : "is not installed");
    }
    mj_status status = mj_cuda_memory_alloc(device, WORKSPACE_BYTES, &lt->workspace, error);
    if (status != MJ_OK) {
        mj_cublaslt_close(lt);
        return status;
    }
    *out = lt;
    return MJ_OK;
}

static int choose(mj_cublaslt *lt)
{
    const size_t workspace_bytes = WORKSPACE_BYTES;
    void *preference = NULL;
    int found = 0, code = lt->preference_create(&preference);
    if (code == 0) {
        code = lt->preference_set(preference, PREFER_WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes);
    }
    if (code == 0) {
        code = lt->choose(lt->handle, lt->desc, lt->codes, lt->codes, lt->output, lt->output, preference, 1,
                          &lt->chosen, &found);
    }
    if (preference) {
        lt->preference_destroy(preference);
    }
    return code == 0 && found == 0 ? -1 : code;
}

/* Column-major for cuBLASLt: A transposed and B as it is are both rows of n codes along k, the only form fp8 has. */
static mj_status open_size(mj_cublaslt *lt, uint32_t n, mj_error *error)
{
    const int transpose = OPERATION_TRANSPOSE;
    const int8_t fast = 1;
    close_size(lt);
    int code = lt->desc_create(&lt->desc, COMPUTE_F32, TYPE_F32);
    if (code == 0) {
        code = lt->desc_set(lt->desc, DESC_TRANSPOSE_A, &transpose, sizeof transpose);
    }
    if (code == 0) {
        code = lt->desc_set(lt->desc, DESC_FAST_SUMS, &fast, sizeof fast);
    }
    if (code == 0) {
        code = lt->layout_create(&lt->codes, TYPE_E4M3, n, n, n);
    }
    if (code == 0) {
        code = lt->layout_create(&lt->output, TYPE_BF16, n, n, n);
    }
    if (code == 0) {
        code = choose(lt);
    }
    if (code != 0) {
        close_size(lt);
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "cuBLASLt has no product in e4m3 for this device: code %d", code);
    }
    lt->n = n;
    return MJ_OK;
}

mj_status mj_cublaslt_multiply(mj_cuda_device *device, uint32_t n, const void *a, const void *b, void *c, void *stream,
                               mj_error *error)
{
    const float one = 1.0f, zero = 0.0f;
    mj_status status = device->cublaslt ? MJ_OK : open_library(device, &device->cublaslt, error);
    mj_cublaslt *lt = device->cublaslt;
    if (status == MJ_OK && lt->n != n) {
        status = open_size(lt, n, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    int code = lt->matmul(lt->handle, lt->desc, &one, a, lt->codes, b, lt->codes, &zero, c, lt->output, c, lt->output,
                          lt->chosen.algorithm, lt->workspace, WORKSPACE_BYTES, stream);
    return code == 0 ? MJ_OK : mj_fail(error, MJ_ERR_DEVICE, "cuBLASLt refuses a dense product: code %d", code);
}
