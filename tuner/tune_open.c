/* tune_open.c: a session's processes: the worker, the compilers, and the waiting for both. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory_need.h"
#include "os.h"
#include "scheme_words.h"
#include "tune_session.h"

#define TICK_SECONDS        0.1
#define OPEN_SECONDS_MAX    120.0
#define PREPARE_SECONDS_MAX 300.0 /* the reference kernel of a large batch on a CPU */

/* ---- Progress ---- */
bool mj_session_report(mj_session *s, const mj_candidate_result *last, const mj_tune_row *row, const char *message)
{
    double now = mj_os_monotonic_seconds();
    s->tick_seconds = now;
    if (last && s->options.candidate) {
        s->options.candidate(s->options.user, last);
    }
    if (!s->options.progress) {
        return !s->stop;
    }
    double elapsed = now - s->start_seconds;
    mj_tune_progress progress = {
        .done = s->done,
        .total = s->total,
        .compiled = s->pool ? mj_pool_done_count(s->pool) : 0,
        .compile_total = s->pool ? mj_pool_job_count(s->pool) : 0,
        .elapsed_seconds = elapsed,
        .left_seconds = s->done > 0 ? elapsed / s->done * (s->total - s->done) : -1,
        .last = last,
        .row = row,
        .message = message,
    };
    s->stop |= !s->options.progress(s->options.user, &progress);
    return !s->stop;
}

mj_status mj_session_interrupted(mj_error *error)
{
    return mj_fail(error, MJ_ERR_INTERRUPTED, "stopped on request");
}

/* Waits for something to happen, at most `seconds`; keeps the compilers busy and the caller informed. */
static mj_status idle(void *user, int fd, double seconds, mj_error *error)
{
    mj_session *s = user;
    struct pollfd fds[MJ_POOL_PROCESSES_MAX + 1];
    uint32_t count = s->pool ? mj_pool_fds(s->pool, fds, MJ_POOL_PROCESSES_MAX) : 0;
    if (fd >= 0) {
        fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    if (seconds > 0) {
        poll(fds, count, (int)(seconds * 1000) + 1);
    }
    mj_status status = s->pool ? mj_pool_pump(s->pool, error) : MJ_OK;
    if (mj_os_monotonic_seconds() - s->tick_seconds >= TICK_SECONDS) {
        mj_session_report(s, NULL, NULL, NULL);
    }
    return status == MJ_OK && s->stop ? mj_session_interrupted(error) : status;
}

/* ---- Opening ---- */
static mj_json *open_request(const mj_session *s)
{
    mj_json *request = mj_wire_open_request(s->context, s->cache_dir);
    if (request) {
        mj_json_add_string(request, "device", s->options.device ? s->options.device : "best");
        mj_wire_add_u64(request, "device_bytes_max", s->options.device_bytes_max);
    }
    return request;
}

static mj_status open_pool(mj_session *s, mj_error *error)
{
    char backend[MJ_NAME_MAX];
    snprintf(backend, sizeof(backend), "%.*s", (int)strcspn(s->device.info.id, ":"), s->device.info.id);
    mj_pool_options options = {
        .path = s->options.compile_path,
        .process_count = s->options.compile_processes,
        .memory_bytes_max = s->options.host_bytes_max,
        .context = s->context,
        .cache_dir = s->cache_dir,
        .problem = s->problem_text,
        .arch = s->device.info.arch,
        .backend = backend,
    };
    return mj_pool_create(&options, &s->pool, error);
}

/* Said before anything takes time: a machine without a GPU does the same job on the CPU; a busy one times badly. */
void mj_session_announce(mj_session *s)
{
    const mj_device_info *info = &s->device.info;
    bool fell_back = s->is_cpu && (!s->options.device || strcmp(s->options.device, "best") == 0);
    char text[400];
    snprintf(text, sizeof(text), "%s%s (%s), driver %s, compiler %s", fell_back ? "no usable GPU, on the CPU: " : "on ",
             info->name, info->id, info->driver, info->compiler);
    mj_session_report(s, NULL, NULL, text);
    if (!s->is_cpu && info->memory_free_bytes < info->memory_bytes / 5 * 4) {
        snprintf(text, sizeof(text), "%s: %.1f of %.1f GB are in use by others: times may be disturbed", info->id,
                 (double)(info->memory_bytes - info->memory_free_bytes) / 1e9, (double)info->memory_bytes / 1e9);
        mj_session_report(s, NULL, NULL, text);
    }
}

mj_status mj_session_open(mj_session *s, mj_error *error)
{
    char path[2048];
    s->link.idle = idle;
    s->link.user = s;
    s->link.idle_seconds = TICK_SECONDS;
    s->link.open_seconds_max = OPEN_SECONDS_MAX;
    s->link.prepare_seconds_max = PREPARE_SECONDS_MAX;
    mj_status status = mj_child_find(s->options.worker_path, "moejit-worker", path, sizeof(path), error);
    if (status == MJ_OK) {
        status = mj_link_start(&s->link, path, open_request(s), error);
    }
    if (status != MJ_OK) {
        return status;
    }
    s->device = s->link.device;
    s->is_cpu = strncmp(s->device.info.id, "cpu", 3) == 0;
    if (s->device.info.note[0]) {
        return mj_fail(error, MJ_ERR_NO_DEVICE, "%s: %s", s->device.info.id, s->device.info.note);
    }
    status = mj_spec_find_arch(s->spec, s->device.info.arch, &s->arch, error);
    return status == MJ_OK ? open_pool(s, error) : status;
}

/* ---- Memory ---- */
static mj_status too_little(const mj_session *s, const char *what, uint64_t bytes, uint64_t weights_bytes,
                            uint32_t tokens_that_fit, mj_error *error)
{
    const mj_device_info *info = &s->device.info;
    const double mib = 1048576.0;
    uint64_t allowed = mj_memory_allowed(info->memory_free_bytes, s->options.device_bytes_max);
    char limit[160], weights[64] = "", fits[64] = "";
    if (s->options.device_bytes_max == allowed) {
        snprintf(limit, sizeof(limit), "%.1f MiB are allowed (--mem, device_bytes_max)", (double)allowed / mib);
    } else {
        snprintf(limit, sizeof(limit),
                 "%.1f MiB may be used, nine tenths of the free %.1f of %.1f MiB (others hold %.1f)",
                 (double)allowed / mib, (double)info->memory_free_bytes / mib, (double)info->memory_bytes / mib,
                 (double)(info->memory_bytes - info->memory_free_bytes) / mib);
    }
    if (weights_bytes) {
        snprintf(weights, sizeof(weights), " (%.1f of it weights)", (double)weights_bytes / mib);
    }
    if (tokens_that_fit) {
        snprintf(fits, sizeof(fits), "; of the batch sizes asked for, %u fits", tokens_that_fit);
    }
    return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "%s: %s needs %.1f MiB%s, but %s%s", info->id, what,
                   (double)bytes / mib, weights, limit, fits);
}

static const mj_op layer_ops[MJ_LAYER_KERNELS] = {MJ_OP_TABLES, MJ_OP_QUANTISE1, MJ_OP_ACTIVATION, MJ_OP_QUANTISE2,
                                                  MJ_OP_COMBINE};

/* NULL: no family implements the op, or the scheme does without. */
static const mj_space *layer_space(const mj_session *s, mj_op op)
{
    bool quantise = op == MJ_OP_QUANTISE1 || op == MJ_OP_QUANTISE2;
    return quantise && !mj_scheme_quantises(s->scheme) ? NULL : mj_session_space(s, op);
}

/* The op whose check needs the most; it is done before any weights are there. */
static mj_status layer_fits(const mj_session *s, uint64_t allowed, mj_error *error)
{
    const mj_op *ops = layer_ops;
    mj_status status = MJ_OK;
    for (size_t i = 0; i < MJ_LAYER_KERNELS && status == MJ_OK; i++) {
        uint64_t bytes = 0;
        status = layer_space(s, ops[i]) ? mj_memory_need_layer(&s->problem, s->scheme, ops[i], &bytes, error) : MJ_OK;
        if (status == MJ_OK && bytes > allowed) {
            char what[80];
            snprintf(what, sizeof(what), "the check of %s", mj_op_name(ops[i]));
            status = too_little(s, what, bytes, 0, 0, error);
        }
    }
    return status;
}

mj_status mj_session_check_memory(mj_session *s, mj_error *error)
{
    uint64_t allowed = mj_memory_allowed(s->device.info.memory_free_bytes, s->options.device_bytes_max);
    const mj_tune_row *worst = NULL;
    mj_memory_need most = {0};
    uint32_t tokens_that_fit = 0;
    bool anything = false;
    for (uint32_t i = 0; i < s->row_count; i++) {
        const mj_tune_row *row = &s->rows[i].result;
        mj_memory_need need;
        if (s->rows[i].finished) {
            continue;
        }
        mj_status status = mj_memory_need_gemm(&s->problem, s->scheme, row->op, row->token_count, &need, error);
        if (status == MJ_ERR_UNSUPPORTED) { /* of a format that is not counted here: the worker says what it lacks */
            return MJ_OK;
        }
        if (status != MJ_OK) {
            return status;
        }
        if (need.bytes > allowed && mj_op_stands_for(row->op) != MJ_OP_COUNT) { /* done without */
            s->rows[i].absent = s->rows[i].finished = true;
            continue;
        }
        anything = true;
        if (need.bytes > allowed && need.bytes > most.bytes) {
            worst = row;
            most = need;
        }
    }
    for (uint32_t i = 0; worst && i < s->row_count; i++) { /* of the GEMM that is named */
        const mj_tune_row *row = &s->rows[i].result;
        mj_memory_need need;
        if (row->op == worst->op && row->token_count > tokens_that_fit &&
            mj_memory_need_gemm(&s->problem, s->scheme, row->op, row->token_count, &need, NULL) == MJ_OK &&
            need.bytes <= allowed) {
            tokens_that_fit = row->token_count;
        }
    }
    if (worst) {
        char what[80];
        snprintf(what, sizeof(what), "%s at %u tokens", mj_op_name(worst->op), worst->token_count);
        return too_little(s, what, most.bytes, most.weights_bytes, tokens_that_fit, error);
    }
    return anything && s->mode == MJ_SESSION_TUNE ? layer_fits(s, allowed, error) : MJ_OK;
}

void mj_session_close(mj_session *s)
{
    mj_pool_destroy(s->pool);
    s->pool = NULL;
    mj_link_stop(&s->link);
}

/* ---- Compilation ---- */
static mj_status queue_layer(mj_session *s, mj_error *error)
{
    const mj_op *ops = layer_ops;
    mj_status status = MJ_OK;
    for (int i = 0; i < MJ_LAYER_KERNELS && status == MJ_OK; i++) {
        const mj_space *space = layer_space(s, ops[i]);
        mj_layer_kernel *kernel = &s->layer[i];
        /* A tune stores them all; else only what a stand-in is compared with is looked at. */
        bool wanted = s->mode == MJ_SESSION_TUNE || mj_session_times_replaced(s, ops[i]);
        *kernel = (mj_layer_kernel){.op = ops[i], .wanted = space != NULL && wanted};
        if (!kernel->wanted) {
            continue;
        }
        mj_config config;
        char text[1024];
        mj_kernel_desc desc = {&s->problem, s->arch, s->scheme, space, ops[i], NULL};
        status = mj_space_default(s->spec, &desc, &config, error);
        if (status == MJ_OK) {
            status = mj_config_print(&config, text, sizeof(text), error);
        }
        if (status == MJ_OK) {
            status = mj_pool_add(s->pool, ops[i], space->family, text, NULL, &kernel->job, error);
        }
    }
    return status;
}

const mj_layer_kernel *mj_session_layer_kernel(const mj_session *s, mj_op op)
{
    for (int i = 0; i < MJ_LAYER_KERNELS; i++) {
        if (s->layer[i].op == op && s->layer[i].wanted) {
            return &s->layer[i];
        }
    }
    return NULL;
}

mj_status mj_session_queue(mj_session *s, mj_error *error)
{
    mj_status status = s->mode == MJ_SESSION_VERIFY ? MJ_OK : queue_layer(s, error);
    for (uint32_t i = 0; i < s->row_count && status == MJ_OK; i++) {
        mj_row *row = &s->rows[i];
        for (uint32_t j = 0; !row->finished && j < row->candidate_count && status == MJ_OK; j++) {
            mj_candidate *c = &row->candidates[j];
            char text[1024];
            status = mj_config_print(&c->config, text, sizeof(text), error);
            if (status == MJ_OK) {
                status = mj_pool_add(s->pool, row->result.op, c->family, text, c->poison, &c->job, error);
            }
        }
    }
    return status;
}

mj_status mj_session_wait_job(mj_session *s, uint32_t index, mj_job **out, mj_error *error)
{
    mj_status status = idle(s, -1, 0, error);
    mj_pool_job(s->pool, index)->urgent = true;
    while (status == MJ_OK && mj_pool_job(s->pool, index)->state != MJ_JOB_DONE) {
        status = idle(s, -1, TICK_SECONDS, error);
    }
    *out = mj_pool_job(s->pool, index);
    return status;
}
