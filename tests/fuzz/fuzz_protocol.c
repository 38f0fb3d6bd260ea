/* fuzz_protocol.c: any bytes as what a helper sends, cut anywhere: messages that are objects, or an error that lasts.
 * The first byte says how the rest is cut. A frame built from the rest must come back as it went in. */
#include <stdlib.h>
#include <string.h>

#include "helper.h"
#include "protocol.h"
#include "wire.h"

static void read_stream(const uint8_t *data, size_t size, size_t step)
{
    mj_frame_reader reader = {0};
    for (size_t at = 0; at < size; at += step) {
        size_t bytes = size - at < step ? size - at : step;
        mj_json *message = NULL;
        mj_status status = mj_frame_feed(&reader, data + at, bytes, NULL);
        while (status == MJ_OK) {
            status = mj_frame_next(&reader, &message, NULL);
            if (status == MJ_OK) {
                mj_wire_device device;
                mj_error error = {0};
                if (!mj_json_is_object(message)) {
                    abort();
                }
                mj_reply_status(message, &error);
                mj_wire_device_from_json(message, &device, &error);
                mj_json_free(message);
            }
        }
        bool was_broken = reader.broken;
        if (was_broken && mj_frame_next(&reader, &message, NULL) == MJ_OK) {
            abort();
        }
    }
    mj_frame_reader_free(&reader);
}

static void wrap(const uint8_t *data, size_t size)
{
    char *frame = NULL;
    size_t bytes = 0;
    mj_frame_reader reader = {0};
    mj_json *message = NULL, *direct = NULL;
    if (mj_frame_encode((const char *)data, size, &frame, &bytes, NULL) != MJ_OK) {
        abort();
    }
    if (mj_frame_feed(&reader, frame, bytes, NULL) != MJ_OK) {
        abort();
    }
    mj_status framed = mj_frame_next(&reader, &message, NULL);
    mj_status parsed = mj_json_parse((const char *)data, size, "direct", &direct, NULL);
    bool is_message = parsed == MJ_OK && mj_json_is_object(direct);
    if (is_message != (framed == MJ_OK)) {
        abort();
    }
    if (is_message) { /* and what a message says of itself is read without harm */
        mj_wire_device device;
        mj_error error = {0};
        mj_reply_status(message, &error);
        mj_wire_device_from_json(message, &device, &error);
    }
    mj_json_free(message);
    mj_json_free(direct);
    mj_frame_reader_free(&reader);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    read_stream(data + 1, size - 1, 1 + data[0] % 61);
    wrap(data + 1, size - 1);
    return 0;
}
