/* Prelude for NVIDIA GPUs: the primitives of PRIMITIVES.md in CUDA C++ and inline PTX, without any header.
 * PTX forms: PTX ISA manual, "Data Movement and Conversion Instructions" and "Warp Level Matrix Instructions". */
#pragma nv_diag_suppress 177 /* a kernel uses some of the functions below, not all */
typedef int mj_i32;
typedef unsigned int mj_u32;
typedef long long mj_i64;
typedef unsigned long long mj_u64;
typedef unsigned short mj_u16;
typedef unsigned char mj_u8;
typedef mj_u32 mj_saddr;
typedef mj_u32 mj_mask; /* one bit per lane */
typedef struct __align__(16) mj_vec16 {
    mj_u32 x, y, z, w;
} mj_vec16;

#define MJ_FN static __device__ __forceinline__
#define MJ_ENTRY(symbol) \
    extern "C" __global__ void __launch_bounds__(MJ_BLOCK_THREADS, MJ_BLOCKS_PER_SM_MIN) \
        symbol(const __grid_constant__ mj_args A)
#define MJ_STATIC_ASSERT(condition, text) static_assert(condition, text)
#define MJ_UNROLL _Pragma("unroll")
#define MJ_NO_UNROLL _Pragma("unroll 1")

MJ_FN mj_i32 mj_thread() { return (mj_i32)threadIdx.x; }
MJ_FN mj_i32 mj_block() { return (mj_i32)blockIdx.x; }
MJ_FN mj_i32 mj_grid() { return (mj_i32)gridDim.x; }
MJ_FN mj_i32 mj_lane() { return (mj_i32)(threadIdx.x % MJ_WARP_SIZE); }
MJ_FN mj_i32 mj_warp() { return (mj_i32)(threadIdx.x / MJ_WARP_SIZE); }
MJ_FN void mj_block_sync() { __syncthreads(); }
MJ_FN void mj_warp_sync() { __syncwarp(); }
MJ_FN void mj_fence_device() { __threadfence(); }
#if __CUDA_ARCH__ >= 900
MJ_FN void mj_wait_prior_grid() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
MJ_FN void mj_launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }
MJ_FN void mj_follow_prior_grid()
{
    mj_wait_prior_grid();
    mj_launch_dependents();
}
#else
MJ_FN void mj_follow_prior_grid() {}
#endif

MJ_FN char *mj_smem()
{
    extern __shared__ __align__(1024) char mj_smem_block[];
    return mj_smem_block;
}
MJ_FN mj_saddr mj_smem_addr(const void *p) { return (mj_saddr)__cvta_generic_to_shared(p); }

MJ_FN mj_i32 mj_shfl_i32(mj_i32 v, mj_i32 lane) { return __shfl_sync(0xffffffffu, v, lane); }
MJ_FN mj_i32 mj_uniform(mj_i32 v) { return __shfl_sync(0xffffffffu, v, 0); }
MJ_FN mj_i32 mj_shfl_up_i32(mj_i32 v, mj_i32 d) { return __shfl_up_sync(0xffffffffu, v, d); }
MJ_FN float mj_shfl_xor_f32(float v, mj_i32 mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
MJ_FN double mj_shfl_xor_f64(double v, mj_i32 mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
MJ_FN mj_mask mj_ballot(mj_i32 predicate) { return __ballot_sync(0xffffffffu, predicate); }
MJ_FN mj_i32 mj_popc(mj_mask x) { return __popc(x); }
MJ_FN mj_i32 mj_ffs0(mj_mask x) { return __ffs((mj_i32)x) - 1; }
MJ_FN mj_i32 mj_atomic_add_i32(mj_i32 *p, mj_i32 v) { return atomicAdd(p, v); }

/* .L2::128B: a row's next sectors are wanted next by this very kernel. */
MJ_FN void mj_cp_async16(mj_saddr to, const void *from, mj_i32 from_bytes)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(from_bytes));
}
MJ_FN void mj_cp_async4(mj_saddr to, const void *from, mj_i32 from_bytes)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(from_bytes));
}
MJ_FN void mj_cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
#define mj_cp_async_wait(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

MJ_FN void mj_ldmatrix_x4(mj_u32 r[4], mj_saddr from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}
#define MJ_CUDA_MMA(name, type) \
    MJ_FN void name(float d[4], const mj_u32 a[4], const mj_u32 b[2]) \
    { \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, " \
                     "{%8, %9}, {%0, %1, %2, %3};" \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])); \
    }
MJ_CUDA_MMA(mj_mma_m16n8k16_bf16, "bf16")
MJ_CUDA_MMA(mj_mma_m16n8k16_f16, "f16")

MJ_FN float mj_f32_from_bf16(mj_u16 v) { return __uint_as_float((mj_u32)v << 16); }
MJ_FN float mj_f32_from_f16(mj_u16 v)
{
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v));
    return r;
}
MJ_FN mj_u32 mj_pack_bf16(float lo, float hi)
{
    mj_u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
MJ_FN mj_u32 mj_pack_f16(float lo, float hi)
{
    mj_u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}
#if __CUDA_ARCH__ >= 890
#define MJ_HAS_CVT_E4M3 /* float8.tmpl; older chips convert in integers */
MJ_FN mj_u32 mj_cvt_e4m3x4(const float v[4])
{
    mj_u32 r; /* put together in PTX: from C it takes three instructions */
    asm("{.reg .b16 lo, hi;\n\t"
        "cvt.rn.satfinite.e4m3x2.f32 lo, %2, %1;\n\t"
        "cvt.rn.satfinite.e4m3x2.f32 hi, %4, %3;\n\t"
        "mov.b32 %0, {lo, hi};}"
        : "=r"(r)
        : "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]));
    return r;
}
#endif
MJ_FN float mj_load_f32_bf16(const void *p, mj_i64 i) { return mj_f32_from_bf16(((const mj_u16 *)p)[i]); }
MJ_FN float mj_load_f32_f16(const void *p, mj_i64 i) { return mj_f32_from_f16(((const mj_u16 *)p)[i]); }
MJ_FN void mj_store_f32_bf16(void *p, mj_i64 i, float v) { ((mj_u16 *)p)[i] = (mj_u16)mj_pack_bf16(v, 0.0f); }
MJ_FN void mj_store_f32_f16(void *p, mj_i64 i, float v) { ((mj_u16 *)p)[i] = (mj_u16)mj_pack_f16(v, 0.0f); }

MJ_FN mj_vec16 mj_ld_vec16(const void *p) { return *(const mj_vec16 *)p; }
MJ_FN void mj_st_vec16(void *p, mj_vec16 v) { *(mj_vec16 *)p = v; }
MJ_FN mj_u32 mj_u32_from_f32(float v) { return __float_as_uint(v); }
MJ_FN float mj_f32_from_u32(mj_u32 v) { return __uint_as_float(v); }

MJ_FN float mj_exp(float x) { return expf(x); }
MJ_FN float mj_tanh(float x) { return tanhf(x); }
MJ_FN float mj_erf(float x) { return erff(x); }
MJ_FN float mj_sqrt(float x) { return sqrtf(x); }
MJ_FN float mj_fabs(float x) { return fabsf(x); }
MJ_FN float mj_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
MJ_FN float mj_fmin(float a, float b) { return fminf(a, b); }
MJ_FN float mj_fmax(float a, float b) { return fmaxf(a, b); }
MJ_FN mj_i32 mj_isnan(float x) { return x != x; }
