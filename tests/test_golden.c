/* Golden sources: what the generator writes for a dozen kernels, under tests/golden; the prelude's text is left out of them.
 * Each is also compiled for its arch and run under the host prelude.
 *
 * After a wanted change:  MOEJIT_UPDATE_GOLDEN=1 <build>/tests/test_golden  and read the difference before committing it. */
#include <unistd.h>

#include "compile_log.h"
#include "gen_fixture.h"
#include "host_run.h"
#include "nvrtc.h"
#include "ptx_text.h"

static const struct golden {
    const char *name, *problem, *arch, *family;
    mj_op op;
    const char *config;
} goldens[] = {
    {"mma_gemm1_sm_90a", "E=5,topk=2,H=264,N=88,bias=1", "sm_90a", "mma", MJ_OP_GEMM1,
     "tile_m=32,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=1"},
    {"mma_gemm2_sm_80", "E=40,topk=2,H=168,N=264,scheme=fp16", "sm_80", "mma", MJ_OP_GEMM2,
     "tile_m=16,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=1"},
    {"mma_gemm1_split_sm_89", "E=5,topk=2,H=264,N=88", "sm_89", "mma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=2"},
    {"mma_gemm2_grouped_sm_120a", "E=5,topk=2,H=168,N=200", "sm_120a", "mma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=64,tile_k=64,stages=3,warps_m=2,warps_n=2,group_m=8,split_k=1"},
    {"mma_gemm2_deep_sm_100a", "E=3,topk=3,H=112,N=520,bias=1", "sm_100a", "mma", MJ_OP_GEMM2,
     "tile_m=16,tile_n=64,tile_k=128,stages=4,warps_m=1,warps_n=4,group_m=1,split_k=1"},
    {"wgmma_gemm1_gather_sm_90a", "E=5,topk=2,H=136,N=88,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=8,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=3"},
    {"wgmma_gemm1_sorted_sm_90a", "E=5,topk=2,H=72,N=120,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=2"},
    {"wgmma_gemm2_cluster_sm_90a", "E=5,topk=2,H=248,N=72,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=2,group_m=1,"
     "blocks_per_sm=1"},
    {"wgmma_gemm2_deep_sm_90a", "E=40,topk=2,H=72,N=328,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2,
     "tile_m=16,tile_n=64,orientation=2,input_load=1,step_bytes=256,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=2"},
    {"wgmma_gemm1_shared_sm_90a", "E=5,topk=2,H=776,N=60,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=128,orientation=2,input_load=2,step_bytes=128,consumers=2,schedule=3,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"wgmma_gemm1_act_sm_90a", "E=5,topk=2,H=136,N=88,bias=1,act=swigluoai", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT,
     "tile_m=24,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=3"},
    {"wgmma_gemm1_quantise_sm_90a", "E=5,topk=2,H=272,N=256,scheme=fp8_w8a8_block", "sm_90a", "wgmma",
     MJ_OP_GEMM1_QUANTISE,
     "tile_m=40,tile_n=256,orientation=2,input_load=1,step_bytes=128,consumers=2,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=1"},
    {"wgmma_gemm1_act_packed_sm_90a", "E=5,topk=2,H=136,N=120,act=swigluoai,layout=interleaved8", "sm_90a", "wgmma",
     MJ_OP_GEMM1_ACT,
     "tile_m=128,tile_n=128,orientation=1,input_load=2,step_bytes=128,consumers=2,producers=2,cluster=2,group_m=1,"
     "blocks_per_sm=1"},
    {"wgmma_gemm1_packed_sm_90a", "E=5,topk=2,H=136,N=128,bias=1,layout=interleaved8", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=128,orientation=2,input_load=1,step_bytes=128,consumers=1,producers=2,cluster=1,group_m=1,"
     "blocks_per_sm=2"},
    {"mma_gemm1_packed_sm_80", "E=5,topk=2,H=264,N=88,bias=1,layout=interleaved8", "sm_80", "mma", MJ_OP_GEMM1,
     "tile_m=32,tile_n=64,tile_k=64,stages=3,warps_m=1,warps_n=2,group_m=1,split_k=1"},
    {"wgmma_gemm2_combine_sm_90a", "E=9,topk=8,H=136,N=88,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE,
     "tile_m=64,tile_n=64,orientation=2,input_load=1,step_bytes=128,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"wgmma_gemm1_int4_sm_90a", "E=5,topk=2,H=288,N=60,scheme=int4_w4a16_g64_zp,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=128,orientation=2,input_load=1,step_bytes=256,consumers=1,schedule=1,producers=2,cluster=1,"
     "group_m=1,blocks_per_sm=2"},
    {"mfma_gemm1_gfx942", "E=5,topk=2,H=264,N=88,bias=1", "gfx942", "mfma", MJ_OP_GEMM1,
     "tile_m=32,tile_n=64,tile_k=32,stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=2,waves_per_eu=2,lds_pad=0,"
     "group_m=1,split_k=1"},
    {"mfma_gemm2_gfx90a", "E=70,topk=2,H=168,N=264,scheme=fp16", "gfx90a", "mfma", MJ_OP_GEMM2,
     "tile_m=32,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=1,waves_per_eu=2,lds_pad=16,"
     "group_m=1,split_k=1"},
    {"mfma_gemm1_split_gfx950", "E=5,topk=2,H=256,N=88", "gfx950", "mfma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=2,matrix_size=16,kpack=1,waves_per_eu=2,lds_pad=0,"
     "group_m=1,split_k=2"},
    {"mfma_gemm2_direct_gfx950", "E=5,topk=2,H=168,N=256", "gfx950", "mfma", MJ_OP_GEMM2,
     "tile_m=32,tile_n=64,tile_k=64,stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=1,waves_per_eu=2,lds_pad=0,"
     "direct_lds=1,group_m=1,split_k=1"},
    {"mfma_gemm1_words_gfx942", "E=5,topk=2,H=96,N=88,bias=1", "gfx942", "mfma", MJ_OP_GEMM1,
     "tile_m=64,tile_n=64,tile_k=32,stages=2,waves_m=2,waves_n=2,matrix_size=32,kpack=2,waves_per_eu=2,lds_pad=0,"
     "direct_lds=1,store_lds=1,group_m=1,split_k=1"},
    {"wmma_gemm1_gfx1100", "E=5,topk=2,H=264,N=88,bias=1", "gfx1100", "wmma", MJ_OP_GEMM1,
     "tile_m=32,tile_n=64,tile_k=32,stages=1,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=1,group_m=1,"
     "split_k=1"},
    {"wmma_gemm2_grouped_gfx1201", "E=5,topk=2,H=170,N=200,scheme=fp16", "gfx1201", "wmma", MJ_OP_GEMM2,
     "tile_m=64,tile_n=64,tile_k=32,stages=2,waves_m=2,waves_n=2,waves_per_eu=4,lds_pad=16,cu_mode=0,group_m=8,"
     "split_k=1"},
    {"mfma_gemm2_fp8_block_gfx950", "E=5,topk=2,H=168,N=256,scheme=fp8_w8a8_block", "gfx950", "mfma", MJ_OP_GEMM2,
     "tile_m=16,tile_n=64,tile_k=64,stages=1,waves_m=1,waves_n=2,matrix_size=16,kpack=2,waves_per_eu=2,lds_pad=0,"
     "group_m=1,split_k=1"},
    {"wmma_gemm1_int4_gfx1151", "E=5,topk=2,H=256,N=88,scheme=int4_w4a16_zp", "gfx1151", "wmma", MJ_OP_GEMM1,
     "tile_m=16,tile_n=64,tile_k=64,stages=1,waves_m=1,waves_n=2,waves_per_eu=2,lds_pad=0,cu_mode=0,group_m=1,"
     "split_k=1"},
    {"reference_gemm1_sm_86", "E=5,topk=2,H=51,N=33,bias=1,scheme=fp16", "sm_86", "reference", MJ_OP_GEMM1,
     "threads=64"},
    {"reference_gemm2_cpu", "E=5,topk=2,H=51,N=33,bias=1", "cpu", "reference", MJ_OP_GEMM2, "threads=1"},
    {"reference_gemm1_act_sm_90a", "E=5,topk=2,H=136,N=37,bias=1,act=swigluoai,scheme=fp8_w8a8_channel", "sm_90a",
     "reference", MJ_OP_GEMM1_ACT, "threads=64"},
    {"cpu_gemm1_cpu", "E=5,topk=2,H=264,N=88,bias=1", "cpu", "cpu", MJ_OP_GEMM1, ""},
    {"cpu_gemm1_act_cpu", "E=5,topk=2,H=264,N=88,act=gelu", "cpu", "cpu", MJ_OP_GEMM1_ACT, ""},
    {"cpu_gemm2_cpu", "E=5,topk=2,H=168,N=200,scheme=fp16", "cpu", "cpu", MJ_OP_GEMM2, ""},
    {"reference_gemm2_combine_sm_80", "E=5,topk=3,H=51,N=40,bias=1,scheme=int4_w4a16_g64_zp", "sm_80", "reference",
     MJ_OP_GEMM2_COMBINE, "threads=64"},
    {"cpu_gemm2_combine_cpu", "E=5,topk=3,H=164,N=200", "cpu", "cpu", MJ_OP_GEMM2_COMBINE, ""},
    {"tables_sm_90a", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_TABLES, "threads=64"},
    {"activation_sm_90a", "E=5,topk=2,H=64,N=40,act=swigluoai", "sm_90a", "simple", MJ_OP_ACTIVATION, "threads=64"},
    {"activation_cpu", "E=5,topk=2,H=64,N=37,act=relu2,gated=0", "cpu", "simple", MJ_OP_ACTIVATION, "threads=1"},
    {"quantise1_token_sm_90a", "E=5,topk=2,H=136,N=64,scheme=fp8_w8a8_channel", "sm_90a", "simple", MJ_OP_QUANTISE1,
     "threads=64"},
    {"quantise2_group_sm_80", "E=5,topk=2,H=64,N=264,scheme=fp8_w8a8_block", "sm_80", "simple", MJ_OP_QUANTISE2,
     "threads=64"},
    {"reference_int4_sm_80", "E=5,topk=2,H=136,N=40,scheme=int4_w4a16_g64_zp", "sm_80", "reference", MJ_OP_GEMM1,
     "threads=64"},
    {"reference_fp8_block_sm_90a", "E=5,topk=2,H=136,N=40,scheme=fp8_w8a8_block", "sm_90a", "reference", MJ_OP_GEMM2,
     "threads=64"},
    {"combine_sm_80", "E=5,topk=3,H=72,N=64", "sm_80", "simple", MJ_OP_COMBINE, "threads=128"},
    {"fill_sm_90a", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_FILL, "threads=64"},
    {"compare_sm_90a", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_COMPARE, "threads=128"},
    {"stream_sm_90a", "E=5,topk=2,H=64,N=64", "sm_90a", "simple", MJ_OP_STREAM, "threads=64"},
};
enum { GOLDEN_COUNT = sizeof goldens / sizeof goldens[0] };

static bool make(int i, const char *prelude, fixture *f, mj_kernel_source *source)
{
    const struct golden *g = &goldens[i];
    mj_error error = {0};
    if (!fixture_kernel(f, g->problem, g->arch, g->family, g->op, g->config)) {
        return false;
    }
    if (mj_generate(fixture_spec, &f->desc, prelude, source, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", g->name, error.text);
        return false;
    }
    return true;
}

/* The source without the text between "#line 1 prelude" and the body's marker. */
static void cut_prelude(const mj_kernel_source *source, mj_strbuf *out)
{
    const char *prelude = strstr(source->text, "#line 1 \"templates/prelude/");
    const char *line_end = prelude ? strchr(prelude, '\n') : NULL, *body = source->text + source->body_offset;
    if (line_end && line_end < body) {
        mj_strbuf_add(out, source->text, (size_t)(line_end + 1 - source->text));
        mj_strbuf_addf(out, "... the prelude ...\n");
    }
    mj_strbuf_add(out, body, strlen(body));
}

static bool read_text(const char *path, mj_strbuf *out)
{
    char block[4096];
    size_t got = 0;
    FILE *file = fopen(path, "r");
    while (file && (got = fread(block, 1, sizeof block, file)) > 0) {
        mj_strbuf_add(out, block, got);
    }
    return file && fclose(file) == 0 && !out->failed;
}

static bool write_text(const char *path, const mj_strbuf *text)
{
    FILE *file = fopen(path, "w");
    return file && fwrite(text->text, 1, text->bytes, file) == text->bytes && fclose(file) == 0;
}

static void report_difference(const char *name, const char *want, const char *got)
{
    int line = 1;
    while (*want && *want == *got) {
        line += *want == '\n';
        want++;
        got++;
    }
    check_fail(__FILE__, __LINE__,
               "%s.c.txt differs at line %d: wanted \"%.60s\", generated \"%.60s\"; if the change is wanted: "
               "MOEJIT_UPDATE_GOLDEN=1",
               name, line, want, got);
}

TEST(sources_are_as_committed)
{
    const char *update = getenv("MOEJIT_UPDATE_GOLDEN");
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        char path[512];
        fixture f;
        mj_kernel_source source;
        mj_strbuf got = {0}, want = {0};
        CHECK(make(i, NULL, &f, &source));
        cut_prelude(&source, &got);
        snprintf(path, sizeof path, "%s/tests/golden/%s.c.txt", MJ_TEST_SOURCE_DIR, goldens[i].name);
        if (update && strcmp(update, "1") == 0) {
            CHECK(write_text(path, &got));
        }
        if (!read_text(path, &want)) {
            check_fail(__FILE__, __LINE__, "%s cannot be read", path);
        } else if (want.bytes != got.bytes || memcmp(want.text, got.text, got.bytes) != 0) {
            report_difference(goldens[i].name, want.text ? want.text : "", got.text);
        }
        mj_strbuf_free(&got);
        mj_strbuf_free(&want);
        mj_kernel_source_free(&source);
    }
}

/* The command in a source's banner prints that source. */
TEST(commands_recreate_the_sources)
{
    for (int i = 0; i < GOLDEN_COUNT; i += CHECK_SANITIZED ? 3 : 1) {
        fixture f;
        mj_kernel_source source;
        mj_strbuf command = {0}, got = {0};
        char block[4096];
        size_t bytes = 0;
        CHECK(make(i, i % 2 ? "host" : NULL, &f, &source));
        const char *words = strstr(source.text, "moejit gen "), *end = words ? strchr(words, '\n') : NULL;
        CHECK(end);
        mj_strbuf_addf(&command, "%s/%.*s", MJ_TEST_BUILD_DIR, (int)(end - words), words);
        FILE *pipe = popen(command.text, "r");
        CHECK(pipe);
        while ((bytes = fread(block, 1, sizeof block, pipe)) > 0) {
            mj_strbuf_add(&got, block, bytes);
        }
        CHECK_INT(pclose(pipe), 0);
        if (got.bytes != source.bytes || memcmp(got.text, source.text, got.bytes) != 0) {
            check_fail(__FILE__, __LINE__, "%s prints another source", command.text);
        }
        mj_strbuf_free(&command);
        mj_strbuf_free(&got);
        mj_kernel_source_free(&source);
    }
}

TEST(sources_run_under_the_host_prelude)
{
    for (int i = 0; i < GOLDEN_COUNT; i += CHECK_SANITIZED ? 4 : 1) {
        fixture f;
        mj_kernel_source source;
        char why[300];
        CHECK(make(i, "host", &f, &source));
        host_result result = host_check(&f.desc, &source.manifest, source.text, why, sizeof why);
        if (result != HOST_RIGHT) {
            check_fail(__FILE__, __LINE__, "%s: %s: %s", goldens[i].name, host_result_name(result), why);
        }
        mj_kernel_source_free(&source);
    }
}

static mj_nvrtc *nvrtc;

static bool compiles(const char *name, const mj_kernel_source *source)
{
    mj_compiled compiled = {0};
    mj_error error = {0};
    char lost[MJ_LOST_OVERLAP_MAX] = "";
    mj_status status = mj_nvrtc_compile(nvrtc, source->manifest.compile_target, source->text, &compiled, &error);
    if (status != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s: %s", name, error.text);
    } else if (compiled.attributes.local_bytes > 0 || compiled.attributes.regs_thread == 0) {
        check_fail(__FILE__, __LINE__, "%s: %u registers, %u bytes of local memory", name,
                   compiled.attributes.regs_thread, compiled.attributes.local_bytes);
        status = MJ_ERR_COMPILE;
    } else if (compiled.attributes.static_smem_bytes != 0) {
        check_fail(__FILE__, __LINE__, "%s: %u bytes of shared memory beside the manifest's", name,
                   compiled.attributes.static_smem_bytes);
        status = MJ_ERR_COMPILE;
    } else if (mj_log_lost_overlap(compiled.log, lost, sizeof lost)) {
        check_fail(__FILE__, __LINE__, "%s: %s", name, lost);
        status = MJ_ERR_COMPILE;
    }
    mj_compiled_free(&compiled);
    return status == MJ_OK;
}

TEST(sources_compile_for_their_arch)
{
    if (!nvrtc) {
        SKIP("no NVRTC: MOEJIT_NVRTC");
    }
    for (int i = 0; i < GOLDEN_COUNT; i += CHECK_SANITIZED ? 4 : 1) {
        fixture f;
        mj_kernel_source source;
        CHECK(make(i, NULL, &f, &source));
        if (strcmp(f.arch.vendor, "nvidia") == 0) {
            compiles(goldens[i].name, &source); /* cpu: the host's run compiled it */
        }
        mj_kernel_source_free(&source);
    }
}

/* Where ptxas would first spill or serialise: tall tiles whose blocks share the depth, which have one wgmma instruction where others
 * have several, and fused ops whose parts take turns, with no register to spare by the predicate. */
TEST(tight_kernels_compile)
{
    static const char shared[] = "orientation=2,input_load=2,step_bytes=128,schedule=3,producers=4,cluster=1";
    static const char gather[] = "orientation=1,input_load=1,step_bytes=128,schedule=1,producers=4,cluster=1";
    static const char mixtral[] = "E=8,topk=2,H=4096,N=7168";
    static const char blocks[] = "E=8,topk=2,H=4096,N=7168,scheme=fp8_w8a8_block";
    static const struct {
        const char *problem, *tile, *more;
        mj_op op;
    } rows[] = {
        {mixtral, "tile_m=64,tile_n=128,consumers=2", shared, MJ_OP_GEMM1},
        {mixtral, "tile_m=64,tile_n=192,consumers=1", shared, MJ_OP_GEMM1},
        {mixtral, "tile_m=128,tile_n=64,consumers=1", shared, MJ_OP_GEMM1},
        {blocks, "tile_m=128,tile_n=256,consumers=2", gather, MJ_OP_GEMM1_ACT},
        {blocks, "tile_m=128,tile_n=256,consumers=2", gather, MJ_OP_GEMM1_QUANTISE},
        {blocks, "tile_m=128,tile_n=192,consumers=2", gather, MJ_OP_GEMM2_COMBINE},
    };
    if (!nvrtc) {
        SKIP("no NVRTC: MOEJIT_NVRTC");
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture f;
        mj_kernel_source source;
        mj_error error = {0};
        char config[256];
        snprintf(config, sizeof config, "%s,%s,cluster_of=1,group_m=1,blocks_per_sm=1", rows[i].tile, rows[i].more);
        CHECK(fixture_kernel(&f, rows[i].problem, "sm_90a", "wgmma", rows[i].op, config));
        CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_OK);
        CHECK(rows[i].more == shared || strstr(source.text, "MJ_FN void mj_take_turn("));
        compiles(rows[i].tile, &source);
        mj_kernel_source_free(&source);
    }
}

/* Of the instructions that this family is there for none is lost on the way. */
TEST(wgmma_kernels_hold_its_instructions)
{
    static const struct {
        const char *name, *instruction;
        bool there;
    } rows[] = {
        {"wgmma_gemm1_gather_sm_90a", "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16", true},
        {"wgmma_gemm1_gather_sm_90a", "cp.async.bulk.tensor.2d.shared::cluster.global", true},
        {"wgmma_gemm1_gather_sm_90a", "cp.async.mbarrier.arrive.noinc", true},
        {"wgmma_gemm1_gather_sm_90a", "fence.proxy.async", true},
        {"wgmma_gemm1_gather_sm_90a", "multicast::cluster", false},
        {"wgmma_gemm1_sorted_sm_90a", "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16", true},
        {"wgmma_gemm1_sorted_sm_90a", "_first(", true},
        {"wgmma_gemm1_sorted_sm_90a", "cp.async.mbarrier.arrive.noinc", false},
        {"wgmma_gemm2_cluster_sm_90a", "multicast::cluster", true},
        {"wgmma_gemm2_cluster_sm_90a", "mapa.shared::cluster", true},
        {"wgmma_gemm2_deep_sm_90a", "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16", true},
        {"wgmma_gemm2_deep_sm_90a", "stmatrix.sync.aligned.m8n8.x2.trans", true},
        {"wgmma_gemm2_deep_sm_90a", "griddepcontrol.wait", true},
        {"wgmma_gemm2_deep_sm_90a", ".local", false},
        {"wgmma_gemm1_act_sm_90a", "cp.async.bulk.tensor.5d", true},
        {"wgmma_gemm1_act_packed_sm_90a", "cp.async.bulk.tensor.5d", false},
        {"wgmma_gemm1_act_packed_sm_90a", "cp.async.bulk.tensor.2d", true},
        {"wgmma_gemm1_packed_sm_90a", "cp.async.bulk.tensor.5d", true},
        {"wgmma_gemm1_int4_sm_90a", "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16", true},
        {"wgmma_gemm1_int4_sm_90a", "mul.rn.bf16x2", true},
        {"wgmma_gemm1_int4_sm_90a", ".local", false},
    };
    if (!nvrtc) {
        SKIP("no NVRTC: MOEJIT_NVRTC");
    }
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        fixture f;
        mj_kernel_source source;
        CHECK(make(i, NULL, &f, &source));
        char *text = strcmp(goldens[i].family, "wgmma") == 0 ? ptx_text(nvrtc, "compute_90a", source.text) : NULL;
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            if (strcmp(rows[r].name, goldens[i].name) != 0) {
                continue;
            }
            if (!text || (strstr(text, rows[r].instruction) != NULL) != rows[r].there) {
                check_fail(__FILE__, __LINE__, "%s: %s is %sthere", rows[r].name, rows[r].instruction,
                           rows[r].there ? "not " : "");
            }
        }
        free(text);
        mj_kernel_source_free(&source);
    }
}

/* ---- Random legal configs: no spills, and no shared memory but the manifest's ---- */

enum { SAMPLE_MAX = 100, PAIR_SLOTS = 1 << 16 };

typedef struct sample {
    mj_config *configs;
    uint32_t count, capacity, seen;
    uint64_t random;
} sample;

static bool take(void *user, const mj_config *config) /* every config with the same chance */
{
    sample *s = user;
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    uint32_t at = s->count < s->capacity ? s->count++ : (uint32_t)((s->random >> 33) % (s->seen + 1));
    if (at < s->capacity) {
        s->configs[at] = *config;
    }
    s->seen++;
    return true;
}

static uint32_t hash_param(uint32_t hash, const char *name, int32_t value)
{
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    }
    return (hash ^ (uint32_t)value) * 16777619u;
}

/* Pairs of two tunables' values that no config of the family and op had before, and a hundred for a value that none had. `mark`: from
 * now on they are met. */
static uint32_t count_new_pairs(const mj_kernel_desc *desc, const mj_config *config, bool *met, bool mark)
{
    uint32_t count = 0, start = hash_param(2166136261u, desc->space->family, (int32_t)desc->op);
    for (uint32_t i = 0; i < config->count; i++) {
        uint32_t first = hash_param(start, config->params[i].name, config->params[i].value);
        for (uint32_t j = 0; j <= i; j++) {
            uint32_t pair = hash_param(first, config->params[j].name, config->params[j].value);
            bool *slot = &met[(pair ^ pair >> 16) % PAIR_SLOTS];
            count += *slot ? 0 : j == i ? 100 : 1;
            *slot = *slot || mark;
        }
    }
    return count;
}

/* Moves to the front the `count` configs that bring most of what none had, one after the other: half of the random ones
 * have nearly all that all of them have. */
static void put_varied_first(sample *s, uint32_t count, const mj_kernel_desc *desc, bool *met)
{
    for (uint32_t done = 0; done < count; done++) {
        uint32_t best = done, best_new = 0;
        for (uint32_t i = done; i < s->count; i++) {
            uint32_t pairs = count_new_pairs(desc, &s->configs[i], met, false);
            if (pairs > best_new) {
                best = i;
                best_new = pairs;
            }
        }
        mj_config config = s->configs[best];
        s->configs[best] = s->configs[done];
        s->configs[done] = config;
        count_new_pairs(desc, &config, met, true);
    }
}

static const struct {
    const char *problem, *arch, *family;
    mj_op op;
    uint32_t count, count_full; /* that are compiled, of a hundred random ones; with --full all of so many */
} sampled[] = {
    {"E=8,topk=2,H=4096,N=7168", "sm_90a", "mma", MJ_OP_GEMM1, 8, 60},
    {"E=128,topk=8,H=2048,N=768,scheme=fp16,bias=1", "sm_80", "mma", MJ_OP_GEMM2, 8, 60},
    {"E=512,topk=10,H=2048,N=512", "sm_90a", "mma", MJ_OP_GEMM1, 8, 60},
    {"E=32,topk=4,H=2880,N=1440,bias=1", "sm_80", "mma", MJ_OP_GEMM1, 8, 60},
    {"E=8,topk=2,H=4096,N=7168,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM1, 6, SAMPLE_MAX},
    {"E=128,topk=8,H=2048,N=768,scheme=fp16", "sm_90a", "wgmma", MJ_OP_GEMM2, 6, SAMPLE_MAX},
    {"E=256,topk=8,H=7168,N=256", "sm_90a", "wgmma", MJ_OP_GEMM1, 6, SAMPLE_MAX},
    {"E=512,topk=10,H=2048,N=512,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2, 6, SAMPLE_MAX},
    {"E=128,topk=8,H=2048,N=768,bias=1,act=swigluoai", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT, 6, SAMPLE_MAX},
    {"E=256,topk=8,H=7168,N=256,scheme=fp8_w8a8_block", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE, 6, 30},
    {"E=128,topk=8,H=2048,N=768,bias=1,layout=interleaved8", "sm_90a", "wgmma", MJ_OP_GEMM1_ACT, 6, SAMPLE_MAX},
    {"E=256,topk=8,H=7168,N=256,scheme=fp8_w8a8_channel,layout=interleaved8", "sm_90a", "wgmma", MJ_OP_GEMM1, 6, 60},
    {"E=8,topk=2,H=4096,N=7168,bias=1,layout=interleaved8", "sm_80", "mma", MJ_OP_GEMM1, 6, 60},
    {"E=128,topk=8,H=2048,N=768,bias=1,act=gelu,scheme=fp8_w8a8", "sm_90a", "wgmma", MJ_OP_GEMM1_QUANTISE, 6,
     SAMPLE_MAX},
    {"E=128,topk=8,H=2048,N=768", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE, 8, SAMPLE_MAX},
    {"E=256,topk=8,H=7168,N=256,scheme=fp8_w8a8_block,bias=1", "sm_90a", "wgmma", MJ_OP_GEMM2_COMBINE, 8, SAMPLE_MAX},
    {"E=8,topk=2,H=4096,N=7168,scheme=int4_w4a16", "sm_90a", "wgmma", MJ_OP_GEMM1, 6, SAMPLE_MAX},
    {"E=128,topk=8,H=2048,N=768,bias=1,scheme=int4_w4a16_g32_zp_fp16", "sm_90a", "wgmma", MJ_OP_GEMM2, 6, SAMPLE_MAX},
};
enum { SAMPLED_COUNT = sizeof sampled / sizeof sampled[0] };

TEST(random_legal_configs_do_not_spill)
{
    const char *full = getenv("MOEJIT_TEST_FULL");
    bool all = full && strcmp(full, "1") == 0;
    static mj_config configs[SAMPLE_MAX];
    static bool met[PAIR_SLOTS];
    if (!nvrtc) {
        SKIP("no NVRTC: MOEJIT_NVRTC");
    }
    for (int i = 0; i < SAMPLED_COUNT; i += CHECK_SANITIZED ? 3 : 1) {
        fixture f;
        uint32_t count = all ? sampled[i].count_full : sampled[i].count / (CHECK_SANITIZED ? 3 : 1);
        sample s = {.configs = configs, .capacity = all ? count : SAMPLE_MAX, .random = 2024 + (uint64_t)i};
        CHECK(fixture_kernel(&f, sampled[i].problem, sampled[i].arch, sampled[i].family, sampled[i].op, ""));
        CHECK_STATUS(mj_space_enumerate(fixture_spec, &f.desc, take, &s, NULL, NULL), MJ_OK);
        CHECK(s.count >= sampled[i].count_full); /* the space has them */
        put_varied_first(&s, count, &f.desc, met);
        for (uint32_t c = 0; c < count; c++) {
            char text[500];
            mj_kernel_source source;
            mj_error error = {0};
            f.desc.config = &configs[c];
            CHECK_STATUS(mj_generate(fixture_spec, &f.desc, NULL, &source, &error), MJ_OK);
            int at = snprintf(text, sizeof text, "%s of %s: ", mj_op_name(sampled[i].op), sampled[i].problem);
            mj_config_print(&configs[c], text + at, sizeof text - (size_t)at, NULL);
            compiles(text, &source);
            mj_kernel_source_free(&source);
        }
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    if (!fixture_open()) {
        return 1;
    }
    const char *path = getenv("MOEJIT_NVRTC"); /* tests/skips.txt goes by it: no NVRTC that was found by chance */
    mj_error error = {0};
    if (path && *path && mj_nvrtc_open(path, &nvrtc, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    RUN(sources_are_as_committed);
    RUN(commands_recreate_the_sources);
    RUN(sources_run_under_the_host_prelude);
    RUN(sources_compile_for_their_arch);
    RUN(tight_kernels_compile);
    RUN(wgmma_kernels_hold_its_instructions);
    RUN(random_legal_configs_do_not_spill);
    mj_nvrtc_close(nvrtc);
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
