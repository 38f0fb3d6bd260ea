/* serve.c: a serving process in small: opens the library, takes a plan from the store (or tunes for it, because it asks to),
 * and runs a layer on its own memory and stream. Checks what came out and exits with 0 only if it is right.
 *
 *     cc serve.c $(pkg-config --cflags --libs moejit_tuner moejit) -lm && ./a.out [device]     device: best, cuda:0, hip:0, cpu
 *
 * A tune starts moejit-worker and moejit-compile. A program beside an installed `moejit` finds them by itself; one that lies
 * elsewhere, as this one does, gives their paths (worker_path and compile_path of mj_tune_options) or has the folder on PATH:
 *
 *     PATH=PREFIX/libexec/moejit:$PATH ./a.out
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moejit.h"
#include "moejit_tune.h"

enum { EXPERTS = 8, TOP_K = 2, HIDDEN = 256, INTERMEDIATE = 512, TOKENS = 7, MAX_TOKENS = 64 };

static const mj_problem problem = {
    .expert_count = EXPERTS,
    .expert_total_count = EXPERTS,
    .top_k = TOP_K,
    .hidden = HIDDEN,
    .intermediate = INTERMEDIATE,
    .gated = true,
    .activation = MJ_ACT_SILU,
    .scheme = "bf16",
    .layout = "default",
};

typedef struct server { /* the process's own: context, device, stream, memory */
    mj_context *context;
    mj_device *device;
    mj_plan *plan;
    void *stream;
    mj_layer layer;
} server;

typedef struct host_layer {
    float x[TOKENS * HIDDEN];
    float weights1[EXPERTS * 2 * INTERMEDIATE * HIDDEN];
    float weights2[EXPERTS * HIDDEN * INTERMEDIATE];
    int32_t topk_ids[TOKENS * TOP_K];
    float topk_weights[TOKENS * TOP_K];
} host_layer;

static void print_log(void *user, int level, const char *line)
{
    (void)user;
    fprintf(stderr, "moejit %d: %s\n", level, line);
}

static int fail(const char *what, const mj_error *error)
{
    fprintf(stderr, "%s: %s: %s\n", what, mj_status_name(error->status), error->text);
    return 1;
}

/* ---- bf16 ---- */

static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(uint16_t code)
{
    uint32_t bits = (uint32_t)code << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Seeded values in [-scale, scale), already rounded to bf16. */
static void fill(float *values, size_t count, float scale, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = from_bf16(to_bf16(((float)(seed >> 8) / 8388608.0f - 1.0f) * scale));
    }
}

static void fill_layer(host_layer *host)
{
    fill(host->x, TOKENS * HIDDEN, 1.0f, 1);
    fill(host->weights1, sizeof host->weights1 / sizeof(float), 0.1f, 2);
    fill(host->weights2, sizeof host->weights2 / sizeof(float), 0.1f, 3);
    for (int token = 0; token < TOKENS; token++) {
        host->topk_ids[token * TOP_K] = token % EXPERTS;
        host->topk_ids[token * TOP_K + 1] = (token + 3) % EXPERTS;
        host->topk_weights[token * TOP_K] = 0.75f;
        host->topk_weights[token * TOP_K + 1] = 0.25f;
    }
}

/* ---- Planning ---- */

/* Ten seconds at most, in helper processes. Finished rows are in the store, where the next start of this program finds them; what is not
 * finished by then has its measurements in a journal, and the next start, which tunes again, goes on from these. */
static void tune(server *s)
{
    static const uint32_t token_counts[] = {8}; /* serves 1..64 */
    mj_tune_options options = {
        .device = mj_device_get_info(s->device)->id,
        .token_count_count = 1,
        .token_counts = token_counts,
        .effort = MJ_EFFORT_QUICK,
        .budget_seconds = 10,
    };
    mj_tune_result result = {0};
    mj_error error = {0};
    if (mj_tune(s->context, &problem, &options, &result, &error) != MJ_OK) {
        fail("tuning (the estimate serves instead)", &error);
    }
    fprintf(stderr, "tuned %u rows in %.1f s%s\n", (unsigned)result.row_count, result.seconds,
            result.budget_spent ? ", not all of them: the time was up" : "");
    mj_tune_result_free(&result);
}

/* Verified rows or none; else tune once; else what the estimate says, checked here and now. */
static int make_plan(server *s, mj_error *error)
{
    mj_plan_options options = {.max_tokens = MAX_TOKENS, .flags = MJ_PLAN_REQUIRE_VERIFIED};
    if (mj_plan_create(s->device, &problem, &options, &s->plan, error) == MJ_OK) {
        return 0;
    }
    fprintf(stderr, "not tuned yet: %s\n", error->text);
    tune(s);
    options.flags = 0;
    if (mj_plan_create(s->device, &problem, &options, &s->plan, error) != MJ_OK) {
        return fail("plan", error);
    }
    if (!mj_plan_is_verified(s->plan) && mj_plan_selfcheck(s->plan, 16, 30, error) != MJ_OK) {
        return fail("self check", error);
    }
    return 0;
}

static void print_plan(const mj_plan *plan)
{
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        const mj_plan_row *row = mj_plan_get_row(plan, i);
        printf("%-10s %4u..%-4u tokens: %-9s %s (%s)\n", mj_op_name(row->op), (unsigned)row->tokens_from,
               (unsigned)row->tokens_to, row->family, row->verified ? "verified" : "unverified", row->reason);
    }
}

/* ---- The device's copy of the layer ---- */

static int upload(server *s, const void *from, size_t bytes, void **out, mj_error *error)
{
    if (mj_memory_alloc(s->device, bytes, out, error) != MJ_OK ||
        mj_memory_upload(s->device, *out, from, bytes, error) != MJ_OK) {
        return fail("upload", error);
    }
    return 0;
}

static int upload_bf16(server *s, const float *from, size_t count, void **out, mj_error *error)
{
    uint16_t *codes = malloc(count * sizeof *codes);
    if (!codes) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        codes[i] = to_bf16(from[i]);
    }
    int failed = upload(s, codes, count * sizeof *codes, out, error);
    free(codes);
    return failed;
}

static int upload_layer(server *s, const host_layer *host, mj_error *error)
{
    void *x, *weights1, *weights2, *ids, *weights;
    if (upload_bf16(s, host->x, TOKENS * HIDDEN, &x, error) ||
        upload_bf16(s, host->weights1, sizeof host->weights1 / sizeof(float), &weights1, error) ||
        upload_bf16(s, host->weights2, sizeof host->weights2 / sizeof(float), &weights2, error) ||
        upload(s, host->topk_ids, sizeof host->topk_ids, &ids, error) ||
        upload(s, host->topk_weights, sizeof host->topk_weights, &weights, error)) {
        return 1;
    }
    s->layer = (mj_layer){.x = x,
                          .weights1 = weights1,
                          .weights2 = weights2,
                          .topk_ids = ids,
                          .topk_weights = weights,
                          .token_count = TOKENS};
    if (mj_memory_alloc(s->device, TOKENS * HIDDEN * sizeof(uint16_t), &s->layer.y, error) != MJ_OK) {
        return fail("y", error);
    }
    return 0;
}

/* ---- What is right ---- */

static void expert_mlp(const host_layer *host, int token, int expert, double weight, double *y)
{
    static double inner[INTERMEDIATE];
    const float *gate = host->weights1 + (size_t)expert * 2 * INTERMEDIATE * HIDDEN;
    const float *up = gate + (size_t)INTERMEDIATE * HIDDEN;
    const float *down = host->weights2 + (size_t)expert * HIDDEN * INTERMEDIATE;
    for (int n = 0; n < INTERMEDIATE; n++) {
        double g = 0, u = 0;
        for (int h = 0; h < HIDDEN; h++) {
            g += (double)host->x[token * HIDDEN + h] * gate[n * HIDDEN + h];
            u += (double)host->x[token * HIDDEN + h] * up[n * HIDDEN + h];
        }
        inner[n] = g / (1 + exp(-g)) * u;
    }
    for (int h = 0; h < HIDDEN; h++) {
        double sum = 0;
        for (int n = 0; n < INTERMEDIATE; n++) {
            sum += inner[n] * down[h * INTERMEDIATE + n];
        }
        y[h] += weight * sum;
    }
}

static double worst_difference(const host_layer *host, const uint16_t *got)
{
    double worst = 0;
    for (int token = 0; token < TOKENS; token++) {
        double want[HIDDEN] = {0};
        for (int slot = 0; slot < TOP_K; slot++) {
            expert_mlp(host, token, host->topk_ids[token * TOP_K + slot], host->topk_weights[token * TOP_K + slot],
                       want);
        }
        for (int h = 0; h < HIDDEN; h++) {
            double difference = fabs(from_bf16(got[token * HIDDEN + h]) - want[h]);
            worst = difference > worst || difference != difference ? difference : worst;
        }
    }
    return worst;
}

static int serve(server *s, const host_layer *host, mj_error *error)
{
    static uint16_t y[TOKENS * HIDDEN];
    for (int request = 0; request < 3; request++) { /* asynchronous: one wait for all */
        if (mj_plan_run(s->plan, &s->layer, s->stream, error) != MJ_OK) {
            return fail("run", error);
        }
    }
    if (mj_stream_sync(s->device, s->stream, error) != MJ_OK ||
        mj_memory_download(s->device, y, s->layer.y, sizeof y, error) != MJ_OK) {
        return fail("result", error);
    }
    double worst = worst_difference(host, y);
    printf("%d tokens, largest difference from the float64 layer %.5f\n", TOKENS, worst);
    return worst < 0.05 ? 0 : 1; /* y is about 1; bf16 holds 8 bits */
}

static void close_server(server *s)
{
    const void *buffers[] = {s->layer.x,        s->layer.weights1,     s->layer.weights2,
                             s->layer.topk_ids, s->layer.topk_weights, s->layer.y};
    for (size_t i = 0; s->device && i < sizeof buffers / sizeof *buffers; i++) {
        mj_memory_free(s->device, (void *)(uintptr_t)buffers[i]);
    }
    if (s->stream) {
        mj_stream_destroy(s->device, s->stream);
    }
    mj_plan_destroy(s->plan);
    mj_device_close(s->device);
    mj_context_destroy(s->context);
}

int main(int argc, char **argv)
{
    mj_error error = {0};
    server s = {0};
    mj_context_options options = {.log = print_log, .log_level = 0};
    host_layer *host = malloc(sizeof *host);
    int failed = 1;
    if (!host) {
        return 1;
    }
    fill_layer(host);
    if (mj_context_create(&options, &s.context, &error) != MJ_OK ||
        mj_device_open(s.context, argc > 1 ? argv[1] : "best", &s.device, &error) != MJ_OK ||
        mj_stream_create(s.device, &s.stream, &error) != MJ_OK) {
        fail("device", &error);
    } else if (!make_plan(&s, &error) && !upload_layer(&s, host, &error)) {
        print_plan(s.plan);
        failed = serve(&s, host, &error);
    }
    close_server(&s);
    free(host);
    return failed;
}
