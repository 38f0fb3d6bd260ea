/* Any text as a template, with the built-in templates to include. */
#include "gen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mj_files *files;
    static const mj_template_var vars[] = {
        {"symbol", "k", true}, {"elem", "bf16", true},       {"experts", "8", true},
        {"gated", "1", true},  {"activation", "silu", true}, {"split_k", "2", false},
    };
    if (!files && mj_files_open(NULL, &files, NULL) != MJ_OK) {
        __builtin_trap();
    }
    mj_strbuf out = {0};
    mj_error error = {0};
    mj_status status =
        mj_expand_text(files, "fuzz.tmpl", (const char *)data, size, vars, sizeof vars / sizeof vars[0], &out, &error);
    if ((status == MJ_OK) != (error.text[0] == '\0') || out.bytes > ((size_t)64 << 20)) {
        __builtin_trap();
    }
    mj_strbuf_free(&out);
    return 0;
}
