/* lab_case.c: one batch size and routing on the device. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab.h"
#include "reference.h"
#include "routing.h"

/* A different stream of random numbers for every use of a seed. */
static uint64_t mix_seed(uint64_t seed, uint64_t salt)
{
    uint64_t z = seed + salt * UINT64_C(0xD1B54A32D192ED03) + UINT64_C(0x8CB92BA72F3D8DD7);
    z = (z ^ (z >> 32)) * UINT64_C(0xDABA0B6EB09322E3);
    return z ^ (z >> 29);
}

/* ---- Routing of one set ---- */
static void weights_even(const mj_problem *problem, uint32_t token_count, float *weights)
{
    for (uint64_t i = 0; i < (uint64_t)token_count * problem->top_k; i++) {
        weights[i] = 0.25f + 0.125f * (float)(i % 5);
    }
}

/* Some experts empty, others with one row or many, some pairs of other ranks. */
static void route_ragged(const mj_problem *problem, uint64_t seed, uint32_t token_count, int32_t *ids)
{
    uint32_t expert_count = problem->expert_count;
    for (uint64_t i = 0; i < (uint64_t)token_count * problem->top_k; i++) {
        uint64_t random = mix_seed(seed, i);
        uint32_t expert = (uint32_t)(random >> 33) % expert_count;
        if (expert_count > 2 && expert % 3 == 1) {
            expert -= 1; /* every third expert stays empty */
        }
        bool elsewhere = problem->top_k > 1 && random % 7 == 0;
        ids[i] = elsewhere ? (random % 2 ? -1 : (int32_t)expert_count) : (int32_t)expert;
    }
}

/* Everything on the last expert; a token's further slots belong to other ranks. */
static void route_one(const mj_problem *problem, uint32_t token_count, int32_t *ids)
{
    for (uint64_t i = 0; i < (uint64_t)token_count * problem->top_k; i++) {
        ids[i] = i % problem->top_k == 0 ? (int32_t)problem->expert_count - 1 : -1;
    }
}

static mj_status route(const mj_problem *problem, const char *routing, uint64_t seed, uint32_t token_count,
                       int32_t *ids, float *weights, mj_error *error)
{
    if (strncmp(routing, "small:", 6) != 0) {
        return mj_routing_sample(problem, routing, seed, token_count, ids, weights, error);
    }
    weights_even(problem, token_count, weights);
    if (strcmp(routing + 6, "one") == 0) {
        route_one(problem, token_count, ids);
    } else {
        route_ragged(problem, seed, token_count, ids);
    }
    return MJ_OK;
}

static uint32_t count_active(const mj_problem *problem, const int32_t *offsets)
{
    uint32_t active = 0;
    for (uint32_t expert = 0; expert < problem->expert_count; expert++) {
        active += offsets[expert + 1] > offsets[expert];
    }
    return active;
}

/* Counting sort; mj_ref_tables is the slow, plain form the tests compare it with. */
static uint64_t sort_pairs(const mj_problem *problem, const int32_t *ids, uint64_t pair_count, int32_t *offsets,
                           int32_t *pairs)
{
    uint32_t expert_count = problem->expert_count;
    memset(offsets, 0, ((size_t)expert_count + 1) * sizeof(int32_t));
    for (uint64_t i = 0; i < pair_count; i++) {
        if (ids[i] >= 0 && ids[i] < (int32_t)expert_count) {
            offsets[ids[i] + 1]++;
        }
    }
    for (uint32_t expert = 0; expert < expert_count; expert++) {
        offsets[expert + 1] += offsets[expert];
    }
    for (uint64_t i = 0; i < pair_count; i++) { /* offsets[e] walks to the start of e + 1 ... */
        if (ids[i] >= 0 && ids[i] < (int32_t)expert_count) {
            pairs[offsets[ids[i]]++] = (int32_t)i;
        }
    }
    memmove(offsets + 1, offsets, (size_t)expert_count * sizeof(int32_t)); /* ... and is moved back */
    offsets[0] = 0;
    return (uint64_t)offsets[expert_count];
}

/* ---- Sets ---- */
static uint64_t pair_total(const mj_lab *lab, uint32_t token_count)
{
    return (uint64_t)token_count * lab->problem.top_k;
}

static uint64_t input_rows(const mj_lab *lab, uint32_t token_count)
{
    return mj_op_is_gemm1(lab->op) ? token_count : pair_total(lab, token_count);
}

/* The input and its scales: lab->operands describes one row. A scale of the whole input stays one. */
static void describe_input(const mj_lab *lab, uint32_t token_count, mj_operand *input, mj_operand *scales)
{
    uint64_t rows = input_rows(lab, token_count);
    bool one = mj_ref_scales_per_row(lab->scheme, lab->shape.k) == 0;
    *input = lab->operands.input;
    *scales = lab->operands.input_scales;
    input->count *= rows;
    input->bytes *= rows;
    scales->count *= one ? 1 : rows;
    scales->bytes *= one ? 1 : rows;
}

static uint64_t input_bytes(const mj_lab *lab, uint32_t token_count)
{
    mj_operand input, scales;
    describe_input(lab, token_count, &input, &scales);
    return input.bytes + scales.bytes;
}

static uint64_t output_bytes(const mj_lab *lab, uint64_t rows)
{
    return rows * lab->shape.out_n * lab->output_bytes;
}

static uint64_t reference_bytes(const mj_lab *lab, uint64_t rows)
{
    return rows * lab->shape.out_n * lab->io_bytes;
}

/* 0: the output is values. */
static uint64_t scales_bytes(const mj_lab *lab, uint64_t rows)
{
    uint64_t scales = lab->scales_per_row ? rows * lab->scales_per_row : 1;
    return mj_op_writes_codes(lab->op) ? scales * sizeof(float) : 0;
}

static mj_status set_host(const mj_lab *lab, uint32_t token_count, const char *routing, uint64_t seed, mj_case_set *set,
                          mj_error *error)
{
    uint64_t pair_count = pair_total(lab, token_count);
    set->ids = calloc(pair_count + 1, sizeof(int32_t));
    set->pairs = calloc(pair_count + 1, sizeof(int32_t));
    set->offsets = calloc((size_t)lab->problem.expert_count + 1, sizeof(int32_t));
    set->topk_weights = calloc(pair_count + 1, sizeof(float));
    if (!set->ids || !set->pairs || !set->offsets || !set->topk_weights) {
        return mj_fail(error, MJ_ERR_MEMORY, "routing of %u tokens", token_count);
    }
    mj_status status = route(&lab->problem, routing, seed, token_count, set->ids, set->topk_weights, error);
    if (status == MJ_OK) {
        set->rows = sort_pairs(&lab->problem, set->ids, pair_count, set->offsets, set->pairs);
        set->active_count = count_active(&lab->problem, set->offsets);
    }
    return status;
}

typedef struct set_part { /* one device array of a set: where, from what, how large */
    void **device;
    const void *host;
    uint64_t bytes;
} set_part;

#define SET_PARTS 6
static void list_parts(const mj_lab *lab, uint32_t token_count, mj_case_set *set, set_part parts[SET_PARTS])
{
    uint64_t pair_bytes = pair_total(lab, token_count) * sizeof(int32_t);
    parts[0] = (set_part){&set->device_ids, set->ids, pair_bytes};
    parts[1] = (set_part){&set->device_pairs, set->pairs, pair_bytes};
    parts[2] = (set_part){&set->device_offsets, set->offsets, (lab->problem.expert_count + 1ull) * sizeof(int32_t)};
    parts[3] = (set_part){&set->device_topk_weights, set->topk_weights, pair_bytes};
    mj_operand input, scales;
    describe_input(lab, token_count, &input, &scales);
    parts[4] = (set_part){&set->device_input, NULL, input.bytes};
    parts[5] = (set_part){&set->device_input_scales, NULL, scales.bytes};
}

static mj_status set_device(mj_lab *lab, uint32_t token_count, uint64_t seed, mj_case_set *set, mj_error *error)
{
    set_part parts[SET_PARTS];
    list_parts(lab, token_count, set, parts);
    mj_status status = MJ_OK;
    for (int i = 0; i < SET_PARTS && status == MJ_OK; i++) {
        if (parts[i].device == &set->device_input_scales && parts[i].bytes == 0) {
            continue;
        }
        status = mj_lab_alloc(lab, parts[i].bytes, parts[i].device, error);
        if (status == MJ_OK && parts[i].host) {
            status = mj_lab_upload(lab, *parts[i].device, parts[i].host, parts[i].bytes, error);
        }
    }
    mj_operand input, scales;
    describe_input(lab, token_count, &input, &scales);
    if (status == MJ_OK) {
        status = mj_lab_fill_operand(lab, &input, set->device_input, seed, error);
    }
    return status == MJ_OK && scales.bytes
               ? mj_lab_fill_operand(lab, &scales, set->device_input_scales, mix_seed(seed, 2), error)
               : status;
}

static void set_free(mj_lab *lab, uint32_t token_count, mj_case_set *set)
{
    set_part parts[SET_PARTS];
    list_parts(lab, token_count, set, parts);
    for (int i = 0; i < SET_PARTS; i++) {
        mj_lab_free(lab, *parts[i].device, parts[i].bytes);
    }
    free(set->ids);
    free(set->pairs);
    free(set->offsets);
    free(set->topk_weights);
    *set = (mj_case_set){0};
}

/* ---- Memory ---- */
static uint64_t result_bytes(uint64_t rows)
{
    return rows * 4 * sizeof(float);
}

/* Rows of the output array that hold any launch of any set. */
static uint64_t capacity_rows(const mj_lab *lab, uint32_t token_count)
{
    return pair_total(lab, token_count);
}

/* How many sets fit beside the output buffers; at least one is tried. */
static uint32_t sets_that_fit(const mj_lab *lab, uint32_t token_count)
{
    uint64_t rows = capacity_rows(lab, token_count);
    uint64_t references = (mj_op_combines(lab->op) ? 2 : 1) * reference_bytes(lab, rows);
    uint64_t fixed = 2 * (output_bytes(lab, rows) + scales_bytes(lab, rows)) + references + result_bytes(rows) +
                     8 * (uint64_t)MJ_GUARD_BYTES;
    uint64_t left = lab->bytes_max > lab->bytes_used ? lab->bytes_max - lab->bytes_used : 0;
    uint64_t per_set = input_bytes(lab, token_count) + 3 * pair_total(lab, token_count) * sizeof(int32_t) + 65536;
    uint64_t count = left > fixed ? (left - fixed) / 4 * 3 / per_set : 0; /* a quarter stays for split-K */
    return count < 1 ? 1 : (count > MJ_SETS ? MJ_SETS : (uint32_t)count);
}

/* Copies of the weights that launches use in turns: one each, or as many as let twice the cache pass between two reads of one. */
static uint32_t copies_wanted(const mj_case *prepared, uint64_t expert_bytes, uint64_t cache_bytes)
{
    uint32_t wanted = prepared->set_count < MJ_LAUNCHES ? prepared->set_count : MJ_LAUNCHES;
    uint64_t least = UINT64_MAX; /* that a launch reads */
    for (uint32_t i = 0; i < prepared->set_count; i++) {
        uint64_t bytes = prepared->sets[i].active_count * expert_bytes;
        least = bytes && bytes < least ? bytes : least;
    }
    uint64_t others = 2 * cache_bytes / least + (2 * cache_bytes % least > 0);
    return others + 1 < wanted ? (uint32_t)others + 1 : wanted;
}

/* Own weights where the active experts of all launches together would stay in twice the last-level cache. */
static mj_status own_weights(mj_lab *lab, mj_case *prepared, mj_error *error)
{
    uint32_t expert_count = lab->problem.expert_count;
    uint64_t expert_bytes = lab->weights_all_bytes / expert_count;
    uint64_t active = 0;
    for (uint32_t expert = 0; expert < expert_count; expert++) {
        bool used = false;
        for (uint32_t i = 0; i < prepared->set_count; i++) {
            const int32_t *offsets = prepared->sets[i].offsets;
            used |= offsets[expert + 1] > offsets[expert];
        }
        active += used;
    }
    uint64_t cache_bytes = lab->device->info.l2_bytes;
    prepared->weights_used = 1;
    prepared->own_weights = active * expert_bytes <= 2 * cache_bytes;
    if (!prepared->own_weights) {
        return MJ_OK;
    }
    uint32_t wanted = copies_wanted(prepared, expert_bytes, cache_bytes);
    while (lab->weights_count < wanted) {
        void **copy = &lab->weights[lab->weights_count];
        mj_status status = mj_lab_alloc(lab, lab->weights_all_bytes, copy, error);
        if (status == MJ_ERR_DEVICE_MEMORY) {
            snprintf(prepared->note, sizeof(prepared->note), "%u instead of %u copies of the weights fit",
                     lab->weights_count, wanted);
            break;
        }
        if (status == MJ_OK) {
            lab->weights_count++;
            status = mj_lab_fill_weights(lab, *copy, error);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    prepared->weights_used = lab->weights_count < wanted ? lab->weights_count : wanted;
    return MJ_OK;
}

static mj_status run_reference(mj_lab *lab, mj_case *prepared, mj_error *error)
{
    mj_arg_value values[MJ_ARG_COUNT];
    mj_status status = mj_lab_set(lab, prepared->reference, 0xff, reference_bytes(lab, prepared->output_rows), error);
    mj_case_arguments(lab, prepared, 0, prepared->reference, values);
    if (prepared->pair_reference) {
        values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)prepared->pair_reference;
    }
    if (status == MJ_OK) {
        status = mj_kernel_launch(lab->device, &lab->reference, values, prepared->token_count, lab->stream, error);
    }
    if (status == MJ_OK && prepared->pair_reference) {
        values[MJ_ARG_INPUT] = values[MJ_ARG_OUTPUT];
        values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)prepared->reference;
        status = mj_kernel_launch(lab->device, &lab->combine, values, prepared->token_count, lab->stream, error);
    }
    return status == MJ_OK ? mj_lab_sync(lab, error) : status;
}

mj_status mj_case_reset_output(mj_lab *lab, mj_case *prepared, int index, mj_error *error)
{
    const float static_scale =
        0x1p-5f; /* codes of activated values near 1 use most of their range, and some saturate */
    mj_status status = mj_guarded_reset(lab, &prepared->output[index], 0xff, error);
    if (status == MJ_OK) {
        status = mj_guarded_reset(lab, &prepared->scales[index], 0xff, error);
    }
    if (status == MJ_OK && prepared->scales[index].data && !lab->scales_per_row) {
        status = mj_lab_upload(lab, prepared->scales[index].data, &static_scale, sizeof static_scale, error);
    }
    return status;
}

static mj_status alloc_outputs(mj_lab *lab, mj_case *prepared, mj_error *error)
{
    const mj_case_set *first = &prepared->sets[0];
    uint64_t rows = capacity_rows(lab, prepared->token_count);
    prepared->output_rows = mj_op_is_gemm1(lab->op)   ? first->rows
                            : mj_op_combines(lab->op) ? prepared->token_count
                                                      : rows;
    mj_status status = MJ_OK;
    for (int i = 0; i < 2 && status == MJ_OK; i++) {
        status = mj_guarded_alloc(lab, output_bytes(lab, rows), &prepared->output[i], error);
        if (status == MJ_OK) { /* the guard starts right behind the last row that set 0 may write */
            prepared->output[i].bytes = output_bytes(lab, prepared->output_rows);
        }
        if (status == MJ_OK && scales_bytes(lab, rows)) {
            status = mj_guarded_alloc(lab, scales_bytes(lab, rows), &prepared->scales[i], error);
            prepared->scales[i].bytes = status == MJ_OK ? scales_bytes(lab, prepared->output_rows) : 0;
        }
        if (status == MJ_OK) {
            status = mj_case_reset_output(lab, prepared, i, error);
        }
    }
    if (status == MJ_OK) {
        status = mj_lab_alloc(lab, reference_bytes(lab, rows), &prepared->reference, error);
    }
    if (status == MJ_OK && mj_op_combines(lab->op)) {
        status = mj_lab_alloc(lab, reference_bytes(lab, rows), &prepared->pair_reference, error);
    }
    return status == MJ_OK ? mj_lab_alloc(lab, result_bytes(rows), &prepared->result, error) : status;
}

static mj_status make_case(mj_lab *lab, uint32_t token_count, const char *routing, uint64_t seed, bool timed,
                           mj_case *out, mj_error *error)
{
    *out = (mj_case){.token_count = token_count, .seed = seed};
    snprintf(out->routing, sizeof(out->routing), "%s", routing);
    if (!lab->loaded || token_count == 0 || pair_total(lab, token_count) > INT32_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "a case of %u tokens", token_count);
    }
    uint32_t wanted = !timed ? 1 : token_count <= MJ_FEW_TOKENS ? MJ_SETS : MJ_LAUNCHES;
    uint32_t fits = sets_that_fit(lab, token_count);
    mj_status status = MJ_OK;
    while (status == MJ_OK && out->set_count < wanted && out->set_count < fits) {
        uint64_t set_seed = mix_seed(seed, ((uint64_t)token_count << 8) + out->set_count);
        mj_case_set *set = &out->sets[out->set_count++]; /* counted first: freed also when half made */
        status = set_host(lab, token_count, routing, set_seed, set, error);
        if (status == MJ_OK) {
            status = set_device(lab, token_count, mix_seed(set_seed, 1), set, error);
        }
        mj_work work = mj_gemm_work(&lab->problem, lab->scheme, lab->op, token_count, set->rows, set->active_count);
        out->bytes += work.bytes;
        out->operations += work.operations;
    }
    out->bytes /= out->set_count;
    out->operations /= out->set_count;
    if (status == MJ_OK) {
        status = alloc_outputs(lab, out, error);
    }
    if (status == MJ_OK && timed) {
        status = own_weights(lab, out, error);
    }
    if (status == MJ_OK && out->set_count < wanted) {
        snprintf(out->note, sizeof(out->note), "memory for %u instead of %u sets of activations", out->set_count,
                 wanted);
    }
    if (status == MJ_OK) {
        status = run_reference(lab, out, error);
    }
    out->present = status == MJ_OK;
    if (status != MJ_OK) {
        mj_case_free(lab, out);
    }
    return status;
}

mj_status mj_case_prepare(mj_lab *lab, uint32_t token_count, const char *routing, uint64_t seed, bool timed,
                          mj_case *out, mj_error *error)
{
    mj_status status = make_case(lab, token_count, routing, seed, timed, out, error);
    if (status == MJ_ERR_DEVICE_MEMORY && lab->weights_count > 1) { /* an earlier case's copies hold it */
        mj_lab_free_copies(lab);
        status = make_case(lab, token_count, routing, seed, timed, out, error);
    }
    return status;
}

void mj_case_free(mj_lab *lab, mj_case *prepared)
{
    uint64_t rows = capacity_rows(lab, prepared->token_count);
    for (uint32_t i = 0; i < prepared->set_count; i++) {
        set_free(lab, prepared->token_count, &prepared->sets[i]);
    }
    for (int i = 0; i < 2; i++) {
        mj_guarded_free(lab, &prepared->output[i]);
        mj_guarded_free(lab, &prepared->scales[i]);
    }
    mj_lab_free(lab, prepared->reference, reference_bytes(lab, rows));
    mj_lab_free(lab, prepared->pair_reference, reference_bytes(lab, rows));
    mj_lab_free(lab, prepared->result, result_bytes(rows));
    *prepared = (mj_case){0};
}

static uint64_t sums_bytes(const mj_lab *lab, const mj_case *prepared)
{
    return pair_total(lab, prepared->token_count) * lab->shape.n * lab->io_bytes;
}

mj_status mj_case_make_sums(mj_lab *lab, mj_case *prepared, mj_error *error)
{
    uint64_t bytes = sums_bytes(lab, prepared);
    mj_status status = MJ_OK;
    while (status == MJ_OK && prepared->sums_count < prepared->set_count) {
        void **sums = &prepared->sets[prepared->sums_count].device_sums;
        status = mj_lab_alloc(lab, bytes, sums, error);
        if (status == MJ_ERR_DEVICE_MEMORY && prepared->sums_count > 0) {
            return MJ_OK; /* fewer are used in turns */
        }
        prepared->sums_count += status == MJ_OK;
        if (status == MJ_OK) {
            status = mj_lab_fill(lab, lab->scheme->io_format, *sums, bytes / lab->io_bytes,
                                 mix_seed(prepared->seed, 1000 + prepared->sums_count), 1.0f, error);
        }
    }
    return status;
}

void mj_case_free_sums(mj_lab *lab, mj_case *prepared)
{
    while (prepared->sums_count > 0) {
        mj_case_set *set = &prepared->sets[--prepared->sums_count];
        mj_lab_free(lab, set->device_sums, sums_bytes(lab, prepared));
        set->device_sums = NULL;
    }
}

void mj_case_arguments(const mj_lab *lab, const mj_case *prepared, uint32_t set_index, void *output,
                       mj_arg_value values[MJ_ARG_COUNT])
{
    const mj_case_set *set = &prepared->sets[set_index];
    uint32_t weights_index = prepared->own_weights ? set_index % prepared->weights_used : 0;
    const char *weights = lab->weights[weights_index];
    const mj_operands *operands = &lab->operands;
    memset(values, 0, MJ_ARG_COUNT * sizeof(values[0]));
    struct {
        mj_arg arg;
        const void *pointer;
    } pointers[] = {
        {MJ_ARG_INPUT, set->device_input},
        {MJ_ARG_WEIGHTS, weights},
        {MJ_ARG_WEIGHT_SCALES, operands->weight_scales.bytes ? weights + operands->scales_offset : NULL},
        {MJ_ARG_WEIGHT_ZEROS, operands->weight_zeros.bytes ? weights + operands->zeros_offset : NULL},
        {MJ_ARG_INPUT_SCALES, set->device_input_scales},
        {MJ_ARG_OUTPUT_SCALES, prepared->scales[output == prepared->output[1].data].data},
        {MJ_ARG_BIAS, lab->bias},
        {MJ_ARG_OUTPUT, output},
        {MJ_ARG_EXPERT_OFFSETS, set->device_offsets},
        {MJ_ARG_SORTED_PAIRS, set->device_pairs},
        {MJ_ARG_TOPK_IDS, set->device_ids},
        {MJ_ARG_TOPK_WEIGHTS, set->device_topk_weights},
        {MJ_ARG_PARTIALS, lab->partials.data},
        {MJ_ARG_COUNTERS, lab->counters.data},
    };
    for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++) {
        values[pointers[i].arg].pointer = (uint64_t)(uintptr_t)pointers[i].pointer;
    }
    values[MJ_ARG_TOKEN_COUNT].i32 = (int32_t)prepared->token_count;
    values[MJ_ARG_ROW_COUNT].i32 = (int32_t)set->rows;
    values[MJ_ARG_COLUMN_COUNT].i32 = (int32_t)lab->shape.out_n;
}
