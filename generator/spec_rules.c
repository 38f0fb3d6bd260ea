/* spec_rules.c: the pruning rules of a space, which stay Lua functions: holds(config, problem, arch, derived).
 *
 * A rule sees four read-only tables; a field that is not there is an error, so a misspelt name cannot pass as nil. They
 * are filled once per candidate, not once per rule: an enumeration asks every rule about the same config in a row. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_internal.h"

#define RULE_INSTRUCTIONS 200000u

enum { VIEW_CONFIG, VIEW_PROBLEM, VIEW_ARCH, VIEW_DERIVED, VIEW_COUNT };
static const char *const view_names[VIEW_COUNT] = {"config", "problem", "arch", "derived"};

/* In the state's registry under &keep_key: {rules, views..., their contents...}. */
static const char keep_key = 0;
enum { KEEP_RULES = 1, KEEP_VIEWS = 2, KEEP_CONTENTS = KEEP_VIEWS + VIEW_COUNT };

struct mj_rule_cache { /* what the state's tables hold now */
    bool problem_filled, arch_filled, config_filled;
    mj_problem problem;
    mj_op op;
    char scheme[MJ_NAME_MAX];
    mj_arch arch;
    mj_config config;
};

mj_rule_cache *mj_rule_caches_new(uint32_t count)
{
    return calloc(count ? count : 1, sizeof(mj_rule_cache));
}

void mj_rule_caches_free(mj_rule_cache *caches)
{
    free(caches);
}

/* ---- The views ---- */

static int refuse_read(lua_State *state)
{
    return luaL_error(state, "%s has no field '%s'", lua_tostring(state, lua_upvalueindex(1)),
                      luaL_tolstring(state, 2, NULL));
}

static int refuse_write(lua_State *state)
{
    return luaL_error(state, "%s cannot be changed by a rule", lua_tostring(state, lua_upvalueindex(1)));
}

static void set_method(lua_State *state, const char *name, const char *view, lua_CFunction function)
{
    lua_pushstring(state, view);
    lua_pushcclosure(state, function, 1);
    lua_setfield(state, -2, name);
}

/* keep[KEEP_VIEWS + i]: an empty table in front of keep[KEEP_CONTENTS + i]. `keep` is on top. */
static void add_view(lua_State *state, int i)
{
    lua_newtable(state); /* contents */
    lua_newtable(state);
    set_method(state, "__index", view_names[i], refuse_read);
    lua_setmetatable(state, -2);
    lua_newtable(state); /* view */
    lua_newtable(state);
    lua_pushvalue(state, -3);
    lua_setfield(state, -2, "__index");
    set_method(state, "__newindex", view_names[i], refuse_write);
    lua_setmetatable(state, -2);
    lua_rawseti(state, -3, KEEP_VIEWS + i);
    lua_rawseti(state, -2, KEEP_CONTENTS + i);
}

void mj_rules_keep(lua_State *state)
{
    luaL_checkstack(state, 8, "rules");
    lua_newtable(state);
    lua_getfield(state, -2, "rules");
    lua_rawseti(state, -2, KEEP_RULES);
    for (int i = 0; i < VIEW_COUNT; i++) {
        add_view(state, i);
    }
    lua_rawsetp(state, LUA_REGISTRYINDEX, &keep_key);
}

/* ---- Filling them. The contents table is on top. ---- */

static void set_integer(lua_State *state, const char *name, int64_t value)
{
    lua_pushinteger(state, (lua_Integer)value);
    lua_setfield(state, -2, name);
}

static void set_number(lua_State *state, const char *name, double value)
{
    lua_pushnumber(state, value);
    lua_setfield(state, -2, name);
}

static void set_bool(lua_State *state, const char *name, bool value)
{
    lua_pushboolean(state, value);
    lua_setfield(state, -2, name);
}

static void set_text(lua_State *state, const char *name, const char *value)
{
    lua_pushstring(state, value);
    lua_setfield(state, -2, name);
}

static void clear(lua_State *state)
{
    lua_pushnil(state);
    while (lua_next(state, -2)) {
        lua_pop(state, 1);
        lua_pushvalue(state, -1);
        lua_pushnil(state);
        lua_rawset(state, -4);
    }
}

static void fill_config(lua_State *state, const mj_config *config)
{
    clear(state);
    for (uint32_t i = 0; i < config->count; i++) {
        set_integer(state, config->params[i].name, config->params[i].value);
    }
}

static void fill_problem(lua_State *state, const mj_kernel_desc *desc)
{
    const mj_problem *problem = desc->problem;
    mj_gemm_shape shape = mj_problem_gemm(problem, desc->op);
    set_text(state, "op", mj_op_name(desc->op));
    set_integer(state, "n", shape.n);
    set_integer(state, "k", shape.k);
    set_integer(state, "out_n", shape.out_n);
    set_integer(state, "experts", problem->expert_count);
    set_integer(state, "experts_total", problem->expert_total_count);
    set_integer(state, "top_k", problem->top_k);
    set_integer(state, "hidden", problem->hidden);
    set_integer(state, "intermediate", problem->intermediate);
    set_bool(state, "gated", problem->gated);
    set_bool(state, "bias", problem->bias);
    set_text(state, "activation", mj_activation_name(problem->activation));
    set_text(state, "scheme", problem->scheme);
    set_text(state, "layout", problem->layout);
    set_integer(state, "weight_bits", desc->scheme->weight_bits);
    set_integer(state, "align_elems", desc->scheme->align_elems);
}

static void fill_arch(lua_State *state, const mj_arch *arch)
{
    set_text(state, "name", arch->name);
    set_text(state, "vendor", arch->vendor);
    set_integer(state, "capability_major", arch->capability_major);
    set_integer(state, "capability_minor", arch->capability_minor);
    set_integer(state, "warp_size", arch->warp_size);
    set_integer(state, "smem_block_bytes_max", arch->smem_block_bytes_max);
    set_integer(state, "smem_sm_bytes", arch->smem_sm_bytes);
    set_integer(state, "smem_block_reserved_bytes", arch->smem_block_reserved_bytes);
    set_integer(state, "regs_sm", arch->regs_sm);
    set_integer(state, "regs_thread_max", arch->regs_thread_max);
    set_integer(state, "threads_block_max", arch->threads_block_max);
    set_integer(state, "threads_sm_max", arch->threads_sm_max);
    set_integer(state, "blocks_sm_max", arch->blocks_sm_max);
    set_integer(state, "sm_count", arch->typical.sm_count);
    set_number(state, "memory_gbps", arch->typical.memory_gbps);
    set_number(state, "matrix_tflops", arch->typical.matrix_tflops);
    set_number(state, "l2_bytes", arch->typical.l2_bytes);
    lua_newtable(state); /* features: a set */
    for (uint32_t i = 0; i < arch->features.count; i++) {
        set_bool(state, arch->features.items[i], true);
    }
    lua_setfield(state, -2, "features");
}

static void fill_derived(lua_State *state, const mj_derived *derived)
{
    clear(state);
    for (uint32_t i = 0; i < derived->var_count; i++) {
        set_integer(state, derived->vars[i].name, derived->vars[i].value);
    }
    set_integer(state, "block_threads", derived->block_threads);
    set_integer(state, "smem_bytes", derived->smem_bytes);
    set_integer(state, "regs_estimate", derived->regs_estimate);
    set_integer(state, "blocks_per_sm", derived->blocks_per_sm);
    set_integer(state, "tile_m", derived->tile_m);
    set_integer(state, "tile_n", derived->tile_n);
    set_integer(state, "n_tiles", derived->n_tiles);
    set_integer(state, "split_k", derived->split_k);
    set_integer(state, "k_tiles_per_split", derived->k_tiles_per_split);
    set_integer(state, "partial_tile_bytes", derived->partial_tile_bytes);
    set_integer(state, "partial_block_bytes", derived->partial_block_bytes);
}

static bool same_config(const mj_config *a, const mj_config *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->params[i].value != b->params[i].value || strcmp(a->params[i].name, b->params[i].name) != 0) {
            return false;
        }
    }
    return true;
}

/* The kept table is at stack index 1. What is derived follows from the other three, so it is refilled with any. */
static void fill_views(lua_State *state, mj_rule_cache *cache, const mj_kernel_desc *desc, const mj_derived *derived)
{
    bool new_problem = !cache->problem_filled || cache->op != desc->op ||
                       strcmp(cache->scheme, desc->scheme->name) != 0 ||
                       memcmp(&cache->problem, desc->problem, sizeof cache->problem) != 0;
    bool new_arch = !cache->arch_filled || memcmp(&cache->arch, desc->arch, sizeof cache->arch) != 0;
    if (!new_problem && !new_arch && cache->config_filled && same_config(&cache->config, desc->config)) {
        return;
    }
    cache->problem_filled = cache->arch_filled = cache->config_filled = false; /* until all went well */
    for (int i = 0; i < VIEW_COUNT; i++) {
        lua_rawgeti(state, 1, KEEP_CONTENTS + i);
        if (i == VIEW_CONFIG) {
            fill_config(state, desc->config);
        } else if (i == VIEW_PROBLEM && new_problem) {
            fill_problem(state, desc);
        } else if (i == VIEW_ARCH && new_arch) {
            fill_arch(state, desc->arch);
        } else if (i == VIEW_DERIVED) {
            fill_derived(state, derived);
        }
        lua_pop(state, 1);
    }
    cache->problem = *desc->problem;
    cache->op = desc->op;
    memcpy(cache->scheme, desc->scheme->name, sizeof cache->scheme);
    cache->arch = *desc->arch;
    cache->config = *desc->config;
    cache->problem_filled = cache->arch_filled = cache->config_filled = true;
}

/* ---- The call ---- */

typedef struct rule_call {
    mj_rule_cache *cache;
    const mj_kernel_desc *desc;
    const mj_derived *derived;
    uint32_t index;
    bool holds, has_numbers;
    double measured, limit;
} rule_call;

static int run_rule(lua_State *state, void *user)
{
    rule_call *call = user;
    lua_rawgetp(state, LUA_REGISTRYINDEX, &keep_key);
    fill_views(state, call->cache, call->desc, call->derived);
    lua_rawgeti(state, 1, KEEP_RULES);
    lua_rawgeti(state, -1, (lua_Integer)call->index + 1);
    lua_getfield(state, -1, "holds");
    for (int i = 0; i < VIEW_COUNT; i++) {
        lua_rawgeti(state, 1, KEEP_VIEWS + i);
    }
    lua_call(state, VIEW_COUNT, 3);
    if (!lua_isboolean(state, -3)) {
        return luaL_error(state, "returned a %s, not true or false", luaL_typename(state, -3));
    }
    call->holds = lua_toboolean(state, -3);
    call->has_numbers = lua_isnumber(state, -2) && lua_isnumber(state, -1);
    if (call->has_numbers) {
        call->measured = lua_tonumber(state, -2);
        call->limit = lua_tonumber(state, -1);
    }
    return 0;
}

bool mj_spec_rule_holds(const mj_spec *spec, const mj_kernel_desc *desc, const mj_derived *derived, uint32_t index,
                        mj_refusal *refusal)
{
    const mj_space *first = (const mj_space *)(const void *)spec->lists[MJ_KIND_SPACE].rows;
    uint32_t space_index = 0;
    while (space_index < spec->lists[MJ_KIND_SPACE].count && &first[space_index] != desc->space) {
        space_index++;
    }
    mj_refusal unused;
    mj_refusal *out = refusal ? refusal : &unused;
    if (space_index == spec->lists[MJ_KIND_SPACE].count || index >= desc->space->rule_count) {
        snprintf(out->rule, sizeof out->rule, "space");
        snprintf(out->reason, sizeof out->reason, "the space or its rule %u is not of this spec", index);
        return false;
    }
    mj_sandbox *sandbox = spec->sandboxes[space_index];
    const mj_space_rule *rule = &desc->space->rules[index];
    rule_call call = {.cache = &spec->caches[space_index], .desc = desc, .derived = derived, .index = index};
    mj_error error;
    mj_sandbox_refill(sandbox, RULE_INSTRUCTIONS);
    mj_status status = mj_sandbox_run(sandbox, run_rule, &call, &error);
    if (status == MJ_OK && call.holds) {
        return true;
    }
    memset(out, 0, sizeof *out);
    snprintf(out->rule, sizeof out->rule, "%s", rule->name);
    if (status != MJ_OK) {
        snprintf(out->reason, sizeof out->reason, "the rule itself fails: %.220s", error.text);
    } else if (call.has_numbers) {
        out->measured = call.measured;
        out->limit = call.limit;
        snprintf(out->reason, sizeof out->reason, "%s: %.6g, limit %.6g", rule->reason, call.measured, call.limit);
    } else {
        snprintf(out->reason, sizeof out->reason, "%s", rule->reason);
    }
    return false;
}
