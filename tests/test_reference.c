/* The float64 reference against facts computed by hand, and against a second, even plainer formulation. */
#include "check.h"
#include "reference.h"

static mj_scheme scheme_of(const char *format)
{
    mj_scheme scheme;
    memset(&scheme, 0, sizeof(scheme));
    snprintf(scheme.name, sizeof(scheme.name), "%s", format);
    snprintf(scheme.io_format, sizeof(scheme.io_format), "%s", format);
    snprintf(scheme.weight_format, sizeof(scheme.weight_format), "%s", format);
    scheme.weight_bits = 16;
    scheme.packing = (mj_packing){.word_bits = 16, .per_word = 1, .axis = "k"};
    return scheme;
}

static mj_problem small(void)
{
    return (mj_problem){.expert_count = 3,
                        .expert_total_count = 6,
                        .top_k = 2,
                        .hidden = 5,
                        .intermediate = 4,
                        .gated = true,
                        .bias = true,
                        .scheme = "bf16",
                        .layout = "default"};
}

TEST(formats_round_to_nearest_even)
{
    static const struct {
        const char *format;
        double value;
        uint16_t bits;
    } cases[] = {
        {"bf16", 1.0, 0x3f80},          {"bf16", 1.00390625, 0x3f80}, /* half way: to even */
        {"bf16", 1.01171875, 0x3f82},   {"bf16", 1.0039063, 0x3f81},
        {"bf16", -2.5, 0xc020},         {"bf16", 3.4e38, 0x7f80},
        {"bf16", 1e-45, 0x0000},        {"bf16", 0x1p-133, 0x0001},
        {"f16", 1.0, 0x3c00},           {"f16", 65504, 0x7bff},
        {"f16", 65520, 0x7c00},         {"f16", 65519, 0x7bff},
        {"f16", 0x1p-24, 0x0001},       {"f16", 0x1p-25, 0x0000},
        {"f16", 0x1.8p-25, 0x0001},     {"f16", 0x1p-14, 0x0400},
        {"f16", 1.00048828125, 0x3c00}, {"f16", -0.333251953125, 0xb555},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint16_t bits = 0x1234;
        mj_ref_store(cases[i].format, &bits, 0, cases[i].value);
        if (bits != cases[i].bits) {
            check_fail(__FILE__, __LINE__, "%s %g is %04x, not %04x", cases[i].format, cases[i].value, bits,
                       cases[i].bits);
        }
    }
}

TEST(formats_read_back_what_they_store)
{
    static const char *const formats[] = {"bf16", "f16"};
    for (int f = 0; f < 2; f++) {
        for (uint32_t bits = 0; bits < 65536; bits++) {
            uint16_t in = (uint16_t)bits, out = 0;
            double value = mj_ref_load(formats[f], &in, 0);
            mj_ref_store(formats[f], &out, 0, value);
            if (isnan(value) ? !isnan(mj_ref_load(formats[f], &out, 0)) : in != out) {
                check_fail(__FILE__, __LINE__, "%s %04x became %04x", formats[f], in, out);
                return;
            }
        }
    }
    CHECK(isnan(mj_ref_load("nonsense", "\0\0\0\0", 0)));
    CHECK_INT(mj_ref_format_bytes("f32"), 4);
    CHECK_INT(mj_ref_format_bytes("nonsense"), 0);
}

TEST(activations_at_known_points)
{
    CHECK(mj_ref_activation(MJ_ACT_SILU, true, 0, 3) == 0);
    CHECK(fabs(mj_ref_activation(MJ_ACT_SILU, true, 1, 2) - 1.4621171572600098) < 1e-12);
    CHECK(fabs(mj_ref_activation(MJ_ACT_GELU, false, 1, 9) - 0.8413447460685429) < 1e-12);
    CHECK(fabs(mj_ref_activation(MJ_ACT_GELU_TANH, false, 1, 9) - 0.8411919906082768) < 1e-12);
    CHECK(mj_ref_activation(MJ_ACT_RELU2, true, 3, 2) == 18);
    CHECK(mj_ref_activation(MJ_ACT_RELU2, true, -3, 2) == 0);
    CHECK(isnan(mj_ref_activation(MJ_ACT_RELU2, false, NAN, 1)));
    /* gate 9 is clamped to 7, up -9 to -7: 7 * sigmoid(1.702 * 7) * (-7 + 1) */
    CHECK(fabs(mj_ref_activation(MJ_ACT_SWIGLUOAI, true, 9, -9) - 7 / (1 + exp(-1.702 * 7)) * -6) < 1e-12);
}

TEST(tables_are_stable_and_skip_other_ranks)
{
    mj_problem problem = small();
    const int32_t ids[] = {2, 0, -1, 2, 0, 3, 2, 0};
    int32_t offsets[4], pairs[8];
    CHECK_INT(mj_ref_tables(&problem, ids, 4, offsets, pairs), 6);
    const int32_t want_offsets[] = {0, 3, 3, 6}, want_pairs[] = {1, 4, 7, 0, 3, 6};
    CHECK(memcmp(offsets, want_offsets, sizeof(offsets)) == 0);
    CHECK(memcmp(pairs, want_pairs, sizeof(want_pairs)) == 0);
}

/* Formulated from the pair's side, with values decoded by other means: token t, slot s -> expert -> products. */
static double plain_element(const mj_problem *p, const char *format, mj_op op, const void *input, const void *weights,
                            const void *bias, uint64_t row, int32_t pair, int32_t expert, const float *topk,
                            uint32_t column)
{
    uint32_t n = op == MJ_OP_GEMM1 ? 2 * p->intermediate : p->hidden;
    uint32_t k = op == MJ_OP_GEMM1 ? p->hidden : p->intermediate;
    uint64_t from = op == MJ_OP_GEMM1 ? (uint64_t)pair / p->top_k : row;
    long double sum = 0;
    for (uint32_t i = k; i-- > 0;) {
        sum += (long double)mj_ref_load(format, input, from * k + i) *
               mj_ref_load(format, weights, ((uint64_t)expert * n + column) * k + i);
    }
    sum += mj_ref_load(format, bias, (uint64_t)expert * n + column);
    return (double)(op == MJ_OP_GEMM2 ? sum * topk[pair] : sum);
}

static void check_gemm(const char *format, mj_op op)
{
    mj_problem p = small();
    mj_scheme scheme = scheme_of(format);
    const int32_t ids[] = {2, 0, -1, 2, 0, 3, 2, 0};
    const float topk[] = {.5f, .25f, 9, .75f, 1.5f, 9, -2, .125f};
    int32_t offsets[4], pairs[8];
    char input[2 * 64], weights[2 * 3 * 8 * 5], bias[2 * 3 * 8];
    for (uint64_t i = 0; i < 64; i++) {
        mj_ref_store(format, input, i, mj_ref_fill(1, i, 1));
    }
    for (uint64_t i = 0; i < 120; i++) {
        mj_ref_store(format, weights, i, mj_ref_fill(2, i, 0.5f));
    }
    for (uint64_t i = 0; i < 24; i++) {
        mj_ref_store(format, bias, i, mj_ref_fill(3, i, 2));
    }
    uint64_t rows = mj_ref_tables(&p, ids, 4, offsets, pairs);
    double out[8];
    mj_ref_arrays arrays = {.input = input, .weights = weights, .bias = bias};
    for (uint64_t row = 0; row < rows; row++) {
        CHECK_STATUS(mj_ref_gemm_row(&p, &scheme, op, &arrays, offsets, pairs, topk, row, out, NULL), MJ_OK);
        for (uint32_t column = 0; column < (op == MJ_OP_GEMM1 ? 8u : 5u); column++) {
            double want =
                plain_element(&p, format, op, input, weights, bias, row, pairs[row], ids[pairs[row]], topk, column);
            CHECK(fabs(out[column] - want) < 1e-12);
        }
    }
    CHECK_STATUS(mj_ref_gemm_row(&p, &scheme, op, &arrays, offsets, pairs, topk, rows, out, NULL), MJ_ERR_ARGUMENT);
}

TEST(gemm_rows)
{
    check_gemm("bf16", MJ_OP_GEMM1);
    check_gemm("f16", MJ_OP_GEMM1);
}
TEST(gemm2_rows)
{
    check_gemm("bf16", MJ_OP_GEMM2);
    check_gemm("f16", MJ_OP_GEMM2);
}

/* gemm1_act is gemm1, then the activation of the unrounded sums. */
TEST(gemm1_act_rows)
{
    for (int gated = 0; gated < 2; gated++) {
        mj_problem p = small();
        mj_scheme scheme = scheme_of("bf16");
        const int32_t ids[] = {2, 0, -1, 2, 0, 3, 2, 0};
        int32_t offsets[4], pairs[8];
        uint16_t input[4 * 5], weights[3 * 8 * 5], bias[3 * 8];
        double sums[8], out[4];
        p.gated = gated;
        p.activation = MJ_ACT_SWIGLUOAI;
        for (uint64_t i = 0; i < 120; i++) {
            mj_ref_store("bf16", weights, i, mj_ref_fill(2, i, 2));
            mj_ref_store("bf16", input, i % 20, mj_ref_fill(1, i % 20, 1));
            mj_ref_store("bf16", bias, i % 24, mj_ref_fill(3, i % 24, 2));
        }
        uint64_t rows = mj_ref_tables(&p, ids, 4, offsets, pairs);
        mj_ref_arrays arrays = {.input = input, .weights = weights, .bias = bias};
        for (uint64_t row = 0; row < rows; row++) {
            CHECK_STATUS(mj_ref_gemm_row(&p, &scheme, MJ_OP_GEMM1, &arrays, offsets, pairs, NULL, row, sums, NULL),
                         MJ_OK);
            CHECK_STATUS(mj_ref_gemm_row(&p, &scheme, MJ_OP_GEMM1_ACT, &arrays, offsets, pairs, NULL, row, out, NULL),
                         MJ_OK);
            for (uint32_t c = 0; c < 4; c++) {
                double up = gated ? sums[4 + c] : 0;
                CHECK(out[c] == mj_ref_activation(MJ_ACT_SWIGLUOAI, gated, sums[c], up));
            }
        }
    }
}

TEST(unknown_schemes_are_refused)
{
    mj_problem p = small();
    mj_scheme scheme = scheme_of("bf16");
    mj_error error = {0};
    int32_t offsets[4] = {0, 1, 1, 1}, pairs[1] = {0};
    double out[8] = {0};
    mj_ref_arrays arrays = {.input = out, .weights = out};
    snprintf(scheme.weight_format, sizeof(scheme.weight_format), "int4");
    CHECK_STATUS(mj_ref_gemm_row(&p, &scheme, MJ_OP_GEMM1, &arrays, offsets, pairs, NULL, 0, out, &error),
                 MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "bf16");
}

TEST(fill_is_normal_like_and_fixed)
{
    double sum = 0, squares = 0, largest = 0;
    const int count = 200000;
    for (int i = 0; i < count; i++) {
        double value = mj_ref_fill(42, (uint64_t)i, 1);
        sum += value;
        squares += value * value;
        largest = fmax(largest, fabs(value));
    }
    CHECK(fabs(sum / count) < 0.01);
    CHECK(fabs(squares / count - 1) < 0.02);
    CHECK(largest < 3.5 && largest > 3);
    CHECK(mj_ref_fill(42, 7, 2) == 2 * mj_ref_fill(42, 7, 1));
    CHECK(mj_ref_fill(42, 7, 1) != mj_ref_fill(43, 7, 1));
    /* splitmix64 of seed 0 starts with e220a8397b1dcdaf */
    int fields = 0xcdaf + 0x7b1d + 0xa839 + 0xe220 - 131070;
    CHECK(mj_ref_fill(0, 0, 1) == (float)fields * 2.6429157e-05f);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(formats_round_to_nearest_even);
    RUN(formats_read_back_what_they_store);
    RUN(activations_at_known_points);
    RUN(tables_are_stable_and_skip_other_ranks);
    RUN(gemm_rows);
    RUN(gemm2_rows);
    RUN(gemm1_act_rows);
    RUN(unknown_schemes_are_refused);
    RUN(fill_is_normal_like_and_fixed);
    return CHECK_END();
}
