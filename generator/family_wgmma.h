/* family_wgmma.h: what a config of family wgmma says, for its C files: family_wgmma.c (sizes, limits) and family_wgmma_*.c. */
#ifndef MOEJIT_FAMILY_WGMMA_H
#define MOEJIT_FAMILY_WGMMA_H

#include <string.h>

#include "family.h"
#include "scheme_words.h"

enum { WGMMA_ATOM_BYTES = 128 };                 /* of K: one row of the swizzle */
enum { TOKENS_ARE_M = 1, WEIGHTS_ARE_M = 2 };    /* orientation */
enum { LOAD_BY_GATHER = 1, LOAD_BY_BOXES = 2 };  /* input_load */
enum { TOGETHER = 1, IN_TURNS = 2, SHARED = 3 }; /* schedule */
enum { SHARE_WEIGHTS = 1, SHARE_INPUT = 2 };     /* cluster_of */
enum { WGMMA_GROUP_ROWS = 64 };                  /* of wgmma's M */
enum { WGMMA_GROUP_THREADS = 128 };
enum { UNIT_STEPS = 4 }; /* of the depth: what SHARED deals out */

typedef struct wgmma_shape {
    uint32_t tile_m, tile_n, orientation, input_load, step_bytes, consumers, schedule, producers, cluster, cluster_of,
        group_m, blocks_per_sm;
    uint32_t stages;   /* as many as the block's share of shared memory holds */
    uint32_t out_rows; /* of a tile that a warp stages for its stores at a time, where they run along wgmma's N */
} wgmma_shape;
_Static_assert(sizeof(wgmma_shape) <= sizeof(((mj_derived *)0)->tunables), "kept in mj_derived");

static inline wgmma_shape wgmma_shape_of(const mj_derived *derived)
{
    wgmma_shape s;
    memcpy(&s, derived->tunables, sizeof s);
    return s;
}

/* Of an element of either operand, as it is multiplied. */
static inline uint32_t wgmma_element_bytes(const mj_kernel_desc *desc)
{
    return strncmp(desc->scheme->input_format, "e4m3", 4) == 0 ? 1 : 2;
}

/* Weights are stored in another format than they are multiplied in: threads decode them, and wgmma has them from registers. */
static inline bool wgmma_decodes(const mj_kernel_desc *desc)
{
    return desc->scheme->weight_bits != 8 * wgmma_element_bytes(desc);
}

/* Of a weight row in a step. */
static inline uint64_t wgmma_weight_bytes(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    return (uint64_t)s->step_bytes * desc->scheme->weight_bits / (8 * wgmma_element_bytes(desc));
}

/* Blocks of the depth have scales of their own: products of a step are scaled before they are added. */
static inline bool wgmma_scales_steps(const mj_kernel_desc *desc)
{
    return strcmp(desc->scheme->input_scale_kind, "group") == 0;
}

/* Small tiles of fp8 have registers and time left for sums in float, which the matrix units' own, of some 14 bits, are added to. */
static inline bool wgmma_two_levels(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    bool small = s->orientation == WEIGHTS_ARE_M && s->tile_m <= 48;
    return wgmma_scales_steps(desc) || (small && wgmma_element_bytes(desc) == 1);
}

/* gemm1 reads tokens where they lie: its boxes are of rows that a first pass has sorted. */
static inline bool wgmma_sorts(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    return mj_op_is_gemm1(desc->op) && s->input_load == LOAD_BY_BOXES;
}

/* Weights need not wait for the kernel ahead: in a layer it stands between tables, which wrote the offsets, and this one. It is an earlier
 * GEMM, activation, a quantise, or the first pass that sorts rows. Whatever stands right behind tables lets the next kernel start behind
 * its own wait, or is no dependent launch: then offsets and pairs are there when this one begins. */
static inline bool wgmma_early(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    return mj_op_is_gemm2(desc->op) || wgmma_sorts(desc, s) || mj_scheme_quantises(desc->scheme);
}

/* Others stand right behind the kernel that sorts pairs. Up to so many pairs blocks count experts' rows from the ids, which are older, and
 * only input rows wait: a thread of the smallest block looks at 43, eight at a time. 0: it need not. */
static inline uint32_t wgmma_counted_pairs(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    return wgmma_early(desc, s) ? 0 : 8192;
}

/* Weight rows of an output column: 2 are gate and up, which a tile then has in turns of 8. */
static inline uint32_t wgmma_parts(const mj_kernel_desc *desc)
{
    return mj_op_activates(desc->op) && desc->problem->gated ? 2 : 1;
}

/* Rows of wgmma's M and N. */
static inline uint32_t wgmma_rows_m(const wgmma_shape *s)
{
    return s->orientation == WEIGHTS_ARE_M ? s->tile_n : s->tile_m;
}

static inline uint32_t wgmma_rows_n(const wgmma_shape *s)
{
    return s->orientation == WEIGHTS_ARE_M ? s->tile_m : s->tile_n;
}

/* Blocks of a cluster along each axis of the output. */
static inline uint32_t wgmma_cluster_rows(const wgmma_shape *s)
{
    return s->cluster_of == SHARE_INPUT ? 1 : s->cluster;
}

static inline uint32_t wgmma_cluster_columns(const wgmma_shape *s)
{
    return s->cluster_of == SHARE_INPUT ? s->cluster : 1;
}

static inline uint32_t wgmma_most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Warpgroups that share a tile. */
static inline uint32_t wgmma_groups(const wgmma_shape *s)
{
    return s->schedule == IN_TURNS ? 1 : s->consumers;
}

/* Sums of a consumer's thread, and the blocks of 64 rows that they are of. */
static inline uint32_t wgmma_accumulators(const wgmma_shape *s)
{
    return wgmma_rows_m(s) / (WGMMA_GROUP_ROWS * wgmma_groups(s)) * wgmma_rows_n(s) / 2;
}

static inline uint32_t wgmma_blocks_m(const wgmma_shape *s)
{
    return wgmma_most(wgmma_rows_m(s) / (WGMMA_GROUP_ROWS * wgmma_most(wgmma_groups(s), 1)), 1);
}

/* ---- family_wgmma_registers.c ---- */
/* What is multiplied at a time where products are scaled before they are added: a block of 64 rows of wgmma's M times `columns` rows of
 * N. `held`: 2 if one is scaled while the next is multiplied. */
typedef struct wgmma_step_parts {
    uint32_t held, columns;
} wgmma_step_parts;
enum { PART_COLUMNS_MIN = 64 }; /* narrower ones are bound by what shared memory delivers */

/* After setmaxnreg; 0: as launched. */
void wgmma_split_registers(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t *consumer, uint32_t *producer);
uint32_t wgmma_producer_need(const mj_kernel_desc *desc, const wgmma_shape *s);
uint32_t wgmma_consumer_need(const mj_kernel_desc *desc, const wgmma_shape *s, wgmma_step_parts parts);
uint32_t wgmma_consumer_most(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads);
wgmma_step_parts wgmma_parts_of_step(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads);
bool wgmma_parts_in_turn(const mj_kernel_desc *desc, const wgmma_shape *s, wgmma_step_parts parts);
bool wgmma_rows_ahead(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads);
uint32_t wgmma_estimate_registers(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t threads);

/* ---- family_wgmma_decode.c: rules of weights that are decoded, and their registers ---- */
bool wgmma_codes_known(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
bool wgmma_codes_are_m(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
bool wgmma_codes_of_plain_gemms(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
bool wgmma_codes_in_order(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
bool wgmma_codes_groups(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
uint32_t wgmma_decode_need(const mj_kernel_desc *desc, const wgmma_shape *s);

/* ---- family_wgmma_scales.c: scales of blocks of the depth, which lie in a stage beside what they scale ---- */
uint32_t wgmma_scale_columns(const mj_kernel_desc *desc, const wgmma_shape *s);
uint64_t wgmma_scale_bytes(const mj_kernel_desc *desc, const wgmma_shape *s);
bool wgmma_scale_of_run(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);
bool wgmma_scale_of_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit);

/* ---- family_wgmma_heights.c: how much of wgmma's N is computed ---- */
enum { WGMMA_HEIGHTS_MAX = 4 };
/* Returns how many there are, ascending; the last is `columns`, all that a part of a step has. */
uint32_t wgmma_heights(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t columns,
                       uint32_t heights[WGMMA_HEIGHTS_MAX]);
/* Of tiles in which on average so many rows exist. */
double wgmma_computed_rows(const mj_kernel_desc *desc, const wgmma_shape *s, double rows);

/* Expected time of a launch (family_wgmma_time.c). */
double wgmma_estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *device,
                         const mj_load *load);

#endif
