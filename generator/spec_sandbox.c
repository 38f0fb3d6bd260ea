/* spec_sandbox.c: see spec_sandbox.h. The state's allocator carries the limits: lua_getallocf gives the sandbox back. */
#include "spec_sandbox.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "spec_sandbox_lib.h"

#define MEMORY_BYTES_DEFAULT  ((size_t)64 << 20)
#define STRING_BYTES_DEFAULT  ((size_t)64 << 10)
#define STRING_BYTES_SCRIPT   ((size_t)16 << 20)
#define BLOCK_BYTES_DATA      ((size_t)256 << 10)
#define INSTRUCTIONS_DEFAULT  20000000u
#define HOOK_INTERVAL         1000
#define BYTES_PER_INSTRUCTION 16   /* allocating this much costs about what one instruction does */
#define SPENT_BYTES_MAX       4096 /* still allocated then, so that the message can be made */

typedef enum stop_reason { STOP_NONE, STOP_INSTRUCTIONS, STOP_MEMORY, STOP_STRING, STOP_BLOCK } stop_reason;

struct mj_sandbox {
    lua_State *state;
    size_t used_bytes, memory_bytes_max, string_bytes_max, block_bytes_max;
    uint64_t instruction_count_max; /* what the last refill gave, for the message */
    uint64_t instructions_left;
    bool unlimited, spent, opened;
    stop_reason last_refusal; /* why the allocator last said no */
};

static mj_sandbox *sandbox_of(lua_State *state)
{
    void *user;
    lua_getallocf(state, &user);
    return user;
}

static void count_hook(lua_State *state, lua_Debug *debug);

/* From now on every instruction fails until the next refill. Safe inside the allocator: sets fields only. */
static void spend_all(mj_sandbox *sandbox)
{
    sandbox->spent = true;
    sandbox->instructions_left = 0;
    if (sandbox->state) {
        lua_sethook(sandbox->state, count_hook, LUA_MASKCOUNT, 1);
    }
}

static bool charge(mj_sandbox *sandbox, uint64_t instruction_count)
{
    if (sandbox->unlimited) {
        return true;
    }
    if (sandbox->spent || sandbox->instructions_left < instruction_count) {
        spend_all(sandbox);
        return false;
    }
    sandbox->instructions_left -= instruction_count;
    return true;
}

/* `level`: 0 inside a hook, 1 inside a library function that a file called. */
static int raise_spent(lua_State *state, int level)
{
    luaL_where(state, level);
    lua_pushfstring(state, "more than %I instructions", (LUAI_UACINT)sandbox_of(state)->instruction_count_max);
    lua_concat(state, 2);
    return lua_error(state);
}

static void count_hook(lua_State *state, lua_Debug *debug)
{
    (void)debug;
    mj_sandbox *sandbox = sandbox_of(state);
    if (!charge(sandbox, sandbox->spent ? 1 : HOOK_INTERVAL)) {
        raise_spent(state, 0);
    }
}

void mj_sandbox_charge(lua_State *state, uint64_t instruction_count)
{
    if (!charge(sandbox_of(state), instruction_count)) {
        raise_spent(state, 1);
    }
}

size_t mj_sandbox_string_bytes_max(lua_State *state)
{
    return sandbox_of(state)->string_bytes_max;
}

static void *allocate(void *user, void *block, size_t old_bytes, size_t new_bytes)
{
    mj_sandbox *sandbox = user;
    size_t held_bytes = block ? old_bytes : 0; /* for a new block Lua passes its kind instead */
    if (new_bytes == 0) {
        sandbox->used_bytes -= held_bytes;
        free(block);
        return NULL;
    }
    if (new_bytes > held_bytes) {
        size_t grown_bytes = new_bytes - held_bytes;
        if (grown_bytes > sandbox->memory_bytes_max - sandbox->used_bytes) {
            sandbox->last_refusal = STOP_MEMORY;
            return NULL;
        }
        if (!block && old_bytes == LUA_TSTRING && new_bytes > sandbox->string_bytes_max + 64) { /* its header */
            sandbox->last_refusal = STOP_STRING;
            return NULL;
        }
        if (new_bytes > sandbox->block_bytes_max) { /* a long stack or list makes single instructions long */
            sandbox->last_refusal = STOP_BLOCK;
            return NULL;
        }
        bool for_message = sandbox->spent && new_bytes <= SPENT_BYTES_MAX;
        if (sandbox->opened && !for_message && !charge(sandbox, grown_bytes / BYTES_PER_INSTRUCTION)) {
            sandbox->last_refusal = STOP_INSTRUCTIONS;
            return NULL;
        }
    }
    void *result = realloc(block, new_bytes);
    if (result) {
        sandbox->used_bytes += new_bytes - held_bytes;
    }
    return result;
}

static int open_body(lua_State *state, void *user)
{
    mj_sandbox_open_libraries(state, ((const mj_sandbox_options *)user)->script);
    return 0;
}

mj_status mj_sandbox_open(const mj_sandbox_options *options, mj_sandbox **out, mj_error *error)
{
    if (!options || !out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "mj_sandbox_open: null argument");
    }
    *out = NULL;
    mj_sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a Lua state");
    }
    sandbox->memory_bytes_max = options->memory_bytes_max ? options->memory_bytes_max : MEMORY_BYTES_DEFAULT;
    sandbox->string_bytes_max = options->string_bytes_max ? options->string_bytes_max
                                : options->script         ? STRING_BYTES_SCRIPT
                                                          : STRING_BYTES_DEFAULT;
    sandbox->block_bytes_max = options->script ? SIZE_MAX : BLOCK_BYTES_DATA;
    sandbox->unlimited = true; /* while the libraries are opened */
    sandbox->state = lua_newstate(allocate, sandbox);
    if (!sandbox->state) {
        mj_sandbox_close(sandbox);
        return mj_fail(error, MJ_ERR_CAPACITY, "a Lua state does not fit into %zu bytes", options->memory_bytes_max);
    }
    mj_sandbox_options copy = *options;
    mj_status status = mj_sandbox_run(sandbox, open_body, &copy, error);
    if (status != MJ_OK) {
        mj_sandbox_close(sandbox);
        return status;
    }
    sandbox->opened = true;
    mj_sandbox_refill(sandbox, options->instruction_count_max ? options->instruction_count_max : INSTRUCTIONS_DEFAULT);
    *out = sandbox;
    return MJ_OK;
}

void mj_sandbox_close(mj_sandbox *sandbox)
{
    if (!sandbox) {
        return;
    }
    if (sandbox->state) {
        lua_sethook(sandbox->state, NULL, 0, 0);
        sandbox->unlimited = true;
        lua_close(sandbox->state);
    }
    free(sandbox);
}

lua_State *mj_sandbox_state(const mj_sandbox *sandbox)
{
    return sandbox->state;
}

void mj_sandbox_refill(mj_sandbox *sandbox, uint64_t instruction_count)
{
    sandbox->unlimited = instruction_count == UINT64_MAX;
    sandbox->spent = false;
    sandbox->instruction_count_max = sandbox->instructions_left = instruction_count;
    if (sandbox->unlimited) {
        lua_sethook(sandbox->state, NULL, 0, 0);
    } else {
        int interval = instruction_count < HOOK_INTERVAL ? (int)instruction_count + 1 : HOOK_INTERVAL;
        lua_sethook(sandbox->state, count_hook, LUA_MASKCOUNT, interval);
    }
}

typedef struct run_call {
    int (*body)(lua_State *state, void *user);
    void *user;
} run_call;

static int run_protected(lua_State *state)
{
    run_call *call = lua_touserdata(state, 1);
    lua_settop(state, 0);
    call->body(state, call->user);
    return 0;
}

static mj_status describe_failure(mj_sandbox *sandbox, int code, mj_error *error)
{
    const char *text = lua_type(sandbox->state, -1) == LUA_TSTRING ? lua_tostring(sandbox->state, -1) : NULL;
    if (sandbox->spent) {
        return text && code == LUA_ERRRUN ? mj_fail(error, MJ_ERR_CAPACITY, "%s", text)
                                          : mj_fail(error, MJ_ERR_CAPACITY, "more than %llu instructions",
                                                    (unsigned long long)sandbox->instruction_count_max);
    }
    if (code == LUA_ERRMEM && sandbox->last_refusal == STOP_STRING) {
        return mj_fail(error, MJ_ERR_CAPACITY, "a string of more than %zu bytes", sandbox->string_bytes_max);
    }
    if (code == LUA_ERRMEM && sandbox->last_refusal == STOP_BLOCK) {
        return mj_fail(error, MJ_ERR_CAPACITY, "a table, text or stack of more than %zu bytes",
                       sandbox->block_bytes_max);
    }
    if (code == LUA_ERRMEM && sandbox->last_refusal == STOP_MEMORY) {
        return mj_fail(error, MJ_ERR_CAPACITY, "more than %zu bytes of Lua memory", sandbox->memory_bytes_max);
    }
    if (code == LUA_ERRMEM) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory left for Lua");
    }
    return mj_fail(error, MJ_ERR_FORMAT, "%s", text ? text : "an error that is not a text");
}

mj_status mj_sandbox_run(mj_sandbox *sandbox, int (*body)(lua_State *state, void *user), void *user, mj_error *error)
{
    run_call call = {body, user};
    sandbox->last_refusal = STOP_NONE;
    if (!lua_checkstack(sandbox->state, 8)) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory left for Lua");
    }
    int top = lua_gettop(sandbox->state);
    lua_pushcfunction(sandbox->state, run_protected);
    lua_pushlightuserdata(sandbox->state, &call);
    int code = lua_pcall(sandbox->state, 1, 0, 0);
    mj_status status = MJ_OK;
    if (code != LUA_OK) {
        status = describe_failure(sandbox, code, error);
    } else if (sandbox->spent) { /* a pcall swallowed the error in the last instructions */
        status = mj_fail(error, MJ_ERR_CAPACITY, "more than %llu instructions",
                         (unsigned long long)sandbox->instruction_count_max);
    }
    lua_settop(sandbox->state, top);
    return status;
}

void mj_sandbox_push_chunk(lua_State *state, const char *name, const char *text, size_t bytes)
{
    const char *chunk_name = lua_pushfstring(state, "=%s", name);
    if (luaL_loadbufferx(state, text, bytes, chunk_name, "t") != LUA_OK) {
        lua_error(state);
    }
    lua_remove(state, -2);
}
