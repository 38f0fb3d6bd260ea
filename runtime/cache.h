/* cache.h: compiled binaries on disk, content-addressed, shared by processes. A damaged entry is a miss.
 *
 *   <cache_dir>/v1/<first two hex digits>/<key>.mjbin
 *
 * One file per entry:  magic "MJBIN1\n", header length, header JSON (key, compiler, target, attributes, sizes), binary, log,
 * SHA-256 of all before it. Written to a temporary in the same folder, synced, renamed. Folders are 0700. A cache that
 * cannot be written is used read-only with one warning; a missing home is tolerated. Entries are touched on use; when the
 * sum passes the cap the oldest-used go. Nothing waits for a lock: two writers of one key write the same bytes.
 */
#ifndef MOEJIT_CACHE_H
#define MOEJIT_CACHE_H

#include "backend.h"

typedef struct mj_cache mj_cache;

typedef struct mj_cache_entry { /* owned; mj_cache_entry_free */
    char key[MJ_SHA256_HEX];
    char compiler[96];
    char compile_target[MJ_NAME_MAX];
    mj_compiled compiled;
    bool was_hit;
} mj_cache_entry;

typedef struct mj_cache_stat {
    uint64_t entry_count, bytes, damaged_count;
} mj_cache_stat;

mj_status mj_cache_open(mj_context *context, const char *folder, uint64_t bytes_max, mj_cache **out, mj_error *error);
void mj_cache_close(mj_cache *cache);
/* MJ_ERR_NOT_FOUND for absent or damaged entries (damaged ones are removed). */
mj_status mj_cache_get(mj_cache *cache, const char *key, mj_cache_entry *out, mj_error *error);
mj_status mj_cache_put(mj_cache *cache, const mj_cache_entry *entry, mj_error *error);
void mj_cache_entry_free(mj_cache_entry *entry);
/* Lists entries: visit returns false to stop. */
mj_status mj_cache_list(mj_cache *cache,
                        bool (*visit)(void *user, const mj_cache_entry *header_only, uint64_t bytes, bool damaged),
                        void *user, mj_error *error);
/* Removes everything (max_bytes 0) or the oldest-used beyond max_bytes. */
mj_status mj_cache_trim(mj_cache *cache, uint64_t max_bytes, mj_cache_stat *removed, mj_error *error);
const char *mj_cache_folder(const mj_cache *cache);

#endif
