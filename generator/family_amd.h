/* family_amd.h: what the families on AMD's matrix units share: sizes, limits and expected time of templates/amd_gemm.tmpl. */
#ifndef MOEJIT_FAMILY_AMD_H
#define MOEJIT_FAMILY_AMD_H

#include "family.h"

/* How a wavefront holds the operands and sums of its matrix instruction. */
typedef struct mj_amd_matrix {
    uint32_t form;           /* which one: templates/prelude/hip_amd.h; 0: there is none of that size */
    uint32_t size, depth;    /* size x size sums over `depth` products each */
    uint32_t fragment_words; /* of an operand, per lane */
    uint32_t lane_groups;    /* lanes that share a row, each with its own part of the depth */
} mj_amd_matrix;

typedef struct mj_amd_shape {
    uint32_t tile_m, tile_n, tile_k, stages, waves_m, waves_n, matrix_size, kpack, waves_per_eu, lds_pad, group_m;
    uint32_t split_k;
    uint32_t switches;      /* MJ_AMD_CU_MODE and on */
    uint32_t element_bytes; /* of an operand as it is multiplied */
    uint32_t weight_words;  /* of 4-bit weights: 32-bit words of a load; 0: weights are loaded as they are multiplied */
    uint32_t read_span;     /* bytes of a row of shared memory that its lanes read at once; 0: no such instruction */
} mj_amd_shape;
_Static_assert(sizeof(mj_amd_shape) <= sizeof(((mj_derived *)0)->tunables), "kept in mj_derived");

/* Of an operand as it is multiplied: 4-bit weights are decoded first. */
uint32_t mj_amd_element_bytes(const mj_kernel_desc *desc);
/* The arch multiplies 8-bit floats of the scheme's kind: there are two. */
bool mj_amd_has_float8(const mj_kernel_desc *desc);
/* Like mj_family_read for one tunable that may be 0. */
mj_status mj_amd_read(const mj_kernel_desc *desc, const char *name, uint32_t *value, mj_error *error);
/* A tunable of 0 or 1 that sets `flag` in `switches`. */
mj_status mj_amd_read_switch(const mj_kernel_desc *desc, const char *name, uint32_t flag, uint32_t *switches,
                             mj_error *error);
/* Everything that follows from what a family read from its config. */
mj_status mj_amd_derive(const mj_kernel_desc *desc, mj_amd_shape shape, const mj_amd_matrix *matrix, mj_derived *out,
                        mj_error *error);
/* Wavefronts that a SIMD unit holds at once when each lane has `registers`; 0: no lane may have so many. */
uint32_t mj_amd_waves_of_registers(const mj_arch *arch, uint32_t registers);
double mj_amd_estimate_us(const mj_kernel_desc *desc, const mj_derived *derived, const mj_device_shape *device,
                          const mj_load *load);

/* The last follows from the others and the arch: loads past the registers are of 4 bytes. */
enum { MJ_AMD_CU_MODE = 1, MJ_AMD_DIRECT_LDS = 2, MJ_AMD_STORE_LDS = 4, MJ_AMD_DIRECT_WORDS = 8 };

enum { MJ_AMD_RULE_COUNT = 17 };
extern const mj_family_rule mj_amd_rules[MJ_AMD_RULE_COUNT];

#endif
