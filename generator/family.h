/* family.h: what C must know of a template: sizes, launch shape, structural limits, expected time. One row per family.
 *
 * A new family is a template, a space file, one family_<name>.c and its row in family.c. */
#ifndef MOEJIT_FAMILY_H
#define MOEJIT_FAMILY_H

#include "gen.h"

/* A structural rule: a limit of the arch or of the template. false: refused, with what was measured against which limit. */
typedef struct mj_family_rule {
    const char *name;
    const char *reason; /* what is measured, with its unit */
    bool (*holds)(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
} mj_family_rule;

/* The routing an estimate is for. */
enum { MJ_LOAD_TILES = 24 };
typedef struct mj_load {
    uint32_t token_count;
    double row_count; /* pairs of local experts */
    double active_experts;
    double row_tiles[MJ_LOAD_TILES]; /* sum over experts of ceil(rows / tile), for tiles of mj_load_tile_rows[] rows */
    double input_rows;               /* distinct rows that gemm1 reads */
} mj_load;
/* All that the spaces' tiles, and the pairs of them in a cluster, can have (test_estimate); others count as the next. */
extern const uint32_t mj_load_tile_rows[MJ_LOAD_TILES];
double mj_load_row_tiles(const mj_load *load, uint32_t tile_rows);

typedef struct mj_family {
    const char *name;
    /* Everything that follows from a config. MJ_ERR_ARGUMENT if a tunable is missing or outside 1..MJ_TUNABLE_MAX. Legal configs
     * only give right answers; others must not overflow. */
    mj_status (*derive)(const mj_kernel_desc *desc, mj_derived *out, mj_error *error);
    const mj_family_rule *rules; /* beyond those that every family has (legal.c) */
    uint32_t rule_count;
    double (*estimate_us)(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *shape,
                          const mj_load *load);
} mj_family;

extern const mj_family mj_family_mma, mj_family_wgmma, mj_family_cpu, mj_family_simple, mj_family_reference;
extern const mj_family mj_family_mfma, mj_family_wmma;

const mj_family *mj_family_find(const char *name); /* NULL: not in this build */
const mj_family *mj_family_at(uint32_t index);     /* NULL: past the last */

/* ---- For family_*.c ---- */
#define MJ_TUNABLE_MAX 4096

typedef struct mj_tunable_slot {
    const char *name;
    uint32_t *value;
} mj_tunable_slot;
/* Fills every slot from the config. */
mj_status mj_family_read(const mj_kernel_desc *desc, const mj_tunable_slot *slots, uint32_t count, mj_error *error);
/* `name`: a constant. */
void mj_derived_var(mj_derived *derived, const char *name, int64_t value);
/* MJ_ERR_INTERNAL if there were more variables than fit. mj_family_derive asks. */
mj_status mj_derived_check(const mj_derived *derived, mj_error *error);
/* blocks_per_sm from the other fields; 0 if a limit of the arch is passed. */
void mj_derived_occupancy(mj_derived *derived, const mj_arch *arch);

#endif
