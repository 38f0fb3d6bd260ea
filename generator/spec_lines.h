/* spec_lines.h: from a key's path inside a data file's table to the line it stands on. */
#ifndef MOEJIT_SPEC_LINES_H
#define MOEJIT_SPEC_LINES_H

#include "moejit_types.h"

typedef struct mj_path_step {
    const char *key; /* NULL: a list's element */
    uint32_t index;  /* from 1, if key is NULL */
} mj_path_step;

/* Line of `steps` in the table that the chunk returns. What is not written literally there (a variable, a function's
 * result) gives the line of the innermost part that is, at worst that of `return`, or 1. */
uint32_t mj_lua_line(const char *text, size_t bytes, const mj_path_step *steps, uint32_t step_count);

#endif
