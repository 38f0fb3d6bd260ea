/* fake_hip.c: a HIP runtime without a GPU. Device memory is host memory; kernels are counted, not run. */
#define _GNU_SOURCE
#include "fake_hip.h"

#include <stdint.h>

#include "fake_script.h"

enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_FOUND = 500, CAPTURING = 900 };
enum { DEVICES_MAX = 4, TOTAL_MIB = 1024 };

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
    int devices, mode, free_mib, arch, archs[DEVICES_MAX];
    long argument, argument_bytes, dynamic_bytes, graph_launches, stream_flags;
    double clock_ms;
} fake;
static __thread int current_device;

static const char *fake_variable(void)
{
    return "FAKE_HIP";
}

static const fake_setting *fake_settings(void)
{
    static const fake_setting settings[] = {
        {"devices", &fake.devices},
        {"mode", &fake.mode},
        {"free_mib", &fake.free_mib},
        {"arch", &fake.arch},
        {"arch1", &fake.archs[1]},
        {"arch2", &fake.archs[2]},
        {NULL, NULL},
    };
    return settings;
}

static void fake_defaults(void)
{
    memset(&fake, 0, sizeof fake);
    fake.devices = 1;
    fake.free_mib = TOTAL_MIB;
    fake.arch = 942;
}

EXPORT void fake_hip_reset(void)
{
    fake_reset();
}
EXPORT int fake_hip_script(const char *text)
{
    return fake_script(text);
}
EXPORT long fake_hip_count(const char *name)
{
    const struct {
        const char *name;
        long value;
    } values[] = {{"live", script_state.live},           {"device", current_device},
                  {"argument", fake.argument},           {"argument_bytes", fake.argument_bytes},
                  {"dynamic_bytes", fake.dynamic_bytes}, {"graph_launches", fake.graph_launches},
                  {"stream_flags", fake.stream_flags}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (strcmp(name, values[i].name) == 0) {
            return values[i].value;
        }
    }
    return fake_calls(name);
}

#define ENTER(on_device) \
    int result = fake_call(__func__, on_device); \
    if (result != 0) { \
        return result; \
    }

/* ---- Devices ---- */
EXPORT int hipInit(unsigned flags)
{
    ENTER(0) return flags ? INVALID_VALUE : 0;
}
EXPORT int hipRuntimeGetVersion(int *version)
{
    ENTER(0) *version = 60443484;
    return 0;
}
EXPORT const char *hipGetErrorName(int code)
{
    return code == 700 ? "hipErrorIllegalAddress" : code == 2 ? "hipErrorOutOfMemory" : "hipErrorFake";
}
EXPORT const char *hipGetErrorString(int code)
{
    return code == 999 ? NULL : "a fake runtime's text";
}
EXPORT int hipGetDeviceCount(int *count)
{
    ENTER(0) *count = fake.devices;
    return fake.devices ? 0 : NO_DEVICE;
}
EXPORT int hipDeviceGetName(char *name, int bytes, int device)
{
    ENTER(0) snprintf(name, (size_t)bytes, "Fake gfx9 card %d", device);
    return 0;
}
EXPORT int hipDeviceTotalMem(size_t *bytes, int device)
{
    ENTER(0)(void) device;
    *bytes = (size_t)TOTAL_MIB << 20;
    return 0;
}
EXPORT int hipDeviceGetAttribute(int *value, int attribute, int device)
{
    ENTER(0)
    (void)device;
    *value = attribute == 5    ? 2100000
             : attribute == 6  ? fake.mode
             : attribute == 19 ? 4 << 20
             : attribute == 63 ? 304
             : attribute == 74 ? 65536
                               : 0;
    return 0;
}
static int write_properties(char *properties, size_t bytes, size_t arch_at, int device)
{
    if (device < 0 || device >= fake.devices) {
        return INVALID_DEVICE;
    }
    int arch = device < DEVICES_MAX && fake.archs[device] ? fake.archs[device] : fake.arch;
    memset(properties, 0, bytes);
    snprintf(properties, 256, "gfx000: a name that looks like an arch %d", device);
    if (arch > 0) {
        snprintf(properties + arch_at, 256, "gfx%d%s%s", arch, arch == 90 ? "a" : "",
                 arch < 1000 ? ":sramecc+:xnack-" : "");
    }
    return 0;
}
/* ROCm 6 keeps the older struct under this name. */
EXPORT int hipGetDeviceProperties(void *properties, int device)
{
    ENTER(0) return write_properties(properties, 792, 396, device);
}
#ifndef FAKE_HIP_5
EXPORT int hipGetDevicePropertiesR0600(void *properties, int device)
{
    ENTER(0) return write_properties(properties, 1472, 1160, device);
}
EXPORT int hipGraphUpload(void *executable, void *stream)
{
    ENTER(1)(void) stream;
    return executable ? 0 : INVALID_VALUE;
}
#endif
EXPORT int hipGetDevice(int *device)
{
    ENTER(0) *device = current_device;
    return 0;
}
EXPORT int hipSetDevice(int device)
{
    ENTER(0)
    if (device < 0 || device >= fake.devices) {
        return INVALID_DEVICE;
    }
    current_device = device;
    return 0;
}

/* ---- Kernels ---- */
EXPORT int hipModuleLoadData(void **module, const void *image)
{
    ENTER(1)
    if (memcmp(image, "\177ELF", 4) != 0 && memcmp(image, "__CLANG_OFFLOAD_BUNDLE__", 24) != 0) {
        return 200;
    }
    *module = make(1);
    return 0;
}
EXPORT int hipModuleUnload(void *module)
{
    ENTER(1) return drop(module);
}
EXPORT int hipModuleGetFunction(void **function, void *module, const char *name)
{
    ENTER(1)
    *function = module;
    return strncmp(name, "absent", 6) == 0 ? NOT_FOUND : 0;
}
EXPORT int hipModuleLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                 unsigned bz, unsigned smem, fake_stream *stream, void **params, void **extra)
{
    ENTER(1)
    size_t bytes = 0;
    if (!function || params || !extra || !gx || gy != 1 || gz != 1 || bx > 1024 || by != 1 || bz != 1 || smem > 65536) {
        return INVALID_VALUE;
    }
    if (extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != (void *)3) {
        return INVALID_VALUE;
    }
    memcpy(&bytes, extra[3], sizeof bytes);
    int word = 0;
    memcpy(&word, extra[1], bytes < sizeof word ? bytes : sizeof word);
    fake.argument = word;
    fake.argument_bytes = (long)bytes;
    fake.dynamic_bytes = (long)smem;
    fake.clock_ms += 0.25;
    if (stream && stream->capturing) {
        stream->captured++;
    }
    return 0;
}

/* ---- Memory ---- */
EXPORT int hipMalloc(void **out, size_t bytes)
{
    ENTER(1)
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (bytes > (size_t)fake.free_mib << 20) {
        return OUT_OF_MEMORY;
    }
    *out = make(bytes);
    return 0;
}
EXPORT int hipFree(void *pointer)
{
    ENTER(1) return drop(pointer);
}
EXPORT int hipMemcpyHtoDAsync(void *to, const void *from, size_t bytes, void *stream)
{
    ENTER(1)
    (void)stream;
    memcpy(to, from, bytes);
    return 0;
}
EXPORT int hipMemcpyDtoHAsync(void *to, const void *from, size_t bytes, void *stream)
{
    ENTER(1)
    (void)stream;
    memcpy(to, from, bytes);
    return 0;
}
EXPORT int hipMemsetAsync(void *to, int value, size_t bytes, void *stream)
{
    ENTER(1)
    (void)stream;
    memset(to, value, bytes);
    return 0;
}
EXPORT int hipMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    ENTER(1)
    *free_bytes = (size_t)fake.free_mib << 20;
    *total_bytes = (size_t)TOTAL_MIB << 20;
    return 0;
}

/* ---- Streams, events, graphs ---- */
EXPORT int hipStreamCreateWithFlags(void **stream, unsigned flags)
{
    ENTER(1) fake.stream_flags = (long)flags;
    *stream = make(sizeof(fake_stream));
    return 0;
}
EXPORT int hipStreamDestroy(void *stream)
{
    ENTER(1) return drop(stream);
}
EXPORT int hipStreamSynchronize(fake_stream *stream)
{
    ENTER(1) return stream && stream->capturing ? CAPTURING : 0;
}
EXPORT int hipEventCreateWithFlags(void **event, unsigned flags)
{
    ENTER(1)(void) flags;
    *event = make(sizeof(fake_event));
    return 0;
}
EXPORT int hipEventDestroy(void *event)
{
    ENTER(1) return drop(event);
}
EXPORT int hipEventRecord(fake_event *event, void *stream)
{
    ENTER(1)(void) stream;
    event->ms = fake.clock_ms;
    return 0;
}
EXPORT int hipEventSynchronize(void *event)
{
    ENTER(1) return event ? 0 : INVALID_VALUE;
}
EXPORT int hipEventElapsedTime(float *ms, const fake_event *start, const fake_event *stop)
{
    ENTER(1)
    *ms = (float)(stop->ms - start->ms);
    return 0;
}
EXPORT int hipStreamBeginCapture(fake_stream *stream, int mode)
{
    ENTER(1)
    if (!stream || stream->capturing || mode < 0 || mode > 2) {
        return CAPTURING;
    }
    stream->capturing = 1;
    stream->captured = 0;
    return 0;
}
EXPORT int hipStreamEndCapture(fake_stream *stream, fake_graph **graph)
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
#ifndef FAKE_HIP_OLD
EXPORT int hipGraphInstantiateWithFlags(fake_graph **executable, const fake_graph *graph, unsigned long long flags)
{
    ENTER(1)
    (void)flags;
    *executable = make(sizeof **executable);
    **executable = *graph;
    return 0;
}
#endif
EXPORT int hipGraphLaunch(const fake_graph *executable, void *stream)
{
    ENTER(1)
    (void)stream;
    fake.graph_launches += executable->launches;
    fake.clock_ms += 0.25 * (double)executable->launches;
    return 0;
}
EXPORT int hipGraphDestroy(void *graph)
{
    ENTER(1) return drop(graph);
}
EXPORT int hipGraphExecDestroy(void *executable)
{
    ENTER(1) return drop(executable);
}
