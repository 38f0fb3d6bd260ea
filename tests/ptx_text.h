/* ptx_text.h: what NVRTC makes of a source before it is assembled: the instructions by name. */
#ifndef MOEJIT_PTX_TEXT_H
#define MOEJIT_PTX_TEXT_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include "nvrtc.h"

/* malloc'ed, or NULL: some call failed. `target`: "compute_90a". */
static inline char *ptx_text(const mj_nvrtc *nvrtc, const char *target, const char *source)
{
    typedef struct program program;
    char option[64], *text = NULL;
    const char *options[] = {option, "-std=c++17", "-default-device"};
    program *p = NULL;
    size_t bytes = 0;
    void *library = dlopen(mj_nvrtc_path(nvrtc), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return NULL;
    }
    int (*create)(program **, const char *, const char *, int, const char *const *, const char *const *) =
        (int (*)(program **, const char *, const char *, int, const char *const *, const char *const *))(
            uintptr_t)dlsym(library, "nvrtcCreateProgram");
    int (*compile)(program *, int, const char *const *) =
        (int (*)(program *, int, const char *const *))(uintptr_t)dlsym(library, "nvrtcCompileProgram");
    int (*size)(program *, size_t *) = (int (*)(program *, size_t *))(uintptr_t)dlsym(library, "nvrtcGetPTXSize");
    int (*get)(program *, char *) = (int (*)(program *, char *))(uintptr_t)dlsym(library, "nvrtcGetPTX");
    int (*destroy)(program **) = (int (*)(program **))(uintptr_t)dlsym(library, "nvrtcDestroyProgram");
    snprintf(option, sizeof option, "--gpu-architecture=%s", target);
    if (create && compile && size && get && destroy && create(&p, source, "moejit.cu", 0, NULL, NULL) == 0) {
        bool made = compile(p, 3, options) == 0 && size(p, &bytes) == 0 && (text = calloc(1, bytes + 1)) != NULL;
        if (made && get(p, text) != 0) {
            free(text);
            text = NULL;
        }
        destroy(&p);
    }
    dlclose(library);
    return text;
}

#endif
