/* protocol.c: frames. Input comes from a process that may have been corrupted by the kernel it ran: trust no byte. */
#include "protocol.h"

#include <stdlib.h>
#include <string.h>

static const char frame_magic[4] = {'M', 'J', 'P', '1'};

uint32_t mj_crc32(const void *data, size_t bytes)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const uint8_t *from = data;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= from[i];
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
    }
    return ~crc;
}

static void put_u32(char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (char)(value >> (8 * i));
    }
}

static uint32_t get_u32(const char *in)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value |= (uint32_t)(uint8_t)in[i] << (8 * i);
    }
    return value;
}

mj_status mj_frame_encode(const char *payload, size_t bytes, char **out, size_t *out_bytes, mj_error *error)
{
    if (bytes > MJ_FRAME_BYTES_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "a message of %zu bytes", bytes);
    }
    char *frame = malloc(MJ_FRAME_HEAD_BYTES + bytes);
    if (!frame) {
        return mj_fail(error, MJ_ERR_MEMORY, "a message of %zu bytes", bytes);
    }
    memcpy(frame, frame_magic, 4);
    put_u32(frame + 4, (uint32_t)bytes);
    put_u32(frame + 8, mj_crc32(payload, bytes));
    memcpy(frame + MJ_FRAME_HEAD_BYTES, payload, bytes);
    *out = frame;
    *out_bytes = MJ_FRAME_HEAD_BYTES + bytes;
    return MJ_OK;
}

void mj_frame_reader_free(mj_frame_reader *reader)
{
    free(reader->data);
    *reader = (mj_frame_reader){0};
}

mj_status mj_frame_feed(mj_frame_reader *reader, const void *data, size_t bytes, mj_error *error)
{
    size_t limit = 2 * (size_t)(MJ_FRAME_HEAD_BYTES + MJ_FRAME_BYTES_MAX);
    if (bytes > limit - reader->bytes) {
        reader->broken = true;
        return mj_fail(error, MJ_ERR_CAPACITY, "a helper process sends more than is read");
    }
    if (reader->bytes + bytes > reader->capacity_bytes) {
        size_t capacity = reader->bytes + bytes < 4096 ? 4096 : 2 * (reader->bytes + bytes);
        char *grown = realloc(reader->data, capacity);
        if (!grown) {
            return mj_fail(error, MJ_ERR_MEMORY, "a message buffer of %zu bytes", capacity);
        }
        reader->data = grown;
        reader->capacity_bytes = capacity;
    }
    if (bytes > 0) {
        memcpy(reader->data + reader->bytes, data, bytes);
        reader->bytes += bytes;
    }
    return MJ_OK;
}

static mj_status broken(mj_frame_reader *reader, mj_error *error, const char *what)
{
    reader->broken = true;
    return mj_fail(error, MJ_ERR_FORMAT, "message from a helper process: %s", what);
}

mj_status mj_frame_next(mj_frame_reader *reader, mj_json **out, mj_error *error)
{
    *out = NULL;
    if (reader->broken) {
        return broken(reader, error, "the stream is broken");
    }
    size_t head = reader->bytes < 4 ? reader->bytes : 4;
    if (head > 0 && memcmp(reader->data, frame_magic, head) != 0) {
        return broken(reader, error, "bad magic");
    }
    if (reader->bytes < MJ_FRAME_HEAD_BYTES) {
        return MJ_ERR_NOT_FOUND;
    }
    size_t bytes = get_u32(reader->data + 4);
    if (bytes > MJ_FRAME_BYTES_MAX) {
        return broken(reader, error, "too long");
    }
    if (reader->bytes < MJ_FRAME_HEAD_BYTES + bytes) {
        return MJ_ERR_NOT_FOUND;
    }
    const char *payload = reader->data + MJ_FRAME_HEAD_BYTES;
    if (mj_crc32(payload, bytes) != get_u32(reader->data + 8)) {
        return broken(reader, error, "checksum differs");
    }
    mj_json *message = NULL;
    mj_status status = mj_json_parse(payload, bytes, "message", &message, error);
    if (status == MJ_OK && !mj_json_is_object(message)) {
        mj_json_free(message);
        status = mj_fail(error, MJ_ERR_FORMAT, "message: not an object");
    }
    if (status != MJ_OK) {
        reader->broken = status != MJ_ERR_MEMORY;
        return status;
    }
    size_t used = MJ_FRAME_HEAD_BYTES + bytes;
    memmove(reader->data, reader->data + used, reader->bytes - used);
    reader->bytes -= used;
    *out = message;
    return MJ_OK;
}
