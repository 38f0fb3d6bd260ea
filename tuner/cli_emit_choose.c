/* cli_emit_choose.c: which kernels a pack is made of: the store's, else the estimate's. */
#define _GNU_SOURCE
#include <string.h>

#include "cli_emit.h"
#include "cli_kernel.h"
#include "os.h"
#include "scheme_words.h"

/* ---- The store: the first file of this problem and arch, in name order ---- */
typedef struct store_search {
    emit_job *job;
    const char *folder;
    char problem[512];
} store_search;

static bool visit_store(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    store_search *search = user;
    emit_job *job = search->job;
    (void)bytes;
    (void)mtime_seconds;
    const char *ending = strstr(name, ".moejit.json");
    char path[4096], problem[512] = "";
    if (!ending || ending[12] || mj_os_join(path, sizeof path, search->folder, name, NULL) != MJ_OK) {
        return true;
    }
    mj_error error = {MJ_OK, ""};
    if (mj_store_load(path, &job->store, &error) != MJ_OK) {
        if (!job->options->quiet) {
            fprintf(stderr, "moejit: skipped: %s\n", error.text);
        }
        return true;
    }
    mj_problem_print(&job->store.problem, problem, sizeof problem, NULL);
    if (strcmp(problem, search->problem) == 0 && strcmp(job->store.identity.arch, job->arch) == 0 &&
        job->store.identity.generator_version == MJ_GENERATOR_VERSION) {
        job->has_store = true;
        snprintf(job->store_name, sizeof job->store_name, "%s", name);
        return false;
    }
    mj_store_file_free(&job->store);
    return true;
}

void cli_emit_find_store(emit_job *job)
{
    store_search search = {.job = job, .folder = job->context->store_dir};
    mj_problem_print(&job->target->problem, search.problem, sizeof search.problem, NULL);
    if (search.folder && search.folder[0]) {
        mj_os_list_folder(search.folder, visit_store, &search, NULL);
    }
}

static bool has_choice(const emit_job *job, mj_store_row *row, mj_op op)
{
    const mj_choice *choice = mj_store_row_choice(row, op);
    return choice->present && (!job->options->family || strcmp(choice->manifest.family, job->options->family) == 0);
}

/* The row that was tuned for exactly this many tokens, routed uniformly if there is such a one. */
static mj_store_row *stored_row(const emit_job *job, mj_op op, uint32_t tokens)
{
    mj_store_row *found = NULL;
    for (uint32_t i = 0; job->has_store && i < job->store.row_count; i++) {
        mj_store_row *row = &job->store.rows[i];
        bool fits = row->token_count == tokens && has_choice(job, row, op);
        if (fits && (!found || strcmp(row->routing, "uniform") == 0)) {
            found = row;
        }
    }
    return found;
}

/* ---- Kernels ---- */
/* --config speaks for both GEMMs, or with --gemm for one. */
static bool config_given(const emit_job *job, mj_op op)
{
    return job->options->config && mj_op_is_gemm(op) &&
           (!job->options->op || strcmp(job->options->op, mj_op_name(op)) == 0);
}

static mj_status plan_one(emit_job *job, emit_item *item, cli_compile_item *out, mj_error *error)
{
    bool given = config_given(job, out->op);
    if (item->tokens == 0) {
        const mj_choice *choice = job->has_store ? &job->store.ops[out->op] : NULL;
        item->choice = choice && choice->present ? choice : NULL;
    } else if (!given) {
        item->row = stored_row(job, out->op, item->tokens);
        item->choice = item->row ? mj_store_row_choice(item->row, out->op) : NULL;
    }
    if (item->choice) {
        memcpy(out->family, item->choice->manifest.family, sizeof out->family);
        out->config = item->choice->manifest.config;
        return MJ_OK;
    }
    cli_kernel_words words = {.arch = job->arch,
                              .op = mj_op_name(out->op),
                              .family = item->tokens ? job->options->family : NULL,
                              .config = given ? job->options->config : NULL,
                              .tokens = item->tokens};
    cli_kernel kernel;
    const mj_spec *spec = NULL;
    mj_status status = mj_context_spec(job->context, &spec, error);
    if (status == MJ_OK) {
        status = cli_kernel_resolve(spec, &job->target->problem, &words, &kernel, error);
    }
    mj_verdict verdict = {0};
    if (status == MJ_OK && given && !mj_legal(spec, &kernel.desc, &verdict)) {
        return mj_fail(error, MJ_ERR_ILLEGAL, "%s: --config is refused by %s: %s", words.op, verdict.refusals[0].rule,
                       verdict.refusals[0].reason);
    }
    if (status == MJ_OK) {
        snprintf(out->family, sizeof out->family, "%s", kernel.desc.space->family);
        out->config = kernel.config;
        item->estimate_us = kernel.estimate_us;
    }
    return status;
}

/* An op that stands in for others, where a plan would use it: by the times of the row that the GEMM among them, `other`, is from, else
 * by the estimate's. false: it is left out, as beside a config that the user gave. */
static bool plan_stand_in(const emit_job *job, const emit_item *other, mj_op other_op, emit_item *item,
                          cli_compile_item *out)
{
    if (other->row) {
        item->row = other->row;
        item->choice = mj_store_row_choice(other->row, out->op);
        if (!has_choice(job, other->row, out->op) || !mj_store_row_prefers(other->row, out->op, &item->instead_us)) {
            return false;
        }
        memcpy(out->family, item->choice->manifest.family, sizeof out->family);
        out->config = item->choice->manifest.config;
        return true;
    }
    cli_kernel_words words = {
        .arch = job->arch, .op = mj_op_name(out->op), .family = job->options->family, .tokens = item->tokens};
    cli_kernel kernel;
    const mj_spec *spec = NULL;
    if (mj_op_is_timed_only(out->op) || !(other->estimate_us > 0) ||
        mj_context_spec(job->context, &spec, NULL) != MJ_OK ||
        cli_kernel_resolve(spec, &job->target->problem, &words, &kernel, NULL) != MJ_OK ||
        strcmp(kernel.desc.space->family, "reference") == 0) {
        return false;
    }
    snprintf(out->family, sizeof out->family, "%s", kernel.desc.space->family);
    out->config = kernel.config;
    item->estimate_us = kernel.estimate_us;
    return kernel.estimate_us < other->estimate_us + mj_estimate_replaced_us(kernel.desc.problem,
                                                                             &kernel.desc.arch->typical, out->op,
                                                                             other_op, item->tokens);
}

/* Ops with one kernel for all batch sizes. */
static uint32_t list_plain(const emit_job *job, mj_op plain[MJ_OP_COUNT])
{
    const mj_spec *spec = NULL;
    const mj_scheme *scheme = NULL;
    bool quantises = mj_context_spec(job->context, &spec, NULL) == MJ_OK &&
                     mj_spec_find_scheme(spec, job->target->problem.scheme, &scheme, NULL) == MJ_OK &&
                     mj_scheme_quantises(scheme);
    static const mj_op ops[] = {MJ_OP_TABLES, MJ_OP_ACTIVATION, MJ_OP_COMBINE, MJ_OP_QUANTISE1, MJ_OP_QUANTISE2};
    uint32_t count = quantises ? 5 : 3;
    memcpy(plain, ops, count * sizeof *plain);
    return count;
}

mj_status cli_emit_choose(emit_job *job, emit_item *items, cli_compile_item *kernels, uint32_t *count, mj_error *error)
{
    static const mj_op gemms[] = {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT, MJ_OP_GEMM1_QUANTISE, MJ_OP_GEMM2, MJ_OP_GEMM2_COMBINE};
    mj_op plain[MJ_OP_COUNT];
    uint32_t plain_count = list_plain(job, plain);
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < plain_count && status == MJ_OK; i++) {
        kernels[*count].op = plain[i];
        status = plan_one(job, &items[*count], &kernels[*count], error);
        (*count)++;
    }
    for (uint32_t i = 0; i < job->token_count_count; i++) {
        for (size_t g = 0; g < sizeof gemms / sizeof gemms[0] && status == MJ_OK; g++) {
            emit_item *item = &items[*count];
            *item = (emit_item){.tokens = job->tokens[i]};
            kernels[*count].op = gemms[g];
            if (mj_op_stands_for(gemms[g]) == MJ_OP_COUNT) {
                status = plan_one(job, item, &kernels[*count], error);
                (*count)++;
            } else { /* behind the GEMM among the others, or what stands in for that */
                *count += plan_stand_in(job, item - 1, kernels[*count - 1].op, item, &kernels[*count]);
            }
        }
    }
    job->gemm_count = *count - plain_count;
    return status;
}
