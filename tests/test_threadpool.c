/* test_threadpool.c: every index exactly once, whatever the sizes; scratch per thread is never shared. */
#define _GNU_SOURCE
#include "check.h"
#include "threadpool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { COUNT_MAX = 5000, THREADS_MAX = 16 };

typedef struct tally {
    atomic_int hits[COUNT_MAX];
    atomic_int inside[THREADS_MAX]; /* calls running under a thread's number */
    atomic_int shared, out_of_range, masked;
    uint32_t threads;
} tally;

static void hit(void *user, uint32_t index, uint32_t thread)
{
    tally *t = user;
    if (thread >= t->threads || index >= COUNT_MAX) {
        atomic_fetch_add(&t->out_of_range, 1);
        return;
    }
    atomic_fetch_add(&t->shared, atomic_fetch_add(&t->inside[thread], 1) != 0);
    atomic_fetch_add(&t->hits[index], 1);
    atomic_fetch_sub(&t->inside[thread], 1);
}

static int wrong_hits(tally *t, uint32_t count)
{
    int wrong = 0;
    for (uint32_t i = 0; i < COUNT_MAX; i++) {
        wrong += atomic_exchange(&t->hits[i], 0) != (i < count ? 1 : 0);
    }
    return wrong;
}

static tally *state;

TEST(every_index_once)
{
    static const uint32_t threads[] = {1, 2, 3, 7}, counts[] = {0, 1, 2, 3, 64, 65, 1000, COUNT_MAX},
                          chunks[] = {0, 1, 3, 64, 100000};
    for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
        mj_threadpool *pool = NULL;
        CHECK_STATUS(mj_threadpool_create(threads[t], &pool, NULL), MJ_OK);
        state->threads = mj_threadpool_threads(pool);
        CHECK_INT(state->threads, threads[t]);
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (size_t k = 0; k < sizeof chunks / sizeof chunks[0]; k++) {
                mj_threadpool_run(pool, counts[c], chunks[k], hit, state);
                CHECK_INT(wrong_hits(state, counts[c]), 0);
            }
        }
        mj_threadpool_destroy(pool);
    }
    CHECK_INT(state->shared, 0);
    CHECK_INT(state->out_of_range, 0);
}

TEST(many_short_jobs)
{
    mj_threadpool *pool = NULL;
    CHECK_STATUS(mj_threadpool_create(4, &pool, NULL), MJ_OK);
    state->threads = 4;
    for (int i = 0; i < 3000; i++) {
        uint32_t count = (uint32_t)(i % 9);
        mj_threadpool_run(pool, count, 1, hit, state);
        for (uint32_t j = 0; j < 9; j++) { /* done means done: nothing may still arrive */
            CHECK_INT(atomic_exchange(&state->hits[j], 0), j < count ? 1 : 0);
        }
    }
    mj_threadpool_destroy(pool);
}

typedef struct caller {
    mj_threadpool *pool;
    tally *t;
} caller;

static void *call_often(void *user)
{
    caller *c = user;
    for (int i = 0; i < 200; i++) {
        mj_threadpool_run(c->pool, 16, 1, hit, c->t);
    }
    return NULL;
}

TEST(callers_take_turns)
{
    mj_threadpool *pool = NULL;
    pthread_t threads[3];
    CHECK_STATUS(mj_threadpool_create(2, &pool, NULL), MJ_OK);
    state->threads = 2;
    caller c = {.pool = pool, .t = state};
    for (int i = 0; i < 3; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, call_often, &c), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    mj_threadpool_destroy(pool);
    for (int i = 0; i < 16; i++) {
        CHECK_INT(atomic_exchange(&state->hits[i], 0), 600);
    }
    CHECK_INT(state->shared, 0);
}

static void look_at_mask(void *user, uint32_t index, uint32_t thread)
{
    tally *t = user;
    sigset_t mask;
    (void)index;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (thread > 0 && !(sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM))) {
        atomic_fetch_add(&t->masked, 1);
    }
}

TEST(helpers_take_no_signals)
{
    mj_threadpool *pool = NULL;
    sigset_t mask;
    CHECK_STATUS(mj_threadpool_create(3, &pool, NULL), MJ_OK);
    mj_threadpool_run(pool, 300, 1, look_at_mask, state);
    mj_threadpool_destroy(pool);
    CHECK_INT(state->masked, 0);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK_INT(sigismember(&mask, SIGINT), 0); /* the caller's own mask is as it was */
}

TEST(bad_counts)
{
    mj_threadpool *pool = NULL;
    mj_error error = {0};
    CHECK_STATUS(mj_threadpool_create(0, &pool, &error), MJ_ERR_ARGUMENT);
    CHECK(pool == NULL);
    CHECK_CONTAINS(error.text, "0 threads");
    CHECK_STATUS(mj_threadpool_create(1u << 30, &pool, &error), MJ_ERR_ARGUMENT);
    mj_threadpool_destroy(NULL);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    state = calloc(1, sizeof *state);
    RUN(every_index_once);
    RUN(many_short_jobs);
    RUN(callers_take_turns);
    RUN(helpers_take_no_signals);
    RUN(bad_counts);
    free(state);
    return CHECK_END();
}
