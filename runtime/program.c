/* program.c: starting a compiler without a shell, in a folder of its own. */
#define _GNU_SOURCE
#include "program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

typedef struct start {
    const mj_program *program;
    char **environment;
    pid_t parent;
    bool own_group;
    volatile int code; /* set by the child: why it could not become the program */
} start;

static bool open_as(int fd, const char *path, int flags)
{
    int opened = open(path, flags, 0600);
    if (opened < 0 || opened == fd) {
        return opened == fd;
    }
    bool good = dup2(opened, fd) == fd;
    close(opened);
    return good;
}

/* In the child, which has the parent's memory until it becomes the program: calls the system and does nothing else. */
static _Noreturn void become_program(start *s)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN};
    const mj_program *r = s->program;
    sigset_t none;
    for (int i = 1; i < NSIG; i++) {
        sigaction(i, &standard, NULL);
    }
    if (s->own_group) {
        setpgid(0, 0);
    } else { /* what a terminal sends to the group is the caller's to answer */
        sigaction(SIGINT, &ignored, NULL);
        sigaction(SIGQUIT, &ignored, NULL);
        sigaction(SIGHUP, &ignored, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* with the thread that started it: the one that waits for it */
    if (getppid() == s->parent && open_as(0, r->input, O_RDONLY) &&
        open_as(1, r->output, O_WRONLY | O_CREAT | O_TRUNC) && open_as(2, r->messages, O_WRONLY | O_CREAT | O_TRUNC)) {
        execve(r->argv[0], (char *const *)r->argv, s->environment);
    }
    s->code = errno;
    _exit(127);
}

/* As posix_spawn does it, which knows nothing of a parent's death: a large process is not copied. Apart from all else, so that the
 * child changes no variable that anybody goes on to use. */
static __attribute__((noinline)) pid_t start_program(start *s)
{
    pid_t pid = vfork();
    if (pid == 0) {
        become_program(s);
    }
    return pid;
}

/* A process that leads its group, as the helpers do, is killed with it, and what it started must go too: gcc's own children do not
 * notice that gcc is gone. Elsewhere the program leads a group of its own. */
static int spawn(const mj_program *r, pid_t *pid, bool *own_group)
{
    start s = {.program = r, .environment = make_environment(r), .parent = getpid()};
    sigset_t all, before;
    if (!s.environment) {
        return ENOMEM;
    }
    *own_group = s.own_group = getpgrp() != s.parent;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* no handler of the caller's runs in the child */
    *pid = start_program(&s);
    int code = *pid < 0 ? errno : s.code;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (*pid > 0 && code != 0 && waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
    }
    free(s.environment);
    return code;
}

/* ---- Ending it ---- */

enum { TREE_MAX = 256 };

static pid_t parent_of(const char *process)
{
    char path[64], text[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%.20s/stat", process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = file >= 0 ? read(file, text, sizeof text - 1) : 0;
    if (file >= 0) {
        close(file);
    }
    text[bytes > 0 ? bytes : 0] = '\0';
    const char *name_end = strrchr(text, ')'); /* "<id> (<name>) <state> <parent> ..." */
    return name_end && sscanf(name_end, ") %*c %d", &parent) == 1 ? (pid_t)parent : 0;
}

static bool has(const pid_t *tree, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (tree[i] == pid) {
            return true;
        }
    }
    return false;
}

/* Children of the tree that are not in it: stopped, so that they start no more, and added. */
static size_t add_children(pid_t *tree, size_t count)
{
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes && count < TREE_MAX && (entry = readdir(processes));) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && !has(tree, count, pid) && has(tree, count, parent_of(entry->d_name))) {
            kill(pid, SIGSTOP);
            tree[count++] = pid;
        }
    }
    if (processes) {
        closedir(processes);
    }
    return count;
}

static void kill_all(pid_t pid, bool own_group)
{
    pid_t tree[TREE_MAX] = {pid};
    size_t count = 1, before = 0;
    if (own_group) {
        kill(-pid, SIGKILL);
    } else {
        kill(pid, SIGSTOP);
        while (count > before) {
            before = count;
            count = add_children(tree, count);
        }
    }
    for (size_t i = 0; i < count; i++) {
        kill(tree[i], SIGKILL);
    }
}

static void judge_by_result(mj_program *r, double seconds)
{
    struct stat info;
    r->exit_code = stat(r->result, &info) == 0 && info.st_size > 0 ? 0 : 1;
    r->cpu_seconds = seconds; /* about */
}

static mj_status wait_for(mj_program *r, pid_t pid, bool own_group, mj_error *error)
{
    double start_seconds = mj_os_monotonic_seconds(), deadline = start_seconds + r->timeout_seconds;
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
        if (got < 0 && errno == ECHILD) {
            judge_by_result(r, mj_os_monotonic_seconds() - start_seconds);
            return MJ_OK;
        }
        if (got < 0 && errno != EINTR) {
            return mj_fail(error, MJ_ERR_CHILD, "%s cannot be waited for: %s", r->argv[0], strerror(errno));
        }
        if (mj_os_monotonic_seconds() > deadline) {
            kill_all(pid, own_group);
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
            }
            return mj_fail(error, MJ_ERR_TIMEOUT, "%s took more than %.0f s", r->argv[0], r->timeout_seconds);
        }
        double before = mj_os_monotonic_seconds();
        nanosleep(&(struct timespec){.tv_nsec = nap_ns}, NULL);
        nap_ns = nap_ns < 4000000 ? nap_ns * 2 : nap_ns;
        double slept = mj_os_monotonic_seconds() - before;
        deadline += slept > 1 ? slept : 0; /* this process was stopped, and the program with it */
    }
}

mj_status mj_program_run(mj_program *r, mj_error *error)
{
    pid_t pid = 0;
    bool own_group = false;
    int code = spawn(r, &pid, &own_group);
    if (code != 0) {
        return mj_fail(error, MJ_ERR_CHILD, "%s could not be started: %s", r->argv[0], strerror(code));
    }
    return wait_for(r, pid, own_group, error);
}

/* ---- A private folder with the files of one run ---- */

#define LEFTOVER_SECONDS_MIN 3600.0

#define FOLDER_HEAD "moejit-run-" /* and mkdtemp's six letters and digits */

/* "cc" and six more, then ".s", ".o", ".res": gcc's. "kernel-" and some more, then ".o": clang's. */
static bool is_compilers(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    if (strncmp(name, "cc", 2) == 0) {
        return strspn(name + 2, letters) == 6 && name[8] == '.';
    }
    return strncmp(name, "kernel-", 7) == 0 && name[7 + strspn(name + 7, letters)] == '.';
}

/* The name of a file that a run makes in its folder. */
static bool is_of_a_run(const char *name)
{
    static const char *const names[] = {"kernel.c", "kernel.so", "kernel.hip", "kernel.co", "out", "log"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return is_compilers(name);
}

static void remove_files(DIR *files)
{
    rewinddir(files);
    for (struct dirent *entry; (entry = readdir(files));) {
        unlinkat(dirfd(files), entry->d_name, 0);
    }
}

/* A folder of this user's alone, an hour older than `now`, that holds a source and nothing that no run makes. */
static bool is_leftover(DIR *files, const struct timespec *now)
{
    struct stat info;
    bool has_source = false;
    if (fstat(dirfd(files), &info) != 0 || info.st_uid != geteuid() || (info.st_mode & 0777) != 0700 ||
        (double)now->tv_sec - (double)info.st_mtim.tv_sec < LEFTOVER_SECONDS_MIN) {
        return false;
    }
    for (struct dirent *entry; (entry = readdir(files));) {
        if (!is_of_a_run(entry->d_name) && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            return false;
        }
        has_source |= strcmp(entry->d_name, "kernel.c") == 0 || strcmp(entry->d_name, "kernel.hip") == 0;
    }
    return has_source;
}

static void remove_leftover(int base, const char *name, const struct timespec *now)
{
    int folder = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *files = folder >= 0 ? fdopendir(folder) : NULL;
    if (!files) {
        if (folder >= 0) {
            close(folder);
        }
        return;
    }
    bool leftover = is_leftover(files, now);
    if (leftover) {
        remove_files(files);
    }
    closedir(files);
    if (leftover) {
        unlinkat(base, name, AT_REMOVEDIR);
    }
}

/* What killed processes left of their runs. `fresh` was made just now: its time is by the clock of that file system. */
static void remove_leftovers(const char *base, const char *fresh)
{
    enum { HEAD = sizeof FOLDER_HEAD - 1, TAIL = 6 };
    struct stat info;
    DIR *folder = stat(fresh, &info) == 0 ? opendir(base) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, FOLDER_HEAD, HEAD) == 0 && strlen(entry->d_name) == HEAD + TAIL) {
            remove_leftover(dirfd(folder), entry->d_name, &info.st_mtim);
        }
    }
    if (folder) {
        closedir(folder);
    }
}

mj_status mj_workplace_make(mj_workplace *place, const char *source, const char *object, mj_error *error)
{
    const char *base = getenv("TMPDIR");
    base = base && *base == '/' ? base : "/tmp";
    int written = snprintf(place->folder, sizeof place->folder, "%s/" FOLDER_HEAD "XXXXXX", base);
    if (written < 0 || (size_t)written >= sizeof place->folder) {
        place->folder[0] = '\0';
        return mj_fail(error, MJ_ERR_IO, "TMPDIR is too long");
    }
    if (!mkdtemp(place->folder)) {
        place->folder[0] = '\0';
        return mj_fail(error, MJ_ERR_IO, "no temporary folder in %s: %s", base, strerror(errno));
    }
    remove_leftovers(base, place->folder);
    snprintf(place->source, sizeof place->source, "%s/%s", place->folder, source);
    snprintf(place->object, sizeof place->object, "%s/%s", place->folder, object);
    snprintf(place->output, sizeof place->output, "%s/out", place->folder);
    snprintf(place->messages, sizeof place->messages, "%s/log", place->folder);
    snprintf(place->temporaries, sizeof place->temporaries, "TMPDIR=%s", place->folder);
    return MJ_OK;
}

void mj_workplace_remove(const mj_workplace *place)
{
    if (place->folder[0]) {
        unlink(place->source);
        unlink(place->object);
        unlink(place->output);
        unlink(place->messages);
    }
    if (place->folder[0] && rmdir(place->folder) != 0) { /* a compiler that was killed leaves its temporaries */
        DIR *files = opendir(place->folder);
        if (files) {
            remove_files(files);
            closedir(files);
            rmdir(place->folder);
        }
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
