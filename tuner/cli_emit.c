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

typedef struct emission { /* what one command writes: one pack */
    const cli_options *options;
    mj_context *context;
    const cli_target *target;
    bool to_stdout; /* no --out: the C file on stdout; the folder is a temporary one */
    bool replaces;  /* the folder holds another problem's pack, which goes */
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
    /* a measurement belongs to a binary of that very compiler */
    const mj_choice *choice = item->choice;
    bool same = choice && strcmp(job->store.identity.compiler, built->entry.compiler) == 0;
    job->entries[job->count] = (mj_pack_entry){.op = kernel->op,
                                               .token_count = item->tokens,
                                               .manifest = &built->manifest,
                                               .binary = built->entry.compiled.binary,
                                               .binary_bytes = built->entry.compiled.binary_bytes,
                                               .verified = same && choice->verified,
                                               .time_us_median = same ? choice->time_us_median : 0,
                                               .instead_us = same ? item->instead_us : 0};
    job->from_store += choice != NULL;
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
        targets[i] = (mj_pack_target){.arch = job->arch,
                                      .compiler = job->built[0].entry.compiler,
                                      .identity = job->from_store ? &job->store.identity : NULL,
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

/* One folder is one pack: two problems' files would lie there side by side, and the first one's would not be used any more. */
static cli_exit check_pack(emission *e)
{
    mj_json *root = NULL;
    mj_error error = {MJ_OK, ""};
    char problem[512] = "", there[512] = "";
    mj_problem_print(&e->target->problem, problem, sizeof problem, NULL);
    mj_status status = read_pack(e->folder, &root, &error);
    bool other = status != MJ_OK;
    if (status == MJ_OK && root) {
        status = mj_json_read_string(root, "problem", there, sizeof there, &error);
        other = status != MJ_OK || strcmp(there, problem) != 0;
    }
    mj_json_free(root);
    e->replaces = other;
    if (!other || e->options->force) {
        return CLI_OK;
    }
    if (status != MJ_OK) {
        cli_error("--out: %s: another folder is needed, or --force, which replaces that pack", error.text);
    } else {
        cli_error("--out: %s: holds the pack of another problem (%s): another folder is needed, or --force, which "
                  "replaces it",
                  e->folder, there);
    }
    return CLI_NOT_SAVED;
}

static void remove_named(const char *folder, const char *name)
{
    char path[4096];
    if (name && name[0] && name[0] != '.' && !strchr(name, '/') &&
        mj_os_join(path, sizeof path, folder, name, NULL) == MJ_OK) {
        unlink(path);
    }
}

static bool remove_source(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    (void)bytes;
    (void)mtime_seconds;
    size_t length = strlen(name);
    if (strncmp(name, "moejit_pack_", 12) == 0 && length > 2 && strcmp(name + length - 2, ".c") == 0) {
        remove_named(user, name);
    }
    return true;
}

/* pack.json first: a folder without it is no pack. Other files than the pack's stay. */
static void remove_pack(emission *e)
{
    static const char *const keys[] = {"manifest", "binary"};
    mj_json *root = NULL;
    read_pack(e->folder, &root, NULL);
    remove_named(e->folder, "pack.json");
    const mj_json *files = root ? mj_json_get(root, "files") : NULL;
    for (const mj_json *file = files ? mj_json_first(files) : NULL; file; file = mj_json_next(file)) {
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            const mj_json *name = mj_json_get(file, keys[i]);
            remove_named(e->folder, mj_json_is_string(name) ? mj_json_value_string(name) : NULL);
        }
    }
    mj_json_free(root);
    mj_os_list_folder(e->folder, remove_source, e->folder, NULL);
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
    mj_status status = e->to_stdout ? make_temporary_folder(e, error) : MJ_OK;
    if (status != MJ_OK) {
        return status;
    }
    if (e->replaces) {
        remove_pack(e);
    }
    status = write_pack(e, error);
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
        status = build_arch(e, e->options->arch.count ? e->options->arch.items[i] : "sm_90a", error);
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
