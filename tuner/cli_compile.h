/* cli_compile.h: kernels compiled into the shared cache by moejit-compile processes: this process
 * runs no compiler, so a compiler that crashes, hangs or eats all memory costs one kernel and a
 * clear line. */
#ifndef MOEJIT_CLI_COMPILE_H
#define MOEJIT_CLI_COMPILE_H

#include "cli.h"

typedef struct cli_compile_item {
    mj_op op;
    char family[MJ_NAME_MAX];
    mj_config config;
} cli_compile_item;

typedef struct cli_compile_request {
    const mj_problem *problem;
    const char *arch, *backend;
    uint32_t processes; /* 0: one per core */
    bool quiet;
    uint32_t count;
    const cli_compile_item *items;
} cli_compile_request;

/* MJ_ERR_NOT_FOUND: there is no moejit-compile program. MJ_ERR_COMPILE: the first kernel that
 * failed, with its reason. */
mj_status cli_compile_ahead(mj_context *context, const cli_compile_request *request, mj_error *error);

#endif
