/* host_run.c: load, run, compare. */
#define _GNU_SOURCE
#include "host_run.h"

#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend.h"
#include "check.h"
#include "reference.h"
#include "verify.h"

enum { TIME_LIMIT_SECONDS = 60, GUARD_BYTES = 256, WHY_BYTES = 300, SMEM_ALIGN = 128 };
enum { ARGS_BYTES_MAX = 8 * MJ_ARG_COUNT + MJ_TENSOR_MAP_ALIGN + MJ_TENSOR_MAPS_MAX * MJ_TENSOR_MAP_BYTES };

typedef struct host_block { /* as templates/prelude/host.h has it */
    int32_t block, grid;
    void *smem;
    uint64_t seed;
} host_block;
typedef void host_entry(const host_block *block, const void *args);

/* The child's report, in memory shared with the parent. */
typedef struct report {
    host_result result;
    char why[WHY_BYTES];
} report;

typedef struct buffer {
    unsigned char *memory; /* guard, data, guard */
    void *data;
    size_t bytes;
} buffer;

typedef struct run {
    const mj_kernel_desc *desc;
    const mj_manifest *manifest;
    host_entry *entry, *first; /* first: of a manifest with a pass ahead of the kernel */
    report *report;
    buffer weights, weight_scales, weight_zeros, bias; /* every case has the same */
    mj_ref_memory memory;                              /* of these weights */
    struct run *beside; /* of a kernel that stands in for others: the GEMM among them, or NULL */
    uint64_t random;
} run;

const char *host_result_name(host_result result)
{
    static const char *const names[] = {"right", "wrong", "crashed", "hung", "does not compile", "harness broken"};
    return names[result];
}

static bool wrong(run *r, const char *format, ...) MJ_PRINTF(2, 3);
static bool wrong(run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->report->why, sizeof r->report->why, format, args);
    va_end(args);
    r->report->result = HOST_WRONG;
    return false;
}

static uint32_t below(run *r, uint32_t limit)
{
    r->random = r->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((r->random >> 33) % limit);
}

/* ---- Buffers between guard zones ---- */

static buffer buffer_new(size_t bytes, int fill)
{
    size_t all = (bytes + 2 * GUARD_BYTES + 255) / 256 * 256;
    buffer b = {.memory = aligned_alloc(256, all), .bytes = bytes};
    if (!b.memory) {
        _exit(99);
    }
    memset(b.memory, 0xa5, all);
    b.data = b.memory + GUARD_BYTES;
    memset(b.data, fill, bytes);
    return b;
}

static bool buffer_guarded(const buffer *b)
{
    const unsigned char *behind = (const unsigned char *)b->data + b->bytes;
    for (int i = 0; i < GUARD_BYTES; i++) {
        if (b->memory[i] != 0xa5 || behind[i] != 0xa5) {
            return false;
        }
    }
    return true;
}

static buffer buffer_random(const char *format, uint64_t count, uint64_t seed, float scale)
{
    buffer b = buffer_new(count * mj_ref_format_bytes(format), 0);
    for (uint64_t i = 0; i < count; i++) {
        mj_ref_store(format, b.data, i, mj_ref_fill(seed, i, scale));
    }
    return b;
}

static buffer buffer_operand(const mj_operand *operand, uint64_t seed)
{
    buffer b = buffer_new(operand->bytes, 0);
    for (uint64_t i = 0; i < operand->count && operand->bytes; i++) {
        mj_operand_store(operand, b.data, i, seed, i);
    }
    return b;
}

/* ---- Running a kernel ---- */

static void shuffle(run *r, int32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        order[i] = (int32_t)i;
    }
    for (uint32_t i = count; i > 1; i--) {
        uint32_t at = below(r, i);
        int32_t keep = order[at];
        order[at] = order[i - 1];
        order[i - 1] = keep;
    }
}

/* Blocks one after the other, in any order: no kernel may rely on one. */
static void run_blocks(run *r, host_entry *entry, const void *args, uint32_t blocks, void *smem)
{
    int32_t *order = malloc((blocks + 1) * sizeof *order);
    if (!order) {
        _exit(99);
    }
    shuffle(r, order, blocks);
    for (uint32_t i = 0; i < blocks; i++) {
        host_block block = {.block = order[i], .grid = (int32_t)blocks, .smem = smem, .seed = below(r, 1u << 30)};
        entry(&block, args);
    }
    free(order);
}

/* Multiprocessors; where the grid decides who computes what, several numbers of them are tried. */
static uint32_t sm_count(const run *r, uint32_t tokens)
{
    return r->manifest->partial_block_bytes && tokens % 2 ? 5 : 2;
}

static void launch(run *r, const mj_arg_value values[MJ_ARG_COUNT], uint32_t blocks)
{
    _Alignas(MJ_TENSOR_MAP_ALIGN) char args[ARGS_BYTES_MAX] = {0};
    buffer smem = buffer_new((r->manifest->smem_bytes + SMEM_ALIGN) / SMEM_ALIGN * SMEM_ALIGN, 0xff);
    uint32_t tokens = (uint32_t)values[MJ_ARG_TOKEN_COUNT].i32, first_blocks = 0;
    mj_manifest_pack_args(r->manifest, values, args);
    for (uint32_t i = 0; i < r->manifest->tensor_map_count; i++) {
        mj_tensor_map map;
        if (mj_manifest_tensor_map(r->manifest, i, values, tokens, &map, NULL) != MJ_OK ||
            mj_backend_cpu.tensor_map_encode(NULL, &map, args + mj_args_tensor_map_offset(r->manifest->op, i), NULL) !=
                MJ_OK) {
            _exit(99);
        }
    }
    if (r->first) {
        if (mj_manifest_first_blocks(r->manifest, tokens, sm_count(r, tokens), &first_blocks, NULL) != MJ_OK) {
            _exit(99);
        }
        run_blocks(r, r->first, args, first_blocks, smem.data);
    }
    run_blocks(r, r->entry, args, blocks, smem.data);
    if (!buffer_guarded(&smem)) {
        wrong(r, "wrote outside its shared memory");
    }
    free(smem.memory);
}

static uint32_t blocks_of(run *r, uint32_t tokens)
{
    uint32_t blocks = 0;
    if (mj_manifest_blocks(r->manifest, tokens, sm_count(r, tokens), &blocks, NULL) != MJ_OK) {
        _exit(99);
    }
    return blocks;
}

/* ---- Routings ---- */

typedef enum routing { RAGGED, ONE_EXPERT, LAST_EXPERT, HOLES, NOBODY } routing;
typedef struct routing_case {
    const char *name;
    uint32_t tokens;
    routing kind;
} routing_case;

static const routing_case routings[] = {
    {"one token", 1, RAGGED},
    {"ragged, empty experts", 3, RAGGED},
    {"other ranks' experts", 37, HOLES},
    {"all on one expert", 70, ONE_EXPERT},
    {"all on the last expert", 17, LAST_EXPERT},
    {"no local expert", 5, NOBODY},
    {"many", 64, RAGGED},
    {"tall tiles", 300, ONE_EXPERT}, /* only where one tile takes all rows of those above */
};
enum { ROUTING_COUNT = sizeof routings / sizeof routings[0], TALL_TILE_ROWS = 128, SHARED_TILE_ROWS = 64 };

/* Distinct experts per token. */
static void route(run *r, const routing_case *c, int32_t *ids)
{
    const mj_problem *p = r->desc->problem;
    for (uint32_t m = 0; m < c->tokens; m++) {
        int32_t *mine = ids + (size_t)m * p->top_k;
        for (uint32_t s = 0; s < p->top_k; s++) {
            bool again = true;
            while (again) {
                mine[s] = (int32_t)below(r, p->expert_count);
                again = false;
                for (uint32_t t = 0; t < s; t++) {
                    again = again || mine[t] == mine[s];
                }
            }
        }
        for (uint32_t s = 0; s < p->top_k; s++) {
            bool hole = c->kind == NOBODY || (c->kind == HOLES && below(r, 3) == 0);
            if (c->kind == ONE_EXPERT || c->kind == LAST_EXPERT) {
                hole = s > 0;
                mine[s] = c->kind == ONE_EXPERT ? 1 : (int32_t)p->expert_count - 1;
            }
            mine[s] = hole ? (below(r, 2) ? -1 : (int32_t)p->expert_count + (int32_t)below(r, 5)) : mine[s];
        }
    }
}

typedef struct layer { /* the data of one case */
    const routing_case *routing;
    buffer ids, weights_of_pairs, offsets, pairs;
    uint32_t pair_count, rows;
} layer;

static layer layer_new(run *r, const routing_case *c)
{
    const mj_problem *p = r->desc->problem;
    layer l = {.routing = c, .pair_count = c->tokens * p->top_k};
    l.ids = buffer_new(l.pair_count * sizeof(int32_t), 0);
    l.offsets = buffer_new((p->expert_count + 1) * sizeof(int32_t), 0);
    l.pairs = buffer_new(l.pair_count * sizeof(int32_t), 0xff);
    l.weights_of_pairs = buffer_new(l.pair_count * sizeof(float), 0);
    route(r, c, l.ids.data);
    for (uint32_t i = 0; i < l.pair_count; i++) {
        ((float *)l.weights_of_pairs.data)[i] = 0.2f + 0.01f * (float)below(r, 80);
    }
    l.rows = (uint32_t)mj_ref_tables(p, l.ids.data, c->tokens, l.offsets.data, l.pairs.data);
    return l;
}

static void layer_free(layer *l)
{
    free(l->ids.memory);
    free(l->weights_of_pairs.memory);
    free(l->offsets.memory);
    free(l->pairs.memory);
}

static void layer_args(const layer *l, mj_arg_value values[MJ_ARG_COUNT])
{
    values[MJ_ARG_EXPERT_OFFSETS].pointer = (uintptr_t)l->offsets.data;
    values[MJ_ARG_SORTED_PAIRS].pointer = (uintptr_t)l->pairs.data;
    values[MJ_ARG_TOPK_IDS].pointer = (uintptr_t)l->ids.data;
    values[MJ_ARG_TOPK_WEIGHTS].pointer = (uintptr_t)l->weights_of_pairs.data;
    values[MJ_ARG_TOKEN_COUNT].i32 = (int32_t)l->routing->tokens;
}

/* One row of io_format values against doubles; rows that nobody owns must still be the fill. */
static bool row_right(run *r, const layer *l, const void *output, uint64_t row, uint32_t columns, const double *want)
{
    double *got = calloc(columns, sizeof *got);
    if (!got) {
        _exit(99);
    }
    for (uint32_t c = 0; c < columns; c++) {
        got[c] = mj_ref_load(r->desc->scheme->io_format, output, row * columns + c);
    }
    uint32_t bad = mj_tolerance_check(&r->desc->scheme->tolerance, got, want, columns);
    double got_bad = bad == UINT32_MAX ? 0 : got[bad];
    free(got);
    return bad == UINT32_MAX ||
           wrong(r, "%s: row %u column %u is %g, not %g", l->routing->name, (unsigned)row, bad, got_bad, want[bad]);
}

static bool row_untouched(run *r, const layer *l, const void *output, uint64_t row, uint32_t columns)
{
    const unsigned char *bytes = (const unsigned char *)output + row * columns * 2;
    for (uint32_t i = 0; i < columns * 2; i++) {
        if (bytes[i] != 0xff) {
            return wrong(r, "%s: row %u is nobody's and was written", l->routing->name, (unsigned)row);
        }
    }
    return true;
}

/* ---- GEMMs ---- */

typedef struct gemm_data {
    buffer input, input_scales, partials, counters;
    mj_ref_arrays arrays;
} gemm_data;

/* All that a launch may write to but its output's values; `scales` of codes, or NULL. */
static bool buffers_right(run *r, const layer *l, const gemm_data *d, const buffer *output, const buffer *scales)
{
    for (size_t i = 0; i < d->counters.bytes / sizeof(int32_t); i++) {
        if (((int32_t *)d->counters.data)[i] != 0) {
            return wrong(r, "%s: counter %zu was not left zero", l->routing->name, i);
        }
    }
    return (buffer_guarded(&d->partials) && buffer_guarded(&d->counters) && buffer_guarded(output) &&
            (!scales || buffer_guarded(scales))) ||
           wrong(r, "%s: wrote outside its buffers", l->routing->name);
}

/* What the second run wrote: it finds the workspace as the first, which was right, left it. */
static bool same_bits(run *r, const layer *l, const buffer outputs[2])
{
    return memcmp(outputs[0].data, outputs[1].data, outputs[0].bytes) == 0 ||
           wrong(r, "%s: the second run gives other bits", l->routing->name);
}

static bool gemm_output_right(run *r, const layer *l, const gemm_data *d, const buffer *output)
{
    const mj_problem *p = r->desc->problem;
    mj_gemm_shape shape = mj_problem_gemm(p, r->desc->op);
    const int32_t *pairs = l->pairs.data;
    double *want = calloc(shape.out_n, sizeof *want);
    bool *owned = calloc(l->pair_count + 1, sizeof *owned), right = want && owned;
    for (uint32_t row = 0; row < l->rows && right; row++) {
        uint32_t out_row = mj_op_is_gemm1(r->desc->op) ? row : (uint32_t)pairs[row];
        owned[out_row] = true;
        mj_error error = {0};
        if (mj_ref_gemm_row(p, r->desc->scheme, r->desc->op, &d->arrays, l->offsets.data, pairs,
                            l->weights_of_pairs.data, row, want, &error) != MJ_OK) {
            _exit(99);
        }
        right = row_right(r, l, output->data, out_row, shape.out_n, want);
    }
    for (uint32_t row = 0; row < l->pair_count && right; row++) {
        right = owned[row] || row_untouched(r, l, output->data, row, shape.out_n);
    }
    free(want);
    free(owned);
    return right;
}

static mj_ref_memory *ref_memory(run *r)
{
    mj_gemm_shape shape = mj_problem_gemm(r->desc->problem, r->desc->op);
    size_t experts = r->desc->problem->expert_count, values = experts * shape.n * shape.k;
    if (!r->memory.held) {
        r->memory.slot_count = r->desc->problem->expert_count;
        r->memory.held = calloc(experts, sizeof *r->memory.held);
        r->memory.weights = malloc(values * sizeof *r->memory.weights);
    }
    if (!r->memory.held || !r->memory.weights) {
        _exit(99);
    }
    return &r->memory;
}

static gemm_data gemm_data_new(run *r, const layer *l)
{
    const mj_problem *p = r->desc->problem;
    uint64_t input_rows = mj_op_is_gemm1(r->desc->op) ? l->routing->tokens : l->pair_count, partial_bytes = 0;
    uint64_t counter_bytes = 0, bias_count = (uint64_t)p->expert_count * mj_problem_gemm(p, r->desc->op).n;
    mj_operands o;
    mj_manifest_workspace(r->manifest, l->routing->tokens, sm_count(r, l->routing->tokens), &partial_bytes,
                          &counter_bytes, NULL);
    if (mj_operands_describe(r->desc->scheme, p, r->desc->op, input_rows, &o, NULL) != MJ_OK) {
        _exit(99);
    }
    if (!r->weights.memory) {
        r->weights = buffer_operand(&o.weights, 2);
        r->weight_scales = buffer_operand(&o.weight_scales, 4);
        r->weight_zeros = buffer_operand(&o.weight_zeros, 5);
        r->bias = buffer_random(r->desc->scheme->io_format, bias_count, 3, 2.0f);
    }
    gemm_data d = {
        .input = buffer_operand(&o.input, 1),
        .input_scales = buffer_operand(&o.input_scales, 6),
        .partials = buffer_new(partial_bytes, 0xff),
        .counters = buffer_new(counter_bytes, 0),
    };
    d.arrays = (mj_ref_arrays){
        .input = d.input.data,
        .weights = r->weights.data,
        .bias = p->bias ? r->bias.data : NULL,
        .weight_scales = o.weight_scales.bytes ? r->weight_scales.data : NULL,
        .weight_zeros = o.weight_zeros.bytes ? r->weight_zeros.data : NULL,
        .input_scales = o.input_scales.bytes ? d.input_scales.data : NULL,
        .memory = ref_memory(r),
    };
    return d;
}

static void gemm_data_free(gemm_data *d)
{
    buffer *all[] = {&d->input, &d->input_scales, &d->partials, &d->counters};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        free(all[i]->memory);
    }
}

static void gemm_args(const gemm_data *d, mj_arg_value values[MJ_ARG_COUNT])
{
    values[MJ_ARG_INPUT].pointer = (uintptr_t)d->arrays.input;
    values[MJ_ARG_WEIGHTS].pointer = (uintptr_t)d->arrays.weights;
    values[MJ_ARG_BIAS].pointer = (uintptr_t)d->arrays.bias;
    values[MJ_ARG_WEIGHT_SCALES].pointer = (uintptr_t)d->arrays.weight_scales;
    values[MJ_ARG_WEIGHT_ZEROS].pointer = (uintptr_t)d->arrays.weight_zeros;
    values[MJ_ARG_INPUT_SCALES].pointer = (uintptr_t)d->arrays.input_scales;
    values[MJ_ARG_PARTIALS].pointer = (uintptr_t)d->partials.data;
    values[MJ_ARG_COUNTERS].pointer = (uintptr_t)d->counters.data;
}

static bool gemm_case(run *r, const routing_case *c)
{
    const mj_problem *p = r->desc->problem;
    mj_gemm_shape shape = mj_problem_gemm(p, r->desc->op);
    layer l = layer_new(r, c);
    gemm_data d = gemm_data_new(r, &l);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    layer_args(&l, values);
    gemm_args(&d, values);
    bool right = true;
    buffer outputs[2];
    for (int pass = 0; pass < 2; pass++) {
        outputs[pass] = buffer_new((size_t)l.pair_count * shape.out_n * 2, 0xff);
        values[MJ_ARG_OUTPUT].pointer = (uintptr_t)outputs[pass].data;
        if (right) {
            launch(r, values, blocks_of(r, c->tokens));
            right = r->report->result == HOST_RIGHT &&
                    (pass == 0 ? gemm_output_right(r, &l, &d, &outputs[0]) : same_bits(r, &l, outputs)) &&
                    buffers_right(r, &l, &d, &outputs[pass], NULL);
        }
    }
    free(outputs[0].memory);
    free(outputs[1].memory);
    gemm_data_free(&d);
    layer_free(&l);
    return right;
}

#include "host_run_codes.h"
#include "host_run_combine.h"
#include "host_run_ops.h"

static bool (*const op_cases[MJ_OP_COUNT])(run *r, const routing_case *c) = {
    [MJ_OP_QUANTISE1] = quantise_case,
    [MJ_OP_QUANTISE2] = quantise_case,
    [MJ_OP_TABLES] = tables_case,
    [MJ_OP_GEMM1] = gemm_case,
    [MJ_OP_GEMM1_ACT] = gemm_case,
    [MJ_OP_ACTIVATION] = rowwise_case,
    [MJ_OP_GEMM2] = gemm_case,
    [MJ_OP_COMBINE] = rowwise_case,
    [MJ_OP_FILL] = fill_case,
    [MJ_OP_GEMM1_QUANTISE] = codes_case,
    [MJ_OP_COMPARE] = compare_case,
    [MJ_OP_STREAM] = stream_case,
    [MJ_OP_GEMM2_COMBINE] = combine_gemm_case,
};

/* ---- The child ---- */

static void run_load(run *r, const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    r->entry = handle ? (host_entry *)(uintptr_t)dlsym(handle, r->manifest->symbol) : NULL;
    if (handle && r->manifest->first_pass) {
        char symbol[sizeof r->manifest->symbol + sizeof "_first"];
        snprintf(symbol, sizeof symbol, "%s_first", r->manifest->symbol);
        r->first = (host_entry *)(uintptr_t)dlsym(handle, symbol);
    }
    if (!r->entry || (r->manifest->first_pass && !r->first)) {
        snprintf(r->report->why, sizeof r->report->why, "%s", dlerror());
        r->report->result = HOST_BROKEN;
        _exit(0);
    }
}

static void run_child(const mj_kernel_desc *desc, const mj_manifest *manifest, const char *library,
                      const mj_manifest *beside_manifest, const char *beside_library, int says, report *out)
{
    run r = {.desc = desc, .manifest = manifest, .report = out, .random = 12345};
    run beside = {.desc = desc, .manifest = beside_manifest, .report = out, .random = 54321};
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(says, 2);           /* the prelude's faults go to stderr */
    signal(SIGFPE, SIG_DFL); /* a sanitizer would report it and exit, which is not how a crash ends */
    alarm(TIME_LIMIT_SECONDS);
    run_load(&r, library);
    if (beside_manifest) {
        run_load(&beside, beside_library);
        r.beside = &beside;
    }
    out->result = HOST_RIGHT;
    const uint32_t tile_rows = manifest->grid.unit == MJ_GRID_TILES ? manifest->grid.per_block : 0;
    int count = ROUTING_COUNT - (tile_rows < TALL_TILE_ROWS);
    bool right = true;
    for (int i = 0; right && i < count; i++) {
        right = op_cases[desc->op](&r, &routings[i]);
    }
    if (right && tile_rows >= SHARED_TILE_ROWS) { /* where tiles share rows evenly, those above fill none */
        const routing_case full = {"two full tiles but for a row", 2 * tile_rows - 1, ONE_EXPERT};
        op_cases[desc->op](&r, &full);
    }
    _exit(0);
}

static host_result wait_for(pid_t child, const report *shared)
{
    int status = 0;
    if (waitpid(child, &status, 0) != child) {
        return HOST_BROKEN;
    }
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGALRM ? HOST_HUNG : HOST_CRASHED;
    }
    return WEXITSTATUS(status) == 0 ? shared->result : HOST_BROKEN;
}

host_result host_check(const mj_kernel_desc *desc, const mj_manifest *manifest, const char *text, char *why,
                       size_t why_bytes)
{
    return host_check_beside(desc, manifest, text, NULL, NULL, why, why_bytes);
}

host_result host_check_beside(const mj_kernel_desc *desc, const mj_manifest *manifest, const char *text,
                              const mj_manifest *beside, const char *beside_text, char *why, size_t why_bytes)
{
    char library[4000], beside_library[4000] = "";
    snprintf(why, why_bytes, "%s", "");
    report *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return HOST_BROKEN;
    }
    shared->result = HOST_BROKEN;
    int says = memfd_create("stderr of a kernel", 0);
    host_result result = says < 0 ? HOST_BROKEN : host_compile(text, library, sizeof library);
    if (result == HOST_RIGHT && beside) {
        result = host_compile(beside_text, beside_library, sizeof beside_library);
    }
    if (result == HOST_RIGHT) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            run_child(desc, manifest, library, beside, beside_library, says, shared);
        }
        result = child < 0 ? HOST_BROKEN : wait_for(child, shared);
        ssize_t said = result == HOST_CRASHED ? pread(says, shared->why, sizeof shared->why - 1, 0) : 0;
        shared->why[said > 0 ? strcspn(shared->why, "\n") : sizeof shared->why - 1] = '\0';
        snprintf(why, why_bytes, "%s", shared->why);
    }
    close(says);
    unlink(library);
    if (beside_library[0]) {
        unlink(beside_library);
    }
    munmap(shared, sizeof *shared);
    return result;
}
