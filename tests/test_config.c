/* Configs: text and back. */
#include "check.h"
#include "gen.h"

TEST(text_round_trip)
{
    mj_config config, again;
    char text[256];
    CHECK_STATUS(mj_config_parse("tile_m=16,stages=4,offset=-3", &config, NULL), MJ_OK);
    CHECK_INT(config.count, 3);
    CHECK_STATUS(mj_config_print(&config, text, sizeof text, NULL), MJ_OK);
    CHECK_STRING(text, "tile_m=16,stages=4,offset=-3");
    CHECK_STATUS(mj_config_parse("offset=-3,tile_m=16,stages=4", &again, NULL), MJ_OK);
    CHECK(mj_config_equal(&config, &again));
    CHECK_STATUS(mj_config_set(&again, "stages", 5, NULL), MJ_OK);
    CHECK(!mj_config_equal(&config, &again));
    CHECK_STATUS(mj_config_parse("", &config, NULL), MJ_OK);
    CHECK_INT(config.count, 0);
    CHECK_STATUS(mj_config_print(&config, text, sizeof text, NULL), MJ_OK);
    CHECK_STRING(text, "");
}

TEST(bad_text)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"tile_m", "name=value"},
        {"tile_m=", "whole number"},
        {"tile_m=x", "whole number"},
        {"tile_m=1.5", "whole number"},
        {"tile_m= 1", "whole number"},
        {"tile_m=99999999999", "whole number"},
        {"tile_m=1,", "name=value"},
        {"tile_m=1,tile_m=2", "given twice"},
        {"=1", "not a parameter's name"},
        {"Tile=1", "not a parameter's name"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1", "not a parameter's name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mj_config config = {.count = 77};
        mj_error error = {0};
        CHECK_STATUS(mj_config_parse(cases[i].text, &config, &error), MJ_ERR_FORMAT);
        CHECK_CONTAINS(error.text, cases[i].part);
        CHECK_INT(config.count, 77); /* untouched */
    }
}

TEST(too_many_and_too_small)
{
    mj_config config = {0};
    char name[8], text[64];
    for (int i = 0; i < MJ_CONFIG_MAX; i++) {
        snprintf(name, sizeof name, "p%d", i);
        CHECK_STATUS(mj_config_set(&config, name, i, NULL), MJ_OK);
    }
    CHECK_STATUS(mj_config_set(&config, "more", 1, NULL), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_config_set(&config, "p3", 30, NULL), MJ_OK);
    int32_t value = 0;
    CHECK(mj_config_get(&config, "p3", &value) && value == 30);
    CHECK(!mj_config_get(&config, "p99", &value));
    CHECK_STATUS(mj_config_print(&config, text, sizeof text, NULL), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_config_set(&config, "Bad Name", 1, NULL), MJ_ERR_ARGUMENT);
    char all[2048];
    CHECK_STATUS(mj_config_print(&config, all, sizeof all, NULL), MJ_OK);
    mj_config back;
    CHECK_STATUS(mj_config_parse(all, &back, NULL), MJ_OK);
    CHECK(mj_config_equal(&config, &back));
}

/* Null, and a count that is beyond the array. */
TEST(what_is_no_config_is_refused)
{
    mj_config config = {0}, broken = {.count = MJ_CONFIG_MAX + 1};
    mj_error error = {0};
    char text[64];
    int32_t value = 0;
    CHECK_STATUS(mj_config_set(&config, "tile_m", 16, NULL), MJ_OK);
    const check_call calls[] = {
        {"config_print: config", mj_config_print(NULL, text, sizeof text, &error)},
        {"config_print: out", mj_config_print(&config, NULL, sizeof text, &error)},
        {"config_print: count", mj_config_print(&broken, text, sizeof text, &error)},
        {"config_parse: text", mj_config_parse(NULL, &config, &error)},
        {"config_parse: out", mj_config_parse("tile_m=16", NULL, &error)},
        {"config_set: config", mj_config_set(NULL, "tile_m", 16, &error)},
        {"config_set: name", mj_config_set(&config, NULL, 16, &error)},
        {"config_set: count", mj_config_set(&broken, "tile_m", 16, &error)},
    };
    CHECK_REFUSED(calls);
    CHECK_CONTAINS(error.text, "null");
    CHECK(!mj_config_get(NULL, "tile_m", &value) && !mj_config_get(&config, NULL, &value));
    CHECK(!mj_config_get(&config, "tile_m", NULL) && !mj_config_get(&broken, "tile_n", &value));
    CHECK(!mj_config_equal(NULL, &config) && !mj_config_equal(&config, NULL) && !mj_config_equal(NULL, NULL));
    CHECK(!mj_config_equal(&broken, &broken));
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(text_round_trip);
    RUN(bad_text);
    RUN(too_many_and_too_small);
    RUN(what_is_no_config_is_refused);
    return CHECK_END();
}
