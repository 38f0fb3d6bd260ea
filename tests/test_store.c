/* test_store.c: store files: round trips, every damaged key named, other versions, concurrent writers, failures while writing. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "check.h"
#include "gen.h"
#include "os_faults.h"
#include "store.h"
#include "temp_folder.h"

static mj_problem sample_problem(void)
{
    mj_problem problem = {0};
    mj_problem_parse("E=8/8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default", &problem, NULL);
    return problem;
}

static mj_choice sample_choice(mj_op op, int tile)
{
    mj_choice choice = {.present = true,
                        .verified = true,
                        .time_us_median = 123.456,
                        .time_us_spread = 0.1,
                        .floor_us = 100.25,
                        .tried = 40,
                        .refused = 1000,
                        .failed = 3,
                        .seed = 42,
                        .effort = "quick",
                        .bytes = 1.5e9,
                        .operations = 3e12,
                        .sample_count = 20,
                        .launches = 10};
    mj_manifest *manifest = &choice.manifest;
    uint32_t count = 0;
    const mj_arg *args = mj_op_args(op, &count);
    strcpy(choice.failed_reasons, "timeout: 2; wrong result: 1");
    memset(choice.cache_key, "0123456789abcdef"[tile % 16], 64);
    *manifest = (mj_manifest){.op = op,
                              .problem = sample_problem(),
                              .block_threads = 128,
                              .pointer_align_bytes = 16,
                              .grid = {.unit = MJ_GRID_TILES, .per_block = 16, .factor = 1}};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = mj_arg_bytes(args[i]);
        manifest->args_bytes = (manifest->args_bytes + size - 1) / size * size + size;
    }
    manifest->args_bytes = (manifest->args_bytes + 7) / 8 * 8;
    mj_config_set(&manifest->config, "tile_m", tile, NULL);
    mj_config_set(&manifest->config, "stages", 4, NULL);
    snprintf(manifest->symbol, sizeof manifest->symbol, "moejit_%s", mj_op_name(op));
    strcpy(manifest->family, "mma");
    strcpy(manifest->arch, "sm_90a");
    strcpy(manifest->compile_target, "sm_90a");
    memset(manifest->source_sha256, 'b', 64);
    return choice;
}

static void add_row(mj_store_file *file, uint32_t tokens, const char *routing, int tile)
{
    mj_store_row *row = mj_store_row_at(file, tokens, routing);
    row->gemm1 = sample_choice(MJ_OP_GEMM1, tile);
    row->gemm2 = sample_choice(MJ_OP_GEMM2, tile);
    if (tokens == 16) { /* rows may have these two */
        row->gemm1_act = sample_choice(MJ_OP_GEMM1_ACT, tile);
        row->activation = sample_choice(MJ_OP_ACTIVATION, 2);
    }
}

static mj_store_file sample_file(void)
{
    mj_store_file file = {
        .problem = sample_problem(), .memory_gbps = 4300.5, .matrix_tflops = 780, .matrix_product = "e4m3"};
    file.identity = (mj_identity){.device = "NVIDIA H200",
                                  .arch = "sm_90a",
                                  .sm_count = 132,
                                  .memory_bytes = 150000000000,
                                  .driver = "cuda 13.0",
                                  .compiler = "nvrtc 13.0",
                                  .generator_version = MJ_GENERATOR_VERSION};
    file.ops[MJ_OP_TABLES] = sample_choice(MJ_OP_TABLES, 1);
    file.ops[MJ_OP_ACTIVATION] = sample_choice(MJ_OP_ACTIVATION, 2);
    file.ops[MJ_OP_COMBINE] = sample_choice(MJ_OP_COMBINE, 3);
    add_row(&file, 128, "uniform", 128);
    add_row(&file, 1, "zipf1", 16);
    add_row(&file, 1, "uniform", 32);
    add_row(&file, 16, "uniform", 64);
    return file;
}

TEST(file_names)
{
    char name[256];
    mj_error error = {0};
    mj_problem problem = sample_problem();
    CHECK_STATUS(mj_store_file_name(&problem, "NVIDIA H200", name, sizeof name, &error), MJ_OK);
    CHECK_STRING(name, "E=8,N=7168,H=4096,topk=2,device_name=NVIDIA_H200,dtype=bf16.moejit.json");
    CHECK_STATUS(mj_store_file_name(&problem, "../../etc/pass wd%s\n,=x", name, sizeof name, &error), MJ_OK);
    CHECK_STRING(name, "E=8,N=7168,H=4096,topk=2,device_name=.._.._etc_pass_wd_s___x,dtype=bf16.moejit.json");
    CHECK_STATUS(mj_store_file_name(&problem, "", name, sizeof name, &error), MJ_OK);
    CHECK_CONTAINS(name, "device_name=unknown,");
    problem.expert_total_count = 16;
    problem.gated = false;
    problem.bias = true;
    problem.activation = MJ_ACT_RELU2;
    strcpy(problem.layout, "packed");
    CHECK_STATUS(mj_store_file_name(&problem, "A", name, sizeof name, &error), MJ_OK);
    CHECK_STRING(name, "E=8,N=7168,H=4096,topk=2,device_name=A,dtype=bf16,experts=16,gated=0,act=relu2,bias=1,layout="
                       "packed.moejit.json");
    CHECK_STATUS(mj_store_file_name(&problem, "A", name, 40, &error), MJ_ERR_CAPACITY);
    char device[400];
    memset(device, 'd', sizeof device - 1);
    device[sizeof device - 1] = '\0';
    CHECK_STATUS(mj_store_file_name(&problem, device, name, sizeof name, &error), MJ_OK);
    CHECK(strlen(name) <= 240);
    strcpy(problem.layout, "a/b");
    CHECK_STATUS(mj_store_file_name(&problem, "A", name, sizeof name, &error), MJ_ERR_CAPACITY);
}

TEST(rows_are_kept_sorted)
{
    static const char *const want[] = {"1 uniform", "1 zipf1", "16 uniform", "128 uniform"};
    char got[64];
    mj_store_file file = sample_file();
    CHECK_INT(file.row_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(got, sizeof got, "%u %s", file.rows[i].token_count, file.rows[i].routing);
        CHECK_STRING(got, want[i]);
    }
    CHECK(mj_store_row_at(&file, 16, "uniform") == &file.rows[2]);
    CHECK_INT(file.row_count, 4);
    CHECK(!mj_store_row_at(&file, 1, "a-name-that-is-longer-than-any-routing-has"));
    mj_store_file_free(&file);
}

TEST(round_trip_is_byte_stable)
{
    mj_error error = {0};
    mj_store_file file = sample_file(), again = {0};
    temp_folder_make();
    const char *path = temp_path("a.moejit.json");
    CHECK_STATUS(mj_store_save(path, &file, &error), MJ_OK);
    char *first = temp_read(path, NULL);
    CHECK_STATUS(mj_store_load(path, &again, &error), MJ_OK);
    CHECK_INT(again.row_count, 4);
    CHECK_STRING(again.rows[1].routing, "zipf1");
    CHECK(again.rows[0].gemm1.time_us_median == 123.456 && again.rows[0].gemm2.verified);
    CHECK(again.rows[2].gemm1_act.verified && again.rows[2].activation.present && !again.rows[0].gemm1_act.present);
    const char *fused = strstr(strstr(first, "\"rows\""), "\"gemm1_act\": {");
    const char *alone = fused ? strstr(fused, "\"activation\": {") : NULL;
    CHECK(alone && strstr(alone, "\"gemm2\": {") && strstr(alone, "\"128\": {")); /* in the order of the ops */
    CHECK_STRING(again.rows[0].gemm1.failed_reasons, "timeout: 2; wrong result: 1");
    CHECK_INT(again.rows[0].gemm1.failed, 3);
    CHECK_INT(again.rows[0].gemm1.manifest.config.count, 2);
    CHECK_STRING(again.identity.device, "NVIDIA H200");
    CHECK_INT(again.identity.memory_bytes, 150000000000);
    CHECK(again.ops[MJ_OP_COMBINE].present && !again.ops[MJ_OP_FILL].present);
    CHECK(again.matrix_tflops == 780);
    CHECK_STRING(again.matrix_product, "e4m3"); /* bf16 where an older file has none: test_verify */
    for (int i = 0; i < 2; i++) {               /* over itself, and from nothing */
        CHECK_STATUS(mj_store_save(path, &again, &error), MJ_OK);
        char *second = temp_read(path, NULL);
        CHECK_STRING(second, first);
        free(second);
        CHECK(unlink(path) == 0);
    }
    CHECK_INT(temp_count_files(), 0);
    free(first);
    mj_store_file_free(&file);
    mj_store_file_free(&again);
}

TEST(odd_values_survive)
{
    mj_error error = {0};
    mj_store_file file = {.problem = sample_problem()}, again = {0};
    strcpy(file.identity.device, "quote \" backslash \\ \xc3\xa9");
    add_row(&file, 1, "uniform", 16);
    file.rows[0].gemm1.seed = UINT64_MAX;
    file.rows[0].gemm2.seed = ((uint64_t)1 << 53) - 1; /* a number of 16 digits */
    file.rows[0].gemm1.time_us_median = 0.1 + 0.2;
    file.rows[0].gemm1.failed = 10;
    strcpy(file.rows[0].gemm1.failed_reasons, "no such form");
    char *text = mj_store_print(&file);
    CHECK(text);
    CHECK_STATUS(mj_store_parse(text, strlen(text), "t", &again, &error), MJ_OK);
    CHECK(again.rows[0].gemm1.seed == UINT64_MAX);
    CHECK(again.rows[0].gemm2.seed == ((uint64_t)1 << 53) - 1);
    CHECK(fabs(again.rows[0].gemm1.time_us_median - (0.1 + 0.2)) < 1e-15);
    CHECK_STRING(again.rows[0].gemm1.failed_reasons, "other: 10"); /* the count is never lost */
    CHECK_STRING(again.identity.device, file.identity.device);
    free(text);
    mj_store_file_free(&again);
    temp_folder_make();
    file.rows[0].gemm1.time_us_median = NAN; /* what cannot be read back is not written */
    CHECK_STATUS(mj_store_save(temp_path("x"), &file, &error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(error.text, "rows.1.uniform.gemm1.time_us_median");
    CHECK_INT(temp_count_files(), 0);
    mj_store_file_free(&file);
}

/* ---- Damage ----------------------------------------------------------------------------------- */

/* The sample's text with the value at `path` (keys by '/') replaced, or removed if `value` is NULL. */
static char *edited(const mj_json *root, const char *path, const char *value)
{
    mj_json *copy = mj_json_copy(root), *at = copy, *parent = NULL, *fresh = NULL;
    char keys[256], *rest = keys, *key = NULL;
    snprintf(keys, sizeof keys, "%s", path);
    while ((key = strsep(&rest, "/"))) {
        parent = at;
        if (!rest) {
            break;
        }
        at = mj_json_get(at, key);
    }
    if (!value) {
        mj_json_remove(parent, key);
    } else if (mj_json_parse(value, strlen(value), "value", &fresh, NULL) == MJ_OK) {
        mj_json_add(parent, key, fresh);
    }
    /* So that the value itself is refused. */
    mj_json_remove(strcmp(key, "manifest_sha256") != 0 ? parent : NULL, "manifest_sha256");
    char *text = mj_json_print(copy, false);
    mj_json_free(copy);
    return text;
}

static void refuse(const mj_json *root, const char *path, const char *value, mj_status want)
{
    char dotted[256];
    mj_error error = {0};
    mj_store_file file;
    char *text = edited(root, path, value);
    mj_status status = mj_store_parse(text, strlen(text), "a.moejit.json", &file, &error);
    snprintf(dotted, sizeof dotted, "%s", path);
    for (char *c = dotted; *c; c++) {
        *c = *c == '/' ? '.' : *c;
    }
    bool named = strstr(error.text, dotted) && strncmp(error.text, "a.moejit.json: ", 15) == 0;
    if (status != want || (want == MJ_ERR_FORMAT && !named)) {
        check_fail(__FILE__, __LINE__, "%s = %s: status %d, \"%s\"", path, value ? value : "(removed)", status,
                   error.text);
    }
    if (status == MJ_OK) {
        mj_store_file_free(&file);
    }
    free(text);
}

/* Every key of the file removed, and given every wrong type. */
static void damage_below(const mj_json *root, const mj_json *object, const char *outer)
{
    static const char *const optional[] = {"version", "tables",       "activation", "combine",  "gemm1", "gemm1_act",
                                           "gemm2",   "uniform",      "zipf1",      "1",        "16",    "128",
                                           "timeout", "wrong result", "samples",    "launches", "bytes", "operations",
                                           "manifest_sha256"};
    for (const mj_json *child = mj_json_first(object); child; child = mj_json_next(child)) {
        char path[256];
        const char *key = mj_json_key(child);
        bool must = true;
        snprintf(path, sizeof path, "%s%s%s", outer, outer[0] ? "/" : "", key);
        for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
            must &= strcmp(key, optional[i]) != 0;
        }
        bool in_config = strstr(path, "config/") != NULL;
        if (must && !in_config) {
            refuse(root, path, NULL, MJ_ERR_FORMAT);
        }
        if (strcmp(key, "version") != 0 && !in_config) {
            refuse(root, path, "[]", MJ_ERR_FORMAT);
            refuse(root, path, "null", MJ_ERR_FORMAT);
            refuse(root, path, mj_json_is_string(child) ? "1" : "\"1x\"", MJ_ERR_FORMAT);
        }
        if (mj_json_is_number(child) && !in_config) {
            refuse(root, path, "-1", MJ_ERR_FORMAT);
            refuse(root, path, "1e300", MJ_ERR_FORMAT);
        }
        if (mj_json_is_object(child)) {
            damage_below(root, child, path);
        }
    }
}

TEST(every_damaged_key_is_named)
{
    mj_store_file file = {.problem = sample_problem()};
    strcpy(file.identity.arch, "sm_90a");
    file.ops[MJ_OP_TABLES] = sample_choice(MJ_OP_TABLES, 1);
    add_row(&file, 16, "uniform", 64);
    mj_json *root = mj_store_to_json(&file);
    CHECK(root);
    damage_below(root, root, "");
    mj_json_free(root);
    mj_store_file_free(&file);
}

TEST(wrong_values_are_named)
{
    static const struct {
        const char *path, *value;
    } bad[] = {
        {"problem", "\"E=0/0,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default\""},
        {"problem", "\"E=8/8,topk=9999999999,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default\""},
        {"rows/0", "{}"},
        {"rows/-1", "{}"},
        {"rows/01", "{}"},
        {"rows/1e3", "{}"},
        {"rows/x", "{}"},
        {"rows/4294967297", "{}"},
        {"rows/99999999999999999999", "{}"},
        {"rows/2147483648", "{}"},
        {"rows/ 1", "{}"},
        {"rows/16/Bad Name", "{}"},
        {"rows/16/..", "[]"},
        {"rows/16/0123456789012345678901234567890123", "{}"},
        {"rows/16/uniform/gemm1/cache_key", "\"../../x\""},
        {"rows/16/uniform/gemm1/family", "\"reference\""},
        {"rows/16/uniform/gemm1/config", "{\"tile_m\":1,\"stages\":4}"},
        {"rows/16/uniform/gemm1/config", "{}"},
        {"rows/16/uniform/gemm1/manifest/op", "\"gemm1_act\""},
        {"rows/16/uniform/gemm1/manifest/problem",
         "\"E=4/4,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default\""},
        {"rows/16/uniform/gemm1/seed", "\"18446744073709551616\""},
        {"rows/16/uniform/gemm1/seed", "\"-1\""},
        {"rows/16/uniform/gemm1/seed", "\"007\""},
        {"rows/16/uniform/gemm1/seed", "\"\""},
        {"rows/16/uniform/gemm1/seed", "1.5"},
        {"rows/16/uniform/gemm1/tried", "4294967296"},
        {"rows/16/uniform/gemm1/failed/timeout", "4294967295"},
        {"rows/16/uniform/gemm1/time_us_median", "1e16"},
        {"identity/sm_count", "4294967296"},
        {"identity/generator", "0.5"},
    };
    mj_store_file file = sample_file();
    mj_json *root = mj_store_to_json(&file);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s", bad[i].path);
        bool sum_at_parent = strstr(path, "failed/timeout") != NULL; /* the sum is too large, not the one count */
        char *text = edited(root, path, bad[i].value);
        mj_error error = {0};
        mj_store_file out;
        mj_status status = mj_store_parse(text, strlen(text), "f", &out, &error);
        for (char *c = path; *c; c++) {
            *c = *c == '/' ? '.' : *c;
        }
        if (sum_at_parent) {
            *strrchr(path, '.') = '\0';
        }
        if (status != MJ_ERR_FORMAT || !strstr(error.text, path)) {
            check_fail(__FILE__, __LINE__, "%s = %s: status %d \"%s\"", bad[i].path, bad[i].value, status, error.text);
        }
        free(text);
    }
    mj_json_free(root);
    mj_store_file_free(&file);
}

TEST(duplicate_rows_are_refused)
{
    mj_error error = {0};
    mj_store_file file = sample_file(), out;
    char *text = mj_store_print(&file);
    char *row = strstr(text, "\"128\"");
    CHECK(row);
    memcpy(row, "\"16\" ", 5); /* a second "16" */
    CHECK_STATUS(mj_store_parse(text, strlen(text), "f", &out, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "16: the key appears twice");
    free(text);
    mj_store_file_free(&file);
}

/* Any one byte flipped: an error with a text, or a file that is still whole; never a crash (run under sanitizers). */
TEST(bit_flips)
{
    mj_store_file file = {.problem = sample_problem()}, out;
    add_row(&file, 16, "uniform", 64);
    char *text = mj_store_print(&file);
    size_t bytes = strlen(text);
    for (size_t i = 0; i < bytes; i++) {
        mj_error error = {0};
        text[i] = (char)(text[i] ^ (1 << (i % 7)));
        mj_status status = mj_store_parse(text, bytes, "f", &out, &error);
        text[i] = (char)(text[i] ^ (1 << (i % 7)));
        if (status == MJ_OK) {
            mj_store_file_free(&out);
        } else if (!error.text[0]) {
            check_fail(__FILE__, __LINE__, "no reason for byte %zu", i);
        }
    }
    for (size_t cut = 0; cut + 2 < bytes; cut += 3) {
        CHECK_STATUS(mj_store_parse(text, cut, "f", &out, NULL), MJ_ERR_FORMAT);
    }
    free(text);
    mj_store_file_free(&file);
}

TEST(other_versions_stay)
{
    mj_error error = {0};
    mj_store_file file = sample_file(), out;
    temp_folder_make();
    const char *path = temp_path("a.moejit.json"), other[] = "{\"moejit_store\": 2, \"whatever\": []}";
    temp_write(path, other, strlen(other));
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_ERR_VERSION);
    CHECK_CONTAINS(error.text, "a.moejit.json: written in store format 2");
    CHECK_STATUS(mj_store_save(path, &file, &error), MJ_ERR_VERSION);
    char *text = temp_read(path, NULL);
    CHECK_STRING(text, other);
    free(text);
    CHECK_STATUS(mj_store_replace(path, &file, &error), MJ_OK); /* by force */
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
    mj_store_file_free(&out);
    mj_store_file_free(&file);
    CHECK_STATUS(mj_store_load(temp_path("none"), &out, &error), MJ_ERR_NOT_FOUND);
}

/* ---- Saving over what is there ---------------------------------------------------------------- */

TEST(unknown_keys_are_kept)
{
    mj_error error = {0};
    mj_store_file file = sample_file(), out;
    temp_folder_make();
    const char *path = temp_path("a.moejit.json");
    mj_json *root = mj_store_to_json(&file);
    mj_json *row = mj_json_get(mj_json_get(mj_json_get(root, "rows"), "16"), "uniform");
    CHECK(mj_json_add_string(root, "note", "mine") && mj_json_add_int(row, "my_row_key", 7) &&
          mj_json_add_bool(mj_json_get(row, "gemm1"), "my_choice_key", true));
    char *text = mj_json_print(root, true);
    temp_write(path, text, strlen(text));
    free(text);
    mj_json_free(root);
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
    mj_store_row_at(&out, 16, "uniform")->gemm1.time_us_median = 1;
    mj_store_row_at(&out, 16, "uniform")->gemm1.failed = 0; /* old reasons must not come back */
    mj_store_row_at(&out, 16, "uniform")->gemm1.failed_reasons[0] = '\0';
    CHECK_STATUS(mj_store_save(path, &out, &error), MJ_OK);
    text = temp_read(path, NULL);
    CHECK_CONTAINS(text, "\"note\": \"mine\"");
    CHECK_CONTAINS(text, "\"my_row_key\": 7");
    CHECK_CONTAINS(text, "\"my_choice_key\": true");
    free(text);
    mj_store_file_free(&out);
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
    CHECK(mj_store_row_at(&out, 16, "uniform")->gemm1.time_us_median == 1);
    CHECK_INT(mj_store_row_at(&out, 16, "uniform")->gemm1.failed, 0);
    mj_store_file_free(&out);
    mj_store_file_free(&file);
}

TEST(rows_of_another_process_are_kept)
{
    mj_error error = {0};
    mj_store_file mine = {0}, out;
    mj_store_file theirs = sample_file();
    temp_folder_make();
    const char *path = temp_path("a.moejit.json");
    mine.problem = theirs.problem;
    mine.identity = theirs.identity;
    add_row(&mine, 2, "uniform", 16);
    CHECK_STATUS(mj_store_save(path, &theirs, &error), MJ_OK);
    CHECK_STATUS(mj_store_save(path, &mine, &error), MJ_OK);
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
    CHECK_INT(out.row_count, 5);
    CHECK(out.ops[MJ_OP_TABLES].present);
    mj_store_file_free(&out);
    strcpy(mine.identity.driver, "cuda 14.0"); /* their times mean nothing now */
    CHECK_STATUS(mj_store_save(path, &mine, &error), MJ_OK);
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
    CHECK_INT(out.row_count, 1);
    mj_store_file_free(&out);
    mine.problem.hidden *= 2;
    mine.rows[0].gemm1.present = mine.rows[0].gemm2.present = false;
    CHECK_STATUS(mj_store_save(path, &mine, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "another problem");
    mj_store_file_free(&theirs);
    mj_store_file_free(&mine);
}

TEST(eight_processes_lose_no_row)
{
    enum { PROCESSES = 8, ROWS = 2 };
    mj_store_file out;
    temp_folder_make();
    for (int p = 0; p < PROCESSES; p++) {
        if (fork() == 0) {
            int bad = 0;
            for (uint32_t r = 0; r < ROWS; r++) {
                mj_store_file file = {.problem = sample_problem()};
                add_row(&file, 1 + (uint32_t)p * ROWS + r, "uniform", 16);
                bad |= mj_store_save(temp_path("a.moejit.json"), &file, NULL) != MJ_OK;
                mj_store_file_free(&file);
            }
            _exit(bad);
        }
    }
    int failed = 0;
    for (int p = 0; p < PROCESSES; p++) {
        int how = 0;
        wait(&how);
        failed += !WIFEXITED(how) || WEXITSTATUS(how) != 0;
    }
    CHECK_INT(failed, 0);
    CHECK_STATUS(mj_store_load(temp_path("a.moejit.json"), &out, NULL), MJ_OK);
    CHECK_INT(out.row_count, PROCESSES * ROWS);
    mj_store_file_free(&out);
}

TEST(a_damaged_file_is_kept_aside)
{
    mj_error error = {0};
    mj_store_file file = sample_file(), out;
    static const char damaged[] = "{\"moejit_store\": 1, \"problem\": ";
    temp_folder_make();
    temp_write(temp_path("a.moejit.json"), damaged, sizeof damaged - 1);
    CHECK_STATUS(mj_store_save(temp_path("a.moejit.json"), &file, &error), MJ_OK);
    CHECK_STATUS(mj_store_load(temp_path("a.moejit.json"), &out, &error), MJ_OK);
    char *aside = temp_read(temp_path("a.moejit.json.damaged"), NULL);
    CHECK_STRING(aside, damaged);
    free(aside);
    mj_store_file_free(&out);
    mj_store_file_free(&file);
}

TEST(leftovers_of_killed_writers_go)
{
    mj_store_file file = sample_file();
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    temp_folder_make();
    static const struct {
        const char *name;
        bool is_old, stays;
    } rows[] = {
        {"a.moejit.json.tmpabcdef", true, false},
        {"a.moejit.json.tmpabcdeg", false, true}, /* its writer may live */
        {"b.moejit.json.tmpabcdef", true, true},  /* another file's */
        {"a.moejit.json.backup", true, true},
    };
    for (size_t i = 0; i < 4; i++) {
        temp_write(temp_path(rows[i].name), "x", 1);
        if (rows[i].is_old) {
            CHECK(utimensat(AT_FDCWD, temp_path(rows[i].name), old, 0) == 0);
        }
    }
    CHECK_STATUS(mj_store_save(temp_path("a.moejit.json"), &file, NULL), MJ_OK);
    for (size_t i = 0; i < 4; i++) {
        CHECK((access(temp_path(rows[i].name), F_OK) == 0) == rows[i].stays);
    }
    mj_store_file_free(&file);
}

/* ---- Failures while writing ------------------------------------------------------------------- */

TEST(disk_full_leaves_the_old_file)
{
    struct rlimit before, small;
    mj_error error = {0};
    mj_store_file file = sample_file(), out;
    temp_folder_make();
    const char *path = temp_path("a.moejit.json");
    CHECK_STATUS(mj_store_save(path, &file, &error), MJ_OK);
    char *old = temp_read(path, NULL);
    add_row(&file, 4096, "uniform", 16);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = before;
    small.rlim_cur = 1000;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    mj_status status = mj_store_save(path, &file, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_INT(status, MJ_ERR_IO);
    for (long step = 1; step < 100; step++) {
        os_faults_at(step, ENOSPC);
        status = mj_store_save(path, &file, &error);
        long steps = os_faults.step;
        os_faults_clear();
        if (steps < step) {
            break;
        }
        char *now = temp_read(path, NULL);
        bool is_old = strcmp(now, old) == 0;
        free(now);
        CHECK(status == MJ_ERR_IO || (status == MJ_OK && !is_old)); /* MJ_OK: only the clearing up failed */
        CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
        CHECK(is_old || out.row_count == 5); /* new only when all but the folder's sync was done */
        mj_store_file_free(&out);
    }
    CHECK_STATUS(mj_store_load(path, &out, &error), MJ_OK);
    CHECK_INT(out.row_count, 5);
    CHECK_INT(temp_count_files(), 1);
    free(old);
    mj_store_file_free(&out);
    mj_store_file_free(&file);
}

static void save_more(void *user)
{
    mj_store_file file = sample_file();
    add_row(&file, 4096, "uniform", 16);
    mj_store_save(user, &file, NULL);
    mj_store_file_free(&file);
}

TEST(killed_at_every_step)
{
    char path[600];
    mj_store_file file = sample_file(), out;
    int deaths = 0;
    temp_folder_make();
    snprintf(path, sizeof path, "%s", temp_path("a.moejit.json"));
    for (long step = 1;; step++) {
        CHECK_STATUS(mj_store_replace(path, &file, NULL), MJ_OK);
        bool died = os_faults_killed_at(step, save_more, path);
        CHECK_STATUS(mj_store_load(path, &out, NULL), MJ_OK);
        CHECK(out.row_count == 5 || (died && out.row_count == 4));
        mj_store_file_free(&out);
        deaths += died;
        if (!died) {
            break;
        }
    }
    CHECK(deaths >= 8); /* open, read, read, then the six of a write */
    mj_store_file_free(&file);
}

TEST(identities)
{
    char difference[128];
    mj_store_file file = sample_file();
    mj_identity a = file.identity, b = a;
    mj_store_file_free(&file);
    CHECK(mj_identity_equal(&a, &b, difference, sizeof difference));
    CHECK_STRING(difference, "");
    b.memory_bytes += b.memory_bytes / 100;
    CHECK(mj_identity_equal(&a, &b, NULL, 0));
    b.memory_bytes = a.memory_bytes / 2; /* the same name, half of it: a partition */
    CHECK(!mj_identity_equal(&a, &b, difference, sizeof difference));
    CHECK_STRING(difference, "memory_bytes: 150000000000, not 75000000000");
    const struct {
        const char *name;
        size_t offset;
    } words[] = {{"device", offsetof(mj_identity, device)},
                 {"arch", offsetof(mj_identity, arch)},
                 {"driver", offsetof(mj_identity, driver)},
                 {"compiler", offsetof(mj_identity, compiler)}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        b = a;
        ((char *)&b)[words[i].offset] = '\0';
        CHECK(!mj_identity_equal(&a, &b, difference, sizeof difference));
        CHECK_CONTAINS(difference, words[i].name);
        CHECK_CONTAINS(difference, "not none");
    }
    b = a;
    b.sm_count = 66;
    CHECK(!mj_identity_equal(&a, &b, difference, sizeof difference));
    CHECK_STRING(difference, "sm_count: 132, not 66");
    b = a;
    b.generator_version++;
    CHECK(!mj_identity_equal(&a, &b, difference, 8)); /* cut, not overrun */
    CHECK_STRING(difference, "generat");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(file_names);
    RUN(rows_are_kept_sorted);
    RUN(round_trip_is_byte_stable);
    RUN(odd_values_survive);
    RUN(every_damaged_key_is_named);
    RUN(wrong_values_are_named);
    RUN(duplicate_rows_are_refused);
    RUN(bit_flips);
    RUN(other_versions_stay);
    RUN(unknown_keys_are_kept);
    RUN(rows_of_another_process_are_kept);
    RUN(eight_processes_lose_no_row);
    RUN(a_damaged_file_is_kept_aside);
    RUN(leftovers_of_killed_writers_go);
    RUN(disk_full_leaves_the_old_file);
    RUN(killed_at_every_step);
    RUN(identities);
    temp_folder_remove();
    return CHECK_END();
}
