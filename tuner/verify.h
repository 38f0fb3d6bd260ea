/* verify.h: is a kernel's output right?
 *
 * Three steps, each trusting only the one before:
 *     host float64 loops (reference.h)  ->  the reference family's output on the device  ->  a candidate's output
 * A candidate runs twice into buffers full of NaN between guard zones. It is right if both outputs are equal bit for bit,
 * no guard byte and no counter changed, and every row satisfies the scheme's tolerance:
 *     row:      ||got - ref|| <= row_norm * ||ref||
 *     element:  |got - ref| <= element_rel * |ref| + element_rms * rms(ref row)
 * gemm2_combine is judged by the sums that the combine op makes of the reference's rows of gemm2.
 * gemm1_act is judged by its activated rows: the host applies the activation to its float64 sums. gemm1_quantise is judged by the
 * same rows of the reference, before they become codes: its codes are right if rows that would be right have these codes. A value near
 * the border between two codes may have either, however far apart these are, and where a group has a scale of its own, that may be off by
 * as much as the group's largest value. So no error is hidden in a code's width, and none comes of it. */
#ifndef MOEJIT_VERIFY_H
#define MOEJIT_VERIFY_H

#include "lab.h"
#include "moejit_tune.h"

typedef struct mj_finding { /* MJ_REASON_NONE: nothing wrong */
    mj_reason reason;
    char detail[256];
    double row_error; /* largest ||got - ref|| / ||ref|| of a row; 0 where nothing was compared */
} mj_finding;

/* Runs `kernel` on set 0 of `prepared`. A status other than MJ_OK is the device's, not a verdict. */
mj_status mj_verify_kernel(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, mj_finding *out,
                           mj_error *error);

/* Compares the reference output of `prepared` with the host: all of it if that is at most `products` multiplications, else
 * at least 256 rows and every expert's first and last, over as many columns as the budget allows (16 at least). */
mj_status mj_verify_reference(mj_lab *lab, const mj_case *prepared, uint64_t products, mj_finding *out,
                              mj_error *error);

/* tables, activation and combine against the host on small data. */
mj_status mj_verify_layer_op(mj_lab *lab, const mj_loaded_kernel *kernel, mj_finding *out, mj_error *error);
/* The most tokens that takes. */
uint32_t mj_layer_check_tokens(const mj_problem *problem, mj_op op);

/* The tolerance of the loaded op's rows. */
mj_tolerance mj_lab_tolerance(const mj_lab *lab);
/* One row by the tolerance above, on the host. Returns the first bad column or UINT32_MAX. `got` and `want` decoded. */
uint32_t mj_tolerance_check(const mj_tolerance *tolerance, const double *got, const double *want, uint32_t count);

#endif
