/* family_wgmma_scales.c: scales of blocks of the depth in templates/wgmma.tmpl: where they lie, and the rules about them. */
#include "family_wgmma.h"

enum { SCALES_MAX = 6 }; /* of a step's weights that a thread holds */

/* Output columns of a tile, or of a block of wgmma's M, that share a weight scale: neither it nor a group ends within them. */
uint32_t wgmma_scale_columns(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    uint32_t a = (s->orientation == WEIGHTS_ARE_M ? WGMMA_GROUP_ROWS : s->tile_n) / wgmma_parts(desc),
             b = desc->scheme->scale.group_n;
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Of a stage: a scale for each row of its input and each block of its weights, of every 128 bytes of the depth. */
uint64_t wgmma_scale_bytes(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    uint32_t columns = wgmma_scales_steps(desc) ? wgmma_scale_columns(desc, s) : 0;
    uint64_t weights = columns ? s->tile_n / columns : 0; /* of gate and up each */
    uint64_t runs = s->step_bytes / WGMMA_ATOM_BYTES;
    return columns ? sizeof(float) * runs * (s->tile_m + (weights + 3) / 4 * 4) : 0;
}

bool wgmma_scale_of_run(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    *measured = WGMMA_ATOM_BYTES / (double)wgmma_element_bytes(desc);
    *limit = desc->scheme->input_group_k;
    return !wgmma_scales_steps(desc) ||
           (*measured == *limit && desc->scheme->scale.group_k == desc->scheme->input_group_k);
}

bool wgmma_scale_of_columns(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    wgmma_shape s = wgmma_shape_of(derived);
    bool weights_are_m = s.orientation == WEIGHTS_ARE_M;
    uint32_t parts = wgmma_parts(desc), columns = (weights_are_m ? WGMMA_GROUP_ROWS : s.tile_n) / parts;
    *measured = *limit = 0;
    if (!wgmma_scales_steps(desc) || desc->scheme->scale.group_n == 0 || columns == 0) {
        return true;
    }
    uint32_t shared = wgmma_scale_columns(desc, &s);
    *measured = columns / shared * parts;
    *limit = weights_are_m ? parts : SCALES_MAX;
    if (*measured <= *limit && parts == 2) {
        *measured = mj_problem_gemm(desc->problem, desc->op).out_n % shared;
        *limit = 0;
    }
    return *measured <= *limit;
}
