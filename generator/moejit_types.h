/* moejit_types.h: the words shared by every layer: status codes, the problem, a config.
 *
 * Public: installed beside moejit.h, which includes it. Pure data; the functions declared here
 * (generator/problem.c, generator/config.c, generator/status.c) touch libc only and are in every build.
 */
#ifndef MOEJIT_TYPES_H
#define MOEJIT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOEJIT_VERSION_MAJOR  0
#define MOEJIT_VERSION_MINOR  1
#define MOEJIT_VERSION_PATCH  0
#define MOEJIT_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define MJ_API                              __attribute__((visibility("default")))
#define MJ_PRINTF(format_index, args_index) __attribute__((format(printf, format_index, args_index)))
#else
#define MJ_API
#define MJ_PRINTF(format_index, args_index)
#endif

/* ---- Status ----------------------------------------------------------------------------------
 * Every fallible function returns one. MJ_OK is 0. Compare by name, print with mj_status_name().
 * ORDER STATUS: generator/status.c expands this same list. */
#define MJ_STATUS_LIST(X) \
    X(MJ_OK, "ok") \
    X(MJ_ERR_ARGUMENT, "an argument is null, out of range or contradicts another") \
    X(MJ_ERR_MEMORY, "host memory could not be allocated") \
    X(MJ_ERR_IO, "a file or folder could not be read or written") \
    X(MJ_ERR_NOT_FOUND, "no entry, file or name of that kind") \
    X(MJ_ERR_FORMAT, "a file or message is damaged or not of the expected form") \
    X(MJ_ERR_VERSION, "a file was written by another version") \
    X(MJ_ERR_UNSUPPORTED, "known, but not in this build or not on this device") \
    X(MJ_ERR_ILLEGAL, "the config is refused by a legality rule") \
    X(MJ_ERR_NO_DEVICE, "no such device, or its driver is missing") \
    X(MJ_ERR_NO_COMPILER, "the run-time compiler is missing") \
    X(MJ_ERR_COMPILE, "the compiler rejected a kernel") \
    X(MJ_ERR_DEVICE, "a device call failed; the device can still be used") \
    X(MJ_ERR_DEVICE_LOST, "a device call failed and its context is unusable: restart the process") \
    X(MJ_ERR_DEVICE_MEMORY, "device memory is too small or taken") \
    X(MJ_ERR_TIMEOUT, "a time limit passed") \
    X(MJ_ERR_WRONG_RESULT, "a kernel's output differs from the reference") \
    X(MJ_ERR_UNVERIFIED, "the plan holds an unverified choice and verified ones were required") \
    X(MJ_ERR_CAPACITY, "more tokens, bytes or entries than the object was made for") \
    X(MJ_ERR_INTERRUPTED, "stopped on request; what was known so far is kept") \
    X(MJ_ERR_CHILD, "a helper process died or could not be started") \
    X(MJ_ERR_INTERNAL, "a broken invariant: please report it")

typedef enum mj_status {
#define MJ_STATUS_ENUM(name, text) name,
    MJ_STATUS_LIST(MJ_STATUS_ENUM)
#undef MJ_STATUS_ENUM
        MJ_STATUS_COUNT
} mj_status;

/* "MJ_ERR_IO", and its one-line meaning. Never NULL, also for unknown values. */
MJ_API const char *mj_status_name(mj_status status);
MJ_API const char *mj_status_text(mj_status status);

/* The detail of a failure, written by the failing call into the caller's struct; one line, no
 * newline at the end. Every function that takes an mj_error accepts NULL for it. */
typedef struct mj_error {
    mj_status status;
    char text[1024];
} mj_error;

/* Fill `error` (if not NULL) and return `status`, so that `return mj_fail(error, ...)` is one step. */
MJ_API mj_status mj_fail(mj_error *error, mj_status status, const char *format, ...) MJ_PRINTF(3, 4);

/* ---- Problem ---------------------------------------------------------------------------------
 * What is asked of one MoE layer on one rank. The number of tokens and the routing are not part of it.
 *
 *   gemm1: [rows, H] x [E, G*N, H]^T -> [rows, G*N]    G = 2 if gated (gate rows, then up rows), else 1
 *   act  : [rows, G*N] -> [rows, N]
 *   gemm2: [rows, N] x [E, H, N]^T -> [pairs, H], times the top-k weight
 *   combine: sum of a token's pairs -> [M, H]           pairs = M * top_k, rows = pairs of local experts
 */
#define MJ_NAME_MAX 32

/* ORDER ACTIVATION: generator/problem.c, templates/activation.tmpl, runtime/reference.c */
typedef enum mj_activation {
    MJ_ACT_SILU,      /* gate * sigmoid(gate) [* up] */
    MJ_ACT_GELU,      /* gate * Phi(gate), erf form [* up] */
    MJ_ACT_GELU_TANH, /* tanh approximation [* up] */
    MJ_ACT_RELU2,     /* max(gate, 0)^2 [* up] */
    MJ_ACT_SWIGLUOAI, /* clamped: g = min(gate, limit), u = clamp(up, +-limit); g*sigmoid(alpha*g)*(u+1) */
    MJ_ACT_COUNT
} mj_activation;

typedef struct mj_problem {
    uint32_t expert_count;       /* E: experts whose weights this rank holds, 1..4096 */
    uint32_t expert_total_count; /* experts of the whole layer: E * expert-parallel ranks */
    uint32_t top_k;              /* 1..64, <= expert_total_count */
    uint32_t hidden;             /* H, elements */
    uint32_t intermediate;       /* N per rank, elements */
    bool gated;                  /* gemm1 writes 2N columns */
    bool bias;                   /* per-expert bias after gemm1 [E, G*N] and gemm2 [E, H] */
    mj_activation activation;
    char scheme[MJ_NAME_MAX]; /* a name of lua/quant: "bf16", "fp16" */
    char layout[MJ_NAME_MAX]; /* weight layout: "default", or "interleaved8" (moejit.h, mj_weights_pack) */
} mj_problem;

MJ_API const char *mj_activation_name(mj_activation activation);
MJ_API mj_status mj_activation_parse(const char *name, mj_activation *out, mj_error *error);

/* Canonical text, e.g. "E=8/8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default":
 * equal problems print equally, and mj_problem_parse reads it back. Returns MJ_ERR_CAPACITY if `bytes` is too small. */
MJ_API mj_status mj_problem_print(const mj_problem *problem, char *out, size_t bytes, mj_error *error);
MJ_API mj_status mj_problem_parse(const char *text, mj_problem *out, mj_error *error);
/* Ranges, overflow of every size product, top_k against experts, the layout against the sizes (MJ_ERR_UNSUPPORTED: there is no such
 * layout). Does not look the scheme up. */
MJ_API mj_status mj_problem_check(const mj_problem *problem, mj_error *error);

/* ---- Config ----------------------------------------------------------------------------------
 * One point of a family's space: named integers, in the order of the family's lua/space file. */
#define MJ_CONFIG_MAX 24

typedef struct mj_param {
    char name[MJ_NAME_MAX];
    int32_t value;
} mj_param;

typedef struct mj_config {
    uint32_t count;
    mj_param params[MJ_CONFIG_MAX];
} mj_config;

/* "tile_m=16,tile_n=128,..." and back. Parsing accepts any order; names must be unique. */
MJ_API mj_status mj_config_print(const mj_config *config, char *out, size_t bytes, mj_error *error);
MJ_API mj_status mj_config_parse(const char *text, mj_config *out, mj_error *error);
MJ_API bool mj_config_get(const mj_config *config, const char *name, int32_t *out);
MJ_API mj_status mj_config_set(mj_config *config, const char *name, int32_t value, mj_error *error);
MJ_API bool mj_config_equal(const mj_config *a, const mj_config *b); /* same names and values, any order */

/* ---- Ops of a layer, in launch order. ORDER OP: generator/op.c */
typedef enum mj_op {
    MJ_OP_TABLES,    /* top-k ids -> expert offsets, sorted pairs */
    MJ_OP_QUANTISE1, /* x -> codes and scales, for schemes whose GEMMs multiply codes */
    MJ_OP_GEMM1,
    MJ_OP_GEMM1_ACT,      /* gemm1 and activation in one; stands in their place where a plan has it */
    MJ_OP_GEMM1_QUANTISE, /* gemm1, activation and quantise2 in one, likewise: writes codes and their scales */
    MJ_OP_ACTIVATION,
    MJ_OP_QUANTISE2, /* activated rows -> codes and scales, likewise */
    MJ_OP_GEMM2,
    MJ_OP_GEMM2_COMBINE, /* gemm2 and combine in one, likewise */
    MJ_OP_COMBINE,
    MJ_OP_FILL,    /* tuner's helper: seeded random data */
    MJ_OP_COMPARE, /* tuner's helper: output against reference, per row */
    MJ_OP_STREAM,  /* tuner's helper: read and copy bandwidth of the device */
    MJ_OP_COUNT
} mj_op;

MJ_API const char *mj_op_name(mj_op op);
MJ_API mj_status mj_op_parse(const char *name, mj_op *out, mj_error *error);

#ifdef __cplusplus
}
#endif
#endif
