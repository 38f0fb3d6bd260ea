/* A real tune of a tiny layer on the CPU, with all its processes: what it finds, what it survives, what it leaves behind.
 * One compile cache serves all cases. */
#define _GNU_SOURCE
#include "check.h"

#include "poison.h"
#include "store.h"
#include "tune_fixture.h"

static void check_store(const mj_tune_result *result)
{
    mj_store_file file;
    CHECK_STATUS(mj_store_load(result->store_path, &file, NULL), MJ_OK);
    CHECK_INT(file.row_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const mj_choice *choice = &file.rows[i].gemm1;
        CHECK(choice->present && choice->verified && choice->time_us_median > 0 && !file.rows[i].gemm2.present);
        CHECK_INT(file.rows[i].token_count, batch_sizes[i]);
        CHECK_STRING(choice->effort, "part"); /* accept_few: not the whole space */
        CHECK(choice->sample_count > 0 && choice->launches > 0 && choice->bytes > 0 && choice->operations > 0);
        CHECK_INT(choice->seed, 7);
        CHECK(mj_config_equal(&choice->manifest.config, &result->rows[i].best.config));
    }
    CHECK(file.ops[MJ_OP_TABLES].present && file.ops[MJ_OP_ACTIVATION].present && file.ops[MJ_OP_COMBINE].present);
    CHECK(file.memory_gbps > 0);
    mj_store_file_free(&file);
}

/* Every stored gemm1 as if it had been searched so and took so long, and gemm1_act beside it; returns how many there are. */
static uint32_t pretend_stored(const char *effort, double time_us)
{
    char name[512], path[1600];
    mj_store_file file;
    mj_device_info info[8];
    uint32_t count = 0, changed = 0;
    if (mj_device_list(context, info, 8, &count, NULL) != MJ_OK) {
        return 0;
    }
    for (uint32_t d = 0; d < count; d++) {
        if (mj_store_file_name(&tiny, info[d].name, name, sizeof(name), NULL) != MJ_OK) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", store_dir, name);
        if (mj_store_load(path, &file, NULL) != MJ_OK) {
            continue;
        }
        for (uint32_t i = 0; i < file.row_count; i++) {
            mj_choice *choice = &file.rows[i].gemm1;
            choice->time_us_median = time_us;
            snprintf(choice->effort, sizeof(choice->effort), "%s", effort);
            changed += choice->present;
            if (!file.rows[i].gemm1_act.present) {
                file.rows[i].gemm1_act = *choice;
                file.rows[i].gemm1_act.manifest.op = MJ_OP_GEMM1_ACT;
            }
        }
        changed = mj_store_replace(path, &file, NULL) == MJ_OK ? changed : 0;
        mj_store_file_free(&file);
    }
    return changed;
}

TEST(a_tune_finds_stores_and_then_skips)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    mj_status status = mj_tune(context, &tiny, &o, &result, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", mj_status_name(status), error.text);
        return;
    }
    CHECK_INT(result.row_count, 2);
    CHECK(result.persisted && !result.budget_spent && result.worker_restarts == 0);
    for (uint32_t i = 0; i < 2; i++) {
        const mj_tune_row *row = &result.rows[i];
        CHECK(row->verified && !row->from_store && row->best.time_us_median > 0 && row->floor_us > 0);
        CHECK_INT(row->failed, 0);
        CHECK(row->tried >= 2 && row->refused > 0);
        CHECK(row->default_us == 0 || row->best.time_us_median <= row->default_us);
        CHECK_INT(row->origin, MJ_ORIGIN_STORE);
    }
    CHECK_INT(w.rows, 2);
    check_store(&result);
    mj_tune_result_free(&result);
    CHECK(no_child_left());

    /* Nothing is measured again once the whole space was searched; a part of it does not count. */
    CHECK(pretend_stored("quick", 1e9) == 2);
    o.accept = NULL;
    w = (watch){0};
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.row_count, 4);
    CHECK(result.rows[0].from_store && result.rows[1].from_store && result.rows[1].verified);
    CHECK(result.rows[1].bytes > 0 && result.rows[1].operations > 0 && result.rows[1].best.launches > 0);
    CHECK_INT(w.candidates, 0);
    CHECK_INT(w.rows, 4);
    mj_tune_result_free(&result);
}

TEST(a_part_of_the_space_replaces_only_what_is_slower)
{
    watch w = {0};
    mj_tune_result result;
    mj_store_file file;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    static const struct {
        double stored_us;
        bool force, kept;
        const char *effort;
    } cases[] = {{1e-6, false, true, "full"}, {1e9, false, false, "full"}, {1e-6, true, false, "part"}};
    fresh_folders();
    o.accept = accept_one;
    o.token_count_count = 1;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    mj_tune_result_free(&result);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(pretend_stored("full", cases[i].stored_us), 1);
        o.force = cases[i].force;
        CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
        CHECK(result.rows[0].verified && !result.rows[0].from_store);
        CHECK_INT(result.rows[0].kept_us > 0, cases[i].kept);
        CHECK_INT(result.rows[0].origin == MJ_ORIGIN_STORE, !cases[i].kept);
        CHECK_STATUS(mj_store_load(result.store_path, &file, NULL), MJ_OK);
        CHECK_INT(file.rows[0].gemm1.time_us_median == cases[i].stored_us, cases[i].kept);
        CHECK_STRING(file.rows[0].gemm1.effort, cases[i].effort);
        mj_store_file_free(&file);
        mj_tune_result_free(&result);
    }
}

/* A store of another version is left alone; by force it makes way and is kept. A dry run touches nothing. */
TEST(force_moves_another_version_aside)
{
    const char *other = other_version;
    char path[1200];
    watch w = {0};
    mj_tune_result result;
    mj_tune_forecast forecast;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    o.token_count_count = 1;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    snprintf(path, sizeof(path), "%s", result.store_path);
    mj_tune_result_free(&result);
    temp_write(path, other, strlen(other));
    o.force = true;
    CHECK_STATUS(mj_tune_dry_run(context, &tiny, &o, &forecast, &error), MJ_OK);
    CHECK_INT(access(path, F_OK), 0);
    o.force = false;
    w = (watch){0};
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_VERSION);
    CHECK_CONTAINS(error.text, path);
    CHECK_CONTAINS(error.text, "store format 9, this version reads 1");
    CHECK_CONTAINS(error.text, "--force");
    CHECK(result.row_count == 0 && w.candidates == 0 && w.messages == 0); /* nothing was started */
    mj_tune_result_free(&result);
    mj_store_file file;
    CHECK_STATUS(mj_store_load(path, &file, NULL), MJ_ERR_VERSION);
    o.save_dir = NULL; /* bench measures all the same */
    CHECK_STATUS(mj_bench(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.row_count, 1);
    mj_tune_result_free(&result);
    o.save_dir = store_dir;
    o.force = true;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.persisted);
    mj_tune_result_free(&result);
    CHECK_STATUS(mj_store_load(path, &file, NULL), MJ_OK);
    mj_store_file_free(&file);
    char aside[1300];
    snprintf(aside, sizeof(aside), "%s.old", path);
    CHECK_STATUS(mj_store_load(aside, &file, NULL), MJ_ERR_VERSION);
    temp_write(path, other, strlen(other)); /* a second time: the first one's stays */
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    mj_tune_result_free(&result);
    CHECK_STATUS(mj_store_load(aside, &file, NULL), MJ_ERR_VERSION);
    snprintf(aside, sizeof(aside), "%s.old2", path);
    CHECK_STATUS(mj_store_load(aside, &file, NULL), MJ_ERR_VERSION);
}

/* Another version may write the file while a tune runs: nothing is saved over that either. */
TEST(another_version_that_comes_in_between_is_left_alone)
{
    watch w = {.replace_store = true};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_VERSION);
    CHECK_INT(result.row_count, 2);
    CHECK(!w.replace_store && !result.persisted);
    CHECK_STRING(result.not_saved, error.text);
    char *now = temp_read(result.store_path, NULL);
    CHECK_STRING(now, other_version);
    free(now);
    mj_tune_result_free(&result);
}

static void check_fused_store(const mj_tune_result *result, mj_op fused)
{
    mj_store_file file;
    CHECK_STATUS(mj_store_load(result->store_path, &file, NULL), MJ_OK);
    const mj_choice *gemm = mj_store_row_choice(&file.rows[0], mj_op_part(fused, 0));
    const mj_choice *last = mj_store_row_choice(&file.rows[0], mj_op_part(fused, 1));
    const mj_choice *both = mj_store_row_choice(&file.rows[0], fused);
    CHECK(gemm->verified && both->verified && last->verified && file.rows[0].gemm2.present == mj_op_is_gemm2(fused));
    CHECK(last->time_us_median > 0 && last->sample_count > 1 && last->launches > 0);
    CHECK_STRING(last->cache_key, file.ops[mj_op_part(fused, 1)].cache_key);
    CHECK(both->bytes < gemm->bytes && both->operations == gemm->operations);
    mj_store_file_free(&file);
}

/* Beside its GEMM, with the op behind it alone timed; a wrong kernel of it does not win either. */
static void check_fused(mj_op fused)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_fused;
    o.gemm1_only = !(o.gemm2_only = mj_op_is_gemm2(fused));
    o.token_counts = &batch_sizes[1];
    o.token_count_count = 1;
    setenv("MOEJIT_TEST_POISON", "nan", 1);
    mj_status status = mj_tune(context, &tiny, &o, &result, &error);
    unsetenv("MOEJIT_TEST_POISON");
    CHECK_STATUS(status, MJ_OK);
    CHECK(result.row_count == 2 && result.rows[1].op == fused);
    CHECK(result.rows[1].verified && result.rows[1].failed == 1 && w.poisoned_ok == 0);
    CHECK(result.rows[1].replaced.time_us_median > 0 && result.rows[0].replaced.time_us_median == 0);
    check_fused_store(&result, fused);
    mj_tune_result_free(&result);
    o.accept = NULL;
    mj_tune_forecast forecast;
    o.family = "reference"; /* which is never fast: it is not looked at for an op that stands in for others */
    CHECK_STATUS(mj_tune_dry_run(context, &tiny, &o, &forecast, &error), MJ_OK);
    CHECK_INT(forecast.rows, 1);
    o.family = NULL;
    CHECK_STATUS(mj_bench(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.rows[1].origin == MJ_ORIGIN_STORE && result.rows[1].replaced.time_us_median > 0);
    mj_tune_result_free(&result);
}

TEST(stand_ins_are_tuned_beside_their_gemms)
{
    check_fused(MJ_OP_GEMM1_ACT);
    check_fused(MJ_OP_GEMM2_COMBINE);
    CHECK(no_child_left());
}

/* Quick looks at the estimate's best few; what the store holds races along even if it is not among them. */
TEST(the_stored_choice_races_along)
{
    watch w = {0};
    mj_tune_result result;
    mj_tune_forecast without, with;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.token_count_count = 1;
    o.accept = NULL;
    CHECK_STATUS(mj_tune_dry_run(context, &tiny, &o, &without, &error), MJ_OK);
    o.family = "reference";
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    mj_tune_result_free(&result);
    o.family = NULL;
    CHECK_STATUS(mj_tune_dry_run(context, &tiny, &o, &with, &error), MJ_OK);
    CHECK_INT(with.candidates, without.candidates + 1);
}

TEST(poisoned_kernels_do_not_win_or_end_the_sweep)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    o.token_count_count = 1;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    mj_config clean = result.rows[0].best.config;
    mj_tune_result_free(&result);

    fresh_folders();
    w = (watch){0};
    o.save_dir = store_dir;
    o.candidate_seconds_max = 4;
    setenv("MOEJIT_TEST_POISON", "hang,illegal,oob,nan,once", 1);
    mj_status status = mj_tune(context, &tiny, &o, &result, &error);
    unsetenv("MOEJIT_TEST_POISON");
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", mj_status_name(status), error.text);
        return;
    }
    const mj_tune_row *row = &result.rows[0];
    CHECK(row->verified);
    CHECK(mj_config_equal(&row->best.config, &clean));
    CHECK_INT(row->failed, MJ_POISON_COUNT);
    CHECK_INT(row->failed_by_reason[MJ_REASON_TIMEOUT], 1);
    CHECK_INT(row->failed_by_reason[MJ_REASON_CRASH], 1);
    CHECK_INT(row->failed_by_reason[MJ_REASON_GUARD], 1);
    CHECK(row->failed_by_reason[MJ_REASON_WRONG] >= 1);
    CHECK(row->failed_by_reason[MJ_REASON_WRONG] + row->failed_by_reason[MJ_REASON_FLAKY] == 2);
    CHECK_INT(result.worker_restarts, 2);
    CHECK_INT(w.poisoned_ok, 0);
    CHECK_CONTAINS(w.last_message, "replaced");
    mj_store_file file;
    CHECK_STATUS(mj_store_load(result.store_path, &file, NULL), MJ_OK);
    CHECK_CONTAINS(file.rows[0].gemm1.failed_reasons, "crashed the worker: 1");
    mj_store_file_free(&file);
    mj_tune_result_free(&result);
    CHECK(no_child_left());
}

TEST(a_cancelled_tune_keeps_what_is_finished)
{
    watch w = {.stop_after_candidates = 4};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_INTERRUPTED);
    CHECK_CONTAINS(error.text, "request");
    CHECK(result.row_count < 2);
    CHECK(no_child_left());
    uint32_t finished = result.row_count;
    mj_tune_result_free(&result);

    w = (watch){0}; /* the next one goes on where that one stopped */
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.row_count, 2);
    CHECK(result.resumed > 0 || finished > 0);
    mj_tune_result_free(&result);
}

TEST(a_killed_tune_resumes)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    fresh_folders();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        watch doomed = {.kill_after_candidates = 2};
        mj_tune_options o = options_for(&doomed);
        mj_tune(context, &tiny, &o, &result, NULL);
        _exit(0);
    }
    int wait_status = 0;
    CHECK(waitpid(pid, &wait_status, 0) == pid);
    CHECK(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
    mj_tune_options o = options_for(&w);
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.resumed, 2);
    CHECK_INT(result.row_count, 2);
    CHECK(result.rows[0].verified && result.rows[1].verified);
    mj_tune_result_free(&result);
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK); /* finished: history, not resumed from */
    CHECK_INT(result.resumed, 0);
    mj_tune_result_free(&result);
}

TEST(bench_and_verify_take_one_config)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = NULL;
    o.family = "cpu";
    o.config = "rows=16,tile_k=512,tile_n=64";
    CHECK_STATUS(mj_verify(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.row_count == 4 && result.rows[1].op == MJ_OP_GEMM1_ACT);
    CHECK(result.rows[0].verified && result.rows[0].best.time_us_median == 0);
    CHECK_STRING(result.rows[0].best.family, "cpu");
    mj_tune_result_free(&result);
    CHECK_STATUS(mj_bench(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.rows[0].verified && result.rows[0].best.time_us_median > 0);
    CHECK(result.rows[0].best.sample_count >= 5 && result.memory_gbps > 0 && result.rows[0].asked && !result.persisted);
    mj_tune_result_free(&result);
    o.config = "rows=16,tile_k=512,tile_n=63";
    CHECK_STATUS(mj_verify(context, &tiny, &o, &result, &error), MJ_ERR_ILLEGAL);
    CHECK_CONTAINS(error.text, "tile_n=63");
    mj_tune_result_free(&result);
}

TEST(a_spent_budget_keeps_rows_and_says_so)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.budget_seconds = 1e-3;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.budget_spent);
    CHECK_INT(result.row_count, 0);
    mj_tune_result_free(&result);
}

TEST(a_save_that_fails_is_said_and_costs_no_result)
{
    watch w = {.break_store = true};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_IO);
    CHECK(!w.break_store && error.text[0]);
    CHECK(!result.persisted);
    CHECK_INT(result.row_count, 2);
    CHECK(result.rows[1].verified && result.rows[1].best.time_us_median > 0);
    CHECK(result.rows[1].unsaved && result.rows[1].origin == MJ_ORIGIN_ESTIMATE);
    mj_tune_result_free(&result);
    CHECK_INT(unlink(store_dir), 0); /* and the next one has the measurements again */
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.resumed, 2);
    CHECK(result.persisted);
    mj_tune_result_free(&result);
}

TEST(nothing_starts_when_it_cannot_be_saved)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    o.save_dir = "/proc/nowhere";
    o.worker_path = "/nonexistent/worker"; /* not even looked at */
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_IO);
    CHECK_CONTAINS(error.text, "/proc/nowhere");
    mj_tune_result_free(&result);
}

static void check_refused(const mj_tune_options *o, const mj_problem *problem, mj_status want, const char *words)
{
    mj_tune_result result;
    mj_error error = {0};
    CHECK_STATUS(mj_tune(context, problem, o, &result, &error), want);
    CHECK_CONTAINS(error.text, words);
    CHECK_INT(result.row_count, 0);
    mj_tune_result_free(&result);
}

TEST(bad_wishes_are_named)
{
    watch w = {0};
    fresh_folders();
    mj_tune_options o = options_for(&w);
    o.worker_path = "/nonexistent/worker";
    check_refused(&o, &tiny, MJ_ERR_NOT_FOUND, "/nonexistent/worker");
    o = options_for(&w);
    o.device = "cuda:77";
    check_refused(&o, &tiny, MJ_ERR_NO_DEVICE, "cuda");
    o = options_for(&w);
    o.family = "mmma";
    check_refused(&o, &tiny, MJ_ERR_NOT_FOUND, "mma");
    o = options_for(&w);
    const char *routing = "unifrom";
    o.routings = &routing;
    o.routing_count = 1;
    check_refused(&o, &tiny, MJ_ERR_NOT_FOUND, "uniform");
    o = options_for(&w);
    uint32_t zero = 0;
    o.token_counts = &zero;
    o.token_count_count = 1;
    check_refused(&o, &tiny, MJ_ERR_ARGUMENT, "batch size 0");
    mj_problem bad = tiny;
    bad.top_k = 9;
    o = options_for(&w);
    check_refused(&o, &bad, MJ_ERR_ARGUMENT, "top");
    o.device_bytes_max = 4096;
    check_refused(&o, &tiny, MJ_ERR_DEVICE_MEMORY, "MiB");
    CHECK(no_child_left());
}

TEST(a_worker_that_never_works_is_given_up)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.worker_path = "/bin/false";
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_CHILD);
    CHECK_CONTAINS(error.text, "false");
    mj_tune_result_free(&result);
    o = options_for(&w);
    o.compile_path = "/bin/false";
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_ERR_CHILD);
    CHECK_CONTAINS(error.text, "false");
    mj_tune_result_free(&result);
    CHECK(no_child_left());
}

TEST(a_damaged_store_makes_way)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.token_count_count = 1;
    o.accept = accept_one;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    char path[1024];
    snprintf(path, sizeof(path), "%s", result.store_path);
    mj_tune_result_free(&result);
    temp_write(path, "{ damaged", 9);
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.persisted);
    mj_tune_result_free(&result);
    char aside[1100];
    snprintf(aside, sizeof(aside), "%s.damaged", path);
    char *now = temp_read(aside, NULL);
    CHECK_STRING(now, "{ damaged");
    free(now);
}

TEST(a_dry_run_counts_and_starts_nothing)
{
    watch w = {0};
    mj_tune_forecast forecast;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.worker_path = "/nonexistent/worker";
    CHECK_STATUS(mj_tune_dry_run(context, &tiny, &o, &forecast, &error), MJ_OK);
    CHECK_INT(forecast.rows, 2);
    CHECK(forecast.candidates >= 4 && forecast.kernels >= 2 && forecast.kernels <= forecast.candidates);
    CHECK(forecast.refused > 0 && forecast.seconds > 0);
    mj_tune_result result;
    o.effort = MJ_EFFORT_ESTIMATE;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.row_count, 2);
    CHECK(result.rows[0].best.estimate_us > 0 && result.rows[0].best.time_us_median == 0 && !result.rows[0].verified);
    CHECK_INT(result.rows[0].origin, MJ_ORIGIN_ESTIMATE);
    mj_tune_result_free(&result);
}

int main(int argc, char **argv)
{
    if (!fixture_start()) {
        return 2;
    }
    CHECK_BEGIN(argc, argv);
    RUN(a_tune_finds_stores_and_then_skips);
    RUN(stand_ins_are_tuned_beside_their_gemms);
    RUN(a_part_of_the_space_replaces_only_what_is_slower);
    RUN(the_stored_choice_races_along);
    RUN(force_moves_another_version_aside);
    RUN(another_version_that_comes_in_between_is_left_alone);
    RUN(poisoned_kernels_do_not_win_or_end_the_sweep);
    RUN(a_cancelled_tune_keeps_what_is_finished);
    RUN(a_killed_tune_resumes);
    RUN(bench_and_verify_take_one_config);
    RUN(a_spent_budget_keeps_rows_and_says_so);
    RUN(a_save_that_fails_is_said_and_costs_no_result);
    RUN(nothing_starts_when_it_cannot_be_saved);
    RUN(bad_wishes_are_named);
    RUN(a_worker_that_never_works_is_given_up);
    RUN(a_damaged_store_makes_way);
    RUN(a_dry_run_counts_and_starts_nothing);
    fixture_end();
    return CHECK_END();
}
