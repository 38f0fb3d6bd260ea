@// host_hopper_copy.h: part of host_hopper.h: boxes between arrays and shared memory.
/* ---- Copy engine ---- */
MJ_HOST_FN mj_i32 mj_hopper_box_bytes(const mj_hopper_map *m)
{
    mj_u32 rows = m->box_rows;
    for (mj_u32 i = 0; i < m->axis_count; i++) {
        rows *= m->axes[i].box;
    }
    return (mj_i32)(rows * m->box_elements * m->element_bytes);
}
MJ_HOST_FN mj_hopper_map mj_hopper_read_map(const mj_tensor_map *map, mj_saddr shared)
{
    mj_hopper_map m;
    memcpy(&m, map, sizeof(m));
    if (m.magic != MJ_HOPPER_MAP_MAGIC || (uintptr_t)map % 64 != 0) {
        mj_hopper_fault("not a tensor map, or not aligned to 64 bytes");
    }
    if (m.swizzle_bytes && m.box_elements * m.element_bytes != m.swizzle_bytes) {
        mj_hopper_fault("tensor map: rows of %u bytes in a swizzle of %u, which this model does not know",
                        (unsigned)(m.box_elements * m.element_bytes), (unsigned)m.swizzle_bytes);
    }
    mj_u32 align = m.swizzle_bytes * 8 > 128 ? m.swizzle_bytes * 8 : 128; /* a whole pattern */
    if (shared % align != 0) {
        mj_hopper_fault("a box at shared memory 0x%x, which is not aligned to %u bytes", (unsigned)shared, (unsigned)align);
    }
    if ((mj_u64)shared + (mj_u64)mj_hopper_box_bytes(&m) > MJ_SMEM_BYTES) {
        mj_hopper_fault("a box at shared memory 0x%x goes beyond its end", (unsigned)shared);
    }
    return m;
}
MJ_FN mj_saddr mj_hopper_box_chunk(const mj_hopper_map *m, mj_saddr box, mj_i32 i) /* chunk i of a box, row by row */
{
    return mj_hopper_swizzled(box + 16 * (mj_u32)i, m->swizzle_bytes);
}

/* The row of the array that row i of the box is, -1: it has none. In a box the first dimension runs fastest. */
MJ_HOST_FN mj_i64 mj_hopper_array_row(const mj_hopper_map *m, const mj_hopper_corner *corner, mj_i32 i)
{
    mj_i64 row = (mj_i64)corner->row + i % (mj_i32)m->box_rows;
    mj_i32 exists = row >= 0 && row < (mj_i64)m->rows;
    i /= (mj_i32)m->box_rows;
    for (mj_u32 axis = 0; axis < m->axis_count; axis++) {
        mj_i64 part = (mj_i64)corner->parts[axis] + i % (mj_i32)m->axes[axis].box;
        exists = exists && part >= 0 && part < (mj_i64)m->axes[axis].count;
        row += part * (mj_i64)m->axes[axis].stride_rows;
        i /= (mj_i32)m->axes[axis].box;
    }
    return exists ? row : -1;
}

/* Bytes [first, end) of chunk i of the box at `corner` that the array has; its bytes stand at *array. */
MJ_HOST_FN mj_i32 mj_hopper_clip(const mj_hopper_map *m, const mj_hopper_corner *corner, mj_i32 i, mj_i32 *first, char **array)
{
    mj_i32 chunks = (mj_i32)(m->box_elements * m->element_bytes / 16), row_bytes = (mj_i32)(m->row_elements * m->element_bytes);
    mj_i64 at = (mj_i64)corner->element * m->element_bytes + 16 * (i % chunks);
    mj_i64 array_row = mj_hopper_array_row(m, corner, i / chunks);
    mj_i64 begin = at < 0 ? -at : 0, end = row_bytes - at < 16 ? row_bytes - at : 16;
    if (array_row < 0 || begin >= end) {
        *first = 0;
        return 0;
    }
    *first = (mj_i32)begin;
    *array = (char *)(uintptr_t)m->address + array_row * row_bytes + at + begin;
    return (mj_i32)end;
}

MJ_HOST_FN void mj_tma_prefetch(const mj_tensor_map *map) { (void)mj_hopper_read_map(map, 0); }
MJ_HOST_FN void mj_hopper_load(mj_saddr to, const mj_tensor_map *map, mj_u32 rank, mj_hopper_corner corner, mj_saddr bar_at, mj_u64 policy)
{
    mj_hopper_map m = mj_hopper_read_map(map, to);
    if (rank != 2 + m.axis_count) {
        mj_hopper_fault("a load in %u dimensions of a map of %u", (unsigned)rank, (unsigned)(2 + m.axis_count));
    }
    mj_hopper_bar *bar = mj_hopper_find_bar(bar_at);
    if (!bar->fenced) {
        mj_hopper_fault("barrier 0x%x: the copy engine does not see it, mj_mbar_init_fence() is missing", (unsigned)bar_at);
    }
    if (policy != MJ_POLICY_NORMAL && policy != MJ_POLICY_EVICT_FIRST && policy != MJ_POLICY_EVICT_LAST) {
        mj_hopper_fault("no cache policy: 0x%llx", (unsigned long long)policy);
    }
    for (mj_i32 i = 0; i < mj_hopper_box_bytes(&m) / 16; i++) {
        mj_saddr at = mj_hopper_box_chunk(&m, to, i);
        mj_hopper_copy_to(at, 16);
        memset(mj_smem() + at, 0xff, 16);
    }
    mj_hopper_event *event = mj_hopper_add_event(bar);
    event->is_box = 1;
    event->map = m;
    event->to = to;
    event->corner = corner;
}
MJ_FN void mj_tma_load(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_saddr bar, mj_u64 policy)
{
    mj_hopper_load(to, map, 2, (mj_hopper_corner){element, row, {0, 0, 0}}, bar, policy);
}
MJ_FN void mj_tma_load_5d(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_i32 third, mj_i32 fourth, mj_i32 fifth,
                          mj_saddr bar, mj_u64 policy)
{
    mj_hopper_load(to, map, 5, (mj_hopper_corner){element, row, {third, fourth, fifth}}, bar, policy);
}
MJ_HOST_FN void mj_tma_load_parts(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_i32 part_rows,
                                  mj_i32 part_bytes, mj_i32 cluster, mj_saddr bar, mj_u64 policy)
{
    mj_hopper_map m = mj_hopper_read_map(map, to);
    if ((mj_i32)m.box_rows != part_rows || mj_hopper_box_bytes(&m) != part_bytes) {
        mj_hopper_fault("parts of %d rows and %d bytes, the map's box has %u and %d", (int)part_rows, (int)part_bytes,
                        (unsigned)m.box_rows, (int)mj_hopper_box_bytes(&m));
    }
    for (mj_i32 i = 0; i < cluster; i++) {
        mj_tma_load(to + (mj_saddr)(i * part_bytes), map, element, row + i * part_rows, bar, policy);
    }
}
MJ_HOST_FN void mj_tma_load_parts_5d(mj_saddr to, const mj_tensor_map *map, mj_i32 element, mj_i32 row, mj_i32 third, mj_i32 fourth,
                                     mj_i32 fifth, mj_i32 part_fourths, mj_i32 part_bytes, mj_i32 cluster, mj_saddr bar, mj_u64 policy)
{
    mj_hopper_map m = mj_hopper_read_map(map, to);
    if ((mj_i32)m.axes[1].box != part_fourths || mj_hopper_box_bytes(&m) != part_bytes) {
        mj_hopper_fault("parts of %d and %d bytes, the map's box has %u and %d", (int)part_fourths, (int)part_bytes,
                        (unsigned)m.axes[1].box, (int)mj_hopper_box_bytes(&m));
    }
    for (mj_i32 i = 0; i < cluster; i++) {
        mj_tma_load_5d(to + (mj_saddr)(i * part_bytes), map, element, row, third, fourth + i * part_fourths, fifth, bar, policy);
    }
}

MJ_HOST_FN void mj_hopper_fire_event(mj_i32 index)
{
    mj_hopper *s = mj_hopper_state();
    mj_hopper_event e = s->events[index];
    mj_hopper_bar *bar = &s->bars[e.bar];
    s->events[index] = s->events[--s->event_count];
    mj_host->lane = e.lane;
    if (bar->phase != e.phase) {
        mj_hopper_fault("barrier 0x%x: a phase ended without a copy that was to be counted in it", (unsigned)bar->at);
    }
    if (!e.is_box) {
        mj_i32 count = (mj_i32)(e.copies - mj_host->lanes[e.lane].copies_landed);
        mj_host_land(e.lane, count > 0 ? count : 0);
        mj_hopper_arrive(bar);
        return;
    }
    for (mj_i32 i = 0; i < mj_hopper_box_bytes(&e.map) / 16; i++) {
        mj_saddr at = mj_hopper_box_chunk(&e.map, e.to, i);
        mj_i32 first = 0;
        char *from = NULL, *to = mj_smem() + at;
        mj_i32 end = mj_hopper_clip(&e.map, &e.corner, i, &first, &from);
        memset(to, 0, 16);
        if (end > first) {
            memcpy(to + first, from, (size_t)(end - first));
        }
        mj_hopper_mark(at, e.lane, 0, 0);
    }
    bar->tx -= mj_hopper_box_bytes(&e.map);
    if (bar->tx < -MJ_HOPPER_TX_MAX || (bar->tx < 0 && bar->pending == 0)) {
        mj_hopper_fault("barrier 0x%x: %d bytes more than expected", (unsigned)bar->at, (int)-bar->tx);
    }
    mj_hopper_end_phase(bar);
}

MJ_HOST_FN void mj_tma_store(const mj_tensor_map *map, mj_saddr from, mj_i32 element, mj_i32 row)
{
    mj_hopper *s = mj_hopper_state();
    mj_hopper_map m = mj_hopper_read_map(map, from);
    if (m.axis_count) {
        mj_hopper_fault("a store in 2 dimensions to a map of %u", (unsigned)(2 + m.axis_count));
    }
    for (mj_i32 i = 0; i < mj_hopper_box_bytes(&m) / 16; i++) {
        mj_hopper_check_visible(mj_hopper_box_chunk(&m, from, i), mj_hopper_me()->fence_synced, "the copy engine");
    }
    s->stores = mj_hopper_grow(s->stores, s->store_count, &s->store_capacity, sizeof(*s->stores));
    s->stores[s->store_count++] = (mj_hopper_store){.map = m,
                                                    .from = from,
                                                    .corner = {element, row, {0, 0, 0}},
                                                    .lane = mj_host->lane,
                                                    .time = mj_host->time,
                                                    .group = mj_hopper_me()->store_commits};
}
MJ_HOST_FN void mj_tma_store_commit(void) { mj_hopper_me()->store_commits++; }

MJ_HOST_FN void mj_hopper_write_array(mj_hopper_store *store)
{
    for (mj_i32 i = 0; i < mj_hopper_box_bytes(&store->map) / 16; i++) {
        mj_i32 first = 0;
        char *to = NULL;
        mj_i32 end = mj_hopper_clip(&store->map, &store->corner, i, &first, &to);
        if (end > first) {
            memcpy(to, store->data + 16 * i + first, (size_t)(end - first));
        }
    }
    free(store->data);
}
MJ_HOST_FN void mj_hopper_fire_store(mj_i32 index)
{
    mj_hopper *s = mj_hopper_state();
    mj_hopper_store *store = &s->stores[index];
    mj_i32 lane = store->lane, bytes = mj_hopper_box_bytes(&store->map);
    mj_host->lane = lane;
    if (!store->data) {
        store->data = malloc((size_t)bytes);
        for (mj_i32 i = 0; i < bytes / 16 && store->data; i++) {
            mj_saddr at = mj_hopper_box_chunk(&store->map, store->from, i);
            mj_hopper_check_kept(at, store->time, "store");
            memcpy(store->data + 16 * i, mj_smem() + at, 16);
        }
    }
    mj_i32 demand = store->demand;
    store->demand = 0;
    s->stores_demanded--;
    if (demand == 2) {
        mj_hopper_write_array(store);
        *store = s->stores[--s->store_count];
    }
    if (--s->lanes[lane].stores_missing == 0) {
        mj_host_wake(lane);
    }
}
MJ_HOST_FN void mj_hopper_wait_stores(mj_i32 pending_max, mj_i32 demand)
{
    mj_hopper *s = mj_hopper_state();
    mj_hopper_lane *me = mj_hopper_me();
    for (mj_i32 i = 0; i < s->store_count; i++) {
        mj_hopper_store *store = &s->stores[i];
        if (store->lane == mj_host->lane && store->group + (mj_u32)pending_max < me->store_commits && (demand == 2 || !store->data)) {
            store->demand = demand;
            s->stores_demanded++;
            me->stores_missing++;
        }
    }
    if (me->stores_missing > 0) {
        mj_hopper_wait_in(MJ_HOPPER_IN_STORE, 0, 0);
    }
}
MJ_HOST_FN void mj_tma_store_wait_read(mj_i32 pending_max) { mj_hopper_wait_stores(pending_max, 1); }
MJ_HOST_FN void mj_tma_store_wait(mj_i32 pending_max) { mj_hopper_wait_stores(pending_max, 2); }
