/* store.h: tuned decisions, a folder of JSON files, one per problem and device name.
 *
 *   E=8,N=7168,H=4096,topk=2,device_name=NVIDIA_H200,dtype=bf16.moejit.json   (further problem fields only when not default)
 *   {
 *     "moejit_store": 1,
 *     "problem": "E=8/8,topk=2,...",                 canonical text; the file name is for people, this is the key
 *     "identity": { "device", "arch", "sm_count", "memory_bytes", "driver", "compiler", "generator", "version" },
 *     "ceilings": { "memory_gbps", "matrix_tflops", "matrix_product" },    the last: "bf16" where it is absent
 *     "ops": { "tables": {kernel}, "activation": {kernel}, "combine": {kernel} },
 *     "rows": { "1": { "uniform": { "gemm1": {choice}, "gemm1_act": {choice}, "gemm1_quantise": {choice},
 *               "activation": {kernel}, "quantise2": {kernel}, "gemm2": {choice}, "gemm2_combine": {choice},
 *               "combine": {kernel} } },
 *               "16": ... }
 *   }
 *   kernel = choice = { "family", "config", "verified", "time_us_median", "time_us_spread", "floor_us", "tried", "refused",
 *   "failed": {reason: count}, "seed", "effort", "samples", "launches", "bytes", "operations", "cache_key", "manifest" }
 *   effort: "quick" or "full", how the whole space was searched; "part": only a part of it was, so a tune does not skip the row
 *   samples, launches: replays timed, and launches in each; bytes, operations: of one launch. Files without these four are read.
 *   gemm1_act stands in for gemm1 and activation: it is used where its time is below the sum of theirs in the same row. There is an
 *   activation in a row for that comparison alone (it was timed at that batch size); it is the kernel of "ops". gemm1_quantise likewise
 *   stands in for gemm1_act, or gemm1 and activation if these are the faster, and quantise2; gemm2_combine for gemm2 and combine.
 *
 * Keys come in this order, rows by tokens, routings by name: equal contents give equal bytes. A row or op may be absent, a key of
 * what is there may not. Keys this version does not know are kept when it rewrites the file.
 * A damaged file is MJ_ERR_FORMAT naming file and key ("x.moejit.json: rows.16.uniform.gemm1.seed: the key is missing"); one of
 * another moejit_store number is MJ_ERR_VERSION: skipped and named, never overwritten without force.
 */
#ifndef MOEJIT_STORE_H
#define MOEJIT_STORE_H

#include "backend.h"
#include "json.h"

#define MJ_STORE_FORMAT   1
#define MJ_STORE_ROWS_MAX 4096

typedef struct mj_identity { /* complete key of a decision besides problem and M */
    char device[128];
    char arch[MJ_NAME_MAX];
    uint32_t sm_count;
    uint64_t memory_bytes;
    char driver[64];
    char compiler[96];
    uint32_t generator_version;
} mj_identity;

typedef struct mj_choice {
    bool present;
    char cache_key[MJ_SHA256_HEX];
    mj_manifest manifest; /* family and config inside */
    bool verified;
    double time_us_median, time_us_spread, floor_us; /* spread: (p75 - p25) / 2 */
    double bytes, operations;                        /* of one launch; 0: not known */
    uint32_t sample_count, launches;                 /* launches: in every sample; 0: not known */
    uint32_t tried, refused, failed;
    uint64_t seed;
    char effort[16];
    char failed_reasons[512]; /* "reason: count; ..." */
} mj_choice;

typedef struct mj_store_row {
    uint32_t token_count;
    char routing[MJ_NAME_MAX];
    mj_choice gemm1, gemm1_act, gemm1_quantise, activation, quantise2, gemm2, gemm2_combine, combine;
} mj_store_row;

typedef struct mj_store_file { /* one file in memory; mj_store_file_free */
    mj_problem problem;
    mj_identity identity;
    mj_choice ops[MJ_OP_COUNT]; /* tables, activation, combine */
    uint32_t row_count, row_capacity;
    mj_store_row *rows; /* sorted by token_count, then routing */
    double memory_gbps, matrix_tflops;
    char matrix_product[MJ_NAME_MAX]; /* what the vendor's library multiplied for it; "" if nothing */
} mj_store_file;

/* File name for a problem on a device: of the device name the first 100 characters, those outside [A-Za-z0-9._-] as '_'. */
mj_status mj_store_file_name(const mj_problem *problem, const char *device_name, char *out, size_t bytes,
                             mj_error *error);
mj_status mj_store_load(const char *path, mj_store_file *out, mj_error *error);
/* Atomic: a reader sees the old file or the new one, whole; a failure leaves the old one. Rows and ops that another process
 * wrote since are kept if they have the same identity, else the file is replaced. A damaged file is first copied to
 * "<path>.damaged"; one of another version or another problem stays and the call fails (MJ_ERR_VERSION, MJ_ERR_FORMAT). */
mj_status mj_store_save(const char *path, const mj_store_file *file, mj_error *error);
/* The same, but over anything that is there: asked for by the user (--force). Keeps nothing of the old file. */
mj_status mj_store_replace(const char *path, const mj_store_file *file, mj_error *error);
mj_status mj_store_parse(const char *text, size_t bytes, const char *file_name, mj_store_file *out, mj_error *error);
/* The file as text; malloc'ed, NULL when out of memory or when it holds what could not be read back. */
char *mj_store_print(const mj_store_file *file);
mj_json *mj_store_to_json(const mj_store_file *file);
void mj_store_file_free(mj_store_file *file);
/* The row, added if absent; valid until the next row is added. NULL when out of memory. */
mj_store_row *mj_store_row_at(mj_store_file *file, uint32_t token_count, const char *routing);
/* Whose rows serve a routing: its own, else uniform's, else the first there is. */
const char *mj_store_pick_routing(const mj_store_file *file, const char *wanted);
/* A row's choice for an op; NULL: rows hold none for it. */
mj_choice *mj_store_row_choice(mj_store_row *row, mj_op op);
/* An op that stands in for others was verified, and is faster than these together; `*instead_us`: what they take, those of them
 * that were timed. Ops that stand for themselves: true, and 0. */
bool mj_store_row_prefers(mj_store_row *row, mj_op op, double *instead_us);
/* false names the first difference: "driver: cuda 12.8, not cuda 13.0". Memory counts as equal within 2 %: drivers and kernels
 * take a little more or less of it. `difference` may be NULL. */
bool mj_identity_equal(const mj_identity *a, const mj_identity *b, char *difference, size_t bytes);
mj_status mj_device_identity(mj_device *device, mj_identity *out, mj_error *error);
/* As store files and packs hold it. NULL: no memory. */
mj_json *mj_identity_to_json(const mj_identity *identity);
mj_status mj_identity_from_json(const mj_json *object, mj_identity *out, mj_error *error);

/* Exactly 64 digits of 0-9a-f. */
bool mj_is_sha256_hex(const char *text);
mj_json *mj_manifest_to_json(const mj_manifest *manifest);
mj_status mj_manifest_from_json(const mj_json *value, mj_manifest *out, mj_error *error);

#endif
