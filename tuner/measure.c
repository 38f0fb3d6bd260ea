/* measure.c: see measure.h. Bandwidth: ceilings.c. */
#include "measure.h"

#define REPLAY_SECONDS_AIM 0.2 /* a graph of slow launches holds fewer of them */
#define WARMUP_SECONDS     0.002

typedef struct timer { /* two events on the lab's stream */
    const mj_backend *backend;
    void *device, *stream, *start, *stop;
} timer;

static mj_status timer_open(mj_lab *lab, timer *out, mj_error *error)
{
    *out = (timer){.backend = lab->device->backend, .device = lab->device->handle, .stream = lab->stream};
    mj_status status = out->backend->event_create(out->device, &out->start, error);
    return status == MJ_OK ? out->backend->event_create(out->device, &out->stop, error) : status;
}

static void timer_close(timer *t)
{
    if (t->start) {
        t->backend->event_destroy(t->device, t->start);
    }
    if (t->stop) {
        t->backend->event_destroy(t->device, t->stop);
    }
}

static mj_status time_graph(timer *t, void *graph, double *us, mj_error *error)
{
    mj_status status = t->backend->event_record(t->device, t->start, t->stream, error);
    if (status == MJ_OK) {
        status = t->backend->graph_launch(t->device, graph, t->stream, error);
    }
    if (status == MJ_OK) {
        status = t->backend->event_record(t->device, t->stop, t->stream, error);
    }
    return status == MJ_OK ? t->backend->event_elapsed_us(t->device, t->start, t->stop, us, error) : status;
}

static mj_status capture(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, uint32_t launches,
                         void **graph, mj_error *error)
{
    const mj_backend *backend = lab->device->backend;
    *graph = NULL;
    mj_status status = backend->capture_begin(lab->device->handle, lab->stream, error);
    if (status != MJ_OK) {
        return status;
    }
    for (uint32_t i = 0; i < launches && status == MJ_OK; i++) {
        mj_arg_value values[MJ_ARG_COUNT];
        mj_case_arguments(lab, prepared, i % prepared->set_count, prepared->output[0].data, values);
        if (prepared->sums_count > 0) {
            const mj_case_set *set = &prepared->sets[i % prepared->sums_count];
            values[MJ_ARG_INPUT].pointer = (uint64_t)(uintptr_t)set->device_sums;
            values[MJ_ARG_INPUT_SCALES] = values[MJ_ARG_OUTPUT_SCALES]; /* of a quantise2: of what it writes */
        }
        status = mj_kernel_launch(lab->device, kernel, values, prepared->token_count, lab->stream, error);
    }
    mj_status ended = backend->capture_end(lab->device->handle, lab->stream, graph, status == MJ_OK ? error : NULL);
    if (status != MJ_OK && *graph) {
        backend->graph_destroy(lab->device->handle, *graph);
        *graph = NULL;
    }
    return status == MJ_OK ? ended : status;
}

/* One launch tells how many a replay may hold, so that the wanted replays fit the time. */
static mj_status choose_launches(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, timer *t,
                                 const mj_timing_request *request, uint32_t *launches, double *us, mj_error *error)
{
    void *graph = NULL;
    mj_status status = capture(lab, prepared, kernel, 1, &graph, error);
    if (status == MJ_OK) {
        status = time_graph(t, graph, us, error);
        lab->device->backend->graph_destroy(lab->device->handle, graph);
    }
    double each = request->seconds_max / (request->replays ? request->replays : 1);
    double aim_us = (each < REPLAY_SECONDS_AIM ? each : REPLAY_SECONDS_AIM) * 1e6;
    uint32_t most =
        prepared->set_count > MJ_LAUNCHES ? prepared->set_count : MJ_LAUNCHES; /* a launch for every routing */
    double fit = *us > 0 ? aim_us / *us : most;
    *launches = fit >= most ? most : (fit < 1 ? 1 : (uint32_t)fit);
    *launches = request->launches ? request->launches : *launches;
    return status;
}

/* `warm_us`: for how long the kernel has run. Warm-up is for clocks, caches and the driver's first replay: a launch that takes longer
 * leaves nothing of these to warm. */
static mj_status take_samples(timer *t, void *graph, double warm_us, const mj_timing_request *request, mj_timing *out,
                              mj_error *error)
{
    double spent = 0, us = 1;
    mj_status status = MJ_OK;
    while (status == MJ_OK && us > 0 && warm_us < WARMUP_SECONDS * 1e6) {
        status = time_graph(t, graph, &us, error);
        warm_us += us;
    }
    uint32_t wanted = request->replays < MJ_REPLAYS_MAX ? request->replays : MJ_REPLAYS_MAX;
    while (status == MJ_OK && out->count < MJ_REPLAYS_MAX) {
        bool enough = out->count >= wanted && spent >= request->seconds_min;
        if (out->count > 0 && (enough || spent >= request->seconds_max)) {
            break;
        }
        status = time_graph(t, graph, &us, error);
        if (status == MJ_OK && !(us > 0)) {
            return mj_fail(error, MJ_ERR_DEVICE, "the device's clock says %g us", us);
        }
        if (status == MJ_OK) {
            out->samples_us[out->count++] = us / out->launches;
            spent += us * 1e-6;
        }
    }
    return status;
}

mj_status mj_measure(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, const mj_timing_request *request,
                     mj_timing *out, mj_error *error)
{
    timer t = {0};
    void *graph = NULL;
    double first_us = 0;
    *out = (mj_timing){0};
    mj_status status = mj_lab_workspace(lab, &kernel->manifest, prepared->token_count, error);
    if (status == MJ_OK && !mj_op_is_gemm(kernel->manifest.op)) {
        status = mj_case_make_sums(lab, prepared, error);
    }
    if (status == MJ_OK) {
        status = timer_open(lab, &t, error);
    }
    if (status == MJ_OK) {
        status = choose_launches(lab, prepared, kernel, &t, request, &out->launches, &first_us, error);
    }
    if (status == MJ_OK) {
        status = capture(lab, prepared, kernel, out->launches, &graph, error);
    }
    if (status == MJ_OK) {
        status = take_samples(&t, graph, first_us, request, out, error);
    }
    if (graph) {
        lab->device->backend->graph_destroy(lab->device->handle, graph);
    }
    if (t.backend) {
        timer_close(&t);
    }
    mj_case_free_sums(lab, prepared);
    return status;
}
