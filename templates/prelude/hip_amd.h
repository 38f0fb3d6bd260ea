@// hip_amd.h: what kernels of the families mfma and wmma need beyond hip.h. Builtins: clang's BuiltinsAMDGPU.
/* ---- AMD: shared memory by address, and the matrix instruction of this kernel ---- */
#undef MJ_ENTRY_MORE
@if cu_mode
#define MJ_ENTRY_MORE __attribute__((amdgpu_waves_per_eu(@{waves_per_eu}), target("cumode")))
@else
#define MJ_ENTRY_MORE __attribute__((amdgpu_waves_per_eu(@{waves_per_eu})))
@end

typedef struct __attribute__((aligned(8), may_alias)) mj_vec8 {
    mj_u32 x, y;
} mj_vec8;

MJ_FN mj_i32 mj_uniform(mj_i32 v) { return __builtin_amdgcn_readfirstlane(v); }

/* Vectors, for structs know one address space only. */
#define MJ_VECTOR(type, count) type __attribute__((ext_vector_type(count)))
typedef MJ_VECTOR(mj_u32, 2) mj_words2;
typedef MJ_VECTOR(mj_u32, 4) mj_words4;
MJ_FN mj_vec16 mj_lds_ld16(mj_saddr at)
{
    mj_words4 v = *(MJ_LDS const mj_words4 *)(mj_lds() + at);
    mj_vec16 r = {v.x, v.y, v.z, v.w};
    return r;
}
MJ_FN mj_vec8 mj_lds_ld8(mj_saddr at)
{
    mj_words2 v = *(MJ_LDS const mj_words2 *)(mj_lds() + at);
    mj_vec8 r = {v.x, v.y};
    return r;
}
MJ_FN void mj_lds_st16(mj_saddr at, mj_vec16 v)
{
    mj_words4 words = {v.x, v.y, v.z, v.w};
    *(MJ_LDS mj_words4 *)(mj_lds() + at) = words;
}
MJ_FN void mj_lds_st8(mj_saddr at, mj_vec8 v)
{
    mj_words2 words = {v.x, v.y};
    *(MJ_LDS mj_words2 *)(mj_lds() + at) = words;
}
MJ_FN void mj_st_vec8(void *p, mj_vec8 v) { *(mj_vec8 *)p = v; }

MJ_FN void mj_schedule_fence() { __builtin_amdgcn_sched_barrier(0); } /* the compiler moves nothing across */

/* A barrier that waits for shared memory only: loads from memory stay in flight. */
MJ_FN void mj_lds_sync()
{
#if __clang_major__ >= 20
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup", "local");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup", "local");
#else
    mj_block_sync();
#endif
}

@if direct_lds
#if !__has_builtin(__builtin_amdgcn_global_load_lds)
#error "direct_lds: this compiler has no loads past the registers; that of ROCm 6.4 has them"
#endif
/* @{load_bytes} bytes per lane from memory to shared memory, to `to` + @{load_bytes} * lane; `to` is the wavefront's. */
MJ_FN void mj_lds_load(mj_saddr to, const void *from)
{
    __builtin_amdgcn_global_load_lds((const __attribute__((address_space(1))) void *)from, (MJ_LDS void *)(mj_lds() + to),
                                     @{load_bytes}, 0, 0);
}
MJ_FN void mj_lds_load_wait()
{
    __builtin_amdgcn_s_waitcnt(0x0f70); /* gfx9: no load under way; other counters as they are */
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
@end

#define MJ_HIP_MATRIX(name, fragment_type, sum_count, call) \
    MJ_FN void name(float *d, const mj_u32 *a, const mj_u32 *b) \
    { \
        typedef MJ_VECTOR(float, sum_count) mj_sums; \
        typedef fragment_type mj_fragment; \
        mj_fragment x, y; \
        mj_sums c; \
        __builtin_memcpy(&x, a, sizeof(x)); \
        __builtin_memcpy(&y, b, sizeof(y)); \
        __builtin_memcpy(&c, d, sizeof(c)); \
        c = call; \
        __builtin_memcpy(d, &c, sizeof(c)); \
    }
@if matrix_form == 1
MJ_HIP_MATRIX(mj_mfma_16x16x16_bf16, MJ_VECTOR(short, 4), 4, __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(x, y, c, 0, 0, 0))
MJ_HIP_MATRIX(mj_mfma_16x16x16_f16, MJ_VECTOR(_Float16, 4), 4, __builtin_amdgcn_mfma_f32_16x16x16f16(x, y, c, 0, 0, 0))
@end
@if matrix_form == 2
MJ_HIP_MATRIX(mj_mfma_32x32x8_bf16, MJ_VECTOR(short, 4), 16, __builtin_amdgcn_mfma_f32_32x32x8bf16_1k(x, y, c, 0, 0, 0))
MJ_HIP_MATRIX(mj_mfma_32x32x8_f16, MJ_VECTOR(_Float16, 4), 16, __builtin_amdgcn_mfma_f32_32x32x8f16(x, y, c, 0, 0, 0))
@end
@if matrix_form == 3
MJ_HIP_MATRIX(mj_mfma_16x16x32_bf16, MJ_VECTOR(__bf16, 8), 4, __builtin_amdgcn_mfma_f32_16x16x32_bf16(x, y, c, 0, 0, 0))
MJ_HIP_MATRIX(mj_mfma_16x16x32_f16, MJ_VECTOR(_Float16, 8), 4, __builtin_amdgcn_mfma_f32_16x16x32_f16(x, y, c, 0, 0, 0))
@end
@if matrix_form == 4
MJ_HIP_MATRIX(mj_mfma_32x32x16_bf16, MJ_VECTOR(__bf16, 8), 16, __builtin_amdgcn_mfma_f32_32x32x16_bf16(x, y, c, 0, 0, 0))
MJ_HIP_MATRIX(mj_mfma_32x32x16_f16, MJ_VECTOR(_Float16, 8), 16, __builtin_amdgcn_mfma_f32_32x32x16_f16(x, y, c, 0, 0, 0))
@end
@if matrix_form == 5
MJ_HIP_MATRIX(mj_mfma_16x16x32_@{input_format}, long, 4, __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(x, y, c, 0, 0, 0))
@end
@if matrix_form == 6
MJ_HIP_MATRIX(mj_mfma_32x32x16_@{input_format}, long, 16, __builtin_amdgcn_mfma_f32_32x32x16_fp8_fp8(x, y, c, 0, 0, 0))
@end
@if matrix_form == 7
MJ_HIP_MATRIX(mj_wmma11_16x16x16_bf16, MJ_VECTOR(short, 16), 8, __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(x, y, c))
MJ_HIP_MATRIX(mj_wmma11_16x16x16_f16, MJ_VECTOR(_Float16, 16), 8, __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(x, y, c))
@end
@if matrix_form == 8
MJ_HIP_MATRIX(mj_wmma12_16x16x16_bf16, MJ_VECTOR(__bf16, 8), 8, __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12(x, y, c))
MJ_HIP_MATRIX(mj_wmma12_16x16x16_f16, MJ_VECTOR(_Float16, 8), 8, __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(x, y, c))
@end
@if matrix_form == 9
MJ_HIP_MATRIX(mj_wmma12_16x16x16_@{input_format}, MJ_VECTOR(int, 2), 8, __builtin_amdgcn_wmma_f32_16x16x16_fp8_fp8_w32_gfx12(x, y, c))
@end
