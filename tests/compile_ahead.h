/* compile_ahead.h: kernels compiled by as many processes as there are processors, into the cache of an open fixture; building one
 * then finds it there. What does not compile is left to mj_kernel_build, which says why. */
#ifndef MOEJIT_COMPILE_AHEAD_H
#define MOEJIT_COMPILE_AHEAD_H

#include "check.h"
#include "compile_pool.h"
#include "context.h"
#include "lab.h"
#include "wire.h"

enum { AHEAD_JOB_SECONDS = 120, AHEAD_TEXT = 512 };

static inline mj_status ahead_pool(mj_device *device, const char *problem, mj_pool **pool, mj_error *error)
{
    char path[1200];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    mj_json *request = mj_json_object();
    snprintf(path, sizeof path, "%s/moejit-compile", check_build_dir());
    mj_json_add_string(request, "do", "open");
    mj_json_add_string(request, "device", device->info.id);
    mj_pool_options options = {.path = path,
                               .process_count = processors > 0 ? (uint32_t)processors : 1,
                               .memory_bytes_max = 8ull << 30,
                               .job_seconds_max = AHEAD_JOB_SECONDS,
                               .open_request = request,
                               .problem = problem,
                               .arch = device->info.arch,
                               .backend = device->backend->name};
    mj_status status = mj_wire_add_context(request, device->context, device->context->options.cache_dir)
                           ? mj_pool_create(&options, pool, error)
                           : mj_fail(error, MJ_ERR_MEMORY, "a request");
    mj_json_free(request);
    return status;
}

static inline mj_status compile_ahead(mj_lab *lab, const char *problem, const mj_kernel_desc *desc,
                                      const mj_config *configs, uint32_t count, mj_error *error)
{
    mj_pool *pool = NULL;
    mj_status status = ahead_pool(lab->device, problem, &pool, error);
    for (uint32_t i = 0; status == MJ_OK && i < count; i++) {
        char text[AHEAD_TEXT];
        uint32_t index = 0;
        mj_config_print(&configs[i], text, sizeof text, NULL);
        status = mj_pool_add(pool, desc->op, desc->space->family, text, NULL, &index, error);
    }
    while (status == MJ_OK && mj_pool_done_count(pool) < mj_pool_job_count(pool)) {
        status = mj_pool_wait(pool, 100, error);
    }
    mj_pool_destroy(pool);
    return status;
}

#endif
