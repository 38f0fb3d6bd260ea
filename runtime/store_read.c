/* store_read.c: store files from text, every key checked. */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

/* The seed is 64 bits wide, a JSON number fewer: larger ones are written as text. */
static mj_status read_seed(const mj_json *value, uint64_t *out, mj_error *error)
{
    char text[32], *end = NULL;
    const mj_json *seed = mj_json_get(value, "seed");
    if (!mj_json_is_string(seed)) {
        int64_t number = 0;
        mj_status status = mj_json_read_int(value, "seed", 0, (int64_t)1 << 53, &number, error);
        *out = (uint64_t)number;
        return status;
    }
    mj_status status = mj_json_read_string(value, "seed", text, sizeof text, error);
    if (status != MJ_OK) {
        return status;
    }
    size_t digits = strspn(text, "0123456789");
    unsigned long long number = strtoull(text, &end, 10);
    char again[32];
    snprintf(again, sizeof again, "%llu", number); /* differs if it overflowed or has leading zeros */
    if (digits == 0 || *end != '\0' || strcmp(again, text) != 0) {
        return mj_fail(error, MJ_ERR_FORMAT, "seed: \"%s\" is not a 64-bit whole number", text);
    }
    *out = number;
    return MJ_OK;
}

static mj_status read_failed(const mj_json *value, mj_choice *out, mj_error *error)
{
    mj_json *failed = NULL;
    mj_status status = mj_json_read_object(value, "failed", &failed, error);
    size_t used = 0;
    uint64_t sum = 0;
    for (const mj_json *child = status == MJ_OK ? mj_json_first(failed) : NULL; child; child = mj_json_next(child)) {
        int64_t count = 0;
        status = mj_json_read_int(failed, mj_json_key(child), 0, UINT32_MAX, &count, error);
        if (status != MJ_OK) {
            return mj_json_within(error, status, "failed.");
        }
        sum += (uint64_t)count;
        int chars = snprintf(out->failed_reasons + used, sizeof out->failed_reasons - used, "%s%s: %lld",
                             used ? "; " : "", mj_json_key(child), (long long)count);
        if (chars < 0 || (size_t)chars >= sizeof out->failed_reasons - used || sum > UINT32_MAX) {
            return mj_fail(error, MJ_ERR_FORMAT, "failed: more reasons than are kept");
        }
        used += (size_t)chars;
    }
    out->failed = (uint32_t)sum;
    return status;
}

static mj_status read_figures(const mj_json *value, mj_choice *out, mj_error *error)
{
    const struct {
        const char *key;
        double *out;
        double max;
        bool optional;
    } figures[] = {{"time_us_median", &out->time_us_median, 1e15, false},
                   {"time_us_spread", &out->time_us_spread, 1e15, false},
                   {"floor_us", &out->floor_us, 1e15, false},
                   {"bytes", &out->bytes, 1e18, true},
                   {"operations", &out->operations, 1e21, true}};
    const struct {
        const char *key;
        uint32_t *out;
        bool optional;
    } counts[] = {{"tried", &out->tried, false},
                  {"refused", &out->refused, false},
                  {"samples", &out->sample_count, true},
                  {"launches", &out->launches, true}};
    mj_status status = mj_json_read_bool(value, "verified", &out->verified, error);
    for (size_t i = 0; status == MJ_OK && i < sizeof figures / sizeof *figures; i++) {
        if (figures[i].optional && !mj_json_get(value, figures[i].key)) {
            continue;
        }
        status = mj_json_read_number(value, figures[i].key, figures[i].out, error);
        if (status == MJ_OK && !(*figures[i].out >= 0 && *figures[i].out <= figures[i].max)) {
            status = mj_fail(error, MJ_ERR_FORMAT, "%s: %g is out of range", figures[i].key, *figures[i].out);
        }
    }
    for (size_t i = 0; status == MJ_OK && i < sizeof counts / sizeof *counts; i++) {
        int64_t count = 0;
        if (counts[i].optional && !mj_json_get(value, counts[i].key)) {
            continue;
        }
        status = mj_json_read_int(value, counts[i].key, 0, UINT32_MAX, &count, error);
        *counts[i].out = (uint32_t)count;
    }
    if (status == MJ_OK) {
        status = read_failed(value, out, error);
    }
    if (status == MJ_OK) {
        status = read_seed(value, &out->seed, error);
    }
    return status == MJ_OK ? mj_json_read_string(value, "effort", out->effort, sizeof out->effort, error) : status;
}

/* What is written for people must be what is run. */
static mj_status check_against_manifest(const mj_json *value, const mj_choice *choice, mj_error *error)
{
    char family[MJ_NAME_MAX];
    mj_json *object = NULL;
    mj_config config;
    mj_status status = mj_json_read_string(value, "family", family, sizeof family, error);
    if (status == MJ_OK) {
        status = mj_json_read_object(value, "config", &object, error);
    }
    if (status == MJ_OK) {
        status = mj_json_within(error, mj_config_from_json(object, &config, error), "config.");
    }
    if (status == MJ_OK && strcmp(family, choice->manifest.family) != 0) {
        status =
            mj_fail(error, MJ_ERR_FORMAT, "family: %s, but the manifest is of %s", family, choice->manifest.family);
    }
    if (status == MJ_OK && !mj_config_equal(&config, &choice->manifest.config)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "config: differs from the manifest's");
    }
    return status;
}

static mj_status read_choice(const mj_json *value, mj_op op, const char *problem, mj_choice *out, mj_error *error)
{
    mj_json *manifest = NULL;
    char text[512];
    mj_choice choice = {.present = true};
    mj_status status = read_figures(value, &choice, error);
    if (status == MJ_OK) {
        status = mj_json_read_string(value, "cache_key", choice.cache_key, sizeof choice.cache_key, error);
    }
    if (status == MJ_OK && !mj_is_sha256_hex(choice.cache_key)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "cache_key: not 64 hex digits");
    }
    if (status == MJ_OK) {
        status = mj_json_read_object(value, "manifest", &manifest, error);
    }
    if (status == MJ_OK) {
        status = mj_json_within(error, mj_manifest_from_json(manifest, &choice.manifest, error), "manifest.");
    }
    if (status == MJ_OK && choice.manifest.op != op) {
        status =
            mj_fail(error, MJ_ERR_FORMAT, "manifest.op: %s, not %s", mj_op_name(choice.manifest.op), mj_op_name(op));
    }
    if (status == MJ_OK &&
        (mj_problem_print(&choice.manifest.problem, text, sizeof text, NULL) != MJ_OK || strcmp(text, problem) != 0)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "manifest.problem: not the file's");
    }
    if (status == MJ_OK) {
        status = check_against_manifest(value, &choice, error);
    }
    if (status == MJ_OK) {
        *out = choice;
    }
    return status;
}

/* The choice under `key` if it is there. */
static mj_status read_choice_at(const mj_json *object, const char *key, mj_op op, const char *problem, mj_choice *out,
                                mj_error *error)
{
    char outer[64];
    mj_json *value = NULL;
    if (!mj_json_get(object, key)) {
        return MJ_OK;
    }
    snprintf(outer, sizeof outer, "%s.", key);
    mj_status status = mj_json_read_object(object, key, &value, error);
    return status == MJ_OK ? mj_json_within(error, read_choice(value, op, problem, out, error), outer) : status;
}

static bool is_routing_name(const char *name)
{
    return name[0] && strlen(name) < MJ_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == strlen(name);
}

static mj_status read_routing(const mj_json *value, uint32_t token_count, const char *problem, mj_store_file *out,
                              mj_error *error)
{
    const char *routing = mj_json_key(value);
    char outer[MJ_NAME_MAX + 2];
    if (!is_routing_name(routing)) {
        return mj_fail(error, MJ_ERR_FORMAT, "%.60s: no name of a routing", routing);
    }
    if (!mj_json_is_object(value)) {
        return mj_fail(error, MJ_ERR_FORMAT, "%s: not an object", routing);
    }
    mj_store_row *row = mj_store_row_at(out, token_count, routing);
    if (!row) {
        return mj_fail(error, out->row_count == MJ_STORE_ROWS_MAX ? MJ_ERR_FORMAT : MJ_ERR_MEMORY,
                       "%s: no room for the row", routing);
    }
    snprintf(outer, sizeof outer, "%s.", routing);
    mj_status status = MJ_OK;
    for (int op = 0; op < MJ_OP_COUNT && status == MJ_OK; op++) {
        mj_choice *choice = mj_store_row_choice(row, (mj_op)op);
        status = choice ? read_choice_at(value, mj_op_name((mj_op)op), (mj_op)op, problem, choice, error) : MJ_OK;
    }
    return mj_json_within(error, status, outer);
}

static mj_status read_rows(const mj_json *root, const char *problem, mj_store_file *out, mj_error *error)
{
    mj_json *rows = NULL;
    mj_status status = mj_json_read_object(root, "rows", &rows, error);
    for (const mj_json *child = status == MJ_OK ? mj_json_first(rows) : NULL; child; child = mj_json_next(child)) {
        const char *key = mj_json_key(child);
        char outer[40], again[24];
        unsigned long count = strtoul(key, NULL, 10);
        snprintf(again, sizeof again, "%lu", count); /* "01", "-1", " 1", "1e3" print otherwise */
        if (count == 0 || count > INT32_MAX || strcmp(key, again) != 0) {
            return mj_fail(error, MJ_ERR_FORMAT, "rows.%.60s: no number of tokens", key);
        }
        if (!mj_json_is_object(child)) {
            return mj_fail(error, MJ_ERR_FORMAT, "rows.%s: not an object", key);
        }
        snprintf(outer, sizeof outer, "rows.%s.", key);
        for (const mj_json *column = mj_json_first(child); column; column = mj_json_next(column)) {
            status = read_routing(column, (uint32_t)count, problem, out, error);
            if (status != MJ_OK) {
                return mj_json_within(error, status, outer);
            }
        }
    }
    return status;
}

static mj_status read_ops(const mj_json *root, const char *problem, mj_store_file *out, mj_error *error)
{
    static const mj_op stored[] = {MJ_OP_TABLES, MJ_OP_QUANTISE1, MJ_OP_ACTIVATION, MJ_OP_QUANTISE2, MJ_OP_COMBINE};
    mj_json *ops = NULL;
    mj_status status = mj_json_read_object(root, "ops", &ops, error);
    for (size_t i = 0; status == MJ_OK && i < sizeof stored / sizeof *stored; i++) {
        status = read_choice_at(ops, mj_op_name(stored[i]), stored[i], problem, &out->ops[stored[i]], error);
        status = mj_json_within(error, status, "ops.");
    }
    return status;
}

mj_status mj_identity_from_json(const mj_json *object, mj_identity *out, mj_error *error)
{
    const struct {
        const char *key;
        char *out;
        size_t bytes;
    } words[] = {
        {"device", out->device, sizeof out->device},
        {"arch", out->arch, sizeof out->arch},
        {"driver", out->driver, sizeof out->driver},
        {"compiler", out->compiler, sizeof out->compiler},
    };
    int64_t sm_count = 0, memory_bytes = 0, generator = 0;
    const struct {
        const char *key;
        int64_t max;
        int64_t *out;
    } counts[] = {
        {"sm_count", UINT32_MAX, &sm_count},
        {"memory_bytes", (int64_t)1 << 53, &memory_bytes},
        {"generator", UINT32_MAX, &generator},
    };
    mj_status status = MJ_OK;
    for (size_t i = 0; status == MJ_OK && i < sizeof words / sizeof *words; i++) {
        status = mj_json_read_string(object, words[i].key, words[i].out, words[i].bytes, error);
    }
    for (size_t i = 0; status == MJ_OK && i < sizeof counts / sizeof *counts; i++) {
        status = mj_json_read_int(object, counts[i].key, 0, counts[i].max, counts[i].out, error);
    }
    out->sm_count = (uint32_t)sm_count;
    out->memory_bytes = (uint64_t)memory_bytes;
    out->generator_version = (uint32_t)generator;
    return status;
}

static mj_status read_identity(const mj_json *root, mj_identity *out, mj_error *error)
{
    mj_json *object = NULL;
    mj_status status = mj_json_read_object(root, "identity", &object, error);
    return status == MJ_OK ? mj_json_within(error, mj_identity_from_json(object, out, error), "identity.") : status;
}

static mj_status read_ceilings(const mj_json *root, mj_store_file *out, mj_error *error)
{
    mj_json *value = NULL;
    mj_status status = mj_json_read_object(root, "ceilings", &value, error);
    const struct {
        const char *key;
        double *out;
    } rows[] = {{"memory_gbps", &out->memory_gbps}, {"matrix_tflops", &out->matrix_tflops}};
    for (size_t i = 0; status == MJ_OK && i < sizeof rows / sizeof *rows; i++) {
        status = mj_json_within(error, mj_json_read_number(value, rows[i].key, rows[i].out, error), "ceilings.");
        if (status == MJ_OK && !(*rows[i].out >= 0 && *rows[i].out <= 1e12)) {
            status = mj_fail(error, MJ_ERR_FORMAT, "ceilings.%s: %g is out of range", rows[i].key, *rows[i].out);
        }
    }
    if (status == MJ_OK && mj_json_get(value, "matrix_product")) {
        status = mj_json_within(
            error, mj_json_read_string(value, "matrix_product", out->matrix_product, sizeof out->matrix_product, error),
            "ceilings.");
    } else if (status == MJ_OK && out->matrix_tflops > 0) { /* from before there was another */
        memcpy(out->matrix_product, "bf16", sizeof "bf16");
    }
    return status;
}

static mj_status read_problem(const mj_json *root, char *text, size_t bytes, mj_problem *out, mj_error *error)
{
    mj_error why = {0};
    mj_status status = mj_json_read_string(root, "problem", text, bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    if (mj_problem_parse(text, out, &why) != MJ_OK || mj_problem_check(out, &why) != MJ_OK) {
        return mj_fail(error, MJ_ERR_FORMAT, "problem: %.900s", why.text);
    }
    /* From here on the canonical text is compared. */
    return mj_problem_print(out, text, bytes, error);
}

static mj_status read_file(const mj_json *root, mj_store_file *out, mj_error *error)
{
    char problem[512];
    int64_t format = 0;
    mj_status status = mj_json_read_int(root, "moejit_store", 0, INT32_MAX, &format, error);
    if (status == MJ_OK && format != MJ_STORE_FORMAT) {
        return mj_fail(error, MJ_ERR_VERSION, "written in store format %lld, this version reads %d", (long long)format,
                       MJ_STORE_FORMAT);
    }
    if (status == MJ_OK) {
        status = read_problem(root, problem, sizeof problem, &out->problem, error);
    }
    if (status == MJ_OK) {
        status = read_identity(root, &out->identity, error);
    }
    if (status == MJ_OK) {
        status = read_ceilings(root, out, error);
    }
    if (status == MJ_OK) {
        status = read_ops(root, problem, out, error);
    }
    return status == MJ_OK ? read_rows(root, problem, out, error) : status;
}

mj_status mj_store_parse(const char *text, size_t bytes, const char *file_name, mj_store_file *out, mj_error *error)
{
    mj_json *root = NULL;
    char outer[300];
    memset(out, 0, sizeof *out);
    mj_status status = mj_json_parse(text, bytes, file_name, &root, error);
    if (status != MJ_OK) {
        return status;
    }
    snprintf(outer, sizeof outer, "%.280s: ", file_name);
    if (!mj_json_is_object(root)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "not an object");
    } else {
        status = read_file(root, out, error);
    }
    mj_json_free(root);
    if (status != MJ_OK) {
        mj_store_file_free(out);
        memset(out, 0, sizeof *out);
    }
    return mj_json_within(error, status, outer);
}
