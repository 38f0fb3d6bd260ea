/* legal.c: the one predicate. Rules run in this order: what is served, the config's names and values, then, on what the family
 * derives from it, the arch's limits, the family's own, the space's (in Lua). */
#include "family.h"
#include "legal.h"
#include "scheme_words.h"

#include <stdio.h>
#include <string.h>

typedef struct check {
    const mj_kernel_desc *desc;
    mj_verdict *verdict; /* may be NULL */
    bool all;            /* go on after the first refusal */
    bool legal;
} check;

/* ---- Rules on the desc alone: `text` gets what is wrong, and is left empty when nothing is. ---- */
typedef void desc_rule(const mj_kernel_desc *desc, char *text, size_t bytes);

static void op_served(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (!mj_list_has(&desc->space->ops, mj_op_name(desc->op))) {
        snprintf(text, bytes, "family %s does not implement %s", desc->space->family, mj_op_name(desc->op));
    }
}

static void family_of_arch(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (!mj_list_has(&desc->arch->families, desc->space->family)) {
        snprintf(text, bytes, "family %s is not built for %s", desc->space->family, desc->arch->name);
    }
}

static void arch_features(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    for (uint32_t i = 0; i < desc->space->needs.count; i++) {
        if (!mj_list_has(&desc->arch->features, desc->space->needs.items[i])) {
            snprintf(text, bytes, "family %s needs %s, which %s lacks", desc->space->family,
                     desc->space->needs.items[i], desc->arch->name);
            return;
        }
    }
}

static void scheme_of_problem(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (strcmp(desc->scheme->name, desc->problem->scheme) != 0) {
        snprintf(text, bytes, "the problem's scheme is %s, not %s", desc->problem->scheme, desc->scheme->name);
    }
}

static void scheme_supported(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (!desc->scheme->supported) {
        snprintf(text, bytes, "scheme %s is described, but not served in this version", desc->scheme->name);
    }
}

static void scheme_of_space(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (desc->space->schemes.count > 0 && !mj_list_has(&desc->space->schemes, desc->scheme->name)) {
        snprintf(text, bytes, "family %s does not serve scheme %s", desc->space->family, desc->scheme->name);
    }
}

static void scheme_decodable(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    const char *what = mj_scheme_undecodable(desc->scheme);
    if (what[0]) {
        snprintf(text, bytes, "scheme %s: %s cannot be decoded in this version", desc->scheme->name, what);
    }
}

static void quantise_of_scheme(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (mj_op_writes_codes(desc->op) && !mj_scheme_quantises(desc->scheme)) {
        snprintf(text, bytes, "the GEMMs of scheme %s multiply %s: there is nothing to quantise", desc->scheme->name,
                 desc->scheme->input_format);
    } else if (desc->op == MJ_OP_GEMM1_QUANTISE && strcmp(desc->scheme->input_scale_kind, "token") == 0) {
        snprintf(text, bytes, "scales of scheme %s are of whole rows, and no tile holds one: quantise2 sees them",
                 desc->scheme->name);
    }
}

static void weight_layout(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    mj_error error = {0};
    if (mj_layout_check(desc->problem->layout, desc->problem, &error) != MJ_OK) {
        snprintf(text, bytes, "%.250s", error.text);
    } else if (mj_layout_turn_rows(desc->problem, desc->op) && desc->scheme->packing.axis[0] == 'n') {
        snprintf(text, bytes, "layout %s: scheme %s packs several rows into a word, they cannot be moved alone",
                 desc->problem->layout, desc->scheme->name);
    }
}

static void layout_of_space(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    if (!mj_layout_served(desc->space, desc->problem, desc->op)) {
        snprintf(text, bytes, "family %s does not serve %s of weight layout %s", desc->space->family,
                 mj_op_name(desc->op), desc->problem->layout);
    }
}

static void config_names(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    const mj_space *space = desc->space;
    int32_t value = 0;
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        if (!mj_config_get(desc->config, space->tunables[i].name, &value)) {
            snprintf(text, bytes, "%s is missing", space->tunables[i].name);
            return;
        }
    }
    for (uint32_t i = 0; i < desc->config->count; i++) {
        const char *names[MJ_CONFIG_MAX], *name = desc->config->params[i].name;
        bool known = false;
        for (uint32_t t = 0; t < space->tunable_count; t++) {
            names[t] = space->tunables[t].name;
            known = known || strcmp(name, names[t]) == 0;
        }
        if (!known) {
            const char *near = mj_nearest_name(name, names, space->tunable_count);
            snprintf(text, bytes, "family %s has no %s%s%s%s", space->family, name, near ? "; did you mean " : "",
                     near ? near : "", near ? "?" : "");
            return;
        }
    }
}

static void value_in_space(const mj_kernel_desc *desc, char *text, size_t bytes)
{
    for (uint32_t i = 0; i < desc->space->tunable_count; i++) {
        const mj_tunable *tunable = &desc->space->tunables[i];
        int32_t value = 0;
        bool found = !mj_config_get(desc->config, tunable->name, &value); /* missing is another rule's matter */
        for (uint32_t v = 0; v < tunable->value_count && !found; v++) {
            found = tunable->values[v] == value;
        }
        if (!found) {
            size_t used = (size_t)snprintf(text, bytes, "%s is %d, not one of", tunable->name, (int)value);
            for (uint32_t v = 0; v < tunable->value_count && used < bytes; v++) {
                used += (size_t)snprintf(text + used, bytes - used, " %d", (int)tunable->values[v]);
            }
            return;
        }
    }
}

static const struct {
    const char *name;
    desc_rule *rule;
} desc_rules[] = {
    {"op_served", op_served},
    {"family_of_arch", family_of_arch},
    {"arch_features", arch_features},
    {"scheme_of_problem", scheme_of_problem},
    {"scheme_supported", scheme_supported},
    {"scheme_of_space", scheme_of_space},
    {"scheme_decodable", scheme_decodable},
    {"quantise_of_scheme", quantise_of_scheme},
    {"weight_layout", weight_layout},
    {"layout_of_space", layout_of_space},
    {"config_names", config_names},
    {"value_in_space", value_in_space},
};
enum { DESC_RULE_COUNT = sizeof desc_rules / sizeof desc_rules[0] };
static const char derivable_rule[] = "derivable";

/* ---- Limits of the arch, for every family. A limit of 0 is none (cpu). ---- */

static bool at_most(uint64_t value, uint32_t max, double *measured, double *limit)
{
    *measured = (double)value;
    *limit = max;
    return max == 0 || value <= max;
}

static bool smem_block(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    return at_most(derived->smem_bytes, desc->arch->smem_block_bytes_max, measured, limit);
}

static bool threads_block(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    return at_most(derived->block_threads, desc->arch->threads_block_max, measured, limit);
}

static bool threads_warp(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    *measured = derived->block_threads % (desc->arch->warp_size ? desc->arch->warp_size : 1);
    *limit = 0;
    return *measured == 0;
}

/* A block of the host's arch is one thread: the cores are its parallelism. */
static bool threads_host(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    *measured = derived->block_threads;
    *limit = 1;
    return desc->arch->warp_size > 1 || derived->block_threads == 1;
}

static bool regs_thread(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    return at_most(derived->regs_estimate, desc->arch->regs_thread_max, measured, limit);
}

static bool regs_block(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    return at_most((uint64_t)derived->regs_estimate * derived->block_threads, desc->arch->regs_sm, measured, limit);
}

static const mj_family_rule arch_rules[] = {
    {"smem_block", "bytes of shared memory of a block", smem_block},
    {"threads_block", "threads of a block", threads_block},
    {"threads_warp", "threads left over by whole warps", threads_warp},
    {"threads_host", "threads of a block on the host", threads_host},
    {"regs_thread", "estimated registers of a thread", regs_thread},
    {"regs_block", "estimated registers of a block", regs_block},
};
enum { ARCH_RULE_COUNT = sizeof arch_rules / sizeof arch_rules[0] };

/* ---- Running them ---- */

static mj_refusal *refuse(check *c)
{
    c->legal = false;
    if (!c->verdict || c->verdict->refusal_count == MJ_REFUSALS_MAX) {
        return NULL;
    }
    mj_refusal *refusal = &c->verdict->refusals[c->verdict->refusal_count++];
    memset(refusal, 0, sizeof *refusal);
    return refusal;
}

static void refuse_text(check *c, const char *rule, const char *text)
{
    mj_refusal *refusal = refuse(c);
    if (refusal) {
        snprintf(refusal->rule, sizeof refusal->rule, "%s", rule);
        snprintf(refusal->reason, sizeof refusal->reason, "%.250s", text);
    }
}

static void run_rules(check *c, const mj_derived *derived, const mj_family_rule *rules, uint32_t count)
{
    for (uint32_t i = 0; i < count && (c->legal || c->all); i++) {
        double measured = 0, limit = 0;
        if (rules[i].holds(c->desc, derived, &measured, &limit)) {
            continue;
        }
        mj_refusal *refusal = refuse(c);
        if (refusal) {
            snprintf(refusal->rule, sizeof refusal->rule, "%s", rules[i].name);
            if (c->all) {
                snprintf(refusal->reason, sizeof refusal->reason, "%s: %.15g, limit %.15g", rules[i].reason, measured,
                         limit);
            }
            refusal->measured = measured;
            refusal->limit = limit;
        }
    }
}

static void run_space_rules(check *c, const mj_spec *spec, const mj_derived *derived)
{
    for (uint32_t i = 0; spec && i < c->desc->space->rule_count && (c->legal || c->all); i++) {
        mj_refusal found = {0};
        if (!mj_spec_rule_holds(spec, c->desc, derived, i, c->verdict ? &found : NULL)) {
            mj_refusal *refusal = refuse(c);
            if (refusal) {
                *refusal = found;
            }
        }
    }
}

bool mj_legal_desc(const mj_kernel_desc *desc, mj_verdict *verdict, bool all)
{
    check c = {.desc = desc, .verdict = verdict, .all = all, .legal = true};
    for (int i = 0; i < DESC_RULE_COUNT && (c.legal || all); i++) {
        char text[256] = "";
        desc_rules[i].rule(desc, text, sizeof text);
        if (text[0]) {
            refuse_text(&c, desc_rules[i].name, text);
        }
    }
    return c.legal;
}

bool mj_legal_structure(const mj_kernel_desc *desc, mj_derived *derived, mj_verdict *verdict, bool all)
{
    check c = {.desc = desc, .verdict = verdict, .all = all, .legal = true};
    mj_error error = {0};
    if (mj_family_derive(desc, derived, verdict ? &error : NULL) != MJ_OK) {
        derived->block_threads = 0; /* nothing further can be asked */
        refuse_text(&c, derivable_rule, error.text);
        return false;
    }
    const mj_family *family = mj_family_find(desc->space->family);
    run_rules(&c, derived, arch_rules, ARCH_RULE_COUNT);
    run_rules(&c, derived, family->rules, family->rule_count);
    return c.legal;
}

bool mj_legal_space(const mj_spec *spec, const mj_kernel_desc *desc, const mj_derived *derived, mj_verdict *verdict,
                    bool all)
{
    check c = {.desc = desc, .verdict = verdict, .all = all, .legal = true};
    run_space_rules(&c, spec, derived);
    return c.legal;
}

bool mj_legal(const mj_spec *spec, const mj_kernel_desc *desc, mj_verdict *verdict)
{
    mj_derived derived = {0};
    bool all = verdict != NULL;
    if (verdict) {
        memset(verdict, 0, sizeof *verdict);
    }
    bool legal = mj_legal_desc(desc, verdict, all);
    if (legal || all) {
        legal = mj_legal_structure(desc, &derived, verdict, all) && legal;
    }
    if (derived.block_threads > 0 && (legal || all)) {
        legal = mj_legal_space(spec, desc, &derived, verdict, all) && legal;
    }
    return legal;
}

uint32_t mj_legal_rule_names(const char **names, uint32_t capacity)
{
    uint32_t count = 0;
    for (int i = 0; i < DESC_RULE_COUNT; i++, count++) {
        if (count < capacity) {
            names[count] = desc_rules[i].name;
        }
    }
    if (count < capacity) {
        names[count] = derivable_rule;
    }
    count++;
    for (int i = 0; i < ARCH_RULE_COUNT; i++, count++) {
        if (count < capacity) {
            names[count] = arch_rules[i].name;
        }
    }
    for (uint32_t f = 0; mj_family_at(f); f++) {
        if (f > 0 && mj_family_at(f)->rules == mj_family_at(f - 1)->rules) {
            continue; /* neighbours that share a list */
        }
        for (uint32_t i = 0; i < mj_family_at(f)->rule_count; i++, count++) {
            if (count < capacity) {
                names[count] = mj_family_at(f)->rules[i].name;
            }
        }
    }
    return count;
}
