/* compile_pool.c: see compile_pool.h. */
#define _GNU_SOURCE
#include "compile_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "helper.h"
#include "os.h"
#include "wire.h"

#define OPEN_SECONDS_MAX     60.0
#define OPEN_DEATHS_MAX      3
#define JOB_SECONDS_MAX      120.0 /* a busy machine; the slowest kernel takes a few seconds */
#define MEMORY_BYTES_DEFAULT (2ull << 30)

typedef struct process {
    mj_child child;
    bool open;   /* answered "open" */
    int64_t job; /* -1: idle */
    double deadline;
} process;

struct mj_pool {
    char path[2048];
    char problem[512], arch[MJ_NAME_MAX], backend[MJ_NAME_MAX];
    uint64_t memory_bytes_max;
    mj_json *open_request;
    uint32_t process_count;
    process processes[MJ_POOL_PROCESSES_MAX];
    uint32_t job_count, job_capacity, done_count, open_deaths;
    uint32_t first_waiting; /* no job before it waits */
    mj_job *jobs;
    uint32_t *table; /* hash table of job index + 1; table_count is a power of two, at least twice job_count */
    uint32_t table_count;
    mj_status fatal;
    char fatal_text[512];
};

static uint32_t count_processes(uint32_t asked)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = asked ? asked : processors > 0 ? (uint32_t)processors : 1;
    return count < MJ_POOL_PROCESSES_MAX ? count : MJ_POOL_PROCESSES_MAX;
}

mj_status mj_pool_create(const mj_pool_options *options, mj_pool **out, mj_error *error)
{
    mj_pool *pool = calloc(1, sizeof(*pool));
    *out = NULL;
    if (!pool) {
        return mj_fail(error, MJ_ERR_MEMORY, "compile processes");
    }
    mj_status status = mj_child_find(options->path, "moejit-compile", pool->path, sizeof(pool->path), error);
    if (status != MJ_OK) {
        mj_pool_destroy(pool);
        return status;
    }
    snprintf(pool->problem, sizeof(pool->problem), "%s", options->problem);
    snprintf(pool->arch, sizeof(pool->arch), "%s", options->arch);
    snprintf(pool->backend, sizeof(pool->backend), "%s", options->backend);
    pool->memory_bytes_max = options->memory_bytes_max ? options->memory_bytes_max : MEMORY_BYTES_DEFAULT;
    pool->process_count = count_processes(options->process_count);
    for (uint32_t i = 0; i < pool->process_count; i++) {
        pool->processes[i] = (process){.job = -1, .child = {.fd = -1, .stderr_fd = -1}};
    }
    const mj_context *context = options->context;
    pool->open_request = mj_wire_open_request(context, options->cache_dir ? options->cache_dir : context->cache_dir);
    if (!pool->open_request) {
        mj_pool_destroy(pool);
        return mj_fail(error, MJ_ERR_MEMORY, "compile processes");
    }
    *out = pool;
    return MJ_OK;
}

void mj_pool_destroy(mj_pool *pool)
{
    if (!pool) {
        return;
    }
    for (uint32_t i = 0; i < pool->process_count; i++) {
        if (pool->processes[i].child.pid > 0) { /* zeroed or started, both fine */
            mj_child_kill(&pool->processes[i].child);
        }
    }
    for (uint32_t i = 0; i < pool->job_count; i++) {
        free(pool->jobs[i].config);
        mj_json_free(pool->jobs[i].manifest);
    }
    free(pool->jobs);
    free(pool->table);
    mj_json_free(pool->open_request);
    free(pool);
}

static bool same_job(const mj_job *job, mj_op op, const char *family, const char *config, const char *poison)
{
    return job->op == op && strcmp(job->family, family) == 0 && strcmp(job->config, config) == 0 &&
           strcmp(job->poison ? job->poison : "", poison ? poison : "") == 0;
}

static uint32_t *place_of(const mj_pool *pool, mj_op op, const char *family, const char *config, const char *poison)
{
    uint32_t at = mj_crc32(config, strlen(config)) + (uint32_t)op * 977;
    for (;; at++) {
        uint32_t *place = &pool->table[at & (pool->table_count - 1)];
        if (*place == 0 || same_job(&pool->jobs[*place - 1], op, family, config, poison)) {
            return place;
        }
    }
}

static mj_status grow(mj_pool *pool, mj_error *error)
{
    uint32_t capacity = pool->job_capacity ? 2 * pool->job_capacity : 64;
    mj_job *jobs = realloc(pool->jobs, capacity * sizeof(*jobs));
    pool->jobs = jobs ? jobs : pool->jobs;
    uint32_t *table = jobs ? calloc(2ull * capacity, sizeof(*table)) : NULL;
    if (!table) {
        return mj_fail(error, MJ_ERR_MEMORY, "%u kernels", capacity);
    }
    free(pool->table);
    pool->table = table;
    pool->table_count = 2 * capacity;
    pool->job_capacity = capacity;
    for (uint32_t i = 0; i < pool->job_count; i++) {
        const mj_job *job = &pool->jobs[i];
        *place_of(pool, job->op, job->family, job->config, job->poison) = i + 1;
    }
    return MJ_OK;
}

mj_status mj_pool_add(mj_pool *pool, mj_op op, const char *family, const char *config, const char *poison,
                      uint32_t *index, mj_error *error)
{
    mj_status status = pool->job_count == pool->job_capacity ? grow(pool, error) : MJ_OK;
    if (status != MJ_OK) {
        return status;
    }
    uint32_t *place = place_of(pool, op, family, config, poison);
    if (*place) {
        *index = *place - 1;
        return MJ_OK;
    }
    mj_job job = {.op = op, .poison = poison, .config = strdup(config)};
    if (!job.config) {
        return mj_fail(error, MJ_ERR_MEMORY, "a kernel");
    }
    snprintf(job.family, sizeof(job.family), "%s", family);
    *index = pool->job_count;
    pool->jobs[pool->job_count++] = job;
    *place = pool->job_count;
    return MJ_OK;
}

mj_reason mj_job_judge(const mj_job *job, char *detail, size_t detail_bytes)
{
    if (job->reason == MJ_REASON_NONE && job->local_bytes > 0) {
        snprintf(detail, detail_bytes, "%u bytes per thread in local memory", job->local_bytes);
        return MJ_REASON_SPILL;
    }
    if (job->reason == MJ_REASON_NONE && job->lost_overlap[0]) {
        snprintf(detail, detail_bytes, "%s", job->lost_overlap);
        return MJ_REASON_OVERLAP;
    }
    return job->reason;
}

mj_job *mj_pool_job(mj_pool *pool, uint32_t index)
{
    return &pool->jobs[index];
}

uint32_t mj_pool_job_count(const mj_pool *pool)
{
    return pool->job_count;
}

uint32_t mj_pool_done_count(const mj_pool *pool)
{
    return pool->done_count;
}

uint32_t mj_pool_fds(const mj_pool *pool, struct pollfd *out, uint32_t capacity)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->process_count && count < capacity; i++) {
        if (pool->processes[i].child.pid > 0) {
            out[count++] = (struct pollfd){.fd = pool->processes[i].child.fd, .events = POLLIN};
        }
    }
    return count;
}

static void set_fatal(mj_pool *pool, mj_status status, const char *text)
{
    if (pool->fatal == MJ_OK) {
        pool->fatal = status;
        snprintf(pool->fatal_text, sizeof(pool->fatal_text), "%.511s", text);
    }
}

static void finish(mj_pool *pool, process *p, mj_reason reason, const char *detail)
{
    mj_job *job = &pool->jobs[p->job];
    job->state = MJ_JOB_DONE;
    job->reason = reason;
    snprintf(job->detail, sizeof(job->detail), "%.255s", detail);
    p->job = -1;
    pool->done_count++;
}

/* ---- Replies ---- */
static mj_status read_results(mj_job *job, const mj_json *results, mj_error *error)
{
    int64_t regs = 0, local_bytes = 0;
    mj_json *manifest = NULL;
    mj_status status = mj_json_read_string(results, "cache_key", job->cache_key, sizeof(job->cache_key), error);
    if (status == MJ_OK) {
        status = mj_json_read_int(results, "regs", 0, INT32_MAX, &regs, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_int(results, "local_bytes", 0, INT32_MAX, &local_bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(results, "lost_overlap", job->lost_overlap, sizeof(job->lost_overlap), error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(results, "compile_seconds", &job->compile_seconds, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_bool(results, "was_hit", &job->was_hit, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_object(results, "manifest", &manifest, error);
    }
    if (status == MJ_OK) {
        job->regs = (uint32_t)regs;
        job->local_bytes = (uint32_t)local_bytes;
        job->manifest = mj_json_copy(manifest);
        if (!job->manifest) {
            status = mj_fail(error, MJ_ERR_MEMORY, "a manifest");
        }
    }
    return status;
}

static void take_reply(mj_pool *pool, process *p, const mj_json *reply)
{
    mj_error error = {0};
    mj_status status = mj_reply_status(reply, &error);
    if (!p->open) {
        p->open = status == MJ_OK;
        if (status != MJ_OK) {
            set_fatal(pool, status, error.text);
        }
        return;
    }
    if (p->job < 0) {
        return; /* an answer to nothing: its deadline kill was a moment too late */
    }
    if (status == MJ_ERR_NO_COMPILER || status == MJ_ERR_IO) { /* no kernel's own fault */
        set_fatal(pool, status, error.text);
    }
    const mj_json *results = mj_json_get(reply, "results");
    if (status == MJ_OK) {
        status = results ? read_results(&pool->jobs[p->job], results, &error)
                         : mj_fail(&error, MJ_ERR_FORMAT, "a reply without results");
    }
    finish(pool, p, status == MJ_OK ? MJ_REASON_NONE : MJ_REASON_COMPILE, status == MJ_OK ? "" : error.text);
}

static void lose(mj_pool *pool, process *p, mj_reason reason, const char *text)
{
    bool was_open = p->open;
    mj_child_kill(&p->child);
    p->open = false;
    if (p->job >= 0) {
        finish(pool, p, reason, text);
    } else if (!was_open && ++pool->open_deaths >= OPEN_DEATHS_MAX) {
        set_fatal(pool, MJ_ERR_CHILD, text);
    }
}

static void serve(mj_pool *pool, process *p)
{
    mj_error error = {0};
    mj_status status = MJ_OK;
    while (p->child.pid > 0 && status == MJ_OK) {
        mj_json *reply = NULL;
        status = mj_child_receive(&p->child, &reply, &error);
        if (status == MJ_OK) {
            take_reply(pool, p, reply);
        }
        mj_json_free(reply);
    }
    if (status != MJ_OK && status != MJ_ERR_NOT_FOUND) {
        lose(pool, p, MJ_REASON_COMPILE, error.text);
    } else if (p->child.pid > 0 && (p->job >= 0 || !p->open) && mj_os_monotonic_seconds() > p->deadline) {
        lose(pool, p, MJ_REASON_COMPILE_TIMEOUT, "the compiler took too long");
    }
}

/* ---- Work ---- */
static int64_t next_job(mj_pool *pool)
{
    while (pool->first_waiting < pool->job_count && pool->jobs[pool->first_waiting].state != MJ_JOB_WAITING) {
        pool->first_waiting++;
    }
    int64_t next = -1;
    for (uint32_t i = pool->first_waiting; i < pool->job_count; i++) {
        if (pool->jobs[i].state == MJ_JOB_WAITING && pool->jobs[i].urgent) {
            return i;
        }
        if (pool->jobs[i].state == MJ_JOB_WAITING && next < 0) {
            next = i;
        }
    }
    return next;
}

static void start_process(mj_pool *pool, process *p)
{
    mj_error error = {0};
    p->open = false;
    p->deadline = mj_os_monotonic_seconds() + OPEN_SECONDS_MAX;
    mj_status status = mj_child_start(pool->path, NULL, pool->memory_bytes_max, &p->child, &error);
    if (status == MJ_OK) {
        status = mj_child_send(&p->child, pool->open_request, &error);
    }
    if (status != MJ_OK) {
        lose(pool, p, MJ_REASON_COMPILE, error.text);
    }
}

static void start_job(mj_pool *pool, process *p, uint32_t index)
{
    mj_error error = {0};
    mj_job *job = &pool->jobs[index];
    mj_json *request = mj_json_object();
    mj_json_add_int(request, "id", index);
    mj_json_add_string(request, "do", "compile");
    mj_json_add_string(request, "problem", pool->problem);
    mj_json_add_string(request, "arch", pool->arch);
    mj_json_add_string(request, "backend", pool->backend);
    mj_json_add_string(request, "op", mj_op_name(job->op));
    mj_json_add_string(request, "family", job->family);
    mj_json_add_string(request, "config", job->config);
    if (job->poison) {
        mj_json_add_string(request, "poison", job->poison);
    }
    p->job = index;
    p->deadline = mj_os_monotonic_seconds() + JOB_SECONDS_MAX;
    job->state = MJ_JOB_RUNNING;
    mj_status status =
        request ? mj_child_send(&p->child, request, &error) : mj_fail(&error, MJ_ERR_MEMORY, "a request");
    mj_json_free(request);
    if (status != MJ_OK) {
        lose(pool, p, MJ_REASON_COMPILE, error.text);
    }
}

/* More processes than waiting jobs would only load data files for nothing. */
static uint32_t waiting_count(const mj_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t i = pool->first_waiting; i < pool->job_count && count < MJ_POOL_PROCESSES_MAX; i++) {
        count += pool->jobs[i].state == MJ_JOB_WAITING;
    }
    return count;
}

mj_status mj_pool_pump(mj_pool *pool, mj_error *error)
{
    uint32_t starting = 0;
    for (uint32_t i = 0; i < pool->process_count; i++) {
        process *p = &pool->processes[i];
        if (p->child.pid > 0) {
            serve(pool, p);
        }
        starting += p->child.pid > 0 && !p->open;
    }
    for (uint32_t i = 0; i < pool->process_count && pool->fatal == MJ_OK; i++) {
        process *p = &pool->processes[i];
        if (p->child.pid == 0 && waiting_count(pool) > starting) {
            start_process(pool, p);
            starting++;
        }
        int64_t job = p->child.pid > 0 && p->open && p->job < 0 ? next_job(pool) : -1;
        if (job >= 0) {
            start_job(pool, p, (uint32_t)job);
        }
    }
    return pool->fatal == MJ_OK ? MJ_OK : mj_fail(error, pool->fatal, "%s", pool->fatal_text);
}

mj_status mj_pool_wait(mj_pool *pool, int ms_max, mj_error *error)
{
    struct pollfd fds[MJ_POOL_PROCESSES_MAX];
    uint32_t count = mj_pool_fds(pool, fds, MJ_POOL_PROCESSES_MAX);
    poll(fds, count, count > 0 ? ms_max : 0);
    return mj_pool_pump(pool, error);
}
