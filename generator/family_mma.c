/* family_mma.c: sizes, limits and expected time of templates/mma.tmpl. */
#include "checked.h"
#include "family.h"

#include <math.h>
#include <string.h>

enum {
    ELEMENT_BYTES = 2,
    CHUNK_ELEMENTS = 8, /* 16 bytes: one asynchronous copy */
    FRAGMENT = 16,      /* rows of an mma tile; columns of one ldmatrix */
    FLAG_BYTES = 16,    /* split-K: who came last */
    SMEM_ALIGN = 128,
    INPUT_PASSES_MAX = 32, /* bits of the copier's row mask */
    LANE_EXPERTS_MAX = 32, /* experts a lane counts in registers */
    POINTER_ALIGN_BYTES = 16,
};

typedef struct shape {
    uint32_t tile_m, tile_n, tile_k, stages, warps_m, warps_n, group_m, split_k;
} shape;
_Static_assert(sizeof(shape) <= sizeof(((mj_derived *)0)->tunables), "kept in mj_derived");

static mj_status read_shape(const mj_kernel_desc *desc, shape *out, mj_error *error)
{
    const mj_tunable_slot slots[] = {
        {"tile_m", &out->tile_m},   {"tile_n", &out->tile_n},   {"tile_k", &out->tile_k},   {"stages", &out->stages},
        {"warps_m", &out->warps_m}, {"warps_n", &out->warps_n}, {"group_m", &out->group_m}, {"split_k", &out->split_k},
    };
    return mj_family_read(desc, slots, sizeof slots / sizeof slots[0], error);
}

/* Rows that all threads copy in one pass; 0 if a row has more chunks than the block has threads. */
static uint32_t rows_per_pass(uint32_t threads, uint32_t tile_k)
{
    uint32_t chunks = tile_k / CHUNK_ELEMENTS;
    return chunks ? threads / chunks : 0;
}

/* Fitted to what NVRTC 12 and 13 use for sm_80 and sm_90a; the compiler takes more when registers are free. */
static uint32_t estimate_registers(const shape *s, uint32_t threads)
{
    uint32_t pass_rows = rows_per_pass(threads, s->tile_k);
    uint32_t input_passes = pass_rows ? (uint32_t)mj_ceil_div(s->tile_m, pass_rows) : s->tile_m;
    uint32_t weight_passes = pass_rows ? s->tile_n / pass_rows : s->tile_n;
    uint32_t accumulators = s->tile_m * s->tile_n / threads;
    uint32_t fragments = (s->tile_m / s->warps_m + s->tile_n / s->warps_n) / FRAGMENT * 4;
    uint32_t joining =
        s->split_k > 1 ? accumulators / 4 : 0; /* partial sums on their way in: 128 sums spill without this */
    return (accumulators * 15 + fragments * 20 + input_passes * 45 + weight_passes * 30) / 16 + s->tile_k / 6 + 18 +
           joining;
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    shape s = {0};
    mj_status status = read_shape(desc, &s, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    uint64_t stage_rows_bytes = (uint64_t)s.stages * s.tile_k * ELEMENT_BYTES;
    uint64_t weights_at = stage_rows_bytes * s.tile_m, flag_at = weights_at + stage_rows_bytes * s.tile_n;
    uint64_t smem = (flag_at + FLAG_BYTES + SMEM_ALIGN - 1) / SMEM_ALIGN * SMEM_ALIGN;
    uint64_t threads = (uint64_t)desc->arch->warp_size * s.warps_m * s.warps_n;
    uint64_t partial = s.split_k > 1 ? (uint64_t)s.split_k * s.tile_m * s.tile_n * sizeof(float) : 0;
    uint64_t n_tiles = mj_ceil_div(gemm.n, s.tile_n);
    if (smem > UINT32_MAX || threads > UINT32_MAX || partial > UINT32_MAX || n_tiles * s.split_k > UINT32_MAX ||
        threads == 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of mma: the tile's sizes do not fit 32 bits");
    }
    memcpy(out->tunables, &s, sizeof s);
    out->block_threads = (uint32_t)threads;
    out->smem_bytes = (uint32_t)smem;
    out->regs_estimate = estimate_registers(&s, out->block_threads);
    out->tile_m = s.tile_m;
    out->tile_n = s.tile_n;
    out->n_tiles = (uint32_t)n_tiles;
    out->split_k = s.split_k;
    out->k_tiles_per_split = (uint32_t)mj_ceil_div(mj_ceil_div(gemm.k, s.tile_k), s.split_k);
    out->partial_tile_bytes = (uint32_t)partial;
    out->pointer_align_bytes = POINTER_ALIGN_BYTES;
    out->grid = (mj_grid_rule){.unit = MJ_GRID_TILES, .per_block = s.tile_m, .factor = (uint32_t)(n_tiles * s.split_k)};
    mj_derived_occupancy(out, desc->arch);
    mj_derived_var(out, "smem_b_offset", (int64_t)weights_at);
    mj_derived_var(out, "smem_flag_offset", (int64_t)flag_at);
    return MJ_OK;
}

/* ---- Rules ---- */

static shape shape_of(const mj_derived *derived)
{
    shape s;
    memcpy(&s, derived->tunables, sizeof s);
    return s;
}

static bool holds_zero(uint32_t rest, double *measured, double *limit)
{
    *measured = rest;
    *limit = 0;
    return rest == 0;
}

static bool warp_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    return holds_zero(s.tile_m % (FRAGMENT * s.warps_m), measured, limit);
}

static bool warp_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    return holds_zero(s.tile_n % (FRAGMENT * s.warps_n), measured, limit);
}

static bool step_chunks(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    /* 32, 64, ...: the swizzle wants whole groups of four chunks, a power of two of them */
    *measured = s.tile_k;
    *limit = 32;
    return s.tile_k >= 32 && (s.tile_k & (s.tile_k - 1)) == 0;
}

static bool stages_least(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    *measured = shape_of(derived).stages;
    *limit = 2;
    return *measured >= *limit;
}

static bool depth_aligned(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    return holds_zero(mj_problem_gemm(desc->problem, desc->op).k % CHUNK_ELEMENTS, measured, limit);
}

static bool copy_chunks(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    uint32_t chunks = shape_of(derived).tile_k / CHUNK_ELEMENTS;
    return holds_zero(chunks ? derived->block_threads % chunks : 1, measured, limit);
}

static bool copy_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    uint32_t rows = rows_per_pass(derived->block_threads, s.tile_k);
    return holds_zero(rows ? s.tile_n % rows : 1, measured, limit);
}

static bool copy_passes(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    uint32_t rows = rows_per_pass(derived->block_threads, s.tile_k);
    *measured = rows ? (double)mj_ceil_div(s.tile_m, rows) : INPUT_PASSES_MAX + 1;
    *limit = INPUT_PASSES_MAX;
    return *measured <= *limit;
}

static bool split_steps(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    uint64_t steps = mj_ceil_div(mj_problem_gemm(desc->problem, desc->op).k, shape_of(derived).tile_k);
    *measured = (double)(derived->split_k - 1) * derived->k_tiles_per_split; /* the last part begins here */
    *limit = (double)steps - 1;
    return *measured <= *limit;
}

static bool lane_experts(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    *measured = (double)mj_ceil_div(desc->problem->expert_count, desc->arch->warp_size);
    *limit = LANE_EXPERTS_MAX;
    return *measured <= *limit;
}

static const mj_family_rule rules[] = {
    {"warp_rows", "rows of the tile left over by warps_m warps of whole 16-row fragments", warp_rows},
    {"warp_columns", "columns of the tile left over by warps_n warps of whole 16-column fragments", warp_columns},
    {"step_chunks", "tile_k must be a power of two of at least 32 elements", step_chunks},
    {"stages_least", "stages of the pipeline: one is multiplied while another is copied", stages_least},
    {"depth_aligned", "elements of the depth left over by 16-byte copies", depth_aligned},
    {"copy_chunks", "threads left over by whole rows of 16-byte chunks", copy_chunks},
    {"copy_rows", "rows of the weight tile left over by passes of all threads", copy_rows},
    {"copy_passes", "copies of input rows per thread and step", copy_passes},
    {"split_steps", "first step of the last part of a split depth, counted from 0: it must exist", split_steps},
    {"lane_experts", "experts counted by one lane of the tile scheduler", lane_experts},
};

/* ---- Time ----
 * One launch is the larger of three flows (memory, L2, matrix units), plus what nothing overlaps. Fitted to 17000 timings on an
 * H200 (Mixtral-8x7B TP2 and Qwen3-30B-A3B, both GEMMs, 1 to 256 tokens; eight of the sixteen cells swept whole). */
static const struct {
    double latency_us; /* of a load under load: bytes in flight at which half the bandwidth is reached */
    double flow_gain;  /* how far past that half a deep pipeline gets */
    double l2_gain;    /* bandwidth of L2 over memory's */
    double group_gain; /* of launching row tiles of an expert together */
    double step_us;    /* barrier and addresses of a step */
    double tile_us;    /* scheduling, first loads, epilogue */
    double turn_us;    /* each further turn of blocks on a multiprocessor */
    double store_us;   /* of 1000 outputs, where no other block multiplies meanwhile */
    double mma_share;  /* of the dense peak, for an endless warp tile, where wgmma sets that peak */
    double mma_share_max, mma_native_gain; /* most of it; how much more where mma.sync sets the peak */
    double small_tile;                     /* rows and columns of a square warp tile that halve it, times one half */
    double split_us, split_part_us;        /* of joining the parts of a tile, and of each part */
    double overlap_loss;                   /* share of the smaller flow that is not hidden */
    double stage_loss;                     /* stages that copy nothing at a time */
    /* Beside wgmma, whose best is as fast: the first of its list came out 1 to 10 % slower than expected, wgmma's up to 8 % faster (16
     * cells of 1 to 64 tokens; with more rows wgmma is ahead anyway). */
    double chosen_loss;
} model = {
    .latency_us = 1.256,
    .flow_gain = 1.3,
    .l2_gain = 1.249,
    .group_gain = 1.046,
    .step_us = 0.0016,
    .tile_us = 1.05,
    .turn_us = 0.1,
    .store_us = 0.26,
    .mma_share = 2.2,
    .mma_share_max = 0.89,
    .mma_native_gain = 1.5,
    .small_tile = 16,
    .split_us = 12,
    .split_part_us = 0.5,
    .overlap_loss = 0.3,
    .stage_loss = 1.417,
    .chosen_loss = 1.1,
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

typedef struct occupancy {
    double sms, blocks, resident; /* resident: per multiprocessor, at most */
    double busy, used;            /* blocks that share a multiprocessor; multiprocessors with work */
} occupancy;

static double flow_us(const mj_kernel_desc *desc, const shape *s, const occupancy *o, double steps,
                      const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double bytes_per_us = device->memory_gbps * 1e3;
    double step_bytes = (double)(s->tile_m + s->tile_n) * s->tile_k * ELEMENT_BYTES;
    double in_flight = (s->stages - model.stage_loss) * step_bytes * most(o->busy, 1);
    double share = in_flight / (in_flight + bytes_per_us / o->sms * model.latency_us);
    double reached = bytes_per_us * (o->used / o->sms) * least(1, share * model.flow_gain);
    double input_rows = desc->op == MJ_OP_GEMM1 ? load->input_rows : load->row_count;
    double memory_bytes =
        (load->active_experts * gemm.n * gemm.k + input_rows * gemm.k + load->row_count * gemm.n) * ELEMENT_BYTES;
    double l2_bytes = o->blocks * steps * step_bytes;
    return most(memory_bytes / reached, l2_bytes / (reached * model.l2_gain * (s->group_m > 1 ? model.group_gain : 1)));
}

static double matrix_us(const mj_kernel_desc *desc, const mj_derived *d, const shape *s, const occupancy *o,
                        double steps, const mj_device_shape *device)
{
    double warp_m = (double)s->tile_m / s->warps_m, warp_n = (double)s->tile_n / s->warps_n;
    double share = model.mma_share * warp_m * warp_n / (warp_m * warp_n + model.small_tile * (warp_m + warp_n));
    bool native = !mj_list_has(&desc->arch->features, "wgmma") && !mj_list_has(&desc->arch->features, "tcgen05");
    share = least(share * (native ? model.mma_native_gain : 1), model.mma_share_max);
    double warps = most(o->busy, 1) * d->block_threads / desc->arch->warp_size;
    share *= sqrt(least(1, warps / 4)); /* four schedulers */
    double block_us = 2.0 * s->tile_m * s->tile_n * s->tile_k * steps / (device->matrix_tflops / o->sms * share * 1e6);
    block_us += model.store_us * s->tile_m * s->tile_n / 1000 / most(o->busy, 1);
    double waves = o->blocks / o->sms;
    return block_us *
           (waves <= 1 ? 1 : waves + 0.5 * (1 - 1 / o->resident)); /* the last turn is half empty on average */
}

static double estimate_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device,
                          const mj_load *load)
{
    shape s = shape_of(d);
    double steps = d->k_tiles_per_split, tiles = mj_load_row_tiles(load, s.tile_m) * d->n_tiles;
    occupancy o = {
        .sms = most(device->sm_count, 1), .blocks = tiles * s.split_k, .resident = most(d->blocks_per_sm, 1)};
    o.busy = least(o.blocks / o.sms, o.resident);
    o.used = most(least(o.blocks, o.sms), 1);
    double turns = o.blocks / o.sms / o.resident;
    double flow = flow_us(desc, &s, &o, steps, device, load), matrix = matrix_us(desc, d, &s, &o, steps, device);
    double fixed = model.tile_us + steps * model.step_us * most(1, turns) + model.turn_us * most(0, turns - 1);
    if (s.split_k > 1) {
        fixed += model.split_us + model.split_part_us * s.split_k;
        fixed += tiles * d->partial_tile_bytes / (device->memory_gbps * 1e3); /* written and read, through L2 */
    }
    double us = device->launch_us + fixed + most(flow, matrix) + model.overlap_loss * least(flow, matrix);
    return us * (mj_list_has(&desc->arch->features, "wgmma") ? model.chosen_loss : 1);
}

const mj_family mj_family_mma = {
    .name = "mma",
    .derive = derive,
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .estimate_us = estimate_us,
};
