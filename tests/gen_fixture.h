/* gen_fixture.h: what tests of the generator share: the built-in spec, and kernels by name. */
#ifndef MOEJIT_GEN_FIXTURE_H
#define MOEJIT_GEN_FIXTURE_H

#include "check.h"
#include "gen.h"

static mj_spec *fixture_spec;

static inline bool fixture_open(void)
{
    mj_error error = {0};
    if (mj_spec_load(NULL, &fixture_spec, NULL, &error) != MJ_OK) {
        printf("FAIL fixture: %s\n", error.text);
        return false;
    }
    return true;
}

/* A desc with everything it points to, so that a test may change any part. */
typedef struct fixture {
    mj_problem problem;
    mj_arch arch;
    mj_scheme scheme;
    const mj_space *space;
    mj_config config;
    mj_kernel_desc desc;
} fixture;

/* config "" or NULL: the space's default values. false: some name is unknown, and the case has failed. */
static inline bool fixture_kernel(fixture *f, const char *problem, const char *arch, const char *family, mj_op op,
                                  const char *config)
{
    mj_error error = {0};
    const mj_arch *found_arch = NULL;
    const mj_scheme *found_scheme = NULL;
    memset(f, 0, sizeof *f);
    if (mj_problem_parse(problem, &f->problem, &error) != MJ_OK ||
        mj_spec_find_arch(fixture_spec, arch, &found_arch, &error) != MJ_OK ||
        mj_spec_find_scheme(fixture_spec, f->problem.scheme, &found_scheme, &error) != MJ_OK ||
        mj_spec_find_space(fixture_spec, family, &f->space, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        return false;
    }
    for (uint32_t i = 0; i < f->space->tunable_count; i++) {
        mj_config_set(&f->config, f->space->tunables[i].name, f->space->tunables[i].default_value, NULL);
    }
    mj_config given = {0};
    if (config && mj_config_parse(config, &given, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        return false;
    }
    for (uint32_t i = 0; i < given.count; i++) {
        mj_config_set(&f->config, given.params[i].name, given.params[i].value, NULL);
    }
    f->arch = *found_arch;
    f->scheme = *found_scheme;
    f->desc = (mj_kernel_desc){.problem = &f->problem,
                               .arch = &f->arch,
                               .scheme = &f->scheme,
                               .space = f->space,
                               .op = op,
                               .config = &f->config};
    return true;
}

static inline bool verdict_names(const mj_verdict *verdict, const char *rule)
{
    for (uint32_t i = 0; i < verdict->refusal_count; i++) {
        if (strcmp(verdict->refusals[i].rule, rule) == 0) {
            return true;
        }
    }
    return false;
}

#endif
