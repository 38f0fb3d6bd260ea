/* test_context.c: contexts, devices and the cached compile over the scripted backend; every allocation failing in turn. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>

#include "check.h"
#include "context.h"
#include "null_script.h"
#include "store.h"
#include "temp_folder.h"

/* ---- An allocator that fails on demand and keeps count ---------------------------------------- */

typedef struct counted {
    long calls, fail_at; /* 0: never */
    bool fail_later_too;
    long live;
    char last_line[512];
    int lines;
} counted;

static void *counted_allocate(void *user, void *pointer, size_t bytes)
{
    counted *state = user;
    if (bytes == 0) {
        state->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    state->calls++;
    if (state->fail_at &&
        (state->calls == state->fail_at || (state->fail_later_too && state->calls > state->fail_at))) {
        return NULL;
    }
    void *result = realloc(pointer, bytes);
    state->live += !pointer && result;
    return result;
}

static void counted_log(void *user, int level, const char *line)
{
    counted *state = user;
    (void)level;
    snprintf(state->last_line, sizeof state->last_line, "%s", line);
    state->lines++;
}

static int open_files(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) {
        count++;
    }
    if (folder) {
        closedir(folder);
    }
    return count;
}

static mj_context_options options_for(counted *state)
{
    return (mj_context_options){.allocate = counted_allocate,
                                .log = counted_log,
                                .user = state,
                                .log_level = 3,
                                .cache_dir = temp_path("cache"),
                                .store_dir = temp_path("store")};
}

/* ---- Options ---------------------------------------------------------------------------------- */

TEST(options_come_before_the_environment)
{
    mj_context *context = NULL;
    mj_error error = {0};
    setenv("HOME", "/home/u", 1);
    setenv("XDG_DATA_HOME", "/xdg/data", 1);
    setenv("MOEJIT_CACHE_DIR", "/env/cache", 1);
    setenv("MOEJIT_NVRTC", "/env/libnvrtc.so", 1);
    setenv("MOEJIT_CC", "", 1);
    unsetenv("MOEJIT_STORE_DIR");
    unsetenv("MOEJIT_DATA_DIR");
    CHECK_STATUS(mj_context_create(NULL, &context, &error), MJ_OK);
    CHECK_STRING(context->cache_dir, "/env/cache");
    CHECK_STRING(context->store_dir, "/xdg/data/moejit");
    CHECK_STRING(context->nvrtc_path, "/env/libnvrtc.so");
    CHECK(!context->cc_path && !context->data_dir);
    CHECK(context->options.cache_bytes_max == (uint64_t)2 << 30);
    mj_context_destroy(context);
    char cache[] = "/option/cache", data[] = "/option/data";
    mj_context_options options = {.cache_dir = cache, .store_dir = "", .data_dir = data, .cc_path = "/option/cc"};
    CHECK_STATUS(mj_context_create(&options, &context, &error), MJ_OK);
    memset(cache, 'x', 5); /* the caller's strings may go away */
    CHECK_STRING(context->cache_dir, "/option/cache");
    CHECK_STRING(context->options.cache_dir, "/option/cache");
    CHECK_STRING(context->data_dir, "/option/data");
    CHECK_STRING(context->cc_path, "/option/cc");
    CHECK(!context->store_dir); /* "": none at all */
    mj_context_destroy(context);
    unsetenv("MOEJIT_CACHE_DIR");
    unsetenv("MOEJIT_NVRTC");
    unsetenv("MOEJIT_CC");
    CHECK_STATUS(mj_context_create(NULL, NULL, &error), MJ_ERR_ARGUMENT);
    mj_context_destroy(NULL);
    CHECK_STRING(mj_version(), MOEJIT_VERSION_STRING);
}

TEST(a_folder_name_that_is_too_long)
{
    static char folder[5000];
    mj_context *context = NULL;
    counted state = {0};
    memset(folder, 'a', sizeof folder - 1);
    folder[0] = '/';
    mj_context_options options = {.cache_dir = folder, .store_dir = folder, .log = counted_log, .user = &state};
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK); /* works, without a cache */
    CHECK(!context->cache);
    CHECK_CONTAINS(state.last_line, "too long");
    mj_context_destroy(context);
}

TEST(the_log_is_filtered)
{
    counted state = {0};
    mj_context *context = NULL;
    temp_folder_make();
    mj_context_options options = options_for(&state);
    options.log_level = 1;
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    mj_log(context, 2, "too detailed");
    CHECK_INT(state.lines, 0);
    mj_log(context, 1, "%s %d", "seen", 7);
    CHECK_STRING(state.last_line, "seen 7");
    char large[4000];
    memset(large, 'y', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    mj_log(context, 0, "%s", large); /* cut, not overrun */
    CHECK_INT(state.lines, 2);
    mj_context_destroy(context);
}

/* ---- Devices ---------------------------------------------------------------------------------- */

TEST(device_ids)
{
    static const struct {
        const char *id;
        mj_status want;
        const char *part;
    } rows[] = {
        {"cud:0", MJ_ERR_NO_DEVICE, "did you mean cuda?"},
        {"bset", MJ_ERR_NO_DEVICE, "did you mean best?"},
        {"", MJ_ERR_NO_DEVICE, "an id is"},
        {"null:x", MJ_ERR_ARGUMENT, "a number"},
        {"null:", MJ_ERR_ARGUMENT, "a number"},
        {"null:-1", MJ_ERR_ARGUMENT, "a number"},
        {"null:1x", MJ_ERR_ARGUMENT, "a number"},
        {"null:99999999999999999999", MJ_ERR_ARGUMENT, "a number"},
        {"null:2", MJ_ERR_NO_DEVICE, "there are 2, null:0 and on"},
        {"null:9999", MJ_ERR_NO_DEVICE, "there are 2"},
        {"../null", MJ_ERR_NO_DEVICE, "../null"},
    };
    counted state = {0};
    mj_context *context = NULL;
    mj_device *device = NULL;
    temp_folder_make();
    setenv("MOEJIT_NULL_SCRIPT", "devices=2", 1);
    mj_context_options options = options_for(&state);
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mj_error error = {0};
        device = (mj_device *)&state;
        mj_status status = mj_device_open(context, rows[i].id, &device, &error);
        if (status != rows[i].want || device || !strstr(error.text, rows[i].part)) {
            check_fail(__FILE__, __LINE__, "\"%s\": status %d \"%s\"", rows[i].id, status, error.text);
        }
    }
    CHECK_STATUS(mj_device_open(context, "null:1", &device, NULL), MJ_OK);
    CHECK_STRING(mj_device_get_info(device)->id, "null:1");
    mj_device_close(device);
    CHECK_STATUS(mj_device_open(context, "null", &device, NULL), MJ_OK);
    CHECK_STRING(mj_device_get_info(device)->id, "null:0");
    mj_device_close(device);
    mj_device_close(NULL);
    CHECK(mj_device_get_info(NULL) == NULL);
    void *made = &state; /* whatever is wrong: nothing is made */
    device = (mj_device *)&state;
    CHECK_STATUS(mj_device_open(NULL, "cpu", &device, NULL), MJ_ERR_ARGUMENT);
    CHECK(!device);
    device = (mj_device *)&state;
    CHECK_STATUS(mj_device_open(context, NULL, &device, NULL), MJ_ERR_ARGUMENT);
    CHECK(!device);
    CHECK_STATUS(mj_device_open(context, "cpu", NULL, NULL), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_memory_alloc(NULL, 1, &made, NULL), MJ_ERR_ARGUMENT);
    CHECK(!made);
    made = &state;
    CHECK_STATUS(mj_stream_create(NULL, &made, NULL), MJ_ERR_ARGUMENT);
    CHECK(!made);
    mj_context_destroy(context);
    CHECK_INT(state.live, 0);
    unsetenv("MOEJIT_NULL_SCRIPT");
}

TEST(the_list_ends_with_the_cpu)
{
    counted state = {0};
    mj_context *context = NULL;
    mj_device_info infos[16];
    uint32_t count = 0, again = 0;
    temp_folder_make();
    mj_context_options options = options_for(&state);
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    CHECK_STATUS(mj_device_list(context, infos, 16, &count, NULL), MJ_OK);
    CHECK(count >= 1 && count <= 16);
    CHECK_STRING(infos[count - 1].id, "cpu");
    CHECK_STRING(infos[count - 1].arch, "cpu");
    for (uint32_t i = 0; i < count; i++) {
        CHECK(strncmp(infos[i].id, "null", 4) != 0); /* scripted devices are never picked */
    }
    CHECK_STATUS(mj_device_list(context, NULL, 0, &again, NULL), MJ_OK);
    CHECK_INT(again, count);
    CHECK_STATUS(mj_device_list(context, NULL, 1, &again, NULL), MJ_ERR_ARGUMENT);
    mj_context_destroy(context);
    CHECK_INT(state.live, 0);
}

TEST(an_open_cpu)
{
    counted state = {0};
    mj_context *context = NULL;
    mj_device *device = NULL;
    mj_error error = {0};
    mj_identity identity;
    temp_folder_make();
    mj_context_options options = options_for(&state);
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    mj_status status = mj_device_open(context, "cpu", &device, &error);
    if (status == MJ_ERR_NO_DEVICE) {
        mj_context_destroy(context);
        SKIP("no C compiler");
    }
    CHECK_INT(status, MJ_OK);
    CHECK_STATUS(mj_device_identity(device, &identity, &error), MJ_OK);
    CHECK(identity.device[0] && identity.driver[0] && identity.memory_bytes > 0 && identity.sm_count > 0);
    CHECK_STRING(identity.arch, "cpu");
    CHECK_INT(identity.generator_version, MJ_GENERATOR_VERSION);
#if MOEJIT_GENERATOR
    CHECK(device->shape.memory_gbps > 0 && device->shape.matrix_tflops > 0); /* what an estimate needs */
#endif
    CHECK_INT(device->shape.sm_count ? device->shape.sm_count : identity.sm_count, identity.sm_count);
    void *memory = NULL;
    char there[16] = "fifteen letters", back[16] = "";
    CHECK_STATUS(mj_memory_alloc(device, 0, &memory, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_memory_alloc(device, SIZE_MAX - 100, &memory, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK(!memory);
    CHECK_STATUS(mj_memory_alloc(device, sizeof there, &memory, &error), MJ_OK);
    CHECK_STATUS(mj_memory_upload(device, memory, there, sizeof there, &error), MJ_OK);
    CHECK_STATUS(mj_memory_download(device, back, memory, sizeof back, &error), MJ_OK);
    CHECK_STRING(back, there);
    CHECK_STATUS(mj_memory_upload(device, NULL, there, 1, &error), MJ_ERR_ARGUMENT);
    CHECK_STATUS(mj_memory_upload(device, NULL, NULL, 0, &error), MJ_OK);
    CHECK_STATUS(mj_stream_sync(device, NULL, &error), MJ_OK);
    mj_memory_free(device, memory);
    mj_memory_free(device, NULL);
    mj_device_close(device);
    mj_context_destroy(context);
    CHECK_INT(state.live, 0);
}

/* A vendor that fails hides its own devices only; each failure of opening leaves nothing behind. */
TEST(a_failing_device)
{
    static const char *const scripts[] = {"device_count=IO", "device_info=DEVICE", "device_open=NO_DEVICE",
                                          "device_open=DEVICE_LOST"};
    static const mj_status want[] = {MJ_ERR_IO, MJ_ERR_DEVICE, MJ_ERR_NO_DEVICE, MJ_ERR_DEVICE_LOST};
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        counted state = {0};
        mj_context *context = NULL;
        mj_device *device = NULL;
        temp_folder_make();
        setenv("MOEJIT_NULL_SCRIPT", scripts[i], 1);
        mj_context_options options = options_for(&state);
        CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
        CHECK_STATUS(mj_device_open(context, "null", &device, NULL), want[i]);
        CHECK(!device);
        mj_context_destroy(context);
        CHECK_INT(state.live, 0);
    }
    unsetenv("MOEJIT_NULL_SCRIPT");
}

/* ---- Compiling through the cache -------------------------------------------------------------- */

TEST(compiles_once)
{
    counted state = {0};
    mj_context *context = NULL;
    mj_cache_entry first, second;
    mj_error error = {0};
    char key[MJ_SHA256_HEX];
    temp_folder_make();
    mj_context_options options = options_for(&state);
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    CHECK_STATUS(mj_compile_cached(context, "null", "t", "source", 6, &first, &error), MJ_OK);
    CHECK(!first.was_hit);
    CHECK_STATUS(mj_compile_cached(context, "null", "t", "source", 6, &second, &error), MJ_OK);
    CHECK(second.was_hit);
    CHECK_STRING(second.key, first.key);
    CHECK_INT(second.compiled.binary_bytes, first.compiled.binary_bytes);
    CHECK(memcmp(second.compiled.binary, first.compiled.binary, first.compiled.binary_bytes) == 0);
    CHECK_INT(mj_null_call_count(mj_null_state_of(context), "compile"), 1);
    CHECK_STATUS(mj_compile_key(context, "null", "t", "source", 6, key, &error), MJ_OK);
    CHECK_STRING(key, first.key);
    mj_cache_entry_free(&first);
    mj_cache_entry_free(&second);
    CHECK_STATUS(mj_compile_cached(context, "nul", "t", "source", 6, &first, &error), MJ_ERR_NO_DEVICE);
    CHECK_CONTAINS(error.text, "did you mean null?");
    CHECK_STATUS(mj_null_script_add(mj_null_state_of(context), "compile=COMPILE", NULL), MJ_OK);
    CHECK_STATUS(mj_compile_cached(context, "null", "t", "other", 5, &first, &error), MJ_ERR_COMPILE);
    CHECK(!first.compiled.binary);
    CHECK_STATUS(mj_null_script_add(mj_null_state_of(context), "compiler_identity=NO_COMPILER", NULL), MJ_OK);
    CHECK_STATUS(mj_compile_cached(context, "null", "t", "other", 5, &first, &error), MJ_ERR_NO_COMPILER);
    mj_context_destroy(context);
    options.no_compile = true; /* what is in the cache still serves */
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    CHECK_STATUS(mj_compile_cached(context, "null", "t", "source", 6, &first, &error), MJ_OK);
    mj_cache_entry_free(&first);
    CHECK_STATUS(mj_compile_cached(context, "null", "t", "other", 5, &first, &error), MJ_ERR_NO_COMPILER);
    CHECK_INT(mj_null_call_count(mj_null_state_of(context), "compile"), 0);
    mj_context_destroy(context);
    CHECK_INT(state.live, 0);
}

/* Whatever goes into a binary goes into its key, and no two splits of the same bytes meet. */
TEST(keys_tell_everything_apart)
{
    static const struct {
        const char *target, *source;
    } rows[] = {
        {"t", "source"},   {"T", "source"}, {"t", "Source"},   {"t", "source "}, {"ts", "ource"}, {"", "tsource"},
        {"t1:", "source"}, {"t", ""},       {"t6:source", ""}, {"sm_90", "x"},   {"sm_90a", "x"},
    };
    enum { ROWS = sizeof rows / sizeof *rows };
    counted state = {0};
    mj_context *context = NULL;
    char keys[ROWS][MJ_SHA256_HEX], other[MJ_SHA256_HEX];
    temp_folder_make();
    mj_context_options options = options_for(&state);
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    for (int i = 0; i < ROWS; i++) {
        CHECK_STATUS(
            mj_compile_key(context, "null", rows[i].target, rows[i].source, strlen(rows[i].source), keys[i], NULL),
            MJ_OK);
        CHECK(mj_is_sha256_hex(keys[i]));
        for (int j = 0; j < i; j++) {
            CHECK(strcmp(keys[i], keys[j]) != 0);
        }
    }
    if (mj_compile_key(context, "cpu", "t", "source", 6, other, NULL) == MJ_OK) { /* another backend and compiler */
        CHECK(strcmp(other, keys[0]) != 0);
    }
    mj_context_destroy(context);
}

TEST(without_a_spec)
{
    counted state = {0};
    mj_context *context = NULL;
    const mj_spec *spec = NULL;
    mj_error error = {0};
    temp_folder_make();
    mj_context_options options = options_for(&state);
    options.data_dir = temp_path("no-such-data");
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    mj_status first = mj_context_spec(context, &spec, &error), second = mj_context_spec(context, &spec, &error);
#if MOEJIT_GENERATOR
    CHECK(first != MJ_OK && second == first); /* said again, not crashed on */
#else
    CHECK_INT(first, MJ_ERR_UNSUPPORTED);
    CHECK_INT(second, MJ_ERR_UNSUPPORTED);
#endif
    CHECK(!spec && error.text[0]);
    mj_context_destroy(context);
    CHECK_INT(state.live, 0);
}

/* A context may be used by several threads: they compile the same and different sources at once. */
static void *compile_some(void *user)
{
    mj_context *context = user;
    for (int i = 0; i < 20; i++) {
        char source[32];
        mj_cache_entry entry;
        const mj_spec *spec = NULL;
        int bytes = snprintf(source, sizeof source, "source %d", i % 5);
        (void)mj_context_spec(context, &spec, NULL);
        if (mj_compile_cached(context, "null", "t", source, (size_t)bytes, &entry, NULL) != MJ_OK ||
            entry.compiled.binary_bytes != (size_t)bytes || memcmp(entry.compiled.binary, source, (size_t)bytes) != 0) {
            return context; /* anything but NULL */
        }
        mj_cache_entry_free(&entry);
    }
    return NULL;
}

TEST(threads_share_a_context)
{
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    mj_context *context = NULL;
    int failed = 0;
    temp_folder_make();
    mj_context_options options = {.cache_dir = temp_path("cache"), .store_dir = ""};
    CHECK_STATUS(mj_context_create(&options, &context, NULL), MJ_OK);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, compile_some, context) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        failed += result != NULL;
    }
    CHECK_INT(failed, 0);
    mj_context_destroy(context);
}

/* ---- Every allocation fails once, and from then on -------------------------------------------- */

static bool keep_listing(void *user, const mj_cache_entry *entry, uint64_t bytes, bool damaged)
{
    (void)user, (void)entry, (void)bytes, (void)damaged;
    return true;
}

/* A life of a context; the first failure ends it. */
static mj_status live(counted *state)
{
    mj_context *context = NULL;
    mj_device *device = NULL;
    mj_cache_entry entry = {0};
    mj_device_info infos[8];
    uint32_t count = 0;
    mj_error error = {0};
    mj_context_options options = options_for(state);
    mj_status status = mj_context_create(&options, &context, &error);
    if (status == MJ_OK) {
        status = mj_device_list(context, infos, 8, &count, &error);
    }
    if (status == MJ_OK) {
        status = mj_device_open(context, "null", &device, &error);
    }
    if (status == MJ_OK) {
        status = mj_compile_cached(context, "null", "t", "source", 6, &entry, &error);
    }
    mj_cache_entry_free(&entry);
    if (status == MJ_OK && context->cache) {
        status = mj_cache_list(context->cache, keep_listing, NULL, &error);
    }
    if (status == MJ_OK && context->cache) {
        status = mj_cache_trim(context->cache, 0, NULL, &error);
    }
    mj_device_close(device);
    if (device) { /* again, by "best": it needs the list */
        device = NULL;
        if (status == MJ_OK) {
            status = mj_device_open(context, "best", &device, &error);
            status = status == MJ_ERR_NO_DEVICE ? MJ_OK : status;
        }
        mj_device_close(device);
    }
    mj_context_destroy(context);
    if (status != MJ_OK && !error.text[0]) {
        return MJ_ERR_INTERNAL; /* a failure says why */
    }
    return status;
}

TEST(every_allocation_fails)
{
    counted plain = {0};
    temp_folder_make();
    CHECK_STATUS(live(&plain), MJ_OK);
    CHECK_INT(plain.live, 0);
    CHECK(plain.calls >= 8);
    int files = open_files();
    for (int later = 0; later < 2; later++) {
        long refused = 0, n = 1;
        for (;; n++) {
            counted state = {.fail_at = n, .fail_later_too = later};
            temp_folder_make();
            mj_status status = live(&state);
            if (state.calls < n) {
                CHECK_INT(status, MJ_OK);
                break;
            }
            if (status != MJ_OK && status != MJ_ERR_MEMORY) {
                check_fail(__FILE__, __LINE__, "allocation %ld: status %d", n, status);
            }
            refused += status == MJ_ERR_MEMORY;
            if (state.live != 0) {
                check_fail(__FILE__, __LINE__, "allocation %ld: %ld blocks left", n, state.live);
            }
        }
        CHECK(n > 8);
        CHECK(refused > 0);
    }
    CHECK_INT(open_files(), files);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(options_come_before_the_environment);
    RUN(a_folder_name_that_is_too_long);
    RUN(the_log_is_filtered);
    RUN(device_ids);
    RUN(the_list_ends_with_the_cpu);
    RUN(an_open_cpu);
    RUN(a_failing_device);
    RUN(compiles_once);
    RUN(keys_tell_everything_apart);
    RUN(without_a_spec);
    RUN(threads_share_a_context);
    RUN(every_allocation_fails);
    temp_folder_remove();
    return CHECK_END();
}
