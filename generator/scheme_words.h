/* scheme_words.h: a scheme in the words of templates: formats, groups and packing as text and numbers. */
#ifndef MOEJIT_SCHEME_WORDS_H
#define MOEJIT_SCHEME_WORDS_H

#include "gen.h"

/* As many as scheme_words.c has; it does not compile with others. */
#define MJ_SCHEME_TEXTS   13
#define MJ_SCHEME_NUMBERS 16

typedef struct mj_scheme_text {
    const char *name, *value; /* constants, or texts of the scheme or of the words */
} mj_scheme_text;

typedef struct mj_scheme_number {
    const char *name;
    int64_t value;
} mj_scheme_number;

typedef struct mj_scheme_words {
    mj_scheme_text texts[MJ_SCHEME_TEXTS];
    mj_scheme_number numbers[MJ_SCHEME_NUMBERS];
    char values[256 * 40]; /* of the codes, when neither a format nor a step says them; the longest is a NaN's */
    char pack_slots[32 * 4], zero_slots[32 * 4]; /* element of a word's run -> which of its codes */
} mj_scheme_words;

/* `shape`: of the op's GEMM; a group of 0 becomes its whole axis. The result points into itself and into the scheme. */
void mj_scheme_words_fill(const mj_scheme *scheme, mj_gemm_shape shape, mj_scheme_words *out);
/* As mj_manifest has them. */
uint32_t mj_scheme_needed_args(const mj_scheme *scheme, mj_op op);
uint32_t mj_scheme_scales_per_row(const mj_scheme *scheme, uint32_t k);
/* The GEMMs multiply codes that quantise1 and quantise2 write. */
bool mj_scheme_quantises(const mj_scheme *scheme);
/* 16-bit floats without scales on both sides, the form that needs no decoding. */
bool mj_scheme_is_plain(const mj_scheme *scheme);
/* "" if weights and input can be decoded by templates/weight_value.tmpl, else what cannot. */
const char *mj_scheme_undecodable(const mj_scheme *scheme);

#endif
