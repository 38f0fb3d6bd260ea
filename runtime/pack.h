/* pack.h: precompiled packs: kernels of one problem for one arch or several, with the table that says which serves how many
 * tokens where.
 *
 * A folder written by mj_pack_write (pack_writer.h):
 *     pack.json                     the table, below, and the list of files
 *     <nnn>_<arch>_<op>_<family>.*  binaries: .cubin, .co (AMD's code objects), .so
 *     <nnn>_<arch>_<op>_<family>.json  their manifests
 *     moejit_pack_<name>.c          all of it as one C file: const mj_pack *moejit_pack_<name>(void)
 *
 * The table (mj_pack.rows_json):
 *     { "moejit_pack": 2, "generator": 1, "problem": "E=8/8,...", "source": "moejit_pack_x.c",
 *       "targets": [ target, ... ] }
 *     target = { "arch": "sm_90a", "compiler": "nvrtc 13.0",      each arch once: a device takes the one that is its own
 *       "identity": { "device", "arch", "sm_count", "memory_bytes", "driver", "compiler", "generator" },   if verified somewhere
 *       "ops": { "tables": {use}, "activation": {use}, "combine": {use} },
 *       "rows": { "1": { "gemm1": {use}, "gemm2": {use} }, "16": ... } }
 *     use = { "variant": index, "verified": bool, "time_us_median": number, "instead_us": number }
 * A row holds "gemm1_act", "gemm1_quantise" or "gemm2_combine" where it is used for others; instead_us, which may be left out, is
 * what these took.
 * A pack of another generator version is refused: argument structs may differ.
 */
#ifndef MOEJIT_PACK_H
#define MOEJIT_PACK_H

#include "context.h"
#include "store.h"

#define MJ_PACK_VARIANTS_MAX 1024
#define MJ_PACK_TARGETS_MAX  32

typedef struct mj_pack_section { /* one of the table's targets */
    const mj_json *json;         /* its "ops" and "rows" are read where they are used */
    char arch[MJ_NAME_MAX];
    char compiler[96];
    bool has_identity;
    mj_identity identity;
} mj_pack_section;

typedef struct mj_pack_table { /* rows_json; mj_pack_table_free */
    mj_json *root;
    mj_problem problem;
    char problem_text[256];
    uint32_t section_count; /* one at least, of different archs */
    mj_pack_section *sections;
} mj_pack_table;

typedef struct mj_pack_use {
    uint32_t variant;
    bool verified;
    double time_us_median, instead_us;
} mj_pack_use;

mj_status mj_pack_table_parse(const char *rows_json, mj_pack_table *out, mj_error *error);
void mj_pack_table_free(mj_pack_table *table);
/* The target of this arch; NULL: none. */
const mj_pack_section *mj_pack_table_find(const mj_pack_table *table, const char *arch);
mj_status mj_pack_use_read(const mj_json *use, uint32_t variant_count, mj_pack_use *out, mj_error *error);
/* Everything a plan relies on: versions, checksums, manifests, indices. */
mj_status mj_pack_check(const mj_pack *pack, mj_error *error);

#endif
