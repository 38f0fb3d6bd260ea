/* host_call.h: a hand-written kernel for the host prelude: run in a child process. */
#ifndef MOEJIT_HOST_CALL_H
#define MOEJIT_HOST_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "host_run.h"

/* Blocks 0..blocks-1, one after the other. The child sees a copy of the caller's memory: what the kernel writes for the caller
 * lies in memory of host_shared(). why: the fault that the prelude named, else empty. */
host_result host_call(const char *library, const char *symbol, const void *args, int32_t blocks, size_t smem_bytes,
                      uint64_t seed, char *why, size_t why_bytes);
void *host_shared(size_t bytes); /* zeros; NULL: no memory; for the process's life */

#endif
