/* child.h: a helper process: started, spoken to, watched, killed with all that it started.
 *
 * Started with posix_spawn (no fork of a process that may hold a GPU context) in a process group of its own, one end of a
 * socket as its standard input and output, its standard error kept for the report of its death. The helper's side is
 * helper.h. Waiting is poll() on mj_child.fd with a deadline; nothing here blocks without one. */
#ifndef MOEJIT_CHILD_H
#define MOEJIT_CHILD_H

#include <sys/types.h>

#include "protocol.h"

typedef struct mj_child {
    pid_t pid;     /* 0: none */
    int fd;        /* our end */
    int stderr_fd; /* unnamed memory file */
    mj_frame_reader reader;
    char name[64];   /* for messages */
    char death[320]; /* how it ended, once it has */
} mj_child;

/* `arguments` NULL-terminated, without the program's name. `memory_bytes_max` 0: no limit on address space. */
mj_status mj_child_start(const char *path, const char *const *arguments, uint64_t memory_bytes_max, mj_child *out,
                         mj_error *error);
/* Sends one message; MJ_ERR_CHILD when the process is gone, MJ_ERR_TIMEOUT when it does not read for 30 s. */
mj_status mj_child_send(mj_child *child, const mj_json *message, mj_error *error);
/* The next message if one is complete. MJ_ERR_NOT_FOUND: none yet. MJ_ERR_CHILD: it ended, child->death says how.
 * MJ_ERR_FORMAT: it sent rubbish. Never waits. */
mj_status mj_child_receive(mj_child *child, mj_json **out, mj_error *error);
/* Waits at most `seconds` for a message. MJ_ERR_TIMEOUT: none. */
mj_status mj_child_wait(mj_child *child, double seconds, mj_json **out, mj_error *error);
/* SIGKILL to the whole group, reap, close. Any state; safe to repeat. Fills `death`. */
void mj_child_kill(mj_child *child);
/* Ends a healthy helper: closes its input and waits up to `seconds` before killing. */
void mj_child_stop(mj_child *child, double seconds);

/* Full path of a helper program: `given`, else beside the running program, ../libexec/moejit, PATH. */
mj_status mj_child_find(const char *given, const char *program, char *out, size_t bytes, mj_error *error);

#endif
