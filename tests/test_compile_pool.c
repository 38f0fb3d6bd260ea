/* test_compile_pool.c: moejit-compile with a scripted NVRTC: what it says of a kernel, and what is made of that. */
#define _GNU_SOURCE
#include <unistd.h>

#include "check.h"
#include "compile_pool.h"
#include "temp_folder.h"

static const char config[] = "tile_m=16,tile_n=64,tile_k=64,stages=4,warps_m=1,warps_n=4,group_m=1,split_k=1";

/* One kernel through one process; the job is the caller's to read until the pool is destroyed. */
static mj_job *compile_one(const char *script, mj_pool **pool)
{
    mj_error error = {0};
    mj_status status = MJ_OK;
    uint32_t index = 0;
    setenv("FAKE_NVRTC", script, 1);
    mj_context *context = NULL;
    mj_context_options where = {.cache_dir = temp_folder,
                                .store_dir = "/nonexistent",
                                .nvrtc_path = MJ_TEST_BUILD_DIR "/tests/libfake_nvrtc.so"};
    *pool = NULL;
    status = mj_context_create(&where, &context, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    mj_pool_options options = {.path = MJ_TEST_BUILD_DIR "/moejit-compile",
                               .process_count = 1,
                               .context = context,
                               .problem = "E=8,topk=2,H=256,N=256",
                               .arch = "sm_90a",
                               .backend = "cuda"};
    status = mj_pool_create(&options, pool, &error);
    mj_context_destroy(context);
    if (status == MJ_OK) {
        status = mj_pool_add(*pool, MJ_OP_GEMM1, "mma", config, NULL, &index, &error);
    }
    while (status == MJ_OK && mj_pool_done_count(*pool) == 0) {
        status = mj_pool_wait(*pool, 100, &error);
    }
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    return mj_pool_job(*pool, index);
}

TEST(lost_overlap_refuses)
{
    static const struct {
        const char *script, *detail;
        mj_reason reason;
    } rows[] = {
        {"", "", MJ_REASON_NONE},
        {"lost=7508", "(C7508) Potential Performance Loss: 'setmaxnreg' ignored", MJ_REASON_OVERLAP},
        {"lost=7511", "(C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized",
         MJ_REASON_OVERLAP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int again = 0; again < 2; again++) { /* the second comes from the cache */
            char detail[256] = "";
            mj_pool *pool = NULL;
            if (!again) {
                temp_folder_make();
            }
            mj_job *job = compile_one(rows[i].script, &pool);
            if (job) {
                CHECK_INT(job->reason, MJ_REASON_NONE);
                CHECK_INT(job->was_hit, again);
                CHECK_INT(job->regs, 77);
                CHECK_INT(mj_job_judge(job, detail, sizeof detail), rows[i].reason);
                CHECK_CONTAINS(detail, rows[i].detail);
                job->local_bytes = 24; /* spills are said first */
                CHECK_INT(mj_job_judge(job, detail, sizeof detail), MJ_REASON_SPILL);
                CHECK_STRING(detail, "24 bytes per thread in local memory");
                job->reason = MJ_REASON_COMPILE;
                CHECK_INT(mj_job_judge(job, detail, sizeof detail), MJ_REASON_COMPILE);
            }
            mj_pool_destroy(pool);
        }
        temp_folder_remove();
    }
    CHECK_STRING(mj_reason_text(MJ_REASON_OVERLAP), "compiler drops overlap");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(lost_overlap_refuses);
    temp_folder_remove();
    return CHECK_END();
}
