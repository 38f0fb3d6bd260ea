/* host_run_codes.h: a part of host_run.c: GEMMs that write codes and their scales. */
#ifndef MOEJIT_HOST_RUN_CODES_H
#define MOEJIT_HOST_RUN_CODES_H

#define STATIC_SCALE 0.0137f /* no power of two; some values saturate */

/* Of an output that is codes: a scale for each group of a row, or the static one. */
static buffer scales_new(run *r, const layer *l)
{
    uint32_t per_row = r->manifest->scales_per_row;
    buffer scales = buffer_new((per_row ? (size_t)l->pair_count * per_row : 1) * sizeof(float), 0xff);
    if (!per_row) {
        *(float *)scales.data = STATIC_SCALE;
    }
    return scales;
}

/* One row against what the host says of the activated values. */
static bool codes_near(run *r, const layer *l, uint32_t row, const unsigned char *codes, const float *scales,
                       uint32_t columns, const double *want)
{
    double *got = calloc(columns, sizeof *got);
    if (!got || mj_ref_values_of_codes(r->desc->scheme, columns, codes, scales, want, got, NULL) != MJ_OK) {
        _exit(99);
    }
    uint32_t bad = mj_tolerance_check(&r->desc->scheme->tolerance, got, want, columns);
    double got_bad = bad == UINT32_MAX ? 0 : got[bad];
    free(got);
    return bad == UINT32_MAX || wrong(r, "%s: row %u column %u is code %02x, of %g at best, not of %g",
                                      l->routing->name, row, bad, codes[bad], got_bad, want[bad]);
}

/* To the bit what quantise2 makes of the values that the same config of gemm1_act writes. */
static bool codes_equal(run *r, const layer *l, uint32_t row, const unsigned char *codes, const float *scales,
                        uint32_t columns, const buffer *values)
{
    unsigned char *want = calloc(columns, 1);
    float *want_scales = calloc(r->manifest->scales_per_row + 1, sizeof *want_scales);
    if (!want || !want_scales) {
        _exit(99);
    }
    want_scales[0] = STATIC_SCALE;
    bool right = mj_ref_quantise_row(r->desc->scheme, columns, values->data, row, want, want_scales, NULL) == MJ_OK;
    for (uint32_t i = 0; i < columns && right; i++) {
        right = codes[i] == want[i] || wrong(r, "%s: row %u column %u is code %02x, quantise2 would say %02x",
                                             l->routing->name, row, i, codes[i], want[i]);
    }
    for (uint32_t i = 0; i < r->manifest->scales_per_row && right; i++) {
        right = memcmp(&scales[i], &want_scales[i], sizeof(float)) == 0 ||
                wrong(r, "%s: row %u scale %u is %g, quantise2 would say %g", l->routing->name, row, i,
                      (double)scales[i], (double)want_scales[i]);
    }
    free(want);
    free(want_scales);
    return right;
}

/* `values`: what gemm1_act wrote; no memory: it was not run. */
static bool codes_right(run *r, const layer *l, const gemm_data *d, const buffer *output, const buffer *scales,
                        const buffer *values)
{
    const mj_problem *p = r->desc->problem;
    uint32_t columns = mj_problem_gemm(p, r->desc->op).out_n, per_row = r->manifest->scales_per_row;
    double *want = calloc(columns, sizeof *want);
    bool right = want != NULL;
    for (uint32_t row = 0; row < l->rows && right; row++) {
        const unsigned char *codes = (const unsigned char *)output->data + (size_t)row * columns;
        const float *row_scales = (const float *)scales->data + (size_t)row * per_row;
        if (mj_ref_gemm_row(p, r->desc->scheme, r->desc->op, &d->arrays, l->offsets.data, l->pairs.data,
                            l->weights_of_pairs.data, row, want, NULL) != MJ_OK) {
            _exit(99);
        }
        right = codes_near(r, l, row, codes, row_scales, columns, want) &&
                (!values->memory || codes_equal(r, l, row, codes, row_scales, columns, values));
    }
    free(want);
    for (size_t i = (size_t)l->rows * columns; i < output->bytes && right; i++) {
        right = ((const unsigned char *)output->data)[i] == 0xff ||
                wrong(r, "%s: a code of row %zu, which is nobody's, was written", l->routing->name, i / columns);
    }
    for (size_t i = (size_t)l->rows * per_row * sizeof(float); per_row && i < scales->bytes && right; i++) {
        right = ((const unsigned char *)scales->data)[i] == 0xff ||
                wrong(r, "%s: a scale that is nobody's was written", l->routing->name);
    }
    return right;
}

/* The rows of gemm1_act by the same config, if it came along. */
static buffer values_beside(run *r, const layer *l, mj_arg_value values[MJ_ARG_COUNT])
{
    buffer out = {0};
    if (r->beside) {
        out = buffer_new((size_t)l->pair_count * mj_problem_gemm(r->desc->problem, r->desc->op).out_n * 2, 0xff);
        values[MJ_ARG_OUTPUT].pointer = (uintptr_t)out.data;
        launch(r->beside, values, blocks_of(r->beside, l->routing->tokens));
    }
    return out;
}

static bool codes_case(run *r, const routing_case *c)
{
    layer l = layer_new(r, c);
    gemm_data d = gemm_data_new(r, &l);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    layer_args(&l, values);
    gemm_args(&d, values);
    buffer beside = values_beside(r, &l, values), outputs[2], scales[2];
    bool right = r->report->result == HOST_RIGHT;
    for (int pass = 0; pass < 2; pass++) {
        outputs[pass] = buffer_new((size_t)l.pair_count * mj_problem_gemm(r->desc->problem, r->desc->op).out_n, 0xff);
        scales[pass] = scales_new(r, &l);
        values[MJ_ARG_OUTPUT].pointer = (uintptr_t)outputs[pass].data;
        values[MJ_ARG_OUTPUT_SCALES].pointer = (uintptr_t)scales[pass].data;
        if (right) {
            launch(r, values, blocks_of(r, c->tokens));
            right = r->report->result == HOST_RIGHT &&
                    (pass == 0 ? codes_right(r, &l, &d, &outputs[0], &scales[0], &beside)
                               : same_bits(r, &l, outputs) && same_bits(r, &l, scales)) &&
                    buffers_right(r, &l, &d, &outputs[pass], &scales[pass]);
        }
    }
    for (int pass = 0; pass < 2; pass++) {
        free(outputs[pass].memory);
        free(scales[pass].memory);
    }
    free(beside.memory);
    gemm_data_free(&d);
    layer_free(&l);
    return right;
}

#endif
