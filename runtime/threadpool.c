/* threadpool.c: threads that take chunks of indices from one atomic counter.
 *
 *     run: publish the job, generation + 1 -> everybody takes chunks -> wait until no helper is left
 */
#define _GNU_SOURCE
#include "threadpool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    THREADS_MAX = 1024,
    SPINS_IDLE = 2000, /* some microseconds: a layer's kernels follow each other closely */
    SPINS_DONE = 20000
};

typedef struct job {
    mj_task_fn task;
    void *user;
    uint32_t count, chunk;
    uint32_t helper_count; /* threads 1..helper_count take part */
} job;

typedef struct helper {
    mj_threadpool *pool;
    uint32_t index;
    pthread_t thread;
} helper;

struct mj_threadpool {
    pthread_mutex_t run_lock; /* one job at a time */
    pthread_mutex_t lock;     /* guards job, generation's change and stop */
    pthread_cond_t wake, done;
    job job;
    bool stop;
    atomic_uint generation;
    atomic_uint busy_count; /* helpers that have not finished the current job */
    _Atomic uint64_t next;  /* wider than an index: every thread steps once past the end */
    uint32_t threads;
    helper helpers[];
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void take_chunks(mj_threadpool *pool, const job *work, uint32_t thread)
{
    for (;;) {
        uint64_t first = atomic_fetch_add_explicit(&pool->next, work->chunk, memory_order_relaxed);
        if (first >= work->count) {
            return;
        }
        uint64_t end = first + work->chunk < work->count ? first + work->chunk : work->count;
        for (uint64_t index = first; index < end; index++) {
            work->task(work->user, (uint32_t)index, thread);
        }
    }
}

/* Waits for a job newer than `seen`; false: the pool is closing. */
static bool wait_for_job(mj_threadpool *pool, unsigned *seen, job *work)
{
    for (int i = 0; i < SPINS_IDLE && atomic_load(&pool->generation) == *seen; i++) {
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    while (!pool->stop && atomic_load(&pool->generation) == *seen) {
        pthread_cond_wait(&pool->wake, &pool->lock);
    }
    bool go_on = !pool->stop;
    *seen = atomic_load(&pool->generation);
    *work = pool->job;
    pthread_mutex_unlock(&pool->lock);
    return go_on;
}

static void *helper_main(void *argument)
{
    const helper *self = argument;
    mj_threadpool *pool = self->pool;
    unsigned seen = 0;
    job work;
    while (wait_for_job(pool, &seen, &work)) {
        if (self->index > work.helper_count) {
            continue;
        }
        take_chunks(pool, &work, self->index);
        if (atomic_fetch_sub(&pool->busy_count, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
    return NULL;
}

static void wait_for_helpers(mj_threadpool *pool)
{
    for (int i = 0; i < SPINS_DONE && atomic_load(&pool->busy_count) > 0; i++) {
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->busy_count) > 0) {
        pthread_cond_wait(&pool->done, &pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
}

void mj_threadpool_run(mj_threadpool *pool, uint32_t count, uint32_t chunk, mj_task_fn task, void *user)
{
    if (count == 0) {
        return;
    }
    job work = {.task = task, .user = user, .count = count, .chunk = chunk ? chunk : 1};
    uint32_t chunk_count = (count - 1) / work.chunk + 1;
    work.helper_count = pool->threads < chunk_count ? pool->threads - 1 : chunk_count - 1;
    pthread_mutex_lock(&pool->run_lock);
    atomic_store(&pool->next, 0);
    if (work.helper_count > 0) {
        atomic_store(&pool->busy_count, work.helper_count);
        pthread_mutex_lock(&pool->lock);
        pool->job = work;
        atomic_fetch_add(&pool->generation, 1);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
    take_chunks(pool, &work, 0);
    if (work.helper_count > 0) {
        wait_for_helpers(pool);
    }
    pthread_mutex_unlock(&pool->run_lock);
}

uint32_t mj_threadpool_threads(const mj_threadpool *pool)
{
    return pool->threads;
}

void mj_threadpool_destroy(mj_threadpool *pool)
{
    if (!pool) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 1; i < pool->threads; i++) {
        pthread_join(pool->helpers[i].thread, NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->run_lock);
    free(pool);
}

mj_status mj_threadpool_create(uint32_t threads, mj_threadpool **out, mj_error *error)
{
    *out = NULL;
    if (threads == 0 || threads > THREADS_MAX) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "a thread pool of %u threads: 1 to %d", threads, THREADS_MAX);
    }
    mj_threadpool *pool = calloc(1, sizeof *pool + threads * sizeof pool->helpers[0]);
    if (!pool) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a pool of %u threads", threads);
    }
    pthread_mutex_init(&pool->run_lock, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited by the new threads */
    pool->threads = 1;
    while (pool->threads < threads) {
        helper *one = &pool->helpers[pool->threads];
        *one = (helper){.pool = pool, .index = pool->threads};
        if (pthread_create(&one->thread, NULL, helper_main, one) != 0) {
            break;
        }
        pool->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *out = pool;
    return MJ_OK;
}
