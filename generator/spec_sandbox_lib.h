/* spec_sandbox_lib.h: the library a sandbox gives to its files (spec_sandbox_lib.c) and what it needs of the sandbox. */
#ifndef MOEJIT_SPEC_SANDBOX_LIB_H
#define MOEJIT_SPEC_SANDBOX_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

/* Raises on lack of memory. */
void mj_sandbox_open_libraries(struct lua_State *state, bool script);

/* spec_sandbox.c: raises if the state cannot pay. */
void mj_sandbox_charge(struct lua_State *state, uint64_t instruction_count);
size_t mj_sandbox_string_bytes_max(struct lua_State *state);

#endif
