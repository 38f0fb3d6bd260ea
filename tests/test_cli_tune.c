/* test_cli_tune.c: tune, bench, verify, emit and a sweep from end to end, on a layer of a few kilobytes on the CPU. */
#define _GNU_SOURCE
#include <glob.h>
#include <signal.h>

#include "cli.h"
#include "cli_run.h"
#include "store.h"

#define LAYER "--problem E=4/4,topk=2,H=64,N=32,gated=1,act=silu,bias=0,scheme=bf16,layout=default"
#define SMALL LAYER " --mem 64M --device cpu --family reference"

/* The parsed stdout of the last run; NULL: not JSON. */
static mj_json *last_json(void)
{
    mj_json *root = NULL;
    mj_json_parse(cli_last.out, strlen(cli_last.out), "stdout", &root, NULL);
    return root;
}

static const char *text_at(const mj_json *object, const char *key)
{
    const mj_json *value = mj_json_get(object, key);
    return mj_json_is_string(value) ? mj_json_value_string(value) : "";
}

static bool true_at(const mj_json *object, const char *key)
{
    const mj_json *value = mj_json_get(object, key);
    return mj_json_is_bool(value) && mj_json_value_bool(value);
}

/* Every row: family (but of what stands in for others, which the reference is not asked for), config, a verified time, where it comes
 * from. */
static bool rows_are_whole(const mj_json *root, size_t count, const char *family, const char *origin, bool from_store)
{
    const mj_json *rows = mj_json_get(root, "rows");
    bool good = (size_t)mj_json_count(rows) == count;
    for (const mj_json *row = mj_json_first(rows); row; row = mj_json_next(row)) {
        bool act = strcmp(text_at(row, "op"), "gemm1_act") == 0,
             sums = strcmp(text_at(row, "op"), "gemm2_combine") == 0;
        const char *last = act ? "activation_us_median" : "combine_us_median";
        bool fused = act || sums;
        good = good && (!fused || mj_json_value_number(mj_json_get(row, last)) > 0);
        good = good && (fused || !family || strcmp(text_at(row, "family"), family) == 0) &&
               mj_json_get(row, "config") && mj_json_value_number(mj_json_get(row, "tflops")) > 0 &&
               mj_json_value_number(mj_json_get(row, "gbps")) > 0 &&
               mj_json_value_number(mj_json_get(row, "time_us_median")) > 0 && true_at(row, "verified") &&
               strcmp(text_at(row, "origin"), origin) == 0 && true_at(row, "from_store") == from_store;
    }
    return good;
}

TEST(tunes_saves_and_skips)
{
    CHECK_INT(cli_run_words("tune " SMALL " --batch 1 --effort quick --json")->code, CLI_OK);
    mj_json *root = last_json();
    bool good = root && rows_are_whole(root, 2, "reference", "store", false) && true_at(root, "saved");
    char path[900];
    snprintf(path, sizeof path, "%s", root ? text_at(root, "store") : "");
    mj_json_free(root);
    CHECK(good);
    CHECK(access(path, R_OK) == 0);
    CHECK_CONTAINS(path, cli_home);

    /* one family is not the whole space: only what a plain tune measured is skipped, and shown with its figures */
    for (int skips = 0; skips < 2; skips++) {
        CHECK_INT(cli_run_words("tune " LAYER " --mem 64M --device cpu --batch 1 --effort quick --json")->code, CLI_OK);
        root = last_json();
        good = good && root && rows_are_whole(root, 4, NULL, "store", skips);
        mj_json_free(root);
    }
    root = NULL;
    mj_json_free(root);
    CHECK(good);
    CHECK_CONTAINS(cli_last.err, "skipped");
}

/* What later cases find in the store: a plain tune's rows, with the reference's in place of those of the two GEMMs. */
static bool fill_store(void)
{
    static bool filled;
    if (!filled) {
        filled = cli_run_words("tune -q " LAYER " --mem 64M --device cpu --batch 1 --effort quick")->code == CLI_OK &&
                 cli_run_words("tune -q " SMALL " --batch 1 --effort quick --force")->code == CLI_OK;
    }
    return filled;
}

TEST(reports_a_table)
{
    CHECK(fill_store()); /* the first to ask for it: its words are the last tune's */
    static const char *const parts[] = {
        "device ",         "ceilings ",      "problem ", "seed ",    "gemm1 us",
        "gemm2 us",        "TFLOP/s",        "GB/s",     "roofline", "tried / refused / failed",
        "gemm1 reference", "gemm2 reference"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        CHECK_CONTAINS(cli_last.out, parts[i]);
    }
    CHECK_STRING(cli_last.err, "");
}

TEST(bench_names_its_source)
{
    CHECK(fill_store());
    CHECK_INT(cli_run_words("bench " LAYER " --mem 64M --device cpu --batch 1 --json")->code, CLI_OK);
    mj_json *root = last_json();
    bool good = root && rows_are_whole(root, 4, "reference", "store", false);
    mj_json_free(root);
    CHECK(good);
    CHECK_INT(
        cli_run_words("bench -q --problem E=2/2,topk=1,H=64,N=32,gated=1,act=silu,bias=0,scheme=fp16,layout=default "
                      "--device cpu --batch 2")
            ->code,
        CLI_OK);
    CHECK_CONTAINS(cli_last.out, "[estimate, verified");
}

static double number_at(const mj_json *object, const char *key)
{
    const mj_json *value = object ? mj_json_get(object, key) : NULL;
    return mj_json_is_number(value) ? mj_json_value_number(value) : -1;
}

/* Two contestants on the same data: their times, the larger work of whole tiles, an error that the scheme allows. */
TEST(bench_compares_with_another_family)
{
    CHECK_INT(
        cli_run_words("bench -q --problem E=4/4,topk=2,H=128,N=64,gated=1,act=silu,bias=0,scheme=bf16,layout=default "
                      "--device cpu --batch 8 --gemm 1 --family cpu --against reference --json")
            ->code,
        CLI_OK);
    mj_json *root = last_json();
    const mj_json *rows = root ? mj_json_get(root, "rows") : NULL, *row = rows ? mj_json_first(rows) : NULL;
    const mj_json *against = row ? mj_json_get(row, "against") : NULL;
    double us = number_at(row, "time_us_median"), against_us = number_at(against, "time_us_median");
    double error = number_at(row, "row_error"), speedup = number_at(against, "speedup");
    bool good = rows && mj_json_count(rows) == 2 && against && strcmp(text_at(row, "op"), "gemm1") == 0 &&
                strcmp(text_at(row, "family"), "cpu") == 0 && strcmp(text_at(against, "family"), "reference") == 0 &&
                strcmp(text_at(against, "result"), "ok") == 0 && number_at(row, "tried") == 1;
    good = good && us > 0 && against_us > 0 && speedup > 0.999 * against_us / us && speedup < 1.001 * against_us / us;
    good = good && number_at(row, "padded_operations") == number_at(row, "operations"); /* a host computes no padding */
    mj_json_free(root);
    CHECK(good);
    CHECK(error >= 0 && error < 0.005);
    CHECK_INT(cli_run_words(
                  "verify -q --problem E=4/4,topk=2,H=1024,N=128,gated=1,act=silu,bias=0,scheme=bf16,layout=default "
                  "--device cpu --batch 64 --gemm 1 --family cpu --json")
                  ->code,
              CLI_OK);
    root = last_json();
    rows = root ? mj_json_get(root, "rows") : NULL;
    error = rows && mj_json_count(rows) == 2 ? number_at(mj_json_first(rows), "row_error") : 1;
    mj_json_free(root);
    CHECK(error > 0 &&
          error < 0.005); /* sums in another order: of so many values a few are rounded to the other side */
}

/* The whole study on a small 4-bit layer: five distributions, each verified and beside the reference. */
TEST(routing_all_is_a_study)
{
    static const char words[] = "bench -q --problem E=4/4,topk=2,H=64,N=64,gated=1,act=silu,bias=0,"
                                "scheme=int4_w4a16_g64,layout=default --device cpu --batch 2 --routing all --gemm 2";
    const cli_run_result *got = cli_run_words(words);
    CHECK_INT(got->code, CLI_OK);
    static const char *const parts[] = {"padded     error against",
                                        "     2 balanced ",
                                        "     2 uniform ",
                                        "     2 zipf1 ",
                                        "     2 zipf2 ",
                                        "     2 hot16 ",
                                        "gemm2 against reference"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        CHECK_CONTAINS(got->out, parts[i]);
    }
    CHECK(!strstr(got->out, "gemm1 reference"));
}

/* Eight tokens of two experts each over four: four rows an expert, in tiles that a matrix instruction makes taller. */
TEST(predicts_for_an_absent_arch)
{
    static const char words[] = "bench -q --problem E=4/4,topk=2,H=256,N=128,gated=1,act=silu,bias=0,scheme=int4_w4a16,"
                                "layout=default --effort estimate --arch gfx1100 --batch 8 --routing all --gemm 2";
    char command[600];
    snprintf(command, sizeof command, "%s --json", words);
    CHECK_INT(cli_run_words(command)->code, CLI_OK);
    mj_json *root = last_json();
    const mj_json *rows = root ? mj_json_get(root, "rows") : NULL;
    bool good = rows && mj_json_count(rows) == 5;
    double balanced_us = 0, skewed_us = 0;
    for (const mj_json *row = good ? mj_json_first(rows) : NULL; row; row = mj_json_next(row)) {
        double tile = number_at(mj_json_get(row, "config"), "tile_m"), operations = number_at(row, "operations");
        bool balanced = strcmp(text_at(row, "routing"), "balanced") == 0;
        balanced_us = balanced ? number_at(row, "estimate_us") : balanced_us;
        skewed_us = strcmp(text_at(row, "routing"), "zipf2") == 0 ? number_at(row, "estimate_us") : skewed_us;
        good = good && strcmp(text_at(row, "family"), "wmma") == 0 && tile >= 16 &&
               operations == 2.0 * 16 * 256 * 128 && number_at(row, "padded_operations") >= operations &&
               number_at(row, "floor_us") > 0 && number_at(row, "estimate_us") > 0 &&
               number_at(row, "time_us_median") == 0;
        good = good && (!balanced || number_at(row, "padded_operations") == operations * tile / 4);
    }
    const mj_json *space = root ? mj_json_get(root, "space") : NULL;
    good = good && space && mj_json_count(mj_json_get(space, "gemm2")) == 2 && !mj_json_get(space, "gemm1");
    mj_json_free(root);
    CHECK(good);
    CHECK(balanced_us > 0 && skewed_us > 0);
    CHECK_INT(cli_run_words(words)->code, CLI_OK);
    CHECK_CONTAINS(cli_last.out, "RX 7900 XTX");
    CHECK_CONTAINS(cli_last.out, "predicted us");
    CHECK_CONTAINS(cli_last.out, "space of gemm2 on gfx1100");
    CHECK_CONTAINS(cli_last.out, "refused by smem_block");
}

TEST(verifies_one_config)
{
    CHECK_INT(
        cli_run_words("verify -q " SMALL " --config threads=1 --batch 1 5 --routing balanced,hot16 --gemm 1,2")->code,
        CLI_OK);
    CHECK_CONTAINS(cli_last.out, "8 of 8 outputs agree");
}

TEST(emits_what_was_tuned)
{
    CHECK(fill_store());
    CHECK_INT(cli_run_words("emit " LAYER " --arch cpu --batch 1 --out pack")->code, CLI_OK);
    /* gemm1_act and gemm2_combine are in the pack if they are the faster */
    CHECK(strstr(cli_last.out, "2 of 2 GEMM rows as tuned") || strstr(cli_last.out, "3 of 3 GEMM rows as tuned") ||
          strstr(cli_last.out, "4 of 4 GEMM rows as tuned"));
    char path[700];
    snprintf(path, sizeof path, "%s/pack/pack.json", cli_home);
    CHECK(access(path, R_OK) == 0);
    snprintf(path, sizeof path, "%s/pack/moejit_pack_layer_tp1_ep1_cpu.c", cli_home);
    CHECK(access(path, R_OK) == 0);
}

/* A plan of the pack in cli_home/`folder` alone, every row of it verified. */
static mj_status plan_verified(const char *folder, mj_error *error)
{
    char path[700];
    mj_context *context = NULL;
    mj_device *device = NULL;
    mj_plan *plan = NULL;
    mj_problem problem;
    mj_context_options where = {.cache_dir = "", .store_dir = "", .no_compile = true};
    mj_plan_options wanted = {.max_tokens = 1, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    snprintf(path, sizeof path, "%s/%s", cli_home, folder);
    mj_status status = mj_problem_parse(LAYER + strlen("--problem "), &problem, error);
    status = status ? status : mj_context_create(&where, &context, error);
    status = status ? status : mj_pack_load(context, path, error);
    status = status ? status : mj_device_open(context, "cpu", &device, error);
    status = status ? status : mj_plan_create(device, &problem, &wanted, &plan, error);
    if (status == MJ_OK && !mj_plan_is_verified(plan)) {
        status = mj_fail(error, MJ_ERR_UNVERIFIED, "a row is not");
    }
    mj_plan_destroy(plan);
    mj_device_close(device);
    mj_context_destroy(context);
    return status;
}

/* Of the last emit's kernels: how many are verified, of those for any number of tokens and of the GEMMs. */
static void count_verified(uint32_t *any, uint32_t *gemms)
{
    mj_json *root = last_json();
    *any = *gemms = 0;
    for (const mj_json *k = mj_json_first(mj_json_get(mj_json_first(root), "kernels")); k; k = mj_json_next(k)) {
        *(mj_json_value_number(mj_json_get(k, "tokens")) > 0 ? gemms : any) += true_at(k, "verified");
    }
    mj_json_free(root);
}

#define ZEROS "00000000000000000000000000000000"
#define EMIT  "emit -q --json " LAYER " --arch cpu --batch 1 --out "

TEST(a_pack_is_as_verified_as_its_store)
{
    char command[1400];
    mj_error error = {MJ_OK, ""};
    uint32_t any, gemms;
    CHECK(fill_store());
    CHECK_INT(cli_run_words(EMIT "whole")->code, CLI_OK);
    count_verified(&any, &gemms);
    CHECK(any == 3 && gemms >= 2);
    CHECK_STATUS(plan_verified("whole", &error), MJ_OK);

    /* a config that the user gave is nobody's measurement; the other ops are as they were */
    CHECK_INT(cli_run_words(EMIT "given --family reference --config threads=1")->code, CLI_OK);
    count_verified(&any, &gemms);
    CHECK(any == 3 && gemms == 0);
    CHECK_STATUS(plan_verified("given", &error), MJ_ERR_UNVERIFIED);
    CHECK_CONTAINS(error.text, "gemm1");

    /* nor is another binary than was measured, or what was tuned for another arch */
    static const char *const edits[] = {"s/\"cache_key\": *\"[^\"]*/\"cache_key\": \"" ZEROS ZEROS "/",
                                        "0,/\"arch\": *\"cpu\"/s//\"arch\": \"sm_90a\"/"};
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        snprintf(command, sizeof command,
                 "cd '%s' && rm -rf edited && mkdir edited && cp .local/share/moejit/E=4,*.json edited && "
                 "sed -i '%s' edited/*.json && ! cmp -s .local/share/moejit/E=4,*.json edited/*.json",
                 cli_home, edits[i]);
        CHECK_INT(cli_shell(command), 0);
        snprintf(command, sizeof command, "%s/edited", cli_home);
        setenv("MOEJIT_STORE_DIR", command, 1);
        cli_run_words(EMIT "other");
        unsetenv("MOEJIT_STORE_DIR");
        CHECK_INT(cli_last.code, CLI_OK);
        count_verified(&any, &gemms);
        CHECK(any == 0 && gemms == 0);
        CHECK_STATUS(plan_verified("other", &error), MJ_ERR_UNVERIFIED);
    }
}

TEST(emits_one_c_file_on_stdout)
{
    CHECK_INT(cli_run_words("emit " LAYER " --arch cpu --batch 1 --family reference --gemm 2 --config threads=1")->code,
              CLI_OK);
    CHECK_CONTAINS(cli_last.out, "moejit_pack_layer_tp1_ep1_cpu(void)");
    CHECK_CONTAINS(cli_last.err, "stdout: cpu: 5 kernels");
}

/* Said before anything is tuned, quiet or not; nothing is saved over it. Bench skips it by name. */
TEST(a_store_of_another_version_is_left_alone)
{
    char command[1400];
    CHECK(fill_store());
    snprintf(command, sizeof command,
             "cd '%s' && mkdir -p other && cp .local/share/moejit/E=4,*.json other && "
             "sed -i 's/\"moejit_store\": *1/\"moejit_store\": 99/' other/*.json && grep -q 'moejit_store.: 99' "
             "other/*.json",
             cli_home);
    CHECK_INT(cli_shell(command), 0);
    static const char *const quiet[] = {"", "-q "};
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command, "tune %s" SMALL " --batch 1 --effort quick --save-dir other", quiet[i]);
        const cli_run_result *got = cli_run_words(command);
        CHECK(cli_one_line(got->err));
        CHECK_CONTAINS(got->err, "dtype=bf16.moejit.json: written in store format 99, this version reads 1");
        CHECK_CONTAINS(got->err, "--force");
        CHECK_INT(got->code, CLI_BAD_FILE);
        CHECK_STRING(got->out, "");
    }
    CHECK_INT(cli_run_words("bench " SMALL " --batch 1 --save-dir other")->code, CLI_OK);
    CHECK_CONTAINS(cli_last.err, "reads 1: skipped");
    snprintf(command, sizeof command, "grep -q 'moejit_store.: 99' '%s'/other/*.json", cli_home);
    CHECK_INT(cli_shell(command), 0);
}

TEST(sweeps_a_restricted_space)
{
    cli_put_file(
        "sweep.lua",
        "local p = moe.problem{experts = 4, top_k = 2, hidden = 64, intermediate = 32}\n"
        "local s = moe.space('reference')\n"
        "local seen = 0\n"
        "s:require('counts', function(c) seen = seen + 1 return c.threads == 1 end)\n"
        "local r = moe.tune(s, p, {tokens = 3, device = 'cpu', effort = 'quick', mem = '64M', quiet = true})\n"
        "assert(seen > 0 and #r.rows == 2 and not r.interrupted)\n"
        "assert(r.best[3].uniform.gemm2.config.threads == 1)\n"
        "assert(r.best[3].uniform.gemm1.time_us_median > 0)\n"
        "r:print()\n"
        "r:save('deep/result.json')\n"
        "local v = moe.verify(p, {tokens = 2, device = 'cpu', family = 'reference', quiet = true})\n"
        "assert(v.rows[1].result == 'ok')\n"
        "s:require('none', function(c) return error('broken rule') end)\n"
        "moe.tune(s, p, {tokens = 3, device = 'cpu', effort = 'quick', mem = '64M', quiet = true, force = true})\n");
    const cli_run_result *got = cli_run_words("run sweep.lua");
    CHECK_CONTAINS(got->err, "sweep.lua:13: broken rule");
    CHECK(cli_one_line(got->err));
    CHECK_INT(got->code, CLI_FAILED);
    CHECK_CONTAINS(got->out, "tried / refused / failed");
    char path[700];
    snprintf(path, sizeof path, "%s/deep/result.json", cli_home);
    CHECK(access(path, R_OK) == 0);
}

TEST(nothing_legal_is_a_failure)
{
    const cli_run_result *got = cli_run_words("tune -q " LAYER " --mem 64M --device cpu --family mma --batch 1");
    CHECK_INT(got->code, CLI_FAILED);
    CHECK(cli_one_line(got->err));
}

/* Before anything is compiled or checked: one line, on every command that measures, and nothing is left behind. */
TEST(too_little_device_memory_is_one_line)
{
    static const char *const commands[] = {"tune " LAYER " --device cpu --batch 1 64 --mem 50K --save-dir little",
                                           "bench " LAYER " --device cpu --batch 1 64 --mem 50K",
                                           "verify " LAYER " --device cpu --batch 1 64 --mem 50K"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const cli_run_result *got = cli_run_words(commands[i]);
        CHECK_INT(got->code, CLI_NO_DEVICE);
        CHECK_CONTAINS(got->err, "gemm1 at 64 tokens needs ");
        CHECK_CONTAINS(got->err, "0.0 MiB are allowed (--mem");
        CHECK(cli_one_line(got->err));
        CHECK_STRING(got->out, "");
    }
}

/* Once something was measured, however long that takes here. */
TEST(an_interrupt_ends_cleanly)
{
    char command[2048];
    snprintf(
        command, sizeof command,
        "cd '%s' && rm -rf .local/state && { '%s/moejit' tune -q " LAYER
        " --mem 64M --device cpu --effort full --batch 7 8 9 --force >int.out 2>int.err & pid=$!; "
        "until grep -q measured .local/state/moejit/*.jsonl 2>/dev/null; do sleep 0.05; kill -0 $pid || exit 99; done; "
        "kill -INT $pid; wait $pid; }",
        cli_home, check_build_dir());
    /* a shell without job control starts background jobs with SIGINT ignored; the command sets its own handler */
    CHECK_INT(cli_shell(command), CLI_INTERRUPTED);
    char path[700];
    size_t bytes;
    snprintf(path, sizeof path, "%s/int.err", cli_home);
    char *text = cli_slurp(path, &bytes);
    bool said = strstr(text, "interrupted") && cli_one_line(text);
    free(text);
    CHECK(said);
}

/* Every store file that is there can be read, and its rows are whole; returns the number of GEMMs, -1: one is not. */
static int stored_gemms(const char *folder)
{
    char pattern[800];
    glob_t found;
    int count = 0;
    snprintf(pattern, sizeof pattern, "%s/%s/*.json", cli_home, folder);
    if (glob(pattern, 0, NULL, &found) != 0) {
        return 0;
    }
    for (size_t i = 0; i < found.gl_pathc && count >= 0; i++) {
        mj_store_file file;
        mj_error error = {MJ_OK, ""};
        if (mj_store_load(found.gl_pathv[i], &file, &error) != MJ_OK) {
            printf("# %s\n", error.text);
            count = -1;
            break;
        }
        for (uint32_t r = 0; r < file.row_count; r++) {
            count += file.rows[r].gemm1.present + file.rows[r].gemm2.present;
        }
        mj_store_file_free(&file);
    }
    globfree(&found);
    return count;
}

/* Killed again and again, at moments that differ: what is there can always be read, only grows, and is finished in the end. */
TEST(kills_at_any_moment_lose_nothing)
{
    static const char words[] = "tune -q " LAYER " --mem 64M --device cpu --batch 3 4 --effort quick --save-dir killed";
    char command[2048];
    int rounds = getenv("MOEJIT_TEST_FULL") && strcmp(getenv("MOEJIT_TEST_FULL"), "1") == 0 ? 40 : 6, before = 0;
    for (int i = 0; i < rounds; i++) {
        unsigned hundredths = 5 + (unsigned)(i * 61) % 97; /* 0.05 s to 1.01 s, in no order */
        snprintf(command, sizeof command,
                 "cd '%s' && { '%s/moejit' %s >/dev/null 2>&1 & pid=$!; sleep %u.%02u; kill -KILL $pid; wait $pid; } "
                 "2>/dev/null",
                 cli_home, check_build_dir(), words, hundredths / 100, hundredths % 100);
        cli_shell(command);
        int now = stored_gemms("killed");
        CHECK(now >= before);
        before = now;
    }
    const cli_run_result *got = cli_run_words(words);
    if (got->code != CLI_OK || got->err[0]) {
        check_fail(__FILE__, __LINE__, "code %d: %.400s", got->code, got->err);
    }
    CHECK_INT(stored_gemms("killed"), 4);
}

TEST(a_spent_budget_has_its_code)
{
    CHECK_INT(
        cli_run_words("tune -q " LAYER " --mem 64M --device cpu --effort full --batch 7 8 9 --force --budget 1s")->code,
        CLI_PARTIAL);
    CHECK_CONTAINS(cli_last.err, "budget");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    RUN(tunes_saves_and_skips);
    RUN(reports_a_table);
    RUN(bench_names_its_source);
    RUN(bench_compares_with_another_family);
    RUN(routing_all_is_a_study);
    RUN(predicts_for_an_absent_arch);
    RUN(verifies_one_config);
    RUN(emits_what_was_tuned);
    RUN(a_pack_is_as_verified_as_its_store);
    RUN(emits_one_c_file_on_stdout);
    RUN(a_store_of_another_version_is_left_alone);
    RUN(sweeps_a_restricted_space);
    RUN(nothing_legal_is_a_failure);
    RUN(too_little_device_memory_is_one_line);
    RUN(an_interrupt_ends_cleanly);
    RUN(kills_at_any_moment_lose_nothing);
    RUN(a_spent_budget_has_its_code);
    cli_clean_home();
    return CHECK_END();
}
