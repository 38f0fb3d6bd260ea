/* test_config_json.c: config.json of many model families, and every bad form of one. */
#include <time.h>

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
    {"deepseek_v3", 256, 8, 7168, 2048, true, false, MJ_ACT_SILU, "fp8_w8a8_block", 1},
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
    char path[1024];
    mj_config_scheme scheme;
    mj_model model;
    mj_error error = {MJ_OK, ""};
    snprintf(path, sizeof path, "%s/tests/data/configs/%s.json", MJ_TEST_SOURCE_DIR, row->file);
    mj_status status = mj_config_json_read(path, NULL, &model, &scheme, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", row->file, error.text);
        return;
    }
    bool same = model.expert_count == row->experts && model.top_k == row->top_k && model.hidden == row->hidden &&
                model.intermediate == row->intermediate && model.gated == row->gated && model.bias == row->bias &&
                model.activation == row->activation && strcmp(scheme.name, row->scheme) == 0 &&
                model.shared_expert_count == row->shared;
    if (!same) {
        check_fail(__FILE__, __LINE__, "%s: E %u topk %u H %u I %u gated %d bias %d act %d '%s' shared %u", row->file,
                   model.expert_count, model.top_k, model.hidden, model.intermediate, model.gated, model.bias,
                   (int)model.activation, scheme.name, model.shared_expert_count);
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
    mj_config_scheme scheme;
    *error = (mj_error){MJ_OK, ""};
    return mj_config_json_parse(text, strlen(text), "here/config.json", prefix, model, &scheme, error);
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

/* A value per layer, of which there are few; a file may say more, and costs no more than its reading. */
TEST(a_long_list_is_read_once)
{
    enum { ITEMS = 100000 };
    mj_model model;
    mj_error error;
    mj_strbuf text = {0};
    mj_strbuf_addf(&text, "{\"num_local_experts\":[8");
    for (int i = 1; i < ITEMS; i++) {
        mj_strbuf_add(&text, ",8", 2);
    }
    mj_strbuf_addf(&text, "]," GOOD_REST);
    CHECK(!text.failed);
    clock_t start = clock();
    mj_status status = parse(text.text, NULL, &model, &error);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    mj_strbuf_free(&text);
    CHECK_STATUS(status, MJ_OK);
    CHECK_INT(model.expert_count, 8);
    CHECK(seconds < 2);
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
    mj_config_scheme scheme;
    mj_error error = {MJ_OK, ""};
    CHECK_STATUS(mj_config_json_read("/nowhere/x.json", NULL, &model, &scheme, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "/nowhere/x.json");
    CHECK_STATUS(mj_config_json_read(MJ_TEST_SOURCE_DIR, NULL, &model, &scheme, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "config.json");
}

TEST(notes_what_it_simplifies)
{
    mj_model model;
    char path[1024];
    mj_config_scheme scheme;
    snprintf(path, sizeof path, "%s/tests/data/configs/fp16_list_varies.json", MJ_TEST_SOURCE_DIR);
    CHECK_STATUS(mj_config_json_read(path, NULL, &model, &scheme, NULL), MJ_OK);
    CHECK_CONTAINS(model.note, "layers differ");
}

/* ---- quantization_config ---- */

#define WEIGHTS(form) "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"group_0\":{\"weights\":{" form "}"
#define INPUT(form)   ",\"input_activations\":{" form "}"
#define FLOAT8        "\"num_bits\":8,\"type\":\"float\",\"symmetric\":true,"
#define INT4          "\"num_bits\":4,\"type\":\"int\","

typedef struct quant_row {
    const char *dtype, *config, *scheme, *note; /* scheme "": `note` is of the refusal */
    mj_status status;
} quant_row;

static const quant_row quant_rows[] = {
    {"bfloat16", "{\"quant_method\":\"fp8\",\"activation_scheme\":\"static\"}", "fp8_w8a8", "", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"activation_scheme\":\"dynamic\"}", "fp8_w8a8_channel", "repeat it",
     MJ_OK},
    {"bfloat16", "{\"quant_method\":\"fp8\"}", "fp8_w8a8_channel", "repeat it", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[128,128]}", "fp8_w8a8_block", "",
     MJ_OK},
    {"float16", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}", "fp8_w8a8_block", "rows are bf16", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"weight_block_size\":null,\"activation_scheme\":\"static\"}", "fp8_w8a8",
     "", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"fbgemm_fp8\"}", "fp8_w8a8_channel", "", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"}", "fp8_w8a8", "", MJ_OK},
    {"bfloat16",
     WEIGHTS(FLOAT8 "\"strategy\":\"tensor\"") INPUT(FLOAT8 "\"strategy\":\"tensor\",\"dynamic\":false") "}}}",
     "fp8_w8a8", "", MJ_OK},
    {"bfloat16",
     WEIGHTS(FLOAT8 "\"strategy\":\"channel\"") INPUT(FLOAT8 "\"strategy\":\"token\",\"dynamic\":true") "}}}",
     "fp8_w8a8_channel", "", MJ_OK},
    {"bfloat16",
     WEIGHTS(FLOAT8 "\"strategy\":\"block\",\"block_structure\":[128,128]")
         INPUT(FLOAT8 "\"strategy\":\"group\",\"group_size\":128,\"dynamic\":true") "}}}",
     "fp8_w8a8_block", "", MJ_OK},
    {"bfloat16",
     WEIGHTS(INT4 "\"strategy\":\"group\",\"group_size\":32,\"symmetric\":true") ",\"input_activations\":null}}}",
     "int4_w4a16_g32", "pack them anew", MJ_OK},
    {"float16", WEIGHTS(INT4 "\"group_size\":64,\"symmetric\":false") "}}}", "int4_w4a16_g64_zp_fp16", "", MJ_OK},
    {"bfloat16", WEIGHTS(INT4 "\"strategy\":\"channel\",\"symmetric\":true") "}}}", "int4_w4a16", "every 128 of k",
     MJ_OK},
    {"float16", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128,\"sym\":true,\"desc_act\":false}",
     "int4_w4a16_fp16", "pack them anew", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":false}", "int4_w4a16_g32_zp", "",
     MJ_OK},
    {"float16", "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,\"zero_point\":true}", "int4_w4a16_zp_fp16",
     "", MJ_OK},
    {"bfloat16", "{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":64,\"zero_point\":false}", "int4_w4a16_g64",
     "", MJ_OK},
    {"bfloat16", "null", "bf16", "", MJ_OK},
    /* described well, not served */
    {"bfloat16", "{\"quant_method\":\"mxfp4\"}", "", "mxfp4 is not served in this version: served are fp8",
     MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}", "", "NVFP4", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"experts_int8\"}", "", "int8", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"weight_block_size\":[1,32]}", "", "block of 1x32", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128],\"activation_scheme\":\"static\"}", "",
     "static input scales", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", "", "e5m2", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":128}", "", "int8_w8a16", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":3,\"group_size\":128}", "", "3 bits", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16}", "", "groups of 16", MJ_ERR_UNSUPPORTED},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128,\"desc_act\":true}", "", "desc_act",
     MJ_ERR_UNSUPPORTED},
    {"bfloat16",
     WEIGHTS("\"num_bits\":4,\"type\":\"float\",\"group_size\":16")
         INPUT("\"num_bits\":4,\"type\":\"float\",\"dynamic\":\"local\"") "}}}",
     "", "nvfp4", MJ_ERR_UNSUPPORTED},
    {"bfloat16", WEIGHTS(FLOAT8 "\"strategy\":\"channel\"") "}}}", "", "fp8_w8a16", MJ_ERR_UNSUPPORTED},
    {"bfloat16",
     WEIGHTS("\"num_bits\":8,\"type\":\"int\",\"strategy\":\"channel\"") INPUT("\"num_bits\":8,\"dynamic\":true") "}}}",
     "", "int8_w8a8", MJ_ERR_UNSUPPORTED},
    {"bfloat16", WEIGHTS(INT4 "\"group_size\":128") INPUT(FLOAT8 "\"dynamic\":true") "}}}", "", "int4_w4a8",
     MJ_ERR_UNSUPPORTED},
    {"bfloat16", WEIGHTS(INT4 "\"group_size\":128") "},\"g1\":{\"weights\":{" INT4 "\"group_size\":32}}}}", "",
     "different schemes", MJ_ERR_UNSUPPORTED},
    {"bfloat16",
     WEIGHTS(INT4 "\"group_size\":128") "},\"g1\":{\"weights\":{" FLOAT8
                                        "\"strategy\":\"block\"}" INPUT(FLOAT8 "\"dynamic\":true") "}}}",
     "", "block of 0x0", MJ_ERR_UNSUPPORTED},
    /* not to be meant */
    {"bfloat16", "3", "", "quantization_config: an object", MJ_ERR_FORMAT},
    {"bfloat16", "[]", "", "quantization_config: an object", MJ_ERR_FORMAT},
    {"bfloat16", "{}", "", "quantization_config.quant_method: missing", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":7}", "", "quant_method: a text", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"gptqq\"}", "", "did you mean \"gptq\"?", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"fp\\n8\"}", "", "fp 8", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"weight_block_size\":128}", "", "weight_block_size: two", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,-1]}", "", "weight_block_size: two",
     MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,1e300]}", "", "weight_block_size: two",
     MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"activation_scheme\":\"often\"}", "",
     "activation_scheme: ", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"fp8\",\"activation_scheme\":{}}", "", "activation_scheme: a text", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4.5,\"group_size\":128}", "", "bits: a whole number",
     MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":99999999999999}", "", "group_size: a whole",
     MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4}", "", "group_size: missing", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128,\"sym\":1}", "", "sym: true or false",
     MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"compressed-tensors\"}", "", "config_groups: an object", MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":3}}", "", "a group is",
     MJ_ERR_FORMAT},
    {"bfloat16", "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{\"weights\":[]}}}", "",
     "weights: an object", MJ_ERR_FORMAT},
};

TEST(quantised_weights_name_a_scheme_or_say_why_not)
{
    for (size_t i = 0; i < sizeof quant_rows / sizeof quant_rows[0]; i++) {
        const quant_row *row = &quant_rows[i];
        char text[2048];
        mj_model model;
        mj_config_scheme scheme;
        mj_error error = {MJ_OK, ""};
        snprintf(text, sizeof text, "{\"num_local_experts\":8,\"torch_dtype\":\"%s\",\"quantization_config\":%s,%s",
                 row->dtype, row->config, GOOD_REST);
        mj_status status = mj_config_json_parse(text, strlen(text), "here/config.json", NULL, &model, &scheme, &error);
        const char *said = row->status == MJ_OK ? model.note : scheme.why.text;
        bool good = status == MJ_OK && scheme.why.status == row->status && strcmp(scheme.name, row->scheme) == 0 &&
                    strstr(said, row->note) && !strchr(said, '\n') &&
                    (row->status == MJ_OK || strncmp(said, "here/config.json: ", 18) == 0);
        if (!good) {
            check_fail(__FILE__, __LINE__, "%s: %d, scheme \"%s\", note \"%s\", why %d \"%s\"; %s", row->config,
                       (int)status, scheme.name, model.note, (int)scheme.why.status, scheme.why.text, error.text);
        }
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(reads_every_family);
    RUN(says_what_is_wrong);
    RUN(a_long_list_is_read_once);
    RUN(descends_by_prefix);
    RUN(names_the_missing_file);
    RUN(notes_what_it_simplifies);
    RUN(quantised_weights_name_a_scheme_or_say_why_not);
    return CHECK_END();
}
