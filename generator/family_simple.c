/* family_simple.c: tables, activation, combine, and the tuner's helpers: one template per op, one tunable. */
#include "checked.h"
#include "family.h"

enum {
    WORKER_BLOCKS = 8,    /* per multiprocessor, for ops that walk an array */
    WARP_SMEM_BYTES = 16, /* four counts or sums per warp */
    SMEM_SPARE_BYTES = 64,
    SMEM_ALIGN = 128,
    REGISTERS = 32,
    ELEMENT_BYTES = 2,
};

typedef struct op_row {
    mj_grid_rule grid; /* factor 0: one per expert */
    uint32_t pointer_align_bytes;
} op_row;

/* ORDER OP */
static const op_row ops[] = {
    [MJ_OP_TABLES] = {{.unit = MJ_GRID_ONE, .per_block = 1, .factor = 0}, 4},
    [MJ_OP_QUANTISE1] = {{.unit = MJ_GRID_TOKENS, .per_block = 1, .factor = 1}, 16},
    [MJ_OP_ACTIVATION] = {{.unit = MJ_GRID_PAIRS, .per_block = 1, .factor = 1}, 16},
    [MJ_OP_QUANTISE2] = {{.unit = MJ_GRID_PAIRS, .per_block = 1, .factor = 1}, 16},
    [MJ_OP_COMBINE] = {{.unit = MJ_GRID_TOKENS, .per_block = 1, .factor = 1}, 16},
    [MJ_OP_FILL] = {{.unit = MJ_GRID_WORKERS, .per_block = 1, .factor = WORKER_BLOCKS}, 4},
    [MJ_OP_COMPARE] = {{.unit = MJ_GRID_ROWS, .per_block = 1, .factor = 1}, 4},
    [MJ_OP_STREAM] = {{.unit = MJ_GRID_WORKERS, .per_block = 1, .factor = WORKER_BLOCKS}, 16},
};

static bool uses_shared_memory(mj_op op)
{
    return op == MJ_OP_TABLES || op == MJ_OP_COMPARE || op == MJ_OP_QUANTISE1 || op == MJ_OP_QUANTISE2;
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    const mj_tunable_slot slots[] = {{"threads", &out->block_threads}};
    mj_status status = mj_family_read(desc, slots, 1, error);
    if (status != MJ_OK) {
        return status;
    }
    if ((unsigned)desc->op >= sizeof ops / sizeof ops[0] || mj_op_is_gemm(desc->op)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "family simple has no %s", mj_op_name(desc->op));
    }
    uint32_t warps = (uint32_t)mj_ceil_div(out->block_threads, desc->arch->warp_size ? desc->arch->warp_size : 1);
    out->smem_bytes = (warps * WARP_SMEM_BYTES + SMEM_SPARE_BYTES + SMEM_ALIGN - 1) / SMEM_ALIGN * SMEM_ALIGN;
    if (!uses_shared_memory(desc->op)) {
        out->smem_bytes = 0;
    }
    out->regs_estimate = REGISTERS;
    out->grid = ops[desc->op].grid;
    if (out->grid.factor == 0) {
        out->grid.factor = desc->problem->expert_count;
    }
    out->tile_m = out->tile_n = out->n_tiles = out->split_k = 1;
    out->pointer_align_bytes = ops[desc->op].pointer_align_bytes;
    bool of_layer = desc->op <= MJ_OP_COMBINE; /* its template begins with mj_follow_prior_grid */
    out->dependent_launch = of_layer && mj_list_has(&desc->arch->features, "dependent_launch");
    mj_derived_occupancy(out, desc->arch);
    return MJ_OK;
}

/* Bytes that the op reads and writes; every expert's block of `tables` reads all ids. */
static double bytes_moved(const mj_kernel_desc *desc, const mj_load *load)
{
    const mj_problem *p = desc->problem;
    double pairs = (double)load->token_count * p->top_k, gates = p->gated ? 2 : 1;
    if (desc->op == MJ_OP_TABLES) {
        return pairs * 8.0 * p->expert_count;
    }
    if (desc->op == MJ_OP_ACTIVATION) {
        return load->row_count * (gates + 1) * p->intermediate * ELEMENT_BYTES;
    }
    if (desc->op == MJ_OP_QUANTISE1) {
        return load->input_rows * p->hidden * (ELEMENT_BYTES + 1);
    }
    if (desc->op == MJ_OP_QUANTISE2) {
        return load->row_count * p->intermediate * (ELEMENT_BYTES + 1);
    }
    return (pairs + load->token_count) * p->hidden * ELEMENT_BYTES;
}

static double estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *shape,
                          const mj_load *load)
{
    double per_thread = 0.002 * (double)derived->block_threads / 256.0; /* bigger blocks start a little later */
    double preferred = derived->block_threads == 256 || desc->arch->warp_size == 1 ? 0.0 : 0.05;
    return shape->launch_us + 1.5 + preferred + per_thread + bytes_moved(desc, load) / (shape->memory_gbps * 1e3);
}

const mj_family mj_family_simple = {.name = "simple", .derive = derive, .estimate_us = estimate_us};
