/* tune_rows.c: rows measured: what the race asks is answered by the worker, while the compilers run ahead. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "padding.h"
#include "tune_session.h"

#define HELPER_SECONDS_MAX        60.0
#define CANDIDATE_SECONDS_DEFAULT 20.0
#define LOOK_REPLAYS              5
#define SAMPLE_REPLAYS            4 /* times MJ_RACE_ROUNDS is 20 */

/* ---- Talking to the worker ---- */
static double candidate_seconds(const mj_session *s)
{
    return s->options.candidate_seconds_max > 0 ? s->options.candidate_seconds_max : CANDIDATE_SECONDS_DEFAULT;
}

static mj_json *kernel_request(const char *verb, const mj_job *job)
{
    mj_json *request = mj_json_object();
    mj_json_add_string(request, "do", verb);
    mj_json_add_string(request, "cache_key", job->cache_key);
    if (!mj_json_add(request, "manifest", mj_json_copy(job->manifest))) {
        mj_json_free(request);
        return NULL;
    }
    return request;
}

/* Which statuses of a worker's answer are the candidate's own fault. */
static const struct {
    mj_status status;
    mj_reason reason;
} faults[] = {
    {MJ_ERR_TIMEOUT, MJ_REASON_TIMEOUT},         {MJ_ERR_CHILD, MJ_REASON_CRASH},
    {MJ_ERR_DEVICE_LOST, MJ_REASON_DEVICE},      {MJ_ERR_DEVICE, MJ_REASON_DEVICE},
    {MJ_ERR_DEVICE_MEMORY, MJ_REASON_RESOURCES}, {MJ_ERR_UNSUPPORTED, MJ_REASON_RESOURCES},
    {MJ_ERR_NOT_FOUND, MJ_REASON_COMPILE},       {MJ_ERR_FORMAT, MJ_REASON_COMPILE},
    {MJ_ERR_ARGUMENT, MJ_REASON_RESOURCES},
};

/* A call on behalf of one candidate: its faults become its reason, and MJ_OK. `*reply` NULL then. */
static mj_status call(mj_session *s, mj_json *request, double seconds, mj_contestant *c, mj_json **reply,
                      mj_error *error)
{
    mj_error local = {0};
    *reply = NULL;
    if (s->stop) { /* asked by a callback since the last request: an answer that comes at once would go past it */
        mj_json_free(request);
        return mj_session_interrupted(error);
    }
    mj_status status = mj_link_call(&s->link, request, seconds, reply, &local);
    if (s->link.message[0]) {
        bool go_on = mj_session_report(s, NULL, NULL, s->link.message);
        s->link.message[0] = 0;
        if (!go_on && status == MJ_OK) {
            mj_json_free(*reply);
            *reply = NULL;
            return mj_session_interrupted(error);
        }
    }
    for (size_t i = 0; status != MJ_OK && i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (faults[i].status == status) {
            c->reason = faults[i].reason;
            snprintf(c->detail, sizeof(c->detail), "%.255s", local.text);
            return MJ_OK;
        }
    }
    if (status == MJ_ERR_CAPACITY) {
        status = MJ_ERR_CHILD;
    }
    return status == MJ_OK ? MJ_OK : mj_fail(error, status, "%s", local.text);
}

static mj_status read_finding(const mj_json *reply, mj_contestant *c, mj_error *error)
{
    char reason[64];
    const mj_json *results = mj_json_get(reply, "results");
    mj_status status = mj_json_read_string(results, "reason", reason, sizeof(reason), error);
    if (status == MJ_OK) {
        status = mj_json_read_string(results, "detail", c->detail, sizeof(c->detail), error);
    }
    for (int i = 0; status == MJ_OK && i < MJ_REASON_COUNT; i++) {
        if (strcmp(reason, mj_reason_text((mj_reason)i)) == 0) {
            c->reason = (mj_reason)i;
            return MJ_OK;
        }
    }
    return status == MJ_OK ? mj_fail(error, MJ_ERR_CHILD, "the worker found '%s', which nothing is called here", reason)
                           : status;
}

static mj_status verify(mj_session *s, const mj_job *job, mj_contestant *c, mj_error *error)
{
    mj_json *reply = NULL;
    mj_status status = call(s, kernel_request("verify", job), candidate_seconds(s), c, &reply, error);
    if (status == MJ_OK && reply) {
        const mj_json *results = mj_json_get(reply, "results");
        status = read_finding(reply, c, error);
        if (status == MJ_OK) {
            status = mj_json_read_number(results, "row_error", &c->row_error, error);
        }
        if (status == MJ_OK) {
            status = mj_json_read_number(results, "padded_rows", &c->padded_rows, error);
        }
    }
    mj_json_free(reply);
    return status;
}

/* `launches` of a replay; 0: as many as fit. */
static mj_status take_times(mj_session *s, const mj_job *job, uint32_t replays, uint32_t launches, double seconds_max,
                            mj_samples *samples, mj_contestant *c, mj_error *error)
{
    mj_json *reply = NULL;
    mj_json *request = kernel_request("time", job);
    mj_json_add_int(request, "replays", replays);
    mj_json_add_int(request, "launches", launches);
    mj_json_add_number(request, "seconds_max", seconds_max);
    mj_json_add_number(request, "seconds_min", 0);
    mj_status status = call(s, request, candidate_seconds(s), c, &reply, error);
    const mj_json *results = reply ? mj_json_get(reply, "results") : NULL;
    const mj_json *times = mj_json_get(results, "samples_us");
    int64_t launched = 0;
    if (results && mj_json_read_int(results, "launches", 1, UINT32_MAX, &launched, NULL) == MJ_OK &&
        (c->launches == 0 || launched < c->launches)) {
        c->launches = (uint32_t)launched;
    }
    for (const mj_json *t = mj_json_first(times); t && samples->count < MJ_RACE_SAMPLES_MAX; t = mj_json_next(t)) {
        double us = mj_json_is_number(t) ? mj_json_value_number(t) : 0;
        if (us > 0) {
            samples->us[samples->count++] = us;
        }
    }
    mj_json_free(reply);
    return status;
}

/* ---- The race's calls ---- */
static void to_result(const mj_session *s, const mj_row *row, uint32_t index, mj_candidate_result *out)
{
    const mj_candidate *candidate = &row->candidates[index];
    const mj_contestant *c = &row->contestants[index];
    memset(out, 0, sizeof(*out));
    out->op = row->result.op;
    out->token_count = row->result.token_count;
    memcpy(out->routing, row->result.routing, sizeof(out->routing));
    memcpy(out->family, candidate->family, sizeof(out->family));
    out->config = candidate->config;
    out->is_default = candidate->is_default;
    out->reason = c->reason;
    if (candidate->poison) {
        snprintf(out->detail, sizeof(out->detail), "poison %s: %.200s", candidate->poison, c->detail);
    } else {
        memcpy(out->detail, c->detail, sizeof(out->detail));
    }
    out->estimate_us = candidate->estimate_us;
    out->time_us_median = c->time_us_median;
    out->time_us_spread = c->time_us_spread;
    out->sample_count = c->sample_count;
    out->launches = c->launches;
    if (s->pool && candidate->job < mj_pool_job_count(s->pool)) {
        out->compile_seconds = mj_pool_job(s->pool, candidate->job)->compile_seconds;
    }
}

static bool ready(void *user, uint32_t index)
{
    mj_session *s = user;
    return mj_pool_job(s->pool, s->row->candidates[index].job)->state == MJ_JOB_DONE;
}

static mj_journal_key journal_key(const mj_row *row, uint32_t index)
{
    const mj_candidate *c = &row->candidates[index];
    return (mj_journal_key){row->result.op, row->result.token_count, row->result.routing, c->family, c->text,
                            c->poison};
}

/* More time or memory may be allowed now, or be there: such a failure says nothing of the next attempt. */
static bool is_of_a_limit(mj_reason reason)
{
    return reason == MJ_REASON_RESOURCES || reason == MJ_REASON_TIMEOUT || reason == MJ_REASON_COMPILE ||
           reason == MJ_REASON_COMPILE_TIMEOUT;
}

static bool from_journal(mj_session *s, uint32_t index, mj_contestant *c)
{
    mj_journal_key key = journal_key(s->row, index);
    const mj_journal_record *record = s->journal ? mj_journal_find(s->journal, &key) : NULL;
    if (!record || is_of_a_limit(record->reason)) {
        return false;
    }
    c->reason = record->reason == MJ_REASON_SLOW ? MJ_REASON_NONE : record->reason; /* the race judges anew */
    c->time_us_median = record->time_us_median;
    c->time_us_spread = record->time_us_spread;
    c->sample_count = record->sample_count;
    memcpy(c->detail, record->detail, sizeof(c->detail));
    s->resumed++;
    return true;
}

static void to_journal(mj_session *s, uint32_t index, const mj_contestant *c)
{
    mj_journal_key key = journal_key(s->row, index);
    mj_journal_record record = {c->reason, c->time_us_median, c->time_us_spread, c->sample_count, ""};
    memcpy(record.detail, c->detail, sizeof(record.detail));
    mj_error error = {0};
    if (s->journal && mj_journal_add(s->journal, &key, &record, &error) != MJ_OK) {
        char text[320];
        snprintf(text, sizeof(text), "journal: %.300s", error.text);
        mj_session_report(s, NULL, NULL, text);
    }
}

static mj_status look(void *user, uint32_t index, double incumbent_us, mj_contestant *c, mj_error *error)
{
    mj_session *s = user;
    mj_job *job = NULL;
    mj_samples *samples = NULL;
    (void)incumbent_us;
    if (s->deadline_seconds > 0 && mj_os_monotonic_seconds() > s->deadline_seconds) {
        s->budget_spent = true;
        return mj_fail(error, MJ_ERR_TIMEOUT, "the budget is spent");
    }
    if (from_journal(s, index, c)) {
        return MJ_OK;
    }
    mj_status status = mj_session_wait_job(s, s->row->candidates[index].job, &job, error);
    if (status != MJ_OK) {
        return status;
    }
    memcpy(c->detail, job->detail, sizeof(c->detail));
    c->reason = s->is_cpu ? job->reason : mj_job_judge(job, c->detail, sizeof(c->detail));
    if (c->reason == MJ_REASON_NONE) {
        status = verify(s, job, c, error);
    }
    if (status == MJ_OK && c->reason == MJ_REASON_NONE && s->mode != MJ_SESSION_VERIFY) {
        samples = calloc(1, sizeof(*samples));
        status = samples ? take_times(s, job, LOOK_REPLAYS, 0, s->is_cpu ? 0.4 : 0.5, samples, c, error)
                         : mj_fail(error, MJ_ERR_MEMORY, "samples");
    }
    if (samples && status == MJ_OK && c->reason == MJ_REASON_NONE) {
        if (samples->count == 0) {
            c->reason = MJ_REASON_DEVICE;
            snprintf(c->detail, sizeof(c->detail), "no time could be taken");
        }
        c->sample_count = samples->count;
        mj_samples_summary(samples->us, samples->count, &c->time_us_median, &c->time_us_spread);
    }
    free(samples);
    if (status == MJ_OK && s->mode == MJ_SESSION_TUNE) {
        to_journal(s, index, c);
    }
    return status;
}

/* Each launch of a replay reads another routing, so those who are compared launch as many: what the slowest did in its look. Also of
 * one that failed since, or the others would change. 0: nobody's is known (all were in the journal), the first one chooses. What bench
 * holds a choice against has a count of its own: one that takes long must not spoil the choice's time. */
static uint32_t launches_of_all(const mj_row *row, uint32_t index)
{
    uint32_t fewest = 0;
    if (row->candidates[index].is_against) {
        return 0;
    }
    for (uint32_t i = 0; i < row->candidate_count; i++) {
        const mj_contestant *c = &row->contestants[i];
        if (c->finalist && c->launches > 0 && !row->candidates[i].is_against && (fewest == 0 || c->launches < fewest)) {
            fewest = c->launches;
        }
    }
    return fewest;
}

static mj_status sample(void *user, uint32_t index, mj_samples *samples, mj_contestant *c, mj_error *error)
{
    mj_session *s = user;
    mj_job *job = NULL;
    mj_status status = mj_session_wait_job(s, s->row->candidates[index].job, &job, error);
    if (status == MJ_OK && job->reason != MJ_REASON_NONE) { /* compiled when it was journaled, not now */
        c->reason = job->reason;
        return MJ_OK;
    }
    uint32_t launches = launches_of_all(s->row, index);
    return status == MJ_OK ? take_times(s, job, SAMPLE_REPLAYS, launches, s->is_cpu ? 0.25 : 1.0, samples, c, error)
                           : status;
}

static void seen(void *user, uint32_t index, const mj_contestant *c)
{
    mj_session *s = user;
    mj_candidate_result result;
    to_result(s, s->row, index, &result);
    s->done += !c->finalist;
    mj_session_report(s, &result, NULL, NULL);
}

/* ---- A row ---- */
void mj_session_floor(const mj_session *s, mj_tune_row *row)
{
    double gbps = s->memory_gbps > 0 ? s->memory_gbps : s->device.shape.memory_gbps;
    double by_memory = gbps > 0 ? row->bytes / gbps * 1e-3 : 0;
    double tflops = s->matrix_tflops; /* else the arch's figure on a GPU; what a host's cores reach differs too much */
    if (tflops <= 0 && !s->is_cpu) {
        tflops = s->device.shape.matrix_tflops;
    }
    double by_matrix = tflops > 0 ? row->operations / tflops * 1e-6 : 0;
    row->floor_us = by_memory > by_matrix ? by_memory : by_matrix;
}

static mj_status prepare(mj_session *s, mj_row *row, mj_error *error)
{
    mj_json *request = mj_json_object(), *reply = NULL;
    mj_json_add_string(request, "do", "prepare");
    mj_status status = mj_wire_add_problem(request, &s->problem, error);
    mj_json_add_string(request, "op", mj_op_name(row->result.op));
    mj_wire_add_u64(request, "seed", s->options.seed);
    mj_json_add_int(request, "token_count", row->result.token_count);
    mj_json_add_string(request, "routing", row->result.routing);
    mj_json_add_bool(request, "timed", s->mode != MJ_SESSION_VERIFY);
    if (status != MJ_OK) {
        mj_json_free(request);
        return status;
    }
    mj_error why = {0};
    status = mj_link_prepare(&s->link, request, &reply, &why);
    if (status != MJ_OK && status != MJ_ERR_INTERRUPTED) {
        mj_fail(error, status, "preparing %s at %u tokens: %.900s", mj_op_name(row->result.op), row->result.token_count,
                why.text);
    } else if (status != MJ_OK) {
        mj_fail(error, status, "%s", why.text);
    }
    const mj_json *results = reply ? mj_json_get(reply, "results") : NULL;
    char note[160] = "";
    if (status == MJ_OK) {
        status = mj_json_read_number(results, "bytes", &row->result.bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(results, "operations", &row->result.operations, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(results, "note", note, sizeof(note), error);
    }
    mj_json_free(reply);
    mj_session_floor(s, &row->result);
    if (status == MJ_OK && note[0] && !mj_session_report(s, NULL, NULL, note)) {
        status = mj_session_interrupted(error);
    }
    return status;
}

static void count_reasons(mj_row *row)
{
    mj_tune_row *r = &row->result;
    r->tried = r->failed = r->dropped = 0;
    memset(r->failed_by_reason, 0, sizeof(r->failed_by_reason));
    for (uint32_t i = 0; i < row->candidate_count; i++) {
        const mj_contestant *c = &row->contestants[i];
        if (i > 0 && row->candidates[i].is_against) { /* not a choice */
            continue;
        }
        r->tried += c->looked;
        r->dropped += c->reason == MJ_REASON_SLOW;
        if (c->reason != MJ_REASON_NONE && c->reason != MJ_REASON_SLOW) {
            r->failed++;
            r->failed_by_reason[c->reason]++;
        }
    }
}

/* The winner once more: a kernel that was right only at first must not be stored. */
static mj_status confirm(mj_session *s, mj_row *row, uint32_t *winner, mj_error *error)
{
    mj_status status = MJ_OK;
    while (status == MJ_OK && *winner != UINT32_MAX) {
        mj_contestant *c = &row->contestants[*winner];
        mj_job *job = mj_pool_job(s->pool, row->candidates[*winner].job);
        status = verify(s, job, c, error);
        if (status != MJ_OK || c->reason == MJ_REASON_NONE) {
            break;
        }
        *winner = mj_race_decide(row->contestants, row->candidate_count);
    }
    return status;
}

/* One candidate, no race: bench times it like a finalist, in turns with the one it stands against; verify does not time. */
static mj_status run_single(mj_session *s, mj_row *row, uint32_t *winner, mj_error *error)
{
    bool timed = s->mode == MJ_SESSION_BENCH;
    mj_samples *samples = calloc(row->candidate_count, sizeof(*samples));
    mj_status status = samples ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "samples");
    for (uint32_t i = 0; i < row->candidate_count && status == MJ_OK; i++) {
        mj_contestant *c = &row->contestants[i];
        status = look(s, i, 0, c, error);
        c->looked = c->finalist = true;
    }
    for (int round = 0; timed && round < MJ_RACE_ROUNDS; round++) {
        for (uint32_t i = 0; i < row->candidate_count && status == MJ_OK; i++) {
            mj_contestant *c = &row->contestants[i];
            if (c->reason == MJ_REASON_NONE) {
                status = sample(s, i, &samples[i], c, error);
            }
        }
    }
    for (uint32_t i = 0; i < row->candidate_count && status == MJ_OK; i++) {
        mj_contestant *c = &row->contestants[i];
        mj_candidate_result result;
        if (timed && c->reason == MJ_REASON_NONE) {
            c->sample_count = samples[i].count;
            mj_samples_summary(samples[i].us, samples[i].count, &c->time_us_median, &c->time_us_spread);
        }
        s->done++;
        to_result(s, row, i, &result);
        if (row->candidates[i].is_against) {
            row->result.against = result;
        }
        mj_session_report(s, &result, NULL, NULL);
    }
    free(samples);
    *winner = 0;
    row->result.default_us = row->candidates[0].is_default ? row->contestants[0].time_us_median : 0;
    return status;
}

/* What an op that stands in for others is weighed against, beside the GEMM: on the data that is prepared for it. A failure costs the
 * figure only. */
static mj_status time_replaced(mj_session *s, mj_row *row, mj_error *error)
{
    mj_op op = mj_op_part(row->result.op, 1);
    const mj_layer_kernel *kernel = mj_session_layer_kernel(s, op);
    mj_candidate_result *out = &row->result.replaced;
    mj_contestant c = {0};
    if (!kernel || !kernel->verified) {
        return MJ_OK;
    }
    mj_job *job = mj_pool_job(s->pool, kernel->job);
    mj_samples *samples = calloc(1, sizeof(*samples));
    mj_status status = samples ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "samples");
    if (status == MJ_OK) {
        status = take_times(s, job, SAMPLE_REPLAYS * MJ_RACE_ROUNDS, 0, s->is_cpu ? 1.0 : 5.0, samples, &c, error);
    }
    if (status == MJ_OK && samples->count > 0) {
        mj_samples_summary(samples->us, samples->count, &out->time_us_median, &out->time_us_spread);
        out->op = op;
        out->token_count = row->result.token_count;
        out->sample_count = samples->count;
        out->launches = c.launches;
    }
    free(samples);
    return status;
}

mj_status mj_session_row(mj_session *s, mj_row *row, mj_error *error)
{
    uint32_t winner = UINT32_MAX;
    mj_race race = {row->contestants, row->candidate_count, ready, look, sample, seen, s};
    s->row = row;
    mj_status status = prepare(s, row, error);
    if (status == MJ_OK && s->mode == MJ_SESSION_TUNE) {
        status = mj_race_run(&race, &winner, &row->result.default_us, error);
        if (status == MJ_OK) {
            status = confirm(s, row, &winner, error);
        }
    } else if (status == MJ_OK) {
        status = run_single(s, row, &winner, error);
    }
    if (status == MJ_OK && s->mode != MJ_SESSION_VERIFY && mj_op_stands_for(row->result.op) != MJ_OP_COUNT) {
        status = time_replaced(s, row, error);
    }
    count_reasons(row);
    if (status != MJ_OK) {
        return status;
    }
    row->finished = true;
    if (winner != UINT32_MAX) {
        to_result(s, row, winner, &row->result.best);
        row->result.verified = row->contestants[winner].reason == MJ_REASON_NONE;
        row->result.row_error = row->contestants[winner].row_error;
        row->result.padded_operations =
            mj_padded_operations(&s->problem, row->result.op, row->contestants[winner].padded_rows);
        if (s->mode == MJ_SESSION_TUNE) {
            mj_session_save(s, row, mj_pool_job(s->pool, row->candidates[winner].job));
        }
    }
    return mj_session_report(s, NULL, &row->result, NULL) ? MJ_OK : mj_session_interrupted(error);
}

/* ---- The simple ops, and the ceiling ---- */
mj_status mj_session_layer(mj_session *s, mj_error *error)
{
    mj_status status = MJ_OK;
    for (int i = 0; i < MJ_LAYER_KERNELS && status == MJ_OK; i++) {
        mj_layer_kernel *kernel = &s->layer[i];
        mj_contestant c = {0};
        mj_job *job = NULL;
        mj_json *reply = NULL;
        if (!kernel->wanted) {
            continue;
        }
        status = mj_session_wait_job(s, kernel->job, &job, error);
        c.reason = status == MJ_OK ? job->reason : MJ_REASON_NONE;
        if (status == MJ_OK && c.reason == MJ_REASON_NONE) {
            status = call(s, kernel_request("layer", job), HELPER_SECONDS_MAX, &c, &reply, error);
        }
        if (status == MJ_OK && reply) {
            status = read_finding(reply, &c, error);
        }
        mj_json_free(reply);
        kernel->verified = status == MJ_OK && c.reason == MJ_REASON_NONE;
        if (status == MJ_OK && !kernel->verified) {
            char text[400];
            snprintf(text, sizeof(text), "%s: %s: %.255s", mj_op_name(kernel->op), mj_reason_text(c.reason),
                     c.detail[0] ? c.detail : job->detail);
            mj_session_report(s, NULL, NULL, text);
        }
    }
    mj_json *request = mj_json_object(), *reply = NULL;
    mj_json_add_string(request, "do", "ceilings");
    mj_json_add_string(request, "product", s->scheme->input_format);
    mj_contestant c = {0};
    if (status != MJ_OK || s->mode == MJ_SESSION_VERIFY) {
        mj_json_free(request);
        return status;
    }
    status = call(s, request, HELPER_SECONDS_MAX, &c, &reply, error);
    if (status == MJ_OK && reply) {
        const mj_json *results = mj_json_get(reply, "results");
        status = mj_json_read_number(results, "memory_gbps", &s->memory_gbps, error);
        if (status == MJ_OK) {
            status = mj_json_read_number(results, "matrix_tflops", &s->matrix_tflops, error);
        }
        const char *product = mj_wire_text(results, "matrix_product"), *note = mj_wire_text(results, "matrix_note");
        snprintf(s->matrix_product, sizeof(s->matrix_product), "%s", product ? product : "");
        snprintf(s->matrix_note, sizeof(s->matrix_note), "%s", note ? note : "");
    }
    if (status == MJ_OK && c.reason != MJ_REASON_NONE) {
        mj_session_report(s, NULL, NULL, "the memory bandwidth could not be measured: the arch's figure is used");
    }
    mj_json_free(reply);
    return status;
}
