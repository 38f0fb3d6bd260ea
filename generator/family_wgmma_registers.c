/* family_wgmma_registers.c: registers of templates/wgmma.tmpl's threads: how setmaxnreg shares them out, and what each needs. */
#include "family_wgmma.h"

#include "checked.h"

enum { TURNS_MIN = 8 }; /* steps of a tile whose warpgroups wait for each other */

/* What a producer's thread needs; this and the next fitted to what NVRTC 13 uses without spilling. */
uint32_t wgmma_producer_need(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    uint32_t passes = (uint32_t)mj_ceil_div((uint64_t)s->tile_m * (s->step_bytes / 16),
                                            32 * (uint64_t)wgmma_most(s->producers, 2) - 32);
    uint32_t many = wgmma_decodes(desc) && passes > 12 ? 2 * (passes - 12) : 0;
    bool scales = wgmma_scales_steps(desc); /* copies them too */
    if (s->input_load == LOAD_BY_BOXES) {
        return s->schedule == SHARED ? 40 : scales ? 32 : 24; /* dealing out depth divides */
    }
    bool deep = s->step_bytes > WGMMA_ATOM_BYTES && s->tile_m > 64;
    uint32_t beside = scales ? 2 + (s->cluster > 1 ? 1 : 0) + (deep ? 1 : 0) : 0;
    many += s->producers == 4 && passes + beside > 16 ? 12 : 0; /* no register is left to compute an address in */
    many += scales ? 3 : 0;
    return 45 + passes + many + (s->cluster > 1 ? 2 : 0) + (s->schedule == SHARED ? 1 : 0);
}

/* Registers of consumers and producers after setmaxnreg: a whole warpgroup of producers gives up what the consumers take. Sums stay
 * within the 64 Ki of a multiprocessor (PTX ISA, "setmaxnreg"; the pairs are those of published kernels). */
typedef struct register_split {
    uint32_t consumers, input_load, of_consumer, of_producer;
} register_split;
static const register_split register_splits[] = {
    {1, LOAD_BY_BOXES, 240, 24},  {1, LOAD_BY_BOXES, 240, 40}, {1, LOAD_BY_GATHER, 232, 96},
    {2, LOAD_BY_BOXES, 240, 24},  {2, LOAD_BY_BOXES, 232, 40}, {2, LOAD_BY_GATHER, 224, 56},
    {2, LOAD_BY_GATHER, 216, 72},
};

/* Of those for the shape the first that gives producers what they need, else the last. */
void wgmma_split_registers(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t *consumer, uint32_t *producer)
{
    uint32_t need = wgmma_producer_need(desc, s);
    *consumer = *producer = 0;
    for (size_t i = 0; i < sizeof register_splits / sizeof register_splits[0]; i++) {
        const register_split *row = &register_splits[i];
        bool fits = s->producers == 4 && s->blocks_per_sm == 1 && row->consumers == s->consumers &&
                    row->input_load == s->input_load;
        if (fits && *producer < need) {
            *consumer = row->of_consumer;
            *producer = row->of_producer;
        }
    }
}

/* Of such activations the compiler keeps the constants of erf or tanh at hand. */
static bool holds_constants(mj_activation activation)
{
    return activation == MJ_ACT_GELU || activation == MJ_ACT_GELU_TANH;
}

/* What the activation adds, which works on several values at a time. */
static uint32_t activation_need(const mj_kernel_desc *desc)
{
    return mj_op_activates(desc->op) && holds_constants(desc->problem->activation) ? 52 : 0;
}

/* What quantising adds: a run of values, where the activation's constants or several blocks of scaled sums are held beside it; where
 * each sum is a value, half of them at once. */
static uint32_t codes_need(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    if (desc->op != MJ_OP_GEMM1_QUANTISE) {
        return 0;
    }
    if (holds_constants(desc->problem->activation)) {
        return 24;
    }
    if (wgmma_parts(desc) == 1) {
        return wgmma_accumulators(s) / 2;
    }
    return wgmma_scales_steps(desc) && wgmma_blocks_m(s) > 1 ? 16 : 0;
}

/* What counting and adding rows takes beside what is held for the next tile. */
static uint32_t combine_need(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    uint32_t need = wgmma_scales_steps(desc) ? 48 : s->orientation == TOKENS_ARE_M ? 40 : 24;
    need += strcmp(desc->scheme->input_scale_kind, "token") == 0 ? 8 : 0;
    need += s->orientation == TOKENS_ARE_M && wgmma_blocks_m(s) > 2 ? 12 : 0;
    return mj_op_combines(desc->op) ? need : 0;
}

/* Each output column has a value of its own, beside or in place of the expert's. */
static bool has_column_values(const mj_kernel_desc *desc)
{
    return desc->problem->bias || strcmp(desc->scheme->input_scale_kind, "token") == 0;
}

/* What the sums of tiles whose rows are wgmma's columns take beside themselves: of heights that are no multiple of 32 the compiler
 * wastes some; fp8's are scaled, which costs more where columns have values of their own. */
static uint32_t heights_need(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    if (s->orientation == TOKENS_ARE_M || s->tile_m < 80 || wgmma_two_levels(desc, s)) {
        return 0;
    }
    bool odd = s->tile_m % 32 == 16, bytes = wgmma_element_bytes(desc) == 1;
    if (bytes && has_column_values(desc)) {
        return s->tile_m > 192 ? 26 : odd || s->tile_m >= 144 ? 16 : 5;
    }
    if (bytes && s->tile_m == 112) {
        return 14;
    }
    if (bytes && s->tile_m == 80 && wgmma_blocks_m(s) > 2) {
        return 7;
    }
    return odd ? 2 + (has_column_values(desc) ? 1 : 0) : 0;
}

/* Products of a step that are added alone, and what adding them takes. Those of gate and up have scales of their own; where they have
 * none, rows run along N and more is held for each. */
static uint32_t parts_need(const mj_kernel_desc *desc, const wgmma_shape *s, wgmma_step_parts parts)
{
    bool scaled = wgmma_scales_steps(desc), parted = parts.columns < wgmma_rows_n(s);
    uint32_t products = parts.held * parts.columns / 2, blocks = wgmma_blocks_m(s);
    uint32_t loaders = scaled && s->producers < 4 ? 4 : 0; /* no setmaxnreg: their addresses count */
    uint32_t gated = scaled && mj_op_activates(desc->op) && wgmma_parts(desc) == 2 ? 12 : 0;
    if (parts.held == 2) {
        uint32_t weighted = mj_op_is_gemm2(desc->op) ? 8 : 0, beside = scaled ? 0 : 9;
        beside += scaled && s->step_bytes > WGMMA_ATOM_BYTES ? 6 : 0;
        beside += gated && s->step_bytes > 2 * WGMMA_ATOM_BYTES ? 28 : 0;
        return products + gated + weighted + beside + loaders + (blocks > 3 ? 24 : 0) - 9;
    }
    return products + (parted ? 0 : gated) + 12 * blocks + loaders + (scaled ? 0 : 33) - 29;
}

/* What a consumer's thread may have. */
uint32_t wgmma_consumer_most(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads)
{
    uint32_t consumer = 0, producer = 0;
    wgmma_split_registers(desc, s, &consumer, &producer);
    uint32_t warps = (uint32_t)mj_ceil_div((uint64_t)threads * s->blocks_per_sm, 4 * 32);
    uint32_t fair = desc->arch->regs_sm / 4 / 32 / wgmma_most(warps, 1) / 8 * 8; /* of the fullest of four schedulers */
    return consumer ? consumer : fair < desc->arch->regs_thread_max ? fair : desc->arch->regs_thread_max;
}

/* Rows that a lane knows about. */
static uint32_t row_slots(const wgmma_shape *s)
{
    return s->orientation == WEIGHTS_ARE_M ? (uint32_t)mj_ceil_div(s->tile_m, 32) : wgmma_blocks_m(s);
}

/* What a consumer's thread needs. Where output columns run along a thread's sums, values of a column (bias, scale) are held for all
 * blocks of rows at once. */
uint32_t wgmma_consumer_need(const mj_kernel_desc *desc, const wgmma_shape *s, wgmma_step_parts parts)
{
    uint32_t need = wgmma_accumulators(s) + (wgmma_two_levels(desc, s) ? parts_need(desc, s, parts) : 0) + 40;
    if (s->orientation == TOKENS_ARE_M && has_column_values(desc)) {
        need += wgmma_blocks_m(s) > 1 ? 20 + 12 * wgmma_blocks_m(s) : 4;
    }
    need += mj_op_is_gemm2(desc->op) ? row_slots(s) - 1 : 0; /* where each is stored */
    need += s->producers == 4 && s->input_load == LOAD_BY_GATHER ? 1 : 0;
    bool of_codes = wgmma_element_bytes(desc) == 1 && desc->op == MJ_OP_GEMM1 && s->orientation == TOKENS_ARE_M;
    uint32_t scheduled = s->schedule == IN_TURNS ? 4 : s->schedule == SHARED ? 12 + (of_codes ? 14 : 0) : 0;
    return need + heights_need(desc, s) + activation_need(desc) + codes_need(desc, s) + combine_need(desc, s) +
           wgmma_decode_need(desc, s) + scheduled;
}

/* The widest of which two fit: the products of one are under way while the other's are scaled. Not where the depth varies. Scales of
 * rows, where these run along N, are read for each part, so only output columns are parted. Where neither two nor all columns fit:
 * halves one at a time, else four parts in turns, which read more of shared memory. */
wgmma_step_parts wgmma_parts_of_step(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads)
{
    uint32_t width = wgmma_rows_n(s), most = wgmma_consumer_most(desc, s, threads);
    uint32_t narrowest = s->orientation == TOKENS_ARE_M ? PART_COLUMNS_MIN : width;
    wgmma_step_parts whole = {1, width}, half = {1, width / 2};
    if (!wgmma_two_levels(desc, s) || s->schedule == SHARED) {
        return whole;
    }
    bool parted = half.columns >= narrowest && half.columns % 16 == 0 && wgmma_consumer_need(desc, s, whole) > most;
    bool halved = parted && wgmma_consumer_need(desc, s, half) <= most;
    for (uint32_t columns = width; columns >= narrowest && columns % 16 == 0; columns /= 2) {
        wgmma_step_parts parts = {2, columns};
        uint32_t count = wgmma_blocks_m(s) * (width / columns), count_most = parted && !halved ? 4 : 2;
        if (count <= count_most && wgmma_consumer_need(desc, s, parts) <= most) {
            return parts;
        }
    }
    return parted ? half : whole;
}

/* Two warpgroups that share a tile, one part at a time each: they start them in turn, so that one's are scaled while the other's are
 * multiplied. Left alone they fall into step, and the tensor cores wait for both. Measured: 2 to 4 % of deep tiles whose rows are wgmma's
 * M; even where weights are, and 3 % lost where there are two steps. */
bool wgmma_parts_in_turn(const mj_kernel_desc *desc, const wgmma_shape *s, wgmma_step_parts parts)
{
    uint64_t depth_bytes = (uint64_t)mj_problem_gemm(desc->problem, desc->op).k * wgmma_element_bytes(desc);
    bool pair = s->schedule == TOGETHER && s->consumers == 2 && s->orientation == TOKENS_ARE_M;
    return wgmma_scales_steps(desc) && pair && parts.held == 1 && depth_bytes >= (uint64_t)TURNS_MIN * s->step_bytes;
}

/* Where they fit: the rows of the next tile, beside those of the one that is stored. In turns the wait for one's own hides their loads. */
bool wgmma_rows_ahead(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads)
{
    uint32_t need = wgmma_consumer_need(desc, s, wgmma_parts_of_step(desc, s, threads)) + 8 + row_slots(s);
    return s->schedule != IN_TURNS && need <= wgmma_consumer_most(desc, s, threads);
}

/* Of every thread at launch: with setmaxnreg an even share of what is handed out later. */
uint32_t wgmma_estimate_registers(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads)
{
    uint32_t consumer = 0, producer = 0;
    wgmma_split_registers(desc, s, &consumer, &producer);
    uint32_t share = WGMMA_GROUP_THREADS * (s->consumers * consumer + producer) / (threads ? threads : 1) / 8 * 8;
    return consumer ? share
                    : wgmma_most(wgmma_consumer_need(desc, s, wgmma_parts_of_step(desc, s, threads)),
                                 wgmma_producer_need(desc, s));
}
