/* manifest.c: grids, workspaces and argument structs from a manifest alone. */
#include "checked.h"
#include "gen.h"

#include <inttypes.h>
#include <string.h>

#define GRID_BLOCKS_MAX 0x7fffffffu /* CUDA's limit of the x dimension */

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

static uint64_t grid_units(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count)
{
    const mj_grid_rule *grid = &manifest->grid;
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

mj_status mj_manifest_blocks(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count, uint32_t *blocks,
                             mj_error *error)
{
    uint64_t count = 0;
    if (!mj_mul_u64(grid_units(manifest, token_count, sm_count), manifest->grid.factor, &count)) {
        count = UINT64_MAX;
    }
    if (manifest->grid.blocks_per_sm_max > 0) {
        count = least(count, (uint64_t)manifest->grid.blocks_per_sm_max * sm_count);
    }
    if (count > GRID_BLOCKS_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY,
                       "%s: %" PRIu64 " blocks for %" PRIu32 " tokens are more than a grid holds", manifest->symbol,
                       count, token_count);
    }
    *blocks = (uint32_t)count;
    return MJ_OK;
}

mj_status mj_manifest_workspace(const mj_manifest *manifest, uint32_t token_count, uint64_t *partial_bytes,
                                uint64_t *counter_bytes, mj_error *error)
{
    uint64_t tiles = 0, partial = 0, counters = 0;
    *partial_bytes = *counter_bytes = 0;
    if (manifest->partial_tile_bytes == 0) {
        return MJ_OK;
    }
    uint64_t row_tiles =
        mj_row_tiles_max(&manifest->problem, token_count, manifest->grid.per_block ? manifest->grid.per_block : 1);
    if (!mj_mul_u64(row_tiles, manifest->tiles_per_row_tile, &tiles) ||
        !mj_mul_u64(tiles, manifest->partial_tile_bytes, &partial) || !mj_mul_u64(tiles, sizeof(int32_t), &counters) ||
        partial > SIZE_MAX / 2) {
        return mj_fail(error, MJ_ERR_CAPACITY, "%s: the partial sums of %" PRIu32 " tokens have no size",
                       manifest->symbol, token_count);
    }
    *partial_bytes = partial;
    *counter_bytes = counters;
    return MJ_OK;
}

void mj_manifest_pack_args(const mj_manifest *manifest, const mj_arg_value values[MJ_ARG_COUNT], void *out)
{
    uint32_t count = 0, offset = 0;
    const mj_arg *args = mj_op_args(manifest->op, &count);
    memset(out, 0, manifest->args_bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = mj_arg_bytes(args[i]);
        offset = (offset + bytes - 1) / bytes * bytes; /* natural alignment */
        if (offset + bytes <= manifest->args_bytes) {
            memcpy((char *)out + offset, &values[args[i]], bytes); /* a union's members start at its own address */
        }
        offset += bytes;
    }
}
