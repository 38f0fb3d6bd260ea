/* fake_store.h: tuned rows for a fake device, in a store folder, with their "binaries" in a cache folder. */
#ifndef MOEJIT_FAKE_STORE_H
#define MOEJIT_FAKE_STORE_H

#include <ftw.h>

#include "fake_device.h"
#include "os.h"
#include "store.h"

typedef struct fake_world {
    char folder[256], cache_dir[300], store_dir[300];
    fake_log log;
    fake_state state;
    mj_context *context;
    mj_device device;
    mj_problem problem;
    bool native; /* kernels are for the CPU that compiled them */
} fake_world;

static inline bool fake_open(fake_world *w)
{
    memset(w, 0, sizeof *w);
    if (!fake_folder(w->folder, sizeof w->folder)) {
        return false;
    }
    snprintf(w->cache_dir, sizeof w->cache_dir, "%s/cache", w->folder);
    snprintf(w->store_dir, sizeof w->store_dir, "%s/store", w->folder);
    mj_context_options options = {.log = fake_log_line,
                                  .user = &w->log,
                                  .log_level = 1,
                                  .cache_dir = w->cache_dir,
                                  .store_dir = w->store_dir,
                                  .no_compile = true};
    if (mj_os_make_folder(w->store_dir, NULL) != MJ_OK || mj_context_create(&options, &w->context, NULL) != MJ_OK) {
        return false;
    }
    w->device = fake_device(w->context, &w->state);
    w->problem = (mj_problem){.expert_count = 4,
                              .expert_total_count = 4,
                              .top_k = 2,
                              .hidden = 64,
                              .intermediate = 32,
                              .gated = true,
                              .scheme = "bf16",
                              .layout = "default"};
    return true;
}

static inline int fake_remove(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static inline void fake_close(fake_world *w)
{
    mj_context_destroy(w->context);
    nftw(w->folder, fake_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* A choice whose binary is its symbol, in the cache unless `absent`. */
static inline mj_choice fake_choice(fake_world *w, mj_op op, const char *family, int32_t tile, bool absent)
{
    mj_choice choice = {.present = true,
                        .verified = true,
                        .time_us_median = 10.0 + tile,
                        .time_us_spread = 0.5,
                        .floor_us = 5,
                        .tried = 3,
                        .effort = "quick"};
    choice.manifest = fake_manifest(&w->problem, op, family, tile);
    const char *symbol = choice.manifest.symbol;
    if (w->native) {
        snprintf(choice.manifest.compile_target, sizeof choice.manifest.compile_target, "native");
    }
    mj_sha256_hex(symbol, strlen(symbol), choice.cache_key);
    if (!absent) {
        mj_cache_entry entry = {.compiler = "fakecc 1.0", .compile_target = "sm_90a"};
        memcpy(entry.key, choice.cache_key, sizeof entry.key);
        entry.compiled.binary = choice.manifest.symbol;
        entry.compiled.binary_bytes = strlen(symbol);
        mj_error error = {0};
        if (mj_cache_put(w->context->cache, &entry, &error) != MJ_OK) {
            printf("# cache: %s\n", error.text);
        }
    }
    return choice;
}

typedef struct fake_tuned {
    mj_identity identity;
    bool no_ops;
    uint32_t row_count;
    struct {
        uint32_t tokens;
        const char *routing;
        int32_t tile;
        bool absent, unverified;
        double activation_us, fused_us; /* 0: not in the row */
        bool fused_absent, fused_unverified;
    } rows[8];
} fake_tuned;

static inline mj_identity fake_identity(fake_world *w)
{
    mj_identity identity = {0};
    mj_device_identity(&w->device, &identity, NULL);
    return identity;
}

/* gemm1_act, and the activation's time that it is compared with. */
static inline void fake_fuse(fake_world *w, const fake_tuned *tuned, uint32_t index, mj_store_row *row)
{
    if (tuned->rows[index].activation_us > 0) {
        row->activation = fake_choice(w, MJ_OP_ACTIVATION, "simple", 0, false);
        row->activation.time_us_median = tuned->rows[index].activation_us;
    }
    if (tuned->rows[index].fused_us > 0) {
        row->gemm1_act =
            fake_choice(w, MJ_OP_GEMM1_ACT, "mma", tuned->rows[index].tile, tuned->rows[index].fused_absent);
        row->gemm1_act.time_us_median = tuned->rows[index].fused_us;
        row->gemm1_act.verified = !tuned->rows[index].fused_unverified;
    }
}

static inline void fake_fill(fake_world *w, const fake_tuned *tuned, mj_store_file *file)
{
    static const mj_op simple[] = {MJ_OP_TABLES, MJ_OP_ACTIVATION, MJ_OP_COMBINE};
    memset(file, 0, sizeof *file);
    file->problem = w->problem;
    file->identity = tuned->identity;
    for (size_t i = 0; !tuned->no_ops && i < 3; i++) {
        file->ops[simple[i]] = fake_choice(w, simple[i], "simple", 0, false);
    }
    for (uint32_t i = 0; i < tuned->row_count; i++) {
        mj_store_row *row =
            mj_store_row_at(file, tuned->rows[i].tokens, tuned->rows[i].routing ? tuned->rows[i].routing : "uniform");
        row->gemm1 = fake_choice(w, MJ_OP_GEMM1, "mma", tuned->rows[i].tile, tuned->rows[i].absent);
        row->gemm2 = fake_choice(w, MJ_OP_GEMM2, "mma", tuned->rows[i].tile, tuned->rows[i].absent);
        row->gemm1.verified = row->gemm2.verified = !tuned->rows[i].unverified;
        fake_fuse(w, tuned, i, row);
    }
}

static inline mj_status fake_save(fake_world *w, const fake_tuned *tuned)
{
    char name[512], path[1024];
    mj_store_file file;
    mj_error error = {0};
    fake_fill(w, tuned, &file);
    mj_status status = mj_store_file_name(&file.problem, tuned->identity.device, name, sizeof name, &error);
    if (status == MJ_OK) {
        status = mj_os_join(path, sizeof path, w->store_dir, name, &error);
    }
    if (status == MJ_OK) {
        status = mj_store_save(path, &file, &error);
    }
    mj_store_file_free(&file);
    if (status != MJ_OK) {
        printf("# store: %s\n", error.text);
    }
    return status;
}

/* The row of an op that serves so many tokens. */
static inline const mj_plan_row *fake_row_for(const mj_plan *plan, mj_op op, uint32_t tokens)
{
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        const mj_plan_row *row = mj_plan_get_row(plan, i);
        if (row->op == op && row->tokens_from <= tokens && tokens <= row->tokens_to) {
            return row;
        }
    }
    return NULL;
}

static inline int fake_tile_for(const mj_plan *plan, mj_op op, uint32_t tokens)
{
    const mj_plan_row *row = fake_row_for(plan, op, tokens);
    int32_t tile = -1;
    return row && mj_config_get(&row->config, "tile_m", &tile) ? tile : -1;
}

static inline mj_status fake_plan_create(fake_world *w, uint32_t max_tokens, uint32_t flags, const char *routing,
                                         mj_plan **plan, mj_error *error)
{
    mj_plan_options options = {.max_tokens = max_tokens, .flags = flags, .routing = routing};
    return mj_plan_create(&w->device, &w->problem, &options, plan, error);
}

#endif
