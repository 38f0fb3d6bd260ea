/* poison.h: kernels spoilt on purpose, for tests of the tuner's defences: MOEJIT_TEST_POISON=hang,illegal,oob,nan,once
 * puts one of each kind beside the first candidate of every batch size. Nothing else reads that variable. */
#ifndef MOEJIT_POISON_H
#define MOEJIT_POISON_H

#include "gen.h"

#define MJ_POISON_COUNT 5
/* "hang", "illegal", "oob", "nan", "once". NULL beyond. */
const char *mj_poison_name(uint32_t index);
/* A copy of the source whose kernel misbehaves; `on_device`: text of a GPU kernel, else of the host's. The manifest keeps
 * the sound one's. MJ_ERR_NOT_FOUND: no such kind, or no kernel entry in the text. */
mj_status mj_poison_source(const mj_kernel_source *sound, const char *kind, bool on_device, mj_strbuf *out,
                           mj_error *error);

#endif
