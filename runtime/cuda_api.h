/* cuda_api.h: NVIDIA's driver interface as far as it is used, declared here so that no SDK is needed.
 *
 * cuda_api.inc lists the functions; cuda_api.c loads them and translates results. Only
 * backend_cuda*.c and the tests' fake driver include this. */
#ifndef MOEJIT_CUDA_API_H
#define MOEJIT_CUDA_API_H

#include "moejit_types.h"

typedef int cu_result; /* 0: success */
typedef int cu_device;
typedef unsigned long long cu_pointer;
typedef struct cu_context_object *cu_context;
typedef struct cu_module_object *cu_module;
typedef struct cu_function_object *cu_function;
typedef struct cu_stream_object *cu_stream;
typedef struct cu_event_object *cu_event;
typedef struct cu_graph_object *cu_graph;
typedef struct cu_graph_exec_object *cu_graph_exec;

enum { /* results that the code itself looks at; cuda_api.c has the table of the others */
       CU_SUCCESS = 0,
       CU_OUT_OF_MEMORY = 2,
       CU_NO_DEVICE = 100,
       CU_ILLEGAL_ADDRESS = 700
};

enum { /* device attributes */
       CU_CLOCK_RATE_KHZ = 13,
       CU_MULTIPROCESSOR_COUNT = 16,
       CU_COMPUTE_MODE = 20,
       CU_L2_CACHE_BYTES = 38,
       CU_CAPABILITY_MAJOR = 75,
       CU_CAPABILITY_MINOR = 76,
       CU_SMEM_BLOCK_OPTIN_BYTES = 97
};
enum { CU_COMPUTE_MODE_PROHIBITED = 2 };

enum { /* function attributes */
       CU_FUNC_THREADS_BLOCK_MAX = 0,
       CU_FUNC_STATIC_SMEM_BYTES = 1,
       CU_FUNC_LOCAL_BYTES = 3,
       CU_FUNC_REGS = 4,
       CU_FUNC_DYNAMIC_SMEM_MAX = 8
};

enum { CU_STREAM_NON_BLOCKING = 1, CU_STREAM_CAPTURE_RELAXED = 2, CU_SMEM_DEFAULT_MAX = 48 * 1024 };

/* CUlaunchConfig and CUlaunchAttribute of cuda.h, with the one attribute in use. */
typedef struct cu_launch_attribute {
    int id;
    int pad;
    union {
        int programmatic_stream_serialization;
        char bytes[64];
    } value;
} cu_launch_attribute;
enum { CU_LAUNCH_PROGRAMMATIC_SERIALIZATION = 6 };

typedef struct cu_launch_config {
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, smem_bytes;
    cu_stream stream;
    cu_launch_attribute *attributes;
    unsigned attribute_count;
} cu_launch_config;

enum { /* tensor maps */
       CU_TENSOR_MAP_UINT8 = 0,
       CU_TENSOR_MAP_UINT16 = 1,
       CU_TENSOR_MAP_L2_PROMOTION_128B = 2
};

typedef struct mj_cuda_api {
    void *library;
#define CUDA_FUNCTION(field, symbol, fallback, arguments) cu_result(*field) arguments;
#define CUDA_OPTIONAL(field, symbol, arguments)           cu_result(*field) arguments;
#include "cuda_api.inc"
#undef CUDA_OPTIONAL
#undef CUDA_FUNCTION
} mj_cuda_api;

/* Loads $MOEJIT_LIBCUDA, else libcuda.so.1. MJ_ERR_NO_DEVICE: there is none; MJ_ERR_UNSUPPORTED: it is
 * too old, the function that it lacks is named. */
mj_status mj_cuda_api_load(mj_cuda_api *api, mj_error *error);
void mj_cuda_api_unload(mj_cuda_api *api);

/* A driver's result as a status, MJ_OK for 0. */
mj_status mj_cuda_status(cu_result result);
/* The same, with "what: CUDA_ERROR_X: its text" in `error` on failure. */
mj_status mj_cuda_check(const mj_cuda_api *api, cu_result result, const char *what, mj_error *error);

#endif
