/* backend_hip_device.c: calls on one AMD GPU.
 *
 * HIP's calls go to the thread's current device: every call here selects its own and puts the caller's back.
 */
#include "backend_hip.h"

#include <stdio.h>
#include <string.h>

#include "code_object.h"
#include "context.h"

typedef struct hip_kernel {
    hip_module module;
    hip_function function;
    uint32_t lds_bytes; /* that the code object declares itself; a launch adds what is wanted beyond */
} hip_kernel;

/* ---- The current device ---- */

/* *before: the device to go back to; -1: none. */
static mj_status enter(const mj_hip_device *device, int *before, mj_error *error)
{
    int current = -1;
    *before = -1;
    if (device->api->device_current(&current) == HIP_SUCCESS && current == device->index) {
        return MJ_OK;
    }
    mj_status status = mj_hip_check(device->api, device->api->device_select(device->index), "selecting the GPU", error);
    *before = status == MJ_OK ? current : -1;
    return status;
}

static void leave(const mj_hip_device *device, int before)
{
    if (before >= 0) {
        device->api->device_select(before);
    }
}

/* ---- Kernels ---- */

/* The runtime's own words for a wrong target are "no binary for GPU" and, in some versions, the end of the process. */
static mj_status check_code(const mj_hip_device *device, const void *binary, size_t bytes, const char *symbol,
                            mj_kernel_attributes *out, mj_error *error)
{
    mj_code_object object;
    mj_code_kernel kernel;
    mj_error why = {0};
    mj_status status = mj_code_object_read(binary, bytes, &object, &why);
    if (status != MJ_OK) {
        return mj_fail(error, status, "kernel %s: %zu bytes that are no whole code object: %s", symbol, bytes,
                       why.text);
    }
    if (strcmp(object.target, device->arch) != 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "kernel %s: code for %s, but hip:%d is %s", symbol, object.target,
                       device->index, device->arch);
    }
    for (uint32_t i = 0; i < object.kernel_count; i++) {
        status = mj_code_object_kernel(&object, i, &kernel, error);
        if (status != MJ_OK) {
            return status;
        }
        if (strcmp(kernel.name, symbol) == 0) {
            *out = (mj_kernel_attributes){.regs_thread = kernel.vgprs,
                                          .local_bytes = kernel.scratch_bytes,
                                          .static_smem_bytes = kernel.lds_bytes,
                                          .threads_block_max = kernel.threads_block_max};
            return MJ_OK;
        }
    }
    return mj_fail(error, MJ_ERR_NOT_FOUND, "kernel %s: it is not in its code object", symbol);
}

mj_status mj_hip_kernel_load(void *opaque, const void *binary, size_t bytes, const char *symbol, uint32_t smem_bytes,
                             void **out, mj_kernel_attributes *attributes, mj_error *error)
{
    mj_hip_device *device = opaque;
    const mj_hip_api *api = device->api;
    mj_kernel_attributes found = {0};
    int before = -1;
    (void)smem_bytes; /* all of it may be used without asking */
    *out = NULL;
    mj_status status = check_code(device, binary, bytes, symbol, &found, error);
    if (status != MJ_OK) {
        return status;
    }
    hip_kernel *kernel = mj_alloc(device->state->context, sizeof *kernel);
    if (!kernel) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a kernel");
    }
    kernel->lds_bytes = found.static_smem_bytes;
    status = enter(device, &before, error);
    if (status == MJ_OK) {
        status = mj_hip_check(api, api->module_load(&kernel->module, binary), "loading a kernel", error);
    }
    if (status == MJ_OK) {
        status = mj_hip_check(api, api->module_function(&kernel->function, kernel->module, symbol), symbol, error);
    }
    leave(device, before);
    if (status != MJ_OK) {
        mj_hip_kernel_unload(device, kernel);
        return status;
    }
    if (attributes) {
        *attributes = found;
    }
    *out = kernel;
    return MJ_OK;
}

void mj_hip_kernel_unload(void *opaque, void *opaque_kernel)
{
    mj_hip_device *device = opaque;
    hip_kernel *kernel = opaque_kernel;
    int before = -1;
    if (!kernel) {
        return;
    }
    if (kernel->module && enter(device, &before, NULL) == MJ_OK) {
        device->api->module_unload(kernel->module);
        leave(device, before);
    }
    mj_free(device->state->context, kernel);
}

mj_status mj_hip_kernel_launch(void *opaque, void *opaque_kernel, const mj_launch *launch, void *stream,
                               mj_error *error)
{
    const mj_hip_device *device = opaque;
    const hip_kernel *kernel = opaque_kernel;
    size_t args_bytes = launch->args_bytes;
    /* The kernel's one parameter is a struct, copied by the call as it is. */
    void *extra[] = {HIP_LAUNCH_BUFFER, (void *)launch->args, HIP_LAUNCH_BUFFER_BYTES, &args_bytes, HIP_LAUNCH_END};
    int before = -1;
    if (launch->blocks == 0) {
        return MJ_OK;
    }
    mj_status status = enter(device, &before, error);
    if (status != MJ_OK) {
        return status;
    }
    uint32_t more = launch->smem_bytes > kernel->lds_bytes ? launch->smem_bytes - kernel->lds_bytes : 0;
    hip_result result =
        device->api->launch(kernel->function, launch->blocks, 1, 1, launch->threads, 1, 1, more, stream, NULL, extra);
    leave(device, before);
    return mj_hip_check(device->api, result, "launching a kernel", error);
}

/* ---- Memory ---- */

mj_status mj_hip_memory_alloc(void *opaque, size_t bytes, void **out, mj_error *error)
{
    const mj_hip_device *device = opaque;
    void *pointer = NULL;
    int before = -1;
    char what[64];
    *out = NULL;
    mj_status status = enter(device, &before, error);
    if (status != MJ_OK) {
        return status;
    }
    snprintf(what, sizeof what, "taking %zu MiB of device memory", (bytes + (1 << 20) - 1) >> 20);
    status = mj_hip_check(device->api, device->api->memory_alloc(&pointer, bytes ? bytes : 1), what, error);
    leave(device, before);
    if (status == MJ_OK) {
        *out = pointer;
    }
    return status;
}

void mj_hip_memory_free(void *opaque, void *pointer)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    if (pointer && enter(device, &before, NULL) == MJ_OK) {
        device->api->memory_free(pointer);
        leave(device, before);
    }
}

/* Both copies wait: the caller's memory is free to change, or holds the data, on return. */
mj_status mj_hip_memory_upload(void *opaque, void *to, const void *from, size_t bytes, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = bytes ? enter(device, &before, error) : MJ_OK;
    if (bytes == 0 || status != MJ_OK) {
        return status;
    }
    hip_result result = device->api->memory_upload(to, (void *)from, bytes, stream);
    result = result == HIP_SUCCESS ? device->api->stream_sync(stream) : result;
    leave(device, before);
    return mj_hip_check(device->api, result, "copying to the GPU", error);
}

mj_status mj_hip_memory_download(void *opaque, void *to, const void *from, size_t bytes, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = bytes ? enter(device, &before, error) : MJ_OK;
    if (bytes == 0 || status != MJ_OK) {
        return status;
    }
    hip_result result = device->api->memory_download(to, (void *)from, bytes, stream);
    result = result == HIP_SUCCESS ? device->api->stream_sync(stream) : result;
    leave(device, before);
    return mj_hip_check(device->api, result, "copying from the GPU", error);
}

mj_status mj_hip_memory_set(void *opaque, void *to, int byte_value, size_t bytes, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = bytes ? enter(device, &before, error) : MJ_OK;
    if (bytes == 0 || status != MJ_OK) {
        return status;
    }
    hip_result result = device->api->memory_set(to, byte_value & 0xff, bytes, stream);
    leave(device, before);
    return mj_hip_check(device->api, result, "setting device memory", error);
}

mj_status mj_hip_memory_info(void *opaque, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error)
{
    const mj_hip_device *device = opaque;
    size_t free_size = 0, total_size = 0;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        status = mj_hip_check(device->api, device->api->memory_info(&free_size, &total_size),
                              "asking for free device memory", error);
        leave(device, before);
    }
    *free_bytes = free_size;
    *total_bytes = total_size;
    return status;
}

/* ---- Streams and events ---- */

mj_status mj_hip_stream_create(void *opaque, void **out, mj_error *error)
{
    const mj_hip_device *device = opaque;
    hip_stream stream = NULL;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        /* waits for nobody: not for the default stream either */
        status = mj_hip_check(device->api, device->api->stream_create(&stream, HIP_STREAM_NON_BLOCKING),
                              "making a stream", error);
        leave(device, before);
    }
    *out = stream;
    return status;
}

void mj_hip_stream_destroy(void *opaque, void *stream)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    if (stream && enter(device, &before, NULL) == MJ_OK) {
        device->api->stream_destroy(stream);
        leave(device, before);
    }
}

mj_status mj_hip_stream_sync(void *opaque, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        status = mj_hip_check(device->api, device->api->stream_sync(stream), "waiting for the GPU", error);
        leave(device, before);
    }
    return status;
}

mj_status mj_hip_event_create(void *opaque, void **out, mj_error *error)
{
    const mj_hip_device *device = opaque;
    hip_event event = NULL;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        status = mj_hip_check(device->api, device->api->event_create(&event, 0), "making an event", error);
        leave(device, before);
    }
    *out = event;
    return status;
}

void mj_hip_event_destroy(void *opaque, void *event)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    if (event && enter(device, &before, NULL) == MJ_OK) {
        device->api->event_destroy(event);
        leave(device, before);
    }
}

mj_status mj_hip_event_record(void *opaque, void *event, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        status = mj_hip_check(device->api, device->api->event_record(event, stream), "recording an event", error);
        leave(device, before);
    }
    return status;
}

mj_status mj_hip_event_elapsed_us(void *opaque, void *start, void *stop, double *us, mj_error *error)
{
    const mj_hip_device *device = opaque;
    float ms = 0.0f;
    int before = -1;
    mj_status status = enter(device, &before, error);
    *us = 0;
    if (status != MJ_OK) {
        return status;
    }
    hip_result result = device->api->event_sync(stop);
    result = result == HIP_SUCCESS ? device->api->event_elapsed(&ms, start, stop) : result;
    leave(device, before);
    *us = 1e3 * (double)ms;
    return mj_hip_check(device->api, result, "timing between events", error);
}

/* ---- Graphs ---- */

mj_status mj_hip_capture_begin(void *opaque, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        /* relaxed: other threads of a serving process may allocate meanwhile */
        status = mj_hip_check(device->api, device->api->capture_begin(stream, HIP_STREAM_CAPTURE_RELAXED),
                              "starting a graph capture", error);
        leave(device, before);
    }
    return status;
}

mj_status mj_hip_capture_end(void *opaque, void *stream, void **out, mj_error *error)
{
    const mj_hip_device *device = opaque;
    const mj_hip_api *api = device->api;
    hip_graph graph = NULL;
    hip_graph_exec executable = NULL;
    int before = -1;
    *out = NULL;
    mj_status status = enter(device, &before, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_hip_check(api, api->capture_end(stream, &graph), "ending a graph capture", error);
    if (status == MJ_OK) {
        status = mj_hip_check(api, api->graph_instantiate(&executable, graph, 0), "building a graph", error);
    }
    if (status == MJ_OK && api->graph_upload) { /* ahead of the first launch, which would pay for it otherwise */
        status = mj_hip_check(api, api->graph_upload(executable, stream), "uploading a graph", error);
    }
    if (graph) {
        api->graph_free(graph);
    }
    if (status != MJ_OK && executable) {
        api->graph_exec_free(executable);
        executable = NULL;
    }
    leave(device, before);
    *out = executable;
    return status;
}

mj_status mj_hip_graph_launch(void *opaque, void *graph, void *stream, mj_error *error)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    mj_status status = enter(device, &before, error);
    if (status == MJ_OK) {
        status = mj_hip_check(device->api, device->api->graph_launch(graph, stream), "launching a graph", error);
        leave(device, before);
    }
    return status;
}

void mj_hip_graph_destroy(void *opaque, void *graph)
{
    const mj_hip_device *device = opaque;
    int before = -1;
    if (graph && enter(device, &before, NULL) == MJ_OK) {
        device->api->graph_exec_free(graph);
        leave(device, before);
    }
}
