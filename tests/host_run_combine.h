/* host_run_combine.h: a part of host_run.c: a GEMM that adds a token's rows itself. */
#ifndef MOEJIT_HOST_RUN_COMBINE_H
#define MOEJIT_HOST_RUN_COMBINE_H

/* To the bit what combine makes of the rows that the same config of gemm2 writes: floats, added in the order of the slots. */
static bool combined_equal(run *r, const layer *l, const buffer *output, const buffer *pair_rows)
{
    const char *io = r->desc->scheme->io_format;
    uint32_t columns = r->desc->problem->hidden, top_k = r->desc->problem->top_k;
    for (uint64_t at = 0; at < (uint64_t)l->routing->tokens * columns; at++) {
        uint64_t token = at / columns, column = at % columns;
        float sum = 0;
        for (uint64_t pair = token * top_k; pair < (token + 1) * top_k; pair++) {
            int32_t id = ((const int32_t *)l->ids.data)[pair];
            if (id >= 0 && id < (int32_t)r->desc->problem->expert_count) {
                sum += (float)mj_ref_load(io, pair_rows->data, pair * columns + column);
            }
        }
        uint16_t want = 0, got = 0;
        mj_ref_store(io, &want, 0, (double)sum);
        memcpy(&got, (const char *)output->data + 2 * at, sizeof got);
        if (got != want) {
            return wrong(r, "%s: token %u column %u is %g, combine would say %g", l->routing->name, (unsigned)token,
                         (unsigned)column, mj_ref_load(io, &got, 0), mj_ref_load(io, &want, 0));
        }
    }
    return true;
}

/* Against what the host says of the sums of a token's rows. */
static bool combined_near(run *r, const layer *l, const gemm_data *d, const buffer *output)
{
    uint32_t columns = r->desc->problem->hidden, top_k = r->desc->problem->top_k;
    double *row = calloc(columns, sizeof *row), *want = calloc((size_t)l->routing->tokens * columns, sizeof *want);
    bool right = row && want;
    for (uint32_t at = 0; at < l->rows && right; at++) {
        size_t token = (size_t)((const int32_t *)l->pairs.data)[at] / top_k;
        if (mj_ref_gemm_row(r->desc->problem, r->desc->scheme, r->desc->op, &d->arrays, l->offsets.data, l->pairs.data,
                            l->weights_of_pairs.data, at, row, NULL) != MJ_OK) {
            _exit(99);
        }
        for (uint32_t c = 0; c < columns; c++) {
            want[token * columns + c] += row[c];
        }
    }
    for (uint32_t token = 0; token < l->routing->tokens && right; token++) {
        right = row_right(r, l, output->data, token, columns, want + (size_t)token * columns);
    }
    free(row);
    free(want);
    return right;
}

/* The rows of gemm2 by the same config, if it came along. */
static buffer pair_rows_beside(run *r, const layer *l, mj_arg_value values[MJ_ARG_COUNT])
{
    buffer rows = {0};
    if (r->beside) {
        rows = buffer_new((size_t)l->pair_count * r->desc->problem->hidden * 2, 0xff);
        values[MJ_ARG_OUTPUT].pointer = (uintptr_t)rows.data;
        launch(r->beside, values, blocks_of(r->beside, l->routing->tokens));
    }
    return rows;
}

static bool combine_gemm_case(run *r, const routing_case *c)
{
    enum { PASSES = 3 };
    layer l = layer_new(r, c);
    gemm_data d = gemm_data_new(r, &l);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    size_t columns = r->desc->problem->hidden;
    layer_args(&l, values);
    gemm_args(&d, values);
    buffer pair_rows = pair_rows_beside(r, &l, values);
    bool right = r->report->result == HOST_RIGHT;
    for (int pass = 0; pass < PASSES && right; pass++) { /* counters as the pass before left them, no row of a pair */
        buffer output = buffer_new((size_t)c->tokens * columns * 2, 0xff);
        memset(d.partials.data, 0xff, d.partials.bytes);
        values[MJ_ARG_OUTPUT].pointer = (uintptr_t)output.data;
        launch(r, values, blocks_of(r, c->tokens));
        right = r->report->result == HOST_RIGHT && combined_near(r, &l, &d, &output) &&
                (!pair_rows.memory || combined_equal(r, &l, &output, &pair_rows)) &&
                buffers_right(r, &l, &d, &output, NULL);
        free(output.memory);
    }
    free(pair_rows.memory);
    gemm_data_free(&d);
    layer_free(&l);
    return right;
}

#endif
