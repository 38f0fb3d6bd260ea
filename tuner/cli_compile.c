/* cli_compile.c: fills the compile cache through moejit-compile. */
#define _GNU_SOURCE
#include <unistd.h>

#include "cli_compile.h"
#include "compile_pool.h"

enum { POLL_MS = 200 };

static mj_status open_pool(mj_context *context, const cli_compile_request *request, mj_pool **out, mj_error *error)
{
    char problem[512];
    mj_status status = mj_problem_print(request->problem, problem, sizeof problem, error);
    mj_pool_options options = {
        .process_count = request->processes,
        .context = context,
        .problem = problem,
        .arch = request->arch,
        .backend = request->backend,
    };
    return status == MJ_OK ? mj_pool_create(&options, out, error) : status;
}

static mj_status add_items(mj_pool *pool, const cli_compile_request *request, mj_error *error)
{
    char config[1024];
    uint32_t index;
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < request->count && status == MJ_OK; i++) {
        const cli_compile_item *item = &request->items[i];
        status = mj_config_print(&item->config, config, sizeof config, error);
        if (status == MJ_OK) {
            status = mj_pool_add(pool, item->op, item->family, config, NULL, &index, error);
        }
    }
    return status;
}

static mj_status run_pool(mj_pool *pool, bool quiet, mj_error *error)
{
    uint32_t total = mj_pool_job_count(pool), shown = 0;
    bool tty = isatty(2) == 1;
    mj_status status = MJ_OK;
    while (status == MJ_OK && mj_pool_done_count(pool) < total) {
        if (cli_interrupted()) {
            return mj_fail(error, MJ_ERR_INTERRUPTED, "interrupted: nothing was written");
        }
        status = mj_pool_wait(pool, POLL_MS, error);
        if (!quiet && tty && mj_pool_done_count(pool) != shown) {
            shown = mj_pool_done_count(pool);
            fprintf(stderr, "\r\033[Kcompiled %u/%u", shown, total);
        }
    }
    if (shown) {
        fprintf(stderr, "\r\033[K");
    }
    return status;
}

static mj_status check_jobs(mj_pool *pool, mj_error *error)
{
    for (uint32_t i = 0; i < mj_pool_job_count(pool); i++) {
        const mj_job *job = mj_pool_job(pool, i);
        if (job->reason != MJ_REASON_NONE) {
            return mj_fail(error, MJ_ERR_COMPILE, "%s %s %.300s: %s: %s", mj_op_name(job->op), job->family, job->config,
                           mj_reason_text(job->reason), job->detail);
        }
    }
    return MJ_OK;
}

mj_status cli_compile_ahead(mj_context *context, const cli_compile_request *request, mj_error *error)
{
    mj_pool *pool = NULL;
    mj_status status = open_pool(context, request, &pool, error);
    if (status == MJ_OK) {
        status = add_items(pool, request, error);
    }
    if (status == MJ_OK) {
        status = run_pool(pool, request->quiet, error);
    }
    if (status == MJ_OK) {
        status = check_jobs(pool, error);
    }
    mj_pool_destroy(pool);
    return status;
}
