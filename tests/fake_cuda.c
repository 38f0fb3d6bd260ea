/* fake_cuda.c: a driver library without a GPU. Device memory is host memory; kernels are counted, not run. */
#define _GNU_SOURCE
#include "fake_cuda.h"

#include <stdint.h>

#include "fake_script.h"

enum { STACK_MAX = 16, TOTAL_MIB = 1024 };
enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NOT_FOUND = 500,
    CAPTURING = 900
};

typedef struct fake_stream {
    int capturing;
    long captured;
} fake_stream;
typedef struct fake_event {
    double ms;
} fake_event;
typedef struct fake_graph {
    long launches;
} fake_graph;

static struct {
    int devices, mode, capability, free_mib, retained[8];
    long graph_launches, smem, argument, early, stream_flags;
    double clock_ms;
} fake;
static char contexts[8]; /* their addresses are the contexts */
static __thread const void *stack[STACK_MAX];
static __thread int stack_count;

static const char *fake_variable(void)
{
    return "FAKE_CUDA";
}

static const fake_setting *fake_settings(void)
{
    static const fake_setting settings[] = {{"devices", &fake.devices},
                                            {"mode", &fake.mode},
                                            {"capability", &fake.capability},
                                            {"free_mib", &fake.free_mib},
                                            {NULL, NULL}};
    return settings;
}

static void fake_defaults(void)
{
    fake.devices = 1;
    fake.mode = 0;
    fake.capability = 90;
    fake.free_mib = TOTAL_MIB;
    fake.graph_launches = fake.smem = fake.argument = fake.early = fake.stream_flags = 0;
}

EXPORT void fake_cuda_reset(void)
{
    fake_reset();
}

EXPORT int fake_cuda_script(const char *script)
{
    return fake_script(script);
}

EXPORT long fake_cuda_count(const char *name)
{
    const struct {
        const char *name;
        long value;
    } values[] = {{"live", script_state.live},        {"pushed", stack_count}, {"smem", fake.smem},
                  {"argument", fake.argument},        {"early", fake.early},   {"graph_launches", fake.graph_launches},
                  {"stream_flags", fake.stream_flags}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(name, values[i].name) == 0) {
            return values[i].value;
        }
    }
    return fake_calls(name);
}

/* needs: a context must be current */
static int begin(const char *function, int needs)
{
    int result = fake_call(function, needs);
    return result == 0 && needs && stack_count == 0 ? INVALID_CONTEXT : result;
}

#define ENTER(needs) \
    int result = begin(__func__, needs); \
    if (result != 0) { \
        return result; \
    }

/* ---- Devices and contexts ---- */
EXPORT int cuInit(unsigned flags)
{
    ENTER(0) return flags ? INVALID_VALUE : 0;
}
EXPORT int cuDriverGetVersion(int *version)
{
    ENTER(0) *version = 13000;
    return 0;
}
EXPORT int cuGetErrorName(int code, const char **text)
{
    *text = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return 0;
}
EXPORT int cuGetErrorString(int code, const char **text)
{
    *text = "a fake driver's text";
    return code == 999 ? INVALID_VALUE : 0;
}
EXPORT int cuDeviceGetCount(int *count)
{
    ENTER(0) *count = fake.devices;
    return 0;
}
EXPORT int cuDeviceGet(int *device, int ordinal)
{
    ENTER(0)
    *device = ordinal;
    return ordinal < 0 || ordinal >= fake.devices ? INVALID_DEVICE : 0;
}
EXPORT int cuDeviceGetName(char *name, int bytes, int device)
{
    ENTER(0) snprintf(name, (size_t)bytes, "Fake GPU %d", device);
    return 0;
}
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    ENTER(0)(void) device;
    *bytes = (size_t)TOTAL_MIB << 20;
    return 0;
}
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    ENTER(0)
    (void)device;
    *value = attribute == 13   ? 1980000
             : attribute == 16 ? 132
             : attribute == 20 ? fake.mode
             : attribute == 38 ? 50 << 20
             : attribute == 75 ? fake.capability / 10
             : attribute == 76 ? fake.capability % 10
             : attribute == 97 ? 232448
                               : 0;
    return 0;
}
EXPORT int cuDevicePrimaryCtxRetain(void **context, int device)
{
    ENTER(0)
    script_state.live++;
    fake.retained[device]++;
    *context = &contexts[device];
    return 0;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device)
{
    ENTER(0) script_state.live--;
    fake.retained[device]--;
    return 0;
}
EXPORT int cuCtxGetCurrent(const void **context)
{
    ENTER(0) *context = stack_count ? stack[stack_count - 1] : NULL;
    return 0;
}
EXPORT int cuCtxPushCurrent_v2(const void *context)
{
    ENTER(0)
    if (!context || stack_count == STACK_MAX) {
        return INVALID_CONTEXT;
    }
    stack[stack_count++] = context;
    return 0;
}
EXPORT int cuCtxPopCurrent_v2(const void **context)
{
    ENTER(0)
    if (stack_count == 0) {
        return INVALID_CONTEXT;
    }
    *context = stack[--stack_count];
    return 0;
}

/* ---- Kernels ---- */
EXPORT int cuModuleLoadData(void **module, const void *image)
{
    ENTER(1)
    if (memcmp(image, "\177ELF", 4) != 0) {
        return 200;
    }
    *module = make(1);
    return 0;
}
EXPORT int cuModuleUnload(void *module)
{
    ENTER(1) return drop(module);
}
EXPORT int cuModuleGetFunction(void **function, void *module, const char *name)
{
    ENTER(1)
    *function = module;
    return strncmp(name, "absent", 6) == 0 ? NOT_FOUND : 0;
}
EXPORT int cuFuncGetAttribute(int *value, int attribute, void *function)
{
    ENTER(1)
    (void)function;
    *value = attribute == 0 ? 1024 : attribute == 1 ? 16 : attribute == 3 ? 8 : attribute == 4 ? 40 : 0;
    return 0;
}
EXPORT int cuFuncSetAttribute(void *function, int attribute, int value)
{
    ENTER(1)
    (void)function;
    fake.smem = value;
    return attribute != 8 || value > 232448 ? INVALID_VALUE : 0;
}
static int launch(void *function, const unsigned grid[3], const unsigned block[3], fake_stream *stream, void **params,
                  void **extra)
{
    if (!function || !params || extra || !grid[0] || grid[1] != 1 || grid[2] != 1 || block[0] > 1024 || block[1] != 1 ||
        block[2] != 1) {
        return INVALID_VALUE;
    }
    int word = 0;
    memcpy(&word, params[0], sizeof word);
    fake.argument = word;
    fake.clock_ms += 0.25;
    if (stream && stream->capturing) {
        stream->captured++;
    }
    return 0;
}
EXPORT int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned smem, fake_stream *stream, void **params, void **extra)
{
    ENTER(1)
    (void)smem;
    return launch(function, (const unsigned[]){gx, gy, gz}, (const unsigned[]){bx, by, bz}, stream, params, extra);
}
#ifndef FAKE_CUDA_11           /* CUDA 12 brought both */
typedef struct launch_config { /* CUlaunchConfig */
    unsigned grid[3], block[3], smem;
    fake_stream *stream;
    const struct { /* CUlaunchAttribute */
        int id;
        char pad[4];
        union {
            char all[64];
            int number;
        } value;
    } * attributes;
    unsigned attribute_count;
} launch_config;

EXPORT int cuLaunchKernelEx(const launch_config *config, void *function, void **params, void **extra)
{
    ENTER(1)
    const int programmatic_stream_serialization = 6;
    fake.early = 0;
    for (unsigned i = 0; i < config->attribute_count; i++) {
        if (config->attributes[i].id != programmatic_stream_serialization) {
            return INVALID_VALUE;
        }
        fake.early = config->attributes[i].value.number;
    }
    return launch(function, config->grid, config->block, config->stream, params, extra);
}

/* The driver's limits; then the map is: address, elements, rows, bytes of a row, type, swizzle, elements and rows of a box, rank,
 * then of each further dimension its stride, and 1000 times its size and the box's. */
EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, const void *address,
                                  const unsigned long long *dims, const unsigned long long *strides,
                                  const unsigned *box, const unsigned *steps, int interleave, int swizzle,
                                  int l2_promotion, int fill)
{
    ENTER(1)
    const unsigned long long wide = 1ULL << 32, element = type == 0 ? 1 : 2, spans[] = {256 * element, 32, 64, 128};
    int good = (uintptr_t)map % 64 == 0 && rank >= 2 && rank <= 5 && (type == 0 || type == 1) &&
               (uintptr_t)address % 16 == 0 && address && interleave == 0 && swizzle >= 0 && swizzle <= 3 &&
               l2_promotion >= 0 && l2_promotion <= 3 && fill == 0 && box[0] * element % 16 == 0;
    for (unsigned i = 0; good && i < rank; i++) {
        good = dims[i] > 0 && dims[i] <= wide && box[i] >= 1 && box[i] <= 256 && steps[i] == 1 &&
               (i == 0 || (strides[i - 1] % 16 == 0 && strides[i - 1] < wide << 8));
    }
    if (!good || box[0] * element > spans[swizzle]) {
        return INVALID_VALUE;
    }
    unsigned long long words[16] = {(uintptr_t)address,          dims[0], dims[1], strides[0], (unsigned long long)type,
                                    (unsigned long long)swizzle, box[0],  box[1],  rank};
    for (unsigned i = 2; i < rank; i++) {
        words[5 + 2 * i] = strides[i - 1];
        words[6 + 2 * i] = dims[i] * 1000 + box[i];
    }
    memcpy(map, words, sizeof words);
    return 0;
}
#endif

/* ---- Memory ---- */
EXPORT int cuMemAlloc_v2(unsigned long long *out, size_t bytes)
{
    ENTER(1)
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (bytes > (size_t)fake.free_mib << 20) {
        return OUT_OF_MEMORY;
    }
    *out = (uintptr_t)make(bytes);
    return 0;
}
EXPORT int cuMemFree_v2(unsigned long long pointer)
{
    ENTER(1) return drop((void *)(uintptr_t)pointer);
}
EXPORT int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream)
{
    ENTER(1)
    (void)stream;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return 0;
}
EXPORT int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream)
{
    ENTER(1)
    (void)stream;
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return 0;
}
EXPORT int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *stream)
{
    ENTER(1)
    (void)stream;
    memset((void *)(uintptr_t)to, value, bytes);
    return 0;
}
EXPORT int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    ENTER(1)
    *free_bytes = (size_t)fake.free_mib << 20;
    *total_bytes = (size_t)TOTAL_MIB << 20;
    return 0;
}

/* ---- Streams, events, graphs ---- */
EXPORT int cuStreamCreate(void **stream, unsigned flags)
{
    ENTER(1) fake.stream_flags = (long)flags;
    *stream = make(sizeof(fake_stream));
    return 0;
}
EXPORT int cuStreamDestroy_v2(void *stream)
{
    ENTER(1) return drop(stream);
}
EXPORT int cuStreamSynchronize(fake_stream *stream)
{
    ENTER(1) return stream && stream->capturing ? CAPTURING : 0;
}
EXPORT int cuEventCreate(void **event, unsigned flags)
{
    ENTER(1)(void) flags;
    *event = make(sizeof(fake_event));
    return 0;
}
EXPORT int cuEventDestroy_v2(void *event)
{
    ENTER(1) return drop(event);
}
EXPORT int cuEventRecord(fake_event *event, void *stream)
{
    ENTER(1)(void) stream;
    event->ms = fake.clock_ms;
    return 0;
}
EXPORT int cuEventSynchronize(void *event)
{
    ENTER(1) return event ? 0 : INVALID_VALUE;
}
/* Only the newer name: the backend must find it as its second choice. */
EXPORT int cuEventElapsedTime_v2(float *ms, const fake_event *start, const fake_event *stop)
{
    ENTER(1)
    *ms = (float)(stop->ms - start->ms);
    return 0;
}
EXPORT int cuStreamBeginCapture_v2(fake_stream *stream, int mode)
{
    ENTER(1)
    if (!stream || stream->capturing || mode < 0 || mode > 2) {
        return CAPTURING;
    }
    stream->capturing = 1;
    stream->captured = 0;
    return 0;
}
EXPORT int cuStreamEndCapture(fake_stream *stream, fake_graph **graph)
{
    ENTER(1)
    *graph = NULL;
    if (!stream || !stream->capturing) {
        return CAPTURING;
    }
    stream->capturing = 0;
    *graph = make(sizeof **graph);
    (*graph)->launches = stream->captured;
    return 0;
}
#ifndef FAKE_CUDA_OLD
EXPORT int cuGraphInstantiateWithFlags(fake_graph **executable, const fake_graph *graph, unsigned long long flags)
{
    ENTER(1)
    (void)flags;
    *executable = make(sizeof **executable);
    **executable = *graph;
    return 0;
}
#endif
EXPORT int cuGraphUpload(void *executable, void *stream)
{
    ENTER(1)(void) stream;
    return executable ? 0 : INVALID_VALUE;
}
EXPORT int cuGraphLaunch(const fake_graph *executable, void *stream)
{
    ENTER(1)
    (void)stream;
    fake.graph_launches += executable->launches;
    fake.clock_ms += 0.25 * (double)executable->launches;
    return 0;
}
EXPORT int cuGraphDestroy(void *graph)
{
    ENTER(1) return drop(graph);
}
EXPORT int cuGraphExecDestroy(void *executable)
{
    ENTER(1) return drop(executable);
}
