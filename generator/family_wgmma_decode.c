/* family_wgmma_decode.c: weights that threads decode on their way into wgmma's registers (templates/wgmma_weights4.tmpl): which schemes
 * and shapes that fragment is for, and what it takes. */
#include "family_wgmma.h"

#include <string.h>

enum {
    CODE_BITS = 4,
    WORD_CODES = 8,
    FRAGMENT_K = 16,  /* depth of one wgmma */
    ATOM_K = 64,      /* depth whose codes a thread reads at a time */
    OFFSET_MAX = 112, /* of the code that stands for zero: the template counts from 128, and to 255 in steps of 1 */
};

/* Codes 0, 1, 2 ... stand for first, first + 1, ... */
static bool counts_by_steps(const mj_scheme *s)
{
    for (uint32_t i = 0; i < s->decode_count; i++) {
        if (s->decode[i] != s->decode[0] + i) {
            return false;
        }
    }
    double offset = (s->zero.format[0] ? s->zero_bias : 0) - s->decode[0];
    return s->decode_count == 1u << CODE_BITS && offset >= 0 && offset <= OFFSET_MAX &&
           offset == (double)(int32_t)offset;
}

/* Words of 32 bits of eight elements: pairs of neighbours lie 16 bits apart, or one behind the other. */
static bool has_order(const mj_packing *p, char axis, bool in_pairs)
{
    if (p->word_bits != 32 || p->per_word != WORD_CODES || p->axis[0] != axis) {
        return false;
    }
    for (uint32_t i = 0; i < WORD_CODES; i++) {
        if (p->order[i] != (in_pairs ? 2 * i % WORD_CODES + i / (WORD_CODES / 2) : i)) {
            return false;
        }
    }
    return true;
}

static bool scales_known(const mj_scheme *s)
{
    bool zeros = s->zero.format[0] != '\0';
    bool scaled = strcmp(s->scale.format, s->io_format) == 0 && s->scale.group_n == 1 && s->scale.order[0] == 'n';
    bool like_scales = s->zero.group_n == 1 && s->zero.group_k == s->scale.group_k && s->zero.order[0] == 'n';
    return scaled &&
           (!zeros || (like_scales && strcmp(s->zero.format, "uint4") == 0 && has_order(&s->zero.packing, 'n', false)));
}

bool wgmma_codes_known(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    const mj_scheme *s = desc->scheme;
    (void)derived;
    *measured = s->weight_bits;
    *limit = CODE_BITS;
    return !wgmma_decodes(desc) || (s->weight_bits == CODE_BITS && strcmp(s->input_format, s->io_format) == 0 &&
                                    counts_by_steps(s) && has_order(&s->packing, 'k', true) && scales_known(s));
}

bool wgmma_codes_are_m(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    *measured = wgmma_shape_of(derived).orientation;
    *limit = WEIGHTS_ARE_M;
    return !wgmma_decodes(desc) || *measured == *limit;
}

/* A weight that is rounded adds 0.0017 of a row to the error of a sum; of up, times a gate of several times the row's root mean square,
 * an element in 10^4 is past its limit. */
bool wgmma_codes_of_plain_gemms(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    *measured = desc->op != MJ_OP_GEMM1 && desc->op != MJ_OP_GEMM2;
    *limit = 0;
    return !wgmma_decodes(desc) || *measured == *limit;
}

bool wgmma_codes_in_order(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    (void)derived;
    *measured = mj_layout_turn_rows(desc->problem, desc->op);
    *limit = 0;
    return !wgmma_decodes(desc) || *measured == *limit;
}

bool wgmma_codes_groups(const mj_kernel_desc *desc, const mj_derived *derived, double *measured, double *limit)
{
    uint32_t group = desc->scheme->scale.group_k;
    (void)derived;
    *measured = group;
    *limit = ATOM_K;
    return !wgmma_decodes(desc) ||
           (group > 0 && group % FRAGMENT_K == 0 && (group % ATOM_K == 0 || ATOM_K % group == 0));
}

/* What a consumer's thread needs beside the sums: codes of 64 elements of its rows, two fragments, scales now and next. Fitted to what
 * NVRTC 13 uses without spilling. */
uint32_t wgmma_decode_need(const mj_kernel_desc *desc, const wgmma_shape *s)
{
    uint32_t blocks = wgmma_blocks_m(s), weighted = desc->op == MJ_OP_GEMM2 ? 4 : 0;
    bool more = desc->scheme->zero.format[0] || desc->scheme->scale.group_k < ATOM_K;
    if (!wgmma_decodes(desc)) {
        return 0;
    }
    uint32_t deep = s->step_bytes > WGMMA_ATOM_BYTES ? 4 * blocks : 0;
    return 28 * blocks - 8 + (more && blocks > 1 ? 4 * blocks : 0) + weighted + deep + wgmma_accumulators(s) / 16;
}
