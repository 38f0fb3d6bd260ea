/* json.h: the project's only door to cJSON (json.c). Values are owned by their root; free the root.
 * Readers are strict: a missing key, wrong type, fraction where an integer is due, or a number out of range is
 * MJ_ERR_FORMAT with the key's path in the text. Input is limited in size (64 MiB) and depth (64); NaN and Inf never parse. */
#ifndef MOEJIT_JSON_H
#define MOEJIT_JSON_H

#include "moejit_types.h"

typedef struct cJSON mj_json; /* opaque */

mj_status mj_json_parse(const char *text, size_t bytes, const char *file_name, mj_json **out, mj_error *error);
mj_status mj_json_parse_file(const char *path, mj_json **out, mj_error *error);
void mj_json_free(mj_json *root);

mj_json *mj_json_object(void);
mj_json *mj_json_array(void);
/* Adders return the added child, or NULL when out of memory (also when `object` is NULL: chains are checked once). */
mj_json *mj_json_add(mj_json *object, const char *key, mj_json *child); /* takes ownership, replaces an equal key */
void mj_json_remove(mj_json *object, const char *key);                  /* absent: nothing */
mj_json *mj_json_push(mj_json *array, mj_json *child);
mj_json *mj_json_add_string(mj_json *object, const char *key, const char *value);
mj_json *mj_json_add_int(mj_json *object, const char *key, int64_t value); /* |value| <= 2^53 */
/* From 10^15 on as decimal text: numbers are printed with 15 digits. */
mj_json *mj_json_add_u64(mj_json *object, const char *key, uint64_t value);
mj_json *mj_json_add_number(mj_json *object, const char *key, double value); /* non-finite: null */
mj_json *mj_json_add_bool(mj_json *object, const char *key, bool value);
mj_json *mj_json_new_string(const char *value);
mj_json *mj_json_new_int(int64_t value);
mj_json *mj_json_new_number(double value);
mj_json *mj_json_copy(const mj_json *value);

mj_json *mj_json_get(const mj_json *object, const char *key); /* NULL: absent; keys are case-sensitive */
bool mj_json_is_object(const mj_json *value);
bool mj_json_is_array(const mj_json *value);
bool mj_json_is_string(const mj_json *value);
bool mj_json_is_number(const mj_json *value);
bool mj_json_is_bool(const mj_json *value);
bool mj_json_is_null(const mj_json *value);
const char *mj_json_key(const mj_json *value); /* its name within its object */
size_t mj_json_count(const mj_json *container);
mj_json *mj_json_at(const mj_json *container, size_t index);
mj_json *mj_json_first(const mj_json *container);
mj_json *mj_json_next(const mj_json *child);
bool mj_json_value_bool(const mj_json *value);
double mj_json_value_number(const mj_json *value);
const char *mj_json_value_string(const mj_json *value);

/* Required keys. `out` is untouched on failure. */
mj_status mj_json_read_string(const mj_json *object, const char *key, char *out, size_t bytes, mj_error *error);
mj_status mj_json_read_int(const mj_json *object, const char *key, int64_t min, int64_t max, int64_t *out,
                           mj_error *error);
mj_status mj_json_read_number(const mj_json *object, const char *key, double *out, mj_error *error);
mj_status mj_json_read_bool(const mj_json *object, const char *key, bool *out, mj_error *error);
mj_status mj_json_read_object(const mj_json *object, const char *key, mj_json **out, mj_error *error);

/* Puts `outer` ("file: rows.16.") before the text of a failure, so that it names the whole path; returns `status`. */
mj_status mj_json_within(mj_error *error, mj_status status, const char *outer);

/* Malloc'ed text, keys in insertion order; `pretty` indents by two spaces. NULL when out of memory. */
char *mj_json_print(const mj_json *value, bool pretty);

/* A config as JSON: name -> value (manifest_json.c; manifests: store.h). */
mj_json *mj_config_to_json(const mj_config *config);
mj_status mj_config_from_json(const mj_json *value, mj_config *out, mj_error *error);

#endif
