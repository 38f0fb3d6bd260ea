/* backend_cuda_device.c: calls on one NVIDIA GPU.
 *
 * Every call makes the device's primary context current and puts the caller's back: a process may use
 * several devices and CUDA's runtime on the same thread. A context that is current already costs one look.
 */
#include "backend_cuda.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "context.h"

typedef struct cuda_kernel {
    cu_module module;
    cu_function function;
} cuda_kernel;

/* ---- The current context ---- */

static mj_status enter(const mj_cuda_device *device, bool *pushed, mj_error *error)
{
    cu_context current = NULL;
    *pushed = false;
    if (device->api->context_current(&current) == CU_SUCCESS && current == device->context) {
        return MJ_OK;
    }
    mj_status status =
        mj_cuda_check(device->api, device->api->context_push(device->context), "selecting the GPU", error);
    *pushed = status == MJ_OK;
    return status;
}

static void leave(const mj_cuda_device *device, bool pushed)
{
    cu_context popped = NULL;
    if (pushed) {
        device->api->context_pop(&popped);
    }
}

/* ---- Kernels ---- */

/* The driver takes the image's size from its own header: make sure that everything the header points to is there. */
static bool image_is_whole(const void *binary, size_t bytes)
{
    Elf64_Ehdr header;
    if (bytes < sizeof header) {
        return false;
    }
    memcpy(&header, binary, sizeof header);
    uint64_t sections = (uint64_t)header.e_shnum * header.e_shentsize;
    uint64_t programs = (uint64_t)header.e_phnum * header.e_phentsize;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_shoff > bytes || sections > bytes - header.e_shoff || header.e_phoff > bytes ||
        programs > bytes - header.e_phoff || header.e_shentsize != sizeof(Elf64_Shdr)) {
        return false;
    }
    for (uint32_t i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, (const char *)binary + header.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOBITS &&
            (section.sh_offset > bytes || section.sh_size > bytes - section.sh_offset)) {
            return false;
        }
    }
    return true;
}

static mj_status prepare_function(const mj_cuda_device *device, cu_function function, uint32_t smem_bytes,
                                  mj_kernel_attributes *out, mj_error *error)
{
    const struct {
        int attribute;
        uint32_t *value;
    } rows[] = {
        {CU_FUNC_REGS, &out->regs_thread},
        {CU_FUNC_LOCAL_BYTES, &out->local_bytes},
        {CU_FUNC_STATIC_SMEM_BYTES, &out->static_smem_bytes},
        {CU_FUNC_THREADS_BLOCK_MAX, &out->threads_block_max},
    };
    const mj_cuda_api *api = device->api;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int value = 0;
        mj_status status = mj_cuda_check(api, api->function_get(&value, rows[i].attribute, function),
                                         "reading a kernel's properties", error);
        if (status != MJ_OK) {
            return status;
        }
        *rows[i].value = value > 0 ? (uint32_t)value : 0;
    }
    if (smem_bytes <= CU_SMEM_DEFAULT_MAX) {
        return MJ_OK;
    }
    char what[96];
    snprintf(what, sizeof what, "asking for %u bytes of shared memory", smem_bytes);
    return mj_cuda_check(api, api->function_set(function, CU_FUNC_DYNAMIC_SMEM_MAX, (int)smem_bytes), what, error);
}

mj_status mj_cuda_kernel_load(void *opaque, const void *binary, size_t bytes, const char *symbol, uint32_t smem_bytes,
                              void **out, mj_kernel_attributes *attributes, mj_error *error)
{
    mj_cuda_device *device = opaque;
    const mj_cuda_api *api = device->api;
    mj_kernel_attributes found = {0};
    bool pushed = false;
    *out = NULL;
    if (!image_is_whole(binary, bytes)) {
        return mj_fail(error, MJ_ERR_FORMAT, "kernel %s: %zu bytes that are no whole cubin", symbol, bytes);
    }
    cuda_kernel *kernel = mj_alloc(device->state->context, sizeof *kernel);
    if (!kernel) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a kernel");
    }
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(api, api->module_load(&kernel->module, binary), "loading a kernel", error);
    }
    if (status == MJ_OK) {
        status = mj_cuda_check(api, api->module_function(&kernel->function, kernel->module, symbol), symbol, error);
    }
    if (status == MJ_OK) {
        status = prepare_function(device, kernel->function, smem_bytes, &found, error);
    }
    leave(device, pushed);
    if (status != MJ_OK) {
        mj_cuda_kernel_unload(device, kernel);
        return status;
    }
    if (attributes) {
        *attributes = found;
    }
    *out = kernel;
    return MJ_OK;
}

void mj_cuda_kernel_unload(void *opaque, void *opaque_kernel)
{
    mj_cuda_device *device = opaque;
    cuda_kernel *kernel = opaque_kernel;
    bool pushed = false;
    if (!kernel) {
        return;
    }
    if (kernel->module && enter(device, &pushed, NULL) == MJ_OK) {
        device->api->module_unload(kernel->module);
        leave(device, pushed);
    }
    mj_free(device->state->context, kernel);
}

mj_status mj_cuda_kernel_launch(void *opaque, void *opaque_kernel, const mj_launch *launch, void *stream,
                                mj_error *error)
{
    const mj_cuda_device *device = opaque;
    const cuda_kernel *kernel = opaque_kernel;
    void *params[] = {(void *)launch->args}; /* the kernel's one parameter; copied by the call */
    bool pushed = false;
    if (launch->blocks == 0) {
        return MJ_OK;
    }
    mj_status status = enter(device, &pushed, error);
    if (status != MJ_OK) {
        return status;
    }
    cu_result result = CU_SUCCESS;
    if (launch->dependent && device->api->launch_extended) {
        cu_launch_attribute early = {.id = CU_LAUNCH_PROGRAMMATIC_SERIALIZATION,
                                     .value.programmatic_stream_serialization = 1};
        cu_launch_config config = {launch->blocks, 1, 1, launch->threads, 1, 1, launch->smem_bytes, stream, &early, 1};
        result = device->api->launch_extended(&config, kernel->function, params, NULL);
    } else {
        result = device->api->launch(kernel->function, launch->blocks, 1, 1, launch->threads, 1, 1, launch->smem_bytes,
                                     stream, params, NULL);
    }
    leave(device, pushed);
    return mj_cuda_check(device->api, result, "launching a kernel", error);
}

/* A computation on the host, but the driver wants a context for it. */
mj_status mj_cuda_tensor_map_encode(void *opaque, const mj_tensor_map *map, void *out, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    if (!device->api->tensor_map_encode) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED,
                       "the driver has no cuTensorMapEncodeTiled: CUDA 12.0 or later is needed");
    }
    unsigned long long dims[2 + MJ_TENSOR_AXES_MAX] = {map->row_elements, map->rows};
    unsigned long long stride_bytes[1 + MJ_TENSOR_AXES_MAX] = {(uint64_t)map->row_elements * map->element_bytes};
    unsigned box[2 + MJ_TENSOR_AXES_MAX] = {map->box_elements, map->box_rows};
    unsigned steps[2 + MJ_TENSOR_AXES_MAX] = {1, 1, 1, 1, 1};
    for (uint32_t i = 0; i < map->axis_count; i++) {
        dims[2 + i] = map->axes[i].count;
        stride_bytes[1 + i] = map->axes[i].stride_rows * stride_bytes[0];
        box[2 + i] = map->axes[i].box;
    }
    int swizzle =
        map->swizzle_bytes == 128 ? 3 : map->swizzle_bytes / 32; /* CU_TENSOR_MAP_SWIZZLE_NONE, 32B, 64B, 128B */
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status != MJ_OK) {
        return status;
    }
    /* What a box asks for is 128 bytes of a row; fetching 256 costs 2 to 5 % where weights are streamed once (tests/bench/NOTES.md). */
    cu_result result =
        device->api->tensor_map_encode(out, map->element_bytes == 1 ? CU_TENSOR_MAP_UINT8 : CU_TENSOR_MAP_UINT16,
                                       2 + map->axis_count, (void *)(uintptr_t)map->address, dims, stride_bytes, box,
                                       steps, 0, swizzle, CU_TENSOR_MAP_L2_PROMOTION_128B, 0);
    leave(device, pushed);
    return mj_cuda_check(device->api, result, "describing an array to the copy engine", error);
}

/* ---- Memory ---- */

mj_status mj_cuda_memory_alloc(void *opaque, size_t bytes, void **out, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    cu_pointer pointer = 0;
    bool pushed = false;
    char what[64];
    *out = NULL;
    mj_status status = enter(device, &pushed, error);
    if (status != MJ_OK) {
        return status;
    }
    snprintf(what, sizeof what, "taking %zu MiB of device memory", (bytes + (1 << 20) - 1) >> 20);
    status = mj_cuda_check(device->api, device->api->memory_alloc(&pointer, bytes ? bytes : 1), what, error);
    leave(device, pushed);
    if (status == MJ_OK) {
        *out = (void *)(uintptr_t)pointer;
    }
    return status;
}

void mj_cuda_memory_free(void *opaque, void *pointer)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    if (pointer && enter(device, &pushed, NULL) == MJ_OK) {
        device->api->memory_free((cu_pointer)(uintptr_t)pointer);
        leave(device, pushed);
    }
}

/* Both copies wait: the caller's memory is free to change, or holds the data, on return. */
mj_status mj_cuda_memory_upload(void *opaque, void *to, const void *from, size_t bytes, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = bytes ? enter(device, &pushed, error) : MJ_OK;
    if (bytes == 0 || status != MJ_OK) {
        return status;
    }
    cu_result result = device->api->memory_upload((cu_pointer)(uintptr_t)to, from, bytes, stream);
    result = result == CU_SUCCESS ? device->api->stream_sync(stream) : result;
    leave(device, pushed);
    return mj_cuda_check(device->api, result, "copying to the GPU", error);
}

mj_status mj_cuda_memory_download(void *opaque, void *to, const void *from, size_t bytes, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = bytes ? enter(device, &pushed, error) : MJ_OK;
    if (bytes == 0 || status != MJ_OK) {
        return status;
    }
    cu_result result = device->api->memory_download(to, (cu_pointer)(uintptr_t)from, bytes, stream);
    result = result == CU_SUCCESS ? device->api->stream_sync(stream) : result;
    leave(device, pushed);
    return mj_cuda_check(device->api, result, "copying from the GPU", error);
}

mj_status mj_cuda_memory_set(void *opaque, void *to, int byte_value, size_t bytes, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = bytes ? enter(device, &pushed, error) : MJ_OK;
    if (bytes == 0 || status != MJ_OK) {
        return status;
    }
    cu_result result = device->api->memory_set((cu_pointer)(uintptr_t)to, (unsigned char)byte_value, bytes, stream);
    leave(device, pushed);
    return mj_cuda_check(device->api, result, "setting device memory", error);
}

mj_status mj_cuda_memory_info(void *opaque, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    size_t free_size = 0, total_size = 0;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(device->api, device->api->memory_info(&free_size, &total_size),
                               "asking for free device memory", error);
        leave(device, pushed);
    }
    *free_bytes = free_size;
    *total_bytes = total_size;
    return status;
}

/* ---- Streams and events ---- */

mj_status mj_cuda_stream_create(void *opaque, void **out, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    cu_stream stream = NULL;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        /* waits for nobody: not for the default stream either */
        status = mj_cuda_check(device->api, device->api->stream_create(&stream, CU_STREAM_NON_BLOCKING),
                               "making a stream", error);
        leave(device, pushed);
    }
    *out = stream;
    return status;
}

void mj_cuda_stream_destroy(void *opaque, void *stream)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    if (stream && enter(device, &pushed, NULL) == MJ_OK) {
        device->api->stream_destroy(stream);
        leave(device, pushed);
    }
}

mj_status mj_cuda_stream_sync(void *opaque, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(device->api, device->api->stream_sync(stream), "waiting for the GPU", error);
        leave(device, pushed);
    }
    return status;
}

mj_status mj_cuda_event_create(void *opaque, void **out, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    cu_event event = NULL;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(device->api, device->api->event_create(&event, 0), "making an event", error);
        leave(device, pushed);
    }
    *out = event;
    return status;
}

void mj_cuda_event_destroy(void *opaque, void *event)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    if (event && enter(device, &pushed, NULL) == MJ_OK) {
        device->api->event_destroy(event);
        leave(device, pushed);
    }
}

mj_status mj_cuda_event_record(void *opaque, void *event, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(device->api, device->api->event_record(event, stream), "recording an event", error);
        leave(device, pushed);
    }
    return status;
}

mj_status mj_cuda_event_elapsed_us(void *opaque, void *start, void *stop, double *us, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    float ms = 0.0f;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    *us = 0;
    if (status != MJ_OK) {
        return status;
    }
    cu_result result = device->api->event_sync(stop);
    result = result == CU_SUCCESS ? device->api->event_elapsed(&ms, start, stop) : result;
    leave(device, pushed);
    *us = 1e3 * (double)ms;
    return mj_cuda_check(device->api, result, "timing between events", error);
}

/* ---- Graphs ---- */

mj_status mj_cuda_capture_begin(void *opaque, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        /* relaxed: other threads of a serving process may allocate meanwhile */
        status = mj_cuda_check(device->api, device->api->capture_begin(stream, CU_STREAM_CAPTURE_RELAXED),
                               "starting a graph capture", error);
        leave(device, pushed);
    }
    return status;
}

mj_status mj_cuda_capture_end(void *opaque, void *stream, void **out, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    const mj_cuda_api *api = device->api;
    cu_graph graph = NULL;
    cu_graph_exec executable = NULL;
    bool pushed = false;
    *out = NULL;
    mj_status status = enter(device, &pushed, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_cuda_check(api, api->capture_end(stream, &graph), "ending a graph capture", error);
    if (status == MJ_OK) {
        status = mj_cuda_check(api, api->graph_instantiate(&executable, graph, 0), "building a graph", error);
    }
    if (status == MJ_OK) { /* ahead of the first launch, which would pay for it otherwise */
        status = mj_cuda_check(api, api->graph_upload(executable, stream), "uploading a graph", error);
    }
    if (graph) {
        api->graph_free(graph);
    }
    if (status != MJ_OK && executable) {
        api->graph_exec_free(executable);
        executable = NULL;
    }
    leave(device, pushed);
    *out = executable;
    return status;
}

mj_status mj_cuda_graph_launch(void *opaque, void *graph, void *stream, mj_error *error)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    mj_status status = enter(device, &pushed, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(device->api, device->api->graph_launch(graph, stream), "launching a graph", error);
        leave(device, pushed);
    }
    return status;
}

void mj_cuda_graph_destroy(void *opaque, void *graph)
{
    const mj_cuda_device *device = opaque;
    bool pushed = false;
    if (graph && enter(device, &pushed, NULL) == MJ_OK) {
        device->api->graph_exec_free(graph);
        leave(device, pushed);
    }
}
