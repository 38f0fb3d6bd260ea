/* hiprtc_find.h: where hipRTC, and the program that runs it, may lie. Nothing is started and nothing is loaded. */
#ifndef MOEJIT_HIPRTC_FIND_H
#define MOEJIT_HIPRTC_FIND_H

#include "moejit_types.h"

typedef bool (*mj_hiprtc_visit)(void *user, const char *path); /* false: no more */

/* Library files that exist, best first, then bare names for the loader to find. */
void mj_hiprtc_candidates(mj_hiprtc_visit visit, void *user);
/* The library files of a folder, or of the root of a file system. */
void mj_hiprtc_in_folder(const char *folder, mj_hiprtc_visit visit, void *user);

/* The dynamic loader beside a library that does not belong to this machine's C library; false: none. `folder` is the
 * library's, "" of a bare name. Both texts have `bytes` of room. */
bool mj_hiprtc_loader(const char *library, char *folder, char *loader, size_t bytes);

/* moejit-hiprtc beside the running program, beside this library, in their ../libexec/moejit, on PATH. */
bool mj_hiprtc_find_program(char *out, size_t bytes);

#endif
