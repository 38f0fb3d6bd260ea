/* tune_watch.h: a part of tune_fixture.h: what a tune's callbacks see and do, and which candidates they accept. */
#ifndef MOEJIT_TUNE_WATCH_H
#define MOEJIT_TUNE_WATCH_H

typedef struct watch { /* what the callbacks saw */
    uint32_t candidates, rows, poisoned_ok, messages;
    uint32_t stop_after_candidates, kill_after_candidates;
    bool break_store, replace_store;
    char last_message[512];
} watch;

static const char other_version[] = "{\"moejit_store\": 9}";

static bool on_progress(void *user, const mj_tune_progress *progress)
{
    watch *w = user;
    w->rows += progress->row != NULL;
    if (progress->message) {
        w->messages++;
        snprintf(w->last_message, sizeof(w->last_message), "%s", progress->message);
        if (getenv("MOEJIT_TEST_VERBOSE")) {
            fprintf(stderr, "message: %s\n", progress->message);
        }
    }
    return !(w->stop_after_candidates && w->candidates >= w->stop_after_candidates);
}

static void on_candidate(void *user, const mj_candidate_result *result)
{
    watch *w = user;
    w->candidates++;
    if (getenv("MOEJIT_TEST_VERBOSE")) {
        fprintf(stderr, "candidate: %s %s\n", mj_reason_text(result->reason), result->detail);
    }
    w->poisoned_ok += strstr(result->detail, "poison") && result->reason == MJ_REASON_NONE;
    if (w->break_store) { /* the folder was fine when the tune began */
        w->break_store = rmdir(store_dir) != 0;
        temp_write(store_dir, "a file", 6);
    }
    if (w->replace_store && w->rows > 0) {
        char command[3000];
        snprintf(command, sizeof(command), "for f in '%s'/*.json; do printf '%%s' '%s' >\"$f\"; done", store_dir,
                 other_version);
        w->replace_store = system(command) != 0;
    }
    if (w->kill_after_candidates && w->candidates >= w->kill_after_candidates) {
        raise(SIGKILL);
    }
}

/* Few configs, so that the test is short: the reference and one blocked kernel. */
static bool accept_blocked(void *user, mj_op op, const char *family, const mj_config *config)
{
    (void)user, (void)op;
    int32_t n = 0, k = 0, rows = 0;
    bool blocked = strcmp(family, "cpu") == 0 && mj_config_get(config, "tile_n", &n) &&
                   mj_config_get(config, "tile_k", &k) && mj_config_get(config, "rows", &rows);
    return blocked && k == 512 && rows == 16 && (n == 16 || n == 64);
}

/* One config of every op. */
static bool accept_fused(void *user, mj_op op, const char *family, const mj_config *config)
{
    int32_t n = 0;
    return accept_blocked(user, op, family, config) && mj_config_get(config, "tile_n", &n) && n == 64;
}

static bool accept_few(void *user, mj_op op, const char *family, const mj_config *config)
{
    return op != MJ_OP_GEMM1_ACT && accept_blocked(user, op, family, config); /* which has a case of its own */
}

static bool accept_one(void *user, mj_op op, const char *family, const mj_config *config)
{
    return op != MJ_OP_GEMM1_ACT && accept_fused(user, op, family, config);
}

#endif
