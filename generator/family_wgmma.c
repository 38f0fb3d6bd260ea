/* family_wgmma.c: sizes, limits and expected time of templates/wgmma.tmpl. */
#include "checked.h"
#include "family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ATOM_BYTES = 128, /* of K: one row of the swizzle */
    STEP_BYTES_MAX = 512,
    GROUP_ROWS = 64, /* wgmma's M */
    WGMMA_N_MAX = 256,
    BOX_ROWS_MAX = 256,
    SWIZZLE_ALIGN = 1024,
    BARRIER_BYTES = 8,
    OUT_ROWS = 16, /* of a warp's part of an accumulator block */
    OUT_SLAB_BYTES = 128,
    LANE_EXPERTS_MAX = 32,
    POINTER_ALIGN_BYTES = 16,
    GROUP_THREADS = 128,
    STAGES_MIN = 3,
    STAGES_MAX = 24,
};
enum { TOKENS_ARE_M = 1, WEIGHTS_ARE_M = 2 };   /* orientation */
enum { LOAD_BY_GATHER = 1, LOAD_BY_BOXES = 2 }; /* input_load */
enum { TOGETHER = 1, IN_TURNS = 2 };            /* schedule */

typedef struct shape {
    uint32_t tile_m, tile_n, orientation, input_load, step_bytes, consumers, schedule, producers, cluster, group_m,
        blocks_per_sm;
    uint32_t stages; /* as many as the block's share of shared memory holds */
} shape;
_Static_assert(sizeof(shape) <= sizeof(((mj_derived *)0)->tunables), "kept in mj_derived");

static shape shape_of(const mj_derived *derived)
{
    shape s;
    memcpy(&s, derived->tunables, sizeof s);
    return s;
}

/* Blocks of the depth have scales of their own: products of a step are scaled before they are added. */
static bool scales_steps(const mj_kernel_desc *desc)
{
    return strcmp(desc->scheme->input_scale_kind, "group") == 0;
}

/* gemm1 reads tokens where they lie: its boxes are of rows that a first pass has sorted. */
static bool sorts(const mj_kernel_desc *desc, const shape *s)
{
    return desc->op == MJ_OP_GEMM1 && s->input_load == LOAD_BY_BOXES;
}

static uint32_t element_bytes(const mj_kernel_desc *desc)
{
    return desc->scheme->weight_bits <= 8 ? 1 : 2;
}

/* Rows of wgmma's M and N. */
static uint32_t rows_m(const shape *s)
{
    return s->orientation == WEIGHTS_ARE_M ? s->tile_n : s->tile_m;
}

static uint32_t rows_n(const shape *s)
{
    return s->orientation == WEIGHTS_ARE_M ? s->tile_m : s->tile_n;
}

/* Warpgroups that share a tile. */
static uint32_t groups(const shape *s)
{
    return s->schedule == IN_TURNS ? 1 : s->consumers;
}

static uint32_t accumulators(const shape *s)
{
    return rows_m(s) / (GROUP_ROWS * groups(s)) * rows_n(s) / 2;
}

/* Registers of consumers and producers after setmaxnreg: a whole warpgroup of producers gives up what the consumers take. Sums stay
 * within the 64 Ki of a multiprocessor (PTX ISA, "setmaxnreg"; the pairs are those of published kernels). */
typedef struct register_split {
    uint32_t consumers, gather, by_gather, by_boxes;
} register_split;
static const register_split register_splits[] = {{1, 96, 232, 240}, {2, 56, 224, 240}, {3, 56, 152, 160}};

static void split_registers(const shape *s, uint32_t *consumer, uint32_t *producer)
{
    *consumer = *producer = 0;
    for (size_t i = 0; i < sizeof register_splits / sizeof register_splits[0]; i++) {
        const register_split *row = &register_splits[i];
        if (s->producers == 4 && s->blocks_per_sm == 1 && row->consumers == s->consumers) {
            bool gather = s->input_load == LOAD_BY_GATHER;
            *consumer = gather ? row->by_gather : row->by_boxes;
            *producer = gather ? row->gather : 24;
            if (!gather && s->consumers == 3) {
                *producer = 32;
            }
        }
    }
}

static uint32_t most_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* What a consumer's thread needs; fitted to what NVRTC 13 uses. */
static uint32_t consumer_need(const shape *s, bool scaled_steps)
{
    uint32_t passes = (uint32_t)mj_ceil_div((uint64_t)s->tile_m * (s->step_bytes / 16),
                                            32 * (uint64_t)most_u32(s->producers, 2) - 32);
    uint32_t producer = s->input_load == LOAD_BY_GATHER ? 40 + passes : 40;
    uint32_t consumer = accumulators(s) * (scaled_steps ? 2 : 1) + (scaled_steps ? 56 : 40);
    return consumer > producer ? consumer : producer;
}

/* Of every thread at launch: with setmaxnreg an even share of what is handed out later. */
static uint32_t estimate_registers(const shape *s, uint32_t threads, bool scaled_steps)
{
    uint32_t consumer = 0, producer = 0;
    split_registers(s, &consumer, &producer);
    uint32_t share = GROUP_THREADS * (s->consumers * consumer + producer) / (threads ? threads : 1) / 8 * 8;
    return consumer ? share : consumer_need(s, scaled_steps);
}

/* 2D maps of both operands: all experts' weights are one array of experts * n rows. */
static void add_maps(const mj_kernel_desc *desc, const shape *s, mj_derived *out)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    uint32_t bytes = element_bytes(desc);
    mj_tensor_map_rule map = {
        .name = "weights_map",
        .source = MJ_ARG_WEIGHTS,
        .element_bytes = bytes,
        .row_elements = gemm.k,
        .row_unit = MJ_ROWS_FIXED,
        .rows = (uint64_t)desc->problem->expert_count * gemm.n,
        .box_rows = s->tile_n / s->cluster,
        .box_elements = ATOM_BYTES / bytes,
        .swizzle_bytes = ATOM_BYTES,
    };
    out->tensor_maps[out->tensor_map_count++] = map;
    if (s->input_load == LOAD_BY_BOXES) {
        snprintf(map.name, sizeof map.name, "input_map");
        map.source = sorts(desc, s) ? MJ_ARG_PARTIALS : MJ_ARG_INPUT;
        map.row_unit = MJ_ROWS_PAIRS;
        map.rows = 1;
        map.box_rows = s->tile_m;
        out->tensor_maps[out->tensor_map_count++] = map;
    }
}

typedef struct layout { /* of shared memory */
    uint64_t input, out, out_bytes, full, end;
} layout;

static layout lay_out(const shape *s, uint32_t experts)
{
    layout l;
    l.input = (uint64_t)s->stages * s->tile_n * s->step_bytes;
    l.out = l.input + (uint64_t)s->stages * s->tile_m * s->step_bytes;
    l.out_bytes = s->orientation == WEIGHTS_ARE_M ? (uint64_t)s->tile_m * 2 * OUT_ROWS : OUT_ROWS * OUT_SLAB_BYTES;
    l.full = l.out + 4 * s->consumers * l.out_bytes;
    l.end = l.full + 2 * (uint64_t)(s->stages + 1) * BARRIER_BYTES + sizeof(int32_t) * (2 * (uint64_t)experts + 1);
    return l;
}

static uint32_t stages_that_fit(const shape *s, const mj_kernel_desc *desc)
{
    const mj_arch *arch = desc->arch;
    shape none = *s;
    none.stages = 0;
    uint64_t share = arch->smem_sm_bytes / s->blocks_per_sm, fixed = lay_out(&none, desc->problem->expert_count).end;
    share = share > arch->smem_block_reserved_bytes ? share - arch->smem_block_reserved_bytes : 0;
    share = share < arch->smem_block_bytes_max ? share : arch->smem_block_bytes_max;
    uint64_t stage = ((uint64_t)s->tile_m + s->tile_n) * s->step_bytes + 2 * BARRIER_BYTES;
    uint64_t count = share > fixed ? (share - fixed) / stage : 0;
    return count < STAGES_MAX ? (uint32_t)count : STAGES_MAX;
}

static mj_status read_shape(const mj_kernel_desc *desc, shape *out, mj_error *error)
{
    const mj_tunable_slot slots[] = {
        {"tile_m", &out->tile_m},
        {"tile_n", &out->tile_n},
        {"orientation", &out->orientation},
        {"input_load", &out->input_load},
        {"step_bytes", &out->step_bytes},
        {"consumers", &out->consumers},
        {"schedule", &out->schedule},
        {"producers", &out->producers},
        {"cluster", &out->cluster},
        {"group_m", &out->group_m},
        {"blocks_per_sm", &out->blocks_per_sm},
    };
    mj_status status = mj_family_read(desc, slots, sizeof slots / sizeof slots[0], error);
    if (status == MJ_OK) {
        out->stages = stages_that_fit(out, desc);
    }
    return status;
}

static void add_vars(const mj_kernel_desc *desc, const shape *s, const layout *l, mj_derived *out)
{
    uint32_t consumer = 0, producer = 0, last = rows_n(s) / 2 - 1;
    split_registers(s, &consumer, &producer);
    const struct {
        const char *name;
        int64_t value;
    } vars[] = {
        {"stages", s->stages},
        {"smem_input", (int64_t)l->input},
        {"smem_out", (int64_t)l->out},
        {"out_bytes", (int64_t)l->out_bytes},
        {"smem_full", (int64_t)l->full},
        {"element_bytes", element_bytes(desc)},
        {"sorts", sorts(desc, s)},
        {"early", desc->op == MJ_OP_GEMM2 || sorts(desc, s)},
        {"regs_consumer", consumer},
        {"regs_producer", producer},
        {"m_blocks", rows_m(s) / (GROUP_ROWS * groups(s))},
        {"weight_box_rows", s->tile_n / s->cluster},
        {"wgmma_n", rows_n(s)},
        {"wgmma_last", last},
        {"wgmma_a", last + 1},
        {"wgmma_b", last + 2},
        {"wgmma_p", last + 3},
    };
    for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++) {
        mj_derived_var(out, vars[i].name, vars[i].value);
    }
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    shape s = {0};
    mj_status status = read_shape(desc, &s, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    layout l = lay_out(&s, desc->problem->expert_count);
    uint64_t threads = (uint64_t)GROUP_THREADS * s.consumers + 32 * (uint64_t)s.producers;
    uint64_t n_tiles = mj_ceil_div(gemm.n, s.tile_n), rows = (uint64_t)s.tile_m * s.cluster;
    if (l.end > UINT32_MAX || threads > UINT32_MAX || n_tiles * s.cluster > UINT32_MAX || rows > UINT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of wgmma: the tile's sizes do not fit 32 bits");
    }
    memcpy(out->tunables, &s, sizeof s);
    out->block_threads = (uint32_t)threads;
    out->smem_bytes = (uint32_t)l.end;
    out->regs_estimate = estimate_registers(&s, out->block_threads, scales_steps(desc));
    out->blocks_per_sm_min = s.blocks_per_sm;
    out->tile_m = (uint32_t)rows;
    out->tile_n = s.tile_n;
    out->n_tiles = (uint32_t)n_tiles;
    out->split_k = 1;
    out->k_tiles_per_split = (uint32_t)mj_ceil_div(gemm.k, most_u32(s.step_bytes / element_bytes(desc), 1));
    out->pointer_align_bytes = POINTER_ALIGN_BYTES;
    out->dependent_launch = true;
    if (sorts(desc, &s)) {
        out->first_pass = true;
        out->first_grid = (mj_grid_rule){.unit = MJ_GRID_PAIRS, .per_block = 1, .factor = 1};
        out->pair_scratch_bytes = gemm.k * element_bytes(desc);
    }
    out->grid = (mj_grid_rule){.unit = MJ_GRID_TILES,
                               .per_block = (uint32_t)rows,
                               .factor = (uint32_t)(n_tiles * s.cluster),
                               .blocks_per_sm_max = s.blocks_per_sm};
    mj_derived_occupancy(out, desc->arch);
    add_maps(desc, &s, out);
    add_vars(desc, &s, &l, out);
    return MJ_OK;
}

/* ---- Rules ---- */

static bool at_most(double value, double most, double *measured, double *limit)
{
    *measured = value;
    *limit = most;
    return value <= most;
}

static bool holds_zero(uint64_t rest, double *measured, double *limit)
{
    return at_most((double)rest, 0, measured, limit);
}

static bool wgmma_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    return holds_zero(rows_m(&s) % (GROUP_ROWS * groups(&s)), measured, limit);
}

static bool wgmma_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    uint32_t n = rows_n(&s), step = s.orientation == TOKENS_ARE_M ? 16 : 8; /* 16: a pair of stored matrices */
    if (n > WGMMA_N_MAX) {
        return at_most(n, WGMMA_N_MAX, measured, limit);
    }
    return holds_zero(n % step, measured, limit);
}

static bool choices(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    return at_most(most_u32(most_u32(s.orientation, s.input_load), s.schedule), 2, measured, limit);
}

static bool swizzle_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    const uint32_t rows = SWIZZLE_ALIGN / ATOM_BYTES; /* a stage begins on a whole swizzle pattern */
    return holds_zero(s.tile_m % rows + s.tile_n % (rows * s.cluster), measured, limit);
}

static bool box_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    uint32_t weights = s.tile_n / s.cluster, input = s.input_load == LOAD_BY_BOXES ? s.tile_m : 0;
    return at_most(weights > input ? weights : input, BOX_ROWS_MAX, measured, limit);
}

static bool row_strides(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    uint64_t bytes = (uint64_t)mj_problem_gemm(desc->problem, desc->op).k * element_bytes(desc);
    return holds_zero(bytes % 16, measured, limit);
}

static bool columns_aligned(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    return holds_zero(mj_problem_gemm(desc->problem, desc->op).n % 8, measured, limit);
}

static bool map_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    return at_most((double)derived->tensor_maps[0].rows, INT32_MAX, measured, limit) && desc;
}

static bool step_depth(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    uint32_t bytes = shape_of(derived).step_bytes;
    if (bytes > STEP_BYTES_MAX) {
        return at_most(bytes, STEP_BYTES_MAX, measured, limit);
    }
    return holds_zero(bytes < ATOM_BYTES ? 1 : bytes & (bytes - 1), measured, limit);
}

static bool scale_of_step(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    *measured = shape_of(derived).step_bytes / (double)element_bytes(desc);
    *limit = desc->scheme->input_group_k;
    return !scales_steps(desc) || (*measured == *limit && desc->scheme->scale.group_k == desc->scheme->input_group_k);
}

static bool scale_of_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    shape s = shape_of(derived);
    uint32_t group = desc->scheme->scale.group_n, columns = s.orientation == WEIGHTS_ARE_M ? GROUP_ROWS : s.tile_n;
    if (!scales_steps(desc) || group == 0) {
        return holds_zero(0, measured, limit);
    }
    return holds_zero(columns < group ? group % columns : columns % group, measured, limit);
}

static bool stages_fit(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    *measured = shape_of(derived).stages;
    *limit = STAGES_MIN;
    return *measured >= *limit;
}

static bool cluster_size(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    return at_most(shape_of(derived).cluster, 2, measured, limit);
}

static bool turns_of_two(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    *measured = s.consumers;
    *limit = 2;
    return s.schedule != IN_TURNS || s.consumers == 2;
}

static bool producer_warps(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    uint32_t producers = shape_of(derived).producers;
    if (producers < 2) {
        *measured = producers;
        *limit = 2;
        return false;
    }
    return at_most(producers, 4, measured, limit);
}

/* setmaxnreg.inc waits until the block's own pool, what it was launched with, has enough: more than that is a wait for ever. */
static bool register_pool(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    shape s = shape_of(derived);
    uint32_t consumer = 0, producer = 0;
    split_registers(&s, &consumer, &producer);
    uint32_t at_launch = derived->block_threads ? desc->arch->regs_sm / derived->block_threads / 8 * 8 : 0;
    at_launch = at_launch < desc->arch->regs_thread_max ? at_launch : desc->arch->regs_thread_max / 8 * 8;
    return at_most(consumer ? (double)GROUP_THREADS * (s.consumers * consumer + producer) : 0,
                   (double)at_launch * derived->block_threads, measured, limit);
}

static bool consumer_registers(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    shape s = shape_of(derived);
    uint32_t consumer = 0, producer = 0;
    split_registers(&s, &consumer, &producer);
    uint32_t warps = (uint32_t)mj_ceil_div((uint64_t)derived->block_threads * s.blocks_per_sm, 4 * 32);
    uint32_t fair = desc->arch->regs_sm / 4 / 32 / (warps ? warps : 1) / 8 * 8; /* of the fullest of four schedulers */
    uint32_t most = consumer ? consumer : fair < desc->arch->regs_thread_max ? fair : desc->arch->regs_thread_max;
    return at_most(consumer_need(&s, scales_steps(desc)), most, measured, limit);
}

static bool scheduler_experts(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    return at_most((double)mj_ceil_div(desc->problem->expert_count, desc->arch->warp_size), LANE_EXPERTS_MAX, measured,
                   limit);
}

static const mj_family_rule rules[] = {
    {"choices", "orientation, input_load and schedule are 1 or 2", choices},
    {"wgmma_rows", "rows of wgmma's M left over by warpgroups of whole 64-row blocks", wgmma_rows},
    {"wgmma_columns", "wgmma's N: at most 256, a multiple of 8 (of 16 where it runs along the output's columns)",
     wgmma_columns},
    {"swizzle_rows", "rows of a stage left over by the 8 rows of a swizzle pattern, in each block's part",
     swizzle_rows},
    {"box_rows", "rows of one box of the copy engine", box_rows},
    {"row_strides", "bytes of a row left over by 16-byte chunks: strides of tensor maps are multiples of 16",
     row_strides},
    {"columns_aligned", "output columns left over by 16-byte stores", columns_aligned},
    {"map_rows", "rows of all experts' weights in one tensor map", map_rows},
    {"step_depth", "bytes of K in a step: 128, 256 or 512", step_depth},
    {"scale_of_step", "elements of K in a step: as many as share a scale", scale_of_step},
    {"scale_of_columns", "columns left over by blocks that share a scale", scale_of_columns},
    {"stages_fit", "steps of the ring that fit the block's share of shared memory; fewer than 3 do not overlap",
     stages_fit},
    {"cluster_size", "blocks of a cluster", cluster_size},
    {"turns_of_two", "warpgroups that take turns", turns_of_two},
    {"producer_warps", "warps that load: one for weights, one to three for input rows", producer_warps},
    {"register_pool", "registers handed out by setmaxnreg, of those that the block is launched with", register_pool},
    {"consumer_registers", "estimated registers of a consumer's thread", consumer_registers},
    {"scheduler_experts", "experts counted by one lane of the tile scheduler", scheduler_experts},
};

/* ---- Time ----
 * One launch is the larger of two flows (memory and L2; the multiprocessors' steps and stores) and a share of the smaller. Fitted to
 * 5700 timings of bf16 on an H200: Mixtral-8x7B TP2, both GEMMs, 1 to 4096 tokens, and DeepSeek-V3 TP8 at 4096. */
static const struct {
    double fixed_us, early_gain_us; /* launch, offsets, first bytes, drain; saved where weights do not wait */
    double latency_us, flow_gain;   /* as family_mma.c */
    double memory_share, l2_gain;   /* of the bandwidth given; of L2 over memory */
    double matrix_gain;             /* of a full pipe over the vendor's product, whose power limit it does not meet */
    double small_n;                 /* columns of wgmma that cost as much again */
    double gather_us;               /* 16-byte chunk of a lane */
    double tile_us, store_us;       /* of a tile; of 1000 outputs */
    double turn_share;              /* of the last turn's idle slots that is lost */
    double overlap_loss, alone;     /* of the smaller flow; a single warpgroup's step */
    double cluster_loss;
    double first_pass_us;
    double guess; /* schedules without enough timings behind them */
} model = {
    .fixed_us = 5.0,
    .early_gain_us = 2.5,
    .latency_us = 0.976,
    .flow_gain = 1.25,
    .memory_share = 0.972,
    .l2_gain = 1.962,
    .matrix_gain = 1.136,
    .small_n = 23.5,
    .gather_us = 0.0158,
    .tile_us = 0.388,
    .store_us = 0.038,
    .turn_share = 0.787,
    .overlap_loss = 0.123,
    .alone = 0.956,
    .cluster_loss = 0.498,
    .first_pass_us = 2,
    .guess = 1.03,
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

typedef struct work {               /* of one launch */
    double sms, tiles, slots, busy; /* busy: blocks at work on a multiprocessor */
    double steps, element_bytes, memory_rate;
} work;

/* Row tiles of an expert walked one after another find its weights in L2 only if they are small, or walked together. */
static double weight_passes(const mj_kernel_desc *desc, const mj_derived *d, const shape *s, const work *w,
                            const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double expert_bytes = (double)gemm.n * gemm.k * w->element_bytes;
    double tiles = w->tiles / d->n_tiles / most(load->active_experts, 1);
    double together = most(s->group_m, w->slots / d->n_tiles);
    return expert_bytes > device->l2_bytes / 2 ? most(1, tiles / together) : 1;
}

static double flow_us(const mj_kernel_desc *desc, const mj_derived *d, const shape *s, const work *w,
                      const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double input_rows = desc->op == MJ_OP_GEMM1 ? load->input_rows : load->row_count;
    double weights = load->active_experts * gemm.n * gemm.k * weight_passes(desc, d, s, w, device, load);
    double bytes = (weights + input_rows * gemm.k) * w->element_bytes + load->row_count * gemm.n * 2;
    double step_bytes = ((double)s->tile_m + s->tile_n) * s->step_bytes;
    double in_flight = (s->stages - 1.0) * step_bytes * least(s->blocks_per_sm, w->tiles / w->sms);
    double share = in_flight / (in_flight + w->memory_rate / w->sms * model.latency_us);
    double l2_bytes = w->tiles * w->steps * (s->tile_m + (double)s->tile_n / s->cluster) * s->step_bytes;
    return most(bytes / (w->memory_rate * least(1, share * model.flow_gain)),
                l2_bytes / (w->memory_rate * model.l2_gain));
}

static double matrix_us(const shape *s, const work *w, const mj_device_shape *device)
{
    double peak = device->matrix_tflops * 1e6 / w->sms * model.matrix_gain * (w->element_bytes == 1 ? 2 : 1);
    double n = rows_n(s), depth = s->step_bytes / w->element_bytes;
    double multiply = 2.0 * rows_m(s) * n * depth / peak * (1 + model.small_n / n);
    double lanes = most(s->producers - 1.0, 1) * 32;
    double gather = s->input_load == LOAD_BY_GATHER ? s->tile_m * (s->step_bytes / 16.0) / lanes * model.gather_us : 0;
    bool alone = s->consumers * w->busy < 1.5;
    double step = most(multiply * (alone ? model.alone : w->busy), gather);
    double store = model.tile_us + model.store_us * s->tile_m * s->tile_n / 1000;
    double turns = w->tiles / w->slots;
    turns = turns <= 1 ? 1 : model.turn_share * ceil(turns) + (1 - model.turn_share) * turns;
    double tile = w->steps * step + store * (w->busy > 1.5 ? 0.5 * w->busy : 1);
    return turns * tile * (s->cluster > 1 ? 1 + model.cluster_loss : 1);
}

static double estimate_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device,
                          const mj_load *load)
{
    shape s = shape_of(d);
    work w = {.sms = most(device->sm_count, 1),
              .tiles = mj_load_row_tiles(load, s.tile_m * s.cluster) * s.cluster * d->n_tiles,
              .steps = d->k_tiles_per_split,
              .element_bytes = element_bytes(desc),
              .memory_rate = device->memory_gbps * 1e3 * model.memory_share};
    w.slots = w.sms * s.blocks_per_sm;
    w.busy = least(s.blocks_per_sm, most(w.tiles / w.sms, 1));
    double flow = flow_us(desc, d, &s, &w, device, load), matrix = matrix_us(&s, &w, device);
    double us = device->launch_us + model.fixed_us + most(flow, matrix) + model.overlap_loss * least(flow, matrix);
    if (desc->op == MJ_OP_GEMM2 || sorts(desc, &s)) {
        us -= model.early_gain_us;
    }
    if (sorts(desc, &s)) {
        us += model.first_pass_us + 2 * load->row_count * d->pair_scratch_bytes / w.memory_rate;
    }
    bool guessed = s.schedule == IN_TURNS || s.step_bytes > ATOM_BYTES;
    return us * (guessed ? model.guess : 1);
}

const mj_family mj_family_wgmma = {
    .name = "wgmma",
    .derive = derive,
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .estimate_us = estimate_us,
};
