/* family_wgmma_heights.c: tiles whose rows run along wgmma's N are multiplied by the narrowest of a few instructions that holds the rows
 * that exist. Experts' rows are uneven: a tile that holds most of them is a fifth empty on average, the last one of a large group half,
 * and products for nobody cost time and, in large tiles, power. */
#include "family_wgmma.h"

enum { DEPTH_BYTES_MIN = 512 };

/* Eighths of the tile, ascending: experts fill most of a tile that is chosen for them, so the upper ones lie closer. */
static const uint32_t height_eighths[WGMMA_HEIGHTS_MAX] = {4, 6, 7, 8};

/* Whether a tile has more than one: of fewer rows loading is what takes time, of little depth storing; decoded weights take the same
 * time for any. Where blocks share the depth, ptxas would serialise the instructions (C7514). */
static bool has_heights(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    uint64_t depth_bytes = (uint64_t)mj_problem_gemm(desc->problem, desc->op).k * wgmma_element_bytes(desc);
    bool tall = s->orientation == WEIGHTS_ARE_M && s->tile_m >= 64;
    return tall && s->schedule != SHARED && depth_bytes >= DEPTH_BYTES_MIN && !wgmma_decodes(desc);
}

uint32_t wgmma_heights(const mj_kernel_desc *desc, const wgmma_shape *s, uint32_t columns,
                       uint32_t heights[WGMMA_HEIGHTS_MAX])
{
    if (!has_heights(desc, s)) {
        heights[0] = columns;
        return 1;
    }
    for (uint32_t i = 0; i < WGMMA_HEIGHTS_MAX; i++) {
        heights[i] = (columns * height_eighths[i] / 8 + 7) / 8 * 8;
    }
    return WGMMA_HEIGHTS_MAX;
}

double wgmma_computed_rows(const mj_kernel_desc *desc, const wgmma_shape *s, double rows)
{
    double computed = rows + (double)s->tile_m / 16; /* half of the way to the next height */
    return has_heights(desc, s) && computed < s->tile_m ? computed : s->tile_m;
}
