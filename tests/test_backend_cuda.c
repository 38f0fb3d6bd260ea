/* test_backend_cuda.c: the cuda backend against a scripted driver: every call, every kind of failure, nothing left behind. */
#define _GNU_SOURCE
#include "cuda_fixture.h"

#include <elf.h>

#define FAKE_OLD MJ_TEST_BUILD_DIR "/tests/libfake_cuda_old.so"
#define FAKE_11  MJ_TEST_BUILD_DIR "/tests/libfake_cuda_11.so"

/* The smallest file that the backend takes for a cubin. */
static const Elf64_Ehdr image = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64}, .e_shentsize = sizeof(Elf64_Shdr)};

static void *load(fixture *f, uint32_t smem_bytes)
{
    void *kernel = NULL;
    mj_kernel_attributes attributes = {0};
    if (cuda->kernel_load(f->device, &image, sizeof image, "k", smem_bytes, &kernel, &attributes, &f->error) != MJ_OK) {
        check_fail(__FILE__, __LINE__, "%s", f->error.text);
    }
    return kernel;
}

/* ---- Devices ---- */

TEST(no_driver_is_no_device)
{
    fixture f;
    uint32_t count = 9;
    open_state(&f, "/nonexistent/libcuda.so.1");
    CHECK_STATUS(cuda->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 0);
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_NO_DEVICE);
    CHECK(f.device == NULL);
    CHECK_CONTAINS(f.error.text, "/nonexistent/libcuda.so.1");
    /* Compiling needs none. */
    mj_compiled out;
    CHECK_STATUS(cuda->compile(f.state, "sm_90a", "source", 6, &out, &f.error), MJ_OK);
    mj_compiled_free(&out);
    CHECK_STATUS(cuda->compile(f.state, "sm_90a", "sou\0ce", 6, &out, &f.error), MJ_ERR_ARGUMENT);
    close_all(&f);
}

TEST(old_driver_names_what_it_lacks)
{
    fixture f;
    uint32_t count = 0;
    mj_device_info info;
    open_state(&f, FAKE_OLD);
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(f.error.text, "it has no cuGraphInstantiateWithFlags");
    CHECK_STATUS(cuda->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 1);
    CHECK_STATUS(cuda->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_CONTAINS(info.note, "too old");
    close_all(&f);
}

TEST(broken_driver_is_listed)
{
    fixture f;
    uint32_t count = 0;
    mj_device_info info;
    fake_reset();
    CHECK(fake_script("cuInit=803"));
    open_state(&f, FAKE);
    CHECK_STATUS(cuda->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 1);
    CHECK_STATUS(cuda->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_STRING(info.id, "cuda:0");
    CHECK_CONTAINS(info.note, "does not start");
    CHECK_CONTAINS(info.note, "(803)");
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_NO_DEVICE);
    close_all(&f);
    fake_reset();
    CHECK(fake_script("cuInit=100")); /* all is well, there is just no GPU */
    open_state(&f, FAKE);
    CHECK_STATUS(cuda->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 0);
    close_all(&f);
}

TEST(device_properties)
{
    fixture f;
    uint32_t count = 0;
    mj_device_info info;
    fake_reset();
    CHECK(fake_script("devices=2"));
    open_state(&f, FAKE);
    CHECK_STATUS(cuda->device_count(f.state, &count, &f.error), MJ_OK);
    CHECK_INT(count, 2);
    CHECK_STATUS(cuda->device_info(f.state, 1, &info, &f.error), MJ_OK);
    CHECK_STRING(info.id, "cuda:1");
    CHECK_STRING(info.name, "Fake GPU 1");
    CHECK_STRING(info.driver, "cuda 13.0");
    CHECK_CONTAINS(info.compiler, "nvrtc 13.0");
    CHECK_STRING(info.note, "");
    CHECK_INT(info.sm_count, 132);
    CHECK_INT(info.capability_major * 10 + info.capability_minor, 90);
    CHECK_INT(info.l2_bytes, 50 << 20);
    CHECK_INT(info.smem_block_bytes_max, 232448);
    CHECK_INT(info.clock_mhz, 1980);
    CHECK_INT(info.memory_bytes, 1u << 30);
    CHECK_STATUS(cuda->device_info(f.state, 2, &info, &f.error), MJ_ERR_NO_DEVICE);
    CHECK_CONTAINS(f.error.text, "cuda:2: there are 2 NVIDIA GPUs");
    CHECK(fake_script("mode=2"));
    CHECK_STATUS(cuda->device_info(f.state, 0, &info, &f.error), MJ_OK);
    CHECK_CONTAINS(info.note, "prohibited");
    CHECK_STATUS(cuda->device_open(f.state, 7, &f.device, &f.error), MJ_ERR_NO_DEVICE);
    close_all(&f);
}

/* Whatever the driver knows: what this version has no kernels for is not picked, and the list says why. */
TEST(a_gpu_without_kernels)
{
    fixture f;
    mj_device_info infos[16];
    mj_device *device = NULL;
    uint32_t count = 0;
    fake_reset();
    CHECK(fake_script("capability=75"));
    open_state(&f, FAKE);
    CHECK_STATUS(mj_device_list(f.context, infos, 16, &count, &f.error), MJ_OK);
    CHECK(count >= 2 && count <= 16);
    CHECK_STRING(infos[0].id, "cuda:0");
    CHECK_STRING(infos[0].arch, "");
    CHECK_STRING(infos[0].note, "this version has no kernels for compute capability 7.5");
    CHECK_STATUS(mj_device_open(f.context, "cuda:0", &device, &f.error), MJ_ERR_NO_DEVICE);
    CHECK_CONTAINS(f.error.text, "no kernels for compute capability 7.5");
    if (mj_device_open(f.context, "best", &device, &f.error) == MJ_OK) { /* else nothing here is usable */
        CHECK(strncmp(mj_device_get_info(device)->id, "cuda", 4) != 0);
    }
    mj_device_close(device);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

TEST(a_gpu_that_says_nothing_is_listed)
{
    fixture f;
    mj_device_info infos[16];
    mj_device *device = NULL;
    uint32_t count = 0;
    fake_reset();
    CHECK(fake_script("devices=2;cuDeviceGetName@1=999"));
    open_state(&f, FAKE);
    CHECK_STATUS(mj_device_list(f.context, infos, 16, &count, &f.error), MJ_OK);
    CHECK(count >= 3 && count <= 16);
    CHECK_STRING(infos[0].id, "cuda:0");
    CHECK_CONTAINS(infos[0].note, "naming a GPU");
    CHECK_STRING(infos[1].id, "cuda:1");
    CHECK_STRING(infos[1].note, "");
    CHECK(fake_script("cuDeviceGetName@3=999"));
    CHECK_STATUS(mj_device_open(f.context, "best", &device, &f.error), MJ_OK); /* the second, which is asked again */
    CHECK_STRING(mj_device_get_info(device)->id, "cuda:1");
    mj_device_close(device);
    close_all(&f);
}

TEST(busy_device)
{
    fixture f;
    fake_reset();
    open_state(&f, FAKE);
    CHECK(fake_script("cuDevicePrimaryCtxRetain@1=46;cuDevicePrimaryCtxRetain@2=2"));
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_DEVICE);
    CHECK_CONTAINS(f.error.text, "held by another process");
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_ERR_DEVICE_MEMORY);
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_OK);
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
    CHECK_STATUS(cuda->kernel_load(f.device, &image, sizeof image, "k", 100000, &kernel, &attributes, &f.error), MJ_OK);
    CHECK_INT(attributes.regs_thread, 40);
    CHECK_INT(attributes.local_bytes, 8);
    CHECK_INT(attributes.static_smem_bytes, 16);
    CHECK_INT(attributes.threads_block_max, 1024);
    CHECK_INT(fake_count("smem"), 100000);
    struct {
        int first, second;
    } args = {4711, 0};
    mj_launch launch = {.blocks = 3, .threads = 128, .smem_bytes = 100000, .args = &args, .args_bytes = sizeof args};
    CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("cuLaunchKernel"), 1);
    CHECK_INT(fake_count("argument"), 4711);
    launch.blocks = 0;
    CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("cuLaunchKernel"), 1); /* nothing to do: no call */
    cuda->kernel_unload(f.device, kernel);
    CHECK_INT(fake_count("pushed"), 0);
    CHECK_STATUS(cuda->kernel_load(f.device, &image, sizeof image, "absent_k", 0, &kernel, NULL, &f.error),
                 MJ_ERR_NOT_FOUND);
    CHECK_CONTAINS(f.error.text, "absent_k");
    CHECK_STATUS(cuda->kernel_load(f.device, &image, sizeof image, "k", 300000, &kernel, NULL, &f.error),
                 MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(f.error.text, "300000 bytes of shared memory");
    CHECK_INT(fake_count("cuFuncSetAttribute"), 2);
    cuda->kernel_unload(f.device, load(&f, 48 * 1024)); /* up to here nothing need be asked for */
    CHECK_INT(fake_count("cuFuncSetAttribute"), 2);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

TEST(dependent_launches)
{
    fixture f;
    open_device(&f);
    int args = 4712;
    mj_launch launch = {.blocks = 3, .threads = 384, .args = &args, .args_bytes = sizeof args, .dependent = true};
    void *kernel = load(&f, 0), *stream = NULL, *graph = NULL;
    CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("cuLaunchKernelEx"), 1);
    CHECK_INT(fake_count("early"), 1);
    CHECK_INT(fake_count("argument"), 4712);
    launch.dependent = false;
    CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("cuLaunchKernelEx"), 1);
    CHECK_INT(fake_count("cuLaunchKernel"), 1);
    launch.dependent = true;
    CHECK_STATUS(cuda->stream_create(f.device, &stream, &f.error), MJ_OK);
    CHECK_STATUS(cuda->capture_begin(f.device, stream, &f.error), MJ_OK);
    CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, stream, &f.error), MJ_OK);
    CHECK_STATUS(cuda->capture_end(f.device, stream, &graph, &f.error), MJ_OK);
    CHECK_STATUS(cuda->graph_launch(f.device, graph, stream, &f.error), MJ_OK);
    CHECK_INT(fake_count("graph_launches"), 1);
    cuda->graph_destroy(f.device, graph);
    cuda->stream_destroy(f.device, stream);
    cuda->kernel_unload(f.device, kernel);
    CHECK_INT(fake_count("pushed"), 0);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

static const mj_tensor_map a_map = {.address = 0x7000,
                                    .rows = 3000000000u,
                                    .row_elements = 4096,
                                    .element_bytes = 2,
                                    .box_rows = 128,
                                    .box_elements = 64,
                                    .swizzle_bytes = 128};

TEST(tensor_maps)
{
    static const struct {
        uint32_t swizzle_bytes, element_bytes, want_swizzle, want_type;
    } rows[] = {{0, 2, 0, 1}, {32, 1, 1, 0}, {64, 2, 2, 1}, {128, 1, 3, 0}};
    fixture f;
    open_device(&f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        _Alignas(MJ_TENSOR_MAP_ALIGN) unsigned long long words[MJ_TENSOR_MAP_BYTES / 8];
        mj_tensor_map map = a_map;
        map.swizzle_bytes = rows[i].swizzle_bytes;
        map.element_bytes = rows[i].element_bytes;
        map.box_elements = (map.swizzle_bytes ? map.swizzle_bytes : 64) / map.element_bytes;
        CHECK_STATUS(cuda->tensor_map_encode(f.device, &map, words, &f.error), MJ_OK);
        CHECK_INT(words[0], 0x7000);
        CHECK_INT(words[1], 4096);
        CHECK_INT(words[2], 3000000000u);
        CHECK_INT(words[3], 4096 * map.element_bytes);
        CHECK_INT(words[4], rows[i].want_type);
        CHECK_INT(words[5], rows[i].want_swizzle);
        CHECK_INT(words[6], map.box_elements);
        CHECK_INT(words[7], 128);
        CHECK_INT(words[8], 2);
        CHECK_INT(words[9], 0);
    }
    _Alignas(MJ_TENSOR_MAP_ALIGN) char out[MJ_TENSOR_MAP_BYTES];
    _Alignas(MJ_TENSOR_MAP_ALIGN) unsigned long long words[MJ_TENSOR_MAP_BYTES / 8];
    mj_tensor_map map = a_map;
    map.rows = map.box_rows = 8;
    map.axis_count = 3;
    map.axes[0] = (mj_tensor_axis){2, 96, 2};
    map.axes[1] = (mj_tensor_axis){12, 8, 4};
    map.axes[2] = (mj_tensor_axis){5, 192, 1};
    CHECK_STATUS(cuda->tensor_map_encode(f.device, &map, words, &f.error), MJ_OK);
    const unsigned long long want[] = {0x7000, 4096,      8,    8192,     1,     3,          64,  8,
                                       5,      96 * 8192, 2002, 8 * 8192, 12004, 192 * 8192, 5001};
    CHECK(memcmp(words, want, sizeof want) == 0);
    map = a_map;
    map.address += 8;
    CHECK_STATUS(cuda->tensor_map_encode(f.device, &map, out, &f.error), MJ_ERR_ARGUMENT);
    CHECK_CONTAINS(f.error.text, "describing an array to the copy engine");
    CHECK_INT(fake_count("pushed"), 0);
    close_all(&f);
}

TEST(driver_before_tensor_maps)
{
    fixture f;
    _Alignas(MJ_TENSOR_MAP_ALIGN) char out[MJ_TENSOR_MAP_BYTES];
    int args = 4713;
    mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args, .dependent = true};
    void *library = dlopen(FAKE_11, RTLD_NOW);
    CHECK(library);
    fake_cuda_count_fn count = (fake_cuda_count_fn)dlsym(library, "fake_cuda_count");
    open_state(&f, FAKE_11);
    CHECK_STATUS(cuda->device_open(f.state, 0, &f.device, &f.error), MJ_OK);
    CHECK_STATUS(cuda->tensor_map_encode(f.device, &a_map, out, &f.error), MJ_ERR_UNSUPPORTED);
    CHECK_CONTAINS(f.error.text, "CUDA 12.0 or later");
    void *kernel = load(&f, 0); /* one after the other is slower, and right */
    CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
    CHECK_INT(count("cuLaunchKernel"), 1);
    CHECK_INT(count("argument"), 4713);
    cuda->kernel_unload(f.device, kernel);
    close_all(&f);
    CHECK_INT(count("live"), 0);
    dlclose(library);
}

TEST(damaged_images_stay_outside)
{
    fixture f;
    void *kernel = NULL;
    open_device(&f);
    Elf64_Ehdr bad[6];
    for (int i = 0; i < 6; i++) {
        bad[i] = image;
    }
    bad[0].e_ident[1] = 'X';
    bad[1].e_ident[EI_CLASS] = ELFCLASS32;
    bad[2].e_shnum = 1; /* a section table past the end */
    bad[2].e_shoff = sizeof image;
    bad[3].e_shoff = UINT64_MAX - 1;
    bad[4].e_phnum = 2;
    bad[4].e_phentsize = 56;
    bad[5].e_shentsize = 1;
    for (int i = 0; i < 6; i++) {
        CHECK_STATUS(cuda->kernel_load(f.device, &bad[i], sizeof bad[i], "k", 0, &kernel, NULL, &f.error),
                     MJ_ERR_FORMAT);
        CHECK(kernel == NULL);
    }
    CHECK_STATUS(cuda->kernel_load(f.device, &image, sizeof image - 1, "k", 0, &kernel, NULL, &f.error), MJ_ERR_FORMAT);
    struct {
        Elf64_Ehdr header;
        Elf64_Shdr section;
    } with_section = {image, {.sh_type = SHT_PROGBITS, .sh_offset = 100, .sh_size = 1000}};
    with_section.header.e_shnum = 1;
    with_section.header.e_shoff = sizeof image;
    CHECK_STATUS(cuda->kernel_load(f.device, &with_section, sizeof with_section, "k", 0, &kernel, NULL, &f.error),
                 MJ_ERR_FORMAT);
    with_section.section.sh_size = 1;
    CHECK_STATUS(cuda->kernel_load(f.device, &with_section, sizeof with_section, "k", 0, &kernel, NULL, &f.error),
                 MJ_OK);
    cuda->kernel_unload(f.device, kernel);
    CHECK_INT(fake_count("cuModuleLoadData"), 1);
    close_all(&f);
}

TEST(memory)
{
    fixture f;
    char back[8] = "";
    void *block = NULL;
    uint64_t free_bytes = 0, total_bytes = 0;
    open_device(&f);
    CHECK_STATUS(cuda->memory_alloc(f.device, 8, &block, &f.error), MJ_OK);
    CHECK_STATUS(cuda->memory_upload(f.device, block, "payload", 8, NULL, &f.error), MJ_OK);
    CHECK_STATUS(cuda->memory_set(f.device, block, 'P', 1, NULL, &f.error), MJ_OK);
    CHECK_STATUS(cuda->memory_download(f.device, back, block, 8, NULL, &f.error), MJ_OK);
    CHECK_STRING(back, "Payload");
    CHECK_INT(fake_count("cuStreamSynchronize"), 2); /* both copies have waited */
    CHECK_STATUS(cuda->memory_upload(f.device, NULL, NULL, 0, NULL, &f.error), MJ_OK);
    CHECK_STATUS(cuda->memory_info(f.device, &free_bytes, &total_bytes, &f.error), MJ_OK);
    CHECK_INT(total_bytes, 1 << 30);
    cuda->memory_free(f.device, block);
    cuda->memory_free(f.device, NULL);
    CHECK_STATUS(cuda->memory_alloc(f.device, 0, &block, &f.error), MJ_OK);
    cuda->memory_free(f.device, block);
    CHECK(fake_script("free_mib=10"));
    CHECK_STATUS(cuda->memory_alloc(f.device, 20 << 20, &block, &f.error), MJ_ERR_DEVICE_MEMORY);
    CHECK_CONTAINS(f.error.text, "20 MiB");
    CHECK_CONTAINS(f.error.text, "CUDA_ERROR_OUT_OF_MEMORY");
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
    void *kernel = load(&f, 0);
    mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args};
    CHECK_STATUS(cuda->stream_create(f.device, &stream, &f.error), MJ_OK);
    CHECK_INT(fake_count("stream_flags"), CU_STREAM_NON_BLOCKING); /* not ordered behind the default stream */
    CHECK_STATUS(cuda->event_create(f.device, &start, &f.error), MJ_OK);
    CHECK_STATUS(cuda->event_create(f.device, &stop, &f.error), MJ_OK);
    CHECK_STATUS(cuda->capture_end(f.device, stream, &graph, &f.error), MJ_ERR_DEVICE); /* was never begun */
    CHECK(graph == NULL);
    CHECK_STATUS(cuda->capture_begin(f.device, stream, &f.error), MJ_OK);
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, stream, &f.error), MJ_OK);
    }
    CHECK_STATUS(cuda->stream_sync(f.device, stream, &f.error), MJ_ERR_DEVICE);
    CHECK_STATUS(cuda->capture_end(f.device, stream, &graph, &f.error), MJ_OK);
    CHECK_INT(fake_count("cuGraphUpload"), 1);
    CHECK_STATUS(cuda->event_record(f.device, start, stream, &f.error), MJ_OK);
    CHECK_STATUS(cuda->graph_launch(f.device, graph, stream, &f.error), MJ_OK);
    CHECK_STATUS(cuda->event_record(f.device, stop, stream, &f.error), MJ_OK);
    CHECK_STATUS(cuda->event_elapsed_us(f.device, start, stop, &us, &f.error), MJ_OK);
    CHECK(fabs(us - 2500) < 1e-3);
    CHECK_INT(fake_count("graph_launches"), 10);
    CHECK(fake_script("cuGraphInstantiateWithFlags=801"));
    CHECK_STATUS(cuda->capture_begin(f.device, stream, &f.error), MJ_OK);
    void *second = NULL;
    CHECK_STATUS(cuda->capture_end(f.device, stream, &second, &f.error), MJ_ERR_UNSUPPORTED);
    CHECK(second == NULL);
    cuda->graph_destroy(f.device, graph);
    cuda->event_destroy(f.device, start);
    cuda->event_destroy(f.device, stop);
    cuda->stream_destroy(f.device, stream);
    cuda->kernel_unload(f.device, kernel);
    close_all(&f);
    CHECK_INT(fake_count("live"), 0);
}

TEST(caller_keeps_its_context)
{
    fixture f;
    int other = 0;
    void *current = NULL;
    open_device(&f);
    void *library = dlopen(FAKE, RTLD_NOW);
    CHECK(library);
    int (*push)(void *) = (int (*)(void *))dlsym(library, "cuCtxPushCurrent_v2");
    int (*pop)(void **) = (int (*)(void **))dlsym(library, "cuCtxPopCurrent_v2");
    CHECK_INT(push(&other), 0);
    CHECK_STATUS(cuda->stream_sync(f.device, NULL, &f.error), MJ_OK);
    CHECK_INT(fake_count("cuCtxPushCurrent_v2"), 2);
    CHECK_INT(pop(&current), 0);
    CHECK(current == &other);
    dlclose(library);
    close_all(&f);
}

/* ---- Failures ---- */

TEST(sticky_errors_lose_the_device)
{
    static const int codes[] = {700, 702, 709, 710, 714, 715, 716, 717, 718, 719};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        fixture f;
        char script[64];
        int args = 0;
        open_device(&f);
        void *kernel = load(&f, 0);
        mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args};
        snprintf(script, sizeof script, "cuStreamSynchronize@1=%d", codes[i]);
        CHECK(fake_script(script));
        CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_OK);
        CHECK_STATUS(cuda->stream_sync(f.device, NULL, &f.error), MJ_ERR_DEVICE_LOST);
        CHECK_STATUS(cuda->kernel_launch(f.device, kernel, &launch, NULL, &f.error), MJ_ERR_DEVICE_LOST);
        if (codes[i] == 700) {
            CHECK_CONTAINS(f.error.text, "CUDA_ERROR_ILLEGAL_ADDRESS (700)");
        }
        fake_reset(); /* the end of a process gives everything back; here the test must */
        cuda->kernel_unload(f.device, kernel);
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
        {719, MJ_ERR_DEVICE_LOST},
        {801, MJ_ERR_UNSUPPORTED},
        {900, MJ_ERR_DEVICE},
        {999, MJ_ERR_DEVICE_LOST},
        {-5, MJ_ERR_DEVICE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_INT(mj_cuda_status(rows[i].result), rows[i].want);
    }
}

typedef mj_status (*one_call)(fixture *f);
static void *a_kernel, *a_block, *a_stream, *an_event;

static mj_status do_load(fixture *f)
{
    void *kernel = NULL;
    mj_status status = cuda->kernel_load(f->device, &image, sizeof image, "k", 100000, &kernel, NULL, &f->error);
    cuda->kernel_unload(f->device, kernel);
    return status;
}
static mj_status do_launch(fixture *f)
{
    int args = 0;
    mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args};
    return cuda->kernel_launch(f->device, a_kernel, &launch, NULL, &f->error);
}
static mj_status do_dependent_launch(fixture *f)
{
    int args = 0;
    mj_launch launch = {.blocks = 1, .threads = 32, .args = &args, .args_bytes = sizeof args, .dependent = true};
    return cuda->kernel_launch(f->device, a_kernel, &launch, NULL, &f->error);
}
static mj_status do_tensor_map(fixture *f)
{
    _Alignas(MJ_TENSOR_MAP_ALIGN) char out[MJ_TENSOR_MAP_BYTES];
    return cuda->tensor_map_encode(f->device, &a_map, out, &f->error);
}
static mj_status do_alloc(fixture *f)
{
    void *block = NULL;
    mj_status status = cuda->memory_alloc(f->device, 16, &block, &f->error);
    cuda->memory_free(f->device, block);
    return status;
}
static mj_status do_upload(fixture *f)
{
    return cuda->memory_upload(f->device, a_block, "x", 1, NULL, &f->error);
}
static mj_status do_download(fixture *f)
{
    char byte;
    return cuda->memory_download(f->device, &byte, a_block, 1, NULL, &f->error);
}
static mj_status do_set(fixture *f)
{
    return cuda->memory_set(f->device, a_block, 0, 1, NULL, &f->error);
}
static mj_status do_info(fixture *f)
{
    uint64_t a, b;
    return cuda->memory_info(f->device, &a, &b, &f->error);
}
static mj_status do_stream(fixture *f)
{
    void *stream = NULL;
    mj_status status = cuda->stream_create(f->device, &stream, &f->error);
    cuda->stream_destroy(f->device, stream);
    return status;
}
static mj_status do_event(fixture *f)
{
    void *event = NULL;
    mj_status status = cuda->event_create(f->device, &event, &f->error);
    cuda->event_destroy(f->device, event);
    return status;
}
static mj_status do_time(fixture *f)
{
    double us = 0;
    mj_status status = cuda->event_record(f->device, an_event, NULL, &f->error);
    return status == MJ_OK ? cuda->event_elapsed_us(f->device, an_event, an_event, &us, &f->error) : status;
}
static mj_status do_graph(fixture *f)
{
    void *graph = NULL;
    mj_status status = cuda->capture_begin(f->device, a_stream, &f->error);
    status = status == MJ_OK ? cuda->capture_end(f->device, a_stream, &graph, &f->error) : status;
    status = status == MJ_OK ? cuda->graph_launch(f->device, graph, NULL, &f->error) : status;
    cuda->graph_destroy(f->device, graph);
    return status;
}

TEST(every_call_reports_its_failure)
{
    static const struct {
        const char *function;
        one_call call;
    } rows[] = {
        {"cuCtxPushCurrent_v2", do_launch},
        {"cuModuleLoadData", do_load},
        {"cuModuleGetFunction", do_load},
        {"cuFuncGetAttribute", do_load},
        {"cuFuncSetAttribute", do_load},
        {"cuLaunchKernel", do_launch},
        {"cuLaunchKernelEx", do_dependent_launch},
        {"cuTensorMapEncodeTiled", do_tensor_map},
        {"cuCtxPushCurrent_v2", do_tensor_map},
        {"cuMemAlloc_v2", do_alloc},
        {"cuMemcpyHtoDAsync_v2", do_upload},
        {"cuStreamSynchronize", do_upload},
        {"cuMemcpyDtoHAsync_v2", do_download},
        {"cuStreamSynchronize", do_download},
        {"cuMemsetD8Async", do_set},
        {"cuMemGetInfo_v2", do_info},
        {"cuStreamCreate", do_stream},
        {"cuEventCreate", do_event},
        {"cuEventRecord", do_time},
        {"cuEventSynchronize", do_time},
        {"cuEventElapsedTime_v2", do_time},
        {"cuStreamBeginCapture_v2", do_graph},
        {"cuStreamEndCapture", do_graph},
        {"cuGraphInstantiateWithFlags", do_graph},
        {"cuGraphUpload", do_graph},
        {"cuGraphLaunch", do_graph},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fixture f;
        char script[96];
        open_device(&f);
        a_kernel = load(&f, 0);
        CHECK_STATUS(cuda->memory_alloc(f.device, 16, &a_block, &f.error), MJ_OK);
        CHECK_STATUS(cuda->stream_create(f.device, &a_stream, &f.error), MJ_OK);
        CHECK_STATUS(cuda->event_create(f.device, &an_event, &f.error), MJ_OK);
        CHECK_STATUS(rows[i].call(&f), MJ_OK);
        snprintf(script, sizeof script, "%s=46", rows[i].function);
        CHECK(fake_script(script));
        memset(&f.error, 0, sizeof f.error);
        CHECK_STATUS(rows[i].call(&f), MJ_ERR_DEVICE);
        CHECK_CONTAINS(f.error.text, "(46)");
        CHECK_INT(fake_count("pushed"), 0);
        fake_reset();
        cuda->event_destroy(f.device, an_event);
        cuda->memory_free(f.device, a_block);
        cuda->kernel_unload(f.device, a_kernel);
        if (rows[i].call == do_graph) { /* may still capture: the driver ends that with the stream */
            void *graph = NULL;
            cuda->capture_end(f.device, a_stream, &graph, NULL);
            cuda->graph_destroy(f.device, graph);
        }
        cuda->stream_destroy(f.device, a_stream);
        close_all(&f);
        CHECK_INT(fake_count("live"), 0);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    void *library = open_fake_driver();
    if (!library) {
        return 2;
    }
    RUN(no_driver_is_no_device);
    RUN(old_driver_names_what_it_lacks);
    RUN(broken_driver_is_listed);
    RUN(device_properties);
    RUN(a_gpu_without_kernels);
    RUN(a_gpu_that_says_nothing_is_listed);
    RUN(busy_device);
    RUN(kernels);
    RUN(dependent_launches);
    RUN(tensor_maps);
    RUN(driver_before_tensor_maps);
    RUN(damaged_images_stay_outside);
    RUN(memory);
    RUN(graphs_and_events);
    RUN(caller_keeps_its_context);
    RUN(sticky_errors_lose_the_device);
    RUN(results_as_statuses);
    RUN(every_call_reports_its_failure);
    dlclose(library);
    return CHECK_END();
}
