/* cublas.h: NVIDIA's own dense product, loaded with dlopen where it is there; only to measure what a device's matrix units reach. */
#ifndef MOEJIT_CUBLAS_H
#define MOEJIT_CUBLAS_H

#include "backend_cuda.h"

/* mj_backend.dense_product. The library is looked for beside every NVRTC (nvrtc_find.c), then on the loader's path. */
mj_status mj_cuda_dense_product(void *device, const char *format, uint32_t n, const void *a, const void *b, void *c,
                                void *stream, mj_error *error);
/* Frees what the first product of a device loaded; NULL is fine. */
void mj_cublas_close(mj_cublas *cublas);

#endif
