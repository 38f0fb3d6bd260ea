/* test_launch.c: loading and launching single kernels, and the layout of a plan's workspace. */
#include "fake_device.h"
#include "workspace.h"

static const mj_problem small = {.expert_count = 4,
                                 .expert_total_count = 4,
                                 .top_k = 2,
                                 .hidden = 64,
                                 .intermediate = 32,
                                 .gated = true,
                                 .scheme = "bf16",
                                 .layout = "default"};

typedef struct setup {
    fake_state state;
    mj_context *context;
    mj_device device;
    mj_manifest manifest;
    mj_loaded_kernel kernel;
    mj_arg_value values[MJ_ARG_COUNT];
} setup;

static void set_up(setup *s, mj_op op)
{
    memset(s, 0, sizeof *s);
    s->device = fake_device(NULL, &s->state);
    s->manifest = fake_manifest(&small, op, "mma", 16);
    for (int i = 0; i < MJ_ARG_ELEMENT_COUNT; i++) {
        s->values[i].pointer = 0x1000u + 0x100u * (uint32_t)i;
    }
    s->values[MJ_ARG_TOKEN_COUNT].i32 = 3;
}

static mj_status load(setup *s, mj_error *error)
{
    return mj_kernel_load(&s->device, &s->manifest, "binary", 6, &s->kernel, error);
}

TEST(launches_with_packed_arguments)
{
    setup s;
    set_up(&s, MJ_OP_GEMM2);
    s.manifest.smem_bytes = 1234;
    CHECK_STATUS(load(&s, NULL), MJ_OK);
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, (void *)0x77, NULL), MJ_OK);
    CHECK_INT(s.state.launch_count, 1);
    CHECK_INT(s.state.launches[0].launch.blocks, 6); /* one per pair */
    CHECK_INT(s.state.launches[0].launch.threads, 128);
    CHECK_INT(s.state.launches[0].launch.smem_bytes, 1234);
    CHECK_INT(s.state.launches[0].launch.args_bytes, s.manifest.args_bytes);
    CHECK(s.state.launches[0].stream == (void *)0x77);
    uint32_t count = 0, at = 0;
    const mj_arg *args = mj_op_args(MJ_OP_GEMM2, &count);
    CHECK(count > 4);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = mj_arg_bytes(args[i]);
        at = (at + bytes - 1) / bytes * bytes;
        CHECK(memcmp(s.state.launches[0].args + at, &s.values[args[i]], bytes) == 0);
        at += bytes;
    }
    mj_kernel_unload(&s.device, &s.kernel);
    CHECK_INT(s.state.kernels_loaded, 0);
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, NULL), MJ_ERR_ARGUMENT);
    mj_kernel_unload(&s.device, &s.kernel); /* twice is harmless */
    CHECK_INT(s.state.launch_count, 1);
}

TEST(bad_pointers_never_launch)
{
    static const mj_arg needed[] = {MJ_ARG_INPUT,          MJ_ARG_WEIGHTS,      MJ_ARG_OUTPUT,
                                    MJ_ARG_EXPERT_OFFSETS, MJ_ARG_SORTED_PAIRS, MJ_ARG_TOPK_IDS};
    setup s;
    mj_error error;
    set_up(&s, MJ_OP_GEMM1);
    CHECK_STATUS(load(&s, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        mj_arg_value kept = s.values[needed[i]];
        s.values[needed[i]].pointer = 0;
        CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
        CHECK_CONTAINS(error.text, mj_arg_name(needed[i]));
        s.values[needed[i]].pointer = kept.pointer + 8;
        CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
        CHECK_CONTAINS(error.text, "aligned");
        s.values[needed[i]] = kept;
    }
    s.values[MJ_ARG_BIAS].pointer = 0; /* optional */
    s.values[MJ_ARG_PARTIALS].pointer = 0;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, NULL), MJ_OK);
    s.kernel.manifest.partial_tile_bytes = 64; /* now split-K needs them */
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "partials");
    s.kernel.manifest.partial_tile_bytes = 0;
    s.kernel.manifest.partial_block_bytes = 64; /* shared tiles as well */
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "partials");
    s.values[MJ_ARG_PARTIALS] = s.values[MJ_ARG_INPUT];
    s.values[MJ_ARG_COUNTERS].pointer = 0;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "counters");
    CHECK_INT(s.state.launch_count, 1);
    mj_kernel_unload(&s.device, &s.kernel);
}

TEST(no_tokens_no_launch)
{
    setup s;
    set_up(&s, MJ_OP_GEMM1);
    CHECK_STATUS(load(&s, NULL), MJ_OK);
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 0, NULL, NULL), MJ_OK);
    CHECK_INT(s.state.launch_count, 0);
    mj_kernel_unload(&s.device, &s.kernel);
}

TEST(row_grid_comes_from_the_argument)
{
    setup s;
    set_up(&s, MJ_OP_COMPARE);
    s.manifest.grid = (mj_grid_rule){MJ_GRID_ROWS, 1, 1, 0};
    s.values[MJ_ARG_ROW_COUNT].i32 = 37;
    CHECK_STATUS(load(&s, NULL), MJ_OK);
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 0, NULL, NULL), MJ_OK);
    CHECK_INT(s.state.launches[0].launch.blocks, 37);
    s.values[MJ_ARG_ROW_COUNT].i32 = -1;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 0, NULL, NULL), MJ_ERR_ARGUMENT);
    CHECK_INT(s.state.launch_count, 1);
    mj_kernel_unload(&s.device, &s.kernel);
}

TEST(damaged_manifests_are_refused)
{
    setup s;
    for (int fault = 0; fault < 8; fault++) {
        set_up(&s, MJ_OP_GEMM1);
        mj_status want = MJ_ERR_FORMAT;
        switch (fault) {
        case 0:
            s.manifest.args_bytes += 8;
            break;
        case 1:
            s.manifest.args_bytes = 0;
            break;
        case 2:
            s.manifest.pointer_align_bytes = 24;
            break;
        case 3:
            s.manifest.block_threads = 0;
            break;
        case 4:
            s.manifest.block_threads = 100000;
            break;
        case 5:
            s.manifest.symbol[0] = '\0';
            break;
        case 6:
            s.manifest.op = (mj_op)99;
            break;
        default:
            s.manifest.smem_bytes = 1 << 30;
            want = MJ_ERR_UNSUPPORTED;
            break;
        }
        CHECK_STATUS(load(&s, NULL), want);
        CHECK(s.kernel.handle == NULL);
        CHECK_INT(s.state.kernels_loaded, 0);
    }
}

TEST(wrong_arch_and_driver_refusals)
{
    setup s;
    mj_error error;
    set_up(&s, MJ_OP_GEMM1);
    snprintf(s.manifest.arch, sizeof s.manifest.arch, "sm_80");
    CHECK_STATUS(load(&s, &error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(error.text, "sm_80");
    set_up(&s, MJ_OP_GEMM1);
    s.state.threads_block_max = 64; /* registers: fewer threads than the manifest's fit */
    CHECK_STATUS(load(&s, &error), MJ_ERR_UNSUPPORTED);
    CHECK_INT(s.state.kernels_loaded, 0);
    set_up(&s, MJ_OP_GEMM1);
    s.state.load_status = MJ_ERR_DEVICE_LOST;
    CHECK_STATUS(load(&s, &error), MJ_ERR_DEVICE_LOST);
    set_up(&s, MJ_OP_GEMM1);
    CHECK_STATUS(load(&s, &error), MJ_OK);
    s.state.launch_status = MJ_ERR_DEVICE;
    CHECK_STATUS(mj_kernel_launch(&s.device, &s.kernel, s.values, 3, NULL, &error), MJ_ERR_DEVICE);
    mj_kernel_unload(&s.device, &s.kernel);
}

TEST(workspace_regions_do_not_meet)
{
    mj_workspace w = {.counter_bytes = 100, .partial_bytes = 5000};
    CHECK_STATUS(mj_workspace_place(&w, &small, 33, NULL), MJ_OK);
    uint64_t pairs = 66;
    const struct {
        uint64_t from, bytes;
    } regions[] = {{w.counters, 100},
                   {w.expert_offsets, 5 * 4},
                   {w.sorted_pairs, pairs * 4},
                   {w.gemm1_output, pairs * 64 * 2},
                   {w.activation, pairs * 32 * 2},
                   {w.pair_rows, pairs * 64 * 2},
                   {w.partials, 5000}};
    uint64_t end = 0;
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) {
        CHECK(regions[i].from >= end && regions[i].from % MJ_WORKSPACE_ALIGN == 0);
        end = regions[i].from + regions[i].bytes;
    }
    CHECK(w.bytes >= end && w.bytes < end + MJ_WORKSPACE_ALIGN);
}

TEST(workspace_takes_the_larger_need)
{
    mj_workspace w = {0};
    mj_manifest manifest = fake_manifest(&small, MJ_OP_GEMM1, "mma", 16);
    manifest.grid = (mj_grid_rule){MJ_GRID_TILES, 16, 4, 0};
    manifest.tiles_per_row_tile = 2;
    manifest.partial_tile_bytes = 4096;
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 8, 2, NULL), MJ_OK);
    mj_workspace few = w;
    CHECK(few.partial_bytes > 0 && few.counter_bytes > 0);
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 64, 2, NULL), MJ_OK);
    CHECK(w.partial_bytes > few.partial_bytes && w.counter_bytes > few.counter_bytes);
    mj_workspace many = w;
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 1, 2, NULL), MJ_OK);
    CHECK_INT(w.partial_bytes, many.partial_bytes);
    manifest.partial_block_bytes = 1 << 20; /* by block: a larger chip needs more */
    manifest.counters_per_block = 8;
    manifest.grid.blocks_per_sm_max = 1;
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 64, 2, NULL), MJ_OK);
    CHECK_INT(w.partial_bytes, many.partial_bytes + (2 << 20));
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 64, 3, NULL), MJ_OK);
    CHECK_INT(w.partial_bytes, many.partial_bytes + (3 << 20));
    CHECK_INT(w.counter_bytes, many.counter_bytes + 3 * 8 * 4);
}

/* gemm2_combine's rows of pairs lie in the place of gemm2's; what lies behind them, lies behind these. */
TEST(rows_of_pairs_need_no_place_of_their_own)
{
    mj_workspace w = {0};
    mj_manifest manifest = fake_manifest(&small, MJ_OP_GEMM2_COMBINE, "mma", 16);
    manifest.partial_tile_bytes = 0;
    manifest.pair_scratch_bytes = 2 * small.hidden;
    manifest.counters_per_token = 3;
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 8, 2, NULL), MJ_OK);
    CHECK(w.partial_bytes == 0 && w.counter_bytes == 8 * 3 * 4);
    manifest.grid = (mj_grid_rule){MJ_GRID_TILES, 16, 4, 1};
    manifest.partial_block_bytes = 4096;
    CHECK_STATUS(mj_workspace_need(&w, &manifest, 8, 2, NULL), MJ_OK);
    CHECK_INT(w.partial_bytes, 2 * 4096);
    CHECK_STATUS(mj_workspace_place(&w, &small, 8, NULL), MJ_OK);
    CHECK_INT(mj_workspace_partials(&w, MJ_OP_GEMM2_COMBINE), w.pair_rows);
    CHECK_INT(mj_workspace_partials(&w, MJ_OP_GEMM2), w.partials);
    CHECK(w.partials >= w.pair_rows + 8ull * small.top_k * manifest.pair_scratch_bytes &&
          w.partials < w.pair_rows + 8ull * small.top_k * manifest.pair_scratch_bytes + MJ_WORKSPACE_ALIGN);
}

TEST(workspace_overflows_are_refused)
{
    mj_problem problem = small;
    mj_workspace w = {0};
    CHECK_STATUS(mj_workspace_place(&w, &problem, UINT32_MAX, NULL), MJ_ERR_CAPACITY); /* pair index */
    problem = (mj_problem){.expert_count = 8, .top_k = 2, .hidden = 4096, .intermediate = 14336, .gated = true};
    CHECK_STATUS(mj_workspace_place(&w, &problem, 599000, NULL), MJ_OK);
    CHECK_STATUS(mj_workspace_place(&w, &problem, 600000, NULL), MJ_ERR_CAPACITY); /* 2^31 chunks of gemm2's input */
    problem = (mj_problem){.expert_count = 8, .top_k = 1, .hidden = 65536, .intermediate = 8, .gated = true};
    CHECK_STATUS(mj_workspace_place(&w, &problem, 262000, NULL), MJ_OK);
    CHECK_STATUS(mj_workspace_place(&w, &problem, 263000, NULL), MJ_ERR_CAPACITY); /* of gemm1's */
    problem = small;
    problem.hidden = UINT32_MAX;
    problem.intermediate = UINT32_MAX;
    CHECK_STATUS(mj_workspace_place(&w, &problem, INT32_MAX / 2, NULL), MJ_ERR_CAPACITY); /* bytes */
    w = (mj_workspace){.partial_bytes = UINT64_MAX - 100};
    CHECK_STATUS(mj_workspace_place(&w, &small, 1, NULL), MJ_ERR_CAPACITY);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(launches_with_packed_arguments);
    RUN(bad_pointers_never_launch);
    RUN(no_tokens_no_launch);
    RUN(row_grid_comes_from_the_argument);
    RUN(damaged_manifests_are_refused);
    RUN(wrong_arch_and_driver_refusals);
    RUN(workspace_regions_do_not_meet);
    RUN(workspace_takes_the_larger_need);
    RUN(rows_of_pairs_need_no_place_of_their_own);
    RUN(workspace_overflows_are_refused);
    return CHECK_END();
}
