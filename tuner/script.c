/* script.c: the Lua state of a sweep script: running it, values in and out, errors with file and
 * line. */
#define _GNU_SOURCE
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "script_lua.h"

enum { DEPTH_MAX = 32, HOOK_INSTRUCTIONS = 100000 };

/* ---- Host and errors ---- */
script_host *script_host_of(lua_State *L)
{
    return *(script_host **)lua_getextraspace(L);
}

int script_raise(lua_State *L, const mj_error *error)
{
    script_host *host = script_host_of(L);
    host->failure = *error;
    return luaL_error(L, "%s", error->text[0] ? error->text : mj_status_text(error->status));
}

int script_raisef(lua_State *L, mj_status status, const char *format, ...)
{
    mj_error error = {.status = status};
    va_list args;
    va_start(args, format);
    vsnprintf(error.text, sizeof error.text, format, args);
    va_end(args);
    return script_raise(L, &error);
}

const mj_spec *script_spec(lua_State *L)
{
    const mj_spec *spec = NULL;
    mj_error error = {MJ_OK, ""};
    if (mj_context_spec(script_host_of(L)->context, &spec, &error) != MJ_OK) {
        script_raise(L, &error);
    }
    return spec;
}

/* ---- Names ---- */
static int no_such_name(lua_State *L)
{
    const char *names[64];
    size_t count = 0;
    const char *word = luaL_tolstring(L, 2, NULL);
    for (lua_pushnil(L); count < 64 && lua_next(L, 1); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            names[count++] = lua_tostring(L, -2);
        }
    }
    const char *near = mj_nearest_name(word, names, count);
    return script_raisef(L, MJ_ERR_ARGUMENT, "%s has no '%.80s'%s%s%s", lua_tostring(L, lua_upvalueindex(1)), word,
                         near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

void script_name_missing(lua_State *L, const char *what)
{
    lua_newtable(L);
    lua_pushstring(L, what);
    lua_pushcclosure(L, no_such_name, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

int script_cannot_change(lua_State *L)
{
    return script_raisef(L, MJ_ERR_ARGUMENT, "'%.80s' cannot be set: it stays as it was made",
                         luaL_tolstring(L, 2, NULL));
}

/* ---- JSON -> Lua ---- */
static void push_value(lua_State *L, const mj_json *value, int depth)
{
    luaL_checkstack(L, 4, "result too deep");
    if (depth > DEPTH_MAX || mj_json_is_null(value)) {
        lua_pushnil(L);
    } else if (mj_json_is_bool(value)) {
        lua_pushboolean(L, mj_json_value_bool(value));
    } else if (mj_json_is_string(value)) {
        lua_pushstring(L, mj_json_value_string(value));
    } else if (mj_json_is_number(value)) {
        double number = mj_json_value_number(value);
        if (number == floor(number) && fabs(number) < 9e15) {
            lua_pushinteger(L, (lua_Integer)number);
        } else {
            lua_pushnumber(L, number);
        }
    } else {
        bool list = mj_json_is_array(value);
        lua_Integer next = 1;
        lua_newtable(L);
        for (const mj_json *item = mj_json_first(value); item; item = mj_json_next(item)) {
            push_value(L, item, depth + 1);
            if (list) {
                lua_rawseti(L, -2, next++);
            } else {
                lua_setfield(L, -2, mj_json_key(item));
            }
        }
    }
}

static int push_protected(lua_State *L)
{
    push_value(L, lua_touserdata(L, 1), 0);
    return 1;
}

void script_push_json(lua_State *L, mj_json *value)
{
    if (!value) {
        script_raisef(L, MJ_ERR_MEMORY, "out of memory");
    }
    lua_pushcfunction(L, push_protected);
    lua_pushlightuserdata(L, value);
    int failed = lua_pcall(L, 1, 1, 0);
    mj_json_free(value);
    if (failed) {
        lua_error(L);
    }
}

/* ---- Lua -> JSON ---- */
typedef struct json_writer {
    lua_State *L;
    const char *problem; /* why it cannot be written; NULL: fine so far */
} json_writer;

static mj_json *to_value(json_writer *writer, int index, int depth);

static mj_json *to_array(json_writer *writer, int index, size_t count, int depth)
{
    mj_json *list = mj_json_array();
    for (size_t i = 1; i <= count && !writer->problem; i++) {
        lua_rawgeti(writer->L, index, (lua_Integer)i);
        mj_json *item = to_value(writer, lua_gettop(writer->L), depth + 1);
        lua_pop(writer->L, 1);
        mj_json_push(list, item);
    }
    return list;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted: the same table gives the same bytes. Key texts stay alive through the table itself. */
static mj_json *to_object(json_writer *writer, int index, size_t count, int depth)
{
    lua_State *L = writer->L;
    const char **keys = calloc(count + 1, sizeof *keys);
    mj_json *object = mj_json_object();
    size_t used = 0;
    for (lua_pushnil(L); keys && lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            writer->problem = "a table mixes list items and names";
        } else if (used < count) {
            keys[used++] = lua_tostring(L, -2);
        }
    }
    if (keys) {
        qsort(keys, used, sizeof *keys, compare_text);
    }
    for (size_t i = 0; i < used && !writer->problem; i++) {
        lua_pushstring(L, keys[i]);
        lua_rawget(L, index);
        mj_json_add(object, keys[i], to_value(writer, lua_gettop(L), depth + 1));
        lua_pop(L, 1);
    }
    free(keys);
    return object;
}

static mj_json *to_value(json_writer *writer, int index, int depth)
{
    lua_State *L = writer->L;
    if (depth > DEPTH_MAX || !lua_checkstack(L, 8)) {
        writer->problem = "the table is nested too deeply, or holds itself";
        return NULL;
    }
    size_t total = 0, list = 0;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN: {
        mj_json *holder = mj_json_object(), *value;
        value = mj_json_copy(mj_json_add_bool(holder, "value", lua_toboolean(L, index)));
        mj_json_free(holder);
        return value;
    }
    case LUA_TNUMBER:
        return mj_json_new_number(lua_tonumber(L, index));
    case LUA_TSTRING:
        return mj_json_new_string(lua_tostring(L, index));
    case LUA_TTABLE:
        for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
            total++;
        }
        list = lua_rawlen(L, index);
        return list > 0 && list == total ? to_array(writer, index, list, depth)
                                         : to_object(writer, index, total, depth);
    default:
        writer->problem = "only tables, texts, numbers and booleans can be written";
        return NULL;
    }
}

mj_json *script_to_json(lua_State *L, int index)
{
    json_writer writer = {.L = L};
    mj_json *value = to_value(&writer, lua_absindex(L, index), 0);
    if (writer.problem || !value) {
        mj_json_free(value);
        script_raisef(L, MJ_ERR_ARGUMENT, "%s", writer.problem ? writer.problem : "out of memory");
    }
    return value;
}

/* ---- Table arguments ---- */
static void unknown_key(lua_State *L, const char *what, const script_key *keys, size_t key_count)
{
    const char *names[64];
    for (size_t i = 0; i < key_count && i < 64; i++) {
        names[i] = keys[i].name;
    }
    const char *word = luaL_tolstring(L, -2, NULL);
    const char *near = mj_nearest_name(word, names, key_count < 64 ? key_count : 64);
    script_raisef(L, MJ_ERR_ARGUMENT, "%s: unknown key '%s'%s%s%s", what, word, near ? "; did you mean " : "",
                  near ? near : "", near ? "?" : "");
}

void script_read_table(lua_State *L, int index, const char *what, const script_key *keys, size_t key_count, void *out)
{
    if (lua_isnoneornil(L, index)) {
        return;
    }
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *word = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        size_t i = 0;
        while (i < key_count && strcmp(keys[i].name, word) != 0) {
            i++;
        }
        if (i == key_count) {
            unknown_key(L, what, keys, key_count);
        }
        keys[i].read(L, keys[i].name, out);
    }
}

const char *script_text(lua_State *L, const char *key)
{
    if (lua_type(L, -1) != LUA_TSTRING) {
        script_raisef(L, MJ_ERR_ARGUMENT, "%s: a text is due, not a %s", key, luaL_typename(L, -1));
    }
    return lua_tostring(L, -1);
}

uint64_t script_whole(lua_State *L, const char *key, uint64_t min, uint64_t max)
{
    int whole = 0;
    lua_Integer value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
    if (!whole || value < 0 || (uint64_t)value < min || (uint64_t)value > max) {
        script_raisef(L, MJ_ERR_ARGUMENT, "%s: a whole number in %llu..%llu is due, not %s", key,
                      (unsigned long long)min, (unsigned long long)max, luaL_tolstring(L, -1, NULL));
    }
    return (uint64_t)value;
}

bool script_bool(lua_State *L, const char *key)
{
    if (!lua_isboolean(L, -1)) {
        script_raisef(L, MJ_ERR_ARGUMENT, "%s: true or false is due, not a %s", key, luaL_typename(L, -1));
    }
    return lua_toboolean(L, -1);
}

/* ---- Running ---- */
static int on_error(lua_State *L)
{
    const char *text;
    if (lua_type(L, 1) == LUA_TSTRING || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
        text = luaL_tolstring(L, 1, NULL);
    } else { /* error{...}, error(nil): at least where */
        luaL_where(L, 2);
        lua_pushfstring(L, "%san error without a text (a %s)", lua_tostring(L, -1), luaL_typename(L, 1));
        text = lua_tostring(L, -1);
    }
    if (script_host_of(L)->options->verbose) {
        luaL_traceback(L, L, text, 1);
    }
    return 1;
}

/* Every so often: a script that computes would not notice Ctrl-C otherwise. */
static void on_count(lua_State *L, lua_Debug *where)
{
    (void)where;
    script_host *host = script_host_of(L);
    if (cli_interrupted() && !host->interrupt_told) {
        host->failure = (mj_error){MJ_ERR_INTERRUPTED, "interrupted"};
        luaL_where(L, 0); /* a hook has no level of its own */
        lua_pushstring(L, host->failure.text);
        lua_concat(L, 2);
        lua_error(L);
    }
}

static void set_arguments(lua_State *L, const cli_options *options)
{
    lua_createtable(L, options->positional_count, 0);
    for (int i = 0; i < options->positional_count; i++) {
        lua_pushstring(L, options->positionals[i]);
        lua_rawseti(L, -2, i); /* arg[0] is the script */
    }
    lua_setglobal(L, "arg");
}

/* Argument 1: the host. Everything that may raise happens under one protected call. */
static int run_protected(lua_State *L)
{
    const script_host *host = script_host_of(L);
    const cli_options *options = host->options;
    luaL_openlibs(L);
    script_open_api(L);
    set_arguments(L, options);
    if (luaL_loadfilex(L, options->positionals[0], "t") != LUA_OK) {
        script_host_of(L)->failure = (mj_error){MJ_ERR_FORMAT, ""};
        return lua_error(L);
    }
    luaL_checkstack(L, options->positional_count + 4, "too many arguments");
    for (int i = 1; i < options->positional_count; i++) {
        lua_pushstring(L, options->positionals[i]);
    }
    lua_call(L, options->positional_count - 1, 0);
    return 0;
}

/* A script's own mistakes are those of an input file; the world's keep their code. */
static cli_exit exit_of_failure(const script_host *host, const char *message)
{
    mj_status status = host->failure.status;
    if (status == MJ_OK || !strstr(message, host->failure.text)) {
        return CLI_FAILED; /* a Lua error, or error() */
    }
    cli_exit code = cli_exit_of(status);
    return code == CLI_USAGE ? CLI_BAD_FILE : code;
}

cli_exit script_run(const cli_options *options, mj_context *context)
{
    script_host host = {.options = options, .context = context};
    lua_State *L = luaL_newstate();
    if (!L) {
        cli_error("out of memory");
        return CLI_INTERNAL;
    }
    *(script_host **)lua_getextraspace(L) = &host;
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, run_protected);
    cli_exit code;
    if (lua_pcall(L, 0, 0, 1) == LUA_OK) {
        code = host.unsaved;
    } else {
        const char *message = lua_tostring(L, -1);
        fflush(stdout);
        cli_error("%s", message ? message : "an error without a text");
        code = exit_of_failure(&host, message ? message : "");
    }
    lua_close(L);
    return cli_interrupted() ? CLI_INTERRUPTED : code;
}
