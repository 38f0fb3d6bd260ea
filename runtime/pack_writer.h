/* pack_writer.h: writes packs (pack.h); what `moejit emit --out DIR` ends in. Needs no device and no generator. */
#ifndef MOEJIT_PACK_WRITER_H
#define MOEJIT_PACK_WRITER_H

#include "context.h"
#include "store.h"

typedef struct mj_pack_entry { /* one kernel in use; equal binaries are written once */
    mj_op op;
    uint32_t token_count; /* the row of a GEMM; 0 for the other ops */
    const mj_manifest *manifest;
    const void *binary;
    size_t binary_bytes;
    bool verified;         /* on its target's identity; ignored without one */
    double time_us_median; /* 0: not measured */
    double instead_us;     /* gemm1_act, gemm1_quantise, gemm2_combine: what these replace took; 0: not measured */
} mj_pack_entry;

typedef struct mj_pack_target { /* the kernels for one arch */
    const char *arch;
    const char *compiler;        /* "nvrtc 13.0" */
    const mj_identity *identity; /* of the device that verified it; NULL: none did */
    uint32_t entry_count;
    /* tables, activation, combine, and gemm1 and gemm2 at one token count or more; beside a gemm1 what is used for it */
    const mj_pack_entry *entries;
} mj_pack_target;

typedef struct mj_pack_contents {
    const char *name;    /* of the C function: moejit_pack_<name>; other letters than [A-Za-z0-9_] become '_' */
    const char *command; /* that recreates it, for the C file's head; NULL: none */
    const mj_problem *problem;
    uint32_t target_count; /* of different archs */
    const mj_pack_target *targets;
} mj_pack_contents;

/* Creates `folder` if it is not there; files of the same names are replaced, one by one, pack.json last.
 * MJ_ERR_ARGUMENT: an op or an arch is missing, twice, or an op is of another problem or arch. MJ_ERR_IO, MJ_ERR_MEMORY. */
mj_status mj_pack_write(mj_context *context, const mj_pack_contents *contents, const char *folder, mj_error *error);

#endif
