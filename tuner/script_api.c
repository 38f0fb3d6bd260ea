/* script_api.c: moe.*: problems, spaces and paper kernels; measuring is in script_tune.c. The
 * manual is the head of lua/examples/sweep.lua. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "cli_kernel.h"
#include "os.h"
#include "routing.h"
#include "script_lua.h"
#include "store.h"

#define KEY_COUNT(keys) (sizeof(keys) / sizeof(keys)[0])

/* ---- moe.problem ---- */
typedef struct problem_words {
    const char *model, *model_prefix, *scheme, *layout, *text;
    uint32_t tp, ep; /* 0: not given */
    mj_model layer;  /* experts, top_k, ... given by hand */
    bool by_hand;
} problem_words;

#define READ_TEXT(field) \
    static void read_##field(lua_State *L, const char *key, void *out) \
    { \
        ((problem_words *)out)->field = script_text(L, key); \
    }
READ_TEXT(model)
READ_TEXT(model_prefix)
READ_TEXT(scheme)
READ_TEXT(layout)
READ_TEXT(text)

#define READ_RANKS(field) \
    static void read_##field(lua_State *L, const char *key, void *out) \
    { \
        ((problem_words *)out)->field = (uint32_t)script_whole(L, key, 1, 4096); \
    }
READ_RANKS(tp)
READ_RANKS(ep)

#define READ_LAYER(name, field, expression) \
    static void read_##name(lua_State *L, const char *key, void *out) \
    { \
        problem_words *words = out; \
        words->by_hand = true; \
        words->layer.field = expression; \
    }
READ_LAYER(experts, expert_count, (uint32_t)script_whole(L, key, 1, 4096))
READ_LAYER(top_k, top_k, (uint32_t)script_whole(L, key, 1, 64))
READ_LAYER(hidden, hidden, (uint32_t)script_whole(L, key, 1, 1u << 20))
READ_LAYER(intermediate, intermediate, (uint32_t)script_whole(L, key, 1, 1u << 20))
READ_LAYER(gated, gated, script_bool(L, key))
READ_LAYER(bias, bias, script_bool(L, key))

static void read_activation(lua_State *L, const char *key, void *out)
{
    problem_words *words = out;
    mj_error error = {MJ_OK, ""};
    words->by_hand = true;
    if (mj_activation_parse(script_text(L, key), &words->layer.activation, &error) != MJ_OK) {
        script_raise(L, &error);
    }
}

static const script_key problem_keys[] = {
    {"model", read_model},
    {"model_prefix", read_model_prefix},
    {"scheme", read_scheme},
    {"layout", read_layout},
    {"text", read_text},
    {"tp", read_tp},
    {"ep", read_ep},
    {"experts", read_experts},
    {"top_k", read_top_k},
    {"hidden", read_hidden},
    {"intermediate", read_intermediate},
    {"gated", read_gated},
    {"bias", read_bias},
    {"activation", read_activation},
};

/* What would be ignored beside the others is an error. */
static void check_words(lua_State *L, const problem_words *words)
{
    const mj_model *layer = &words->layer;
    if ((words->model != NULL) + (words->text != NULL) + words->by_hand != 1) {
        script_raisef(L, MJ_ERR_ARGUMENT,
                      "moe.problem: give model, or text, or experts, top_k, hidden and intermediate");
    }
    if (words->by_hand && (!layer->expert_count || !layer->top_k || !layer->hidden || !layer->intermediate)) {
        script_raisef(L, MJ_ERR_ARGUMENT, "moe.problem: experts, top_k, hidden and intermediate are due");
    }
    if (words->text && (words->scheme || words->tp || words->ep || words->model_prefix)) {
        script_raisef(L, MJ_ERR_ARGUMENT,
                      "moe.problem: text says all but the layout: leave out scheme, tp, ep and model_prefix");
    }
    if (words->model_prefix && !words->model) {
        script_raisef(L, MJ_ERR_ARGUMENT, "moe.problem: model_prefix is for a model that is a config.json");
    }
}

static mj_status build_problem(const mj_spec *spec, problem_words *words, script_problem *out, mj_error *error)
{
    char scheme[MJ_NAME_MAX];
    mj_config_scheme of_model = {0};
    mj_status status = MJ_OK;
    if (words->text) {
        snprintf(out->label, sizeof out->label, "as given by text");
        return mj_problem_parse(words->text, &out->problem, error);
    }
    if (words->model) {
        status = cli_find_model(spec, words->model, words->model_prefix, &words->layer, &of_model, error);
    } else {
        snprintf(words->layer.name, sizeof words->layer.name, "layer");
    }
    if (status == MJ_OK) {
        status = cli_find_scheme(spec, words->scheme, &of_model, scheme, error);
    }
    if (status == MJ_OK) {
        status = mj_problem_from_model(&words->layer, words->tp, words->ep, scheme, &out->problem, error);
    }
    snprintf(out->label, sizeof out->label, "%.64s, tp %u, ep %u", words->layer.name, words->tp, words->ep);
    return status;
}

static int api_problem(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TTABLE) {
        return script_raisef(L, MJ_ERR_ARGUMENT,
                             "moe.problem: a table is due, e.g. moe.problem{model = \"mixtral-8x7b\"}");
    }
    problem_words words = {.layer = {.gated = true, .activation = MJ_ACT_SILU, .verified = true}};
    script_read_table(L, 1, "moe.problem", problem_keys, KEY_COUNT(problem_keys), &words);
    check_words(L, &words);
    words.tp = words.tp ? words.tp : 1;
    words.ep = words.ep ? words.ep : 1;
    const mj_spec *spec = script_spec(L);
    script_problem *out = lua_newuserdatauv(L, sizeof *out, 0);
    memset(out, 0, sizeof *out);
    luaL_setmetatable(L, SCRIPT_PROBLEM);
    mj_error error = {MJ_OK, ""};
    if (build_problem(spec, &words, out, &error) != MJ_OK || mj_problem_check(&out->problem, &error) != MJ_OK ||
        cli_set_layout(words.layout, &out->problem, &error) != MJ_OK) {
        return script_raise(L, &error);
    }
    return 1;
}

static int problem_tostring(lua_State *L)
{
    const script_problem *self = luaL_checkudata(L, 1, SCRIPT_PROBLEM);
    char text[512] = "";
    mj_problem_print(&self->problem, text, sizeof text, NULL);
    lua_pushstring(L, text);
    return 1;
}

static int problem_index(lua_State *L)
{
    const script_problem *self = luaL_checkudata(L, 1, SCRIPT_PROBLEM);
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {
        {"experts", self->problem.expert_count},
        {"experts_total", self->problem.expert_total_count},
        {"top_k", self->problem.top_k},
        {"hidden", self->problem.hidden},
        {"intermediate", self->problem.intermediate},
    };
    const char *key = luaL_checkstring(L, 2);
    for (size_t i = 0; i < KEY_COUNT(numbers); i++) {
        if (strcmp(key, numbers[i].name) == 0) {
            lua_pushinteger(L, numbers[i].value);
            return 1;
        }
    }
    const struct {
        const char *name, *value;
    } texts[] = {{"scheme", self->problem.scheme}, {"layout", self->problem.layout}, {"label", self->label}};
    for (size_t i = 0; i < KEY_COUNT(texts); i++) {
        if (strcmp(key, texts[i].name) == 0) {
            lua_pushstring(L, texts[i].value);
            return 1;
        }
    }
    if (strcmp(key, "gated") == 0 || strcmp(key, "bias") == 0) {
        lua_pushboolean(L, key[0] == 'g' ? self->problem.gated : self->problem.bias);
        return 1;
    }
    static const char *const names[] = {"experts", "experts_total", "top_k", "hidden", "intermediate",
                                        "scheme",  "layout",        "label", "gated",  "bias"};
    const char *near = mj_nearest_name(key, names, KEY_COUNT(names));
    return script_raisef(L, MJ_ERR_ARGUMENT, "a problem has no field '%.80s'%s%s%s", key, near ? "; did you mean " : "",
                         near ? near : "", near ? "?" : "");
}

/* ---- Words that name a kernel: {arch, gemm | op, family, config, tokens} ---- */
const char *script_config_text(lua_State *L, const char *key)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        return lua_tostring(L, -1);
    }
    if (!lua_istable(L, -1)) {
        script_raisef(L, MJ_ERR_ARGUMENT, "%s: a table or text like \"tile_m=16\" is due", key);
    }
    mj_config config = {0};
    mj_error error = {MJ_OK, ""};
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        int32_t value = (int32_t)script_whole(L, name, 0, INT32_MAX);
        if (mj_config_set(&config, name, value, &error) != MJ_OK) {
            script_raise(L, &error);
        }
    }
    for (uint32_t i = 1; i < config.count; i++) { /* Lua's order of keys is not fixed */
        for (uint32_t j = i; j > 0 && strcmp(config.params[j - 1].name, config.params[j].name) > 0; j--) {
            mj_param swap = config.params[j];
            config.params[j] = config.params[j - 1];
            config.params[j - 1] = swap;
        }
    }
    char text[1024];
    if (mj_config_print(&config, text, sizeof text, &error) != MJ_OK) {
        script_raise(L, &error);
    }
    lua_pushstring(L, text);
    const char *kept = lua_tostring(L, -1);
    luaL_ref(L, LUA_REGISTRYINDEX); /* a script makes few of them: kept until it ends */
    return kept;
}

static void read_arch(lua_State *L, const char *key, void *out)
{
    ((cli_kernel_words *)out)->arch = script_text(L, key);
}

static void read_op(lua_State *L, const char *key, void *out)
{
    ((cli_kernel_words *)out)->op = script_text(L, key);
}

static void read_gemm(lua_State *L, const char *key, void *out)
{
    ((cli_kernel_words *)out)->op = script_whole(L, key, 1, 2) == 1 ? "gemm1" : "gemm2";
}

static void read_family(lua_State *L, const char *key, void *out)
{
    ((cli_kernel_words *)out)->family = script_text(L, key);
}

static void read_kernel_tokens(lua_State *L, const char *key, void *out)
{
    ((cli_kernel_words *)out)->tokens = (uint32_t)script_whole(L, key, 1, 1u << 20);
}

static void read_config(lua_State *L, const char *key, void *out)
{
    ((cli_kernel_words *)out)->config = script_config_text(L, key);
}

/* The first SCRIPT_TARGET_KEY_COUNT serve spaces too. */
const script_key script_target_keys[] = {{"arch", read_arch},     {"op", read_op},
                                         {"gemm", read_gemm},     {"family", read_family},
                                         {"config", read_config}, {"tokens", read_kernel_tokens}};

static const mj_spec *resolve_kernel(lua_State *L, const char *what, cli_kernel *out)
{
    const script_problem *self = luaL_checkudata(L, 1, SCRIPT_PROBLEM);
    cli_kernel_words words = {0};
    script_read_table(L, 2, what, script_target_keys, KEY_COUNT(script_target_keys), &words);
    const mj_spec *spec = script_spec(L);
    mj_error error = {MJ_OK, ""};
    if (cli_kernel_resolve(spec, &self->problem, &words, out, &error) != MJ_OK) {
        script_raise(L, &error);
    }
    return spec;
}

static int api_gen(lua_State *L)
{
    cli_kernel kernel;
    const mj_spec *spec = resolve_kernel(L, "moe.gen", &kernel);
    mj_kernel_source source = {0};
    mj_error error = {MJ_OK, ""};
    if (mj_generate(spec, &kernel.desc, NULL, &source, &error) != MJ_OK) {
        return script_raise(L, &error);
    }
    mj_json *manifest = mj_manifest_to_json(&source.manifest);
    lua_pushlstring(L, source.text, source.bytes);
    mj_kernel_source_free(&source);
    script_push_json(L, manifest);
    return 2;
}

static int api_why(lua_State *L)
{
    cli_kernel kernel;
    const mj_spec *spec = resolve_kernel(L, "moe.why", &kernel);
    mj_verdict verdict = {0};
    lua_pushboolean(L, mj_legal(spec, &kernel.desc, &verdict));
    lua_newtable(L);
    for (uint32_t i = 0; i < verdict.refusal_count; i++) {
        const mj_refusal *refusal = &verdict.refusals[i];
        lua_newtable(L);
        lua_pushstring(L, refusal->rule);
        lua_setfield(L, -2, "rule");
        lua_pushstring(L, refusal->reason);
        lua_setfield(L, -2, "reason");
        lua_pushnumber(L, refusal->measured);
        lua_setfield(L, -2, "measured");
        lua_pushnumber(L, refusal->limit);
        lua_setfield(L, -2, "limit");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* ---- The rest of moe ---- */
typedef struct routing_words {
    const char *name;
    uint32_t tokens;
    uint64_t seed;
} routing_words;

static void read_routing_name(lua_State *L, const char *key, void *out)
{
    ((routing_words *)out)->name = script_text(L, key);
}

static void read_routing_tokens(lua_State *L, const char *key, void *out)
{
    ((routing_words *)out)->tokens = (uint32_t)script_whole(L, key, 1, 1u << 20);
}

static void read_routing_seed(lua_State *L, const char *key, void *out)
{
    ((routing_words *)out)->seed = script_whole(L, key, 0, INT64_MAX);
}

static int api_routing(lua_State *L)
{
    static const script_key keys[] = {
        {"routing", read_routing_name}, {"tokens", read_routing_tokens}, {"seed", read_routing_seed}};
    const script_problem *self = luaL_checkudata(L, 1, SCRIPT_PROBLEM);
    routing_words words = {.name = "uniform", .tokens = 64};
    script_read_table(L, 2, "moe.routing", keys, KEY_COUNT(keys), &words);
    size_t pairs = (size_t)words.tokens * self->problem.top_k;
    int32_t *ids = lua_newuserdatauv(L, pairs * sizeof *ids, 0);
    float *weights = lua_newuserdatauv(L, pairs * sizeof *weights, 0);
    uint32_t *rows = lua_newuserdatauv(L, self->problem.expert_count * sizeof *rows, 0);
    mj_error error = {MJ_OK, ""};
    if (mj_routing_sample(&self->problem, words.name, words.seed, words.tokens, ids, weights, &error) != MJ_OK) {
        return script_raise(L, &error);
    }
    uint64_t local_rows = 0;
    uint32_t active = mj_routing_histogram(&self->problem, ids, words.tokens, rows, &local_rows);
    lua_newtable(L);
    lua_createtable(L, (int)self->problem.expert_count, 0);
    for (uint32_t i = 0; i < self->problem.expert_count; i++) {
        lua_pushinteger(L, rows[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "rows");
    lua_pushinteger(L, active);
    lua_setfield(L, -2, "active");
    lua_pushinteger(L, self->problem.expert_count - active);
    lua_setfield(L, -2, "dead");
    lua_pushinteger(L, (lua_Integer)local_rows);
    lua_setfield(L, -2, "local_rows");
    return 1;
}

static int api_devices(lua_State *L)
{
    enum { DEVICES_MAX = 64 };
    mj_device_info *infos = lua_newuserdatauv(L, DEVICES_MAX * sizeof *infos, 0);
    uint32_t count = 0;
    mj_error error = {MJ_OK, ""};
    if (mj_device_list(script_host_of(L)->context, infos, DEVICES_MAX, &count, &error) != MJ_OK) {
        return script_raise(L, &error);
    }
    mj_json *list = mj_json_array();
    for (uint32_t i = 0; i < count && i < DEVICES_MAX; i++) {
        mj_json_push(list, cli_device_json(&infos[i]));
    }
    script_push_json(L, list);
    return 1;
}

static int api_models(lua_State *L)
{
    const mj_spec *spec = script_spec(L);
    mj_json *list = mj_json_array();
    for (uint32_t i = 0; i < mj_spec_model_count(spec); i++) {
        mj_json_push(list, cli_model_json(mj_spec_model_at(spec, i)));
    }
    script_push_json(L, list);
    return 1;
}

/* Whole or not at all; missing folders are made. */
void script_write_file(lua_State *L, const char *path, const char *text, size_t bytes)
{
    mj_error error = {MJ_OK, ""};
    const char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        lua_pushlstring(L, path, (size_t)(slash - path));
        if (mj_os_make_folder(lua_tostring(L, -1), &error) != MJ_OK) {
            error.status = MJ_ERR_IO;
            script_raise(L, &error);
        }
        lua_pop(L, 1);
    }
    if (mj_os_write_file_atomic(path, text, bytes, 0644, &error) != MJ_OK) {
        error.status = MJ_ERR_IO;
        script_raise(L, &error);
    }
}

static int api_write(lua_State *L)
{
    size_t bytes;
    const char *path = luaL_checkstring(L, 1);
    const char *text = luaL_checklstring(L, 2, &bytes);
    script_write_file(L, path, text, bytes);
    return 0;
}

static int api_json(lua_State *L)
{
    luaL_checkany(L, 1);
    mj_json *value = script_to_json(L, 1);
    char *text = mj_json_print(value, true);
    mj_json_free(value);
    if (!text) {
        return script_raisef(L, MJ_ERR_MEMORY, "out of memory");
    }
    lua_pushstring(L, text);
    free(text);
    return 1;
}

void script_open_api(lua_State *L)
{
    static const luaL_Reg functions[] = {{"problem", api_problem},
                                         {"space", script_api_space},
                                         {"tune", script_api_tune},
                                         {"bench", script_api_bench},
                                         {"verify", script_api_verify},
                                         {"gen", api_gen},
                                         {"why", api_why},
                                         {"routing", api_routing},
                                         {"devices", api_devices},
                                         {"models", api_models},
                                         {"write", api_write},
                                         {"json", api_json},
                                         {NULL, NULL}};
    luaL_newmetatable(L, SCRIPT_PROBLEM);
    lua_pushcfunction(L, problem_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, problem_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, script_cannot_change);
    lua_setfield(L, -2, "__newindex");
    lua_pop(L, 1);
    script_open_space(L);
    script_open_result(L);
    luaL_newlib(L, functions);
    lua_pushstring(L, mj_version());
    lua_setfield(L, -2, "version");
    script_name_missing(L, "moe");
    lua_setglobal(L, "moe");
}
