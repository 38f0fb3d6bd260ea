/* helper.c: see helper.h. mj_reply_* serve both sides. */
#define _GNU_SOURCE
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SHADOW_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SHADOW_MEMORY 1
#endif
#endif
#ifndef HAS_SHADOW_MEMORY
#define HAS_SHADOW_MEMORY 0
#endif

static void set_limit(int resource, uint64_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < value ? limit.rlim_max : (rlim_t)value;
        setrlimit(resource, &limit); /* a refused limit leaves the old one: nothing to do about it */
    }
}

mj_status mj_helper_start(int argc, char **argv, mj_helper *out, mj_error *error)
{
    *out = (mj_helper){.in_fd = 0, .out_fd = -1};
    long parent = 0;
    unsigned long long memory_bytes = 0;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--parent=", 9) == 0) {
            parent = strtol(argv[i] + 9, NULL, 10);
        } else if (strncmp(argv[i], "--memory=", 9) == 0) {
            memory_bytes = strtoull(argv[i] + 9, NULL, 10);
        }
    }
    if (parent <= 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "a helper of moejit: started by it, not by hand");
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (pid_t)parent) {
        return mj_fail(error, MJ_ERR_CHILD, "the parent is gone");
    }
    signal(SIGINT, SIG_IGN); /* the parent decides */
    signal(SIGPIPE, SIG_IGN);
    set_limit(RLIMIT_CORE, 0);
    if (memory_bytes > 0 && !HAS_SHADOW_MEMORY) {
        set_limit(RLIMIT_AS, memory_bytes);
    }
    out->out_fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
    if (out->out_fd < 0 || dup2(2, 1) < 0) {
        return mj_fail(error, MJ_ERR_IO, "standard output: %s", strerror(errno));
    }
    int in_fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in_fd < 0 || null_fd < 0 || dup2(null_fd, 0) < 0) {
        return mj_fail(error, MJ_ERR_IO, "standard input: %s", strerror(errno));
    }
    close(null_fd);
    out->in_fd = in_fd;
    return MJ_OK;
}

mj_status mj_helper_receive(mj_helper *helper, mj_json **out, mj_error *error)
{
    for (;;) {
        mj_status status = mj_frame_next(&helper->reader, out, error);
        if (status != MJ_ERR_NOT_FOUND) {
            return status;
        }
        char data[16384];
        ssize_t count = read(helper->in_fd, data, sizeof(data));
        if (count == 0) {
            return MJ_ERR_NOT_FOUND;
        }
        if (count < 0 && errno != EINTR) {
            return mj_fail(error, MJ_ERR_IO, "reading a request: %s", strerror(errno));
        }
        if (count > 0) {
            status = mj_frame_feed(&helper->reader, data, (size_t)count, error);
            if (status != MJ_OK) {
                return status;
            }
        }
    }
}

mj_status mj_helper_send(mj_helper *helper, const mj_json *message, mj_error *error)
{
    char *text = message ? mj_json_print(message, false) : NULL;
    char *frame = NULL;
    size_t bytes = 0, sent = 0;
    if (!text) {
        return mj_fail(error, MJ_ERR_MEMORY, "a reply");
    }
    mj_status status = mj_frame_encode(text, strlen(text), &frame, &bytes, error);
    while (status == MJ_OK && sent < bytes) {
        ssize_t count = write(helper->out_fd, frame + sent, bytes - sent);
        if (count > 0) {
            sent += (size_t)count;
        } else if (count < 0 && errno != EINTR) {
            status = mj_fail(error, MJ_ERR_IO, "sending a reply: %s", strerror(errno));
        }
    }
    free(frame);
    free(text);
    return status;
}

void mj_helper_end(mj_helper *helper)
{
    mj_frame_reader_free(&helper->reader);
}

mj_json *mj_reply_new(const mj_json *request, mj_status status, const mj_error *error)
{
    mj_json *reply = mj_json_object();
    mj_json *id = mj_json_get(request, "id");
    mj_json_add_number(reply, "id", id && mj_json_is_number(id) ? mj_json_value_number(id) : -1);
    mj_json_add_string(reply, "status", mj_status_name(status));
    if (status != MJ_OK) {
        mj_json_add_string(reply, "error", error && error->status != MJ_OK ? error->text : mj_status_text(status));
    }
    return reply;
}

mj_status mj_reply_status(const mj_json *reply, mj_error *error)
{
    char name[40], text[sizeof(error->text)] = "";
    mj_status status = mj_json_read_string(reply, "status", name, sizeof(name), error);
    if (status != MJ_OK) {
        return status;
    }
    const mj_json *detail = mj_json_get(reply, "error");
    if (detail && mj_json_is_string(detail)) {
        size_t bytes = strlen(mj_json_value_string(detail));
        bytes = bytes < sizeof(text) ? bytes : sizeof(text) - 1;
        memcpy(text, mj_json_value_string(detail), bytes);
        text[bytes] = 0;
    }
    for (int i = 0; i < MJ_STATUS_COUNT; i++) {
        if (strcmp(name, mj_status_name((mj_status)i)) == 0) {
            return i == MJ_OK ? MJ_OK : mj_fail(error, (mj_status)i, "%s", text);
        }
    }
    return mj_fail(error, MJ_ERR_FORMAT, "reply: unknown status %s", name);
}
