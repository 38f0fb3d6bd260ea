/* compile_ahead.h: kernels compiled by as many processes as there are processors, into the cache of an open fixture; building one
 * then finds it there. What does not compile is left to mj_kernel_build, which says why. */
#ifndef MOEJIT_COMPILE_AHEAD_H
#define MOEJIT_COMPILE_AHEAD_H

#include "check.h"
#include "compile_pool.h"
#include "context.h"
#include "lab.h"

enum { AHEAD_TEXT = 512 };

static inline mj_status ahead_pool(mj_device *device, const char *problem, mj_pool **pool, mj_error *error)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/moejit-compile", check_build_dir());
    mj_pool_options options = {.path = path,
                               .memory_bytes_max = 8ull << 30,
                               .context = device->context,
                               .problem = problem,
                               .arch = device->info.arch,
                               .backend = device->backend->name};
    return mj_pool_create(&options, pool, error);
}

/* Kernels of which the compiler says that they spill, or lose their overlap: what a tuner would refuse. */
static inline uint32_t count_refused(mj_pool *pool)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < mj_pool_job_count(pool); i++) {
        const mj_job *job = mj_pool_job(pool, i);
        char detail[256] = "";
        mj_reason reason = mj_job_judge(job, detail, sizeof detail);
        if (reason != MJ_REASON_NONE) {
            count++;
            printf("# %s of %s: %s %s: %s\n", mj_reason_text(reason), mj_op_name(job->op), job->family, job->config,
                   detail);
        }
    }
    return count;
}

static inline mj_status compile_ahead(mj_lab *lab, const char *problem, const mj_kernel_desc *desc,
                                      const mj_config *configs, uint32_t count, uint32_t *refused, mj_error *error)
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
    *refused += status == MJ_OK ? count_refused(pool) : 0;
    mj_pool_destroy(pool);
    return status;
}

#endif
