/* test_plan.c: whole layers on the cpu device against a float64 layer, graphs, bad arguments, the self check. */
#define _GNU_SOURCE
#include "fake_store.h"
#include "kernel_build.h"
#include "layer_case.h"
#include "null_script.h"
#include "plan.h"
#include "reference.h"
#include "timed_choice.h"

#define FIRST "E=6,topk=2,H=96,N=80,gated=1,act=silu,bias=0,scheme=bf16,layout=default"
enum { MAX_TOKENS = 12 };

/* ---- The device ---- */

typedef struct bench {
    char cache_dir[512];
    fake_log log;
    mj_context *context;
    mj_device *device;
    uint64_t allocations_left; /* UINT64_MAX: no limit */
    int64_t live;
} bench;

/* One cache for all cases: equal kernels are compiled once. */
static char cache_folder[256];

static bool open_bench_with(bench *b, const char *store_dir)
{
    mj_error error = {0};
    memset(b, 0, sizeof *b);
    if (!cache_folder[0] && !fake_folder(cache_folder, sizeof cache_folder)) {
        return false;
    }
    mj_context_options options = {
        .cache_dir = cache_folder, .store_dir = store_dir, .log = fake_log_line, .user = &b->log, .log_level = 1};
    if (mj_context_create(&options, &b->context, &error) != MJ_OK ||
        mj_device_open(b->context, "cpu", &b->device, &error) != MJ_OK) {
        printf("# %s\n", error.text);
        return false;
    }
    return true;
}

static bool open_bench(bench *b)
{
    return open_bench_with(b, "/nonexistent/store");
}

static void close_bench(bench *b)
{
    mj_device_close(b->device);
    mj_context_destroy(b->context);
}

static mj_status make_plan(bench *b, const mj_problem *problem, uint32_t flags, mj_plan **plan, mj_error *error)
{
    mj_plan_options options = {.max_tokens = MAX_TOKENS, .flags = flags};
    mj_status status = mj_plan_create(b->device, problem, &options, plan, error);
    if (status != MJ_OK) {
        printf("# plan: %s\n", error->text);
    }
    return status;
}

static bool layer_is_right(bench *b, const char *problem, uint32_t flags)
{
    static const uint32_t tokens[] = {1, 2, 7, MAX_TOKENS};
    mj_plan_options options = {.max_tokens = MAX_TOKENS, .flags = flags};
    return layers_are_right(b->device, problem, &options, tokens, 4);
}

TEST(layers_from_the_estimate)
{
    bench b;
    CHECK(open_bench(&b));
    CHECK(layer_is_right(&b, FIRST, 0));
    CHECK(layer_is_right(&b, "E=4/8,topk=3,H=72,N=40,gated=0,act=relu2,bias=1,scheme=fp16,layout=default", 0));
    close_bench(&b);
}

/* Weights as another layout has them, whole layers and the reference's; and the same layer's default plan refuses them. */
#define PACKED "E=6,topk=2,H=96,N=80,gated=1,act=silu,bias=0,scheme=bf16,layout=interleaved8"
TEST(layers_of_packed_weights)
{
    bench b;
    CHECK(open_bench(&b));
    CHECK(layer_is_right(&b, PACKED, 0));
    CHECK(layer_is_right(&b, "E=4/8,topk=3,H=72,N=40,gated=1,act=swigluoai,bias=1,scheme=fp16,layout=interleaved8", 0));
    CHECK(layer_is_right(&b, "E=3,topk=1,H=33,N=24,gated=1,act=gelu,bias=1,scheme=bf16,layout=interleaved8",
                         MJ_PLAN_REFERENCE));
    close_bench(&b);
}

TEST(a_plan_refuses_weights_of_another_layout)
{
    static const char *const layouts[] = {"default", "interleaved8"}, *const problems[] = {FIRST, PACKED};
    bench b;
    CHECK(open_bench(&b));
    for (int i = 0; i < 2; i++) {
        layer l;
        placed_layer placed;
        mj_plan *plan = NULL;
        mj_error error = {0};
        CHECK(open_layer(&l, problems[i], 3, RANDOM));
        CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
        CHECK_STATUS(place_layer(b.device, &l, &placed, &error), MJ_OK);
        placed.run.layout = layouts[1 - i];
        CHECK_STATUS(mj_plan_run(plan, &placed.run, NULL, &error), MJ_ERR_ARGUMENT);
        CHECK_CONTAINS(error.text, i ? "are in layout default, the plan is for interleaved8"
                                     : "are in layout interleaved8, the plan is for default");
        placed.run.layout = NULL; /* not said */
        CHECK_STATUS(mj_plan_run(plan, &placed.run, NULL, &error), MJ_OK);
        CHECK_STATUS(mj_plan_selfcheck(plan, 16, 60, &error), MJ_OK);
        mj_plan_destroy(plan);
        remove_layer(&placed);
        close_layer(&l);
    }
    close_bench(&b);
}

TEST(layers_of_the_reference)
{
    bench b;
    CHECK(open_bench(&b));
    CHECK(layer_is_right(&b, "E=3,topk=1,H=64,N=24,gated=1,act=gelu,bias=1,scheme=bf16,layout=default",
                         MJ_PLAN_REFERENCE));
    CHECK(layer_is_right(&b, "E=2/5,topk=4,H=33,N=17,gated=1,act=swigluoai,bias=1,scheme=fp16,layout=default",
                         MJ_PLAN_REFERENCE));
    CHECK(layer_is_right(&b, "E=1,topk=1,H=40,N=16,gated=0,act=gelu_tanh,bias=0,scheme=bf16,layout=default",
                         MJ_PLAN_REFERENCE));
    close_bench(&b);
}

TEST(a_plan_says_that_it_rests_on_the_estimate)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 1, RANDOM));
    CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
    CHECK(!mj_plan_is_verified(plan));
    CHECK_CONTAINS(b.log.text, "from estimate, unverified: nothing tuned for these tokens; estimated at M=");
    CHECK(mj_plan_get_row(plan, mj_plan_row_count(plan)) == NULL);
    mj_plan_destroy(plan);
    mj_plan_options options = {.max_tokens = MAX_TOKENS, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, &options, &plan, &error), MJ_ERR_UNVERIFIED);
    CHECK(plan == NULL);
    close_layer(&l);
    close_bench(&b);
}

TEST(a_captured_graph_follows_its_buffers)
{
    bench b;
    layer l, other;
    mj_plan *plan = NULL;
    void *stream = NULL, *graph = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 7, RANDOM));
    CHECK(open_layer(&other, FIRST, 7, HALF_EMPTY));
    CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
    const mj_backend *backend = b.device->backend;
    CHECK_STATUS(mj_stream_create(b.device, &stream, &error), MJ_OK);
    CHECK_STATUS(backend->capture_begin(b.device->handle, stream, &error), MJ_OK);
    mj_layer run = arguments(&l);
    CHECK_STATUS(mj_plan_run(plan, &run, stream, &error), MJ_OK);
    memset(&run, 0xee, sizeof run); /* nothing of the caller's struct is kept */
    CHECK_STATUS(backend->capture_end(b.device->handle, stream, &graph, &error), MJ_OK);
    memset(l.y, 0xff, 7 * l.problem.hidden * sizeof *l.y);
    for (int replay = 0; replay < 3; replay++) {
        CHECK_STATUS(backend->graph_launch(b.device->handle, graph, stream, &error), MJ_OK);
        CHECK_STATUS(mj_stream_sync(b.device, stream, &error), MJ_OK);
        CHECK(worst_error(&l) <= tolerance(&l));
        memcpy(l.topk_ids, other.topk_ids, 7 * l.problem.top_k * sizeof *l.topk_ids);
        l.codes[0][replay] ^= 0x8000;
        l.values[0][replay] *= -1;
    }
    backend->graph_destroy(b.device->handle, graph);
    mj_stream_destroy(b.device, stream);
    mj_plan_destroy(plan);
    close_layer(&l);
    close_layer(&other);
    close_bench(&b);
}

/* ---- gemm1_act in the place of gemm1 and activation ---- */

static bool choose(bench *b, const mj_problem *problem, mj_op op, double time_us, mj_choice *out)
{
    mj_wanted wanted = {.problem = problem, .arch = "cpu", .op = op, .device = b->device, .instead_us = 1e9};
    wanted.token_count = mj_op_is_gemm(op) ? MAX_TOKENS : 0;
    return timed_choice(b->context, &wanted, time_us, out);
}

/* A store in which gemm1 and activation took 3 us each, and gemm1_act as said. */
static bool save_store(bench *b, const mj_problem *problem, const char *folder, double fused_us)
{
    static const mj_op simple[] = {MJ_OP_TABLES, MJ_OP_ACTIVATION, MJ_OP_COMBINE};
    char name[512], path[1024];
    mj_store_file file = {.problem = *problem};
    mj_store_row *row = mj_store_row_at(&file, MAX_TOKENS, "uniform");
    bool good = choose(b, problem, MJ_OP_GEMM1, 3, &row->gemm1) && choose(b, problem, MJ_OP_GEMM2, 3, &row->gemm2) &&
                choose(b, problem, MJ_OP_GEMM1_ACT, fused_us, &row->gemm1_act) &&
                choose(b, problem, MJ_OP_ACTIVATION, 3, &row->activation);
    for (size_t i = 0; good && i < 3; i++) {
        good = choose(b, problem, simple[i], 0, &file.ops[simple[i]]);
    }
    good = good && mj_device_identity(b->device, &file.identity, NULL) == MJ_OK &&
           mj_store_file_name(problem, file.identity.device, name, sizeof name, NULL) == MJ_OK &&
           mj_os_make_folder(folder, NULL) == MJ_OK && mj_os_join(path, sizeof path, folder, name, NULL) == MJ_OK &&
           mj_store_replace(path, &file, NULL) == MJ_OK;
    mj_store_file_free(&file);
    return good;
}

static const mj_plan_row *fused_row(const mj_plan *plan)
{
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        if (mj_plan_get_row(plan, i)->op == MJ_OP_GEMM1_ACT) {
            return mj_plan_get_row(plan, i);
        }
    }
    return NULL;
}

/* One layer through both sequences: each near the float64 layer; the faster one by the store is taken. */
TEST(both_sequences_give_the_layer)
{
    char folder[400];
    uint16_t *first = NULL;
    for (int fused = 0; fused < 2; fused++) {
        bench b;
        layer l;
        mj_plan *plan = NULL;
        mj_error error = {0};
        CHECK(cache_folder[0] || fake_folder(cache_folder, sizeof cache_folder));
        snprintf(folder, sizeof folder, "%s/store", cache_folder);
        CHECK(open_bench_with(&b, folder));
        CHECK(open_layer(&l, FIRST, 7, SOME_ABSENT));
        CHECK(save_store(&b, &l.problem, folder, fused ? 5.5 : 6.5));
        CHECK_STATUS(make_plan(&b, &l.problem, MJ_PLAN_REQUIRE_VERIFIED, &plan, &error), MJ_OK);
        CHECK_INT(fused_row(plan) != NULL, fused);
        if (fused) {
            CHECK_STRING(fused_row(plan)->reason, "replaces gemm1 + activation: 5.5 us instead of 6.0; tuned at M=12");
        }
        mj_layer run = arguments(&l);
        memset(l.y, 0xff, y_bytes(&l));
        CHECK_STATUS(mj_plan_run(plan, &run, NULL, &error), MJ_OK);
        CHECK(worst_error(&l) <= tolerance(&l));
        if (!fused) {
            first = aligned(y_bytes(&l));
            memcpy(first, l.y, y_bytes(&l));
        } else { /* without a rounding between them: not the same bits, or it was the same sequence */
            CHECK(memcmp(first, l.y, y_bytes(&l)) != 0);
        }
        CHECK_STATUS(mj_plan_selfcheck(plan, 12, 60, &error), MJ_OK);
        mj_plan_destroy(plan);
        close_layer(&l);
        close_bench(&b);
    }
    free(first);
}

TEST(the_estimate_knows_the_shorter_sequence)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 1, RANDOM));
    CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
    const mj_plan_row *row = fused_row(plan);
    CHECK(row && !row->verified && row->origin == MJ_ORIGIN_ESTIMATE && row->time_us_median == 0);
    CHECK_CONTAINS(row->reason, "replaces gemm1 + activation: ");
    CHECK_CONTAINS(row->reason, "nothing tuned for these tokens; estimated at M=1");
    mj_plan_destroy(plan);
    CHECK_STATUS(make_plan(&b, &l.problem, MJ_PLAN_REFERENCE, &plan, &error), MJ_OK);
    CHECK(!fused_row(plan)); /* what everything is compared with takes one step at a time */
    mj_plan_destroy(plan);
    close_layer(&l);
    close_bench(&b);
}

TEST(bad_arguments_run_nothing)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 7, RANDOM));
    CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
    memset(l.y, 0xab, 7 * l.problem.hidden * sizeof *l.y);
    mj_layer good = arguments(&l), bad;
    static const struct {
        const char *name;
        size_t offset;
    } pointers[] = {{"x", offsetof(mj_layer, x)},
                    {"weights1", offsetof(mj_layer, weights1)},
                    {"weights2", offsetof(mj_layer, weights2)},
                    {"topk_ids", offsetof(mj_layer, topk_ids)},
                    {"topk_weights", offsetof(mj_layer, topk_weights)},
                    {"y", offsetof(mj_layer, y)},
                    {"workspace", offsetof(mj_layer, workspace)}};
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        for (int misaligned = 0; misaligned < 2; misaligned++) {
            bad = good;
            char *pointer = NULL;
            memcpy(&pointer, (char *)&bad + pointers[i].offset, sizeof pointer);
            bool is_workspace = strcmp(pointers[i].name, "workspace") == 0;
            if (is_workspace && !misaligned) {
                continue; /* null is the plan's own */
            }
            pointer = !misaligned ? NULL : is_workspace ? (char *)plan->own_workspace + 16 : pointer + 2;
            memcpy((char *)&bad + pointers[i].offset, &pointer, sizeof pointer);
            CHECK_STATUS(mj_plan_run(plan, &bad, NULL, &error), MJ_ERR_ARGUMENT);
            CHECK_CONTAINS(error.text, pointers[i].name);
            CHECK_STATUS(mj_plan_run_op(plan, MJ_OP_GEMM1, &bad, NULL, NULL), MJ_ERR_ARGUMENT);
        }
    }
    bad = good;
    bad.bias1 = l.codes[3]; /* the problem has none */
    CHECK_STATUS(mj_plan_run(plan, &bad, NULL, &error), MJ_ERR_ARGUMENT);
    bad = good;
    bad.token_count = MAX_TOKENS + 1;
    CHECK_STATUS(mj_plan_run(plan, &bad, NULL, &error), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_plan_run_op(plan, MJ_OP_GEMM1, &bad, NULL, NULL), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_plan_run_op(plan, MJ_OP_FILL, &good, NULL, NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_run(plan, NULL, NULL, NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_run(NULL, &good, NULL, NULL), MJ_ERR_ARGUMENT);
    bad = (mj_layer){.token_count = 0}; /* no tokens: nothing is looked at */
    CHECK_STATUS(mj_plan_run(plan, &bad, NULL, NULL), MJ_OK);
    CHECK_STATUS(mj_plan_run_op(plan, MJ_OP_COMBINE, &bad, NULL, NULL), MJ_OK);
    for (uint32_t i = 0; i < 7 * l.problem.hidden; i++) {
        CHECK(l.y[i] == 0xabab);
    }
    mj_plan_destroy(plan);
    close_layer(&l);
    close_bench(&b);
}

TEST(bad_plans)
{
    bench b;
    layer l;
    mj_plan *plan = (mj_plan *)&b;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 1, RANDOM));
    mj_plan_options options = {.max_tokens = UINT32_MAX};
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, &options, &plan, &error), MJ_ERR_CAPACITY);
    CHECK(plan == NULL);
    options = (mj_plan_options){.flags = 1u << 30};
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, &options, &plan, &error), MJ_ERR_ARGUMENT);
    options = (mj_plan_options){.flags = MJ_PLAN_REFERENCE | MJ_PLAN_REQUIRE_VERIFIED};
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, &options, &plan, &error), MJ_ERR_ARGUMENT);
    options = (mj_plan_options){.routing = "a routing whose name is longer than any name may be"};
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, &options, &plan, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_create(NULL, &l.problem, NULL, &plan, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_create(b.device, NULL, NULL, &plan, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, NULL, NULL, &error), MJ_ERR_ARGUMENT);
    mj_problem problem = l.problem;
    problem.top_k = 7; /* of 6 experts */
    CHECK(mj_plan_create(b.device, &problem, NULL, &plan, &error) != MJ_OK);
    problem = l.problem;
    snprintf(problem.scheme, sizeof problem.scheme, "bf15");
    CHECK_STATUS(mj_plan_create(b.device, &problem, NULL, &plan, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "bf15");
    CHECK(plan == NULL);
    mj_plan_destroy(NULL);
    CHECK_INT(mj_plan_row_count(NULL), 0);
    CHECK(!mj_plan_is_verified(NULL));
    close_layer(&l);
    close_bench(&b);
}

/* combine has read gemm2's rows, activation gemm1's: what is found is what they were given. */
static void outputs_are_found(const mj_plan *plan, const layer *l, const mj_layer *run, const void *from,
                              const void *to)
{
    static const mj_op ops[] = {MJ_OP_GEMM1, MJ_OP_ACTIVATION, MJ_OP_GEMM2};
    void *found[4], *scales = run->y;
    mj_error error = {0};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(mj_plan_find_output(plan, ops[i], run, &found[i], &scales, &error), MJ_OK);
        CHECK(found[i] >= from && found[i] < to && scales == NULL);
        CHECK(i == 0 || found[i] != found[i - 1]);
    }
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_COMBINE, run, &found[3], &scales, &error), MJ_OK);
    CHECK(found[3] == run->y);
    for (uint32_t i = 0; i < run->token_count * l->problem.hidden; i++) {
        double sum = 0, size = 0;
        for (uint32_t slot = 0; slot < l->problem.top_k; slot++) {
            uint64_t pair = i / l->problem.hidden * l->problem.top_k + slot;
            double value = mj_ref_load("bf16", found[2], pair * l->problem.hidden + i % l->problem.hidden);
            sum += value;
            size += fabs(value);
        }
        CHECK(fabs(mj_ref_load("bf16", run->y, i) - sum) <= size / 128);
    }
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_QUANTISE1, run, &found[0], &scales, &error), MJ_ERR_NOT_FOUND);
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_TABLES, run, &found[0], &scales, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_STREAM, run, &found[0], &scales, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_GEMM1, run, &found[0], NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_find_output(NULL, MJ_OP_GEMM1, run, &found[0], &scales, &error), MJ_ERR_ARGUMENT);
}

/* No tokens: nothing is computed anywhere, so there is no address to give, with a workspace or without. */
static void no_tokens_no_output(const mj_plan *plan, void *workspace)
{
    const mj_layer layers[] = {{0}, {.workspace = workspace}};
    mj_error error = {0};
    for (int i = 0; i < 2; i++) {
        for (int op = MJ_OP_QUANTISE1; op <= MJ_OP_COMBINE; op++) {
            bool known = plan->ops[op].count > 0;
            void *output = workspace, *scales = workspace;
            CHECK_STATUS(mj_plan_find_output(plan, (mj_op)op, &layers[i], &output, &scales, &error),
                         known ? MJ_OK : MJ_ERR_NOT_FOUND);
            CHECK(output == NULL && scales == NULL);
        }
    }
}

TEST(a_workspace_of_the_callers)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 7, RANDOM));
    CHECK_STATUS(make_plan(&b, &l.problem, MJ_PLAN_NO_WORKSPACE, &plan, &error), MJ_OK);
    size_t bytes = mj_plan_workspace_bytes(plan);
    unsigned char *workspace = aligned(bytes + 512);
    memset(workspace, 0xff, bytes + 512);
    mj_layer run = arguments(&l);
    CHECK_STATUS(mj_plan_run(plan, &run, NULL, &error), MJ_ERR_ARGUMENT);
    no_tokens_no_output(plan, workspace);
    CHECK_STATUS(mj_plan_prepare_workspace(plan, NULL, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_prepare_workspace(plan, workspace + 8, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_prepare_workspace(plan, workspace, NULL, &error), MJ_OK);
    run.workspace = workspace;
    for (int op = MJ_OP_TABLES; op <= MJ_OP_COMBINE; op++) { /* op by op is the same as at once */
        CHECK_STATUS(mj_plan_run_op(plan, (mj_op)op, &run, NULL, &error), MJ_OK);
    }
    CHECK(worst_error(&l) <= tolerance(&l));
    for (size_t i = bytes; i < bytes + 512; i++) {
        CHECK(workspace[i] == 0xff);
    }
    outputs_are_found(plan, &l, &run, workspace, workspace + bytes);
    free(workspace);
    mj_plan_destroy(plan);
    close_layer(&l);
    close_bench(&b);
}

TEST(selfcheck_verifies)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 1, RANDOM));
    CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
    CHECK_STATUS(mj_plan_selfcheck(plan, 0, 1, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_selfcheck(plan, 1, 0, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_selfcheck(NULL, 1, 1, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_plan_selfcheck(plan, 4096, 1e-9, &error), MJ_ERR_TIMEOUT);
    CHECK(!mj_plan_is_verified(plan));
    mj_status status = mj_plan_selfcheck(plan, 4096, 60, &error);
    if (status != MJ_OK) {
        printf("# %s\n", error.text);
    }
    CHECK_STATUS(status, MJ_OK);
    CHECK(mj_plan_is_verified(plan));
    CHECK_CONTAINS(mj_plan_get_row(plan, 0)->reason, "mj_plan_selfcheck");
    mj_plan_destroy(plan);
    close_layer(&l);
    close_bench(&b);
}

TEST(selfcheck_finds_wrong_kernels)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    static const char *const wrong[] = {
        "E=6,topk=2,H=96,N=80,gated=1,act=gelu,bias=0,scheme=bf16,layout=default",   /* another activation */
        "E=6,topk=2,H=96,N=80,gated=1,act=silu,bias=0,scheme=fp16,layout=default",   /* another format */
        "E=5/6,topk=2,H=96,N=80,gated=1,act=silu,bias=0,scheme=bf16,layout=default", /* an expert that is not there */
        PACKED};                                                                     /* rows in another order */
    CHECK(open_bench(&b));
    CHECK(open_layer(&l, FIRST, 1, RANDOM));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_STATUS(make_plan(&b, &l.problem, 0, &plan, &error), MJ_OK);
        CHECK_STATUS(mj_problem_parse(wrong[i], &plan->problem, &error), MJ_OK); /* what the check takes for asked */
        for (uint32_t j = 0; j < plan->kernel_count; j++) { /* the name says it where a manifest does not */
            plan->kernels[j].loaded.manifest.scheme[0] = '\0';
        }
        CHECK_STATUS(mj_plan_selfcheck(plan, 16, 60, &error), MJ_ERR_WRONG_RESULT);
        CHECK(!mj_plan_is_verified(plan));
        CHECK(i > 0 || strstr(error.text, "gemm1_act of ")); /* the first op that activates */
        CHECK_CONTAINS(b.log.text, "selfcheck: ");
        mj_plan_destroy(plan);
    }
    close_layer(&l);
    close_bench(&b);
}

/* Every allocation fails once: the status is MJ_ERR_MEMORY and nothing stays behind. */
static void *counted(void *user, void *pointer, size_t bytes)
{
    bench *b = user;
    if (bytes == 0) {
        b->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (b->allocations_left != UINT64_MAX && b->allocations_left-- == 0) {
        b->allocations_left = UINT64_MAX;
        return NULL;
    }
    b->live += pointer == NULL;
    return realloc(pointer, bytes);
}

TEST(out_of_memory_at_every_place)
{
    bench b;
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(open_bench(&b)); /* warms the cache */
    CHECK(open_layer(&l, FIRST, 1, RANDOM));
    CHECK_STATUS(make_plan(&b, &l.problem, MJ_PLAN_REFERENCE, &plan, &error), MJ_OK);
    mj_plan_destroy(plan);
    close_bench(&b);
    memset(&b, 0, sizeof b);
    b.allocations_left = UINT64_MAX;
    mj_context_options options = {
        .cache_dir = cache_folder, .store_dir = "/nonexistent/store", .allocate = counted, .user = &b};
    CHECK_STATUS(mj_context_create(&options, &b.context, &error), MJ_OK);
    CHECK_STATUS(mj_device_open(b.context, "cpu", &b.device, &error), MJ_OK);
    mj_plan_options plan_options = {.max_tokens = MAX_TOKENS, .flags = MJ_PLAN_REFERENCE};
    CHECK_STATUS(mj_plan_create(b.device, &l.problem, &plan_options, &plan, &error), MJ_OK);
    mj_plan_destroy(plan);
    int64_t live = b.live;
    mj_status status = MJ_ERR_MEMORY;
    uint64_t allowed = 0;
    for (; status != MJ_OK && allowed < 10000; allowed++) {
        b.allocations_left = allowed;
        status = mj_plan_create(b.device, &l.problem, &plan_options, &plan, &error);
        if (status != MJ_OK) {
            CHECK(plan == NULL);
            CHECK_STATUS(status, MJ_ERR_MEMORY);
            CHECK_INT(b.live, live);
        }
    }
    CHECK(allowed > 5);
    mj_plan_destroy(plan);
    b.allocations_left = UINT64_MAX;
    close_layer(&l);
    close_bench(&b);
    CHECK_INT(b.live, 0);
}

/* ---- The null device: every call fails once ---- */

static mj_status use_plan(mj_device *device, const mj_problem *problem, mj_error *error)
{
    static unsigned char memory[4096] __attribute__((aligned(256)));
    mj_plan_options options = {.max_tokens = MAX_TOKENS};
    mj_plan *plan = NULL;
    mj_layer run = {.x = memory,
                    .weights1 = memory,
                    .weights2 = memory,
                    .topk_ids = (int32_t *)memory,
                    .topk_weights = (float *)memory,
                    .y = memory,
                    .token_count = 5};
    void *graph = NULL;
    const mj_backend *backend = device->backend;
    mj_status status = mj_plan_create(device, problem, &options, &plan, error);
    if (status != MJ_OK) {
        return plan ? MJ_ERR_INTERNAL : status;
    }
    status = mj_plan_run(plan, &run, NULL, error);
    if (status == MJ_OK && (status = backend->capture_begin(device->handle, NULL, error)) == MJ_OK) {
        status = mj_plan_run(plan, &run, NULL, error);
        mj_status ended = backend->capture_end(device->handle, NULL, &graph, status == MJ_OK ? error : NULL);
        status = status == MJ_OK ? ended : status;
        if (ended == MJ_OK) {
            backend->graph_destroy(device->handle, graph);
        }
    }
    if (status == MJ_OK) { /* nothing was computed: wrong, unless a call fails before that is seen */
        status = mj_plan_selfcheck(plan, 4, 60, error);
        status = status == MJ_ERR_WRONG_RESULT ? MJ_OK : status == MJ_OK ? MJ_ERR_INTERNAL : status;
    }
    mj_plan_destroy(plan);
    return status;
}

/* Fails the first, second, ... such call until one run has fewer. */
static bool sweep(const char *call, const mj_problem *problem)
{
    mj_context *context = NULL;
    mj_device *device = NULL;
    mj_error error = {0};
    mj_context_options options = {.cache_dir = "/proc/no/cache", .store_dir = "/nonexistent/store"};
    bool right = mj_context_create(&options, &context, &error) == MJ_OK &&
                 mj_device_open(context, "null:0", &device, &error) == MJ_OK &&
                 use_plan(device, problem, &error) == MJ_OK;
    mj_null_state *state = right ? mj_null_state_of(context) : NULL;
    int64_t live = right ? mj_null_live_count(state) : 0;
    mj_status status = MJ_ERR_DEVICE;
    int failures = 0;
    for (; right && status != MJ_OK && failures < 60; failures++) {
        char script[64];
        snprintf(script, sizeof script, "%s@%llu=DEVICE", call,
                 (unsigned long long)mj_null_call_count(state, call) + (unsigned)failures + 1);
        error = (mj_error){MJ_OK, ""};
        right = mj_null_script_add(state, script, &error) == MJ_OK;
        status = use_plan(device, problem, &error);
        right = right && mj_null_live_count(state) == live &&
                (status == MJ_OK || (status == MJ_ERR_DEVICE && error.text[0]));
    }
    right = right && status == MJ_OK && failures > 1;
    if (!right) {
        printf("# %s, failure %d: %s %s\n", call, failures, mj_status_name(status), error.text);
    }
    mj_device_close(device);
    mj_context_destroy(context);
    return right;
}

TEST(every_failed_device_call_is_said_and_undone)
{
    static const char *const calls[] = {"kernel_load",   "kernel_launch",   "memory_alloc", "memory_set",
                                        "memory_upload", "memory_download", "stream_sync",  "compile"};
    mj_problem problem;
    CHECK_STATUS(mj_problem_parse(FIRST, &problem, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        CHECK(sweep(calls[i], &problem));
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(layers_from_the_estimate);
    RUN(layers_of_packed_weights);
    RUN(a_plan_refuses_weights_of_another_layout);
    RUN(layers_of_the_reference);
    RUN(a_plan_says_that_it_rests_on_the_estimate);
    RUN(a_captured_graph_follows_its_buffers);
    RUN(both_sequences_give_the_layer);
    RUN(the_estimate_knows_the_shorter_sequence);
    RUN(bad_arguments_run_nothing);
    RUN(bad_plans);
    RUN(a_workspace_of_the_callers);
    RUN(selfcheck_verifies);
    RUN(selfcheck_finds_wrong_kernels);
    RUN(out_of_memory_at_every_place);
    RUN(every_failed_device_call_is_said_and_undone);
    if (cache_folder[0]) {
        nftw(cache_folder, fake_remove, 16, FTW_DEPTH | FTW_PHYS);
    }
    return CHECK_END();
}
