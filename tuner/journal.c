/* journal.c: see journal.h. */
#define _GNU_SOURCE
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gen.h"
#include "os.h"
#include "protocol.h"

#define JOURNAL_FORMAT    1
#define JOURNAL_BYTES_MAX (64u << 20)
#define RECORDS_MAX       1000000u

static const char line_head[] = "{\"crc\":\"";
static const char line_middle[] = "\",\"record\":";

typedef struct journal_entry {
    char *key; /* canonical text of mj_journal_key */
    mj_journal_record record;
} journal_entry;

struct mj_journal {
    int fd; /* -1: in memory only */
    char path[1100];
    char *key;
    uint32_t count, capacity, damaged;
    journal_entry *entries;
    uint32_t *table; /* hash table of entry index + 1; table_count is a power of two, at least twice count */
    uint32_t table_count;
};

static char *key_text(const mj_journal_key *key)
{
    mj_strbuf buffer = {0};
    mj_strbuf_addf(&buffer, "%s|%u|%s|%s|%s|%s", mj_op_name(key->op), key->token_count, key->routing, key->family,
                   key->config, key->variant ? key->variant : "");
    if (buffer.failed) {
        mj_strbuf_free(&buffer);
        return NULL;
    }
    return buffer.text;
}

static void forget(mj_journal *journal)
{
    for (uint32_t i = 0; i < journal->count; i++) {
        free(journal->entries[i].key);
    }
    journal->count = 0;
    if (journal->table) {
        memset(journal->table, 0, journal->table_count * sizeof(*journal->table));
    }
}

/* The table's place of `key`: where it is, or the empty one where it would go. */
static uint32_t *place_of(const mj_journal *journal, const char *key)
{
    uint32_t at = mj_crc32(key, strlen(key));
    for (;; at++) {
        uint32_t *place = &journal->table[at & (journal->table_count - 1)];
        if (*place == 0 || strcmp(journal->entries[*place - 1].key, key) == 0) {
            return place;
        }
    }
}

static mj_status grow(mj_journal *journal, mj_error *error)
{
    uint32_t capacity = journal->capacity ? 2 * journal->capacity : 64;
    journal_entry *entries = capacity <= RECORDS_MAX ? realloc(journal->entries, capacity * sizeof(*entries)) : NULL;
    journal->entries = entries ? entries : journal->entries;
    uint32_t *table = entries ? calloc(2ull * capacity, sizeof(*table)) : NULL;
    if (!table) {
        return mj_fail(error, MJ_ERR_MEMORY, "journal of %u records", capacity);
    }
    free(journal->table);
    journal->table = table;
    journal->table_count = 2 * capacity;
    journal->capacity = capacity;
    for (uint32_t i = 0; i < journal->count; i++) {
        *place_of(journal, journal->entries[i].key) = i + 1;
    }
    return MJ_OK;
}

/* Takes `key`. A later record about the same thing replaces the earlier. */
static mj_status remember(mj_journal *journal, char *key, const mj_journal_record *record, mj_error *error)
{
    mj_status status = journal->count == journal->capacity ? grow(journal, error) : MJ_OK;
    if (status != MJ_OK) {
        free(key);
        return status;
    }
    uint32_t *place = place_of(journal, key);
    if (*place) {
        journal->entries[*place - 1].record = *record;
        free(key);
        return MJ_OK;
    }
    journal->entries[journal->count++] = (journal_entry){.key = key, .record = *record};
    *place = journal->count;
    return MJ_OK;
}

/* ---- Reading ---- */
static mj_status parse_reason(const mj_json *record, mj_reason *out)
{
    char text[64];
    mj_status status = mj_json_read_string(record, "reason", text, sizeof(text), NULL);
    for (int i = 0; status == MJ_OK && i < MJ_REASON_COUNT; i++) {
        if (strcmp(text, mj_reason_text((mj_reason)i)) == 0) {
            *out = (mj_reason)i;
            return MJ_OK;
        }
    }
    return MJ_ERR_FORMAT;
}

static mj_status read_measurement(mj_journal *journal, const mj_json *json, mj_error *error)
{
    mj_journal_record record = {0};
    char what[2048];
    int64_t samples = 0;
    mj_status status = mj_json_read_string(json, "what", what, sizeof(what), error);
    if (status == MJ_OK) {
        status = parse_reason(json, &record.reason);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(json, "time_us_median", &record.time_us_median, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(json, "time_us_spread", &record.time_us_spread, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_int(json, "samples", 0, 1000000000, &samples, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(json, "detail", record.detail, sizeof(record.detail), error);
    }
    bool timed = record.reason == MJ_REASON_NONE || record.reason == MJ_REASON_SLOW;
    if (status == MJ_OK && (record.time_us_median < 0 || record.time_us_spread < 0 ||
                            (timed && (record.time_us_median == 0 || samples == 0)))) {
        status = MJ_ERR_FORMAT;
    }
    if (status != MJ_OK) {
        return status;
    }
    record.sample_count = (uint32_t)samples;
    char *key = strdup(what);
    return key ? remember(journal, key, &record, error) : mj_fail(error, MJ_ERR_MEMORY, "journal record");
}

/* Damaged lines are counted, never fatal: false only when out of memory. */
static bool read_line(mj_journal *journal, const char *line, size_t bytes)
{
    size_t head = sizeof(line_head) - 1, middle = sizeof(line_middle) - 1;
    char kind[24], key[MJ_SHA256_HEX], crc[9];
    mj_json *json = NULL;
    mj_status status = MJ_ERR_FORMAT;
    if (bytes < head + 8 + middle + 3 || memcmp(line, line_head, head) != 0 ||
        memcmp(line + head + 8, line_middle, middle) != 0 || line[bytes - 1] != '}') {
        goto done;
    }
    const char *payload = line + head + 8 + middle;
    size_t payload_bytes = (size_t)(line + bytes - 1 - payload);
    snprintf(crc, sizeof(crc), "%08x", mj_crc32(payload, payload_bytes));
    if (memcmp(crc, line + head, 8) != 0 || mj_json_parse(payload, payload_bytes, "journal", &json, NULL) != MJ_OK ||
        mj_json_read_string(json, "kind", kind, sizeof(kind), NULL) != MJ_OK) {
        goto done;
    }
    if (strcmp(kind, "measured") == 0) {
        status = read_measurement(journal, json, NULL);
    } else if (strcmp(kind, "begin") == 0) {
        int64_t format = 0;
        char want[MJ_SHA256_HEX];
        bool fresh = true;
        mj_sha256_hex(journal->key, strlen(journal->key), want);
        if (mj_json_read_string(json, "key", key, sizeof(key), NULL) == MJ_OK && strcmp(key, want) == 0 &&
            mj_json_read_int(json, "format", JOURNAL_FORMAT, JOURNAL_FORMAT, &format, NULL) == MJ_OK &&
            mj_json_read_bool(json, "fresh", &fresh, NULL) == MJ_OK) {
            status = MJ_OK;
        }
        if (fresh || status != MJ_OK) { /* somebody else's records, or meant to be forgotten */
            forget(journal);
        }
    } else if (strcmp(kind, "end") == 0) {
        forget(journal);
        status = MJ_OK;
    }
done:
    mj_json_free(json);
    journal->damaged += status != MJ_OK;
    return status != MJ_ERR_MEMORY;
}

static mj_status read_all(mj_journal *journal, const char *text, size_t bytes, mj_error *error)
{
    size_t at = 0;
    while (at < bytes) {
        const char *end = memchr(text + at, '\n', bytes - at);
        end = end ? end
                  : text + bytes; /* torn: the writer died in it; the checksum says whether all but the end is there */
        if (!read_line(journal, text + at, (size_t)(end - text) - at)) {
            return mj_fail(error, MJ_ERR_MEMORY, "reading the journal");
        }
        at = (size_t)(end - text) + 1;
    }
    return MJ_OK;
}

/* ---- Writing ---- */
static mj_status append(mj_journal *journal, mj_json *record, mj_error *error)
{
    char *payload = record ? mj_json_print(record, false) : NULL;
    mj_strbuf line = {0};
    mj_status status = MJ_OK;
    if (!payload) {
        status = mj_fail(error, MJ_ERR_MEMORY, "a journal record");
    } else if (journal->fd >= 0) {
        mj_strbuf_addf(&line, "%s%08x%s", line_head, mj_crc32(payload, strlen(payload)), line_middle);
        mj_strbuf_add(&line, payload, strlen(payload));
        mj_strbuf_add(&line, "}\n", 2);
        status = line.failed ? mj_fail(error, MJ_ERR_MEMORY, "a journal record")
                             : mj_os_append(journal->fd, line.text, line.bytes, error);
    }
    mj_strbuf_free(&line);
    free(payload);
    mj_json_free(record);
    return status;
}

static mj_status append_begin(mj_journal *journal, bool fresh, mj_error *error)
{
    char hash[MJ_SHA256_HEX];
    mj_sha256_hex(journal->key, strlen(journal->key), hash);
    mj_json *record = mj_json_object();
    mj_json_add_string(record, "kind", "begin");
    mj_json_add_int(record, "format", JOURNAL_FORMAT);
    mj_json_add_bool(record, "fresh", fresh);
    mj_json_add_string(record, "key", hash);
    mj_json_add_string(record, "about", journal->key);
    return append(journal, record, error);
}

static mj_status open_file(mj_journal *journal, const char *folder, mj_error *error)
{
    char hash[MJ_SHA256_HEX], name[48];
    mj_sha256_hex(journal->key, strlen(journal->key), hash);
    snprintf(name, sizeof(name), "%.32s.jsonl", hash);
    mj_status status = mj_os_make_folder(folder, error);
    if (status == MJ_OK) {
        status = mj_os_join(journal->path, sizeof(journal->path), folder, name, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    char *text = NULL;
    size_t bytes = 0;
    status = mj_os_read_file(journal->path, JOURNAL_BYTES_MAX, &text, &bytes, error);
    if (status == MJ_ERR_CAPACITY) { /* years of history: start over */
        unlink(journal->path);
        status = MJ_OK;
    } else if (status == MJ_OK) {
        status = read_all(journal, text, bytes, error);
    }
    if (status == MJ_ERR_MEMORY) {
        free(text);
        return status;
    }
    journal->fd = open(journal->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    status = MJ_OK;
    if (journal->fd < 0) {
        status = mj_fail(error, MJ_ERR_IO, "%s: %s", journal->path, strerror(errno));
    } else if (bytes > 0 && text[bytes - 1] != '\n') {
        status = mj_os_append(journal->fd, "\n", 1, error); /* the torn line stays alone */
    }
    free(text);
    return status;
}

static mj_journal *new_journal(const char *key)
{
    mj_journal *journal = calloc(1, sizeof(*journal));
    if (journal) {
        journal->fd = -1;
        journal->key = strdup(key);
        if (!journal->key) {
            free(journal);
            journal = NULL;
        }
    }
    return journal;
}

mj_status mj_journal_open(const char *folder, const char *key, bool fresh, mj_journal **out, mj_error *error)
{
    *out = new_journal(key);
    if (!*out) {
        return mj_fail(error, MJ_ERR_MEMORY, "journal");
    }
    mj_journal *journal = *out;
    mj_status status = open_file(journal, folder, error);
    if (fresh) {
        forget(journal);
    }
    if (status == MJ_OK) {
        status = append_begin(journal, fresh, error);
    }
    if (status != MJ_OK && journal->fd >= 0) {
        close(journal->fd);
        journal->fd = -1;
    }
    return status;
}

void mj_journal_close(mj_journal *journal, bool finished)
{
    if (!journal) {
        return;
    }
    if (finished && journal->fd >= 0) {
        mj_json *record = mj_json_object();
        mj_json_add_string(record, "kind", "end");
        append(journal, record, NULL); /* lost: the next tune reuses measurements that are still true */
    }
    if (journal->fd >= 0) {
        close(journal->fd);
    }
    forget(journal);
    free(journal->entries);
    free(journal->table);
    free(journal->key);
    free(journal);
}

const mj_journal_record *mj_journal_find(const mj_journal *journal, const mj_journal_key *key)
{
    char *text = key_text(key);
    uint32_t place = text && journal->count > 0 ? *place_of(journal, text) : 0;
    free(text);
    return place ? &journal->entries[place - 1].record : NULL;
}

mj_status mj_journal_add(mj_journal *journal, const mj_journal_key *key, const mj_journal_record *record,
                         mj_error *error)
{
    char *text = key_text(key);
    if (!text) {
        return mj_fail(error, MJ_ERR_MEMORY, "a journal record");
    }
    mj_json *json = mj_json_object();
    mj_json_add_string(json, "kind", "measured");
    mj_json_add_string(json, "what", text);
    mj_json_add_string(json, "reason", mj_reason_text(record->reason));
    mj_json_add_number(json, "time_us_median", record->time_us_median);
    mj_json_add_number(json, "time_us_spread", record->time_us_spread);
    mj_json_add_int(json, "samples", record->sample_count);
    mj_json_add_string(json, "detail", record->detail);
    mj_status status = append(journal, json, error);
    if (status != MJ_OK && journal->fd >= 0) {
        close(journal->fd); /* said once by the caller; a journal with a hole would be worse than none */
        journal->fd = -1;
    }
    mj_status kept = remember(journal, text, record, status == MJ_OK ? error : NULL);
    return status == MJ_OK ? kept : status;
}

uint32_t mj_journal_count(const mj_journal *journal)
{
    return journal->count;
}

uint32_t mj_journal_damaged(const mj_journal *journal)
{
    return journal->damaged;
}

const char *mj_journal_path(const mj_journal *journal)
{
    return journal->path;
}

mj_status mj_journal_parse(const char *text, size_t bytes, const char *key, mj_journal **out, mj_error *error)
{
    *out = new_journal(key);
    if (!*out) {
        return mj_fail(error, MJ_ERR_MEMORY, "journal");
    }
    mj_status status = read_all(*out, text, bytes, error);
    if (status != MJ_OK) {
        mj_journal_close(*out, false);
        *out = NULL;
    }
    return status;
}
