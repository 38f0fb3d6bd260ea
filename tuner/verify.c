/* verify.c: a candidate against the device reference. Host truth: verify_truth.c. */
#include "verify.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

#define SUSPECT_ROWS_MAX 64
#define SPIKE_RMS        12.0 /* beyond every value of near-normal data: the bound where rows are not read back one by one */
/* Behind an activation: sums reach 5.5 of their rms, silu's row has 0.6 and relu2's 1.2 of it; 5.5^3 / 1.2 = 139. */
#define SPIKE_RMS_ACTIVATED 150.0

uint32_t mj_tolerance_check(const mj_tolerance *tolerance, const double *got, const double *want, uint32_t count)
{
    double difference_sum = 0, want_sum = 0, worst = -1;
    uint32_t worst_column = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!isfinite(got[i]) || !isfinite(want[i])) {
            return i;
        }
        double difference = fabs(got[i] - want[i]);
        difference_sum += difference * difference;
        want_sum += want[i] * want[i];
        if (difference > worst) {
            worst = difference;
            worst_column = i;
        }
    }
    double rms = sqrt(want_sum / (count ? count : 1));
    if (sqrt(difference_sum) > tolerance->row_norm * sqrt(want_sum)) {
        return worst_column;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (fabs(got[i] - want[i]) > tolerance->element_rel * fabs(want[i]) + tolerance->element_rms * rms) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* The scheme's tolerance is one of sums. Behind an activation the error of a gate's sum is multiplied by the curve's slope and by
 * the other sum. Over a row that makes 1.4 (silu, gelu) to 1.5 (relu2) of it, while the rounding stays what it was: there is room for
 * that in every scheme's row_norm (fp8: 1.5 * 0.004 + 0.0017). Of one element whose result is small, where the slope is 0.5, it may be
 * 0.5 * 3.5 / 0.6: the other sum over the activated row's rms. */
mj_tolerance mj_lab_tolerance(const mj_lab *lab)
{
    mj_tolerance tolerance = lab->scheme->tolerance;
    if (mj_op_activates(lab->op)) {
        tolerance.element_rms *= 3;
    }
    return tolerance;
}

/* ---- One run ---- */
static mj_status launch(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, int output_index,
                        mj_error *error)
{
    mj_status status = mj_lab_workspace(lab, &kernel->manifest, prepared->token_count, error);
    if (status == MJ_OK) {
        status = mj_case_reset_output(lab, prepared, output_index, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_arg_value values[MJ_ARG_COUNT];
    mj_case_arguments(lab, prepared, 0, prepared->output[output_index].data, values);
    status = mj_kernel_launch(lab->device, kernel, values, prepared->token_count, lab->stream, error);
    return status == MJ_OK ? mj_lab_sync(lab, error) : status;
}

static mj_status check_guards(mj_lab *lab, const mj_case *prepared, int output_index, mj_finding *out, mj_error *error)
{
    struct {
        const char *name;
        const mj_guarded *buffer;
    } buffers[] = {
        {"output", &prepared->output[output_index]},
        {"output_scales", &prepared->scales[output_index]},
        {"partials", &lab->partials},
        {"counters", &lab->counters},
    };
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        bool intact = true;
        int64_t offset = 0;
        mj_status status = mj_guarded_check(lab, buffers[i].buffer, &intact, &offset, error);
        if (status != MJ_OK) {
            return status;
        }
        if (!intact) {
            out->reason = MJ_REASON_GUARD;
            snprintf(out->detail, sizeof(out->detail), "byte %" PRId64 " of %s changed, its size is %" PRIu64, offset,
                     buffers[i].name, buffers[i].buffer->bytes);
            return MJ_OK;
        }
    }
    return MJ_OK;
}

static mj_status check_counters(mj_lab *lab, mj_finding *out, mj_error *error)
{
    uint64_t bytes = lab->counters.bytes;
    if (bytes == 0) {
        return MJ_OK;
    }
    unsigned char *counters = malloc(bytes);
    if (!counters) {
        return mj_fail(error, MJ_ERR_MEMORY, "counters of %" PRIu64 " bytes", bytes);
    }
    mj_status status = mj_lab_download(lab, counters, lab->counters.data, bytes, error);
    for (uint64_t i = 0; status == MJ_OK && i < bytes; i++) {
        if (counters[i] != 0) {
            out->reason = MJ_REASON_WRONG;
            snprintf(out->detail, sizeof(out->detail), "counter %" PRIu64 " is not zero afterwards", i / 4);
            break;
        }
    }
    free(counters);
    return status;
}

/* Rows of other ranks' pairs, which gemm2 must leave alone. Only small outputs are looked at whole. */
static mj_status check_untouched(mj_lab *lab, const mj_case *prepared, const mj_guarded *output, mj_finding *out,
                                 mj_error *error)
{
    const mj_case_set *set = &prepared->sets[0];
    uint64_t row_bytes = (uint64_t)lab->shape.out_n * lab->io_bytes;
    if (lab->op != MJ_OP_GEMM2 || set->rows == prepared->output_rows || output->bytes > (64u << 20)) {
        return MJ_OK;
    }
    unsigned char *row = malloc(row_bytes);
    mj_status status = row ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "a row");
    for (uint64_t pair = 0; status == MJ_OK && pair < prepared->output_rows; pair++) {
        if (set->ids[pair] >= 0 && set->ids[pair] < (int32_t)lab->problem.expert_count) {
            continue;
        }
        status = mj_lab_download(lab, row, output->data + pair * row_bytes, row_bytes, error);
        for (uint64_t i = 0; status == MJ_OK && i < row_bytes; i++) {
            if (row[i] != 0xff) {
                out->reason = MJ_REASON_GUARD;
                snprintf(out->detail, sizeof(out->detail), "row %" PRIu64 " belongs to another rank and was written",
                         pair);
                goto done;
            }
        }
    }
done:
    free(row);
    return status;
}

/* ---- Comparison ---- */
enum { COMPARE_CODES = 2 }; /* a bit of its mode */

/* `scales`: null where `got` is values. */
static mj_status compare_rows(mj_lab *lab, const mj_case *prepared, const void *got, const void *scales,
                              const void *want, float *result, mj_error *error)
{
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)got;
    values[MJ_ARG_OUTPUT_SCALES].pointer = (uint64_t)(uintptr_t)scales;
    values[MJ_ARG_ELEMENT_COUNT].i64 = lab->scales_per_row ? lab->scheme->input_group_k : 0;
    values[MJ_ARG_REFERENCE].pointer = (uint64_t)(uintptr_t)want;
    values[MJ_ARG_RESULT].pointer = (uint64_t)(uintptr_t)prepared->result;
    values[MJ_ARG_ROW_COUNT].i32 = (int32_t)prepared->output_rows;
    values[MJ_ARG_COLUMN_COUNT].i32 = (int32_t)lab->shape.out_n;
    values[MJ_ARG_MODE].i32 = (int32_t)lab->io_mode + (scales ? COMPARE_CODES : 0);
    uint64_t bytes = prepared->output_rows * 4 * sizeof(float);
    mj_status status = mj_lab_set(lab, prepared->result, 0xff, bytes, error);
    if (status == MJ_OK) {
        status = mj_kernel_launch(lab->device, &lab->compare, values, 1, lab->stream, error);
    }
    return status == MJ_OK ? mj_lab_download(lab, result, prepared->result, bytes, error) : status;
}

static bool row_counts(const mj_lab *lab, const mj_case *prepared, uint64_t row)
{
    int32_t id = lab->op == MJ_OP_GEMM2 ? prepared->sets[0].ids[row] : 0;
    return id >= 0 && id < (int32_t)lab->problem.expert_count;
}

/* Codes of a row as the values that `want` is to be compared with. */
static mj_status read_codes(mj_lab *lab, const mj_case *prepared, int output_index, uint64_t row, const double *want,
                            double *out, mj_error *error)
{
    uint32_t n = lab->shape.out_n, per_row = lab->scales_per_row;
    uint64_t scales_bytes = (per_row ? per_row : 1) * sizeof(float);
    uint8_t *codes = malloc(n);
    float *scales = malloc(scales_bytes);
    mj_status status = codes && scales ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "a row of codes");
    if (status == MJ_OK) {
        status = mj_lab_download(lab, codes, prepared->output[output_index].data + row * n, n, error);
    }
    if (status == MJ_OK) {
        const char *from = prepared->scales[output_index].data;
        status = mj_lab_download(lab, scales, from + (per_row ? row * scales_bytes : 0), scales_bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_ref_values_of_codes(lab->scheme, n, codes, scales, want, out, error);
    }
    free(codes);
    free(scales);
    return status;
}

static mj_status read_row(mj_lab *lab, const void *data, uint64_t row, void *scratch, double *out, mj_error *error)
{
    uint64_t row_bytes = (uint64_t)lab->shape.out_n * lab->io_bytes;
    mj_status status = mj_lab_download(lab, scratch, (const char *)data + row * row_bytes, row_bytes, error);
    for (uint32_t i = 0; status == MJ_OK && i < lab->shape.out_n; i++) {
        out[i] = mj_ref_load(lab->scheme->io_format, scratch, i);
    }
    return status;
}

/* Reads a row back and applies the tolerance. `force`: the device's sums already condemned it. */
static mj_status judge_row(mj_lab *lab, const mj_case *prepared, int output_index, uint64_t row, bool force,
                           mj_finding *out, mj_error *error)
{
    uint32_t n = lab->shape.out_n;
    double *rows = malloc(3 * (size_t)n * sizeof(double));
    if (!rows) {
        return mj_fail(error, MJ_ERR_MEMORY, "two rows of %u", n);
    }
    mj_status status = read_row(lab, prepared->reference, row, rows + 2 * (size_t)n, rows + n, error);
    if (status == MJ_OK) {
        status = mj_op_writes_codes(lab->op)
                     ? read_codes(lab, prepared, output_index, row, rows + n, rows, error)
                     : read_row(lab, prepared->output[output_index].data, row, rows + 2 * (size_t)n, rows, error);
    }
    if (status == MJ_OK) {
        mj_tolerance tolerance = mj_lab_tolerance(lab);
        uint32_t column = mj_tolerance_check(&tolerance, rows, rows + n, n);
        if (column != UINT32_MAX || force) {
            uint32_t at = column == UINT32_MAX ? 0 : column;
            out->reason = MJ_REASON_WRONG;
            snprintf(out->detail, sizeof(out->detail), "row %" PRIu64 " column %u: got %.6g, want %.6g", row, at,
                     rows[at], rows[n + at]);
        }
    }
    free(rows);
    return status;
}

static mj_status judge(mj_lab *lab, const mj_case *prepared, int output_index, const float *result, mj_finding *out,
                       mj_error *error)
{
    const mj_tolerance tolerance = mj_lab_tolerance(lab);
    double spike_rms = mj_op_activates(lab->op) ? SPIKE_RMS_ACTIVATED : SPIKE_RMS;
    uint32_t suspects = 0;
    mj_status status = MJ_OK;
    for (uint64_t row = 0; row < prepared->output_rows && status == MJ_OK && out->reason == MJ_REASON_NONE; row++) {
        const float *sums = result + 4 * row;
        double rms = sqrt((double)sums[1] / lab->shape.out_n);
        double worst = sums[2];
        if (!row_counts(lab, prepared, row)) {
            continue;
        }
        bool norm_bad = !(sqrt((double)sums[0]) <= tolerance.row_norm * sqrt((double)sums[1]));
        double row_error = sums[1] > 0 ? sqrt((double)sums[0] / sums[1]) : 0;
        out->row_error = isfinite(row_error) && row_error > out->row_error ? row_error : out->row_error;
        bool spike = !(worst <= (tolerance.element_rms + tolerance.element_rel * spike_rms) * rms);
        if (norm_bad || spike) {
            status = judge_row(lab, prepared, output_index, row, true, out, error);
        } else if (worst > tolerance.element_rms * rms && suspects < SUSPECT_ROWS_MAX) {
            suspects++;
            status = judge_row(lab, prepared, output_index, row, false, out, error);
        }
    }
    return status;
}

/* Piece by piece, on the host. */
static mj_status check_same_bytes(mj_lab *lab, const mj_guarded buffers[2], const char *what, mj_finding *out,
                                  mj_error *error)
{
    enum { PIECE_BYTES = 1 << 20 };
    char *pieces = malloc(2 * PIECE_BYTES);
    mj_status status = pieces ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "pieces of two outputs");
    for (uint64_t at = 0; status == MJ_OK && at < buffers[0].bytes && out->reason == MJ_REASON_NONE;
         at += PIECE_BYTES) {
        uint64_t bytes = buffers[0].bytes - at < PIECE_BYTES ? buffers[0].bytes - at : PIECE_BYTES;
        status = mj_lab_download(lab, pieces, buffers[0].data + at, bytes, error);
        if (status == MJ_OK) {
            status = mj_lab_download(lab, pieces + PIECE_BYTES, buffers[1].data + at, bytes, error);
        }
        for (uint64_t i = 0; status == MJ_OK && i < bytes; i++) {
            if (pieces[i] != pieces[PIECE_BYTES + i]) {
                out->reason = MJ_REASON_FLAKY;
                snprintf(out->detail, sizeof(out->detail), "%s %" PRIu64 " differs in a second run", what, at + i);
                break;
            }
        }
    }
    free(pieces);
    return status;
}

/* Two runs of one kernel on the same data: equal, or the kernel races with itself. */
static mj_status check_equal(mj_lab *lab, const mj_case *prepared, float *result, mj_finding *out, mj_error *error)
{
    if (mj_op_writes_codes(lab->op)) {
        mj_status same = check_same_bytes(lab, prepared->output, "byte", out, error);
        return same == MJ_OK ? check_same_bytes(lab, prepared->scales, "byte of the scales", out, error) : same;
    }
    mj_status status =
        compare_rows(lab, prepared, prepared->output[1].data, NULL, prepared->output[0].data, result, error);
    for (uint64_t row = 0; status == MJ_OK && row < prepared->output_rows; row++) {
        if (row_counts(lab, prepared, row) && result[4 * row + 2] != 0) {
            out->reason = MJ_REASON_FLAKY;
            snprintf(out->detail, sizeof(out->detail), "row %" PRIu64 " column %.0f differs by %.3g in a second run",
                     row, (double)result[4 * row + 3], (double)result[4 * row + 2]);
            return MJ_OK;
        }
    }
    return status;
}

static mj_status run_and_judge(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, int output_index,
                               float *result, mj_finding *out, mj_error *error)
{
    const mj_guarded *output = &prepared->output[output_index];
    mj_status status = launch(lab, prepared, kernel, output_index, error);
    if (status == MJ_OK) {
        status = check_guards(lab, prepared, output_index, out, error);
    }
    if (status == MJ_OK && out->reason == MJ_REASON_NONE) {
        status = check_counters(lab, out, error);
    }
    if (status == MJ_OK && out->reason == MJ_REASON_NONE) {
        status = check_untouched(lab, prepared, output, out, error);
    }
    if (status == MJ_OK && out->reason == MJ_REASON_NONE) {
        status = compare_rows(lab, prepared, output->data, prepared->scales[output_index].data, prepared->reference,
                              result, error);
    }
    if (status == MJ_OK && out->reason == MJ_REASON_NONE) {
        status = judge(lab, prepared, output_index, result, out, error);
    }
    return status;
}

mj_status mj_verify_kernel(mj_lab *lab, mj_case *prepared, const mj_loaded_kernel *kernel, mj_finding *out,
                           mj_error *error)
{
    *out = (mj_finding){0};
    float *result = malloc((prepared->output_rows + 1) * 4 * sizeof(float));
    if (!result) {
        return mj_fail(error, MJ_ERR_MEMORY, "row results");
    }
    mj_status status = run_and_judge(lab, prepared, kernel, 0, result, out, error);
    if (status == MJ_OK && out->reason == MJ_REASON_NONE) {
        status = run_and_judge(lab, prepared, kernel, 1, result, out, error);
        if (out->reason == MJ_REASON_WRONG) {
            out->reason = MJ_REASON_FLAKY; /* it was right a moment ago */
        }
    }
    if (status == MJ_OK && out->reason == MJ_REASON_NONE) {
        status = check_equal(lab, prepared, result, out, error);
    }
    if (status == MJ_OK && out->reason != MJ_REASON_NONE) {
        char where[256];
        memcpy(where, out->detail, sizeof(where));
        snprintf(out->detail, sizeof(out->detail), "%u tokens, %.31s: %.190s", prepared->token_count, prepared->routing,
                 where);
    }
    free(result);
    return status;
}
