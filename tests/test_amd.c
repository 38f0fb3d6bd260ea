/* Kernels for AMD's GPUs, without one: samples of every target, family, scheme and GEMM are compiled by hipRTC, and the code
 * objects must be what the generator says of them: no scratch memory, shared memory as in the manifest, registers that leave
 * room for the claimed wavefronts, the expected matrix instruction and no other.
 *
 * 2 configs of each row as shipped, 40 with MOEJIT_TEST_FULL=1. MOEJIT_TEST_SHOW=1 prints what each took, to fit the estimate. */
#include <sys/mman.h>
#include <sys/wait.h>

#include "amd_build.h"
#include "family_amd.h"

enum { CONFIGS_QUICK = CHECK_SANITIZED ? 1 : 2, WORKERS = 2, CONFIGS_MAX = 40, SIMD_UNITS = 4 };
enum { ROW_STEP = CHECK_SANITIZED ? 4 : 1 }; /* every target is among every fourth row */

static const struct row {
    const char *arch, *family, *problem;
    mj_op op;
    const char *matrix16, *matrix32; /* the instruction of either size; NULL: none */
} rows[] = {
#define MIXTRAL "E=8,topk=2,H=4096,N=7168"
#define QWEN    "E=128,topk=8,H=2048,N=768"
#define QWEN16  QWEN ",scheme=fp16,bias=1"
#define K4_BF16 "v_mfma_f32_16x16x16_bf16", "v_mfma_f32_32x32x8_bf16"
#define K4_F16  "v_mfma_f32_16x16x16_f16", "v_mfma_f32_32x32x8_f16"
#define K8_BF16 "v_mfma_f32_16x16x32_bf16", "v_mfma_f32_32x32x16_bf16"
#define K8_F16  "v_mfma_f32_16x16x32_f16", "v_mfma_f32_32x32x16_f16"
#define K8_FP8  "v_mfma_f32_16x16x32_fp8_fp8", "v_mfma_f32_32x32x16_fp8_fp8"
#define W_BF16  "v_wmma_f32_16x16x16_bf16", NULL
#define W_F16   "v_wmma_f32_16x16x16_f16", NULL
#define W_FP8   "v_wmma_f32_16x16x16_fp8_fp8", NULL
    {"gfx90a", "mfma", MIXTRAL, MJ_OP_GEMM1, "v_mfma_f32_16x16x16bf16_1k", "v_mfma_f32_32x32x8bf16_1k"},
    {"gfx90a", "mfma", QWEN16, MJ_OP_GEMM2, "v_mfma_f32_16x16x16f16", "v_mfma_f32_32x32x8f16"},
    {"gfx90a", "mfma", QWEN ",scheme=int4_w4a16", MJ_OP_GEMM1, "v_mfma_f32_16x16x16bf16_1k",
     "v_mfma_f32_32x32x8bf16_1k"},
    {"gfx942", "mfma", MIXTRAL, MJ_OP_GEMM1, K4_BF16},
    {"gfx942", "mfma", QWEN16, MJ_OP_GEMM2, K4_F16},
    {"gfx942", "mfma", QWEN ",scheme=int4_w4a16_zp_fp16", MJ_OP_GEMM2, K4_F16},
    {"gfx942", "mfma", MIXTRAL ",scheme=fp8_w8a8_block_fnuz", MJ_OP_GEMM1, K8_FP8},
    {"gfx942", "mfma", QWEN ",scheme=fp8_w8a8_channel_fnuz,bias=1", MJ_OP_GEMM2, K8_FP8},
    {"gfx950", "mfma", MIXTRAL, MJ_OP_GEMM1, K8_BF16},
    {"gfx950", "mfma", QWEN16, MJ_OP_GEMM2, K8_F16},
    {"gfx950", "mfma", MIXTRAL ",scheme=int4_w4a16_g32", MJ_OP_GEMM1, K8_BF16},
    {"gfx950", "mfma", QWEN ",scheme=fp8_w8a8_block", MJ_OP_GEMM1, K8_FP8},
    {"gfx950", "mfma", MIXTRAL ",scheme=fp8_w8a8", MJ_OP_GEMM2, K8_FP8},
    {"gfx1100", "wmma", MIXTRAL, MJ_OP_GEMM1, W_BF16},
    {"gfx1100", "wmma", QWEN16, MJ_OP_GEMM2, W_F16},
    {"gfx1100", "wmma", QWEN ",scheme=int4_w4a16_g32_zp", MJ_OP_GEMM1, W_BF16},
    {"gfx1100", "wmma", MIXTRAL ",scheme=int4_w4a16_fp16", MJ_OP_GEMM2, W_F16},
    {"gfx1151", "wmma", MIXTRAL, MJ_OP_GEMM1, W_BF16},
    {"gfx1151", "wmma", QWEN16, MJ_OP_GEMM2, W_F16},
    {"gfx1151", "wmma", QWEN ",scheme=int4_w4a16", MJ_OP_GEMM1, W_BF16},
    {"gfx1151", "wmma", QWEN ",scheme=int4_w4a16_g64_zp_fp16", MJ_OP_GEMM2, W_F16},
    {"gfx1200", "wmma", MIXTRAL, MJ_OP_GEMM1, W_BF16},
    {"gfx1200", "wmma", QWEN16, MJ_OP_GEMM2, W_F16},
    {"gfx1200", "wmma", QWEN ",scheme=fp8_w8a8_channel", MJ_OP_GEMM1, W_FP8},
    {"gfx1200", "wmma", MIXTRAL ",scheme=int4_w4a16_g64", MJ_OP_GEMM2, W_BF16},
    {"gfx1201", "wmma", MIXTRAL, MJ_OP_GEMM1, W_BF16},
    {"gfx1201", "wmma", QWEN16, MJ_OP_GEMM2, W_F16},
    {"gfx1201", "wmma", MIXTRAL ",scheme=fp8_w8a8_block", MJ_OP_GEMM1, W_FP8},
    {"gfx1201", "wmma", QWEN ",scheme=fp8_w8a8", MJ_OP_GEMM2, W_FP8},
    {"gfx1201", "wmma", QWEN ",scheme=int4_w4a16_zp", MJ_OP_GEMM1, W_BF16},
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

typedef struct outcome { /* shared between processes */
    bool done, right;
    uint32_t vgprs, estimate;
    char config[300], why[300];
    char instructions[160]; /* what is wrong with them */
} outcome;

static mj_hiprtc *hiprtc;
static const char *objdump;

/* ---- The sample ---- */

typedef struct sample {
    mj_config configs[CONFIGS_MAX];
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

static uint32_t configs_of_a_row(void)
{
    const char *full = getenv("MOEJIT_TEST_FULL");
    return full && strcmp(full, "1") == 0 ? CONFIGS_MAX : CONFIGS_QUICK;
}

/* ---- One kernel ---- */

static uint32_t tunable(const mj_config *config, const char *name, uint32_t otherwise)
{
    int32_t value = 0;
    return mj_config_get(config, name, &value) ? (uint32_t)value : otherwise;
}

static void check_metadata(const mj_kernel_desc *desc, const mj_code_kernel *k, const mj_manifest *manifest,
                           outcome *out)
{
    uint32_t waves = manifest->block_threads / desc->arch->warp_size, implied = (waves + SIMD_UNITS - 1) / SIMD_UNITS;
    uint32_t claimed = tunable(desc->config, "waves_per_eu", 1);
    uint32_t room = mj_amd_waves_of_registers(desc->arch, k->vgprs);
    claimed = claimed > implied ? claimed : implied;
    out->vgprs = k->vgprs;
    if (k->scratch_bytes != 0 || k->dynamic_stack || k->vgpr_spills != 0) {
        snprintf(out->why, sizeof out->why, "%u bytes of scratch memory, %u spills", k->scratch_bytes, k->vgpr_spills);
    } else if (k->lds_bytes != manifest->smem_bytes) {
        snprintf(out->why, sizeof out->why, "%u bytes of shared memory, not %u", k->lds_bytes, manifest->smem_bytes);
    } else if (k->wavefront_size != desc->arch->warp_size || k->threads_block_max != manifest->block_threads) {
        snprintf(out->why, sizeof out->why, "wavefronts of %u in blocks of %u", k->wavefront_size,
                 k->threads_block_max);
    } else if (room < claimed) {
        snprintf(out->why, sizeof out->why, "%u registers: %u wavefronts, claimed are %u", k->vgprs, room, claimed);
    } else {
        out->right = true;
    }
}

static void check_instructions(const struct row *row, const mj_config *config, const amd_built *built, outcome *out)
{
    uint32_t direct_bytes = !tunable(config, "direct_lds", 0) ? 0 : strcmp(row->arch, "gfx950") == 0 ? 16 : 4;
    const char *matrix = tunable(config, "matrix_size", 16) == 32 ? row->matrix32 : row->matrix16;
    if (!matrix || built->matrix_count == 0 || strcmp(built->matrix, matrix) != 0) {
        snprintf(out->instructions, sizeof out->instructions, "%u matrix instructions: %s, not %s", built->matrix_count,
                 built->matrix, matrix ? matrix : "any");
    } else if (built->scratch_count != 0) {
        snprintf(out->instructions, sizeof out->instructions, "%u reach scratch memory", built->scratch_count);
    } else if (built->direct_bytes != direct_bytes || (direct_bytes > 0) != (built->direct_count > 0)) {
        snprintf(out->instructions, sizeof out->instructions, "%u loads past the registers of %u bytes, not %u",
                 built->direct_count, built->direct_bytes, direct_bytes);
    } else if (tunable(config, "store_lds", 0) && tunable(config, "split_k", 1) == 1 && built->narrow_stores > 0) {
        snprintf(out->instructions, sizeof out->instructions, "%u stores of less than 16 bytes", built->narrow_stores);
    }
}

static void run_one(const struct row *row, fixture *f, const mj_config *config, outcome *out)
{
    char why[300] = "";
    amd_built built;
    mj_derived derived = {0};
    mj_kernel_source source = {0};
    f->desc.config = config;
    if (!amd_build(hiprtc, objdump, &f->desc, &source, &built, why, sizeof why)) {
        snprintf(out->why, sizeof out->why, "%.299s", why);
    } else if (mj_family_derive(&f->desc, &derived, NULL) == MJ_OK) {
        out->estimate = derived.regs_estimate;
        check_metadata(&f->desc, &built.kernel, &source.manifest, out);
        check_instructions(row, config, &built, out);
    }
    mj_config_print(config, out->config, sizeof out->config, NULL);
    out->done = true;
    mj_kernel_source_free(&source);
}

/* Every other row to each worker. */
static void work(int worker, outcome *outcomes)
{
    uint32_t per_row = configs_of_a_row();
    for (int r = worker * ROW_STEP; r < ROW_COUNT; r += WORKERS * ROW_STEP) {
        static sample s;
        fixture f;
        s = (sample){.capacity = per_row, .random = 77 + (uint64_t)r};
        if (!fixture_kernel(&f, rows[r].problem, rows[r].arch, rows[r].family, rows[r].op, "") ||
            mj_space_enumerate(fixture_spec, &f.desc, take, &s, NULL, NULL) != MJ_OK) {
            return;
        }
        for (uint32_t c = 0; c < s.count; c++) {
            run_one(&rows[r], &f, &s.configs[c], &outcomes[r * CONFIGS_MAX + (int)c]);
        }
    }
}

static outcome *all_outcomes;

static bool run_all(void)
{
    outcome *outcomes = mmap(NULL, sizeof(outcome) * ROW_COUNT * CONFIGS_MAX, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fflush(stdout);
    for (int w = 0; w < WORKERS && outcomes != MAP_FAILED; w++) {
        pid_t child = fork();
        if (child == 0) {
            work(w, outcomes);
            fflush(stdout);
            _exit(0);
        }
        if (child < 0) {
            return false;
        }
    }
    while (wait(NULL) > 0) {
    }
    all_outcomes = outcomes == MAP_FAILED ? NULL : outcomes;
    return all_outcomes != NULL;
}

TEST(code_objects_are_as_generated)
{
    if (!hiprtc) {
        SKIP("no hipRTC");
    }
    CHECK(run_all());
    for (int r = 0; r < ROW_COUNT; r += ROW_STEP) {
        for (uint32_t c = 0; c < configs_of_a_row(); c++) {
            const outcome *o = &all_outcomes[r * CONFIGS_MAX + (int)c];
            if (!o->done || !o->right) {
                check_fail(__FILE__, __LINE__, "%s %s %s %s: %s", rows[r].arch, mj_op_name(rows[r].op), rows[r].problem,
                           o->config, o->done ? o->why : "not built");
            }
            if (getenv("MOEJIT_TEST_SHOW")) {
                printf("%s %s %s %s registers %u, estimate %u\n", rows[r].arch, mj_op_name(rows[r].op), rows[r].problem,
                       o->config, o->vgprs, o->estimate);
            }
        }
    }
}

TEST(registers_are_near_the_estimate)
{
    uint32_t near = 0, count = 0;
    if (!hiprtc) {
        SKIP("no hipRTC");
    }
    CHECK(all_outcomes || run_all());
    for (int r = 0; r < ROW_COUNT; r += ROW_STEP) {
        for (uint32_t c = 0; c < configs_of_a_row(); c++, count++) {
            const outcome *o = &all_outcomes[r * CONFIGS_MAX + (int)c];
            uint32_t off = o->vgprs > o->estimate ? o->vgprs - o->estimate : o->estimate - o->vgprs;
            near += o->done && 100 * off <= 15 * o->vgprs;
        }
    }
    if (10 * near < 9 * count) {
        check_fail(__FILE__, __LINE__, "%u of %u kernels are within 15 %% of the estimate: 9 of 10 must be", near,
                   count);
    }
}

TEST(matrix_instructions_are_the_expected_ones)
{
    if (!hiprtc || !objdump) {
        SKIP("no hipRTC, or no disassembler of its age");
    }
    CHECK(all_outcomes || run_all());
    for (int r = 0; r < ROW_COUNT; r += ROW_STEP) {
        for (uint32_t c = 0; c < configs_of_a_row(); c++) {
            const outcome *o = &all_outcomes[r * CONFIGS_MAX + (int)c];
            if (!o->done || o->instructions[0]) {
                check_fail(__FILE__, __LINE__, "%s %s %s %s: %s", rows[r].arch, mj_op_name(rows[r].op), rows[r].problem,
                           o->config, o->done ? o->instructions : "not built");
            }
        }
    }
}

/* The tunables that a small sample may leave out: loads past the registers, of 4 or 16 bytes, and results gathered in LDS. */
TEST(direct_loads_and_wide_stores_are_built)
{
    static const char config[] = "tile_m=64,tile_n=64,tile_k=32,stages=2,waves_m=2,waves_n=2,matrix_size=32,"
                                 "kpack=1,waves_per_eu=2,lds_pad=0,direct_lds=1,store_lds=1";
    static const int of_rows[] = {1, 3, 8}; /* gfx90a, gfx942, gfx950 */
    if (!hiprtc || !objdump) {
        SKIP("no hipRTC, or no disassembler of its age");
    }
    for (size_t i = 0; i < sizeof of_rows / sizeof of_rows[0]; i++) {
        const struct row *row = &rows[of_rows[i]];
        fixture f;
        outcome out = {0};
        CHECK(fixture_kernel(&f, row->problem, row->arch, row->family, row->op, config));
        run_one(row, &f, f.desc.config, &out);
        if (!out.right || out.instructions[0]) {
            check_fail(__FILE__, __LINE__, "%s: %s%s", row->arch, out.why, out.instructions);
        }
    }
}

/* A distribution's old hipRTC knows the oldest target. */
TEST(an_old_compiler_builds_gfx90a)
{
    const char *path = getenv("MOEJIT_TEST_HIPRTC");
    static const char *const configs[] = {
        "tile_m=64,tile_n=128,tile_k=64,stages=1,waves_m=1,waves_n=4,matrix_size=16,kpack=2,waves_per_eu=2,lds_pad=0",
        "tile_m=32,tile_n=64,tile_k=32,stages=2,waves_m=1,waves_n=2,matrix_size=32,kpack=1,waves_per_eu=2,lds_pad=16",
    };
    mj_hiprtc *old = NULL;
    mj_error error = {0};
    if (!path || !path[0]) {
        SKIP("no second hipRTC");
    }
    mj_status status = mj_hiprtc_open(path, &old, &error);
    CHECK_STRING(error.text, "");
    CHECK_STATUS(status, MJ_OK);
    for (int i = 0; i < 4; i++) {
        fixture f;
        amd_built built;
        char why[300] = "";
        mj_kernel_source source = {0};
        const struct row *row = &rows[i % 2];
        outcome out = {0};
        CHECK(fixture_kernel(&f, row->problem, row->arch, row->family, row->op, configs[i / 2]));
        if (amd_build(old, objdump, &f.desc, &source, &built, why, sizeof why)) {
            check_metadata(&f.desc, &built.kernel, &source.manifest, &out);
        }
        if (built.disassembled) {
            check_instructions(row, f.desc.config, &built, &out);
        }
        if (!out.right || out.instructions[0]) {
            check_fail(__FILE__, __LINE__, "%s: %s%s%s", configs[i / 2], why, out.why, out.instructions);
        }
        mj_kernel_source_free(&source);
    }
    fixture f; /* what it does not know is said in our words */
    amd_built built;
    char why[300] = "", direct[200];
    mj_kernel_source source = {0};
    snprintf(direct, sizeof direct, "%s,direct_lds=1", configs[0]);
    CHECK(fixture_kernel(&f, rows[0].problem, rows[0].arch, rows[0].family, rows[0].op, direct));
    mj_config_set(&f.config, "stages", 2, NULL);
    mj_config_set(&f.config, "tile_k", 32, NULL);
    CHECK(!amd_build(old, NULL, &f.desc, &source, &built, why, sizeof why));
    CHECK_CONTAINS(why, "direct_lds: this compiler has no loads past the registers");
    mj_kernel_source_free(&source);
    mj_hiprtc_close(old);
}

/* The steps around the GEMMs, and the reference, on each kind of AMD GPU. */
TEST(other_ops_compile)
{
    static const char *const archs[] = {"gfx90a", "gfx942", "gfx1100", "gfx1201"};
    if (!hiprtc) {
        SKIP("no hipRTC");
    }
    for (int i = 0; i < MJ_OP_COUNT; i++) {
        fixture f;
        amd_built built;
        char why[300] = "";
        mj_kernel_source source = {0};
        bool gemm = mj_op_is_gemm((mj_op)i), quantise = i == MJ_OP_QUANTISE1 || i == MJ_OP_QUANTISE2;
        const char *problem = quantise                    ? "E=8,topk=2,H=4096,N=7168,scheme=fp8_w8a8_channel"
                              : i == MJ_OP_GEMM1_QUANTISE ? "E=8,topk=2,H=4096,N=7168,scheme=fp8_w8a8"
                                                          : "E=8,topk=2,H=4096,N=7168,act=gelu";
        CHECK(fixture_kernel(&f, problem, archs[i % 4], gemm ? "reference" : "simple", (mj_op)i, ""));
        bool good = amd_build(hiprtc, NULL, &f.desc, &source, &built, why, sizeof why);
        if (!good || built.kernel.scratch_bytes > 0 || built.kernel.lds_bytes != source.manifest.smem_bytes) {
            check_fail(__FILE__, __LINE__, "%s for %s: %s, %u bytes of scratch memory, %u of shared memory, not %u",
                       mj_op_name((mj_op)i), archs[i % 4], why, built.kernel.scratch_bytes, built.kernel.lds_bytes,
                       source.manifest.smem_bytes);
        }
        mj_kernel_source_free(&source);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    if (!fixture_open()) {
        return 1;
    }
    const char *path = getenv("MOEJIT_HIPRTC");
    mj_error error = {0};
    objdump = getenv("MOEJIT_TEST_OBJDUMP");
    objdump = objdump && objdump[0] ? objdump : NULL;
    if (path && path[0] && mj_hiprtc_open(NULL, &hiprtc, &error) != MJ_OK) {
        printf("FAIL set_up: %s\n", error.text);
        return 1;
    }
    RUN(code_objects_are_as_generated);
    if (!CHECK_SANITIZED) { /* a share, of more kernels than are built then */
        RUN(registers_are_near_the_estimate);
    }
    RUN(matrix_instructions_are_the_expected_ones);
    RUN(direct_loads_and_wide_stores_are_built);
    RUN(an_old_compiler_builds_gfx90a);
    RUN(other_ops_compile);
    mj_hiprtc_close(hiprtc);
    if (all_outcomes) {
        munmap(all_outcomes, sizeof(outcome) * ROW_COUNT * CONFIGS_MAX);
    }
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
