/* selfcheck.c: mj_plan_selfcheck: runs every distinct kernel of a plan on seeded data and compares with the host. */
#include "selfcheck.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "os.h"
#include "plan.h"

typedef struct session {
    mj_plan *plan;
    double deadline_seconds;
    mj_check check;
    mj_workspace workspace; /* of the check's token count; only its tables, counters and partials are used */
    void *device_workspace;
    void *topk_ids, *topk_weights;
    void *output;                          /* large enough for every op */
    void *operands[MJ_CHECK_OPERANDS_MAX]; /* of the op at hand, as check.operands lists them */
    unsigned char *downloaded, *base;
    size_t output_bytes;
} session;

static mj_status check_time(const session *s, mj_error *error)
{
    if (mj_os_monotonic_seconds() > s->deadline_seconds) {
        return mj_fail(error, MJ_ERR_TIMEOUT, "the self check's time is over; rows checked so far count");
    }
    return MJ_OK;
}

static mj_status allocate(session *s, uint64_t bytes, void **out, mj_error *error)
{
    mj_device *device = s->plan->device;
    return device->backend->memory_alloc(device->handle, bytes ? bytes : 1, out, error);
}

static mj_status upload(session *s, void *to, const void *from, size_t bytes, mj_error *error)
{
    mj_device *device = s->plan->device;
    return bytes ? device->backend->memory_upload(device->handle, to, from, bytes, NULL, error) : MJ_OK;
}

/* Fills an operand with its data's period, again and again. */
static mj_status upload_data(session *s, void *to, const mj_check_operand *operand, mj_error *error)
{
    size_t period = (size_t)operand->data->period * operand->data->word_bytes;
    for (uint64_t at = 0; at < operand->bytes; at += period) {
        uint64_t bytes = operand->bytes - at < period ? operand->bytes - at : period;
        mj_status status = check_time(s, error);
        if (status == MJ_OK) {
            status = upload(s, (char *)to + at, operand->data->words, bytes, error);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    return MJ_OK;
}

static mj_status open_buffers(session *s, mj_error *error)
{
    const mj_problem *problem = &s->plan->problem;
    mj_context *context = s->plan->device->context;
    size_t pairs = (size_t)s->check.token_count * problem->top_k;
    for (uint32_t op = MJ_OP_QUANTISE1; op <= MJ_OP_COMBINE; op++) {
        mj_check_shape shape = mj_check_output_shape(&s->check, (mj_op)op);
        size_t bytes = shape.rows * shape.columns * shape.element_bytes;
        s->output_bytes = bytes > s->output_bytes ? bytes : s->output_bytes;
    }
    s->downloaded = mj_alloc(context, s->output_bytes + 1);
    s->base = mj_alloc(context, s->output_bytes + 1);
    if (!s->downloaded || !s->base) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's outputs");
    }
    mj_status status = allocate(s, s->workspace.bytes, &s->device_workspace, error);
    if (status == MJ_OK) {
        status = allocate(s, pairs * sizeof(int32_t), &s->topk_ids, error);
    }
    if (status == MJ_OK) {
        status = allocate(s, pairs * sizeof(float), &s->topk_weights, error);
    }
    if (status == MJ_OK) {
        status = allocate(s, s->output_bytes, &s->output, error);
    }
    if (status == MJ_OK) {
        status = upload(s, s->topk_ids, s->check.topk_ids, pairs * sizeof(int32_t), error);
    }
    if (status == MJ_OK) {
        status = upload(s, s->topk_weights, s->check.topk_weights, pairs * sizeof(float), error);
    }
    return status;
}

static void free_operands(session *s)
{
    mj_device *device = s->plan->device;
    for (uint32_t i = 0; i < MJ_CHECK_OPERANDS_MAX; i++) {
        if (s->operands[i]) {
            device->backend->memory_free(device->handle, s->operands[i]);
        }
        s->operands[i] = NULL;
    }
}

static void close_session(session *s)
{
    mj_device *device = s->plan->device;
    void *buffers[] = {s->device_workspace, s->topk_ids, s->topk_weights, s->output};
    free_operands(s);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (buffers[i]) {
            device->backend->memory_free(device->handle, buffers[i]);
        }
    }
    mj_free(device->context, s->downloaded);
    mj_free(device->context, s->base);
    mj_check_close(&s->check);
}

static char *workspace_at(const session *s, uint64_t offset)
{
    return (char *)s->device_workspace + offset;
}

/* Tables as they should be: an op is judged alone. Counters are zero. */
static mj_status prepare_workspace(session *s, mj_error *error)
{
    mj_device *device = s->plan->device;
    mj_status status =
        device->backend->memory_set(device->handle, s->device_workspace, 0, s->workspace.bytes, NULL, error);
    if (status == MJ_OK) {
        status = upload(s, workspace_at(s, s->workspace.expert_offsets), s->check.offsets,
                        ((size_t)s->plan->problem.expert_count + 1) * sizeof(int32_t), error);
    }
    if (status == MJ_OK) {
        status = upload(s, workspace_at(s, s->workspace.sorted_pairs), s->check.sorted_pairs,
                        s->check.local_rows * sizeof(int32_t), error);
    }
    return status;
}

/* One op's arrays at a time: weights are large. */
static mj_status prepare_operands(session *s, mj_op op, mj_error *error)
{
    free_operands(s);
    mj_status status = mj_check_begin(&s->check, op, error);
    for (uint32_t i = 0; status == MJ_OK && i < s->check.operand_count; i++) {
        const mj_check_operand *operand = &s->check.operands[i];
        status = allocate(s, operand->bytes, &s->operands[i], error);
        if (status == MJ_OK && operand->data) {
            status = upload_data(s, s->operands[i], operand, error);
        }
    }
    return status;
}

/* What is written beside codes; null: a static scale, or another op. */
static const mj_check_operand *written_scales(const session *s, void **on_device)
{
    for (uint32_t i = 0; i < s->check.operand_count; i++) {
        if (!s->check.operands[i].data) {
            *on_device = s->operands[i];
            return &s->check.operands[i];
        }
    }
    *on_device = NULL;
    return NULL;
}

static mj_status launch(session *s, const mj_loaded_kernel *kernel, mj_error *error)
{
    mj_device *device = s->plan->device;
    mj_arg_value values[MJ_ARG_COUNT];
    memset(values, 0, sizeof values);
    for (uint32_t i = 0; i < s->check.operand_count; i++) {
        values[s->check.operands[i].arg].pointer = (uintptr_t)s->operands[i];
    }
    values[MJ_ARG_OUTPUT].pointer = (uintptr_t)s->output;
    values[MJ_ARG_EXPERT_OFFSETS].pointer = (uintptr_t)workspace_at(s, s->workspace.expert_offsets);
    values[MJ_ARG_SORTED_PAIRS].pointer = (uintptr_t)workspace_at(s, s->workspace.sorted_pairs);
    values[MJ_ARG_TOPK_IDS].pointer = (uintptr_t)s->topk_ids;
    values[MJ_ARG_TOPK_WEIGHTS].pointer = (uintptr_t)s->topk_weights;
    values[MJ_ARG_PARTIALS].pointer = (uintptr_t)workspace_at(s, mj_workspace_partials(&s->workspace, s->check.op));
    values[MJ_ARG_COUNTERS].pointer = (uintptr_t)workspace_at(s, s->workspace.counters);
    values[MJ_ARG_TOKEN_COUNT].i32 = (int32_t)s->check.token_count;
    values[MJ_ARG_SCALE].f32 = 1.0f;
    mj_status status = mj_kernel_launch(device, kernel, values, s->check.token_count, NULL, error);
    return status == MJ_OK ? device->backend->stream_sync(device->handle, NULL, error) : status;
}

static mj_status download(session *s, void *to, const void *from, size_t bytes, mj_error *error)
{
    mj_device *device = s->plan->device;
    return device->backend->memory_download(device->handle, to, from, bytes, NULL, error);
}

static mj_status judge_tables(session *s, mj_error *error)
{
    size_t offsets_bytes = ((size_t)s->plan->problem.expert_count + 1) * sizeof(int32_t);
    size_t pairs_bytes = s->check.local_rows * sizeof(int32_t);
    mj_context *context = s->plan->device->context;
    int32_t *offsets = mj_alloc(context, offsets_bytes);
    int32_t *sorted_pairs = mj_alloc(context, pairs_bytes + 1);
    mj_status status =
        offsets && sorted_pairs ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's tables");
    if (status == MJ_OK) {
        status = download(s, offsets, workspace_at(s, s->workspace.expert_offsets), offsets_bytes, error);
    }
    if (status == MJ_OK && pairs_bytes) {
        status = download(s, sorted_pairs, workspace_at(s, s->workspace.sorted_pairs), pairs_bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_check_tables(&s->check, offsets, sorted_pairs, error);
    }
    mj_free(context, offsets);
    mj_free(context, sorted_pairs);
    return status;
}

static mj_status judge_codes(session *s, mj_error *error)
{
    void *from = NULL;
    const mj_check_operand *operand = written_scales(s, &from);
    mj_context *context = s->plan->device->context;
    float *scales = operand ? mj_alloc(context, operand->bytes) : NULL;
    mj_status status = MJ_OK;
    if (operand) {
        status = scales ? download(s, scales, from, operand->bytes, error)
                        : mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's scales");
    }
    if (status == MJ_OK) {
        status = mj_check_codes(&s->check, s->downloaded, scales, error);
    }
    mj_free(context, scales);
    return status;
}

static mj_status fill_output(session *s, mj_error *error)
{
    mj_device *device = s->plan->device;
    void *scales = NULL;
    const mj_check_operand *operand = written_scales(s, &scales);
    mj_status status = device->backend->memory_set(device->handle, s->output, mj_check_unwritten_byte(&s->check),
                                                   s->output_bytes, NULL, error);
    if (status == MJ_OK && operand) {
        status = device->backend->memory_set(device->handle, scales, 0xff, operand->bytes, NULL, error);
    }
    return status;
}

/* Runs one kernel twice: counters must be left as they were found. */
static mj_status check_kernel(session *s, mj_op op, const mj_loaded_kernel *kernel, bool has_base, mj_error *error)
{
    mj_device *device = s->plan->device;
    mj_check_shape shape = mj_check_output_shape(&s->check, op);
    size_t bytes = shape.rows * shape.columns * shape.element_bytes;
    mj_status status = prepare_workspace(s, error);
    if (status == MJ_OK && op == MJ_OP_TABLES) { /* the right ones are not there to be found */
        status =
            device->backend->memory_set(device->handle, s->device_workspace, 0xff, s->workspace.bytes, NULL, error);
    }
    for (int run = 0; status == MJ_OK && run < 2; run++) {
        status = fill_output(s, error);
        if (status == MJ_OK) {
            status = launch(s, kernel, error);
        }
    }
    if (status != MJ_OK || op == MJ_OP_TABLES) {
        return status == MJ_OK ? judge_tables(s, error) : status;
    }
    if (s->check.local_rows == 0 || bytes == 0) {
        return mj_fail(error, MJ_ERR_INTERNAL, "the self check's routing leaves nothing to compare");
    }
    status = download(s, s->downloaded, s->output, bytes, error);
    if (status == MJ_OK && mj_op_writes_codes(op)) {
        return judge_codes(s, error);
    }
    if (status == MJ_OK) {
        status = mj_check_output(&s->check, s->downloaded, has_base ? s->base : NULL, error);
    }
    if (status == MJ_OK && !has_base) {
        memcpy(s->base, s->downloaded, bytes);
    }
    return status;
}

/* What a row rests on stays readable behind the verdict. */
static void mark_rows(mj_plan *plan, uint32_t kernel, bool verified, const char *verdict)
{
    for (uint32_t i = 0; i < plan->entry_count; i++) {
        mj_plan_row *row = &plan->entries[i].row;
        if (plan->entries[i].kernel == kernel && strncmp(row->reason, verdict, strlen(verdict)) != 0) {
            char before[sizeof row->reason];
            memcpy(before, row->reason, sizeof before);
            snprintf(row->reason, sizeof row->reason, "%s; %.*s", verdict, (int)(sizeof before - strlen(verdict) - 3),
                     before);
        }
        if (plan->entries[i].kernel == kernel) {
            row->verified = verified;
        }
    }
}

static mj_status check_one(session *s, mj_op op, uint32_t kernel, bool *has_base, mj_error *error)
{
    mj_plan *plan = s->plan;
    mj_error why = {0};
    const mj_loaded_kernel *loaded = &plan->kernels[kernel].loaded;
    mj_status status = check_time(s, error);
    if (status != MJ_OK) {
        return status;
    }
    status = check_kernel(s, op, loaded, *has_base, &why);
    if (status == MJ_OK) {
        *has_base = true;
        plan->kernels[kernel].checked = true;
        mark_rows(plan, kernel, true, "passed mj_plan_selfcheck");
        mj_log(plan->device->context, 2, "selfcheck: %s passed", loaded->manifest.symbol);
        return MJ_OK;
    }
    if (status == MJ_ERR_WRONG_RESULT) {
        plan->kernels[kernel].checked = false;
        mark_rows(plan, kernel, false, "failed mj_plan_selfcheck");
        mj_log(plan->device->context, 0, "selfcheck: %s: %s", loaded->manifest.symbol, why.text);
    }
    return mj_fail(error, status, "%s %s: %s", loaded->manifest.family, loaded->manifest.symbol, why.text);
}

static mj_status check_op(session *s, mj_op op, mj_error *error)
{
    mj_plan *plan = s->plan;
    bool has_base = false;
    mj_status status = plan->ops[op].count > 0 ? prepare_operands(s, op, error) : MJ_OK;
    for (uint32_t i = 0; status == MJ_OK && i < plan->ops[op].count; i++) {
        uint32_t kernel = plan->entries[plan->ops[op].first + i].kernel;
        bool seen = false;
        for (uint32_t j = 0; j < i; j++) {
            seen |= plan->entries[plan->ops[op].first + j].kernel == kernel;
        }
        if (!seen) {
            status = check_one(s, op, kernel, &has_base, error);
        }
    }
    return status;
}

static mj_status check_plan(session *s, mj_error *error)
{
    mj_plan *plan = s->plan;
    mj_status status = MJ_OK;
    for (uint32_t i = 0; status == MJ_OK && i < plan->kernel_count; i++) {
        status = mj_workspace_need(&s->workspace, &plan->kernels[i].loaded.manifest, s->check.token_count,
                                   plan->device->info.sm_count, error);
    }
    if (status == MJ_OK) {
        status = mj_workspace_place(&s->workspace, &plan->problem, s->check.token_count, error);
    }
    if (status == MJ_OK) {
        status = open_buffers(s, error);
    }
    for (uint32_t op = MJ_OP_TABLES; status == MJ_OK && op <= MJ_OP_COMBINE; op++) {
        status = check_op(s, (mj_op)op, error);
    }
    return status;
}

/* A manifest describes its scheme; older ones do not, and need not where the name alone says it. */
static mj_status find_scheme(const mj_plan *plan, mj_scheme *out, mj_error *error)
{
#define PLAIN(format) \
    "weight=" format ",bits=16,word=16,order=0,axis=k,input=" format ",io=" format \
    ",sum=f32,element_rel=7812500,element_rms=20000000,row_norm=8000000"
    static const struct {
        const char *name, *text;
    } plain[] = {{"bf16", PLAIN("bf16")}, {"fp16", PLAIN("f16")}};
#undef PLAIN
    const char *text = "", *symbol = "";
    for (uint32_t i = 0; i < plan->kernel_count; i++) {
        const mj_manifest *manifest = &plan->kernels[i].loaded.manifest;
        if (text[0] && manifest->scheme[0] && strcmp(manifest->scheme, text) != 0) {
            return mj_fail(error, MJ_ERR_UNSUPPORTED,
                           "kernels %s and %s were made for different descriptions of scheme %s: tune or emit again",
                           symbol, manifest->symbol, plan->problem.scheme);
        }
        text = manifest->scheme[0] ? manifest->scheme : text;
        symbol = manifest->symbol;
    }
    for (size_t i = 0; !text[0] && i < sizeof plain / sizeof plain[0]; i++) {
        text = strcmp(plan->problem.scheme, plain[i].name) == 0 ? plain[i].text : text;
    }
    if (!text[0]) {
        return mj_fail(
            error, MJ_ERR_UNSUPPORTED,
            "scheme %s: the manifests of these kernels do not describe it (a store or pack of an older version, "
            "or more decoded values than a manifest holds): tune or emit again",
            plan->problem.scheme);
    }
    return mj_scheme_parse(text, out, error);
}

mj_status mj_plan_selfcheck(mj_plan *plan, uint32_t token_count, double seconds, mj_error *error)
{
    if (!plan || token_count == 0 || !(seconds > 0)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "selfcheck: a plan, at least one token, some seconds");
    }
    uint32_t tokens = token_count < plan->max_tokens ? token_count : plan->max_tokens;
    session s = {.plan = plan, .deadline_seconds = mj_os_monotonic_seconds() + seconds};
    mj_scheme scheme;
    mj_status status = find_scheme(plan, &scheme, error);
    if (status == MJ_OK) {
        status = mj_check_open(&s.check, plan->device->context, &plan->problem, &scheme, tokens, error);
    }
    if (status == MJ_OK) {
        status = check_plan(&s, error);
    }
    close_session(&s);
    return status;
}
