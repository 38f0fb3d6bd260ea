/* lab.c: device memory, guards, helper kernels, weights. Cases: lab_case.c. */
#include "lab.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory_need.h"
#include "reference.h"

#define FILL_PROBES 32

/* ---- Memory ---- */
mj_status mj_lab_alloc(mj_lab *lab, uint64_t bytes, void **out, mj_error *error)
{
    *out = NULL;
    uint64_t wanted = bytes ? bytes : 1;
    if (wanted > lab->bytes_max || lab->bytes_used > lab->bytes_max - wanted) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY,
                       "%s: %.1f MiB more wanted, %.1f of %.1f MiB allowed are in use (others may hold the rest)",
                       lab->device->info.id, (double)wanted / 1048576.0, (double)lab->bytes_used / 1048576.0,
                       (double)lab->bytes_max / 1048576.0);
    }
    mj_status status = lab->device->backend->memory_alloc(lab->device->handle, wanted, out, error);
    if (status == MJ_OK) {
        lab->bytes_used += wanted;
    }
    return status;
}

void mj_lab_free(mj_lab *lab, void *pointer, uint64_t bytes)
{
    if (pointer) {
        lab->device->backend->memory_free(lab->device->handle, pointer);
        lab->bytes_used -= bytes ? bytes : 1;
    }
}

mj_status mj_lab_sync(mj_lab *lab, mj_error *error)
{
    return lab->device->backend->stream_sync(lab->device->handle, lab->stream, error);
}

mj_status mj_lab_upload(mj_lab *lab, void *to, const void *from, uint64_t bytes, mj_error *error)
{
    if (bytes == 0) {
        return MJ_OK;
    }
    mj_status status = lab->device->backend->memory_upload(lab->device->handle, to, from, bytes, lab->stream, error);
    return status == MJ_OK ? mj_lab_sync(lab, error) : status;
}

mj_status mj_lab_download(mj_lab *lab, void *to, const void *from, uint64_t bytes, mj_error *error)
{
    if (bytes == 0) {
        return MJ_OK;
    }
    mj_status status = mj_lab_sync(lab, error);
    if (status == MJ_OK) {
        status = lab->device->backend->memory_download(lab->device->handle, to, from, bytes, lab->stream, error);
    }
    return status == MJ_OK ? mj_lab_sync(lab, error) : status;
}

mj_status mj_lab_set(mj_lab *lab, void *to, int byte_value, uint64_t bytes, mj_error *error)
{
    if (bytes == 0) {
        return MJ_OK;
    }
    return lab->device->backend->memory_set(lab->device->handle, to, byte_value, bytes, lab->stream, error);
}

/* ---- Guards ---- */
static uint64_t guarded_total_bytes(uint64_t capacity_bytes)
{
    return capacity_bytes + 2 * MJ_GUARD_BYTES;
}

mj_status mj_guarded_alloc(mj_lab *lab, uint64_t bytes, mj_guarded *out, mj_error *error)
{
    *out = (mj_guarded){.bytes = bytes, .capacity_bytes = (bytes + 255) / 256 * 256};
    mj_status status = mj_lab_alloc(lab, guarded_total_bytes(out->capacity_bytes), &out->base, error);
    if (status != MJ_OK) {
        *out = (mj_guarded){0};
        return status;
    }
    out->data = (char *)out->base + MJ_GUARD_BYTES;
    return MJ_OK;
}

void mj_guarded_free(mj_lab *lab, mj_guarded *guarded)
{
    mj_lab_free(lab, guarded->base, guarded_total_bytes(guarded->capacity_bytes));
    *guarded = (mj_guarded){0};
}

mj_status mj_guarded_reset(mj_lab *lab, mj_guarded *guarded, int byte_value, mj_error *error)
{
    if (!guarded->base) {
        return MJ_OK;
    }
    mj_status status = mj_lab_set(lab, guarded->base, MJ_GUARD_BYTE, MJ_GUARD_BYTES, error);
    if (status == MJ_OK) {
        status = mj_lab_set(lab, guarded->data, byte_value, guarded->bytes, error);
    }
    if (status == MJ_OK) {
        status = mj_lab_set(lab, guarded->data + guarded->bytes, MJ_GUARD_BYTE, MJ_GUARD_BYTES, error);
    }
    return status;
}

mj_status mj_guarded_check(mj_lab *lab, const mj_guarded *guarded, bool *intact, int64_t *offset, mj_error *error)
{
    unsigned char bytes[MJ_GUARD_BYTES];
    *intact = true;
    if (!guarded->base) {
        return MJ_OK;
    }
    mj_status status = mj_lab_download(lab, bytes, guarded->base, MJ_GUARD_BYTES, error);
    for (int64_t i = MJ_GUARD_BYTES - 1; status == MJ_OK && i >= 0; i--) {
        if (bytes[i] != MJ_GUARD_BYTE) {
            *intact = false;
            *offset = i - MJ_GUARD_BYTES;
            return MJ_OK;
        }
    }
    if (status == MJ_OK) {
        status = mj_lab_download(lab, bytes, guarded->data + guarded->bytes, MJ_GUARD_BYTES, error);
    }
    for (uint64_t i = 0; status == MJ_OK && i < MJ_GUARD_BYTES; i++) {
        if (bytes[i] != MJ_GUARD_BYTE) {
            *intact = false;
            *offset = (int64_t)(guarded->bytes + i);
            return MJ_OK;
        }
    }
    return status;
}

/* ---- Helper kernels ---- */
static const mj_space *find_space(const mj_lab *lab, mj_op op, const char *family)
{
    for (uint32_t i = 0; i < mj_spec_space_count(lab->spec); i++) {
        const mj_space *space = mj_spec_space_at(lab->spec, i);
        if (mj_list_has(&space->ops, mj_op_name(op)) && (!family || strcmp(space->family, family) == 0)) {
            return space;
        }
    }
    return NULL;
}

mj_status mj_lab_build(mj_lab *lab, const mj_problem *problem, mj_op op, const char *family, mj_loaded_kernel *out,
                       mj_error *error)
{
    const mj_space *space = find_space(lab, op, family);
    const mj_scheme *scheme = NULL;
    if (!space) {
        return mj_fail(error, MJ_ERR_NOT_FOUND, "no family%s%s implements %s", family ? " " : "", family ? family : "",
                       mj_op_name(op));
    }
    mj_status status = mj_spec_find_scheme(lab->spec, problem->scheme, &scheme, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_config config = {0};
    mj_kernel_desc desc = {problem, lab->arch, scheme, space, op, NULL};
    status = mj_space_default(lab->spec, &desc, &config, error);
    desc.config = &config;
    return status == MJ_OK ? mj_kernel_build(lab->device, &desc, out, NULL, error) : status;
}

/* The problem does not matter to fill and compare; any valid one names the kernel. */
static mj_problem small_problem(void)
{
    return (mj_problem){.expert_count = 1,
                        .expert_total_count = 1,
                        .top_k = 1,
                        .hidden = 64,
                        .intermediate = 64,
                        .scheme = "bf16",
                        .layout = "default"};
}

static int32_t format_mode(const char *format)
{
    mj_operand plain = {.format = format};
    return mj_operand_fill_mode(&plain);
}

mj_status mj_lab_fill_operand(mj_lab *lab, const mj_operand *operand, void *to, uint64_t seed, mj_error *error)
{
    int32_t mode = mj_operand_fill_mode(operand);
    if (mode < 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "no random data in format %s", operand->format);
    }
    if (operand->count == 0) {
        return MJ_OK;
    }
    mj_status status = MJ_OK;
    if (!lab->fill.handle) {
        mj_problem any = small_problem();
        status = mj_lab_build(lab, &any, MJ_OP_FILL, NULL, &lab->fill, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)to;
    values[MJ_ARG_ELEMENT_COUNT].i64 = (int64_t)operand->count;
    values[MJ_ARG_SEED].u64 = seed;
    values[MJ_ARG_SCALE].f32 = operand->scale;
    values[MJ_ARG_MODE].i32 = mode;
    return mj_kernel_launch(lab->device, &lab->fill, values, 1, lab->stream, error);
}

mj_status mj_lab_fill(mj_lab *lab, const char *format, void *to, uint64_t count, uint64_t seed, float scale,
                      mj_error *error)
{
    mj_operand operand = {.format = format, .count = count, .scale = scale};
    return mj_lab_fill_operand(lab, &operand, to, seed, error);
}

/* The data must be what the seed says: a broken fill would let two wrongs agree. */
static mj_status check_fill(mj_lab *lab, const mj_operand *operand, const void *data, uint64_t seed, mj_error *error)
{
    uint32_t bytes = mj_ref_format_bytes(operand->format);
    for (uint32_t i = 0; i < FILL_PROBES && operand->count; i++) {
        uint64_t last = operand->count - 1, index = i == 0 ? 0 : (i == 1 ? last : last / FILL_PROBES * i);
        char got[8] = {0}, want[8] = {0};
        mj_status status = mj_lab_download(lab, got, (const char *)data + index * bytes, bytes, error);
        if (status != MJ_OK) {
            return status;
        }
        mj_operand_store(operand, want, 0, seed, index);
        if (memcmp(got, want, bytes) != 0) {
            return mj_fail(error, MJ_ERR_WRONG_RESULT, "random data: element %" PRIu64 " is %g, not %g", index,
                           mj_ref_load(operand->format, got, 0), mj_ref_load(operand->format, want, 0));
        }
    }
    return MJ_OK;
}

enum { SCALES_SALT = 2, ZEROS_SALT = 3 }; /* seeds of their own; the bias has 1 */

typedef struct weight_part {
    const mj_operand *operand;
    uint64_t offset, salt;
} weight_part;

static void list_weights(const mj_lab *lab, weight_part parts[3])
{
    const mj_operands *o = &lab->operands;
    parts[0] = (weight_part){&o->weights, 0, 0};
    parts[1] = (weight_part){&o->weight_scales, o->scales_offset, SCALES_SALT};
    parts[2] = (weight_part){&o->weight_zeros, o->zeros_offset, ZEROS_SALT};
}

mj_status mj_lab_fill_weights(mj_lab *lab, void *block, mj_error *error)
{
    weight_part parts[3];
    list_weights(lab, parts);
    mj_status status = MJ_OK;
    for (int i = 0; i < 3 && status == MJ_OK; i++) {
        if (parts[i].operand->bytes) {
            status = mj_lab_fill_operand(lab, parts[i].operand, (char *)block + parts[i].offset,
                                         lab->seed + parts[i].salt, error);
        }
    }
    return status;
}

static mj_status check_weights(mj_lab *lab, mj_error *error)
{
    weight_part parts[3];
    list_weights(lab, parts);
    mj_status status = MJ_OK;
    for (int i = 0; i < 3 && status == MJ_OK; i++) {
        if (parts[i].operand->bytes) {
            status = check_fill(lab, parts[i].operand, (const char *)lab->weights[0] + parts[i].offset,
                                lab->seed + parts[i].salt, error);
        }
    }
    return status;
}

/* ---- The lab ---- */
mj_status mj_lab_open(mj_device *device, uint64_t bytes_max, mj_lab *out, mj_error *error)
{
    *out = (mj_lab){.device = device};
    mj_status status = mj_context_spec(device->context, &out->spec, error);
    if (status == MJ_OK) {
        status = mj_spec_find_arch(out->spec, device->info.arch, &out->arch, error);
    }
    uint64_t free_bytes = 0, total_bytes = 0;
    if (status == MJ_OK) {
        status = device->backend->memory_info(device->handle, &free_bytes, &total_bytes, error);
    }
    if (status == MJ_OK) {
        status = device->backend->stream_create(device->handle, &out->stream, error);
    }
    out->bytes_max = mj_memory_allowed(free_bytes, bytes_max);
    return status;
}

void mj_lab_free_copies(mj_lab *lab)
{
    while (lab->weights_count > 1) {
        void **copy = &lab->weights[--lab->weights_count];
        mj_lab_free(lab, *copy, lab->weights_all_bytes);
        *copy = NULL;
    }
}

/* All that belongs to the op alone. */
static void unload_op(mj_lab *lab)
{
    mj_guarded_free(lab, &lab->partials);
    mj_guarded_free(lab, &lab->counters);
    mj_kernel_unload(lab->device, &lab->reference);
    mj_kernel_unload(lab->device, &lab->combine);
    lab->loaded = false;
}

void mj_lab_unload(mj_lab *lab)
{
    unload_op(lab);
    mj_lab_free_copies(lab);
    mj_lab_free(lab, lab->weights[0], lab->weights_all_bytes);
    lab->weights[0] = NULL;
    lab->weights_count = 0;
    if (lab->bias) {
        mj_lab_free(lab, lab->bias, (uint64_t)lab->problem.expert_count * lab->shape.n * lab->io_bytes);
        lab->bias = NULL;
    }
}

void mj_lab_close(mj_lab *lab)
{
    if (!lab->device) {
        return;
    }
    mj_lab_unload(lab);
    mj_kernel_unload(lab->device, &lab->fill);
    mj_kernel_unload(lab->device, &lab->compare);
    if (lab->stream) {
        lab->device->backend->stream_destroy(lab->device->handle, lab->stream);
    }
    *lab = (mj_lab){0};
}

static mj_status set_problem(mj_lab *lab, const mj_problem *problem, mj_op op, uint64_t seed, mj_error *error)
{
    if (!mj_op_is_gemm(op)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s has no weights", mj_op_name(op));
    }
    mj_status status = mj_problem_check(problem, error);
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(lab->spec, problem->scheme, &lab->scheme, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    lab->problem = *problem;
    lab->op = op;
    lab->seed = seed;
    lab->shape = mj_problem_gemm(problem, op);
    lab->io_bytes = mj_ref_format_bytes(lab->scheme->io_format);
    int32_t mode = format_mode(lab->scheme->io_format);
    bool other_codes =
        mj_op_writes_codes(op) && strcmp(lab->scheme->input_format, "e4m3") != 0; /* not in compare.tmpl */
    if (!lab->io_bytes || mode < 0 || other_codes || lab->scheme->packing.axis[0] == 'n') {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s cannot be tuned in this version", problem->scheme);
    }
    lab->io_mode = (uint32_t)mode;
    lab->output_bytes = mj_op_writes_codes(op) ? mj_ref_format_bytes(lab->scheme->input_format) : lab->io_bytes;
    lab->scales_per_row = mj_op_writes_codes(op) ? mj_ref_scales_per_row(lab->scheme, lab->shape.out_n) : 0;
    status = mj_operands_describe(lab->scheme, problem, op, 1, &lab->operands, error);
    lab->weights_all_bytes = lab->operands.block_bytes;
    return status;
}

static bool has_weights(const mj_lab *lab, const mj_problem *problem, mj_op op, uint64_t seed)
{
    char have[512], want[512];
    return lab->loaded && mj_op_is_gemm1(lab->op) == mj_op_is_gemm1(op) && lab->seed == seed &&
           mj_problem_print(&lab->problem, have, sizeof(have), NULL) == MJ_OK &&
           mj_problem_print(problem, want, sizeof(want), NULL) == MJ_OK && strcmp(have, want) == 0;
}

static mj_status make_weights(mj_lab *lab, mj_error *error)
{
    uint64_t bias_count = (uint64_t)lab->problem.expert_count * lab->shape.n;
    mj_status status = mj_lab_alloc(lab, lab->weights_all_bytes, &lab->weights[0], error);
    if (status != MJ_OK) {
        return status;
    }
    lab->weights_count = 1;
    status = mj_lab_fill_weights(lab, lab->weights[0], error);
    if (status == MJ_OK) {
        status = check_weights(lab, error);
    }
    if (status == MJ_OK && lab->problem.bias) {
        status = mj_lab_alloc(lab, bias_count * lab->io_bytes, &lab->bias, error);
    }
    return status == MJ_OK && lab->bias
               ? mj_lab_fill(lab, lab->scheme->io_format, lab->bias, bias_count, lab->seed + 1, 1.0f, error)
               : status;
}

static mj_status build_helpers(mj_lab *lab, mj_error *error)
{
    /* Codes are judged by the values they stand for, sums of a token's rows by those of the combine op. */
    mj_op op = lab->op, truth = mj_op_writes_codes(op) || mj_op_combines(op) ? mj_op_part(op, 0) : op;
    mj_status status = mj_lab_build(lab, &lab->problem, truth, "reference", &lab->reference, error);
    if (status == MJ_OK && mj_op_combines(op)) {
        status = mj_lab_build(lab, &lab->problem, mj_op_part(op, 1), NULL, &lab->combine, error);
    }
    if (status == MJ_OK && !lab->compare.handle) {
        mj_problem any = small_problem();
        status = mj_lab_build(lab, &any, MJ_OP_COMPARE, NULL, &lab->compare, error);
    }
    return status;
}

mj_status mj_lab_load(mj_lab *lab, const mj_problem *problem, mj_op op, uint64_t seed, mj_error *error)
{
    bool has = has_weights(lab, problem, op, seed);
    if (has && lab->op == op) {
        return MJ_OK;
    }
    has = has && check_weights(lab, NULL) == MJ_OK; /* candidates ran beside them */
    if (has) {
        unload_op(lab);
    } else {
        mj_lab_unload(lab);
    }
    mj_status status = set_problem(lab, problem, op, seed, error);
    if (status == MJ_OK && !has) {
        status = make_weights(lab, error);
    }
    if (status == MJ_OK) {
        status = build_helpers(lab, error);
    }
    lab->loaded = status == MJ_OK;
    if (status != MJ_OK) {
        mj_lab_unload(lab);
    }
    return status;
}

mj_status mj_lab_workspace(mj_lab *lab, const mj_manifest *manifest, uint32_t token_count, mj_error *error)
{
    uint64_t partial_bytes = 0, counter_bytes = 0;
    mj_status status =
        mj_manifest_workspace(manifest, token_count, lab->device->info.sm_count, &partial_bytes, &counter_bytes, error);
    struct {
        mj_guarded *buffer;
        uint64_t bytes;
    } wanted[] = {
        {&lab->partials, partial_bytes},
        {&lab->counters, counter_bytes},
    };
    /* Exactly as large as the kernel asks for: one byte more is out of bounds. */
    for (int i = 0; i < 2 && status == MJ_OK; i++) {
        mj_guarded *buffer = wanted[i].buffer;
        if (wanted[i].bytes > buffer->capacity_bytes || (wanted[i].bytes && !buffer->base)) {
            mj_guarded_free(lab, buffer);
            status = mj_guarded_alloc(lab, wanted[i].bytes, buffer, error);
        }
        buffer->bytes = status == MJ_OK ? wanted[i].bytes : 0;
    }
    if (status == MJ_OK) {
        status = mj_guarded_reset(lab, &lab->counters, 0, error);
    }
    if (status == MJ_OK) {
        status = mj_guarded_reset(lab, &lab->partials, 0xff, error);
    }
    return status;
}
