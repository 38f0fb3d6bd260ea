/* Real tunes with all their processes: kernels spoilt on purpose on cuda:0, and a plan that rests on what was tuned. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/wait.h>

#include "device_fixture.h"
#include "layer_case.h"
#include "moejit_tune.h"
#include "os.h"
#include "poison.h"
#include "store.h"

/* 512 rows per expert: of the three configs below the tall one wins by far. */
#define TALL_WINS "E=8,topk=2,H=2048,N=1024,gated=1,act=silu,bias=0,scheme=bf16,layout=default"

typedef struct tuning {
    mj_context *context;
    mj_problem problem;
    mj_tune_options options;
    mj_tune_result result;
    mj_error error;
    uint32_t poisoned_ok, messages;
    char store[64], store_dir[1024], journal_dir[1024];
} tuning;

static bool on_progress(void *user, const mj_tune_progress *progress)
{
    tuning *t = user;
    if (progress->message) {
        t->messages++;
        printf("# %s\n", progress->message);
    }
    return true;
}

static void on_candidate(void *user, const mj_candidate_result *result)
{
    tuning *t = user;
    bool poisoned = strstr(result->detail, "poison") != NULL;
    t->poisoned_ok += poisoned && result->reason == MJ_REASON_NONE;
    if (result->reason != MJ_REASON_NONE && result->reason != MJ_REASON_SLOW) {
        printf("# %s: %s\n", mj_reason_text(result->reason), result->detail);
    }
}

static bool accept_three(void *user, mj_op op, const char *family, const mj_config *config)
{
    static const char *const texts[] = {
        "tile_m=128,tile_n=128,tile_k=64,stages=4,warps_m=2,warps_n=4,group_m=1,split_k=1",
        "tile_m=32,tile_n=64,tile_k=64,stages=4,warps_m=1,warps_n=2,group_m=1,split_k=1",
        "tile_m=16,tile_n=64,tile_k=64,stages=4,warps_m=1,warps_n=2,group_m=1,split_k=1"};
    (void)user, (void)op;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mj_config wanted;
        if (strcmp(family, "mma") == 0 && mj_config_parse(texts[i], &wanted, NULL) == MJ_OK &&
            mj_config_equal(&wanted, config)) {
            return true;
        }
    }
    return false;
}

static bool open_tuning(tuning *t, const char *id, const char *problem)
{
    static char worker_path[1100], compile_path[1100];
    static int count;
    memset(t, 0, sizeof *t);
    snprintf(t->store, sizeof t->store, "store-%d", ++count);
    snprintf(t->store_dir, sizeof t->store_dir, "%s", temp_path(t->store));
    snprintf(t->journal_dir, sizeof t->journal_dir, "%s-journal", temp_path(t->store));
    snprintf(worker_path, sizeof worker_path, "%s/moejit-worker", check_build_dir());
    snprintf(compile_path, sizeof compile_path, "%s/moejit-compile", check_build_dir());
    mj_context_options options = {.cache_dir = temp_path("cache"), .store_dir = t->store_dir};
    t->options = (mj_tune_options){.device = id,
                                   .token_count_count = 1,
                                   .effort = MJ_EFFORT_QUICK,
                                   .seed = 7,
                                   .gemm1_only = true,
                                   .save_dir = t->store_dir,
                                   .journal_dir = t->journal_dir,
                                   .worker_path = worker_path,
                                   .compile_path = compile_path,
                                   .compile_processes = 2,
                                   .progress = on_progress,
                                   .candidate = on_candidate,
                                   .user = t};
    return mj_problem_parse(problem, &t->problem, &t->error) == MJ_OK &&
           mj_context_create(&options, &t->context, &t->error) == MJ_OK;
}

static bool tune(tuning *t)
{
    mj_status status = mj_tune(t->context, &t->problem, &t->options, &t->result, &t->error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", mj_status_name(status), t->error.text);
    }
    return status == MJ_OK;
}

static void close_tuning(tuning *t)
{
    mj_tune_result_free(&t->result);
    mj_context_destroy(t->context);
}

static uint32_t failed(const tuning *t, mj_reason reason)
{
    return t->result.rows[0].failed_by_reason[reason];
}

static void check_poisoned(const tuning *t, const mj_tune_row *clean)
{
    const mj_tune_row *row = &t->result.rows[0];
    CHECK(row->verified && row->best.time_us_median > 0);
    CHECK(mj_config_equal(&row->best.config, &clean->best.config));
    CHECK_INT(row->failed, MJ_POISON_COUNT);
    CHECK_INT(failed(t, MJ_REASON_TIMEOUT), 1);                             /* hang */
    CHECK_INT(failed(t, MJ_REASON_DEVICE) + failed(t, MJ_REASON_CRASH), 1); /* illegal */
    CHECK_INT(failed(t, MJ_REASON_GUARD), 1);                               /* oob */
    CHECK_INT(failed(t, MJ_REASON_WRONG) + failed(t, MJ_REASON_FLAKY), 2);  /* nan, once */
    CHECK(failed(t, MJ_REASON_WRONG) >= 1);
    CHECK_INT(t->result.worker_restarts, 2); /* after hang and illegal */
    CHECK_INT(t->poisoned_ok, 0);
    CHECK(t->messages > 0);
    mj_store_file file;
    CHECK_STATUS(mj_store_load(t->result.store_path, &file, NULL), MJ_OK);
    CHECK_CONTAINS(file.rows[0].gemm1.failed_reasons, mj_reason_text(MJ_REASON_TIMEOUT));
    CHECK_CONTAINS(file.rows[0].gemm1.failed_reasons, mj_reason_text(MJ_REASON_GUARD));
    mj_store_file_free(&file);
}

TEST(poisoned_kernels_do_not_win_or_end_the_sweep_cuda)
{
    static const uint32_t tokens[] = {2048};
    tuning clean, poisoned;
    NEED_GPU();
    CHECK(open_tuning(&clean, GPU, TALL_WINS));
    clean.options.token_counts = tokens;
    clean.options.accept = accept_three;
    CHECK(tune(&clean));
    CHECK_INT(clean.result.row_count, 1);
    CHECK(clean.result.worker_restarts == 0 && clean.result.rows[0].failed == 0 && clean.result.rows[0].tried >= 2);
    printf("# clean winner: %.1f us\n", clean.result.rows[0].best.time_us_median);

    CHECK(open_tuning(&poisoned, GPU, TALL_WINS));
    poisoned.options.token_counts = tokens;
    poisoned.options.accept = accept_three;
    poisoned.options.candidate_seconds_max = 5;
    setenv("MOEJIT_TEST_POISON", "hang,illegal,oob,nan,once", 1);
    bool done = tune(&poisoned);
    unsetenv("MOEJIT_TEST_POISON");
    CHECK(done && poisoned.result.row_count == 1);
    printf("# poisoned sweep's winner: %.1f us\n", poisoned.result.rows[0].best.time_us_median);
    check_poisoned(&poisoned, &clean.result.rows[0]);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    close_tuning(&poisoned);
    close_tuning(&clean);
}

/* Few on the cpu, where a compiler is slow. */
static bool accept_few(void *user, mj_op op, const char *family, const mj_config *config)
{
    int32_t n = 0, k = 0, m = 0, stages = 0, rows = 0;
    (void)user, (void)op;
    mj_config_get(config, "tile_n", &n);
    mj_config_get(config, "tile_k", &k);
    if (strcmp(family, "cpu") == 0) {
        return mj_config_get(config, "rows", &rows) && rows == 16 && k == 512 && n == 64;
    }
    return strcmp(family, "mma") == 0 && mj_config_get(config, "tile_m", &m) &&
           mj_config_get(config, "stages", &stages) && m <= 32 && n == 64 && k == 64 && stages == 3;
}

/* Tuned, then served from the store with MJ_PLAN_REQUIRE_VERIFIED, in a context that compiles nothing. */
static void a_tuned_plan_is_verified_and_right(const char *id)
{
    static const uint32_t tuned_at[] = {4, 64}, tokens[] = {1, 7, 100};
    static const char problem[] = "E=4/8,topk=2,H=256,N=160,gated=1,act=silu,bias=1,scheme=bf16,layout=default";
    tuning t;
    mj_device *device = NULL;
    mj_context *context = NULL;
    mj_plan *plan = NULL;
    CHECK(open_tuning(&t, id, problem));
    t.options.token_counts = tuned_at;
    t.options.token_count_count = 2;
    t.options.gemm1_only = false;
    t.options.accept = accept_few;
    CHECK(tune(&t));
    uint32_t verified = 0; /* of what every plan needs; gemm1_act is there where a family in the sweep has it */
    for (uint32_t i = 0; i < t.result.row_count; i++) {
        const mj_tune_row *row = &t.result.rows[i];
        verified += (row->op == MJ_OP_GEMM1 || row->op == MJ_OP_GEMM2) && row->verified;
    }
    CHECK(verified == 4 && t.result.persisted);
    mj_context_options serving = {.cache_dir = temp_path("cache"), .store_dir = t.store_dir, .no_compile = true};
    CHECK_STATUS(mj_context_create(&serving, &context, &t.error), MJ_OK);
    CHECK_STATUS(mj_device_open(context, id, &device, &t.error), MJ_OK);
    mj_plan_options options = {.max_tokens = 128, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    for (int i = 0; i < 3; i++) {
        mj_plan_destroy(plan);
        plan = NULL;
        double start = mj_os_monotonic_seconds();
        mj_status status = mj_plan_create(device, &t.problem, &options, &plan, &t.error);
        if (status != MJ_OK) {
            check_fail(__FILE__, __LINE__, "%s: %s", mj_status_name(status), t.error.text);
        }
        CHECK_STATUS(status, MJ_OK);
        printf("# %s: mj_plan_create from the store: %.2f ms\n", id, (mj_os_monotonic_seconds() - start) * 1e3);
    }
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        CHECK_INT(mj_plan_get_row(plan, i)->origin, MJ_ORIGIN_STORE);
    }
    mj_plan_destroy(plan);
    CHECK(layers_are_right(device, problem, &options, tokens, 3));
    mj_device_close(device);
    mj_context_destroy(context);
    close_tuning(&t);
}
ON_EACH(a_tuned_plan_is_verified_and_right)

/* Before anything is started: one line, no worker left. */
TEST(a_tune_without_the_memory_or_the_device_cuda)
{
    static const uint32_t tokens[] = {16};
    tuning t;
    NEED_GPU();
    CHECK(open_tuning(&t, GPU, TALL_WINS));
    t.options.token_counts = tokens;
    t.options.device_bytes_max = 1 << 20;
    CHECK_STATUS(mj_tune(t.context, &t.problem, &t.options, &t.result, &t.error), MJ_ERR_DEVICE_MEMORY);
    CHECK_CONTAINS(t.error.text, "MiB");
    mj_tune_result_free(&t.result);
    t.options.device_bytes_max = 0;
    t.options.device = "cuda:77";
    CHECK_STATUS(mj_tune(t.context, &t.problem, &t.options, &t.result, &t.error), MJ_ERR_NO_DEVICE);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    close_tuning(&t);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    RUN(poisoned_kernels_do_not_win_or_end_the_sweep_cuda);
    RUN(a_tuned_plan_is_verified_and_right_cpu);
    RUN(a_tuned_plan_is_verified_and_right_cuda);
    RUN(a_tune_without_the_memory_or_the_device_cuda);
    temp_folder_remove();
    return CHECK_END();
}
