/* reference.c: the float64 truth. Plain loops, written apart from the templates on purpose: a mistake shared by both
 * would hide. Slow by design; callers bound the number of rows and columns. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- 16-bit formats ---- */
static double load_bf16(const void *data, uint64_t index)
{
    uint16_t half;
    memcpy(&half, (const char *)data + 2 * index, 2);
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static double load_f16(const void *data, uint64_t index)
{
    uint16_t half;
    memcpy(&half, (const char *)data + 2 * index, 2);
    int exponent = (half >> 10) & 31;
    int mantissa = half & 1023;
    double magnitude;
    if (exponent == 31) {
        magnitude = mantissa ? (double)NAN : (double)INFINITY;
    } else if (exponent == 0) {
        magnitude = ldexp(mantissa, -24);
    } else {
        magnitude = ldexp(1024 + mantissa, exponent - 25);
    }
    return half & 0x8000 ? -magnitude : magnitude;
}

static double load_f32(const void *data, uint64_t index)
{
    float value;
    memcpy(&value, (const char *)data + 4 * index, 4);
    return value;
}

/* Rounds to a binary format of `digits` significant bits, smallest exponent `exponent_min` (of the unit in the last
 * place) and largest finite value `largest`, straight from the double: no double rounding. */
static double round_to(double value, int digits, int exponent_min, double largest)
{
    if (!isfinite(value) || value == 0) {
        return value;
    }
    int exponent;
    frexp(value, &exponent);
    int ulp_exponent = exponent - digits;
    if (ulp_exponent < exponent_min) {
        ulp_exponent = exponent_min;
    }
    double rounded = ldexp(nearbyint(ldexp(value, -ulp_exponent)), ulp_exponent);
    if (fabs(rounded) > largest) {
        return copysign(INFINITY, value);
    }
    return rounded;
}

static void store_bf16(void *data, uint64_t index, double value)
{
    float narrow = (float)round_to(value, 8, -133, 3.3895313892515355e38);
    uint32_t bits;
    memcpy(&bits, &narrow, 4);
    uint16_t half = isnan(value) ? 0x7fc0 : (uint16_t)(bits >> 16);
    memcpy((char *)data + 2 * index, &half, 2);
}

static void store_f16(void *data, uint64_t index, double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    uint16_t half;
    double rounded = fabs(round_to(value, 11, -24, 65504));
    if (isnan(value)) {
        half = 0x7e00;
    } else if (isinf(rounded)) {
        half = (uint16_t)(sign | 0x7c00);
    } else if (rounded < ldexp(1, -14)) {
        half = (uint16_t)(sign | (uint16_t)ldexp(rounded, 24));
    } else {
        int exponent;
        double fraction = frexp(rounded, &exponent); /* [0.5, 1) */
        uint16_t mantissa = (uint16_t)(ldexp(fraction, 11) - 1024);
        half = (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) | mantissa);
    }
    memcpy((char *)data + 2 * index, &half, 2);
}

static void store_f32(void *data, uint64_t index, double value)
{
    float narrow = (float)value;
    memcpy((char *)data + 4 * index, &narrow, 4);
}

/* ---- 8-bit formats ---- */
/* Sign, four bits of exponent, three of mantissa; `bias` of the exponent. */
static double float8_value(int code, int bias)
{
    int exponent = code >> 3 & 15, mantissa = code & 7;
    double magnitude = exponent ? ldexp(8 + mantissa, exponent - bias - 3) : ldexp(mantissa, 1 - bias - 3);
    return code & 0x80 ? -magnitude : magnitude;
}

/* Magnitude of a value that is a code's already. */
static int float8_code(double magnitude, int bias)
{
    int exponent = 0;
    double smallest = ldexp(1, 1 - bias);
    if (magnitude < smallest) {
        return (int)ldexp(magnitude, bias + 2);
    }
    double fraction = frexp(magnitude, &exponent); /* [0.5, 1) */
    return ((exponent - 1 + bias) << 3) | ((int)ldexp(fraction, 4) - 8);
}

static double saturated(double value, int bias, double largest)
{
    double rounded = fabs(round_to(value, 4, -bias - 2, 2 * largest));
    return rounded > largest ? largest : rounded;
}

static double load_e4m3(const void *data, uint64_t index)
{
    int code = ((const uint8_t *)data)[index];
    return (code & 0x7f) == 0x7f ? (double)NAN : float8_value(code, 7);
}

static double load_e4m3fnuz(const void *data, uint64_t index)
{
    int code = ((const uint8_t *)data)[index];
    return code == 0x80 ? (double)NAN : float8_value(code, 8);
}

static void store_e4m3(void *data, uint64_t index, double value)
{
    int code = isnan(value) ? 0x7f : float8_code(saturated(value, 7, 448), 7) | (signbit(value) ? 0x80 : 0);
    ((uint8_t *)data)[index] = (uint8_t)code;
}

static void store_e4m3fnuz(void *data, uint64_t index, double value)
{
    int code = isnan(value) ? 0x80 : float8_code(saturated(value, 8, 240), 8);
    ((uint8_t *)data)[index] = (uint8_t)(code && !isnan(value) && signbit(value) ? code | 0x80 : code);
}

static double load_e8m0(const void *data, uint64_t index)
{
    int code = ((const uint8_t *)data)[index];
    return code == 255 ? (double)NAN : ldexp(1, code - 127);
}

static double load_int8(const void *data, uint64_t index)
{
    return ((const int8_t *)data)[index];
}

static double load_uint8(const void *data, uint64_t index)
{
    return ((const uint8_t *)data)[index];
}

typedef struct ref_format {
    const char *name;
    uint32_t bytes;
    double (*load)(const void *data, uint64_t index);
    void (*store)(void *data, uint64_t index, double value);
} ref_format;

static const ref_format ref_formats[] = {
    {"bf16", 2, load_bf16, store_bf16},
    {"f16", 2, load_f16, store_f16},
    {"f32", 4, load_f32, store_f32},
    {"e4m3", 1, load_e4m3, store_e4m3},
    {"e4m3fnuz", 1, load_e4m3fnuz, store_e4m3fnuz},
    {"e8m0", 1, load_e8m0, NULL},
    {"int8", 1, load_int8, NULL},
    {"uint8", 1, load_uint8, NULL},
};

static const ref_format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof(ref_formats) / sizeof(ref_formats[0]); i++) {
        if (strcmp(ref_formats[i].name, name) == 0) {
            return &ref_formats[i];
        }
    }
    return NULL;
}

double mj_ref_load(const char *format, const void *data, uint64_t index)
{
    const ref_format *found = find_format(format);
    return found ? found->load(data, index) : (double)NAN;
}

void mj_ref_store(const char *format, void *data, uint64_t index, double value)
{
    const ref_format *found = find_format(format);
    if (found && found->store) {
        found->store(data, index, value);
    }
}

uint32_t mj_ref_format_bytes(const char *format)
{
    const ref_format *found = find_format(format);
    return found ? found->bytes : 0;
}

/* ---- Activation ---- */
/* ORDER ACTIVATION */
double mj_ref_activation(mj_activation activation, bool gated, double gate, double up)
{
    const double swiglu_alpha = 1.702, swiglu_limit = 7.0;
    double value = 0;
    switch (activation) {
    case MJ_ACT_SILU:
        value = gate / (1 + exp(-gate));
        break;
    case MJ_ACT_GELU:
        value = gate * 0.5 * erfc(-gate / sqrt(2.0));
        break;
    case MJ_ACT_GELU_TANH: {
        double inner = sqrt(2.0 / acos(-1.0)) * (gate + 0.044715 * gate * gate * gate);
        value = gate * 0.5 * (1 + tanh(inner));
        break;
    }
    case MJ_ACT_RELU2:
        value = gate > 0 ? gate * gate : (isnan(gate) ? gate : 0);
        break;
    case MJ_ACT_SWIGLUOAI: {
        double g = gate > swiglu_limit ? swiglu_limit : gate;
        double u = up > swiglu_limit ? swiglu_limit : (up < -swiglu_limit ? -swiglu_limit : up);
        value = g / (1 + exp(-swiglu_alpha * g));
        return gated ? value * (u + 1) : value;
    }
    case MJ_ACT_COUNT:
        return (double)NAN;
    }
    return gated ? value * up : value;
}

/* ---- Tables ---- */
uint64_t mj_ref_tables(const mj_problem *problem, const int32_t *topk_ids, uint32_t token_count, int32_t *offsets,
                       int32_t *sorted_pairs)
{
    uint64_t pair_count = (uint64_t)token_count * problem->top_k;
    int32_t row_count = 0;
    for (uint32_t expert = 0; expert < problem->expert_count; expert++) {
        offsets[expert] = row_count;
        for (uint64_t pair = 0; pair < pair_count; pair++) {
            if (topk_ids[pair] == (int32_t)expert) {
                sorted_pairs[row_count++] = (int32_t)pair;
            }
        }
    }
    offsets[problem->expert_count] = row_count;
    return (uint64_t)row_count;
}

/* ---- GEMM ---- */
/* Four partial sums: the order is free in double (error ~1e-16 * k), and the loop is not bound by latency. */
static double dot_bf16(const double *input, const void *weights, uint64_t start, uint32_t count)
{
    const uint16_t *words = (const uint16_t *)weights + start;
    double sums[4] = {0, 0, 0, 0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)words[i] << 16;
        float value;
        memcpy(&value, &bits, 4);
        sums[i & 3] += input[i] * (double)value;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static double dot(const double *a, const double *b, uint32_t count)
{
    double sums[4] = {0, 0, 0, 0};
    for (uint32_t i = 0; i < count; i++) {
        sums[i & 3] += a[i] * b[i];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static uint32_t expert_of_row(const int32_t *offsets, uint32_t expert_count, uint64_t row)
{
    uint32_t expert = 0;
    while (expert < expert_count && (uint64_t)offsets[expert + 1] <= row) {
        expert++;
    }
    return expert;
}

/* Weights that are bf16 as they lie there: the common case, worth its own loop. Others: a row at a time, decoded. */
static mj_status dot_rows(const mj_scheme *scheme, mj_gemm_shape shape, const mj_ref_arrays *arrays, uint32_t expert,
                          const double *input, double *decoded, double *out, mj_error *error)
{
    bool plain = strcmp(scheme->weight_format, "bf16") == 0 && !scheme->scale.format[0] && !scheme->zero.format[0] &&
                 !scheme->decode_count && !scheme->global_scale.format[0];
    const mj_ref_memory *memory = plain ? NULL : arrays->memory;
    uint32_t slot = memory ? expert % memory->slot_count : 0;
    bool held = memory && memory->held[slot] == expert + 1;
    mj_status status = MJ_OK;
    if (memory && !held) {
        memory->held[slot] = 0;
    }
    for (uint32_t column = 0; column < shape.n && status == MJ_OK; column++) {
        if (plain) {
            uint64_t at = (uint64_t)expert * shape.n + mj_weight_row(shape, column);
            out[column] = dot_bf16(input, arrays->weights, at * shape.k, shape.k);
            continue;
        }
        double *row = memory ? memory->weights + ((uint64_t)slot * shape.n + column) * shape.k : decoded;
        if (!held) {
            status = mj_ref_weight_row(scheme, shape, arrays, expert, column, row, error);
        }
        out[column] = status == MJ_OK ? dot(input, row, shape.k) : 0;
    }
    if (memory && status == MJ_OK) {
        memory->held[slot] = expert + 1;
    }
    return status;
}

mj_status mj_ref_gemm_row(const mj_problem *problem, const mj_scheme *scheme, mj_op op, const mj_ref_arrays *arrays,
                          const int32_t *offsets, const int32_t *sorted_pairs, const float *topk_weights, uint64_t row,
                          double *out, mj_error *error)
{
    const ref_format *io = find_format(scheme->io_format);
    if (!io) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the host reference does not know scheme %s", scheme->name);
    }
    if (!mj_op_is_gemm(op) || row >= (uint64_t)offsets[problem->expert_count]) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "row %llu of %s is outside the routed rows", (unsigned long long)row,
                       mj_op_name(op));
    }
    bool second = mj_op_is_gemm2(op);
    mj_gemm_shape shape = mj_problem_gemm(problem, op);
    uint32_t expert = expert_of_row(offsets, problem->expert_count, row);
    int32_t pair = sorted_pairs[row];
    double factor = second ? (double)topk_weights[pair] : 1.0;
    double *input_row = malloc((2 * (size_t)shape.k + shape.n) * sizeof(double));
    double *sums = mj_op_activates(op) && input_row ? input_row + 2 * (size_t)shape.k : out;
    if (!input_row) {
        return mj_fail(error, MJ_ERR_MEMORY, "reference row of %u elements", shape.k);
    }
    mj_status status =
        mj_ref_input_row(scheme, shape.k, arrays, second ? row : (uint64_t)pair / problem->top_k, input_row, error);
    if (status == MJ_OK) {
        status = dot_rows(scheme, shape, arrays, expert, input_row, input_row + shape.k, sums, error);
    }
    for (uint32_t column = 0; column < shape.n && status == MJ_OK; column++) {
        double bias = arrays->bias ? io->load(arrays->bias, (uint64_t)expert * shape.n + column) : 0;
        sums[column] = (sums[column] + bias) * factor;
    }
    for (uint32_t column = 0; mj_op_activates(op) && column < shape.out_n && status == MJ_OK; column++) {
        double up = problem->gated ? sums[shape.out_n + column] : 0;
        out[column] = mj_ref_activation(problem->activation, problem->gated, sums[column], up);
    }
    free(input_row);
    return status;
}

/* ---- Seeded data ---- */
uint64_t mj_ref_random(uint64_t seed, uint64_t index)
{
    uint64_t z = seed + (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* The sum of the four fields, its mean taken off. */
static int centred(uint64_t seed, uint64_t index)
{
    uint64_t z = mj_ref_random(seed, index);
    return (int)(z & 0xffff) + (int)((z >> 16) & 0xffff) + (int)((z >> 32) & 0xffff) + (int)(z >> 48) - 131070;
}

float mj_ref_fill(uint64_t seed, uint64_t index, float scale)
{
    float step = scale * 2.6429157e-05f;
    return (float)centred(seed, index) * step;
}

float mj_ref_fill_positive(uint64_t seed, uint64_t index, float scale)
{
    float step = scale * 3.8147554e-06f; /* 1 / 262140 */
    return (float)(centred(seed, index) + 262140) * step;
}
