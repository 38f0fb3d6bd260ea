/* cpu_library.h: a compiled kernel's shared object, loaded from memory. */
#ifndef MOEJIT_CPU_LIBRARY_H
#define MOEJIT_CPU_LIBRARY_H

#include "cpu_entry.h"
#include "moejit_types.h"

typedef struct mj_cpu_library {
    void *handle; /* NULL: not loaded */
    int fd;       /* behind it, or -1; stays open: its number is the library's name for the loader */
} mj_cpu_library;

/* MJ_ERR_FORMAT: the bytes are no library for this machine. */
mj_status mj_cpu_library_load(const void *binary, size_t bytes, mj_cpu_library *out, mj_error *error);
/* NULL: it has no such symbol. */
mj_host_entry mj_cpu_library_entry(const mj_cpu_library *library, const char *symbol);
void mj_cpu_library_unload(mj_cpu_library *library);

#endif
