/* timed_choice.h: a store's row as a tune leaves it, for a kernel that is really chosen and built. */
#ifndef MOEJIT_TIMED_CHOICE_H
#define MOEJIT_TIMED_CHOICE_H

#include <stdio.h>
#include <string.h>

#include "kernel_build.h"
#include "store.h"

static inline bool timed_choice(mj_context *context, const mj_wanted *wanted, double time_us, mj_choice *out)
{
    mj_built built;
    mj_error error = {0};
    if (mj_kernel_choose(context, "cpu", wanted, &built, &error) != MJ_OK) {
        printf("# %s: %s\n", mj_op_name(wanted->op), error.text);
        return false;
    }
    *out = (mj_choice){.present = true, .verified = true, .time_us_median = time_us, .effort = "quick"};
    out->manifest = built.manifest;
    memcpy(out->cache_key, built.entry.key, sizeof out->cache_key);
    mj_built_free(&built);
    return true;
}

#endif
