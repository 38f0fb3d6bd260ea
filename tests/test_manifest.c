/* Manifests: grids, workspaces, argument structs. The bound on row tiles is compared with every routing of small layers. */
#include "check.h"
#include "gen.h"

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

/* Most row tiles over all ways to give `left` further tokens-with-slots to experts: rows of an expert never above `tokens`. */
static uint32_t most_tiles(uint32_t experts, uint32_t rows, uint32_t tokens, uint32_t tile)
{
    uint32_t best = 0;
    if (experts == 0) {
        return 0;
    }
    for (uint32_t mine = 0; mine <= rows && mine <= tokens; mine++) {
        uint32_t tiles = ceil_div(mine, tile) + most_tiles(experts - 1, rows - mine, tokens, tile);
        best = tiles > best ? tiles : best;
    }
    return best;
}

TEST(row_tiles_bound_every_routing)
{
    for (uint32_t experts = 1; experts <= 4; experts++) {
        for (uint32_t top_k = 1; top_k <= experts; top_k++) {
            for (uint32_t tokens = 0; tokens <= 6; tokens++) {
                for (uint32_t tile = 1; tile <= 4; tile++) {
                    mj_problem problem = {.expert_count = experts, .expert_total_count = experts, .top_k = top_k};
                    uint64_t bound = mj_row_tiles_max(&problem, tokens, tile);
                    uint32_t most = most_tiles(experts, tokens * top_k, tokens, tile);
                    CHECK(bound >= most);
                    CHECK(bound <= most + experts); /* and it is no wild guess */
                }
            }
        }
    }
}

TEST(row_tiles_of_real_layers)
{
    mj_problem problem = {.expert_count = 8, .expert_total_count = 8, .top_k = 2};
    CHECK_INT(mj_row_tiles_max(&problem, 1, 16), 2); /* two experts, a row each */
    CHECK_INT(mj_row_tiles_max(&problem, 0, 16), 0);
    CHECK_INT(mj_row_tiles_max(&problem, 16, 16), 8); /* one tile an expert */
    CHECK_INT(mj_row_tiles_max(&problem, 4096, 128), (8192 + 8 * 127) / 128);
    problem.expert_count = 1; /* expert parallel: all tokens may come here, once each */
    problem.expert_total_count = 64;
    problem.top_k = 8;
    CHECK_INT(mj_row_tiles_max(&problem, 100, 16), 7);
}

static mj_manifest mma_manifest(void)
{
    mj_manifest manifest = {.symbol = "k", .op = MJ_OP_GEMM1, .block_threads = 128};
    manifest.problem =
        (mj_problem){.expert_count = 8, .expert_total_count = 8, .top_k = 2, .hidden = 64, .intermediate = 64};
    manifest.grid = (mj_grid_rule){.unit = MJ_GRID_TILES, .per_block = 16, .factor = 6};
    manifest.tiles_per_row_tile = 3;
    manifest.partial_tile_bytes = 2 * 16 * 64 * 4;
    return manifest;
}

TEST(grids)
{
    mj_manifest manifest = mma_manifest();
    uint32_t blocks = 0;
    CHECK_STATUS(mj_manifest_blocks(&manifest, 1, 132, &blocks, NULL), MJ_OK);
    CHECK_INT(blocks, 12);
    static const struct {
        mj_grid_rule rule;
        uint32_t tokens, want;
    } cases[] = {
        {{MJ_GRID_ONE, 1, 8, 0}, 5, 8},    {{MJ_GRID_TOKENS, 4, 2, 0}, 5, 4},   {{MJ_GRID_PAIRS, 1, 3, 0}, 5, 30},
        {{MJ_GRID_PAIRS, 4, 1, 0}, 5, 3},  {{MJ_GRID_WORKERS, 1, 8, 0}, 5, 80}, {{MJ_GRID_PAIRS, 1, 100, 2}, 5, 20},
        {{MJ_GRID_TOKENS, 0, 1, 0}, 5, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        manifest.grid = cases[i].rule;
        CHECK_STATUS(mj_manifest_blocks(&manifest, cases[i].tokens, 10, &blocks, NULL), MJ_OK);
        CHECK_INT(blocks, cases[i].want);
    }
    mj_error error = {0};
    manifest.grid = (mj_grid_rule){MJ_GRID_PAIRS, 1, UINT32_MAX, 0};
    CHECK_STATUS(mj_manifest_blocks(&manifest, UINT32_MAX, 10, &blocks, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "more than a grid holds");
    manifest.grid = (mj_grid_rule){MJ_GRID_TOKENS, 1, 1, 0}; /* of AMD's: 2^32 threads */
    manifest.block_threads = 256;
    CHECK_STATUS(mj_manifest_blocks(&manifest, 1u << 24, 10, &blocks, NULL), MJ_OK);
    snprintf(manifest.compile_target, sizeof manifest.compile_target, "gfx942");
    CHECK_STATUS(mj_manifest_blocks(&manifest, (1u << 24) - 1, 10, &blocks, NULL), MJ_OK);
    CHECK_STATUS(mj_manifest_blocks(&manifest, 1u << 24, 10, &blocks, NULL), MJ_ERR_CAPACITY);
}

TEST(workspaces)
{
    mj_manifest manifest = mma_manifest();
    uint64_t partial = 0, counters = 0;
    CHECK_STATUS(mj_manifest_workspace(&manifest, 16, 132, &partial, &counters, NULL), MJ_OK);
    CHECK_INT(partial, 8u * 3 * 8192);
    CHECK_INT(counters, 8 * 3 * 4);
    manifest.partial_tile_bytes = 0;
    CHECK_STATUS(mj_manifest_workspace(&manifest, 16, 132, &partial, &counters, NULL), MJ_OK);
    CHECK_INT(partial + counters, 0);
    manifest.partial_tile_bytes = UINT32_MAX;
    manifest.tiles_per_row_tile = UINT32_MAX;
    CHECK_STATUS(mj_manifest_workspace(&manifest, UINT32_MAX, 132, &partial, &counters, NULL), MJ_ERR_CAPACITY);
}

TEST(workspaces_of_blocks)
{
    mj_manifest manifest = mma_manifest();
    uint64_t partial = 0, counters = 0;
    mj_error error = {0};
    manifest.partial_tile_bytes = 0;
    manifest.partial_block_bytes = 2 * 16 * 64 * 4;
    manifest.counters_per_block = 4;
    manifest.grid.blocks_per_sm_max = 2;
    static const struct {
        uint32_t tokens, sms, blocks;
    } cases[] = {{0, 132, 0},
                 {1, 132, 12},
                 {1, 5, 10},
                 {4096, 132, 264},
                 {4096, 1, 2}}; /* 6 for each row tile, 2 a multiprocessor */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_STATUS(mj_manifest_workspace(&manifest, cases[i].tokens, cases[i].sms, &partial, &counters, NULL), MJ_OK);
        CHECK_INT(partial, cases[i].blocks * 8192u);
        CHECK_INT(counters, cases[i].blocks * 4 * 4);
    }
    manifest.pair_scratch_bytes = 48; /* ahead of them */
    CHECK_STATUS(mj_manifest_workspace(&manifest, 7, 1, &partial, &counters, NULL), MJ_OK);
    CHECK_INT(partial, 2 * 8192 + 7 * 2 * 48);
    manifest.counters_per_token = 5; /* behind them */
    CHECK_STATUS(mj_manifest_workspace(&manifest, 7, 1, &partial, &counters, NULL), MJ_OK);
    CHECK_INT(counters, (2 * 4 + 7 * 5) * 4);
    manifest.grid.blocks_per_sm_max = 0; /* more blocks than a grid has */
    manifest.grid.factor = UINT32_MAX;
    CHECK_STATUS(mj_manifest_workspace(&manifest, UINT32_MAX, 132, &partial, &counters, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "more than a grid holds");
    CHECK_INT(partial + counters, 0);
    manifest.pair_scratch_bytes = UINT32_MAX; /* more bytes than there are addresses */
    manifest.problem.top_k = UINT32_MAX;
    manifest.partial_block_bytes = manifest.counters_per_block = 0;
    CHECK_STATUS(mj_manifest_workspace(&manifest, UINT32_MAX, 132, &partial, &counters, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "has no size");
    manifest.pair_scratch_bytes = 0;
    manifest.counters_per_token = UINT32_MAX;
    CHECK_STATUS(mj_manifest_workspace(&manifest, UINT32_MAX, 132, &partial, &counters, &error), MJ_ERR_CAPACITY);
    CHECK_INT(partial + counters, 0);
}

TEST(arguments_lie_as_in_c)
{
    struct {
        void *output;
        int64_t element_count;
        uint64_t seed;
        float scale;
        int32_t mode;
    } fill;
    mj_manifest manifest = {.symbol = "k", .op = MJ_OP_FILL, .args_bytes = sizeof fill};
    mj_arg_value values[MJ_ARG_COUNT];
    memset(values, 0xee, sizeof values);
    values[MJ_ARG_OUTPUT].pointer = 0x1122334455667788u;
    values[MJ_ARG_ELEMENT_COUNT].i64 = -5;
    values[MJ_ARG_SEED].u64 = 7;
    values[MJ_ARG_SCALE].f32 = 0.5f;
    values[MJ_ARG_MODE].i32 = 2;
    mj_manifest_pack_args(&manifest, values, &fill);
    CHECK((uintptr_t)fill.output == 0x1122334455667788u);
    CHECK(fill.element_count == -5 && fill.seed == 7 && fill.scale == 0.5f && fill.mode == 2);

    struct {
        char bytes[sizeof fill];
        char guard;
    } small = {.guard = 77};
    manifest.args_bytes = 20; /* too few: what does not fit is left out, nothing is written behind */
    mj_manifest_pack_args(&manifest, values, &small);
    CHECK_INT(small.guard, 77);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(row_tiles_bound_every_routing);
    RUN(row_tiles_of_real_layers);
    RUN(grids);
    RUN(workspaces);
    RUN(workspaces_of_blocks);
    RUN(arguments_lie_as_in_c);
    return CHECK_END();
}
