/* code_object.h: what a code object for AMD's GPUs says of itself: its target, and each kernel's registers and memory.
 *
 * An ELF file with one note of the owner "AMDGPU" (LLVM's AMDGPU user guide, "Code Object V3 and above Metadata"), whose text is
 * MessagePack. The subset that occurs is read here, without a library: about a hundred lines against a dependency of
 * everyone who builds this. Nothing in the bytes is trusted. */
#ifndef MOEJIT_CODE_OBJECT_H
#define MOEJIT_CODE_OBJECT_H

#include "moejit_types.h"

typedef struct mj_code_object { /* points into the bytes that it was read from */
    char target[32];            /* "gfx942" */
    char features[64];          /* ":sramecc+:xnack-"; empty: any */
    uint32_t kernel_count;
    const unsigned char *kernels; /* the array's first element */
    size_t kernels_bytes;         /* from there to the note's end */
} mj_code_object;

typedef struct mj_code_kernel {
    char name[256]; /* the function's; ".kd" of it is the symbol that a runtime looks for */
    uint32_t vgprs; /* per lane, accumulation registers included where they share the file */
    uint32_t agprs, sgprs;
    uint32_t lds_bytes;     /* fixed part */
    uint32_t scratch_bytes; /* per lane: spills and arrays. The spill counts alone may be 0 where this is not */
    uint32_t vgpr_spills, sgpr_spills;
    uint32_t wavefront_size;
    uint32_t threads_block_max;
    uint32_t kernarg_bytes;
    bool dynamic_stack;
} mj_code_kernel;

/* `data` is an ELF file, or clang's offload bundle with one for a GPU. Both functions: MJ_ERR_FORMAT says what is wrong. */
mj_status mj_code_object_read(const void *data, size_t bytes, mj_code_object *out, mj_error *error);
/* index < kernel_count. A damaged kernel does not hide the others'. */
mj_status mj_code_object_kernel(const mj_code_object *object, uint32_t index, mj_code_kernel *out, mj_error *error);

#endif
