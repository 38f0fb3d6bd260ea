/* hiprtc_targets.h: which targets a hipRTC can compile for: found by trying, since it does not say. */
#ifndef MOEJIT_HIPRTC_TARGETS_H
#define MOEJIT_HIPRTC_TARGETS_H

#include "hiprtc.h"

/* can[i]: whether a trivial kernel compiles for targets[i]. Each target is tried once per compiler: the outcome stays in
 * <folder>/hiprtc-targets.json, if that can be written (folder "": nowhere). A failure that says nothing of the target (no
 * room for files) is returned. */
mj_status mj_hiprtc_targets(const char *folder, const mj_hiprtc *hiprtc, const char *const *targets, uint32_t count,
                            bool *can, mj_error *error);

#endif
