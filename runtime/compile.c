/* compile.c: source -> binary through the cache. */
#include "context.h"

#include <stdio.h>
#include <string.h>

/* Lengths go in too, so that no two lists of parts give the same stream. */
static void add_part(mj_sha256 *hash, const void *data, size_t bytes)
{
    char head[32];
    int head_bytes = snprintf(head, sizeof head, "%zu:", bytes);
    mj_sha256_update(hash, head, (size_t)head_bytes);
    mj_sha256_update(hash, data, bytes);
}

static mj_status identify(mj_context *context, const char *backend_name, const mj_backend **backend, void **state,
                          char *compiler, size_t compiler_bytes, mj_error *error)
{
    mj_status status = mj_context_backend(context, backend_name, backend, state, NULL, error);
    return status == MJ_OK ? (*backend)->compiler_identity(*state, compiler, compiler_bytes, error) : status;
}

static void make_key(const char *backend_name, const char *compiler, const char *compile_target, const char *source,
                     size_t source_bytes, char key[MJ_SHA256_HEX])
{
    char version[64];
    mj_sha256 hash;
    /* The library's version stands for the flags that its backends give the compiler. */
    int version_bytes = snprintf(version, sizeof version, "moejit %s %d", MOEJIT_VERSION_STRING, MJ_GENERATOR_VERSION);
    mj_sha256_start(&hash);
    add_part(&hash, version, (size_t)version_bytes);
    add_part(&hash, backend_name, strlen(backend_name));
    add_part(&hash, compiler, strlen(compiler));
    add_part(&hash, compile_target, strlen(compile_target));
    add_part(&hash, source, source_bytes);
    mj_sha256_finish(&hash, key);
}

mj_status mj_compile_key(mj_context *context, const char *backend_name, const char *compile_target, const char *source,
                         size_t source_bytes, char key[MJ_SHA256_HEX], mj_error *error)
{
    const mj_backend *backend = NULL;
    void *state = NULL;
    char compiler[96] = "";
    mj_status status = identify(context, backend_name, &backend, &state, compiler, sizeof compiler, error);
    if (status == MJ_OK) {
        make_key(backend->name, compiler, compile_target, source, source_bytes, key);
    }
    return status;
}

mj_status mj_compile_cached(mj_context *context, const char *backend_name, const char *compile_target,
                            const char *source, size_t source_bytes, mj_cache_entry *out, mj_error *error)
{
    const mj_backend *backend = NULL;
    void *state = NULL;
    mj_error why = {0};
    memset(out, 0, sizeof *out);
    mj_cache_entry entry = {0};
    mj_status status = identify(context, backend_name, &backend, &state, entry.compiler, sizeof entry.compiler, error);
    if (status != MJ_OK) {
        return status;
    }
    make_key(backend->name, entry.compiler, compile_target, source, source_bytes, entry.key);
    if (context->cache && mj_cache_get(context->cache, entry.key, out, &why) == MJ_OK) {
        mj_log(context, 2, "cache: hit %.12s (%zu bytes)", entry.key, out->compiled.binary_bytes);
        return MJ_OK;
    }
    if (context->options.no_compile) {
        return mj_fail(error, MJ_ERR_NO_COMPILER, "kernel %.12s is not in the cache and compiling is off", entry.key);
    }
    snprintf(entry.compile_target, sizeof entry.compile_target, "%s", compile_target);
    status = backend->compile(state, compile_target, source, source_bytes, &entry.compiled, error);
    if (status != MJ_OK) {
        mj_cache_entry_free(&entry);
        return status;
    }
    mj_log(context, 2, "compile: %.12s for %s in %.0f ms", entry.key, compile_target,
           entry.compiled.compile_seconds * 1e3);
    if (context->cache && mj_cache_put(context->cache, &entry, &why) != MJ_OK) {
        mj_log(context, 2, "cache: %.12s not kept: %s", entry.key, why.text);
    }
    *out = entry;
    return MJ_OK;
}
