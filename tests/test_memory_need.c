/* The memory that is asked for before a tune starts is what its worker then allocates, to the byte. */
#define _GNU_SOURCE
#include "check.h"

#include "memory_need.h"
#include "temp_folder.h"
#include "tune_session.h"
#include "verify.h"

static mj_context *context;
static mj_device *device;

static const mj_problem problems[] = {
    {4, 4, 2, 64, 48, true, false, MJ_ACT_SILU, "bf16", "default"},
    {3, 6, 3, 72, 40, false, true, MJ_ACT_GELU, "fp16", "default"},
    {1, 1, 1, 24, 264, true, true, MJ_ACT_SILU, "bf16", "default"},
};
#define PROBLEM_COUNT (sizeof(problems) / sizeof(problems[0]))

static const mj_scheme *scheme_of(const mj_problem *problem)
{
    const mj_spec *spec = NULL;
    const mj_scheme *scheme = NULL;
    if (mj_context_spec(context, &spec, NULL) == MJ_OK) {
        mj_spec_find_scheme(spec, problem->scheme, &scheme, NULL);
    }
    return scheme;
}

/* What the worker does before the first candidate: weights, the small cases, the row's. */
static mj_status prepare(const mj_problem *problem, mj_op op, uint32_t token_count, uint64_t bytes_max, mj_error *error)
{
    static const struct {
        const char *routing;
        uint32_t token_count;
    } small[] = MJ_SMALL_CASES;
    enum { SMALL_COUNT = sizeof(small) / sizeof(small[0]) };
    mj_lab lab;
    mj_case cases[SMALL_COUNT + 1] = {0};
    mj_status status = mj_lab_open(device, bytes_max, &lab, error);
    if (status == MJ_OK) {
        status = mj_lab_load(&lab, problem, op, 1, error);
    }
    for (size_t i = 0; i < SMALL_COUNT && status == MJ_OK; i++) {
        status = mj_case_prepare(&lab, small[i].token_count, small[i].routing, i, false, &cases[i], error);
    }
    if (status == MJ_OK) {
        status = mj_case_prepare(&lab, token_count, "uniform", 1, true, &cases[SMALL_COUNT], error);
    }
    for (size_t i = 0; i <= SMALL_COUNT; i++) {
        if (cases[i].present) {
            mj_case_free(&lab, &cases[i]);
        }
    }
    mj_lab_close(&lab);
    return status;
}

TEST(a_gemm_fits_into_what_it_needs_and_not_into_less)
{
    static const mj_op ops[] = {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT, MJ_OP_GEMM2, MJ_OP_GEMM2_COMBINE};
    for (size_t p = 0; p < PROBLEM_COUNT; p++) {
        for (int o = 0; o < 4; o++) {
            const uint32_t token_count = 1 + 12 * (uint32_t)p;
            mj_memory_need need;
            mj_error error = {0};
            CHECK_STATUS(mj_memory_need_gemm(&problems[p], scheme_of(&problems[p]), ops[o], token_count, &need, &error),
                         MJ_OK);
            CHECK(need.bytes > need.weights_bytes && need.weights_bytes > 0);
            CHECK_STATUS(prepare(&problems[p], ops[o], token_count, need.bytes, &error), MJ_OK);
            CHECK_STATUS(prepare(&problems[p], ops[o], token_count, need.bytes - 1, &error), MJ_ERR_DEVICE_MEMORY);
            CHECK_CONTAINS(error.text, "MiB");
        }
    }
}

static mj_status check_layer(const mj_problem *problem, mj_op op, uint64_t bytes_max, mj_error *error)
{
    mj_lab lab;
    mj_loaded_kernel kernel = {0};
    mj_finding finding = {0};
    mj_status status = mj_lab_open(device, bytes_max, &lab, error);
    if (status == MJ_OK) {
        status = mj_lab_build(&lab, problem, op, NULL, &kernel, error);
    }
    if (status == MJ_OK) {
        status = mj_verify_layer_op(&lab, &kernel, &finding, error);
    }
    if (status == MJ_OK && finding.reason != MJ_REASON_NONE) {
        status = mj_fail(error, MJ_ERR_WRONG_RESULT, "%s", finding.detail);
    }
    mj_kernel_unload(device, &kernel);
    mj_lab_close(&lab);
    return status;
}

TEST(a_simple_op_too)
{
    static const mj_op ops[] = {MJ_OP_TABLES, MJ_OP_ACTIVATION, MJ_OP_COMBINE};
    for (size_t p = 0; p < PROBLEM_COUNT; p++) {
        for (size_t o = 0; o < sizeof(ops) / sizeof(ops[0]); o++) {
            uint64_t bytes = 0;
            mj_error error = {0};
            CHECK_STATUS(mj_memory_need_layer(&problems[p], scheme_of(&problems[p]), ops[o], &bytes, &error), MJ_OK);
            CHECK_STATUS(check_layer(&problems[p], ops[o], bytes, &error), MJ_OK);
            CHECK_STATUS(check_layer(&problems[p], ops[o], bytes - 1, &error), MJ_ERR_DEVICE_MEMORY);
        }
    }
}

TEST(sums_do_not_overflow)
{
    mj_problem huge = problems[0];
    mj_memory_need need;
    mj_error error = {0};
    huge.hidden = huge.intermediate = huge.expert_count = UINT32_MAX;
    CHECK_STATUS(mj_memory_need_gemm(&huge, scheme_of(&huge), MJ_OP_GEMM2, 1, &need, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "64 bits");
}

TEST(the_smaller_limit_counts)
{
    CHECK_INT(mj_memory_allowed(1000, 0), 900);
    CHECK_INT(mj_memory_allowed(1000, 100), 100);
    CHECK_INT(mj_memory_allowed(1000, 950), 900);
}

/* The line a tune ends with before it starts anything: what is needed, what is there, and who sets the limit. */
TEST(a_session_says_what_is_missing)
{
    const uint64_t mib = 1048576;
    mj_row rows[4] = {{.result = {.op = MJ_OP_GEMM1, .token_count = 1}},
                      {.result = {.op = MJ_OP_GEMM2, .token_count = 1}},
                      {.result = {.op = MJ_OP_GEMM2, .token_count = 100000}},
                      {.result = {.op = MJ_OP_GEMM2_COMBINE, .token_count = 100000}}};
    mj_session s = {.mode = MJ_SESSION_BENCH, .problem = problems[0], .scheme = scheme_of(&problems[0]), .rows = rows};
    mj_error error = {0};
    s.row_count = 4;
    s.device.info = (mj_device_info){.id = "cuda:5", .memory_bytes = 1000 * mib, .memory_free_bytes = 1000 * mib};
    CHECK_STATUS(mj_session_check_memory(&s, &error), MJ_OK);
    CHECK(!rows[3].absent);
    s.device.info.memory_free_bytes = 20 * mib; /* busy with others' work */
    CHECK_STATUS(mj_session_check_memory(&s, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK_CONTAINS(error.text, "cuda:5: gemm2 at 100000 tokens needs ");
    CHECK_CONTAINS(error.text, "18.0 MiB may be used, nine tenths of the free 20.0 of 1000.0 MiB (others hold 980.0)");
    CHECK_CONTAINS(error.text, "of the batch sizes asked for, 1 fits");
    s.options.device_bytes_max = 10 * mib;
    CHECK_STATUS(mj_session_check_memory(&s, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK_CONTAINS(error.text, "10.0 MiB are allowed (--mem");
    CHECK(rows[3].absent && rows[3].finished); /* needs the most, and is done without */
    rows[2].finished = true;                   /* what is tuned already needs nothing */
    CHECK_STATUS(mj_session_check_memory(&s, &error), MJ_OK);
    s.options.device_bytes_max = 1000;
    CHECK_STATUS(mj_session_check_memory(&s, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK(!strstr(error.text, "fits"));
}

int main(int argc, char **argv)
{
    mj_error error = {0};
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    mj_context_options options = {.cache_dir = temp_folder};
    if (mj_context_create(&options, &context, &error) != MJ_OK ||
        mj_device_open(context, "cpu", &device, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    RUN(a_gemm_fits_into_what_it_needs_and_not_into_less);
    RUN(a_simple_op_too);
    RUN(sums_do_not_overflow);
    RUN(the_smaller_limit_counts);
    RUN(a_session_says_what_is_missing);
    mj_device_close(device);
    mj_context_destroy(context);
    temp_folder_remove();
    return CHECK_END();
}
