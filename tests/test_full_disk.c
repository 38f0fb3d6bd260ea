/* A full disk while something is written: the old file is intact, what was found is shown, the exit code says so. */
#define _GNU_SOURCE
#include "check.h"

#include "cli.h"
#include "cli_run.h"
#include "context.h"
#include "full_disk.h"
#include "journal.h"
#include "store.h"

#define LAYER "--problem E=4/4,topk=2,H=64,N=32,gated=1,act=silu,bias=0,scheme=bf16,layout=default --device cpu"
#define ONE   LAYER " --family reference --effort quick --force"

static char disk[700];

/* "<home>/<name>"; the next call but one reuses it. */
static const char *at_home(const char *name)
{
    static char paths[2][700];
    static unsigned at;
    char *path = paths[at++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", cli_home, name);
    return path;
}

static int in_home(const char *words)
{
    char command[2000];
    snprintf(command, sizeof command, "cd '%s' && %s", cli_home, words);
    return cli_shell(command);
}

/* Plain files on the disk but the filler. */
static int count_files(void)
{
    size_t bytes;
    in_home("find disk -type f ! -name .filler | wc -l >count");
    char *text = cli_slurp(at_home("count"), &bytes);
    int count = (int)strtol(text, NULL, 10);
    free(text);
    return count;
}

static int mount_child(void)
{
    full_disk_mount(disk);
    return full_disk_is_real;
}

/* The check macros leave a void function; the child's verdict is its exit code. */
#define IN_A_CHILD_IF(name, condition) \
    static void name##_body(void); \
    static int name##_child(void) \
    { \
        name##_body(); \
        return check_state.failed_here != 0; \
    } \
    TEST(name) \
    { \
        if (!(condition)) { \
            SKIP("no mount namespaces here, and the stand-in would stop the C compiler"); \
        } \
        CHECK_INT(full_disk_run(name##_child), 0); \
    } \
    static void name##_body(void)
#define IN_A_CHILD(name)             IN_A_CHILD_IF(name, true)
#define IN_A_CHILD_THAT_MOUNTS(name) IN_A_CHILD_IF(name, full_disk_run(mount_child) == 1)

static void open_disk(void)
{
    full_disk_mount(disk);
    in_home("rm -rf disk/*");
}

static bool store_is_as_it_was(void)
{
    size_t before_bytes = 0, after_bytes = 0;
    in_home("cat base/*.json >before; cat disk/*.json >after");
    char *before = cli_slurp(at_home("before"), &before_bytes), *after = cli_slurp(at_home("after"), &after_bytes);
    bool same = before_bytes > 4096 && before_bytes == after_bytes && memcmp(before, after, before_bytes) == 0;
    free(before);
    free(after);
    return same;
}

IN_A_CHILD(the_store_keeps_what_it_held)
{
    mj_store_file file;
    mj_error error = {0};
    open_disk();
    CHECK_INT(in_home("cp base/*.json disk/ && mv disk/*.json disk/a.json"), 0);
    CHECK_STATUS(mj_store_load(at_home("disk/a.json"), &file, &error), MJ_OK);
    file.memory_gbps += 1;
    full_disk_fill(disk, 4096);
    mj_status status = mj_store_save(at_home("disk/a.json"), &file, &error);
    full_disk_relieve(disk);
    CHECK_STATUS(status, MJ_ERR_IO);
    CHECK(full_disk_is_said(error.text));
    CHECK(store_is_as_it_was());
    CHECK_INT(count_files(), 1);
    CHECK_STATUS(mj_store_save(at_home("disk/a.json"), &file, &error), MJ_OK);
    CHECK(!store_is_as_it_was());
    mj_store_file_free(&file);
}

IN_A_CHILD_THAT_MOUNTS(a_tune_says_so_and_loses_nothing)
{
    open_disk();
    CHECK_INT(in_home("cp base/*.json disk/"), 0);
    full_disk_fill(disk, 4096);
    const cli_run_result *got = cli_run_words("tune -q " ONE " --batch 1 2 --save-dir disk");
    CHECK(full_disk_is_said(got->err));
    CHECK(cli_one_line(got->err));
    CHECK_INT(got->code, CLI_NOT_SAVED);
    CHECK_CONTAINS(got->out, "gemm2 reference"); /* the work is not lost */
    CHECK_CONTAINS(got->out, "(not saved)");
    CHECK(store_is_as_it_was());
    CHECK_INT(count_files(), 1);
    full_disk_fill(disk, 0); /* nor does one start where not a byte can be saved */
    got = cli_run_words("tune -q " ONE " --batch 1 2 --save-dir disk");
    CHECK(full_disk_is_said(got->err));
    CHECK(cli_one_line(got->err));
    CHECK_INT(got->code, CLI_NOT_SAVED);
    CHECK_STRING(got->out, "");
}

IN_A_CHILD(the_journal_keeps_what_it_held)
{
    mj_journal *journal = NULL;
    mj_error error = {0};
    mj_journal_record record = {MJ_REASON_NONE, 12.5, 0.25, 20, ""};
    mj_journal_key key = {MJ_OP_GEMM1, 1, "uniform", "mma", "tile_m=16", ""};
    uint32_t kept = 0, failures = 0;
    enum { RECORDS = 100 };
    open_disk();
    full_disk_fill(disk, 4096);
    CHECK_STATUS(mj_journal_open(disk, "the key", false, &journal, &error), MJ_OK);
    for (uint32_t i = 0; i < RECORDS; i++) {
        key.token_count = i + 1;
        mj_status status = mj_journal_add(journal, &key, &record, &error);
        kept += status == MJ_OK && failures == 0;
        failures += status != MJ_OK;
        CHECK(status == MJ_OK || status == MJ_ERR_IO);
    }
    CHECK_INT(failures, 1); /* said once */
    CHECK(full_disk_is_said(error.text));
    CHECK(kept > 5 && kept < RECORDS);
    CHECK_INT(mj_journal_count(journal), RECORDS); /* this run still knows them all */
    mj_journal_close(journal, false);
    full_disk_relieve(disk);
    CHECK_STATUS(mj_journal_open(disk, "the key", false, &journal, &error), MJ_OK);
    CHECK_INT(mj_journal_count(journal), kept); /* the next one resumes from what fitted */
    CHECK_INT(mj_journal_damaged(journal), 0);
    mj_journal_close(journal, false);
}

static mj_status put(mj_cache *cache, char letter, mj_error *error)
{
    static char binary[20000];
    mj_cache_entry entry = {.compiler = "fakecc 1", .compile_target = "sm_90a"};
    memset(entry.key, letter, MJ_SHA256_HEX - 1);
    memset(binary, letter, sizeof binary);
    entry.compiled.binary = binary;
    entry.compiled.binary_bytes = sizeof binary;
    return mj_cache_put(cache, &entry, error);
}

IN_A_CHILD(the_cache_keeps_what_it_held)
{
    mj_context *context = NULL;
    mj_cache_entry entry;
    mj_error error = {0};
    char key[MJ_SHA256_HEX] = "";
    open_disk();
    mj_context_options options = {.cache_dir = disk, .store_dir = disk};
    CHECK_STATUS(mj_context_create(&options, &context, &error), MJ_OK);
    CHECK_STATUS(put(context->cache, 'a', &error), MJ_OK);
    int files = count_files();
    full_disk_fill(disk, 8192);
    CHECK_STATUS(put(context->cache, 'b', &error), MJ_ERR_IO);
    CHECK(full_disk_is_said(error.text));
    CHECK_STATUS(put(context->cache, 'a', &error), MJ_ERR_IO);
    CHECK_INT(count_files(), files);
    memset(key, 'a', MJ_SHA256_HEX - 1);
    CHECK_STATUS(mj_cache_get(context->cache, key, &entry, &error), MJ_OK);
    CHECK_INT(entry.compiled.binary_bytes, 20000);
    mj_cache_entry_free(&entry);
    mj_context_destroy(context);
}

/* Kernels go from the compiler to the worker through the cache. */
IN_A_CHILD_THAT_MOUNTS(kernels_that_cannot_be_handed_over_are_said)
{
    open_disk();
    full_disk_fill(disk, 8192);
    const cli_run_result *got = cli_run_words("verify -q " LAYER " --family reference --batch 1 --cache-dir disk");
    CHECK_CONTAINS(got->err, "compiled kernels cannot be handed over");
    CHECK(full_disk_is_said(got->err));
    CHECK(cli_one_line(got->err));
    CHECK_INT(got->code, CLI_NOT_SAVED);
}

IN_A_CHILD(what_commands_write)
{
    open_disk();
    CHECK_INT(cli_run_words("gen --model mixtral-8x7b --arch sm_90a --op tables --out disk/kernel.cu")->code, CLI_OK);
    size_t before = 0, after = 0;
    free(cli_slurp(at_home("disk/kernel.cu"), &before));
    full_disk_fill(disk, 4096);
    const cli_run_result *got =
        cli_run_words("gen --model mixtral-8x7b --arch sm_90a --family mma --out disk/kernel.cu");
    CHECK_INT(got->code, CLI_NOT_SAVED);
    CHECK(full_disk_is_said(got->err));
    CHECK(cli_one_line(got->err));
    free(cli_slurp(at_home("disk/kernel.cu"), &after));
    CHECK(before > 0 && before == after);
    CHECK_INT(count_files(), 1);
    static const char *const commands[] = {"gen --model mixtral-8x7b --arch sm_80", "models --json", "cache ls --json",
                                           "routing --model mixtral-8x7b --batch 1"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char words[1400];
        size_t bytes;
        snprintf(words, sizeof words, "'%s/moejit' %s >/dev/full 2>err", check_build_dir(), commands[i]);
        CHECK_INT(in_home(words), CLI_NOT_SAVED);
        char *err = cli_slurp(at_home("err"), &bytes);
        bool said = strstr(err, "No space left") && cli_one_line(err);
        free(err);
        CHECK(said);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    cli_set_home();
    snprintf(disk, sizeof disk, "%s", at_home("disk"));
    mkdir(disk, 0700);
    /* Compiled once: a stand-in for the full disk may stop the C compiler. */
    if (cli_run_words("tune -q " ONE " --batch 1 2 --save-dir base")->code != CLI_OK) {
        fprintf(stderr, "%s", cli_last.err);
        return 2;
    }
    RUN(the_store_keeps_what_it_held);
    RUN(a_tune_says_so_and_loses_nothing);
    RUN(the_journal_keeps_what_it_held);
    RUN(the_cache_keeps_what_it_held);
    RUN(kernels_that_cannot_be_handed_over_are_said);
    RUN(what_commands_write);
    cli_clean_home();
    return CHECK_END();
}
