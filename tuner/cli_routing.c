/* cli_routing.c: moejit routing: what a routing does to the row blocks of a grouped GEMM. No
 * device, no clock. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "routing.h"

static const uint32_t block_sizes[] = {16, 32, 64, 128, 256};
enum { BLOCK_COUNT = sizeof block_sizes / sizeof block_sizes[0], LOAD_COLUMNS = 16 };

typedef struct load_stat {
    uint64_t pairs;
    uint32_t median;
    mj_routing_stats blocks[BLOCK_COUNT];
} load_stat;

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static mj_status measure_load(const mj_problem *problem, const char *name, uint64_t seed, uint32_t tokens,
                              uint32_t *rows, load_stat *out, mj_error *error)
{
    size_t pairs = (size_t)tokens * problem->top_k;
    int32_t *ids = malloc(pairs * sizeof *ids);
    float *weights = malloc(pairs * sizeof *weights);
    uint32_t *sorted = malloc(problem->expert_count * sizeof *sorted);
    mj_status status = ids && weights && sorted ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "out of memory");
    if (status == MJ_OK) {
        status = mj_routing_sample(problem, name, seed, tokens, ids, weights, error);
    }
    if (status == MJ_OK) {
        memset(out, 0, sizeof *out);
        out->pairs = pairs;
        mj_routing_histogram(problem, ids, tokens, rows, NULL);
        memcpy(sorted, rows, problem->expert_count * sizeof *sorted);
        qsort(sorted, problem->expert_count, sizeof *sorted, compare_u32);
        out->median = sorted[problem->expert_count / 2];
    }
    for (int b = 0; b < BLOCK_COUNT && status == MJ_OK; b++) {
        status = mj_routing_measure(rows, problem->expert_count, block_sizes[b], &out->blocks[b], error);
    }
    free(ids);
    free(weights);
    free(sorted);
    return status;
}

static void print_head(const cli_target *target, uint64_t seed)
{
    char problem[512] = "";
    mj_problem_print(&target->problem, problem, sizeof problem, NULL);
    printf("%s: %s\nseed %llu. useful: rows with a token / rows computed; skinny: share of blocks "
           "less than\n"
           "half full; both per row block of 16, 32, 64, 128, 256.\n\n",
           target->label, problem, (unsigned long long)seed);
    printf("%6s %-9s %6s %5s %6s %7s %6s  %-29s  %s\n", "tokens", "routing", "rows", "dead", "most", "mean", "median",
           "useful %", "skinny %");
}

static void print_row(const char *name, uint32_t tokens, const load_stat *stat, const uint32_t *rows,
                      uint32_t expert_count, bool loads)
{
    const mj_routing_stats *load = &stat->blocks[0];
    printf("%6u %-9s %6llu %5u %6u %7.1f %6u ", tokens, name, (unsigned long long)load->row_count, load->dead_count,
           load->rows_max, load->rows_mean, stat->median);
    for (int b = 0; b < BLOCK_COUNT; b++) {
        printf(" %5.1f", 100 * stat->blocks[b].useful_share);
    }
    printf(" ");
    for (int b = 0; b < BLOCK_COUNT; b++) {
        printf(" %5.1f", 100 * stat->blocks[b].skinny_share);
    }
    printf("\n");
    for (uint32_t e = 0; loads && e < expert_count; e++) {
        if (e % LOAD_COLUMNS == 0) {
            printf("%s       rows of experts %4u..%-4u", e ? "\n" : "", e,
                   e + LOAD_COLUMNS - 1 < expert_count ? e + LOAD_COLUMNS - 1 : expert_count - 1);
        }
        printf(" %5u", rows[e]);
    }
    printf("%s", loads ? "\n" : "");
}

static void add_row(mj_json *list, const char *name, uint32_t tokens, const load_stat *stat, const uint32_t *rows,
                    uint32_t expert_count)
{
    mj_json *row = mj_json_push(list, mj_json_object());
    mj_json_add_int(row, "tokens", tokens);
    mj_json_add_string(row, "routing", name);
    mj_json_add_int(row, "pairs", (int64_t)stat->pairs);
    const mj_routing_stats *sums = &stat->blocks[0];
    mj_json_add_int(row, "local_rows", (int64_t)sums->row_count);
    mj_json_add_int(row, "active_experts", sums->active_count);
    mj_json_add_int(row, "dead_experts", sums->dead_count);
    mj_json_add_int(row, "rows_max", sums->rows_max);
    mj_json_add_int(row, "rows_median", stat->median);
    mj_json_add_number(row, "rows_mean", sums->rows_mean);
    mj_json *load = mj_json_add(row, "rows", mj_json_array());
    for (uint32_t e = 0; e < expert_count; e++) {
        mj_json_push(load, mj_json_new_int(rows[e]));
    }
    mj_json *blocks = mj_json_add(row, "blocks", mj_json_array());
    for (int b = 0; b < BLOCK_COUNT; b++) {
        mj_json *block = mj_json_push(blocks, mj_json_object());
        mj_json_add_int(block, "block_rows", block_sizes[b]);
        mj_json_add_int(block, "blocks", (int64_t)stat->blocks[b].block_count);
        mj_json_add_int(block, "skinny", (int64_t)stat->blocks[b].skinny_block_count);
        mj_json_add_number(block, "useful", stat->blocks[b].useful_share);
    }
}

cli_exit cli_check_routings(const cli_options *options)
{
    for (uint32_t i = 0; i < options->routing.count; i++) {
        mj_error error = {MJ_OK, ""};
        if (mj_routing_check(options->routing.items[i], &error) != MJ_OK) {
            cli_error("--routing: %s", error.text);
            return CLI_USAGE;
        }
    }
    return CLI_OK;
}

static cli_exit all_rows(const cli_options *options, const cli_target *target, mj_json *list)
{
    static const uint32_t few[] = {1, 16, 64, 256, 1024, 4096};
    uint32_t name_count;
    const char *const *names = mj_routing_names(&name_count);
    if (options->routing.count) {
        names = options->routing.items;
        name_count = options->routing.count;
    }
    const uint32_t *tokens = options->token_count_count ? options->token_counts : few;
    uint32_t token_rows = options->token_count_count ? options->token_count_count : 6;
    uint32_t expert_count = target->problem.expert_count;
    uint32_t *rows = malloc(expert_count * sizeof *rows);
    mj_error error = {MJ_OK, ""};
    mj_status status = rows ? MJ_OK : mj_fail(&error, MJ_ERR_MEMORY, "out of memory");
    for (uint32_t t = 0; t < token_rows && status == MJ_OK; t++) {
        for (uint32_t i = 0; i < name_count && status == MJ_OK; i++) {
            load_stat stat;
            status = measure_load(&target->problem, names[i], options->seed, tokens[t], rows, &stat, &error);
            if (status == MJ_OK && list) {
                add_row(list, names[i], tokens[t], &stat, rows, expert_count);
            } else if (status == MJ_OK) {
                print_row(names[i], tokens[t], &stat, rows, expert_count, expert_count <= 16 || options->verbose);
            }
        }
    }
    free(rows);
    return status == MJ_OK ? CLI_OK : cli_fail(&error);
}

cli_exit cli_routing(const cli_options *options)
{
    mj_context *context = NULL;
    cli_target target;
    cli_exit code = cli_check_routings(options);
    if (code == CLI_OK) {
        code = cli_context(options, &context);
    }
    if (code == CLI_OK) {
        code = cli_resolve(options, context, &target);
    }
    if (code == CLI_OK) {
        mj_json *list = options->json ? mj_json_array() : NULL;
        if (!list) {
            print_head(&target, options->seed);
        }
        code = all_rows(options, &target, list);
        if (list && code == CLI_OK) {
            code = cli_print_json(list);
        } else {
            mj_json_free(list);
        }
    }
    mj_context_destroy(context);
    return code;
}
