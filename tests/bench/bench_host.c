/* bench_host.c: what the host pays: mj_plan_create from a warm cache and store, and the launch path. Not a test.
 *
 *     bench_host [--device ID] [problem]       ID: best, cuda:0, cpu
 *
 * Fills a store and a cache of its own (below TMPDIR) with what the estimate chooses at the 18 usual batch sizes, then, in a
 * context that never compiled anything, makes plans and launches layers. Prints medians; nothing is asserted.
 */
#define _GNU_SOURCE
#include <ftw.h>

#include "fake_store.h"
#include "kernel_build.h"
#include "plan.h"

enum {
    CREATE_RUNS = 21,
    RUN_BATCHES = 41,
    RUNS_PER_BATCH = 20,
    KERNELS = 5 /* of a layer that quantises nothing */,
    MAX_TOKENS = 4096
};

static const uint32_t batches[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 1536, 2048, 3072, 4096};

typedef struct host_bench {
    char folder[256], cache_dir[300], store_dir[300];
    mj_context *context;
    mj_device *device;
    mj_problem problem;
    mj_error error;
} host_bench;

static void print_log(void *user, int level, const char *line)
{
    (void)user;
    fprintf(stderr, "%d %s\n", level, line);
}

static bool open_device(host_bench *b, const char *id, bool no_compile)
{
    mj_context_options options = {
        .cache_dir = b->cache_dir, .store_dir = b->store_dir, .no_compile = no_compile, .log = print_log};
    return mj_context_create(&options, &b->context, &b->error) == MJ_OK &&
           mj_device_open(b->context, id, &b->device, &b->error) == MJ_OK;
}

static void close_device(host_bench *b)
{
    mj_device_close(b->device);
    mj_context_destroy(b->context);
    b->device = NULL;
    b->context = NULL;
}

static bool choose(host_bench *b, mj_op op, uint32_t tokens, mj_choice *out)
{
    mj_built built;
    mj_wanted wanted = {
        .problem = &b->problem, .arch = b->device->info.arch, .op = op, .token_count = tokens, .device = b->device};
    if (mj_kernel_choose(b->context, b->device->backend->name, &wanted, &built, &b->error) != MJ_OK) {
        return false;
    }
    *out = (mj_choice){.present = true, .manifest = built.manifest, .effort = "estimate"};
    memcpy(out->cache_key, built.entry.key, sizeof out->cache_key);
    mj_built_free(&built);
    return true;
}

static bool fill_store(host_bench *b)
{
    char name[512], path[1024];
    mj_store_file file = {.problem = b->problem};
    bool filled = mj_device_identity(b->device, &file.identity, &b->error) == MJ_OK &&
                  choose(b, MJ_OP_TABLES, 0, &file.ops[MJ_OP_TABLES]) &&
                  choose(b, MJ_OP_ACTIVATION, 0, &file.ops[MJ_OP_ACTIVATION]) &&
                  choose(b, MJ_OP_COMBINE, 0, &file.ops[MJ_OP_COMBINE]);
    for (size_t i = 0; filled && i < sizeof batches / sizeof *batches; i++) {
        mj_store_row *row = mj_store_row_at(&file, batches[i], "uniform");
        filled =
            row && choose(b, MJ_OP_GEMM1, batches[i], &row->gemm1) && choose(b, MJ_OP_GEMM2, batches[i], &row->gemm2);
    }
    filled = filled && mj_store_file_name(&b->problem, file.identity.device, name, sizeof name, &b->error) == MJ_OK &&
             mj_os_join(path, sizeof path, b->store_dir, name, &b->error) == MJ_OK &&
             mj_store_save(path, &file, &b->error) == MJ_OK;
    mj_store_file_free(&file);
    return filled;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool time_create(host_bench *b, uint32_t flags, const char *what)
{
    double seconds[CREATE_RUNS], first = 0;
    uint32_t kernels = 0;
    for (int i = 0; i < CREATE_RUNS; i++) {
        mj_plan_options options = {.max_tokens = MAX_TOKENS, .flags = flags};
        mj_plan *plan = NULL;
        double start = mj_os_monotonic_seconds();
        if (mj_plan_create(b->device, &b->problem, &options, &plan, &b->error) != MJ_OK) {
            return false;
        }
        seconds[i] = mj_os_monotonic_seconds() - start;
        first = i == 0 ? seconds[0] : first;
        kernels = plan->kernel_count;
        mj_plan_destroy(plan);
    }
    qsort(seconds, CREATE_RUNS, sizeof *seconds, by_value);
    printf("%-44s %10.3f %10.3f %10.3f ms  %u kernels\n", what, seconds[CREATE_RUNS / 2] * 1e3, first * 1e3,
           seconds[CREATE_RUNS - 1] * 1e3, (unsigned)kernels);
    return true;
}

static mj_status launch_nothing(void *device, void *kernel, const mj_launch *launch, void *stream, mj_error *error)
{
    (void)device, (void)kernel, (void)stream, (void)error;
    return launch->blocks ? MJ_OK : MJ_ERR_INTERNAL;
}

static bool time_run(host_bench *b, const mj_layer *layer, mj_plan *plan, const char *what)
{
    double seconds[RUN_BATCHES], first = 0;
    for (int i = 0; i < RUN_BATCHES; i++) {
        double start = mj_os_monotonic_seconds();
        for (int j = 0; j < RUNS_PER_BATCH; j++) {
            if (mj_plan_run(plan, layer, NULL, &b->error) != MJ_OK) {
                return false;
            }
        }
        seconds[i] = mj_os_monotonic_seconds() - start;
        first = i == 0 ? seconds[0] : first;
        if (mj_stream_sync(b->device, NULL, &b->error) != MJ_OK) {
            return false;
        }
    }
    qsort(seconds, RUN_BATCHES, sizeof *seconds, by_value);
    const double per_kernel = 1e6 / RUNS_PER_BATCH / KERNELS;
    printf("%-44s %10.3f %10.3f %10.3f us  per kernel\n", what, seconds[RUN_BATCHES / 2] * per_kernel,
           first * per_kernel, seconds[RUN_BATCHES - 1] * per_kernel);
    return true;
}

/* Zeros everywhere: only the host's time is looked at. */
static bool make_layer(host_bench *b, uint32_t tokens, mj_layer *layer)
{
    const mj_problem *p = &b->problem;
    uint64_t gates = p->gated ? 2 : 1, e = p->expert_count;
    const uint64_t bytes[] = {2ull * tokens * p->hidden,
                              2 * e * gates * p->intermediate * p->hidden,
                              2 * e * p->hidden * p->intermediate,
                              4ull * tokens * p->top_k,
                              4ull * tokens * p->top_k,
                              2ull * tokens * p->hidden};
    void *memory[6];
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        if (mj_memory_alloc(b->device, bytes[i], &memory[i], &b->error) != MJ_OK ||
            b->device->backend->memory_set(b->device->handle, memory[i], 0, bytes[i], NULL, &b->error) != MJ_OK) {
            return false;
        }
    }
    *layer = (mj_layer){.x = memory[0],
                        .weights1 = memory[1],
                        .weights2 = memory[2],
                        .topk_ids = memory[3],
                        .topk_weights = memory[4],
                        .y = memory[5],
                        .token_count = tokens};
    return true;
}

static bool time_runs(host_bench *b)
{
    mj_plan_options options = {.max_tokens = MAX_TOKENS};
    mj_plan *plan = NULL;
    mj_layer layer;
    if (mj_plan_create(b->device, &b->problem, &options, &plan, &b->error) != MJ_OK || !make_layer(b, 1, &layer)) {
        return false;
    }
    mj_backend silent = *b->device->backend;
    const mj_backend *real = b->device->backend;
    silent.kernel_launch = launch_nothing;
    b->device->backend = &silent;
    bool timed = time_run(b, &layer, plan, "mj_plan_run, M=1, the library alone");
    b->device->backend = real;
    if (timed && strcmp(real->name, "cpu") != 0) {
        timed = time_run(b, &layer, plan, "mj_plan_run, M=1, with the driver");
    }
    mj_plan_destroy(plan);
    return timed;
}

int main(int argc, char **argv)
{
    host_bench b = {0};
    bool named = argc > 2 && strcmp(argv[1], "--device") == 0;
    const char *id = named ? argv[2] : "best";
    const char *mixtral = "E=8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default";
    const char *problem = argc > 1 + 2 * named ? argv[1 + 2 * named] : mixtral;
    if (mj_problem_parse(problem, &b.problem, &b.error) != MJ_OK || !fake_folder(b.folder, sizeof b.folder)) {
        fprintf(stderr, "%s\n", b.error.text);
        return 1;
    }
    snprintf(b.cache_dir, sizeof b.cache_dir, "%s/cache", b.folder);
    snprintf(b.store_dir, sizeof b.store_dir, "%s/store", b.folder);
    bool done = mj_os_make_folder(b.store_dir, &b.error) == MJ_OK && open_device(&b, id, false) && fill_store(&b);
    close_device(&b);
    done = done && open_device(&b, id, true);
    if (done) {
        printf("%s: %s\n%s\n%-44s %10s %10s %10s\n", b.device->info.id, b.device->info.name, problem, "", "median",
               "first", "worst");
    }
    done = done && time_create(&b, MJ_PLAN_NO_WORKSPACE, "mj_plan_create, no workspace") &&
           time_create(&b, 0, "mj_plan_create, with workspace") && time_runs(&b);
    if (!done) {
        fprintf(stderr, "%s\n", b.error.text);
    }
    close_device(&b);
    nftw(b.folder, fake_remove, 16, FTW_DEPTH | FTW_PHYS);
    return done ? 0 : 1;
}
