/* family_mfma.c: templates/mfma.tmpl, CDNA's matrix instructions. */
#include "family_amd.h"

/* A lane has four neighbours of the depth of its row, or, on archs with "mfma_k8", eight; of 8-bit operands always eight. */
static mj_amd_matrix find_matrix(const mj_kernel_desc *desc, uint32_t size)
{
    static const mj_amd_matrix forms[] = {{1, 16, 16, 2, 4}, {2, 32, 8, 2, 2},  {3, 16, 32, 4, 4},
                                          {4, 32, 16, 4, 2}, {5, 16, 32, 2, 4}, {6, 32, 16, 2, 2}};
    uint32_t first = mj_list_has(&desc->arch->features, "mfma_k8") ? 2 : 0;
    if (mj_amd_element_bytes(desc) == 1) {
        first = mj_amd_has_float8(desc) ? 4 : 6;
    }
    bool known = first < 6 && (size == 16 || size == 32);
    return known ? forms[first + (size == 32)] : (mj_amd_matrix){0};
}

static mj_status derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    mj_amd_shape s = {0};
    const mj_tunable_slot slots[] = {
        {"tile_m", &s.tile_m},   {"tile_n", &s.tile_n},
        {"tile_k", &s.tile_k},   {"stages", &s.stages},
        {"waves_m", &s.waves_m}, {"waves_n", &s.waves_n},
        {"group_m", &s.group_m}, {"matrix_size", &s.matrix_size},
        {"kpack", &s.kpack},     {"waves_per_eu", &s.waves_per_eu},
        {"split_k", &s.split_k},
    };
    mj_status status = mj_family_read(desc, slots, sizeof slots / sizeof slots[0], error);
    if (status == MJ_OK) {
        status = mj_amd_read(desc, "lds_pad", &s.lds_pad, error);
    }
    if (status == MJ_OK) {
        status = mj_amd_read_switch(desc, "direct_lds", MJ_AMD_DIRECT_LDS, &s.switches, error);
    }
    if (status == MJ_OK) {
        status = mj_amd_read_switch(desc, "store_lds", MJ_AMD_STORE_LDS, &s.switches, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_amd_matrix matrix = find_matrix(desc, s.matrix_size);
    mj_derived_var(out, "matrix_depth", matrix.depth);
    mj_derived_var(out, "fragment_words", matrix.fragment_words);
    mj_derived_var(out, "cu_mode", 0);
    return mj_amd_derive(desc, s, &matrix, out, error);
}

const mj_family mj_family_mfma = {
    .name = "mfma",
    .derive = derive,
    .rules = mj_amd_rules,
    .rule_count = MJ_AMD_RULE_COUNT,
    .estimate_us = mj_amd_estimate_us,
};
