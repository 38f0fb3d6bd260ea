/* nvrtc.h: NVIDIA's run-time compiler, loaded with dlopen: source -> cubin, no device and no header needed. */
#ifndef MOEJIT_NVRTC_H
#define MOEJIT_NVRTC_H

#include "backend.h"

typedef struct mj_nvrtc mj_nvrtc;

/* Loads the library at `path` (a file or a folder) and no other; NULL: $MOEJIT_NVRTC in the same way,
 * else the first that loads of mj_nvrtc_candidates, else the loader's own path.
 * MJ_ERR_NO_COMPILER says what was tried and what to install. */
mj_status mj_nvrtc_open(const char *path, mj_nvrtc **out, mj_error *error);
void mj_nvrtc_close(mj_nvrtc *nvrtc);

/* "nvrtc 13.0.88" where the file's name tells the patch level, else "nvrtc 13.0 (109338064 bytes)". */
const char *mj_nvrtc_identity(const mj_nvrtc *nvrtc);
const char *mj_nvrtc_path(const mj_nvrtc *nvrtc);

/* `target` like "sm_90a". May be called from several threads at a time.
 * MJ_ERR_UNSUPPORTED: this NVRTC does not know the target; MJ_ERR_COMPILE: the first compiler error. */
mj_status mj_nvrtc_compile(const mj_nvrtc *nvrtc, const char *target, const char *source, mj_compiled *out,
                           mj_error *error);

/* nvrtc_find.c: library files that exist, best first; each visited until `visit` returns false.
 * Nothing is started and nothing is loaded. */
void mj_nvrtc_candidates(bool (*visit)(void *user, const char *path), void *user);
/* The library files of one folder, newest version first. */
void mj_nvrtc_in_folder(const char *folder, bool (*visit)(void *user, const char *path), void *user);

#endif
