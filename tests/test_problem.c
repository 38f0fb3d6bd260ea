/* Problems: text and back, ranges, GEMM shapes, models on ranks; also statuses, ops and small helpers of the core. */
#include "check.h"
#include "checked.h"
#include "gen.h"

static const char mixtral_text[] = "E=8/8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default";

TEST(text_round_trip)
{
    mj_problem problem, again;
    char text[512];
    CHECK_STATUS(mj_problem_parse(mixtral_text, &problem, NULL), MJ_OK);
    CHECK_INT(problem.expert_count, 8);
    CHECK_INT(problem.intermediate, 7168);
    CHECK_STATUS(mj_problem_print(&problem, text, sizeof text, NULL), MJ_OK);
    CHECK_STRING(text, mixtral_text);
    CHECK_STATUS(
        mj_problem_parse("bias=1,act=relu2,gated=0,N=24,H=40,topk=3,E=4/12,scheme=fp16,layout=default", &problem, NULL),
        MJ_OK);
    CHECK_STATUS(mj_problem_print(&problem, text, sizeof text, NULL), MJ_OK);
    CHECK_STRING(text, "E=4/12,topk=3,H=40,N=24,gated=0,act=relu2,bias=1,scheme=fp16,layout=default");
    CHECK_STATUS(mj_problem_parse(text, &again, NULL), MJ_OK);
    CHECK_INT(again.expert_total_count, 12);
    CHECK_STATUS(mj_problem_print(&problem, text, 20, NULL), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_problem_parse("E=8,topk=2,H=64,N=64", &problem, NULL), MJ_OK);
    CHECK_INT(problem.expert_total_count, 8);
}

TEST(bad_text_is_refused_by_name)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "name=value"},
        {"E=8", "topk is missing"},
        {"E=8,topk=2,H=64", "N is missing"},
        {"E=8,topk=2,H=64,N=64,N=64", "N is given twice"},
        {"E=8,topk=2,H=64,N=64,gatd=1", "did you mean \"gated\""},
        {"E=8,topk=2,H=64,N=64,gated=2", "gated=2"},
        {"E=8,topk=2,H=64,N=64,gated=", "gated="},
        {"E=8,topk=2,H=-64,N=64", "H=-64"},
        {"E=8,topk=2,H=64.5,N=64", "H=64.5"},
        {"E=8,topk=2,H= 64,N=64", "H= 64"},
        {"E=8,topk=2,H=99999999999999999999,N=64", "H=9999"},
        {"E=8/,topk=2,H=64,N=64", "E=8/"},
        {"E=8/8/8,topk=2,H=64,N=64", "E=8/8/8"},
        {"E=0,topk=2,H=64,N=64", "experts (E) is 0"},
        {"E=5000,topk=2,H=64,N=64", "1..4096"},
        {"E=16/8,topk=2,H=64,N=64", "16 local experts"},
        {"E=8,topk=9,H=64,N=64", "top-k 9"},
        {"E=8,topk=0,H=64,N=64", "top-k is 0"},
        {"E=8,topk=2,H=64,N=2000000", "intermediate size (N)"},
        {"E=4096,topk=2,H=1048576,N=1048576", "2^40"},
        {"E=8,topk=2,H=64,N=64,act=swish", "act=swish"},
        {"E=8,topk=2,H=64,N=64,scheme=a b", "scheme=a b"},
        {"E=8,topk=2,H=64,N=64,scheme=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "scheme="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mj_problem problem;
        mj_error error = {0};
        CHECK(mj_problem_parse(cases[i].text, &problem, &error) != MJ_OK);
        CHECK_CONTAINS(error.text, cases[i].part);
        CHECK(!strchr(error.text, '\n'));
    }
    char huge[2000];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    mj_problem problem;
    CHECK_STATUS(mj_problem_parse(huge, &problem, NULL), MJ_ERR_FORMAT);
}

TEST(check_needs_no_parser)
{
    mj_problem problem;
    CHECK_STATUS(mj_problem_parse(mixtral_text, &problem, NULL), MJ_OK);
    mj_problem bad = problem;
    bad.activation = MJ_ACT_COUNT;
    CHECK_STATUS(mj_problem_check(&bad, NULL), MJ_ERR_ARGUMENT);
    bad = problem;
    memset(bad.scheme, 'a', sizeof bad.scheme); /* not terminated */
    CHECK_STATUS(mj_problem_check(&bad, NULL), MJ_ERR_ARGUMENT);
    bad = problem;
    bad.expert_total_count = 7;
    CHECK_STATUS(mj_problem_check(&bad, NULL), MJ_ERR_ARGUMENT);
}

TEST(null_is_refused)
{
    mj_problem problem;
    mj_activation activation;
    mj_op op;
    mj_error error = {0};
    char text[256];
    CHECK_STATUS(mj_problem_parse(mixtral_text, &problem, NULL), MJ_OK);
    const check_call calls[] = {
        {"activation_parse: name", mj_activation_parse(NULL, &activation, &error)},
        {"activation_parse: out", mj_activation_parse("silu", NULL, &error)},
        {"problem_print: problem", mj_problem_print(NULL, text, sizeof text, &error)},
        {"problem_print: out", mj_problem_print(&problem, NULL, sizeof text, &error)},
        {"problem_parse: text", mj_problem_parse(NULL, &problem, &error)},
        {"problem_parse: out", mj_problem_parse(mixtral_text, NULL, &error)},
        {"problem_check: problem", mj_problem_check(NULL, &error)},
        {"op_parse: name", mj_op_parse(NULL, &op, &error)},
        {"op_parse: out", mj_op_parse("gemm1", NULL, &error)},
    };
    CHECK_REFUSED(calls);
    CHECK_CONTAINS(error.text, "null");
    CHECK_STATUS(mj_problem_check(NULL, NULL), MJ_ERR_ARGUMENT);
}

TEST(gemm_shapes)
{
    mj_problem problem;
    CHECK_STATUS(mj_problem_parse(mixtral_text, &problem, NULL), MJ_OK);
    mj_gemm_shape one = mj_problem_gemm(&problem, MJ_OP_GEMM1), two = mj_problem_gemm(&problem, MJ_OP_GEMM2);
    CHECK_INT(one.n, 14336);
    CHECK_INT(one.k, 4096);
    CHECK_INT(two.n, 4096);
    CHECK_INT(two.k, 7168);
    problem.gated = false;
    CHECK_INT(mj_problem_gemm(&problem, MJ_OP_GEMM1).n, 7168);
    CHECK_INT(mj_problem_gemm(&problem, MJ_OP_COMBINE).n, 0);
}

TEST(models_on_ranks)
{
    mj_model model = {.name = "m", .expert_count = 64, .top_k = 8, .hidden = 2048, .intermediate = 1536, .gated = true};
    mj_problem problem;
    mj_error error = {0};
    CHECK_STATUS(mj_problem_from_model(&model, 2, 4, "bf16", &problem, &error), MJ_OK);
    CHECK_INT(problem.expert_count, 16);
    CHECK_INT(problem.expert_total_count, 64);
    CHECK_INT(problem.intermediate, 768);
    CHECK_STRING(problem.layout, "default");
    CHECK_STATUS(mj_problem_from_model(&model, 5, 1, "bf16", &problem, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "not divisible by tp 5");
    CHECK_STATUS(mj_problem_from_model(&model, 1, 7, "bf16", &problem, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "not divisible by ep 7");
    CHECK_STATUS(mj_problem_from_model(&model, 0, 1, "bf16", &problem, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_problem_from_model(&model, 1, 1, "no such\n", &problem, &error), MJ_ERR_ARGUMENT);
}

TEST(names)
{
    for (int i = 0; i < MJ_STATUS_COUNT; i++) {
        CHECK(strncmp(mj_status_name((mj_status)i), "MJ_", 3) == 0 && mj_status_text((mj_status)i)[0]);
    }
    CHECK(mj_status_name((mj_status)9999) && mj_status_text((mj_status)-1));
    for (int i = 0; i < MJ_ACT_COUNT; i++) {
        mj_activation back = MJ_ACT_COUNT;
        CHECK_STATUS(mj_activation_parse(mj_activation_name((mj_activation)i), &back, NULL), MJ_OK);
        CHECK_INT(back, i);
    }
    for (int i = 0; i < MJ_OP_COUNT; i++) {
        mj_op back = MJ_OP_COUNT;
        CHECK_STATUS(mj_op_parse(mj_op_name((mj_op)i), &back, NULL), MJ_OK);
        CHECK_INT(back, i);
        uint32_t count = 0;
        const mj_arg *args = mj_op_args((mj_op)i, &count);
        CHECK(count > 0);
        for (uint32_t a = 1; a < count; a++) {
            CHECK(args[a] > args[a - 1]); /* the list's order */
        }
    }
    CHECK(mj_op_is_gemm1(MJ_OP_GEMM1_QUANTISE) && mj_op_writes_codes(MJ_OP_GEMM1_QUANTISE));
    CHECK(mj_op_writes_codes(MJ_OP_QUANTISE1) && !mj_op_writes_codes(MJ_OP_GEMM1_ACT));
    CHECK(mj_op_is_gemm(MJ_OP_GEMM1_ACT) && mj_op_is_gemm1(MJ_OP_GEMM1_ACT) && mj_op_is_gemm(MJ_OP_GEMM2));
    mj_problem layer = {.intermediate = 24, .hidden = 16, .gated = true};
    mj_gemm_shape fused = mj_problem_gemm(&layer, MJ_OP_GEMM1_ACT), plain = mj_problem_gemm(&layer, MJ_OP_GEMM1);
    CHECK(fused.n == 48 && fused.k == 16 && fused.out_n == 24 && plain.n == 48 && plain.out_n == 48);
    layer.gated = false;
    fused = mj_problem_gemm(&layer, MJ_OP_GEMM1_ACT);
    CHECK(fused.n == 24 && fused.out_n == 24 && mj_problem_gemm(&layer, MJ_OP_GEMM2).out_n == 16);
    CHECK(!mj_op_is_gemm1(MJ_OP_GEMM2) && !mj_op_is_gemm(MJ_OP_ACTIVATION));
    mj_op op;
    mj_error error = {0};
    CHECK_STATUS(mj_op_parse("gemm3", &op, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "did you mean");
    CHECK_STRING(mj_op_name((mj_op)77), "unknown");
}

TEST(failing_fills_one_line)
{
    mj_error error = {0};
    CHECK_STATUS(mj_fail(&error, MJ_ERR_IO, "a\nb %d", 3), MJ_ERR_IO);
    CHECK_STRING(error.text, "a b 3");
    CHECK_STATUS(mj_fail(&error, MJ_ERR_IO, "again: %s", error.text), MJ_ERR_IO);
    CHECK_STRING(error.text, "again: a b 3");
    CHECK_STATUS(mj_fail(NULL, MJ_ERR_IO, "nobody listens"), MJ_ERR_IO);
}

TEST(nearest_names)
{
    static const char *const names[] = {"tile_m", "tile_n", "stages", "warps_m"};
    CHECK_STRING(mj_nearest_name("tile_o", names, 4), "tile_m");
    CHECK_STRING(mj_nearest_name("stage", names, 4), "stages");
    CHECK(mj_nearest_name("completely different", names, 4) == NULL);
    static const char *const schemes[] = {"int4_w4a16_g64", "int4_w4a16", "fp8_w8a8"};
    CHECK_STRING(mj_nearest_name("int4", schemes, 3), "int4_w4a16"); /* far, but the beginning of it */
    CHECK(mj_nearest_name("in", schemes, 3) == NULL);
    CHECK(mj_nearest_name("", names, 4) == NULL);
    CHECK(mj_nearest_name("x", names, 0) == NULL);
}

TEST(sha256_vectors) /* FIPS 180-4 examples */
{
    char hex[MJ_SHA256_HEX], parts[MJ_SHA256_HEX];
    mj_sha256_hex("abc", 3, hex);
    CHECK_STRING(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    mj_sha256_hex("", 0, hex);
    CHECK_STRING(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    mj_sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, hex);
    CHECK_STRING(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char data[300];
    memset(data, 'q', sizeof data);
    mj_sha256_hex(data, sizeof data, hex);
    for (size_t cut = 0; cut <= sizeof data; cut += 7) {
        mj_sha256 hash;
        mj_sha256_start(&hash);
        mj_sha256_update(&hash, data, cut);
        mj_sha256_update(&hash, data + cut, sizeof data - cut);
        mj_sha256_finish(&hash, parts);
        CHECK_STRING(parts, hex);
    }
}

TEST(strings_grow_and_stop)
{
    mj_strbuf text = {0};
    for (int i = 0; i < 1000; i++) {
        mj_strbuf_addf(&text, "%d,", i);
    }
    CHECK(!text.failed);
    CHECK_INT(text.bytes, 10 * 2 + 90 * 3 + 900 * 4);
    CHECK_INT(strlen(text.text), text.bytes);
    mj_strbuf_add(&text, text.text, (size_t)65 << 20);
    CHECK(text.failed);
    size_t bytes = text.bytes;
    mj_strbuf_add(&text, "x", 1);
    CHECK_INT(text.bytes, bytes);
    mj_strbuf_free(&text);
    CHECK(text.text == NULL);
}

TEST(products_are_checked)
{
    uint64_t out = 0;
    CHECK(mj_mul3_u64(1u << 20, 1u << 20, 1u << 20, &out) && out == (uint64_t)1 << 60);
    CHECK(!mj_mul3_u64((uint64_t)1 << 40, 1u << 20, 1u << 20, &out));
    CHECK(!mj_add_u64(UINT64_MAX, 1, &out));
    CHECK_INT(mj_ceil_div(7, 7), 1);
    CHECK_INT(mj_ceil_div(8, 7), 2);
    CHECK_INT(mj_ceil_div(0, 7), 0);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(text_round_trip);
    RUN(bad_text_is_refused_by_name);
    RUN(check_needs_no_parser);
    RUN(null_is_refused);
    RUN(gemm_shapes);
    RUN(models_on_ranks);
    RUN(names);
    RUN(failing_fills_one_line);
    RUN(nearest_names);
    RUN(sha256_vectors);
    RUN(strings_grow_and_stop);
    RUN(products_are_checked);
    return CHECK_END();
}
