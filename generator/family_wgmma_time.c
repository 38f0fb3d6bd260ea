/* family_wgmma_time.c: expected time of templates/wgmma.tmpl. */
#include <math.h>

#include "family_wgmma.h"

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
    /* Guesses about sharing the last turn, which no GPU has run: joining a tile's parts; a last turn so full needs no sharing; what
     * sharing costs in one that is less full and in one that is. They keep it behind what was measured, unless it gains much. */
    double share_us, share_full, share_loss, share_idle;
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
    .share_us = 2,
    .share_full = 0.8,
    .share_loss = 1.08,
    .share_idle = 1.15,
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
    double parts;                   /* pieces of work that blocks can take: tiles, or units of their depth */
    double steps, element_bytes, memory_rate, tile_outputs;
} work;

/* Row tiles of an expert walked one after another find its weights in L2 only if they are small, or walked together. */
static double weight_passes(const mj_kernel_desc *desc, const mj_derived *d, const wgmma_shape *s, const work *w,
                            const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double expert_bytes = (double)gemm.n * gemm.k * w->element_bytes;
    double tiles = w->tiles / d->n_tiles / most(load->active_experts, 1);
    double together = most(s->group_m, w->slots / d->n_tiles);
    return expert_bytes > device->l2_bytes / 2 ? most(1, tiles / together) : 1;
}

static double flow_us(const mj_kernel_desc *desc, const mj_derived *d, const wgmma_shape *s, const work *w,
                      const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double input_rows = mj_op_is_gemm1(desc->op) ? load->input_rows : load->row_count;
    double weights = load->active_experts * gemm.n * gemm.k * weight_passes(desc, d, s, w, device, load);
    double bytes = (weights + input_rows * gemm.k) * w->element_bytes + load->row_count * gemm.out_n * 2;
    double step_bytes = ((double)s->tile_m + s->tile_n) * s->step_bytes;
    double in_flight = (s->stages - 1.0) * step_bytes * least(s->blocks_per_sm, w->parts / w->sms);
    double share = in_flight / (in_flight + w->memory_rate / w->sms * model.latency_us);
    double l2_bytes = w->tiles * w->steps * (s->tile_m + (double)s->tile_n / s->cluster) * s->step_bytes;
    return most(bytes / (w->memory_rate * least(1, share * model.flow_gain)),
                l2_bytes / (w->memory_rate * model.l2_gain));
}

static double matrix_us(const wgmma_shape *s, const work *w, const mj_device_shape *device)
{
    double peak = device->matrix_tflops * 1e6 / w->sms * model.matrix_gain * (w->element_bytes == 1 ? 2 : 1);
    double n = wgmma_rows_n(s), depth = s->step_bytes / w->element_bytes;
    double multiply = 2.0 * wgmma_rows_m(s) * n * depth / peak * (1 + model.small_n / n);
    double lanes = most(s->producers - 1.0, 1) * 32;
    double gather = s->input_load == LOAD_BY_GATHER ? s->tile_m * (s->step_bytes / 16.0) / lanes * model.gather_us : 0;
    bool alone = s->consumers * w->busy < 1.5;
    double step = most(multiply * (alone ? model.alone : w->busy), gather);
    double store = model.tile_us + model.store_us * w->tile_outputs / 1000;
    double turns = w->tiles / w->slots;
    if (s->schedule == SHARED) {
        turns = most(turns, w->tiles / w->parts);
    } else {
        turns = turns <= 1 ? 1 : model.turn_share * ceil(turns) + (1 - model.turn_share) * turns;
    }
    double tile = w->steps * step + store * (w->busy > 1.5 ? 0.5 * w->busy : 1);
    return turns * tile * (s->cluster > 1 ? 1 + model.cluster_loss : 1);
}

/* Of sharing the last turn: parts are written, and read by whoever comes last. */
static double share_us(const wgmma_shape *s, const work *w)
{
    double rest = w->tiles - floor(w->tiles / w->slots) * w->slots, parts = rest + least(w->slots, w->parts);
    double bytes = 2 * sizeof(float) * parts * s->tile_m * s->tile_n;
    return rest > 0 ? model.share_us + bytes / (w->memory_rate * model.l2_gain) : 0;
}

/* How full the last turn is without sharing. */
static double last_turn(const work *w)
{
    double turns = w->tiles / w->slots, last = turns - floor(turns);
    return last > 0 ? last : 1;
}

double wgmma_estimate_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device,
                         const mj_load *load)
{
    wgmma_shape s = wgmma_shape_of(d);
    work w = {.sms = most(device->sm_count, 1),
              .tiles = mj_load_row_tiles(load, s.tile_m * s.cluster) * s.cluster * d->n_tiles,
              .steps = d->k_tiles_per_split,
              .element_bytes = wgmma_element_bytes(desc),
              .memory_rate = device->memory_gbps * 1e3 * model.memory_share,
              .tile_outputs = (double)s.tile_m * s.tile_n / wgmma_parts(desc)};
    w.slots = w.sms * s.blocks_per_sm;
    w.parts = w.tiles * (s.schedule == SHARED ? most(d->k_tiles_per_split / UNIT_STEPS, 1) : 1);
    w.busy = least(s.blocks_per_sm, most(w.parts / w.sms, 1));
    double flow = flow_us(desc, d, &s, &w, device, load), matrix = matrix_us(&s, &w, device);
    double us = device->launch_us + model.fixed_us + most(flow, matrix) + model.overlap_loss * least(flow, matrix);
    if (desc->op == MJ_OP_GEMM2 || wgmma_sorts(desc, &s)) {
        us -= model.early_gain_us;
    }
    if (wgmma_sorts(desc, &s)) {
        us += model.first_pass_us + 2 * load->row_count * d->pair_scratch_bytes / w.memory_rate;
    }
    if (s.schedule == SHARED) {
        us = (us + share_us(&s, &w)) * (last_turn(&w) < model.share_full ? model.share_loss : model.share_idle);
    }
    bool guessed = s.schedule == IN_TURNS || s.step_bytes > WGMMA_ATOM_BYTES || desc->op == MJ_OP_GEMM1_ACT;
    return us * (guessed ? model.guess : 1);
}
