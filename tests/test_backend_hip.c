/* test_backend_hip.c: the hip backend against a scripted runtime: every call, every kind of failure, nothing left behind. */
#define _GNU_SOURCE
#include "check.h"
#include "context.h"
#include "fake_code_object.h"
#include "fake_hip.h"
#include "hip_api.h"

#include <dlfcn.h>

#define FAKE        MJ_TEST_BUILD_DIR "/tests/libfake_hip.so"
#define FAKE_5      MJ_TEST_BUILD_DIR "/tests/libfake_hip_5.so"
#define FAKE_OLD    MJ_TEST_BUILD_DIR "/tests/libfake_hip_old.so"
#define FAKE_HIPRTC MJ_TEST_BUILD_DIR "/tests/libfake_hiprtc.so"

static fake_hip_reset_fn fake_reset;
static fake_hip_script_fn fake_script;
static fake_hip_count_fn fake_count;

static const mj_backend *const hip = &mj_backend_hip;
static unsigned char image[FAKE_CODE_BYTES_MAX]; /* a code object for gfx942 with the kernels k and absent_k */
static size_t image_bytes;

typedef struct fixture { /* an open device on the fake runtime */
    mj_context *context;
    void *state, *device;
    mj_error error;
} fixture;

static void open_state(fixture *f, const char *library)
{
    mj_context_options options = {.cache_dir = "/nonexistent", .store_dir = "/nonexistent", .hiprtc_path = FAKE_HIPRTC};
    memset(f, 0, sizeof *f);
    setenv("MOEJIT_LIBHIP", library, 1);
    if (mj_context_create(&options, &f->context, &f->error) != MJ_OK ||
        hip->open(f->context, &f->state, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
}

static void open_device(fixture *f)
{
    fake_reset();
    open_state(f, FAKE);
    if (hip->device_open(f->state, 0, &f->device, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
}

static void close_all(fixture *f)
{
    if (f->device) {
        hip->device_close(f->device);
    }
    hip->close(f->state);
    mj_context_destroy(f->context);
}

static void *load(fixture *f)
{
    void *kernel = NULL;
    mj_kernel_attributes attributes = {0};
    if (hip->kernel_load(f->device, image, image_bytes, "k", 0, &kernel, &attributes, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
    return kernel;
}

/* ---- Devices ---- */

TEST(no_runtime_is_no_device)
{
    fixture f;
    uint32_t count = 9;
    open_state(&f, "/nonexistent/libamdhip64.so.6");
    CHECK_STATUS(hip->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 0);
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_NO_DEVICE);
    CHECK(f.device == NULL);
    CHECK_CONTAINS(f.error.text, "/nonexistent/libamdhip64.so.6");
    /* Compiling needs none. */
    mj_compiled out;
    CHECK_STATUS(hip->compile(f.state, "gfx942", "source", 6, &out, &f.error), MJ_OK);
    mj_compiled_free(&out);
    CHECK_STATUS(hip->compile(f.state, "gfx942", "sou\0ce", 6, &out, &f.error), MJ_ERR_ARGUMENT);
    close_all(&f);
}

TEST(old_runtime_names_what_it_lacks)
{
    fixture f;
    uint32_t count = 0;
    mj_device_info info;
    open_state(&f, FAKE_OLD);
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(f.error.text, "it has no hipGraphInstantiateWithFlags");
    CHECK_STATUS(hip->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 1);
    CHECK_STATUS(hip->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_CONTAINS(info.note, "too old");
    close_all(&f);
}

/* ROCm 5: the properties lie elsewhere, and graphs are not uploaded. */
TEST(rocm_5)
{
    fixture f;
    mj_device_info info;
    void *stream = NULL, *graph = NULL;
    open_state(&f, FAKE_5);
    CHECK_STATUS(hip->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_STRING(info.arch, "gfx942");
    CHECK_STRING(info.note, "");
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_OK);
    CHECK_STATUS(hip->stream_create(f.device, &stream, &f.error), MJ_OK);
    CHECK_STATUS(hip->capture_begin(f.device, stream, &f.error), MJ_OK);
    CHECK_STATUS(hip->capture_end(f.device, stream, &graph, &f.error), MJ_OK);
    CHECK_STATUS(hip->graph_launch(f.device, graph, stream, &f.error), MJ_OK);
    hip->graph_destroy(f.device, graph);
    hip->stream_destroy(f.device, stream);
    close_all(&f);
}

TEST(broken_runtime_is_listed)
{
    fixture f;
    uint32_t count = 0;
    mj_device_info info;
    fake_reset();
    CHECK(fake_script("hipInit=3"));
    open_state(&f, FAKE);
    CHECK_STATUS(hip->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 1);
    CHECK_STATUS(hip->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_STRING(info.id, "hip:0");
    CHECK_CONTAINS(info.note, "does not start");
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_NO_DEVICE);
    close_all(&f);
    static const char *const none[] = {"hipInit=100", "devices=0"}; /* all is well, there is just no GPU */
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        fake_reset();
        CHECK(fake_script(none[i]));
        open_state(&f, FAKE);
        CHECK_STATUS(hip->device_count(f.state, &count, &f.error), MJ_OK);
        CHECK_INT(count, 0);
        CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_NO_DEVICE);
        close_all(&f);
    }
}

TEST(device_properties)
{
    fixture f;
    uint32_t count = 0;
    mj_device_info info;
    fake_reset();
    CHECK(fake_script("devices=2;arch=90;arch1=1100"));
    open_state(&f, FAKE);
    CHECK_STATUS(hip->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 2);
    CHECK_STATUS(hip->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_STRING(info.arch, "gfx90a"); /* without the features behind it */
    CHECK_STATUS(hip->device_info(f.state, 1, &info, &f.error), MJ_OK);
    CHECK_STRING(info.id, "hip:1");
    CHECK_STRING(info.name, "Fake gfx9 card 1");
    CHECK_STRING(info.arch, "gfx1100");
    CHECK_STRING(info.driver, "hip 6.4");
    CHECK_CONTAINS(info.compiler, "hiprtc");
    CHECK_STRING(info.note, "");
    CHECK_INT(info.sm_count, 304);
    CHECK_INT(info.l2_bytes, 4 << 20);
    CHECK_INT(info.smem_block_bytes_max, 65536);
    CHECK_INT(info.clock_mhz, 2100);
    CHECK_INT(info.memory_bytes, 1u << 30);
    CHECK_STATUS(hip->device_info(f.state, 2, &info, &f.error), MJ_ERR_NO_DEVICE);
    CHECK_CONTAINS(f.error.text, "hip:2: there are 2 AMD GPUs");
    CHECK(fake_script("mode=2"));
    CHECK_STATUS(hip->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_CONTAINS(info.note, "prohibited");
    CHECK_STATUS(hip->device_open(f.state, 7, &f.device, &f.error), MJ_ERR_NO_DEVICE);
    close_all(&f);
}

/* One card that cannot be used, for whatever reason, hides no other. */
TEST(mixed_machine)
{
    mj_context *context = NULL;
    mj_context_options options = {.cache_dir = "/nonexistent", .store_dir = "/nonexistent", .hiprtc_path = FAKE_HIPRTC};
    mj_device_info infos[16];
    mj_error error = {0};
    uint32_t count = 0, seen = 0;
    fake_reset();
    CHECK(fake_script("devices=3;arch=942;arch1=1030;hipGetDevicePropertiesR0600@3=719"));
    setenv("MOEJIT_LIBHIP", FAKE, 1);
    CHECK_STATUS(mj_context_create(&options, &context, &error), MJ_OK);
    CHECK_STATUS(mj_device_list(context, infos, 16, &count, &error), MJ_OK);
    for (uint32_t i = 0; i < count && i < 16; i++) {
        if (strcmp(infos[i].id, "hip:0") == 0) {
            CHECK_STRING(infos[i].arch, "gfx942");
            CHECK_STRING(infos[i].note, "");
            seen |= 1;
        } else if (strcmp(infos[i].id, "hip:1") == 0) {
            CHECK(infos[i].arch[0] == '\0' || !MOEJIT_GENERATOR);
            CHECK(!MOEJIT_GENERATOR || strstr(infos[i].note, "no kernels for gfx1030"));
            seen |= 2;
        } else if (strcmp(infos[i].id, "hip:2") == 0) {
            CHECK_CONTAINS(infos[i].note, "properties");
            seen |= 4;
        } else if (strcmp(infos[i].id, "cpu") == 0) {
            seen |= 8;
        }
    }
    CHECK_INT(seen, 15);
    mj_context_destroy(context);
    fixture f;
    fake_reset();
    CHECK(fake_script("devices=3;arch=942;arch1=1030;hipGetDevicePropertiesR0600@1=1"));
    open_state(&f, FAKE);
    CHECK_STATUS(hip->device_open(f.state, 2, &f.device, &f.error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(f.error.text, "propert");
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_OK); /* the good one serves */
    hip->kernel_unload(f.device, load(&f));
    close_all(&f);
}

TEST(busy_device)
{
    fixture f;
    fake_reset();
    open_state(&f, FAKE);
    CHECK(fake_script("hipSetDevice@1=46;hipMemGetInfo@1=2"));
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_DEVICE);
    CHECK_CONTAINS(f.error.text, "held by another process");
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_DEVICE_MEMORY);
    CHECK_STATUS(hip->device_open(f.state, 0, &f.device, &f.error), MJ_OK);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

/* ---- Calls ---- */

TEST(kernels)
{
    fixture f;
    open_device(&f);
    mj_kernel_attributes attributes = {0};
    void *kernel = NULL;
    CHECK_STATUS(hip->kernel_load(f.device, image, image_bytes, "k", 65536, &kernel, &attributes, &f.error), MJ_OK);
    CHECK_INT(attributes.regs_thread, 40);
    CHECK_INT(attributes.local_bytes, 8);
    CHECK_INT(attributes.static_smem_bytes, 16);
    CHECK_INT(attributes.threads_block_max, 1024);
    struct {
        int first, second, third;
    } args = {4711, 0, 0};
    mj_launch launch = {.blocks = 3, .threads = 128, .smem_bytes = 65536, .args = &args, .args_bytes = sizeof args};
    CHECK_STATUS(hip->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("hipModuleLaunchKernel"), 1);
    CHECK_INT(fake_count("argument"), 4711);
    CHECK_INT(fake_count("argument_bytes"), 12);
    CHECK_INT(fake_count("dynamic_bytes"), 65536 - 16); /* the code object brings 16 itself */
    launch.blocks = 0;
    CHECK_STATUS(hip->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("hipModuleLaunchKernel"), 1); /* nothing to do: no call */
    hip->kernel_unload(f.device, kernel);
    CHECK_STATUS(hip->kernel_load(f.device, image, image_bytes, "absent_k", 0, &kernel, NULL, &f.error),
                 MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(f.error.text, "absent_k");
    CHECK_STATUS(hip->kernel_load(f.device, image, image_bytes, "other", 0, &kernel, NULL, &f.error), MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(f.error.text, "kernel other: it is not in its code object");
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

TEST(wrong_and_damaged_code_stays_outside)
{
    static const char *const targets[] = {"gfx1100", "gfx90a", "gfx94", "gfx9421"};
    unsigned char other[FAKE_CODE_BYTES_MAX];
    fixture f;
    void *kernel = NULL;
    open_device(&f);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        fake_code code = {.target = targets[i], .kernels = {"k"}};
        char want[64];
        size_t bytes = fake_code_object(&code, other);
        CHECK_STATUS(hip->kernel_load(f.device, other, bytes, "k", 0, &kernel, NULL, &f.error), MJ_ERR_UNSUPPORTED);
        snprintf(want, sizeof want, "code for %s, but hip:0 is gfx942", targets[i]);
        CHECK_CONTAINS(f.error.text, want);
        CHECK(kernel == NULL);
    }
    for (size_t cut = 0; cut < image_bytes; cut += 7) {
        memcpy(other, image, sizeof other);
        CHECK_STATUS(hip->kernel_load(f.device, other, cut, "k", 0, &kernel, NULL, &f.error), MJ_ERR_FORMAT);
    }
    CHECK_CONTAINS(f.error.text, "no whole code object");
    memcpy(other, image, sizeof other);
    unsigned char *note = memmem(other, image_bytes, "AMDGPU", 6); /* who wrote the note with the metadata */
    CHECK(note);
    note[0] = 'X';
    CHECK_STATUS(hip->kernel_load(f.device, other, image_bytes, "k", 0, &kernel, NULL, &f.error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(f.error.text, "kernel k: ");
    CHECK_CONTAINS(f.error.text, "metadata");
    CHECK_INT(fake_count("hipModuleLoadData"), 0);
    close_all(&f);
}

TEST(memory)
{
    fixture f;
    char back[8] = "";
    void *block = NULL;
    uint64_t free_bytes = 0, total_bytes = 0;
    open_device(&f);
    CHECK_STATUS(hip->memory_alloc(f.device, 8, &block, &f.error), MJ_OK);
    CHECK_STATUS(hip->memory_upload(f.device, block, "payload", 8, NULL, &f.error), MJ_OK);
    CHECK_STATUS(hip->memory_set(f.device, block, 'P', 1, NULL, &f.error), MJ_OK);
    CHECK_STATUS(hip->memory_download(f.device, back, block, 8, NULL, &f.error), MJ_OK);
    CHECK_STRING(back, "Payload");
    CHECK_INT(fake_count("hipStreamSynchronize"), 2); /* both copies have waited */
    CHECK_STATUS(hip->memory_upload(f.device, NULL, NULL, 0, NULL, &f.error), MJ_OK);
    CHECK_STATUS(hip->memory_info(f.device, &free_bytes, &total_bytes, &f.error), MJ_OK);
    CHECK_INT(total_bytes, 1 << 30);
    hip->memory_free(f.device, block);
    hip->memory_free(f.device, NULL);
    CHECK_STATUS(hip->memory_alloc(f.device, 0, &block, &f.error), MJ_OK);
    hip->memory_free(f.device, block);
    CHECK(fake_script("free_mib=10"));
    CHECK_STATUS(hip->memory_alloc(f.device, 20 << 20, &block, &f.error), MJ_ERR_DEVICE_MEMORY);
    CHECK_CONTAINS(f.error.text, "20 MiB");
    CHECK_CONTAINS(f.error.text, "hipErrorOutOfMemory");
    CHECK(block == NULL);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

TEST(graphs_and_events)
{
    fixture f;
    void *stream = NULL, *graph = NULL, *start = NULL, *stop = NULL;
    int args = 1;
    double us = 0;
    open_device(&f);
    void *kernel = load(&f);
    mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args};
    CHECK_STATUS(hip->stream_create(f.device, &stream, &f.error), MJ_OK);
    CHECK_INT(fake_count("stream_flags"), HIP_STREAM_NON_BLOCKING); /* not ordered behind the default stream */
    CHECK_STATUS(hip->event_create(f.device, &start, &f.error), MJ_OK);
    CHECK_STATUS(hip->event_create(f.device, &stop, &f.error), MJ_OK);
    CHECK_STATUS(hip->capture_end(f.device, stream, &graph, &f.error), MJ_ERR_DEVICE); /* was never begun */
    CHECK(graph == NULL);
    CHECK_STATUS(hip->capture_begin(f.device, stream, &f.error), MJ_OK);
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(hip->kernel_launch(f.device, kernel, &launch, stream, &f.error), MJ_OK);
    }
    CHECK_STATUS(hip->stream_sync(f.device, stream, &f.error), MJ_ERR_DEVICE);
    CHECK_STATUS(hip->capture_end(f.device, stream, &graph, &f.error), MJ_OK);
    CHECK_INT(fake_count("hipGraphUpload"), 1);
    CHECK_STATUS(hip->event_record(f.device, start, stream, &f.error), MJ_OK);
    CHECK_STATUS(hip->graph_launch(f.device, graph, stream, &f.error), MJ_OK);
    CHECK_STATUS(hip->event_record(f.device, stop, stream, &f.error), MJ_OK);
    CHECK_STATUS(hip->event_elapsed_us(f.device, start, stop, &us, &f.error), MJ_OK);
    CHECK(fabs(us - 2500) < 1e-3);
    CHECK_INT(fake_count("graph_launches"), 10);
    CHECK(fake_script("hipGraphInstantiateWithFlags=801"));
    CHECK_STATUS(hip->capture_begin(f.device, stream, &f.error), MJ_OK);
    void *second = NULL;
    CHECK_STATUS(hip->capture_end(f.device, stream, &second, &f.error), MJ_ERR_UNSUPPORTED);
    CHECK(second == NULL);
    hip->graph_destroy(f.device, graph);
    hip->event_destroy(f.device, start);
    hip->event_destroy(f.device, stop);
    hip->stream_destroy(f.device, stream);
    hip->kernel_unload(f.device, kernel);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

TEST(caller_keeps_its_device)
{
    fixture f;
    fake_reset();
    CHECK(fake_script("devices=2"));
    open_state(&f, FAKE);
    CHECK_STATUS(hip->device_open(f.state, 1, &f.device, &f.error), MJ_OK);
    CHECK_INT(fake_count("device"), 0);
    long before = fake_count("hipSetDevice");
    CHECK_STATUS(hip->stream_sync(f.device, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("hipSetDevice"), before + 2); /* there and back */
    CHECK_INT(fake_count("device"), 0);
    close_all(&f);
}

/* ---- Failures ---- */

TEST(sticky_errors_lose_the_device)
{
    static const int codes[] = {700, 702, 709, 710, 719};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        fixture f;
        char script[64];
        int args = 0;
        open_device(&f);
        void *kernel = load(&f);
        mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args};
        snprintf(script, sizeof script, "hipStreamSynchronize@1=%d", codes[i]);
        CHECK(fake_script(script));
        CHECK_STATUS(hip->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
        CHECK_STATUS(hip->stream_sync(f.device, NULL, &f.error), MJ_ERR_DEVICE_LOST);
        CHECK_STATUS(hip->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_ERR_DEVICE_LOST);
        if (codes[i] == 700) {
            CHECK_CONTAINS(f.error.text, "hipErrorIllegalAddress (700)");
        }
        fake_reset(); /* the end of a process gives everything back; here the test must */
        hip->kernel_unload(f.device, kernel);
        close_all(&f);
    }
}

TEST(results_as_statuses)
{
    static const struct {
        int result;
        mj_status want;
    } rows[] = {
        {0, MJ_OK},
        {1, MJ_ERR_ARGUMENT},
        {2, MJ_ERR_DEVICE_MEMORY},
        {46, MJ_ERR_DEVICE},
        {100, MJ_ERR_NO_DEVICE},
        {200, MJ_ERR_FORMAT},
        {209, MJ_ERR_UNSUPPORTED},
        {500, MJ_ERR_NOT_FOUND},
        {701, MJ_ERR_DEVICE},
        {303, MJ_ERR_FORMAT},
        {719, MJ_ERR_DEVICE_LOST},
        {1052, MJ_ERR_DEVICE_LOST},
        {801, MJ_ERR_UNSUPPORTED},
        {900, MJ_ERR_DEVICE},
        {999, MJ_ERR_DEVICE_LOST},
        {-5, MJ_ERR_DEVICE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_INT(mj_hip_status(rows[i].result), rows[i].want);
    }
}

typedef mj_status (*one_call)(fixture *f);
static void *a_kernel, *a_block, *a_stream, *an_event;

static mj_status do_load(fixture *f)
{
    void *kernel = NULL;
    mj_status status = hip->kernel_load(f->device, image, image_bytes, "k", 100000, &kernel, NULL, &f->error);
    hip->kernel_unload(f->device, kernel);
    return status;
}
static mj_status do_launch(fixture *f)
{
    int args = 0;
    mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args};
    return hip->kernel_launch(f->device, a_kernel, &launch, NULL, &f->error);
}
static mj_status do_alloc(fixture *f)
{
    void *block = NULL;
    mj_status status = hip->memory_alloc(f->device, 16, &block, &f->error);
    hip->memory_free(f->device, block);
    return status;
}
static mj_status do_upload(fixture *f)
{
    return hip->memory_upload(f->device, a_block, "x", 1, NULL, &f->error);
}
static mj_status do_download(fixture *f)
{
    char byte;
    return hip->memory_download(f->device, &byte, a_block, 1, NULL, &f->error);
}
static mj_status do_set(fixture *f)
{
    return hip->memory_set(f->device, a_block, 0, 1, NULL, &f->error);
}
static mj_status do_info(fixture *f)
{
    uint64_t a, b;
    return hip->memory_info(f->device, &a, &b, &f->error);
}
static mj_status do_stream(fixture *f)
{
    void *stream = NULL;
    mj_status status = hip->stream_create(f->device, &stream, &f->error);
    hip->stream_destroy(f->device, stream);
    return status;
}
static mj_status do_event(fixture *f)
{
    void *event = NULL;
    mj_status status = hip->event_create(f->device, &event, &f->error);
    hip->event_destroy(f->device, event);
    return status;
}
static mj_status do_time(fixture *f)
{
    double us = 0;
    mj_status status = hip->event_record(f->device, an_event, NULL, &f->error);
    return status == MJ_OK ? hip->event_elapsed_us(f->device, an_event, an_event, &us, &f->error) : status;
}
static mj_status do_graph(fixture *f)
{
    void *graph = NULL;
    mj_status status = hip->capture_begin(f->device, a_stream, &f->error);
    status = status == MJ_OK ? hip->capture_end(f->device, a_stream, &graph, &f->error) : status;
    status = status == MJ_OK ? hip->graph_launch(f->device, graph, NULL, &f->error) : status;
    hip->graph_destroy(f->device, graph);
    return status;
}

TEST(every_call_reports_its_failure)
{
    static const struct {
        const char *function;
        one_call call;
    } rows[] = {
        {"hipModuleLoadData", do_load},
        {"hipModuleGetFunction", do_load},
        {"hipModuleLaunchKernel", do_launch},
        {"hipMalloc", do_alloc},
        {"hipMemcpyHtoDAsync", do_upload},
        {"hipStreamSynchronize", do_upload},
        {"hipMemcpyDtoHAsync", do_download},
        {"hipStreamSynchronize", do_download},
        {"hipMemsetAsync", do_set},
        {"hipMemGetInfo", do_info},
        {"hipStreamCreateWithFlags", do_stream},
        {"hipEventCreateWithFlags", do_event},
        {"hipEventRecord", do_time},
        {"hipEventSynchronize", do_time},
        {"hipEventElapsedTime", do_time},
        {"hipStreamBeginCapture", do_graph},
        {"hipStreamEndCapture", do_graph},
        {"hipGraphInstantiateWithFlags", do_graph},
        {"hipGraphUpload", do_graph},
        {"hipGraphLaunch", do_graph},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture f;
        char script[96];
        open_device(&f);
        a_kernel = load(&f);
        CHECK_STATUS(hip->memory_alloc(f.device, 16, &a_block, &f.error), MJ_OK);
        CHECK_STATUS(hip->stream_create(f.device, &a_stream, &f.error), MJ_OK);
        CHECK_STATUS(hip->event_create(f.device, &an_event, &f.error), MJ_OK);
        CHECK_STATUS(rows[i].call(&f), MJ_OK);
        snprintf(script, sizeof script, "%s=46", rows[i].function);
        CHECK(fake_script(script));
        memset(&f.error, 0, sizeof f.error);
        CHECK_STATUS(rows[i].call(&f), MJ_ERR_DEVICE);
        CHECK_CONTAINS(f.error.text, "(46)");
        CHECK_INT(fake_count("device"), 0);
        fake_reset();
        hip->event_destroy(f.device, an_event);
        hip->memory_free(f.device, a_block);
        hip->kernel_unload(f.device, a_kernel);
        if (rows[i].call == do_graph) { /* may still capture: the driver ends that with the stream */
            void *graph = NULL;
            hip->capture_end(f.device, a_stream, &graph, NULL);
            hip->graph_destroy(f.device, graph);
        }
        hip->stream_destroy(f.device, a_stream);
        close_all(&f);
        CHECK_INT(fake_count("live"), 0);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    void *library = dlopen(FAKE, RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    fake_reset = (fake_hip_reset_fn)dlsym(library, "fake_hip_reset");
    fake_script = (fake_hip_script_fn)dlsym(library, "fake_hip_script");
    fake_count = (fake_hip_count_fn)dlsym(library, "fake_hip_count");
    setenv("FAKE_HIPRTC", "", 1);
    fake_code code = {.target = "gfx942:sramecc+:xnack-",
                      .kernels = {"k", "absent_k"},
                      .vgprs = 40,
                      .scratch_bytes = 8,
                      .lds_bytes = 16};
    image_bytes = fake_code_object(&code, image);
    RUN(no_runtime_is_no_device);
    RUN(old_runtime_names_what_it_lacks);
    RUN(rocm_5);
    RUN(broken_runtime_is_listed);
    RUN(device_properties);
    RUN(mixed_machine);
    RUN(busy_device);
    RUN(kernels);
    RUN(wrong_and_damaged_code_stays_outside);
    RUN(memory);
    RUN(graphs_and_events);
    RUN(caller_keeps_its_device);
    RUN(sticky_errors_lose_the_device);
    RUN(results_as_statuses);
    RUN(every_call_reports_its_failure);
    dlclose(library);
    return CHECK_END();
}
