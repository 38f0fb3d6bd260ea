/* scheme_words.c: see scheme_words.h. Names of variables: templates/README.md. */
#include "scheme_words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *or_none(const char *format)
{
    return format[0] ? format : "none";
}

static uint32_t or_whole(uint32_t group, uint32_t axis)
{
    return group ? group : (axis ? axis : 1);
}

static bool is_half(const char *format)
{
    return strcmp(format, "bf16") == 0 || strcmp(format, "f16") == 0;
}

/* The inverse of `order`, "0, 4, 1, ...". */
static void print_slots(const mj_packing *packing, char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t element = 0; element < packing->per_word; element++) {
        for (uint32_t slot = 0; slot < packing->per_word; slot++) {
            if (packing->order[slot] == element && used < bytes) {
                used += (size_t)snprintf(out + used, bytes - used, "%s%u", element ? ", " : "", slot);
            }
        }
    }
}

/* Codes 0, 1, 2 ... that stand for first, first + 1, ... */
static bool decodes_by_step(const mj_scheme *scheme)
{
    for (uint32_t i = 0; i < scheme->decode_count; i++) {
        if (scheme->decode[i] != scheme->decode[0] + i) {
            return false;
        }
    }
    return scheme->decode_count > 0 && fabs(scheme->decode[0]) < 1e6 && scheme->decode[0] == floor(scheme->decode[0]);
}

static void print_values(const mj_scheme *scheme, char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < scheme->decode_count && used < bytes; i++) {
        double value = scheme->decode[i];
        const char *comma = i ? ", " : "";
        used +=
            (size_t)(isnan(value) ? snprintf(out + used, bytes - used, "%s(double)mj_f32_from_u32(0x7fc00000u)", comma)
                                  : snprintf(out + used, bytes - used, "%s%.17g", comma, value));
    }
}

static const char *decode_word(const mj_scheme *s)
{
    if (s->decode_count == 0) {
        return is_half(s->weight_format) ? "half" : "name";
    }
    return decodes_by_step(s) ? "step" : "table";
}

static void fill_texts(const mj_scheme *s, mj_scheme_words *out)
{
    const mj_scheme_text texts[] = {
        {"weight_format", s->weight_format},
        {"weight_decode", decode_word(s)},
        {"weight_values", out->values},
        {"pack_axis", s->packing.axis},
        {"pack_slots", out->pack_slots},
        {"scale_format", or_none(s->scale.format)},
        {"scale_order", s->scale.order},
        {"zero_format", or_none(s->zero.format)},
        {"zero_order", s->zero.order},
        {"zero_slots", out->zero_slots},
        {"input_format", s->input_format},
        {"input_scale", s->input_scale_kind},
        {"input_scale_format", or_none(s->input_scale_format)},
    };
    _Static_assert(sizeof texts == sizeof out->texts, "MJ_SCHEME_TEXTS: room for each, and no empty one");
    memcpy(out->texts, texts, sizeof texts);
}

static void fill_numbers(const mj_scheme *s, mj_gemm_shape shape, mj_scheme_words *out)
{
    const mj_scheme_number numbers[] = {
        {"plain", mj_scheme_is_plain(s)},
        {"weight_first", decodes_by_step(s) ? (int64_t)s->decode[0] : 0},
        {"weight_bits", s->weight_bits},
        {"word_bits", s->packing.word_bits},
        {"per_word", s->packing.per_word},
        {"scale_group_n", or_whole(s->scale.group_n, shape.n)},
        {"scale_group_k", or_whole(s->scale.group_k, shape.k)},
        {"zero_group_n", or_whole(s->zero.group_n, shape.n)},
        {"zero_group_k", or_whole(s->zero.group_k, shape.k)},
        {"zero_word_bits", s->zero.packing.word_bits},
        {"zero_per_word", s->zero.packing.per_word},
        {"zero_along_n", s->zero.packing.axis[0] == 'n'},
        {"zero_signed", s->zero.format[0] == 'i'},
        {"zero_bias", s->zero_bias},
        {"input_group_k", or_whole(s->input_group_k, shape.k)},
        {"input_dynamic", s->input_scale_dynamic},
    };
    _Static_assert(sizeof numbers == sizeof out->numbers, "MJ_SCHEME_NUMBERS: room for each, and no empty one");
    memcpy(out->numbers, numbers, sizeof numbers);
}

void mj_scheme_words_fill(const mj_scheme *s, mj_gemm_shape shape, mj_scheme_words *out)
{
    memset(out, 0, sizeof *out);
    print_slots(&s->packing, out->pack_slots, sizeof out->pack_slots);
    print_slots(&s->zero.packing, out->zero_slots, sizeof out->zero_slots);
    print_values(s, out->values, sizeof out->values);
    fill_texts(s, out);
    fill_numbers(s, shape, out);
}

bool mj_scheme_quantises(const mj_scheme *s)
{
    return strcmp(s->input_scale_kind, "none") != 0;
}

uint32_t mj_scheme_needed_args(const mj_scheme *s, mj_op op)
{
    bool gemm = mj_op_is_gemm(op), quantise = mj_op_is_quantise(op);
    uint32_t needed = 0;
    needed |= gemm && s->scale.format[0] ? 1u << MJ_ARG_WEIGHT_SCALES : 0;
    needed |= gemm && s->zero.format[0] ? 1u << MJ_ARG_WEIGHT_ZEROS : 0;
    needed |= (gemm || quantise) && mj_scheme_quantises(s) ? 1u << MJ_ARG_INPUT_SCALES : 0;
    needed |= gemm && mj_op_writes_codes(op) ? 1u << MJ_ARG_OUTPUT_SCALES : 0;
    return needed;
}

uint32_t mj_scheme_scales_per_row(const mj_scheme *s, uint32_t k)
{
    if (strcmp(s->input_scale_kind, "token") == 0) {
        return 1;
    }
    return strcmp(s->input_scale_kind, "group") == 0 ? (k + s->input_group_k - 1) / s->input_group_k : 0;
}

bool mj_scheme_is_plain(const mj_scheme *s)
{
    return is_half(s->weight_format) && strcmp(s->weight_format, s->io_format) == 0 &&
           strcmp(s->input_format, s->io_format) == 0 && !s->scale.format[0] && !s->zero.format[0] &&
           !s->decode_count && strcmp(s->input_scale_kind, "none") == 0;
}

static bool is_one_of(const char *word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_word(uint32_t bits)
{
    return bits == 8 || bits == 16 || bits == 32 || bits == 64;
}

const char *mj_scheme_undecodable(const mj_scheme *s)
{
    static const char *const codes[] = {"bf16", "f16", "e4m3", "e4m3fnuz", "int8", "uint8"};
    static const char *const scales[] = {"f32", "bf16", "f16", "e8m0", "e4m3"};
    static const char *const zeros[] = {"f32", "bf16", "f16", "e4m3", "int8", "uint8"};
    bool quantised = strcmp(s->input_format, s->io_format) != 0;
    if (s->decode_count == 0 && !is_one_of(s->weight_format, codes, 6)) {
        return "the weights' format";
    }
    if (!is_word(s->packing.word_bits) || (s->zero.packing.word_bits && !is_word(s->zero.packing.word_bits))) {
        return "a word that is not of 8, 16, 32 or 64 bits";
    }
    if ((s->scale.format[0] && !is_one_of(s->scale.format, scales, 5)) || s->scale.packing.word_bits) {
        return "the scales' format";
    }
    if (s->zero.format[0] && !s->zero.packing.word_bits && !is_one_of(s->zero.format, zeros, 6)) {
        return "the zero points' format";
    }
    if (s->global_scale.format[0] || s->input_global_scale_format[0]) {
        return "a global scale";
    }
    if (quantised && strcmp(s->input_format, "e4m3") != 0 && strcmp(s->input_format, "e4m3fnuz") != 0) {
        return "the input's format";
    }
    if (quantised ? strcmp(s->input_scale_kind, "none") == 0 || strcmp(s->input_scale_format, "f32") != 0
                  : strcmp(s->input_scale_kind, "none") != 0) {
        return "the input's scales";
    }
    return "";
}
