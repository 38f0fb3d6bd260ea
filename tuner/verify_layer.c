/* verify_layer.c: the layer's simple ops (tables, quantise, activation, combine) against the host, on small random layers. */
#include "verify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"
#include "routing.h"

#define ELEMENTS_MAX (1u << 21) /* of one array: bounds the host's work */

typedef struct array { /* one array on both sides */
    void *device, *host;
    uint64_t bytes;
} array;

enum { IN, OUT, IDS, OFFSETS, PAIRS, SCALES, ARRAY_COUNT };

typedef struct layer_check {
    mj_lab *lab;
    const mj_loaded_kernel *kernel;
    const mj_problem *problem;
    const mj_scheme *scheme;
    uint32_t token_count;
    uint64_t pair_count, row_count;
    uint32_t io_bytes;
    array arrays[ARRAY_COUNT];
    float *topk_weights;
} layer_check;

static mj_status make_array(layer_check *check, int index, uint64_t bytes, mj_error *error)
{
    array *a = &check->arrays[index];
    a->bytes = bytes ? bytes : 16;
    a->host = calloc(1, a->bytes);
    if (!a->host) {
        return mj_fail(error, MJ_ERR_MEMORY, "an array of %llu bytes", (unsigned long long)bytes);
    }
    return mj_lab_alloc(check->lab, a->bytes, &a->device, error);
}

static mj_status run(layer_check *check, mj_error *error)
{
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    const struct {
        mj_arg arg;
        int array;
    } map[] = {
        {MJ_ARG_INPUT, IN},           {MJ_ARG_OUTPUT, OUT},
        {MJ_ARG_TOPK_IDS, IDS},       {MJ_ARG_EXPERT_OFFSETS, OFFSETS},
        {MJ_ARG_SORTED_PAIRS, PAIRS}, {MJ_ARG_INPUT_SCALES, SCALES},
    };
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        values[map[i].arg].pointer = (uint64_t)(uintptr_t)check->arrays[map[i].array].device;
    }
    values[MJ_ARG_TOKEN_COUNT].i32 = (int32_t)check->token_count;
    values[MJ_ARG_ROW_COUNT].i32 = (int32_t)check->row_count;
    mj_lab *lab = check->lab;
    mj_status status = mj_kernel_launch(lab->device, check->kernel, values, check->token_count, lab->stream, error);
    return status == MJ_OK ? mj_lab_sync(lab, error) : status;
}

static void wrong(mj_finding *out, const char *what, uint64_t index, double got, double want)
{
    out->reason = MJ_REASON_WRONG;
    snprintf(out->detail, sizeof(out->detail), "%s element %llu: got %.6g, want %.6g", what, (unsigned long long)index,
             got, want);
}

static mj_status fetch(layer_check *check, int index, void *to, mj_error *error)
{
    return mj_lab_download(check->lab, to, check->arrays[index].device, check->arrays[index].bytes, error);
}

static mj_status check_tables(layer_check *check, mj_finding *out, mj_error *error)
{
    int32_t *offsets = malloc(check->arrays[OFFSETS].bytes), *pairs = malloc(check->arrays[PAIRS].bytes);
    mj_status status = offsets && pairs ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "tables");
    if (status == MJ_OK) {
        status = mj_lab_set(check->lab, check->arrays[OFFSETS].device, 0xff, check->arrays[OFFSETS].bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_lab_set(check->lab, check->arrays[PAIRS].device, 0xff, check->arrays[PAIRS].bytes, error);
    }
    if (status == MJ_OK) {
        status = run(check, error);
    }
    if (status == MJ_OK) {
        status = fetch(check, OFFSETS, offsets, error);
    }
    if (status == MJ_OK) {
        status = fetch(check, PAIRS, pairs, error);
    }
    const int32_t *want_offsets = check->arrays[OFFSETS].host, *want_pairs = check->arrays[PAIRS].host;
    for (uint32_t i = 0; status == MJ_OK && i <= check->problem->expert_count; i++) {
        if (offsets[i] != want_offsets[i]) {
            wrong(out, "expert_offsets", i, offsets[i], want_offsets[i]);
            goto done;
        }
    }
    for (uint64_t i = 0; status == MJ_OK && i < check->row_count; i++) {
        if (pairs[i] != want_pairs[i]) {
            wrong(out, "sorted_pairs", i, pairs[i], want_pairs[i]);
            goto done;
        }
    }
done:
    free(offsets);
    free(pairs);
    return status;
}

static double want_activation(const layer_check *check, uint64_t index)
{
    const mj_problem *problem = check->problem;
    const char *io = check->scheme->io_format;
    const void *in = check->arrays[IN].host;
    uint64_t n = problem->intermediate, row = index / n, column = index % n;
    uint64_t width = n * (problem->gated ? 2 : 1);
    double gate = mj_ref_load(io, in, row * width + column);
    double up = problem->gated ? mj_ref_load(io, in, row * width + n + column) : 1;
    return mj_ref_activation(problem->activation, problem->gated, gate, up);
}

static double want_combine(const layer_check *check, uint64_t index)
{
    const mj_problem *problem = check->problem;
    const int32_t *ids = check->arrays[IDS].host;
    uint64_t token = index / problem->hidden, column = index % problem->hidden;
    double sum = 0;
    for (uint32_t slot = 0; slot < problem->top_k; slot++) {
        uint64_t pair = token * problem->top_k + slot;
        if (ids[pair] >= 0 && ids[pair] < (int32_t)problem->expert_count) {
            sum += mj_ref_load(check->scheme->io_format, check->arrays[IN].host, pair * problem->hidden + column);
        }
    }
    return sum;
}

static mj_status check_values(layer_check *check, uint64_t count, double (*want)(const layer_check *, uint64_t),
                              mj_finding *out, mj_error *error)
{
    const char *io = check->scheme->io_format;
    double ulp = strcmp(io, "f16") == 0 ? 0x1p-10 : 0x1p-8;
    array *output = &check->arrays[OUT];
    mj_status status = mj_lab_set(check->lab, output->device, 0xff, output->bytes, error);
    if (status == MJ_OK) {
        status = run(check, error);
    }
    if (status == MJ_OK) {
        status = fetch(check, OUT, output->host, error);
    }
    for (uint64_t i = 0; status == MJ_OK && i < count; i++) {
        double got = mj_ref_load(io, output->host, i), expected = want(check, i);
        if (!(fabs(got - expected) <= ulp * fabs(expected) + 1e-5)) {
            wrong(out, "output", i, got, expected);
            break;
        }
    }
    return status;
}

/* Codes and scales of every row, which must be the host's to the bit. */
static mj_status compare_codes(const layer_check *check, uint64_t rows, uint32_t k, float given, mj_finding *out,
                               mj_error *error)
{
    uint32_t per_row = mj_ref_scales_per_row(check->scheme, k);
    unsigned char *codes = calloc(1, k);
    float *scales = calloc(per_row + 1ull, sizeof(float));
    const unsigned char *got = check->arrays[OUT].host;
    const float *got_scales = check->arrays[SCALES].host;
    mj_status status = codes && scales ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "a row of codes");
    for (uint64_t row = 0; status == MJ_OK && row < rows && out->reason == MJ_REASON_NONE; row++) {
        scales[0] = given;
        status = mj_ref_quantise_row(check->scheme, k, check->arrays[IN].host, row, codes, scales, error);
        for (uint32_t i = 0; status == MJ_OK && i < per_row && out->reason == MJ_REASON_NONE; i++) {
            if (memcmp(&got_scales[row * per_row + i], &scales[i], sizeof(float)) != 0) {
                wrong(out, "scale", row * per_row + i, got_scales[row * per_row + i], scales[i]);
            }
        }
        for (uint32_t i = 0; status == MJ_OK && i < k && out->reason == MJ_REASON_NONE; i++) {
            if (got[row * k + i] != codes[i]) {
                wrong(out, "code", row * k + i, got[row * k + i], codes[i]);
            }
        }
    }
    free(codes);
    free(scales);
    return status;
}

static mj_status check_quantise(layer_check *check, mj_op op, mj_finding *out, mj_error *error)
{
    const float given = 0.013f; /* a static scale; some values saturate */
    uint32_t k = mj_problem_gemm(check->problem, op).k, per_row = mj_ref_scales_per_row(check->scheme, k);
    uint64_t rows = op == MJ_OP_QUANTISE1 ? check->token_count : check->pair_count;
    uint64_t written = op == MJ_OP_QUANTISE1 ? check->token_count : check->row_count;
    mj_status status = make_array(check, IN, rows * k * check->io_bytes, error);
    if (status == MJ_OK) {
        status = make_array(check, OUT, rows * k, error);
    }
    if (status == MJ_OK) {
        status = make_array(check, SCALES, (per_row ? rows * per_row : 1) * sizeof(float), error);
    }
    if (status == MJ_OK) {
        status = mj_lab_fill(check->lab, check->scheme->io_format, check->arrays[IN].device, rows * k, 9, 2.0f, error);
    }
    if (status == MJ_OK && per_row == 0) {
        status = mj_lab_upload(check->lab, check->arrays[SCALES].device, &given, sizeof(given), error);
    }
    if (status == MJ_OK) {
        status = run(check, error);
    }
    const int read_back[] = {IN, OUT, SCALES};
    for (int i = 0; i < 3 && status == MJ_OK; i++) {
        status = fetch(check, read_back[i], check->arrays[read_back[i]].host, error);
    }
    return status == MJ_OK ? compare_codes(check, written, k, given, out, error) : status;
}

static mj_status make_routing(layer_check *check, uint64_t seed, mj_error *error)
{
    const mj_problem *problem = check->problem;
    check->pair_count = (uint64_t)check->token_count * problem->top_k;
    check->topk_weights = calloc(check->pair_count + 1, sizeof(float));
    mj_status status = check->topk_weights ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "routing");
    const struct {
        int index;
        uint64_t bytes;
    } tables[] = {
        {IDS, check->pair_count * 4},
        {PAIRS, check->pair_count * 4},
        {OFFSETS, (problem->expert_count + 1ull) * 4},
    };
    for (int i = 0; i < 3 && status == MJ_OK; i++) {
        status = make_array(check, tables[i].index, tables[i].bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_routing_sample(problem, "uniform", seed, check->token_count, check->arrays[IDS].host,
                                   check->topk_weights, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    int32_t *ids = check->arrays[IDS].host;
    for (uint64_t i = 0; i < check->pair_count; i += 11) {
        ids[i] = i % 2 ? -1 : (int32_t)problem->expert_count; /* another rank's */
    }
    check->row_count =
        mj_ref_tables(problem, ids, check->token_count, check->arrays[OFFSETS].host, check->arrays[PAIRS].host);
    for (int i = 0; i < 3 && status == MJ_OK; i++) {
        array *a = &check->arrays[tables[i].index];
        status = mj_lab_upload(check->lab, a->device, a->host, a->bytes, error);
    }
    return status;
}

static mj_status make_input(layer_check *check, uint64_t count, uint64_t output_count, uint64_t seed, mj_error *error)
{
    mj_status status = make_array(check, IN, count * check->io_bytes, error);
    if (status == MJ_OK) {
        status = make_array(check, OUT, output_count * check->io_bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_lab_fill(check->lab, check->scheme->io_format, check->arrays[IN].device, count, seed, 2.0f, error);
    }
    return status == MJ_OK ? fetch(check, IN, check->arrays[IN].host, error) : status;
}

static void free_check(layer_check *check)
{
    for (int i = 0; i < ARRAY_COUNT; i++) {
        mj_lab_free(check->lab, check->arrays[i].device, check->arrays[i].bytes);
        free(check->arrays[i].host);
    }
    free(check->topk_weights);
}

static mj_status check_tokens(mj_lab *lab, const mj_loaded_kernel *kernel, uint32_t token_count, mj_finding *out,
                              mj_error *error)
{
    const mj_problem *problem = &kernel->manifest.problem;
    layer_check check = {.lab = lab, .kernel = kernel, .problem = problem, .token_count = token_count};
    mj_status status = mj_spec_find_scheme(lab->spec, problem->scheme, &check.scheme, error);
    if (status == MJ_OK) {
        check.io_bytes = mj_ref_format_bytes(check.scheme->io_format);
        status = make_routing(&check, 7 + token_count, error);
    }
    uint64_t n = problem->intermediate, width = n * (problem->gated ? 2 : 1);
    mj_op op = kernel->manifest.op;
    if (status == MJ_OK && op == MJ_OP_TABLES) {
        status = check_tables(&check, out, error);
    } else if (status == MJ_OK && op == MJ_OP_ACTIVATION) {
        status = make_input(&check, check.pair_count * width, check.pair_count * n, 3, error);
        if (status == MJ_OK) {
            status = check_values(&check, check.row_count * n, want_activation, out, error);
        }
    } else if (status == MJ_OK && op == MJ_OP_COMBINE) {
        status =
            make_input(&check, check.pair_count * problem->hidden, (uint64_t)token_count * problem->hidden, 5, error);
        if (status == MJ_OK) {
            status = check_values(&check, (uint64_t)token_count * problem->hidden, want_combine, out, error);
        }
    } else if (status == MJ_OK && (op == MJ_OP_QUANTISE1 || op == MJ_OP_QUANTISE2)) {
        status = check_quantise(&check, op, out, error);
    } else if (status == MJ_OK) {
        status = mj_fail(error, MJ_ERR_ARGUMENT, "%s is not a simple op", mj_op_name(op));
    }
    free_check(&check);
    return status;
}

static const uint32_t check_token_counts[] = {1, 7, 61, 300};

/* So large that the host's side of it takes too long; one token is checked always. */
static bool is_large(const mj_problem *problem, mj_op op, uint32_t token_count)
{
    uint64_t widest = problem->hidden > 2ull * problem->intermediate ? problem->hidden : 2ull * problem->intermediate;
    uint64_t width = op == MJ_OP_TABLES ? 1 : widest;
    return token_count > 1 && token_count * (uint64_t)problem->top_k * width > ELEMENTS_MAX;
}

uint32_t mj_layer_check_tokens(const mj_problem *problem, mj_op op)
{
    uint32_t largest = 1;
    for (size_t i = 0; i < sizeof(check_token_counts) / sizeof(check_token_counts[0]); i++) {
        largest = is_large(problem, op, check_token_counts[i]) ? largest : check_token_counts[i];
    }
    return largest;
}

mj_status mj_verify_layer_op(mj_lab *lab, const mj_loaded_kernel *kernel, mj_finding *out, mj_error *error)
{
    const mj_problem *problem = &kernel->manifest.problem;
    mj_status status = MJ_OK;
    *out = (mj_finding){0};
    for (size_t i = 0; i < sizeof(check_token_counts) / sizeof(check_token_counts[0]); i++) {
        if (is_large(problem, kernel->manifest.op, check_token_counts[i])) {
            break;
        }
        status = check_tokens(lab, kernel, check_token_counts[i], out, error);
        if (status != MJ_OK || out->reason != MJ_REASON_NONE) {
            break;
        }
    }
    return status;
}
