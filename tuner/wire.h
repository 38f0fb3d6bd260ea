/* wire.h: what the requests and replies of protocol.h carry, as structs. Both sides use these, so they cannot disagree. */
#ifndef MOEJIT_WIRE_H
#define MOEJIT_WIRE_H

#include "context.h"
#include "json.h"
#include "store.h"

/* Device description, as moejit-worker's reply to "open". */
typedef struct mj_wire_device {
    mj_device_info info;
    mj_identity identity;
    mj_device_shape shape;
} mj_wire_device;

mj_json *mj_wire_device_to_json(const mj_wire_device *device);
mj_status mj_wire_device_from_json(const mj_json *json, mj_wire_device *out, mj_error *error);

/* A problem as its canonical text under "problem". */
mj_status mj_wire_read_problem(const mj_json *request, mj_problem *out, mj_error *error);
mj_status mj_wire_add_problem(mj_json *request, const mj_problem *problem, mj_error *error);
mj_status mj_wire_read_op(const mj_json *request, mj_op *out, mj_error *error);
/* 64-bit seeds do not fit a JSON number: decimal text. */
mj_json *mj_wire_add_u64(mj_json *request, const char *key, uint64_t value);
mj_status mj_wire_read_u64(const mj_json *request, const char *key, uint64_t *out, mj_error *error);
/* Absent or empty: *out stays NULL. The text lives as long as the request. */
const char *mj_wire_text(const mj_json *request, const char *key);

/* What helpers are asked first: to open a context with the folders and compilers of the calling one, or with compiling off as it is
 * there. NULL: no memory. */
mj_json *mj_wire_open_request(const mj_context *context, const char *cache_dir);
/* `out`'s strings live as long as the request; what is absent or damaged is the default. */
void mj_wire_read_context(const mj_json *request, mj_context_options *out);

#endif
