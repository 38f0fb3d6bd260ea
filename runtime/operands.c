/* operands.c: see operands.h. */
#include "operands.h"

#include <math.h>
#include <string.h>

#include "checked.h"
#include "reference.h"

enum {
    BLOCK_ALIGN = 256,
    CODE_SPREAD = 100,
    CODE_SPREAD_FNUZ = 60 /* standard deviations; the largest are 3.47 of them */
};

static uint64_t groups(uint64_t axis, uint64_t group)
{
    return group ? (axis + group - 1) / group : 1;
}

/* ---- Sizes and random data ---- */

static double decode_spread(const mj_scheme *scheme)
{
    double sum = 0, squares = 0, count = scheme->decode_count;
    for (uint32_t i = 0; i < scheme->decode_count; i++) {
        sum += scheme->decode[i];
        squares += scheme->decode[i] * scheme->decode[i];
    }
    double mean = sum / count, variance = squares / count - mean * mean;
    if (scheme->zero.format[0]) { /* random zero points of the same width: twice the variance around 0 */
        return sqrt(2 * variance);
    }
    return sqrt(squares / count);
}

/* Standard deviation of the codes' values as they are filled. */
static double code_spread(const mj_scheme *scheme, const char *format)
{
    if (strcmp(format, "e4m3") == 0) {
        return CODE_SPREAD;
    }
    if (strcmp(format, "e4m3fnuz") == 0) {
        return CODE_SPREAD_FNUZ;
    }
    if (strcmp(format, "int8") == 0 || strcmp(format, "uint8") == 0) {
        return format[0] == 'i' ? 74 : 148;
    }
    return scheme->decode_count ? decode_spread(scheme) : 1;
}

static bool describe_weights(const mj_scheme *s, const mj_problem *p, mj_gemm_shape shape, mj_operand *out)
{
    const mj_packing *pack = &s->packing;
    bool along_n = pack->axis[0] == 'n';
    uint64_t run = groups(along_n ? shape.n : shape.k, pack->per_word), rows = along_n ? shape.k : shape.n, words = 0;
    bool bits = s->decode_count > 0 || strcmp(s->weight_format, "int8") == 0 || strcmp(s->weight_format, "uint8") == 0;
    if (!mj_mul3_u64(run, rows, p->expert_count, &words) || !mj_mul3_u64(words, pack->word_bits / 8, 1, &out->bytes)) {
        return false;
    }
    out->kind = bits ? MJ_FILL_BITS : MJ_FILL_NORMAL;
    out->format = bits ? "uint8" : s->weight_format;
    out->count = out->bytes / (mj_ref_format_bytes(out->format) ? mj_ref_format_bytes(out->format) : 1);
    double spread = code_spread(s, s->weight_format);
    out->scale = (float)(s->scale.format[0] ? spread : spread / sqrt((double)shape.k));
    return true;
}

static bool describe_scales(const mj_scheme *s, const mj_problem *p, mj_gemm_shape shape, mj_operand *out)
{
    if (!s->scale.format[0]) {
        return true;
    }
    out->format = s->scale.format;
    out->kind = MJ_FILL_POSITIVE;
    out->scale = (float)(1 / (code_spread(s, s->weight_format) * sqrt((double)shape.k)));
    return mj_mul3_u64(groups(shape.n, s->scale.group_n), groups(shape.k, s->scale.group_k), p->expert_count,
                       &out->count) &&
           mj_mul3_u64(out->count, mj_ref_format_bytes(out->format), 1, &out->bytes);
}

static bool describe_zeros(const mj_scheme *s, const mj_problem *p, mj_gemm_shape shape, mj_operand *out)
{
    const mj_packing *pack = &s->zero.packing;
    if (!s->zero.format[0]) {
        return true;
    }
    uint64_t rows = groups(shape.n, s->zero.group_n), depth = groups(shape.k, s->zero.group_k);
    uint64_t bytes = mj_ref_format_bytes(s->zero.format);
    bool bits = pack->word_bits > 0 || strcmp(s->zero.format, "uint8") == 0 || strcmp(s->zero.format, "int8") == 0;
    if (pack->word_bits) {
        rows = pack->axis[0] == 'n' ? groups(rows, pack->per_word) : rows;
        depth = pack->axis[0] == 'n' ? depth : groups(depth, pack->per_word);
        bytes = pack->word_bits / 8;
    }
    out->kind = bits ? MJ_FILL_BITS : MJ_FILL_NORMAL;
    out->format = bits ? "uint8" : s->zero.format;
    out->scale = 1;
    if (!mj_mul3_u64(rows, depth, p->expert_count, &out->count) || !mj_mul3_u64(out->count, bytes, 1, &out->bytes)) {
        return false;
    }
    out->count = bits ? out->bytes : out->count;
    return true;
}

static bool describe_input(const mj_scheme *s, uint32_t k, uint64_t rows, mj_operands *out)
{
    bool coded = strcmp(s->input_format, s->io_format) != 0;
    bool one = strcmp(s->input_scale_kind, "tensor") == 0;
    out->input =
        (mj_operand){.format = s->input_format, .scale = coded ? (float)code_spread(s, s->input_format) : 1.0f};
    if (coded) {
        out->input_scales =
            (mj_operand){.format = s->input_scale_format, .kind = MJ_FILL_POSITIVE, .scale = 1 / out->input.scale};
    }
    return mj_mul3_u64(rows, k, 1, &out->input.count) &&
           mj_mul3_u64(out->input.count, mj_ref_format_bytes(out->input.format), 1, &out->input.bytes) &&
           (!coded ||
            (mj_mul3_u64(one ? 1 : rows, one ? 1 : mj_ref_scales_per_row(s, k), 1, &out->input_scales.count) &&
             mj_mul3_u64(out->input_scales.count, mj_ref_format_bytes(s->input_scale_format), 1,
                         &out->input_scales.bytes)));
}

static mj_status check_formats(const mj_scheme *scheme, const mj_operands *operands, mj_error *error)
{
    const mj_operand *all[] = {&operands->weights, &operands->weight_scales, &operands->weight_zeros, &operands->input,
                               &operands->input_scales};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]->format && (mj_ref_format_bytes(all[i]->format) == 0 || mj_operand_fill_mode(all[i]) < 0)) {
            return mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s: no random data in format %s", scheme->name,
                           all[i]->format);
        }
    }
    if (scheme->global_scale.format[0] || scheme->input_global_scale_format[0] || scheme->packing.per_word == 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s cannot be tuned in this version", scheme->name);
    }
    return MJ_OK;
}

mj_status mj_operands_describe(const mj_scheme *scheme, const mj_problem *problem, mj_op op, uint64_t input_rows,
                               mj_operands *out, mj_error *error)
{
    mj_gemm_shape shape = mj_problem_gemm(problem, op);
    memset(out, 0, sizeof *out);
    bool fits = scheme->packing.per_word == 0 || describe_weights(scheme, problem, shape, &out->weights);
    fits = fits && describe_scales(scheme, problem, shape, &out->weight_scales) &&
           describe_zeros(scheme, problem, shape, &out->weight_zeros) &&
           describe_input(scheme, shape.k, input_rows, out);
    mj_status status = check_formats(scheme, out, error);
    if (status != MJ_OK) {
        return status;
    }
    uint64_t end = out->weights.bytes;
    const struct {
        const mj_operand *operand;
        uint64_t *offset;
    } behind[] = {{&out->weight_scales, &out->scales_offset}, {&out->weight_zeros, &out->zeros_offset}};
    for (int i = 0; i < 2 && fits; i++) {
        if (behind[i].operand->bytes) {
            fits = mj_add_u64(end, BLOCK_ALIGN - 1, &end);
            *behind[i].offset = end / BLOCK_ALIGN * BLOCK_ALIGN;
            fits = fits && mj_add_u64(*behind[i].offset, behind[i].operand->bytes, &end);
        }
    }
    out->block_bytes = end;
    return fits ? MJ_OK : mj_fail(error, MJ_ERR_CAPACITY, "%s: more memory than 64 bits count", mj_op_name(op));
}

int32_t mj_operand_fill_mode(const mj_operand *operand)
{
    static const char *const names[] = {"bf16", "f16", "f32", "e4m3", "e4m3fnuz"}; /* ORDER FILL */
    enum { MODE_BYTES = 5, MODE_POSITIVE = 8 };
    if (operand->kind == MJ_FILL_BITS) {
        return MODE_BYTES;
    }
    for (int32_t i = 0; i < 5; i++) {
        if (strcmp(names[i], operand->format) == 0) {
            return i + (operand->kind == MJ_FILL_POSITIVE ? MODE_POSITIVE : 0);
        }
    }
    return -1;
}

void mj_operand_store(const mj_operand *operand, void *data, uint64_t at, uint64_t seed, uint64_t index)
{
    if (operand->kind == MJ_FILL_BITS) {
        ((uint8_t *)data)[at] = (uint8_t)mj_ref_random(seed, index);
    } else if (operand->kind == MJ_FILL_POSITIVE) {
        mj_ref_store(operand->format, data, at, mj_ref_fill_positive(seed, index, operand->scale));
    } else {
        mj_ref_store(operand->format, data, at, mj_ref_fill(seed, index, operand->scale));
    }
}
