/* journal.h: measurements, appended as they are taken, so that a killed tune resumes.
 *
 *   <state>/journal/<first 32 hex digits of SHA-256(key)>.jsonl, one record per line:
 *   {"crc":"1a2b3c4d","record":{...}}          crc: CRC-32 of the record's text
 *
 * The key is the text of all that a measurement depends on (problem, device identity, data files, seed, memory allowed). A line
 * that is torn or damaged is dropped, the lines around it count. A tune that ends normally appends an "end" record: what stands before it
 * is history and is not resumed from; so does a forced tune's "begin". Writing is best effort: a journal that cannot be
 * written costs the chance to resume, nothing else. */
#ifndef MOEJIT_JOURNAL_H
#define MOEJIT_JOURNAL_H

#include "json.h"
#include "moejit_tune.h"

typedef struct mj_journal mj_journal;

typedef struct mj_journal_key { /* what a record is about */
    mj_op op;
    uint32_t token_count;
    const char *routing, *family, *config, *variant; /* variant: "" or a test's poison */
} mj_journal_key;

typedef struct mj_journal_record {
    mj_reason reason;
    double time_us_median, time_us_spread;
    uint32_t sample_count;
    char detail[256];
} mj_journal_record;

/* `folder` is created. `fresh`: forget what an earlier tune left. A journal always opens, at worst in memory only;
 * `error` then says why and the status is not MJ_OK although *out is set (NULL only when out of memory). */
mj_status mj_journal_open(const char *folder, const char *key, bool fresh, mj_journal **out, mj_error *error);
/* Closes; `finished`: nothing is left to resume. */
void mj_journal_close(mj_journal *journal, bool finished);

/* A measurement an interrupted tune left. NULL: none. */
const mj_journal_record *mj_journal_find(const mj_journal *journal, const mj_journal_key *key);
mj_status mj_journal_add(mj_journal *journal, const mj_journal_key *key, const mj_journal_record *record,
                         mj_error *error);

uint32_t mj_journal_count(const mj_journal *journal);
/* Damaged lines seen while opening. */
uint32_t mj_journal_damaged(const mj_journal *journal);
const char *mj_journal_path(const mj_journal *journal);

/* Reads lines from memory into a journal that has no file (tests, fuzzing). */
mj_status mj_journal_parse(const char *text, size_t bytes, const char *key, mj_journal **out, mj_error *error);

#endif
