/* select.c: asks the sources in order and covers 1..max_tokens with their offers; see select.h. */
#include "select.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernel_build.h"

enum { OFFERS_MAX = 4096 };

typedef struct selector {
    mj_plan *plan;
    mj_op op;
    uint32_t source;            /* being asked */
    struct mj_ranking *ranking; /* the op's, while the estimate is asked for its token counts */
    mj_error why_not;           /* the first reason an offer could not be used: of the best source */
    mj_error why_not_last;
    mj_store_source store;
    uint32_t pack_count; /* as registered when the plan was begun */
    const mj_pack *packs[MJ_PACKS_MAX];
} selector;

mj_offer *mj_offers_add(mj_context *context, mj_offers *offers)
{
    if (offers->count == offers->capacity) {
        uint32_t capacity = offers->capacity ? offers->capacity * 2 : 8;
        if (capacity > OFFERS_MAX) {
            return NULL;
        }
        mj_offer *items = mj_realloc(context, offers->items, capacity * sizeof *items);
        if (!items) {
            return NULL;
        }
        offers->items = items;
        offers->capacity = capacity;
    }
    mj_offer *offer = &offers->items[offers->count++];
    memset(offer, 0, sizeof *offer);
    return offer;
}

/* floor(sqrt(a * b)) */
static uint32_t border(uint32_t a, uint32_t b)
{
    uint64_t product = (uint64_t)a * b, low = 0, high = UINT32_MAX;
    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (middle * middle <= product) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return (uint32_t)low;
}

mj_token_range mj_offer_range(uint32_t before, uint32_t tokens, uint32_t after, uint32_t reach)
{
    mj_token_range range = {1, UINT32_MAX};
    if (tokens == 0) {
        return range;
    }
    uint64_t lowest = ((uint64_t)tokens + reach - 1) / reach;
    uint64_t highest = (uint64_t)tokens * reach;
    if (before) {
        range.from = border(before, tokens) + 1;
    }
    if (after) {
        range.to = border(tokens, after);
    }
    if (range.from < lowest) {
        range.from = (uint32_t)lowest;
    }
    if (range.to > highest) {
        range.to = (uint32_t)highest;
    }
    return range;
}

/* ---- Kernels of offers ---- */

static mj_status remake(selector *s, mj_offer *offer, uint32_t *kernel, mj_error *error)
{
    mj_plan *plan = s->plan;
    mj_built built;
    mj_status status =
        mj_kernel_remake(plan->device->context, plan->device->backend->name, &offer->manifest, &built, error);
    if (status != MJ_OK) {
        return status;
    }
    if (strcmp(offer->key, built.entry.key) != 0) {
        if (offer->verified) {
            snprintf(offer->reason, sizeof offer->reason,
                     "made again from the stored config, not the kernel that was tuned");
        }
        offer->verified = false;
        memcpy(offer->key, built.entry.key, sizeof offer->key);
    }
    offer->manifest = built.manifest;
    status = mj_plan_add_kernel(plan, offer->key, &built.manifest, built.entry.compiled.binary,
                                built.entry.compiled.binary_bytes, kernel, error);
    mj_built_free(&built);
    return status;
}

static mj_status from_cache(selector *s, mj_offer *offer, uint32_t *kernel, mj_error *error)
{
    mj_context *context = s->plan->device->context;
    mj_cache_entry entry = {0};
    mj_error missing = {0};
    const char *lack = "is not in the cache";
    *kernel = mj_plan_find_kernel(s->plan, offer->key);
    if (*kernel != UINT32_MAX) {
        return MJ_OK;
    }
    mj_status status = context->cache ? mj_cache_get(context->cache, offer->key, &entry, &missing)
                                      : mj_fail(&missing, MJ_ERR_NOT_FOUND, "there is no cache");
    if (status == MJ_OK && mj_is_of_another_cpu(s->plan->device, &offer->manifest, entry.compiler, offer->tuned_on)) {
        mj_cache_entry_free(&entry);
        status = MJ_ERR_NOT_FOUND;
        lack = "was compiled for the CPU of another machine";
    }
    if (status == MJ_OK) {
        status = mj_plan_add_kernel(s->plan, offer->key, &offer->manifest, entry.compiled.binary,
                                    entry.compiled.binary_bytes, kernel, error);
        mj_cache_entry_free(&entry);
        return status;
    }
    if (status == MJ_ERR_MEMORY) {
        return mj_fail(error, status, "%s", missing.text);
    }
    status = remake(s, offer, kernel, error);
    if (status != MJ_OK && error) {
        mj_error why = *error;
        mj_fail(error, status, "kernel %.12s %s and cannot be made again: %s", offer->key, lack, why.text);
    }
    return status;
}

static mj_status from_binary(selector *s, mj_offer *offer, uint32_t *kernel, mj_error *error)
{
    if (offer->is_of_another_cpu) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "%s", offer->reason);
    }
    return mj_plan_add_kernel(s->plan, offer->key, &offer->manifest, offer->binary, offer->binary_bytes, kernel, error);
}

static mj_status from_estimate(selector *s, mj_offer *offer, uint32_t *kernel, mj_error *error)
{
    mj_device *device = s->plan->device;
    mj_built built;
    mj_wanted wanted = {
        .problem = &s->plan->problem,
        .arch = device->info.arch,
        .op = s->op,
        .family = offer->origin == MJ_ORIGIN_REFERENCE ? "reference" : NULL,
        .token_count = offer->token_count,
        .device = device,
        .instead = offer->instead,
        .instead_us = offer->instead_us,
        .ranking = &s->ranking,
    };
    mj_status status = mj_kernel_choose(device->context, device->backend->name, &wanted, &built, error);
    if (status != MJ_OK) {
        return status;
    }
    offer->us = built.estimate_us;
    offer->instead_us = built.instead_us;
    offer->manifest = built.manifest;
    memcpy(offer->key, built.entry.key, sizeof offer->key);
    status = mj_plan_add_kernel(s->plan, offer->key, &built.manifest, built.entry.compiled.binary,
                                built.entry.compiled.binary_bytes, kernel, error);
    mj_built_free(&built);
    return status;
}

/* ORDER SUPPLY */
static mj_status (*const supplies[])(selector *, mj_offer *, uint32_t *, mj_error *) = {
    [MJ_SUPPLY_CACHE] = from_cache,
    [MJ_SUPPLY_REMAKE] = remake,
    [MJ_SUPPLY_BINARY] = from_binary,
    [MJ_SUPPLY_ESTIMATE] = from_estimate,
};

static bool is_fatal(mj_status status)
{
    return status == MJ_ERR_MEMORY || status == MJ_ERR_DEVICE_LOST || status == MJ_ERR_DEVICE_MEMORY ||
           status == MJ_ERR_INTERNAL;
}

static void note_refusal(selector *s, mj_offer *offer, mj_status status, const char *text)
{
    offer->dead = true;
    mj_fail(s->why_not.status == MJ_OK ? &s->why_not : &s->why_not_last, status, "%s", text);
}

/* MJ_OK with offer->dead set when only this offer is lost. */
static mj_status obtain(selector *s, mj_offers *offers, mj_offer *offer, uint32_t *kernel, mj_error *error)
{
    bool verified_only = s->plan->flags & MJ_PLAN_REQUIRE_VERIFIED;
    if (verified_only && !offer->verified) {
        note_refusal(s, offer, MJ_ERR_UNVERIFIED, offer->reason);
        return MJ_OK;
    }
    mj_error why = {0};
    mj_status status = supplies[offer->supply](s, offer, kernel, &why);
    if (status == MJ_OK) {
        if (verified_only && !offer->verified) {
            note_refusal(s, offer, MJ_ERR_UNVERIFIED, offer->reason);
        }
        return MJ_OK;
    }
    if (is_fatal(status)) {
        return mj_fail(error, status, "%s", why.text);
    }
    note_refusal(s, offer, status, why.text);
    bool none_compiles = status == MJ_ERR_NO_COMPILER && !s->plan->device->context->options.no_compile;
    if (offer->supply == MJ_SUPPLY_ESTIMATE && (status == MJ_ERR_UNSUPPORTED || none_compiles)) {
        for (uint32_t i = 0; i < offers->count; i++) { /* the others would fail alike */
            offers->items[i].dead = true;
        }
    }
    mj_log(s->plan->device->context, 1, "plan: %s M=%" PRIu32 " skipped: %s", mj_op_name(s->op), offer->token_count,
           why.text);
    return MJ_OK;
}

/* ---- Covering ---- */

static mj_status insert_entry(mj_plan *plan, mj_op op, const mj_plan_entry *entry, mj_error *error)
{
    mj_op_span *span = &plan->ops[op];
    if (plan->entry_count == plan->entry_capacity) {
        uint32_t capacity = plan->entry_capacity ? plan->entry_capacity * 2 : 32;
        mj_plan_entry *entries = mj_realloc(plan->device->context, plan->entries, capacity * sizeof *entries);
        if (!entries) {
            return mj_fail(error, MJ_ERR_MEMORY, "no memory for the plan's rows");
        }
        plan->entries = entries;
        plan->entry_capacity = capacity;
    }
    mj_plan_entry *items = plan->entries + span->first; /* the op being selected is the last */
    uint32_t at = span->count;
    while (at > 0 && items[at - 1].row.tokens_from > entry->row.tokens_from) {
        items[at] = items[at - 1];
        at--;
    }
    items[at] = *entry;
    span->count++;
    plan->entry_count++;
    return MJ_OK;
}

/* The first stretch of range that no entry of the op covers; false: none. */
static bool next_gap(const mj_plan *plan, mj_op op, mj_token_range range, mj_token_range *gap)
{
    const mj_plan_entry *items = plan->entries + plan->ops[op].first;
    gap->from = range.from;
    gap->to = range.to < plan->max_tokens ? range.to : plan->max_tokens;
    for (uint32_t i = 0; i < plan->ops[op].count; i++) {
        const mj_plan_row *row = &items[i].row;
        if (row->tokens_to < gap->from) {
            continue;
        }
        if (row->tokens_from > gap->from) {
            gap->to = row->tokens_from - 1 < gap->to ? row->tokens_from - 1 : gap->to;
            break;
        }
        gap->from = row->tokens_to + 1;
    }
    return gap->from <= gap->to;
}

/* "replaces gemm1 + activation: 12.3 us instead of 14.1; ", nothing for an op that stands for itself. */
static void describe_stand_in(const mj_offer *offer, mj_op op, char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (int other = MJ_OP_TABLES; other <= MJ_OP_COMBINE; other++) {
        if (mj_op_replaces(op, (mj_op)other) && mj_op_stands_for((mj_op)other) == MJ_OP_COUNT) {
            snprintf(out + used, bytes - used, "%s%s", used ? " + " : "replaces ", mj_op_name((mj_op)other));
            used = strlen(out);
        }
    }
    if (used && offer->us > 0 && offer->instead_us > 0) {
        snprintf(out + used, bytes - used, ": %.1f us instead of %.1f", offer->us, offer->instead_us);
        used = strlen(out);
    }
    if (used) {
        snprintf(out + used, bytes - used, "; ");
    }
}

static void describe(const mj_offer *offer, mj_op op, mj_token_range gap, uint32_t kernel, mj_plan_entry *out)
{
    const char *how = offer->supply == MJ_SUPPLY_ESTIMATE ? "estimated at"
                      : offer->supply == MJ_SUPPLY_BINARY ? "made for"
                                                          : "tuned at";
    char replaces[96];
    memset(out, 0, sizeof *out);
    describe_stand_in(offer, op, replaces, sizeof replaces);
    out->kernel = kernel;
    out->tuned_at = offer->token_count;
    out->us = offer->us;
    mj_plan_row *row = &out->row;
    row->op = op;
    row->tokens_from = gap.from;
    row->tokens_to = gap.to;
    row->origin = offer->origin;
    row->verified = offer->verified;
    row->time_us_median = offer->time_us_median;
    row->config = offer->manifest.config;
    snprintf(row->family, sizeof row->family, "%s", offer->manifest.family);
    if (offer->token_count == 0) {
        snprintf(row->reason, sizeof row->reason, "%s", offer->reason);
        return;
    }
    bool far = gap.to / MJ_REACH > offer->token_count || gap.from < offer->token_count / MJ_REACH;
    int chars = snprintf(row->reason, sizeof row->reason, "%s%s%s%s M=%" PRIu32 "%s", replaces, offer->reason,
                         offer->reason[0] ? "; " : "", how, offer->token_count, far ? ", nothing nearer" : "");
    (void)chars; /* cut if it must be */
}

static uint32_t neighbour(const mj_offers *offers, uint32_t index, int step)
{
    int64_t at = (int64_t)index + step;
    while (at >= 0 && at < offers->count && offers->items[at].dead) {
        at += step;
    }
    return at >= 0 && at < offers->count ? offers->items[at].token_count : 0;
}

/* Gives the op's open tokens to one offer. *lost: it died, so its neighbours reach further now. */
static mj_status cover_with(selector *s, mj_offers *offers, uint32_t index, uint32_t reach, bool *lost, mj_error *error)
{
    mj_offer *offer = &offers->items[index];
    uint32_t kernel = UINT32_MAX;
    mj_token_range gap;
    mj_token_range range =
        mj_offer_range(neighbour(offers, index, -1), offer->token_count, neighbour(offers, index, 1), reach);
    while (next_gap(s->plan, s->op, range, &gap)) {
        if (kernel == UINT32_MAX) {
            mj_status status = obtain(s, offers, offer, &kernel, error);
            if (status != MJ_OK || offer->dead) {
                *lost = true;
                return status;
            }
        }
        mj_plan_entry entry;
        describe(offer, s->op, gap, kernel, &entry);
        entry.source = s->source;
        mj_status status = insert_entry(s->plan, s->op, &entry, error);
        if (status != MJ_OK) {
            return status;
        }
        if (gap.to == UINT32_MAX) {
            break;
        }
        range.from = gap.to + 1;
    }
    return MJ_OK;
}

static mj_status cover(selector *s, mj_offers *offers, uint32_t reach, mj_error *error)
{
    for (uint32_t i = 0; i < offers->count;) {
        bool lost = false;
        if (!offers->items[i].dead) {
            mj_status status = cover_with(s, offers, i, reach, &lost, error);
            if (status != MJ_OK) {
                return status;
            }
        }
        i = lost ? 0 : i + 1;
    }
    return MJ_OK;
}

static bool is_covered(const selector *s)
{
    mj_token_range gap, all = {1, s->plan->max_tokens};
    return !next_gap(s->plan, s->op, all, &gap);
}

/* ---- Sources ---- */

static mj_status estimate_offers(selector *s, mj_offers *out, mj_error *error)
{
    if (mj_op_is_timed_only(s->op)) {
        return MJ_OK;
    }
    mj_context *context = s->plan->device->context;
    bool reference = mj_op_is_gemm(s->op) && (s->plan->flags & MJ_PLAN_REFERENCE);
    bool ladder = mj_op_is_gemm(s->op) && !reference;
    for (uint64_t tokens = ladder ? 1 : 0; tokens < 4 * (uint64_t)s->plan->max_tokens; tokens *= 4) {
        mj_offer *offer = mj_offers_add(context, out);
        if (!offer) {
            return mj_fail(error, MJ_ERR_MEMORY, "no memory for the estimate's rows");
        }
        offer->token_count = (uint32_t)tokens;
        offer->supply = MJ_SUPPLY_ESTIMATE;
        offer->origin = reference ? MJ_ORIGIN_REFERENCE : MJ_ORIGIN_ESTIMATE;
        snprintf(offer->reason, sizeof offer->reason, "%s",
                 reference ? "the reference family was asked for"
                 : ladder  ? "nothing tuned for these tokens"
                           : "nothing stored for this op; default config");
        if (!ladder) {
            break;
        }
    }
    return MJ_OK;
}

static mj_status offers_of(selector *s, uint32_t source, mj_offers *out, mj_error *error)
{
    if (source < s->store.count) {
        return mj_store_source_offers(s->plan, &s->store, source, s->op, out, error);
    }
    source -= s->store.count;
    if (source < s->pack_count) {
        return mj_pack_offers(s->plan, s->packs[source], s->op, out, error);
    }
    return estimate_offers(s, out, error);
}

static mj_status no_kernel(selector *s, mj_error *error)
{
    mj_token_range gap = {0, 0}, all = {1, s->plan->max_tokens};
    next_gap(s->plan, s->op, all, &gap);
    mj_status status = s->why_not.status == MJ_OK ? MJ_ERR_NOT_FOUND : s->why_not.status;
    if (s->plan->flags & MJ_PLAN_REQUIRE_VERIFIED) {
        status = MJ_ERR_UNVERIFIED;
    }
    bool two = s->why_not_last.text[0] && strcmp(s->why_not.text, s->why_not_last.text) != 0;
    return mj_fail(error, status, "%s, %" PRIu32 "..%" PRIu32 " tokens of %s: no %skernel: %s%s%s", mj_op_name(s->op),
                   gap.from, gap.to, s->plan->problem_text, status == MJ_ERR_UNVERIFIED ? "verified " : "",
                   s->why_not.text[0] ? s->why_not.text : "neither tuned nor in a pack", two ? "; nor otherwise: " : "",
                   two ? s->why_not_last.text : "");
}

static mj_status select_op(selector *s, mj_error *error)
{
    mj_context *context = s->plan->device->context;
    bool only_estimate = mj_op_is_gemm(s->op) && (s->plan->flags & MJ_PLAN_REFERENCE);
    uint32_t source_count = s->store.count + s->pack_count + 1;
    uint32_t asked = 0;
    mj_status status = MJ_OK;
    mj_offers *offers = mj_alloc(context, source_count * sizeof *offers);
    if (!offers) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the plan's sources");
    }
    s->why_not = s->why_not_last = (mj_error){MJ_OK, ""};
    s->plan->ops[s->op].first = s->plan->entry_count;
    uint32_t first = only_estimate ? source_count - 1 : 0;
    for (uint32_t i = first; status == MJ_OK && i < source_count && !is_covered(s); i++) {
        asked = i + 1;
        s->source = i;
        status = offers_of(s, i, &offers[i], error);
        if (status == MJ_OK) {
            status = cover(s, &offers[i], MJ_REACH, error);
        }
    }
    for (uint32_t i = first; status == MJ_OK && i < asked && !is_covered(s); i++) {
        s->source = i;
        status = cover(s, &offers[i], UINT32_MAX, error);
    }
    if (status == MJ_OK && !is_covered(s)) {
        status = no_kernel(s, error);
    }
    for (uint32_t i = 0; i < source_count; i++) {
        mj_free(context, offers[i].items);
    }
    mj_free(context, offers);
    return status;
}

/* The op beside one row of those that it stands in for, if the row's source has it. */
static mj_status stand_in_at(selector *s, mj_offers *offers, const mj_plan_entry *other, mj_error *error)
{
    for (uint32_t i = 0; i < offers->count; i++) {
        mj_offer *offer = &offers->items[i];
        uint32_t kernel = UINT32_MAX;
        if (offer->dead || offer->token_count != other->tuned_at) {
            continue;
        }
        if (offer->supply == MJ_SUPPLY_ESTIMATE) {
            const mj_plan_entry *part = mj_plan_find(s->plan, mj_op_part(s->op, 0), other->row.tokens_from);
            bool stands_in = part && part->row.op != other->row.op && part->row.origin == MJ_ORIGIN_ESTIMATE;
            offer->instead = stands_in ? part->row.op : other->row.op;
            offer->instead_us = stands_in ? part->us : other->us;
        }
        mj_status status = obtain(s, offers, offer, &kernel, error);
        if (status != MJ_OK || offer->dead) {
            return status;
        }
        mj_plan_entry entry;
        describe(offer, s->op, (mj_token_range){other->row.tokens_from, other->row.tokens_to}, kernel, &entry);
        return insert_entry(s->plan, s->op, &entry, error);
    }
    return MJ_OK;
}

static mj_status select_stand_in(selector *s, mj_error *error)
{
    mj_plan *plan = s->plan;
    mj_op_span others = plan->ops[mj_op_stands_for(s->op)];
    uint32_t source_count = s->store.count + s->pack_count + 1;
    mj_status status = MJ_OK;
    plan->ops[s->op].first = plan->entry_count;
    for (uint32_t source = 0; status == MJ_OK && source < source_count; source++) {
        mj_offers offers = {0};
        bool asked = false;
        for (uint32_t i = others.first; status == MJ_OK && i < others.first + others.count; i++) {
            mj_plan_entry other = plan->entries[i]; /* a copy: entries move as they grow */
            if (other.source != source) {
                continue;
            }
            status = asked ? MJ_OK : offers_of(s, source, &offers, error);
            asked = true;
            status = status == MJ_OK ? stand_in_at(s, &offers, &other, error) : status;
        }
        mj_free(plan->device->context, offers.items);
    }
    return status;
}

/* Rows in the order of the ops, each op's as they were. */
static void order_by_op(mj_plan *plan)
{
    for (uint32_t i = 1; i < plan->entry_count; i++) {
        mj_plan_entry entry = plan->entries[i];
        uint32_t at = i;
        while (at > 0 && plan->entries[at - 1].row.op > entry.row.op) {
            plan->entries[at] = plan->entries[at - 1];
            at--;
        }
        plan->entries[at] = entry;
    }
    uint32_t first = 0;
    for (uint32_t op = MJ_OP_TABLES; op <= MJ_OP_COMBINE; op++) {
        plan->ops[op].first = first;
        first += plan->ops[op].count;
    }
}

/* quantise comes late, because the GEMMs' manifests say whether it is wanted: that needs no generator. */
static mj_status select_all(selector *s, mj_error *error)
{
    static const mj_op layer_ops[] = {MJ_OP_TABLES,  MJ_OP_GEMM1,     MJ_OP_ACTIVATION, MJ_OP_GEMM2,
                                      MJ_OP_COMBINE, MJ_OP_QUANTISE1, MJ_OP_QUANTISE2};
    mj_status status = MJ_OK;
    for (size_t i = 0; status == MJ_OK && i < sizeof layer_ops / sizeof *layer_ops; i++) {
        s->op = layer_ops[i];
        mj_op gemm = s->op == MJ_OP_QUANTISE2 ? MJ_OP_GEMM2 : MJ_OP_GEMM1;
        if (!mj_op_is_optional(s->op) || mj_plan_op_needs(s->plan, gemm, MJ_ARG_INPUT_SCALES)) {
            status = select_op(s, error);
            mj_kernel_forget(&s->ranking);
        }
    }
    bool as_asked = s->plan->flags & MJ_PLAN_REFERENCE;
    for (uint32_t op = MJ_OP_TABLES; status == MJ_OK && !as_asked && op <= MJ_OP_COMBINE; op++) {
        if (mj_op_stands_for((mj_op)op) != MJ_OP_COUNT) {
            s->op = (mj_op)op;
            status = select_stand_in(s, error);
            mj_kernel_forget(&s->ranking);
        }
    }
    if (status == MJ_OK) {
        order_by_op(s->plan);
    }
    return status;
}

mj_status mj_select(mj_plan *plan, mj_error *error)
{
    selector *s = mj_alloc(plan->device->context, sizeof *s);
    if (!s) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a plan");
    }
    s->plan = plan;
    pthread_mutex_lock(&plan->device->context->lock);
    s->pack_count = plan->device->context->pack_count;
    memcpy(s->packs, plan->device->context->packs, sizeof s->packs);
    pthread_mutex_unlock(&plan->device->context->lock);
    mj_status status = MJ_OK;
    if (!(plan->flags & MJ_PLAN_IGNORE_STORE)) {
        status = mj_store_source_open(plan, &s->store, error);
    }
    if (status == MJ_OK) {
        status = select_all(s, error);
    }
    mj_store_source_close(&s->store);
    mj_free(plan->device->context, s);
    return status;
}
