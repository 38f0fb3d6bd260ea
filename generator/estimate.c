/* estimate.c: which config should be fast, before anything is measured; and what a GEMM has to move and compute.
 *
 * The models of the families are rough: they are there to put good candidates first, not to predict a time. */
#include "checked.h"
#include "enumerate.h"
#include "family.h"
#include "legal.h"
#include "ranking.h"
#include "scheme_words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The load of a routing ---- */

enum { IO_BYTES = 2 };

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
        for (int i = 0; i < MJ_LOAD_TILES; i++) {
            load->row_tiles[i] += expected_tiles(rows, tokens, mj_load_tile_rows[i]);
        }
        if (!expert_rows) { /* all alike: once is enough */
            double count = p->expert_count;
            load->row_count *= count;
            load->active_experts *= count;
            for (int i = 0; i < MJ_LOAD_TILES; i++) {
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
    int32_t values[MJ_CONFIG_MAX]; /* in the space's order */
} candidate;

struct mj_ranking {
    const mj_spec *spec;
    mj_kernel_desc desc; /* without space and config */
    const char *family;  /* NULL: all of the arch */
    bool reference;      /* nothing else is legal */
    bool tallied;
    candidate *items;
    size_t count, capacity;
    mj_tally tally;
    bool failed; /* out of memory */
};

static bool keep_candidate(void *user, const mj_kernel_desc *desc, const mj_derived *derived)
{
    mj_ranking *r = user;
    (void)derived;
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

/* The desc and what follows from it again. */
static mj_kernel_desc restore(const mj_ranking *r, const candidate *c, mj_config *config, mj_derived *derived)
{
    mj_kernel_desc desc = r->desc;
    config->count = c->space->tunable_count;
    for (uint32_t i = 0; i < config->count; i++) {
        memcpy(config->params[i].name, c->space->tunables[i].name, sizeof config->params[i].name);
        config->params[i].value = c->values[i];
    }
    desc.space = c->space;
    desc.config = config;
    mj_family_derive(&desc, derived, NULL); /* it did before */
    return desc;
}

/* A family is asked for by name, or is one of the arch's; the reference is kept for when nothing else is legal. */
static mj_status walk_families(mj_ranking *r, mj_error *error)
{
    mj_kernel_desc desc = r->desc;
    r->count = 0;
    for (uint32_t i = 0; i < desc.arch->families.count; i++) {
        const char *name = desc.arch->families.items[i];
        bool is_reference = strcmp(name, mj_family_reference.name) == 0;
        if (r->family ? strcmp(name, r->family) != 0 : is_reference != r->reference) {
            continue;
        }
        if (!mj_family_find(name) || mj_spec_find_space(r->spec, name, &desc.space, NULL) != MJ_OK ||
            !mj_list_has(&desc.space->ops, mj_op_name(desc.op))) {
            continue;
        }
        mj_status status = mj_space_walk(&desc, keep_candidate, r, r->tallied ? &r->tally : NULL, error);
        if (status == MJ_OK && r->failed) {
            status = mj_fail(error, MJ_ERR_MEMORY, "no memory to rank %zu configs", r->count);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    return MJ_OK;
}

/* Leaves what the spaces' rules accept. */
static void ask_rules(mj_ranking *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        mj_config config = {0};
        mj_derived derived;
        mj_verdict verdict;
        mj_kernel_desc desc = restore(r, &r->items[i], &config, &derived);
        verdict.refusal_count = 0;
        if (mj_legal_space(r->spec, &desc, &derived, &verdict, false)) {
            r->items[kept++] = r->items[i];
            r->tally.legal_count++;
        } else {
            mj_tally_refuse(&r->tally, verdict.refusals[0].rule, 1);
        }
    }
    r->count = kept;
}

static mj_status fill(mj_ranking *r, mj_error *error)
{
    mj_status status = walk_families(r, error);
    if (status == MJ_OK && r->tallied) {
        ask_rules(r);
    }
    return status;
}

static void estimate_all(mj_ranking *r, const mj_device_shape *shape, const mj_load *load)
{
    for (size_t i = 0; i < r->count; i++) {
        mj_config config = {0};
        mj_derived derived;
        mj_kernel_desc desc = restore(r, &r->items[i], &config, &derived);
        r->items[i].estimate_us = mj_family_find(desc.space->family)->estimate_us(&desc, &derived, shape, load);
    }
    if (r->count > 0) {
        qsort(r->items, r->count, sizeof *r->items, compare_candidates);
    }
}

/* The best `capacity` that the spaces' rules accept. Those are slow: if they were not all asked, only until enough are found. */
static uint32_t take_best(const mj_ranking *r, mj_ranked *out, uint32_t capacity)
{
    uint32_t count = 0;
    for (size_t i = 0; i < r->count && count < capacity; i++) {
        const candidate *c = &r->items[i];
        mj_config config = {0};
        mj_derived derived;
        mj_kernel_desc desc = restore(r, c, &config, &derived);
        if (r->tallied || mj_legal_space(r->spec, &desc, &derived, NULL, false)) {
            out[count++] = (mj_ranked){.config = config, .space = c->space, .estimate_us = c->estimate_us};
        }
    }
    return count;
}

mj_status mj_ranking_open(const mj_spec *spec, const mj_problem *problem, const mj_arch *arch, mj_op op,
                          const char *family, bool tallied, mj_ranking **out, mj_error *error)
{
    mj_ranking *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory to rank configs");
    }
    r->spec = spec;
    r->family = family;
    r->tallied = tallied;
    r->desc = (mj_kernel_desc){.problem = problem, .arch = arch, .op = op};
    mj_status status = mj_problem_check(problem, error);
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(spec, problem->scheme, &r->desc.scheme, error);
    }
    if (status == MJ_OK) {
        status = fill(r, error);
    }
    if (status != MJ_OK) {
        mj_ranking_close(r);
        return status;
    }
    *out = r;
    return MJ_OK;
}

mj_status mj_ranking_best(mj_ranking *r, const mj_device_shape *shape, uint32_t token_count, const double *expert_rows,
                          mj_ranked *out, uint32_t capacity, uint32_t *count, mj_tally *tally, mj_error *error)
{
    mj_load load;
    mj_status status = MJ_OK;
    bool again = true;
    *count = 0;
    fill_load(r->desc.problem, token_count, expert_rows, &load);
    while (again && status == MJ_OK) {
        estimate_all(r, shape, &load);
        *count = take_best(r, out, capacity);
        again = *count == 0 && !r->family && !r->reference;
        if (again) {
            r->reference = true;
            status = fill(r, error);
        }
    }
    if (tally) {
        *tally = r->tally;
    }
    return status;
}

mj_status mj_ranking_all(mj_ranking *r, const mj_device_shape *shape, uint32_t token_count, const double *expert_rows,
                         mj_ranked **out, uint32_t *count, mj_tally *tally, mj_error *error)
{
    mj_ranked first;
    *out = NULL;
    mj_status status = mj_ranking_best(r, shape, token_count, expert_rows, &first, 1, count, tally, error);
    if (status != MJ_OK || *count == 0) { /* nothing else is legal: the ranking is of the reference by now */
        return status;
    }
    *out = r->count <= UINT32_MAX ? calloc(r->count, sizeof **out) : NULL;
    if (!*out) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory to rank %zu configs", r->count);
    }
    *count = take_best(r, *out, (uint32_t)r->count);
    return MJ_OK;
}

void mj_ranking_close(mj_ranking *r)
{
    if (r) {
        free(r->items);
        free(r);
    }
}

mj_status mj_estimate_rank(const mj_spec *spec, const mj_problem *problem, const mj_arch *arch, mj_op op,
                           const char *family, const mj_device_shape *shape, uint32_t token_count,
                           const double *expert_rows, mj_ranked *out, uint32_t capacity, uint32_t *count,
                           mj_tally *tally, mj_error *error)
{
    mj_ranking *r = NULL;
    *count = 0;
    if (tally) {
        memset(tally, 0, sizeof *tally);
    }
    mj_status status = mj_ranking_open(spec, problem, arch, op, family, tally != NULL, &r, error);
    if (status == MJ_OK) {
        status = mj_ranking_best(r, shape, token_count, expert_rows, out, capacity, count, tally, error);
    }
    mj_ranking_close(r);
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
