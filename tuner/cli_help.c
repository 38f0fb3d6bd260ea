/* cli_help.c: the command table and every help text. */
#include <signal.h>
#include <string.h>

#include "cli.h"

static const char tune_notes[] = "Every candidate is compared with a reference before it is timed. "
                                 "Measurements go to a journal as they are\n"
                                 "taken, finished rows to the store: a killed tune resumes, Ctrl-C "
                                 "keeps what is known. The device is opened by\n"
                                 "helper processes, so a crashing or hanging kernel costs one "
                                 "candidate. Without a usable GPU the CPU is tuned.\n"
                                 "Columns: TFLOP/s, GB/s and roofline are of gemm1 and gemm2 together.\n";
static const char bench_notes[] =
    "Measures what a plan would use now: the store's choice, at most a factor of 8 in batch size away, else the "
    "estimate's, or\n--family and --config.\n"
    "Each row says where its config came from. Nothing is searched and nothing is stored.\n"
    "Columns: TFLOP/s, GB/s, roofline and padded are of gemm1 and gemm2 together. TFLOP/s counts rows with a token, "
    "padded\n"
    "all rows that tiles compute (each expert's rounded up); error is the largest ||got - ref|| / ||ref|| of an output "
    "row; against is how many times as long --against takes.\n"
    "--routing all is a study of both GEMMs over five distributions, each row also against the reference family "
    "(--against\n"
    "none: not); without --model its layer is qwen3.5-35b-a3b. Without the device, --effort estimate --arch NAME "
    "prints the\n"
    "predictions and how much of each family's space is legal; `moejit routing` what tiles make of each "
    "distribution.\n";
static const char verify_notes[] = "Runs one config (--family, --config; else what a plan would use now: the store's "
                                   "choice, else the estimate's)\n"
                                   "at every batch size and routing and compares all outputs with the reference. "
                                   "Nothing is timed. Exit code 1\n"
                                   "names the first wrong coordinate.\n";
static const char gen_notes[] = "The source's first lines hold the command that recreates it, byte "
                                "for byte. --batch picks the number of tokens\n"
                                "that the estimate chooses for (default 64). No device is needed; "
                                "GPU targets need no compiler either.\n";
static const char why_notes[] = "With --config: `legal` (exit code 0), or one line per refusing "
                                "rule with what it measured and its limit (exit\n"
                                "code 1). Without: how many configs of each family are legal, and "
                                "which rules refuse the others.\n";
static const char emit_notes[] = "Compiles the choice of the store, else of the estimate, for "
                                 "every op and batch size. --out DIR gets binaries,\n"
                                 "manifests and a C file that registers them (mj_pack_register); "
                                 "without --out stdout gets that C file, which\n"
                                 "holds the binaries too. The arch need not be present; its "
                                 "compiler must be. Several --arch, `--arch sm_90a,gfx942`,\n"
                                 "make one pack: each device takes its own arch's kernels.\n";
static const char run_notes[] =
    "Words after the file are the script's: `arg[1]`, `arg[2]`, ... The API: `moejit help lua`.\n";
static const char cache_notes[] = "ls lists compiled binaries, clean removes them (--keep 500M: "
                                  "all but the latest 500 MB used).\n";
static const char help_notes[] = "Topics: every command, exit-codes, environment, lua.\n";

/* ORDER COMMAND */
const cli_command cli_commands[CLI_CMD_COUNT] = {
    {"devices",
     "[options]",
     "list the devices: arch, memory, driver, compiler, or why one cannot be used",
     cli_devices,
     NULL,
     {"moejit devices", "moejit devices --json"}},
    {"models",
     "[NAME|PATH] [options]",
     "list the built-in models, or show one (or a config.json)",
     cli_models,
     NULL,
     {"moejit models", "moejit models qwen3-30b-a3b", "moejit models ./config.json --json"}},
    {"tune",
     "--model NAME [options]",
     "find the fastest correct kernels of a layer and store them",
     cli_tune,
     tune_notes,
     {"moejit tune --model mixtral-8x7b --tp 2",
      "moejit tune --model mixtral-8x7b --tp 2 --batch 1 16 64 --effort full",
      "moejit tune --model ./config.json --ep 8 --routing uniform,zipf1 --budget 10m",
      "moejit tune --model qwen3-30b-a3b --dry-run", "moejit tune --model mixtral-8x7b --tp 2 --layout interleaved8",
      "moejit --model mistralai/Mixtral-8x7B-Instruct-v0.1 -tp 2 --dtype auto --tune"}},
    {"bench",
     "--model NAME [options]",
     "time what a plan would use now",
     cli_bench,
     bench_notes,
     {"moejit bench --model mixtral-8x7b --tp 2", "moejit bench --model qwen3-30b-a3b --batch 1,64,256 --json",
      "moejit bench --model mixtral-8x7b --tp 2 --batch 16 --gemm 2 --against reference",
      "moejit bench --scheme int4_w4a16 --routing all --gemm 1,2 --batch 256",
      "moejit bench --scheme int4_w4a16 --routing all --gemm 1,2 --batch 256 --effort estimate --arch gfx1100"}},
    {"verify",
     "--model NAME [options]",
     "compare one config with the reference, no timing",
     cli_verify,
     verify_notes,
     {"moejit verify --model mixtral-8x7b --tp 2 --batch 1 17 64 --routing balanced,hot16",
      "moejit verify --model qwen3-30b-a3b --device cpu --family reference --batch 3"}},
    {"routing",
     "--model NAME [options]",
     "what routings mean: load per expert, dead experts, useful share",
     cli_routing,
     "Needs no device. Skinny: a row block less than half full. Useful: rows with a token / "
     "rows computed.\n",
     {"moejit routing --model mixtral-8x7b --batch 1 64 1024",
      "moejit routing --model qwen3-30b-a3b --ep 4 --routing zipf1"}},
    {"gen",
     "--model NAME [options]",
     "print the source of a kernel",
     cli_gen,
     gen_notes,
     {"moejit gen --model mixtral-8x7b --tp 2 --arch sm_90a",
      "moejit gen --model mixtral-8x7b --arch sm_90a --family mma --gemm 2 --batch 16 --out "
      "kernel.cu",
      "moejit gen --model qwen3-30b-a3b --arch cpu --manifest"}},
    {"why",
     "--model NAME [options]",
     "say whether a config is legal, or which rules refuse it",
     cli_why,
     why_notes,
     {"moejit why --model mixtral-8x7b --tp 2 --arch sm_90a --family mma",
      "moejit why --model mixtral-8x7b --tp 2 --arch sm_80 --family mma --config stages=8"}},
    {"emit",
     "--model NAME [options]",
     "write precompiled variants for serving without a compiler",
     cli_emit,
     emit_notes,
     {"moejit emit --model mixtral-8x7b --tp 2 --arch sm_90a --batch 1 16 64 256 --out pack",
      "moejit emit --model mixtral-8x7b --tp 2 --arch cpu --batch 1 16 --out pack-cpu"}},
    {"run", "FILE.lua [arguments]", "run a Lua sweep", cli_run, run_notes, {"moejit run lua/examples/sweep.lua"}},
    {"cache",
     "ls|clean [options]",
     "list or remove compiled binaries",
     cli_cache,
     cache_notes,
     {"moejit cache ls", "moejit cache clean --keep 500M"}},
    {"help",
     "[TOPIC]",
     "this, a command, or a topic: exit-codes, environment, lua",
     cli_help,
     help_notes,
     {"moejit help exit-codes", "moejit help lua"}},
};

cli_command_id cli_find_command(const char *name)
{
    int i = 0;
    while (i < CLI_CMD_COUNT && strcmp(cli_commands[i].name, name) != 0) {
        i++;
    }
    return (cli_command_id)i;
}

const char *cli_nearest_command(const char *name)
{
    const char *names[CLI_CMD_COUNT];
    for (int i = 0; i < CLI_CMD_COUNT; i++) {
        names[i] = cli_commands[i].name;
    }
    return mj_nearest_name(name, names, CLI_CMD_COUNT);
}

static cli_exit help_overview(void)
{
    printf("moejit %s: generates, checks, times and chooses kernels for Mixture-of-Experts layers.\n\n"
           "usage: moejit COMMAND [options]      (moejit COMMAND --help says more)\n\n",
           MOEJIT_VERSION_STRING);
    for (int i = 0; i < CLI_CMD_COUNT; i++) {
        printf("  %-8s %s\n", cli_commands[i].name, cli_commands[i].summary);
    }
    printf("\nFirst steps:\n"
           "  moejit devices\n"
           "  moejit tune --model mixtral-8x7b --tp 2\n"
           "  moejit bench --model mixtral-8x7b --tp 2\n\n"
           "The words of vLLM's benchmark_moe.py work without a command: moejit --model ID -tp 2 "
           "--tune\n");
    return CLI_OK;
}

static cli_exit help_command(cli_command_id id)
{
    const cli_command *command = &cli_commands[id];
    printf("usage: moejit %s %s\n\n%s.\n", command->name, command->arguments, command->summary);
    if (command->notes) {
        printf("\n%s", command->notes);
    }
    printf("\nOptions:\n");
    cli_print_options(stdout, id);
    printf("\nExamples:\n");
    for (size_t i = 0; i < sizeof command->examples / sizeof command->examples[0] && command->examples[i]; i++) {
        printf("  %s\n", command->examples[i]);
    }
    return CLI_OK;
}

static cli_exit help_exit_codes(void)
{
    static const struct {
        int code;
        const char *text;
    } rows[] = {
#define CLI_EXIT_ROW(id, code, text) {code, text},
        CLI_EXIT_LIST(CLI_EXIT_ROW)
#undef CLI_EXIT_ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("%4d  %s\n", rows[i].code, rows[i].text);
    }
    return CLI_OK;
}

static cli_exit help_environment(void)
{
    static const char *const rows[][2] = {
        {"MOEJIT_DATA_DIR", "folder with lua/ and templates/ to use instead of the built-in ones (--data-dir)"},
        {"MOEJIT_CACHE_DIR", "compiled binaries; else $XDG_CACHE_HOME/moejit, else ~/.cache/moejit (--cache-dir)"},
        {"MOEJIT_STORE_DIR", "tuned results; else $XDG_DATA_HOME/moejit, else ~/.local/share/moejit (--save-dir)"},
        {"XDG_STATE_HOME", "the journal of measurements lies in its moejit folder; else ~/.local/state"},
        {"MOEJIT_NVRTC", "path of libnvrtc.so; else CUDA_HOME, the toolkit's folders, Python's nvidia packages"},
        {"MOEJIT_HIPRTC", "libhiprtc.so, or a folder with it; else ROCM_PATH, HIP_PATH, /opt/rocm, the loader's path"},
        {"MOEJIT_CC", "C compiler of the cpu device; else cc, gcc, clang on PATH"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("  %-17s %s\n", rows[i][0], rows[i][1]);
    }
    return CLI_OK;
}

/* The head of the example is the manual: one text, and it lies beside running code. */
static cli_exit help_lua(void)
{
    mj_files *files = NULL;
    const char *text;
    size_t bytes;
    mj_error error = {MJ_OK, ""};
    if (mj_files_open(NULL, &files, &error) != MJ_OK ||
        mj_files_get(files, "lua/examples/sweep.lua", &text, &bytes, &error) != MJ_OK) {
        mj_files_close(files);
        return cli_fail(&error);
    }
    const char *end = text + bytes;
    for (const char *line = text; line + 2 <= end && line[0] == '-' && line[1] == '-';) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        const char *from = line + 2 + (line + 2 < stop && line[2] == ' ');
        printf("%.*s\n", (int)(stop - from), from);
        line = stop < end ? stop + 1 : end;
    }
    mj_files_close(files);
    return CLI_OK;
}

typedef struct topic_row {
    const char *name;
    cli_exit (*print)(void);
} topic_row;
static const topic_row topics[] = {
    {"exit-codes", help_exit_codes}, {"environment", help_environment}, {"lua", help_lua}};
enum { TOPIC_COUNT = sizeof topics / sizeof topics[0] };

cli_exit cli_help(const cli_options *options)
{
    if (options->positional_count == 0) {
        return help_overview();
    }
    const char *word = options->positionals[0];
    const char *names[TOPIC_COUNT + CLI_CMD_COUNT];
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        names[i] = topics[i].name;
        if (strcmp(topics[i].name, word) == 0) {
            return topics[i].print();
        }
    }
    cli_command_id id = cli_find_command(word);
    if (id != CLI_CMD_COUNT) {
        return help_command(id);
    }
    for (int i = 0; i < CLI_CMD_COUNT; i++) {
        names[TOPIC_COUNT + i] = cli_commands[i].name;
    }
    const char *near = mj_nearest_name(word, names, TOPIC_COUNT + CLI_CMD_COUNT);
    cli_error("no help on '%s'%s%s%s", word, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return CLI_USAGE;
}

/* How many words besides options each command takes. ORDER COMMAND */
static const int words_max[CLI_CMD_COUNT] = {
    [CLI_CMD_MODELS] = 1, [CLI_CMD_RUN] = 1 << 20, [CLI_CMD_CACHE] = 1, [CLI_CMD_HELP] = 1};

int cli_main(int argc, char **argv)
{
    cli_options options;
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write(), not the end */
    cli_exit code = cli_parse(argc, argv, &options);
    if (code == CLI_OK && options.version) {
        printf("moejit %s\n", mj_version());
    } else if (code == CLI_OK && options.help && options.command != CLI_CMD_HELP) {
        code = help_command(options.command);
    } else if (code == CLI_OK && options.positional_count > words_max[options.command]) {
        const cli_command *command = &cli_commands[options.command];
        cli_error("%s: '%s' is one word too many: moejit %s %s", command->name,
                  options.positionals[words_max[options.command]], command->name, command->arguments);
        code = CLI_USAGE;
    } else if (code == CLI_OK) {
        code = cli_commands[options.command].run(&options);
    }
    cli_options_free(&options);
    return (int)cli_finish(code);
}
