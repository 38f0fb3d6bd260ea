/* moejit.h: plan and run Mixture-of-Experts layers with kernels generated for the device you have.
 *
 * Contents: 1 the API in one page, 2 rules that hold everywhere, 3 contexts, 4 devices, 5 memory and
 * streams, 6 plans, 7 running, 8 precompiled packs, 9 weight layouts. Tuning is another library: moejit_tune.h.
 *
 * ---- 1. The API in one page -----------------------------------------------------------------------
 *     mj_context    folders, allocator, logger; one per process is enough
 *     mj_device     one GPU or the CPU; binds to the device's primary context, so that pointers of the
 *                   CUDA runtime or PyTorch work
 *     mj_plan       kernels and launch order that serve one problem for 1..max_tokens tokens
 *     mj_plan_run   y[M, H] from x[M, H], top-k ids and weights, asynchronously on a stream
 *
 *     mj_context_create(NULL, &context, &error);
 *     mj_device_open(context, "cuda:0", &device, &error);
 *     mj_plan_create(device, &problem, &options, &plan, &error);      once, at start
 *     mj_plan_run(plan, &layer, stream, &error);                      per step; may be captured in a graph
 *     mj_plan_destroy(plan); mj_device_close(device); mj_context_destroy(context);
 *
 * Letters: M tokens of a call; E experts on this rank; H hidden; N intermediate per rank; G = 2 for a
 * gated layer, else 1; pairs = M * top_k token-expert pairs; "io format": 16-bit floats, bf16 or f16, as
 * the problem's scheme says. Arrays are dense and row-major, the last index is contiguous.
 *
 * ---- 2. Rules that hold everywhere ----------------------------------------------------------------
 *     - Every fallible function returns mj_status; MJ_OK is 0. `error` may be NULL; it is written on
 *       failure only, by the failing call, with one line that names what was wrong.
 *     - The library never prints, never exits and keeps no globals. It logs through the context's logger.
 *     - A failed create leaves *out NULL and nothing behind; destroy functions accept NULL.
 *     - Objects are destroyed in the reverse order of their making: plans, then devices, then contexts.
 *     - Device pointers are passed as void *; they belong to the caller. The library frees what it
 *       allocated and nothing else.
 *     - Threads: a context may be used by several threads; a device and its plans by one thread at a time,
 *       unless a function says otherwise. Different devices are independent.
 *     - A stream is the vendor's handle (CUstream, cudaStream_t); NULL is the device's default stream.
 *       On the cpu device work is done before the call returns, whatever the stream.
 *     - After MJ_ERR_DEVICE_LOST nothing on that device can succeed until the process is restarted.
 *     - Every function can return MJ_ERR_ARGUMENT (a NULL that may not be NULL, a value out of range) and
 *       MJ_ERR_INTERNAL (a bug of this library: please report it); below only the other statuses are listed.
 *     - The fact line of a function:
 *       [sync: does it wait for the device | alloc: host, device or no memory | gpu: does it use the device]
 */
#ifndef MOEJIT_H
#define MOEJIT_H

#include "moejit_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the library that is loaded, "0.1.0"; compare with MOEJIT_VERSION_STRING, the header's.
 * A constant string. Any thread.  [sync: no | alloc: no | gpu: no] */
MJ_API const char *mj_version(void);

/* ---- 3. Context ---------------------------------------------------------------------------------- */
typedef struct mj_context mj_context;

/* allocate(user, NULL, n) allocates n bytes, (user, p, n) resizes, (user, p, 0) frees and returns NULL.
 * NULL for n > 0 means out of memory: the call in progress fails with MJ_ERR_MEMORY and can be repeated.
 * Called from any thread that calls the library. Memory is aligned as malloc's is. */
typedef void *(*mj_allocate_fn)(void *user, void *pointer, size_t bytes);

/* One line without a newline; valid during the call. Called from any thread that calls the library.
 *     0  warnings: something was skipped or is not as asked, the work goes on
 *     1  decisions: which config a plan uses for which tokens, where it comes from and why
 *     2  once per kernel: compiled, found in the cache, checked
 *     3  once per launch */
typedef void (*mj_log_fn)(void *user, int level, const char *line);

typedef struct mj_context_options { /* all zeros: the defaults. Strings are copied. */
    mj_allocate_fn allocate;        /* host memory of the library; NULL: realloc and free */
    mj_log_fn log;                  /* NULL: silent */
    void *user;                     /* passed to both */
    int log_level;                  /* highest level that reaches `log`, 0..3 */
    const char *data_dir;           /* lua/ and templates/ instead of the embedded ones;
                                 NULL: $MOEJIT_DATA_DIR, else embedded */
    const char *cache_dir;          /* compiled binaries;
                                 NULL: $MOEJIT_CACHE_DIR, else $XDG_CACHE_HOME/moejit, else ~/.cache/moejit */
    const char *store_dir;          /* tuned decisions;
                                 NULL: $MOEJIT_STORE_DIR, else $XDG_DATA_HOME/moejit, else ~/.local/share/moejit */
    const char *nvrtc_path;         /* libnvrtc.so; NULL: $MOEJIT_NVRTC, else searched: CUDA_HOME, toolkit folders,
                                 Python's nvidia packages, the loader's path */
    const char *hiprtc_path;  /* libhiprtc.so, or a folder with it; NULL: $MOEJIT_HIPRTC, else searched: ROCM_PATH,
                                 HIP_PATH, /opt/rocm, Python's packages, the loader's path */
    const char *cc_path;      /* the cpu backend's C compiler; NULL: $MOEJIT_CC, else cc, gcc, clang on PATH */
    uint64_t cache_bytes_max; /* beyond it the oldest-used binaries are dropped; 0: 2 GiB */
    bool no_compile;          /* never run a compiler: cache, registered packs and nothing else */
} mj_context_options;

/* Makes a context. options: NULL for the defaults. A cache folder that cannot be written is used for
 * reading only, one that is not there and cannot be made is done without; both are logged at level 0.
 * MJ_ERR_MEMORY.  [sync: no | alloc: host | gpu: no] */
MJ_API mj_status mj_context_create(const mj_context_options *options, mj_context **out, mj_error *error);

/* After every device and plan of it is gone. Packs loaded with mj_pack_load go with it.
 * [sync: no | alloc: no | gpu: no] */
MJ_API void mj_context_destroy(mj_context *context);

/* ---- 4. Devices ---------------------------------------------------------------------------------- */
typedef struct mj_device mj_device;

typedef struct mj_device_info {
    char id[MJ_NAME_MAX];                        /* "cuda:0", "hip:0", "cpu" */
    char name[128];                              /* "NVIDIA H200" */
    char arch[MJ_NAME_MAX];                      /* "sm_90a"; empty if this version has no arch for it */
    char driver[64];                             /* "cuda 13.0"; for the cpu the kernel release */
    char compiler[96];                           /* "nvrtc 13.0" or "gcc 12.2.0"; empty: none found */
    char note[256];                              /* why it cannot be used, or what to install; empty: usable */
    uint32_t capability_major, capability_minor; /* NVIDIA's compute capability; else 0 */
    uint32_t sm_count;                           /* multiprocessors, or CPU threads */
    uint64_t memory_bytes;
    uint64_t memory_free_bytes;    /* when the device was opened; 0: a GPU that is only listed */
    uint64_t l2_bytes;             /* last-level cache */
    uint32_t smem_block_bytes_max; /* shared memory a block may use; 0: does not apply */
    uint32_t clock_mhz;            /* 0: unknown */
} mj_device_info;

/* Describes the devices of this machine: GPUs first, the CPU last; the CPU is always there. Writes at most
 * `capacity` of them to `out` (NULL if capacity is 0) and their full number to *count. A device that cannot
 * be used, or of which the driver says nothing, is listed with a note. Opens no device. A driver that cannot count its
 * devices hides them; the log says so (level 0).
 * MJ_ERR_MEMORY.  [sync: no | alloc: host | gpu: asks the driver] */
MJ_API mj_status mj_device_list(mj_context *context, mj_device_info *out, uint32_t capacity, uint32_t *count,
                                mj_error *error);

/* Opens a device. id: "cuda:0", "hip:0", "cpu", or "best", the first usable one of mj_device_list. A GPU is used
 * through its primary context, which is created if nobody has.
 * MJ_ERR_NO_DEVICE (no such id, or no driver), MJ_ERR_DEVICE, MJ_ERR_DEVICE_MEMORY, MJ_ERR_MEMORY.
 * [sync: no | alloc: host, and the driver's context | gpu: yes] */
MJ_API mj_status mj_device_open(mj_context *context, const char *id, mj_device **out, mj_error *error);

/* After the device's plans, streams and memory are gone.  [sync: no | alloc: no | gpu: yes] */
MJ_API void mj_device_close(mj_device *device);

/* As it was when the device was opened; valid until it is closed. Any thread.  [sync: no | alloc: no | gpu: no] */
MJ_API const mj_device_info *mj_device_get_info(const mj_device *device);

/* ---- 5. Memory and streams -----------------------------------------------------------------------
 * For callers without an allocator of their own: any device pointer, and any stream, works everywhere. */

/* `bytes` of device memory, aligned to 256, contents undefined. Ends with mj_memory_free.
 * MJ_ERR_DEVICE_MEMORY, MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST.  [sync: may | alloc: device | gpu: yes] */
MJ_API mj_status mj_memory_alloc(mj_device *device, size_t bytes, void **out, mj_error *error);
/* NULL is allowed. Work that uses it must have ended.  [sync: may | alloc: no | gpu: yes] */
MJ_API void mj_memory_free(mj_device *device, void *pointer);

/* Copies between host and device; done when the call returns, ordered after earlier work on the default
 * stream only: mj_stream_sync your stream first.
 * MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST.  [sync: yes | alloc: no | gpu: yes] */
MJ_API mj_status mj_memory_upload(mj_device *device, void *to_device, const void *from, size_t bytes, mj_error *error);
MJ_API mj_status mj_memory_download(mj_device *device, void *to, const void *from_device, size_t bytes,
                                    mj_error *error);

/* A stream that does not wait for the default one; on the cpu *out may be any value, also NULL.
 * MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST, MJ_ERR_MEMORY.  [sync: no | alloc: host | gpu: yes] */
MJ_API mj_status mj_stream_create(mj_device *device, void **out, mj_error *error);
/* NULL is allowed. The device finishes what is on it.  [sync: may | alloc: no | gpu: yes] */
MJ_API void mj_stream_destroy(mj_device *device, void *stream);
/* Waits until the stream is empty. Failures of kernels launched before show here.
 * MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST.  [sync: yes | alloc: no | gpu: yes] */
MJ_API mj_status mj_stream_sync(mj_device *device, void *stream, mj_error *error);

/* ---- 6. Plans ------------------------------------------------------------------------------------
 * A plan holds, for every op of the layer, a table from tokens to kernel. Each row says where its config
 * comes from and whether the kernel was verified, that is: compared with a float64 reference, on this device
 * with this driver and compiler. Sources, asked in this order for every op:
 *
 *     the store, tuned on this device             MJ_ORIGIN_STORE        verified
 *     the store, tuned on another of its arch,    MJ_ORIGIN_STORE_ARCH   unverified; reason: the first
 *       or with another driver or compiler                               difference
 *     registered packs                            MJ_ORIGIN_PACK         verified if this device did it
 *     the analytic estimate (needs the generator  MJ_ORIGIN_ESTIMATE     unverified
 *       and, for kernels not in the cache, a compiler)
 *
 * M tokens use the tuned row nearest to M in log scale: between tuned a < b the border is sqrt(a*b). A row
 * serves up to 8 times as many, or as few, tokens as it was tuned at; tokens that no row of a source reaches
 * go to the next source, and what no source reaches to the nearest row of the first that has one. A stored
 * row whose kernel cannot be had is skipped; the log (level 1) and, if nothing else serves, the error say why.
 *
 * gemm1_act does the work of gemm1 and activation in one launch. It has rows for those tokens only for which
 * it is used instead of them: where the source of gemm1's row knows it as the faster one, at the same M. A
 * store and a pack know it from a tune that timed all three, the estimate from its model. The reason says so:
 * "replaces gemm1 + activation: 12.3 us instead of 14.1". gemm1 and activation keep their rows. gemm1_quantise does the work of gemm1,
 * activation and quantise2, likewise; gemm1_act keeps its rows beside it. gemm2_combine does the work of gemm2 and combine: it is known
 * as the faster from a tune alone, never from the estimate. */
typedef struct mj_plan mj_plan;

enum {                               /* mj_plan_options.flags */
       MJ_PLAN_REQUIRE_VERIFIED = 1, /* use verified rows only; MJ_ERR_UNVERIFIED where there are none (gemm1_act,
                                     gemm1_quantise, gemm2_combine: done without) */
       MJ_PLAN_IGNORE_STORE = 2,     /* as if nothing were tuned */
       MJ_PLAN_REFERENCE = 4,        /* the reference family for both GEMMs, one step at a time: slow, for checking;
                                     never verified at first, so not with MJ_PLAN_REQUIRE_VERIFIED */
       MJ_PLAN_NO_WORKSPACE = 8      /* the plan allocates none: every mj_layer brings its own */
};

typedef struct mj_plan_options { /* all zeros: the defaults */
    uint32_t max_tokens;         /* capacity; 0: 4096. max_tokens * top_k < 2^31, each GEMM's input at most 32 GiB */
    uint32_t flags;
    const char *routing; /* which column of the store: "uniform" (NULL), "balanced", "zipf1", "zipf2",
                                 "hot16"; not there: "uniform", and the row's reason says so */
} mj_plan_options;

/* Where a row of the plan comes from. ORDER ORIGIN */
typedef enum mj_origin {
    MJ_ORIGIN_STORE,      /* tuned on this device with this driver, compiler and generator */
    MJ_ORIGIN_STORE_ARCH, /* tuned with another identity of the same arch */
    MJ_ORIGIN_PACK,       /* from a registered precompiled pack */
    MJ_ORIGIN_ESTIMATE,   /* chosen by the analytic model, or the only config there is */
    MJ_ORIGIN_REFERENCE,  /* asked for with MJ_PLAN_REFERENCE */
    MJ_ORIGIN_COUNT
} mj_origin;

typedef struct mj_plan_row { /* tokens_from..tokens_to tokens use this config for this op */
    mj_op op;
    uint32_t tokens_from, tokens_to; /* both included */
    mj_origin origin;
    bool verified;
    char reason[160]; /* why it is unverified, and what it rests on: "tuned at M=16" */
    char family[MJ_NAME_MAX];
    mj_config config;
    double time_us_median; /* as tuned on this device at the tuned M; 0: never measured here */
} mj_plan_row;

/* Makes a plan for `problem` on `device`. options: NULL for the defaults. Never tunes. With everything in the
 * store and the cache it reads files and loads modules, milliseconds; from the estimate it compiles what the
 * cache lacks, up to seconds. Unless MJ_PLAN_NO_WORKSPACE is set it allocates mj_plan_workspace_bytes of device
 * memory and waits until it is ready. Every row is logged at level 1.
 *     MJ_ERR_UNVERIFIED     MJ_PLAN_REQUIRE_VERIFIED, and some tokens have no verified row: tune, or create
 *                           without the flag and call mj_plan_selfcheck
 *     MJ_ERR_NOT_FOUND      nothing tuned, no pack, and no other source in this build or context; or a scheme that
 *                           this version does not know: the text names the nearest
 *     MJ_ERR_UNSUPPORTED    no arch for the device, a scheme that the arch has no kernels for, a layout not in this
 *                           version, or no generator
 *     MJ_ERR_ARGUMENT       also a layout that the problem's sizes do not allow (section 9)
 *     MJ_ERR_ILLEGAL        no legal config for this problem on this arch
 *     MJ_ERR_NO_COMPILER, MJ_ERR_COMPILE     an estimate's kernel could not be compiled
 *     MJ_ERR_TIMEOUT, MJ_ERR_CHILD           the compiler took too long, or could not be started
 *     MJ_ERR_FORMAT         a kernel, from the cache or a pack, that this device cannot read
 *     MJ_ERR_CAPACITY       max_tokens or the workspace overflows
 *     MJ_ERR_DEVICE_MEMORY  the workspace or a module does not fit: fewer max_tokens, or bring your own
 *     MJ_ERR_MEMORY, MJ_ERR_IO, MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST
 * [sync: yes | alloc: host and device | gpu: yes] */
MJ_API mj_status mj_plan_create(mj_device *device, const mj_problem *problem, const mj_plan_options *options,
                                mj_plan **out, mj_error *error);

/* When no launch of it is in flight and no graph that captured one will run again.
 * [sync: may | alloc: no | gpu: yes] */
MJ_API void mj_plan_destroy(mj_plan *plan);

/* The table, sorted by op, then tokens. Rows belong to the plan; mj_plan_selfcheck changes verified and reason.
 * An index out of range gives NULL. Any thread, but not during mj_plan_selfcheck.  [sync: no | alloc: no | gpu: no] */
MJ_API uint32_t mj_plan_row_count(const mj_plan *plan);
MJ_API const mj_plan_row *mj_plan_get_row(const mj_plan *plan, uint32_t index);
/* true: every row is verified that a launch uses: not those of gemm1 and activation where gemm1_act has all
 * their tokens, nor of ops that gemm1_quantise or gemm2_combine replaces.  [sync: no | alloc: no | gpu: no] */
MJ_API bool mj_plan_is_verified(const mj_plan *plan);

/* Bytes of workspace that a launch of up to max_tokens tokens needs, roughly
 * max_tokens * top_k * (G*N + N + H) * 2, plus codes and scales where quantise runs, plus partial sums of tiles that
 * several blocks share (some of them for each of the device's multiprocessors).
 * [sync: no | alloc: no | gpu: no] */
MJ_API uint64_t mj_plan_workspace_bytes(const mj_plan *plan);

/* Verifies each distinct kernel of the plan on this device: random data of at most `token_count` tokens (some pairs
 * on no local expert), outputs filled with NaN, compared with float64 sums on the host: every element of small
 * products, a sample and all row ends of large ones. Schemes of codes get random codes, scales and zero points, and
 * what their quantise ops write must be the host's to the bit
 * (gemm1_quantise: codes of values that would be right). Allocates the operands of one op at a time. Rows whose
 * kernels pass become verified; rows of a kernel that fails become unverified, with the reason. Ends after about
 * `seconds`.
 *     MJ_ERR_WRONG_RESULT   a kernel's output is wrong; the text names kernel, row and column
 *     MJ_ERR_TIMEOUT        `seconds` passed; rows checked so far are verified
 *     MJ_ERR_UNSUPPORTED    a scheme that the kernels' manifests do not describe (written by an older version, but for
 *                           bf16 and fp16), or whose codes the host cannot follow
 *     MJ_ERR_DEVICE_MEMORY, MJ_ERR_MEMORY, MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST
 * Not while a stream of this thread is being captured, nor beside mj_plan_run of the same plan.
 * [sync: yes | alloc: host and device, freed at the end | gpu: yes] */
MJ_API mj_status mj_plan_selfcheck(mj_plan *plan, uint32_t token_count, double seconds, mj_error *error);

/* ---- 7. Running ----------------------------------------------------------------------------------
 *     tables      topk_ids -> expert offsets, sorted pairs
 *     quantise1   x -> codes and scales, where the scheme's GEMMs multiply codes (fp8 W8A8)
 *     gemm1       rows of x through the sorted pairs, times weights1, plus bias1   [rows, G*N]
 *     activation  [rows, G*N] -> [rows, N]
 *     gemm1_act   gemm1 and activation at once, without a rounding between them: runs in the place of both
 *                 where the plan has a row of it for M                             [rows, N]
 *     gemm1_quantise  gemm1, activation and quantise2 at once: the codes and scales of gemm1_act's rows, likewise
 *     quantise2   [rows, N] -> codes and scales, likewise
 *     gemm2       times weights2, plus bias2, times the top-k weight               [pairs, H]
 *     combine     sum of a token's pairs -> y
 *     gemm2_combine  gemm2 and combine at once, with the same roundings: runs in the place of both, likewise. Whoever
 *                 stores a token's last row adds them all, in the order of its slots: y has the same bits every time
 * Nothing is read back to the host: the sequence can be captured in a CUDA graph and replayed with other
 * contents of the same buffers (also another routing); M is fixed by the capture. */
typedef struct mj_layer {
    const void *x;             /* [M, H] io format */
    const void *weights1;      /* [E, G*N, H]: gate rows, then up rows, or as the problem's layout says (section 9);
                                  codes packed as the scheme says */
    const void *weights2;      /* [E, H, N], likewise */
    const void *bias1;         /* [E, G*N] io format; NULL if and only if the problem has no bias */
    const void *bias2;         /* [E, H] io format; likewise */
    const int32_t *topk_ids;   /* [M, top_k]: index of a local expert, 0..E-1, or any other value for an expert of
                                  another rank; a token's local experts are distinct */
    const float *topk_weights; /* [M, top_k] */
    void *y;                   /* [M, H] io format, written whole: a token without local pairs gets zeros.
                                  May be x: it is written when x was read */
    void *workspace;           /* mj_plan_workspace_bytes, 256-byte aligned, prepared once by
                                  mj_plan_prepare_workspace; NULL: the plan's own */
    uint32_t token_count;      /* M, 0..max_tokens */
    /* Scales and zero points; each NULL if and only if the scheme has none. n, k: columns and depth of the GEMM,
     * G*N and H for gemm1, H and N for gemm2; fractions are rounded up.
     *     fp8_w8a8          weight_scales f32 [E], input_scale f32 [1]: value = code * scale
     *     fp8_w8a8_channel  weight_scales f32 [E, n]; a scale per token is computed
     *     fp8_w8a8_block    weight_scales f32 [E, n/128, k/128]; a scale per token and 128 elements is computed
     *     fp8_w8a8*_fnuz    the same in e4m3fnuz, for gfx942
     *     int4_w4a16*       weight_scales io format [E, n, k/group] (group 128; _g64, _g32), weights u32 [E, n, k/8] in
     *                       the ExLlama shuffle (nibbles from bit 0 on: elements 0 2 4 6 1 3 5 7), value = code - 8;
     *                       _zp: zero points u32 [E, n/8, k/group], nibbles of eight neighbouring columns */
    const void *weight_scales1, *weight_scales2;
    const void *weight_zeros1, *weight_zeros2;
    const float *input_scale1; /* [1] of x, on the device: schemes with a static scale */
    const float *input_scale2; /* [1] of the activated rows, likewise */
    const char *layout;        /* of weights1, as the caller has them: another than the plan's problem says is
                                  MJ_ERR_ARGUMENT. NULL: not said, they are taken to be as the problem says */
} mj_layer;

/* Zeroes the counters in a caller's workspace, on `stream`; once before its first use, and again after a launch
 * that failed or was interrupted. NULL: the plan's own (done by mj_plan_create). A workspace serves one launch at a
 * time: streams that overlap need one each.
 * MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST.  [sync: no | alloc: no | gpu: yes] */
MJ_API mj_status mj_plan_prepare_workspace(mj_plan *plan, void *workspace, void *stream, mj_error *error);

/* Launches the layer: five kernels (two more with quantise, one less with gemm1_act, two less with gemm1_quantise,
 * one less with gemm2_combine), in order, on `stream`.
 * All pointers of `layer` are device pointers, aligned to 16 bytes (a tuned kernel may ask for more: the error
 * names the pointer and the alignment). `layer` itself may go when the call returns; what it points to must stay
 * until the stream has passed. M = 0 launches nothing.
 * Nothing is launched on MJ_ERR_ARGUMENT (a null or misaligned pointer, a bias or scales where none belong, weights
 * in another layout) and
 * MJ_ERR_CAPACITY (M > max_tokens). MJ_ERR_DEVICE, MJ_ERR_DEVICE_LOST: a launch was refused; y is undefined.
 * From sm_90 on most kernels are dependent launches (CUDA C++ Programming Guide, "Programmatic Dependent Launch"): each
 * waits by itself for the one right ahead, and lets the next one start before it has ended. So a kernel of yours that
 * is launched in this way, ahead of a layer or behind it, must wait in each of its blocks (griddepcontrol.wait,
 * cudaGridDependencySynchronize), whatever it touches, and before that touch nothing that a layer reads or writes: who
 * comes behind it waits for it alone. Kernels that are launched as ever begin when the layer is over, and the other
 * way round.
 * Host cost: below 5 microseconds per kernel beside the driver's.  [sync: no (cpu: yes) | alloc: no | gpu: yes] */
MJ_API mj_status mj_plan_run(mj_plan *plan, const mj_layer *layer, void *stream, mj_error *error);

/* One op of the layer on the same arguments, as mj_plan_run would launch it: MJ_OP_TABLES .. MJ_OP_COMBINE. Ops before
 * it must have run on this workspace. A GEMM may read its weights, their scales and zero points, a static input scale
 * and top-k ids and weights while the kernels ahead of it on the stream still run: whatever writes these must be over
 * before the first kernel of the layer begins. The same holds of what tables wrote for a GEMM that does not stand right
 * behind tables: between it and gemm2, or gemm1 of a scheme that quantises, another kernel of the layer must run, as in
 * mj_plan_run. An op that the scheme does without launches nothing, nor does one that stands in
 * for others where the plan has no row of it for M. The others are launched also where it has. For profilers and
 * benchmarks. Statuses as mj_plan_run.  [sync: no (cpu: yes) | alloc: no | gpu: yes] */
MJ_API mj_status mj_plan_run_op(mj_plan *plan, mj_op op, const mj_layer *layer, void *stream, mj_error *error);

/* Where mj_plan_run_op leaves what it computes for `layer`: *output is y for MJ_OP_COMBINE and MJ_OP_GEMM2_COMBINE, else an
 * address in the workspace that holds until that workspace's next launch. Rows are dense: gemm1 [rows, G*N], activation [rows,
 * N] and the codes of quantise2 and gemm1_quantise [rows, N] sorted by expert, within one by pair index; the codes of quantise1
 * [M, H]; gemm2 [pairs, H] in pair order, the rows of other ranks' pairs undefined. *scales: of the codes that the op wrote, as
 * the scheme has them, else NULL. M = 0: both are NULL. For tests and benchmarks of single ops.
 * MJ_ERR_NOT_FOUND: the plan does without this op; statuses as mj_plan_run.  [sync: no | alloc: no | gpu: no] */
MJ_API mj_status mj_plan_find_output(const mj_plan *plan, mj_op op, const mj_layer *layer, void **output, void **scales,
                                     mj_error *error);

/* ---- 8. Precompiled packs ------------------------------------------------------------------------
 * `moejit emit` writes kernels of one problem for one arch or several, compiled, as a folder and as one C file. A
 * library built without the generator, on a machine without a compiler, serves from packs alone. A device takes what a
 * pack has for its own arch; a CPU only what was compiled for one like it: the same compiler gives the same answer to
 * -march=native, or, where there is none or another version, the CPU has the same name if the pack says on which. Several
 * packs (other problems, other archs) may be registered; they are asked in the order of registration. */
typedef struct mj_pack_variant { /* one kernel */
    const char *manifest_json;
    const void *binary;
    size_t binary_bytes;
    const char *binary_sha256;
} mj_pack_variant;

typedef struct mj_pack { /* as the generated C file defines it */
    uint32_t version;    /* MJ_PACK_VERSION */
    uint32_t variant_count;
    const mj_pack_variant *variants;
    const char *rows_json; /* tokens -> variant, per op */
} mj_pack;
#define MJ_PACK_VERSION 2

/* Checks the pack (versions, every checksum and manifest) and makes it known to later mj_plan_create calls. The pack
 * is not copied: it must outlive the context, as a static one does. Packs for other archs are accepted and lie idle.
 *     MJ_ERR_VERSION    another pack format, or another generator's kernels: emit it again
 *     MJ_ERR_FORMAT     damaged, or its parts contradict each other
 *     MJ_ERR_CAPACITY   32 packs are registered already
 *     MJ_ERR_MEMORY
 * [sync: no | alloc: host | gpu: no] */
MJ_API mj_status mj_pack_register(mj_context *context, const mj_pack *pack, mj_error *error);

/* The same from a folder written by `moejit emit --out DIR`. The folder may go when the call returns.
 * As mj_pack_register; MJ_ERR_IO or MJ_ERR_NOT_FOUND for files that cannot be read.  [sync: no | alloc: host | gpu: no] */
MJ_API mj_status mj_pack_load(mj_context *context, const char *folder, mj_error *error);

/* ---- 9. Weight layouts ---------------------------------------------------------------------------
 * All batch sizes share one copy of the weights, so how they lie in memory is the problem's, never a config's:
 * mj_problem.layout. Plans, tuned decisions, packs and caches of one layout are never used for another.
 *
 *     "default"       weights1 [E, G*N, H]: of each expert the N gate rows, then the N up rows
 *     "interleaved8"  gated layers whose N is a multiple of 8: gate and up rows in turns of 8. Gate row c of an expert,
 *                     0 <= c < N, is its row c/8 * 16 + c%8 (c/8 rounded down), up row c its row c/8 * 16 + 8 + c%8
 *
 * A layout moves whole rows of weights1 within their expert, whatever the scheme. All else stays in default order:
 * weights2, bias1 [E, 2N] (gates, then ups), weight_scales1 and weight_zeros1 of every kind, and the output of gemm1.
 *
 * "interleaved8" is the order that gemm1_act and gemm1_quantise of family wgmma (sm_90a) multiply in: they then copy
 * rows as they lie. Families reference, cpu, mma and wgmma read it; gemm1 of the others (AMD's) falls back to the
 * reference family, which is slow, and so does gemm1 of fp8 schemes alone where N is not a multiple of 64.
 *
 * To use it: convert once, when the weights are loaded, and set the layout of the problem that is planned and tuned. */

/* Converts weights1 from `from_layout` (NULL: "default") to problem->layout, on the host: load, convert, upload.
 *     problem      as it will be planned: sizes, gated and layout are looked at, scheme is not
 *     from, to     [E, G*N, row] each, dense; they must not overlap. No alignment is asked for
 *     bytes        of each: E * G*N * row bytes, a row being H * 2 bytes for bf16 and fp16, H for the fp8 schemes,
 *                  (H + 7) / 8 * 4 for int4_w4a16*. What a row takes is computed from it
 * Back again: "default" in problem->layout, and the layout they are in as from_layout. Equal layouts: a copy. Only
 * weights of which a row is contiguous (all schemes of this version) can be moved.
 *     MJ_ERR_ARGUMENT     null or overlapping arrays, `bytes` that are not E * G*N rows of H elements of 4 to 16 bits,
 *                         a problem out of range, a layout that its sizes do not allow (not gated; N no multiple of 8)
 *     MJ_ERR_UNSUPPORTED  a layout that this version does not know; the text names the nearest
 * `to` is written on MJ_OK only. Any thread.  [sync: no | alloc: no | gpu: no] */
MJ_API mj_status mj_weights_pack(const mj_problem *problem, const char *from_layout, const void *from, void *to,
                                 uint64_t bytes, mj_error *error);

#ifdef __cplusplus
}
#endif
#endif
