/* bench_cpu.c: the cpu family against what the machine gives. Not a test.
 *
 *     bench_cpu [problem] [tokens,tokens,...] [config of gemm1 and gemm2]
 *
 * For each number of tokens, gemm1 and gemm2 with what the estimate chooses (or the given config): time, bytes of the active experts'
 * weights per second as a share of a plain read loop with the same threads over the same bytes, and operations per second. The two take
 * turns, and the best of each counts: others on the machine only ever slow a run down.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "launch.h"
#include "os.h"
#include "threadpool.h"

#define MIXTRAL_TP2 "E=8/8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default"
enum { TURNS = 15, PART_BYTES = 4 << 20 };

typedef struct bench {
    mj_context *context;
    mj_device *device;
    const mj_spec *spec;
    mj_problem problem;
    mj_threadpool *pool;
    char *weights;
    size_t weight_bytes;
    mj_error error;
} bench;

typedef uint64_t words __attribute__((vector_size(16)));

static void read_part(void *user, uint32_t index, uint32_t thread)
{
    const bench *b = user;
    const words *from = (const words *)(b->weights + (size_t)index * PART_BYTES);
    words a = {0}, e = {0}, c = {0}, d = {0};
    (void)thread;
    for (size_t i = 0; i < PART_BYTES / sizeof(words); i += 4) {
        a ^= from[i];
        e ^= from[i + 1];
        c ^= from[i + 2];
        d ^= from[i + 3];
    }
    a ^= e ^ c ^ d;
    __asm__ __volatile__("" : : "m"(a)); /* the loads must happen */
}

static double read_seconds(bench *b, size_t bytes)
{
    double start = mj_os_monotonic_seconds();
    mj_threadpool_run(b->pool, (uint32_t)(bytes / PART_BYTES), 1, read_part, b);
    return mj_os_monotonic_seconds() - start;
}

static bool choose(bench *b, mj_op op, uint32_t tokens, const char *config_text, mj_kernel_desc *desc,
                   mj_config *config)
{
    mj_ranked ranked[1];
    uint32_t count = 0;
    memset(desc, 0, sizeof *desc);
    desc->problem = &b->problem;
    desc->op = op;
    desc->config = config;
    if (mj_spec_find_arch(b->spec, "cpu", &desc->arch, &b->error) != MJ_OK ||
        mj_spec_find_scheme(b->spec, b->problem.scheme, &desc->scheme, &b->error) != MJ_OK ||
        mj_spec_find_space(b->spec, "cpu", &desc->space, &b->error) != MJ_OK) {
        return false;
    }
    if (config_text) {
        return mj_config_parse(config_text, config, &b->error) == MJ_OK;
    }
    if (mj_estimate_rank(b->spec, &b->problem, desc->arch, op, "cpu", &b->device->shape, tokens, NULL, ranked, 1,
                         &count, NULL, &b->error) != MJ_OK) {
        return false;
    }
    *config = ranked[0].config;
    return count == 1;
}

typedef struct routed {
    int32_t *offsets, *sorted;
    float *topk_weights;
    void *input, *output;
    uint32_t active;
} routed;

/* Every token to top_k experts in turn: the load is even, and the experts of one token are distinct. */
static bool make_routing(const mj_problem *p, mj_gemm_shape g, uint32_t tokens, routed *r)
{
    size_t pairs = (size_t)tokens * p->top_k;
    r->offsets = calloc(p->expert_count + 1, sizeof *r->offsets);
    r->sorted = calloc(pairs, sizeof *r->sorted);
    r->topk_weights = calloc(pairs, sizeof *r->topk_weights);
    r->input = calloc(pairs * g.k, 2);
    r->output = calloc(pairs * g.n, 2);
    if (!r->offsets || !r->sorted || !r->topk_weights || !r->input || !r->output) {
        return false;
    }
    int32_t at = 0;
    r->active = 0;
    for (uint32_t e = 0; e < p->expert_count; e++) {
        for (size_t pair = e; pair < pairs; pair += p->expert_count) {
            r->sorted[at++] = (int32_t)pair;
        }
        r->offsets[e + 1] = at;
        r->active += r->offsets[e + 1] > r->offsets[e];
    }
    return true;
}

static void free_routing(routed *r)
{
    free(r->offsets);
    free(r->sorted);
    free(r->topk_weights);
    free(r->input);
    free(r->output);
}

static bool bench_op(bench *b, mj_op op, uint32_t tokens, const char *config_text)
{
    mj_kernel_desc desc;
    mj_config config = {0};
    mj_loaded_kernel kernel;
    routed r = {0};
    char text[300];
    mj_gemm_shape g = mj_problem_gemm(&b->problem, op);
    bool good = choose(b, op, tokens, config_text, &desc, &config) && make_routing(&b->problem, g, tokens, &r) &&
                mj_kernel_build(b->device, &desc, &kernel, NULL, &b->error) == MJ_OK;
    if (!good) {
        free_routing(&r);
        return false;
    }
    mj_arg_value values[MJ_ARG_COUNT] = {
        [MJ_ARG_INPUT].pointer = (uintptr_t)r.input,         [MJ_ARG_WEIGHTS].pointer = (uintptr_t)b->weights,
        [MJ_ARG_OUTPUT].pointer = (uintptr_t)r.output,       [MJ_ARG_EXPERT_OFFSETS].pointer = (uintptr_t)r.offsets,
        [MJ_ARG_SORTED_PAIRS].pointer = (uintptr_t)r.sorted, [MJ_ARG_TOPK_WEIGHTS].pointer = (uintptr_t)r.topk_weights,
        [MJ_ARG_TOKEN_COUNT].i32 = (int32_t)tokens,
    };
    double best = 1e30, best_read = 1e30;
    size_t read_bytes = (size_t)r.active * g.n * g.k * 2;
    read_bytes = read_bytes < PART_BYTES ? PART_BYTES : read_bytes;
    for (int i = 0; good && i < TURNS; i++) {
        double start = mj_os_monotonic_seconds();
        good = mj_kernel_launch(b->device, &kernel, values, tokens, NULL, &b->error) == MJ_OK;
        best = fmin(best, mj_os_monotonic_seconds() - start);
        best_read = fmin(best_read, read_seconds(b, read_bytes));
    }
    double bytes = (double)r.active * g.n * g.k * 2, operations = 2.0 * tokens * b->problem.top_k * g.n * g.k;
    double read_gbps = (double)(read_bytes / PART_BYTES) * PART_BYTES / best_read * 1e-9;
    mj_config_print(&config, text, sizeof text, NULL);
    if (good) {
        printf("%6u  %-5s  %-38s %10.0f us  %6.1f GB/s  %4.0f %% of reading at %5.1f GB/s  %7.1f GFLOP/s\n", tokens,
               mj_op_name(op), text, best * 1e6, bytes / best * 1e-9, 100 * bytes / best * 1e-9 / read_gbps, read_gbps,
               operations / best * 1e-9);
        fflush(stdout);
    }
    mj_kernel_unload(b->device, &kernel);
    free_routing(&r);
    return good;
}

static bool open_bench(bench *b, const char *problem)
{
    if (mj_problem_parse(problem, &b->problem, &b->error) != MJ_OK ||
        mj_context_create(NULL, &b->context, &b->error) != MJ_OK ||
        mj_context_spec(b->context, &b->spec, &b->error) != MJ_OK ||
        mj_device_open(b->context, "cpu", &b->device, &b->error) != MJ_OK ||
        mj_threadpool_create(b->device->info.sm_count, &b->pool, &b->error) != MJ_OK) {
        return false;
    }
    mj_gemm_shape g1 = mj_problem_gemm(&b->problem, MJ_OP_GEMM1), g2 = mj_problem_gemm(&b->problem, MJ_OP_GEMM2);
    size_t largest = (size_t)g1.n * g1.k > (size_t)g2.n * g2.k ? (size_t)g1.n * g1.k : (size_t)g2.n * g2.k;
    void *memory = NULL;
    b->weight_bytes = b->problem.expert_count * largest * 2 + PART_BYTES;
    if (mj_memory_alloc(b->device, b->weight_bytes, &memory, &b->error) != MJ_OK) {
        return false;
    }
    b->weights = memory;
    for (size_t i = 0; i < b->weight_bytes / 2;
         i++) { /* ordinary numbers in any 16-bit format; every page is touched */
        ((uint16_t *)memory)[i] = (uint16_t)(0x3000 + i * 2654435761u % 0x0c00);
    }
    printf("%s, %u threads, %s\n%s\nweights %.0f MB, last-level cache %.0f MB\n", b->device->info.name,
           b->device->info.sm_count, b->device->info.compiler, problem, (double)b->weight_bytes * 1e-6,
           (double)b->device->info.l2_bytes * 1e-6);
    return true;
}

int main(int argc, char **argv)
{
    bench b = {0};
    const char *problem = argc > 1 && argv[1][0] ? argv[1] : MIXTRAL_TP2,
               *tokens = argc > 2 ? argv[2] : "1,4,16,64,256";
    bool good = open_bench(&b, problem);
    while (good && *tokens) {
        uint32_t count = (uint32_t)strtoul(tokens, NULL, 10);
        good = count > 0 && bench_op(&b, MJ_OP_GEMM1, count, argc > 3 ? argv[3] : NULL) &&
               bench_op(&b, MJ_OP_GEMM2, count, argc > 3 ? argv[3] : NULL);
        tokens += strcspn(tokens, ",");
        tokens += *tokens == ',';
    }
    if (!good) {
        fprintf(stderr, "bench_cpu: %s\n", b.error.text);
    }
    if (b.device) {
        mj_memory_free(b.device, b.weights);
    }
    mj_threadpool_destroy(b.pool);
    mj_device_close(b.device);
    mj_context_destroy(b.context);
    return good ? 0 : 1;
}
