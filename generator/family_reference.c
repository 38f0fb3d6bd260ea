/* family_reference.c: templates/reference.tmpl, valid everywhere, fast nowhere. */
#include "checked.h"
#include "family.h"

enum {
    REGISTERS = 48,
    POINTER_ALIGN_BYTES = 2,
    COLUMNS_PER_WARP = 64, /* a block's warps take so many columns each */
    STATIC_GROUP = 128,    /* columns that a block quantises together where groups have no scales of their own */
    CHUNKS_MAX = 64,
};

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    const mj_tunable_slot slots[] = {{"threads", &out->block_threads}};
    mj_status status = mj_family_read(desc, slots, 1, error);
    if (status != MJ_OK) {
        return status;
    }
    if (!mj_op_is_gemm(desc->op)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "family reference has no %s", mj_op_name(desc->op));
    }
    uint32_t columns = mj_problem_gemm(desc->problem, desc->op).out_n;
    uint32_t warps = out->block_threads / (desc->arch->warp_size ? desc->arch->warp_size : 1);
    uint64_t chunks = mj_ceil_div(columns, (uint64_t)COLUMNS_PER_WARP * (warps ? warps : 1));
    uint32_t group = desc->scheme->input_group_k ? desc->scheme->input_group_k : STATIC_GROUP;
    if (mj_op_writes_codes(desc->op)) {
        chunks = mj_ceil_div(columns, group);
        out->smem_bytes = group * (uint32_t)sizeof(float);
    }
    chunks = chunks < CHUNKS_MAX ? chunks : CHUNKS_MAX;
    out->regs_estimate = REGISTERS;
    out->grid = (mj_grid_rule){.unit = MJ_GRID_PAIRS, .per_block = 1, .factor = (uint32_t)chunks};
    if (mj_op_combines(desc->op)) {
        out->grid.unit = MJ_GRID_TOKENS;
        out->smem_bytes = desc->problem->top_k * (uint32_t)sizeof(int32_t);
    }
    out->tile_m = out->tile_n = out->split_k = 1;
    out->n_tiles = (uint32_t)chunks;
    out->pointer_align_bytes = POINTER_ALIGN_BYTES;
    mj_derived_occupancy(out, desc->arch);
    mj_derived_var(out, "column_chunks", (int64_t)chunks);
    mj_derived_var(out, "output_group", group);
    return MJ_OK;
}

/* Weights are read again for every row, and every product is a double. */
static double estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *shape,
                          const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double operations = 2.0 * load->row_count * gemm.n * gemm.k;
    double preferred = derived->block_threads == 128 ? 0.0 : 0.01;
    double multiply_us = operations / (shape->matrix_tflops * 1e6) * 50.0;
    double read_us = load->row_count * gemm.n * (double)gemm.k * 2.0 / (shape->memory_gbps * 1e3);
    return (shape->launch_us + multiply_us + read_us) * (1.0 + preferred);
}

const mj_family mj_family_reference = {.name = "reference", .derive = derive, .estimate_us = estimate_us};
