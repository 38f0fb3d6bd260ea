/* config_json.h: Hugging Face config.json -> the MoE layer it describes.
 *
 * Model families name the same five numbers differently; a table of key names serves them all, and
 * a second table holds what a config.json does not say (non-gated experts, biases, a clamped
 * activation). Weights and code are never read.
 */
#ifndef MOEJIT_CONFIG_JSON_H
#define MOEJIT_CONFIG_JSON_H

#include "gen.h"

/* How the file's weights are stored. why.status not MJ_OK: quantised in a way that gives no scheme (MJ_ERR_UNSUPPORTED: a format that
 * is not served, MJ_ERR_FORMAT: a value that cannot be meant); no reason to refuse the file where a scheme is asked for by name. */
typedef struct mj_config_scheme {
    char name[MJ_NAME_MAX]; /* a scheme of lua/quant with the same numbers, or "" */
    mj_error why;
} mj_config_scheme;

/* `path` is a file, or a folder holding config.json. `prefix` (may be NULL) is the key, with dots
 * to descend, of the object to read; without it the usual places are searched. `scheme` receives
 * what quantization_config says, else "bf16", "fp16" or "" (not said) by the dtype. MJ_ERR_FORMAT: one
 * line with file, key and what is wrong. MJ_ERR_NOT_FOUND: no such file. */
mj_status mj_config_json_read(const char *path, const char *prefix, mj_model *out, mj_config_scheme *scheme,
                              mj_error *error);
/* The same from memory; `file_name` is for messages. */
mj_status mj_config_json_parse(const char *text, size_t bytes, const char *file_name, const char *prefix, mj_model *out,
                               mj_config_scheme *scheme, mj_error *error);

#endif
