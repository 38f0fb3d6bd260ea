/* Legality: for every rule a config just inside passes, and the one just outside is refused by that rule's name. */
#include "gen_fixture.h"

static const char layer[] = "E=8,topk=2,H=4096,N=7168";
static const char good[] = "tile_m=16,tile_n=64,tile_k=64,stages=4,warps_m=1,warps_n=4,group_m=1,split_k=1";

/* ---- Rules that hang on one fact: a base kernel, and a change to each side of the limit ---- */

typedef struct edge {
    const char *rule, *family;
    mj_op op;
    const char *arch, *config;
    void (*inside)(fixture *f); /* NULL: the base is inside */
    void (*outside)(fixture *f);
} edge;

static void set(fixture *f, const char *name, int32_t value)
{
    mj_config_set(&f->config, name, value, NULL);
}

static mj_derived derived_of(fixture *f)
{
    mj_derived derived = {0};
    mj_family_derive(&f->desc, &derived, NULL);
    return derived;
}

static void op_outside(fixture *f)
{
    f->desc.op = MJ_OP_COMBINE;
}
static void family_outside(fixture *f)
{
    f->arch.families.count = 0;
}
static void feature_outside(fixture *f)
{
    f->arch.features.items[0][0] = 'X';
}
static void scheme_name_outside(fixture *f)
{
    snprintf(f->scheme.name, sizeof f->scheme.name, "fp16");
}
static void supported_outside(fixture *f)
{
    f->scheme.supported = false;
}
static void served_outside(fixture *f)
{
    snprintf(f->scheme.name, sizeof f->scheme.name, "new");
    snprintf(f->problem.scheme, sizeof f->problem.scheme, "new");
}
static void format_outside(fixture *f)
{
    snprintf(f->scheme.weight_format, sizeof f->scheme.weight_format, "e5m2");
}
static void quantise_outside(fixture *f)
{
    f->desc.op = MJ_OP_QUANTISE1;
}
static void layout_outside(fixture *f)
{
    snprintf(f->problem.layout, sizeof f->problem.layout, "packed");
}
static void packed_inside(fixture *f)
{
    snprintf(f->problem.layout, sizeof f->problem.layout, "interleaved8");
}
static void packed_outside(fixture *f)
{
    static mj_space space; /* one that was written before there was another layout */
    space = *f->space;
    space.layouts.count = 0;
    f->desc.space = &space;
    packed_inside(f);
}
static void names_outside(fixture *f)
{
    set(f, "tile_q", 1);
}
static void value_outside(fixture *f)
{
    set(f, "tile_m", 48);
}
static void derivable_inside(fixture *f)
{
    set(f, "group_m", 4096);
}
static void derivable_outside(fixture *f)
{
    set(f, "group_m", 4097);
}
static void smem_inside(fixture *f)
{
    f->arch.smem_block_bytes_max = derived_of(f).smem_bytes;
}
static void smem_outside(fixture *f)
{
    f->arch.smem_block_bytes_max = derived_of(f).smem_bytes - 1;
}
static void threads_inside(fixture *f)
{
    f->arch.threads_block_max = derived_of(f).block_threads;
}
static void threads_outside(fixture *f)
{
    f->arch.threads_block_max = derived_of(f).block_threads - 1;
}
static void warp_outside(fixture *f)
{
    set(f, "threads", 1);
}
static void host_inside(fixture *f)
{
    set(f, "threads", 1);
}
static void host_outside(fixture *f)
{
    set(f, "threads", 64);
}
static void regs_inside(fixture *f)
{
    f->arch.regs_thread_max = derived_of(f).regs_estimate;
}
static void regs_outside(fixture *f)
{
    f->arch.regs_thread_max = derived_of(f).regs_estimate - 1;
}
static void block_regs_inside(fixture *f)
{
    f->arch.regs_sm = derived_of(f).regs_estimate * derived_of(f).block_threads;
}
static void block_regs_outside(fixture *f)
{
    f->arch.regs_sm = derived_of(f).regs_estimate * derived_of(f).block_threads - 1;
}
static void warp_rows_outside(fixture *f)
{
    set(f, "warps_m", 2);
}
static void warp_columns_outside(fixture *f)
{
    set(f, "warps_n", 8);
}
static void chunks_inside(fixture *f)
{
    set(f, "tile_k", 32);
}
static void chunks_outside(fixture *f)
{
    set(f, "tile_k", 16);
}
static void stages_inside(fixture *f)
{
    set(f, "stages", 2);
}
static void stages_outside(fixture *f)
{
    set(f, "stages", 1);
}
static void depth_inside(fixture *f)
{
    f->problem.hidden = 4088;
}
static void depth_outside(fixture *f)
{
    f->problem.hidden = 4095;
}
static void copy_chunks_outside(fixture *f)
{
    set(f, "tile_k", 2048);
}
static void copy_rows_outside(fixture *f)
{
    set(f, "tile_k", 32); /* 128 threads copy 32 rows at once */
    set(f, "tile_n", 48);
}
static void passes_inside(fixture *f)
{
    set(f, "tile_m", 64);
    set(f, "tile_k", 128);
    set(f, "warps_n", 1);
}
static void passes_outside(fixture *f)
{
    passes_inside(f);
    set(f, "tile_m", 128);
}
static void split_inside(fixture *f)
{
    f->problem.hidden = 192; /* 3 steps: parts of 2 and 1 */
    set(f, "split_k", 2);
}
static void split_outside(fixture *f)
{
    f->problem.hidden = 320; /* 5 steps in parts of 2: the fourth part is empty */
    set(f, "split_k", 4);
}
static void vectors_inside(fixture *f)
{
    set(f, "tile_k", 512);
}
static void vectors_outside(fixture *f)
{
    set(f, "tile_k", 528);
}
static void experts_inside(fixture *f)
{
    f->problem.expert_count = f->problem.expert_total_count = 1024;
}
static void experts_outside(fixture *f)
{
    f->problem.expert_count = f->problem.expert_total_count = 1025;
}

/* ---- AMD: 128 threads, 16 rows a pass, 32 elements a read of kpack 2, 2 waves_per_eu ---- */

static const char good_amd[] = "tile_m=32,tile_n=64,tile_k=64,stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=2,"
                               "waves_per_eu=2,lds_pad=0,group_m=1,split_k=1";

static void matrix_outside(fixture *f)
{
    set(f, "matrix_size", 64);
}
static void wave_rows_outside(fixture *f)
{
    set(f, "waves_m", 4);
}
static void wave_columns_outside(fixture *f)
{
    set(f, "waves_n", 8);
}
static void power_outside(fixture *f)
{
    set(f, "tile_k", 96);
}
static void reads_outside(fixture *f)
{
    set(f, "tile_k", 16);
}
static void lds_stages_outside(fixture *f)
{
    set(f, "stages", 3);
}
static void pad_inside(fixture *f)
{
    set(f, "lds_pad", 16);
}
static void pad_outside(fixture *f)
{
    set(f, "lds_pad", 8);
}
static void amd_passes_inside(fixture *f)
{
    set(f, "tile_m", 256);
}
static void amd_passes_outside(fixture *f)
{
    set(f, "tile_m", 512);
}
static void amd_experts_inside(fixture *f)
{
    f->problem.expert_count = f->problem.expert_total_count = 2048;
}
static void amd_experts_outside(fixture *f)
{
    f->problem.expert_count = f->problem.expert_total_count = 2049;
}
static uint32_t
claimed_registers(fixture *f) /* of the compute unit: whole blocks of 8 for 4 units of 64 lanes, twice */
{
    mj_verdict verdict; /* says how many are needed when there are none */
    uint32_t has = f->arch.regs_sm, needed = 0;
    f->arch.regs_sm = 0;
    mj_legal(fixture_spec, &f->desc, &verdict);
    for (uint32_t i = 0; i < verdict.refusal_count; i++) {
        bool own = strcmp(verdict.refusals[i].rule, "registers_claimed") == 0;
        needed = own ? (uint32_t)verdict.refusals[i].measured : needed;
    }
    f->arch.regs_sm = has;
    return (needed + 7) / 8 * 8 * 2 * 4 * 64;
}
static void claim_inside(fixture *f)
{
    f->arch.regs_sm = claimed_registers(f);
}
static void claim_outside(fixture *f)
{
    f->arch.regs_sm = claimed_registers(f) - 1;
}
static void lds_claim_inside(fixture *f)
{
    f->arch.smem_sm_bytes = 4 * derived_of(f).smem_bytes;
}
static void lds_claim_outside(fixture *f)
{
    f->arch.smem_sm_bytes = 4 * derived_of(f).smem_bytes - 1;
}

static void blocks_inside(fixture *f)
{
    snprintf(f->scheme.input_scale_kind, sizeof f->scheme.input_scale_kind, "group");
    f->scheme.scale.group_n = 16;
    f->scheme.scale.group_k = f->scheme.input_group_k = 128;
}
static void blocks_outside(fixture *f)
{
    blocks_inside(f);
    f->scheme.scale.group_k = f->scheme.input_group_k = 96;
}

#include "legal_wgmma.h"

static void direct_inside(fixture *f)
{
    set(f, "stages", 2);
    set(f, "direct_lds", 1);
}
static void direct_outside(fixture *f)
{
    direct_inside(f);
    f->problem.hidden = 4064;
}
static void words_inside(fixture *f) /* 4 bytes a lane: rows of 32 elements take 16 lanes, and a pass 8 rows */
{
    direct_inside(f);
    set(f, "tile_k", 32);
}
static void words_outside(fixture *f)
{
    words_inside(f);
    f->problem.hidden = 4080;
}
static void no_direct_outside(fixture *f)
{
    words_inside(f);
    f->arch.features.count = 2; /* "mfma", "mfma_k4" */
}
static void result_chunks_inside(fixture *f)
{
    set(f, "store_lds", 1);
    f->problem.intermediate = 7172;
}
static void result_chunks_outside(fixture *f)
{
    set(f, "store_lds", 1);
    f->problem.intermediate = 7170;
}
/* Results of 128 rows of 256 columns are larger than the steps, and than what a block may have. */
static void results_inside(fixture *f)
{
    set(f, "tile_m", 128);
    set(f, "tile_n", 256);
    set(f, "tile_k", 32);
}
static void results_outside(fixture *f)
{
    results_inside(f);
    set(f, "store_lds", 1);
}

static const edge edges[] = {
    {"choices", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, boxes_inside, choices_outside},
    {"choices", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, tokens_are_rows, orientation_outside},
    {"choices", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, turns_inside, schedule_outside},
    {"consumers_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, groups_inside, three_consumers_outside},
    {"turns_of_two", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, turns_inside, turns_outside},
    {"shared_alone", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, shared_inside, shared_in_cluster_outside},
    {"shared_depth", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, shared_inside, shared_outside},
    {"wgmma_rows", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, groups_inside, groups_outside},
    {"wgmma_columns", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, wide_inside, wide_outside},
    {"wgmma_columns", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, pairs_inside, pairs_outside},
    {"wgmma_columns", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, pattern_inside, pattern_outside},
    {"swizzle_rows", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, pattern_inside, pattern_outside},
    {"swizzle_rows", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, parts_inside, parts_outside},
    {"box_rows", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, box_inside, box_outside},
    {"box_rows", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, input_box_inside, input_box_outside},
    {"row_strides", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, depth_inside, stride_outside},
    {"turns_as_tiles", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, turns_as_tiles_inside, turns_as_tiles_outside},
    {"columns_aligned", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, columns_inside, columns_outside},
    {"columns_aligned", "wgmma", MJ_OP_GEMM1_ACT, "sm_90a", good_wgmma, act_columns_inside, act_columns_outside},
    {"wgmma_columns", "wgmma", MJ_OP_GEMM1_ACT, "sm_90a", good_wgmma, act_pairs_inside, pairs_inside},
    {"swizzle_rows", "wgmma", MJ_OP_GEMM1_ACT, "sm_90a", good_wgmma, act_parts_inside, parts_inside},
    {"scale_of_columns", "wgmma", MJ_OP_GEMM1_ACT, "sm_90a", good_wgmma, act_blocks_inside, act_blocks_outside},
    {"quantise_of_scheme", "wgmma", MJ_OP_GEMM1_QUANTISE, "sm_90a", good_wgmma, codes_inside, codes_of_rows_outside},
    {"codes_of_groups", "wgmma", MJ_OP_GEMM1_QUANTISE, "sm_90a", good_wgmma, codes_inside, codes_outside},
    {"codes_of_groups", "wgmma", MJ_OP_GEMM1_QUANTISE, "sm_90a", good_wgmma, codes_inside, groups_of_codes_outside},
    {"codes_alone", "wgmma", MJ_OP_GEMM1_QUANTISE, "sm_90a", good_wgmma, shared_codes_inside, shared_codes_outside},
    {"map_rows", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, map_inside, map_outside},
    {"step_depth", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, deep_inside, deep_outside},
    {"step_depth", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, power_of_steps_outside},
    {"step_depth", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, shallow_outside},
    {"scale_of_run", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, blocks_of_columns_inside, blocks_of_depth_outside},
    {"scale_of_columns", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, blocks_of_columns_inside,
     blocks_of_columns_outside},
    {"scale_of_columns", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, blocks_of_columns_inside, blocks_across_outside},
    {"producer_registers", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, gather_inside, gather_outside},
    {"stages_fit", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, ring_inside, ring_outside},
    {"cluster_size", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, cluster_inside, cluster_outside},
    {"cluster_of_boxes", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, shares_input_inside, shares_gathered_outside},
    {"producer_warps", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, loaders_inside, loaders_outside},
    {"producer_warps", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, one_loader_outside},
    {"register_pool", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, pool_inside, pool_outside},
    {"consumer_registers", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, regs_inside, regs_outside},
    {"scheduler_experts", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, experts_inside, experts_outside},
    {"codes_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_inside, int4_order_outside},
    {"codes_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_symmetric_inside, int4_table_outside},
    {"codes_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_near_zero_inside, int4_far_zero_outside},
    {"codes_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, int4_scales_outside},
    {"codes_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, int4_zeros_outside},
    {"codes_known", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, int4_bits_outside},
    {"codes_are_m", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_inside, int4_rows_outside},
    {"codes_of_plain_gemms", "wgmma", MJ_OP_GEMM1_ACT, "sm_90a", good_wgmma, act_blocks_inside, int4_inside},
    {"codes_of_plain_gemms", "wgmma", MJ_OP_GEMM2_COMBINE, "sm_90a", good_wgmma, NULL, int4_inside},
    {"codes_in_order", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_inside, int4_turns_outside},
    {"codes_groups", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_group_inside, int4_group_outside},
    {"codes_groups", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, NULL, int4_small_group_outside},
    {"row_strides", "wgmma", MJ_OP_GEMM1, "sm_90a", good_wgmma, int4_stride_inside, int4_stride_outside},
    {"direct_loads", "mfma", MJ_OP_GEMM1, "gfx950", good_amd, direct_inside, direct_outside},
    {"direct_loads", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, words_inside, words_outside},
    {"direct_loads", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, words_inside, direct_inside},
    {"direct_loads", "mfma", MJ_OP_GEMM1, "gfx90a", good_amd, words_inside, no_direct_outside},
    {"result_chunks", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, result_chunks_inside, result_chunks_outside},
    {"smem_block", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, results_inside, results_outside},
    {"scale_blocks", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, blocks_inside, blocks_outside},
    {"matrix_known", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, NULL, matrix_outside},
    {"wave_rows", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, NULL, wave_rows_outside},
    {"wave_columns", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, NULL, wave_columns_outside},
    {"step_power", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, NULL, power_outside},
    {"step_reads", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, NULL, reads_outside},
    {"lds_stages", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, stages_inside, lds_stages_outside},
    {"lds_pad_chunks", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, pad_inside, pad_outside},
    {"depth_chunks", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, depth_inside, depth_outside},
    {"load_rows", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, NULL, copy_rows_outside},
    {"load_passes", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, amd_passes_inside, amd_passes_outside},
    {"split_parts", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, split_inside, split_outside},
    {"wavefront_experts", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, amd_experts_inside, amd_experts_outside},
    {"registers_claimed", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, claim_inside, claim_outside},
    {"lds_claimed", "mfma", MJ_OP_GEMM1, "gfx942", good_amd, lds_claim_inside, lds_claim_outside},
    {"op_served", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, op_outside},
    {"family_of_arch", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, family_outside},
    {"arch_features", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, feature_outside},
    {"scheme_of_problem", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, scheme_name_outside},
    {"scheme_supported", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, supported_outside},
    {"scheme_of_space", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, served_outside},
    {"scheme_decodable", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, format_outside},
    {"quantise_of_scheme", "simple", MJ_OP_COMBINE, "sm_90a", "threads=64", NULL, quantise_outside},
    {"weight_layout", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, layout_outside},
    {"layout_of_space", "mma", MJ_OP_GEMM1, "sm_90a", good, packed_inside, packed_outside},
    {"config_names", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, names_outside},
    {"value_in_space", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, value_outside},
    {"derivable", "mma", MJ_OP_GEMM1, "sm_90a", good, derivable_inside, derivable_outside},
    {"smem_block", "mma", MJ_OP_GEMM1, "sm_90a", good, smem_inside, smem_outside},
    {"threads_block", "mma", MJ_OP_GEMM1, "sm_90a", good, threads_inside, threads_outside},
    {"threads_warp", "simple", MJ_OP_COMBINE, "sm_90a", "threads=64", NULL, warp_outside},
    {"threads_host", "simple", MJ_OP_COMBINE, "cpu", "", host_inside, host_outside},
    {"regs_thread", "mma", MJ_OP_GEMM1, "sm_90a", good, regs_inside, regs_outside},
    {"regs_block", "mma", MJ_OP_GEMM1, "sm_90a", good, block_regs_inside, block_regs_outside},
    {"warp_rows", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, warp_rows_outside},
    {"warp_columns", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, warp_columns_outside},
    {"step_chunks", "mma", MJ_OP_GEMM1, "sm_90a", good, chunks_inside, chunks_outside},
    {"stages_least", "mma", MJ_OP_GEMM1, "sm_90a", good, stages_inside, stages_outside},
    {"depth_aligned", "mma", MJ_OP_GEMM1, "sm_90a", good, depth_inside, depth_outside},
    {"copy_chunks", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, copy_chunks_outside},
    {"copy_rows", "mma", MJ_OP_GEMM1, "sm_90a", good, NULL, copy_rows_outside},
    {"copy_passes", "mma", MJ_OP_GEMM1, "sm_90a", good, passes_inside, passes_outside},
    {"split_steps", "mma", MJ_OP_GEMM1, "sm_90a", good, split_inside, split_outside},
    {"lane_experts", "mma", MJ_OP_GEMM1, "sm_90a", good, experts_inside, experts_outside},
    {"cpu_whole_vectors", "cpu", MJ_OP_GEMM1, "cpu", "", vectors_inside, vectors_outside},
};
enum { EDGE_COUNT = sizeof edges / sizeof edges[0] };

static bool side_is_refused(const edge *e, void (*change)(fixture *f), mj_verdict *verdict, bool *legal)
{
    fixture f;
    if (!fixture_kernel(&f, layer, e->arch, e->family, e->op, e->config)) {
        return false;
    }
    if (change) {
        change(&f);
    }
    *legal = mj_legal(fixture_spec, &f.desc, verdict);
    return verdict_names(verdict, e->rule);
}

TEST(one_step_inside_and_one_outside)
{
    for (int i = 0; i < EDGE_COUNT; i++) {
        mj_verdict verdict;
        bool legal = false;
        if (side_is_refused(&edges[i], edges[i].inside, &verdict, &legal)) {
            check_fail(__FILE__, __LINE__, "rule %s refuses what is inside", edges[i].rule);
        }
        CHECK(legal == (verdict.refusal_count == 0));
        if (!side_is_refused(&edges[i], edges[i].outside, &verdict, &legal) || legal) {
            check_fail(__FILE__, __LINE__, "rule %s does not refuse what is outside", edges[i].rule);
        }
        for (uint32_t r = 0; r < verdict.refusal_count; r++) {
            CHECK(verdict.refusals[r].reason[0] && !strchr(verdict.refusals[r].reason, '\n'));
        }
    }
}

TEST(every_structural_rule_has_its_edge)
{
    const char *names[128];
    uint32_t count = mj_legal_rule_names(names, 128);
    CHECK(count > 20 && count <= 128);
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        for (int e = 0; e < EDGE_COUNT; e++) {
            found = found || strcmp(edges[e].rule, names[i]) == 0;
        }
        if (!found) {
            check_fail(__FILE__, __LINE__, "rule %s has no edge in this test", names[i]);
        }
        for (uint32_t j = 0; j < i; j++) {
            CHECK(strcmp(names[i], names[j]) != 0);
        }
    }
    CHECK_INT(mj_legal_rule_names(NULL, 0), count);
}

/* ---- Rules of the spaces: neighbours in the space, one value apart, of which one is legal and that rule refuses the other ---- */

typedef struct hunt {
    fixture f;
    bool *found; /* per rule of the space */
    uint32_t left;
    uint32_t visited;
} hunt;

static void try_neighbour(hunt *h, mj_config *config, uint32_t at, int32_t value)
{
    mj_verdict verdict;
    int32_t keep = config->params[at].value;
    config->params[at].value = value;
    h->f.desc.config = config;
    mj_legal(fixture_spec, &h->f.desc, &verdict);
    for (uint32_t r = 0; r < h->f.space->rule_count; r++) {
        if (!h->found[r] && verdict_names(&verdict, h->f.space->rules[r].name)) {
            h->found[r] = true;
            h->left--;
        }
    }
    config->params[at].value = keep;
}

static bool visit(void *user, const mj_config *legal)
{
    hunt *h = user;
    mj_config config = *legal;
    if (h->visited++ % 5 != 0) { /* a sample is enough, and five times as fast */
        return true;
    }
    for (uint32_t i = 0; i < config.count && h->left > 0; i++) {
        const mj_tunable *tunable = &h->f.space->tunables[i];
        for (uint32_t v = 0; v < tunable->value_count; v++) {
            if (tunable->values[v] == legal->params[i].value) {
                if (v > 0) {
                    try_neighbour(h, &config, i, tunable->values[v - 1]);
                }
                if (v + 1 < tunable->value_count) {
                    try_neighbour(h, &config, i, tunable->values[v + 1]);
                }
            }
        }
    }
    return h->left > 0;
}

TEST(every_rule_of_a_space_has_its_edge)
{
    static const char *const layers[] = {"E=4,topk=1,H=1024,N=200", "E=128,topk=8,H=2048,N=768",
                                         "E=8,topk=2,H=2880,N=1440", "E=8,topk=2,H=4096,N=7168"}; /* the rarest first */
    for (uint32_t s = 0; s < mj_spec_space_count(fixture_spec); s++) {
        const mj_space *space = mj_spec_space_at(fixture_spec, s);
        bool found[32] = {false};
        hunt h = {.found = found, .left = space->rule_count};
        for (size_t l = 0; l < 2 * sizeof layers / sizeof layers[0] && h.left > 0; l++) {
            mj_tally tally;
            const char *arch = strcmp(space->family, "cpu") == 0 ? "cpu" : l % 2 ? "sm_80" : "sm_90a";
            arch = strcmp(space->family, "mfma") == 0 ? l % 2 ? "gfx942" : "gfx950" : arch;
            arch = strcmp(space->family, "wmma") == 0 ? l % 2 ? "gfx1100" : "gfx1200" : arch;
            CHECK(fixture_kernel(&h.f, layers[l / 2], arch, space->family, MJ_OP_GEMM1, ""));
            h.visited = 0;
            CHECK_STATUS(mj_space_enumerate(fixture_spec, &h.f.desc, visit, &h, &tally, NULL), MJ_OK);
        }
        for (uint32_t r = 0; r < space->rule_count; r++) {
            if (!found[r]) {
                check_fail(__FILE__, __LINE__, "space %s: no legal config has a neighbour that %s refuses",
                           space->family, space->rules[r].name);
            }
        }
    }
}

/* ---- The walk ---- */

static bool count_config(void *user, const mj_config *config)
{
    (void)config;
    return ++*(uint32_t *)user != 10;
}

TEST(tally_adds_up)
{
    fixture f;
    mj_tally tally;
    uint32_t seen = 1000; /* past the stop */
    CHECK(fixture_kernel(&f, "E=128,topk=8,H=2048,N=768", "sm_90a", "mma", MJ_OP_GEMM2, ""));
    CHECK_STATUS(mj_space_enumerate(fixture_spec, &f.desc, count_config, &seen, &tally, NULL), MJ_OK);
    uint64_t sum = tally.legal_count;
    for (uint32_t i = 0; i < tally.rule_count; i++) {
        sum += tally.rules[i].count;
    }
    CHECK_INT(sum, tally.candidate_count);
    CHECK_INT(seen - 1000, tally.legal_count);
    CHECK(tally.legal_count > 100);
    seen = 0;
    CHECK_STATUS(mj_space_enumerate(fixture_spec, &f.desc, count_config, &seen, NULL, NULL), MJ_OK);
    CHECK_INT(seen, 10);
}

TEST(default_is_legal_or_replaced)
{
    fixture f;
    mj_config config;
    mj_error error = {0};
    mj_verdict verdict;
    CHECK(fixture_kernel(&f, layer, "sm_90a", "mma", MJ_OP_GEMM1, ""));
    CHECK_STATUS(mj_space_default(fixture_spec, &f.desc, &config, &error), MJ_OK);
    f.desc.config = &config;
    CHECK(mj_legal(fixture_spec, &f.desc, &verdict));
    CHECK(fixture_kernel(&f, layer, "cpu", "simple", MJ_OP_TABLES, "")); /* 256 threads are not the host's */
    CHECK_STATUS(mj_space_default(fixture_spec, &f.desc, &config, &error), MJ_OK);
    CHECK_INT(config.params[0].value, 1);
    CHECK(fixture_kernel(&f, "E=8,topk=2,H=4095,N=7168", "sm_90a", "mma", MJ_OP_GEMM1, ""));
    CHECK_STATUS(mj_space_default(fixture_spec, &f.desc, &config, &error), MJ_ERR_ILLEGAL);
    CHECK_CONTAINS(error.text, "depth_aligned");
}

/* Numbers that no space holds must be refused, not overflow. */
TEST(hostile_values)
{
    static const int32_t values[] = {0, -1, 1, 4096, 4097, INT32_MAX, INT32_MIN, 65536};
    static const char *const families[] = {"mma", "wgmma"};
    for (size_t family = 0; family < 2; family++) {
        fixture f;
        CHECK(fixture_kernel(&f, "E=4096,topk=64,H=16384,N=8192", "sm_90a", families[family], MJ_OP_GEMM1,
                             family ? good_wgmma : good));
        for (uint32_t i = 0; i < f.config.count; i++) {
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                for (uint32_t j = 0; j < f.config.count; j++) {
                    mj_config keep = f.config;
                    mj_verdict verdict;
                    f.config.params[i].value = values[v];
                    f.config.params[j].value = values[(v + j) % (sizeof values / sizeof values[0])];
                    CHECK(!mj_legal(fixture_spec, &f.desc, &verdict));
                    CHECK(verdict.refusal_count > 0);
                    f.config = keep;
                }
            }
        }
        for (uint32_t i = 0; i < f.config.count; i++) {
            f.config.params[i].value = 4096;
        }
        CHECK(!mj_legal(fixture_spec, &f.desc, NULL));
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    if (!fixture_open()) {
        return 1;
    }
    RUN(one_step_inside_and_one_outside);
    RUN(every_structural_rule_has_its_edge);
    RUN(every_rule_of_a_space_has_its_edge);
    RUN(tally_adds_up);
    RUN(default_is_legal_or_replaced);
    RUN(hostile_values);
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
