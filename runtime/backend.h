/* backend.h: what a kind of device must be able to do; one table of function pointers per backend.
 *
 * Backends: cuda (NVRTC + CUDA driver API), hip (hipRTC + HIP module API), cpu (system C compiler + dlopen + threads), null
 * (scripted failures, for tests).
 * Vendor libraries are loaded with dlopen by the backend's own file and seen nowhere else.
 *
 * Every function may fail with any status; DEVICE_LOST means that nothing on this device can succeed any more.
 * Streams, events and graphs are opaque; NULL stream is the default one.
 */
#ifndef MOEJIT_BACKEND_H
#define MOEJIT_BACKEND_H

#include "moejit.h"
#include "gen.h"

typedef struct mj_backend mj_backend;

/* A loaded kernel: module + function + what the driver says about it. */
typedef struct mj_kernel_attributes {
    uint32_t regs_thread;
    uint32_t local_bytes; /* per thread: spills or stack */
    uint32_t static_smem_bytes;
    uint32_t threads_block_max;
} mj_kernel_attributes;

typedef struct mj_launch {
    uint32_t blocks, threads, smem_bytes;
    const void *args; /* the argument struct */
    uint32_t args_bytes;
    bool dependent; /* may start before the kernel ahead of it on the stream has ended (the kernel waits by itself) */
} mj_launch;

typedef struct mj_compiled { /* malloc'ed by the backend; mj_compiled_free */
    void *binary;
    size_t binary_bytes;
    char *log;                       /* compiler's messages, NUL-terminated; may be NULL */
    double compile_seconds;          /* one core */
    mj_kernel_attributes attributes; /* regs, spills, smem as the compiler reports; zeros if it does not */
} mj_compiled;
void mj_compiled_free(mj_compiled *compiled);

struct mj_backend {
    const char *name; /* "cuda", "cpu", "null": the part of a device id before ':' */

    /* Creates the backend's state for a context (loads libraries lazily; absent libraries are no error here). */
    mj_status (*open)(mj_context *context, void **state, mj_error *error);
    void (*close)(void *state);

    /* Devices that exist; fills info including `note` for unusable ones. */
    mj_status (*device_count)(void *state, uint32_t *count, mj_error *error);
    mj_status (*device_info)(void *state, uint32_t index, mj_device_info *out, mj_error *error);

    /* Compiler: needs no device. `identity` is part of every key, e.g. "nvrtc 13.0.88". */
    mj_status (*compiler_identity)(void *state, char *out, size_t bytes, mj_error *error);
    mj_status (*compile)(void *state, const char *compile_target, const char *source, size_t source_bytes,
                         mj_compiled *out, mj_error *error);

    mj_status (*device_open)(void *state, uint32_t index, void **device, mj_error *error);
    void (*device_close)(void *device);
    /* Makes the device current on this thread; every call below does it by itself. */

    mj_status (*kernel_load)(void *device, const void *binary, size_t bytes, const char *symbol, uint32_t smem_bytes,
                             void **kernel, mj_kernel_attributes *attributes, mj_error *error);
    void (*kernel_unload)(void *device, void *kernel);
    /* Writes MJ_TENSOR_MAP_BYTES, aligned to MJ_TENSOR_MAP_ALIGN, for the argument struct of a launch; may be called while a stream
     * is captured. NULL: the device has no copy engine that needs them. */
    mj_status (*tensor_map_encode)(void *device, const mj_tensor_map *map, void *out, mj_error *error);
    mj_status (*kernel_launch)(void *device, void *kernel, const mj_launch *launch, void *stream, mj_error *error);

    mj_status (*memory_alloc)(void *device, size_t bytes, void **out, mj_error *error);
    void (*memory_free)(void *device, void *pointer);
    mj_status (*memory_upload)(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error);
    mj_status (*memory_download)(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error);
    mj_status (*memory_set)(void *device, void *to, int byte_value, size_t bytes, void *stream, mj_error *error);
    mj_status (*memory_info)(void *device, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error);

    mj_status (*stream_create)(void *device, void **stream, mj_error *error);
    void (*stream_destroy)(void *device, void *stream);
    mj_status (*stream_sync)(void *device, void *stream, mj_error *error);

    mj_status (*event_create)(void *device, void **event, mj_error *error);
    void (*event_destroy)(void *device, void *event);
    mj_status (*event_record)(void *device, void *event, void *stream, mj_error *error);
    mj_status (*event_elapsed_us)(void *device, void *start, void *stop, double *us,
                                  mj_error *error); /* waits for stop */

    /* Launches between begin and end are recorded, not run. */
    mj_status (*capture_begin)(void *device, void *stream, mj_error *error);
    mj_status (*capture_end)(void *device, void *stream, void **graph, mj_error *error);
    mj_status (*graph_launch)(void *device, void *graph, void *stream, mj_error *error);
    void (*graph_destroy)(void *device, void *graph);

    /* Enqueues the vendor's own product C = A * B^T of n x n matrices in `format` ("bf16", "f16"; "e4m3" with C in bf16): the ceiling
     * that times are judged by. NULL, or MJ_ERR_UNSUPPORTED: no such library. The first call loads it and must not be captured. */
    mj_status (*dense_product)(void *device, const char *format, uint32_t n, const void *a, const void *b, void *c,
                               void *stream, mj_error *error);
};

/* Registered backends in search order, NULL-terminated (backends.c). */
const mj_backend *const *mj_backends(void);
extern const mj_backend mj_backend_cuda, mj_backend_hip, mj_backend_cpu, mj_backend_null;

#endif
