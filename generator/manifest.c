/* manifest.c: grids, workspaces and argument structs from a manifest alone. */
#include "checked.h"
#include "gen.h"

#include <inttypes.h>
#include <string.h>

#define GRID_BLOCKS_MAX 0x7fffffffu /* CUDA's limit of the x dimension */

/* HIP counts a launch's threads in 32 bits (hipModuleLaunchKernel). */
static uint64_t blocks_max(const mj_manifest *manifest)
{
    bool is_amd = strncmp(manifest->compile_target, "gfx", 3) == 0;
    return is_amd && manifest->block_threads > 0 ? UINT32_MAX / manifest->block_threads : GRID_BLOCKS_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A token goes to distinct experts, so an expert has at most M rows; every expert with rows has at most one tile that is not full. */
uint64_t mj_row_tiles_max(const mj_problem *problem, uint32_t token_count, uint32_t tile_rows)
{
    uint64_t rows = (uint64_t)token_count * least(problem->top_k, problem->expert_count);
    uint64_t active = least(problem->expert_count, rows);
    uint64_t by_remainder = (rows + active * (tile_rows - 1)) / tile_rows;
    uint64_t by_expert = problem->expert_count * mj_ceil_div(token_count, tile_rows);
    return least(by_remainder, by_expert);
}

static uint64_t grid_units(const mj_manifest *manifest, const mj_grid_rule *grid, uint32_t token_count,
                           uint32_t sm_count)
{
    uint32_t per_block = grid->per_block ? grid->per_block : 1;
    switch (grid->unit) { /* ORDER GRID */
    case MJ_GRID_ONE:
        return 1;
    case MJ_GRID_TOKENS:
        return mj_ceil_div(token_count, per_block);
    case MJ_GRID_PAIRS:
        return mj_ceil_div((uint64_t)token_count * manifest->problem.top_k, per_block);
    case MJ_GRID_TILES:
        return mj_row_tiles_max(&manifest->problem, token_count, per_block);
    case MJ_GRID_WORKERS:
        return sm_count;
    case MJ_GRID_ROWS:
        return token_count; /* the caller passes its row count here */
    case MJ_GRID_UNIT_COUNT:
        break;
    }
    return 0;
}

static mj_status count_blocks(const mj_manifest *manifest, const mj_grid_rule *grid, uint32_t token_count,
                              uint32_t sm_count, uint32_t *blocks, mj_error *error)
{
    uint64_t count = 0;
    if (!mj_mul_u64(grid_units(manifest, grid, token_count, sm_count), grid->factor, &count)) {
        count = UINT64_MAX;
    }
    if (grid->blocks_per_sm_max > 0) {
        count = least(count, (uint64_t)grid->blocks_per_sm_max * sm_count);
    }
    if (count > blocks_max(manifest)) {
        return mj_fail(error, MJ_ERR_CAPACITY,
                       "%s: %" PRIu64 " blocks for %" PRIu32 " tokens are more than a grid holds", manifest->symbol,
                       count, token_count);
    }
    *blocks = (uint32_t)count;
    return MJ_OK;
}

mj_status mj_manifest_blocks(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count, uint32_t *blocks,
                             mj_error *error)
{
    return count_blocks(manifest, &manifest->grid, token_count, sm_count, blocks, error);
}

mj_status mj_manifest_first_blocks(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count,
                                   uint32_t *blocks, mj_error *error)
{
    return count_blocks(manifest, &manifest->first_grid, token_count, sm_count, blocks, error);
}

/* Parts of tiles lie by tile where the grid has a block for each part, by block where blocks share what is left over. */
mj_status mj_manifest_workspace(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count,
                                uint64_t *partial_bytes, uint64_t *counter_bytes, mj_error *error)
{
    uint64_t tiles = 0, pairs = (uint64_t)token_count * manifest->problem.top_k;
    uint64_t of_tiles = 0, of_blocks = 0, of_pairs = 0, counters = 0, of_tokens = 0;
    uint32_t blocks = 0;
    *partial_bytes = *counter_bytes = 0;
    if (manifest->partial_tile_bytes) {
        tiles =
            mj_row_tiles_max(&manifest->problem, token_count, manifest->grid.per_block ? manifest->grid.per_block : 1);
    }
    if (manifest->partial_block_bytes || manifest->counters_per_block) {
        mj_status status = mj_manifest_blocks(manifest, token_count, sm_count, &blocks, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    const uint64_t most = SIZE_MAX / 4; /* of each: their sum is one, too */
    bool good = mj_mul_u64(tiles, manifest->tiles_per_row_tile, &tiles) &&
                mj_mul_u64(tiles, manifest->partial_tile_bytes, &of_tiles) &&
                mj_mul_u64(blocks, manifest->partial_block_bytes, &of_blocks) &&
                mj_mul_u64(blocks, manifest->counters_per_block, &counters) && mj_add_u64(counters, tiles, &counters) &&
                mj_mul_u64(token_count, manifest->counters_per_token, &of_tokens) &&
                mj_add_u64(counters, of_tokens, &counters) && mj_mul_u64(counters, sizeof(int32_t), &counters) &&
                mj_mul_u64(pairs, manifest->pair_scratch_bytes, &of_pairs);
    if (!good || of_tiles > most || of_blocks > most || of_pairs > most) {
        return mj_fail(error, MJ_ERR_CAPACITY, "%s: the workspace of %" PRIu32 " tokens has no size", manifest->symbol,
                       token_count);
    }
    *partial_bytes = of_tiles + of_pairs + of_blocks;
    *counter_bytes = counters;
    return MJ_OK;
}

/* ---- The argument struct ---- */
static uint32_t align_up(uint32_t value, uint32_t align)
{
    return (value + align - 1) / align * align;
}

/* Without tensor maps; `align` is the struct's. */
static uint32_t plain_args_bytes(mj_op op, uint32_t *align)
{
    uint32_t count = 0, bytes = 0;
    const mj_arg *args = mj_op_args(op, &count);
    *align = 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t field = mj_arg_bytes(args[i]);
        bytes = align_up(bytes, field) + field;
        *align = field > *align ? field : *align;
    }
    return bytes;
}

uint32_t mj_args_tensor_map_offset(mj_op op, uint32_t index)
{
    uint32_t align = 1;
    return align_up(plain_args_bytes(op, &align), MJ_TENSOR_MAP_ALIGN) + index * MJ_TENSOR_MAP_BYTES;
}

uint32_t mj_args_bytes(mj_op op, uint32_t tensor_map_count)
{
    uint32_t align = 1, bytes = plain_args_bytes(op, &align);
    if (tensor_map_count > MJ_TENSOR_MAPS_MAX) {
        return 0;
    }
    return tensor_map_count ? mj_args_tensor_map_offset(op, tensor_map_count) : align_up(bytes, align);
}

void mj_manifest_pack_args(const mj_manifest *manifest, const mj_arg_value values[MJ_ARG_COUNT], void *out)
{
    uint32_t count = 0, offset = 0;
    const mj_arg *args = mj_op_args(manifest->op, &count);
    memset(out, 0, manifest->args_bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = mj_arg_bytes(args[i]);
        offset = align_up(offset, bytes); /* natural alignment */
        if (offset + bytes <= manifest->args_bytes) {
            memcpy((char *)out + offset, &values[args[i]], bytes); /* a union's members start at its own address */
        }
        offset += bytes;
    }
}

/* Dimensions beyond the second; NULL: nothing wrong. */
static const char *axes_wrong(const mj_tensor_map_rule *rule)
{
    const uint64_t stride_bytes_max = (1ull << 40) - 1, row_bytes = (uint64_t)rule->row_elements * rule->element_bytes;
    if (rule->axis_count > MJ_TENSOR_AXES_MAX || (rule->axis_count > 0 && rule->row_unit != MJ_ROWS_FIXED)) {
        return "at most 5 dimensions, and rows that are fixed where there are more than 2";
    }
    for (uint32_t i = 0; i < rule->axis_count; i++) {
        const mj_tensor_axis *axis = &rule->axes[i];
        if (axis->count == 0 || axis->count > UINT32_MAX || axis->box == 0 || axis->box > 256) {
            return "an axis has 1 to 2^32 - 1 parts, of which a box takes 1 to 256";
        }
        if (axis->stride_rows == 0 || axis->stride_rows > stride_bytes_max / row_bytes) {
            return "parts of an axis lie less than 2^40 bytes apart, and not in one place";
        }
    }
    return NULL;
}

mj_status mj_tensor_map_check(const mj_tensor_map_rule *rule, mj_error *error)
{
    const uint32_t elements_max = UINT32_MAX / 2, box_max = 256;
    uint32_t element = rule->element_bytes, swizzle = rule->swizzle_bytes;
    const char *why = NULL;
    if (rule->source > MJ_ARG_RESULT) {
        why = "describes no pointer";
    } else if (element != 1 && element != 2) {
        why = "elements must have 1 or 2 bytes";
    } else if (rule->row_elements == 0 || rule->row_elements > elements_max || rule->row_elements * element % 16 != 0) {
        why = "rows must be multiples of 16 bytes";
    } else if (rule->rows == 0 || rule->rows > UINT32_MAX || rule->row_unit >= MJ_ROW_UNIT_COUNT) {
        why = "the number of rows is out of range";
    } else if (rule->box_rows == 0 || rule->box_rows > box_max || rule->box_elements == 0 ||
               rule->box_elements > box_max || rule->box_elements * element % 16 != 0) {
        why = "a box has 1 to 256 rows, and 1 to 256 elements in whole 16 bytes";
    } else if (swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128) {
        why = "the swizzle spans 0, 32, 64 or 128 bytes";
    } else if (swizzle && rule->box_elements * element > swizzle) {
        why = "a row of the box is wider than the swizzle";
    } else {
        why = axes_wrong(rule);
    }
    return why ? mj_fail(error, MJ_ERR_FORMAT, "tensor map %.31s: %s", rule->name, why) : MJ_OK;
}

mj_status mj_manifest_tensor_map(const mj_manifest *manifest, uint32_t index, const mj_arg_value values[MJ_ARG_COUNT],
                                 uint32_t token_count, mj_tensor_map *out, mj_error *error)
{
    const mj_tensor_map_rule *rule = &manifest->tensor_maps[index];
    uint64_t rows = rule->rows;
    bool good = true;
    if (rule->row_unit != MJ_ROWS_FIXED) { /* ORDER ROW UNIT */
        good = mj_mul_u64(rows, token_count, &rows);
    }
    if (rule->row_unit == MJ_ROWS_PAIRS) {
        good = good && mj_mul_u64(rows, manifest->problem.top_k, &rows);
    }
    if (!good || rows > UINT32_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "%s: %s has too many rows for %" PRIu32 " tokens", manifest->symbol,
                       rule->name, token_count);
    }
    *out = (mj_tensor_map){
        .address = values[rule->source].pointer,
        .rows = rows,
        .row_elements = rule->row_elements,
        .element_bytes = rule->element_bytes,
        .box_rows = rule->box_rows,
        .box_elements = rule->box_elements,
        .swizzle_bytes = rule->swizzle_bytes,
        .axis_count = rule->axis_count,
    };
    memcpy(out->axes, rule->axes, sizeof out->axes);
    return MJ_OK;
}
