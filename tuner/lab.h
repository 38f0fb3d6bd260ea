/* lab.h: a device with one GEMM's data on it, inside moejit-worker: what verify.c and measure.c work on.
 *
 *   mj_lab    the device, helper kernels (fill, compare, reference), weights of one problem and op
 *   mj_case   one batch size and routing: up to MJ_SETS sets of routing and activations, output buffers, the reference output
 *
 * Every buffer a candidate writes lies between two guard zones of known bytes. All data is random by seed. */
#ifndef MOEJIT_LAB_H
#define MOEJIT_LAB_H

#include "launch.h"
#include "operands.h"

#define MJ_LAUNCHES 10 /* of a replay, at least, and copies of weights, at most */
#define MJ_SETS \
    20 /* of routing and activations: all where tokens are few and one routing says little, else MJ_LAUNCHES */
#define MJ_FEW_TOKENS  512
#define MJ_GUARD_BYTES 4096
#define MJ_GUARD_BYTE  0xA5

typedef struct mj_guarded { /* [guard][data][guard]: the second starts right after `bytes` */
    void *base;
    char *data;
    uint64_t bytes, capacity_bytes;
} mj_guarded;

typedef struct mj_lab {
    mj_device *device;
    const mj_spec *spec;
    const mj_arch *arch;
    void *stream;
    uint64_t bytes_max, bytes_used;

    mj_loaded_kernel fill, compare, reference; /* built on first need; reference: of the loaded op */
    mj_loaded_kernel combine;                  /* of a gemm2_combine: adds what the reference then wrote for pairs */

    bool loaded;
    mj_problem problem;
    const mj_scheme *scheme;
    mj_op op;
    uint64_t seed;
    mj_gemm_shape shape;
    uint32_t io_bytes, io_mode;
    uint32_t output_bytes;      /* of a value: io_bytes, or those of a code */
    uint32_t scales_per_row;    /* written beside codes; 0: none are written */
    mj_operands operands;       /* of one input row */
    uint64_t weights_all_bytes; /* codes, scales and zero points: one block */
    uint32_t weights_count;
    void *weights[MJ_LAUNCHES]; /* [0] always; further copies where a case wants them */
    void *bias;
    mj_guarded partials, counters; /* grown to what a kernel needs */
} mj_lab;

typedef struct mj_case_set {
    int32_t *offsets, *pairs, *ids; /* host copies */
    float *topk_weights;
    void *device_offsets, *device_pairs, *device_ids, *device_topk_weights, *device_input;
    void *device_input_scales; /* null: the scheme has none */
    void *device_sums;         /* null but while an op behind a GEMM is timed */
    uint64_t rows;             /* of this rank */
    uint32_t active_count;     /* experts with rows */
} mj_case_set;

typedef struct mj_case {
    bool present;
    uint32_t token_count;
    char routing[MJ_NAME_MAX];
    uint64_t seed;
    uint32_t set_count;
    mj_case_set sets[MJ_SETS];
    uint64_t output_rows;     /* rows of the output array of set 0 */
    mj_guarded output[2];     /* large enough for every set */
    mj_guarded scales[2];     /* of outputs that are codes: written with them, or the static one; else nothing */
    void *reference, *result; /* reference: io_format values, also where the output is codes of such */
    void *pair_reference;     /* null, or gemm2's rows, of which the reference is the combine op's sum */
    uint32_t sums_count;      /* sets that have sums */
    bool own_weights;         /* each launch reads another copy than those before it */
    uint32_t weights_used;
    double bytes, operations; /* per launch, mean over the sets */
    char note[160];
    uint64_t device_bytes;
} mj_case;

mj_status mj_lab_open(mj_device *device, uint64_t bytes_max, mj_lab *out, mj_error *error);
void mj_lab_close(mj_lab *lab);
/* Weights and bias of one GEMM, filled by seed; what was loaded before is freed. No-op if it is there already; weights stay, with their
 * copies, if only the op is another one that reads them. */
mj_status mj_lab_load(mj_lab *lab, const mj_problem *problem, mj_op op, uint64_t seed, mj_error *error);
void mj_lab_unload(mj_lab *lab);
/* All weights but weights[0]. No case may be timed afterwards that was prepared before. */
void mj_lab_free_copies(mj_lab *lab);

/* Device memory within the lab's limit; MJ_ERR_DEVICE_MEMORY says how much was wanted and what is there. */
mj_status mj_lab_alloc(mj_lab *lab, uint64_t bytes, void **out, mj_error *error);
void mj_lab_free(mj_lab *lab, void *pointer, uint64_t bytes);
mj_status mj_lab_upload(mj_lab *lab, void *to, const void *from, uint64_t bytes, mj_error *error);
/* Waits for what was launched before. */
mj_status mj_lab_download(mj_lab *lab, void *to, const void *from, uint64_t bytes, mj_error *error);
mj_status mj_lab_set(mj_lab *lab, void *to, int byte_value, uint64_t bytes, mj_error *error);
mj_status mj_lab_sync(mj_lab *lab, mj_error *error);
/* Random data, standard deviation `scale`. */
mj_status mj_lab_fill(mj_lab *lab, const char *format, void *to, uint64_t count, uint64_t seed, float scale,
                      mj_error *error);

/* An operand's random data. */
mj_status mj_lab_fill_operand(mj_lab *lab, const mj_operand *operand, void *to, uint64_t seed, mj_error *error);
/* Codes, scales and zero points of the loaded GEMM into one block of weights_all_bytes. */
mj_status mj_lab_fill_weights(mj_lab *lab, void *block, mj_error *error);

/* Output `index` as no kernel may leave it: all ones, which is NaN in every format; a static scale is there. */
mj_status mj_case_reset_output(mj_lab *lab, mj_case *prepared, int index, mj_error *error);

mj_status mj_guarded_alloc(mj_lab *lab, uint64_t bytes, mj_guarded *out, mj_error *error);
void mj_guarded_free(mj_lab *lab, mj_guarded *guarded);
/* Fills the data with `byte_value` and writes both guards anew. */
mj_status mj_guarded_reset(mj_lab *lab, mj_guarded *guarded, int byte_value, mj_error *error);
/* `*intact` false: a guard byte changed; `offset` is its distance from the data's start (negative: before it). */
mj_status mj_guarded_check(mj_lab *lab, const mj_guarded *guarded, bool *intact, int64_t *offset, mj_error *error);

/* Routing by name (routing.h), or "small:single", "small:ragged", "small:one": odd shapes for verification. With `timed`
 * all sets are made (fewer, and said in `note`, if memory is short); without, one. */
mj_status mj_case_prepare(mj_lab *lab, uint32_t token_count, const char *routing, uint64_t seed, bool timed,
                          mj_case *out, mj_error *error);
void mj_case_free(mj_lab *lab, mj_case *prepared);

/* Grows the workspaces to what `kernel` needs for M tokens, counters zero. */
mj_status mj_lab_workspace(mj_lab *lab, const mj_manifest *manifest, uint32_t token_count, mj_error *error);
/* Arguments of one launch on set `set_index` writing to `output`. */
void mj_case_arguments(const mj_lab *lab, const mj_case *prepared, uint32_t set_index, void *output,
                       mj_arg_value values[MJ_ARG_COUNT]);

/* gemm1's rows, random, as the input of an activation or a quantise2 that is timed on a case of gemm1_act or gemm1_quantise, gemm2's as
 * that of a combine on a case of gemm2_combine: own ones for each set, or for as many as fit. MJ_ERR_DEVICE_MEMORY: for none. */
mj_status mj_case_make_sums(mj_lab *lab, mj_case *prepared, mj_error *error);
void mj_case_free_sums(mj_lab *lab, mj_case *prepared);

/* A helper op's kernel (fill, compare, stream) or another family's, generated here. */
mj_status mj_lab_build(mj_lab *lab, const mj_problem *problem, mj_op op, const char *family, mj_loaded_kernel *out,
                       mj_error *error);

#endif
