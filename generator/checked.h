/* checked.h: sizes that cannot overflow silently; false means overflow, and *out is not to be used. */
#ifndef MOEJIT_CHECKED_H
#define MOEJIT_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool mj_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool mj_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* a * b * c */
static inline bool mj_mul3_u64(uint64_t a, uint64_t b, uint64_t c, uint64_t *out)
{
    uint64_t ab = 0;
    return mj_mul_u64(a, b, &ab) && mj_mul_u64(ab, c, out);
}

static inline uint64_t mj_ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

#endif
