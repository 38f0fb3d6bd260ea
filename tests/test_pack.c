/* test_pack.c: packs written, read back, damaged, and served from. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <sys/wait.h>

#include "fake_store.h"
#include "json.h"
#include "pack.h"
#include "pack_writer.h"
#include "select.h"

enum { ENTRIES = 7, FUSED = ENTRIES, ENTRIES_MAX };

typedef struct packed {
    fake_world w;
    mj_manifest manifests[ENTRIES_MAX];
    mj_pack_entry entries[ENTRIES_MAX];
    mj_identity identity;
    mj_pack_target target;
    mj_pack_contents contents;
    char folder[600];
} packed;

/* tables, activation, combine, gemm1 and gemm2 at 1 and 16; gemm2 uses one binary for both. Made, but not counted: gemm1_act at 16. */
static bool open_packed(packed *p)
{
    static const struct {
        mj_op op;
        uint32_t tokens;
        int32_t tile;
    } kernels[ENTRIES_MAX] = {{MJ_OP_GEMM1, 16, 32},    {MJ_OP_GEMM1, 1, 16},     {MJ_OP_TABLES, 0, 0},
                              {MJ_OP_ACTIVATION, 0, 0}, {MJ_OP_COMBINE, 0, 0},    {MJ_OP_GEMM2, 1, 64},
                              {MJ_OP_GEMM2, 16, 64},    {MJ_OP_GEMM1_ACT, 16, 32}};
    memset(p, 0, sizeof *p);
    if (!fake_open(&p->w)) {
        return false;
    }
    for (int i = 0; i < ENTRIES_MAX; i++) {
        p->manifests[i] = fake_manifest(&p->w.problem, kernels[i].op, "mma", kernels[i].tile);
        p->entries[i] = (mj_pack_entry){.op = kernels[i].op,
                                        .token_count = kernels[i].tokens,
                                        .manifest = &p->manifests[i],
                                        .binary = p->manifests[i].symbol,
                                        .binary_bytes = strlen(p->manifests[i].symbol),
                                        .verified = true,
                                        .time_us_median = 7};
    }
    p->entries[FUSED].instead_us = 9.5;
    p->target =
        (mj_pack_target){.arch = "sm_90a", .compiler = "fakecc 1.0", .entry_count = ENTRIES, .entries = p->entries};
    p->contents = (mj_pack_contents){.name = "small-layer",
                                     .command = "moejit emit */ --out x",
                                     .problem = &p->w.problem,
                                     .target_count = 1,
                                     .targets = &p->target};
    snprintf(p->folder, sizeof p->folder, "%s/pack", p->w.folder);
    return true;
}

static mj_status write_packed(packed *p, mj_error *error)
{
    return mj_pack_write(p->w.context, &p->contents, p->folder, error);
}

static mj_status create(fake_world *w, uint32_t flags, mj_plan **plan, mj_error *error)
{
    mj_plan_options options = {.max_tokens = 64, .flags = flags};
    return mj_plan_create(&w->device, &w->problem, &options, plan, error);
}

static bool every_row_is(const mj_plan *plan, mj_origin origin, bool verified)
{
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
        const mj_plan_row *row = mj_plan_get_row(plan, i);
        if (row->origin != origin || row->verified != verified) {
            printf("# %s: origin %d, verified %d: %s\n", mj_op_name(row->op), row->origin, row->verified, row->reason);
            return false;
        }
    }
    return true;
}

static char *read_text(packed *p, const char *name, size_t *bytes)
{
    char path[1024];
    char *text = NULL;
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return mj_os_read_file(path, 1 << 20, &text, bytes, NULL) == MJ_OK ? text : NULL;
}

static bool write_text(packed *p, const char *name, const char *text, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return mj_os_write_file_atomic(path, text, bytes, 0600, NULL) == MJ_OK;
}

TEST(a_folder_serves_a_plan)
{
    packed p;
    mj_error error = {0};
    mj_plan *plan = NULL;
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, &error), MJ_OK);
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_OK);
    CHECK_STATUS(create(&p.w, 0, &plan, &error), MJ_OK);
    CHECK(every_row_is(plan, MJ_ORIGIN_PACK, false));
    CHECK_INT(p.w.state.kernels_loaded, 6);
    CHECK_CONTAINS(p.w.log.text, "gemm1 M=5..64: mma tile_m=32 from pack, unverified: "
                                 "pack: not verified on this device; made for M=16");
    mj_plan_destroy(plan);
    CHECK_STATUS(create(&p.w, MJ_PLAN_REQUIRE_VERIFIED, &plan, &error), MJ_ERR_UNVERIFIED);
    CHECK_INT(p.w.state.kernels_loaded, 0);
    fake_close(&p.w);
}

TEST(verified_on_this_identity_only)
{
    packed p;
    mj_plan *plan = NULL;
    CHECK(open_packed(&p));
    p.identity = fake_identity(&p.w);
    p.target.identity = &p.identity;
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, NULL), MJ_OK);
    CHECK_STATUS(create(&p.w, MJ_PLAN_REQUIRE_VERIFIED, &plan, NULL), MJ_OK);
    CHECK(every_row_is(plan, MJ_ORIGIN_PACK, true));
    mj_plan_destroy(plan);
    p.w.device.info.compiler[0] = '\0'; /* no compiler here: the binary is still the one that was checked */
    CHECK_STATUS(create(&p.w, MJ_PLAN_REQUIRE_VERIFIED, &plan, NULL), MJ_OK);
    mj_plan_destroy(plan);
    snprintf(p.w.device.info.driver, sizeof p.w.device.info.driver, "fake 2");
    CHECK_STATUS(create(&p.w, 0, &plan, NULL), MJ_OK);
    CHECK(every_row_is(plan, MJ_ORIGIN_PACK, false));
    CHECK_CONTAINS(mj_plan_get_row(plan, 1)->reason, "driver");
    mj_plan_destroy(plan);
    fake_close(&p.w);
}

/* As made for the CPU of the machine that compiled them. */
TEST(kernels_of_another_cpu_are_not_offered)
{
    static const struct {
        bool has_identity;
        const char *compiler, *name; /* of the device that plans */
        const char *refusal;         /* NULL: none */
    } cases[] = {
        {false, "fakecc 1.0", "Fake Two", NULL},
        {false, "fakecc 2.0", "Fake One", "pack: compiled for another CPU: fakecc 1.0, not fakecc 2.0"},
        {false, "", "Fake Two", NULL}, /* nothing is known */
        {false, "clang 1.0", "Fake Two", NULL},
        {true, "clang 1.0", "Fake One", NULL}, /* another compiler says nothing of the CPU */
        {true, "clang 1.0", "Fake Two", "pack: compiled for another CPU: Fake One, not Fake Two"},
        {true, "", "Fake Two", "pack: compiled for another CPU: Fake One, not Fake Two"},
        {true, "", "Fake One", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        packed p;
        mj_plan *plan = NULL;
        mj_error error = {0};
        CHECK(open_packed(&p));
        p.identity = fake_identity(&p.w);
        p.target.identity = cases[i].has_identity ? &p.identity : NULL;
        for (int k = 0; k < ENTRIES; k++) {
            snprintf(p.manifests[k].compile_target, sizeof p.manifests[k].compile_target, "native");
        }
        CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
        CHECK_STATUS(mj_pack_load(p.w.context, p.folder, NULL), MJ_OK);
        snprintf(p.w.device.info.compiler, sizeof p.w.device.info.compiler, "%s", cases[i].compiler);
        snprintf(p.w.device.info.name, sizeof p.w.device.info.name, "%s", cases[i].name);
        CHECK_INT(create(&p.w, 0, &plan, &error) == MJ_OK, !cases[i].refusal);
        CHECK_INT(p.w.state.kernels_loaded, cases[i].refusal ? 0 : 6);
        if (cases[i].refusal) {
            CHECK_CONTAINS(error.text, cases[i].refusal);
        }
        mj_plan_destroy(plan);
        fake_close(&p.w);
    }
}

/* gemm1_act stands where it is used; a kernel that nobody verified is done without where that is asked for. */
TEST(a_stand_in_of_a_pack)
{
    for (int i = 0; i < 4; i++) {
        packed p;
        mj_plan *plan = NULL;
        bool verified = i & 1, required = i & 2;
        uint32_t fused = 0;
        CHECK(open_packed(&p));
        p.identity = fake_identity(&p.w);
        p.target.identity = &p.identity;
        p.target.entry_count = ENTRIES_MAX;
        p.entries[FUSED].verified = verified;
        CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
        CHECK_STATUS(mj_pack_load(p.w.context, p.folder, NULL), MJ_OK);
        CHECK_STATUS(create(&p.w, required ? MJ_PLAN_REQUIRE_VERIFIED : 0, &plan, NULL), MJ_OK);
        for (uint32_t r = 0; r < mj_plan_row_count(plan); r++) {
            const mj_plan_row *row = mj_plan_get_row(plan, r);
            if (row->op == MJ_OP_GEMM1_ACT) {
                fused++;
                CHECK_INT(row->tokens_from, 5);
                CHECK_INT(row->verified, verified);
                CHECK_CONTAINS(row->reason, "replaces gemm1 + activation: 7.0 us instead of 9.5; ");
                CHECK_CONTAINS(row->reason, "made for M=16");
            }
        }
        CHECK_INT(fused, verified || !required);
        CHECK_INT(mj_plan_is_verified(plan), verified || required);
        mj_plan_destroy(plan);
        fake_close(&p.w);
    }
}

TEST(the_store_goes_before_a_pack)
{
    packed p;
    mj_plan *plan = NULL;
    CHECK(open_packed(&p));
    fake_tuned tuned = {.identity = fake_identity(&p.w), .row_count = 1, .rows = {{.tokens = 1, .tile = 128}}};
    CHECK_STATUS(fake_save(&p.w, &tuned), MJ_OK);
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, NULL), MJ_OK);
    CHECK_STATUS(create(&p.w, 0, &plan, NULL), MJ_OK);
    uint32_t from_pack = 0, from_store = 0;
    for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) { /* the store's row reaches to 8 tokens */
        const mj_plan_row *row = mj_plan_get_row(plan, i);
        CHECK(row->origin == MJ_ORIGIN_PACK ? row->tokens_from == 9 : row->origin == MJ_ORIGIN_STORE);
        from_pack += row->origin == MJ_ORIGIN_PACK;
        from_store += row->origin == MJ_ORIGIN_STORE;
    }
    CHECK_INT(from_pack, 2);
    CHECK_INT(from_store, 5);
    mj_plan_destroy(plan);
    fake_close(&p.w);
}

/* The generated C file, built as a library of its own and registered. */
TEST(the_c_file_compiles_and_registers)
{
    packed p;
    char source[700], output[700];
    mj_error error = {0};
    mj_plan *plan = NULL;
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, &error), MJ_OK);
    snprintf(source, sizeof source, "%s/moejit_pack_small_layer.c", p.folder);
    snprintf(output, sizeof output, "%s/pack.so", p.folder);
    char *const arguments[] = {"cc",
                               "-std=c11",
                               "-Wall",
                               "-Wextra",
                               "-Werror",
                               "-shared",
                               "-fPIC",
                               "-I" MJ_TEST_SOURCE_DIR "/generator",
                               "-I" MJ_TEST_SOURCE_DIR "/runtime",
                               "-o",
                               output,
                               source,
                               NULL};
    pid_t child = 0;
    int code = -1;
    CHECK_INT(posix_spawnp(&child, "cc", NULL, NULL, arguments, environ), 0);
    CHECK(waitpid(child, &code, 0) == child);
    CHECK_INT(code, 0);
    void *library = dlopen(output, RTLD_NOW);
    CHECK(library != NULL);
    const mj_pack *(*get)(void) = NULL;
    *(void **)&get = dlsym(library, "moejit_pack_small_layer");
    CHECK(get != NULL);
    CHECK_STATUS(mj_pack_register(p.w.context, get(), &error), MJ_OK);
    CHECK_STATUS(create(&p.w, 0, &plan, &error), MJ_OK);
    CHECK(every_row_is(plan, MJ_ORIGIN_PACK, false));
    mj_plan_destroy(plan);
    fake_close(&p.w);
    dlclose(library);
}

TEST(other_archs_lie_idle)
{
    packed p;
    mj_error error = {0};
    mj_plan *plan = NULL;
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, NULL), MJ_OK);
    snprintf(p.w.device.info.arch, sizeof p.w.device.info.arch, "sm_80");
    CHECK(create(&p.w, 0, &plan, &error) != MJ_OK);
    CHECK_INT(p.w.state.kernels_loaded, 0);
    snprintf(p.w.device.info.arch, sizeof p.w.device.info.arch, "sm_90a");
    p.w.problem.hidden = 128;
    CHECK(create(&p.w, 0, &plan, &error) != MJ_OK);
    p.w.problem.hidden = 64;
    snprintf(p.w.problem.layout, sizeof p.w.problem.layout, "interleaved8"); /* nor are other layouts' served */
    CHECK(create(&p.w, 0, &plan, &error) != MJ_OK);
    snprintf(p.w.problem.layout, sizeof p.w.problem.layout, "default");
    CHECK_STATUS(create(&p.w, 0, &plan, &error), MJ_OK);
    mj_plan_destroy(plan);
    fake_close(&p.w);
}

/* Two archs in one pack: each device takes its own kernels, another none. */
TEST(a_fat_pack_serves_each_arch_its_own)
{
    static const char *const archs[] = {"sm_90a", "gfx942", "sm_80"};
    packed p;
    mj_error error = {0};
    mj_plan *plan = NULL;
    mj_manifest other[ENTRIES];
    mj_pack_entry entries[ENTRIES];
    char binaries[ENTRIES][128];
    size_t bytes = 0;
    CHECK(open_packed(&p));
    for (int i = 0; i < ENTRIES; i++) {
        other[i] = p.manifests[i];
        snprintf(other[i].arch, sizeof other[i].arch, "gfx942");
        snprintf(binaries[i], sizeof binaries[i], "gfx942 %s", p.manifests[i].symbol);
        entries[i] = p.entries[i];
        entries[i].manifest = &other[i];
        entries[i].binary = binaries[i];
        entries[i].binary_bytes = strlen(binaries[i]);
    }
    entries[2].binary = p.entries[2].binary; /* equal bytes for two archs are two kernels */
    entries[2].binary_bytes = p.entries[2].binary_bytes;
    mj_pack_target targets[2] = {p.target, p.target};
    targets[1].arch = "gfx942";
    targets[1].entries = entries;
    p.contents.targets = targets;
    p.contents.target_count = 2;
    CHECK_STATUS(write_packed(&p, &error), MJ_OK);
    char *file = read_text(&p, "006_gfx942_gemm1_mma.co", &bytes);
    CHECK(file && strstr(file, "gfx942 ") == file);
    free(file);
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_OK);
    for (int i = 0; i < 3; i++) {
        snprintf(p.w.device.info.arch, sizeof p.w.device.info.arch, "%s", archs[i]);
        mj_status status = create(&p.w, 0, &plan, &error);
        CHECK_INT(status == MJ_OK, i < 2);
        if (status == MJ_OK) {
            CHECK(every_row_is(plan, MJ_ORIGIN_PACK, false));
            CHECK_INT(strncmp(p.w.state.last_gemm, "gfx942 ", 7) == 0, i == 1);
            mj_plan_destroy(plan);
        }
    }
    targets[1].arch = "sm_90a";
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "sm_90a is there twice");
    targets[1].arch = "gfx90a";
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "on gfx942");
    p.contents.target_count = 0;
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    p.contents.target_count = MJ_PACK_TARGETS_MAX + 1;
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_CAPACITY);
    fake_close(&p.w);
}

/* One target's table must not point at another's kernels. */
TEST(a_table_that_mixes_archs_is_refused)
{
    packed p;
    mj_error error = {0};
    mj_pack_table table;
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    size_t bytes = 0;
    char *text = read_text(&p, "pack.json", &bytes);
    char *start = text ? strstr(text, "\"targets\": [") : NULL;
    CHECK(start);
    start = strchr(start, '{');
    char *end = strstr(text, "\"files\"");
    while (*end != '}') {
        end--;
    }
    mj_strbuf mixed = {0}; /* the same target again, under another name */
    char *arch = strstr(start, "sm_90a");
    mj_strbuf_add(&mixed, text, (size_t)(end + 1 - text));
    mj_strbuf_addf(&mixed, ",");
    mj_strbuf_add(&mixed, start, (size_t)(arch - start));
    mj_strbuf_addf(&mixed, "sm_80");
    mj_strbuf_addf(&mixed, "%s", arch + strlen("sm_90a"));
    CHECK_STATUS(mj_pack_table_parse(mixed.text, &table, &error), MJ_OK);
    CHECK_INT(table.section_count, 2);
    CHECK(mj_pack_table_find(&table, "sm_80") == &table.sections[1] && !mj_pack_table_find(&table, "sm_89"));
    mj_pack_table_free(&table);
    CHECK(write_text(&p, "pack.json", mixed.text, mixed.bytes));
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "for sm_80");
    mj_strbuf_free(&mixed);
    free(text);
    fake_close(&p.w);
}

TEST(damaged_binaries_are_refused)
{
    packed p;
    mj_error error = {0};
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    size_t bytes = 0;
    char *text = read_text(&p, "000_sm_90a_gemm1_mma.cubin", &bytes);
    CHECK(text != NULL);
    text[0] ^= 1;
    CHECK(write_text(&p, "000_sm_90a_gemm1_mma.cubin", text, bytes));
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "sha256");
    CHECK(write_text(&p, "000_sm_90a_gemm1_mma.cubin", text, 0)); /* empty */
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_ERR_FORMAT);
    free(text);
    CHECK_INT(p.w.context->pack_count, 0);
    fake_close(&p.w);
}

/* pack.json with one text replaced by another. */
static mj_status load_with(const char *old, const char *new, mj_error *error)
{
    packed p;
    mj_status status = MJ_ERR_INTERNAL;
    memset(error, 0, sizeof *error);
    if (!open_packed(&p)) {
        return status;
    }
    size_t bytes = 0;
    char *text = write_packed(&p, error) == MJ_OK ? read_text(&p, "pack.json", &bytes) : NULL;
    char *at = text ? strstr(text, old) : NULL;
    mj_strbuf edited = {0};
    if (at) {
        mj_strbuf_add(&edited, text, (size_t)(at - text));
        mj_strbuf_addf(&edited, "%s%s", new, at + strlen(old));
        status = write_text(&p, "pack.json", edited.text, edited.bytes) ? mj_pack_load(p.w.context, p.folder, error)
                                                                        : status;
    } else {
        printf("# \"%s\" is not in pack.json\n", old);
    }
    mj_strbuf_free(&edited);
    free(text);
    fake_close(&p.w);
    return status;
}

#define TEXT_OF(x)        #x
#define VERSION_TEXT(x)   "\"generator\": " TEXT_OF(x)
#define GENERATOR_VERSION VERSION_TEXT(MJ_GENERATOR_VERSION)

TEST(tables_that_lie_are_refused)
{
    static const struct {
        const char *old, *new;
        mj_status want;
        const char *text;
    } cases[] = {
        {GENERATOR_VERSION, GENERATOR_VERSION, MJ_OK, ""},
        {"\"moejit_pack\": 2", "\"moejit_pack\": 1", MJ_ERR_VERSION, "format 1"},
        {GENERATOR_VERSION, "\"generator\": 99", MJ_ERR_VERSION, "generator 99"},
        {"topk=2", "topk=9", MJ_ERR_FORMAT, ""},
        {"topk=2", "topk=x", MJ_ERR_FORMAT, "pack: problem: "},
        {"layout=default", "layout=defaults", MJ_ERR_FORMAT, "pack: problem: "},
        {"\"arch\": \"sm_90a\"", "\"arch\": \"sm_80\"", MJ_ERR_FORMAT, "sm_80"},
        {"\"variant\": 1", "\"variant\": 77", MJ_ERR_FORMAT, "variant"},
        {"\"variant\": 1", "\"variant\": -1", MJ_ERR_FORMAT, "variant"},
        {"\"variant\": 1", "\"variant\": 5", MJ_ERR_FORMAT, "variant 5 is no"},
        {"\"16\": {", "\"x6\": {", MJ_ERR_FORMAT, "rows.x6"},
        {"\"16\": {", "\"99999999999999\": {", MJ_ERR_FORMAT, "rows.9999"},
        {"\"tables\": {", "\"gemm1\": {", MJ_ERR_FORMAT, "belong"},
        {"000_sm_90a_gemm1_mma.cubin", "../pack.json", MJ_ERR_FORMAT, "not a file of the pack"},
        {"000_sm_90a_gemm1_mma.cubin", "nothing.cubin", MJ_ERR_NOT_FOUND, "nothing.cubin"},
        {"\"files\": [", "\"filez\": [", MJ_ERR_FORMAT, "files"},
        {"\"targets\": [", "\"targetz\": [", MJ_ERR_FORMAT, "targets"},
        {"\"targets\": [", "\"targets\": [], \"x\": [", MJ_ERR_FORMAT, "targets"},
        {"\"targets\": [", "\"targets\": [1, ", MJ_ERR_FORMAT, ""},
        {"{", "", MJ_ERR_FORMAT, "pack"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mj_error error = {0};
        mj_status status = load_with(cases[i].old, cases[i].new, &error);
        bool not_found_as_io = cases[i].want == MJ_ERR_NOT_FOUND && status == MJ_ERR_IO;
        if (status != cases[i].want && !not_found_as_io) {
            printf("# case %zu: %s %s\n", i, mj_status_name(status), error.text);
            CHECK_STATUS(status, cases[i].want);
        }
        CHECK(status == MJ_OK || error.text[0]);
        if (cases[i].text[0]) {
            CHECK_CONTAINS(error.text, cases[i].text);
        }
    }
}

TEST(absent_folders_and_nulls)
{
    packed p;
    mj_error error = {0};
    mj_pack empty = {.version = MJ_PACK_VERSION};
    CHECK(open_packed(&p));
    CHECK(mj_pack_load(p.w.context, p.folder, &error) != MJ_OK);
    CHECK_CONTAINS(error.text, p.folder);
    CHECK_STATUS(mj_pack_load(p.w.context, NULL, NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_pack_load(NULL, "x", NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_pack_register(p.w.context, NULL, NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_pack_register(p.w.context, &empty, NULL), MJ_ERR_FORMAT);
    empty.version = 7;
    CHECK_STATUS(mj_pack_register(p.w.context, &empty, NULL), MJ_ERR_VERSION);
    fake_close(&p.w);
}

TEST(a_context_holds_so_many_packs)
{
    packed p;
    mj_error error = {0};
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    for (int i = 0; i < MJ_PACKS_MAX; i++) {
        CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_OK);
    }
    CHECK_STATUS(mj_pack_load(p.w.context, p.folder, &error), MJ_ERR_CAPACITY);
    CHECK_INT(p.w.context->pack_count, MJ_PACKS_MAX);
    fake_close(&p.w);
}

TEST(the_writer_refuses_what_is_no_layer)
{
    packed p;
    mj_error error = {0};
    CHECK(open_packed(&p));
    p.target.entry_count = ENTRIES - 2; /* no gemm2 */
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "gemm2");
    p.target.entry_count = ENTRIES;
    p.entries[0].token_count = 1; /* twice */
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "twice");
    p.entries[0].token_count = 16;
    p.manifests[3].problem.hidden = 8;
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "H=8");
    p.manifests[3].problem.hidden = p.w.problem.hidden;
    p.entries[1].op = MJ_OP_GEMM2;
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_ARGUMENT);
    p.entries[1].op = MJ_OP_GEMM1;
    snprintf(p.folder, sizeof p.folder, "/proc/no/such");
    CHECK_STATUS(write_packed(&p, &error), MJ_ERR_IO);
    fake_close(&p.w);
}

TEST(the_same_contents_give_the_same_bytes)
{
    packed p;
    size_t bytes = 0, again_bytes = 0;
    CHECK(open_packed(&p));
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    char *text = read_text(&p, "moejit_pack_small_layer.c", &bytes);
    CHECK_STATUS(write_packed(&p, NULL), MJ_OK);
    char *again = read_text(&p, "moejit_pack_small_layer.c", &again_bytes);
    CHECK(text && again && bytes == again_bytes && memcmp(text, again, bytes) == 0);
    CHECK_CONTAINS(text, "moejit emit * / --out x"); /* the comment does not end early */
    free(text);
    free(again);
    fake_close(&p.w);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(a_folder_serves_a_plan);
    RUN(verified_on_this_identity_only);
    RUN(kernels_of_another_cpu_are_not_offered);
    RUN(a_stand_in_of_a_pack);
    RUN(the_store_goes_before_a_pack);
    RUN(the_c_file_compiles_and_registers);
    RUN(other_archs_lie_idle);
    RUN(a_fat_pack_serves_each_arch_its_own);
    RUN(a_table_that_mixes_archs_is_refused);
    RUN(damaged_binaries_are_refused);
    RUN(tables_that_lie_are_refused);
    RUN(absent_folders_and_nulls);
    RUN(a_context_holds_so_many_packs);
    RUN(the_writer_refuses_what_is_no_layer);
    RUN(the_same_contents_give_the_same_bytes);
    return CHECK_END();
}
