/* selfcheck_host.c: what is right, and comparing; see selfcheck.h. Shares no code with the templates. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "reference.h"
#include "selfcheck.h"
#include "workspace.h"

enum {
    PRODUCTS_MAX = 1 << 26,  /* multiplications of a GEMM's full comparison; beyond: samples */
    CODES_MAX = 1 << 21,     /* codes of a full comparison */
    QUANTISED_RUN_MAX = 128, /* columns of one row that are looked at together */
    SEED_SAMPLES = 4
};

static uint64_t gates(const mj_check *check)
{
    return check->problem.gated ? 2 : 1;
}

mj_check_shape mj_check_output_shape(const mj_check *check, mj_op op)
{
    const mj_problem *problem = &check->problem;
    uint64_t pairs = (uint64_t)check->token_count * problem->top_k;
    switch (op) {
    case MJ_OP_QUANTISE1:
        return (mj_check_shape){check->token_count, problem->hidden, MJ_CODE_BYTES};
    case MJ_OP_GEMM1:
        return (mj_check_shape){check->local_rows, gates(check) * problem->intermediate, MJ_IO_BYTES};
    case MJ_OP_GEMM1_ACT:
    case MJ_OP_ACTIVATION:
        return (mj_check_shape){check->local_rows, problem->intermediate, MJ_IO_BYTES};
    case MJ_OP_GEMM1_QUANTISE:
    case MJ_OP_QUANTISE2:
        return (mj_check_shape){check->local_rows, problem->intermediate, MJ_CODE_BYTES};
    case MJ_OP_GEMM2:
        return (mj_check_shape){pairs, problem->hidden, MJ_IO_BYTES};
    default:
        return (mj_check_shape){check->token_count, problem->hidden, MJ_IO_BYTES};
    }
}

/* ---- What is right ---- */

static double at(const mj_check_data *data, uint64_t word, uint64_t element)
{
    return (double)data->values[word % data->period * data->per_word + element];
}

static uint32_t expert_of_row(const mj_check *check, uint64_t row)
{
    uint32_t expert = 0;
    while ((uint64_t)check->offsets[expert + 1] <= row) {
        expert++;
    }
    return expert;
}

/* The next k where another scale or zero point may begin. */
static uint32_t run_end(const mj_scheme *s, uint32_t k, uint32_t end)
{
    const uint32_t groups[] = {s->scale.group_k, s->zero.group_k, s->input_group_k};
    for (size_t i = 0; i < 3; i++) {
        uint64_t next = groups[i] ? ((uint64_t)k / groups[i] + 1) * groups[i] : end;
        end = next < end ? (uint32_t)next : end;
    }
    return end;
}

static double input_scale(const mj_check *check, uint32_t k_count, uint64_t row, uint32_t k)
{
    uint32_t per_row = mj_ref_scales_per_row(&check->scheme, k_count), group = check->scheme.input_group_k;
    return check->input_scales.words ? at(&check->input_scales, row * per_row + (group ? k / group : 0), 0) : 1;
}

static double weight_zero(const mj_check *check, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint32_t k)
{
    if (!check->weight_zeros.words) {
        return 0;
    }
    uint64_t element = 0, index = mj_ref_zero_index(&check->scheme, shape, expert, column, k, &element);
    return at(&check->weight_zeros, index, element) + check->scheme.zero_bias;
}

static double weight_scale(const mj_check *check, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint32_t k)
{
    return check->weight_scales.words
               ? at(&check->weight_scales, mj_ref_scale_index(&check->scheme, shape, expert, column, k), 0)
               : 1;
}

/* The sum over k, and that of the squares of its terms. */
static void sum_products(const mj_check *check, mj_gemm_shape shape, uint64_t in_row, uint64_t expert, uint64_t column,
                         double sums[2])
{
    const mj_scheme *s = &check->scheme;
    bool along_k = s->packing.axis[0] != 'n';
    const float *x = check->input.values + in_row * shape.k % check->input.period;
    uint64_t first = mj_ref_weight_index(s, shape, expert, column, 0), per_word = s->packing.per_word;
    const float *w = check->weights.values + first % check->weights.period * per_word;
    for (uint32_t k = 0, end = 0; k < shape.k;) {
        double zero = weight_zero(check, shape, expert, column, k);
        double scale = weight_scale(check, shape, expert, column, k) * input_scale(check, shape.k, in_row, k);
        double sum = 0, squares = 0;
        for (end = run_end(s, k, shape.k); k < end; k++) {
            double code =
                along_k ? (double)w[k]
                        : at(&check->weights, mj_ref_weight_index(s, shape, expert, column, k), column % per_word);
            double product = (double)x[k] * (code - zero);
            sum += product;
            squares += product * product;
        }
        sums[0] += sum * scale;
        sums[1] += squares * scale * scale;
    }
}

static mj_check_want gemm_value(const mj_check *check, uint64_t row, uint64_t column)
{
    mj_gemm_shape shape = mj_problem_gemm(&check->problem, check->op);
    uint64_t expert = expert_of_row(check, row), pair = (uint64_t)check->sorted_pairs[row];
    uint64_t in_row = mj_op_is_gemm1(check->op) ? pair / check->problem.top_k : row;
    double sums[2] = {0, 0};
    sum_products(check, shape, in_row, expert, column, sums);
    double factor = mj_op_is_gemm2(check->op) ? (double)check->topk_weights[pair] : 1;
    double bias = check->problem.bias ? at(&check->io, expert * shape.n + column, 0) : 0;
    return (mj_check_want){(sums[0] + bias) * factor, sqrt(sums[1]) * factor};
}

static double activation_value(const mj_check *check, uint64_t row, uint64_t column)
{
    const mj_problem *problem = &check->problem;
    uint64_t start = row * gates(check) * problem->intermediate;
    double up = problem->gated ? at(&check->io, start + problem->intermediate + column, 0) : 0;
    return mj_ref_activation(problem->activation, problem->gated, at(&check->io, start + column, 0), up);
}

static double combine_value(const mj_check *check, uint64_t token, uint64_t column)
{
    double sum = 0;
    for (uint32_t slot = 0; slot < check->problem.top_k; slot++) {
        uint64_t pair = token * check->problem.top_k + slot;
        if (mj_check_is_local(check, check->topk_ids[pair])) {
            sum += at(&check->io, pair * check->problem.hidden + column, 0);
        }
    }
    return sum;
}

/* gemm2 writes rows in pair order: the sorted row of a pair, or -1. */
static int64_t row_of_pair(const mj_check *check, uint64_t pair)
{
    int32_t id = check->topk_ids[pair];
    if (mj_check_is_local(check, id)) {
        for (int32_t row = check->offsets[id]; row < check->offsets[id + 1]; row++) {
            if ((uint64_t)check->sorted_pairs[row] == pair) {
                return row;
            }
        }
    }
    return -1;
}

/* 16-bit floats in, sums in float, one rounding: nothing else to lose digits by. */
static bool is_exact(const mj_check *check)
{
    const mj_scheme *s = &check->scheme;
    return !mj_op_is_gemm(check->op) || (!mj_op_combines(check->op) && !s->scale.format[0] && !s->decode_count &&
                                         strcmp(s->input_format, s->io_format) == 0);
}

typedef struct allowance { /* of a value; of the size of its terms */
    double relative, rest;
} allowance;

/* Two units in the last place, and a little of the size of the sum's terms; where kernels may round on the way, what the scheme's
 * tolerance allows. A product that lacks one step of 16 in 16384 is off by 3 % of that size. */
static allowance allowed(const mj_check *check)
{
    const mj_tolerance *tolerance = &check->scheme.tolerance;
    double unit = strcmp(check->scheme.io_format, "bf16") == 0 ? 1.0 / 128 : 1.0 / 1024;
    return is_exact(check) ? (allowance){unit, 1.0 / 4096}
                           : (allowance){tolerance->element_rel, tolerance->element_rms};
}

/* The size is what the curve makes of what its sums are allowed, and of some roundings of floats on the way: (1 + erf) is not
 * exact. */
static mj_check_want gemm_act_value(const mj_check *check, uint64_t row, uint64_t column)
{
    const mj_problem *problem = &check->problem;
    allowance a = allowed(check);
    mj_check_want gate = gemm_value(check, row, column), up = {0, 0};
    if (problem->gated) {
        up = gemm_value(check, row, problem->intermediate + column);
    }
    double relative = is_exact(check) ? 0 : a.relative; /* sums are not rounded before the curve */
    double gate_off = a.rest * gate.size + relative * fabs(gate.value);
    double up_off = a.rest * up.size + relative * fabs(up.value);
    double value = mj_ref_activation(problem->activation, problem->gated, gate.value, up.value);
    double off = 0x1p-20 * (fabs(gate.value) + 1) * (fabs(up.value) + 1);
    for (int i = 0; i < 4; i++) {
        double moved =
            mj_ref_activation(problem->activation, problem->gated, gate.value + (i & 1 ? gate_off : -gate_off),
                              up.value + (i & 2 ? up_off : -up_off));
        off = fmax(off, fabs(moved - value));
    }
    return (mj_check_want){value, off / a.rest};
}

/* Of a token, whose rows are rounded before they are added. */
static mj_check_want gemm_combine_value(const mj_check *check, uint64_t token, uint64_t column)
{
    mj_check_want sum = {0, 0};
    for (uint64_t pair = token * check->problem.top_k; pair < (token + 1) * check->problem.top_k; pair++) {
        int64_t sorted = row_of_pair(check, pair);
        if (sorted >= 0) {
            mj_check_want row = gemm_value(check, (uint64_t)sorted, column);
            sum.value += row.value;
            sum.size = sqrt(sum.size * sum.size + row.size * row.size);
        }
    }
    return sum;
}

mj_check_want mj_check_value(const mj_check *check, uint64_t row, uint64_t column)
{
    const double io_size = 14; /* of four of the io data: their mean square is 7.1, twice */
    if (check->op == MJ_OP_GEMM1) {
        return gemm_value(check, row, column);
    }
    if (mj_op_activates(check->op)) {
        return gemm_act_value(check, row, column);
    }
    if (check->op == MJ_OP_GEMM2) {
        int64_t sorted = row_of_pair(check, row);
        return sorted < 0 ? (mj_check_want){NAN, 0} : gemm_value(check, (uint64_t)sorted, column);
    }
    if (mj_op_combines(check->op)) {
        return gemm_combine_value(check, row, column);
    }
    double value =
        check->op == MJ_OP_ACTIVATION ? activation_value(check, row, column) : combine_value(check, row, column);
    return (mj_check_want){value, io_size};
}

/* ---- Comparing ---- */

static double io_value(const mj_check *check, uint16_t code)
{
    return mj_ref_load(check->scheme.io_format, &code, 0);
}

static bool is_near(const mj_check *check, double got, mj_check_want want)
{
    allowance a = allowed(check);
    return fabs(got - want.value) <= a.relative * fabs(want.value) + a.rest * want.size;
}

typedef struct comparison {
    const mj_check *check;
    mj_check_shape shape;
    const uint16_t *output, *base;
    double difference, want; /* sums of squares over what was looked at */
} comparison;

static mj_status check_element(comparison *c, uint64_t index, mj_error *error)
{
    uint64_t row = index / c->shape.columns, column = index % c->shape.columns;
    double got = io_value(c->check, c->output[index]);
    mj_check_want want = mj_check_value(c->check, row, column);
    if (isnan(want.value)) {
        return MJ_OK;
    }
    if (is_near(c->check, got, want)) {
        c->difference += (got - want.value) * (got - want.value);
        c->want += want.value * want.value;
        return MJ_OK;
    }
    return mj_fail(error, MJ_ERR_WRONG_RESULT,
                   "%s of %" PRIu32 " tokens: row %" PRIu64 ", column %" PRIu64 " is %.6g, not %.6g",
                   mj_op_name(c->check->op), c->check->token_count, row, column, got, want.value);
}

bool mj_check_row_is_written(const mj_check *check, uint64_t row)
{
    return check->op != MJ_OP_GEMM2 || mj_check_is_local(check, check->topk_ids[row]);
}

/* Unwritten elements, and those where two kernels disagree. */
static mj_status check_every(comparison *c, mj_error *error)
{
    for (uint64_t row = 0; row < c->shape.rows; row++) {
        if (!mj_check_row_is_written(c->check, row)) {
            continue;
        }
        for (uint64_t i = row * c->shape.columns; i < (row + 1) * c->shape.columns; i++) {
            bool strange = c->output[i] == 0xffff;
            if (!strange && c->base && c->base[i] != c->output[i]) { /* random operands are made for sums of about 1 */
                mj_check_want base = {io_value(c->check, c->base[i]), 1};
                strange = !is_near(c->check, io_value(c->check, c->output[i]), base);
            }
            mj_status status = strange ? check_element(c, i, error) : MJ_OK;
            if (status != MJ_OK) {
                return status;
            }
        }
    }
    return MJ_OK;
}

static mj_status check_samples(comparison *c, uint64_t samples, mj_error *error)
{
    uint64_t count = c->shape.rows * c->shape.columns;
    mj_status status = MJ_OK;
    for (uint64_t row = 0; status == MJ_OK && row < c->shape.rows; row++) { /* both edges of every row */
        status = check_element(c, row * c->shape.columns, error);
        if (status == MJ_OK) {
            status = check_element(c, (row + 1) * c->shape.columns - 1, error);
        }
    }
    for (uint64_t i = 0; status == MJ_OK && i < samples; i++) {
        status = check_element(c, mj_check_hash(SEED_SAMPLES, i) % count, error);
    }
    return status;
}

/* All that was looked at together. */
static mj_status check_mean(const comparison *c, mj_error *error)
{
    const mj_check *check = c->check;
    if (!mj_op_is_gemm(check->op) || sqrt(c->difference) <= check->scheme.tolerance.row_norm * sqrt(c->want)) {
        return MJ_OK;
    }
    return mj_fail(error, MJ_ERR_WRONG_RESULT,
                   "%s of %" PRIu32 " tokens: errors are %.3g of the values in the mean, scheme %s allows %.3g",
                   mj_op_name(check->op), check->token_count, sqrt(c->difference / c->want), check->problem.scheme,
                   check->scheme.tolerance.row_norm);
}

mj_status mj_check_output(const mj_check *check, const void *output, const void *base, mj_error *error)
{
    comparison c = {check, mj_check_output_shape(check, check->op), output, base, 0, 0};
    uint64_t count = c.shape.rows * c.shape.columns;
    uint64_t depth = mj_op_is_gemm(check->op) ? mj_problem_gemm(&check->problem, check->op).k : 16;
    depth *= mj_op_combines(check->op) ? check->problem.top_k : 1;
    mj_status status = check_every(&c, error);
    if (count > PRODUCTS_MAX / depth) {
        status = status == MJ_OK ? check_samples(&c, PRODUCTS_MAX / depth, error) : status;
    } else {
        for (uint64_t i = 0; status == MJ_OK && i < count; i++) {
            status = check_element(&c, i, error);
        }
    }
    return status == MJ_OK ? check_mean(&c, error) : status;
}

/* ---- Codes ---- */

static mj_status check_code_row(const mj_check *check, uint64_t row, const uint8_t *codes, const float *scales,
                                uint8_t *want, float *want_scales, uint16_t *input, mj_error *error)
{
    uint32_t k = mj_problem_gemm(&check->problem, check->op).k, per_row = mj_ref_scales_per_row(&check->scheme, k);
    uint64_t first = row * k;
    for (uint32_t i = 0; i < k; i++) {
        memcpy(&input[i], check->io.words + (first + i) % check->io.period * sizeof *input, sizeof *input);
    }
    want_scales[0] = check->static_scale.values[0];
    mj_status status = mj_ref_quantise_row(&check->scheme, k, input, 0, want, want_scales, error);
    for (uint32_t i = 0; status == MJ_OK && i < per_row; i++) {
        if (memcmp(&scales[row * per_row + i], &want_scales[i], sizeof(float)) != 0) {
            return mj_fail(error, MJ_ERR_WRONG_RESULT,
                           "%s of %" PRIu32 " tokens: row %" PRIu64 ", scale %" PRIu32 " is %.9g, not %.9g",
                           mj_op_name(check->op), check->token_count, row, i, (double)scales[row * per_row + i],
                           (double)want_scales[i]);
        }
    }
    for (uint32_t i = 0; status == MJ_OK && i < k; i++) {
        if (codes[first + i] != want[i]) {
            return mj_fail(error, MJ_ERR_WRONG_RESULT,
                           "%s of %" PRIu32 " tokens: row %" PRIu64 ", column %" PRIu32 " is code %u, not %u",
                           mj_op_name(check->op), check->token_count, row, i, codes[first + i], want[i]);
        }
    }
    return status;
}

/* The columns from `first` of one row that share a scale, or some under a static one: are they codes of values that would be right? */
static mj_status check_quantised_run(comparison *c, uint64_t row, uint32_t first, uint32_t count, const uint8_t *codes,
                                     const float *scale, mj_error *error)
{
    const mj_check *check = c->check;
    mj_check_want want[QUANTISED_RUN_MAX];
    double values[QUANTISED_RUN_MAX] = {0}, out[QUANTISED_RUN_MAX], size = 0;
    uint32_t largest = 0;
    for (uint32_t i = 0; i < count; i++) {
        want[i] = mj_check_value(check, row, first + i);
        values[i] = want[i].value;
        largest = fabs(values[i]) > fabs(values[largest]) ? i : largest;
        size = fmax(size, want[i].size);
    }
    want[largest].size = size; /* another may have come out as the largest, by what it is allowed */
    mj_status status = mj_ref_values_of_codes(&check->scheme, count, codes, scale, values, out, error);
    for (uint32_t i = 0; status == MJ_OK && i < count; i++) {
        c->difference += (out[i] - values[i]) * (out[i] - values[i]);
        c->want += values[i] * values[i];
        if (!is_near(check, out[i], want[i])) {
            return mj_fail(
                error, MJ_ERR_WRONG_RESULT,
                "%s of %" PRIu32 " tokens: row %" PRIu64 ", column %" PRIu32 " is code %u with scale %.6g, not of %.6g",
                mj_op_name(check->op), check->token_count, row, first + i, codes[i], (double)*scale, want[i].value);
        }
    }
    return status;
}

/* Codes of a GEMM's output: their values are not known to the bit. Whole groups, all of them or samples. */
static mj_status check_quantised(const mj_check *check, const uint8_t *codes, const float *scales, mj_error *error)
{
    mj_gemm_shape gemm = mj_problem_gemm(&check->problem, check->op);
    uint32_t per_row = mj_ref_scales_per_row(&check->scheme, gemm.out_n);
    uint32_t run = per_row ? check->scheme.input_group_k : QUANTISED_RUN_MAX;
    if (run == 0 || run > QUANTISED_RUN_MAX) { /* 0: one scale for a whole row */
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s: groups of %" PRIu32 " codes are not checked",
                       check->problem.scheme, run ? run : gemm.out_n);
    }
    uint32_t runs = (gemm.out_n + run - 1) / run, terms = gemm.k * (gemm.n / gemm.out_n);
    uint64_t count = check->local_rows * runs, most = PRODUCTS_MAX / ((uint64_t)run * terms) + 1;
    comparison c = {.check = check};
    mj_status status = MJ_OK;
    bool is_nan[256];
    for (uint32_t code = 0; code < 256; code++) {
        is_nan[code] = isnan(mj_ref_load(check->scheme.input_format, &(uint8_t){(uint8_t)code}, 0));
    }
    for (uint64_t i = 0; i < check->local_rows * gemm.out_n; i++) {
        if (is_nan[codes[i]]) { /* as what was never written */
            return mj_fail(error, MJ_ERR_WRONG_RESULT,
                           "%s of %" PRIu32 " tokens: row %" PRIu64 ", column %" PRIu64 " is code %u",
                           mj_op_name(check->op), check->token_count, i / gemm.out_n, i % gemm.out_n, codes[i]);
        }
    }
    for (uint64_t i = 0; status == MJ_OK && i < (count < most ? count : most); i++) {
        uint64_t at = count <= most ? i : mj_check_hash(SEED_SAMPLES, i) % count, row = at / runs;
        uint32_t group = (uint32_t)(at % runs), first = group * run;
        const float *scale = per_row ? &scales[row * per_row + group] : &check->static_scale.values[0];
        status = check_quantised_run(&c, row, first, gemm.out_n - first < run ? gemm.out_n - first : run,
                                     codes + row * gemm.out_n + first, scale, error);
    }
    return status == MJ_OK ? check_mean(&c, error) : status;
}

int mj_check_unwritten_byte(const mj_check *check)
{
    bool fnuz = mj_op_writes_codes(check->op) && strcmp(check->scheme.input_format, "e4m3fnuz") == 0;
    return fnuz ? 0x80 : 0xff; /* its only NaN; else a NaN in every format */
}

mj_status mj_check_codes(const mj_check *check, const void *codes, const float *scales, mj_error *error)
{
    if (mj_op_is_gemm(check->op)) {
        return check_quantised(check, codes, scales, error);
    }
    mj_check_shape shape = mj_check_output_shape(check, check->op);
    uint64_t rows = shape.rows * shape.columns > CODES_MAX ? CODES_MAX / shape.columns + 1 : shape.rows;
    uint8_t *want = mj_alloc(check->context, shape.columns);
    float *want_scales = mj_alloc(check->context, (shape.columns + 1) * sizeof *want_scales);
    uint16_t *input = mj_alloc(check->context, shape.columns * sizeof *input);
    mj_status status = want && want_scales && input ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "no memory for codes");
    for (uint64_t i = 0; status == MJ_OK && i < rows; i++) { /* of many: the first, the last, and some between */
        uint64_t row = rows == shape.rows ? i : mj_check_hash(SEED_SAMPLES, i) % shape.rows;
        row = i == 0 ? 0 : i == rows - 1 ? shape.rows - 1 : row;
        status = check_code_row(check, row, codes, scales, want, want_scales, input, error);
    }
    mj_free(check->context, want);
    mj_free(check->context, want_scales);
    mj_free(check->context, input);
    return status;
}

mj_status mj_check_tables(const mj_check *check, const int32_t *offsets, const int32_t *sorted_pairs, mj_error *error)
{
    for (uint32_t i = 0; i <= check->problem.expert_count; i++) {
        if (offsets[i] != check->offsets[i]) {
            return mj_fail(error, MJ_ERR_WRONG_RESULT,
                           "tables of %" PRIu32 " tokens: offset %" PRIu32 " is %" PRId32 ", not %" PRId32,
                           check->token_count, i, offsets[i], check->offsets[i]);
        }
    }
    for (uint64_t i = 0; i < check->local_rows; i++) {
        if (sorted_pairs[i] != check->sorted_pairs[i]) {
            return mj_fail(error, MJ_ERR_WRONG_RESULT,
                           "tables of %" PRIu32 " tokens: sorted pair %" PRIu64 " is %" PRId32 ", not %" PRId32,
                           check->token_count, i, sorted_pairs[i], check->sorted_pairs[i]);
        }
    }
    return MJ_OK;
}
