/* scheme_layer.h: whole layers of quantised schemes with random data, and what the host's own functions make of them: the same roundings
 * to 16 bits and to codes between the ops, float64 inside them. `spec` is opened by the test. */
#ifndef MOEJIT_SCHEME_LAYER_H
#define MOEJIT_SCHEME_LAYER_H

#include <math.h>

#include "check.h"
#include "reference.h"
#include "scheme_words.h"

enum { TOKENS_MAX = 24, OPERAND_KINDS = 3 };

static mj_spec *spec;

typedef struct layer {
    mj_problem problem;
    const mj_scheme *scheme;
    uint32_t token_count;
    char *x, *weights[2][OPERAND_KINDS], *bias[2], *y;
    float *input_scales[2];
    int32_t *ids;
    float *topk_weights;
    double *want;
} layer;

static inline void *memory(size_t bytes)
{
    void *out = aligned_alloc(256, (bytes + 511) / 256 * 256);
    memset(out, 0, bytes + 1);
    return out;
}

static inline char *random_operand(const mj_operand *operand, uint64_t seed)
{
    char *out = operand->bytes ? memory(operand->bytes) : NULL;
    for (uint64_t i = 0; out && i < operand->count; i++) {
        mj_operand_store(operand, out, i, seed, i);
    }
    return out;
}

static inline bool layer_open(layer *l, const char *problem, uint32_t token_count)
{
    mj_error error = {0};
    memset(l, 0, sizeof *l);
    if (mj_problem_parse(problem, &l->problem, &error) != MJ_OK ||
        mj_spec_find_scheme(spec, l->problem.scheme, &l->scheme, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        return false;
    }
    const mj_problem *p = &l->problem;
    uint64_t pairs = (uint64_t)token_count * p->top_k;
    l->token_count = token_count;
    for (int g = 0; g < 2; g++) {
        mj_op op = g ? MJ_OP_GEMM2 : MJ_OP_GEMM1;
        mj_operands o;
        mj_operand bias = {.format = l->scheme->io_format, .scale = 0.5f};
        if (mj_operands_describe(l->scheme, p, op, 1, &o, &error) != MJ_OK) {
            check_fail(__FILE__, __LINE__, "%s", error.text);
            return false;
        }
        const mj_operand *kinds[OPERAND_KINDS] = {&o.weights, &o.weight_scales, &o.weight_zeros};
        for (int i = 0; i < OPERAND_KINDS; i++) {
            l->weights[g][i] = random_operand(kinds[i], (uint64_t)(10 * g + i));
        }
        bias.count = (uint64_t)p->expert_count * mj_problem_gemm(p, op).n;
        bias.bytes = bias.count * 2;
        l->bias[g] = p->bias ? random_operand(&bias, 77) : NULL;
        l->input_scales[g] = memory(16);
        l->input_scales[g][0] = g ? 0.02f : 0.0085f;
    }
    mj_operand x = {.format = l->scheme->io_format, .scale = 1, .count = (uint64_t)token_count * p->hidden};
    x.bytes = x.count * 2;
    l->x = random_operand(&x, 5);
    l->y = memory(x.bytes);
    l->want = memory(x.count * sizeof(double));
    l->ids = memory(pairs * sizeof(int32_t));
    l->topk_weights = memory(pairs * sizeof(float));
    for (uint64_t i = 0; i < pairs; i++) { /* distinct experts of a token; some are another rank's */
        uint64_t bits = mj_ref_random(3, i / p->top_k);
        l->ids[i] = (int32_t)((bits + i % p->top_k) % p->expert_count);
        l->ids[i] = mj_ref_random(4, i) % 5 == 0 ? -1 : l->ids[i];
        l->topk_weights[i] = 0.25f + 0.125f * (float)(i % 4);
    }
    return true;
}

static inline void layer_close(layer *l)
{
    for (int g = 0; g < 2; g++) {
        for (int i = 0; i < OPERAND_KINDS; i++) {
            free(l->weights[g][i]);
        }
        free(l->bias[g]);
        free(l->input_scales[g]);
    }
    free(l->x);
    free(l->y);
    free(l->want);
    free(l->ids);
    free(l->topk_weights);
}

/* ---- The host's layer ---- */

/* Rows as the GEMM reads them: codes and scales, or the rows themselves. */
static inline mj_ref_arrays gemm_input(const layer *l, int g, const char *rows, uint64_t count, char *codes,
                                       float *scales)
{
    mj_ref_arrays arrays = {.input = rows, .weights = l->weights[g][0], .bias = l->bias[g]};
    uint32_t k = mj_problem_gemm(&l->problem, g ? MJ_OP_GEMM2 : MJ_OP_GEMM1).k;
    uint32_t per_row = mj_ref_scales_per_row(l->scheme, k);
    arrays.weight_scales = l->weights[g][1];
    arrays.weight_zeros = l->weights[g][2];
    if (!mj_scheme_quantises(l->scheme)) {
        return arrays;
    }
    for (uint64_t row = 0; row < count; row++) {
        float *to = per_row ? scales + row * per_row : l->input_scales[g];
        if (mj_ref_quantise_row(l->scheme, k, rows, row, codes + row * k, to, NULL) != MJ_OK) {
            check_fail(__FILE__, __LINE__, "row %llu is not quantised", (unsigned long long)row);
        }
    }
    arrays.input = codes;
    arrays.input_scales = per_row ? scales : l->input_scales[g];
    return arrays;
}

static inline void make_truth(layer *l)
{
    const mj_problem *p = &l->problem;
    const char *io = l->scheme->io_format;
    memset(l->want, 0, (size_t)l->token_count * p->hidden * sizeof *l->want);
    uint64_t pairs = (uint64_t)l->token_count * p->top_k, n1 = mj_problem_gemm(p, MJ_OP_GEMM1).n;
    int32_t *offsets = memory((p->expert_count + 1) * sizeof *offsets), *sorted = memory(pairs * sizeof *sorted);
    char *codes = memory((pairs + l->token_count) * (p->hidden + p->intermediate)), *inner = memory(pairs * n1 * 2);
    float *scales = memory((pairs + l->token_count) * (p->hidden + p->intermediate) * sizeof *scales);
    double *row_values = memory((n1 + p->hidden) * sizeof *row_values);
    uint64_t rows = mj_ref_tables(p, l->ids, l->token_count, offsets, sorted);
    mj_ref_arrays first = gemm_input(l, 0, l->x, l->token_count, codes, scales);
    for (uint64_t row = 0; row < rows; row++) {
        CHECK_STATUS(mj_ref_gemm_row(p, l->scheme, MJ_OP_GEMM1, &first, offsets, sorted, NULL, row, row_values, NULL),
                     MJ_OK);
        for (uint32_t i = 0; i < n1; i++) {
            char rounded[2];
            mj_ref_store(io, rounded, 0, row_values[i]);
            row_values[i] = mj_ref_load(io, rounded, 0);
        }
        for (uint32_t i = 0; i < p->intermediate; i++) {
            double up = p->gated ? row_values[p->intermediate + i] : 0;
            mj_ref_store(io, inner, row * p->intermediate + i,
                         mj_ref_activation(p->activation, p->gated, row_values[i], up));
        }
    }
    mj_ref_arrays second = gemm_input(l, 1, inner, rows, codes, scales);
    for (uint64_t row = 0; row < rows; row++) {
        CHECK_STATUS(mj_ref_gemm_row(p, l->scheme, MJ_OP_GEMM2, &second, offsets, sorted, l->topk_weights, row,
                                     row_values, NULL),
                     MJ_OK);
        for (uint32_t i = 0; i < p->hidden; i++) {
            l->want[(uint64_t)sorted[row] / p->top_k * p->hidden + i] += row_values[i];
        }
    }
    free(offsets);
    free(sorted);
    free(codes);
    free(inner);
    free(scales);
    free(row_values);
}

static inline mj_layer arguments(const layer *l)
{
    bool is_static = mj_scheme_quantises(l->scheme) && mj_ref_scales_per_row(l->scheme, 256) == 0;
    return (mj_layer){.x = l->x,
                      .weights1 = l->weights[0][0],
                      .weights2 = l->weights[1][0],
                      .bias1 = l->bias[0],
                      .bias2 = l->bias[1],
                      .topk_ids = l->ids,
                      .topk_weights = l->topk_weights,
                      .y = l->y,
                      .token_count = l->token_count,
                      .weight_scales1 = l->weights[0][1],
                      .weight_scales2 = l->weights[1][1],
                      .weight_zeros1 = l->weights[0][2],
                      .weight_zeros2 = l->weights[1][2],
                      .input_scale1 = is_static ? l->input_scales[0] : NULL,
                      .input_scale2 = is_static ? l->input_scales[1] : NULL};
}

/* Largest error of a token over the norm of its row. */
static inline double worst_error(const layer *l)
{
    double worst = 0;
    for (uint32_t token = 0; token < l->token_count; token++) {
        double wrong = 0, norm = 0;
        for (uint32_t i = 0; i < l->problem.hidden; i++) {
            uint64_t at = (uint64_t)token * l->problem.hidden + i;
            wrong += pow(mj_ref_load(l->scheme->io_format, l->y, at) - l->want[at], 2);
            norm += pow(l->want[at], 2);
        }
        double error = norm > 0 ? sqrt(wrong / norm) : wrong > 0 ? INFINITY : wrong;
        worst = error > worst || isnan(error) ? error : worst;
    }
    return worst;
}

#endif
