/* search.h: a race: which of some candidates is fastest, measured with as little time as honesty allows. Knows no device:
 * times come through calls, so tests run it on made-up ones.
 *
 *   look    every candidate once, briefly, the default first, then by estimate; whoever is MJ_RACE_DROP times slower than the
 *           best so far is out (MJ_REASON_SLOW), failures are out with their reason
 *   final   the best MJ_RACE_FINALISTS and the default again, in interleaved rounds, so that drift hits all alike
 *   decide  whoever is within the noise of the fastest counts as equal: then the default wins if it is among them, else the
 *           first by text. So two tunes agree, and the winner is never slower than the default. */
#ifndef MOEJIT_SEARCH_H
#define MOEJIT_SEARCH_H

#include "moejit_tune.h"

#define MJ_RACE_DROP        1.3
#define MJ_RACE_FINALISTS   5
#define MJ_RACE_ROUNDS      5
#define MJ_RACE_BAND_MIN    0.005
#define MJ_RACE_BAND_MAX    0.03
#define MJ_RACE_SAMPLES_MAX 512

typedef struct mj_contestant {
    /* asked */
    const char *text; /* family and config: the order among equals */
    bool is_default;
    /* found */
    bool looked, finalist;
    mj_reason reason;
    char detail[256];
    double time_us_median, time_us_spread; /* of the final if it was in it, else of the look */
    uint32_t sample_count;
    uint32_t launches;             /* per sample, the fewest; 0: not known */
    double row_error, padded_rows; /* of the last verification; row_error < 0, padded_rows 0: there was none */
} mj_contestant;

typedef struct mj_samples {
    uint32_t count;
    double us[MJ_RACE_SAMPLES_MAX];
} mj_samples;

typedef struct mj_race {
    mj_contestant *contestants; /* in order of estimate */
    uint32_t count;
    /* Would a look start at once? Only changes the order. NULL: always. */
    bool (*ready)(void *user, uint32_t index);
    /* Verifies and times briefly: sets the reason, or the median, spread and sample count. `incumbent_us`: the best so far,
     * 0 if none. Not MJ_OK ends the race. */
    mj_status (*look)(void *user, uint32_t index, double incumbent_us, mj_contestant *contestant, mj_error *error);
    /* A few more samples, appended. A candidate's own failure is its reason, not a status. */
    mj_status (*sample)(void *user, uint32_t index, mj_samples *samples, mj_contestant *contestant, mj_error *error);
    /* Every candidate's end of a stage; may be NULL. */
    void (*seen)(void *user, uint32_t index, const mj_contestant *contestant);
    void *user;
} mj_race;

/* `*winner` UINT32_MAX: nobody finished. `*default_us`: the default's final median, 0 if it failed. */
mj_status mj_race_run(mj_race *race, uint32_t *winner, double *default_us, mj_error *error);

/* Median and half the distance of the quartiles. Sorts `samples`. */
void mj_samples_summary(double *samples, uint32_t count, double *median, double *spread);

/* The decision alone, over finalists without a reason against them. */
uint32_t mj_race_decide(const mj_contestant *contestants, uint32_t count);

#endif
