/* test_lua_sandbox.c: what a Lua file cannot do to its host. */
#include "check.h"

#include <lauxlib.h>
#include <lua.h>

#include "spec_sandbox.h"

typedef struct chunk {
    const char *text;
    size_t bytes;
    char result[64]; /* what it returns, as text */
} chunk;

static int run_body(lua_State *state, void *user)
{
    chunk *c = user;
    mj_sandbox_push_chunk(state, "file.lua", c->text, c->bytes);
    lua_call(state, 0, 1);
    snprintf(c->result, sizeof c->result, "%s", luaL_tolstring(state, -1, NULL));
    return 0;
}

static mj_status run_bytes(const mj_sandbox_options *options, const char *text, size_t bytes, char *result,
                           mj_error *error)
{
    mj_sandbox *sandbox;
    mj_status status = mj_sandbox_open(options, &sandbox, error);
    if (status != MJ_OK) {
        return status;
    }
    chunk c = {.text = text, .bytes = bytes};
    status = mj_sandbox_run(sandbox, run_body, &c, error);
    if (result) {
        memcpy(result, c.result, sizeof c.result);
    }
    mj_sandbox_close(sandbox);
    return status;
}

static const mj_sandbox_options data_file = {.memory_bytes_max = 8 << 20, .instruction_count_max = 2000000};
static const mj_sandbox_options script = {
    .memory_bytes_max = 8 << 20, .instruction_count_max = 2000000, .script = true};

TEST(runs_ordinary_files)
{
    static const struct {
        const char *text, *result;
    } cases[] = {
        {"return 1 + 1", "2"},
        {"local t = {} for i = 1, 100 do t[i] = i * i end return table.concat(t, ',', 1, 4)", "1,4,9,16"},
        {"return ('x'):rep(3, '-')", "x-x-x"},
        {"return string.format('%d %s', 3, 'a')", "3 a"},
        {"return (('key = value'):match('^(%w+)%s*=%s*(%w+)$'))", "key"},
        {"return select('#', table.unpack({1, 2, 3}))", "3"},
        {"return math.floor(2 ^ 10)", "1024"},
        {"local ok, text = pcall(error, 'x') return tostring(ok) .. text", "falsex"},
        {"local t = {3, 1, 2} table.sort(t) return t[1] .. t[2] .. t[3]", "123"},
        {"local t = {1, 3} table.insert(t, 2, 2) table.remove(t, 1) return #t", "2"},
        {"return table.concat(table.move({1, 2, 3}, 1, 3, 2), '')", "1123"},
        {"return ('abc'):byte(2)", "98"},
        {"return ('a b'):gsub(' ', '_')", "a_b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char result[64];
        mj_error error = {0};
        mj_status status = run_bytes(&data_file, cases[i].text, strlen(cases[i].text), result, &error);
        CHECK_STRING(error.text, "");
        CHECK_STATUS(status, MJ_OK);
        CHECK_STRING(result, cases[i].result);
    }
}

/* Each must end soon, with this status and text. */
static const struct {
    const char *text;
    mj_status status;
    const char *message;
} hostile[] = {
    {"while true do end", MJ_ERR_CAPACITY, "file.lua:1: more than 2000000 instructions"},
    {"while true do pcall(function() while true do end end) end", MJ_ERR_CAPACITY, "more than 2000000 instructions"},
    {"while true do xpcall(function() while true do end end, function() while true do end end) end", MJ_ERR_FORMAT,
     "'xpcall'"},
    {"pcall(function() while true do end end) return {}", MJ_ERR_CAPACITY, "more than 2000000 instructions"},
    {"local function f() return pcall(f) end while true do f() end", MJ_ERR_CAPACITY, "instructions"},
    {"local function f() return f() + 1 end return f()", MJ_ERR_CAPACITY, "stack of more than 262144 bytes"},
    {"local function f(...) return f(1, ...) end return f()", MJ_ERR_CAPACITY, ""},
    {"return ('x'):rep(1e9)", MJ_ERR_FORMAT, "string.rep: a string of more than 65536 bytes"},
    {"return ('x'):rep(1e18, 'y')", MJ_ERR_FORMAT, "string.rep"},
    {"local s = 'x' while true do s = s .. s end", MJ_ERR_CAPACITY, "a string of more than 65536 bytes"},
    {"local s = ('x'):rep(60000) while true do local a = s .. 'y' end", MJ_ERR_CAPACITY, "instructions"},
    {"local t = {} for i = 1, 1e9 do t[i] = i end", MJ_ERR_CAPACITY, ""},
    {"local t = {} while true do t = {t} end", MJ_ERR_CAPACITY, ""},
    {"local t = {} for i = 1, 1e9 do t[i] = {} end", MJ_ERR_CAPACITY, "table, text or stack of more than 262144 bytes"},
    {"local t for i = 1, 1e9 do t = {t, {}, {}} end", MJ_ERR_CAPACITY, "more than 8388608 bytes of Lua memory"},
    {"return table.concat({}, ('x'):rep(1000), 1, 1e9)", MJ_ERR_CAPACITY, "instructions"},
    {"return table.move({}, 1, 1e18, 2)", MJ_ERR_CAPACITY, "instructions"},
    {"local t = {} while true do table.move(t, 1, 100000, 2) end", MJ_ERR_CAPACITY, "instructions"},
    {"return table.unpack({}, 1, 1e7)", MJ_ERR_FORMAT, "more than 256 results"},
    {"return ('x'):rep(60000):byte(1, -1)", MJ_ERR_FORMAT, "more than 256 results"},
    {"return (('a'):rep(60000)):find(('a-'):rep(20) .. 'b')", MJ_ERR_FORMAT, "a pattern with too many repetitions"},
    {"return (('a'):rep(6000)):match('.-.-b')", MJ_ERR_FORMAT, "a pattern with too many repetitions"},
    {"while true do local a = (('a'):rep(300)):find('.-b') end", MJ_ERR_CAPACITY, "instructions"},
    {"return ('a'):rep(70):gsub('(a*)*%1%1%1%1%1', 'b')", MJ_ERR_FORMAT, "a pattern with too many repetitions"},
    {"local t = {} for i = 1, 10000 do t[i] = i % 7 end while true do table.sort(t) end", MJ_ERR_CAPACITY,
     "instructions"},
    {"local t = {} for i = 1, 1e5 do table.insert(t, 1, i) end", MJ_ERR_CAPACITY, "instructions"},
    {"return string.format('%99999d', 1)", MJ_ERR_FORMAT, "invalid"},
    {"error({})", MJ_ERR_FORMAT, "an error that is not a text"},
    {"return load('return 1')()", MJ_ERR_FORMAT, "'load'"},
    {"return require('os')", MJ_ERR_FORMAT, "'require'"},
    {"return dofile('/etc/passwd')", MJ_ERR_FORMAT, "'dofile'"},
    {"return io.open('/etc/passwd')", MJ_ERR_FORMAT, "'io'"},
    {"return string.dump(function() end)", MJ_ERR_FORMAT, "'dump'"},
    {"return ('x').dump(function() end)", MJ_ERR_FORMAT, "'dump'"},
    {"return coroutine.wrap(function() while true do end end)()", MJ_ERR_FORMAT, "'coroutine'"},
    {"return debug.sethook()", MJ_ERR_FORMAT, "'debug'"},
    {"setmetatable({}, {__gc = function() while true do end end})", MJ_ERR_FORMAT, "'setmetatable'"},
    {"collectgarbage('stop')", MJ_ERR_FORMAT, "'collectgarbage'"},
    {"return math.random()", MJ_ERR_FORMAT, "'random'"},
    {"print('x')", MJ_ERR_FORMAT, "'print'"},
};

TEST(survives_hostile_files)
{
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        mj_error error = {0};
        mj_status status = run_bytes(&data_file, hostile[i].text, strlen(hostile[i].text), NULL, &error);
        if (status != hostile[i].status || !strstr(error.text, hostile[i].message)) {
            check_fail(__FILE__, __LINE__, "%s: %d \"%s\"", hostile[i].text, (int)status, error.text);
        }
    }
}

TEST(refuses_bytecode)
{
    static const char header[] = "\x1bLua\x54\x00\x19\x93\r\n\x1a\n";
    mj_error error = {0};
    CHECK_STATUS(run_bytes(&data_file, header, sizeof header - 1, NULL, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "attempt to load a binary chunk");
    static const char with_nul[] = "return 1\0 return 2";
    CHECK_STATUS(run_bytes(&data_file, with_nul, sizeof with_nul - 1, NULL, &error), MJ_ERR_FORMAT);
}

TEST(deeply_nested_source_is_an_error)
{
    enum { DEPTH = 100000 };
    char *text = malloc(DEPTH + 8);
    CHECK(text);
    memcpy(text, "return ", 7);
    memset(text + 7, '{', DEPTH);
    mj_error error = {0};
    CHECK_STATUS(run_bytes(&data_file, text, DEPTH + 7, NULL, &error), MJ_ERR_FORMAT);
    free(text);
}

TEST(scripts_keep_metatables_without_finalisers)
{
    static const char good[] = "return setmetatable({}, {__index = {x = 5}}).x";
    char result[64];
    mj_error error = {0};
    CHECK_STATUS(run_bytes(&script, good, sizeof good - 1, result, &error), MJ_OK);
    CHECK_STRING(result, "5");
    static const char bad[] = "setmetatable({}, {__gc = function() while true do end end})";
    CHECK_STATUS(run_bytes(&script, bad, sizeof bad - 1, NULL, &error), MJ_ERR_FORMAT);
    CHECK_CONTAINS(error.text, "__gc");
}

TEST(pairs_visits_sorted_keys)
{
    static const char text[] = "local t, seen = {}, {}\n"
                               "for _, k in ipairs{'pear', 'fig', 'apple', 'zucchini', 'kiwi'} do t[k] = 1 end\n"
                               "t[10] = 1 t[2] = 1 t[1.5] = 1\n"
                               "for k in pairs(t) do seen[#seen + 1] = tostring(k) end\n"
                               "return table.concat(seen, ' ')";
    char result[64];
    mj_error error = {0};
    mj_status status = run_bytes(&data_file, text, sizeof text - 1, result, &error);
    CHECK_STRING(error.text, "");
    CHECK_STATUS(status, MJ_OK);
    CHECK_STRING(result, "1.5 2 10 apple fig kiwi pear zucchini");
}

TEST(a_refill_gives_a_stopped_state_back)
{
    mj_sandbox *sandbox;
    mj_error error = {0};
    CHECK_STATUS(mj_sandbox_open(&data_file, &sandbox, &error), MJ_OK);
    chunk endless = {.text = "while true do end", .bytes = 17}, fine = {.text = "return 7", .bytes = 8};
    CHECK_STATUS(mj_sandbox_run(sandbox, run_body, &endless, &error), MJ_ERR_CAPACITY);
    CHECK_STATUS(mj_sandbox_run(sandbox, run_body, &fine, &error), MJ_ERR_CAPACITY); /* still spent */
    mj_sandbox_refill(sandbox, 1000);
    CHECK_STATUS(mj_sandbox_run(sandbox, run_body, &fine, &error), MJ_OK);
    CHECK_STRING(fine.result, "7");
    mj_sandbox_close(sandbox);
}

TEST(memory_runs_out_at_every_point)
{
    static const char text[] = "local t = {} for i = 1, 20 do t[i] = ('x'):rep(i) end return #t";
    bool reached_end = false;
    for (size_t bytes = 1000; bytes < 60000 && !reached_end; bytes += 97) {
        mj_sandbox_options options = {.memory_bytes_max = bytes, .instruction_count_max = 100000};
        mj_error error = {0};
        mj_status status = run_bytes(&options, text, sizeof text - 1, NULL, &error);
        CHECK(status == MJ_OK || status == MJ_ERR_CAPACITY);
        reached_end = status == MJ_OK;
    }
    CHECK(reached_end);
}

int main(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    RUN(runs_ordinary_files);
    RUN(survives_hostile_files);
    RUN(refuses_bytecode);
    RUN(deeply_nested_source_is_an_error);
    RUN(scripts_keep_metatables_without_finalisers);
    RUN(pairs_visits_sorted_keys);
    RUN(a_refill_gives_a_stopped_state_back);
    RUN(memory_runs_out_at_every_point);
    return CHECK_END();
}
