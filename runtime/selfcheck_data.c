/* selfcheck_data.c: routing and operands of a self check; see selfcheck.h. */
#include <string.h>

#include "reference.h"
#include "selfcheck.h"

enum {
    ELEMENTS_MAX = 1 << 20, /* of a period */
    SEED_IO = 1,
    SEED_ROUTING = 3,
    SEED_GEMM = 10 /* and one more for each operand */
};

static const float static_input_scale = 0.013f; /* some values saturate */

uint64_t mj_check_hash(uint64_t seed, uint64_t index)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + index;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

bool mj_check_is_local(const mj_check *check, int32_t id)
{
    return id >= 0 && (uint32_t)id < check->problem.expert_count;
}

/* ---- Routing ---- */

/* Distinct experts of the whole layer; one slot in sixteen is nobody's. Expert 0 has a pair at least: few tokens of a rank with few
 * of the layer's experts would leave its GEMMs nothing to compute. */
static void make_routing(mj_check *check)
{
    const mj_problem *problem = &check->problem;
    uint64_t draw = 0;
    bool has_first = false;
    for (uint32_t token = 0; token < check->token_count; token++) {
        int32_t *ids = check->topk_ids + (size_t)token * problem->top_k;
        for (uint32_t slot = 0; slot < problem->top_k; slot++) {
            bool taken = true;
            while (taken) {
                ids[slot] = (int32_t)(mj_check_hash(SEED_ROUTING, draw++) % problem->expert_total_count);
                taken = false;
                for (uint32_t i = 0; i < slot; i++) {
                    taken |= ids[i] == ids[slot];
                }
            }
        }
    }
    for (uint64_t i = 0; i < (uint64_t)check->token_count * problem->top_k; i++) {
        uint64_t bits = mj_check_hash(SEED_ROUTING + 100, i);
        check->topk_weights[i] = (float)(bits >> 40 & 0xffff) / 65536.0f + 0.125f;
        if ((bits & 15) == 0 && i > 0) {
            check->topk_ids[i] = bits & 16 ? -1 : (int32_t)problem->expert_count;
        }
        has_first |= check->topk_ids[i] == 0;
    }
    if (!has_first) {
        check->topk_ids[0] = 0;
    }
}

static mj_status open_routing(mj_check *check, mj_error *error)
{
    mj_context *context = check->context;
    size_t pairs = (size_t)check->token_count * check->problem.top_k;
    size_t experts = (size_t)check->problem.expert_count + 1;
    check->topk_ids = mj_alloc(context, pairs * sizeof *check->topk_ids);
    check->topk_weights = mj_alloc(context, pairs * sizeof *check->topk_weights);
    check->offsets = mj_alloc(context, experts * sizeof *check->offsets);
    check->sorted_pairs = mj_alloc(context, pairs * sizeof *check->sorted_pairs);
    if (!check->topk_ids || !check->topk_weights || !check->offsets || !check->sorted_pairs) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's routing");
    }
    make_routing(check);
    check->local_rows =
        mj_ref_tables(&check->problem, check->topk_ids, check->token_count, check->offsets, check->sorted_pairs);
    return MJ_OK;
}

/* ---- Periods ---- */

static uint32_t prime_at_most(uint32_t value)
{
    for (; value > 3; value--) {
        uint32_t divisor = 2;
        while (divisor * divisor <= value && value % divisor != 0) {
            divisor++;
        }
        if (divisor * divisor > value) {
            break;
        }
    }
    return value;
}

static mj_status open_data(mj_check *check, mj_check_data *data, uint64_t words, mj_error *error)
{
    uint32_t words_max = ELEMENTS_MAX / data->per_word;
    data->period = words <= words_max ? (uint32_t)words : prime_at_most(words_max);
    size_t elements = (size_t)data->period * data->per_word;
    data->words = mj_alloc(check->context, (size_t)data->period * data->word_bytes);
    data->values = mj_alloc(check->context, (elements + data->pad) * sizeof *data->values);
    return data->words && data->values ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "no memory for the self check's data");
}

static void close_data(mj_check *check, mj_check_data *data)
{
    mj_free(check->context, data->words);
    mj_free(check->context, data->values);
    memset(data, 0, sizeof *data);
}

static void repeat_values(mj_check_data *data)
{
    size_t elements = (size_t)data->period * data->per_word;
    for (uint32_t i = 0; i < data->pad; i++) {
        data->values[elements + i] = data->values[i % elements];
    }
}

/* Values in [-1, 1), [-2, 2), .. [-8, 8). */
static mj_status make_io(mj_check *check, mj_error *error)
{
    mj_check_data *data = &check->io;
    const char *format = check->scheme.io_format;
    *data = (mj_check_data){.per_word = 1, .word_bytes = mj_ref_format_bytes(format)};
    const mj_problem *problem = &check->problem;
    uint64_t rows =
        (uint64_t)check->token_count * problem->top_k + problem->expert_count; /* of an input, or of biases */
    uint64_t columns = 2ull * problem->intermediate + problem->hidden;
    mj_status status = open_data(check, data, rows * columns, error);
    for (uint32_t i = 0; status == MJ_OK && i < data->period; i++) {
        uint64_t bits = mj_check_hash(SEED_IO, i);
        float unit = (float)(int32_t)(bits >> 32) * (1.0f / 2147483648.0f);
        mj_ref_store(format, data->words, i, unit * (float)(1u << (bits & 3)));
        data->values[i] = (float)mj_ref_load(format, data->words, i);
    }
    return status;
}

mj_status mj_check_open(mj_check *check, mj_context *context, const mj_problem *problem, const mj_scheme *scheme,
                        uint32_t token_count, mj_error *error)
{
    memset(check, 0, sizeof *check);
    check->context = context;
    check->problem = *problem;
    check->scheme = *scheme;
    check->token_count = token_count;
    memcpy(check->scheme.name, problem->scheme, sizeof check->scheme.name);
    if (strcmp(scheme->io_format, "bf16") != 0 && strcmp(scheme->io_format, "f16") != 0) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "scheme %s: the self check does not know rows of %s", problem->scheme,
                       scheme->io_format);
    }
    mj_operands operands; /* refuses what the host cannot follow, before anything is made */
    mj_status status = mj_operands_describe(&check->scheme, problem, MJ_OP_GEMM1, token_count, &operands, error);
    if (status == MJ_OK) {
        status = open_routing(check, error);
    }
    if (status == MJ_OK) {
        status = make_io(check, error);
    }
    if (status == MJ_OK) {
        check->static_scale = (mj_check_data){.per_word = 1, .word_bytes = sizeof(float)};
        status = open_data(check, &check->static_scale, 1, error);
    }
    if (status == MJ_OK) {
        memcpy(check->static_scale.words, &static_input_scale, sizeof static_input_scale);
        check->static_scale.values[0] = static_input_scale;
    }
    return status;
}

/* ---- A GEMM's operands ---- */

static double decode(const mj_check *check, const mj_check_data *data, const mj_operand *operand, uint64_t word,
                     uint32_t element)
{
    if (data == &check->weights) {
        return mj_ref_weight_code(&check->scheme, data->words, word, element);
    }
    return data == &check->weight_zeros ? mj_ref_zero_code(&check->scheme, data->words, word, element)
                                        : mj_ref_load(operand->format, data->words, word);
}

/* packing null, or of words of 0 bits: one element in a word. */
static mj_status make_operand(mj_check *check, mj_check_data *data, const mj_operand *operand,
                              const mj_packing *packing, uint32_t run, uint64_t seed, mj_error *error)
{
    bool packed = packing && packing->word_bits;
    uint32_t element_bytes = operand->bytes ? mj_ref_format_bytes(operand->format) : 0;
    if (operand->bytes == 0) {
        return MJ_OK;
    }
    *data = (mj_check_data){.per_word = packed ? packing->per_word : 1,
                            .word_bytes = packed ? packing->word_bits / 8 : element_bytes};
    data->pad = (run + data->per_word - 1) / data->per_word * data->per_word;
    mj_status status = open_data(check, data, operand->bytes / data->word_bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    uint64_t stored = (uint64_t)data->period * data->word_bytes / element_bytes;
    for (uint64_t i = 0; i < stored; i++) {
        mj_operand_store(operand, data->words, i, seed, i);
    }
    for (uint32_t word = 0; word < data->period; word++) {
        for (uint32_t i = 0; i < data->per_word; i++) {
            data->values[(size_t)word * data->per_word + i] = (float)decode(check, data, operand, word, i);
        }
    }
    repeat_values(data);
    return MJ_OK;
}

static mj_status add(mj_check *check, mj_arg arg, uint64_t bytes, const mj_check_data *data, mj_error *error)
{
    if (bytes && check->operand_count == MJ_CHECK_OPERANDS_MAX) {
        return mj_fail(error, MJ_ERR_INTERNAL, "%s reads more arrays than the self check holds", mj_op_name(check->op));
    }
    if (bytes) {
        check->operands[check->operand_count++] = (mj_check_operand){arg, bytes, data};
    }
    return MJ_OK;
}

/* Of codes: `count` columns, and what is written for each row, or the static scale. */
static mj_status add_written_scales(mj_check *check, mj_arg arg, uint32_t count, mj_error *error)
{
    uint64_t rows = mj_check_output_shape(check, check->op).rows;
    uint32_t per_row = mj_ref_scales_per_row(&check->scheme, count);
    return add(check, arg, per_row ? (rows + 1) * per_row * sizeof(float) : sizeof(float),
               per_row ? NULL : &check->static_scale, error);
}

static mj_status begin_gemm(mj_check *check, mj_error *error)
{
    mj_operands all;
    mj_gemm_shape shape = mj_problem_gemm(&check->problem, check->op);
    uint64_t pairs = (uint64_t)check->token_count * check->problem.top_k;
    uint64_t rows = mj_op_is_gemm1(check->op) ? check->token_count : pairs;
    mj_status status = mj_operands_describe(&check->scheme, &check->problem, check->op, rows, &all, error);
    const struct {
        mj_arg arg;
        mj_check_data *data;
        const mj_operand *operand;
        const mj_packing *packing;
        uint32_t run; /* elements that are read in a row */
    } parts[] = {
        {MJ_ARG_INPUT, &check->input, &all.input, NULL, shape.k},
        {MJ_ARG_INPUT_SCALES, &check->input_scales, &all.input_scales, NULL, 0},
        {MJ_ARG_WEIGHTS, &check->weights, &all.weights, &check->scheme.packing, shape.k},
        {MJ_ARG_WEIGHT_SCALES, &check->weight_scales, &all.weight_scales, NULL, 0},
        {MJ_ARG_WEIGHT_ZEROS, &check->weight_zeros, &all.weight_zeros, &check->scheme.zero.packing, 0},
    };
    for (size_t i = 0; status == MJ_OK && i < sizeof parts / sizeof parts[0]; i++) {
        status = make_operand(check, parts[i].data, parts[i].operand, parts[i].packing, parts[i].run,
                              SEED_GEMM + (uint64_t)check->op * 16 + i, error);
        status = status == MJ_OK ? add(check, parts[i].arg, parts[i].operand->bytes, parts[i].data, error) : status;
    }
    if (status == MJ_OK && mj_op_writes_codes(check->op)) {
        status = add_written_scales(check, MJ_ARG_OUTPUT_SCALES, shape.out_n, error);
    }
    if (status == MJ_OK && check->problem.bias) {
        uint64_t count = (uint64_t)check->problem.expert_count * shape.n;
        status = add(check, MJ_ARG_BIAS, count * check->io.word_bytes, &check->io, error);
    }
    return status;
}

static uint64_t input_elements(const mj_check *check)
{
    const mj_problem *problem = &check->problem;
    uint64_t pairs = (uint64_t)check->token_count * problem->top_k;
    switch (check->op) {
    case MJ_OP_QUANTISE1:
        return (uint64_t)check->token_count * problem->hidden;
    case MJ_OP_ACTIVATION:
        return pairs * (problem->gated ? 2 : 1) * problem->intermediate;
    case MJ_OP_QUANTISE2:
        return pairs * problem->intermediate;
    default:
        return pairs * problem->hidden;
    }
}

static void end(mj_check *check)
{
    mj_check_data *all[] = {&check->input, &check->input_scales, &check->weights, &check->weight_scales,
                            &check->weight_zeros};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        close_data(check, all[i]);
    }
    check->operand_count = 0;
}

mj_status mj_check_begin(mj_check *check, mj_op op, mj_error *error)
{
    end(check);
    check->op = op;
    if (mj_op_is_gemm(op)) {
        return begin_gemm(check, error);
    }
    if (op == MJ_OP_TABLES) {
        return MJ_OK;
    }
    mj_status status = add(check, MJ_ARG_INPUT, input_elements(check) * check->io.word_bytes, &check->io, error);
    if (status == MJ_OK && mj_op_is_quantise(op)) {
        status = add_written_scales(check, MJ_ARG_INPUT_SCALES, mj_problem_gemm(&check->problem, op).k, error);
    }
    return status;
}

void mj_check_close(mj_check *check)
{
    mj_context *context = check->context;
    if (!context) {
        return;
    }
    end(check);
    close_data(check, &check->io);
    close_data(check, &check->static_scale);
    mj_free(context, check->topk_ids);
    mj_free(context, check->topk_weights);
    mj_free(context, check->offsets);
    mj_free(context, check->sorted_pairs);
    memset(check, 0, sizeof *check);
}
