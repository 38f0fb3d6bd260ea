/* spec_read.c: see spec_read.h. Values are taken raw, so a metatable cannot run code in here; every key of a table is
 * either a row of the schema or a problem. */
#include "spec_read.h"

#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_KEYS_MAX 16
#define PROBLEMS_MAX     1000 /* enough to see; a hostile file could make millions */

void mj_problem_list_add(mj_problem_list *problems, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (problems->count == 0) {
        mj_fail(problems->first, MJ_ERR_FORMAT, "%s", line);
    }
    problems->count += problems->count < UINT32_MAX;
    if (problems->count <= PROBLEMS_MAX) {
        mj_strbuf_addf(&problems->lines, "%s\n", line);
    }
}

void mj_problem_list_close_reading(mj_problem_list *problems)
{
    problems->read_bytes = problems->lines.bytes;
}

/* Whether a line that begins with `place` was added before the reading was closed. */
static bool was_reported(const mj_problem_list *problems, const char *place)
{
    size_t length = strlen(place);
    for (size_t at = 0; at + length <= problems->read_bytes;) {
        const char *line = problems->lines.text + at;
        if (memcmp(line, place, length) == 0) {
            return true;
        }
        const char *end = memchr(line, '\n', problems->read_bytes - at);
        at = end ? (size_t)(end - problems->lines.text) + 1 : problems->read_bytes;
    }
    return false;
}

/* A key of a user's file may hold anything: keep messages on one printable line. */
static void print_safely(char *out, size_t bytes, const char *text)
{
    size_t n = 0;
    for (; text[n] && n + 1 < bytes; n++) {
        unsigned char c = (unsigned char)text[n];
        out[n] = c < 32 || c == 127 ? '?' : (char)c;
    }
    out[n] = 0;
}

static void print_path(const mj_path_step *steps, uint32_t count, char *out, size_t bytes)
{
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < count && used + 1 < bytes; i++) {
        char key[64];
        int added;
        if (steps[i].key) {
            print_safely(key, sizeof key, steps[i].key);
            added = snprintf(out + used, bytes - used, "%s%s", i ? "." : "", key);
        } else {
            added = snprintf(out + used, bytes - used, "[%u]", steps[i].index);
        }
        used += added > 0 ? (size_t)added : 0;
    }
}

static void report(mj_reader *reader, const mj_path_step *more, uint32_t more_count, const char *format, va_list args)
{
    mj_path_step steps[MJ_PATH_MAX + 3];
    char path[256], text[512], place[160];
    memcpy(steps, reader->path, reader->depth * sizeof *steps);
    memcpy(steps + reader->depth, more, more_count * sizeof *steps);
    uint32_t count = reader->depth + more_count;
    print_path(steps, count, path, sizeof path);
    vsnprintf(text, sizeof text, format, args);
    snprintf(place, sizeof place, "%s:%u: ", reader->file, mj_lua_line(reader->text, reader->bytes, steps, count));
    if (!was_reported(reader->problems, place)) {
        mj_problem_list_add(reader->problems, "%s%s%s%s", place, path, path[0] ? ": " : "", text);
    }
}

void mj_reader_report(mj_reader *reader, const char *key, const char *format, ...)
{
    mj_path_step step = {.key = key};
    va_list args;
    va_start(args, format);
    report(reader, &step, key ? 1 : 0, format, args);
    va_end(args);
}

void mj_reader_report_element(mj_reader *reader, const char *key, uint32_t index, const char *part, const char *format,
                              ...)
{
    mj_path_step steps[3] = {{.key = key}, {.index = index}, {.key = part}};
    va_list args;
    va_start(args, format);
    report(reader, steps, part ? 3 : 2, format, args);
    va_end(args);
}

const char *mj_hint(const char *word, const char *const *names, size_t count, char out[MJ_HINT_BYTES])
{
    const char *near = mj_nearest_name(word, names, count);
    out[0] = 0;
    if (near) {
        snprintf(out, MJ_HINT_BYTES, "; did you mean \"%.100s\"?", near);
    }
    return out;
}

static void push_key(mj_reader *reader, const char *key)
{
    if (reader->depth < MJ_PATH_MAX) {
        reader->path[reader->depth++] = (mj_path_step){.key = key};
    }
}

static void push_index(mj_reader *reader, uint32_t index)
{
    if (reader->depth < MJ_PATH_MAX) {
        reader->path[reader->depth++] = (mj_path_step){.index = index};
    }
}

static void pop_step(mj_reader *reader)
{
    reader->depth--;
}

/* ---- Single values. The value is on top of the stack and stays there; the path names it. ---- */

static const char *type_here(mj_reader *reader)
{
    return luaL_typename(reader->state, -1);
}

static bool read_number(mj_reader *reader, const mj_field *row, bool whole, double *out)
{
    if (lua_type(reader->state, -1) != LUA_TNUMBER) {
        mj_reader_report(reader, NULL, "is a %s, not a number", type_here(reader));
        return false;
    }
    double value = lua_tonumber(reader->state, -1);
    bool limited = row->max > row->min;
    if (isnan(value) && row->type == MJ_FIELD_REALS) {
        *out = value;
        return true;
    }
    if (!isfinite(value)) {
        mj_reader_report(reader, NULL, "is not a finite number");
        return false;
    }
    if (whole && value != floor(value)) {
        mj_reader_report(reader, NULL, "is %.9g, not a whole number", value);
        return false;
    }
    if (limited && (value < row->min || value > row->max)) {
        mj_reader_report(reader, NULL, "is %.14g, out of range %.9g to %.9g%s%s", value, row->min, row->max,
                         row->unit ? " " : "", row->unit ? row->unit : "");
        return false;
    }
    *out = value;
    return true;
}

static size_t choice_count(const char *const *choices)
{
    size_t count = 0;
    while (choices[count]) {
        count++;
    }
    return count;
}

/* `capacity` counts the NUL. */
static bool read_string(mj_reader *reader, const mj_field *row, char *out, size_t capacity)
{
    size_t length;
    if (lua_type(reader->state, -1) != LUA_TSTRING) {
        mj_reader_report(reader, NULL, "is a %s, not a text", type_here(reader));
        return false;
    }
    const char *text = lua_tolstring(reader->state, -1, &length);
    if (length == 0) {
        mj_reader_report(reader, NULL, "is empty");
        return false;
    }
    if (length >= capacity) {
        mj_reader_report(reader, NULL, "has %zu characters; %zu are allowed", length, capacity - 1);
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 32 || text[i] == 127) {
            mj_reader_report(reader, NULL, "holds a control character");
            return false;
        }
    }
    if (row->choices) {
        size_t count = choice_count(row->choices), i = 0;
        char hint[MJ_HINT_BYTES];
        while (i < count && strcmp(row->choices[i], text) != 0) {
            i++;
        }
        if (i == count) {
            mj_reader_report(reader, NULL, "unknown value \"%.60s\"%s", text, mj_hint(text, row->choices, count, hint));
            return false;
        }
    }
    memcpy(out, text, length + 1);
    return true;
}

static void read_activation(mj_reader *reader, mj_activation *out)
{
    mj_error error;
    if (lua_type(reader->state, -1) != LUA_TSTRING) {
        mj_reader_report(reader, NULL, "is a %s, not a text", type_here(reader));
    } else if (mj_activation_parse(lua_tostring(reader->state, -1), out, &error) != MJ_OK) {
        mj_reader_report(reader, NULL, "%s", error.text);
    }
}

/* ---- Lists ---- */

/* Length of the list on top, or -1 after a report: a table whose keys are exactly 1..n, n <= capacity. */
static int list_length(mj_reader *reader, size_t capacity)
{
    if (lua_type(reader->state, -1) != LUA_TTABLE) {
        mj_reader_report(reader, NULL, "is a %s, not a list", type_here(reader));
        return -1;
    }
    size_t length = (size_t)lua_rawlen(reader->state, -1), key_count = 0;
    lua_pushnil(reader->state);
    while (lua_next(reader->state, -2)) {
        lua_pop(reader->state, 1);
        key_count++;
        if (!lua_isinteger(reader->state, -1)) {
            lua_pop(reader->state, 1);
            mj_reader_report(reader, NULL, "is not a plain list {a, b, ...}");
            return -1;
        }
    }
    if (key_count != length) {
        mj_reader_report(reader, NULL, "is not a plain list {a, b, ...}: it has holes");
        return -1;
    }
    if (length > capacity) {
        mj_reader_report(reader, NULL, "has %zu elements; %zu are allowed", length, capacity);
        return -1;
    }
    return (int)length;
}

static void read_element(mj_reader *reader, const mj_field *row, char *slot)
{
    double value;
    switch (row->type) {
    case MJ_FIELD_NAMES:
        read_string(reader, row, slot, MJ_NAME_MAX);
        break;
    case MJ_FIELD_STRINGS:
        read_string(reader, row, slot, row->element_bytes);
        break;
    case MJ_FIELD_U32S:
        if (read_number(reader, row, true, &value)) {
            *(uint32_t *)(void *)slot = (uint32_t)value;
        }
        break;
    case MJ_FIELD_I32S:
        if (read_number(reader, row, true, &value)) {
            *(int32_t *)(void *)slot = (int32_t)value;
        }
        break;
    case MJ_FIELD_REALS:
        if (read_number(reader, row, false, &value)) {
            *(double *)(void *)slot = value;
        }
        break;
    default: /* MJ_FIELD_RECORDS */
        mj_read_record(reader, row->record, slot);
    }
}

static void read_list(mj_reader *reader, const mj_field *row, char *base)
{
    bool names = row->type == MJ_FIELD_NAMES;
    mj_name_list *list = (mj_name_list *)(void *)(base + row->offset);
    char *first = names ? list->items[0] : base + row->offset;
    size_t element_bytes = names ? sizeof list->items[0] : row->element_bytes;
    int length = list_length(reader, names ? MJ_LIST_MAX : row->capacity);
    for (int i = 0; i < length; i++) {
        push_index(reader, (uint32_t)i + 1);
        lua_rawgeti(reader->state, -1, i + 1);
        read_element(reader, row, first + (size_t)i * element_bytes);
        lua_pop(reader->state, 1);
        pop_step(reader);
    }
    if (length >= 0) {
        *(names ? &list->count : (uint32_t *)(void *)(base + row->count_offset)) = (uint32_t)length;
    }
}

/* ---- Records ---- */

static void read_value(mj_reader *reader, const mj_field *row, char *base)
{
    double value;
    char *slot = base + row->offset;
    switch (row->type) {
    case MJ_FIELD_STRING:
        read_string(reader, row, slot, row->capacity);
        break;
    case MJ_FIELD_U32:
        if (read_number(reader, row, true, &value)) {
            *(uint32_t *)(void *)slot = (uint32_t)value;
        }
        break;
    case MJ_FIELD_I32:
        if (read_number(reader, row, true, &value)) {
            *(int32_t *)(void *)slot = (int32_t)value;
        }
        break;
    case MJ_FIELD_REAL:
        if (read_number(reader, row, false, &value)) {
            *(double *)(void *)slot = value;
        }
        break;
    case MJ_FIELD_BOOL:
        if (lua_isboolean(reader->state, -1)) {
            *(bool *)(void *)slot = lua_toboolean(reader->state, -1);
        } else {
            mj_reader_report(reader, NULL, "is a %s, not true or false", type_here(reader));
        }
        break;
    case MJ_FIELD_ACTIVATION:
        read_activation(reader, (mj_activation *)(void *)slot);
        break;
    case MJ_FIELD_FUNCTION:
        if (!lua_isfunction(reader->state, -1)) {
            mj_reader_report(reader, NULL, "is a %s, not a function", type_here(reader));
        }
        break;
    case MJ_FIELD_RECORD:
        mj_read_record(reader, row->record, slot);
        break;
    default:
        read_list(reader, row, base);
    }
}

static void use_fallback(const mj_field *row, char *base)
{
    char *slot = base + row->offset;
    switch (row->type) {
    case MJ_FIELD_STRING:
        if (row->text) {
            snprintf(slot, row->capacity, "%s", row->text);
        }
        break;
    case MJ_FIELD_U32:
        *(uint32_t *)(void *)slot = (uint32_t)row->fallback;
        break;
    case MJ_FIELD_I32:
        *(int32_t *)(void *)slot = (int32_t)row->fallback;
        break;
    case MJ_FIELD_REAL:
        *(double *)(void *)slot = row->fallback;
        break;
    case MJ_FIELD_BOOL:
        *(bool *)(void *)slot = row->fallback != 0;
        break;
    default: /* lists and records stay empty */
        break;
    }
}

static bool is_row(const mj_schema *schema, const char *key, size_t length)
{
    for (uint32_t i = 0; i < schema->count; i++) {
        if (strlen(schema->fields[i].name) == length && memcmp(schema->fields[i].name, key, length) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The strings collected here stay alive: the table on the stack holds them. */
static void report_unknown_keys(mj_reader *reader, const mj_schema *schema)
{
    const char *unknown[UNKNOWN_KEYS_MAX], *names[64];
    size_t unknown_count = 0, other_count = 0, name_count = 0;
    lua_pushnil(reader->state);
    while (lua_next(reader->state, -2)) {
        lua_pop(reader->state, 1);
        size_t length;
        const char *key = lua_type(reader->state, -1) == LUA_TSTRING ? lua_tolstring(reader->state, -1, &length) : NULL;
        if (key && is_row(schema, key, length)) {
            continue;
        }
        if (key && unknown_count < UNKNOWN_KEYS_MAX) {
            unknown[unknown_count++] = key;
        } else {
            other_count++;
        }
    }
    for (; name_count < schema->count && name_count < 64; name_count++) {
        names[name_count] = schema->fields[name_count].name;
    }
    qsort(unknown, unknown_count, sizeof unknown[0], compare_texts);
    for (size_t i = 0; i < unknown_count; i++) {
        char hint[MJ_HINT_BYTES];
        mj_reader_report(reader, unknown[i], "unknown key%s", mj_hint(unknown[i], names, name_count, hint));
    }
    if (other_count > 0) {
        mj_reader_report(reader, NULL, "%zu more unknown keys", other_count);
    }
}

void mj_read_record(mj_reader *reader, const mj_schema *schema, void *base)
{
    luaL_checkstack(reader->state, 8, "nested tables");
    if (lua_type(reader->state, -1) != LUA_TTABLE) {
        mj_reader_report(reader, NULL, "is a %s, not a table", type_here(reader));
        return;
    }
    report_unknown_keys(reader, schema);
    for (uint32_t i = 0; i < schema->count; i++) {
        const mj_field *row = &schema->fields[i];
        lua_pushstring(reader->state, row->name);
        lua_rawget(reader->state, -2);
        if (!lua_isnil(reader->state, -1)) {
            push_key(reader, row->name);
            read_value(reader, row, base);
            pop_step(reader);
        } else if (row->optional) {
            use_fallback(row, base);
        } else {
            mj_reader_report(reader, NULL, "%s is missing: %s", row->name, row->doc);
        }
        lua_pop(reader->state, 1);
    }
}
