/* null_script.h: scripting the null backend, which computes nothing and fails as told. For tests.
 *
 * A script is a list of rules, separated by ';' or newlines, from $MOEJIT_NULL_SCRIPT when the backend is
 * opened and from mj_null_script_add:
 *     devices=2                      devices that exist (1)
 *     memory_mib=64                  what a device has (1024)
 *     kernel_launch@3=DEVICE_LOST    the third call fails so; without @n every call does
 *     stream_sync@1=hang             the call never returns       (a worker that must be killed)
 *     kernel_launch@5=crash          the call ends the process    (a worker that must be replaced)
 *     compile@2=slow:1.5             the call takes that many seconds, then goes on
 * Call names are those of mj_backend; a status is written without MJ_ERR_. After DEVICE_LOST every later call
 * on the device is lost too.
 */
#ifndef MOEJIT_NULL_SCRIPT_H
#define MOEJIT_NULL_SCRIPT_H

#include "context.h"

typedef struct mj_null_state mj_null_state;

/* The null backend's state of a context, or NULL while it is not open. */
mj_null_state *mj_null_state_of(mj_context *context);
/* MJ_ERR_FORMAT names the rule it cannot read; rules before it are in force. */
mj_status mj_null_script_add(mj_null_state *state, const char *script, mj_error *error);
/* Calls so far of one name; 0 for a name that is none. */
uint64_t mj_null_call_count(const mj_null_state *state, const char *call);
/* Memory blocks, streams, events, kernels, graphs and devices not given back yet. */
int64_t mj_null_live_count(const mj_null_state *state);

#endif
