/* check.h: the test harness. One executable per test file; one line per case:
 *     ok <name>        FAIL <name>: file:line: what        SKIP <name>: reason
 * tests/run.sh adds the lines of all executables up and compares the skips with tests/skips.txt.
 *
 *     TEST(reads_bf16) { CHECK(x == 1); CHECK_STATUS(mj_thing(), MJ_OK); }
 *     int main(int argc, char **argv) { CHECK_BEGIN(argc, argv); RUN(reads_bf16); return CHECK_END(); }
 * An argument runs only the cases whose name contains it.
 * A test works in its build folder, wherever that was carried; MJ_TEST_BUILD_DIR and MJ_TEST_SOURCE_DIR are relative to it.
 */
#ifndef MOEJIT_CHECK_H
#define MOEJIT_CHECK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moejit_types.h"

static struct {
    const char *name, *filter;
    int failed_here, skipped_here, failed;
} check_state;

/* Vendors' compilers, and kernels that run on the host, are built without sanitizers: under them samples show the harness. */
#if defined(__SANITIZE_ADDRESS__)
#define CHECK_SANITIZED 1
#else
#define CHECK_SANITIZED 0
#endif

#define TEST(name)              static void test_##name(void)
#define CHECK_BEGIN(argc, argv) (check_state.filter = (argc) > 1 ? (argv)[1] : NULL, check_enter_build())
#define CHECK_END()             (check_state.failed ? 1 : 0)
#define RUN(name)               check_run(#name, test_##name)

static inline void check_fail(const char *file, int line, const char *format, ...) MJ_PRINTF(3, 4);

#include <stdarg.h>
static inline void check_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("FAIL %s: %s:%d: ", check_state.name, file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    check_state.failed_here++;
    check_state.failed++;
}

/* The folder above the one that holds this executable; absolute. */
static inline const char *check_build_dir(void)
{
    static char path[1024];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 1);
    for (int level = 0; level < 2; level++) {
        path[bytes > 0 ? bytes : 0] = '\0';
        char *slash = strrchr(path, '/');
        bytes = slash ? slash - path : 0;
    }
    path[bytes] = '\0';
    return path;
}

/* What a developer's own shell says about moejit is not to change what a test finds; MOEJIT_NVRTC names a tool and stays.
 * MOEJIT_TEST_DATA_DIR: other templates, which gpu/sanitizer.sh makes. */
static inline void check_enter_build(void)
{
    static const char *const names[] = {"MOEJIT_CACHE_DIR", "MOEJIT_STORE_DIR", "MOEJIT_DATA_DIR", "MOEJIT_CC"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
    if (getenv("MOEJIT_TEST_DATA_DIR")) {
        setenv("MOEJIT_DATA_DIR", getenv("MOEJIT_TEST_DATA_DIR"), 1);
    }
    if (chdir(check_build_dir()) != 0) {
        perror(check_build_dir());
        exit(2);
    }
}

static inline void check_run(const char *name, void (*body)(void))
{
    if (check_state.filter && !strstr(name, check_state.filter)) {
        return;
    }
    check_state.name = name;
    check_state.failed_here = check_state.skipped_here = 0;
    body();
    if (!check_state.failed_here && !check_state.skipped_here) {
        printf("ok %s\n", name);
    }
    fflush(stdout);
}

/* Leaves the test function on failure: a later line may rest on the checked one. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            check_fail(__FILE__, __LINE__, "%s", #condition); \
            return; \
        } \
    } while (0)
#define CHECK_INT(got, want) \
    do { \
        long long check_got = (long long)(got), check_want = (long long)(want); \
        if (check_got != check_want) { \
            check_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #got, check_got, check_want); \
            return; \
        } \
    } while (0)
#define CHECK_STRING(got, want) \
    do { \
        const char *check_got = (got), *check_want = (want); \
        if (!check_got || strcmp(check_got, check_want) != 0) { \
            check_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #got, check_got ? check_got : "(null)", \
                       check_want); \
            return; \
        } \
    } while (0)
#define CHECK_CONTAINS(text, part) \
    do { \
        const char *check_text = (text), *check_part = (part); \
        if (!check_text || !strstr(check_text, check_part)) { \
            check_fail(__FILE__, __LINE__, "\"%s\" is not in \"%s\"", check_part, check_text ? check_text : "(null)"); \
            return; \
        } \
    } while (0)
#define CHECK_STATUS(call, want) \
    do { \
        mj_status check_status = (call); \
        if (check_status != (want)) { \
            check_fail(__FILE__, __LINE__, "%s gave %d, not %s", #call, (int)check_status, #want); \
            return; \
        } \
    } while (0)
/* A row per call that must be refused; initialisers are run, so each can be the call itself. */
typedef struct check_call {
    const char *what;
    mj_status status;
} check_call;
#define CHECK_REFUSED(calls) check_refused_calls(calls, sizeof(calls) / sizeof(calls)[0], __FILE__, __LINE__)
static inline void check_refused_calls(const check_call *calls, size_t count, const char *file, int line)
{
    for (size_t i = 0; i < count; i++) {
        if (calls[i].status != MJ_ERR_ARGUMENT) {
            check_fail(file, line, "%s gave %d, not MJ_ERR_ARGUMENT", calls[i].what, (int)calls[i].status);
        }
    }
}

#define SKIP(reason) \
    do { \
        printf("SKIP %s: %s\n", check_state.name, reason); \
        check_state.skipped_here++; \
        return; \
    } while (0)

#endif
