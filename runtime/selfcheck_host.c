/* selfcheck_host.c: see selfcheck.h. Shares no code with the templates. */
#include "selfcheck.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum {
    PERIOD_MAX = 4194301,   /* the largest prime below 2^22 */
    PRODUCTS_MAX = 1 << 26, /* multiplications of a GEMM's full comparison; beyond: samples */
    SEED_INPUTS = 1,
    SEED_WEIGHTS = 2,
    SEED_ROUTING = 3,
    SEED_SAMPLES = 4
};

static uint64_t hash(uint64_t seed, uint64_t index)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + index;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- 16-bit floats ---- */

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float mj_half_to_float(mj_half half, uint16_t code)
{
    if (half == MJ_HALF_BF16) {
        return bits_float((uint32_t)code << 16);
    }
    int exponent = code >> 10 & 31, fraction = code & 1023;
    float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent     ? ldexpf((float)(fraction + 1024), exponent - 25)
                                     : ldexpf((float)fraction, -24);
    return code & 0x8000 ? -magnitude : magnitude;
}

/* Rounds to nearest even; the data here are finite and far from the limits. */
uint16_t mj_half_from_float(mj_half half, float value)
{
    uint32_t bits = float_bits(value);
    if (half == MJ_HALF_BF16) {
        return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    float magnitude = fabsf(value);
    int exponent = 0;
    frexpf(magnitude, &exponent);
    exponent = exponent < -13 || magnitude == 0 ? -13 : exponent; /* subnormals share the lowest */
    float units = ldexpf(magnitude, 11 - exponent);               /* the fraction's last bit is 1 */
    uint32_t rounded = (uint32_t)lrintf(units);                   /* may carry into the exponent */
    return (uint16_t)(sign | ((uint32_t)(exponent + 13) * 1024 + rounded));
}

/* ---- Data ---- */

static void fill_data(const mj_check *check, mj_check_data *data, uint64_t seed, int log2_smaller)
{
    for (uint32_t i = 0; i < data->period; i++) {
        uint64_t bits = hash(seed, i);
        float unit = (float)(int32_t)(bits >> 32) * (1.0f / 2147483648.0f); /* [-1, 1) */
        float value = ldexpf(unit, (int)(bits & 3) - log2_smaller);         /* some reach 8: clips */
        data->codes[i] = mj_half_from_float(check->half, value);
        data->values[i] = mj_half_to_float(check->half, data->codes[i]);
    }
    for (uint32_t i = 0; i < data->pad; i++) {
        data->values[data->period + i] = data->values[i % data->period];
    }
}

static mj_status make_data(mj_check *check, mj_check_data *data, uint64_t seed, uint64_t elements, uint32_t pad,
                           mj_error *error)
{
    data->period = elements < PERIOD_MAX ? (uint32_t)elements : PERIOD_MAX;
    data->pad = pad;
    data->values = mj_alloc(check->context, ((size_t)data->period + pad) * sizeof *data->values);
    data->codes = mj_alloc(check->context, (size_t)data->period * sizeof *data->codes);
    if (!data->values || !data->codes) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's data");
    }
    fill_data(check, data, seed, 0);
    return MJ_OK;
}

/* Distinct experts of the whole layer; one slot in sixteen is nobody's. */
static void make_routing(mj_check *check)
{
    const mj_problem *problem = &check->problem;
    uint64_t draw = 0;
    for (uint32_t token = 0; token < check->token_count; token++) {
        int32_t *ids = check->topk_ids + (size_t)token * problem->top_k;
        for (uint32_t slot = 0; slot < problem->top_k; slot++) {
            bool taken = true;
            while (taken) {
                ids[slot] = (int32_t)(hash(SEED_ROUTING, draw++) % problem->expert_total_count);
                taken = false;
                for (uint32_t i = 0; i < slot; i++) {
                    taken |= ids[i] == ids[slot];
                }
            }
        }
    }
    for (uint64_t i = 0; i < (uint64_t)check->token_count * problem->top_k; i++) {
        uint64_t bits = hash(SEED_ROUTING + 100, i);
        check->topk_weights[i] = (float)(bits >> 40 & 0xffff) / 65536.0f + 0.125f;
        if ((bits & 15) == 0 && i > 0) {
            check->topk_ids[i] = bits & 16 ? -1 : (int32_t)problem->expert_count;
        }
    }
}

static bool is_local(const mj_check *check, int32_t id)
{
    return id >= 0 && (uint32_t)id < check->problem.expert_count;
}

static void make_tables(mj_check *check)
{
    uint64_t pairs = (uint64_t)check->token_count * check->problem.top_k;
    int32_t at = 0;
    for (uint32_t expert = 0; expert < check->problem.expert_count; expert++) {
        check->offsets[expert] = at;
        for (uint64_t pair = 0; pair < pairs; pair++) {
            if (check->topk_ids[pair] == (int32_t)expert) {
                check->sorted_pairs[at++] = (int32_t)pair;
            }
        }
    }
    check->offsets[check->problem.expert_count] = at;
    check->local_rows = (uint64_t)at;
}

mj_status mj_check_open(mj_check *check, mj_context *context, const mj_problem *problem, uint32_t token_count,
                        mj_error *error)
{
    memset(check, 0, sizeof *check);
    check->context = context;
    check->problem = *problem;
    check->token_count = token_count;
    if (strcmp(problem->scheme, "bf16") == 0) {
        check->half = MJ_HALF_BF16;
    } else if (strcmp(problem->scheme, "fp16") == 0) {
        check->half = MJ_HALF_F16;
    } else {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the self check does not know scheme %s", problem->scheme);
    }
    size_t pairs = (size_t)token_count * problem->top_k;
    size_t experts = (size_t)problem->expert_count + 1;
    check->topk_ids = mj_alloc(context, pairs * sizeof *check->topk_ids);
    check->topk_weights = mj_alloc(context, pairs * sizeof *check->topk_weights);
    check->offsets = mj_alloc(context, experts * sizeof *check->offsets);
    check->sorted_pairs = mj_alloc(context, pairs * sizeof *check->sorted_pairs);
    if (!check->topk_ids || !check->topk_weights || !check->offsets || !check->sorted_pairs) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's routing");
    }
    make_routing(check);
    make_tables(check);
    uint64_t wide = 2ull * problem->intermediate + problem->hidden; /* columns of any operand */
    uint64_t weights = 2ull * problem->expert_count * problem->hidden * problem->intermediate;
    uint64_t inputs = (pairs + problem->expert_count) * wide; /* biases read them too */
    mj_status status = make_data(check, &check->inputs, SEED_INPUTS, inputs, (uint32_t)wide, error);
    if (status == MJ_OK) {
        status = make_data(check, &check->weights, SEED_WEIGHTS, weights, (uint32_t)wide, error);
    }
    return status;
}

void mj_check_close(mj_check *check)
{
    mj_context *context = check->context;
    if (!context) {
        return;
    }
    mj_free(context, check->topk_ids);
    mj_free(context, check->topk_weights);
    mj_free(context, check->offsets);
    mj_free(context, check->sorted_pairs);
    mj_free(context, check->inputs.values);
    mj_free(context, check->inputs.codes);
    mj_free(context, check->weights.values);
    mj_free(context, check->weights.codes);
    memset(check, 0, sizeof *check);
}

/* ---- What is right ---- */

static uint64_t gates(const mj_check *check)
{
    return check->problem.gated ? 2 : 1;
}

/* The size of a sum of products of inputs and full-sized weights: the mean square of a product is 50. */
static double sum_size(const mj_check *check, mj_op op)
{
    return 7.1 * sqrt((double)mj_problem_gemm(&check->problem, op).k);
}

/* An activation's curve lies within a few units of zero, and a product of three larger sums would leave the range of f16. */
void mj_check_use_weights(mj_check *check, mj_op op)
{
    int log2_smaller = op == MJ_OP_GEMM1_ACT ? (int)ceil(log2(sum_size(check, op))) - 1 : 0;
    if (log2_smaller != check->weights_log2) {
        fill_data(check, &check->weights, SEED_WEIGHTS, log2_smaller);
        check->weights_log2 = log2_smaller;
    }
}

mj_check_shape mj_check_output_shape(const mj_check *check, mj_op op)
{
    uint64_t pairs = (uint64_t)check->token_count * check->problem.top_k;
    switch (op) {
    case MJ_OP_GEMM1:
        return (mj_check_shape){check->local_rows, gates(check) * check->problem.intermediate};
    case MJ_OP_GEMM1_ACT:
    case MJ_OP_ACTIVATION:
        return (mj_check_shape){check->local_rows, check->problem.intermediate};
    case MJ_OP_GEMM2:
        return (mj_check_shape){pairs, check->problem.hidden};
    default:
        return (mj_check_shape){check->token_count, check->problem.hidden};
    }
}

uint64_t mj_check_input_elements(const mj_check *check, mj_op op)
{
    uint64_t pairs = (uint64_t)check->token_count * check->problem.top_k;
    switch (op) {
    case MJ_OP_GEMM1:
    case MJ_OP_GEMM1_ACT:
        return (uint64_t)check->token_count * check->problem.hidden;
    case MJ_OP_ACTIVATION:
        return pairs * gates(check) * check->problem.intermediate;
    case MJ_OP_GEMM2:
        return pairs * check->problem.intermediate;
    default:
        return pairs * check->problem.hidden;
    }
}

static double element(const mj_check_data *data, uint64_t index)
{
    return data->values[index % data->period];
}

static uint32_t expert_of_row(const mj_check *check, uint64_t row)
{
    uint32_t expert = 0;
    while ((uint64_t)check->offsets[expert + 1] <= row) {
        expert++;
    }
    return expert;
}

static double gemm_value(const mj_check *check, mj_op op, uint64_t row, uint64_t column)
{
    mj_gemm_shape shape = mj_problem_gemm(&check->problem, op);
    uint64_t expert = expert_of_row(check, row);
    uint64_t pair = (uint64_t)check->sorted_pairs[row];
    uint64_t in_row = mj_op_is_gemm1(op) ? pair / check->problem.top_k : row;
    uint64_t out = expert * shape.n + column;
    const float *x = check->inputs.values + in_row * shape.k % check->inputs.period;
    const float *w = check->weights.values + out * shape.k % check->weights.period;
    double sum = 0;
    for (uint32_t k = 0; k < shape.k; k++) {
        sum += (double)x[k] * (double)w[k];
    }
    sum += check->problem.bias ? element(&check->inputs, out) : 0;
    return op == MJ_OP_GEMM2 ? sum * (double)check->topk_weights[pair] : sum;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* u: 1 without a gate */
static double activate(const mj_check *check, double g, double u)
{
    switch (check->problem.activation) { /* ORDER ACTIVATION */
    case MJ_ACT_SILU:
        return g * sigmoid(g) * u;
    case MJ_ACT_GELU:
        return g * 0.5 * (1 + erf(g * 0.70710678118654752440)) * u;
    case MJ_ACT_GELU_TANH:
        return 0.5 * g * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g))) * u;
    case MJ_ACT_RELU2:
        return g > 0 ? g * g * u : 0;
    case MJ_ACT_SWIGLUOAI:
        g = fmin(g, 7);
        u = check->problem.gated ? fmax(-7, fmin(u, 7)) : 0;
        return g * sigmoid(1.702 * g) * (u + 1);
    default:
        return NAN;
    }
}

static double activation_value(const mj_check *check, uint64_t row, uint64_t column)
{
    uint64_t inter = check->problem.intermediate, start = row * gates(check) * inter;
    double g = element(&check->inputs, start + column);
    return activate(check, g, check->problem.gated ? element(&check->inputs, start + inter + column) : 1);
}

static double combine_value(const mj_check *check, uint64_t token, uint64_t column)
{
    double sum = 0;
    for (uint32_t slot = 0; slot < check->problem.top_k; slot++) {
        uint64_t pair = token * check->problem.top_k + slot;
        if (is_local(check, check->topk_ids[pair])) {
            sum += element(&check->inputs, pair * check->problem.hidden + column);
        }
    }
    return sum;
}

/* gemm2 writes rows in pair order: the sorted row of a pair, or -1. */
static int64_t row_of_pair(const mj_check *check, uint64_t pair)
{
    int32_t id = check->topk_ids[pair];
    if (is_local(check, id)) {
        for (int32_t row = check->offsets[id]; row < check->offsets[id + 1]; row++) {
            if ((uint64_t)check->sorted_pairs[row] == pair) {
                return row;
            }
        }
    }
    return -1;
}

typedef struct right { /* an element, and how far off a float's sum may be before it is rounded */
    double value, slack;
} right;

/* A little of the size that the terms of a sum have where they cancel. A product that lacks one step of 16 in 16384 is off by 3 %
 * of that size. */
static double sum_slack(const mj_check *check, mj_op op)
{
    double size = mj_op_is_gemm(op) ? ldexp(sum_size(check, op), -check->weights_log2) : 7.1 * 2;
    return size / 4096;
}

/* The slack is what the curve makes of that of the sums, and some roundings of floats on the way: (1 + erf) is not exact. */
static right gemm_act_value(const mj_check *check, mj_op op, uint64_t row, uint64_t column)
{
    double g = gemm_value(check, op, row, column), slack = sum_slack(check, op);
    double u = check->problem.gated ? gemm_value(check, op, row, check->problem.intermediate + column) : 1;
    double u_slack = check->problem.gated ? slack : 0;
    right out = {.value = activate(check, g, u), .slack = 0x1p-20 * (fabs(g) + 1) * (fabs(u) + 1)};
    for (int i = 0; i < 4; i++) {
        double moved = activate(check, i & 1 ? g + slack : g - slack, i & 2 ? u + u_slack : u - u_slack);
        out.slack = fmax(out.slack, fabs(moved - out.value));
    }
    return out;
}

static right right_value(const mj_check *check, mj_op op, uint64_t row, uint64_t column)
{
    right out = {.slack = sum_slack(check, op)};
    int64_t sorted = op == MJ_OP_GEMM2 ? row_of_pair(check, row) : (int64_t)row;
    switch (op) {
    case MJ_OP_GEMM1_ACT:
        return gemm_act_value(check, op, row, column);
    case MJ_OP_GEMM1:
    case MJ_OP_GEMM2:
        out.value = sorted < 0 ? NAN : gemm_value(check, op, (uint64_t)sorted, column);
        return out;
    case MJ_OP_ACTIVATION:
        out.value = activation_value(check, row, column);
        return out;
    default:
        out.value = combine_value(check, row, column);
        return out;
    }
}

double mj_check_value(const mj_check *check, mj_op op, uint64_t row, uint64_t column)
{
    return right_value(check, op, row, column).value;
}

/* ---- Comparing ---- */

/* Two units in the last place for a rounding to 16 bits. */
static bool is_near(const mj_check *check, double got, right want)
{
    double unit = check->half == MJ_HALF_BF16 ? 1.0 / 128 : 1.0 / 1024;
    return fabs(got - want.value) <= unit * fabs(want.value) + want.slack;
}

static mj_status check_element(const mj_check *check, mj_op op, const uint16_t *output, mj_check_shape shape,
                               uint64_t index, mj_error *error)
{
    uint64_t row = index / shape.columns, column = index % shape.columns;
    double got = mj_half_to_float(check->half, output[index]);
    right want = right_value(check, op, row, column);
    if (isnan(want.value) || is_near(check, got, want)) {
        return MJ_OK;
    }
    return mj_fail(error, MJ_ERR_WRONG_RESULT,
                   "%s of %" PRIu32 " tokens: row %" PRIu64 ", column %" PRIu64 " is %.6g, not %.6g", mj_op_name(op),
                   check->token_count, row, column, got, want.value);
}

static bool row_is_written(const mj_check *check, mj_op op, uint64_t row)
{
    return op != MJ_OP_GEMM2 || is_local(check, check->topk_ids[row]);
}

/* Unwritten elements, and those where two kernels disagree. */
static mj_status check_every(const mj_check *check, mj_op op, const uint16_t *output, const uint16_t *base,
                             mj_check_shape shape, mj_error *error)
{
    for (uint64_t row = 0; row < shape.rows; row++) {
        if (!row_is_written(check, op, row)) {
            continue;
        }
        for (uint64_t i = row * shape.columns; i < (row + 1) * shape.columns; i++) {
            bool strange = output[i] == 0xffff;
            if (!strange && base && base[i] != output[i]) {
                double got = mj_half_to_float(check->half, output[i]);
                strange = !is_near(check, got, (right){mj_half_to_float(check->half, base[i]), sum_slack(check, op)});
            }
            mj_status status = strange ? check_element(check, op, output, shape, i, error) : MJ_OK;
            if (status != MJ_OK) {
                return status;
            }
        }
    }
    return MJ_OK;
}

mj_status mj_check_output(const mj_check *check, mj_op op, const uint16_t *output, const uint16_t *base,
                          mj_error *error)
{
    mj_check_shape shape = mj_check_output_shape(check, op);
    uint64_t count = shape.rows * shape.columns;
    uint64_t depth = mj_op_is_gemm(op) ? mj_problem_gemm(&check->problem, op).k : 16;
    uint64_t checked = PRODUCTS_MAX / depth;
    mj_status status = check_every(check, op, output, base, shape, error);
    if (count <= checked) {
        for (uint64_t i = 0; status == MJ_OK && i < count; i++) {
            status = check_element(check, op, output, shape, i, error);
        }
        return status;
    }
    for (uint64_t row = 0; status == MJ_OK && row < shape.rows; row++) { /* both edges of every row */
        status = check_element(check, op, output, shape, row * shape.columns, error);
        if (status == MJ_OK) {
            status = check_element(check, op, output, shape, (row + 1) * shape.columns - 1, error);
        }
    }
    for (uint64_t i = 0; status == MJ_OK && i < checked; i++) {
        status = check_element(check, op, output, shape, hash(SEED_SAMPLES, i) % count, error);
    }
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
