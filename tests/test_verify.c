/* The tolerances: what rounding does passes, what a mistake does not, at the largest depth of every model. */
#define _GNU_SOURCE
#include "device_fixture.h"
#include "measure.h"
#include "reference.h"
#include "store.h"
#include "verify.h"

#define COLUMNS 128
#define ROWS    4

static mj_spec *spec;

/* A GEMM's row in float64, with the products of `skip` steps starting at `from` left out. */
static void make_sums(uint64_t seed, uint32_t k, uint32_t from, uint32_t skip, double *out)
{
    float scale = (float)(1 / sqrt((double)k));
    for (uint32_t column = 0; column < COLUMNS; column++) {
        out[column] = 0;
        for (uint32_t i = 0; i < k; i++) {
            double x = mj_ref_fill(seed, i, 1), w = mj_ref_fill(seed + 1, (uint64_t)column * k + i, scale);
            out[column] += i - from < skip ? 0 : x * w; /* unsigned: below `from` is far above `skip` */
        }
    }
}

/* As a kernel of the scheme stores them; `out` may be `sums`. */
static void round_row(const mj_scheme *scheme, const double *sums, double *out)
{
    for (uint32_t column = 0; column < COLUMNS; column++) {
        char rounded[4];
        mj_ref_store(scheme->io_format, rounded, 0, sums[column]);
        out[column] = mj_ref_load(scheme->io_format, rounded, 0);
    }
}

static uint32_t largest_depth(void)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        const mj_model *model = mj_spec_model_at(spec, i);
        k = model->hidden > k ? model->hidden : k;
        k = model->intermediate > k ? model->intermediate : k;
    }
    return k;
}

static uint32_t supported_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < mj_spec_scheme_count(spec); i++) {
        count += mj_spec_scheme_at(spec, i)->supported;
    }
    return count;
}

TEST(one_missing_step_of_the_largest_depth_is_seen)
{
    uint32_t k = largest_depth(), caught = 0, tried = 0;
    double sums[COLUMNS], short_sums[COLUMNS], want[COLUMNS], got[COLUMNS];
    CHECK(k >= 4096);
    for (uint32_t row = 0; row < ROWS; row++) {
        make_sums(10 + row, k, 0, 0, sums);
        make_sums(10 + row, k, k - 16, 16, short_sums); /* the last step of the smallest matrix instruction */
        for (uint32_t i = 0; i < mj_spec_scheme_count(spec); i++) {
            const mj_scheme *scheme = mj_spec_scheme_at(spec, i);
            if (!scheme->supported) {
                continue;
            }
            round_row(scheme, sums, want);
            round_row(scheme, short_sums, got);
            tried++;
            caught += mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS) != UINT32_MAX;
            CHECK(mj_tolerance_check(&scheme->tolerance, want, want, COLUMNS) == UINT32_MAX);
        }
    }
    CHECK(tried >= ROWS);
    CHECK_INT(tried, ROWS * supported_count());
    CHECK_INT(caught, tried); /* a kernel has many rows: one would do */
}

TEST(rounding_passes_and_single_errors_do_not)
{
    const mj_scheme *scheme = NULL;
    double want[COLUMNS], got[COLUMNS];
    CHECK_STATUS(mj_spec_find_scheme(spec, "bf16", &scheme, NULL), MJ_OK);
    make_sums(3, 512, 0, 0, want);
    round_row(scheme, want, want);
    for (int i = 0; i < COLUMNS; i++) { /* every element one unit in the last place off */
        got[i] = want[i] * (i % 2 ? 1 + 0x1p-8 : 1 - 0x1p-8);
    }
    CHECK(mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS) == UINT32_MAX);
    memcpy(got, want, sizeof(got));
    got[77] += 1;
    CHECK_INT(mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS), 77);
    got[77] = NAN;
    CHECK_INT(mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS), 77);
    got[77] = INFINITY;
    CHECK_INT(mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS), 77);
    memcpy(got, want, sizeof(got));
    got[0] = want[1];
    got[1] = want[0];
    CHECK(mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS) < 2);
    memset(got, 0, sizeof(got));
    CHECK(mj_tolerance_check(&scheme->tolerance, got, want, COLUMNS) != UINT32_MAX);
    want[5] = NAN; /* a bad reference is no licence */
    CHECK_INT(mj_tolerance_check(&scheme->tolerance, want, want, COLUMNS), 5);
    CHECK(mj_tolerance_check(&scheme->tolerance, got, want, 0) == UINT32_MAX);
}

/* ---- The vendor's product: a device that multiplies what `can` says, at once ---- */

static const char *can;
static mj_status can_status;
static uint32_t bf16_count, fp8_count;

static mj_status fake_product(void *device, const char *format, uint32_t n, const void *a, const void *b, void *c,
                              void *stream, mj_error *error)
{
    (void)device, (void)stream;
    bool is_fp8 = strcmp(format, "e4m3") == 0;
    const uint32_t *words = a;
    if (n != 256 || !b || !c || a == b || words[1] == words[2]) { /* random data, not zeros */
        return mj_fail(error, MJ_ERR_ARGUMENT, "not what a product is asked for");
    }
    if (!strstr(can, format)) {
        return mj_fail(error, can_status, "no product in %s here", format);
    }
    bf16_count += !is_fp8;
    fp8_count += is_fp8;
    return MJ_OK;
}

TEST(the_product_is_what_the_scheme_multiplies)
{
    static const struct {
        const char *asked, *can, *product, *note;
        mj_status status, want;
    } rows[] = {
        {"bf16", "bf16 e4m3", "bf16", "", MJ_OK, MJ_OK},
        {"f16", "bf16 e4m3", "bf16", "", MJ_OK, MJ_OK},
        {"e4m3", "bf16 e4m3", "e4m3", "", MJ_OK, MJ_OK},
        {"e4m3", "bf16", "bf16", "no product in e4m3", MJ_ERR_UNSUPPORTED, MJ_OK},
        {"e4m3", "bf16", "bf16", "no product in e4m3", MJ_ERR_DEVICE, MJ_OK},
        {"e4m3", "", "", "no product in e4m3", MJ_ERR_UNSUPPORTED, MJ_OK},
        {"e4m3", "bf16", "", "", MJ_ERR_DEVICE_LOST, MJ_ERR_DEVICE_LOST},
    };
    device_fixture f;
    mj_lab lab = {0};
    mj_error error = {0};
    temp_folder_make();
    CHECK(open_fixture(&f, "cpu", "product"));
    CHECK_STATUS(mj_lab_open(f.device, 1 << 20, &lab, &error), MJ_OK);
    const mj_backend *own = f.device->backend;
    mj_backend faked = *own;
    mj_matrix_ceiling out;
    CHECK_STATUS(mj_measure_matrix(&lab, "e4m3", 256, &out, &error), MJ_OK); /* the cpu has none */
    CHECK(out.tflops == 0 && !out.product[0] && !out.note[0]);
    faked.dense_product = fake_product;
    f.device->backend = &faked;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        can = rows[i].can;
        can_status = rows[i].status;
        bf16_count = fp8_count = 0;
        CHECK_STATUS(mj_measure_matrix(&lab, rows[i].asked, 256, &out, &error), rows[i].want);
        CHECK_STRING(out.product, rows[i].product);
        CHECK_CONTAINS(out.note, rows[i].note);
        CHECK_INT(out.tflops > 0, rows[i].product[0] != 0);
        CHECK_INT(fp8_count > 0, strcmp(rows[i].product, "e4m3") == 0);
        CHECK_INT(bf16_count > 0, strcmp(rows[i].product, "bf16") == 0);
        CHECK_INT(lab.bytes_used, 0);
    }
    lab.bytes_max = 200 << 10; /* no room for the third matrix of any */
    CHECK_STATUS(mj_measure_matrix(&lab, "e4m3", 256, &out, &error), MJ_OK);
    CHECK(out.tflops == 0 && out.note[0]);
    f.device->backend = own;
    mj_lab_close(&lab);
    close_fixture(&f);
    temp_folder_remove();
}

/* Files of before it was said: the only product there was. */
TEST(stored_ceilings_without_a_product_are_of_bf16)
{
    mj_store_file file = {.matrix_tflops = 700, .memory_gbps = 4000}, again;
    CHECK_STATUS(mj_problem_parse("E=8,topk=2,H=64,N=64", &file.problem, NULL), MJ_OK);
    memcpy(file.identity.device, "x", 2);
    for (int i = 0; i < 2; i++) {
        snprintf(file.matrix_product, sizeof file.matrix_product, "%s", i ? "e4m3" : "");
        char *text = mj_store_print(&file);
        CHECK(text);
        CHECK_INT(strstr(text, "matrix_product") != NULL, i);
        CHECK_STATUS(mj_store_parse(text, strlen(text), "x", &again, NULL), MJ_OK);
        CHECK_STRING(again.matrix_product, i ? "e4m3" : "bf16");
        mj_store_file_free(&again);
        free(text);
    }
}

/* Activated rows of gates and ups, `noise` of a row beside the truth. */
static void activate_rows(const mj_scheme *scheme, mj_activation how, const double *gate, const double *up,
                          double noise, double *out)
{
    for (uint32_t i = 0; i < COLUMNS; i++) {
        char rounded[4];
        double g = gate[i] + noise * mj_ref_fill(91, i, 1), u = up[i] + noise * mj_ref_fill(92, i, 1);
        mj_ref_store(scheme->io_format, rounded, 0, mj_ref_activation(how, true, g, u));
        out[i] = mj_ref_load(scheme->io_format, rounded, 0);
    }
}

/* gemm1_act: a missing step is still seen behind the activation, a third of the error that sums may have is not held against it. */
TEST(activated_rows_have_a_tolerance_of_their_own)
{
    static const mj_activation kinds[] = {MJ_ACT_SILU, MJ_ACT_GELU, MJ_ACT_RELU2};
    uint32_t k = largest_depth(), tried = 0;
    double sums[4][COLUMNS], gate[COLUMNS], up[COLUMNS], short_gate[COLUMNS], short_up[COLUMNS];
    double want[COLUMNS], got[COLUMNS];
    make_sums(10, k, 0, 0, sums[0]);
    make_sums(30, k, 0, 0, sums[1]);
    make_sums(10, k, k - 16, 16, sums[2]);
    make_sums(30, k, k - 16, 16, sums[3]);
    for (uint32_t i = 0; i < mj_spec_scheme_count(spec); i++) {
        const mj_scheme *scheme = mj_spec_scheme_at(spec, i);
        mj_lab lab = {.scheme = scheme, .op = MJ_OP_GEMM1_ACT};
        mj_tolerance tolerance = mj_lab_tolerance(&lab);
        if (!scheme->supported) {
            continue;
        }
        round_row(scheme, sums[0], gate);
        round_row(scheme, sums[1], up);
        round_row(scheme, sums[2], short_gate);
        round_row(scheme, sums[3], short_up);
        for (size_t a = 0; a < sizeof kinds / sizeof kinds[0]; a++, tried++) {
            activate_rows(scheme, kinds[a], gate, up, 0, want);
            activate_rows(scheme, kinds[a], short_gate, short_up, 0, got);
            CHECK(mj_tolerance_check(&tolerance, got, want, COLUMNS) != UINT32_MAX);
            activate_rows(scheme, kinds[a], gate, up, scheme->tolerance.row_norm / 3, got);
            CHECK(mj_tolerance_check(&tolerance, got, want, COLUMNS) == UINT32_MAX);
        }
        lab.op = MJ_OP_GEMM1;
        CHECK(mj_lab_tolerance(&lab).element_rms == scheme->tolerance.element_rms);
    }
    CHECK(tried >= 3);
    CHECK_INT(tried, sizeof kinds / sizeof kinds[0] * supported_count());
}

int main(int argc, char **argv)
{
    mj_error error = {0};
    if (mj_spec_load(NULL, &spec, NULL, &error) != MJ_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    CHECK_BEGIN(argc, argv);
    RUN(one_missing_step_of_the_largest_depth_is_seen);
    RUN(rounding_passes_and_single_errors_do_not);
    RUN(the_product_is_what_the_scheme_multiplies);
    RUN(stored_ceilings_without_a_product_are_of_bf16);
    RUN(activated_rows_have_a_tolerance_of_their_own);
    mj_spec_free(spec);
    return CHECK_END();
}
