/* weights.c: weights1 from one layout to another, on the host; see moejit.h. */
#include <inttypes.h>
#include <string.h>

#include "gen.h"
#include "moejit.h"

typedef struct packing {
    mj_gemm_shape from, to; /* of gemm1, in either layout */
    uint64_t row_bytes;
    uint32_t run_rows; /* neighbours in both */
} packing;

static mj_status check_arguments(const mj_problem *problem, const void *from, const void *to, uint64_t bytes,
                                 mj_error *error)
{
    const struct {
        const char *name;
        const void *pointer;
    } pointers[] = {{"problem", problem}, {"from", from}, {"to", to}};
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        if (!pointers[i].pointer) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", pointers[i].name);
        }
    }
    uint64_t a = (uint64_t)(uintptr_t)from, b = (uint64_t)(uintptr_t)to;
    if (bytes > UINT64_MAX - (a > b ? a : b) || (a > b ? a - b : b - a) < bytes) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "from and to overlap, or end beyond memory: %" PRIu64 " bytes each",
                       bytes);
    }
    return MJ_OK;
}

/* The number of bytes says what a row takes: no scheme is looked up. */
static mj_status read_row_bytes(const mj_problem *problem, uint64_t rows, uint64_t bytes, uint64_t *row_bytes,
                                mj_error *error)
{
    enum { WORD_BYTES_MAX = 4 }; /* of packed codes: a row of few elements may be one */
    uint64_t least = ((uint64_t)problem->hidden + 1) / 2, most = 2 * (uint64_t)problem->hidden;
    most = most > WORD_BYTES_MAX ? most : WORD_BYTES_MAX;
    *row_bytes = bytes / rows;
    if (bytes % rows || *row_bytes < least || *row_bytes > most) {
        return mj_fail(error, MJ_ERR_ARGUMENT,
                       "%" PRIu64 " bytes are not %" PRIu64 " rows (E * G*N) of %" PRIu32 " elements of 4 to 16 bits",
                       bytes, rows, problem->hidden);
    }
    return MJ_OK;
}

static void pack_expert(const packing *p, const char *from, char *to)
{
    for (uint32_t row = 0; row < p->from.n; row += p->run_rows) {
        memcpy(to + mj_weight_row(p->to, row) * p->row_bytes, from + mj_weight_row(p->from, row) * p->row_bytes,
               p->run_rows * p->row_bytes);
    }
}

mj_status mj_weights_pack(const mj_problem *problem, const char *from_layout, const void *from, void *to,
                          uint64_t bytes, mj_error *error)
{
    from_layout = from_layout ? from_layout : "default";
    mj_status status = check_arguments(problem, from, to, bytes, error);
    if (status != MJ_OK || (status = mj_problem_check(problem, error)) != MJ_OK ||
        (status = mj_layout_check(from_layout, problem, error)) != MJ_OK) {
        return status;
    }
    mj_problem source = *problem;
    memset(source.layout, 0, sizeof source.layout);
    memcpy(source.layout, from_layout, strlen(from_layout)); /* a known name fits */
    packing p = {.from = mj_problem_gemm(&source, MJ_OP_GEMM1), .to = mj_problem_gemm(problem, MJ_OP_GEMM1)};
    status = read_row_bytes(problem, (uint64_t)problem->expert_count * p.to.n, bytes, &p.row_bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    if (p.from.turn_rows == p.to.turn_rows) {
        memcpy(to, from, (size_t)bytes);
        return MJ_OK;
    }
    /* Where both take turns, of different lengths, rows go one by one. */
    p.run_rows = p.from.turn_rows && p.to.turn_rows ? 1 : p.from.turn_rows + p.to.turn_rows;
    uint64_t expert_bytes = p.to.n * p.row_bytes;
    for (uint32_t expert = 0; expert < problem->expert_count; expert++) {
        pack_expert(&p, (const char *)from + expert * expert_bytes, (char *)to + expert * expert_bytes);
    }
    return MJ_OK;
}
