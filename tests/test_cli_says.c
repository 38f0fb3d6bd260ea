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

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    RUN(data_that_cannot_be_read_is_a_bad_file);
    RUN(a_bad_config_is_a_bad_command_line);
    RUN(dry_runs_count_what_is_tuned_already);
    RUN(emit_on_stdout_names_no_file);
    cli_clean_home();
    return CHECK_END();
}
