#include "workspace.h"

#include <inttypes.h>

enum { PAIRS_MAX = INT32_MAX - 8192 }; /* kernels count pairs in 32 bits, up to a block's share past the last */
enum { CHUNK_BYTES = 16 };             /* and so the chunks of a GEMM's input */

mj_status mj_workspace_need(mj_workspace *workspace, const mj_manifest *manifest, uint32_t token_count,
                            uint32_t sm_count, mj_error *error)
{
    uint64_t partial_bytes = 0, counter_bytes = 0;
    mj_status status = mj_manifest_workspace(manifest, token_count, sm_count, &partial_bytes, &counter_bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    if (mj_op_combines(manifest->op)) { /* no overflow: a part of what has been summed */
        partial_bytes -= (uint64_t)token_count * manifest->problem.top_k * manifest->pair_scratch_bytes;
    }
    if (partial_bytes > workspace->partial_bytes) {
        workspace->partial_bytes = partial_bytes;
    }
    if (mj_op_writes_codes(manifest->op)) {
        int index = manifest->op != MJ_OP_QUANTISE1;
        workspace->quantised[index].present = true;
        workspace->quantised[index].scales_per_row = manifest->scales_per_row;
    }
    if (counter_bytes > workspace->counter_bytes) {
        workspace->counter_bytes = counter_bytes;
    }
    return MJ_OK;
}

uint64_t mj_workspace_partials(const mj_workspace *workspace, mj_op op)
{
    return mj_op_combines(op) ? workspace->pair_rows : workspace->partials;
}

/* Appends a region of a * b * c bytes. */
static bool place(uint64_t *end, uint64_t *offset, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t bytes, raised;
    if (__builtin_mul_overflow(a, b, &bytes) || __builtin_mul_overflow(bytes, c, &bytes) ||
        __builtin_add_overflow(*end, bytes, &raised) ||
        __builtin_add_overflow(raised, MJ_WORKSPACE_ALIGN - 1, &raised)) {
        return false;
    }
    *offset = *end;
    *end = raised / MJ_WORKSPACE_ALIGN * MJ_WORKSPACE_ALIGN;
    return true;
}

static bool place_quantised(uint64_t *end, mj_workspace *workspace, int index, uint64_t rows, uint64_t columns)
{
    uint64_t scales = workspace->quantised[index].scales_per_row;
    return !workspace->quantised[index].present ||
           (place(end, &workspace->quantised[index].codes, rows, columns, MJ_CODE_BYTES) &&
            place(end, &workspace->quantised[index].scales, rows, scales, sizeof(float)));
}

static bool chunks_count(uint64_t rows, uint64_t columns)
{
    uint64_t chunks = (columns * MJ_IO_BYTES + CHUNK_BYTES - 1) / CHUNK_BYTES;
    return rows <= INT32_MAX / chunks;
}

mj_status mj_workspace_place(mj_workspace *workspace, const mj_problem *problem, uint32_t max_tokens, mj_error *error)
{
    uint64_t pairs = (uint64_t)max_tokens * problem->top_k;
    uint64_t gates = problem->gated ? 2 : 1;
    uint64_t end = 0;
    if (pairs > PAIRS_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY,
                       "max_tokens %" PRIu32 " times top-k %" PRIu32 " is more than %d token-expert pairs", max_tokens,
                       problem->top_k, PAIRS_MAX);
    }
    if (!chunks_count(max_tokens, problem->hidden) || !chunks_count(pairs, problem->intermediate)) {
        return mj_fail(error, MJ_ERR_CAPACITY, "max_tokens %" PRIu32 ": a GEMM's input is larger than 32 GiB",
                       max_tokens);
    }
    bool fits = place(&end, &workspace->counters, workspace->counter_bytes, 1, 1) &&
                place(&end, &workspace->expert_offsets, (uint64_t)problem->expert_count + 1, sizeof(int32_t), 1) &&
                place(&end, &workspace->sorted_pairs, pairs, sizeof(int32_t), 1) &&
                place(&end, &workspace->gemm1_output, pairs, gates * problem->intermediate, MJ_IO_BYTES) &&
                place(&end, &workspace->activation, pairs, problem->intermediate, MJ_IO_BYTES) &&
                place_quantised(&end, workspace, 0, max_tokens, problem->hidden) &&
                place_quantised(&end, workspace, 1, pairs, problem->intermediate) &&
                /* gemm2_combine goes on from the one into the other */
                place(&end, &workspace->pair_rows, pairs, problem->hidden, MJ_IO_BYTES) &&
                place(&end, &workspace->partials, workspace->partial_bytes, 1, 1);
    if (!fits || end > SIZE_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "the workspace of %" PRIu32 " tokens is larger than any memory",
                       max_tokens);
    }
    workspace->bytes = end;
    return MJ_OK;
}
