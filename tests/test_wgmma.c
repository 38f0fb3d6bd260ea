/* Family wgmma: a spread of its configs on the CPU, under the host model of Hopper's primitives, against runtime/reference.c. */
#include "mutants.h"

/* Both orientations, both ways of the input rows, clusters, one and two consumers, all schedules, steps of 128 to 512 bytes; depths
 * that no step divides, columns that no tile divides, more experts than lanes. */
static const mutant_base bases[] = {
    {"gather_8_rows", "E=5,topk=2,H=136,N=88,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=3"},
    {"sorted_boxes_deep", "E=5,topk=2,H=264,N=52,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=2"},
    {"boxes_two_consumers", "E=5,topk=2,H=232,N=200,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=24,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=1"},
    {"gather_deepest", "E=5,topk=2,H=72,N=328,scheme=fp16,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=32,tile_n=64,orientation=2,input_load=1,step_bytes=512,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=1"},
    {"rows_are_m_gather", "E=5,topk=2,H=136,N=120,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=2"},
    {"rows_are_m_cluster_boxes", "E=5,topk=2,H=72,N=120,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=2,group_m=1,"
     "blocks_per_sm=1"},
    {"rows_are_m_cluster_gather", "E=5,topk=2,H=248,N=72,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=128,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=2,producers=4,cluster=2,group_m=8,"
     "blocks_per_sm=1"},
    {"rows_are_m_boxes", "E=5,topk=2,H=360,N=72", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=192,orientation=1,input_load=2,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=8,"
     "blocks_per_sm=2"},
    {"gather_four_producers", "E=5,topk=2,H=72,N=136", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=64,orientation=2,input_load=1,step_bytes=256,consumers=1,producers=4,cluster=1,group_m=8,"
     "blocks_per_sm=1"},
    {"sorted_boxes_grouped", "E=5,topk=2,H=72,N=88,gated=0,scheme=fp16,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=80,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=8,"
     "blocks_per_sm=2"},
    {"gather_more_pairs_than_are_counted", "E=32,topk=28,H=72,N=60", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=128,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=2,producers=4,cluster=1,group_m=1,"
     "blocks_per_sm=1"},
    {"gather_40_rows", "E=5,topk=3,H=328,N=60", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=40,tile_n=128,orientation=2,input_load=1,step_bytes=256,consumers=2,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=1"},
    {"turns_gather", "E=5,topk=2,H=136,N=120,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=256,orientation=1,input_load=1,step_bytes=128,consumers=2,schedule=2,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"turns_cluster_boxes", "E=5,topk=2,H=248,N=72,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=4,cluster=2,"
     "group_m=1,blocks_per_sm=1"},
    {"columns_share_boxes", "E=5,topk=2,H=72,N=168,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=2,cluster_of=2,"
     "group_m=1,blocks_per_sm=1"},
    {"columns_share_boxes_swapped", "E=5,topk=2,H=248,N=72,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=96,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=2,cluster_of=2,"
     "group_m=8,blocks_per_sm=1"},
    {"columns_share_boxes_in_turns", "E=5,topk=2,H=184,N=72,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=128,tile_n=192,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=4,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"turns_swapped", "E=5,topk=2,H=136,N=200,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_tensor", "E=5,topk=2,H=272,N=88,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"fp8_channel", "E=5,topk=2,H=120,N=208,scheme=fp8_w8a8_channel,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"fp8_channel_sorted_deep", "E=5,topk=2,H=400,N=44,scheme=fp8_w8a8_channel", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=24,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"fp8_blocks_in_pairs", "E=5,topk=2,H=256,N=120,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_192_columns", "E=5,topk=2,H=304,N=360,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=128,tile_n=192,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_in_halves", "E=5,topk=2,H=304,N=360,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=128,tile_n=256,orientation=1,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_parts_in_turn", "E=3,topk=2,H=1040,N=120,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=128,tile_n=256,orientation=1,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_tall", "E=3,topk=2,H=688,N=232,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=112,tile_n=256,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_two_runs", "E=5,topk=2,H=304,N=120,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=128,orientation=2,input_load=1,step_bytes=256,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"fp8_blocks_four_runs", "E=5,topk=2,H=248,N=688,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=8,tile_n=64,orientation=2,input_load=2,step_bytes=512,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_two_runs_rows_are_m", "E=5,topk=2,H=688,N=128,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=128,orientation=1,input_load=1,step_bytes=256,consumers=1,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_two_runs_of_four_rows", "E=5,topk=2,H=248,N=304,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=16,tile_n=256,orientation=2,input_load=1,step_bytes=256,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_four_parts_of_two_rows", "E=5,topk=2,H=248,N=400,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM2,
     "tile_m=256,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=2,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_two_rows_of_blocks", "E=5,topk=2,H=232,N=368,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma",
     MJ_OP_GEMM2,
     "tile_m=96,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"fp8_blocks", "E=5,topk=2,H=304,N=120,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=40,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"fp8_blocks_rows_are_m", "E=5,topk=2,H=248,N=304,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"shared_gather", "E=5,topk=2,H=520,N=88,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"shared_sorted_two_consumers", "E=5,topk=2,H=776,N=60,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"shared_rows_are_m", "E=5,topk=2,H=360,N=712", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=3,producers=2,cluster=1,"
     "group_m=8,blocks_per_sm=1"},
    {"shared_fp8_blocks", "E=5,topk=2,H=1168,N=60,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=32,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_gather_8_rows", "E=5,topk=2,H=136,N=88,bias=1,act=swigluoai", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"act_sorted_two_consumers", "E=5,topk=2,H=264,N=104,scheme=fp16,act=gelu_tanh", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=40,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_rows_are_m_gather", "E=5,topk=2,H=136,N=160,bias=1,act=swigluoai,scheme=fp16", "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=192,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_rows_are_m_cluster", "E=5,topk=2,H=72,N=56,act=gelu", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=2,"
     "group_m=1,blocks_per_sm=1"},
    {"act_not_gated", "E=5,topk=2,H=136,N=88,bias=1,act=relu2,gated=0", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=16,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"act_not_gated_rows_are_m", "E=5,topk=2,H=136,N=104,bias=1,act=gelu,gated=0", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_fp8_tensor", "E=5,topk=2,H=272,N=56,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=24,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_fp8_channel", "E=5,topk=2,H=144,N=56,scheme=fp8_w8a8_channel,bias=1,act=swigluoai", "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_fp8_blocks", "E=5,topk=2,H=304,N=160,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=40,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_fp8_blocks_rows_are_m", "E=5,topk=2,H=272,N=192,scheme=fp8_w8a8_block,act=swigluoai", "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_fp8_blocks_parts_in_turn", "E=3,topk=2,H=1040,N=384,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=256,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"codes_blocks_two_consumers", "E=5,topk=2,H=272,N=256,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM1_QUANTISE,
     "tile_m=40,tile_n=256,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_blocks_part_of_a_group", "E=5,topk=2,H=144,N=544,scheme=fp8_w8a8_block,bias=1,act=swigluoai", "sm_90a",
     "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=16,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_tensor_in_turns", "E=5,topk=2,H=144,N=120,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=64,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_blocks_of_a_cluster", "E=3,topk=2,H=688,N=384,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM1_QUANTISE,
     "tile_m=128,tile_n=256,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"codes_blocks_parts_in_turn", "E=3,topk=2,H=1040,N=384,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM1_QUANTISE,
     "tile_m=128,tile_n=256,orientation=1,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_blocks_not_gated", "E=5,topk=2,H=144,N=552,scheme=fp8_w8a8_block,bias=1,act=gelu,gated=0", "sm_90a",
     "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=24,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_blocks_rows_are_m", "E=5,topk=2,H=144,N=552,scheme=fp8_w8a8_block,bias=1,act=relu2,gated=0", "sm_90a",
     "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_tensor", "E=5,topk=2,H=272,N=56,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=24,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"codes_tensor_rows_are_m", "E=5,topk=2,H=144,N=232,scheme=fp8_w8a8", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=128,tile_n=256,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_tensor_shared", "E=5,topk=2,H=1040,N=120,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=64,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"combine_8_rows", "E=9,topk=8,H=136,N=88,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"combine_one_slot_two_consumers", "E=5,topk=1,H=232,N=200,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=40,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"combine_rows_are_m", "E=5,topk=2,H=360,N=72", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=8,blocks_per_sm=1"},
    {"combine_rows_are_m_cluster", "E=9,topk=8,H=248,N=72,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=128,tile_n=128,orientation=1,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=2,"
     "group_m=8,blocks_per_sm=1"},
    {"combine_in_turns", "E=5,topk=2,H=360,N=72,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=4,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"combine_in_turns_swapped", "E=5,topk=3,H=136,N=200,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=64,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"combine_columns_share_boxes", "E=5,topk=2,H=248,N=72,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=96,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=2,"
     "cluster_of=2,group_m=8,blocks_per_sm=1"},
    {"combine_shared", "E=5,topk=2,H=136,N=712", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=16,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"combine_shared_rows_are_m", "E=5,topk=2,H=360,N=712", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=3,producers=2,cluster=1,"
     "group_m=8,blocks_per_sm=1"},
    {"combine_fp8_tensor", "E=5,topk=2,H=272,N=80,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=16,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"combine_fp8_channel", "E=5,topk=2,H=120,N=208,scheme=fp8_w8a8_channel,bias=1", "sm_90a", "wgmma",
     MJ_OP_GEMM2_COMBINE,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"combine_fp8_blocks", "E=5,topk=2,H=232,N=368,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma",
     MJ_OP_GEMM2_COMBINE,
     "tile_m=40,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"combine_fp8_blocks_parts_in_turn", "E=3,topk=2,H=360,N=1040,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM2_COMBINE,
     "tile_m=128,tile_n=192,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=2,"
     "group_m=1,blocks_per_sm=1"},
    {"heights_gather", "E=5,topk=4,H=264,N=60,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,producers=4,cluster=1,group_m=1,"
     "blocks_per_sm=1"},
    {"heights_of_a_cluster", "E=5,topk=2,H=248,N=264,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=96,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=2,group_m=1,"
     "blocks_per_sm=1"},
    {"heights_in_turns", "E=5,topk=3,H=136,N=528,bias=1,scheme=fp8_w8a8_channel", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=80,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=8,blocks_per_sm=1"},
    {"tall_shared", "E=5,topk=3,H=776,N=60", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=3,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"heights_of_blocks", "E=5,topk=4,H=560,N=120,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=80,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"heights_of_two_rows_of_blocks", "E=5,topk=3,H=232,N=624,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"heights_activated", "E=5,topk=3,H=264,N=104,act=gelu_tanh", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=80,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=4,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"heights_of_codes", "E=5,topk=3,H=528,N=120,scheme=fp8_w8a8,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=64,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"heights_combined", "E=5,topk=3,H=136,N=264,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=64,tile_n=64,orientation=2,input_load=2,step_bytes=256,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"many_experts", "E=70,topk=2,H=72,N=36", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=8,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=2"},
};

int main(int argc, char **argv)
{
    mutant_set set = {.bases = bases, .base_count = sizeof bases / sizeof bases[0]};
    CHECK_BEGIN(argc, argv);
    if (!fixture_open() || !mutants_run(&set)) {
        printf("FAIL set_up: no memory, no process or no spec\n");
        return 1;
    }
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
