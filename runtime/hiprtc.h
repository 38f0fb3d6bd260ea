/* hiprtc.h: AMD's run-time compiler: source -> code object, no device and no header needed.
 *
 * hipRTC ends its process on a target or an intrinsic that it does not know, so it is never loaded here: every compilation
 * is a run of moejit-hiprtc, and a crash is an error like another. A library in a folder with a C library of its own (a
 * newer distribution's, unpacked) is run with that one's loader. */
#ifndef MOEJIT_HIPRTC_H
#define MOEJIT_HIPRTC_H

#include "backend.h"

typedef struct mj_hiprtc mj_hiprtc;

/* The library at `path` (a file, a folder that holds it, or a root with usr/lib below) and no other; NULL: $MOEJIT_HIPRTC
 * in the same way, else the first that works of $ROCM_PATH, $HIP_PATH, /opt/rocm*, Python's packages of ROCm, the
 * loader's own path: libhiprtc, then libamdhip64, where hipRTC lived before ROCm 6.
 * MJ_ERR_NO_COMPILER says what was tried and what to install. */
mj_status mj_hiprtc_open(const char *path, mj_hiprtc **out, mj_error *error);
void mj_hiprtc_close(mj_hiprtc *hiprtc);

/* "hiprtc 6.4.43484 comgr 3.0.0 LLVM 21.1 22321378": versions by the files' names, and a digest of their build ids. */
const char *mj_hiprtc_identity(const mj_hiprtc *hiprtc);
const char *mj_hiprtc_path(const mj_hiprtc *hiprtc);

/* `target` like "gfx942". May be called from several threads at a time.
 * MJ_ERR_UNSUPPORTED: this hipRTC does not know the target; MJ_ERR_COMPILE: the first compiler error, or its death. */
mj_status mj_hiprtc_compile(const mj_hiprtc *hiprtc, const char *target, const char *source, size_t source_bytes,
                            mj_compiled *out, mj_error *error);

/* Can it compile an empty kernel for the target? MJ_ERR_UNSUPPORTED: no; `error` has its reason. */
mj_status mj_hiprtc_try_target(const mj_hiprtc *hiprtc, const char *target, mj_error *error);

#endif
