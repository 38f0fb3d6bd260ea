/* test_script.c: sweep scripts: the API's answers, and errors with file and line. */
#define _GNU_SOURCE
#include "cli.h"
#include "cli_run.h"

static const cli_run_result *run_script(const char *text, const char *arguments)
{
    char words[256];
    cli_put_file("s.lua", text);
    snprintf(words, sizeof words, "run s.lua %s", arguments);
    return cli_run_words(words);
}

typedef struct error_row {
    const char *text;
    int code;
    const char *says;
} error_row;

static void check_errors(const error_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const cli_run_result *got = run_script(rows[i].text, "");
        if (got->code != rows[i].code || !strstr(got->err, rows[i].says) || !cli_one_line(got->err)) {
            check_fail(__FILE__, __LINE__, "row %zu: code %d, '%s'", i, got->code, got->err);
        }
    }
}

/* The wrong line is always line 2. */
TEST(errors_name_file_and_line)
{
    static const error_row rows[] = {
        {"\nlocal x = = 1", CLI_BAD_FILE, "s.lua:2:"},
        {"\nerror('mine')", CLI_FAILED, "s.lua:2: mine"},
        {"\nlocal t = nil; t.x = 1", CLI_FAILED, "s.lua:2:"},
        {"\nmoe.tun()", CLI_BAD_FILE, "s.lua:2: moe has no 'tun'; did you mean tune?"},
        {"\nmoe.problem{modle = 'x'}", CLI_BAD_FILE, "s.lua:2: moe.problem: unknown key 'modle'; did you mean model?"},
        {"\nmoe.problem{model = 'mixtrl-8x7b'}", CLI_BAD_FILE, "mixtral-8x7b"},
        {"\nmoe.problem{model = 3}", CLI_BAD_FILE, "s.lua:2: model: a text is due"},
        {"\nmoe.problem{model = 'mixtral-8x7b', tp = 0}", CLI_BAD_FILE, "s.lua:2: tp: a whole number in 1..4096"},
        {"\nmoe.problem{model = 'mixtral-8x7b', tp = 1.5}", CLI_BAD_FILE, "s.lua:2: tp: a whole number"},
        {"\nmoe.problem{model = 'mixtral-8x7b', tp = 3}", CLI_BAD_FILE, "s.lua:2:"},
        {"\nmoe.problem{experts = 8}", CLI_BAD_FILE, "s.lua:2: moe.problem: experts, top_k"},
        {"\nmoe.problem{}", CLI_BAD_FILE, "s.lua:2: moe.problem: give model"},
        {"\nmoe.problem{model = './none.json'}", CLI_BAD_FILE, "none.json"},
        {"\nmoe.space('mmma')", CLI_BAD_FILE, "s.lua:2:"},
        {"\nmoe.space{family = 'mma', tilem = 16}", CLI_BAD_FILE,
         "s.lua:2: moe.space: family mma has no 'tilem'; did you mean tile_m?"},
        {"\nmoe.space{family = 'mma', tile_m = 17}", CLI_BAD_FILE, "s.lua:2: moe.space: tile_m: 17 is not"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(nil, p, {token = 1})", CLI_BAD_FILE,
         "s.lua:2: moe.tune: unknown key 'token'; did you mean tokens?"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(p, {tokens = 1})", CLI_BAD_FILE,
         "the space comes first"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(nil, p, {tokens = {0}})", CLI_BAD_FILE,
         "s.lua:2: tokens:"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(nil, p, {effort = 'fast'})", CLI_BAD_FILE,
         "s.lua:2: effort:"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.bench(p, {config = {tile_m = 16}})", CLI_BAD_FILE,
         "s.lua:2: config needs family"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.bench(p, {device = 'cuda:99', tokens = 1, quiet = true})",
         CLI_NO_DEVICE, "s.lua:2:"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nprint(p.colour)", CLI_BAD_FILE,
         "s.lua:2: a problem has no field 'colour'"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nprint(p.hiden)", CLI_BAD_FILE, "did you mean hidden?"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\np.hidden = 3", CLI_BAD_FILE,
         "s.lua:2: 'hidden' cannot be set"},
        {"local s = moe.space('mma')\ns:requir('x', print)", CLI_BAD_FILE,
         "s.lua:2: a space has no 'requir'; did you mean require?"},
        {"\nmoe.problem{model = 'mixtral-8x7b', layout = 'interleaved'}", CLI_BAD_FILE,
         "s.lua:2: no weight layout \"interleaved\"; did you mean \"interleaved8\"?"},
        {"\nmoe.problem('mixtral-8x7b')", CLI_BAD_FILE, "s.lua:2: moe.problem: a table is due"},
        {"\nerror{code = 3}", CLI_FAILED, "s.lua:2: an error without a text (a table)"},
        {"\nerror()", CLI_FAILED, "s.lua:2: an error without a text (a nil)"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(nil, p, {routing = 'unifrom', quiet = true})",
         CLI_BAD_FILE, "s.lua:2: unknown routing \"unifrom\"; did you mean \"uniform\"?"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(nil, p, {save_dir = '/proc/x', device = 'cpu'})",
         CLI_NOT_SAVED, "s.lua:2: cannot make the folder /proc/x"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\nmoe.tune(nil, p, {mem = '1K', device = 'cpu'})", CLI_NO_DEVICE,
         "s.lua:2: cpu: gemm1 at 64 tokens needs 1834.1 MiB"},
        {"local p = moe.problem{model = 'mixtral-8x7b'}\n"
         "moe.verify(p, {family = 'cpu', config = {tile_n = 3}, device = 'cpu', tokens = 1})",
         CLI_FAILED, "s.lua:2: gemm1, 1 tokens on cpu: no legal config equals tile_n=3"},
        {"\nmoe.write('/proc/x/y', 'z')", CLI_NOT_SAVED, "s.lua:2:"},
        {"local t = {} t.t = t\nmoe.json(t)", CLI_BAD_FILE, "s.lua:2: the table is nested too deeply"},
        {"\nmoe.json(print)", CLI_BAD_FILE, "s.lua:2: only tables"},
    };
    check_errors(rows, sizeof rows / sizeof rows[0]);
    CHECK_INT(cli_run_words("run none.lua")->code, CLI_BAD_FILE);
    CHECK_CONTAINS(cli_last.err, "none.lua");
}

TEST(a_rule_that_fails_is_the_scripts_error)
{
    const cli_run_result *got = run_script("local p = moe.problem{model = 'mixtral-8x7b', tp = 2}\n"
                                           "local s = moe.space('mma')\n"
                                           "s:require('mine', function(c) return c.nothing.x end)\n"
                                           "s:explain(p, {arch = 'sm_90a'})\n",
                                           "");
    CHECK_INT(got->code, CLI_FAILED);
    CHECK_CONTAINS(got->err, "s.lua:3:");
}

TEST(problems_read_back)
{
    const cli_run_result *got = run_script(
        "local p = moe.problem{model = 'mixtral-8x7b', tp = 2, ep = 2, scheme = 'fp16'}\n"
        "assert(p.experts == 4 and p.experts_total == 8 and p.top_k == 2)\n"
        "assert(p.hidden == 4096 and p.intermediate == 7168 and p.scheme == 'fp16' and p.gated == true)\n"
        "local q = moe.problem{text = tostring(p)}\n"
        "local l = moe.problem{text = tostring(p), layout = 'interleaved8'}\n"
        "assert(l.layout == 'interleaved8' and q.layout == 'default' and tostring(l):find('layout=interleaved8', 1, "
        "true))\n"
        "assert(tostring(moe.problem{text = tostring(l)}) == tostring(l))\n"
        "assert(tostring(q) == tostring(p))\n"
        "local h = moe.problem{experts = 16, top_k = 4, hidden = 256, intermediate = 128, activation = 'gelu'}\n"
        "print(h)\n",
        "");
    CHECK_STRING(got->err, "");
    CHECK_INT(got->code, CLI_OK);
    CHECK_CONTAINS(got->out, "E=16/16,topk=4,H=256,N=128");
}

/* Even what says the same as the text. */
TEST(nothing_is_ignored_beside_a_text)
{
#define GIVEN(word) \
    { \
        "\nmoe.problem{text = 'E=4,topk=2,H=64,N=64', " word "}", CLI_BAD_FILE, \
            "s.lua:2: moe.problem: text says all but the layout: leave out scheme, tp, ep and model_prefix" \
    }
    static const error_row rows[] = {
        GIVEN("scheme = 'fp8_w8a8', tp = 4"),
        GIVEN("scheme = 'bf16'"),
        GIVEN("tp = 1"),
        GIVEN("ep = 1"),
        GIVEN("model_prefix = 'text_config'"),
        {"\nmoe.problem{experts = 8, top_k = 2, hidden = 64, intermediate = 64, model_prefix = 'x'}", CLI_BAD_FILE,
         "s.lua:2: moe.problem: model_prefix is for a model that is a config.json"},
    };
    check_errors(rows, sizeof rows / sizeof rows[0]);
}

TEST(spaces_count_and_list)
{
    const cli_run_result *got =
        run_script("local p = moe.problem{model = 'mixtral-8x7b', tp = 2}\n"
                   "local all = moe.space('mma'):explain(p, {arch = 'sm_90a', gemm = 1})\n"
                   "local some = moe.space{family = 'mma', tile_m = {16, 32}}\n"
                   "local counts = some:explain(p, {arch = 'sm_90a', gemm = 1})\n"
                   "assert(all.legal > counts.legal and counts.legal > 0)\n"
                   "assert(counts.refused.tile_m == all.legal - counts.legal)\n"
                   "some:require('16 only', function(c, op) assert(op == 'gemm1') return c.tile_m == 16 end)\n"
                   "local fewer = some:explain(p, {arch = 'sm_90a'})\n"
                   "assert(fewer.legal < counts.legal and fewer.refused['16 only'] > 0)\n"
                   "local list = some:configs(p, {arch = 'sm_90a'})\n"
                   "assert(#list == fewer.legal and list[1].tile_m == 16)\n",
                   "");
    CHECK_STRING(got->err, "");
    CHECK_INT(got->code, CLI_OK);
}

TEST(kernels_and_routings_on_paper)
{
    const cli_run_result *got = run_script(
        "local p = moe.problem{model = 'qwen3-30b-a3b', ep = 4}\n"
        "local text, manifest = moe.gen(p, {arch = 'sm_90a', gemm = 2, tokens = 16})\n"
        "assert(#text > 1000 and manifest.family and manifest.op == 'gemm2')\n"
        "local legal, refusals = moe.why(p, {arch = 'sm_90a', family = 'mma', config = {stages = 4, tile_m = 16}})\n"
        "assert(type(legal) == 'boolean' and legal == (#refusals == 0))\n"
        "local r = moe.routing(p, {routing = 'zipf1', tokens = 64, seed = 3})\n"
        "assert(#r.rows == 32 and r.active + r.dead == 32)\n"
        "local sum = 0 for _, n in ipairs(r.rows) do sum = sum + n end\n"
        "assert(sum == r.local_rows and sum <= 64 * 8)\n"
        "assert(#moe.devices() >= 1 and #moe.models() > 10 and moe.version)\n",
        "");
    CHECK_STRING(got->err, "");
    CHECK_INT(got->code, CLI_OK);
}

TEST(arguments_and_files)
{
    const cli_run_result *got = run_script("local a, b = ...\n"
                                           "assert(arg[0] == 's.lua' and arg[1] == a and #arg == 3)\n"
                                           "moe.write('new/folder/out.json', moe.json{b = 1, a = {1, 2, 'x'}, c = a})\n"
                                           "print(a, b, arg[3])\n",
                                           "one --two -v");
    CHECK_STRING(got->err, "");
    CHECK_STRING(got->out, "one\t--two\t-v\n");
    char path[700];
    size_t bytes;
    snprintf(path, sizeof path, "%s/new/folder/out.json", cli_home);
    char *text = cli_slurp(path, &bytes);
    char *a = strstr(text, "\"a\""), *b = strstr(text, "\"b\""), *c = strstr(text, "\"one\"");
    bool sorted = a && b && c && a < b && b < c;
    free(text);
    CHECK(sorted);
}

/* Nothing is opened: every routing's prediction, printed and as values; anything but an estimate needs the device. */
TEST(predictions_for_an_absent_arch)
{
    cli_put_file(
        "s.lua",
        "local p = moe.problem{text = "
        "'E=4/4,topk=2,H=256,N=128,gated=1,act=silu,bias=0,scheme=int4_w4a16,layout=default'}\n"
        "local r = moe.bench(p, {tokens = 8, effort = 'estimate', arch = 'gfx942', routing = 'all', quiet = true})\n"
        "assert(#r.rows == 10)\n"
        "local row = r.best[8].balanced.gemm2\n"
        "assert(row.family == 'mfma' and row.estimate_us > row.floor_us and row.floor_us > 0)\n"
        "assert(row.padded_operations == row.operations * row.config.tile_m / 4)\n"
        "assert(row.row_error == nil and row.against == nil)\n"
        "r:print()\n"
        "assert(not pcall(moe.bench, p, {tokens = 8, effort = 'estimate', arch = 'gfx94', quiet = true}))\n"
        "moe.bench(p, {tokens = 8, arch = 'gfx942', quiet = true})\n");
    const cli_run_result *got = cli_run_words("run s.lua");
    CHECK_CONTAINS(got->out, "a typical MI300X");
    CHECK_CONTAINS(got->out, "predicted us");
    CHECK_CONTAINS(got->err, "s.lua:10:");
    CHECK_CONTAINS(got->err, "arch gfx942: only the estimate works without the device");
    CHECK_INT(got->code, CLI_BAD_FILE);
}

/* The store's folder is gone once something was measured: the script has its result, and the exit code says what happened. */
TEST(a_result_that_cannot_be_saved_is_a_result)
{
    cli_put_file(
        "s.lua",
        "os.execute([[(i=0; until grep -q measured .local/state/moejit/*.jsonl 2>/dev/null || [ $i = 999 ]; do "
        "i=$((i + 1)); sleep 0.02; done; rm -rf gone; touch gone) &]])\n"
        "local p = moe.problem{text = "
        "'E=4/4,topk=2,H=64,N=32,gated=1,act=silu,bias=0,scheme=bf16,layout=default'}\n"
        "local r = moe.tune(nil, p, {tokens = {2, 3}, device = 'cpu', mem = '64M', gemm = 1, quiet = true, "
        "save_dir = 'gone', seed = 77})\n"
        "assert(#r.rows == 4 and not r.saved and #r.not_saved > 0)\n"
        "print('done')\n");
    const cli_run_result *got = cli_run_words("run s.lua");
    CHECK_STRING(got->out, "done\n");
    CHECK(cli_one_line(got->err));
    CHECK_CONTAINS(got->err, "s.lua:3: ");
    CHECK_CONTAINS(got->err, "gone");
    CHECK_INT(got->code, CLI_NOT_SAVED);
}

/* A script that computes, and measures nothing, notices Ctrl-C too. */
TEST(an_interrupt_ends_a_loop)
{
    cli_put_file("s.lua", "moe.write('started', 'x')\nwhile true do\n local x = 1\nend\n");
    char command[2048];
    snprintf(command, sizeof command,
             "cd '%s' && { '%s/moejit' run s.lua >int.out 2>int.err & pid=$!; "
             "while [ ! -e started ]; do sleep 0.05; done; kill -INT $pid; wait $pid; }",
             cli_home, check_build_dir());
    CHECK_INT(cli_shell(command), CLI_INTERRUPTED);
    size_t bytes;
    snprintf(command, sizeof command, "%s/int.err", cli_home);
    char *text = cli_slurp(command, &bytes);
    bool said = strstr(text, "s.lua:") && strstr(text, "interrupted") && cli_one_line(text);
    free(text);
    CHECK(said);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    RUN(errors_name_file_and_line);
    RUN(a_rule_that_fails_is_the_scripts_error);
    RUN(problems_read_back);
    RUN(nothing_is_ignored_beside_a_text);
    RUN(spaces_count_and_list);
    RUN(kernels_and_routings_on_paper);
    RUN(arguments_and_files);
    RUN(predictions_for_an_absent_arch);
    RUN(a_result_that_cannot_be_saved_is_a_result);
    RUN(an_interrupt_ends_a_loop);
    cli_clean_home();
    return CHECK_END();
}
