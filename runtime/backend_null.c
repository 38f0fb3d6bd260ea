/* backend_null.c: a device of plain memory whose calls fail where a script says so. */
#define _GNU_SOURCE
#include "null_script.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ORDER NULL CALL */
#define NULL_CALLS(X) \
    X(device_count) \
    X(device_info) X(compiler_identity) X(compile) X(device_open) X(kernel_load) X(kernel_launch) X(memory_alloc) \
        X(memory_upload) X(memory_download) X(memory_set) X(memory_info) X(stream_create) X(stream_sync) \
            X(event_create) X(event_record) X(event_elapsed_us) X(capture_begin) X(capture_end) X(graph_launch)

typedef enum null_call {
#define NULL_ENUM(name) CALL_##name,
    NULL_CALLS(NULL_ENUM)
#undef NULL_ENUM
        CALL_COUNT
} null_call;

static const char *const call_names[CALL_COUNT] = {
#define NULL_NAME(name) #name,
    NULL_CALLS(NULL_NAME)
#undef NULL_NAME
};

typedef enum null_action { ACT_FAIL, ACT_HANG, ACT_CRASH, ACT_SLOW } null_action;

typedef struct null_rule {
    null_call call;
    uint64_t nth; /* 0: every call */
    null_action action;
    mj_status status;
    double seconds;
} null_rule;

enum { RULES_MAX = 64, FAKE_EVENT_US = 10 };

struct mj_null_state {
    pthread_mutex_t lock; /* guards rules and counts */
    uint32_t device_count;
    uint64_t memory_bytes;
    uint32_t rule_count;
    null_rule rules[RULES_MAX];
    uint64_t calls[CALL_COUNT];
    atomic_llong live;
};

typedef struct null_device {
    mj_null_state *state;
    uint64_t used_bytes;
    uint64_t clock_us; /* advances with every launch */
    bool lost, capturing;
} null_device;

typedef struct null_event {
    uint64_t at_us;
    bool recorded;
} null_event;

/* ---- Scripts ---- */

static bool parse_status(const char *word, mj_status *out)
{
    for (int i = 1; i < MJ_STATUS_COUNT; i++) {
        if (strcmp(mj_status_name((mj_status)i) + strlen("MJ_ERR_"), word) == 0) {
            *out = (mj_status)i;
            return true;
        }
    }
    return false;
}

static bool parse_action(const char *word, null_rule *rule)
{
    rule->action = strcmp(word, "hang") == 0 ? ACT_HANG : strcmp(word, "crash") == 0 ? ACT_CRASH : ACT_FAIL;
    if (rule->action != ACT_FAIL) {
        return true;
    }
    if (strncmp(word, "slow:", 5) == 0) {
        rule->action = ACT_SLOW;
        rule->seconds = strtod(word + 5, NULL);
        return rule->seconds >= 0 && rule->seconds < 3600;
    }
    return parse_status(word, &rule->status);
}

static bool parse_rule(mj_null_state *state, const char *text)
{
    char name[64], word[64];
    unsigned long long nth = 0, value = 0;
    null_rule rule = {0};
    if (sscanf(text, "devices=%llu", &value) == 1) {
        state->device_count = (uint32_t)value;
        return value <= 64;
    }
    if (sscanf(text, "memory_mib=%llu", &value) == 1) {
        state->memory_bytes = (uint64_t)value << 20;
        return value <= 1 << 20;
    }
    if (sscanf(text, "%63[a-z_]@%llu=%63s", name, &nth, word) != 3) {
        nth = 0;
        if (sscanf(text, "%63[a-z_]=%63s", name, word) != 2) {
            return false;
        }
    }
    rule.nth = nth;
    for (rule.call = 0; rule.call < CALL_COUNT && strcmp(call_names[rule.call], name) != 0; rule.call++) {
    }
    if (rule.call == CALL_COUNT || !parse_action(word, &rule) || state->rule_count == RULES_MAX) {
        return false;
    }
    state->rules[state->rule_count++] = rule;
    return true;
}

mj_status mj_null_script_add(mj_null_state *state, const char *script, mj_error *error)
{
    mj_status status = MJ_OK;
    pthread_mutex_lock(&state->lock);
    while (*script && status == MJ_OK) {
        char rule[160];
        script += strspn(script, " \t");
        size_t bytes = strcspn(script, ";\n");
        snprintf(rule, sizeof rule, "%.*s", (int)(bytes < sizeof rule ? bytes : sizeof rule - 1), script);
        if (rule[0] && !parse_rule(state, rule)) {
            status = mj_fail(error, MJ_ERR_FORMAT, "null script: cannot read \"%s\"", rule);
        }
        script += bytes;
        script += *script != '\0';
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}

mj_null_state *mj_null_state_of(mj_context *context)
{
    const mj_backend *const *backends = mj_backends();
    for (uint32_t i = 0; i < MJ_BACKENDS_MAX && backends[i]; i++) {
        if (backends[i] == &mj_backend_null) {
            return context->backend_state[i];
        }
    }
    return NULL;
}

uint64_t mj_null_call_count(const mj_null_state *state, const char *call)
{
    for (int i = 0; i < CALL_COUNT; i++) {
        if (strcmp(call_names[i], call) == 0) {
            return state->calls[i];
        }
    }
    return 0;
}

int64_t mj_null_live_count(const mj_null_state *state)
{
    return atomic_load(&state->live);
}

static void sleep_seconds(double seconds)
{
    struct timespec rest = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&rest, &rest) != 0) {
    }
}

/* Counts the call and does what the script has for it. */
static mj_status scripted(mj_null_state *state, null_call call, mj_error *error)
{
    null_rule found = {.status = MJ_OK};
    pthread_mutex_lock(&state->lock);
    uint64_t nth = ++state->calls[call];
    for (uint32_t i = 0; i < state->rule_count; i++) {
        const null_rule *rule = &state->rules[i];
        if (rule->call == call && (rule->nth == 0 || rule->nth == nth)) {
            found = *rule;
        }
    }
    pthread_mutex_unlock(&state->lock);
    if (found.action == ACT_HANG) {
        for (;;) {
            pause();
        }
    }
    if (found.action == ACT_CRASH) {
        raise(SIGSEGV);
    }
    if (found.action == ACT_SLOW) {
        sleep_seconds(found.seconds);
        return MJ_OK;
    }
    if (found.status == MJ_OK) {
        return MJ_OK;
    }
    return mj_fail(error, found.status, "null device: %s call %llu, as scripted", call_names[call],
                   (unsigned long long)nth);
}

static mj_status on_device(null_device *device, null_call call, mj_error *error)
{
    if (device->lost) {
        return mj_fail(error, MJ_ERR_DEVICE_LOST, "null device: lost before %s", call_names[call]);
    }
    mj_status status = scripted(device->state, call, error);
    device->lost = status == MJ_ERR_DEVICE_LOST;
    return status;
}

/* A live object of at least one byte. */
static mj_status take(mj_null_state *state, size_t bytes, void **out, mj_error *error)
{
    *out = calloc(1, bytes ? bytes : 1);
    if (!*out) {
        return mj_fail(error, MJ_ERR_MEMORY, "null device: no memory");
    }
    atomic_fetch_add(&state->live, 1);
    return MJ_OK;
}

static void give_back(mj_null_state *state, void *object)
{
    if (object) {
        atomic_fetch_sub(&state->live, 1);
        free(object);
    }
}

static mj_status make(null_device *device, null_call call, size_t bytes, void **out, mj_error *error)
{
    *out = NULL;
    mj_status status = on_device(device, call, error);
    return status == MJ_OK ? take(device->state, bytes, out, error) : status;
}

static void destroy(void *device, void *object)
{
    give_back(((null_device *)device)->state, object);
}

/* ---- State, devices, compiler ---- */

static void null_close(void *opaque)
{
    mj_null_state *state = opaque;
    if (state) {
        pthread_mutex_destroy(&state->lock);
        free(state);
    }
}

static mj_status null_open(mj_context *context, void **out, mj_error *error)
{
    (void)context;
    *out = NULL;
    mj_null_state *state = calloc(1, sizeof *state);
    if (!state) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the null backend");
    }
    pthread_mutex_init(&state->lock, NULL);
    state->device_count = 1;
    state->memory_bytes = (uint64_t)1 << 30;
    const char *script = getenv("MOEJIT_NULL_SCRIPT");
    mj_status status = script ? mj_null_script_add(state, script, error) : MJ_OK;
    if (status != MJ_OK) {
        null_close(state);
        return status;
    }
    *out = state;
    return MJ_OK;
}

static mj_status null_device_count(void *opaque, uint32_t *count, mj_error *error)
{
    mj_null_state *state = opaque;
    *count = state->device_count;
    return scripted(state, CALL_device_count, error);
}

static mj_status null_device_info(void *opaque, uint32_t index, mj_device_info *out, mj_error *error)
{
    mj_null_state *state = opaque;
    memset(out, 0, sizeof *out);
    if (index >= state->device_count) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "null:%u: there are %u null devices", index, state->device_count);
    }
    snprintf(out->id, sizeof out->id, "null:%u", index);
    snprintf(out->name, sizeof out->name, "null device");
    snprintf(out->arch, sizeof out->arch, "cpu");
    snprintf(out->driver, sizeof out->driver, "null");
    snprintf(out->compiler, sizeof out->compiler, "null 1");
    out->sm_count = 2;
    out->memory_bytes = out->memory_free_bytes = state->memory_bytes;
    out->l2_bytes = 1 << 20;
    return scripted(state, CALL_device_info, error);
}

static mj_status null_compiler_identity(void *state, char *out, size_t bytes, mj_error *error)
{
    snprintf(out, bytes, "null 1");
    return scripted(state, CALL_compiler_identity, error);
}

/* The "binary" is the source: whatever was compiled can be found in it again. */
static mj_status null_compile(void *state, const char *compile_target, const char *source, size_t source_bytes,
                              mj_compiled *out, mj_error *error)
{
    (void)compile_target;
    memset(out, 0, sizeof *out);
    mj_status status = scripted(state, CALL_compile, error);
    if (status != MJ_OK) {
        return status;
    }
    out->binary = malloc(source_bytes ? source_bytes : 1);
    if (!out->binary) {
        return mj_fail(error, MJ_ERR_MEMORY, "null compiler: no memory");
    }
    memcpy(out->binary, source, source_bytes);
    out->binary_bytes = source_bytes;
    return MJ_OK;
}

static mj_status null_device_open(void *opaque, uint32_t index, void **out, mj_error *error)
{
    mj_null_state *state = opaque;
    *out = NULL;
    if (index >= state->device_count) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "null:%u: there are %u null devices", index, state->device_count);
    }
    mj_status status = scripted(state, CALL_device_open, error);
    if (status == MJ_OK) {
        status = take(state, sizeof(null_device), out, error);
    }
    if (status == MJ_OK) {
        ((null_device *)*out)->state = state;
    }
    return status;
}

static void null_device_close(void *device)
{
    if (device) {
        give_back(((null_device *)device)->state, device);
    }
}

/* ---- Kernels and memory ---- */

static mj_status null_kernel_load(void *opaque, const void *binary, size_t bytes, const char *symbol,
                                  uint32_t smem_bytes, void **kernel, mj_kernel_attributes *attributes, mj_error *error)
{
    (void)smem_bytes;
    *kernel = NULL;
    if (!memmem(binary, bytes, symbol, strlen(symbol))) {
        return mj_fail(error, MJ_ERR_NOT_FOUND, "null device: the binary holds no %s", symbol);
    }
    if (attributes) {
        *attributes = (mj_kernel_attributes){.threads_block_max = 1024};
    }
    return make(opaque, CALL_kernel_load, 1, kernel, error);
}

static mj_status null_kernel_launch(void *opaque, void *kernel, const mj_launch *launch, void *stream, mj_error *error)
{
    null_device *device = opaque;
    (void)kernel, (void)launch, (void)stream;
    device->clock_us += device->capturing ? 0 : FAKE_EVENT_US;
    return on_device(device, CALL_kernel_launch, error);
}

typedef struct null_block { /* before every allocation */
    size_t bytes;
    char padding[256 - sizeof(size_t)];
} null_block;

static mj_status null_memory_alloc(void *opaque, size_t bytes, void **out, mj_error *error)
{
    null_device *device = opaque;
    *out = NULL;
    if (bytes > device->state->memory_bytes - device->used_bytes) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "null device: %zu bytes asked for, %llu are free", bytes,
                       (unsigned long long)(device->state->memory_bytes - device->used_bytes));
    }
    mj_status status = on_device(device, CALL_memory_alloc, error);
    if (status != MJ_OK) {
        return status;
    }
    null_block *block = aligned_alloc(256, (sizeof *block + bytes + 255) / 256 * 256);
    if (!block) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "null device: no memory");
    }
    block->bytes = bytes;
    device->used_bytes += bytes;
    atomic_fetch_add(&device->state->live, 1);
    *out = block + 1;
    return MJ_OK;
}

static void null_memory_free(void *opaque, void *pointer)
{
    null_device *device = opaque;
    if (pointer) {
        null_block *block = (null_block *)pointer - 1;
        device->used_bytes -= block->bytes;
        give_back(device->state, block);
    }
}

static mj_status null_memory_upload(void *device, void *to, const void *from, size_t bytes, void *stream,
                                    mj_error *error)
{
    (void)stream;
    mj_status status = on_device(device, CALL_memory_upload, error);
    if (status == MJ_OK && bytes) {
        memcpy(to, from, bytes);
    }
    return status;
}

static mj_status null_memory_download(void *device, void *to, const void *from, size_t bytes, void *stream,
                                      mj_error *error)
{
    (void)stream;
    mj_status status = on_device(device, CALL_memory_download, error);
    if (status == MJ_OK && bytes) {
        memcpy(to, from, bytes);
    }
    return status;
}

static mj_status null_memory_set(void *device, void *to, int byte_value, size_t bytes, void *stream, mj_error *error)
{
    (void)stream;
    mj_status status = on_device(device, CALL_memory_set, error);
    if (status == MJ_OK && bytes) {
        memset(to, byte_value, bytes);
    }
    return status;
}

static mj_status null_memory_info(void *opaque, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error)
{
    null_device *device = opaque;
    *total_bytes = device->state->memory_bytes;
    *free_bytes = device->state->memory_bytes - device->used_bytes;
    return on_device(device, CALL_memory_info, error);
}

/* ---- Streams, events, graphs ---- */

static mj_status null_stream_create(void *device, void **stream, mj_error *error)
{
    return make(device, CALL_stream_create, 1, stream, error);
}

static mj_status null_stream_sync(void *device, void *stream, mj_error *error)
{
    (void)stream;
    return on_device(device, CALL_stream_sync, error);
}

static mj_status null_event_create(void *device, void **event, mj_error *error)
{
    return make(device, CALL_event_create, sizeof(null_event), event, error);
}

static mj_status null_event_record(void *opaque, void *event, void *stream, mj_error *error)
{
    null_device *device = opaque;
    (void)stream;
    *(null_event *)event = (null_event){.at_us = device->clock_us, .recorded = true};
    return on_device(device, CALL_event_record, error);
}

static mj_status null_event_elapsed_us(void *device, void *start, void *stop, double *us, mj_error *error)
{
    const null_event *first = start, *last = stop;
    if (!first->recorded || !last->recorded) {
        return mj_fail(error, MJ_ERR_DEVICE, "null device: an event was never recorded");
    }
    *us = (double)last->at_us - (double)first->at_us;
    return on_device(device, CALL_event_elapsed_us, error);
}

static mj_status null_capture_begin(void *opaque, void *stream, mj_error *error)
{
    null_device *device = opaque;
    (void)stream;
    device->capturing = true;
    return on_device(device, CALL_capture_begin, error);
}

static mj_status null_capture_end(void *opaque, void *stream, void **graph, mj_error *error)
{
    null_device *device = opaque;
    (void)stream;
    device->capturing = false;
    return make(device, CALL_capture_end, 1, graph, error);
}

static mj_status null_graph_launch(void *opaque, void *graph, void *stream, mj_error *error)
{
    null_device *device = opaque;
    (void)graph, (void)stream;
    device->clock_us += FAKE_EVENT_US;
    return on_device(device, CALL_graph_launch, error);
}

const mj_backend mj_backend_null = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .device_count = null_device_count,
    .device_info = null_device_info,
    .compiler_identity = null_compiler_identity,
    .compile = null_compile,
    .device_open = null_device_open,
    .device_close = null_device_close,
    .kernel_load = null_kernel_load,
    .kernel_unload = destroy,
    .kernel_launch = null_kernel_launch,
    .memory_alloc = null_memory_alloc,
    .memory_free = null_memory_free,
    .memory_upload = null_memory_upload,
    .memory_download = null_memory_download,
    .memory_set = null_memory_set,
    .memory_info = null_memory_info,
    .stream_create = null_stream_create,
    .stream_destroy = destroy,
    .stream_sync = null_stream_sync,
    .event_create = null_event_create,
    .event_destroy = destroy,
    .event_record = null_event_record,
    .event_elapsed_us = null_event_elapsed_us,
    .capture_begin = null_capture_begin,
    .capture_end = null_capture_end,
    .graph_launch = null_graph_launch,
    .graph_destroy = destroy,
};
