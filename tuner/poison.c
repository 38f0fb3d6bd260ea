/* poison.c: see poison.h. The edits are text put in front of the kernel and at the start of its body. */
#include "poison.h"

#include <string.h>

static const struct {
    const char *name, *head_device, *head_host, *body;
} kinds[MJ_POISON_COUNT] = {
    /* The first offset is always 0. A loop over a local variable, even a volatile one, NVRTC removes. */
    {"hang", "", "", "while (((const volatile mj_i32 *)A.expert_offsets)[0] == 0) { }"},
    {"illegal", "", "", "*(volatile mj_i32 *)(mj_u64)64 = 1;"},
    /* Just before the output, inside no object of ours but inside mapped memory: only a guard can tell. */
    {"oob", "", "", "if (mj_block() == 0 && mj_thread() == 0) { ((volatile char *)A.output)[-64] = 1; }"},
    {"nan", "", "", "if (mj_block() == 0) { return; }"}, /* its part of the output stays NaN */
    {"once", "static __device__ mj_i32 mj_poison_runs;\n", "static mj_i32 mj_poison_runs;\n",
     "if (mj_block() == 0) { mj_i32 mj_poison_now = mj_poison_runs; mj_block_sync(); "
     "if (mj_thread() == 0) { mj_poison_runs = mj_poison_now + 1; } if (mj_poison_now >= 1) { return; } }"},
};

const char *mj_poison_name(uint32_t index)
{
    return index < MJ_POISON_COUNT ? kinds[index].name : NULL;
}

mj_status mj_poison_source(const mj_kernel_source *sound, const char *kind, bool on_device, mj_strbuf *out,
                           mj_error *error)
{
    uint32_t index = 0;
    while (index < MJ_POISON_COUNT && strcmp(kinds[index].name, kind) != 0) {
        index++;
    }
    const char *entry = NULL; /* the last one: a first pass comes before it */
    for (const char *at = sound->text + sound->body_offset; (at = strstr(at, "\nMJ_ENTRY")) != NULL; at++) {
        entry = at;
    }
    const char *brace = entry ? strchr(entry, '{') : NULL;
    if (index == MJ_POISON_COUNT || !brace) {
        return mj_fail(error, MJ_ERR_NOT_FOUND, "poison %s: no such kind or no kernel entry", kind);
    }
    mj_strbuf_add(out, sound->text, (size_t)(entry + 1 - sound->text));
    const char *head = on_device ? kinds[index].head_device : kinds[index].head_host;
    mj_strbuf_add(out, head, strlen(head));
    mj_strbuf_add(out, entry + 1, (size_t)(brace + 1 - (entry + 1)));
    mj_strbuf_addf(out, "\n    %s\n", kinds[index].body);
    mj_strbuf_add(out, brace + 1, sound->bytes - (size_t)(brace + 1 - sound->text));
    return out->failed ? mj_fail(error, MJ_ERR_MEMORY, "poisoned source") : MJ_OK;
}
