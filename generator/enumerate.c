/* enumerate.c: every legal config of a space, in the order of its values: the last tunable runs fastest. */
#include "enumerate.h"
#include "family.h"
#include "legal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RULES_MAX (sizeof((mj_tally *)0)->rules / sizeof((mj_tally *)0)->rules[0])

void mj_tally_refuse(mj_tally *tally, const char *rule, uint64_t count)
{
    if (!tally) {
        return;
    }
    uint32_t i = 0;
    while (i < tally->rule_count && strcmp(tally->rules[i].rule, rule) != 0) {
        i++;
    }
    if (i == RULES_MAX) {
        i = RULES_MAX - 1; /* more rules than rows: the last one gathers */
        snprintf(tally->rules[i].rule, sizeof tally->rules[i].rule, "other rules");
    } else if (i == tally->rule_count) {
        snprintf(tally->rules[i].rule, sizeof tally->rules[i].rule, "%s", rule);
        tally->rule_count++;
    }
    tally->rules[i].count += count;
}

static bool first_config(const mj_space *space, mj_config *config, mj_error *error)
{
    *config = (mj_config){0};
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        if (space->tunables[i].value_count == 0 ||
            mj_config_set(config, space->tunables[i].name, space->tunables[i].values[0], error) != MJ_OK) {
            return false;
        }
    }
    return true;
}

static bool next_config(const mj_space *space, uint32_t indices[MJ_CONFIG_MAX], mj_config *config)
{
    for (uint32_t i = space->tunable_count; i-- > 0;) {
        bool carry = ++indices[i] == space->tunables[i].value_count;
        indices[i] = carry ? 0 : indices[i];
        config->params[i].value = space->tunables[i].values[indices[i]];
        if (!carry) {
            return true;
        }
    }
    return false;
}

static uint64_t config_count(const mj_space *space)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        if (__builtin_mul_overflow(count, (uint64_t)space->tunables[i].value_count, &count)) {
            return UINT64_MAX;
        }
    }
    return count;
}

mj_status mj_space_walk(const mj_kernel_desc *desc_without_config, mj_structure_visit *visit, void *user,
                        mj_tally *tally, mj_error *error)
{
    mj_kernel_desc desc = *desc_without_config;
    const mj_space *space = desc.space;
    uint32_t indices[MJ_CONFIG_MAX] = {0};
    mj_config config;
    mj_verdict verdict = {0};
    uint64_t count = config_count(space);
    if (!first_config(space, &config, NULL)) {
        return mj_fail(error, MJ_ERR_FORMAT, "family %s: a tunable has no values", space->family);
    }
    if (count > MJ_SPACE_CONFIGS_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "family %s: %" PRIu64 " combinations are more than %d", space->family,
                       count, MJ_SPACE_CONFIGS_MAX);
    }
    desc.config = &config;
    if (tally) {
        tally->candidate_count += count;
    }
    if (!mj_legal_desc(&desc, &verdict, false)) { /* the same for every config of the space */
        mj_tally_refuse(tally, verdict.refusals[0].rule, count);
        return MJ_OK;
    }
    do {
        mj_derived derived;
        verdict.refusal_count = 0;
        if (!mj_legal_structure(&desc, &derived, tally ? &verdict : NULL, false)) {
            if (tally) {
                mj_tally_refuse(tally, verdict.refusals[0].rule, 1);
            }
        } else if (!visit(user, &desc, &derived)) {
            break;
        }
    } while (next_config(space, indices, &config));
    return MJ_OK;
}

/* ---- The public walks ---- */

typedef struct legal_walk {
    const mj_spec *spec;
    bool (*visit)(void *user, const mj_config *config);
    void *user;
    mj_tally *tally;
} legal_walk;

static bool visit_structured(void *user, const mj_kernel_desc *desc, const mj_derived *derived)
{
    legal_walk *walk = user;
    mj_verdict verdict = {0};
    if (!mj_legal_space(walk->spec, desc, derived, walk->tally ? &verdict : NULL, false)) {
        if (walk->tally) {
            mj_tally_refuse(walk->tally, verdict.refusals[0].rule, 1);
        }
        return true;
    }
    if (walk->tally) {
        walk->tally->legal_count++;
    }
    return walk->visit(walk->user, desc->config);
}

mj_status mj_space_enumerate(const mj_spec *spec, const mj_kernel_desc *desc_without_config,
                             bool (*visit)(void *user, const mj_config *config), void *user, mj_tally *tally,
                             mj_error *error)
{
    legal_walk walk = {.spec = spec, .visit = visit, .user = user, .tally = tally};
    if (tally) {
        memset(tally, 0, sizeof *tally);
    }
    return mj_space_walk(desc_without_config, visit_structured, &walk, tally, error);
}

typedef struct first_found {
    mj_config *out;
    bool found;
} first_found;

static bool take_first(void *user, const mj_config *config)
{
    first_found *first = user;
    *first->out = *config;
    first->found = true;
    return false;
}

mj_status mj_space_default(const mj_spec *spec, const mj_kernel_desc *desc_without_config, mj_config *out,
                           mj_error *error)
{
    mj_kernel_desc desc = *desc_without_config;
    mj_config config = {0};
    mj_verdict verdict;
    for (uint32_t i = 0; i < desc.space->tunable_count; i++) {
        mj_status status =
            mj_config_set(&config, desc.space->tunables[i].name, desc.space->tunables[i].default_value, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    desc.config = &config;
    if (mj_legal(spec, &desc, &verdict)) {
        *out = config;
        return MJ_OK;
    }
    first_found first = {.out = out};
    mj_status status = mj_space_enumerate(spec, &desc, take_first, &first, NULL, error);
    if (status == MJ_OK && !first.found) {
        return mj_fail(error, MJ_ERR_ILLEGAL,
                       "no config of family %s is legal for %s on %s; the default is refused by %s: %s",
                       desc.space->family, mj_op_name(desc.op), desc.arch->name, verdict.refusals[0].rule,
                       verdict.refusals[0].reason);
    }
    return status;
}
