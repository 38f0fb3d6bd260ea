/* tune.c: the public calls. See tune_session.h for the parts. */
#define _GNU_SOURCE
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os.h"
#include "tune_session.h"

#define COMPILE_SECONDS_EXPECTED  0.5
#define LOOK_SECONDS_EXPECTED_GPU 0.03
#define LOOK_SECONDS_EXPECTED_CPU 0.8
#define ROW_SECONDS_EXPECTED_GPU  1.0
#define ROW_SECONDS_EXPECTED_CPU  6.0

/* ---- Session ---- */
static mj_status session_start(mj_session *s, mj_session_mode mode, mj_context *context, const mj_problem *problem,
                               const mj_tune_options *options, mj_error *error)
{
    memset(s, 0, sizeof(*s));
    if (!context || !problem) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "context and problem are needed");
    }
    s->mode = mode;
    s->context = context;
    s->problem = *problem;
    s->options = options ? *options : (mj_tune_options){.effort = MJ_EFFORT_QUICK};
    s->start_seconds = s->tick_seconds = mj_os_monotonic_seconds();
    if ((unsigned)s->options.effort >= MJ_EFFORT_COUNT) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "effort %d: there are 0 to %d", (int)s->options.effort,
                       MJ_EFFORT_COUNT - 1);
    }
    mj_status status = mj_problem_check(&s->problem, error);
    if (status == MJ_OK) {
        status = mj_problem_print(&s->problem, s->problem_text, sizeof(s->problem_text), error);
    }
    if (status == MJ_OK) {
        status = mj_context_load_spec(context, &s->spec, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(s->spec, s->problem.scheme, &s->scheme, error);
    }
    if (status == MJ_OK && !s->scheme->supported) {
        status = mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s is described, but not served by this version",
                         s->problem.scheme);
    }
    const mj_space *space = NULL;
    if (status == MJ_OK && s->options.family) {
        status = mj_spec_find_space(s->spec, s->options.family, &space, error);
    }
    if (status == MJ_OK && s->options.against) {
        status = mj_spec_find_space(s->spec, s->options.against, &space, error);
    }
    if (status == MJ_OK && s->options.arch && s->options.effort != MJ_EFFORT_ESTIMATE) {
        status =
            mj_fail(error, MJ_ERR_ARGUMENT, "arch %s: only the estimate works without the device", s->options.arch);
    }
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static void session_end(mj_session *s)
{
    mj_session_close(s);
    mj_session_free_rows(s);
    mj_store_file_free(&s->store);
    mj_spec_free(s->spec);
    if (s->cache_is_temporary) {
        nftw(s->cache_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

/* An arch's typical device. */
static mj_status imagine_device(mj_session *s, mj_error *error)
{
    mj_status status = mj_spec_find_arch(s->spec, s->options.arch, &s->arch, error);
    if (status == MJ_OK) {
        mj_device_info *info = &s->device.info;
        s->device.shape = s->arch->typical;
        s->is_cpu = s->arch->warp_size <= 1;
        info->sm_count = s->arch->typical.sm_count;
        snprintf(info->arch, sizeof(info->arch), "%s", s->arch->name);
        snprintf(info->id, sizeof(info->id), "not opened");
        snprintf(info->name, sizeof(info->name), "a typical %s", s->arch->typical_device);
    }
    return status;
}

/* The device without opening it, for calls that measure nothing. */
static mj_status find_device(mj_session *s, mj_error *error)
{
    if (s->options.arch) {
        return imagine_device(s, error);
    }
    mj_device_info infos[64];
    uint32_t count = 0;
    const char *wanted = s->options.device ? s->options.device : "best";
    mj_status status = mj_device_list(s->context, infos, 64, &count, error);
    count = count < 64 ? count : 64;
    for (uint32_t i = 0; status == MJ_OK && i < count; i++) {
        bool usable = infos[i].note[0] == 0 && infos[i].arch[0];
        if (strcmp(wanted, "best") == 0 ? usable : strcmp(infos[i].id, wanted) == 0) {
            if (!infos[i].arch[0]) { /* listed, with what the driver says */
                return mj_fail(error, MJ_ERR_NO_DEVICE, "%s cannot be used: %s", infos[i].id, infos[i].note);
            }
            s->device.info = infos[i];
            s->is_cpu = strncmp(infos[i].id, "cpu", 3) == 0;
            status = mj_spec_find_arch(s->spec, infos[i].arch, &s->arch, error);
            if (status == MJ_OK) {
                s->device.shape = s->arch->typical;
                s->device.shape.sm_count = infos[i].sm_count ? infos[i].sm_count : s->arch->typical.sm_count;
            }
            return status;
        }
    }
    return status == MJ_OK ? mj_fail(error, MJ_ERR_NO_DEVICE, "%s: no such device", wanted) : status;
}

static int compare_rows(const void *a, const void *b)
{
    const mj_tune_row *x = a, *y = b;
    if (x->token_count != y->token_count) {
        return x->token_count < y->token_count ? -1 : 1;
    }
    int order = strcmp(x->routing, y->routing);
    return order ? order : (int)x->op - (int)y->op;
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double compile_median(const mj_session *s)
{
    uint32_t total = s->pool ? mj_pool_job_count(s->pool) : 0, count = 0;
    double *seconds = malloc((total + 1ull) * sizeof(double));
    for (uint32_t i = 0; seconds && i < total; i++) {
        const mj_job *job = mj_pool_job(s->pool, i);
        if (job->state == MJ_JOB_DONE && job->reason == MJ_REASON_NONE) {
            seconds[count++] = job->compile_seconds;
        }
    }
    if (count > 0) {
        qsort(seconds, count, sizeof(double), compare_seconds);
    }
    double median = count > 0 ? seconds[count / 2] : 0;
    free(seconds);
    return median;
}

static mj_status fill_result(const mj_session *s, mj_tune_result *out, mj_error *error)
{
    const mj_device_info *info = &s->device.info;
    bool written = false;
    memcpy(out->device_name, info->name, sizeof(out->device_name));
    memcpy(out->device_id, info->id, sizeof(out->device_id));
    memcpy(out->arch, info->arch, sizeof(out->arch));
    memcpy(out->driver, info->driver, sizeof(out->driver));
    memcpy(out->compiler, info->compiler, sizeof(out->compiler));
    snprintf(out->store_path, sizeof(out->store_path), "%.1023s", s->store_path);
    out->budget_spent = s->budget_spent;
    snprintf(out->not_saved, sizeof(out->not_saved), "%.511s", s->save_failed ? s->save_error.text : "");
    out->memory_gbps = s->memory_gbps;
    out->matrix_tflops = s->matrix_tflops;
    memcpy(out->matrix_product, s->matrix_product, sizeof(out->matrix_product));
    memcpy(out->matrix_note, s->matrix_note, sizeof(out->matrix_note));
    out->worker_restarts = s->link.restarts;
    out->seconds = mj_os_monotonic_seconds() - s->start_seconds;
    out->compile_seconds_median = compile_median(s);
    out->resumed = s->resumed;
    out->rows = calloc(s->row_count + 1ull, sizeof(*out->rows));
    if (!out->rows) {
        return mj_fail(error, MJ_ERR_MEMORY, "the result's rows");
    }
    for (uint32_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].finished && !s->rows[i].absent) {
            out->rows[out->row_count++] = s->rows[i].result;
            written = written || s->rows[i].result.origin == MJ_ORIGIN_STORE || s->rows[i].result.kept_us > 0;
        }
    }
    out->persisted = s->mode == MJ_SESSION_TUNE && written && !s->save_failed;
    qsort(out->rows, out->row_count, sizeof(*out->rows), compare_rows);
    return MJ_OK;
}

void mj_tune_result_free(mj_tune_result *result)
{
    if (result) {
        free(result->rows);
        memset(result, 0, sizeof(*result));
    }
}

/* ---- Measuring ---- */
static mj_status open_journal(mj_session *s, mj_error *error)
{
    char folder[1024], key[2048], files[MJ_SHA256_HEX];
    const mj_identity *id = &s->device.identity;
    if (s->options.journal_dir) {
        snprintf(folder, sizeof(folder), "%s", s->options.journal_dir);
    } else {
        mj_os_default_folder("state", folder, sizeof(folder));
    }
    mj_files_digest(mj_spec_files(s->spec), files);
    snprintf(
        key, sizeof(key),
        "%s;device=%s;arch=%s;sm=%u;memory=%llu;driver=%s;compiler=%s;generator=%u;files=%s;seed=%llu;allowed=%llu",
        s->problem_text, id->device, id->arch, id->sm_count, (unsigned long long)id->memory_bytes, id->driver,
        id->compiler, id->generator_version, files, (unsigned long long)s->options.seed,
        (unsigned long long)s->options.device_bytes_max);
    mj_error why = {0};
    mj_status status = folder[0] ? mj_journal_open(folder, key, s->options.force, &s->journal, &why) : MJ_OK;
    if (status != MJ_OK && s->journal) {
        char text[400];
        snprintf(text, sizeof(text), "a killed tune will not resume: %.300s", why.text);
        mj_session_report(s, NULL, NULL, text);
        return MJ_OK;
    }
    return status == MJ_OK ? MJ_OK : mj_fail(error, status, "%s", why.text);
}

/* Rows; those that the store already answers are finished. */
static mj_status plan_rows(mj_session *s, mj_error *error)
{
    mj_status status = mj_session_choose(s, error);
    if (status == MJ_OK) {
        status = mj_session_plan_rows(s, error);
    }
    bool skip_known = s->mode == MJ_SESSION_TUNE && !s->options.force && !mj_session_is_partial(s);
    for (uint32_t i = 0; i < s->row_count && status == MJ_OK; i++) {
        s->rows[i].finished = skip_known && mj_session_from_store(s, &s->rows[i]);
    }
    return status;
}

static mj_status plan_candidates(mj_session *s, mj_error *error)
{
    mj_status status = MJ_OK;
    uint32_t total = 0; /* not known, and not shown, before the last */
    for (uint32_t i = 0; i < s->row_count && status == MJ_OK; i++) {
        mj_row *row = &s->rows[i];
        if (!row->finished) {
            status = mj_session_plan_candidates(s, row, error);
            total += row->candidate_count;
            if (status == MJ_OK && !mj_session_report(s, NULL, NULL, NULL)) {
                status = mj_session_interrupted(error);
            }
        }
    }
    s->total = total;
    mj_session_forget_rankings(s);
    return status;
}

static mj_status plan(mj_session *s, mj_error *error)
{
    mj_status status = plan_rows(s, error);
    return status == MJ_OK ? plan_candidates(s, error) : status;
}

/* Each GEMM has its share of the budget, or the last would get none. */
static double deadline_of(const mj_session *s, const mj_row *row)
{
    uint32_t op = 0;
    while (s->ops[op] != row->result.op) {
        op++;
    }
    return s->start_seconds + s->options.budget_seconds * (op + 1) / s->op_count;
}

/* What the budget ends is left out, and is no error; another timeout is one. */
static mj_status measure_row(mj_session *s, mj_row *row, mj_error *error)
{
    bool spent_before = s->budget_spent;
    if (s->options.budget_seconds > 0) {
        s->deadline_seconds = deadline_of(s, row);
        if (mj_os_monotonic_seconds() > s->deadline_seconds) { /* to prepare it takes time as well */
            s->budget_spent = true;
            return MJ_OK;
        }
    }
    s->budget_spent = false;
    mj_status status = mj_session_row(s, row, error);
    if (status == MJ_ERR_TIMEOUT && s->budget_spent) {
        status = MJ_OK;
    }
    s->budget_spent = s->budget_spent || spent_before;
    return status;
}

static mj_status measure_rows(mj_session *s, mj_error *error)
{
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < s->row_count && status == MJ_OK; i++) {
        mj_row *row = &s->rows[i];
        if (row->absent) {
            continue;
        }
        if (row->finished) {
            mj_session_report(s, NULL, &row->result, NULL);
            continue;
        }
        status = measure_row(s, row, error);
    }
    return status;
}

static mj_status run(mj_session *s, mj_error *error)
{
    mj_status status = mj_session_open_folders(s, error);
    if (status == MJ_OK) {
        status = mj_session_open(s, error);
    }
    if (status == MJ_OK) {
        status = mj_session_load_store(s, error);
    }
    if (status == MJ_OK) {
        status = plan_rows(s, error);
    }
    if (status == MJ_OK) {
        status = mj_session_check_memory(s, error);
    }
    if (status == MJ_OK) {
        status = plan_candidates(s, error);
    }
    if (status == MJ_OK) {
        mj_session_announce(s);
    }
    if (status == MJ_OK && s->mode == MJ_SESSION_TUNE) {
        status = open_journal(s, error);
    }
    bool anything = s->total > 0;
    if (status == MJ_OK && anything) {
        status = mj_session_queue(s, error);
    }
    if (status == MJ_OK && anything) {
        status = mj_session_layer(s, error);
    }
    if (status == MJ_OK) {
        status = measure_rows(s, error);
    }
    return status;
}

static mj_status measure(mj_session_mode mode, mj_context *context, const mj_problem *problem,
                         const mj_tune_options *options, mj_tune_result *out, mj_error *error)
{
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "out is null");
    }
    memset(out, 0, sizeof(*out));
    mj_session *s = calloc(1, sizeof(*s));
    if (!s) {
        return mj_fail(error, MJ_ERR_MEMORY, "a tuning session");
    }
    mj_status status = session_start(s, mode, context, problem, options, error);
    if (status == MJ_OK) {
        status = run(s, error);
        mj_status filled = fill_result(s, out, status == MJ_OK ? error : NULL);
        status = status == MJ_OK ? filled : status;
    }
    mj_journal_close(s->journal, status == MJ_OK && !s->budget_spent && !s->save_failed);
    if (status == MJ_OK && s->save_failed) {
        status = mj_fail(error, s->save_error.status, "%s", s->save_error.text);
    }
    session_end(s);
    free(s);
    return status;
}

/* ---- Estimating ---- */
/* Rows and candidates for a device that is only looked at. */
static mj_status plan_only(mj_session *s, mj_error *error)
{
    mj_status status = find_device(s, error);
    if (status == MJ_OK) {
        status = mj_session_load_store(s, error);
    }
    if (status == MJ_OK && s->store_loaded) { /* no device was opened: the identity is the file's, taken on trust */
        s->device.identity = s->store.identity;
    }
    return status == MJ_OK ? plan(s, error) : status;
}

static mj_status estimate(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                          mj_tune_result *out, mj_error *error)
{
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "out is null");
    }
    memset(out, 0, sizeof(*out));
    mj_session *s = calloc(1, sizeof(*s));
    if (!s) {
        return mj_fail(error, MJ_ERR_MEMORY, "a session");
    }
    mj_status status = session_start(s, MJ_SESSION_BENCH, context, problem, options, error);
    if (status == MJ_OK) {
        status = find_device(s, error);
    }
    if (status == MJ_OK) {
        status = plan(s, error);
        s->total = 0; /* nothing will be measured */
    }
    for (uint32_t i = 0; status == MJ_OK && i < s->row_count; i++) {
        status = s->rows[i].absent ? MJ_OK : mj_session_predict(s, &s->rows[i], error);
        if (status == MJ_OK && !mj_session_report(s, NULL, NULL, NULL)) {
            status = mj_session_interrupted(error);
        }
    }
    if (status == MJ_OK) {
        status = fill_result(s, out, error);
    }
    session_end(s);
    free(s);
    return status;
}

/* ---- Public ---- */
mj_status mj_tune(mj_context *context, const mj_problem *problem, const mj_tune_options *options, mj_tune_result *out,
                  mj_error *error)
{
    if (options && options->effort == MJ_EFFORT_ESTIMATE) {
        return estimate(context, problem, options, out, error);
    }
    return measure(MJ_SESSION_TUNE, context, problem, options, out, error);
}

mj_status mj_bench(mj_context *context, const mj_problem *problem, const mj_tune_options *options, mj_tune_result *out,
                   mj_error *error)
{
    if (options && options->effort == MJ_EFFORT_ESTIMATE) {
        return estimate(context, problem, options, out, error);
    }
    return measure(MJ_SESSION_BENCH, context, problem, options, out, error);
}

mj_status mj_verify(mj_context *context, const mj_problem *problem, const mj_tune_options *options, mj_tune_result *out,
                    mj_error *error)
{
    return measure(MJ_SESSION_VERIFY, context, problem, options, out, error);
}

typedef struct kernel_name {
    mj_op op;
    const char *text;
} kernel_name;

static int compare_names(const void *a, const void *b)
{
    const kernel_name *x = a, *y = b;
    return x->op != y->op ? (int)x->op - (int)y->op : strcmp(x->text, y->text);
}

static mj_status count_forecast(const mj_session *s, mj_tune_forecast *out, mj_error *error)
{
    double row_seconds = s->is_cpu ? ROW_SECONDS_EXPECTED_CPU : ROW_SECONDS_EXPECTED_GPU;
    double look_seconds = s->is_cpu ? LOOK_SECONDS_EXPECTED_CPU : LOOK_SECONDS_EXPECTED_GPU;
    kernel_name *names = calloc(s->total + 1ull, sizeof(*names));
    if (!names) {
        return mj_fail(error, MJ_ERR_MEMORY, "%u candidates", s->total);
    }
    for (uint32_t i = 0; i < s->row_count; i++) {
        const mj_row *row = &s->rows[i];
        if (row->finished) {
            continue;
        }
        for (uint32_t j = 0; j < row->candidate_count; j++) {
            names[out->candidates++] = (kernel_name){row->result.op, row->candidates[j].text};
        }
        out->rows++;
        out->refused += row->result.refused;
        out->seconds += row_seconds + look_seconds * row->candidate_count;
    }
    qsort(names, out->candidates, sizeof(*names), compare_names);
    for (uint32_t i = 0; i < out->candidates; i++) { /* one kernel serves every batch size */
        out->kernels += i == 0 || compare_names(&names[i - 1], &names[i]) != 0;
    }
    free(names);
    return MJ_OK;
}

mj_status mj_tune_dry_run(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                          mj_tune_forecast *out, mj_error *error)
{
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "out is null");
    }
    memset(out, 0, sizeof(*out));
    mj_session *s = calloc(1, sizeof(*s));
    if (!s) {
        return mj_fail(error, MJ_ERR_MEMORY, "a session");
    }
    mj_status status = session_start(s, MJ_SESSION_TUNE, context, problem, options, error);
    if (status == MJ_OK) {
        s->options.progress = NULL; /* nothing runs, nothing to say */
        s->options.candidate = NULL;
        status = plan_only(s, error);
    }
    if (status == MJ_OK) {
        status = count_forecast(s, out, error);
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t processes =
        s->options.compile_processes ? s->options.compile_processes : (uint32_t)(cores > 0 ? cores : 1);
    double compile = out->kernels * COMPILE_SECONDS_EXPECTED / processes;
    out->seconds = out->seconds > compile ? out->seconds : compile; /* both run at once */
    session_end(s);
    free(s);
    return status;
}
