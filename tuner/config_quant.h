/* config_quant.h: a config.json's quantization_config -> the scheme of lua/quant with the same numbers. */
#ifndef MOEJIT_CONFIG_QUANT_H
#define MOEJIT_CONFIG_QUANT_H

#include "config_json.h"
#include "json.h"

/* `root`: the file, `half`: "bf16", "fp16" or "", what the file's 16-bit numbers are. false: no quantised weights, nothing
 * is written. `note` gets what a scheme's name does not say, e.g. that weights must be packed anew. */
bool mj_config_quant_read(const mj_json *root, const char *half, mj_config_scheme *out, char *note, size_t note_bytes);

#endif
