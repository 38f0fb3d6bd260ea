/* device.c: mj_device over a backend, and what an estimate and a store key need to know of it. */
#include "context.h"

#include <stdio.h>
#include <string.h>

#include "store.h"

#define CPU_THREAD_GBPS 12.0 /* what one core can draw; a small machine does not reach its arch's typical figure */

/* ---- Info ------------------------------------------------------------------------------------- */

enum { NOTE_BYTES = sizeof((mj_device_info *)0)->note };

static void drop_arch(mj_device_info *info, const char *why, char *missing)
{
    char capability[48];
    snprintf(capability, sizeof capability, "compute capability %u.%u", info->capability_major, info->capability_minor);
    const char *what = info->arch[0] ? info->arch : info->capability_major ? capability : info->name;
    if (why[0]) {
        snprintf(missing, NOTE_BYTES, "%.*s", (int)NOTE_BYTES - 1, why);
    } else {
        snprintf(missing, NOTE_BYTES, "this version has no kernels for %s", what);
    }
    info->arch[0] = '\0';
}

/* What arch it is of, and its typical figures; if none: `missing` says so. */
#if MOEJIT_GENERATOR
static const mj_arch *find_arch(const mj_spec *spec, const mj_device_info *info)
{
    const mj_arch *arch = NULL;
    if (info->arch[0]) {
        return mj_spec_find_arch(spec, info->arch, &arch, NULL) == MJ_OK ? arch : NULL;
    }
    return info->capability_major ? mj_spec_arch_for_capability(spec, info->capability_major, info->capability_minor)
                                  : NULL;
}

static void fill_arch(mj_context *context, mj_device_info *info, mj_device_shape *shape, char *missing)
{
    const mj_spec *spec = NULL;
    mj_error why = {0};
    bool has_spec = mj_context_spec(context, &spec, &why) == MJ_OK;
    const mj_arch *arch = has_spec ? find_arch(spec, info) : NULL;
    if (arch) {
        snprintf(info->arch, sizeof info->arch, "%s", arch->name);
        *shape = arch->typical;
    } else if (has_spec || !info->arch[0]) { /* without tables the backend's own name for it stands */
        drop_arch(info, why.text, missing);
    }
}
#else
static void fill_arch(mj_context *context, mj_device_info *info, mj_device_shape *shape, char *missing)
{
    /* Stored kernels name their arch as lua/arch does: those of the same major run on any later minor, but for "a". */
    static const struct {
        uint32_t major, minor;
        const char *arch;
    } rows[] = {
        {8, 0, "sm_80"}, {8, 6, "sm_86"}, {8, 9, "sm_89"}, {9, 0, "sm_90a"}, {10, 0, "sm_100a"}, {12, 0, "sm_120a"},
    };
    (void)context, (void)shape;
    for (size_t i = 0; !info->arch[0] && i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].major == info->capability_major && rows[i].minor == info->capability_minor) {
            snprintf(info->arch, sizeof info->arch, "%s", rows[i].arch);
        }
    }
    if (!info->arch[0]) {
        drop_arch(info, "", missing);
    }
}
#endif

/* The typical device's figures, scaled to this one's size. */
static void correct_shape(const mj_device_info *info, mj_device_shape *shape)
{
    if (info->sm_count && shape->sm_count) {
        shape->matrix_tflops *= (double)info->sm_count / shape->sm_count;
        double cpu_gbps = CPU_THREAD_GBPS * info->sm_count;
        if (strcmp(info->arch, "cpu") == 0 && cpu_gbps < shape->memory_gbps) {
            shape->memory_gbps = cpu_gbps;
        }
    }
    if (info->sm_count) {
        shape->sm_count = info->sm_count;
    }
    if (info->l2_bytes) {
        shape->l2_bytes = (double)info->l2_bytes;
    }
}

static bool may_compile(const mj_context *context)
{
    return MOEJIT_GENERATOR && !context->options.no_compile;
}

static mj_status fill_info(mj_context *context, const mj_backend *backend, void *state, uint32_t index,
                           mj_device_info *info, mj_device_shape *shape, mj_error *error)
{
    memset(info, 0, sizeof *info);
    memset(shape, 0, sizeof *shape);
    mj_status status = backend->device_info(state, index, info, error);
    if (status != MJ_OK) {
        return status;
    }
    char missing[NOTE_BYTES] = "";
    fill_arch(context, info, shape, missing);
    correct_shape(info, shape);
    mj_error why = {0};
    if (!info->compiler[0] && backend->compiler_identity(state, info->compiler, sizeof info->compiler, &why) != MJ_OK) {
        info->compiler[0] = '\0';
        /* Who never compiles misses no compiler. */
        if (!may_compile(context) && strncmp(info->note, why.text, strlen(info->note)) == 0) {
            info->note[0] = '\0';
        }
    }
    if (!info->arch[0] && !info->note[0]) {
        memcpy(info->note, missing, sizeof info->note);
    }
    return MJ_OK;
}

/* ---- List ------------------------------------------------------------------------------------- */

typedef struct device_walk {
    mj_context *context;
    mj_device_info *out;
    uint32_t capacity, count;
    mj_status first_failure;
    mj_error *error;
} device_walk;

/* A vendor whose library is broken hides its devices, not the others'. */
static void list_backend(device_walk *walk, uint32_t at)
{
    const mj_backend *backend = NULL;
    void *state = NULL;
    uint32_t count = 0;
    mj_error why = {0};
    mj_status status = mj_context_backend_at(walk->context, at, &backend, &state, &why);
    if (status == MJ_OK) {
        status = backend->device_count(state, &count, &why);
    }
    if (status == MJ_ERR_MEMORY && walk->first_failure == MJ_OK) {
        walk->first_failure = mj_fail(walk->error, status, "%s", why.text);
    }
    if (status != MJ_OK) {
        mj_log(walk->context, status == MJ_ERR_NO_DEVICE ? 1 : 0, "%s: %s", mj_backends()[at]->name, why.text);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        mj_device_info info;
        mj_device_shape shape;
        status = fill_info(walk->context, backend, state, i, &info, &shape, &why);
        if (status == MJ_ERR_MEMORY && walk->first_failure == MJ_OK) {
            walk->first_failure = mj_fail(walk->error, status, "%s", why.text);
        }
        if (status != MJ_OK) { /* it is there, and the list says what is wrong with it */
            mj_log(walk->context, 0, "%s:%u: %s", backend->name, i, why.text);
            memset(&info, 0, sizeof info);
            snprintf(info.id, sizeof info.id, "%s:%u", backend->name, i);
            snprintf(info.note, sizeof info.note, "%.*s", (int)sizeof info.note - 1, why.text);
        }
        if (walk->count < walk->capacity) {
            walk->out[walk->count] = info;
        }
        walk->count++;
    }
}

mj_status mj_device_list(mj_context *context, mj_device_info *out, uint32_t capacity, uint32_t *count, mj_error *error)
{
    if (!context || !count || (!out && capacity)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "context, count or out is null");
    }
    *count = 0;
    device_walk walk = {.context = context, .out = out, .capacity = capacity, .error = error};
    const mj_backend *const *backends = mj_backends();
    /* The scripted backend is for tests, which open it by name; the CPU comes last. */
    for (int cpu_turn = 0; cpu_turn <= 1; cpu_turn++) {
        for (uint32_t i = 0; i < MJ_BACKENDS_MAX && backends[i]; i++) {
            bool is_cpu = strcmp(backends[i]->name, "cpu") == 0;
            if (is_cpu == (cpu_turn == 1) && strcmp(backends[i]->name, "null") != 0) {
                list_backend(&walk, i);
            }
        }
    }
    if (walk.first_failure != MJ_OK) {
        return walk.first_failure;
    }
    *count = walk.count;
    return MJ_OK;
}

/* ---- Open and close --------------------------------------------------------------------------- */

static mj_status pick_best(mj_context *context, char *id, size_t bytes, mj_error *error)
{
    enum { LISTED_MAX = 64 };
    uint32_t count = 0;
    mj_device_info *infos = mj_alloc(context, LISTED_MAX * sizeof *infos);
    if (!infos) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the list of devices");
    }
    mj_status status = mj_device_list(context, infos, LISTED_MAX, &count, error);
    bool found = false;
    char note[256] = "none was found";
    for (uint32_t i = 0; status == MJ_OK && !found && i < count && i < LISTED_MAX; i++) {
        found = infos[i].note[0] == '\0';
        snprintf(found ? id : note, found ? bytes : sizeof note, "%s", found ? infos[i].id : infos[i].note);
    }
    mj_free(context, infos);
    if (status == MJ_OK && !found) {
        status = mj_fail(error, MJ_ERR_NO_DEVICE, "no usable device: %s", note);
    }
    return status;
}

static mj_status check_index(const mj_backend *backend, void *state, const char *id, uint32_t index, mj_error *error)
{
    uint32_t count = 0;
    mj_error why = {0};
    mj_status status = backend->device_count(state, &count, &why);
    if (status != MJ_OK) {
        return mj_fail(error, status, "no device %s: %s", id, why.text);
    }
    if (index < count) {
        return MJ_OK;
    }
    if (count == 0) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "no device %s: %s finds none here", id, backend->name);
    }
    return mj_fail(error, MJ_ERR_NO_DEVICE, "no device %s: there %s %u, %s:0%s", id, count == 1 ? "is" : "are", count,
                   backend->name, count == 1 ? "" : " and on");
}

mj_status mj_device_open(mj_context *context, const char *id, mj_device **out, mj_error *error)
{
    char best[MJ_NAME_MAX] = "";
    uint32_t index = 0;
    if (out) {
        *out = NULL;
    }
    if (!context || !id || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "context, id or out is null");
    }
    if (strcmp(id, "best") == 0) {
        mj_status picked = pick_best(context, best, sizeof best, error);
        if (picked != MJ_OK) {
            return picked;
        }
        id = best;
    }
    mj_device *device = mj_alloc(context, sizeof *device);
    if (!device) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a device");
    }
    device->context = context;
    mj_status status = mj_context_backend(context, id, &device->backend, &device->backend_state, &index, error);
    if (status == MJ_OK) {
        status = check_index(device->backend, device->backend_state, id, index, error);
    }
    if (status == MJ_OK) {
        status =
            fill_info(context, device->backend, device->backend_state, index, &device->info, &device->shape, error);
    }
    if (status == MJ_OK && device->info.note[0]) {
        status = mj_fail(error, MJ_ERR_NO_DEVICE, "%s cannot be used: %s", id, device->info.note);
    }
    if (status == MJ_OK) {
        status = device->backend->device_open(device->backend_state, index, &device->handle, error);
    }
    if (status == MJ_OK) { /* only an open device knows what is free */
        uint64_t total_bytes = 0;
        status = device->backend->memory_info(device->handle, &device->info.memory_free_bytes, &total_bytes, error);
        if (status != MJ_OK) {
            device->backend->device_close(device->handle);
        }
    }
    if (status != MJ_OK) {
        mj_free(context, device);
        return status;
    }
    *out = device;
    return MJ_OK;
}

void mj_device_close(mj_device *device)
{
    if (device) {
        device->backend->device_close(device->handle);
        mj_free(device->context, device);
    }
}

const mj_device_info *mj_device_get_info(const mj_device *device)
{
    return device ? &device->info : NULL;
}

/* ---- Memory ----------------------------------------------------------------------------------- */

mj_status mj_memory_alloc(mj_device *device, size_t bytes, void **out, mj_error *error)
{
    if (out) {
        *out = NULL;
    }
    if (!device || !out || bytes == 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "device or out is null, or bytes is 0");
    }
    return device->backend->memory_alloc(device->handle, bytes, out, error);
}

void mj_memory_free(mj_device *device, void *pointer)
{
    if (device && pointer) {
        device->backend->memory_free(device->handle, pointer);
    }
}

mj_status mj_memory_upload(mj_device *device, void *to_device, const void *from, size_t bytes, mj_error *error)
{
    if (!device || (bytes && (!to_device || !from))) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "device, to_device or from is null");
    }
    if (bytes == 0) {
        return MJ_OK;
    }
    mj_status status = device->backend->memory_upload(device->handle, to_device, from, bytes, NULL, error);
    return status == MJ_OK ? device->backend->stream_sync(device->handle, NULL, error) : status;
}

mj_status mj_memory_download(mj_device *device, void *to, const void *from_device, size_t bytes, mj_error *error)
{
    if (!device || (bytes && (!to || !from_device))) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "device, to or from_device is null");
    }
    if (bytes == 0) {
        return MJ_OK;
    }
    mj_status status = device->backend->memory_download(device->handle, to, from_device, bytes, NULL, error);
    return status == MJ_OK ? device->backend->stream_sync(device->handle, NULL, error) : status;
}

mj_status mj_stream_sync(mj_device *device, void *stream, mj_error *error)
{
    if (!device) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "device is null");
    }
    return device->backend->stream_sync(device->handle, stream, error);
}

mj_status mj_stream_create(mj_device *device, void **out, mj_error *error)
{
    if (out) {
        *out = NULL;
    }
    if (!device || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "device or out is null");
    }
    return device->backend->stream_create(device->handle, out, error);
}

void mj_stream_destroy(mj_device *device, void *stream)
{
    if (device && stream) {
        device->backend->stream_destroy(device->handle, stream);
    }
}

/* ---- Identity --------------------------------------------------------------------------------- */

mj_status mj_device_identity(mj_device *device, mj_identity *out, mj_error *error)
{
    if (!device || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "device or out is null");
    }
    const mj_device_info *info = &device->info;
    memset(out, 0, sizeof *out);
    snprintf(out->device, sizeof out->device, "%s", info->name);
    snprintf(out->arch, sizeof out->arch, "%s", info->arch);
    snprintf(out->driver, sizeof out->driver, "%s", info->driver);
    snprintf(out->compiler, sizeof out->compiler, "%s", info->compiler);
    out->sm_count = info->sm_count;
    out->memory_bytes = info->memory_bytes;
    out->generator_version = MJ_GENERATOR_VERSION;
    return MJ_OK;
}
