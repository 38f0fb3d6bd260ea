/* test_cli_examples.c: every example of every help page is run: measuring ones as a dry run, the sweep on a tiny model. */
#define _GNU_SOURCE
#include "cli.h"
#include "cli_run.h"

/* An example that is run with other words, or that ends otherwise. */
static const struct {
    const char *command, *more; /* words added at the end */
    int code;                   /* also allowed beside CLI_OK */
    const char *says;           /* then stderr or stdout has this */
} ways[] = {
    {"tune", "--dry-run", CLI_OK, NULL},   {"bench", "--dry-run", CLI_OK, NULL},
    {"verify", "--dry-run", CLI_OK, NULL}, {"run", "./config.json 1", CLI_OK, NULL},
    {"why", "", CLI_FAILED, "stages"},    /* refused, and by what */
    {"emit", "", CLI_NO_DEVICE, "NVRTC"}, /* where no compiler for that arch is installed */
};

static void run_example(const char *command, const char *example)
{
    char words[512];
    const char *more = "";
    int code = CLI_OK;
    const char *says = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(ways[i].command, command) == 0) {
            more = ways[i].more;
            code = ways[i].code;
            says = ways[i].says;
        }
    }
    CHECK(strncmp(example, "moejit ", 7) == 0);
    snprintf(words, sizeof words, "%s %s", example + 7, more);
    const cli_run_result *got = cli_run_words(words);
    bool allowed = got->code == code && says && (strstr(got->err, says) || strstr(got->out, says));
    if (got->code != CLI_OK && !allowed) {
        check_fail(__FILE__, __LINE__, "moejit %s: code %d: %.300s", words, got->code, got->err);
    }
    CHECK(got->code != CLI_OK || got->out[0] || strstr(example, "--out"));
}

TEST(examples_of_measuring)
{
    static const cli_command_id ids[] = {CLI_CMD_TUNE, CLI_CMD_BENCH, CLI_CMD_VERIFY, CLI_CMD_RUN};
    for (size_t c = 0; c < sizeof ids / sizeof ids[0]; c++) {
        for (size_t e = 0; e < 6 && cli_commands[ids[c]].examples[e]; e++) {
            run_example(cli_commands[ids[c]].name, cli_commands[ids[c]].examples[e]);
        }
    }
}

TEST(examples_of_all_else)
{
    for (int i = 0; i < CLI_CMD_COUNT; i++) {
        bool measures = i == CLI_CMD_TUNE || i == CLI_CMD_BENCH || i == CLI_CMD_VERIFY || i == CLI_CMD_RUN;
        for (size_t e = 0; !measures && e < 6 && cli_commands[i].examples[e]; e++) {
            run_example(cli_commands[i].name, cli_commands[i].examples[e]);
        }
    }
}

/* A demonstration does not fill the user's store. */
TEST(the_sweep_writes_beside_its_result)
{
    char path[700];
    snprintf(path, sizeof path, "%s/sweep-result.json", cli_home);
    if (access(path, R_OK) != 0) { /* asked for by name: the examples did not run before */
        CHECK_INT(cli_run_words("run lua/examples/sweep.lua ./config.json 1")->code, CLI_OK);
    }
    CHECK_INT(access(path, R_OK), 0);
    snprintf(path, sizeof path, "%s/sweep-store", cli_home);
    CHECK_INT(access(path, R_OK), 0);
    snprintf(path, sizeof path, "%s/.local/share/moejit", cli_home);
    CHECK(access(path, F_OK) != 0);
}

TEST(layouts_side_by_side)
{
    const char *full = getenv("MOEJIT_TEST_FULL");
    const cli_run_result *got = cli_run_words("run lua/examples/layouts.lua mixtral-8x7b two 1");
    CHECK_INT(got->code, CLI_FAILED);
    CHECK_CONTAINS(got->err, "TP must be a whole number");
    CHECK(cli_one_line(got->err));
    got = cli_run_words("run lua/examples/layouts.lua E=2,topk=1,H=64,N=30 1 3");
    CHECK_INT(got->code, CLI_BAD_FILE);
    CHECK_CONTAINS(got->err, "are not whole turns of 8");
    if (!full || strcmp(full, "1") != 0) { /* two benches */
        return;
    }
    got = cli_run_words("run lua/examples/layouts.lua E=2,topk=1,H=64,N=32 1 3");
    CHECK_INT(got->code, CLI_OK);
    CHECK_STRING(got->err, "");
    const char *row = strstr(got->out, "\n     3  ");
    CHECK(row && strstr(row, " us "));
    CHECK_CONTAINS(got->out, "packed / default");
}

int main(int argc, char **argv)
{
    char command[1600];
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    cli_put_file("config.json", "{\"num_local_experts\":8,\"num_experts_per_tok\":2,\"hidden_size\":256,"
                                "\"intermediate_size\":128,\"hidden_act\":\"silu\"}");
    snprintf(command, sizeof command, "ln -s \"$(realpath '%s')/lua\" '%s/lua'", MJ_TEST_SOURCE_DIR, cli_home);
    if (cli_shell(command) != 0) {
        return 2;
    }
    RUN(examples_of_measuring);
    RUN(examples_of_all_else);
    RUN(the_sweep_writes_beside_its_result);
    RUN(layouts_side_by_side);
    cli_clean_home();
    return CHECK_END();
}
