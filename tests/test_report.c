/* The reports of made-up results: what is known is said, and nothing else. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>

#include "cli.h"
#include "cli_kernel.h"
#include "report.h"

static const mj_problem tiny = {.expert_count = 4,
                                .expert_total_count = 4,
                                .top_k = 2,
                                .hidden = 64,
                                .intermediate = 48,
                                .gated = true,
                                .scheme = "bf16",
                                .layout = "default"};
static mj_tune_row rows[2];
static mj_tune_result result;
static report_subject subject;

/* Two GEMMs of one batch size, timed. */
static void start(const char *command)
{
    memset(rows, 0, sizeof rows);
    memset(&result, 0, sizeof result);
    subject = (report_subject){.command = command, .label = "tiny", .problem = &tiny};
    for (int i = 0; i < 2; i++) {
        mj_tune_row *row = &rows[i];
        row->op = i ? MJ_OP_GEMM2 : MJ_OP_GEMM1;
        row->token_count = 16;
        row->operations = 4e6;
        row->bytes = 2e3;
        row->floor_us = 1;
        row->best.time_us_median = 4;
        row->verified = true;
        snprintf(row->routing, sizeof row->routing, "uniform");
        snprintf(row->best.family, sizeof row->best.family, "cpu");
    }
    result.row_count = 2;
    result.rows = rows;
}

static char *printed(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out) {
        report_print(out, &subject, &result);
        fclose(out);
    }
    return text;
}

TEST(a_cell_is_rated_only_if_all_of_it_was_timed)
{
    start("bench");
    char *text = printed();
    bool rated = text && strstr(text, " 1.00 ") && strstr(text, "25.0%");
    free(text);
    CHECK(rated);
    rows[1].best.time_us_median = 0; /* nobody survived: its work is not done in the other's time */
    rows[1].against.time_us_median = rows[0].against.time_us_median = 8;
    text = printed();
    bool unrated = text && strstr(text, " 4.00          -         -        -         - ") && !strchr(text, '%');
    free(text);
    CHECK(unrated);
}

static bool json_says(const char *words)
{
    mj_json *root = report_json(&subject, &result);
    char *text = root ? mj_json_print(root, false) : NULL;
    bool found = text && strstr(text, words);
    if (!found) {
        printf("# no %s in %s\n", words, text ? text : "nothing");
    }
    free(text);
    mj_json_free(root);
    return found;
}

TEST(a_row_without_a_choice_is_not_ok)
{
    start("tune");
    CHECK(json_says("\"result\":\"ok\"") && json_says("\"family\":\"cpu\""));
    memset(&rows[1].best, 0, sizeof rows[1].best);
    rows[1].verified = false;
    CHECK(json_says("\"result\":\"no candidate survived\""));
    char *text = printed();
    bool said = text && strstr(text, "gemm2: no candidate survived");
    free(text);
    CHECK(said);
}

TEST(what_was_not_written_is_not_from_the_store)
{
    start("tune");
    rows[1].unsaved = true;
    rows[1].origin = MJ_ORIGIN_ESTIMATE;
    CHECK(json_says("\"origin\":\"not saved\"") && json_says("\"origin\":\"store\""));
}

/* As the store does: beyond a JSON number's 53 bits as text. */
TEST(seeds_are_written_whole)
{
    start("tune");
    subject.seed = 77;
    CHECK(json_says("\"seed\":77,"));
    subject.seed = UINT64_MAX;
    CHECK(json_says("\"seed\":\"18446744073709551615\""));
}

/* Ctrl-C while configs are counted: no numbers are better than false ones. */
TEST(a_map_of_a_space_is_whole_or_not_there)
{
    mj_spec_options options = {0};
    mj_spec *spec = NULL;
    mj_error error = {MJ_OK, ""};
    mj_kernel_desc desc = {.problem = &tiny, .op = MJ_OP_GEMM1};
    mj_strbuf text = {0};
    uint64_t legal = 0;
    CHECK_STATUS(mj_spec_load(&options, &spec, NULL, &error), MJ_OK);
    CHECK_STATUS(mj_spec_find_arch(spec, "cpu", &desc.arch, &error), MJ_OK);
    CHECK_STATUS(mj_spec_find_scheme(spec, "bf16", &desc.scheme, &error), MJ_OK);
    CHECK_STATUS(cli_space_map(spec, desc, NULL, &text, NULL, &legal, &error), MJ_OK);
    CHECK(legal > 0);
    cli_catch_interrupts();
    raise(SIGINT);
    CHECK_STATUS(cli_space_map(spec, desc, NULL, &text, NULL, &legal, &error), MJ_ERR_INTERRUPTED);
    CHECK_INT(cli_exit_of(error.status), CLI_INTERRUPTED);
    mj_strbuf_free(&text);
    mj_spec_free(spec);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(a_cell_is_rated_only_if_all_of_it_was_timed);
    RUN(a_row_without_a_choice_is_not_ok);
    RUN(what_was_not_written_is_not_from_the_store);
    RUN(seeds_are_written_whole);
    RUN(a_map_of_a_space_is_whole_or_not_there); /* the last: it interrupts this process */
    return CHECK_END();
}
