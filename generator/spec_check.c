/* spec_check.c: see spec_check.h. */
#include "spec_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void start_reader(const mj_spec *spec, const char *path, mj_problem_list *problems, mj_reader *reader)
{
    memset(reader, 0, sizeof *reader);
    reader->file = path;
    reader->problems = problems;
    if (mj_files_get(spec->files, path, &reader->text, &reader->bytes, NULL) != MJ_OK) {
        reader->text = "";
        reader->bytes = 0;
    }
}

/* Every item of `list` must be one of `known`. */
static void check_names(mj_reader *reader, const char *key, const mj_name_list *list, const char *what,
                        const char *const *known, size_t known_count)
{
    for (uint32_t i = 0; i < list->count; i++) {
        char hint[MJ_HINT_BYTES];
        size_t j = 0;
        while (j < known_count && strcmp(known[j], list->items[i]) != 0) {
            j++;
        }
        if (j == known_count) {
            mj_reader_report_element(reader, key, i + 1, NULL, "unknown %s \"%s\"%s", what, list->items[i],
                                     mj_hint(list->items[i], known, known_count, hint));
        }
        for (j = 0; j < i; j++) {
            if (strcmp(list->items[j], list->items[i]) == 0) {
                mj_reader_report_element(reader, key, i + 1, NULL, "\"%s\" is there twice", list->items[i]);
                break;
            }
        }
    }
}

/* The list's pointers; free() it. NULL without memory: the check is then left out. */
static const char **name_pointers(const mj_check_names *names)
{
    const char **pointers = calloc(names->count + 1, sizeof *pointers);
    for (size_t i = 0; pointers && i < names->count; i++) {
        pointers[i] = names->items[i];
    }
    return pointers;
}

/* ---- arch ---- */

static void check_arch(mj_reader *reader, const mj_arch *arch, const char *const *families, size_t family_count)
{
    check_names(reader, "families", &arch->families, "family", families, family_count);
    if (strcmp(arch->vendor, "cpu") == 0) {
        return;
    }
    const struct {
        const char *key;
        uint32_t value;
    } needed[] = {
        {"smem_block_bytes_max", arch->smem_block_bytes_max},
        {"regs_sm", arch->regs_sm},
        {"regs_thread_max", arch->regs_thread_max},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (needed[i].value == 0) {
            mj_reader_report(reader, needed[i].key, "is 0 on a GPU");
        }
    }
    if (arch->smem_block_bytes_max > arch->smem_sm_bytes) {
        mj_reader_report(reader, "smem_block_bytes_max", "is %u, more than smem_sm_bytes %u",
                         arch->smem_block_bytes_max, arch->smem_sm_bytes);
    }
    if (arch->threads_block_max > arch->threads_sm_max) {
        mj_reader_report(reader, "threads_block_max", "is %u, more than threads_sm_max %u", arch->threads_block_max,
                         arch->threads_sm_max);
    }
    if (strcmp(arch->vendor, "nvidia") == 0 && arch->capability_major == 0) {
        mj_reader_report(reader, NULL, "capability_major is missing: devices are matched by it");
    }
}

/* ---- quant ---- */

static void check_packing(mj_reader *reader, const mj_packing *packing, uint32_t bits)
{
    uint64_t seen = 0;
    if (packing->per_word == 0) {
        mj_reader_report(reader, "packing", "order is empty");
        return;
    }
    for (uint32_t i = 0; i < packing->per_word; i++) {
        uint64_t bit = (uint64_t)1 << packing->order[i];
        if (packing->order[i] >= packing->per_word || (seen & bit)) {
            mj_reader_report(reader, "packing", "order is no permutation of 0..%u", packing->per_word - 1);
            return;
        }
        seen |= bit;
    }
    if (bits && packing->per_word * bits != packing->word_bits) {
        mj_reader_report(reader, "packing", "%u codes of %u bits are not a word of %u", packing->per_word, bits,
                         packing->word_bits);
    }
}

static bool decodes_by_name(const char *format)
{
    static const char *const names[] = {"bf16", "f16", "e4m3", "e4m3fnuz", "e5m2", "int8", "uint8"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], format) == 0) {
            return true;
        }
    }
    return false;
}

static void check_scheme(mj_reader *reader, const mj_scheme *scheme)
{
    uint32_t code_count = scheme->weight_bits <= 8 ? 1u << scheme->weight_bits : 0;
    reader->path[0] = (mj_path_step){.key = "weight"};
    reader->depth = 1;
    if (scheme->decode_count != 0 && scheme->decode_count != code_count) {
        mj_reader_report(reader, "decode", "has %u values; %u bits have %u codes (at most 8 bits)",
                         scheme->decode_count, scheme->weight_bits, code_count);
    }
    if (scheme->decode_count == 0 && !decodes_by_name(scheme->weight_format)) {
        mj_reader_report(reader, NULL, "decode is missing: \"%s\" is not decoded by its name", scheme->weight_format);
    }
    check_packing(reader, &scheme->packing, scheme->weight_bits);
    if (scheme->zero.format[0] && scheme->zero.packing.word_bits) {
        reader->path[0].key = "zero";
        check_packing(reader, &scheme->zero.packing, 0);
    }
    reader->depth = 0;
    if (scheme->zero.format[0] && !scheme->scale.format[0]) {
        mj_reader_report(reader, "zero", "zero points without a scale");
    }
    if (scheme->global_scale.format[0] && !scheme->scale.format[0]) {
        mj_reader_report(reader, "global_scale", "a global scale without a scale");
    }
    bool scaled = strcmp(scheme->input_scale_kind, "none") != 0;
    if (scaled != (scheme->input_scale_format[0] != 0)) {
        mj_reader_report(reader, "input", scaled ? "scale_format is missing" : "scale_format without a scale");
    }
    if ((strcmp(scheme->input_scale_kind, "group") == 0) != (scheme->input_group_k != 0)) {
        mj_reader_report(reader, "input", "group_k is for scale = \"group\", and needed there");
    }
}

/* ---- space ---- */

static void check_value(mj_reader *reader, const mj_tunable *tunable, uint32_t index, const char *key, int32_t value)
{
    for (uint32_t i = 0; i < tunable->value_count; i++) {
        if (tunable->values[i] == value) {
            return;
        }
    }
    mj_reader_report_element(reader, "tunables", index + 1, key, "%d is not one of the values", value);
}

static void check_tunable(mj_reader *reader, const mj_space *space, uint32_t index)
{
    const mj_tunable *tunable = &space->tunables[index];
    for (uint32_t i = 0; i < tunable->value_count; i++) {
        if (i > 0 && tunable->values[i] <= tunable->values[i - 1]) {
            mj_reader_report_element(reader, "tunables", index + 1, "values", "%d after %d: values ascend",
                                     tunable->values[i], tunable->values[i - 1]);
        }
    }
    check_value(reader, tunable, index, "default", tunable->default_value);
    for (uint32_t i = 0; i < tunable->rare_count; i++) {
        check_value(reader, tunable, index, "rare", tunable->rare[i]);
    }
    if (strspn(tunable->name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(tunable->name)) {
        mj_reader_report_element(reader, "tunables", index + 1, "name", "may hold a-z 0-9 _ only");
    }
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(space->tunables[i].name, tunable->name) == 0) {
            mj_reader_report_element(reader, "tunables", index + 1, "name", "\"%s\" is there twice", tunable->name);
        }
    }
}

static void check_templates(const mj_spec *spec, mj_reader *reader, const mj_space *space)
{
    const char *mark = strchr(space->template_name, '%');
    if (mark && (mark[1] != 's' || strchr(mark + 1, '%'))) {
        mj_reader_report(reader, "template", "may hold one %%s, nothing else with %%");
        return;
    }
    for (uint32_t i = 0; i < (mark ? space->ops.count : 1); i++) {
        char name[128];
        const char *text;
        mj_error error;
        int head = mark ? (int)(mark - space->template_name) : 0;
        if (mark) {
            snprintf(name, sizeof name, "%.*s%s%s", head, space->template_name, space->ops.items[i], mark + 2);
        } else {
            snprintf(name, sizeof name, "%s", space->template_name);
        }
        if (mj_files_get(spec->files, name, &text, NULL, &error) != MJ_OK) {
            mj_reader_report(reader, "template", "%s", error.text);
        }
    }
}

static void check_space(const mj_spec *spec, mj_reader *reader, const mj_space *space, const char *const *schemes,
                        size_t scheme_count, const char *const *features, size_t feature_count)
{
    const char *ops[MJ_OP_COUNT];
    for (int op = 0; op < MJ_OP_COUNT; op++) {
        ops[op] = mj_op_name((mj_op)op);
    }
    check_names(reader, "ops", &space->ops, "op", ops, MJ_OP_COUNT);
    check_names(reader, "schemes", &space->schemes, "scheme", schemes, scheme_count);
    const char *layouts[MJ_LAYOUTS_MAX];
    check_names(reader, "layouts", &space->layouts, "weight layout", layouts, mj_layout_names(layouts));
    check_names(reader, "needs", &space->needs, "arch feature", features, feature_count);
    check_templates(spec, reader, space);
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        check_tunable(reader, space, i);
    }
    for (uint32_t i = 0; i < space->rule_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(space->rules[i].name, space->rules[j].name) == 0) {
                mj_reader_report_element(reader, "rules", i + 1, "name", "\"%s\" is there twice", space->rules[i].name);
            }
        }
    }
}

/* ---- models ---- */

static void check_model(const mj_spec *spec, mj_reader *reader, const mj_model *model, uint32_t index)
{
    if (model->top_k > model->expert_count) {
        mj_reader_report(reader, "top_k", "is %u, more than experts %u", model->top_k, model->expert_count);
    }
    for (uint32_t i = 0; i < model->hf_id_count; i++) {
        for (uint32_t j = 0; j <= index; j++) {
            const mj_model *other = mj_spec_model_at(spec, j);
            uint32_t count = j == index ? i : other->hf_id_count;
            for (uint32_t k = 0; k < count; k++) {
                if (strcasecmp(model->hf_ids[i], other->hf_ids[k]) == 0) {
                    mj_reader_report_element(reader, "hf_ids", i + 1, NULL, "\"%s\" is already an id of %s",
                                             model->hf_ids[i], other->name);
                }
            }
        }
    }
}

/* ---- All of them ---- */

typedef struct feature_set {
    const char **items;
    size_t count;
} feature_set;

static bool collect_features(const mj_spec *spec, feature_set *features)
{
    features->items = calloc((size_t)mj_spec_arch_count(spec) * MJ_LIST_MAX + 1, sizeof *features->items);
    for (uint32_t i = 0; features->items && i < mj_spec_arch_count(spec); i++) {
        const mj_name_list *list = &mj_spec_arch_at(spec, i)->features;
        for (uint32_t j = 0; j < list->count; j++) {
            features->items[features->count++] = list->items[j];
        }
    }
    return features->items != NULL;
}

void mj_spec_check(const mj_spec *spec, const mj_check_names names[MJ_KIND_COUNT], mj_problem_list *problems)
{
    char path[128];
    mj_reader reader;
    feature_set features = {0};
    const char **families = name_pointers(&names[MJ_KIND_SPACE]), **schemes = name_pointers(&names[MJ_KIND_SCHEME]);
    if (!collect_features(spec, &features) || !families || !schemes) {
        mj_problem_list_add(problems, "no memory to check the data files");
        goto done;
    }
    for (uint32_t i = 0; i < mj_spec_arch_count(spec); i++) {
        const mj_arch *arch = mj_spec_arch_at(spec, i);
        snprintf(path, sizeof path, "lua/arch/%s.lua", arch->name);
        start_reader(spec, path, problems, &reader);
        check_arch(&reader, arch, families, names[MJ_KIND_SPACE].count);
    }
    for (uint32_t i = 0; i < mj_spec_scheme_count(spec); i++) {
        const mj_scheme *scheme = mj_spec_scheme_at(spec, i);
        snprintf(path, sizeof path, "lua/quant/%s.lua", scheme->name);
        start_reader(spec, path, problems, &reader);
        check_scheme(&reader, scheme);
    }
    for (uint32_t i = 0; i < mj_spec_space_count(spec); i++) {
        const mj_space *space = mj_spec_space_at(spec, i);
        snprintf(path, sizeof path, "lua/space/%s.lua", space->family);
        start_reader(spec, path, problems, &reader);
        check_space(spec, &reader, space, schemes, names[MJ_KIND_SCHEME].count, features.items, features.count);
    }
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        const mj_model *model = mj_spec_model_at(spec, i);
        snprintf(path, sizeof path, "lua/models/%s.lua", model->name);
        start_reader(spec, path, problems, &reader);
        check_model(spec, &reader, model, i);
    }
done:
    free(features.items);
    free(families);
    free(schemes);
}
