/* estimate.c: which config should be fast, before anything is measured; and what a GEMM has to move and compute.
 *
 * The models of the families are rough: they are there to put good candidates first, not to predict a time. */
#include "checked.h"
#include "enumerate.h"
#include "family.h"
#include "legal.h"
#include "scheme_words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The load of a routing ---- */

enum { IO_BYTES = 2 };
enum { TILE_ROWS_COUNT = sizeof mj_load_tile_rows / sizeof mj_load_tile_rows[0] };

/* Expected tiles of an expert with a mean of `rows`, when each of `tokens` tokens picks it with the same chance. Averages over the
 * spread (normal, nine points as likely as each other) so that a mean of one row and a half is not taken for two tiles of a row. */
static double expected_tiles(double rows, double tokens, uint32_t tile)
{
    double chance = tokens > 0 ? rows / tokens : 0, spread = sqrt(rows * (1 - (chance < 1 ? chance : 1)));
    double hit = 1 - pow(1 - (chance < 1 ? chance : 1), tokens); /* the expert has any row at all */
    static const double points[] = {-1.5932, -0.9674, -0.5895, -0.2822, 0, 0.2822, 0.5895, 0.9674, 1.5932};
    enum { POINTS = sizeof points / sizeof points[0] };
    double sum = 0;
    for (int i = 0; i < POINTS; i++) {
        double at = rows / (hit > 1e-9 ? hit : 1) + spread * points[i];
        double tiles = ceil((at - 0.5) / tile);
        sum += tiles < 1 ? 1 : tiles;
    }
    return hit * sum / POINTS;
}

static void fill_load(const mj_problem *p, uint32_t token_count, const double *expert_rows, mj_load *load)
{
    double tokens = token_count, total = p->expert_total_count;
    double uniform = total > 0 ? tokens * p->top_k / total : 0;
    memset(load, 0, sizeof *load);
    load->token_count = token_count;
    for (uint32_t e = 0; e < p->expert_count; e++) {
        double rows = expert_rows ? expert_rows[e] : uniform;
        if (!(rows > 0)) {
            continue;
        }
        rows = rows < tokens ? rows : tokens;
        load->row_count += rows;
        load->active_experts += 1 - pow(1 - rows / tokens, tokens);
        for (int i = 0; i < TILE_ROWS_COUNT; i++) {
            load->row_tiles[i] += expected_tiles(rows, tokens, mj_load_tile_rows[i]);
        }
        if (!expert_rows) { /* all alike: once is enough */
            double count = p->expert_count;
            load->row_count *= count;
            load->active_experts *= count;
            for (int i = 0; i < TILE_ROWS_COUNT; i++) {
                load->row_tiles[i] *= count;
            }
            break;
        }
    }
    load->input_rows = load->row_count < tokens ? load->row_count : tokens;
}

double mj_estimate_us(const mj_kernel_desc *desc, const mj_device_shape *shape, uint32_t token_count,
                      const double *expert_rows)
{
    const mj_family *family = mj_family_find(desc->space->family);
    mj_derived derived;
    mj_load load;
    if (!family || mj_family_derive(desc, &derived, NULL) != MJ_OK) {
        return INFINITY;
    }
    fill_load(desc->problem, token_count, expert_rows, &load);
    return family->estimate_us(desc, &derived, shape, &load);
}

double mj_estimate_replaced_us(const mj_problem *problem, const mj_device_shape *shape, mj_op op, mj_op known,
                               uint32_t token_count)
{
    mj_load load;
    double us = 0;
    fill_load(problem, token_count, NULL, &load);
    double activated = load.row_count * problem->intermediate;
    const struct {
        mj_op op;
        double bytes; /* read and written */
    } replaced[] = {
        {MJ_OP_ACTIVATION, activated * (problem->gated ? 3.0 : 2.0) * IO_BYTES},
        {MJ_OP_QUANTISE2, activated * (IO_BYTES + 1)},
        {MJ_OP_COMBINE, (load.row_count + token_count) * problem->hidden * IO_BYTES},
    };
    for (size_t i = 0; i < sizeof replaced / sizeof replaced[0]; i++) {
        if (mj_op_replaces(op, replaced[i].op) && !mj_op_replaces(known, replaced[i].op)) {
            us += replaced[i].bytes / shape->memory_gbps * 1e-3 + shape->launch_us;
        }
    }
    return us;
}

/* ---- Ranking ---- */

typedef struct candidate {
    double estimate_us;
    const mj_space *space;
    int32_t values[MJ_CONFIG_MAX];
} candidate;

typedef struct ranking {
    const mj_family *family;
    const mj_device_shape *shape;
    mj_load load;
    candidate *items;
    size_t count, capacity;
    bool failed; /* out of memory */
} ranking;

static bool keep_candidate(void *user, const mj_kernel_desc *desc, const mj_derived *derived)
{
    ranking *r = user;
    if (r->count == r->capacity) {
        size_t capacity = r->capacity ? 2 * r->capacity : 4096;
        candidate *items = realloc(r->items, capacity * sizeof *items);
        if (!items) {
            r->failed = true;
            return false;
        }
        r->items = items;
        r->capacity = capacity;
    }
    candidate *c = &r->items[r->count++];
    memset(c, 0, sizeof *c);
    c->space = desc->space;
    c->estimate_us = r->family->estimate_us(desc, derived, r->shape, &r->load);
    for (uint32_t i = 0; i < desc->config->count; i++) {
        c->values[i] = desc->config->params[i].value;
    }
    return true;
}

/* Ties by value, in the space's order, so that the order never depends on the sort. */
static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->estimate_us != y->estimate_us) {
        return x->estimate_us < y->estimate_us ? -1 : 1;
    }
    if (x->space != y->space) {
        return strcmp(x->space->family, y->space->family);
    }
    for (uint32_t i = 0; i < x->space->tunable_count; i++) {
        if (x->values[i] != y->values[i]) {
            return x->values[i] < y->values[i] ? -1 : 1;
        }
    }
    return 0;
}

static void restore_config(const candidate *c, mj_config *out)
{
    *out = (mj_config){0};
    for (uint32_t i = 0; i < c->space->tunable_count; i++) {
        mj_config_set(out, c->space->tunables[i].name, c->values[i], NULL);
    }
}

/* The best `capacity` that the spaces' rules accept. Those rules are slow, so without a tally they are asked only until enough
 * are found. */
static uint32_t take_best(const mj_spec *spec, mj_kernel_desc desc, ranking *r, mj_ranked *out, uint32_t capacity,
                          mj_tally *tally)
{
    uint32_t count = 0;
    for (size_t i = 0; i < r->count && (tally || count < capacity); i++) {
        mj_config config;
        mj_derived derived;
        mj_verdict verdict = {0};
        restore_config(&r->items[i], &config);
        desc.space = r->items[i].space;
        desc.config = &config;
        if (mj_family_derive(&desc, &derived, NULL) != MJ_OK) {
            continue;
        }
        if (!mj_legal_space(spec, &desc, &derived, tally ? &verdict : NULL, false)) {
            if (tally) {
                mj_tally_refuse(tally, verdict.refusals[0].rule, 1);
            }
            continue;
        }
        if (tally) {
            tally->legal_count++;
        }
        if (count < capacity) {
            out[count++] = (mj_ranked){.config = config, .space = desc.space, .estimate_us = r->items[i].estimate_us};
        }
    }
    return count;
}

/* A family is asked for by name, or is one of the arch's; the reference is kept for when nothing else is legal. */
static mj_status walk_families(const mj_spec *spec, mj_kernel_desc desc, const char *family, bool reference, ranking *r,
                               mj_tally *tally, mj_error *error)
{
    for (uint32_t i = 0; i < desc.arch->families.count; i++) {
        const char *name = desc.arch->families.items[i];
        bool is_reference = strcmp(name, mj_family_reference.name) == 0;
        if (family ? strcmp(name, family) != 0 : is_reference != reference) {
            continue;
        }
        r->family = mj_family_find(name);
        if (!r->family || mj_spec_find_space(spec, name, &desc.space, NULL) != MJ_OK ||
            !mj_list_has(&desc.space->ops, mj_op_name(desc.op))) {
            continue;
        }
        mj_status status = mj_space_walk(&desc, keep_candidate, r, tally, error);
        if (status == MJ_OK && r->failed) {
            status = mj_fail(error, MJ_ERR_MEMORY, "no memory to rank %zu configs", r->count);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    return MJ_OK;
}

mj_status mj_estimate_rank(const mj_spec *spec, const mj_problem *problem, const mj_arch *arch, mj_op op,
                           const char *family, const mj_device_shape *shape, uint32_t token_count,
                           const double *expert_rows, mj_ranked *out, uint32_t capacity, uint32_t *count,
                           mj_tally *tally, mj_error *error)
{
    mj_kernel_desc desc = {.problem = problem, .arch = arch, .op = op};
    ranking r = {.shape = shape};
    *count = 0;
    if (tally) {
        memset(tally, 0, sizeof *tally);
    }
    mj_status status = mj_problem_check(problem, error);
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(spec, problem->scheme, &desc.scheme, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    fill_load(problem, token_count, expert_rows, &r.load);
    for (int reference = 0; reference < (family ? 1 : 2) && *count == 0 && status == MJ_OK; reference++) {
        r.count = 0;
        status = walk_families(spec, desc, family, reference == 1, &r, tally, error);
        if (status == MJ_OK && r.count > 0) {
            qsort(r.items, r.count, sizeof *r.items, compare_candidates);
            *count = take_best(spec, desc, &r, out, capacity, tally);
        }
    }
    free(r.items);
    return status;
}

static double groups(uint32_t axis, uint32_t group)
{
    return group ? (double)mj_ceil_div(axis, group) : 1;
}

static double format_bytes(const char *format) /* of a scale or a zero point; packed ones are nibbles */
{
    if (strcmp(format, "f32") == 0) {
        return 4;
    }
    return strstr(format, "int4") ? 0.5 : strcmp(format, "bf16") == 0 || strcmp(format, "f16") == 0 ? 2 : 1;
}

mj_work mj_gemm_work(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint32_t token_count,
                     uint64_t local_rows, uint32_t active_experts)
{
    mj_gemm_shape gemm = mj_problem_gemm(problem, op);
    double rows = (double)local_rows, k = gemm.k, n = gemm.n, io_bytes = 2;
    bool coded = strcmp(scheme->input_format, scheme->io_format) != 0;
    double scale_groups = 0, zero_groups = 0, input_bytes = coded ? 1 : io_bytes;
    double input_rows =
        mj_op_is_gemm1(op) && rows > token_count ? token_count : rows; /* gemm1 reads a token's row once */
    if (scheme->scale.format[0]) {
        scale_groups = groups(gemm.n, scheme->scale.group_n) * groups(gemm.k, scheme->scale.group_k);
    }
    if (scheme->zero.format[0]) {
        zero_groups = groups(gemm.n, scheme->zero.group_n) * groups(gemm.k, scheme->zero.group_k);
    }
    double expert_bytes = n * k * scheme->weight_bits / 8 + scale_groups * format_bytes(scheme->scale.format) +
                          zero_groups * format_bytes(scheme->zero.format);
    bool codes = mj_op_writes_codes(op);
    double output_bytes =
        gemm.out_n * (codes ? 1 : io_bytes) + (codes ? 4.0 * mj_scheme_scales_per_row(scheme, gemm.out_n) : 0);
    double output_rows = mj_op_combines(op) ? token_count : rows;
    double scale_bytes = coded ? input_rows * mj_scheme_scales_per_row(scheme, gemm.k) * 4 : 0;
    return (mj_work){
        .bytes =
            active_experts * expert_bytes + input_rows * k * input_bytes + scale_bytes + output_rows * output_bytes,
        .operations = 2 * rows * n * k,
    };
}
