/* operand_values.c: codes, zero points and scales -> float64, and rows -> codes; see operands.h. Plain and slow: the layout is
 * followed element by element, as generator/gen.h words it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "operands.h"
#include "reference.h"

static uint64_t groups(uint64_t axis, uint64_t group)
{
    return group ? (axis + group - 1) / group : 1;
}

static uint64_t group_of(uint64_t index, uint64_t group)
{
    return group ? index / group : 0;
}

/* Code of element `element` of a run of packed codes in the word at `word_index`. */
static uint32_t packed_code(const mj_packing *packing, const void *data, uint64_t word_index, uint64_t element)
{
    uint32_t bytes = packing->word_bits / 8, bits = packing->word_bits / packing->per_word, slot = 0;
    const unsigned char *at = (const unsigned char *)data + word_index * bytes;
    uint64_t word = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    while (packing->order[slot] != element % packing->per_word) {
        slot++;
    }
    return (uint32_t)(word >> (slot * bits)) & (uint32_t)((UINT64_C(1) << bits) - 1);
}

/* Index of (row, deep) of [expert][rows][depth], or of [expert][depth][rows] for order "kn". */
static uint64_t element_at(const mj_scale_spec *spec, uint64_t expert, uint64_t row, uint64_t rows, uint64_t deep,
                           uint64_t depth)
{
    return strcmp(spec->order, "kn") == 0 ? (expert * depth + deep) * rows + row : (expert * rows + row) * depth + deep;
}

uint64_t mj_ref_scale_index(const mj_scheme *s, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint64_t k)
{
    const mj_scale_spec *spec = &s->scale;
    return element_at(spec, expert, group_of(column, spec->group_n), groups(shape.n, spec->group_n),
                      group_of(k, spec->group_k), groups(shape.k, spec->group_k));
}

double mj_ref_scale(const mj_scheme *s, mj_gemm_shape shape, const void *scales, uint64_t expert, uint64_t column,
                    uint64_t k)
{
    return mj_ref_load(s->scale.format, scales, mj_ref_scale_index(s, shape, expert, column, k));
}

uint64_t mj_ref_zero_index(const mj_scheme *s, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint64_t k,
                           uint64_t *element)
{
    const mj_scale_spec *spec = &s->zero;
    const mj_packing *pack = &spec->packing;
    uint64_t row = group_of(column, spec->group_n), rows = groups(shape.n, spec->group_n);
    uint64_t deep = group_of(k, spec->group_k), depth = groups(shape.k, spec->group_k);
    *element = 0;
    if (pack->word_bits == 0) {
        return element_at(spec, expert, row, rows, deep, depth);
    }
    bool along_n = pack->axis[0] == 'n';
    uint64_t per_word = pack->per_word, run = along_n ? row : deep;
    *element = run % per_word;
    return along_n ? element_at(spec, expert, row / per_word, groups(rows, per_word), deep, depth)
                   : element_at(spec, expert, row, rows, deep / per_word, groups(depth, per_word));
}

double mj_ref_zero_code(const mj_scheme *s, const void *zeros, uint64_t index, uint64_t element)
{
    const mj_scale_spec *spec = &s->zero;
    const mj_packing *pack = &spec->packing;
    if (pack->word_bits == 0) {
        return mj_ref_load(spec->format, zeros, index);
    }
    uint32_t bits = pack->word_bits / pack->per_word, code = packed_code(pack, zeros, index, element);
    bool negative = spec->format[0] == 'i' && (code >> (bits - 1)) != 0;
    return (double)code - (negative ? ldexp(1, (int)bits) : 0);
}

double mj_ref_zero(const mj_scheme *s, mj_gemm_shape shape, const void *zeros, uint64_t expert, uint64_t column,
                   uint64_t k)
{
    uint64_t element = 0, index = mj_ref_zero_index(s, shape, expert, column, k, &element);
    return mj_ref_zero_code(s, zeros, index, element);
}

uint64_t mj_ref_weight_index(const mj_scheme *s, mj_gemm_shape shape, uint64_t expert, uint64_t column, uint64_t k)
{
    uint64_t per_word = s->packing.per_word;
    return s->packing.axis[0] == 'n'
               ? (expert * shape.k + k) * groups(shape.n, per_word) + column / per_word
               : (expert * shape.n + mj_weight_row(shape, (uint32_t)column)) * groups(shape.k, per_word) + k / per_word;
}

double mj_ref_weight_code(const mj_scheme *s, const void *weights, uint64_t index, uint64_t element)
{
    uint32_t code = packed_code(&s->packing, weights, index, element);
    if (s->decode_count) {
        return s->decode[code];
    }
    unsigned char bytes[4] = {(unsigned char)code, (unsigned char)(code >> 8)}; /* as long as the longest format */
    return mj_ref_load(s->weight_format, bytes, 0);
}

/* A byte is a code, neighbours in k lie side by side: decoded through a table, which a sample of millions is worth. */
static bool is_bytes(const mj_scheme *s)
{
    return s->packing.word_bits == 8 && s->packing.per_word == 1 && s->packing.axis[0] != 'n' && s->weight_bits == 8;
}

mj_status mj_ref_weight_row(const mj_scheme *s, mj_gemm_shape shape, const mj_ref_arrays *arrays, uint64_t expert,
                            uint32_t column, double *out, mj_error *error)
{
    bool known = s->decode_count || mj_ref_format_bytes(s->weight_format);
    if (!known || s->global_scale.format[0] || (s->scale.format[0] && !mj_ref_format_bytes(s->scale.format)) ||
        s->packing.per_word == 0 || s->weight_bits > 16) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the host reference does not know scheme %s", s->name);
    }
    if ((s->scale.format[0] && !arrays->weight_scales) || (s->zero.format[0] && !arrays->weight_zeros)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "scheme %s: scales or zero points are missing", s->name);
    }
    bool scaled = s->scale.format[0] != '\0', zeroed = s->zero.format[0] != '\0';
    uint64_t run = scaled && s->scale.group_k ? s->scale.group_k : shape.k; /* that has one scale */
    double zero = 0;
    bool along_n = s->packing.axis[0] == 'n', bytes = is_bytes(s);
    const unsigned char *codes =
        bytes ? (const unsigned char *)arrays->weights + mj_ref_weight_index(s, shape, expert, column, 0) : NULL;
    double value_of[256];
    for (uint32_t code = 0; code < 256 && bytes; code++) {
        value_of[code] = mj_ref_weight_code(s, &(unsigned char){(unsigned char)code}, 0, 0);
    }
    for (uint64_t first = 0; first < shape.k; first += run) {
        uint64_t end = first + run < shape.k ? first + run : shape.k;
        double scale = scaled ? mj_ref_scale(s, shape, arrays->weight_scales, expert, column, first) : 1;
        for (uint64_t k = first; k < end; k++) {
            double value =
                bytes ? value_of[codes[k]]
                      : mj_ref_weight_code(s, arrays->weights, mj_ref_weight_index(s, shape, expert, column, k),
                                           along_n ? column : k);
            if (zeroed) {
                zero = mj_ref_zero(s, shape, arrays->weight_zeros, expert, column, k) + s->zero_bias;
            }
            out[k] = (value - zero) * scale;
        }
    }
    return MJ_OK;
}

uint32_t mj_ref_scales_per_row(const mj_scheme *s, uint32_t k)
{
    if (strcmp(s->input_scale_kind, "token") == 0) {
        return 1;
    }
    return strcmp(s->input_scale_kind, "group") == 0 ? (uint32_t)groups(k, s->input_group_k) : 0;
}

mj_status mj_ref_input_row(const mj_scheme *s, uint32_t k, const mj_ref_arrays *arrays, uint64_t row, double *out,
                           mj_error *error)
{
    const char *format = s->input_format[0] ? s->input_format : s->io_format;
    bool scaled = s->input_scale_kind[0] && strcmp(s->input_scale_kind, "none") != 0;
    if (!mj_ref_format_bytes(format) || s->input_global_scale_format[0] ||
        (scaled && !mj_ref_format_bytes(s->input_scale_format))) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the host reference does not know scheme %s", s->name);
    }
    if (scaled && !arrays->input_scales) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "scheme %s: the input's scales are missing", s->name);
    }
    uint32_t per_row = mj_ref_scales_per_row(s, k);
    for (uint32_t i = 0; i < k; i++) {
        uint64_t at = per_row == 0 ? 0 : row * per_row + (per_row > 1 ? i / s->input_group_k : 0);
        double scale = scaled ? mj_ref_load(s->input_scale_format, arrays->input_scales, at) : 1;
        out[i] = mj_ref_load(format, arrays->input, row * k + i) * scale;
    }
    return MJ_OK;
}

/* One run of values under one scale. */
static void quantise_run(const mj_scheme *s, const void *input, uint64_t first, uint32_t count, uint32_t from,
                         void *codes, bool dynamic, float *scale)
{
    double largest_code = strcmp(s->input_format, "e4m3fnuz") == 0 ? 240 : 448;
    if (dynamic) {
        double largest = 0;
        for (uint32_t i = 0; i < count; i++) {
            double value = fabs(mj_ref_load(s->io_format, input, first + i));
            largest = value > largest ? value : largest;
        }
        *scale = largest > 0 ? (float)(largest / largest_code) : 1.0f;
    }
    for (uint32_t i = 0; i < count; i++) { /* one float division, as the kernel has it */
        float value = (float)mj_ref_load(s->io_format, input, first + i);
        mj_ref_store(s->input_format, codes, from + i, (double)(value / *scale));
    }
}

mj_status mj_ref_quantise_row(const mj_scheme *s, uint32_t k, const void *input, uint64_t row, void *codes,
                              float *scales, mj_error *error)
{
    uint32_t per_row = mj_ref_scales_per_row(s, k);
    uint32_t run = per_row > 1 ? s->input_group_k : k;
    if (strcmp(s->input_format, "e4m3") != 0 && strcmp(s->input_format, "e4m3fnuz") != 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the host reference does not quantise to %s", s->input_format);
    }
    for (uint32_t first = 0, group = 0; first < k; first += run, group++) {
        uint32_t count = k - first < run ? k - first : run;
        quantise_run(s, input, row * k + first, count, first, codes, per_row > 0, &scales[group]);
    }
    return MJ_OK;
}

/* ---- Codes that were written ---- */

/* The values of which `code` is the code, `low` to `high`, without the scale. A static scale saturates: the largest code has no end. */
static bool values_of_code(const char *format, uint8_t code, bool saturates, double *low, double *high)
{
    uint8_t magnitude = code & 0x7f, largest = strcmp(format, "e4m3fnuz") == 0 ? 0x7f : 0x7e;
    uint8_t below = (uint8_t)(magnitude - 1), above = (uint8_t)(magnitude + 1);
    double value = mj_ref_load(format, &magnitude, 0);
    if (isnan(mj_ref_load(format, &code, 0))) {
        return false;
    }
    *high = magnitude < largest ? (value + mj_ref_load(format, &above, 0)) / 2 : saturates ? INFINITY : value;
    *low = magnitude > 0 ? (value + mj_ref_load(format, &below, 0)) / 2 : -*high;
    if (code & 0x80) {
        double keep = *low;
        *low = -*high;
        *high = -keep;
    }
    return true;
}

/* One run under one scale. */
static void values_of_run(const mj_scheme *s, uint32_t count, const uint8_t *codes, double scale, bool dynamic,
                          const double *want, double *out)
{
    double largest_code = strcmp(s->input_format, "e4m3fnuz") == 0 ? 240 : 448;
    uint32_t largest = 0, nonzero = 0;
    for (uint32_t i = 0; i < count; i++) {
        double low = 0, high = 0;
        bool known = scale > 0 && values_of_code(s->input_format, codes[i], !dynamic, &low, &high);
        out[i] = known ? fmin(fmax(want[i], low * scale), high * scale) : NAN;
        nonzero += (codes[i] & 0x7f) != 0;
        largest = fabs(want[i]) > fabs(want[largest]) ? i : largest;
    }
    if (dynamic && count > 0) {
        double said = nonzero ? largest_code * scale : 0;
        said = want[largest] < 0 ? -said : said;
        if (!nonzero && scale != 1) { /* the scale of zeros */
            out[largest] = NAN;
        } else if (fabs(said - want[largest]) > fabs(out[largest] - want[largest])) {
            out[largest] = said;
        }
    }
}

mj_status mj_ref_values_of_codes(const mj_scheme *s, uint32_t count, const uint8_t *codes, const float *scales,
                                 const double *want, double *out, mj_error *error)
{
    uint32_t per_row = mj_ref_scales_per_row(s, count), run = per_row > 1 ? s->input_group_k : count;
    if (strcmp(s->input_format, "e4m3") != 0 && strcmp(s->input_format, "e4m3fnuz") != 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "the host reference does not quantise to %s", s->input_format);
    }
    for (uint32_t first = 0, group = 0; first < count; first += run, group++) {
        uint32_t part = count - first < run ? count - first : run;
        values_of_run(s, part, codes + first, (double)scales[group], per_row > 0, want + first, out + first);
    }
    return MJ_OK;
}
