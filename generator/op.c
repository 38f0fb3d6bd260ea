/* op.c: the ops of a layer and the arguments of their kernels. */
#include "gen.h"

#include <string.h>

typedef struct op_row {
    const char *name;
    uint32_t arg_count;
    mj_arg args[14]; /* ascending: the order of the argument struct */
} op_row;

#define GEMM_ARGS \
    { \
        MJ_ARG_INPUT, MJ_ARG_WEIGHTS, MJ_ARG_BIAS, MJ_ARG_OUTPUT, MJ_ARG_EXPERT_OFFSETS, MJ_ARG_SORTED_PAIRS, \
            MJ_ARG_TOPK_IDS, MJ_ARG_TOPK_WEIGHTS, MJ_ARG_WEIGHT_SCALES, MJ_ARG_WEIGHT_ZEROS, MJ_ARG_INPUT_SCALES, \
            MJ_ARG_PARTIALS, MJ_ARG_COUNTERS, MJ_ARG_TOKEN_COUNT \
    }

/* Dynamic scales are written through input_scales, static ones read. */
#define QUANTISE_ARGS \
    { \
        MJ_ARG_INPUT, MJ_ARG_OUTPUT, MJ_ARG_EXPERT_OFFSETS, MJ_ARG_INPUT_SCALES, MJ_ARG_TOKEN_COUNT \
    }

static const op_row rows[] = {
    /* ORDER OP */
    {"tables", 4, {MJ_ARG_EXPERT_OFFSETS, MJ_ARG_SORTED_PAIRS, MJ_ARG_TOPK_IDS, MJ_ARG_TOKEN_COUNT}},
    {"quantise1", 5, QUANTISE_ARGS},
    {"gemm1", 14, GEMM_ARGS},
    {"gemm1_act", 14, GEMM_ARGS},
    {"gemm1_quantise",
     14,
     {MJ_ARG_INPUT, MJ_ARG_WEIGHTS, MJ_ARG_BIAS, MJ_ARG_OUTPUT, MJ_ARG_EXPERT_OFFSETS, MJ_ARG_SORTED_PAIRS,
      MJ_ARG_TOPK_WEIGHTS, MJ_ARG_WEIGHT_SCALES, MJ_ARG_WEIGHT_ZEROS, MJ_ARG_INPUT_SCALES, MJ_ARG_OUTPUT_SCALES,
      MJ_ARG_PARTIALS, MJ_ARG_COUNTERS, MJ_ARG_TOKEN_COUNT}},
    {"activation", 4, {MJ_ARG_INPUT, MJ_ARG_OUTPUT, MJ_ARG_EXPERT_OFFSETS, MJ_ARG_TOKEN_COUNT}},
    {"quantise2", 5, QUANTISE_ARGS},
    {"gemm2",
     13,
     {MJ_ARG_INPUT, MJ_ARG_WEIGHTS, MJ_ARG_BIAS, MJ_ARG_OUTPUT, MJ_ARG_EXPERT_OFFSETS, MJ_ARG_SORTED_PAIRS,
      MJ_ARG_TOPK_WEIGHTS, MJ_ARG_WEIGHT_SCALES, MJ_ARG_WEIGHT_ZEROS, MJ_ARG_INPUT_SCALES, MJ_ARG_PARTIALS,
      MJ_ARG_COUNTERS, MJ_ARG_TOKEN_COUNT}},
    {"gemm2_combine", 14, GEMM_ARGS},
    {"combine", 4, {MJ_ARG_INPUT, MJ_ARG_OUTPUT, MJ_ARG_TOPK_IDS, MJ_ARG_TOKEN_COUNT}},
    {"fill", 5, {MJ_ARG_OUTPUT, MJ_ARG_ELEMENT_COUNT, MJ_ARG_SEED, MJ_ARG_SCALE, MJ_ARG_MODE}},
    {"compare",
     8,
     {MJ_ARG_OUTPUT, MJ_ARG_OUTPUT_SCALES, MJ_ARG_REFERENCE, MJ_ARG_RESULT, MJ_ARG_ELEMENT_COUNT, MJ_ARG_ROW_COUNT,
      MJ_ARG_COLUMN_COUNT, MJ_ARG_MODE}},
    {"stream", 4, {MJ_ARG_INPUT, MJ_ARG_OUTPUT, MJ_ARG_ELEMENT_COUNT, MJ_ARG_MODE}},
};
_Static_assert(sizeof rows / sizeof rows[0] == MJ_OP_COUNT, "one row per op");

typedef struct arg_row {
    const char *type, *name;
    uint32_t bytes;
} arg_row;

static const arg_row args[] = {/* ORDER ARG */
#define ARG_ROW(id, type, name, bytes) {type, name, bytes},
                               MJ_ARG_LIST(ARG_ROW)
#undef ARG_ROW
};

const char *mj_op_name(mj_op op)
{
    return (unsigned)op < MJ_OP_COUNT ? rows[op].name : "unknown";
}

mj_status mj_op_parse(const char *name, mj_op *out, mj_error *error)
{
    const char *names[MJ_OP_COUNT];
    if (!name || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "op: name or out is null");
    }
    for (int i = 0; i < MJ_OP_COUNT; i++) {
        names[i] = rows[i].name;
        if (strcmp(name, rows[i].name) == 0) {
            *out = (mj_op)i;
            return MJ_OK;
        }
    }
    const char *near = mj_nearest_name(name, names, MJ_OP_COUNT);
    return mj_fail(error, MJ_ERR_NOT_FOUND, "no op \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

bool mj_op_is_gemm1(mj_op op)
{
    return op == MJ_OP_GEMM1 || mj_op_activates(op);
}

bool mj_op_activates(mj_op op)
{
    return op == MJ_OP_GEMM1_ACT || op == MJ_OP_GEMM1_QUANTISE;
}

bool mj_op_is_gemm2(mj_op op)
{
    return op == MJ_OP_GEMM2 || mj_op_combines(op);
}

bool mj_op_combines(mj_op op)
{
    return op == MJ_OP_GEMM2_COMBINE;
}

bool mj_op_is_gemm(mj_op op)
{
    return mj_op_is_gemm1(op) || mj_op_is_gemm2(op);
}

/* Ops that do in one launch what neighbours do in two: the first part may itself stand in for others, which are then replaced too. */
typedef struct stand_in {
    mj_op op, parts[2];
    bool is_timed_only; /* its estimate has met no timing yet: not chosen by that */
} stand_in;

static const stand_in stand_ins[] = {
    {MJ_OP_GEMM1_ACT, {MJ_OP_GEMM1, MJ_OP_ACTIVATION}, false},
    {MJ_OP_GEMM1_QUANTISE, {MJ_OP_GEMM1_ACT, MJ_OP_QUANTISE2}, false},
    {MJ_OP_GEMM2_COMBINE, {MJ_OP_GEMM2, MJ_OP_COMBINE}, true},
};

/* NULL: it stands for itself. */
static const stand_in *stand_in_of(mj_op op)
{
    for (size_t i = 0; i < sizeof stand_ins / sizeof stand_ins[0]; i++) {
        if (stand_ins[i].op == op) {
            return &stand_ins[i];
        }
    }
    return NULL;
}

bool mj_op_is_timed_only(mj_op op)
{
    const stand_in *row = stand_in_of(op);
    return row && row->is_timed_only;
}

bool mj_op_is_quantise(mj_op op)
{
    return op == MJ_OP_QUANTISE1 || op == MJ_OP_QUANTISE2;
}

bool mj_op_is_optional(mj_op op)
{
    return mj_op_is_quantise(op) || mj_op_stands_for(op) != MJ_OP_COUNT;
}

bool mj_op_writes_codes(mj_op op)
{
    return mj_op_is_quantise(op) || op == MJ_OP_GEMM1_QUANTISE;
}

bool mj_op_replaces(mj_op op, mj_op other)
{
    for (const stand_in *row = stand_in_of(op); row; row = stand_in_of(row->parts[0])) {
        if (row->parts[0] == other || row->parts[1] == other) {
            return true;
        }
    }
    return false;
}

mj_op mj_op_part(mj_op op, uint32_t index)
{
    const stand_in *row = stand_in_of(op);
    return row && index < 2 ? row->parts[index] : MJ_OP_COUNT;
}

mj_op mj_op_stands_for(mj_op op)
{
    mj_op first = MJ_OP_COUNT;
    for (const stand_in *row = stand_in_of(op); row; row = stand_in_of(first)) {
        first = row->parts[0];
    }
    return first;
}

const mj_arg *mj_op_args(mj_op op, uint32_t *count)
{
    *count = rows[op].arg_count;
    return rows[op].args;
}

const char *mj_arg_name(mj_arg arg)
{
    return args[arg].name;
}

const char *mj_arg_type(mj_arg arg)
{
    return args[arg].type;
}

uint32_t mj_arg_bytes(mj_arg arg)
{
    return args[arg].bytes;
}
