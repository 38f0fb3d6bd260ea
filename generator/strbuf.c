/* strbuf.c: a growing string with a sticky failure. */
#include "gen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRBUF_BYTES_MAX ((size_t)64 << 20)

static bool reserve(mj_strbuf *buffer, size_t more)
{
    if (buffer->failed || more > STRBUF_BYTES_MAX || buffer->bytes + more > STRBUF_BYTES_MAX) {
        buffer->failed = true;
        return false;
    }
    size_t need = buffer->bytes + more + 1;
    if (need <= buffer->capacity_bytes) {
        return true;
    }
    size_t capacity = buffer->capacity_bytes ? buffer->capacity_bytes : 256;
    while (capacity < need) {
        capacity *= 2;
    }
    char *text = realloc(buffer->text, capacity);
    if (!text) {
        buffer->failed = true;
        return false;
    }
    buffer->text = text;
    buffer->capacity_bytes = capacity;
    return true;
}

void mj_strbuf_add(mj_strbuf *buffer, const char *text, size_t bytes)
{
    if (reserve(buffer, bytes)) {
        if (bytes > 0) {
            memcpy(buffer->text + buffer->bytes, text, bytes);
        }
        buffer->bytes += bytes;
        buffer->text[buffer->bytes] = '\0';
    }
}

void mj_strbuf_addf(mj_strbuf *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        buffer->failed = true;
    } else if (reserve(buffer, (size_t)length)) {
        vsnprintf(buffer->text + buffer->bytes, (size_t)length + 1, format, again);
        buffer->bytes += (size_t)length;
    }
    va_end(again);
}

void mj_strbuf_free(mj_strbuf *buffer)
{
    free(buffer->text);
    *buffer = (mj_strbuf){0};
}
