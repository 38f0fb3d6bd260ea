/* cli_emit.h: what `moejit emit` puts into a pack for one arch, for cli_emit.c and cli_emit_choose.c. */
#ifndef MOEJIT_CLI_EMIT_H
#define MOEJIT_CLI_EMIT_H

#include "cli.h"
#include "cli_compile.h"
#include "kernel_build.h"
#include "pack_writer.h"
#include "store.h"

typedef struct emit_job { /* one arch */
    const cli_options *options;
    mj_context *context;
    const cli_target *target;
    const char *arch, *backend;
    bool has_store; /* a store file of this problem and arch was found */
    mj_store_file store;
    char store_name[512];
    uint32_t token_count_count;
    uint32_t tokens[CLI_LIST_MAX];
    uint32_t built_capacity, count;
    uint32_t gemm_count, from_store; /* from_store: of the GEMMs */
    bool has_verified;               /* some kernel is as the store's device verified it */
    mj_built *built;
    mj_pack_entry *entries;
} emit_job;

typedef struct emit_item {   /* one kernel */
    uint32_t tokens;         /* 0: any number */
    mj_store_row *row;       /* of a GEMM; NULL: not from the store */
    const mj_choice *choice; /* of the row, or the file's for any number; NULL: not from the store */
    double estimate_us;      /* 0: not chosen by it */
    double instead_us;       /* of an op that stands in for others: what these took; 0: not known */
} emit_item;

/* The first store file of the problem and arch, in name order, into job->store. */
void cli_emit_find_store(emit_job *job);
/* Every kernel of the pack and where it comes from: up to MJ_OP_COUNT + MJ_OP_COUNT for each batch size, the GEMMs last. */
mj_status cli_emit_choose(emit_job *job, emit_item *items, cli_compile_item *kernels, uint32_t *count, mj_error *error);

#endif
