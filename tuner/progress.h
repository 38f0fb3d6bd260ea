/* progress.h: what a person sees while a tune runs. A redrawn line on a terminal, plain lines
 * otherwise, on stderr. */
#ifndef MOEJIT_PROGRESS_H
#define MOEJIT_PROGRESS_H

#include <stdio.h>

#include "moejit_tune.h"

typedef struct progress {
    FILE *out;
    bool tty, quiet, line_open;
    uint32_t verbose;
    double shown_seconds; /* elapsed time at the last line */
    mj_op op;             /* the row that is being measured, and its best so far */
    uint32_t token_count;
    char routing[MJ_NAME_MAX];
    char best[160];
    double best_us;
    bool (*stopped)(void); /* asked at every step; NULL: never */
} progress;

void progress_start(progress *state, FILE *out, bool quiet, uint32_t verbose, bool (*stopped)(void));
/* For mj_tune_options.progress and .candidate, with `user` = progress *. */
bool progress_step(void *user, const mj_tune_progress *step);
void progress_candidate(void *user, const mj_candidate_result *result);
/* Ends an open line. */
void progress_end(progress *state);
/* "12 s", "3 min 5 s", "2 h 10 min". */
void progress_print_time(double seconds, char *out, size_t bytes);

#endif
