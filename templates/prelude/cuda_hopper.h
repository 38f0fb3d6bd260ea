/* Primitives of Hopper (sm_90a) in inline PTX: copy engine, barriers in shared memory, wgmma. PTX ISA manual: "Asynchronous Data
 * Movement: cp.async.bulk.tensor", "Parallel Synchronization: mbarrier", "Asynchronous Warpgroup Level Matrix Instructions". */
typedef struct __align__(64) mj_tensor_map {
    mj_u64 opaque[16];
} mj_tensor_map;

#define MJ_ENTRY_CLUSTER(symbol, blocks) \
    extern "C" __global__ void __cluster_dims__(blocks, 1, 1) __launch_bounds__(MJ_BLOCK_THREADS, MJ_BLOCKS_PER_SM_MIN) \
        symbol(const __grid_constant__ mj_args A)

/* ---- Barriers in shared memory ---- */
MJ_FN void mj_mbar_init(mj_saddr bar, mj_i32 count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
MJ_FN void mj_mbar_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
MJ_FN void mj_mbar_expect(mj_saddr bar, mj_i32 bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
MJ_FN void mj_mbar_arrive(mj_saddr bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }
/* At the default scope: with .release.cluster every arrival waits for a barrier of the whole device (MEMBAR.ALL.GPU). What it orders are
 * reads by wgmma, which have been waited for. */
MJ_FN void mj_mbar_arrive_all(mj_saddr bar, mj_i32 rank)
{
    mj_u32 there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(bar), "r"(rank));
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(there) : "memory");
}
MJ_FN void mj_mbar_wait(mj_saddr bar, mj_i32 parity)
{
    asm volatile("{\n.reg .pred p;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
                 "@p bra done;\n"
                 "bra again;\n"
                 "done:\n}" ::"r"(bar), "r"(parity)
                 : "memory");
}
MJ_FN mj_i32 mj_mbar_test(mj_saddr bar, mj_i32 parity)
{
    mj_i32 over;
    asm volatile("{\n.reg .pred p;\n"
                 "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.s32 %0, 1, 0, p;\n}"
                 : "=r"(over)
                 : "r"(bar), "r"(parity)
                 : "memory");
    return over;
}
/* Does nothing, by a branch that the compiler must believe in. */
MJ_FN void mj_branch()
{
    if (mj_lane() == 0) {
        asm volatile("" ::: "memory");
    }
}
MJ_FN void mj_cp_async_mbar_arrive(mj_saddr bar)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(bar) : "memory");
}
MJ_FN void mj_fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#define mj_named_sync(id, threads) asm volatile("bar.sync %0, %1;" ::"n"(id), "n"(threads) : "memory")

/* ---- Copy engine ---- */
#define MJ_POLICY_NORMAL 0x1000000000000000ull
#define MJ_POLICY_EVICT_FIRST 0x12F0000000000000ull
#define MJ_POLICY_EVICT_LAST 0x14F0000000000000ull
MJ_FN void mj_tma_prefetch(const mj_tensor_map *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
MJ_FN void mj_tma_load(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_saddr bar, mj_u64 policy)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint "
                 "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to), "l"(map), "r"(element), "r"(row), "r"(bar), "l"(policy)
                 : "memory");
}
MJ_FN void mj_tma_load_5d(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_i32 third, mj_i32 fourth, mj_i32 fifth,
                          mj_saddr bar, mj_u64 policy)
{
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint "
                 "[%0], [%1, {%2, %3, %4, %5, %6}], [%7], %8;" ::"r"(to), "l"(map), "r"(element), "r"(row), "r"(third), "r"(fourth),
                 "r"(fifth), "r"(bar), "l"(policy)
                 : "memory");
}
MJ_FN mj_i32 mj_cluster_rank()
{
    mj_u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return (mj_i32)rank;
}
MJ_FN void mj_cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
MJ_FN void mj_tma_load_parts(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_i32 part_rows, mj_i32 part_bytes,
                             mj_i32 cluster, mj_saddr bar, mj_u64 policy)
{
    mj_i32 rank = mj_cluster_rank();
    mj_u16 all = (mj_u16)((1 << cluster) - 1);
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 ".L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5, %6;" ::"r"(to + rank * part_bytes),
                 "l"(map), "r"(element), "r"(row + rank * part_rows), "r"(bar), "h"(all), "l"(policy)
                 : "memory");
}
MJ_FN void mj_tma_load_parts_5d(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_i32 third, mj_i32 fourth,
                                mj_i32 fifth, mj_i32 part_fourths, mj_i32 part_bytes, mj_i32 cluster, mj_saddr bar, mj_u64 policy)
{
    mj_i32 rank = mj_cluster_rank();
    mj_u16 all = (mj_u16)((1 << cluster) - 1);
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
                 ".L2::cache_hint [%0], [%1, {%2, %3, %4, %5, %6}], [%7], %8, %9;" ::"r"(to + rank * part_bytes),
                 "l"(map), "r"(element), "r"(row), "r"(third), "r"(fourth + rank * part_fourths), "r"(fifth), "r"(bar), "h"(all),
                 "l"(policy)
                 : "memory");
}

MJ_FN void mj_tma_store(const mj_tensor_map *map, mj_saddr from, mj_i32 element, mj_i32 row)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(element),
                 "r"(row), "r"(from)
                 : "memory");
}
MJ_FN void mj_tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
#define mj_tma_store_wait_read(n) asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(n) : "memory")
#define mj_tma_store_wait(n) asm volatile("cp.async.bulk.wait_group %0;" ::"n"(n) : "memory")

/* ---- wgmma: K-major operands, swizzled rows ---- */
MJ_FN mj_u64 mj_wgmma_desc(mj_saddr at, mj_i32 swizzle_bytes)
{
    mj_u64 mode = swizzle_bytes == 128 ? 1 : swizzle_bytes == 64 ? 2 : 3;
    return (mj_u64)((at & 0x3ffffu) >> 4) | (mj_u64)1 << 16 | (mj_u64)(8 * swizzle_bytes >> 4) << 32 | mode << 62;
}
MJ_FN void mj_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
MJ_FN void mj_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
#define mj_wgmma_wait(n) asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory")
/* Keeps the compiler from moving accumulators while the matrix units may write them. */
MJ_FN void mj_fence_accumulators(float *d, mj_i32 count)
{
    MJ_UNROLL
    for (mj_i32 i = 0; i < count; i++) {
        asm volatile("" : "+f"(d[i])::"memory");
    }
}
@repeat h heights
MJ_FN void mj_wgmma_@{h}(float *d, mj_u64 a, mj_u64 b, mj_i32 accumulate)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %@{wgmma_p}, 0;\n"
@if wgmma_type == e4m3
                 "wgmma.mma_async.sync.aligned.m64n@{height[h]}k32.f32.e4m3.e4m3 {"
@else
                 "wgmma.mma_async.sync.aligned.m64n@{height[h]}k16.f32.@{wgmma_type}.@{wgmma_type} {"
@end
@repeat i height_last[h]
                 "%@{i}, "
@end
@if wgmma_type == e4m3
                 "%@{height_last[h]}}, %@{wgmma_a}, %@{wgmma_b}, p, 1, 1;\n}"
@else
                 "%@{height_last[h]}}, %@{wgmma_a}, %@{wgmma_b}, p, 1, 1, 0, 0;\n}"
@end
                 :
@repeat i wgmma_last
                 "+f"(d[@{i}]),
@end
                 "+f"(d[@{wgmma_last}])
                 : "l"(a), "l"(b), "r"(accumulate));
}
@end
/* As many columns as one of the heights. The registers of the others are operands too, so that all stay where they are. */
MJ_FN void mj_wgmma(float *d, mj_u64 a, mj_u64 b, mj_i32 columns, mj_i32 accumulate)
{
@repeat h heights
    if (columns == @{height[h]}) {
        mj_wgmma_@{h}(d, a, b, accumulate);
    }
@end
}
@if a_registers
MJ_FN void mj_wgmma_ra(float *d, const mj_u32 *a, mj_u64 b, mj_i32 accumulate)
{
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %@{wgmma_p}, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n@{wgmma_n}k16.f32.@{wgmma_type}.@{wgmma_type} {"
@repeat i wgmma_last
                 "%@{i}, "
@end
                 "%@{wgmma_last}}, {%@{wgmma_a}, %@{wgmma_a1}, %@{wgmma_a2}, %@{wgmma_a3}}, %@{wgmma_b}, p, 1, 1, 0;\n}"
                 :
@repeat i wgmma_last
                 "+f"(d[@{i}]),
@end
                 "+f"(d[@{wgmma_last}])
                 : "r"(a[0]), "l"(b), "r"(accumulate), "r"(a[1]), "r"(a[2]), "r"(a[3]));
}
/* Keeps the compiler from giving the registers of an operand to something else before a wait. */
MJ_FN void mj_fence_operand(mj_u32 *a, mj_i32 count)
{
    MJ_UNROLL
    for (mj_i32 i = 0; i < count; i++) {
        asm volatile("" : "+r"(a[i])::"memory");
    }
}
/* One instruction; two with constants that the compiler sees. */
MJ_FN mj_u32 mj_and_or(mj_u32 a, mj_u32 mask, mj_u32 bits)
{
    mj_u32 v;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(v) : "r"(a), "r"(mask), "r"(bits));
    return v;
}
MJ_FN mj_u32 mj_sub2(mj_u32 a, mj_u32 b)
{
    mj_u32 v;
    asm("sub.rn.@{wgmma_type}x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}
MJ_FN mj_u32 mj_mul2(mj_u32 a, mj_u32 b)
{
    mj_u32 v;
    asm("mul.rn.@{wgmma_type}x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}
@end
MJ_FN mj_i32 mj_warpgroup() { return (mj_i32)(threadIdx.x / 128); }
#define mj_regs_grow(n) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n))
#define mj_regs_shrink(n) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n))

/* ---- Shared memory ---- */
MJ_FN mj_i32 mj_elect()
{
    mj_i32 elected;
    asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.s32 %0, 1, 0, p;\n}" : "=r"(elected));
    return elected;
}
MJ_FN void mj_stmatrix_x4(mj_saddr to, mj_u32 r0, mj_u32 r1, mj_u32 r2, mj_u32 r3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(r0), "r"(r1), "r"(r2), "r"(r3)
                 : "memory");
}
MJ_FN void mj_stmatrix_x2_trans(mj_saddr to, mj_u32 r0, mj_u32 r1)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(to), "r"(r0), "r"(r1) : "memory");
}
MJ_FN void mj_stmatrix_x4_trans(mj_saddr to, mj_u32 r0, mj_u32 r1, mj_u32 r2, mj_u32 r3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(r0), "r"(r1), "r"(r2),
                 "r"(r3)
                 : "memory");
}
MJ_FN void mj_stmatrix_x2(mj_saddr to, mj_u32 r0, mj_u32 r1)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(to), "r"(r0), "r"(r1) : "memory");
}
MJ_FN void mj_st_shared_vec16(mj_saddr to, mj_vec16 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
MJ_FN mj_u32 mj_ld_shared_u32(mj_saddr from)
{
    mj_u32 v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(from) : "memory");
    return v;
}
MJ_FN void mj_st_shared_u32(mj_saddr to, mj_u32 v) { asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(v) : "memory"); }
MJ_FN mj_vec16 mj_ld_shared_vec16(mj_saddr from)
{
    mj_vec16 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(from) : "memory");
    return v;
}
MJ_FN float mj_ld_shared_f32(mj_saddr from)
{
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(from) : "memory");
    return v;
}
MJ_FN void mj_ld_shared_f32x2(float *v, mj_saddr from)
{
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v[0]), "=f"(v[1]) : "r"(from) : "memory");
}
MJ_FN void mj_st_shared_f32(mj_saddr to, float v) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(v) : "memory"); }
