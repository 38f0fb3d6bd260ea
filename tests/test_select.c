/* test_select.c: which source serves which number of tokens, and what a plan says about it. */
#define _GNU_SOURCE
#include "fake_store.h"
#include "select.h"

/* Every op's rows cover 1..max_tokens, once; this scheme's layers have no optional ones, and nothing stands in here. */
static bool covers_once(const mj_plan *plan, uint32_t max_tokens)
{
    for (int op = MJ_OP_TABLES; op <= MJ_OP_COMBINE; op++) {
        uint32_t next = 1;
        for (uint32_t i = 0; i < mj_plan_row_count(plan); i++) {
            const mj_plan_row *row = mj_plan_get_row(plan, i);
            if (row->op == (mj_op)op) {
                if (row->tokens_from != next || row->tokens_to < next) {
                    return false;
                }
                next = row->tokens_to + 1;
            }
        }
        if (next != (mj_op_is_optional((mj_op)op) ? 1 : max_tokens + 1)) {
            return false;
        }
    }
    return true;
}

TEST(ranges_of_neighbours)
{
    mj_token_range r = mj_offer_range(0, 16, 0, UINT32_MAX);
    CHECK(r.from == 1 && r.to >= UINT32_MAX / 16);
    r = mj_offer_range(1, 16, 64, 8);
    CHECK_INT(r.from, 5); /* sqrt(1 * 16) = 4 belongs to 1 */
    CHECK_INT(r.to, 32);
    r = mj_offer_range(16, 24, 32, 8);
    CHECK_INT(r.from, 20); /* sqrt(384) = 19.6 */
    CHECK_INT(r.to, 27);
    r = mj_offer_range(0, 100, 0, 8);
    CHECK_INT(r.from, 13);
    CHECK_INT(r.to, 800);
    r = mj_offer_range(1, 4096, 0, 8);
    CHECK_INT(r.from, 512);
    r = mj_offer_range(0, 0, 0, 8);
    CHECK(r.from == 1 && r.to == UINT32_MAX);
    r = mj_offer_range(0, 2147483647, 0, 8);
    CHECK(r.to == UINT32_MAX);
    /* Adjacent offers leave no token out and share none. */
    for (uint32_t a = 1; a < 60; a++) {
        for (uint32_t b = a + 1; b < a * 8 && b < 80; b++) {
            CHECK_INT(mj_offer_range(0, a, b, 8).to + 1, mj_offer_range(a, b, 0, 8).from);
        }
    }
}

TEST(store_rows_serve_the_nearest_tokens)
{
    fake_world w;
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w),
                        .row_count = 3,
                        .rows = {{.tokens = 1, .tile = 16}, {.tokens = 16, .tile = 32}, {.tokens = 64, .tile = 64}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK_STATUS(fake_plan_create(&w, 512, 0, NULL, &plan, &error), MJ_OK);
    CHECK(covers_once(plan, 512));
    CHECK(mj_plan_is_verified(plan));
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 1), 16);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 4), 16);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 5), 32);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM2, 32), 32);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM2, 33), 64);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM2, 512), 64);
    const mj_plan_row *row = fake_row_for(plan, MJ_OP_GEMM1, 40);
    CHECK_INT(row->origin, MJ_ORIGIN_STORE);
    CHECK_STRING(row->reason, "tuned at M=64");
    CHECK(row->time_us_median == 74.0);
    CHECK_STRING(row->family, "mma");
    CHECK_INT(w.state.kernels_loaded, 9);
    CHECK_CONTAINS(w.log.text, "gemm1 M=5..32: mma tile_m=32 from store, verified: tuned at M=16");
    mj_plan_destroy(plan);
    CHECK_INT(w.state.kernels_loaded, 0);
    CHECK_INT(w.state.allocations, 0);
    fake_close(&w);
}

TEST(far_tokens_say_so_and_equal_kernels_merge)
{
    fake_world w;
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 2, .tile = 16}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    mj_plan *plan = NULL;
    CHECK_STATUS(fake_plan_create(&w, 4096, MJ_PLAN_REQUIRE_VERIFIED, NULL, &plan, NULL), MJ_OK);
    CHECK(covers_once(plan, 4096));
    CHECK_STRING(fake_row_for(plan, MJ_OP_GEMM1, 16)->reason, "tuned at M=2");
    CHECK_STRING(fake_row_for(plan, MJ_OP_GEMM1, 17)->reason, "tuned at M=2, nothing nearer");
    CHECK_INT(w.state.kernels_loaded, 5);
    mj_plan_destroy(plan);
    fake_close(&w);
}

TEST(every_difference_of_identity_is_named)
{
    for (int field = 0; field < 6; field++) {
        fake_world w;
        CHECK(fake_open(&w));
        fake_tuned tuned = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
        const char *word = NULL;
        switch (field) {
        case 0:
            word = "Fake Two";
            snprintf(tuned.identity.device, sizeof tuned.identity.device, "Fake Two");
            break;
        case 1:
            word = "sm";
            tuned.identity.sm_count = 99;
            break;
        case 2:
            word = "memory";
            tuned.identity.memory_bytes /= 2;
            break;
        case 3:
            word = "driver";
            snprintf(tuned.identity.driver, sizeof tuned.identity.driver, "fake 0");
            break;
        case 4:
            word = "compiler";
            snprintf(tuned.identity.compiler, sizeof tuned.identity.compiler, "fakecc 0");
            break;
        default:
            break;
        }
        CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
        mj_plan *plan = NULL;
        mj_error error = {0};
        CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, &error), MJ_OK);
        const mj_plan_row *row = fake_row_for(plan, MJ_OP_GEMM1, 3);
        if (word) {
            CHECK_INT(row->origin, MJ_ORIGIN_STORE_ARCH);
            CHECK(!row->verified && !mj_plan_is_verified(plan) && row->time_us_median == 0);
            CHECK_CONTAINS(row->reason, word);
            mj_plan_destroy(plan);
            CHECK_STATUS(fake_plan_create(&w, 8, MJ_PLAN_REQUIRE_VERIFIED, NULL, &plan, &error), MJ_ERR_UNVERIFIED);
            CHECK(plan == NULL);
            CHECK_CONTAINS(error.text, word);
        } else {
            CHECK_INT(row->origin, MJ_ORIGIN_STORE);
            mj_plan_destroy(plan);
        }
        CHECK_INT(w.state.kernels_loaded, 0);
        fake_close(&w);
    }
}

TEST(own_rows_go_before_another_devices)
{
    fake_world w;
    CHECK(fake_open(&w));
    fake_tuned own = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
    fake_tuned other = own;
    snprintf(other.identity.device, sizeof other.identity.device, "Fake Zero");
    other.rows[0].tile = 32;
    CHECK_STATUS(fake_save(&w, &other), MJ_OK);
    mj_plan *plan = NULL;
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, NULL), MJ_OK);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 1), 32);
    mj_plan_destroy(plan);
    CHECK_STATUS(fake_save(&w, &own), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, NULL), MJ_OK);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 1), 16);
    CHECK(mj_plan_is_verified(plan));
    mj_plan_destroy(plan);
    fake_close(&w);
}

TEST(other_archs_and_problems_are_not_taken)
{
    fake_world w;
    CHECK(fake_open(&w));
    fake_tuned other = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
    snprintf(other.identity.device, sizeof other.identity.device, "Fake Zero");
    snprintf(other.identity.arch, sizeof other.identity.arch, "sm_80");
    CHECK_STATUS(fake_save(&w, &other), MJ_OK);
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(fake_plan_create(&w, 8, 0, NULL, &plan, &error) != MJ_OK);
    CHECK(plan == NULL);
    CHECK_CONTAINS(error.text, "tables");
    fake_tuned right = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
    w.problem.hidden = 128;
    CHECK_STATUS(fake_save(&w, &right), MJ_OK);
    w.problem.hidden = 64;
    CHECK(fake_plan_create(&w, 8, 0, NULL, &plan, &error) != MJ_OK);
    fake_close(&w);
}

TEST(decisions_of_one_layout_are_not_taken_for_another)
{
    static const char *const layouts[] = {"default", "interleaved8"};
    for (int tuned = 0; tuned < 2; tuned++) {
        fake_world w;
        mj_plan *plan = NULL;
        mj_error error = {0};
        CHECK(fake_open(&w));
        fake_tuned row = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
        snprintf(w.problem.layout, sizeof w.problem.layout, "%s", layouts[tuned]);
        CHECK_STATUS(fake_save(&w, &row), MJ_OK);
        CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, &error), MJ_OK);
        CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 1), 16);
        mj_plan_destroy(plan);
        snprintf(w.problem.layout, sizeof w.problem.layout, "%s", layouts[1 - tuned]);
        CHECK(fake_plan_create(&w, 8, 0, NULL, &plan, &error) != MJ_OK);
        snprintf(w.problem.layout, sizeof w.problem.layout, "interleaved9");
        CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, &error), MJ_ERR_UNSUPPORTED);
        CHECK_CONTAINS(error.text, "did you mean \"interleaved8\"?");
        fake_close(&w);
    }
}

TEST(lost_binaries_cost_their_row_only)
{
    fake_world w;
    CHECK(fake_open(&w));
    fake_tuned tuned = {
        .identity = fake_identity(&w),
        .row_count = 3,
        .rows = {{.tokens = 1, .tile = 16}, {.tokens = 8, .tile = 32, .absent = true}, {.tokens = 16, .tile = 64}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    mj_plan *plan = NULL;
    CHECK_STATUS(fake_plan_create(&w, 64, 0, NULL, &plan, NULL), MJ_OK);
    CHECK(covers_once(plan, 64));
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 8), 64); /* nearer to 16 than to 1 */
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 3), 16);
    CHECK_CONTAINS(w.log.text, "gemm1 M=8 skipped: kernel ");
    CHECK_CONTAINS(w.log.text, "not in the cache");
    mj_plan_destroy(plan);
    fake_close(&w);
}

TEST(nothing_at_all_is_an_error_that_says_why)
{
    fake_world w;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(fake_open(&w));
    fake_tuned tuned = {
        .identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16, .absent = true}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK(fake_plan_create(&w, 8, 0, NULL, &plan, &error) != MJ_OK);
    CHECK(plan == NULL);
    CHECK_CONTAINS(error.text, "gemm1, 1..8 tokens of E=4/4,topk=2");
    CHECK_INT(w.state.kernels_loaded, 0);
    CHECK(fake_plan_create(&w, 8, MJ_PLAN_IGNORE_STORE, NULL, &plan, &error) != MJ_OK);
    CHECK_CONTAINS(error.text, "tables");
    CHECK_INT(w.state.kernels_loaded, 0);
    fake_close(&w);
}

TEST(unverified_rows_are_not_verified_plans)
{
    fake_world w;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w),
                        .row_count = 2,
                        .rows = {{.tokens = 1, .tile = 16, .unverified = true}, {.tokens = 4, .tile = 32}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, NULL), MJ_OK);
    CHECK(!mj_plan_is_verified(plan));
    CHECK_CONTAINS(fake_row_for(plan, MJ_OP_GEMM1, 1)->reason, "did not verify");
    CHECK(fake_row_for(plan, MJ_OP_GEMM1, 8)->verified);
    mj_plan_destroy(plan);
    CHECK_STATUS(fake_plan_create(&w, 8, MJ_PLAN_REQUIRE_VERIFIED, NULL, &plan, &error),
                 MJ_OK); /* the other row serves all */
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 1), 32);
    CHECK(mj_plan_is_verified(plan));
    mj_plan_destroy(plan);
    fake_close(&w);
}

TEST(routing_columns)
{
    fake_world w;
    mj_plan *plan = NULL;
    CHECK(fake_open(&w));
    fake_tuned tuned = {
        .identity = fake_identity(&w),
        .row_count = 3,
        .rows = {{.tokens = 1, .tile = 16}, {.tokens = 1, .routing = "zipf1", .tile = 32}, {.tokens = 8, .tile = 64}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 8, 0, "zipf1", &plan, NULL), MJ_OK);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 8), 32);
    mj_plan_destroy(plan);
    CHECK_STATUS(fake_plan_create(&w, 8, 0, "hot16", &plan, NULL), MJ_OK);
    CHECK_INT(fake_tile_for(plan, MJ_OP_GEMM1, 8), 64);
    CHECK_CONTAINS(fake_row_for(plan, MJ_OP_GEMM1, 8)->reason, "no hot16 column, uniform used");
    mj_plan_destroy(plan);
    fake_close(&w);
}

TEST(another_generators_kernels_are_never_loaded)
{
    fake_world w;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
    tuned.identity.generator_version++;
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    CHECK(fake_plan_create(&w, 8, 0, NULL, &plan, &error) !=
          MJ_OK); /* binaries are there, but of other argument structs */
    CHECK_INT(w.state.kernels_loaded, 0);
    fake_close(&w);
}

/* A store and a cache that machines share: what one CPU's compiler made is not run on another. */
TEST(kernels_of_another_cpu_are_never_loaded)
{
    static const struct {
        bool native;
        const char *compiler, *name; /* of the device that plans */
        bool loaded;
    } cases[] = {
        {true, "fakecc 1.0", "Fake Two", true},
        {true, "fakecc 1.0 other cpu", "Fake Two", false},
        {true, "clang 1.0", "Fake One", true}, /* another compiler says nothing of the CPU */
        {true, "", "Fake Two", false},
        {true, "", "Fake One", true},
        {false, "fakecc 1.0 other", "Fake Two", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_world w;
        mj_plan *plan = NULL;
        mj_error error = {0};
        CHECK(fake_open(&w));
        w.native = cases[i].native;
        fake_tuned tuned = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
        CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
        snprintf(w.device.info.compiler, sizeof w.device.info.compiler, "%s", cases[i].compiler);
        snprintf(w.device.info.name, sizeof w.device.info.name, "%s", cases[i].name);
        CHECK_INT(fake_plan_create(&w, 8, 0, NULL, &plan, &error) == MJ_OK, cases[i].loaded);
        CHECK_INT(w.state.kernels_loaded, cases[i].loaded ? 5 : 0);
        if (!cases[i].loaded) {
            CHECK_CONTAINS(error.text, "was compiled for the CPU of another machine and cannot be made again: ");
        }
        mj_plan_destroy(plan);
        fake_close(&w);
    }
}

TEST(damaged_store_files_are_named_and_skipped)
{
    fake_world w;
    mj_plan *plan = NULL;
    char name[512], path[1024];
    CHECK(fake_open(&w));
    fake_tuned other = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
    CHECK_STATUS(mj_store_file_name(&w.problem, other.identity.device, name, sizeof name, NULL), MJ_OK);
    CHECK_STATUS(mj_os_join(path, sizeof path, w.store_dir, name, NULL), MJ_OK);
    CHECK_STATUS(mj_os_write_file_atomic(path, "{\"moejit_store\": 1, ", 20, 0600, NULL), MJ_OK);
    snprintf(other.identity.device, sizeof other.identity.device, "Fake Zero");
    CHECK_STATUS(fake_save(&w, &other), MJ_OK);
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, NULL), MJ_OK);
    CHECK_INT(fake_row_for(plan, MJ_OP_GEMM1, 1)->origin, MJ_ORIGIN_STORE_ARCH);
    CHECK_CONTAINS(w.log.text, name);
    CHECK_CONTAINS(w.log.text, "skipped");
    mj_plan_destroy(plan);
    fake_close(&w);
}

TEST(device_failures_end_the_plan)
{
    fake_world w;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w), .row_count = 1, .rows = {{.tokens = 1, .tile = 16}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    w.state.load_status = MJ_ERR_DEVICE_LOST;
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, &error), MJ_ERR_DEVICE_LOST);
    w.state.load_status = MJ_OK;
    w.state.memory_status = MJ_ERR_DEVICE_MEMORY;
    CHECK_STATUS(fake_plan_create(&w, 8, 0, NULL, &plan, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK_CONTAINS(error.text, "fewer max_tokens");
    CHECK_STATUS(fake_plan_create(&w, 8, MJ_PLAN_NO_WORKSPACE, NULL, &plan, &error), MJ_OK);
    mj_plan_destroy(plan);
    CHECK_INT(w.state.kernels_loaded, 0);
    fake_close(&w);
}

/* ---- Out of memory ---- */

typedef struct countdown {
    fake_log log;  /* first: fake_log_line is given the same pointer */
    uint64_t left; /* UINT64_MAX: no limit */
    int64_t live;
} countdown;

static void *counted(void *user, void *pointer, size_t bytes)
{
    countdown *c = user;
    if (bytes == 0) {
        c->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (c->left != UINT64_MAX && c->left-- == 0) {
        c->left = UINT64_MAX;
        return NULL;
    }
    c->live += pointer == NULL;
    return realloc(pointer, bytes);
}

TEST(every_failed_allocation_is_said_and_undone)
{
    fake_world w;
    static countdown c;
    mj_plan *plan = NULL;
    mj_error error = {0};
    CHECK(fake_open(&w));
    fake_tuned tuned = {.identity = fake_identity(&w),
                        .row_count = 3,
                        .rows = {{.tokens = 1, .tile = 16, .fused_us = 20},
                                 {.tokens = 8, .tile = 32},
                                 {.tokens = 16, .tile = 64, .fused_us = 20}}};
    CHECK_STATUS(fake_save(&w, &tuned), MJ_OK);
    c.left = UINT64_MAX;
    mj_context_options options = {
        .allocate = counted, .user = &c, .cache_dir = w.cache_dir, .store_dir = w.store_dir, .no_compile = true};
    CHECK_STATUS(mj_context_create(&options, &w.device.context, &error), MJ_OK);
    mj_status status = MJ_ERR_MEMORY;
    int64_t live = c.live;
    uint64_t allowed = 0;
    for (; status != MJ_OK && allowed < 1000; allowed++) {
        c.left = allowed;
        status = fake_plan_create(&w, 64, 0, NULL, &plan, &error);
        if (status != MJ_OK) {
            CHECK_STATUS(status, MJ_ERR_MEMORY);
            CHECK(plan == NULL && error.text[0]);
            CHECK_INT(c.live, live);
            CHECK_INT(w.state.kernels_loaded, 0);
            CHECK_INT(w.state.allocations, 0);
        }
    }
    CHECK_STATUS(status, MJ_OK);
    CHECK(allowed > 10);
    mj_plan_destroy(plan);
    mj_context_destroy(w.device.context);
    CHECK_INT(c.live, 0);
    fake_close(&w);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(ranges_of_neighbours);
    RUN(store_rows_serve_the_nearest_tokens);
    RUN(far_tokens_say_so_and_equal_kernels_merge);
    RUN(every_difference_of_identity_is_named);
    RUN(own_rows_go_before_another_devices);
    RUN(other_archs_and_problems_are_not_taken);
    RUN(decisions_of_one_layout_are_not_taken_for_another);
    RUN(lost_binaries_cost_their_row_only);
    RUN(nothing_at_all_is_an_error_that_says_why);
    RUN(unverified_rows_are_not_verified_plans);
    RUN(routing_columns);
    RUN(another_generators_kernels_are_never_loaded);
    RUN(kernels_of_another_cpu_are_never_loaded);
    RUN(damaged_store_files_are_named_and_skipped);
    RUN(device_failures_end_the_plan);
    RUN(every_failed_allocation_is_said_and_undone);
    return CHECK_END();
}
