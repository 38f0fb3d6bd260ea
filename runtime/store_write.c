/* store_write.c: store files as JSON, keys in store.h's order. */
#define _GNU_SOURCE
#include "store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"

/* "timeout: 2; wrong result: 1" -> {"timeout": 2, "wrong result": 1}; what the text leaves open counts as "other". */
static mj_json *failed_to_json(const mj_choice *choice)
{
    char text[sizeof choice->failed_reasons];
    uint64_t left = choice->failed;
    mj_json *failed = mj_json_object();
    bool good = failed != NULL;
    memcpy(text, choice->failed_reasons, sizeof text);
    text[sizeof text - 1] = '\0';
    for (char *piece = text, *next = NULL; good && piece && piece[0]; piece = next) {
        next = strstr(piece, "; ");
        if (next) {
            *next = '\0';
            next += 2;
        }
        char *colon = NULL;
        for (char *c = piece; (c = strstr(c, ": ")); c++) {
            colon = c;
        }
        unsigned long long count = colon ? strtoull(colon + 2, NULL, 10) : 0;
        if (!colon || colon == piece || count == 0 || count > left) {
            continue;
        }
        *colon = '\0';
        left -= count;
        good = mj_json_add_int(failed, piece, (int64_t)count) != NULL;
    }
    if (good && left > 0) {
        good = mj_json_add_int(failed, "other", (int64_t)left) != NULL;
    }
    if (!good) {
        mj_json_free(failed);
        return NULL;
    }
    return failed;
}

static mj_json *choice_to_json(const mj_choice *choice)
{
    mj_json *object = mj_json_object();
    bool good =
        mj_json_add_string(object, "family", choice->manifest.family) &&
        mj_json_add(object, "config", mj_config_to_json(&choice->manifest.config)) &&
        mj_json_add_bool(object, "verified", choice->verified) &&
        mj_json_add_number(object, "time_us_median", choice->time_us_median) &&
        mj_json_add_number(object, "time_us_spread", choice->time_us_spread) &&
        mj_json_add_number(object, "floor_us", choice->floor_us) && mj_json_add_int(object, "tried", choice->tried) &&
        mj_json_add_int(object, "refused", choice->refused) && mj_json_add(object, "failed", failed_to_json(choice)) &&
        mj_json_add_u64(object, "seed", choice->seed) && mj_json_add_string(object, "effort", choice->effort) &&
        mj_json_add_int(object, "samples", choice->sample_count) &&
        mj_json_add_int(object, "launches", choice->launches) && mj_json_add_number(object, "bytes", choice->bytes) &&
        mj_json_add_number(object, "operations", choice->operations) &&
        mj_json_add_string(object, "cache_key", choice->cache_key) &&
        mj_json_add(object, "manifest", mj_manifest_to_json(&choice->manifest));
    if (!good) {
        mj_json_free(object);
        return NULL;
    }
    return object;
}

static bool add_choice(mj_json *object, const char *key, const mj_choice *choice)
{
    return !choice->present || mj_json_add(object, key, choice_to_json(choice));
}

mj_json *mj_identity_to_json(const mj_identity *identity)
{
    mj_json *object = mj_json_object();
    bool good = mj_json_add_string(object, "device", identity->device) &&
                mj_json_add_string(object, "arch", identity->arch) &&
                mj_json_add_int(object, "sm_count", identity->sm_count) &&
                mj_json_add_int(object, "memory_bytes", (int64_t)identity->memory_bytes) &&
                mj_json_add_string(object, "driver", identity->driver) &&
                mj_json_add_string(object, "compiler", identity->compiler) &&
                mj_json_add_int(object, "generator", identity->generator_version);
    if (!good) {
        mj_json_free(object);
        return NULL;
    }
    return object;
}

static bool add_identity(mj_json *root, const mj_identity *identity)
{
    mj_json *object = mj_json_add(root, "identity", mj_identity_to_json(identity));
    return mj_json_add_string(object, "version", MOEJIT_VERSION_STRING);
}

/* file->rows are sorted: rows of one token count are neighbours. */
static bool add_rows(mj_json *root, const mj_store_file *file)
{
    mj_json *rows = mj_json_add(root, "rows", mj_json_object()), *row_json = NULL;
    bool good = rows != NULL;
    for (uint32_t i = 0; good && i < file->row_count; i++) {
        mj_store_row *row = &file->rows[i];
        char key[16];
        snprintf(key, sizeof key, "%" PRIu32, row->token_count);
        if (i == 0 || row->token_count != row[-1].token_count) {
            row_json = mj_json_add(rows, key, mj_json_object());
        }
        mj_json *column = mj_json_add(row_json, row->routing, mj_json_object());
        good = column != NULL;
        for (int op = 0; op < MJ_OP_COUNT && good; op++) {
            const mj_choice *choice = mj_store_row_choice(row, (mj_op)op);
            good = !choice || add_choice(column, mj_op_name((mj_op)op), choice);
        }
    }
    return good;
}

static bool add_ops(mj_json *root, const mj_store_file *file)
{
    static const mj_op stored[] = {MJ_OP_TABLES, MJ_OP_QUANTISE1, MJ_OP_ACTIVATION, MJ_OP_QUANTISE2, MJ_OP_COMBINE};
    mj_json *ops = mj_json_add(root, "ops", mj_json_object());
    bool good = ops != NULL;
    for (size_t i = 0; good && i < sizeof stored / sizeof *stored; i++) {
        good = add_choice(ops, mj_op_name(stored[i]), &file->ops[stored[i]]);
    }
    return good;
}

static bool add_ceilings(mj_json *root, const mj_store_file *file)
{
    mj_json *ceilings = mj_json_add(root, "ceilings", mj_json_object());
    return mj_json_add_number(ceilings, "memory_gbps", file->memory_gbps) &&
           mj_json_add_number(ceilings, "matrix_tflops", file->matrix_tflops) &&
           (!file->matrix_product[0] || mj_json_add_string(ceilings, "matrix_product", file->matrix_product));
}

mj_json *mj_store_to_json(const mj_store_file *file)
{
    char problem[512];
    if (mj_problem_print(&file->problem, problem, sizeof problem, NULL) != MJ_OK) {
        return NULL;
    }
    mj_json *root = mj_json_object();
    bool good = mj_json_add_int(root, "moejit_store", MJ_STORE_FORMAT) &&
                mj_json_add_string(root, "problem", problem) && add_identity(root, &file->identity) &&
                add_ceilings(root, file) && add_ops(root, file) && add_rows(root, file);
    if (!good) {
        mj_json_free(root);
        return NULL;
    }
    return root;
}

char *mj_store_print(const mj_store_file *file)
{
    mj_json *root = mj_store_to_json(file);
    char *text = mj_json_print(root, true), *line = NULL;
    mj_json_free(root);
    int bytes = text ? asprintf(&line, "%s\n", text) : -1;
    free(text);
    return bytes < 0 ? NULL : line;
}
