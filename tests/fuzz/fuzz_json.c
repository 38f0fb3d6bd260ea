/* fuzz_json.c: no text breaks the JSON reader; what it accepts prints to something it accepts again, with the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mj_json *root = NULL, *again = NULL;
    mj_error error = {0};
    mj_config config;
    if (mj_json_parse((const char *)data, size, "fuzz", &root, &error) != MJ_OK) {
        return error.text[0] ? 0 : (abort(), 0); /* a refusal says why */
    }
    char *text = mj_json_print(root, size % 2);
    if (!text || mj_json_parse(text, strlen(text), "again", &again, &error) != MJ_OK) {
        abort();
    }
    char *second = mj_json_print(again, size % 2);
    if (!second || strcmp(text, second) != 0) {
        abort();
    }
    (void)mj_config_from_json(root, &config, &error);
    free(text);
    free(second);
    mj_json_free(root);
    mj_json_free(again);
    return 0;
}
