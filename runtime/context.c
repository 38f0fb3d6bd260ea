/* context.c: one mj_context: options with the environment's defaults, allocator, log, spec and backends on first need. */
#define _GNU_SOURCE
#include "context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

#define CACHE_BYTES_DEFAULT ((uint64_t)2 << 30)

const char *mj_version(void)
{
    return MOEJIT_VERSION_STRING;
}

/* ---- Memory and log --------------------------------------------------------------------------- */

static void *system_allocate(void *user, void *pointer, size_t bytes)
{
    (void)user;
    if (bytes == 0) {
        free(pointer);
        return NULL;
    }
    return realloc(pointer, bytes);
}

void *mj_alloc(mj_context *context, size_t bytes)
{
    bytes = bytes ? bytes : 1;
    void *pointer = context->options.allocate(context->options.user, NULL, bytes);
    if (pointer) {
        memset(pointer, 0, bytes);
    }
    return pointer;
}

void *mj_realloc(mj_context *context, void *pointer, size_t bytes)
{
    return context->options.allocate(context->options.user, pointer, bytes ? bytes : 1);
}

void mj_free(mj_context *context, void *pointer)
{
    if (pointer) {
        context->options.allocate(context->options.user, pointer, 0);
    }
}

char *mj_strdup(mj_context *context, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = mj_alloc(context, bytes);
    if (copy) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

void mj_log(mj_context *context, int level, const char *format, ...)
{
    char line[1280];
    va_list args;
    if (!context->options.log || level > context->options.log_level) {
        return;
    }
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    context->options.log(context->options.user, level, line);
}

/* ---- Create and destroy ----------------------------------------------------------------------- */

/* The option, else the variable, else the folder; NULL in *out if there is none. */
static mj_status choose(mj_context *context, const char *option, const char *variable, const char *folder_kind,
                        char **out, mj_error *error)
{
    char folder[1024] = "";
    const char *value = option ? option : getenv(variable);
    if ((!value || !value[0]) && !option && folder_kind) {
        mj_os_default_folder(folder_kind, folder, sizeof folder);
        value = folder;
    }
    if (!value || !value[0]) {
        return MJ_OK;
    }
    *out = mj_strdup(context, value);
    return *out ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "no memory for a context");
}

static mj_status take_strings(mj_context *context, const mj_context_options *options, mj_error *error)
{
    const struct {
        const char *option, *variable, *folder_kind;
        char **out;
        const char **shown;
    } rows[] = {
        {options->data_dir, "MOEJIT_DATA_DIR", NULL, &context->data_dir, &context->options.data_dir},
        {options->cache_dir, "MOEJIT_CACHE_DIR", "cache", &context->cache_dir, &context->options.cache_dir},
        {options->store_dir, "MOEJIT_STORE_DIR", "data", &context->store_dir, &context->options.store_dir},
        {options->nvrtc_path, "MOEJIT_NVRTC", NULL, &context->nvrtc_path, &context->options.nvrtc_path},
        {options->hiprtc_path, "MOEJIT_HIPRTC", NULL, &context->hiprtc_path, &context->options.hiprtc_path},
        {options->cc_path, "MOEJIT_CC", NULL, &context->cc_path, &context->options.cc_path},
    };
    mj_status status = MJ_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *rows[i].shown = NULL; /* the caller's strings may go away */
    }
    for (size_t i = 0; status == MJ_OK && i < sizeof rows / sizeof *rows; i++) {
        status = choose(context, rows[i].option, rows[i].variable, rows[i].folder_kind, rows[i].out, error);
        *rows[i].shown = *rows[i].out;
    }
    return status;
}

static bool make_recursive_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t kind;
    if (pthread_mutexattr_init(&kind) != 0) {
        return false;
    }
    /* Opening a backend under the lock may ask for the spec. */
    bool made = pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE) == 0 && pthread_mutex_init(lock, &kind) == 0;
    pthread_mutexattr_destroy(&kind);
    return made;
}

/* A cache that cannot be used costs compile time, never the job. */
static mj_status open_cache(mj_context *context, bool wanted, mj_error *error)
{
    mj_error why = {0};
    if (!context->cache_dir) {
        mj_log(context, wanted ? 0 : 1, "cache: nothing is kept: %s",
               wanted ? "neither XDG_CACHE_HOME nor HOME is set" : "no folder, as asked");
        return MJ_OK;
    }
    mj_status status =
        mj_cache_open(context, context->cache_dir, context->options.cache_bytes_max, &context->cache, &why);
    if (status == MJ_ERR_MEMORY) {
        return mj_fail(error, status, "%s", why.text);
    }
    if (status != MJ_OK) {
        mj_log(context, 0, "cache: not used: %s", why.text);
    }
    return MJ_OK;
}

mj_status mj_context_create(const mj_context_options *options, mj_context **out, mj_error *error)
{
    static const mj_context_options defaults;
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "out is null");
    }
    *out = NULL;
    options = options ? options : &defaults;
    mj_allocate_fn allocate = options->allocate ? options->allocate : system_allocate;
    mj_context *context = allocate(options->user, NULL, sizeof *context);
    if (!context) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a context");
    }
    memset(context, 0, sizeof *context);
    context->options = *options;
    context->options.allocate = allocate;
    if (!context->options.cache_bytes_max) {
        context->options.cache_bytes_max = CACHE_BYTES_DEFAULT;
    }
    if (!make_recursive_lock(&context->lock)) {
        allocate(options->user, context, 0);
        return mj_fail(error, MJ_ERR_INTERNAL, "a lock could not be made");
    }
    mj_status status = take_strings(context, options, error);
    if (status == MJ_OK) {
        status = open_cache(context, !options->cache_dir || options->cache_dir[0], error);
    }
    if (status != MJ_OK) {
        mj_context_destroy(context);
        return status;
    }
    *out = context;
    return MJ_OK;
}

void mj_context_destroy(mj_context *context)
{
    if (!context) {
        return;
    }
    const mj_backend *const *backends = mj_backends();
    for (uint32_t i = 0; i < MJ_BACKENDS_MAX && backends[i]; i++) {
        if (context->backend_state[i]) {
            backends[i]->close(context->backend_state[i]);
        }
    }
    for (uint32_t i = 0; i < context->pack_count; i++) {
        mj_free(context, context->owned_packs[i]);
    }
    mj_cache_close(context->cache);
#if MOEJIT_GENERATOR
    mj_spec_free(context->spec);
#endif
    mj_free(context, context->data_dir);
    mj_free(context, context->cache_dir);
    mj_free(context, context->store_dir);
    mj_free(context, context->nvrtc_path);
    mj_free(context, context->hiprtc_path);
    mj_free(context, context->cc_path);
    pthread_mutex_destroy(&context->lock);
    mj_free(context, context);
}

/* ---- What is loaded on first need ------------------------------------------------------------- */

#if MOEJIT_GENERATOR
mj_status mj_context_load_spec(mj_context *context, mj_spec **out, mj_error *error)
{
    mj_spec_options options = {.data_dir = context->data_dir};
    mj_strbuf problems = {0};
    mj_status status = mj_spec_load(&options, out, &problems, error);
    if (status != MJ_OK) {
        *out = NULL;
        for (char *rest = problems.text, *line; rest && (line = strsep(&rest, "\n"));) {
            if (line[0]) {
                mj_log(context, 0, "%s", line);
            }
        }
    }
    mj_strbuf_free(&problems);
    return status;
}

mj_status mj_context_spec(mj_context *context, const mj_spec **out, mj_error *error)
{
    pthread_mutex_lock(&context->lock);
    mj_status status = context->spec ? MJ_OK : mj_context_load_spec(context, &context->spec, error);
    *out = context->spec;
    pthread_mutex_unlock(&context->lock);
    return status;
}
#else
mj_status mj_context_spec(mj_context *context, const mj_spec **out, mj_error *error)
{
    (void)context;
    *out = NULL;
    return mj_fail(error, MJ_ERR_UNSUPPORTED, "this library was built without the generator");
}
#endif

mj_status mj_context_backend_at(mj_context *context, uint32_t at, const mj_backend **backend, void **state,
                                mj_error *error)
{
    mj_status status = MJ_OK;
    *backend = mj_backends()[at];
    pthread_mutex_lock(&context->lock);
    if (!context->backend_state[at]) {
        status = (*backend)->open(context, &context->backend_state[at], error);
        if (status != MJ_OK) {
            context->backend_state[at] = NULL;
        }
    }
    *state = context->backend_state[at];
    pthread_mutex_unlock(&context->lock);
    return status;
}

static mj_status unknown_backend(const char *id, mj_error *error)
{
    const char *names[MJ_BACKENDS_MAX + 1];
    char word[MJ_NAME_MAX];
    size_t count = 0;
    const mj_backend *const *backends = mj_backends();
    snprintf(word, sizeof word, "%.*s", (int)strcspn(id, ":"), id);
    for (; count < MJ_BACKENDS_MAX && backends[count]; count++) {
        names[count] = backends[count]->name;
    }
    names[count++] = "best";
    const char *near = mj_nearest_name(word, names, count);
    return mj_fail(error, MJ_ERR_NO_DEVICE, "no device \"%.60s\": an id is cuda:0, hip:0, cpu or best%s%s%s", id,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* "<name>" or "<name>:<index>", digits only. */
static mj_status parse_index(const char *id, const char *text, uint32_t *index, mj_error *error)
{
    *index = 0;
    if (text[0] == '\0') {
        return MJ_OK;
    }
    size_t digits = strspn(text + 1, "0123456789");
    if (text[0] != ':' || digits == 0 || digits > 4 || text[1 + digits] != '\0') {
        return mj_fail(error, MJ_ERR_ARGUMENT, "\"%.60s\" is no device id: after the colon comes a number", id);
    }
    *index = (uint32_t)strtoul(text + 1, NULL, 10);
    return MJ_OK;
}

mj_status mj_context_backend(mj_context *context, const char *id, const mj_backend **backend, void **state,
                             uint32_t *index, mj_error *error)
{
    const mj_backend *const *backends = mj_backends();
    size_t name_bytes = strcspn(id, ":");
    for (uint32_t i = 0; i < MJ_BACKENDS_MAX && backends[i]; i++) {
        if (strlen(backends[i]->name) != name_bytes || memcmp(backends[i]->name, id, name_bytes) != 0) {
            continue;
        }
        uint32_t parsed = 0;
        mj_status status = parse_index(id, id + name_bytes, &parsed, error);
        if (status == MJ_OK) {
            status = mj_context_backend_at(context, i, backend, state, error);
        }
        if (status == MJ_OK && index) {
            *index = parsed;
        }
        return status;
    }
    return unknown_backend(id, error);
}
