/* cli_emit.c: moejit emit: precompiled variants for serving without a compiler. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_emit.h"
#include "os.h"
#include "pack.h"

#define PACK_BYTES_MAX (64u << 20)
#define DEFAULT_ARCH   "sm_90a"

typedef struct emission { /* what one command writes: one pack */
    const cli_options *options;
    mj_context *context;
    const cli_target *target;
    bool to_stdout; /* no --out: the C file on stdout; the folder is a temporary one */
    char folder[4096], command[2048], name[128];
    uint32_t job_count;
    emit_job *jobs[MJ_PACK_TARGETS_MAX];
} emission;

/* ---- Kernels: compiled by moejit-compile into the cache, picked up from there ---- */
static mj_status build_one(emit_job *job, const emit_item *item, const cli_compile_item *kernel, mj_error *error)
{
    const mj_spec *spec = NULL;
    mj_kernel_desc desc = {.problem = &job->target->problem, .op = kernel->op, .config = &kernel->config};
    mj_built *built = &job->built[job->count];
    mj_status status = mj_context_spec(job->context, &spec, error);
    status = status ? status : mj_spec_find_arch(spec, job->arch, &desc.arch, error);
    status = status ? status : mj_spec_find_scheme(spec, desc.problem->scheme, &desc.scheme, error);
    status = status ? status : mj_spec_find_space(spec, kernel->family, &desc.space, error);
    status = status ? status : mj_kernel_compile(job->context, job->backend, &desc, built, error);
    if (status != MJ_OK) {
        return status;
    }
    /* a measurement belongs to that very binary: of the same text, target and compiler */
    const mj_choice *choice = item->choice;
    bool same = choice && strcmp(choice->cache_key, built->entry.key) == 0;
    job->entries[job->count] = (mj_pack_entry){.op = kernel->op,
                                               .token_count = item->tokens,
                                               .manifest = &built->manifest,
                                               .binary = built->entry.compiled.binary,
                                               .binary_bytes = built->entry.compiled.binary_bytes,
                                               .verified = same && choice->verified,
                                               .time_us_median = same ? choice->time_us_median : 0,
                                               .instead_us = same ? item->instead_us : 0};
    job->from_store += choice != NULL && item->tokens > 0;
    job->has_verified = job->has_verified || (same && choice->verified);
    job->count++;
    return MJ_OK;
}

static mj_status compile_ahead(const emit_job *job, const cli_compile_item *kernels, uint32_t count, mj_error *error)
{
    cli_compile_request request = {.problem = &job->target->problem,
                                   .arch = job->arch,
                                   .backend = job->backend,
                                   .processes = job->options->jobs,
                                   .quiet = job->options->quiet,
                                   .count = count,
                                   .items = kernels};
    mj_status status = cli_compile_ahead(job->context, &request, error);
    /* no helper program installed: compiled here, less safely, to the same bytes */
    return status == MJ_ERR_NOT_FOUND ? MJ_OK : status;
}

static mj_status build_all(emit_job *job, mj_error *error)
{
    uint32_t total = MJ_OP_COUNT + 5 * job->token_count_count, count = 0;
    emit_item *items = calloc(total, sizeof *items);
    cli_compile_item *kernels = calloc(total, sizeof *kernels);
    job->built = calloc(total, sizeof *job->built);
    job->built_capacity = total;
    job->entries = calloc(total, sizeof *job->entries);
    mj_status status =
        items && kernels && job->built && job->entries ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "out of memory");
    if (status == MJ_OK) {
        status = cli_emit_choose(job, items, kernels, &count, error);
    }
    if (status == MJ_OK) {
        status = compile_ahead(job, kernels, count, error);
    }
    for (uint32_t i = 0; i < count && status == MJ_OK; i++) {
        status = cli_interrupted() ? mj_fail(error, MJ_ERR_INTERRUPTED, "interrupted: nothing was written")
                                   : build_one(job, &items[i], &kernels[i], error);
    }
    free(items);
    free(kernels);
    return status;
}

/* ---- Output ---- */
static void print_job(FILE *out, const emit_job *job)
{
    fprintf(out, "%s: %u kernels for %s (%u of %u GEMM rows as tuned%s%s, the others by the estimate)\n", job->arch,
            job->count, job->target->label, job->from_store, job->gemm_count, job->has_store ? " in " : "",
            job->store_name);
    for (uint32_t i = 0; i < job->count; i++) {
        const mj_pack_entry *entry = &job->entries[i];
        char tokens[16] = "any", config[640] = "";
        if (entry->token_count) {
            snprintf(tokens, sizeof tokens, "%u", entry->token_count);
        }
        mj_config_print(&entry->manifest->config, config, sizeof config, NULL);
        fprintf(out, "%6s %-10s %-9s %7zu bytes  %s\n", tokens, mj_op_name(entry->op), entry->manifest->family,
                entry->binary_bytes, config);
    }
}

static void print_emitted(FILE *out, const emission *e)
{
    fprintf(out, "%s: ", e->to_stdout ? "stdout" : e->folder);
    for (uint32_t i = 0; i < e->job_count; i++) {
        print_job(out, e->jobs[i]);
    }
    if (!e->to_stdout) { /* else the folder was a temporary one */
        fprintf(out, "C source: %s/moejit_pack_%s.c\n", e->folder, e->name);
    }
}

static mj_json *emitted_json(const emission *e, const emit_job *job)
{
    mj_json *root = mj_json_object();
    mj_json_add_string(root, "folder", e->folder);
    mj_json_add_string(root, "arch", job->arch);
    mj_json_add_string(root, "name", e->name);
    mj_json *list = root ? mj_json_add(root, "kernels", mj_json_array()) : NULL;
    for (uint32_t i = 0; i < job->count; i++) {
        const mj_pack_entry *entry = &job->entries[i];
        mj_json *row = mj_json_push(list, mj_json_object());
        mj_json_add_string(row, "op", mj_op_name(entry->op));
        mj_json_add_int(row, "tokens", entry->token_count);
        mj_json_add_string(row, "family", entry->manifest->family);
        mj_json_add(row, "config", mj_config_to_json(&entry->manifest->config));
        mj_json_add_int(row, "bytes", (int64_t)entry->binary_bytes);
        mj_json_add_bool(row, "verified", entry->verified);
    }
    return root;
}

/* Letters, digits and '_': part of a C name and of a file name. */
static void name_pack(emission *e)
{
    const char *model = e->target->model.name[0] ? e->target->model.name : "layer";
    snprintf(e->name, sizeof e->name, "%s_tp%u_ep%u_%s", model, e->target->tp, e->target->ep,
             e->job_count == 1 ? e->jobs[0]->arch : "fat");
    for (char *c = e->name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        *c = plain ? *c : '_';
    }
}

static void add_word(emission *e, const char *before, const char *word)
{
    size_t used = strlen(e->command);
    snprintf(e->command + used, sizeof e->command - used, "%s%s", before, word);
}

static void name_command(emission *e)
{
    char problem[512] = "", tokens[16];
    const cli_options *options = e->options;
    mj_problem_print(&e->target->problem, problem, sizeof problem, NULL);
    add_word(e, "moejit emit --problem \"", problem);
    add_word(e, "\"", " --arch");
    for (uint32_t i = 0; i < e->job_count; i++) {
        add_word(e, i ? "," : " ", e->jobs[i]->arch);
    }
    const char *const words[][2] = {{" --family ", options->family},
                                    {" --gemm ", options->op ? options->op + strlen("gemm") : NULL},
                                    {" --config ", options->config}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (words[i][1]) {
            add_word(e, words[i][0], words[i][1]);
        }
    }
    add_word(e, " --batch", "");
    for (uint32_t i = 0; i < e->jobs[0]->token_count_count; i++) {
        snprintf(tokens, sizeof tokens, "%u", e->jobs[0]->tokens[i]);
        add_word(e, " ", tokens);
    }
}

static mj_status write_pack(emission *e, mj_error *error)
{
    mj_pack_target targets[MJ_PACK_TARGETS_MAX];
    for (uint32_t i = 0; i < e->job_count; i++) {
        const emit_job *job = e->jobs[i];
        bool from_device = job->from_store > 0 || job->has_verified;
        targets[i] = (mj_pack_target){.arch = job->arch,
                                      .compiler = job->built[0].entry.compiler,
                                      .identity = from_device ? &job->store.identity : NULL,
                                      .entry_count = job->count,
                                      .entries = job->entries};
    }
    name_pack(e);
    name_command(e);
    mj_pack_contents contents = {.name = e->name,
                                 .command = e->command,
                                 .problem = &e->target->problem,
                                 .target_count = e->job_count,
                                 .targets = targets};
    return mj_pack_write(e->context, &contents, e->folder, error);
}

/* ---- Without --out: the C file alone, it holds the binaries too ---- */
static bool remove_file(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    char path[4096];
    (void)bytes;
    (void)mtime_seconds;
    if (mj_os_join(path, sizeof path, user, name, NULL) == MJ_OK) {
        unlink(path);
    }
    return true;
}

static mj_status make_temporary_folder(emission *e, mj_error *error)
{
    const char *base = getenv("TMPDIR");
    snprintf(e->folder, sizeof e->folder, "%.4000s/moejit-emit-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(e->folder)) {
        return mj_fail(error, MJ_ERR_IO, "%s: no folder for temporary files", e->folder);
    }
    return MJ_OK;
}

/* ---- With --out: a folder that may hold a pack already ---- */
/* pack.json of the folder, parsed. MJ_OK and NULL: there is none. */
static mj_status read_pack(const char *folder, mj_json **out, mj_error *error)
{
    char path[4096], *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    mj_status status = mj_os_join(path, sizeof path, folder, "pack.json", error);
    if (status != MJ_OK || access(path, F_OK) != 0) {
        return status;
    }
    status = mj_os_read_file(path, PACK_BYTES_MAX, &text, &bytes, error);
    if (status == MJ_OK) {
        status = mj_json_parse(text, bytes, path, out, error);
    }
    free(text);
    return status;
}

static bool is_emitted(const emission *e, const char *arch)
{
    const cli_list *archs = &e->options->arch;
    for (uint32_t i = 0; i < archs->count; i++) {
        if (strcmp(archs->items[i], arch) == 0) {
            return true;
        }
    }
    return archs->count == 0 && strcmp(arch, DEFAULT_ARCH) == 0;
}

/* What of the pack that is there this one would not hold; "" if nothing. */
static mj_status find_lost(const emission *e, const mj_json *root, char *lost, size_t bytes, mj_error *error)
{
    char problem[512] = "", there[512], arch[MJ_NAME_MAX];
    lost[0] = '\0';
    mj_problem_print(&e->target->problem, problem, sizeof problem, NULL);
    mj_status status = mj_json_read_string(root, "problem", there, sizeof there, error);
    if (status == MJ_OK && strcmp(there, problem) != 0) {
        snprintf(lost, bytes, "another problem (%.300s)", there);
    }
    const mj_json *targets = mj_json_get(root, "targets");
    for (const mj_json *t = mj_json_first(targets); t && status == MJ_OK && !lost[0]; t = mj_json_next(t)) {
        status = mj_json_read_string(t, "arch", arch, sizeof arch, error);
        if (status == MJ_OK && !is_emitted(e, arch)) {
            snprintf(lost, bytes, "another arch (%s)", arch);
        }
    }
    return status;
}

/* One folder is one pack: what another one held would not be used any more. */
static cli_exit check_pack(const emission *e)
{
    mj_json *root = NULL;
    mj_error error = {MJ_OK, ""};
    char lost[400] = "";
    mj_status status = read_pack(e->folder, &root, &error);
    if (status == MJ_OK && root) {
        status = find_lost(e, root, lost, sizeof lost, &error);
    }
    mj_json_free(root);
    if (e->options->force || (status == MJ_OK && !lost[0])) {
        return CLI_OK;
    }
    if (status != MJ_OK) {
        cli_error("--out: %s: another folder is needed, or --force, which replaces that pack", error.text);
    } else {
        cli_error("--out: %s: holds the pack of %s: another folder is needed, or --force, which replaces it", e->folder,
                  lost);
    }
    return CLI_NOT_SAVED;
}

static bool is_file(const mj_json *file, const char *key, const char *name)
{
    const mj_json *value = mj_json_get(file, key);
    return mj_json_is_string(value) && strcmp(mj_json_value_string(value), name) == 0;
}

static bool pack_has(const mj_json *root, const char *name)
{
    bool has = is_file(root, "source", name);
    for (const mj_json *f = mj_json_first(mj_json_get(root, "files")); f && !has; f = mj_json_next(f)) {
        has = is_file(f, "manifest", name) || is_file(f, "binary", name);
    }
    return has;
}

static void remove_unless(const char *folder, const mj_json *now, const mj_json *value)
{
    char path[4096];
    const char *name = mj_json_is_string(value) ? mj_json_value_string(value) : "";
    if (name[0] && name[0] != '.' && !strchr(name, '/') && !pack_has(now, name) &&
        mj_os_join(path, sizeof path, folder, name, NULL) == MJ_OK) {
        unlink(path);
    }
}

/* Files that `before` names and the pack that is there now does not. Others are not a pack's and stay. */
static void remove_replaced(const char *folder, const mj_json *before)
{
    mj_json *now = NULL;
    if (!before || read_pack(folder, &now, NULL) != MJ_OK || !now) {
        return;
    }
    remove_unless(folder, now, mj_json_get(before, "source"));
    for (const mj_json *f = mj_json_first(mj_json_get(before, "files")); f; f = mj_json_next(f)) {
        remove_unless(folder, now, mj_json_get(f, "manifest"));
        remove_unless(folder, now, mj_json_get(f, "binary"));
    }
    mj_json_free(now);
}

static mj_status print_source(const emission *e, mj_error *error)
{
    char path[4096 + 160];
    char *text = NULL;
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/moejit_pack_%s.c", e->folder, e->name);
    mj_status status = mj_os_read_file(path, SIZE_MAX / 2, &text, &bytes, error);
    if (status == MJ_OK) {
        fwrite(text, 1, bytes, stdout);
    }
    free(text);
    return status;
}

static mj_status output_pack(emission *e, mj_error *error)
{
    mj_json *before = NULL;
    mj_status status = e->to_stdout ? make_temporary_folder(e, error) : MJ_OK;
    if (status != MJ_OK) {
        return status;
    }
    read_pack(e->folder, &before, NULL); /* damaged: nothing is known of its files */
    status = write_pack(e, error);
    if (status == MJ_OK) {
        remove_replaced(e->folder, before);
    }
    mj_json_free(before);
    if (e->to_stdout) {
        status = status == MJ_OK ? print_source(e, error) : status;
        mj_os_list_folder(e->folder, remove_file, e->folder, NULL);
        rmdir(e->folder);
    }
    return status;
}

/* ---- One arch ---- */
static int compare_tokens(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void free_job(emit_job *job)
{
    for (uint32_t i = 0; job->built && i < job->built_capacity; i++) {
        mj_built_free(&job->built[i]);
    }
    free(job->built);
    free(job->entries);
    if (job->has_store) {
        mj_store_file_free(&job->store);
    }
    free(job);
}

static mj_status build_arch(emission *e, const char *arch, mj_error *error)
{
    emit_job *job = calloc(1, sizeof *job);
    if (!job) {
        return mj_fail(error, MJ_ERR_MEMORY, "out of memory");
    }
    e->jobs[e->job_count++] = job;
    job->options = e->options;
    job->context = e->context;
    job->target = e->target;
    job->arch = arch;
    const uint32_t *tokens = e->options->token_count_count ? e->options->token_counts : cli_usual_batches;
    job->token_count_count = e->options->token_count_count ? e->options->token_count_count : 18;
    memcpy(job->tokens, tokens, job->token_count_count * sizeof *tokens);
    qsort(job->tokens, job->token_count_count, sizeof *job->tokens, compare_tokens);
    mj_status status = mj_arch_backend(job->context, arch, &job->backend, error);
    if (status == MJ_OK) {
        cli_emit_find_store(job);
        status = build_all(job, error);
    }
    return status;
}

/* ---- The command ---- */
static cli_exit check_words(const cli_options *options)
{
    bool to_stdout = !options->out || strcmp(options->out, "-") == 0;
    if (to_stdout && options->json) {
        cli_error("emit: --json needs --out: without it stdout gets one C file");
        return CLI_USAGE;
    }
    if (options->arch.count > MJ_PACK_TARGETS_MAX) {
        cli_error("emit: more than %d archs", MJ_PACK_TARGETS_MAX);
        return CLI_USAGE;
    }
    for (uint32_t i = 0; i < options->arch.count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(options->arch.items[i], options->arch.items[k]) == 0) {
                cli_error("emit: --arch %s is there twice", options->arch.items[i]);
                return CLI_USAGE;
            }
        }
    }
    if (options->config && !options->family) {
        cli_error("--config needs --family: a config is a point of one family's space");
        return CLI_USAGE;
    }
    if (options->token_count_count > (MJ_PACK_VARIANTS_MAX - 5) / 5) {
        cli_error("emit: more than %d batch sizes", (MJ_PACK_VARIANTS_MAX - 5) / 5);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static cli_exit check_folder(const cli_options *options)
{
    mj_error error = {MJ_OK, ""};
    if (!options->out || strcmp(options->out, "-") == 0) {
        return CLI_OK;
    }
    if (mj_os_make_folder(options->out, &error) != MJ_OK) {
        cli_error("--out: %s", error.text);
        return CLI_NOT_SAVED;
    }
    if (!mj_os_is_writable_folder(options->out)) {
        cli_error("--out: %s: cannot be written: %s", options->out, strerror(errno));
        return CLI_NOT_SAVED;
    }
    return CLI_OK;
}

/* Every arch is built before anything is written: a pack holds all that was asked for, or is not there. */
static mj_status emit_pack(emission *e, mj_error *error)
{
    uint32_t count = e->options->arch.count ? e->options->arch.count : 1;
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < count && status == MJ_OK; i++) {
        status = build_arch(e, e->options->arch.count ? e->options->arch.items[i] : DEFAULT_ARCH, error);
    }
    return status == MJ_OK ? output_pack(e, error) : status;
}

static cli_exit report(const emission *e)
{
    mj_json *list = e->options->json ? mj_json_array() : NULL;
    for (uint32_t i = 0; list && i < e->job_count; i++) {
        mj_json_push(list, emitted_json(e, e->jobs[i]));
    }
    if (list) {
        return cli_print_json(list);
    }
    if (!e->to_stdout || !e->options->quiet) {
        print_emitted(e->to_stdout ? stderr : stdout, e);
    }
    return CLI_OK;
}

static cli_exit emit_all(const cli_options *options, mj_context *context)
{
    cli_target target;
    mj_error error = {MJ_OK, ""};
    cli_exit code = cli_resolve(options, context, &target);
    if (code == CLI_OK) {
        code = check_folder(options);
    }
    emission *e = code == CLI_OK ? calloc(1, sizeof *e) : NULL;
    if (!e) {
        return code == CLI_OK ? (cli_error("out of memory"), CLI_INTERNAL) : code;
    }
    e->options = options;
    e->context = context;
    e->target = &target;
    e->to_stdout = !options->out || strcmp(options->out, "-") == 0;
    snprintf(e->folder, sizeof e->folder, "%s", e->to_stdout ? "" : options->out);
    code = e->to_stdout ? CLI_OK : check_pack(e);
    if (code == CLI_OK) {
        code = emit_pack(e, &error) == MJ_OK ? report(e) : cli_fail(&error);
    }
    for (uint32_t i = 0; i < e->job_count; i++) {
        free_job(e->jobs[i]);
    }
    free(e);
    return code;
}

cli_exit cli_emit(const cli_options *options)
{
    mj_context *context = NULL;
    cli_exit code = check_words(options);
    if (code == CLI_OK) {
        code = cli_context(options, &context);
    }
    if (code == CLI_OK) {
        cli_catch_interrupts();
        code = emit_all(options, context);
    }
    mj_context_destroy(context);
    return code;
}
