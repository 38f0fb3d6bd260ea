/* test_backend_null.c: the scripted backend does as its script says, or it could not test anything. */
#define _GNU_SOURCE
#include "check.h"
#include "null_script.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const mj_backend *const null = &mj_backend_null;

static mj_null_state *open_state(const char *script)
{
    void *state = NULL;
    mj_error error = {0};
    setenv("MOEJIT_NULL_SCRIPT", script, 1);
    if (null->open(NULL, &state, &error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", error.text);
    }
    unsetenv("MOEJIT_NULL_SCRIPT");
    return state;
}

TEST(scripted_calls_fail)
{
    mj_null_state *state = open_state("devices=2; memory_mib=4; kernel_launch@3=DEVICE; memory_alloc=DEVICE_MEMORY");
    void *device = NULL, *kernel = NULL, *block = NULL;
    uint32_t count = 0;
    mj_error error = {0};
    mj_launch launch = {.blocks = 1, .threads = 1};
    CHECK(state);
    CHECK_STATUS(null->device_count(state, &count, &error), MJ_OK);
    CHECK_INT(count, 2);
    CHECK_STATUS(null->device_open(state, 2, &device, &error), MJ_ERR_NO_DEVICE);
    CHECK_STATUS(null->device_open(state, 1, &device, &error), MJ_OK);
    CHECK_STATUS(null->kernel_load(device, "void k(", 7, "absent", 0, &kernel, NULL, &error), MJ_ERR_NOT_FOUND);
    CHECK_STATUS(null->kernel_load(device, "void k(", 7, "k", 0, &kernel, NULL, &error), MJ_OK);
    for (int i = 1; i <= 5; i++) {
        CHECK_STATUS(null->kernel_launch(device, kernel, &launch, NULL, &error), i == 3 ? MJ_ERR_DEVICE : MJ_OK);
    }
    CHECK_CONTAINS(error.text, "kernel_launch call 3");
    CHECK_INT(mj_null_call_count(state, "kernel_launch"), 5);
    CHECK_INT(mj_null_call_count(state, "no such call"), 0);
    CHECK_STATUS(null->memory_alloc(device, 16, &block, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK_INT(mj_null_live_count(state), 2);
    null->kernel_unload(device, kernel);
    null->device_close(device);
    CHECK_INT(mj_null_live_count(state), 0);
    null->close(state);
}

TEST(a_lost_device_stays_lost)
{
    mj_null_state *state = open_state("stream_sync@2=DEVICE_LOST");
    void *device = NULL, *block = NULL;
    mj_error error = {0};
    CHECK(state);
    CHECK_STATUS(null->device_open(state, 0, &device, &error), MJ_OK);
    CHECK_STATUS(null->stream_sync(device, NULL, &error), MJ_OK);
    CHECK_STATUS(null->stream_sync(device, NULL, &error), MJ_ERR_DEVICE_LOST);
    CHECK_STATUS(null->memory_alloc(device, 1, &block, &error), MJ_ERR_DEVICE_LOST);
    CHECK(block == NULL);
    null->device_close(device);
    CHECK_STATUS(null->device_open(state, 0, &device, &error), MJ_OK); /* another process would find it well */
    CHECK_STATUS(null->stream_sync(device, NULL, &error), MJ_OK);
    null->device_close(device);
    null->close(state);
}

TEST(memory_is_counted)
{
    mj_null_state *state = open_state("memory_mib=4");
    void *device = NULL, *a = NULL, *b = NULL;
    uint64_t free_bytes = 0, total_bytes = 0;
    char back[4] = "";
    mj_error error = {0};
    CHECK(state);
    CHECK_STATUS(null->device_open(state, 0, &device, &error), MJ_OK);
    CHECK_STATUS(null->memory_alloc(device, 3 << 20, &a, &error), MJ_OK);
    CHECK_INT((uintptr_t)a % 256, 0);
    CHECK_STATUS(null->memory_alloc(device, 2 << 20, &b, &error), MJ_ERR_DEVICE_MEMORY);
    CHECK_STATUS(null->memory_upload(device, a, "abc", 4, NULL, &error), MJ_OK);
    CHECK_STATUS(null->memory_set(device, a, 'X', 1, NULL, &error), MJ_OK);
    CHECK_STATUS(null->memory_download(device, back, a, 4, NULL, &error), MJ_OK);
    CHECK_STRING(back, "Xbc");
    CHECK_STATUS(null->memory_info(device, &free_bytes, &total_bytes, &error), MJ_OK);
    CHECK_INT(free_bytes, 1 << 20);
    null->memory_free(device, a);
    null->memory_free(device, NULL);
    CHECK_STATUS(null->memory_info(device, &free_bytes, &total_bytes, &error), MJ_OK);
    CHECK_INT(free_bytes, total_bytes);
    null->device_close(device);
    null->close(state);
}

TEST(time_follows_launches)
{
    mj_null_state *state = open_state("");
    void *device = NULL, *start = NULL, *stop = NULL, *graph = NULL;
    double us = 0;
    mj_error error = {0};
    CHECK(state);
    CHECK_STATUS(null->device_open(state, 0, &device, &error), MJ_OK);
    CHECK_STATUS(null->event_create(device, &start, &error), MJ_OK);
    CHECK_STATUS(null->event_create(device, &stop, &error), MJ_OK);
    CHECK_STATUS(null->event_record(device, start, NULL, &error), MJ_OK);
    CHECK_STATUS(null->event_elapsed_us(device, start, stop, &us, &error), MJ_ERR_DEVICE);
    CHECK_STATUS(null->capture_begin(device, NULL, &error), MJ_OK);
    CHECK_STATUS(null->capture_end(device, NULL, &graph, &error), MJ_OK);
    CHECK_STATUS(null->graph_launch(device, graph, NULL, &error), MJ_OK);
    CHECK_STATUS(null->event_record(device, stop, NULL, &error), MJ_OK);
    CHECK_STATUS(null->event_elapsed_us(device, start, stop, &us, &error), MJ_OK);
    CHECK(us > 0);
    null->event_destroy(device, start);
    null->event_destroy(device, stop);
    null->graph_destroy(device, graph);
    null->device_close(device);
    CHECK_INT(mj_null_live_count(state), 0);
    null->close(state);
}

TEST(compile_keeps_the_source)
{
    mj_null_state *state = open_state("compile@2=COMPILE");
    mj_compiled out;
    mj_error error = {0};
    CHECK(state);
    CHECK_STATUS(null->compile(state, "native", "void k()", 8, &out, &error), MJ_OK);
    CHECK(out.binary_bytes == 8 && memcmp(out.binary, "void k()", 8) == 0);
    mj_compiled_free(&out);
    CHECK_STATUS(null->compile(state, "native", "void k()", 8, &out, &error), MJ_ERR_COMPILE);
    CHECK(out.binary == NULL);
    null->close(state);
}

/* hang and crash, each in a process of its own. */
static int child_status(const char *script, unsigned alarm_seconds)
{
    pid_t child = fork();
    if (child == 0) {
        void *state = NULL, *device = NULL;
        setenv("MOEJIT_NULL_SCRIPT", script, 1);
        signal(SIGSEGV, SIG_DFL);
        alarm(alarm_seconds);
        bool good = null->open(NULL, &state, NULL) == MJ_OK && null->device_open(state, 0, &device, NULL) == MJ_OK &&
                    null->stream_sync(device, NULL, NULL) == MJ_OK;
        _exit(good ? 0 : 9);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

TEST(hang_crash_and_slow)
{
    int status = child_status("stream_sync=hang", 1);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
    status = child_status("stream_sync=crash", 5);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = child_status("stream_sync=slow:0.05", 5);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(unreadable_scripts)
{
    static const char *const bad[] = {
        "nonsense",     "kernel_launch@x=DEVICE", "kernel_launch=BAD_STATUS", "no_such_call=DEVICE",
        "devices=1000", "compile=slow:1e9",       "kernel_launch=OK_"};
    mj_null_state *state = open_state("");
    mj_error error = {0};
    CHECK(state);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(mj_null_script_add(state, bad[i], &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, bad[i]);
    }
    for (int i = 0; i < 64; i++) {
        CHECK_STATUS(mj_null_script_add(state, "compile@9=COMPILE;", &error), MJ_OK);
    }
    CHECK_STATUS(mj_null_script_add(state, "compile@9=COMPILE", &error), MJ_ERR_FORMAT); /* the table is full */
    null->close(state);
    setenv("MOEJIT_NULL_SCRIPT", "nonsense", 1);
    void *none = NULL;
    CHECK_STATUS(null->open(NULL, &none, &error), MJ_ERR_FORMAT);
    CHECK(none == NULL);
    unsetenv("MOEJIT_NULL_SCRIPT");
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(scripted_calls_fail);
    RUN(a_lost_device_stays_lost);
    RUN(memory_is_counted);
    RUN(time_follows_launches);
    RUN(compile_keeps_the_source);
    RUN(hang_crash_and_slow);
    RUN(unreadable_scripts);
    return CHECK_END();
}
