/* Every scheme of lua/quant that is served, through the reference family and the quantise ops, under the host prelude: what a
 * kernel decodes against what runtime/operand_values.c does, on ragged and empty shapes. Then fp8 codes against a third formula,
 * and mutants of the templates, which must be caught. */
#include <math.h>

#include "gen_fixture.h"
#include "host_run.h"
#include "reference.h"

static bool quantises(const mj_scheme *scheme)
{
    return strcmp(scheme->input_scale_kind, "none") != 0;
}

/* Generates for the host, edits the text, runs it. */
static host_result run_kernel(const char *problem, const char *arch, const char *family, mj_op op, const char *config,
                              const char *from, const char *to, char why[300])
{
    fixture f;
    mj_error error = {0};
    mj_kernel_source source;
    if (!fixture_kernel(&f, problem, arch, family, op, config)) {
        return HOST_BROKEN;
    }
    f.scheme.supported = true; /* formats of the future too */
    if (mj_generate(fixture_spec, &f.desc, "host", &source, &error) != MJ_OK) {
        snprintf(why, 300, "%.290s", error.text);
        return HOST_NO_COMPILE;
    }
    char *text = source.text, *edited = NULL, *at = from ? strstr(source.text, from) : NULL;
    if (from && !at) {
        snprintf(why, 300, "its text does not occur: %.200s", from);
        mj_kernel_source_free(&source);
        return HOST_BROKEN;
    }
    if (from) {
        size_t head = (size_t)(at - text), bytes = strlen(text) + strlen(to) + 1;
        edited = malloc(bytes);
        snprintf(edited, bytes, "%.*s%s%s", (int)head, text, to, at + strlen(from));
    }
    host_result result = host_check(&f.desc, &source.manifest, edited ? edited : text, why, 300);
    free(edited);
    mj_kernel_source_free(&source);
    return result;
}

static void expect_right(const char *scheme, const char *sizes, const char *arch, const char *family, mj_op op,
                         const char *config)
{
    char problem[200], why[300] = "";
    snprintf(problem, sizeof problem, "%s,scheme=%s", sizes, scheme);
    host_result result = run_kernel(problem, arch, family, op, config, NULL, NULL, why);
    if (result != HOST_RIGHT) {
        check_fail(__FILE__, __LINE__, "%s of %s on %s: %s: %s", mj_op_name(op), problem, arch,
                   host_result_name(result), why);
    }
}

/* 232 and 72 are multiples of 8 and of no group; 100 ends in the middle of a word of eight nibbles. */
TEST(every_scheme_is_decoded)
{
    for (uint32_t i = 0; i < mj_spec_scheme_count(fixture_spec); i += CHECK_SANITIZED ? 4 : 1) {
        const mj_scheme *scheme = mj_spec_scheme_at(fixture_spec, i);
        if (scheme->supported) {
            expect_right(scheme->name, "E=5,topk=2,H=232,N=72,bias=1", "cpu", "reference", MJ_OP_GEMM1, "threads=1");
        }
        if (scheme->supported) {
            expect_right(scheme->name, "E=5,topk=2,H=72,N=36,bias=1,act=swigluoai", "cpu", "reference", MJ_OP_GEMM1_ACT,
                         "threads=1");
        }
        if (scheme->supported && quantises(scheme) && strcmp(scheme->input_scale_kind, "token") != 0) {
            expect_right(scheme->name, "E=5,topk=2,H=72,N=132,bias=1", "cpu", "reference", MJ_OP_GEMM1_QUANTISE,
                         "threads=1");
        }
        if (scheme->supported) {
            expect_right(scheme->name, "E=5,topk=2,H=72,N=100", "cpu", "reference", MJ_OP_GEMM2, "threads=1");
        }
        if (scheme->supported) {
            expect_right(scheme->name, "E=5,topk=3,H=72,N=100,bias=1", "cpu", "reference", MJ_OP_GEMM2_COMBINE,
                         "threads=1");
        }
    }
}

/* Formats that are described and not yet offered: codes and zero points along n, scales in the other order, a bias of zero points.
 * A new scheme is one file. */
TEST(described_formats_are_decoded_from_their_file_alone)
{
    static const char *const names[] = {"int4_gptq",  "int4_awq",  "int4_compressed",
                                        "int8_w8a16", "fp8_w8a16", "int4_w4a8"};
    mj_spec *built_in = fixture_spec, *formats = NULL;
    mj_spec_options options = {.data_dir = MJ_TEST_SOURCE_DIR "/tests/data/spec_formats"};
    CHECK_STATUS(mj_spec_load(&options, &formats, NULL, NULL), MJ_OK);
    fixture_spec = formats;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        expect_right(names[i], "E=5,topk=2,H=264,N=76", "cpu", "reference", i % 2 ? MJ_OP_GEMM1 : MJ_OP_GEMM2,
                     "threads=1");
    }
    expect_right("int4_awq", "E=5,topk=2,H=72,N=260", "cpu", "reference", MJ_OP_GEMM2, "threads=1");
    fixture_spec = built_in;
    mj_spec_free(formats);
}

TEST(lanes_of_a_warp_decode_alike)
{
    expect_right("fp8_w8a8_block", "E=3,topk=2,H=264,N=40", "sm_90a", "reference", MJ_OP_GEMM1, "threads=64");
    expect_right("fp8_w8a8_channel_fnuz", "E=3,topk=2,H=40,N=130", "gfx942", "reference", MJ_OP_GEMM2, "threads=64");
    expect_right("fp8_w8a8_block", "E=3,topk=2,H=40,N=140", "sm_90a", "reference", MJ_OP_GEMM1_QUANTISE, "threads=64");
    expect_right("int4_w4a16_g32_zp", "E=3,topk=2,H=104,N=20", "sm_80", "reference", MJ_OP_GEMM1, "threads=64");
}

TEST(rows_are_quantised)
{
    for (uint32_t i = 0; i < mj_spec_scheme_count(fixture_spec); i++) {
        const mj_scheme *scheme = mj_spec_scheme_at(fixture_spec, i);
        if (!scheme->supported || !quantises(scheme)) {
            continue;
        }
        expect_right(scheme->name, "E=5,topk=2,H=232,N=101", "cpu", "simple", MJ_OP_QUANTISE2, "threads=1");
        expect_right(scheme->name, "E=5,topk=2,H=232,N=101", "cpu", "simple", MJ_OP_QUANTISE1, "threads=1");
        expect_right(scheme->name, "E=5,topk=2,H=640,N=64", "sm_90a", "simple", MJ_OP_QUANTISE1, "threads=64");
        expect_right(scheme->name, "E=5,topk=2,H=64,N=131", "gfx942", "simple", MJ_OP_QUANTISE2, "threads=128");
        expect_right(scheme->name, "E=5,topk=2,H=2184,N=64", "sm_90a", "simple", MJ_OP_QUANTISE1, "threads=64");
        expect_right(scheme->name, "E=5,topk=2,H=64,N=4168", "sm_90a", "simple", MJ_OP_QUANTISE2, "threads=64");
    }
}

/* As the cpu backend compiles them: what a compiler makes of fused sums must not change a code. */
TEST(rows_are_quantised_the_same_when_optimised)
{
    setenv("MOEJIT_TEST_HOST_FLAGS", "-O3 -march=native -fno-math-errno", 1);
    expect_right("fp8_w8a8", "E=5,topk=2,H=232,N=101", "cpu", "simple", MJ_OP_QUANTISE2, "threads=1");
    expect_right("fp8_w8a8_channel", "E=5,topk=2,H=232,N=101", "cpu", "simple", MJ_OP_QUANTISE2, "threads=1");
    expect_right("fp8_w8a8_block", "E=5,topk=2,H=232,N=136", "cpu", "simple", MJ_OP_QUANTISE2, "threads=1");
    unsetenv("MOEJIT_TEST_HOST_FLAGS");
}

/* Rows longer than a block takes, rows that share one, and columns that fill no eight. */
TEST(rows_are_activated_and_combined)
{
    const char *problems[] = {"E=5,topk=2,H=1240,N=1240", "E=5,topk=3,H=40,N=72",
                              "E=5,topk=3,H=1235,N=1235,act=gelu,gated=0"};
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
        expect_right("bf16", problems[i], "sm_90a", "simple", MJ_OP_ACTIVATION, "threads=64");
        expect_right("bf16", problems[i], "sm_90a", "simple", MJ_OP_COMBINE, "threads=64");
        expect_right("fp16", problems[i], "gfx942", "simple", MJ_OP_COMBINE, "threads=128");
        expect_right("fp16", problems[i], "cpu", "simple", MJ_OP_ACTIVATION, "threads=1");
        expect_right("bf16", problems[i], "cpu", "simple", MJ_OP_COMBINE, "threads=1");
    }
}

/* ---- fp8 codes: nearest of all the format's values, by search ---- */

/* Sign, 4 bits of exponent, 3 of mantissa, written down without shifts. */
static double value_of(int code, int bias)
{
    int magnitude = code % 128, exponent = magnitude / 8, mantissa = magnitude % 8;
    double value = exponent == 0 ? mantissa / 8.0 * pow(2, 1 - bias) : (1 + mantissa / 8.0) * pow(2, exponent - bias);
    return code >= 128 ? -value : value;
}

/* The nearest code; of two, the even one. Magnitudes of codes ascend. */
static int nearest_code(double value, int bias, int last)
{
    int best = 0;
    for (int code = 1; code <= last; code++) {
        double here = fabs(fabs(value) - value_of(code, bias)), there = fabs(fabs(value) - value_of(best, bias));
        best = here < there || (here == there && code % 2 == 0) ? code : best;
    }
    return best;
}

static void check_codes(const char *format, int bias, int last, int nan_code, bool negative_zero)
{
    for (int code = 0; code < 256; code++) {
        unsigned char byte = (unsigned char)code;
        double value = mj_ref_load(format, &byte, 0);
        bool nan = nan_code == 0x7f ? code % 128 == 0x7f : code == nan_code;
        CHECK(nan ? isnan(value) : value == value_of(code, bias));
    }
    for (int code = 0; code < last; code++) { /* every code, every midpoint, and both their neighbours */
        double low = value_of(code, bias), high = value_of(code + 1, bias), middle = (low + high) / 2;
        const double values[] = {low,
                                 middle,
                                 nextafterf((float)middle, 0),
                                 nextafterf((float)middle, 1e9f),
                                 (3 * low + high) / 4,
                                 (low + 3 * high) / 4};
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                unsigned char got = 0;
                int want = nearest_code(values[i], bias, last);
                want = sign < 0 && (want || negative_zero) ? want + 128 : want;
                mj_ref_store(format, &got, 0, sign * values[i]);
                CHECK_INT(got, want);
            }
        }
    }
    const double large[] = {value_of(last, bias), value_of(last, bias) * 1.03, 1e6, 3e38, (double)INFINITY};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        unsigned char got = 0;
        mj_ref_store(format, &got, 0, -large[i]);
        CHECK_INT(got, last + 128);
    }
    unsigned char got = 0;
    mj_ref_store(format, &got, 0, (double)NAN);
    CHECK_INT(got, nan_code);
}

TEST(fp8_codes_are_the_nearest)
{
    check_codes("e4m3", 7, 0x7e, 0x7f, true);
    check_codes("e4m3fnuz", 8, 0x7f, 0x80, false);
}

/* ---- Mutants ---- */

static const struct mutant {
    const char *name, *scheme, *family;
    mj_op op;
    const char *from, *to;
} mutants[] = {
    {"weight_scale_dropped", "fp8_w8a8_channel", "reference", MJ_OP_GEMM1,
     "value *= mj_weight_scale(scales, expert, column, k);", ""},
    {"block_of_the_next_columns", "fp8_w8a8_block", "reference", MJ_OP_GEMM1, "row = column / 128,",
     "row = (column + 1) / 128 % MJ_SCALE_ROWS,"},
    {"block_of_another_depth", "fp8_w8a8_block", "reference", MJ_OP_GEMM1, "deep = k / 128;", "deep = k / 64 % 2;"},
    {"token_scale_off_by_one", "fp8_w8a8_channel", "reference", MJ_OP_GEMM1, "(scales, row);",
     "(scales, row > 0 ? row - 1 : 0);"},
    {"group_scale_of_the_first", "fp8_w8a8_block", "reference", MJ_OP_GEMM1, "row * groups + k / MJ_INPUT_GROUP",
     "row * groups"},
    {"input_scale_forgotten", "fp8_w8a8", "reference", MJ_OP_GEMM2, "value * (double)mj_value_f32(scales, 0)", "value"},
    {"nibbles_in_plain_order", "int4_w4a16", "reference", MJ_OP_GEMM1, "{0, 4, 1, 5, 2, 6, 3, 7}",
     "{0, 1, 2, 3, 4, 5, 6, 7}"},
    {"zero_of_the_next_column", "int4_w4a16_zp", "reference", MJ_OP_GEMM1, "slots[run % 8]", "slots[(run + 1) % 8]"},
    {"unsigned_nibbles", "int4_w4a16", "reference", MJ_OP_GEMM1, "(mj_i32)code + (-8)", "(mj_i32)code"},
    {"fnuz_read_as_ocp", "fp8_w8a8_fnuz", "reference", MJ_OP_GEMM1, "(119u << 23)", "(120u << 23)"},
    {"largest_of_one_warp", "fp8_w8a8_channel", "simple", MJ_OP_QUANTISE1, "i < MJ_TEAM / MJ_WARP_SIZE; i++",
     "i < 1; i++"},
    {"no_barrier_before_the_largest", "fp8_w8a8_channel", "simple", MJ_OP_QUANTISE1, "    mj_block_sync();\n    for",
     "    for"},
    {"largest_of_half_a_team", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE1, "MJ_WARP_SIZE) / 2; mask",
     "MJ_WARP_SIZE) / 4; mask"},
    {"largest_of_two_teams", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE1, "MJ_WARP_SIZE) / 2; mask",
     "MJ_WARP_SIZE); mask"},
    {"block_of_the_row_forgotten", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE1, "mj_block() % MJ_ROW_BLOCKS *", "0 *"},
    {"rows_beyond_the_last", "fp8_w8a8", "simple", MJ_OP_QUANTISE2, "&& row < rows)", ")"},
    {"quotient_only_corrected", "fp8_w8a8", "simple", MJ_OP_QUANTISE1, "-by->reciprocal, q);",
     "-by->reciprocal, 0.0f);"},
    {"zero_without_its_sign", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE1,
     "mj_fma(q, by->scale, -value), -by->reciprocal", "mj_fma(-q, by->scale, value), by->reciprocal"},
    {"tiny_scale_where_it_is", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE2, "mj_fabs(scale) < 0x1p-64f",
     "scale < 0.0f"},
    {"huge_scale_where_it_is", "fp8_w8a8_channel", "simple", MJ_OP_QUANTISE2, "by.scale = by.scale > 0x1p100f",
     "by.scale = by.scale < 0.0f"},
    {"rounded_down", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE1, "magnitude + 0x7ffffu + ", "magnitude + 0u * "},
    {"group_of_the_row_before", "fp8_w8a8_block", "simple", MJ_OP_QUANTISE2,
     "run.row * MJ_ROW_RUNS + run.index] = scale", "run.row * MJ_ROW_RUNS + (run.index + 1) % MJ_ROW_RUNS] = scale"},
    {"static_scale_multiplied", "fp8_w8a8", "simple", MJ_OP_QUANTISE1, "by.scale = scale * by.move;",
     "by.scale = 2 * scale;"},
    {"rows_of_other_ranks", "fp8_w8a8", "simple", MJ_OP_QUANTISE2, "(A.expert_offsets[MJ_EXPERTS])",
     "(A.token_count * 2)"},
};

TEST(mutants_are_caught)
{
    for (size_t i = 0; i < sizeof mutants / sizeof mutants[0]; i += CHECK_SANITIZED ? 4 : 1) {
        const struct mutant *m = &mutants[i];
        char problem[200], why[300] = "";
        bool gemm = mj_op_is_gemm(m->op); /* rows of a quantise are longer than a block's registers are for */
        snprintf(problem, sizeof problem, "E=5,topk=2,H=%s,N=136,scheme=%s", gemm ? "264" : "2184", m->scheme);
        host_result result = run_kernel(problem, "sm_90a", m->family, m->op, "threads=64", m->from, m->to, why);
        if (result == HOST_RIGHT || result == HOST_BROKEN || result == HOST_NO_COMPILE) {
            check_fail(__FILE__, __LINE__, "%s: %s: %s", m->name, host_result_name(result), why);
        }
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    if (!fixture_open()) {
        return 1;
    }
    RUN(every_scheme_is_decoded);
    RUN(described_formats_are_decoded_from_their_file_alone);
    RUN(lanes_of_a_warp_decode_alike);
    RUN(rows_are_quantised);
    RUN(rows_are_quantised_the_same_when_optimised);
    RUN(rows_are_activated_and_combined);
    RUN(fp8_codes_are_the_nearest);
    RUN(mutants_are_caught);
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
