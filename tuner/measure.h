/* measure.h: how long does a kernel take?
 *
 * A graph of one launch per set (10: each its own routing and activations, and its own weights where the active ones would
 * stay in the last-level cache), random data, counters zero before; warm-up; then replays, each timed with events. A sample
 * is a replay's time divided by its launches. Where one launch takes long (a CPU), the graph holds fewer of them, but as many
 * as those of the kernels that it is compared with: they read the same routings. An activation or quantise2 reads random
 * sums, own ones in each set. */
#ifndef MOEJIT_MEASURE_H
#define MOEJIT_MEASURE_H

#include "lab.h"

#define MJ_REPLAYS_MAX 256

typedef struct mj_timing_request {
    uint32_t replays;   /* wanted, 1..MJ_REPLAYS_MAX */
    uint32_t launches;  /* of a replay, where others' times are compared with it; 0: as many as fit */
    double seconds_max; /* stop early beyond it; at least one replay is taken */
    double seconds_min; /* go on until this much was measured, up to MJ_REPLAYS_MAX replays */
} mj_timing_request;

typedef struct mj_timing {
    uint32_t count, launches; /* samples; launches per replay */
    double samples_us[MJ_REPLAYS_MAX];
} mj_timing;

mj_status mj_measure(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, const mj_timing_request *request,
                     mj_timing *out, mj_error *error);

/* Memory bandwidth in GB/s (1e9): the better of a read and a copy kernel over arrays larger than the last-level cache. */
mj_status mj_measure_bandwidth(mj_lab *lab, double *gbps, mj_error *error);
typedef struct mj_matrix_ceiling {
    double tflops;             /* 0: no library, or no memory */
    char product[MJ_NAME_MAX]; /* what was multiplied: "bf16", "e4m3"; "" if nothing was */
    char note[200];            /* why it is not what was asked for */
} mj_matrix_ceiling;

#define MJ_PRODUCT_SIZE 8192u
/* The vendor's dense product of size^3, median. `format` is what a scheme's GEMMs multiply: fp8 is measured as fp8 where the vendor's
 * library does it on this device, everything else, and fp8 where it cannot be had, as bf16. */
mj_status mj_measure_matrix(mj_lab *lab, const char *format, uint32_t size, mj_matrix_ceiling *out, mj_error *error);

#endif
