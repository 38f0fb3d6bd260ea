/* worker_link.h: the parent's side of moejit-worker: one request at a time, a deadline on each, replacement after a loss.
 *
 * The link remembers "open" and the last "prepare". A call finds out what a fresh process lacks and repeats it first, so the
 * caller never sees a restart except as the failure of the call that caused it. */
#ifndef MOEJIT_WORKER_LINK_H
#define MOEJIT_WORKER_LINK_H

#include "child.h"
#include "wire.h"

#define MJ_LINK_RESTARTS_MAX      40 /* in all */
#define MJ_LINK_LOSSES_IN_ROW_MAX 5  /* without a success in between: the device is gone, not a kernel bad */

typedef struct mj_link {
    char path[2048];
    mj_child child;
    bool is_open, is_prepared;
    mj_json *open_request, *prepare_request; /* owned */
    mj_wire_device device;
    uint32_t restarts, losses_in_row;
    double open_seconds_max, prepare_seconds_max;
    double idle_seconds; /* how often `idle` is called at least */
    /* Called while waiting, with the descriptor to watch beside others: polls for at most `idle_seconds`. Not MJ_OK: the
     * call ends with that status and the worker is killed. */
    mj_status (*idle)(void *user, int fd, double seconds, mj_error *error);
    void *user;
    char message[320]; /* set when a worker was replaced; the caller shows and clears it */
} mj_link;

/* `open_request` is taken. Starts the process and fills link->device. */
mj_status mj_link_start(mj_link *link, const char *path, mj_json *open_request, mj_error *error);
void mj_link_stop(mj_link *link);
/* Sets what is prepared, and its answer. `request` is taken. */
mj_status mj_link_prepare(mj_link *link, mj_json *request, mj_json **reply, mj_error *error);
/* Sends `request` (taken) and waits. MJ_ERR_TIMEOUT: killed. MJ_ERR_CHILD: it died. MJ_ERR_DEVICE_LOST: its context broke.
 * After any of the three the next call starts a new process; MJ_ERR_CAPACITY: too many losses, no further start. Other
 * statuses are the worker's answer. `*reply` (mj_json_free) only with MJ_OK. */
mj_status mj_link_call(mj_link *link, mj_json *request, double seconds, mj_json **reply, mj_error *error);

#endif
