/* cli_gen.c: gen and why: kernels on paper, for any target, with no device. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "cli_kernel.h"
#include "store.h"

static const char default_arch[] = "sm_90a";
enum { DEFAULT_TOKENS = 64 };

/* ---- What the options ask for (also for emit and the script host) ---- */
static mj_status overlay_config(const mj_space *space, const char *text, mj_config *config, mj_error *error)
{
    mj_config given;
    mj_error why = {MJ_OK, ""};
    mj_status status = mj_config_parse(text, &given, &why);
    if (status != MJ_OK) { /* the words of a command line, not a file's */
        return mj_fail(error, status == MJ_ERR_FORMAT ? MJ_ERR_ARGUMENT : status, "--%s", why.text);
    }
    for (uint32_t i = 0; status == MJ_OK && i < given.count; i++) {
        const char *names[MJ_CONFIG_MAX];
        bool known = false;
        for (uint32_t t = 0; t < space->tunable_count; t++) {
            names[t] = space->tunables[t].name;
            known = known || strcmp(names[t], given.params[i].name) == 0;
        }
        if (!known) {
            const char *near = mj_nearest_name(given.params[i].name, names, space->tunable_count);
            return mj_fail(error, MJ_ERR_ARGUMENT, "--config: family %s has no '%s'%s%s%s", space->family,
                           given.params[i].name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        }
        status = mj_config_set(config, given.params[i].name, given.params[i].value, error);
    }
    return status;
}

mj_status cli_kernel_config(const mj_space *space, const char *text, mj_config *out, mj_error *error)
{
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        mj_status status = mj_config_set(out, space->tunables[i].name, space->tunables[i].default_value, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    return text ? overlay_config(space, text, out, error) : MJ_OK;
}

static mj_status estimate(const mj_spec *spec, const char *family, uint32_t tokens, cli_kernel *out, mj_error *error)
{
    mj_ranked best;
    uint32_t count = 0;
    mj_status status = mj_estimate_rank(spec, out->desc.problem, out->desc.arch, out->desc.op, family,
                                        &out->desc.arch->typical, tokens, NULL, &best, 1, &count, NULL, error);
    if (status == MJ_OK && count == 0) {
        return mj_fail(error, MJ_ERR_ILLEGAL, "no config of %s%s is legal for %s on %s (see `moejit why`)",
                       family ? "family " : "any family", family ? family : "", mj_op_name(out->desc.op),
                       out->desc.arch->name);
    }
    if (status == MJ_OK) {
        out->desc.space = best.space;
        out->config = best.config;
        out->estimate_us = best.estimate_us;
    }
    return status;
}

mj_status cli_kernel_resolve(const mj_spec *spec, const mj_problem *problem, const cli_kernel_words *words,
                             cli_kernel *out, mj_error *error)
{
    memset(out, 0, sizeof *out);
    out->desc.problem = problem;
    out->desc.config = &out->config;
    mj_status status = mj_spec_find_arch(spec, words->arch ? words->arch : default_arch, &out->desc.arch, error);
    if (status == MJ_OK) {
        status = mj_op_parse(words->op ? words->op : "gemm1", &out->desc.op, error);
    }
    if (status == MJ_OK) {
        status = mj_spec_find_scheme(spec, problem->scheme, &out->desc.scheme, error);
    }
    if (status == MJ_OK && words->family) {
        status = mj_spec_find_space(spec, words->family, &out->desc.space, error);
    }
    if (status == MJ_OK && out->desc.space && !mj_list_has(&out->desc.arch->families, words->family)) {
        return mj_fail(error, MJ_ERR_ILLEGAL, "family %s is not built for %s", words->family, out->desc.arch->name);
    }
    if (status == MJ_OK && (!out->desc.space || !words->config)) {
        status = estimate(spec, words->family, words->tokens ? words->tokens : DEFAULT_TOKENS, out, error);
    }
    if (status == MJ_OK && words->config) {
        status = cli_kernel_config(out->desc.space, words->config, &out->config, error);
    }
    return status;
}

static cli_exit resolve(const cli_options *options, const mj_spec *spec, const cli_target *target, cli_kernel *out)
{
    if (options->arch.count > 1) {
        cli_error("%s takes one --arch", cli_commands[options->command].name);
        return CLI_USAGE;
    }
    cli_kernel_words words = {
        .arch = options->arch.count ? options->arch.items[0] : NULL,
        .op = options->op,
        .family = options->family,
        .config = options->config,
        .tokens = options->token_count_count ? options->token_counts[0] : 0,
    };
    mj_error error = {MJ_OK, ""};
    if (cli_kernel_resolve(spec, &target->problem, &words, out, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    return CLI_OK;
}

/* Context, spec, problem: what gen and why begin with. */
typedef struct session {
    mj_context *context;
    const mj_spec *spec;
    cli_target target;
} session;

static cli_exit session_open(const cli_options *options, session *out)
{
    memset(out, 0, sizeof *out);
    cli_exit code = cli_context(options, &out->context);
    mj_error error = {MJ_OK, ""};
    if (code == CLI_OK && mj_context_spec(out->context, &out->spec, &error) != MJ_OK) {
        code = cli_fail(&error);
    }
    return code == CLI_OK ? cli_resolve(options, out->context, &out->target) : code;
}

/* ---- gen ---- */
static cli_exit generate(const cli_options *options, const session *in)
{
    cli_kernel kernel;
    cli_exit code = resolve(options, in->spec, &in->target, &kernel);
    if (code != CLI_OK) {
        return code;
    }
    mj_kernel_source source = {0};
    mj_error error = {MJ_OK, ""};
    if (mj_generate(in->spec, &kernel.desc, options->prelude, &source, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    if (options->manifest) {
        mj_json *json = mj_manifest_to_json(&source.manifest);
        char *text = json ? mj_json_print(json, true) : NULL;
        mj_json_free(json);
        mj_strbuf line = {0};
        mj_strbuf_addf(&line, "%s\n", text ? text : "");
        code = text && !line.failed ? cli_write_text(options, line.text, line.bytes) : CLI_INTERNAL;
        mj_strbuf_free(&line);
        free(text);
    } else {
        code = cli_write_text(options, source.text, source.bytes);
    }
    mj_kernel_source_free(&source);
    return code;
}

cli_exit cli_gen(const cli_options *options)
{
    session in;
    cli_exit code = session_open(options, &in);
    if (code == CLI_OK) {
        code = generate(options, &in);
    }
    mj_context_destroy(in.context);
    return code;
}

/* ---- why ---- */
static void add_verdict(mj_json *row, const mj_verdict *verdict)
{
    mj_json *list = mj_json_add(row, "refusals", mj_json_array());
    for (uint32_t i = 0; i < verdict->refusal_count; i++) {
        const mj_refusal *refusal = &verdict->refusals[i];
        mj_json *item = mj_json_push(list, mj_json_object());
        mj_json_add_string(item, "rule", refusal->rule);
        mj_json_add_string(item, "reason", refusal->reason);
        mj_json_add_number(item, "measured", refusal->measured);
        mj_json_add_number(item, "limit", refusal->limit);
    }
}

static void print_verdict(mj_strbuf *out, const mj_verdict *verdict)
{
    for (uint32_t i = 0; i < verdict->refusal_count; i++) {
        const mj_refusal *refusal = &verdict->refusals[i];
        mj_strbuf_addf(out, "refused by %s: %s", refusal->rule, refusal->reason);
        bool said = strstr(refusal->reason, ", limit ") != NULL; /* rules of configs end with both numbers */
        if (!said && (refusal->measured != 0 || refusal->limit != 0)) {
            mj_strbuf_addf(out, " (measured %.15g, limit %.15g)", refusal->measured, refusal->limit);
        }
        mj_strbuf_addf(out, "\n");
    }
}

static cli_exit write_result(const cli_options *options, mj_json *json, mj_strbuf *text, cli_exit code)
{
    if (json) {
        char *printed = mj_json_print(json, true);
        mj_strbuf_addf(text, "%s\n", printed ? printed : "");
        text->failed = text->failed || !printed;
        free(printed);
        mj_json_free(json);
    }
    cli_exit written = text->failed ? CLI_INTERNAL : cli_write_text(options, text->text ? text->text : "", text->bytes);
    mj_strbuf_free(text);
    return written != CLI_OK ? written : code;
}

static cli_exit why_config(const cli_options *options, const session *in)
{
    cli_kernel kernel;
    cli_exit code = resolve(options, in->spec, &in->target, &kernel);
    if (code != CLI_OK) {
        return code;
    }
    mj_verdict verdict = {0};
    bool legal = mj_legal(in->spec, &kernel.desc, &verdict);
    char problem[512] = "", config[1024] = "";
    mj_problem_print(&in->target.problem, problem, sizeof problem, NULL);
    mj_config_print(&kernel.config, config, sizeof config, NULL);
    mj_strbuf text = {0};
    mj_json *row = NULL;
    if (options->json) {
        row = mj_json_object();
        mj_json_add_bool(row, "legal", legal);
        mj_json_add_string(row, "problem", problem);
        mj_json_add_string(row, "arch", kernel.desc.arch->name);
        mj_json_add_string(row, "op", mj_op_name(kernel.desc.op));
        mj_json_add_string(row, "family", kernel.desc.space->family);
        mj_json_add(row, "config", mj_config_to_json(&kernel.config));
        add_verdict(row, &verdict);
    } else {
        mj_strbuf_addf(&text, "%s: %s %s on %s, %s\n", legal ? "legal" : "illegal", kernel.desc.space->family,
                       mj_op_name(kernel.desc.op), kernel.desc.arch->name, config);
        print_verdict(&text, &verdict);
    }
    return write_result(options, row, &text, legal ? CLI_OK : CLI_FAILED);
}

static bool visit_all(void *user, const mj_config *config)
{
    (void)user;
    (void)config;
    return !cli_interrupted();
}

static void print_tally(mj_strbuf *text, mj_json *list, const mj_space *space, const mj_tally *tally)
{
    mj_json *row = list ? mj_json_push(list, mj_json_object()) : NULL;
    mj_json_add_string(row, "family", space->family);
    mj_json_add_int(row, "candidates", (int64_t)tally->candidate_count);
    mj_json_add_int(row, "legal", (int64_t)tally->legal_count);
    mj_json *rules = row ? mj_json_add(row, "refused", mj_json_object()) : NULL;
    if (!list) {
        mj_strbuf_addf(text, "%s: %llu of %llu configs are legal\n", space->family,
                       (unsigned long long)tally->legal_count, (unsigned long long)tally->candidate_count);
    }
    for (uint32_t i = 0; i < tally->rule_count; i++) {
        mj_json_add_int(rules, tally->rules[i].rule, (int64_t)tally->rules[i].count);
        if (!list) {
            mj_strbuf_addf(text, "  refused by %-32s %llu\n", tally->rules[i].rule,
                           (unsigned long long)tally->rules[i].count);
        }
    }
}

mj_status cli_space_map(const mj_spec *spec, mj_kernel_desc desc, const mj_space *only, mj_strbuf *text, mj_json *list,
                        uint64_t *legal, mj_error *error)
{
    mj_status status = MJ_OK;
    for (uint32_t i = 0; i < mj_spec_space_count(spec) && status == MJ_OK; i++) {
        desc.space = mj_spec_space_at(spec, i);
        if ((only && desc.space != only) || !mj_list_has(&desc.arch->families, desc.space->family) ||
            !mj_list_has(&desc.space->ops, mj_op_name(desc.op))) {
            continue;
        }
        mj_tally tally = {0};
        status = mj_space_enumerate(spec, &desc, visit_all, NULL, &tally, error);
        if (status == MJ_OK && cli_interrupted()) { /* it was not counted to the end */
            status = mj_fail(error, MJ_ERR_INTERRUPTED, "interrupted: the space is not counted");
        }
        if (status == MJ_OK) {
            print_tally(text, list, desc.space, &tally);
            *legal += tally.legal_count;
        }
    }
    return status;
}

/* How much of each family's space is legal, and what refuses the rest. */
static cli_exit why_space(const cli_options *options, const session *in)
{
    const char *arch_name = options->arch.count ? options->arch.items[0] : default_arch;
    mj_kernel_desc desc = {.problem = &in->target.problem};
    mj_error error = {MJ_OK, ""};
    const mj_space *only = NULL;
    if (mj_spec_find_arch(in->spec, arch_name, &desc.arch, &error) != MJ_OK ||
        mj_op_parse(options->op ? options->op : "gemm1", &desc.op, &error) != MJ_OK ||
        mj_spec_find_scheme(in->spec, in->target.problem.scheme, &desc.scheme, &error) != MJ_OK ||
        (options->family && mj_spec_find_space(in->spec, options->family, &only, &error) != MJ_OK)) {
        return cli_fail(&error);
    }
    mj_strbuf text = {0};
    mj_json *list = options->json ? mj_json_array() : NULL;
    uint64_t legal = 0;
    if (cli_space_map(in->spec, desc, only, &text, list, &legal, &error) != MJ_OK) {
        mj_strbuf_free(&text);
        mj_json_free(list);
        return cli_fail(&error);
    }
    if (legal == 0 && !list) {
        mj_strbuf_addf(&text, "nothing is legal for %s%s%s on %s\n", mj_op_name(desc.op), only ? " in family " : "",
                       only ? only->family : "", desc.arch->name);
    }
    return write_result(options, list, &text, legal ? CLI_OK : CLI_FAILED);
}

cli_exit cli_why(const cli_options *options)
{
    session in;
    cli_exit code = session_open(options, &in);
    if (code == CLI_OK) {
        code = options->config ? why_config(options, &in) : why_space(options, &in);
    }
    mj_context_destroy(in.context);
    return code;
}
