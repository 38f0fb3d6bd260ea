/* config_quant.c: see config_quant.h. What the words mean: vLLM's readers of these configs. A format may be described well and still
 * not be served: that is MJ_ERR_UNSUPPORTED; MJ_ERR_FORMAT is for values that nobody could have meant. */
#include "config_quant.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SERVED \
    "served are fp8 (e4m3, W8A8) and int4 W4A16 in groups of 32, 64 or 128; --scheme bf16 takes the layer as 16 bit"

typedef struct reader {
    const mj_json *config;
    const char *half;
    char where[64]; /* "quantization_config." */
    mj_config_scheme *out;
    char *note;
    size_t note_bytes;
} reader;

static void refuse_value(const reader *in, const char *key, const char *what)
{
    mj_fail(&in->out->why, MJ_ERR_FORMAT, "%s%s: %s", in->where, key, what);
}

static void unserved(const reader *in, const char *what)
{
    mj_fail(&in->out->why, MJ_ERR_UNSUPPORTED, "%s is not served in this version: " SERVED, what);
}

static void add_note(const reader *in, const char *text)
{
    size_t used = strlen(in->note);
    snprintf(in->note + used, in->note_bytes - used, "%s%s", used ? "; " : "", text);
}

/* ---- Values; false: refused. An absent or null one leaves `out` as it is. ---- */

static const mj_json *value_of(const mj_json *object, const char *key)
{
    const mj_json *value = mj_json_get(object, key);
    return value && !mj_json_is_null(value) ? value : NULL;
}

static bool read_word(const reader *in, const mj_json *object, const char *key, const char **out)
{
    const mj_json *value = value_of(object, key);
    if (value && !mj_json_is_string(value)) {
        refuse_value(in, key, "a text is due");
        return false;
    }
    *out = value ? mj_json_value_string(value) : *out;
    return true;
}

static bool read_flag(const reader *in, const mj_json *object, const char *key, bool *out)
{
    const mj_json *value = value_of(object, key);
    mj_error ignored;
    if (value && mj_json_read_bool(object, key, out, &ignored) != MJ_OK) {
        refuse_value(in, key, "true or false is due");
        return false;
    }
    return true;
}

static bool read_number(const reader *in, const mj_json *object, const char *key, int *out)
{
    const mj_json *value = value_of(object, key);
    double number = value && mj_json_is_number(value) ? mj_json_value_number(value) : NAN;
    if (value && !(number >= -1 && number <= 1 << 20 && number == floor(number))) {
        refuse_value(in, key, "a whole number in -1..1048576 is due");
        return false;
    }
    *out = value ? (int)number : *out;
    return true;
}

/* [a, b], as sizes of a block of weights. */
static bool read_block(const reader *in, const mj_json *object, const char *key, int out[2])
{
    const mj_json *value = value_of(object, key);
    if (!value) {
        return true;
    }
    bool good = mj_json_is_array(value) && mj_json_count(value) == 2;
    for (size_t i = 0; good && i < 2; i++) {
        const mj_json *item = mj_json_at(value, i);
        double number = mj_json_is_number(item) ? mj_json_value_number(item) : NAN;
        good = number >= 1 && number <= 1 << 20 && number == floor(number);
        out[i] = good ? (int)number : 0;
    }
    if (!good) {
        refuse_value(in, key, "two whole numbers in 1..1048576 are due");
    }
    return good;
}

/* ---- fp8 ---- */

typedef struct fp8_words {
    const char *format;   /* of the codes, "e4m3" */
    const char *strategy; /* of the weights' scales: "tensor", "channel", "block" */
    bool dynamic;         /* the input's scales */
    int block[2];
} fp8_words;

static void choose_fp8(const reader *in, const fp8_words *w)
{
    char text[100];
    bool is_block = strcmp(w->strategy, "block") == 0, is_tensor = strcmp(w->strategy, "tensor") == 0;
    if (strcmp(w->format, "e4m3") != 0 && strcmp(w->format, "float8_e4m3fn") != 0) {
        snprintf(text, sizeof text, "fp8 in the format \"%.30s\"", w->format);
        unserved(in, text);
    } else if (is_block && (w->block[0] != 128 || w->block[1] != 128)) {
        snprintf(text, sizeof text, "fp8 with scales per block of %dx%d (128x128 is)", w->block[0], w->block[1]);
        unserved(in, text);
    } else if (!w->dynamic && !is_tensor) {
        snprintf(text, sizeof text, "fp8 with static input scales and weight scales per %.10s", w->strategy);
        unserved(in, text);
    } else {
        const char *name = is_block ? "fp8_w8a8_block" : w->dynamic ? "fp8_w8a8_channel" : "fp8_w8a8";
        snprintf(in->out->name, sizeof in->out->name, "%s", name);
        if (is_tensor && w->dynamic) {
            add_note(in, "one weight scale per expert: repeat it for every column; input scales are per token");
        }
        if (strcmp(in->half, "fp16") == 0) {
            add_note(in, "the file says float16, the scheme's rows are bf16");
        }
    }
}

static void read_fp8(const reader *in)
{
    const char *activation = "dynamic";
    fp8_words w = {.format = "e4m3", .strategy = "tensor"};
    if (!read_word(in, in->config, "activation_scheme", &activation) || !read_word(in, in->config, "fmt", &w.format) ||
        !read_block(in, in->config, "weight_block_size", w.block)) {
        return;
    }
    if (strcmp(activation, "dynamic") != 0 && strcmp(activation, "static") != 0) {
        refuse_value(in, "activation_scheme", "\"static\" or \"dynamic\" is due");
        return;
    }
    w.dynamic = activation[0] == 'd';
    w.strategy = w.block[0] ? "block" : "tensor";
    choose_fp8(in, &w);
}

static void read_fbgemm(const reader *in)
{
    choose_fp8(in, &(fp8_words){.format = "e4m3", .strategy = "channel", .dynamic = true});
}

/* ---- int4 ---- */

typedef struct int_words {
    int bits, group_size; /* -1: a whole row */
    bool symmetric;
} int_words;

static void choose_int(const reader *in, const int_words *w)
{
    char text[100];
    if (w->bits == 8) {
        unserved(in, "int8 weights with 16-bit input (int8_w8a16)");
        return;
    }
    if (w->bits != 4) {
        snprintf(text, sizeof text, "weights of %d bits", w->bits);
        unserved(in, text);
        return;
    }
    if (w->group_size != -1 && w->group_size != 32 && w->group_size != 64 && w->group_size != 128) {
        snprintf(text, sizeof text, "int4 in groups of %d", w->group_size);
        unserved(in, text);
        return;
    }
    snprintf(in->out->name, sizeof in->out->name, "int4_w4a16%s%s%s",
             w->group_size == 32   ? "_g32"
             : w->group_size == 64 ? "_g64"
                                   : "",
             w->symmetric ? "" : "_zp", strcmp(in->half, "fp16") == 0 ? "_fp16" : "");
    add_note(in, "the file's codes are packed otherwise: pack them anew for the scheme");
    if (w->group_size == -1) {
        add_note(in, "one scale per row: repeat it for every 128 of k");
    }
}

static void read_gptq(const reader *in)
{
    int_words w = {.bits = 0, .group_size = 0, .symmetric = true};
    bool by_activation = false;
    if (!read_number(in, in->config, "bits", &w.bits) || !read_number(in, in->config, "group_size", &w.group_size) ||
        !read_flag(in, in->config, "sym", &w.symmetric) || !read_flag(in, in->config, "desc_act", &by_activation)) {
        return;
    }
    if (w.bits < 1 || w.group_size == 0) {
        refuse_value(in, w.bits < 1 ? "bits" : "group_size", "missing or 0");
    } else if (by_activation && w.group_size != -1) {
        unserved(in, "gptq with desc_act, whose groups are not neighbours along k,");
    } else {
        choose_int(in, &w);
    }
}

static void read_awq(const reader *in)
{
    int_words w = {.bits = 4, .group_size = 0};
    bool zeros = true;
    const char *keys[2][2] = {{"bits", "w_bit"}, {"group_size", "q_group_size"}};
    for (int i = 1; i >= 0; i--) {
        if (!read_number(in, in->config, keys[0][i], &w.bits) ||
            !read_number(in, in->config, keys[1][i], &w.group_size)) {
            return;
        }
    }
    if (!read_flag(in, in->config, "zero_point", &zeros)) {
        return;
    }
    if (w.bits < 1 || w.group_size == 0) {
        refuse_value(in, w.bits < 1 ? "bits" : "group_size", "missing or 0");
        return;
    }
    w.symmetric = !zeros;
    choose_int(in, &w);
}

/* ---- compressed-tensors: groups of layers, each with the form of its weights and of its input ---- */

typedef struct tensor_form {
    bool present, symmetric, dynamic;
    int bits, group_size, block[2];
    const char *type, *strategy;
} tensor_form;

static bool read_form(const reader *in, const mj_json *group, const char *key, tensor_form *out)
{
    const mj_json *form = value_of(group, key);
    *out = (tensor_form){.symmetric = true, .type = "int", .strategy = ""};
    if (form && !mj_json_is_object(form)) {
        refuse_value(in, key, "an object is due");
        return false;
    }
    out->present = form != NULL;
    if (form && mj_json_is_string(mj_json_get(form, "dynamic"))) { /* "local": scales of groups, nvfp4's */
        out->dynamic = true;
    } else if (form && !read_flag(in, form, "dynamic", &out->dynamic)) {
        return false;
    }
    if (!form) {
        return true;
    }
    bool good = read_number(in, form, "num_bits", &out->bits) &&
                read_number(in, form, "group_size", &out->group_size) && read_word(in, form, "type", &out->type) &&
                read_word(in, form, "strategy", &out->strategy) && read_flag(in, form, "symmetric", &out->symmetric) &&
                read_block(in, form, "block_structure", out->block);
    if (!out->strategy[0]) { /* as the library fills it in */
        out->strategy = out->group_size > 0 ? "group" : out->group_size == -1 ? "channel" : "tensor";
    }
    return good;
}

static void choose_group(const reader *in, const tensor_form *weights, const tensor_form *input)
{
    char text[100];
    bool is_float = strcmp(weights->type, "float") == 0;
    snprintf(text, sizeof text, "compressed-tensors with %s of %d bits and %s of %d", is_float ? "floats" : "integers",
             weights->bits, input->present ? "input" : "no quantised input", input->bits);
    if (is_float && weights->bits == 4) {
        unserved(in, weights->group_size == 32 ? "mxfp4" : "nvfp4");
    } else if (is_float && weights->bits == 8 && !input->present) {
        unserved(in, "fp8 weights with 16-bit input (fp8_w8a16)");
    } else if (is_float && weights->bits == 8 && strcmp(input->type, "float") == 0 && input->bits == 8) {
        if (strcmp(weights->strategy, "group") == 0) {
            unserved(in, weights->group_size == 32 ? "mxfp8" : "fp8 with weight scales per group");
            return;
        }
        fp8_words w = {"e4m3", weights->strategy, input->dynamic, {weights->block[0], weights->block[1]}};
        choose_fp8(in, &w);
    } else if (!is_float && !input->present) {
        bool grouped = strcmp(weights->strategy, "group") == 0;
        choose_int(in, &(int_words){weights->bits, grouped ? weights->group_size : -1, weights->symmetric});
    } else if (!is_float && weights->bits == 8) {
        unserved(in, "int8 (int8_w8a8)");
    } else if (!is_float && weights->bits == 4) {
        unserved(in, "int4 weights with an input of 8 or 4 bits (int4_w4a8)");
    } else {
        unserved(in, text);
    }
}

static void read_compressed(const reader *in)
{
    const mj_json *groups = value_of(in->config, "config_groups");
    if (!groups || !mj_json_is_object(groups) || mj_json_count(groups) == 0) {
        refuse_value(in, "config_groups", "an object with one group at least is due");
        return;
    }
    char first[MJ_NAME_MAX] = "", kept[256];
    snprintf(kept, sizeof kept, "%.255s", in->note);
    for (const mj_json *group = mj_json_first(groups); group; group = mj_json_next(group)) {
        tensor_form weights, input;
        if (!mj_json_is_object(group) || !value_of(group, "weights")) {
            refuse_value(in, "config_groups", "a group is an object with weights");
            return;
        }
        if (!read_form(in, group, "weights", &weights) || !read_form(in, group, "input_activations", &input)) {
            return;
        }
        snprintf(in->note, in->note_bytes, "%s", kept); /* of one group */
        choose_group(in, &weights, &input);
        if (in->out->why.status != MJ_OK) {
            return;
        }
        if (first[0] && strcmp(first, in->out->name) != 0) {
            unserved(in, "compressed-tensors with groups of different schemes");
            return;
        }
        memcpy(first, in->out->name, sizeof first);
    }
}

static void read_modelopt(const reader *in)
{
    const char *algorithm = "FP8";
    char text[60];
    if (!read_word(in, in->config, "quant_algo", &algorithm)) {
        return;
    }
    if (strcmp(algorithm, "FP8") == 0) {
        choose_fp8(in, &(fp8_words){.format = "e4m3", .strategy = "tensor", .dynamic = false});
    } else {
        snprintf(text, sizeof text, "modelopt's %.30s", algorithm);
        unserved(in, text);
    }
}

/* ---- Methods ---- */

typedef struct method_row {
    const char *name;
    void (*read)(const reader *in);
    const char *format; /* of one that is not served */
} method_row;

static const method_row methods[] = {
    {"fp8", read_fp8, NULL},
    {"fbgemm_fp8", read_fbgemm, NULL},
    {"compressed-tensors", read_compressed, NULL},
    {"compressed_tensors", read_compressed, NULL},
    {"gptq", read_gptq, NULL},
    {"gptq_marlin", read_gptq, NULL},
    {"awq", read_awq, NULL},
    {"awq_marlin", read_awq, NULL},
    {"modelopt", read_modelopt, NULL},
    {"mxfp4", NULL, "mxfp4"},
    {"gpt_oss_mxfp4", NULL, "mxfp4"},
    {"mxfp8", NULL, "mxfp8"},
    {"nvfp4", NULL, "nvfp4"},
    {"modelopt_fp4", NULL, "nvfp4 (modelopt_fp4)"},
    {"int8", NULL, "int8"},
    {"experts_int8", NULL, "int8 (experts_int8)"},
    {"bitsandbytes", NULL, "bitsandbytes"},
    {"gguf", NULL, "gguf"},
    {"quark", NULL, "quark"},
    {"quanto", NULL, "quanto"},
    {"torchao", NULL, "torchao"},
    {"hqq", NULL, "hqq"},
    {"aqlm", NULL, "aqlm"},
    {"auto-round", NULL, "auto-round"},
    {"bitnet", NULL, "bitnet"},
};
enum { METHOD_COUNT = sizeof methods / sizeof methods[0] };

static void read_method(const reader *in)
{
    const char *names[METHOD_COUNT], *method = NULL;
    if (!mj_json_is_object(in->config)) {
        mj_fail(&in->out->why, MJ_ERR_FORMAT, "%.*s: an object is due", (int)strlen(in->where) - 1, in->where);
        return;
    }
    if (!read_word(in, in->config, "quant_method", &method)) {
        return;
    }
    if (!method || !method[0]) {
        refuse_value(in, "quant_method", "missing");
        return;
    }
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        names[i] = methods[i].name;
        if (strcmp(method, methods[i].name) != 0) {
            continue;
        }
        if (methods[i].read) {
            methods[i].read(in);
        } else {
            unserved(in, methods[i].format);
        }
        return;
    }
    const char *near = mj_nearest_name(method, names, METHOD_COUNT);
    mj_fail(&in->out->why, MJ_ERR_FORMAT, "%squant_method: \"%.40s\" is not known%s%s%s", in->where, method,
            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

bool mj_config_quant_read(const mj_json *root, const char *half, mj_config_scheme *out, char *note, size_t note_bytes)
{
    static const char *const places[] = {"quantization_config", "compression_config"}; /* the second: an older name */
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const mj_json *config = value_of(root, places[i]);
        if (config) {
            reader in = {.config = config, .half = half, .out = out, .note = note, .note_bytes = note_bytes};
            snprintf(in.where, sizeof in.where, "%s.", places[i]);
            size_t noted = strlen(note);
            read_method(&in);
            if (out->why.status != MJ_OK) { /* not what was known before the fault, e.g. of a first group */
                out->name[0] = note[noted] = '\0';
            }
            return true;
        }
    }
    return false;
}
