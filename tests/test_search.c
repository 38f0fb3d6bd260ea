/* The race on made-up times: what wins, what is dropped, how little is measured; and who races at all. */
#include "gen_fixture.h"
#include "search.h"
#include "tune_session.h"

typedef struct sim {
    double true_us;
    double noise;    /* relative, alternating */
    mj_reason fault; /* at the look */
    int dies_in_final;
    int looks, samples;
} sim;

typedef struct world {
    sim *sims;
    uint32_t seen, not_ready; /* bit mask */
    mj_status stop_at_look;
    uint64_t random;
} world;

static double noisy(world *w, const sim *s)
{
    w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
    double unit = (double)(w->random >> 40) / (1 << 24) * 2 - 1;
    return s->true_us * (1 + s->noise * unit);
}

static bool ready(void *user, uint32_t index)
{
    world *w = user;
    return !(w->not_ready >> index & 1);
}

static mj_status look(void *user, uint32_t index, double incumbent_us, mj_contestant *c, mj_error *error)
{
    world *w = user;
    (void)incumbent_us;
    w->sims[index].looks++;
    if (w->stop_at_look != MJ_OK) {
        return mj_fail(error, w->stop_at_look, "stopped");
    }
    c->reason = w->sims[index].fault;
    if (c->reason == MJ_REASON_NONE) {
        c->time_us_median = noisy(w, &w->sims[index]);
        c->sample_count = 5;
    }
    w->not_ready &= ~(1u << ((index + 1) % 32)); /* compiling goes on meanwhile */
    return MJ_OK;
}

static mj_status sample(void *user, uint32_t index, mj_samples *samples, mj_contestant *c, mj_error *error)
{
    world *w = user;
    (void)error;
    w->sims[index].samples++;
    if (w->sims[index].dies_in_final) {
        c->reason = MJ_REASON_CRASH;
        return MJ_OK;
    }
    for (int i = 0; i < 4; i++) {
        samples->us[samples->count++] = noisy(w, &w->sims[index]);
    }
    return MJ_OK;
}

static void seen(void *user, uint32_t index, const mj_contestant *c)
{
    (void)index;
    (void)c;
    ((world *)user)->seen++;
}

static const char *const names[] = {"mma h", "mma g", "mma f", "mma e", "mma d", "mma c", "mma b", "mma a"};

static mj_status race(world *w, uint32_t count, uint32_t default_index, mj_contestant *contestants, uint32_t *winner,
                      double *default_us)
{
    memset(contestants, 0, count * sizeof(*contestants));
    for (uint32_t i = 0; i < count; i++) {
        contestants[i].text = names[i];
        contestants[i].is_default = i == default_index;
    }
    mj_race r = {contestants, count, ready, look, sample, seen, w};
    return mj_race_run(&r, winner, default_us, NULL);
}

TEST(the_fastest_wins)
{
    sim sims[8] = {{.true_us = 100}, {.true_us = 90}, {.true_us = 50}, {.true_us = 80},
                   {.true_us = 300}, {.true_us = 70}, {.true_us = 60}, {.true_us = 55}};
    for (int i = 0; i < 8; i++) {
        sims[i].noise = 0.01;
    }
    world w = {.sims = sims};
    mj_contestant c[8];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 8, 0, c, &winner, &default_us), MJ_OK);
    CHECK_INT(winner, 2);
    CHECK(fabs(default_us - 100) < 2);
    CHECK_INT(c[4].reason, MJ_REASON_SLOW);
    CHECK_INT(sims[4].samples, 0); /* dropped at first sight */
    CHECK(c[2].sample_count >= 20 && c[0].sample_count >= 20);
    CHECK_INT(sims[0].looks, 1);
}

TEST(the_default_wins_ties_and_is_never_beaten_by_noise)
{
    sim sims[4] = {{.true_us = 100}, {.true_us = 100.2}, {.true_us = 100.1}, {.true_us = 100}};
    world w = {.sims = sims};
    mj_contestant c[4];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 4, 1, c, &winner, &default_us), MJ_OK);
    CHECK_INT(winner, 1);
    CHECK(default_us >= 100);
}

TEST(a_default_that_is_fastest_stays)
{
    sim sims[4] = {{.true_us = 100}, {.true_us = 120}, {.true_us = 110}, {.true_us = 105}};
    world w = {.sims = sims};
    mj_contestant c[4];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 4, 0, c, &winner, &default_us), MJ_OK);
    CHECK_INT(winner, 0);
}

TEST(equals_are_ordered_by_text_so_that_two_tunes_agree)
{
    for (uint64_t seed = 1; seed < 40; seed++) {
        sim sims[6] = {{.true_us = 200, .noise = .02},    {.true_us = 100, .noise = .01},
                       {.true_us = 100.05, .noise = .01}, {.true_us = 100.1, .noise = .01},
                       {.true_us = 130, .noise = .01},    {.true_us = 180, .noise = .01}};
        world w = {.sims = sims, .random = seed};
        mj_contestant c[6];
        uint32_t winner;
        double default_us;
        CHECK_STATUS(race(&w, 6, 0, c, &winner, &default_us), MJ_OK);
        CHECK_INT(winner, 3); /* "mma e" sorts before "mma f" and "mma g" */
    }
}

TEST(a_slow_default_is_still_measured_to_the_end)
{
    sim sims[3] = {{.true_us = 1000}, {.true_us = 100}, {.true_us = 101}};
    world w = {.sims = sims};
    mj_contestant c[3];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 3, 0, c, &winner, &default_us), MJ_OK);
    CHECK(winner != 0);
    CHECK(default_us == 1000);
}

TEST(failures_are_kept_out)
{
    sim sims[4] = {{.true_us = 100},
                   {.true_us = 1, .fault = MJ_REASON_WRONG},
                   {.true_us = 2, .fault = MJ_REASON_CRASH},
                   {.true_us = 50, .dies_in_final = 1}};
    world w = {.sims = sims};
    mj_contestant c[4];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 4, 0, c, &winner, &default_us), MJ_OK);
    CHECK_INT(winner, 0);
    CHECK_INT(c[3].reason, MJ_REASON_CRASH);
    CHECK_INT(sims[3].samples, 1); /* it died once; nobody asks again */
}

TEST(nobody_left_is_no_winner)
{
    sim sims[2] = {{.true_us = 100, .fault = MJ_REASON_WRONG}, {.true_us = 1, .fault = MJ_REASON_COMPILE}};
    world w = {.sims = sims};
    mj_contestant c[2];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 2, 0, c, &winner, &default_us), MJ_OK);
    CHECK(winner == UINT32_MAX && default_us == 0);
    CHECK_STATUS(race(&w, 0, 0, c, &winner, &default_us), MJ_OK);
    CHECK(winner == UINT32_MAX);
}

TEST(what_is_compiled_goes_first)
{
    sim sims[4] = {{.true_us = 100}, {.true_us = 90}, {.true_us = 80}, {.true_us = 70}};
    world w = {.sims = sims, .not_ready = 0x2};
    mj_contestant c[4];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 4, 3, c, &winner, &default_us), MJ_OK);
    CHECK_INT(winner, 3);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(sims[i].looks, 1);
    }
    w.not_ready = 0xf; /* nothing ready at all: it must not spin */
    CHECK_STATUS(race(&w, 4, 3, c, &winner, &default_us), MJ_OK);
}

TEST(an_interruption_ends_the_race)
{
    sim sims[2] = {{.true_us = 100}, {.true_us = 90}};
    world w = {.sims = sims, .stop_at_look = MJ_ERR_INTERRUPTED};
    mj_contestant c[2];
    uint32_t winner;
    double default_us;
    CHECK_STATUS(race(&w, 2, 0, c, &winner, &default_us), MJ_ERR_INTERRUPTED);
    CHECK(winner == UINT32_MAX);
    CHECK_INT(sims[0].looks + sims[1].looks, 1);
}

TEST(reasons_have_names)
{
    CHECK_STRING(mj_reason_text(MJ_REASON_GUARD), "wrote out of bounds");
    CHECK_STRING(mj_reason_text((mj_reason)99), "unknown");
    CHECK_STRING(mj_reason_text((mj_reason)-1), "unknown");
}

/* A quick tune has a few places for what its space calls rare, though the model ranks it behind all others. */
TEST(a_quick_tune_tries_what_is_rare)
{
    enum { SHARED = 3, QUICK = 20, PLACES = 2 };
    fixture f;
    mj_row row = {.result = {.op = MJ_OP_GEMM1, .token_count = 16, .routing = "uniform"}};
    CHECK(fixture_kernel(&f, "E=8,topk=2,H=4096,N=7168", "sm_90a", "wgmma", MJ_OP_GEMM1, ""));
    mj_session s = {.spec = fixture_spec,
                    .problem = f.problem,
                    .scheme = &f.scheme,
                    .arch = &f.arch,
                    .options = {.effort = MJ_EFFORT_QUICK},
                    .device = {.shape = f.arch.typical}};
    CHECK_STATUS(mj_session_plan_candidates(&s, &row, NULL), MJ_OK);
    CHECK(row.candidate_count > QUICK && row.candidate_count <= QUICK + PLACES);
    uint32_t shared = 0;
    for (uint32_t i = 0; i < row.candidate_count; i++) {
        int32_t schedule = 0;
        mj_config_get(&row.candidates[i].config, "schedule", &schedule);
        shared += schedule == SHARED;
        for (uint32_t j = 0; j < i; j++) {
            CHECK(strcmp(row.candidates[i].text, row.candidates[j].text) != 0);
        }
    }
    CHECK_INT(shared, PLACES);
    s.rows = malloc(sizeof row); /* as the session owns it */
    if (s.rows) {
        s.rows[0] = row;
        s.row_count = 1;
        mj_session_free_rows(&s);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    if (!fixture_open()) {
        return 1;
    }
    RUN(a_quick_tune_tries_what_is_rare);
    mj_spec_free(fixture_spec);
    RUN(the_fastest_wins);
    RUN(the_default_wins_ties_and_is_never_beaten_by_noise);
    RUN(a_default_that_is_fastest_stays);
    RUN(equals_are_ordered_by_text_so_that_two_tunes_agree);
    RUN(a_slow_default_is_still_measured_to_the_end);
    RUN(failures_are_kept_out);
    RUN(nobody_left_is_no_winner);
    RUN(what_is_compiled_goes_first);
    RUN(an_interruption_ends_the_race);
    RUN(reasons_have_names);
    return CHECK_END();
}
