/* backend_cuda.c: NVIDIA GPUs: which there are, what they are, and compiling for them.
 *
 * The driver and NVRTC are loaded on first need and independently: compiling works where no GPU is, and
 * running a warm cache where no NVRTC is.
 */
#include "backend_cuda.h"
#include "cublas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"

static mj_status cuda_open(mj_context *context, void **out, mj_error *error)
{
    mj_cuda_state *state = mj_alloc(context, sizeof *state);
    *out = state;
    if (!state) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the cuda backend");
    }
    state->context = context;
    pthread_mutex_init(&state->lock, NULL);
    return MJ_OK;
}

static void cuda_close(void *opaque)
{
    mj_cuda_state *state = opaque;
    if (state) {
        mj_nvrtc_close(state->nvrtc);
        mj_cuda_api_unload(&state->api);
        pthread_mutex_destroy(&state->lock);
        mj_free(state->context, state);
    }
}

/* The first outcome stays: a driver does not appear while a process runs. */
static mj_status need_driver(mj_cuda_state *state, mj_error *error)
{
    pthread_mutex_lock(&state->lock);
    if (!state->driver_tried) {
        state->driver_tried = true;
        state->driver_status = mj_cuda_api_load(&state->api, &state->driver_error);
        if (state->driver_status == MJ_OK) {
            cu_result started = state->api.init(0);
            state->no_gpu = started == CU_NO_DEVICE;
            state->driver_status =
                mj_cuda_check(&state->api, started, "NVIDIA's driver does not start", &state->driver_error);
        }
    }
    mj_status status = state->driver_status;
    if (status != MJ_OK) {
        mj_fail(error, status, "%s", state->driver_error.text);
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}

static mj_status need_nvrtc(mj_cuda_state *state, mj_error *error)
{
    pthread_mutex_lock(&state->lock);
    if (!state->nvrtc_tried) {
        state->nvrtc_tried = true;
        state->nvrtc_status = mj_nvrtc_open(state->context->nvrtc_path, &state->nvrtc, &state->nvrtc_error);
        if (state->nvrtc_status == MJ_OK) {
            mj_log(state->context, 2, "%s from %s", mj_nvrtc_identity(state->nvrtc), mj_nvrtc_path(state->nvrtc));
        }
    }
    mj_status status = state->nvrtc_status;
    if (status != MJ_OK) {
        mj_fail(error, status, "%s", state->nvrtc_error.text);
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}

/* ---- Devices ---- */

/* No driver library, or one that sees no GPU: no devices. A driver that is there but too old, or that does not start,
 * is worth telling: its failure stands in the list as an unusable device. */
static bool driver_is_broken(mj_cuda_state *state)
{
    return state->driver_status == MJ_ERR_UNSUPPORTED ||
           (state->api.library && state->driver_status != MJ_OK && !state->no_gpu);
}

static mj_status cuda_device_count(void *opaque, uint32_t *count, mj_error *error)
{
    mj_cuda_state *state = opaque;
    int found = 0;
    *count = 0;
    if (need_driver(state, NULL) != MJ_OK) {
        *count = driver_is_broken(state) ? 1 : 0;
        return MJ_OK;
    }
    mj_status status = mj_cuda_check(&state->api, state->api.device_count(&found), "counting GPUs", error);
    *count = status == MJ_OK && found > 0 ? (uint32_t)found : 0;
    return status;
}

static mj_status find_device(mj_cuda_state *state, uint32_t index, cu_device *device, mj_error *error)
{
    int count = 0;
    mj_status status = need_driver(state, error);
    if (status == MJ_OK) {
        status = mj_cuda_check(&state->api, state->api.device_count(&count), "counting GPUs", error);
    }
    if (status != MJ_OK) {
        return status;
    }
    if (count <= 0 || index >= (uint32_t)count) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "cuda:%u: there %s %d NVIDIA GPU%s", index, count == 1 ? "is" : "are",
                       count, count == 1 ? "" : "s");
    }
    return mj_cuda_check(&state->api, state->api.device_get(device, (int)index), "opening a GPU", error);
}

typedef struct attribute_row {
    int attribute;
    size_t offset; /* of the uint32_t in mj_device_info */
    int divisor;
} attribute_row;

static const attribute_row attribute_rows[] = {
    {CU_MULTIPROCESSOR_COUNT, offsetof(mj_device_info, sm_count), 1},
    {CU_CAPABILITY_MAJOR, offsetof(mj_device_info, capability_major), 1},
    {CU_CAPABILITY_MINOR, offsetof(mj_device_info, capability_minor), 1},
    {CU_SMEM_BLOCK_OPTIN_BYTES, offsetof(mj_device_info, smem_block_bytes_max), 1},
    {CU_CLOCK_RATE_KHZ, offsetof(mj_device_info, clock_mhz), 1000},
};

static void read_attributes(const mj_cuda_api *api, cu_device device, mj_device_info *out)
{
    for (size_t i = 0; i < sizeof attribute_rows / sizeof attribute_rows[0]; i++) {
        const attribute_row *row = &attribute_rows[i];
        int value = 0;
        if (api->device_attribute(&value, row->attribute, device) == CU_SUCCESS && value > 0) {
            uint32_t scaled = (uint32_t)(value / row->divisor);
            memcpy((char *)out + row->offset, &scaled, sizeof scaled);
        }
    }
    int bytes = 0;
    if (api->device_attribute(&bytes, CU_L2_CACHE_BYTES, device) == CU_SUCCESS && bytes > 0) {
        out->l2_bytes = (uint64_t)bytes;
    }
}

static void set_note(mj_device_info *out, const char *text)
{
    snprintf(out->note, sizeof out->note, "%.*s", (int)sizeof out->note - 1, text);
}

static mj_status cuda_compiler_identity(void *opaque, char *out, size_t bytes, mj_error *error)
{
    mj_cuda_state *state = opaque;
    mj_status status = need_nvrtc(state, error);
    snprintf(out, bytes, "%s", status == MJ_OK ? mj_nvrtc_identity(state->nvrtc) : "");
    return status;
}

static mj_status cuda_device_info(void *opaque, uint32_t index, mj_device_info *out, mj_error *error)
{
    mj_cuda_state *state = opaque;
    const mj_cuda_api *api = &state->api;
    cu_device device = 0;
    int version = 0, mode = 0;
    size_t memory_bytes = 0;
    mj_error missing = {0};
    memset(out, 0, sizeof *out);
    snprintf(out->id, sizeof out->id, "cuda:%u", index);
    if (need_driver(state, &missing) != MJ_OK && driver_is_broken(state) && index == 0) {
        snprintf(out->name, sizeof out->name, "NVIDIA GPU");
        set_note(out, missing.text);
        return MJ_OK;
    }
    mj_status status = find_device(state, index, &device, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_cuda_check(api, api->device_name(out->name, (int)sizeof out->name, device), "naming a GPU", error);
    if (status != MJ_OK) {
        return status;
    }
    out->name[sizeof out->name - 1] = '\0';
    if (api->driver_version(&version) == CU_SUCCESS) {
        snprintf(out->driver, sizeof out->driver, "cuda %d.%d", version / 1000, version % 1000 / 10);
    }
    if (api->device_memory(&memory_bytes, device) == CU_SUCCESS) {
        out->memory_bytes = memory_bytes;
    }
    read_attributes(api, device, out);
    if (cuda_compiler_identity(state, out->compiler, sizeof out->compiler, &missing) != MJ_OK) {
        set_note(out, missing.text);
    }
    if (api->device_attribute(&mode, CU_COMPUTE_MODE, device) == CU_SUCCESS && mode == CU_COMPUTE_MODE_PROHIBITED) {
        set_note(out, "the GPU's compute mode is \"prohibited\": no process may use it");
    }
    return MJ_OK;
}

static mj_status cuda_device_open(void *opaque, uint32_t index, void **out, mj_error *error)
{
    mj_cuda_state *state = opaque;
    cu_device device = 0;
    char what[96];
    *out = NULL;
    mj_status status = find_device(state, index, &device, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_cuda_device *opened = mj_alloc(state->context, sizeof *opened);
    if (!opened) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a device");
    }
    *opened = (mj_cuda_device){.state = state, .api = &state->api, .device = device};
    snprintf(what, sizeof what, "cuda:%u cannot be used (held by another process, or out of memory?)", index);
    status = mj_cuda_check(&state->api, state->api.primary_retain(&opened->context, device), what, error);
    if (status != MJ_OK) {
        mj_free(state->context, opened);
        return status;
    }
    *out = opened;
    return MJ_OK;
}

static void cuda_device_close(void *opaque)
{
    mj_cuda_device *device = opaque;
    if (device) {
        mj_cublas_close(device->cublas);
        mj_cublaslt_close(device->cublaslt);
        device->api->primary_release(device->device);
        mj_free(device->state->context, device);
    }
}

/* ---- Compiling ---- */

static mj_status cuda_compile(void *opaque, const char *compile_target, const char *source, size_t source_bytes,
                              mj_compiled *out, mj_error *error)
{
    mj_cuda_state *state = opaque;
    memset(out, 0, sizeof *out);
    mj_status status = need_nvrtc(state, error);
    if (status != MJ_OK) {
        return status;
    }
    /* NVRTC wants a C string: a NUL inside the source would silently end it. */
    char *text = memchr(source, '\0', source_bytes) ? NULL : malloc(source_bytes + 1);
    if (!text) {
        return memchr(source, '\0', source_bytes)
                   ? mj_fail(error, MJ_ERR_ARGUMENT, "the source holds a NUL byte")
                   : mj_fail(error, MJ_ERR_MEMORY, "no memory for a source of %zu bytes", source_bytes);
    }
    memcpy(text, source, source_bytes);
    text[source_bytes] = '\0';
    status = mj_nvrtc_compile(state->nvrtc, compile_target, text, out, error);
    free(text);
    return status;
}

const mj_backend mj_backend_cuda = {
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .device_count = cuda_device_count,
    .device_info = cuda_device_info,
    .compiler_identity = cuda_compiler_identity,
    .compile = cuda_compile,
    .device_open = cuda_device_open,
    .device_close = cuda_device_close,
    .kernel_load = mj_cuda_kernel_load,
    .kernel_unload = mj_cuda_kernel_unload,
    .tensor_map_encode = mj_cuda_tensor_map_encode,
    .kernel_launch = mj_cuda_kernel_launch,
    .memory_alloc = mj_cuda_memory_alloc,
    .memory_free = mj_cuda_memory_free,
    .memory_upload = mj_cuda_memory_upload,
    .memory_download = mj_cuda_memory_download,
    .memory_set = mj_cuda_memory_set,
    .memory_info = mj_cuda_memory_info,
    .stream_create = mj_cuda_stream_create,
    .stream_destroy = mj_cuda_stream_destroy,
    .stream_sync = mj_cuda_stream_sync,
    .event_create = mj_cuda_event_create,
    .event_destroy = mj_cuda_event_destroy,
    .event_record = mj_cuda_event_record,
    .event_elapsed_us = mj_cuda_event_elapsed_us,
    .capture_begin = mj_cuda_capture_begin,
    .capture_end = mj_cuda_capture_end,
    .graph_launch = mj_cuda_graph_launch,
    .graph_destroy = mj_cuda_graph_destroy,
    .dense_product = mj_cuda_dense_product,
};
