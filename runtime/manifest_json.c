/* manifest_json.c: configs and manifests as JSON and back. A manifest comes from a file, so every figure a launch rests on is
 * checked here. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"
#include "json.h"
#include "store.h"

enum { POINTER_ALIGN_MAX = 4096, BLOCK_THREADS_MAX = 4096 };

/* ---- Config ----------------------------------------------------------------------------------- */

mj_json *mj_config_to_json(const mj_config *config)
{
    mj_json *object = mj_json_object();
    for (uint32_t i = 0; object && i < config->count; i++) {
        if (!mj_json_add_int(object, config->params[i].name, config->params[i].value)) {
            mj_json_free(object);
            return NULL;
        }
    }
    return object;
}

mj_status mj_config_from_json(const mj_json *value, mj_config *out, mj_error *error)
{
    if (!mj_json_is_object(value)) {
        return mj_fail(error, MJ_ERR_FORMAT, "a config is an object of names and whole numbers");
    }
    mj_config config = {0};
    for (const mj_json *child = mj_json_first(value); child; child = mj_json_next(child)) {
        const char *name = mj_json_key(child);
        int64_t number = 0;
        if (config.count == MJ_CONFIG_MAX) {
            return mj_fail(error, MJ_ERR_FORMAT, "more than %d values", MJ_CONFIG_MAX);
        }
        if (!name[0] || strlen(name) >= MJ_NAME_MAX ||
            strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name)) {
            return mj_fail(error, MJ_ERR_FORMAT, "\"%.60s\" is no name of a config's value", name);
        }
        mj_status status = mj_json_read_int(value, name, INT32_MIN, INT32_MAX, &number, error);
        if (status != MJ_OK) {
            return status;
        }
        mj_param *param = &config.params[config.count++];
        snprintf(param->name, sizeof param->name, "%s", name);
        param->value = (int32_t)number;
    }
    *out = config;
    return MJ_OK;
}

/* ---- Manifest --------------------------------------------------------------------------------- */

/* ORDER GRID */
static const char *const grid_names[MJ_GRID_UNIT_COUNT] = {"one", "tokens", "pairs", "tiles", "workers", "rows"};

static mj_json *grid_to_json(const mj_grid_rule *grid)
{
    mj_json *object = mj_json_object();
    bool good = grid->unit < MJ_GRID_UNIT_COUNT && mj_json_add_string(object, "unit", grid_names[grid->unit]) &&
                mj_json_add_int(object, "per_block", grid->per_block) &&
                mj_json_add_int(object, "factor", grid->factor) &&
                mj_json_add_int(object, "blocks_per_sm_max", grid->blocks_per_sm_max);
    if (!good) {
        mj_json_free(object);
        return NULL;
    }
    return object;
}

/* ORDER ROW UNIT */
static const char *const row_unit_names[MJ_ROW_UNIT_COUNT] = {"fixed", "tokens", "pairs"};

static mj_json *map_to_json(const mj_tensor_map_rule *rule)
{
    mj_json *object = mj_json_object();
    bool good = rule->row_unit < MJ_ROW_UNIT_COUNT && mj_json_add_string(object, "name", rule->name) &&
                mj_json_add_string(object, "source", mj_arg_name(rule->source)) &&
                mj_json_add_string(object, "row_unit", row_unit_names[rule->row_unit]) &&
                mj_json_add_int(object, "rows", (int64_t)rule->rows) &&
                mj_json_add_int(object, "row_elements", rule->row_elements) &&
                mj_json_add_int(object, "element_bytes", rule->element_bytes) &&
                mj_json_add_int(object, "box_rows", rule->box_rows) &&
                mj_json_add_int(object, "box_elements", rule->box_elements) &&
                mj_json_add_int(object, "swizzle_bytes", rule->swizzle_bytes);
    mj_json *axes = good && rule->axis_count ? mj_json_add(object, "axes", mj_json_array()) : NULL;
    for (uint32_t i = 0; good && i < rule->axis_count; i++) {
        mj_json *axis = mj_json_push(axes, mj_json_object());
        good = axis && mj_json_add_int(axis, "count", (int64_t)rule->axes[i].count) &&
               mj_json_add_int(axis, "stride_rows", (int64_t)rule->axes[i].stride_rows) &&
               mj_json_add_int(axis, "box", rule->axes[i].box);
    }
    if (!good) {
        mj_json_free(object);
        return NULL;
    }
    return object;
}

/* What a scheme may have beside the codes. */
static const mj_arg scheme_args[] = {MJ_ARG_WEIGHT_SCALES, MJ_ARG_WEIGHT_ZEROS, MJ_ARG_INPUT_SCALES,
                                     MJ_ARG_OUTPUT_SCALES};
enum { SCHEME_ARG_COUNT = sizeof scheme_args / sizeof scheme_args[0] };

static bool add_needs(mj_json *object, const mj_manifest *manifest)
{
    mj_json *needs = manifest->needed_args ? mj_json_add(object, "needs", mj_json_array()) : NULL;
    for (int i = 0; i < SCHEME_ARG_COUNT; i++) {
        if (manifest->needed_args >> scheme_args[i] & 1 &&
            !mj_json_push(needs, mj_json_new_string(mj_arg_name(scheme_args[i])))) {
            return false;
        }
    }
    return !manifest->scales_per_row || mj_json_add_int(object, "scales_per_row", manifest->scales_per_row);
}

/* Numbers that most kernels do without: left out where they are 0. */
static const struct optional_figure {
    const char *key;
    size_t at; /* in mj_manifest */
} optional_figures[] = {
    {"pair_scratch_bytes", offsetof(mj_manifest, pair_scratch_bytes)},
    {"partial_block_bytes", offsetof(mj_manifest, partial_block_bytes)},
    {"counters_per_block", offsetof(mj_manifest, counters_per_block)},
    {"counters_per_token", offsetof(mj_manifest, counters_per_token)},
};
enum { OPTIONAL_FIGURE_COUNT = sizeof optional_figures / sizeof optional_figures[0] };

/* Keys that most kernels do without. */
static bool add_optional(mj_json *object, const mj_manifest *manifest)
{
    if (!add_needs(object, manifest)) {
        return false;
    }
    if (manifest->scheme[0] && !mj_json_add_string(object, "scheme", manifest->scheme)) {
        return false;
    }
    if (manifest->dependent_launch && !mj_json_add_bool(object, "dependent_launch", true)) {
        return false;
    }
    if (manifest->first_pass && !mj_json_add(object, "first_grid", grid_to_json(&manifest->first_grid))) {
        return false;
    }
    for (int i = 0; i < OPTIONAL_FIGURE_COUNT; i++) {
        uint32_t value = 0;
        memcpy(&value, (const char *)manifest + optional_figures[i].at, sizeof value);
        if (value && !mj_json_add_int(object, optional_figures[i].key, value)) {
            return false;
        }
    }
    mj_json *maps = manifest->tensor_map_count ? mj_json_add(object, "tensor_maps", mj_json_array()) : NULL;
    for (uint32_t i = 0; i < manifest->tensor_map_count; i++) {
        if (!mj_json_push(maps, map_to_json(&manifest->tensor_maps[i]))) {
            return false;
        }
    }
    return true;
}

static const char digest_key[] = "manifest_sha256";

/* Of all else in the object, keys of other versions too: what its figures lost on a disk is no kernel's description any more. */
static bool digest_of(const mj_json *object, char out[MJ_SHA256_HEX])
{
    mj_json *rest = mj_json_copy(object);
    mj_json_remove(rest, digest_key);
    char *text = mj_json_print(rest, false);
    mj_json_free(rest);
    if (text) {
        mj_sha256_hex(text, strlen(text), out);
    }
    free(text);
    return text != NULL;
}

static bool add_digest(mj_json *object)
{
    char digest[MJ_SHA256_HEX];
    return digest_of(object, digest) && mj_json_add_string(object, digest_key, digest);
}

/* Files of before it was written have none. */
static mj_status check_digest(const mj_json *value, mj_error *error)
{
    char written[MJ_SHA256_HEX], digest[MJ_SHA256_HEX];
    if (!mj_json_get(value, digest_key)) {
        return MJ_OK;
    }
    mj_status status = mj_json_read_string(value, digest_key, written, sizeof written, error);
    if (status == MJ_OK && !digest_of(value, digest)) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory to check a manifest");
    }
    return status == MJ_OK && strcmp(written, digest) != 0
               ? mj_fail(error, MJ_ERR_FORMAT, "%s: not that of the rest, which was changed", digest_key)
               : status;
}

mj_json *mj_manifest_to_json(const mj_manifest *manifest)
{
    char problem[512];
    if (mj_problem_print(&manifest->problem, problem, sizeof problem, NULL) != MJ_OK) {
        return NULL;
    }
    mj_json *object = mj_json_object();
    bool good =
        mj_json_add_string(object, "symbol", manifest->symbol) &&
        mj_json_add_string(object, "op", mj_op_name(manifest->op)) &&
        mj_json_add_string(object, "family", manifest->family) && mj_json_add_string(object, "arch", manifest->arch) &&
        mj_json_add_string(object, "compile_target", manifest->compile_target) &&
        mj_json_add_string(object, "problem", problem) &&
        mj_json_add(object, "config", mj_config_to_json(&manifest->config)) &&
        mj_json_add_int(object, "block_threads", manifest->block_threads) &&
        mj_json_add_int(object, "smem_bytes", manifest->smem_bytes) &&
        mj_json_add(object, "grid", grid_to_json(&manifest->grid)) &&
        mj_json_add_int(object, "args_bytes", manifest->args_bytes) &&
        mj_json_add_int(object, "pointer_align_bytes", manifest->pointer_align_bytes) &&
        mj_json_add_int(object, "tiles_per_row_tile", manifest->tiles_per_row_tile) &&
        mj_json_add_int(object, "partial_tile_bytes", manifest->partial_tile_bytes) && add_optional(object, manifest) &&
        mj_json_add_string(object, "source_sha256", manifest->source_sha256) && add_digest(object);
    if (!good) {
        mj_json_free(object);
        return NULL;
    }
    return object;
}

static mj_status read_u32(const mj_json *object, const char *key, uint32_t min, uint32_t max, uint32_t *out,
                          mj_error *error)
{
    int64_t value = 0;
    mj_status status = mj_json_read_int(object, key, min, max, &value, error);
    *out = status == MJ_OK ? (uint32_t)value : 0;
    return status;
}

static mj_status read_grid(const mj_json *object, mj_grid_rule *out, mj_error *error)
{
    char unit[MJ_NAME_MAX];
    mj_status status = mj_json_read_string(object, "unit", unit, sizeof unit, error);
    if (status != MJ_OK) {
        return status;
    }
    uint32_t at = 0;
    while (at < MJ_GRID_UNIT_COUNT && strcmp(unit, grid_names[at]) != 0) {
        at++;
    }
    if (at == MJ_GRID_UNIT_COUNT) {
        return mj_fail(error, MJ_ERR_FORMAT, "unit: unknown \"%s\"", unit);
    }
    out->unit = (mj_grid_unit)at;
    const struct {
        const char *key;
        uint32_t min;
        uint32_t *out;
    } rows[] = {
        {"per_block", out->unit == MJ_GRID_ONE || out->unit == MJ_GRID_WORKERS ? 0 : 1, &out->per_block},
        {"factor", 1, &out->factor}, /* 0 blocks would be a launch of nothing, and no error */
        {"blocks_per_sm_max", 0, &out->blocks_per_sm_max},
    };
    for (size_t i = 0; status == MJ_OK && i < sizeof rows / sizeof *rows; i++) {
        status = read_u32(object, rows[i].key, rows[i].min, INT32_MAX, rows[i].out, error);
    }
    return status;
}

static bool is_identifier(const char *text)
{
    if (!isalpha((unsigned char)text[0]) && text[0] != '_') {
        return false;
    }
    for (; *text; text++) {
        if (!isalnum((unsigned char)*text) && *text != '_') {
            return false;
        }
    }
    return true;
}

bool mj_is_sha256_hex(const char *text)
{
    return strlen(text) == MJ_SHA256_HEX - 1 && strspn(text, "0123456789abcdef") == MJ_SHA256_HEX - 1;
}

static mj_status check_manifest(const mj_manifest *manifest, mj_error *error)
{
    uint32_t align = manifest->pointer_align_bytes,
             args_bytes = mj_args_bytes(manifest->op, manifest->tensor_map_count);
    if (!is_identifier(manifest->symbol)) {
        return mj_fail(error, MJ_ERR_FORMAT, "symbol: \"%s\" is no C name", manifest->symbol);
    }
    if (align & (align - 1)) {
        return mj_fail(error, MJ_ERR_FORMAT, "pointer_align_bytes: %u is no power of two", align);
    }
    if (manifest->args_bytes != args_bytes) {
        return mj_fail(error, MJ_ERR_FORMAT, "args_bytes: %u, but %s takes %u", manifest->args_bytes,
                       mj_op_name(manifest->op), args_bytes);
    }
    if (!mj_is_sha256_hex(manifest->source_sha256)) {
        return mj_fail(error, MJ_ERR_FORMAT, "source_sha256: not 64 hex digits");
    }
    return MJ_OK;
}

static mj_status read_words(const mj_json *value, mj_manifest *out, mj_error *error)
{
    char op[MJ_NAME_MAX], problem[512];
    const struct {
        const char *key;
        char *out;
        size_t bytes;
    } rows[] = {
        {"symbol", out->symbol, sizeof out->symbol},
        {"op", op, sizeof op},
        {"family", out->family, sizeof out->family},
        {"arch", out->arch, sizeof out->arch},
        {"compile_target", out->compile_target, sizeof out->compile_target},
        {"problem", problem, sizeof problem},
        {"source_sha256", out->source_sha256, sizeof out->source_sha256},
    };
    mj_status status = MJ_OK;
    for (size_t i = 0; status == MJ_OK && i < sizeof rows / sizeof *rows; i++) {
        status = mj_json_read_string(value, rows[i].key, rows[i].out, rows[i].bytes, error);
    }
    if (status == MJ_OK && mj_op_parse(op, &out->op, error) != MJ_OK) {
        status = mj_fail(error, MJ_ERR_FORMAT, "op: unknown \"%s\"", op);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_error why = {0};
    if (mj_problem_parse(problem, &out->problem, &why) != MJ_OK || mj_problem_check(&out->problem, &why) != MJ_OK) {
        return mj_fail(error, MJ_ERR_FORMAT, "problem: %.800s", why.text);
    }
    return MJ_OK;
}

static uint32_t index_of(const char *name, const char *const *names, uint32_t count)
{
    uint32_t at = 0;
    while (at < count && strcmp(name, names[at]) != 0) {
        at++;
    }
    return at;
}

/* Of a map of more than two dimensions. */
static mj_status read_axes(const mj_json *object, mj_tensor_map_rule *out, mj_error *error)
{
    const mj_json *axes = mj_json_get(object, "axes");
    mj_status status = MJ_OK;
    if (!axes) {
        return MJ_OK;
    }
    if (!mj_json_is_array(axes) || mj_json_count(axes) > MJ_TENSOR_AXES_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "axes: an array of at most %d objects", MJ_TENSOR_AXES_MAX);
    }
    out->axis_count = (uint32_t)mj_json_count(axes);
    for (uint32_t i = 0; status == MJ_OK && i < out->axis_count; i++) {
        const mj_json *axis = mj_json_at(axes, i);
        int64_t count = 0, stride = 0;
        status = mj_json_read_int(axis, "count", 1, UINT32_MAX, &count, error);
        status = status == MJ_OK ? mj_json_read_int(axis, "stride_rows", 1, INT64_MAX, &stride, error) : status;
        status = status == MJ_OK ? read_u32(axis, "box", 1, INT32_MAX, &out->axes[i].box, error) : status;
        status = mj_json_within(error, status, "axes.");
        out->axes[i].count = (uint64_t)count;
        out->axes[i].stride_rows = (uint64_t)stride;
    }
    return status;
}

static mj_status read_map(const mj_json *object, mj_tensor_map_rule *out, mj_error *error)
{
    char source[MJ_NAME_MAX] = "", unit[MJ_NAME_MAX] = "";
    const char *arg_names[MJ_ARG_COUNT];
    int64_t rows = 0;
    for (int i = 0; i < MJ_ARG_COUNT; i++) {
        arg_names[i] = mj_arg_name((mj_arg)i);
    }
    mj_status status = mj_json_read_string(object, "name", out->name, sizeof out->name, error);
    status = status == MJ_OK ? mj_json_read_string(object, "source", source, sizeof source, error) : status;
    status = status == MJ_OK ? mj_json_read_string(object, "row_unit", unit, sizeof unit, error) : status;
    status = status == MJ_OK ? mj_json_read_int(object, "rows", 1, UINT32_MAX, &rows, error) : status;
    const struct {
        const char *key;
        uint32_t *out;
    } figures[] = {
        {"row_elements", &out->row_elements}, {"element_bytes", &out->element_bytes}, {"box_rows", &out->box_rows},
        {"box_elements", &out->box_elements}, {"swizzle_bytes", &out->swizzle_bytes},
    };
    for (size_t i = 0; status == MJ_OK && i < sizeof figures / sizeof *figures; i++) {
        status = read_u32(object, figures[i].key, 0, INT32_MAX, figures[i].out, error);
    }
    status = status == MJ_OK ? read_axes(object, out, error) : status;
    if (status != MJ_OK) {
        return status;
    }
    out->rows = (uint64_t)rows;
    out->source = (mj_arg)index_of(source, arg_names, MJ_ARG_COUNT);
    out->row_unit = (mj_row_unit)index_of(unit, row_unit_names, MJ_ROW_UNIT_COUNT);
    return mj_tensor_map_check(out, error); /* also of names that are none */
}

static mj_status read_needs(const mj_json *value, mj_manifest *out, mj_error *error)
{
    const mj_json *needs = mj_json_get(value, "needs");
    mj_status status = MJ_OK;
    if (mj_json_get(value, "scales_per_row")) {
        status = read_u32(value, "scales_per_row", 1, INT32_MAX, &out->scales_per_row, error);
    }
    if (status == MJ_OK && needs && !mj_json_is_array(needs)) {
        return mj_fail(error, MJ_ERR_FORMAT, "needs: not an array of names of arguments");
    }
    for (size_t i = 0; status == MJ_OK && needs && i < mj_json_count(needs); i++) {
        const char *name = mj_json_value_string(mj_json_at(needs, i));
        int at = 0;
        while (name && at < SCHEME_ARG_COUNT && strcmp(name, mj_arg_name(scheme_args[at])) != 0) {
            at++;
        }
        if (!name || at == SCHEME_ARG_COUNT) {
            return mj_fail(error, MJ_ERR_FORMAT, "needs: \"%.60s\" is no scale or zero point",
                           name ? name : "(no text)");
        }
        out->needed_args |= 1u << scheme_args[at];
    }
    return status;
}

/* Only checks read it, but whoever parses it later may rely on it. */
static mj_status read_scheme(const mj_json *value, mj_manifest *out, mj_error *error)
{
    mj_error why = {0};
    mj_scheme scheme;
    if (!mj_json_get(value, "scheme")) {
        return MJ_OK;
    }
    mj_status status = mj_json_read_string(value, "scheme", out->scheme, sizeof out->scheme, error);
    if (status == MJ_OK && mj_scheme_parse(out->scheme, &scheme, &why) != MJ_OK) {
        status = mj_fail(error, MJ_ERR_FORMAT, "scheme: %.200s", why.text);
    }
    return status;
}

static mj_status read_optional(const mj_json *value, mj_manifest *out, mj_error *error)
{
    mj_status status = read_needs(value, out, error);
    status = status == MJ_OK ? read_scheme(value, out, error) : status;
    if (status == MJ_OK && mj_json_get(value, "dependent_launch")) {
        status = mj_json_read_bool(value, "dependent_launch", &out->dependent_launch, error);
    }
    for (int i = 0; i < OPTIONAL_FIGURE_COUNT && status == MJ_OK; i++) {
        const char *key = optional_figures[i].key;
        uint32_t figure = 0;
        if (mj_json_get(value, key)) {
            status = read_u32(value, key, 1, INT32_MAX, &figure, error);
            memcpy((char *)out + optional_figures[i].at, &figure, sizeof figure);
        }
    }
    if (status == MJ_OK && mj_json_get(value, "first_grid")) {
        mj_json *grid = NULL;
        status = mj_json_read_object(value, "first_grid", &grid, error);
        status =
            status == MJ_OK ? mj_json_within(error, read_grid(grid, &out->first_grid, error), "first_grid.") : status;
        out->first_pass = status == MJ_OK;
    }
    const mj_json *maps = mj_json_get(value, "tensor_maps");
    if (status != MJ_OK || !maps) {
        return status;
    }
    size_t count = mj_json_count(maps);
    if (!mj_json_is_array(maps) || count > MJ_TENSOR_MAPS_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "tensor_maps: an array of at most %d objects", MJ_TENSOR_MAPS_MAX);
    }
    for (size_t i = 0; i < count && status == MJ_OK; i++) {
        const mj_json *map = mj_json_at(maps, i);
        status = mj_json_is_object(map) ? read_map(map, &out->tensor_maps[i], error)
                                        : mj_fail(error, MJ_ERR_FORMAT, "not an object");
        status = mj_json_within(error, status, "tensor_maps.");
    }
    out->tensor_map_count = (uint32_t)count;
    return status;
}

mj_status mj_manifest_from_json(const mj_json *value, mj_manifest *out, mj_error *error)
{
    mj_manifest manifest = {0};
    mj_json *object = NULL;
    if (!mj_json_is_object(value)) {
        return mj_fail(error, MJ_ERR_FORMAT, "a manifest is an object");
    }
    mj_status status = read_words(value, &manifest, error);
    const struct {
        const char *key;
        uint32_t min, max;
        uint32_t *out;
    } rows[] = {
        {"block_threads", 1, BLOCK_THREADS_MAX, &manifest.block_threads},
        {"smem_bytes", 0, INT32_MAX, &manifest.smem_bytes},
        {"args_bytes", 0, 4096, &manifest.args_bytes},
        {"pointer_align_bytes", 1, POINTER_ALIGN_MAX, &manifest.pointer_align_bytes},
        {"tiles_per_row_tile", 0, INT32_MAX, &manifest.tiles_per_row_tile},
        {"partial_tile_bytes", 0, INT32_MAX, &manifest.partial_tile_bytes},
    };
    for (size_t i = 0; status == MJ_OK && i < sizeof rows / sizeof *rows; i++) {
        status = read_u32(value, rows[i].key, rows[i].min, rows[i].max, rows[i].out, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_object(value, "config", &object, error);
    }
    if (status == MJ_OK) {
        status = mj_json_within(error, mj_config_from_json(object, &manifest.config, error), "config.");
    }
    if (status == MJ_OK) {
        status = mj_json_read_object(value, "grid", &object, error);
    }
    if (status == MJ_OK) {
        status = mj_json_within(error, read_grid(object, &manifest.grid, error), "grid.");
    }
    if (status == MJ_OK) {
        status = read_optional(value, &manifest, error);
    }
    if (status == MJ_OK) {
        status = check_manifest(&manifest, error);
    }
    if (status == MJ_OK) {
        status = check_digest(value, error);
    }
    if (status == MJ_OK) {
        *out = manifest;
    }
    return status;
}
