/* Frames: what is sent arrives, whatever way it is cut; what is damaged never does. */
#include "check.h"
#include "protocol.h"
#include "wire.h"

static char *frame_of(const char *payload, size_t *bytes)
{
    char *frame = NULL;
    return mj_frame_encode(payload, strlen(payload), &frame, bytes, NULL) == MJ_OK ? frame : NULL;
}

TEST(crc_of_the_standard_text)
{
    CHECK(mj_crc32("123456789", 9) == 0xcbf43926u);
    CHECK(mj_crc32("", 0) == 0);
}

TEST(messages_survive_every_cut)
{
    size_t a_bytes, b_bytes;
    char *a = frame_of("{\"a\":1}", &a_bytes), *b = frame_of("{\"b\":\"two\"}", &b_bytes);
    CHECK(a && b);
    char both[256];
    memcpy(both, a, a_bytes);
    memcpy(both + a_bytes, b, b_bytes);
    for (size_t cut = 0; cut <= a_bytes + b_bytes; cut++) {
        mj_frame_reader reader = {0};
        mj_json *message = NULL;
        int count = 0;
        CHECK_STATUS(mj_frame_feed(&reader, both, cut, NULL), MJ_OK);
        while (mj_frame_next(&reader, &message, NULL) == MJ_OK) {
            count++;
            mj_json_free(message);
        }
        CHECK_INT(count, (cut >= a_bytes) + (cut >= a_bytes + b_bytes));
        CHECK_STATUS(mj_frame_feed(&reader, both + cut, a_bytes + b_bytes - cut, NULL), MJ_OK);
        while (mj_frame_next(&reader, &message, NULL) == MJ_OK) {
            count++;
            mj_json_free(message);
        }
        CHECK_INT(count, 2);
        mj_frame_reader_free(&reader);
    }
    free(a);
    free(b);
}

TEST(every_flipped_bit_is_noticed)
{
    size_t bytes;
    char *frame = frame_of("{\"status\":\"MJ_OK\",\"samples\":[1.5,2.5]}", &bytes);
    CHECK(frame);
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        mj_frame_reader reader = {0};
        mj_json *message = NULL;
        frame[bit / 8] ^= (char)(1 << bit % 8);
        CHECK_STATUS(mj_frame_feed(&reader, frame, bytes, NULL), MJ_OK);
        CHECK(mj_frame_next(&reader, &message, NULL) != MJ_OK);
        CHECK(message == NULL);
        frame[bit / 8] ^= (char)(1 << bit % 8);
        mj_frame_reader_free(&reader);
    }
    free(frame);
}

TEST(a_broken_stream_stays_broken)
{
    mj_frame_reader reader = {0};
    mj_json *message = NULL;
    mj_error error = {0};
    size_t bytes;
    char *frame = frame_of("{}", &bytes);
    CHECK_STATUS(mj_frame_feed(&reader, "garbage", 7, NULL), MJ_OK);
    CHECK_STATUS(mj_frame_next(&reader, &message, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "magic");
    CHECK_STATUS(mj_frame_feed(&reader, frame, bytes, NULL), MJ_OK);
    CHECK_STATUS(mj_frame_next(&reader, &message, NULL), MJ_ERR_FORMAT);
    mj_frame_reader_free(&reader);
    free(frame);
}

TEST(sizes_are_bounded)
{
    mj_frame_reader reader = {0};
    mj_json *message = NULL;
    const char huge[12] = {'M', 'J', 'P', '1', 0, 0, 0, 0x7f, 0, 0, 0, 0};
    CHECK_STATUS(mj_frame_feed(&reader, huge, 12, NULL), MJ_OK);
    CHECK_STATUS(mj_frame_next(&reader, &message, NULL), MJ_ERR_FORMAT);
    mj_frame_reader_free(&reader);
    size_t bytes = MJ_FRAME_BYTES_MAX + 1;
    char *payload = malloc(bytes), *frame = NULL;
    CHECK(payload);
    memset(payload, ' ', bytes);
    CHECK_STATUS(mj_frame_encode(payload, bytes, &frame, &bytes, NULL), MJ_ERR_CAPACITY);
    mj_status status = MJ_OK;
    for (int i = 0; i < 4 && status == MJ_OK; i++) { /* a sender that is never read from */
        status = mj_frame_feed(&reader, payload, MJ_FRAME_BYTES_MAX, NULL);
    }
    CHECK_INT(status, MJ_ERR_CAPACITY);
    mj_frame_reader_free(&reader);
    free(payload);
}

TEST(only_objects_are_messages)
{
    static const char *const bad[] = {"[1]", "1", "", "{", "nonsense", "{\"a\":NaN}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mj_frame_reader reader = {0};
        mj_json *message = NULL;
        size_t bytes;
        char *frame = frame_of(bad[i], &bytes);
        CHECK_STATUS(mj_frame_feed(&reader, frame, bytes, NULL), MJ_OK);
        CHECK_STATUS(mj_frame_next(&reader, &message, NULL), MJ_ERR_FORMAT);
        mj_frame_reader_free(&reader);
        free(frame);
    }
}

TEST(devices_travel_whole)
{
    mj_wire_device device, back;
    memset(&device, 0, sizeof(device));
    snprintf(device.info.name, sizeof(device.info.name), "A \"GPU\"");
    snprintf(device.identity.driver, sizeof(device.identity.driver), "driver 1");
    device.info.memory_bytes = UINT64_MAX;
    device.info.sm_count = UINT32_MAX;
    device.shape.memory_gbps = 4321.5;
    device.identity.generator_version = 7;
    mj_json *json = mj_wire_device_to_json(&device);
    CHECK_STATUS(mj_wire_device_from_json(json, &back, NULL), MJ_OK);
    CHECK_STRING(back.info.name, device.info.name);
    CHECK(back.info.memory_bytes == UINT64_MAX && back.info.sm_count == UINT32_MAX);
    CHECK(back.shape.memory_gbps == 4321.5 && back.identity.generator_version == 7);
    CHECK_STRING(back.identity.driver, "driver 1");
    mj_json_add_string(json, "memory_bytes", "18446744073709551616");
    CHECK_STATUS(mj_wire_device_from_json(json, &back, NULL), MJ_ERR_FORMAT);
    mj_json_add_string(json, "memory_bytes", "-1");
    CHECK_STATUS(mj_wire_device_from_json(json, &back, NULL), MJ_ERR_FORMAT);
    mj_json_free(json);
}

TEST(contexts_travel)
{
    static char cache_dir[] = "/c", cc_path[] = "/cc";
    for (int off = 0; off < 2; off++) {
        mj_context context = {.cc_path = cc_path, .options = {.cache_bytes_max = UINT64_MAX, .no_compile = off}};
        mj_context_options back;
        mj_json *request = mj_wire_open_request(&context, cache_dir);
        mj_wire_read_context(request, &back);
        CHECK_STRING(back.cache_dir, "/c");
        CHECK_STRING(back.cc_path, "/cc");
        CHECK(!back.store_dir && back.cache_bytes_max == UINT64_MAX);
        CHECK_INT(back.no_compile, off);
        mj_json_add_string(request, "no_compile", "yes"); /* damaged: as if it were not there */
        mj_json_add_string(request, "cache_bytes_max", "-1");
        mj_wire_read_context(request, &back);
        CHECK(!back.no_compile && back.cache_bytes_max == 0);
        mj_json_free(request);
    }
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(crc_of_the_standard_text);
    RUN(messages_survive_every_cut);
    RUN(every_flipped_bit_is_noticed);
    RUN(a_broken_stream_stays_broken);
    RUN(sizes_are_bounded);
    RUN(only_objects_are_messages);
    RUN(devices_travel_whole);
    RUN(contexts_travel);
    return CHECK_END();
}
