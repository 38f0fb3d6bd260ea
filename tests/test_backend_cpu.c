/* test_backend_cpu.c: the C compiler found and started, kernels loaded and run on threads, streams, graphs, every failure. */
#define _GNU_SOURCE
#include "check.h"
#include "cc.h"
#include "context.h"
#include "cpu_info.h"
#include "program.h"
#include "temp_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static const mj_backend *const cpu = &mj_backend_cpu;

typedef struct fixture {
    mj_context *context;
    void *state, *device;
    mj_error error;
} fixture;

static void open_all(fixture *f, const char *cc)
{
    mj_context_options options = {.cache_dir = "/nonexistent", .store_dir = "/nonexistent", .cc_path = cc};
    memset(f, 0, sizeof *f);
    if (mj_context_create(&options, &f->context, &f->error) != MJ_OK ||
        cpu->open(f->context, &f->state, &f->error) != MJ_OK ||
        cpu->device_open(f->state, 0, &f->device, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
}

static void close_all(fixture *f)
{
    cpu->device_close(f->device);
    cpu->close(f->state);
    mj_context_destroy(f->context);
}

/* out[block] += grid * 1000 + block + add, and the scratch is checked to be this thread's alone. */
static const char add_source[] =
    "#include <stdint.h>\n#include <string.h>\n"
    "typedef struct { int32_t block, grid; void *smem; uint64_t seed; } mj_host_block;\n"
    "typedef struct { int32_t *out; int32_t add; } args;\n"
    "__attribute__((visibility(\"default\"))) void add(const mj_host_block *b, const void *p)\n{\n"
    "    args a;\n    memcpy(&a, p, sizeof a);\n"
    "    if ((uintptr_t)b->smem % 128) { a.out[b->block] = -1; return; }\n"
    "    volatile int32_t *mine = b->smem;\n"
    "    for (int i = 0; i < 1000; i++) { mine[i] = b->block; }\n"
    "    for (int i = 0; i < 1000; i++) { if (mine[i] != b->block) { a.out[b->block] = -2; return; } }\n"
    "    a.out[b->block] += b->grid * 1000 + b->block + a.add;\n}\n";

typedef struct add_args {
    int32_t *out;
    int32_t add;
} add_args;

enum { SCRATCH = 4000, BLOCKS = 500 };

static mj_status load_source(fixture *f, const char *source, const char *symbol, void **kernel)
{
    mj_compiled compiled;
    *kernel = NULL;
    mj_status status = cpu->compile(f->state, "native", source, strlen(source), &compiled, &f->error);
    if (status == MJ_OK) {
        status = cpu->kernel_load(f->device, compiled.binary, compiled.binary_bytes, symbol, SCRATCH, kernel, NULL,
                                  &f->error);
    }
    mj_compiled_free(&compiled);
    return status;
}

TEST(runs_every_block)
{
    fixture f;
    void *kernel = NULL;
    int32_t out[BLOCKS] = {0};
    open_all(&f, NULL);
    CHECK_STATUS(load_source(&f, add_source, "add", &kernel), MJ_OK);
    add_args args = {.out = out, .add = 7};
    mj_launch launch = {
        .blocks = BLOCKS, .threads = 1, .smem_bytes = SCRATCH, .args = &args, .args_bytes = sizeof args};
    CHECK_STATUS(cpu->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK_INT(out[i], BLOCKS * 1000 + i + 7);
    }
    launch.blocks = 0;
    CHECK_STATUS(cpu->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    launch.blocks = 1;
    launch.smem_bytes = 1 << 20; /* more than any loaded kernel asked for */
    CHECK_STATUS(cpu->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_ERR_ARGUMENT);
    CHECK_INT(out[0], BLOCKS * 1000 + 7);
    cpu->kernel_unload(f.device, kernel);
    close_all(&f);
}

/* A new library must never be taken for one that was unloaded, or is still loaded, under the same name. */
TEST(many_libraries_at_once)
{
    fixture f;
    void *kernels[12] = {NULL};
    open_all(&f, NULL);
    for (int i = 0; i < 12; i++) {
        char source[400];
        snprintf(source, sizeof source,
                 "__attribute__((visibility(\"default\"))) void k(const void *b, const void *p) { (void)b; **(int "
                 "*const *)p = %d; }",
                 i);
        CHECK_STATUS(load_source(&f, source, "k", &kernels[i]), MJ_OK);
        if (i % 3 == 2) {
            cpu->kernel_unload(f.device, kernels[i - 1]);
            kernels[i - 1] = NULL;
        }
    }
    for (int i = 0; i < 12; i++) {
        int got = -1, *args = &got;
        mj_launch launch = {.blocks = 1, .threads = 1, .args = &args, .args_bytes = sizeof args};
        if (kernels[i]) {
            CHECK_STATUS(cpu->kernel_launch(f.device, kernels[i], &launch, NULL, &f.error), MJ_OK);
            CHECK_INT(got, i);
            cpu->kernel_unload(f.device, kernels[i]);
        }
    }
    close_all(&f);
}

TEST(graphs_replay)
{
    fixture f;
    void *kernel = NULL, *stream = NULL, *graph = NULL, *start = NULL, *stop = NULL;
    int32_t out[4] = {5, 5, 5, 5}, copy[4] = {0};
    double us = -1;
    open_all(&f, NULL);
    CHECK_STATUS(load_source(&f, add_source, "add", &kernel), MJ_OK);
    CHECK_STATUS(cpu->stream_create(f.device, &stream, &f.error), MJ_OK);
    CHECK_STATUS(cpu->event_create(f.device, &start, &f.error), MJ_OK);
    CHECK_STATUS(cpu->event_create(f.device, &stop, &f.error), MJ_OK);
    CHECK_STATUS(cpu->event_elapsed_us(f.device, start, stop, &us, &f.error), MJ_ERR_DEVICE);
    CHECK_STATUS(cpu->capture_end(f.device, stream, &graph, &f.error), MJ_ERR_DEVICE);
    CHECK_STATUS(cpu->capture_begin(f.device, stream, &f.error), MJ_OK);
    CHECK_STATUS(cpu->capture_begin(f.device, stream, &f.error), MJ_ERR_DEVICE);
    CHECK_STATUS(cpu->stream_sync(f.device, stream, &f.error), MJ_ERR_DEVICE);
    CHECK_STATUS(cpu->event_record(f.device, start, stream, &f.error), MJ_OK);
    CHECK_STATUS(cpu->memory_set(f.device, out, 0, sizeof out, stream, &f.error), MJ_OK);
    for (int i = 1; i <= 40; i++) { /* more steps than the list's first size */
        add_args args = {.out = out, .add = i};
        mj_launch launch = {.blocks = 4, .threads = 1, .smem_bytes = SCRATCH, .args = &args, .args_bytes = sizeof args};
        CHECK_STATUS(cpu->kernel_launch(f.device, kernel, &launch, stream, &f.error), MJ_OK);
        memset(&args, 0xff, sizeof args); /* the graph must have its own copy */
    }
    CHECK_STATUS(cpu->memory_download(f.device, copy, out, sizeof out, stream, &f.error), MJ_OK);
    CHECK_STATUS(cpu->event_record(f.device, stop, stream, &f.error), MJ_OK);
    CHECK_STATUS(cpu->graph_launch(f.device, NULL, stream, &f.error), MJ_ERR_UNSUPPORTED);
    CHECK_STATUS(cpu->capture_end(f.device, stream, &graph, &f.error), MJ_OK);
    CHECK_INT(out[0], 5); /* recorded, not run */
    for (int replay = 0; replay < 3; replay++) {
        CHECK_STATUS(cpu->graph_launch(f.device, graph, stream, &f.error), MJ_OK);
        for (int i = 0; i < 4; i++) {
            CHECK_INT(copy[i], 40 * (4000 + i) + 820);
        }
    }
    CHECK_STATUS(cpu->event_elapsed_us(f.device, start, stop, &us, &f.error), MJ_OK);
    CHECK(us > 0 && us < 1e6);
    CHECK_STATUS(cpu->capture_begin(f.device, stream, &f.error),
                 MJ_OK); /* and never ended: the stream takes it along */
    CHECK_STATUS(cpu->memory_set(f.device, out, 0, sizeof out, stream, &f.error), MJ_OK);
    cpu->graph_destroy(f.device, graph);
    cpu->event_destroy(f.device, start);
    cpu->event_destroy(f.device, stop);
    cpu->stream_destroy(f.device, stream);
    cpu->kernel_unload(f.device, kernel);
    close_all(&f);
}

TEST(memory)
{
    fixture f;
    void *small = NULL, *large = NULL, *huge = NULL;
    uint64_t free_bytes = 0, total_bytes = 0;
    open_all(&f, NULL);
    CHECK_STATUS(cpu->memory_info(f.device, &free_bytes, &total_bytes, &f.error), MJ_OK);
    CHECK(free_bytes > 0 && free_bytes <= total_bytes);
    CHECK_STATUS(cpu->memory_alloc(f.device, 0, &small, &f.error), MJ_OK);
    CHECK(small && (uintptr_t)small % 256 == 0);
    CHECK_STATUS(cpu->memory_alloc(f.device, 5 << 20, &large, &f.error), MJ_OK);
    CHECK_INT((uintptr_t)large % (2 << 20), 0);
    CHECK_STATUS(cpu->memory_set(f.device, large, 3, 5 << 20, NULL, &f.error), MJ_OK);
    CHECK_INT(((char *)large)[(5 << 20) - 1], 3);
    CHECK_STATUS(cpu->memory_alloc(f.device, (size_t)total_bytes * 2, &huge, &f.error), MJ_ERR_DEVICE_MEMORY);
    CHECK(huge == NULL);
    CHECK_CONTAINS(f.error.text, "MiB of memory are free");
    CHECK_STATUS(cpu->memory_alloc(f.device, SIZE_MAX - 10, &huge, &f.error), MJ_ERR_DEVICE_MEMORY);
    CHECK_STATUS(cpu->memory_upload(f.device, NULL, NULL, 0, NULL, &f.error), MJ_OK);
    cpu->memory_free(f.device, small);
    cpu->memory_free(f.device, large);
    cpu->memory_free(f.device, NULL);
    close_all(&f);
}

TEST(device_properties)
{
    fixture f;
    mj_device_info info;
    uint32_t count = 0;
    void *none = NULL;
    open_all(&f, NULL);
    CHECK_STATUS(cpu->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 1);
    CHECK_STATUS(cpu->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_STRING(info.id, "cpu");
    CHECK_STRING(info.arch, "cpu");
    CHECK_STRING(info.note, "");
    CHECK(info.name[0] && info.driver[0] && info.sm_count > 0 && info.memory_bytes > 0);
    CHECK(strncmp(info.compiler, "gcc ", 4) == 0 || strncmp(info.compiler, "clang ", 6) == 0);
    CHECK_STATUS(cpu->device_info(f.state, 1, &info, &f.error), MJ_ERR_NO_DEVICE);
    CHECK_STATUS(cpu->device_open(f.state, 1, &none, &f.error), MJ_ERR_NO_DEVICE);
    close_all(&f);
    uint32_t all = mj_cpu_thread_count();
    setenv("MOEJIT_CPU_THREADS", "1", 1);
    CHECK_INT(mj_cpu_thread_count(), 1);
    setenv("MOEJIT_CPU_THREADS", "100000", 1); /* a wish for less, never for more */
    CHECK_INT(mj_cpu_thread_count(), all);
    unsetenv("MOEJIT_CPU_THREADS");
}

/* ---- Compiler ---- */

TEST(rejected_sources)
{
    fixture f;
    mj_compiled out;
    open_all(&f, NULL);
    const char bad[] = "int f(void)\n{\n    return undefined_name;\n}\n";
    CHECK_STATUS(cpu->compile(f.state, "native", bad, sizeof bad - 1, &out, &f.error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(f.error.text, "undefined_name");
    CHECK_CONTAINS(f.error.text, ":3:");
    CHECK(!strchr(f.error.text, '\n'));
    CHECK(out.binary == NULL && out.log == NULL);
    static const char *const targets[] = {"", "native -DX", "../x", "-O0"};
    for (size_t i = 0; i < 3; i++) {
        CHECK_STATUS(cpu->compile(f.state, targets[i], "int x;", 6, &out, &f.error), MJ_ERR_ARGUMENT);
    }
    CHECK_STATUS(cpu->compile(f.state, "no_such_cpu", "int x;", 6, &out, &f.error), MJ_ERR_COMPILE);
    close_all(&f);
}

TEST(damaged_binaries)
{
    fixture f;
    mj_compiled out;
    void *kernel = NULL;
    open_all(&f, NULL);
    CHECK_STATUS(cpu->kernel_load(f.device, "not a library", 13, "k", 0, &kernel, NULL, &f.error), MJ_ERR_FORMAT);
    CHECK(kernel == NULL);
    CHECK_STATUS(cpu->kernel_load(f.device, "", 0, "k", 0, &kernel, NULL, &f.error), MJ_ERR_FORMAT);
    CHECK_STATUS(cpu->compile(f.state, "native", add_source, strlen(add_source), &out, &f.error), MJ_OK);
    CHECK(out.compile_seconds > 0);
    CHECK_STATUS(cpu->kernel_load(f.device, out.binary, out.binary_bytes, "absent", 0, &kernel, NULL, &f.error),
                 MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(f.error.text, "absent");
    CHECK_STATUS(cpu->kernel_load(f.device, out.binary, 100, "add", 0, &kernel, NULL, &f.error), MJ_ERR_FORMAT);
    CHECK(kernel == NULL);
    mj_compiled_free(&out);
    close_all(&f);
}

static void script(const char *path, const char *text)
{
    temp_write(path, text, strlen(text));
    chmod(path, 0700);
}

TEST(finding_the_compiler)
{
    char path[MJ_CC_PATH_MAX], old_path[4096];
    mj_error error = {0};
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH"));
    temp_folder_make();
    script(temp_path("clang"), "#!/bin/sh\nexit 0\n");
    setenv("PATH", temp_folder, 1);
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_OK);
    CHECK_STRING(path, temp_path("clang"));
    script(temp_path("cc"), "#!/bin/sh\nexit 0\n");
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_OK);
    CHECK_STRING(path, temp_path("cc"));
    CHECK_STATUS(mj_cc_find("clang", path, &error), MJ_OK);
    CHECK_STRING(path, temp_path("clang"));
    setenv("MOEJIT_CC", temp_path("clang"), 1);
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_OK);
    CHECK_STRING(path, temp_path("clang"));
    setenv("MOEJIT_CC", "/nonexistent/cc", 1);
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "/nonexistent/cc");
    unsetenv("MOEJIT_CC");
    setenv("PATH", "/nonexistent", 1);
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "install");
    setenv("PATH", old_path, 1);
    temp_folder_remove();
}

TEST(a_machine_without_compiler)
{
    fixture f;
    mj_device_info info;
    mj_compiled out;
    open_all(&f, "/nonexistent/cc");
    CHECK_STATUS(cpu->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_STRING(info.compiler, "");
    CHECK_CONTAINS(info.note, "/nonexistent/cc");
    CHECK_STATUS(cpu->compile(f.state, "native", "int x;", 6, &out, &f.error), MJ_ERR_NO_COMPILER);
    close_all(&f);
}

TEST(identity_tells_compiler_and_cpu)
{
    char path[MJ_CC_PATH_MAX], first[96], second[96];
    mj_error error = {0};
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_OK);
    CHECK_STATUS(mj_cc_identity(path, first, sizeof first, &error), MJ_OK);
    CHECK_STATUS(mj_cc_identity(path, second, sizeof second, &error), MJ_OK);
    CHECK_STRING(first, second);
    /* Another CPU's features, the same compiler: another identity. */
    char text[1200];
    temp_folder_make();
    snprintf(text, sizeof text, "#!/bin/sh\nexec %s \"$@\" -D__another_feature__\n", path);
    script(temp_path("cc"), text);
    CHECK_STATUS(mj_cc_identity(temp_path("cc"), second, sizeof second, &error), MJ_OK);
    CHECK(strcmp(first, second) != 0);
    CHECK_INT(strrchr(first, ' ') - first, strrchr(second, ' ') - second);
    script(temp_path("cc"), "#!/bin/sh\necho 'cc: error: no licence' >&2\nexit 3\n");
    CHECK_STATUS(mj_cc_identity(temp_path("cc"), second, sizeof second, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "exit code 3");
    CHECK_CONTAINS(error.text, "no licence");
    temp_folder_remove();
}

/* What a script of the test's wrote; it may need a moment. */
static pid_t read_pid(const char *name)
{
    long pid = 0;
    for (int i = 0; i < 1000 && pid == 0; i++) {
        char *text = temp_read(temp_path(name), NULL);
        pid = text && strchr(text, '\n') ? strtol(text, NULL, 10) : 0;
        free(text);
        usleep(pid ? 0 : 5000);
    }
    return (pid_t)pid;
}

/* Or a zombie that init has yet to take. */
static bool is_gone(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    for (int i = 0; pid > 0 && i < 400; i++) {
        char line[256] = "";
        FILE *file = fopen(path, "r");
        bool read = file && fgets(line, sizeof line, file);
        const char *end = strrchr(line, ')');
        if (file) {
            fclose(file);
        }
        if (!read || (end && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X'))) {
            return true;
        }
        usleep(5000);
    }
    return false;
}

TEST(strange_compilers)
{
    mj_compiled out;
    mj_error error = {0};
    temp_folder_make();
    const char *cc = temp_path("cc");
    setenv("TMPDIR", temp_folder, 1);
    setenv("CC_TEST", temp_folder, 1);
    script(cc, "#!/bin/sh\nsleep 30 & echo $! > $CC_TEST/pid\nwait\n"); /* its children must go with it */
    CHECK_STATUS(mj_cc_compile(cc, "native", "x", 1, 2, &out, &error), MJ_ERR_TIMEOUT);
    mj_compiled_free(&out);
    CHECK(is_gone(read_pid("pid")));
    script(cc, "#!/bin/sh\nkill -9 $$\n");
    CHECK_STATUS(mj_cc_compile(cc, "native", "x", 1, 10, &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "exit code 137");
    mj_compiled_free(&out);
    script(cc, "#!/bin/sh\nexit 0\n"); /* says yes and writes nothing */
    CHECK(mj_cc_compile(cc, "native", "x", 1, 10, &out, &error) != MJ_OK);
    CHECK(out.binary == NULL);
    mj_compiled_free(&out);
    CHECK_STATUS(mj_cc_compile("/nonexistent/cc", "native", "x", 1, 10, &out, &error), MJ_ERR_CHILD);
    unlink(cc);
    unlink(temp_path("pid"));
    CHECK_INT(temp_count_files(), 0); /* nothing is left of any of them */
    setenv("TMPDIR", "/nonexistent", 1);
    CHECK_STATUS(mj_cc_compile(cc, "native", "x", 1, 10, &out, &error), MJ_ERR_IO);
    unsetenv("TMPDIR");
    temp_folder_remove();
}

/* Compiles with a script that hangs, in a process of its own, which leads its group or does not. Exits with the status. */
static pid_t compile_apart(bool leads, double seconds)
{
    const char *cc = temp_path("cc");
    script(
        cc,
        "#!/bin/sh\n: > $TMPDIR/ccAb12Cd.s\nsleep 60 & echo $! > $CC_TEST/child\necho $$ > $CC_TEST/compiler\nwait\n");
    unlink(temp_path("child"));
    unlink(temp_path("compiler"));
    pid_t pid = fork();
    if (pid == 0) {
        mj_compiled out;
        if (leads) {
            setpgid(0, 0);
        }
        _exit((int)mj_cc_compile(cc, "native", "x", 1, seconds, &out, NULL));
    }
    return pid;
}

TEST(a_compiler_goes_with_who_started_it)
{
    temp_folder_make();
    setenv("TMPDIR", temp_folder, 1);
    setenv("CC_TEST", temp_folder, 1);
    for (int leads = 0; leads < 2; leads++) {
        int status = 0, files = 0;
        pid_t pid = compile_apart(leads, 60);
        pid_t compiler = read_pid("compiler"), child = read_pid("child");
        CHECK(pid > 0 && compiler > 0 && child > 0);
        kill(leads ? -pid : pid, SIGKILL);
        CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        CHECK(is_gone(compiler));
        CHECK(!leads || is_gone(child)); /* gcc's cc1: elsewhere it ends when its file is compiled */
        kill(child, SIGKILL);
        files = temp_count_files();
        pid = compile_apart(leads, 2); /* the time limit ends them all, and nobody else */
        compiler = read_pid("compiler");
        child = read_pid("child");
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        CHECK_INT(WEXITSTATUS(status), MJ_ERR_TIMEOUT);
        CHECK(is_gone(compiler) && is_gone(child));
        CHECK_INT(temp_count_files(), files); /* also what it made for itself */
    }
    unsetenv("TMPDIR");
    temp_folder_remove();
}

/* Nobody is told how a child of such a program ended. */
TEST(a_host_that_ignores_its_children)
{
    char path[MJ_CC_PATH_MAX], identity[96], same[96];
    mj_compiled out;
    mj_error error = {0};
    CHECK_STATUS(mj_cc_find(NULL, path, &error), MJ_OK);
    CHECK_STATUS(mj_cc_identity(path, identity, sizeof identity, &error), MJ_OK);
    temp_folder_make();
    signal(SIGCHLD, SIG_IGN);
    CHECK_STATUS(mj_cc_identity(path, same, sizeof same, &error), MJ_OK);
    CHECK_STRING(same, identity);
    CHECK_STATUS(mj_cc_compile(path, "native", "int x;\n", 7, 60, &out, &error), MJ_OK);
    CHECK(out.binary_bytes > 64 && out.compile_seconds > 0);
    mj_compiled_free(&out);
    CHECK_STATUS(mj_cc_compile(path, "native", "int x = y;\n", 11, 60, &out, &error), MJ_ERR_COMPILE);
    CHECK_CONTAINS(error.text, "undeclared");
    mj_compiled_free(&out);
    script(temp_path("cc"), "#!/bin/sh\necho 'cc: error: no licence' >&2\nexit 3\n");
    CHECK_STATUS(mj_cc_identity(temp_path("cc"), same, sizeof same, &error), MJ_ERR_NO_COMPILER);
    CHECK_CONTAINS(error.text, "no licence");
    script(temp_path("cc"), "#!/bin/sh\nsleep 60\n");
    CHECK_STATUS(mj_cc_compile(temp_path("cc"), "native", "x", 1, 0.3, &out, &error), MJ_ERR_TIMEOUT);
    mj_compiled_free(&out);
    CHECK_STATUS(mj_cc_compile("/nonexistent/cc", "native", "x", 1, 10, &out, &error), MJ_ERR_CHILD);
    signal(SIGCHLD, SIG_DFL);
    temp_folder_remove();
}

TEST(what_killed_runs_left_goes_after_an_hour)
{
    static const struct {
        const char *folder, *files[2];
        unsigned mode;
        bool old, stays;
    } rows[] = {
        {"moejit-run-Ab12cd", {"kernel.c", "out"}, 0700, true, false},
        {"moejit-run-Ab12ce", {"kernel.hip", "ccAb12Cd.s"}, 0700, true, false},
        {"moejit-run-Ab12cf", {"kernel.c", "kernel-1a2b3c.o"}, 0700, true, false},
        {"moejit-run-young1", {"kernel.c", "out"}, 0700, false, true},
        {"moejit-run-backup", {"kernel.c", "letters.txt"}, 0700, true, true},
        {"moejit-run-costs1", {"kernel.c", "cc-costs.csv"}, 0700, true, true},
        {"moejit-run-traces", {"out", "log"}, 0700, true, true}, /* no source: not a run's */
        {"moejit-run-shared", {"kernel.c", "out"}, 0755, true, true},
        {"moejit-run-results", {"kernel.c", "out"}, 0700, true, true},
        {"moejit-report", {"kernel.c", "log"}, 0700, true, true},
    };
    enum { COUNT = sizeof rows / sizeof rows[0] };
    char path[400];
    mj_workplace place;
    temp_folder_make();
    setenv("TMPDIR", temp_folder, 1);
    for (size_t i = 0; i < COUNT; i++) {
        const struct timespec long_ago[2] = {{.tv_sec = time(NULL) - 4000}, {.tv_sec = time(NULL) - 4000}};
        CHECK(mkdir(temp_path(rows[i].folder), 0700) == 0);
        for (int f = 0; f < 2; f++) {
            snprintf(path, sizeof path, "%s/%s", rows[i].folder, rows[i].files[f]);
            temp_write(temp_path(path), "x", 1);
        }
        CHECK(chmod(temp_path(rows[i].folder), rows[i].mode) == 0);
        CHECK(!rows[i].old || utimensat(AT_FDCWD, temp_path(rows[i].folder), long_ago, 0) == 0);
    }
    CHECK(symlink(temp_path("moejit-report"), temp_path("moejit-run-linked")) == 0);
    CHECK_STATUS(mj_workplace_make(&place, "kernel.c", "kernel.so", NULL), MJ_OK);
    CHECK(access(place.folder, F_OK) == 0);
    for (size_t i = 0; i < COUNT; i++) {
        for (int f = 0; f < 2; f++) {
            snprintf(path, sizeof path, "%s/%s", rows[i].folder, rows[i].files[f]);
            CHECK_INT(access(temp_path(path), F_OK) == 0, rows[i].stays);
        }
        CHECK_INT(access(temp_path(rows[i].folder), F_OK) == 0, rows[i].stays);
    }
    mj_workplace_remove(&place);
    unsetenv("TMPDIR");
    temp_folder_remove();
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(runs_every_block);
    RUN(many_libraries_at_once);
    RUN(graphs_replay);
    RUN(memory);
    RUN(device_properties);
    RUN(rejected_sources);
    RUN(damaged_binaries);
    RUN(finding_the_compiler);
    RUN(a_machine_without_compiler);
    RUN(identity_tells_compiler_and_cpu);
    RUN(strange_compilers);
    RUN(a_compiler_goes_with_who_started_it);
    RUN(a_host_that_ignores_its_children);
    RUN(what_killed_runs_left_goes_after_an_hour);
    temp_folder_remove();
    return CHECK_END();
}
