/* test_os.c: files and folders, with every step failing and the process dying at every step. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "check.h"
#include "os_faults.h"
#include "temp_folder.h"

static const char old_text[] = "old contents, whole", new_text[] = "the new contents, longer than the old ones";

/* 'o' or 'n': which text the file holds, whole; '?' anything else. */
static char which(const char *path)
{
    size_t bytes = 0;
    char *text = temp_read(path, &bytes);
    char answer = !text                                                         ? '-'
                  : bytes == sizeof old_text - 1 && strcmp(text, old_text) == 0 ? 'o'
                  : bytes == sizeof new_text - 1 && strcmp(text, new_text) == 0 ? 'n'
                                                                                : '?';
    free(text);
    return answer;
}

TEST(writes_and_reads)
{
    char *text = NULL;
    size_t bytes = 0;
    mj_error error = {0};
    struct stat info;
    temp_folder_make();
    const char *path = temp_path("file");
    CHECK_STATUS(mj_os_write_file_atomic(path, new_text, sizeof new_text - 1, 0640, &error), MJ_OK);
    CHECK_STATUS(mj_os_read_file(path, 1 << 20, &text, &bytes, &error), MJ_OK);
    CHECK_INT(bytes, sizeof new_text - 1);
    CHECK_STRING(text, new_text);
    free(text);
    CHECK(stat(path, &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0640);
    CHECK_STATUS(mj_os_write_file_atomic(path, "", 0, 0600, &error), MJ_OK);
    CHECK_STATUS(mj_os_read_file(path, 1 << 20, &text, &bytes, &error), MJ_OK);
    CHECK_INT(bytes, 0);
    free(text);
    CHECK_INT(temp_count_files(), 1);
}

TEST(read_refuses)
{
    char *text = NULL;
    size_t bytes = 0;
    mj_error error = {0};
    temp_folder_make();
    CHECK_STATUS(mj_os_read_file(temp_path("none"), 10, &text, &bytes, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "none");
    CHECK_STATUS(mj_os_read_file(temp_folder, 10, &text, &bytes, &error), MJ_ERR_IO);
    temp_write(temp_path("eleven"), "01234567890", 11);
    CHECK_STATUS(mj_os_read_file(temp_path("eleven"), 10, &text, &bytes, &error), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_os_read_file(temp_path("eleven"), 11, &text, &bytes, &error), MJ_OK);
    free(text);
    /* A file without a size (/proc, /dev) is limited while it is read. */
    CHECK_STATUS(mj_os_read_file("/dev/zero", 100000, &text, &bytes, &error), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_os_read_file("/proc/self/status", 1 << 20, &text, &bytes, &error), MJ_OK);
    CHECK(bytes > 10);
    free(text);
    CHECK(mkfifo(temp_path("fifo"), 0600) == 0); /* nobody writes: must not hang */
    CHECK_STATUS(mj_os_read_file(temp_path("fifo"), 10, &text, &bytes, &error), MJ_OK);
    CHECK_INT(bytes, 0);
    free(text);
    for (int code = 0; code < 2; code++) {
        os_faults_always(code ? "read" : "open", EIO);
        CHECK_STATUS(mj_os_read_file(temp_path("eleven"), 99, &text, &bytes, &error), MJ_ERR_IO);
        os_faults_clear();
    }
    os_faults_at(2, EINTR); /* the first is open */
    CHECK_STATUS(mj_os_read_file(temp_path("eleven"), 99, &text, &bytes, &error), MJ_OK);
    CHECK_INT(bytes, 11);
    free(text);
    os_faults_clear();
}

TEST(private_files)
{
    char *text = NULL;
    size_t bytes = 0;
    mj_error error = {0};
    temp_folder_make();
    const char *path = temp_path("file"), *link = temp_path("link");
    temp_write(path, "x", 1);
    chmod(path, 0600);
    CHECK_STATUS(mj_os_read_private_file(path, 10, &text, &bytes, &error), MJ_OK);
    free(text);
    chmod(path, 0622);
    CHECK_STATUS(mj_os_read_private_file(path, 10, &text, &bytes, &error), MJ_ERR_IO);
    CHECK_CONTAINS(error.text, "others may write");
    chmod(path, 0600);
    CHECK(symlink(path, link) == 0);
    CHECK_STATUS(mj_os_read_private_file(link, 10, &text, &bytes, &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_read_private_file(temp_path("none"), 10, &text, &bytes, &error), MJ_ERR_NOT_FOUND);
    CHECK(mkfifo(temp_path("fifo"), 0600) == 0);
    CHECK_STATUS(mj_os_read_private_file(temp_path("fifo"), 10, &text, &bytes, &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_check_private_folder(temp_folder, &error), MJ_OK);
    CHECK_STATUS(mj_os_check_private_folder(path, &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_check_private_folder(temp_path("none"), &error), MJ_ERR_NOT_FOUND);
    chmod(temp_folder, 0777);
    CHECK_STATUS(mj_os_check_private_folder(temp_folder, &error), MJ_ERR_IO);
    chmod(temp_folder, 0700);
    if (geteuid() == 0) { /* only root can give files away */
        CHECK(chown(path, 12345, 12345) == 0);
        CHECK_STATUS(mj_os_read_private_file(path, 10, &text, &bytes, &error), MJ_ERR_IO);
        CHECK_CONTAINS(error.text, "another user");
    }
}

TEST(every_failed_write_step_keeps_the_old_file)
{
    static const int codes[] = {ENOSPC, EIO, EROFS, EDQUOT};
    mj_error error = {0};
    temp_folder_make();
    const char *path = temp_path("file");
    temp_write(path, old_text, sizeof old_text - 1);
    long step = 1;
    for (;; step++) {
        os_faults_at(step, codes[step % 4]);
        mj_status status = mj_os_write_file_atomic(path, new_text, sizeof new_text - 1, 0600, &error);
        long steps = os_faults.step;
        os_faults_clear();
        if (steps < step) {
            CHECK_INT(status, MJ_OK);
            break;
        }
        CHECK_INT(status, MJ_ERR_IO);
        CHECK_CONTAINS(error.text, "file");
        CHECK_INT(temp_count_files(), 1); /* the temporary is gone */
        char held = which(path);
        CHECK(held == 'o' || (held == 'n' && step == 6)); /* the last step syncs the folder of a file already there */
    }
    CHECK_INT(step, 7); /* open, write, fsync, close, rename, fsync_folder */
    CHECK_INT(which(path), 'n');
}

static void write_new(void *user)
{
    mj_os_write_file_atomic(user, new_text, sizeof new_text - 1, 0600, NULL);
}

TEST(killed_at_every_write_step)
{
    temp_folder_make();
    char path[600];
    snprintf(path, sizeof path, "%s", temp_path("file"));
    bool died = true;
    int deaths = 0;
    for (long step = 1; died; step++) {
        temp_write(path, old_text, sizeof old_text - 1);
        died = os_faults_killed_at(step, write_new, path);
        deaths += died;
        char held = which(path);
        CHECK(held == 'n' || (died && held == 'o'));
    }
    CHECK_INT(deaths, 6);
}

TEST(disk_full)
{
    struct rlimit before, small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    static char large[100000];
    mj_error error = {0};
    temp_folder_make();
    const char *path = temp_path("file");
    temp_write(path, old_text, sizeof old_text - 1);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN); /* write() then stops short, as on a full disk */
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    memset(large, 'x', sizeof large);
    mj_status status = mj_os_write_file_atomic(path, large, sizeof large, 0600, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_INT(status, MJ_ERR_IO);
    CHECK_INT(which(path), 'o');
    CHECK_INT(temp_count_files(), 1);
}

TEST(odd_targets)
{
    mj_error error = {0};
    temp_folder_make();
    temp_write(temp_path("file"), old_text, sizeof old_text - 1);
    CHECK(symlink("file", temp_path("link")) == 0);
    CHECK(symlink("nowhere", temp_path("dangling")) == 0);
    CHECK_STATUS(mj_os_write_file_atomic(temp_path("link"), new_text, sizeof new_text - 1, 0600, &error), MJ_OK);
    CHECK_INT(which(temp_path("file")), 'n');
    struct stat info;
    CHECK(lstat(temp_path("link"), &info) == 0 && S_ISLNK(info.st_mode));
    CHECK_STATUS(mj_os_write_file_atomic(temp_path("dangling"), "x", 1, 0600, &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_write_file_atomic(temp_folder, "x", 1, 0600, &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_write_file_atomic("/dev/null", "x", 1, 0600, &error), MJ_ERR_IO);
    CHECK(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
    CHECK_STATUS(mj_os_write_file_atomic(temp_path("no/such/folder"), "x", 1, 0600, &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_write_file_atomic(temp_path("file/below"), "x", 1, 0600, &error), MJ_ERR_IO);
    CHECK(mj_os_is_temporary("a.json.tmpAb3_-9"));
    CHECK(!mj_os_is_temporary("a.json"));
    CHECK(!mj_os_is_temporary(".tmpabcdef")); /* no name before it: not made here */
}

TEST(appends_whole_records)
{
    mj_error error = {0};
    temp_folder_make();
    const char *path = temp_path("journal");
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    CHECK(fd >= 0);
    CHECK_STATUS(mj_os_append(fd, "one\n", 4, &error), MJ_OK);
    os_faults_always("write", ENOSPC);
    CHECK_STATUS(mj_os_append(fd, "two\n", 4, &error), MJ_ERR_IO);
    os_faults_clear();
    struct rlimit before, small;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = before;
    small.rlim_cur = 6; /* the next record fits half */
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    mj_status status = mj_os_append(fd, "three\n", 6, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_INT(status, MJ_ERR_IO);
    CHECK_STATUS(mj_os_append(fd, "four\n", 5, &error), MJ_OK);
    close(fd);
    char *text = temp_read(path, NULL);
    CHECK_STRING(text, "one\nfour\n");
    free(text);
}

TEST(makes_folders)
{
    mj_error error = {0};
    struct stat info;
    temp_folder_make();
    CHECK_STATUS(mj_os_make_folder(temp_path("a/b//c/"), &error), MJ_OK);
    CHECK_STATUS(mj_os_make_folder(temp_path("a/b/c"), &error), MJ_OK);
    CHECK(stat(temp_path("a/b"), &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0700);
    CHECK_STATUS(mj_os_make_folder("", &error), MJ_ERR_ARGUMENT);
    temp_write(temp_path("file"), "x", 1);
    CHECK_STATUS(mj_os_make_folder(temp_path("file/below"), &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_make_folder(temp_path("file"), &error), MJ_ERR_IO);
    os_faults_always("mkdir", EROFS);
    CHECK_STATUS(mj_os_make_folder(temp_path("z"), &error), MJ_ERR_IO);
    os_faults_clear();
    CHECK(mj_os_is_writable_folder(temp_path("a")));
    CHECK(!mj_os_is_writable_folder(temp_path("none")));
    CHECK(!mj_os_is_writable_folder(temp_path("file")));
    os_faults_always("write", ENOSPC);
    CHECK(!mj_os_is_writable_folder(temp_path("a")));
    os_faults_clear();
    CHECK_INT(temp_count_files(), 1);
}

static char listed[256];
static bool list_one(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    (void)bytes, (void)mtime_seconds;
    strcat(listed, name);
    strcat(listed, " ");
    return strcmp(name, user) != 0;
}

static bool list_folder(void *user, const char *name)
{
    (void)user;
    strcat(listed, name);
    strcat(listed, " ");
    return true;
}

TEST(lists_sorted)
{
    mj_error error = {0};
    temp_folder_make();
    temp_write(temp_path("b"), "x", 1);
    temp_write(temp_path("a"), "x", 1);
    temp_write(temp_path("c"), "x", 1);
    CHECK(mkdir(temp_path("dir"), 0700) == 0);
    CHECK(symlink("dir", temp_path("dirlink")) == 0);
    listed[0] = '\0';
    CHECK_STATUS(mj_os_list_folder(temp_folder, list_one, (void *)(uintptr_t) "", &error), MJ_OK);
    CHECK_STRING(listed, "a b c ");
    listed[0] = '\0';
    CHECK_STATUS(mj_os_list_folder(temp_folder, list_one, (void *)(uintptr_t) "b", &error), MJ_OK);
    CHECK_STRING(listed, "a b ");
    listed[0] = '\0';
    CHECK_STATUS(mj_os_list_subfolders(temp_folder, list_folder, NULL, &error), MJ_OK);
    CHECK_STRING(listed, "dir ");
    CHECK_STATUS(mj_os_list_folder(temp_path("none"), list_one, (void *)(uintptr_t) "", &error), MJ_OK);
    CHECK_STATUS(mj_os_list_folder(temp_path("a"), list_one, (void *)(uintptr_t) "", &error), MJ_ERR_IO);
    CHECK_STATUS(mj_os_remove_file(temp_path("a"), &error), MJ_OK);
    CHECK_STATUS(mj_os_remove_file(temp_path("a"), &error), MJ_OK);
    CHECK_STATUS(mj_os_remove_folder(temp_path("dir"), &error), MJ_OK);
    CHECK_INT(temp_count_files(), 2);
}

TEST(paths)
{
    char out[16];
    mj_error error = {0};
    CHECK_STATUS(mj_os_join(out, sizeof out, "/a", "b", &error), MJ_OK);
    CHECK_STRING(out, "/a/b");
    CHECK_STATUS(mj_os_join(out, sizeof out, "/a/", "b", &error), MJ_OK);
    CHECK_STRING(out, "/a/b");
    CHECK_STATUS(mj_os_join(out, sizeof out, "/abcdefg", "bcdefgh", &error), MJ_ERR_CAPACITY); /* 16 characters */
    CHECK_STATUS(mj_os_join(out, sizeof out, "/abcdef", "bcdefgh", &error), MJ_OK);
}

TEST(default_folders)
{
    char out[64];
    setenv("HOME", "/home/u", 1);
    setenv("XDG_CACHE_HOME", "/x", 1);
    mj_os_default_folder("cache", out, sizeof out);
    CHECK_STRING(out, "/x/moejit");
    setenv("XDG_CACHE_HOME", "relative", 1);
    mj_os_default_folder("cache", out, sizeof out);
    CHECK_STRING(out, "/home/u/.cache/moejit");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_DATA_HOME");
    mj_os_default_folder("data", out, sizeof out);
    CHECK_STRING(out, "/home/u/.local/share/moejit");
    mj_os_default_folder("state", out, sizeof out);
    CHECK_STRING(out, "/home/u/.local/state/moejit");
    unsetenv("HOME");
    mj_os_default_folder("data", out, sizeof out);
    CHECK_STRING(out, "");
    mj_os_default_folder("nonsense", out, sizeof out);
    CHECK_STRING(out, "");
}

TEST(clock_never_goes_back)
{
    double last = mj_os_monotonic_seconds();
    for (int i = 0; i < 10000; i++) {
        double now = mj_os_monotonic_seconds();
        CHECK(now >= last);
        last = now;
    }
}

TEST(lock_waits_for_a_holder_only_so_long)
{
    temp_folder_make();
    int first = mj_os_lock_folder_of(temp_path("file"), 0.2);
    CHECK(first >= 0);
    double start = mj_os_monotonic_seconds();
    int second = mj_os_lock_folder_of(temp_path("other"), 0.2);
    CHECK(second == -1);
    CHECK(mj_os_monotonic_seconds() - start >= 0.2);
    mj_os_unlock(first);
    second = mj_os_lock_folder_of(temp_path("other"), 0.2);
    CHECK(second >= 0);
    mj_os_unlock(second);
    CHECK(mj_os_lock_folder_of(temp_path("no/such/file"), 0.2) == -1);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(writes_and_reads);
    RUN(read_refuses);
    RUN(private_files);
    RUN(every_failed_write_step_keeps_the_old_file);
    RUN(killed_at_every_write_step);
    RUN(disk_full);
    RUN(odd_targets);
    RUN(appends_whole_records);
    RUN(makes_folders);
    RUN(lists_sorted);
    RUN(paths);
    RUN(lock_waits_for_a_holder_only_so_long);
    RUN(clock_never_goes_back);
    RUN(default_folders);
    temp_folder_remove();
    return CHECK_END();
}
