/* test_cpu_family.c: the cpu family's kernels through the cpu backend, against plain loops in double. */
#define _GNU_SOURCE
#include "context.h"
#include "gen_fixture.h"
#include "reference.h"

enum { TOKENS_MAX = 80, GUARD_ELEMENTS = 64, SEED = 20 };

static mj_context *context;
static void *state, *device;

/* How the tokens of a case are routed; ids outside 0..E-1 belong to other ranks. */
typedef enum routing { RAGGED, ONE_EXPERT, LAST_EXPERT, NONE_HERE, SOME_ELSEWHERE } routing;
static const char *const routing_names[] = {"ragged", "one expert", "last expert", "none here", "some elsewhere"};

static void route(const mj_problem *p, routing kind, uint32_t tokens, int32_t *ids)
{
    for (uint32_t t = 0; t < tokens; t++) {
        for (uint32_t s = 0; s < p->top_k; s++) {
            uint32_t mix = (t * 7 + s) * 2654435761u >> 20;
            int32_t first = (int32_t)(mix * mix % p->expert_count); /* some experts often, some never */
            int32_t id = (first + (int32_t)s) % (int32_t)p->expert_count;
            id = kind == ONE_EXPERT    ? (s ? -1 : 1)
                 : kind == LAST_EXPERT ? (s ? 1 << 20 : (int32_t)p->expert_count - 1)
                                       : id;
            id = kind == NONE_HERE                            ? (int32_t)(p->expert_count + s)
                 : kind == SOME_ELSEWHERE && (t + s) % 3 == 0 ? -1
                                                              : id;
            ids[t * p->top_k + s] = id;
        }
    }
}

typedef struct buffers {
    void *input, *weights, *bias, *output;
    float topk_weights[TOKENS_MAX * 8];
    int32_t ids[TOKENS_MAX * 8], sorted[TOKENS_MAX * 8], *offsets;
    double *want;
} buffers;

static void *filled(const char *format, uint64_t count, uint64_t seed, float scale)
{
    char *data = malloc(count * 2 + 16);
    for (uint64_t i = 0; data && i < count; i++) {
        mj_ref_store(format, data, i, mj_ref_fill(seed, i, scale));
    }
    return data;
}

static void make_buffers(const fixture *f, buffers *b)
{
    const mj_problem *p = &f->problem;
    const char *format = f->scheme.io_format;
    mj_gemm_shape g = mj_problem_gemm(p, f->desc.op);
    uint64_t pairs = (uint64_t)TOKENS_MAX * p->top_k;
    b->input = filled(format, pairs * g.k, SEED, 1.0f);
    b->weights = filled(format, (uint64_t)p->expert_count * g.n * g.k, SEED + 1, 0.2f);
    b->bias = filled(format, (uint64_t)p->expert_count * g.n, SEED + 2, 1.0f);
    b->output = malloc((pairs * g.n + GUARD_ELEMENTS) * 2);
    b->offsets = calloc(p->expert_count + 1, sizeof *b->offsets);
    b->want = malloc(g.n * sizeof *b->want);
    for (uint64_t i = 0; i < pairs; i++) {
        b->topk_weights[i] = 0.1f + 0.05f * (float)(i % 17);
    }
}

static void free_buffers(buffers *b)
{
    free(b->input);
    free(b->weights);
    free(b->bias);
    free(b->output);
    free(b->offsets);
    free(b->want);
}

static bool build(const fixture *f, const char *target, mj_kernel_source *source, void **kernel)
{
    mj_error error = {0};
    mj_compiled compiled = {0};
    *kernel = NULL;
    mj_status status = mj_generate(fixture_spec, &f->desc, NULL, source, &error);
    if (status == MJ_OK) {
        status = mj_backend_cpu.compile(state, target, source->text, source->bytes, &compiled, &error);
    }
    if (status == MJ_OK) {
        status = mj_backend_cpu.kernel_load(device, compiled.binary, compiled.binary_bytes, source->manifest.symbol,
                                            source->manifest.smem_bytes, kernel, NULL, &error);
    }
    mj_compiled_free(&compiled);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return status == MJ_OK;
}

static mj_status launch(const mj_manifest *manifest, void *kernel, buffers *b, uint32_t tokens, mj_error *error)
{
    uint64_t args[MJ_ARG_COUNT] = {0};
    uint32_t blocks = 0;
    mj_arg_value values[MJ_ARG_COUNT] = {
        [MJ_ARG_INPUT].pointer = (uintptr_t)b->input,
        [MJ_ARG_WEIGHTS].pointer = (uintptr_t)b->weights,
        [MJ_ARG_BIAS].pointer = (uintptr_t)b->bias,
        [MJ_ARG_OUTPUT].pointer = (uintptr_t)b->output,
        [MJ_ARG_EXPERT_OFFSETS].pointer = (uintptr_t)b->offsets,
        [MJ_ARG_SORTED_PAIRS].pointer = (uintptr_t)b->sorted,
        [MJ_ARG_TOPK_WEIGHTS].pointer = (uintptr_t)b->topk_weights,
        [MJ_ARG_TOKEN_COUNT].i32 = (int32_t)tokens,
    };
    mj_status status = mj_manifest_blocks(manifest, tokens, 2, &blocks, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_manifest_pack_args(manifest, values, args);
    mj_launch what = {.blocks = blocks,
                      .threads = 1,
                      .smem_bytes = manifest->smem_bytes,
                      .args = args,
                      .args_bytes = manifest->args_bytes};
    return mj_backend_cpu.kernel_launch(device, kernel, &what, NULL, error);
}

/* The row against its truth; NaN in it counts as wrong. */
static bool row_is_right(const fixture *f, const buffers *b, uint64_t out_row, uint32_t n, const char *what)
{
    const mj_tolerance *t = &f->scheme.tolerance;
    double square = 0;
    for (uint32_t c = 0; c < n; c++) {
        square += b->want[c] * b->want[c];
    }
    double rms = sqrt(square / n);
    for (uint32_t c = 0; c < n; c++) {
        double got = mj_ref_load(f->scheme.io_format, b->output, out_row * n + c);
        double limit = t->element_rel * fabs(b->want[c]) + t->element_rms * rms;
        if (!(fabs(got - b->want[c]) <= limit)) {
            check_fail(__FILE__, __LINE__, "%s: row %llu column %u is %g, not %g", what, (unsigned long long)out_row, c,
                       got, b->want[c]);
            return false;
        }
    }
    return true;
}

/* Elements that no pair of this rank owns must be as they were: NaN. */
static uint64_t untouched_elements(const buffers *b, uint64_t count)
{
    uint64_t untouched = 0;
    for (uint64_t i = 0; i < count; i++) {
        untouched += ((const uint16_t *)b->output)[i] == 0xffff;
    }
    return untouched;
}

static bool run_case(const fixture *f, const mj_manifest *manifest, void *kernel, buffers *b, routing kind,
                     uint32_t tokens)
{
    const mj_problem *p = &f->problem;
    mj_gemm_shape g = mj_problem_gemm(p, f->desc.op);
    uint64_t pairs = (uint64_t)tokens * p->top_k;
    char what[200];
    mj_error error = {0};
    snprintf(what, sizeof what, "%s, %s, %u tokens", mj_op_name(f->desc.op), routing_names[kind], tokens);
    route(p, kind, tokens, b->ids);
    uint64_t rows = mj_ref_tables(p, b->ids, tokens, b->offsets, b->sorted);
    memset(b->output, 0xff, (pairs * g.out_n + GUARD_ELEMENTS) * 2);
    if (launch(manifest, kernel, b, tokens, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", what, error.text);
        return false;
    }
    mj_ref_arrays arrays = {.input = b->input, .weights = b->weights, .bias = p->bias ? b->bias : NULL};
    for (uint64_t row = 0; row < rows; row++) {
        uint64_t out_row = mj_op_is_gemm1(f->desc.op) ? row : (uint64_t)b->sorted[row];
        if (mj_ref_gemm_row(p, &f->scheme, f->desc.op, &arrays, b->offsets, b->sorted, b->topk_weights, row, b->want,
                            &error) != MJ_OK ||
            !row_is_right(f, b, out_row, g.out_n, what)) {
            check_fail(__FILE__, __LINE__, "%s: %s", what, error.text);
            return false;
        }
    }
    uint64_t untouched = untouched_elements(b, pairs * g.out_n + GUARD_ELEMENTS);
    if (untouched != (pairs - rows) * g.out_n + GUARD_ELEMENTS) {
        check_fail(__FILE__, __LINE__, "%s: %llu elements untouched", what, (unsigned long long)untouched);
        return false;
    }
    return true;
}

static void check_kernel(const char *problem, mj_op op, const char *config, const char *target)
{
    static const struct {
        routing kind;
        uint32_t tokens;
    } cases[] = {
        {RAGGED, 1},    {RAGGED, 37},         {ONE_EXPERT, 70},     {LAST_EXPERT, 3},
        {NONE_HERE, 5}, {SOME_ELSEWHERE, 29}, {RAGGED, TOKENS_MAX},
    };
    fixture f;
    buffers b = {0};
    mj_kernel_source source = {0};
    void *kernel = NULL;
    if (!fixture_kernel(&f, problem, "cpu", "cpu", op, config)) {
        return;
    }
    make_buffers(&f, &b);
    bool good = build(&f, target, &source, &kernel);
    for (size_t i = 0; good && i < sizeof cases / sizeof cases[0]; i++) {
        good = run_case(&f, &source.manifest, kernel, &b, cases[i].kind, cases[i].tokens);
    }
    mj_backend_cpu.kernel_unload(device, kernel);
    mj_kernel_source_free(&source);
    free_buffers(&b);
}

/* Sizes that no tile, part or vector divides; K = 83 is odd: rows of weights start at odd addresses. */
#define AWKWARD "E=5/5,topk=2,H=136,N=83,gated=1,act=silu,bias=1,scheme=%s,layout=default"
#define DEEP    "E=3/6,topk=3,H=1100,N=24,gated=0,act=relu2,bias=0,scheme=%s,layout=default"

static const char *with_scheme(const char *format, const char *scheme)
{
    static char text[200];
    const char *at = strstr(format, "%s");
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - format), format, scheme, at + 2);
    return text;
}

TEST(awkward_sizes_bf16)
{
    check_kernel(with_scheme(AWKWARD, "bf16"), MJ_OP_GEMM1, "", "native");
    check_kernel(with_scheme(AWKWARD, "bf16"), MJ_OP_GEMM2, "tile_n=16", "native");
}

TEST(awkward_sizes_fp16)
{
    check_kernel(with_scheme(AWKWARD, "fp16"), MJ_OP_GEMM2, "", "native");
}

/* A gate and its up are in one tile, whose last columns are not all there; without a gate. */
TEST(gemm1_with_its_activation)
{
    check_kernel("E=5,topk=2,H=136,N=83,act=swigluoai,bias=1", MJ_OP_GEMM1_ACT, "tile_n=32", "native");
    check_kernel(with_scheme(DEEP, "fp16"), MJ_OP_GEMM1_ACT, "tile_n=16,tile_k=512,rows=16", "native");
}

TEST(depth_in_parts)
{
    check_kernel(with_scheme(DEEP, "bf16"), MJ_OP_GEMM1, "tile_n=16,tile_k=512,rows=16", "native");
}

#if defined(__x86_64__)
/* The plain path for CPUs without AVX, F16C and FMA. */
TEST(any_x86_cpu)
{
    check_kernel(with_scheme(DEEP, "fp16"), MJ_OP_GEMM1, "tile_n=32,tile_k=1024,rows=16", "x86-64");
}

/* What this machine may not be able to run must compile at least. */
TEST(wider_vectors_compile)
{
    static const char *const schemes[] = {"bf16", "fp16"};
    for (int i = 0; i < 2; i++) {
        fixture f;
        mj_kernel_source source = {0};
        mj_compiled compiled = {0};
        mj_error error = {0};
        CHECK(fixture_kernel(&f, with_scheme(AWKWARD, schemes[i]), "cpu", "cpu", MJ_OP_GEMM1, ""));
        CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_OK);
        mj_status status = mj_backend_cpu.compile(state, i ? "skylake-avx512" : "cooperlake", source.text, source.bytes,
                                                  &compiled, &error);
        mj_compiled_free(&compiled);
        mj_kernel_source_free(&source);
        CHECK_STATUS(status, MJ_OK);
    }
}
#endif

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    mj_context_options options = {.cache_dir = "/nonexistent", .store_dir = "/nonexistent"};
    mj_error error = {0};
    if (!fixture_open() || mj_context_create(&options, &context, &error) != MJ_OK ||
        mj_backend_cpu.open(context, &state, &error) != MJ_OK ||
        mj_backend_cpu.device_open(state, 0, &device, &error) != MJ_OK) {
        printf("FAIL fixture: %s\n", error.text);
        return 1;
    }
    RUN(awkward_sizes_bf16);
    RUN(awkward_sizes_fp16);
    RUN(gemm1_with_its_activation);
    RUN(depth_in_parts);
#if defined(__x86_64__)
    RUN(any_x86_cpu);
    RUN(wider_vectors_compile);
#endif
    mj_backend_cpu.device_close(device);
    mj_backend_cpu.close(state);
    mj_context_destroy(context);
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
