/* serve_pack.c: serves a layer from a pack of `moejit emit`, with no compiler and no generator. Link the pack's C file and a
 * libmoejit of any build; PACK names the function that the file defines:
 *
 *     cc -DPACK=moejit_pack_NAME serve_pack.c pack/moejit_pack_NAME.c $(pkg-config --cflags --libs moejit) -lm
 *     ./a.out DEVICE HIDDEN INTERMEDIATE [SCHEME]     the problem that the pack was made for: 8 experts, top-2
 *
 * Checks the pack's kernels on this device, then runs a layer of bf16; other schemes (fp8_w8a8_block, ...) are only checked.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moejit.h"

const mj_pack *PACK(void);

enum { EXPERTS = 8, TOP_K = 2, TOKENS = 3 };

static int fail(const char *what, const mj_error *error)
{
    fprintf(stderr, "%s: %s: %s\n", what, mj_status_name(error->status), error->text);
    return 1;
}

/* Every row of the plan must come from the pack: nothing else can have made a kernel here. */
static int print_rows(const mj_plan *plan)
{
    int others = 0;
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        const mj_plan_row *row = mj_plan_get_row(plan, i);
        printf("%-10s %4u..%-4u %s: %s\n", mj_op_name(row->op), row->tokens_from, row->tokens_to, row->family,
               row->reason);
        others += row->origin != MJ_ORIGIN_PACK;
    }
    return others;
}

static float from_bf16(uint16_t bits)
{
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* All ones in, weights of one constant, and the two experts of a token weigh 1 together: every y is the same known number. */
static int run(mj_device *device, mj_plan *plan, const mj_problem *problem, mj_error *error)
{
    const uint16_t one = 0x3f80, small = 0x3a00; /* bf16 1 and 2^-11 */
    size_t x_count = (size_t)TOKENS * problem->hidden;
    size_t w_count = (size_t)EXPERTS * problem->intermediate * problem->hidden;
    uint16_t *host = malloc(2 * w_count * sizeof *host);
    int32_t ids[TOKENS * TOP_K] = {0, 1, 2, 7, 7, 3};
    float weights[TOKENS * TOP_K] = {0.5f, 0.5f, 0.5f, 0.5f, 1, 0};
    void *x = NULL, *w1 = NULL, *w2 = NULL, *id = NULL, *weight = NULL, *y = NULL;
    int code = 1;
    if (!host) {
        return 1;
    }
    for (size_t i = 0; i < 2 * w_count; i++) {
        host[i] = small;
    }
    if (mj_memory_alloc(device, 2 * w_count * 2, &w1, error) ||
        mj_memory_upload(device, w1, host, 2 * w_count * 2, error) ||
        mj_memory_alloc(device, w_count * 2, &w2, error) || mj_memory_upload(device, w2, host, w_count * 2, error)) {
        goto done;
    }
    for (size_t i = 0; i < x_count; i++) {
        host[i] = one;
    }
    if (mj_memory_alloc(device, x_count * 2, &x, error) || mj_memory_upload(device, x, host, x_count * 2, error) ||
        mj_memory_alloc(device, sizeof ids, &id, error) || mj_memory_upload(device, id, ids, sizeof ids, error) ||
        mj_memory_alloc(device, sizeof weights, &weight, error) ||
        mj_memory_upload(device, weight, weights, sizeof weights, error) ||
        mj_memory_alloc(device, x_count * 2, &y, error)) {
        goto done;
    }
    mj_layer layer = {
        .x = x, .weights1 = w1, .weights2 = w2, .topk_ids = id, .topk_weights = weight, .y = y, .token_count = TOKENS};
    if (mj_plan_run(plan, &layer, NULL, error) || mj_stream_sync(device, NULL, error) ||
        mj_memory_download(device, host, y, x_count * 2, error)) {
        goto done;
    }
    double sum = from_bf16(small) * problem->hidden; /* of a gate as of an up */
    double want = from_bf16(small) * problem->intermediate * (sum / (1 + exp(-sum)) * sum);
    code = 0;
    for (size_t i = 0; i < x_count; i++) {
        code |= host[i] != host[0] || !(fabs(from_bf16(host[i]) - want) <= 0.02 * want); /* not a number: no */
    }
    printf("y[0] = %g, all %zu equal and near %g: %s\n", from_bf16(host[0]), x_count, want, code ? "no" : "yes");
done:
    mj_memory_free(device, x);
    mj_memory_free(device, w1);
    mj_memory_free(device, w2);
    mj_memory_free(device, id);
    mj_memory_free(device, weight);
    mj_memory_free(device, y);
    free(host);
    return code;
}

int main(int argc, char **argv)
{
    mj_error error = {0};
    mj_context *context = NULL;
    mj_device *device = NULL;
    mj_plan *plan = NULL;
    const char *scheme = argc == 5 ? argv[4] : "bf16";
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: %s DEVICE HIDDEN INTERMEDIATE [SCHEME]\n", argv[0]);
        return 2;
    }
    mj_problem problem = {.expert_count = EXPERTS,
                          .expert_total_count = EXPERTS,
                          .top_k = TOP_K,
                          .hidden = (uint32_t)strtoul(argv[2], NULL, 10),
                          .intermediate = (uint32_t)strtoul(argv[3], NULL, 10),
                          .gated = true,
                          .activation = MJ_ACT_SILU,
                          .layout = "default"};
    snprintf(problem.scheme, sizeof problem.scheme, "%s", scheme);
    mj_context_options options = {.no_compile = true};
    mj_plan_options plan_options = {.max_tokens = 16};
    int code = 1;
    if (mj_context_create(&options, &context, &error) || mj_pack_register(context, PACK(), &error) ||
        mj_device_open(context, argv[1], &device, &error) ||
        mj_plan_create(device, &problem, &plan_options, &plan, &error)) {
        fail("plan", &error);
    } else if (print_rows(plan) != 0) {
        fprintf(stderr, "some rows are not from the pack\n");
    } else if (mj_plan_selfcheck(plan, TOKENS, 60, &error)) {
        fail("selfcheck", &error);
    } else if (strcmp(scheme, "bf16") != 0) {
        printf("%s: every kernel is verified\n", scheme);
        code = !mj_plan_is_verified(plan);
    } else {
        code = run(device, plan, &problem, &error);
        if (code && error.status) {
            fail("run", &error);
        }
    }
    mj_plan_destroy(plan);
    mj_device_close(device);
    mj_context_destroy(context);
    return code;
}
