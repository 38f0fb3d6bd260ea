/* config.c: a config as text and back. */
#include "moejit_types.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_sound(const mj_config *config)
{
    return config && config->count <= MJ_CONFIG_MAX;
}

mj_status mj_config_print(const mj_config *config, char *out, size_t bytes, mj_error *error)
{
    size_t used = 0;
    if (!is_sound(config) || (!out && bytes > 0)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config or out is null, or the config has more than %d parameters",
                       MJ_CONFIG_MAX);
    }
    if (bytes > 0) {
        out[0] = '\0';
    }
    for (uint32_t i = 0; i < config->count; i++) {
        const mj_param *param = &config->params[i];
        int length = snprintf(out + used, bytes - used, "%s%s=%d", i ? "," : "", param->name, (int)param->value);
        if (length < 0 || (size_t)length >= bytes - used) {
            return mj_fail(error, MJ_ERR_CAPACITY, "a config's text needs more than %zu bytes", bytes);
        }
        used += (size_t)length;
    }
    return MJ_OK;
}

static bool is_param_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < MJ_NAME_MAX && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static mj_status parse_item(char *item, mj_config *config, mj_error *error)
{
    char *equals = strchr(item, '='), *end = NULL;
    if (!equals) {
        return mj_fail(error, MJ_ERR_FORMAT, "config: \"%s\" is not name=value", item);
    }
    *equals = '\0';
    if (!is_param_name(item)) {
        return mj_fail(error, MJ_ERR_FORMAT, "config: \"%s\" is not a parameter's name", item);
    }
    int32_t known = 0;
    if (mj_config_get(config, item, &known)) {
        return mj_fail(error, MJ_ERR_FORMAT, "config: %s is given twice", item);
    }
    errno = 0;
    long value = strtol(equals + 1, &end, 10);
    if (errno != 0 || end == equals + 1 || *end != '\0' || equals[1] == ' ' || value < INT32_MIN || value > INT32_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "config: %s=%s is not a whole number", item, equals + 1);
    }
    return mj_config_set(config, item, (int32_t)value, error);
}

mj_status mj_config_parse(const char *text, mj_config *out, mj_error *error)
{
    char copy[MJ_CONFIG_MAX * (MJ_NAME_MAX + 16)];
    mj_config parsed = {0};
    if (!text || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config: text or out is null");
    }
    if (strlen(text) >= sizeof copy) {
        return mj_fail(error, MJ_ERR_FORMAT, "config: longer than %zu bytes", sizeof copy - 1);
    }
    snprintf(copy, sizeof copy, "%s", text);
    for (char *item = copy[0] ? copy : NULL, *next = NULL; item; item = next) {
        next = strchr(item, ',');
        if (next) {
            *next++ = '\0';
        }
        mj_status status = parse_item(item, &parsed, error);
        if (status != MJ_OK) {
            return status;
        }
    }
    *out = parsed;
    return MJ_OK;
}

bool mj_config_get(const mj_config *config, const char *name, int32_t *out)
{
    if (!is_sound(config) || !name || !out) {
        return false;
    }
    for (uint32_t i = 0; i < config->count; i++) {
        if (strcmp(config->params[i].name, name) == 0) {
            *out = config->params[i].value;
            return true;
        }
    }
    return false;
}

mj_status mj_config_set(mj_config *config, const char *name, int32_t value, mj_error *error)
{
    if (!is_sound(config) || !name) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config or name is null, or the config has more than %d parameters",
                       MJ_CONFIG_MAX);
    }
    for (uint32_t i = 0; i < config->count; i++) {
        if (strcmp(config->params[i].name, name) == 0) {
            config->params[i].value = value;
            return MJ_OK;
        }
    }
    if (!is_param_name(name)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "config: \"%s\" is not a parameter's name", name);
    }
    if (config->count == MJ_CONFIG_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "config: more than %d parameters", MJ_CONFIG_MAX);
    }
    mj_param *param = &config->params[config->count++];
    snprintf(param->name, sizeof param->name, "%s", name);
    param->value = value;
    return MJ_OK;
}

bool mj_config_equal(const mj_config *a, const mj_config *b)
{
    if (!is_sound(a) || !is_sound(b) || a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        int32_t value = 0;
        if (!mj_config_get(b, a->params[i].name, &value) || value != a->params[i].value) {
            return false;
        }
    }
    return true;
}
