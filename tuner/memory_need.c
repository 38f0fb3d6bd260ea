/* memory_need.c: see memory_need.h. ORDER LAB MEMORY: the sums follow lab.c, lab_case.c and verify_layer.c; a test holds them
 * to the byte. */
#include "memory_need.h"

#include "checked.h"
#include "lab.h"
#include "reference.h"
#include "verify.h"

/* Adds a * b * c bytes; an empty array takes one. */
static bool add(uint64_t *sum, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t bytes = 0;
    return mj_mul3_u64(a, b, c, &bytes) && mj_add_u64(*sum, bytes ? bytes : 1, sum);
}

static bool add_guarded(uint64_t *sum, uint64_t rows, uint64_t n, uint64_t element_bytes)
{
    uint64_t bytes = 0;
    return mj_mul3_u64(rows, n, element_bytes, &bytes) && mj_add_u64(bytes, 255, &bytes) &&
           mj_add_u64(bytes / 256 * 256, 2 * MJ_GUARD_BYTES, &bytes) && mj_add_u64(*sum, bytes, sum);
}

/* Two of them, with their scales if they are codes. */
static bool add_outputs(const mj_scheme *scheme, mj_op op, uint64_t pairs, uint32_t columns, uint64_t io_bytes,
                        uint64_t *sum)
{
    bool codes = mj_op_writes_codes(op), fits = true;
    uint32_t per_row = mj_ref_scales_per_row(scheme, columns);
    for (int i = 0; i < 2; i++) {
        fits = fits && add_guarded(sum, pairs, columns, codes ? mj_ref_format_bytes(scheme->input_format) : io_bytes) &&
               (!codes || add_guarded(sum, per_row ? pairs : 1, per_row ? per_row : 1, sizeof(float)));
    }
    return fits;
}

/* One set of routing and activations, two guarded outputs, the reference's, and the comparison's result. */
static bool add_case(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint64_t io_bytes,
                     uint64_t token_count, uint64_t *sum)
{
    mj_operands operands;
    mj_gemm_shape shape = mj_problem_gemm(problem, op);
    uint64_t pairs = token_count * problem->top_k;
    uint64_t input_rows = mj_op_is_gemm1(op) ? token_count : pairs;
    if (mj_operands_describe(scheme, problem, op, input_rows, &operands, NULL) != MJ_OK) {
        return false;
    }
    return add(sum, pairs, 3 * sizeof(int32_t), 1) && add(sum, problem->expert_count + 1ull, sizeof(int32_t), 1) &&
           add(sum, operands.input.bytes, 1, 1) &&
           (operands.input_scales.bytes == 0 || add(sum, operands.input_scales.bytes, 1, 1)) &&
           add_outputs(scheme, op, pairs, shape.out_n, io_bytes, sum) && add(sum, pairs, shape.out_n, io_bytes) &&
           (!mj_op_combines(op) || add(sum, pairs, shape.out_n, io_bytes)) && /* gemm2's rows */
           add(sum, pairs, 4 * sizeof(float), 1);
}

static mj_status io_format(const mj_scheme *scheme, uint64_t *io_bytes, mj_error *error)
{
    *io_bytes = mj_ref_format_bytes(scheme->io_format);
    return *io_bytes ? MJ_OK
                     : mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s cannot be tuned in this version", scheme->name);
}

mj_status mj_memory_need_gemm(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint32_t token_count,
                              mj_memory_need *out, mj_error *error)
{
    static const struct {
        const char *routing;
        uint32_t token_count;
    } small[] = MJ_SMALL_CASES;
    uint64_t io_bytes = 0;
    mj_operands operands;
    *out = (mj_memory_need){0};
    mj_status status = io_format(scheme, &io_bytes, error);
    if (status == MJ_OK) {
        status = mj_operands_describe(scheme, problem, op, 1, &operands, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    mj_gemm_shape shape = mj_problem_gemm(problem, op);
    bool fits = add(&out->weights_bytes, operands.block_bytes, 1, 1) &&
                (!problem->bias || add(&out->weights_bytes, problem->expert_count, shape.n, io_bytes));
    out->bytes = out->weights_bytes;
    for (size_t i = 0; fits && i < sizeof(small) / sizeof(small[0]); i++) {
        fits = add_case(problem, scheme, op, io_bytes, small[i].token_count, &out->bytes);
    }
    fits = fits && add_case(problem, scheme, op, io_bytes, token_count, &out->bytes);
    return fits ? MJ_OK
                : mj_fail(error, MJ_ERR_CAPACITY, "%s at %u tokens: more memory than 64 bits count", mj_op_name(op),
                          token_count);
}

mj_status mj_memory_need_layer(const mj_problem *problem, const mj_scheme *scheme, mj_op op, uint64_t *bytes,
                               mj_error *error)
{
    uint64_t io_bytes = 0;
    *bytes = 0;
    mj_status status = io_format(scheme, &io_bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    uint64_t pairs = (uint64_t)mj_layer_check_tokens(problem, op) * problem->top_k;
    uint64_t hidden = problem->hidden, n = problem->intermediate;
    bool fits = add(bytes, pairs, 2 * sizeof(int32_t), 1) && add(bytes, problem->expert_count + 1ull, 4, 1);
    if (op == MJ_OP_ACTIVATION) {
        fits = fits && add(bytes, pairs, n * (problem->gated ? 2 : 1), io_bytes) && add(bytes, pairs, n, io_bytes);
    } else if (op == MJ_OP_COMBINE) {
        fits = fits && add(bytes, pairs, hidden, io_bytes) && add(bytes, pairs / problem->top_k, hidden, io_bytes);
    }
    if (op == MJ_OP_QUANTISE1 || op == MJ_OP_QUANTISE2) {
        uint64_t rows = op == MJ_OP_QUANTISE1 ? pairs / problem->top_k : pairs, k = mj_problem_gemm(problem, op).k;
        uint32_t per_row = mj_ref_scales_per_row(scheme, (uint32_t)k);
        fits = fits && add(bytes, rows, k, io_bytes) && add(bytes, rows, k, 1) &&
               add(bytes, per_row ? rows : 1, per_row ? per_row : 1, sizeof(float));
    }
    return fits ? MJ_OK : mj_fail(error, MJ_ERR_CAPACITY, "%s: more memory than 64 bits count", mj_op_name(op));
}

uint64_t mj_memory_allowed(uint64_t free_bytes, uint64_t bytes_max)
{
    uint64_t usable = free_bytes / 10 * 9;
    return bytes_max && bytes_max < usable ? bytes_max : usable;
}
