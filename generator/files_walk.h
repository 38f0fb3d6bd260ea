/* files_walk.h: reads the data files (lua/, templates/) below a folder. Shared by files.c and by the embed tool,
 * so that a built-in file and one read from disk are chosen and ordered by the same rules. */
#ifndef MOEJIT_FILES_WALK_H
#define MOEJIT_FILES_WALK_H

#include "moejit_types.h"

typedef struct mj_data_file {
    char *name; /* below the root: "lua/arch/sm_90a.lua" */
    char *text; /* NUL-terminated */
    size_t bytes;
} mj_data_file;

typedef struct mj_data_set {
    mj_data_file *files;
    size_t count, capacity;
} mj_data_set;

/* Adds every .lua, .tmpl and .h file below root/folder; hidden names are left out. A folder that is not there adds
 * nothing. Names end up sorted bytewise. On failure the set still has to be freed. */
mj_status mj_data_read(mj_data_set *set, const char *root, const char *folder, mj_error *error);
void mj_data_free(mj_data_set *set);

#endif
