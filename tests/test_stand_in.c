/* test_stand_in.c: an op that does the work of others in one launch: where a plan uses it, and what is left of theirs. */
#define _GNU_SOURCE
#include "fake_store.h"
#include "select.h"

/* The kernels of one launch of the layer, "tables gemm1 ...", by their symbols' ops. */
static const char *launched(fake_world *w, mj_plan *plan, uint32_t tokens)
{
    static char text[256], memory[4096] __attribute__((aligned(256)));
    mj_layer layer = {.x = memory,
                      .weights1 = memory,
                      .weights2 = memory,
                      .topk_ids = (int32_t *)(void *)memory,
                      .topk_weights = (float *)(void *)memory,
                      .y = memory,
                      .token_count = tokens};
    uint32_t first = w->state.launch_count;
    text[0] = '\0';
    if (mj_plan_run(plan, &layer, NULL, NULL) != MJ_OK) {
        return "it failed";
    }
    for (uint32_t i = first; i < w->state.launch_count; i++) {
        const char *symbol = w->state.launches[i % FAKE_LAUNCHES_MAX].kernel + strlen("mj_");
        const char *end = strstr(symbol, "_simple");
        end = end ? end : strstr(symbol, "_mma");
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%.*s", used ? " " : "", (int)(end - symbol), symbol);
    }
    return text;
}

static uint64_t launched_pointer(const fake_world *w, uint32_t back, size_t offset)
{
    uint64_t pointer = 0;
    memcpy(&pointer, w->state.launches[(w->state.launch_count - back) % FAKE_LAUNCHES_MAX].args + offset, 8);
    return pointer;
}

TEST(a_row_prefers_what_is_faster_and_verified)
{
    fake_world w;
    mj_store_file file;
    double instead = 0;
    CHECK(fake_open(&w));
    fake_tuned tuned = {.row_count = 1, .rows = {{.tokens = 1, .tile = 16, .activation_us = 5, .fused_us = 30.5}}};
    fake_fill(&w, &tuned, &file);
    mj_store_row *row = &file.rows[0];
    CHECK(mj_store_row_prefers(row, MJ_OP_GEMM1_ACT, &instead) && instead == 31);
    row->gemm1_act.verified = false;
    CHECK(!mj_store_row_prefers(row, MJ_OP_GEMM1_ACT, &instead));
    row->gemm1_act.verified = true;
    row->activation.present = false; /* then it must be faster than gemm1 alone */
    CHECK(!mj_store_row_prefers(row, MJ_OP_GEMM1_ACT, &instead) && instead == 26);
    CHECK(mj_store_row_prefers(row, MJ_OP_GEMM1, &instead) && instead == 0);
    CHECK(!mj_store_row_choice(row, MJ_OP_TABLES));
    mj_store_file_free(&file);
    fake_close(&w);
}

/* An op that stands in for one that stands in for others, and for one more. */
TEST(stand_ins_form_a_chain)
{
    static const struct {
        mj_op op, first, replaces[4];
    } rows[] = {{MJ_OP_GEMM1_ACT, MJ_OP_GEMM1, {MJ_OP_GEMM1, MJ_OP_ACTIVATION, MJ_OP_COUNT, MJ_OP_COUNT}},
                {MJ_OP_GEMM1_QUANTISE, MJ_OP_GEMM1, {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT, MJ_OP_ACTIVATION, MJ_OP_QUANTISE2}},
                {MJ_OP_GEMM2_COMBINE, MJ_OP_GEMM2, {MJ_OP_GEMM2, MJ_OP_COMBINE, MJ_OP_COUNT, MJ_OP_COUNT}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int op = 0; op < MJ_OP_COUNT; op++) {
            bool listed = false;
            for (int j = 0; j < 4; j++) {
                listed = listed || rows[i].replaces[j] == (mj_op)op;
            }
            CHECK_INT(mj_op_replaces(rows[i].op, (mj_op)op), listed);
        }
        CHECK_INT(mj_op_stands_for(rows[i].op), rows[i].first);
    }
    CHECK(!mj_op_replaces(MJ_OP_GEMM1, MJ_OP_GEMM1) && mj_op_part(MJ_OP_GEMM1, 0) == MJ_OP_COUNT);
    CHECK(mj_op_part(MJ_OP_GEMM1_QUANTISE, 0) == MJ_OP_GEMM1_ACT &&
          mj_op_part(MJ_OP_GEMM1_QUANTISE, 1) == MJ_OP_QUANTISE2);
    CHECK(mj_op_part(MJ_OP_GEMM1_ACT, 1) == MJ_OP_ACTIVATION && mj_op_part(MJ_OP_GEMM1_ACT, 2) == MJ_OP_COUNT);
}

TEST(a_chain_is_weighed_against_its_faster_part)
{
    fake_world w;
    mj_store_file file;
    double instead = 0;
    CHECK(fake_open(&w)); /* gemm1 takes 26 us */
    fake_tuned tuned = {.row_count = 1, .rows = {{.tokens = 1, .tile = 16, .activation_us = 5, .fused_us = 33}}};
    fake_fill(&w, &tuned, &file);
    mj_store_row *row = &file.rows[0];
    row->gemm1_quantise = fake_choice(&w, MJ_OP_GEMM1_QUANTISE, "wgmma", 64, false);
    row->quantise2 = fake_choice(&w, MJ_OP_QUANTISE2, "simple", 0, false);
    row->quantise2.time_us_median = 4;
    row->gemm1_quantise.time_us_median = 34.5;
    CHECK(mj_store_row_prefers(row, MJ_OP_GEMM1_QUANTISE, &instead) && instead == 35); /* gemm1 and activation: 31 */
    row->gemm1_act.time_us_median = 30;
    CHECK(!mj_store_row_prefers(row, MJ_OP_GEMM1_QUANTISE, &instead) && instead == 34);
    row->gemm1_act.verified = false; /* then a plan does without it */
    CHECK(mj_store_row_prefers(row, MJ_OP_GEMM1_QUANTISE, &instead) && instead == 35);
    row->gemm1_act.present = false;
    CHECK(mj_store_row_prefers(row, MJ_OP_GEMM1_QUANTISE, &instead) && instead == 35);
    row->quantise2.present = false;
    CHECK(!mj_store_row_prefers(row, MJ_OP_GEMM1_QUANTISE, &instead) && instead == 31);
    mj_store_file_free(&file);
    fake_close(&w);
}

TEST(a_stand_in_runs_where_the_store_says_that_it_is_faster)
{
    fake_world w;
    mj_plan *plan = NULL;
    CHECK(fake_open(&w)); /* gemm1 takes 10 us more than its tile */
    fake_tuned tuned = {.identity = fake_identity(&w),
                        .row_count = 3,
                        .rows = {{.tokens = 1, .tile = 16, .activation_us = 5, .fused_us = 30.5},
                                 {.tokens = 16, .tile = 32, .activation_us = 5, .fused_us = 47},
                                 {.tokens = 64, .tile = 64}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 512, MJ_PLAN_REQUIRE_VERIFIED, NULL, &plan, NULL), MJ_OK);
    const mj_plan_row *row = fake_row_for(plan, MJ_OP_GEMM1_ACT, 3);
    CHECK(row && row->tokens_from == 1 && row->tokens_to == 4 && row->verified && row->time_us_median == 30.5);
    CHECK_STRING(row->reason, "replaces gemm1 + activation: 30.5 us instead of 31.0; tuned at M=1");
    CHECK(!fake_row_for(plan, MJ_OP_GEMM1_ACT, 5) && !fake_row_for(plan, MJ_OP_GEMM1_ACT, 512));
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 1), 16); /* profilers still find the others */
    CHECK(fake_row_for(plan, MJ_OP_ACTIVATION, 1) && fake_row_for(plan, MJ_OP_ACTIVATION, 512));
    CHECK(mj_plan_is_verified(plan));
    CHECK_STRING(launched(&w, plan, 4), "tables gemm1_act gemm2 combine");
    CHECK(launched_pointer(&w, 3, 24) == launched_pointer(&w, 2, 0)); /* its output is gemm2's input */
    CHECK_STRING(launched(&w, plan, 5), "tables gemm1 activation gemm2 combine");
    CHECK(launched_pointer(&w, 3, 8) == launched_pointer(&w, 2, 0));
    CHECK_STRING(launched(&w, plan, 512), "tables gemm1 activation gemm2 combine");
    mj_plan_destroy(plan);
    CHECK_INT(w.state.kernels_loaded, 0);
    fake_close(&w);
}

TEST(one_op_of_the_layer_at_a_time)
{
    fake_world w;
    mj_plan *plan = NULL;
    static char memory[4096] __attribute__((aligned(256)));
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w),
                        .row_count = 2,
                        .rows = {{.tokens = 1, .tile = 16, .fused_us = 20}, {.tokens = 16, .tile = 32}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 64, 0, NULL, &plan, NULL), MJ_OK);
    mj_layer layer = {.x = memory,
                      .weights1 = memory,
                      .weights2 = memory,
                      .topk_ids = (int32_t *)(void *)memory,
                      .topk_weights = (float *)(void *)memory,
                      .y = memory};
    static const struct {
        uint32_t tokens;
        mj_op op;
        uint32_t launches;
    } cases[] = {{2, MJ_OP_GEMM1, 1},  {2, MJ_OP_GEMM1_ACT, 1},  {2, MJ_OP_ACTIVATION, 1},  {2, MJ_OP_QUANTISE2, 0},
                 {20, MJ_OP_GEMM1, 1}, {20, MJ_OP_GEMM1_ACT, 0}, {20, MJ_OP_ACTIVATION, 1}, {20, MJ_OP_COMBINE, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t before = w.state.launch_count;
        layer.token_count = cases[i].tokens;
        CHECK_STATUS(mj_plan_run_op(plan, cases[i].op, &layer, NULL, NULL), MJ_OK);
        CHECK_INT(w.state.launch_count - before, cases[i].launches);
    }
    mj_plan_destroy(plan);
    fake_close(&w);
}

/* Nobody verified it, or its binary is gone: the others run, as without it. */
TEST(a_stand_in_that_cannot_be_had_is_done_without)
{
    for (int lost = 0; lost < 2; lost++) {
        fake_world w;
        mj_plan *plan = NULL;
        CHECK(fake_open(&w));
        fake_tuned tuned = {
            .identity = fake_identity(&w),
            .row_count = 1,
            .rows = {{.tokens = 1, .tile = 16, .fused_us = 20, .fused_absent = lost, .fused_unverified = !lost}}};
        CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
        CHECK_STATUS(fake_plan_create(&w, 8, MJ_PLAN_REQUIRE_VERIFIED, NULL, &plan, NULL), MJ_OK);
        CHECK(!fake_row_for(plan, MJ_OP_GEMM1_ACT, 1) && mj_plan_is_verified(plan));
        CHECK_STRING(launched(&w, plan, 1), "tables gemm1 activation gemm2 combine");
        if (lost) {
            CHECK_CONTAINS(w.log.text, "gemm1_act M=1 skipped: kernel ");
        }
        mj_plan_destroy(plan);
        fake_close(&w);
    }
}

TEST(rows_that_no_launch_uses_need_no_verification)
{
    fake_world w;
    mj_plan *plan = NULL;
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w),
                        .row_count = 2,
                        .rows = {{.tokens = 1, .tile = 16, .fused_us = 20}, {.tokens = 4, .tile = 32, .fused_us = 20}}};
    mj_store_file file;
    char name[512], path[1024];
    fake_fill(&w, &tuned, &file);
    file.rows[0].gemm1.verified = false;
    CHECK_STATUS(mj_store_file_name(&file.problem, tuned.identity.device, name, sizeof name, NULL), MJ_OK);
    CHECK_STATUS(mj_os_join(path, sizeof path, w.store_dir, name, NULL), MJ_OK);
    for (int fused = 1; fused >= 0; fused--) {
        file.rows[0].gemm1_act.present = fused;
        CHECK_STATUS(mj_store_replace(path, &file, NULL), MJ_OK);
        CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, NULL), MJ_OK);
        CHECK(!fake_row_for(plan, MJ_OP_GEMM1, 1)->verified);
        CHECK_INT(mj_plan_is_verified(plan), fused);
        mj_plan_destroy(plan);
    }
    mj_store_file_free(&file);
    fake_close(&w);
}

TEST(another_devices_times_decide_on_its_arch)
{
    fake_world w;
    mj_plan *plan = NULL;
    CHECK(fake_open(&w));
    fake_tuned tuned = {
        .identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16, .fused_us = 20}}};
    snprintf(tuned.identity.device, sizeof tuned.identity.device, "Fake Two");
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, NULL), MJ_OK);
    const mj_plan_row *row = fake_row_for(plan, MJ_OP_GEMM1_ACT, 8);
    CHECK(row && !row->verified && row->time_us_median == 0 && row->origin == MJ_ORIGIN_STORE_ARCH);
    CHECK_STRING(row->reason,
                 "replaces gemm1 + activation: 20.0 us instead of 26.0; device: Fake Two, not Fake One; tuned at M=1");
    CHECK(!mj_plan_is_verified(plan));
    mj_plan_destroy(plan);
    fake_close(&w);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(a_row_prefers_what_is_faster_and_verified);
    RUN(stand_ins_form_a_chain);
    RUN(a_chain_is_weighed_against_its_faster_part);
    RUN(a_stand_in_runs_where_the_store_says_that_it_is_faster);
    RUN(one_op_of_the_layer_at_a_time);
    RUN(a_stand_in_that_cannot_be_had_is_done_without);
    RUN(rows_that_no_launch_uses_need_no_verification);
    RUN(another_devices_times_decide_on_its_arch);
    return CHECK_END();
}
