/* device_fixture.h: cases that run on the cpu everywhere and on cuda:0 where there is one.
 *
 *     static void body(const char *id) { ... }
 *     ON_EACH(body)                         makes the cases body_cpu and body_cuda
 *     RUN(body_cpu); RUN(body_cuda);
 * A machine with a GPU that cannot be used fails those cases: tests/skips.txt expects them to run there. */
#ifndef MOEJIT_DEVICE_FIXTURE_H
#define MOEJIT_DEVICE_FIXTURE_H

#include "check.h"
#include "context.h"
#include "temp_folder.h"

#define GPU "cuda:0"
#define NEED_GPU() \
    do { \
        if (!gpu_is_here()) { \
            SKIP(gpu_why_not); \
        } \
    } while (0)
#define ON_CPU(body) \
    TEST(body##_cpu) \
    { \
        body("cpu"); \
    }
#define ON_GPU(body) \
    TEST(body##_cuda) \
    { \
        NEED_GPU(); \
        body(GPU); \
    }
#define ON_EACH(body) ON_CPU(body) ON_GPU(body)

static char gpu_why_not[400];

static inline bool gpu_is_here(void)
{
    static bool asked, here;
    mj_context *context = NULL;
    mj_context_options options = {.cache_dir = "/nonexistent", .store_dir = "/nonexistent"};
    mj_device_info infos[16];
    uint32_t count = 0;
    if (asked) {
        return here;
    }
    asked = true;
    snprintf(gpu_why_not, sizeof gpu_why_not, "no CUDA device");
    if (mj_context_create(&options, &context, NULL) == MJ_OK &&
        mj_device_list(context, infos, 16, &count, NULL) == MJ_OK) {
        for (uint32_t i = 0; i < count && i < 16; i++) {
            if (strcmp(infos[i].id, GPU) == 0) {
                here = !infos[i].note[0];
                snprintf(gpu_why_not, sizeof gpu_why_not, "%s: %s", infos[i].name, infos[i].note);
            }
        }
    }
    mj_context_destroy(context);
    return here;
}

typedef struct device_fixture {
    mj_context *context;
    mj_device *device;
} device_fixture;

/* One cache below temp_folder for all cases: equal kernels are compiled once. The store is the case's. */
static inline bool open_fixture(device_fixture *f, const char *id, const char *store)
{
    mj_error error = {0};
    mj_context_options options = {.cache_dir = temp_path("cache"), .store_dir = temp_path(store)};
    memset(f, 0, sizeof *f);
    if (mj_context_create(&options, &f->context, &error) != MJ_OK ||
        mj_device_open(f->context, id, &f->device, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", id, error.text);
        return false;
    }
    return true;
}

static inline void close_fixture(device_fixture *f)
{
    mj_device_close(f->device);
    mj_context_destroy(f->context);
    memset(f, 0, sizeof *f);
}

#endif
