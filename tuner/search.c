/* search.c: see search.h. */
#include "search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *mj_reason_text(mj_reason reason)
{
    static const char *const texts[MJ_REASON_COUNT] = {
#define REASON_TEXT(name, text) [name] = text,
        MJ_REASON_LIST(REASON_TEXT)
#undef REASON_TEXT
    };
    return (unsigned)reason < MJ_REASON_COUNT ? texts[reason] : "unknown";
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

void mj_samples_summary(double *samples, uint32_t count, double *median, double *spread)
{
    if (count == 0) {
        *median = *spread = 0;
        return;
    }
    qsort(samples, count, sizeof(double), compare_double);
    *median = (samples[(count - 1) / 2] + samples[count / 2]) / 2;
    *spread = (samples[3 * (count - 1) / 4] - samples[(count - 1) / 4]) / 2;
}

/* ---- Look ---- */
/* The first that is ready, in order; else the first at all. UINT32_MAX: none is left. */
static uint32_t next_look(const mj_race *race)
{
    uint32_t first = UINT32_MAX;
    for (int pass = 0; pass < 2; pass++) { /* the default leads: it is what the others must beat */
        for (uint32_t i = 0; i < race->count; i++) {
            const mj_contestant *c = &race->contestants[i];
            if (c->looked || c->is_default != (pass == 0)) {
                continue;
            }
            first = first == UINT32_MAX ? i : first;
            if (!race->ready || race->ready(race->user, i)) {
                return i;
            }
        }
    }
    return first;
}

static mj_status look_all(mj_race *race, mj_error *error)
{
    double best_us = 0;
    for (uint32_t i = next_look(race); i != UINT32_MAX; i = next_look(race)) {
        mj_contestant *c = &race->contestants[i];
        mj_status status = race->look(race->user, i, best_us, c, error);
        if (status != MJ_OK) {
            return status;
        }
        c->looked = true;
        bool timed = c->reason == MJ_REASON_NONE && c->time_us_median > 0;
        if (timed && best_us > 0 && c->time_us_median > MJ_RACE_DROP * best_us && !c->is_default) {
            c->reason = MJ_REASON_SLOW;
        }
        if (timed && (best_us == 0 || c->time_us_median < best_us)) {
            best_us = c->time_us_median;
        }
        if (race->seen) {
            race->seen(race->user, i, c);
        }
    }
    return MJ_OK;
}

/* ---- Final ---- */
typedef struct finalist {
    uint32_t index;
    mj_samples samples;
} finalist;

static uint32_t choose_finalists(mj_race *race, finalist *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < race->count; i++) {
        if (race->contestants[i].is_default && race->contestants[i].reason == MJ_REASON_NONE) {
            race->contestants[i].finalist = true;
            out[count++].index = i;
        }
    }
    uint32_t capacity = count + MJ_RACE_FINALISTS;
    while (count < capacity) {
        uint32_t best = UINT32_MAX;
        for (uint32_t i = 0; i < race->count; i++) {
            const mj_contestant *c = &race->contestants[i];
            if (c->reason == MJ_REASON_NONE && !c->finalist &&
                (best == UINT32_MAX || c->time_us_median < race->contestants[best].time_us_median)) {
                best = i;
            }
        }
        if (best == UINT32_MAX) {
            break;
        }
        race->contestants[best].finalist = true;
        out[count++].index = best;
    }
    return count;
}

static mj_status run_final(mj_race *race, finalist *finalists, uint32_t count, mj_error *error)
{
    for (uint32_t round = 0; round < MJ_RACE_ROUNDS; round++) {
        for (uint32_t i = 0; i < count; i++) {
            finalist *f = &finalists[round % 2 ? count - 1 - i : i]; /* there and back: a steady drift cancels */
            mj_contestant *c = &race->contestants[f->index];
            if (c->reason != MJ_REASON_NONE) {
                continue;
            }
            mj_status status = race->sample(race->user, f->index, &f->samples, c, error);
            if (status != MJ_OK) {
                return status;
            }
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        mj_contestant *c = &race->contestants[finalists[i].index];
        if (c->reason == MJ_REASON_NONE && finalists[i].samples.count > 0) {
            mj_samples *samples = &finalists[i].samples;
            c->sample_count = samples->count;
            mj_samples_summary(samples->us, samples->count, &c->time_us_median, &c->time_us_spread);
        }
        if (race->seen) {
            race->seen(race->user, finalists[i].index, c);
        }
    }
    return MJ_OK;
}

/* ---- Decision ---- */
static bool in_race(const mj_contestant *c)
{
    return c->finalist && c->reason == MJ_REASON_NONE && c->time_us_median > 0;
}

static bool is_equal(const mj_contestant *best, const mj_contestant *c)
{
    double noise = (best->time_us_spread + c->time_us_spread) / best->time_us_median;
    double band = fmin(fmax(noise, MJ_RACE_BAND_MIN), MJ_RACE_BAND_MAX);
    return c->time_us_median <= best->time_us_median * (1 + band);
}

uint32_t mj_race_decide(const mj_contestant *contestants, uint32_t count)
{
    uint32_t best = UINT32_MAX, winner = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (in_race(&contestants[i]) &&
            (best == UINT32_MAX || contestants[i].time_us_median < contestants[best].time_us_median)) {
            best = i;
        }
    }
    for (uint32_t i = 0; best != UINT32_MAX && i < count; i++) {
        const mj_contestant *c = &contestants[i];
        if (!in_race(c) || !is_equal(&contestants[best], c)) {
            continue;
        }
        const mj_contestant *w = winner == UINT32_MAX ? NULL : &contestants[winner];
        if (!w || (c->is_default && !w->is_default) ||
            (c->is_default == w->is_default && strcmp(c->text, w->text) < 0)) {
            winner = i;
        }
    }
    return winner;
}

mj_status mj_race_run(mj_race *race, uint32_t *winner, double *default_us, mj_error *error)
{
    *winner = UINT32_MAX;
    *default_us = 0;
    mj_status status = look_all(race, error);
    if (status != MJ_OK) {
        return status;
    }
    finalist *finalists = calloc(race->count + 1ull, sizeof(*finalists));
    if (!finalists) {
        return mj_fail(error, MJ_ERR_MEMORY, "finalists");
    }
    uint32_t count = choose_finalists(race, finalists);
    status = run_final(race, finalists, count, error);
    free(finalists);
    if (status == MJ_OK) {
        *winner = mj_race_decide(race->contestants, race->count);
        for (uint32_t i = 0; i < race->count; i++) {
            if (race->contestants[i].is_default && in_race(&race->contestants[i])) {
                *default_us = race->contestants[i].time_us_median;
            }
        }
    }
    return status;
}
