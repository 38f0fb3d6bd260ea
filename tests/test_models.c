/* test_models.c: the shipped tables make sense together: every model is a legal problem, every space has legal configs, every
 * pruning rule has work to do. */
#include "check.h"

#include <time.h>

#include "enumerate.h"
#include "gen.h"

static mj_spec *spec;

TEST(every_model_is_a_problem_at_tp_1)
{
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        const mj_model *model = mj_spec_model_at(spec, i);
        mj_problem problem, again;
        mj_error error = {0};
        char text[512];
        for (int scheme = 0; scheme < 2; scheme++) {
            mj_status status = mj_problem_from_model(model, 1, 1, scheme ? "fp16" : "bf16", &problem, &error);
            CHECK_STRING(error.text, "");
            CHECK_STATUS(status, MJ_OK);
            CHECK_STATUS(mj_problem_check(&problem, &error), MJ_OK);
        }
        CHECK_INT(problem.expert_count, model->expert_count);
        CHECK_STATUS(mj_problem_print(&problem, text, sizeof text, NULL), MJ_OK);
        CHECK_STATUS(mj_problem_parse(text, &again, NULL), MJ_OK);
        CHECK_INT(again.hidden, problem.hidden);
        CHECK(problem.hidden % 8 == 0 && problem.intermediate % 8 == 0); /* what the fast families ask for */
    }
}

static bool try_default(const mj_problem *problem, const char *arch_name, const char *family, mj_op op, mj_error *error)
{
    mj_kernel_desc desc = {.problem = problem, .op = op};
    mj_config config;
    return mj_spec_find_arch(spec, arch_name, &desc.arch, error) == MJ_OK &&
           mj_spec_find_scheme(spec, problem->scheme, &desc.scheme, error) == MJ_OK &&
           mj_spec_find_space(spec, family, &desc.space, error) == MJ_OK &&
           mj_space_default(spec, &desc, &config, error) == MJ_OK;
}

TEST(every_model_has_a_legal_default)
{
    static const struct {
        const char *arch, *family;
    } pairs[] = {
        {"sm_80", "mma"}, {"sm_90a", "mma"},      {"sm_120a", "mma"},
        {"cpu", "cpu"},   {"sm_86", "reference"}, {"cpu", "reference"},
    };
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        mj_problem problem;
        CHECK_STATUS(mj_problem_from_model(mj_spec_model_at(spec, i), 1, 1, "bf16", &problem, NULL), MJ_OK);
        for (size_t p = 0; p < sizeof pairs / sizeof pairs[0]; p++) {
            mj_error error = {0};
            if (!try_default(&problem, pairs[p].arch, pairs[p].family, MJ_OP_GEMM1, &error) ||
                !try_default(&problem, pairs[p].arch, pairs[p].family, MJ_OP_GEMM2, &error)) {
                check_fail(__FILE__, __LINE__, "%s %s %s: %s", mj_spec_model_at(spec, i)->name, pairs[p].arch,
                           pairs[p].family, error.text);
            }
        }
    }
}

/* A golden copy: a changed number has to be changed here too, on purpose. */
static const struct {
    const char *name;
    uint32_t experts, top_k, hidden, intermediate;
    bool verified;
} golden[] = {
    {"dbrx", 16, 4, 6144, 10752, true},
    {"deepseek-v2", 160, 6, 5120, 1536, true},
    {"deepseek-v2-lite", 64, 6, 2048, 1408, true},
    {"deepseek-v3", 256, 8, 7168, 2048, true},
    {"glm-4.5", 160, 8, 5120, 1536, true},
    {"glm-4.5-air", 128, 8, 4096, 1408, true},
    {"gpt-oss-120b", 128, 4, 2880, 2880, true},
    {"gpt-oss-20b", 32, 4, 2880, 2880, true},
    {"granite-3.0-1b-a400m", 32, 8, 1024, 512, false},
    {"granite-3.0-3b-a800m", 40, 8, 1536, 512, false},
    {"granite-4.0-h-small", 72, 10, 4096, 768, true},
    {"hunyuan-a13b", 64, 8, 4096, 3072, true},
    {"jamba-v0.1", 16, 2, 4096, 14336, false},
    {"kimi-k2", 384, 8, 7168, 2048, true},
    {"llama-4-maverick", 128, 1, 5120, 8192, true},
    {"llama-4-scout", 16, 1, 5120, 8192, true},
    {"minimax-m2", 256, 8, 3072, 1536, true},
    {"mixtral-8x22b", 8, 2, 6144, 16384, true},
    {"mixtral-8x7b", 8, 2, 4096, 14336, true},
    {"nemotron-3-nano", 128, 6, 2688, 1856, true},
    {"olmoe-1b-7b", 64, 8, 2048, 1024, true},
    {"phi-3.5-moe", 16, 2, 4096, 6400, true},
    {"qwen1.5-moe-a2.7b", 60, 4, 2048, 1408, true},
    {"qwen2-57b-a14b", 64, 8, 3584, 2560, true},
    {"qwen3-235b-a22b", 128, 8, 4096, 1536, false},
    {"qwen3-30b-a3b", 128, 8, 2048, 768, true},
    {"qwen3-next-80b-a3b", 512, 10, 2048, 512, true},
    {"qwen3.5-35b-a3b", 256, 8, 2048, 512, false},
};

TEST(the_table_of_models)
{
    CHECK_INT(mj_spec_model_count(spec), sizeof golden / sizeof golden[0]);
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        const mj_model *model = mj_spec_model_at(spec, i);
        CHECK_STRING(model->name, golden[i].name);
        CHECK_INT(model->expert_count, golden[i].experts);
        CHECK_INT(model->top_k, golden[i].top_k);
        CHECK_INT(model->hidden, golden[i].hidden);
        CHECK_INT(model->intermediate, golden[i].intermediate);
        CHECK_INT(model->verified, golden[i].verified);
        CHECK(model->hf_id_count > 0 && model->source[0]);
        CHECK_INT(model->gated, strcmp(model->name, "nemotron-3-nano") != 0);
        CHECK_INT(model->bias, strncmp(model->name, "gpt-oss", 7) == 0);
    }
}

TEST(models_answer_to_their_hugging_face_ids)
{
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        const mj_model *model = mj_spec_model_at(spec, i), *found;
        for (uint32_t j = 0; j < model->hf_id_count; j++) {
            CHECK(strchr(model->hf_ids[j], '/') != NULL);
            CHECK_STATUS(mj_spec_find_model(spec, model->hf_ids[j], &found, NULL), MJ_OK);
            CHECK_STRING(found->name, model->name);
        }
    }
    const mj_model *found;
    CHECK_STATUS(mj_spec_find_model(spec, "mistralai/mixtral-8x7b-instruct-v0.1", &found, NULL), MJ_OK);
    CHECK_STRING(found->name, "mixtral-8x7b");
}

TEST(tolerances_reject_a_missing_step)
{
    /* A row that lacks `step` of k products is off by about sqrt(step / k) of its norm. */
    double smallest_error = sqrt(16.0 / 16384); /* the largest k of any model, the smallest step of any family */
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        CHECK(mj_spec_model_at(spec, i)->intermediate <= 16384 && mj_spec_model_at(spec, i)->hidden <= 16384);
    }
    static const struct {
        const char *scheme;
        double rounding;
    } schemes[] = {{"bf16", 0x1p-8}, {"fp16", 0x1p-11}};
    for (int i = 0; i < 2; i++) {
        const mj_scheme *scheme;
        CHECK_STATUS(mj_spec_find_scheme(spec, schemes[i].scheme, &scheme, NULL), MJ_OK);
        CHECK(scheme->tolerance.row_norm < smallest_error / 3);
        CHECK(scheme->tolerance.row_norm >=
              schemes[i].rounding * 2 / 3); /* rms of a rounding: below 0.6 of its maximum */
        CHECK(scheme->tolerance.element_rel >= 2 * schemes[i].rounding);
        CHECK(scheme->tolerance.why[0]);
    }
}

/* ---- Pruning rules ---- */

enum { WALK_STRIDE = 5 }; /* every fifth config is asked: enough, and soon done */

typedef struct rule_use {
    uint64_t legal, walked, alone[32];
} rule_use;

static bool ask_rules(void *user, const mj_kernel_desc *desc, const mj_derived *derived)
{
    rule_use *use = user;
    uint32_t refusals = 0, last = 0;
    if (use->walked++ % WALK_STRIDE != 0) {
        return true;
    }
    for (uint32_t i = 0; i < desc->space->rule_count; i++) {
        mj_refusal refusal;
        if (!mj_spec_rule_holds(spec, desc, derived, i, &refusal)) {
            refusals++;
            last = i;
            if (strstr(refusal.reason, "the rule itself fails")) {
                check_fail(__FILE__, __LINE__, "%s: %s", refusal.rule, refusal.reason);
                return false;
            }
        }
    }
    use->legal += refusals == 0 ? WALK_STRIDE : 0;
    use->alone[last] += refusals == 1;
    return true;
}

TEST(every_rule_of_mma_prunes_something_alone)
{
    static const struct {
        const char *model;
        uint32_t tp;
        mj_op op;
    } cases[] = {
        {"mixtral-8x7b", 1, MJ_OP_GEMM1},
        {"mixtral-8x7b", 2, MJ_OP_GEMM2},
        {"qwen3-30b-a3b", 1, MJ_OP_GEMM2},
        {"qwen1.5-moe-a2.7b", 8, MJ_OP_GEMM1},
    };
    rule_use total = {0};
    const mj_space *space;
    CHECK_STATUS(mj_spec_find_space(spec, "mma", &space, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const mj_model *model;
        mj_problem problem;
        mj_kernel_desc desc = {.problem = &problem, .space = space, .op = cases[i].op};
        CHECK_STATUS(mj_spec_find_model(spec, cases[i].model, &model, NULL), MJ_OK);
        CHECK_STATUS(mj_problem_from_model(model, cases[i].tp, 1, "bf16", &problem, NULL), MJ_OK);
        CHECK_STATUS(mj_spec_find_arch(spec, "sm_90a", &desc.arch, NULL), MJ_OK);
        CHECK_STATUS(mj_spec_find_scheme(spec, "bf16", &desc.scheme, NULL), MJ_OK);
        rule_use use = {0};
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        CHECK_STATUS(mj_space_walk(&desc, ask_rules, &use, NULL, NULL), MJ_OK);
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("   %s gemm%d: about %llu of %llu configs, %.2f s\n", cases[i].model, cases[i].op == MJ_OP_GEMM1 ? 1 : 2,
               (unsigned long long)use.legal, (unsigned long long)use.walked,
               (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec));
        CHECK(use.legal >= 300 && use.legal <= 4000);
        for (uint32_t r = 0; r < space->rule_count; r++) {
            total.alone[r] += use.alone[r];
        }
    }
    for (uint32_t r = 0; r < space->rule_count; r++) {
        if (total.alone[r] == 0) {
            check_fail(__FILE__, __LINE__, "%s refuses nothing that others do not", space->rules[r].name);
        }
    }
}

/* ---- Rules that are wrong themselves ---- */

TEST(a_failing_rule_refuses_and_says_so)
{
    static const char *const messages[] = {"config has no field 'tile_q'",
                                           "config cannot be changed by a rule",
                                           "returned a nil, not true or false",
                                           "more than 200000 instructions",
                                           "arch cannot be changed",
                                           "plain reason: 3, limit 2",
                                           "no numbers"};
    mj_spec *other;
    mj_error error = {0};
    mj_spec_options options = {.data_dir = MJ_TEST_SOURCE_DIR "/tests/data/spec_rules"};
    mj_status status = mj_spec_load(&options, &other, NULL, &error);
    CHECK_STRING(error.text, "");
    CHECK_STATUS(status, MJ_OK);
    mj_problem problem;
    mj_config config = {.count = 1, .params = {{"tile_m", 16}}};
    const mj_model *model;
    mj_kernel_desc desc = {.problem = &problem, .op = MJ_OP_GEMM1, .config = &config};
    CHECK_STATUS(mj_spec_find_model(other, "mixtral-8x7b", &model, NULL), MJ_OK);
    CHECK_STATUS(mj_problem_from_model(model, 1, 1, "bf16", &problem, NULL), MJ_OK);
    CHECK_STATUS(mj_spec_find_arch(other, "sm_90a", &desc.arch, NULL), MJ_OK);
    CHECK_STATUS(mj_spec_find_scheme(other, "bf16", &desc.scheme, NULL), MJ_OK);
    CHECK_STATUS(mj_spec_find_space(other, "odd", &desc.space, NULL), MJ_OK);
    mj_derived derived = {.n_tiles = 7, .var_count = 1, .vars = {{"own", 5}}};
    CHECK_INT(desc.space->rule_count, 8);
    for (uint32_t i = 0; i < 7; i++) {
        mj_refusal refusal;
        CHECK(!mj_spec_rule_holds(other, &desc, &derived, i, &refusal));
        CHECK_CONTAINS(refusal.reason, messages[i]);
        CHECK_STRING(refusal.rule, desc.space->rules[i].name);
    }
    CHECK(mj_spec_rule_holds(other, &desc, &derived, 7, NULL)); /* sees every table, after all of that */
    config.params[0].value = 32;
    CHECK(!mj_spec_rule_holds(other, &desc, &derived, 7, NULL)); /* and a new config */
    CHECK(!mj_spec_rule_holds(other, &desc, &derived, 8, NULL));
    mj_spec_free(other);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    mj_error error = {0};
    if (mj_spec_load(NULL, &spec, NULL, &error) != MJ_OK) {
        printf("FAIL spec: %s\n", error.text);
        return 1;
    }
    RUN(every_model_is_a_problem_at_tp_1);
    RUN(every_model_has_a_legal_default);
    RUN(the_table_of_models);
    RUN(models_answer_to_their_hugging_face_ids);
    RUN(tolerances_reject_a_missing_step);
    RUN(every_rule_of_mma_prunes_something_alone);
    RUN(a_failing_rule_refuses_and_says_so);
    mj_spec_free(spec);
    return CHECK_END();
}
