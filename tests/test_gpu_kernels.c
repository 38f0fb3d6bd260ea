/* Single kernels, on the cpu and on cuda:0: sampled configs of a family and every other op against the host's truth. With
 * MOEJIT_TEST_FULL=1 every config of wgmma: 30,000 kernels, compiled by all processors. */
#define _GNU_SOURCE
#include "compile_ahead.h"
#include "device_fixture.h"
#include "reference.h"
#include "verify.h"

/* ---- Configs: one that has each value of each tunable, then as many as wished, all drawn at random ---- */

enum { CONFIGS_MAX = 4096, CASE_COUNT = 6 };

typedef struct sampling {
    const char *problem, *family;
    uint32_t extra_count; /* configs beside those for every value */
    bool every_value;
    const char *of; /* every value of the tunables that this names; NULL: of all */
} sampling;

typedef struct draw { /* each value's config is drawn among all that have it */
    const mj_space *space;
    uint64_t random;
    uint32_t seen[MJ_CONFIG_MAX][32], seen_all, extra_count;
    mj_config by_value[MJ_CONFIG_MAX][32], extra[CONFIGS_MAX];
} draw;

static uint32_t below(draw *d, uint32_t count)
{
    d->random = d->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((d->random >> 33) % count);
}

static bool draw_one(void *user, const mj_config *config)
{
    draw *d = user;
    for (uint32_t t = 0; t < d->space->tunable_count; t++) {
        const mj_tunable *tunable = &d->space->tunables[t];
        int32_t value = 0;
        mj_config_get(config, tunable->name, &value);
        for (uint32_t v = 0; v < tunable->value_count; v++) {
            if (tunable->values[v] == value && below(d, ++d->seen[t][v]) == 0) {
                d->by_value[t][v] = *config;
            }
        }
    }
    uint32_t at = below(d, ++d->seen_all);
    if (d->seen_all <= d->extra_count) {
        d->extra[d->seen_all - 1] = *config;
    } else if (at < d->extra_count) {
        d->extra[at] = *config;
    }
    return true;
}

static void keep(mj_config *configs, uint32_t *count, const mj_config *config)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (mj_config_equal(&configs[i], config)) {
            return;
        }
    }
    if (*count < CONFIGS_MAX) {
        configs[(*count)++] = *config;
    }
}

static uint32_t list_configs(const draw *d, const sampling *s, mj_config *configs)
{
    uint32_t count = 0, extras = d->seen_all < d->extra_count ? d->seen_all : d->extra_count;
    for (uint32_t t = 0; s->every_value && t < d->space->tunable_count; t++) {
        bool named = !s->of || strstr(s->of, d->space->tunables[t].name);
        for (uint32_t v = 0; named && v < d->space->tunables[t].value_count; v++) {
            if (d->seen[t][v]) {
                keep(configs, &count, &d->by_value[t][v]);
            }
        }
    }
    for (uint32_t i = 0; i < extras; i++) {
        keep(configs, &count, &d->extra[i]);
    }
    return count;
}

/* ---- One GEMM ---- */

static bool gpu_has(const char *family)
{
    device_fixture f;
    mj_lab lab = {0};
    bool has = false;
    if (open_fixture(&f, GPU, "store") && mj_lab_open(f.device, 1 << 20, &lab, NULL) == MJ_OK) {
        for (uint32_t i = 0; i < lab.arch->families.count; i++) {
            has |= strcmp(lab.arch->families.items[i], family) == 0;
        }
    }
    mj_lab_close(&lab);
    close_fixture(&f);
    return has;
}
#define NEED_FAMILY(family) \
    do { \
        if (!gpu_has(family)) { \
            SKIP("the device has no " family); \
        } \
    } while (0)

static bool said(mj_status status, const char *what, const mj_error *error)
{
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s: %s", what, mj_status_name(status), error->text);
    }
    return status == MJ_OK;
}

/* Small and odd on purpose; the last two fill the tallest tiles of each space. The reference output of each is compared with the host
 * first. */
static bool prepare_cases(mj_lab *lab, mj_case cases[CASE_COUNT])
{
    static const struct {
        uint32_t tokens;
        const char *routing;
    } rows[CASE_COUNT] = {{1, "uniform"}, {37, "small:ragged"}, {70, "small:one"},
                          {150, "zipf1"}, {176, "small:one"},   {208, "small:one"}};
    mj_error error = {0};
    mj_finding finding = {0};
    for (int i = 0; i < CASE_COUNT; i++) {
        if (!said(mj_case_prepare(lab, rows[i].tokens, rows[i].routing, 5, false, &cases[i], &error), rows[i].routing,
                  &error) ||
            !said(mj_verify_reference(lab, &cases[i], 1 << 22, &finding, &error), "reference", &error)) {
            return false;
        }
        if (finding.reason != MJ_REASON_NONE) {
            check_fail(__FILE__, __LINE__, "reference: %s", finding.detail);
            return false;
        }
    }
    return true;
}

static bool verify_config(mj_lab *lab, const mj_kernel_desc *desc, mj_case cases[CASE_COUNT])
{
    char text[512], what[800];
    mj_loaded_kernel kernel = {0};
    mj_error error = {0};
    mj_finding finding = {0};
    mj_config_print(desc->config, text, sizeof text, NULL);
    snprintf(what, sizeof what, "%s %s %s", mj_op_name(desc->op), desc->space->family, text);
    if (!said(mj_kernel_build(lab->device, desc, &kernel, NULL, &error), what, &error)) {
        return false;
    }
    bool right = true;
    for (int i = 0; right && i < CASE_COUNT; i++) {
        right = said(mj_verify_kernel(lab, &cases[i], &kernel, &finding, &error), what, &error);
        if (right && finding.reason != MJ_REASON_NONE) {
            check_fail(__FILE__, __LINE__, "%s: %s: %s", what, mj_reason_text(finding.reason), finding.detail);
            right = false;
        }
    }
    mj_kernel_unload(lab->device, &kernel);
    return right;
}

/* Columns may have no whole groups of codes; weights of 4 bits are for the plain GEMMs. */
static bool may_be_none(const sampling *s, mj_op op)
{
    return mj_op_writes_codes(op) || (strstr(s->problem, "scheme=int4") && op != MJ_OP_GEMM1 && op != MJ_OP_GEMM2);
}

typedef struct tally {
    uint32_t verified, refused;
} tally;

static bool takes_all(const sampling *s)
{
    const char *full = getenv("MOEJIT_TEST_FULL");
    return full && strcmp(full, "1") == 0 && strcmp(s->family, "wgmma") == 0;
}

/* false: a kernel is wrong, the device cannot be used any more, or nothing was tried. */
static bool verify_gemm(mj_lab *lab, const sampling *s, mj_op op, tally *seen)
{
    static draw d;
    static mj_config configs[CONFIGS_MAX];
    mj_case cases[CASE_COUNT] = {0};
    mj_problem problem;
    mj_error error = {0};
    const mj_scheme *scheme = NULL;
    const mj_space *space = NULL;
    if (!said(mj_problem_parse(s->problem, &problem, &error), s->problem, &error) ||
        !said(mj_spec_find_scheme(lab->spec, problem.scheme, &scheme, &error), "scheme", &error) ||
        !said(mj_spec_find_space(lab->spec, s->family, &space, &error), "space", &error) ||
        !said(mj_lab_load(lab, &problem, op, 11, &error), "weights", &error)) {
        return false;
    }
    mj_kernel_desc desc = {.problem = &problem, .arch = lab->arch, .scheme = scheme, .space = space, .op = op};
    d = (draw){.space = space, .random = 77 + op, .extra_count = takes_all(s) ? CONFIGS_MAX : s->extra_count};
    bool right = said(mj_space_enumerate(lab->spec, &desc, draw_one, &d, NULL, &error), "space", &error) &&
                 prepare_cases(lab, cases);
    uint32_t count = list_configs(&d, s, configs);
    right = right &&
            said(compile_ahead(lab, s->problem, &desc, configs, count, &seen->refused, &error), "compiling", &error);
    const uint32_t before = seen->verified;
    for (uint32_t i = 0; right && i < count; i++) {
        desc.config = &configs[i];
        right = verify_config(lab, &desc, cases);
        seen->verified += right;
    }
    if (takes_all(s)) { /* minutes each: a run that is cut has shown these */
        printf("# %s of %s: %u of %u legal configs are right\n", mj_op_name(op), s->problem,
               (unsigned)(seen->verified - before), (unsigned)d.seen_all);
        fflush(stdout);
    }
    for (int i = 0; i < CASE_COUNT; i++) {
        if (cases[i].present) {
            mj_case_free(lab, &cases[i]);
        }
    }
    if (right && count == 0 && !may_be_none(s, op)) {
        check_fail(__FILE__, __LINE__, "%s: no %s config of %s is legal", s->problem, mj_op_name(op), s->family);
        right = false;
    }
    return right;
}

/* Every GEMM op that the family has, in this version. */
static bool verify_ops(mj_lab *lab, const sampling *s, tally *seen)
{
    static const char *const names[] = {"gemm1", "gemm1_act", "gemm1_quantise", "gemm2", "gemm2_combine"};
    const mj_space *space = NULL;
    mj_error error = {0};
    bool right = said(mj_spec_find_space(lab->spec, s->family, &space, &error), "space", &error);
    for (size_t i = 0; right && i < sizeof names / sizeof *names; i++) {
        mj_op op = MJ_OP_COUNT;
        bool known = mj_op_parse(names[i], &op, NULL) == MJ_OK, has = false;
        for (uint32_t j = 0; j < space->ops.count; j++) {
            has |= strcmp(space->ops.items[j], names[i]) == 0;
        }
        has = has && (!mj_op_writes_codes(op) || strstr(s->problem, "scheme=fp8"));
        right = !known || !has || verify_gemm(lab, s, op, seen);
    }
    return right;
}

static void verify_samplings(const char *id, const sampling *samplings, size_t count, uint32_t least)
{
    device_fixture f;
    mj_lab lab = {0};
    mj_error error = {0};
    tally seen = {0};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    bool right = said(mj_lab_open(f.device, 2ull << 30, &lab, &error), "lab", &error);
    for (size_t i = 0; right && i < count; i++) {
        right = verify_ops(&lab, &samplings[i], &seen);
    }
    mj_lab_close(&lab);
    close_fixture(&f);
    printf("# %s: %u configs verified\n", id, (unsigned)seen.verified);
    CHECK(right);
    CHECK(seen.verified >= least);
    /* Legal, yet it spills: none of a sample, a few of the whole space; more where templates were made for a tool. */
    CHECK(seen.refused * (getenv("MOEJIT_TEST_DATA_DIR") ? 10 : 500) <= seen.verified);
}

/* N of deployed layers that powers of two do not divide, as columns and as depth, and sizes below one tile. */
#define TAILS_928    "E=4,topk=2,H=512,N=928,gated=1,act=silu,bias=1,scheme=bf16,layout=default"
#define TAILS_352    "E=4/8,topk=3,H=264,N=352,gated=1,act=silu,bias=0,scheme=fp16,layout=default"
#define TAILS_2880   "E=3,topk=1,H=328,N=2880,gated=0,act=relu2,bias=0,scheme=bf16,layout=default"
#define PACKED_352   "E=4/8,topk=3,H=264,N=352,gated=1,act=silu,bias=1,scheme=bf16,layout=interleaved8"
#define BELOW_A_TILE "E=5,topk=3,H=136,N=24,gated=1,act=silu,bias=1,scheme=fp16,layout=default"

TEST(sampled_mma_configs_cuda)
{
    static const sampling samplings[] = {{TAILS_928, "mma", 8, true, NULL},
                                         {TAILS_352, "mma", 14, false, NULL},
                                         {TAILS_2880, "mma", 14, false, NULL},
                                         {PACKED_352, "mma", 8, false, NULL},
                                         {BELOW_A_TILE, "mma", 14, false, NULL}};
    NEED_GPU();
    verify_samplings(GPU, samplings, 5, 100);
}

/* Few: tests/gpu/sanitizer.sh runs this case under compute-sanitizer. */
TEST(handful_of_mma_configs_cuda)
{
    static const sampling samplings[] = {{TAILS_352, "mma", 4, false, NULL}, {BELOW_A_TILE, "mma", 4, false, NULL}};
    NEED_GPU();
    verify_samplings(GPU, samplings, 2, 16);
}

#define WAYS "orientation input_load schedule producers cluster cluster_of"

/* wgmma wants whole steps of K: 64 of bf16, 128 of fp8. Columns that tiles do not divide, experts of other ranks, biases; blocks so deep
 * that parts of a step take turns. */
#define STEPS_BF16    "E=4,topk=2,H=576,N=320,gated=1,act=silu,bias=1,scheme=bf16,layout=default"
#define STEPS_FP16    "E=5,topk=2,H=320,N=448,gated=0,act=relu2,bias=0,scheme=fp16,layout=default"
#define STEPS_TENSOR  "E=5,topk=2,H=256,N=640,gated=0,act=relu2,bias=1,scheme=fp8_w8a8,layout=default"
#define STEPS_CHANNEL "E=4/6,topk=3,H=640,N=384,gated=1,act=silu,bias=0,scheme=fp8_w8a8_channel,layout=default"
#define STEPS_BLOCK   "E=3,topk=2,H=1024,N=1152,gated=1,act=silu,bias=0,scheme=fp8_w8a8_block,layout=default"
#define NARROW_BLOCK  "E=3,topk=2,H=1024,N=384,gated=1,act=silu,bias=0,scheme=fp8_w8a8_block,layout=default"
#define PACKED_BF16   "E=4,topk=2,H=576,N=320,gated=1,act=silu,bias=1,scheme=bf16,layout=interleaved8"
#define PACKED_BLOCK  "E=3,topk=2,H=1024,N=1152,gated=1,act=silu,bias=0,scheme=fp8_w8a8_block,layout=interleaved8"
#define STEPS_INT4    "E=4,topk=2,H=576,N=320,gated=1,act=silu,bias=1,scheme=int4_w4a16_g64_zp,layout=default"
#define STEPS_HALF4   "E=5,topk=2,H=512,N=640,gated=0,act=relu2,bias=0,scheme=int4_w4a16_fp16,layout=default"

#define OF_WGMMA(name, least, ...) \
    TEST(name) \
    { \
        static const sampling samplings[] = {{__VA_ARGS__}}; \
        NEED_GPU(); \
        NEED_FAMILY("wgmma"); \
        verify_samplings(GPU, samplings, 1, least); \
    }

/* A case for each: whole spaces take minutes, several at a time. */
OF_WGMMA(wgmma_configs_of_bf16_cuda, 60, STEPS_BF16, "wgmma", 12, true, NULL)
OF_WGMMA(wgmma_configs_of_packed_bf16_cuda, 30, PACKED_BF16, "wgmma", 8, true, WAYS)
OF_WGMMA(wgmma_configs_of_fp16_cuda, 20, STEPS_FP16, "wgmma", 6, false, NULL)
OF_WGMMA(wgmma_configs_of_fp8_cuda, 30, STEPS_TENSOR, "wgmma", 8, false, NULL)
OF_WGMMA(wgmma_configs_of_fp8_channel_cuda, 25, STEPS_CHANNEL, "wgmma", 8, false, NULL)
OF_WGMMA(wgmma_configs_of_blocks_cuda, 100, STEPS_BLOCK, "wgmma", 8, true, NULL)
OF_WGMMA(wgmma_configs_of_packed_blocks_cuda, 50, PACKED_BLOCK, "wgmma", 8, true, WAYS)
OF_WGMMA(wgmma_configs_of_int4_cuda, 40, STEPS_INT4, "wgmma", 8, true, NULL)
OF_WGMMA(wgmma_configs_of_int4_fp16_cuda, 12, STEPS_HALF4, "wgmma", 8, false, NULL)

/* Few, but each way to load, to schedule and to share: tests/gpu/sanitizer.sh runs these cases under compute-sanitizer, all at a
 * time. */
OF_WGMMA(handful_of_wgmma_bf16_cuda, 10, STEPS_BF16, "wgmma", 0, true, WAYS)
OF_WGMMA(handful_of_wgmma_fp8_cuda, 10, STEPS_CHANNEL, "wgmma", 0, true, WAYS)
OF_WGMMA(handful_of_wgmma_blocks_cuda, 10, NARROW_BLOCK, "wgmma", 0, true, WAYS)
OF_WGMMA(handful_of_wgmma_int4_cuda, 5, STEPS_INT4, "wgmma", 0, true, WAYS)

/* What the GPU's cases do, with the scale layouts of fp8, on any machine. */
#define SMALL_BLOCK "E=3,topk=2,H=128,N=128,gated=1,act=silu,bias=0,scheme=fp8_w8a8_block,layout=default"

#define PACKED_SMALL "E=3,topk=2,H=64,N=72,gated=1,act=silu,bias=1,scheme=bf16,layout=interleaved8"

TEST(sampled_reference_configs_cpu)
{
    static const sampling samplings[] = {{SMALL_BLOCK, "reference", 0, true, "threads"},
                                         {PACKED_SMALL, "reference", 0, true, "threads"}};
    verify_samplings("cpu", samplings, 2, 4);
}

TEST(sampled_cpu_configs_cpu)
{
    static const sampling samplings[] = {{BELOW_A_TILE, "cpu", 2, false, NULL}, {PACKED_SMALL, "cpu", 2, false, NULL}};
    verify_samplings("cpu", samplings, 2, 8);
}

/* ---- Every other op ---- */

static const char *const layers[] = {
    "E=6,topk=2,H=96,N=80,gated=1,act=silu,bias=0,scheme=bf16,layout=default",
    "E=4/8,topk=3,H=72,N=40,gated=0,act=relu2,bias=1,scheme=fp16,layout=default",
    "E=3,topk=1,H=83,N=37,gated=1,act=gelu,bias=1,scheme=bf16,layout=default",
    "E=2/5,topk=4,H=264,N=104,gated=1,act=swigluoai,bias=1,scheme=fp16,layout=default",
    "E=512,topk=10,H=2048,N=512,gated=1,act=gelu_tanh,bias=0,scheme=bf16,layout=default",
    "E=16/256,topk=8,H=128,N=64,gated=0,act=gelu,bias=0,scheme=fp16,layout=default",
};
enum { LAYER_COUNT = sizeof layers / sizeof *layers };

static bool op_is_right(mj_lab *lab, const char *text, mj_op op)
{
    mj_problem problem;
    mj_loaded_kernel kernel = {0};
    mj_finding finding = {0};
    mj_error error = {0};
    bool right = said(mj_problem_parse(text, &problem, &error), text, &error) &&
                 said(mj_lab_build(lab, &problem, op, NULL, &kernel, &error), text, &error) &&
                 said(mj_verify_layer_op(lab, &kernel, &finding, &error), text, &error);
    if (right && finding.reason != MJ_REASON_NONE) {
        check_fail(__FILE__, __LINE__, "%s of %s: %s", mj_op_name(op), text, finding.detail);
        right = false;
    }
    mj_kernel_unload(lab->device, &kernel);
    return right;
}

static void layer_ops(const char *id)
{
    static const mj_op ops[] = {MJ_OP_TABLES, MJ_OP_ACTIVATION, MJ_OP_COMBINE};
    device_fixture f;
    mj_lab lab = {0};
    mj_error error = {0};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK_STATUS(mj_lab_open(f.device, 1ull << 30, &lab, &error), MJ_OK);
    for (int i = 0; i < (strcmp(id, GPU) == 0 ? LAYER_COUNT : 2); i++) {
        for (size_t j = 0; j < sizeof ops / sizeof *ops; j++) {
            CHECK(op_is_right(&lab, layers[i], ops[j]));
        }
    }
    mj_lab_close(&lab);
    close_fixture(&f);
}
ON_EACH(layer_ops)

/* Every element, and nothing after the last. */
static void fill_op(const char *id)
{
    static const char *const formats[] = {"bf16", "f16", "f32"};
    enum { COUNT = 100003 };
    device_fixture f;
    mj_lab lab = {0};
    mj_guarded to = {0};
    mj_error error = {0};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK_STATUS(mj_lab_open(f.device, 1ull << 30, &lab, &error), MJ_OK);
    for (int i = 0; i < 3; i++) {
        uint32_t bytes = mj_ref_format_bytes(formats[i]);
        unsigned char *got = malloc((size_t)COUNT * bytes), want[8];
        bool intact = false;
        int64_t offset = 0;
        CHECK_STATUS(mj_guarded_alloc(&lab, (uint64_t)COUNT * bytes, &to, &error), MJ_OK);
        CHECK_STATUS(mj_guarded_reset(&lab, &to, 0xff, &error), MJ_OK);
        CHECK_STATUS(mj_lab_fill(&lab, formats[i], to.data, COUNT, 31 + (uint64_t)i, 0.75f, &error), MJ_OK);
        CHECK_STATUS(mj_lab_download(&lab, got, to.data, to.bytes, &error), MJ_OK);
        for (uint32_t at = 0; at < COUNT; at++) {
            mj_ref_store(formats[i], want, 0, mj_ref_fill(31 + (uint64_t)i, at, 0.75f));
            CHECK(memcmp(got + (size_t)at * bytes, want, bytes) == 0);
        }
        CHECK_STATUS(mj_guarded_check(&lab, &to, &intact, &offset, &error), MJ_OK);
        CHECK(intact);
        mj_guarded_free(&lab, &to);
        free(got);
    }
    mj_lab_close(&lab);
    close_fixture(&f);
}
ON_EACH(fill_op)

/* ---- compare: known differences, a NaN, an infinity ---- */

enum { ROWS = 5, COLUMNS = 333 };

static void make_rows(uint16_t got[ROWS][COLUMNS], uint16_t want[ROWS][COLUMNS])
{
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLUMNS; c++) {
            mj_ref_store("bf16", got, (uint64_t)r * COLUMNS + c, (c * 7 + r) % 32 - 16);
            mj_ref_store("bf16", want, (uint64_t)r * COLUMNS + c, (c * 7 + r) % 32 - 16);
        }
    }
    mj_ref_store("bf16", got, 1 * COLUMNS + 332, mj_ref_load("bf16", want, 1 * COLUMNS + 332) + 3);
    mj_ref_store("bf16", got, 1 * COLUMNS + 9, mj_ref_load("bf16", want, 1 * COLUMNS + 9) - 2);
    mj_ref_store("bf16", got, 2 * COLUMNS + 200, NAN);
    mj_ref_store("bf16", want, 3 * COLUMNS + 0, INFINITY);
}

static void check_sums(const float sums[ROWS][4], const void *want)
{
    double square = 0;
    for (int c = 0; c < COLUMNS; c++) {
        square += pow(mj_ref_load("bf16", want, c), 2);
    }
    CHECK(sums[0][0] == 0 && sums[0][2] == 0);
    CHECK(sums[0][1] == square); /* whole numbers below 2^24: exact */
    CHECK(sums[1][0] == 13 && sums[1][2] == 3 && sums[1][3] == 332);
    CHECK(isinf(sums[2][2]) && sums[2][3] == 200);
    CHECK(isinf(sums[3][2]) && sums[3][3] == 0);
    CHECK(sums[4][0] == 0);
}

static void compare_op(const char *id)
{
    static uint16_t got[ROWS][COLUMNS], want[ROWS][COLUMNS];
    float sums[ROWS][4];
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    device_fixture f;
    mj_lab lab = {0};
    mj_problem any;
    mj_loaded_kernel kernel = {0};
    void *memory[3] = {0};
    const uint64_t bytes[3] = {sizeof got, sizeof want, sizeof sums};
    mj_error error = {0};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    make_rows(got, want);
    CHECK_STATUS(mj_problem_parse(layers[0], &any, &error), MJ_OK);
    CHECK_STATUS(mj_lab_open(f.device, 1ull << 30, &lab, &error), MJ_OK);
    CHECK_STATUS(mj_lab_build(&lab, &any, MJ_OP_COMPARE, NULL, &kernel, &error), MJ_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(mj_lab_alloc(&lab, bytes[i], &memory[i], &error), MJ_OK);
    }
    CHECK_STATUS(mj_lab_upload(&lab, memory[0], got, sizeof got, &error), MJ_OK);
    CHECK_STATUS(mj_lab_upload(&lab, memory[1], want, sizeof want, &error), MJ_OK);
    values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)memory[0];
    values[MJ_ARG_REFERENCE].pointer = (uint64_t)(uintptr_t)memory[1];
    values[MJ_ARG_RESULT].pointer = (uint64_t)(uintptr_t)memory[2];
    values[MJ_ARG_ROW_COUNT].i32 = ROWS;
    values[MJ_ARG_COLUMN_COUNT].i32 = COLUMNS;
    CHECK_STATUS(mj_kernel_launch(f.device, &kernel, values, 1, lab.stream, &error), MJ_OK);
    CHECK_STATUS(mj_lab_download(&lab, sums, memory[2], sizeof sums, &error), MJ_OK);
    check_sums(sums, want);
    for (int i = 0; i < 3; i++) {
        mj_lab_free(&lab, memory[i], bytes[i]);
    }
    mj_kernel_unload(f.device, &kernel);
    mj_lab_close(&lab);
    close_fixture(&f);
}
ON_EACH(compare_op)

/* mode 1 copies every vector; mode 0 only reads. */
static void stream_op(const char *id)
{
    enum { VECTORS = 70001, BYTES = VECTORS * 16 };
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    device_fixture f;
    mj_lab lab = {0};
    mj_problem any;
    mj_loaded_kernel kernel = {0};
    void *from = NULL;
    mj_guarded to = {0};
    unsigned char *want = malloc(BYTES), *got = malloc(BYTES);
    mj_error error = {0};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK_STATUS(mj_problem_parse(layers[0], &any, &error), MJ_OK);
    CHECK_STATUS(mj_lab_open(f.device, 1ull << 30, &lab, &error), MJ_OK);
    CHECK_STATUS(mj_lab_build(&lab, &any, MJ_OP_STREAM, NULL, &kernel, &error), MJ_OK);
    CHECK_STATUS(mj_lab_alloc(&lab, BYTES, &from, &error), MJ_OK);
    CHECK_STATUS(mj_guarded_alloc(&lab, BYTES, &to, &error), MJ_OK);
    CHECK_STATUS(mj_guarded_reset(&lab, &to, 0x5c, &error), MJ_OK);
    CHECK_STATUS(mj_lab_fill(&lab, "f32", from, BYTES / 4, 9, 1, &error), MJ_OK);
    values[MJ_ARG_INPUT].pointer = (uint64_t)(uintptr_t)from;
    values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)to.data;
    values[MJ_ARG_ELEMENT_COUNT].i64 = VECTORS;
    for (int32_t mode = 0; mode < 2; mode++) {
        bool intact = false;
        int64_t offset = 0;
        values[MJ_ARG_MODE].i32 = mode;
        CHECK_STATUS(mj_kernel_launch(f.device, &kernel, values, 1, lab.stream, &error), MJ_OK);
        CHECK_STATUS(mj_lab_download(&lab, got, to.data, BYTES, &error), MJ_OK);
        memset(want, 0x5c, BYTES);
        if (mode == 1) {
            CHECK_STATUS(mj_lab_download(&lab, want, from, BYTES, &error), MJ_OK);
        }
        CHECK(memcmp(got, want, BYTES) == 0);
        CHECK_STATUS(mj_guarded_check(&lab, &to, &intact, &offset, &error), MJ_OK);
        CHECK(intact);
    }
    free(want);
    free(got);
    mj_guarded_free(&lab, &to);
    mj_lab_free(&lab, from, BYTES);
    mj_kernel_unload(f.device, &kernel);
    mj_lab_close(&lab);
    close_fixture(&f);
}
ON_EACH(stream_op)

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    RUN(sampled_cpu_configs_cpu);
    RUN(sampled_reference_configs_cpu);
    RUN(sampled_mma_configs_cuda);
    RUN(handful_of_mma_configs_cuda);
    RUN(wgmma_configs_of_bf16_cuda);
    RUN(wgmma_configs_of_packed_bf16_cuda);
    RUN(wgmma_configs_of_fp16_cuda);
    RUN(wgmma_configs_of_fp8_cuda);
    RUN(wgmma_configs_of_fp8_channel_cuda);
    RUN(wgmma_configs_of_blocks_cuda);
    RUN(wgmma_configs_of_packed_blocks_cuda);
    RUN(wgmma_configs_of_int4_cuda);
    RUN(wgmma_configs_of_int4_fp16_cuda);
    RUN(handful_of_wgmma_bf16_cuda);
    RUN(handful_of_wgmma_fp8_cuda);
    RUN(handful_of_wgmma_blocks_cuda);
    RUN(handful_of_wgmma_int4_cuda);
    RUN(layer_ops_cpu);
    RUN(layer_ops_cuda);
    RUN(fill_op_cpu);
    RUN(fill_op_cuda);
    RUN(compare_op_cpu);
    RUN(compare_op_cuda);
    RUN(stream_op_cpu);
    RUN(stream_op_cuda);
    temp_folder_remove();
    return CHECK_END();
}
