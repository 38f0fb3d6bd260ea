/* tune_fixture.h: a tiny layer on the CPU and what a real tune of it needs, for test_tune.c and test_tune_rows.c. */
#ifndef MOEJIT_TUNE_FIXTURE_H
#define MOEJIT_TUNE_FIXTURE_H

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "context.h"
#include "moejit_tune.h"
#include "temp_folder.h"

static const mj_problem tiny = {.expert_count = 4,
                                .expert_total_count = 4,
                                .top_k = 2,
                                .hidden = 64,
                                .intermediate = 48,
                                .gated = true,
                                .scheme = "bf16",
                                .layout = "default"};
static const uint32_t batch_sizes[] = {1, 5};
static char worker_path[1024], compile_path[1024], store_dir[1024], journal_dir[1024];
static mj_context *context;

#include "tune_watch.h"

static mj_tune_options options_for(watch *w)
{
    return (mj_tune_options){
        .device = "cpu",
        .token_counts = batch_sizes,
        .token_count_count = 2,
        .effort = MJ_EFFORT_QUICK,
        .seed = 7,
        .gemm1_only = true,
        .accept = accept_few,
        .save_dir = store_dir,
        .journal_dir = journal_dir,
        .worker_path = worker_path,
        .compile_path = compile_path,
        .compile_processes = 2,
        .candidate_seconds_max = 15,
        .device_bytes_max = 64 << 20,
        .progress = on_progress,
        .candidate = on_candidate,
        .user = w,
    };
}

static void fresh_folders(void)
{
    static int count;
    snprintf(store_dir, sizeof(store_dir), "%s/store-%d", temp_folder, ++count);
    snprintf(journal_dir, sizeof(journal_dir), "%s/journal-%d", temp_folder, count);
}

static bool no_child_left(void)
{
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

/* Folders, helpers and a context whose cache serves all cases. false: said why. */
static bool fixture_start(void)
{
    temp_folder_make();
    char cache_dir[1024];
    snprintf(cache_dir, sizeof(cache_dir), "%s/cache", temp_folder);
    snprintf(worker_path, sizeof(worker_path), "%s/moejit-worker", MJ_TEST_BUILD_DIR);
    snprintf(compile_path, sizeof(compile_path), "%s/moejit-compile", MJ_TEST_BUILD_DIR);
    snprintf(store_dir, sizeof(store_dir), "%s/store", temp_folder);
    mj_context_options options = {.cache_dir = cache_dir, .store_dir = store_dir};
    mj_error error = {0};
    if (mj_context_create(&options, &context, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    return true;
}

static void fixture_end(void)
{
    mj_context_destroy(context);
    temp_folder_remove();
}

#endif
