/* routing.c: see routing.h.
 *
 * Gumbel top-k picks the k largest log(w) + Gumbel noise; that is the k smallest E/w with E = -log(u) exponential, so one
 * logarithm per (token, expert) is enough. It is taken in fixed point, -log2(u) with 24 binary places, from a table of
 * 257 logarithms computed here by squaring (integers only) and linear steps between them: off by at most 3e-6, far below
 * what a sample could show, and the same on every machine, as no floating-point operation takes part in a choice. 1/w is a
 * whole number for every distribution here. Ties go to the lower expert. */
#include "routing.h"

#include <stdlib.h>
#include <string.h>

#define LOG_PLACES      24
#define LOG_CELLS       256
#define HOT_RATIO       64
#define EXPECTED_TOKENS 2048

typedef enum routing_kind {
    ROUTING_BALANCED,
    ROUTING_UNIFORM,
    ROUTING_ZIPF1,
    ROUTING_ZIPF2,
    ROUTING_HOT16
} routing_kind;
static const char *const names[] = {"balanced", "uniform", "zipf1", "zipf2", "hot16"}; /* ORDER ROUTING */
#define NAME_COUNT (sizeof names / sizeof names[0])

/* splitmix64 (Steele, Lea, Flood 2014): a counter and a mixer, so that streams are cheap to start anywhere. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mix(*state);
}

/* A stream per (seed, purpose): tokens from 0 on, and one for the ranks. */
#define STREAM_RANKS UINT64_MAX
static uint64_t start_stream(uint64_t seed, uint64_t purpose)
{
    return mix(mix(seed + 0x9e3779b97f4a7c15u) ^ purpose * 0xd1342543de82ef95u);
}

/* ---- Fixed-point logarithm ---- */

/* log2 of `value` / 2^31 in [1, 2), LOG_PLACES places: squaring doubles the logarithm, its integer part is the next bit. */
static uint32_t log2_by_squaring(uint64_t value)
{
    uint32_t log = 0;
    for (int i = 0; i < LOG_PLACES; i++) {
        value *= value; /* 2^62 .. 2^64 */
        bool carry = value >> 63;
        value >>= carry ? 32 : 31;
        log = log * 2 + carry;
    }
    return log;
}

static void fill_log_table(uint32_t table[LOG_CELLS + 1])
{
    for (uint64_t i = 0; i < LOG_CELLS; i++) {
        table[i] = log2_by_squaring((LOG_CELLS + i) << (31 - 8));
    }
    table[LOG_CELLS] = 1u << LOG_PLACES;
}

/* -log2(random / 2^64) with LOG_PLACES places, at least 1. */
static uint64_t negative_log2(uint64_t random, const uint32_t table[LOG_CELLS + 1])
{
    random |= 1; /* no logarithm of zero */
    int zeros = __builtin_clzll(random);
    uint64_t mantissa = random << zeros; /* top bit set */
    uint32_t cell = mantissa >> 55 & (LOG_CELLS - 1);
    uint64_t place = mantissa >> 39 & 0xffff;
    uint64_t log = table[cell] + ((table[cell + 1] - table[cell]) * place >> 16);
    return ((uint64_t)(zeros + 1) << LOG_PLACES) - log + 1;
}

/* ---- The distributions ---- */

typedef struct sampler {
    routing_kind kind;
    uint32_t total, top_k;
    uint64_t seed;
    uint32_t *ranks;   /* [total]: expert of a rank (balanced), or rank of an expert */
    uint64_t *inverse; /* [total]: 1 / popularity of an expert */
    uint64_t *best;    /* [top_k] keys, ascending */
    uint32_t log_table[LOG_CELLS + 1];
} sampler;

static uint64_t inverse_popularity(const sampler *s, uint32_t rank)
{
    uint32_t sixteenth = (s->total + 15) / 16;
    uint32_t hot_count = sixteenth > s->top_k ? sixteenth : s->top_k;
    uint64_t position = (uint64_t)rank + 1;
    switch (s->kind) {
    case ROUTING_ZIPF1:
        return position;
    case ROUTING_ZIPF2:
        return position * position;
    case ROUTING_HOT16:
        return rank < hot_count ? 1 : HOT_RATIO;
    default:
        return 1;
    }
}

static void sampler_free(sampler *s)
{
    free(s->ranks);
    free(s->inverse);
    free(s->best);
}

static mj_status find_kind(const char *name, routing_kind *out, mj_error *error)
{
    for (size_t i = 0; i < NAME_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (routing_kind)i;
            return MJ_OK;
        }
    }
    const char *near = mj_nearest_name(name, names, NAME_COUNT);
    return mj_fail(error, MJ_ERR_NOT_FOUND, "unknown routing \"%.60s\"%s%s%s", name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

mj_status mj_routing_check(const char *name, mj_error *error)
{
    routing_kind kind;
    if (!name) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "routing: the name is null");
    }
    return find_kind(name, &kind, error);
}

static mj_status sampler_start(sampler *s, const mj_problem *problem, const char *name, uint64_t seed, mj_error *error)
{
    memset(s, 0, sizeof *s);
    if (!problem || !name) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "routing: null argument");
    }
    mj_status status = mj_problem_check(problem, error);
    if (status == MJ_OK) {
        status = find_kind(name, &s->kind, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    s->total = problem->expert_total_count;
    s->top_k = problem->top_k;
    s->seed = seed;
    s->ranks = calloc(s->total, sizeof *s->ranks);
    s->inverse = calloc(s->total, sizeof *s->inverse);
    s->best = calloc(s->top_k, sizeof *s->best);
    if (!s->ranks || !s->inverse || !s->best) {
        sampler_free(s);
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a routing of %u experts", s->total);
    }
    uint64_t state = start_stream(seed, STREAM_RANKS);
    for (uint32_t i = 0; i < s->total; i++) { /* shuffle, inside out */
        uint32_t j = (uint32_t)(next_random(&state) % (i + 1));
        s->ranks[i] = s->ranks[j];
        s->ranks[j] = i;
    }
    for (uint32_t e = 0; e < s->total; e++) {
        s->inverse[e] = inverse_popularity(s, s->ranks[e]);
    }
    fill_log_table(s->log_table);
    return MJ_OK;
}

/* Pairs are dealt like cards: any top_k in a row are distinct, and shares differ by one at most. */
static void deal_token(const sampler *s, uint64_t token, int32_t *ids)
{
    for (uint32_t slot = 0; slot < s->top_k; slot++) {
        ids[slot] = (int32_t)s->ranks[(token * s->top_k + slot) % s->total];
    }
}

/* The top_k experts with the smallest keys, most wanted first. */
static void draw_token(const sampler *s, uint64_t *state, int32_t *ids)
{
    uint32_t held = 0;
    for (uint32_t e = 0; e < s->total; e++) {
        uint64_t key = negative_log2(next_random(state), s->log_table) * s->inverse[e];
        if (held == s->top_k && key >= s->best[held - 1]) {
            continue;
        }
        uint32_t at = held < s->top_k ? held++ : held - 1;
        for (; at > 0 && s->best[at - 1] > key; at--) {
            s->best[at] = s->best[at - 1];
            ids[at] = ids[at - 1];
        }
        s->best[at] = key;
        ids[at] = (int32_t)e;
    }
}

static void sample_token(const sampler *s, uint32_t token, int32_t *ids, float *weights)
{
    uint64_t state = start_stream(s->seed, token);
    if (s->kind == ROUTING_BALANCED) {
        deal_token(s, token, ids);
    } else {
        draw_token(s, &state, ids);
    }
    if (weights) {
        uint32_t parts[64], sum = 0;
        for (uint32_t slot = 0; slot < s->top_k; slot++) {
            parts[slot] = (uint32_t)(next_random(&state) >> 42) + 1;
            sum += parts[slot];
        }
        for (uint32_t slot = 0; slot < s->top_k; slot++) {
            weights[slot] = (float)((double)parts[slot] / (double)sum);
        }
    }
}

/* ---- Public ---- */

const char *const *mj_routing_names(uint32_t *count)
{
    if (count) {
        *count = (uint32_t)NAME_COUNT;
    }
    return names;
}

mj_status mj_routing_sample(const mj_problem *problem, const char *name, uint64_t seed, uint32_t token_count,
                            int32_t *ids, float *weights, mj_error *error)
{
    sampler s;
    mj_status status = sampler_start(&s, problem, name, seed, error);
    if (status != MJ_OK) {
        return status;
    }
    if (!ids && token_count > 0) {
        sampler_free(&s);
        return mj_fail(error, MJ_ERR_ARGUMENT, "routing: ids is null");
    }
    for (uint32_t token = 0; token < token_count; token++) {
        size_t pair = (size_t)token * s.top_k;
        sample_token(&s, token, ids + pair, weights ? weights + pair : NULL);
    }
    sampler_free(&s);
    return MJ_OK;
}

uint32_t mj_routing_histogram(const mj_problem *problem, const int32_t *ids, uint32_t token_count, uint32_t *rows,
                              uint64_t *local_rows)
{
    size_t pair_count = (size_t)token_count * problem->top_k;
    uint64_t sum = 0;
    uint32_t active = 0;
    memset(rows, 0, problem->expert_count * sizeof *rows);
    for (size_t i = 0; i < pair_count; i++) {
        if (ids[i] >= 0 && (uint32_t)ids[i] < problem->expert_count) {
            active += rows[ids[i]]++ == 0;
            sum++;
        }
    }
    if (local_rows) {
        *local_rows = sum;
    }
    return active;
}

/* Adds up what `token_count` tokens would send to each local expert, from a sample. */
static mj_status expect_by_sampling(sampler *s, const mj_problem *problem, uint32_t token_count, double *rows,
                                    mj_error *error)
{
    int32_t ids[64];
    uint32_t *counts = calloc(problem->expert_count, sizeof *counts);
    if (!counts) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a histogram of %u experts", problem->expert_count);
    }
    for (uint32_t token = 0; token < EXPECTED_TOKENS; token++) {
        sample_token(s, token, ids, NULL);
        for (uint32_t slot = 0; slot < s->top_k; slot++) {
            if ((uint32_t)ids[slot] < problem->expert_count) {
                counts[ids[slot]]++;
            }
        }
    }
    for (uint32_t e = 0; e < problem->expert_count; e++) {
        rows[e] = (double)counts[e] * token_count / EXPECTED_TOKENS;
    }
    free(counts);
    return MJ_OK;
}

mj_status mj_routing_expected(const mj_problem *problem, const char *name, uint64_t seed, uint32_t token_count,
                              double *rows, mj_error *error)
{
    sampler s;
    mj_status status = sampler_start(&s, problem, name, seed, error);
    if (status != MJ_OK) {
        return status;
    }
    if (!rows) {
        status = mj_fail(error, MJ_ERR_ARGUMENT, "routing: rows is null");
    } else if (s.kind == ROUTING_BALANCED || s.kind == ROUTING_UNIFORM) {
        for (uint32_t e = 0; e < problem->expert_count; e++) {
            rows[e] = (double)token_count * s.top_k / s.total;
        }
    } else {
        status = expect_by_sampling(&s, problem, token_count, rows, error);
    }
    sampler_free(&s);
    return status;
}

mj_status mj_routing_measure(const uint32_t *rows, uint32_t expert_count, uint32_t block_rows, mj_routing_stats *out,
                             mj_error *error)
{
    if (!rows || !out || expert_count == 0 || block_rows == 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "routing: needs rows, at least one expert and one row per block");
    }
    *out = (mj_routing_stats){.block_rows = block_rows, .expert_count = expert_count, .rows_min = UINT32_MAX};
    for (uint32_t e = 0; e < expert_count; e++) {
        uint32_t last = rows[e] % block_rows;
        out->row_count += rows[e];
        out->block_count += rows[e] / block_rows + (last != 0);
        out->skinny_block_count += last != 0 && 2 * (uint64_t)last < block_rows;
        out->active_count += rows[e] != 0;
        out->rows_max = rows[e] > out->rows_max ? rows[e] : out->rows_max;
        out->rows_min = rows[e] < out->rows_min ? rows[e] : out->rows_min;
    }
    out->dead_count = expert_count - out->active_count;
    out->rows_mean = (double)out->row_count / expert_count;
    if (out->block_count > 0) {
        out->useful_share = (double)out->row_count / ((double)out->block_count * block_rows);
        out->skinny_share = (double)out->skinny_block_count / (double)out->block_count;
    }
    return MJ_OK;
}
