/* legal.h: the parts of mj_legal, for who walks a space: structure is cheap, a space's rules call into Lua. */
#ifndef MOEJIT_LEGAL_H
#define MOEJIT_LEGAL_H

#include "gen.h"

/* What is served, the config's names and values. `all`: go on after the first refusal. Refusals are appended to `verdict` if it
 * is not NULL. */
bool mj_legal_desc(const mj_kernel_desc *desc, mj_verdict *verdict, bool all);
/* The arch's limits and the family's. Fills `derived`; its block_threads is 0 if the config derives nothing. Reasons are
 * written with `all` only: a walk counts hundreds of thousands of refusals by their rules. */
bool mj_legal_structure(const mj_kernel_desc *desc, mj_derived *derived, mj_verdict *verdict, bool all);
/* The space's rules; `spec` NULL: none. */
bool mj_legal_space(const mj_spec *spec, const mj_kernel_desc *desc, const mj_derived *derived, mj_verdict *verdict,
                    bool all);

#endif
