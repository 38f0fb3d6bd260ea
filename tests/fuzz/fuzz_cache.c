/* fuzz_cache.c: no bytes break the reader of cache entries. Every second input gets a right checksum first, to come past it. */
#include <stdlib.h>
#include <string.h>

#include "cache_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mj_cache_entry entry;
    mj_error error = {0};
    char *sealed = malloc(size + MJ_SHA256_HEX), *text = NULL;
    size_t bytes = 0;
    if (!sealed) {
        return 0;
    }
    memcpy(sealed, data, size);
    mj_sha256_hex(sealed, size, sealed + size);
    if (mj_cache_decode((const char *)data, size, &entry, &error) == MJ_OK) {
        mj_cache_entry_free(&entry);
    }
    if (mj_cache_decode(sealed, size + MJ_SHA256_HEX - 1, &entry, &error) == MJ_OK) {
        if (mj_cache_encode(&entry, &text, &bytes, &error) != MJ_OK) {
            abort();
        }
        mj_cache_entry_free(&entry);
        if (mj_cache_decode(text, bytes, &entry, &error) != MJ_OK) {
            abort();
        }
        mj_cache_entry_free(&entry);
        free(text);
    }
    free(sealed);
    return 0;
}
