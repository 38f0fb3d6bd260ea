/* cli_models.c: built-in models, config.json files, and the problem that a command line describes.
 */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "config_json.h"

/* ---- Schemes ---- */

/* vLLM's and PyTorch's words for a weight format. */
static const char *const dtype_words[][2] = {
    {"bfloat16", "bf16"}, {"float16", "fp16"}, {"half", "fp16"}, {"f16", "fp16"}, {"fp8", "fp8_w8a8"}};

/* Known to vLLM's tuner or its kernels, described by the tables or not; none is served in this
 * version. */
static const char *const later_schemes[] = {"fp8_w8a16", "int8_w8a8", "int8_w8a16", "int4_w4a8",
                                            "mxfp4",     "mxfp8",     "nvfp4"};

static mj_status scheme_later(const char *word, mj_error *error)
{
    return mj_fail(error, MJ_ERR_UNSUPPORTED,
                   "--scheme %s: known, but not in this version: `moejit help tune` has those that are", word);
}

mj_status cli_find_scheme(const mj_spec *spec, const char *word, const mj_config_scheme *of_model,
                          char out[MJ_NAME_MAX], mj_error *error)
{
    if (!word || strcmp(word, "auto") == 0) {
        if (of_model->why.status != MJ_OK) {
            return mj_fail(error, of_model->why.status, "%s", of_model->why.text);
        }
        word = of_model->name[0] ? of_model->name : "bf16";
    }
    for (size_t i = 0; i < sizeof dtype_words / sizeof dtype_words[0]; i++) {
        word = strcmp(word, dtype_words[i][0]) == 0 ? dtype_words[i][1] : word;
    }
    const mj_scheme *scheme = NULL;
    mj_status status = mj_spec_find_scheme(spec, word, &scheme, error);
    if (status == MJ_OK) {
        snprintf(out, MJ_NAME_MAX, "%s", scheme->name);
        return scheme->supported ? MJ_OK : scheme_later(word, error);
    }
    for (size_t i = 0; i < sizeof later_schemes / sizeof later_schemes[0]; i++) {
        if (strcmp(word, later_schemes[i]) == 0) {
            return scheme_later(word, error);
        }
    }
    return status;
}

mj_status cli_set_layout(const char *word, mj_problem *problem, mj_error *error)
{
    mj_status status = word ? mj_layout_check(word, problem, error) : MJ_OK;
    if (word && status == MJ_OK) {
        snprintf(problem->layout, sizeof problem->layout, "%s", word);
    }
    return status;
}

/* ---- Models ---- */
static bool looks_like_path(const char *name)
{
    size_t length = strlen(name);
    return name[0] == '/' || name[0] == '.' || access(name, F_OK) == 0 ||
           (length > 5 && strcmp(name + length - 5, ".json") == 0);
}

mj_status cli_find_model(const mj_spec *spec, const char *name, const char *prefix, mj_model *out,
                         mj_config_scheme *scheme, mj_error *error)
{
    const mj_model *found = NULL;
    memset(scheme, 0, sizeof *scheme);
    mj_status status = mj_spec_find_model(spec, name, &found, error);
    if (status == MJ_OK && prefix) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "--model-prefix is for config.json files; %s is built in", name);
    }
    if (status == MJ_OK) {
        *out = *found;
        return MJ_OK;
    }
    if (looks_like_path(name)) {
        status = mj_config_json_read(name, prefix, out, scheme, error);
        if (status == MJ_ERR_NOT_FOUND && error) { /* a path was meant: a missing input file */
            error->status = status = MJ_ERR_FORMAT;
        }
        return status;
    }
    if (strchr(name, '/') && error && !strstr(error->text, "mean")) {
        return mj_fail(error, MJ_ERR_NOT_FOUND,
                       "unknown model '%.200s': not built in (see `moejit models`); download its config.json "
                       "and give the path",
                       name);
    }
    return status;
}

/* ---- The problem of a command line ---- */
static cli_exit resolve_text(const cli_options *options, cli_target *out)
{
    mj_error error = {MJ_OK, ""};
    if (options->model || options->model_prefix || options->tp_given || options->ep_given || options->expert_parallel ||
        options->scheme) {
        cli_error("--problem says everything: leave out --model, --model-prefix, --tp, --ep and --scheme");
        return CLI_USAGE;
    }
    mj_status status = mj_problem_parse(options->problem, &out->problem, &error);
    if (status == MJ_OK) {
        status = mj_problem_check(&out->problem, &error);
    }
    if (status != MJ_OK) {
        cli_error("--problem: %s", error.text);
        return CLI_USAGE;
    }
    snprintf(out->label, sizeof out->label, "%s", "as given by --problem");
    return CLI_OK;
}

static mj_status resolve_model(const cli_options *options, const mj_spec *spec, cli_target *out, mj_error *error)
{
    char scheme[MJ_NAME_MAX];
    mj_config_scheme of_model;
    mj_status status = cli_find_model(spec, options->model, options->model_prefix, &out->model, &of_model, error);
    if (status == MJ_OK) {
        status = cli_find_scheme(spec, options->scheme, &of_model, scheme, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    status = mj_problem_from_model(&out->model, options->tp, options->ep, scheme, &out->problem, error);
    if (status == MJ_OK) {
        status = mj_problem_check(&out->problem, error);
    }
    if (status != MJ_OK && error && out->model.hf_id_count == 0) {
        char text[900];
        snprintf(text, sizeof text, "%.890s", error->text);
        return mj_fail(error, MJ_ERR_ARGUMENT, "%.100s: %s", options->model, text);
    }
    return status;
}

static cli_exit resolve_layer(const cli_options *options, mj_context *context, cli_target *out)
{
    if (options->problem) {
        return resolve_text(options, out);
    }
    if (!options->model) {
        cli_error("%s: --model is missing (see `moejit models`), e.g. --model mixtral-8x7b",
                  cli_commands[options->command].name);
        return CLI_USAGE;
    }
    const mj_spec *spec;
    mj_error error = {MJ_OK, ""};
    if (mj_context_spec(context, &spec, &error) != MJ_OK || resolve_model(options, spec, out, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    snprintf(out->label, sizeof out->label, "%s, tp %u, ep %u", out->model.name, options->tp, options->ep);
    if (!out->model.verified) {
        snprintf(out->note, sizeof out->note, "the model's numbers are recalled, not read from its files");
    } else if (out->model.hf_id_count == 0) { /* what was noticed in a config.json */
        snprintf(out->note, sizeof out->note, "%s", out->model.note);
    }
    return CLI_OK;
}

cli_exit cli_resolve(const cli_options *options, mj_context *context, cli_target *out)
{
    memset(out, 0, sizeof *out);
    out->tp = options->tp;
    out->ep = options->ep;
    mj_error error = {MJ_OK, ""};
    cli_exit code = resolve_layer(options, context, out);
    if (code == CLI_OK && cli_set_layout(options->layout, &out->problem, &error) != MJ_OK) {
        cli_error("--layout: %s", error.text);
        return CLI_USAGE;
    }
    return code;
}

/* ---- moejit models ---- */
mj_json *cli_model_json(const mj_model *model)
{
    mj_json *row = mj_json_object();
    mj_json_add_string(row, "name", model->name);
    mj_json *ids = mj_json_add(row, "hf_ids", mj_json_array());
    for (uint32_t i = 0; i < model->hf_id_count; i++) {
        mj_json_push(ids, mj_json_new_string(model->hf_ids[i]));
    }
    mj_json_add_int(row, "experts", model->expert_count);
    mj_json_add_int(row, "top_k", model->top_k);
    mj_json_add_int(row, "hidden", model->hidden);
    mj_json_add_int(row, "intermediate", model->intermediate);
    mj_json_add_bool(row, "gated", model->gated);
    mj_json_add_bool(row, "bias", model->bias);
    mj_json_add_string(row, "activation", mj_activation_name(model->activation));
    mj_json_add_int(row, "shared_experts", model->shared_expert_count);
    mj_json_add_int(row, "shared_intermediate", model->shared_intermediate);
    mj_json_add_bool(row, "verified", model->verified);
    mj_json_add_string(row, "source", model->source);
    mj_json_add_string(row, "note", model->note);
    return row;
}

static void print_model(const mj_model *model, const mj_config_scheme *scheme)
{
    printf("%s\n", model->name);
    for (uint32_t i = 0; i < model->hf_id_count; i++) {
        printf("  also           %s\n", model->hf_ids[i]);
    }
    printf("  experts        %u, %u per token\n", model->expert_count, model->top_k);
    printf("  hidden         %u\n  intermediate   %u\n", model->hidden, model->intermediate);
    printf("  activation     %s, %s%s\n", mj_activation_name(model->activation), model->gated ? "gated" : "not gated",
           model->bias ? ", with biases" : "");
    if (model->shared_expert_count) {
        printf("  shared experts %u of %u in all (not served in this version)\n", model->shared_expert_count,
               model->shared_intermediate);
    }
    printf("  numbers        %s: %s\n", model->verified ? "verified" : "unverified", model->source);
    if (scheme->name[0] || scheme->why.status != MJ_OK) {
        printf("  scheme         %s\n", scheme->name[0] ? scheme->name : scheme->why.text);
    }
    if (model->note[0]) {
        printf("  note           %s\n", model->note);
    }
}

static void print_model_table(const mj_spec *spec)
{
    printf("%-24s %7s %5s %7s %12s  %-10s %-6s %-14s %s\n", "model", "experts", "top-k", "hidden", "intermediate",
           "activation", "gated", "shared", "numbers");
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        const mj_model *m = mj_spec_model_at(spec, i);
        char shared[32] = "-";
        if (m->shared_expert_count) {
            snprintf(shared, sizeof shared, "%u (%u)", m->shared_expert_count, m->shared_intermediate);
        }
        printf("%-24s %7u %5u %7u %12u  %-10s %-6s %-14s %s\n", m->name, m->expert_count, m->top_k, m->hidden,
               m->intermediate, mj_activation_name(m->activation), m->gated ? "yes" : "no", shared,
               m->verified ? "verified" : "unverified");
    }
}

static cli_exit models_one(const cli_options *options, const mj_spec *spec, const char *name)
{
    mj_model model;
    mj_config_scheme scheme;
    mj_error error = {MJ_OK, ""};
    if (cli_find_model(spec, name, options->model_prefix, &model, &scheme, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    if (scheme.why.status == MJ_ERR_FORMAT) {
        return cli_fail(&scheme.why);
    }
    if (options->json) {
        mj_json *json = cli_model_json(&model);
        mj_json_add_string(json, "scheme", scheme.name);
        if (scheme.why.status != MJ_OK) {
            mj_json_add_string(json, "scheme_note", scheme.why.text);
        }
        return cli_print_json(json);
    }
    print_model(&model, &scheme);
    return CLI_OK;
}

cli_exit cli_models(const cli_options *options)
{
    mj_context *context;
    const mj_spec *spec;
    mj_error error = {MJ_OK, ""};
    cli_exit code = cli_context(options, &context);
    if (code != CLI_OK) {
        return code;
    }
    const char *name = options->positional_count ? options->positionals[0] : options->model;
    if (mj_context_spec(context, &spec, &error) != MJ_OK) {
        code = cli_fail(&error);
    } else if (name) {
        code = models_one(options, spec, name);
    } else if (options->json) {
        mj_json *list = mj_json_array();
        for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
            mj_json_push(list, cli_model_json(mj_spec_model_at(spec, i)));
        }
        code = cli_print_json(list);
    } else {
        print_model_table(spec);
    }
    mj_context_destroy(context);
    return code;
}
