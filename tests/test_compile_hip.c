/* test_compile_hip.c: a compiler for AMD's GPUs that ends its process costs one kernel, with its reason; the others go on. */
#define _GNU_SOURCE

#include "check.h"
#include "compile_pool.h"
#include "context.h"
#include "temp_folder.h"

static mj_context *context;
static char compile_path[1200];

static mj_pool *open_pool(mj_error *error)
{
    mj_pool *pool = NULL;
    mj_pool_options options = {.path = compile_path,
                               .process_count = 1,
                               .context = context,
                               .problem = "E=8/8,topk=2,H=256,N=512,gated=1,act=silu,bias=0,scheme=bf16,layout=default",
                               .arch = "gfx942",
                               .backend = "hip"};
    mj_pool_create(&options, &pool, error);
    return pool;
}

static mj_status run_pool(mj_pool *pool, mj_error *error)
{
    mj_status status = MJ_OK;
    while (status == MJ_OK && mj_pool_done_count(pool) < mj_pool_job_count(pool)) {
        status = mj_pool_wait(pool, 200, error);
    }
    return status;
}

TEST(a_crash_costs_one_kernel)
{
    static const mj_op ops[] = {MJ_OP_TABLES, MJ_OP_COMBINE, MJ_OP_ACTIVATION};
    mj_error error = {0};
    uint32_t at[3];
    setenv("FAKE_HIPRTC", "abort_on=mj_combine", 1); /* the kernel's symbol */
    mj_pool *pool = open_pool(&error);
    CHECK(pool);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(mj_pool_add(pool, ops[i], "simple", "threads=256", NULL, &at[i], &error), MJ_OK);
    }
    mj_status status = run_pool(pool, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        mj_pool_destroy(pool);
        return;
    }
    for (int i = 0; i < 3; i++) {
        const mj_job *job = mj_pool_job(pool, at[i]);
        CHECK_INT(job->reason, ops[i] == MJ_OP_COMBINE ? MJ_REASON_COMPILE : MJ_REASON_NONE);
        if (ops[i] == MJ_OP_COMBINE) {
            CHECK_CONTAINS(job->detail, "crashed (signal 6) on code for gfx942: LLVM ERROR: Cannot select");
        } else {
            CHECK_INT(job->regs, 77); /* from the code object's metadata */
            CHECK(job->cache_key[0]);
        }
    }
    mj_pool_destroy(pool);
}

TEST(an_unknown_target_is_said)
{
    mj_error error = {0};
    uint32_t at;
    setenv("FAKE_HIPRTC", "targets=gfx90a", 1);
    mj_pool *pool = open_pool(&error);
    CHECK(pool);
    CHECK_STATUS(mj_pool_add(pool, MJ_OP_COMBINE, "simple", "threads=128", NULL, &at, &error), MJ_OK);
    CHECK_STATUS(run_pool(pool, &error), MJ_OK);
    CHECK_INT(mj_pool_job(pool, at)->reason, MJ_REASON_COMPILE);
    CHECK_CONTAINS(mj_pool_job(pool, at)->detail, "cannot compile for gfx942: it does not know this target");
    mj_pool_destroy(pool);
}

/* Nothing can be compiled at all: no kernel's own fault. */
TEST(no_compiler_ends_the_job)
{
    mj_error error = {0};
    uint32_t at;
    char *kept = context->hiprtc_path;
    static char absent[] = "/nonexistent/libhiprtc.so";
    context->hiprtc_path = absent;
    mj_pool *pool = open_pool(&error);
    context->hiprtc_path = kept;
    CHECK(pool);
    CHECK_STATUS(mj_pool_add(pool, MJ_OP_COMBINE, "simple", "threads=256", NULL, &at, &error), MJ_OK);
    CHECK_STATUS(run_pool(pool, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "/nonexistent/libhiprtc.so");
    mj_pool_destroy(pool);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    char cache_dir[600];
    snprintf(cache_dir, sizeof cache_dir, "%s/cache", temp_folder);
    snprintf(compile_path, sizeof compile_path, "%s/moejit-compile", check_build_dir());
    mj_context_options options = {.cache_dir = cache_dir,
                                  .store_dir = "/nonexistent",
                                  .hiprtc_path = MJ_TEST_BUILD_DIR "/tests/libfake_hiprtc.so"};
    mj_error error = {0};
    if (mj_context_create(&options, &context, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    RUN(a_crash_costs_one_kernel);
    RUN(an_unknown_target_is_said);
    RUN(no_compiler_ends_the_job);
    mj_context_destroy(context);
    temp_folder_remove();
    return CHECK_END();
}
