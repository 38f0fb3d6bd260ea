/* wire.c: see wire.h. */
#include "wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum field_kind { FIELD_TEXT, FIELD_U32, FIELD_U64, FIELD_NUMBER } field_kind;

typedef struct field { /* one member of mj_wire_device */
    const char *key;
    field_kind kind;
    size_t offset, bytes;
} field;

#define TEXT(key, member) \
    { \
        key, FIELD_TEXT, offsetof(mj_wire_device, member), sizeof(((mj_wire_device *)0)->member) \
    }
#define U32(key, member) \
    { \
        key, FIELD_U32, offsetof(mj_wire_device, member), 4 \
    }
#define U64(key, member) \
    { \
        key, FIELD_U64, offsetof(mj_wire_device, member), 8 \
    }
#define NUMBER(key, member) \
    { \
        key, FIELD_NUMBER, offsetof(mj_wire_device, member), 8 \
    }

static const field device_fields[] = {
    TEXT("id", info.id),
    TEXT("name", info.name),
    TEXT("arch", info.arch),
    TEXT("driver", info.driver),
    TEXT("compiler", info.compiler),
    TEXT("note", info.note),
    U32("capability_major", info.capability_major),
    U32("capability_minor", info.capability_minor),
    U32("sm_count", info.sm_count),
    U64("memory_bytes", info.memory_bytes),
    U64("memory_free_bytes", info.memory_free_bytes),
    U64("l2_bytes", info.l2_bytes),
    U32("smem_block_bytes_max", info.smem_block_bytes_max),
    U32("clock_mhz", info.clock_mhz),
    TEXT("identity_device", identity.device),
    TEXT("identity_arch", identity.arch),
    U32("identity_sm_count", identity.sm_count),
    U64("identity_memory_bytes", identity.memory_bytes),
    TEXT("identity_driver", identity.driver),
    TEXT("identity_compiler", identity.compiler),
    U32("identity_generator", identity.generator_version),
    U32("shape_sm_count", shape.sm_count),
    NUMBER("shape_memory_gbps", shape.memory_gbps),
    NUMBER("shape_matrix_tflops", shape.matrix_tflops),
    NUMBER("shape_l2_bytes", shape.l2_bytes),
    NUMBER("shape_launch_us", shape.launch_us),
};
#define DEVICE_FIELD_COUNT (sizeof(device_fields) / sizeof(device_fields[0]))

mj_json *mj_wire_device_to_json(const mj_wire_device *device)
{
    mj_json *json = mj_json_object();
    for (size_t i = 0; i < DEVICE_FIELD_COUNT; i++) {
        const field *f = &device_fields[i];
        const char *at = (const char *)device + f->offset;
        if (f->kind == FIELD_TEXT) {
            mj_json_add_string(json, f->key, at);
        } else if (f->kind == FIELD_U32) {
            uint32_t value;
            memcpy(&value, at, 4);
            mj_json_add_int(json, f->key, value);
        } else if (f->kind == FIELD_U64) {
            uint64_t value;
            memcpy(&value, at, 8);
            mj_wire_add_u64(json, f->key, value);
        } else {
            double value;
            memcpy(&value, at, 8);
            mj_json_add_number(json, f->key, value);
        }
    }
    return json;
}

mj_status mj_wire_device_from_json(const mj_json *json, mj_wire_device *out, mj_error *error)
{
    mj_wire_device device;
    memset(&device, 0, sizeof(device));
    mj_status status = MJ_OK;
    for (size_t i = 0; i < DEVICE_FIELD_COUNT && status == MJ_OK; i++) {
        const field *f = &device_fields[i];
        char *at = (char *)&device + f->offset;
        int64_t whole = 0;
        uint64_t large = 0;
        double number = 0;
        if (f->kind == FIELD_TEXT) {
            status = mj_json_read_string(json, f->key, at, f->bytes, error);
        } else if (f->kind == FIELD_U32) {
            status = mj_json_read_int(json, f->key, 0, UINT32_MAX, &whole, error);
            uint32_t value = (uint32_t)whole;
            memcpy(at, &value, 4);
        } else if (f->kind == FIELD_U64) {
            status = mj_wire_read_u64(json, f->key, &large, error);
            memcpy(at, &large, 8);
        } else {
            status = mj_json_read_number(json, f->key, &number, error);
            memcpy(at, &number, 8);
        }
    }
    if (status == MJ_OK) {
        *out = device;
    }
    return status;
}

mj_status mj_wire_read_problem(const mj_json *request, mj_problem *out, mj_error *error)
{
    char text[512];
    mj_status status = mj_json_read_string(request, "problem", text, sizeof(text), error);
    return status == MJ_OK ? mj_problem_parse(text, out, error) : status;
}

mj_status mj_wire_add_problem(mj_json *request, const mj_problem *problem, mj_error *error)
{
    char text[512];
    mj_status status = mj_problem_print(problem, text, sizeof(text), error);
    if (status == MJ_OK && !mj_json_add_string(request, "problem", text)) {
        status = mj_fail(error, MJ_ERR_MEMORY, "a request");
    }
    return status;
}

mj_status mj_wire_read_op(const mj_json *request, mj_op *out, mj_error *error)
{
    char text[MJ_NAME_MAX];
    mj_status status = mj_json_read_string(request, "op", text, sizeof(text), error);
    return status == MJ_OK ? mj_op_parse(text, out, error) : status;
}

mj_json *mj_wire_add_u64(mj_json *request, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    return mj_json_add_string(request, key, text);
}

mj_status mj_wire_read_u64(const mj_json *request, const char *key, uint64_t *out, mj_error *error)
{
    char text[24];
    mj_status status = mj_json_read_string(request, key, text, sizeof(text), error);
    if (status != MJ_OK) {
        return status;
    }
    uint64_t value = 0;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) {
            return mj_fail(error, MJ_ERR_FORMAT, "%s: %s is not a 64-bit number", key, text);
        }
    }
    *out = value;
    return text[0] ? MJ_OK : mj_fail(error, MJ_ERR_FORMAT, "%s: empty", key);
}

const char *mj_wire_text(const mj_json *request, const char *key)
{
    const mj_json *value = mj_json_get(request, key);
    if (!value || !mj_json_is_string(value) || !mj_json_value_string(value)[0]) {
        return NULL;
    }
    return mj_json_value_string(value);
}

mj_json *mj_wire_open_request(const mj_context *context, const char *cache_dir)
{
    mj_json *request = mj_json_object();
    const struct {
        const char *key, *value;
    } texts[] = {
        {"data_dir", context->data_dir},       {"cache_dir", cache_dir},
        {"store_dir", context->store_dir},     {"nvrtc_path", context->nvrtc_path},
        {"hiprtc_path", context->hiprtc_path}, {"cc_path", context->cc_path},
    };
    mj_json_add_string(request, "do", "open");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].value) {
            mj_json_add_string(request, texts[i].key, texts[i].value);
        }
    }
    if (mj_json_add_bool(request, "no_compile", context->options.no_compile) &&
        mj_wire_add_u64(request, "cache_bytes_max", context->options.cache_bytes_max)) {
        return request;
    }
    mj_json_free(request);
    return NULL;
}

void mj_wire_read_context(const mj_json *request, mj_context_options *out)
{
    *out = (mj_context_options){0};
    out->data_dir = mj_wire_text(request, "data_dir");
    out->cache_dir = mj_wire_text(request, "cache_dir");
    out->store_dir = mj_wire_text(request, "store_dir");
    out->nvrtc_path = mj_wire_text(request, "nvrtc_path");
    out->hiprtc_path = mj_wire_text(request, "hiprtc_path");
    out->cc_path = mj_wire_text(request, "cc_path");
    mj_wire_read_u64(request, "cache_bytes_max", &out->cache_bytes_max, NULL);
    mj_json_read_bool(request, "no_compile", &out->no_compile, NULL);
}
