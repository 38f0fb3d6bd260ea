/* plan.c: plans: kernels, workspace and launch order of one problem for 1..max_tokens tokens. */
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "select.h"

enum { MAX_TOKENS_DEFAULT = 4096, POINTER_ALIGN_MIN = 16 };

/* ---- Kernels ---- */

uint32_t mj_plan_find_kernel(const mj_plan *plan, const char *key)
{
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        if (strcmp(plan->kernels[i].key, key) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

mj_status mj_plan_add_kernel(mj_plan *plan, const char *key, const mj_manifest *manifest, const void *binary,
                             size_t bytes, uint32_t *index, mj_error *error)
{
    *index = mj_plan_find_kernel(plan, key);
    if (*index != UINT32_MAX) {
        return MJ_OK;
    }
    if (plan->kernel_count == plan->kernel_capacity) {
        uint32_t capacity = plan->kernel_capacity ? plan->kernel_capacity * 2 : 16;
        mj_plan_kernel *kernels = mj_realloc(plan->device->context, plan->kernels, capacity * sizeof *kernels);
        if (!kernels) {
            return mj_fail(error, MJ_ERR_MEMORY, "no memory for the plan's kernels");
        }
        plan->kernels = kernels;
        plan->kernel_capacity = capacity;
    }
    mj_plan_kernel *kernel = &plan->kernels[plan->kernel_count];
    memset(kernel, 0, sizeof *kernel);
    snprintf(kernel->key, sizeof kernel->key, "%s", key);
    mj_status status = mj_kernel_load(plan->device, manifest, binary, bytes, &kernel->loaded, error);
    if (status == MJ_OK) {
        *index = plan->kernel_count++;
    }
    return status;
}

/* ---- Create and destroy ---- */

static mj_status fill_in(mj_plan *plan, const mj_problem *problem, const mj_plan_options *options, mj_error *error)
{
    const char *routing = options && options->routing ? options->routing : "uniform";
    plan->problem = *problem;
    plan->max_tokens = options && options->max_tokens ? options->max_tokens : MAX_TOKENS_DEFAULT;
    plan->flags = options ? options->flags : 0;
    plan->pointer_align_bytes = POINTER_ALIGN_MIN;
    if (strlen(routing) >= sizeof plan->routing) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "routing: a name of at most %d letters", MJ_NAME_MAX - 1);
    }
    snprintf(plan->routing, sizeof plan->routing, "%s", routing);
    uint32_t known = MJ_PLAN_REQUIRE_VERIFIED | MJ_PLAN_IGNORE_STORE | MJ_PLAN_REFERENCE | MJ_PLAN_NO_WORKSPACE;
    if (plan->flags & ~known) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "flags: unknown bits 0x%" PRIx32, plan->flags & ~known);
    }
    if ((plan->flags & MJ_PLAN_REQUIRE_VERIFIED) && (plan->flags & MJ_PLAN_REFERENCE)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "flags: a reference plan is never verified when it is made");
    }
    mj_workspace probe = {0}; /* refuse absurd sizes before anything is compiled */
    mj_status status = mj_workspace_place(&probe, problem, plan->max_tokens, error);
    if (status != MJ_OK) {
        return status;
    }
    return mj_problem_print(problem, plan->problem_text, sizeof plan->problem_text, error);
}

/* Neighbouring rows that say the same become one. */
static void merge_rows(mj_plan *plan)
{
    uint32_t kept = 0;
    for (uint32_t op = 0; op < MJ_OP_COUNT; op++) {
        mj_op_span span = plan->ops[op];
        plan->ops[op] = (mj_op_span){kept, 0};
        for (uint32_t i = span.first; i < span.first + span.count; i++) {
            mj_plan_entry *entry = &plan->entries[i];
            mj_plan_entry *last = plan->ops[op].count ? &plan->entries[kept - 1] : NULL;
            if (last && last->kernel == entry->kernel && last->row.tokens_to + 1 == entry->row.tokens_from &&
                last->row.origin == entry->row.origin && last->row.verified == entry->row.verified &&
                strcmp(last->row.reason, entry->row.reason) == 0) {
                last->row.tokens_to = entry->row.tokens_to;
                continue;
            }
            plan->entries[kept++] = *entry;
            plan->ops[op].count++;
        }
    }
    plan->entry_count = kept;
}

bool mj_plan_op_needs(const mj_plan *plan, mj_op op, mj_arg arg)
{
    return plan->ops[op].count > 0 &&
           (plan->kernels[plan->entries[plan->ops[op].first].kernel].loaded.manifest.needed_args >> arg & 1) != 0;
}

static mj_status lay_out(mj_plan *plan, mj_error *error)
{
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        const mj_plan_entry *entry = &plan->entries[i];
        const mj_manifest *manifest = &plan->kernels[entry->kernel].loaded.manifest;
        mj_status status =
            mj_workspace_need(&plan->workspace, manifest, entry->row.tokens_to, plan->device->info.sm_count, error);
        if (status != MJ_OK) {
            return status;
        }
        if (manifest->pointer_align_bytes > plan->pointer_align_bytes) {
            plan->pointer_align_bytes = manifest->pointer_align_bytes;
        }
    }
    return mj_workspace_place(&plan->workspace, &plan->problem, plan->max_tokens, error);
}

static mj_status own_workspace(mj_plan *plan, mj_error *error)
{
    mj_device *device = plan->device;
    mj_error why = {0};
    mj_status status = device->backend->memory_alloc(device->handle, plan->workspace.bytes, &plan->own_workspace, &why);
    if (status != MJ_OK) {
        return mj_fail(error, status,
                       "workspace of %" PRIu64 " bytes for %" PRIu32 " tokens (fewer max_tokens need less): %s",
                       plan->workspace.bytes, plan->max_tokens, why.text);
    }
    status = mj_plan_prepare_workspace(plan, NULL, NULL, error);
    if (status == MJ_OK) { /* the caller's streams need not wait for the default one */
        status = device->backend->stream_sync(device->handle, NULL, error);
    }
    return status;
}

static void log_rows(const mj_plan *plan)
{
    static const char *const origins[MJ_ORIGIN_COUNT] = {"store", "store of the arch", "pack", "estimate",
                                                         "reference"}; /* ORDER ORIGIN */
    mj_context *context = plan->device->context;
    char config[512];
    if (context->options.log_level < 1) {
        return;
    }
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        const mj_plan_row *row = &plan->entries[i].row;
        if (mj_config_print(&row->config, config, sizeof config, NULL) != MJ_OK) {
            snprintf(config, sizeof config, "(long config)");
        }
        mj_log(context, 1, "plan: %s M=%" PRIu32 "..%" PRIu32 ": %s %s from %s, %s: %s", mj_op_name(row->op),
               row->tokens_from, row->tokens_to, row->family, config, origins[row->origin],
               row->verified ? "verified" : "unverified", row->reason);
    }
}

mj_status mj_plan_create(mj_device *device, const mj_problem *problem, const mj_plan_options *options, mj_plan **out,
                         mj_error *error)
{
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "out is null");
    }
    *out = NULL;
    if (!device || !problem) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", device ? "problem" : "device");
    }
    if (!device->info.arch[0]) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "device %s (%s): this version has no arch for it", device->info.id,
                       device->info.name);
    }
    mj_status status = mj_problem_check(problem, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_plan *plan = mj_alloc(device->context, sizeof *plan);
    if (!plan) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a plan");
    }
    plan->device = device;
    status = fill_in(plan, problem, options, error);
    if (status == MJ_OK) {
        status = mj_select(plan, error);
    }
    if (status == MJ_OK) {
        merge_rows(plan);
        status = lay_out(plan, error);
    }
    if (status == MJ_OK && !(plan->flags & MJ_PLAN_NO_WORKSPACE)) {
        status = own_workspace(plan, error);
    }
    if (status != MJ_OK) {
        mj_plan_destroy(plan);
        return status;
    }
    log_rows(plan);
    *out = plan;
    return MJ_OK;
}

void mj_plan_destroy(mj_plan *plan)
{
    if (!plan) {
        return;
    }
    mj_device *device = plan->device;
    if (plan->own_workspace) {
        device->backend->memory_free(device->handle, plan->own_workspace);
    }
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        mj_kernel_unload(device, &plan->kernels[i].loaded);
    }
    mj_free(device->context, plan->kernels);
    mj_free(device->context, plan->entries);
    mj_free(device->context, plan);
}

/* ---- Questions ---- */

uint32_t mj_plan_row_count(const mj_plan *plan)
{
    return plan ? plan->entry_count : 0;
}

const mj_plan_row *mj_plan_get_row(const mj_plan *plan, uint32_t index)
{
    return plan && index < plan->entry_count ? &plan->entries[index].row : NULL;
}

/* The row that stands in for the op at this number of tokens; NULL: the op's own is used. */
static const mj_plan_row *row_instead(const mj_plan *plan, mj_op op, uint64_t token_count)
{
    for (int other = MJ_OP_TABLES; other <= MJ_OP_COMBINE; other++) {
        for (uint32_t i = 0; mj_op_replaces((mj_op)other, op) && i < plan->ops[other].count; i++) {
            const mj_plan_row *row = &plan->entries[plan->ops[other].first + i].row;
            if (row->tokens_from <= token_count && token_count <= row->tokens_to) {
                return row;
            }
        }
    }
    return NULL;
}

/* For some of its tokens no other op stands in. */
static bool row_is_run(const mj_plan *plan, const mj_plan_row *row)
{
    const mj_plan_row *instead = NULL;
    uint64_t next = row->tokens_from;
    while (next <= row->tokens_to && (instead = row_instead(plan, row->op, next)) != NULL) {
        next = (uint64_t)instead->tokens_to + 1;
    }
    return next <= row->tokens_to;
}

bool mj_plan_is_verified(const mj_plan *plan)
{
    for (uint32_t i = 0; plan && i < plan->entry_count; i++) {
        const mj_plan_row *row = &plan->entries[i].row;
        if (!row->verified && row_is_run(plan, row)) {
            return false;
        }
    }
    return plan != NULL;
}

uint64_t mj_plan_workspace_bytes(const mj_plan *plan)
{
    return plan ? plan->workspace.bytes : 0;
}

const mj_plan_entry *mj_plan_find(const mj_plan *plan, mj_op op, uint32_t token_count)
{
    const mj_plan_entry *entry = plan->entries + plan->ops[op].first;
    for (uint32_t i = 0; i < plan->ops[op].count; i++, entry++) {
        if (entry->row.tokens_from <= token_count && token_count <= entry->row.tokens_to) {
            return entry;
        }
    }
    return NULL;
}

bool mj_plan_runs(const mj_plan *plan, mj_op op, uint32_t token_count)
{
    return !row_instead(plan, op, token_count) &&
           (!mj_op_is_optional(op) || mj_plan_find(plan, op, token_count) != NULL);
}

/* ---- Running ---- */

mj_status mj_plan_prepare_workspace(mj_plan *plan, void *workspace, void *stream, mj_error *error)
{
    if (!plan) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "plan is null");
    }
    char *base = workspace ? workspace : plan->own_workspace;
    if (!base) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "the plan has no workspace of its own");
    }
    if ((uintptr_t)base % MJ_WORKSPACE_ALIGN) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "workspace is not aligned to %d bytes", MJ_WORKSPACE_ALIGN);
    }
    if (plan->workspace.counter_bytes == 0) {
        return MJ_OK;
    }
    return plan->device->backend->memory_set(plan->device->handle, base + plan->workspace.counters, 0,
                                             plan->workspace.counter_bytes, stream, error);
}

static mj_status check_pointer(const mj_plan *plan, const char *name, const void *pointer, mj_error *error)
{
    if (!pointer) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", name);
    }
    if ((uintptr_t)pointer % plan->pointer_align_bytes) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is not aligned to %" PRIu32 " bytes", name,
                       plan->pointer_align_bytes);
    }
    return MJ_OK;
}

/* The scale of the GEMM's input is the caller's. */
static bool scale_is_static(const mj_plan *plan, int index)
{
    return plan->workspace.quantised[index].present && plan->workspace.quantised[index].scales_per_row == 0;
}

static mj_status check_layer(const mj_plan *plan, const mj_layer *layer, mj_error *error)
{
    const struct {
        const char *name;
        const void *pointer;
        bool needed;
        const char *lack;
    } pointers[] = {
        {"x", layer->x, true, ""},
        {"weights1", layer->weights1, true, ""},
        {"weights2", layer->weights2, true, ""},
        {"bias1", layer->bias1, plan->problem.bias, "bias"},
        {"bias2", layer->bias2, plan->problem.bias, "bias"},
        {"topk_ids", layer->topk_ids, true, ""},
        {"topk_weights", layer->topk_weights, true, ""},
        {"y", layer->y, true, ""},
        {"weight_scales1", layer->weight_scales1, mj_plan_op_needs(plan, MJ_OP_GEMM1, MJ_ARG_WEIGHT_SCALES),
         "weight scales"},
        {"weight_scales2", layer->weight_scales2, mj_plan_op_needs(plan, MJ_OP_GEMM2, MJ_ARG_WEIGHT_SCALES),
         "weight scales"},
        {"weight_zeros1", layer->weight_zeros1, mj_plan_op_needs(plan, MJ_OP_GEMM1, MJ_ARG_WEIGHT_ZEROS),
         "zero points"},
        {"weight_zeros2", layer->weight_zeros2, mj_plan_op_needs(plan, MJ_OP_GEMM2, MJ_ARG_WEIGHT_ZEROS),
         "zero points"},
        {"input_scale1", layer->input_scale1, scale_is_static(plan, 0), "static input scale"},
        {"input_scale2", layer->input_scale2, scale_is_static(plan, 1), "static input scale"},
    };
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        if (!pointers[i].needed) {
            if (pointers[i].pointer) {
                return mj_fail(error, MJ_ERR_ARGUMENT, "%s is given, but the problem (scheme %s) has no %s",
                               pointers[i].name, plan->problem.scheme, pointers[i].lack);
            }
            continue;
        }
        mj_status status = check_pointer(plan, pointers[i].name, pointers[i].pointer, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    if (layer->layout && strcmp(layer->layout, plan->problem.layout) != 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT,
                       "weights1 are in layout %s, the plan is for %s: mj_weights_pack converts", layer->layout,
                       plan->problem.layout);
    }
    const void *workspace = layer->workspace ? layer->workspace : plan->own_workspace;
    if (!workspace || (uintptr_t)workspace % MJ_WORKSPACE_ALIGN) {
        return mj_fail(error, MJ_ERR_ARGUMENT,
                       workspace ? "workspace is not aligned to %d bytes"
                                 : "workspace is null and the plan has none of its own (%d-byte aligned)",
                       MJ_WORKSPACE_ALIGN);
    }
    return MJ_OK;
}

static mj_status check_run(const mj_plan *plan, const mj_layer *layer, mj_error *error)
{
    if (!plan || !layer) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", plan ? "layer" : "plan");
    }
    if (layer->token_count > plan->max_tokens) {
        return mj_fail(error, MJ_ERR_CAPACITY, "%" PRIu32 " tokens, the plan is for %" PRIu32, layer->token_count,
                       plan->max_tokens);
    }
    return layer->token_count ? check_layer(plan, layer, error) : MJ_OK;
}

static uint64_t address(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* What every op sees. input, output, weights, bias and partials are the op's own: set_op_values. */
static void set_values(const mj_plan *plan, const mj_layer *layer, mj_arg_value values[MJ_ARG_COUNT])
{
    uint64_t base = address(layer->workspace ? layer->workspace : plan->own_workspace);
    memset(values, 0, MJ_ARG_COUNT * sizeof *values);
    values[MJ_ARG_EXPERT_OFFSETS].pointer = base + plan->workspace.expert_offsets;
    values[MJ_ARG_SORTED_PAIRS].pointer = base + plan->workspace.sorted_pairs;
    values[MJ_ARG_TOPK_IDS].pointer = address(layer->topk_ids);
    values[MJ_ARG_TOPK_WEIGHTS].pointer = address(layer->topk_weights);
    values[MJ_ARG_COUNTERS].pointer = base + plan->workspace.counters;
    values[MJ_ARG_TOKEN_COUNT].i32 = (int32_t)layer->token_count;
    values[MJ_ARG_SCALE].f32 = 1.0f;
}

static void set_op_values(const mj_plan *plan, mj_op op, const mj_layer *layer, mj_arg_value values[MJ_ARG_COUNT])
{
    uint64_t base = address(layer->workspace ? layer->workspace : plan->own_workspace);
    uint64_t gemm1_output = base + plan->workspace.gemm1_output;
    uint64_t activation = base + plan->workspace.activation;
    uint64_t pair_rows = base + plan->workspace.pair_rows;
    uint64_t codes[2], scales[2], inputs[2] = {address(layer->x), activation};
    const float *given[2] = {layer->input_scale1, layer->input_scale2};
    for (int i = 0; i < 2; i++) {
        bool quantised = plan->workspace.quantised[i].present;
        codes[i] = quantised ? base + plan->workspace.quantised[i].codes : inputs[i];
        scales[i] =
            scale_is_static(plan, i) || !quantised ? address(given[i]) : base + plan->workspace.quantised[i].scales;
    }
    const struct {
        uint64_t input, output, weights, bias, weight_scales, weight_zeros, input_scales, output_scales;
    } ops[MJ_OP_COMBINE + 1] = {
        [MJ_OP_QUANTISE1] = {.input = inputs[0], .output = codes[0], .input_scales = scales[0]},
        [MJ_OP_GEMM1] = {codes[0], gemm1_output, address(layer->weights1), address(layer->bias1),
                         address(layer->weight_scales1), address(layer->weight_zeros1), scales[0], 0},
        [MJ_OP_GEMM1_ACT] = {codes[0], activation, address(layer->weights1), address(layer->bias1),
                             address(layer->weight_scales1), address(layer->weight_zeros1), scales[0], 0},
        [MJ_OP_GEMM1_QUANTISE] = {codes[0], codes[1], address(layer->weights1), address(layer->bias1),
                                  address(layer->weight_scales1), address(layer->weight_zeros1), scales[0], scales[1]},
        [MJ_OP_ACTIVATION] = {.input = gemm1_output, .output = activation},
        [MJ_OP_QUANTISE2] = {.input = inputs[1], .output = codes[1], .input_scales = scales[1]},
        [MJ_OP_GEMM2] = {codes[1], pair_rows, address(layer->weights2), address(layer->bias2),
                         address(layer->weight_scales2), address(layer->weight_zeros2), scales[1], 0},
        [MJ_OP_GEMM2_COMBINE] = {codes[1], address(layer->y), address(layer->weights2), address(layer->bias2),
                                 address(layer->weight_scales2), address(layer->weight_zeros2), scales[1], 0},
        [MJ_OP_COMBINE] = {.input = pair_rows, .output = address(layer->y)},
    };
    values[MJ_ARG_PARTIALS].pointer = base + mj_workspace_partials(&plan->workspace, op);
    values[MJ_ARG_INPUT].pointer = ops[op].input;
    values[MJ_ARG_OUTPUT].pointer = ops[op].output;
    values[MJ_ARG_WEIGHTS].pointer = ops[op].weights;
    values[MJ_ARG_BIAS].pointer = ops[op].bias;
    values[MJ_ARG_WEIGHT_SCALES].pointer = ops[op].weight_scales;
    values[MJ_ARG_WEIGHT_ZEROS].pointer = ops[op].weight_zeros;
    values[MJ_ARG_INPUT_SCALES].pointer = ops[op].input_scales;
    values[MJ_ARG_OUTPUT_SCALES].pointer = ops[op].output_scales;
}

static mj_status run_op(mj_plan *plan, mj_op op, const mj_layer *layer, mj_arg_value values[MJ_ARG_COUNT], void *stream,
                        mj_error *error)
{
    const mj_plan_entry *entry = mj_plan_find(plan, op, layer->token_count);
    if (!entry) {
        return mj_fail(error, MJ_ERR_INTERNAL, "no %s row for %" PRIu32 " tokens", mj_op_name(op), layer->token_count);
    }
    set_op_values(plan, op, layer, values);
    return mj_kernel_launch(plan->device, &plan->kernels[entry->kernel].loaded, values, layer->token_count, stream,
                            error);
}

mj_status mj_plan_run(mj_plan *plan, const mj_layer *layer, void *stream, mj_error *error)
{
    mj_arg_value values[MJ_ARG_COUNT];
    mj_status status = check_run(plan, layer, error);
    if (status != MJ_OK || layer->token_count == 0) {
        return status;
    }
    set_values(plan, layer, values);
    for (uint32_t op = MJ_OP_TABLES; status == MJ_OK && op <= MJ_OP_COMBINE; op++) {
        if (mj_plan_runs(plan, (mj_op)op, layer->token_count)) {
            status = run_op(plan, (mj_op)op, layer, values, stream, error);
        }
    }
    return status;
}

mj_status mj_plan_run_op(mj_plan *plan, mj_op op, const mj_layer *layer, void *stream, mj_error *error)
{
    mj_arg_value values[MJ_ARG_COUNT];
    mj_status status = check_run(plan, layer, error);
    if (status != MJ_OK) {
        return status;
    }
    if (op < MJ_OP_TABLES || op > MJ_OP_COMBINE) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "op %d is not an op of a layer", (int)op);
    }
    if (layer->token_count == 0 || (mj_op_is_optional(op) && !mj_plan_find(plan, op, layer->token_count))) {
        return MJ_OK;
    }
    set_values(plan, layer, values);
    return run_op(plan, op, layer, values, stream, error);
}

mj_status mj_plan_find_output(const mj_plan *plan, mj_op op, const mj_layer *layer, void **output, void **scales,
                              mj_error *error)
{
    mj_arg_value values[MJ_ARG_COUNT];
    if (!output || !scales) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", output ? "scales" : "output");
    }
    *output = *scales = NULL;
    mj_status status = check_run(plan, layer, error);
    if (status != MJ_OK) {
        return status;
    }
    if (op <= MJ_OP_TABLES || op > MJ_OP_COMBINE) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "op %d is not an op of a layer with an output of its own", (int)op);
    }
    if (plan->ops[op].count == 0) {
        return mj_fail(error, MJ_ERR_NOT_FOUND, "the plan does without %s", mj_op_name(op));
    }
    if (layer->token_count == 0) { /* nothing is computed, and no workspace was asked for */
        return MJ_OK;
    }
    set_values(plan, layer, values);
    set_op_values(plan, op, layer, values);
    *output = (void *)(uintptr_t)values[MJ_ARG_OUTPUT].pointer;
    mj_arg written = mj_op_is_quantise(op) ? MJ_ARG_INPUT_SCALES : MJ_ARG_OUTPUT_SCALES;
    *scales = (void *)(uintptr_t)values[written].pointer; /* null: of an op that writes no codes */
    return MJ_OK;
}
