/* fuzz_store.c: no text breaks the store's reader; what it accepts is written to something it reads again, with the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mj_store_file file, again;
    mj_error error = {0};
    if (mj_store_parse((const char *)data, size, "fuzz", &file, &error) != MJ_OK) {
        return error.text[0] && !file.rows ? 0 : (abort(), 0);
    }
    char *text = mj_store_print(&file);
    if (!text || mj_store_parse(text, strlen(text), "again", &again, &error) != MJ_OK) {
        abort();
    }
    char *second = mj_store_print(&again);
    if (!second || strcmp(text, second) != 0 || file.row_count != again.row_count) {
        abort();
    }
    free(text);
    free(second);
    mj_store_file_free(&file);
    mj_store_file_free(&again);
    return 0;
}
