/* backend_cpu.c: kernels compiled by the system's C compiler, loaded with dlopen, run by a pool of threads.
 *
 * A launch runs inside the call, so streams need no queue: a stream is only the place where a capture
 * collects its steps. A graph is that list, replayed. Events are clock stamps.
 */
#define _GNU_SOURCE
#include "backend.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cc.h"
#include "context.h"
#include "cpu_entry.h"
#include "cpu_info.h"
#include "cpu_library.h"
#include "os.h"
#include "threadpool.h"

enum {
    SCRATCH_ALIGN_BYTES = 128,
    MEMORY_ALIGN_BYTES = 256,
    HUGE_PAGE_BYTES = 2 << 20,
    CHUNKS_PER_THREAD = 32, /* blocks of one launch differ in work: hand them out in small portions */
    CHUNK_MAX = 64,
    COMPILE_SECONDS = 300
};

typedef struct cpu_state {
    mj_context *context;
    pthread_mutex_t lock; /* guards the two below */
    bool found;
    char cc[MJ_CC_PATH_MAX];
    char identity[96];
} cpu_state;

typedef enum step_kind { STEP_LAUNCH, STEP_SET, STEP_COPY, STEP_EVENT } step_kind;

typedef struct cpu_step { /* one captured call */
    step_kind kind;
    struct cpu_kernel *kernel;
    mj_launch launch; /* args: an owned copy */
    void *to;
    const void *from;
    int byte_value;
    size_t bytes;
    struct cpu_event *event;
} cpu_step;

typedef struct cpu_graph {
    cpu_step *steps;
    uint32_t count, capacity;
} cpu_graph;

typedef struct cpu_stream {
    cpu_graph *capture; /* NULL: calls run */
} cpu_stream;

typedef struct cpu_event {
    double seconds; /* 0: never recorded */
} cpu_event;

typedef struct cpu_kernel {
    mj_cpu_library library;
    mj_host_entry entry;
    uint32_t smem_bytes;
} cpu_kernel;

typedef struct cpu_device {
    mj_context *context;
    mj_threadpool *pool;
    cpu_stream default_stream;
    char *scratch; /* threads * scratch_bytes */
    size_t scratch_bytes;
    uint64_t launch_count;
} cpu_device;

/* ---- State and compiler ---- */

static mj_status cpu_open(mj_context *context, void **out, mj_error *error)
{
    cpu_state *state = mj_alloc(context, sizeof *state);
    *out = state;
    if (!state) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the cpu backend");
    }
    state->context = context;
    pthread_mutex_init(&state->lock, NULL);
    return MJ_OK;
}

static void cpu_close(void *opaque)
{
    cpu_state *state = opaque;
    if (state) {
        pthread_mutex_destroy(&state->lock);
        mj_free(state->context, state);
    }
}

static mj_status cpu_device_count(void *state, uint32_t *count, mj_error *error)
{
    (void)state;
    (void)error;
    *count = 1;
    return MJ_OK;
}

static mj_status find_compiler(cpu_state *state, mj_error *error)
{
    pthread_mutex_lock(&state->lock);
    mj_status status = MJ_OK;
    if (!state->found) {
        status = mj_cc_find(state->context->cc_path, state->cc, error);
        if (status == MJ_OK) {
            status = mj_cc_identity(state->cc, state->identity, sizeof state->identity, error);
        }
        state->found = status == MJ_OK;
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}

static mj_status cpu_compiler_identity(void *opaque, char *out, size_t bytes, mj_error *error)
{
    cpu_state *state = opaque;
    mj_status status = find_compiler(state, error);
    snprintf(out, bytes, "%s", status == MJ_OK ? state->identity : "");
    return status;
}

static mj_status cpu_device_info(void *opaque, uint32_t index, mj_device_info *out, mj_error *error)
{
    if (index != 0) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "cpu:%u: there is one cpu device, \"cpu\"", index);
    }
    mj_error missing = {0};
    mj_cpu_describe(out);
    snprintf(out->arch, sizeof out->arch, "cpu");
    if (cpu_compiler_identity(opaque, out->compiler, sizeof out->compiler, &missing) != MJ_OK) {
        snprintf(out->note, sizeof out->note, "%.*s", (int)sizeof out->note - 1, missing.text);
    }
    return MJ_OK;
}

static mj_status cpu_compile(void *opaque, const char *compile_target, const char *source, size_t source_bytes,
                             mj_compiled *out, mj_error *error)
{
    cpu_state *state = opaque;
    memset(out, 0, sizeof *out);
    mj_status status = find_compiler(state, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_cc_compile(state->cc, compile_target, source, source_bytes, COMPILE_SECONDS, out, error);
    if (status != MJ_OK) {
        if (out->log) {
            mj_log(state->context, 2, "%s: %s", state->cc, out->log);
        }
        mj_compiled_free(out);
    }
    return status;
}

/* ---- Device ---- */

static mj_status cpu_device_open(void *state, uint32_t index, void **out, mj_error *error)
{
    *out = NULL;
    if (index != 0) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "cpu:%u: there is one cpu device, \"cpu\"", index);
    }
    mj_context *context = ((cpu_state *)state)->context;
    cpu_device *device = mj_alloc(context, sizeof *device);
    if (!device) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the cpu device");
    }
    mj_status status = mj_threadpool_create(mj_cpu_thread_count(), &device->pool, error);
    if (status != MJ_OK) {
        mj_free(context, device);
        return status;
    }
    device->context = context;
    *out = device;
    return MJ_OK;
}

static void cpu_device_close(void *opaque)
{
    cpu_device *device = opaque;
    if (device) {
        mj_threadpool_destroy(device->pool);
        free(device->scratch);
        mj_free(device->context, device);
    }
}

/* ---- Kernels ---- */

static mj_status grow_scratch(cpu_device *device, size_t smem_bytes, mj_error *error)
{
    size_t each = (smem_bytes + SCRATCH_ALIGN_BYTES - 1) / SCRATCH_ALIGN_BYTES * SCRATCH_ALIGN_BYTES;
    if (each <= device->scratch_bytes) {
        return MJ_OK;
    }
    size_t total = 0;
    if (__builtin_mul_overflow(each, (size_t)mj_threadpool_threads(device->pool), &total)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%zu bytes of scratch per thread", smem_bytes);
    }
    char *scratch = aligned_alloc(SCRATCH_ALIGN_BYTES, total);
    if (!scratch) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "no memory for %zu bytes of scratch", total);
    }
    free(device->scratch);
    device->scratch = scratch;
    device->scratch_bytes = each;
    return MJ_OK;
}

static void cpu_kernel_unload(void *device, void *opaque)
{
    cpu_kernel *kernel = opaque;
    if (kernel) {
        mj_cpu_library_unload(&kernel->library);
        mj_free(((cpu_device *)device)->context, kernel);
    }
}

static mj_status cpu_kernel_load(void *opaque, const void *binary, size_t bytes, const char *symbol,
                                 uint32_t smem_bytes, void **out, mj_kernel_attributes *attributes, mj_error *error)
{
    cpu_device *device = opaque;
    *out = NULL;
    mj_status status = grow_scratch(device, smem_bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    cpu_kernel *kernel = mj_alloc(device->context, sizeof *kernel);
    if (!kernel) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a kernel");
    }
    kernel->smem_bytes = smem_bytes;
    status = mj_cpu_library_load(binary, bytes, &kernel->library, error);
    if (status != MJ_OK) {
        goto failed;
    }
    kernel->entry = mj_cpu_library_entry(&kernel->library, symbol);
    if (!kernel->entry) {
        status = mj_fail(error, MJ_ERR_NOT_FOUND, "the binary holds no kernel %s", symbol);
        goto failed;
    }
    if (attributes) {
        *attributes = (mj_kernel_attributes){.threads_block_max = 1024};
    }
    *out = kernel;
    return MJ_OK;
failed:
    cpu_kernel_unload(device, kernel);
    return status;
}

_Static_assert(sizeof(mj_host_tensor_map) <= MJ_TENSOR_MAP_BYTES, "opaque to everybody in between");

static mj_status cpu_tensor_map_encode(void *device, const mj_tensor_map *map, void *out, mj_error *error)
{
    mj_host_tensor_map host = {
        .magic = MJ_HOST_TENSOR_MAP_MAGIC,
        .address = map->address,
        .rows = map->rows,
        .row_elements = map->row_elements,
        .element_bytes = map->element_bytes,
        .box_rows = map->box_rows,
        .box_elements = map->box_elements,
        .swizzle_bytes = map->swizzle_bytes,
        .axis_count = map->axis_count,
    };
    (void)device;
    for (uint32_t i = 0; i < map->axis_count; i++) {
        host.axes[i].stride_rows = map->axes[i].stride_rows;
        host.axes[i].count = (uint32_t)map->axes[i].count;
        host.axes[i].box = map->axes[i].box;
    }
    if (map->address % 16 != 0) { /* as the CUDA driver asks for */
        return mj_fail(error, MJ_ERR_ARGUMENT, "a tensor map of an array that is not aligned to 16 bytes");
    }
    memset(out, 0, MJ_TENSOR_MAP_BYTES);
    memcpy(out, &host, sizeof host);
    return MJ_OK;
}

typedef struct cpu_job {
    const cpu_device *device;
    mj_host_entry entry;
    const void *args;
    int32_t grid;
    uint64_t seed;
} cpu_job;

static void run_block(void *user, uint32_t index, uint32_t thread)
{
    const cpu_job *job = user;
    mj_host_block block = {.block = (int32_t)index,
                           .grid = job->grid,
                           .smem = job->device->scratch + thread * job->device->scratch_bytes,
                           .seed = job->seed};
    job->entry(&block, job->args);
}

static void run_kernel(cpu_device *device, const cpu_kernel *kernel, const mj_launch *launch)
{
    cpu_job job = {.device = device,
                   .entry = kernel->entry,
                   .args = launch->args,
                   .grid = (int32_t)launch->blocks,
                   .seed = device->launch_count++};
    uint32_t chunk = launch->blocks / (mj_threadpool_threads(device->pool) * CHUNKS_PER_THREAD);
    chunk = chunk < 1 ? 1 : chunk > CHUNK_MAX ? CHUNK_MAX : chunk;
    mj_threadpool_run(device->pool, launch->blocks, chunk, run_block, &job);
}

/* ---- Steps: run now, or keep for the graph ---- */

static void run_step(cpu_device *device, const cpu_step *step)
{
    switch (step->kind) {
    case STEP_LAUNCH:
        run_kernel(device, step->kernel, &step->launch);
        break;
    case STEP_SET:
        memset(step->to, step->byte_value, step->bytes);
        break;
    case STEP_COPY:
        memcpy(step->to, step->from, step->bytes);
        break;
    case STEP_EVENT:
        step->event->seconds = mj_os_monotonic_seconds();
        break;
    }
}

static mj_status keep_step(mj_context *context, cpu_graph *graph, const cpu_step *step, mj_error *error)
{
    if (graph->count == graph->capacity) {
        uint32_t capacity = graph->capacity ? 2 * graph->capacity : 16;
        cpu_step *steps = mj_realloc(context, graph->steps, capacity * sizeof *steps);
        if (!steps) {
            return mj_fail(error, MJ_ERR_MEMORY, "no memory for a captured call");
        }
        graph->steps = steps;
        graph->capacity = capacity;
    }
    cpu_step copy = *step;
    if (step->kind == STEP_LAUNCH) {
        void *args = mj_alloc(context, step->launch.args_bytes);
        if (!args) {
            return mj_fail(error, MJ_ERR_MEMORY, "no memory for a captured call");
        }
        copy.launch.args = memcpy(args, step->launch.args, step->launch.args_bytes);
    }
    graph->steps[graph->count++] = copy;
    return MJ_OK;
}

static mj_status do_step(cpu_device *device, cpu_stream *stream, const cpu_step *step, mj_error *error)
{
    stream = stream ? stream : &device->default_stream;
    if (stream->capture) {
        return keep_step(device->context, stream->capture, step, error);
    }
    run_step(device, step);
    return MJ_OK;
}

static mj_status cpu_kernel_launch(void *opaque, void *opaque_kernel, const mj_launch *launch, void *stream,
                                   mj_error *error)
{
    cpu_device *device = opaque;
    cpu_kernel *kernel = opaque_kernel;
    if (launch->blocks == 0) {
        return MJ_OK;
    }
    if (launch->blocks > INT32_MAX || launch->smem_bytes > device->scratch_bytes) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "a launch of %u blocks with %u bytes of scratch", launch->blocks,
                       launch->smem_bytes);
    }
    cpu_step step = {.kind = STEP_LAUNCH, .kernel = kernel, .launch = *launch};
    return do_step(device, stream, &step, error);
}

/* ---- Memory ---- */

static mj_status cpu_memory_alloc(void *device, size_t bytes, void **out, mj_error *error)
{
    uint64_t free_bytes = 0, total_bytes = 0;
    (void)device;
    *out = NULL;
    mj_cpu_memory(&free_bytes, &total_bytes);
    /* The system would hand out more than it has, and end the process on first touch. */
    if (bytes > SIZE_MAX / 2 || (free_bytes && bytes > free_bytes)) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "%zu MiB asked for, %llu MiB of memory are free", bytes >> 20,
                       (unsigned long long)(free_bytes >> 20));
    }
    size_t align = bytes >= 2 * HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : MEMORY_ALIGN_BYTES;
    size_t rounded = (bytes + align) / align * align; /* at least one byte more: never size 0 */
    void *memory = aligned_alloc(align, rounded);
    if (!memory) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "no memory for %zu MiB", bytes >> 20);
    }
    if (align == HUGE_PAGE_BYTES) {
        madvise(memory, rounded, MADV_HUGEPAGE); /* weights are read front to back: fewer TLB misses */
    }
    *out = memory;
    return MJ_OK;
}

static void cpu_memory_free(void *device, void *pointer)
{
    (void)device;
    free(pointer);
}

static mj_status cpu_memory_copy(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error)
{
    if (bytes == 0) {
        return MJ_OK;
    }
    return do_step(device, stream, &(cpu_step){.kind = STEP_COPY, .to = to, .from = from, .bytes = bytes}, error);
}

static mj_status cpu_memory_set(void *device, void *to, int byte_value, size_t bytes, void *stream, mj_error *error)
{
    if (bytes == 0) {
        return MJ_OK;
    }
    return do_step(device, stream, &(cpu_step){.kind = STEP_SET, .to = to, .byte_value = byte_value, .bytes = bytes},
                   error);
}

static mj_status cpu_memory_info(void *device, uint64_t *free_bytes, uint64_t *total_bytes, mj_error *error)
{
    (void)device;
    mj_cpu_memory(free_bytes, total_bytes);
    return *total_bytes ? MJ_OK : mj_fail(error, MJ_ERR_UNSUPPORTED, "the system does not tell its memory");
}

/* ---- Streams, events, graphs ---- */

static mj_status allocate(void *device, size_t bytes, void **out, mj_error *error)
{
    *out = mj_alloc(((cpu_device *)device)->context, bytes);
    return *out ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "no memory for a stream, event or graph");
}

static mj_status cpu_stream_create(void *device, void **out, mj_error *error)
{
    return allocate(device, sizeof(cpu_stream), out, error);
}

static void cpu_graph_destroy(void *device, void *opaque)
{
    cpu_graph *graph = opaque;
    if (!graph) {
        return;
    }
    mj_context *context = ((cpu_device *)device)->context;
    for (uint32_t i = 0; i < graph->count; i++) {
        if (graph->steps[i].kind == STEP_LAUNCH) {
            mj_free(context, (void *)graph->steps[i].launch.args);
        }
    }
    mj_free(context, graph->steps);
    mj_free(context, graph);
}

static void cpu_stream_destroy(void *device, void *opaque)
{
    cpu_stream *stream = opaque;
    if (stream) {
        cpu_graph_destroy(device, stream->capture);
        mj_free(((cpu_device *)device)->context, stream);
    }
}

static mj_status cpu_stream_sync(void *opaque, void *opaque_stream, mj_error *error)
{
    cpu_device *device = opaque;
    const cpu_stream *stream = opaque_stream ? opaque_stream : &device->default_stream;
    return stream->capture ? mj_fail(error, MJ_ERR_DEVICE, "a stream cannot be waited for while it captures") : MJ_OK;
}

static mj_status cpu_event_create(void *device, void **out, mj_error *error)
{
    return allocate(device, sizeof(cpu_event), out, error);
}

static void cpu_event_destroy(void *device, void *event)
{
    mj_free(((cpu_device *)device)->context, event);
}

static mj_status cpu_event_record(void *device, void *event, void *stream, mj_error *error)
{
    return do_step(device, stream, &(cpu_step){.kind = STEP_EVENT, .event = event}, error);
}

static mj_status cpu_event_elapsed_us(void *device, void *opaque_start, void *opaque_stop, double *us, mj_error *error)
{
    const cpu_event *start = opaque_start, *stop = opaque_stop;
    (void)device;
    *us = 0;
    if (start->seconds == 0 || stop->seconds == 0) {
        return mj_fail(error, MJ_ERR_DEVICE, "an event was never recorded");
    }
    *us = 1e6 * (stop->seconds - start->seconds);
    return MJ_OK;
}

static mj_status cpu_capture_begin(void *opaque, void *opaque_stream, mj_error *error)
{
    cpu_device *device = opaque;
    cpu_stream *stream = opaque_stream ? opaque_stream : &device->default_stream;
    if (stream->capture) {
        return mj_fail(error, MJ_ERR_DEVICE, "the stream is capturing already");
    }
    void *graph = NULL;
    mj_status status = allocate(device, sizeof(cpu_graph), &graph, error);
    stream->capture = graph;
    return status;
}

static mj_status cpu_capture_end(void *opaque, void *opaque_stream, void **graph, mj_error *error)
{
    cpu_device *device = opaque;
    cpu_stream *stream = opaque_stream ? opaque_stream : &device->default_stream;
    *graph = stream->capture;
    stream->capture = NULL;
    return *graph ? MJ_OK : mj_fail(error, MJ_ERR_DEVICE, "the stream is not capturing");
}

static mj_status cpu_graph_launch(void *opaque, void *opaque_graph, void *opaque_stream, mj_error *error)
{
    cpu_device *device = opaque;
    const cpu_graph *graph = opaque_graph;
    const cpu_stream *stream = opaque_stream ? opaque_stream : &device->default_stream;
    if (stream->capture) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "a graph cannot be captured into a graph");
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        run_step(device, &graph->steps[i]);
    }
    return MJ_OK;
}

const mj_backend mj_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .device_count = cpu_device_count,
    .device_info = cpu_device_info,
    .compiler_identity = cpu_compiler_identity,
    .compile = cpu_compile,
    .device_open = cpu_device_open,
    .device_close = cpu_device_close,
    .kernel_load = cpu_kernel_load,
    .kernel_unload = cpu_kernel_unload,
    .tensor_map_encode = cpu_tensor_map_encode,
    .kernel_launch = cpu_kernel_launch,
    .memory_alloc = cpu_memory_alloc,
    .memory_free = cpu_memory_free,
    .memory_upload = cpu_memory_copy,
    .memory_download = cpu_memory_copy,
    .memory_set = cpu_memory_set,
    .memory_info = cpu_memory_info,
    .stream_create = cpu_stream_create,
    .stream_destroy = cpu_stream_destroy,
    .stream_sync = cpu_stream_sync,
    .event_create = cpu_event_create,
    .event_destroy = cpu_event_destroy,
    .event_record = cpu_event_record,
    .event_elapsed_us = cpu_event_elapsed_us,
    .capture_begin = cpu_capture_begin,
    .capture_end = cpu_capture_end,
    .graph_launch = cpu_graph_launch,
    .graph_destroy = cpu_graph_destroy,
};
