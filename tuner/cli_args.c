/* cli_args.c: the command line as a table: one row per option, with the commands that take it. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "routing.h"

#define STUDY_MODEL "qwen3.5-35b-a3b"

typedef enum option_kind {
    KIND_FLAG,  /* bool = true */
    KIND_COUNT, /* uint32_t + 1 */
    KIND_TEXT,  /* const char * */
    KIND_LIST,  /* cli_list: several values, commas, or repeated */
    KIND_U32,   /* 1..min_max */
    KIND_U64,
    KIND_SECONDS,
    KIND_BYTES,
    KIND_EFFORT,
    KIND_GEMM /* 1 or 2 -> op "gemm1", "gemm2" */
} option_kind;

#define C(name) (1u << CLI_CMD_##name)
#define ALL     (~0u)
#define MEASURE (C(TUNE) | C(BENCH) | C(VERIFY))
#define KERNEL  (C(GEN) | C(WHY))
#define LAYER   (MEASURE | KERNEL | C(ROUTING) | C(EMIT))

typedef struct option_row {
    const char *name;       /* without dashes */
    const char *aliases[3]; /* as typed */
    option_kind kind;
    const char *value; /* NULL: takes none */
    size_t offset;
    uint32_t commands;
    const char *doc;
} option_row;

#define AT(field) offsetof(cli_options, field)

/* clang-format off */
static const option_row rows[] = {
    {"model", {"-m"}, KIND_TEXT, "NAME|ID|PATH", AT(model), LAYER | C(MODELS),
     "a built-in model, its Hugging Face id, or the path of a config.json (or its folder)"},
    {"model-prefix", {NULL}, KIND_TEXT, "KEY", AT(model_prefix), LAYER | C(MODELS),
     "key of config.json under which the MoE model lies, dots descend (found by itself for\n"
     "text_config, thinker_config.text_config, ffn_config)"},
    {"problem", {NULL}, KIND_TEXT, "TEXT", AT(problem), LAYER,
     "instead of --model: canonical text, e.g.\n"
     "E=8/8,topk=2,H=4096,N=7168,gated=1,act=silu,bias=0,scheme=bf16,layout=default"},
    {"tp", {"-tp", "--tp-size", "--tensor-parallel-size"}, KIND_U32, "N", AT(tp), LAYER,
     "tensor parallel ranks: each holds 1/N of every expert's width (default 1)"},
    {"ep", {"--ep-size"}, KIND_U32, "N", AT(ep), LAYER,
     "expert parallel ranks: each holds 1/N of the experts (default 1)"},
    {"enable-expert-parallel", {"-enable-ep"}, KIND_FLAG, NULL, AT(expert_parallel), LAYER,
     "vLLM's meaning: the --tp ranks divide the experts instead (ep = tp, then tp = 1)"},
    {"scheme", {"--dtype"}, KIND_TEXT, "NAME", AT(scheme), LAYER,
     "weight format: auto (what a config.json's quantization_config says; built-in names: bf16, whatever the model was\n"
     "released in), bf16, fp16, fp8_w8a8[_channel|_block][_fnuz], int4_w4a16[_g64|_g32][_zp][_fp16] (default auto)"},
    {"layout", {NULL}, KIND_TEXT, "NAME", AT(layout), MEASURE | KERNEL | C(EMIT),
     "how the first GEMM's weights lie: default (gate rows, then up rows) or interleaved8 (turns of 8 rows, as the library's\n"
     "mj_weights_pack leaves them); results of one are not used for another (default: what --problem says, else default)"},
    {"batch", {"--batch-size", "-b", "--batch-sizes"}, KIND_LIST, "M...", AT(batch), LAYER,
     "numbers of tokens, with blanks or commas between\n"
     "(default: tune, bench, verify on a GPU, and emit: 1 2 4 8 16 24 32 48 64 96 128 256 512 1024 1536 2048 3072 4096;\n"
     "tune, bench, verify on the CPU: 1 16 64; routing: 1 16 64 256 1024 4096; gen, why: 64)"},
    {"device", {"-d"}, KIND_TEXT, "ID", AT(device), MEASURE | C(DEVICES) | C(RUN),
     "cuda:0, hip:0, cpu or best (default best: the first usable GPU, else the CPU)"},
    {"routing", {NULL}, KIND_LIST, "NAME...", AT(routing), MEASURE | C(ROUTING),
     "balanced, uniform, zipf1, zipf2, hot16, or all of them (default uniform; `routing` shows all)"},
    {"seed", {NULL}, KIND_U64, "N", AT(seed), MEASURE | C(ROUTING),
     "of routing and data (default 0)"},
    {"save-dir", {NULL}, KIND_TEXT, "DIR", AT(save_dir), MEASURE | C(GEN) | C(EMIT) | C(RUN),
     "the store: where tuned results are written and looked up\n"
     "(default $MOEJIT_STORE_DIR, else $XDG_DATA_HOME/moejit, else ~/.local/share/moejit)"},
    {"effort", {NULL}, KIND_EFFORT, "LEVEL", AT(effort), C(TUNE) | C(BENCH),
     "estimate (nothing measured or saved: the predictions), quick (the estimate's best few; default),\n"
     "full (every legal config: thousands, half an hour on a GPU); bench: estimate, or with --tune"},
    {"budget", {NULL}, KIND_SECONDS, "TIME", AT(budget_seconds), MEASURE,
     "stop after 90, 90s, 5m, 1h and keep what is finished (default none)"},
    {"mem", {NULL}, KIND_BYTES, "BYTES", AT(device_bytes_max), MEASURE,
     "device memory to use at most, e.g. 16G (default nine tenths of what is free)"},
    {"force", {"-f"}, KIND_FLAG, NULL, AT(force), C(TUNE) | C(BENCH) | C(EMIT),
     "measure again what is already tuned (otherwise skipped), and move a store of another version\n"
     "aside; bench: only with --tune; emit: replace the pack of another problem or arch in --out"},
    {"dry-run", {"-n"}, KIND_FLAG, NULL, AT(dry_run), MEASURE,
     "print the number of candidates and the estimated time, start nothing"},
    {"jobs", {"-j"}, KIND_U32, "N", AT(jobs), MEASURE | C(EMIT),
     "compiler processes (default: one per core)"},
    {"tune", {NULL}, KIND_FLAG, NULL, AT(tune), C(TUNE) | C(BENCH),
     "as in benchmark_moe.py: `moejit --model X --tune` is `moejit tune --model X`"},
    {"use-deep-gemm", {NULL}, KIND_FLAG, NULL, AT(use_deep_gemm), C(TUNE) | C(BENCH),
     "refused with the reason (benchmark_moe.py's spelling)"},
    {"trust-remote-code", {NULL}, KIND_FLAG, NULL, AT(trust_remote_code), C(TUNE) | C(BENCH),
     "refused with the reason (benchmark_moe.py's spelling)"},
    {"arch", {NULL}, KIND_LIST, "NAME...", AT(arch), KERNEL | C(EMIT),
     "target, present or not: sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a gfx90a gfx942 gfx950 gfx1100 gfx1151\n"
     "gfx1200 gfx1201 cpu (default sm_90a)"},
    {"family", {NULL}, KIND_TEXT, "NAME", AT(family), MEASURE | KERNEL | C(EMIT),
     "template: reference, cpu, wgmma (sm_90a), mma (NVIDIA), mfma (gfx9), wmma (gfx11 and 12)\n"
     "(default: what the estimate would choose)"},
    {"arch", {NULL}, KIND_TEXT, "NAME", AT(estimate_arch), C(TUNE) | C(BENCH),
     "with --effort estimate: predict for this arch's typical device, present or not"},
    {"against", {NULL}, KIND_TEXT, "FAMILY", AT(against), C(BENCH),
     "also time what the estimate would choose of this family, in turns with each row's own config\n"
     "(default none; with --routing all: reference)"},
    {"gemm", {NULL}, KIND_LIST, "1|2|1,2", AT(gemms), MEASURE,
     "only these: 1 is gate and up (also with the activation in one), 2 is down (also with combine; default both)"},
    {"gemm", {NULL}, KIND_GEMM, "1|2", AT(op), KERNEL | C(EMIT),
     "gate and up, or down (gen, why: default 1; emit: the one that --config is for)"},
    {"op", {NULL}, KIND_TEXT, "NAME", AT(op), KERNEL,
     "any step of the layer: tables, gemm1, gemm1_act, gemm1_quantise, activation, gemm2, gemm2_combine,\n"
     "combine, quantise1, quantise2"},
    {"config", {"-c"}, KIND_TEXT, "NAME=VALUE,...", AT(config), KERNEL | C(EMIT) | C(BENCH) | C(VERIFY),
     "tile config; names left out keep the default's value\n"
     "(default: what the estimate would choose)"},
    {"prelude", {NULL}, KIND_TEXT, "NAME", AT(prelude), C(GEN),
     "cuda, hip or host: host is lane-accurate C for any CPU (default: the arch's own)"},
    {"manifest", {NULL}, KIND_FLAG, NULL, AT(manifest), C(GEN),
     "print the launch manifest as JSON instead of the source"},
    {"out", {"-o"}, KIND_TEXT, "PATH", AT(out), KERNEL | C(EMIT),
     "write there instead of stdout (emit: the folder to create)"},
    {"keep", {NULL}, KIND_BYTES, "BYTES", AT(keep_bytes), C(CACHE),
     "clean: keep the most recently used binaries up to this size (default 0: none)"},
    {"cache-dir", {NULL}, KIND_TEXT, "DIR", AT(cache_dir), MEASURE | C(EMIT) | C(RUN) | C(CACHE),
     "compiled binaries (default $MOEJIT_CACHE_DIR, else $XDG_CACHE_HOME/moejit)"},
    {"data-dir", {NULL}, KIND_TEXT, "DIR", AT(data_dir), ALL & ~(C(HELP) | C(CACHE)),
     "read lua/ and templates/ below DIR instead of the built-in ones"},
    {"json", {NULL}, KIND_FLAG, NULL, AT(json), ALL & ~(C(RUN) | C(HELP) | C(GEN)),
     "the result as JSON on stdout"},
    {"verbose", {"-v"}, KIND_COUNT, NULL, AT(verbose), ALL,
     "say more; -v -v: every kernel"},
    {"quiet", {"-q"}, KIND_FLAG, NULL, AT(quiet), ALL,
     "no progress, no notes"},
    {"help", {"-h"}, KIND_FLAG, NULL, AT(help), ALL,
     "this text"},
    {"version", {NULL}, KIND_FLAG, NULL, AT(version), ALL,
     "the version, and stop"},
};
/* clang-format on */
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

/* ---- Looking options up ---- */
static const option_row *find_option(const char *word, uint32_t command_bit, bool *elsewhere)
{
    *elsewhere = false;
    for (size_t i = 0; i < ROW_COUNT; i++) {
        bool hit = word[0] == '-' && word[1] == '-' && strcmp(word + 2, rows[i].name) == 0;
        for (size_t a = 0; a < 3 && rows[i].aliases[a] && !hit; a++) {
            hit = strcmp(word, rows[i].aliases[a]) == 0;
        }
        if (hit && (rows[i].commands & command_bit)) {
            return &rows[i];
        }
        *elsewhere = *elsewhere || hit;
    }
    return NULL;
}

static cli_exit unknown_option(const char *word, const cli_command *command, bool elsewhere)
{
    if (elsewhere) {
        cli_error("%s takes no option %s (see `moejit %s --help`)", command->name, word, command->name);
        return CLI_USAGE;
    }
    char names[ROW_COUNT * 4][48];
    const char *list[ROW_COUNT * 4];
    size_t count = 0;
    uint32_t bit = 1u << (command - cli_commands);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (!(rows[i].commands & bit)) {
            continue;
        }
        snprintf(names[count], sizeof names[count], "--%s", rows[i].name);
        list[count] = names[count];
        count++;
        for (size_t a = 0; a < 3 && rows[i].aliases[a]; a++) {
            list[count++] = rows[i].aliases[a];
        }
    }
    const char *near = mj_nearest_name(word, list, count);
    cli_error("%s: unknown option %s%s%s%s", command->name, word, near ? "; did you mean " : "", near ? near : "",
              near ? "?" : "");
    return CLI_USAGE;
}

/* ---- Values ---- */
static cli_exit bad_value(const char *option, const char *value, const char *wanted)
{
    cli_error("%s: '%s' is not %s", option, value, wanted);
    return CLI_USAGE;
}

static cli_exit parse_effort(const char *option, const char *value, mj_effort *out)
{
    static const char *const names[MJ_EFFORT_COUNT] = {"estimate", "quick", "full"}; /* ORDER EFFORT */
    for (int i = 0; i < MJ_EFFORT_COUNT; i++) {
        if (strcmp(value, names[i]) == 0) {
            *out = (mj_effort)i;
            return CLI_OK;
        }
    }
    return bad_value(option, value, "estimate, quick or full");
}

static cli_exit add_list(const char *option, char *value, cli_list *list)
{
    char *save = NULL;
    for (char *item = strtok_r(value, ", ", &save); item; item = strtok_r(NULL, ", ", &save)) {
        if (list->count == CLI_LIST_MAX) {
            cli_error("%s: more than %d values", option, CLI_LIST_MAX);
            return CLI_USAGE;
        }
        list->items[list->count++] = item;
    }
    if (list->count == 0) {
        return bad_value(option, "", "a value");
    }
    return CLI_OK;
}

static cli_exit set_value(const option_row *row, const char *option, char *value, cli_options *out)
{
    void *field = (char *)out + row->offset;
    uint64_t number;
    switch (row->kind) {
    case KIND_FLAG:
        *(bool *)field = true;
        return CLI_OK;
    case KIND_COUNT:
        ++*(uint32_t *)field;
        return CLI_OK;
    case KIND_TEXT:
        *(const char **)field = value;
        return *value ? CLI_OK : bad_value(option, value, "a value (it is empty)");
    case KIND_LIST:
        return add_list(option, value, field);
    case KIND_U32:
        if (!cli_parse_u64(value, &number) || number < 1 || number > 4096) {
            return bad_value(option, value, "a whole number in 1..4096");
        }
        *(uint32_t *)field = (uint32_t)number;
        return CLI_OK;
    case KIND_U64:
        return cli_parse_u64(value, field) ? CLI_OK : bad_value(option, value, "a whole number from 0 on");
    case KIND_SECONDS:
        return cli_parse_seconds(value, field) ? CLI_OK : bad_value(option, value, "a time like 90, 90s, 5m or 1h");
    case KIND_BYTES:
        return cli_parse_bytes(value, field) ? CLI_OK : bad_value(option, value, "a size like 512M or 16G");
    case KIND_EFFORT:
        return parse_effort(option, value, field);
    case KIND_GEMM:
        if (strcmp(value, "1") != 0 && strcmp(value, "2") != 0) {
            return bad_value(option, value, "1 or 2");
        }
        *(const char **)field = value[0] == '1' ? "gemm1" : "gemm2";
        return CLI_OK;
    }
    return CLI_INTERNAL;
}

/* ---- The loop over argv ---- */
typedef struct cursor {
    int argc, next;
    char **argv;
} cursor;

static bool is_option_word(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && !(word[1] >= '0' && word[1] <= '9') && word[1] != '.';
}

static cli_exit parse_option(cursor *at, const cli_command *command, cli_options *out)
{
    char *word = at->argv[at->next++];
    char *equals = strchr(word, '=');
    char name[64];
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - word) : (int)strlen(word), word);
    bool elsewhere;
    const option_row *row = find_option(name, 1u << out->command, &elsewhere);
    if (!row) {
        return unknown_option(name, command, elsewhere);
    }
    if (!row->value) {
        if (equals) {
            cli_error("%s takes no value", name);
            return CLI_USAGE;
        }
        return set_value(row, name, NULL, out);
    }
    char *value = equals ? equals + 1 : NULL;
    if (!value) {
        if (at->next >= at->argc || is_option_word(at->argv[at->next])) {
            cli_error("%s needs a value: %s %s", name, name, row->value);
            return CLI_USAGE;
        }
        value = at->argv[at->next++];
    }
    cli_exit code = set_value(row, name, value, out);
    while (code == CLI_OK && row->kind == KIND_LIST && !equals && at->next < at->argc &&
           !is_option_word(at->argv[at->next])) {
        code = set_value(row, name, at->argv[at->next++], out);
    }
    out->tp_given = out->tp_given || row->offset == AT(tp);
    out->ep_given = out->ep_given || row->offset == AT(ep);
    out->effort_given = out->effort_given || row->offset == AT(effort);
    return code;
}

static cli_exit check_batches(cli_options *out)
{
    for (uint32_t i = 0; i < out->batch.count; i++) {
        uint64_t tokens;
        if (!cli_parse_u64(out->batch.items[i], &tokens) || tokens < 1 || tokens > 1048576) {
            return bad_value("--batch", out->batch.items[i], "a whole number in 1..1048576");
        }
        bool seen = false;
        for (uint32_t j = 0; j < out->token_count_count; j++) {
            seen = seen || out->token_counts[j] == tokens;
        }
        if (!seen) {
            out->token_counts[out->token_count_count++] = (uint32_t)tokens;
        }
    }
    return CLI_OK;
}

static cli_exit check_gemms(cli_options *out)
{
    bool wanted[2] = {false, false};
    for (uint32_t i = 0; i < out->gemms.count; i++) {
        const char *item = out->gemms.items[i];
        if (strcmp(item, "1") != 0 && strcmp(item, "2") != 0) {
            return bad_value("--gemm", item, "1, 2 or 1,2");
        }
        wanted[item[0] - '1'] = true;
    }
    out->gemm1_only = wanted[0] && !wanted[1];
    out->gemm2_only = wanted[1] && !wanted[0];
    return CLI_OK;
}

/* --routing all: every distribution; for bench that is a study, with its own layer and opponent unless they are given. */
static void expand_routings(cli_options *out)
{
    for (uint32_t i = 0; i < out->routing.count; i++) {
        out->routing_all = out->routing_all || strcmp(out->routing.items[i], "all") == 0;
    }
    if (!out->routing_all) {
        return;
    }
    uint32_t count;
    const char *const *names = mj_routing_names(&count);
    for (out->routing.count = 0; out->routing.count < count; out->routing.count++) {
        out->routing.items[out->routing.count] = names[out->routing.count];
    }
    if (out->command == CLI_CMD_BENCH && !out->tune) {
        out->model = out->model || out->problem ? out->model : STUDY_MODEL;
        out->against = out->against || out->effort == MJ_EFFORT_ESTIMATE ? out->against : "reference";
    }
}

/* Options that are understood only to be answered. */
static cli_exit check_refused(const cli_options *out)
{
    if (out->help || out->version) {
        return CLI_OK;
    }
    bool estimate = out->effort == MJ_EFFORT_ESTIMATE;
    if (out->command == CLI_CMD_BENCH && !out->tune && ((out->effort_given && !estimate) || out->force)) {
        cli_error("%s: bench always measures, one config per row; this is for tune",
                  out->force ? "--force" : "--effort");
        return CLI_USAGE;
    }
    if (out->estimate_arch && !estimate) {
        cli_error("--arch: measuring needs the device itself; with --effort estimate an arch that is not here will do");
        return CLI_USAGE;
    }
    if (out->estimate_arch && out->device) {
        cli_error("--arch and --device: give one of them");
        return CLI_USAGE;
    }
    if (out->against && (out->tune || estimate)) {
        cli_error("--against: nothing is timed against it by %s", estimate ? "--effort estimate" : "tune");
        return CLI_USAGE;
    }
    if (out->use_deep_gemm) {
        cli_error("--use-deep-gemm: moejit times its own kernels only; DeepGEMM is an opponent, "
                  "not a back end");
        return CLI_USAGE;
    }
    if (out->trust_remote_code) {
        cli_error("--trust-remote-code: not needed, config.json is read as data and no model code "
                  "is ever run");
        return CLI_USAGE;
    }
    return CLI_OK;
}

void cli_options_free(cli_options *options)
{
    free(options->positionals);
    options->positionals = NULL;
}

static cli_exit parse_words(cursor *at, cli_options *out)
{
    const cli_command *command = &cli_commands[out->command];
    bool rest = false; /* after "--", or a script's name: every word belongs to it */
    while (at->next < at->argc) {
        char *word = at->argv[at->next];
        if (!rest && strcmp(word, "--") == 0) {
            rest = true;
            at->next++;
        } else if (rest || !is_option_word(word)) {
            out->positionals[out->positional_count++] = word;
            at->next++;
            rest = rest || out->command == CLI_CMD_RUN;
        } else {
            cli_exit code = parse_option(at, command, out);
            if (code != CLI_OK) {
                return code;
            }
        }
    }
    return CLI_OK;
}

static cli_exit unknown_command(const char *word)
{
    const char *near = cli_nearest_command(word);
    cli_error("unknown command '%s'%s%s%s", word, near ? "; did you mean " : " (see `moejit --help`)", near ? near : "",
              near ? "?" : "");
    return CLI_USAGE;
}

/* `moejit --model X --tune`: the words of benchmark_moe.py, with its defaults. */
static void benchmark_moe_words(int argc, char **argv, cli_options *out)
{
    out->command = CLI_CMD_BENCH;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tune") == 0) {
            out->command = CLI_CMD_TUNE;
        }
    }
    out->model = "mixtral-8x7b";
    out->tp = 2;
}

static cli_exit pick_command(cursor *at, cli_options *out)
{
    static const char *const plain[] = {"--help", "-h", "--version"};
    char *word = at->argc > 1 ? at->argv[1] : "--help";
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(word, plain[i]) == 0) {
            out->command = CLI_CMD_HELP;
            return CLI_OK;
        }
    }
    if (is_option_word(word)) {
        benchmark_moe_words(at->argc, at->argv, out);
        return CLI_OK;
    }
    out->command = cli_find_command(word);
    at->next = 2;
    return out->command == CLI_CMD_COUNT ? unknown_command(word) : CLI_OK;
}

cli_exit cli_parse(int argc, char **argv, cli_options *out)
{
    *out = (cli_options){.tp = 1, .ep = 1, .effort = MJ_EFFORT_QUICK};
    cursor at = {.argc = argc, .next = 1, .argv = argv};
    cli_exit code = pick_command(&at, out);
    if (code != CLI_OK) {
        return code;
    }
    out->positionals = calloc((size_t)argc + 1, sizeof *out->positionals);
    if (!out->positionals) {
        cli_error("out of memory");
        return CLI_INTERNAL;
    }
    code = parse_words(&at, out);
    if (code == CLI_OK) {
        code = check_batches(out);
    }
    if (code == CLI_OK) {
        code = check_gemms(out);
    }
    if (code == CLI_OK) {
        code = check_refused(out);
    }
    if (code == CLI_OK) {
        expand_routings(out);
        out->against = out->against && strcmp(out->against, "none") == 0 ? NULL : out->against;
    }
    if (code == CLI_OK && out->command == CLI_CMD_BENCH && out->tune) {
        out->command = CLI_CMD_TUNE;
    }
    if (code == CLI_OK && out->expert_parallel) {
        if (out->ep_given) {
            cli_error("--enable-expert-parallel sets --ep from --tp: give one of them");
            return CLI_USAGE;
        }
        out->ep = out->tp;
        out->tp = 1;
    }
    return code;
}

/* ---- Help ---- */
static void print_row(FILE *out, const option_row *row)
{
    char head[128];
    int length =
        snprintf(head, sizeof head, "  --%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
    for (size_t a = 0; a < 3 && row->aliases[a]; a++) {
        length += snprintf(head + length, sizeof head - (size_t)length, ", %s", row->aliases[a]);
    }
    fprintf(out, "%s\n", head);
    for (const char *line = row->doc; line;) {
        const char *end = strchr(line, '\n');
        fprintf(out, "        %.*s\n", end ? (int)(end - line) : (int)strlen(line), line);
        line = end ? end + 1 : NULL;
    }
}

void cli_print_options(FILE *out, cli_command_id command)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].commands & (1u << command)) {
            print_row(out, &rows[i]);
        }
    }
}
