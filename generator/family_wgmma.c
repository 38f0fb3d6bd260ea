/* family_wgmma.c: sizes and limits of templates/wgmma.tmpl. */
#include "family_wgmma.h"

#include "checked.h"

#include <stdio.h>
#include <string.h>

enum {
    STEP_BYTES_MAX = 512,
    WGMMA_N_MAX = 256,
    BOX_ROWS_MAX = 256,
    SWIZZLE_ALIGN = 1024,
    BARRIER_BYTES = 8,
    OUT_ROWS = 16, /* of a warp's part of an accumulator block */
    OUT_SLAB_BYTES = 128,
    STORE_ROWS = 32,     /* rows of a tile are staged by so many: a lane for each */
    STORE_ROWS_MAX = 64, /* of one turn: more take registers, for addresses and values made ahead */
    CODE_GROUP = 128,    /* columns that half a warp quantises at a time, and that may share a scale */
    CODE_PAD_BYTES = 16, /* behind a row that is to be quantised: rows are read and written across banks */
    LANE_EXPERTS_MAX = 32,
    POINTER_ALIGN_BYTES = 16,
    TURN_ROWS = 8, /* of gate, then of up: a swizzle pattern, and the rows of a thread's neighbours in a fragment */
    STAGES_MIN = 3,
    STAGES_MAX = 24,
};

/* A tile has gate and up in turns of 8 and memory has them in order, or the other way round. */
static bool regroups(const mj_kernel_desc *desc)
{
    return (wgmma_parts(desc) == 2) != (mj_layout_turn_rows(desc->problem, desc->op) != 0);
}

/* 8 rows, gate or up, groups of 8 columns, experts: boxes reach no further than the last column. */
static void regroup_rows(const mj_kernel_desc *desc, mj_tensor_map_rule *map)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    uint32_t parts = wgmma_parts(desc), turns = map->box_rows / (parts * TURN_ROWS), columns = gemm.n / 2;
    uint32_t part_stride = gemm.turn_rows ? gemm.turn_rows : columns;
    uint32_t turn_stride = gemm.turn_rows ? 2 * gemm.turn_rows : TURN_ROWS;
    map->rows = map->box_rows = TURN_ROWS;
    map->axis_count = 3;
    map->axes[0] = (mj_tensor_axis){.count = 2, .stride_rows = part_stride, .box = parts};
    map->axes[1] = (mj_tensor_axis){.count = columns / TURN_ROWS, .stride_rows = turn_stride, .box = turns};
    map->axes[2] = (mj_tensor_axis){.count = desc->problem->expert_count, .stride_rows = gemm.n, .box = 1};
}

/* 2D maps of both operands: all experts' weights are one array of experts * n rows. */
static void add_maps(const mj_kernel_desc *desc, const wgmma_shape *s, mj_derived *out)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    uint32_t bytes = wgmma_element_bytes(desc);
    bool decodes = wgmma_decodes(desc); /* then a map of bytes, of which one box has a step's */
    uint32_t codes_bytes = decodes ? (uint32_t)wgmma_weight_bytes(desc, s) : WGMMA_ATOM_BYTES;
    mj_tensor_map_rule map = {
        .name = "weights_map",
        .source = MJ_ARG_WEIGHTS,
        .element_bytes = decodes ? 1 : bytes,
        .row_elements = decodes ? (uint32_t)((uint64_t)gemm.k * desc->scheme->weight_bits / 8) : gemm.k,
        .row_unit = MJ_ROWS_FIXED,
        .rows = (uint64_t)desc->problem->expert_count * gemm.n,
        .box_rows = s->tile_n / wgmma_most(wgmma_cluster_rows(s), 1),
        .box_elements = codes_bytes / (decodes ? 1 : bytes),
        .swizzle_bytes = codes_bytes,
    };
    out->tensor_maps[out->tensor_map_count++] = map;
    if (regroups(desc)) {
        regroup_rows(desc, &out->tensor_maps[0]);
    }
    if (s->input_load == LOAD_BY_BOXES) {
        snprintf(map.name, sizeof map.name, "input_map");
        map.element_bytes = bytes;
        map.row_elements = gemm.k;
        map.box_elements = WGMMA_ATOM_BYTES / bytes;
        map.swizzle_bytes = WGMMA_ATOM_BYTES;
        map.source = wgmma_sorts(desc, s) ? MJ_ARG_PARTIALS : MJ_ARG_INPUT;
        map.row_unit = MJ_ROWS_PAIRS;
        map.rows = 1;
        map.box_rows = s->tile_m / wgmma_most(wgmma_cluster_columns(s), 1);
        out->tensor_maps[out->tensor_map_count++] = map;
    }
}

typedef struct layout { /* of shared memory */
    uint64_t input, out, out_bytes, scales, full, end;
} layout;

/* Of values that wait to be quantised: all columns of a tile where they come from several warps, else those of a group. */
static uint32_t code_pitch(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    return 2 * (s->orientation == WEIGHTS_ARE_M ? s->tile_n / wgmma_parts(desc) : CODE_GROUP) + CODE_PAD_BYTES;
}

static layout lay_out(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    layout l;
    uint32_t experts = desc->problem->expert_count;
    l.input = (uint64_t)s->stages * s->tile_n * wgmma_weight_bytes(desc, s);
    l.out = l.input + (uint64_t)s->stages * s->tile_m * s->step_bytes;
    l.out_bytes = s->orientation == WEIGHTS_ARE_M ? (uint64_t)s->out_rows * 2 * OUT_ROWS : OUT_ROWS * OUT_SLAB_BYTES;
    if (mj_op_writes_codes(desc->op)) {
        uint64_t rows = s->orientation == WEIGHTS_ARE_M ? s->tile_m : (uint64_t)4 * OUT_ROWS * wgmma_groups(s);
        l.out_bytes = rows * code_pitch(desc, s) / (4 * wgmma_groups(s));
    }
    l.scales = l.out + 4 * s->consumers * l.out_bytes;
    l.full = l.scales + s->stages * wgmma_scale_bytes(desc, s);
    l.end = l.full + 2 * (uint64_t)(s->stages + 1) * BARRIER_BYTES + sizeof(int32_t) * (2 * (uint64_t)experts + 1);
    return l;
}

/* A block's share of shared memory. */
static uint64_t smem_share(const wgmma_shape *s, const mj_kernel_desc *desc)
{
    const mj_arch *arch = desc->arch;
    uint64_t share = arch->smem_sm_bytes / s->blocks_per_sm;
    share = share > arch->smem_block_reserved_bytes ? share - arch->smem_block_reserved_bytes : 0;
    return share < arch->smem_block_bytes_max ? share : arch->smem_block_bytes_max;
}

/* Stages first, with the fewest rows of what goes out; these then take what no stage fills. */
static void fill_smem(wgmma_shape *s, const mj_kernel_desc *desc)
{
    uint64_t share = smem_share(s, desc);
    uint64_t stage = (uint64_t)s->tile_m * s->step_bytes + s->tile_n * wgmma_weight_bytes(desc, s) +
                     wgmma_scale_bytes(desc, s) + 2 * BARRIER_BYTES;
    s->stages = 0;
    s->out_rows = s->tile_m < STORE_ROWS ? s->tile_m : STORE_ROWS;
    uint64_t fixed = lay_out(desc, s).end, stages = share > fixed ? (share - fixed) / stage : 0;
    s->stages = stages < STAGES_MAX ? (uint32_t)stages : STAGES_MAX;
    uint64_t used = lay_out(desc, s).end,
             rows_bytes = (uint64_t)4 * wgmma_most(s->consumers, 1) * STORE_ROWS * 2 * OUT_ROWS;
    uint64_t rows = s->out_rows + (share > used ? (share - used) / rows_bytes * STORE_ROWS : 0);
    rows = rows < STORE_ROWS_MAX ? rows : STORE_ROWS_MAX;
    s->out_rows = rows < s->tile_m ? (uint32_t)rows : s->tile_m;
}

static mj_status read_shape(const mj_kernel_desc *desc, wgmma_shape *out, mj_error *error)
{
    const mj_tunable_slot slots[] = {
        {"tile_m", &out->tile_m},         {"tile_n", &out->tile_n},         {"orientation", &out->orientation},
        {"input_load", &out->input_load}, {"step_bytes", &out->step_bytes}, {"consumers", &out->consumers},
        {"schedule", &out->schedule},     {"producers", &out->producers},   {"cluster", &out->cluster},
        {"cluster_of", &out->cluster_of}, {"group_m", &out->group_m},       {"blocks_per_sm", &out->blocks_per_sm},
    };
    mj_status status = mj_family_read(desc, slots, sizeof slots / sizeof slots[0], error);
    if (status == MJ_OK) {
        fill_smem(out, desc);
    }
    return status;
}

static void add_vars(const mj_kernel_desc *desc, const wgmma_shape *s, const layout *l, mj_derived *out)
{
    wgmma_step_parts parts = wgmma_parts_of_step(desc, s, out->block_threads);
    uint32_t consumer = 0, producer = 0, last = parts.columns / 2 - 1, height[WGMMA_HEIGHTS_MAX];
    uint32_t heights = wgmma_heights(desc, s, parts.columns, height);
    bool in_turn = wgmma_parts_in_turn(desc, s, parts);
    wgmma_split_registers(desc, s, &consumer, &producer);
    const struct {
        const char *name;
        int64_t value;
    } vars[] = {
        {"stages", s->stages},
        {"smem_input", (int64_t)l->input},
        {"smem_out", (int64_t)l->out},
        {"out_bytes", (int64_t)l->out_bytes},
        {"out_rows", s->out_rows},
        {"smem_scales", (int64_t)l->scales},
        {"smem_full", (int64_t)l->full},
        {"code_pitch", mj_op_writes_codes(desc->op) ? code_pitch(desc, s) : 0},
        {"element_bytes", wgmma_element_bytes(desc)},
        {"sorts", wgmma_sorts(desc, s)},
        {"early", wgmma_early(desc, s)},
        {"counted_pairs", wgmma_counted_pairs(desc, s)},
        {"lanes_copy", s->input_load == LOAD_BY_GATHER || wgmma_scales_steps(desc)},
        {"gated_tile", wgmma_parts(desc) == 2},
        {"regroups", regroups(desc)},
        {"regs_consumer", consumer},
        {"regs_producer", producer},
        {"m_blocks", wgmma_blocks_m(s)},
        {"weight_box_rows", s->tile_n / wgmma_most(wgmma_cluster_rows(s), 1)},
        {"cluster_rows", wgmma_cluster_rows(s)},
        {"wgmma_n", parts.columns},
        {"heights", heights},
        {"even_rows", heights > 1},
        {"wgmma_last", last},
        {"wgmma_a", last + 1},
        {"wgmma_b", last + 2},
        {"wgmma_p", last + 3},
        {"wgmma_a1", last + 4},
        {"wgmma_a2", last + 5},
        {"wgmma_a3", last + 6},
        {"a_registers", wgmma_decodes(desc)},
        {"weight_row", wgmma_decodes(desc) ? (int64_t)wgmma_weight_bytes(desc, s) : WGMMA_ATOM_BYTES},
        {"units", out->k_tiles_per_split / UNIT_STEPS},
        {"two_levels", wgmma_two_levels(desc, s)},
        {"scale_columns", wgmma_scale_columns(desc, s)},
        {"row_parts", out->counters_per_token},
        {"parts_held", parts.held},
        {"parts_in_turn", in_turn},
        {"ordered", in_turn || s->schedule == IN_TURNS},
        {"rows_ahead", wgmma_rows_ahead(desc, s, out->block_threads)},
    };
    for (size_t i = 0; i < sizeof vars / sizeof vars[0]; i++) {
        mj_derived_var(out, vars[i].name, vars[i].value);
    }
    static const char *const names[WGMMA_HEIGHTS_MAX][2] = {
        {"height_0", "height_last_0"},
        {"height_1", "height_last_1"},
        {"height_2", "height_last_2"},
        {"height_3", "height_last_3"},
    };
    for (uint32_t i = 0; i < heights; i++) {
        mj_derived_var(out, names[i][0], height[i]);
        mj_derived_var(out, names[i][1], height[i] / 2 - 1); /* the last sum of a thread */
    }
}

/* A block for every unit of the depth, as many as are resident, and two parts of tiles for each. */
static mj_status share(const wgmma_shape *s, mj_derived *out, mj_error *error)
{
    uint64_t blocks = (uint64_t)out->grid.factor * wgmma_most(out->k_tiles_per_split / UNIT_STEPS, 1);
    uint64_t bytes = 2 * (uint64_t)s->tile_m * s->tile_n * sizeof(float);
    if (blocks > UINT32_MAX || bytes > INT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of wgmma: the parts' sizes do not fit 32 bits");
    }
    out->grid.factor = (uint32_t)blocks;
    out->partial_block_bytes = (uint32_t)bytes;
    out->counters_per_block = s->consumers * (WGMMA_GROUP_THREADS / 32);
    return MJ_OK;
}

/* A row for each pair, and a counter for every part of a token's row that one warp stores: see wgmma_store_rows.tmpl. */
static mj_status count_rows(const wgmma_shape *s, uint64_t columns, uint32_t out_n, mj_derived *out, mj_error *error)
{
    uint64_t tiles = columns * wgmma_most(wgmma_cluster_columns(s), 1);
    uint64_t parts = tiles * (s->orientation == WEIGHTS_ARE_M ? wgmma_groups(s) : 1) *
                     (s->orientation == WEIGHTS_ARE_M && s->schedule == SHARED ? 4 : 1),
             bytes = 2 * (uint64_t)out_n;
    if (parts > INT32_MAX || bytes > INT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of wgmma: the parts of a row do not fit 32 bits");
    }
    out->counters_per_token = (uint32_t)parts;
    out->pair_scratch_bytes = (uint32_t)bytes;
    return MJ_OK;
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    wgmma_shape s = {0};
    mj_status status = read_shape(desc, &s, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    layout l = lay_out(desc, &s);
    uint64_t threads = (uint64_t)WGMMA_GROUP_THREADS * s.consumers + 32 * (uint64_t)s.producers;
    uint64_t n_tiles = mj_ceil_div(gemm.n, s.tile_n), rows = (uint64_t)s.tile_m * wgmma_cluster_rows(&s);
    uint64_t columns = mj_ceil_div(n_tiles, wgmma_most(wgmma_cluster_columns(&s), 1));
    if (l.end > UINT32_MAX || threads > UINT32_MAX || n_tiles * s.cluster > UINT32_MAX || rows > UINT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of wgmma: the tile's sizes do not fit 32 bits");
    }
    memcpy(out->tunables, &s, sizeof s);
    out->block_threads = (uint32_t)threads;
    out->smem_bytes = (uint32_t)l.end;
    out->regs_estimate = wgmma_estimate_registers(desc, &s, out->block_threads);
    out->blocks_per_sm_min = s.blocks_per_sm;
    out->tile_m = (uint32_t)rows;
    out->tile_n = s.tile_n;
    out->n_tiles = (uint32_t)n_tiles;
    out->split_k = 1;
    out->k_tiles_per_split = (uint32_t)mj_ceil_div(gemm.k, wgmma_most(s.step_bytes / wgmma_element_bytes(desc), 1));
    out->pointer_align_bytes = POINTER_ALIGN_BYTES;
    out->dependent_launch = true;
    if (wgmma_sorts(desc, &s)) {
        out->first_pass = true;
        out->first_grid = (mj_grid_rule){.unit = MJ_GRID_PAIRS, .per_block = 1, .factor = 1};
        out->pair_scratch_bytes = gemm.k * wgmma_element_bytes(desc);
    }
    out->grid = (mj_grid_rule){.unit = MJ_GRID_TILES,
                               .per_block = (uint32_t)rows,
                               .factor = (uint32_t)(columns * s.cluster),
                               .blocks_per_sm_max = s.blocks_per_sm};
    status = s.schedule == SHARED ? share(&s, out, error) : MJ_OK;
    if (status == MJ_OK && mj_op_combines(desc->op)) {
        status = count_rows(&s, columns, gemm.out_n, out, error);
    }
    mj_derived_occupancy(out, desc->arch);
    add_maps(desc, &s, out);
    add_vars(desc, &s, &l, out);
    return status;
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
    wgmma_shape s = wgmma_shape_of(derived);
    return holds_zero(wgmma_rows_m(&s) % (WGMMA_GROUP_ROWS * wgmma_groups(&s)), measured, limit);
}

static bool wgmma_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    uint32_t n = wgmma_rows_n(&s);
    uint32_t step = s.orientation == TOKENS_ARE_M ? 16 * wgmma_parts(desc) : 8; /* 16: a pair of stored matrices */
    if (n > WGMMA_N_MAX) {
        return at_most(n, WGMMA_N_MAX, measured, limit);
    }
    return holds_zero(n % step, measured, limit);
}

static bool choices(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    if (s.schedule > SHARED) {
        return at_most(s.schedule, SHARED, measured, limit);
    }
    return at_most(wgmma_most(s.orientation, s.input_load), 2, measured, limit);
}

static bool swizzle_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    wgmma_shape s = wgmma_shape_of(derived);
    const uint32_t rows = SWIZZLE_ALIGN / WGMMA_ATOM_BYTES; /* a stage begins on a whole swizzle pattern */
    return holds_zero(s.tile_m % (rows * wgmma_cluster_columns(&s)) +
                          s.tile_n % (rows * wgmma_parts(desc) * wgmma_cluster_rows(&s)),
                      measured, limit);
}

static bool box_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    uint32_t weights = s.tile_n / wgmma_most(wgmma_cluster_rows(&s), 1);
    uint32_t input = s.input_load == LOAD_BY_BOXES ? s.tile_m / wgmma_most(wgmma_cluster_columns(&s), 1) : 0;
    return at_most(weights > input ? weights : input, BOX_ROWS_MAX, measured, limit);
}

static bool row_strides(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    uint64_t k = mj_problem_gemm(desc->problem, desc->op).k, bits = k * desc->scheme->weight_bits;
    uint64_t left = k * wgmma_element_bytes(desc) % 16;
    return holds_zero(left ? left : mj_ceil_div(bits % (8 * 16), 8), measured, limit);
}

static bool columns_aligned(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    return holds_zero(mj_problem_gemm(desc->problem, desc->op).out_n % 8, measured, limit);
}

static bool turns_as_tiles(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    uint32_t turn = mj_layout_turn_rows(desc->problem, desc->op), tile_n = wgmma_shape_of(derived).tile_n;
    if (turn && turn != TURN_ROWS) {
        return at_most(turn, TURN_ROWS, measured, limit);
    }
    return holds_zero(turn && regroups(desc) && tile_n ? desc->problem->intermediate % tile_n : 0, measured, limit);
}

static bool map_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    double rows = (double)desc->problem->expert_count * mj_problem_gemm(desc->problem, desc->op).n;
    return at_most(rows, INT32_MAX, measured, limit);
}

static bool step_depth(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    uint32_t bytes = wgmma_shape_of(derived).step_bytes;
    if (bytes > STEP_BYTES_MAX) {
        return at_most(bytes, STEP_BYTES_MAX, measured, limit);
    }
    return holds_zero(bytes < WGMMA_ATOM_BYTES ? 1 : bytes & (bytes - 1), measured, limit);
}

static bool codes_of_groups(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    wgmma_shape s = wgmma_shape_of(derived);
    uint32_t group = desc->scheme->input_group_k;
    if (desc->op != MJ_OP_GEMM1_QUANTISE || !wgmma_scales_steps(desc)) {
        return holds_zero(0, measured, limit);
    }
    return holds_zero(group == CODE_GROUP ? s.tile_n / wgmma_parts(desc) % CODE_GROUP : group, measured, limit);
}

static bool codes_alone(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    wgmma_shape s = wgmma_shape_of(derived);
    bool together = desc->op == MJ_OP_GEMM1_QUANTISE && s.orientation == WEIGHTS_ARE_M;
    return at_most(together && s.schedule == SHARED ? 4 * wgmma_groups(&s) : 1, 1, measured, limit);
}

static bool stages_fit(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    *measured = wgmma_shape_of(derived).stages;
    *limit = STAGES_MIN;
    return *measured >= *limit;
}

static bool cluster_size(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    return at_most(wgmma_shape_of(derived).cluster, 2, measured, limit);
}

/* Gathered rows come through each block's own warps. */
static bool cluster_of_boxes(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    if (s.cluster_of < SHARE_WEIGHTS || s.cluster_of > SHARE_INPUT) {
        *measured = s.cluster_of;
        *limit = SHARE_INPUT;
        return false;
    }
    return at_most(s.cluster_of, s.cluster > 1 && s.input_load == LOAD_BY_BOXES ? SHARE_INPUT : SHARE_WEIGHTS, measured,
                   limit);
}

/* Each has a named barrier of its own (mj_warpgroup_sync, wgmma_store.tmpl). */
static bool consumers_known(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    return at_most(wgmma_shape_of(derived).consumers, 2, measured, limit);
}

static bool turns_of_two(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    *measured = s.consumers;
    *limit = 2;
    return s.schedule != IN_TURNS || s.consumers == 2;
}

static bool shared_alone(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    return at_most(s.schedule == SHARED ? s.cluster : 1, 1, measured, limit);
}

static bool shared_depth(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    wgmma_shape s = wgmma_shape_of(derived);
    *measured = derived->k_tiles_per_split / UNIT_STEPS;
    *limit = 2;
    return s.schedule != SHARED || *measured >= *limit;
}

static bool producer_warps(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    uint32_t producers = wgmma_shape_of(derived).producers;
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
    wgmma_shape s = wgmma_shape_of(derived);
    uint32_t consumer = 0, producer = 0;
    wgmma_split_registers(desc, &s, &consumer, &producer);
    uint32_t at_launch = derived->block_threads ? desc->arch->regs_sm / derived->block_threads / 8 * 8 : 0;
    at_launch = at_launch < desc->arch->regs_thread_max ? at_launch : desc->arch->regs_thread_max / 8 * 8;
    return at_most(consumer ? (double)WGMMA_GROUP_THREADS * (s.consumers * consumer + producer) : 0,
                   (double)at_launch * derived->block_threads, measured, limit);
}

static bool consumer_registers(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    wgmma_shape s = wgmma_shape_of(derived);
    uint32_t consumer = 0, producer = 0;
    wgmma_split_registers(desc, &s, &consumer, &producer);
    uint32_t need = wgmma_consumer_need(desc, &s, wgmma_parts_of_step(desc, &s, derived->block_threads));
    return at_most(consumer ? need : wgmma_most(need, wgmma_producer_need(desc, &s)),
                   wgmma_consumer_most(desc, &s, derived->block_threads), measured, limit);
}

static bool producer_registers(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    wgmma_shape s = wgmma_shape_of(derived);
    uint32_t consumer = 0, producer = 0;
    wgmma_split_registers(desc, &s, &consumer, &producer);
    return at_most(consumer ? wgmma_producer_need(desc, &s) : 0, producer, measured, limit);
}

static bool scheduler_experts(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    return at_most((double)mj_ceil_div(desc->problem->expert_count, desc->arch->warp_size), LANE_EXPERTS_MAX, measured,
                   limit);
}

static const mj_family_rule rules[] = {
    {"choices", "orientation and input_load are 1 or 2, schedule is 1 to 3", choices},
    {"wgmma_rows", "rows of wgmma's M left over by warpgroups of whole 64-row blocks", wgmma_rows},
    {"wgmma_columns",
     "wgmma's N: at most 256, a multiple of 8 (of 16 where it runs along the output's columns, of 32 with gate and up)",
     wgmma_columns},
    {"swizzle_rows",
     "rows of a stage left over by the 8 rows of a swizzle pattern (two for gate and up), in each block's part",
     swizzle_rows},
    {"box_rows", "rows of one box of the copy engine", box_rows},
    {"row_strides", "bytes of a row left over by 16-byte chunks: strides of tensor maps are multiples of 16",
     row_strides},
    {"columns_aligned", "output columns left over by 16-byte stores", columns_aligned},
    {"turns_as_tiles",
     "gate rows left over by tiles of one part, where gate and up lie in turns (of 8) and gemm1 writes them in order",
     turns_as_tiles},
    {"map_rows", "rows of all experts' weights in one tensor map", map_rows},
    {"step_depth", "bytes of K in a step: 128, 256 or 512", step_depth},
    {"scale_of_run", "elements in 128 bytes of K: as many as share a scale", wgmma_scale_of_run},
    {"scale_of_columns",
     "columns by which up's scales are shifted from gate's, or scales of a step: a thread holds six (one where weight "
     "rows are wgmma's M)",
     wgmma_scale_of_columns},
    {"codes_of_groups", "columns of a tile left over by groups of 128 that share a scale of what is written",
     codes_of_groups},
    {"codes_alone",
     "warps that quantise rows together where blocks share tiles: each warp goes on in the block that completes its "
     "part",
     codes_alone},
    {"codes_known", "bits of a code: decoded are those that count by steps, in words of 8, with scales by row",
     wgmma_codes_known},
    {"codes_are_m", "orientation of weights that are decoded: registers can hold wgmma's M alone", wgmma_codes_are_m},
    {"codes_of_plain_gemms",
     "ops that go on with sums of decoded, rounded weights: gate times up is past the tolerance, others are untried",
     wgmma_codes_of_plain_gemms},
    {"codes_in_order",
     "rows of gate, then of up, in turns: those of decoded weights are read in the order of their scales",
     wgmma_codes_in_order},
    {"codes_groups", "depth that shares a scale, where weights are decoded 64 elements at a time", wgmma_codes_groups},
    {"stages_fit", "steps of the ring that fit the block's share of shared memory; fewer than 3 do not overlap",
     stages_fit},
    {"cluster_size", "blocks of a cluster", cluster_size},
    {"cluster_of_boxes", "what a cluster shares: weights, or input rows (2) where they come in boxes",
     cluster_of_boxes},
    {"consumers_known", "warpgroups that multiply", consumers_known},
    {"turns_of_two", "warpgroups that take turns", turns_of_two},
    {"shared_alone", "blocks of a cluster where blocks share tiles: each goes its own way", shared_alone},
    {"shared_depth", "units of four steps in the depth of a tile that blocks share: one cannot be shared",
     shared_depth},
    {"producer_warps", "warps that load: one for weights, one to three for input rows", producer_warps},
    {"register_pool", "registers handed out by setmaxnreg, of those that the block is launched with", register_pool},
    {"consumer_registers", "estimated registers of a consumer's thread", consumer_registers},
    {"producer_registers", "estimated registers of a thread that loads, where consumers take the others",
     producer_registers},
    {"scheduler_experts", "experts counted by one lane of the tile scheduler", scheduler_experts},
};

/* Of codes as of the values that they stand for: fewer bytes, more to do with each. */
static double estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *device,
                          const mj_load *load)
{
    mj_kernel_desc like = *desc;
    like.op = desc->op == MJ_OP_GEMM1_QUANTISE ? MJ_OP_GEMM1_ACT : desc->op;
    return wgmma_estimate_us(&like, derived, device, load);
}

const mj_family mj_family_wgmma = {
    .name = "wgmma",
    .derive = derive,
    .rules = rules,
    .rule_count = sizeof rules / sizeof rules[0],
    .estimate_us = estimate_us,
};
