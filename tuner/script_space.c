/* script_space.c: moe.space: a family's space with values left out and rules of the script's own.
 */
#define _GNU_SOURCE
#include <string.h>

#include "script_lua.h"

/* ---- moe.space: a Lua table {family=, values={name={...}}, rules={{name=, holds=}}} with methods
 * ---- */
static const mj_tunable *find_tunable(const mj_space *space, const char *name)
{
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        if (strcmp(space->tunables[i].name, name) == 0) {
            return &space->tunables[i];
        }
    }
    return NULL;
}

/* The value on top: one whole number or a list of them, each a value of the family's. Pops it,
 * pushes a set. */
static void read_values(lua_State *L, const mj_tunable *tunable)
{
    bool one = lua_type(L, -1) == LUA_TNUMBER;
    lua_Integer count = one ? 1 : (lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0);
    if (count < 1 || count > 64) {
        script_raisef(L, MJ_ERR_ARGUMENT, "moe.space: %s: a whole number or a list of them is due", tunable->name);
    }
    lua_newtable(L);
    for (lua_Integer i = 1; i <= count; i++) {
        if (one) {
            lua_pushvalue(L, -2);
        } else {
            lua_rawgeti(L, -2, i);
        }
        int32_t value = (int32_t)script_whole(L, tunable->name, 0, INT32_MAX);
        bool known = false;
        for (uint32_t v = 0; v < tunable->value_count; v++) {
            known = known || tunable->values[v] == value;
        }
        if (!known) {
            script_raisef(L, MJ_ERR_ARGUMENT, "moe.space: %s: %d is not one of the family's values", tunable->name,
                          value);
        }
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
        lua_rawseti(L, -2, value);
    }
    lua_remove(L, -2);
}

static void unknown_tunable(lua_State *L, const mj_space *space, const char *name)
{
    const char *names[MJ_CONFIG_MAX + 1] = {"family"};
    for (uint32_t i = 0; i < space->tunable_count; i++) {
        names[i + 1] = space->tunables[i].name;
    }
    const char *near = mj_nearest_name(name, names, space->tunable_count + 1);
    script_raisef(L, MJ_ERR_ARGUMENT, "moe.space: family %s has no '%s'%s%s%s", space->family, name,
                  near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

int script_api_space(lua_State *L)
{
    const char *family = lua_tostring(L, 1);
    if (lua_istable(L, 1)) {
        lua_getfield(L, 1, "family");
        family = lua_tostring(L, -1);
    }
    const mj_space *space = NULL;
    mj_error error = {MJ_OK, ""};
    if (!family) {
        return script_raisef(L, MJ_ERR_ARGUMENT, "moe.space: which family? e.g. moe.space(\"mma\")");
    }
    if (mj_spec_find_space(script_spec(L), family, &space, &error) != MJ_OK) {
        return script_raise(L, &error);
    }
    lua_newtable(L); /* the space */
    int self = lua_gettop(L);
    lua_pushstring(L, space->family);
    lua_setfield(L, self, "family");
    lua_newtable(L);
    lua_setfield(L, self, "rules");
    lua_newtable(L); /* values */
    for (lua_pushnil(L); lua_istable(L, 1) && lua_next(L, 1);) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const mj_tunable *tunable = find_tunable(space, name);
        if (strcmp(name, "family") == 0) {
            lua_pop(L, 1);
            continue;
        }
        if (!tunable) {
            unknown_tunable(L, space, name);
        }
        read_values(L, tunable);
        lua_setfield(L, self + 1, name);
    }
    lua_settop(L, self + 1);
    lua_setfield(L, self, "values");
    luaL_setmetatable(L, SCRIPT_SPACE);
    return 1;
}

static int space_require(lua_State *L)
{
    script_check_space(L, 1);
    luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_getfield(L, 1, "rules");
    lua_newtable(L);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "name");
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "holds");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pushvalue(L, 1);
    return 1;
}

void script_check_space(lua_State *L, int index)
{
    bool good = lua_istable(L, index) && lua_getmetatable(L, index);
    if (good) {
        luaL_getmetatable(L, SCRIPT_SPACE);
        good = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (!good) {
        luaL_argerror(L, index, "a moe.space is due");
    }
}

void script_push_config(lua_State *L, const mj_config *config)
{
    lua_createtable(L, 0, (int)config->count);
    for (uint32_t i = 0; i < config->count; i++) {
        lua_pushinteger(L, config->params[i].value);
        lua_setfield(L, -2, config->params[i].name);
    }
}

/* Does the space at `index` hold the config? NULL: yes; else the name of what refuses it, alive
 * while the space is. */
const char *script_space_refuses(lua_State *L, int index, mj_op op, const mj_config *config)
{
    index = lua_absindex(L, index);
    lua_getfield(L, index, "values");
    for (uint32_t i = 0; i < config->count; i++) {
        if (lua_getfield(L, -1, config->params[i].name) == LUA_TTABLE) {
            bool allowed = lua_rawgeti(L, -1, config->params[i].value) != LUA_TNIL;
            lua_pop(L, 1);
            if (!allowed) {
                lua_pop(L, 2);
                return config->params[i].name;
            }
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_getfield(L, index, "rules");
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
        lua_rawgeti(L, -1, i);
        lua_getfield(L, -1, "name");
        const char *name = lua_tostring(L, -1);
        lua_getfield(L, -2, "holds");
        script_push_config(L, config);
        lua_pushstring(L, mj_op_name(op));
        lua_call(L, 2, 1);
        bool holds = lua_toboolean(L, -1);
        lua_pop(L, 3);
        if (!holds) {
            lua_pop(L, 1);
            return name;
        }
    }
    lua_pop(L, 1);
    return NULL;
}

/* ---- space:explain, space:configs ---- */
typedef struct space_walk {
    lua_State *L;
    int space, refused, list; /* stack indices; list 0: count only */
    mj_op op;
    lua_Integer legal;
    bool failed; /* an error message is on top of the stack */
} space_walk;

static int visit_protected(lua_State *L)
{
    space_walk *walk = lua_touserdata(L, 1);
    const mj_config *config = lua_touserdata(L, 2);
    const char *rule = script_space_refuses(L, 3, walk->op, config);
    if (rule) {
        lua_getfield(L, 4, rule);
        lua_pushinteger(L, lua_tointeger(L, -1) + 1);
        lua_setfield(L, 4, rule);
        return 0;
    }
    walk->legal++;
    if (walk->list) {
        script_push_config(L, config);
        lua_rawseti(L, 5, walk->legal);
    }
    return 0;
}

/* No Lua error may jump over the enumeration's frames. */
static bool visit_config(void *user, const mj_config *config)
{
    space_walk *walk = user;
    lua_State *L = walk->L;
    lua_pushcfunction(L, visit_protected);
    lua_pushlightuserdata(L, walk);
    lua_pushlightuserdata(L, (void *)config);
    lua_pushvalue(L, walk->space);
    lua_pushvalue(L, walk->refused);
    lua_pushvalue(L, walk->list ? walk->list : walk->refused);
    walk->failed = lua_pcall(L, 5, 0, 0) != LUA_OK;
    return !walk->failed && !cli_interrupted();
}

/* Arguments: space, problem, {arch, gemm | op}. Leaves `refused` at index 4 and, if wanted, the
 * list at 5. */
static void walk_space(lua_State *L, bool wants_list, mj_tally *tally, space_walk *walk)
{
    script_check_space(L, 1);
    const script_problem *self = luaL_checkudata(L, 2, SCRIPT_PROBLEM);
    cli_kernel_words words = {.arch = "sm_90a", .op = "gemm1"};
    lua_settop(L, 3);
    script_read_table(L, 3, "space", script_target_keys, SCRIPT_TARGET_KEY_COUNT, &words);
    lua_newtable(L);
    lua_newtable(L);
    *walk = (space_walk){.L = L, .space = 1, .refused = 4, .list = wants_list ? 5 : 0};
    const mj_spec *spec = script_spec(L);
    lua_getfield(L, 1, "family");
    mj_kernel_desc desc = {.problem = &self->problem};
    mj_error error = {MJ_OK, ""};
    memset(tally, 0, sizeof *tally);
    mj_status status = mj_spec_find_arch(spec, words.arch, &desc.arch, &error);
    status = status ? status : mj_op_parse(words.op, &desc.op, &error);
    status = status ? status : mj_spec_find_scheme(spec, self->problem.scheme, &desc.scheme, &error);
    status = status ? status : mj_spec_find_space(spec, lua_tostring(L, -1), &desc.space, &error);
    walk->op = desc.op;
    status = status ? status : mj_space_enumerate(spec, &desc, visit_config, walk, tally, &error);
    if (walk->failed) {
        lua_error(L);
    }
    if (status != MJ_OK) {
        script_raise(L, &error);
    }
    if (cli_interrupted()) {
        script_raisef(L, MJ_ERR_INTERRUPTED, "interrupted");
    }
}

static int space_explain(lua_State *L)
{
    mj_tally tally;
    space_walk walk;
    walk_space(L, false, &tally, &walk);
    for (uint32_t i = 0; i < tally.rule_count; i++) {
        lua_pushinteger(L, (lua_Integer)tally.rules[i].count);
        lua_setfield(L, walk.refused, tally.rules[i].rule);
    }
    lua_newtable(L);
    lua_pushinteger(L, (lua_Integer)tally.candidate_count);
    lua_setfield(L, -2, "candidates");
    lua_pushinteger(L, walk.legal);
    lua_setfield(L, -2, "legal");
    lua_pushvalue(L, walk.refused);
    lua_setfield(L, -2, "refused");
    return 1;
}

static int space_configs(lua_State *L)
{
    mj_tally tally;
    space_walk walk;
    walk_space(L, true, &tally, &walk);
    lua_pushvalue(L, walk.list);
    return 1;
}

void script_open_space(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"require", space_require}, {"explain", space_explain}, {"configs", space_configs}, {NULL, NULL}};
    luaL_newmetatable(L, SCRIPT_SPACE);
    luaL_newlib(L, methods);
    script_name_missing(L, "a space");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
