/* tune_store.c: what is known already, what is written, and where. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"
#include "select.h"
#include "tune_session.h"

/* ---- Folders ---- */
static const char *save_folder(const mj_session *s)
{
    return s->options.save_dir ? s->options.save_dir : s->context->store_dir;
}

/* Helpers hand binaries over through the cache; where the user's cannot be written, a private one serves this session. With compiling
 * off none is handed over, and only the user's holds any. */
static mj_status choose_cache(mj_session *s, mj_error *error)
{
    const char *folder = s->context->cache_dir;
    if (folder && folder[0] && mj_os_make_folder(folder, NULL) == MJ_OK &&
        (s->context->options.no_compile || mj_os_is_writable_folder(folder))) {
        snprintf(s->cache_dir, sizeof(s->cache_dir), "%s", folder);
        return MJ_OK;
    }
    const char *temporary = getenv("TMPDIR");
    snprintf(s->cache_dir, sizeof(s->cache_dir), "%.900s/moejit-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(s->cache_dir)) {
        return mj_fail(error, MJ_ERR_IO, "no folder for compiled kernels: neither %s nor %s can be written",
                       folder && folder[0] ? folder : "(no home)", temporary ? temporary : "/tmp");
    }
    s->cache_is_temporary = true;
    return MJ_OK;
}

mj_status mj_session_open_folders(mj_session *s, mj_error *error)
{
    mj_status status = choose_cache(s, error);
    if (status != MJ_OK || s->mode != MJ_SESSION_TUNE || s->options.effort == MJ_EFFORT_ESTIMATE) {
        return status;
    }
    const char *folder = save_folder(s);
    if (!folder || !folder[0]) {
        return mj_fail(error, MJ_ERR_IO, "nowhere to save: no home folder and no save folder given");
    }
    status = mj_os_make_folder(folder, error);
    if (status == MJ_OK && !mj_os_is_writable_folder(folder)) {
        status = mj_fail(error, MJ_ERR_IO, "%s: cannot be written: %s", folder, strerror(errno));
    }
    return status;
}

/* ---- Reading ---- */
static void report(mj_session *s, const char *format, const char *a, const char *b)
{
    char text[2400];
    snprintf(text, sizeof(text), format, a, b);
    mj_session_report(s, NULL, NULL, text);
}

/* A file that cannot be used makes way, but is not lost. */
static mj_status set_aside(mj_session *s, const char *why, const char *suffix, mj_error *error)
{
    char aside[1200];
    snprintf(aside, sizeof(aside), "%s.%s", s->store_path, suffix);
    for (int i = 2; i < 1000 && access(aside, F_OK) == 0; i++) { /* nor is what was set aside before */
        snprintf(aside, sizeof(aside), "%s.%s%d", s->store_path, suffix, i);
    }
    if (rename(s->store_path, aside) != 0) {
        return mj_fail(error, MJ_ERR_IO, "%s; it cannot be moved to %s: %s", why, aside, strerror(errno));
    }
    report(s, "%s; kept as %s", why, aside);
    return MJ_OK;
}

/* The file's name is for people: one that was copied to it may hold another layer. */
static mj_status load_ours(mj_session *s, mj_error *error)
{
    char problem[512] = "";
    mj_status status = mj_store_load(s->store_path, &s->store, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_problem_print(&s->store.problem, problem, sizeof(problem), error);
    if (status == MJ_OK && strcmp(problem, s->problem_text) != 0) {
        status = mj_fail(error, MJ_ERR_FORMAT, "%s holds another problem: %s", s->store_path, problem);
    }
    if (status != MJ_OK) {
        mj_store_file_free(&s->store);
        memset(&s->store, 0, sizeof(s->store));
    }
    return status;
}

mj_status mj_session_load_store(mj_session *s, mj_error *error)
{
    char name[512], difference[200];
    const char *folder = save_folder(s);
    mj_error why = {0};
    if (!folder || !folder[0]) {
        return MJ_OK; /* bench and verify do without */
    }
    mj_status status = mj_store_file_name(&s->problem, s->device.info.name, name, sizeof(name), error);
    if (status == MJ_OK) {
        status = mj_os_join(s->store_path, sizeof(s->store_path), folder, name, error);
    }
    if (status != MJ_OK || access(s->store_path, F_OK) != 0) {
        return status;
    }
    status = load_ours(s, &why);
    bool opened = s->device.identity.device[0]; /* a dry run opens no device and takes the file's word */
    bool writes = opened && s->mode == MJ_SESSION_TUNE;
    if (status == MJ_OK && opened &&
        !mj_identity_equal(&s->store.identity, &s->device.identity, difference, sizeof(difference))) {
        report(s, "%s was tuned elsewhere (%s): tuned again", s->store_path, difference);
        mj_store_file_free(&s->store);
        memset(&s->store, 0, sizeof(s->store));
    } else if (status == MJ_OK) {
        s->store_loaded = true;
        s->memory_gbps = s->store.memory_gbps;
        s->matrix_tflops = s->store.matrix_tflops;
        memcpy(s->matrix_product, s->store.matrix_product, sizeof(s->matrix_product));
    } else if (status == MJ_ERR_VERSION && writes && !s->options.force) {
        return mj_fail(error, MJ_ERR_VERSION,
                       "%s: nothing is tuned, for nothing could be saved (--force moves it aside)", why.text);
    } else if ((status == MJ_ERR_VERSION || status == MJ_ERR_FORMAT) && writes) {
        return set_aside(s, why.text, status == MJ_ERR_VERSION ? "old" : "damaged", error);
    } else if (status == MJ_ERR_VERSION || status == MJ_ERR_FORMAT) {
        report(s, "%s: %s", why.text, status == MJ_ERR_VERSION ? "skipped" : "ignored");
    } else if (status != MJ_OK) {
        return mj_fail(error, status, "%s", why.text);
    }
    return MJ_OK;
}

/* The row's choice, if it is of that routing. */
static const mj_choice *choice_of(mj_store_row *stored, mj_op op, const char *routing)
{
    const mj_choice *choice = mj_store_row_choice(stored, op);
    return choice->present && strcmp(stored->routing, routing) == 0 ? choice : NULL;
}

/* Of an op at the row's very batch size and routing. */
static const mj_choice *find_choice(const mj_session *s, const mj_tune_row *row, mj_op op)
{
    const mj_choice *choice = NULL;
    for (uint32_t i = 0; s->store_loaded && i < s->store.row_count && !choice; i++) {
        mj_store_row *stored = &s->store.rows[i];
        choice = stored->token_count == row->token_count ? choice_of(stored, op, row->routing) : NULL;
    }
    return choice;
}

const mj_choice *mj_session_stored(const mj_session *s, const mj_row *row)
{
    return find_choice(s, &row->result, row->result.op);
}

const mj_choice *mj_session_served(const mj_session *s, mj_row *row)
{
    mj_tune_row *r = &row->result;
    const char *routing = s->store_loaded ? mj_store_pick_routing(&s->store, r->routing) : "";
    uint32_t before = 0;
    for (uint32_t i = 0; s->store_loaded && i < s->store.row_count; i++) {
        mj_store_row *stored = &s->store.rows[i];
        const mj_choice *choice = choice_of(stored, r->op, routing);
        if (!choice) {
            continue;
        }
        uint32_t after = 0;
        for (uint32_t j = i + 1; after == 0 && j < s->store.row_count; j++) {
            after = choice_of(&s->store.rows[j], r->op, routing) ? s->store.rows[j].token_count : 0;
        }
        mj_token_range range = mj_offer_range(before, stored->token_count, after, MJ_REACH);
        if (range.from <= r->token_count && r->token_count <= range.to) {
            r->tuned_at = stored->token_count;
            memcpy(r->tuned_routing, stored->routing, sizeof(r->tuned_routing));
            return choice;
        }
        before = stored->token_count;
    }
    return NULL;
}

static const char *const effort_names[MJ_EFFORT_COUNT] = {"estimate", "quick", "full"}; /* ORDER EFFORT */
static const char effort_partial[] = "part";

bool mj_session_is_partial(const mj_session *s)
{
    return s->options.accept || s->options.family || s->options.config;
}

/* "wrong result: 2; spills registers: 1" -> counts. Reasons of another version are left out; the sum is kept beside. */
static void count_failed(const char *text, uint32_t counts[MJ_REASON_COUNT])
{
    for (int i = 0; i < MJ_REASON_COUNT; i++) {
        const char *name = mj_reason_text((mj_reason)i);
        size_t length = strlen(name);
        for (const char *at = strstr(text, name); at; at = strstr(at + length, name)) {
            bool whole = (at == text || (at - text >= 2 && memcmp(at - 2, "; ", 2) == 0)) && at[length] == ':';
            counts[i] = whole ? (uint32_t)strtoul(at + length + 1, NULL, 10) : counts[i];
        }
    }
}

/* What a stored op that stands in for others was weighed against. */
static void replaced_from_store(const mj_session *s, mj_tune_row *row)
{
    mj_op op = mj_op_part(row->op, 1);
    const mj_choice *choice = op == MJ_OP_COUNT ? NULL : find_choice(s, row, op);
    if (choice) {
        row->replaced.op = op;
        row->replaced.time_us_median = choice->time_us_median;
        row->replaced.time_us_spread = choice->time_us_spread;
    }
}

bool mj_session_from_store(const mj_session *s, mj_row *row)
{
    const mj_choice *choice = mj_session_stored(s, row);
    int effort = 0;
    while (choice && effort < MJ_EFFORT_COUNT && strcmp(choice->effort, effort_names[effort]) != 0) {
        effort++;
    }
    if (!choice || !choice->verified || effort == MJ_EFFORT_COUNT || effort < (int)s->options.effort ||
        choice->manifest.op != row->result.op) {
        return false;
    }
    mj_tune_row *r = &row->result;
    mj_candidate_result *best = &r->best;
    best->op = r->op;
    best->token_count = r->token_count;
    memcpy(best->routing, r->routing, sizeof(best->routing));
    memcpy(best->family, choice->manifest.family, sizeof(best->family));
    best->config = choice->manifest.config;
    best->time_us_median = choice->time_us_median;
    best->time_us_spread = choice->time_us_spread;
    best->sample_count = choice->sample_count;
    best->launches = choice->launches;
    r->floor_us = choice->floor_us;
    r->bytes = choice->bytes;
    r->operations = choice->operations;
    count_failed(choice->failed_reasons, r->failed_by_reason);
    r->tried = choice->tried;
    r->refused = choice->refused;
    r->failed = choice->failed;
    replaced_from_store(s, r);
    r->from_store = r->verified = true;
    r->origin = MJ_ORIGIN_STORE;
    return true;
}

/* ---- Writing ---- */
static mj_status fill_kernel(mj_choice *choice, const mj_job *job, mj_error *error)
{
    memcpy(choice->cache_key, job->cache_key, sizeof(choice->cache_key));
    return mj_manifest_from_json(job->manifest, &choice->manifest, error);
}

static void list_reasons(const mj_tune_row *row, char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < MJ_REASON_COUNT; i++) {
        if (row->failed_by_reason[i] > 0 && used < bytes) {
            int count = snprintf(out + used, bytes - used, "%s%s: %u", used ? "; " : "", mj_reason_text((mj_reason)i),
                                 row->failed_by_reason[i]);
            used += count > 0 ? (size_t)count : 0;
        }
    }
}

/* `out` holds what was stored before. */
static mj_status fill_choice(const mj_session *s, const mj_row *row, const mj_job *job, mj_choice *out, mj_error *error)
{
    const mj_tune_row *r = &row->result;
    mj_choice choice;
    memset(&choice, 0, sizeof(choice));
    mj_status status = fill_kernel(&choice, job, error);
    choice.present = true;
    choice.verified = r->verified;
    choice.time_us_median = r->best.time_us_median;
    choice.time_us_spread = r->best.time_us_spread;
    choice.sample_count = r->best.sample_count;
    choice.launches = r->best.launches;
    choice.floor_us = r->floor_us;
    choice.bytes = r->bytes;
    choice.operations = r->operations;
    choice.tried = r->tried;
    choice.refused = r->refused;
    choice.failed = r->failed;
    choice.seed = s->options.seed;
    const char *effort = effort_names[s->options.effort];
    if (mj_session_is_partial(s)) { /* faster than the whole space's winner is as good as it */
        effort = out->present && out->verified && r->best.time_us_median < out->time_us_median ? out->effort
                                                                                               : effort_partial;
    }
    snprintf(choice.effort, sizeof(choice.effort), "%s", effort);
    list_reasons(r, choice.failed_reasons, sizeof(choice.failed_reasons));
    if (status == MJ_OK) {
        *out = choice;
    }
    return status;
}

/* A simple op's kernel: checked, the default config, not searched for. */
static mj_status fill_layer_choice(const mj_session *s, const mj_layer_kernel *kernel, mj_choice *out, mj_error *error)
{
    mj_status status = fill_kernel(out, mj_pool_job(s->pool, kernel->job), error);
    out->present = out->verified = status == MJ_OK;
    out->seed = s->options.seed;
    snprintf(out->effort, sizeof(out->effort), "%s", effort_names[s->options.effort]);
    return status;
}

static mj_status fill_replaced(const mj_session *s, const mj_tune_row *row, mj_choice *out, mj_error *error)
{
    mj_choice choice = {.time_us_median = row->replaced.time_us_median,
                        .time_us_spread = row->replaced.time_us_spread,
                        .sample_count = row->replaced.sample_count,
                        .launches = row->replaced.launches};
    const mj_layer_kernel *kernel = mj_session_layer_kernel(s, row->replaced.op);
    mj_status status = fill_layer_choice(s, kernel, &choice, error);
    if (status == MJ_OK) {
        *out = choice;
    }
    return status;
}

/* The file as it is now, if it still is ours: another tune may have added rows since, another version may have written it. */
static mj_status load_current(const mj_session *s, mj_store_file *out, mj_error *error)
{
    mj_error why = {0};
    memset(out, 0, sizeof(*out));
    mj_status status = mj_store_load(s->store_path, out, &why);
    if (status == MJ_OK && mj_identity_equal(&out->identity, &s->device.identity, NULL, 0)) {
        return MJ_OK;
    }
    if (status == MJ_OK) {
        mj_store_file_free(out);
    }
    memset(out, 0, sizeof(*out));
    out->problem = s->problem;
    out->identity = s->device.identity;
    return status == MJ_ERR_VERSION ? mj_fail(error, status, "%s", why.text) : MJ_OK;
}

static void save_failed(mj_session *s, const mj_error *error)
{
    if (!s->save_failed) {
        s->save_failed = true;
        s->save_error = *error;
        report(s, "not saved: %s%s", error->text, "");
    }
}

/* A test's kernel never becomes a decision. */
static bool is_poisoned(const mj_session *s, const mj_row *row, const mj_job *job)
{
    for (uint32_t i = 0; i < row->candidate_count; i++) {
        if (row->candidates[i].poison && row->candidates[i].job < UINT32_MAX &&
            mj_pool_job(s->pool, row->candidates[i].job) == job) {
            return true;
        }
    }
    return false;
}

/* The winner of a part of the space replaces only what is slower, unless that is asked for. */
static bool keeps_stored(const mj_session *s, const mj_row *row, const mj_choice *stored)
{
    return mj_session_is_partial(s) && !s->options.force && stored->present && stored->verified &&
           stored->time_us_median > 0 && stored->time_us_median <= row->result.best.time_us_median;
}

/* The row's choices into `file`, which is otherwise empty; what `before` holds for it stays if it is better. */
static mj_status fill_row(const mj_session *s, mj_row *row, const mj_job *job, mj_store_file *before,
                          mj_store_file *file, mj_error *error)
{
    mj_tune_row *r = &row->result;
    mj_store_row *known = mj_store_row_at(before, r->token_count, r->routing);
    mj_store_row *stored = mj_store_row_at(file, r->token_count, r->routing);
    if (!known || !stored) {
        return mj_fail(error, MJ_ERR_MEMORY, "a store row");
    }
    mj_status status = MJ_OK;
    const mj_choice *old = mj_store_row_choice(known, r->op);
    if (keeps_stored(s, row, old)) {
        r->kept_us = old->time_us_median;
    } else {
        mj_choice choice = *old;
        status = fill_choice(s, row, job, &choice, error);
        *mj_store_row_choice(stored, r->op) = choice;
    }
    for (int i = 0; i < MJ_LAYER_KERNELS && status == MJ_OK; i++) {
        const mj_layer_kernel *kernel = &s->layer[i];
        if (kernel->verified) {
            status = fill_layer_choice(s, kernel, &file->ops[kernel->op], error);
        }
    }
    if (status == MJ_OK && r->replaced.time_us_median > 0) {
        status = fill_replaced(s, r, mj_store_row_choice(stored, r->replaced.op), error);
    }
    return status;
}

/* What is written is this row alone: the rest of the file is as it is when it is written, which another tune may have changed since. */
void mj_session_save(mj_session *s, mj_row *row, const mj_job *job)
{
    mj_error error = {0};
    mj_store_file before, file = {.problem = s->problem,
                                  .identity = s->device.identity,
                                  .memory_gbps = s->memory_gbps,
                                  .matrix_tflops = s->matrix_tflops};
    row->result.unsaved = true;
    if (s->store_path[0] == 0 || row->candidates == NULL || is_poisoned(s, row, job)) {
        return;
    }
    memcpy(file.matrix_product, s->matrix_product, sizeof(file.matrix_product));
    mj_status status = load_current(s, &before, &error);
    if (status == MJ_OK) {
        status = fill_row(s, row, job, &before, &file, &error);
    }
    if (status == MJ_OK) {
        status = mj_store_save(s->store_path, &file, &error);
    }
    if (status == MJ_OK) {
        row->result.unsaved = row->result.kept_us > 0;
        row->result.origin = row->result.kept_us > 0 ? MJ_ORIGIN_ESTIMATE : MJ_ORIGIN_STORE;
    } else {
        save_failed(s, &error);
    }
    mj_store_file_free(&before);
    mj_store_file_free(&file);
}
