/* routing.h: seeded top-k routings and what they mean for tiles. No device, no clock: the same seed gives the same ids
 * on every machine (integer arithmetic throughout the choice, no libm). */
#ifndef MOEJIT_ROUTING_H
#define MOEJIT_ROUTING_H

#include "gen.h"

/* balanced: every expert the same share, exactly; uniform: k distinct experts at random; zipf1, zipf2: popularity 1/rank^s;
 * hot16: a sixteenth of the experts (at least top_k) are 64 times as popular as the others. Which expert has which rank
 * is shuffled by the seed. ORDER ROUTING */
const char *const *mj_routing_names(uint32_t *count);
mj_status mj_routing_check(const char *name, mj_error *error); /* MJ_ERR_NOT_FOUND with the nearest name */

/* Gumbel top-k over the distribution: `ids` [M, top_k] are distinct experts per token, 0..expert_total_count-1; this rank holds
 * 0..expert_count-1, the others belong to other ranks. `weights` [M, top_k]: positive, sum 1 per token; may be NULL.
 * MJ_ERR_NOT_FOUND with the nearest name for an unknown distribution. */
mj_status mj_routing_sample(const mj_problem *problem, const char *name, uint64_t seed, uint32_t token_count,
                            int32_t *ids, float *weights, mj_error *error);

/* Rows of each local expert, [E]; returns the number of active experts. `local_rows` (may be NULL): their sum. */
uint32_t mj_routing_histogram(const mj_problem *problem, const int32_t *ids, uint32_t token_count, uint32_t *rows,
                              uint64_t *local_rows);

/* Expected rows per expert (for estimates), [E]: exact for balanced and uniform, else the mean of 2048 sampled tokens. */
mj_status mj_routing_expected(const mj_problem *problem, const char *name, uint64_t seed, uint32_t token_count,
                              double *rows, mj_error *error);

/* What a histogram means for a GEMM that works in blocks of `block_rows` rows of one expert. */
typedef struct mj_routing_stats {
    uint32_t block_rows;
    uint32_t expert_count, active_count, dead_count; /* dead: no row at all */
    uint32_t rows_max, rows_min;                     /* of one expert, dead ones too */
    double rows_mean;
    uint64_t row_count, block_count;
    uint64_t skinny_block_count; /* blocks less than half full */
    double useful_share;         /* rows / (blocks * block_rows); 0 without rows */
    double skinny_share;         /* skinny blocks / blocks; 0 without blocks */
} mj_routing_stats;
mj_status mj_routing_measure(const uint32_t *rows, uint32_t expert_count, uint32_t block_rows, mj_routing_stats *out,
                             mj_error *error);

#endif
