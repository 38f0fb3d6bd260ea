/* family_amd.c: what mfma and wmma share: sizes, limits and expected time of templates/amd_gemm.tmpl. */
#include "family_amd.h"
#include "checked.h"

#include <math.h>
#include <string.h>

enum {
    OUTPUT_BYTES = 2, /* of an element */
    CHUNK_BYTES = 16, /* of shared memory, read or written at once */
    WORD_BYTES = 4,
    WORD_CODES = 8,  /* 4-bit weights of a 32-bit word */
    FLAG_BYTES = 16, /* split-K: who came last */
    SMEM_ALIGN = 128,
    PASSES_MAX = 16,       /* loads a thread holds in registers */
    LANE_EXPERTS_MAX = 32, /* experts a lane counts in registers */
    POINTER_ALIGN_BYTES = 16,
    SIMD_UNITS = 4, /* of a compute unit (CDNA), of a pair of them (RDNA) */
    STAGES_MAX = 2,
    WAVES_MAX = 16, /* of a SIMD unit, whatever its registers */
};

static mj_amd_shape shape_of(const mj_derived *derived)
{
    mj_amd_shape s;
    memcpy(&s, derived->tunables, sizeof s);
    return s;
}

mj_status mj_amd_read(const mj_kernel_desc *desc, const char *name, uint32_t *value, mj_error *error)
{
    int32_t found = 0;
    if (!mj_config_get(desc->config, name, &found)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of %s: %s is missing", desc->space->family, name);
    }
    if (found < 0 || found > MJ_TUNABLE_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of %s: %s is %d, not in 0..%d", desc->space->family, name,
                       (int)found, MJ_TUNABLE_MAX);
    }
    *value = (uint32_t)found;
    return MJ_OK;
}

mj_status mj_amd_read_switch(const mj_kernel_desc *desc, const char *name, uint32_t flag, uint32_t *switches,
                             mj_error *error)
{
    uint32_t value = 0;
    mj_status status = mj_amd_read(desc, name, &value, error);
    if (status == MJ_OK && value > 1) {
        status =
            mj_fail(error, MJ_ERR_ARGUMENT, "config of %s: %s is %u, not 0 or 1", desc->space->family, name, value);
    }
    *switches |= value ? flag : 0;
    return status;
}

/* ---- Operands ---- */

uint32_t mj_amd_element_bytes(const mj_kernel_desc *desc)
{
    return strncmp(desc->scheme->input_format, "e4m3", 4) == 0 ? 1 : 2;
}

bool mj_amd_has_float8(const mj_kernel_desc *desc)
{
    bool fnuz = strcmp(desc->scheme->input_format, "e4m3fnuz") == 0;
    return mj_list_has(&desc->arch->features, fnuz ? "fp8_fnuz" : "fp8_ocp");
}

static bool has_block_scales(const mj_kernel_desc *desc)
{
    return strcmp(desc->scheme->input_scale_kind, "group") == 0;
}

static uint32_t chunk_elements(const mj_amd_shape *s)
{
    return CHUNK_BYTES / s->element_bytes;
}

/* Of a thread's load, 4-bit weights aside. */
static uint32_t load_bytes(const mj_amd_shape *s)
{
    return s->switches & MJ_AMD_DIRECT_WORDS ? WORD_BYTES : CHUNK_BYTES;
}

static uint32_t load_elements(const mj_amd_shape *s)
{
    return load_bytes(s) / s->element_bytes;
}

/* Shared memory of the results, which take the place of the steps. */
static uint64_t result_bytes(const mj_amd_shape *s)
{
    return s->switches & MJ_AMD_STORE_LDS ? s->tile_m * ((uint64_t)s->tile_n * OUTPUT_BYTES + CHUNK_BYTES) : 0;
}

/* Rows of a weight tile that all threads load in one pass; 0: they do not cover whole rows. */
static uint32_t weight_pass_rows(const mj_amd_shape *s, uint32_t threads)
{
    uint32_t load = s->weight_words ? s->weight_words * WORD_CODES : load_elements(s), loads = s->tile_k / load;
    return loads && s->tile_k % load == 0 && threads % loads == 0 ? threads / loads : 0;
}

/* The widest load of 4-bit weights with which passes cover the tile, and that stays within a row and a group. */
static uint32_t choose_words(const mj_kernel_desc *desc, mj_amd_shape s, uint32_t threads)
{
    uint32_t depth = mj_problem_gemm(desc->problem, desc->op).k;
    if (desc->scheme->weight_bits != 4) {
        return 0;
    }
    for (s.weight_words = CHUNK_BYTES / 4; s.weight_words > 1; s.weight_words /= 2) {
        uint32_t rows = weight_pass_rows(&s, threads), codes = s.weight_words * WORD_CODES;
        if (rows && s.tile_n % rows == 0 && depth % codes == 0 && desc->scheme->scale.group_k % codes == 0) {
            break;
        }
    }
    return s.weight_words;
}

/* ---- Registers ---- */

static bool is_cdna(const mj_arch *arch)
{
    return arch->warp_size == 64;
}

/* Registers of one lane are handed out in blocks, from a SIMD unit's share for every lane. */
uint32_t mj_amd_waves_of_registers(const mj_arch *arch, uint32_t registers)
{
    uint32_t block = is_cdna(arch) ? 8 : 24;
    uint32_t lane_registers = arch->regs_sm / (SIMD_UNITS * (arch->warp_size ? arch->warp_size : 1));
    uint32_t taken = (uint32_t)mj_ceil_div(registers ? registers : 1, block) * block;
    uint32_t waves = registers > arch->regs_thread_max ? 0 : lane_registers / taken;
    uint32_t most = arch->threads_sm_max / (SIMD_UNITS * (arch->warp_size ? arch->warp_size : 1));
    return waves < most ? waves : most;
}

/* Hundredths of a register of a lane, fitted to what LLVM 21 takes for some 1000 kernels; one in twenty is off by more than 15 %. */
typedef struct register_model {
    uint16_t sum, input_load, weight_word, fragment;
    uint16_t ahead;      /* of a span of fragments that the compiler reads ahead of its use */
    uint16_t scaled_sum; /* on top, where blocks of the depth have scales */
    uint16_t decoding, fixed;
    uint16_t lone_sum;  /* on top, where a wavefront has a unit for itself: sums move between two files */
    uint16_t split_sum; /* on top, where parts of a tile are added with several loads under way */
} register_model;

static const register_model *find_model(const mj_arch *arch)
{
    static const register_model mfma_k4 = {97, 692, 143, 82, 17, 139, 711, 997, 64, 180};
    static const register_model mfma_k8 = {111, 545, 111, 16, 12, 138, 1188, 1730, 55, 180};
    static const register_model wmma_doubled = {101, 704, 108, 94, 94, 110, 758, 1013, 0, 180};
    static const register_model wmma_split = {101, 621, 99, 104, 81, 111, 861, 1037, 0, 180};
    if (is_cdna(arch)) {
        return mj_list_has(&arch->features, "mfma_k8") ? &mfma_k8 : &mfma_k4;
    }
    return mj_list_has(&arch->features, "wmma_doubled") ? &wmma_doubled : &wmma_split;
}

/* Registers of a lane when `waves` wavefronts share a SIMD unit, at most. */
static uint32_t register_budget(const mj_arch *arch, uint32_t waves)
{
    uint32_t block = is_cdna(arch) ? 8 : 24;
    uint32_t lane_registers = arch->regs_sm / (SIMD_UNITS * (arch->warp_size ? arch->warp_size : 1));
    uint32_t budget = lane_registers / (waves ? waves : 1) / block * block;
    return budget < arch->regs_thread_max ? budget : arch->regs_thread_max;
}

/* Wavefronts of a SIMD unit that the compiler leaves room for: waves_per_eu, and what one block needs. */
static uint32_t claimed_waves(const mj_amd_shape *s)
{
    uint32_t waves = s->waves_m * s->waves_n, implied = (waves + SIMD_UNITS - 1) / SIMD_UNITS;
    return s->waves_per_eu > implied ? s->waves_per_eu : implied;
}

/* Fragments that a lane holds beyond one span: what the template holds, or, with `likely`, what the compiler reads ahead. */
static uint64_t fragments_ahead(const mj_arch *arch, const mj_amd_shape *s, uint64_t fragments, bool likely)
{
    uint64_t spans = s->read_span ? (uint64_t)s->tile_k * s->element_bytes / s->read_span : 1;
    uint64_t short_spans = !is_cdna(arch) && s->element_bytes == 1, read_ahead = short_spans ? 6 : 4;
    if (spans < 2) {
        return 0;
    }
    if (s->switches & MJ_AMD_DIRECT_LDS) {
        return fragments * (spans - 1);
    }
    if (!likely || mj_list_has(&arch->features, "wmma_doubled")) {
        return fragments;
    }
    return fragments * (spans - 1 < read_ahead ? spans - 1 : read_ahead);
}

/* Of a sum, in hundredths of a register. Where blocks of the depth are scaled there are two of each: the second is free when parts
 * of a tile are added, and for moves between the two register files. */
static uint64_t registers_of_sum(const mj_kernel_desc *desc, const mj_amd_shape *s)
{
    const register_model *m = find_model(desc->arch);
    uint64_t parts = s->split_k >= 4 ? m->split_sum : 0;
    bool lone = register_budget(desc->arch, claimed_waves(s)) > 256;
    if (has_block_scales(desc)) {
        return m->sum + (parts > m->scaled_sum ? parts : m->scaled_sum);
    }
    return m->sum + parts + (lone ? m->lone_sum : 0u);
}

/* What is taken (`likely`), or needed at least. */
static uint32_t estimate_registers(const mj_kernel_desc *desc, const mj_amd_shape *s, uint32_t threads, bool likely)
{
    const register_model *m = find_model(desc->arch);
    bool direct = s->switches & MJ_AMD_DIRECT_LDS;
    uint64_t loads = s->tile_k / load_elements(s), pass_rows = loads ? threads / loads : 0;
    uint64_t input_loads = pass_rows ? mj_ceil_div(s->tile_m, pass_rows) : s->tile_m;
    uint64_t weight_rows = weight_pass_rows(s, threads);
    uint64_t weight_loads = weight_rows ? mj_ceil_div(s->tile_n, weight_rows) : s->tile_n;
    uint64_t words = s->weight_words ? s->weight_words + 1 + (desc->scheme->zero.format[0] != 0) : CHUNK_BYTES / 4;
    uint64_t sums = (uint64_t)s->tile_m * s->tile_n / threads, size = s->matrix_size ? s->matrix_size : 1;
    bool doubled = mj_list_has(&desc->arch->features, "wmma_doubled");
    uint64_t lane_groups = doubled || desc->arch->warp_size < size ? 1 : desc->arch->warp_size / size;
    uint64_t fragments =
        (s->tile_m / s->waves_m / size + s->tile_n / s->waves_n / size) * (s->read_span / lane_groups / 4);
    uint64_t ahead = fragments_ahead(desc->arch, s, fragments, likely);
    uint64_t total =
        sums * registers_of_sum(desc, s) + fragments * m->fragment + m->fixed + (s->weight_words ? m->decoding : 0u);
    total += direct ? ahead * 100 + input_loads * 250 : ahead * m->ahead + input_loads * m->input_load;
    total += direct ? 0 : weight_loads * words * m->weight_word;
    return total / 100 < MJ_TUNABLE_MAX ? (uint32_t)(total / 100) : MJ_TUNABLE_MAX;
}

/* ---- Sizes ---- */

static bool has_direct_words(const mj_arch *arch, const mj_amd_shape *s)
{
    return (s->switches & MJ_AMD_DIRECT_LDS) && !mj_list_has(&arch->features, "lds_load16");
}

/* Blocks that fit on a compute unit; at least what the compiler is told to leave room for, if shared memory allows that. */
static void derive_occupancy(mj_derived *out, const mj_arch *arch)
{
    uint32_t waves = out->block_threads / (arch->warp_size ? arch->warp_size : 1);
    uint32_t by_registers = mj_amd_waves_of_registers(arch, out->regs_estimate) * SIMD_UNITS / (waves ? waves : 1);
    uint32_t estimate = out->regs_estimate;
    out->regs_estimate = 1;
    mj_derived_occupancy(out, arch);
    out->regs_estimate = estimate;
    out->blocks_per_sm = by_registers < out->blocks_per_sm ? by_registers : out->blocks_per_sm;
}

mj_status mj_amd_derive(const mj_kernel_desc *desc, mj_amd_shape s, const mj_amd_matrix *matrix, mj_derived *out,
                        mj_error *error)
{
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    s.element_bytes = mj_amd_element_bytes(desc);
    s.switches |= has_direct_words(desc->arch, &s) ? MJ_AMD_DIRECT_WORDS : 0;
    uint64_t row_bytes = (uint64_t)s.tile_k * s.element_bytes + s.lds_pad;
    uint64_t weights_at = s.stages * row_bytes * s.tile_m, flag_at = weights_at + s.stages * row_bytes * s.tile_n;
    flag_at = flag_at > result_bytes(&s) ? flag_at : result_bytes(&s);
    uint64_t smem = (flag_at + FLAG_BYTES + SMEM_ALIGN - 1) / SMEM_ALIGN * SMEM_ALIGN;
    uint64_t threads = (uint64_t)desc->arch->warp_size * s.waves_m * s.waves_n;
    uint64_t partial = s.split_k > 1 ? (uint64_t)s.split_k * s.tile_m * s.tile_n * sizeof(float) : 0;
    uint64_t n_tiles = mj_ceil_div(gemm.n, s.tile_n);
    uint64_t read_span = (uint64_t)matrix->fragment_words * 4 * s.kpack * matrix->lane_groups;
    if (smem > UINT32_MAX || threads > UINT32_MAX || partial > UINT32_MAX || n_tiles * s.split_k > UINT32_MAX ||
        threads == 0 || read_span > UINT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config of %s: the tile's sizes do not fit 32 bits",
                       desc->space->family);
    }
    s.read_span = (uint32_t)read_span;
    s.weight_words = choose_words(desc, s, (uint32_t)threads);
    memcpy(out->tunables, &s, sizeof s);
    out->block_threads = (uint32_t)threads;
    out->smem_bytes = (uint32_t)smem;
    uint32_t taken = estimate_registers(desc, &s, out->block_threads, true);
    uint32_t budget = register_budget(desc->arch, claimed_waves(&s));
    out->regs_estimate = taken < budget ? taken : budget;
    out->tile_m = s.tile_m;
    out->tile_n = s.tile_n;
    out->n_tiles = (uint32_t)n_tiles;
    out->split_k = s.split_k;
    out->k_tiles_per_split = (uint32_t)mj_ceil_div(mj_ceil_div(gemm.k, s.tile_k), s.split_k);
    out->partial_tile_bytes = (uint32_t)partial;
    out->pointer_align_bytes = POINTER_ALIGN_BYTES;
    out->grid = (mj_grid_rule){.unit = MJ_GRID_TILES, .per_block = s.tile_m, .factor = (uint32_t)(n_tiles * s.split_k)};
    derive_occupancy(out, desc->arch);
    mj_derived_var(out, "element_bytes", s.element_bytes);
    mj_derived_var(out, "weight_words", s.weight_words);
    mj_derived_var(out, "load_bytes", load_bytes(&s));
    mj_derived_var(out, "matrix_form", matrix->form);
    mj_derived_var(out, "smem_b_offset", (int64_t)weights_at);
    mj_derived_var(out, "smem_flag_offset", (int64_t)flag_at);
    return MJ_OK;
}

/* ---- Rules ---- */

static bool at_most(double value, double max, double *measured, double *limit)
{
    *measured = value;
    *limit = max;
    return value <= max;
}

static bool matrix_known(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    *measured = shape_of(derived).matrix_size;
    *limit = 32;
    return shape_of(derived).read_span > 0;
}

static bool wave_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    mj_amd_shape s = shape_of(derived);
    return at_most(s.tile_m % ((uint64_t)s.matrix_size * s.waves_m), 0, measured, limit);
}

static bool wave_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    mj_amd_shape s = shape_of(derived);
    return at_most(s.tile_n % ((uint64_t)s.matrix_size * s.waves_n), 0, measured, limit);
}

/* The swizzle wants a power of two of chunks. */
static bool step_power(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    mj_amd_shape s = shape_of(derived);
    *measured = s.tile_k;
    *limit = 2 * chunk_elements(&s);
    return *measured >= *limit && (s.tile_k & (s.tile_k - 1)) == 0;
}

static bool step_reads(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    mj_amd_shape s = shape_of(derived);
    return at_most(s.read_span ? s.tile_k * s.element_bytes % s.read_span : 0, 0, measured, limit);
}

static bool lds_stages(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    return at_most(shape_of(derived).stages, STAGES_MAX, measured, limit);
}

static bool lds_pad_chunks(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    return at_most(shape_of(derived).lds_pad % CHUNK_BYTES, 0, measured, limit);
}

static bool depth_chunks(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    mj_amd_shape s = shape_of(derived);
    uint32_t load = s.weight_words > 1 ? s.weight_words * WORD_CODES : chunk_elements(&s);
    return at_most(mj_problem_gemm(desc->problem, desc->op).k % load, 0, measured, limit);
}

static uint32_t input_pass_rows(const mj_derived *derived)
{
    mj_amd_shape s = shape_of(derived);
    uint32_t loads = s.tile_k / load_elements(&s);
    return loads && derived->block_threads % loads == 0 ? derived->block_threads / loads : 0;
}

static bool load_rows(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    mj_amd_shape s = shape_of(derived);
    uint32_t rows = weight_pass_rows(&s, derived->block_threads);
    return at_most(rows && input_pass_rows(derived) ? s.tile_n % rows : 1, 0, measured, limit);
}

static bool load_passes(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)desc;
    mj_amd_shape s = shape_of(derived);
    uint64_t input = input_pass_rows(derived), weights = weight_pass_rows(&s, derived->block_threads);
    uint64_t passes = input && weights ? mj_ceil_div(s.tile_m, input) : PASSES_MAX + 1;
    uint64_t others = weights ? mj_ceil_div(s.tile_n, weights) : 0;
    return at_most((double)(passes > others ? passes : others), PASSES_MAX, measured, limit);
}

/* Blocks of scales: a step has one, and so has a matrix instruction. */
static bool scale_blocks(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    mj_amd_shape s = shape_of(derived);
    const mj_scheme *scheme = desc->scheme;
    bool fits = scheme->scale.group_k == scheme->input_group_k &&
                scheme->scale.group_n % (s.matrix_size ? s.matrix_size : 1) == 0;
    *measured = s.tile_k;
    *limit = scheme->scale.group_k;
    return !has_block_scales(desc) || (fits && scheme->scale.group_k % s.tile_k == 0);
}

/* Loads past the registers cannot write zeros for a depth that does not exist, nor decode, and lie as the threads do. */
static bool direct_loads(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    mj_amd_shape s = shape_of(derived);
    uint32_t loads = s.tile_k / load_elements(&s), warp = desc->arch->warp_size;
    const mj_name_list *features = &desc->arch->features;
    bool shaped = s.stages == 2 && s.lds_pad == 0 && s.weight_words == 0 && !has_block_scales(desc) &&
                  input_pass_rows(derived) % 8 == 0 && warp && (uint64_t)s.tile_m * loads % warp == 0;
    *measured = mj_problem_gemm(desc->problem, desc->op).k % s.tile_k;
    *limit = 0;
    return !(s.switches & MJ_AMD_DIRECT_LDS) ||
           ((mj_list_has(features, "lds_load16") || mj_list_has(features, "lds_load4")) && shaped && *measured == 0);
}

static bool result_chunks(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    uint32_t left = mj_problem_gemm(desc->problem, desc->op).n % (CHUNK_BYTES / OUTPUT_BYTES);
    return at_most(shape_of(derived).switches & MJ_AMD_STORE_LDS ? left : 0, 0, measured, limit);
}

static bool split_parts(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    uint64_t steps = mj_ceil_div(mj_problem_gemm(desc->problem, desc->op).k, shape_of(derived).tile_k);
    double last_begins = (double)(derived->split_k - 1) * derived->k_tiles_per_split;
    return at_most(last_begins, (double)steps - 1, measured, limit);
}

static bool wavefront_experts(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    return at_most((double)mj_ceil_div(desc->problem->expert_count, desc->arch->warp_size), LANE_EXPERTS_MAX, measured,
                   limit);
}

/* What is needed must fit without spilling into what the compiler may take, with a sixth to spare: with a sixteenth, 5 of 1200
 * random configs spilled. */
static bool registers_claimed(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    mj_amd_shape s = shape_of(derived);
    uint32_t needed = estimate_registers(desc, &s, derived->block_threads, false);
    return at_most(needed + needed / 6, register_budget(desc->arch, claimed_waves(&s)), measured, limit);
}

static bool lds_claimed(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    mj_amd_shape s = shape_of(derived);
    uint32_t blocks = derived->smem_bytes ? desc->arch->smem_sm_bytes / derived->smem_bytes : 0;
    *measured = (double)blocks * s.waves_m * s.waves_n / SIMD_UNITS;
    *limit = s.waves_per_eu > 1 ? s.waves_per_eu : 0;
    return *measured >= *limit;
}

const mj_family_rule mj_amd_rules[MJ_AMD_RULE_COUNT] = {
    {"matrix_known", "rows of the matrix instruction: none of that size and format", matrix_known},
    {"wave_rows", "rows of the tile left over by waves_m wavefronts of whole matrix instructions", wave_rows},
    {"wave_columns", "columns of the tile left over by waves_n wavefronts of whole matrix instructions", wave_columns},
    {"step_power", "tile_k must be a power of two of at least 16 elements", step_power},
    {"step_reads", "bytes of a row of a step left over by whole reads of all its lanes", step_reads},
    {"lds_stages", "steps in shared memory: one is multiplied, one is written", lds_stages},
    {"lds_pad_chunks", "bytes of lds_pad left over by whole 16-byte chunks", lds_pad_chunks},
    {"depth_chunks", "elements of the depth left over by 16-byte loads", depth_chunks},
    {"load_rows", "rows of the weight tile left over by passes of all threads", load_rows},
    {"load_passes", "loads of an operand that a thread has under way at once", load_passes},
    {"scale_blocks", "elements of the depth of a step: a block of scales holds whole steps", scale_blocks},
    {"direct_loads",
     "elements of the depth left over by whole steps; direct_lds also needs lds_load16 or lds_load4, two stages, no "
     "lds_pad, passes of whole eights of rows, weights that are not decoded and no blocks of scales",
     direct_loads},
    {"result_chunks", "columns of the output left over by 16-byte stores, which store_lds makes", result_chunks},
    {"split_parts", "first step of the last part of a split depth, counted from 0: it must exist", split_parts},
    {"wavefront_experts", "experts counted by one lane of the tile scheduler", wavefront_experts},
    {"registers_claimed", "estimated registers of a lane, and a sixth; waves_per_eu and the block's wavefronts leave",
     registers_claimed},
    {"lds_claimed", "wavefronts of a SIMD unit by shared memory; waves_per_eu says", lds_claimed},
};

/* ---- Time ----
 * The larger of memory, shared memory and matrix units, plus what nothing overlaps. No AMD device has been measured: these are
 * the figures of the arch's typical device, and shares that order configs as the arithmetic says. */
static const struct {
    double latency_us; /* bytes in flight at which half the bandwidth is reached */
    double l2_gain;    /* bandwidth of the last cache over memory's */
    double group_gain; /* of launching row tiles of an expert together */
    double step_us;    /* barriers and addresses of a step; one barrier more with a single stage */
    double barrier_us;
    double tile_us;      /* scheduling, first loads, epilogue */
    double matrix_share; /* of the dense peak, for an endless wavefront tile */
    double small_tile;   /* rows and columns of a square wavefront tile that halve it, times one half */
    double narrow_reads; /* share of that lost to reads of 8 bytes */
    double split_us, split_part_us;
    double line_bytes;   /* of the last cache: a store of less is one request all the same */
    double group_us;     /* of the divisions that grouping takes */
    double unit_bytes;   /* that a compute unit takes from its first cache in a microsecond */
    double overlap_loss; /* share of the smaller flow that is not hidden */
} model = {
    .latency_us = 1.5,
    .l2_gain = 2.5,
    .group_gain = 1.05,
    .step_us = 0.03,
    .barrier_us = 0.02,
    .tile_us = 3,
    .matrix_share = 1.1,
    .small_tile = 16,
    .narrow_reads = 0.1,
    .split_us = 8,
    .split_part_us = 0.5,
    .line_bytes = 64,
    .group_us = 0.05,
    .unit_bytes = 130e3,
    .overlap_loss = 0.3,
};

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

/* Of a tile, on average. They are another row's, so loads find them in a cache. */
static double missing_rows(const mj_amd_shape *s, const mj_load *load)
{
    return most(s->tile_m - load->row_count / most(mj_load_row_tiles(load, s->tile_m), 1), 0);
}

static double flow_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device, double blocks,
                      const mj_load *load)
{
    mj_amd_shape s = shape_of(d);
    mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
    double sms = most(device->sm_count, 1), resident = most(d->blocks_per_sm, 1);
    double busy = most(least(blocks / sms, resident), 1), used = most(least(blocks, sms), 1);
    double weight_bytes = desc->scheme->weight_bits / 8.0;
    double step_bytes = (s.tile_m * (double)s.element_bytes + s.tile_n * weight_bytes) * s.tile_k;
    double missing_bytes = missing_rows(&s, load) * s.element_bytes * s.tile_k;
    double bytes_per_us = device->memory_gbps * 1e3, in_flight = (step_bytes - missing_bytes) * busy;
    double share = in_flight / (in_flight + bytes_per_us / sms * model.latency_us);
    double reached = bytes_per_us * (used / sms) * least(1, 1.5 * share);
    double input_rows = desc->op == MJ_OP_GEMM1 ? load->input_rows : load->row_count;
    double memory_bytes = load->active_experts * gemm.n * gemm.k * weight_bytes +
                          input_rows * gemm.k * s.element_bytes + load->row_count * gemm.n * OUTPUT_BYTES;
    double piece_bytes =
        is_cdna(desc->arch) ? 512.0 / s.matrix_size : 32; /* of a row, that a wavefront stores at once */
    double partly = s.switches & MJ_AMD_STORE_LDS ? 1 : model.line_bytes / piece_bytes;
    double store_bytes = load->row_count * gemm.n * OUTPUT_BYTES * most(partly, 1);
    double cache_bytes = blocks * d->k_tiles_per_split * step_bytes + store_bytes;
    double grouped =
        s.group_m > 1 && mj_load_row_tiles(load, s.tile_m) >= 2 * load->active_experts ? model.group_gain : 1;
    return most(memory_bytes / reached, cache_bytes / (reached * model.l2_gain * grouped));
}

static double matrix_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device, double blocks)
{
    mj_amd_shape s = shape_of(d);
    double wave_m = (double)s.tile_m / s.waves_m, wave_n = (double)s.tile_n / s.waves_n,
           sms = most(device->sm_count, 1);
    double share = model.matrix_share * wave_m * wave_n / (wave_m * wave_n + model.small_tile * (wave_m + wave_n));
    double per_unit = most(least(blocks / sms, most(d->blocks_per_sm, 1)), 1) * s.waves_m * s.waves_n / SIMD_UNITS;
    share *= sqrt(least(1, per_unit));
    bool narrow = is_cdna(desc->arch) && s.kpack == 1 && !mj_list_has(&desc->arch->features, "mfma_k8");
    share = least(share * (narrow ? 1 - model.narrow_reads : 1), 0.9);
    double block_us =
        2.0 * s.tile_m * s.tile_n * s.tile_k * d->k_tiles_per_split / (device->matrix_tflops / sms * share * 1e6);
    double turns = blocks / sms;
    return block_us * (turns <= 1 ? 1 : turns + 0.5 * (1 - 1 / most(d->blocks_per_sm, 1)));
}

double mj_amd_estimate_us(const mj_kernel_desc *desc, const mj_derived *d, const mj_device_shape *device,
                          const mj_load *load)
{
    mj_amd_shape s = shape_of(d);
    double tiles = mj_load_row_tiles(load, s.tile_m) * d->n_tiles, blocks = tiles * s.split_k;
    double flow = flow_us(desc, d, device, blocks, load), matrix = matrix_us(desc, d, device, blocks);
    double turns = blocks / most(device->sm_count, 1) / most(d->blocks_per_sm, 1);
    double step_us = model.step_us + (s.stages == 1 ? model.barrier_us : 0);
    double fixed = model.tile_us + d->k_tiles_per_split * step_us * most(1, turns);
    fixed += s.switches & MJ_AMD_STORE_LDS ? 2 * model.barrier_us * most(1, turns) : 0;
    fixed += s.group_m > 1 ? model.group_us : 0;
    fixed +=
        d->k_tiles_per_split * missing_rows(&s, load) * s.tile_k * s.element_bytes / model.unit_bytes * most(1, turns);
    if (s.split_k > 1) {
        fixed += model.split_us + model.split_part_us * s.split_k;
        fixed += tiles * d->partial_tile_bytes / (device->memory_gbps * 1e3);
    }
    return device->launch_us + fixed + most(flow, matrix) + model.overlap_loss * least(flow, matrix);
}
