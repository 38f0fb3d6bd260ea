/* backend_cuda.h: what backend_cuda.c and backend_cuda_device.c share. */
#ifndef MOEJIT_BACKEND_CUDA_H
#define MOEJIT_BACKEND_CUDA_H

#include <pthread.h>

#include "backend.h"
#include "cuda_api.h"
#include "nvrtc.h"

typedef struct mj_cuda_state {
    mj_context *context;
    pthread_mutex_t lock; /* guards the lazy parts below */
    bool driver_tried, nvrtc_tried;
    bool no_gpu; /* the driver is well and sees none */
    mj_status driver_status, nvrtc_status;
    mj_error driver_error, nvrtc_error;
    mj_cuda_api api; /* valid if driver_status is MJ_OK */
    mj_nvrtc *nvrtc;
} mj_cuda_state;

typedef struct mj_cublas mj_cublas; /* cublas.h */
typedef struct mj_cublaslt mj_cublaslt;

typedef struct mj_cuda_device {
    mj_cuda_state *state;
    mj_cublas *cublas; /* from the first dense product on */
    mj_cublaslt *cublaslt;
    const mj_cuda_api *api;
    cu_device device;
    cu_context context; /* the primary one, retained */
} mj_cuda_device;

/* The calls on an open device: backend_cuda_device.c. */
mj_status mj_cuda_kernel_load(void *device, const void *binary, size_t bytes, const char *symbol, uint32_t smem_bytes,
                              void **kernel, mj_kernel_attributes *attributes, mj_error *error);
void mj_cuda_kernel_unload(void *device, void *kernel);
mj_status mj_cuda_tensor_map_encode(void *device, const mj_tensor_map *map, void *out, mj_error *error);
mj_status mj_cuda_kernel_launch(void *device, void *kernel, const mj_launch *launch, void *stream, mj_error *error);
mj_status mj_cuda_memory_alloc(void *device, size_t bytes, void **out, mj_error *error);
void mj_cuda_memory_free(void *device, void *pointer);
mj_status mj_cuda_memory_upload(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error);
mj_status mj_cuda_memory_download(void *device, void *to, const void *from, size_t bytes, void *stream,
                                  mj_error *error);
mj_status mj_cuda_memory_set(void *device, void *to, int byte_value, size_t bytes, void *stream, mj_error *error);
mj_status mj_cuda_memory_info(void *device, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error);
mj_status mj_cuda_stream_create(void *device, void **stream, mj_error *error);
void mj_cuda_stream_destroy(void *device, void *stream);
mj_status mj_cuda_stream_sync(void *device, void *stream, mj_error *error);
mj_status mj_cuda_event_create(void *device, void **event, mj_error *error);
void mj_cuda_event_destroy(void *device, void *event);
mj_status mj_cuda_event_record(void *device, void *event, void *stream, mj_error *error);
mj_status mj_cuda_event_elapsed_us(void *device, void *start, void *stop, double *us, mj_error *error);
mj_status mj_cuda_capture_begin(void *device, void *stream, mj_error *error);
mj_status mj_cuda_capture_end(void *device, void *stream, void **graph, mj_error *error);
mj_status mj_cuda_graph_launch(void *device, void *graph, void *stream, mj_error *error);
void mj_cuda_graph_destroy(void *device, void *graph);

#endif
