/* expand.c: the template language of templates/README.md.
 *
 * One pass, by recursion over blocks. Branches not taken are walked too, with `live` false: they write nothing, but their names
 * are checked and count as used, so that a mistake does not wait for the one config that takes the branch. */
#include "gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INCLUDE_DEPTH_MAX = 16,
    BLOCK_DEPTH_MAX = 32,
    REPEATS_MAX = 4096,
    LOCALS_MAX = 8,
    WORDS_MAX = 4,
    FILE_NAME_MAX = 128,
    LINES_MAX = 200000, /* walked in all: nested repeats end in time also when they write nothing */
    OUTPUT_BYTES_MAX = 4 << 20,
};

typedef struct source_file {
    const char *name;
    const char *text;
    size_t bytes;
    const struct source_file *parent; /* the file that includes this one */
    uint32_t depth;
} source_file;

typedef struct cursor {
    size_t at;
    uint32_t line; /* of the line last read, from 1 */
} cursor;

typedef struct local_var { /* of a repeat */
    char name[MJ_NAME_MAX];
    char value[16];
} local_var;

typedef struct expander {
    mj_files *files;
    const mj_template_var *vars;
    size_t var_count;
    bool *used;
    local_var locals[LOCALS_MAX];
    uint32_t local_count;
    mj_strbuf *out;
    size_t out_start;
    mj_error *error;
    uint32_t lines_walked, block_depth;
    char line_file[FILE_NAME_MAX]; /* where the compiler thinks the next line comes from */
    uint32_t line_number;
    bool continued; /* the last line written ends in a backslash: no directive may follow it */
} expander;

/* ORDER DIRECTIVE */
typedef enum directive { TEXT, COMMENT, INCLUDE, IF, ELSE, END, REPEAT, UNKNOWN, END_OF_FILE } directive;
static const char *const directive_names[] = {"include", "if", "else", "end", "repeat"};
enum { DIRECTIVE_COUNT = sizeof directive_names / sizeof directive_names[0] };

typedef struct span {
    const char *text;
    size_t bytes;
} span;

#define FAIL(x, file, line, ...) fail_at(x, file, line, __VA_ARGS__)

static mj_status fail_at(expander *x, const source_file *file, uint32_t line, const char *format, const char *a,
                         const char *b)
{
    char text[600];
    snprintf(text, sizeof text, format, a, b);
    return mj_fail(x->error, MJ_ERR_FORMAT, "%s:%u: %s", file->name, (unsigned)line, text);
}

/* ---- Lines and words ---- */

static bool read_line(const source_file *file, cursor *at, span *line)
{
    if (at->at >= file->bytes) {
        return false;
    }
    const char *start = file->text + at->at, *stop = memchr(start, '\n', file->bytes - at->at);
    size_t bytes = stop ? (size_t)(stop - start) : file->bytes - at->at;
    at->at += bytes + (stop != NULL);
    at->line++;
    if (bytes > 0 && start[bytes - 1] == '\r') {
        bytes--;
    }
    *line = (span){start, bytes};
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool span_is(span s, const char *word)
{
    return s.bytes == strlen(word) && memcmp(s.text, word, s.bytes) == 0;
}

/* A printable copy for messages and look-ups. */
static const char *copy_span(span s, char *out, size_t bytes)
{
    size_t length = s.bytes < bytes - 1 ? s.bytes : bytes - 1;
    for (size_t i = 0; i < length; i++) {
        out[i] = s.text[i] >= ' ' && s.text[i] < 127 ? s.text[i] : '?';
    }
    out[length] = '\0';
    return out;
}

/* The words of a line, separated by blanks. More than WORDS_MAX count, but are not kept. */
static uint32_t split_words(span line, span words[WORDS_MAX])
{
    uint32_t count = 0;
    size_t i = 0;
    for (;;) {
        while (i < line.bytes && is_blank(line.text[i])) {
            i++;
        }
        if (i == line.bytes) {
            return count;
        }
        size_t start = i;
        while (i < line.bytes && !is_blank(line.text[i])) {
            i++;
        }
        if (count < WORDS_MAX) {
            words[count] = (span){line.text + start, i - start};
        }
        count++;
    }
}

/* What a line is; a directive's words behind the @ go to `words`. */
static directive classify(span line, span words[WORDS_MAX], uint32_t *word_count)
{
    size_t i = 0;
    while (i < line.bytes && is_blank(line.text[i])) {
        i++;
    }
    if (i + 1 >= line.bytes || line.text[i] != '@' || line.text[i + 1] == '{') {
        return TEXT;
    }
    if (line.bytes - i >= 3 && memcmp(line.text + i, "@//", 3) == 0) {
        return COMMENT;
    }
    *word_count = split_words((span){line.text + i + 1, line.bytes - i - 1}, words);
    for (int d = 0; *word_count > 0 && d < DIRECTIVE_COUNT; d++) {
        if (span_is(words[0], directive_names[d])) {
            return (directive)(INCLUDE + d);
        }
    }
    return UNKNOWN;
}

/* ---- Variables ---- */

static mj_status unknown_variable(expander *x, const source_file *file, uint32_t line, const char *name)
{
    const char **names = calloc(x->var_count + 1, sizeof *names);
    if (!names) {
        return mj_fail(x->error, MJ_ERR_MEMORY, "template: out of memory");
    }
    for (size_t i = 0; i < x->var_count; i++) {
        names[i] = x->vars[i].name;
    }
    const char *near = mj_nearest_name(name, names, x->var_count);
    mj_status status = near ? FAIL(x, file, line, "unknown variable \"%s\"; did you mean \"%s\"?", name, near)
                            : FAIL(x, file, line, "unknown variable \"%s\"%s", name, "");
    free(names);
    return status;
}

static mj_status look_up_name(expander *x, const source_file *file, uint32_t line, span name, const char **value)
{
    for (uint32_t i = 0; i < x->local_count; i++) {
        if (span_is(name, x->locals[i].name)) {
            *value = x->locals[i].value;
            return MJ_OK;
        }
    }
    for (size_t i = 0; i < x->var_count; i++) {
        if (span_is(name, x->vars[i].name)) {
            x->used[i] = true;
            *value = x->vars[i].value;
            return MJ_OK;
        }
    }
    char copy[64];
    return unknown_variable(x, file, line, copy_span(name, copy, sizeof copy));
}

/* name, or name[i]: the variable "name_3" where i is 3. */
static mj_status look_up(expander *x, const source_file *file, uint32_t line, span name, const char **value)
{
    const char *open = memchr(name.text, '[', name.bytes), *index = NULL;
    if (!open) {
        return look_up_name(x, file, line, name, value);
    }
    size_t base = (size_t)(open - name.text), rest = name.bytes - base;
    if (base == 0 || rest < 3 || memchr(open, ']', rest) != name.text + name.bytes - 1) {
        return FAIL(x, file, line, "%s%s", "an index wants name[i]", "");
    }
    mj_status status = look_up_name(x, file, line, (span){open + 1, rest - 2}, &index);
    if (status != MJ_OK) {
        return status;
    }
    char text[2 * MJ_NAME_MAX];
    int bytes = snprintf(text, sizeof text, "%.*s_%s", (int)base, name.text, index);
    if (bytes < 0 || (size_t)bytes >= sizeof text) {
        return FAIL(x, file, line, "%s%s", "an indexed name is too long", "");
    }
    return look_up_name(x, file, line, (span){text, (size_t)bytes}, value);
}

/* ---- Output ---- */

static mj_status check_output(expander *x)
{
    if (x->out->failed) {
        return mj_fail(x->error, MJ_ERR_MEMORY, "template: out of memory");
    }
    if (x->out->bytes - x->out_start > OUTPUT_BYTES_MAX) {
        return mj_fail(x->error, MJ_ERR_CAPACITY, "template: the expanded text is longer than %d bytes",
                       (int)OUTPUT_BYTES_MAX);
    }
    return MJ_OK;
}

/* Tell the compiler where the next line comes from, if it cannot know. */
static void sync_line(expander *x, const source_file *file, uint32_t line)
{
    if (!x->continued && (x->line_number != line || strcmp(x->line_file, file->name) != 0)) {
        mj_strbuf_addf(x->out, "#line %u \"%s\"\n", (unsigned)line, file->name);
        snprintf(x->line_file, sizeof x->line_file, "%s", file->name);
        x->line_number = line;
    }
    x->line_number++;
}

static mj_status write_text(expander *x, const source_file *file, uint32_t number, span line, bool live)
{
    if (live) {
        sync_line(x, file, number);
    }
    size_t i = 0;
    while (i < line.bytes) {
        const char *mark = memchr(line.text + i, '@', line.bytes - i);
        size_t stop = mark ? (size_t)(mark - line.text) : line.bytes;
        bool opens = mark && stop + 1 < line.bytes && mark[1] == '{';
        stop += mark && !opens; /* a lone @ is text */
        if (live) {
            mj_strbuf_add(x->out, line.text + i, stop - i);
        }
        i = stop;
        if (!opens) {
            continue;
        }
        size_t end = i + 2;
        while (end < line.bytes && (is_name_char(line.text[end]) || line.text[end] == '[' || line.text[end] == ']')) {
            end++;
        }
        if (end == line.bytes || line.text[end] != '}' || end == i + 2) {
            return FAIL(x, file, number, "%s%s", "@{ without a name and }", "");
        }
        const char *value = NULL;
        mj_status status = look_up(x, file, number, (span){line.text + i + 2, end - i - 2}, &value);
        if (status != MJ_OK) {
            return status;
        }
        if (live) {
            mj_strbuf_add(x->out, value, strlen(value));
        }
        i = end + 1;
    }
    if (live) {
        mj_strbuf_add(x->out, "\n", 1);
        x->continued = line.bytes > 0 && line.text[line.bytes - 1] == '\\';
    }
    return check_output(x);
}

/* ---- Directives ---- */

static mj_status run_block(expander *x, const source_file *file, cursor *at, bool live, directive *ended_by);

static mj_status run_file(expander *x, const source_file *file, bool live)
{
    cursor at = {0, 0};
    directive ended_by = END_OF_FILE;
    mj_status status = run_block(x, file, &at, live, &ended_by);
    if (status == MJ_OK && ended_by != END_OF_FILE) {
        return FAIL(x, file, at.line, "@%s%s", ended_by == END ? "end" : "else", " without a block");
    }
    return status;
}

static mj_status run_include(expander *x, const source_file *file, uint32_t line, const span *words,
                             uint32_t word_count, bool live)
{
    char name[FILE_NAME_MAX];
    const span quoted = word_count == 2 ? words[1] : (span){"", 0};
    if (quoted.bytes < 3 || quoted.bytes > sizeof name || quoted.text[0] != '"' ||
        quoted.text[quoted.bytes - 1] != '"') {
        return FAIL(x, file, line, "%s%s", "@include wants one name in quotes", "");
    }
    copy_span((span){quoted.text + 1, quoted.bytes - 2}, name, sizeof name);
    if (strpbrk(name, "\"\\")) {
        return FAIL(x, file, line, "@include: \"%s\" is no file name%s", name, "");
    }
    for (const source_file *f = file; f; f = f->parent) {
        if (strcmp(f->name, name) == 0) {
            return FAIL(x, file, line, "%s includes itself%s", name, f == file ? "" : " through other files");
        }
    }
    if (file->depth + 1 > INCLUDE_DEPTH_MAX) {
        return FAIL(x, file, line, "%s%s", "includes are nested too deep", "");
    }
    source_file included = {.name = name, .parent = file, .depth = file->depth + 1};
    mj_error inner = {0};
    if (mj_files_get(x->files, name, &included.text, &included.bytes, &inner) != MJ_OK) {
        return FAIL(x, file, line, "@include: %.500s%s", inner.text, "");
    }
    return run_file(x, &included, live);
}

static mj_status test_condition(expander *x, const source_file *file, uint32_t line, const span *words,
                                uint32_t word_count, bool *holds)
{
    bool equal = word_count == 4 && span_is(words[2], "=="), differ = word_count == 4 && span_is(words[2], "!=");
    if (word_count != 2 && !equal && !differ) {
        return FAIL(x, file, line, "%s%s", "@if wants: name, name == value or name != value", "");
    }
    const char *value = NULL;
    mj_status status = look_up(x, file, line, words[1], &value);
    if (status == MJ_OK) {
        *holds = word_count == 2 ? strcmp(value, "0") != 0 : span_is(words[3], value) == equal;
    }
    return status;
}

static mj_status run_if(expander *x, const source_file *file, cursor *at, const span *words, uint32_t word_count,
                        bool live)
{
    uint32_t line = at->line;
    bool holds = false;
    directive ended_by = END_OF_FILE;
    mj_status status = test_condition(x, file, line, words, word_count, &holds);
    if (status == MJ_OK) {
        status = run_block(x, file, at, live && holds, &ended_by);
    }
    if (status == MJ_OK && ended_by == ELSE) {
        status = run_block(x, file, at, live && !holds, &ended_by);
        if (status == MJ_OK && ended_by == ELSE) {
            return FAIL(x, file, at->line, "%s%s", "a second @else", "");
        }
    }
    if (status == MJ_OK && ended_by != END) {
        return FAIL(x, file, line, "%s%s", "@if without @end", "");
    }
    return status;
}

static mj_status repeat_count(expander *x, const source_file *file, uint32_t line, span word, uint32_t *count)
{
    char text[24];
    const char *digits = copy_span(word, text, sizeof text);
    if (digits[0] < '0' || digits[0] > '9') {
        mj_status status = look_up(x, file, line, word, &digits);
        if (status != MJ_OK) {
            return status;
        }
    }
    size_t length = strlen(digits);
    if (length == 0 || length > 6 || strspn(digits, "0123456789") != length ||
        strtoul(digits, NULL, 10) > REPEATS_MAX) {
        return FAIL(x, file, line, "@repeat: \"%s\" is no number up to 4096%s", digits, "");
    }
    *count = (uint32_t)strtoul(digits, NULL, 10);
    return MJ_OK;
}

static mj_status open_repeat(expander *x, const source_file *file, uint32_t line, const span *words,
                             uint32_t word_count, uint32_t *count)
{
    char name[MJ_NAME_MAX];
    if (word_count != 3 || words[1].bytes >= sizeof name) {
        return FAIL(x, file, line, "%s%s", "@repeat wants a name and a count", "");
    }
    copy_span(words[1], name, sizeof name);
    for (const char *c = name; *c; c++) {
        if (!is_name_char(*c)) {
            return FAIL(x, file, line, "@repeat: \"%s\" is no name%s", name, "");
        }
    }
    bool taken = false;
    for (size_t i = 0; i < x->var_count; i++) {
        taken = taken || strcmp(x->vars[i].name, name) == 0;
    }
    for (uint32_t i = 0; i < x->local_count; i++) {
        taken = taken || strcmp(x->locals[i].name, name) == 0;
    }
    if (taken || x->local_count == LOCALS_MAX) {
        return FAIL(x, file, line, "@repeat: \"%s\" %s", name, taken ? "is a variable already" : "is nested too deep");
    }
    mj_status status = repeat_count(x, file, line, words[2], count);
    if (status == MJ_OK) {
        snprintf(x->locals[x->local_count++].name, MJ_NAME_MAX, "%s", name);
    }
    return status;
}

static mj_status run_repeat(expander *x, const source_file *file, cursor *at, const span *words, uint32_t word_count,
                            bool live)
{
    uint32_t line = at->line, count = 0;
    mj_status status = open_repeat(x, file, line, words, word_count, &count);
    if (status != MJ_OK) {
        return status;
    }
    uint32_t slot = x->local_count - 1, passes = live && count > 0 ? count : 1; /* at least once, to check it */
    cursor start = *at;
    for (uint32_t i = 0; i < passes && status == MJ_OK; i++) {
        directive ended_by = END_OF_FILE;
        *at = start;
        snprintf(x->locals[slot].value, sizeof x->locals[slot].value, "%u", (unsigned)i);
        status = run_block(x, file, at, live && count > 0, &ended_by);
        if (status == MJ_OK && ended_by != END) {
            status = FAIL(x, file, line, "@repeat without @end%s%s", "", "");
        }
    }
    x->local_count = slot;
    return status;
}

static mj_status run_line(expander *x, const source_file *file, cursor *at, span line, bool live, directive *kind)
{
    span words[WORDS_MAX] = {{"", 0}};
    uint32_t word_count = 0;
    char copy[64];
    *kind = classify(line, words, &word_count);
    switch (*kind) {
    case TEXT:
        return write_text(x, file, at->line, line, live);
    case INCLUDE:
        return run_include(x, file, at->line, words, word_count, live);
    case IF:
        return run_if(x, file, at, words, word_count, live);
    case REPEAT:
        return run_repeat(x, file, at, words, word_count, live);
    case ELSE:
    case END:
        return word_count == 1 ? MJ_OK
                               : FAIL(x, file, at->line, "@%s takes no words%s", *kind == END ? "end" : "else", "");
    case UNKNOWN: {
        const char *name = copy_span(words[0], copy, sizeof copy);
        const char *near = mj_nearest_name(name, directive_names, DIRECTIVE_COUNT);
        return near ? FAIL(x, file, at->line, "unknown directive \"@%s\"; did you mean \"@%s\"?", name, near)
                    : FAIL(x, file, at->line, "unknown directive \"@%s\"%s", name, "");
    }
    case COMMENT:
    case END_OF_FILE:
        break;
    }
    return MJ_OK;
}

/* Lines up to and with the @end or @else of this block, or to the end of the file. */
static mj_status run_block(expander *x, const source_file *file, cursor *at, bool live, directive *ended_by)
{
    mj_status status = MJ_OK;
    span line;
    if (++x->block_depth > BLOCK_DEPTH_MAX + INCLUDE_DEPTH_MAX) {
        return FAIL(x, file, at->line, "%s%s", "blocks are nested too deep", "");
    }
    *ended_by = END_OF_FILE;
    while (status == MJ_OK && *ended_by == END_OF_FILE && read_line(file, at, &line)) {
        directive kind = TEXT;
        if (++x->lines_walked > LINES_MAX) {
            return FAIL(x, file, at->line, "%s%s", "the template has too many lines, repeats counted", "");
        }
        status = run_line(x, file, at, line, live, &kind);
        if (kind == ELSE || kind == END) {
            *ended_by = kind;
        }
    }
    x->block_depth--;
    return status;
}

static mj_status check_used(expander *x, const char *root_name)
{
    for (size_t i = 0; i < x->var_count; i++) {
        if (!x->used[i] && !x->vars[i].optional) {
            return mj_fail(x->error, MJ_ERR_FORMAT, "%s:1: variable \"%s\" is used by no line", root_name,
                           x->vars[i].name);
        }
    }
    return MJ_OK;
}

mj_status mj_expand_text(mj_files *files, const char *root_name, const char *text, size_t bytes,
                         const mj_template_var *vars, size_t var_count, mj_strbuf *out, mj_error *error)
{
    source_file root = {.name = root_name, .text = text, .bytes = bytes};
    expander x = {
        .files = files, .vars = vars, .var_count = var_count, .out = out, .out_start = out->bytes, .error = error};
    if (strlen(root_name) >= FILE_NAME_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "template: the name is too long");
    }
    x.used = calloc(var_count + 1, sizeof *x.used);
    if (!x.used) {
        return mj_fail(error, MJ_ERR_MEMORY, "template: out of memory");
    }
    mj_status status = run_file(&x, &root, true);
    if (status == MJ_OK) {
        status = check_used(&x, root_name);
    }
    free(x.used);
    return status;
}

mj_status mj_expand(mj_files *files, const char *root_name, const mj_template_var *vars, size_t var_count,
                    mj_strbuf *out, mj_error *error)
{
    const char *text = NULL;
    size_t bytes = 0;
    mj_status status = mj_files_get(files, root_name, &text, &bytes, error);
    return status == MJ_OK ? mj_expand_text(files, root_name, text, bytes, vars, var_count, out, error) : status;
}
