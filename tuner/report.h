/* report.h: results of tune, bench and verify as a table and as JSON. */
#ifndef MOEJIT_REPORT_H
#define MOEJIT_REPORT_H

#include <stdio.h>

#include "json.h"
#include "moejit_tune.h"

typedef struct report_subject {
    const char *command; /* "tune", "bench", "verify" */
    const char *label;   /* "mixtral-8x7b, tp 2, ep 1" */
    const char *effort;  /* NULL: does not apply */
    const mj_problem *problem;
    uint64_t seed;
    double arch_tflops; /* used for P where the vendor's library is absent; 0: unknown */
    double arch_gbps;   /* of predictions */
    bool predicted;     /* nothing was measured */
    bool interrupted;
} report_subject;

/* Head (device, ceilings, problem, seed) and one block of lines per batch size and routing. */
void report_print(FILE *out, const report_subject *subject, const mj_tune_result *result);
void report_print_verify(FILE *out, const report_subject *subject, const mj_tune_result *result);
/* One line per row: the time predicted, the floor, the work with and without what tiles add. */
void report_print_predictions(FILE *out, const report_subject *subject, const mj_tune_result *result);
/* NULL when out of memory. */
mj_json *report_json(const report_subject *subject, const mj_tune_result *result);
mj_json *report_row_json(const mj_tune_row *row);
const char *report_origin(mj_origin origin);

#endif
