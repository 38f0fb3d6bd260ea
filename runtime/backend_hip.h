/* backend_hip.h: what backend_hip.c and backend_hip_device.c share. */
#ifndef MOEJIT_BACKEND_HIP_H
#define MOEJIT_BACKEND_HIP_H

#include <pthread.h>

#include "backend.h"
#include "hip_api.h"
#include "hiprtc.h"

typedef struct mj_hip_state {
    mj_context *context;
    pthread_mutex_t lock; /* guards the lazy parts below */
    bool runtime_tried, hiprtc_tried;
    bool no_gpu; /* the runtime is well and sees none */
    mj_status runtime_status, hiprtc_status;
    mj_error runtime_error, hiprtc_error;
    mj_hip_api api; /* valid if runtime_status is MJ_OK */
    mj_hiprtc *hiprtc;
} mj_hip_state;

typedef struct mj_hip_device {
    mj_hip_state *state;
    const mj_hip_api *api;
    int index;
    char arch[MJ_NAME_MAX]; /* "gfx942" */
} mj_hip_device;

/* "gfx942", without the features behind it. */
mj_status mj_hip_read_arch(const mj_hip_api *api, int index, char *out, size_t bytes, mj_error *error);
/* For tests and `moejit devices`: the compiler of a context. MJ_ERR_NO_COMPILER. */
mj_status mj_hip_need_hiprtc(mj_hip_state *state, const mj_hiprtc **out, mj_error *error);

/* The calls on an open device: backend_hip_device.c. */
mj_status mj_hip_kernel_load(void *device, const void *binary, size_t bytes, const char *symbol, uint32_t smem_bytes,
                             void **kernel, mj_kernel_attributes *attributes, mj_error *error);
void mj_hip_kernel_unload(void *device, void *kernel);
mj_status mj_hip_kernel_launch(void *device, void *kernel, const mj_launch *launch, void *stream, mj_error *error);
mj_status mj_hip_memory_alloc(void *device, size_t bytes, void **out, mj_error *error);
void mj_hip_memory_free(void *device, void *pointer);
mj_status mj_hip_memory_upload(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error);
mj_status mj_hip_memory_download(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error);
mj_status mj_hip_memory_set(void *device, void *to, int byte_value, size_t bytes, void *stream, mj_error *error);
mj_status mj_hip_memory_info(void *device, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error);
mj_status mj_hip_stream_create(void *device, void **stream, mj_error *error);
void mj_hip_stream_destroy(void *device, void *stream);
mj_status mj_hip_stream_sync(void *device, void *stream, mj_error *error);
mj_status mj_hip_event_create(void *device, void **event, mj_error *error);
void mj_hip_event_destroy(void *device, void *event);
mj_status mj_hip_event_record(void *device, void *event, void *stream, mj_error *error);
mj_status mj_hip_event_elapsed_us(void *device, void *start, void *stop, double *us, mj_error *error);
mj_status mj_hip_capture_begin(void *device, void *stream, mj_error *error);
mj_status mj_hip_capture_end(void *device, void *stream, void **graph, mj_error *error);
mj_status mj_hip_graph_launch(void *device, void *graph, void *stream, mj_error *error);
void mj_hip_graph_destroy(void *device, void *graph);

#endif
