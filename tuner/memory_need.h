/* memory_need.h: the device memory without which a GEMM cannot be verified and timed, known before anything is started. */
#ifndef MOEJIT_MEMORY_NEED_H
#define MOEJIT_MEMORY_NEED_H

#include "gen.h"

/* Odd shapes that every kernel must get right first; the worker holds their data beside the row's. */
#define MJ_SMALL_CASES \
    { \
        {"small:ragged", 1}, {"small:ragged", 23}, {"small:one", 37}, \
    }

typedef struct mj_memory_need {
    uint64_t bytes, weights_bytes; /* all; the weights' and bias' part of it */
} mj_memory_need;

/* What a lab (lab.h) allocates before a row of `token_count` tokens can be looked at with one set of activations; more sets and
 * copies of the weights are used where there is room. MJ_ERR_UNSUPPORTED: a scheme without a plain format. */
mj_status mj_memory_need_gemm(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint32_t token_count,
                              mj_memory_need *out, mj_error *error);
/* The same for the verification of a simple op (verify_layer.c). */
mj_status mj_memory_need_layer(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint64_t *bytes,
                               mj_error *error);

/* What a session may use: what the caller set (0: nothing), but never more than nine tenths of what is free. */
uint64_t mj_memory_allowed(uint64_t free_bytes, uint64_t bytes_max);

#endif
