/* hip_api.h: AMD's HIP runtime as far as it is used, declared here so that no SDK is needed.
 *
 * hip_api.inc lists the functions; hip_api.c loads them and translates results. Only backend_hip*.c and the tests' fake
 * runtime include this. */
#ifndef MOEJIT_HIP_API_H
#define MOEJIT_HIP_API_H

#include "moejit_types.h"

typedef int hip_result; /* 0: success */
typedef struct hip_module_object *hip_module;
typedef struct hip_function_object *hip_function;
typedef struct hip_stream_object *hip_stream;
typedef struct hip_event_object *hip_event;
typedef struct hip_graph_object *hip_graph;
typedef struct hip_graph_exec_object *hip_graph_exec;

enum { /* results that the code itself looks at; hip_api.c has the table of the others */
       HIP_SUCCESS = 0,
       HIP_NO_DEVICE = 100
};

enum { /* device attributes: the same in ROCm 5 and 6 */
       HIP_CLOCK_RATE_KHZ = 5,
       HIP_COMPUTE_MODE = 6,
       HIP_L2_CACHE_BYTES = 19,
       HIP_MULTIPROCESSOR_COUNT = 63,
       HIP_SMEM_BLOCK_BYTES = 74
};
enum { HIP_COMPUTE_MODE_PROHIBITED = 2, HIP_STREAM_NON_BLOCKING = 1, HIP_STREAM_CAPTURE_RELAXED = 2 };

enum { /* hipDeviceProp_t: 792 bytes in ROCm 5, 1472 in ROCm 6, with the GPU's architecture in different places */
       HIP_PROPERTIES_NAME_BYTES = 256,
       HIP_PROPERTIES_BYTES_MAX = 16384
};

/* hipModuleLaunchKernel's `extra`: the arguments as one block of memory. */
#define HIP_LAUNCH_BUFFER       ((void *)1)
#define HIP_LAUNCH_BUFFER_BYTES ((void *)2)
#define HIP_LAUNCH_END          ((void *)3)

typedef struct mj_hip_api {
    void *library;
    const char *(*error_name)(hip_result result);
    const char *(*error_string)(hip_result result);
#define HIP_FUNCTION(field, symbol, arguments) hip_result(*field) arguments;
#define HIP_OPTIONAL                           HIP_FUNCTION
#include "hip_api.inc"
#undef HIP_OPTIONAL
#undef HIP_FUNCTION
} mj_hip_api;

/* Loads $MOEJIT_LIBHIP, else libamdhip64.so of ROCM_PATH, HIP_PATH, the loader's path, /opt/rocm. MJ_ERR_NO_DEVICE: there
 * is none; MJ_ERR_UNSUPPORTED: it is too old, the function that it lacks is named. */
mj_status mj_hip_api_load(mj_hip_api *api, mj_error *error);
void mj_hip_api_unload(mj_hip_api *api);

/* A result as a status, MJ_OK for 0. */
mj_status mj_hip_status(hip_result result);
/* The same, with "what: hipErrorX (n): its text" in `error` on failure. */
mj_status mj_hip_check(const mj_hip_api *api, hip_result result, const char *what, mj_error *error);

#endif
