/* test_plan_codes.c: gemm1_quantise in plans: where a store says that it is the faster, what runs then, and what it computes. And
 * plans whose kernels lie in the cache, or do not. */
#define _GNU_SOURCE
#include "plan_fixture.h"

/* gemm1, activation and quantise2 took 3 us each. The reference family's: no other on the cpu has gemm1_quantise. */
static bool save_store(const mj_problem *problem, double act_us, double quantise_us)
{
    const timed_op ops[] = {{MJ_OP_GEMM1, 3},      {MJ_OP_GEMM1_ACT, act_us}, {MJ_OP_GEMM1_QUANTISE, quantise_us},
                            {MJ_OP_ACTIVATION, 3}, {MJ_OP_QUANTISE2, 3},      {MJ_OP_GEMM2, 3}};
    return save_timed(problem, "reference", ops, sizeof ops / sizeof *ops);
}

/* The ops that a launch of all tokens runs between quantise1 and gemm2, "gemm1 activation quantise2". */
static const char *sequence(const mj_plan *plan)
{
    static char text[128];
    text[0] = '\0';
    for (int op = MJ_OP_GEMM1; op < MJ_OP_GEMM2; op++) {
        size_t used = strlen(text);
        if (mj_plan_runs(plan, (mj_op)op, TOKENS_MAX)) {
            snprintf(text + used, sizeof text - used, "%s%s", used ? " " : "", mj_op_name((mj_op)op));
        }
    }
    return text;
}

TEST(the_store_says_which_sequence_runs)
{
    static const struct {
        double act_us, quantise_us;
        const char *sequence, *reason;
    } cases[] = {
        {0, 0, "gemm1 activation quantise2", ""},
        {0, 9.5, "gemm1 activation quantise2", ""},
        {0, 8.5, "gemm1_quantise", "replaces gemm1 + activation + quantise2: 8.5 us instead of 9.0; tuned at M=24"},
        {5, 8.5, "gemm1_act quantise2", ""},
        {5, 7.5, "gemm1_quantise", "replaces gemm1 + activation + quantise2: 7.5 us instead of 8.0; tuned at M=24"},
    };
    mj_problem problem;
    CHECK_STATUS(mj_problem_parse("E=4,topk=2,H=64,N=130,scheme=fp8_w8a8_block", &problem, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mj_plan *plan = NULL;
        mj_plan_options options = {.max_tokens = TOKENS_MAX, .flags = MJ_PLAN_REQUIRE_VERIFIED};
        CHECK(save_store(&problem, cases[i].act_us, cases[i].quantise_us));
        CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, NULL), MJ_OK);
        CHECK_STRING(sequence(plan), cases[i].sequence);
        CHECK_STRING(reason(plan, MJ_OP_GEMM1_QUANTISE), cases[i].reason);
        CHECK(mj_plan_is_verified(plan) &&
              mj_plan_find(plan, MJ_OP_QUANTISE2, 1)); /* profilers still find the others */
        mj_plan_destroy(plan);
        options.flags = MJ_PLAN_REFERENCE;
        CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, NULL), MJ_OK);
        CHECK_STRING(sequence(plan), "gemm1 activation quantise2"); /* one step at a time */
        mj_plan_destroy(plan);
    }
}

/* Codes and scales lie where quantise2 leaves them, and gemm2 reads them; the self check runs them too. */
static void check_layer(const char *problem)
{
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = TOKENS_MAX, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    void *found[2][2] = {{NULL}};
    CHECK(layer_open(&l, problem, TOKENS_MAX));
    CHECK(save_store(&l.problem, 0, 1));
    mj_layer run = arguments(&l);
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &plan, &error), MJ_OK);
    CHECK_STRING(sequence(plan), "gemm1_quantise");
    CHECK_STATUS(mj_plan_run(plan, &run, NULL, &error), MJ_OK);
    CHECK_STATUS(mj_stream_sync(cpu.device, NULL, &error), MJ_OK);
    make_truth(&l);
    CHECK(worst_error(&l) <= 0.04); /* no rounding before the activation: other codes here and there */
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_GEMM1_QUANTISE, &run, &found[0][0], &found[0][1], &error), MJ_OK);
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_QUANTISE2, &run, &found[1][0], &found[1][1], &error), MJ_OK);
    CHECK(found[0][0] && found[0][1] && memcmp(found[0], found[1], sizeof found[0]) == 0);
    CHECK_STATUS(mj_plan_run_op(plan, MJ_OP_GEMM1_QUANTISE, &run, NULL, &error), MJ_OK);
    CHECK_STATUS(mj_plan_selfcheck(plan, TOKENS_MAX, 60, &error), MJ_OK);
    CHECK_CONTAINS(reason(plan, MJ_OP_GEMM1_QUANTISE), "passed mj_plan_selfcheck");
    mj_plan_destroy(plan);
    layer_close(&l);
}

TEST(layers_with_codes_from_the_gemm)
{
    check_layer("E=6,topk=2,H=200,N=136,bias=1,scheme=fp8_w8a8");
    check_layer("E=6,topk=3,H=264,N=264,scheme=fp8_w8a8_block");
    check_layer("E=6,topk=3,H=264,N=264,scheme=fp8_w8a8_block_fnuz");
}

/* The store's only GEMM was compiled where the CPU could do other things; the cache, which both machines use, still holds it. */
TEST(a_kernel_of_another_cpu_is_made_again)
{
    char name[512], path[1024];
    mj_problem problem;
    mj_store_file file = {0};
    mj_plan *plan = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = TOKENS_MAX};
    mj_cache_entry entry = {.compile_target = "native", .compiled = {.binary = "another CPU's", .binary_bytes = 13}};
    snprintf(entry.compiler, sizeof entry.compiler, "%s", mj_device_get_info(cpu.device)->compiler);
    char *digit = entry.compiler + strlen(entry.compiler) - 1; /* of what the CPU can do */
    *digit = *digit == '0' ? '1' : '0';
    CHECK_STATUS(mj_problem_parse("E=4,topk=2,H=64,N=130,scheme=fp8_w8a8_block", &problem, NULL), MJ_OK);
    CHECK(save_store(&problem, 0, 0));
    CHECK_STATUS(mj_store_file_name(&problem, mj_device_get_info(cpu.device)->name, name, sizeof name, NULL), MJ_OK);
    CHECK_STATUS(mj_os_join(path, sizeof path, temp_path("store"), name, NULL), MJ_OK);
    CHECK_STATUS(mj_store_load(path, &file, &error), MJ_OK);
    snprintf(file.identity.compiler, sizeof file.identity.compiler, "%s", entry.compiler);
    mj_choice *gemm2 = &file.rows[0].gemm2;
    gemm2->cache_key[0] = gemm2->cache_key[0] == '0' ? '1' : '0';
    memcpy(entry.key, gemm2->cache_key, sizeof entry.key);
    CHECK_STATUS(mj_cache_put(cpu.context->cache, &entry, &error), MJ_OK);
    CHECK_STATUS(mj_store_replace(path, &file, &error), MJ_OK);
    mj_store_file_free(&file);
    CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, &error), MJ_OK);
    const mj_plan_entry *row = mj_plan_find(plan, MJ_OP_GEMM2, TOKENS_MAX);
    CHECK(row && row->row.origin == MJ_ORIGIN_STORE_ARCH && !row->row.verified);
    CHECK_CONTAINS(reason(plan, MJ_OP_GEMM2), "compiler");
    mj_plan_destroy(plan);
}

/* Nothing may be compiled, and one of gemm2's kernels is not in the cache: the others serve its tokens too. */
TEST(a_plan_of_what_is_cached)
{
    mj_problem problem;
    mj_plan *plan = NULL;
    mj_error error = {0};
    char path[1024];
    mj_plan_options options = {.max_tokens = 4096, .flags = MJ_PLAN_IGNORE_STORE};
    mj_context_options context = {.cache_dir = temp_path("cache"), .store_dir = temp_path("none"), .no_compile = true};
    device_fixture cached = {0};
    CHECK_STATUS(mj_problem_parse("E=4,topk=2,H=64,N=130,scheme=bf16", &problem, NULL), MJ_OK);
    CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, &error), MJ_OK);
    const mj_plan_entry *first = mj_plan_find(plan, MJ_OP_GEMM2, 1), *last = mj_plan_find(plan, MJ_OP_GEMM2, 4096);
    CHECK(first && last && first->kernel != last->kernel);
    const char *key = plan->kernels[first->kernel].key;
    snprintf(path, sizeof path, "%s/v1/%.2s/%s.mjbin", context.cache_dir, key, key);
    CHECK(unlink(path) == 0);
    mj_plan_destroy(plan);
    CHECK_STATUS(mj_context_create(&context, &cached.context, NULL), MJ_OK);
    CHECK_STATUS(mj_device_open(cached.context, "cpu", &cached.device, NULL), MJ_OK);
    CHECK_STATUS(mj_plan_create(cached.device, &problem, &options, &plan, &error), MJ_OK);
    CHECK(mj_plan_find(plan, MJ_OP_GEMM2, 1) && mj_plan_find(plan, MJ_OP_GEMM2, 4096));
    mj_plan_destroy(plan);
    close_fixture(&cached);
}

int main(int argc, char **argv)
{
    if (!open_layers(argc, argv)) {
        return 1;
    }
    RUN(the_store_says_which_sequence_runs);
    RUN(layers_with_codes_from_the_gemm);
    RUN(a_kernel_of_another_cpu_is_made_again);
    RUN(a_plan_of_what_is_cached);
    return close_layers();
}
