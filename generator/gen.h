/* gen.h: the generator's interface: (problem, arch, family, config) -> (source, manifest), or why not.
 *
 * Pure C over libc; Lua is seen by spec*.c only. Nothing here opens a device, reads a clock or the environment
 * (except the data folder named in mj_spec_options). The same input gives the same bytes in every process.
 *
 *     lua files --spec.c--> mj_spec --+
 *     mj_problem, mj_config ----------+--> legal.c (may it be built?) --> generate.c (source + manifest)
 *     templates --expand.c------------+                              `--> estimate.c (how fast, roughly?)
 */
#ifndef MOEJIT_GEN_H
#define MOEJIT_GEN_H

#include "moejit_types.h"

/* Part of every cache and store key. Raise it when generated text changes for an unchanged input. */
#define MJ_GENERATOR_VERSION 13

/* ---- Growing string (strbuf.c). A failed append sets `failed`; check once at the end. ---- */
typedef struct mj_strbuf {
    char *text; /* NUL-terminated when bytes > 0; free with mj_strbuf_free */
    size_t bytes;
    size_t capacity_bytes;
    bool failed; /* out of memory or past the 64 MiB cap */
} mj_strbuf;

void mj_strbuf_add(mj_strbuf *buffer, const char *text, size_t bytes);
void mj_strbuf_addf(mj_strbuf *buffer, const char *format, ...) MJ_PRINTF(2, 3);
void mj_strbuf_free(mj_strbuf *buffer);

/* SHA-256 as 64 hex digits + NUL (sha256.c, FIPS 180-4). Keys and checksums, never secrets. */
#define MJ_SHA256_HEX 65
void mj_sha256_hex(const void *data, size_t bytes, char out[MJ_SHA256_HEX]);
typedef struct mj_sha256 {
    uint32_t state[8];
    uint64_t total_bytes;
    uint8_t block[64];
    bool use_instructions; /* the processor's; tests clear it */
} mj_sha256;
void mj_sha256_start(mj_sha256 *hash);
void mj_sha256_update(mj_sha256 *hash, const void *data, size_t bytes);
void mj_sha256_finish(mj_sha256 *hash, char out[MJ_SHA256_HEX]);

/* Checked products for sizes: false on overflow (checked.h has the inline forms). */

/* Nearest of `count` names to `word` by edit distance, or NULL if none is near (nearest.c). */
const char *mj_nearest_name(const char *word, const char *const *names, size_t count);

/* ---- Data files (files.c): lua/ and templates/ embedded in the binary; a folder lies over them: its file of the same name
 * replaces the embedded one, a new one joins. Read at open, constant afterwards, so threads may share a set. ---- */
typedef struct mj_files mj_files;
mj_status mj_files_open(const char *data_dir, mj_files **out, mj_error *error); /* NULL: the embedded ones alone */
void mj_files_close(mj_files *files);
/* `name` like "templates/mma.tmpl". The text lives as long as `files`. */
mj_status mj_files_get(mj_files *files, const char *name, const char **text, size_t *bytes, mj_error *error);
/* Names under a folder ("lua/arch/"), sorted bytewise. */
mj_status mj_files_list(mj_files *files, const char *prefix, const char *const **names, size_t *count, mj_error *error);
void mj_files_digest(mj_files *files, char out[MJ_SHA256_HEX]); /* of all names and texts */

/* ---- What lua/ describes, as plain structs. Owned by the spec, valid until it is freed. ---- */
#define MJ_LIST_MAX 24

typedef struct mj_name_list {
    uint32_t count;
    char items[MJ_LIST_MAX][MJ_NAME_MAX];
} mj_name_list;
bool mj_list_has(const mj_name_list *list, const char *name);

/* What a device can do; the figures of a typical device of that arch serve estimates with no device. */
typedef struct mj_device_shape {
    uint32_t sm_count;    /* multiprocessors; cpu: threads */
    double memory_gbps;   /* 1e9 bytes/s, achievable */
    double matrix_tflops; /* dense bf16, achievable */
    double l2_bytes;      /* last-level cache */
    double launch_us;     /* fixed cost of one launch inside a graph */
} mj_device_shape;

typedef struct mj_arch {
    char name[MJ_NAME_MAX]; /* "sm_90a" */
    char doc[160];
    char vendor[MJ_NAME_MAX];         /* "nvidia", "amd", "cpu" */
    char prelude[MJ_NAME_MAX];        /* "cuda", "hip", "host": templates/prelude/<name>.h */
    char compile_target[MJ_NAME_MAX]; /* what the compiler is told: "sm_90a" */
    uint32_t capability_major, capability_minor;
    uint32_t warp_size;
    uint32_t smem_block_bytes_max; /* opt-in maximum per block */
    uint32_t smem_sm_bytes;
    uint32_t smem_block_reserved_bytes; /* taken by the system per block */
    uint32_t regs_sm, regs_thread_max;
    uint32_t threads_block_max, threads_sm_max, blocks_sm_max;
    mj_name_list features; /* "mma_bf16", "cp_async", "ldmatrix", ... */
    mj_name_list families; /* families that may be built for it, best first */
    char typical_device[64];
    mj_device_shape typical;
    char source[160]; /* where the figures come from */
} mj_arch;

/* A weight format, complete enough for every scheme of the design (formats beyond 16 bit come later). */
typedef struct mj_packing { /* how codes sit in memory words along `axis` */
    uint32_t word_bits;     /* 16: one bf16 per word; 32: eight nibbles */
    uint32_t per_word;
    uint32_t order[32]; /* order[i] = which element of the word's run sits at bit i*bits */
    char axis[8];       /* "k" or "n" */
} mj_packing;

typedef struct mj_scale_spec { /* present if format[0] */
    char format[MJ_NAME_MAX];  /* "f32", "bf16", "f16", "e8m0", "e4m3" */
    uint32_t group_n, group_k; /* weights sharing one; 0 = the whole axis */
    char order[8];             /* "nk": along k is contiguous; "kn": along n is */
    mj_packing packing;        /* of packed codes (zero points); word_bits 0: one value per element */
} mj_scale_spec;

typedef struct mj_tolerance { /* see tuner/verify.h for how they are applied */
    double element_rel;       /* |got-ref| <= element_rel*|ref| + element_rms*rms(row) */
    double element_rms;
    double row_norm; /* ||got-ref|| <= row_norm*||ref|| for every row */
    char why[200];
} mj_tolerance;

typedef struct mj_scheme {
    char name[MJ_NAME_MAX]; /* "bf16" */
    char doc[160];
    char weight_format[MJ_NAME_MAX]; /* "bf16", "f16", "e4m3" (OCP), "e4m3fnuz", "int4", ... */
    uint32_t weight_bits;
    uint32_t decode_count; /* 0: an IEEE-like format decoded by name; else codes decode through the table */
    double decode[256];
    mj_packing packing;
    mj_scale_spec scale, zero, global_scale;
    int32_t zero_bias;                           /* added to a stored zero point */
    char input_format[MJ_NAME_MAX];              /* what the GEMM multiplies: "bf16", "e4m3", "int8" */
    char input_scale_kind[MJ_NAME_MAX];          /* "none", "tensor", "token", "group" */
    char input_scale_format[MJ_NAME_MAX];        /* "" if none */
    char input_global_scale_format[MJ_NAME_MAX]; /* one more scale for the whole input; "" if none */
    uint32_t input_group_k;
    bool input_scale_dynamic;
    char io_format[MJ_NAME_MAX];         /* x, y and what lies between ops: "bf16", "f16" */
    char accumulate_format[MJ_NAME_MAX]; /* "f32" */
    uint32_t align_elems;                /* K must be a multiple for the fast families */
    bool supported;                      /* false: described, but no family serves it in this version */
    mj_tolerance tolerance;
} mj_scheme;

/* What a check must know of a scheme (all but name, doc, align_elems, supported and tolerance.why) as one line, so that a manifest
 * can carry it where there is no Lua (scheme_text.c). MJ_ERR_CAPACITY: too many decoded values for `bytes`. */
#define MJ_SCHEME_TEXT_MAX 768
mj_status mj_scheme_print(const mj_scheme *scheme, char *out, size_t bytes, mj_error *error);
/* MJ_ERR_FORMAT: not such a line, or one that would lead outside an array. The name stays empty. */
mj_status mj_scheme_parse(const char *text, mj_scheme *out, mj_error *error);

typedef struct mj_tunable {
    char name[MJ_NAME_MAX];
    char unit[MJ_NAME_MAX];
    char doc[200];
    uint32_t value_count;
    int32_t values[32]; /* ascending */
    int32_t default_value;
    uint32_t rare_count;
    int32_t rare[8]; /* values that the family's estimate knows too little of: a quick tune tries a few of each */
} mj_tunable;

typedef struct mj_space_rule { /* a pruning rule of a space; its body stays in Lua */
    char name[48];
    char reason[200];
} mj_space_rule;

typedef struct mj_space {
    char family[MJ_NAME_MAX]; /* "mma" */
    char doc[240];
    char template_name[64]; /* "templates/mma.tmpl" */
    char primitives
        [MJ_NAME_MAX];    /* "hopper": templates/prelude/<prelude>_hopper.h follows the prelude; "": nothing does */
    mj_name_list ops;     /* names of ops it implements */
    mj_name_list schemes; /* schemes it serves; empty: every scheme */
    mj_name_list layouts; /* weight layouts of gemm1 that it serves beside the default */
    mj_name_list needs;   /* arch features it needs */
    uint32_t tunable_count;
    mj_tunable tunables[MJ_CONFIG_MAX];
    uint32_t rule_count;
    mj_space_rule rules[32];
} mj_space;

typedef struct mj_model {
    char name[64];      /* "mixtral-8x7b" */
    char hf_ids[8][96]; /* Hugging Face ids it answers to */
    uint32_t hf_id_count;
    uint32_t expert_count, top_k, hidden, intermediate; /* of the whole layer, before TP and EP */
    bool gated, bias;
    mj_activation activation;
    uint32_t shared_expert_count, shared_intermediate; /* described, not served in this version */
    bool verified;                                     /* false: recalled, not read from the model's files */
    char source[200];
    char note[240];
} mj_model;

/* ---- The spec: everything lua/ says (spec.c). Immutable after load; not thread-safe (its Lua rules run on one state). ---- */
typedef struct mj_spec mj_spec;

typedef struct mj_spec_options {
    const char *data_dir;          /* NULL: embedded */
    size_t lua_memory_bytes_max;   /* 0: 64 MiB */
    uint64_t lua_instructions_max; /* 0: 20 million per file */
} mj_spec_options;

/* All errors of all files are collected into `problems` (one per line, "file:line: key: text; did you mean ...?");
 * `error` holds the first. Either may be NULL. */
mj_status mj_spec_load(const mj_spec_options *options, mj_spec **out, mj_strbuf *problems, mj_error *error);
void mj_spec_free(mj_spec *spec);
mj_files *mj_spec_files(const mj_spec *spec);

uint32_t mj_spec_arch_count(const mj_spec *spec);
uint32_t mj_spec_scheme_count(const mj_spec *spec);
uint32_t mj_spec_space_count(const mj_spec *spec);
uint32_t mj_spec_model_count(const mj_spec *spec);
const mj_arch *mj_spec_arch_at(const mj_spec *spec, uint32_t index); /* sorted by name */
const mj_scheme *mj_spec_scheme_at(const mj_spec *spec, uint32_t index);
const mj_space *mj_spec_space_at(const mj_spec *spec, uint32_t index);
const mj_model *mj_spec_model_at(const mj_spec *spec, uint32_t index);
/* By name; unknown: MJ_ERR_NOT_FOUND with the nearest name in the text. Models also answer to their hf_ids. */
mj_status mj_spec_find_arch(const mj_spec *spec, const char *name, const mj_arch **out, mj_error *error);
mj_status mj_spec_find_scheme(const mj_spec *spec, const char *name, const mj_scheme **out, mj_error *error);
mj_status mj_spec_find_space(const mj_spec *spec, const char *family, const mj_space **out, mj_error *error);
mj_status mj_spec_find_model(const mj_spec *spec, const char *name, const mj_model **out, mj_error *error);
/* NVIDIA arch for a compute capability: the exact one, else the newest of the same major below it, else NULL. Code for a
 * target that ends in 'a' runs on its own capability only, so such an arch matches exactly or not at all. */
const mj_arch *mj_spec_arch_for_capability(const mj_spec *spec, uint32_t major, uint32_t minor);

/* A model's layer on one rank. tp divides the intermediate size, ep the experts; both must divide. */
mj_status mj_problem_from_model(const mj_model *model, uint32_t tp, uint32_t ep, const char *scheme, mj_problem *out,
                                mj_error *error);

/* ---- One kernel: what is to be built ---- */
typedef struct mj_kernel_desc {
    const mj_problem *problem;
    const mj_arch *arch;
    const mj_scheme *scheme;
    const mj_space *space; /* the family */
    mj_op op;
    const mj_config *config;
} mj_kernel_desc;

/* ---- Operands of a GEMM, by scheme. E local experts, n columns, k depth, rows as below; every array is dense, row-major, and
 * starts at a multiple of the manifest's pointer_align_bytes; ceil(a/b) is written a/b.
 *
 *   weights        words [E, n, k/per_word], words of packing.word_bits along k (axis "k"); or [E, k, n/per_word] (axis "n").
 *                  Row r of an expert lies at mj_weight_row(shape, r) where a layout moves rows: gemm1 of gated layers, axis "k".
 *                  Code of element j of a word's run: bits [i*bits, (i+1)*bits) with packing.order[i] == j. Bits past k are ignored.
 *                  e4m3: bytes [E, n, k]. int4_w4a16*: u32 [E, n, k/8], order 0 2 4 6 1 3 5 7: element 0 in bits 0..3, 2 in 4..7,
 *                  4 in 8..11, 6 in 12..15, 1 in 16..19, 3 in 20..23, 5 in 24..27, 7 in 28..31.
 *   weight_scales  scale.format [E, n/group_n, k/group_k], a group of 0 being the whole axis (order "nk"; "kn": the last two swapped).
 *                  fp8_w8a8 f32 [E]; _channel f32 [E, n]; _block f32 [E, n/128, k/128]; int4_w4a16* bf16 or f16 [E, n, k/group].
 *                  One scale serves gate and up alike where it covers both (fp8_w8a8; a 128-block that straddles column N).
 *   weight_zeros   zero.format, grouped like scales, or packed along "n": words [E, n/per_word, k/group_k].
 *                  int4_w4a16*_zp: u32 [E, n/8, k/group], column c in bits 4*(c%8)..4*(c%8)+3 of word c/8; no bias is added.
 *   input          io_format, or codes of input_format [rows, k], rows being tokens for gemm1 (read through sorted_pairs) and sorted
 *                  rows for gemm2
 *   input_scales   f32: "tensor" [1]; "token" [rows]; "group" [rows, k/input_group_k]; the same rows as input. "none": null.
 *
 *   output[row, c] = (sum over k of (in[row, k] * input_scale) * ((decode(code) - zero - zero_bias) * weight_scale) + bias[c])
 *                    [gemm2: * topk_weight], in io_format
 *                    gemm1_act: the activation of column c and, if gated, column N + c of these, as f32, for c < N
 *                    gemm1_quantise: the codes of gemm1_act's output in input_format, as quantise2 makes them, [rows, N]
 *                    gemm2_combine: [M, n]: the sum of a token's local pairs of gemm2's output, as combine makes it, to the bit
 *   output_scales  gemm1_quantise: of these codes, as gemm2 reads them: "group" f32 [rows, N/input_group_k], written; "tensor" [1],
 *                  the caller's, read. "token": there is no such op, for a row's scale needs the whole row
 *
 * Dynamic input scales and the codes they belong to are written by the ops quantise1 (x, before gemm1) and quantise2 (the activated
 * rows, before gemm2); static ones ("tensor") are the caller's, and the same ops write the codes. scale = largest |value| / largest
 * code's value (1 if that is 0); code = value / scale, to nearest even, saturated. */

/* ---- Arguments of kernels (op.c). Every kernel takes ONE struct by value; its fields are a subset of this list,
 * in this order, as the op's row in op.c says. ORDER ARG. X(id, C type in the kernel, name, bytes) */
#define MJ_ARG_LIST(X) \
    X(MJ_ARG_INPUT, "const void *", "input", 8)     /* gemm1...: x [M,H]; gemm2: rows [R,N] */ \
    X(MJ_ARG_WEIGHTS, "const void *", "weights", 8) /* [E, n, k], k contiguous */ \
    X(MJ_ARG_BIAS, "const void *", "bias", 8)       /* [E, n] in io_format, or null */ \
    X(MJ_ARG_OUTPUT, "void *", "output", 8) \
    X(MJ_ARG_EXPERT_OFFSETS, "mj_i32 *", "expert_offsets", 8)  /* [E+1] first sorted row of each expert */ \
    X(MJ_ARG_SORTED_PAIRS, "mj_i32 *", "sorted_pairs", 8)      /* [pairs] sorted row -> pair = token*top_k+slot */ \
    X(MJ_ARG_TOPK_IDS, "const mj_i32 *", "topk_ids", 8)        /* [M, top_k] local expert, or outside 0..E-1 */ \
    X(MJ_ARG_TOPK_WEIGHTS, "const float *", "topk_weights", 8) /* [M, top_k] */ \
    X(MJ_ARG_WEIGHT_SCALES, "const void *", "weight_scales", 8) \
    X(MJ_ARG_WEIGHT_ZEROS, "const void *", "weight_zeros", 8) \
    X(MJ_ARG_INPUT_SCALES, "const void *", "input_scales", 8) \
    X(MJ_ARG_OUTPUT_SCALES, "void *", "output_scales", 8) /* of codes that a GEMM writes: theirs, or the static one */ \
    X(MJ_ARG_PARTIALS, "float *", "partials", 8)          /* a row for each pair, sums of parts of the depth */ \
    X(MJ_ARG_COUNTERS, "mj_i32 *", "counters", 8)         /* of parts that have arrived, zero before and after */ \
    X(MJ_ARG_REFERENCE, "const void *", "reference", 8)   /* compare: what is right */ \
    X(MJ_ARG_RESULT, "float *", "result", 8)              /* compare: 4 floats per row, see compare.tmpl */ \
    X(MJ_ARG_ELEMENT_COUNT, "mj_i64", "element_count", 8) \
    X(MJ_ARG_SEED, "mj_u64", "seed", 8) \
    X(MJ_ARG_SCALE, "float", "scale", 4) \
    X(MJ_ARG_TOKEN_COUNT, "mj_i32", "token_count", 4) /* M */ \
    X(MJ_ARG_ROW_COUNT, "mj_i32", "row_count", 4) \
    X(MJ_ARG_COLUMN_COUNT, "mj_i32", "column_count", 4) \
    X(MJ_ARG_MODE, "mj_i32", "mode", 4)

typedef enum mj_arg {
#define MJ_ARG_ENUM(id, type, name, bytes) id,
    MJ_ARG_LIST(MJ_ARG_ENUM)
#undef MJ_ARG_ENUM
        MJ_ARG_COUNT
} mj_arg;

typedef union mj_arg_value {
    uint64_t pointer; /* device address */
    int64_t i64;
    uint64_t u64;
    int32_t i32;
    float f32;
} mj_arg_value;

const char *mj_arg_name(mj_arg arg);
const char *mj_arg_type(mj_arg arg);
uint32_t mj_arg_bytes(mj_arg arg);
/* Ops that multiply with weights, and those of them that read tokens and write expert-sorted rows. */
bool mj_op_is_gemm(mj_op op);
bool mj_op_is_gemm1(mj_op op);
bool mj_op_activates(mj_op op); /* of these, those that write activated values or their codes */
bool mj_op_is_gemm2(mj_op op);  /* of sorted rows, times the top-k weight */
bool mj_op_combines(mj_op op);  /* of these, those that write a row per token */
bool mj_op_is_quantise(mj_op op);
bool mj_op_writes_codes(mj_op op); /* quantise, and a GEMM whose output is quantised */
/* Some layers run without it: quantise, and ops that stand in for others. */
bool mj_op_is_optional(mj_op op);
/* `op` stands in for `other`, among others, where it is faster. */
bool mj_op_replaces(mj_op op, mj_op other);
/* What `op` stands in for, 0 and 1, in launch order: the first may stand in for others itself. MJ_OP_COUNT: it stands for itself. */
mj_op mj_op_part(mj_op op, uint32_t index);
/* Stands in for others where timings say that it is the faster, never by an estimate. */
bool mj_op_is_timed_only(mj_op op);
/* The first of the ops that this one stands in for; MJ_OP_COUNT: it stands for itself. */
mj_op mj_op_stands_for(mj_op op);
/* The op's arguments in struct order. */
const mj_arg *mj_op_args(mj_op op, uint32_t *count);

/* ---- Manifest (manifest.c): all that a launch needs, so that a warm plan needs no generator. ---- */
typedef enum mj_grid_unit {                 /* ORDER GRID */
                            MJ_GRID_ONE,    /* blocks = factor */
                            MJ_GRID_TOKENS, /* blocks = factor * ceil(M / per_block) */
                            MJ_GRID_PAIRS,  /* blocks = factor * ceil(M*top_k / per_block) */
                            MJ_GRID_TILES, /* blocks = factor * row tiles (upper bound over every routing) of per_block rows */
                            MJ_GRID_WORKERS, /* blocks = factor * sm_count */
                            MJ_GRID_ROWS,    /* blocks = row_count argument (tuner's helpers) */
                            MJ_GRID_UNIT_COUNT
} mj_grid_unit;

typedef struct mj_grid_rule {
    mj_grid_unit unit;
    uint32_t per_block;
    uint32_t factor;
    uint32_t blocks_per_sm_max; /* persistent kernels: cap at this times sm_count; 0: no cap */
} mj_grid_rule;

/* ---- Tensor maps: what a copy engine is told of an array; 128 opaque bytes at the end of the argument struct, 64-byte
 * aligned, in manifest order, encoded by the backend at every launch from the pointer argument they describe. ---- */
#define MJ_TENSOR_MAPS_MAX  4
#define MJ_TENSOR_MAP_BYTES 128
#define MJ_TENSOR_MAP_ALIGN 64
#define MJ_TENSOR_AXES_MAX  3

typedef enum mj_row_unit {                 /* ORDER ROW UNIT: how many rows the array has at a launch */
                           MJ_ROWS_FIXED,  /* rows */
                           MJ_ROWS_TOKENS, /* rows * M */
                           MJ_ROWS_PAIRS,  /* rows * M * top_k */
                           MJ_ROW_UNIT_COUNT
} mj_row_unit;

/* A third, fourth or fifth dimension: parts of the array that lie stride_rows rows apart, and may interleave. */
typedef struct mj_tensor_axis {
    uint64_t count, stride_rows;
    uint32_t box; /* parts of one copy, behind each other in shared memory; the first axis is the innermost */
} mj_tensor_axis;

typedef struct mj_tensor_map_rule {
    char name[MJ_NAME_MAX]; /* field of mj_args: "weights_map" */
    mj_arg source;          /* the pointer argument: start of the array */
    uint32_t element_bytes; /* 1 or 2 */
    uint32_t row_elements;  /* row-major, rows follow each other without a gap; bytes a multiple of 16 */
    mj_row_unit row_unit;
    uint64_t rows;
    uint32_t box_rows, box_elements; /* one copy; parts outside the array read as zeros and are not written */
    uint32_t swizzle_bytes;          /* 0, 32, 64 or 128: XOR of 16-byte chunks in shared memory */
    uint32_t axis_count;             /* 0: a 2D array; else `rows` are those of one part, and fixed */
    mj_tensor_axis axes[MJ_TENSOR_AXES_MAX];
} mj_tensor_map_rule;

typedef struct mj_tensor_map { /* a rule at a launch: what a backend encodes */
    uint64_t address, rows;
    uint32_t row_elements, element_bytes, box_rows, box_elements, swizzle_bytes, axis_count;
    mj_tensor_axis axes[MJ_TENSOR_AXES_MAX];
} mj_tensor_map;

typedef struct mj_manifest {
    char symbol[64];
    mj_op op;
    char family[MJ_NAME_MAX];
    char arch[MJ_NAME_MAX];
    char compile_target[MJ_NAME_MAX];
    mj_problem problem;
    mj_config config;
    uint32_t block_threads;
    uint32_t smem_bytes; /* dynamic shared memory of a launch */
    mj_grid_rule grid;
    uint32_t args_bytes;          /* mj_args_bytes(op, tensor_map_count) */
    uint32_t pointer_align_bytes; /* every pointer argument must be a multiple */
    uint32_t tiles_per_row_tile;  /* column tiles; counters = row tiles * this if partial_tile_bytes */
    uint32_t partial_tile_bytes;  /* all splits of one tile; 0: no partials, no counters */
    uint32_t partial_block_bytes; /* of partials for each block of the grid, behind those of pairs */
    uint32_t counters_per_block;  /* likewise; 0: none */
    uint32_t counters_per_token;  /* behind these; 0: none */
    bool dependent_launch;        /* may start while the kernel ahead runs: it waits for that kernel by itself */
    bool first_pass; /* every launch runs "<symbol>_first" ahead of it, with the same block and arguments */
    mj_grid_rule first_grid;
    uint32_t pair_scratch_bytes; /* of partials for each of the M * top_k pairs */
    uint32_t needed_args;        /* bits 1 << mj_arg: scales and zero points that the scheme has; may not be null */
    uint32_t scales_per_row;     /* quantise: f32 scales it writes for a row; 0: it reads a static one */
    char scheme
        [MJ_SCHEME_TEXT_MAX]; /* mj_scheme_print of the problem's scheme; "": too long for it, or an older manifest */
    uint32_t tensor_map_count;
    mj_tensor_map_rule tensor_maps[MJ_TENSOR_MAPS_MAX];
    char source_sha256[MJ_SHA256_HEX];
} mj_manifest;

/* Upper bound of sum over experts of ceil(rows_e / tile_rows) for M tokens, any routing. */
uint64_t mj_row_tiles_max(const mj_problem *problem, uint32_t token_count, uint32_t tile_rows);
/* Blocks of a launch for M tokens. */
mj_status mj_manifest_blocks(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count, uint32_t *blocks,
                             mj_error *error);
/* The same of its first pass. */
mj_status mj_manifest_first_blocks(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count,
                                   uint32_t *blocks, mj_error *error);
/* Bytes of the two workspaces for M tokens; counters must be zero before the first launch and are left zero. */
mj_status mj_manifest_workspace(const mj_manifest *manifest, uint32_t token_count, uint32_t sm_count,
                                uint64_t *partial_bytes, uint64_t *counter_bytes, mj_error *error);
/* Bytes of the argument struct: the op's args in order, naturally aligned, then the tensor maps; 0: too many maps. */
uint32_t mj_args_bytes(mj_op op, uint32_t tensor_map_count);
/* Where tensor map `index` lies in it. */
uint32_t mj_args_tensor_map_offset(mj_op op, uint32_t index);
/* The map of a launch for M tokens. MJ_ERR_CAPACITY: sizes overflow. */
mj_status mj_manifest_tensor_map(const mj_manifest *manifest, uint32_t index, const mj_arg_value values[MJ_ARG_COUNT],
                                 uint32_t token_count, mj_tensor_map *out, mj_error *error);
/* Limits of the copy engine (CUDA driver API, cuTensorMapEncodeTiled): element and box sizes, 16-byte rows, swizzle span. */
mj_status mj_tensor_map_check(const mj_tensor_map_rule *rule, mj_error *error);
/* Write the op's args into the argument struct: `values` is indexed by mj_arg; `out` has manifest->args_bytes bytes. Tensor maps
 * are left zero. */
void mj_manifest_pack_args(const mj_manifest *manifest, const mj_arg_value values[MJ_ARG_COUNT], void *out);

/* ---- Families (family.c, family_*.c): what C must know of a template ---- */
#define MJ_DERIVED_VARS_MAX 48
typedef struct mj_derived { /* computed once on the host, emitted, static_asserted in the source */
    uint32_t block_threads;
    uint32_t smem_bytes;
    uint32_t regs_estimate;     /* per thread */
    uint32_t blocks_per_sm;     /* by shared memory, threads and the register estimate */
    uint32_t blocks_per_sm_min; /* the compiler must leave registers for so many; 0: one */
    mj_grid_rule grid;
    uint32_t tile_m, tile_n, n_tiles, split_k;
    uint32_t k_tiles_per_split;
    uint32_t partial_tile_bytes, partial_block_bytes, counters_per_block, counters_per_token;
    uint32_t pointer_align_bytes;
    bool dependent_launch;
    bool first_pass;
    mj_grid_rule first_grid;
    uint32_t pair_scratch_bytes;
    uint32_t tensor_map_count;
    mj_tensor_map_rule tensor_maps[MJ_TENSOR_MAPS_MAX];
    uint32_t tunables[16]; /* the family's own: what it read from the config */
    uint32_t var_count;    /* further template variables, e.g. smem offsets */
    struct {
        const char *name; /* a constant */
        int64_t value;
    } vars[MJ_DERIVED_VARS_MAX];
    const char *lost_var; /* NULL, or one that found no room: mj_family_derive fails */
} mj_derived;

mj_status mj_family_derive(const mj_kernel_desc *desc, mj_derived *out, mj_error *error);

/* GEMM shape of an op: n rows of an expert's weights, k depth, out_n columns of the output. gemm1: n = out_n = G*N, k = H;
 * gemm1_act, gemm1_quantise: the same, but out_n = N; gemm2, gemm2_combine: n = out_n = H, k = N; quantise1 and 2: of the GEMM they
 * write for. */
typedef struct mj_gemm_shape {
    uint32_t n, k, out_n;
    uint32_t turn_rows; /* 0: weight rows lie in order, gate rows, then up rows; else in turns of so many of either */
} mj_gemm_shape;
mj_gemm_shape mj_problem_gemm(const mj_problem *problem, mj_op op);

/* ---- Weight layouts (layout.c). A layout moves whole rows of gemm1's weights within an expert, of gated layers; gemm2's weights,
 * scales, zero points, biases and outputs stay in the default's order. ---- */
#define MJ_LAYOUTS_MAX 8
size_t mj_layout_names(const char *names[MJ_LAYOUTS_MAX]);
/* MJ_ERR_UNSUPPORTED: no such layout (with the nearest name); MJ_ERR_ARGUMENT: the problem's weights cannot lie so. */
mj_status mj_layout_check(const char *name, const mj_problem *problem, mj_error *error);
/* turn_rows of the op's GEMM; 0 also where the layout leaves its weights as they are. */
uint32_t mj_layout_turn_rows(const mj_problem *problem, mj_op op);
/* The family reads the op's weights as the problem has them. */
bool mj_layout_served(const mj_space *space, const mj_problem *problem, mj_op op);
/* Where row `row` of an expert's weights lies among its rows. */
static inline uint32_t mj_weight_row(mj_gemm_shape shape, uint32_t row)
{
    uint32_t turn = shape.turn_rows, half = shape.n / 2;
    if (turn == 0) {
        return row;
    }
    return row % half / turn * (2 * turn) + row / half * turn + row % half % turn;
}

/* ---- Legality (legal.c): the one predicate ---- */
#define MJ_REFUSALS_MAX 24
typedef struct mj_refusal {
    char rule[48];
    char reason[256]; /* one line: what, by how much */
    double measured, limit;
} mj_refusal;

typedef struct mj_verdict {
    uint32_t refusal_count;
    mj_refusal refusals[MJ_REFUSALS_MAX];
} mj_verdict;

/* true: legal. `verdict` (may be NULL) lists every rule that refuses. Structural rules first, then the space's. */
bool mj_legal(const mj_spec *spec, const mj_kernel_desc *desc, mj_verdict *verdict);
/* All structural rule names, for tests and docs; returns how many were written. */
uint32_t mj_legal_rule_names(const char **names, uint32_t capacity);
/* Used by legal.c: evaluate space rule `index`; false = refuses. Lives in spec_rules.c. */
bool mj_spec_rule_holds(const mj_spec *spec, const mj_kernel_desc *desc, const mj_derived *derived, uint32_t index,
                        mj_refusal *refusal);

/* ---- Generation ---- */
typedef struct mj_kernel_source {
    char *text; /* malloc'ed; mj_kernel_source_free */
    size_t bytes;
    size_t body_offset; /* text + body_offset: what follows the prelude, the same for device and host */
    mj_manifest manifest;
} mj_kernel_source;

/* `prelude` NULL: the arch's own; "host" emulates a GPU kernel lane by lane. Illegal configs: MJ_ERR_ILLEGAL. */
mj_status mj_generate(const mj_spec *spec, const mj_kernel_desc *desc, const char *prelude, mj_kernel_source *out,
                      mj_error *error);
void mj_kernel_source_free(mj_kernel_source *source);

/* ---- Template expansion (expand.c); the language is described in templates/README.md ---- */
typedef struct mj_template_var {
    const char *name;
    const char *value;
    bool optional; /* false: a template that never names it is refused */
} mj_template_var;
mj_status mj_expand(mj_files *files, const char *root_name, const mj_template_var *vars, size_t var_count,
                    mj_strbuf *out, mj_error *error);
/* The same for a text at hand; `root_name` names it in messages, and `files` serves its includes. */
mj_status mj_expand_text(mj_files *files, const char *root_name, const char *text, size_t bytes,
                         const mj_template_var *vars, size_t var_count, mj_strbuf *out, mj_error *error);

/* ---- Enumeration and estimate ---- */
/* The family's default values; then, if illegal for this desc, the first legal config. */
mj_status mj_space_default(const mj_spec *spec, const mj_kernel_desc *desc_without_config, mj_config *out,
                           mj_error *error);
/* Calls `visit` with every legal config in a fixed order; it returns false to stop. Counts what was refused by first
 * refusing rule when `tally` is not NULL. */
typedef struct mj_tally {
    uint64_t candidate_count, legal_count;
    uint32_t rule_count;
    struct {
        char rule[48];
        uint64_t count;
    } rules[64];
} mj_tally;
mj_status mj_space_enumerate(const mj_spec *spec, const mj_kernel_desc *desc_without_config,
                             bool (*visit)(void *user, const mj_config *config), void *user, mj_tally *tally,
                             mj_error *error);

/* Expected time in us of one launch for M tokens; `expert_rows` is the expected rows of each of the E experts,
 * or NULL for uniform routing. A model, fitted roughly, never a measurement. */
double mj_estimate_us(const mj_kernel_desc *desc, const mj_device_shape *shape, uint32_t token_count,
                      const double *expert_rows);

/* The same of the ops other than GEMMs that `op` stands in for and `known` does not, whose time is known: the bytes of each at the
 * device's bandwidth, and a launch. */
double mj_estimate_replaced_us(const mj_problem *problem, const mj_device_shape *shape, mj_op op, mj_op known,
                               uint32_t token_count);

typedef struct mj_ranked {
    mj_config config;
    const mj_space *space;
    double estimate_us;
} mj_ranked;
/* The `capacity` best legal configs over every family of the arch that implements the op and serves the scheme,
 * best first; ties by config text. `family` NULL: all (reference only if nothing else is legal). */
mj_status mj_estimate_rank(const mj_spec *spec, const mj_problem *problem, const mj_arch *arch, mj_op op,
                           const char *family, const mj_device_shape *shape, uint32_t token_count,
                           const double *expert_rows, mj_ranked *out, uint32_t capacity, uint32_t *count,
                           mj_tally *tally, mj_error *error);

/* floor = max(bytes / B, operations / P), in us; `active_experts` and `rows` as routed. */
typedef struct mj_work {
    double bytes;      /* weights of active experts + distinct input rows + output written */
    double operations; /* 2 * rows * n * k */
} mj_work;
mj_work mj_gemm_work(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint32_t token_count,
                     uint64_t local_rows, uint32_t active_experts);

#endif
