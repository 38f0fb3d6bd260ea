/* cpu_entry.h: how the cpu backend calls a kernel; the other side is templates/prelude/host.h.
 *
 * A generated C source exports `void <symbol>(const mj_host_block *, const void *args)`, called once per
 * block, from several threads at a time. */
#ifndef MOEJIT_CPU_ENTRY_H
#define MOEJIT_CPU_ENTRY_H

#include <stdint.h>

typedef struct mj_host_block {
    int32_t block, grid;
    void *smem;    /* the manifest's smem_bytes, 128-byte aligned, of unknown content; one per thread */
    uint64_t seed; /* of the lane order where lanes are emulated */
} mj_host_block;

typedef void (*mj_host_entry)(const mj_host_block *block, const void *args);

#endif
