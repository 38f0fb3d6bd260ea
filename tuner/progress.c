/* progress.c: progress lines: done/total, best so far, configs per second, time left. */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "progress.h"

#define TTY_SECONDS   0.1
#define PLAIN_SECONDS 10.0

void progress_print_time(double seconds, char *out, size_t bytes)
{
    unsigned long long s = seconds > 0 ? (unsigned long long)(seconds + 0.5) : 0;
    if (s < 60) {
        snprintf(out, bytes, "%llu s", s);
    } else if (s < 3600) {
        snprintf(out, bytes, "%llu min %llu s", s / 60, s % 60);
    } else {
        snprintf(out, bytes, "%llu h %llu min", s / 3600, s / 60 % 60);
    }
}

void progress_start(progress *state, FILE *out, bool quiet, uint32_t verbose, bool (*stopped)(void))
{
    *state = (progress){.out = out,
                        .tty = isatty(fileno(out)) == 1,
                        .quiet = quiet,
                        .verbose = verbose,
                        .shown_seconds = -PLAIN_SECONDS,
                        .stopped = stopped};
}

void progress_end(progress *state)
{
    if (state->line_open) {
        fputs("\r\033[K", state->out);
        state->line_open = false;
    }
    fflush(state->out);
}

static void describe(const mj_candidate_result *result, char *out, size_t bytes)
{
    char config[512] = "";
    mj_config_print(&result->config, config, sizeof config, NULL);
    snprintf(out, bytes, "%s %s", result->family, config);
}

void progress_candidate(void *user, const mj_candidate_result *result)
{
    progress *state = user;
    if (result->op != state->op || result->token_count != state->token_count ||
        strcmp(result->routing, state->routing) != 0) {
        state->op = result->op;
        state->token_count = result->token_count;
        memcpy(state->routing, result->routing, sizeof state->routing);
        state->best_us = 0;
        state->best[0] = '\0';
    }
    bool timed = result->reason == MJ_REASON_NONE && result->time_us_median > 0;
    if (timed && (state->best_us <= 0 || result->time_us_median < state->best_us)) {
        state->best_us = result->time_us_median;
        describe(result, state->best, sizeof state->best);
    }
    if (state->quiet || state->verbose == 0) {
        return;
    }
    char what[640];
    describe(result, what, sizeof what);
    progress_end(state);
    fprintf(state->out, "  M=%u %s %s %s: ", result->token_count, result->routing, mj_op_name(result->op), what);
    if (result->reason == MJ_REASON_NONE || result->reason == MJ_REASON_SLOW) {
        fprintf(state->out, "%.2f us", result->time_us_median);
    }
    if (result->reason != MJ_REASON_NONE) {
        fprintf(state->out, "%s%s%s%s", result->reason == MJ_REASON_SLOW ? ", " : "", mj_reason_text(result->reason),
                result->detail[0] ? ": " : "", result->detail);
    }
    fputc('\n', state->out);
}

static void print_finished(progress *state, const mj_tune_row *row)
{
    char what[640];
    describe(&row->best, what, sizeof what);
    progress_end(state);
    fprintf(state->out, "M=%u %s %s: ", row->token_count, row->routing, mj_op_name(row->op));
    if (row->best.time_us_median > 0) {
        fprintf(state->out, "%.2f us, %s%s\n", row->best.time_us_median, what,
                row->from_store ? " (tuned before, skipped)" : "");
    } else {
        bool nothing = row->best.reason == MJ_REASON_NONE && !row->verified;
        fprintf(state->out, "%s%s%s\n", nothing ? "no candidate survived" : what,
                row->best.reason == MJ_REASON_NONE ? "" : ": ",
                row->best.reason == MJ_REASON_NONE ? "" : mj_reason_text(row->best.reason));
    }
}

static void print_line(progress *state, const mj_tune_progress *step)
{
    char left[32] = "?", rate[32] = "", best[220] = "";
    if (step->left_seconds >= 0) {
        progress_print_time(step->left_seconds, left, sizeof left);
    }
    if (step->elapsed_seconds > 0.5 && step->done) {
        snprintf(rate, sizeof rate, ", %.2g configs/s", step->done / step->elapsed_seconds);
    }
    if (state->best_us > 0) {
        snprintf(best, sizeof best, ", M=%u %s best %.2f us", state->token_count, mj_op_name(state->op),
                 state->best_us);
        if (state->tty) {
            size_t used = strlen(best);
            snprintf(best + used, sizeof best - used, " (%.48s)", state->best);
        }
    }
    char compiled[48] = "";
    if (step->compiled < step->compile_total) {
        snprintf(compiled, sizeof compiled, ", compiled %u/%u", step->compiled, step->compile_total);
    }
    fprintf(state->out, "%s%u/%u%s%s%s, %s left%s", state->tty ? "\r\033[K" : "", step->done, step->total, compiled,
            best, rate, left, state->tty ? "" : "\n");
    state->line_open = state->tty;
    fflush(state->out);
}

bool progress_step(void *user, const mj_tune_progress *step)
{
    progress *state = user;
    bool go_on = !(state->stopped && state->stopped());
    if (state->quiet) {
        return go_on;
    }
    if (step->message) {
        progress_end(state);
        fprintf(state->out, "%s\n", step->message);
    }
    if (step->row) {
        print_finished(state, step->row);
    }
    double pause = state->tty ? TTY_SECONDS : PLAIN_SECONDS;
    if (step->total && step->elapsed_seconds - state->shown_seconds >= pause) {
        state->shown_seconds = step->elapsed_seconds;
        print_line(state, step);
    }
    return go_on;
}
