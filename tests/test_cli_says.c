/* test_cli_says.c: what commands say of folders that are not there or hold something else, of dry runs, and in their help. */
#define _GNU_SOURCE
#include "cli.h"
#include "cli_run.h"

#define LAYER "--problem E=4/4,topk=2,H=64,N=32,gated=1,act=silu,bias=0,scheme=bf16,layout=default"

TEST(data_that_cannot_be_read_is_a_bad_file)
{
    static const char *const commands[] = {"devices", "models", "gen --model mixtral-8x7b", "why --model mixtral-8x7b",
                                           "verify --model mixtral-8x7b"};
    static const struct {
        const char *folder, *says;
    } rows[] = {{"./no/such", "data folder ./no/such: No such file"},
                {"./a_file", "data folder ./a_file: not a folder"},
                {"./empty", "data folder ./empty: holds neither lua/ nor templates/"}};
    char words[300], path[700];
    cli_put_file("a_file", "x");
    snprintf(path, sizeof path, "%s/empty", cli_home);
    mkdir(path, 0700);
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            snprintf(words, sizeof words, "%s --data-dir %s", commands[c], rows[i].folder);
            const cli_run_result *got = cli_run_words(words);
            CHECK_INT(got->code, CLI_BAD_FILE);
            CHECK_CONTAINS(got->err, rows[i].says);
            CHECK(cli_one_line(got->err));
            CHECK_STRING(got->out, "");
        }
    }
    setenv("MOEJIT_DATA_DIR", "./no/such", 1);
    CHECK_INT(cli_run_words("devices")->code, CLI_BAD_FILE);
    CHECK_INT(cli_run_words("cache ls")->code, CLI_OK); /* it reads none */
    unsetenv("MOEJIT_DATA_DIR");
}

TEST(a_bad_config_is_a_bad_command_line)
{
    static const char *const commands[] = {"why --model mixtral-8x7b --family mma --config tile_m",
                                           "gen --model mixtral-8x7b --family mma --config tile_m=1,tile_m=2",
                                           "bench --model mixtral-8x7b --family mma --config tile_m=x"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const cli_run_result *got = cli_run_words(commands[i]);
        CHECK_INT(got->code, CLI_USAGE);
        CHECK_CONTAINS(got->err, "--config: ");
        CHECK(cli_one_line(got->err));
    }
}

/* What is tuned is what bench and verify look at: a forecast of no rows would be of another command. */
TEST(dry_runs_count_what_is_tuned_already)
{
    static const char *const commands[] = {"bench", "verify"};
    char words[400];
    CHECK_INT(cli_run_words("tune -q " LAYER " --mem 64M --device cpu --gemm 1 --batch 1 2 --effort quick")->code,
              CLI_OK);
    CHECK_INT(cli_run_words("tune -q " LAYER " --device cpu --gemm 1 --batch 1 2 --dry-run")->code, CLI_OK);
    CHECK_CONTAINS(cli_last.out, ": 0 rows");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        snprintf(words, sizeof words, "%s -q " LAYER " --device cpu --gemm 1 --batch 1 2 --dry-run", commands[i]);
        CHECK_INT(cli_run_words(words)->code, CLI_OK);
        CHECK_CONTAINS(cli_last.out, ": 4 rows, 4 candidates");
    }
}

TEST(emit_on_stdout_names_no_file)
{
    CHECK_INT(cli_run_words("emit " LAYER " --arch cpu --batch 1 --family reference")->code, CLI_OK);
    CHECK_CONTAINS(cli_last.err, "stdout: cpu: ");
    CHECK(!strstr(cli_last.err, "C source") && !strstr(cli_last.err, "moejit-emit-"));
}

TEST(why_says_a_limit_once)
{
    CHECK_INT(cli_run_words("why --model mixtral-8x7b --tp 2 --arch sm_80 --family mma --config stages=8")->code,
              CLI_FAILED);
    const char *limit = strstr(cli_last.out, ", limit ");
    CHECK(limit && !strstr(limit + strlen(", limit "), "limit"));
    CHECK(!strstr(cli_last.out, "measured"));
}

/* Which is why only the CPU is listed. */
TEST(devices_without_a_gpu_say_what_is_missing)
{
    setenv("MOEJIT_LIBCUDA", "/no/such/libcuda.so", 1);
    setenv("MOEJIT_LIBHIP", "/no/such/libamdhip64.so", 1);
    int code = cli_run_words("devices")->code;
    unsetenv("MOEJIT_LIBCUDA");
    unsetenv("MOEJIT_LIBHIP");
    CHECK_INT(code, CLI_OK);
    CHECK_CONTAINS(cli_last.out, "\nno NVIDIA driver, no HIP runtime found\n");
}

#define OTHER "--problem E=2/2,topk=1,H=64,N=32,gated=1,act=silu,bias=0,scheme=bf16,layout=default"
#define PACK  " --arch cpu --batch 1 --family reference --out pack"

static int pack_files(void)
{
    char command[1200], path[700];
    size_t bytes;
    snprintf(command, sizeof command, "cd '%s' && ls pack | grep -v -e mine -e registry >listed; wc -l <listed >count", cli_home);
    cli_shell(command);
    snprintf(path, sizeof path, "%s/count", cli_home);
    char *text = cli_slurp(path, &bytes);
    int count = (int)strtol(text, NULL, 10);
    free(text);
    return count;
}

/* One folder is one pack: another problem's is not mixed with it, and what else lies there is nobody's business. */
TEST(emit_does_not_write_over_another_pack)
{
    static const char *const mine[] = {"pack/mine.txt", "pack/moejit_pack_registry.c"};
    char path[700];
    CHECK_INT(cli_run_words("emit -q " LAYER PACK)->code, CLI_OK);
    int files = pack_files();
    CHECK_INT(cli_run_words("emit -q " LAYER PACK)->code, CLI_OK); /* once more is fine */
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
        cli_put_file(mine[i], "mine");
    }
    const cli_run_result *got = cli_run_words("emit -q " OTHER PACK);
    CHECK_INT(got->code, CLI_NOT_SAVED);
    CHECK(cli_one_line(got->err));
    CHECK_CONTAINS(got->err, "pack: holds the pack of another problem (E=4/4,");
    CHECK_CONTAINS(got->err, "--force");
    CHECK_INT(pack_files(), files);
    CHECK_INT(cli_run_words("emit -q --force " OTHER PACK)->code, CLI_OK);
    CHECK_INT(pack_files(), files);
    for (size_t i = 0; i < sizeof mine / sizeof mine[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", cli_home, mine[i]);
        CHECK(access(path, R_OK) == 0);
    }
    CHECK_INT(cli_run_words("emit -q " OTHER " --arch sm_90a --batch 1 --family reference --out pack")->code,
              CLI_NOT_SAVED);
    CHECK_CONTAINS(cli_last.err, "pack: holds the pack of another arch (cpu)");
    cli_put_file("pack/pack.json", "{ damaged");
    CHECK_INT(cli_run_words("emit -q " OTHER PACK)->code, CLI_NOT_SAVED);
    CHECK_CONTAINS(cli_last.err, "pack.json");
    CHECK(cli_one_line(cli_last.err));
    CHECK_INT(cli_run_words("emit -q -f " OTHER PACK)->code, CLI_OK);
}

static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        char before = at > text ? at[-1] : ' ', after = at[length];
        if (strchr(" \n(", before) && (strchr(" \n,;):", after) || !after)) {
            return true;
        }
    }
    return false;
}

/* What the tables hold, the help lists. */
TEST(help_lists_what_there_is)
{
    mj_spec_options options = {0};
    mj_spec *spec = NULL;
    mj_error error = {MJ_OK, ""};
    CHECK_STATUS(mj_spec_load(&options, &spec, NULL, &error), MJ_OK);
    const char *text = cli_run_words("gen --help")->out;
    for (uint32_t i = 0; i < mj_spec_arch_count(spec); i++) {
        const mj_arch *arch = mj_spec_arch_at(spec, i);
        if (!has_word(text, arch->name)) {
            check_fail(__FILE__, __LINE__, "arch %s is not in the help", arch->name);
        }
        for (uint32_t f = 0; f < arch->families.count; f++) {
            const char *family = arch->families.items[f];
            if (strcmp(family, "simple") != 0 && !has_word(text, family)) { /* which serves the simple ops alone */
                check_fail(__FILE__, __LINE__, "family %s is not in the help", family);
            }
        }
    }
    for (int op = 0; op < MJ_OP_COUNT; op++) {
        bool helps = op == MJ_OP_FILL || op == MJ_OP_COMPARE || op == MJ_OP_STREAM; /* no step of the layer */
        if (!helps && !has_word(text, mj_op_name((mj_op)op))) {
            check_fail(__FILE__, __LINE__, "op %s is not in the help", mj_op_name((mj_op)op));
        }
    }
    mj_spec_free(spec);
    CHECK_CONTAINS(text, "cuda, hip or host");
    CHECK_CONTAINS(text, "gen, why: 64");
    CHECK_CONTAINS(cli_run_words("tune --help")->out, "cuda:0, hip:0, cpu or best");
    CHECK_CONTAINS(cli_last.out, "whatever the model was");
    CHECK_CONTAINS(cli_last.out, "roofline are of gemm1 and gemm2 together");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    RUN(data_that_cannot_be_read_is_a_bad_file);
    RUN(a_bad_config_is_a_bad_command_line);
    RUN(dry_runs_count_what_is_tuned_already);
    RUN(emit_on_stdout_names_no_file);
    RUN(why_says_a_limit_once);
    RUN(devices_without_a_gpu_say_what_is_missing);
    RUN(emit_does_not_write_over_another_pack);
    RUN(help_lists_what_there_is);
    cli_clean_home();
    return CHECK_END();
}
