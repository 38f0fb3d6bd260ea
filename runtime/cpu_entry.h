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

/* What the cpu backend encodes a tensor map to: the first bytes of its MJ_TENSOR_MAP_BYTES, the rest zero. It is read by
 * templates/prelude/host_hopper.h, which has the same fields as mj_hopper_map: change both. */
#define MJ_HOST_TENSOR_MAP_MAGIC 0x6d6a686f73746d70ull
typedef struct mj_host_tensor_map {
    uint64_t magic, address, rows;
    uint32_t row_elements, element_bytes, box_rows, box_elements, swizzle_bytes, axis_count;
    struct {
        uint64_t stride_rows;
        uint32_t count, box;
    } axes[3]; /* MJ_TENSOR_AXES_MAX */
} mj_host_tensor_map;

typedef void (*mj_host_entry)(const mj_host_block *block, const void *args);

#endif
