/* verify_truth.c: the device's reference output and the layer's simple ops against the host's float64 loops.
 *
 * A sample of a large GEMM is itself a small GEMM: the chosen rows (top_k = 1) times the chosen columns. Gathering it lets
 * mj_ref_gemm_row judge any size without a change:
 *     rows r0..r7 of experts 3, 3, 9   ->   mini problem of 2 experts, offsets {0, 2, 3}, weights [2, columns, k] */
#include "verify.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

#define SAMPLE_ROWS_MIN    256
#define SAMPLE_COLUMNS_MIN 16

typedef struct sample {
    uint32_t row_count, column_count, expert_count; /* experts with chosen rows; columns of weights */
    uint32_t output_count;                          /* columns of the output: fewer where gates and ups become one */
    uint64_t *rows;                                 /* sorted rows, ascending */
    uint32_t *columns;                              /* ascending; gates, then their ups */
    uint32_t *experts;                              /* real index of each mini expert */
    int32_t *offsets, *pairs;
    float *topk_weights;
    char *input, *weights, *bias; /* gathered */
    float *input_scales, *weight_scales,
        *weight_zeros; /* gathered: of each row; of each expert, column and group of k */
    double *want;
} sample;

static void sample_free(sample *s)
{
    free(s->rows);
    free(s->columns);
    free(s->experts);
    free(s->offsets);
    free(s->pairs);
    free(s->topk_weights);
    free(s->input);
    free(s->weights);
    free(s->bias);
    free(s->input_scales);
    free(s->weight_scales);
    free(s->weight_zeros);
    free(s->want);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static mj_status choose_rows(const mj_lab *lab, const mj_case_set *set, bool all, sample *s, mj_error *error)
{
    uint64_t capacity = all ? set->rows : 2ull * set->active_count + SAMPLE_ROWS_MIN;
    uint64_t state = 88172645463325252ull;
    uint32_t count = 0;
    s->rows = malloc((capacity + 1) * sizeof(uint64_t));
    if (!s->rows) {
        return mj_fail(error, MJ_ERR_MEMORY, "sample of %" PRIu64 " rows", capacity);
    }
    if (all) {
        for (uint64_t row = 0; row < set->rows; row++) {
            s->rows[count++] = row;
        }
    } else {
        for (uint32_t expert = 0; expert < lab->problem.expert_count; expert++) {
            if (set->offsets[expert + 1] > set->offsets[expert]) {
                s->rows[count++] = (uint64_t)set->offsets[expert];
                s->rows[count++] = (uint64_t)set->offsets[expert + 1] - 1;
            }
        }
        for (uint32_t i = 0; i < SAMPLE_ROWS_MIN; i++) {
            s->rows[count++] = next_random(&state) % set->rows;
        }
        qsort(s->rows, count, sizeof(uint64_t), compare_u64);
    }
    for (uint32_t i = 0; i < count; i++) { /* unique */
        if (s->row_count == 0 || s->rows[s->row_count - 1] != s->rows[i]) {
            s->rows[s->row_count++] = s->rows[i];
        }
    }
    return MJ_OK;
}

static mj_status choose_columns(const mj_lab *lab, uint32_t wanted, sample *s, mj_error *error)
{
    uint32_t n = lab->shape.out_n, count = 0;
    uint64_t state = 2463534242ull;
    s->columns = malloc(2 * (wanted + 1ull) * sizeof(uint32_t));
    if (!s->columns) {
        return mj_fail(error, MJ_ERR_MEMORY, "sample of %u columns", wanted);
    }
    if (wanted >= n) {
        for (uint32_t i = 0; i < n; i++) {
            s->columns[count++] = i;
        }
    } else {
        const uint32_t edges[] = {0, n - 1, 1, 15, 16, 127, 128, n / 2};
        for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]) && count < wanted; i++) {
            s->columns[count++] = edges[i] < n ? edges[i] : n - 1;
        }
        while (count < wanted) {
            s->columns[count++] = (uint32_t)(next_random(&state) % n);
        }
        qsort(s->columns, count, sizeof(uint32_t), compare_u32);
    }
    s->column_count = s->output_count = count;
    if (n < lab->shape.n) { /* an output column is made of two */
        for (uint32_t i = 0; i < count; i++) {
            s->columns[s->column_count++] = n + s->columns[i];
        }
    }
    return MJ_OK;
}

/* Mini experts, offsets, pairs, top-k weights. */
static mj_status map_rows(const mj_lab *lab, const mj_case_set *set, sample *s, mj_error *error)
{
    s->experts = malloc((s->row_count + 1ull) * sizeof(uint32_t));
    s->offsets = malloc((s->row_count + 2ull) * sizeof(int32_t));
    s->pairs = malloc((s->row_count + 1ull) * sizeof(int32_t));
    s->topk_weights = malloc((s->row_count + 1ull) * sizeof(float));
    if (!s->experts || !s->offsets || !s->pairs || !s->topk_weights) {
        return mj_fail(error, MJ_ERR_MEMORY, "sample of %u rows", s->row_count);
    }
    uint32_t expert = 0;
    for (uint32_t i = 0; i < s->row_count; i++) {
        while (expert + 1 < lab->problem.expert_count && (uint64_t)set->offsets[expert + 1] <= s->rows[i]) {
            expert++;
        }
        if (s->expert_count == 0 || s->experts[s->expert_count - 1] != expert) {
            s->offsets[s->expert_count] = (int32_t)i;
            s->experts[s->expert_count++] = expert;
        }
        s->pairs[i] = (int32_t)i;
        s->topk_weights[i] = set->topk_weights[set->pairs[s->rows[i]]];
    }
    s->offsets[s->expert_count] = (int32_t)s->row_count;
    return MJ_OK;
}

static mj_status gather_input(mj_lab *lab, const mj_case_set *set, sample *s, mj_error *error)
{
    uint64_t row_bytes = lab->operands.input.bytes, scale_bytes = lab->operands.input_scales.bytes;
    bool one = mj_ref_scales_per_row(lab->scheme, lab->shape.k) == 0;
    s->input_scales = malloc(s->row_count * scale_bytes + 1);
    s->input = malloc(s->row_count * row_bytes + 1);
    mj_status status = s->input && s->input_scales ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "sampled input");
    for (uint32_t i = 0; i < s->row_count && status == MJ_OK; i++) {
        uint64_t row = s->rows[i];
        uint64_t from = mj_op_is_gemm1(lab->op) ? (uint64_t)set->pairs[row] / lab->problem.top_k : row;
        status = mj_lab_download(lab, s->input + i * row_bytes, (const char *)set->device_input + from * row_bytes,
                                 row_bytes, error);
        if (status == MJ_OK && scale_bytes) {
            status = mj_lab_download(lab, (char *)s->input_scales + (one ? 0 : i) * scale_bytes,
                                     (const char *)set->device_input_scales + (one ? 0 : from) * scale_bytes,
                                     scale_bytes, error);
        }
    }
    return status;
}

static uint32_t groups(uint32_t axis, uint32_t group)
{
    return group ? (axis + group - 1) / group : 1;
}

/* The scales or zero points of the sampled experts and columns, one float for each group of k. */
static mj_status
gather_groups(mj_lab *lab, const sample *s, const mj_operand *operand, uint64_t offset, const mj_scale_spec *spec,
              double (*value)(const mj_scheme *, mj_gemm_shape, const void *, uint64_t, uint64_t, uint64_t),
              float **out, mj_error *error)
{
    uint32_t depth = groups(lab->shape.k, spec->group_k), group = spec->group_k;
    uint64_t expert_bytes = operand->bytes / lab->problem.expert_count;
    char *slice = malloc(expert_bytes + 1);
    *out = malloc((uint64_t)s->expert_count * s->column_count * depth * sizeof(float) + 1);
    mj_status status = slice && *out ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "sampled scales");
    for (uint32_t e = 0; e < s->expert_count && status == MJ_OK && expert_bytes; e++) {
        status = mj_lab_download(lab, slice, (const char *)lab->weights[0] + offset + s->experts[e] * expert_bytes,
                                 expert_bytes, error);
        for (uint32_t c = 0; c < s->column_count && status == MJ_OK; c++) {
            for (uint32_t d = 0; d < depth; d++) {
                (*out)[((uint64_t)e * s->column_count + c) * depth + d] =
                    (float)value(lab->scheme, lab->shape, slice, 0, s->columns[c], (uint64_t)d * group);
            }
        }
    }
    free(slice);
    return status;
}

static mj_status gather_weights(mj_lab *lab, sample *s, mj_error *error)
{
    uint64_t row_bytes = lab->operands.weights.bytes / lab->problem.expert_count / lab->shape.n;
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(row_bytes, (uint64_t)s->expert_count * s->column_count, &bytes)) {
        return mj_fail(error, MJ_ERR_CAPACITY, "sampled weights");
    }
    s->weights = malloc(bytes + 1);
    s->bias = lab->bias ? malloc((uint64_t)s->expert_count * s->column_count * lab->io_bytes + 1) : NULL;
    mj_status status = s->weights && (s->bias || !lab->bias) ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "sampled weights");
    bool whole = s->column_count == lab->shape.n && lab->shape.turn_rows == 0;
    for (uint32_t e = 0; e < s->expert_count && status == MJ_OK; e++) {
        uint64_t first = (uint64_t)s->experts[e] * lab->shape.n;
        char *to = s->weights + (uint64_t)e * s->column_count * row_bytes;
        if (whole) {
            status = mj_lab_download(lab, to, (const char *)lab->weights[0] + first * row_bytes,
                                     row_bytes * lab->shape.n, error);
        }
        for (uint32_t c = 0; c < s->column_count && status == MJ_OK; c++) {
            uint64_t at = first + s->columns[c], lies_at = first + mj_weight_row(lab->shape, s->columns[c]);
            if (!whole) {
                status = mj_lab_download(lab, to + c * row_bytes, (const char *)lab->weights[0] + lies_at * row_bytes,
                                         row_bytes, error);
            }
            if (status == MJ_OK && s->bias) {
                status = mj_lab_download(lab, s->bias + ((uint64_t)e * s->column_count + c) * lab->io_bytes,
                                         (const char *)lab->bias + at * lab->io_bytes, lab->io_bytes, error);
            }
        }
    }
    return status;
}

/* Scales and zero points as gather_groups leaves them. */
static mj_scheme mini_scheme(const mj_lab *lab)
{
    mj_scheme mini = *lab->scheme;
    mj_scale_spec *specs[] = {&mini.scale, &mini.zero};
    for (int i = 0; i < 2; i++) {
        if (specs[i]->format[0]) {
            snprintf(specs[i]->format, sizeof specs[i]->format, "f32");
            snprintf(specs[i]->order, sizeof specs[i]->order, "nk");
            specs[i]->group_n = 1;
            specs[i]->packing = (mj_packing){0};
        }
    }
    return mini;
}

static mj_problem mini_problem(const mj_lab *lab, const sample *s)
{
    mj_problem mini = lab->problem;
    mini.expert_count = mini.expert_total_count = s->expert_count;
    mini.top_k = 1;
    bool first = mj_op_is_gemm1(lab->op);
    mini.gated = s->output_count < s->column_count;
    mini.intermediate = first ? s->output_count : lab->shape.k;
    mini.hidden = first ? lab->shape.k : s->output_count;
    snprintf(mini.layout, sizeof mini.layout, "default"); /* gathered in order */
    return mini;
}

/* The device's reference sums in float64 and rounds once: one unit in the last place, no more. */
static double ulp_of(const char *format)
{
    return strcmp(format, "bf16") == 0 ? 0x1p-8 : (strcmp(format, "f16") == 0 ? 0x1p-10 : 0x1p-20);
}

static mj_status compare_sample(mj_lab *lab, const mj_case *prepared, sample *s, mj_finding *out, mj_error *error)
{
    const mj_case_set *set = &prepared->sets[0];
    mj_problem mini = mini_problem(lab, s);
    mj_scheme scheme = mini_scheme(lab);
    uint32_t held = 0;
    mj_ref_memory memory = {.held = &held, .slot_count = 1}; /* rows ascend, and experts with them */
    mj_ref_arrays arrays = {s->input, s->weights, s->bias, s->weight_scales, s->weight_zeros, s->input_scales, &memory};
    uint64_t row_bytes = (uint64_t)lab->shape.out_n * lab->io_bytes;
    double slack = mj_op_activates(lab->op) ? 1e-5 : 1e-6; /* as the activation op alone is allowed */
    double ulp = ulp_of(lab->scheme->io_format);
    const void *rows = prepared->pair_reference ? prepared->pair_reference : prepared->reference;
    char *got_row = malloc(row_bytes);
    s->want = malloc((s->column_count + 1ull) * sizeof(double));
    memory.weights = malloc(((uint64_t)s->column_count * lab->shape.k + 1) * sizeof(double));
    mj_status status = got_row && s->want && memory.weights ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "reference rows");
    for (uint32_t i = 0; i < s->row_count && status == MJ_OK && out->reason == MJ_REASON_NONE; i++) {
        uint64_t row = s->rows[i];
        uint64_t output_row = mj_op_is_gemm1(lab->op) ? row : (uint64_t)set->pairs[row];
        status =
            mj_ref_gemm_row(&mini, &scheme, lab->op, &arrays, s->offsets, s->pairs, s->topk_weights, i, s->want, error);
        if (status == MJ_OK) {
            status = mj_lab_download(lab, got_row, (const char *)rows + output_row * row_bytes, row_bytes, error);
        }
        for (uint32_t c = 0; c < s->output_count && status == MJ_OK; c++) {
            double got = mj_ref_load(lab->scheme->io_format, got_row, s->columns[c]);
            double want = s->want[c];
            if (!(fabs(got - want) <= ulp * fabs(want) + slack)) {
                out->reason = MJ_REASON_WRONG;
                snprintf(out->detail, sizeof(out->detail),
                         "the reference kernel: row %" PRIu64 " column %u: got %.6g, the host says %.6g", output_row,
                         s->columns[c], got, want);
                break;
            }
        }
    }
    free(got_row);
    free(memory.weights);
    return status;
}

/* One token of the reference against the sum of its local pairs' rows, to the bit: floats, in the order of the slots. */
static mj_status compare_sum(mj_lab *lab, const mj_case *prepared, uint64_t token, uint16_t *rows, mj_finding *out,
                             mj_error *error)
{
    uint32_t n = lab->shape.out_n, top_k = lab->problem.top_k;
    const char *io = lab->scheme->io_format;
    uint64_t row_bytes = (uint64_t)n * lab->io_bytes;
    const int32_t *ids = prepared->sets[0].ids + token * top_k;
    const char *from = (const char *)prepared->pair_reference + token * top_k * row_bytes;
    mj_status status = mj_lab_download(lab, rows, from, top_k * row_bytes, error);
    uint16_t *got = rows + (uint64_t)top_k * n;
    if (status == MJ_OK) {
        status = mj_lab_download(lab, got, (const char *)prepared->reference + token * row_bytes, row_bytes, error);
    }
    for (uint32_t c = 0; c < n && status == MJ_OK; c++) {
        float sum = 0;
        for (uint32_t slot = 0; slot < top_k; slot++) {
            bool local = ids[slot] >= 0 && ids[slot] < (int32_t)lab->problem.expert_count;
            sum += local ? (float)mj_ref_load(io, rows, (uint64_t)slot * n + c) : 0;
        }
        uint16_t want = 0;
        mj_ref_store(io, &want, 0, (double)sum);
        if (got[c] != want) {
            out->reason = MJ_REASON_WRONG;
            snprintf(out->detail, sizeof(out->detail),
                     "combine: token %" PRIu64 " column %u: got %.6g, the host says %.6g", token, c,
                     mj_ref_load(io, got, c), mj_ref_load(io, &want, 0));
            break;
        }
    }
    return status;
}

static mj_status compare_sums(mj_lab *lab, const mj_case *prepared, mj_finding *out, mj_error *error)
{
    uint64_t tokens = prepared->token_count, step = tokens / SAMPLE_ROWS_MIN + 1;
    uint64_t bytes = (lab->problem.top_k + 1ull) * lab->shape.out_n * lab->io_bytes;
    uint16_t *rows = malloc(bytes);
    mj_status status = rows ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "the rows of a token");
    for (uint64_t token = 0; token < tokens && status == MJ_OK && out->reason == MJ_REASON_NONE; token += step) {
        status = compare_sum(lab, prepared, token, rows, out, error);
    }
    free(rows);
    return status;
}

mj_status mj_verify_reference(mj_lab *lab, const mj_case *prepared, uint64_t products, mj_finding *out, mj_error *error)
{
    *out = (mj_finding){0};
    const mj_case_set *set = &prepared->sets[0];
    mj_status status = prepared->pair_reference ? compare_sums(lab, prepared, out, error) : MJ_OK;
    if (status != MJ_OK || out->reason != MJ_REASON_NONE || set->rows == 0) {
        return status;
    }
    sample s = {0};
    double whole = (double)set->rows * lab->shape.n * lab->shape.k;
    bool all_rows = set->rows <= SAMPLE_ROWS_MIN + 2ull * set->active_count;
    status = choose_rows(lab, set, all_rows || whole <= (double)products, &s, error);
    if (status == MJ_OK) {
        uint64_t columns = products / ((uint64_t)s.row_count * lab->shape.k);
        columns = columns < SAMPLE_COLUMNS_MIN ? SAMPLE_COLUMNS_MIN : columns;
        status = choose_columns(lab, columns < lab->shape.out_n ? (uint32_t)columns : lab->shape.out_n, &s, error);
    }
    if (status == MJ_OK) {
        status = map_rows(lab, set, &s, error);
    }
    if (status == MJ_OK) {
        status = gather_input(lab, set, &s, error);
    }
    if (status == MJ_OK) {
        status = gather_weights(lab, &s, error);
    }
    if (status == MJ_OK) {
        status = gather_groups(lab, &s, &lab->operands.weight_scales, lab->operands.scales_offset, &lab->scheme->scale,
                               mj_ref_scale, &s.weight_scales, error);
    }
    if (status == MJ_OK) {
        status = gather_groups(lab, &s, &lab->operands.weight_zeros, lab->operands.zeros_offset, &lab->scheme->zero,
                               mj_ref_zero, &s.weight_zeros, error);
    }
    if (status == MJ_OK) {
        status = compare_sample(lab, prepared, &s, out, error);
    }
    sample_free(&s);
    return status;
}
