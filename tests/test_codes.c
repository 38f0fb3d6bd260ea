/* test_codes.c: codes that a GEMM writes: which are right for given values, and that the tuner's verification on a device agrees. */
#define _GNU_SOURCE
#include "device_fixture.h"
#include "os.h"
#include "reference.h"
#include "verify.h"

enum { COLUMNS = 384, GROUP = 128, GROUPS = COLUMNS / GROUP };

static mj_spec *spec;

typedef struct code_row {
    uint8_t codes[COLUMNS];
    float scales[GROUPS];
} code_row;

/* A row of gemm1_act in float64: sums of depth k without the last `missing` products, each `noise` beside the truth. */
static void make_values(uint32_t k, uint32_t missing, double noise, double *out)
{
    float scale = (float)(1 / sqrt((double)k));
    for (uint32_t column = 0; column < COLUMNS; column++) {
        double sums[2] = {0, 0};
        for (int part = 0; part < 2; part++) {
            uint64_t seed = 20 + (uint64_t)part;
            for (uint32_t i = 0; i < k - missing; i++) {
                sums[part] += mj_ref_fill(10, i, 1) * (double)mj_ref_fill(seed, (uint64_t)column * k + i, scale);
            }
            sums[part] += noise * mj_ref_fill(90 + seed, column, 1);
        }
        out[column] = mj_ref_activation(MJ_ACT_SILU, true, sums[0], sums[1]);
    }
}

/* As a kernel does it: to the io format, then to codes. */
static void quantise(const mj_scheme *scheme, const double *values, code_row *out)
{
    uint16_t io[COLUMNS];
    for (uint32_t i = 0; i < COLUMNS; i++) {
        mj_ref_store(scheme->io_format, io, i, values[i]);
    }
    out->scales[0] = 0x1p-5f;
    CHECK_STATUS(mj_ref_quantise_row(scheme, COLUMNS, io, 0, out->codes, out->scales, NULL), MJ_OK);
}

static bool accepted(const mj_scheme *scheme, const code_row *row, const double *want)
{
    double got[COLUMNS];
    mj_lab lab = {.scheme = scheme, .op = MJ_OP_GEMM1_QUANTISE};
    mj_tolerance tolerance = mj_lab_tolerance(&lab);
    return mj_ref_values_of_codes(scheme, COLUMNS, row->codes, row->scales, want, got, NULL) == MJ_OK &&
           mj_tolerance_check(&tolerance, got, want, COLUMNS) == UINT32_MAX;
}

static uint32_t largest_of(const double *values)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < COLUMNS; i++) {
        largest = fabs(values[i]) > fabs(values[largest]) ? i : largest;
    }
    return largest;
}

/* The tolerance of sums holds behind the codes as if these were not there: their width hides nothing and adds nothing. */
TEST(errors_of_sums_are_seen_through_the_codes)
{
    static const char *const names[] = {"fp8_w8a8", "fp8_w8a8_block"};
    const uint32_t k = 14336;
    double want[COLUMNS], near_by[COLUMNS], lacking[COLUMNS];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const mj_scheme *scheme = NULL;
        code_row row;
        CHECK_STATUS(mj_spec_find_scheme(spec, names[i], &scheme, NULL), MJ_OK);
        make_values(k, 0, 0, want);
        quantise(scheme, want, &row);
        CHECK(accepted(scheme, &row, want));
        make_values(k, 0, scheme->tolerance.row_norm / 3, near_by);
        quantise(scheme, near_by, &row);
        CHECK(accepted(scheme, &row, want));
        make_values(k, 32, 0, lacking); /* the depth of one matrix instruction */
        quantise(scheme, lacking, &row);
        CHECK(!accepted(scheme, &row, want));
    }
}

/* One element or one scale of a group. */
TEST(single_codes_and_scales_are_seen)
{
    const mj_scheme *scheme = NULL;
    double want[COLUMNS];
    code_row row, spoilt;
    CHECK_STATUS(mj_spec_find_scheme(spec, "fp8_w8a8_block", &scheme, NULL), MJ_OK);
    make_values(64, 0, 0, want);
    quantise(scheme, want, &row);
    uint32_t largest = largest_of(want);
    const uint8_t others[] = {0x7c, 0x00, 0x7f, 0xff};
    for (size_t i = 0; i < sizeof others; i++) {
        spoilt = row;
        spoilt.codes[largest] = (uint8_t)(others[i] | (row.codes[largest] & 0x80));
        CHECK(!accepted(scheme, &spoilt, want));
        spoilt.codes[largest] = row.codes[largest] ^ 0x80; /* its sign */
        CHECK(!accepted(scheme, &spoilt, want));
    }
    const float factors[] = {0.8f, 1.25f, 2, 0, -1, NAN};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        spoilt = row;
        spoilt.scales[largest / GROUP] *= factors[i];
        CHECK(!accepted(scheme, &spoilt, want));
    }
    for (uint32_t i = 0; i < COLUMNS; i++) { /* a scale that is twice what it should be, with the codes to it */
        want[i] = i / GROUP == largest / GROUP ? want[i] / 2 : want[i];
    }
    spoilt = row;
    quantise(scheme, want, &spoilt);
    CHECK(accepted(scheme, &spoilt, want));
    for (uint32_t i = largest / GROUP * GROUP; i < (largest / GROUP + 1) * GROUP; i++) {
        double value = want[i] / (double)row.scales[largest / GROUP];
        mj_ref_store("e4m3", spoilt.codes, i, value);
    }
    spoilt.scales[largest / GROUP] = row.scales[largest / GROUP];
    CHECK(!accepted(scheme, &spoilt, want));
}

TEST(ties_zeros_and_saturated_codes)
{
    const mj_scheme *block = NULL, *tensor = NULL;
    double want[COLUMNS], got[COLUMNS];
    code_row row;
    CHECK_STATUS(mj_spec_find_scheme(spec, "fp8_w8a8_block", &block, NULL), MJ_OK);
    CHECK_STATUS(mj_spec_find_scheme(spec, "fp8_w8a8", &tensor, NULL), MJ_OK);
    for (uint32_t i = 0; i < COLUMNS; i++) {
        want[i] = i < GROUP ? 0 : i % 2 ? -448 : 17; /* 17 lies between the codes of 16 and 18 */
    }
    quantise(block, want, &row);
    CHECK(row.scales[0] == 1 && row.scales[1] == 1 && mj_ref_load("e4m3", row.codes, GROUP) == 16);
    CHECK(accepted(block, &row, want));
    for (uint32_t i = GROUP; i < COLUMNS; i += 2) {
        row.codes[i]++;
    }
    CHECK_STATUS(mj_ref_values_of_codes(block, COLUMNS, row.codes, row.scales, want, got, NULL), MJ_OK);
    CHECK(memcmp(got, want, sizeof got) == 0); /* not off at all */
    row.scales[0] = 2;
    CHECK(!accepted(block, &row, want));
    row.scales[0] = 1;
    row.codes[3] = 1; /* then the scale is that of a largest value of 448 */
    CHECK(!accepted(block, &row, want));
    for (uint32_t i = 0; i < COLUMNS; i++) {
        want[i] = i % 2 ? -1000 : 1;
    }
    quantise(tensor, want, &row);
    CHECK(row.codes[1] == 0xfe && accepted(tensor, &row, want));
    row.codes[1] = 0xfd;
    CHECK(!accepted(tensor, &row, want));
    CHECK_STATUS(mj_spec_find_scheme(spec, "bf16", &tensor, NULL), MJ_OK);
    CHECK_STATUS(mj_ref_values_of_codes(tensor, COLUMNS, row.codes, row.scales, want, got, NULL), MJ_ERR_UNSUPPORTED);
}

/* ---- The tuner's verification, on kernels of the reference family ---- */

typedef struct spoilt {
    const char *template_name, *find, *replace;
    mj_reason block, tensor; /* what is found with groups, and with a static scale */
} spoilt;

static const spoilt kernels[] = {
    {NULL, "", "", MJ_REASON_NONE, MJ_REASON_NONE},
    /* Not rounded to bf16 first: some codes differ, and are right. */
    {"reference", "values[column - first] = MJ_LOAD(&rounded, 0);", "values[column - first] = value;", MJ_REASON_NONE,
     MJ_REASON_NONE},
    {"code_scale", "largest / MJ_CODE_LARGEST", "largest / 224.0f", MJ_REASON_WRONG, MJ_REASON_NONE},
    {"code_scale", "largest / MJ_CODE_LARGEST", "largest / 500.0f", MJ_REASON_WRONG, MJ_REASON_NONE},
    {"reference", "values[column - first] / scale", "values[column - first] / (1.1f * scale)", MJ_REASON_WRONG,
     MJ_REASON_WRONG},
    {"reference", "MJ_CODE(values[column - first] / scale)",
     "(mj_u8)(column == 5 ? 0x7f : MJ_CODE(values[column - first] / scale))", MJ_REASON_WRONG, MJ_REASON_WRONG},
    {"reference", "row * MJ_OUTPUT_GROUPS + first", "(row + 1) * MJ_OUTPUT_GROUPS + first", MJ_REASON_GUARD,
     MJ_REASON_NONE},
    {"reference", "args->output)[row * MJ_COLUMNS + column]", "args->output)[row * MJ_COLUMNS + column - 1]",
     MJ_REASON_GUARD, MJ_REASON_GUARD},
};
enum { KERNEL_COUNT = sizeof kernels / sizeof kernels[0] };

/* A folder of data with one template changed; NULL: it does not hold the text. */
static const char *spoil(const spoilt *s, int index)
{
    static char folder[1024];
    char name[128], path[1200];
    mj_files *files = NULL;
    const char *text = NULL, *at = NULL;
    size_t bytes = 0;
    mj_strbuf edited = {0};
    snprintf(folder, sizeof folder, "%s/data%d", temp_folder, index);
    snprintf(name, sizeof name, "templates/%s.tmpl", s->template_name);
    snprintf(path, sizeof path, "%s/templates", folder);
    bool made = mkdir(folder, 0700) == 0 && mkdir(path, 0700) == 0 && mj_files_open(NULL, &files, NULL) == MJ_OK &&
                mj_files_get(files, name, &text, &bytes, NULL) == MJ_OK && (at = strstr(text, s->find)) != NULL;
    if (made) {
        mj_strbuf_add(&edited, text, (size_t)(at - text));
        mj_strbuf_addf(&edited, "%s%s", s->replace, at + strlen(s->find));
        snprintf(path, sizeof path, "%s/%s", folder, name);
        made = mj_os_write_file_atomic(path, edited.text, edited.bytes, 0600, NULL) == MJ_OK;
    }
    mj_strbuf_free(&edited);
    mj_files_close(files);
    return made ? folder : NULL;
}

/* The worst that is found over the small cases, with all that a tune does before. */
static mj_status verify(mj_lab *lab, const char *problem_text, mj_finding *worst, mj_error *error)
{
    static const struct {
        const char *routing;
        uint32_t tokens;
    } routings[] = {{"small:ragged", 13}, {"small:single", 1}, {"uniform", 9}};
    mj_problem problem;
    mj_loaded_kernel kernel = {0};
    mj_status status = mj_problem_parse(problem_text, &problem, error);
    status = status == MJ_OK ? mj_lab_load(lab, &problem, MJ_OP_GEMM1_QUANTISE, 7, error) : status;
    status = status == MJ_OK ? mj_lab_build(lab, &problem, MJ_OP_GEMM1_QUANTISE, "reference", &kernel, error) : status;
    *worst = (mj_finding){0};
    for (size_t i = 0; status == MJ_OK && i < sizeof routings / sizeof routings[0]; i++) {
        mj_case prepared;
        mj_finding found = {0};
        status = mj_case_prepare(lab, routings[i].tokens, routings[i].routing, 3, false, &prepared, error);
        if (status == MJ_OK) {
            status = mj_verify_reference(lab, &prepared, 1 << 22, &found, error);
            if (status == MJ_OK && found.reason == MJ_REASON_NONE) {
                status = mj_verify_kernel(lab, &prepared, &kernel, &found, error);
            }
            *worst = found.reason != MJ_REASON_NONE ? found : *worst;
            mj_case_free(lab, &prepared);
        }
    }
    mj_kernel_unload(lab->device, &kernel);
    return status;
}

TEST(kernels_that_write_codes_are_verified)
{
    static const char *const problems[] = {"E=3,topk=2,H=144,N=264,scheme=fp8_w8a8_block,bias=1",
                                           "E=3,topk=2,H=80,N=136,scheme=fp8_w8a8,act=swigluoai"};
    for (int i = 0; i < KERNEL_COUNT; i++) {
        mj_error error = {0};
        mj_context_options options = {.cache_dir = temp_path("cache"), .store_dir = temp_path("store")};
        mj_context *context = NULL;
        mj_device *device = NULL;
        mj_lab lab = {0};
        options.data_dir = kernels[i].template_name ? spoil(&kernels[i], i) : NULL;
        CHECK(options.data_dir || !kernels[i].template_name);
        CHECK_STATUS(mj_context_create(&options, &context, &error), MJ_OK);
        CHECK_STATUS(mj_device_open(context, "cpu", &device, &error), MJ_OK);
        CHECK_STATUS(mj_lab_open(device, 64 << 20, &lab, &error), MJ_OK);
        for (int p = 0; p < 2; p++) {
            mj_finding found;
            mj_reason want = p ? kernels[i].tensor : kernels[i].block;
            mj_status status = verify(&lab, problems[p], &found, &error);
            if (status != MJ_OK || found.reason != want) {
                check_fail(__FILE__, __LINE__, "kernel %d, %s: %s: %s%s", i, problems[p], mj_reason_text(found.reason),
                           found.detail, error.text);
            }
        }
        mj_lab_close(&lab);
        mj_device_close(device);
        mj_context_destroy(context);
    }
}

int main(int argc, char **argv)
{
    mj_error error = {0};
    if (mj_spec_load(NULL, &spec, NULL, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    RUN(errors_of_sums_are_seen_through_the_codes);
    RUN(single_codes_and_scales_are_seen);
    RUN(ties_zeros_and_saturated_codes);
    RUN(kernels_that_write_codes_are_verified);
    mj_spec_free(spec);
    temp_folder_remove();
    return CHECK_END();
}
