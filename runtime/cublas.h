/* cublas.h: NVIDIA's own dense product, loaded with dlopen where it is there; only to measure what a device's matrix units reach. */
#ifndef MOEJIT_CUBLAS_H
#define MOEJIT_CUBLAS_H

#include "backend_cuda.h"

/* mj_backend.dense_product. The library is looked for beside every NVRTC (nvrtc_find.c), then on the loader's path. */
mj_status mj_cuda_dense_product(void *device, const char *format, uint32_t n, const void *a, const void *b, void *c,
                                void *stream, mj_error *error);
/* The same in e4m3, by cuBLASLt: A and B of codes, scales of 1, C in bf16, sums with fast accumulation as the kernels have them.
 * MJ_ERR_UNSUPPORTED: no such library, or neither it nor the device multiplies fp8. In the device's context. */
mj_status mj_cublaslt_multiply(mj_cuda_device *device, uint32_t n, const void *a, const void *b, void *c, void *stream,
                               mj_error *error);
void mj_cublaslt_close(mj_cublaslt *cublaslt);
/* dlopen'ed, or NULL; stem "libcublas". */
void *mj_cublas_library(const char *stem);
/* Frees what the first product of a device loaded; NULL is fine. */
void mj_cublas_close(mj_cublas *cublas);

#endif
