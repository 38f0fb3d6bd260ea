/* test_spec.c: data files to structs: what is shipped loads, what is wrong is named with file, line and key, all at once. */
#include "check.h"

#include "files_embedded.h"
#include "gen.h"
#include "schema.h"
#include "spec_lines.h"

#define BAD_DIR     MJ_TEST_SOURCE_DIR "/tests/data/spec_bad"
#define FORMATS_DIR MJ_TEST_SOURCE_DIR "/tests/data/spec_formats"

static mj_status load(const char *data_dir, mj_spec **spec, mj_strbuf *problems, mj_error *error)
{
    mj_spec_options options = {.data_dir = data_dir, .lua_instructions_max = 1000000};
    return mj_spec_load(&options, spec, problems, error);
}

TEST(loads_what_is_shipped)
{
    mj_spec *spec;
    mj_error error = {0};
    mj_strbuf problems = {0};
    mj_status status = load(NULL, &spec, &problems, &error);
    CHECK_STRING(problems.text ? problems.text : "", "");
    CHECK_STATUS(status, MJ_OK);
    static const char *const archs[] = {"cpu",    "gfx1100", "gfx1151", "gfx1200", "gfx1201", "gfx90a", "gfx942",
                                        "gfx950", "sm_100a", "sm_120a", "sm_80",   "sm_86",   "sm_89",  "sm_90a"};
    CHECK_INT(mj_spec_arch_count(spec), sizeof archs / sizeof archs[0]);
    for (uint32_t i = 0; i < mj_spec_arch_count(spec); i++) {
        CHECK_STRING(mj_spec_arch_at(spec, i)->name, archs[i]);
    }
    CHECK(mj_spec_arch_at(spec, mj_spec_arch_count(spec)) == NULL);
    mj_spec_free(spec);
}

TEST(reads_every_kind_of_field)
{
    mj_spec *spec;
    CHECK_STATUS(load(NULL, &spec, NULL, NULL), MJ_OK);
    const mj_arch *arch;
    CHECK_STATUS(mj_spec_find_arch(spec, "sm_90a", &arch, NULL), MJ_OK);
    CHECK_STRING(arch->vendor, "nvidia");
    CHECK_INT(arch->smem_block_bytes_max, 232448);
    CHECK_INT(arch->smem_sm_bytes, 233472);
    CHECK_INT(arch->capability_major, 9);
    CHECK_INT(arch->typical.sm_count, 132);
    CHECK(arch->typical.memory_gbps == 4630);
    CHECK_STRING(arch->families.items[0], "wgmma");
    CHECK_STRING(arch->families.items[1], "mma");
    const mj_scheme *scheme;
    CHECK_STATUS(mj_spec_find_scheme(spec, "bf16", &scheme, NULL), MJ_OK);
    CHECK(scheme->supported);
    CHECK_INT(scheme->weight_bits, 16);
    CHECK_INT(scheme->packing.per_word, 1);
    CHECK_INT(scheme->decode_count, 0);
    CHECK_STRING(scheme->accumulate_format, "f32");
    CHECK_STRING(scheme->input_scale_kind, "none");
    CHECK(scheme->tolerance.element_rel == 0.0078125);
    const mj_space *space;
    CHECK_STATUS(mj_spec_find_space(spec, "mma", &space, NULL), MJ_OK);
    CHECK_STRING(space->primitives, "");
    CHECK_INT(space->tunable_count, 8);
    CHECK_STRING(space->tunables[0].name, "tile_m");
    CHECK_INT(space->tunables[1].default_value, 128);
    CHECK_INT(space->tunables[3].values[5], 8);
    CHECK(space->rule_count > 5);
    CHECK(space->rules[0].reason[0] != 0);
    CHECK_STATUS(mj_spec_find_space(spec, "wgmma", &space, NULL), MJ_OK);
    CHECK_STRING(space->primitives, "hopper");
    const mj_model *model;
    CHECK_STATUS(mj_spec_find_model(spec, "gpt-oss-20b", &model, NULL), MJ_OK);
    CHECK(model->bias && model->gated && model->activation == MJ_ACT_SWIGLUOAI);
    mj_spec_free(spec);
}

TEST(unknown_names_offer_the_nearest)
{
    mj_spec *spec;
    mj_error error;
    CHECK_STATUS(load(NULL, &spec, NULL, NULL), MJ_OK);
    const mj_arch *arch;
    CHECK_STATUS(mj_spec_find_arch(spec, "a10", &arch, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "did you mean \"sm_86\"");
    CHECK_STATUS(mj_spec_find_arch(spec, "h100", &arch, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "did you mean \"sm_90a\" (Hopper: H100, H200, GH200)?");
    CHECK_STATUS(mj_spec_find_arch(spec, "sm_90aa", &arch, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "\"sm_90a\"");
    const mj_model *model;
    CHECK_STATUS(mj_spec_find_model(spec, "mixtral-8x7", &model, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "did you mean \"mixtral-8x7b\"");
    CHECK_STATUS(mj_spec_find_model(spec, "Qwen/Qwen3-30B-A3", &model, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "did you mean \"Qwen/Qwen3-30B-A3B\"");
    const mj_scheme *scheme;
    CHECK_STATUS(mj_spec_find_scheme(spec, "zzzzzzzzzzz", &scheme, &error), MJ_ERR_NOT_FOUND);
    CHECK(strstr(error.text, "did you mean") == NULL);
    const mj_space *space;
    CHECK_STATUS(mj_spec_find_space(spec, NULL, &space, &error), MJ_ERR_ARGUMENT);
    mj_spec_free(spec);
}

TEST(matches_devices_by_capability)
{
    mj_spec *spec;
    CHECK_STATUS(load(NULL, &spec, NULL, NULL), MJ_OK);
    static const struct {
        uint32_t major, minor;
        const char *name;
    } cases[] = {
        {8, 0, "sm_80"}, {8, 6, "sm_86"}, {8, 7, "sm_86"}, {8, 9, "sm_89"},    {9, 0, "sm_90a"}, {10, 0, "sm_100a"},
        {10, 3, NULL},   {12, 1, NULL},   {7, 5, NULL},    {12, 0, "sm_120a"}, {0, 0, NULL},     {99, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const mj_arch *arch = mj_spec_arch_for_capability(spec, cases[i].major, cases[i].minor);
        CHECK_STRING(arch ? arch->name : "none", cases[i].name ? cases[i].name : "none");
    }
    mj_spec_free(spec);
}

/* ---- Problems ---- */

static const char *const expected_problems[] = {
    "lua/arch/bad_fields.lua:9: warp_sise: unknown key; did you mean \"warp_size\"?\n",
    "lua/arch/bad_fields.lua:4: vendor: unknown value \"nvidea\"; did you mean \"nvidia\"?\n",
    "lua/arch/bad_fields.lua:8: capability_minor: is 0.5, not a whole number\n",
    "lua/arch/bad_fields.lua:10: warp_size: is 1000, out of range 1 to 128 threads\n",
    "lua/arch/bad_fields.lua:11: smem_block_bytes_max: is a string, not a number\n",
    "lua/arch/bad_fields.lua:15: threads_block_max: is -1, out of range 1 to 65536 threads\n",
    "lua/arch/bad_fields.lua:17: blocks_sm_max: is 1e+300, out of range 1 to 1024 blocks\n",
    "lua/arch/bad_fields.lua:18: features[2]: is a number, not a text\n",
    "lua/arch/bad_fields.lua:19: families: is not a plain list {a, b, ...}\n",
    "lua/arch/bad_fields.lua:20: typical_device: is empty\n",
    "lua/arch/bad_fields.lua:25: typical.l2_byte: unknown key; did you mean \"l2_bytes\"?\n",
    "lua/arch/bad_fields.lua:23: typical.memory_gbps: is not a finite number\n",
    "lua/arch/bad_fields.lua:21: typical: l2_bytes is missing: last-level cache\n",
    "lua/arch/bad_fields.lua:2: source is missing: where the figures come from\n",
    "lua/arch/bad_relations.lua:15: families[1]: unknown family \"referense\"; did you mean \"reference\"?\n",
    "lua/arch/bad_relations.lua:15: families[3]: \"simple\" is there twice\n",
    "lua/arch/bad_relations.lua:7: smem_block_bytes_max: is 2048, more than smem_sm_bytes 1024\n",
    "lua/arch/bad_relations.lua:11: threads_block_max: is 4096, more than threads_sm_max 2048\n",
    "lua/arch/bad_relations.lua:1: capability_major is missing: devices are matched by it\n",
    "lua/quant/bad_codes.lua:16: tolerance.element_rel: is 2, out of range 1e-07 to 0.5\n",
    "lua/quant/bad_codes.lua:19: tolerance.why: holds a control character\n",
    "lua/quant/bad_codes.lua:8: weight.decode: has 3 values; 4 bits have 16 codes (at most 8 bits)\n",
    "lua/quant/bad_codes.lua:9: weight.packing: order is no permutation of 0..7\n",
    "lua/quant/bad_codes.lua:11: zero: zero points without a scale\n",
    "lua/quant/bad_codes.lua:12: input: group_k is for scale = \"group\", and needed there\n",
    "lua/space/bad_types.lua:4: ops: is a string, not a list\n",
    "lua/space/bad_types.lua:7: tunables[2].value: unknown key; did you mean \"values\"?\n",
    "lua/space/bad_types.lua:7: tunables[2].values[2]: is a string, not a number\n",
    "lua/space/bad_types.lua:7: tunables[2].default: is 16.5, not a whole number\n",
    "lua/space/bad_types.lua:8: tunables[3]: is a number, not a table\n",
    "lua/space/bad_types.lua:11: rules[1].holds: is a boolean, not a function\n",
    "lua/space/bad_space.lua:4: ops[2]: unknown op \"gemm3\"; did you mean \"gemm1\"?\n",
    "lua/space/bad_space.lua:5: schemes[1]: unknown scheme \"bf17\"; did you mean \"bf16\"?\n",
    "lua/space/bad_space.lua:6: needs[1]: unknown arch feature \"mma_bf61\"; did you mean \"mma_bf16\"?\n",
    "lua/space/bad_space.lua:3: template: no data file \"templates/mma.tmpll\"; did you mean \"templates/mma.tmpl\"?\n",
    "lua/space/bad_space.lua:8: tunables[1].values: 32 after 64: values ascend\n",
    "lua/space/bad_space.lua:9: tunables[2].default: 17 is not one of the values\n",
    "lua/space/bad_space.lua:9: tunables[2].name: \"tile_m\" is there twice\n",
    "lua/space/bad_space.lua:15: tunables[3].rare: 2 is not one of the values\n",
    "lua/space/bad_space.lua:11: tunables[3].name: may hold a-z 0-9 _ only\n",
    "lua/space/bad_space.lua:21: rules[2].name: \"same\" is there twice\n",
    "lua/models/Bad Name.lua:1: the file's name is the model's name: at most 63 of a-z 0-9 _ . -\n",
    "lua/models/bad_model.lua:4: top_k: is 9, more than experts 8\n",
    "lua/models/bad_types.lua:5: intermediates: unknown key; did you mean \"intermediate\"?\n",
    "lua/models/bad_types.lua:1: 1 more unknown keys\n",
    "lua/models/bad_types.lua:2: experts: is 9.007199254741e+15, out of range 1 to 4096\n",
    "lua/models/bad_types.lua:3: top_k: is 1.5, not a whole number\n",
    "lua/models/bad_types.lua:4: hidden: is 0, out of range 1 to 1048576 elements\n",
    "lua/models/bad_types.lua:7: gated: is a number, not true or false\n",
    "lua/models/bad_types.lua:8: activation: ",
    "lua/models/bad_types.lua:9: shared: intermediate is missing: ",
    "lua/models/endless.lua:4: more than 1000000 instructions\n",
    "lua/models/mixtral-8x7b.lua:3: hf_ids[2]: \"mistralai/Mixtral-8x7B-v0.1\" is already an id of bad_model\n",
    "lua/models/no_table.lua:1: the file returns a number, not a table\n",
    "lua/models/runtime_error.lua:2: attempt to index a nil value (field 'x')\n",
    "lua/models/syntax.lua:3: unexpected symbol near '='\n",
    "lua/models/uses_os.lua:1: attempt to index a nil value (global 'os')\n",
};

TEST(all_problems_of_all_files_at_once)
{
    mj_spec *spec;
    mj_error error = {0};
    mj_strbuf problems = {0};
    CHECK_STATUS(load(BAD_DIR, &spec, &problems, &error), MJ_ERR_FORMAT);
    CHECK(spec == NULL);
    size_t expected_count = sizeof expected_problems / sizeof expected_problems[0], line_count = 0;
    for (size_t i = 0; i < expected_count; i++) {
        CHECK_CONTAINS(problems.text, expected_problems[i]);
    }
    for (const char *c = problems.text; *c; c++) {
        line_count += *c == '\n';
    }
    CHECK_INT(line_count, expected_count); /* and nothing that the list above does not name */
    CHECK_CONTAINS(error.text, "lua/arch/bad_fields.lua:9: warp_sise: unknown key");
    CHECK_CONTAINS(error.text, "(and 56 more)");
    mj_strbuf_free(&problems);
}

TEST(the_same_problems_in_the_same_order)
{
    mj_spec *spec;
    mj_strbuf first = {0}, second = {0};
    CHECK_STATUS(load(BAD_DIR, &spec, &first, NULL), MJ_ERR_FORMAT);
    CHECK_STATUS(load(BAD_DIR, &spec, &second, NULL), MJ_ERR_FORMAT);
    CHECK_STRING(second.text, first.text);
    mj_strbuf_free(&first);
    mj_strbuf_free(&second);
}

TEST(folders_that_are_none)
{
    mj_spec *spec;
    mj_error error = {0};
    CHECK_STATUS(load("/nonexistent/moejit", &spec, NULL, &error), MJ_ERR_IO);
    CHECK_CONTAINS(error.text, "/nonexistent/moejit");
    CHECK_STATUS(load("/dev/null", &spec, NULL, &error), MJ_ERR_IO);
    CHECK_CONTAINS(error.text, "not a folder");
    CHECK_STATUS(load(BAD_DIR "/lua", &spec, NULL, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "neither lua/ nor templates/");
}

TEST(limits_are_the_callers)
{
    mj_spec *spec;
    mj_error error = {0};
    mj_spec_options few = {.lua_instructions_max = 20};
    CHECK_STATUS(mj_spec_load(&few, &spec, NULL, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "more than 20 instructions");
    mj_spec_options small = {.lua_memory_bytes_max = 5000};
    CHECK_STATUS(mj_spec_load(&small, &spec, NULL, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "5000 bytes");
}

/* ---- Formats that are not served yet ---- */

/* The value of element `index` of the run that `word` packs, as any decoder of the format has to compute it. */
static double decode_element(const mj_scheme *scheme, uint64_t word, uint32_t index)
{
    for (uint32_t i = 0; i < scheme->packing.per_word; i++) {
        if (scheme->packing.order[i] == index) {
            return scheme->decode[word >> (i * scheme->weight_bits) & ((1u << scheme->weight_bits) - 1)];
        }
    }
    return NAN;
}

TEST(the_format_holds_every_weight_format)
{
    mj_spec *spec;
    mj_strbuf problems = {0};
    mj_status status = load(FORMATS_DIR, &spec, &problems, NULL);
    CHECK_STRING(problems.text ? problems.text : "", "");
    CHECK_STATUS(status, MJ_OK);
    CHECK_INT(mj_spec_scheme_count(spec), 35);
    uint32_t supported = 0;
    for (uint32_t i = 0; i < mj_spec_scheme_count(spec); i++) {
        supported += mj_spec_scheme_at(spec, i)->supported;
    }
    CHECK_INT(supported, 20);
    mj_spec_free(spec);
}

TEST(codes_decode_by_order_and_table)
{
    mj_spec *spec;
    const mj_scheme *scheme;
    CHECK_STATUS(load(FORMATS_DIR, &spec, NULL, NULL), MJ_OK);
    /* nibbles from bit 0 on: elements 0 2 4 6 1 3 5 7 */
    CHECK_STATUS(mj_spec_find_scheme(spec, "int4_exllama", &scheme, NULL), MJ_OK);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(decode_element(scheme, 0x75316420, i) == i);
    }
    CHECK_INT(scheme->zero_bias, 1);
    CHECK_STRING(scheme->zero.packing.axis, "n");
    CHECK_STRING(scheme->scale.order, "kn");
    CHECK_STATUS(mj_spec_find_scheme(spec, "int4_compressed", &scheme, NULL), MJ_OK);
    CHECK(decode_element(scheme, 0xf0, 0) == -8 && decode_element(scheme, 0xf0, 1) == 7);
    CHECK_STATUS(mj_spec_find_scheme(spec, "mxfp4", &scheme, NULL), MJ_OK);
    CHECK(decode_element(scheme, 0xf5, 0) == 3 && decode_element(scheme, 0xf5, 1) == -6);
    CHECK_STRING(scheme->scale.format, "e8m0");
    CHECK_INT(scheme->scale.group_k, 32);
    CHECK_STATUS(mj_spec_find_scheme(spec, "nvfp4", &scheme, NULL), MJ_OK);
    CHECK_STRING(scheme->scale.format, "e4m3");
    CHECK_STRING(scheme->global_scale.format, "f32");
    CHECK_STRING(scheme->input_global_scale_format, "f32");
    CHECK_INT(scheme->input_group_k, 16);
    CHECK(scheme->input_scale_dynamic);
    CHECK_STATUS(mj_spec_find_scheme(spec, "fp8_block", &scheme, NULL), MJ_OK);
    CHECK_INT(scheme->scale.group_n, 128);
    CHECK_INT(scheme->scale.group_k, 128);
    CHECK_INT(scheme->input_group_k, 128);
    CHECK_STATUS(mj_spec_find_scheme(spec, "fp8_table", &scheme, NULL), MJ_OK);
    CHECK_INT(scheme->decode_count, 256);
    CHECK(scheme->decode[0x7e] == 448 && scheme->decode[0x81] == -0.001953125 && isnan(scheme->decode[0x7f]));
    mj_spec_free(spec);
}

/* ---- Lines ---- */

TEST(lines_of_keys)
{
    static const char text[] = "-- a comment with return {\n"
                               "local function f(a) if a then return { x = 1 } end end --[[ long\n"
                               "comment ]] local s = [==[ return {\n"
                               "]] ]==]\n"
                               "return {\n"
                               "    first = f({ 1, 2 }), [\"second\"] = \"}\\\"\",\n"
                               "    third = function() while true do local t = { third = 3, } end end,\n"
                               "    { deep = { 1,\n"
                               "        2, deeper = 3 } };\n"
                               "    [7] = 7, last == 2,\n"
                               "    fifth = 5\n"
                               "}\n";
    static const struct {
        mj_path_step steps[3];
        uint32_t count, line;
    } cases[] = {
        {{{0}}, 0, 5},
        {{{.key = "first"}}, 1, 6},
        {{{.key = "second"}}, 1, 6},
        {{{.key = "third"}}, 1, 7},
        {{{.index = 1}}, 1, 8},
        {{{.index = 1}, {.key = "deep"}}, 2, 8},
        {{{.index = 1}, {.key = "deep"}, {.index = 2}}, 3, 9},
        {{{.index = 1}, {.key = "deep"}, {.key = "deeper"}}, 3, 9},
        {{{.index = 2}}, 1, 10},
        {{{.key = "fifth"}}, 1, 11},
        {{{.key = "absent"}}, 1, 5},
        {{{.index = 1}, {.key = "absent"}}, 2, 8},
        {{{.key = "first"}, {.index = 1}}, 2, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(mj_lua_line(text, sizeof text - 1, cases[i].steps, cases[i].count), cases[i].line);
    }
    CHECK_INT(mj_lua_line("", 0, cases[1].steps, 1), 1);
    CHECK_INT(mj_lua_line("return {", 8, cases[1].steps, 1), 1);
    CHECK_INT(mj_lua_line("\n\nreturn t", 10, cases[1].steps, 1), 3);
}

/* ---- Files ---- */

TEST(files_are_sorted_and_found)
{
    mj_files *files;
    mj_error error;
    CHECK_STATUS(mj_files_open(NULL, &files, &error), MJ_OK);
    const char *const *names;
    size_t count, bytes;
    CHECK_STATUS(mj_files_list(files, "lua/arch/", &names, &count, &error), MJ_OK);
    CHECK_INT(count, 14);
    CHECK_STRING(names[0], "lua/arch/cpu.lua");
    CHECK_STATUS(mj_files_list(files, "", &names, &count, &error), MJ_OK);
    CHECK_INT(count, mj_embedded_file_count);
    for (size_t i = 1; i < count; i++) {
        CHECK(strcmp(names[i - 1], names[i]) < 0);
    }
    const char *text;
    CHECK_STATUS(mj_files_get(files, "templates/mma.tmpl", &text, &bytes, &error), MJ_OK);
    CHECK_INT(strlen(text), bytes);
    CHECK_STATUS(mj_files_get(files, "templates/mna.tmpl", &text, &bytes, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "templates/mma.tmpl");
    CHECK_STATUS(mj_files_get(files, "../etc/passwd", &text, &bytes, &error), MJ_ERR_NOT_FOUND);
    mj_files_close(files);
}

TEST(a_folder_lies_over_the_built_in_files)
{
    mj_files *own, *built_in;
    const char *const *names;
    const char *own_text, *text;
    size_t own_count, count;
    CHECK_STATUS(mj_files_open(MJ_TEST_SOURCE_DIR, &own, NULL), MJ_OK);
    CHECK_STATUS(mj_files_open(NULL, &built_in, NULL), MJ_OK);
    CHECK_STATUS(mj_files_list(own, "", &names, &own_count, NULL), MJ_OK);
    CHECK_STATUS(mj_files_list(built_in, "", &names, &count, NULL), MJ_OK);
    CHECK_INT(own_count, count); /* the tree the binary was built from: nothing is new, nothing is missing */
    for (size_t i = 0; i < count; i++) {
        CHECK_STATUS(mj_files_get(own, names[i], &own_text, NULL, NULL), MJ_OK);
        CHECK_STATUS(mj_files_get(built_in, names[i], &text, NULL, NULL), MJ_OK);
        CHECK_STRING(own_text, text);
    }
    mj_files_close(own);
    CHECK_STATUS(mj_files_open(FORMATS_DIR, &own, NULL), MJ_OK);
    CHECK_STATUS(mj_files_list(own, "lua/quant/", &names, &own_count, NULL), MJ_OK);
    CHECK_INT(own_count, 35);
    mj_files_close(own);
    mj_files_close(built_in);
}

/* ---- The schema describes itself ---- */

TEST(the_rows_describe_the_format)
{
    mj_strbuf text = {0};
    mj_schema_describe(&mj_schema_space, &text);
    CHECK_CONTAINS(text.text, "tunables: list of tables: the space is their product\n    name: text:");
    mj_schema_describe(&mj_schema_arch, &text);
    CHECK_CONTAINS(text.text, "warp_size: whole number in threads, 1 to 128: threads that run as one\n");
    CHECK_CONTAINS(text.text, "vendor: text, one of \"nvidia\" \"amd\" \"cpu\": whose device\n");
    mj_strbuf_free(&text);
}

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 17);
    if (file && text) {
        text[fread(text, 1, (1 << 17) - 1, file)] = 0;
    }
    if (file) {
        fclose(file);
    }
    return text;
}

/* lua/README.md shows the rows; MJ_UPDATE_DOCS=1 prints what belongs there. */
TEST(the_readme_shows_the_rows)
{
    static const mj_schema *const schemas[] = {&mj_schema_arch, &mj_schema_scheme, &mj_schema_space, &mj_schema_model};
    char *readme = read_whole(MJ_TEST_SOURCE_DIR "/lua/README.md");
    CHECK(readme && readme[0]);
    for (int i = 0; i < 4; i++) {
        mj_strbuf text = {0};
        mj_strbuf_addf(&text, "```text %s\n", schemas[i]->what);
        mj_schema_describe(schemas[i], &text);
        mj_strbuf_addf(&text, "```\n");
        if (getenv("MJ_UPDATE_DOCS")) {
            fputs(text.text, stderr);
        } else {
            CHECK_CONTAINS(readme, text.text);
        }
        mj_strbuf_free(&text);
    }
    free(readme);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(loads_what_is_shipped);
    RUN(reads_every_kind_of_field);
    RUN(unknown_names_offer_the_nearest);
    RUN(matches_devices_by_capability);
    RUN(all_problems_of_all_files_at_once);
    RUN(the_same_problems_in_the_same_order);
    RUN(folders_that_are_none);
    RUN(limits_are_the_callers);
    RUN(the_format_holds_every_weight_format);
    RUN(codes_decode_by_order_and_table);
    RUN(lines_of_keys);
    RUN(files_are_sorted_and_found);
    RUN(a_folder_lies_over_the_built_in_files);
    RUN(the_rows_describe_the_format);
    RUN(the_readme_shows_the_rows);
    return CHECK_END();
}
