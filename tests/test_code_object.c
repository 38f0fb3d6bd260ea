/* test_code_object.c: the metadata of code objects: what a compiler wrote is read, what is damaged is refused. */
#define _GNU_SOURCE
#include "check.h"
#include "code_object.h"
#include "fake_code_object.h"

static unsigned char file[FAKE_CODE_BYTES_MAX], bundle[2 * FAKE_CODE_BYTES_MAX];
static const fake_code usual = {.target = "gfx942:sramecc+:xnack-",
                                .kernels = {"first", "second"},
                                .vgprs = 200,
                                .agprs = 64,
                                .sgprs = 90,
                                .lds_bytes = 65536,
                                .scratch_bytes = 16};

TEST(everything_is_read)
{
    mj_code_object object;
    mj_code_kernel kernel;
    mj_error error = {0};
    size_t bytes = fake_code_object(&usual, file);
    CHECK_STATUS(mj_code_object_read(file, bytes, &object, &error), MJ_OK);
    CHECK_STRING(object.target, "gfx942");
    CHECK_STRING(object.features, ":sramecc+:xnack-");
    CHECK_INT(object.kernel_count, 2);
    CHECK_STATUS(mj_code_object_kernel(&object, 1, &kernel, &error), MJ_OK);
    CHECK_STRING(kernel.name, "second");
    CHECK_INT(kernel.vgprs, 200);
    CHECK_INT(kernel.agprs, 64);
    CHECK_INT(kernel.sgprs, 90);
    CHECK_INT(kernel.lds_bytes, 65536);
    CHECK_INT(kernel.scratch_bytes, 16);
    CHECK_INT(kernel.wavefront_size, 64);
    CHECK_INT(kernel.threads_block_max, 1024);
    CHECK_INT(kernel.kernarg_bytes, 264);
    CHECK(!kernel.dynamic_stack);
    CHECK_STATUS(mj_code_object_kernel(&object, 2, &kernel, &error), MJ_ERR_ARGUMENT);
}

TEST(what_may_be_missing_and_what_not)
{
    static const struct {
        const char *key;
        mj_status status;
    } rows[] = {{".agpr_count", MJ_OK},
                {".vgpr_spill_count", MJ_OK},
                {".vgpr_count", MJ_ERR_FORMAT},
                {".private_segment_fixed_size", MJ_ERR_FORMAT},
                {".name", MJ_ERR_FORMAT}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mj_code_object object;
        mj_code_kernel kernel;
        mj_error error = {0};
        fake_code code = usual;
        code.without = rows[i].key;
        CHECK_STATUS(mj_code_object_read(file, fake_code_object(&code, file), &object, &error), MJ_OK);
        CHECK_STATUS(mj_code_object_kernel(&object, 1, &kernel, &error), rows[i].status);
        CHECK_INT(kernel.agprs, rows[i].status == MJ_OK && strcmp(rows[i].key, ".agpr_count") != 0 ? 64 : kernel.agprs);
        if (rows[i].status != MJ_OK && strcmp(rows[i].key, ".name") != 0) {
            CHECK_CONTAINS(error.text, rows[i].key);
        }
    }
}

/* magic, count, entries of offset, bytes, name's length, name */
static size_t make_bundle(const char *const names[2], size_t bytes)
{
    uint64_t fields[3] = {2}, at = 24 + 8;
    memcpy(bundle, "__CLANG_OFFLOAD_BUNDLE__", 24);
    memcpy(bundle + 24, fields, 8);
    for (int i = 0; i < 2; i++) {
        fields[0] = FAKE_CODE_BYTES_MAX;
        fields[1] = i == 1 ? bytes : 0;
        fields[2] = strlen(names[i]);
        memcpy(bundle + at, fields, sizeof fields);
        memcpy(bundle + at + sizeof fields, names[i], strlen(names[i]));
        at += sizeof fields + fields[2];
    }
    memcpy(bundle + FAKE_CODE_BYTES_MAX, file, bytes);
    return FAKE_CODE_BYTES_MAX + bytes;
}

TEST(bundles)
{
    static const char *const names[2] = {"host-x86_64-unknown-linux--", "hipv4-amdgcn-amd-amdhsa--gfx942"};
    static const char *const hosts[2] = {"host-x86_64-unknown-linux--", "host-x86_64-unknown-linux--"};
    mj_code_object object;
    mj_error error = {0};
    size_t bytes = make_bundle(names, fake_code_object(&usual, file));
    CHECK_STATUS(mj_code_object_read(bundle, bytes, &object, &error), MJ_OK);
    CHECK_STRING(object.target, "gfx942");
    CHECK_STATUS(mj_code_object_read(bundle, bytes - 1, &object, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_code_object_read(bundle, 30, &object, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(mj_code_object_read(bundle, 60, &object, &error), MJ_ERR_FORMAT);
    bytes = make_bundle(hosts, bytes - FAKE_CODE_BYTES_MAX);
    CHECK_STATUS(mj_code_object_read(bundle, bytes, &object, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "without code for a GPU");
}

TEST(header_and_metadata_must_agree)
{
    mj_code_object object;
    mj_error error = {0};
    fake_code code = usual;
    code.mach = 0x41;
    CHECK_STATUS(mj_code_object_read(file, fake_code_object(&code, file), &object, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "its header is for gfx1100 and its metadata for gfx942");
    code.mach = 0x30;
    CHECK_STATUS(mj_code_object_read(file, fake_code_object(&code, file), &object, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "another target");
    code = (fake_code){.target = "gfx1030", .kernels = {"k"}}; /* a target that has no table here is none the worse */
    CHECK_STATUS(mj_code_object_read(file, fake_code_object(&code, file), &object, &error), MJ_OK);
    CHECK_STRING(object.target, "gfx1030");
    code.target = NULL;
    CHECK_STATUS(mj_code_object_read(file, fake_code_object(&code, file), &object, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "names no target");
    code.target = "sm_90a";
    CHECK_STATUS(mj_code_object_read(file, fake_code_object(&code, file), &object, &error), MJ_ERR_FORMAT);
}

TEST(other_files_are_named)
{
    mj_code_object object;
    mj_error error = {0};
    Elf64_Ehdr header;
    size_t bytes = fake_code_object(&usual, file);
    CHECK_STATUS(mj_code_object_read("", 0, &object, &error), MJ_ERR_FORMAT);
    CHECK_STATUS(
        mj_code_object_read("no ELF file at all, but long enough to hold a header of one......", 64, &object, &error),
        MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "no ELF file");
    memcpy(&header, file, sizeof header);
    header.e_machine = EM_CUDA;
    memcpy(file, &header, sizeof header);
    CHECK_STATUS(mj_code_object_read(file, bytes, &object, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "not for AMD's GPUs");
}

/* Everything that reads is read whole, from memory that ends where the file does. */
static int read_all(const unsigned char *data, size_t bytes)
{
    unsigned char *copy = malloc(bytes ? bytes : 1);
    mj_code_object object;
    mj_code_kernel kernel;
    mj_error error = {0};
    int good = 0;
    memcpy(copy, data, bytes);
    if (mj_code_object_read(copy, bytes, &object, &error) == MJ_OK) {
        good = 1;
        for (uint32_t i = 0; i < object.kernel_count && good; i++) {
            good = mj_code_object_kernel(&object, i, &kernel, &error) == MJ_OK;
        }
    }
    free(copy);
    return good;
}

TEST(cut_at_every_byte)
{
    size_t bytes = fake_code_object(&usual, file);
    CHECK(read_all(file, bytes));
    for (size_t cut = 0; cut < bytes; cut++) {
        CHECK(!read_all(file, cut));
    }
}

/* What a compiler really writes, with sections and segments. */
TEST(a_real_one)
{
    char path[1100];
    mj_code_object object;
    mj_code_kernel kernel;
    mj_error error = {0};
    static unsigned char real[16384];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus_code_object/gfx942.co", MJ_TEST_SOURCE_DIR);
    FILE *from = fopen(path, "rb");
    CHECK(from);
    size_t bytes = fread(real, 1, sizeof real, from);
    fclose(from);
    CHECK_STATUS(mj_code_object_read(real, bytes, &object, &error), MJ_OK);
    CHECK_STRING(object.target, "gfx942");
    CHECK_INT(object.kernel_count, 1);
    CHECK_STATUS(mj_code_object_kernel(&object, 0, &kernel, &error), MJ_OK);
    CHECK_STRING(kernel.name, "probe");
    CHECK_INT(kernel.wavefront_size, 64);
    CHECK_INT(kernel.kernarg_bytes, 8);
    for (size_t cut = 0; cut < bytes; cut++) {
        CHECK(!read_all(real, cut));
    }
}

/* A change may go unnoticed (another count), but never reads outside: the sanitizers watch. What it must not do is to read as
 * something else than it is: lengths that say more than there is are found. */
TEST(every_byte_damaged)
{
    static const unsigned char values[] = {0x00, 0x7f, 0x80, 0x9f, 0xc1, 0xc7, 0xd9, 0xdd, 0xdf, 0xff};
    size_t bytes = fake_code_object(&usual, file), refused = 0;
    for (size_t at = 0; at < bytes; at++) {
        for (size_t i = 0; i < sizeof values; i++) {
            unsigned char kept = file[at];
            file[at] = values[i];
            refused += !read_all(file, bytes);
            file[at] = kept;
        }
    }
    CHECK(refused > 3 * bytes);
    CHECK(read_all(file, bytes));
}

TEST(lengths_beyond_all_memory)
{
    static const unsigned char heads[][5] = {
        {0xdd, 0xff, 0xff, 0xff, 0xff}, {0xdf, 0xff, 0xff, 0xff, 0xff}, {0xdb, 0xff, 0xff, 0xff, 0xff},
        {0xc6, 0xff, 0xff, 0xff, 0xff}, {0xc9, 0xff, 0xff, 0xff, 0xff}, {0xdd, 0x7f, 0xff, 0xff, 0xff},
    };
    size_t bytes = fake_code_object(&usual, file);
    unsigned char *args = memmem(file, bytes, "\xa5.args", 6);
    CHECK(args);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        memcpy(args + 6, heads[i], sizeof heads[i]);
        CHECK(!read_all(file, bytes));
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(everything_is_read);
    RUN(what_may_be_missing_and_what_not);
    RUN(bundles);
    RUN(header_and_metadata_must_agree);
    RUN(other_files_are_named);
    RUN(cut_at_every_byte);
    RUN(a_real_one);
    RUN(every_byte_damaged);
    RUN(lengths_beyond_all_memory);
    return CHECK_END();
}
