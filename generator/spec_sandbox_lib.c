/* spec_sandbox_lib.c: base, table, string and math as a sandbox offers them: some functions removed, those whose cost
 * is not in their instructions wrapped so that they are charged for it. */
#include "spec_sandbox_lib.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <string.h>

#define RESULTS_MAX      256      /* values that unpack and byte may return */
#define PATTERN_WORK_MAX 50000000 /* steps of one pattern match, worst case */

/* ---- Charged functions: upvalue 1 is the library's own function ---- */

static int call_original(lua_State *state)
{
    int count = lua_gettop(state);
    lua_pushvalue(state, lua_upvalueindex(1));
    lua_insert(state, 1);
    lua_call(state, count, LUA_MULTRET);
    return lua_gettop(state);
}

/* insert, remove, concat: shift or visit up to the whole list. */
static int charged_list(lua_State *state)
{
    luaL_checktype(state, 1, LUA_TTABLE);
    mj_sandbox_charge(state, lua_rawlen(state, 1) / 4 + 1);
    return call_original(state);
}

static int charged_concat(lua_State *state)
{
    luaL_checktype(state, 1, LUA_TTABLE);
    lua_Integer first = luaL_optinteger(state, 3, 1),
                last = luaL_optinteger(state, 4, (lua_Integer)lua_rawlen(state, 1));
    if (last > first) {
        mj_sandbox_charge(state, (lua_Unsigned)last - (lua_Unsigned)first);
    }
    return call_original(state);
}

static int charged_sort(lua_State *state)
{
    luaL_checktype(state, 1, LUA_TTABLE);
    uint64_t count = lua_rawlen(state, 1), levels = 1;
    while (count >> levels) {
        levels++;
    }
    mj_sandbox_charge(state, count * levels);
    return call_original(state);
}

static int charged_move(lua_State *state)
{
    lua_Integer first = luaL_checkinteger(state, 2), last = luaL_checkinteger(state, 3);
    if (last >= first) {
        mj_sandbox_charge(state, (lua_Unsigned)last - (lua_Unsigned)first);
    }
    return call_original(state);
}

/* unpack(list, first, last) and byte(text, first, last) push one value per index. */
static void check_range(lua_State *state, lua_Integer first, lua_Integer last)
{
    if (last >= first && (lua_Unsigned)last - (lua_Unsigned)first >= RESULTS_MAX) {
        luaL_error(state, "more than %d results", RESULTS_MAX);
    }
}

static int charged_unpack(lua_State *state)
{
    lua_Integer length = lua_istable(state, 1) ? (lua_Integer)lua_rawlen(state, 1) : 0;
    check_range(state, luaL_optinteger(state, 2, 1), luaL_optinteger(state, 3, length));
    return call_original(state);
}

static int charged_byte(lua_State *state)
{
    size_t length;
    luaL_checklstring(state, 1, &length);
    lua_Integer first = luaL_optinteger(state, 2, 1), last = luaL_optinteger(state, 3, first);
    first = first < 0 ? first + (lua_Integer)length + 1 : first;
    last = last < 0 ? last + (lua_Integer)length + 1 : last;
    check_range(state, first, last < (lua_Integer)length ? last : (lua_Integer)length);
    return call_original(state);
}

static int charged_rep(lua_State *state)
{
    size_t length, separator_length;
    luaL_checklstring(state, 1, &length);
    lua_Integer count = luaL_checkinteger(state, 2);
    luaL_optlstring(state, 3, "", &separator_length);
    size_t limit = mj_sandbox_string_bytes_max(state);
    if (count > 0 && (length + separator_length > limit ||
                      (lua_Unsigned)count > limit / (length + separator_length ? length + separator_length : 1))) {
        return luaL_error(state, "string.rep: a string of more than %I bytes", (LUAI_UACINT)limit);
    }
    return call_original(state);
}

/* Lua's matcher backtracks: each repetition can multiply the steps by the length of the text. The bound is charged
 * before the match runs. */
static int charged_pattern(lua_State *state)
{
    size_t text_length, pattern_length;
    luaL_checklstring(state, 1, &text_length);
    const char *pattern = luaL_checklstring(state, 2, &pattern_length);
    uint64_t work = text_length + 1;
    for (size_t i = 0; i < pattern_length && work <= PATTERN_WORK_MAX; i++) {
        if (strchr("*+-?", pattern[i]) && pattern[i]) {
            work *= text_length + 1;
        } else if (pattern[i] == '%' && i + 1 < pattern_length && strchr("b123456789", pattern[i + 1])) {
            work *= text_length + 1;
        }
    }
    if (work > PATTERN_WORK_MAX) {
        return luaL_error(state, "a pattern with too many repetitions for a text of %I bytes",
                          (LUAI_UACINT)text_length);
    }
    mj_sandbox_charge(state, work / 4 + pattern_length);
    return call_original(state);
}

static int charged_setmetatable(lua_State *state)
{
    if (lua_istable(state, 2)) {
        lua_pushliteral(state, "__gc");
        lua_rawget(state, 2);
        if (!lua_isnil(state, -1)) {
            return luaL_error(state, "setmetatable: __gc is not available here");
        }
        lua_pop(state, 1);
    }
    return call_original(state);
}

/* ---- The tables ---- */

typedef struct wrapped_function {
    const char *library, *name;
    lua_CFunction wrapper; /* NULL: removed */
    bool script_keeps;     /* scripts get the plain function */
} wrapped_function;

static const wrapped_function functions[] = {
    {"_G", "load", NULL, false},
    {"_G", "loadfile", NULL, false},
    {"_G", "dofile", NULL, false},
    {"_G", "require", NULL, false},
    {"_G", "collectgarbage", NULL, false},
    {"_G", "print", NULL, false},
    {"_G", "warn", NULL, false},
    {"_G", "xpcall", NULL, false}, /* its handler runs inside the hook that stops a file, where no hook can stop it */
    {"_G", "next", NULL, true},
    {"_G", "rawset", NULL, true},
    {"_G", "rawget", NULL, true},
    {"_G", "rawequal", NULL, true},
    {"_G", "rawlen", NULL, true},
    {"_G", "getmetatable", NULL, true},
    {"_G", "setmetatable", charged_setmetatable, false},
    {"table", "insert", charged_list, false},
    {"table", "remove", charged_list, false},
    {"table", "concat", charged_concat, false},
    {"table", "sort", charged_sort, false},
    {"table", "move", charged_move, false},
    {"table", "unpack", charged_unpack, false},
    {"string", "dump", NULL, false},
    {"string", "pack", NULL, false},
    {"string", "unpack", NULL, false},
    {"string", "packsize", NULL, false},
    {"string", "byte", charged_byte, false},
    {"string", "rep", charged_rep, false},
    {"string", "find", charged_pattern, false},
    {"string", "match", charged_pattern, false},
    {"string", "gmatch", charged_pattern, false},
    {"string", "gsub", charged_pattern, false},
    {"math", "random", NULL, false},
    {"math", "randomseed", NULL, false},
};

/* pairs in sorted key order: Lua's own order depends on a per-process seed. Numbers come before strings. */
static const char sorted_pairs[] = "local next, type, sort, error = next, type, table.sort, error\n"
                                   "local function before(a, b)\n"
                                   "    local ta, tb = type(a), type(b)\n"
                                   "    if ta ~= tb then return ta < tb end\n"
                                   "    if ta == 'boolean' then return a and not b end\n"
                                   "    return a < b\n"
                                   "end\n"
                                   "function pairs(t)\n"
                                   "    local keys, n, i = {}, 0, 0\n"
                                   "    for k in next, t do\n"
                                   "        local kind = type(k)\n"
                                   "        if kind ~= 'string' and kind ~= 'number' and kind ~= 'boolean' then\n"
                                   "            error('pairs: a key is a ' .. kind, 2)\n"
                                   "        end\n"
                                   "        n = n + 1\n"
                                   "        keys[n] = k\n"
                                   "    end\n"
                                   "    sort(keys, before)\n"
                                   "    return function()\n"
                                   "        i = i + 1\n"
                                   "        local k = keys[i]\n"
                                   "        if k ~= nil then return k, t[k] end\n"
                                   "    end\n"
                                   "end\n";

static void replace_function(lua_State *state, const wrapped_function *row, bool script)
{
    if (script && row->script_keeps) {
        return;
    }
    lua_getglobal(state, row->library);
    bool keep = row->wrapper && (script || row->wrapper != charged_setmetatable);
    if (keep) {
        lua_getfield(state, -1, row->name);
        lua_pushcclosure(state, row->wrapper, 1);
    } else {
        lua_pushnil(state);
    }
    lua_setfield(state, -2, row->name);
    lua_pop(state, 1);
}

void mj_sandbox_open_libraries(lua_State *state, bool script)
{
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},
    };
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        luaL_requiref(state, libraries[i].name, libraries[i].func, 1);
        lua_pop(state, 1);
    }
    if (luaL_loadbufferx(state, sorted_pairs, sizeof sorted_pairs - 1, "=pairs", "t") != LUA_OK) {
        lua_error(state);
    }
    lua_call(state, 0, 0);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        replace_function(state, &functions[i], script);
    }
}
