/* fuzz_config_json.c: any bytes as config.json: a status and one line, never more. The first byte picks a prefix. */
#include <stdlib.h>
#include <string.h>

#include "config_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const prefixes[] = {NULL, "text_config", "a.b"};
    mj_config_scheme scheme;
    mj_model model;
    mj_error error = {MJ_OK, ""};
    if (size == 0) {
        return 0;
    }
    mj_status status = mj_config_json_parse((const char *)data + 1, size - 1, "config.json", prefixes[data[0] % 3],
                                            &model, &scheme, &error);
    bool good = status == MJ_OK ? model.top_k >= 1 && model.top_k <= model.expert_count && model.hidden >= 1 &&
                                      model.intermediate >= 1 && model.name[0]
                                : error.text[0] && !strchr(error.text, '\n');
    good = good && (scheme.why.status == MJ_OK ? !scheme.why.text[0] : scheme.why.text[0] && !scheme.name[0]) &&
           !strchr(scheme.why.text, '\n') && strlen(scheme.name) < sizeof scheme.name;
    if (!good) {
        abort();
    }
    return 0;
}
