/* test_cache.c: compiled binaries on disk: damage, many processes, limits, folders that must not be trusted. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "cache_file.h"
#include "check.h"
#include "context.h"
#include "os_faults.h"
#include "temp_folder.h"

static const char key_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char key_b[] = "ab00000000000000000000000000000000000000000000000000000000000000";

static int warnings;
static char last_warning[1024];
static void count_warnings(void *user, int level, const char *line)
{
    (void)user;
    warnings += level == 0;
    if (level == 0) {
        snprintf(last_warning, sizeof last_warning, "%s", line);
    }
}

static mj_context *make_context(const char *folder, uint64_t bytes_max)
{
    mj_context *context = NULL;
    mj_context_options options = {
        .cache_dir = folder, .store_dir = "/nonexistent", .cache_bytes_max = bytes_max, .log = count_warnings};
    warnings = 0;
    mj_status status = mj_context_create(&options, &context, NULL);
    return status == MJ_OK ? context : NULL;
}

static mj_cache_entry make_entry(const char *key, size_t bytes)
{
    mj_cache_entry entry = {.compiler = "fakecc 1", .compile_target = "sm_90a"};
    snprintf(entry.key, sizeof entry.key, "%s", key);
    entry.compiled.binary = malloc(bytes);
    entry.compiled.binary_bytes = bytes;
    memset(entry.compiled.binary, 0x5a, bytes);
    entry.compiled.log = strdup("warning: none");
    entry.compiled.compile_seconds = 0.25;
    entry.compiled.attributes =
        (mj_kernel_attributes){.regs_thread = 168, .local_bytes = 0, .static_smem_bytes = 16, .threads_block_max = 256};
    return entry;
}

static mj_status put(mj_cache *cache, const char *key, size_t bytes, mj_error *error)
{
    mj_cache_entry entry = make_entry(key, bytes);
    mj_status status = mj_cache_put(cache, &entry, error);
    mj_cache_entry_free(&entry);
    return status;
}

static const char *path_of(const char *key)
{
    char name[200];
    snprintf(name, sizeof name, "cache/v1/%.2s/%s.mjbin", key, key);
    return temp_path(name);
}

TEST(hit_and_miss)
{
    mj_error error = {0};
    mj_cache_entry entry;
    struct stat info;
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    CHECK(access(temp_path("cache"), F_OK) != 0); /* nothing is made before there is something to keep */
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, &error), MJ_ERR_NOT_FOUND);
    CHECK_STATUS(put(context->cache, key_a, 1000, &error), MJ_OK);
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, &error), MJ_OK);
    CHECK(entry.was_hit);
    CHECK_STRING(entry.key, key_a);
    CHECK_STRING(entry.compiler, "fakecc 1");
    CHECK_STRING(entry.compile_target, "sm_90a");
    CHECK_STRING(entry.compiled.log, "warning: none");
    CHECK_INT(entry.compiled.binary_bytes, 1000);
    CHECK_INT(((unsigned char *)entry.compiled.binary)[999], 0x5a);
    CHECK_INT(entry.compiled.attributes.regs_thread, 168);
    CHECK_INT(entry.compiled.attributes.threads_block_max, 256);
    CHECK(entry.compiled.compile_seconds == 0.25);
    mj_cache_entry_free(&entry);
    CHECK_STATUS(mj_cache_get(context->cache, key_b, &entry, &error), MJ_ERR_NOT_FOUND);
    CHECK(stat(temp_path("cache"), &info) == 0 && (info.st_mode & 0777) == 0700);
    CHECK(stat(temp_path("cache/v1/aa"), &info) == 0 && (info.st_mode & 0777) == 0700);
    CHECK(stat(path_of(key_a), &info) == 0 && (info.st_mode & 0777) == 0600);
    CHECK_INT(warnings, 0);
    mj_context_destroy(context);
}

TEST(only_hex_keys_become_names)
{
    static const char *const bad[] = {"",
                                      "aa",
                                      "../../../../etc/passwd",
                                      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                      "../aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/"};
    mj_cache_entry entry;
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(mj_cache_get(context->cache, bad[i], &entry, NULL), MJ_ERR_ARGUMENT);
        CHECK_STATUS(put(context->cache, bad[i], 10, NULL), MJ_ERR_ARGUMENT);
    }
    CHECK_INT(temp_count_files(), 0);
    mj_context_destroy(context);
}

/* Every byte flipped, every length cut: a miss, and the file gone. */
TEST(damage_is_a_miss)
{
    mj_cache_entry entry;
    size_t bytes = 0;
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    CHECK_STATUS(put(context->cache, key_a, 40, NULL), MJ_OK);
    char *good = temp_read(path_of(key_a), &bytes);
    CHECK(good && bytes > 200);
    for (size_t i = 0; i < 2 * bytes; i++) {
        bool cut = i >= bytes;
        size_t at = i % bytes;
        good[at] = (char)(good[at] ^ (cut ? 0 : 1 << (at % 8)));
        bool other_version = !cut && at == 5 && good[5] >= '0' && good[5] <= '9';
        temp_write(path_of(key_a), good, cut ? at : bytes);
        chmod(path_of(key_a), 0600);
        mj_status status = mj_cache_get(context->cache, key_a, &entry, NULL);
        good[at] = (char)(good[at] ^ (cut ? 0 : 1 << (at % 8)));
        if (status != MJ_ERR_NOT_FOUND || (access(path_of(key_a), F_OK) == 0) != other_version) {
            check_fail(__FILE__, __LINE__, "%s at %zu: status %d", cut ? "cut" : "flipped", at, status);
        }
    }
    static const char zeros[4096];
    temp_write(path_of(key_a), zeros, sizeof zeros); /* what a power loss leaves */
    chmod(path_of(key_a), 0600);
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, NULL), MJ_ERR_NOT_FOUND);
    memcpy(good + 5, "2", 1);
    temp_write(path_of(key_a), good, bytes); /* another version's: left alone */
    chmod(path_of(key_a), 0600);
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, NULL), MJ_ERR_NOT_FOUND);
    CHECK(access(path_of(key_a), F_OK) == 0);
    free(good);
    CHECK_STATUS(put(context->cache, key_a, 40, NULL), MJ_OK); /* and compiled again */
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, NULL), MJ_OK);
    mj_cache_entry_free(&entry);
    CHECK_INT(warnings, 0);
    mj_context_destroy(context);
}

/* A file whose checksum is right and whose header lies. */
static size_t forge(char *out, const char *length_digits, const char *header, size_t payload_bytes)
{
    size_t bytes = (size_t)sprintf(out, "%s%s\n%s", MJ_CACHE_MAGIC, length_digits, header);
    memset(out + bytes, 'p', payload_bytes);
    bytes += payload_bytes;
    mj_sha256_hex(out, bytes, out + bytes);
    return bytes + 64;
}

static void print_header(char *out, const char *binary_bytes, const char *log_bytes, const char *regs)
{
    sprintf(out,
            "{\"key\":\"%s\",\"compiler\":\"c\",\"compile_target\":\"t\",\"compile_seconds\":1,\"binary_bytes\":%s,"
            "\"log_bytes\":%s,\"regs_thread\":%s,\"local_bytes\":0,\"static_smem_bytes\":0,\"threads_block_max\":0}",
            key_a, binary_bytes, log_bytes, regs);
}

TEST(lying_headers_are_damage)
{
    static const struct {
        const char *binary, *log, *regs;
        mj_status want;
    } rows[] = {
        {"10", "6", "1", MJ_OK},
        {"11", "6", "1", MJ_ERR_FORMAT},
        {"10", "5", "1", MJ_ERR_FORMAT},
        {"0", "16", "1", MJ_ERR_FORMAT},
        {"-1", "17", "1", MJ_ERR_FORMAT},
        {"9223372036854775807", "6", "1", MJ_ERR_FORMAT},
        {"18446744073709551600", "32", "1", MJ_ERR_FORMAT},
        {"1e300", "6", "1", MJ_ERR_FORMAT},
        {"10.5", "5.5", "1", MJ_ERR_FORMAT},
        {"4294967306", "6", "1", MJ_ERR_FORMAT},
        {"10", "4294967302", "1", MJ_ERR_FORMAT},
        {"10", "6", "4294967296", MJ_ERR_FORMAT},
        {"10", "6", "-1", MJ_ERR_FORMAT},
        {"10", "6", "\"1\"", MJ_ERR_FORMAT},
        {"null", "6", "1", MJ_ERR_FORMAT},
    };
    static const char *const lengths[] = {"ffffffff", "7fffffff", "00000000", "00010001",
                                          "-0000001", "0000x012", "        "};
    char header[1024], file[2048], digits[24];
    mj_cache_entry entry;
    mj_error error = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        print_header(header, rows[i].binary, rows[i].log, rows[i].regs);
        snprintf(digits, sizeof digits, "%08zx", strlen(header));
        size_t bytes = forge(file, digits, header, 16);
        CHECK_STATUS(mj_cache_decode(file, bytes, &entry, &error), rows[i].want);
        if (rows[i].want == MJ_OK) {
            CHECK_INT(entry.compiled.binary_bytes, 10);
            CHECK_STRING(entry.compiled.log, "pppppp");
            mj_cache_entry_free(&entry);
        }
    }
    print_header(header, "10", "6", "1");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t bytes = forge(file, lengths[i], header, 16);
        CHECK_STATUS(mj_cache_decode(file, bytes, &entry, &error), MJ_ERR_FORMAT);
    }
    header[9] = 'Z'; /* the key's first character */
    snprintf(digits, sizeof digits, "%08zx", strlen(header));
    size_t bytes = forge(file, digits, header, 16);
    CHECK_STATUS(mj_cache_decode(file, bytes, &entry, &error), MJ_ERR_FORMAT);
}

/* Right in itself, under another entry's name: a collision or a copied file. */
TEST(the_key_inside_must_agree)
{
    mj_cache_entry entry;
    size_t bytes = 0;
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    CHECK_STATUS(put(context->cache, key_a, 40, NULL), MJ_OK);
    CHECK_STATUS(put(context->cache, key_b, 40, NULL), MJ_OK);
    char *other = temp_read(path_of(key_a), &bytes);
    temp_write(path_of(key_b), other, bytes);
    free(other);
    CHECK_STATUS(mj_cache_get(context->cache, key_b, &entry, NULL), MJ_ERR_NOT_FOUND);
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, NULL), MJ_OK);
    mj_cache_entry_free(&entry);
    mj_context_destroy(context);
}

TEST(eight_processes_on_one_key)
{
    enum { PROCESSES = 8, ROUNDS = 40 };
    pid_t children[PROCESSES];
    temp_folder_make();
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            mj_context *context = make_context(temp_path("cache"), 0);
            int bad = !context || !context->cache;
            for (int round = 0; !bad && round < ROUNDS; round++) {
                mj_cache_entry entry;
                bad |= put(context->cache, key_a, 20000, NULL) != MJ_OK;
                mj_status status = mj_cache_get(context->cache, key_a, &entry, NULL);
                bad |= status != MJ_OK || entry.compiled.binary_bytes != 20000; /* whole at any moment */
                mj_cache_entry_free(&entry);
            }
            mj_context_destroy(context);
            _exit(bad);
        }
    }
    int failed = 0;
    for (int i = 0; i < PROCESSES; i++) {
        int how = 0;
        waitpid(children[i], &how, 0);
        failed += !WIFEXITED(how) || WEXITSTATUS(how) != 0;
    }
    CHECK_INT(failed, 0);
    CHECK_INT(temp_count_files(), 1);
}

/* One process empties the cache as fast as it can while others fill and read it: a miss is fine, anything torn is not. */
TEST(emptied_while_others_use_it)
{
    enum { USERS = 4, ROUNDS = 60 };
    int failed = 0;
    temp_folder_make();
    pid_t cleaner = fork();
    if (cleaner == 0) {
        mj_context *context = make_context(temp_path("cache"), 0);
        for (;;) {
            if (mj_cache_trim(context->cache, 0, NULL, NULL) != MJ_OK) {
                _exit(1);
            }
        }
    }
    for (int i = 0; i < USERS; i++) {
        if (fork() == 0) {
            mj_context *context = make_context(temp_path("cache"), 0);
            int bad = !context || !context->cache;
            for (int round = 0; !bad && round < ROUNDS; round++) {
                mj_cache_entry entry;
                (void)put(context->cache, key_a, 20000, NULL); /* its temporary may have been cleaned away */
                mj_status status = mj_cache_get(context->cache, key_a, &entry, NULL);
                bad |= status != MJ_ERR_NOT_FOUND && (status != MJ_OK || entry.compiled.binary_bytes != 20000);
                mj_cache_entry_free(&entry);
            }
            mj_context_destroy(context);
            _exit(bad);
        }
    }
    for (int i = 0; i < USERS; i++) {
        int how = 0;
        pid_t ended = wait(&how);
        failed += ended == cleaner || !WIFEXITED(how) || WEXITSTATUS(how) != 0;
    }
    kill(cleaner, SIGKILL);
    waitpid(cleaner, NULL, 0);
    CHECK_INT(failed, 0);
}

static void set_age(const char *path, double seconds)
{
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= (time_t)seconds;
    times[1] = times[0];
    utimensat(AT_FDCWD, path, times, 0);
}

static const char *key_number(int number)
{
    static char keys[4][MJ_SHA256_HEX];
    static int at;
    char *key = keys[at++ % 4];
    snprintf(key, MJ_SHA256_HEX, "%02x%062x", number * 7 % 256, (unsigned)number);
    return key;
}

TEST(cap_drops_what_was_used_least)
{
    mj_cache_entry entry;
    mj_cache_stat removed = {0};
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(put(context->cache, key_number(i), 10000, NULL), MJ_OK);
        set_age(path_of(key_number(i)), 1000 - i * 10); /* 0 is the oldest */
    }
    CHECK_STATUS(mj_cache_get(context->cache, key_number(0), &entry, NULL), MJ_OK); /* used: now the youngest */
    mj_cache_entry_free(&entry);
    temp_write(temp_path("cache/v1/aa.txt"), "not ours", 8);
    CHECK_STATUS(mj_cache_trim(context->cache, 5 * 10500, &removed, NULL), MJ_OK);
    CHECK_INT(removed.entry_count, 5);
    CHECK(removed.bytes > 50000 && removed.bytes < 55000);
    for (int i = 0; i < 10; i++) {
        bool kept = access(path_of(key_number(i)), F_OK) == 0;
        CHECK(kept == (i == 0 || i >= 6));
    }
    mj_context_destroy(context);

    context = make_context(temp_path("cache"), 40000); /* a put past the cap trims by itself */
    CHECK(context && context->cache);
    CHECK_STATUS(put(context->cache, key_number(50), 10000, NULL), MJ_OK);
    CHECK(temp_count_files() - 1 <= 3);
    CHECK(access(path_of(key_number(50)), F_OK) == 0);
    for (int i = 51; i < 80; i++) {
        CHECK_STATUS(put(context->cache, key_number(i), 10000, NULL), MJ_OK);
        CHECK(temp_count_files() - 1 <= 3);
    }
    CHECK_STATUS(put(context->cache, key_number(90), 50000, NULL), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_cache_trim(context->cache, 0, &removed, NULL), MJ_OK);
    CHECK_INT(temp_count_files(), 1); /* what is not ours stays */
    mj_context_destroy(context);
}

TEST(abandoned_temporaries_go)
{
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    CHECK_STATUS(put(context->cache, key_a, 100, NULL), MJ_OK);
    char old_name[800], young_name[800];
    snprintf(old_name, sizeof old_name, "%s.tmpabcdef", path_of(key_a));
    snprintf(young_name, sizeof young_name, "%s.tmpabcdeg", path_of(key_a));
    temp_write(old_name, "x", 1);
    temp_write(young_name, "x", 1);
    set_age(old_name, 4000);
    CHECK_STATUS(mj_cache_trim(context->cache, UINT64_MAX, NULL, NULL), MJ_OK);
    CHECK(access(old_name, F_OK) != 0);
    CHECK(access(young_name, F_OK) == 0); /* its writer may live */
    CHECK(access(path_of(key_a), F_OK) == 0);
    mj_context_destroy(context);
}

static int listed_good, listed_damaged;
static bool list_entry(void *user, const mj_cache_entry *entry, uint64_t bytes, bool damaged)
{
    (void)user;
    listed_good += !damaged && strlen(entry->key) == 64 && bytes > 0 && entry->compiled.binary_bytes == 100;
    listed_damaged += damaged;
    return true;
}

TEST(lists)
{
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    listed_good = listed_damaged = 0;
    CHECK_STATUS(mj_cache_list(context->cache, list_entry, NULL, NULL), MJ_OK); /* no folder yet */
    CHECK_INT(listed_good, 0);
    for (int i = 0; i < 5; i++) {
        CHECK_STATUS(put(context->cache, key_number(i), 100, NULL), MJ_OK);
    }
    CHECK(truncate(path_of(key_number(3)), 50) == 0);
    CHECK_STATUS(mj_cache_list(context->cache, list_entry, NULL, NULL), MJ_OK);
    CHECK_INT(listed_good, 4);
    CHECK_INT(listed_damaged, 1);
    CHECK_STRING(mj_cache_folder(context->cache), temp_path("cache"));
    mj_context_destroy(context);
}

TEST(a_cache_that_cannot_be_written_warns_once)
{
    mj_cache_entry entry;
    mj_error error = {0};
    static const int codes[] = {EROFS, EACCES, ENOSPC};
    temp_folder_make();
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    CHECK_STATUS(put(context->cache, key_a, 100, NULL), MJ_OK);
    mj_context_destroy(context);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        context = make_context(temp_path("cache"), 0);
        CHECK(context && context->cache);
        os_faults_always(i == 2 ? "write" : "mkdir", codes[i]);
        mj_status first = put(context->cache, key_b, 100, &error), second = put(context->cache, key_b, 100, &error);
        mj_status hit = mj_cache_get(context->cache, key_a, &entry, NULL);
        os_faults_clear();
        mj_cache_entry_free(&entry);
        if (i == 2) { /* mkdir of folders that are there needs no right to write */
            CHECK_INT(first, MJ_ERR_IO);
            CHECK_INT(second, MJ_ERR_IO);
            CHECK_INT(warnings, 1);
            CHECK_CONTAINS(last_warning, "not kept");
        }
        CHECK_INT(hit, MJ_OK); /* and is read all the same */
        mj_context_destroy(context);
    }
    CHECK_INT(temp_count_files(), 1);
}

TEST(folders_that_must_not_be_trusted)
{
    mj_cache_entry entry;
    mj_error error = {0};
    temp_folder_make();
    CHECK(mkdir(temp_path("cache"), 0700) == 0 && mkdir(temp_path("evil"), 0700) == 0);
    CHECK(symlink("../evil", temp_path("cache/v1")) == 0);
    mj_context *context = make_context(temp_path("cache"), 0);
    CHECK(context && !context->cache); /* the context works, without a cache */
    CHECK_INT(warnings, 1);
    CHECK_CONTAINS(last_warning, "not a folder");
    mj_context_destroy(context);
    CHECK(unlink(temp_path("cache/v1")) == 0 && mkdir(temp_path("cache/v1"), 0700) == 0);
    CHECK(chmod(temp_path("cache/v1"), 0777) == 0);
    context = make_context(temp_path("cache"), 0);
    CHECK(context && !context->cache);
    CHECK_CONTAINS(last_warning, "others may write");
    mj_context_destroy(context);
    CHECK(chmod(temp_path("cache/v1"), 0700) == 0);
    context = make_context(temp_path("cache"), 0);
    CHECK(context && context->cache);
    CHECK_STATUS(put(context->cache, key_a, 100, NULL), MJ_OK);
    CHECK(rename(path_of(key_a), temp_path("evil/file")) == 0); /* an entry that is a link */
    CHECK(symlink(temp_path("evil/file"), path_of(key_a)) == 0);
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, NULL), MJ_ERR_NOT_FOUND);
    CHECK_INT(warnings, 1);
    CHECK(unlink(path_of(key_a)) == 0 && rmdir(temp_path("cache/v1/aa")) == 0);
    CHECK(symlink("../../evil", temp_path("cache/v1/aa")) == 0); /* a folder that is one */
    CHECK_STATUS(mj_cache_get(context->cache, key_a, &entry, NULL), MJ_ERR_NOT_FOUND);
    CHECK_STATUS(put(context->cache, key_a, 100, &error), MJ_ERR_IO);
    CHECK(access(temp_path("evil/file"), F_OK) == 0);
    CHECK_INT(temp_count_files(), 1);
    mj_context_destroy(context);
}

static void put_once(void *user)
{
    mj_context *context = make_context(user, 0);
    put(context->cache, key_a, 5000, NULL);
    mj_context_destroy(context);
}

TEST(killed_at_every_step_of_a_put)
{
    mj_cache_entry entry;
    char folder[600];
    int deaths = 0;
    temp_folder_make();
    snprintf(folder, sizeof folder, "%s", temp_path("cache"));
    for (long step = 1; os_faults_killed_at(step, put_once, folder); step++) {
        deaths++;
        mj_context *context = make_context(folder, 0);
        CHECK(context && context->cache);
        mj_status status = mj_cache_get(context->cache, key_a, &entry, NULL); /* whole or absent */
        CHECK(status == MJ_OK || status == MJ_ERR_NOT_FOUND);
        mj_cache_entry_free(&entry);
        mj_context_destroy(context);
    }
    CHECK(deaths >= 6);
}

TEST(no_home_is_tolerated)
{
    mj_context *context = NULL;
    mj_context_options options = {.log = count_warnings, .cache_bytes_max = 0};
    unsetenv("HOME");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("XDG_DATA_HOME");
    unsetenv("MOEJIT_CACHE_DIR");
    warnings = 0;
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    CHECK(!context->cache && !context->store_dir);
    CHECK_INT(warnings, 1);
    mj_context_destroy(context);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(hit_and_miss);
    RUN(only_hex_keys_become_names);
    RUN(damage_is_a_miss);
    RUN(lying_headers_are_damage);
    RUN(the_key_inside_must_agree);
    RUN(eight_processes_on_one_key);
    RUN(emptied_while_others_use_it);
    RUN(cap_drops_what_was_used_least);
    RUN(abandoned_temporaries_go);
    RUN(lists);
    RUN(a_cache_that_cannot_be_written_warns_once);
    RUN(folders_that_must_not_be_trusted);
    RUN(killed_at_every_step_of_a_put);
    RUN(no_home_is_tolerated);
    temp_folder_remove();
    return CHECK_END();
}
