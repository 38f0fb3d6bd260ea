/* scheme_text.c: what a check must know of a scheme, as one line and back: "weight=e4m3,bits=8,word=8,order=0,axis=k,...".
 *
 * Keys in the table's order; what is empty, 0 or false is left out. Numbers are whole, so that no locale changes a text:
 * tolerances are counted in 1e-9, decoded values are "first+count" where they are steps of 1, else the bits of each double. */
#include "gen.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE_UNIT 1e-9

typedef enum kind { WORD, SHORT_WORD, COUNT, SIGNED, FLAG, TOLERANCE, ORDER, VALUES } kind;

typedef struct field {
    const char *key;
    kind kind;
    size_t offset; /* in mj_scheme; ORDER: of the packing; VALUES: there is one table */
    int64_t max;
} field;

#define AT(member) offsetof(mj_scheme, member)
#define GROUP_MAX  (1 << 30)

static const field fields[] = {
    {"weight", WORD, AT(weight_format), 0},
    {"bits", COUNT, AT(weight_bits), 16},
    {"decode", VALUES, 0, 0},
    {"word", COUNT, AT(packing.word_bits), 64},
    {"order", ORDER, AT(packing), 0},
    {"axis", SHORT_WORD, AT(packing.axis), 0},
    {"scale", WORD, AT(scale.format), 0},
    {"scale_n", COUNT, AT(scale.group_n), GROUP_MAX},
    {"scale_k", COUNT, AT(scale.group_k), GROUP_MAX},
    {"scale_order", SHORT_WORD, AT(scale.order), 0},
    {"zero", WORD, AT(zero.format), 0},
    {"zero_n", COUNT, AT(zero.group_n), GROUP_MAX},
    {"zero_k", COUNT, AT(zero.group_k), GROUP_MAX},
    {"zero_nk", SHORT_WORD, AT(zero.order), 0},
    {"zero_word", COUNT, AT(zero.packing.word_bits), 64},
    {"zero_order", ORDER, AT(zero.packing), 0},
    {"zero_axis", SHORT_WORD, AT(zero.packing.axis), 0},
    {"zero_bias", SIGNED, AT(zero_bias), 1 << 16},
    {"global", WORD, AT(global_scale.format), 0},
    {"input", WORD, AT(input_format), 0},
    {"input_scale", WORD, AT(input_scale_kind), 0},
    {"input_scale_format", WORD, AT(input_scale_format), 0},
    {"input_global", WORD, AT(input_global_scale_format), 0},
    {"input_k", COUNT, AT(input_group_k), GROUP_MAX},
    {"dynamic", FLAG, AT(input_scale_dynamic), 1},
    {"io", WORD, AT(io_format), 0},
    {"sum", WORD, AT(accumulate_format), 0},
    {"element_rel", TOLERANCE, AT(tolerance.element_rel), 1000000000},
    {"element_rms", TOLERANCE, AT(tolerance.element_rms), 1000000000},
    {"row_norm", TOLERANCE, AT(tolerance.row_norm), 1000000000},
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

/* ---- Printing ---- */

static bool is_step(const mj_scheme *scheme)
{
    double first = scheme->decode[0];
    if (scheme->decode_count < 2 || !(fabs(first) <= 1000000) || first != floor(first)) {
        return false;
    }
    for (uint32_t i = 0; i < scheme->decode_count; i++) {
        if (scheme->decode[i] != first + i) {
            return false;
        }
    }
    return true;
}

static void print_values(const mj_scheme *scheme, mj_strbuf *out)
{
    if (is_step(scheme)) {
        mj_strbuf_addf(out, "%d+%" PRIu32, (int)scheme->decode[0], scheme->decode_count);
        return;
    }
    for (uint32_t i = 0; i < scheme->decode_count; i++) {
        uint64_t bits;
        memcpy(&bits, &scheme->decode[i], sizeof bits);
        mj_strbuf_addf(out, "%s%016" PRIx64, i ? "/" : "", bits);
    }
}

static void print_order(const mj_packing *packing, mj_strbuf *out)
{
    for (uint32_t i = 0; i < packing->per_word; i++) {
        mj_strbuf_addf(out, "%s%" PRIu32, i ? "/" : "", packing->order[i]);
    }
}

static bool is_absent(const mj_scheme *scheme, const field *f)
{
    const char *at = (const char *)scheme + f->offset;
    switch (f->kind) {
    case VALUES:
        return scheme->decode_count == 0;
    case ORDER:
        return ((const mj_packing *)(const void *)at)->per_word == 0;
    case TOLERANCE:
        return !(*(const double *)(const void *)at > 0);
    case FLAG:
        return !*(const bool *)at;
    case COUNT:
    case SIGNED:
        return *(const int32_t *)(const void *)at == 0;
    default:
        return at[0] == '\0' || strcmp(at, "none") == 0;
    }
}

static void print_field(const mj_scheme *scheme, const field *f, mj_strbuf *out)
{
    const char *at = (const char *)scheme + f->offset;
    mj_strbuf_addf(out, "%s%s=", out->bytes ? "," : "", f->key);
    switch (f->kind) {
    case VALUES:
        print_values(scheme, out);
        break;
    case ORDER:
        print_order((const mj_packing *)(const void *)at, out);
        break;
    case TOLERANCE:
        mj_strbuf_addf(out, "%.0f", *(const double *)(const void *)at / TOLERANCE_UNIT);
        break;
    case FLAG:
        mj_strbuf_addf(out, "1");
        break;
    case COUNT:
    case SIGNED:
        mj_strbuf_addf(out, "%" PRId32, *(const int32_t *)(const void *)at);
        break;
    default:
        mj_strbuf_addf(out, "%s", at);
    }
}

mj_status mj_scheme_print(const mj_scheme *scheme, char *out, size_t bytes, mj_error *error)
{
    mj_strbuf text = {0};
    out[0] = '\0';
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!is_absent(scheme, &fields[i])) {
            print_field(scheme, &fields[i], &text);
        }
    }
    mj_status status = MJ_OK;
    if (text.failed) {
        status = mj_fail(error, MJ_ERR_MEMORY, "no memory for a scheme's text");
    } else if (text.bytes >= bytes) {
        status = mj_fail(error, MJ_ERR_CAPACITY, "scheme %s: its text needs more than %zu bytes", scheme->name, bytes);
    } else if (text.bytes) {
        memcpy(out, text.text, text.bytes + 1);
    }
    mj_strbuf_free(&text);
    return status;
}

/* ---- Parsing ---- */

static bool read_whole(const char *text, char **end, int64_t min, int64_t max, int64_t *out)
{
    long long value = strtoll(text, end, 10); /* out of range: its own limits, beyond ours */
    *out = value;
    return *end != text && value >= min && value <= max;
}

static bool read_order(const char *text, mj_packing *out)
{
    char *end = NULL;
    int64_t value = 0;
    uint64_t seen = 0;
    for (out->per_word = 0; out->per_word < 32; text = end + 1) {
        if (!read_whole(text, &end, 0, 31, &value) || (seen >> value & 1)) {
            return false;
        }
        seen |= UINT64_C(1) << value;
        out->order[out->per_word++] = (uint32_t)value;
        if (*end == '\0') {
            return seen == (UINT64_C(1) << out->per_word) - 1; /* a permutation */
        }
        if (*end != '/') {
            return false;
        }
    }
    return false;
}

static bool read_values(const char *text, mj_scheme *out)
{
    char *end = NULL;
    int64_t first = 0, count = 0;
    if (strchr(text, '+')) {
        if (!read_whole(text, &end, -1000000, 1000000, &first) || *end != '+' ||
            !read_whole(end + 1, &end, 2, 256, &count) || *end) {
            return false;
        }
        for (int64_t i = 0; i < count; i++) {
            out->decode[i] = (double)(first + i);
        }
        out->decode_count = (uint32_t)count;
        return true;
    }
    for (out->decode_count = 0; out->decode_count < 256; text = end + 1) {
        uint64_t bits = strtoull(text, &end, 16);
        if (end != text + 16) {
            return false;
        }
        memcpy(&out->decode[out->decode_count++], &bits, sizeof bits);
        if (*end != '/') {
            return *end == '\0';
        }
    }
    return false;
}

static bool read_field(const field *f, const char *text, mj_scheme *out)
{
    char *at = (char *)out + f->offset, *end = NULL;
    size_t capacity = f->kind == SHORT_WORD ? sizeof out->scale.order : MJ_NAME_MAX;
    int64_t value = 0;
    switch (f->kind) {
    case VALUES:
        return read_values(text, out);
    case ORDER:
        return read_order(text, (mj_packing *)(void *)at);
    case TOLERANCE:
        *(double *)(void *)at = read_whole(text, &end, 1, f->max, &value) ? (double)value * TOLERANCE_UNIT : 0;
        return value >= 1 && value <= f->max && *end == '\0';
    case FLAG:
        *(bool *)at = true;
        return strcmp(text, "1") == 0;
    case COUNT:
    case SIGNED:
        if (!read_whole(text, &end, f->kind == SIGNED ? -f->max : 0, f->max, &value) || *end) {
            return false;
        }
        *(int32_t *)(void *)at = (int32_t)value;
        return true;
    default:
        return snprintf(at, capacity, "%s", text) < (int)capacity;
    }
}

static bool fills_word(const mj_packing *packing)
{
    uint32_t word = packing->word_bits;
    return (word == 8 || word == 16 || word == 32 || word == 64) && packing->per_word && word % packing->per_word == 0;
}

/* A code that its format's name decodes has that format's size. A format that is not here is decoded by no name. */
static bool has_its_size(const mj_scheme *s)
{
    static const struct {
        const char *format;
        uint32_t bits;
    } rows[] = {{"bf16", 16}, {"f16", 16}, {"f32", 32}, {"e4m3", 8}, {"e4m3fnuz", 8},
                {"e5m2", 8},  {"e8m0", 8}, {"int8", 8}, {"uint8", 8}};
    for (size_t i = 0; s->decode_count == 0 && i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(s->weight_format, rows[i].format) == 0) {
            return s->weight_bits == rows[i].bits;
        }
    }
    return true;
}

/* Nothing in a text may lead whoever follows it outside an array. */
static const char *find_fault(const mj_scheme *s)
{
    uint32_t bits = s->packing.per_word ? s->packing.word_bits / s->packing.per_word : 0;
    bool grouped = strcmp(s->input_scale_kind, "group") == 0;
    if (!fills_word(&s->packing) || bits != s->weight_bits) {
        return "the weights' codes do not fill their words";
    }
    if (s->decode_count && (s->weight_bits > 8 || s->decode_count != 1u << s->weight_bits)) {
        return "the decoded values are not one for each code";
    }
    if (!has_its_size(s)) {
        return "the weights' codes are not as long as their format";
    }
    if (s->zero.packing.word_bits || s->zero.packing.per_word) {
        if (!fills_word(&s->zero.packing) || s->zero.packing.word_bits / s->zero.packing.per_word > 16) {
            return "the zero points do not fill their words";
        }
    }
    if (!s->io_format[0] || !s->input_format[0] || !(s->tolerance.element_rel > 0) || !(s->tolerance.row_norm > 0)) {
        return "no input, no io format or no tolerance";
    }
    return grouped != (s->input_group_k != 0) ? "groups of the input without a size, or a size without groups" : NULL;
}

mj_status mj_scheme_parse(const char *text, mj_scheme *out, mj_error *error)
{
    char copy[MJ_SCHEME_TEXT_MAX], again[MJ_SCHEME_TEXT_MAX];
    mj_scheme scheme = {0};
    if (strlen(text) >= sizeof copy) {
        return mj_fail(error, MJ_ERR_FORMAT, "longer than %zu bytes", sizeof copy - 1);
    }
    snprintf(copy, sizeof copy, "%s", text);
    snprintf(scheme.input_scale_kind, sizeof scheme.input_scale_kind, "none");
    for (char *item = copy, *next = NULL; item; item = next) {
        char *equals = strchr(item, '=');
        size_t at = 0;
        next = strchr(item, ',');
        if (next) {
            *next++ = '\0';
        }
        if (equals) {
            *equals = '\0';
        }
        while (equals && at < FIELD_COUNT && strcmp(fields[at].key, item) != 0) {
            at++;
        }
        if (!equals || at == FIELD_COUNT || !read_field(&fields[at], equals + 1, &scheme)) {
            return mj_fail(error, MJ_ERR_FORMAT, "\"%.40s\" has no value that this version knows", item);
        }
    }
    const char *fault = find_fault(&scheme);
    if (fault) {
        return mj_fail(error, MJ_ERR_FORMAT, "%s", fault);
    }
    if (mj_scheme_print(&scheme, again, sizeof again, error) != MJ_OK || strcmp(again, text) != 0) {
        return mj_fail(error, MJ_ERR_FORMAT, "not as this version writes it"); /* a key twice, an order, a space */
    }
    *out = scheme;
    return MJ_OK;
}
