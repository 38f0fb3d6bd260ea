/* The host model of Hopper's primitives (templates/prelude/host_hopper.h): a hand-written kernel gives the right numbers with every
 * swizzle and width, and every mistake in its use ends the process with a line that names it.
 *
 *     tests/data/hopper_kernel.txt + prelude -> cc -> host_call, one child per run: mode x random order of lanes */
#include <unistd.h>

#include "backend.h"
#include "gen_fixture.h"
#include "host_call.h"
#include "reference.h"

#define MODES(X) \
    X(PIPELINE) \
    X(PARTS) \
    X(FIVE) \
    X(FIVE_PARTS) \
    X(FIVE_AS_TWO) \
    X(GATHER) X(GATHER_NO_FENCE) X(GATHER_WRITER_FENCE_TOO_EARLY) X(GATHER_READ_EARLY) X(STORE) X(STORE_READER_FENCE) \
        X(STORE_UNTIL_READ) X(STORE_NO_FENCE) X(STORE_OVERWRITTEN) X(STORE_NO_WAIT) X(STORE_MISALIGNED) X(MATRICES) \
            X(NO_INIT) X(INIT_TWICE) X(NO_INIT_FENCE) X(BARRIER_OVERWRITTEN) X(NOT_A_MAP) X(EXPECT_LESS) \
                X(EXPECT_MORE) X(ARRIVE_TWICE) X(BOX_MISALIGNED) X(BOX_TWICE) X(BOX_LEFT) X(NO_POLICY) \
                    X(PRODUCER_DOES_NOT_WAIT) X(PRODUCER_PARITY) X(CONSUMER_PARITY) X(PARITY_TWO) \
                        X(ROWS_OFF_THE_PATTERN) X(DEPTH_BEYOND_THE_ROW) X(NO_SWIZZLE) X(OTHER_OPERANDS) X(OTHER_SUMS) \
                            X(OTHER_COLUMNS) X(UNKNOWN_COLUMNS) X(SUMS_OVERLAP) X(NO_WGMMA_FENCE) \
                                X(NO_LATER_WGMMA_FENCE) X(NO_COMMIT) X(WAIT_TOO_SHORT) X(RELEASED_EARLY) \
                                    X(SUMS_WRITTEN) X(SUMS_READ) X(REGISTERS) X(REGISTERS_WRITTEN) \
                                        X(REGISTERS_NO_FENCE) X(PAIRS) X(NAMED_COUNTS_DIFFER) X(NAMED_HALF_WARPS) \
                                            X(NAMED_TOO_FEW) X(NAMED_BAD) X(BARRIER_AND_BLOCK) X(PHASE_MISSED)
#define AS_ENUM(name) name,
#define AS_TEXT(name) #name ", "
typedef enum mode { MODES(AS_ENUM) MODE_COUNT } mode;

enum { STEPS = 5, BLOCK_ROWS = 64, A_ROWS = 107, N_MAX = 256, ROW = -3, C_ROWS = 50, C_COLUMNS = 56 };
enum { ARRAY_BYTES = N_MAX * 1024, SEEDS = 6 };

typedef struct kernel_args { /* mj_args of the kernel */
    float *out;
    char *a;
    int32_t mode, swizzle, steps, row, a_rows, a_row_bytes;
    _Alignas(MJ_TENSOR_MAP_ALIGN) char maps[3][MJ_TENSOR_MAP_BYTES];
} kernel_args;

static float *out;               /* shared with the children */
static unsigned char *a, *b, *c; /* arrays */

/* ---- Numbers of the three formats ---- */
typedef struct format {
    const char *name;
    uint32_t bytes;
} format;
static const format bf16 = {"bf16", 2}, f16 = {"f16", 2}, e4m3 = {"e4m3", 1};

/* The bits of a whole number from -7 to 7: sign, exponent, mantissa. */
static uint32_t encode(const format *f, int value)
{
    uint32_t magnitude = (uint32_t)abs(value), sign = value < 0, exponent = magnitude >= 4 ? 2 : magnitude >= 2 ? 1 : 0;
    uint32_t fraction = magnitude * 8 >> exponent & 7; /* of eighths */
    if (magnitude == 0) {
        return 0;
    }
    if (f->bytes == 1) {
        return sign << 7 | (7 + exponent) << 3 | fraction;
    }
    return strcmp(f->name, "bf16") == 0 ? sign << 15 | (127 + exponent) << 7 | fraction << 4
                                        : sign << 15 | (15 + exponent) << 10 | fraction << 7;
}

static int number(uint32_t seed, uint32_t row, uint32_t column)
{
    uint32_t x = (seed * 7919 + row) * 104729 + column * 31;
    x = (x ^ x >> 15) * 2246822519u;
    return (int)((x ^ x >> 13) % 15) - 7;
}

static void fill(unsigned char *array, const format *f, uint32_t seed, uint32_t rows, uint32_t columns)
{
    for (uint32_t i = 0; i < rows * columns; i++) {
        uint32_t bits = encode(f, number(seed, i / columns, i % columns));
        memcpy(array + (size_t)i * f->bytes, &bits, f->bytes); /* little endian */
    }
}

/* ---- Kernels ---- */
static bool read_kernel(mj_strbuf *to)
{
    char block[4096];
    size_t got = 0;
    FILE *file = fopen(MJ_TEST_SOURCE_DIR "/tests/data/hopper_kernel.txt", "r");
    while (file && (got = fread(block, 1, sizeof block, file)) > 0) {
        mj_strbuf_add(to, block, got);
    }
    return file && fclose(file) == 0 && !to->failed;
}

/* A library of the kernel for one width and format; "" after a failure, which is reported. */
static void build(uint32_t n, const format *f, char *library, size_t library_bytes)
{
    char width[16], half[16];
    const char *prelude = NULL;
    size_t prelude_bytes = 0;
    mj_error error = {0};
    mj_strbuf text = {0};
    snprintf(width, sizeof width, "%u", n);
    snprintf(half, sizeof half, "%u", n / 2);
    const mj_template_var vars[] = {{"wgmma_n", width, true},
                                    {"heights", "2", true},
                                    {"height_0", half, true},
                                    {"height_1", width, true},
                                    {"wgmma_type", f->name, true}};
    uint32_t smem = 2 * (BLOCK_ROWS + n) * 128 + BLOCK_ROWS * 128 + 64;
    mj_strbuf_addf(&text, "#define MJ_BLOCK_THREADS 160\n#define MJ_WARP_SIZE 32\n#define MJ_SMEM_BYTES %u\n", smem);
    mj_files *files = mj_spec_files(fixture_spec);
    if (mj_files_get(files, "templates/prelude/host.h", &prelude, &prelude_bytes, &error) == MJ_OK) {
        mj_strbuf_add(&text, prelude, prelude_bytes);
        mj_expand(files, "templates/prelude/host_hopper.h", vars, sizeof vars / sizeof vars[0], &text, &error);
    }
    mj_strbuf_addf(&text,
                   "#define N %u\n#define TYPE_BYTES %u\nenum { %s MODE_COUNT };\n#line 1 \"hopper_kernel.txt\"\n", n,
                   f->bytes, MODES(AS_TEXT));
    host_result result = HOST_BROKEN;
    if (error.text[0] || !read_kernel(&text)) {
        check_fail(__FILE__, __LINE__, "the kernel's text: %s", error.text);
    } else if ((result = host_compile(text.text, library, library_bytes)) != HOST_RIGHT) {
        check_fail(__FILE__, __LINE__, "n %u %s: %s", n, f->name, host_result_name(result));
    }
    if (result != HOST_RIGHT) {
        library[0] = '\0';
    }
    mj_strbuf_free(&text);
}

static bool encode_map(const void *array, uint64_t rows, uint32_t columns, uint32_t bytes, uint32_t box_rows,
                       uint32_t swizzle, void *map)
{
    mj_tensor_map m = {.address = (uintptr_t)array,
                       .rows = rows,
                       .row_elements = columns,
                       .element_bytes = bytes,
                       .box_rows = box_rows,
                       .box_elements = swizzle / bytes,
                       .swizzle_bytes = swizzle};
    return mj_backend_cpu.tensor_map_encode(NULL, &m, map, NULL) == MJ_OK;
}

typedef struct trial {
    const char *library;
    uint32_t n, swizzle;
    const format *f;
    mode mode;
} trial;

static uint32_t depth(const trial *t) /* the last step is not whole */
{
    return ((STEPS - 1) * t->swizzle + 16) / t->f->bytes;
}

static host_result run(const trial *t, uint64_t seed, char why[300])
{
    kernel_args args = {.out = out,
                        .a = (char *)a,
                        .mode = (int32_t)t->mode,
                        .swizzle = (int32_t)t->swizzle,
                        .steps = STEPS,
                        .row = ROW};
    uint32_t k = depth(t), b_rows = t->n - 2;
    args.a_rows = A_ROWS;
    args.a_row_bytes = (int32_t)(k * t->f->bytes);
    fill(a, t->f, 1, A_ROWS, k);
    fill(b, t->f, 2, b_rows, k);
    memset(c, 0xff, ARRAY_BYTES);
    memset(out, 0xff, 2 * BLOCK_ROWS * N_MAX * sizeof *out);
    bool good = encode_map(a, A_ROWS, k, t->f->bytes, BLOCK_ROWS, t->swizzle, args.maps[0]) &&
                encode_map(b, b_rows, k, t->f->bytes, t->mode == PARTS ? t->n / 2 : t->n, t->swizzle, args.maps[1]) &&
                encode_map(c, C_ROWS, C_COLUMNS, 2, BLOCK_ROWS, 128, args.maps[2]);
    size_t smem = 2 * (BLOCK_ROWS + t->n) * 128 + BLOCK_ROWS * 128 + 64;
    return good ? host_call(t->library, "kernel", &args, t->mode == PARTS ? 2 : 1, smem, seed, why, 300) : HOST_BROKEN;
}

/* All sums are whole numbers that a float holds: bits must agree. */
static bool sums_right(const trial *t, uint32_t blocks)
{
    uint32_t k = depth(t);
    for (uint32_t i = 0; i < blocks * BLOCK_ROWS * t->n; i++) {
        int row = (int)(i / t->n) + ROW, column = (int)(i % t->n), sum = 0;
        for (uint32_t j = 0; j < k && row >= 0 && row < A_ROWS && column < (int)t->n - 2; j++) {
            sum += number(1, (uint32_t)row, j) * number(2, (uint32_t)column, j);
        }
        if (out[i] != (float)sum) {
            check_fail(__FILE__, __LINE__, "n %u %s swizzle %u: row %d column %d is %g, not %d", t->n, t->f->name,
                       t->swizzle, row, column, (double)out[i], sum);
            return false;
        }
    }
    return true;
}

static bool passes(const trial *t, uint64_t seed)
{
    char why[300];
    host_result result = run(t, seed, why);
    if (result != HOST_RIGHT || why[0]) {
        check_fail(__FILE__, __LINE__, "mode %d, n %u %s swizzle %u: %s: %s", t->mode, t->n, t->f->name, t->swizzle,
                   host_result_name(result), why);
        return false;
    }
    return true;
}

static void check_numbers(const char *library, uint32_t n, const format *f)
{
    for (uint32_t swizzle = 32; swizzle <= 128; swizzle *= 2) {
        trial t = {.library = library, .n = n, .swizzle = swizzle, .f = f};
        for (uint64_t seed = 0; seed < 3; seed++) {
            t.mode = seed == 2 ? GATHER : PIPELINE;
            CHECK(passes(&t, seed + n) && sums_right(&t, 1));
        }
        t.mode = REGISTERS;
        for (uint64_t seed = 0; seed < 2 && f->bytes == 2; seed++) {
            CHECK(passes(&t, seed + n) && sums_right(&t, 1));
        }
        if (n / 2 * swizzle % (8 * swizzle) == 0) {
            t.mode = PARTS;
            CHECK(passes(&t, n) && sums_right(&t, 2));
        }
    }
}

TEST(products_are_right_with_every_swizzle_and_width)
{
    static const struct {
        uint32_t n;
        const format *f;
    } kinds[] = {{8, &bf16}, {16, &e4m3}, {24, &f16}, {64, &bf16}, {128, &e4m3}, {200, &f16}, {256, &bf16}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char library[4000];
        build(kinds[i].n, kinds[i].f, library, sizeof library);
        if (library[0]) {
            check_numbers(library, kinds[i].n, kinds[i].f);
        }
        unlink(library);
    }
}

/* ---- One kernel for all that follows ---- */
static char shared_library[4000];
static const trial base = {.library = shared_library, .n = 16, .swizzle = 128, .f = &bf16};

TEST(stores_are_clipped_and_read_late)
{
    static const mode modes[] = {STORE, STORE_READER_FENCE, STORE_UNTIL_READ};
    for (size_t m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        trial t = base;
        t.mode = modes[m];
        CHECK(passes(&t, 5 + m));
        for (int i = 0; i < C_ROWS * C_COLUMNS + 64; i++) { /* the tile's element (r, c) went to (r + ROW, c - 3) */
            int row = i / C_COLUMNS - ROW, column = i % C_COLUMNS + 3, bits = 0xffff;
            memcpy(&bits, c + 2 * (size_t)i, 2);
            int power = ilogb(row + column), want = (127 + power) << 7 | ((row + column) << 7 >> power & 127);
            want = i < C_ROWS * C_COLUMNS && row < BLOCK_ROWS ? want : 0xffff;
            CHECK_INT(bits & 0xffff, want);
        }
    }
}

TEST(matrices_are_stored_as_the_manual_says)
{
    trial t = base;
    t.mode = MATRICES;
    CHECK(passes(&t, 1));
    for (int i = 0; i < 1536 / 2; i++) { /* x4, x4 transposed, x2, x2 transposed; matrices of 8 rows of 8 */
        bool transposed = (i >= 256 && i < 512) || i >= 640;
        int matrix = i < 512 ? i / 64 % 4 : i / 64 % 2, row = i / 8 % 8, column = i % 8;
        int fragment_row = transposed ? column : row, fragment_column = transposed ? row : column;
        CHECK_INT((int)out[i], 256 * matrix + 2 * (4 * fragment_row + fragment_column / 2) + fragment_column % 2);
    }
    int elected = 0;
    for (int lane = 0; lane < 32; lane++) {
        CHECK(out[1000 + lane] == 0.0f || out[1000 + lane] == 3.0f); /* the same lane both times */
        elected += out[1000 + lane] == 3.0f;
    }
    CHECK_INT(elected, 1);
}

/* Differences of whole numbers are exact, products are rounded once, each half for itself. */
TEST(pairs_of_numbers)
{
    static const format *const formats[] = {&bf16, &f16};
    for (int i = 0; i < 2; i++) {
        const char *name = formats[i]->name;
        double first = i ? 1024 : 128;
        char library[4000], why[300];
        uint16_t numbers[34], want[2];
        kernel_args args = {.out = out, .a = (char *)a, .mode = PAIRS, .swizzle = 128, .steps = STEPS};
        for (uint64_t n = 0; n < 34; n++) { /* the halves differ */
            mj_ref_store(name, numbers, n, n < 32 ? first + (double)(n / 2 + n % 2 * 5) : n % 2 ? 0.0123 : -1.0 / 3);
        }
        memcpy(a, numbers, sizeof numbers);
        build(8, formats[i], library, sizeof library);
        CHECK(encode_map(c, C_ROWS, C_COLUMNS, 2, BLOCK_ROWS, 128, args.maps[0]));
        CHECK_INT(
            host_call(library, "kernel", &args, 1, 2 * (BLOCK_ROWS + 8) * 128 + BLOCK_ROWS * 128 + 64, 3, why, 300),
            HOST_RIGHT);
        for (int j = 0; j < 256; j++) {
            double third = mj_ref_load(name, numbers, 32 + (uint64_t)j % 2);
            int difference = j / 2 % 16 - j / 2 / 16;
            mj_ref_store(name, want, 0, difference);
            mj_ref_store(name, want, 1, difference * third);
            for (int k = 0; k < 2; k++) {
                int got = ((uint16_t *)out)[j / 2 * 4 + 2 * k + j % 2], no_sign = difference == 0 ? 0x7fff : 0xffff;
                CHECK_INT(got & no_sign, want[k] & no_sign);
            }
        }
        unlink(library);
    }
}

/* Boxes of 4 x 3 x 2 parts of 8 rows from an array of 24-row experts: rows 12 and on are the second half, groups of 4 rows overlap. */
TEST(boxes_of_five_dimensions)
{
    static const mode modes[] = {FIVE, FIVE_PARTS};
    const uint32_t columns = 72;
    for (size_t m = 0; m < 2; m++) {
        char why[300];
        mj_tensor_map map = {.address = (uintptr_t)a,
                             .rows = 4,
                             .row_elements = columns,
                             .element_bytes = 2,
                             .box_rows = 4,
                             .box_elements = 64,
                             .swizzle_bytes = 128,
                             .axis_count = 3,
                             .axes = {{2, 12, 2}, {3, 4, modes[m] == FIVE ? 4 : 2}, {5, 24, 1}}};
        kernel_args args = {.out = out, .mode = (int32_t)modes[m], .swizzle = 128, .steps = STEPS};
        fill(a, &bf16, 1, 5 * 24, columns);
        CHECK(encode_map(a, A_ROWS, columns, 2, BLOCK_ROWS, 128, args.maps[0]));
        CHECK(mj_backend_cpu.tensor_map_encode(NULL, &map, args.maps[1], NULL) == MJ_OK);
        CHECK(encode_map(c, C_ROWS, C_COLUMNS, 2, BLOCK_ROWS, 128, args.maps[2]));
        size_t smem = 2 * (BLOCK_ROWS + 16) * 128 + BLOCK_ROWS * 128 + 64;
        host_result result = host_call(shared_library, "kernel", &args, 1, smem, 9 + m, why, 300);
        if (result != HOST_RIGHT || why[0]) {
            check_fail(__FILE__, __LINE__, "%s: %s", host_result_name(result), why);
            return;
        }
        for (int i = 0; i < 32 * 64; i++) { /* begins at element 16, the second group, the fourth expert */
            int row = i / 64, column = i % 64 + 16, part = row / 8 + 1, bits = 0;
            int array_row = 3 * 24 + row / 4 % 2 * 12 + part * 4 + row % 4;
            uint32_t want =
                column < (int)columns && part < 3 ? encode(&bf16, number(1, (uint32_t)array_row, (uint32_t)column)) : 0;
            memcpy(&bits, (char *)out + 2 * (size_t)i, 2);
            CHECK_INT(bits & 0xffff, (int)want);
        }
    }
}

/* ---- Mistakes ---- */
static const struct mistake {
    mode mode;
    const char *says; /* NULL: no line, the numbers are wrong */
    const char *or_says;
    uint32_t swizzle;
    bool sometimes; /* an order of the lanes may hide it */
} mistakes[] = {
    {GATHER_NO_FENCE, "wrote: mj_fence_async() is missing", NULL, 128, false},
    {GATHER_WRITER_FENCE_TOO_EARLY, "wrote: mj_fence_async() is missing", NULL, 64, false},
    {GATHER_READ_EARLY, "reads shared memory 0x", NULL, 128, false},
    {STORE_NO_FENCE, "the copy engine reads shared memory 0x", NULL, 128, false},
    {STORE_OVERWRITTEN, "was overwritten before the wait of the store", NULL, 128, false},
    {STORE_NO_WAIT, "ended before mj_tma_store_wait_read() covered", NULL, 128, false},
    {STORE_MISALIGNED, "is not aligned to 1024 bytes", NULL, 128, false},
    {NO_INIT, "there is no barrier at shared memory", NULL, 128, false},
    {INIT_TWICE, "is initialised twice", NULL, 128, false},
    {NO_INIT_FENCE, "mj_mbar_init_fence() is missing", NULL, 128, false},
    {BARRIER_OVERWRITTEN, "not initialised, or overwritten", NULL, 128, false},
    {NOT_A_MAP, "not a tensor map", NULL, 128, false},
    {EXPECT_LESS, "bytes more than expected", "a phase ended without a copy", 128, false},
    {EXPECT_MORE, "0 of 1 arrivals, 16 bytes", NULL, 128, false},
    {ARRIVE_TWICE, "one arrival more than the 1 of its phase", NULL, 128, false},
    {BOX_MISALIGNED, "is not aligned to 1024 bytes", NULL, 128, false},
    {BOX_MISALIGNED, "is not aligned to 512 bytes", NULL, 64, false},
    {FIVE_AS_TWO, "a load in 5 dimensions of a map of 2", NULL, 128, false},
    {BOX_TWICE, "two copies are under way to shared memory", NULL, 32, false},
    {BOX_LEFT, "ended while boxes were under way", "was overwritten", 128, true},
    {NO_POLICY, "no cache policy", NULL, 128, false},
    {PRODUCER_DOES_NOT_WAIT, "two copies are under way", "one arrival more", 128, true},
    {PRODUCER_PARITY, "phase 0 of barrier 0x", NULL, 128, false},
    {CONSUMER_PARITY, "", NULL, 128, false},
    {PARITY_TWO, "parity 2", NULL, 128, false},
    {ROWS_OFF_THE_PATTERN, "rows do not start at a whole pattern of 1024", NULL, 128, false},
    {DEPTH_BEYOND_THE_ROW, "32 bytes of K go beyond a row of 32", NULL, 32, false},
    {NO_SWIZZLE, "no swizzle, or bits set", NULL, 128, false},
    {OTHER_OPERANDS, "lanes of a warpgroup give different operands", NULL, 128, false},
    {OTHER_SUMS, "lanes of a warpgroup give different sums", NULL, 128, false},
    {OTHER_COLUMNS, "lanes of a warpgroup give different operands", NULL, 128, false},
    {UNKNOWN_COLUMNS, "columns are none of the heights", NULL, 128, false},
    {SUMS_OVERLAP, "the sums overlap", NULL, 128, false},
    {NO_WGMMA_FENCE, "mj_wgmma_fence() is missing", NULL, 128, false},
    {NO_LATER_WGMMA_FENCE, "mj_wgmma_fence() is missing", NULL, 64, false},
    {NO_COMMIT, "ended before mj_wgmma_wait() covered", "was overwritten", 128, false},
    {WAIT_TOO_SHORT, "ended before mj_wgmma_wait() covered", "overwritten before the wait of the wgmma", 128, false},
    {RELEASED_EARLY, "overwritten before the wait of the wgmma", NULL, 128, true},
    {SUMS_WRITTEN, "was written before mj_wgmma_wait()", NULL, 128, false},
    {SUMS_READ, NULL, NULL, 128, false},
    {REGISTERS_WRITTEN, "registers of A were written before mj_wgmma_wait()", NULL, 128, false},
    {REGISTERS_NO_FENCE, "missing ahead of a group that has A in registers", NULL, 64, false},
    {NAMED_COUNTS_DIFFER, "others said", NULL, 128, false},
    {NAMED_HALF_WARPS, "only some lanes of warp", NULL, 128, false},
    {NAMED_TOO_FEW, "0..63 for named barrier 2 (64 of 96 there)", NULL, 128, false},
    {NAMED_BAD, "named barrier 16 of 64 threads", NULL, 128, false},
    {BARRIER_AND_BLOCK, "0..95 for the block's barrier; 96..127 for phase 0 of barrier", NULL, 128, false},
    {PHASE_MISSED, "went on by 2 phases", "phase 2 of barrier", 128, false},
};

static void judge(const struct mistake *m)
{
    int caught = 0;
    char why[300] = "", last[300] = "";
    trial t = base;
    t.mode = m->mode;
    t.swizzle = m->swizzle;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        host_result result = run(&t, 77 * seed, why);
        bool said = result == HOST_CRASHED && strstr(why, "moejit host kernel: block ") && m->says &&
                    (strstr(why, m->says) || (m->or_says && strstr(why, m->or_says)));
        if (!m->says || (m->mode == CONSUMER_PARITY && result == HOST_RIGHT)) { /* read too early: NaN */
            said = result == HOST_RIGHT && isnan(out[0]);
        }
        caught += said;
        if (!said && !(m->sometimes && result == HOST_RIGHT)) {
            snprintf(last, sizeof last, "%s: %.250s", host_result_name(result), why);
        }
    }
    if (caught < (m->sometimes ? 1 : SEEDS) || last[0]) {
        check_fail(__FILE__, __LINE__, "mode %d: caught %d times of %d, \"%s\" wanted; %s", m->mode, caught, SEEDS,
                   m->says ? m->says : "wrong numbers", last);
    }
}

TEST(mistakes_are_named)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        judge(&mistakes[i]);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    out = host_shared(2 * BLOCK_ROWS * N_MAX * sizeof *out);
    a = host_shared(ARRAY_BYTES);
    b = host_shared(ARRAY_BYTES);
    c = host_shared(ARRAY_BYTES);
    if (!out || !a || !b || !c || !fixture_open()) {
        printf("FAIL set_up: no memory or no spec\n");
        return 1;
    }
    check_state.name = "set_up";
    RUN(products_are_right_with_every_swizzle_and_width);
    build(base.n, base.f, shared_library, sizeof shared_library);
    RUN(stores_are_clipped_and_read_late);
    RUN(matrices_are_stored_as_the_manual_says);
    RUN(boxes_of_five_dimensions);
    RUN(pairs_of_numbers);
    RUN(mistakes_are_named);
    unlink(shared_library);
    mj_spec_free(fixture_spec);
    return CHECK_END();
}
