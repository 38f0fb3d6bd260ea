/* test_layout.c: weight layout interleaved8: where rows lie, mj_weights_pack, who serves it, and kernels that read it, emulated on the
 * host against float64, with seeded mutants. Whole layers: test_plan.c. */
#include "moejit.h"
#include "mutants.h"

/* ---- Where rows lie ---- */

static mj_problem problem_of(const char *text)
{
    mj_problem problem = {0};
    mj_error error = {0};
    if (mj_problem_parse(text, &problem, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return problem;
}

TEST(rows_take_turns_of_eight)
{
    static const uint32_t places[48] = {0,  1,  2,  3,  4,  5,  6,  7,  16, 17, 18, 19, 20, 21, 22, 23,
                                        32, 33, 34, 35, 36, 37, 38, 39, 8,  9,  10, 11, 12, 13, 14, 15,
                                        24, 25, 26, 27, 28, 29, 30, 31, 40, 41, 42, 43, 44, 45, 46, 47};
    mj_problem problem = problem_of("E=2,topk=1,H=16,N=24,layout=interleaved8");
    static const mj_op ops[] = {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT, MJ_OP_GEMM1_QUANTISE};
    for (size_t i = 0; i < 3; i++) {
        mj_gemm_shape shape = mj_problem_gemm(&problem, ops[i]);
        for (uint32_t row = 0; row < 48; row++) {
            CHECK_INT(mj_weight_row(shape, row), places[row]);
        }
    }
    CHECK_INT(mj_problem_gemm(&problem, MJ_OP_GEMM2).turn_rows, 0);
    problem = problem_of("E=2,topk=1,H=16,N=24");
    CHECK_INT(mj_weight_row(mj_problem_gemm(&problem, MJ_OP_GEMM1), 24), 24);
}

TEST(layouts_that_cannot_be)
{
    mj_problem problem = {0};
    mj_error error = {0};
    CHECK_STATUS(mj_problem_parse("E=2,topk=1,H=16,N=24,layout=interleave8", &problem, &error), MJ_ERR_UNSUPPORTED);
    CHECK_STRING(error.text, "no weight layout \"interleave8\"; did you mean \"interleaved8\"?");
    CHECK_STATUS(mj_problem_parse("E=2,topk=1,H=16,N=20,layout=interleaved8", &problem, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "20 gate rows (N) are not whole turns of 8");
    CHECK_STATUS(mj_problem_parse("E=2,topk=1,H=16,N=24,gated=0,layout=interleaved8", &problem, &error),
                 MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "not gated");
}

/* ---- mj_weights_pack ---- */

static void fill(unsigned char *bytes, size_t count)
{
    uint32_t random = 12345;
    for (size_t i = 0; i < count; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(random >> 24);
    }
}

/* Every row of every expert is where moejit.h says, in rows of so many bytes; packing back gives the same bytes. */
static void check_rows(uint32_t experts, uint32_t n, uint32_t h, size_t row_bytes)
{
    char text[100];
    snprintf(text, sizeof text, "E=%u,topk=1,H=%u,N=%u,layout=interleaved8", (unsigned)experts, (unsigned)h,
             (unsigned)n);
    mj_problem packed = problem_of(text), back = packed;
    size_t bytes = (size_t)experts * 2 * n * row_bytes;
    unsigned char *from = malloc(bytes), *to = calloc(1, bytes + 1), *again = malloc(bytes);
    snprintf(back.layout, sizeof back.layout, "default");
    fill(from, bytes);
    to[bytes] = 0x5a;
    CHECK_STATUS(mj_weights_pack(&packed, NULL, from, to, bytes, NULL), MJ_OK);
    bool right = to[bytes] == 0x5a;
    for (size_t e = 0; e < experts; e++) {
        for (size_t c = 0; c < n; c++) {
            const unsigned char *expert = from + e * 2 * n * row_bytes, *place = to + e * 2 * n * row_bytes;
            size_t gate = c / 8 * 16 + c % 8, up = gate + 8;
            right = right && memcmp(place + gate * row_bytes, expert + c * row_bytes, row_bytes) == 0 &&
                    memcmp(place + up * row_bytes, expert + (n + c) * row_bytes, row_bytes) == 0;
        }
    }
    CHECK(right);
    CHECK_STATUS(mj_weights_pack(&back, "interleaved8", to, again, bytes, NULL), MJ_OK);
    CHECK(memcmp(from, again, bytes) == 0);
    CHECK_STATUS(mj_weights_pack(&packed, "interleaved8", to, again, bytes, NULL), MJ_OK);
    CHECK(memcmp(to, again, bytes) == 0);
    free(from);
    free(to);
    free(again);
}

TEST(weights_are_packed_and_back)
{
    check_rows(3, 24, 16, 32); /* 16 bit */
    check_rows(2, 8, 33, 33);  /* 8 bit, odd rows */
    check_rows(1, 40, 20, 12); /* 4 bit: (20 + 7) / 8 words */
    check_rows(5, 16, 1, 4);   /* one word of codes */
}

TEST(what_cannot_be_packed)
{
    static unsigned char from[4 * 48 * 32], to[4 * 48 * 32];
    mj_problem problem = problem_of("E=4,topk=1,H=16,N=24,layout=interleaved8"), other = problem;
    mj_error error = {0};
    fill(to, sizeof to);
    memcpy(from, to, sizeof from);
    const uint64_t bytes = sizeof from;
    CHECK_STATUS(mj_weights_pack(NULL, NULL, from, to, bytes, &error), MJ_ERR_ARGUMENT);
    CHECK_STRING(error.text, "problem is null");
    CHECK_STATUS(mj_weights_pack(&problem, NULL, NULL, to, bytes, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_weights_pack(&problem, NULL, from, NULL, bytes, &error), MJ_ERR_ARGUMENT);
    CHECK_STRING(error.text, "to is null");
    CHECK_STATUS(mj_weights_pack(&problem, NULL, to, to, bytes, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "overlap");
    CHECK_STATUS(mj_weights_pack(&problem, NULL, to + 1, to, bytes - 192, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_weights_pack(&problem, NULL, from, to, UINT64_MAX, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "beyond memory");
    CHECK_STATUS(mj_weights_pack(&problem, NULL, from, to, bytes - 1, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "are not 192 rows (E * G*N) of 16 elements");
    CHECK_STATUS(mj_weights_pack(&problem, NULL, from, to, 192 * 7, &error), MJ_ERR_ARGUMENT); /* below 4 bits */
    CHECK_STATUS(mj_weights_pack(&problem, NULL, from, to, 0, &error), MJ_ERR_ARGUMENT);
    other.hidden = 15;
    CHECK_STATUS(mj_weights_pack(&other, NULL, from, to, bytes, &error), MJ_ERR_ARGUMENT); /* above 16 bits */
    CHECK_STATUS(mj_weights_pack(&problem, "interleavd8", from, to, bytes, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "did you mean \"interleaved8\"?");
    other = problem;
    other.gated = false;
    CHECK_STATUS(mj_weights_pack(&other, NULL, from, to, bytes / 2, &error), MJ_ERR_ARGUMENT);
    other = problem;
    other.intermediate = 20;
    CHECK_STATUS(mj_weights_pack(&other, NULL, from, to, 4 * 40 * 32, &error), MJ_ERR_ARGUMENT);
    snprintf(other.layout, sizeof other.layout, "default");
    CHECK_STATUS(mj_weights_pack(&other, "interleaved8", from, to, 4 * 40 * 32, &error), MJ_ERR_ARGUMENT);
    CHECK(memcmp(from, to, sizeof from) == 0); /* nothing was written */
}

/* ---- Who serves it ---- */

static bool refused_by(const char *problem, const char *arch, const char *family, mj_op op, const char *rule)
{
    fixture f;
    mj_verdict verdict = {0};
    return fixture_kernel(&f, problem, arch, family, op, NULL) && !mj_legal(fixture_spec, &f.desc, &verdict) &&
           verdict_names(&verdict, rule);
}

TEST(families_say_what_they_serve)
{
    static const char packed[] = "E=4,topk=2,H=256,N=128,layout=interleaved8";
    static const char *const amd[][2] = {{"gfx942", "mfma"}, {"gfx1100", "wmma"}};
    for (size_t i = 0; i < 2; i++) {
        CHECK(refused_by(packed, amd[i][0], amd[i][1], MJ_OP_GEMM1, "layout_of_space"));
        CHECK(!refused_by(packed, amd[i][0], amd[i][1], MJ_OP_GEMM2, "layout_of_space"));
        CHECK(!refused_by(packed, amd[i][0], "reference", MJ_OP_GEMM1, "layout_of_space"));
    }
    CHECK(!refused_by(packed, "sm_80", "mma", MJ_OP_GEMM1, "layout_of_space"));
    CHECK(!refused_by(packed, "sm_80", "simple", MJ_OP_ACTIVATION, "layout_of_space"));
}

/* Words that hold several rows cannot be moved row by row. */
TEST(rows_that_share_words)
{
    fixture f;
    mj_verdict verdict = {0};
    CHECK(fixture_kernel(&f, "E=4,topk=2,H=256,N=128,layout=interleaved8", "sm_80", "reference", MJ_OP_GEMM1, NULL));
    CHECK(mj_legal(fixture_spec, &f.desc, &verdict));
    snprintf(f.scheme.packing.axis, sizeof f.scheme.packing.axis, "n");
    CHECK(!mj_legal(fixture_spec, &f.desc, &verdict));
    CHECK(verdict_names(&verdict, "weight_layout"));
    f.desc.op = MJ_OP_GEMM2; /* its weights stay */
    CHECK(mj_legal(fixture_spec, &f.desc, &verdict));
}

/* Some family serves every op on every arch: a plan always exists. */
TEST(every_arch_has_a_kernel)
{
    static const char *const schemes[] = {"bf16", "fp8_w8a8_block", "int4_w4a16_zp"};
    for (uint32_t a = 0; a < mj_spec_arch_count(fixture_spec); a++) {
        for (size_t s = 0; s < 3; s++) {
            char text[120];
            snprintf(text, sizeof text, "E=4,topk=2,H=264,N=136,layout=interleaved8,scheme=%s", schemes[s]);
            mj_problem problem = problem_of(text);
            const mj_arch *arch = mj_spec_arch_at(fixture_spec, a);
            mj_ranked ranked;
            uint32_t count = 0;
            mj_error error = {0};
            CHECK_STATUS(mj_estimate_rank(fixture_spec, &problem, arch, MJ_OP_GEMM1, NULL, &arch->typical, 4, NULL,
                                          &ranked, 1, &count, NULL, &error),
                         MJ_OK);
            CHECK_INT(count, 1);
        }
    }
}

/* ---- Kernels ---- */

/* ORDER BASE */
typedef enum base_id { ACT, PLAIN, PLAIN_CLUSTER, MMA, REFERENCE, REFERENCE_CODES, BASE_COUNT } base_id;

#define LAID ",layout=interleaved8"
static const mutant_base bases[] = {
    [ACT] = {"act_gather_8_rows", "E=5,topk=2,H=136,N=88,bias=1,act=swigluoai" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
             "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,"
             "cluster=1,group_m=1,blocks_per_sm=3"},
    [PLAIN] = {"plain_gather", "E=5,topk=2,H=136,N=64,bias=1" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1,
               "tile_m=16,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,"
               "cluster=1,group_m=1,blocks_per_sm=3"},
    [PLAIN_CLUSTER] = {"plain_rows_are_m_cluster", "E=5,topk=2,H=72,N=256,scheme=fp16" LAID, "sm_90a", "wgmma",
                       MJ_OP_GEMM1,
                       "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,"
                       "producers=2,cluster=2,group_m=1,blocks_per_sm=1"},
    [MMA] = {"mma_split", "E=5,topk=2,H=264,N=88,bias=1" LAID, "sm_80", "mma", MJ_OP_GEMM1,
             "tile_m=16,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=2"},
    [REFERENCE] = {"reference_fp16", "E=5,topk=2,H=51,N=40,bias=1,scheme=fp16" LAID, "sm_80", "reference", MJ_OP_GEMM1,
                   "threads=64"},
    [REFERENCE_CODES] = {"reference_int4", "E=5,topk=2,H=136,N=40,scheme=int4_w4a16_g64_zp" LAID, "sm_80", "reference",
                         MJ_OP_GEMM1_ACT, "threads=64"},
    {"act_sorted_two_consumers", "E=5,topk=2,H=264,N=104,scheme=fp16,act=gelu_tanh" LAID, "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=40,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_rows_are_m_gather", "E=5,topk=2,H=136,N=160,bias=1,act=swigluoai,scheme=fp16" LAID, "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=192,orientation=1,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_rows_are_m_cluster", "E=5,topk=2,H=72,N=56,act=gelu" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=2,"
     "group_m=1,blocks_per_sm=1"},
    {"act_in_turns", "E=5,topk=2,H=136,N=104" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=80,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=2,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_shared_depth", "E=5,topk=2,H=776,N=56,bias=1" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=16,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_many_experts", "E=70,topk=2,H=72,N=24" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=8,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_fp8_tensor", "E=5,topk=2,H=272,N=56,scheme=fp8_w8a8,bias=1" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=24,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_fp8_channel", "E=5,topk=2,H=144,N=56,scheme=fp8_w8a8_channel,bias=1,act=swigluoai" LAID, "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"act_fp8_blocks", "E=5,topk=2,H=304,N=160,scheme=fp8_w8a8_block,bias=1" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=40,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"act_fp8_blocks_rows_are_m", "E=5,topk=2,H=272,N=192,scheme=fp8_w8a8_block,act=swigluoai" LAID, "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_blocks_part_of_a_group", "E=5,topk=2,H=144,N=544,scheme=fp8_w8a8_block,bias=1,act=swigluoai" LAID, "sm_90a",
     "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=16,tile_n=256,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"codes_tensor_rows_are_m", "E=5,topk=2,H=144,N=232,scheme=fp8_w8a8" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE,
     "tile_m=128,tile_n=256,orientation=1,input_load=2,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"plain_columns_share_boxes", "E=5,topk=2,H=184,N=192" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=96,tile_n=64,orientation=2,input_load=2,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=2,"
     "cluster_of=2,group_m=1,blocks_per_sm=1"},
    {"plain_fp8_blocks", "E=5,topk=2,H=304,N=128,scheme=fp8_w8a8_block,bias=1" LAID, "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=40,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"mma_wide_rows", "E=40,topk=2,H=168,N=136" LAID, "sm_80", "mma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=64,tile_k=256,stages=2,warps_m=1,warps_n=2,group_m=1,split_k=1"},
    {"reference_blocks", "E=5,topk=2,H=136,N=136,scheme=fp8_w8a8_block" LAID, "sm_80", "reference",
     MJ_OP_GEMM1_QUANTISE, "threads=64"},
    {"cpu_act", "E=5,topk=2,H=136,N=88,bias=1" LAID, "cpu", "cpu", MJ_OP_GEMM1_ACT, "tile_n=32"},
    {"cpu_plain", "E=5,topk=2,H=136,N=56,scheme=fp16" LAID, "cpu", "cpu", MJ_OP_GEMM1, "tile_n=32"},
};

static const mutant mutants[] = {
    {"tile_of_half_the_rows", ACT, 1, "tile.column_tile * MJ_TILE_N;", "tile.column_tile * MJ_OUT_TILE;"},
    {"ups_never_loaded", PLAIN, 1, "mj_i32 part = MJ_PARTS == 2 ? 0 :", "mj_i32 part = MJ_PARTS ? 0 :"},
    {"groups_of_up_counted_on", PLAIN, 1, " - part * (MJ_N / 16);", ";"},
    {"half_of_a_cluster_one_group_off", PLAIN_CLUSTER, 1, "MJ_WEIGHT_BOX_ROWS / (8 * MJ_PARTS)",
     "MJ_WEIGHT_BOX_ROWS / (8 * MJ_PARTS) - 1"},
    {"columns_as_they_lie", MMA, 1, "mj_i32 column = MJ_ROW_AT(place);", "mj_i32 column = place;"},
    {"clipped_after_the_turn", MMA, 1, "    if (place < MJ_N) {\n        *(mj_u32 *)",
     "    if (column < MJ_N) {\n        *(mj_u32 *)"},
    {"rows_in_order", REFERENCE, 1, "MJ_WEIGHT_ROW(weight_row)) * MJ_K", "(weight_row)) * MJ_K"},
    {"ups_before_gates", REFERENCE, 1, "+ (row) / (MJ_N / 2) * MJ_TURN_ROWS +",
     "+ (1 - (row) / (MJ_N / 2)) * MJ_TURN_ROWS +"},
    {"codes_in_order", REFERENCE_CODES, 1, "MJ_N + MJ_WEIGHT_ROW(column))", "MJ_N + (column))"},
};

int main(int argc, char **argv)
{
    mutant_set set = {.bases = bases,
                      .base_count = sizeof bases / sizeof bases[0],
                      .mutants = mutants,
                      .mutant_count = sizeof mutants / sizeof mutants[0]};
    CHECK_BEGIN(argc, argv);
    if (!fixture_open()) {
        printf("FAIL set_up: no spec\n");
        return 1;
    }
    RUN(rows_take_turns_of_eight);
    RUN(layouts_that_cannot_be);
    RUN(weights_are_packed_and_back);
    RUN(what_cannot_be_packed);
    RUN(families_say_what_they_serve);
    RUN(rows_that_share_words);
    RUN(every_arch_has_a_kernel);
    if (!mutants_run(&set)) {
        printf("FAIL set_up: no memory or no process\n");
        return 1;
    }
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
