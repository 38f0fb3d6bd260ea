/* family_wmma.c: templates/wmma.tmpl, RDNA's matrix instructions. */
#include "family_amd.h"

/* Two generations: lanes l and l + 16 hold the same operands ("wmma_doubled"), or halves of the depth ("wmma_split"). */
static mj_amd_matrix find_matrix(const mj_kernel_desc *desc)
{
    static const mj_amd_matrix doubled = {7, 16, 16, 8, 1}, split = {8, 16, 16, 4, 2}, split8 = {9, 16, 16, 2, 2};
    if (mj_amd_element_bytes(desc) == 1) {
        return mj_amd_has_float8(desc) ? split8 : (mj_amd_matrix){.size = 16};
    }
    return mj_list_has(&desc->arch->features, "wmma_doubled") ? doubled : split;
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    mj_amd_shape s = {.kpack = 1};
    const mj_tunable_slot slots[] = {
        {"tile_m", &s.tile_m},   {"tile_n", &s.tile_n},   {"tile_k", &s.tile_k},
        {"stages", &s.stages},   {"waves_m", &s.waves_m}, {"waves_n", &s.waves_n},
        {"group_m", &s.group_m}, {"split_k", &s.split_k}, {"waves_per_eu", &s.waves_per_eu},
    };
    mj_status status = mj_family_read(desc, slots, sizeof slots / sizeof slots[0], error);
    if (status == MJ_OK) {
        status = mj_amd_read(desc, "lds_pad", &s.lds_pad, error);
    }
    if (status == MJ_OK) {
        status = mj_amd_read_switch(desc, "cu_mode", MJ_AMD_CU_MODE, &s.switches, error);
    }
    if (status == MJ_OK) {
        status = mj_amd_read_switch(desc, "store_lds", MJ_AMD_STORE_LDS, &s.switches, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_amd_matrix matrix = find_matrix(desc);
    s.matrix_size = matrix.size;
    mj_derived_var(out, "matrix_generation", mj_list_has(&desc->arch->features, "wmma_doubled") ? 11 : 12);
    mj_derived_var(out, "matrix_depth", matrix.depth);
    mj_derived_var(out, "fragment_words", matrix.fragment_words);
    mj_derived_var(out, "lane_groups", matrix.lane_groups);
    mj_derived_var(out, "direct_lds", 0);
    return mj_amd_derive(desc, s, &matrix, out, error);
}

const mj_family mj_family_wmma = {
    .name = "wmma",
    .derive = derive,
    .rules = mj_amd_rules,
    .rule_count = MJ_AMD_RULE_COUNT,
    .estimate_us = mj_amd_estimate_us,
};
