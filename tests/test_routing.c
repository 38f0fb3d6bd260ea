/* test_routing.c: sampled routings follow their distribution, are the same everywhere, and are counted right. */
#include "check.h"

#include "gen.h"
#include "routing.h"

static mj_problem make_problem(uint32_t total, uint32_t top_k, uint32_t ranks)
{
    return (mj_problem){.expert_count = total / ranks,
                        .expert_total_count = total,
                        .top_k = top_k,
                        .hidden = 128,
                        .intermediate = 128,
                        .gated = true,
                        .scheme = "bf16",
                        .layout = "default"};
}

enum { TOKENS = 4096 };
static int32_t ids[TOKENS * 64];
static float weights[TOKENS * 64];
static uint32_t rows[4096];

static int compare_down(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

TEST(ids_are_distinct_and_weights_sum_to_one)
{
    static const struct {
        uint32_t total, top_k;
    } shapes[] = {{8, 2}, {128, 8}, {16, 1}, {60, 4}, {8, 8}, {512, 10}, {64, 64}};
    uint32_t name_count;
    const char *const *names = mj_routing_names(&name_count);
    CHECK_INT(name_count, 5);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        mj_problem problem = make_problem(shapes[s].total, shapes[s].top_k, 1);
        for (uint32_t n = 0; n < name_count; n++) {
            CHECK_STATUS(mj_routing_sample(&problem, names[n], 5, 200, ids, weights, NULL), MJ_OK);
            for (uint32_t t = 0; t < 200; t++) {
                double sum = 0;
                for (uint32_t a = t * problem.top_k; a < (t + 1) * problem.top_k; a++) {
                    CHECK(ids[a] >= 0 && (uint32_t)ids[a] < problem.expert_total_count);
                    CHECK(weights[a] > 0);
                    sum += weights[a];
                    for (uint32_t b = t * problem.top_k; b < a; b++) {
                        CHECK(ids[a] != ids[b]);
                    }
                }
                CHECK(fabs(sum - 1) < 1e-5);
            }
        }
    }
}

/* If any of these changes, every recorded measurement with that routing was of something else. */
TEST(the_same_seed_gives_the_same_ids)
{
    static const struct {
        const char *name, *ids_sha256;
    } expected[] = {
        {"balanced", "5cfa02ad6c25bbd43b350e972a6c4b6cbedca8b3adf16ea2681b5218ba763390"},
        {"uniform", "b9bb42991db2590863b064ca032ae36b3cd6d4c218dac314ce7603b5c37446f1"},
        {"zipf1", "8cf55d9ce37a003dcdeeb2761b7631b1e01679ed332a69764a018036a4edb677"},
        {"zipf2", "28ffc9143eca3ffa00f6b8d1c5a1163cc5c54229cde48838241270513b05ca4e"},
        {"hot16", "c169865d505785d291174478f98b2eb6b0f46a3a0ec392505ff64273ea1b15b9"},
    };
    mj_problem problem = make_problem(128, 8, 1);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char hash[MJ_SHA256_HEX];
        CHECK_STATUS(mj_routing_sample(&problem, expected[i].name, 7, TOKENS, ids, NULL, NULL), MJ_OK);
        mj_sha256_hex(ids, TOKENS * 8 * sizeof ids[0], hash);
        CHECK_STRING(hash, expected[i].ids_sha256);
    }
}

TEST(seeds_and_batch_sizes)
{
    static int32_t others[1000 * 8];
    mj_problem problem = make_problem(128, 8, 1);
    CHECK_STATUS(mj_routing_sample(&problem, "uniform", 1, 1000, ids, weights, NULL), MJ_OK);
    CHECK_STATUS(mj_routing_sample(&problem, "uniform", 1, 10, others, NULL, NULL), MJ_OK);
    CHECK(memcmp(ids, others, 10 * 8 * sizeof ids[0]) == 0); /* a small batch is the beginning of a large one */
    CHECK_STATUS(mj_routing_sample(&problem, "uniform", 2, 1000, others, NULL, NULL), MJ_OK);
    uint32_t same = 0;
    for (uint32_t i = 0; i < 1000 * 8; i++) {
        same += ids[i] == others[i];
    }
    CHECK(same < 200); /* 1 in 128 by chance */
    CHECK_STATUS(mj_routing_sample(&problem, "zipf1", UINT64_MAX, 0, NULL, NULL, NULL), MJ_OK);
}

static void histogram(const mj_problem *problem, const char *name, uint64_t seed)
{
    mj_routing_sample(problem, name, seed, TOKENS, ids, NULL, NULL);
    mj_routing_histogram(problem, ids, TOKENS, rows, NULL);
    qsort(rows, problem->expert_count, sizeof rows[0], compare_down);
}

TEST(balanced_is_exact)
{
    static const struct {
        uint32_t total, top_k;
    } shapes[] = {{8, 2}, {128, 8}, {60, 4}, {72, 10}, {7, 7}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        mj_problem problem = make_problem(shapes[s].total, shapes[s].top_k, 1);
        histogram(&problem, "balanced", 3);
        uint32_t share = TOKENS * shapes[s].top_k / shapes[s].total;
        CHECK(rows[0] <= share + (TOKENS * shapes[s].top_k % shapes[s].total != 0));
        CHECK(rows[shapes[s].total - 1] >= share);
    }
}

TEST(uniform_is_flat)
{
    mj_problem problem = make_problem(64, 1, 1);
    double chi_squared = 0, expected = TOKENS / 64.0;
    histogram(&problem, "uniform", 11);
    for (int e = 0; e < 64; e++) {
        chi_squared += (rows[e] - expected) * (rows[e] - expected) / expected;
    }
    CHECK(chi_squared < 110 && chi_squared > 30); /* 63 degrees of freedom: 0.9998 and 0.0002 */
}

/* With one expert per token the shares are the popularities themselves. */
TEST(zipf_follows_its_law)
{
    static const struct {
        const char *name;
        int power;
    } laws[] = {{"zipf1", 1}, {"zipf2", 2}};
    mj_problem problem = make_problem(64, 1, 1);
    for (int law = 0; law < 2; law++) {
        double sum = 0, chi_squared = 0;
        for (int rank = 1; rank <= 64; rank++) {
            sum += pow(rank, -laws[law].power);
        }
        histogram(&problem, laws[law].name, 17);
        for (int rank = 1; rank <= 6; rank++) { /* sorting does not disturb the most popular */
            double expected = TOKENS * pow(rank, -laws[law].power) / sum;
            chi_squared += (rows[rank - 1] - expected) * (rows[rank - 1] - expected) / expected;
        }
        CHECK(chi_squared < 25);
    }
}

TEST(hot16_has_hot_experts)
{
    mj_problem problem = make_problem(128, 2, 1);
    histogram(&problem, "hot16", 19);
    uint64_t hot = 0, all = 0;
    for (int e = 0; e < 128; e++) {
        hot += e < 8 ? rows[e] : 0;
        all += rows[e];
    }
    CHECK_INT(all, TOKENS * 2);
    CHECK((double)hot / (double)all > 0.7 && (double)hot / (double)all < 0.9);
    problem = make_problem(16, 8, 1); /* never fewer than top_k */
    histogram(&problem, "hot16", 19);
    CHECK(rows[7] > 4 * rows[8]);
}

TEST(the_seed_chooses_which_expert_is_popular)
{
    mj_problem problem = make_problem(64, 1, 1);
    uint32_t first_is_popular = 0;
    for (uint64_t seed = 0; seed < 64; seed++) {
        uint32_t zero = 0;
        mj_routing_sample(&problem, "zipf2", seed, 100, ids, NULL, NULL);
        for (int t = 0; t < 100; t++) {
            zero += ids[t] == 0;
        }
        first_is_popular += zero > 40;
    }
    CHECK(first_is_popular <= 6); /* 1 in 64 by chance */
}

TEST(expert_parallel_ranks_see_their_share)
{
    mj_problem whole = make_problem(256, 8, 1), rank = make_problem(256, 8, 8);
    uint64_t local_rows;
    CHECK_INT(rank.expert_count, 32);
    CHECK_STATUS(mj_routing_sample(&rank, "uniform", 23, TOKENS, ids, weights, NULL), MJ_OK);
    uint32_t active = mj_routing_histogram(&rank, ids, TOKENS, rows, &local_rows);
    CHECK_INT(active, 32);
    CHECK(local_rows > TOKENS * 0.95 && local_rows < TOKENS * 1.05); /* an eighth of 8 per token */
    static int32_t whole_ids[TOKENS * 8];
    CHECK_STATUS(mj_routing_sample(&whole, "uniform", 23, TOKENS, whole_ids, NULL, NULL), MJ_OK);
    CHECK(memcmp(ids, whole_ids, sizeof whole_ids) == 0); /* the layer's routing does not depend on the ranks */
    mj_routing_histogram(&whole, whole_ids, TOKENS, rows, &local_rows);
    CHECK_INT(local_rows, TOKENS * 8);
    CHECK_STATUS(mj_routing_sample(&rank, "balanced", 23, TOKENS, ids, weights, NULL), MJ_OK);
    mj_routing_histogram(&rank, ids, TOKENS, rows, &local_rows);
    CHECK_INT(local_rows, TOKENS);
}

TEST(expectations_match_samples)
{
    static const char *const laws[] = {"balanced", "uniform", "zipf1", "zipf2", "hot16"};
    static double expected[128];
    mj_problem problem = make_problem(128, 4, 2);
    for (int law = 0; law < 5; law++) {
        CHECK_STATUS(mj_routing_sample(&problem, laws[law], 29, TOKENS, ids, NULL, NULL), MJ_OK);
        mj_routing_histogram(&problem, ids, TOKENS, rows, NULL);
        CHECK_STATUS(mj_routing_expected(&problem, laws[law], 29, TOKENS, expected, NULL), MJ_OK);
        for (uint32_t e = 0; e < problem.expert_count; e++) {
            CHECK(fabs(expected[e] - rows[e]) <= 6 * sqrt(2 * expected[e] + 8));
        }
    }
}

TEST(blocks_are_measured)
{
    static const uint32_t load[] = {0, 1, 16, 17, 40, 7};
    mj_routing_stats stats;
    CHECK_STATUS(mj_routing_measure(load, 6, 16, &stats, NULL), MJ_OK);
    CHECK_INT(stats.row_count, 81);
    CHECK_INT(stats.block_count, 0 + 1 + 1 + 2 + 3 + 1);
    CHECK_INT(stats.active_count, 5);
    CHECK_INT(stats.dead_count, 1);
    CHECK_INT(stats.rows_max, 40);
    CHECK_INT(stats.rows_min, 0);
    CHECK_INT(stats.skinny_block_count, 3); /* 1, 17 - 16 and 7; 40 - 32 = 8 is half */
    CHECK(stats.useful_share == 81.0 / 128 && stats.skinny_share == 3.0 / 8 && stats.rows_mean == 13.5);
    static const uint32_t none[3];
    CHECK_STATUS(mj_routing_measure(none, 3, 64, &stats, NULL), MJ_OK);
    CHECK(stats.useful_share == 0 && stats.skinny_share == 0 && stats.dead_count == 3);
    CHECK_STATUS(mj_routing_measure(load, 6, 0, &stats, NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_routing_measure(load, 0, 16, &stats, NULL), MJ_ERR_ARGUMENT);
}

TEST(bad_input_is_refused)
{
    mj_problem problem = make_problem(8, 2, 1);
    mj_error error;
    CHECK_STATUS(mj_routing_sample(&problem, "zipf3", 0, 1, ids, weights, &error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(error.text, "did you mean \"zipf");
    CHECK_STATUS(mj_routing_sample(&problem, "uniform", 0, 1, NULL, weights, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_routing_sample(NULL, "uniform", 0, 1, ids, weights, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_routing_expected(&problem, "uniform", 0, 1, NULL, &error), MJ_ERR_ARGUMENT);
    problem.top_k = 9;
    CHECK_STATUS(mj_routing_sample(&problem, "uniform", 0, 1, ids, weights, &error), MJ_ERR_ARGUMENT);
    problem.top_k = 65;
    problem.expert_count = problem.expert_total_count = 128;
    CHECK_STATUS(mj_routing_sample(&problem, "uniform", 0, 1, ids, weights, &error), MJ_ERR_ARGUMENT);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(ids_are_distinct_and_weights_sum_to_one);
    RUN(the_same_seed_gives_the_same_ids);
    RUN(seeds_and_batch_sizes);
    RUN(balanced_is_exact);
    RUN(uniform_is_flat);
    RUN(zipf_follows_its_law);
    RUN(hot16_has_hot_experts);
    RUN(the_seed_chooses_which_expert_is_popular);
    RUN(expert_parallel_ranks_see_their_share);
    RUN(expectations_match_samples);
    RUN(blocks_are_measured);
    RUN(bad_input_is_refused);
    return CHECK_END();
}
