/* script_lua.h: what the script host's two files share: script.c (state, values, errors),
 * script_api.c (moe.*). */
#ifndef MOEJIT_SCRIPT_LUA_H
#define MOEJIT_SCRIPT_LUA_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "cli.h"
#include "cli_kernel.h"

typedef struct script_host {
    const cli_options *options;
    mj_context *context;
    mj_error failure;    /* the last one raised by moe.*: its status decides the exit code */
    cli_exit unsaved;    /* of a tune whose result the script has, but the store has not; CLI_OK: none */
    bool interrupt_told; /* a measurement ended by Ctrl-C: the script may still save what it has */
} script_host;

typedef struct script_problem { /* userdata "moe.problem" */
    mj_problem problem;
    char label[160];
} script_problem;

#define SCRIPT_PROBLEM "moe.problem"
#define SCRIPT_SPACE   "moe.space"
#define SCRIPT_RESULT  "moe.result"

script_host *script_host_of(lua_State *L);
/* Raises a Lua error with the script's file and line; remembers the status. Never returns. */
int script_raise(lua_State *L, const mj_error *error);
int script_raisef(lua_State *L, mj_status status, const char *format, ...) MJ_PRINTF(3, 4);
const mj_spec *script_spec(lua_State *L);
/* The table on top of the stack: a name that it lacks is an error that names the nearest one. `what` it is lives as long. */
void script_name_missing(lua_State *L, const char *what);
int script_cannot_change(lua_State *L); /* a __newindex */

/* Pushes a JSON value as Lua values and frees it, also on failure. NULL (out of memory) raises. */
void script_push_json(lua_State *L, mj_json *value);
/* The Lua value at `index` as JSON; *out is freed by the caller. Keys sorted. Raises on functions,
 * cycles, mixed keys. */
mj_json *script_to_json(lua_State *L, int index);

/* One row per key that a table argument may hold; `read` sees the value on top of the stack. */
typedef struct script_key {
    const char *name;
    void (*read)(lua_State *L, const char *key, void *out);
} script_key;
/* Every key of the table at `index` (nil or none: nothing) must be in `keys`; each present one is
 * read. */
void script_read_table(lua_State *L, int index, const char *what, const script_key *keys, size_t key_count, void *out);

/* Value on top of the stack, or an error naming the key. */
const char *script_text(lua_State *L, const char *key);
uint64_t script_whole(lua_State *L, const char *key, uint64_t min, uint64_t max);
bool script_bool(lua_State *L, const char *key);

/* "tile_m=16,..." or {tile_m = 16, ...} on top of the stack -> text that lives as long as the
 * state, names sorted. */
const char *script_config_text(lua_State *L, const char *key);
/* For tables that name a kernel's target: arch, op, gemm (and family, config, tokens behind them);
 * `out` is a cli_kernel_words. */
enum { SCRIPT_TARGET_KEY_COUNT = 3 };
extern const script_key script_target_keys[];
/* Atomic, with its folders; raises. */
void script_write_file(lua_State *L, const char *path, const char *text, size_t bytes);

/* moe.space (script_space.c) */
void script_open_space(lua_State *L);
int script_api_space(lua_State *L);
void script_check_space(lua_State *L, int index);
void script_push_config(lua_State *L, const mj_config *config);
/* NULL: the space at `index` holds the config; else the name of what refuses it, alive while the
 * space is. May raise. */
const char *script_space_refuses(lua_State *L, int index, mj_op op, const mj_config *config);

/* moe.tune, bench, verify and their results (script_tune.c) */
void script_open_result(lua_State *L);
int script_api_tune(lua_State *L);
int script_api_bench(lua_State *L);
int script_api_verify(lua_State *L);

/* Sets the global `moe` (script_api.c). */
void script_open_api(lua_State *L);

#endif
