/* pack_writer.c: writes packs (pack.h) as a folder and as one C file. */
#include "pack_writer.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "pack.h"

enum { BYTES_PER_LINE = 16, C_NAME_MAX = 96 };

typedef struct written { /* one binary of the pack */
    const mj_pack_entry *entry;
    char sha256[MJ_SHA256_HEX];
    char stem[96];       /* file name without its ending */
    const char *ending;  /* of the binary */
    char *manifest_json; /* from mj_json_print */
} written;

typedef struct writer {
    mj_context *context;
    const mj_pack_contents *contents;
    const char *folder;
    char c_name[C_NAME_MAX];
    uint32_t count;
    written *items;
    uint32_t *item_of; /* entry, counted over all targets -> item */
} writer;

/* ---- What is to be written ---- */

static mj_status check_entry(const mj_pack_target *target, uint32_t index, const char *problem, mj_error *error)
{
    const mj_pack_entry *entry = &target->entries[index];
    char text[256];
    if (!entry->manifest || !entry->binary || !entry->binary_bytes || entry->op < 0 || entry->op > MJ_OP_COMBINE ||
        entry->manifest->op != entry->op || mj_op_is_gemm(entry->op) != (entry->token_count > 0)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "pack entry %" PRIu32 " is not a kernel of a layer", index);
    }
    mj_status status = mj_problem_print(&entry->manifest->problem, text, sizeof text, error);
    if (status != MJ_OK) {
        return status;
    }
    if (strcmp(text, problem) != 0 || strcmp(entry->manifest->arch, target->arch) != 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "pack entry %" PRIu32 " is for %s on %s", index, text,
                       entry->manifest->arch);
    }
    for (uint32_t i = 0; i < index; i++) {
        if (target->entries[i].op == entry->op && target->entries[i].token_count == entry->token_count) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "pack: %s M=%" PRIu32 " is there twice", mj_op_name(entry->op),
                           entry->token_count);
        }
    }
    return MJ_OK;
}

static mj_status check_target(const mj_pack_contents *contents, uint32_t index, const char *problem, mj_error *error)
{
    const mj_pack_target *target = &contents->targets[index];
    bool has_op[MJ_OP_COUNT] = {false}, needs_quantise = false;
    mj_status status = MJ_OK;
    if (!target->arch || !target->compiler || !target->entries) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "pack: arch, compiler or entries of a target missing");
    }
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(contents->targets[i].arch, target->arch) == 0) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "pack: %s is there twice", target->arch);
        }
    }
    for (uint32_t i = 0; status == MJ_OK && i < target->entry_count; i++) {
        status = check_entry(target, i, problem, error);
        if (status == MJ_OK) {
            has_op[target->entries[i].op] = true;
            needs_quantise |= target->entries[i].manifest->needed_args >> MJ_ARG_INPUT_SCALES & 1;
        }
    }
    for (uint32_t op = MJ_OP_TABLES; status == MJ_OK && op <= MJ_OP_COMBINE; op++) {
        bool quantise = op == MJ_OP_QUANTISE1 || op == MJ_OP_QUANTISE2;
        if (!has_op[op] && (!mj_op_is_optional((mj_op)op) || (quantise && needs_quantise))) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "pack: no kernel for %s on %s", mj_op_name((mj_op)op), target->arch);
        }
    }
    return status;
}

/* The entries of all targets. */
static uint32_t count_entries(const mj_pack_contents *contents)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < contents->target_count && count <= MJ_PACK_VARIANTS_MAX; i++) {
        uint32_t more = contents->targets[i].entry_count;
        count += more < MJ_PACK_VARIANTS_MAX ? more : MJ_PACK_VARIANTS_MAX + 1;
    }
    return count;
}

static mj_status check_contents(const mj_pack_contents *contents, mj_error *error)
{
    char problem[256];
    if (!contents->name || !contents->name[0] || !contents->problem || !contents->targets ||
        contents->target_count == 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "pack: name, problem or targets missing");
    }
    if (contents->target_count > MJ_PACK_TARGETS_MAX || count_entries(contents) > MJ_PACK_VARIANTS_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "a pack holds at most %d archs and %d kernels", MJ_PACK_TARGETS_MAX,
                       MJ_PACK_VARIANTS_MAX);
    }
    mj_status status = mj_problem_print(contents->problem, problem, sizeof problem, error);
    for (uint32_t i = 0; status == MJ_OK && i < contents->target_count; i++) {
        status = check_target(contents, i, problem, error);
    }
    return status;
}

static const char *ending_of(const char *arch)
{
    return strncmp(arch, "sm_", 3) == 0 ? "cubin" : strncmp(arch, "gfx", 3) == 0 ? "co" : "so";
}

/* `entry_index`: over all targets. */
static mj_status add_item(writer *w, const mj_pack_entry *entry, uint32_t entry_index, mj_error *error)
{
    written *item = &w->items[w->count];
    mj_sha256_hex(entry->binary, entry->binary_bytes, item->sha256);
    for (uint32_t i = 0; i < w->count; i++) {
        if (strcmp(w->items[i].sha256, item->sha256) == 0 && w->items[i].entry->op == entry->op &&
            strcmp(w->items[i].entry->manifest->arch, entry->manifest->arch) == 0) {
            w->item_of[entry_index] = i;
            return MJ_OK;
        }
    }
    mj_json *manifest = mj_manifest_to_json(entry->manifest);
    item->manifest_json = manifest ? mj_json_print(manifest, true) : NULL;
    mj_json_free(manifest);
    if (!item->manifest_json) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a manifest");
    }
    item->entry = entry;
    item->ending = ending_of(entry->manifest->arch);
    snprintf(item->stem, sizeof item->stem, "%03" PRIu32 "_%s_%s_%s", w->count, entry->manifest->arch,
             mj_op_name(entry->op), entry->manifest->family);
    w->item_of[entry_index] = w->count++;
    return MJ_OK;
}

/* ---- pack.json ---- */

typedef struct target_place { /* a target, and where its entries begin among those of all */
    const mj_pack_target *target;
    uint32_t first;
} target_place;

static bool add_use(mj_json *group, const writer *w, target_place at, uint32_t entry_index)
{
    const mj_pack_entry *entry = &at.target->entries[entry_index];
    mj_json *use = mj_json_add(group, mj_op_name(entry->op), mj_json_object());
    return mj_json_add_int(use, "variant", w->item_of[at.first + entry_index]) &&
           mj_json_add_bool(use, "verified", entry->verified && at.target->identity) &&
           mj_json_add_number(use, "time_us_median", entry->time_us_median) &&
           (entry->instead_us <= 0 || mj_json_add_number(use, "instead_us", entry->instead_us));
}

static bool add_files(mj_json *root, const writer *w)
{
    mj_json *files = mj_json_add(root, "files", mj_json_array());
    bool added = files != NULL;
    for (uint32_t i = 0; added && i < w->count; i++) {
        char name[112];
        mj_json *file = mj_json_push(files, mj_json_object());
        snprintf(name, sizeof name, "%s.json", w->items[i].stem);
        added = mj_json_add_string(file, "manifest", name);
        snprintf(name, sizeof name, "%s.%s", w->items[i].stem, w->items[i].ending);
        added =
            added && mj_json_add_string(file, "binary", name) && mj_json_add_string(file, "sha256", w->items[i].sha256);
    }
    return added;
}

/* Rows in ascending order of tokens whatever the entries' order is. */
static bool add_rows(mj_json *root, const writer *w, target_place at)
{
    const mj_pack_target *target = at.target;
    mj_json *ops = mj_json_add(root, "ops", mj_json_object());
    mj_json *rows = mj_json_add(root, "rows", mj_json_object());
    bool added = ops && rows;
    for (uint32_t i = 0; added && i < target->entry_count; i++) {
        if (target->entries[i].token_count == 0) {
            added = add_use(ops, w, at, i);
        }
    }
    uint32_t done = 0;
    while (added) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < target->entry_count; i++) {
            uint32_t tokens = target->entries[i].token_count;
            next = tokens > done && tokens < next ? tokens : next;
        }
        if (next == UINT32_MAX) {
            break;
        }
        char key[16];
        snprintf(key, sizeof key, "%" PRIu32, next);
        mj_json *row = mj_json_add(rows, key, mj_json_object());
        for (uint32_t i = 0; added && i < target->entry_count; i++) {
            if (target->entries[i].token_count == next) {
                added = add_use(row, w, at, i);
            }
        }
        done = next;
    }
    return added;
}

static bool add_targets(mj_json *root, const writer *w)
{
    mj_json *list = mj_json_add(root, "targets", mj_json_array());
    target_place at = {.first = 0};
    bool added = list != NULL;
    for (uint32_t i = 0; added && i < w->contents->target_count; i++) {
        at.target = &w->contents->targets[i];
        const mj_identity *identity = at.target->identity;
        mj_json *to = mj_json_push(list, mj_json_object());
        added = mj_json_add_string(to, "arch", at.target->arch) &&
                mj_json_add_string(to, "compiler", at.target->compiler) &&
                (!identity || mj_json_add(to, "identity", mj_identity_to_json(identity))) && add_rows(to, w, at);
        at.first += at.target->entry_count;
    }
    return added;
}

static char *print_table(const writer *w)
{
    char problem[256], source[256];
    mj_json *root = mj_json_object();
    snprintf(source, sizeof source, "moejit_pack_%s.c", w->c_name);
    bool added = mj_problem_print(w->contents->problem, problem, sizeof problem, NULL) == MJ_OK &&
                 mj_json_add_int(root, "moejit_pack", MJ_PACK_VERSION) &&
                 mj_json_add_int(root, "generator", MJ_GENERATOR_VERSION) &&
                 mj_json_add_string(root, "problem", problem) && mj_json_add_string(root, "source", source) &&
                 add_targets(root, w) && add_files(root, w);
    char *text = added ? mj_json_print(root, true) : NULL;
    mj_json_free(root);
    return text;
}

/* ---- The C file ---- */

static void c_string(mj_strbuf *out, const char *text)
{
    mj_strbuf_addf(out, "    \"");
    for (const char *at = text; *at; at++) {
        if (*at == '\n') {
            mj_strbuf_addf(out, "\\n\"\n    \"");
        } else if (*at == '"' || *at == '\\') {
            mj_strbuf_addf(out, "\\%c", *at);
        } else {
            mj_strbuf_add(out, at, 1);
        }
    }
    mj_strbuf_addf(out, "\"");
}

static void c_bytes(mj_strbuf *out, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    char line[BYTES_PER_LINE * 5 + 1];
    for (size_t i = 0; i < count; i += BYTES_PER_LINE) {
        size_t at = 0;
        for (size_t j = i; j < count && j < i + BYTES_PER_LINE; j++) {
            memcpy(line + at, "0x", 2);
            line[at + 2] = digits[bytes[j] >> 4];
            line[at + 3] = digits[bytes[j] & 15];
            line[at + 4] = ',';
            at += 5;
        }
        line[at++] = '\n';
        mj_strbuf_add(out, line, at);
    }
}

/* A comment must not end before its end. */
static void c_comment_text(mj_strbuf *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        bool closes = at[0] == '*' && at[1] == '/';
        mj_strbuf_add(out, *at == '\n' ? " " : at, 1);
        if (closes) {
            mj_strbuf_add(out, " ", 1);
        }
    }
}

static mj_status print_c(const writer *w, const char *table, mj_strbuf *out, mj_error *error)
{
    mj_strbuf_addf(out, "/* Generated by moejit %s; do not edit.", MOEJIT_VERSION_STRING);
    if (w->contents->command) {
        mj_strbuf_addf(out, " Recreate with:\n *     ");
        c_comment_text(out, w->contents->command);
        mj_strbuf_addf(out, "\n");
    }
    mj_strbuf_addf(out,
                   " * Use:   const mj_pack *moejit_pack_%s(void);\n"
                   " *        mj_pack_register(context, moejit_pack_%s(), &error);\n */\n"
                   "#include \"moejit.h\"\n\nconst mj_pack *moejit_pack_%s(void);\n",
                   w->c_name, w->c_name, w->c_name);
    for (uint32_t i = 0; i < w->count; i++) {
        const mj_pack_entry *entry = w->items[i].entry;
        mj_strbuf_addf(out, "\n/* %s */\n_Alignas(64) static const unsigned char binary_%" PRIu32 "[] = {\n",
                       w->items[i].stem, i);
        c_bytes(out, entry->binary, entry->binary_bytes);
        mj_strbuf_addf(out, "};\nstatic const char manifest_%" PRIu32 "[] =\n", i);
        c_string(out, w->items[i].manifest_json);
        mj_strbuf_addf(out, ";\n");
    }
    mj_strbuf_addf(out, "\nstatic const char table[] =\n");
    c_string(out, table);
    mj_strbuf_addf(out, ";\n\nstatic const mj_pack_variant variants[] = {\n");
    for (uint32_t i = 0; i < w->count; i++) {
        mj_strbuf_addf(out,
                       "    {manifest_%" PRIu32 ", binary_%" PRIu32 ", sizeof binary_%" PRIu32 ",\n     \"%s\"},\n", i,
                       i, i, w->items[i].sha256);
    }
    mj_strbuf_addf(out,
                   "};\nstatic const mj_pack pack = {%d, %" PRIu32 ", variants, table};\n\n"
                   "const mj_pack *moejit_pack_%s(void)\n{\n    return &pack;\n}\n",
                   MJ_PACK_VERSION, w->count, w->c_name);
    return out->failed ? mj_fail(error, MJ_ERR_MEMORY, "the pack's C file is too large") : MJ_OK;
}

/* ---- Files ---- */

static mj_status write_named(const writer *w, const char *stem, const char *ending, const void *data, size_t bytes,
                             mj_error *error)
{
    char path[1024], name[160];
    snprintf(name, sizeof name, "%s.%s", stem, ending);
    mj_status status = mj_os_join(path, sizeof path, w->folder, name, error);
    return status == MJ_OK ? mj_os_write_file_atomic(path, data, bytes, 0644, error) : status;
}

static mj_status write_files(const writer *w, mj_error *error)
{
    char stem[C_NAME_MAX + 16];
    mj_strbuf c_file = {0};
    mj_status status = MJ_OK;
    char *table = print_table(w);
    if (!table) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for pack.json");
    }
    for (uint32_t i = 0; status == MJ_OK && i < w->count; i++) {
        const written *item = &w->items[i];
        status = write_named(w, item->stem, item->ending, item->entry->binary, item->entry->binary_bytes, error);
        if (status == MJ_OK) {
            status = write_named(w, item->stem, "json", item->manifest_json, strlen(item->manifest_json), error);
        }
    }
    if (status == MJ_OK) {
        status = print_c(w, table, &c_file, error);
    }
    if (status == MJ_OK) {
        snprintf(stem, sizeof stem, "moejit_pack_%s", w->c_name);
        status = write_named(w, stem, "c", c_file.text, c_file.bytes, error);
    }
    if (status == MJ_OK) { /* last: a folder without it is no pack */
        status = write_named(w, "pack", "json", table, strlen(table), error);
    }
    mj_strbuf_free(&c_file);
    free(table);
    return status;
}

static void name_pack(writer *w)
{
    snprintf(w->c_name, sizeof w->c_name, "%s", w->contents->name);
    for (char *at = w->c_name; *at; at++) {
        if (!isalnum((unsigned char)*at)) {
            *at = '_';
        }
    }
}

mj_status mj_pack_write(mj_context *context, const mj_pack_contents *contents, const char *folder, mj_error *error)
{
    writer w = {.context = context, .contents = contents, .folder = folder};
    if (!context || !contents || !folder) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "context, contents or folder is null");
    }
    mj_status status = check_contents(contents, error);
    if (status != MJ_OK) {
        return status;
    }
    name_pack(&w);
    w.items = mj_alloc(context, count_entries(contents) * sizeof *w.items);
    w.item_of = mj_alloc(context, count_entries(contents) * sizeof *w.item_of);
    if (!w.items || !w.item_of) {
        status = mj_fail(error, MJ_ERR_MEMORY, "no memory to write a pack");
    }
    for (uint32_t i = 0, at = 0; status == MJ_OK && i < contents->target_count; i++) {
        const mj_pack_target *target = &contents->targets[i];
        for (uint32_t k = 0; status == MJ_OK && k < target->entry_count; k++) {
            status = add_item(&w, &target->entries[k], at++, error);
        }
    }
    if (status == MJ_OK) {
        status = mj_os_make_folder(folder, error);
    }
    if (status == MJ_OK) {
        status = write_files(&w, error);
    }
    for (uint32_t i = 0; w.items && i < w.count; i++) {
        free(w.items[i].manifest_json);
    }
    mj_free(context, w.items);
    mj_free(context, w.item_of);
    return status;
}
