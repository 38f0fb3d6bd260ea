/* Seeded mutants of the family wgmma (mutants.h). */
#include "mutants.h"

/* ORDER BASE */
typedef enum base_id {
    GATHER,
    SORTED,
    ROWS,
    CLUSTER,
    TURNS,
    SHARED,
    SHARED_ROWS,
    ACT,
    ACT_ROWS,
    ACT_BLOCKS,
    COLUMNS,
    BLOCKS_IN_PAIRS,
    CODES,
    CODES_ROWS,
    BASE_COUNT
} base_id;

static const mutant_base bases[BASE_COUNT] = {
    [GATHER] = {"gather", "E=5,topk=2,H=136,N=44,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
                "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,"
                "cluster=1,group_m=1,blocks_per_sm=3"},
    [SORTED] = {"sorted", "E=40,topk=2,H=264,N=28,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
                "tile_m=16,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=1,schedule=1,producers=2,"
                "cluster=1,group_m=1,blocks_per_sm=2"},
    [ROWS] = {"rows", "E=5,topk=2,H=104,N=72", "sm_90a", "wgmma", MJ_OP_GEMM2,
              "tile_m=64,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,"
              "cluster=1,group_m=1,blocks_per_sm=2"},
    [CLUSTER] = {"cluster", "E=5,topk=2,H=104,N=72", "sm_90a", "wgmma", MJ_OP_GEMM2,
                 "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,"
                 "cluster=2,group_m=1,blocks_per_sm=1"},
    [TURNS] = {"turns", "E=5,topk=2,H=136,N=200,scheme=fp16,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
               "tile_m=64,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=2,schedule=2,producers=2,"
               "cluster=1,group_m=1,blocks_per_sm=1"},
    [SHARED] = {"shared", "E=5,topk=2,H=840,N=28,scheme=fp16,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
                "tile_m=16,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=3,producers=2,"
                "cluster=1,group_m=1,blocks_per_sm=3"},
    [SHARED_ROWS] = {"shared_rows", "E=5,topk=2,H=40,N=1104,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM2,
                     "tile_m=64,tile_n=64,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=3,"
                     "producers=2,cluster=1,group_m=1,blocks_per_sm=2"},
    [ACT] = {"act", "E=5,topk=2,H=136,N=88,bias=1,act=swigluoai", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
             "tile_m=24,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
             "cluster=1,group_m=1,blocks_per_sm=3"},
    [ACT_ROWS] = {"act_rows", "E=5,topk=2,H=144,N=56,bias=1,act=swigluoai,scheme=fp8_w8a8_channel", "sm_90a", "wgmma",
                  MJ_OP_GEMM1_ACT,
                  "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
                  "cluster=1,group_m=1,blocks_per_sm=2"},
    [ACT_BLOCKS] = {"act_blocks", "E=5,topk=2,H=144,N=128,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
                    "tile_m=16,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
                    "cluster=1,group_m=1,blocks_per_sm=2"},
    [COLUMNS] = {"columns", "E=5,topk=2,H=184,N=72", "sm_90a", "wgmma", MJ_OP_GEMM2,
                 "tile_m=96,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
                 "cluster=2,cluster_of=2,group_m=1,blocks_per_sm=1"},
    [BLOCKS_IN_PAIRS] = {"blocks_in_pairs", "E=5,topk=2,H=528,N=64,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
                         MJ_OP_GEMM1,
                         "tile_m=64,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=1,"
                         "producers=4,cluster=1,group_m=1,blocks_per_sm=1"},
    [CODES] = {"codes", "E=5,topk=2,H=144,N=224,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
               "tile_m=24,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,"
               "cluster=1,group_m=1,blocks_per_sm=1"},
    [CODES_ROWS] = {"codes_rows", "E=5,topk=2,H=144,N=120,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma",
                    MJ_OP_GEMM1_QUANTISE,
                    "tile_m=64,tile_n=256,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
                    "cluster=1,group_m=1,blocks_per_sm=1"},
};

static const mutant mutants[] = {
    {"stage_released_without_a_wait", SORTED, 1, "mj_wgmma_wait(1); /* the step before is done: */", ""},
    {"stage_released_in_use", GATHER, 1, "mj_release(shared, before);\n        }",
     "mj_release(shared, ring->stage);\n        }"},
    {"full_parity_turned", GATHER, 2, "MJ_SMEM_FULL + 8 * ring->stage, ring->parity);",
     "MJ_SMEM_FULL + 8 * ring->stage, ring->parity ^ 1);"},
    {"first_round_finds_no_stage_free", SORTED, 1,
     "mj_ring ring = {0, 1}; /* the first round finds every stage free */", "mj_ring ring = {0, 0};"},
    {"expected_bytes_too_few", GATHER, 1, "mj_mbar_expect(full, MJ_WEIGHT_BYTES);",
     "mj_mbar_expect(full, MJ_WEIGHT_BYTES - 16);"},
    {"expected_bytes_of_one_atom", SORTED, 1, "mj_mbar_expect(full, MJ_INPUT_BYTES);",
     "mj_mbar_expect(full, MJ_INPUT_BYTES / MJ_ATOMS);"},
    {"atom_offset_of_the_other_operand", SORTED, 1, "k / 4 * (MJ_WGMMA_N * 128 >> 4)",
     "k / 4 * (MJ_M_ROWS * 128 >> 4)"},
    {"depth_of_16_bytes", GATHER, 2, "+ k % 4 * 2)", "+ k % 4)"},
    {"gathers_without_a_fence", GATHER, 1, "mj_fence_async(); /* cp.async wrote", "/* cp.async wrote"},
    {"sums_used_without_a_fence", ROWS, 1, "    mj_wgmma_fence();\n", ""},
    {"sums_start_with_the_last_tile", SORTED, 1, "add + k > 0);", "1);"},
    {"barriers_not_shown_to_the_copy_engine", SORTED, 1, "mj_mbar_init_fence();", ""},
    {"row_clip_too_far", GATHER, 1, "in_tile < MJ_ROWS && row < tile->row_end;",
     "in_tile < MJ_ROWS && row <= tile->row_end;"},
    {"row_clip_too_early", ROWS, 1, "in_tile < MJ_ROWS && row < tile->row_end;",
     "in_tile < MJ_ROWS && row + 1 < tile->row_end;"},
    {"weights_of_the_next_expert", SORTED, 1, "tile.expert * MJ_N + tile.column_tile",
     "(tile.expert + 1) % MJ_EXPERTS * MJ_N + tile.column_tile"},
    {"gather_ignores_the_pairs", GATHER, 1, "args->sorted_pairs[row] / MJ_TOP_K : row;", "row / MJ_TOP_K : row;"},
    {"gather_not_swizzled", GATHER, 1, "((chunk ^ row) & 7) * 16", "(chunk & 7) * 16"},
    {"last_step_skipped", GATHER, 1, "((MJ_K + MJ_STEP_K - 1) / MJ_STEP_K)", "(MJ_K / MJ_STEP_K)"},
    {"stage_not_advanced", ROWS, 1, "before = ring->stage;\n        mj_ring_next(ring);", "before = ring->stage;"},
    {"bias_of_the_first_expert", GATHER, 1, "MJ_LOAD(args->bias, (mj_i64)tile->expert * MJ_N + column)",
     "MJ_LOAD(args->bias, column)"},
    {"lower_rows_with_upper_bias", TURNS, 1, "MJ_STORED(d[2], r0, of->c1, of->b1, w0)",
     "MJ_STORED(d[2], r0, of->c1, of->b0, w0)"},
    {"topk_weight_missing", ROWS, 1, "args->topk_weights[rows->out[i]] : 1.0f;", "1.0f : 1.0f;"},
    {"topk_weight_of_the_row", TURNS, 1, "args->topk_weights[rows->out[i]]", "args->topk_weights[rows->source[i]]"},
    {"stored_without_the_swizzle", ROWS, 1, "((j / 8 + to_chunk) ^ (to_row & 7)) * 16", "(j / 8 + to_chunk) * 16"},
    {"first_pass_of_another_row", SORTED, 1, "(A.sorted_pairs[row] / MJ_TOP_K)", "(A.sorted_pairs[row] % MJ_TOP_K)"},
    {"first_pass_one_row_further", SORTED, 1, "(char *)A.partials + row *", "(char *)A.partials + (row + 1) *"},
    {"first_pass_without_the_tail", SORTED, 1,
     "at < MJ_K * MJ_ELEMENT_BYTES; at +=", "at + 16 < MJ_K * MJ_ELEMENT_BYTES; at +="},
    {"scan_takes_everything", SORTED, 1, "end += lane >= d ? lower : 0;", "end += lower;"},
    {"tiles_rounded_down", SORTED, 2, "(first[j + 1] - first[j] + MJ_TILE_M - 1) / MJ_TILE_M",
     "(first[j + 1] - first[j]) / MJ_TILE_M"},
    {"tile_of_an_expert_repeated", GATHER, 1, "+ (tile->row_tile - begin) * MJ_TILE_M;", ";"},
    {"neighbours_take_the_same_rows", CLUSTER, 1, "found ? mj_cluster_rank() * MJ_ROWS : 0;", "0;"},
    {"neighbours_not_waited_for", CLUSTER, 1, "MJ_CLUSTER * MJ_GROUPS * 4", "MJ_GROUPS * 4"},
    {"skipped_tile_keeps_its_stages", CLUSTER, 1, "mj_release(shared, ring->stage);", ""},
    {"neighbours_take_the_same_columns", COLUMNS, 1, "tile->column_tile * MJ_CLUSTER_COLUMNS + mj_cluster_rank()",
     "tile->column_tile * MJ_CLUSTER_COLUMNS"},
    {"column_pairs_rounded_down", COLUMNS, 1, "MJ_TILE_N * MJ_CLUSTER_COLUMNS - 1)", "0)"},
    {"part_added_under_way", BLOCKS_IN_PAIRS, 1, "    mj_wgmma_wait(0);\n    mj_part_start(follows",
     "    mj_part_start(follows"},
    {"scales_of_the_first_step", BLOCKS_IN_PAIRS, 1, "++d->step < MJ_K_STEPS);", "0);"},
    {"last_part_with_the_scales_before", BLOCKS_IN_PAIRS, 1, "% 2], &depth.next,", "% 2], &depth.scales,"},
    {"stage_released_for_the_next", BLOCKS_IN_PAIRS, 1, "&d->scales, shared, stage, 0);",
     "&d->scales, shared, ring->stage, 0);"},
    {"turn_not_passed_on", TURNS, 2, "    mj_pass_turn(shared);\n", ""},
    {"turn_of_the_wrong_parity", TURNS, 1, "        order ^= 1;\n", ""},
    {"gate_and_up_swapped", ACT, 1, "mj_activate(finished[1], finished[3])", "mj_activate(finished[3], finished[1])"},
    {"gate_and_up_swapped_in_rows", ACT_ROWS, 1, "mj_activate(gate_value, up_value)",
     "mj_activate(up_value, gate_value)"},
    {"activated_before_it_is_scaled", ACT_ROWS, 1, "MJ_FINISH(d[i], row_scale[i / 2], scale[c], bias[c], 1.0f)",
     "MJ_FINISH(d[i], 1.0f, 1.0f, bias[c], 1.0f)"},
    {"up_with_the_scale_of_gate", ACT_ROWS, 1, "scale[c + 2], bias[c + 2]", "scale[c], bias[c + 2]"},
    {"up_with_the_block_scale_of_gate", ACT_BLOCKS, 1, "(column + i % MJ_PARTS * MJ_OUT_N) / 128", "column / 128"},
    {"up_without_its_bias", ACT, 1, "mj_bias_at(args, tile, column + MJ_OUT_N)}", "0.0f}"},
    {"up_with_the_bias_of_other_columns", ACT, 1, "mj_bias_at(args, tile, column + MJ_OUT_N)}",
     "mj_bias_at(args, tile, column + 8)}"},
    {"activated_columns_clipped_too_far", ACT, 1, "out_row >= 0 && column < MJ_OUT_N", "out_row >= 0 && column < MJ_N"},
    {"activated_columns_clipped_too_early", ACT_ROWS, 1, "column < MJ_OUT_N) {", "column + 8 < MJ_OUT_N) {"},
    {"groups_counted_in_weight_rows", ACT, 1, "tile->column_tile * (MJ_OUT_TILE / 8) -",
     "tile->column_tile * (MJ_TILE_N / 8) -"},
    {"second_eight_rows_as_the_first", ACT, 1, "j + 8 < MJ_ROWS ? d + 2 : d;", "d;"},
    {"other_warpgroups_stages_taken", TURNS, 1, "mj_ring_skip(&ring, MJ_K_STEPS);", ""},
    {"counter_of_arrivals_not_reset", SHARED, 1, "*counter = 0;", ""},
    {"counter_of_all_warps", SHARED, 1, "tile->rest * MJ_CONSUMER_WARPS + mj_warp();",
     "tile->rest * MJ_CONSUMER_WARPS;"},
    {"last_arrival_not_counted", SHARED_ROWS, 1, "mj_shfl_i32(arrived, 0) + tile->steps;", "mj_shfl_i32(arrived, 0);"},
    {"stored_before_the_last_arrival", SHARED, 1, "arrived != MJ_K_STEPS", "arrived < MJ_K_STEPS / 2"},
    {"first_part_dropped", SHARED, 1, "mj_add_partial(sum, mj_part_at(",
     "if (unit > 0) mj_add_partial(sum, mj_part_at("},
    {"sum_depends_on_the_last_arrival", SHARED, 1, "sum[i] = 0.0f;\n    }\n    MJ_NO_UNROLL\n    for (mj_i32 unit",
     "sum[i] = 1e-4f * (float)mj_block();\n    }\n    MJ_NO_UNROLL\n    for (mj_i32 unit"},
    {"part_of_the_neighbour", SHARED_ROWS, 1, "mj_part_at(args, owner, unit == 0)",
     "mj_part_at(args, owner + 1, unit == 0)"},
    {"parts_of_neighbours_overlap", SHARED, 1, "((mj_i64)block * 2 + begins_tile)", "((mj_i64)block + begins_tile)"},
    {"parts_over_the_sorted_rows", SHARED, 1,
     "parts += (mj_i64)args->token_count * MJ_TOP_K * (MJ_K * MJ_ELEMENT_BYTES);", ""},
    {"owner_of_ranges_of_one_length", SHARED, 1, "unit / (each + 1) :", "unit / each :"},
    {"part_begins_a_step_early", SHARED_ROWS, 1, "return mj_tile_at(table, whole + tile->rest, tile);",
     "tile->step_first -= unit > 0;\n    return mj_tile_at(table, whole + tile->rest, tile);"},
    {"part_ends_a_unit_early", SHARED, 1, "stop < MJ_UNITS ?", "--stop < MJ_UNITS ?"},
    {"second_tile_begins_like_the_first", SHARED, 1, "nth > 0 ? tile->rest * MJ_UNITS : begin;", "begin;"},
    {"rows_not_waited_for", CODES, 1, "    mj_tile_sync();\n    MJ_NO_UNROLL", "    MJ_NO_UNROLL"},
    {"largest_of_half_the_lanes", CODES, 1, "mask = MJ_CODE_LANES / 2;", "mask = MJ_CODE_LANES / 4;"},
    {"scales_of_one_group", CODES, 1, "column / MJ_CODE_GROUP] = scale;", "tile->column_tile * 0] = scale;"},
    {"rows_that_do_not_exist_are_staged", CODES, 1, "(j + 8 < MJ_ROWS ? lane % 16 : lane % 8)", "lane % 16"},
    {"half_warps_take_the_same_row", CODES, 1, "2 * warp + lane / MJ_CODE_LANES;", "2 * warp;"},
    {"codes_clipped_too_far", CODES, 1, "column < MJ_OUT_N;\n    mj_vec16", "column <= MJ_OUT_N;\n    mj_vec16"},
    {"codes_clipped_too_early", CODES_ROWS, 1, "column < MJ_OUT_N;\n    mj_vec16",
     "column + 8 < MJ_OUT_N;\n    mj_vec16"},
    {"other_experts_rows_written", CODES_ROWS, 1, "out_row < tile->row_end", "out_row <= tile->row_end"},
    {"slab_not_waited_for", CODES_ROWS, 1, "mj_warp_sync();\n            for (mj_i32 i = lane", "for (mj_i32 i = lane"},
    {"rows_of_another_warp", CODES_ROWS, 1, "mj_warp() % 4 * 16 + i;", "mj_warp() % 4 * 8 + i;"},
    {"values_not_divided", CODES_ROWS, 1, "values[i] = values[i] / scale;", "values[i] = values[i] * scale;"},
    {"rows_of_the_tile_before", SORTED, 1, "        rows = next_rows;\n", ""},
    {"stored_before_all_have_staged", SORTED, 1, "            mj_staged_sync();\n            mj_store_staged",
     "            mj_store_staged"},
    {"chunks_of_another_warp", SORTED, 1, "chunk = mj_warp() % MJ_STORE_WARPS * 2 +", "chunk = mj_warp() % 2 * 2 +"},
    {"scales_of_the_first_steps", SHARED_ROWS, 1, "args, tile, MJ_STEP_FIRST(tile));", "args, tile, 0);"},
};

int main(int argc, char **argv)
{
    mutant_set set = {.bases = bases,
                      .base_count = BASE_COUNT,
                      .mutants = mutants,
                      .mutant_count = sizeof mutants / sizeof mutants[0],
                      .filter = argc > 1 ? argv[1] : NULL};
    CHECK_BEGIN(argc, argv);
    if (!fixture_open() || !mutants_run(&set)) {
        printf("FAIL set_up: no memory, no process or no spec\n");
        return 1;
    }
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
