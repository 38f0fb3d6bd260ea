/* Whole layers of quantised schemes through mj_plan_run on the cpu device, against a chain of the host's own functions: the same
 * roundings to 16 bits and to codes between the ops, float64 inside them. And what a plan refuses. */
#define _GNU_SOURCE
#include <math.h>

#include "json.h"
#include "plan_fixture.h"
#include "selfcheck.h"

/* Static scales are the caller's, dynamic ones lie with the codes: positive, and none forgotten. */
static void check_codes_are_found(const mj_plan *plan, const layer *l, const mj_layer *run)
{
    void *codes = NULL, *scales = NULL;
    mj_error error = {0};
    bool quantised = mj_scheme_quantises(l->scheme);
    mj_status want = quantised ? MJ_OK : MJ_ERR_NOT_FOUND;
    CHECK_STATUS(mj_plan_find_output(plan, MJ_OP_QUANTISE1, run, &codes, &scales, &error), want);
    if (quantised && run->input_scale1) {
        CHECK(codes != NULL && scales == run->input_scale1);
    } else if (quantised) {
        uint32_t count = run->token_count * mj_ref_scales_per_row(l->scheme, l->problem.hidden);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(((const float *)scales)[i] > 0 && ((const float *)scales)[i] < 1);
        }
    }
}

static void check_layers(const char *problem)
{
    static const uint32_t tokens[] = {1, 5, TOKENS_MAX};
    mj_device *device = cpu.device;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        layer l;
        mj_plan *plan = NULL;
        mj_error error = {0};
        if (!layer_open(&l, problem, tokens[i])) {
            return;
        }
        mj_plan_options options = {.max_tokens = TOKENS_MAX, .flags = MJ_PLAN_IGNORE_STORE};
        mj_layer run = arguments(&l);
        CHECK_STATUS(mj_plan_create(device, &l.problem, &options, &plan, &error), MJ_OK);
        CHECK_STATUS(mj_plan_run(plan, &run, NULL, &error), MJ_OK);
        CHECK_STATUS(mj_stream_sync(device, NULL, &error), MJ_OK);
        check_codes_are_found(plan, &l, &run);
        make_truth(&l);
        double worst = worst_error(&l);
        if (!(worst <= 0.02) || error.text[0]) {
            check_fail(__FILE__, __LINE__, "%s, %u tokens: error %g; %s", problem, tokens[i], worst, error.text);
        }
        if (tokens[i] == TOKENS_MAX) {
            mj_status status = mj_plan_selfcheck(plan, TOKENS_MAX, 60, &error);
            if (status != MJ_OK || !mj_plan_is_verified(plan)) {
                check_fail(__FILE__, __LINE__, "%s: selfcheck: %s", problem, error.text);
            }
        }
        mj_plan_destroy(plan);
        layer_close(&l);
    }
}

TEST(layers_of_fp8)
{
    check_layers("E=6,topk=2,H=200,N=136,scheme=fp8_w8a8");
    check_layers("E=6,topk=2,H=200,N=136,bias=1,scheme=fp8_w8a8_channel");
    check_layers("E=6,topk=3,H=264,N=136,gated=0,act=relu2,scheme=fp8_w8a8_block");
    check_layers("E=6,topk=2,H=99,N=130,scheme=fp8_w8a8_block_fnuz");
}

TEST(layers_of_int4)
{
    check_layers("E=6,topk=2,H=264,N=136,scheme=int4_w4a16");
    check_layers("E=6,topk=2,H=104,N=72,bias=1,scheme=int4_w4a16_g32_zp_fp16");
}

/* One plan; each call changes one pointer. */
static void refuse(mj_plan *plan, mj_layer run, const char *word)
{
    mj_error error = {0};
    CHECK_STATUS(mj_plan_run(plan, &run, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, word);
}

TEST(scales_are_asked_for_where_they_belong)
{
    layer l;
    mj_plan *plan = NULL;
    mj_plan_options options = {.max_tokens = 4, .flags = MJ_PLAN_IGNORE_STORE};
    CHECK(layer_open(&l, "E=4,topk=2,H=64,N=64,scheme=fp8_w8a8", 3));
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &plan, NULL), MJ_OK);
    mj_layer good = arguments(&l), bad = good;
    CHECK_STATUS(mj_plan_run(plan, &good, NULL, NULL), MJ_OK);
    bad.weight_scales2 = NULL;
    refuse(plan, bad, "weight_scales2 is null");
    bad = good;
    bad.input_scale1 = NULL;
    refuse(plan, bad, "input_scale1 is null");
    bad = good;
    bad.weight_zeros1 = l.x;
    refuse(plan, bad, "has no zero points");
    bad = good;
    bad.weight_scales1 = (const char *)good.weight_scales1 + 2;
    refuse(plan, bad, "weight_scales1 is not aligned");
    uint64_t codes = mj_plan_workspace_bytes(plan);
    mj_plan_destroy(plan);
    layer_close(&l);
    CHECK(layer_open(&l, "E=4,topk=2,H=64,N=64,scheme=bf16", 3));
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &plan, NULL), MJ_OK);
    good = arguments(&l);
    CHECK_STATUS(mj_plan_run(plan, &good, NULL, NULL), MJ_OK);
    CHECK(mj_plan_workspace_bytes(plan) < codes); /* four rows of codes, eight behind the activation */
    good.input_scale2 = (const float *)l.x;
    refuse(plan, good, "has no static input scale");
    mj_plan_destroy(plan);
    layer_close(&l);
}

/* The first `from` of a text becomes `to`. */
static void change(char text[MJ_SCHEME_TEXT_MAX], const char *from, const char *to)
{
    char before[MJ_SCHEME_TEXT_MAX];
    memcpy(before, text, sizeof before);
    const char *found = strstr(before, from);
    CHECK(found);
    snprintf(text, MJ_SCHEME_TEXT_MAX, "%.*s%s%s", (int)(found - before), before, to, found + strlen(from));
}

/* A plan of one scheme, its manifests' description of it changed: what the kernels do is then wrong. */
static void check_wrong(const char *problem, const char *from, const char *to, mj_status want, const char *word)
{
    mj_problem parsed;
    mj_plan *plan = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = 8, .flags = MJ_PLAN_IGNORE_STORE};
    CHECK_STATUS(mj_problem_parse(problem, &parsed, &error), MJ_OK);
    CHECK_STATUS(mj_plan_create(cpu.device, &parsed, &options, &plan, &error), MJ_OK);
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        change(plan->kernels[i].loaded.manifest.scheme, from, to);
    }
    mj_status status = mj_plan_selfcheck(plan, 8, 60, &error);
    if (status != want || !strstr(error.text, word) || mj_plan_is_verified(plan)) {
        check_fail(__FILE__, __LINE__, "%s with \"%s\": %s: %s", problem, to, mj_status_name(status), error.text);
    }
    mj_plan_destroy(plan);
}

TEST(selfcheck_finds_what_a_scheme_gets_wrong)
{
    static const char block[] = "E=6,topk=3,H=264,N=136,gated=0,act=relu2,scheme=fp8_w8a8_block";
    static const char zeros[] = "E=6,topk=2,H=104,N=72,bias=1,scheme=int4_w4a16_g32_zp_fp16";
    check_wrong(block, "scale_n=128", "scale_n=64", MJ_ERR_WRONG_RESULT, "gemm");
    check_wrong(block, "scale_k=128,scale_order=nk", "scale_k=128,scale_order=kn", MJ_ERR_WRONG_RESULT, "gemm");
    check_wrong(block, "input_k=128", "input_k=64", MJ_ERR_WRONG_RESULT, "quantise1");
    check_wrong(block, "input=e4m3", "input=e4m3fnuz", MJ_ERR_WRONG_RESULT, "quantise1");
    check_wrong(zeros, "order=0/2/4", "order=0/4/2", MJ_ERR_WRONG_RESULT, "gemm1");
    check_wrong(zeros, "zero_order=0/1", "zero_order=1/0", MJ_ERR_WRONG_RESULT, "gemm1");
    check_wrong(zeros, ",input=f16", ",zero_bias=1,input=f16", MJ_ERR_WRONG_RESULT, "gemm1");
    check_wrong(zeros, "scale_k=32", "scale_k=64", MJ_ERR_WRONG_RESULT, "gemm1");
}

/* Every scheme of lua/quant fits into a manifest, and the host can follow it. A manifest without it says what to do. */
TEST(every_scheme_is_described_in_manifests)
{
    mj_context *context = cpu.context;
    mj_problem problem;
    mj_error error = {0};
    CHECK_STATUS(mj_problem_parse("E=2,topk=1,H=256,N=128", &problem, &error), MJ_OK);
    for (uint32_t i = 0; i < mj_spec_scheme_count(spec); i++) {
        char text[MJ_SCHEME_TEXT_MAX];
        mj_scheme again;
        mj_check check = {0};
        const mj_scheme *scheme = mj_spec_scheme_at(spec, i);
        memcpy(problem.scheme, scheme->name, sizeof problem.scheme);
        CHECK_STATUS(mj_scheme_print(scheme, text, sizeof text, &error), MJ_OK);
        CHECK_STATUS(mj_scheme_parse(text, &again, &error), MJ_OK);
        CHECK_INT(mj_scheme_needed_args(&again, MJ_OP_GEMM1), mj_scheme_needed_args(scheme, MJ_OP_GEMM1));
        CHECK_INT(mj_scheme_is_plain(&again), mj_scheme_is_plain(scheme));
        CHECK_STRING(mj_scheme_undecodable(&again), mj_scheme_undecodable(scheme));
        CHECK_INT(memcmp(again.decode, scheme->decode, sizeof again.decode), 0);
        CHECK_STATUS(mj_check_open(&check, context, &problem, &again, 4, &error), MJ_OK);
        mj_check_close(&check);
    }
    mj_plan *plan = NULL;
    mj_plan_options options = {.max_tokens = 4, .flags = MJ_PLAN_IGNORE_STORE};
    CHECK_STATUS(mj_problem_parse("E=4,topk=2,H=64,N=64,scheme=fp8_w8a8", &problem, &error), MJ_OK);
    CHECK_STATUS(mj_plan_create(cpu.device, &problem, &options, &plan, NULL), MJ_OK);
    plan->kernels[1].loaded.manifest.scheme[0] = '\0'; /* the others say it */
    CHECK_STATUS(mj_plan_selfcheck(plan, 4, 60, &error), MJ_OK);
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        plan->kernels[i].loaded.manifest.scheme[0] = '\0';
    }
    CHECK_STATUS(mj_plan_selfcheck(plan, 4, 60, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "fp8_w8a8");
    CHECK_CONTAINS(error.text, "emit again");
    mj_plan_destroy(plan);
}

/* What a warm plan without a generator rests on: written, read, and refused when it is damaged. */
TEST(manifests_say_what_a_scheme_needs)
{
    layer l;
    mj_plan *plan = NULL;
    mj_error error = {0};
    mj_plan_options options = {.max_tokens = 4, .flags = MJ_PLAN_IGNORE_STORE};
    CHECK(layer_open(&l, "E=6,topk=2,H=200,N=136,bias=1,scheme=fp8_w8a8_channel", 3));
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &plan, NULL), MJ_OK);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const mj_manifest *manifest = &plan->kernels[i].loaded.manifest;
        mj_manifest again;
        mj_json *json = mj_manifest_to_json(manifest), *needs = mj_json_get(json, "needs");
        CHECK_STATUS(mj_manifest_from_json(json, &again, &error), MJ_OK);
        CHECK_INT(again.needed_args, manifest->needed_args);
        CHECK_INT(again.scales_per_row, manifest->scales_per_row);
        CHECK_INT(again.scales_per_row, manifest->op == MJ_OP_QUANTISE1 || manifest->op == MJ_OP_QUANTISE2);
        CHECK_STRING(again.scheme, manifest->scheme);
        CHECK_CONTAINS(again.scheme, "weight=e4m3,");
        if (needs) {
            seen++;
            mj_json_push(needs, mj_json_new_string("weights"));
            CHECK_STATUS(mj_manifest_from_json(json, &again, &error), MJ_ERR_FORMAT);
            CHECK_CONTAINS(error.text, "weights");
        }
        mj_json_free(json);
        json = mj_manifest_to_json(manifest);
        mj_json_add(json, "scheme", mj_json_new_string("weight=e4m3,bits=8,word=8,order=9,axis=k"));
        CHECK_STATUS(mj_manifest_from_json(json, &again, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, "scheme: ");
        mj_json_free(json);
    }
    CHECK_INT(seen, 4); /* both GEMMs, both quantise ops */
    mj_plan_destroy(plan);
    layer_close(&l);
}

/* Another scale for gemm2's input: other codes, other results; the plan reads what it was given. */
TEST(static_scales_are_read_at_every_run)
{
    layer l;
    mj_plan *plan = NULL;
    mj_plan_options options = {.max_tokens = 4, .flags = MJ_PLAN_IGNORE_STORE};
    CHECK(layer_open(&l, "E=4,topk=2,H=64,N=64,scheme=fp8_w8a8", 3));
    CHECK_STATUS(mj_plan_create(cpu.device, &l.problem, &options, &plan, NULL), MJ_OK);
    mj_layer run = arguments(&l);
    for (int i = 0; i < 2; i++) {
        l.input_scales[1][0] = i ? 0.0005f : 0.02f; /* the second saturates */
        CHECK_STATUS(mj_plan_run(plan, &run, NULL, NULL), MJ_OK);
        CHECK_STATUS(mj_stream_sync(cpu.device, NULL, NULL), MJ_OK);
        make_truth(&l);
        CHECK(worst_error(&l) <= 0.02);
    }
    mj_plan_destroy(plan);
    layer_close(&l);
}

int main(int argc, char **argv)
{
    if (!open_layers(argc, argv)) {
        return 1;
    }
    RUN(layers_of_fp8);
    RUN(layers_of_int4);
    RUN(scales_are_asked_for_where_they_belong);
    RUN(static_scales_are_read_at_every_run);
    RUN(selfcheck_finds_what_a_scheme_gets_wrong);
    RUN(every_scheme_is_described_in_manifests);
    RUN(manifests_say_what_a_scheme_needs);
    return close_layers();
}
