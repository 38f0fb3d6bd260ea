/* test_selfcheck.c: the host half of mj_plan_selfcheck: what it takes for right and what it refuses, for schemes as a manifest
 * describes them (no Lua here: this test is in every build). */
#include "fake_device.h"
#include "reference.h"
#include "selfcheck.h"

#define BF16       "weight=bf16,bits=16,word=16,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE
#define FP16       "weight=f16,bits=16,word=16,order=0,axis=k,input=f16,io=f16,sum=f32," TOLERANCE
#define TOLERANCE  "element_rel=7812500,element_rms=20000000,row_norm=8000000"
#define TOLERANCE8 "element_rel=7812500,element_rms=30000000,row_norm=12000000"
#define INT4_ZP \
    "weight=uint4,bits=4,decode=0+16,word=32,order=0/2/4/6/1/3/5/" \
    "7,axis=k,scale=bf16,scale_n=1,scale_k=32,scale_order=nk," \
    "zero=uint4,zero_n=1,zero_k=32,zero_nk=nk,zero_word=32,zero_order=0/1/2/3/4/5/6/7,zero_axis=n,input=bf16,io=bf16," \
    "sum=f32," TOLERANCE
#define FP8_BLOCK \
    "weight=e4m3,bits=8,word=8,order=0,axis=k,scale=f32,scale_n=128,scale_k=128,scale_order=nk,input=e4m3," \
    "input_scale=group,input_scale_format=f32,input_k=128,dynamic=1,io=bf16,sum=f32," TOLERANCE8
#define FP8 \
    "weight=e4m3,bits=8,word=8,order=0,axis=k,scale=f32,scale_order=nk,input=e4m3,input_scale=tensor," \
    "input_scale_format=f32,io=bf16,sum=f32," TOLERANCE8
#define FP8_BLOCK_FNUZ \
    "weight=e4m3fnuz,bits=8,word=8,order=0,axis=k,scale=f32,scale_n=128,scale_k=128,scale_order=nk,input=e4m3fnuz," \
    "input_scale=group,input_scale_format=f32,input_k=128,dynamic=1,io=bf16,sum=f32," TOLERANCE8
#define FP8_FNUZ \
    "weight=e4m3fnuz,bits=8,word=8,order=0,axis=k,scale=f32,scale_order=nk,input=e4m3fnuz,input_scale=tensor," \
    "input_scale_format=f32,io=bf16,sum=f32," TOLERANCE8
/* None of lua/quant: a GEMM of it reads and writes every array that there is. */
#define INT4_FP8 \
    "weight=uint4,bits=4,decode=0+16,word=32,order=0/1/2/3/4/5/6/" \
    "7,axis=k,scale=f32,scale_n=1,scale_k=32,scale_order=nk," \
    "zero=uint4,zero_n=1,zero_k=32,zero_nk=nk,zero_word=32,zero_order=0/1/2/3/4/5/6/7,zero_axis=n,input=e4m3," \
    "input_scale=group,input_scale_format=f32,input_k=128,dynamic=1,io=bf16,sum=f32," TOLERANCE8
/* None of lua/quant: codes along n, values that are no steps, scales [k, n], signed zero points along k. */
#define ODD \
    "weight=nf2,bits=2,decode=bff0000000000000/bfd0000000000000/3fc999999999999a/3ff0000000000000,word=16," \
    "order=7/6/5/4/3/2/1/" \
    "0,axis=n,scale=f16,scale_n=2,scale_k=8,scale_order=kn,zero=int4,zero_n=4,zero_k=8,zero_nk=nk," \
    "zero_word=8,zero_order=1/0,zero_axis=k,zero_bias=-1,input=bf16,io=bf16,sum=f32," TOLERANCE

static mj_context *context;

static bool open_check(mj_check *check, const char *problem, const char *text, uint32_t tokens)
{
    mj_problem parsed;
    mj_scheme scheme;
    mj_error error = {0};
    mj_context_options options = {.cache_dir = "/nonexistent/cache", .store_dir = "/nonexistent/store"};
    if ((!context && mj_context_create(&options, &context, &error) != MJ_OK) ||
        mj_problem_parse(problem, &parsed, &error) != MJ_OK || mj_scheme_parse(text, &scheme, &error) != MJ_OK ||
        mj_check_open(check, context, &parsed, &scheme, tokens, &error) != MJ_OK) {
        printf("# %s\n", error.text);
        return false;
    }
    return true;
}

static double load(const mj_check *check, uint16_t code)
{
    return mj_ref_load(check->scheme.io_format, &code, 0);
}

static uint16_t store(const mj_check *check, double value)
{
    uint16_t code = 0;
    mj_ref_store(check->scheme.io_format, &code, 0, value);
    return code;
}

/* The right output of the op at hand; rows that nothing writes stay NaN. */
static uint16_t *right_output(const mj_check *check, uint64_t *count)
{
    mj_check_shape shape = mj_check_output_shape(check, check->op);
    *count = shape.rows * shape.columns;
    uint16_t *output = malloc(*count * sizeof *output);
    for (uint64_t i = 0; i < *count; i++) {
        double value = mj_check_value(check, i / shape.columns, i % shape.columns).value;
        output[i] = isnan(value) ? 0xffff : store(check, value);
    }
    return output;
}

static const struct {
    const char *problem, *scheme;
} cases[] = {
    {"E=5/6,topk=3,H=40,N=24,gated=1,act=swigluoai,bias=1,scheme=bf16,layout=default", BF16},
    {"E=3,topk=2,H=24,N=56,gated=0,act=gelu_tanh,bias=0,scheme=fp16,layout=default", FP16},
    {"E=5/6,topk=3,H=72,N=40,gated=1,act=silu,bias=1,scheme=int4,layout=default", INT4_ZP},
    {"E=3,topk=2,H=136,N=264,gated=1,act=silu,bias=0,scheme=block,layout=default", FP8_BLOCK},
    {"E=3,topk=2,H=40,N=56,gated=0,act=relu2,bias=0,scheme=fp8,layout=default", FP8},
    {"E=3,topk=2,H=21,N=37,gated=0,act=gelu,bias=0,scheme=odd,layout=default", ODD},
    {"E=3,topk=2,H=136,N=264,gated=1,act=silu,bias=0,scheme=fnuz,layout=default", FP8_BLOCK_FNUZ},
    {"E=3,topk=2,H=40,N=56,gated=0,act=relu2,bias=0,scheme=fnuz,layout=default", FP8_FNUZ},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };
static const size_t coded[] = {3, 4, 6, 7}; /* those that quantise: every second with one scale that is given */
enum { CODED_COUNT = sizeof coded / sizeof coded[0] };

TEST(right_outputs_pass_wrong_elements_do_not)
{
    static const mj_op ops[] = {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT,     MJ_OP_ACTIVATION,
                                MJ_OP_GEMM2, MJ_OP_GEMM2_COMBINE, MJ_OP_COMBINE};
    enum { OP_COUNT = sizeof ops / sizeof ops[0] };
    for (size_t p = 0; p < CASE_COUNT * OP_COUNT; p++) {
        mj_check check;
        mj_error error = {0};
        CHECK(open_check(&check, cases[p / OP_COUNT].problem, cases[p / OP_COUNT].scheme, 17));
        CHECK(check.local_rows > 0 && check.local_rows < 17u * check.problem.top_k); /* some pairs are nobody's */
        CHECK_STATUS(mj_check_begin(&check, ops[p % OP_COUNT], &error), MJ_OK);
        uint64_t count = 0, wrong = 0;
        uint16_t *output = right_output(&check, &count);
        CHECK_STATUS(mj_check_output(&check, output, NULL, &error), MJ_OK);
        for (uint64_t i = 0; i < count; i += count / 16 + 1) {
            uint16_t kept = output[i];
            if (kept == 0xffff) {
                continue; /* not a row */
            }
            output[i] = store(&check, load(&check, kept) * 1.1 + (load(&check, kept) < 0 ? -1 : 1));
            CHECK_STATUS(mj_check_output(&check, output, NULL, &error), MJ_ERR_WRONG_RESULT);
            CHECK_CONTAINS(error.text, mj_op_name(check.op));
            output[i] = 0xffff; /* never written */
            CHECK_STATUS(mj_check_output(&check, output, NULL, NULL), MJ_ERR_WRONG_RESULT);
            output[i] = kept;
            wrong++;
        }
        CHECK(wrong > 8);
        free(output);
        mj_check_close(&check);
    }
}

static const mj_check_operand *find(const mj_check *check, mj_arg arg)
{
    for (uint32_t i = 0; i < check->operand_count; i++) {
        if (check->operands[i].arg == arg) {
            return &check->operands[i];
        }
    }
    return NULL;
}

/* The whole array, as a device gets it. */
static void *whole(const mj_check *check, mj_arg arg)
{
    const mj_check_operand *operand = find(check, arg);
    unsigned char *out = operand ? malloc(operand->bytes) : NULL;
    for (uint64_t i = 0; out && i < operand->bytes; i++) {
        out[i] = operand->data->words[i % ((uint64_t)operand->data->period * operand->data->word_bytes)];
    }
    return out;
}

/* What the check takes for right is what the tuner's truth makes of the arrays that were uploaded. */
TEST(values_are_those_of_the_reference) /* but for values kept as float */
{
    static const mj_op ops[] = {MJ_OP_GEMM1, MJ_OP_GEMM1_ACT, MJ_OP_GEMM1_QUANTISE, MJ_OP_GEMM2};
    enum { OP_COUNT = sizeof ops / sizeof ops[0] };
    for (size_t p = 0; p < CASE_COUNT * OP_COUNT; p++) {
        mj_check check;
        mj_error error = {0};
        double row_values[1024];
        CHECK(open_check(&check, cases[p / OP_COUNT].problem, cases[p / OP_COUNT].scheme, 9));
        CHECK_STATUS(mj_check_begin(&check, ops[p % OP_COUNT], &error), MJ_OK);
        mj_ref_arrays arrays = {whole(&check, MJ_ARG_INPUT),
                                whole(&check, MJ_ARG_WEIGHTS),
                                whole(&check, MJ_ARG_BIAS),
                                whole(&check, MJ_ARG_WEIGHT_SCALES),
                                whole(&check, MJ_ARG_WEIGHT_ZEROS),
                                whole(&check, MJ_ARG_INPUT_SCALES),
                                NULL};
        CHECK_INT(arrays.weight_zeros != NULL, check.scheme.zero.format[0] != 0);
        CHECK_INT(arrays.input_scales != NULL, strcmp(check.scheme.input_scale_kind, "none") != 0);
        for (uint64_t row = 0; row < check.local_rows; row++) {
            uint64_t to = check.op == MJ_OP_GEMM2 ? (uint64_t)check.sorted_pairs[row] : row;
            CHECK_STATUS(mj_ref_gemm_row(&check.problem, &check.scheme, check.op, &arrays, check.offsets,
                                         check.sorted_pairs, check.topk_weights, row, row_values, &error),
                         MJ_OK);
            for (uint32_t i = 0; i < mj_problem_gemm(&check.problem, check.op).out_n; i++) {
                mj_check_want want = mj_check_value(&check, to, i);
                CHECK(fabs(want.value - row_values[i]) <= 1e-6 * want.size);
            }
        }
        const void *all[] = {arrays.input,         arrays.weights,      arrays.bias,
                             arrays.weight_scales, arrays.weight_zeros, arrays.input_scales};
        for (int i = 0; i < 6; i++) {
            free((void *)(uintptr_t)all[i]);
        }
        mj_check_close(&check);
    }
}

/* Codes that a GEMM wrote: of the right values, and of values a little off; not those of other values, nor under other scales. */
TEST(codes_of_a_gemm_are_those_of_its_values)
{
    for (size_t c = 0; c < CODED_COUNT; c++) {
        size_t p = coded[c];
        bool dynamic = c % 2 == 0;
        mj_check check;
        mj_error error = {0};
        CHECK(open_check(&check, cases[p].problem, cases[p].scheme, 9));
        CHECK_STATUS(mj_check_begin(&check, MJ_OP_GEMM1_QUANTISE, &error), MJ_OK);
        mj_check_shape shape = mj_check_output_shape(&check, check.op);
        uint32_t n = (uint32_t)shape.columns, per_row = mj_ref_scales_per_row(&check.scheme, n);
        CHECK(shape.element_bytes == 1 && find(&check, MJ_ARG_OUTPUT_SCALES) && find(&check, MJ_ARG_INPUT_SCALES));
        CHECK_INT(find(&check, MJ_ARG_OUTPUT_SCALES)->data == NULL, dynamic); /* written, or given */
        uint64_t count = 0;
        uint16_t *values = right_output(&check, &count);
        uint8_t *codes = malloc(count);
        float *scales = calloc(shape.rows * per_row + 1, sizeof *scales);
        for (int off = 0; off < 2; off++) {
            for (uint64_t i = 0; i < count && off; i++) {
                values[i] = store(&check, load(&check, values[i]) * (i % 2 ? 1.003 : 0.997));
            }
            for (uint64_t row = 0; row < shape.rows; row++) {
                scales[row * per_row] = per_row ? 0 : check.static_scale.values[0];
                CHECK_STATUS(
                    mj_ref_quantise_row(&check.scheme, n, values, row, codes + row * n, scales + row * per_row, &error),
                    MJ_OK);
            }
            CHECK_STATUS(mj_check_codes(&check, codes, scales, &error), MJ_OK);
        }
        for (uint64_t i = 0; i < count; i += count / 16 + 1) {
            uint8_t kept = codes[i];
            codes[i] = (uint8_t)(kept ^ ((kept & 0x7f) > 0x40 ? 0x80 : 0x70)); /* its sign, or far larger */
            CHECK_STATUS(mj_check_codes(&check, codes, scales, &error), MJ_ERR_WRONG_RESULT);
            CHECK_CONTAINS(error.text, "gemm1_quantise");
            codes[i] = (uint8_t)mj_check_unwritten_byte(&check);
            CHECK_STATUS(mj_check_codes(&check, codes, scales, NULL), MJ_ERR_WRONG_RESULT);
            codes[i] = kept;
        }
        for (uint64_t i = 0; i < shape.rows * per_row; i += shape.rows * per_row / 8 + 1) {
            scales[i] *= 1.2f;
            CHECK_STATUS(mj_check_codes(&check, codes, scales, NULL), MJ_ERR_WRONG_RESULT);
            scales[i] /= 1.2f;
        }
        free(values);
        free(codes);
        free(scales);
        mj_check_close(&check);
    }
}

/* Codes and scales to the bit; one code beside the right one is found, and so is a scale. */
TEST(codes_are_compared_exactly)
{
    for (size_t c = 0; c < CODED_COUNT; c++) {
        size_t p = coded[c];
        bool dynamic = c % 2 == 0;
        for (int second = 0; second < 2; second++) {
            mj_check check;
            mj_error error = {0};
            CHECK(open_check(&check, cases[p].problem, cases[p].scheme, 9));
            CHECK_STATUS(mj_check_begin(&check, second ? MJ_OP_QUANTISE2 : MJ_OP_QUANTISE1, &error), MJ_OK);
            mj_check_shape shape = mj_check_output_shape(&check, check.op);
            uint32_t k = (uint32_t)shape.columns, per_row = mj_ref_scales_per_row(&check.scheme, k);
            CHECK_INT(per_row, dynamic ? (k + 127) / 128 : 0);
            CHECK_INT(find(&check, MJ_ARG_INPUT_SCALES)->data == NULL, dynamic); /* written, or given */
            uint16_t *input = whole(&check, MJ_ARG_INPUT);
            uint8_t *codes = malloc(shape.rows * k);
            float *scales = calloc(shape.rows * per_row + 1, sizeof *scales);
            for (uint64_t row = 0; row < shape.rows; row++) {
                scales[row * per_row] = per_row ? 0 : check.static_scale.values[0];
                CHECK_STATUS(
                    mj_ref_quantise_row(&check.scheme, k, input, row, codes + row * k, scales + row * per_row, &error),
                    MJ_OK);
            }
            CHECK_STATUS(mj_check_codes(&check, codes, scales, &error), MJ_OK);
            codes[shape.rows * k - 3] ^= 1;
            CHECK_STATUS(mj_check_codes(&check, codes, scales, &error), MJ_ERR_WRONG_RESULT);
            CHECK_CONTAINS(error.text, second ? "quantise2" : "quantise1");
            codes[shape.rows * k - 3] ^= 1;
            scales[shape.rows * per_row - (per_row ? 1 : 0)] *= 1.0000002f;
            CHECK_STATUS(mj_check_codes(&check, codes, scales, &error), per_row ? MJ_ERR_WRONG_RESULT : MJ_OK);
            free(input);
            free(codes);
            free(scales);
            mj_check_close(&check);
        }
    }
}

TEST(large_outputs_are_sampled_and_compared_whole)
{
    mj_check check;
    mj_error error = {0};
    uint64_t count = 0;
    CHECK(open_check(&check, "E=2,topk=1,H=1024,N=1024,gated=1,act=silu,bias=0,scheme=bf16,layout=default", BF16, 48));
    CHECK_STATUS(mj_check_begin(&check, MJ_OP_GEMM1, &error), MJ_OK);
    uint16_t *base = right_output(&check, &count);
    uint16_t *output = malloc(count * sizeof *output);
    memcpy(output, base, count * sizeof *output);
    CHECK(count > (1u << 26) / 1024);
    CHECK_STATUS(mj_check_output(&check, output, NULL, &error), MJ_OK);
    for (uint64_t i = 5; i < count;
         i += count / 50) { /* one element: not always in the sample, always against the base */
        output[i] ^= 0x8000;
        mj_status status = mj_check_output(&check, output, base, &error);
        CHECK_STATUS(status, fabs(load(&check, base[i])) < 0.01 ? status : MJ_ERR_WRONG_RESULT);
        output[i] ^= 0x8000;
    }
    for (uint64_t i = 0; i < count; i++) { /* one lane in 32: found without a base */
        output[i] ^= i % 32 == 9 ? 0x8000 : 0;
    }
    CHECK_STATUS(mj_check_output(&check, output, NULL, &error), MJ_ERR_WRONG_RESULT);
    free(base);
    free(output);
    mj_check_close(&check);
}

/* A GEMM that stops one step early, at the deepest K: refused in every format; rounded where a kernel may round, it passes. */
TEST(a_missing_step_is_found)
{
    static const struct {
        const char *scheme;
        uint32_t step;
        double rounding; /* of a row: what the scheme's tolerance is made for */
    } rows[] = {{BF16, 16, 0}, {FP16, 16, 0}, {INT4_ZP, 16, 0.002}, {FP8_BLOCK, 32, 0.004}, {FP8, 32, 0.004}};
    for (size_t s = 0; s < sizeof rows / sizeof rows[0]; s++) {
        mj_check check;
        mj_error error = {0};
        uint64_t count = 0;
        const uint32_t k = 18432, n = 24;
        CHECK(open_check(&check, "E=1,topk=1,H=18432,N=12,gated=1,act=silu,bias=0,scheme=any,layout=default",
                         rows[s].scheme, 4));
        CHECK_STATUS(mj_check_begin(&check, MJ_OP_GEMM1, &error), MJ_OK);
        uint16_t *output = right_output(&check, &count);
        for (uint64_t i = 0; i < count; i++) {
            double noise =
                (double)(mj_check_hash(9, i) >> 40) / (1 << 24) * 2 - 1; /* even: its rms is 1 over sqrt(3) */
            mj_check_want want = mj_check_value(&check, i / n, i % n);
            output[i] = store(&check, want.value + noise * 1.7 * rows[s].rounding * want.size);
        }
        CHECK_STATUS(mj_check_output(&check, output, NULL, &error), MJ_OK);
        mj_ref_arrays arrays = {.input = whole(&check, MJ_ARG_INPUT),
                                .weights = whole(&check, MJ_ARG_WEIGHTS),
                                .weight_scales = whole(&check, MJ_ARG_WEIGHT_SCALES),
                                .weight_zeros = whole(&check, MJ_ARG_WEIGHT_ZEROS),
                                .input_scales = whole(&check, MJ_ARG_INPUT_SCALES)};
        double *x = malloc(2 * k * sizeof *x), *w = x + k;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t token = (uint64_t)check.sorted_pairs[i / n];
            double value = mj_check_value(&check, i / n, i % n).value;
            CHECK_STATUS(mj_ref_input_row(&check.scheme, k, &arrays, token, x, &error), MJ_OK);
            CHECK_STATUS(mj_ref_weight_row(&check.scheme, (mj_gemm_shape){.n = n, .k = k, .out_n = n}, &arrays, 0,
                                           (uint32_t)(i % n), w, &error),
                         MJ_OK);
            for (uint64_t j = k - rows[s].step; j < k; j++) {
                value -= x[j] * w[j];
            }
            output[i] = store(&check, value);
        }
        CHECK_STATUS(mj_check_output(&check, output, NULL, &error), MJ_ERR_WRONG_RESULT);
        free(output);
        free(x);
        const void *all[] = {arrays.input, arrays.weights, arrays.weight_scales, arrays.weight_zeros,
                             arrays.input_scales};
        for (int i = 0; i < 5; i++) {
            free((void *)(uintptr_t)all[i]);
        }
        mj_check_close(&check);
    }
}

TEST(tables_are_compared_exactly)
{
    mj_check check;
    mj_error error = {0};
    int32_t offsets[16], pairs[256];
    CHECK(open_check(&check, "E=5/6,topk=3,H=40,N=24,gated=1,act=silu,bias=0,scheme=bf16,layout=default", BF16, 17));
    memcpy(offsets, check.offsets, 6 * sizeof *offsets);
    memcpy(pairs, check.sorted_pairs, check.local_rows * sizeof *pairs);
    CHECK_STATUS(mj_check_tables(&check, offsets, pairs, &error), MJ_OK);
    offsets[5]--;
    CHECK_STATUS(mj_check_tables(&check, offsets, pairs, &error), MJ_ERR_WRONG_RESULT);
    CHECK_CONTAINS(error.text, "offset 5");
    offsets[5]++;
    pairs[3]++;
    CHECK_STATUS(mj_check_tables(&check, offsets, pairs, &error), MJ_ERR_WRONG_RESULT);
    CHECK_CONTAINS(error.text, "sorted pair 3");
    mj_check_close(&check);
}

TEST(a_gemm_with_every_array)
{
    static const mj_arg args[] = {MJ_ARG_INPUT,        MJ_ARG_INPUT_SCALES,  MJ_ARG_WEIGHTS, MJ_ARG_WEIGHT_SCALES,
                                  MJ_ARG_WEIGHT_ZEROS, MJ_ARG_OUTPUT_SCALES, MJ_ARG_BIAS};
    mj_check check;
    mj_error error = {0};
    CHECK(open_check(&check, "E=3,topk=2,H=136,N=40,bias=1,scheme=any", INT4_FP8, 9));
    CHECK_STATUS(mj_check_begin(&check, MJ_OP_GEMM1_QUANTISE, &error), MJ_OK);
    CHECK(check.operand_count == 7 && check.operand_count <= MJ_CHECK_OPERANDS_MAX);
    for (size_t i = 0; i < sizeof args / sizeof *args; i++) {
        CHECK(find(&check, args[i]) != NULL);
    }
    mj_check_close(&check);
}

/* A whole row under one scale, or long groups: said, and not divided by. */
TEST(codes_under_long_scales_are_not_checked)
{
    static const char *const texts[] = {
        "weight=e4m3,bits=8,word=8,order=0,axis=k,scale=f32,scale_n=1,scale_order=nk,input=e4m3,input_scale=token,"
        "input_scale_format=f32,dynamic=1,io=bf16,sum=f32," TOLERANCE8,
        "weight=e4m3,bits=8,word=8,order=0,axis=k,scale=f32,scale_n=1,scale_order=nk,input=e4m3,input_scale=group,"
        "input_scale_format=f32,input_k=256,dynamic=1,io=bf16,sum=f32," TOLERANCE8};
    for (size_t i = 0; i < 2; i++) {
        mj_check check;
        mj_error error = {0};
        static uint8_t codes[9 * 2 * 40];
        static float scales[9 * 2 * 40];
        CHECK(open_check(&check, "E=3,topk=2,H=136,N=40,scheme=any", texts[i], 9));
        CHECK_STATUS(mj_check_begin(&check, MJ_OP_GEMM1_QUANTISE, &error), MJ_OK);
        CHECK_STATUS(mj_check_codes(&check, codes, scales, &error), MJ_ERR_UNSUPPORTED);
        CHECK_CONTAINS(error.text, i ? "groups of 256 codes" : "groups of 40 codes");
        mj_check_close(&check);
    }
}

/* However few of the layer's experts are here, and however few tokens come: there is something to compare. */
TEST(a_local_expert_has_a_pair)
{
    static const char *const problems[] = {"E=2/64,topk=2,H=8,N=8", "E=1/256,topk=8,H=8,N=8", "E=1/8,topk=8,H=8,N=8",
                                           "E=64,topk=2,H=8,N=8", "E=1,topk=1,H=8,N=8"};
    for (size_t p = 0; p < sizeof problems / sizeof *problems; p++) {
        for (uint32_t tokens = 1; tokens < 20; tokens++) {
            mj_check check;
            CHECK(open_check(&check, problems[p], BF16, tokens));
            CHECK(check.offsets[1] > 0 && check.local_rows > 0);
            for (uint32_t i = 0; i < tokens * check.problem.top_k; i++) { /* of a token each expert once */
                uint32_t first = i / check.problem.top_k * check.problem.top_k;
                for (uint32_t k = first; k < i; k++) {
                    CHECK(check.topk_ids[i] != check.topk_ids[k] || !mj_check_is_local(&check, check.topk_ids[i]));
                }
            }
            mj_check_close(&check);
        }
    }
}

TEST(texts_of_schemes_are_read_or_refused)
{
    static const char *const good[] = {BF16, FP16, INT4_ZP, FP8_BLOCK, FP8, ODD};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char again[MJ_SCHEME_TEXT_MAX];
        mj_scheme scheme;
        mj_error error = {0};
        CHECK_STATUS(mj_scheme_parse(good[i], &scheme, &error), MJ_OK);
        CHECK_STATUS(mj_scheme_print(&scheme, again, sizeof again, &error), MJ_OK);
        CHECK_STRING(again, good[i]);
        for (size_t cut = 0; cut < strlen(good[i]); cut++) { /* half a text is no text */
            snprintf(again, sizeof again, "%.*s", (int)cut, good[i]);
            CHECK(mj_scheme_parse(again, &scheme, NULL) != MJ_OK || strstr(again, "row_norm="));
        }
    }
    static const char *const bad[] = {
        "",
        "weight",
        "weight=",
        "colour=red",
        " " BF16,
        BF16 ",",
        BF16 "," BF16,
        "weight=bf16,bits=16,word=16,order=1,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,   /* no permutation */
        "weight=bf16,bits=16,word=32,order=0/0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE, /* likewise */
        "weight=bf16,bits=16,word=32,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,   /* half a word */
        "weight=f32,bits=16,word=16,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,    /* read past the code */
        "weight=bf16,bits=8,word=8,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,
        "weight=e4m3,bits=16,word=16,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,
        "weight=bf16,bits=16,word=0,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,
        "weight=u4,bits=4,decode=0+15,word=8,order=0/1,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE, /* a code without value */
        "weight=u4,bits=4,decode=0+99999,word=8,order=0/1,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE,
        "weight=bf16,bits=16,word=16,order=0,axis=k,input=bf16,io=bf16,sum=f32,element_rel=-1,row_norm=1",
        "weight=bf16,bits=16,word=16,order=0,axis=k,input=bf16,io=bf16,sum=f32", /* no tolerance */
        "weight=bf16,bits=99999999999999999999,word=16,order=0,axis=k,input=bf16,io=bf16," TOLERANCE,
        "weight=bf16,bits=16,word=16,order=0,axis=k-and-more,input=bf16,io=bf16,sum=f32," TOLERANCE,
        "weight=e4m3,bits=8,word=8,order=0,axis=k,input=e4m3,input_scale=group,input_scale_format=f32,io=bf16,sum="
        "f32," TOLERANCE,
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mj_scheme scheme;
        mj_error error = {0};
        if (mj_scheme_parse(bad[i], &scheme, &error) != MJ_ERR_FORMAT || !error.text[0]) {
            check_fail(__FILE__, __LINE__, "\"%s\" is read: %s", bad[i], error.text);
        }
    }
}

/* Known, but with codes that the host cannot follow. */
TEST(unknown_formats_are_not_checked)
{
    static const char *const texts[][2] = {
        {"weight=e5m2,bits=8,word=8,order=0,axis=k,input=bf16,io=bf16,sum=f32," TOLERANCE, "e5m2"},
        {"weight=bf16,bits=16,word=16,order=0,axis=k,input=bf16,io=f32,sum=f32," TOLERANCE, "f32"},
        {"weight=bf16,bits=16,word=16,order=0,axis=k,global=f32,input=bf16,io=bf16,sum=f32," TOLERANCE, "any"},
    };
    mj_problem problem = {
        .expert_count = 1, .expert_total_count = 1, .top_k = 1, .hidden = 8, .intermediate = 8, .scheme = "any"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mj_check check;
        mj_scheme scheme;
        mj_error error = {0};
        CHECK_STATUS(mj_scheme_parse(texts[i][0], &scheme, &error), MJ_OK);
        CHECK_STATUS(mj_check_open(&check, context, &problem, &scheme, 1, &error), MJ_ERR_UNSUPPORTED);
        CHECK_CONTAINS(error.text, texts[i][1]);
        mj_check_close(&check);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(right_outputs_pass_wrong_elements_do_not);
    RUN(values_are_those_of_the_reference);
    RUN(codes_of_a_gemm_are_those_of_its_values);
    RUN(codes_are_compared_exactly);
    RUN(large_outputs_are_sampled_and_compared_whole);
    RUN(a_missing_step_is_found);
    RUN(tables_are_compared_exactly);
    RUN(a_gemm_with_every_array);
    RUN(codes_under_long_scales_are_not_checked);
    RUN(a_local_expert_has_a_pair);
    RUN(texts_of_schemes_are_read_or_refused);
    RUN(unknown_formats_are_not_checked);
    mj_context_destroy(context);
    return CHECK_END();
}
