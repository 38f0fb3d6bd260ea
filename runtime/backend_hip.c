/* backend_hip.c: AMD GPUs: which there are, what they are, and compiling for them.
 *
 * The HIP runtime and hipRTC are found on first need and independently, as with NVIDIA: compiling works where no GPU is.
 */
#include "backend_hip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"

static mj_status hip_open(mj_context *context, void **out, mj_error *error)
{
    mj_hip_state *state = mj_alloc(context, sizeof *state);
    *out = state;
    if (!state) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the hip backend");
    }
    state->context = context;
    pthread_mutex_init(&state->lock, NULL);
    return MJ_OK;
}

static void hip_close(void *opaque)
{
    mj_hip_state *state = opaque;
    if (state) {
        mj_hiprtc_close(state->hiprtc);
        mj_hip_api_unload(&state->api);
        pthread_mutex_destroy(&state->lock);
        mj_free(state->context, state);
    }
}

/* The first outcome stays: a driver does not appear while a process runs. */
static mj_status need_runtime(mj_hip_state *state, mj_error *error)
{
    pthread_mutex_lock(&state->lock);
    if (!state->runtime_tried) {
        state->runtime_tried = true;
        state->runtime_status = mj_hip_api_load(&state->api, &state->runtime_error);
        if (state->runtime_status == MJ_OK) {
            hip_result started = state->api.init(0);
            state->no_gpu = started == HIP_NO_DEVICE;
            state->runtime_status =
                mj_hip_check(&state->api, started, "AMD's HIP runtime does not start", &state->runtime_error);
        }
    }
    mj_status status = state->runtime_status;
    if (status != MJ_OK) {
        mj_fail(error, status, "%s", state->runtime_error.text);
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}

mj_status mj_hip_need_hiprtc(mj_hip_state *state, const mj_hiprtc **out, mj_error *error)
{
    pthread_mutex_lock(&state->lock);
    if (!state->hiprtc_tried) {
        state->hiprtc_tried = true;
        state->hiprtc_status = mj_hiprtc_open(state->context->hiprtc_path, &state->hiprtc, &state->hiprtc_error);
        if (state->hiprtc_status == MJ_OK) {
            mj_log(state->context, 2, "%s from %s", mj_hiprtc_identity(state->hiprtc), mj_hiprtc_path(state->hiprtc));
        }
    }
    mj_status status = state->hiprtc_status;
    if (status != MJ_OK) {
        mj_fail(error, status, "%s", state->hiprtc_error.text);
    }
    *out = state->hiprtc;
    pthread_mutex_unlock(&state->lock);
    return status;
}

/* ---- Devices ---- */

/* A runtime that is there but too old, or that does not start, is worth telling: an unusable device in the list. */
static bool runtime_is_broken(const mj_hip_state *state)
{
    return state->runtime_status == MJ_ERR_UNSUPPORTED ||
           (state->api.library && state->runtime_status != MJ_OK && !state->no_gpu);
}

static mj_status hip_device_count(void *opaque, uint32_t *count, mj_error *error)
{
    mj_hip_state *state = opaque;
    int found = 0;
    *count = 0;
    if (need_runtime(state, NULL) != MJ_OK) {
        *count = runtime_is_broken(state) ? 1 : 0;
        return MJ_OK;
    }
    hip_result result = state->api.device_count(&found);
    if (result == HIP_NO_DEVICE) { /* older runtimes start without a GPU, too */
        return MJ_OK;
    }
    mj_status status = mj_hip_check(&state->api, result, "counting GPUs", error);
    *count = status == MJ_OK && found > 0 ? (uint32_t)found : 0;
    return status;
}

static mj_status check_index(mj_hip_state *state, uint32_t index, mj_error *error)
{
    uint32_t count = 0;
    mj_status status = need_runtime(state, error);
    if (status == MJ_OK) {
        status = hip_device_count(state, &count, error);
    }
    if (status == MJ_OK && index >= count) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "hip:%u: there %s %u AMD GPU%s", index, count == 1 ? "is" : "are",
                       count, count == 1 ? "" : "s");
    }
    return status;
}

/* The struct of properties differs between versions. The architecture is the text in it, behind the device's name, that
 * starts with "gfx". */
mj_status mj_hip_read_arch(const mj_hip_api *api, int index, char *out, size_t bytes, mj_error *error)
{
    char *properties = calloc(1, HIP_PROPERTIES_BYTES_MAX);
    if (!properties) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a GPU's properties");
    }
    mj_status status =
        mj_hip_check(api, api->device_properties(properties, index), "reading a GPU's properties", error);
    size_t length = 0;
    for (size_t i = HIP_PROPERTIES_NAME_BYTES; status == MJ_OK && length == 0 && i < HIP_PROPERTIES_BYTES_MAX - 64;
         i++) {
        const char *at = properties + i;
        size_t digits = memcmp(at, "gfx", 3) == 0 ? strspn(at + 3, "0123456789abcdef") : 0;
        if (digits >= 3 && digits < 16 && (at[3 + digits] == '\0' || at[3 + digits] == ':')) {
            length = 3 + digits;
            snprintf(out, bytes, "%.*s", (int)length, at);
        }
    }
    free(properties);
    if (status == MJ_OK && length == 0) {
        status = mj_fail(error, MJ_ERR_UNSUPPORTED, "AMD's HIP runtime does not say what kind of GPU hip:%d is", index);
    }
    return status;
}

static void read_attributes(const mj_hip_api *api, int index, mj_device_info *out)
{
    static const struct {
        int attribute;
        size_t offset; /* of the uint32_t in mj_device_info */
        int divisor;
    } rows[] = {
        {HIP_MULTIPROCESSOR_COUNT, offsetof(mj_device_info, sm_count), 1},
        {HIP_SMEM_BLOCK_BYTES, offsetof(mj_device_info, smem_block_bytes_max), 1},
        {HIP_CLOCK_RATE_KHZ, offsetof(mj_device_info, clock_mhz), 1000},
    };
    int value = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (api->device_attribute(&value, rows[i].attribute, index) == HIP_SUCCESS && value > 0) {
            uint32_t scaled = (uint32_t)(value / rows[i].divisor);
            memcpy((char *)out + rows[i].offset, &scaled, sizeof scaled);
        }
    }
    if (api->device_attribute(&value, HIP_L2_CACHE_BYTES, index) == HIP_SUCCESS && value > 0) {
        out->l2_bytes = (uint64_t)value;
    }
}

static void set_note(mj_device_info *out, const char *text)
{
    snprintf(out->note, sizeof out->note, "%.*s", (int)sizeof out->note - 1, text);
}

static mj_status hip_compiler_identity(void *opaque, char *out, size_t bytes, mj_error *error)
{
    const mj_hiprtc *hiprtc = NULL;
    mj_status status = mj_hip_need_hiprtc(opaque, &hiprtc, error);
    snprintf(out, bytes, "%s", status == MJ_OK ? mj_hiprtc_identity(hiprtc) : "");
    return status;
}

static mj_status hip_device_info(void *opaque, uint32_t index, mj_device_info *out, mj_error *error)
{
    mj_hip_state *state = opaque;
    const mj_hip_api *api = &state->api;
    int version = 0, mode = 0;
    size_t memory_bytes = 0;
    mj_error missing = {0};
    memset(out, 0, sizeof *out);
    snprintf(out->id, sizeof out->id, "hip:%u", index);
    if (need_runtime(state, &missing) != MJ_OK && runtime_is_broken(state) && index == 0) {
        snprintf(out->name, sizeof out->name, "AMD GPU");
        set_note(out, missing.text);
        return MJ_OK;
    }
    mj_status status = check_index(state, index, error);
    if (status != MJ_OK) {
        return status;
    }
    if (api->device_name(out->name, (int)sizeof out->name, (int)index) != HIP_SUCCESS || !out->name[0]) {
        snprintf(out->name, sizeof out->name, "AMD GPU"); /* a card that the runtime has no name for */
    }
    out->name[sizeof out->name - 1] = '\0';
    if (api->runtime_version(&version) == HIP_SUCCESS) { /* 60443484: 6.4.43484 */
        snprintf(out->driver, sizeof out->driver, "hip %d.%d", version / 10000000, version / 100000 % 100);
    }
    if (api->device_memory(&memory_bytes, (int)index) == HIP_SUCCESS) {
        out->memory_bytes = memory_bytes;
    }
    read_attributes(api, (int)index, out);
    if (hip_compiler_identity(state, out->compiler, sizeof out->compiler, &missing) != MJ_OK) {
        set_note(out, missing.text);
    }
    if (mj_hip_read_arch(api, (int)index, out->arch, sizeof out->arch, &missing) != MJ_OK) {
        set_note(out, missing.text); /* of this one: the others go on */
    }
    if (api->device_attribute(&mode, HIP_COMPUTE_MODE, (int)index) == HIP_SUCCESS &&
        mode == HIP_COMPUTE_MODE_PROHIBITED) {
        set_note(out, "the GPU's compute mode is \"prohibited\": no process may use it");
    }
    return MJ_OK;
}

static mj_status hip_device_open(void *opaque, uint32_t index, void **out, mj_error *error)
{
    mj_hip_state *state = opaque;
    char what[96], arch[MJ_NAME_MAX];
    size_t free_bytes = 0, total_bytes = 0;
    int before = -1;
    *out = NULL;
    mj_status status = check_index(state, index, error);
    if (status == MJ_OK) {
        status = mj_hip_read_arch(&state->api, (int)index, arch, sizeof arch, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_hip_device *opened = mj_alloc(state->context, sizeof *opened);
    if (!opened) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a device");
    }
    *opened = (mj_hip_device){.state = state, .api = &state->api, .index = (int)index};
    memcpy(opened->arch, arch, sizeof arch);
    snprintf(what, sizeof what, "hip:%u cannot be used (held by another process, or out of memory?)", index);
    /* The runtime starts a device with the first call that needs it: better here than in the first launch. */
    state->api.device_current(&before);
    hip_result result = state->api.device_select((int)index);
    result = result == HIP_SUCCESS ? state->api.memory_info(&free_bytes, &total_bytes) : result;
    if (before >= 0) {
        state->api.device_select(before);
    }
    status = mj_hip_check(&state->api, result, what, error);
    if (status != MJ_OK) {
        mj_free(state->context, opened);
        return status;
    }
    *out = opened;
    return MJ_OK;
}

static void hip_device_close(void *opaque)
{
    mj_hip_device *device = opaque;
    if (device) { /* the runtime's state of a device is the process's, and others may use it */
        mj_free(device->state->context, device);
    }
}

/* ---- Compiling ---- */

static mj_status hip_compile(void *opaque, const char *compile_target, const char *source, size_t source_bytes,
                             mj_compiled *out, mj_error *error)
{
    const mj_hiprtc *hiprtc = NULL;
    memset(out, 0, sizeof *out);
    if (memchr(source, '\0', source_bytes)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "the source holds a zero byte");
    }
    mj_status status = mj_hip_need_hiprtc(opaque, &hiprtc, error);
    return status == MJ_OK ? mj_hiprtc_compile(hiprtc, compile_target, source, source_bytes, out, error) : status;
}

const mj_backend mj_backend_hip = {
    .name = "hip",
    .open = hip_open,
    .close = hip_close,
    .device_count = hip_device_count,
    .device_info = hip_device_info,
    .compiler_identity = hip_compiler_identity,
    .compile = hip_compile,
    .device_open = hip_device_open,
    .device_close = hip_device_close,
    .kernel_load = mj_hip_kernel_load,
    .kernel_unload = mj_hip_kernel_unload,
    .kernel_launch = mj_hip_kernel_launch,
    .memory_alloc = mj_hip_memory_alloc,
    .memory_free = mj_hip_memory_free,
    .memory_upload = mj_hip_memory_upload,
    .memory_download = mj_hip_memory_download,
    .memory_set = mj_hip_memory_set,
    .memory_info = mj_hip_memory_info,
    .stream_create = mj_hip_stream_create,
    .stream_destroy = mj_hip_stream_destroy,
    .stream_sync = mj_hip_stream_sync,
    .event_create = mj_hip_event_create,
    .event_destroy = mj_hip_event_destroy,
    .event_record = mj_hip_event_record,
    .event_elapsed_us = mj_hip_event_elapsed_us,
    .capture_begin = mj_hip_capture_begin,
    .capture_end = mj_hip_capture_end,
    .graph_launch = mj_hip_graph_launch,
    .graph_destroy = mj_hip_graph_destroy,
};
