/* compile_pool.h: kernels compiled ahead, in moejit-compile processes, while the worker measures.
 *
 * Single-threaded: the caller polls the descriptors it is given and calls mj_pool_pump. Jobs start in the order added,
 * urgent ones first. A process that dies or takes too long costs its job, and is replaced. */
#ifndef MOEJIT_COMPILE_POOL_H
#define MOEJIT_COMPILE_POOL_H

#include <poll.h>

#include "child.h"
#include "compile_log.h"
#include "context.h"
#include "gen.h"
#include "moejit_tune.h"

#define MJ_POOL_PROCESSES_MAX 64

typedef enum mj_job_state { MJ_JOB_WAITING, MJ_JOB_RUNNING, MJ_JOB_DONE } mj_job_state;

typedef struct mj_job {
    /* asked */
    mj_op op;
    char family[MJ_NAME_MAX];
    char *config;       /* text, owned */
    const char *poison; /* NULL, or a name of poison.h */
    bool urgent;
    /* answered, once state is MJ_JOB_DONE */
    mj_job_state state;
    mj_reason reason; /* NONE, COMPILE or COMPILE_TIMEOUT */
    char detail[256];
    char cache_key[MJ_SHA256_HEX];
    mj_json *manifest; /* as the reply held it; owned */
    uint32_t regs, local_bytes;
    char lost_overlap[MJ_LOST_OVERLAP_MAX]; /* the compiler's line about it, or "" */
    double compile_seconds;                 /* as the compiler took when it last ran for this source */
    bool was_hit;
} mj_job;

typedef struct mj_pool_options {          /* 0 and NULL: as said */
    const char *path;                     /* moejit-compile; NULL: the one installed with this library */
    uint32_t process_count;               /* 0: one per processor */
    uint64_t memory_bytes_max;            /* of one process; 0: 2 GiB */
    const mj_context *context;            /* whose data files and compilers are used; read here only, not NULL */
    const char *cache_dir;                /* NULL: the context's */
    const char *problem, *arch, *backend; /* of every job; copied, not NULL */
} mj_pool_options;

typedef struct mj_pool mj_pool;

mj_status mj_pool_create(const mj_pool_options *options, mj_pool **out, mj_error *error);
void mj_pool_destroy(mj_pool *pool);
/* The index of the job; an equal one (op, family, config, poison) is not added twice. */
mj_status mj_pool_add(mj_pool *pool, mj_op op, const char *family, const char *config, const char *poison,
                      uint32_t *index, mj_error *error);
mj_job *mj_pool_job(mj_pool *pool, uint32_t index);
/* For a GPU: what the compiler's own words say against a job that is done; its reason, or that of spills or of lost overlap. */
mj_reason mj_job_judge(const mj_job *job, char *detail, size_t detail_bytes);
uint32_t mj_pool_job_count(const mj_pool *pool);
uint32_t mj_pool_done_count(const mj_pool *pool);
/* Descriptors to poll for input. */
uint32_t mj_pool_fds(const mj_pool *pool, struct pollfd *out, uint32_t capacity);
/* Takes replies, enforces deadlines, starts what can start. Not MJ_OK: no job can succeed (no compiler, no data files). */
mj_status mj_pool_pump(mj_pool *pool, mj_error *error);
/* As mj_pool_pump, once a process has replied or after `ms_max`; at once where none is at work. */
mj_status mj_pool_wait(mj_pool *pool, int ms_max, mj_error *error);

#endif
