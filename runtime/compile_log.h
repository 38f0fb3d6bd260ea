/* compile_log.h: what compilers say, reduced to one line or a few numbers. */
#ifndef MOEJIT_COMPILE_LOG_H
#define MOEJIT_COMPILE_LOG_H

#include "backend.h"

/* The first line of `log` that reports an error, else its first line, cut to fit; "" for an empty or
 * NULL log. Never a line break in `out`. */
void mj_log_first_error(const char *log, char *out, size_t bytes);

/* ptxas -v: registers, stack or spill bytes and static shared memory, the largest over the log's
 * functions; fields that the log does not name stay 0. */
void mj_log_ptxas_attributes(const char *log, mj_kernel_attributes *out);

#define MJ_LOST_OVERLAP_MAX 200 /* a line about it is cut to this */
/* Whether ptxas says that it gave up what the kernel's speed rests on: wgmma made synchronous ("instructions are serialized") or
 * setmaxnreg ignored. `out` gets that line, cut to fit; "" if there is none. */
bool mj_log_lost_overlap(const char *log, char *out, size_t bytes);

#endif
