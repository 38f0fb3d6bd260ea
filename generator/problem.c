/* problem.c: the problem as text and back, its checks, and its GEMM shapes. */
#include "checked.h"
#include "gen.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXPERTS_MAX = 4096,
    TOP_K_MAX = 64,
    WIDTH_MAX = 1 << 20, /* hidden, intermediate */
};
#define WEIGHT_ELEMENTS_MAX ((uint64_t)1 << 40) /* of one GEMM on one rank */

static const char *const activation_names[] = {"silu", "gelu", "gelu_tanh", "relu2",
                                               "swigluoai"}; /* ORDER ACTIVATION */
_Static_assert(sizeof activation_names / sizeof activation_names[0] == MJ_ACT_COUNT, "a name each");

const char *mj_activation_name(mj_activation activation)
{
    return (unsigned)activation < MJ_ACT_COUNT ? activation_names[activation] : "unknown";
}

static mj_status unknown_name(mj_error *error, const char *kind, const char *name, const char *const *names,
                              size_t count)
{
    const char *near = mj_nearest_name(name, names, count);
    return mj_fail(error, MJ_ERR_NOT_FOUND, "no %s \"%s\"%s%s%s", kind, name, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

mj_status mj_activation_parse(const char *name, mj_activation *out, mj_error *error)
{
    if (!name || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "activation: name or out is null");
    }
    for (int i = 0; i < MJ_ACT_COUNT; i++) {
        if (strcmp(name, activation_names[i]) == 0) {
            *out = (mj_activation)i;
            return MJ_OK;
        }
    }
    return unknown_name(error, "activation", name, activation_names, MJ_ACT_COUNT);
}

mj_status mj_problem_print(const mj_problem *problem, char *out, size_t bytes, mj_error *error)
{
    if (!problem || (!out && bytes > 0)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "problem or out is null");
    }
    int length = snprintf(out, bytes,
                          "E=%" PRIu32 "/%" PRIu32 ",topk=%" PRIu32 ",H=%" PRIu32 ",N=%" PRIu32
                          ",gated=%d,act=%s,bias=%d,scheme=%s,layout=%s",
                          problem->expert_count, problem->expert_total_count, problem->top_k, problem->hidden,
                          problem->intermediate, problem->gated, mj_activation_name(problem->activation), problem->bias,
                          problem->scheme, problem->layout);
    if (length < 0 || (size_t)length >= bytes) {
        return mj_fail(error, MJ_ERR_CAPACITY, "a problem's text needs more than %zu bytes", bytes);
    }
    return MJ_OK;
}

/* ---- Parsing: one row per field ---- */

typedef enum field_kind { FIELD_EXPERTS, FIELD_U32, FIELD_BOOL, FIELD_ACTIVATION, FIELD_NAME } field_kind;

typedef struct field_row {
    const char *key;
    field_kind kind;
    size_t offset;
} field_row;

static const field_row fields[] = {
    {"E", FIELD_EXPERTS, 0},
    {"topk", FIELD_U32, offsetof(mj_problem, top_k)},
    {"H", FIELD_U32, offsetof(mj_problem, hidden)},
    {"N", FIELD_U32, offsetof(mj_problem, intermediate)},
    {"gated", FIELD_BOOL, offsetof(mj_problem, gated)},
    {"act", FIELD_ACTIVATION, offsetof(mj_problem, activation)},
    {"bias", FIELD_BOOL, offsetof(mj_problem, bias)},
    {"scheme", FIELD_NAME, offsetof(mj_problem, scheme)},
    {"layout", FIELD_NAME, offsetof(mj_problem, layout)},
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0], REQUIRED_FIELDS = 4 /* the sizes; the rest has defaults */ };

static bool parse_u32(const char *text, char **end, uint32_t *out)
{
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    unsigned long long value = strtoull(text, end, 10);
    if (errno != 0 || value > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool is_word(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && length < MJ_NAME_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == length;
}

static bool parse_field(const field_row *row, const char *value, mj_problem *out)
{
    void *to = (char *)out + row->offset;
    char *end = NULL;
    switch (row->kind) {
    case FIELD_EXPERTS: /* "8" or "8/64": local/total */
        if (!parse_u32(value, &end, &out->expert_count)) {
            return false;
        }
        out->expert_total_count = out->expert_count;
        return *end == '\0' || (*end == '/' && parse_u32(end + 1, &end, &out->expert_total_count) && *end == '\0');
    case FIELD_U32:
        return parse_u32(value, &end, to) && *end == '\0';
    case FIELD_BOOL:
        *(bool *)to = value[0] == '1';
        return (value[0] == '0' || value[0] == '1') && value[1] == '\0';
    case FIELD_ACTIVATION:
        return mj_activation_parse(value, to, NULL) == MJ_OK;
    case FIELD_NAME:
        if (is_word(value)) {
            snprintf(to, MJ_NAME_MAX, "%s", value);
            return true;
        }
        return false;
    }
    return false;
}

static mj_status parse_item(char *item, mj_problem *out, uint32_t *seen, mj_error *error)
{
    const char *keys[FIELD_COUNT];
    char *equals = strchr(item, '=');
    if (!equals) {
        return mj_fail(error, MJ_ERR_FORMAT, "problem: \"%s\" is not name=value", item);
    }
    *equals = '\0';
    for (uint32_t i = 0; i < FIELD_COUNT; i++) {
        keys[i] = fields[i].key;
        if (strcmp(item, fields[i].key) != 0) {
            continue;
        }
        if (*seen >> i & 1) {
            return mj_fail(error, MJ_ERR_FORMAT, "problem: %s is given twice", item);
        }
        *seen |= 1u << i;
        if (!parse_field(&fields[i], equals + 1, out)) {
            return mj_fail(error, MJ_ERR_FORMAT, "problem: %s=%s is not a value it can take", item, equals + 1);
        }
        return MJ_OK;
    }
    return unknown_name(error, "problem field", item, keys, FIELD_COUNT);
}

mj_status mj_problem_parse(const char *text, mj_problem *out, mj_error *error)
{
    char copy[512];
    mj_problem parsed = {.gated = true, .activation = MJ_ACT_SILU, .scheme = "bf16", .layout = "default"};
    uint32_t seen = 0;
    if (!text || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "problem: text or out is null");
    }
    if (strlen(text) >= sizeof copy) {
        return mj_fail(error, MJ_ERR_FORMAT, "problem: longer than %zu bytes", sizeof copy - 1);
    }
    snprintf(copy, sizeof copy, "%s", text);
    for (char *item = copy, *next = NULL; item; item = next) {
        next = strchr(item, ',');
        if (next) {
            *next++ = '\0';
        }
        mj_status status = parse_item(item, &parsed, &seen, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < REQUIRED_FIELDS; i++) {
        if (!(seen >> i & 1)) {
            return mj_fail(error, MJ_ERR_FORMAT, "problem: %s is missing", fields[i].key);
        }
    }
    mj_status status = mj_problem_check(&parsed, error);
    if (status == MJ_OK) {
        *out = parsed;
    }
    return status;
}

/* ---- Checks ---- */

static mj_status check_range(const char *name, uint32_t value, uint32_t max, mj_error *error)
{
    if (value >= 1 && value <= max) {
        return MJ_OK;
    }
    return mj_fail(error, MJ_ERR_ARGUMENT, "%s is %" PRIu32 ", not in 1..%" PRIu32, name, value, max);
}

static bool is_terminated(const char *name)
{
    return memchr(name, '\0', MJ_NAME_MAX) != NULL && is_word(name);
}

static mj_status check_products(const mj_problem *problem, mj_error *error)
{
    for (int op = MJ_OP_GEMM1; op <= MJ_OP_GEMM2; op += MJ_OP_GEMM2 - MJ_OP_GEMM1) {
        mj_gemm_shape shape = mj_problem_gemm(problem, (mj_op)op);
        uint64_t elements = 0;
        if (!mj_mul3_u64(problem->expert_count, shape.n, shape.k, &elements) || elements > WEIGHT_ELEMENTS_MAX) {
            return mj_fail(error, MJ_ERR_ARGUMENT,
                           "%s's weights of %" PRIu32 " x %" PRIu32 " x %" PRIu32 " elements are more than 2^40",
                           mj_op_name((mj_op)op), problem->expert_count, shape.n, shape.k);
        }
    }
    return MJ_OK;
}

mj_status mj_problem_check(const mj_problem *problem, mj_error *error)
{
    if (!problem) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "problem is null");
    }
    const struct {
        const char *name;
        uint32_t value, max;
    } ranges[] = {
        {"experts (E)", problem->expert_count, EXPERTS_MAX},
        {"experts of the layer", problem->expert_total_count, EXPERTS_MAX},
        {"top-k", problem->top_k, TOP_K_MAX},
        {"hidden size (H)", problem->hidden, WIDTH_MAX},
        {"intermediate size (N)", problem->intermediate, WIDTH_MAX},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        mj_status status = check_range(ranges[i].name, ranges[i].value, ranges[i].max, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    if (problem->expert_count > problem->expert_total_count) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%" PRIu32 " local experts are more than the layer's %" PRIu32,
                       problem->expert_count, problem->expert_total_count);
    }
    if (problem->top_k > problem->expert_total_count) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "top-k %" PRIu32 " is above the layer's %" PRIu32 " experts",
                       problem->top_k, problem->expert_total_count);
    }
    if ((unsigned)problem->activation >= MJ_ACT_COUNT) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "activation %d is unknown", (int)problem->activation);
    }
    if (!is_terminated(problem->scheme) || !is_terminated(problem->layout)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "scheme and layout must be names of 1 to %d letters", MJ_NAME_MAX - 1);
    }
    mj_status status = mj_layout_check(problem->layout, problem, error);
    return status == MJ_OK ? check_products(problem, error) : status;
}

mj_gemm_shape mj_problem_gemm(const mj_problem *problem, mj_op op)
{
    uint32_t gates = problem->gated ? 2 : 1;
    mj_gemm_shape shape = {0};
    if (mj_op_is_gemm1(op) || op == MJ_OP_QUANTISE1) {
        shape = (mj_gemm_shape){.n = gates * problem->intermediate, .k = problem->hidden};
    }
    if (mj_op_is_gemm2(op) || op == MJ_OP_QUANTISE2) {
        shape = (mj_gemm_shape){.n = problem->hidden, .k = problem->intermediate};
    }
    shape.out_n = mj_op_activates(op) ? problem->intermediate : shape.n;
    shape.turn_rows = mj_layout_turn_rows(problem, op);
    return shape;
}

mj_status mj_problem_from_model(const mj_model *model, uint32_t tp, uint32_t ep, const char *scheme, mj_problem *out,
                                mj_error *error)
{
    if (tp == 0 || ep == 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s must be at least 1", tp == 0 ? "tp" : "ep");
    }
    if (model->intermediate % tp != 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s: intermediate size %" PRIu32 " is not divisible by tp %" PRIu32,
                       model->name, model->intermediate, tp);
    }
    if (model->expert_count % ep != 0) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s: %" PRIu32 " experts are not divisible by ep %" PRIu32, model->name,
                       model->expert_count, ep);
    }
    mj_problem problem = {
        .expert_count = model->expert_count / ep,
        .expert_total_count = model->expert_count,
        .top_k = model->top_k,
        .hidden = model->hidden,
        .intermediate = model->intermediate / tp,
        .gated = model->gated,
        .bias = model->bias,
        .activation = model->activation,
        .layout = "default",
    };
    if (!is_word(scheme)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "scheme: a name of 1 to %d letters", MJ_NAME_MAX - 1);
    }
    snprintf(problem.scheme, sizeof problem.scheme, "%s", scheme);
    mj_status status = mj_problem_check(&problem, error);
    if (status == MJ_OK) {
        *out = problem;
    }
    return status;
}
