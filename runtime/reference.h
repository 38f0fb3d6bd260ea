/* reference.h: the independent float64 truth: plain loops over decoded values, sharing no code with the templates. */
#ifndef MOEJIT_REFERENCE_H
#define MOEJIT_REFERENCE_H

#include "operands.h"

/* Element i of an array in format "bf16", "f16", "f32", "e4m3", "e4m3fnuz", "e8m0", "int8" or "uint8" as double. */
double mj_ref_load(const char *format, const void *data, uint64_t index);
/* To nearest even; fp8 saturates. Not into e8m0 and the integers. */
void mj_ref_store(const char *format, void *data, uint64_t index, double value);
uint32_t mj_ref_format_bytes(const char *format); /* 0: unknown */
double mj_ref_activation(mj_activation activation, bool gated, double gate, double up);

/* Offsets [E+1] and sorted pairs, stable by pair index. Returns local rows. */
uint64_t mj_ref_tables(const mj_problem *problem, const int32_t *topk_ids, uint32_t token_count, int32_t *offsets,
                       int32_t *sorted_pairs);
/* One output row of a GEMM in double (no rounding of the output): out[out_n]. `row` is the sorted row.
 * Input of gemm1, gemm1_act and gemm1_quantise (of which these are the values, not the codes): x [M,H]; of gemm2: rows [R,N]; every
 * array as the scheme lays it out (generator/gen.h). The bias is added
 * before gemm2's top-k weight and before an activation. A gemm2 result belongs to output row sorted_pairs[row].
 * MJ_ERR_UNSUPPORTED: unknown scheme. */
mj_status mj_ref_gemm_row(const mj_problem *problem, const mj_scheme *scheme, mj_op op, const mj_ref_arrays *arrays,
                          const int32_t *offsets, const int32_t *sorted_pairs, const float *topk_weights, uint64_t row,
                          double *out, mj_error *error);

/* The seeded test data, the same bits on host and device (templates/fill.tmpl): four 16-bit fields of
 * splitmix64(seed, i), summed and centred, times scale/37837 in float: normal-like with standard deviation `scale`,
 * never beyond 3.47 of them. Round with mj_ref_store to get what a device array holds. */
float mj_ref_fill(uint64_t seed, uint64_t index, float scale);
/* The same four fields between scale/2 and 3*scale/2: scales. */
float mj_ref_fill_positive(uint64_t seed, uint64_t index, float scale);
/* splitmix64(seed, index) */
uint64_t mj_ref_random(uint64_t seed, uint64_t index);

#endif
