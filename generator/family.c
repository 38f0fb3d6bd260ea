/* family.c: the table of families, and what they share. */
#include "family.h"

#include <stdio.h>
#include <string.h>

static const mj_family *const families[] = {&mj_family_wgmma, &mj_family_mma,       &mj_family_mfma,  &mj_family_wmma,
                                            &mj_family_cpu,   &mj_family_reference, &mj_family_simple};
enum { FAMILY_COUNT = sizeof families / sizeof families[0] };

const mj_family *mj_family_at(uint32_t index)
{
    return index < FAMILY_COUNT ? families[index] : NULL;
}

const mj_family *mj_family_find(const char *name)
{
    for (uint32_t i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(families[i]->name, name) == 0) {
            return families[i];
        }
    }
    return NULL;
}

mj_status mj_family_derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error)
{
    const mj_family *family = mj_family_find(desc->space->family);
    if (!family) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "family %s is not in this build", desc->space->family);
    }
    memset(out, 0, sizeof *out);
    mj_status status = family->derive(desc, out, error);
    return status == MJ_OK ? mj_derived_check(out, error) : status;
}

mj_status mj_family_read(const mj_kernel_desc *desc, const mj_tunable_slot *slots, uint32_t count, mj_error *error)
{
    const mj_config *config = desc->config;
    for (uint32_t i = 0; i < count; i++) {
        const char *name = slots[i].name;
        int32_t value = 0;
        if (i < config->count && strcmp(config->params[i].name, name) == 0) { /* the usual order: no search */
            value = config->params[i].value;
        } else if (!mj_config_get(config, name, &value)) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "config of %s: %s is missing", desc->space->family, name);
        }
        if (value < 1 || value > MJ_TUNABLE_MAX) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "config of %s: %s is %d, not in 1..%d", desc->space->family, name,
                           (int)value, MJ_TUNABLE_MAX);
        }
        *slots[i].value = (uint32_t)value;
    }
    return MJ_OK;
}

void mj_derived_var(mj_derived *derived, const char *name, int64_t value)
{
    if (derived->var_count == MJ_DERIVED_VARS_MAX) {
        derived->lost_var = name;
        return;
    }
    derived->vars[derived->var_count].name = name;
    derived->vars[derived->var_count++].value = value;
}

mj_status mj_derived_check(const mj_derived *derived, mj_error *error)
{
    if (derived->lost_var) {
        return mj_fail(error, MJ_ERR_INTERNAL, "no room for template variable %s: there are %d", derived->lost_var,
                       MJ_DERIVED_VARS_MAX);
    }
    return MJ_OK;
}

static void cap(uint32_t *value, uint64_t limit)
{
    if (limit < *value) {
        *value = (uint32_t)limit;
    }
}

void mj_derived_occupancy(mj_derived *derived, const mj_arch *arch)
{
    uint32_t blocks = arch->blocks_sm_max;
    uint64_t smem = (uint64_t)derived->smem_bytes + arch->smem_block_reserved_bytes;
    uint64_t regs = (uint64_t)(derived->regs_estimate + 7) / 8 * 8 * derived->block_threads; /* handed out by eights */
    if (arch->smem_sm_bytes > 0 && smem > 0) {
        cap(&blocks, arch->smem_sm_bytes / smem);
    }
    if (derived->block_threads > 0) {
        cap(&blocks, arch->threads_sm_max / derived->block_threads);
    }
    if (arch->regs_sm > 0 && regs > 0) {
        cap(&blocks, arch->regs_sm / regs);
    }
    derived->blocks_per_sm = blocks;
}

const uint32_t mj_load_tile_rows[MJ_LOAD_TILES] = {8,   16,  24,  32,  40,  48,  64,  80,  96,  112, 128, 144,
                                                   160, 176, 192, 208, 224, 256, 288, 320, 352, 384, 416, 512};

double mj_load_row_tiles(const mj_load *load, uint32_t tile_rows)
{
    uint32_t slot = 0;
    while (slot + 1 < MJ_LOAD_TILES && mj_load_tile_rows[slot] < tile_rows) {
        slot++;
    }
    return load->row_tiles[slot];
}
