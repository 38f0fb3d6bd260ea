/* test_json.c: strict parsing, the readers of required keys, printing, configs and manifests. */
#define _GNU_SOURCE
#include "check.h"

#include "gen.h"
#include "json.h"
#include "json_scan.h"
#include "store.h"
#include "temp_folder.h"

static mj_status parse(const char *text, mj_json **out, mj_error *error)
{
    return mj_json_parse(text, strlen(text), "test.json", out, error);
}

TEST(accepts_json)
{
    static const char *const good[] = {
        "{}", "[]", " null ", "true", "0", "-0", "-1.5e-3", "1E+2", "\"\"", "[1,2 , 3]\n", "{\"a\":{\"b\":[{}]}}",
        "\"\\u00e9\\ud83d\\ude00 \\\" \\\\ \\/ \\b\\f\\n\\r\\t\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "\xEF\xBB\xBF{}", "1e308",
        "4.9e-324", "1e-400",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        mj_json *root = NULL;
        mj_error error = {0};
        mj_status status = parse(good[i], &root, &error);
        if (status != MJ_OK) {
            check_fail(__FILE__, __LINE__, "%s: %s", good[i], error.text);
        }
        mj_json_free(root);
    }
}

TEST(refuses_what_is_not_json)
{
    static const char *const bad[] = {
        "", " ", "{", "}", "[", "[1", "[1,", "[1,]", "{\"a\"", "{\"a\":", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{'a':1}",
        "{\"a\" 1}", "{\"a\":1 \"b\":2}", "[1 2]", "[1}", "{\"a\":1]", "nul", "nulll", "True", "NaN", "-NaN", "Infinity",
        "-Infinity", "inf", "+1", "01", "-01", "1.", ".5", "-", "1e", "1e+", "0x10", "1_000", "1e309", "-1e400", "1e999999999999",
        "\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\u0000\"",
        "\"\n\"", "\"\t\"", "\"\x01\"", "\"\x80\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xc3\"",
        "\"\xe2\x82\"", "{} {}", "{}x", "[] // no", "/* no */ []", "\xEF\xBB", "\xFE\xFF", "{\"a\":1,\"a\":2}",
        "[{\"x\":{\"k\":1,\"l\":2,\"k\":3}}]", "[\"a\",]", "[,1]", "{,}", ",",
        "0.00000000000000000000000000000000000000000000000000000000000000001",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mj_json *root = NULL;
        mj_error error = {0};
        mj_status status = parse(bad[i], &root, &error);
        if (status != MJ_ERR_FORMAT || root || !strstr(error.text, "test.json") || strchr(error.text, '\n')) {
            check_fail(__FILE__, __LINE__, "%s: status %d, \"%s\"", bad[i], status, error.text);
            mj_json_free(root);
        }
    }
    mj_json *root = NULL;
    mj_error error = {0};
    CHECK_STATUS(mj_json_parse("1\0", 2, "test.json", &root, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_json_parse("\"a\0b\"", 5, "test.json", &root, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(parse("{\n\"a\": 1,\n\"b\": tru }", &root, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "test.json:3: ");
}

TEST(limits)
{
    mj_json *root = NULL;
    mj_error error = {0};
    char deep[200];
    for (int depth = 64; depth <= 65; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        CHECK_STATUS(mj_json_parse(deep, (size_t)depth * 2, "d", &root, &error), depth == 64 ? MJ_OK : MJ_ERR_CAPACITY);
        mj_json_free(root);
        root = NULL;
    }
    size_t bytes = (size_t)4 << 20; /* a million deep, and two million values: refused before anything is built */
    char *text = malloc(bytes);
    CHECK(text);
    memset(text, '[', bytes);
    mj_status deep_status = mj_json_parse(text, bytes, "d", &root, &error);
    for (size_t i = 1; i < bytes; i += 2) {
        text[i] = '0';
        text[i + 1 < bytes ? i + 1 : i] = i + 1 < bytes ? ',' : ']';
    }
    mj_status long_status = mj_json_parse(text, bytes, "d", &root, &error);
    free(text);
    CHECK_INT(deep_status, MJ_ERR_CAPACITY);
    CHECK_INT(long_status, MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_json_scan("x", MJ_JSON_BYTES_MAX + 1, "huge", &error), MJ_ERR_CAPACITY);
}

TEST(readers_name_key_and_range)
{
    mj_json *root = NULL, *child = NULL;
    mj_error error = {0};
    int64_t number = 7;
    double real = 7;
    bool flag = false;
    char text[4] = "abc";
    CHECK_STATUS(parse("{\"i\":5,\"f\":2.5,\"s\":\"four\",\"b\":true,\"n\":null,\"o\":{},\"a\":[1],\"big\":1e300,"
                       "\"edge\":9007199254740993,\"neg\":-3,\"zero\":-0.0}", &root, &error), MJ_OK);
    CHECK_STATUS(mj_json_read_int(root, "i", 0, 5, &number, &error), MJ_OK);
    CHECK_INT(number, 5);
    static const struct { const char *key, *part; } bad_ints[] = {
        {"none", "missing"}, {"f", "2.5 is not a whole number"}, {"s", "a string"}, {"b", "true or false"}, {"n", "null"},
        {"o", "an object"}, {"a", "a list"}, {"big", "out of range (0 to 4)"}, {"edge", "out of range"}, {"neg", "-3 is out of range"},
        {"i", "5 is out of range (0 to 4)"},
    };
    for (size_t i = 0; i < sizeof bad_ints / sizeof *bad_ints; i++) {
        CHECK_STATUS(mj_json_read_int(root, bad_ints[i].key, 0, 4, &number, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, bad_ints[i].part);
        CHECK(strncmp(error.text, bad_ints[i].key, strlen(bad_ints[i].key)) == 0);
        CHECK_INT(number, 5);
    }
    CHECK_STATUS(mj_json_read_int(root, "edge", INT64_MIN, INT64_MAX, &number, &error), MJ_OK);
    CHECK_STATUS(mj_json_read_int(root, "big", INT64_MIN, INT64_MAX, &number, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_json_read_int(root, "zero", 0, 4, &number, &error), MJ_OK);
    CHECK_INT(number, 0);
    CHECK_STATUS(mj_json_read_string(root, "s", text, sizeof text, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "longer than 3");
    CHECK_STRING(text, "abc");
    CHECK_STATUS(mj_json_read_string(root, "i", text, sizeof text, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_json_read_number(root, "f", &real, &error), MJ_OK);
    CHECK(real == 2.5);
    CHECK_STATUS(mj_json_read_number(root, "s", &real, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_json_read_bool(root, "b", &flag, &error), MJ_OK);
    CHECK(flag);
    CHECK_STATUS(mj_json_read_bool(root, "i", &flag, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_json_read_object(root, "o", &child, &error), MJ_OK);
    CHECK(child && mj_json_is_object(child));
    CHECK_STATUS(mj_json_read_object(root, "a", &child, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_json_read_int(NULL, "i", 0, 5, &number, &error), MJ_ERR_FORMAT);
    CHECK(mj_json_get(root, "I") == NULL); /* case matters */
    mj_fail(&error, MJ_ERR_FORMAT, "seed: missing");
    CHECK_INT(mj_json_within(&error, MJ_ERR_FORMAT, "rows.1."), MJ_ERR_FORMAT);
    CHECK_STRING(error.text, "rows.1.seed: missing");
    mj_json_free(root);
}

TEST(builds_and_prints)
{
    mj_json *root = mj_json_object();
    CHECK(mj_json_add_int(root, "z", 1) && mj_json_add_string(root, "a", "tab\t\"q\"") && mj_json_add_bool(root, "b", true));
    CHECK(mj_json_add_number(root, "n", NAN) && mj_json_add_number(root, "third", 1.0 / 3.0));
    CHECK(mj_json_add_int(root, "z", 2)); /* replaces */
    CHECK(!mj_json_add_int(root, "big", ((int64_t)1 << 53) + 1));
    CHECK(!mj_json_add_int(NULL, "x", 1)); /* chains are checked once */
    CHECK(!mj_json_add(root, "x", NULL));
    mj_json *list = mj_json_add(root, "list", mj_json_array());
    CHECK(mj_json_push(list, mj_json_new_int(1)) && mj_json_push(list, mj_json_new_string("x")));
    CHECK(!mj_json_push(root, mj_json_new_int(1)));
    CHECK_INT(mj_json_count(root), 6);
    CHECK_INT(mj_json_count(list), 2);
    CHECK_STRING(mj_json_value_string(mj_json_at(list, 1)), "x");
    CHECK(mj_json_at(list, 2) == NULL);
    char *text = mj_json_print(root, false);
    CHECK_STRING(text, "{\"a\":\"tab\\t\\\"q\\\"\",\"b\":true,\"n\":null,\"third\":0.33333333333333331,\"z\":2,\"list\":[1,\"x\"]}");
    free(text);
    text = mj_json_print(root, true);
    CHECK_CONTAINS(text, "{\n  \"a\": \"tab\\t");
    CHECK(!strchr(text, '\t'));
    mj_json *again = NULL;
    CHECK_STATUS(parse(text, &again, NULL), MJ_OK);
    char *second = mj_json_print(again, true);
    CHECK_STRING(second, text);
    free(text);
    free(second);
    mj_json_free(again);
    mj_json_free(root);
    CHECK(mj_json_print(NULL, true) == NULL);
}

TEST(parses_files)
{
    mj_json *root = NULL;
    mj_error error = {0};
    temp_folder_make();
    temp_write(temp_path("a.json"), "{\"a\": }", 7);
    CHECK_STATUS(mj_json_parse_file(temp_path("a.json"), &root, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "a.json:1: ");
    CHECK_STATUS(mj_json_parse_file(temp_path("b.json"), &root, &error), MJ_ERR_NOT_FOUND);
    temp_folder_remove();
}

/* ---- Configs and manifests -------------------------------------------------------------------- */

TEST(configs)
{
    mj_config config = {0}, again = {0};
    mj_error error = {0};
    CHECK_STATUS(mj_config_parse("tile_m=16,tile_n=128,x=-1", &config, &error), MJ_OK);
    mj_json *json = mj_config_to_json(&config);
    CHECK_STATUS(mj_config_from_json(json, &again, &error), MJ_OK);
    CHECK(mj_config_equal(&config, &again));
    mj_json_free(json);
    static const char *const bad[] = {"[]", "1", "{\"A\":1}", "{\"\":1}", "{\"a b\":1}", "{\"a\":1.5}", "{\"a\":\"1\"}",
                                      "{\"a\":2147483648}", "{\"a\":-2147483649}", "{\"a\":null}", "{\"a/../b\":1}",
                                      "{\"a23456789012345678901234567890123\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(parse(bad[i], &json, &error), MJ_OK);
        mj_status status = mj_config_from_json(json, &again, &error);
        mj_json_free(json);
        CHECK_INT(status, MJ_ERR_FORMAT);
    }
    char many[1024] = "{";
    for (int i = 0; i <= MJ_CONFIG_MAX; i++) {
        sprintf(many + strlen(many), "%s\"p%d\":1", i ? "," : "", i);
    }
    strcat(many, "}");
    CHECK_STATUS(parse(many, &json, &error), MJ_OK);
    mj_status status = mj_config_from_json(json, &again, &error);
    mj_json_free(json);
    CHECK_INT(status, MJ_ERR_FORMAT);
}

static mj_manifest sample_manifest(void)
{
    mj_manifest manifest = {.op = MJ_OP_GEMM1, .block_threads = 128, .smem_bytes = 65536, .pointer_align_bytes = 16,
                            .tiles_per_row_tile = 7, .partial_tile_bytes = 4096,
                            .grid = {.unit = MJ_GRID_TILES, .per_block = 16, .factor = 56, .blocks_per_sm_max = 2}};
    uint32_t count = 0;
    const mj_arg *args = mj_op_args(manifest.op, &count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = mj_arg_bytes(args[i]);
        manifest.args_bytes = (manifest.args_bytes + size - 1) / size * size + size;
    }
    manifest.args_bytes = (manifest.args_bytes + 7) / 8 * 8;
    mj_problem_parse("E=8/8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default", &manifest.problem, NULL);
    mj_config_parse("tile_m=16,tile_n=128", &manifest.config, NULL);
    strcpy(manifest.symbol, "moejit_gemm1");
    strcpy(manifest.family, "mma");
    strcpy(manifest.arch, "sm_90a");
    strcpy(manifest.compile_target, "sm_90a");
    memset(manifest.source_sha256, 'a', 64);
    return manifest;
}

TEST(manifests_round_trip)
{
    mj_manifest manifest = sample_manifest(), again = {0};
    mj_error error = {0};
    mj_json *json = mj_manifest_to_json(&manifest);
    CHECK(json);
    CHECK_STATUS(mj_manifest_from_json(json, &again, &error), MJ_OK);
    mj_json *second = mj_manifest_to_json(&again);
    char *a = mj_json_print(json, false), *b = mj_json_print(second, false);
    CHECK_STRING(a, b);
    CHECK_INT(again.grid.blocks_per_sm_max, 2);
    CHECK_INT(again.args_bytes, manifest.args_bytes);
    CHECK_INT(again.problem.hidden, 4096);
    free(a);
    free(b);
    mj_json_free(json);
    mj_json_free(second);
}

/* Each figure of a manifest as a damaged file may have it: good in itself, another than was written. */
TEST(changed_manifests_are_noticed)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\"factor\":", "\"factor\":1"},
        {"\"block_threads\":", "\"block_threads\":1"},
        {"\"smem_bytes\":", "\"smem_bytes\":1"},
        {"\"tile_m\":16", "\"tile_m\":17"},
        {"sha256\":\"aaa", "sha256\":\"aab"},
        {"\"sm_90a\"", "\"sm_80\""},
        {"moejit_gemm1", "moejit_gemm7"},
    };
    mj_manifest manifest = sample_manifest(), out;
    mj_json *json = mj_manifest_to_json(&manifest), *again = NULL;
    char *text = mj_json_print(json, false);
    mj_json_free(json);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char changed[4096];
        mj_error error = {0};
        const char *at = strstr(text, changes[i].from);
        CHECK(at);
        snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, changes[i].to,
                 at + strlen(changes[i].from));
        CHECK_STATUS(parse(changed, &again, &error), MJ_OK);
        mj_status status = mj_manifest_from_json(again, &out, &error);
        mj_json_free(again);
        CHECK_STATUS(status, MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, "manifest_sha256");
    }
    /* A key of another version is part of what was written; without a digest nothing is compared. */
    CHECK_STATUS(parse(text, &again, NULL), MJ_OK);
    mj_json_add_int(again, "of_another_version", 1);
    CHECK_STATUS(mj_manifest_from_json(again, &out, NULL), MJ_ERR_FORMAT);
    mj_json_remove(again, "manifest_sha256");
    CHECK_STATUS(mj_manifest_from_json(again, &out, NULL), MJ_OK);
    mj_json_free(again);
    free(text);
}

/* Every key of a manifest, given a value it must refuse by name. */
TEST(manifest_keys_are_checked)
{
    static const struct { const char *key, *value; } bad[] = {
        {"symbol", "\"a b\""}, {"symbol", "\"\""}, {"symbol", "\"x;\\n\""}, {"symbol", "\"9x\""}, {"symbol", "1"},
        {"op", "\"gemm3\""}, {"family", "null"}, {"family", "\"0123456789012345678901234567890123456789\""}, {"arch", "[]"},
        {"compile_target", "{}"}, {"problem", "\"E=8\""}, {"problem", "\"E=99999/8,topk=2,H=1,N=1\""},
        {"config", "[]"}, {"config", "{\"tile_m\":1e99}"}, {"block_threads", "0"}, {"block_threads", "-128"},
        {"block_threads", "4294967424"}, {"smem_bytes", "-1"}, {"smem_bytes", "4294967296"}, {"smem_bytes", "0.5"},
        {"grid", "[]"}, {"grid", "{}"}, {"grid", "{\"unit\":\"x\"}"},
        {"grid", "{\"unit\":\"tiles\",\"per_block\":0,\"factor\":1,\"blocks_per_sm_max\":0}"},
        {"grid", "{\"unit\":\"tiles\",\"per_block\":1,\"factor\":-1,\"blocks_per_sm_max\":0}"},
        {"grid", "{\"unit\":\"tiles\",\"per_block\":1,\"factor\":0,\"blocks_per_sm_max\":0}"},
        {"args_bytes", "8"}, {"args_bytes", "1000"}, {"args_bytes", "4294967296"}, {"pointer_align_bytes", "0"},
        {"pointer_align_bytes", "24"}, {"pointer_align_bytes", "8192"}, {"tiles_per_row_tile", "-1"},
        {"partial_tile_bytes", "9007199254740992"}, {"partial_block_bytes", "0"}, {"partial_block_bytes", "4294967296"},
        {"counters_per_block", "-1"}, {"counters_per_block", "\"4\""}, {"pair_scratch_bytes", "1.5"}, {"source_sha256", "\"abc\""},
        {"source_sha256", "\"ZZaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
    };
    mj_manifest manifest = sample_manifest(), out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mj_json *json = mj_manifest_to_json(&manifest), *value = NULL;
        mj_error error = {0};
        CHECK_STATUS(parse(bad[i].value, &value, &error), MJ_OK);
        CHECK(mj_json_add(json, bad[i].key, value));
        mj_status status = mj_manifest_from_json(json, &out, &error);
        mj_json_free(json);
        if (status != MJ_ERR_FORMAT || strncmp(error.text, bad[i].key, strlen(bad[i].key)) != 0) {
            check_fail(__FILE__, __LINE__, "%s = %s: status %d \"%s\"", bad[i].key, bad[i].value, status, error.text);
        }
    }
    mj_json *whole = mj_manifest_to_json(&manifest);
    size_t keys = mj_json_count(whole);
    CHECK_INT(keys, 16);
    for (size_t i = 0; i < keys - 1; i++) { /* each key left out; files of earlier versions are without the last */
        mj_json *json = mj_json_object();
        mj_error error = {0};
        for (size_t j = 0; j < keys; j++) {
            if (j != i) {
                mj_json_add(json, mj_json_key(mj_json_at(whole, j)), mj_json_copy(mj_json_at(whole, j)));
            }
        }
        mj_status status = mj_manifest_from_json(json, &out, &error);
        mj_json_free(json);
        CHECK_INT(status, MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, mj_json_key(mj_json_at(whole, i)));
        CHECK_CONTAINS(error.text, "missing");
    }
    mj_json_free(whole);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(accepts_json);
    RUN(refuses_what_is_not_json);
    RUN(limits);
    RUN(readers_name_key_and_range);
    RUN(builds_and_prints);
    RUN(parses_files);
    RUN(configs);
    RUN(manifests_round_trip);
    RUN(changed_manifests_are_noticed);
    RUN(manifest_keys_are_checked);
    return CHECK_END();
}
