/* Whole layers through plans, on the cpu and on cuda:0: against a float64 layer, in graphs, checked, refused. */
#define _GNU_SOURCE
#include "device_fixture.h"
#include "layer_case.h"
#include "plan.h"

#define SMALL "E=6,topk=2,H=96,N=80,gated=1,act=silu,bias=0,scheme=bf16,layout=default"

/* Shapes that no tile divides, every activation, both formats, experts of other ranks. */
static const char *const problems[] = {
    SMALL,
    "E=4/8,topk=3,H=136,N=88,gated=0,act=relu2,bias=1,scheme=fp16,layout=default",
    "E=3,topk=1,H=320,N=232,gated=1,act=gelu,bias=1,scheme=bf16,layout=default",
    "E=2/5,topk=4,H=264,N=104,gated=1,act=swigluoai,bias=1,scheme=fp16,layout=default",
    "E=1,topk=1,H=128,N=64,gated=1,act=gelu_tanh,bias=0,scheme=bf16,layout=default",
    "E=16,topk=5,H=512,N=192,gated=1,act=silu,bias=0,scheme=fp16,layout=default",
    "E=32/128,topk=8,H=256,N=96,gated=1,act=silu,bias=0,scheme=bf16,layout=default",
    "E=6,topk=2,H=192,N=136,gated=1,act=silu,bias=1,scheme=bf16,layout=interleaved8",
    "E=8,topk=2,H=256,N=192,gated=1,act=swigluoai,bias=0,scheme=fp16,layout=interleaved8",
    "E=5,topk=2,H=83,N=37,gated=1,act=silu,bias=1,scheme=bf16,layout=default", /* odd: the reference serves it */
};
enum { PROBLEM_COUNT = sizeof problems / sizeof *problems, CPU_PROBLEMS = 2 };

static void layers_match_float64(const char *id)
{
    static const uint32_t tokens[] = {1, 3, 17, 70, 133};
    bool gpu = strcmp(id, GPU) == 0;
    device_fixture f;
    mj_plan_options options = {.max_tokens = gpu ? 133 : 17};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    for (int i = 0; i < (gpu ? PROBLEM_COUNT : CPU_PROBLEMS); i++) {
        CHECK(layers_are_right(f.device, problems[i], &options, tokens, gpu ? 5 : 3));
    }
    close_fixture(&f);
}
ON_EACH(layers_match_float64)

/* The estimate for 2000 tokens is another kind of config than for few: wide tiles, no split-K. 1200 of 8 experts are more pairs than
 * wgmma's gemm1 counts itself, so it reads the tables that the kernel ahead has just written. */
static void many_tokens(const char *id)
{
    static const uint32_t tokens[] = {2000}, tokens_of_eight[] = {1200};
    device_fixture f;
    mj_plan_options options = {.max_tokens = 2000};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK(layers_are_right(f.device, "E=4,topk=2,H=136,N=72,scheme=bf16", &options, tokens, 1));
    CHECK(layers_are_right(f.device, "E=128,topk=8,H=264,N=72,scheme=bf16", &options, tokens_of_eight, 1));
    close_fixture(&f);
}
ON_GPU(many_tokens)

static void reference_plans_match_float64(const char *id)
{
    static const uint32_t tokens[] = {1, 7};
    bool gpu = strcmp(id, GPU) == 0;
    device_fixture f;
    mj_plan_options options = {.max_tokens = 12, .flags = MJ_PLAN_REFERENCE};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    for (int i = gpu ? 0 : PROBLEM_COUNT - 1; i < PROBLEM_COUNT; i++) {
        CHECK(layers_are_right(f.device, problems[i], &options, tokens, 2));
    }
    close_fixture(&f);
}
ON_EACH(reference_plans_match_float64)

/* ---- Graphs ---- */

static mj_status capture(device_fixture *f, mj_plan *plan, const mj_layer *run, void *stream, void **graph,
                         mj_error *error)
{
    const mj_backend *backend = f->device->backend;
    mj_status status = backend->capture_begin(f->device->handle, stream, error);
    if (status == MJ_OK) {
        status = mj_plan_run(plan, run, stream, error);
        mj_status ended = backend->capture_end(f->device->handle, stream, graph, status == MJ_OK ? error : NULL);
        status = status == MJ_OK ? ended : status;
    }
    return status;
}

/* Run and replayed graph agree bit for bit; then the graph follows another routing and another x in the same buffers. */
static void a_graph_gives_the_same(const char *id)
{
    device_fixture f;
    layer l, other;
    placed_layer placed;
    mj_plan *plan = NULL;
    void *stream = NULL, *graph = NULL;
    double worst = 0;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = 20};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK(open_layer(&l, SMALL, 17, RANDOM) && open_layer(&other, SMALL, 17, ONE_EXPERT));
    CHECK_STATUS(mj_plan_create(f.device, &l.problem, &options, &plan, &error), MJ_OK);
    CHECK_STATUS(place_layer(f.device, &l, &placed, &error), MJ_OK);
    CHECK_STATUS(mj_stream_create(f.device, &stream, &error), MJ_OK);
    CHECK_STATUS(mj_plan_run(plan, &placed.run, stream, &error), MJ_OK);
    CHECK_STATUS(layer_error(&placed, &l, stream, &worst, &error), MJ_OK);
    CHECK(worst <= tolerance(&l));
    uint16_t *once = aligned(y_bytes(&l));
    memcpy(once, l.y, y_bytes(&l));
    CHECK_STATUS(capture(&f, plan, &placed.run, stream, &graph, &error), MJ_OK);
    const mj_backend *backend = f.device->backend;
    for (int replay = 0; replay < 4; replay++) {
        CHECK_STATUS(refresh_layer(&placed, &l, &error), MJ_OK);
        CHECK_STATUS(mj_stream_sync(f.device, NULL, &error), MJ_OK);
        CHECK_STATUS(backend->graph_launch(f.device->handle, graph, stream, &error), MJ_OK);
        CHECK_STATUS(layer_error(&placed, &l, stream, &worst, &error), MJ_OK);
        CHECK(worst <= tolerance(&l));
        CHECK_INT(memcmp(once, l.y, y_bytes(&l)) == 0, replay < 2);
        if (replay == 1) {
            memcpy(l.topk_ids, other.topk_ids, 17 * l.problem.top_k * sizeof *l.topk_ids);
            l.codes[0][3] ^= 0x8000;
            l.values[0][3] *= -1;
        }
    }
    backend->graph_destroy(f.device->handle, graph);
    mj_stream_destroy(f.device, stream);
    free(once);
    remove_layer(&placed);
    mj_plan_destroy(plan);
    close_layer(&l);
    close_layer(&other);
    close_fixture(&f);
}
ON_EACH(a_graph_gives_the_same)

/* ---- Verified or not ---- */

static void selfcheck_verifies_an_estimate(const char *id)
{
    device_fixture f;
    mj_problem problem;
    mj_plan *plan = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = 256, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK_STATUS(mj_problem_parse("E=4/8,topk=2,H=256,N=88,scheme=bf16", &problem, &error), MJ_OK);
    CHECK_STATUS(mj_plan_create(f.device, &problem, &options, &plan, &error), MJ_ERR_UNVERIFIED);
    CHECK(plan == NULL);
    options.flags = 0;
    CHECK_STATUS(mj_plan_create(f.device, &problem, &options, &plan, &error), MJ_OK);
    CHECK(!mj_plan_is_verified(plan));
    mj_status status = mj_plan_selfcheck(plan, 256, 60, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", mj_status_name(status), error.text);
    }
    CHECK(mj_plan_is_verified(plan));
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        CHECK_INT(mj_plan_get_row(plan, i)->origin, MJ_ORIGIN_ESTIMATE);
    }
    mj_plan_destroy(plan);
    close_fixture(&f);
}
ON_EACH(selfcheck_verifies_an_estimate)

/* A selfcheck that cannot find a fault proves nothing: it asks for another activation than the kernels compute. */
static void selfcheck_finds_a_wrong_kernel(const char *id)
{
    device_fixture f;
    mj_problem problem;
    mj_plan *plan = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = 12};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK_STATUS(mj_problem_parse(SMALL, &problem, &error), MJ_OK);
    CHECK_STATUS(mj_plan_create(f.device, &problem, &options, &plan, &error), MJ_OK);
    plan->problem.activation = MJ_ACT_GELU;
    CHECK_STATUS(mj_plan_selfcheck(plan, 12, 60, &error), MJ_ERR_WRONG_RESULT);
    CHECK(!mj_plan_is_verified(plan));
    mj_plan_destroy(plan);
    close_fixture(&f);
}
ON_EACH(selfcheck_finds_a_wrong_kernel)

/* ---- What is not there ---- */

TEST(no_such_device)
{
    static const char *const ids[] = {"cuda:77", "cuda:4294967296", "cuda:-1", "cuda:x", "cudda:0"};
    mj_context *context = NULL;
    mj_context_options options = {.cache_dir = temp_path("cache"), .store_dir = temp_path("store")};
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        mj_error error = {0};
        mj_device *device = (mj_device *)&error;
        mj_status status = mj_device_open(context, ids[i], &device, &error);
        CHECK(status == MJ_ERR_NO_DEVICE || (i > 0 && status == MJ_ERR_ARGUMENT)); /* not there, or no id at all */
        CHECK(device == NULL && error.text[0]);
    }
    mj_context_destroy(context);
}

/* Its GEMMs' inputs stay below 32 GiB where all its buffers together are more than any device has. */
#define MANY_PAIRS "E=16,topk=16,H=2040,N=64,gated=1,act=silu,bias=0,scheme=bf16,layout=default"

/* More than any device has; afterwards it still works. */
static void too_little_memory(const char *id)
{
    device_fixture f;
    mj_problem problem;
    mj_plan *plan = NULL;
    void *memory = &f;
    mj_error error = {0};
    if (!open_fixture(&f, id, "store")) {
        return;
    }
    CHECK_STATUS(mj_memory_alloc(f.device, (size_t)1 << 46, &memory, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK(memory == NULL && error.text[0]);
    CHECK_STATUS(mj_problem_parse(MANY_PAIRS, &problem, &error), MJ_OK);
    mj_plan_options options = {.max_tokens = 1u << 23}; /* a workspace of 600 GB, a pair's outputs most of it */
    CHECK_STATUS(mj_plan_create(f.device, &problem, &options, &plan, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK(plan == NULL);
    static const uint32_t tokens[] = {7};
    options.max_tokens = 12;
    CHECK(layers_are_right(f.device, SMALL, &options, tokens, 1));
    close_fixture(&f);
}
ON_GPU(too_little_memory)

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    RUN(layers_match_float64_cpu);
    RUN(layers_match_float64_cuda);
    RUN(many_tokens_cuda);
    RUN(reference_plans_match_float64_cpu);
    RUN(reference_plans_match_float64_cuda);
    RUN(a_graph_gives_the_same_cpu);
    RUN(a_graph_gives_the_same_cuda);
    RUN(selfcheck_verifies_an_estimate_cpu);
    RUN(selfcheck_verifies_an_estimate_cuda);
    RUN(selfcheck_finds_a_wrong_kernel_cpu);
    RUN(selfcheck_finds_a_wrong_kernel_cuda);
    RUN(no_such_device);
    RUN(too_little_memory_cuda);
    temp_folder_remove();
    return CHECK_END();
}
