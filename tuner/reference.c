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
    if (found) {
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
static void load_row(const ref_format *format, const void *data, uint64_t row, uint32_t count, double *out)
{
    for (uint32_t i = 0; i < count; i++) {
        out[i] = format->load(data, row * count + i);
    }
}

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

static double dot_any(const ref_format *format, const double *input, const void *weights, uint64_t start,
                      uint32_t count)
{
    double sums[4] = {0, 0, 0, 0};
    for (uint32_t i = 0; i < count; i++) {
        sums[i & 3] += input[i] * format->load(weights, start + i);
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

mj_status mj_ref_gemm_row(const mj_problem *problem, const mj_scheme *scheme, mj_op op, const void *input,
                          const void *weights, const void *bias, const int32_t *offsets, const int32_t *sorted_pairs,
                          const float *topk_weights, uint64_t row, double *out, mj_error *error)
{
    const ref_format *io = find_format(scheme->io_format);
    const ref_format *weight_format = find_format(scheme->weight_format);
    if (!io || !weight_format || scheme->scale.format[0] || scheme->zero.format[0] || scheme->decode_count) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the host reference does not know scheme %s", scheme->name);
    }
    if ((op != MJ_OP_GEMM1 && op != MJ_OP_GEMM2) || row >= (uint64_t)offsets[problem->expert_count]) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "row %llu of %s is outside the routed rows", (unsigned long long)row,
                       mj_op_name(op));
    }
    bool second = op == MJ_OP_GEMM2;
    uint32_t n = second ? problem->hidden : problem->intermediate * (problem->gated ? 2u : 1u);
    uint32_t k = second ? problem->intermediate : problem->hidden;
    uint32_t expert = expert_of_row(offsets, problem->expert_count, row);
    int32_t pair = sorted_pairs[row];
    double factor = second ? (double)topk_weights[pair] : 1.0;

    double *input_row = malloc((size_t)k * sizeof(double));
    if (!input_row) {
        return mj_fail(error, MJ_ERR_MEMORY, "reference row of %u elements", k);
    }
    load_row(io, input, second ? row : (uint64_t)pair / problem->top_k, k, input_row);
    for (uint32_t column = 0; column < n; column++) {
        uint64_t start = ((uint64_t)expert * n + column) * k;
        double sum = weight_format->load == load_bf16 ? dot_bf16(input_row, weights, start, k)
                                                      : dot_any(weight_format, input_row, weights, start, k);
        if (bias) {
            sum += io->load(bias, (uint64_t)expert * n + column);
        }
        out[column] = sum * factor;
    }
    free(input_row);
    return MJ_OK;
}

/* ---- Seeded data ---- */
float mj_ref_fill(uint64_t seed, uint64_t index, float scale)
{
    uint64_t z = seed + (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    int sum = (int)(z & 0xffff) + (int)((z >> 16) & 0xffff) + (int)((z >> 32) & 0xffff) + (int)(z >> 48);
    float step = scale * 2.6429157e-05f;
    return (float)(sum - 131070) * step;
}
