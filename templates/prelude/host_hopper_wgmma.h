@// host_hopper_wgmma.h: part of host_hopper.h: descriptors, sums, products.
/* ---- wgmma ---- */
MJ_FN mj_i32 mj_warpgroup(void) { return mj_thread() / 128; }
MJ_HOST_FN mj_u64 mj_wgmma_desc(mj_saddr at, mj_i32 swizzle_bytes)
{
    mj_u64 mode = swizzle_bytes == 128 ? 1 : swizzle_bytes == 64 ? 2 : swizzle_bytes == 32 ? 3 : 0;
    if (mode == 0 || at % 16 != 0) {
        mj_hopper_fault("a descriptor of shared memory 0x%x with a swizzle of %d bytes", (unsigned)at, (int)swizzle_bytes);
    }
    return (mj_u64)(at >> 4 & 0x3fff) | (mj_u64)(8 * swizzle_bytes >> 4) << 32 | mode << 62;
}
MJ_FN void mj_fence_accumulators(float *d, mj_i32 count) { (void)d, (void)count; }
MJ_FN void mj_fence_operand(mj_u32 *a, mj_i32 count) { (void)a, (void)count; }
MJ_HOST_FN void mj_wgmma_fence(void) { mj_hopper_me()->ordered = mj_hopper_me()->ordered_group = 1; }
MJ_HOST_FN void mj_wgmma_commit(void)
{
    mj_hopper_lane *me = mj_hopper_me();
    me->commit_end[me->commits++ % MJ_HOPPER_COMMITS] = me->issued;
    me->ordered_group = 0;
}

typedef struct mj_hopper_operand { /* a decoded descriptor: rows of 32 bytes, K-major */
    mj_u32 start, swizzle, stride;
} mj_hopper_operand;

/* Bits 0-13 start >> 4, 16-29 leading offset (not used here), 32-45 stride of 8 rows >> 4, 49-51 base offset, 62-63 swizzle. */
MJ_HOST_FN mj_hopper_operand mj_hopper_decode(mj_u64 desc, mj_i32 rows)
{
    mj_u32 mode = (mj_u32)(desc >> 62), swizzle = mode ? 256u >> mode : 0;
    mj_hopper_operand o = {.start = (mj_u32)(desc & 0x3fff) << 4, .swizzle = swizzle, .stride = (mj_u32)(desc >> 32 & 0x3fff) << 4};
    if (mode == 0 || (desc & 0x3ffec000c000c000ull) != 0) {
        mj_hopper_fault("descriptor 0x%llx: no swizzle, or bits set that must be 0", (unsigned long long)desc);
    }
    if (o.start % (8 * swizzle) >= swizzle) {
        mj_hopper_fault("descriptor 0x%llx: rows do not start at a whole pattern of %u bytes", (unsigned long long)desc,
                        (unsigned)(8 * swizzle));
    }
    if (o.start % swizzle + 32 > swizzle) {
        mj_hopper_fault("descriptor 0x%llx: 32 bytes of K go beyond a row of %u bytes", (unsigned long long)desc, (unsigned)swizzle);
    }
    if (o.stride % (8 * swizzle) != 0) {
        mj_hopper_fault("descriptor 0x%llx: 8 rows have %u bytes, not a multiple of the pattern", (unsigned long long)desc,
                        (unsigned)o.stride);
    }
    if (o.start + (mj_u64)(rows / 8 - 1) * o.stride + 7 * swizzle + 32 > MJ_SMEM_BYTES) {
        mj_hopper_fault("descriptor 0x%llx: rows beyond the end of shared memory", (unsigned long long)desc);
    }
    return o;
}
MJ_FN mj_saddr mj_hopper_operand_at(const mj_hopper_operand *o, mj_i32 row, mj_i32 half)
{
    mj_u32 at = o->start + (mj_u32)(row / 8) * o->stride + (mj_u32)(row % 8) * o->swizzle + 16 * (mj_u32)half;
    return mj_hopper_swizzled(at, o->swizzle);
}

MJ_HOST_FN void mj_hopper_check_operand(mj_u64 desc, mj_i32 rows, mj_i32 group)
{
    mj_hopper_operand o = mj_hopper_decode(desc, rows);
    mj_u32 synced = UINT32_MAX;
    for (mj_i32 i = 128 * group; i < 128 * group + 128; i++) {
        mj_u32 mine = mj_hopper_state()->lanes[i].fence_synced;
        synced = mine < synced ? mine : synced;
    }
    for (mj_i32 row = 0; row < rows; row++) {
        mj_hopper_check_visible(mj_hopper_operand_at(&o, row, 0), synced, "wgmma");
        mj_hopper_check_visible(mj_hopper_operand_at(&o, row, 1), synced, "wgmma");
    }
}

/* PTX ISA, "Register Fragments for wgmma.mma_async", D: register i of lane l of warp w. */
MJ_FN mj_i32 mj_hopper_place(mj_i32 thread, mj_i32 i)
{
    mj_i32 row = 16 * (thread / 32) + thread % 32 / 4 + 8 * (i >> 1 & 1), column = 8 * (i >> 2) + 2 * (thread % 4) + (i & 1);
    return row * MJ_HOPPER_N + column;
}

/* The pending set of accumulators that the lane's d belongs to, or -1. */
MJ_HOST_FN mj_i32 mj_hopper_pending_set(const mj_hopper_group *g, mj_i32 thread, const float *d)
{
    for (mj_i32 i = 0; i < MJ_HOPPER_SETS; i++) {
        const float *at = g->sets[i].at[thread];
        if (at == d) {
            return i;
        }
        if (at && d < at + MJ_HOPPER_N / 2 && at < d + MJ_HOPPER_N / 2) {
            mj_hopper_fault("wgmma: the sums overlap those of a pending one");
        }
    }
    return -1;
}
MJ_HOST_FN mj_i32 mj_hopper_free_set(const mj_hopper_group *g)
{
    for (mj_i32 i = 0; i < MJ_HOPPER_SETS; i++) {
        if (g->sets[i].users == 0) {
            return i;
        }
    }
    mj_hopper_fault("wgmma: too many sums are pending");
    return 0;
}
MJ_HOST_FN void mj_hopper_take_sums(mj_hopper_set *set, mj_i32 thread, float *d, mj_i32 accumulate)
{
    const mj_u32 poison = MJ_HOPPER_POISON;
    if (!mj_hopper_me()->ordered) {
        mj_hopper_fault("wgmma: mj_wgmma_fence() is missing since its sums were last touched");
    }
    for (mj_i32 i = 0; i < MJ_HOPPER_N / 2; i++) {
        if (accumulate) {
            set->value[mj_hopper_place(thread, i)] = d[i];
        }
        memcpy(&d[i], &poison, sizeof(poison));
    }
    set->at[thread] = d;
    set->users++;
}
MJ_HOST_FN void mj_hopper_give_sums(mj_hopper_set *set, mj_i32 thread)
{
    float *d = set->at[thread];
    for (mj_i32 i = 0; i < MJ_HOPPER_N / 2; i++) {
        if (mj_u32_from_f32(d[i]) != MJ_HOPPER_POISON) {
            mj_hopper_fault("wgmma: sum %d was written before mj_wgmma_wait()", (int)i);
        }
        d[i] = set->value[mj_hopper_place(thread, i)];
    }
    set->at[thread] = NULL;
    set->users--;
    mj_hopper_me()->ordered = 0;
}

/* ---- A in registers ---- */
MJ_HOST_FN void mj_hopper_take_fragment(mj_hopper_group *g, mj_i32 thread, const mj_u32 *fragment)
{
    mj_hopper_lane *me = mj_hopper_me();
    mj_hopper_fragments *all = &g->fragments[me->issued % MJ_HOPPER_OPS];
    all->at[thread] = fragment;
    if (fragment) {
        if (!me->ordered_group) {
            mj_hopper_fault("wgmma: mj_wgmma_fence() is missing ahead of a group that has A in registers");
        }
        memcpy(all->value[thread], fragment, sizeof(all->value[thread]));
    }
}
/* What a wait covers has read its registers only now. */
MJ_HOST_FN void mj_hopper_check_fragments(const mj_hopper_group *g, mj_i32 thread, mj_u32 wanted)
{
    for (mj_hopper_lane *me = mj_hopper_me(); me->kept < wanted; me->kept++) {
        const mj_hopper_fragments *all = &g->fragments[me->kept % MJ_HOPPER_OPS];
        if (all->at[thread] && memcmp(all->at[thread], all->value[thread], sizeof(all->value[thread])) != 0) {
            mj_hopper_fault("wgmma: registers of A were written before mj_wgmma_wait()");
        }
    }
}

/* A in registers where `fragment` is not NULL. */
MJ_HOST_FN void mj_hopper_issue(float *d, mj_u64 a, const mj_u32 *fragment, mj_u64 b, mj_i32 columns, mj_i32 accumulate)
{
    mj_hopper_lane *me = mj_hopper_me();
    mj_i32 group = mj_warpgroup(), thread = mj_thread() % 128;
    mj_hopper_group *g = &mj_hopper_state()->groups[group];
    mj_hopper_op *op = &g->ops[me->issued % MJ_HOPPER_OPS];
    if (128 * group + 128 > MJ_BLOCK_THREADS || me->issued - g->executed >= MJ_HOPPER_OPS) {
        mj_hopper_fault("wgmma: not a whole warpgroup, or too many are pending");
    }
    mj_i32 pending = mj_hopper_pending_set(g, thread, d);
    if (me->issued == g->issued) { /* the first lane to come */
        g->issued++;
        *op = (mj_hopper_op){.a = a,
                             .b = b,
                             .in_registers = fragment != NULL,
                             .columns = columns,
                             .accumulate = accumulate != 0,
                             .set = pending < 0 ? mj_hopper_free_set(g) : pending};
    }
    if (op->a != a || op->b != b || op->columns != columns || op->accumulate != (accumulate != 0) ||
        op->in_registers != (fragment != NULL)) {
        mj_hopper_fault("wgmma: lanes of a warpgroup give different operands");
    }
    mj_hopper_set *set = &g->sets[op->set];
    if (pending >= 0 ? pending != op->set : set->at[thread] != NULL) {
        mj_hopper_fault("wgmma: lanes of a warpgroup give different sums");
    }
    if (pending < 0) {
        mj_hopper_take_sums(set, thread, d, op->accumulate);
    }
    mj_hopper_take_fragment(g, thread, fragment);
    set->last[thread] = ++me->issued;
    if (++op->lanes == 128) {
        op->time = mj_host->time;
        if (!fragment) {
            mj_hopper_check_operand(a, 64, group);
        }
        mj_hopper_check_operand(b, columns, group);
    }
}
MJ_FN void mj_wgmma(float *d, mj_u64 a, mj_u64 b, mj_i32 columns, mj_i32 accumulate)
{
    mj_i32 known = 0;
@repeat h heights
    known |= columns == @{height[h]};
@end
    if (!known) {
        mj_hopper_fault("wgmma: %d columns are none of the heights", (int)columns);
    }
    mj_hopper_issue(d, a, NULL, b, columns, accumulate);
}

MJ_FN float mj_hopper_decode_e4m3(mj_u32 v)
{
    mj_u32 exponent = v >> 3 & 15, mantissa = v & 7;
    float magnitude = exponent ? ldexpf(8.0f + (float)mantissa, (int)exponent - 10) : ldexpf((float)mantissa, -9);
    magnitude = exponent == 15 && mantissa == 7 ? NAN : magnitude;
    return v & 128 ? -magnitude : magnitude;
}
/* 32 bytes of a row -> MJ_HOPPER_K floats, `step` apart. */
MJ_HOST_FN void mj_hopper_load_row(const mj_hopper_operand *o, mj_i32 row, mj_u32 time, float *to, mj_i32 step)
{
    mj_u8 bytes[32];
    for (mj_i32 half = 0; half < 2; half++) {
        mj_saddr at = mj_hopper_operand_at(o, row, half);
        mj_hopper_check_kept(at, time, "wgmma");
        memcpy(bytes + 16 * half, mj_smem() + at, 16);
    }
    for (mj_i32 k = 0; k < MJ_HOPPER_K; k++) {
@if wgmma_type == e4m3
        to[k * step] = mj_hopper_state()->e4m3[bytes[k]];
@else
        to[k * step] = mj_f32_from_@{wgmma_type}((mj_u16)(bytes[2 * k] | bytes[2 * k + 1] << 8));
@end
    }
}

@if wgmma_type != e4m3
MJ_FN void mj_wgmma_ra(float *d, const mj_u32 *a, mj_u64 b, mj_i32 accumulate) { mj_hopper_issue(d, 0, a, b, MJ_HOPPER_N, accumulate); }

/* PTX ISA, "Register Fragments for wgmma.mma_async", A of .m64k16: register i of lane l of warp w has row 16 w + l/4, + 8 for odd i,
 * and columns 2 (l%4) and + 1, + 8 from i = 2 on. */
MJ_HOST_FN void mj_hopper_load_fragments(const mj_hopper_fragments *all, float (*to)[MJ_HOPPER_K])
{
    for (mj_i32 thread = 0; thread < 128; thread++) {
        for (mj_i32 i = 0; i < 8; i++) { /* halves of four registers */
            mj_i32 row = 16 * (thread / 32) + thread % 32 / 4 + 8 * (i / 2 % 2), column = 2 * (thread % 4) + i % 2 + 8 * (i / 4);
            to[row][column] = mj_f32_from_@{wgmma_type}((mj_u16)(all->value[thread][i / 2] >> 16 * (i % 2)));
        }
    }
}

MJ_FN mj_u32 mj_and_or(mj_u32 a, mj_u32 mask, mj_u32 bits) { return (a & mask) | bits; }
/* Products of two 8- or 11-bit mantissas and differences of such are exact in float where they are not too far apart: one rounding. */
MJ_HOST_FN mj_u32 mj_mul2(mj_u32 a, mj_u32 b)
{
    return mj_pack_@{wgmma_type}(mj_f32_from_@{wgmma_type}((mj_u16)a) * mj_f32_from_@{wgmma_type}((mj_u16)b),
                                 mj_f32_from_@{wgmma_type}((mj_u16)(a >> 16)) * mj_f32_from_@{wgmma_type}((mj_u16)(b >> 16)));
}
MJ_HOST_FN mj_u32 mj_sub2(mj_u32 a, mj_u32 b)
{
    return mj_pack_@{wgmma_type}(mj_f32_from_@{wgmma_type}((mj_u16)a) - mj_f32_from_@{wgmma_type}((mj_u16)b),
                                 mj_f32_from_@{wgmma_type}((mj_u16)(a >> 16)) - mj_f32_from_@{wgmma_type}((mj_u16)(b >> 16)));
}

@end
typedef float mj_hopper_f4 __attribute__((vector_size(16), aligned(4), may_alias));
#define MJ_HOPPER_ROWS4(X) X(0) X(1) X(2) X(3)
#define MJ_HOPPER_READ(i) mj_hopper_f4 x##i = *(mj_hopper_f4 *)(c + i * MJ_HOPPER_N), y##i = *(mj_hopper_f4 *)(c + i * MJ_HOPPER_N + 4);
#define MJ_HOPPER_STEP(i) x##i += s->a[row + i][k] * b0, y##i += s->a[row + i][k] * b1;
#define MJ_HOPPER_WRITE(i) *(mj_hopper_f4 *)(c + i * MJ_HOPPER_N) = x##i, *(mj_hopper_f4 *)(c + i * MJ_HOPPER_N + 4) = y##i;

MJ_HOST_FN void mj_hopper_execute(mj_hopper_group *g, const mj_hopper_op *op)
{
    mj_hopper *s = mj_hopper_state();
    float *sums = g->sets[op->set].value;
    mj_hopper_operand b = mj_hopper_decode(op->b, op->columns);
    if (!op->in_registers) {
        mj_hopper_operand a = mj_hopper_decode(op->a, 64);
        for (mj_i32 row = 0; row < 64; row++) {
            mj_hopper_load_row(&a, row, op->time, s->a[row], 1);
        }
    }
@if wgmma_type != e4m3
    if (op->in_registers) {
        mj_hopper_load_fragments(&g->fragments[g->executed % MJ_HOPPER_OPS], s->a);
    }
@end
    for (mj_i32 row = 0; row < op->columns; row++) {
        mj_hopper_load_row(&b, row, op->time, &s->b[0][row], MJ_HOPPER_N);
    }
    if (!op->accumulate) {
        memset(sums, 0, 64 * MJ_HOPPER_N * sizeof(*sums));
    }
    for (mj_i32 column = 0; column < op->columns; column += 8) { /* 4 rows x 8 columns at a time */
        for (mj_i32 row = 0; row < 64; row += 4) {
            float *c = sums + row * MJ_HOPPER_N + column;
            MJ_HOPPER_ROWS4(MJ_HOPPER_READ)
            for (mj_i32 k = 0; k < MJ_HOPPER_K; k++) {
                mj_hopper_f4 b0 = *(mj_hopper_f4 *)&s->b[k][column], b1 = *(mj_hopper_f4 *)&s->b[k][column + 4];
                MJ_HOPPER_ROWS4(MJ_HOPPER_STEP)
            }
            MJ_HOPPER_ROWS4(MJ_HOPPER_WRITE)
        }
    }
}

/* All lanes have issued what one of them waits for. */
MJ_FN mj_i32 mj_hopper_runnable(const mj_hopper_group *g)
{
    return g->demand > g->executed && g->ops[(g->demand - 1) % MJ_HOPPER_OPS].lanes == 128;
}
MJ_HOST_FN void mj_hopper_fire_group(mj_i32 group)
{
    mj_hopper *s = mj_hopper_state();
    mj_hopper_group *g = &s->groups[group];
    mj_host->lane = 128 * group;
    for (; g->executed < g->demand; g->executed++) {
        mj_hopper_execute(g, &g->ops[g->executed % MJ_HOPPER_OPS]);
    }
    for (mj_i32 i = 128 * group; i < 128 * group + 128; i++) {
        if (s->lanes[i].in == MJ_HOPPER_IN_WGMMA && s->lanes[i].value <= g->executed) {
            s->lanes[i].in = 0;
            mj_host_wake(i);
        }
    }
}
MJ_HOST_FN void mj_wgmma_wait(mj_i32 pending_max)
{
    mj_hopper_lane *me = mj_hopper_me();
    mj_hopper_group *g = &mj_hopper_state()->groups[mj_warpgroup()];
    if (pending_max < 0 || pending_max > 7) {
        mj_hopper_fault("mj_wgmma_wait(%d): 0 to 7 groups may stay pending", (int)pending_max);
    }
    if (me->commits <= (mj_u32)pending_max) {
        return;
    }
    mj_u32 wanted = me->commit_end[(me->commits - 1 - (mj_u32)pending_max) % MJ_HOPPER_COMMITS];
    if (g->executed < wanted) {
        g->demand = wanted > g->demand ? wanted : g->demand;
        mj_hopper_wait_in(MJ_HOPPER_IN_WGMMA, (mj_u32)mj_warpgroup(), wanted);
    }
    mj_hopper_check_fragments(g, mj_thread() % 128, wanted);
    for (mj_i32 i = 0; i < MJ_HOPPER_SETS; i++) {
        mj_i32 thread = mj_thread() % 128;
        if (g->sets[i].at[thread] && g->sets[i].last[thread] <= wanted) {
            mj_hopper_give_sums(&g->sets[i], thread);
        }
    }
}
