@// host_amd.h: hip_amd.h's primitives on the host. The lanes' formulas are AMD's own ("Matrix Instruction Calculator", option
@// --register-layout), written down as it prints them; kernels have theirs in other words, so that a misreading shows. It does not
@// know gfx950's forms 3 and 4: theirs are its rule for twice the depth a lane, as in the vendor's Composable Kernel
@// (xdlops_gemm.hpp: k_per_blk 8, num_input_blks 4 and 2, group_size 4).
/* ---- AMD ---- */
typedef struct mj_vec8 {
    mj_u32 x, y;
} __attribute__((aligned(8), may_alias)) mj_vec8;

MJ_FN mj_vec16 mj_lds_ld16(mj_saddr at) { return *(const mj_vec16 *)mj_host_shared(at, 16); }
MJ_FN mj_vec8 mj_lds_ld8(mj_saddr at) { return *(const mj_vec8 *)mj_host_shared(at, 8); }
MJ_FN void mj_lds_st16(mj_saddr at, mj_vec16 v) { *(mj_vec16 *)mj_host_shared(at, 16) = v; }
MJ_FN void mj_lds_st8(mj_saddr at, mj_vec8 v) { *(mj_vec8 *)mj_host_shared(at, 8) = v; }
MJ_FN void mj_st_vec8(void *p, mj_vec8 v) { *(mj_vec8 *)p = v; }
MJ_FN void mj_schedule_fence(void) {}
MJ_FN void mj_lds_sync(void) { mj_block_sync(); }

@if direct_lds
/* As late as the wait. */
MJ_HOST_FN void mj_lds_load(mj_saddr to, const void *from)
{
    mj_host_copy_async(to + @{load_bytes} * (mj_saddr)mj_lane(), @{load_bytes}, from, @{load_bytes});
}
MJ_HOST_FN void mj_lds_load_wait(void)
{
    mj_cp_async_commit();
    mj_cp_async_wait(0);
}
@end

/* One matrix instruction: D[i][j] += sum over k of A[i][k] * B[k][j]. B's formulas are A's with j for i. */
#define MJ_FLOOR(a, b) ((a) / (b))
@if matrix_form == 1
#define MJ_HOST_SIZE 16
#define MJ_HOST_DEPTH 16
#define MJ_HOST_AB_WORDS 2
#define MJ_HOST_SUMS 4
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 2) % 2)
#define MJ_HOST_A_LANE(i, k) (16 * MJ_FLOOR(k, 4) + i)
#define MJ_HOST_D_GPR(i, j) (i % 4)
#define MJ_HOST_D_LANE(i, j) (16 * MJ_FLOOR(i, 4) + j)
@end
@if matrix_form == 2
#define MJ_HOST_SIZE 32
#define MJ_HOST_DEPTH 8
#define MJ_HOST_AB_WORDS 2
#define MJ_HOST_SUMS 16
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 2) % 2)
#define MJ_HOST_A_LANE(i, k) (32 * MJ_FLOOR(k, 4) + i)
#define MJ_HOST_D_GPR(i, j) (4 * MJ_FLOOR(i, 8) + (i % 4))
#define MJ_HOST_D_LANE(i, j) ((32 * MJ_FLOOR(i, 4)) % 64 + j)
@end
@if matrix_form == 3
#define MJ_HOST_SIZE 16
#define MJ_HOST_DEPTH 32
#define MJ_HOST_AB_WORDS 4
#define MJ_HOST_SUMS 4
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 2) % 4)
#define MJ_HOST_A_LANE(i, k) (16 * MJ_FLOOR(k, 8) + i)
#define MJ_HOST_D_GPR(i, j) (i % 4)
#define MJ_HOST_D_LANE(i, j) (16 * MJ_FLOOR(i, 4) + j)
@end
@if matrix_form == 4
#define MJ_HOST_SIZE 32
#define MJ_HOST_DEPTH 16
#define MJ_HOST_AB_WORDS 4
#define MJ_HOST_SUMS 16
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 2) % 4)
#define MJ_HOST_A_LANE(i, k) (32 * MJ_FLOOR(k, 8) + i)
#define MJ_HOST_D_GPR(i, j) (4 * MJ_FLOOR(i, 8) + (i % 4))
#define MJ_HOST_D_LANE(i, j) ((32 * MJ_FLOOR(i, 4)) % 64 + j)
@end
@if matrix_form == 5
#define MJ_HOST_SIZE 16
#define MJ_HOST_DEPTH 32
#define MJ_HOST_AB_WORDS 2
#define MJ_HOST_SUMS 4
#define MJ_HOST_PER_WORD 4
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 4) % 2)
#define MJ_HOST_A_LANE(i, k) (16 * MJ_FLOOR(k, 8) + i)
#define MJ_HOST_D_GPR(i, j) (i % 4)
#define MJ_HOST_D_LANE(i, j) (16 * MJ_FLOOR(i, 4) + j)
@end
@if matrix_form == 6
#define MJ_HOST_SIZE 32
#define MJ_HOST_DEPTH 16
#define MJ_HOST_AB_WORDS 2
#define MJ_HOST_SUMS 16
#define MJ_HOST_PER_WORD 4
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 4) % 2)
#define MJ_HOST_A_LANE(i, k) (32 * MJ_FLOOR(k, 8) + i)
#define MJ_HOST_D_GPR(i, j) (4 * MJ_FLOOR(i, 8) + (i % 4))
#define MJ_HOST_D_LANE(i, j) ((32 * MJ_FLOOR(i, 4)) % 64 + j)
@end
@if matrix_form == 7
#define MJ_HOST_SIZE 16
#define MJ_HOST_DEPTH 16
#define MJ_HOST_AB_WORDS 8
#define MJ_HOST_SUMS 8
#define MJ_HOST_A_GPR(i, k) MJ_FLOOR(k, 2)
#define MJ_HOST_A_LANE(i, k) (i)
#define MJ_HOST_A_COPY_LANE(i, k) (i + 16)
#define MJ_HOST_D_GPR(i, j) MJ_FLOOR(i, 2)
#define MJ_HOST_D_LANE(i, j) (((16 * i) % 32) + j)
@end
@if matrix_form == 8
#define MJ_HOST_SIZE 16
#define MJ_HOST_DEPTH 16
#define MJ_HOST_AB_WORDS 4
#define MJ_HOST_SUMS 8
#define MJ_HOST_A_GPR(i, k) (2 * MJ_FLOOR(k, 8) + (MJ_FLOOR(k, 2) % 2))
#define MJ_HOST_A_LANE(i, k) (16 * (MJ_FLOOR(k, 4) % 2) + i)
#define MJ_HOST_D_GPR(i, j) (i % 8)
#define MJ_HOST_D_LANE(i, j) (16 * MJ_FLOOR(i, 8) + j)
@end
@if matrix_form == 9
#define MJ_HOST_SIZE 16
#define MJ_HOST_DEPTH 16
#define MJ_HOST_AB_WORDS 2
#define MJ_HOST_SUMS 8
#define MJ_HOST_PER_WORD 4
#define MJ_HOST_A_GPR(i, k) (MJ_FLOOR(k, 4) % 2)
#define MJ_HOST_A_LANE(i, k) (16 * MJ_FLOOR(k, 8) + i)
#define MJ_HOST_D_GPR(i, j) (i % 8)
#define MJ_HOST_D_LANE(i, j) (16 * MJ_FLOOR(i, 8) + j)
@end
#ifndef MJ_HOST_PER_WORD
#define MJ_HOST_PER_WORD 2
#endif

/* Element k of a register: it lies at bit (32 / MJ_HOST_PER_WORD) * (k % MJ_HOST_PER_WORD) in all of them. */
MJ_HOST_FN float mj_host_element(mj_u32 word, mj_i32 k)
{
@if input_format == bf16
    return mj_f32_from_bf16((mj_u16)(word >> (16 * (k % 2))));
@end
@if input_format == f16
    return mj_f32_from_f16((mj_u16)(word >> (16 * (k % 2))));
@end
@if input_format == e4m3
    mj_u32 code = word >> (8 * (k % 4)) & 255, exponent = code >> 3 & 15, mantissa = code & 7;
    float value = exponent ? mj_f32_from_u32((exponent + 120) << 23 | mantissa << 20) : (float)mantissa * 0x1p-9f;
    return (code & 127) == 127 ? NAN : code & 128 ? -value : value;
@end
@if input_format == e4m3fnuz
    mj_u32 code = word >> (8 * (k % 4)) & 255, exponent = code >> 3 & 15, mantissa = code & 7;
    float value = exponent ? mj_f32_from_u32((exponent + 119) << 23 | mantissa << 20) : (float)mantissa * 0x1p-10f;
    return code == 128 ? NAN : code & 128 ? -value : value;
@end
}

typedef struct mj_host_place { /* of a register of a lane in D */
    mj_u8 i, j;
} mj_host_place;

MJ_HOST_FN const mj_host_place *mj_host_places(mj_i32 lane)
{
    static _Thread_local mj_host_place places[MJ_WARP_SIZE][MJ_HOST_SUMS];
    static _Thread_local mj_i32 known;
    for (mj_i32 at = 0; !known && at < MJ_HOST_SIZE * MJ_HOST_SIZE; at++) {
        mj_i32 i = at / MJ_HOST_SIZE, j = at % MJ_HOST_SIZE;
        places[MJ_HOST_D_LANE(i, j)][MJ_HOST_D_GPR(i, j)] = (mj_host_place){(mj_u8)i, (mj_u8)j};
    }
    known = 1;
    return places[lane];
}

MJ_HOST_FN void mj_host_matrix(float *d, const mj_u32 *a, const mj_u32 *b)
{
    enum { PER_WORD = MJ_HOST_PER_WORD, OF_A = MJ_HOST_AB_WORDS * PER_WORD };
    mj_u32 values[2 * OF_A]; /* bits of floats: a lane decodes its own, once */
    for (mj_i32 i = 0; i < 2 * OF_A; i++) {
        values[i] = mj_u32_from_f32(mj_host_element(i < OF_A ? a[i / PER_WORD] : b[(i - OF_A) / PER_WORD], i % PER_WORD));
    }
    mj_u32(*all)[MJ_HOST_WORDS] = mj_host_exchange(MJ_HOST_MMA, values, 2 * OF_A);
    const mj_host_place *places = mj_host_places(mj_lane());
    for (mj_i32 r = 0; r < MJ_HOST_SUMS; r++) {
        mj_i32 i = places[r].i, j = places[r].j;
        float sum = 0.0f;
        for (mj_i32 k = 0; k < MJ_HOST_DEPTH; k++) {
            mj_i32 of_a = MJ_HOST_A_GPR(i, k) * PER_WORD + k % PER_WORD, of_b = OF_A + MJ_HOST_A_GPR(j, k) * PER_WORD + k % PER_WORD;
            mj_u32 x = all[MJ_HOST_A_LANE(i, k)][of_a], y = all[MJ_HOST_A_LANE(j, k)][of_b];
#ifdef MJ_HOST_A_COPY_LANE
            if (x != all[MJ_HOST_A_COPY_LANE(i, k)][of_a] || y != all[MJ_HOST_A_COPY_LANE(j, k)][of_b]) {
                mj_host_fault("the wavefront's halves hold different operands");
            }
#endif
            sum += mj_f32_from_u32(x) * mj_f32_from_u32(y);
        }
        d[r] += sum;
    }
}
#define MJ_HOST_MATRIX(name) \
    MJ_HOST_FN void name(float *d, const mj_u32 *a, const mj_u32 *b) { mj_host_matrix(d, a, b); }
@if matrix_form == 1
MJ_HOST_MATRIX(mj_mfma_16x16x16_@{input_format})
@end
@if matrix_form == 2
MJ_HOST_MATRIX(mj_mfma_32x32x8_@{input_format})
@end
@if matrix_form == 3
MJ_HOST_MATRIX(mj_mfma_16x16x32_@{input_format})
@end
@if matrix_form == 4
MJ_HOST_MATRIX(mj_mfma_32x32x16_@{input_format})
@end
@if matrix_form == 5
MJ_HOST_MATRIX(mj_mfma_16x16x32_@{input_format})
@end
@if matrix_form == 6
MJ_HOST_MATRIX(mj_mfma_32x32x16_@{input_format})
@end
@if matrix_form == 7
MJ_HOST_MATRIX(mj_wmma11_16x16x16_@{input_format})
@end
@if matrix_form == 8
MJ_HOST_MATRIX(mj_wmma12_16x16x16_@{input_format})
@end
@if matrix_form == 9
MJ_HOST_MATRIX(mj_wmma12_16x16x16_@{input_format})
@end
