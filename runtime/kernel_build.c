/* kernel_build.c: problem and config -> loaded kernel. The only file of runtime/ that calls the
 * generator, so that a build without it needs no other change. */
#include "kernel_build.h"

#include <string.h>

void mj_built_free(mj_built *built)
{
    if (built) {
        mj_cache_entry_free(&built->entry);
        memset(built, 0, sizeof *built);
    }
}

#if MOEJIT_GENERATOR

#include "ranking.h"

enum { TRIES_MAX = 4 }; /* estimate's choices that may fail to compile before giving up */

/* The spec's rules run on one Lua state: generator calls are serialised by the context's lock,
 * compilation is not. */
static mj_status generate_locked(mj_context *context, const mj_spec *spec, const mj_kernel_desc *desc,
                                 mj_kernel_source *source, mj_error *error)
{
    pthread_mutex_lock(&context->lock);
    mj_status status = mj_generate(spec, desc, NULL, source, error);
    pthread_mutex_unlock(&context->lock);
    return status;
}

mj_status mj_kernel_compile(mj_context *context, const char *backend_name, const mj_kernel_desc *desc, mj_built *out,
                            mj_error *error)
{
    memset(out, 0, sizeof *out);
    const mj_spec *spec = NULL;
    mj_kernel_source source = {0};
    mj_status status = mj_context_spec(context, &spec, error);
    if (status != MJ_OK) {
        return status;
    }
    status = generate_locked(context, spec, desc, &source, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_compile_cached(context, backend_name, source.manifest.compile_target, source.text, source.bytes,
                               &out->entry, error);
    if (status == MJ_OK) {
        out->manifest = source.manifest;
    }
    mj_kernel_source_free(&source);
    return status;
}

mj_status mj_kernel_remake(mj_context *context, const char *backend_name, const mj_manifest *manifest, mj_built *out,
                           mj_error *error)
{
    memset(out, 0, sizeof *out);
    const mj_spec *spec = NULL;
    mj_kernel_desc desc = {.problem = &manifest->problem, .op = manifest->op, .config = &manifest->config};
    mj_status status = mj_context_spec(context, &spec, error);
    if (status == MJ_OK) {
        status = mj_spec_find_arch(spec, manifest->arch, &desc.arch, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(spec, manifest->problem.scheme, &desc.scheme, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_space(spec, manifest->family, &desc.space, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    return mj_kernel_compile(context, backend_name, &desc, out, error);
}

/* First legal default over the arch's families that implement the op. */
static mj_status default_config(mj_context *context, const mj_spec *spec, mj_kernel_desc *desc, const char *family,
                                mj_config *config, mj_error *error)
{
    mj_status status = mj_fail(error, MJ_ERR_UNSUPPORTED, "no family of %s implements %s for %s", desc->arch->name,
                               mj_op_name(desc->op), desc->scheme->name);
    for (uint32_t i = 0; i < desc->arch->families.count; i++) {
        const char *name = desc->arch->families.items[i];
        if ((family && strcmp(family, name) != 0) || mj_spec_find_space(spec, name, &desc->space, NULL) != MJ_OK ||
            !mj_list_has(&desc->space->ops, mj_op_name(desc->op))) {
            continue;
        }
        pthread_mutex_lock(&context->lock);
        status = mj_space_default(spec, desc, config, error);
        pthread_mutex_unlock(&context->lock);
        if (status == MJ_OK) {
            return MJ_OK;
        }
    }
    return status;
}

/* The arch's typical figures, corrected by what this device says of itself. */
static mj_device_shape estimate_shape(const mj_device *device, const mj_arch *arch)
{
    if (!device) {
        return arch->typical;
    }
    mj_device_shape shape = device->shape.memory_gbps > 0 ? device->shape : arch->typical;
    if (device->info.sm_count) {
        shape.sm_count = device->info.sm_count;
    }
    if (device->info.l2_bytes) {
        shape.l2_bytes = (double)device->info.l2_bytes;
    }
    return shape;
}

/* Of an op that stands in for others: leaves those of the ranked that take less than these. */
static mj_status keep_faster(const mj_ranked *ranked, mj_op op, double instead_us, uint32_t *count, mj_error *error)
{
    uint32_t faster = 0;
    if (strcmp(ranked[0].space->family, "reference") == 0) { /* never fast, and fallen back on by the others too */
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "no family but the reference has it");
    }
    while (faster < *count && ranked[faster].estimate_us < instead_us) {
        faster++;
    }
    *count = faster;
    return faster ? MJ_OK
                  : mj_fail(error, MJ_ERR_NOT_FOUND, "%s %s takes about %.1f us, what it replaces %.1f",
                            ranked[0].space->family, mj_op_name(op), ranked[0].estimate_us, instead_us);
}

static mj_status rank(mj_context *context, const mj_spec *spec, const mj_kernel_desc *desc, const mj_wanted *wanted,
                      const mj_device_shape *shape, mj_ranked *out, uint32_t *count, mj_error *error)
{
    mj_ranking *own = NULL, **ranking = wanted->ranking ? wanted->ranking : &own;
    mj_status status = MJ_OK;
    pthread_mutex_lock(&context->lock);
    if (!*ranking) {
        status = mj_ranking_open(spec, desc->problem, desc->arch, desc->op, wanted->family, false, ranking, error);
    }
    if (status == MJ_OK) {
        status = mj_ranking_best(*ranking, shape, wanted->token_count, NULL, out, TRIES_MAX, count, NULL, error);
    }
    pthread_mutex_unlock(&context->lock);
    mj_ranking_close(own);
    return status;
}

void mj_kernel_forget(struct mj_ranking **ranking)
{
    mj_ranking_close(*ranking);
    *ranking = NULL;
}

static mj_status choose_ranked(mj_context *context, const char *backend_name, const mj_spec *spec, mj_kernel_desc *desc,
                               const mj_wanted *wanted, mj_built *out, mj_error *error)
{
    mj_device_shape shape = estimate_shape(wanted->device, desc->arch);
    uint32_t count = 0;
    mj_ranked *ranked = mj_alloc(context, TRIES_MAX * sizeof *ranked);
    if (!ranked) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the estimate's choices");
    }
    mj_status status = rank(context, spec, desc, wanted, &shape, ranked, &count, error);
    if (status == MJ_OK && count == 0) {
        status = mj_fail(error, MJ_ERR_ILLEGAL, "no legal config for %s on %s", mj_op_name(desc->op), desc->arch->name);
    }
    double instead_us = 0;
    if (status == MJ_OK && mj_op_stands_for(desc->op) != MJ_OP_COUNT) {
        instead_us = wanted->instead_us +
                     mj_estimate_replaced_us(desc->problem, &shape, desc->op, wanted->instead, wanted->token_count);
        status = keep_faster(ranked, desc->op, instead_us, &count, error);
    }
    for (uint32_t i = 0; status == MJ_OK && i < count; i++) {
        desc->space = ranked[i].space;
        desc->config = &ranked[i].config;
        mj_error tried = {0};
        mj_status made = mj_kernel_compile(context, backend_name, desc, out, &tried);
        if (made == MJ_OK) {
            out->estimate_us = ranked[i].estimate_us;
            out->instead_us = instead_us;
            break;
        }
        mj_log(context, 1, "%s: the estimate's choice %u for %u tokens is out: %s", mj_op_name(desc->op), (unsigned)i,
               (unsigned)wanted->token_count, tried.text);
        bool is_absent =
            made == MJ_ERR_NO_COMPILER && context->options.no_compile; /* not in the cache: another may be */
        if ((made != MJ_ERR_COMPILE && !is_absent) || i + 1 == count) {
            status = mj_fail(error, made, "%s", tried.text);
        }
    }
    mj_free(context, ranked);
    return status;
}

mj_status mj_kernel_choose(mj_context *context, const char *backend_name, const mj_wanted *wanted, mj_built *out,
                           mj_error *error)
{
    memset(out, 0, sizeof *out);
    const mj_spec *spec = NULL;
    mj_kernel_desc desc = {.problem = wanted->problem, .op = wanted->op};
    mj_config config = {0};
    mj_status status = mj_context_spec(context, &spec, error);
    if (status == MJ_OK) {
        status = mj_spec_find_arch(spec, wanted->arch, &desc.arch, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(spec, wanted->problem->scheme, &desc.scheme, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    if (mj_op_is_gemm(wanted->op) && wanted->token_count) {
        return choose_ranked(context, backend_name, spec, &desc, wanted, out, error);
    }
    status = default_config(context, spec, &desc, wanted->family, &config, error);
    if (status != MJ_OK) {
        return status;
    }
    desc.config = &config;
    return mj_kernel_compile(context, backend_name, &desc, out, error);
}

mj_status mj_arch_backend(mj_context *context, const char *arch, const char **backend_name, mj_error *error)
{
    static const struct {
        const char *vendor, *backend;
    } vendors[] = {{"nvidia", "cuda"}, {"amd", "hip"}, {"cpu", "cpu"}};
    const mj_spec *spec = NULL;
    const mj_arch *found = NULL;
    mj_status status = mj_context_spec(context, &spec, error);
    if (status == MJ_OK) {
        status = mj_spec_find_arch(spec, arch, &found, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++) {
        if (strcmp(found->vendor, vendors[i].vendor) == 0) {
            *backend_name = vendors[i].backend;
            return MJ_OK;
        }
    }
    return mj_fail(error, MJ_ERR_UNSUPPORTED, "no backend of this version compiles for %s", arch);
}

mj_status mj_kernel_build(mj_device *device, const mj_kernel_desc *desc, mj_loaded_kernel *out,
                          char cache_key[MJ_SHA256_HEX], mj_error *error)
{
    memset(out, 0, sizeof *out);
    mj_built built;
    mj_status status = mj_kernel_compile(device->context, device->backend->name, desc, &built, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_kernel_load(device, &built.manifest, built.entry.compiled.binary, built.entry.compiled.binary_bytes,
                            out, error);
    if (status == MJ_OK && cache_key) {
        memcpy(cache_key, built.entry.key, MJ_SHA256_HEX);
    }
    mj_built_free(&built);
    return status;
}

#else

static mj_status no_generator(mj_error *error)
{
    return mj_fail(error, MJ_ERR_UNSUPPORTED,
                   "this build has no generator: only kernels of the "
                   "cache and of packs can be used");
}

mj_status mj_kernel_compile(mj_context *context, const char *backend_name, const mj_kernel_desc *desc, mj_built *out,
                            mj_error *error)
{
    (void)context, (void)backend_name, (void)desc;
    memset(out, 0, sizeof *out);
    return no_generator(error);
}

mj_status mj_kernel_remake(mj_context *context, const char *backend_name, const mj_manifest *manifest, mj_built *out,
                           mj_error *error)
{
    (void)context, (void)backend_name, (void)manifest;
    memset(out, 0, sizeof *out);
    return no_generator(error);
}

mj_status mj_kernel_choose(mj_context *context, const char *backend_name, const mj_wanted *wanted, mj_built *out,
                           mj_error *error)
{
    (void)context, (void)backend_name, (void)wanted;
    memset(out, 0, sizeof *out);
    return no_generator(error);
}

void mj_kernel_forget(struct mj_ranking **ranking)
{
    (void)ranking;
}

mj_status mj_arch_backend(mj_context *context, const char *arch, const char **backend_name, mj_error *error)
{
    (void)context, (void)arch, (void)backend_name;
    return no_generator(error);
}

mj_status mj_kernel_build(mj_device *device, const mj_kernel_desc *desc, mj_loaded_kernel *out,
                          char cache_key[MJ_SHA256_HEX], mj_error *error)
{
    (void)device, (void)desc, (void)cache_key;
    memset(out, 0, sizeof *out);
    return no_generator(error);
}

#endif
