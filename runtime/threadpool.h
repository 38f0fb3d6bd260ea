/* threadpool.h: a fixed set of threads that share the indices of one job at a time. */
#ifndef MOEJIT_THREADPOOL_H
#define MOEJIT_THREADPOOL_H

#include "moejit_types.h"

typedef struct mj_threadpool mj_threadpool;

/* One index of a job. `thread` is 0..threads-1 and belongs to one running call at a time. */
typedef void (*mj_task_fn)(void *user, uint32_t index, uint32_t thread);

/* `threads` counts the caller of mj_threadpool_run, so 1 starts none. If the system refuses some
 * threads the pool has fewer; none of its threads takes the process's signals. */
mj_status mj_threadpool_create(uint32_t threads, mj_threadpool **out, mj_error *error);
void mj_threadpool_destroy(mj_threadpool *pool);
uint32_t mj_threadpool_threads(const mj_threadpool *pool);

/* Calls task once for every index in 0..count-1, `chunk` neighbours at a time to one thread, in no
 * particular order, and returns when all are done. One job at a time: callers wait for each other;
 * a task must not start a job on its own pool. Allocates nothing. */
void mj_threadpool_run(mj_threadpool *pool, uint32_t count, uint32_t chunk, mj_task_fn task, void *user);

#endif
