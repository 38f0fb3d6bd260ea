/* legal_wgmma.h: part of test_legal.c: the edges of family wgmma. 192 threads; weight rows are wgmma's rows. */
#ifndef MOEJIT_LEGAL_WGMMA_H
#define MOEJIT_LEGAL_WGMMA_H

static const char good_wgmma[] = "tile_m=16,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,"
                                 "schedule=1,producers=2,cluster=1,cluster_of=1,group_m=1,blocks_per_sm=2";

static void gather_inside(fixture *f) /* 16 chunks of a lane in a step */
{
    set(f, "producers", 4);
    set(f, "blocks_per_sm", 1);
    set(f, "consumers", 2);
    set(f, "step_bytes", 256);
    set(f, "tile_m", 96);
}
static void gather_outside(fixture *f)
{
    gather_inside(f);
    set(f, "tile_m", 112);
}
static void block_scales(fixture *f, uint32_t columns, uint32_t depth)
{
    snprintf(f->scheme.input_scale_kind, sizeof f->scheme.input_scale_kind, "group");
    f->scheme.scale.group_n = columns;
    f->scheme.scale.group_k = f->scheme.input_group_k = depth;
}
static void blocks_of_columns_inside(fixture *f)
{
    block_scales(f, 128, 64); /* a step of 128 bytes has 64 elements */
}
static void blocks_of_depth_outside(fixture *f)
{
    block_scales(f, 128, 128);
}
static void blocks_of_columns_outside(fixture *f)
{
    block_scales(f, 8, 64); /* eight blocks in a warpgroup's 64 columns */
}
static void blocks_across_outside(fixture *f)
{
    block_scales(f, 96, 64); /* one ends within a warpgroup's 64 columns, which take one scale */
}
static void boxes_inside(fixture *f)
{
    set(f, "input_load", 2);
}
static void choices_outside(fixture *f)
{
    set(f, "input_load", 3);
}
static void orientation_outside(fixture *f)
{
    set(f, "orientation", 3);
}
static void groups_inside(fixture *f)
{
    set(f, "consumers", 2);
}
static void groups_outside(fixture *f)
{
    set(f, "consumers", 2);
    set(f, "tile_n", 64);
}
static void wide_inside(fixture *f)
{
    set(f, "tile_m", 256);
}
static void wide_outside(fixture *f)
{
    set(f, "tile_m", 264);
}
static void tokens_are_rows(fixture *f)
{
    set(f, "orientation", 1);
    set(f, "tile_m", 64);
}
static void pairs_inside(fixture *f)
{
    tokens_are_rows(f);
    set(f, "tile_n", 144);
}
static void pairs_outside(fixture *f)
{
    tokens_are_rows(f);
    set(f, "tile_n", 136);
}
static void pattern_inside(fixture *f)
{
    set(f, "tile_m", 24);
}
static void pattern_outside(fixture *f)
{
    set(f, "tile_m", 20);
}
static void parts_inside(fixture *f)
{
    pairs_inside(f); /* 144 columns: parts of 72 */
    set(f, "cluster", 2);
}
static void parts_outside(fixture *f)
{
    pairs_outside(f); /* 136: parts of 68 */
    set(f, "cluster", 2);
}
static void box_inside(fixture *f)
{
    set(f, "tile_n", 256);
}
static void box_outside(fixture *f)
{
    set(f, "tile_n", 320);
}
static void input_box_inside(fixture *f)
{
    boxes_inside(f);
    set(f, "tile_m", 256);
}
static void input_box_outside(fixture *f)
{
    boxes_inside(f);
    set(f, "tile_m", 320);
}
static void laid_in_turns(fixture *f, uint32_t n)
{
    snprintf(f->problem.layout, sizeof f->problem.layout, "interleaved8");
    f->problem.intermediate = n;
}
static void turns_as_tiles_inside(fixture *f)
{
    laid_in_turns(f, 7168);
}
static void turns_as_tiles_outside(fixture *f)
{
    laid_in_turns(f, 7168 + 64); /* the last tile would begin with gates and end with ups */
}
static void stride_outside(fixture *f)
{
    f->problem.hidden = 4084;
}
static void columns_inside(fixture *f)
{
    f->problem.intermediate = 7172;
}
static void columns_outside(fixture *f)
{
    f->problem.intermediate = 7170;
}
static void act_columns_inside(fixture *f)
{
    f->problem.intermediate = 7176;
}
static void act_columns_outside(fixture *f) /* good for gemm1: 14344 columns */
{
    f->problem.intermediate = 7172;
}
static void act_pairs_inside(fixture *f)
{
    tokens_are_rows(f);
    set(f, "tile_n", 160);
}
static void act_parts_inside(fixture *f)
{
    act_pairs_inside(f);
    set(f, "cluster", 2);
}
static void act_blocks_inside(fixture *f) /* 32 columns of a warpgroup's block: up begins with a block of its own */
{
    blocks_of_columns_inside(f);
    f->problem.intermediate = 7200;
}
static void act_blocks_outside(fixture *f)
{
    blocks_of_columns_inside(f);
    f->problem.intermediate = 7208;
}
static void codes_inside(fixture *f) /* 128 columns of gate and up */
{
    block_scales(f, 128, 128);
    set(f, "tile_n", 256);
}
static void codes_outside(fixture *f)
{
    block_scales(f, 128, 128);
    set(f, "tile_n", 192);
}
static void groups_of_codes_outside(fixture *f)
{
    block_scales(f, 128, 64);
    set(f, "tile_n", 256);
}
static void codes_of_rows_outside(fixture *f)
{
    codes_inside(f);
    snprintf(f->scheme.input_scale_kind, sizeof f->scheme.input_scale_kind, "token");
}
static void shared_codes_inside(fixture *f) /* a warp has whole rows */
{
    codes_inside(f);
    set(f, "schedule", 3);
    set(f, "orientation", 1);
}
static void shared_codes_outside(fixture *f)
{
    codes_inside(f);
    set(f, "schedule", 3);
}
static void map_inside(fixture *f)
{
    f->problem.intermediate = INT32_MAX / 16; /* times 2 * 8 experts */
}
static void map_outside(fixture *f)
{
    f->problem.intermediate = INT32_MAX / 16 + 1;
}
static void deep_inside(fixture *f)
{
    set(f, "step_bytes", 512);
}
static void deep_outside(fixture *f)
{
    set(f, "step_bytes", 1024);
}
static void power_of_steps_outside(fixture *f)
{
    set(f, "step_bytes", 384);
}
static void shallow_outside(fixture *f)
{
    set(f, "step_bytes", 64);
}
static int64_t var_of(fixture *f, const char *name)
{
    mj_derived derived = derived_of(f);
    for (uint32_t i = 0; i < derived.var_count; i++) {
        if (strcmp(derived.vars[i].name, name) == 0) {
            return derived.vars[i].value;
        }
    }
    return -1;
}
static void ring_inside(fixture *f) /* the least shared memory that holds 3 stages */
{
    while (f->arch.smem_block_bytes_max > 0 && var_of(f, "stages") >= 3) {
        f->arch.smem_block_bytes_max--;
    }
    f->arch.smem_block_bytes_max++;
}
static void ring_outside(fixture *f)
{
    ring_inside(f);
    f->arch.smem_block_bytes_max--;
}
static void cluster_inside(fixture *f)
{
    set(f, "cluster", 2);
}
static void cluster_outside(fixture *f)
{
    set(f, "cluster", 4);
}
static void shares_input_inside(fixture *f)
{
    cluster_inside(f);
    boxes_inside(f);
    set(f, "cluster_of", 2);
}
static void shares_gathered_outside(fixture *f)
{
    cluster_inside(f);
    set(f, "cluster_of", 2);
}
static void three_consumers_outside(fixture *f)
{
    set(f, "tile_n", 192);
    set(f, "consumers", 3);
}
static void turns_inside(fixture *f)
{
    groups_inside(f);
    set(f, "schedule", 2);
}
static void turns_outside(fixture *f)
{
    set(f, "schedule", 2);
}
static void schedule_outside(fixture *f)
{
    set(f, "schedule", 4);
}
static void shared_inside(fixture *f) /* eight steps of 64 elements */
{
    set(f, "schedule", 3);
    f->problem.hidden = 512;
}
static void shared_outside(fixture *f)
{
    shared_inside(f);
    f->problem.hidden = 448;
}
static void shared_in_cluster_outside(fixture *f)
{
    shared_inside(f);
    set(f, "cluster", 2);
}
static void loaders_inside(fixture *f)
{
    set(f, "producers", 4);
}
static void loaders_outside(fixture *f)
{
    set(f, "producers", 5);
}
static void one_loader_outside(fixture *f)
{
    set(f, "producers", 1);
}
static uint32_t handed_out(fixture *f) /* registers of a launch from which setmaxnreg can take what it hands out */
{
    set(f, "producers", 4);
    set(f, "blocks_per_sm", 1);
    uint32_t threads = derived_of(f).block_threads;
    uint32_t sum = 128 * (uint32_t)(var_of(f, "regs_consumer") + var_of(f, "regs_producer"));
    return (sum / threads + 7) / 8 * 8 * threads;
}
static void pool_inside(fixture *f)
{
    f->arch.regs_sm = handed_out(f);
}
static void pool_outside(fixture *f)
{
    f->arch.regs_sm = handed_out(f) - 1;
}
static void codes_scheme(fixture *f, const char *name) /* weights of 4 bits */
{
    const mj_scheme *scheme = NULL;
    if (mj_spec_find_scheme(fixture_spec, name, &scheme, NULL) == MJ_OK) {
        f->scheme = *scheme;
        snprintf(f->problem.scheme, sizeof f->problem.scheme, "%s", name);
    }
}
static void int4_inside(fixture *f)
{
    codes_scheme(f, "int4_w4a16_g32_zp_fp16");
}
static void int4_symmetric_inside(fixture *f)
{
    codes_scheme(f, "int4_w4a16");
}
static void int4_order_outside(fixture *f) /* neighbours next to each other */
{
    int4_inside(f);
    for (uint32_t i = 0; i < 8; i++) {
        f->scheme.packing.order[i] = i;
    }
}
static void int4_table_outside(fixture *f)
{
    int4_symmetric_inside(f);
    f->scheme.decode[15] = 8;
}
static void int4_far_zero_outside(fixture *f)
{
    int4_inside(f);
    f->scheme.zero_bias = 113;
}
static void int4_near_zero_inside(fixture *f)
{
    int4_inside(f);
    f->scheme.zero_bias = 112;
}
static void int4_scales_outside(fixture *f)
{
    int4_symmetric_inside(f);
    snprintf(f->scheme.scale.format, sizeof f->scheme.scale.format, "f32");
}
static void int4_zeros_outside(fixture *f)
{
    int4_inside(f);
    snprintf(f->scheme.zero.packing.axis, sizeof f->scheme.zero.packing.axis, "k");
}
static void int4_bits_outside(fixture *f)
{
    int4_inside(f);
    f->scheme.weight_bits = 8;
}
static void int4_rows_outside(fixture *f)
{
    int4_inside(f);
    tokens_are_rows(f);
}
static void int4_turns_outside(fixture *f)
{
    int4_inside(f);
    snprintf(f->problem.layout, sizeof f->problem.layout, "interleaved8");
}
static void int4_group_inside(fixture *f)
{
    int4_symmetric_inside(f);
    f->scheme.scale.group_k = 16;
}
static void int4_group_outside(fixture *f)
{
    int4_symmetric_inside(f);
    f->scheme.scale.group_k = 48;
}
static void int4_small_group_outside(fixture *f)
{
    int4_symmetric_inside(f);
    f->scheme.scale.group_k = 8;
}
static void int4_stride_inside(fixture *f) /* 2032 bytes of codes */
{
    int4_symmetric_inside(f);
    f->problem.hidden = 4064;
}
static void int4_stride_outside(fixture *f) /* 2040; 8160 of the input */
{
    int4_symmetric_inside(f);
    f->problem.hidden = 4080;
}

#endif
