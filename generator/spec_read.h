/* spec_read.h: from a Lua table to a C struct by the rows of a schema, and the list of what was wrong. */
#ifndef MOEJIT_SPEC_READ_H
#define MOEJIT_SPEC_READ_H

#include "schema.h"
#include "spec_lines.h"

struct lua_State;

/* Problems of all files, in the order found. */
typedef struct mj_problem_list {
    mj_strbuf lines;
    mj_error *first; /* may be NULL */
    uint32_t count;
    size_t read_bytes; /* of `lines`, when the reading was closed */
} mj_problem_list;

/* After this, a problem on a line that already has one is not added: a relation between fields is not worth a word where
 * a field itself is wrong. */
void mj_problem_list_close_reading(mj_problem_list *problems);

#define MJ_PATH_MAX 8

typedef struct mj_reader {
    struct lua_State *state;
    const char *file; /* "lua/arch/sm_90a.lua" */
    const char *text;
    size_t bytes;
    mj_problem_list *problems;
    mj_path_step path[MJ_PATH_MAX];
    uint32_t depth;
} mj_reader;

/* "file:line: key: text". The key is the reader's path, and `key` below it unless NULL. */
void mj_reader_report(mj_reader *reader, const char *key, const char *format, ...) MJ_PRINTF(3, 4);
/* As above for an element of a list in a record: key[index].part; `part` may be NULL. Index from 1. */
void mj_reader_report_element(mj_reader *reader, const char *key, uint32_t index, const char *part, const char *format,
                              ...) MJ_PRINTF(5, 6);
/* A problem with no line in a file. */
void mj_problem_list_add(mj_problem_list *problems, const char *format, ...) MJ_PRINTF(2, 3);

/* "; did you mean "x"?" or "". */
#define MJ_HINT_BYTES 128
const char *mj_hint(const char *word, const char *const *names, size_t count, char out[MJ_HINT_BYTES]);

/* Reads the table on top of the stack into `base`, which is zeroed. May raise a Lua error (memory, limits). */
void mj_read_record(mj_reader *reader, const mj_schema *schema, void *base);

#endif
