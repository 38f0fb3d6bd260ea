/* The journal: what was measured is found again, whatever byte the writer died at. */
#define _GNU_SOURCE
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "journal.h"
#include "temp_folder.h"

static const mj_journal_key key_a = {MJ_OP_GEMM1, 16, "uniform", "mma", "tile_m=16", ""};
static const mj_journal_key key_b = {MJ_OP_GEMM2, 16, "uniform", "mma", "tile_m=16", ""};
static const mj_journal_key key_c = {MJ_OP_GEMM1, 16, "uniform", "mma", "tile_m=16", "hang"};
static const mj_journal_record fine = {MJ_REASON_NONE, 12.5, 0.25, 20, ""};
static const mj_journal_record wrong = {MJ_REASON_WRONG, 0, 0, 0, "row 3 \"column\" 4:\n got nan"};

static mj_journal *open_journal(bool fresh)
{
    mj_journal *journal = NULL;
    mj_journal_open(temp_folder, "the key", fresh, &journal, NULL);
    return journal;
}

static void add_two(void)
{
    mj_journal *journal = open_journal(false);
    CHECK(journal);
    CHECK_STATUS(mj_journal_add(journal, &key_a, &fine, NULL), MJ_OK);
    CHECK_STATUS(mj_journal_add(journal, &key_b, &wrong, NULL), MJ_OK);
    mj_journal_close(journal, false);
}

TEST(an_interrupted_tune_is_found_again)
{
    temp_folder_make();
    add_two();
    mj_journal *journal = open_journal(false);
    CHECK_INT(mj_journal_count(journal), 2);
    const mj_journal_record *a = mj_journal_find(journal, &key_a), *b = mj_journal_find(journal, &key_b);
    CHECK(a && b && !mj_journal_find(journal, &key_c));
    CHECK(a->time_us_median == 12.5 && a->time_us_spread == 0.25 && a->sample_count == 20);
    CHECK_INT(b->reason, MJ_REASON_WRONG);
    CHECK_STRING(b->detail, wrong.detail);
    mj_journal_close(journal, true); /* this time it finishes */
    journal = open_journal(false);
    CHECK_INT(mj_journal_count(journal), 0);
    mj_journal_close(journal, false);
    temp_folder_remove();
}

TEST(force_forgets)
{
    temp_folder_make();
    add_two();
    mj_journal *journal = open_journal(true);
    CHECK_INT(mj_journal_count(journal), 0);
    CHECK_STATUS(mj_journal_add(journal, &key_c, &fine, NULL), MJ_OK);
    mj_journal_close(journal, false);
    journal = open_journal(false);
    CHECK_INT(mj_journal_count(journal), 1);
    CHECK(mj_journal_find(journal, &key_c) && !mj_journal_find(journal, &key_a));
    mj_journal_close(journal, false);
    temp_folder_remove();
}

TEST(a_later_record_replaces)
{
    temp_folder_make();
    add_two();
    mj_journal *journal = open_journal(false);
    CHECK_STATUS(mj_journal_add(journal, &key_a, &wrong, NULL), MJ_OK);
    CHECK_INT(mj_journal_count(journal), 2);
    mj_journal_close(journal, false);
    journal = open_journal(false);
    CHECK_INT(mj_journal_find(journal, &key_a)->reason, MJ_REASON_WRONG);
    mj_journal_close(journal, false);
    temp_folder_remove();
}

/* Killed at any byte: lines that are whole before the cut count, nothing else does, and the next writer's lines are sound. */
TEST(a_kill_at_any_byte)
{
    temp_folder_make();
    add_two();
    mj_journal *journal = open_journal(false);
    char path[1200];
    snprintf(path, sizeof(path), "%s", mj_journal_path(journal));
    mj_journal_close(journal, false);
    size_t bytes = 0;
    char *text = temp_read(path, &bytes);
    CHECK(text && bytes > 200);
    for (size_t cut = 0; cut <= bytes; cut++) {
        temp_write(path, text, cut);
        uint32_t lines = 0;
        for (size_t i = 0; i <= cut && i < bytes; i++) {
            lines += text[i] == '\n'; /* a line that lacks only its end is whole */
        }
        uint32_t want = lines >= 3 ? 2 : (lines >= 2 ? 1 : 0); /* the first line is "begin" */
        journal = open_journal(false);
        CHECK(journal);
        CHECK_INT(mj_journal_count(journal), want);
        CHECK_INT(mj_journal_damaged(journal), cut > 0 && text[cut - 1] != '\n' && text[cut] != '\n');
        CHECK_STATUS(mj_journal_add(journal, &key_c, &fine, NULL), MJ_OK);
        mj_journal_close(journal, false);
        journal = open_journal(false);
        CHECK_INT(mj_journal_count(journal), want + 1);
        CHECK(mj_journal_find(journal, &key_c) != NULL);
        mj_journal_close(journal, false);
    }
    free(text);
    temp_folder_remove();
}

TEST(a_flipped_byte_costs_its_line)
{
    temp_folder_make();
    add_two();
    mj_journal *journal = open_journal(false);
    char path[1200];
    snprintf(path, sizeof(path), "%s", mj_journal_path(journal));
    mj_journal_close(journal, false);
    size_t bytes = 0;
    char *text = temp_read(path, &bytes);
    CHECK(text);
    size_t first = (size_t)(strchr(text, '\n') - text) + 1; /* the line of key_a */
    size_t second = (size_t)(strchr(text + first, '\n') - text);
    for (size_t i = first; i < second; i++) {
        text[i] ^= 1;
        mj_journal *parsed = NULL;
        CHECK_STATUS(mj_journal_parse(text, bytes, "the key", &parsed, NULL), MJ_OK);
        CHECK(!mj_journal_find(parsed, &key_a));
        CHECK(mj_journal_find(parsed, &key_b) != NULL || text[i] == '\n');
        CHECK(mj_journal_damaged(parsed) >= 1);
        mj_journal_close(parsed, false);
        text[i] ^= 1;
    }
    free(text);
    temp_folder_remove();
}

TEST(records_of_another_key_do_not_count)
{
    temp_folder_make();
    add_two();
    mj_journal *journal = open_journal(false);
    size_t bytes = 0;
    char *text = temp_read(mj_journal_path(journal), &bytes);
    mj_journal_close(journal, false);
    mj_journal *parsed = NULL;
    CHECK_STATUS(mj_journal_parse(text, bytes, "another key", &parsed, NULL), MJ_OK);
    CHECK(mj_journal_damaged(parsed) >= 1);
    mj_journal_close(parsed, false);
    free(text);
    temp_folder_remove();
}

TEST(an_unwritable_folder_still_opens)
{
    mj_journal *journal = NULL;
    mj_error error = {0};
    CHECK(mj_journal_open("/proc/nowhere", "the key", false, &journal, &error) != MJ_OK);
    CHECK(journal && error.text[0]);
    CHECK_STATUS(mj_journal_add(journal, &key_a, &fine, NULL), MJ_OK); /* in memory */
    CHECK(mj_journal_find(journal, &key_a) != NULL);
    mj_journal_close(journal, true);
}

TEST(a_symlink_is_not_followed)
{
    temp_folder_make();
    mj_journal *journal = open_journal(false);
    char path[1200];
    snprintf(path, sizeof(path), "%s", mj_journal_path(journal));
    mj_journal_close(journal, false);
    CHECK(unlink(path) == 0);
    CHECK(symlink("/dev/null", path) == 0);
    mj_error error = {0};
    CHECK(mj_journal_open(temp_folder, "the key", false, &journal, &error) != MJ_OK);
    mj_journal_close(journal, false);
    temp_folder_remove();
}

TEST(a_full_disk_is_reported_once)
{
    temp_folder_make();
    char path[1200];
    mj_journal *journal = open_journal(false);
    snprintf(path, sizeof(path), "%s", mj_journal_path(journal));
    CHECK_STATUS(mj_journal_add(journal, &key_a, &fine, NULL), MJ_OK);
    mj_journal_close(journal, false);
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0); /* cannot be opened for writing */
    mj_error error = {0};
    CHECK(mj_journal_open(temp_folder, "the key", false, &journal, &error) != MJ_OK);
    CHECK_STATUS(mj_journal_add(journal, &key_a, &fine, NULL), MJ_OK);
    mj_journal_close(journal, false);
    temp_folder_remove();
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(an_interrupted_tune_is_found_again);
    RUN(force_forgets);
    RUN(a_later_record_replaces);
    RUN(a_kill_at_any_byte);
    RUN(a_flipped_byte_costs_its_line);
    RUN(records_of_another_key_do_not_count);
    RUN(an_unwritable_folder_still_opens);
    RUN(a_symlink_is_not_followed);
    RUN(a_full_disk_is_reported_once);
    return CHECK_END();
}
