/* test_plan_combine.c: gemm2_combine in plans: where a store says that it is the faster, what runs then, and what it computes. */
#define _GNU_SOURCE
#include "plan_fixture.h"

/* gemm2 took 5 us. */
static bool save_store(const mj_problem *problem, const char *family, double combine_us, double fused_us)
{
    const timed_op ops[] = {
        {MJ_OP_GEMM1, 3}, {MJ_OP_GEMM2, 5}, {MJ_OP_GEMM2_COMBINE, fused_us}, {MJ_OP_COMBINE, combine_us}};
    return save_timed(problem, family, ops, sizeof ops / sizeof *ops);
}

static bool runs_alone(const mj_plan *plan)
{
    return mj_plan_runs(plan, MJ_OP_GEMM2_COMBINE, TOKENS_MAX) && !mj_plan_runs(plan, MJ_OP_GEMM2, TOKENS_MAX) &&
           !mj_plan_runs(plan, MJ_OP_COMBINE, TOKENS_MAX);
}

static bool runs_in_two(const mj_plan *plan)
{
    return !mj_plan_runs(plan, MJ_OP_GEMM2_COMBINE, TOKENS_MAX) && mj_plan_runs(plan, MJ_OP_GEMM2, TOKENS_MAX) &&
           mj_plan_runs(plan, MJ_OP_COMBINE, TOKENS_MAX);
}

TEST(timings_say_whether_it_runs)
{
    static const struct {
        double combine_us, fused_us;
        bool alone;
    } cases[] = {{3, 0, false}, {3, 8.5, false}, {3, 7.5, true}, {0, 7.5, false}, {0, 4.5, true}};
    mj_problem problem;
    CHECK_STATUS(mj_problem_parse("E=4,topk=2,H=64,N=130", &problem, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mj_plan *plan = NULL;
        mj_plan_options options = {.max_tokens = TOKENS_MAX, .flags = MJ_PLAN_REQUIRE_VERIFIED};
        CHECK(save_store(&problem, "cpu", cases[i].combine_us, cases[i].fused_us));
        CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, NULL), MJ_OK);
        CHECK(cases[i].alone ? runs_alone(plan) : runs_in_two(plan));
        CHECK(mj_plan_is_verified(plan) && mj_plan_find(plan, MJ_OP_COMBINE, 1)); /* profilers still find the others */
        if (i == 2) {
            CHECK_STRING(reason(plan, MJ_OP_GEMM2_COMBINE),
                         "replaces gemm2 + combine: 7.5 us instead of 8.0; tuned at M=24");
        }
        mj_plan_destroy(plan);
        options.flags = MJ_PLAN_REFERENCE; /* one step at a time */
        CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, NULL), MJ_OK);
        CHECK(runs_in_two(plan));
        mj_plan_destroy(plan);
        options.flags = MJ_PLAN_IGNORE_STORE; /* an estimate never chooses it */
        CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, NULL), MJ_OK);
        CHECK(runs_in_two(plan));
        mj_plan_destroy(plan);
    }
}

/* No more memory than for the two: the rows of pairs lie where gemm2 writes them. To the bit what the two make of them, run by run; the
 * self check runs it too. */
static void check_layer(const char *problem, const char *family)
{
    layer l;
    mj_plan *plan = NULL, *two = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = TOKENS_MAX, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    void *output = NULL, *scales = NULL;
    CHECK(layer_open(&l, problem, TOKENS_MAX));
    for (uint32_t slot = 0; slot < l.problem.top_k; slot++) {
        l.ids[5 * l.problem.top_k + slot] = -1; /* a token of other ranks alone */
    }
    size_t bytes = (size_t)TOKENS_MAX * l.problem.hidden * 2;
    char *want = memory(bytes);
    mj_layer run = arguments(&l);
    CHECK(save_store(&l.problem, family, 3, 9));
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &two, &error), MJ_OK);
    CHECK_STATUS(mj_plan_run(two, &run, NULL, &error), MJ_OK);
    CHECK_STATUS(mj_stream_sync(cpu.device, NULL, &error), MJ_OK);
    make_truth(&l);
    CHECK(worst_error(&l) <= 0.03);
    memcpy(want, l.y, bytes);
    CHECK(save_store(&l.problem, family, 3, 7));
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &plan, &error), MJ_OK);
    CHECK(runs_in_two(two) && runs_alone(plan));
    uint64_t more = mj_plan_workspace_bytes(plan) - mj_plan_workspace_bytes(two);
    CHECK(more <= (uint64_t)TOKENS_MAX * 4 * l.problem.hidden / 16 + 512); /* counters */
    for (int pass = 0; pass < 3; pass++) {
        memset(l.y, 0xff, bytes);
        CHECK_STATUS(mj_plan_run(plan, &run, NULL, &error), MJ_OK);
        CHECK_STATUS(mj_stream_sync(cpu.device, NULL, &error), MJ_OK);
        CHECK(memcmp(want, l.y, bytes) == 0);
    }
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_GEMM2_COMBINE, &run, &output, &scales, &error), MJ_OK);
    CHECK(output == l.y && !scales);
    CHECK_STATUS(mj_plan_selfcheck(plan, TOKENS_MAX, 60, &error), MJ_OK);
    CHECK_CONTAINS(reason(plan, MJ_OP_GEMM2_COMBINE), "passed mj_plan_selfcheck");
    mj_plan_destroy(two);
    mj_plan_destroy(plan);
    free(want);
    layer_close(&l);
}

TEST(layers_whose_gemm_adds_the_rows)
{
    check_layer("E=6,topk=2,H=200,N=136,bias=1", "cpu");
    check_layer("E=9,topk=8,H=83,N=40,scheme=fp16", "cpu");
    check_layer("E=6,topk=3,H=136,N=264,scheme=fp8_w8a8_block", "reference");
}

int main(int argc, char **argv)
{
    if (!open_layers(argc, argv)) {
        return 1;
    }
    RUN(timings_say_whether_it_runs);
    RUN(layers_whose_gemm_adds_the_rows);
    return close_layers();
}
