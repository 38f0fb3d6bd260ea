/* Seeded mutants of the families mfma and wmma (mutants.h). */
#include "mutants.h"

/* ORDER BASE */
typedef enum base_id {
    MFMA16,
    MFMA32,
    MFMA_SPLIT,
    WMMA11,
    WMMA12,
    MFMA_K8_32,
    DIRECT,
    DIRECT_LOW,
    WORDS,
    WORDS_LOW,
    STORE,
    STORE11,
    INT4_WMMA11,
    INT4_WMMA12,
    INT4_MFMA,
    FP8_TENSOR,
    FP8_CHANNEL,
    FP8_CHANNEL12,
    FP8_BLOCK,
    FP8_BLOCK12,
    BASE_COUNT
} base_id;

static const mutant_base bases[BASE_COUNT] = {
    [MFMA16] = {"mfma_16", "E=5,topk=2,H=264,N=88,bias=1", "gfx942", "mfma", MJ_OP_GEMM1,
                "tile_m=32,tile_n=64,tile_k=32,stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=2,waves_per_eu=2,"
                "lds_pad=0,group_m=1,split_k=1"},
    [MFMA32] = {"mfma_32", "E=5,topk=2,H=168,N=264,scheme=fp16", "gfx90a", "mfma", MJ_OP_GEMM2,
                "tile_m=32,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=1,waves_per_eu=2,"
                "lds_pad=16,group_m=1,split_k=1"},
    [MFMA_SPLIT] = {"mfma_split", "E=5,topk=2,H=256,N=88", "gfx950", "mfma", MJ_OP_GEMM1,
                    "tile_m=16,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=2,matrix_size=16,kpack=1,waves_per_eu=2,"
                    "lds_pad=0,group_m=1,split_k=2"},
    [WMMA11] = {"wmma_11", "E=5,topk=2,H=264,N=88,bias=1", "gfx1100", "wmma", MJ_OP_GEMM1,
                "tile_m=32,tile_n=64,tile_k=32,stages=1,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=1,"
                "group_m=1,split_k=1"},
    [WMMA12] = {"wmma_12", "E=5,topk=2,H=170,N=200,scheme=fp16", "gfx1201", "wmma", MJ_OP_GEMM2,
                "tile_m=64,tile_n=64,tile_k=32,stages=2,waves_m=2,waves_n=2,waves_per_eu=4,lds_pad=16,cu_mode=0,"
                "group_m=8,split_k=1"},
    [MFMA_K8_32] = {"mfma_k8_32", "E=5,topk=2,H=256,N=88,scheme=fp16", "gfx950", "mfma", MJ_OP_GEMM1,
                    "tile_m=32,tile_n=64,tile_k=64,"
                    "stages=1,waves_m=1,waves_n=2,matrix_size=32,kpack=1,waves_per_eu=2,lds_pad=0,group_m=1,split_k=1"},
    [DIRECT] = {"mfma_direct", "E=5,topk=2,H=168,N=256", "gfx950", "mfma", MJ_OP_GEMM2,
                "tile_m=32,tile_n=64,tile_k=64,"
                "stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=1,waves_per_eu=2,lds_pad=0,direct_lds=1,group_m=1,"
                "split_k=1"},
    [DIRECT_LOW] =
        {"mfma_direct_low", "E=5,topk=2,H=256,N=88,bias=1", "gfx950", "mfma", MJ_OP_GEMM1,
         "tile_m=16,tile_n=64,tile_k=32,"
         "stages=2,waves_m=1,waves_n=2,matrix_size=16,kpack=1,waves_per_eu=2,lds_pad=0,direct_lds=1,group_m=1,"
         "split_k=1"},
    [WORDS] = {"mfma_words", "E=5,topk=2,H=168,N=256", "gfx942", "mfma", MJ_OP_GEMM2,
               "tile_m=32,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=2,waves_per_eu=2,"
               "lds_pad=0,direct_lds=1,group_m=1,split_k=1"},
    [WORDS_LOW] = {"mfma_words_low", "E=5,topk=2,H=160,N=88,scheme=fp8_w8a8_channel_fnuz,bias=1", "gfx942", "mfma",
                   MJ_OP_GEMM1,
                   "tile_m=16,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=4,matrix_size=16,kpack=1,waves_per_eu=2,"
                   "lds_pad=0,direct_lds=1,group_m=1,split_k=1"},
    [STORE] = {"mfma_store", "E=5,topk=2,H=168,N=264,scheme=fp16", "gfx90a", "mfma", MJ_OP_GEMM2,
               "tile_m=64,tile_n=64,tile_k=32,stages=2,waves_m=2,waves_n=2,matrix_size=16,kpack=1,waves_per_eu=2,"
               "lds_pad=16,store_lds=1,group_m=1,split_k=1"},
    [STORE11] = {"wmma_store_11", "E=5,topk=2,H=264,N=88,bias=1", "gfx1100", "wmma", MJ_OP_GEMM1,
                 "tile_m=64,tile_n=64,tile_k=32,stages=2,waves_m=2,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=1,"
                 "store_lds=1,group_m=1,split_k=1"},
    [INT4_WMMA11] = {"int4_wmma_11", "E=5,topk=2,H=288,N=88,scheme=int4_w4a16,bias=1", "gfx1151", "wmma", MJ_OP_GEMM1,
                     "tile_m=16,tile_n=64,tile_k=32,"
                     "stages=1,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=0,group_m=1,split_k=1"},
    [INT4_WMMA12] = {"int4_wmma_12", "E=5,topk=2,H=168,N=288,scheme=int4_w4a16_g32_zp_fp16", "gfx1200", "wmma",
                     MJ_OP_GEMM2,
                     "tile_m=16,tile_n=64,tile_k=32,"
                     "stages=2,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=16,cu_mode=0,group_m=1,split_k=1"},
    [INT4_MFMA] = {"int4_mfma", "E=5,topk=2,H=256,N=88,scheme=int4_w4a16_g64_zp", "gfx942", "mfma", MJ_OP_GEMM1,
                   "tile_m=16,tile_n=64,tile_k=64,"
                   "stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=2,waves_per_eu=2,lds_pad=0,group_m=1,split_k=1"},
    [FP8_TENSOR] = {"fp8_tensor", "E=5,topk=2,H=272,N=88,scheme=fp8_w8a8", "gfx950", "mfma", MJ_OP_GEMM1,
                    "tile_m=16,tile_n=64,tile_k=32,"
                    "stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=1,waves_per_eu=2,lds_pad=0,group_m=1,split_k=1"},
    [FP8_CHANNEL] =
        {"fp8_channel", "E=5,topk=2,H=168,N=272,scheme=fp8_w8a8_channel_fnuz,bias=1", "gfx942", "mfma", MJ_OP_GEMM2,
         "tile_m=32,tile_n=64,tile_k=32,"
         "stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=2,waves_per_eu=2,lds_pad=16,group_m=1,split_k=1"},
    [FP8_CHANNEL12] = {"fp8_channel_12", "E=5,topk=2,H=256,N=88,scheme=fp8_w8a8_channel", "gfx1200", "wmma",
                       MJ_OP_GEMM1,
                       "tile_m=16,tile_n=64,tile_k=64,"
                       "stages=1,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=0,group_m=1,split_k=1"},
    [FP8_BLOCK] = {"fp8_block", "E=5,topk=2,H=400,N=88,scheme=fp8_w8a8_block_fnuz", "gfx942", "mfma", MJ_OP_GEMM1,
                   "tile_m=16,tile_n=64,tile_k=32,"
                   "stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=1,waves_per_eu=2,lds_pad=0,group_m=1,split_k=1"},
    [FP8_BLOCK12] = {"fp8_block_12", "E=5,topk=2,H=168,N=384,scheme=fp8_w8a8_block", "gfx1201", "wmma", MJ_OP_GEMM2,
                     "tile_m=16,tile_n=64,tile_k=64,"
                     "stages=2,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=0,group_m=1,split_k=1"},
};

static const mutant mutants[] = {
    {"step_read_before_it_landed", MFMA16, 1, "mj_lds_sync(); /* the step has landed */", ""},
    {"step_overwritten_while_read", MFMA16, 1, "mj_lds_sync(); /* and is free again */", ""},
    {"direct_load_not_waited_for", DIRECT, 1, "mj_lds_load_wait();", ""},
    {"direct_loads_of_others_not_waited_for", DIRECT, 1, "mj_lds_sync();      /* everybody's", "/* everybody's"},
    {"direct_load_into_the_stage_in_use", DIRECT, 1, "mj_direct_step(next, shared, 1 - stage);",
     "mj_direct_step(next, shared, stage);"},
    {"direct_load_not_swizzled", DIRECT, 1, "MJ_DIRECT_LDS ? chunk ^ mj_swizzle(mj_thread() / MJ_ROW_THREADS) : chunk",
     "chunk"},
    {"direct_load_of_the_wrong_pass", DIRECT, 1,
     "MJ_SMEM_WEIGHTS + stage * MJ_WEIGHT_BYTES + i * (MJ_BLOCK_THREADS * MJ_LOAD_BYTES),",
     "MJ_SMEM_WEIGHTS + stage * MJ_WEIGHT_BYTES + (i ^ 1) * (MJ_BLOCK_THREADS * MJ_LOAD_BYTES),"},
    {"direct_load_past_the_tile", DIRECT_LOW, 1,
     "|| mj_warp() * MJ_WARP_SIZE / MJ_ROW_THREADS + i * MJ_ROW_STEP < MJ_TILE_M", "|| 1"},
    {"words_past_the_tile", WORDS_LOW, 1, "|| mj_warp() * MJ_WARP_SIZE / MJ_ROW_THREADS + i * MJ_ROW_STEP < MJ_TILE_M",
     "|| 1"},
    {"words_all_the_first_of_their_chunk", WORDS, 1, "(source * 16 + at % 16)", "(source * 16)"},
    {"words_not_swizzled", WORDS, 1, "MJ_DIRECT_LDS ? chunk ^ mj_swizzle(mj_thread() / MJ_ROW_THREADS) : chunk",
     "chunk"},
    {"words_swizzled_inside_a_chunk", WORDS, 1, "at = mj_thread() % MJ_ROW_THREADS * MJ_LOAD_BYTES, chunk = at / 16;",
     "at = (mj_thread() % MJ_ROW_THREADS ^ (mj_thread() / MJ_ROW_THREADS & 3)) * MJ_LOAD_BYTES, chunk = at / 16;"},
    {"words_as_far_apart_as_chunks", WORDS, 1, "mj_warp() * (MJ_WARP_SIZE * MJ_LOAD_BYTES)",
     "mj_warp() * (MJ_WARP_SIZE * 16)"},
    {"words_not_waited_for", WORDS, 1, "mj_lds_load_wait();", ""},
    {"results_over_a_step_in_use", STORE, 1, "mj_lds_sync(); /* nobody reads", "/* nobody reads"},
    {"results_leave_half_done", STORE, 1, "mj_lds_sync(); /* every row is whole", "/* every row is whole"},
    {"results_of_the_next_row", STORE11, 1, "mj_lds_ld16(shared + kept * MJ_RESULT_BYTES",
     "mj_lds_ld16(shared + (kept ^ 1) * MJ_RESULT_BYTES"},
    {"results_of_the_next_chunk", STORE11, 1, "+ chunk * 16)", "+ (chunk ^ 1) * 16)"},
    {"results_stay_sorted", STORE, 1, "MJ_GEMM == 2 ? args->sorted_pairs[row] : row", "row"},
    {"results_of_the_last_pass_forgotten", STORE, 1, "at < MJ_TILE_M * MJ_RESULT_CHUNKS",
     "at < MJ_TILE_M * MJ_RESULT_CHUNKS - MJ_BLOCK_THREADS"},
    {"results_clipped_too_far", STORE11, 1, "row < tile->row_end && column", "row <= tile->row_end && column"},
    {"results_clipped_too_early", STORE11, 1, "row < tile->row_end && column", "row + 1 < tile->row_end && column"},
    {"results_of_columns_that_are_none", STORE11, 1, "&& column < MJ_N", "&& column <= MJ_N"},
    {"results_kept_by_global_row", STORE11, 1, "mj_keep_four(shared, row - tile->row_first,",
     "mj_keep_four(shared, row % MJ_TILE_M,"},
    {"barrier_of_two_stages_dropped", MFMA32, 1, "mj_lds_sync(); /* this step has landed,", "/* this step has landed,"},
    {"stage_never_turns", MFMA32, 1, "stage = 1 - stage;", ""},
    {"stored_into_the_stage_in_use", WMMA12, 1, "mj_store_step(&held, shared, 1 - stage)",
     "mj_store_step(&held, shared, stage)"},
    {"step_loaded_too_late", MFMA32, 1, "if (step + 2 < steps)", "if (step + 3 < steps)"},
    {"last_step_skipped", MFMA16, 1, "step < steps; step++", "step < steps - 1; step++"},
    {"depth_tail_not_zeroed", MFMA16, 1, "#define MJ_WHOLE_STEPS (MJ_K % MJ_TILE_K == 0)", "#define MJ_WHOLE_STEPS 1"},
    {"weights_stay_at_a_step", WMMA12, 1, "weights->from += MJ_ELEMENT_BYTES * MJ_TILE_K;", ""},
    {"input_stays_at_a_step", WMMA11, 1, "loader->input[i] += MJ_ELEMENT_BYTES * MJ_TILE_K;", ""},
    {"weights_of_the_first_expert", MFMA16, 1, "(((mj_i64)tile->expert * MJ_N + column) * MJ_K + weights->k)",
     "((mj_i64)column * MJ_K + weights->k)"},
    {"gather_ignores_the_pairs", MFMA16, 1, "source = args->sorted_pairs[source] / MJ_TOP_K;",
     "source = source / MJ_TOP_K;"},
    {"gather_forgets_the_row", WMMA11, 1, "mj_i32 sorted = tile->row_first + row + i * MJ_ROW_STEP;",
     "mj_i32 sorted = tile->row_first + row / 2 + i * MJ_ROW_STEP;"},
    {"sums_start_at_one", MFMA16, 1, "        sum[i] = 0.0f;\n", "        sum[i] = 1.0f;\n"},
    {"bias_missing", MFMA16, 1, "#if MJ_BIAS\n", "#if 0\n"},
    {"bias_of_the_first_expert", WMMA11, 1, "(mj_i64)tile->expert * MJ_N + column + i", "column + i"},
    {"topk_weight_missing", MFMA32, 1, "scale = args->topk_weights[out_row];", ""},
    {"topk_weight_of_the_row", WMMA12, 1, "scale = args->topk_weights[out_row];", "scale = args->topk_weights[row];"},
    {"rows_stay_sorted", MFMA32, 1, "out_row = args->sorted_pairs[row];", ""},
    {"row_clip_too_far", MFMA16, 1, "if (row < tile->row_end) {", "if (row <= tile->row_end) {"},
    {"row_clip_too_early", WMMA12, 1, "if (row < tile->row_end) {", "if (row + 1 < tile->row_end) {"},
    {"column_clip_missing", MFMA16, 1, "if (column < MJ_N) {\n        mj_vec8",
     "if (column <= MJ_N) {\n        mj_vec8"},
    {"four_columns_reversed", MFMA16, 1, "MJ_PACK(out[0], out[1])", "MJ_PACK(out[1], out[0])"},
    {"one_side_not_swizzled", MFMA16, 1, "mj_place(row + i * MJ_ROW_STEP, chunk), held->input[i]",
     "(row + i * MJ_ROW_STEP) * MJ_ROW_BYTES + chunk * 16, held->input[i]"},
    {"operands_of_different_depth", MFMA32, 1,
     "mj_read_fragment(span->x[i], input, wave_row + i * MJ_MATRIX_SIZE + row, from)",
     "mj_read_fragment(span->x[i], input, wave_row + i * MJ_MATRIX_SIZE + row, (from + MJ_READ_SPAN) % (MJ_CHUNKS * "
     "16))"},
    {"fragment_of_the_wrong_row", MFMA16, 1, "mj_i32 row = mj_lane() % MJ_MATRIX_SIZE;",
     "mj_i32 row = mj_lane() / MJ_LANE_GROUPS;"},
    {"second_fragment_forgotten", MFMA16, 1, "span->w[j] + part * MJ_FRAGMENT_WORDS", "span->w[j]"},
    {"operands_exchanged", MFMA32, 1, "span->w[j] + part * MJ_FRAGMENT_WORDS, span->x[i] + part * MJ_FRAGMENT_WORDS",
     "span->x[i] + part * MJ_FRAGMENT_WORDS, span->w[j] + part * MJ_FRAGMENT_WORDS"},
    {"halves_of_a_read_exchanged", MFMA16, 1, "words[4 * i + 1] = v.y;", "words[4 * i + 1] = v.z;"},
    {"sums_in_runs_of_lanes", MFMA32, 1, "4 * (quad * MJ_LANE_GROUPS + mj_lane_group())",
     "4 * (quad + mj_lane_group() * MJ_SUMS / 4)"},
    {"sums_of_the_wrong_lane", MFMA_SPLIT, 1, "4 * (quad * MJ_LANE_GROUPS + mj_lane_group())",
     "4 * (quad * MJ_LANE_GROUPS + mj_lane() % 4)"},
    {"input_parts_overlap", MFMA_SPLIT, 1, "loader->k = tile->split * MJ_SPLIT_STEPS * MJ_TILE_K + ", "loader->k = "},
    {"weight_parts_overlap", MFMA_SPLIT, 1, "weights->k = tile->split * MJ_SPLIT_STEPS * MJ_TILE_K + ",
     "weights->k = "},
    {"part_not_added", MFMA_SPLIT, 1, "other < MJ_SPLIT_K; other++", "other < MJ_SPLIT_K - 1; other++"},
    {"halves_hold_different_operands", WMMA11, 1, "return MJ_LANE_GROUPS == 1 ? 0 : mj_lane() / 16;",
     "return mj_lane() / 16;"},
    {"even_and_odd_columns_not_joined", WMMA11, 1, "mj_order_sums(sum + MJ_AT(i, j));", ""},
    {"even_and_odd_columns_exchanged", WMMA11, 1, "ordered[2 * i] = upper ? got : kept;",
     "ordered[2 * i] = upper ? kept : got;"},
    {"wrong_four_given_away", WMMA11, 1, "upper ? sum[i] : sum[4 + i], 16", "sum[4 + i], 16"},
    {"nibbles_in_order", INT4_WMMA11, 1, "(word >> (4 * i) << 16 & 0xf0000u)", "(word >> (8 * i) << 16 & 0xf0000u)"},
    {"even_and_odd_nibbles_exchanged", INT4_MFMA, 1, "mj_pack_weights(low * scale - offset, high * scale - offset)",
     "mj_pack_weights(high * scale - offset, low * scale - offset)"},
    {"codes_without_their_eight", INT4_WMMA11, 1, "zero = 8.0f;", "zero = 0.0f;"},
    {"zero_point_of_the_next_column", INT4_WMMA12, 1, "((row + i * MJ_WEIGHT_STEP) % 8)",
     "((row + i * MJ_WEIGHT_STEP + 1) % 8)"},
    {"zero_points_of_other_columns", INT4_MFMA, 1, "+ column / 8) *", "+ column / 16) *"},
    {"scale_of_the_first_group", INT4_WMMA12, 1,
     "held->scale[i] = scales[(weights->expert * MJ_N + column) * MJ_GROUPS + group];",
     "held->scale[i] = scales[(weights->expert * MJ_N + column) * MJ_GROUPS];"},
    {"group_of_the_next_step", INT4_WMMA11, 1, "mj_i64 group = weights->k / MJ_GROUP_K;",
     "mj_i64 group = (weights->k + MJ_TILE_K) / MJ_GROUP_K % MJ_GROUPS;"},
    {"scale_of_the_first_expert", INT4_MFMA, 1, "scales[(weights->expert * MJ_N + column) * MJ_GROUPS + group]",
     "scales[column * MJ_GROUPS + group]"},
    {"decoded_words_exchanged", INT4_MFMA, 1, "mj_place(row + i * MJ_WEIGHT_STEP, chunk + w)",
     "mj_place(row + i * MJ_WEIGHT_STEP, chunk + (w ^ 1))"},
    {"weight_scale_of_the_first_expert", FP8_TENSOR, 1, "((const float *)args->weight_scales)[tile->expert]",
     "((const float *)args->weight_scales)[0]"},
    {"input_scale_missing", FP8_TENSOR, 1, "return ((const float *)args->input_scales)[0];", "return 1.0f;"},
    {"column_scale_of_the_next", FP8_CHANNEL, 1, "mj_i32 known = column < MJ_N ? column : 0;",
     "mj_i32 known = column + 1 < MJ_N ? column + 1 : 0;"},
    {"row_scale_of_the_sorted_row", FP8_CHANNEL12, 1, "args->sorted_pairs[row] / MJ_TOP_K : row;",
     "row / MJ_TOP_K : row;"},
    {"scales_after_the_bias", FP8_CHANNEL, 1, "out[i] = v[i] * mj_column_scale(args, tile, column + i, in_scale);",
     "scale *= i == 0 ? mj_column_scale(args, tile, column, in_scale) : 1.0f; out[i] = v[i];"},
    {"block_scales_stay", FP8_BLOCK, 1, "scales->step++;", ""},
    {"block_scales_one_step_ahead", FP8_BLOCK12, 1, "scales->step * MJ_TILE_K / MJ_BLOCK_K",
     "(scales->step + 1) * MJ_TILE_K / MJ_BLOCK_K % MJ_BLOCK_DEPTH"},
    {"block_scales_of_the_first_columns", FP8_BLOCK, 1, "(column < MJ_N ? column : 0) / MJ_BLOCK_N", "0"},
    {"block_scales_of_another_row", FP8_BLOCK12, 1, "rows[i] = scales->input[i][block];",
     "rows[i] = scales->input[i][block ^ 1];"},
    {"halves_of_the_columns_mixed", WMMA12, 1, "mj_lane() / 16 * 8 + quad * 4", "mj_lane() / 16 * 4 + quad * 8"},
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
