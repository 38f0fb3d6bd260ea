/* cpu_info.h: what the system says about the CPU and its memory. */
#ifndef MOEJIT_CPU_INFO_H
#define MOEJIT_CPU_INFO_H

#include "moejit.h"

/* Threads this process may use: its affinity mask, cut by the cgroup's quota and by
 * $MOEJIT_CPU_THREADS; at least 1. */
uint32_t mj_cpu_thread_count(void);
/* Bytes that can be taken without swapping, and all of them; 0 if the system does not say. */
void mj_cpu_memory(uint64_t *free_bytes, uint64_t *total_bytes);
/* Everything of mj_device_info but `arch`, `compiler` and `note`. */
void mj_cpu_describe(mj_device_info *out);

#endif
