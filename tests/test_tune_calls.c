/* What the tuner's public calls promise beside what they find: NULL is refused, threads and other tunes may run beside them, and
 * nothing is compiled where the context says so. On the CPU, with all their processes. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>

#include "os.h"
#include "store.h"
#include "tune_fixture.h"

TEST(null_is_refused)
{
    watch w = {0};
    mj_tune_result r, begun; /* begun: a call that failed has a result, too */
    mj_tune_forecast f;
    mj_error error = {0};
    const char *const none[] = {NULL};
    mj_tune_options o = options_for(&w), estimate = options_for(&w), routings = options_for(&w);
    fresh_folders();
    estimate.effort = MJ_EFFORT_ESTIMATE;
    routings.routings = none;
    routings.routing_count = 1;
    const check_call calls[] = {
        {"tune: context", mj_tune(NULL, &tiny, &o, &r, &error)},
        {"tune: problem", mj_tune(context, NULL, &o, &r, &error)},
        {"tune: out", mj_tune(context, &tiny, &o, NULL, &error)},
        {"tune: out of an estimate", mj_tune(context, &tiny, &estimate, NULL, &error)},
        {"tune: a routing", mj_tune(context, &tiny, &routings, &begun, &error)},
        {"bench: context", mj_bench(NULL, &tiny, &o, &r, &error)},
        {"bench: problem", mj_bench(context, NULL, &o, &r, &error)},
        {"bench: out", mj_bench(context, &tiny, &o, NULL, &error)},
        {"bench: out of an estimate", mj_bench(context, &tiny, &estimate, NULL, &error)},
        {"verify: context", mj_verify(NULL, &tiny, &o, &r, &error)},
        {"verify: problem", mj_verify(context, NULL, &o, &r, &error)},
        {"verify: out", mj_verify(context, &tiny, &o, NULL, &error)},
        {"dry run: context", mj_tune_dry_run(NULL, &tiny, &o, &f, &error)},
        {"dry run: problem", mj_tune_dry_run(context, NULL, &o, &f, &error)},
        {"dry run: out", mj_tune_dry_run(context, &tiny, &o, NULL, &error)},
        {"dry run: a routing", mj_tune_dry_run(context, &tiny, &routings, &f, &error)},
    };
    mj_tune_result_free(&begun);
    CHECK_REFUSED(calls);
    CHECK(error.text[0] && no_child_left());
}

/* ---- Others beside it ---- */
typedef struct other_tune { /* of the same layer, that saves while ours waits to */
    watch seen;             /* first: a callback's `user` is one */
    char path[2048];
    int lock;
    pthread_t thread;
    bool runs, saved;
} other_tune;

static void *save_other(void *user)
{
    other_tune *other = user;
    mj_store_file file;
    const struct timespec until_ours_waits = {.tv_sec = 3};
    nanosleep(&until_ours_waits, NULL);
    if (mj_store_load(other->path, &file, NULL) == MJ_OK) {
        file.rows[0].gemm1.time_us_median = 7;
        other->saved = mj_store_replace(other->path, &file, NULL) == MJ_OK; /* which takes no lock */
        mj_store_file_free(&file);
    }
    mj_os_unlock(other->lock);
    return NULL;
}

static void on_candidate_of_the_second_row(void *user, const mj_candidate_result *result)
{
    other_tune *other = user;
    on_candidate(&other->seen, result);
    if (other->seen.rows > 0 && !other->runs) {
        other->lock = mj_os_lock_folder_of(other->path, 1);
        other->runs = pthread_create(&other->thread, NULL, save_other, other) == 0;
    }
}

TEST(what_another_tune_saves_meanwhile_stays)
{
    other_tune other = {.lock = -1};
    mj_tune_result result;
    mj_store_file file;
    mj_error error = {0};
    mj_tune_options o = options_for(&other.seen);
    mj_device_info info[8];
    uint32_t count = 0, cpu = 0;
    char name[512];
    fresh_folders();
    CHECK_STATUS(mj_device_list(context, info, 8, &count, NULL), MJ_OK);
    while (cpu < count && cpu < 8 && strncmp(info[cpu].id, "cpu", 3) != 0) {
        cpu++;
    }
    CHECK(cpu < count && cpu < 8);
    CHECK_STATUS(mj_store_file_name(&tiny, info[cpu].name, name, sizeof(name), NULL), MJ_OK);
    snprintf(other.path, sizeof(other.path), "%s/%s", store_dir, name);
    o.accept = accept_one;
    o.user = &other;
    o.candidate = on_candidate_of_the_second_row;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(other.runs && pthread_join(other.thread, NULL) == 0 && other.saved);
    CHECK_STRING(result.store_path, other.path);
    mj_tune_result_free(&result);
    CHECK_STATUS(mj_store_load(other.path, &file, NULL), MJ_OK);
    CHECK(file.row_count == 2 && file.rows[1].gemm1.present && file.rows[0].gemm1.time_us_median == 7);
    mj_store_file_free(&file);
}

static void *estimate_again_and_again(void *out_us)
{
    static const uint32_t token_counts[] = {64};
    const mj_problem problem = {.expert_count = 8,
                                .expert_total_count = 8,
                                .top_k = 2,
                                .hidden = 4096,
                                .intermediate = 1792,
                                .gated = true,
                                .scheme = "bf16",
                                .layout = "default"};
    const mj_tune_options options = {
        .effort = MJ_EFFORT_ESTIMATE, .arch = "sm_80", .token_counts = token_counts, .token_count_count = 1};
    double *us = out_us;
    for (int i = 0; i < 3; i++) {
        mj_tune_result result;
        us[i] = mj_tune(context, &problem, &options, &result, NULL) == MJ_OK ? result.rows[0].best.estimate_us : 0;
        mj_tune_result_free(&result);
    }
    return NULL;
}

/* A context may be used by several threads: each call asks the rules on a Lua state of its own. */
TEST(threads_may_share_a_context)
{
    double us[4][3] = {{0}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, estimate_again_and_again, us[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 12; i++) {
        CHECK(us[i / 3][i % 3] > 0 && us[i / 3][i % 3] == us[0][0]);
    }
}

/* A file of another layer under this one's name: not its rows, and kept aside where a tune needs the name. */
TEST(another_layers_store_is_not_this_ones)
{
    watch w = {0};
    mj_tune_result result;
    mj_store_file file;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_STATUS(mj_store_load(result.store_path, &file, NULL), MJ_OK);
    file.problem.hidden *= 2;
    for (int op = 0; op < MJ_OP_COUNT; op++) {
        file.ops[op].manifest.problem = file.problem;
    }
    for (uint32_t i = 0; i < file.row_count; i++) {
        for (int op = 0; op < MJ_OP_COUNT; op++) {
            mj_choice *choice = mj_store_row_choice(&file.rows[i], (mj_op)op);
            if (choice) {
                choice->manifest.problem = file.problem;
            }
        }
    }
    CHECK_STATUS(mj_store_replace(result.store_path, &file, &error), MJ_OK);
    mj_store_file_free(&file);
    mj_tune_result_free(&result);
    o.accept = NULL;
    o.no_stand_ins = true;
    CHECK_STATUS(mj_verify(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.rows[0].origin, MJ_ORIGIN_ESTIMATE);
    mj_tune_result_free(&result);
    o.accept = accept_one;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.persisted && !result.rows[0].from_store);
    mj_tune_result_free(&result);
}

/* ---- Without a compiler ---- */
typedef mj_status (*session_call)(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                                  mj_tune_result *out, mj_error *error);
static const session_call session_calls[] = {mj_tune, mj_bench, mj_verify};

/* In a context whose cache is `own`. OK: every row is verified. */
static mj_status call_in(bool no_compile, session_call call, const mj_tune_options *o, mj_error *error)
{
    mj_context_options where = {.cache_dir = temp_path("own"), .store_dir = store_dir, .no_compile = no_compile};
    mj_context *own = NULL;
    mj_tune_result result = {0};
    mj_status status = mj_context_create(&where, &own, error);
    status = status ? status : call(own, &tiny, o, &result, error);
    for (uint32_t i = 0; status == MJ_OK && i < result.row_count; i++) {
        status = result.rows[i].verified ? MJ_OK : mj_fail(error, MJ_ERR_UNVERIFIED, "row %u", (unsigned)i);
    }
    mj_tune_result_free(&result);
    mj_context_destroy(own);
    return status;
}

/* no_compile holds in the helpers too, whatever is asked of them. */
TEST(compiling_off_compiles_nothing)
{
    mj_error error = {0};
    watch w = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    for (size_t i = 0; i < sizeof session_calls / sizeof session_calls[0]; i++) {
        CHECK_STATUS(call_in(true, session_calls[i], &o, &error), MJ_ERR_NO_COMPILER);
        CHECK_CONTAINS(error.text, "is not in the cache and compiling is off");
        CHECK_INT(temp_count_files_in(temp_path("own")), 0);
        CHECK_INT(temp_count_files_in(store_dir), 0);
    }
    CHECK(no_child_left());
}

TEST(compiling_off_takes_from_the_cache)
{
    mj_error error = {0};
    watch w = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    CHECK_STATUS(call_in(false, mj_tune, &o, &error), MJ_OK);
    CHECK_STATUS(call_in(false, mj_bench, &o, &error), MJ_OK);
    int files = temp_count_files_in(temp_path("own"));
    CHECK(files > 0);
    for (size_t i = 0; i < sizeof session_calls / sizeof session_calls[0]; i++) {
        CHECK_STATUS(call_in(true, session_calls[i], &o, &error), MJ_OK);
    }
    o.family = "cpu";
    o.accept = NULL;
    o.config = "rows=16,tile_k=512,tile_n=32";
    CHECK_STATUS(call_in(true, mj_verify, &o, &error), MJ_ERR_NO_COMPILER);
    CHECK_INT(temp_count_files_in(temp_path("own")), files);
    CHECK(no_child_left());
}

int main(int argc, char **argv)
{
    if (!fixture_start()) {
        return 2;
    }
    CHECK_BEGIN(argc, argv);
    RUN(null_is_refused);
    RUN(what_another_tune_saves_meanwhile_stays);
    RUN(threads_may_share_a_context);
    RUN(another_layers_store_is_not_this_ones);
    RUN(compiling_off_compiles_nothing);
    RUN(compiling_off_takes_from_the_cache);
    fixture_end();
    return CHECK_END();
}
