/* program.c: starting a compiler without a shell, in a folder of its own. */
#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

extern char **environ;

static bool is_replaced(const mj_program *r, const char *entry)
{
    for (size_t i = 0; r->environment && r->environment[i]; i++) {
        size_t name = strcspn(r->environment[i], "=") + 1;
        if (strncmp(entry, r->environment[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The caller's environment with messages in English: compile_log.c reads them. */
static char **make_environment(const mj_program *r)
{
    size_t count = 0, kept = 0, added = 0;
    while (environ && environ[count]) {
        count++;
    }
    while (r->environment && r->environment[added]) {
        added++;
    }
    char **copy = calloc(count + added + 2, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        if (strncmp(environ[i], "LC_", 3) != 0 && strncmp(environ[i], "LANG", 4) != 0 && !is_replaced(r, environ[i])) {
            copy[kept++] = environ[i];
        }
    }
    for (size_t i = 0; copy && i < added; i++) {
        copy[kept++] = (char *)r->environment[i];
    }
    if (copy) {
        copy[kept] = "LC_ALL=C";
    }
    return copy;
}

static int spawn(const mj_program *r, pid_t *pid)
{
    char **environment = make_environment(r);
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

static mj_status wait_for(mj_program *r, pid_t pid, mj_error *error)
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

mj_status mj_program_run(mj_program *r, mj_error *error)
{
    pid_t pid = 0;
    int code = spawn(r, &pid);
    if (code != 0) {
        return mj_fail(error, MJ_ERR_CHILD, "%s could not be started: %s", r->argv[0], strerror(code));
    }
    return wait_for(r, pid, error);
}

/* ---- A private folder with the files of one run ---- */

mj_status mj_workplace_make(mj_workplace *place, const char *source, const char *object, mj_error *error)
{
    const char *base = getenv("TMPDIR");
    base = base && *base == '/' ? base : "/tmp";
    int written = snprintf(place->folder, sizeof place->folder, "%s/moejit-XXXXXX", base);
    if (written < 0 || (size_t)written >= sizeof place->folder) {
        place->folder[0] = '\0';
        return mj_fail(error, MJ_ERR_IO, "TMPDIR is too long");
    }
    if (!mkdtemp(place->folder)) {
        place->folder[0] = '\0';
        return mj_fail(error, MJ_ERR_IO, "no temporary folder in %s: %s", base, strerror(errno));
    }
    snprintf(place->source, sizeof place->source, "%s/%s", place->folder, source);
    snprintf(place->object, sizeof place->object, "%s/%s", place->folder, object);
    snprintf(place->output, sizeof place->output, "%s/out", place->folder);
    snprintf(place->messages, sizeof place->messages, "%s/log", place->folder);
    return MJ_OK;
}

void mj_workplace_remove(const mj_workplace *place)
{
    if (place->folder[0]) {
        unlink(place->source);
        unlink(place->object);
        unlink(place->output);
        unlink(place->messages);
        rmdir(place->folder);
    }
}

mj_status mj_workplace_write(const mj_workplace *place, const char *text, size_t bytes, mj_error *error)
{
    FILE *file = fopen(place->source, "wbe");
    bool good = file && fwrite(text, 1, bytes, file) == bytes;
    int code = errno;
    good = file && fclose(file) == 0 && good;
    return good ? MJ_OK : mj_fail(error, MJ_ERR_IO, "%s could not be written: %s", place->source, strerror(code));
}
