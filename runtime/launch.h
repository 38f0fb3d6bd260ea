/* launch.h: binding and launching single kernels; shared by plans (plan.c) and the tuner's worker. */
#ifndef MOEJIT_LAUNCH_H
#define MOEJIT_LAUNCH_H

#include "context.h"

typedef struct mj_loaded_kernel {
    mj_manifest manifest;
    void *handle; /* backend's kernel; NULL: not loaded */
    void *first;  /* of its first pass; NULL: it has none */
    mj_kernel_attributes attributes;
} mj_loaded_kernel;

mj_status mj_kernel_load(mj_device *device, const mj_manifest *manifest, const void *binary, size_t bytes,
                         mj_loaded_kernel *out, mj_error *error);
void mj_kernel_unload(mj_device *device, mj_loaded_kernel *kernel);
/* Grid from the manifest and `token_count`, arguments from `values` (indexed by mj_arg). Allocates nothing. */
mj_status mj_kernel_launch(mj_device *device, const mj_loaded_kernel *kernel, const mj_arg_value values[MJ_ARG_COUNT],
                           uint32_t token_count, void *stream, mj_error *error);

/* Generate + compile (through the cache) + load in one step; `cache_key` may be NULL. Needs the generator. */
mj_status mj_kernel_build(mj_device *device, const mj_kernel_desc *desc, mj_loaded_kernel *out,
                          char cache_key[MJ_SHA256_HEX], mj_error *error);

#endif
