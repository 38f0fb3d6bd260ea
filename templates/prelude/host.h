/* Prelude for the host: the primitives of PRIMITIVES.md in C11 (GNU dialect), lane by lane.
 *
 * A block of one thread (the cpu arch) runs straight through. A block of more threads is emulated: one fiber per thread,
 * resumed in random order; barriers, shuffles and matrix instructions are the only switching points.
 *
 *     entry(block, args) -> mj_host_run -> { pick a ready lane at random, resume it until it waits or ends } until all ended
 *
 * What it models beyond values: shared memory starts as NaN; a cp.async lands only in the wait that covers its group; a barrier
 * that some lane never reaches, a warp whose lanes stand at different instructions, and a shared address out of range abort.
 */
#undef _FORTIFY_SOURCE /* its longjmp refuses to leave a stack */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <math.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef int32_t mj_i32;
typedef uint32_t mj_u32;
typedef int64_t mj_i64;
typedef uint64_t mj_u64;
typedef uint16_t mj_u16;
typedef uint8_t mj_u8;
typedef uint32_t mj_saddr; /* offset into the block's shared memory */
typedef struct mj_vec16 {
    mj_u32 x, y, z, w;
} __attribute__((aligned(16), may_alias)) mj_vec16;
typedef mj_u16 __attribute__((may_alias)) mj_u16_alias;
typedef mj_u32 __attribute__((may_alias)) mj_u32_alias;

/* The contract with the cpu backend: called once per block; smem has MJ_SMEM_BYTES, 128-byte aligned. */
typedef struct mj_host_block {
    int32_t block, grid;
    void *smem;
    uint64_t seed; /* of the lane order */
} mj_host_block;

#define MJ_FN static inline __attribute__((always_inline, unused))
#define MJ_HOST_FN static __attribute__((unused))
#define MJ_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#define MJ_UNROLL
#define MJ_NO_UNROLL

typedef struct mj_host_copy { /* one asynchronous copy in flight */
    mj_saddr to;
    mj_i32 bytes, from_bytes; /* written, read: the rest is zeros */
    const void *from;
} mj_host_copy;

#define MJ_HOST_COPIES_MAX 1024
#define MJ_HOST_GROUPS_MAX 16
typedef struct mj_host_lane {
    mj_i32 done, op;          /* op: what a waiting lane waits in */
    mj_u32 synced;            /* mj_host_state.time at the last barrier that this lane has passed */
    mj_i32 copy_count, group_count;
    mj_u32 copies_landed; /* of all so far */
    mj_i32 group_end[MJ_HOST_GROUPS_MAX];
} mj_host_lane;

enum { MJ_HOST_NONE, MJ_HOST_BLOCK_SYNC, MJ_HOST_WARP_SYNC, MJ_HOST_SHFL, MJ_HOST_BALLOT, MJ_HOST_LDMATRIX, MJ_HOST_MMA, MJ_HOST_CHIP };

/* What a chip's own part of the prelude (host_<primitives>.h) adds to the scheduler; without such a part nothing. */
typedef struct mj_host_chip {
    void (*start)(void);            /* of a block */
    mj_i32 (*work)(mj_i32 idle);    /* asynchronous work, between two lanes; idle: no lane can go on. Nonzero: something was done */
    void (*end)(void);              /* of a block */
    void (*copy_started)(mj_saddr, mj_i32 bytes); /* a cp.async */
    void (*copy_landed)(mj_saddr, mj_i32 bytes, mj_i32 lane);
    void (*describe)(mj_i32 lane, char *text, size_t bytes); /* what a lane in MJ_HOST_CHIP waits for */
} mj_host_chip;
static const mj_host_chip mj_host_chip_part __attribute__((unused));

#define MJ_HOST_WORDS 32 /* that a lane hands over in one instruction, at most */
#define MJ_HOST_WARPS ((MJ_BLOCK_THREADS + MJ_WARP_SIZE - 1) / MJ_WARP_SIZE)
typedef struct mj_host_state {
    const mj_host_block *block;
    const void *args;
    void (*lane_call)(const void *args);
    mj_i32 lane;
    mj_u64 random;
#if MJ_BLOCK_THREADS > 1
    jmp_buf scheduler;
    ucontext_t boot;
    void *chip;  /* state of the chip's part */
    mj_u32 time; /* counts what the chip's part writes to shared memory */
    mj_i32 ready_count, block_waiting, done_count;
    mj_i32 slow_warp; /* until the next barrier of the block */
    mj_i32 ready[MJ_BLOCK_THREADS];
    mj_i32 warp_waiting[MJ_HOST_WARPS];
    mj_i32 parity[MJ_BLOCK_THREADS]; /* which exchange buffer a lane's next warp operation uses */
    mj_u32 exchange[2][MJ_BLOCK_THREADS][MJ_HOST_WORDS];
    mj_host_lane lanes[MJ_BLOCK_THREADS];
#endif
} mj_host_state;

static _Thread_local mj_host_state *mj_host;

#if MJ_BLOCK_THREADS > 1
#define MJ_HOST_STACK_BYTES (128 * 1024)
/* The blocks of one thread share this, which takes longer to make than most blocks to run: the fibers too, each of which goes on
 * where it ended the block before. */
typedef struct mj_host_kept {
    mj_host_state state; /* zero at the start of a block */
    mj_i32 started[MJ_BLOCK_THREADS];
    jmp_buf contexts[MJ_BLOCK_THREADS];
    mj_host_copy copies[MJ_BLOCK_THREADS][MJ_HOST_COPIES_MAX]; /* in flight */
    char stacks[MJ_BLOCK_THREADS][MJ_HOST_STACK_BYTES];
} mj_host_kept;
static _Thread_local mj_host_kept *mj_host_kept_here; /* until its thread ends */
#endif

MJ_HOST_FN void mj_host_fault(const char *what)
{
    fprintf(stderr, "moejit host kernel: block %d thread %d: %s\n", (int)mj_host->block->block, (int)mj_host->lane, what);
    abort();
}

MJ_FN mj_i32 mj_thread(void) { return MJ_BLOCK_THREADS == 1 ? 0 : mj_host->lane; }
MJ_FN mj_i32 mj_block(void) { return mj_host->block->block; }
MJ_FN mj_i32 mj_grid(void) { return mj_host->block->grid; }
MJ_FN mj_i32 mj_lane(void) { return mj_thread() % MJ_WARP_SIZE; }
MJ_FN mj_i32 mj_warp(void) { return mj_thread() / MJ_WARP_SIZE; }
MJ_FN char *mj_smem(void) { return (char *)mj_host->block->smem; }
MJ_FN mj_saddr mj_smem_addr(const void *p) { return (mj_saddr)((const char *)p - mj_smem()); }
MJ_FN void *mj_host_shared(mj_saddr at, mj_u32 bytes)
{
    if ((mj_u64)at + bytes > MJ_SMEM_BYTES || at % bytes != 0) {
        mj_host_fault("shared memory address out of range or misaligned");
    }
    return mj_smem() + at;
}
#if MJ_WARP_SIZE > 32
typedef mj_u64 mj_mask;
#else
typedef mj_u32 mj_mask;
#endif
MJ_FN mj_i32 mj_popc(mj_mask x) { return __builtin_popcountll(x); }
MJ_FN mj_i32 mj_ffs0(mj_mask x) { return __builtin_ctzll(x); }
MJ_FN mj_i32 mj_atomic_add_i32(mj_i32 *p, mj_i32 v) { return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL); }
MJ_FN void mj_fence_device(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
MJ_FN void mj_follow_prior_grid(void) {}

#if MJ_BLOCK_THREADS == 1

MJ_STATIC_ASSERT(MJ_WARP_SIZE == 1, "a block of one thread is a warp of one lane");
MJ_FN void mj_block_sync(void) {}
MJ_FN void mj_warp_sync(void) {}
MJ_FN mj_i32 mj_shfl_i32(mj_i32 v, mj_i32 lane) { (void)lane; return v; }
MJ_FN mj_i32 mj_shfl_up_i32(mj_i32 v, mj_i32 d) { (void)d; return v; }
MJ_FN float mj_shfl_xor_f32(float v, mj_i32 mask) { (void)mask; return v; }
MJ_FN double mj_shfl_xor_f64(double v, mj_i32 mask) { (void)mask; return v; }
MJ_FN mj_mask mj_ballot(mj_i32 predicate) { return predicate != 0; }

MJ_HOST_FN void mj_host_run(const mj_host_block *block, const void *args, void (*lane_call)(const void *))
{
    mj_host_state state = {.block = block, .args = args};
    mj_host = &state;
    lane_call(args);
    mj_host = NULL;
}

#else /* ---- one fiber per lane ---- */

MJ_HOST_FN mj_u32 mj_host_random(mj_u32 below)
{
    mj_host->random = mj_host->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (mj_u32)(((mj_host->random >> 33) * below) >> 31);
}

MJ_FN void mj_host_wake(mj_i32 lane) { mj_host->ready[mj_host->ready_count++] = lane; }

/* Give the processor back until the scheduler resumes this lane. noinline: nothing of the caller may live in registers
 * that the jump does not save. */
MJ_HOST_FN __attribute__((noinline)) void mj_host_yield(mj_i32 op)
{
    mj_i32 lane = mj_host->lane;
    mj_host->lanes[lane].op = op;
    if (_setjmp(mj_host_kept_here->contexts[lane]) == 0) {
        _longjmp(mj_host->scheduler, 1);
    }
}

MJ_HOST_FN void mj_block_sync(void)
{
    mj_host_state *h = mj_host;
    if (h->done_count > 0) {
        mj_host_fault("block barrier after another thread has ended");
    }
    if (++h->block_waiting == MJ_BLOCK_THREADS) {
        h->block_waiting = 0;
        h->slow_warp = (mj_i32)mj_host_random(MJ_HOST_WARPS);
        for (mj_i32 i = 0; i < MJ_BLOCK_THREADS; i++) {
            h->lanes[i].synced = h->time;
            mj_host_wake(i);
        }
    }
    mj_host_yield(MJ_HOST_BLOCK_SYNC);
}

/* The warp's lanes meet in one instruction; the last to arrive makes all ready. */
MJ_HOST_FN void mj_host_warp_meet(mj_i32 op)
{
    mj_host_state *h = mj_host;
    mj_i32 warp = mj_warp(), first = warp * MJ_WARP_SIZE;
    h->lanes[h->lane].op = op;
    if (++h->warp_waiting[warp] == MJ_WARP_SIZE) {
        h->warp_waiting[warp] = 0;
        for (mj_i32 i = first; i < first + MJ_WARP_SIZE; i++) {
            if (h->lanes[i].op != op) {
                mj_host_fault("lanes of a warp stand at different instructions");
            }
            h->lanes[i].synced = h->time;
            mj_host_wake(i);
        }
    }
    mj_host_yield(op);
}
MJ_HOST_FN void mj_warp_sync(void) { mj_host_warp_meet(MJ_HOST_WARP_SYNC); }

/* Each lane hands `count` words over and may then read every other lane's. Two buffers by turns: a lane can be one
 * operation ahead of a slow reader, never two. */
MJ_HOST_FN mj_u32 (*mj_host_exchange(mj_i32 op, const mj_u32 *words, mj_i32 count))[MJ_HOST_WORDS]
{
    mj_host_state *h = mj_host;
    mj_i32 lane = h->lane, buffer = h->parity[lane];
    h->parity[lane] = 1 - buffer;
    memcpy(h->exchange[buffer][lane], words, (size_t)count * sizeof(*words));
    mj_host_warp_meet(op);
    return &h->exchange[buffer][mj_warp() * MJ_WARP_SIZE];
}
MJ_HOST_FN mj_u32 mj_host_shfl(mj_u32 v, mj_i32 lane)
{
    return mj_host_exchange(MJ_HOST_SHFL, &v, 1)[lane % MJ_WARP_SIZE][0];
}
MJ_HOST_FN mj_i32 mj_shfl_i32(mj_i32 v, mj_i32 lane) { return (mj_i32)mj_host_shfl((mj_u32)v, lane); }
MJ_HOST_FN mj_i32 mj_uniform(mj_i32 v)
{
    mj_u32 word = (mj_u32)v;
    mj_u32(*all)[MJ_HOST_WORDS] = mj_host_exchange(MJ_HOST_SHFL, &word, 1);
    if (all[0][0] != word) {
        mj_host_fault("a value that lanes do not share is taken for one of the whole warp");
    }
    return v;
}
MJ_HOST_FN mj_i32 mj_shfl_up_i32(mj_i32 v, mj_i32 d)
{
    mj_i32 lane = mj_lane();
    return (mj_i32)mj_host_shfl((mj_u32)v, lane >= d ? lane - d : lane);
}
MJ_HOST_FN float mj_shfl_xor_f32(float v, mj_i32 mask)
{
    mj_u32 bits;
    memcpy(&bits, &v, sizeof(bits));
    bits = mj_host_shfl(bits, mj_lane() ^ mask);
    memcpy(&v, &bits, sizeof(v));
    return v;
}
MJ_HOST_FN double mj_shfl_xor_f64(double v, mj_i32 mask)
{
    mj_u32 words[2];
    memcpy(words, &v, sizeof(v));
    memcpy(&v, mj_host_exchange(MJ_HOST_SHFL, words, 2)[(mj_lane() ^ mask) % MJ_WARP_SIZE], sizeof(v));
    return v;
}
MJ_HOST_FN mj_mask mj_ballot(mj_i32 predicate)
{
    mj_u32 bit = predicate != 0;
    mj_mask mask = 0;
    mj_u32(*all)[MJ_HOST_WORDS] = mj_host_exchange(MJ_HOST_BALLOT, &bit, 1);
    for (mj_i32 i = 0; i < MJ_WARP_SIZE; i++) {
        mask |= (mj_mask)all[i][0] << i;
    }
    return mask;
}

MJ_HOST_FN void mj_host_lane_start(void) /* one block after the other */
{
    for (;;) {
        mj_host->lane_call(mj_host->args);
        if (mj_host->block_waiting > 0) {
            mj_host_fault("ended while other threads wait at a block barrier");
        }
        mj_host->lanes[mj_host->lane].done = 1;
        mj_host->done_count++;
        mj_host_yield(MJ_HOST_NONE);
    }
}

MJ_HOST_FN __attribute__((noinline)) void mj_host_resume(mj_i32 index)
{
    mj_host_state *h = mj_host;
    mj_host_kept *kept = mj_host_kept_here;
    h->lane = index;
    if (_setjmp(h->scheduler) != 0) {
        return;
    }
    if (kept->started[index]) {
        _longjmp(kept->contexts[index], 1);
    }
    kept->started[index] = 1;
    getcontext(&h->boot);
    h->boot.uc_stack.ss_sp = kept->stacks[index];
    h->boot.uc_stack.ss_size = MJ_HOST_STACK_BYTES;
    h->boot.uc_link = NULL;
    makecontext(&h->boot, mj_host_lane_start, 0);
    setcontext(&h->boot);
}

/* Every thread that is left waits: says for what, threads in a row that wait for the same together. */
MJ_HOST_FN void mj_host_stuck(void)
{
    static const char *const names[] = {"", "the block's barrier", "its warp's barrier", "a shuffle", "a ballot", "ldmatrix", "mma"};
    mj_host_state *h = mj_host;
    char what[2][160] = {"", ""}, text[1200] = "threads wait for others that have ended or wait too: ";
    size_t length = strlen(text);
    for (mj_i32 first = 0, i = 0; i <= MJ_BLOCK_THREADS; i++) {
        what[i % 2][0] = 0;
        if (i < MJ_BLOCK_THREADS && !h->lanes[i].done) {
            mj_i32 op = h->lanes[i].op;
            snprintf(what[i % 2], sizeof(what[0]), "%s", op < MJ_HOST_CHIP ? names[op] : "its warp's others");
            if (op >= MJ_HOST_CHIP && mj_host_chip_part.describe) {
                mj_host_chip_part.describe(i, what[i % 2], sizeof(what[0]));
            }
        }
        if (i > 0 && strcmp(what[0], what[1]) != 0) {
            const char *before = what[1 - i % 2];
            if (before[0] && length < sizeof(text)) {
                length += (size_t)snprintf(text + length, sizeof(text) - length, "%d..%d for %s; ", (int)first, (int)i - 1, before);
            }
            first = i;
        }
    }
    mj_host_fault(text);
}

/* One lane goes on, or the chip does something by itself; 0: neither can. */
MJ_HOST_FN mj_i32 mj_host_step(void)
{
    mj_host_state *h = mj_host;
    if (h->done_count == MJ_BLOCK_THREADS) {
        return 0;
    }
    mj_i32 worked = mj_host_chip_part.work && mj_host_chip_part.work(h->ready_count == 0);
    if (h->ready_count == 0) {
        return worked;
    }
    mj_u32 pick = mj_host_random((mj_u32)h->ready_count);
    for (mj_i32 i = 0; !mj_host_chip_part.work && i < 3 && h->ready[pick] / MJ_WARP_SIZE == h->slow_warp; i++) {
        pick = mj_host_random((mj_u32)h->ready_count); /* others run ahead of it: a barrier that is missing shows */
    }
    mj_i32 lane = h->ready[pick];
    h->ready[pick] = h->ready[--h->ready_count];
    mj_host_resume(lane);
    return 1;
}

MJ_HOST_FN void mj_host_run(const mj_host_block *block, const void *args, void (*lane_call)(const void *))
{
    if (!mj_host_kept_here && !(mj_host_kept_here = calloc(1, sizeof(*mj_host_kept_here)))) {
        fprintf(stderr, "moejit host kernel: out of memory\n");
        abort();
    }
    mj_host_state *h = &mj_host_kept_here->state;
    memset(h, 0, sizeof(*h));
    h->block = block;
    h->args = args;
    h->lane_call = lane_call;
    h->random = block->seed * 2654435761u + (mj_u64)block->block;
    mj_host = h;
    memset(block->smem, 0xff, MJ_SMEM_BYTES);
    for (mj_i32 i = 0; i < MJ_BLOCK_THREADS; i++) {
        mj_host_wake(i);
    }
    if (mj_host_chip_part.start) {
        mj_host_chip_part.start();
    }
    while (mj_host_step()) {
    }
    if (h->done_count != MJ_BLOCK_THREADS) {
        mj_host_stuck();
    }
    if (mj_host_chip_part.end) {
        mj_host_chip_part.end();
    }
    mj_host = NULL;
}

/* ---- asynchronous copies ---- */
MJ_HOST_FN void mj_host_copy_async(mj_saddr to, mj_i32 bytes, const void *from, mj_i32 from_bytes)
{
    mj_host_lane *lane = &mj_host->lanes[mj_host->lane];
    if (lane->copy_count == MJ_HOST_COPIES_MAX || from_bytes < 0 || from_bytes > bytes) {
        mj_host_fault("too many asynchronous copies, or more bytes to read than to write");
    }
    if ((uintptr_t)from % (uintptr_t)bytes != 0) {
        mj_host_fault("asynchronous copy from a misaligned address");
    }
    memset(mj_host_shared(to, (mj_u32)bytes), 0xff, (size_t)bytes); /* undefined until it lands */
    if (mj_host_chip_part.copy_started) {
        mj_host_chip_part.copy_started(to, bytes);
    }
    mj_host_kept_here->copies[mj_host->lane][lane->copy_count++] =
        (mj_host_copy){.to = to, .bytes = bytes, .from_bytes = from_bytes, .from = from};
}
MJ_HOST_FN void mj_cp_async4(mj_saddr to, const void *from, mj_i32 from_bytes) { mj_host_copy_async(to, 4, from, from_bytes); }
MJ_HOST_FN void mj_cp_async16(mj_saddr to, const void *from, mj_i32 from_bytes) { mj_host_copy_async(to, 16, from, from_bytes); }
MJ_HOST_FN void mj_cp_async_commit(void)
{
    mj_host_lane *lane = &mj_host->lanes[mj_host->lane];
    if (lane->group_count == MJ_HOST_GROUPS_MAX) {
        mj_host_fault("too many asynchronous copy groups");
    }
    lane->group_end[lane->group_count++] = lane->copy_count;
}
/* The lane's first `count` copies in flight are done. */
MJ_HOST_FN void mj_host_land(mj_i32 lane_index, mj_i32 count)
{
    mj_host_lane *lane = &mj_host->lanes[lane_index];
    mj_host_copy *copies = mj_host_kept_here->copies[lane_index];
    for (mj_i32 i = 0; i < count; i++) {
        const mj_host_copy *copy = &copies[i];
        char *to = mj_host_shared(copy->to, (mj_u32)copy->bytes);
        memset(to, 0, (size_t)copy->bytes);
        memcpy(to, copy->from, (size_t)copy->from_bytes);
        if (mj_host_chip_part.copy_landed) {
            mj_host_chip_part.copy_landed(copy->to, copy->bytes, lane_index);
        }
    }
    memmove(copies, copies + count, (size_t)(lane->copy_count - count) * sizeof(*copies));
    lane->copy_count -= count;
    lane->copies_landed += (mj_u32)count;
    for (mj_i32 i = 0; i < lane->group_count; i++) {
        lane->group_end[i] = lane->group_end[i] > count ? lane->group_end[i] - count : 0;
    }
}
MJ_HOST_FN void mj_cp_async_wait(mj_i32 pending_max)
{
    mj_host_lane *lane = &mj_host->lanes[mj_host->lane];
    mj_i32 finish = lane->group_count - pending_max;
    if (finish <= 0) {
        return;
    }
    mj_host_land(mj_host->lane, lane->group_end[finish - 1]);
    memmove(lane->group_end, lane->group_end + finish, (size_t)(lane->group_count - finish) * sizeof(*lane->group_end));
    lane->group_count -= finish;
}

MJ_HOST_FN void mj_ldmatrix_x4(mj_u32 r[4], mj_saddr from)
{
    mj_u32(*all)[MJ_HOST_WORDS] = mj_host_exchange(MJ_HOST_LDMATRIX, &from, 1);
    mj_i32 lane = mj_lane();
    for (mj_i32 i = 0; i < 4; i++) {
        const char *row = mj_host_shared(all[8 * i + lane / 4][0], 16);
        memcpy(&r[i], row + 4 * (lane % 4), 4);
    }
}

#endif /* fibers */

/* ---- conversions ---- */
MJ_FN float mj_f32_from_u32(mj_u32 v)
{
    float r;
    memcpy(&r, &v, sizeof(r));
    return r;
}
MJ_FN mj_u32 mj_u32_from_f32(float v)
{
    mj_u32 r;
    memcpy(&r, &v, sizeof(r));
    return r;
}
MJ_FN float mj_f32_from_bf16(mj_u16 v) { return mj_f32_from_u32((mj_u32)v << 16); }
MJ_FN mj_u16 mj_bf16_from_f32(float v)
{
    mj_u32 bits = mj_u32_from_f32(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0x7fff;
    }
    return (mj_u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#if defined(__F16C__)
#include <immintrin.h>
MJ_FN float mj_f32_from_f16(mj_u16 v) { return _cvtsh_ss(v); }
MJ_FN mj_u16 mj_f16_from_f32(float v) { return _cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT); }
#else
MJ_FN float mj_f32_from_f16(mj_u16 v)
{
    mj_u32 sign = (mj_u32)(v & 0x8000u) << 16, exponent = (v >> 10) & 31u, mantissa = v & 0x3ffu;
    if (exponent == 31) {
        return mj_f32_from_u32(sign | 0x7f800000u | (mantissa << 13));
    }
    if (exponent == 0) {
        float tiny = (float)mantissa * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    return mj_f32_from_u32(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}
MJ_FN mj_u16 mj_f16_from_f32(float v)
{
    mj_u32 bits = mj_u32_from_f32(v), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (mj_u16)(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) {
        return (mj_u16)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* subnormal: the addition rounds to nearest even at 2^-24 */
        float shifted = mj_f32_from_u32(magnitude) + 0.5f;
        return (mj_u16)(sign | (mj_u32_from_f32(shifted) - 0x3f000000u));
    }
    return (mj_u16)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}
#endif
MJ_FN mj_u32 mj_pack_bf16(float lo, float hi) { return mj_bf16_from_f32(lo) | ((mj_u32)mj_bf16_from_f32(hi) << 16); }
MJ_FN mj_u32 mj_pack_f16(float lo, float hi) { return mj_f16_from_f32(lo) | ((mj_u32)mj_f16_from_f32(hi) << 16); }
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
MJ_FN float mj_fma(float a, float b, float c) { return fmaf(a, b, c); }
MJ_FN float mj_fmin(float a, float b) { return fminf(a, b); }
MJ_FN float mj_fmax(float a, float b) { return fmaxf(a, b); }
MJ_FN mj_i32 mj_isnan(float x) { return x != x; }

#if MJ_BLOCK_THREADS > 1
/* mma.m16n8k16, PTX ISA "Matrix Fragments for mma.m16n8k16 with floating point type". With g = lane/4, t = lane%4:
 *     a[0]: row g,   k 2t..2t+1     a[1]: row g+8, k 2t..2t+1     a[2]: row g, k 2t+8..     a[3]: row g+8, k 2t+8..
 *     b[0]: k 2t..2t+1, column g    b[1]: k 2t+8.., column g
 *     d[0..1]: row g, columns 2t, 2t+1      d[2..3]: row g+8 */
MJ_HOST_FN void mj_host_mma(float d[4], const mj_u32 a[4], const mj_u32 b[2], float (*decode)(mj_u16))
{
    mj_u32 values[12]; /* bits of floats: a lane decodes its own, once */
    for (mj_i32 i = 0; i < 12; i++) {
        mj_u32 word = i < 8 ? a[i / 2] : b[i / 2 - 4];
        values[i] = mj_u32_from_f32(decode((mj_u16)(word >> (16 * (i % 2)))));
    }
    mj_u32(*all)[MJ_HOST_WORDS] = mj_host_exchange(MJ_HOST_MMA, values, 12);
    mj_i32 lane = mj_lane(), g = lane / 4, t = lane % 4;
    for (mj_i32 i = 0; i < 4; i++) {
        mj_i32 half = i / 2, column = 2 * t + i % 2; /* row g + 8*half */
        float sum = 0.0f;
        for (mj_i32 k = 0; k < 16; k++) {
            mj_i32 owner = (k % 8) / 2, upper = k / 8, odd = k % 2;
            sum += mj_f32_from_u32(all[4 * g + owner][2 * (2 * upper + half) + odd]) *
                   mj_f32_from_u32(all[4 * column + owner][2 * (4 + upper) + odd]);
        }
        d[i] += sum;
    }
}
MJ_HOST_FN float mj_host_decode_bf16(mj_u16 v) { return mj_f32_from_bf16(v); }
MJ_HOST_FN float mj_host_decode_f16(mj_u16 v) { return mj_f32_from_f16(v); }
MJ_HOST_FN void mj_mma_m16n8k16_bf16(float d[4], const mj_u32 a[4], const mj_u32 b[2]) { mj_host_mma(d, a, b, mj_host_decode_bf16); }
MJ_HOST_FN void mj_mma_m16n8k16_f16(float d[4], const mj_u32 a[4], const mj_u32 b[2]) { mj_host_mma(d, a, b, mj_host_decode_f16); }
#endif

#define MJ_ENTRY(symbol) \
    static void symbol##_lane(const mj_args A); \
    static void symbol##_call(const void *args) \
    { \
        mj_args copy; \
        memcpy(&copy, args, sizeof(copy)); \
        symbol##_lane(copy); \
    } \
    __attribute__((visibility("default"))) void symbol(const mj_host_block *block, const void *args); \
    void symbol(const mj_host_block *block, const void *args) \
    { \
        mj_host_run(block, args, symbol##_call); \
    } \
    static void symbol##_lane(const mj_args A)
