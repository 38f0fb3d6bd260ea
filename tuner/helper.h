/* helper.h: the helper's side of child.h: set-up, limits, messages. */
#ifndef MOEJIT_HELPER_H
#define MOEJIT_HELPER_H

#include "protocol.h"

typedef struct mj_helper {
    int in_fd, out_fd;
    mj_frame_reader reader;
} mj_helper;

/* Reads --parent and --memory, asks to die with the parent, sets the limits, and moves the channel away from standard
 * output, which a vendor library may write to. */
mj_status mj_helper_start(int argc, char **argv, mj_helper *out, mj_error *error);
/* Waits for a request. MJ_ERR_NOT_FOUND: the parent closed the channel, leave. */
mj_status mj_helper_receive(mj_helper *helper, mj_json **out, mj_error *error);
mj_status mj_helper_send(mj_helper *helper, const mj_json *message, mj_error *error);
void mj_helper_end(mj_helper *helper);

/* A reply's head: {"id": request's, "status": "MJ_OK", "error": text}. NULL when out of memory. */
mj_json *mj_reply_new(const mj_json *request, mj_status status, const mj_error *error);
/* The status a reply carries, with its text copied into `error`. */
mj_status mj_reply_status(const mj_json *reply, mj_error *error);

#endif
