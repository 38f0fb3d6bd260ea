/* cc.h: the system's C compiler as the cpu backend's run-time compiler. */
#ifndef MOEJIT_CC_H
#define MOEJIT_CC_H

#include "backend.h"

#define MJ_CC_PATH_MAX 1024

/* Finds the compiler: `wanted` (a path, or a name looked up on PATH), else $MOEJIT_CC, else the first
 * of cc, gcc, clang on PATH. MJ_ERR_NO_COMPILER says what to install. */
mj_status mj_cc_find(const char *wanted, char out[MJ_CC_PATH_MAX], mj_error *error);

/* "gcc 12.2.0 znver3-1a2b3c4d": compiler, and a digest of everything it predefines for this very
 * CPU, so that binaries in a shared cache never meet a CPU they were not made for. */
mj_status mj_cc_identity(const char *cc, char *out, size_t bytes, mj_error *error);

/* Source text -> shared object for `target` ("native" or a name for -march). */
mj_status mj_cc_compile(const char *cc, const char *target, const char *source, size_t source_bytes,
                        double timeout_seconds, mj_compiled *out, mj_error *error);

#endif
