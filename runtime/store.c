/* store.c: names, rows and identities of store files; load and save. */
#define _GNU_SOURCE
#include "store.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"
#include "os.h"

#define LOCK_SECONDS_MAX     20.0
#define LEFTOVER_SECONDS_MIN 3600.0
enum { DEVICE_NAME_CHARS_MAX = 100, FILE_NAME_CHARS_MAX = 240 };

mj_status mj_store_file_name(const mj_problem *problem, const char *device_name, char *out, size_t bytes,
                             mj_error *error)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    char device[DEVICE_NAME_CHARS_MAX + 1], more[160] = "";
    snprintf(device, sizeof device, "%s", device_name[0] ? device_name : "unknown");
    for (char *c = device; *c; c++) {
        *c = strchr(safe, *c) ? *c : '_';
    }
    int used = 0;
    if (problem->expert_total_count != problem->expert_count) {
        used += snprintf(more + used, sizeof more - (size_t)used, ",experts=%" PRIu32, problem->expert_total_count);
    }
    if (!problem->gated) {
        used += snprintf(more + used, sizeof more - (size_t)used, ",gated=0");
    }
    if (problem->activation != MJ_ACT_SILU) {
        used += snprintf(more + used, sizeof more - (size_t)used, ",act=%s", mj_activation_name(problem->activation));
    }
    if (problem->bias) {
        used += snprintf(more + used, sizeof more - (size_t)used, ",bias=1");
    }
    if (strcmp(problem->layout, "default") != 0) {
        snprintf(more + used, sizeof more - (size_t)used, ",layout=%s", problem->layout);
    }
    int chars = snprintf(
        out, bytes, "E=%" PRIu32 ",N=%" PRIu32 ",H=%" PRIu32 ",topk=%" PRIu32 ",device_name=%s,dtype=%s%s.moejit.json",
        problem->expert_count, problem->intermediate, problem->hidden, problem->top_k, device, problem->scheme, more);
    if (chars < 0 || (size_t)chars >= bytes || chars > FILE_NAME_CHARS_MAX || strchr(out, '/')) {
        return mj_fail(error, MJ_ERR_CAPACITY, "no file name for the problem fits");
    }
    return MJ_OK;
}

void mj_store_file_free(mj_store_file *file)
{
    if (file) {
        free(file->rows);
        file->rows = NULL;
        file->row_count = file->row_capacity = 0;
    }
}

mj_store_row *mj_store_row_at(mj_store_file *file, uint32_t token_count, const char *routing)
{
    uint32_t at = 0;
    for (; at < file->row_count; at++) {
        mj_store_row *row = &file->rows[at];
        int order =
            row->token_count != token_count ? (row->token_count < token_count ? -1 : 1) : strcmp(row->routing, routing);
        if (order == 0) {
            return row;
        }
        if (order > 0) {
            break;
        }
    }
    if (file->row_count == MJ_STORE_ROWS_MAX || strlen(routing) >= MJ_NAME_MAX) {
        return NULL;
    }
    if (file->row_count == file->row_capacity) {
        uint32_t capacity = file->row_capacity ? file->row_capacity * 2 : 16;
        mj_store_row *grown = realloc(file->rows, capacity * sizeof *grown);
        if (!grown) {
            return NULL;
        }
        file->rows = grown;
        file->row_capacity = capacity;
    }
    mj_store_row *row = &file->rows[at];
    memmove(row + 1, row, (file->row_count - at) * sizeof *row);
    memset(row, 0, sizeof *row);
    row->token_count = token_count;
    snprintf(row->routing, sizeof row->routing, "%s", routing);
    file->row_count++;
    return row;
}

const char *mj_store_pick_routing(const mj_store_file *file, const char *wanted)
{
    bool has_uniform = false;
    for (uint32_t i = 0; i < file->row_count; i++) {
        if (strcmp(file->rows[i].routing, wanted) == 0) {
            return wanted;
        }
        has_uniform |= strcmp(file->rows[i].routing, "uniform") == 0;
    }
    if (has_uniform) {
        return "uniform";
    }
    return file->row_count ? file->rows[0].routing : wanted;
}

mj_choice *mj_store_row_choice(mj_store_row *row, mj_op op)
{
    static const size_t offsets[MJ_OP_COUNT] = {
        [MJ_OP_GEMM1] = offsetof(mj_store_row, gemm1),
        [MJ_OP_GEMM1_ACT] = offsetof(mj_store_row, gemm1_act),
        [MJ_OP_GEMM1_QUANTISE] = offsetof(mj_store_row, gemm1_quantise),
        [MJ_OP_ACTIVATION] = offsetof(mj_store_row, activation),
        [MJ_OP_QUANTISE2] = offsetof(mj_store_row, quantise2),
        [MJ_OP_GEMM2] = offsetof(mj_store_row, gemm2),
        [MJ_OP_GEMM2_COMBINE] = offsetof(mj_store_row, gemm2_combine),
        [MJ_OP_COMBINE] = offsetof(mj_store_row, combine),
    };
    return offsets[op] ? (mj_choice *)(void *)((char *)row + offsets[op]) : NULL;
}

bool mj_store_row_prefers(mj_store_row *row, mj_op op, double *instead_us)
{
    const mj_choice *choice = mj_store_row_choice(row, op);
    *instead_us = 0;
    if (mj_op_stands_for(op) == MJ_OP_COUNT) {
        return true;
    }
    for (uint32_t i = 0; i < 2; i++) { /* a part that stands in for others takes what it does, or what they do */
        double others_us = 0;
        const mj_choice *part = mj_store_row_choice(row, mj_op_part(op, i));
        bool used = mj_store_row_prefers(row, mj_op_part(op, i), &others_us) && part && part->present;
        *instead_us += used ? part->time_us_median : others_us;
    }
    return choice->present && choice->verified && choice->time_us_median > 0 && choice->time_us_median < *instead_us;
}

/* ---- Identity --------------------------------------------------------------------------------- */

static bool differs(const char *name, const char *a, const char *b, char *difference, size_t bytes)
{
    if (strcmp(a, b) == 0) {
        return false;
    }
    if (difference && bytes) {
        int written = snprintf(difference, bytes, "%s: %s, not %s", name, a[0] ? a : "none", b[0] ? b : "none");
        (void)written; /* cut if it must be */
    }
    return true;
}

static bool differs_count(const char *name, uint64_t a, uint64_t b, char *difference, size_t bytes)
{
    char a_text[32], b_text[32];
    snprintf(a_text, sizeof a_text, "%" PRIu64, a);
    snprintf(b_text, sizeof b_text, "%" PRIu64, b);
    return differs(name, a_text, b_text, difference, bytes);
}

bool mj_identity_equal(const mj_identity *a, const mj_identity *b, char *difference, size_t bytes)
{
    double memory_gap = fabs((double)a->memory_bytes - (double)b->memory_bytes);
    bool memory_close = memory_gap <= 0.02 * fmax((double)a->memory_bytes, (double)b->memory_bytes);
    if (difference && bytes) {
        difference[0] = '\0';
    }
    return !differs("device", a->device, b->device, difference, bytes) &&
           !differs("arch", a->arch, b->arch, difference, bytes) &&
           !differs_count("sm_count", a->sm_count, b->sm_count, difference, bytes) &&
           (memory_close || !differs_count("memory_bytes", a->memory_bytes, b->memory_bytes, difference, bytes)) &&
           !differs("driver", a->driver, b->driver, difference, bytes) &&
           !differs("compiler", a->compiler, b->compiler, difference, bytes) &&
           !differs_count("generator", a->generator_version, b->generator_version, difference, bytes);
}

/* ---- Load and save ---------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

mj_status mj_store_load(const char *path, mj_store_file *out, mj_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    memset(out, 0, sizeof *out);
    mj_status status = mj_os_read_file(path, MJ_JSON_BYTES_MAX, &text, &bytes, error);
    if (status == MJ_OK) {
        status = mj_store_parse(text, bytes, strlen(path) < 280 ? path : base_name(path), out, error);
        free(text);
    }
    return status;
}

/* Objects whose keys are one value together: the new one replaces the old one whole. */
static bool is_whole(const char *key)
{
    static const char *const keys[] = {"manifest", "config", "failed", "identity"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Depth is bounded by the parser's limit. */
static bool keep_unknown_keys(mj_json *now, const mj_json *before)
{
    for (const mj_json *child = mj_json_first(before); child; child = mj_json_next(child)) {
        const char *key = mj_json_key(child);
        mj_json *known = mj_json_get(now, key);
        if (!known && !mj_json_add(now, key, mj_json_copy(child))) {
            return false;
        }
        if (known && mj_json_is_object(known) && mj_json_is_object(child) && !is_whole(key) &&
            !keep_unknown_keys(known, child)) {
            return false;
        }
    }
    return true;
}

static bool add_absent_rows(mj_store_file *to, const mj_store_file *from)
{
    for (int op = 0; op < MJ_OP_COUNT; op++) {
        if (!to->ops[op].present) {
            to->ops[op] = from->ops[op];
        }
    }
    for (uint32_t i = 0; i < from->row_count; i++) {
        mj_store_row *old = &from->rows[i];
        mj_store_row *row = mj_store_row_at(to, old->token_count, old->routing);
        if (!row) {
            return false;
        }
        for (int op = 0; op < MJ_OP_COUNT; op++) {
            mj_choice *choice = mj_store_row_choice(row, (mj_op)op);
            if (choice && !choice->present) {
                *choice = *mj_store_row_choice(old, (mj_op)op);
            }
        }
    }
    return true;
}

static mj_status write_text(const char *path, const mj_json *root, mj_error *error)
{
    char *text = mj_json_print(root, true);
    char *line = NULL;
    int bytes = text ? asprintf(&line, "%s\n", text) : -1;
    free(text);
    if (bytes < 0) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory to write %s", path);
    }
    mj_store_file again = {0};
    mj_error why = {0};
    mj_status status = mj_store_parse(line, (size_t)bytes, base_name(path), &again, &why);
    if (status == MJ_OK) {
        mj_store_file_free(&again);
        status = mj_os_write_file_atomic(path, line, (size_t)bytes, 0644, error);
    } else { /* a file that nobody can read must not replace one that can be read */
        status = mj_fail(error, MJ_ERR_ARGUMENT, "not stored: %s", why.text);
    }
    free(line);
    return status;
}

mj_status mj_store_replace(const char *path, const mj_store_file *file, mj_error *error)
{
    mj_json *root = mj_store_to_json(file);
    if (!root) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s: what is to be stored could not be read back", path);
    }
    mj_status status = write_text(path, root, error);
    mj_json_free(root);
    return status;
}

/* `before` has this file's problem and identity. */
static mj_status save_over(const char *path, const mj_store_file *file, const mj_store_file *before,
                           const mj_json *before_json, mj_error *error)
{
    mj_store_file merged = *file;
    mj_status status = MJ_OK;
    mj_json *root = NULL;
    merged.row_capacity = file->row_count + 1;
    merged.rows = malloc(merged.row_capacity * sizeof *merged.rows);
    if (merged.rows && file->row_count) {
        memcpy(merged.rows, file->rows, file->row_count * sizeof *merged.rows);
    }
    if (!merged.rows || !add_absent_rows(&merged, before)) {
        status = mj_fail(error, MJ_ERR_MEMORY, "no memory to write %s", path);
        goto done;
    }
    root = mj_store_to_json(&merged);
    if (!root) {
        status = mj_fail(error, MJ_ERR_ARGUMENT, "%s: what is to be stored could not be read back", path);
        goto done;
    }
    status = keep_unknown_keys(root, before_json) ? write_text(path, root, error)
                                                  : mj_fail(error, MJ_ERR_MEMORY, "no memory to write %s", path);
done:
    mj_json_free(root);
    mj_store_file_free(&merged);
    return status;
}

static bool same_problem(const mj_problem *a, const mj_problem *b)
{
    char a_text[512], b_text[512];
    return mj_problem_print(a, a_text, sizeof a_text, NULL) == MJ_OK &&
           mj_problem_print(b, b_text, sizeof b_text, NULL) == MJ_OK && strcmp(a_text, b_text) == 0;
}

static mj_status keep_damaged(const char *path, const char *text, size_t bytes, mj_error *error)
{
    char *aside = NULL;
    if (asprintf(&aside, "%s.damaged", path) < 0) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory to write %s", path);
    }
    mj_status status = mj_os_write_file_atomic(aside, text, bytes, 0644, error);
    free(aside);
    return status;
}

typedef struct leftovers {
    const char *path;
    double now;
} leftovers;

/* What a writer of this file left when it was killed. */
static bool remove_leftover(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    const leftovers *left = user;
    const char *base = base_name(left->path);
    char *path = NULL;
    (void)bytes;
    if (mj_os_is_temporary(name) && strncmp(name, base, strlen(base)) == 0 &&
        left->now - mtime_seconds > LEFTOVER_SECONDS_MIN &&
        asprintf(&path, "%.*s%s", (int)(base - left->path), left->path, name) >= 0) {
        (void)mj_os_remove_file(path, NULL);
        free(path);
    }
    return true;
}

static void remove_leftovers(const char *path)
{
    leftovers left = {.path = path, .now = mj_os_wall_seconds()};
    size_t folder_bytes = (size_t)(base_name(path) - path);
    char *folder = folder_bytes ? strndup(path, folder_bytes) : strdup(".");
    if (folder) {
        (void)mj_os_list_folder(folder, remove_leftover, &left, NULL);
        free(folder);
    }
}

mj_status mj_store_save(const char *path, const mj_store_file *file, mj_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    mj_store_file before = {0};
    mj_json *before_json = NULL;
    mj_error why = {0};
    int lock = mj_os_lock_folder_of(path, LOCK_SECONDS_MAX);
    mj_status status = mj_os_read_file(path, MJ_JSON_BYTES_MAX, &text, &bytes, error);
    if (status == MJ_ERR_NOT_FOUND) {
        status = mj_store_replace(path, file, error);
        goto done;
    }
    if (status != MJ_OK) {
        goto done;
    }
    status = mj_store_parse(text, bytes, base_name(path), &before, &why);
    if (status == MJ_ERR_FORMAT || status == MJ_ERR_CAPACITY) {
        status = keep_damaged(path, text, bytes, error);
        status = status == MJ_OK ? mj_store_replace(path, file, error) : status;
    } else if (status != MJ_OK) {
        status = mj_fail(error, status, "%s", why.text);
    } else if (!same_problem(&before.problem, &file->problem)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "%s holds another problem", path);
    } else if (!mj_identity_equal(&before.identity, &file->identity, NULL, 0)) {
        status = mj_store_replace(path, file, error);
    } else {
        status = mj_json_parse(text, bytes, base_name(path), &before_json, error);
        status = status == MJ_OK ? save_over(path, file, &before, before_json, error) : status;
    }
done:
    if (status == MJ_OK) {
        remove_leftovers(path);
    }
    mj_json_free(before_json);
    mj_store_file_free(&before);
    free(text);
    mj_os_unlock(lock);
    return status;
}
