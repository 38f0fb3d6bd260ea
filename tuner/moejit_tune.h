/* moejit_tune.h: verify, time and choose kernels on a device; libmoejit_tuner, on top of libmoejit.
 *
 * A tune runs in helper processes: moejit-worker opens the device, verifies and times; moejit-compile generates and compiles.
 * The calling process opens no device. A candidate that hangs, crashes or corrupts memory costs its worker, which is replaced;
 * the candidate is recorded with its reason and the sweep goes on. Measurements are appended to a journal as they are taken,
 * so a killed tune resumes; decisions are written to the store (runtime/store.h) after every finished row.
 *
 * A tune of a part of the space (family, config or accept set) measures always and replaces a stored verified choice only by
 * a faster one, or with `force`; a row stored by such tunes alone does not count as tuned. A tune of the whole space lets the
 * stored choice race along, so that tuning again never makes a row slower than what it found there.
 *
 * A store file of another version stops a tune before it starts anything (MJ_ERR_VERSION); with `force` it is renamed to ".old"
 * and a new one is written. A damaged one is renamed to ".damaged". Bench and verify do without either, and say so.
 *
 * In a context that compiles nothing (no_compile) the helpers do not either: a call whose kernels are all in the cache works, and any
 * other ends with MJ_ERR_NO_COMPILER, naming the first that is not.
 *
 * Calls may run in several threads at once, of one context too, and beside plans that serve: nothing is shared but files. Two that
 * measure on one device see each other in their times.
 */
#ifndef MOEJIT_TUNE_H
#define MOEJIT_TUNE_H

#include "moejit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mj_effort {                     /* ORDER EFFORT */
                         MJ_EFFORT_ESTIMATE, /* nothing is measured or stored: mj_bench says what is predicted; mj_tune likewise */
                         MJ_EFFORT_QUICK, /* the estimate's best few per row */
                         MJ_EFFORT_FULL,  /* every legal config, racing */
                         MJ_EFFORT_COUNT
} mj_effort;

/* Why a candidate is out. ORDER REASON */
#define MJ_REASON_LIST(X) \
    X(MJ_REASON_NONE, "ok") \
    X(MJ_REASON_COMPILE, "compile error") \
    X(MJ_REASON_COMPILE_TIMEOUT, "compile timeout") \
    X(MJ_REASON_SPILL, "spills registers") \
    X(MJ_REASON_OVERLAP, "compiler drops overlap") /* wgmma serialised, setmaxnreg ignored */ \
    X(MJ_REASON_RESOURCES, "does not fit the device") \
    X(MJ_REASON_WRONG, "wrong result") \
    X(MJ_REASON_GUARD, "wrote out of bounds") \
    X(MJ_REASON_FLAKY, "result changes between runs") \
    X(MJ_REASON_TIMEOUT, "run timeout") \
    X(MJ_REASON_CRASH, "crashed the worker") \
    X(MJ_REASON_DEVICE, "device error") \
    X(MJ_REASON_SLOW, "dropped: clearly slower")
typedef enum mj_reason {
#define MJ_REASON_ENUM(name, text) name,
    MJ_REASON_LIST(MJ_REASON_ENUM)
#undef MJ_REASON_ENUM
        MJ_REASON_COUNT
} mj_reason;
MJ_API const char *mj_reason_text(mj_reason reason);

typedef struct mj_candidate_result {
    mj_op op;
    uint32_t token_count;
    char routing[MJ_NAME_MAX];
    char family[MJ_NAME_MAX];
    mj_config config;
    bool is_default;  /* what the estimate would have served */
    mj_reason reason; /* MJ_REASON_NONE: verified and timed; MJ_REASON_SLOW: verified, timed briefly */
    char detail[256];
    double estimate_us;
    double time_us_median, time_us_spread; /* 0: not timed */
    uint32_t sample_count;
    /* Of each replay: 10, or 20 up to 512 tokens; fewer where one takes long, as many for all finalists of a row. */
    uint32_t launches;
    double compile_seconds;
} mj_candidate_result;

typedef struct
    mj_tune_row { /* a finished row: the choice for one op (gemm1, gemm1_act, gemm1_quantise, gemm2, gemm2_combine), M and routing */
    mj_op op;
    uint32_t token_count;
    char routing[MJ_NAME_MAX];
    mj_candidate_result best;
    double default_us; /* the default's time in the same final interleaved measurement */
    double floor_us, bytes, operations;
    double
        padded_operations; /* with every expert's rows rounded up to the config's tile, and so at most; 0: not known (of the store) */
    double
        row_error; /* largest ||got - ref|| / ||ref|| of one row when its output was compared; < 0: not in this call */
    mj_candidate_result against; /* of options->against, timed in the same rounds; family empty: none */
    /* An op that stands in for others: the last of these (gemm1_act: activation, gemm1_quantise: quantise2, gemm2_combine:
     * combine), timed alone in the same way; time 0: it was not timed. */
    mj_candidate_result replaced;
    uint32_t tried, refused, failed, dropped;
    uint32_t failed_by_reason[MJ_REASON_COUNT];
    bool from_store;  /* skipped: already tuned with this identity */
    bool unsaved;     /* tune: chosen, but not written: see kept_us, and not_saved of the result */
    double kept_us;   /* > 0: not saved; the store keeps its own verified choice, which took this long */
    bool asked;       /* bench and verify: the config is the caller's; `origin` means nothing then */
    mj_origin origin; /* where the config came from: bench and verify STORE or ESTIMATE; tune STORE once saved */
    /* Bench and verify, of the store: the batch size and routing whose row a plan takes for this one. 0: not of the store. */
    uint32_t tuned_at;
    char tuned_routing[MJ_NAME_MAX];
    bool verified; /* its output was compared with the reference, in this call or in the stored one */
} mj_tune_row;

typedef struct mj_tune_progress {
    uint32_t done, total; /* candidate measurements */
    uint32_t compiled, compile_total;
    double elapsed_seconds, left_seconds; /* left < 0: unknown */
    const mj_candidate_result *last;      /* may be NULL */
    const mj_tune_row *row;               /* set when a row just finished */
    const char *message;                  /* set for a line worth showing (worker replaced, device busy, ...) */
} mj_tune_progress;

typedef struct mj_tune_options {
    const char *device; /* "best" (NULL), "cuda:0", "hip:0", "cpu" */
    uint32_t token_count_count;
    const uint32_t *token_counts; /* NULL: the 18 usual ones on a GPU, a few on the cpu */
    uint32_t routing_count;
    const char *const *routings; /* NULL: { "uniform" } */
    uint64_t seed;
    mj_effort effort;
    double budget_seconds;       /* 0: none; reached: rows so far are kept, the rest is left untuned */
    uint64_t device_bytes_max;   /* 0: nine tenths of what is free */
    uint64_t host_bytes_max;     /* of each compiler process, 0: 2 GiB; the worker has no limit */
    bool force;                  /* measure again what the store already holds */
    bool gemm1_only, gemm2_only; /* each includes what stands in for it */
    bool no_stand_ins;           /* only the layer's plain ops: no gemm1_act, gemm1_quantise, gemm2_combine */
    const char *family;          /* only this family; NULL: all */
    /* Bench: a family whose choice by the estimate is timed beside each row's own; NULL: none. Where the row's own config is that
     * choice, it stands against itself. */
    const char *against;
    /* Effort estimate: an arch that need not be there, as its typical device, instead of `device`; NULL: the device. */
    const char *arch;
    const char *config; /* only this config text (verify, bench); NULL: all */
    /* Restricts the space further: false = not a candidate (counted as refused). Called with `user` in the calling
     * thread while candidates are enumerated, never later. NULL: all. */
    bool (*accept)(void *user, mj_op op, const char *family, const mj_config *config);
    const char *save_dir;       /* NULL: the context's store folder */
    const char *journal_dir;    /* NULL: $XDG_STATE_HOME/moejit */
    const char *worker_path;    /* moejit-worker; NULL: beside the calling program, then ../libexec/moejit, then PATH */
    const char *compile_path;   /* moejit-compile; likewise */
    uint32_t compile_processes; /* 0: cores */
    double candidate_seconds_max; /* 0: 20: a longer verify or timing step is a timeout */
    bool (*progress)(void *user, const mj_tune_progress *progress);   /* false: stop cleanly -> MJ_ERR_INTERRUPTED */
    void (*candidate)(void *user, const mj_candidate_result *result); /* every candidate's end */
    void *user;
} mj_tune_options;

typedef struct mj_tune_result {
    char device_name[128];
    char device_id[MJ_NAME_MAX];
    char arch[MJ_NAME_MAX], driver[64], compiler[96];
    bool budget_spent; /* some rows are missing because options->budget_seconds passed */
    char store_path[1024];
    bool persisted;                    /* tune: rows of this result are in the store, and no save failed */
    char not_saved[512];               /* why a finished row could not be written; empty: all were */
    double memory_gbps, matrix_tflops; /* measured ceilings; matrix 0: vendor library absent, arch's figure used */
    char matrix_product[MJ_NAME_MAX];  /* what the vendor's library multiplied: "bf16" or "e4m3"; "" if nothing */
    char matrix_note[200];             /* why that is not what the scheme's GEMMs multiply; "" if it is, or not known */
    uint32_t row_count;
    mj_tune_row *rows; /* sorted by token count, routing, op */
    uint32_t worker_restarts;
    double seconds, compile_seconds_median;
    uint32_t resumed; /* measurements taken from the journal */
} mj_tune_result;

/* Tunes one problem: gemm1, gemm2 and, where a family of the arch other than the reference has it and a config is legal, what stands
 * in for others (gemm1_act with the activation alone beside it, gemm1_quantise with quantise2, gemm2_combine with combine). On
 * MJ_ERR_INTERRUPTED and on a spent budget `out` holds the finished rows. Free with mj_tune_result_free.
 * [sync: yes | alloc: host | gpu: in helper processes] */
MJ_API mj_status mj_tune(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                         mj_tune_result *out, mj_error *error);
MJ_API void mj_tune_result_free(mj_tune_result *result);

/* Measures without searching: what a plan would use now, or options->config. Verified first. A plan takes the row of this device's
 * store that is nearest, at most a factor of 8 away, uniform's where the routing has none; else the estimate's choice. (It may also
 * take a pack, or what another device of the arch stored; these are not looked at here.) With effort
 * estimate nothing is measured: `best` has the config that a plan would start with (it knows no routing) and the time predicted for
 * it under the row's routing, `floor_us` is of the arch's typical figures, and the work is of one routing drawn with the seed. */
MJ_API mj_status mj_bench(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                          mj_tune_result *out, mj_error *error);
/* Verifies one config (options->family, options->config; NULL: what a plan would use now) at every token count and routing; times
 * nothing. */
MJ_API mj_status mj_verify(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                           mj_tune_result *out, mj_error *error);

/* Number of candidates and seconds a tune would take, nothing started (--dry-run). */
typedef struct mj_tune_forecast {
    uint32_t rows, candidates, kernels;
    uint64_t refused;
    double seconds;
} mj_tune_forecast;
MJ_API mj_status mj_tune_dry_run(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                                 mj_tune_forecast *out, mj_error *error);

#ifdef __cplusplus
}
#endif
#endif
