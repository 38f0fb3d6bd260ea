/* What a tune does with its rows on the side: what it resumes, when it stops, what it says of a part of the space. A tiny layer on the
 * CPU, as in test_tune.c. */
#define _GNU_SOURCE
#include "check.h"

#include "child.h"
#include "helper.h"
#include "json.h"
#include "memory_need.h"
#include "tune_fixture.h"

/* A context of the same cache whose cpu.tmpl ends with one more line. NULL: not to be had. */
static mj_context *other_template(const char *line)
{
    static int count;
    char folder[1024], command[4096];
    mj_context *out = NULL;
    snprintf(folder, sizeof(folder), "%s/data-%d", temp_folder, ++count);
    snprintf(
        command, sizeof(command),
        "mkdir -p '%s/templates' && cp '%s/templates/cpu.tmpl' '%s/templates/' && echo '%s' >>'%s/templates/cpu.tmpl'",
        folder, MJ_TEST_SOURCE_DIR, folder, line, folder);
    mj_context_options options = {.cache_dir = context->cache_dir, .store_dir = store_dir, .data_dir = folder};
    return system(command) == 0 && mj_context_create(&options, &out, NULL) == MJ_OK ? out : NULL;
}

/* ---- The journal ---- */
/* A tune of one row that is stopped once so many candidates are done. */
static void leave_behind(mj_context *in, mj_tune_options o, uint32_t candidates)
{
    watch w = {.stop_after_candidates = candidates};
    mj_tune_result result;
    mj_error error = {0};
    o.user = &w;
    CHECK_STATUS(mj_tune(in, &tiny, &o, &result, &error), MJ_ERR_INTERRUPTED);
    mj_tune_result_free(&result);
}

/* How many of its measurements another tune takes up. */
static int resumed_by(mj_context *in, mj_tune_options o)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    o.user = &w;
    mj_status status = mj_tune(in, &tiny, &o, &result, &error);
    int resumed = status == MJ_OK ? (int)result.resumed : -1;
    if (status != MJ_OK) {
        printf("# %s\n", error.text);
    }
    mj_tune_result_free(&result);
    return resumed;
}

/* A candidate that ran out of time may be fine where there is more of it. */
TEST(failures_of_a_limit_are_not_resumed)
{
    mj_tune_options o = options_for(NULL);
    fresh_folders();
    o.accept = accept_one;
    o.token_count_count = 1;
    o.candidate_seconds_max = 1.5;
    setenv("MOEJIT_TEST_POISON", "hang,nan", 1);
    leave_behind(context, o, 3);
    int resumed = resumed_by(context, o); /* the clean one and the wrong one */
    unsetenv("MOEJIT_TEST_POISON");
    CHECK_INT(resumed, 2);
    CHECK(no_child_left());
}

TEST(measurements_under_other_conditions_are_not_resumed)
{
    mj_tune_options o = options_for(NULL);
    fresh_folders();
    o.accept = accept_few;
    o.token_count_count = 1;
    leave_behind(context, o, 1);
    mj_tune_options other = o;
    other.device_bytes_max /= 2;
    CHECK_INT(resumed_by(context, other), 0);

    mj_context *with = other_template("/* more */"); /* other data files */
    CHECK(with);
    other = o;
    int resumed = resumed_by(with, other);
    mj_context_destroy(with);
    CHECK_INT(resumed, 0);
    CHECK_INT(resumed_by(context, o), 1);
}

/* ---- The budget ---- */
/* With so little memory that every row that is prepared says so. */
static mj_status bench_tight(double budget_seconds, watch *w, mj_tune_result *out, mj_error *error)
{
    static const uint32_t sizes[] = {700, 800, 900};
    const mj_spec *spec = NULL;
    const mj_scheme *scheme = NULL;
    mj_memory_need need = {0};
    mj_tune_options o = options_for(w);
    o.token_counts = sizes;
    o.token_count_count = 3;
    o.budget_seconds = budget_seconds;
    mj_status status = mj_context_spec(context, &spec, error);
    status = status ? status : mj_spec_find_scheme(spec, tiny.scheme, &scheme, error);
    status = status ? status : mj_memory_need_gemm(&tiny, scheme, MJ_OP_GEMM1, 900, &need, error);
    o.device_bytes_max = need.bytes;
    return status ? status : mj_bench(context, &tiny, &o, out, error);
}

TEST(a_spent_budget_prepares_no_further_row)
{
    watch w = {0};
    mj_tune_result result = {0};
    mj_error error = {0};
    fresh_folders();
    CHECK_STATUS(bench_tight(0, &w, &result, &error), MJ_OK);
    CHECK(result.row_count == 3 && !result.budget_spent);
    CHECK_CONTAINS(w.last_message, "sets of activations");
    mj_tune_result_free(&result);
    w = (watch){0};
    CHECK_STATUS(bench_tight(1e-3, &w, &result, &error), MJ_OK);
    CHECK(result.row_count == 0 && result.budget_spent);
    CHECK(!strstr(w.last_message, "sets of activations"));
    mj_tune_result_free(&result);
}

/* ---- What is said ---- */
TEST(nobody_survives)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    fresh_folders();
    mj_tune_options o = options_for(&w);
    o.accept = accept_one;
    o.token_count_count = 1;
    mj_context *broken = other_template("#error not a kernel");
    CHECK(broken);
    mj_status status = mj_tune(broken, &tiny, &o, &result, &error);
    CHECK_STATUS(status, MJ_OK);
    CHECK(result.row_count == 1 && result.rows[0].failed_by_reason[MJ_REASON_COMPILE] == 1);
    CHECK(!result.rows[0].best.family[0] && !result.rows[0].verified && result.rows[0].row_error < 0);
    CHECK(access(result.store_path, F_OK) != 0);
    CHECK(!result.persisted && !result.not_saved[0]);
    CHECK_INT(result.rows[0].origin, MJ_ORIGIN_ESTIMATE);
    mj_tune_result_free(&result);

    o.family = "cpu";
    o.config = "rows=16,tile_k=512,tile_n=64";
    o.accept = NULL;
    mj_verify(broken, &tiny, &o, &result, &error); /* and what was never run has no error of a row */
    mj_context_destroy(broken);
    CHECK(result.row_count > 0 && result.rows[0].best.reason == MJ_REASON_COMPILE);
    CHECK(result.rows[0].row_error < 0);
    mj_tune_result_free(&result);
}

/* ---- A worker with another's words ---- */
/* As MOEJIT_TEST_PROXY says: "reason": a finding's "ok" is none any more; "launches": the second time took fewer of them, and all are as
 * long. */
static void reword(char *text)
{
    static const char samples[] = "\"samples_us\":[";
    static int times;
    const char *what = getenv("MOEJIT_TEST_PROXY");
    char *reason = strstr(text, "\"reason\":\"ok\""), *launches = strstr(text, "\"launches\":");
    char *from = strstr(text, samples), *to = from ? strchr(from, ']') : NULL;
    if (what && strcmp(what, "reason") == 0 && reason) {
        memcpy(reason + strlen("\"reason\":\""), "ko", 2);
    }
    if (what && strcmp(what, "launches") == 0 && launches && to) {
        from += strlen(samples);
        memset(from, ' ', (size_t)(to - from));
        *from = '7';
        char *count = launches + strlen("\"launches\":");
        size_t digits = strspn(count, "0123456789");
        if (++times <= 2 && digits > 0) { /* 20 where the machine has time, any number where it is busy */
            memset(count, ' ', digits);
            count[digits - 1] = times == 1 ? '9' : '3';
        }
    }
}

/* Between a tune and moejit-worker. */
static int be_proxy(int argc, char **argv)
{
    mj_helper helper;
    mj_child child;
    char path[1100];
    snprintf(path, sizeof(path), "%s/moejit-worker", check_build_dir());
    mj_status status = mj_helper_start(argc, argv, &helper, NULL);
    status = status ? status : mj_child_start(path, NULL, 0, &child, NULL);
    while (status == MJ_OK) {
        mj_json *message = NULL;
        status = mj_helper_receive(&helper, &message, NULL);
        status = status ? status : mj_child_send(&child, message, NULL);
        mj_json_free(message);
        status = status ? status : mj_child_wait(&child, 60, &message, NULL);
        char *text = status == MJ_OK ? mj_json_print(message, false) : NULL;
        if (text) {
            reword(text);
            mj_json_free(message);
            status = mj_json_parse(text, strlen(text), "reply", &message, NULL);
        }
        free(text);
        status = status ? status : mj_helper_send(&helper, message, NULL);
        mj_json_free(status == MJ_OK ? message : NULL);
    }
    mj_child_stop(&child, 5);
    mj_helper_end(&helper);
    return 0;
}

static const char *self_path(void)
{
    static char path[1100];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[bytes > 0 ? bytes : 0] = 0;
    return path;
}

static uint32_t last_launches[2]; /* of the last two candidates that were heard of: a final of two */
static void on_launches(void *user, const mj_candidate_result *result)
{
    on_candidate(user, result);
    last_launches[0] = last_launches[1];
    last_launches[1] = result->launches;
}

/* Each launch of a replay has another routing: who is compared in the end launches as many. */
TEST(finalists_are_timed_over_the_same_routings)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    fresh_folders();
    mj_tune_options o = options_for(&w);
    o.worker_path = self_path();
    o.token_count_count = 1;
    o.candidate = on_launches;
    setenv("MOEJIT_TEST_PROXY", "launches", 1);
    mj_status status = mj_tune(context, &tiny, &o, &result, &error);
    unsetenv("MOEJIT_TEST_PROXY");
    CHECK_STATUS(status, MJ_OK);
    CHECK_INT(result.rows[0].dropped, 0);
    mj_tune_result_free(&result);
    CHECK_INT(last_launches[0], 3);
    CHECK_INT(last_launches[1], 3);
}

TEST(an_unknown_finding_is_no_verification)
{
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    fresh_folders();
    mj_tune_options o = options_for(&w);
    o.worker_path = self_path();
    o.accept = accept_one;
    o.token_count_count = 1;
    setenv("MOEJIT_TEST_PROXY", "reason", 1);
    mj_status status = mj_verify(context, &tiny, &o, &result, &error);
    unsetenv("MOEJIT_TEST_PROXY");
    CHECK(result.row_count == 0 || !result.rows[0].verified);
    mj_tune_result_free(&result);
    CHECK_STATUS(status, MJ_ERR_CHILD);
    CHECK_CONTAINS(error.text, "'ko'");
}

/* ---- The space ---- */
static bool refuse_and_count(void *user, mj_op op, const char *family, const mj_config *config)
{
    (void)op, (void)family, (void)config;
    (*(uint32_t *)user)++;
    return false;
}

/* Some targets have more legal configs than anything here has room for by itself: the last of them is a candidate too. */
TEST(the_last_of_thousands_of_configs_is_a_candidate)
{
    static const uint32_t tokens = 64;
    static mj_ranked ranked[8192];
    mj_problem layer = {.expert_count = 8,
                        .expert_total_count = 8,
                        .top_k = 2,
                        .hidden = 4096,
                        .intermediate = 7168,
                        .gated = true,
                        .scheme = "bf16",
                        .layout = "default"};
    const mj_spec *spec = NULL;
    const mj_arch *arch = NULL;
    mj_error error = {0};
    uint32_t count = 0, asked = 0;
    char last[1024];
    CHECK_STATUS(mj_context_spec(context, &spec, &error), MJ_OK);
    CHECK_STATUS(mj_spec_find_arch(spec, "gfx950", &arch, &error), MJ_OK);
    CHECK_STATUS(mj_estimate_rank(spec, &layer, arch, MJ_OP_GEMM1, NULL, &arch->typical, tokens, NULL, ranked, 8192,
                                  &count, NULL, &error),
                 MJ_OK);
    CHECK(count > 4096 && count < 8192);
    CHECK_STATUS(mj_config_print(&ranked[count - 1].config, last, sizeof(last), &error), MJ_OK);
    mj_tune_result result;
    mj_tune_options o = {.arch = "gfx950",
                         .effort = MJ_EFFORT_ESTIMATE,
                         .gemm1_only = true,
                         .no_stand_ins = true,
                         .token_count_count = 1,
                         .token_counts = &tokens,
                         .family = ranked[count - 1].space->family,
                         .config = last};
    CHECK_STATUS(mj_bench(context, &layer, &o, &result, &error), MJ_OK);
    CHECK(result.row_count == 1 && mj_config_equal(&result.rows[0].best.config, &ranked[count - 1].config));
    mj_tune_result_free(&result);
    o.config = o.family = NULL;
    o.accept = refuse_and_count;
    o.user = &asked;
    CHECK_STATUS(mj_bench(context, &layer, &o, &result, &error), MJ_ERR_ILLEGAL);
    CHECK_INT(asked, count + 1); /* and the default by itself before */
    mj_tune_result_free(&result);
}

static mj_config forbidden;
static bool accept_another(void *user, mj_op op, const char *family, const mj_config *config)
{
    (void)user, (void)op, (void)family;
    return !mj_config_equal(config, &forbidden);
}

/* What a plan would serve is the estimate's choice for the whole space, also where a call looks at a part of it. */
TEST(the_first_of_a_part_is_not_the_default)
{
    static const char *const routings[] = {"uniform", "zipf1"};
    static const char *const families[] = {NULL, "cpu", "reference"}; /* the default is of the cpu's */
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = {.arch = "cpu",
                         .effort = MJ_EFFORT_ESTIMATE,
                         .gemm1_only = true,
                         .no_stand_ins = true,
                         .token_count_count = 2,
                         .token_counts = batch_sizes,
                         .routing_count = 2,
                         .routings = routings};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        o.family = families[i];
        CHECK_STATUS(mj_bench(context, &tiny, &o, &result, &error), MJ_OK);
        CHECK_INT(result.row_count, 4);
        for (uint32_t r = 0; r < result.row_count; r++) {
            CHECK_INT(result.rows[r].best.is_default, i < 2);
        }
        forbidden = i == 0 ? result.rows[0].best.config : forbidden;
        mj_tune_result_free(&result);
    }
    o.family = NULL;
    o.accept = accept_another;
    CHECK_STATUS(mj_bench(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK(result.rows[0].best.estimate_us > 0 && !mj_config_equal(&result.rows[0].best.config, &forbidden));
    CHECK(!result.rows[0].best.is_default && !result.rows[1].best.is_default);
    mj_tune_result_free(&result);
}

/* Bench and verify look at what a plan takes: the nearest row within a factor of 8, of uniform where the routing has none. */
TEST(bench_takes_the_row_that_a_plan_takes)
{
    static const uint32_t tuned[] = {2, 9}, asked[] = {1, 4, 5, 72, 73};
    static const uint32_t want[] = {2, 2, 9, 9, 0}; /* floor(sqrt(2 * 9)) is 4 */
    static const char *const routings[] = {"uniform", "zipf1"};
    watch w = {0};
    mj_tune_result result;
    mj_error error = {0};
    mj_tune_options o = options_for(&w);
    fresh_folders();
    o.accept = accept_one;
    o.token_counts = tuned;
    CHECK_STATUS(mj_tune(context, &tiny, &o, &result, &error), MJ_OK);
    const mj_config chosen = result.rows[0].best.config;
    mj_tune_result_free(&result);
    o.accept = NULL;
    o.no_stand_ins = true;
    o.token_counts = asked;
    o.token_count_count = 5;
    o.routing_count = 2;
    o.routings = routings;
    CHECK_STATUS(mj_verify(context, &tiny, &o, &result, &error), MJ_OK);
    CHECK_INT(result.row_count, 10);
    for (uint32_t i = 0; i < result.row_count; i++) {
        const mj_tune_row *row = &result.rows[i];
        CHECK_INT(row->token_count, asked[i / 2]);
        CHECK_INT(row->tuned_at, want[i / 2]);
        CHECK_STRING(row->tuned_routing, want[i / 2] ? "uniform" : "");
        CHECK_INT(row->origin, want[i / 2] ? MJ_ORIGIN_STORE : MJ_ORIGIN_ESTIMATE);
        CHECK(row->verified && (want[i / 2] == 0 || mj_config_equal(&row->best.config, &chosen)));
    }
    mj_tune_result_free(&result);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strncmp(argv[1], "--parent=", 9) == 0) {
        return be_proxy(argc, argv);
    }
    if (!fixture_start()) {
        return 2;
    }
    CHECK_BEGIN(argc, argv);
    RUN(failures_of_a_limit_are_not_resumed);
    RUN(measurements_under_other_conditions_are_not_resumed);
    RUN(a_spent_budget_prepares_no_further_row);
    RUN(nobody_survives);
    RUN(finalists_are_timed_over_the_same_routings);
    RUN(an_unknown_finding_is_no_verification);
    RUN(the_last_of_thousands_of_configs_is_a_candidate);
    RUN(the_first_of_a_part_is_not_the_default);
    RUN(bench_takes_the_row_that_a_plan_takes);
    fixture_end();
    return CHECK_END();
}
