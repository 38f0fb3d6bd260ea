/* generate.c: a legal desc -> source text and manifest.
 *
 *     banner, MJ_ constants | templates/prelude/<name>.h | marker | argument struct, expanded template
 *
 * What follows the marker does not depend on the prelude. */
#include "checked.h"
#include "family.h"
#include "scheme_words.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MARKER "/* ---- body ---- */\n"

enum {
    PROBLEM_TEXT_BYTES = 512,
    CONFIG_TEXT_BYTES = 1024,
    VARS_OWN = 32, /* that collect_vars names itself */
    VARS_MAX = VARS_OWN + MJ_CONFIG_MAX + MJ_SCHEME_TEXTS + MJ_SCHEME_NUMBERS + MJ_DERIVED_VARS_MAX,
    VALUE_BYTES = 24,
};

typedef struct generation {
    const mj_spec *spec;
    const mj_kernel_desc *desc;
    const char *prelude;
    mj_derived derived;
    mj_scheme_words scheme;
    char problem_text[PROBLEM_TEXT_BYTES], config_text[CONFIG_TEXT_BYTES];
    char symbol[64], template_name[128];
    mj_template_var vars[VARS_MAX];
    char numbers[VARS_MAX][VALUE_BYTES]; /* values of numeric variables */
    size_t var_count;
    mj_strbuf out;
} generation;

/* ---- Template variables ---- */

/* The first of a name stays: a tunable `threads` is the derived one. */
static void add_text(generation *g, const char *name, const char *value, bool optional)
{
    for (size_t i = 0; i < g->var_count; i++) {
        if (strcmp(g->vars[i].name, name) == 0) {
            return;
        }
    }
    if (g->var_count < VARS_MAX) {
        g->vars[g->var_count++] = (mj_template_var){name, value, optional};
    }
}

static void add_number(generation *g, const char *name, int64_t value, bool optional)
{
    if (g->var_count < VARS_MAX) {
        char *text = g->numbers[g->var_count];
        snprintf(text, VALUE_BYTES, "%" PRId64, value);
        add_text(g, name, text, optional);
    }
}

static void collect_vars(generation *g)
{
    const mj_kernel_desc *desc = g->desc;
    const mj_problem *p = desc->problem;
    mj_gemm_shape gemm = mj_problem_gemm(p, desc->op);
    add_text(g, "symbol", g->symbol, true);
    add_text(g, "op", mj_op_name(desc->op), true);
    add_text(g, "activation", mj_activation_name(p->activation), true);
    add_text(g, "elem", desc->scheme->io_format, true);
    add_text(g, "wgmma_type", desc->scheme->input_format, true);
    add_number(g, "gemm", mj_op_is_gemm1(desc->op) ? 1 : mj_op_is_gemm2(desc->op) ? 2 : 0, true);
    add_number(g, "experts", p->expert_count, true);
    add_number(g, "top_k", p->top_k, true);
    add_number(g, "hidden", p->hidden, true);
    add_number(g, "inter", p->intermediate, true);
    add_number(g, "gated", p->gated, true);
    add_number(g, "bias", p->bias, true);
    add_number(g, "act_id", p->activation, true);
    add_number(g, "n", gemm.n, true);
    add_number(g, "k", gemm.k, true);
    add_number(g, "out_n", gemm.out_n, true);
    add_number(g, "turn_rows", gemm.turn_rows, true);
    add_number(g, "activates", mj_op_activates(desc->op), true);
    add_number(g, "combines", mj_op_combines(desc->op), true);
    add_number(g, "quantises", desc->op == MJ_OP_GEMM1_QUANTISE, true);
    add_number(g, "threads", g->derived.block_threads, true);
    add_number(g, "smem_bytes", g->derived.smem_bytes, true);
    for (uint32_t i = 0; i < desc->space->tunable_count; i++) {
        int32_t value = 0;
        if (mj_config_get(desc->config, desc->space->tunables[i].name, &value)) {
            add_number(g, desc->space->tunables[i].name, value, false);
        }
    }
    mj_scheme_words_fill(desc->scheme, gemm, &g->scheme);
    for (uint32_t i = 0; i < MJ_SCHEME_TEXTS; i++) {
        add_text(g, g->scheme.texts[i].name, g->scheme.texts[i].value, true);
    }
    for (uint32_t i = 0; i < MJ_SCHEME_NUMBERS; i++) {
        add_number(g, g->scheme.numbers[i].name, g->scheme.numbers[i].value, true);
    }
    for (uint32_t i = 0; i < g->derived.var_count; i++) {
        add_number(g, g->derived.vars[i].name, g->derived.vars[i].value, false);
    }
}

/* ---- Text ---- */

static void add(mj_strbuf *out, const char *text)
{
    mj_strbuf_add(out, text, strlen(text));
}

static void write_banner(generation *g)
{
    const mj_kernel_desc *desc = g->desc;
    bool own_prelude = strcmp(g->prelude, desc->arch->prelude) == 0;
    mj_strbuf_addf(&g->out, "/* Written by moejit %s (generator version %d). Do not edit: write it again with\n",
                   MOEJIT_VERSION_STRING, MJ_GENERATOR_VERSION);
    mj_strbuf_addf(&g->out, " *     moejit gen --problem %s --op %s --arch %s --family %s --config %s%s%s\n",
                   g->problem_text, mj_op_name(desc->op), desc->arch->name, desc->space->family, g->config_text,
                   own_prelude ? "" : " --prelude ", own_prelude ? "" : g->prelude);
    mj_strbuf_addf(&g->out, " * problem: %s\n * config:  %s\n */\n", g->problem_text, g->config_text);
    mj_strbuf_addf(&g->out, "#define MJ_BLOCK_THREADS %" PRIu32 "\n", g->derived.block_threads);
    mj_strbuf_addf(&g->out, "#define MJ_WARP_SIZE %" PRIu32 "\n", desc->arch->warp_size);
    mj_strbuf_addf(&g->out, "#define MJ_SMEM_BYTES %" PRIu32 "\n", g->derived.smem_bytes);
    mj_strbuf_addf(&g->out, "#define MJ_BLOCKS_PER_SM_MIN %" PRIu32 "\n",
                   g->derived.blocks_per_sm_min ? g->derived.blocks_per_sm_min : 1);
}

static void add_line_end(mj_strbuf *out)
{
    if (out->bytes && out->text[out->bytes - 1] != '\n') {
        add(out, "\n");
    }
}

/* templates/prelude/<prelude>_<primitives>.h: what one kind of chip has, expanded, so that only the forms in use are written. */
static mj_status write_primitives(generation *g, mj_error *error)
{
    char name[128];
    mj_template_var vars[VARS_MAX];
    if (!g->desc->space->primitives[0]) {
        return MJ_OK;
    }
    snprintf(name, sizeof name, "templates/prelude/%s_%s.h", g->prelude, g->desc->space->primitives);
    memcpy(vars, g->vars, g->var_count * sizeof *vars);
    for (size_t i = 0; i < g->var_count; i++) {
        vars[i].optional = true;
    }
    mj_status status = mj_expand(mj_spec_files(g->spec), name, vars, g->var_count, &g->out, error);
    add_line_end(&g->out);
    return status;
}

static mj_status write_prelude(generation *g, mj_error *error)
{
    char name[96];
    const char *text = NULL;
    size_t bytes = 0;
    snprintf(name, sizeof name, "templates/prelude/%s.h", g->prelude);
    mj_status status = mj_files_get(mj_spec_files(g->spec), name, &text, &bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    mj_strbuf_addf(&g->out, "#line 1 \"%s\"\n", name);
    mj_strbuf_add(&g->out, text, bytes);
    add_line_end(&g->out);
    return write_primitives(g, error);
}

/* Returns its size; every compiler that sees it checks that. */
static uint32_t write_args(generation *g)
{
    uint32_t count = 0, bytes = mj_args_bytes(g->desc->op, g->derived.tensor_map_count);
    const mj_arg *args = mj_op_args(g->desc->op, &count);
    mj_strbuf_addf(&g->out, "#line 1 \"arguments of %s\"\ntypedef struct mj_args {\n", mj_op_name(g->desc->op));
    for (uint32_t i = 0; i < count; i++) {
        const char *type = mj_arg_type(args[i]);
        bool pointer = type[strlen(type) - 1] == '*';
        mj_strbuf_addf(&g->out, "    %s%s%s;\n", type, pointer ? "" : " ", mj_arg_name(args[i]));
    }
    for (uint32_t i = 0; i < g->derived.tensor_map_count; i++) {
        mj_strbuf_addf(&g->out, "    mj_tensor_map %s;\n", g->derived.tensor_maps[i].name);
    }
    mj_strbuf_addf(&g->out,
                   "} mj_args;\nMJ_STATIC_ASSERT(sizeof(mj_args) == %" PRIu32 ", \"the host packs as many bytes\");\n",
                   bytes);
    return bytes;
}

/* "templates/%s.tmpl" with the op's name in the place of %s, or the name itself. */
static mj_status name_template(generation *g, mj_error *error)
{
    const char *pattern = g->desc->space->template_name, *mark = strstr(pattern, "%s");
    int head = mark ? (int)(mark - pattern) : (int)strlen(pattern);
    int length = snprintf(g->template_name, sizeof g->template_name, "%.*s%s%s", head, pattern,
                          mark ? mj_op_name(g->desc->op) : "", mark ? mark + 2 : "");
    if (length < 0 || (size_t)length >= sizeof g->template_name) {
        return mj_fail(error, MJ_ERR_CAPACITY, "family %s: the template's name is too long", g->desc->space->family);
    }
    return MJ_OK;
}

/* The symbol is in the body, so it must be the same for every prelude: a hash of what determines the body. */
static void name_symbol(generation *g)
{
    char hex[MJ_SHA256_HEX];
    mj_sha256 hash;
    mj_sha256_start(&hash);
    const char *parts[] = {g->problem_text, mj_op_name(g->desc->op), g->desc->arch->name, g->desc->space->family,
                           g->config_text};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        mj_sha256_update(&hash, parts[i], strlen(parts[i]) + 1);
    }
    mj_sha256_finish(&hash, hex);
    snprintf(g->symbol, sizeof g->symbol, "mj_%.16s_%.16s_%.16s", mj_op_name(g->desc->op), g->desc->space->family, hex);
    for (char *c = g->symbol; *c; c++) {
        *c = isalnum((unsigned char)*c) ? *c : '_';
    }
}

static mj_status check_legal(generation *g, mj_error *error)
{
    mj_verdict verdict;
    if (mj_legal(g->spec, g->desc, &verdict)) {
        return MJ_OK;
    }
    const mj_refusal *first = &verdict.refusals[0];
    uint32_t more = verdict.refusal_count - 1;
    return mj_fail(error, MJ_ERR_ILLEGAL, "%s of %s on %s: rule %s: %s%s", mj_op_name(g->desc->op),
                   g->desc->space->family, g->desc->arch->name, first->rule, first->reason,
                   more ? " (and further rules)" : "");
}

static void fill_manifest(const generation *g, uint32_t args_bytes, mj_manifest *out)
{
    const mj_kernel_desc *desc = g->desc;
    memset(out, 0, sizeof *out);
    snprintf(out->symbol, sizeof out->symbol, "%s", g->symbol);
    out->op = desc->op;
    memcpy(out->family, desc->space->family, sizeof out->family);
    memcpy(out->arch, desc->arch->name, sizeof out->arch);
    memcpy(out->compile_target, desc->arch->compile_target, sizeof out->compile_target);
    out->problem = *desc->problem;
    out->config = *desc->config;
    out->block_threads = g->derived.block_threads;
    out->smem_bytes = g->derived.smem_bytes;
    out->grid = g->derived.grid;
    out->args_bytes = args_bytes;
    out->pointer_align_bytes = g->derived.pointer_align_bytes;
    out->tiles_per_row_tile = g->derived.n_tiles;
    out->partial_tile_bytes = g->derived.partial_tile_bytes;
    out->partial_block_bytes = g->derived.partial_block_bytes;
    out->counters_per_block = g->derived.counters_per_block;
    out->counters_per_token = g->derived.counters_per_token;
    out->dependent_launch = g->derived.dependent_launch;
    out->first_pass = g->derived.first_pass;
    out->first_grid = g->derived.first_grid;
    out->pair_scratch_bytes = g->derived.pair_scratch_bytes;
    out->needed_args = mj_scheme_needed_args(desc->scheme, desc->op);
    if (mj_op_writes_codes(desc->op)) {
        mj_gemm_shape gemm = mj_problem_gemm(desc->problem, desc->op);
        out->scales_per_row = mj_scheme_scales_per_row(desc->scheme, mj_op_is_quantise(desc->op) ? gemm.k : gemm.out_n);
    }
    if (mj_scheme_print(desc->scheme, out->scheme, sizeof out->scheme, NULL) != MJ_OK ||
        mj_scheme_parse(out->scheme, &(mj_scheme){0}, NULL) != MJ_OK) {
        out->scheme[0] = '\0'; /* built all the same: a check then says that it does not know it */
    }
    out->tensor_map_count = g->derived.tensor_map_count;
    memcpy(out->tensor_maps, g->derived.tensor_maps, sizeof out->tensor_maps);
    mj_sha256_hex(g->out.text, g->out.bytes, out->source_sha256);
}

static mj_status write_source(generation *g, mj_kernel_source *out, mj_error *error)
{
    write_banner(g);
    mj_status status = write_prelude(g, error);
    if (status != MJ_OK) {
        return status;
    }
    add(&g->out, BODY_MARKER);
    size_t body_offset = g->out.bytes;
    uint32_t args_bytes = write_args(g);
    status = mj_expand(mj_spec_files(g->spec), g->template_name, g->vars, g->var_count, &g->out, error);
    if (status != MJ_OK) {
        return status;
    }
    if (g->out.failed) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a kernel's source");
    }
    fill_manifest(g, args_bytes, &out->manifest);
    out->body_offset = body_offset;
    out->bytes = g->out.bytes;
    out->text = g->out.text;
    g->out = (mj_strbuf){0};
    return MJ_OK;
}

/* The config in the space's order, so that equal configs give equal bytes. */
static mj_status order_config(const mj_kernel_desc *desc, mj_config *out, mj_error *error)
{
    mj_status status = MJ_OK;
    *out = (mj_config){0};
    for (uint32_t i = 0; i < desc->space->tunable_count && status == MJ_OK; i++) {
        int32_t value = 0;
        if (mj_config_get(desc->config, desc->space->tunables[i].name, &value)) {
            status = mj_config_set(out, desc->space->tunables[i].name, value, error);
        }
    }
    return status;
}

static mj_status generate(generation *g, const mj_kernel_desc *asked, mj_kernel_source *out, mj_error *error)
{
    mj_config ordered;
    mj_kernel_desc desc = *asked;
    g->desc = asked;
    mj_status status = mj_problem_check(asked->problem, error);
    if (status == MJ_OK) {
        status = check_legal(g, error);
    }
    if (status == MJ_OK) {
        status = order_config(asked, &ordered, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    desc.config = &ordered;
    g->desc = &desc;
    if ((status = mj_family_derive(&desc, &g->derived, error)) != MJ_OK ||
        (status = mj_problem_print(desc.problem, g->problem_text, sizeof g->problem_text, error)) != MJ_OK ||
        (status = mj_config_print(&ordered, g->config_text, sizeof g->config_text, error)) != MJ_OK ||
        (status = name_template(g, error)) != MJ_OK) {
        return status;
    }
    name_symbol(g);
    collect_vars(g);
    return write_source(g, out, error);
}

mj_status mj_generate(const mj_spec *spec, const mj_kernel_desc *desc, const char *prelude, mj_kernel_source *out,
                      mj_error *error)
{
    memset(out, 0, sizeof *out);
    generation *g = calloc(1, sizeof *g); /* too large for a stack that may be a thread's */
    if (!g) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a kernel's source");
    }
    g->spec = spec;
    g->prelude = prelude ? prelude : desc->arch->prelude;
    mj_status status = generate(g, desc, out, error);
    mj_strbuf_free(&g->out);
    free(g);
    return status;
}

void mj_kernel_source_free(mj_kernel_source *source)
{
    if (source) {
        free(source->text);
        memset(source, 0, sizeof *source);
    }
}
