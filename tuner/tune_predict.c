/* tune_predict.c: what a row would take on its arch, with nothing measured. */
#include <stdlib.h>
#include <string.h>

#include "padding.h"
#include "routing.h"
#include "tune_session.h"

/* The model's time for the row's own routing; it was ranked by the model's time for the uniform one. */
static mj_status predict_time(const mj_session *s, const mj_row *row, const mj_kernel_desc *desc, double *us,
                              mj_error *error)
{
    const mj_tune_row *r = &row->result;
    double *expected = calloc(s->problem.expert_count, sizeof(*expected));
    mj_status status = expected ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "rows of each expert");
    if (status == MJ_OK) {
        status = mj_routing_expected(&s->problem, r->routing, s->options.seed, r->token_count, expected, error);
    }
    if (status == MJ_OK) {
        bool uniform = strcmp(r->routing, "uniform") == 0;
        *us = mj_estimate_us(desc, &s->device.shape, r->token_count, uniform ? NULL : expected);
    }
    free(expected);
    return status;
}

/* The work of one routing drawn with the seed: the one that `moejit routing` shows. */
static mj_status predict_work(const mj_session *s, mj_tune_row *row, const mj_kernel_desc *desc, mj_error *error)
{
    uint64_t local_rows = 0;
    double padded_rows = 0;
    int32_t *ids = calloc((size_t)row->token_count * s->problem.top_k, sizeof(*ids));
    uint32_t *rows = calloc(s->problem.expert_count, sizeof(*rows));
    mj_status status = ids && rows ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "a routing of %u tokens", row->token_count);
    if (status == MJ_OK) {
        status = mj_routing_sample(&s->problem, row->routing, s->options.seed, row->token_count, ids, NULL, error);
    }
    if (status == MJ_OK) {
        uint32_t active = mj_routing_histogram(&s->problem, ids, row->token_count, rows, &local_rows);
        mj_work work = mj_gemm_work(&s->problem, s->scheme, row->op, row->token_count, local_rows, active);
        row->bytes = work.bytes;
        row->operations = work.operations;
        status = mj_padded_rows(desc, rows, &padded_rows, error);
        row->padded_operations = mj_padded_operations(&s->problem, row->op, padded_rows);
    }
    free(ids);
    free(rows);
    return status;
}

mj_status mj_session_predict(mj_session *s, mj_row *row, mj_error *error)
{
    const mj_candidate *c = &row->candidates[0];
    mj_candidate_result *best = &row->result.best;
    mj_kernel_desc desc = {
        .problem = &s->problem, .arch = s->arch, .scheme = s->scheme, .op = row->result.op, .config = &c->config};
    best->op = row->result.op;
    best->token_count = row->result.token_count;
    memcpy(best->routing, row->result.routing, sizeof(best->routing));
    memcpy(best->family, c->family, sizeof(best->family));
    best->config = c->config;
    best->is_default = c->is_default;
    mj_status status = mj_spec_find_space(s->spec, c->family, &desc.space, error);
    if (status == MJ_OK) {
        status = predict_time(s, row, &desc, &best->estimate_us, error);
    }
    if (status == MJ_OK) {
        status = predict_work(s, &row->result, &desc, error);
    }
    mj_session_floor(s, &row->result);
    row->finished = status == MJ_OK;
    return status;
}
