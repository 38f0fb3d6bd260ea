/* cuda_api.c: loading the driver's library, and what its results mean. */
#define _GNU_SOURCE
#include "cuda_api.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef struct result_row {
    cu_result result;
    mj_status status;
} result_row;

/* Results that are more than "a call failed". Those of DEVICE_LOST stay with the context: every later call
 * gives the same, only a new process helps. */
static const result_row result_rows[] = {
    {1, MJ_ERR_ARGUMENT},                                 /* invalid value */
    {2, MJ_ERR_DEVICE_MEMORY}, {3, MJ_ERR_NO_DEVICE},     /* not initialised */
    {4, MJ_ERR_DEVICE_LOST},                              /* the driver is shutting down */
    {34, MJ_ERR_NO_DEVICE},                               /* stub library */
    {35, MJ_ERR_NO_DEVICE},                               /* driver too old */
    {100, MJ_ERR_NO_DEVICE},   {101, MJ_ERR_NO_DEVICE},   /* invalid device */
    {200, MJ_ERR_FORMAT},                                 /* invalid image */
    {201, MJ_ERR_DEVICE_LOST},                            /* invalid context */
    {209, MJ_ERR_UNSUPPORTED},                            /* no binary for this GPU */
    {214, MJ_ERR_DEVICE_LOST},                            /* uncorrectable ECC error */
    {218, MJ_ERR_FORMAT},                                 /* invalid PTX */
    {220, MJ_ERR_DEVICE_LOST},                            /* uncorrectable NVLink error */
    {222, MJ_ERR_UNSUPPORTED},                            /* PTX version */
    {300, MJ_ERR_FORMAT},                                 /* invalid source */
    {500, MJ_ERR_NOT_FOUND},   {700, MJ_ERR_DEVICE_LOST}, /* illegal address */
    {702, MJ_ERR_DEVICE_LOST},                            /* launch timed out */
    {709, MJ_ERR_DEVICE_LOST},                            /* context destroyed */
    {710, MJ_ERR_DEVICE_LOST},                            /* assert */
    {714, MJ_ERR_DEVICE_LOST},                            /* hardware stack error */
    {715, MJ_ERR_DEVICE_LOST},                            /* illegal instruction */
    {716, MJ_ERR_DEVICE_LOST},                            /* misaligned address */
    {717, MJ_ERR_DEVICE_LOST},                            /* invalid address space */
    {718, MJ_ERR_DEVICE_LOST},                            /* invalid program counter */
    {719, MJ_ERR_DEVICE_LOST},                            /* launch failed */
    {721, MJ_ERR_DEVICE_LOST},                            /* tensor memory leak */
    {801, MJ_ERR_UNSUPPORTED}, {802, MJ_ERR_NO_DEVICE},   /* system not ready */
    {803, MJ_ERR_NO_DEVICE},                              /* driver and library differ */
    {804, MJ_ERR_NO_DEVICE},                              /* forward compatibility on this hardware */
    {999, MJ_ERR_DEVICE_LOST},                            /* unknown */
};

mj_status mj_cuda_status(cu_result result)
{
    if (result == CU_SUCCESS) {
        return MJ_OK;
    }
    for (size_t i = 0; i < sizeof result_rows / sizeof result_rows[0]; i++) {
        if (result_rows[i].result == result) {
            return result_rows[i].status;
        }
    }
    return MJ_ERR_DEVICE;
}

mj_status mj_cuda_check(const mj_cuda_api *api, cu_result result, const char *what, mj_error *error)
{
    if (result == CU_SUCCESS) {
        return MJ_OK;
    }
    const char *name = NULL, *text = NULL;
    if (api->error_name(result, &name) != CU_SUCCESS || !name) {
        name = "CUDA error";
    }
    if (api->error_string(result, &text) != CU_SUCCESS || !text) {
        text = "no text";
    }
    return mj_fail(error, mj_cuda_status(result), "%s: %s (%d): %s", what, name, result, text);
}

mj_status mj_cuda_api_load(mj_cuda_api *api, mj_error *error)
{
    const char *given = getenv("MOEJIT_LIBCUDA");
    const char *name = given && *given ? given : "libcuda.so.1";
    const char *missing = NULL;
    memset(api, 0, sizeof *api);
    api->library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!api->library) {
        const char *why = dlerror();
        return mj_fail(error, MJ_ERR_NO_DEVICE, "NVIDIA's driver library is not here: %s", why ? why : name);
    }
    void *found = NULL;
#define CUDA_FUNCTION(field, symbol, fallback, arguments) \
    { \
        const char *other = fallback; \
        found = dlsym(api->library, symbol); \
        found = !found && other ? dlsym(api->library, other) : found; \
        memcpy(&api->field, &found, sizeof found); \
        missing = !found && !missing ? symbol : missing; \
    }
#define CUDA_OPTIONAL(field, symbol, arguments) \
    found = dlsym(api->library, symbol); \
    memcpy(&api->field, &found, sizeof found);
#include "cuda_api.inc"
#undef CUDA_OPTIONAL
#undef CUDA_FUNCTION
    if (missing) {
        mj_cuda_api_unload(api);
        return mj_fail(error, MJ_ERR_UNSUPPORTED,
                       "NVIDIA's driver (%s) is too old: it has no %s; CUDA 11.4 or later is needed", name, missing);
    }
    return MJ_OK;
}

void mj_cuda_api_unload(mj_cuda_api *api)
{
    if (api->library) {
        dlclose(api->library);
    }
    memset(api, 0, sizeof *api);
}
