/* files_embedded.h: the table that embed_main.c writes from lua/ and templates/. Sorted bytewise by name. */
#ifndef MOEJIT_FILES_EMBEDDED_H
#define MOEJIT_FILES_EMBEDDED_H

#include <stddef.h>

typedef struct mj_embedded_file {
    const char *name;
    const char *text; /* NUL-terminated */
    size_t bytes;
} mj_embedded_file;

extern const mj_embedded_file mj_embedded_files[];
extern const size_t mj_embedded_file_count;

#endif
