/* padding.h: a grouped GEMM computes whole tiles: what that adds to the rows that there are. An upper bound: tall tiles of `wgmma` whose
 * tokens are the instruction's N take the narrowest of four heights that holds their rows. */
#ifndef MOEJIT_PADDING_H
#define MOEJIT_PADDING_H

#include "gen.h"

/* `rows` [E] of each local expert, each rounded up to the rows of the config's tile, summed. A host computes single rows. */
mj_status mj_padded_rows(const mj_kernel_desc *desc, const uint32_t *rows, double *out, mj_error *error);
/* Operations of a GEMM over that many rows. */
double mj_padded_operations(const mj_problem *problem, mj_op op, double padded_rows);

#endif
