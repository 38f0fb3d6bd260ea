/* json_scan.h: is this text strict JSON within the limits? Run before any tree is built, so that a parser sees good input only. */
#ifndef MOEJIT_JSON_SCAN_H
#define MOEJIT_JSON_SCAN_H

#include "moejit_types.h"

#define MJ_JSON_BYTES_MAX        ((size_t)64 << 20)
#define MJ_JSON_DEPTH_MAX        64
#define MJ_JSON_VALUES_MAX       1000000u /* a tree of them takes about 100 MB */
#define MJ_JSON_NUMBER_CHARS_MAX 60

/* RFC 8259 and nothing else: valid UTF-8, paired surrogates, no NUL (not even escaped), no control characters in strings,
 * numbers as the grammar has them and finite. MJ_ERR_FORMAT as "<file>:<line>: <what>", MJ_ERR_CAPACITY past a limit. */
mj_status mj_json_scan(const char *text, size_t bytes, const char *file_name, mj_error *error);

#endif
