/* cache_file.c: the bytes of a cache entry. */
#include "cache_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "store.h"

enum {
    MAGIC_BYTES = sizeof MJ_CACHE_MAGIC - 1,
    LENGTH_BYTES = 9, /* "%08x\n" */
    HASH_BYTES = MJ_SHA256_HEX - 1,
    HEADER_BYTES_MAX = 64 << 10,
    LOG_BYTES_MAX = 256 << 10, /* what a compiler says is kept up to here */
};

/* ORDER CACHE HEADER: the counts of a header, in one table for both directions. */
typedef struct count_row {
    const char *key;
    uint32_t *value;
} count_row;
#define COUNT_ROWS(entry) \
    { \
        {"regs_thread", &(entry)->compiled.attributes.regs_thread}, \
            {"local_bytes", &(entry)->compiled.attributes.local_bytes}, \
            {"static_smem_bytes", &(entry)->compiled.attributes.static_smem_bytes}, \
            {"threads_block_max", &(entry)->compiled.attributes.threads_block_max}, \
    }

static char *print_header(const mj_cache_entry *entry, size_t log_bytes)
{
    mj_cache_entry copy = *entry;
    const count_row counts[] = COUNT_ROWS(&copy);
    mj_json *header = mj_json_object();
    bool good = mj_json_add_string(header, "key", entry->key) &&
                mj_json_add_string(header, "compiler", entry->compiler) &&
                mj_json_add_string(header, "compile_target", entry->compile_target) &&
                mj_json_add_number(header, "compile_seconds", entry->compiled.compile_seconds) &&
                mj_json_add_int(header, "binary_bytes", (int64_t)entry->compiled.binary_bytes) &&
                mj_json_add_int(header, "log_bytes", (int64_t)log_bytes);
    for (size_t i = 0; good && i < sizeof counts / sizeof *counts; i++) {
        good = mj_json_add_int(header, counts[i].key, *counts[i].value) != NULL;
    }
    char *text = good ? mj_json_print(header, false) : NULL;
    mj_json_free(header);
    return text;
}

mj_status mj_cache_encode(const mj_cache_entry *entry, char **out, size_t *bytes, mj_error *error)
{
    const mj_compiled *compiled = &entry->compiled;
    size_t log_bytes = compiled->log ? strnlen(compiled->log, LOG_BYTES_MAX) : 0;
    if (!compiled->binary || compiled->binary_bytes == 0 ||
        compiled->binary_bytes > MJ_CACHE_FILE_BYTES_MAX - LOG_BYTES_MAX - HEADER_BYTES_MAX - 128) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "a binary of %zu bytes cannot be kept", compiled->binary_bytes);
    }
    char *header = print_header(entry, log_bytes);
    size_t header_bytes = header ? strlen(header) : 0;
    size_t total = MAGIC_BYTES + LENGTH_BYTES + header_bytes + compiled->binary_bytes + log_bytes + HASH_BYTES;
    char *data = header ? malloc(total + 1) : NULL;
    if (!data) {
        free(header);
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a cache entry");
    }
    char *at = data + snprintf(data, total + 1, "%s%08zx\n%s", MJ_CACHE_MAGIC, header_bytes, header);
    memcpy(at, compiled->binary, compiled->binary_bytes);
    at += compiled->binary_bytes;
    if (log_bytes) {
        memcpy(at, compiled->log, log_bytes);
        at += log_bytes;
    }
    mj_sha256_hex(data, (size_t)(at - data), at); /* writes a NUL too */
    free(header);
    *out = data;
    *bytes = total;
    return MJ_OK;
}

/* ---- Back ------------------------------------------------------------------------------------- */

static mj_status read_header(const mj_json *header, mj_cache_entry *out, int64_t *binary_bytes, int64_t *log_bytes,
                             mj_error *error)
{
    const count_row counts[] = COUNT_ROWS(out);
    mj_status status = mj_json_read_string(header, "key", out->key, sizeof out->key, error);
    if (status == MJ_OK) {
        status = mj_json_read_string(header, "compiler", out->compiler, sizeof out->compiler, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(header, "compile_target", out->compile_target, sizeof out->compile_target, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(header, "compile_seconds", &out->compiled.compile_seconds, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_int(header, "binary_bytes", 1, MJ_CACHE_FILE_BYTES_MAX, binary_bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_int(header, "log_bytes", 0, LOG_BYTES_MAX, log_bytes, error);
    }
    for (size_t i = 0; status == MJ_OK && i < sizeof counts / sizeof *counts; i++) {
        int64_t value = 0;
        status = mj_json_read_int(header, counts[i].key, 0, UINT32_MAX, &value, error);
        *counts[i].value = (uint32_t)value;
    }
    if (status == MJ_OK && !mj_is_sha256_hex(out->key)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "key: not 64 hex digits");
    }
    return status;
}

/* Magic, checksum and the header's length; the payload lies between header and hash. */
static mj_status check_frame(const char *data, size_t bytes, size_t *header_bytes, mj_error *error)
{
    char hash[MJ_SHA256_HEX], digits[LENGTH_BYTES];
    if (bytes >= MAGIC_BYTES && memcmp(data, MJ_CACHE_MAGIC, 5) == 0 && data[5] != MJ_CACHE_MAGIC[5] &&
        data[5] >= '0' && data[5] <= '9' && data[6] == '\n') {
        return mj_fail(error, MJ_ERR_VERSION, "cache entry of format %c", data[5]);
    }
    if (bytes < MAGIC_BYTES + LENGTH_BYTES + HASH_BYTES || memcmp(data, MJ_CACHE_MAGIC, MAGIC_BYTES) != 0) {
        return mj_fail(error, MJ_ERR_FORMAT, "not a cache entry");
    }
    mj_sha256_hex(data, bytes - HASH_BYTES, hash);
    if (memcmp(hash, data + bytes - HASH_BYTES, HASH_BYTES) != 0) {
        return mj_fail(error, MJ_ERR_FORMAT, "the checksum differs");
    }
    memcpy(digits, data + MAGIC_BYTES, LENGTH_BYTES);
    bool good = digits[LENGTH_BYTES - 1] == '\n';
    digits[LENGTH_BYTES - 1] = '\0';
    if (!good || strspn(digits, "0123456789abcdef") != LENGTH_BYTES - 1) {
        return mj_fail(error, MJ_ERR_FORMAT, "the header's length is no number");
    }
    *header_bytes = strtoul(digits, NULL, 16);
    if (*header_bytes > HEADER_BYTES_MAX || *header_bytes > bytes - MAGIC_BYTES - LENGTH_BYTES - HASH_BYTES) {
        return mj_fail(error, MJ_ERR_FORMAT, "the header is longer than the file");
    }
    return MJ_OK;
}

static mj_status copy_payload(const char *payload, size_t binary_bytes, size_t log_bytes, mj_compiled *out,
                              mj_error *error)
{
    out->binary = malloc(binary_bytes);
    out->log = malloc(log_bytes + 1);
    if (!out->binary || !out->log) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a cache entry");
    }
    memcpy(out->binary, payload, binary_bytes);
    memcpy(out->log, payload + binary_bytes, log_bytes);
    out->log[log_bytes] = '\0';
    out->binary_bytes = binary_bytes;
    return MJ_OK;
}

mj_status mj_cache_decode(const char *data, size_t bytes, mj_cache_entry *out, mj_error *error)
{
    mj_cache_entry entry = {0};
    mj_json *header = NULL;
    size_t header_bytes = 0;
    int64_t binary_bytes = 0, log_bytes = 0;
    mj_status status = check_frame(data, bytes, &header_bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    const char *payload = data + MAGIC_BYTES + LENGTH_BYTES + header_bytes;
    size_t payload_bytes = (size_t)(data + bytes - HASH_BYTES - payload);
    status = mj_json_parse(data + MAGIC_BYTES + LENGTH_BYTES, header_bytes, "cache entry", &header, error);
    if (status == MJ_OK) {
        status = read_header(header, &entry, &binary_bytes, &log_bytes, error);
    }
    if (status == MJ_OK && (uint64_t)binary_bytes + (uint64_t)log_bytes != payload_bytes) {
        status = mj_fail(error, MJ_ERR_FORMAT, "%zu bytes, but the header speaks of others", payload_bytes);
    }
    if (status == MJ_OK) {
        status = copy_payload(payload, (size_t)binary_bytes, (size_t)log_bytes, &entry.compiled, error);
    }
    mj_json_free(header);
    if (status != MJ_OK) {
        mj_cache_entry_free(&entry);
        return status;
    }
    entry.was_hit = true;
    *out = entry;
    return MJ_OK;
}
