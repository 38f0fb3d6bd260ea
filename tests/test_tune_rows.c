/* What a tune does with its rows on the side: what it resumes, when it stops, what it says of a part of the space. A tiny layer on the
 * CPU, as in test_tune.c. */
#define _GNU_SOURCE
#include "check.h"

#include "tune_fixture.h"

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

    /* Other data files: one template says something more. */
    char folder[1024], command[4096];
    snprintf(folder, sizeof(folder), "%s/data", temp_folder);
    snprintf(command, sizeof(command),
             "mkdir -p '%s/templates' && cp '%s/templates/cpu.tmpl' '%s/templates/' && echo '/* more */' "
             ">>'%s/templates/cpu.tmpl'",
             folder, MJ_TEST_SOURCE_DIR, folder, folder);
    CHECK_INT(system(command), 0);
    mj_context *with = NULL;
    mj_context_options options = {.cache_dir = context->cache_dir, .store_dir = store_dir, .data_dir = folder};
    CHECK_STATUS(mj_context_create(&options, &with, NULL), MJ_OK);
    other = o;
    int resumed = resumed_by(with, other);
    mj_context_destroy(with);
    CHECK_INT(resumed, 0);
    CHECK_INT(resumed_by(context, o), 1);
}

int main(int argc, char **argv)
{
    if (!fixture_start()) {
        return 2;
    }
    CHECK_BEGIN(argc, argv);
    RUN(failures_of_a_limit_are_not_resumed);
    RUN(measurements_under_other_conditions_are_not_resumed);
    fixture_end();
    return CHECK_END();
}
