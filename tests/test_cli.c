/* test_cli.c: the `moejit` command from outside: every bad input's line and exit code, help, spellings, JSON. */
#define _GNU_SOURCE
#include "cli.h"
#include "cli_run.h"

typedef struct refusal_row {
    const char *words;
    int code;
    const char *says; /* part of the one line on stderr */
} refusal_row;

/* One line, the documented code, nothing on stdout. */
static void check_refusals(const refusal_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const cli_run_result *got = cli_run_words(rows[i].words);
        if (got->code != rows[i].code || !strstr(got->err, rows[i].says) || !cli_one_line(got->err) || got->out[0]) {
            check_fail(__FILE__, __LINE__, "moejit %s: code %d, '%s', stdout '%.60s'", rows[i].words, got->code,
                       got->err, got->out);
        }
    }
}
#define CHECK_REFUSALS(rows) check_refusals(rows, sizeof rows / sizeof rows[0])

TEST(refuses_wrong_words)
{
    static const refusal_row rows[] = {
        {"tnue", CLI_USAGE, "did you mean tune?"},
        {"zzzzzzzzz", CLI_USAGE, "unknown command"},
        {"tune --modle x", CLI_USAGE, "did you mean --model?"},
        {"tune --batchsize 1", CLI_USAGE, "did you mean --batch-size?"},
        {"gen --force", CLI_USAGE, "gen takes no option --force"},
        {"tune --model", CLI_USAGE, "--model needs a value"},
        {"tune --model --tp 2", CLI_USAGE, "--model needs a value"},
        {"tune --force=yes", CLI_USAGE, "takes no value"},
        {"tune", CLI_USAGE, "--model is missing"},
        {"tune --model mixtral-8x7b --tp 0", CLI_USAGE, "--tp: '0'"},
        {"tune --model mixtral-8x7b --tp -2", CLI_USAGE, "--tp: '-2'"},
        {"tune --model mixtral-8x7b --tp 1.5", CLI_USAGE, "--tp: '1.5'"},
        {"tune --model mixtral-8x7b --tp 99999999999999999999", CLI_USAGE, "--tp: '9999"},
        {"tune --model mixtral-8x7b --batch 0", CLI_USAGE, "--batch: '0'"},
        {"tune --model mixtral-8x7b --batch 1,x", CLI_USAGE, "--batch: 'x'"},
        {"tune --model mixtral-8x7b --batch 99999999", CLI_USAGE, "--batch: '99999999'"},
        {"tune --model mixtral-8x7b --effort qick", CLI_USAGE, "--effort: 'qick'"},
        {"tune --model mixtral-8x7b --budget never", CLI_USAGE, "--budget: 'never'"},
        {"tune --model mixtral-8x7b --mem 4X", CLI_USAGE, "--mem: '4X'"},
        {"tune --model mixtral-8x7b --seed 0x1", CLI_USAGE, "--seed: '0x1'"},
        {"tune --model mixtral-8x7b --routing zipf", CLI_USAGE, "did you mean \"zipf1\"?"},
        {"tune --model mixtral-8x7b extra", CLI_USAGE, "'extra' is one word too many"},
        {"tune --model mixtral-8x7b --family mmma", CLI_USAGE, "mma"},
        {"bench --model mixtral-8x7b --config tile_m=16", CLI_USAGE, "--config needs --family"},
        {"gen --model mixtral-8x7b --gemm 3", CLI_USAGE, "--gemm: '3'"},
        {"gen --model mixtral-8x7b --op gem1", CLI_USAGE, "gemm1"},
        {"gen --model mixtral-8x7b --arch sm_90", CLI_USAGE, "sm_90a"},
        {"gen --model mixtral-8x7b --arch sm_90a,cpu", CLI_USAGE, "gen takes one --arch"},
        {"gen --model mixtral-8x7b --family mma --config tilem=16", CLI_USAGE, "did you mean tile_m?"},
        {"gen --model mixtral-8x7b --problem E=1", CLI_USAGE, "--problem says everything"},
        {"gen --problem E=4,topk=2,H=64,N=64 --model-prefix x", CLI_USAGE, "leave out --model, --model-prefix"},
        {"gen --problem E=1", CLI_USAGE, "--problem"},
        {"emit --model mixtral-8x7b --json", CLI_USAGE, "--json needs --out"},
        {"emit --model mixtral-8x7b --arch cpu,sm_80,cpu", CLI_USAGE, "--arch cpu is there twice"},
        {"emit --model mixtral-8x7b --config tile_m=16", CLI_USAGE, "--config needs --family"},
        {"bench --model mixtral-8x7b --force", CLI_USAGE, "--force: bench always measures"},
        {"bench --model mixtral-8x7b --effort full", CLI_USAGE, "--effort: bench always measures"},
        {"--model mixtral-8x7b --effort full", CLI_USAGE, "this is for tune"},
        {"bench --model mixtral-8x7b --gemm 3", CLI_USAGE, "--gemm: '3' is not 1, 2 or 1,2"},
        {"verify --model mixtral-8x7b --gemm 1,x", CLI_USAGE, "--gemm: 'x' is not 1, 2 or 1,2"},
        {"tune --model mixtral-8x7b --arch gfx1100", CLI_USAGE, "with --effort estimate"},
        {"tune --model mixtral-8x7b --effort estimate --arch gfx1010", CLI_USAGE, "gfx1100"},
        {"bench --effort estimate --arch gfx1100 --device cpu --routing all", CLI_USAGE, "give one of them"},
        {"bench --model mixtral-8x7b --against refrence", CLI_USAGE, "reference"},
        {"bench --model mixtral-8x7b --effort estimate --against mma", CLI_USAGE, "--against: nothing is timed"},
        {"tune --model mixtral-8x7b --against mma", CLI_USAGE, "tune takes no option --against"},
        {"tune --routing all", CLI_USAGE, "--model is missing"},
        {"bench --gemm 1", CLI_USAGE, "--model is missing"},
        {"run", CLI_USAGE, "which script"},
        {"cache lss", CLI_USAGE, "did you mean ls"},
        {"help exit-code", CLI_USAGE, "did you mean exit-codes?"},
        {"bench --model mixtral-8x7b --tp 2 --enable-expert-parallel --ep 2", CLI_USAGE, "give one of them"},
    };
    CHECK_REFUSALS(rows);
}

TEST(refuses_wrong_models)
{
    static const refusal_row rows[] = {
        {"tune --model mixtrl-8x7b", CLI_USAGE, "mixtral-8x7b"},
        {"tune --model someone/Unheard-Of-9B", CLI_USAGE, "someone/Unheard-Of-9B"},
        {"tune --model mixtral-8x7b --tp 3", CLI_USAGE, "14336"},
        {"tune --model mixtral-8x7b --ep 3", CLI_USAGE, "8"},
        {"tune --model mixtral-8x7b --model-prefix text_config", CLI_USAGE, "--model-prefix"},
        {"tune --model ./none.json", CLI_BAD_FILE, "./none.json"},
        {"tune --model ./bad.json", CLI_BAD_FILE, "./bad.json"},
        {"tune --model ./nokey.json", CLI_BAD_FILE, "num_experts_per_tok"},
        {"tune --model ./negative.json", CLI_BAD_FILE, "num_local_experts: -8"},
        {"tune --model ./topk.json", CLI_BAD_FILE, "9 experts per token are more than the 8 experts"},
        {"tune --model ./good.json --model-prefix nope", CLI_BAD_FILE, "nope: no such object"},
        {"tune --model ./good.json --tp 5", CLI_USAGE, "./good.json"},
    };
    cli_put_file("bad.json", "{ not json");
    cli_put_file("nokey.json", "{\"num_local_experts\":8,\"hidden_size\":64,\"intermediate_size\":32}");
    cli_put_file("negative.json", "{\"num_local_experts\":-8,\"num_experts_per_tok\":2,\"hidden_size\":64}");
    cli_put_file("topk.json", "{\"num_local_experts\":8,\"num_experts_per_tok\":9,\"hidden_size\":64,"
                              "\"intermediate_size\":32}");
    CHECK_REFUSALS(rows);
}

TEST(answers_vllm_spellings)
{
    static const refusal_row rows[] = {
        {"--model mixtral-8x7b --tune --use-deep-gemm", CLI_USAGE, "DeepGEMM"},
        {"--model mixtral-8x7b --tune --trust-remote-code", CLI_USAGE, "no model code is ever run"},
        {"--model mixtral-8x7b --dtype int8_w8a16 --tune", CLI_USAGE, "int8_w8a16: known, but not in this version"},
        {"tune --model mixtral-8x7b --dtype mxfp4", CLI_USAGE, "mxfp4: known, but not in this version"},
        {"tune --model mixtral-8x7b --dtype bf17", CLI_USAGE, "bf16"},
    };
    CHECK_REFUSALS(rows);
    static const char *const served[] = {"fp8_w8a8", "int4_w4a16"};
    const cli_run_result *got;
    for (size_t i = 0; i < sizeof served / sizeof served[0]; i++) {
        char words[120];
        snprintf(words, sizeof words, "--model mixtral-8x7b -tp 2 --dtype %s --batch-size 1 --tune --dry-run",
                 served[i]);
        got = cli_run_words(words);
        CHECK_INT(got->code, CLI_OK);
        CHECK_CONTAINS(got->out, "candidates");
    }
    got = cli_run_words(
        "gen --model mistralai/Mixtral-8x7B-Instruct-v0.1 -tp 2 --dtype float16 --arch sm_90a --manifest");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "N=7168");
    CHECK_CONTAINS(got->out, "scheme=fp16");
    got = cli_run_words(
        "gen --model mixtral-8x7b --tensor-parallel-size=2 --enable-expert-parallel --arch sm_90a --manifest");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "E=4/8");
    CHECK_CONTAINS(got->out, "N=14336");
}

TEST(refuses_what_cannot_be_written)
{
    static const refusal_row rows[] = {
        {"tune --model qwen3-30b-a3b --save-dir /proc/nowhere", CLI_NOT_SAVED, "/proc/nowhere"},
        {"tune --model qwen3-30b-a3b --save-dir ./plain_file", CLI_NOT_SAVED, "plain_file"},
        {"gen --model mixtral-8x7b --arch sm_90a --out /proc/x.cu", CLI_NOT_SAVED, "/proc/x.cu"},
        {"emit --model mixtral-8x7b --arch cpu --batch 1 --out /proc/pack", CLI_NOT_SAVED, "/proc/pack"},
    };
    cli_put_file("plain_file", "x");
    CHECK_REFUSALS(rows);
    /* a full disk under stdout */
    char command[1024];
    snprintf(command, sizeof command, "'%s/moejit' models >/dev/full 2>/dev/null", MJ_TEST_BUILD_DIR);
    CHECK_INT(cli_shell(command), CLI_NOT_SAVED);
}

/* A file that may not grow stands for a full disk. */
TEST(keeps_the_old_file_when_the_disk_is_full)
{
    char command[2400], path[700];
    size_t bytes;
    cli_put_file("old.cu", "old text");
    snprintf(command, sizeof command,
             "cd '%s' && ulimit -f 2 && '%s/moejit' gen --model mixtral-8x7b --arch sm_90a --out old.cu 2>full.err",
             cli_home, check_build_dir());
    CHECK_INT(cli_shell(command), CLI_NOT_SAVED);
    snprintf(path, sizeof path, "%s/old.cu", cli_home);
    char *text = cli_slurp(path, &bytes);
    bool intact = strcmp(text, "old text") == 0;
    free(text);
    CHECK(intact);
    snprintf(path, sizeof path, "%s/full.err", cli_home);
    text = cli_slurp(path, &bytes);
    bool said = strstr(text, "old.cu") && cli_one_line(text);
    free(text);
    CHECK(said);
}

TEST(refuses_absent_devices)
{
    static const refusal_row rows[] = {
        {"devices --device cuda:99", CLI_NO_DEVICE, "cuda:99"},
        {"tune -q --model qwen3-30b-a3b --batch 1 --device cuda:99", CLI_NO_DEVICE, "cuda:99"},
        {"bench -q --model qwen3-30b-a3b --batch 1 --device cuda:99", CLI_NO_DEVICE, "cuda:99"},
        {"verify -q --model qwen3-30b-a3b --batch 1 --device cuda:99", CLI_NO_DEVICE, "cuda:99"},
        {"bench -q --device hip:63 --scheme int4_w4a16 --routing all --gemm 1,2", CLI_NO_DEVICE, "hip:63"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const cli_run_result *got = cli_run_words(rows[i].words);
        if (got->code != rows[i].code || !strstr(got->err, rows[i].says)) {
            check_fail(__FILE__, __LINE__, "moejit %s: code %d, '%s'", rows[i].words, got->code, got->err);
        }
    }
}

TEST(weight_layouts_by_name)
{
    static const char *const commands[] = {"gen",  "why",   "emit --arch cpu --batch 1 --out x",
                                           "tune", "bench", "verify"};
    const cli_run_result *got = NULL;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char words[160];
        snprintf(words, sizeof words, "%s --model mixtral-8x7b --layout interleave8", commands[i]);
        got = cli_run_words(words);
        CHECK_INT(got->code, CLI_USAGE);
        CHECK_CONTAINS(got->err, "--layout: no weight layout \"interleave8\"; did you mean \"interleaved8\"?");
    }
    got = cli_run_words("gen --manifest --arch sm_90a --op gemm1_act --model mixtral-8x7b --layout interleaved8");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "layout=interleaved8");
    got = cli_run_words("gen --manifest --arch sm_90a --problem E=4,topk=2,H=64,N=64 --layout=interleaved8");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "layout=interleaved8");
    got = cli_run_words("gen --problem E=4,topk=2,H=64,N=60 --layout interleaved8");
    CHECK_INT(got->code, CLI_USAGE);
    CHECK_CONTAINS(got->err, "60 gate rows (N) are not whole turns of 8");
    got = cli_run_words("why --model mixtral-8x7b --arch gfx942 --family mfma --layout interleaved8");
    CHECK_CONTAINS(got->out, "layout_of_space");
    got = cli_run_words("routing --model mixtral-8x7b --layout default");
    CHECK_INT(got->code, CLI_USAGE);
}

/* ---- Help ---- */
TEST(helps_with_every_command)
{
    static const char *const shared[] = {"usage: moejit", "Options:", "Examples:", "--help", "--version"};
    for (int i = 0; i < CLI_CMD_COUNT; i++) {
        char words[64];
        snprintf(words, sizeof words, "%s --help", cli_commands[i].name);
        const cli_run_result *got = cli_run_words(words);
        bool direct = i != CLI_CMD_HELP;
        CHECK_INT(got->code, CLI_OK);
        for (size_t s = 0; direct && s < sizeof shared / sizeof shared[0]; s++) {
            CHECK_CONTAINS(got->out, shared[s]);
        }
        CHECK(cli_commands[i].examples[0] != NULL);
        if (direct) {
            CHECK_CONTAINS(got->out, cli_commands[i].examples[0]);
        }
    }
}

TEST(help_lists_the_options_of_a_tune)
{
    static const char *const options[] = {
        "--model",  "--model-prefix", "--tp",     "--tp-size", "-tp",       "--ep",   "--enable-expert-parallel",
        "--scheme", "--dtype",        "--batch",  "--device",  "--routing", "--seed", "--save-dir",
        "--effort", "--budget",       "--mem",    "--force",   "--dry-run", "--json", "--verbose",
        "--quiet",  "--tune",         "--layout", "--version"};
    const cli_run_result *got = cli_run_words("tune --help");
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        CHECK_CONTAINS(got->out, options[i]);
    }
    static const char *const kernel[] = {"--arch", "--family", "--gemm", "--config", "--out", "--scheme", "--ep"};
    got = cli_run_words("help gen");
    for (size_t i = 0; i < sizeof kernel / sizeof kernel[0]; i++) {
        CHECK_CONTAINS(got->out, kernel[i]);
    }
}

/* Every example on a help page is a line that the parser takes. */
TEST(help_examples_parse)
{
    for (int i = 0; i < CLI_CMD_COUNT; i++) {
        for (size_t e = 0; e < 6 && cli_commands[i].examples[e]; e++) {
            char line[256], *words[64], *save = NULL;
            int count = 0;
            snprintf(line, sizeof line, "%s", cli_commands[i].examples[e]);
            for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                words[count++] = word;
            }
            cli_options options;
            CHECK_INT(cli_parse(count, words, &options), CLI_OK);
            CHECK_INT(options.command, i);
            cli_options_free(&options);
        }
    }
}

TEST(help_topics)
{
    const cli_run_result *got = cli_run_words("help exit-codes");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, " 130  interrupted");
    got = cli_run_words("help lua");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "moe.tune(space or nil, problem, options)");
    got = cli_run_words("help environment");
    CHECK_CONTAINS(got->out, "MOEJIT_NVRTC");
    got = cli_run_words("--version");
    CHECK_STRING(got->out, "moejit " MOEJIT_VERSION_STRING "\n");
}

TEST(readme_has_the_exit_codes)
{
#define EXIT_LINE(id, code, text) "| " #code " | " text " |",
    static const char *const lines[] = {CLI_EXIT_LIST(EXIT_LINE)};
#undef EXIT_LINE
    size_t bytes;
    char *readme = cli_slurp(MJ_TEST_SOURCE_DIR "/README.md", &bytes);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!strstr(readme, lines[i])) {
            check_fail(__FILE__, __LINE__, "README.md has no line '%s'", lines[i]);
        }
    }
    free(readme);
}

/* ---- Parsing ---- */
TEST(parses_lists_and_forms)
{
    char *words[] = {"moejit",
                     "bench",
                     "--model=x",
                     "--batch",
                     (char[]){"1,2"},
                     "4",
                     (char[]){"4"},
                     "--batch",
                     "16",
                     "--tp=2",
                     "--mem",
                     "1.5G",
                     "--budget",
                     "2m",
                     "-v",
                     "-v",
                     "-q",
                     "--routing",
                     (char[]){"uniform,zipf1"}};
    char copies[19][32], *argv[19];
    for (int i = 0; i < 19; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", words[i]);
        argv[i] = copies[i];
    }
    cli_options options;
    CHECK_INT(cli_parse(19, argv, &options), CLI_OK);
    CHECK_INT(options.token_count_count, 4);
    CHECK_INT(options.token_counts[2], 4);
    CHECK_INT(options.token_counts[3], 16);
    CHECK_INT(options.tp, 2);
    CHECK_INT((long long)options.device_bytes_max, 1610612736LL);
    CHECK(options.budget_seconds == 120);
    CHECK_INT(options.verbose, 2);
    CHECK_INT(options.routing.count, 2);
    cli_options_free(&options);
}

TEST(parses_benchmark_moe_lines)
{
    char copies[8][48], *argv[8];
    static const char *const words[8] = {"moejit", "--model", "x/y", "--batch-size", "1", "16", "-enable-ep", "--tune"};
    for (int i = 0; i < 8; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", words[i]);
        argv[i] = copies[i];
    }
    cli_options options;
    CHECK_INT(cli_parse(8, argv, &options), CLI_OK);
    CHECK_INT(options.command, CLI_CMD_TUNE);
    CHECK_INT(options.ep, 2); /* that tool's default of two ranks */
    CHECK_INT(options.tp, 1);
    CHECK_INT(options.token_count_count, 2);
    cli_options_free(&options);
    CHECK_INT(cli_parse(3, argv, &options), CLI_OK);
    CHECK_INT(options.command, CLI_CMD_BENCH);
    cli_options_free(&options);
}

/* ---- Reports ---- */
static bool parses(const char *text)
{
    mj_json *root = NULL;
    mj_status status = mj_json_parse(text, strlen(text), "stdout", &root, NULL);
    mj_json_free(root);
    return status == MJ_OK;
}

TEST(json_parses)
{
    static const char *const lines[] = {
        "devices --json",
        "models --json",
        "models qwen3-30b-a3b --json",
        "routing --model qwen3-30b-a3b --batch 1,64 --json --ep 4",
        "why --model mixtral-8x7b --arch sm_90a --family mma --json",
        "gen --model mixtral-8x7b --arch sm_90a --manifest",
        "cache ls --json",
        "cache clean --json",
        "tune --model qwen3-30b-a3b --batch 1 --device cpu --dry-run --json",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const cli_run_result *got = cli_run_words(lines[i]);
        if (got->code != CLI_OK || !parses(got->out)) {
            check_fail(__FILE__, __LINE__, "moejit %s: code %d, %s%.80s", lines[i], got->code, got->err, got->out);
        }
    }
}

TEST(models_show_where_numbers_come_from)
{
    const cli_run_result *got = cli_run_words("models");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "mixtral-8x7b");
    CHECK_CONTAINS(got->out, "unverified");
    got = cli_run_words("models ./good.json");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "8, 2 per token");
}

/* A config.json's quantization_config picks the scheme; --scheme wins over it, whatever it says. */
TEST(quantised_models_pick_a_scheme)
{
    static const struct {
        const char *words;
        int code;
        const char *text;
    } rows[] = {
        {"models ./fp8.json", CLI_OK, "scheme         fp8_w8a8_block"},
        {"models ./fp8.json --json", CLI_OK, "\"scheme\": \"fp8_w8a8_block\""},
        {"models ./int4.json", CLI_OK, "pack them anew"},
        {"models ./mxfp4.json", CLI_OK, "scheme         ./mxfp4.json: mxfp4 is not served in this version"},
        {"models ./broken.json", CLI_BAD_FILE, "quant_method: \"gtpq\" is not known; did you mean \"gptq\"?"},
        {"gen --manifest --family reference --arch sm_90a --model ./fp8.json", CLI_OK, "scheme=fp8_w8a8_block"},
        {"gen --manifest --family reference --arch sm_90a --model ./int4.json", CLI_OK, "scheme=int4_w4a16_zp_fp16"},
        {"gen --manifest --family reference --arch sm_90a --model ./mxfp4.json", CLI_USAGE,
         "mxfp4 is not served in this version"},
        {"gen --manifest --family reference --arch sm_90a --model ./broken.json", CLI_BAD_FILE, "did you mean"},
        {"gen --manifest --family reference --arch sm_90a --model ./mxfp4.json --scheme bf16", CLI_OK, "scheme=bf16"},
        {"gen --manifest --family reference --arch sm_90a --model ./broken.json --scheme fp8_w8a8", CLI_OK,
         "scheme=fp8_w8a8,"},
        {"gen --manifest --family reference --arch sm_90a --model ./fp8.json --dtype auto", CLI_OK,
         "scheme=fp8_w8a8_block"},
    };
    static const char *const files[][2] = {
        {"fp8.json", "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}"},
        {"int4.json", "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":128,\"zero_point\":true}"},
        {"mxfp4.json", "{\"quant_method\":\"mxfp4\"}"},
        {"broken.json", "{\"quant_method\":\"gtpq\"}"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char text[600];
        snprintf(text, sizeof text,
                 "{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":256,\"intermediate_size\":128,"
                 "\"torch_dtype\":\"float16\",\"quantization_config\":%s}",
                 files[i][1]);
        cli_put_file(files[i][0], text);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const cli_run_result *got = cli_run_words(rows[i].words);
        if (got->code != rows[i].code || !strstr(rows[i].code == CLI_OK ? got->out : got->err, rows[i].text)) {
            check_fail(__FILE__, __LINE__, "moejit %s: code %d, %s%.200s", rows[i].words, got->code, got->err,
                       got->out);
        }
    }
}

/* What the text form says of AMD's compiler, and nothing where there is none. */
TEST(devices_list_amds_compiler)
{
    const cli_run_result *got = cli_run_words("devices --json --device cpu");
    CHECK_INT(got->code, CLI_OK);
    CHECK(!strstr(got->out, "\"backend\""));
    char path[600];
    snprintf(path, sizeof path, "%s/tests/libfake_hiprtc.so", MJ_TEST_BUILD_DIR);
    char *real = realpath(path, NULL);
    char *kept = getenv("MOEJIT_HIPRTC") ? strdup(getenv("MOEJIT_HIPRTC")) : NULL;
    setenv("MOEJIT_HIPRTC", real, 1);
    setenv("FAKE_HIPRTC", "targets=gfx90a", 1);
    got = cli_run_words("devices --json");
    mj_json *root = NULL;
    CHECK_INT(got->code, CLI_OK);
    CHECK_STATUS(mj_json_parse(got->out, strlen(got->out), "stdout", &root, NULL), MJ_OK);
    const mj_json *compiler = mj_json_at(mj_json_get(root, "compilers"), 0),
                  *targets = mj_json_get(compiler, "targets");
    CHECK(mj_json_count(mj_json_get(root, "devices")) >= 1);
    CHECK_STRING(mj_json_value_string(mj_json_get(compiler, "backend")), "hip");
    CHECK_CONTAINS(mj_json_value_string(mj_json_get(compiler, "path")), "libfake_hiprtc.so");
    CHECK_INT(mj_json_count(targets), 1);
    CHECK_STRING(mj_json_value_string(mj_json_at(targets, 0)), "gfx90a");
    CHECK_INT(mj_json_count(mj_json_get(compiler, "not_targets")), 6);
    mj_json_free(root);
    got = cli_run_words("devices");
    CHECK_CONTAINS(got->out, "compiles for gfx90a, not for");
    unsetenv("FAKE_HIPRTC");
    if (kept) {
        setenv("MOEJIT_HIPRTC", kept, 1);
    } else {
        unsetenv("MOEJIT_HIPRTC");
    }
    free(real);
    free(kept);
}

TEST(routing_needs_no_device)
{
    const cli_run_result *got = cli_run_words("routing --model qwen3-30b-a3b --routing balanced,hot16 --batch 64");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "balanced");
    CHECK_CONTAINS(got->out, "useful");
    char *first = strdup(got->out);
    got = cli_run_words("routing --model qwen3-30b-a3b --routing balanced,hot16 --batch 64");
    bool same = strcmp(first, got->out) == 0;
    free(first);
    CHECK(same);
}

/* 16 rows per expert: a block of 32 is half full, which is not skinny; one of 64 is. */
TEST(routing_counts_skinny_blocks)
{
    const cli_run_result *got = cli_run_words("routing --problem E=8/8,topk=2,H=256,N=128,gated=1,act=silu,bias=0,"
                                              "scheme=bf16,layout=default --routing balanced --batch 64");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "half full");
    CHECK_CONTAINS(got->out, " 100.0  50.0  25.0  12.5   6.2    0.0   0.0 100.0 100.0 100.0");
}

/* ---- Kernels on paper ---- */
static void find_command(const char *text, char *out, size_t bytes)
{
    const char *line = strstr(text, "moejit gen ");
    size_t length = line ? strcspn(line, "\n") : 0;
    out[0] = '\0';
    if (line && length < bytes) {
        snprintf(out, bytes, "%.*s", (int)length, line + strlen("moejit "));
        out[length - strlen("moejit ")] = '\0';
    }
}

TEST(gen_recreates_itself)
{
    static const char *const lines[] = {
        "gen --model mixtral-8x7b --tp 2 --arch sm_90a", "gen --model qwen3-30b-a3b --arch sm_80 --gemm 2 --batch 1",
        "gen --model gpt-oss-20b --arch sm_90a --family reference",
        "gen --model mixtral-8x7b --arch sm_90a --op tables",
        "gen --model mixtral-8x7b --tp 2 --dtype fp16 --ep 2 --arch sm_120a --batch 512"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char command[2048];
        const cli_run_result *got = cli_run_words(lines[i]);
        CHECK_INT(got->code, CLI_OK);
        char *first = strdup(got->out);
        find_command(first, command, sizeof command);
        got = cli_run_words(command[0] ? command : "gen");
        bool same = strcmp(first, got->out) == 0 && got->out[0];
        free(first);
        if (!same) {
            check_fail(__FILE__, __LINE__, "moejit %s: '%s' does not give the same text: %s", lines[i], command,
                       got->err);
        }
    }
}

TEST(gen_writes_files)
{
    char path[700];
    size_t bytes = 0;
    CHECK_INT(cli_run_words("gen --model mixtral-8x7b --arch sm_90a --out k.cu")->code, CLI_OK);
    CHECK_STRING(cli_last.out, "");
    snprintf(path, sizeof path, "%s/k.cu", cli_home);
    char *text = cli_slurp(path, &bytes);
    bool kernel = bytes > 1000 && strstr(text, "moejit gen ");
    free(text);
    CHECK(kernel);
}

TEST(why_says_legal_or_the_rules)
{
    const cli_run_result *got = cli_run_words("why --model mixtral-8x7b --tp 2 --arch sm_90a --family mma");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "configs are legal");
    got = cli_run_words("why --model mixtral-8x7b --tp 2 --arch sm_86 --family mma "
                        "--config tile_m=256,tile_n=256,tile_k=128,stages=4");
    CHECK_INT(got->code, CLI_FAILED);
    CHECK_CONTAINS(got->out, "illegal");
    CHECK_CONTAINS(got->out, "refused by ");
    got = cli_run_words("gen --model mixtral-8x7b --tp 2 --arch sm_86 --family mma "
                        "--config tile_m=256,tile_n=256,tile_k=128,stages=4");
    CHECK_INT(got->code, CLI_FAILED);
    CHECK_STRING(got->out, "");
    CHECK(cli_one_line(got->err));
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    cli_put_file("good.json", "{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":256,"
                              "\"intermediate_size\":128,\"hidden_act\":\"silu\"}");
    RUN(refuses_wrong_words);
    RUN(refuses_wrong_models);
    RUN(answers_vllm_spellings);
    RUN(refuses_what_cannot_be_written);
    RUN(keeps_the_old_file_when_the_disk_is_full);
    RUN(refuses_absent_devices);
    RUN(weight_layouts_by_name);
    RUN(helps_with_every_command);
    RUN(help_lists_the_options_of_a_tune);
    RUN(help_examples_parse);
    RUN(help_topics);
    RUN(readme_has_the_exit_codes);
    RUN(parses_lists_and_forms);
    RUN(parses_benchmark_moe_lines);
    RUN(json_parses);
    RUN(models_show_where_numbers_come_from);
    RUN(quantised_models_pick_a_scheme);
    RUN(devices_list_amds_compiler);
    RUN(routing_needs_no_device);
    RUN(routing_counts_skinny_blocks);
    RUN(gen_recreates_itself);
    RUN(gen_writes_files);
    RUN(why_says_legal_or_the_rules);
    cli_clean_home();
    return CHECK_END();
}
