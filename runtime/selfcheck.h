/* selfcheck.h: the host half of mj_plan_selfcheck: seeded data and what is right, in double, from the formulas alone.
 *
 * Data repeat with a prime period, so that weights of any size are uploaded from one small block, no two rows of an operand
 * are alike, and every element is known to the host without a download. */
#ifndef MOEJIT_SELFCHECK_H
#define MOEJIT_SELFCHECK_H

#include "context.h"

typedef enum mj_half { MJ_HALF_BF16, MJ_HALF_F16 } mj_half;

typedef struct mj_check_data { /* element i of an operand is values[i % period] */
    uint32_t period;
    uint32_t pad;    /* values repeat for so many more: a run of up to pad elements never wraps */
    float *values;   /* [period + pad] */
    uint16_t *codes; /* [period] the same, as the device reads them */
} mj_check_data;

typedef struct mj_check {
    mj_context *context;
    mj_problem problem;
    mj_half half;
    uint32_t token_count;
    uint64_t local_rows;
    int32_t *topk_ids;     /* [M, top_k] */
    float *topk_weights;   /* [M, top_k] */
    int32_t *offsets;      /* [E+1] */
    int32_t *sorted_pairs; /* [pairs] */
    mj_check_data inputs, weights;
    int weights_log2; /* the weights are this power of two smaller than the inputs */
} mj_check;

typedef struct mj_check_shape { /* of an op's output; rows that no local pair owns are not looked at */
    uint64_t rows, columns;
} mj_check_shape;

float mj_half_to_float(mj_half half, uint16_t code);
uint16_t mj_half_from_float(mj_half half, float value);

mj_status mj_check_open(mj_check *check, mj_context *context, const mj_problem *problem, uint32_t token_count,
                        mj_error *error);
void mj_check_close(mj_check *check);

/* Sets check->weights to the op's; before its values are asked for. */
void mj_check_use_weights(mj_check *check, mj_op op);

mj_check_shape mj_check_output_shape(const mj_check *check, mj_op op);
/* Elements that the op reads as `input`. */
uint64_t mj_check_input_elements(const mj_check *check, mj_op op);
/* The right value of an element, in double; NaN if nothing writes it. */
double mj_check_value(const mj_check *check, mj_op op, uint64_t row, uint64_t column);
/* Compares a downloaded output: every element is written and near the right value; products larger than a fraction of a
 * second's work are sampled, and an element of `base` (another kernel's checked output, or NULL) that differs is always looked at.
 * MJ_ERR_WRONG_RESULT names the first bad element. */
mj_status mj_check_output(const mj_check *check, mj_op op, const uint16_t *output, const uint16_t *base,
                          mj_error *error);
/* Offsets and sorted pairs as downloaded. */
mj_status mj_check_tables(const mj_check *check, const int32_t *offsets, const int32_t *sorted_pairs, mj_error *error);

#endif
