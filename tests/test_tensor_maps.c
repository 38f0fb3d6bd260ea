/* test_tensor_maps.c: tensor maps from a manifest's text to a launch's arguments, and everything on the way that refuses a bad one;
 * with them the other two things a manifest may ask for: dependent launches and a first pass. */
#include "backend.h"
#include "cpu_entry.h"
#include "fake_device.h"
#include "json.h"
#include "store.h"

static const mj_problem small = {.expert_count = 4,
                                 .expert_total_count = 4,
                                 .top_k = 2,
                                 .hidden = 64,
                                 .intermediate = 32,
                                 .gated = true,
                                 .scheme = "bf16",
                                 .layout = "default"};

static const mj_tensor_map_rule weights_rule = {.name = "weights_map",
                                                .source = MJ_ARG_WEIGHTS,
                                                .element_bytes = 2,
                                                .row_elements = 64,
                                                .row_unit = MJ_ROWS_FIXED,
                                                .rows = 256,
                                                .box_rows = 128,
                                                .box_elements = 64,
                                                .swizzle_bytes = 128};

/* gemm1 with a map of the weights and one of the input rows. */
static mj_manifest manifest_with_maps(void)
{
    mj_manifest manifest = fake_manifest(&small, MJ_OP_GEMM1, "wgmma", 16);
    manifest.tensor_map_count = 2;
    manifest.tensor_maps[0] = weights_rule;
    manifest.tensor_maps[1] = (mj_tensor_map_rule){.name = "input_map",
                                                   .source = MJ_ARG_INPUT,
                                                   .element_bytes = 1,
                                                   .row_elements = 80,
                                                   .row_unit = MJ_ROWS_PAIRS,
                                                   .rows = 3,
                                                   .box_rows = 8,
                                                   .box_elements = 32,
                                                   .swizzle_bytes = 32};
    manifest.args_bytes = mj_args_bytes(manifest.op, 2);
    manifest.dependent_launch = true;
    return manifest;
}

/* ---- Limits ---- */
static const struct bad_rule {
    const char *key; /* of its text */
    size_t offset, bytes;
    uint64_t value;
    const char *says;
} bad_rules[] = {
#define RULE(field, value, says) \
    { \
#field, offsetof(mj_tensor_map_rule, field), sizeof weights_rule.field, value, says \
    }
    RULE(source, MJ_ARG_TOKEN_COUNT, "describes no pointer"),
    RULE(element_bytes, 0, "1 or 2 bytes"),
    RULE(element_bytes, 4, "1 or 2 bytes"),
    RULE(row_elements, 0, "multiples of 16 bytes"),
    RULE(row_elements, 68, "multiples of 16 bytes"),
    RULE(row_elements, UINT32_MAX - 7, "multiples of 16 bytes"),
    RULE(rows, 0, "number of rows"),
    RULE(rows, 1ull << 32, "number of rows"),
    RULE(row_unit, MJ_ROW_UNIT_COUNT, "number of rows"),
    RULE(box_rows, 0, "1 to 256 rows"),
    RULE(box_rows, 257, "1 to 256 rows"),
    RULE(box_elements, 0, "in whole 16 bytes"),
    RULE(box_elements, 4, "in whole 16 bytes"),
    RULE(box_elements, 264, "in whole 16 bytes"),
    RULE(box_elements, 72, "wider than the swizzle"),
    RULE(swizzle_bytes, 64, "wider than the swizzle"),
    RULE(swizzle_bytes, 16, "0, 32, 64 or 128"),
    RULE(swizzle_bytes, 256, "0, 32, 64 or 128"),
};
enum { BAD_RULE_COUNT = sizeof bad_rules / sizeof bad_rules[0] };

static mj_tensor_map_rule spoil(const struct bad_rule *bad)
{
    mj_tensor_map_rule rule = weights_rule;
    memcpy((char *)&rule + bad->offset, &bad->value, bad->bytes); /* little endian */
    return rule;
}

TEST(limits_of_the_copy_engine)
{
    mj_error error = {0};
    mj_tensor_map_rule rule = weights_rule;
    CHECK_STATUS(mj_tensor_map_check(&rule, &error), MJ_OK);
    rule.swizzle_bytes = 0;
    rule.box_elements = 256;
    rule.box_rows = 256;
    rule.rows = UINT32_MAX;
    CHECK_STATUS(mj_tensor_map_check(&rule, &error), MJ_OK);
    for (int i = 0; i < BAD_RULE_COUNT; i++) {
        rule = spoil(&bad_rules[i]);
        CHECK_STATUS(mj_tensor_map_check(&rule, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, "tensor map weights_map: ");
        CHECK_CONTAINS(error.text, bad_rules[i].says);
    }
}

/* Gate and up rows of 4 experts in turns of 8: boxes of 32 rows. */
static mj_tensor_map_rule interleaved_rule(void)
{
    mj_tensor_map_rule rule = weights_rule;
    rule.rows = rule.box_rows = 8;
    rule.axis_count = 3;
    rule.axes[0] = (mj_tensor_axis){.count = 2, .stride_rows = 32, .box = 2};
    rule.axes[1] = (mj_tensor_axis){.count = 4, .stride_rows = 8, .box = 2};
    rule.axes[2] = (mj_tensor_axis){.count = 4, .stride_rows = 64, .box = 1};
    return rule;
}

TEST(limits_of_further_dimensions)
{
    const uint64_t far = ((1ull << 40) - 1) / 128; /* rows of 128 bytes */
    const struct {
        uint32_t axis_count;
        mj_row_unit unit;
        mj_tensor_axis last;
        const char *says; /* NULL: good */
    } rows[] = {
        {3, MJ_ROWS_FIXED, {UINT32_MAX, far, 256}, NULL},
        {4, MJ_ROWS_FIXED, {4, 64, 1}, "at most 5 dimensions"},
        {3, MJ_ROWS_PAIRS, {4, 64, 1}, "rows that are fixed"},
        {3, MJ_ROWS_FIXED, {0, 64, 1}, "1 to 2^32 - 1 parts"},
        {3, MJ_ROWS_FIXED, {1ull << 32, 64, 1}, "1 to 2^32 - 1 parts"},
        {3, MJ_ROWS_FIXED, {4, 64, 0}, "a box takes 1 to 256"},
        {3, MJ_ROWS_FIXED, {4, 64, 257}, "a box takes 1 to 256"},
        {3, MJ_ROWS_FIXED, {4, 0, 1}, "not in one place"},
        {3, MJ_ROWS_FIXED, {4, far + 1, 1}, "less than 2^40 bytes"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mj_error error = {0};
        mj_tensor_map_rule rule = interleaved_rule();
        rule.axis_count = rows[i].axis_count;
        rule.row_unit = rows[i].unit;
        rule.axes[2] = rows[i].last;
        CHECK_STATUS(mj_tensor_map_check(&rule, &error), rows[i].says ? MJ_ERR_FORMAT : MJ_OK);
        CHECK_CONTAINS(error.text, rows[i].says ? rows[i].says : "");
    }
}

TEST(rows_of_a_launch)
{
    mj_manifest manifest = manifest_with_maps();
    mj_arg_value values[MJ_ARG_COUNT] = {[MJ_ARG_WEIGHTS].pointer = 0x4000, [MJ_ARG_INPUT].pointer = 0x5000};
    mj_tensor_map map;
    mj_error error = {0};
    CHECK_STATUS(mj_manifest_tensor_map(&manifest, 0, values, 7, &map, &error), MJ_OK);
    CHECK_INT(map.rows, 256);
    CHECK_INT(map.address, 0x4000);
    CHECK_STATUS(mj_manifest_tensor_map(&manifest, 1, values, 7, &map, &error), MJ_OK);
    CHECK_INT(map.rows, 3 * 7 * 2);
    CHECK_INT(map.address, 0x5000);
    CHECK_INT(map.row_elements, 80);
    CHECK_INT(map.swizzle_bytes, 32);
    manifest.tensor_maps[1].row_unit = MJ_ROWS_TOKENS;
    CHECK_STATUS(mj_manifest_tensor_map(&manifest, 1, values, 7, &map, &error), MJ_OK);
    CHECK_INT(map.rows, 3 * 7);
    manifest.tensor_maps[1].rows = UINT32_MAX / 2;
    CHECK_STATUS(mj_manifest_tensor_map(&manifest, 1, values, 3, &map, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "input_map has too many rows for 3 tokens");
    manifest.tensor_maps[1].rows = UINT64_MAX / 2;
    CHECK_STATUS(mj_manifest_tensor_map(&manifest, 1, values, 3, &map, &error), MJ_ERR_CAPACITY);
}

/* ---- Text ---- */
static char *text_of(const mj_manifest *manifest)
{
    mj_json *json = mj_manifest_to_json(manifest);
    char *text = json ? mj_json_print(json, false) : NULL;
    mj_json_free(json);
    return text;
}

static mj_status parse(const char *text, mj_manifest *out, mj_error *error)
{
    mj_json *json = NULL;
    mj_status status = mj_json_parse(text, strlen(text), "test", &json, error);
    status = status == MJ_OK ? mj_manifest_from_json(json, out, error) : status;
    mj_json_free(json);
    return status;
}

TEST(manifests_round_trip)
{
    mj_manifest manifest = manifest_with_maps(), again;
    mj_error error = {0};
    manifest.first_pass = true;
    manifest.first_grid = (mj_grid_rule){MJ_GRID_PAIRS, 1, 1, 0};
    manifest.pair_scratch_bytes = 528;
    manifest.partial_block_bytes = 16384;
    manifest.counters_per_block = 8;
    char *text = text_of(&manifest);
    CHECK(text);
    CHECK_STATUS(parse(text, &again, &error), MJ_OK);
    CHECK_INT(again.tensor_map_count, 2);
    for (int i = 0; i < 2; i++) {
        const mj_tensor_map_rule *a = &manifest.tensor_maps[i], *b = &again.tensor_maps[i];
        CHECK_STRING(b->name, a->name);
        CHECK(a->source == b->source && a->row_unit == b->row_unit && a->rows == b->rows);
        CHECK(a->element_bytes == b->element_bytes && a->row_elements == b->row_elements);
        CHECK(a->box_rows == b->box_rows && a->box_elements == b->box_elements && a->swizzle_bytes == b->swizzle_bytes);
    }
    CHECK(again.dependent_launch && again.first_pass);
    CHECK_INT(again.first_grid.unit, MJ_GRID_PAIRS);
    CHECK_INT(again.pair_scratch_bytes, 528);
    CHECK(again.partial_block_bytes == 16384 && again.counters_per_block == 8);
    char *second = text_of(&again);
    CHECK_STRING(second, text);
    free(text);
    free(second);
    manifest = manifest_with_maps(); /* and nothing of it where it is not asked for */
    manifest.tensor_map_count = 0;
    manifest.dependent_launch = false;
    manifest.args_bytes = mj_args_bytes(manifest.op, 0);
    text = text_of(&manifest);
    CHECK(!strstr(text, "tensor_maps") && !strstr(text, "dependent_launch") && !strstr(text, "first_grid"));
    CHECK_STATUS(parse(text, &again, &error), MJ_OK);
    CHECK(again.tensor_map_count == 0 && !again.dependent_launch && !again.first_pass);
    free(text);
}

/* The text of a manifest with `from` replaced by `to` where it first occurs behind "tensor_maps". */
static char *replaced(const char *text, const char *from, const char *to)
{
    size_t bytes = strlen(text) + strlen(to) + 1;
    char *out = malloc(bytes);
    const char *at = strstr(strstr(text, "\"tensor_maps\""), from);
    if (!out || !at) {
        check_fail(__FILE__, __LINE__, "no %s in the text", from);
        free(out);
        return NULL;
    }
    snprintf(out, bytes, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

TEST(further_dimensions_round_trip)
{
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"\"axes\":[", "\"axes\":{},\"others\":[", "axes: an array of at most 3"},
        {"\"axes\":[", "\"axes\":[{},{},", "axes: an array of at most 3"},
        {"\"count\":2", "\"count\":0", "tensor_maps.axes.count"},
        {"\"count\":2,", "", "tensor_maps.axes.count"},
        {"\"stride_rows\":32", "\"stride_rows\":-8", "tensor_maps.axes.stride_rows"},
        {"\"stride_rows\":32", "\"stride_rows\":9007199254740992", "less than 2^40 bytes"},
        {"\"box\":2", "\"box\":1000", "a box takes 1 to 256"},
        {"\"box\":2", "\"box\":\"2\"", "tensor_maps.axes.box"},
    };
    mj_manifest manifest = manifest_with_maps(), again;
    mj_error error = {0};
    manifest.tensor_maps[0] = interleaved_rule();
    char *text = text_of(&manifest);
    CHECK(text);
    CHECK_STATUS(parse(text, &again, &error), MJ_OK);
    CHECK_INT(again.tensor_maps[0].axis_count, 3);
    CHECK_INT(again.tensor_maps[1].axis_count, 0);
    for (int i = 0; i < 3; i++) {
        const mj_tensor_axis *a = &manifest.tensor_maps[0].axes[i], *b = &again.tensor_maps[0].axes[i];
        CHECK(a->count == b->count && a->stride_rows == b->stride_rows && a->box == b->box);
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *bad = replaced(text, rows[i].from, rows[i].to);
        CHECK(bad);
        CHECK_STATUS(parse(bad, &again, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, rows[i].says);
        free(bad);
    }
    free(text);
    mj_tensor_map map;
    mj_arg_value values[MJ_ARG_COUNT] = {[MJ_ARG_WEIGHTS].pointer = 0x4000};
    CHECK_STATUS(mj_manifest_tensor_map(&manifest, 0, values, 7, &map, &error), MJ_OK);
    CHECK_INT(map.axis_count, 3);
    CHECK_INT(map.axes[0].stride_rows, 32);
    CHECK_INT(map.axes[1].box, 2);
    CHECK_INT(map.axes[2].count, 4);
}

TEST(texts_of_bad_maps_are_refused)
{
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"\"tensor_maps\":[", "\"tensor_maps\":[7,", "tensor_maps."},
        {"\"tensor_maps\":[", "\"tensor_maps\":{},\"others\":[", "tensor_maps: an array"},
        {"\"tensor_maps\":[", "\"tensor_maps\":[{},{},{},{},{}],\"others\":[", "at most 4"},
        {"\"tensor_maps\":[", "\"tensor_maps\":[],\"others\":[", "args_bytes: "},
        {"\"tensor_maps\":[", "\"tensor_maps\":[{},", "tensor_maps.name"},
        {"\"source\":\"weights\"", "\"source\":\"weight\"", "describes no pointer"},
        {"\"source\":\"weights\"", "\"source\":\"token_count\"", "describes no pointer"},
        {"\"source\":\"weights\",", "", "tensor_maps.source"},
        {"\"row_unit\":\"fixed\"", "\"row_unit\":\"blocks\"", "number of rows"},
        {"\"row_unit\":\"fixed\"", "\"row_unit\":3", "tensor_maps.row_unit"},
        {"\"rows\":256", "\"rows\":4294967296", "tensor_maps.rows"},
        {"\"rows\":256", "\"rows\":-1", "tensor_maps.rows"},
        {"\"rows\":256", "\"rows\":0.5", "tensor_maps.rows"},
        {"\"row_elements\":64", "\"row_elements\":65", "multiples of 16 bytes"},
        {"\"row_elements\":64,", "", "tensor_maps.row_elements"},
        {"\"element_bytes\":2", "\"element_bytes\":3", "1 or 2 bytes"},
        {"\"box_rows\":128", "\"box_rows\":4294967424", "tensor_maps.box_rows"},
        {"\"box_rows\":128", "\"box_rows\":1000", "1 to 256 rows"},
        {"\"box_elements\":64", "\"box_elements\":128", "wider than the swizzle"},
        {"\"swizzle_bytes\":128", "\"swizzle_bytes\":\"128\"", "tensor_maps.swizzle_bytes"},
        {"\"name\":\"weights_map\"", "\"name\":\"a name of more than thirty-one characters\"", "tensor_maps.name"},
    };
    mj_manifest manifest = manifest_with_maps(), out;
    char *text = text_of(&manifest);
    CHECK(text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mj_error error = {0};
        char *bad = replaced(text, rows[i].from, rows[i].to);
        CHECK(bad);
        mj_status status = parse(bad, &out, &error);
        if (status != MJ_ERR_FORMAT || !strstr(error.text, rows[i].says)) {
            check_fail(__FILE__, __LINE__, "%s: status %d, \"%s\"", rows[i].to, status, error.text);
        }
        free(bad);
    }
    free(text);
}

/* ---- Launches ---- */
static mj_tensor_map encoded[8];
static int encode_count;
static mj_status encode_status;

static mj_status encode(void *device, const mj_tensor_map *map, void *out, mj_error *error)
{
    (void)device;
    if (encode_status != MJ_OK) {
        return mj_fail(error, encode_status, "no map today");
    }
    encoded[encode_count % 8] = *map;
    memset(out, 0x60 + encode_count, MJ_TENSOR_MAP_BYTES);
    encode_count += (uintptr_t)out % MJ_TENSOR_MAP_ALIGN == 0;
    return MJ_OK;
}

typedef struct setup {
    fake_state state;
    mj_backend backend;
    mj_device device;
    mj_manifest manifest;
    mj_loaded_kernel kernel;
    mj_arg_value values[MJ_ARG_COUNT];
} setup;

static void set_up(setup *s)
{
    memset(s, 0, sizeof *s);
    encode_count = 0;
    encode_status = MJ_OK;
    s->device = fake_device(NULL, &s->state);
    s->backend = fake_backend;
    s->backend.tensor_map_encode = encode;
    s->device.backend = &s->backend;
    s->manifest = manifest_with_maps();
    for (int i = 0; i < MJ_ARG_ELEMENT_COUNT; i++) {
        s->values[i].pointer = 0x1000u + 0x100u * (uint32_t)i;
    }
    s->values[MJ_ARG_TOKEN_COUNT].i32 = 3;
}

static mj_status load(setup *s, mj_error *error)
{
    return mj_kernel_load(&s->device, &s->manifest, "binary", 6, &s->kernel, error);
}

TEST(maps_are_made_for_every_launch)
{
    setup s;
    set_up(&s);
    CHECK_STATUS(load(&s, NULL), MJ_OK);
    for (uint32_t tokens = 3; tokens < 5; tokens++) {
        CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, tokens, NULL, NULL), MJ_OK);
    }
    CHECK_INT(encode_count, 4); /* all aligned */
    CHECK_INT(encoded[0].address, s.values[MJ_ARG_WEIGHTS].pointer);
    CHECK_INT(encoded[1].address, s.values[MJ_ARG_INPUT].pointer);
    CHECK_INT(encoded[1].rows, 3 * 3 * 2);
    CHECK_INT(encoded[3].rows, 3 * 4 * 2);
    CHECK_INT(s.state.launches[0].launch.args_bytes, s.manifest.args_bytes);
    CHECK(s.state.launches[0].launch.dependent);
    uint32_t at = mj_args_tensor_map_offset(MJ_OP_GEMM1, 0);
    CHECK_INT(at % MJ_TENSOR_MAP_ALIGN, 0);
    CHECK_INT(at + 2 * MJ_TENSOR_MAP_BYTES, s.manifest.args_bytes);
    for (uint32_t i = 0; i < 2 * MJ_TENSOR_MAP_BYTES; i++) { /* and the arguments stand before them */
        CHECK_INT(s.state.launches[0].args[at + i], 0x60 + i / MJ_TENSOR_MAP_BYTES);
    }
    CHECK(memcmp(s.state.launches[0].args, &s.values[mj_op_args(MJ_OP_GEMM1, &at)[0]], 8) == 0);
    mj_kernel_unload(&s.device, &s.kernel);
}

TEST(bad_maps_never_load)
{
    setup s;
    mj_error error;
    for (int i = 0; i < BAD_RULE_COUNT; i++) {
        set_up(&s);
        s.manifest.tensor_maps[0] = spoil(&bad_rules[i]);
        CHECK_STATUS(load(&s, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, bad_rules[i].says);
        CHECK_INT(s.state.kernels_loaded, 0);
    }
    set_up(&s);
    s.manifest.args_bytes = mj_args_bytes(MJ_OP_GEMM1, 1);
    CHECK_STATUS(load(&s, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "bytes of arguments");
    set_up(&s);
    s.manifest.tensor_map_count = 1000;
    CHECK_STATUS(load(&s, &error), MJ_ERR_FORMAT);
    s.manifest.args_bytes = 0;
    CHECK_STATUS(load(&s, &error), MJ_ERR_FORMAT);
    set_up(&s);
    s.backend.tensor_map_encode = NULL; /* a device without such an engine */
    CHECK_STATUS(load(&s, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "needs tensor maps, which fake:0 does not have");
    CHECK_INT(s.state.kernels_loaded, 0);
}

TEST(bad_launches_stay_off_the_device)
{
    setup s;
    mj_error error;
    set_up(&s);
    CHECK_STATUS(load(&s, NULL), MJ_OK);
    s.values[MJ_ARG_WEIGHTS].pointer += 8;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "weights is not aligned to 16 bytes");
    s.values[MJ_ARG_WEIGHTS].pointer = 0;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
    s.values[MJ_ARG_WEIGHTS].pointer = 0x4000;
    s.kernel.manifest.tensor_maps[1].rows = UINT32_MAX / 4;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_CAPACITY);
    CHECK_CONTAINS(error.text, "input_map has too many rows");
    s.kernel.manifest.tensor_maps[1].rows = 3;
    encode_status = MJ_ERR_DEVICE;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_DEVICE);
    CHECK_CONTAINS(error.text, "no map today");
    CHECK_INT(s.state.launch_count, 0);
    encode_status = MJ_OK;
    encode_count = 0;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 0, NULL, NULL), MJ_OK);
    CHECK_INT(encode_count + (int)s.state.launch_count, 0); /* no tokens: nothing at all */
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, NULL), MJ_OK);
    CHECK_INT(s.state.launch_count, 1);
    mj_kernel_unload(&s.device, &s.kernel);
}

TEST(first_passes_go_ahead)
{
    setup s;
    mj_error error;
    set_up(&s);
    s.manifest.first_pass = true;
    s.manifest.first_grid = (mj_grid_rule){MJ_GRID_TOKENS, 1, 5, 0};
    CHECK_STATUS(load(&s, &error), MJ_OK);
    CHECK_INT(s.state.kernels_loaded, 2);
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, (void *)0x77, NULL), MJ_OK);
    CHECK_INT(s.state.launch_count, 2);
    CHECK_INT(s.state.launches[0].launch.blocks, 15);
    CHECK_INT(s.state.launches[1].launch.blocks, 6);
    CHECK(s.state.launches[0].stream == (void *)0x77 && s.state.launches[1].stream == (void *)0x77);
    CHECK(memcmp(s.state.launches[0].args, s.state.launches[1].args, s.manifest.args_bytes) == 0);
    s.state.launch_status = MJ_ERR_DEVICE;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_DEVICE);
    mj_kernel_unload(&s.device, &s.kernel);
    CHECK_INT(s.state.kernels_loaded, 0);
    s.state.threads_block_max = 64; /* refused after both are loaded: both go */
    CHECK_STATUS(load(&s, &error), MJ_ERR_UNSUPPORTED);
    CHECK_INT(s.state.kernels_loaded, 0);
}

TEST(the_host_has_maps_of_its_own)
{
    _Alignas(MJ_TENSOR_MAP_ALIGN) unsigned char out[MJ_TENSOR_MAP_BYTES + 1];
    mj_tensor_map map = {.address = 0x4000, .rows = 5, .row_elements = 64, .element_bytes = 2};
    mj_host_tensor_map host;
    mj_error error = {0};
    memset(out, 0xa5, sizeof out);
    CHECK_STATUS(mj_backend_cpu.tensor_map_encode(NULL, &map, out, &error), MJ_OK);
    memcpy(&host, out, sizeof host);
    CHECK(host.magic == MJ_HOST_TENSOR_MAP_MAGIC && host.address == 0x4000 && host.rows == 5);
    CHECK(host.row_elements == 64 && host.element_bytes == 2);
    CHECK_INT(out[MJ_TENSOR_MAP_BYTES - 1], 0);
    CHECK_INT(out[MJ_TENSOR_MAP_BYTES], 0xa5);
    map.address += 8;
    CHECK_STATUS(mj_backend_cpu.tensor_map_encode(NULL, &map, out, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "16 bytes");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(limits_of_the_copy_engine);
    RUN(limits_of_further_dimensions);
    RUN(rows_of_a_launch);
    RUN(manifests_round_trip);
    RUN(further_dimensions_round_trip);
    RUN(texts_of_bad_maps_are_refused);
    RUN(maps_are_made_for_every_launch);
    RUN(bad_maps_never_load);
    RUN(bad_launches_stay_off_the_device);
    RUN(first_passes_go_ahead);
    RUN(the_host_has_maps_of_its_own);
    return CHECK_END();
}
