/* enumerate.h: walking a space by structure alone, for who asks the space's own rules later or of fewer configs. */
#ifndef MOEJIT_ENUMERATE_H
#define MOEJIT_ENUMERATE_H

#include "gen.h"

#define MJ_SPACE_CONFIGS_MAX 4000000 /* combinations of all values */

/* `desc` has its config. false stops the walk. */
typedef bool mj_structure_visit(void *user, const mj_kernel_desc *desc, const mj_derived *derived);

/* Every config that passes all but the space's rules; `tally` (may be NULL) counts candidates and what was refused. */
mj_status mj_space_walk(const mj_kernel_desc *desc_without_config, mj_structure_visit *visit, void *user,
                        mj_tally *tally, mj_error *error);
void mj_tally_refuse(mj_tally *tally, const char *rule, uint64_t count);

#endif
