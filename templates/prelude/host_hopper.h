@// host_hopper.h: cuda_hopper.h's primitives on the host, from the PTX ISA manual: "mbarrier", "cp.async.bulk.tensor", "Asynchronous
@// Warpgroup Level Matrix Instructions" and "Proxies"; kernels state the same facts in their own words, so that a misreading shows.
/* ---- Hopper ----
 *
 *     mj_tma_load, mj_cp_async_mbar_arrive -> events -.
 *     mj_wgmma -> operations of the warpgroup --------+-> mj_hopper_work: one at a time, at random moments, the late ones only when
 *     mj_tma_store -> stores -------------------------'   somebody waits for them
 *
 * Late on purpose: a box lands at any moment before its barrier's phase ends (until then its place holds NaN); wgmma reads its
 * operands and writes its sums, and a store reads its source, when a wait asks for it (until then the sums are NaN).
 *
 * Every 16 bytes of shared memory know when they were last written and by which lane, so that these abort: an operand or a source
 * overwritten before the wait, two copies to one place, a read of what a copy still writes, and bytes that cp.async, mj_st_shared_*
 * or mj_stmatrix_* wrote and no mj_fence_async() gave to the copy engine or to wgmma. Such a fence counts if the lane that wrote has
 * called it afterwards, or if those that read have called it after a barrier that ended later than the write. Not seen: writes
 * through pointers from mj_smem(), and what a neighbour of a cluster does (each of its blocks runs alone). */
#include <stdarg.h>

typedef struct mj_tensor_map {
    mj_u64 opaque[16];
} __attribute__((aligned(64))) mj_tensor_map;
typedef struct mj_hopper_map { /* its contents: mj_host_tensor_map of runtime/cpu_entry.h */
    mj_u64 magic, address, rows;
    mj_u32 row_elements, element_bytes, box_rows, box_elements, swizzle_bytes, axis_count;
    struct {
        mj_u64 stride_rows;
        mj_u32 count, box;
    } axes[3]; /* of the third dimension and on */
} mj_hopper_map;
typedef struct mj_hopper_corner { /* where in the array a box begins */
    mj_i32 element, row, parts[3];
} mj_hopper_corner;

#define MJ_HOPPER_MAP_MAGIC 0x6d6a686f73746d70ull
#define MJ_HOPPER_BAR_MAGIC 0x6d6a6d6261720000ull
#define MJ_HOPPER_N @{wgmma_n}
@if wgmma_type == e4m3
#define MJ_HOPPER_K 32
@else
#define MJ_HOPPER_K 16
@end
#define MJ_HOPPER_GROUPS ((MJ_BLOCK_THREADS + 127) / 128)
#define MJ_POLICY_NORMAL 0x1000000000000000ull
#define MJ_POLICY_EVICT_FIRST 0x12F0000000000000ull
#define MJ_POLICY_EVICT_LAST 0x14F0000000000000ull
enum {
    MJ_HOPPER_BARS = 256, /* at most, of each */
    MJ_HOPPER_OPS = 256,
    MJ_HOPPER_SETS = 16,
    MJ_HOPPER_COMMITS = 64,
    MJ_HOPPER_NAMED = 16,
    MJ_HOPPER_TX_MAX = (1 << 20) - 1,
    MJ_HOPPER_POISON = 0x7fedbeef /* NaN */
};
enum { MJ_HOPPER_IN_BAR = 1, MJ_HOPPER_IN_NAMED, MJ_HOPPER_IN_WGMMA, MJ_HOPPER_IN_STORE }; /* what a lane waits in */

typedef struct mj_hopper_bar {
    mj_saddr at;
    mj_i32 count, pending, tx, fenced, owner;
    mj_i32 waiter;       /* the first, 1 + lane; 0: none */
    mj_u32 phase, time;  /* time: at the end of the phase before */
} mj_hopper_bar;

typedef struct mj_hopper_chunk { /* 16 bytes of shared memory */
    mj_u32 time;                 /* of the last write; 0: never */
    mj_u16 lane;                 /* that wrote */
    mj_u8 generic, in_flight;    /* in_flight: a bit for each of its words */
} mj_hopper_chunk;

typedef struct mj_hopper_event { /* a box under way, or a lane's copies under way that then arrive */
    mj_hopper_map map;
    mj_saddr to;
    mj_hopper_corner corner;
    mj_i32 is_box, bar, lane;
    mj_u32 phase, copies;
} mj_hopper_event;

typedef struct mj_hopper_store {
    mj_hopper_map map;
    mj_saddr from;
    mj_hopper_corner corner;
    mj_i32 lane, demand; /* 1: read the source, 2: write the array too */
    mj_u32 time, group;
    char *data; /* the box, once read */
} mj_hopper_store;

typedef struct mj_hopper_op { /* one wgmma */
    mj_u64 a, b;
    mj_i32 in_registers; /* A; else `a` describes it */
    mj_i32 columns, accumulate, set, lanes;
    mj_u32 time; /* when all lanes had issued it */
} mj_hopper_op;
typedef struct mj_hopper_set { /* accumulators in use: 64 x N, and where each lane keeps its part */
    mj_i32 users;
    float *at[128];
    mj_u32 last[128]; /* 1 + the lane's last operation on it */
    float *value;     /* 64 x N */
} mj_hopper_set;
typedef struct mj_hopper_fragments { /* A of an operation that has it in registers */
    const mj_u32 *at[128];
    mj_u32 value[128][4];
} mj_hopper_fragments;
typedef struct mj_hopper_group {
    mj_u32 issued, executed, demand;
    mj_hopper_op ops[MJ_HOPPER_OPS];
    mj_hopper_fragments fragments[MJ_HOPPER_OPS];
    mj_hopper_set sets[MJ_HOPPER_SETS];
} mj_hopper_group;

typedef struct mj_hopper_lane {
    mj_i32 in, next; /* next waiter, 1 + lane */
    mj_u32 at, value;
    mj_u32 fence_own, fence_synced; /* at the last mj_fence_async: now, and the last barrier passed */
    mj_u32 issued, commits, commit_end[MJ_HOPPER_COMMITS];
    mj_i32 ordered; /* mj_wgmma_fence since the accumulators were the lane's own */
    mj_i32 ordered_group; /* mj_wgmma_fence since the last commit */
    mj_u32 kept;          /* operations whose A was still there */
    mj_u32 store_commits;
    mj_i32 stores_missing;
} mj_hopper_lane;

typedef struct mj_hopper {
    mj_i32 bar_count, event_count, event_capacity, store_count, store_capacity, stores_demanded, elected, patience;
    mj_hopper_bar bars[MJ_HOPPER_BARS];
    mj_hopper_event *events;
    mj_hopper_store *stores;
    struct {
        mj_i32 threads, arrived;
    } named[MJ_HOPPER_NAMED];
    mj_hopper_lane lanes[MJ_BLOCK_THREADS];
    mj_hopper_chunk chunks[MJ_SMEM_BYTES / 16 + 1];
    mj_hopper_group groups[MJ_HOPPER_GROUPS];
    /* All above is zero at the start of a block. */
    float values[MJ_HOPPER_GROUPS][MJ_HOPPER_SETS][64 * MJ_HOPPER_N];
    float a[64][MJ_HOPPER_K], b[MJ_HOPPER_K][MJ_HOPPER_N];
    float e4m3[256];
} mj_hopper;
static _Thread_local mj_hopper *mj_hopper_kept; /* for its thread's next block */

MJ_FN mj_hopper *mj_hopper_state(void) { return (mj_hopper *)mj_host->chip; }
MJ_FN mj_hopper_lane *mj_hopper_me(void) { return &mj_hopper_state()->lanes[mj_host->lane]; }

MJ_HOST_FN __attribute__((format(printf, 1, 2))) void mj_hopper_fault(const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    mj_host_fault(text);
}

MJ_HOST_FN void mj_hopper_wait_in(mj_i32 in, mj_u32 at, mj_u32 value)
{
    mj_hopper_lane *me = mj_hopper_me();
    me->in = in;
    me->at = at;
    me->value = value;
    mj_host_yield(MJ_HOST_CHIP);
    me->in = 0;
}

MJ_HOST_FN void *mj_hopper_grow(void *array, mj_i32 count, mj_i32 *capacity, size_t bytes)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity ? 2 * *capacity : 64;
    array = realloc(array, (size_t)*capacity * bytes);
    if (!array) {
        mj_hopper_fault("out of memory");
    }
    return array;
}

/* ---- Shared memory, 16 bytes at a time ---- */
MJ_FN mj_hopper_chunk *mj_hopper_chunk_at(mj_saddr at) { return &mj_hopper_state()->chunks[at / 16]; }

MJ_FN mj_i32 mj_hopper_words(mj_saddr at, mj_u32 bytes) { return ((1 << (bytes + 3) / 4) - 1) << at % 16 / 4; } /* of a chunk */

MJ_HOST_FN void mj_hopper_mark(mj_saddr at, mj_i32 lane, mj_i32 generic, mj_i32 in_flight)
{
    *mj_hopper_chunk_at(at) = (mj_hopper_chunk){
        .time = ++mj_host->time, .lane = (mj_u16)lane, .generic = (mj_u8)generic, .in_flight = (mj_u8)in_flight};
}
MJ_HOST_FN void mj_hopper_copy_to(mj_saddr at, mj_i32 bytes)
{
    mj_i32 in_flight = mj_hopper_chunk_at(at)->in_flight, words = mj_hopper_words(at, (mj_u32)bytes);
    if (in_flight & words) {
        mj_hopper_fault("two copies are under way to shared memory 0x%x", (unsigned)at);
    }
    mj_hopper_mark(at, mj_host->lane, 0, in_flight | words);
}
MJ_HOST_FN void mj_hopper_copy_landed(mj_saddr at, mj_i32 bytes, mj_i32 lane)
{
    mj_hopper_mark(at, lane, 1, mj_hopper_chunk_at(at)->in_flight & ~mj_hopper_words(at, (mj_u32)bytes));
}
MJ_HOST_FN void *mj_hopper_read(mj_saddr at, mj_u32 bytes)
{
    void *p = mj_host_shared(at, bytes);
    if (mj_hopper_chunk_at(at)->in_flight & mj_hopper_words(at, bytes)) {
        mj_hopper_fault("reads shared memory 0x%x, which a copy is still writing", (unsigned)at);
    }
    return p;
}
MJ_HOST_FN void *mj_hopper_write(mj_saddr at, mj_u32 bytes)
{
    void *p = mj_host_shared(at, bytes);
    mj_i32 in_flight = mj_hopper_chunk_at(at)->in_flight;
    if (in_flight & mj_hopper_words(at, bytes)) {
        mj_hopper_fault("writes shared memory 0x%x, which a copy is still writing", (unsigned)at);
    }
    mj_hopper_mark(at, mj_host->lane, 1, in_flight);
    return p;
}
/* The copy engine or wgmma is about to read; `synced`: the least fence_synced of the lanes that read. */
MJ_HOST_FN void mj_hopper_check_visible(mj_saddr at, mj_u32 synced, const char *who)
{
    const mj_hopper_chunk *chunk = mj_hopper_chunk_at(at);
    if (chunk->in_flight) {
        mj_hopper_fault("%s reads shared memory 0x%x, which a copy is still writing", who, (unsigned)at);
    }
    if (chunk->generic && chunk->time > mj_hopper_state()->lanes[chunk->lane].fence_own && chunk->time > synced) {
        mj_hopper_fault("%s reads shared memory 0x%x, which thread %d wrote: mj_fence_async() is missing", who, (unsigned)at,
                        (int)chunk->lane);
    }
}
MJ_HOST_FN void mj_hopper_check_kept(mj_saddr at, mj_u32 time, const char *who)
{
    if (mj_hopper_chunk_at(at)->time > time) {
        mj_hopper_fault("shared memory 0x%x was overwritten before the wait of the %s that reads it", (unsigned)at, who);
    }
}
MJ_HOST_FN void mj_fence_async(void)
{
    mj_hopper_lane *me = mj_hopper_me();
    me->fence_own = mj_host->time;
    me->fence_synced = mj_host->lanes[mj_host->lane].synced;
}
MJ_FN mj_saddr mj_hopper_swizzled(mj_saddr at, mj_u32 swizzle_bytes) /* address bits 4.. are turned by bits 7.. */
{
    mj_u32 mask = swizzle_bytes == 128 ? 7 : swizzle_bytes == 64 ? 3 : swizzle_bytes == 32 ? 1 : 0;
    return at ^ ((at >> 7 & mask) << 4);
}

MJ_HOST_FN float mj_ld_shared_f32(mj_saddr at) { return *(float *)mj_hopper_read(at, 4); }
MJ_HOST_FN void mj_ld_shared_f32x2(float *v, mj_saddr at) { memcpy(v, mj_hopper_read(at, 8), 8); }
MJ_HOST_FN mj_u32 mj_ld_shared_u32(mj_saddr at) { return *(mj_u32_alias *)mj_hopper_read(at, 4); }
MJ_HOST_FN mj_vec16 mj_ld_shared_vec16(mj_saddr at) { return *(mj_vec16 *)mj_hopper_read(at, 16); }
MJ_HOST_FN void mj_st_shared_f32(mj_saddr at, float v) { *(mj_u32_alias *)mj_hopper_write(at, 4) = mj_u32_from_f32(v); }
MJ_HOST_FN void mj_st_shared_u32(mj_saddr at, mj_u32 v) { *(mj_u32_alias *)mj_hopper_write(at, 4) = v; }
MJ_HOST_FN void mj_st_shared_vec16(mj_saddr at, mj_vec16 v) { *(mj_vec16 *)mj_hopper_write(at, 16) = v; }

/* ---- Barriers in shared memory: a phase ends when no arrival and no byte is missing ---- */
MJ_HOST_FN mj_hopper_bar *mj_hopper_find_bar(mj_saddr at)
{
    mj_hopper *s = mj_hopper_state();
    mj_u64 word;
    memcpy(&word, mj_host_shared(at, 8), sizeof(word));
    mj_u64 index = word ^ MJ_HOPPER_BAR_MAGIC;
    if (index >= (mj_u64)s->bar_count || s->bars[index].at != at) {
        mj_hopper_fault("there is no barrier at shared memory 0x%x: not initialised, or overwritten", (unsigned)at);
    }
    return &s->bars[index];
}

MJ_HOST_FN void mj_mbar_init(mj_saddr at, mj_i32 count)
{
    mj_hopper *s = mj_hopper_state();
    void *p = mj_host_shared(at, 8);
    for (mj_i32 i = 0; i < s->bar_count; i++) {
        if (s->bars[i].at == at) {
            mj_hopper_fault("the barrier at shared memory 0x%x is initialised twice", (unsigned)at);
        }
    }
    if (count < 1 || count > MJ_HOPPER_TX_MAX || s->bar_count == MJ_HOPPER_BARS) {
        mj_hopper_fault("a barrier of %d arrivals, or too many barriers", (int)count);
    }
    mj_u64 word = MJ_HOPPER_BAR_MAGIC ^ (mj_u64)s->bar_count;
    memcpy(p, &word, sizeof(word));
    s->bars[s->bar_count++] = (mj_hopper_bar){.at = at, .count = count, .pending = count, .owner = mj_host->lane};
}
MJ_HOST_FN void mj_mbar_init_fence(void)
{
    mj_hopper *s = mj_hopper_state();
    for (mj_i32 i = 0; i < s->bar_count; i++) {
        s->bars[i].fenced |= s->bars[i].owner == mj_host->lane;
    }
}

MJ_HOST_FN void mj_hopper_end_phase(mj_hopper_bar *bar)
{
    mj_hopper *s = mj_hopper_state();
    if (bar->pending > 0 || bar->tx != 0) {
        return;
    }
    bar->phase++;
    bar->pending = bar->count;
    bar->time = mj_host->time;
    for (mj_i32 lane = bar->waiter; lane > 0; lane = s->lanes[lane - 1].next) {
        mj_host_wake(lane - 1);
    }
    bar->waiter = 0;
}
MJ_HOST_FN void mj_hopper_arrive(mj_hopper_bar *bar)
{
    if (bar->pending == 0) {
        mj_hopper_fault("barrier 0x%x: one arrival more than the %d of its phase (%d bytes missing)", (unsigned)bar->at,
                        (int)bar->count, (int)bar->tx);
    }
    bar->pending--;
    mj_hopper_end_phase(bar);
}
MJ_HOST_FN void mj_mbar_arrive(mj_saddr at) { mj_hopper_arrive(mj_hopper_find_bar(at)); }
MJ_HOST_FN void mj_mbar_arrive_all(mj_saddr at, mj_i32 rank)
{
    (void)rank; /* the neighbours' arrivals are made here, by this block's own lanes */
    mj_mbar_arrive(at);
}
MJ_HOST_FN void mj_mbar_expect(mj_saddr at, mj_i32 bytes)
{
    mj_hopper_bar *bar = mj_hopper_find_bar(at);
    if (bytes < 0 || bytes > MJ_HOPPER_TX_MAX || bar->tx + bytes > MJ_HOPPER_TX_MAX) {
        mj_hopper_fault("barrier 0x%x: %d more bytes expected than a barrier counts", (unsigned)at, (int)bytes);
    }
    bar->tx += bytes;
    mj_hopper_arrive(bar);
}
MJ_HOST_FN void mj_mbar_wait(mj_saddr at, mj_i32 parity)
{
    mj_hopper_bar *bar = mj_hopper_find_bar(at);
    mj_hopper_lane *me = mj_hopper_me();
    mj_host_lane *lane = &mj_host->lanes[mj_host->lane];
    if (parity != 0 && parity != 1) {
        mj_hopper_fault("barrier 0x%x: parity %d", (unsigned)at, (int)parity);
    }
    mj_u32 phase = bar->phase;
    if ((phase & 1) == (mj_u32)parity) {
        me->next = bar->waiter;
        bar->waiter = mj_host->lane + 1;
        mj_hopper_wait_in(MJ_HOPPER_IN_BAR, at, phase);
        if (bar->phase != phase + 1) {
            mj_hopper_fault("barrier 0x%x went on by %u phases while a thread waited for one", (unsigned)at,
                            (unsigned)(bar->phase - phase));
        }
    }
    lane->synced = bar->time > lane->synced ? bar->time : lane->synced;
}

MJ_HOST_FN void mj_branch(void) {}
MJ_HOST_FN mj_i32 mj_mbar_test(mj_saddr at, mj_i32 parity) { return (mj_hopper_find_bar(at)->phase & 1) != (mj_u32)parity; }

MJ_HOST_FN mj_hopper_event *mj_hopper_add_event(mj_hopper_bar *bar)
{
    mj_hopper *s = mj_hopper_state();
    s->events = mj_hopper_grow(s->events, s->event_count, &s->event_capacity, sizeof(*s->events));
    mj_hopper_event *event = &s->events[s->event_count++];
    memset(event, 0, sizeof(*event));
    event->bar = (mj_i32)(bar - s->bars);
    event->phase = bar->phase;
    event->lane = mj_host->lane;
    return event;
}
MJ_HOST_FN void mj_cp_async_mbar_arrive(mj_saddr at)
{
    const mj_host_lane *lane = &mj_host->lanes[mj_host->lane];
    mj_hopper_add_event(mj_hopper_find_bar(at))->copies = lane->copies_landed + (mj_u32)lane->copy_count;
}

MJ_HOST_FN void mj_named_sync(mj_i32 id, mj_i32 threads)
{
    mj_hopper *s = mj_hopper_state();
    if (id < 1 || id >= MJ_HOPPER_NAMED || threads < 32 || threads % 32 != 0 || threads > MJ_BLOCK_THREADS) {
        mj_hopper_fault("named barrier %d of %d threads", (int)id, (int)threads);
    }
    if (s->named[id].arrived > 0 && s->named[id].threads != threads) {
        mj_hopper_fault("named barrier %d: %d threads, others said %d", (int)id, (int)threads, (int)s->named[id].threads);
    }
    s->named[id].threads = threads;
    mj_hopper_me()->in = MJ_HOPPER_IN_NAMED;
    mj_hopper_me()->at = (mj_u32)id;
    if (++s->named[id].arrived == threads) {
        mj_i32 of_warp[MJ_HOST_WARPS] = {0};
        for (mj_i32 i = 0; i < MJ_BLOCK_THREADS; i++) {
            if (s->lanes[i].in == MJ_HOPPER_IN_NAMED && s->lanes[i].at == (mj_u32)id) {
                of_warp[i / MJ_WARP_SIZE]++;
                s->lanes[i].in = 0; /* a lane may be at the next barrier before the last of this one goes on */
                mj_host->lanes[i].synced = mj_host->time;
                mj_host_wake(i);
            }
        }
        for (mj_i32 i = 0; i < MJ_HOST_WARPS; i++) {
            if (of_warp[i] % MJ_WARP_SIZE != 0) {
                mj_hopper_fault("named barrier %d: only some lanes of warp %d are there", (int)id, (int)i);
            }
        }
        s->named[id].arrived = 0;
    }
    mj_host_yield(MJ_HOST_CHIP);
}

@include "templates/prelude/host_hopper_copy.h"

@include "templates/prelude/host_hopper_wgmma.h"

/* ---- The rest ---- */
enum { MJ_HOPPER_ELECT = MJ_HOST_CHIP + 1, MJ_HOPPER_STMATRIX };
MJ_HOST_FN mj_i32 mj_elect(void) /* any lane, but always the same */
{
    mj_host_warp_meet(MJ_HOPPER_ELECT);
    return mj_lane() == mj_hopper_state()->elected;
}
MJ_FN void mj_regs_grow(mj_i32 n) { (void)n; }
MJ_FN void mj_regs_shrink(mj_i32 n) { (void)n; }

/* Lane 8 i + r gives the address of row r of matrix i; a lane holds columns 2 (l % 4) and + 1 of row l / 4, or that transposed. */
MJ_HOST_FN void mj_hopper_stmatrix(mj_saddr to, const mj_u32 *r, mj_i32 count, mj_i32 transposed)
{
    mj_u32(*all)[MJ_HOST_WORDS] = mj_host_exchange(MJ_HOPPER_STMATRIX, &to, 1);
    mj_i32 lane = mj_lane();
    for (mj_i32 i = 0; i < 2 * count; i++) {
        mj_u16 half = (mj_u16)(r[i / 2] >> 16 * (i % 2));
        mj_i32 row = lane / 4, column = 2 * (lane % 4) + i % 2;
        mj_saddr at = all[8 * (i / 2) + (transposed ? column : row)][0];
        if (at % 16 != 0) {
            mj_hopper_fault("mj_stmatrix: row at shared memory 0x%x, not aligned to 16 bytes", (unsigned)at);
        }
        *(mj_u16_alias *)mj_hopper_write(at + 2 * (mj_saddr)(transposed ? row : column), 2) = half;
    }
}
#define MJ_HOPPER_STMATRIX_AS(suffix, transposed) \
    MJ_HOST_FN void mj_stmatrix_x4##suffix(mj_saddr to, mj_u32 r0, mj_u32 r1, mj_u32 r2, mj_u32 r3) \
    { \
        mj_u32 r[4] = {r0, r1, r2, r3}; \
        mj_hopper_stmatrix(to, r, 4, transposed); \
    } \
    MJ_HOST_FN void mj_stmatrix_x2##suffix(mj_saddr to, mj_u32 r0, mj_u32 r1) \
    { \
        mj_u32 r[2] = {r0, r1}; \
        mj_hopper_stmatrix(to, r, 2, transposed); \
    }
MJ_HOPPER_STMATRIX_AS(, 0)
MJ_HOPPER_STMATRIX_AS(_trans, 1)

static const mj_i32 mj_hopper_cluster __attribute__((unused)); /* blocks; 0: no clusters */
MJ_FN mj_i32 mj_cluster_rank(void) { return mj_hopper_cluster ? mj_block() % mj_hopper_cluster : 0; }
MJ_FN void mj_cluster_sync(void) { mj_block_sync(); }
MJ_FN void mj_wait_prior_grid(void) {}
MJ_FN void mj_launch_dependents(void) {}
#define MJ_ENTRY_CLUSTER(symbol, blocks) \
    static const mj_i32 mj_hopper_cluster = blocks; \
    MJ_ENTRY(symbol)

/* ---- Between two lanes ---- */
MJ_HOST_FN mj_i32 mj_hopper_work(mj_i32 idle)
{
    mj_hopper *s = mj_hopper_state();
    mj_i32 choices = s->event_count + s->stores_demanded;
    for (mj_i32 i = 0; i < MJ_HOPPER_GROUPS; i++) {
        choices += mj_hopper_runnable(&s->groups[i]);
    }
    if (choices == 0 || (!idle && (s->patience == 0 || mj_host_random((mj_u32)s->patience) != 0))) {
        return 0; /* patience 0: nothing happens before it must */
    }
    mj_i32 pick = (mj_i32)mj_host_random((mj_u32)choices);
    if (pick < s->event_count) {
        mj_hopper_fire_event(pick);
        return 1;
    }
    pick -= s->event_count;
    for (mj_i32 i = 0; i < s->store_count; i++) {
        if (s->stores[i].demand && pick-- == 0) {
            mj_hopper_fire_store(i);
            return 1;
        }
    }
    for (mj_i32 i = 0; i < MJ_HOPPER_GROUPS; i++) {
        if (mj_hopper_runnable(&s->groups[i]) && pick-- == 0) {
            mj_hopper_fire_group(i);
            return 1;
        }
    }
    return 0;
}

MJ_HOST_FN void mj_hopper_start(void)
{
    static const mj_i32 patience[] = {0, 2, 16};
    mj_hopper *s = mj_hopper_kept ? mj_hopper_kept : malloc(sizeof(*s));
    if (!s) {
        mj_hopper_fault("out of memory");
    }
    memset(s, 0, offsetof(mj_hopper, values));
    mj_host->chip = mj_hopper_kept = s;
    for (mj_i32 i = 0; i < MJ_HOPPER_GROUPS * MJ_HOPPER_SETS; i++) {
        s->groups[i / MJ_HOPPER_SETS].sets[i % MJ_HOPPER_SETS].value = s->values[i / MJ_HOPPER_SETS][i % MJ_HOPPER_SETS];
    }
    s->elected = (mj_i32)mj_host_random(32);
    s->patience = patience[mj_host_random(3)];
    for (mj_u32 i = 0; i < 256; i++) {
        s->e4m3[i] = mj_hopper_decode_e4m3(i);
    }
}

MJ_HOST_FN void mj_hopper_end(void)
{
    mj_hopper *s = mj_hopper_state();
    for (mj_i32 i = 0; i < s->event_count; i++) {
        if (s->events[i].is_box) {
            mj_hopper_fault("the block ended while boxes were under way to its shared memory");
        }
    }
    for (mj_i32 i = 0; i < s->bar_count; i++) {
        if (s->bars[i].tx != 0) {
            mj_hopper_fault("the block ended while barrier 0x%x expects %d bytes", (unsigned)s->bars[i].at, (int)s->bars[i].tx);
        }
    }
    for (mj_i32 i = 0; i < s->store_count; i++) {
        if (!s->stores[i].data) {
            mj_hopper_fault("the block ended before mj_tma_store_wait_read() covered its stores");
        }
        mj_hopper_write_array(&s->stores[i]);
    }
    for (mj_i32 i = 0; i < MJ_HOPPER_GROUPS * MJ_HOPPER_SETS; i++) {
        if (s->groups[i / MJ_HOPPER_SETS].sets[i % MJ_HOPPER_SETS].users > 0) {
            mj_hopper_fault("the block ended before mj_wgmma_wait() covered its wgmma");
        }
    }
    free(s->events);
    free(s->stores);
}

MJ_HOST_FN void mj_hopper_describe(mj_i32 lane, char *text, size_t bytes)
{
    mj_hopper *s = mj_hopper_state();
    const mj_hopper_lane *l = &s->lanes[lane];
    if (l->in == MJ_HOPPER_IN_BAR) {
        const mj_hopper_bar *bar = mj_hopper_find_bar(l->at);
        snprintf(text, bytes, "phase %u of barrier 0x%x (missing: %d of %d arrivals, %d bytes)", (unsigned)l->value, (unsigned)l->at,
                 (int)bar->pending, (int)bar->count, (int)bar->tx);
    } else if (l->in == MJ_HOPPER_IN_NAMED) {
        snprintf(text, bytes, "named barrier %u (%d of %d there)", (unsigned)l->at, (int)s->named[l->at].arrived,
                 (int)s->named[l->at].threads);
    } else if (l->in == MJ_HOPPER_IN_WGMMA) {
        snprintf(text, bytes, "wgmma that not all of its warpgroup issued");
    }
}

static const mj_host_chip mj_host_chip_part = {
    .start = mj_hopper_start,
    .work = mj_hopper_work,
    .end = mj_hopper_end,
    .copy_started = mj_hopper_copy_to,
    .copy_landed = mj_hopper_copy_landed,
    .describe = mj_hopper_describe,
};
