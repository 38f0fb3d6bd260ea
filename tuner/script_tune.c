/* script_tune.c: moe.tune, moe.bench, moe.verify and their results. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "report.h"
#include "routing.h"
#include "script_lua.h"

#define KEY_COUNT(keys) (sizeof(keys) / sizeof(keys)[0])
enum { LIST_MAX = 256 };

typedef struct run_words {
    mj_tune_options options;
    uint32_t tokens[LIST_MAX];
    const char *routings[LIST_MAX];
    const char *effort, *device, *config;
    bool quiet, candidates;
} run_words;

/* ---- Options ---- */
/* Calls `read` for the value on top, or for each item if it is a list. */
static void each_item(lua_State *L, const char *key, void (*read)(lua_State *, const char *, run_words *),
                      run_words *words)
{
    if (!lua_istable(L, -1)) {
        read(L, key, words);
        return;
    }
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    if (count < 1 || count > LIST_MAX) {
        script_raisef(L, MJ_ERR_ARGUMENT, "%s: a list of 1..%d values is due", key, LIST_MAX);
    }
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        read(L, key, words);
        lua_pop(L, 1);
    }
}

static void add_tokens(lua_State *L, const char *key, run_words *words)
{
    words->tokens[words->options.token_count_count++] = (uint32_t)script_whole(L, key, 1, 1u << 20);
}

static void add_routing(lua_State *L, const char *key, run_words *words)
{
    uint32_t count;
    const char *const *names = mj_routing_names(&count);
    const char *name = script_text(L, key);
    if (strcmp(name, "all") != 0) {
        count = 1;
        names = &name;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (words->options.routing_count == LIST_MAX) {
            script_raisef(L, MJ_ERR_ARGUMENT, "%s: more than %d values", key, LIST_MAX);
        }
        words->routings[words->options.routing_count++] = names[i];
    }
}

static void read_tokens(lua_State *L, const char *key, void *out)
{
    each_item(L, key, add_tokens, out);
}

static void read_routing(lua_State *L, const char *key, void *out)
{
    each_item(L, key, add_routing, out);
}

static void read_seed(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.seed = script_whole(L, key, 0, INT64_MAX);
}

static void read_jobs(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.compile_processes = (uint32_t)script_whole(L, key, 1, 4096);
}

static void read_device(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.device = script_text(L, key);
}

static void read_save_dir(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.save_dir = script_text(L, key);
}

static void read_family(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.family = script_text(L, key);
}

static void read_against(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.against = script_text(L, key);
}

static void read_arch(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.arch = script_text(L, key);
}

static void read_config(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->config = script_config_text(L, key);
}

static void read_force(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.force = script_bool(L, key);
}

static void read_fused(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->options.no_stand_ins = !script_bool(L, key);
}

static void read_quiet(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->quiet = script_bool(L, key);
}

static void read_candidates(lua_State *L, const char *key, void *out)
{
    ((run_words *)out)->candidates = script_bool(L, key);
}

static void read_gemm(lua_State *L, const char *key, void *out)
{
    run_words *words = out;
    words->options.gemm1_only = script_whole(L, key, 1, 2) == 1;
    words->options.gemm2_only = !words->options.gemm1_only;
}

static void read_effort(lua_State *L, const char *key, void *out)
{
    static const char *const names[MJ_EFFORT_COUNT] = {"estimate", "quick", "full"}; /* ORDER EFFORT */
    run_words *words = out;
    words->effort = script_text(L, key);
    for (int i = 0; i < MJ_EFFORT_COUNT; i++) {
        if (strcmp(words->effort, names[i]) == 0) {
            words->options.effort = (mj_effort)i;
            return;
        }
    }
    script_raisef(L, MJ_ERR_ARGUMENT, "effort: '%s' is not estimate, quick or full", words->effort);
}

static void read_budget(lua_State *L, const char *key, void *out)
{
    double *seconds = &((run_words *)out)->options.budget_seconds;
    if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) > 0) {
        *seconds = lua_tonumber(L, -1);
    } else if (!cli_parse_seconds(script_text(L, key), seconds)) {
        script_raisef(L, MJ_ERR_ARGUMENT, "budget: '%s' is not a time like 90, \"5m\" or \"1h\"", lua_tostring(L, -1));
    }
}

static void read_mem(lua_State *L, const char *key, void *out)
{
    uint64_t *bytes = &((run_words *)out)->options.device_bytes_max;
    if (lua_type(L, -1) == LUA_TNUMBER) {
        *bytes = script_whole(L, key, 1, INT64_MAX);
    } else if (!cli_parse_bytes(script_text(L, key), bytes)) {
        script_raisef(L, MJ_ERR_ARGUMENT, "mem: '%s' is not a size like \"16G\"", lua_tostring(L, -1));
    }
}

static const script_key run_keys[] = {
    {"tokens", read_tokens}, {"routing", read_routing},       {"seed", read_seed},
    {"device", read_device}, {"effort", read_effort},         {"budget", read_budget},
    {"mem", read_mem},       {"force", read_force},           {"gemm", read_gemm},
    {"jobs", read_jobs},     {"save_dir", read_save_dir},     {"family", read_family},
    {"config", read_config}, {"quiet", read_quiet},           {"against", read_against},
    {"arch", read_arch},     {"candidates", read_candidates}, {"fused", read_fused},
};

static void fill_config(lua_State *L, run_words *words)
{
    if (!words->config) {
        return;
    }
    if (!words->options.family) {
        script_raisef(L, MJ_ERR_ARGUMENT, "config needs family: it is a point of one family's space");
    }
    const mj_space *space = NULL;
    mj_config config;
    char text[1024];
    mj_error error = {MJ_OK, ""};
    if (mj_spec_find_space(script_spec(L), words->options.family, &space, &error) != MJ_OK ||
        cli_kernel_config(space, words->config, &config, &error) != MJ_OK ||
        mj_config_print(&config, text, sizeof text, &error) != MJ_OK) {
        script_raise(L, &error);
    }
    words->options.config = lua_pushstring(L, text); /* stays on the stack during the call */
}

/* ---- The space as mj_tune_options.accept ---- */
typedef struct run_user {
    progress shown; /* first: progress_step and progress_candidate see only this */
    lua_State *L;
    int space;           /* stack index, 0: none */
    bool failed;         /* the message is on top of the stack */
    mj_json *candidates; /* an array to append to; NULL: not asked for */
} run_user;

typedef struct accept_call {
    mj_op op;
    const mj_config *config;
    bool accepted;
} accept_call;

static int accept_protected(lua_State *L)
{
    accept_call *call = lua_touserdata(L, 1);
    call->accepted = script_space_refuses(L, 2, call->op, call->config) == NULL;
    return 0;
}

/* A script's error must not jump over the tuner's frames: it is kept, everything is refused, and
 * raised afterwards. */
static bool accept_config(void *user, mj_op op, const char *family, const mj_config *config)
{
    run_user *run = user;
    (void)family; /* options.family is the space's */
    if (run->failed) {
        return false;
    }
    accept_call call = {.op = op, .config = config};
    lua_pushcfunction(run->L, accept_protected);
    lua_pushlightuserdata(run->L, &call);
    lua_pushvalue(run->L, run->space);
    run->failed = lua_pcall(run->L, 2, 0, 0) != LUA_OK;
    return !run->failed && call.accepted;
}

/* Every end of a stage: finalists come twice. */
static void candidate(void *user, const mj_candidate_result *found)
{
    run_user *run = user;
    progress_candidate(user, found);
    mj_json *out = run->candidates ? mj_json_push(run->candidates, mj_json_object()) : NULL;
    mj_json_add_int(out, "tokens", found->token_count);
    mj_json_add_string(out, "routing", found->routing);
    mj_json_add_string(out, "op", mj_op_name(found->op));
    mj_json_add_string(out, "family", found->family);
    mj_json_add(out, "config", mj_config_to_json(&found->config));
    mj_json_add_string(out, "result", mj_reason_text(found->reason));
    mj_json_add_number(out, "estimate_us", found->estimate_us);
    mj_json_add_number(out, "time_us_median", found->time_us_median);
    mj_json_add_number(out, "time_us_spread", found->time_us_spread);
    mj_json_add_int(out, "samples", found->sample_count);
    mj_json_add_number(out, "compile_seconds", found->compile_seconds);
}

static bool step(void *user, const mj_tune_progress *now)
{
    return progress_step(user, now) && !((run_user *)user)->failed;
}

/* ---- Results ---- */
/* result.best[tokens][routing][op] = row, for the rows at the top of the stack's result. */
static void add_best(lua_State *L, int result)
{
    lua_newtable(L);
    int best = lua_gettop(L);
    lua_getfield(L, result, "rows");
    int rows = best + 1;
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, rows); i++) {
        lua_settop(L, rows);
        lua_rawgeti(L, rows, i);
        lua_getfield(L, -1, "tokens");
        lua_Integer tokens = lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (lua_rawgeti(L, best, tokens) != LUA_TTABLE) {
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_rawseti(L, best, tokens);
        }
        lua_getfield(L, rows + 1, "routing");
        luaL_getsubtable(L, -2, lua_tostring(L, -1));
        lua_getfield(L, rows + 1, "op");
        lua_pushvalue(L, rows + 1);
        lua_settable(L, -3);
    }
    lua_settop(L, best);
    lua_setfield(L, result, "best");
}

typedef struct run_result { /* what must be freed whatever Lua does */
    mj_tune_result tuned;
    char *text, *json_text;
    mj_json *json, *candidates;
} run_result;

static void run_result_free(run_result *result)
{
    mj_tune_result_free(&result->tuned);
    free(result->text);
    free(result->json_text);
    mj_json_free(result->json);
    mj_json_free(result->candidates);
}

static bool print_to_memory(const report_subject *subject, run_result *result)
{
    size_t bytes = 0;
    FILE *out = open_memstream(&result->text, &bytes);
    if (!out) {
        return false;
    }
    if (strcmp(subject->command, "verify") == 0) {
        report_print_verify(out, subject, &result->tuned);
    } else if (subject->predicted) {
        report_print_predictions(out, subject, &result->tuned);
    } else {
        report_print(out, subject, &result->tuned);
    }
    return fclose(out) == 0;
}

static int push_result_protected(lua_State *L)
{
    run_result *result = lua_touserdata(L, 1);
    mj_json *json = result->json, *candidates = result->candidates;
    result->json = NULL;
    script_push_json(L, json);
    if (candidates) {
        result->candidates = NULL;
        script_push_json(L, candidates);
        lua_setfield(L, 2, "candidates");
    }
    lua_pushstring(L, result->text);
    lua_setfield(L, 2, "text");
    lua_pushstring(L, result->json_text);
    lua_setfield(L, 2, "json");
    add_best(L, 2);
    lua_settop(L, 2);
    luaL_setmetatable(L, SCRIPT_RESULT);
    return 1;
}

/* Pushes the result's table and frees what it came from. */
static void push_result(lua_State *L, const report_subject *subject, run_result *result)
{
    bool good = print_to_memory(subject, result);
    result->json = good ? report_json(subject, &result->tuned) : NULL;
    result->json_text = result->json ? mj_json_print(result->json, true) : NULL;
    int failed = LUA_OK;
    if (result->json_text) {
        lua_pushcfunction(L, push_result_protected);
        lua_pushlightuserdata(L, result);
        failed = lua_pcall(L, 1, 1, 0);
    }
    bool complete = result->json_text != NULL;
    run_result_free(result);
    if (!complete) {
        script_raisef(L, MJ_ERR_MEMORY, "out of memory");
    }
    if (failed) {
        lua_error(L);
    }
}

static int result_print(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getglobal(L, "io");
    lua_getfield(L, -1, "write");
    lua_getfield(L, 1, "text");
    lua_call(L, 1, 0);
    return 0;
}

static int result_save(lua_State *L)
{
    size_t bytes;
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *path = luaL_checkstring(L, 2);
    lua_getfield(L, 1, "json");
    const char *text = luaL_checklstring(L, -1, &bytes);
    lua_pushfstring(L, "%s\n", text);
    text = lua_tolstring(L, -1, &bytes);
    script_write_file(L, path, text, bytes);
    return 0;
}

void script_open_result(lua_State *L)
{
    static const luaL_Reg methods[] = {{"print", result_print}, {"save", result_save}, {NULL, NULL}};
    luaL_newmetatable(L, SCRIPT_RESULT);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

/* ---- The three verbs ---- */
typedef mj_status (*measure_fn)(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                                mj_tune_result *out, mj_error *error);

static void use_space(lua_State *L, int index, run_user *user, mj_tune_options *options)
{
    if (index == 0 || lua_isnil(L, index)) {
        return;
    }
    script_check_space(L, index);
    if (options->family) {
        script_raisef(L, MJ_ERR_ARGUMENT, "moe.tune: the space has a family already: leave out family");
    }
    lua_getfield(L, index, "family");
    options->family = lua_tostring(L, -1); /* stays on the stack during the call */
    options->accept = accept_config;
    user->space = index;
}

/* `space` and `problem`: indices of the arguments; the options are the one after `problem`. */
static int measure(lua_State *L, const char *command, measure_fn run, int space, int problem)
{
    script_host *host = script_host_of(L);
    if (cli_interrupted()) {
        return script_raisef(L, MJ_ERR_INTERRUPTED, "interrupted");
    }
    const script_problem *self = luaL_checkudata(L, problem, SCRIPT_PROBLEM);
    lua_settop(L, problem + 1);
    run_words *words = lua_newuserdatauv(L, sizeof *words, 0);
    memset(words, 0, sizeof *words);
    words->options.effort = MJ_EFFORT_QUICK;
    words->options.device = host->options->device;
    words->options.save_dir = host->options->save_dir;
    words->quiet = host->options->quiet;
    char what[32];
    snprintf(what, sizeof what, "moe.%s", command);
    script_read_table(L, problem + 1, what, run_keys, KEY_COUNT(run_keys), words);
    fill_config(L, words);
    words->options.token_counts = words->options.token_count_count ? words->tokens : NULL;
    words->options.routings = words->options.routing_count ? words->routings : NULL;
    run_user user = {.L = L};
    progress_start(&user.shown, stderr, words->quiet, host->options->verbose, cli_interrupted);
    use_space(L, space, &user, &words->options);
    words->options.progress = step;
    words->options.candidate = candidate;
    words->options.user = &user;
    luaL_checkstack(L, 8, "too many values");
    fflush(stdout);
    run_result result;
    memset(&result, 0, sizeof result);
    user.candidates = result.candidates = words->candidates ? mj_json_array() : NULL;
    mj_error error = {MJ_OK, ""};
    mj_status status = run(host->context, &self->problem, &words->options, &result.tuned, &error);
    progress_end(&user.shown);
    if (user.failed) {
        run_result_free(&result);
        return lua_error(L);
    }
    host->interrupt_told |= status == MJ_ERR_INTERRUPTED;
    bool partial = status == MJ_ERR_INTERRUPTED;                          /* a spent budget is no failure */
    bool wrong = status == MJ_ERR_WRONG_RESULT && result.tuned.row_count; /* verify: the rows say which */
    const char *not_saved = result.tuned.not_saved;                       /* cut, where the error is long */
    bool unsaved = status != MJ_OK && not_saved[0] && strncmp(error.text, not_saved, strlen(not_saved)) == 0;
    if (status != MJ_OK && !partial && !wrong && !unsaved) {
        run_result_free(&result);
        return script_raise(L, &error);
    }
    if (unsaved) {
        luaL_where(L, 1);
        cli_error("%s%s", lua_tostring(L, -1), error.text);
        host->unsaved = cli_exit_of(status);
    }
    const mj_arch *arch = NULL;
    mj_spec_find_arch(script_spec(L), result.tuned.arch, &arch, NULL);
    report_subject subject = {.command = command,
                              .predicted = words->options.effort == MJ_EFFORT_ESTIMATE && run != mj_verify,
                              .arch_gbps = arch ? arch->typical.memory_gbps : 0,
                              .arch_tflops = arch && arch->warp_size > 1 ? arch->typical.matrix_tflops : 0,
                              .label = self->label,
                              .effort = words->effort,
                              .problem = &self->problem,
                              .seed = words->options.seed,
                              .interrupted = status == MJ_ERR_INTERRUPTED};
    push_result(L, &subject, &result);
    return 1;
}

int script_api_tune(lua_State *L)
{
    if (luaL_testudata(L, 1, SCRIPT_PROBLEM)) {
        return script_raisef(L, MJ_ERR_ARGUMENT, "moe.tune(space or nil, problem, options): the space comes first");
    }
    return measure(L, "tune", mj_tune, 1, 2);
}

int script_api_bench(lua_State *L)
{
    return measure(L, "bench", mj_bench, 0, 1);
}

int script_api_verify(lua_State *L)
{
    return measure(L, "verify", mj_verify, 0, 1);
}
