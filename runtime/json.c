/* json.c: mj_json over cJSON. */
#define _GNU_SOURCE
#include "json.h"

#include <cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_scan.h"
#include "os.h"

#define INT_MAX_EXACT ((int64_t)1 << 53)

/* ---- Parsing ---------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* cJSON would take the first of two equal keys, other readers the last: refused instead. Sorted, since a hostile file may have
 * a million keys in one object. */
static mj_status check_object_keys(const cJSON *object, const char *file_name, mj_error *error)
{
    const char *few[32], **keys = few;
    size_t count = mj_json_count(object), at = 0;
    if (count > sizeof few / sizeof *few) {
        keys = malloc(count * sizeof *keys);
    }
    if (!keys) {
        return mj_fail(error, MJ_ERR_MEMORY, "%s: no memory", file_name);
    }
    for (const cJSON *child = object->child; child; child = child->next) {
        keys[at++] = child->string;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    mj_status status = MJ_OK;
    for (size_t i = 1; status == MJ_OK && i < count; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            status = mj_fail(error, MJ_ERR_FORMAT, "%s: %.100s: the key appears twice", file_name, keys[i]);
        }
    }
    if (keys != few) {
        free(keys);
    }
    return status;
}

/* Recursion is bounded by the scan's depth limit. */
static mj_status check_keys(const cJSON *value, const char *file_name, mj_error *error)
{
    mj_status status = cJSON_IsObject(value) ? check_object_keys(value, file_name, error) : MJ_OK;
    for (const cJSON *child = value->child; status == MJ_OK && child; child = child->next) {
        if (child->child) {
            status = check_keys(child, file_name, error);
        }
    }
    return status;
}

mj_status mj_json_parse(const char *text, size_t bytes, const char *file_name, mj_json **out, mj_error *error)
{
    *out = NULL;
    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* editors on Windows write it */
        text += 3;
        bytes -= 3;
    }
    mj_status status = mj_json_scan(text, bytes, file_name, error);
    if (status != MJ_OK) {
        return status;
    }
    char *copy = strndup(text, bytes); /* the scan found no NUL */
    cJSON *root = copy ? cJSON_ParseWithOpts(copy, NULL, 1) : NULL;
    free(copy);
    if (!root) {
        return mj_fail(error, MJ_ERR_MEMORY, "%s: no memory", file_name);
    }
    status = check_keys(root, file_name, error);
    if (status != MJ_OK) {
        cJSON_Delete(root);
        return status;
    }
    *out = root;
    return MJ_OK;
}

mj_status mj_json_parse_file(const char *path, mj_json **out, mj_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    mj_status status = mj_os_read_file(path, MJ_JSON_BYTES_MAX, &text, &bytes, error);
    if (status == MJ_OK) {
        status = mj_json_parse(text, bytes, path, out, error);
        free(text);
    }
    return status;
}

void mj_json_free(mj_json *root)
{
    cJSON_Delete(root);
}

/* ---- Building --------------------------------------------------------------------------------- */

mj_json *mj_json_object(void)
{
    return cJSON_CreateObject();
}

mj_json *mj_json_array(void)
{
    return cJSON_CreateArray();
}

mj_json *mj_json_add(mj_json *object, const char *key, mj_json *child)
{
    if (!child) {
        return NULL;
    }
    if (!cJSON_IsObject(object)) {
        cJSON_Delete(child);
        return NULL;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    if (!cJSON_AddItemToObject(object, key, child)) {
        cJSON_Delete(child);
        return NULL;
    }
    return child;
}

void mj_json_remove(mj_json *object, const char *key)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
}

mj_json *mj_json_push(mj_json *array, mj_json *child)
{
    if (!child) {
        return NULL;
    }
    if (!cJSON_IsArray(array) || !cJSON_AddItemToArray(array, child)) {
        cJSON_Delete(child);
        return NULL;
    }
    return child;
}

mj_json *mj_json_new_string(const char *value)
{
    return cJSON_CreateString(value);
}

mj_json *mj_json_new_int(int64_t value)
{
    return value >= -INT_MAX_EXACT && value <= INT_MAX_EXACT ? cJSON_CreateNumber((double)value) : NULL;
}

mj_json *mj_json_new_number(double value)
{
    return isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull();
}

mj_json *mj_json_copy(const mj_json *value)
{
    return cJSON_Duplicate(value, 1);
}

mj_json *mj_json_add_string(mj_json *object, const char *key, const char *value)
{
    return mj_json_add(object, key, mj_json_new_string(value));
}

mj_json *mj_json_add_int(mj_json *object, const char *key, int64_t value)
{
    return mj_json_add(object, key, mj_json_new_int(value));
}

mj_json *mj_json_add_u64(mj_json *object, const char *key, uint64_t value)
{
    char text[24];
    if (value < 1000000000000000u) {
        return mj_json_add_int(object, key, (int64_t)value);
    }
    snprintf(text, sizeof text, "%" PRIu64, value);
    return mj_json_add_string(object, key, text);
}

mj_json *mj_json_add_number(mj_json *object, const char *key, double value)
{
    return mj_json_add(object, key, mj_json_new_number(value));
}

mj_json *mj_json_add_bool(mj_json *object, const char *key, bool value)
{
    return mj_json_add(object, key, cJSON_CreateBool(value));
}

/* ---- Looking ---------------------------------------------------------------------------------- */

mj_json *mj_json_get(const mj_json *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

bool mj_json_is_object(const mj_json *value)
{
    return cJSON_IsObject(value);
}

bool mj_json_is_array(const mj_json *value)
{
    return cJSON_IsArray(value);
}

bool mj_json_is_string(const mj_json *value)
{
    return cJSON_IsString(value);
}

bool mj_json_is_number(const mj_json *value)
{
    return cJSON_IsNumber(value);
}

bool mj_json_is_bool(const mj_json *value)
{
    return cJSON_IsBool(value);
}

bool mj_json_is_null(const mj_json *value)
{
    return cJSON_IsNull(value);
}

const char *mj_json_key(const mj_json *value)
{
    return value && value->string ? value->string : "";
}

size_t mj_json_count(const mj_json *container)
{
    size_t count = 0;
    for (const cJSON *child = mj_json_first(container); child; child = child->next) {
        count++;
    }
    return count;
}

mj_json *mj_json_at(const mj_json *container, size_t index)
{
    cJSON *child = mj_json_first(container);
    for (; child && index > 0; index--) {
        child = child->next;
    }
    return child;
}

mj_json *mj_json_first(const mj_json *container)
{
    return cJSON_IsObject(container) || cJSON_IsArray(container) ? container->child : NULL;
}

mj_json *mj_json_next(const mj_json *child)
{
    return child ? child->next : NULL;
}

bool mj_json_value_bool(const mj_json *value)
{
    return cJSON_IsTrue(value);
}

double mj_json_value_number(const mj_json *value)
{
    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

const char *mj_json_value_string(const mj_json *value)
{
    return cJSON_IsString(value) ? value->valuestring : "";
}

/* ---- Reading keys that must be there ---------------------------------------------------------- */

static const char *kind_name(const mj_json *value)
{
    return cJSON_IsString(value)   ? "a string"
           : cJSON_IsNumber(value) ? "a number"
           : cJSON_IsBool(value)   ? "true or false"
           : cJSON_IsArray(value)  ? "a list"
           : cJSON_IsNull(value)   ? "null"
                                   : "an object";
}

static mj_status find(const mj_json *object, const char *key, cJSON_bool (*is_kind)(const cJSON *), const char *wanted,
                      mj_json **out, mj_error *error)
{
    *out = mj_json_get(object, key);
    if (!*out) {
        return mj_fail(error, MJ_ERR_FORMAT, "%s: the key is missing", key);
    }
    return is_kind(*out) ? MJ_OK : mj_fail(error, MJ_ERR_FORMAT, "%s: %s, not %s", key, kind_name(*out), wanted);
}

mj_status mj_json_read_string(const mj_json *object, const char *key, char *out, size_t bytes, mj_error *error)
{
    mj_json *value = NULL;
    mj_status status = find(object, key, cJSON_IsString, "a string", &value, error);
    if (status != MJ_OK) {
        return status;
    }
    size_t length = strlen(value->valuestring);
    if (length >= bytes) {
        return mj_fail(error, MJ_ERR_FORMAT, "%s: longer than %zu characters", key, bytes - 1);
    }
    memcpy(out, value->valuestring, length + 1);
    return MJ_OK;
}

mj_status mj_json_read_int(const mj_json *object, const char *key, int64_t min, int64_t max, int64_t *out,
                           mj_error *error)
{
    mj_json *value = NULL;
    mj_status status = find(object, key, cJSON_IsNumber, "a whole number", &value, error);
    if (status != MJ_OK) {
        return status;
    }
    double number = value->valuedouble;
    if (!isfinite(number) || number != floor(number)) {
        return mj_fail(error, MJ_ERR_FORMAT, "%s: %.17g is not a whole number", key, number);
    }
    /* Beyond 2^53 neighbours print alike, so the text is no longer known. */
    if (fabs(number) > (double)INT_MAX_EXACT || (int64_t)number < min || (int64_t)number > max) {
        return mj_fail(error, MJ_ERR_FORMAT, "%s: %.17g is out of range (%" PRId64 " to %" PRId64 ")", key, number, min,
                       max);
    }
    *out = (int64_t)number;
    return MJ_OK;
}

mj_status mj_json_read_number(const mj_json *object, const char *key, double *out, mj_error *error)
{
    mj_json *value = NULL;
    mj_status status = find(object, key, cJSON_IsNumber, "a number", &value, error);
    if (status == MJ_OK) {
        *out = value->valuedouble;
    }
    return status;
}

mj_status mj_json_read_bool(const mj_json *object, const char *key, bool *out, mj_error *error)
{
    mj_json *value = NULL;
    mj_status status = find(object, key, cJSON_IsBool, "true or false", &value, error);
    if (status == MJ_OK) {
        *out = cJSON_IsTrue(value);
    }
    return status;
}

mj_status mj_json_read_object(const mj_json *object, const char *key, mj_json **out, mj_error *error)
{
    mj_json *value = NULL;
    mj_status status = find(object, key, cJSON_IsObject, "an object", &value, error);
    if (status == MJ_OK) {
        *out = value;
    }
    return status;
}

mj_status mj_json_within(mj_error *error, mj_status status, const char *outer)
{
    if (error && status != MJ_OK) {
        char inner[sizeof error->text];
        memcpy(inner, error->text, sizeof inner);
        inner[sizeof inner - 1] = '\0';
        int written = snprintf(error->text, sizeof error->text, "%s%s", outer, inner);
        (void)written; /* a cut tail is still a message */
    }
    return status;
}

/* ---- Printing --------------------------------------------------------------------------------- */

/* cJSON indents by tabs and writes arrays in one line; tabs occur nowhere else in its output. */
static char *tabs_to_spaces(char *text)
{
    size_t bytes = strlen(text), tabs = 0, to = 0;
    for (size_t i = 0; i < bytes; i++) {
        tabs += text[i] == '\t';
    }
    char *spaced = malloc(bytes + tabs + 1);
    if (!spaced) {
        return NULL;
    }
    for (size_t i = 0; i < bytes; i++) {
        bool is_indent = text[i] == '\t' && (i == 0 || text[i - 1] == '\n' || text[i - 1] == '\t');
        if (text[i] == '\t') {
            spaced[to++] = ' ';
        }
        if (is_indent) {
            spaced[to++] = ' ';
        } else if (text[i] != '\t') {
            spaced[to++] = text[i];
        }
    }
    spaced[to] = '\0';
    return spaced;
}

char *mj_json_print(const mj_json *value, bool pretty)
{
    char *printed = !value ? NULL : pretty ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
    if (!printed || !pretty) {
        return printed;
    }
    char *spaced = tabs_to_spaces(printed);
    cJSON_free(printed);
    return spaced;
}
