/* sha256.c: SHA-256 (FIPS 180-4, sections 4.1.2, 4.2.2 and 6.2). Keys of caches and checksums of files; written out here because
 * a build without any crypto library is worth these lines to an embedder. */
#include "gen.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate_right(uint32_t x, unsigned bits)
{
    return x >> bits | x << (32 - bits);
}

static void expand_schedule(const uint8_t block[64], uint32_t words[64])
{
    for (int i = 0; i < 16; i++) {
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                   block[4 * i + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = words[i - 15], b = words[i - 2];
        uint32_t sigma0 = rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3;
        uint32_t sigma1 = rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10;
        words[i] = words[i - 16] + sigma0 + words[i - 7] + sigma1;
    }
}

static void compress_plain(uint32_t state[8], const uint8_t block[64])
{
    uint32_t words[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    expand_schedule(block, words);
    for (int i = 0; i < 64; i++) { /* named, so that they stay in registers */
        uint32_t sum1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        uint32_t choose = (e & f) ^ (~e & g);
        uint32_t t1 = h + sum1 + choose + round_constants[i] + words[i];
        uint32_t sum0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + sum0 + majority;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

#if defined(__x86_64__)
/* The processor's own rounds, eight times as fast: a warm plan hashes every binary it loads. Intel SDM vol. 2,
 * SHA256RNDS2, SHA256MSG1, SHA256MSG2: the state lies in two registers as (a, b, e, f) and (c, d, g, h). */
static bool has_instructions(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3) &&
           __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void compress_instructions(uint32_t state[8],
                                                                              const uint8_t block[64])
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203); /* big-endian words */
    __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, dcba, 0xf0);
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i words[16]; /* four each */
    for (int i = 0; i < 16; i++) {
        if (i < 4) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + 16 * i));
            words[i] = _mm_shuffle_epi8(bytes, swap);
        } else {
            __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(words[i - 4], words[i - 3]),
                                        _mm_alignr_epi8(words[i - 1], words[i - 2], 4));
            words[i] = _mm_sha256msg2_epu32(sum, words[i - 1]);
        }
        __m128i constants = _mm_loadu_si128((const __m128i *)(const void *)(round_constants + 4 * i));
        __m128i step = _mm_add_epi32(words[i], constants);
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, step);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(step, 0x0e));
    }
    abef = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1b);
    cdgh = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(abef, cdgh, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(cdgh, abef, 8));
}
#else
static bool has_instructions(void)
{
    return false;
}

static void compress_instructions(uint32_t state[8], const uint8_t block[64])
{
    compress_plain(state, block);
}
#endif

void mj_sha256_start(mj_sha256 *hash)
{
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, first, sizeof first);
    hash->total_bytes = 0;
    hash->use_instructions = has_instructions();
}

void mj_sha256_update(mj_sha256 *hash, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        size_t used = hash->total_bytes % 64;
        size_t take = bytes < 64 - used ? bytes : 64 - used;
        memcpy(hash->block + used, from, take);
        hash->total_bytes += take;
        from += take;
        bytes -= take;
        if (hash->total_bytes % 64 == 0) {
            (hash->use_instructions ? compress_instructions : compress_plain)(hash->state, hash->block);
        }
    }
}

void mj_sha256_finish(mj_sha256 *hash, char out[MJ_SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t bits = hash->total_bytes * 8;
    uint8_t tail[72] = {0x80};
    size_t padding = (119 - hash->total_bytes % 64) % 64 + 1; /* so that 8 bytes of length end a block */
    for (int i = 0; i < 8; i++) {
        tail[padding + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    mj_sha256_update(hash, tail, padding + 8);
    for (int i = 0; i < 64; i++) {
        out[i] = digits[hash->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    }
    out[64] = '\0';
}

void mj_sha256_hex(const void *data, size_t bytes, char out[MJ_SHA256_HEX])
{
    mj_sha256 hash;
    mj_sha256_start(&hash);
    mj_sha256_update(&hash, data, bytes);
    mj_sha256_finish(&hash, out);
}
