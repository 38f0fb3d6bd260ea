/* fuzz_pack.c: a pack's table and a manifest, split at the first NUL byte, as mj_pack_register reads them. */
#include <stdlib.h>
#include <string.h>

#include "pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char binary[] = "binary";
    char sha256[MJ_SHA256_HEX];
    char *text = malloc(size + 2); /* two strings, both ended */
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    mj_sha256_hex(binary, sizeof binary, sha256);
    mj_pack_variant variants[3];
    for (size_t i = 0; i < 3; i++) {
        variants[i] = (mj_pack_variant){text + strlen(text) + 1, binary, sizeof binary, sha256};
    }
    if (strlen(text) == size) {
        variants[0].manifest_json = variants[1].manifest_json = variants[2].manifest_json = text;
    }
    mj_pack pack = {MJ_PACK_VERSION, 3, variants, text};
    mj_error error = {0};
    if (mj_pack_check(&pack, &error) != MJ_OK && !error.text[0]) {
        abort(); /* a refusal without a reason */
    }
    free(text);
    return 0;
}
