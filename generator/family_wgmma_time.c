/* family_wgmma_time.c: expected time of templates/wgmma.tmpl. */
#include <math.h>

#include "family_wgmma.h"

/* ---- Time ----
 * One launch is the larger of two flows (memory; the multiprocessors' tiles) and a share of the smaller. Fitted to 3100 timings of an
 * H200 (Mixtral-8x7B TP2, DeepSeek-V3 TP8, Qwen3-30B-A3B; bf16, fp8 by tensor and in blocks; 1 to 4096 tokens), then to 11,000 of sweeps
 * over whole spaces of 60 such cells, stage_loss, step_turn_us, tail_loss and latency_us to 15,000 of 87. memory_share and l2_gain were
 * held near what earlier timings said: these tell them from other constants too little. Timings are of launches in a row. There counting
 * saves 2 us, in a layer less: counted_gain_us is what leaves the layers' best in front. */
static const struct {
    double fixed_us;                          /* launch, offsets, first bytes, drain */
    double early_gain_us, counted_gain_us;    /* saved where weights do not wait; where they do not as pairs are few */
    double latency_us, flow_gain, stage_loss; /* as family_mma.c */
    double memory_share, l2_gain;             /* of the bandwidth given; of L2 over memory */
    double matrix_gain;       /* of a full pipe over the vendor's product, whose power limit it does not meet */
    double gather_us;         /* 16-byte chunk of a lane */
    double decode_us;         /* of 1000 codes */
    double decode_warp_us;    /* of a warp and 64 elements of the depth */
    double step_loss;         /* of a step's parts but the longest: products, reads of L2, gathering */
    double step_turn_us;      /* of a step, whatever it holds: its barriers */
    double scale_wait_us;     /* of a step that is scaled: its scales and products are waited for */
    double scale_sum_us;      /* per sum of a lane, all consumers' together: they share the schedulers */
    double scale_row_us;      /* per row and warpgroup, where rows run along a lane's sums: scales are read for each */
    double tile_us, store_us; /* of a tile; of 1000 outputs */
    double act_us;            /* of 1000 activations of a warpgroup */
    double combine_us;   /* of a tile whose rows are counted: four ways to L2 and back; guessed, no timing was there */
    double turn_share;   /* of the last turn's idle slots that is lost */
    double tail_loss;    /* of the bandwidth, for one turn of several: the last is not full, or is shared */
    double overlap_loss; /* of the smaller flow */
    double cluster_loss; /* of a tile */
    double first_pass_us;
    double share_us, share_loss; /* of blocks that share tiles: joining the parts; of a tile */
} model = {
    .fixed_us = 3.48,
    .early_gain_us = 3.29,
    .counted_gain_us = 1.6,
    .latency_us = 1.3,
    .flow_gain = 1.45,
    .stage_loss = 1.5,
    .memory_share = 0.972,
    .l2_gain = 3,
    .matrix_gain = 1.42,
    .gather_us = 0.0039,
    .decode_us = 0.015,
    .decode_warp_us = 0.0096,
    .step_loss = 0.5,
    .step_turn_us = 0.001,
    .scale_wait_us = 0.07,
    .scale_sum_us = 0.000845,
    .scale_row_us = 0.0011,
    .tile_us = 0.379,
    .store_us = 0.0692,
    .act_us = 0.783,
    .combine_us = 2.5,
    .turn_share = 0.9,
    .tail_loss = 0.1,
    .overlap_loss = 0.13,
    .cluster_loss = 0.03,
    .first_pass_us = 1.65,
    .share_us = 5.14,
    .share_loss = 0.106,
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
    double weight_bytes; /* of a weight in memory, with its scales if it is decoded */
    double rows;         /* of a tile that are computed */
} work;

/* How often an expert's weights come from memory. Its row tiles find them in L2 if they are small, or if blocks at work on the same
 * ones keep in step: what all blocks read in the time of a tile is more than L2 holds where the depth is great. */
static double weight_passes(const mj_kernel_desc *desc, const mj_derived *d, const wgmma_shape *s, const work *w,
                            const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double expert_bytes = (double)gemm.n * gemm.k * w->weight_bytes;
    double tiles = most(1, w->tiles / d->n_tiles / most(load->active_experts, 1));
    double together = least(tiles, most(s->group_m, w->slots / d->n_tiles));
    double at_work_bytes = w->slots / together * s->tile_n * gemm.k * w->weight_bytes;
    double passes = expert_bytes > device->l2_bytes / 2 ? tiles / together : 1;
    return passes + most(0, 1 - device->l2_bytes / at_work_bytes) * (tiles - passes);
}

static double memory_us(const mj_kernel_desc *desc, const mj_derived *d, const wgmma_shape *s, const work *w,
                        const mj_device_shape *device, const mj_load *load)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    bool again = load->input_rows * gemm.k * w->element_bytes > device->l2_bytes / 2; /* the next expert misses L2 */
    double input_rows = mj_op_is_gemm1(desc->op) && !again ? load->input_rows : load->row_count;
    double weights = load->active_experts * gemm.n * gemm.k * weight_passes(desc, d, s, w, device, load);
    double bytes =
        weights * w->weight_bytes + input_rows * gemm.k * w->element_bytes + load->row_count * gemm.out_n * 2;
    double step_bytes = (double)s->tile_m * s->step_bytes + s->tile_n * (double)wgmma_weight_bytes(desc, s);
    double in_flight = (s->stages - model.stage_loss) * step_bytes * least(s->blocks_per_sm, w->parts / w->sms);
    double share = in_flight / (in_flight + w->memory_rate / w->sms * model.latency_us);
    double tail = w->tiles > w->slots ? model.tail_loss * w->slots / w->tiles : 0;
    return bytes / (w->memory_rate * least(1, share * model.flow_gain)) * (1 + tail);
}

static double groups_of(const wgmma_shape *s) /* warpgroups that share a tile */
{
    return s->schedule == IN_TURNS ? 1 : s->consumers;
}

/* Products are waited for, scaled and added, 128 bytes of the depth after the other. */
static double scaled_step_us(const wgmma_shape *s, const work *w)
{
    double runs = s->step_bytes / (double)WGMMA_ATOM_BYTES;
    double sums = w->rows * s->tile_n / 128;
    double rows = s->orientation == WEIGHTS_ARE_M ? w->rows * groups_of(s) : 0;
    return runs * (model.scale_wait_us + w->busy * (model.scale_sum_us * sums + model.scale_row_us * rows));
}

/* Codes are decoded while products of earlier ones are under way. Not measured: what the compiler writes for a warp and 64 elements of
 * the depth (of two bytes each), 70 instructions for every 16 rows and 45 more, at two thirds of what four schedulers issue. */
static double decode_step_us(const wgmma_shape *s)
{
    double depth = s->step_bytes / 2.0, warps = 4 * groups_of(s);
    return model.decode_us * s->tile_n * depth / 1000 + model.decode_warp_us * warps * depth / 64;
}

/* Of all blocks at work on a multiprocessor. */
static double step_us(const mj_kernel_desc *desc, const wgmma_shape *s, const work *w, const mj_device_shape *device)
{
    double peak = device->matrix_tflops * 1e6 / w->sms * model.matrix_gain * (w->element_bytes == 1 ? 2 : 1);
    double depth = s->step_bytes / w->element_bytes;
    double multiply = w->busy * 2.0 * w->rows * s->tile_n * depth / peak;
    if (wgmma_decodes(desc)) {
        multiply = most(multiply, w->busy * decode_step_us(s));
    }
    if (wgmma_scales_steps(desc)) {
        multiply = most(multiply, scaled_step_us(s, w));
    }
    double read_bytes = w->busy * ((double)s->tile_m / wgmma_cluster_columns(s) * s->step_bytes +
                                   (double)s->tile_n / wgmma_cluster_rows(s) * (double)wgmma_weight_bytes(desc, s));
    double read = read_bytes / (w->memory_rate * model.l2_gain / w->sms);
    double lanes = most(s->producers - 1.0, 1) * 32;
    double gather = s->input_load == LOAD_BY_GATHER ? s->tile_m * (s->step_bytes / 16.0) / lanes * model.gather_us : 0;
    double longest = most(multiply, most(read, gather));
    return longest + model.step_loss * (multiply + read + gather - longest);
}

static double tiles_us(const mj_kernel_desc *desc, const wgmma_shape *s, const work *w, const mj_device_shape *device)
{
    double output_us = model.store_us + (desc->op == MJ_OP_GEMM1_ACT ? model.act_us / groups_of(s) : 0);
    double store =
        model.tile_us + output_us * w->tile_outputs / 1000 + (mj_op_combines(desc->op) ? model.combine_us : 0);
    double turns = w->tiles / w->slots, loss = s->cluster > 1 ? model.cluster_loss : 0;
    if (s->schedule == SHARED) {
        turns = most(turns, w->tiles / w->parts);
        loss = model.share_loss;
    } else {
        turns = turns <= 1 ? 1 : model.turn_share * ceil(turns) + (1 - model.turn_share) * turns;
    }
    bool half_hidden = s->schedule == IN_TURNS || w->busy > 1.5; /* another warpgroup or block multiplies meanwhile */
    double tile = w->steps * step_us(desc, s, w, device) + store * (half_hidden ? 0.5 * w->busy : 1);
    return turns * tile * (1 + loss);
}

/* Of sharing the last turn: parts are written, and read by whoever comes last. */
static double share_us(const wgmma_shape *s, const work *w)
{
    double rest = w->tiles - floor(w->tiles / w->slots) * w->slots, parts = rest + least(w->slots, w->parts);
    double bytes = 2 * sizeof(float) * parts * s->tile_m * s->tile_n;
    return rest > 0 ? model.share_us + bytes / (w->memory_rate * model.l2_gain) : 0;
}

static double weight_bytes(const mj_kernel_desc *desc)
{
    const mj_scheme *scheme = desc->scheme;
    double group = scheme->scale.group_k ? scheme->scale.group_k : mj_problem_gemm(desc->problem, desc->op).k;
    double of_group = 2 + (scheme->zero.format[0] ? 0.5 : 0);
    return wgmma_decodes(desc) ? scheme->weight_bits / 8.0 + of_group / group : wgmma_element_bytes(desc);
}

double wgmma_estimate_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device,
                         const mj_load *load)
{
    wgmma_shape s = wgmma_shape_of(d);
    double row_tiles =
        most(mj_load_row_tiles(load, d->tile_m), 1); /* of a cluster's blocks together; 1: no row, or few */
    work w = {.sms = most(device->sm_count, 1),
              .tiles = row_tiles * ceil((double)d->n_tiles / wgmma_cluster_columns(&s)) * s.cluster,
              .steps = d->k_tiles_per_split,
              .element_bytes = wgmma_element_bytes(desc),
              .weight_bytes = weight_bytes(desc),
              .memory_rate = device->memory_gbps * 1e3 * model.memory_share,
              .tile_outputs = (double)s.tile_m * s.tile_n / wgmma_parts(desc)};
    w.rows = wgmma_computed_rows(desc, &s, load->row_count / (row_tiles * wgmma_cluster_rows(&s)));
    w.slots = w.sms * s.blocks_per_sm;
    w.parts = w.tiles * (s.schedule == SHARED ? most(d->k_tiles_per_split / UNIT_STEPS, 1) : 1);
    w.busy = least(s.blocks_per_sm, most(w.parts / w.sms, 1));
    double memory = memory_us(desc, d, &s, &w, device, load), tiles = tiles_us(desc, &s, &w, device);
    memory += mj_op_combines(desc->op) ? model.combine_us : 0; /* of the last tile */
    double us = device->launch_us + model.fixed_us + most(memory, tiles) + model.overlap_loss * least(memory, tiles);
    us += model.step_turn_us * w.steps * most(1, w.tiles / w.slots);
    if (wgmma_early(desc, &s)) {
        us -= model.early_gain_us;
    } else if ((uint64_t)load->token_count * desc->problem->top_k <= wgmma_counted_pairs(desc, &s)) {
        us -= model.counted_gain_us;
    }
    if (wgmma_sorts(desc, &s)) {
        us += model.first_pass_us + 2 * load->row_count * d->pair_scratch_bytes / w.memory_rate;
    }
    if (s.schedule == SHARED) {
        us += share_us(&s, &w);
    }
    if (mj_op_combines(desc->op)) { /* rows of pairs come from L2, rows of tokens go to memory */
        double row_bytes = d->pair_scratch_bytes;
        us += row_bytes * (load->row_count / model.l2_gain + load->token_count) / w.memory_rate;
    }
    return us;
}
