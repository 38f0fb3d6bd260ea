/* Generation: what a source consists of, that it is the same in every process and for every prelude, and what is refused. */
#include "family.h"
#include "gen_fixture.h"

#include <math.h>
#include <unistd.h>

static const struct {
    const char *problem, *arch, *family;
    mj_op op;
    const char *config;
} kernels[] = {
    {"E=8,topk=2,H=4096,N=7168", "sm_90a", "mma", MJ_OP_GEMM1, "tile_m=16,tile_n=64,tile_k=128"},
    {"E=8,topk=2,H=4096,N=7168", "sm_80", "mma", MJ_OP_GEMM2, "tile_m=32,tile_n=128,tile_k=64,split_k=2"},
    {"E=128,topk=8,H=2048,N=768,scheme=fp16,bias=1", "sm_90a", "mma", MJ_OP_GEMM2, ""},
    {"E=128,topk=8,H=2048,N=768,bias=1", "sm_90a", "reference", MJ_OP_GEMM1, ""},
    {"E=128,topk=8,H=2048,N=768,scheme=fp16", "cpu", "reference", MJ_OP_GEMM2, "threads=1"},
    {"E=128,topk=8,H=2048,N=768", "cpu", "cpu", MJ_OP_GEMM1, ""},
    {"E=32,topk=4,H=2880,N=2880,act=swigluoai,bias=1", "sm_90a", "simple", MJ_OP_ACTIVATION, ""},
    {"E=32,topk=4,H=2880,N=2880,act=relu2,gated=0", "cpu", "simple", MJ_OP_ACTIVATION, "threads=1"},
    {"E=32,topk=4,H=2880,N=2880", "sm_80", "simple", MJ_OP_TABLES, ""},
    {"E=32,topk=4,H=2880,N=2880", "sm_80", "simple", MJ_OP_COMBINE, ""},
    {"E=32,topk=4,H=2880,N=2880", "sm_80", "simple", MJ_OP_FILL, ""},
    {"E=32,topk=4,H=2880,N=2880", "sm_80", "simple", MJ_OP_COMPARE, ""},
    {"E=32,topk=4,H=2880,N=2880", "sm_80", "simple", MJ_OP_STREAM, ""},
};
enum { KERNEL_COUNT = sizeof kernels / sizeof kernels[0] };

static bool make(int i, const char *prelude, mj_kernel_source *source)
{
    fixture f;
    mj_error error = {0};
    if (!fixture_kernel(&f, kernels[i].problem, kernels[i].arch, kernels[i].family, kernels[i].op, kernels[i].config)) {
        return false;
    }
    if (mj_generate(fixture_spec, &f.desc, prelude, source, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "kernel %d: %s", i, error.text);
        return false;
    }
    return true;
}

TEST(source_and_manifest_agree)
{
    for (int i = 0; i < KERNEL_COUNT; i++) {
        mj_kernel_source source;
        char text[128], hash[MJ_SHA256_HEX];
        CHECK(make(i, NULL, &source));
        const mj_manifest *manifest = &source.manifest;
        CHECK_INT(strlen(source.text), source.bytes);
        snprintf(text, sizeof text, "#define MJ_BLOCK_THREADS %u\n", manifest->block_threads);
        CHECK_CONTAINS(source.text, text);
        snprintf(text, sizeof text, "#define MJ_SMEM_BYTES %u\n", manifest->smem_bytes);
        CHECK_CONTAINS(source.text, text);
        snprintf(text, sizeof text, "MJ_ENTRY(%s)", manifest->symbol);
        CHECK_CONTAINS(source.text + source.body_offset, text);
        snprintf(text, sizeof text, "sizeof(mj_args) == %u", manifest->args_bytes);
        CHECK_CONTAINS(source.text + source.body_offset, text);
        CHECK_CONTAINS(source.text, "Do not edit");
        CHECK_CONTAINS(source.text, "moejit gen --problem E=");
        CHECK(!strstr(source.text, "@{"));
        const char *marker = "/* ---- body ---- */\n";
        CHECK(source.body_offset > strlen(marker));
        CHECK(strncmp(source.text + source.body_offset - strlen(marker), marker, strlen(marker)) == 0);
        CHECK(strstr(source.text, marker) + strlen(marker) == source.text + source.body_offset); /* the only one */
        mj_sha256_hex(source.text, source.bytes, hash);
        CHECK_STRING(manifest->source_sha256, hash);
        CHECK_STRING(manifest->arch, kernels[i].arch);
        CHECK_STRING(manifest->family, kernels[i].family);
        CHECK_INT(manifest->op, kernels[i].op);
        uint32_t blocks = 0;
        CHECK_STATUS(mj_manifest_blocks(manifest, 4, 10, &blocks, NULL), MJ_OK);
        CHECK(blocks > 0);
        mj_kernel_source_free(&source);
        CHECK(source.text == NULL);
    }
}

/* A kernel that may start while the one ahead runs waits for it, and lets the next one start; an arch without such launches, and what
 * is no op of a layer, start in their turn. */
TEST(dependent_launches_wait)
{
    static const mj_op ops[] = {MJ_OP_TABLES,  MJ_OP_QUANTISE1, MJ_OP_ACTIVATION, MJ_OP_QUANTISE2,
                                MJ_OP_COMBINE, MJ_OP_FILL,      MJ_OP_COMPARE,    MJ_OP_STREAM};
    static const char *const archs[] = {"sm_90a", "sm_80"};
    static const char problem[] = "E=8,topk=2,H=512,N=256,gated=1,act=silu,bias=0,scheme=fp8_w8a8_block,layout=default";
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        bool of_layer = ops[i] != MJ_OP_FILL && ops[i] != MJ_OP_COMPARE && ops[i] != MJ_OP_STREAM;
        for (size_t j = 0; j < sizeof archs / sizeof *archs; j++) {
            fixture f;
            mj_kernel_source source;
            CHECK(fixture_kernel(&f, problem, archs[j], "simple", ops[i], NULL));
            CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, NULL), MJ_OK);
            const char *entry = strstr(source.text + source.body_offset, "MJ_ENTRY(");
            CHECK_INT(source.manifest.dependent_launch, of_layer && strcmp(archs[j], "sm_90a") == 0);
            CHECK_INT(strstr(entry, "{\n    mj_follow_prior_grid();\n") == strchr(entry, '{'),
                      of_layer); /* its first act */
            mj_kernel_source_free(&source);
        }
    }
}

/* Weights come at once, input rows wait. gemm1 of bf16 stands right behind tables: it counts few pairs itself, waits where they are many,
 * and lets nobody start who could meet offsets that are not there. */
TEST(weights_that_need_not_wait)
{
    static const struct {
        const char *scheme;
        mj_op op;
        const char *config;
        bool early;
    } rows[] = {{"bf16", MJ_OP_GEMM1, "input_load=1", false},
                {"bf16", MJ_OP_GEMM1, "input_load=2", true}, /* a first pass sorts the rows */
                {"bf16", MJ_OP_GEMM2, "input_load=1", true},
                {"fp8_w8a8_block", MJ_OP_GEMM1, "input_load=1", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f;
        mj_kernel_source source;
        char problem[160];
        snprintf(problem, sizeof problem, "E=8,topk=2,H=512,N=256,gated=1,act=silu,bias=0,scheme=%s,layout=default",
                 rows[i].scheme);
        CHECK(fixture_kernel(&f, problem, "sm_90a", "wgmma", rows[i].op, rows[i].config));
        CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, NULL), MJ_OK);
        const char *body = source.text + source.body_offset,
                   *input = strstr(body, "mj_produce_input(const mj_args *args");
        snprintf(problem, sizeof problem, "MJ_ENTRY(%s)\n", source.manifest.symbol);
        const char *entry = strstr(body, problem);
        CHECK(source.manifest.dependent_launch);
        CHECK(input && entry);
        CHECK_INT(strstr(entry, "mj_count_pairs(") == NULL, rows[i].early);
        CHECK_INT(strstr(entry, "mj_wait_prior_grid();") == NULL, rows[i].early);
        CHECK_INT(strstr(entry, "mj_launch_dependents();") != NULL, rows[i].early);
        const char *wait = strstr(input, rows[i].early ? "mj_wait_prior_grid();" : "mj_follow_prior_grid();");
        CHECK(wait && wait < strstr(input, "\n}\n"));
        mj_kernel_source_free(&source);
    }
}

TEST(body_does_not_depend_on_the_prelude)
{
    for (int i = 0; i < KERNEL_COUNT; i++) {
        mj_kernel_source device, host;
        CHECK(make(i, NULL, &device));
        CHECK(make(i, "host", &host));
        CHECK_STRING(host.text + host.body_offset, device.text + device.body_offset);
        CHECK_STRING(host.manifest.symbol, device.manifest.symbol);
        if (strcmp(kernels[i].arch, "cpu") != 0) {
            CHECK_CONTAINS(host.text, " --prelude host");
            CHECK(strcmp(host.manifest.source_sha256, device.manifest.source_sha256) != 0);
        }
        mj_kernel_source_free(&device);
        mj_kernel_source_free(&host);
    }
}

TEST(symbols_differ)
{
    char symbols[KERNEL_COUNT][64];
    for (int i = 0; i < KERNEL_COUNT; i++) {
        mj_kernel_source source;
        CHECK(make(i, NULL, &source));
        snprintf(symbols[i], sizeof symbols[i], "%s", source.manifest.symbol);
        mj_kernel_source_free(&source);
        for (int j = 0; j < i; j++) {
            CHECK(strcmp(symbols[i], symbols[j]) != 0);
        }
    }
}

/* The hashes of all kernels, one per line. */
static bool hash_all(mj_strbuf *out)
{
    for (int i = 0; i < KERNEL_COUNT; i++) {
        mj_kernel_source source;
        if (!make(i, NULL, &source)) {
            return false;
        }
        mj_strbuf_addf(out, "%s\n", source.manifest.source_sha256);
        mj_kernel_source_free(&source);
    }
    return true;
}

TEST(another_process_writes_the_same)
{
    mj_strbuf mine = {0}, theirs = {0};
    char self[512], command[600], line[128];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
    CHECK(hash_all(&mine));
    snprintf(command, sizeof command, "LC_ALL=C '%s' --hashes", self);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    while (fgets(line, sizeof line, pipe)) {
        mj_strbuf_add(&theirs, line, strlen(line));
    }
    CHECK_INT(pclose(pipe), 0);
    CHECK_STRING(theirs.text, mine.text);
    mj_strbuf_free(&mine);
    mj_strbuf_free(&theirs);
}

TEST(order_of_a_config_does_not_matter)
{
    fixture f;
    mj_kernel_source a, b;
    mj_error error = {0};
    CHECK(make(0, NULL, &a));
    CHECK(fixture_kernel(&f, kernels[0].problem, kernels[0].arch, kernels[0].family, kernels[0].op, kernels[0].config));
    for (uint32_t i = 0; i < f.config.count / 2; i++) {
        mj_param keep = f.config.params[i];
        f.config.params[i] = f.config.params[f.config.count - 1 - i];
        f.config.params[f.config.count - 1 - i] = keep;
    }
    CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &b, &error), MJ_OK);
    CHECK_STRING(b.text, a.text);
    mj_kernel_source_free(&a);
    mj_kernel_source_free(&b);
}

TEST(what_is_refused)
{
    fixture f;
    mj_kernel_source source;
    mj_error error = {0};
    CHECK(fixture_kernel(&f, "E=8,topk=2,H=4096,N=7168", "sm_90a", "mma", MJ_OP_GEMM1,
                         "tile_m=128,tile_n=256,tile_k=256"));
    CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_ERR_ILLEGAL);
    CHECK_CONTAINS(error.text, "rule smem_block");
    CHECK(source.text == NULL);
    CHECK(fixture_kernel(&f, "E=8,topk=2,H=4096,N=7168", "sm_90a", "mma", MJ_OP_GEMM1, ""));
    CHECK_STATUS(mj_generate(fixture_spec, &f.desc, "metal", &source, &error), MJ_ERR_NOT_FOUND);
    f.problem.top_k = 9;
    CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_ERR_ARGUMENT);
    mj_config_set(&f.config, "tile_q", 4, NULL);
    f.problem.top_k = 2;
    CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_ERR_ILLEGAL);
    CHECK_CONTAINS(error.text, "config_names");
}

TEST(no_variable_of_a_family_is_lost)
{
    mj_derived derived = {0};
    mj_error error = {0};
    for (int i = 0; i < MJ_DERIVED_VARS_MAX; i++) {
        mj_derived_var(&derived, "one_of_many", i);
    }
    CHECK_STATUS(mj_derived_check(&derived, &error), MJ_OK);
    CHECK_INT(derived.vars[MJ_DERIVED_VARS_MAX - 1].value, MJ_DERIVED_VARS_MAX - 1);
    mj_derived_var(&derived, "one_more", 1);
    CHECK_STATUS(mj_derived_check(&derived, &error), MJ_ERR_INTERNAL);
    CHECK_CONTAINS(error.text, "one_more");
    CHECK_INT(derived.var_count, MJ_DERIVED_VARS_MAX);
}

/* Of a code that is not a number the text is the longest. */
TEST(no_value_of_a_code_is_lost)
{
    fixture f;
    mj_kernel_source source;
    mj_error error = {0};
    const char *nan_text = "(double)mj_f32_from_u32(0x7fc00000u)";
    uint32_t found = 0;
    CHECK(fixture_kernel(&f, "E=5,topk=2,H=128,N=64,scheme=fp8_w8a8", "sm_90a", "reference", MJ_OP_GEMM1, ""));
    f.scheme.decode_count = 256;
    for (int i = 0; i < 256; i++) {
        f.scheme.decode[i] = (double)NAN;
    }
    f.scheme.decode[0] = 0.5;
    CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_OK);
    for (const char *at = source.text; (at = strstr(at, nan_text)) != NULL; at++) {
        found++;
    }
    CHECK_INT(found, 255);
    mj_kernel_source_free(&source);
}

/* A config that no space holds may come from a store or a command line: each family derives from it, or says that it cannot. */
TEST(values_of_no_space)
{
    static const int32_t values[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 4095, 4096};
    static const char *const kinds[][2] = {{"cpu", "cpu"},       {"simple", "cpu"},   {"simple", "sm_90a"},
                                           {"simple", "gfx942"}, {"mma", "sm_80"},    {"wgmma", "sm_90a"},
                                           {"mfma", "gfx942"},   {"wmma", "gfx1100"}, {"reference", "sm_90a"}};
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        for (int op = 0; op < MJ_OP_COUNT; op++) {
            fixture f;
            CHECK(fixture_kernel(&f, "E=8,topk=2,H=4096,N=96,scheme=fp8_w8a8_block", kinds[kind][1], kinds[kind][0],
                                 (mj_op)op, ""));
            mj_config keep = f.config;
            for (uint32_t i = 0; i < 2 * f.config.count; i++) {
                for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                    mj_verdict verdict;
                    f.config.params[i % keep.count].value = values[v];
                    if (i >= keep.count) { /* two at once */
                        f.config.params[(i + 1) % keep.count].value = values[v];
                    }
                    mj_legal(fixture_spec, &f.desc, &verdict);
                    f.config = keep;
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (!fixture_open()) {
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "--hashes") == 0) {
        mj_strbuf hashes = {0};
        bool made = hash_all(&hashes) && fputs(hashes.text, stdout) >= 0;
        mj_strbuf_free(&hashes);
        mj_spec_free(fixture_spec);
        return !made;
    }
    CHECK_BEGIN(argc, argv);
    RUN(source_and_manifest_agree);
    RUN(dependent_launches_wait);
    RUN(weights_that_need_not_wait);
    RUN(body_does_not_depend_on_the_prelude);
    RUN(symbols_differ);
    RUN(another_process_writes_the_same);
    RUN(order_of_a_config_does_not_matter);
    RUN(what_is_refused);
    RUN(no_variable_of_a_family_is_lost);
    RUN(no_value_of_a_code_is_lost);
    RUN(values_of_no_space);
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
