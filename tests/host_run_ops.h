/* host_run_ops.h: what host_run.c runs and compares for the ops that are no GEMM. Included there, after its buffers and layers. */
#ifndef MOEJIT_HOST_RUN_OPS_H
#define MOEJIT_HOST_RUN_OPS_H

static bool tables_case(run *r, const routing_case *c)
{
    layer l = layer_new(r, c);
    buffer offsets = buffer_new(l.offsets.bytes, 0xff), pairs = buffer_new(l.pairs.bytes, 0xff);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    layer_args(&l, values);
    values[MJ_ARG_EXPERT_OFFSETS].pointer = (uintptr_t)offsets.data;
    values[MJ_ARG_SORTED_PAIRS].pointer = (uintptr_t)pairs.data;
    launch(r, values, blocks_of(r, c->tokens));
    bool right = r->report->result == HOST_RIGHT;
    if (right && memcmp(offsets.data, l.offsets.data, offsets.bytes) != 0) {
        right = wrong(r, "%s: expert offsets differ", c->name);
    }
    if (right && memcmp(pairs.data, l.pairs.data, l.rows * sizeof(int32_t)) != 0) {
        right = wrong(r, "%s: sorted pairs differ", c->name);
    }
    if (right && (!buffer_guarded(&offsets) || !buffer_guarded(&pairs))) {
        right = wrong(r, "%s: wrote outside its buffers", c->name);
    }
    free(offsets.memory);
    free(pairs.memory);
    layer_free(&l);
    return right;
}

static void activation_row(const run *r, const buffer *input, uint32_t row, double *want)
{
    const mj_problem *p = r->desc->problem;
    uint32_t gates = p->gated ? 2 : 1;
    for (uint32_t c = 0; c < p->intermediate; c++) {
        uint64_t at = (uint64_t)row * gates * p->intermediate + c;
        double gate = mj_ref_load(r->desc->scheme->io_format, input->data, at);
        double up = p->gated ? mj_ref_load(r->desc->scheme->io_format, input->data, at + p->intermediate) : 0;
        want[c] = mj_ref_activation(p->activation, p->gated, gate, up);
    }
}

static void combine_row(const run *r, const layer *l, const buffer *input, uint32_t token, double *want)
{
    const mj_problem *p = r->desc->problem;
    memset(want, 0, p->hidden * sizeof *want);
    for (uint32_t s = 0; s < p->top_k; s++) {
        uint64_t pair = (uint64_t)token * p->top_k + s;
        int32_t id = ((const int32_t *)l->ids.data)[pair];
        for (uint32_t c = 0; c < p->hidden && id >= 0 && id < (int32_t)p->expert_count; c++) {
            want[c] += mj_ref_load(r->desc->scheme->io_format, input->data, pair * p->hidden + c);
        }
    }
}

/* Rows of no local pair hold NaN in combine's input: nobody wrote them. */
static void spoil_foreign_rows(const run *r, const layer *l, buffer *input)
{
    const mj_problem *p = r->desc->problem;
    for (uint32_t pair = 0; pair < l->pair_count; pair++) {
        int32_t id = ((const int32_t *)l->ids.data)[pair];
        if (id < 0 || id >= (int32_t)p->expert_count) {
            memset((char *)input->data + (size_t)pair * p->hidden * 2, 0xff, (size_t)p->hidden * 2);
        }
    }
}

static bool rowwise_case(run *r, const routing_case *c)
{
    const mj_problem *p = r->desc->problem;
    bool combine = r->desc->op == MJ_OP_COMBINE;
    layer l = layer_new(r, c);
    uint32_t in_columns = combine ? p->hidden : p->intermediate * (p->gated ? 2 : 1);
    uint32_t columns = combine ? p->hidden : p->intermediate, rows = combine ? c->tokens : l.rows;
    buffer input = buffer_random(r->desc->scheme->io_format, (uint64_t)l.pair_count * in_columns, 5, 4.0f);
    buffer output = buffer_new((size_t)(combine ? c->tokens : l.pair_count) * columns * 2, 0xff);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    double *want = calloc(columns, sizeof *want);
    layer_args(&l, values);
    values[MJ_ARG_INPUT].pointer = (uintptr_t)input.data;
    values[MJ_ARG_OUTPUT].pointer = (uintptr_t)output.data;
    if (combine) {
        spoil_foreign_rows(r, &l, &input);
    }
    launch(r, values, blocks_of(r, c->tokens));
    bool right = want && r->report->result == HOST_RIGHT;
    for (uint32_t row = 0; row < rows && right; row++) {
        combine ? combine_row(r, &l, &input, row, want) : activation_row(r, &input, row, want);
        right = row_right(r, &l, output.data, row, columns, want);
    }
    for (uint32_t row = rows; !combine && row < l.pair_count && right; row++) {
        right = row_untouched(r, &l, output.data, row, columns);
    }
    right = right && (buffer_guarded(&output) || wrong(r, "%s: wrote outside its buffer", c->name));
    free(want);
    free(input.memory);
    free(output.memory);
    layer_free(&l);
    return right;
}

/* Values of every size, rows of zeros and near the ends of the floats' range, a NaN, an infinity, what saturates a static scale. */
static buffer quantise_input(run *r, uint64_t rows, uint32_t k)
{
    const char *io = r->desc->scheme->io_format;
    buffer input = buffer_random(io, rows * k, 8, 3.0f);
    for (uint64_t i = 0; i < rows * k; i++) {
        uint64_t row = i / k;
        double scale = ldexp(1, (int)(i / 40 % 12) - 8 + (row == 4 ? 118 : row == 5 ? -126 : 0));
        mj_ref_store(io, input.data, i, row == 1 ? 0 : mj_ref_load(io, input.data, i) * scale);
    }
    if (rows > 2) {
        mj_ref_store(io, input.data, 2 * (uint64_t)k + k / 2, (double)NAN);
    }
    if (rows > 3) {
        mj_ref_store(io, input.data, 3 * (uint64_t)k + 1, (double)INFINITY);
    }
    return input;
}

static bool quantised_right(run *r, const layer *l, const buffer *input, const buffer *codes, const float *scales,
                            uint32_t row)
{
    uint32_t k = mj_problem_gemm(r->desc->problem, r->desc->op).k, per_row = mj_ref_scales_per_row(r->desc->scheme, k);
    unsigned char *want = calloc(k, 1);
    float *want_scales = calloc(per_row + 1, sizeof *want_scales);
    const float *got_scales = scales + (size_t)row * per_row;
    bool right = want && want_scales;
    want_scales[0] = scales[0]; /* a static one */
    right = right && mj_ref_quantise_row(r->desc->scheme, k, input->data, row, want, want_scales, NULL) == MJ_OK;
    for (uint32_t i = 0; i < k && right; i++) {
        unsigned got = ((const unsigned char *)codes->data)[(size_t)row * k + i];
        right = got == want[i] ||
                wrong(r, "%s: row %u column %u is %02x, not %02x", l->routing->name, row, i, got, want[i]);
    }
    for (uint32_t i = 0; i < per_row && right; i++) {
        right = memcmp(&got_scales[i], &want_scales[i], 4) == 0 ||
                wrong(r, "%s: row %u scale %u is %g, not %g", l->routing->name, row, i, (double)got_scales[i],
                      (double)want_scales[i]);
    }
    free(want);
    free(want_scales);
    return right;
}

static bool quantise_case(run *r, const routing_case *c)
{
    layer l = layer_new(r, c);
    uint32_t k = mj_problem_gemm(r->desc->problem, r->desc->op).k, per_row = mj_ref_scales_per_row(r->desc->scheme, k);
    uint32_t rows = r->desc->op == MJ_OP_QUANTISE1 ? c->tokens : l.pair_count;
    uint32_t written = r->desc->op == MJ_OP_QUANTISE1 ? c->tokens : l.rows;
    buffer input = quantise_input(r, rows, k), codes = buffer_new((size_t)rows * k, 0xee);
    buffer scales = buffer_new(per_row ? (size_t)rows * per_row * sizeof(float) : sizeof(float), 0xff);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    layer_args(&l, values);
    values[MJ_ARG_INPUT].pointer = (uintptr_t)input.data;
    values[MJ_ARG_OUTPUT].pointer = (uintptr_t)codes.data;
    values[MJ_ARG_INPUT_SCALES].pointer = (uintptr_t)scales.data;
    if (per_row == 0) {
        *(float *)scales.data = 0.0037f;
    }
    launch(r, values, blocks_of(r, c->tokens));
    bool right = r->report->result == HOST_RIGHT;
    for (uint32_t row = 0; row < written && right; row++) {
        right = quantised_right(r, &l, &input, &codes, scales.data, row);
    }
    for (size_t i = (size_t)written * k; i < (size_t)rows * k && right; i++) {
        right = ((const unsigned char *)codes.data)[i] == 0xee || wrong(r, "%s: wrote a row that is nobody's", c->name);
    }
    right = right &&
            ((buffer_guarded(&codes) && buffer_guarded(&scales)) || wrong(r, "%s: wrote outside its buffers", c->name));
    free(input.memory);
    free(codes.memory);
    free(scales.memory);
    layer_free(&l);
    return right;
}

static bool fill_case(run *r, const routing_case *c)
{
    static const mj_operand kinds[] = {
        {.format = "bf16", .scale = 0.5f},
        {.format = "f16", .scale = 0.5f},
        {.format = "f32", .scale = 0.5f},
        {.format = "e4m3", .scale = 200.0f},
        {.format = "e4m3fnuz", .scale = 90.0f},
        {.format = "uint8", .kind = MJ_FILL_BITS},
        {.format = "f32", .kind = MJ_FILL_POSITIVE, .scale = 0.01f},
        {.format = "bf16", .kind = MJ_FILL_POSITIVE, .scale = 0.01f},
        {.format = "f16", .kind = MJ_FILL_POSITIVE, .scale = 0.01f},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        mj_operand kind = kinds[i];
        kind.count = 1000 + c->tokens;
        kind.bytes = kind.count * mj_ref_format_bytes(kind.format);
        buffer output = buffer_new(kind.bytes, 0xff);
        buffer want = buffer_operand(&kind, 99);
        mj_arg_value values[MJ_ARG_COUNT] = {0};
        values[MJ_ARG_OUTPUT].pointer = (uintptr_t)output.data;
        values[MJ_ARG_ELEMENT_COUNT].i64 = (int64_t)kind.count;
        values[MJ_ARG_SEED].u64 = 99;
        values[MJ_ARG_SCALE].f32 = kind.scale;
        values[MJ_ARG_MODE].i32 = mj_operand_fill_mode(&kind);
        launch(r, values, blocks_of(r, 1));
        bool same = memcmp(output.data, want.data, want.bytes) == 0 && buffer_guarded(&output);
        free(output.memory);
        free(want.memory);
        if (!same) {
            return wrong(r, "fill: %s data differ from the host's", kind.format);
        }
    }
    return true;
}

enum { COMPARE_ROWS = 4, COMPARE_COLUMNS = 301 };

/* Rows: equal, one element off, one NaN, one infinite. */
static bool compare_case(run *r, const routing_case *c)
{
    const char *io = r->desc->scheme->io_format;
    uint32_t bad_column = 7 + c->tokens;
    buffer want = buffer_random(io, COMPARE_ROWS * COMPARE_COLUMNS, 4, 1.0f);
    buffer got = buffer_random(io, COMPARE_ROWS * COMPARE_COLUMNS, 4, 1.0f);
    buffer result = buffer_new(COMPARE_ROWS * 4 * sizeof(float), 0xff);
    const double spoilt[COMPARE_ROWS] = {0, 100, (double)NAN, (double)INFINITY};
    for (uint32_t row = 1; row < COMPARE_ROWS; row++) {
        mj_ref_store(io, got.data, row * COMPARE_COLUMNS + bad_column, spoilt[row]);
    }
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    values[MJ_ARG_OUTPUT].pointer = (uintptr_t)got.data;
    values[MJ_ARG_REFERENCE].pointer = (uintptr_t)want.data;
    values[MJ_ARG_RESULT].pointer = (uintptr_t)result.data;
    values[MJ_ARG_ROW_COUNT].i32 = COMPARE_ROWS;
    values[MJ_ARG_COLUMN_COUNT].i32 = COMPARE_COLUMNS;
    values[MJ_ARG_MODE].i32 = strcmp(io, "bf16") == 0 ? 0 : 1;
    launch(r, values, COMPARE_ROWS);
    const float *out = result.data;
    bool right = r->report->result == HOST_RIGHT;
    for (uint32_t row = 0; row < COMPARE_ROWS && right; row++) {
        const float *at = out + 4 * row;
        right = isfinite(at[1]) && at[1] > 100 && at[1] < 1000; /* 301 squares around one */
        right = right && (row == 0 ? at[0] == 0 && at[2] == 0 : at[3] == (float)bad_column);
        right = right && (row != 1 || (at[2] > 90 && at[2] < 110)) && (row < 2 || (isinf(at[2]) && at[2] > 0));
        right = right || wrong(r, "compare: row %u gives %g %g %g %g", row, (double)at[0], (double)at[1], (double)at[2],
                               (double)at[3]);
    }
    right = right && (buffer_guarded(&result) || wrong(r, "compare: wrote outside its buffer"));
    free(want.memory);
    free(got.memory);
    free(result.memory);
    return right;
}

static bool stream_case(run *r, const routing_case *c)
{
    uint64_t vectors = 3000 + c->tokens;
    buffer input = buffer_random("f32", vectors * 4, 6, 1.0f), output = buffer_new(vectors * 16, 0);
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    values[MJ_ARG_INPUT].pointer = (uintptr_t)input.data;
    values[MJ_ARG_OUTPUT].pointer = (uintptr_t)output.data;
    values[MJ_ARG_ELEMENT_COUNT].i64 = (int64_t)vectors;
    values[MJ_ARG_MODE].i32 = 1;
    launch(r, values, blocks_of(r, 1));
    bool right = memcmp(output.data, input.data, input.bytes) == 0 && buffer_guarded(&output);
    free(input.memory);
    free(output.memory);
    return right || wrong(r, "stream: the copy differs");
}

#endif
