/* family_simple.c: tables, activation, combine, and the tuner's helpers: one template per op, one tunable. */
#include "checked.h"
#include "family.h"
#include "scheme_words.h"

#define TABLES_ID_US 0.09 /* of a thread, for an id; 11 us for 32768 by 256 threads of an H200 */

enum {
    WORKER_BLOCKS = 8,    /* per multiprocessor, for ops that walk an array */
    WARP_SMEM_BYTES = 16, /* four counts or sums per warp */
    SMEM_SPARE_BYTES = 64,
    SMEM_ALIGN = 128,
    REGISTERS = 32,
    ELEMENT_BYTES = 2,
    STATIC_RUN = 128,    /* values of a row that are quantised together where all have one scale */
    RUN_CHUNKS = 2,      /* eights of values that a thread takes of a run, so that finding a scale costs little of it */
    LONG_RUN_CHUNKS = 4, /* a run of which a warp's threads would take more eights than that is the whole block's */
};

typedef struct op_row {
    mj_grid_rule grid; /* factor 0: one per expert */
    uint32_t pointer_align_bytes;
} op_row;

/* ORDER OP. Ops on tokens and pairs share rows by split_rows, which sets the rest of their rule. */
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

/* How kernels that treat rows share them: row_runs.tmpl. */
typedef struct row_split {
    uint32_t run, row_runs;
    uint32_t team, chunks; /* threads of a run, and how many times each of them takes eight values of it */
    uint32_t block_rows, row_blocks;
} row_split;

static uint32_t row_columns(const mj_kernel_desc *desc)
{
    const mj_problem *p = desc->problem;
    return desc->op == MJ_OP_COMBINE || desc->op == MJ_OP_QUANTISE1 ? p->hidden : p->intermediate;
}

/* Values that are seen together, of a row that may have fewer. */
static uint32_t run_values(const mj_kernel_desc *desc, uint32_t columns, uint32_t warp)
{
    const mj_scheme *scheme = desc->scheme;
    if (!mj_op_is_quantise(desc->op)) {
        return warp == 1 ? columns : 8; /* a core takes a row */
    }
    uint32_t scales = mj_scheme_scales_per_row(scheme, columns);
    return scales == 0 ? STATIC_RUN : scales == 1 ? columns : scheme->input_group_k;
}

static row_split split_rows(const mj_kernel_desc *desc, uint32_t threads, uint32_t warp)
{
    uint32_t columns = row_columns(desc);
    row_split s = {.run = run_values(desc, columns, warp), .team = 1};
    uint32_t eights = (uint32_t)mj_ceil_div(s.run < columns ? s.run : columns, 8);
    while (s.team * RUN_CHUNKS < eights && s.team < warp && s.team * 2 <= threads) {
        s.team *= 2;
    }
    if (s.team * LONG_RUN_CHUNKS < eights) {
        s.team = threads;
    }
    s.row_runs = (uint32_t)mj_ceil_div(columns, s.run);
    s.chunks = (uint32_t)mj_ceil_div(eights, s.team);
    s.row_blocks = (uint32_t)mj_ceil_div(s.row_runs, threads / s.team);
    s.block_rows = s.row_blocks > 1 ? 1 : threads / s.team / s.row_runs;
    return s;
}

static void derive_rows(const mj_kernel_desc *desc, uint32_t warp, mj_derived *out)
{
    row_split s = split_rows(desc, out->block_threads, warp);
    out->grid.per_block = s.block_rows;
    out->grid.factor = s.row_blocks;
    mj_derived_var(out, "run", s.run);
    mj_derived_var(out, "row_runs", s.row_runs);
    mj_derived_var(out, "team", s.team);
    mj_derived_var(out, "chunks", s.chunks);
    mj_derived_var(out, "block_rows", s.block_rows);
    mj_derived_var(out, "row_blocks", s.row_blocks);
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
    uint32_t warp = desc->arch->warp_size ? desc->arch->warp_size : 1;
    uint32_t warps = (uint32_t)mj_ceil_div(out->block_threads, warp);
    out->smem_bytes = (warps * WARP_SMEM_BYTES + SMEM_SPARE_BYTES + SMEM_ALIGN - 1) / SMEM_ALIGN * SMEM_ALIGN;
    if (!uses_shared_memory(desc->op)) {
        out->smem_bytes = 0;
    }
    out->regs_estimate = REGISTERS;
    out->grid = ops[desc->op].grid;
    if (out->grid.factor == 0) {
        out->grid.factor = desc->problem->expert_count;
    }
    if (ops[desc->op].grid.unit == MJ_GRID_TOKENS || ops[desc->op].grid.unit == MJ_GRID_PAIRS) {
        derive_rows(desc, warp, out);
    }
    out->tile_m = out->tile_n = out->n_tiles = out->split_k = 1;
    out->pointer_align_bytes = ops[desc->op].pointer_align_bytes;
    bool of_layer = desc->op <= MJ_OP_COMBINE; /* its template begins with mj_follow_prior_grid */
    out->dependent_launch = of_layer && mj_list_has(&desc->arch->features, "dependent_launch");
    mj_derived_occupancy(out, desc->arch);
    return MJ_OK;
}

/* Bytes that an op on rows reads and writes. */
static double bytes_moved(const mj_kernel_desc *desc, const mj_load *load)
{
    const mj_problem *p = desc->problem;
    double pairs = (double)load->token_count * p->top_k, gates = p->gated ? 2 : 1;
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

static double work_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *shape,
                      const mj_load *load)
{
    if (desc->op != MJ_OP_TABLES) {
        return bytes_moved(desc, load) / (shape->memory_gbps * 1e3);
    }
    /* Every block reads all ids, twice, from L2: waiting, not bytes, is what it does. */
    uint64_t pairs = (uint64_t)load->token_count * desc->problem->top_k;
    return TABLES_ID_US * (double)mj_ceil_div(pairs, derived->block_threads);
}

static double estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *shape,
                          const mj_load *load)
{
    double per_thread = 0.002 * (double)derived->block_threads / 256.0; /* bigger blocks start a little later */
    double preferred = derived->block_threads == 256 || desc->arch->warp_size == 1 ? 0.0 : 0.05;
    return shape->launch_us + 1.5 + preferred + per_thread + work_us(desc, derived, shape, load);
}

const mj_family mj_family_simple = {.name = "simple", .derive = derive, .estimate_us = estimate_us};
