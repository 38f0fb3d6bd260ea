/* plan.h: the inside of mj_plan, for plan.c, select*.c, selfcheck.c and pack*.c. */
#ifndef MOEJIT_PLAN_H
#define MOEJIT_PLAN_H

#include "launch.h"
#include "workspace.h"

typedef struct mj_plan_kernel {
    mj_loaded_kernel loaded;
    char key[MJ_SHA256_HEX]; /* equal keys are one kernel: the cache key, or a pack binary's checksum */
    bool checked;            /* passed mj_plan_selfcheck */
} mj_plan_kernel;

typedef struct mj_plan_entry {
    mj_plan_row row; /* what the user sees */
    uint32_t kernel; /* index in kernels */
    /* While rows are chosen: the source, what its offer was tuned at, and the time it speaks of (0: none). */
    uint32_t source, tuned_at;
    double us;
} mj_plan_entry;

typedef struct mj_op_span { /* an op's entries: entries[first .. first+count), by tokens_from */
    uint32_t first, count;
} mj_op_span;

struct mj_plan {
    mj_device *device;
    mj_problem problem;
    char problem_text[256]; /* canonical */
    uint32_t max_tokens;
    uint32_t flags;
    char routing[MJ_NAME_MAX];
    uint32_t kernel_count, kernel_capacity;
    mj_plan_kernel *kernels;
    uint32_t entry_count, entry_capacity;
    mj_plan_entry
        *entries; /* sorted by op, then tokens_from; together they cover 1..max_tokens once per op, but those of an
                               op that stands in for others only the tokens where it does */
    mj_op_span ops[MJ_OP_COUNT];
    mj_workspace workspace;
    void *own_workspace;          /* device memory, or NULL */
    uint32_t pointer_align_bytes; /* of the caller's pointers: the largest of the kernels, at least 16 */
};

/* The op's kernels need the argument: all of them, since it is the scheme that does. */
bool mj_plan_op_needs(const mj_plan *plan, mj_op op, mj_arg arg);
/* A layer of so many tokens launches the op: the plan has it, and none that stands in for it. */
bool mj_plan_runs(const mj_plan *plan, mj_op op, uint32_t token_count);

/* Loads `binary` unless a kernel with this key is there already. */
mj_status mj_plan_add_kernel(mj_plan *plan, const char *key, const mj_manifest *manifest, const void *binary,
                             size_t bytes, uint32_t *index, mj_error *error);
/* Index of the kernel with this key, or UINT32_MAX. */
uint32_t mj_plan_find_kernel(const mj_plan *plan, const char *key);
/* The entry that serves `token_count` tokens, 1..max_tokens; NULL: there is none, which only an optional op may say. */
const mj_plan_entry *mj_plan_find(const mj_plan *plan, mj_op op, uint32_t token_count);

#endif
