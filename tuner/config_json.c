/* config_json.c: reads a Hugging Face config.json by tables. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config_json.h"
#include "config_quant.h"
#include "json.h"
#include "os.h"

#define CONFIG_BYTES_MAX (4u << 20)

/* ---- Tables ---- */
enum { FIELD_EXPERTS, FIELD_TOP_K, FIELD_INTERMEDIATE, FIELD_HIDDEN, FIELD_COUNT };

typedef struct field_row {
    const char *what;
    uint32_t max;
    const char *keys[10]; /* first one present wins */
} field_row;

static const field_row fields[FIELD_COUNT] = {
    [FIELD_EXPERTS] = {"the number of experts",
                       4096,
                       {"num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts", "num_moe_experts",
                        "moe_num_routed_experts"}},
    [FIELD_TOP_K] = {"experts per token",
                     64,
                     {"num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "top_k_experts",
                      "experts_per_token", "moe_k", "num_selected_experts", "moe_router_topk"}},
    [FIELD_INTERMEDIATE] = {"the experts' intermediate size",
                            1u << 20,
                            {"moe_intermediate_size", "expert_hidden_dim", "expert_ffn_hidden_size",
                             "moe_ffn_hidden_size", "ffn_hidden_size", "intermediate_size"}},
    [FIELD_HIDDEN] = {"the hidden size", 1u << 20, {"hidden_size", "d_model", "n_embd", "dim"}},
};

/* Where the MoE part of a composed model may lie, in search order. */
static const char *const nests[] = {"",           "text_config",     "thinker_config.text_config", "ffn_config",
                                    "llm_config", "language_config", "text_config.ffn_config",     "thinker_config"};

/* What the numbers do not say. Matched against model_type, of the object read or of the file. */
typedef struct quirk_row {
    const char *model_type;
    bool plain;             /* not gated: gemm1 writes N columns */
    bool bias;              /* per-expert biases */
    int activation;         /* mj_activation, or -1: hidden_act says it */
    const char *hidden_key; /* tried before the usual names */
} quirk_row;

static const quirk_row quirks[] = {
    {"gpt_oss", false, true, MJ_ACT_SWIGLUOAI, NULL},
    {"nemotron_h", true, false, MJ_ACT_RELU2, "moe_latent_size"},
    {"nemotron_h_moe", true, false, MJ_ACT_RELU2, "moe_latent_size"},
};

static const char *const activation_keys[] = {"hidden_act", "hidden_activation", "mlp_hidden_act", "ffn_act_fn.name",
                                              "activation_function"};
typedef struct activation_row {
    const char *name;
    mj_activation activation;
} activation_row;
static const activation_row activations[] = {
    {"silu", MJ_ACT_SILU},           {"swish", MJ_ACT_SILU},         {"swiglu", MJ_ACT_SILU},
    {"gelu", MJ_ACT_GELU},           {"gelu_new", MJ_ACT_GELU_TANH}, {"gelu_pytorch_tanh", MJ_ACT_GELU_TANH},
    {"gelu_tanh", MJ_ACT_GELU_TANH}, {"relu2", MJ_ACT_RELU2},        {"swigluoai", MJ_ACT_SWIGLUOAI},
};

/* ---- The reader ---- */
typedef struct reader {
    const char *file;
    const mj_json *root, *node; /* node: the object that holds the MoE keys */
    char where[96];             /* "" or "text_config." before a key */
    mj_error *error;
} reader;

/* `path` with dots, from `node`; NULL: absent. */
static const mj_json *descend(const mj_json *node, const char *path)
{
    char step[64];
    while (*path && node) {
        size_t length = strcspn(path, ".");
        if (length == 0 || length >= sizeof step || !mj_json_is_object(node)) {
            return NULL;
        }
        memcpy(step, path, length);
        step[length] = '\0';
        node = mj_json_get(node, step);
        path += length + (path[length] == '.');
    }
    return node;
}

static bool has_experts(const mj_json *node)
{
    for (size_t i = 0; mj_json_is_object(node) && fields[FIELD_EXPERTS].keys[i]; i++) {
        const mj_json *value = mj_json_get(node, fields[FIELD_EXPERTS].keys[i]);
        if (value && !mj_json_is_null(value)) {
            return true;
        }
    }
    return false;
}

static mj_status no_experts(const reader *in)
{
    return mj_fail(in->error, MJ_ERR_FORMAT,
                   "%s: no key for the number of experts%s%s (num_local_experts, n_routed_experts, "
                   "num_experts, ...): "
                   "not a Mixture-of-Experts model, or --model-prefix must say where it lies",
                   in->file, in->where[0] ? " under " : "", in->where);
}

static mj_status find_node(reader *in, const char *prefix)
{
    if (prefix && *prefix) {
        in->node = descend(in->root, prefix);
        snprintf(in->where, sizeof in->where, "%s.", prefix);
        if (!mj_json_is_object(in->node)) {
            return mj_fail(in->error, MJ_ERR_FORMAT, "%s: %s: no such object (--model-prefix)", in->file, prefix);
        }
    }
    const mj_json *base = prefix && *prefix ? in->node : in->root;
    for (size_t i = 0; i < sizeof nests / sizeof nests[0]; i++) {
        const mj_json *node = descend(base, nests[i]);
        if (has_experts(node)) {
            in->node = node;
            size_t used = strlen(in->where);
            snprintf(in->where + used, sizeof in->where - used, "%s%s", nests[i], nests[i][0] ? "." : "");
            return MJ_OK;
        }
    }
    return no_experts(in);
}

/* A whole number 1..max, or a list of them (per layer): the first. */
static mj_status read_count(const reader *in, const char *where, const char *key, const mj_json *value, uint32_t max,
                            uint32_t *out, bool *varies)
{
    const mj_json *item = value;
    if (mj_json_is_array(value)) {
        item = mj_json_first(value);
        for (const mj_json *other = item ? mj_json_next(item) : NULL; other; other = mj_json_next(other)) {
            if (!mj_json_is_number(other)) {
                item = other; /* refused below */
                break;
            }
            *varies = *varies || !mj_json_is_number(other) || mj_json_value_number(other) != mj_json_value_number(item);
        }
    }
    if (!mj_json_is_number(item)) {
        return mj_fail(in->error, MJ_ERR_FORMAT, "%s: %s%s: a whole number in 1..%u is due", in->file, where, key, max);
    }
    double number = mj_json_value_number(item);
    if (!(number >= 1) || number > max || number != floor(number)) {
        return mj_fail(in->error, MJ_ERR_FORMAT, "%s: %s%s: %.17g is not a whole number in 1..%u", in->file, where, key,
                       number, max);
    }
    *out = (uint32_t)number;
    return MJ_OK;
}

/* The field in the MoE object, else beside it: composed files keep some keys (hidden_size) at the
 * top. */
static mj_status read_field(const reader *in, const field_row *field, const char *first_key, uint32_t *out,
                            bool *varies)
{
    const mj_json *places[2] = {in->node, in->root};
    for (int place = 0; place < 2; place++) {
        const char *where = place == 0 ? in->where : "";
        for (int i = first_key ? -1 : 0; i < 10 && (i < 0 || field->keys[i]); i++) {
            const char *key = i < 0 ? first_key : field->keys[i];
            const mj_json *value = mj_json_get(places[place], key);
            if (value && !mj_json_is_null(value)) {
                return read_count(in, where, key, value, field->max, out, varies);
            }
        }
    }
    return mj_fail(in->error, MJ_ERR_FORMAT, "%s: %s%s: missing (%s)", in->file, in->where, field->keys[0],
                   field->what);
}

static const char *text_of(const mj_json *value)
{
    return mj_json_is_string(value) ? mj_json_value_string(value) : NULL;
}

static const quirk_row *find_quirk(const reader *in)
{
    const mj_json *places[2] = {in->node, in->root};
    for (int place = 0; place < 2; place++) {
        const char *type = text_of(mj_json_get(places[place], "model_type"));
        for (size_t i = 0; type && i < sizeof quirks / sizeof quirks[0]; i++) {
            if (strcmp(type, quirks[i].model_type) == 0) {
                return &quirks[i];
            }
        }
    }
    return NULL;
}

static mj_status read_activation(const reader *in, mj_activation *out)
{
    *out = MJ_ACT_SILU;
    for (size_t k = 0; k < sizeof activation_keys / sizeof activation_keys[0]; k++) {
        const mj_json *value = descend(in->node, activation_keys[k]);
        value = value ? value : descend(in->root, activation_keys[k]);
        const char *name = text_of(value);
        if (!name) {
            continue;
        }
        for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
            if (strcmp(name, activations[i].name) == 0) {
                *out = activations[i].activation;
                return MJ_OK;
            }
        }
        return mj_fail(in->error, MJ_ERR_FORMAT, "%s: %s%s: activation '%.40s' is not known to this version", in->file,
                       in->where, activation_keys[k], name);
    }
    return MJ_OK;
}

/* By the dtype, then by what lies there instead. */
static void read_scheme(const reader *in, mj_config_scheme *scheme, mj_model *out)
{
    static const char *const names[][2] = {{"bfloat16", "bf16"},
                                           {"torch.bfloat16", "bf16"},
                                           {"float16", "fp16"},
                                           {"torch.float16", "fp16"},
                                           {"half", "fp16"}};
    static const char *const keys[] = {"torch_dtype", "dtype"};
    const mj_json *places[2] = {in->node, in->root};
    char half[MJ_NAME_MAX] = "";
    for (int at = 0; at < 4 && !half[0]; at++) {
        const char *word = text_of(mj_json_get(places[at / 2], keys[at % 2]));
        for (size_t i = 0; word && i < sizeof names / sizeof names[0]; i++) {
            if (strcmp(word, names[i][0]) == 0) {
                snprintf(half, sizeof half, "%s", names[i][1]);
            }
        }
    }
    memset(scheme, 0, sizeof *scheme);
    if (!mj_config_quant_read(in->root, half, scheme, out->note, sizeof out->note) &&
        !mj_config_quant_read(in->node, half, scheme, out->note, sizeof out->note)) {
        memcpy(scheme->name, half, sizeof half);
    }
    if (scheme->why.status != MJ_OK) {
        mj_fail(&scheme->why, scheme->why.status, "%.300s: %.600s", in->file, scheme->why.text);
    }
}

static void read_shared(const reader *in, mj_model *out)
{
    static const char *const counts[] = {"n_shared_experts", "num_shared_experts", "num_shared_expert",
                                         "moe_num_shared_experts"};
    static const char *const widths[] = {"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size",
                                         "shared_intermediate_size"};
    reader quiet = *in; /* described only: a strange value is no reason to refuse the file */
    quiet.error = NULL;
    bool varies = false;
    for (size_t i = 0; i < 4; i++) {
        const mj_json *value = mj_json_get(in->node, counts[i]);
        if (value && read_count(&quiet, "", counts[i], value, 64, &out->shared_expert_count, &varies) == MJ_OK) {
            break;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        const mj_json *value = mj_json_get(in->node, widths[i]);
        if (value && read_count(&quiet, "", widths[i], value, 1u << 20, &out->shared_intermediate, &varies) == MJ_OK) {
            out->shared_expert_count += out->shared_expert_count == 0;
            return;
        }
    }
    out->shared_intermediate = out->shared_expert_count * out->intermediate;
}

/* A word for tables: the model's own name, its type, or the file's. */
static void read_name(const reader *in, mj_model *out)
{
    const char *name = text_of(mj_json_get(in->root, "_name_or_path"));
    if (!name || !*name) {
        name = text_of(mj_json_get(in->root, "model_type"));
    }
    if (!name || !*name) {
        name = "config.json";
    }
    const char *slash = strrchr(name, '/');
    name = slash && slash[1] ? slash + 1 : name;
    size_t length = 0;
    for (; name[length] && length + 1 < sizeof out->name; length++) {
        unsigned char byte = (unsigned char)name[length];
        out->name[length] = byte > ' ' && byte < 127 && byte != '"' && byte != '\\' ? (char)byte : '_';
    }
    out->name[length] = '\0';
}

static mj_status read_model(reader *in, const char *prefix, mj_model *out, mj_config_scheme *scheme)
{
    if (!mj_json_is_object(in->root)) {
        return mj_fail(in->error, MJ_ERR_FORMAT, "%s: not a JSON object", in->file);
    }
    mj_status status = find_node(in, prefix);
    if (status != MJ_OK) {
        return status;
    }
    const quirk_row *quirk = find_quirk(in);
    uint32_t values[FIELD_COUNT];
    bool varies = false;
    for (int i = 0; i < FIELD_COUNT; i++) {
        const char *first_key = i == FIELD_HIDDEN && quirk ? quirk->hidden_key : NULL;
        status = read_field(in, &fields[i], first_key, &values[i], &varies);
        if (status != MJ_OK) {
            return status;
        }
    }
    out->expert_count = values[FIELD_EXPERTS];
    out->top_k = values[FIELD_TOP_K];
    out->intermediate = values[FIELD_INTERMEDIATE];
    out->hidden = values[FIELD_HIDDEN];
    if (out->top_k > out->expert_count) {
        return mj_fail(in->error, MJ_ERR_FORMAT, "%s: %s%u experts per token are more than the %u experts", in->file,
                       in->where, out->top_k, out->expert_count);
    }
    out->gated = !quirk || !quirk->plain;
    out->bias = quirk && quirk->bias;
    out->activation = quirk && quirk->activation >= 0 ? (mj_activation)quirk->activation : MJ_ACT_SILU;
    if (!quirk || quirk->activation < 0) {
        status = read_activation(in, &out->activation);
    }
    out->verified = true;
    snprintf(out->source, sizeof out->source, "%.190s", in->file);
    snprintf(out->note, sizeof out->note, "%s", varies ? "layers differ: the first one's values" : "");
    read_scheme(in, scheme, out);
    read_shared(in, out);
    read_name(in, out);
    return status;
}

mj_status mj_config_json_parse(const char *text, size_t bytes, const char *file_name, const char *prefix, mj_model *out,
                               mj_config_scheme *scheme, mj_error *error)
{
    mj_json *root = NULL;
    memset(out, 0, sizeof *out);
    memset(scheme, 0, sizeof *scheme);
    mj_error why = {MJ_OK, ""};
    mj_status status = mj_json_parse(text, bytes, file_name, &root, &why);
    if (status != MJ_OK) { /* whatever is wrong with it, it is the file */
        return mj_fail(error, status == MJ_ERR_MEMORY ? status : MJ_ERR_FORMAT, "%s", why.text);
    }
    reader in = {.file = file_name, .root = root, .node = root, .error = error};
    status = read_model(&in, prefix, out, scheme);
    mj_json_free(root);
    return status;
}

mj_status mj_config_json_read(const char *path, const char *prefix, mj_model *out, mj_config_scheme *scheme,
                              mj_error *error)
{
    char file[4096];
    struct stat info;
    if (stat(path, &info) != 0) {
        return mj_fail(error, MJ_ERR_NOT_FOUND, "%s: no such file", path);
    }
    bool folder = S_ISDIR(info.st_mode);
    if ((size_t)snprintf(file, sizeof file, "%s%s", path, folder ? "/config.json" : "") >= sizeof file) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%.80s...: the path is too long", path);
    }
    char *text = NULL;
    size_t bytes = 0;
    mj_status status = mj_os_read_file(file, CONFIG_BYTES_MAX, &text, &bytes, error);
    if (status != MJ_OK) {
        /* reading, not writing, failed: a bad input, whatever the system called it */
        return mj_fail(error, MJ_ERR_FORMAT, "%.900s", error && error->text[0] ? error->text : file);
    }
    status = mj_config_json_parse(text, bytes, file, prefix, out, scheme, error);
    free(text);
    return status;
}
