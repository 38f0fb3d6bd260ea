/* compile_main.c: moejit-compile: generates and compiles kernels through the shared cache. Opens no device.
 *
 * "open" brings the context; "compile" names {backend, arch, problem, op, family, config} and gets back the cache key and the
 * manifest: the binary itself travels through the cache, where the worker picks it up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compile_log.h"
#include "helper.h"
#include "os.h"
#include "poison.h"
#include "wire.h"

typedef struct compiler {
    mj_context *context;
    const mj_spec *spec;
} compiler;

static mj_status do_open(compiler *c, const mj_json *request, mj_error *error)
{
    mj_context_options options;
    if (c->context) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "open: already open");
    }
    mj_wire_read_context(request, &options);
    mj_status status = mj_context_create(&options, &c->context, error);
    return status == MJ_OK ? mj_context_spec(c->context, &c->spec, error) : status;
}

typedef struct job {
    mj_problem problem;
    mj_config config;
    mj_kernel_desc desc;
    char backend[MJ_NAME_MAX];
    const char *poison; /* NULL: none */
} job;

static mj_status read_job(const compiler *c, const mj_json *request, job *out, mj_error *error)
{
    char arch[MJ_NAME_MAX], family[MJ_NAME_MAX];
    mj_kernel_desc *desc = &out->desc;
    memset(out, 0, sizeof(*out));
    desc->problem = &out->problem;
    desc->config = &out->config;
    out->poison = mj_wire_text(request, "poison");
    const char *config = mj_wire_text(request, "config");
    mj_status status = mj_wire_read_problem(request, &out->problem, error);
    if (status == MJ_OK) {
        status = mj_wire_read_op(request, &desc->op, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(request, "backend", out->backend, sizeof(out->backend), error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(request, "arch", arch, sizeof(arch), error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(request, "family", family, sizeof(family), error);
    }
    if (status == MJ_OK && config) {
        status = mj_config_parse(config, &out->config, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_arch(c->spec, arch, &desc->arch, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_space(c->spec, family, &desc->space, error);
    }
    return status == MJ_OK ? mj_spec_find_scheme(c->spec, out->problem.scheme, &desc->scheme, error) : status;
}

static mj_status compile_source(const compiler *c, const job *j, const mj_kernel_source *source, mj_cache_entry *entry,
                                mj_error *error)
{
    const char *text = source->text;
    size_t bytes = source->bytes;
    mj_strbuf spoilt = {0};
    mj_status status = MJ_OK;
    if (j->poison) {
        status = mj_poison_source(source, j->poison, strcmp(j->backend, "cpu") != 0, &spoilt, error);
        text = spoilt.text;
        bytes = spoilt.bytes;
    }
    if (status == MJ_OK) {
        status = mj_compile_cached(c->context, j->backend, source->manifest.compile_target, text, bytes, entry, error);
    }
    mj_strbuf_free(&spoilt);
    return status;
}

/* The worker reads it from the cache: one that could not be written there (a full disk) is no use. */
static mj_status check_kept(const compiler *c, const mj_cache_entry *entry, mj_error *error)
{
    mj_cache_entry kept;
    mj_error why = {0};
    if (entry->was_hit) {
        return MJ_OK;
    }
    if (!c->context->cache) {
        return mj_fail(error, MJ_ERR_IO, "no folder for compiled kernels");
    }
    if (mj_cache_get(c->context->cache, entry->key, &kept, &why) == MJ_OK) {
        mj_cache_entry_free(&kept);
        return MJ_OK;
    }
    return mj_cache_put(c->context->cache, entry, &why) == MJ_OK
               ? MJ_OK
               : mj_fail(error, MJ_ERR_IO, "compiled kernels cannot be handed over: %s", why.text);
}

static void describe(mj_json *results, const mj_kernel_source *source, const mj_cache_entry *entry)
{
    const mj_kernel_attributes *attributes = &entry->compiled.attributes;
    mj_json_add_string(results, "cache_key", entry->key);
    mj_json_add(results, "manifest", mj_manifest_to_json(&source->manifest));
    mj_json_add_int(results, "regs", attributes->regs_thread);
    mj_json_add_int(results, "local_bytes", attributes->local_bytes);
    char lost_overlap[MJ_LOST_OVERLAP_MAX];
    mj_log_lost_overlap(entry->compiled.log, lost_overlap, sizeof(lost_overlap));
    mj_json_add_string(results, "lost_overlap", lost_overlap);
    mj_json_add_number(results, "compile_seconds", entry->compiled.compile_seconds);
    mj_json_add_bool(results, "was_hit", entry->was_hit);
}

static mj_status do_compile(const compiler *c, const mj_json *request, mj_json *results, mj_error *error)
{
    if (!c->spec) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "compile: not open");
    }
    job *j = malloc(sizeof(*j));
    mj_kernel_source source;
    mj_cache_entry entry;
    memset(&source, 0, sizeof(source));
    memset(&entry, 0, sizeof(entry));
    double start = mj_os_monotonic_seconds();
    mj_status status = j ? read_job(c, request, j, error) : mj_fail(error, MJ_ERR_MEMORY, "a request");
    if (status == MJ_OK) {
        status = mj_generate(c->spec, &j->desc, NULL, &source, error);
    }
    if (status == MJ_OK) {
        status = compile_source(c, j, &source, &entry, error);
    }
    if (status == MJ_OK) {
        status = check_kept(c, &entry, error);
    }
    if (status == MJ_OK) {
        describe(results, &source, &entry);
    }
    mj_json_add_number(results, "seconds", mj_os_monotonic_seconds() - start);
    mj_cache_entry_free(&entry);
    mj_kernel_source_free(&source);
    free(j);
    return status;
}

static mj_status serve(compiler *c, mj_helper *helper, const mj_json *request)
{
    mj_error error = {0};
    mj_json *results = mj_json_object();
    const char *verb = mj_wire_text(request, "do");
    mj_status status;
    if (verb && strcmp(verb, "open") == 0) {
        status = do_open(c, request, &error);
    } else if (verb && strcmp(verb, "compile") == 0) {
        status = do_compile(c, request, results, &error);
    } else {
        status = mj_fail(&error, MJ_ERR_ARGUMENT, "unknown request");
    }
    mj_json *reply = mj_reply_new(request, status, &error);
    mj_json_add(reply, "results", results);
    mj_status sent = mj_helper_send(helper, reply, NULL);
    mj_json_free(reply);
    return sent;
}

int main(int argc, char **argv)
{
    compiler c = {0};
    mj_helper helper;
    mj_error error = {0};
    mj_status status = mj_helper_start(argc, argv, &helper, &error);
    if (status != MJ_OK) {
        fprintf(stderr, "moejit-compile: %s\n", error.text);
        return 2;
    }
    while (status == MJ_OK) {
        mj_json *request = NULL;
        status = mj_helper_receive(&helper, &request, &error);
        if (status == MJ_OK) {
            status = serve(&c, &helper, request);
        }
        mj_json_free(request);
    }
    mj_helper_end(&helper);
    mj_context_destroy(c.context);
    return status == MJ_ERR_NOT_FOUND ? 0 : 2;
}
