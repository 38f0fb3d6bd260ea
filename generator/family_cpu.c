/* family_cpu.c: templates/cpu.tmpl, the host's vectors and threads. */
#include "checked.h"
#include "family.h"

#include <math.h>

enum {
    ROWS_AT_ONCE = 4, /* decoded input rows kept */
    VECTOR_STEP = 32, /* elements of the widest load any compiler target has */
    SCRATCH_ALIGN_BYTES = 64,
    POINTER_ALIGN_BYTES = 2,
    VECTOR_ALIGN_BYTES = 16, /* rows that are added by eights */
};

typedef struct shape {
    uint32_t tile_n, tile_k, rows;
} shape;

static mj_status read_shape(const mj_kernel_desc *desc, shape *s, mj_error *error)
{
    const mj_tunable_slot slots[] = {{"tile_n", &s->tile_n}, {"tile_k", &s->tile_k}, {"rows", &s->rows}};
    return mj_family_read(desc, slots, sizeof slots / sizeof slots[0], error);
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    shape s = {0};
    mj_status status = read_shape(desc, &s, error);
    if (status != MJ_OK) {
        return status;
    }
    if (!mj_op_is_gemm(desc->op)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "family cpu has no %s", mj_op_name(desc->op));
    }
    uint64_t sums = mj_ceil_div((uint64_t)s.rows * s.tile_n * sizeof(float), SCRATCH_ALIGN_BYTES) * SCRATCH_ALIGN_BYTES;
    uint64_t scratch = sums + (uint64_t)ROWS_AT_ONCE * s.tile_k * sizeof(float);
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    uint32_t parts = gemm.n / gemm.out_n; /* gate and up of a column */
    if (s.tile_n < parts) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of cpu: tile_n has no column of gate and up");
    }
    uint64_t n_tiles = mj_ceil_div(gemm.out_n, s.tile_n / parts);
    uint64_t blocks = n_tiles * desc->problem->expert_count;
    if (scratch > UINT32_MAX || blocks > UINT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of cpu: sizes do not fit 32 bits");
    }
    out->block_threads = 1;
    out->smem_bytes = (uint32_t)scratch;
    out->tile_m = s.rows;
    out->tile_n = s.tile_n;
    out->n_tiles = (uint32_t)n_tiles;
    out->split_k = 1;
    out->blocks_per_sm = 1;
    out->pointer_align_bytes = POINTER_ALIGN_BYTES;
    out->grid = (mj_grid_rule){.unit = MJ_GRID_ONE, .per_block = 1, .factor = (uint32_t)blocks};
    if (mj_op_combines(desc->op)) { /* a row for each pair, and a counter for every tile of a token's row */
        if (gemm.out_n > INT32_MAX / 2) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "config of cpu: sizes do not fit 32 bits");
        }
        out->pair_scratch_bytes = 2 * gemm.out_n;
        out->counters_per_token = (uint32_t)n_tiles;
        out->pointer_align_bytes = VECTOR_ALIGN_BYTES;
    }
    mj_derived_var(out, "row_parts", out->counters_per_token);
    mj_derived_var(out, "input_offset", (int64_t)sums);
    return MJ_OK;
}

static bool whole_vectors(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    shape s = {0};
    (void)derived;
    *limit = 0;
    *measured = read_shape(desc, &s, NULL) == MJ_OK ? s.tile_k % VECTOR_STEP : 1;
    return *measured <= *limit;
}

static const mj_family_rule rules[] = {
    {"cpu_whole_vectors", "elements of tile_k beyond whole vectors of 32", whole_vectors},
};

/* Weights stream once per `rows` rows of an expert; rows by fours reach the threads' product rate, single rows are bound by memory.
 * A part of the tile beyond the second-level cache is read again for every four rows. */
static double estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *shape_of_device,
                          const mj_load *load)
{
    static const double l2_bytes_per_thread = 512e3, cached_gain = 3.0;
    shape s = {0};
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    if (read_shape(desc, &s, NULL) != MJ_OK) {
        return INFINITY;
    }
    double rows_each = load->active_experts > 0 ? load->row_count / load->active_experts : 0;
    double passes = fmax(1.0, ceil(rows_each / s.rows));
    double weight_bytes = load->active_experts * gemm.n * (double)gemm.k * 2;
    double part_bytes = (double)s.tile_n * s.tile_k * 2;
    double gain = part_bytes <= l2_bytes_per_thread ? cached_gain * 4 : cached_gain;
    double rereads = fmax(0.0, ceil(rows_each / ROWS_AT_ONCE) - passes) / gain;
    double memory_us = weight_bytes * (passes + rereads) / (shape_of_device->memory_gbps * 1e3);
    double decode = 1.0 + 1.0 / fmin(fmax(rows_each, 1), ROWS_AT_ONCE) + 8.0 / s.tile_n; /* work besides the products */
    double product_us = 2.0 * load->row_count * gemm.n * gemm.k * decode / (shape_of_device->matrix_tflops * 1e6);
    double block_us =
        (double)derived->n_tiles * load->active_experts * (gemm.k / (double)s.tile_k) * 0.5 / shape_of_device->sm_count;
    double combine_us = (load->row_count + load->token_count) * derived->pair_scratch_bytes / cached_gain /
                        (shape_of_device->memory_gbps * 1e3); /* nothing where rows stay as they are */
    return shape_of_device->launch_us + fmax(memory_us, product_us) + block_us + combine_us;
}

const mj_family mj_family_cpu = {
    .name = "cpu",
    .derive = derive,
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .estimate_us = estimate_us,
};
