/* test_selfcheck.c: the host half of mj_plan_selfcheck: what it takes for right and what it refuses. */
#include "fake_device.h"
#include "selfcheck.h"

static mj_context *context;

static bool open_check(mj_check *check, const char *problem, uint32_t tokens)
{
    mj_problem parsed;
    mj_error error = {0};
    mj_context_options options = {.cache_dir = "/nonexistent/cache", .store_dir = "/nonexistent/store"};
    if ((!context && mj_context_create(&options, &context, &error) != MJ_OK) ||
        mj_problem_parse(problem, &parsed, &error) != MJ_OK ||
        mj_check_open(check, context, &parsed, tokens, &error) != MJ_OK) {
        printf("# %s\n", error.text);
        return false;
    }
    return true;
}

/* The right output; rows that nothing writes stay NaN. */
static uint16_t *right_output(const mj_check *check, mj_op op, uint64_t *count)
{
    mj_check_shape shape = mj_check_output_shape(check, op);
    *count = shape.rows * shape.columns;
    uint16_t *output = malloc(*count * sizeof *output);
    for (uint64_t i = 0; i < *count; i++) {
        double value = mj_check_value(check, op, i / shape.columns, i % shape.columns);
        output[i] = isnan(value) ? 0xffff : mj_half_from_float(check->half, (float)value);
    }
    return output;
}

TEST(halves_round_trip)
{
    for (int half = 0; half < 2; half++) {
        for (uint32_t code = 0; code < 65536; code++) {
            float value = mj_half_to_float((mj_half)half, (uint16_t)code);
            if (isfinite(value)) {
                CHECK_INT(mj_half_from_float((mj_half)half, value), code);
            }
        }
    }
    CHECK_INT(mj_half_from_float(MJ_HALF_F16, 1.0f + 1.0f / 2048), 0x3c00); /* a tie goes to even */
    CHECK_INT(mj_half_from_float(MJ_HALF_F16, 1.0f + 3.0f / 2048), 0x3c02);
    CHECK_INT(mj_half_from_float(MJ_HALF_F16, 1.9999999f), 0x4000); /* carries */
    CHECK_INT(mj_half_from_float(MJ_HALF_BF16, 1.0f + 1.0f / 256), 0x3f80);
    CHECK_INT(mj_half_from_float(MJ_HALF_BF16, 1.0f + 3.0f / 256), 0x3f82);
    CHECK_INT(mj_half_from_float(MJ_HALF_F16, 5.9604645e-8f), 1); /* the smallest subnormal */
}

TEST(right_outputs_pass_wrong_elements_do_not)
{
    static const char *const problems[] = {
        "E=5/6,topk=3,H=40,N=24,gated=1,act=swigluoai,bias=1,scheme=bf16,layout=default",
        "E=3,topk=2,H=24,N=56,gated=0,act=gelu_tanh,bias=0,scheme=fp16,layout=default"};
    for (size_t p = 0; p < 2; p++) {
        mj_check check;
        CHECK(open_check(&check, problems[p], 17));
        CHECK(check.local_rows > 0 && check.local_rows < 17u * check.problem.top_k); /* some pairs are nobody's */
        for (int op = MJ_OP_GEMM1; op <= MJ_OP_COMBINE; op++) {
            uint64_t count = 0, wrong = 0;
            mj_error error = {0};
            mj_check_use_weights(&check, (mj_op)op);
            uint16_t *output = right_output(&check, (mj_op)op, &count);
            CHECK_STATUS(mj_check_output(&check, (mj_op)op, output, NULL, &error), MJ_OK);
            for (uint64_t i = 0; i < count; i += 7) {
                uint16_t kept = output[i];
                if (kept == 0xffff) {
                    continue; /* not a row */
                }
                float value = mj_half_to_float(check.half, kept);
                output[i] = mj_half_from_float(check.half, value + fabsf(value) * 0.1f + 1.0f);
                CHECK_STATUS(mj_check_output(&check, (mj_op)op, output, NULL, &error), MJ_ERR_WRONG_RESULT);
                CHECK_CONTAINS(error.text, mj_op_name((mj_op)op));
                output[i] = 0xffff; /* never written */
                CHECK_STATUS(mj_check_output(&check, (mj_op)op, output, NULL, NULL), MJ_ERR_WRONG_RESULT);
                output[i] = kept;
                wrong++;
            }
            CHECK(wrong > 10);
            free(output);
        }
        mj_check_close(&check);
    }
}

TEST(large_outputs_are_sampled_and_compared_whole)
{
    mj_check check;
    mj_error error = {0};
    uint64_t count = 0;
    CHECK(open_check(&check, "E=2,topk=1,H=1024,N=1024,gated=1,act=silu,bias=0,scheme=bf16,layout=default", 48));
    uint16_t *base = right_output(&check, MJ_OP_GEMM1, &count);
    uint16_t *output = malloc(count * sizeof *output);
    memcpy(output, base, count * sizeof *output);
    CHECK(count > (1u << 26) / 1024);
    CHECK_STATUS(mj_check_output(&check, MJ_OP_GEMM1, output, NULL, &error), MJ_OK);
    for (uint64_t i = 5; i < count;
         i += count / 50) { /* one element: not always in the sample, always against the base */
        output[i] ^= 0x8000;
        mj_status status = mj_check_output(&check, MJ_OP_GEMM1, output, base, &error);
        float value = mj_half_to_float(check.half, base[i]);
        CHECK_STATUS(status, fabsf(value) < 0.1f ? status : MJ_ERR_WRONG_RESULT);
        output[i] ^= 0x8000;
    }
    for (uint64_t i = 0; i < count; i++) { /* one lane in 32: found without a base */
        output[i] ^= i % 32 == 9 ? 0x8000 : 0;
    }
    CHECK_STATUS(mj_check_output(&check, MJ_OP_GEMM1, output, NULL, &error), MJ_ERR_WRONG_RESULT);
    free(base);
    free(output);
    mj_check_close(&check);
}

/* A GEMM that stops one step of 16 early, at the deepest K: refused in both formats. */
TEST(a_missing_step_is_found)
{
    static const char *const schemes[] = {"bf16", "fp16"};
    for (int s = 0; s < 2; s++) {
        mj_check check;
        mj_error error = {0};
        char problem[200];
        uint64_t count = 0;
        snprintf(problem, sizeof problem, "E=1,topk=1,H=18432,N=16,gated=1,act=silu,bias=0,scheme=%s,layout=default",
                 schemes[s]);
        CHECK(open_check(&check, problem, 4));
        uint16_t *output = right_output(&check, MJ_OP_GEMM1, &count);
        CHECK_STATUS(mj_check_output(&check, MJ_OP_GEMM1, output, NULL, &error), MJ_OK);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t row = i / 32, column = i % 32, k = 18432;
            double value = mj_check_value(&check, MJ_OP_GEMM1, row, column);
            for (uint64_t j = k - 16; j < k; j++) {
                uint64_t token = (uint64_t)check.sorted_pairs[row];
                value -= (double)check.inputs.values[(token * k + j) % check.inputs.period] *
                         check.weights.values[(column * k + j) % check.weights.period];
            }
            output[i] = mj_half_from_float(check.half, (float)value);
        }
        CHECK_STATUS(mj_check_output(&check, MJ_OP_GEMM1, output, NULL, &error), MJ_ERR_WRONG_RESULT);
        free(output);
        mj_check_close(&check);
    }
}

TEST(tables_are_compared_exactly)
{
    mj_check check;
    mj_error error = {0};
    int32_t offsets[16], pairs[256];
    CHECK(open_check(&check, "E=5/6,topk=3,H=40,N=24,gated=1,act=silu,bias=0,scheme=bf16,layout=default", 17));
    memcpy(offsets, check.offsets, 6 * sizeof *offsets);
    memcpy(pairs, check.sorted_pairs, check.local_rows * sizeof *pairs);
    CHECK_STATUS(mj_check_tables(&check, offsets, pairs, &error), MJ_OK);
    offsets[5]--;
    CHECK_STATUS(mj_check_tables(&check, offsets, pairs, &error), MJ_ERR_WRONG_RESULT);
    CHECK_CONTAINS(error.text, "offset 5");
    offsets[5]++;
    pairs[3]++;
    CHECK_STATUS(mj_check_tables(&check, offsets, pairs, &error), MJ_ERR_WRONG_RESULT);
    CHECK_CONTAINS(error.text, "sorted pair 3");
    mj_check_close(&check);
}

TEST(unknown_schemes_are_not_checked)
{
    mj_check check;
    mj_error error = {0};
    mj_problem problem = {
        .expert_count = 1, .expert_total_count = 1, .top_k = 1, .hidden = 8, .intermediate = 8, .scheme = "int4"};
    CHECK_STATUS(mj_check_open(&check, context, &problem, 1, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "int4");
    mj_check_close(&check);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(halves_round_trip);
    RUN(right_outputs_pass_wrong_elements_do_not);
    RUN(large_outputs_are_sampled_and_compared_whole);
    RUN(a_missing_step_is_found);
    RUN(tables_are_compared_exactly);
    RUN(unknown_schemes_are_not_checked);
    mj_context_destroy(context);
    return CHECK_END();
}
