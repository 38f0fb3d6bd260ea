/* hip_api.c: loading the HIP runtime's library, and what its results mean. */
#define _GNU_SOURCE
#include "hip_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct result_row {
    hip_result result;
    mj_status status;
} result_row;

/* Results that are more than "a call failed". After those of DEVICE_LOST only a new process helps. */
static const result_row result_rows[] = {
    {1, MJ_ERR_ARGUMENT},                                  /* invalid value */
    {2, MJ_ERR_DEVICE_MEMORY},  {3, MJ_ERR_NO_DEVICE},     /* not initialised */
    {4, MJ_ERR_DEVICE_LOST},                               /* the runtime is shutting down */
    {35, MJ_ERR_NO_DEVICE},                                /* the kernel's driver is too old */
    {100, MJ_ERR_NO_DEVICE},    {101, MJ_ERR_NO_DEVICE},   /* invalid device */
    {200, MJ_ERR_FORMAT},                                  /* invalid image */
    {201, MJ_ERR_DEVICE_LOST},                             /* invalid context */
    {209, MJ_ERR_UNSUPPORTED},                             /* no binary for this GPU */
    {214, MJ_ERR_DEVICE_LOST},                             /* uncorrectable ECC error */
    {218, MJ_ERR_FORMAT},                                  /* invalid kernel file */
    {303, MJ_ERR_FORMAT},                                  /* the code object could not be initialised */
    {500, MJ_ERR_NOT_FOUND},    {700, MJ_ERR_DEVICE_LOST}, /* illegal address */
    {702, MJ_ERR_DEVICE_LOST},                             /* launch timed out */
    {709, MJ_ERR_DEVICE_LOST},                             /* context destroyed */
    {710, MJ_ERR_DEVICE_LOST},                             /* assert */
    {719, MJ_ERR_DEVICE_LOST},                             /* launch failed */
    {801, MJ_ERR_UNSUPPORTED},  {999, MJ_ERR_DEVICE_LOST}, /* unknown */
    {1052, MJ_ERR_DEVICE_LOST},                            /* HSA ran out of memory */
    {1053, MJ_ERR_DEVICE_LOST},                            /* HSA failed */
};

mj_status mj_hip_status(hip_result result)
{
    if (result == HIP_SUCCESS) {
        return MJ_OK;
    }
    for (size_t i = 0; i < sizeof result_rows / sizeof result_rows[0]; i++) {
        if (result_rows[i].result == result) {
            return result_rows[i].status;
        }
    }
    return MJ_ERR_DEVICE;
}

mj_status mj_hip_check(const mj_hip_api *api, hip_result result, const char *what, mj_error *error)
{
    if (result == HIP_SUCCESS) {
        return MJ_OK;
    }
    const char *name = api->error_name(result), *text = api->error_string(result);
    return mj_fail(error, mj_hip_status(result), "%s: %s (%d): %s", what, name ? name : "HIP error", result,
                   text ? text : "no text");
}

static void *open_library(char *name, size_t bytes)
{
    static const char *const places[][2] = {/* variable, tail; no tail: the loader's path */
                                            {"ROCM_PATH", "/lib/"},
                                            {"HIP_PATH", "/lib/"},
                                            {NULL, ""},
                                            {NULL, "/opt/rocm/lib/"}};
    static const char *const names[] = {"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"};
    enum { FLAGS = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };
    const char *given = getenv("MOEJIT_LIBHIP");
    if (given && *given) {
        snprintf(name, bytes, "%s", given);
        return dlopen(name, FLAGS);
    }
    void *library = NULL;
    for (size_t i = 0; i < sizeof places / sizeof places[0] && !library; i++) {
        const char *base = places[i][0] ? getenv(places[i][0]) : "";
        if (!base || (places[i][0] && base[0] != '/')) {
            continue;
        }
        for (size_t k = 0; k < sizeof names / sizeof names[0] && !library; k++) {
            snprintf(name, bytes, "%s%s%s", base, places[i][1], names[k]);
            library = dlopen(name, FLAGS);
        }
    }
    return library;
}

mj_status mj_hip_api_load(mj_hip_api *api, mj_error *error)
{
    char name[4096];
    const char *missing = NULL;
    memset(api, 0, sizeof *api);
    api->library = open_library(name, sizeof name);
    if (!api->library) {
        const char *why = dlerror();
        return mj_fail(error, MJ_ERR_NO_DEVICE, "AMD's HIP runtime is not here: %s", why ? why : name);
    }
    void *found = NULL;
#define HIP_OPTIONAL(field, symbol, arguments) \
    found = dlsym(api->library, symbol); \
    memcpy(&api->field, &found, sizeof found);
#define HIP_FUNCTION(field, symbol, arguments) \
    HIP_OPTIONAL(field, symbol, arguments) \
    missing = !found && !missing ? symbol : missing;
    HIP_FUNCTION(error_name, "hipGetErrorName", )
    HIP_FUNCTION(error_string, "hipGetErrorString", )
#include "hip_api.inc"
#undef HIP_FUNCTION
#undef HIP_OPTIONAL
    found = dlsym(api->library, "hipGetDevicePropertiesR0600"); /* ROCm 6 kept the older one for older programs */
    if (found) {
        memcpy(&api->device_properties, &found, sizeof found);
    }
    if (missing) {
        mj_hip_api_unload(api);
        return mj_fail(error, MJ_ERR_UNSUPPORTED,
                       "AMD's HIP runtime (%s) is too old: it has no %s; ROCm 5.2 or later is needed", name, missing);
    }
    return MJ_OK;
}

void mj_hip_api_unload(mj_hip_api *api)
{
    if (api->library) {
        dlclose(api->library);
    }
    memset(api, 0, sizeof *api);
}
