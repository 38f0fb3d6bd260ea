/* spec_sandbox.h: a Lua state that cannot hurt its host. Used for data files and space rules; with `script` set, for
 * sweep scripts (which then get what their host adds).
 *
 * What is there: base, table, string, math without load, loadfile, dofile, require, collectgarbage, print, warn,
 * xpcall, next and the raw functions, string.dump, string.pack and its kin, math.random; no os, io, debug, package, coroutine, utf8.
 * pairs visits keys in sorted order, so that a file means the same in every process. setmetatable and getmetatable are
 * left to scripts, without __gc (a finaliser would run with the limits off).
 * What is limited: memory (every allocation), the length of one string, one block (256 KiB, so that a table, or the
 * arguments of a call, stay short; not for scripts), instructions. Library functions whose cost is
 * not in their instructions (patterns, table functions, string.rep) are charged for what they do, and so is every
 * allocated byte. Once the instructions are spent each further one fails, so pcall cannot swallow the limit.
 */
#ifndef MOEJIT_SPEC_SANDBOX_H
#define MOEJIT_SPEC_SANDBOX_H

#include "moejit_types.h"

struct lua_State;

typedef struct mj_sandbox mj_sandbox;

typedef struct mj_sandbox_options {
    size_t memory_bytes_max;        /* 0: 64 MiB */
    size_t string_bytes_max;        /* 0: 64 KiB, or 16 MiB for a script */
    uint64_t instruction_count_max; /* 0: 20 million; UINT64_MAX: no limit */
    bool script;
} mj_sandbox_options;

/* No limit is exceeded silently: the failing call says which one it was. */
mj_status mj_sandbox_open(const mj_sandbox_options *options, mj_sandbox **out, mj_error *error);
void mj_sandbox_close(mj_sandbox *sandbox);
struct lua_State *mj_sandbox_state(const mj_sandbox *sandbox);

/* Gives the state `instruction_count` instructions from now on. */
void mj_sandbox_refill(mj_sandbox *sandbox, uint64_t instruction_count);

/* Runs `body` inside a protected call: anything it does with the state may raise. `user` is its own; its results are
 * dropped. A Lua error becomes MJ_ERR_FORMAT with Lua's message ("file:line: ..."), a limit MJ_ERR_CAPACITY, memory
 * that the host itself lacks MJ_ERR_MEMORY. */
mj_status mj_sandbox_run(mj_sandbox *sandbox, int (*body)(struct lua_State *state, void *user), void *user,
                         mj_error *error);

/* Inside a body: pushes the chunk as a function, text only, or raises. `name` is what messages show. */
void mj_sandbox_push_chunk(struct lua_State *state, const char *name, const char *text, size_t bytes);

#endif
