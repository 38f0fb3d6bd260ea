/* context.h: the inside of mj_context and mj_device, for runtime/ and tuner/. */
#ifndef MOEJIT_CONTEXT_H
#define MOEJIT_CONTEXT_H

#include <pthread.h>

#include "backend.h"
#include "cache.h"

#define MJ_BACKENDS_MAX 8
#define MJ_PACKS_MAX    32

struct mj_context {
    mj_context_options options; /* strings below are owned copies */
    char *data_dir, *cache_dir, *store_dir, *nvrtc_path, *hiprtc_path, *cc_path;
    mj_cache *cache;      /* NULL: no folder, or one that must not be trusted */
    mj_spec *spec;        /* loaded on first need (mj_context_spec); always NULL without the generator */
    pthread_mutex_t lock; /* guards spec, backend states, packs */
    void *backend_state[MJ_BACKENDS_MAX]; /* parallel to mj_backends() */
    uint32_t pack_count;
    const mj_pack *packs[MJ_PACKS_MAX];
    void *owned_packs[MJ_PACKS_MAX]; /* loaded from folders; parallel to packs, NULL if the caller's */
};

struct mj_device {
    mj_context *context;
    const mj_backend *backend;
    void *backend_state;
    void *handle; /* backend's device */
    mj_device_info info;
    mj_device_shape shape; /* for estimates: arch's typical figures, corrected by info */
};

void *mj_alloc(mj_context *context, size_t bytes); /* zeroed; NULL when out of memory */
void *mj_realloc(mj_context *context, void *pointer, size_t bytes);
void mj_free(mj_context *context, void *pointer);
char *mj_strdup(mj_context *context, const char *text);
void mj_log(mj_context *context, int level, const char *format, ...) MJ_PRINTF(3, 4);

/* Loads lua/ on first call. Its rules run on one Lua state: calls that ask them hold `lock`. Without the generator:
 * MJ_ERR_UNSUPPORTED. */
mj_status mj_context_spec(mj_context *context, const mj_spec **out, mj_error *error);
/* The same loaded anew (mj_spec_free), for who asks its rules at length beside other threads. Not without the generator. */
mj_status mj_context_load_spec(mj_context *context, mj_spec **out, mj_error *error);
/* Backend by the part of `id` before ':', its state (opened on first use), and the index after it. */
mj_status mj_context_backend(mj_context *context, const char *id, const mj_backend **backend, void **state,
                             uint32_t *index, mj_error *error);

/* The same by position in mj_backends(). */
mj_status mj_context_backend_at(mj_context *context, uint32_t at, const mj_backend **backend, void **state,
                                mj_error *error);

/* Source -> binary through the cache: a hit returns the stored binary, a miss compiles (unless no_compile) and stores.
 * `cache_key` receives the key. Works for devices that are not there: `backend_name` picks the compiler. */
mj_status mj_compile_cached(mj_context *context, const char *backend_name, const char *compile_target,
                            const char *source, size_t source_bytes, mj_cache_entry *out, mj_error *error);
/* The key alone. */
mj_status mj_compile_key(mj_context *context, const char *backend_name, const char *compile_target, const char *source,
                         size_t source_bytes, char key[MJ_SHA256_HEX], mj_error *error);

#endif
