/* ranking.h: what an op has to choose from, ranked for one batch size after the other: the spaces are walked once, which takes tenths of
 * a second. */
#ifndef MOEJIT_RANKING_H
#define MOEJIT_RANKING_H

#include "gen.h"

typedef struct mj_ranking mj_ranking;

/* Arguments as in mj_estimate_rank; what they point to must outlive the ranking. `tallied`: tallies will be asked for, so that refusals
 * are counted and the spaces' rules asked of every config, once. */
mj_status mj_ranking_open(const mj_spec *spec, const mj_problem *problem, const mj_arch *arch, mj_op op,
                          const char *family, bool tallied, mj_ranking **out, mj_error *error);
/* What mj_estimate_rank would give. `tally`: NULL unless the ranking is tallied. */
mj_status mj_ranking_best(mj_ranking *ranking, const mj_device_shape *shape, uint32_t token_count,
                          const double *expert_rows, mj_ranked *out, uint32_t capacity, uint32_t *count,
                          mj_tally *tally, mj_error *error);
/* The same of all there are, however many; `*out` is the caller's to free, NULL where there is none. */
mj_status mj_ranking_all(mj_ranking *ranking, const mj_device_shape *shape, uint32_t token_count,
                         const double *expert_rows, mj_ranked **out, uint32_t *count, mj_tally *tally, mj_error *error);
void mj_ranking_close(mj_ranking *ranking); /* NULL is fine */

#endif
