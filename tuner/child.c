/* child.c: see child.h. */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

#define ARGUMENTS_MAX    16
#define SEND_SECONDS_MAX 30.0

extern char **environ;

static mj_status spawn(const char *path, char **argv, int socket_fd, int stderr_fd, pid_t *pid, mj_error *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, socket_fd, 0);
    posix_spawn_file_actions_adddup2(&actions, socket_fd, 1);
    posix_spawn_file_actions_adddup2(&actions, stderr_fd, 2);

    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGTERM);
    sigaddset(&defaults, SIGHUP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0); /* a terminal's ^C goes to the parent, which then stops its helpers */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    int code = posix_spawn(pid, path, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (code != 0) {
        *pid = 0;
        return mj_fail(error, MJ_ERR_CHILD, "%s: %s", path, strerror(code));
    }
    return MJ_OK;
}

mj_status mj_child_start(const char *path, const char *const *arguments, uint64_t memory_bytes_max, mj_child *out,
                         mj_error *error)
{
    *out = (mj_child){.fd = -1, .stderr_fd = -1};
    const char *slash = strrchr(path, '/');
    snprintf(out->name, sizeof(out->name), "%s", slash ? slash + 1 : path);

    char parent_text[32], memory_text[32];
    snprintf(parent_text, sizeof(parent_text), "--parent=%ld", (long)getpid());
    snprintf(memory_text, sizeof(memory_text), "--memory=%llu", (unsigned long long)memory_bytes_max);
    char *argv[ARGUMENTS_MAX + 4] = {(char *)path, parent_text, memory_text};
    for (int i = 0; arguments && arguments[i]; i++) {
        if (i >= ARGUMENTS_MAX) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "%s: too many arguments", path);
        }
        argv[3 + i] = (char *)arguments[i];
    }

    int pair[2] = {-1, -1};
    mj_status status = MJ_OK;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return mj_fail(error, MJ_ERR_CHILD, "%s: socketpair: %s", path, strerror(errno));
    }
    out->fd = pair[0];
    out->stderr_fd = memfd_create("moejit-stderr", MFD_CLOEXEC);
    if (out->stderr_fd < 0) {
        status = mj_fail(error, MJ_ERR_CHILD, "%s: memfd_create: %s", path, strerror(errno));
    } else {
        status = spawn(path, argv, pair[1], out->stderr_fd, &out->pid, error);
    }
    close(pair[1]);
    if (status != MJ_OK) {
        mj_child_kill(out);
    }
    return status;
}

static int wait_for(int fd, short events, double seconds)
{
    double end = mj_os_monotonic_seconds() + seconds;
    for (;;) {
        double left = end - mj_os_monotonic_seconds();
        struct pollfd entry = {.fd = fd, .events = events};
        int ready = poll(&entry, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
        if (ready > 0) {
            return 1;
        }
        if (ready == 0 && left <= 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return -1;
        }
    }
}

mj_status mj_child_send(mj_child *child, const mj_json *message, mj_error *error)
{
    if (child->pid == 0) {
        return mj_fail(error, MJ_ERR_CHILD, "%s is not running", child->name);
    }
    char *text = mj_json_print(message, false);
    char *frame = NULL;
    size_t bytes = 0, sent = 0;
    if (!text) {
        return mj_fail(error, MJ_ERR_MEMORY, "a message to %s", child->name);
    }
    mj_status status = mj_frame_encode(text, strlen(text), &frame, &bytes, error);
    while (status == MJ_OK && sent < bytes) {
        ssize_t count = send(child->fd, frame + sent, bytes - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count > 0) {
            sent += (size_t)count;
        } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (wait_for(child->fd, POLLOUT, SEND_SECONDS_MAX) != 1) {
                status = mj_fail(error, MJ_ERR_TIMEOUT, "%s does not read", child->name);
            }
        } else if (count < 0 && errno != EINTR) {
            status = mj_fail(error, MJ_ERR_CHILD, "%s: %s", child->name, strerror(errno));
        }
    }
    free(frame);
    free(text);
    return status;
}

/* The last lines of what it wrote to stderr, on one line. */
static void stderr_tail(const mj_child *child, char *out, size_t bytes)
{
    out[0] = 0;
    off_t end = child->stderr_fd >= 0 ? lseek(child->stderr_fd, 0, SEEK_END) : 0;
    if (end <= 0) {
        return;
    }
    off_t start = end > (off_t)bytes - 1 ? end - (off_t)bytes + 1 : 0;
    ssize_t count = pread(child->stderr_fd, out, bytes - 1, start);
    if (count < 0) {
        count = 0;
    }
    while (count > 0 && (out[count - 1] == '\n' || out[count - 1] == ' ')) {
        count--;
    }
    out[count] = 0;
    for (ssize_t i = 0; i < count; i++) {
        unsigned char c = (unsigned char)out[i];
        out[i] = c == '\n' ? '|' : (c < 32 || c > 126 ? '?' : (char)c);
    }
}

static void describe_death(mj_child *child, int wait_status, bool known)
{
    char tail[160], how[96];
    stderr_tail(child, tail, sizeof(tail));
    if (!known) {
        snprintf(how, sizeof(how), "ended");
    } else if (WIFSIGNALED(wait_status)) {
        snprintf(how, sizeof(how), "was killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    } else {
        snprintf(how, sizeof(how), "exited with code %d", WEXITSTATUS(wait_status));
    }
    snprintf(child->death, sizeof(child->death), "%.40s %s%s%s", child->name, how, tail[0] ? ": " : "", tail);
}

/* Reaps within `seconds`; true when it is gone. */
static bool reap(mj_child *child, double seconds)
{
    if (child->death[0]) {
        return true; /* a second wait would find nothing and forget how it ended */
    }
    double end = mj_os_monotonic_seconds() + seconds;
    for (;;) {
        int wait_status = 0;
        pid_t got = waitpid(child->pid, &wait_status, WNOHANG);
        if (got == child->pid || (got < 0 && errno == ECHILD)) {
            describe_death(child, wait_status, got == child->pid);
            return true;
        }
        if (mj_os_monotonic_seconds() >= end) {
            return false;
        }
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
}

void mj_child_kill(mj_child *child)
{
    if (child->pid > 0) {
        /* A crash is told apart from our kill by reaping first. The group may outlive its leader (a compiler it ran). */
        bool gone = reap(child, 0);
        kill(-child->pid, SIGKILL);
        if (!gone) {
            kill(child->pid, SIGKILL);
            if (!reap(child, 20)) { /* stuck in the driver: it cannot be waited for */
                snprintf(child->death, sizeof(child->death), "%s cannot be killed", child->name);
            }
        }
        child->pid = 0;
    }
    if (child->fd >= 0) {
        close(child->fd);
    }
    if (child->stderr_fd >= 0) {
        close(child->stderr_fd);
    }
    child->fd = child->stderr_fd = -1;
    mj_frame_reader_free(&child->reader);
}

void mj_child_stop(mj_child *child, double seconds)
{
    if (child->pid > 0 && child->fd >= 0) {
        shutdown(child->fd, SHUT_WR); /* end of input: the helper leaves */
        double end = mj_os_monotonic_seconds() + seconds;
        char scrap[4096];
        while (mj_os_monotonic_seconds() < end && wait_for(child->fd, POLLIN, end - mj_os_monotonic_seconds()) == 1) {
            if (recv(child->fd, scrap, sizeof(scrap), MSG_DONTWAIT) <= 0) {
                break;
            }
        }
        double left = end - mj_os_monotonic_seconds();
        reap(child, left > 0 ? left : 0);
    }
    mj_child_kill(child);
}

mj_status mj_child_receive(mj_child *child, mj_json **out, mj_error *error)
{
    *out = NULL;
    if (child->pid == 0) {
        return mj_fail(error, MJ_ERR_CHILD, "%s", child->death[0] ? child->death : "no process");
    }
    for (;;) {
        mj_status status = mj_frame_next(&child->reader, out, error);
        if (status != MJ_ERR_NOT_FOUND) {
            return status;
        }
        char data[16384];
        ssize_t count = recv(child->fd, data, sizeof(data), MSG_DONTWAIT);
        if (count > 0) {
            status = mj_frame_feed(&child->reader, data, (size_t)count, error);
            if (status != MJ_OK) {
                return status;
            }
        } else if (count < 0 && errno == EINTR) {
            continue;
        } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return MJ_ERR_NOT_FOUND;
        } else {
            reap(child, 2); /* it may still be on its way out */
            mj_child_kill(child);
            return mj_fail(error, MJ_ERR_CHILD, "%s", child->death);
        }
    }
}

mj_status mj_child_wait(mj_child *child, double seconds, mj_json **out, mj_error *error)
{
    double end = mj_os_monotonic_seconds() + seconds;
    for (;;) {
        mj_status status = mj_child_receive(child, out, error);
        if (status != MJ_ERR_NOT_FOUND) {
            return status;
        }
        double left = end - mj_os_monotonic_seconds();
        if (left <= 0 || wait_for(child->fd, POLLIN, left) != 1) {
            return mj_fail(error, MJ_ERR_TIMEOUT, "%s did not answer within %.1f s", child->name, seconds);
        }
    }
}

static bool is_program(const char *path)
{
    return access(path, X_OK) == 0;
}

static bool is_in(const char *folder, const char *program, char *out, size_t bytes)
{
    return mj_os_join(out, bytes, folder, program, NULL) == MJ_OK && is_program(out);
}

mj_status mj_child_find(const char *given, const char *program, char *out, size_t bytes, mj_error *error)
{
    static const char libexec[] = "/../libexec/moejit";
    if (given) {
        size_t given_bytes = strlen(given) + 1;
        if (given_bytes > bytes || !is_program(given)) {
            return mj_fail(error, MJ_ERR_NOT_FOUND, "%s: no such program", given);
        }
        memcpy(out, given, given_bytes);
        return MJ_OK;
    }
    char self[2048];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 64);
    self[length > 0 ? length : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash) {
        *slash = 0;
        if (is_in(self, program, out, bytes)) {
            return MJ_OK;
        }
        memcpy(slash, libexec, sizeof(libexec));
        if (is_in(self, program, out, bytes)) {
            return MJ_OK;
        }
    }
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t count = strcspn(path, ":");
        if (count > 0 && count < sizeof(self)) {
            memcpy(self, path, count);
            self[count] = 0;
            if (is_in(self, program, out, bytes)) {
                return MJ_OK;
            }
        }
        path += count + (path[count] == ':');
    }
    return mj_fail(error, MJ_ERR_NOT_FOUND, "%s: not found beside the program, in ../libexec/moejit or on PATH",
                   program);
}
