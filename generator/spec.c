/* spec.c: loads every data file of lua/ into plain structs. A file's name is the name of what it describes. Each file
 * runs in a Lua state of its own, closed as soon as it is read; only a space with rules keeps its state. */
#define _GNU_SOURCE
#include "gen.h"

#include <ctype.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "spec_check.h"
#include "spec_internal.h"
#include "spec_read.h"

typedef struct kind_row {
    const char *folder; /* in the data files */
    const char *what;
    const mj_schema *schema;
    size_t row_bytes, name_bytes;
} kind_row;

static const kind_row kinds[] = {
    /* ORDER KIND */
    {"lua/arch/", "arch", &mj_schema_arch, sizeof(mj_arch), sizeof(((mj_arch *)0)->name)},
    {"lua/quant/", "scheme", &mj_schema_scheme, sizeof(mj_scheme), sizeof(((mj_scheme *)0)->name)},
    {"lua/space/", "family", &mj_schema_space, sizeof(mj_space), sizeof(((mj_space *)0)->family)},
    {"lua/models/", "model", &mj_schema_model, sizeof(mj_model), sizeof(((mj_model *)0)->name)},
};
_Static_assert(sizeof kinds / sizeof kinds[0] == MJ_KIND_COUNT, "ORDER KIND");
_Static_assert(offsetof(mj_arch, name) == 0 && offsetof(mj_scheme, name) == 0 && offsetof(mj_space, family) == 0 &&
                   offsetof(mj_model, name) == 0,
               "a row begins with its name");

/* ---- Loading ---- */

typedef struct data_name {
    const char *path;
    char name[64];
} data_name;

typedef struct file_load {
    mj_reader reader;
    const mj_schema *schema;
    void *row;
    bool keep_rules;
} file_load;

static int load_body(lua_State *state, void *user)
{
    file_load *load = user;
    mj_sandbox_push_chunk(state, load->reader.file, load->reader.text, load->reader.bytes);
    lua_call(state, 0, 1);
    if (!lua_istable(state, -1)) {
        mj_reader_report(&load->reader, NULL, "the file returns a %s, not a table", luaL_typename(state, -1));
        return 0;
    }
    mj_read_record(&load->reader, load->schema, load->row);
    if (load->keep_rules) {
        mj_rules_keep(state);
    }
    return 0;
}

/* Every problem of the file goes to `problems`; the status is for what ends the whole load. A row with problems stays:
 * what was read of it is checked with the others, and the load fails in the end. */
static mj_status load_file(mj_spec *spec, mj_spec_kind kind, const data_name *entry, mj_problem_list *problems)
{
    mj_spec_list *list = &spec->lists[kind];
    void *row = list->rows + list->count * kinds[kind].row_bytes;
    file_load load = {.schema = kinds[kind].schema, .row = row, .keep_rules = kind == MJ_KIND_SPACE};
    mj_sandbox_options options = {.memory_bytes_max = spec->options.lua_memory_bytes_max,
                                  .instruction_count_max = spec->options.lua_instructions_max};
    mj_error error;
    mj_sandbox *sandbox;
    mj_status status = mj_files_get(spec->files, entry->path, &load.reader.text, &load.reader.bytes, &error);
    if (status == MJ_OK) {
        status = mj_sandbox_open(&options, &sandbox, &error);
    }
    if (status != MJ_OK) {
        return mj_fail(problems->first, status, "%s: %.500s", entry->path, error.text);
    }
    load.reader.file = entry->path;
    load.reader.problems = problems;
    load.reader.state = mj_sandbox_state(sandbox);
    status = mj_sandbox_run(sandbox, load_body, &load, &error);
    if (status == MJ_ERR_MEMORY) {
        mj_sandbox_close(sandbox);
        return mj_fail(problems->first, status, "%s: %.500s", entry->path, error.text);
    }
    if (status != MJ_OK) {
        size_t length = strlen(entry->path);
        bool placed = strncmp(error.text, entry->path, length) == 0 && error.text[length] == ':';
        mj_problem_list_add(problems, "%s%s%.800s", placed ? "" : entry->path, placed ? "" : ":1: ", error.text);
    }
    snprintf(row, kinds[kind].name_bytes, "%s", entry->name);
    if (kind == MJ_KIND_SPACE) {
        spec->sandboxes[list->count] = sandbox;
    } else {
        mj_sandbox_close(sandbox);
    }
    list->count++;
    return MJ_OK;
}

/* "lua/arch/sm_90a.lua" -> "sm_90a"; a name that no option or file could carry is a problem. */
static bool name_of_path(const char *path, const kind_row *kind, data_name *out, mj_problem_list *problems)
{
    const char *name = path + strlen(kind->folder);
    size_t length = strlen(name), suffix = strlen(".lua");
    if (length <= suffix || strcmp(name + length - suffix, ".lua") != 0) {
        return false; /* not a data file */
    }
    length -= suffix;
    if (length >= kind->name_bytes || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") < length) {
        mj_problem_list_add(problems, "%s:1: the file's name is the %s's name: at most %zu of a-z 0-9 _ . -", path,
                            kind->what, kind->name_bytes - 1);
        return false;
    }
    out->path = path;
    memcpy(out->name, name, length);
    out->name[length] = 0;
    return true;
}

static int compare_data_names(const void *a, const void *b)
{
    return strcmp(((const data_name *)a)->name, ((const data_name *)b)->name);
}

static mj_status load_kind(mj_spec *spec, mj_spec_kind kind, mj_problem_list *problems, mj_check_names *names)
{
    const char *const *paths;
    size_t path_count;
    mj_status status = mj_files_list(spec->files, kinds[kind].folder, &paths, &path_count, problems->first);
    if (status != MJ_OK) {
        return status;
    }
    data_name *entries = calloc(path_count + 1, sizeof *entries);
    spec->lists[kind].rows = calloc(path_count + 1, kinds[kind].row_bytes);
    names->items = calloc(path_count + 1, sizeof *names->items);
    if (kind == MJ_KIND_SPACE) {
        spec->sandboxes = calloc(path_count + 1, sizeof *spec->sandboxes);
        spec->caches = mj_rule_caches_new((uint32_t)path_count);
    }
    if (!entries || !spec->lists[kind].rows || !names->items ||
        (kind == MJ_KIND_SPACE && (!spec->sandboxes || !spec->caches))) {
        status = mj_fail(problems->first, MJ_ERR_MEMORY, "no memory for %s", kinds[kind].folder);
        goto done;
    }
    size_t count = 0;
    for (size_t i = 0; i < path_count; i++) {
        count += name_of_path(paths[i], &kinds[kind], &entries[count], problems);
    }
    qsort(entries, count, sizeof *entries, compare_data_names);
    for (size_t i = 0; i < count && status == MJ_OK; i++) {
        status = load_file(spec, kind, &entries[i], problems);
        snprintf(names->items[i], sizeof names->items[i], "%s", entries[i].name);
        names->count = i + 1;
    }
done:
    free(entries);
    return status;
}

mj_status mj_spec_load(const mj_spec_options *options, mj_spec **out, mj_strbuf *lines, mj_error *error)
{
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "mj_spec_load: out is null");
    }
    *out = NULL;
    mj_error first = {0};
    mj_problem_list problems = {.first = &first};
    mj_check_names names[MJ_KIND_COUNT] = {0};
    mj_spec *spec = calloc(1, sizeof *spec);
    if (!spec) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the spec");
    }
    spec->options = options ? *options : (mj_spec_options){0};
    mj_status status = mj_files_open(spec->options.data_dir, &spec->files, &first);
    spec->options.data_dir = NULL; /* the caller's text need not live on */
    for (int kind = 0; kind < MJ_KIND_COUNT && status == MJ_OK; kind++) {
        status = load_kind(spec, (mj_spec_kind)kind, &problems, &names[kind]);
    }
    if (status == MJ_OK) {
        mj_problem_list_close_reading(&problems);
        mj_spec_check(spec, names, &problems);
        status = problems.count > 0 ? MJ_ERR_FORMAT : MJ_OK;
    }
    if (lines && problems.lines.bytes > 0) {
        mj_strbuf_add(lines, problems.lines.text, problems.lines.bytes);
    }
    mj_strbuf_free(&problems.lines);
    for (int kind = 0; kind < MJ_KIND_COUNT; kind++) {
        free(names[kind].items);
    }
    if (status != MJ_OK) {
        mj_spec_free(spec);
        return problems.count > 1 && status == MJ_ERR_FORMAT
                   ? mj_fail(error, status, "%.900s (and %u more)", first.text, problems.count - 1)
                   : mj_fail(error, status, "%s", first.text);
    }
    *out = spec;
    return MJ_OK;
}

void mj_spec_free(mj_spec *spec)
{
    if (!spec) {
        return;
    }
    for (uint32_t i = 0; spec->sandboxes && i < spec->lists[MJ_KIND_SPACE].count; i++) {
        mj_sandbox_close(spec->sandboxes[i]);
    }
    free(spec->sandboxes);
    mj_rule_caches_free(spec->caches);
    for (int kind = 0; kind < MJ_KIND_COUNT; kind++) {
        free(spec->lists[kind].rows);
    }
    mj_files_close(spec->files);
    free(spec);
}

mj_files *mj_spec_files(const mj_spec *spec)
{
    return spec->files;
}

/* ---- Access ---- */

static const void *row_at(const mj_spec *spec, mj_spec_kind kind, uint32_t index)
{
    const mj_spec_list *list = &spec->lists[kind];
    return index < list->count ? list->rows + index * kinds[kind].row_bytes : NULL;
}

uint32_t mj_spec_arch_count(const mj_spec *spec)
{
    return spec->lists[MJ_KIND_ARCH].count;
}

uint32_t mj_spec_scheme_count(const mj_spec *spec)
{
    return spec->lists[MJ_KIND_SCHEME].count;
}

uint32_t mj_spec_space_count(const mj_spec *spec)
{
    return spec->lists[MJ_KIND_SPACE].count;
}

uint32_t mj_spec_model_count(const mj_spec *spec)
{
    return spec->lists[MJ_KIND_MODEL].count;
}

const mj_arch *mj_spec_arch_at(const mj_spec *spec, uint32_t index)
{
    return row_at(spec, MJ_KIND_ARCH, index);
}

const mj_scheme *mj_spec_scheme_at(const mj_spec *spec, uint32_t index)
{
    return row_at(spec, MJ_KIND_SCHEME, index);
}

const mj_space *mj_spec_space_at(const mj_spec *spec, uint32_t index)
{
    return row_at(spec, MJ_KIND_SPACE, index);
}

const mj_model *mj_spec_model_at(const mj_spec *spec, uint32_t index)
{
    return row_at(spec, MJ_KIND_MODEL, index);
}

/* Hugging Face treats the case of an id as one. */
static bool model_answers(const mj_model *model, const char *name)
{
    for (uint32_t i = 0; i < model->hf_id_count; i++) {
        if (strcasecmp(model->hf_ids[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Case aside, and not in the midst of a word: "a10" is no beginning of "A100" where "A10" is meant, nor "100" of it. `whole`: the end
 * of a word as well. */
static bool has_word(const char *text, const char *word, bool whole)
{
    size_t length = strlen(word);
    for (const char *at = text; (at = strcasestr(at, word)) != NULL; at++) {
        bool begins = at == text || !isalnum((unsigned char)at[-1]);
        if (begins && (!whole || !isalnum((unsigned char)at[length]))) {
            return true;
        }
    }
    return false;
}

/* An arch whose description names the device: people know their card by its name. */
static void hint_device(const mj_spec *spec, const char *name, char out[MJ_HINT_BYTES])
{
    uint32_t count = spec->lists[MJ_KIND_ARCH].count;
    for (uint32_t i = 0; !out[0] && strlen(name) >= 3 && i < 2 * count; i++) { /* whole words first */
        const mj_arch *arch = row_at(spec, MJ_KIND_ARCH, i % count);
        if (has_word(arch->doc, name, i < count)) {
            snprintf(out, MJ_HINT_BYTES, "; did you mean \"%.24s\" (%.70s)?", arch->name, arch->doc);
        }
    }
}

static mj_status fail_unknown(const mj_spec *spec, mj_spec_kind kind, const char *name, mj_error *error)
{
    const mj_spec_list *list = &spec->lists[kind];
    size_t count = 0, capacity = list->count * (kind == MJ_KIND_MODEL ? 9u : 1u) + 1u;
    char hint[MJ_HINT_BYTES] = "";
    const char **names = calloc(capacity, sizeof *names);
    for (uint32_t i = 0; names && i < list->count; i++) {
        const void *row = row_at(spec, kind, i);
        names[count++] = row;
        for (uint32_t j = 0; kind == MJ_KIND_MODEL && j < ((const mj_model *)row)->hf_id_count; j++) {
            names[count++] = ((const mj_model *)row)->hf_ids[j];
        }
    }
    if (names) {
        mj_hint(name, names, count, hint);
    }
    free(names);
    if (kind == MJ_KIND_ARCH) {
        hint_device(spec, name, hint);
    }
    return mj_fail(error, MJ_ERR_NOT_FOUND, "unknown %s \"%.100s\"%s", kinds[kind].what, name, hint);
}

static mj_status find(const mj_spec *spec, mj_spec_kind kind, const char *name, const void **out, mj_error *error)
{
    if (!spec || !name || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "null argument in the search for a %s", kinds[kind].what);
    }
    *out = NULL;
    for (uint32_t i = 0; i < spec->lists[kind].count; i++) {
        const void *row = row_at(spec, kind, i);
        if (strcmp(row, name) == 0 || (kind == MJ_KIND_MODEL && model_answers(row, name))) {
            *out = row;
            return MJ_OK;
        }
    }
    return fail_unknown(spec, kind, name, error);
}

mj_status mj_spec_find_arch(const mj_spec *spec, const char *name, const mj_arch **out, mj_error *error)
{
    return find(spec, MJ_KIND_ARCH, name, (const void **)out, error);
}

mj_status mj_spec_find_scheme(const mj_spec *spec, const char *name, const mj_scheme **out, mj_error *error)
{
    return find(spec, MJ_KIND_SCHEME, name, (const void **)out, error);
}

mj_status mj_spec_find_space(const mj_spec *spec, const char *family, const mj_space **out, mj_error *error)
{
    return find(spec, MJ_KIND_SPACE, family, (const void **)out, error);
}

mj_status mj_spec_find_model(const mj_spec *spec, const char *name, const mj_model **out, mj_error *error)
{
    return find(spec, MJ_KIND_MODEL, name, (const void **)out, error);
}

/* Code for a target like sm_90a runs on that capability only; code for sm_86 also on later minors of 8. */
static bool runs_on_exact_capability_only(const mj_arch *arch)
{
    size_t length = strlen(arch->compile_target);
    return length > 0 && arch->compile_target[length - 1] == 'a';
}

const mj_arch *mj_spec_arch_for_capability(const mj_spec *spec, uint32_t major, uint32_t minor)
{
    const mj_arch *best = NULL;
    for (uint32_t i = 0; i < mj_spec_arch_count(spec); i++) {
        const mj_arch *arch = mj_spec_arch_at(spec, i);
        if (strcmp(arch->vendor, "nvidia") != 0 || arch->capability_major != major || arch->capability_minor > minor ||
            (arch->capability_minor != minor && runs_on_exact_capability_only(arch))) {
            continue;
        }
        if (!best || arch->capability_minor > best->capability_minor) {
            best = arch;
        }
    }
    return best;
}
