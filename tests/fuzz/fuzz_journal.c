/* fuzz_journal.c: any bytes as a journal, also with each line given its right checksum, so that the fuzzer gets past it.
 * Whatever is accepted has a reason in range and, if it was timed, a time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen.h"
#include "journal.h"
#include "protocol.h"

static void parse(const char *text, size_t bytes)
{
    mj_journal *journal = NULL;
    static const mj_journal_key key = {MJ_OP_GEMM1, 1, "uniform", "mma", "tile_m=16", ""};
    if (mj_journal_parse(text, bytes, "key", &journal, NULL) != MJ_OK) {
        return;
    }
    const mj_journal_record *record = mj_journal_find(journal, &key);
    if (record) {
        bool timed = record->reason == MJ_REASON_NONE || record->reason == MJ_REASON_SLOW;
        if ((unsigned)record->reason >= MJ_REASON_COUNT || !isfinite(record->time_us_median) ||
            (timed && record->time_us_median <= 0)) {
            abort();
        }
    }
    mj_journal_close(journal, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mj_strbuf sound = {0};
    parse((const char *)data, size);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t bytes = end ? (size_t)(end - data) - at : size - at;
        mj_strbuf_addf(&sound, "{\"crc\":\"%08x\",\"record\":", mj_crc32(data + at, bytes));
        mj_strbuf_add(&sound, (const char *)data + at, bytes);
        mj_strbuf_add(&sound, "}\n", 2);
        at += bytes + 1;
    }
    if (!sound.failed && sound.text) {
        parse(sound.text, sound.bytes);
    }
    mj_strbuf_free(&sound);
    return 0;
}
