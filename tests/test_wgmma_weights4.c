/* Weights of 4 bits in family wgmma (templates/wgmma_weights4.tmpl), on the CPU under the host model of Hopper's primitives: every scheme
 * variant against runtime/reference.c, and seeded mutants (mutants.h). */
#include "mutants.h"

/* ORDER BASE */
typedef enum base_id {
    G32_ZEROS,
    G64,
    G128,
    DEEP,
    HALF,
    SHARED,
    MUTATED_COUNT, /* bases of mutants */
} base_id;

/* Groups of 32, 64 and 128, with and without zero points, of both types; steps shallower and deeper than a group, depths that neither a
 * group nor a step divides, columns that no tile divides; both ways of the input rows, all schedules, clusters. */
static const mutant_base bases[] = {
    [G32_ZEROS] = {"g32_zeros", "E=5,topk=2,H=160,N=44,scheme=int4_w4a16_g32_zp,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
                   "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,"
                   "cluster=1,group_m=1,blocks_per_sm=3"},
    [G64] = {"g64", "E=5,topk=2,H=416,N=60,scheme=int4_w4a16_g64", "sm_90a", "wgmma", MJ_OP_GEMM1,
             "tile_m=16,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
             "cluster=1,group_m=1,blocks_per_sm=2"},
    [G128] = {"g128", "E=5,topk=2,H=72,N=1184,scheme=int4_w4a16", "sm_90a", "wgmma", MJ_OP_GEMM2,
              "tile_m=24,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,"
              "cluster=1,group_m=1,blocks_per_sm=2"},
    [DEEP] = {"deep", "E=5,topk=2,H=72,N=544,scheme=int4_w4a16_zp,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
              "tile_m=16,tile_n=64,orientation=2,input_load=1,step_bytes=256,consumers=1,schedule=1,producers=2,"
              "cluster=1,group_m=1,blocks_per_sm=2"},
    [HALF] = {"half", "E=5,topk=2,H=288,N=104,scheme=int4_w4a16_g32_zp_fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
              "tile_m=32,tile_n=256,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=2,"
              "cluster=1,group_m=1,blocks_per_sm=1"},
    [SHARED] = {"shared", "E=5,topk=2,H=1184,N=28,scheme=int4_w4a16_g32,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
                "tile_m=16,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=3,producers=2,"
                "cluster=1,group_m=1,blocks_per_sm=2"},
    {"g32_fp16", "E=5,topk=2,H=160,N=36,scheme=int4_w4a16_g32_fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=40,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"g64_zeros", "E=5,topk=2,H=104,N=352,scheme=int4_w4a16_g64_zp", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=32,tile_n=128,orientation=2,input_load=1,step_bytes=512,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"g64_fp16", "E=5,topk=2,H=184,N=160,scheme=int4_w4a16_g64_fp16,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=48,tile_n=192,orientation=2,input_load=2,step_bytes=256,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"g64_zeros_fp16", "E=5,topk=2,H=288,N=60,scheme=int4_w4a16_g64_zp_fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=8,tile_n=128,orientation=2,input_load=2,step_bytes=512,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"g128_fp16", "E=5,topk=2,H=1120,N=36,scheme=int4_w4a16_fp16,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=24,tile_n=64,orientation=2,input_load=1,step_bytes=512,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"g128_zeros_fp16", "E=5,topk=2,H=104,N=672,scheme=int4_w4a16_zp_fp16", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=32,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"turns", "E=5,topk=2,H=136,N=288,scheme=int4_w4a16_zp,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"cluster_of_rows", "E=5,topk=2,H=248,N=160,scheme=int4_w4a16_g32", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=96,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=2,"
     "group_m=8,blocks_per_sm=1"},
    {"cluster_of_columns", "E=5,topk=2,H=160,N=112,scheme=int4_w4a16_g64_fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=96,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"many_experts", "E=70,topk=2,H=64,N=36,scheme=int4_w4a16_zp", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=8,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
};
enum { BASE_COUNT = sizeof bases / sizeof bases[0] };
_Static_assert((int)BASE_COUNT > (int)MUTATED_COUNT, "some are not mutated");

static const mutant mutants[] = {
    {"codes_not_turned", G64, 1, "^ turned) * 16;", ") * 16;"},
    {"codes_of_the_first_atom", DEEP, 1, "((2 * atom + chunk) ^ turned)", "(chunk ^ turned)"},
    {"input_of_the_first_atom", DEEP, 1, "low + atom * (MJ_WGMMA_N * 128 >> 4)", "low"},
    {"map_counted_in_codes", DEEP, 1, "#define MJ_WEIGHT_ATOM_K 64", "#define MJ_WEIGHT_ATOM_K MJ_STEP_K"},
    {"pair_of_the_first_lane", G32_ZEROS, 1, "word >> 4 * (mj_lane() % 4)", "word"},
    {"halves_of_the_depth_swapped", G128, 1, "[2 * k + i / 2 % 2]", "[2 * k + 1 - i / 2 % 2]"},
    {"lower_rows_where_depth_goes_on", G128, 1, "i / 4 * 2 + i % 2;", "i / 4 * 2 + i / 2 % 2;"},
    {"scale_of_the_upper_row", G64, 1, "weights->scale[own]);", "weights->scale[own - own % 2]);"},
    {"zero_of_the_upper_row", G32_ZEROS, 1, "weights->zero[own],", "weights->zero[own - own % 2],"},
    {"zero_of_another_column", G32_ZEROS, 1, ">> 4 * (mj_lane() / 4) & 15u", "& 15u"},
    {"zeros_of_the_first_word", HALF, 1, "mj_further(i) / 8 * MJ_SCALE_GROUPS + group];", "group];"},
    {"high_codes_not_counted_from_zero", HALF, 1, "MJ_CODE_ZERO * 0x10001u", "MJ_CODE_ZERO"},
    {"batch_not_turned", G64, 1, "                mj_scales_turn(&weights);\n", ""},
    {"batch_turned_to_itself", G64, 1, "/ MJ_BATCH_K + 1)", "/ MJ_BATCH_K)"},
    {"every_other_group", G64, 1, "/ MJ_GROUP_K % 4;", "/ MJ_GROUP_K % 2;"},
    {"group_of_the_first_span", G32_ZEROS, 1, "mj_scales_take(weights, 16 * k);", "mj_scales_take(weights, 0);"},
    {"part_with_the_scales_of_the_first", SHARED, 1, "weights->atom = MJ_STEP_FIRST(tile) * MJ_ATOMS;",
     "weights->atom = 0;"},
    {"operand_written_under_way", G128, 1,
     "mj_wgmma_wait(1); /* the products before are done, and their operand is free */", ""},
    {"operand_without_a_fence", G128, 1, "        mj_wgmma_fence();\n", ""},
    {"sums_begin_with_every_step", G128, 1, "            add = 1;\n", ""},
    {"stage_released_in_use", G64, 1, "before = ring->stage;", "before = (ring->stage + 1) % MJ_STAGES;"},
    {"stage_of_the_last_step_kept", SHARED, 1, "    mj_release(shared, before);\n    (void)columns;",
     "    (void)columns;"},
};

int main(int argc, char **argv)
{
    return mutants_main(argc, argv,
                        (mutant_set){.bases = bases,
                                     .base_count = BASE_COUNT,
                                     .mutants = mutants,
                                     .mutant_count = sizeof mutants / sizeof mutants[0]});
}
