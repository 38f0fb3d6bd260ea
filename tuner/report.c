/* report.c: tables for people, JSON for programs; the same numbers in both. */
#include <string.h>

#include "gen.h"
#include "report.h"

#define LAUNCHES_USUAL 10 /* in one timed replay */

/* ORDER ORIGIN */
static const char *const origins[MJ_ORIGIN_COUNT] = {
    [MJ_ORIGIN_STORE] = "store",       [MJ_ORIGIN_STORE_ARCH] = "store of the arch", [MJ_ORIGIN_PACK] = "pack",
    [MJ_ORIGIN_ESTIMATE] = "estimate", [MJ_ORIGIN_REFERENCE] = "asked for",
};

static const char *row_origin(const mj_tune_row *row)
{
    if (row->from_store) {
        return "tuned before";
    }
    return row->asked ? "asked for" : row->unsaved ? "not saved" : report_origin(row->origin);
}

/* A tune's row may end without a choice; what bench and verify look at has a family whatever comes of it. */
static const char *row_result(const mj_tune_row *row)
{
    return row->best.family[0] ? mj_reason_text(row->best.reason) : "no candidate survived";
}

const char *report_origin(mj_origin origin)
{
    return (unsigned)origin < MJ_ORIGIN_COUNT ? origins[origin] : "?";
}

/* ---- Head ---- */
static void print_ceilings(FILE *out, const report_subject *subject, const mj_tune_result *result)
{
    fprintf(out, "ceilings  B ");
    if (subject->predicted && subject->arch_gbps > 0) {
        fprintf(out, "%.0f GB/s (the arch's figure), P ", subject->arch_gbps);
    } else if (result->memory_gbps > 0) {
        fprintf(out, "%.0f GB/s (measured), P ", result->memory_gbps);
    } else {
        fprintf(out, "not measured, P ");
    }
    if (result->matrix_tflops > 0) {
        fprintf(out, "%.3g TFLOP/s (measured, %s product)\n", result->matrix_tflops,
                result->matrix_product[0] ? result->matrix_product : "bf16");
        if (result->matrix_note[0]) {
            fprintf(
                out,
                "          the scheme's own product was not measured: %s; percentages of the roofline are too high\n",
                result->matrix_note);
        }
    } else if (subject->arch_tflops > 0) {
        fprintf(out, "%.3g TFLOP/s (not measured: the arch's figure, of bf16)\n", subject->arch_tflops);
    } else {
        fprintf(out, "not measured: the roofline is of memory alone\n");
    }
}

static void print_head(FILE *out, const report_subject *subject, const mj_tune_result *result)
{
    char problem[512] = "";
    mj_problem_print(subject->problem, problem, sizeof problem, NULL);
    fprintf(out, "device    %s (%s, %s), driver %s, compiler %s\n", result->device_name, result->device_id,
            result->arch[0] ? result->arch : "no arch", result->driver[0] ? result->driver : "-",
            result->compiler[0] ? result->compiler : "-");
    print_ceilings(out, subject, result);
    fprintf(out, "problem   %s: %s\n", subject->label, problem);
    fprintf(out, "seed      %llu", (unsigned long long)subject->seed);
    fprintf(out, "%s%s\n", subject->effort ? ", effort " : "", subject->effort ? subject->effort : "");
    if (result->store_path[0]) {
        fprintf(out, "store     %s%s\n", result->store_path,
                strcmp(subject->command, "tune") == 0 && !result->persisted ? " (not saved)" : "");
    }
    fputc('\n', out);
}

/* In one timed replay of any row; 0: nothing was timed. */
static uint32_t fewest_launches(const mj_tune_result *result)
{
    uint32_t fewest = 0;
    for (uint32_t i = 0; i < result->row_count; i++) {
        uint32_t launches = result->rows[i].best.launches;
        fewest = launches > 0 && (fewest == 0 || launches < fewest) ? launches : fewest;
    }
    return fewest;
}

static void print_tail(FILE *out, const mj_tune_result *result)
{
    fprintf(out, "\n%.1f s", result->seconds);
    if (result->compile_seconds_median > 0) {
        fprintf(out, ", compiling one kernel %.2f s (median)", result->compile_seconds_median);
    }
    uint32_t launches = fewest_launches(result);
    if (launches > 0 && launches < LAUNCHES_USUAL) {
        fprintf(out, ", slow launches timed in groups of %u or more, not %d", launches, LAUNCHES_USUAL);
    }
    if (result->resumed) {
        fprintf(out, ", %u measurements taken from the journal", result->resumed);
    }
    if (result->worker_restarts) {
        fprintf(out, ", worker replaced %u times", result->worker_restarts);
    }
    fputc('\n', out);
}

/* ---- Lines ---- */
static const mj_op columns[] = {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT, MJ_OP_GEMM1_QUANTISE, MJ_OP_GEMM2, MJ_OP_GEMM2_COMBINE};
#define COLUMN_COUNT (sizeof(columns) / sizeof(columns[0]))

typedef struct gemm_cell { /* the GEMMs of one batch size and routing, by column; each may be NULL */
    const mj_tune_row *rows[COLUMN_COUNT];
} gemm_cell;

static bool has_column(const mj_tune_result *result, mj_op op)
{
    for (uint32_t i = 0; i < result->row_count; i++) {
        if (result->rows[i].op == op) {
            return true;
        }
    }
    return false;
}

/* A column is left out where nothing stands in it, unless its op is one that every layer has. */
static bool is_shown(const mj_tune_result *result, mj_op op)
{
    return mj_op_stands_for(op) == MJ_OP_COUNT || has_column(result, op);
}

static bool same_cell(const mj_tune_row *a, const mj_tune_row *b)
{
    return a->token_count == b->token_count && strcmp(a->routing, b->routing) == 0;
}

static gemm_cell next_cell(const mj_tune_result *result, uint32_t *index)
{
    gemm_cell out = {{NULL}};
    const mj_tune_row *first = &result->rows[*index];
    while (*index < result->row_count && same_cell(first, &result->rows[*index])) {
        const mj_tune_row *row = &result->rows[(*index)++];
        for (size_t i = 0; i < COLUMN_COUNT; i++) {
            out.rows[i] = columns[i] == row->op ? row : out.rows[i];
        }
    }
    return out;
}

typedef struct cell_sum {
    double us; /* 0: not of all rows */
    double operations, bytes, floor_us;
    double padded;     /* operations; 0: not known of all rows */
    double row_error;  /* the largest; < 0: not known */
    double against_us; /* 0: not of all rows */
    uint32_t tried, refused, failed;
    uint32_t by_reason[MJ_REASON_COUNT];
} cell_sum;

/* Times and work of the ops that stand for themselves: one that stands in for others would count their work again. */
static cell_sum sum_cell(const gemm_cell *cell)
{
    cell_sum sum = {.row_error = -1};
    bool timed = true, padded_known = true, against_known = true;
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        const mj_tune_row *row = cell->rows[i];
        if (!row) {
            continue;
        }
        sum.tried += row->tried;
        sum.refused += row->refused;
        sum.failed += row->failed;
        for (int r = 0; r < MJ_REASON_COUNT; r++) {
            sum.by_reason[r] += row->failed_by_reason[r];
        }
        if (mj_op_stands_for(row->op) != MJ_OP_COUNT) {
            continue;
        }
        sum.us += row->best.time_us_median;
        sum.operations += row->operations;
        sum.bytes += row->bytes;
        sum.floor_us += row->floor_us;
        sum.padded += row->padded_operations;
        sum.row_error = row->row_error > sum.row_error ? row->row_error : sum.row_error;
        sum.against_us += row->against.time_us_median;
        timed = timed && row->best.time_us_median > 0;
        padded_known = padded_known && row->padded_operations > 0;
        against_known = against_known && row->against.time_us_median > 0;
    }
    sum.us = timed ? sum.us : 0;
    sum.padded = padded_known ? sum.padded : 0;
    sum.against_us = against_known ? sum.against_us : 0;
    return sum;
}

/* Of a column: its op's name and the unit, or a time. */
static int column_width(mj_op op)
{
    int chars = (int)strlen(mj_op_name(op)) + (int)strlen(" us");
    return chars > 10 ? chars : 10;
}

static void print_time(FILE *out, mj_op op, const mj_tune_row *row)
{
    if (row && row->best.time_us_median > 0) {
        fprintf(out, " %*.2f", column_width(op), row->best.time_us_median);
    } else {
        fprintf(out, " %*s", column_width(op), "-");
    }
}

static void print_config(FILE *out, const mj_tune_row *row)
{
    char config[640] = "";
    if (!row->best.family[0]) {
        fprintf(out, "       %s: %s\n", mj_op_name(row->op), row_result(row));
        return;
    }
    mj_config_print(&row->best.config, config, sizeof config, NULL);
    char estimate[48] = "";
    if (!(row->best.time_us_median > 0) && row->best.estimate_us > 0) {
        snprintf(estimate, sizeof estimate, ", about %.1f us", row->best.estimate_us);
    }
    char tuned_at[MJ_NAME_MAX + 32] = "";
    if (row->tuned_at && (row->tuned_at != row->token_count || strcmp(row->tuned_routing, row->routing) != 0)) {
        snprintf(tuned_at, sizeof tuned_at, ", tuned at M=%u %s", (unsigned)row->tuned_at, row->tuned_routing);
    }
    fprintf(out, "       %s %s %s  [%s%s, %s%s%s]\n", mj_op_name(row->op), row->best.family, config, row_origin(row),
            tuned_at, row->verified ? "verified" : "unverified", row->best.is_default ? ", the estimate's choice" : "",
            estimate);
    if (row->best.reason != MJ_REASON_NONE) {
        fprintf(out, "       %s: %s%s%s\n", mj_op_name(row->op), mj_reason_text(row->best.reason),
                row->best.detail[0] ? ": " : "", row->best.detail);
    }
    if (row->against.family[0]) {
        const mj_candidate_result *against = &row->against;
        mj_config_print(&against->config, config, sizeof config, NULL);
        fprintf(out, "       %s against %s %s: ", mj_op_name(row->op), against->family, config);
        if (strcmp(against->family, row->best.family) == 0 && mj_config_equal(&against->config, &row->best.config)) {
            fprintf(out, "the same\n");
        } else if (against->time_us_median > 0 && row->best.time_us_median > 0) {
            fprintf(out, "%.2f us, %.3g times as long\n", against->time_us_median,
                    against->time_us_median / row->best.time_us_median);
        } else {
            fprintf(out, "%s%s%s\n", mj_reason_text(against->reason), against->detail[0] ? ": " : "", against->detail);
        }
    }
    if (row->kept_us > 0) {
        fprintf(out, "       %s: not saved: the store's own choice took %.2f us (--force replaces it)\n",
                mj_op_name(row->op), row->kept_us);
    }
}

/* Three digits, and never an exponent: a CPU's 0.042 TFLOP/s and a GPU's 1230 in one column. */
static void print_rate(FILE *out, int width, double rate)
{
    int decimals = rate < 0.1 ? 4 : rate < 1 ? 3 : rate < 10 ? 2 : rate < 100 ? 1 : 0;
    fprintf(out, " %*.*f", width, decimals, rate);
}

static void print_bench(FILE *out, const cell_sum *sum)
{
    if (sum->us > 0 && sum->padded > 0) {
        print_rate(out, 8, sum->padded / sum->us * 1e-6);
    } else {
        fprintf(out, " %8s", "-");
    }
    if (sum->row_error >= 0) {
        fprintf(out, " %9.1e", sum->row_error);
    } else {
        fprintf(out, " %9s", "-");
    }
    if (sum->us > 0 && sum->against_us > 0) {
        print_rate(out, 7, sum->against_us / sum->us);
    } else {
        fprintf(out, " %7s", "-");
    }
}

static void print_reasons(FILE *out, const cell_sum *sum)
{
    const char *before = "  (";
    for (int r = 0; r < MJ_REASON_COUNT; r++) {
        if (sum->by_reason[r]) {
            fprintf(out, "%s%s %u", before, mj_reason_text((mj_reason)r), sum->by_reason[r]);
            before = ", ";
        }
    }
    fprintf(out, "%s\n", before[0] == ',' ? ")" : "");
}

static const mj_tune_row *row_of(const gemm_cell *cell, mj_op op)
{
    const mj_tune_row *found = NULL;
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        found = columns[i] == op ? cell->rows[i] : found;
    }
    return found;
}

typedef struct sum_text {
    double us; /* 0: not all of it was timed */
    char text[160];
} sum_text;

/* What an op stands in for, as a plan adds it up: of a part that stands in for others itself, the faster way. */
static sum_text instead_of(const gemm_cell *cell, mj_op op)
{
    mj_op first = mj_op_part(op, 0);
    const mj_tune_row *row = row_of(cell, op), *part = row_of(cell, first);
    double part_us = part ? part->best.time_us_median : 0, last_us = row ? row->replaced.time_us_median : 0;
    sum_text sum = {0};
    if (mj_op_stands_for(first) != MJ_OP_COUNT) {
        sum = instead_of(cell, first);
    }
    if (part_us > 0 && (sum.us <= 0 || part_us < sum.us)) {
        sum.us = part_us;
        snprintf(sum.text, sizeof sum.text, "%s %.2f", mj_op_name(first), part_us);
    }
    if (sum.us > 0 && last_us > 0) {
        size_t used = strlen(sum.text);
        snprintf(sum.text + used, sizeof sum.text - used, " + %s %.2f", mj_op_name(row->replaced.op), last_us);
    }
    sum.us = last_us > 0 && sum.us > 0 ? sum.us + last_us : 0;
    return sum;
}

/* The comparisons that a plan makes. */
static void print_stand_ins(FILE *out, const gemm_cell *cell)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        const mj_tune_row *row = cell->rows[i];
        double us = row ? row->best.time_us_median : 0;
        if (us > 0 && mj_op_stands_for(row->op) != MJ_OP_COUNT) {
            sum_text sum = instead_of(cell, row->op);
            if (sum.us > 0) {
                fprintf(out, "       %s %.2f us, %s = %.2f us: %s\n", mj_op_name(row->op), us, sum.text, sum.us,
                        us < sum.us ? "the faster" : "not the faster");
            }
        }
    }
}

static void print_cell(FILE *out, const mj_tune_result *result, const gemm_cell *cell, bool bench)
{
    const mj_tune_row *any = NULL;
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        any = any ? any : cell->rows[i];
    }
    cell_sum sum = sum_cell(cell);
    fprintf(out, "%6u %-9s", any->token_count, any->routing);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (is_shown(result, columns[i])) {
            print_time(out, columns[i], cell->rows[i]);
        }
    }
    if (sum.us > 0 && sum.operations > 0) {
        print_rate(out, 9, sum.operations / sum.us * 1e-6);
        print_rate(out, 8, sum.bytes / sum.us * 1e-3);
    } else {
        fprintf(out, " %9s %8s", "-", "-");
    }
    if (sum.us > 0) {
        fprintf(out, " %8.1f%%", 100 * sum.floor_us / sum.us);
    } else {
        fprintf(out, " %9s", "-");
    }
    if (bench) {
        print_bench(out, &sum);
    }
    fprintf(out, "  %u / %u / %u", sum.tried, sum.refused, sum.failed);
    print_reasons(out, &sum);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (cell->rows[i]) {
            print_config(out, cell->rows[i]);
        }
    }
    print_stand_ins(out, cell);
}

void report_print(FILE *out, const report_subject *subject, const mj_tune_result *result)
{
    bool bench = strcmp(subject->command, "bench") == 0;
    print_head(out, subject, result);
    fprintf(out, "%6s %-9s", "batch", "routing");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (is_shown(result, columns[i])) {
            char name[32];
            snprintf(name, sizeof name, "%s us", mj_op_name(columns[i]));
            fprintf(out, " %*s", column_width(columns[i]), name);
        }
    }
    fprintf(out, " %9s %8s %9s%s  %s\n", "TFLOP/s", "GB/s", "roofline", bench ? "   padded     error against" : "",
            "tried / refused / failed");
    for (uint32_t i = 0; i < result->row_count;) {
        gemm_cell cell = next_cell(result, &i);
        print_cell(out, result, &cell, bench);
    }
    print_tail(out, result);
}

void report_print_predictions(FILE *out, const report_subject *subject, const mj_tune_result *result)
{
    print_head(out, subject, result);
    fprintf(out, "%6s %-9s %-9s %12s %10s %9s %11s %11s %8s  %s\n", "batch", "routing", "op", "predicted us",
            "floor us", "roofline", "GFLOP", "padded", "useful", "family and config");
    for (uint32_t i = 0; i < result->row_count; i++) {
        const mj_tune_row *row = &result->rows[i];
        char config[640] = "";
        mj_config_print(&row->best.config, config, sizeof config, NULL);
        fprintf(out, "%6u %-9s %-9s %12.2f %10.2f %8.1f%% %11.3f %11.3f %7.1f%%  %s %s\n", row->token_count,
                row->routing, mj_op_name(row->op), row->best.estimate_us, row->floor_us,
                row->best.estimate_us > 0 ? 100 * row->floor_us / row->best.estimate_us : 0, row->operations * 1e-9,
                row->padded_operations * 1e-9,
                row->padded_operations > 0 ? 100 * row->operations / row->padded_operations : 0, row->best.family,
                config);
    }
    print_tail(out, result);
}

void report_print_verify(FILE *out, const report_subject *subject, const mj_tune_result *result)
{
    print_head(out, subject, result);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < result->row_count; i++) {
        const mj_tune_row *row = &result->rows[i];
        bool good = row->best.reason == MJ_REASON_NONE && row->verified;
        char config[640] = "";
        mj_config_print(&row->best.config, config, sizeof config, NULL);
        fprintf(out, "%-5s M=%-5u %-9s %s %s %s%s%s%s%s\n", good ? "ok" : "WRONG", row->token_count, row->routing,
                mj_op_name(row->op), row->best.family, config, good ? "" : ": ",
                good ? "" : mj_reason_text(row->best.reason), !good && row->best.detail[0] ? ": " : "",
                good ? "" : row->best.detail);
        wrong += !good;
    }
    fprintf(out, "\n%u of %u outputs agree with the reference, %.1f s\n", result->row_count - wrong, result->row_count,
            result->seconds);
}

/* ---- JSON ---- */
static void add_against(mj_json *out, const mj_tune_row *row)
{
    const mj_candidate_result *against = &row->against;
    double us = row->best.time_us_median;
    mj_json *json = mj_json_add(out, "against", mj_json_object());
    mj_json_add_string(json, "family", against->family);
    mj_json_add(json, "config", mj_config_to_json(&against->config));
    mj_json_add_string(json, "result", mj_reason_text(against->reason));
    mj_json_add_string(json, "detail", against->detail);
    mj_json_add_number(json, "time_us_median", against->time_us_median);
    mj_json_add_number(json, "time_us_spread", against->time_us_spread);
    mj_json_add_number(json, "speedup", us > 0 ? against->time_us_median / us : 0);
}

mj_json *report_row_json(const mj_tune_row *row)
{
    mj_json *out = mj_json_object();
    double us = row->best.time_us_median;
    mj_json_add_int(out, "tokens", row->token_count);
    mj_json_add_string(out, "routing", row->routing);
    mj_json_add_string(out, "op", mj_op_name(row->op));
    mj_json_add_string(out, "family", row->best.family);
    mj_json_add(out, "config", mj_config_to_json(&row->best.config));
    mj_json_add_string(out, "result", row_result(row));
    mj_json_add_string(out, "detail", row->best.detail);
    mj_json_add_number(out, "time_us_median", us);
    mj_json_add_number(out, "time_us_spread", row->best.time_us_spread);
    mj_json_add_int(out, "samples", row->best.sample_count);
    mj_json_add_int(out, "launches", row->best.launches);
    mj_json_add_number(out, "estimate_us", row->best.estimate_us);
    mj_json_add_number(out, "default_us", row->default_us);
    mj_json_add_bool(out, "is_default", row->best.is_default);
    mj_json_add_number(out, "floor_us", row->floor_us);
    mj_json_add_number(out, "bytes", row->bytes);
    mj_json_add_number(out, "operations", row->operations);
    mj_json_add_number(out, "tflops", us > 0 ? row->operations / us * 1e-6 : 0);
    mj_json_add_number(out, "padded_operations", row->padded_operations);
    mj_json_add_number(out, "padded_tflops", us > 0 ? row->padded_operations / us * 1e-6 : 0);
    if (row->row_error >= 0) {
        mj_json_add_number(out, "row_error", row->row_error);
    }
    if (row->against.family[0]) {
        add_against(out, row);
    }
    if (row->replaced.time_us_median > 0) {
        char key[64];
        snprintf(key, sizeof key, "%s_us_median", mj_op_name(row->replaced.op));
        mj_json_add_number(out, key, row->replaced.time_us_median);
        snprintf(key, sizeof key, "%s_us_spread", mj_op_name(row->replaced.op));
        mj_json_add_number(out, key, row->replaced.time_us_spread);
    }
    mj_json_add_number(out, "gbps", us > 0 ? row->bytes / us * 1e-3 : 0);
    mj_json_add_number(out, "roofline", us > 0 ? row->floor_us / us : 0);
    mj_json_add_string(out, "origin", row->from_store ? report_origin(row->origin) : row_origin(row));
    if (row->tuned_at) {
        mj_json_add_int(out, "tuned_at", row->tuned_at);
        mj_json_add_string(out, "tuned_routing", row->tuned_routing);
    }
    mj_json_add_bool(out, "verified", row->verified);
    mj_json_add_bool(out, "from_store", row->from_store);
    mj_json_add_number(out, "kept_us", row->kept_us);
    mj_json_add_int(out, "tried", row->tried);
    mj_json_add_int(out, "refused", row->refused);
    mj_json_add_int(out, "failed", row->failed);
    mj_json_add_int(out, "dropped", row->dropped);
    mj_json *reasons = out ? mj_json_add(out, "failed_by_reason", mj_json_object()) : NULL;
    for (int r = 0; r < MJ_REASON_COUNT; r++) {
        if (row->failed_by_reason[r]) {
            mj_json_add_int(reasons, mj_reason_text((mj_reason)r), row->failed_by_reason[r]);
        }
    }
    return out;
}

static void add_device(mj_json *root, const mj_tune_result *result)
{
    mj_json *device = root ? mj_json_add(root, "device", mj_json_object()) : NULL;
    mj_json_add_string(device, "id", result->device_id);
    mj_json_add_string(device, "name", result->device_name);
    mj_json_add_string(device, "arch", result->arch);
    mj_json_add_string(device, "driver", result->driver);
    mj_json_add_string(device, "compiler", result->compiler);
    mj_json *ceilings = root ? mj_json_add(root, "ceilings", mj_json_object()) : NULL;
    mj_json_add_number(ceilings, "memory_gbps", result->memory_gbps);
    mj_json_add_number(ceilings, "matrix_tflops", result->matrix_tflops);
    mj_json_add_bool(ceilings, "matrix_measured", result->matrix_tflops > 0);
    mj_json_add_string(ceilings, "matrix_product", result->matrix_product);
    if (result->matrix_note[0]) {
        mj_json_add_string(ceilings, "matrix_note", result->matrix_note);
    }
}

mj_json *report_json(const report_subject *subject, const mj_tune_result *result)
{
    char problem[512] = "";
    mj_problem_print(subject->problem, problem, sizeof problem, NULL);
    mj_json *root = mj_json_object();
    mj_json_add_string(root, "moejit", MOEJIT_VERSION_STRING);
    mj_json_add_string(root, "command", subject->command);
    mj_json_add_string(root, "model", subject->label);
    mj_json_add_string(root, "problem", problem);
    mj_json_add_u64(root, "seed", subject->seed);
    if (subject->effort) {
        mj_json_add_string(root, "effort", subject->effort);
    }
    add_device(root, result);
    mj_json_add_string(root, "store", result->store_path);
    mj_json_add_bool(root, "saved", result->persisted);
    if (result->not_saved[0]) {
        mj_json_add_string(root, "not_saved", result->not_saved);
    }
    mj_json_add_bool(root, "interrupted", subject->interrupted);
    mj_json_add_bool(root, "budget_spent", result->budget_spent);
    mj_json_add_number(root, "seconds", result->seconds);
    mj_json_add_number(root, "compile_seconds_median", result->compile_seconds_median);
    mj_json_add_int(root, "worker_restarts", result->worker_restarts);
    mj_json_add_int(root, "resumed", result->resumed);
    mj_json *rows = root ? mj_json_add(root, "rows", mj_json_array()) : NULL;
    for (uint32_t i = 0; i < result->row_count && rows; i++) {
        mj_json_push(rows, report_row_json(&result->rows[i]));
    }
    return root;
}
