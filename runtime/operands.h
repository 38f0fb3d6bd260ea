/* operands.h: the arrays of a GEMM as its scheme describes them (generator/gen.h, "Operands of a GEMM"): how large they are, what
 * random data suits them, and what they stand for, in float64. Shares no code with the templates. */
#ifndef MOEJIT_OPERANDS_H
#define MOEJIT_OPERANDS_H

#include "gen.h"

/* Kinds of random data, the same bits on host and device. ORDER FILL: templates/fill.tmpl */
typedef enum mj_fill_kind {
    MJ_FILL_NORMAL,   /* near normal, standard deviation `scale` */
    MJ_FILL_POSITIVE, /* between scale/2 and 3*scale/2: scales */
    MJ_FILL_BITS      /* any byte: packed codes; format "uint8" */
} mj_fill_kind;

typedef struct mj_operand { /* one array; bytes 0: the scheme has none */
    const char *format;     /* of an element, as mj_ref_store knows it */
    mj_fill_kind kind;
    uint64_t count, bytes;
    float scale;
} mj_operand;

typedef struct mj_operands {
    mj_operand weights, weight_scales, weight_zeros; /* of all experts */
    mj_operand input, input_scales;                  /* of `input_rows` rows */
    uint64_t scales_offset, zeros_offset;            /* where they lie in one block behind the weights */
    uint64_t block_bytes;
} mj_operands;

/* Outputs of such data have a standard deviation of about 1. MJ_ERR_UNSUPPORTED: a format the host does not know;
 * MJ_ERR_CAPACITY: sizes overflow. */
mj_status mj_operands_describe(const mj_scheme *scheme, const mj_problem *problem, mj_op op, uint64_t input_rows,
                               mj_operands *out, mj_error *error);
/* Element `index` of an operand's random data, written to `data`. */
void mj_operand_store(const mj_operand *operand, void *data, uint64_t at, uint64_t seed, uint64_t index);
/* The mode argument of the fill kernel; negative: it does not know the format. */
int32_t mj_operand_fill_mode(const mj_operand *operand);

/* Weights as they were decoded for earlier rows, of callers that ask for many rows of the same weights; theirs to free. */
typedef struct mj_ref_memory {
    double *weights;     /* [slot][n][k] */
    uint32_t *held;      /* [slot]: 1 + the expert whose weights these are; all 0 at first */
    uint32_t slot_count; /* an expert's is expert % slot_count; 1 does for rows that come expert by expert */
} mj_ref_memory;

/* Where the arrays of one GEMM are. Null: the scheme has none. */
typedef struct mj_ref_arrays {
    const void *input, *weights, *bias;
    const void *weight_scales, *weight_zeros, *input_scales;
    mj_ref_memory *memory; /* NULL: every row decodes its weights */
} mj_ref_arrays;

/* Weight row (expert, column) of k values: (decode(code) - zero) * scale. */
mj_status mj_ref_weight_row(const mj_scheme *scheme, mj_gemm_shape shape, const mj_ref_arrays *arrays, uint64_t expert,
                            uint32_t column, double *out, mj_error *error);
/* Where a weight's code, scale and zero point lie, in words of packed codes or else in elements, and what lies there. `element`
 * counts along the packing's axis, modulo what a word holds. */
uint64_t mj_ref_weight_index(const mj_scheme *scheme, mj_gemm_shape shape, uint64_t expert, uint64_t column,
                             uint64_t k);
double mj_ref_weight_code(const mj_scheme *scheme, const void *weights, uint64_t index, uint64_t element);
uint64_t mj_ref_scale_index(const mj_scheme *scheme, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint64_t k);
uint64_t mj_ref_zero_index(const mj_scheme *scheme, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint64_t k,
                           uint64_t *element);
double mj_ref_zero_code(const mj_scheme *scheme, const void *zeros, uint64_t index, uint64_t element);
/* The scale and the zero point (without zero_bias) of one weight. */
double mj_ref_scale(const mj_scheme *scheme, mj_gemm_shape shape, const void *scales, uint64_t expert, uint64_t column,
                    uint64_t k);
double mj_ref_zero(const mj_scheme *scheme, mj_gemm_shape shape, const void *zeros, uint64_t expert, uint64_t column,
                   uint64_t k);
/* Input row of k values, scaled. */
mj_status mj_ref_input_row(const mj_scheme *scheme, uint32_t k, const mj_ref_arrays *arrays, uint64_t row, double *out,
                           mj_error *error);
/* What quantise makes of one row of io_format values: codes [k] and scales (1, or one per group; static: `scales` is read). */
mj_status mj_ref_quantise_row(const mj_scheme *scheme, uint32_t k, const void *input, uint64_t row, void *codes,
                              float *scales, mj_error *error);
/* Are these codes those of a row `want`, whose values may be off by what a tolerance allows? out[i] is the value nearest to want[i] of
 * which codes[i] is the code under its scale, so that out and want are to be compared; NaN: of no value. A code's neighbour is right if
 * want lies near the border between them, however far apart the two codes' values are. Where a group has a scale of its own, out of its
 * largest |want| is what the scale says of that, if it says something worse. */
mj_status mj_ref_values_of_codes(const mj_scheme *scheme, uint32_t count, const uint8_t *codes, const float *scales,
                                 const double *want, double *out, mj_error *error);
/* Scales that quantise writes per row: 0 static, 1 per token, or one per group. */
uint32_t mj_ref_scales_per_row(const mj_scheme *scheme, uint32_t k);

#endif
