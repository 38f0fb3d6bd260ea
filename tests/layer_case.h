/* layer_case.h: random layers on the host, their float64 truth, and running them through a plan on any device. */
#ifndef MOEJIT_LAYER_CASE_H
#define MOEJIT_LAYER_CASE_H

#include "check.h"
#include "moejit.h"

/* ---- A layer on the host ---- */

typedef struct layer {
    mj_problem problem;
    const char *format; /* "bf16" or "f16" */
    uint32_t token_count;
    uint64_t counts[5]; /* elements of x, weights1, weights2, bias1, bias2 */
    double *values[5];  /* as rounded to the format */
    uint16_t *codes[5]; /* 256-byte aligned: the cpu device reads host memory */
    int32_t *topk_ids;
    float *topk_weights;
    uint16_t *y;
    double *want;
} layer;

static inline uint64_t random_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static inline double decode(const char *format, uint16_t code)
{
    if (strcmp(format, "bf16") == 0) {
        uint32_t bits = (uint32_t)code << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    int exponent = code >> 10 & 31, fraction = code & 1023;
    double magnitude = exponent == 31 ? NAN : exponent ? ldexp(fraction + 1024, exponent - 25) : ldexp(fraction, -24);
    return code & 0x8000 ? -magnitude : magnitude;
}

/* A random code with a value in (-1, 1) * scale, scale a power of two; nothing is rounded. */
static inline uint16_t random_code(const char *format, uint64_t *state, int log2_scale)
{
    uint64_t bits = random_bits(state);
    int below = (int)(bits >> 12 & 3);
    uint16_t sign = (uint16_t)(bits & 1 ? 0x8000 : 0);
    if (strcmp(format, "bf16") == 0) {
        return (uint16_t)(sign | (uint16_t)((126 + log2_scale - below) << 7) | (bits >> 1 & 127));
    }
    return (uint16_t)(sign | (uint16_t)((14 + log2_scale - below) << 10) | (bits >> 1 & 1023));
}

static inline void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(256, (bytes + 511) / 256 * 256);
    memset(memory, 0, bytes + 1);
    return memory;
}

/* ORDER PATTERN */
typedef enum pattern { RANDOM, ONE_EXPERT, HALF_EMPTY, SOME_ABSENT, PATTERN_COUNT } pattern;

static inline void route(layer *l, pattern how, uint64_t *state)
{
    const mj_problem *p = &l->problem;
    for (uint32_t token = 0; token < l->token_count; token++) {
        for (uint32_t slot = 0; slot < p->top_k; slot++) {
            uint32_t at = token * p->top_k + slot;
            uint32_t start = how == ONE_EXPERT ? 0 : (uint32_t)random_bits(state) % p->expert_total_count;
            uint32_t half = (p->expert_total_count + 1) / 2;
            uint32_t count = how == HALF_EMPTY && half > p->top_k ? half : p->expert_total_count;
            l->topk_weights[at] = (float)(random_bits(state) % 1000 + 1) / 1000.0f;
            for (uint32_t step = 0; step < count; step++) { /* the next one that this token has not */
                int32_t id = (int32_t)((start % count + step) % count);
                bool taken = false;
                for (uint32_t i = 0; i < slot; i++) {
                    taken |= l->topk_ids[token * p->top_k + i] == id;
                }
                l->topk_ids[at] = id;
                if (!taken) {
                    break;
                }
            }
        }
    }
    for (uint32_t i = 0; how == SOME_ABSENT && i < l->token_count * p->top_k; i++) {
        l->topk_ids[i] = i / p->top_k == 1 || random_bits(state) % 3 == 0 ? (i % 2 ? -1 : 1 << 30) : l->topk_ids[i];
    }
}

static inline bool open_layer(layer *l, const char *problem, uint32_t token_count, pattern how)
{
    memset(l, 0, sizeof *l);
    mj_error error = {0};
    if (mj_problem_parse(problem, &l->problem, &error) != MJ_OK) {
        printf("# %s\n", error.text);
        return false;
    }
    const mj_problem *p = &l->problem;
    uint64_t gates = p->gated ? 2 : 1, state = 99 + how,
             counts[5] = {(uint64_t)token_count * p->hidden,
                          (uint64_t)p->expert_count * gates * p->intermediate * p->hidden,
                          (uint64_t)p->expert_count * p->hidden * p->intermediate,
                          (uint64_t)p->expert_count * gates * p->intermediate, (uint64_t)p->expert_count * p->hidden};
    static const int scales[5] = {1, -2, -2, 0, 0};
    l->format = strcmp(p->scheme, "fp16") == 0 ? "f16" : "bf16";
    l->token_count = token_count;
    for (int i = 0; i < 5; i++) {
        l->counts[i] = counts[i];
        l->values[i] = aligned(counts[i] * sizeof(double));
        l->codes[i] = aligned(counts[i] * sizeof(uint16_t));
        for (uint64_t j = 0; j < counts[i]; j++) {
            l->codes[i][j] = random_code(l->format, &state, scales[i]);
            l->values[i][j] = decode(l->format, l->codes[i][j]);
        }
    }
    l->topk_ids = aligned((size_t)token_count * p->top_k * sizeof(int32_t));
    l->topk_weights = aligned((size_t)token_count * p->top_k * sizeof(float));
    l->y = aligned((size_t)token_count * p->hidden * sizeof(uint16_t));
    l->want = aligned((size_t)token_count * p->hidden * sizeof(double));
    route(l, how, &state);
    return true;
}

static inline void close_layer(layer *l)
{
    for (int i = 0; i < 5; i++) {
        free(l->values[i]);
        free(l->codes[i]);
    }
    free(l->topk_ids);
    free(l->topk_weights);
    free(l->y);
    free(l->want);
}

static inline mj_layer arguments(const layer *l)
{
    return (mj_layer){.x = l->codes[0],
                      .weights1 = l->codes[1],
                      .weights2 = l->codes[2],
                      .bias1 = l->problem.bias ? l->codes[3] : NULL,
                      .bias2 = l->problem.bias ? l->codes[4] : NULL,
                      .topk_ids = l->topk_ids,
                      .topk_weights = l->topk_weights,
                      .y = l->y,
                      .token_count = l->token_count};
}

/* ---- What is right ---- */

static inline double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static inline double activate(mj_activation how, double g, double u)
{
    switch (how) { /* ORDER ACTIVATION */
    case MJ_ACT_SILU:
        return g * sigmoid(g) * u;
    case MJ_ACT_GELU:
        return g * 0.5 * erfc(-g / sqrt(2)) * u;
    case MJ_ACT_GELU_TANH:
        return g * sigmoid(2 * sqrt(2 / 3.14159265358979323846) * (g + 0.044715 * pow(g, 3))) * u;
    case MJ_ACT_RELU2:
        return pow(fmax(g, 0), 2) * u;
    default:
        g = fmin(g, 7);
        return g * sigmoid(1.702 * g) * (fmin(fmax(u, -7), 7) + 1);
    }
}

static inline double dot(const double *a, const double *b, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static inline void add_pair(const layer *l, uint32_t token, uint32_t expert, double weight)
{
    const mj_problem *p = &l->problem;
    uint32_t h = p->hidden, n = p->intermediate, columns = p->gated ? 2 * n : n;
    double *inner = calloc(n, sizeof *inner);
    const double *x = l->values[0] + (size_t)token * h;
    for (uint32_t i = 0; i < n; i++) {
        const double *w = l->values[1] + (size_t)expert * columns * h, *b = l->values[3] + (size_t)expert * columns;
        double g = dot(x, w + (size_t)i * h, h) + (p->bias ? b[i] : 0), u = 1;
        if (p->gated) {
            u = dot(x, w + (size_t)(n + i) * h, h) + (p->bias ? b[n + i] : 0);
        }
        inner[i] = activate(p->activation, g, u);
    }
    for (uint32_t i = 0; i < h; i++) {
        double sum = dot(inner, l->values[2] + ((size_t)expert * h + i) * n, n);
        l->want[(size_t)token * h + i] += weight * (sum + (p->bias ? l->values[4][(size_t)expert * h + i] : 0));
    }
    free(inner);
}

/* Largest error of a row over the row's norm; NaN if anything is. Rows of nobody's tokens must be zero exactly. */
static inline double worst_error(const layer *l)
{
    const mj_problem *p = &l->problem;
    double worst = 0;
    memset(l->want, 0, (size_t)l->token_count * p->hidden * sizeof(double));
    for (uint32_t token = 0; token < l->token_count; token++) {
        double wrong = 0, norm = 0;
        for (uint32_t slot = 0; slot < p->top_k; slot++) {
            int32_t id = l->topk_ids[token * p->top_k + slot];
            if (id >= 0 && (uint32_t)id < p->expert_count) {
                add_pair(l, token, (uint32_t)id, l->topk_weights[token * p->top_k + slot]);
            }
        }
        for (uint32_t i = token * p->hidden; i < (token + 1) * p->hidden; i++) {
            wrong += pow(decode(l->format, l->y[i]) - l->want[i], 2);
            norm += pow(l->want[i], 2);
        }
        double error = norm > 0 ? sqrt(wrong / norm) : wrong > 0 ? INFINITY : wrong;
        worst = error > worst || isnan(error) ? error : worst;
    }
    return worst;
}

static inline double tolerance(const layer *l) /* four roundings: gemm1, activation, gemm2, combine */
{
    return strcmp(l->format, "bf16") == 0 ? 0.008 : 0.001;
}

/* ---- The same layer in a device's memory ---- */

enum { PLACED_ARRAYS = 8 }; /* x, weights and biases as in layer.codes, then ids, top-k weights, y */

typedef struct placed_layer {
    mj_device *device;
    void *memory[PLACED_ARRAYS];
    mj_layer run;
} placed_layer;

static inline void remove_layer(placed_layer *p)
{
    for (int i = 0; i < PLACED_ARRAYS; i++) {
        mj_memory_free(p->device, p->memory[i]);
    }
    memset(p, 0, sizeof *p);
}

static inline size_t y_bytes(const layer *l)
{
    return (size_t)l->token_count * l->problem.hidden * sizeof *l->y;
}

/* Routing and x as the host has them now. */
static inline mj_status refresh_layer(placed_layer *p, const layer *l, mj_error *error)
{
    size_t pairs = (size_t)l->token_count * l->problem.top_k;
    mj_status status = mj_memory_upload(p->device, p->memory[0], l->codes[0], l->counts[0] * 2, error);
    if (status == MJ_OK) {
        status = mj_memory_upload(p->device, p->memory[5], l->topk_ids, pairs * sizeof *l->topk_ids, error);
    }
    if (status == MJ_OK) { /* NaN: what is not written is seen */
        memset(l->y, 0xff, y_bytes(l));
        status = mj_memory_upload(p->device, p->memory[7], l->y, y_bytes(l), error);
    }
    return status;
}

/* Weights1 as the problem's layout has them; the layer's own are in default order. NULL: no memory, or refused. */
static inline uint16_t *packed_weights1(const layer *l, mj_error *error)
{
    uint16_t *packed = aligned(l->counts[1] * 2);
    if (mj_weights_pack(&l->problem, "default", l->codes[1], packed, l->counts[1] * 2, error) != MJ_OK) {
        free(packed);
        return NULL;
    }
    return packed;
}

static inline mj_status place_layer(mj_device *device, const layer *l, placed_layer *out, mj_error *error)
{
    size_t pairs = (size_t)l->token_count * l->problem.top_k;
    const void *host[PLACED_ARRAYS] = {[5] = l->topk_ids, [6] = l->topk_weights, [7] = l->y};
    size_t bytes[PLACED_ARRAYS] = {
        [5] = pairs * sizeof *l->topk_ids, [6] = pairs * sizeof *l->topk_weights, [7] = y_bytes(l)};
    uint16_t *packed = packed_weights1(l, error);
    mj_status status = packed ? MJ_OK : MJ_ERR_ARGUMENT;
    memset(out, 0, sizeof *out);
    out->device = device;
    for (int i = 0; i < PLACED_ARRAYS && status == MJ_OK; i++) {
        host[i] = i == 1 ? packed : i < 5 ? l->codes[i] : host[i];
        bytes[i] = i < 5 ? l->counts[i] * 2 : bytes[i];
        status = mj_memory_alloc(device, bytes[i], &out->memory[i], error);
        if (status == MJ_OK) {
            status = mj_memory_upload(device, out->memory[i], host[i], bytes[i], error);
        }
    }
    free(packed);
    void **m = out->memory;
    out->run = (mj_layer){.x = m[0],
                          .weights1 = m[1],
                          .weights2 = m[2],
                          .bias1 = l->problem.bias ? m[3] : NULL,
                          .bias2 = l->problem.bias ? m[4] : NULL,
                          .topk_ids = m[5],
                          .topk_weights = m[6],
                          .y = m[7],
                          .token_count = l->token_count,
                          .layout = l->problem.layout};
    return status == MJ_OK ? refresh_layer(out, l, error) : status;
}

/* Waits for the stream, brings y to the host and compares it with the truth. */
static inline mj_status layer_error(const placed_layer *p, layer *l, void *stream, double *worst, mj_error *error)
{
    mj_status status = mj_stream_sync(p->device, stream, error);
    if (status == MJ_OK) {
        status = mj_memory_download(p->device, l->y, p->memory[7], y_bytes(l), error);
    }
    *worst = status == MJ_OK ? worst_error(l) : NAN;
    return status;
}

static inline bool one_layer_is_right(mj_device *device, mj_plan *plan, layer *l)
{
    placed_layer placed;
    mj_error error = {0};
    double worst = NAN;
    mj_status status = place_layer(device, l, &placed, &error);
    if (status == MJ_OK) {
        status = mj_plan_run(plan, &placed.run, NULL, &error);
    }
    if (status == MJ_OK) {
        status = layer_error(&placed, l, NULL, &worst, &error);
    }
    remove_layer(&placed);
    bool right = status == MJ_OK && worst <= tolerance(l);
    if (!right) {
        printf("# %u tokens: error %g; %s\n", (unsigned)l->token_count, worst, error.text);
    }
    return right;
}

/* Every pattern and these token counts through one plan. */
static inline bool layers_are_right(mj_device *device, const char *problem, const mj_plan_options *options,
                                    const uint32_t *tokens, size_t count)
{
    mj_problem parsed;
    mj_plan *plan = NULL;
    mj_error error = {0};
    bool right = mj_problem_parse(problem, &parsed, &error) == MJ_OK &&
                 mj_plan_create(device, &parsed, options, &plan, &error) == MJ_OK;
    if (!right) {
        printf("# %s: %s\n", problem, error.text);
    }
    for (int how = 0; right && how < PATTERN_COUNT; how++) {
        for (size_t i = 0; right && i < count; i++) {
            layer l;
            right = open_layer(&l, problem, tokens[i], (pattern)how) && one_layer_is_right(device, plan, &l);
            close_layer(&l);
            if (!right) {
                printf("# %s, pattern %d\n", problem, how);
            }
        }
    }
    mj_plan_destroy(plan);
    return right;
}

#endif
