/* Prelude for AMD GPUs: the primitives of PRIMITIVES.md in HIP C++ and clang's AMDGPU builtins, without any header.
 *
 * A warp is AMD's wavefront: 64 lanes on CDNA, 32 on RDNA. Shared memory (LDS) is a static array, so that the code object says
 * how much a launch takes; mj_saddr is an offset into it. */
typedef int mj_i32;
typedef unsigned int mj_u32;
typedef long long mj_i64;
typedef unsigned long long mj_u64;
typedef unsigned short mj_u16;
typedef unsigned char mj_u8;
typedef mj_u32 mj_saddr;
typedef struct __attribute__((aligned(16), may_alias)) mj_vec16 {
    mj_u32 x, y, z, w;
} mj_vec16;
typedef mj_u16 __attribute__((may_alias)) mj_u16_alias;

#define MJ_FN static __attribute__((device)) __attribute__((always_inline)) inline
#define MJ_ENTRY_MORE /* a family's own attributes: hip_amd.h */
#define MJ_ENTRY(symbol) \
    extern "C" __attribute__((global)) __attribute__((amdgpu_flat_work_group_size(MJ_BLOCK_THREADS, MJ_BLOCK_THREADS))) \
        MJ_ENTRY_MORE void symbol(const mj_args A)
#define MJ_STATIC_ASSERT(condition, text) static_assert(condition, text)
#define MJ_UNROLL _Pragma("unroll")
#define MJ_NO_UNROLL _Pragma("clang loop unroll(disable)")

MJ_FN mj_i32 mj_thread() { return (mj_i32)__builtin_amdgcn_workitem_id_x(); }
MJ_FN mj_i32 mj_block() { return (mj_i32)__builtin_amdgcn_workgroup_id_x(); }
MJ_FN mj_i32 mj_grid() { return (mj_i32)(__builtin_amdgcn_grid_size_x() / MJ_BLOCK_THREADS); } /* counts threads */
MJ_FN mj_i32 mj_lane() { return mj_thread() % MJ_WARP_SIZE; }
MJ_FN mj_i32 mj_warp() { return __builtin_amdgcn_readfirstlane(mj_thread() / MJ_WARP_SIZE); }

MJ_FN void mj_block_sync()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
MJ_FN void mj_warp_sync()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
MJ_FN void mj_fence_device() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent"); }
MJ_FN void mj_follow_prior_grid() {}

#define MJ_LDS __attribute__((address_space(3)))
#if MJ_SMEM_BYTES > 0
MJ_FN MJ_LDS char *mj_lds()
{
    static __attribute__((shared)) __attribute__((aligned(128))) char mj_smem_block[MJ_SMEM_BYTES];
    return (MJ_LDS char *)mj_smem_block;
}
MJ_FN char *mj_smem() { return (char *)mj_lds(); }
MJ_FN mj_saddr mj_smem_addr(const void *p) { return (mj_saddr)((MJ_LDS const char *)p - mj_lds()); }
#endif

MJ_FN mj_i32 mj_shfl_i32(mj_i32 v, mj_i32 lane) { return __builtin_amdgcn_ds_bpermute((lane % MJ_WARP_SIZE) * 4, v); }
MJ_FN mj_i32 mj_shfl_up_i32(mj_i32 v, mj_i32 d)
{
    mj_i32 lane = mj_lane();
    return mj_shfl_i32(v, lane >= d ? lane - d : lane);
}
MJ_FN float mj_shfl_xor_f32(float v, mj_i32 mask)
{
    return __builtin_bit_cast(float, mj_shfl_i32(__builtin_bit_cast(mj_i32, v), mj_lane() ^ mask));
}
MJ_FN double mj_shfl_xor_f64(double v, mj_i32 mask)
{
    mj_u64 bits = __builtin_bit_cast(mj_u64, v);
    mj_u32 low = (mj_u32)mj_shfl_i32((mj_i32)bits, mj_lane() ^ mask);
    mj_u32 high = (mj_u32)mj_shfl_i32((mj_i32)(bits >> 32), mj_lane() ^ mask);
    return __builtin_bit_cast(double, (mj_u64)high << 32 | low);
}
#if MJ_WARP_SIZE > 32
typedef mj_u64 mj_mask;
#if __has_builtin(__builtin_amdgcn_ballot_w64)
MJ_FN mj_mask mj_ballot(mj_i32 predicate) { return __builtin_amdgcn_ballot_w64(predicate != 0); }
#else /* ROCm 5: 33 compares for unequal */
MJ_FN mj_mask mj_ballot(mj_i32 predicate) { return __builtin_amdgcn_uicmp((mj_u32)(predicate != 0), 0u, 33); }
#endif
MJ_FN mj_i32 mj_popc(mj_mask x) { return __builtin_popcountll(x); }
MJ_FN mj_i32 mj_ffs0(mj_mask x) { return __builtin_ctzll(x); }
#else
typedef mj_u32 mj_mask;
MJ_FN mj_mask mj_ballot(mj_i32 predicate) { return __builtin_amdgcn_ballot_w32(predicate != 0); }
MJ_FN mj_i32 mj_popc(mj_mask x) { return __builtin_popcount(x); }
MJ_FN mj_i32 mj_ffs0(mj_mask x) { return __builtin_ctz(x); }
#endif
MJ_FN mj_i32 mj_atomic_add_i32(mj_i32 *p, mj_i32 v)
{
    return __hip_atomic_fetch_add(p, v, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
}

MJ_FN mj_u32 mj_u32_from_f32(float v) { return __builtin_bit_cast(mj_u32, v); }
MJ_FN float mj_f32_from_u32(mj_u32 v) { return __builtin_bit_cast(float, v); }
MJ_FN float mj_f32_from_bf16(mj_u16 v) { return mj_f32_from_u32((mj_u32)v << 16); }
MJ_FN float mj_f32_from_f16(mj_u16 v) { return (float)__builtin_bit_cast(_Float16, v); }
MJ_FN mj_u32 mj_bf16_high(float v) /* rounded, in the upper half; the lower half is to be cut off */
{
    mj_u32 bits = mj_u32_from_f32(v), rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    return v != v ? bits | 0x400000u : rounded;
}
MJ_FN mj_u16 mj_bf16_from_f32(float v) { return (mj_u16)(mj_bf16_high(v) >> 16); }
MJ_FN mj_u16 mj_f16_from_f32(float v) { return __builtin_bit_cast(mj_u16, (_Float16)v); }
MJ_FN mj_u32 mj_pack_bf16(float lo, float hi) { return mj_bf16_high(lo) >> 16 | (mj_bf16_high(hi) & 0xffff0000u); }
MJ_FN mj_u32 mj_pack_f16(float lo, float hi) { return mj_f16_from_f32(lo) | (mj_u32)mj_f16_from_f32(hi) << 16; }
MJ_FN float mj_load_f32_bf16(const void *p, mj_i64 i) { return mj_f32_from_bf16(((const mj_u16_alias *)p)[i]); }
MJ_FN float mj_load_f32_f16(const void *p, mj_i64 i) { return mj_f32_from_f16(((const mj_u16_alias *)p)[i]); }
MJ_FN void mj_store_f32_bf16(void *p, mj_i64 i, float v) { ((mj_u16_alias *)p)[i] = mj_bf16_from_f32(v); }
MJ_FN void mj_store_f32_f16(void *p, mj_i64 i, float v) { ((mj_u16_alias *)p)[i] = mj_f16_from_f32(v); }

MJ_FN mj_vec16 mj_ld_vec16(const void *p) { return *(const mj_vec16 *)p; }
MJ_FN void mj_st_vec16(void *p, mj_vec16 v) { *(mj_vec16 *)p = v; }

MJ_FN float mj_exp(float x) { return expf(x); }
MJ_FN float mj_tanh(float x) { return tanhf(x); }
MJ_FN float mj_erf(float x) { return erff(x); }
MJ_FN float mj_sqrt(float x) { return sqrtf(x); }
MJ_FN float mj_fabs(float x) { return fabsf(x); }
MJ_FN float mj_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
MJ_FN float mj_fmin(float a, float b) { return fminf(a, b); }
MJ_FN float mj_fmax(float a, float b) { return fmaxf(a, b); }
MJ_FN mj_i32 mj_isnan(float x) { return x != x; }
