/* fake_device.h: a device of the test's own: memory is the host's, launches are recorded and run nothing.
 * For the code above backends; the backends have tests of their own. */
#ifndef MOEJIT_FAKE_DEVICE_H
#define MOEJIT_FAKE_DEVICE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw, mkdtemp */
#endif

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "launch.h"

#define FAKE_LAUNCHES_MAX 64

typedef struct fake_state {
    uint32_t launch_count;
    struct {
        const char *kernel; /* the binary's text */
        mj_launch launch;
        unsigned char args[1024]; /* more than any op and its tensor maps take */
        void *stream;
    } launches[FAKE_LAUNCHES_MAX];
    uint32_t kernels_loaded, allocations, sets;
    uint32_t threads_block_max;
    char last_gemm[64]; /* the binary's text, of the last kernel loaded with "gemm" in its symbol */
    mj_status load_status, launch_status, memory_status;
} fake_state;

typedef struct fake_kernel {
    char text[64];
} fake_kernel;

static inline mj_status fake_load(void *device, const void *binary, size_t bytes, const char *symbol,
                                  uint32_t smem_bytes, void **kernel, mj_kernel_attributes *attributes, mj_error *error)
{
    fake_state *state = device;
    fake_kernel *loaded = NULL;
    (void)smem_bytes;
    if (state->load_status != MJ_OK) {
        return mj_fail(error, state->load_status, "load fails as asked");
    }
    loaded = calloc(1, sizeof *loaded);
    memcpy(loaded->text, binary, bytes < sizeof loaded->text - 1 ? bytes : sizeof loaded->text - 1);
    attributes->threads_block_max = state->threads_block_max;
    if (strstr(symbol, "gemm")) {
        memcpy(state->last_gemm, loaded->text, sizeof state->last_gemm);
    }
    *kernel = loaded;
    state->kernels_loaded++;
    return MJ_OK;
}

static inline void fake_unload(void *device, void *kernel)
{
    ((fake_state *)device)->kernels_loaded--;
    free(kernel);
}

static inline mj_status fake_launch(void *device, void *kernel, const mj_launch *launch, void *stream, mj_error *error)
{
    fake_state *state = device;
    if (state->launch_status != MJ_OK) {
        return mj_fail(error, state->launch_status, "launch fails as asked");
    }
    uint32_t at = state->launch_count++ % FAKE_LAUNCHES_MAX;
    state->launches[at].kernel = ((fake_kernel *)kernel)->text;
    state->launches[at].launch = *launch;
    if (launch->args_bytes > sizeof state->launches[at].args) {
        return mj_fail(error, MJ_ERR_CAPACITY, "the fake device keeps fewer bytes of arguments");
    }
    memcpy(state->launches[at].args, launch->args, launch->args_bytes);
    state->launches[at].stream = stream;
    return MJ_OK;
}

static inline mj_status fake_alloc(void *device, size_t bytes, void **out, mj_error *error)
{
    fake_state *state = device;
    if (state->memory_status != MJ_OK) {
        return mj_fail(error, state->memory_status, "allocation fails as asked");
    }
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*out, 0xcd, bytes);
    state->allocations++;
    return MJ_OK;
}

static inline void fake_free(void *device, void *pointer)
{
    ((fake_state *)device)->allocations--;
    free(pointer);
}

static inline mj_status fake_set(void *device, void *to, int value, size_t bytes, void *stream, mj_error *error)
{
    (void)stream, (void)error;
    ((fake_state *)device)->sets++;
    memset(to, value, bytes);
    return MJ_OK;
}

static inline mj_status fake_copy(void *device, void *to, const void *from, size_t bytes, void *stream, mj_error *error)
{
    (void)device, (void)stream, (void)error;
    memcpy(to, from, bytes);
    return MJ_OK;
}

static inline mj_status fake_sync(void *device, void *stream, mj_error *error)
{
    (void)device, (void)stream, (void)error;
    return MJ_OK;
}

static inline mj_status fake_compiler(void *state, char *out, size_t bytes, mj_error *error)
{
    (void)state, (void)error;
    snprintf(out, bytes, "fakecc 1.0");
    return MJ_OK;
}

static const mj_backend fake_backend = {
    .name = "fake",
    .compiler_identity = fake_compiler,
    .kernel_load = fake_load,
    .kernel_unload = fake_unload,
    .kernel_launch = fake_launch,
    .memory_alloc = fake_alloc,
    .memory_free = fake_free,
    .memory_upload = fake_copy,
    .memory_download = fake_copy,
    .memory_set = fake_set,
    .stream_sync = fake_sync,
};

static inline mj_device fake_device(mj_context *context, fake_state *state)
{
    mj_device device = {.context = context, .backend = &fake_backend, .handle = state};
    snprintf(device.info.id, sizeof device.info.id, "fake:0");
    snprintf(device.info.name, sizeof device.info.name, "Fake One");
    snprintf(device.info.arch, sizeof device.info.arch, "sm_90a");
    snprintf(device.info.driver, sizeof device.info.driver, "fake 1");
    snprintf(device.info.compiler, sizeof device.info.compiler, "fakecc 1.0");
    device.info.sm_count = 4;
    device.info.memory_bytes = 1 << 30;
    device.info.smem_block_bytes_max = 200 * 1024;
    return device;
}

/* A manifest that passes every check; `family` and `tile` tell kernels apart. */
static inline mj_manifest fake_manifest(const mj_problem *problem, mj_op op, const char *family, int32_t tile)
{
    mj_manifest manifest = {.op = op, .problem = *problem, .block_threads = 128, .pointer_align_bytes = 16};
    uint32_t count = 0, end = 0;
    const mj_arg *args = mj_op_args(op, &count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = mj_arg_bytes(args[i]);
        end = (end + bytes - 1) / bytes * bytes + bytes;
    }
    manifest.args_bytes = (end + 7) / 8 * 8;
    snprintf(manifest.symbol, sizeof manifest.symbol, "mj_%s_%s_%d", mj_op_name(op), family, (int)tile);
    snprintf(manifest.family, sizeof manifest.family, "%s", family);
    snprintf(manifest.arch, sizeof manifest.arch, "sm_90a");
    snprintf(manifest.compile_target, sizeof manifest.compile_target, "sm_90a");
    manifest.grid = (mj_grid_rule){MJ_GRID_PAIRS, 1, 1, 0};
    manifest.tiles_per_row_tile = 1;
    mj_config_set(&manifest.config, "tile_m", tile, NULL);
    mj_sha256_hex(&tile, sizeof tile, manifest.source_sha256);
    return manifest;
}

/* A fresh folder under TMPDIR. */
static inline char *fake_folder(char *out, size_t bytes)
{
    const char *root = getenv("TMPDIR");
    snprintf(out, bytes, "%s/mjtest.XXXXXX", root && root[0] ? root : "/tmp");
    return mkdtemp(out);
}

typedef struct fake_log { /* every line at level <= 1 */
    char text[65536];
    size_t bytes;
} fake_log;

static inline void fake_log_line(void *user, int level, const char *line)
{
    fake_log *log = user;
    (void)level;
    int wrote = snprintf(log->text + log->bytes, sizeof log->text - log->bytes, "%s\n", line);
    if (wrote > 0 && log->bytes + (size_t)wrote < sizeof log->text) {
        log->bytes += (size_t)wrote;
    }
}

#endif
