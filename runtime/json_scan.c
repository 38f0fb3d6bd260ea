/* json_scan.c: a strict JSON recogniser without recursion. */
#include "json_scan.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct scanner {
    const unsigned char *text, *at, *end;
    const char *file_name;
    mj_error *error;
    uint32_t value_count, depth;
    bool is_object[MJ_JSON_DEPTH_MAX];
} scanner;

static mj_status fail_at(const scanner *s, mj_status status, const char *what)
{
    size_t line = 1;
    for (const unsigned char *c = s->text; c < s->at; c++) {
        line += *c == '\n';
    }
    return mj_fail(s->error, status, "%s:%zu: %s", s->file_name, line, what);
}

static int peek(const scanner *s)
{
    return s->at < s->end ? *s->at : -1;
}

static void skip_space(scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

/* Bytes of the UTF-8 sequence of more than one byte at `at`, 0 if it is none (overlong, surrogate, beyond U+10FFFF, cut off). */
static size_t utf8_bytes(const unsigned char *at, const unsigned char *end)
{
    static const struct {
        unsigned char first_min, first_max, second_min, second_max;
        size_t bytes;
    } rows[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
        {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
        {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (*at < rows[i].first_min || *at > rows[i].first_max) {
            continue;
        }
        if ((size_t)(end - at) < rows[i].bytes) {
            return 0;
        }
        for (size_t j = 1; j < rows[i].bytes; j++) {
            unsigned char low = j == 1 ? rows[i].second_min : 0x80, high = j == 1 ? rows[i].second_max : 0xBF;
            if (at[j] < low || at[j] > high) {
                return 0;
            }
        }
        return rows[i].bytes;
    }
    return 0;
}

/* Four hex digits; -1 if they are not there. */
static int32_t hex4(scanner *s)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static mj_status scan_escape(scanner *s)
{
    int c = peek(s);
    if (c >= 0 && c != 0 && strchr("\"\\/bfnrt", c)) {
        s->at++;
        return MJ_OK;
    }
    if (c != 'u') {
        return fail_at(s, MJ_ERR_FORMAT, "unknown escape in a string");
    }
    s->at++;
    int32_t unit = hex4(s);
    bool is_high = unit >= 0xD800 && unit <= 0xDBFF;
    if (is_high && s->end - s->at >= 2 && s->at[0] == '\\' && s->at[1] == 'u') {
        s->at += 2;
        int32_t low = hex4(s);
        return low >= 0xDC00 && low <= 0xDFFF ? MJ_OK : fail_at(s, MJ_ERR_FORMAT, "unpaired surrogate in a string");
    }
    if (unit < 0 || (unit >= 0xD800 && unit <= 0xDFFF)) {
        return fail_at(s, MJ_ERR_FORMAT, "bad \\u escape in a string");
    }
    return unit ? MJ_OK : fail_at(s, MJ_ERR_FORMAT, "a string holds the character NUL");
}

static mj_status scan_string(scanner *s)
{
    s->at++; /* the quote */
    for (;;) {
        int c = peek(s);
        if (c < 0) {
            return fail_at(s, MJ_ERR_FORMAT, "a string has no end");
        }
        if (c == '"') {
            s->at++;
            return MJ_OK;
        }
        if (c < 0x20) {
            return fail_at(s, MJ_ERR_FORMAT, "control character in a string");
        }
        if (c == '\\') {
            s->at++;
            mj_status status = scan_escape(s);
            if (status != MJ_OK) {
                return status;
            }
            continue;
        }
        size_t step = c < 0x80 ? 1 : utf8_bytes(s->at, s->end);
        if (step == 0) {
            return fail_at(s, MJ_ERR_FORMAT, "a string is not UTF-8");
        }
        s->at += step;
    }
}

static size_t skip_digits(scanner *s)
{
    const unsigned char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return (size_t)(s->at - start);
}

static mj_status scan_number(scanner *s)
{
    const unsigned char *start = s->at;
    char copy[MJ_JSON_NUMBER_CHARS_MAX + 1];
    s->at += *s->at == '-';
    bool leading_zero = peek(s) == '0';
    size_t whole = skip_digits(s);
    bool good = whole > 0 && !(leading_zero && whole > 1);
    if (good && peek(s) == '.') {
        s->at++;
        good = skip_digits(s) > 0;
    }
    if (good && (peek(s) == 'e' || peek(s) == 'E')) {
        s->at++;
        s->at += peek(s) == '+' || peek(s) == '-';
        good = skip_digits(s) > 0;
    }
    if (!good) {
        return fail_at(s, MJ_ERR_FORMAT, "malformed number");
    }
    size_t chars = (size_t)(s->at - start);
    if (chars > MJ_JSON_NUMBER_CHARS_MAX) {
        return fail_at(s, MJ_ERR_FORMAT, "a number has more than 60 characters");
    }
    memcpy(copy, start, chars);
    copy[chars] = '\0';
    /* In a locale with another decimal point this reads the whole part only, which is what may overflow, but for an exponent. */
    const char *exponent = strpbrk(copy, "eE");
    if (exponent && strtol(exponent + 1, NULL, 10) > 400) {
        return fail_at(s, MJ_ERR_FORMAT, "a number is too large");
    }
    return isfinite(strtod(copy, NULL)) ? MJ_OK : fail_at(s, MJ_ERR_FORMAT, "a number is too large");
}

static mj_status scan_word(scanner *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t chars = strlen(words[i]);
        if ((size_t)(s->end - s->at) >= chars && memcmp(s->at, words[i], chars) == 0) {
            s->at += chars;
            return MJ_OK;
        }
    }
    return fail_at(s, MJ_ERR_FORMAT, peek(s) < 0 ? "the text ends too early" : "not a JSON value");
}

static mj_status scan_key(scanner *s)
{
    skip_space(s);
    if (peek(s) != '"') {
        return fail_at(s, MJ_ERR_FORMAT, "a key is missing");
    }
    mj_status status = scan_string(s);
    skip_space(s);
    if (status == MJ_OK && peek(s) != ':') {
        status = fail_at(s, MJ_ERR_FORMAT, "':' is missing after a key");
    }
    s->at += status == MJ_OK;
    return status;
}

/* Opens a container, or scans a scalar. *complete: a whole value lies behind. */
static mj_status scan_value(scanner *s, bool *complete)
{
    *complete = true;
    skip_space(s);
    if (++s->value_count > MJ_JSON_VALUES_MAX) {
        return fail_at(s, MJ_ERR_CAPACITY, "more than a million values");
    }
    int c = peek(s);
    if (c == '"') {
        return scan_string(s);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        return scan_number(s);
    }
    if (c != '{' && c != '[') {
        return scan_word(s);
    }
    if (s->depth == MJ_JSON_DEPTH_MAX) {
        return fail_at(s, MJ_ERR_CAPACITY, "nested deeper than 64");
    }
    s->at++;
    skip_space(s);
    if (peek(s) == (c == '{' ? '}' : ']')) {
        s->at++;
        return MJ_OK;
    }
    s->is_object[s->depth++] = c == '{';
    *complete = false;
    return c == '{' ? scan_key(s) : MJ_OK;
}

/* After a whole value: closes containers until one goes on (*more) or none is left. */
static mj_status scan_after(scanner *s, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        skip_space(s);
        bool object = s->is_object[s->depth - 1];
        int c = peek(s);
        if (c == ',') {
            s->at++;
            *more = true;
            return object ? scan_key(s) : MJ_OK;
        }
        if (c != (object ? '}' : ']')) {
            return fail_at(s, MJ_ERR_FORMAT, object ? "',' or '}' is missing" : "',' or ']' is missing");
        }
        s->at++;
        s->depth--;
    }
    return MJ_OK;
}

mj_status mj_json_scan(const char *text, size_t bytes, const char *file_name, mj_error *error)
{
    scanner s = {.text = (const unsigned char *)text, .file_name = file_name, .error = error};
    s.at = s.text;
    s.end = s.text + bytes;
    if (bytes > MJ_JSON_BYTES_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "%s: larger than 64 MiB", file_name);
    }
    bool more = true;
    while (more) {
        bool complete = false;
        mj_status status = scan_value(&s, &complete);
        if (status == MJ_OK && complete) {
            status = scan_after(&s, &more);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    skip_space(&s);
    return s.at == s.end ? MJ_OK : fail_at(&s, MJ_ERR_FORMAT, "text after the end of the value");
}
