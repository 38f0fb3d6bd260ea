/* tune_session.h: the inside of mj_tune, mj_bench and mj_verify: one session, its rows and candidates.
 *
 *   tune.c        the public calls: options in, session through, result out
 *   tune_plan.c   which rows and candidates there are (no process needed)
 *   tune_open.c   worker and compilers: started, fed, waited for
 *   tune_predict.c  what a row would take, with nothing measured
 *   tune_rows.c   measuring them: the race's calls answered by worker and compile processes
 *   tune_store.c  what is known already, what is written */
#ifndef MOEJIT_TUNE_SESSION_H
#define MOEJIT_TUNE_SESSION_H

#include "compile_pool.h"
#include "journal.h"
#include "ranking.h"
#include "search.h"
#include "worker_link.h"

typedef enum mj_session_mode { MJ_SESSION_TUNE, MJ_SESSION_BENCH, MJ_SESSION_VERIFY } mj_session_mode;

typedef struct mj_candidate {
    char family[MJ_NAME_MAX];
    mj_config config;
    char *text;         /* family and config; the order among equals */
    const char *poison; /* a test's */
    double estimate_us;
    bool is_default;
    bool is_against; /* what the row's own choice, the first candidate, is compared with; it may be the same one */
    uint32_t job;    /* in the pool */
} mj_candidate;

typedef struct mj_row {
    mj_tune_row result;
    uint32_t candidate_count;
    mj_candidate *candidates;
    mj_contestant *contestants; /* parallel */
    bool finished;
    bool absent; /* no candidate or no memory, of an op that is done without then: not in the result */
} mj_row;

typedef struct mj_layer_kernel { /* tables, activation, combine; quantise where the scheme has it */
    mj_op op;
    uint32_t job;
    bool wanted, verified;
} mj_layer_kernel;
#define MJ_LAYER_KERNELS 5

typedef struct mj_op_ranking {
    mj_ranking *ranking; /* NULL: none yet */
    mj_op op;
} mj_op_ranking;

typedef struct mj_session {
    mj_session_mode mode;
    mj_context *context;
    mj_spec *spec; /* its own: rules are asked beside the context's other threads */
    mj_problem problem;
    char problem_text[512];
    mj_tune_options options;
    const mj_scheme *scheme;
    const mj_arch *arch;
    mj_wire_device device; /* shape, identity */
    bool is_cpu;
    char cache_dir[1024];
    bool cache_is_temporary;
    char store_path[1100];
    mj_store_file store; /* what the file held, if it counts */
    bool store_loaded;
    mj_journal *journal;

    uint32_t token_count_count, routing_count, op_count;
    const uint32_t *token_counts;
    const char *const *routings;
    mj_op ops[MJ_OP_COUNT];

    uint32_t row_count;
    mj_row *rows;
    /* Of the op whose rows are planned: of the families wished, of the one that bench compares with, of all. */
    mj_op_ranking ranking, against, whole;
    mj_layer_kernel layer[MJ_LAYER_KERNELS];

    mj_link link;
    mj_pool *pool;
    mj_row *row; /* being measured */
    double prepared_bytes, prepared_operations;
    double start_seconds, deadline_seconds; /* 0: none */
    double tick_seconds;                    /* of the last progress call */
    uint32_t done, total, resumed;
    double memory_gbps, matrix_tflops;                  /* measured; 0: not yet, or not to be had */
    char matrix_product[MJ_NAME_MAX], matrix_note[200]; /* see mj_tune_result */
    bool budget_spent, save_failed, stop;
    mj_error save_error;
} mj_session;

/* tune_plan.c */
mj_status mj_session_choose(mj_session *s, mj_error *error);    /* options -> token counts, routings, ops */
mj_status mj_session_plan_rows(mj_session *s, mj_error *error); /* rows, without candidates */
mj_status mj_session_plan_candidates(mj_session *s, mj_row *row, mj_error *error);
void mj_session_forget_rankings(mj_session *s); /* what planning holds */
void mj_session_free_rows(mj_session *s);       /* and what their planning holds */
/* Some of the rows are of an op that is weighed against this one, among others. */
bool mj_session_times_replaced(const mj_session *s, mj_op op);
/* The space of the device's best family that has this op and serves the scheme. NULL: none. */
const mj_space *mj_session_space(const mj_session *s, mj_op op);

/* tune_predict.c */
mj_status mj_session_predict(mj_session *s, mj_row *row,
                             mj_error *error); /* fills the row's result from its first candidate */

/* tune_open.c */
mj_status mj_session_open(mj_session *s, mj_error *error); /* worker, compile pool */
/* Do the unfinished rows fit the device's memory? Before anything is compiled; MJ_ERR_DEVICE_MEMORY says what would. Rows of ops that
 * stand in for others, and do not fit, are absent. */
mj_status mj_session_check_memory(mj_session *s, mj_error *error);
void mj_session_announce(mj_session *s);
void mj_session_close(mj_session *s);
mj_status mj_session_queue(mj_session *s, mj_error *error); /* all kernels to the compilers */
/* Until that kernel is compiled, or was refused. */
mj_status mj_session_wait_job(mj_session *s, uint32_t index, mj_job **out, mj_error *error);
/* Progress to the caller; false: stop. */
bool mj_session_report(mj_session *s, const mj_candidate_result *last, const mj_tune_row *row, const char *message);
mj_status mj_session_interrupted(mj_error *error);

/* The simple op's kernel; NULL: not in this session. */
const mj_layer_kernel *mj_session_layer_kernel(const mj_session *s, mj_op op);

/* tune_rows.c */
mj_status mj_session_layer(mj_session *s, mj_error *error); /* the simple ops, verified; the ceiling */
mj_status mj_session_row(mj_session *s, mj_row *row, mj_error *error);
void mj_session_floor(const mj_session *s, mj_tune_row *row); /* from the row's bytes and operations */

/* tune_store.c */
mj_status mj_session_open_folders(mj_session *s, mj_error *error); /* writable? before anything starts */
mj_status mj_session_load_store(mj_session *s, mj_error *error);   /* needs the device's identity */
/* Fills a row from the store. false: it holds nothing that counts. */
bool mj_session_from_store(const mj_session *s, mj_row *row);
/* What is stored for this very batch size and routing, or NULL. */
const mj_choice *mj_session_stored(const mj_session *s, const mj_row *row);
/* What a plan takes from the store for them (select.h), which may be another row's: the result says whose. */
const mj_choice *mj_session_served(const mj_session *s, mj_row *row);
/* Not every config of the space may become a candidate. */
bool mj_session_is_partial(const mj_session *s);
/* The row says afterwards whether its choice is in the store. */
void mj_session_save(mj_session *s, mj_row *row, const mj_job *job);

#endif
