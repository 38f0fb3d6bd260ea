/* fake_cublas.c: cuBLAS and cuBLASLt without a GPU, for a device that multiplies bf16, f16 and, unless $FAKE_CUBLAS says otherwise,
 * e4m3. It checks what it is told and counts products. $FAKE_CUBLAS: words
 *     create=1   no handle           found=0   no algorithm for fp8          matmul=13   results of single functions
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
enum { INVALID_VALUE = 7, NOT_SUPPORTED = 15 };

static long products, products8, live;

typedef struct object {
    int kind, type, transpose_a, fast;
    uint64_t rows, columns;
    int64_t leading;
} object;
enum { HANDLE = 1, DESC, LAYOUT, PREFERENCE };

static int setting(const char *name, int otherwise)
{
    char head[32];
    const char *script = getenv("FAKE_CUBLAS");
    snprintf(head, sizeof head, "%s=", name);
    const char *at = script ? strstr(script, head) : NULL;
    return at ? (int)strtol(at + strlen(head), NULL, 10) : otherwise;
}

EXPORT long fake_cublas_count(const char *name)
{
    return strcmp(name, "live") == 0 ? live : strcmp(name, "e4m3") == 0 ? products8 : products;
}

static int make(object **out, object content)
{
    *out = malloc(sizeof **out);
    **out = content;
    live++;
    return 0;
}

static int drop(object *o, int kind)
{
    if (!o || o->kind != kind) {
        return INVALID_VALUE;
    }
    free(o);
    live--;
    return 0;
}

/* ---- cuBLAS ---- */

EXPORT int cublasCreate_v2(object **handle)
{
    return setting("create", 0) ? 1 : make(handle, (object){.kind = HANDLE});
}
EXPORT int cublasDestroy_v2(object *handle)
{
    return drop(handle, HANDLE);
}
EXPORT int cublasSetStream_v2(object *handle, void *stream)
{
    (void)stream;
    return handle->kind == HANDLE ? 0 : INVALID_VALUE;
}
EXPORT int cublasGemmEx(object *handle, int trans_a, int trans_b, int m, int n, int k, const float *alpha,
                        const void *a, int a_type, int lda, const void *b, int b_type, int ldb, const float *beta,
                        void *c, int c_type, int ldc, int compute, int algorithm)
{
    int good = handle->kind == HANDLE && trans_a == 1 && trans_b == 0 && m == n && n == k && lda == k && ldb == k &&
               ldc == m && *alpha == 1 && *beta == 0 && a && b && c && a_type == b_type && b_type == c_type &&
               (a_type == 14 || a_type == 2) && compute == 68 && algorithm == -1;
    products += good;
    return good ? setting("gemm", 0) : INVALID_VALUE;
}

/* ---- cuBLASLt ---- */

EXPORT int cublasLtCreate(object **handle)
{
    return cublasCreate_v2(handle);
}
EXPORT int cublasLtDestroy(object *handle)
{
    return drop(handle, HANDLE);
}
EXPORT int cublasLtMatmulDescCreate(object **desc, int compute, int scale_type)
{
    return compute == 68 && scale_type == 0 ? make(desc, (object){.kind = DESC}) : INVALID_VALUE;
}
EXPORT int cublasLtMatmulDescDestroy(object *desc)
{
    return drop(desc, DESC);
}
EXPORT int cublasLtMatmulDescSetAttribute(object *desc, int attribute, const void *value, size_t bytes)
{
    if (desc->kind != DESC || (attribute == 3 && bytes != sizeof(int)) || (attribute == 25 && bytes != 1)) {
        return INVALID_VALUE;
    }
    if (attribute == 3) {
        memcpy(&desc->transpose_a, value, bytes);
    } else if (attribute == 25) {
        desc->fast = *(const int8_t *)value;
    }
    return 0;
}
EXPORT int cublasLtMatrixLayoutCreate(object **layout, int type, uint64_t rows, uint64_t columns, int64_t leading)
{
    return make(layout, (object){LAYOUT, type, 0, 0, rows, columns, leading});
}
EXPORT int cublasLtMatrixLayoutDestroy(object *layout)
{
    return drop(layout, LAYOUT);
}
EXPORT int cublasLtMatmulPreferenceCreate(object **preference)
{
    return make(preference, (object){.kind = PREFERENCE});
}
EXPORT int cublasLtMatmulPreferenceDestroy(object *preference)
{
    return drop(preference, PREFERENCE);
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(object *preference, int attribute, const void *value, size_t bytes)
{
    size_t workspace_bytes = 0;
    memcpy(&workspace_bytes, value, bytes < sizeof workspace_bytes ? bytes : sizeof workspace_bytes);
    return preference->kind == PREFERENCE && attribute == 1 && workspace_bytes ? 0 : INVALID_VALUE;
}

static int is_fp8(const object *desc, const object *a, const object *b, const object *d)
{
    return desc->kind == DESC && desc->transpose_a == 1 && desc->fast == 1 && a->type == 28 && b->type == 28 &&
           d->type == 14 && a->rows == b->rows && a->leading == (int64_t)a->rows && d->rows == a->columns;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(object *handle, object *desc, object *a, object *b, object *c, object *d,
                                          object *preference, int asked, void *out, int *found)
{
    if (handle->kind != HANDLE || preference->kind != PREFERENCE || asked != 1 || c != d || !is_fp8(desc, a, b, d)) {
        return INVALID_VALUE;
    }
    *found = setting("found", 1);
    memset(out, 0x5a, 64);
    return *found ? 0 : NOT_SUPPORTED;
}
EXPORT int cublasLtMatmul(object *handle, object *desc, const float *alpha, const void *a, object *a_layout,
                          const void *b, object *b_layout, const float *beta, const void *c, object *c_layout, void *d,
                          object *d_layout, const unsigned char *algorithm, void *workspace, size_t workspace_bytes,
                          void *stream)
{
    (void)stream;
    int good = handle->kind == HANDLE && is_fp8(desc, a_layout, b_layout, d_layout) && c_layout == d_layout &&
               *alpha == 1 && *beta == 0 && a && b && c == d && d && algorithm[63] == 0x5a && workspace &&
               workspace_bytes;
    products8 += good;
    return good ? setting("matmul", 0) : INVALID_VALUE;
}
