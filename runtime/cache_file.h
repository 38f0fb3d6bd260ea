/* cache_file.h: one cache entry as bytes and back; no file system here. */
#ifndef MOEJIT_CACHE_FILE_H
#define MOEJIT_CACHE_FILE_H

#include "cache.h"

#define MJ_CACHE_MAGIC          "MJBIN1\n"
#define MJ_CACHE_FILE_BYTES_MAX ((size_t)256 << 20)

/* "MJBIN1\n", 8 hex digits of the header's length, "\n", header JSON, binary, log, 64 hex digits of the SHA-256 of all before.
 * `out` is malloc'ed. */
mj_status mj_cache_encode(const mj_cache_entry *entry, char **out, size_t *bytes, mj_error *error);
/* MJ_ERR_VERSION: an intact beginning of another format number; MJ_ERR_FORMAT: damage. */
mj_status mj_cache_decode(const char *data, size_t bytes, mj_cache_entry *out, mj_error *error);

#endif
