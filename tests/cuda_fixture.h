/* cuda_fixture.h: the cuda backend on a scripted driver, for tests of what it asks of the driver and of the libraries beside it. */
#ifndef MOEJIT_CUDA_FIXTURE_H
#define MOEJIT_CUDA_FIXTURE_H

#include "check.h"
#include "context.h"
#include "cuda_api.h"
#include "fake_cuda.h"

#include <dlfcn.h>

#define FAKE       MJ_TEST_BUILD_DIR "/tests/libfake_cuda.so"
#define FAKE_NVRTC MJ_TEST_BUILD_DIR "/tests/libfake_nvrtc.so"

static fake_cuda_reset_fn fake_reset;
static fake_cuda_script_fn fake_script;
static fake_cuda_count_fn fake_count;

static const mj_backend *const cuda = &mj_backend_cuda;

typedef struct fixture { /* an open device on the fake driver */
    mj_context *context;
    void *state, *device;
    mj_error error;
} fixture;

static inline void open_state(fixture *f, const char *library)
{
    mj_context_options options = {.cache_dir = "/nonexistent", .store_dir = "/nonexistent", .nvrtc_path = FAKE_NVRTC};
    memset(f, 0, sizeof *f);
    setenv("MOEJIT_LIBCUDA", library, 1);
    if (mj_context_create(&options, &f->context, &f->error) != MJ_OK ||
        cuda->open(f->context, &f->state, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
}

static inline void open_device(fixture *f)
{
    fake_reset();
    open_state(f, FAKE);
    if (cuda->device_open(f->state, 0, &f->device, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
}

static inline void close_all(fixture *f)
{
    if (f->device) {
        cuda->device_close(f->device);
    }
    cuda->close(f->state);
    mj_context_destroy(f->context);
}

/* The library that holds the script, to be closed at the end; NULL, with the reason printed: it cannot be loaded. */
static inline void *open_fake_driver(void)
{
    void *library = dlopen(FAKE, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    fake_reset = (fake_cuda_reset_fn)dlsym(library, "fake_cuda_reset");
    fake_script = (fake_cuda_script_fn)dlsym(library, "fake_cuda_script");
    fake_count = (fake_cuda_count_fn)dlsym(library, "fake_cuda_count");
    return library;
}

#endif
