/* workspace.h: the one block of device memory a plan's launches work in.
 *
 *   offset 0 ..  counters        i32, zero before the first launch, left zero by every launch
 *                expert_offsets  [E+1] i32
 *                sorted_pairs    [M*top_k] i32
 *                gemm1_output    [M*top_k, G*N] io format; only the first expert_offsets[E] rows are written
 *                activation      [M*top_k, N]   io format, likewise
 *                codes1          [M, H] and scales1 [M, ...] of x, where quantise1 runs; codes2, scales2 of the activated
 *                                rows [M*top_k, N], where quantise2 does
 *                pair_rows       [M*top_k, H]   io format, in pair order; rows of other ranks' pairs are not written
 *                partials        partial sums of tiles that several blocks share, f32; rows that a first pass sorted.
 *                                gemm2_combine's begin with the rows of pairs, for which pair_rows is the place
 * Every region starts at a multiple of 256 bytes; M is the plan's max_tokens. gemm1 and gemm2 run one after the other and
 * share counters and partials: the larger need counts.
 */
#ifndef MOEJIT_WORKSPACE_H
#define MOEJIT_WORKSPACE_H

#include "gen.h"

#define MJ_WORKSPACE_ALIGN 256
/* x, y and what lies between the ops are 16-bit floats in every scheme (bf16 or f16). */
#define MJ_IO_BYTES 2
/* What the GEMMs multiply instead, where quantise runs: 8-bit codes. */
#define MJ_CODE_BYTES 1

typedef struct mj_workspace { /* byte offsets from the base */
    uint64_t counters, counter_bytes;
    uint64_t expert_offsets;
    uint64_t sorted_pairs;
    uint64_t gemm1_output;
    uint64_t activation;
    uint64_t pair_rows;
    struct {
        bool present;
        uint32_t scales_per_row;
        uint64_t codes, scales;
    } quantised[2];
    uint64_t partials, partial_bytes;
    uint64_t bytes;
} mj_workspace;

/* Raises counter_bytes and partial_bytes, and adds codes and scales, to what `manifest` needs for up to `token_count` tokens on
 * `sm_count` multiprocessors. */
mj_status mj_workspace_need(mj_workspace *workspace, const mj_manifest *manifest, uint32_t token_count,
                            uint32_t sm_count, mj_error *error);
/* Where an op's partials begin. */
uint64_t mj_workspace_partials(const mj_workspace *workspace, mj_op op);
/* Sets the offsets and the sum from counter_bytes and partial_bytes. MJ_ERR_CAPACITY when a size or a pair index overflows. */
mj_status mj_workspace_place(mj_workspace *workspace, const mj_problem *problem, uint32_t max_tokens, mj_error *error);

#endif
