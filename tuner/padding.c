/* padding.c: see padding.h. */
#include "padding.h"

#include "routing.h"

mj_status mj_padded_rows(const mj_kernel_desc *desc, const uint32_t *rows, double *out, mj_error *error)
{
    mj_derived derived;
    mj_routing_stats stats;
    mj_status status = mj_family_derive(desc, &derived, error);
    if (status == MJ_OK) {
        uint32_t tile_rows = desc->arch->warp_size > 1 ? derived.tile_m : 1;
        status = mj_routing_measure(rows, desc->problem->expert_count, tile_rows, &stats, error);
    }
    *out = status == MJ_OK ? (double)stats.block_count * stats.block_rows : 0;
    return status;
}

double mj_padded_operations(const mj_problem *problem, mj_op op, double padded_rows)
{
    mj_gemm_shape shape = mj_problem_gemm(problem, op);
    return 2 * padded_rows * shape.n * shape.k;
}
