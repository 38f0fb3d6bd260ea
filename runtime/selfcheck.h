/* selfcheck.h: the host half of mj_plan_selfcheck: seeded data and what is right, in double, from the scheme alone.
 *
 * Data repeat with a prime period of words, so that weights of any size are uploaded from one small block, no two rows of an
 * operand are alike, and every element is known to the host without a download. */
#ifndef MOEJIT_SELFCHECK_H
#define MOEJIT_SELFCHECK_H

#include "context.h"
#include "operands.h"

typedef struct mj_check_data { /* word i of an operand is words[i % period]; a word holds per_word elements */
    uint32_t period, per_word, word_bytes;
    unsigned char *words;
    uint32_t pad;  /* values repeat for so many more: a run of up to pad elements never wraps */
    float *values; /* [period * per_word + pad] what the elements stand for, in the order of their run */
} mj_check_data;

typedef struct mj_check_operand { /* one array that the op at hand reads, or (data null) writes beside its output */
    mj_arg arg;
    uint64_t bytes; /* 0: the op has none */
    const mj_check_data *data;
} mj_check_operand;
enum { MJ_CHECK_OPERANDS_MAX = 7 }; /* a GEMM's five, the scales that it writes, its bias */

typedef struct mj_check {
    mj_context *context;
    mj_problem problem;
    mj_scheme scheme;
    uint32_t token_count;
    uint64_t local_rows;
    int32_t *topk_ids;     /* [M, top_k] */
    float *topk_weights;   /* [M, top_k] */
    int32_t *offsets;      /* [E+1] */
    int32_t *sorted_pairs; /* [pairs] */
    mj_check_data io; /* in io_format: biases, and the input of every op but the GEMMs; some values are large: clips */
    mj_check_data static_scale;
    /* Of the op at hand, by mj_check_begin. */
    mj_op op;
    mj_check_data input, input_scales, weights, weight_scales, weight_zeros; /* of a GEMM */
    uint32_t operand_count;
    mj_check_operand operands[MJ_CHECK_OPERANDS_MAX];
} mj_check;

typedef struct mj_check_shape { /* of an op's output; rows that no local pair owns are not looked at */
    uint64_t rows, columns;
    uint32_t element_bytes;
} mj_check_shape;

typedef struct mj_check_want { /* what is right, and the size that the terms of its sum have where they do not cancel */
    double value, size;
} mj_check_want;

/* MJ_ERR_UNSUPPORTED: a scheme whose codes the host cannot follow. */
mj_status mj_check_open(mj_check *check, mj_context *context, const mj_problem *problem, const mj_scheme *scheme,
                        uint32_t token_count, mj_error *error);
/* Makes the data of an op; those of the one before are gone. */
mj_status mj_check_begin(mj_check *check, mj_op op, mj_error *error);
void mj_check_close(mj_check *check);

mj_check_shape mj_check_output_shape(const mj_check *check, mj_op op);
/* Whether any local pair owns the row of the op at hand's output. */
bool mj_check_row_is_written(const mj_check *check, uint64_t row);
/* The right value of an element of the op at hand, which does not quantise, in double; NaN if nothing writes it. */
mj_check_want mj_check_value(const mj_check *check, uint64_t row, uint64_t column);
/* Compares a downloaded output: every element is written and near the right value, and a GEMM's errors are small in the mean
 * too; products larger than a fraction of a second's work are sampled, and an element of `base` (another kernel's checked
 * output, or NULL) that differs is always looked at. MJ_ERR_WRONG_RESULT names the first bad element. */
mj_status mj_check_output(const mj_check *check, const void *output, const void *base, mj_error *error);
/* What an output is filled with before a launch of the op at hand: no right code is like it, and 16 bits of it are NaN. */
int mj_check_unwritten_byte(const mj_check *check);
/* Codes of quantise1 or quantise2 and, where they are dynamic, scales: the host's to the bit; many rows are sampled. */
mj_status mj_check_codes(const mj_check *check, const void *codes, const float *scales, mj_error *error);
/* Offsets and sorted pairs as downloaded. */
mj_status mj_check_tables(const mj_check *check, const int32_t *offsets, const int32_t *sorted_pairs, mj_error *error);

uint64_t mj_check_hash(uint64_t seed, uint64_t index);
bool mj_check_is_local(const mj_check *check, int32_t id);

#endif
