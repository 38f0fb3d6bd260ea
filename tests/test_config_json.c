/* test_config_json.c: config.json of many model families, and every bad form of one. */
#include "check.h"
#include "config_json.h"

typedef struct family_row {
    const char *file;
    uint32_t experts, top_k, hidden, intermediate;
    bool gated, bias;
    mj_activation activation;
    const char *scheme;
    uint32_t shared;
} family_row;

static const family_row families[] = {
    {"mixtral", 8, 2, 4096, 14336, true, false, MJ_ACT_SILU, "bf16", 0},
    {"qwen3_moe", 128, 8, 2048, 768, true, false, MJ_ACT_SILU, "bf16", 0},
    {"qwen2_moe", 64, 8, 3584, 2560, true, false, MJ_ACT_SILU, "bf16", 1},
    {"qwen3_vl_moe", 128, 8, 2048, 768, true, false, MJ_ACT_SILU, "bf16", 0},
    {"qwen3_omni_moe", 128, 8, 2048, 768, true, false, MJ_ACT_SILU, "", 0},
    {"deepseek_v3", 256, 8, 7168, 2048, true, false, MJ_ACT_SILU, "bf16", 1},
    {"deepseek_v2", 160, 6, 5120, 1536, true, false, MJ_ACT_SILU, "bf16", 2},
    {"dbrx", 16, 4, 6144, 10752, true, false, MJ_ACT_SILU, "bf16", 0},
    {"jamba", 16, 2, 4096, 14336, true, false, MJ_ACT_SILU, "bf16", 0},
    {"llama4", 16, 1, 5120, 8192, true, false, MJ_ACT_SILU, "bf16", 0},
    {"hunyuan", 64, 8, 4096, 3072, true, false, MJ_ACT_SILU, "bf16", 1},
    {"nemotron_h", 128, 6, 2688, 1856, false, false, MJ_ACT_RELU2, "bf16", 1},
    {"nemotron_h_latent", 512, 22, 1024, 2688, false, false, MJ_ACT_RELU2, "bf16", 0},
    {"gpt_oss", 32, 4, 2880, 2880, true, true, MJ_ACT_SWIGLUOAI, "", 0},
    {"olmoe", 64, 8, 2048, 1024, true, false, MJ_ACT_SILU, "bf16", 0},
    {"granitemoehybrid", 72, 10, 4096, 768, true, false, MJ_ACT_SILU, "bf16", 1},
    {"gemma4", 128, 8, 2816, 704, true, false, MJ_ACT_GELU_TANH, "", 0},
    {"glm4_moe", 160, 8, 5120, 1536, true, false, MJ_ACT_SILU, "bf16", 1},
    {"fp16_list_varies", 16, 2, 1024, 512, true, false, MJ_ACT_SILU, "fp16", 0},
};

static void check_family(const family_row *row)
{
    char path[1024], scheme[MJ_NAME_MAX];
    mj_model model;
    mj_error error = {MJ_OK, ""};
    snprintf(path, sizeof path, "%s/tests/data/configs/%s.json", MJ_TEST_SOURCE_DIR, row->file);
    mj_status status = mj_config_json_read(path, NULL, &model, scheme, sizeof scheme, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", row->file, error.text);
        return;
    }
    bool same = model.expert_count == row->experts && model.top_k == row->top_k && model.hidden == row->hidden &&
                model.intermediate == row->intermediate && model.gated == row->gated && model.bias == row->bias &&
                model.activation == row->activation && strcmp(scheme, row->scheme) == 0 &&
                model.shared_expert_count == row->shared;
    if (!same) {
        check_fail(__FILE__, __LINE__, "%s: E %u topk %u H %u I %u gated %d bias %d act %d '%s' shared %u", row->file,
                   model.expert_count, model.top_k, model.hidden, model.intermediate, model.gated, model.bias,
                   (int)model.activation, scheme, model.shared_expert_count);
    }
}

TEST(reads_every_family)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        check_family(&families[i]);
    }
}

static mj_status parse(const char *text, const char *prefix, mj_model *model, mj_error *error)
{
    char scheme[MJ_NAME_MAX];
    *error = (mj_error){MJ_OK, ""};
    return mj_config_json_parse(text, strlen(text), "here/config.json", prefix, model, scheme, sizeof scheme, error);
}

typedef struct bad_row {
    const char *text, *prefix, *message; /* the message names file and key */
} bad_row;

#define GOOD_REST "\"num_experts_per_tok\":2,\"hidden_size\":64,\"intermediate_size\":32}"
static const bad_row bad_rows[] = {
    {"", NULL, "here/config.json"},
    {"{", NULL, "here/config.json"},
    {"nonsense", NULL, "here/config.json"},
    {"[1, 2]", NULL, "not a JSON object"},
    {"{}", NULL, "num_local_experts"},
    {"{\"hidden_size\":64}", NULL, "not a Mixture-of-Experts model"},
    {"{\"num_local_experts\":8,\"hidden_size\":64,\"intermediate_size\":32}", NULL, "num_experts_per_tok: missing"},
    {"{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":64}", NULL, "moe_intermediate_size: missing"},
    {"{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"intermediate_size\":64}", NULL, "hidden_size: missing"},
    {"{\"num_local_experts\":-8," GOOD_REST, NULL, "num_local_experts: -8"},
    {"{\"num_local_experts\":0," GOOD_REST, NULL, "num_local_experts: 0"},
    {"{\"num_local_experts\":8.5," GOOD_REST, NULL, "num_local_experts: 8.5"},
    {"{\"num_local_experts\":1e30," GOOD_REST, NULL, "num_local_experts: 1"},
    {"{\"num_local_experts\":99999999999999999999," GOOD_REST, NULL, "num_local_experts: "},
    {"{\"num_local_experts\":\"8\"," GOOD_REST, NULL, "num_local_experts: a whole number"},
    {"{\"num_local_experts\":[]," GOOD_REST, NULL, "num_local_experts: a whole number"},
    {"{\"num_local_experts\":[[8]]," GOOD_REST, NULL, "num_local_experts: a whole number"},
    {"{\"num_local_experts\":{}," GOOD_REST, NULL, "num_local_experts: a whole number"},
    {"{\"num_local_experts\":true," GOOD_REST, NULL, "num_local_experts: a whole number"},
    {"{\"num_local_experts\":null," GOOD_REST, NULL, "not a Mixture-of-Experts model"},
    {"{\"num_local_experts\":[8,\"x\"]," GOOD_REST, NULL, "num_local_experts: a whole number"},
    {"{\"num_local_experts\":1e999," GOOD_REST, NULL, "too large"},
    {"{\"num_local_experts\":NaN," GOOD_REST, NULL, "not a JSON value"},
    {"{\"num_local_experts\":8,\"num_local_experts\":4," GOOD_REST, NULL, "appears twice"},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", NULL, "nested deeper"},
    {"{\"num_local_experts\":1," GOOD_REST, NULL, "2 experts per token are more than the 1 experts"},
    {"{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":4294967360,\"intermediate_size\":32}", NULL,
     "hidden_size: 4294967360"},
    {"{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":64,\"intermediate_size\":-1}", NULL,
     "intermediate_size: -1"},
    {"{\"num_local_experts\":8,\"hidden_act\":\"mish\"," GOOD_REST, NULL, "hidden_act: activation 'mish'"},
    {"{\"num_local_experts\":8," GOOD_REST, "language_model", "language_model: no such object"},
    {"{\"a\":{\"b\":3},\"num_local_experts\":8," GOOD_REST, "a.b", "a.b: no such object"},
    {"{\"a\":{},\"num_local_experts\":8," GOOD_REST, "a", "under a."},
};

TEST(says_what_is_wrong)
{
    for (size_t i = 0; i < sizeof bad_rows / sizeof bad_rows[0]; i++) {
        mj_model model;
        mj_error error;
        mj_status status = parse(bad_rows[i].text, bad_rows[i].prefix, &model, &error);
        if (status != MJ_ERR_FORMAT || !strstr(error.text, bad_rows[i].message) ||
            !strstr(error.text, "here/config.json") || strchr(error.text, '\n')) {
            check_fail(__FILE__, __LINE__, "row %zu gave %d: %s", i, (int)status, error.text);
        }
    }
}

TEST(descends_by_prefix)
{
    mj_model model;
    mj_error error;
    const char *text = "{\"llm\":{\"inner\":{\"num_experts\":4," GOOD_REST "},\"num_experts\":64}";
    CHECK_STATUS(parse(text, "llm.inner", &model, &error), MJ_OK);
    CHECK_INT(model.expert_count, 4);
    const char *null_key = "{\"num_local_experts\":null,\"num_experts\":4," GOOD_REST;
    CHECK_STATUS(parse(null_key, NULL, &model, &error), MJ_OK);
    CHECK_INT(model.expert_count, 4);
}

TEST(names_the_missing_file)
{
    mj_model model;
    char scheme[MJ_NAME_MAX];
    mj_error error = {MJ_OK, ""};
    CHECK_STATUS(mj_config_json_read("/nowhere/x.json", NULL, &model, scheme, sizeof scheme, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "/nowhere/x.json");
    CHECK_STATUS(mj_config_json_read(MJ_TEST_SOURCE_DIR, NULL, &model, scheme, sizeof scheme, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "config.json");
}

TEST(notes_what_it_simplifies)
{
    mj_model model;
    char path[1024], scheme[MJ_NAME_MAX];
    snprintf(path, sizeof path, "%s/tests/data/configs/deepseek_v3.json", MJ_TEST_SOURCE_DIR);
    CHECK_STATUS(mj_config_json_read(path, NULL, &model, scheme, sizeof scheme, NULL), MJ_OK);
    CHECK_CONTAINS(model.note, "fp8");
    snprintf(path, sizeof path, "%s/tests/data/configs/fp16_list_varies.json", MJ_TEST_SOURCE_DIR);
    CHECK_STATUS(mj_config_json_read(path, NULL, &model, scheme, sizeof scheme, NULL), MJ_OK);
    CHECK_CONTAINS(model.note, "layers differ");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(reads_every_family);
    RUN(says_what_is_wrong);
    RUN(descends_by_prefix);
    RUN(names_the_missing_file);
    RUN(notes_what_it_simplifies);
    return CHECK_END();
}
