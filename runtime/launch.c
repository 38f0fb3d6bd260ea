/* launch.c: loading and launching single kernels. The launch path works on its stack alone. */
#include "launch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ARGS_BYTES_MAX = 8 * MJ_ARG_COUNT + MJ_TENSOR_MAP_ALIGN + MJ_TENSOR_MAPS_MAX * MJ_TENSOR_MAP_BYTES };

/* Pointers that an op may do without; whether it really can is its caller's to know. ORDER ARG */
static const bool arg_may_be_null[MJ_ARG_COUNT] = {
    [MJ_ARG_BIAS] = true,         [MJ_ARG_WEIGHT_SCALES] = true, [MJ_ARG_WEIGHT_ZEROS] = true,
    [MJ_ARG_INPUT_SCALES] = true, [MJ_ARG_PARTIALS] = true,      [MJ_ARG_COUNTERS] = true,
    [MJ_ARG_REFERENCE] = true,    [MJ_ARG_RESULT] = true,        [MJ_ARG_OUTPUT_SCALES] = true,
};

static bool arg_is_pointer(mj_arg arg)
{
    return arg < MJ_ARG_ELEMENT_COUNT;
}

/* A manifest may come from a file somebody else wrote: nothing in it may lead a launch astray. */
static mj_status check_manifest(const mj_device *device, const mj_manifest *manifest, mj_error *error)
{
    if (manifest->op < 0 || manifest->op >= MJ_OP_COUNT || !manifest->symbol[0]) {
        return mj_fail(error, MJ_ERR_FORMAT, "manifest: no op or no symbol");
    }
    if (strcmp(manifest->arch, device->info.arch) != 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "kernel %s is for %s, device %s is %s", manifest->symbol,
                       manifest->arch, device->info.id, device->info.arch);
    }
    uint32_t args_bytes = mj_args_bytes(manifest->op, manifest->tensor_map_count);
    if (manifest->args_bytes != args_bytes || args_bytes == 0 || args_bytes > ARGS_BYTES_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "kernel %s: %" PRIu32 " bytes of arguments, %s needs %" PRIu32,
                       manifest->symbol, manifest->args_bytes, mj_op_name(manifest->op), args_bytes);
    }
    for (uint32_t i = 0; i < manifest->tensor_map_count; i++) {
        mj_status status = mj_tensor_map_check(&manifest->tensor_maps[i], error);
        if (status != MJ_OK) {
            return status;
        }
    }
    if (manifest->tensor_map_count && !device->backend->tensor_map_encode) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "kernel %s needs tensor maps, which %s does not have",
                       manifest->symbol, device->info.id);
    }
    uint32_t align = manifest->pointer_align_bytes;
    if (align == 0 || align > 256 || (align & (align - 1)) != 0) {
        return mj_fail(error, MJ_ERR_FORMAT, "kernel %s: pointer alignment %" PRIu32, manifest->symbol, align);
    }
    if (manifest->block_threads == 0 || manifest->block_threads > 1024) {
        return mj_fail(error, MJ_ERR_FORMAT, "kernel %s: %" PRIu32 " threads per block", manifest->symbol,
                       manifest->block_threads);
    }
    uint32_t smem_max = device->info.smem_block_bytes_max;
    if (smem_max && manifest->smem_bytes > smem_max) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED,
                       "kernel %s: %" PRIu32 " bytes of shared memory, the device has %" PRIu32, manifest->symbol,
                       manifest->smem_bytes, smem_max);
    }
    return MJ_OK;
}

mj_status mj_kernel_load(mj_device *device, const mj_manifest *manifest, const void *binary, size_t bytes,
                         mj_loaded_kernel *out, mj_error *error)
{
    memset(out, 0, sizeof *out);
    mj_status status = check_manifest(device, manifest, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_loaded_kernel kernel = {.manifest = *manifest};
    if (manifest->first_pass) {
        char symbol[sizeof manifest->symbol + sizeof "_first"];
        mj_kernel_attributes ignored;
        snprintf(symbol, sizeof symbol, "%s_first", manifest->symbol);
        status = device->backend->kernel_load(device->handle, binary, bytes, symbol, 0, &kernel.first, &ignored, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    status = device->backend->kernel_load(device->handle, binary, bytes, manifest->symbol, manifest->smem_bytes,
                                          &kernel.handle, &kernel.attributes, error);
    if (status != MJ_OK) {
        mj_kernel_unload(device, &kernel);
        return status;
    }
    uint32_t threads_max = kernel.attributes.threads_block_max;
    if (threads_max && manifest->block_threads > threads_max) {
        mj_kernel_unload(device, &kernel);
        return mj_fail(error, MJ_ERR_UNSUPPORTED,
                       "kernel %s: %" PRIu32 " threads per block, as compiled it can run %" PRIu32, manifest->symbol,
                       manifest->block_threads, threads_max);
    }
    *out = kernel;
    return MJ_OK;
}

void mj_kernel_unload(mj_device *device, mj_loaded_kernel *kernel)
{
    if (kernel && kernel->handle) {
        device->backend->kernel_unload(device->handle, kernel->handle);
        kernel->handle = NULL;
    }
    if (kernel && kernel->first) {
        device->backend->kernel_unload(device->handle, kernel->first);
        kernel->first = NULL;
    }
}

static mj_status check_pointers(const mj_manifest *manifest, const mj_arg_value values[MJ_ARG_COUNT], mj_error *error)
{
    uint32_t count = 0;
    const mj_arg *args = mj_op_args(manifest->op, &count);
    uint64_t low_bits = (uint64_t)manifest->pointer_align_bytes - 1;
    bool shares = manifest->partial_tile_bytes || manifest->partial_block_bytes || manifest->counters_per_block;
    for (uint32_t i = 0; i < count; i++) {
        mj_arg arg = args[i];
        if (!arg_is_pointer(arg)) {
            continue;
        }
        uint64_t pointer = values[arg].pointer;
        bool optional = arg_may_be_null[arg] && !(manifest->needed_args >> arg & 1);
        if ((arg == MJ_ARG_PARTIALS && (shares || manifest->pair_scratch_bytes)) ||
            (arg == MJ_ARG_COUNTERS && (shares || manifest->counters_per_token))) {
            optional = false;
        }
        if (!pointer && !optional) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "%s: argument %s is null", manifest->symbol, mj_arg_name(arg));
        }
        if (pointer & low_bits) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "%s: argument %s is not aligned to %" PRIu32 " bytes",
                           manifest->symbol, mj_arg_name(arg), manifest->pointer_align_bytes);
        }
    }
    return MJ_OK;
}

static mj_status count_blocks(const mj_device *device, const mj_manifest *manifest,
                              const mj_arg_value values[MJ_ARG_COUNT], uint32_t token_count, uint32_t *blocks,
                              mj_error *error)
{
    if (manifest->grid.unit != MJ_GRID_ROWS) {
        return mj_manifest_blocks(manifest, token_count, device->info.sm_count, blocks, error);
    }
    if (values[MJ_ARG_ROW_COUNT].i32 < 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s: negative row count", manifest->symbol);
    }
    *blocks = (uint32_t)values[MJ_ARG_ROW_COUNT].i32;
    return MJ_OK;
}

static mj_status encode_maps(mj_device *device, const mj_manifest *manifest, const mj_arg_value values[MJ_ARG_COUNT],
                             uint32_t token_count, char *args, mj_error *error)
{
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < manifest->tensor_map_count && status == MJ_OK; i++) {
        mj_tensor_map map;
        status = mj_manifest_tensor_map(manifest, i, values, token_count, &map, error);
        if (status == MJ_OK) {
            status = device->backend->tensor_map_encode(device->handle, &map,
                                                        args + mj_args_tensor_map_offset(manifest->op, i), error);
        }
    }
    return status;
}

mj_status mj_kernel_launch(mj_device *device, const mj_loaded_kernel *kernel, const mj_arg_value values[MJ_ARG_COUNT],
                           uint32_t token_count, void *stream, mj_error *error)
{
    const mj_manifest *manifest = &kernel->manifest;
    if (!kernel->handle) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "kernel %s is not loaded", manifest->symbol);
    }
    uint32_t blocks = 0;
    mj_status status = count_blocks(device, manifest, values, token_count, &blocks, error);
    if (status != MJ_OK || blocks == 0) {
        return status;
    }
    status = check_pointers(manifest, values, error);
    if (status != MJ_OK) {
        return status;
    }
    _Alignas(MJ_TENSOR_MAP_ALIGN) char args[ARGS_BYTES_MAX];
    mj_manifest_pack_args(manifest, values, args);
    status = encode_maps(device, manifest, values, token_count, args, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_launch launch = {
        .blocks = blocks,
        .threads = manifest->block_threads,
        .smem_bytes = manifest->smem_bytes,
        .args = args,
        .args_bytes = manifest->args_bytes,
        .dependent = manifest->dependent_launch,
    };
    if (kernel->first) {
        mj_launch first = launch;
        first.smem_bytes = 0;
        status = mj_manifest_first_blocks(manifest, token_count, device->info.sm_count, &first.blocks, error);
        if (status == MJ_OK) {
            status = device->backend->kernel_launch(device->handle, kernel->first, &first, stream, error);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    return device->backend->kernel_launch(device->handle, kernel->handle, &launch, stream, error);
}
