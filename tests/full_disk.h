/* full_disk.h: a disk that is really full: a small tmpfs in a mount namespace of the calling process's own. Where the system allows no
 * such thing, the limit on a file's size stands in: writing stops short just the same, with EFBIG instead of ENOSPC. */
#ifndef MOEJIT_TEST_FULL_DISK_H
#define MOEJIT_TEST_FULL_DISK_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first include"
#endif
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static bool full_disk_is_real;

static inline bool full_disk_put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

/* In a child process: `folder`, which is there, becomes a disk of 1 MiB if that can be had. */
static inline void full_disk_mount(const char *folder)
{
    char line[64];
    unsigned user = geteuid(), group = getegid();
    bool alone = unshare(CLONE_NEWNS) == 0; /* root may, elsewhere it takes a user namespace */
    if (!alone && unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
        snprintf(line, sizeof line, "%u %u 1", user, user);
        alone = full_disk_put("/proc/self/uid_map", line) && full_disk_put("/proc/self/setgroups", "deny");
        snprintf(line, sizeof line, "%u %u 1", group, group);
        alone = alone && full_disk_put("/proc/self/gid_map", line);
    }
    full_disk_is_real = alone && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                        mount("tmpfs", folder, "tmpfs", 0, "size=1m,mode=0700") == 0;
}

/* All but `bytes_left` (a multiple of 4096) of the mounted disk is taken. */
static inline void full_disk_fill(const char *folder, long bytes_left)
{
    static char page[4096];
    char path[1200];
    struct rlimit limit = {(rlim_t)bytes_left, RLIM_INFINITY};
    snprintf(path, sizeof path, "%s/.filler", folder);
    if (!full_disk_is_real) {
        struct rlimit now;
        getrlimit(RLIMIT_FSIZE, &now);
        limit.rlim_max = now.rlim_max;
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t bytes = 0;
    for (ssize_t got; fd >= 0 && (got = write(fd, page, sizeof page)) > 0;) {
        bytes += got;
    }
    if (fd < 0 || bytes <= bytes_left || ftruncate(fd, bytes - bytes_left) != 0) {
        perror(path);
        _exit(2);
    }
    close(fd);
}

/* Room again. */
static inline void full_disk_relieve(const char *folder)
{
    char path[1200];
    struct rlimit limit;
    snprintf(path, sizeof path, "%s/.filler", folder);
    unlink(path);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* Does the text say what such a disk answers? */
static inline bool full_disk_is_said(const char *text)
{
    return strstr(text, "No space left on device") || (!full_disk_is_real && strstr(text, "File too large"));
}

/* Runs `body` in a process of its own, which may mount and limit; its exit code. */
static inline int full_disk_run(int (*body)(void))
{
    int state = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int code = body();
        fflush(stdout);
        _exit(code);
    }
    return pid > 0 && waitpid(pid, &state, 0) == pid && WIFEXITED(state) ? WEXITSTATUS(state) : 128;
}

#endif
