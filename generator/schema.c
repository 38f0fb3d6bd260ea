/* schema.c: the rows. A key, a range or a default is changed here and nowhere else. */
#include "schema.h"

#include <stddef.h>

#define COUNT(rows)        (uint32_t)(sizeof(rows) / sizeof(rows)[0])
#define AT(type, member)   .offset = offsetof(type, member)
#define FITS(type, member) .capacity = sizeof(((type *)0)->member)
#define MANY(type, member, count) \
    .offset = offsetof(type, member), .capacity = sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]), \
    .element_bytes = sizeof(((type *)0)->member[0]), .count_offset = offsetof(type, count)
#define RECORD_OF(rows, label) \
    &(const mj_schema) \
    { \
        label, rows, COUNT(rows) \
    }

static const char *const vendors[] = {"nvidia", "amd", "cpu", NULL};
static const char *const preludes[] = {"cuda", "hip", "host", NULL};
static const char *const axes[] = {"k", "n", NULL};
static const char *const orders[] = {"nk", "kn", NULL};
static const char *const weight_formats[] = {"bf16", "f16",   "e4m3",  "e4m3fnuz", "e5m2", "int8",
                                             "int4", "uint4", "uint8", "e2m1",     NULL};
static const char *const scale_formats[] = {"f32",  "bf16",  "f16",  "e8m0",  "e4m3",
                                            "int4", "uint4", "int8", "uint8", NULL};
static const char *const input_formats[] = {"bf16", "f16", "e4m3", "e4m3fnuz", "e5m2", "int8", "e2m1", NULL};
static const char *const input_scale_kinds[] = {"none", "tensor", "token", "group", NULL};
static const char *const io_formats[] = {"bf16", "f16", NULL};
static const char *const accumulate_formats[] = {"f32", "i32", NULL};

/* ---- arch ---- */
#define SHAPE(member) AT(mj_device_shape, member)
static const mj_field typical_rows[] = {
    {"sm_count", MJ_FIELD_U32, .min = 1, .max = 4096, .doc = "multiprocessors; cpu: threads", SHAPE(sm_count)},
    {"memory_gbps", MJ_FIELD_REAL, .min = 0.1, .max = 1e6, .unit = "1e9 bytes/s", .doc = "bandwidth a kernel reaches",
     SHAPE(memory_gbps)},
    {"matrix_tflops", MJ_FIELD_REAL, .min = 1e-4, .max = 1e6, .unit = "1e12 operations/s",
     .doc = "dense bf16 products a kernel reaches", SHAPE(matrix_tflops)},
    {"l2_bytes", MJ_FIELD_REAL, .min = 1024, .max = 1e12, .unit = "bytes", .doc = "last-level cache", SHAPE(l2_bytes)},
    {"launch_us", MJ_FIELD_REAL, .min = 0, .max = 1e4, .unit = "us", .doc = "fixed cost of a launch inside a graph",
     SHAPE(launch_us)},
};

#define ARCH(member) AT(mj_arch, member)
static const mj_field arch_rows[] = {
    {"doc", MJ_FIELD_STRING, .doc = "one line", ARCH(doc), FITS(mj_arch, doc)},
    {"vendor", MJ_FIELD_STRING, .choices = vendors, .doc = "whose device", ARCH(vendor), FITS(mj_arch, vendor)},
    {"prelude", MJ_FIELD_STRING, .choices = preludes, .doc = "templates/prelude/<name>.h", ARCH(prelude),
     FITS(mj_arch, prelude)},
    {"compile_target", MJ_FIELD_STRING, .doc = "what the compiler is told", ARCH(compile_target),
     FITS(mj_arch, compile_target)},
    {"capability_major", MJ_FIELD_U32, .max = 99, .optional = true, .doc = "compute capability",
     ARCH(capability_major)},
    {"capability_minor", MJ_FIELD_U32, .max = 99, .optional = true, .doc = "compute capability",
     ARCH(capability_minor)},
    {"warp_size", MJ_FIELD_U32, .min = 1, .max = 128, .unit = "threads", .doc = "threads that run as one",
     ARCH(warp_size)},
    {"smem_block_bytes_max", MJ_FIELD_U32, .max = 1 << 24, .unit = "bytes", .doc = "shared memory of a block, opted in",
     ARCH(smem_block_bytes_max)},
    {"smem_sm_bytes", MJ_FIELD_U32, .max = 1 << 24, .unit = "bytes", .doc = "shared memory of a multiprocessor",
     ARCH(smem_sm_bytes)},
    {"smem_block_reserved_bytes", MJ_FIELD_U32, .max = 1 << 20, .unit = "bytes", .optional = true,
     .doc = "taken by the system per block", ARCH(smem_block_reserved_bytes)},
    {"regs_sm", MJ_FIELD_U32, .max = 1 << 24, .unit = "registers", .doc = "32-bit registers of a multiprocessor",
     ARCH(regs_sm)},
    {"regs_thread_max", MJ_FIELD_U32, .max = 4096, .unit = "registers", .doc = "registers a thread can have",
     ARCH(regs_thread_max)},
    {"threads_block_max", MJ_FIELD_U32, .min = 1, .max = 65536, .unit = "threads", .doc = "threads of a block",
     ARCH(threads_block_max)},
    {"threads_sm_max", MJ_FIELD_U32, .min = 1, .max = 65536, .unit = "threads", .doc = "resident threads",
     ARCH(threads_sm_max)},
    {"blocks_sm_max", MJ_FIELD_U32, .min = 1, .max = 1024, .unit = "blocks", .doc = "resident blocks",
     ARCH(blocks_sm_max)},
    {"features", MJ_FIELD_NAMES, .doc = "what a family may need", ARCH(features)},
    {"families", MJ_FIELD_NAMES, .doc = "families that may be built for it, best first", ARCH(families)},
    {"typical_device", MJ_FIELD_STRING, .doc = "the device that `typical` describes", ARCH(typical_device),
     FITS(mj_arch, typical_device)},
    {"typical", MJ_FIELD_RECORD, .doc = "figures for estimates with no device at hand", ARCH(typical),
     .record = RECORD_OF(typical_rows, "typical")},
    {"source", MJ_FIELD_STRING, .doc = "where the figures come from", ARCH(source), FITS(mj_arch, source)},
};
const mj_schema mj_schema_arch = {"arch", arch_rows, COUNT(arch_rows)};

/* ---- quant ---- */
static const mj_field packing_rows[] = {
    {"word_bits", MJ_FIELD_U32, .min = 8, .max = 64, .unit = "bits", .doc = "a memory word", AT(mj_packing, word_bits)},
    {"order", MJ_FIELD_U32S, .max = 31, .doc = "order[i]: which element of the run has its code at bit (i-1)*bits",
     MANY(mj_packing, order, per_word)},
    {"axis", MJ_FIELD_STRING, .choices = axes, .doc = "the run goes along k or n; words of a row follow each other",
     AT(mj_packing, axis), FITS(mj_packing, axis)},
};

#define SCALE(member) AT(mj_scale_spec, member)
#define SCALE_FORMAT \
    { \
        "format", MJ_FIELD_STRING, .choices = scale_formats, .doc = "how a value is stored", SCALE(format), \
                                   FITS(mj_scale_spec, format) \
    }
#define SCALE_GROUPS \
    {"group_n",     MJ_FIELD_U32, .max = 1 << 20, .unit = "weights", .doc = "weights along n sharing one; 0: all", \
     SCALE(group_n)}, \
        {"group_k",     MJ_FIELD_U32, .max = 1 << 20, .unit = "weights", .doc = "weights along k sharing one; 0: all", \
         SCALE(group_k)}, \
    { \
        "order", MJ_FIELD_STRING, .choices = orders, .optional = true, .text = "nk", \
                                  .doc = "nk: neighbours along k are contiguous; kn: along n", SCALE(order), \
                                  FITS(mj_scale_spec, order) \
    }
static const mj_field scale_rows[] = {SCALE_FORMAT, SCALE_GROUPS};
static const mj_field zero_rows[] = {
    SCALE_FORMAT,
    SCALE_GROUPS,
    {"packing", MJ_FIELD_RECORD, .optional = true, .doc = "how zero points share words", SCALE(packing),
     .record = RECORD_OF(packing_rows, "packing")},
};
static const mj_field global_scale_rows[] = {SCALE_FORMAT};

#define SCHEME(member)      AT(mj_scheme, member)
#define SCHEME_NAME(member) AT(mj_scheme, member), FITS(mj_scheme, member)
static const mj_field weight_rows[] = {
    {"format", MJ_FIELD_STRING, .choices = weight_formats, .doc = "what a code stands for", SCHEME_NAME(weight_format)},
    {"bits", MJ_FIELD_U32, .min = 2, .max = 16, .unit = "bits", .doc = "of a code", SCHEME(weight_bits)},
    {"decode", MJ_FIELD_REALS, .optional = true, .min = -1e38, .max = 1e38,
     .doc = "value of each code from 0 on; left out: by the format's name", MANY(mj_scheme, decode, decode_count)},
    {"packing", MJ_FIELD_RECORD, .doc = "how codes share words", SCHEME(packing),
     .record = RECORD_OF(packing_rows, "packing")},
};
static const mj_field input_rows[] = {
    {"format", MJ_FIELD_STRING, .choices = input_formats, .doc = "what the GEMM multiplies", SCHEME_NAME(input_format)},
    {"scale", MJ_FIELD_STRING, .choices = input_scale_kinds, .optional = true, .text = "none",
     .doc = "what shares a scale", SCHEME_NAME(input_scale_kind)},
    {"scale_format", MJ_FIELD_STRING, .choices = scale_formats, .optional = true, .doc = "how a scale is stored",
     SCHEME_NAME(input_scale_format)},
    {"group_k", MJ_FIELD_U32, .max = 1 << 20, .optional = true, .unit = "elements", .doc = "elements sharing a scale",
     SCHEME(input_group_k)},
    {"dynamic", MJ_FIELD_BOOL, .optional = true, .doc = "scales are computed per launch", SCHEME(input_scale_dynamic)},
    {"global_scale", MJ_FIELD_STRING, .choices = scale_formats, .optional = true, .doc = "one more for the whole input",
     SCHEME_NAME(input_global_scale_format)},
};
#define TOLERANCE(member) AT(mj_tolerance, member)
static const mj_field tolerance_rows[] = {
    {"element_rel", MJ_FIELD_REAL, .min = 1e-7, .max = 0.5, .doc = "allowed share of the element itself",
     TOLERANCE(element_rel)},
    {"element_rms", MJ_FIELD_REAL, .min = 1e-7, .max = 0.5, .doc = "allowed share of its row's root mean square",
     TOLERANCE(element_rms)},
    {"row_norm", MJ_FIELD_REAL, .min = 1e-7, .max = 0.03, .doc = "allowed error of a row's norm", TOLERANCE(row_norm)},
    {"why", MJ_FIELD_STRING, .doc = "the reason", TOLERANCE(why), FITS(mj_tolerance, why)},
};
static const mj_field scheme_rows[] = {
    {"doc", MJ_FIELD_STRING, .doc = "one line", SCHEME_NAME(doc)},
    {"supported", MJ_FIELD_BOOL, .doc = "false: described, not served in this version", SCHEME(supported)},
    {"weight", MJ_FIELD_RECORD, .doc = "the codes", .record = RECORD_OF(weight_rows, "weight")},
    {"scale", MJ_FIELD_RECORD, .optional = true, .doc = "value = (decode(code) - zero) * scale * global_scale",
     SCHEME(scale), .record = RECORD_OF(scale_rows, "scale")},
    {"zero", MJ_FIELD_RECORD, .optional = true, .doc = "zero points, in decoded units", SCHEME(zero),
     .record = RECORD_OF(zero_rows, "zero")},
    {"zero_bias", MJ_FIELD_I32, .min = -255, .max = 255, .optional = true, .doc = "added to a stored zero point",
     SCHEME(zero_bias)},
    {"global_scale", MJ_FIELD_RECORD, .optional = true, .doc = "one scale for all weights of an expert",
     SCHEME(global_scale), .record = RECORD_OF(global_scale_rows, "global_scale")},
    {"input", MJ_FIELD_RECORD, .doc = "the other operand", .record = RECORD_OF(input_rows, "input")},
    {"io", MJ_FIELD_STRING, .choices = io_formats, .doc = "x, y and what lies between ops", SCHEME_NAME(io_format)},
    {"accumulate", MJ_FIELD_STRING, .choices = accumulate_formats, .optional = true, .text = "f32", .doc = "sums",
     SCHEME_NAME(accumulate_format)},
    {"align_elems", MJ_FIELD_U32, .min = 1, .max = 4096, .unit = "elements",
     .doc = "k must be a multiple for the fast families", SCHEME(align_elems)},
    {"tolerance", MJ_FIELD_RECORD, .doc = "what verification accepts", SCHEME(tolerance),
     .record = RECORD_OF(tolerance_rows, "tolerance")},
};
const mj_schema mj_schema_scheme = {"quant", scheme_rows, COUNT(scheme_rows)};

/* ---- space ---- */
#define TUNABLE_NAME(member) AT(mj_tunable, member), FITS(mj_tunable, member)
static const mj_field tunable_rows[] = {
    {"name", MJ_FIELD_STRING, .doc = "as templates and configs spell it", TUNABLE_NAME(name)},
    {"unit", MJ_FIELD_STRING, .doc = "of a value", TUNABLE_NAME(unit)},
    {"values", MJ_FIELD_I32S, .min = 0, .max = 1 << 20, .doc = "ascending", MANY(mj_tunable, values, value_count)},
    {"default", MJ_FIELD_I32, .min = 0, .max = 1 << 20, .doc = "one of the values", AT(mj_tunable, default_value)},
    {"rare", MJ_FIELD_I32S, .optional = true, .min = 0, .max = 1 << 20,
     .doc = "values that a quick tune tries a few of wherever they rank", MANY(mj_tunable, rare, rare_count)},
    {"doc", MJ_FIELD_STRING, .doc = "meaning and cost", TUNABLE_NAME(doc)},
};
static const mj_field rule_rows[] = {
    {"name", MJ_FIELD_STRING, .doc = "shown when it refuses", AT(mj_space_rule, name), FITS(mj_space_rule, name)},
    {"reason", MJ_FIELD_STRING, .doc = "why such configs are not worth building", AT(mj_space_rule, reason),
     FITS(mj_space_rule, reason)},
    {"holds", MJ_FIELD_FUNCTION, .doc = "function(config, problem, arch, derived) -> ok, measured, limit"},
};
#define SPACE(member) AT(mj_space, member)
static const mj_field space_rows[] = {
    {"doc", MJ_FIELD_STRING, .doc = "one line", SPACE(doc), FITS(mj_space, doc)},
    {"template", MJ_FIELD_STRING, .doc = "the file below templates/; %s: the op's name", SPACE(template_name),
     FITS(mj_space, template_name)},
    {"primitives", MJ_FIELD_STRING, .optional = true, .doc = "further primitives: templates/prelude/<prelude>_<this>.h",
     SPACE(primitives), FITS(mj_space, primitives)},
    {"ops", MJ_FIELD_NAMES, .doc = "ops it implements", SPACE(ops)},
    {"schemes", MJ_FIELD_NAMES, .optional = true, .doc = "schemes it serves; left out: all", SPACE(schemes)},
    {"layouts", MJ_FIELD_NAMES, .optional = true, .doc = "weight layouts of gemm1 that it serves beside the default",
     SPACE(layouts)},
    {"needs", MJ_FIELD_NAMES, .optional = true, .doc = "arch features it needs", SPACE(needs)},
    {"tunables", MJ_FIELD_RECORDS, .doc = "the space is their product", MANY(mj_space, tunables, tunable_count),
     .record = RECORD_OF(tunable_rows, "tunable")},
    {"rules", MJ_FIELD_RECORDS, .optional = true, .doc = "named functions that prune it",
     MANY(mj_space, rules, rule_count), .record = RECORD_OF(rule_rows, "rule")},
};
const mj_schema mj_schema_space = {"space", space_rows, COUNT(space_rows)};

/* ---- models ---- */
#define MODEL(member) AT(mj_model, member)
static const mj_field shared_rows[] = {
    {"count", MJ_FIELD_U32, .min = 1, .max = 64, .doc = "experts that every token visits", MODEL(shared_expert_count)},
    {"intermediate", MJ_FIELD_U32, .min = 1, .max = 1 << 22, .unit = "elements", .doc = "width of all of them together",
     MODEL(shared_intermediate)},
};
static const mj_field model_rows[] = {
    {"hf_ids", MJ_FIELD_STRINGS, .optional = true, .doc = "Hugging Face ids it answers to",
     MANY(mj_model, hf_ids, hf_id_count)},
    {"experts", MJ_FIELD_U32, .min = 1, .max = 4096, .doc = "routed experts", MODEL(expert_count)},
    {"top_k", MJ_FIELD_U32, .min = 1, .max = 64, .doc = "experts a token visits", MODEL(top_k)},
    {"hidden", MJ_FIELD_U32, .min = 1, .max = 1 << 20, .unit = "elements", .doc = "model width", MODEL(hidden)},
    {"intermediate", MJ_FIELD_U32, .min = 1, .max = 1 << 20, .unit = "elements",
     .doc = "width of one expert, before TP", MODEL(intermediate)},
    {"gated", MJ_FIELD_BOOL, .doc = "gate and up", MODEL(gated)},
    {"activation", MJ_FIELD_ACTIVATION, .doc = "between the GEMMs", MODEL(activation)},
    {"bias", MJ_FIELD_BOOL, .optional = true, .doc = "experts have biases", MODEL(bias)},
    {"shared", MJ_FIELD_RECORD, .optional = true, .doc = "shared experts; described, not served in this version",
     .record = RECORD_OF(shared_rows, "shared")},
    {"verified", MJ_FIELD_BOOL, .doc = "false: recalled, not read from the model's files", MODEL(verified)},
    {"source", MJ_FIELD_STRING, .doc = "where the numbers come from", MODEL(source), FITS(mj_model, source)},
    {"note", MJ_FIELD_STRING, .optional = true, .doc = "what else a user should know", MODEL(note),
     FITS(mj_model, note)},
};
const mj_schema mj_schema_model = {"model", model_rows, COUNT(model_rows)};

/* ---- Description ---- */
static const char *const type_names[] = {"text",
                                         "whole number",
                                         "whole number",
                                         "number",
                                         "true or false",
                                         "activation",
                                         "list of names",
                                         "list of texts",
                                         "list of whole numbers",
                                         "list of whole numbers",
                                         "list of numbers",
                                         "table",
                                         "list of tables",
                                         "function"};
_Static_assert(sizeof type_names / sizeof type_names[0] == MJ_FIELD_TYPE_COUNT, "ORDER FIELD");

static void describe(const mj_schema *schema, int depth, mj_strbuf *out)
{
    for (uint32_t i = 0; i < schema->count; i++) {
        const mj_field *row = &schema->fields[i];
        mj_strbuf_addf(out, "%*s%s: %s", depth * 4, "", row->name, type_names[row->type]);
        if (row->unit) {
            mj_strbuf_addf(out, " in %s", row->unit);
        }
        if (row->max > row->min) {
            mj_strbuf_addf(out, ", %.10g to %.10g", row->min, row->max);
        }
        for (const char *const *choice = row->choices; choice && *choice; choice++) {
            mj_strbuf_addf(out, "%s\"%s\"", choice == row->choices ? ", one of " : " ", *choice);
        }
        mj_strbuf_addf(out, "%s: %s\n", row->optional ? ", may be left out" : "", row->doc);
        if (row->record) {
            describe(row->record, depth + 1, out);
        }
    }
}

void mj_schema_describe(const mj_schema *schema, mj_strbuf *out)
{
    describe(schema, 0, out);
}
