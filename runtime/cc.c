/* cc.c: starting the system's C compiler without a shell, in a folder of its own. */
#define _GNU_SOURCE
#include "cc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "compile_log.h"
#include "os.h"

extern char **environ;

enum { OUTPUT_BYTES_MAX = 64 << 20, LOG_BYTES_MAX = 4 << 20, IDENTITY_SECONDS = 20 };

static bool is_executable(const char *path)
{
    struct stat info;
    return access(path, X_OK) == 0 && stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static bool find_on_path(const char *name, char out[MJ_CC_PATH_MAX])
{
    const char *folder = getenv("PATH");
    while (folder && *folder) {
        int length = (int)strcspn(folder, ":");
        char path[MJ_CC_PATH_MAX];
        int written = snprintf(path, sizeof path, "%.*s/%s", length, folder, name);
        if (length > 0 && written > 0 && (size_t)written < sizeof path && is_executable(path)) {
            memcpy(out, path, (size_t)written + 1);
            return true;
        }
        folder += length;
        folder += *folder == ':';
    }
    return false;
}

mj_status mj_cc_find(const char *wanted, char out[MJ_CC_PATH_MAX], mj_error *error)
{
    static const char *const names[] = {"cc", "gcc", "clang"};
    const char *given = wanted ? wanted : getenv("MOEJIT_CC");
    if (given && *given) {
        if (strlen(given) >= MJ_CC_PATH_MAX) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "the C compiler's path is too long");
        }
        memcpy(out, given, strlen(given) + 1);
        if (strchr(given, '/') ? is_executable(given) : find_on_path(given, out)) {
            return MJ_OK;
        }
        return mj_fail(error, MJ_ERR_NO_COMPILER, "C compiler %s: not an executable file", given);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (find_on_path(names[i], out)) {
            return MJ_OK;
        }
    }
    return mj_fail(error, MJ_ERR_NO_COMPILER,
                   "no C compiler (cc, gcc, clang) on PATH: install one (Debian, Ubuntu: apt install gcc) "
                   "or set MOEJIT_CC");
}

/* ---- One run of a program ---- */

typedef struct run {
    const char *const *argv;
    const char *input, *output, *messages; /* files for its standard streams */
    double timeout_seconds;
    int exit_code; /* 128 + signal if killed */
    double cpu_seconds;
} run;

/* The caller's environment with messages in English: compile_log.c reads them. */
static char **english_environment(void)
{
    size_t count = 0, kept = 0;
    while (environ && environ[count]) {
        count++;
    }
    char **copy = calloc(count + 2, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        if (strncmp(environ[i], "LC_", 3) != 0 && strncmp(environ[i], "LANG", 4) != 0) {
            copy[kept++] = environ[i];
        }
    }
    if (copy) {
        copy[kept] = "LC_ALL=C";
    }
    return copy;
}

static int spawn(const run *r, pid_t *pid)
{
    char **environment = english_environment();
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, standard;
    if (!environment || posix_spawn_file_actions_init(&files) != 0) {
        free(environment);
        return ENOMEM;
    }
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        free(environment);
        return ENOMEM;
    }
    posix_spawn_file_actions_addopen(&files, 0, r->input, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, r->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&files, 2, r->messages, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    sigemptyset(&none);
    sigfillset(&standard);
    sigdelset(&standard, SIGKILL);
    sigdelset(&standard, SIGSTOP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &standard);
    posix_spawnattr_setpgroup(&attributes, 0); /* so that a time limit ends cc1 and as too */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int code = posix_spawn(pid, r->argv[0], &files, &attributes, (char *const *)r->argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    free(environment);
    return code;
}

static mj_status wait_for(run *r, pid_t pid, mj_error *error)
{
    double deadline = mj_os_monotonic_seconds() + r->timeout_seconds;
    long nap_ns = 200000;
    for (;;) {
        int status = 0;
        struct rusage usage;
        pid_t got = wait4(pid, &status, WNOHANG, &usage);
        if (got == pid) {
            r->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            r->cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                             1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
            return MJ_OK;
        }
        if (got < 0 && errno != EINTR) {
            return mj_fail(error, MJ_ERR_CHILD, "%s: its exit status was taken by somebody else: %s", r->argv[0],
                           strerror(errno));
        }
        if (mj_os_monotonic_seconds() > deadline) {
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
            }
            return mj_fail(error, MJ_ERR_TIMEOUT, "%s took more than %.0f s", r->argv[0], r->timeout_seconds);
        }
        nanosleep(&(struct timespec){.tv_nsec = nap_ns}, NULL);
        nap_ns = nap_ns < 4000000 ? nap_ns * 2 : nap_ns;
    }
}

static mj_status run_program(run *r, mj_error *error)
{
    pid_t pid = 0;
    int code = spawn(r, &pid);
    if (code != 0) {
        return mj_fail(error, MJ_ERR_CHILD, "%s could not be started: %s", r->argv[0], strerror(code));
    }
    return wait_for(r, pid, error);
}

/* ---- A private folder with the files of one run ---- */

typedef struct workplace {
    char folder[512];
    char source[600], object[600], output[600], messages[600];
} workplace;

static mj_status workplace_make(workplace *place, mj_error *error)
{
    const char *base = getenv("TMPDIR");
    base = base && *base == '/' ? base : "/tmp";
    int written = snprintf(place->folder, sizeof place->folder, "%s/moejit-cc-XXXXXX", base);
    if (written < 0 || (size_t)written >= sizeof place->folder) {
        place->folder[0] = '\0';
        return mj_fail(error, MJ_ERR_IO, "TMPDIR is too long");
    }
    if (!mkdtemp(place->folder)) {
        place->folder[0] = '\0';
        return mj_fail(error, MJ_ERR_IO, "no temporary folder in %s: %s", base, strerror(errno));
    }
    snprintf(place->source, sizeof place->source, "%s/kernel.c", place->folder);
    snprintf(place->object, sizeof place->object, "%s/kernel.so", place->folder);
    snprintf(place->output, sizeof place->output, "%s/out", place->folder);
    snprintf(place->messages, sizeof place->messages, "%s/log", place->folder);
    return MJ_OK;
}

static void workplace_remove(const workplace *place)
{
    if (place->folder[0]) {
        unlink(place->source);
        unlink(place->object);
        unlink(place->output);
        unlink(place->messages);
        rmdir(place->folder);
    }
}

static mj_status write_text(const char *path, const char *text, size_t bytes, mj_error *error)
{
    FILE *file = fopen(path, "wbe");
    bool good = file && fwrite(text, 1, bytes, file) == bytes;
    int code = errno;
    good = file && fclose(file) == 0 && good;
    return good ? MJ_OK : mj_fail(error, MJ_ERR_IO, "%s could not be written: %s", path, strerror(code));
}

/* ---- Identity ---- */

/* The value of `#define NAME value` in a list of macros, without quotes; "" if it is not there. */
static void macro_value(const char *macros, const char *name, char *out, size_t bytes)
{
    char head[64];
    int length = snprintf(head, sizeof head, "#define %s ", name);
    const char *at = strstr(macros, head);
    out[0] = '\0';
    if (at) {
        at += length;
        at += *at == '"';
        size_t count = strcspn(at, "\"\r\n");
        snprintf(out, bytes, "%.*s", (int)count, at);
    }
}

static void describe(const char *macros, size_t macro_bytes, char *out, size_t bytes)
{
    char digest[MJ_SHA256_HEX], version[48], major[12], minor[12], patch[12];
    mj_sha256_hex(macros, macro_bytes, digest);
    bool clang = strstr(macros, "#define __clang__ ") != NULL;
    macro_value(macros, clang ? "__clang_major__" : "__GNUC__", major, sizeof major);
    macro_value(macros, clang ? "__clang_minor__" : "__GNUC_MINOR__", minor, sizeof minor);
    macro_value(macros, clang ? "__clang_patchlevel__" : "__GNUC_PATCHLEVEL__", patch, sizeof patch);
    snprintf(version, sizeof version, "%s %s.%s.%s", clang ? "clang" : "gcc", major, minor, patch);
    snprintf(out, bytes, "%s %.8s", major[0] ? version : "cc", digest);
}

mj_status mj_cc_identity(const char *cc, char *out, size_t bytes, mj_error *error)
{
    workplace place = {0};
    char *macros = NULL;
    size_t macro_bytes = 0;
    char message[256];
    out[0] = '\0';
    mj_status status = workplace_make(&place, error);
    if (status != MJ_OK) {
        return status;
    }
    const char *argv[] = {cc, "-march=native", "-O3", "-std=gnu11", "-dM", "-E", "-x", "c", "-", NULL};
    run r = {.argv = argv,
             .input = "/dev/null",
             .output = place.output,
             .messages = place.messages,
             .timeout_seconds = IDENTITY_SECONDS};
    status = run_program(&r, error);
    if (status != MJ_OK) {
        goto done;
    }
    status =
        mj_os_read_file(r.exit_code == 0 ? place.output : place.messages, LOG_BYTES_MAX, &macros, &macro_bytes, error);
    if (status == MJ_OK && r.exit_code != 0) {
        mj_log_first_error(macros, message, sizeof message);
        status = mj_fail(error, MJ_ERR_NO_COMPILER, "%s does not work (exit code %d): %s", cc, r.exit_code, message);
    }
    if (status == MJ_OK) {
        describe(macros, macro_bytes, out, bytes);
    }
done:
    free(macros);
    workplace_remove(&place);
    return status;
}

/* ---- Compiling ---- */

static bool target_is_plain(const char *target)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
    return target && *target && strlen(target) < 48 && strspn(target, allowed) == strlen(target);
}

static mj_status collect(const run *r, const workplace *place, mj_compiled *out, mj_error *error)
{
    char message[512], *object = NULL;
    size_t log_bytes = 0;
    out->compile_seconds = r->cpu_seconds;
    mj_os_read_file(place->messages, LOG_BYTES_MAX, &out->log, &log_bytes, NULL);
    if (r->exit_code != 0) {
        mj_log_first_error(out->log, message, sizeof message);
        return mj_fail(error, MJ_ERR_COMPILE, "%s (exit code %d): %s", r->argv[0], r->exit_code,
                       message[0] ? message : "no message");
    }
    mj_status status = mj_os_read_file(place->object, OUTPUT_BYTES_MAX, &object, &out->binary_bytes, error);
    out->binary = object;
    return status;
}

mj_status mj_cc_compile(const char *cc, const char *target, const char *source, size_t source_bytes,
                        double timeout_seconds, mj_compiled *out, mj_error *error)
{
    workplace place = {0};
    char march[64];
    memset(out, 0, sizeof *out);
    if (!target_is_plain(target)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "\"%s\" is no CPU to compile for", target ? target : "(null)");
    }
    snprintf(march, sizeof march, "-march=%s", target);
    mj_status status = workplace_make(&place, error);
    if (status == MJ_OK) {
        status = write_text(place.source, source, source_bytes, error);
    }
    if (status == MJ_OK) {
        /* no-math-errno lets sqrt and friends inline; values stay IEEE: NaN and infinities are data */
        const char *argv[] = {cc,
                              march,
                              "-O3",
                              "-std=gnu11",
                              "-fno-math-errno",
                              "-fvisibility=hidden",
                              "-shared",
                              "-fPIC",
                              "-o",
                              place.object,
                              "-x",
                              "c",
                              "-",
                              "-x",
                              "none",
                              "-lm",
                              NULL};
        run r = {.argv = argv,
                 .input = place.source,
                 .output = place.output,
                 .messages = place.messages,
                 .timeout_seconds = timeout_seconds};
        status = run_program(&r, error);
        if (status == MJ_OK) {
            status = collect(&r, &place, out, error);
        }
    }
    workplace_remove(&place);
    if (status != MJ_OK) {
        free(out->binary);
        out->binary = NULL;
        out->binary_bytes = 0;
    }
    return status;
}
