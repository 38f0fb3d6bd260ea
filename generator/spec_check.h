/* spec_check.h: what one row of a schema cannot say: how fields, and files, agree with each other. */
#ifndef MOEJIT_SPEC_CHECK_H
#define MOEJIT_SPEC_CHECK_H

#include "spec_internal.h"
#include "spec_read.h"

/* Names of all files of a kind, also of those with problems: they exist, so a mention of them is no mistake. */
typedef struct mj_check_names {
    char (*items)[64];
    size_t count;
} mj_check_names;

void mj_spec_check(const mj_spec *spec, const mj_check_names names[MJ_KIND_COUNT], mj_problem_list *problems);

#endif
