/* tune_plan.c: which batch sizes, and which candidates for each. Starts no process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "poison.h"
#include "routing.h"
#include "scheme_words.h"
#include "tune_session.h"

#define QUICK_COUNT_GPU 20
#define QUICK_COUNT_CPU 10
#define QUICK_RANKED    512 /* of which most of the quick ones are picked */
#define RARE_PLACES     2

static const uint32_t gpu_token_counts[] = {1,  2,   4,   8,   16,   24,   32,   48,   64,
                                            96, 128, 256, 512, 1024, 1536, 2048, 3072, 4096};
static const uint32_t cpu_token_counts[] = {1, 16, 64};
static const char *const default_routings[] = {"uniform"};

static bool is_reference(const char *family)
{
    return strcmp(family, "reference") == 0;
}

/* An op that stands in for others is looked at where a family made for speed has it. */
static bool has_fast_family(const mj_session *s, mj_op op)
{
    bool served = !mj_op_writes_codes(op) || mj_scheme_quantises(s->scheme);
    const mj_space *space = served ? mj_session_space(s, op) : NULL;
    return space && !is_reference(space->family) && (!s->options.family || !is_reference(s->options.family));
}

static void choose_ops(mj_session *s)
{
    s->op_count = 0;
    for (int op = 0; op < MJ_OP_COUNT; op++) {
        bool unwanted = mj_op_is_gemm2((mj_op)op) ? s->options.gemm1_only : s->options.gemm2_only;
        bool stands_in = mj_op_stands_for((mj_op)op) != MJ_OP_COUNT;
        if (mj_op_is_gemm((mj_op)op) && !unwanted &&
            (!stands_in || (!s->options.no_stand_ins && has_fast_family(s, (mj_op)op)))) {
            s->ops[s->op_count++] = (mj_op)op;
        }
    }
}

bool mj_session_times_replaced(const mj_session *s, mj_op op)
{
    for (uint32_t i = 0; i < s->row_count; i++) {
        if (mj_op_part(s->rows[i].result.op, 1) == op && !s->rows[i].absent) {
            return true;
        }
    }
    return false;
}

mj_status mj_session_choose(mj_session *s, mj_error *error)
{
    const mj_tune_options *o = &s->options;
    s->token_counts = o->token_counts;
    s->token_count_count = o->token_count_count;
    if (!s->token_counts) {
        s->token_counts = s->is_cpu ? cpu_token_counts : gpu_token_counts;
        s->token_count_count =
            s->is_cpu ? sizeof(cpu_token_counts) / sizeof(uint32_t) : sizeof(gpu_token_counts) / sizeof(uint32_t);
    }
    s->routings = o->routings ? o->routings : default_routings;
    s->routing_count = o->routings ? o->routing_count : 1;
    choose_ops(s);
    if (s->op_count == 0 || s->token_count_count == 0 || s->routing_count == 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "nothing to do: no GEMM, batch size or routing is left");
    }
    for (uint32_t i = 0; i < s->token_count_count; i++) {
        uint64_t pairs = (uint64_t)s->token_counts[i] * s->problem.top_k;
        if (s->token_counts[i] == 0 || pairs > INT32_MAX) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "batch size %u: 1 to %u are possible", s->token_counts[i],
                           INT32_MAX / s->problem.top_k);
        }
    }
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < s->routing_count && status == MJ_OK; i++) {
        status = mj_routing_check(s->routings[i], error);
    }
    return status;
}

/* Op by op, so that one GEMM's weights are on the device at a time. */
mj_status mj_session_plan_rows(mj_session *s, mj_error *error)
{
    uint64_t count = (uint64_t)s->op_count * s->token_count_count * s->routing_count;
    s->rows = count <= 100000 ? calloc(count, sizeof(*s->rows)) : NULL;
    if (!s->rows) {
        return mj_fail(error, MJ_ERR_MEMORY, "%llu rows", (unsigned long long)count);
    }
    for (uint32_t op = 0; op < s->op_count; op++) {
        for (uint32_t m = 0; m < s->token_count_count; m++) {
            for (uint32_t r = 0; r < s->routing_count; r++) {
                mj_tune_row *row = &s->rows[s->row_count++].result;
                row->op = s->ops[op];
                row->token_count = s->token_counts[m];
                row->origin = MJ_ORIGIN_ESTIMATE;
                row->row_error = -1;
                snprintf(row->routing, sizeof(row->routing), "%s", s->routings[r]);
            }
        }
    }
    return MJ_OK;
}

const mj_space *mj_session_space(const mj_session *s, mj_op op)
{
    for (uint32_t i = 0; i < s->arch->families.count; i++) {
        const mj_space *space = NULL;
        if (mj_spec_find_space(s->spec, s->arch->families.items[i], &space, NULL) == MJ_OK &&
            mj_list_has(&space->ops, mj_op_name(op)) &&
            (space->schemes.count == 0 || mj_list_has(&space->schemes, s->problem.scheme)) &&
            mj_layout_served(space, &s->problem, op)) {
            return space;
        }
    }
    return NULL;
}

/* ---- Candidates ---- */
static bool wanted(const mj_session *s, const mj_row *row, const char *family, const mj_config *config,
                   const mj_config *only)
{
    const mj_tune_options *o = &s->options;
    if (only && !mj_config_equal(config, only)) {
        return false;
    }
    if (is_reference(family) &&
        mj_op_stands_for(row->result.op) != MJ_OP_COUNT) { /* ranked where nothing else is legal */
        return false;
    }
    return !o->accept || o->accept(o->user, row->result.op, family, config);
}

static mj_status add(mj_row *row, const char *family, const mj_config *config, double estimate_us, const char *poison,
                     mj_error *error)
{
    mj_candidate *grown = realloc(row->candidates, (row->candidate_count + 1ull) * sizeof(*grown));
    if (!grown) {
        return mj_fail(error, MJ_ERR_MEMORY, "candidates");
    }
    row->candidates = grown;
    mj_candidate c = {.config = *config, .estimate_us = estimate_us, .poison = poison};
    char config_text[1024];
    mj_strbuf text = {0};
    snprintf(c.family, sizeof(c.family), "%s", family);
    mj_status status = mj_config_print(config, config_text, sizeof(config_text), error);
    if (status == MJ_OK) {
        mj_strbuf_addf(&text, "%s %s%s%s", family, config_text, poison ? " poison=" : "", poison ? poison : "");
        status = text.failed ? mj_fail(error, MJ_ERR_MEMORY, "candidates") : MJ_OK;
    }
    if (status != MJ_OK) {
        mj_strbuf_free(&text);
        return status;
    }
    c.text = text.text;
    row->candidates[row->candidate_count++] = c;
    return MJ_OK;
}

/* Rows come op by op: what is legal is found once for all their batch sizes. */
static mj_status ranking_of(mj_session *s, mj_op_ranking *held, mj_op op, const char *family, bool tallied,
                            mj_error *error)
{
    if (held->ranking && held->op == op) {
        return MJ_OK;
    }
    mj_ranking_close(held->ranking);
    held->op = op;
    return mj_ranking_open(s->spec, &s->problem, s->arch, op, family, tallied, &held->ranking, error);
}

/* What a plan would serve without tuning is the estimate's first of the whole space. `first` is that of the families wished. */
static mj_status is_default(mj_session *s, const mj_row *row, const mj_ranked *first, bool *out, mj_error *error)
{
    mj_ranked best;
    uint32_t count = 0;
    *out = !s->options.family;
    if (*out) {
        return MJ_OK;
    }
    mj_status status = ranking_of(s, &s->whole, row->result.op, NULL, false, error);
    if (status == MJ_OK) {
        status = mj_ranking_best(s->whole.ranking, &s->device.shape, row->result.token_count, NULL, &best, 1, &count,
                                 NULL, error);
    }
    *out = status == MJ_OK && count > 0 && best.space == first->space && mj_config_equal(&best.config, &first->config);
    return status;
}

/* The estimate's first for routing unknown. */
static mj_status add_default(mj_session *s, mj_row *row, const mj_config *only, mj_error *error)
{
    mj_ranked first;
    uint32_t count = 0;
    bool marked = false;
    mj_status status = ranking_of(s, &s->ranking, row->result.op, s->options.family, true, error);
    if (status == MJ_OK) {
        status = mj_ranking_best(s->ranking.ranking, &s->device.shape, row->result.token_count, NULL, &first, 1, &count,
                                 NULL, error);
    }
    if (status != MJ_OK || count == 0 || !wanted(s, row, first.space->family, &first.config, only)) {
        return status == MJ_ERR_NOT_FOUND ? MJ_OK : status;
    }
    status = is_default(s, row, &first, &marked, error);
    for (uint32_t i = 0; i < row->candidate_count && status == MJ_OK; i++) {
        mj_candidate *c = &row->candidates[i];
        if (strcmp(c->family, first.space->family) == 0 && mj_config_equal(&c->config, &first.config)) {
            c->is_default = marked;
            return MJ_OK;
        }
    }
    if (status == MJ_OK) {
        status = add(row, first.space->family, &first.config, first.estimate_us, NULL, error);
    }
    if (status == MJ_OK) {
        row->candidates[row->candidate_count - 1].is_default = marked;
    }
    return status;
}

/* What an earlier tune chose races along: a tune of the best few may not lose what a longer or narrower search found. */
static mj_status add_stored(const mj_session *s, mj_row *row, mj_error *error)
{
    const mj_choice *stored = mj_session_stored(s, row);
    if (!stored || !stored->verified) {
        return MJ_OK;
    }
    const mj_manifest *manifest = &stored->manifest;
    mj_kernel_desc desc = {.problem = &s->problem,
                           .arch = s->arch,
                           .scheme = s->scheme,
                           .op = row->result.op,
                           .config = &manifest->config};
    if (mj_spec_find_space(s->spec, manifest->family, &desc.space, NULL) != MJ_OK || !mj_legal(s->spec, &desc, NULL)) {
        return MJ_OK; /* of other tables than today's */
    }
    for (uint32_t i = 0; i < row->candidate_count; i++) {
        const mj_candidate *c = &row->candidates[i];
        if (strcmp(c->family, manifest->family) == 0 && mj_config_equal(&c->config, &manifest->config)) {
            return MJ_OK;
        }
    }
    double estimate_us = mj_estimate_us(&desc, &s->device.shape, row->result.token_count, NULL);
    return add(row, manifest->family, &manifest->config, estimate_us, NULL, error);
}

static mj_status add_poison(mj_row *row, mj_error *error)
{
    const char *kinds = getenv("MOEJIT_TEST_POISON");
    if (!kinds || row->candidate_count == 0) {
        return MJ_OK;
    }
    mj_status status = MJ_OK;
    for (uint32_t i = 0; mj_poison_name(i) && status == MJ_OK; i++) {
        if (strstr(kinds, mj_poison_name(i))) {
            mj_candidate first = row->candidates[0];
            status = add(row, first.family, &first.config, first.estimate_us, mj_poison_name(i), error);
        }
    }
    return status;
}

/* The same in everything called tile_...: what else differs moves a time less. */
static bool is_same_tile(const mj_candidate *a, const mj_ranked *b)
{
    bool same = strcmp(a->family, b->space->family) == 0;
    for (uint32_t i = 0; same && i < b->config.count; i++) {
        const mj_param *param = &b->config.params[i];
        int32_t value = 0;
        same = strncmp(param->name, "tile_", 5) != 0 ||
               (mj_config_get(&a->config, param->name, &value) && value == param->value);
    }
    return same;
}

static bool is_new(const mj_row *row, const mj_ranked *ranked, bool by_tile)
{
    for (uint32_t i = 0; i < row->candidate_count; i++) {
        const mj_candidate *c = &row->candidates[i];
        if (by_tile ? is_same_tile(c, ranked)
                    : strcmp(c->family, ranked->space->family) == 0 && mj_config_equal(&c->config, &ranked->config)) {
            return false;
        }
    }
    return true;
}

static bool has_value(const mj_candidate *c, const mj_space *space, const char *name, int32_t value)
{
    int32_t got = 0;
    return strcmp(c->family, space->family) == 0 && mj_config_get(&c->config, name, &got) && got == value;
}

/* It has a value that its space calls rare, and that fewer than RARE_PLACES of the row's candidates have. */
static bool is_rare(const mj_row *row, const mj_ranked *ranked)
{
    const mj_space *space = ranked->space;
    for (uint32_t t = 0; t < space->tunable_count; t++) {
        const mj_tunable *tunable = &space->tunables[t];
        int32_t value = 0;
        bool rare = false;
        mj_config_get(&ranked->config, tunable->name, &value);
        for (uint32_t i = 0; i < tunable->rare_count; i++) {
            rare = rare || tunable->rare[i] == value;
        }
        uint32_t count = 0;
        for (uint32_t i = 0; i < row->candidate_count; i++) {
            count += has_value(&row->candidates[i], space, tunable->name, value);
        }
        if (rare && count < RARE_PLACES) {
            return is_new(row, ranked, false);
        }
    }
    return false;
}

/* `keep` of the ranked, and a few. A model's errors are alike for one tile shape, so its first few may share a mistake: most places go
 * to the best of each shape that is not put far behind, the rest to what is left in order. Of 88 rows
 * timed on an H200 (20 to 256 configs each, which the model was fitted to) the best so picked is the best, but for 2 % in one. */
static mj_status pick(mj_row *row, const mj_ranked *ranked, uint32_t count, uint32_t keep, mj_error *error)
{
    mj_status status = MJ_OK;
    bool all = count <= keep;
    uint32_t near = count < QUICK_RANKED || all ? count : QUICK_RANKED;
    double far_us = count > 0 ? MJ_RACE_DROP * ranked[0].estimate_us : 0;
    for (int round = all ? 1 : 0; round < 2; round++) {
        bool by_tile = round == 0;
        uint32_t places = by_tile ? keep - 2 * keep / 5 : keep;
        for (uint32_t i = 0; i < near && status == MJ_OK && row->candidate_count < places; i++) {
            if (all || (is_new(row, &ranked[i], by_tile) && !(by_tile && ranked[i].estimate_us > far_us))) {
                status = add(row, ranked[i].space->family, &ranked[i].config, ranked[i].estimate_us, NULL, error);
            }
        }
    }
    for (uint32_t i = 0; i < count && !all && status == MJ_OK && ranked[i].estimate_us < far_us; i++) {
        if (is_rare(row, &ranked[i])) {
            status = add(row, ranked[i].space->family, &ranked[i].config, ranked[i].estimate_us, NULL, error);
        }
    }
    return status;
}

/* `keep` of what is wanted; UINT32_MAX: all of it. */
static mj_status rank(mj_session *s, mj_row *row, uint32_t keep, const mj_config *only, mj_error *error)
{
    mj_ranked *ranked = NULL;
    const mj_problem *problem = &s->problem;
    /* Uniform is what the estimate takes for granted: asked the same way, its first is the default. */
    bool uniform = strcmp(row->result.routing, "uniform") == 0;
    double *expected = calloc(problem->expert_count, sizeof(double));
    mj_tally *tally = calloc(1, sizeof(*tally));
    uint32_t count = 0;
    mj_status status = expected && tally ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "candidates");
    if (status == MJ_OK && !uniform) {
        status = mj_routing_expected(problem, row->result.routing, s->options.seed, row->result.token_count, expected,
                                     error);
    }
    if (status == MJ_OK) {
        status = ranking_of(s, &s->ranking, row->result.op, s->options.family, true, error);
    }
    if (status == MJ_OK) {
        status = mj_ranking_all(s->ranking.ranking, &s->device.shape, row->result.token_count,
                                uniform ? NULL : expected, &ranked, &count, tally, error);
    }
    uint32_t kept = 0;
    bool marked = false;
    for (uint32_t i = 0; i < count && status == MJ_OK; i++) {
        if (wanted(s, row, ranked[i].space->family, &ranked[i].config, only)) {
            marked = marked || i == 0; /* not who moves up to the first place */
            ranked[kept++] = ranked[i];
        }
    }
    if (status == MJ_OK && marked && uniform) {
        status = is_default(s, row, &ranked[0], &marked, error);
    }
    uint64_t refused = count - kept;
    if (status == MJ_OK) {
        status = pick(row, ranked, kept, keep < kept ? keep : kept, error);
    }
    if (status == MJ_OK && uniform && marked && row->candidate_count > 0) { /* the first one picked is the first */
        row->candidates[0].is_default = true;
    }
    if (status == MJ_OK) {
        row->result.refused = (uint32_t)(tally->candidate_count - tally->legal_count + refused);
    }
    free(ranked);
    free(expected);
    free(tally);
    return status;
}

/* What the row's choice is compared with: another family's by the estimate, which knows no routing either. */
static mj_status add_against(mj_session *s, mj_row *row, mj_error *error)
{
    mj_ranked first;
    uint32_t count = 0;
    if (s->mode != MJ_SESSION_BENCH || !s->options.against || row->candidate_count == 0) {
        return MJ_OK;
    }
    mj_status status = ranking_of(s, &s->against, row->result.op, s->options.against, false, error);
    if (status == MJ_OK) {
        status = mj_ranking_best(s->against.ranking, &s->device.shape, row->result.token_count, NULL, &first, 1, &count,
                                 NULL, error);
    }
    if (status == MJ_OK && count == 0 && mj_op_stands_for(row->result.op) != MJ_OP_COUNT) {
        return MJ_OK;
    }
    if (status == MJ_OK && count == 0) {
        return mj_fail(error, MJ_ERR_ILLEGAL, "%s on %s: no config of family %s is legal to compare with",
                       mj_op_name(row->result.op), s->arch->name, s->options.against);
    }
    if (status == MJ_OK && is_new(row, &first, false)) {
        status = add(row, first.space->family, &first.config, first.estimate_us, NULL, error);
    }
    if (status == MJ_OK) {
        row->candidates[row->candidate_count - 1].is_against = true;
    }
    return status;
}

/* Bench and verify look at one config per row: the one asked for, the one a plan takes from the store, or the default. */
static mj_status plan_one(mj_session *s, mj_row *row, const mj_config *only, mj_error *error)
{
    const mj_choice *stored = only || s->options.family ? NULL : mj_session_served(s, row);
    if (stored) {
        row->result.origin = MJ_ORIGIN_STORE;
        return add(row, stored->manifest.family, &stored->manifest.config, 0, NULL, error);
    }
    row->result.asked = only != NULL;
    const mj_row *before = row > s->rows ? row - 1 : NULL;
    if (before && before->candidate_count > 0 && before->candidates[0].is_default &&
        before->result.op == row->result.op && before->result.token_count == row->result.token_count) {
        const mj_candidate *same = &before->candidates[0]; /* the default knows no routing */
        mj_status copied = add(row, same->family, &same->config, same->estimate_us, NULL, error);
        if (copied == MJ_OK) {
            row->candidates[0].is_default = true;
        }
        return copied;
    }
    mj_status status = only ? MJ_OK : add_default(s, row, NULL, error);
    if (status == MJ_OK && row->candidate_count == 0) { /* the default is not wanted: the best that is */
        status = rank(s, row, 1, only, error);
    }
    return status;
}

mj_status mj_session_plan_candidates(mj_session *s, mj_row *row, mj_error *error)
{
    mj_config only_config;
    const mj_config *only = NULL;
    mj_status status = MJ_OK;
    uint32_t quick = s->is_cpu ? QUICK_COUNT_CPU : QUICK_COUNT_GPU;
    if (s->options.config) {
        status = mj_config_parse(s->options.config, &only_config, error);
        only = &only_config;
    }
    if (status == MJ_OK && s->mode != MJ_SESSION_TUNE) {
        status = plan_one(s, row, only, error);
        if (status == MJ_OK) {
            status = add_against(s, row, error);
        }
    } else if (status == MJ_OK) {
        status = rank(s, row, s->options.effort == MJ_EFFORT_FULL ? UINT32_MAX : quick, only, error);
        if (status == MJ_OK && strcmp(row->result.routing, "uniform") != 0) {
            status = add_default(s, row, only, error);
        }
        if (status == MJ_OK && !mj_session_is_partial(s)) {
            status = add_stored(s, row, error);
        }
        if (status == MJ_OK) {
            status = add_poison(row, error);
        }
    }
    if (status == MJ_OK && row->candidate_count == 0 && mj_op_stands_for(row->result.op) != MJ_OP_COUNT) {
        row->absent = row->finished = true;
        return MJ_OK;
    }
    if (status == MJ_OK && row->candidate_count == 0) {
        status = mj_fail(error, MJ_ERR_ILLEGAL, "%s, %u tokens on %s: no legal config%s%s", mj_op_name(row->result.op),
                         row->result.token_count, s->arch->name, only ? " equals " : "", only ? s->options.config : "");
    }
    if (status == MJ_OK) {
        row->contestants = calloc(row->candidate_count, sizeof(*row->contestants));
        status = row->contestants ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "candidates");
    }
    for (uint32_t i = 0; status == MJ_OK && i < row->candidate_count; i++) {
        row->contestants[i].text = row->candidates[i].text;
        row->contestants[i].is_default = row->candidates[i].is_default;
        row->contestants[i].row_error = -1;
    }
    return status;
}

void mj_session_forget_rankings(mj_session *s)
{
    mj_ranking_close(s->ranking.ranking);
    mj_ranking_close(s->against.ranking);
    mj_ranking_close(s->whole.ranking);
    s->ranking = s->against = s->whole = (mj_op_ranking){0};
}

void mj_session_free_rows(mj_session *s)
{
    mj_session_forget_rankings(s);
    for (uint32_t i = 0; i < s->row_count; i++) {
        for (uint32_t j = 0; j < s->rows[i].candidate_count; j++) {
            free(s->rows[i].candidates[j].text);
        }
        free(s->rows[i].candidates);
        free(s->rows[i].contestants);
    }
    free(s->rows);
    s->rows = NULL;
    s->row_count = 0;
}
