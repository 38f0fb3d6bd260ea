/* Seeded mutants of the mma and reference families and of the layer's other ops. */
#include "mutants.h"

/* ORDER BASE */
typedef enum base_id {
    GEMM1,
    GEMM2,
    SPLIT,
    GROUPED,
    REFERENCE1,
    REFERENCE2,
    TABLES,
    SWIGLU,
    GELU,
    COMBINE,
    COMPARE,
    FILL,
    BASE_COUNT
} base_id;

static const mutant_base bases[BASE_COUNT] = {
    [GEMM1] = {"gemm1", "E=5,topk=2,H=264,N=88,bias=1", "sm_90a", "mma", MJ_OP_GEMM1,
               "tile_m=32,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=1"},
    [GEMM2] = {"gemm2", "E=40,topk=2,H=168,N=264", "sm_80", "mma", MJ_OP_GEMM2,
               "tile_m=16,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=1"},
    [SPLIT] = {"split", "E=5,topk=2,H=264,N=88", "sm_90a", "mma", MJ_OP_GEMM1,
               "tile_m=16,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=2"},
    [GROUPED] = {"grouped", "E=5,topk=2,H=168,N=200", "sm_80", "mma", MJ_OP_GEMM2,
                 "tile_m=64,tile_n=64,tile_k=64,stages=3,warps_m=2,warps_n=2,group_m=8,split_k=1"},
    [REFERENCE1] = {"reference1", "E=5,topk=2,H=51,N=33,bias=1,scheme=fp16", "sm_80", "reference", MJ_OP_GEMM1,
                    "threads=64"},
    [REFERENCE2] = {"reference2", "E=5,topk=2,H=51,N=33,bias=1", "cpu", "reference", MJ_OP_GEMM2, "threads=1"},
    [TABLES] = {"tables", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_TABLES, "threads=64"},
    [SWIGLU] = {"swiglu", "E=5,topk=2,H=64,N=40,act=swigluoai", "sm_90a", "simple", MJ_OP_ACTIVATION, "threads=64"},
    [GELU] = {"gelu", "E=5,topk=2,H=64,N=37,act=gelu_tanh,gated=0", "sm_90a", "simple", MJ_OP_ACTIVATION, "threads=64"},
    [COMBINE] = {"combine", "E=5,topk=3,H=72,N=64", "sm_90a", "simple", MJ_OP_COMBINE, "threads=64"},
    [COMPARE] = {"compare", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_COMPARE, "threads=64"},
    [FILL] = {"fill", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_FILL, "threads=64"},
};

static const mutant mutants[] = {
    {"barrier_dropped", GEMM1, 1, "mj_block_sync();                 /* everybody's", "/* everybody's"},
    {"wait_dropped", GEMM1, 1, "mj_cp_async_wait(MJ_STAGES - 2);", ""},
    {"wait_too_short", GEMM1, 1, "mj_cp_async_wait(MJ_STAGES - 2);", "mj_cp_async_wait(MJ_STAGES - 1);"},
    {"first_copies_one_stage_short", GEMM1, 1, "stage < MJ_STAGES - 1; stage++", "stage < MJ_STAGES - 2; stage++"},
    {"copy_into_the_stage_in_use", GEMM1, 1, "copy_stage = MJ_STAGES - 1;", "copy_stage = 0;"},
    {"stage_never_advances", GEMM1, 1, "stage = stage + 1 == MJ_STAGES ? 0 : stage + 1;", "stage = 0;"},
    {"fragments_of_b_swapped", GEMM1, 1, "b[j / 2] + j % 2 * 2", "b[j / 2] + (1 - j % 2) * 2"},
    {"fragments_of_a_swapped", GEMM2, 1, "input_row = input + (warp_row + row + (matrix & 1) * 8)",
     "input_row = input + (warp_row + row + (matrix >> 1) * 8)"},
    {"one_side_not_swizzled", GEMM1, 1, "(chunk ^ mj_swizzle(row))", "chunk"},
    {"swizzle_of_the_wrong_row", GEMM1, 1, "swizzle = mj_swizzle(row);", "swizzle = mj_swizzle(row + 1);"},
    {"last_step_skipped", GEMM1, 1, "step < steps; step++", "step < steps - 1; step++"},
    {"step_copied_twice", GEMM2, 1, "copy->weights += 2 * MJ_TILE_K;", ""},
    {"depth_tail_not_zeroed", GEMM1, 2, "exists ? 16 : 0", "16"},
    {"sums_start_at_one", GEMM1, 1, "        sum[i] = 0.0f;\n", "        sum[i] = 1.0f;\n"},
    {"expert_off_by_one", GEMM1, 1, "(((mj_i64)tile->expert * MJ_N + column)",
     "(((mj_i64)(tile->expert ? tile->expert - 1 : 0) * MJ_N + column)"},
    {"bias_missing", GEMM1, 1, "#if MJ_BIAS\n", "#if 0\n"},
    {"bias_of_the_first_expert", GEMM1, 1, "mj_i64 bias = (mj_i64)tile->expert * MJ_N + column;",
     "mj_i64 bias = column;"},
    {"gather_ignores_the_pairs", GEMM1, 1, "source = args->sorted_pairs[source] / MJ_TOP_K;",
     "source = source / MJ_TOP_K;"},
    {"topk_weight_missing", GEMM2, 1, "scale = args->topk_weights[out_row];", ""},
    {"topk_weight_of_the_row", GEMM2, 1, "scale = args->topk_weights[out_row];", "scale = args->topk_weights[row];"},
    {"rows_stay_sorted", GEMM2, 1, "out_row = args->sorted_pairs[row];", ""},
    {"row_clip_too_far", GEMM1, 1, "if (row < tile->row_end) {", "if (row <= tile->row_end) {"},
    {"row_clip_too_early", GEMM1, 1, "if (row < tile->row_end) {", "if (row + 1 < tile->row_end) {"},
    {"column_clip_missing", GEMM1, 1, "    if (place < MJ_N) {\n        *(mj_u32 *)",
     "    if (place <= MJ_N) {\n        *(mj_u32 *)"},
    {"columns_of_the_wrong_lane", GEMM1, 1, "warp_column + lane % 4 * 2;", "warp_column + lane % 4;"},
    {"rows_of_the_wrong_lane", GEMM1, 1, "warp_row + i * 8 + lane / 4;", "warp_row + i * 8 + lane / 8;"},
    {"tiles_rounded_down", GEMM2, 2, "(tiles->first[j + 1] - tiles->first[j] + MJ_TILE_M - 1) / MJ_TILE_M",
     "(tiles->first[j + 1] - tiles->first[j]) / MJ_TILE_M"},
    {"tile_of_an_expert_repeated", GEMM2, 1, "first[j] + (tile->row_tile - begin) * MJ_TILE_M;", "first[j];"},
    {"scan_takes_everything", GEMM2, 1, "end += lane >= d ? lower : 0;", "end += lower;"},
    {"lanes_count_one_expert_less", GEMM2, 1, "        count += (tiles->first[j + 1]",
     "        count += j == 0 ? 0 : (tiles->first[j + 1]"},
    {"group_drops_a_tile", GROUPED, 1, "in_group % group_rows;", "in_group % MJ_GROUP_M;"},
    {"group_taken_for_full", GROUPED, 1, "tile->column_tile = in_group / group_rows;",
     "tile->column_tile = in_group / MJ_GROUP_M;"},
    {"split_sum_misses_one", SPLIT, 1, "other < MJ_SPLIT_K; other++", "other < MJ_SPLIT_K - 1; other++"},
    {"split_counter_not_reset", SPLIT, 1, "counters[tile] = 0;", ""},
    {"split_flag_read_too_early", SPLIT, 1, "    mj_block_sync();\n    if (*arrived", "    if (*arrived"},
    {"split_waits_for_one_more", SPLIT, 1, "*arrived != MJ_SPLIT_K - 1", "*arrived != MJ_SPLIT_K"},
    {"split_parts_overlap", SPLIT, 1, "copy->k = tile->split * MJ_SPLIT_STEPS * MJ_TILE_K + 8 * chunk;",
     "copy->k = 8 * chunk;"},
    {"reference_last_product_missing", REFERENCE1, 1, "k < MJ_K; k += MJ_WARP_SIZE", "k < MJ_K - 1; k += MJ_WARP_SIZE"},
    {"reference_expert_search", REFERENCE1, 1, "offsets[middle] <= row", "offsets[middle] < row"},
    {"reference_bias_missing", REFERENCE2, 1, "#if MJ_BIAS\n", "#if 0\n"},
    {"reference_weight_before_bias", REFERENCE2, 1, "sum += (double)MJ_LOAD(args->bias,",
     "sum += 1.5 * (double)MJ_LOAD(args->bias,"},
    {"tables_unstable", TABLES, 1, "mj_popc(mask & (((mj_mask)1 << lane) - 1))", "mj_popc(mask >> lane) - 1"},
    {"tables_count_other_ranks", TABLES, 1, "id >= 0 && id < expert", "id < expert"},
    {"tables_last_offset_missing", TABLES, 1, "if (expert == MJ_EXPERTS - 1)", "if (expert == MJ_EXPERTS)"},
    {"tables_barrier_dropped", TABLES, 1, "    mj_block_sync();\n", ""},
    {"tables_run_overlaps", TABLES, 1, "run = (run + MJ_WARP_SIZE - 1) / MJ_WARP_SIZE * MJ_WARP_SIZE;",
     "run = MJ_WARP_SIZE;"},
    {"gate_and_up_swapped", SWIGLU, 1, "gate[i] = mj_activate(gate[i], up[i]);",
     "gate[i] = mj_activate(up[i], gate[i]);"},
    {"gate_not_clamped", SWIGLU, 1, "gate = gate > 7.0f ? 7.0f : gate;", ""},
    {"up_without_one", SWIGLU, 1, "up = up + 1.0f;", ""},
    {"last_column_missing", GELU, 1, "column < MJ_INTER; column += MJ_BLOCK_THREADS",
     "column < MJ_INTER - 1; column += MJ_BLOCK_THREADS"},
    {"gelu_without_its_cube", GELU, 1, "gate + 0.044715f * gate * gate * gate", "gate"},
    {"combine_skips_the_last_slot", COMBINE, 1, "first + i < MJ_TOP_K &&", "first + i < MJ_TOP_K - 1 &&"},
    {"combine_adds_foreign_rows", COMBINE, 1, "return id >= 0 && id < MJ_EXPERTS;", "return id < MJ_EXPERTS;"},
    {"compare_misses_nan", COMPARE, 1, "difference = difference < MJ_INFINITE ? difference : MJ_INFINITE;", ""},
    {"compare_drops_a_warp", COMPARE, 1, "for (mj_i32 i = 1; i < MJ_WARPS; i++)",
     "for (mj_i32 i = 1; i < MJ_WARPS - 1; i++)"},
    {"fill_seed_ignored", FILL, 1, "mj_u64 z = seed + ", "mj_u64 z = "},
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
