/* cli.h: the inside of the `moejit` command: what its cli_*.c files share.
 *
 *     main.c -> cli_main (cli_help.c: the command table) -> cli_parse (cli_args.c) -> cli_<command>
 *
 * Results go to stdout, everything else to stderr. A command returns a cli_exit; it never calls
 * exit().
 */
#ifndef MOEJIT_CLI_H
#define MOEJIT_CLI_H

#include <stdio.h>

#include "config_json.h"
#include "context.h"
#include "json.h"
#include "moejit_tune.h"

/* ---- Exit codes: the documented table (`moejit help exit-codes`). X(id, code, text) ---- */
#define CLI_EXIT_LIST(X) \
    X(CLI_OK, 0, "done") \
    X(CLI_FAILED, 1, "the thing asked for failed: a wrong result, an illegal config, nothing legal") \
    X(CLI_USAGE, 2, "the command line is wrong: unknown command, option, name or value") \
    X(CLI_BAD_FILE, 3, "an input file is missing, damaged or holds bad values") \
    X(CLI_NO_DEVICE, 4, "no such device, no driver, no compiler, or not enough free device memory") \
    X(CLI_NOT_SAVED, 5, "results could not be written (folder not writable, disk full)") \
    X(CLI_PARTIAL, 6, "the budget was spent first: what was finished is saved and printed") \
    X(CLI_INTERNAL, 70, "a broken invariant or no host memory: please report it") \
    X(CLI_INTERRUPTED, 130, "interrupted (SIGINT): what was finished is saved and printed")
typedef enum cli_exit {
#define CLI_EXIT_ENUM(id, code, text) id = code,
    CLI_EXIT_LIST(CLI_EXIT_ENUM)
#undef CLI_EXIT_ENUM
} cli_exit;

/* ---- Options: one struct for every command; cli_args.c has the table that fills it ---- */
#define CLI_LIST_MAX 256
typedef struct cli_list {
    uint32_t count;
    const char *items[CLI_LIST_MAX];
} cli_list;

typedef enum cli_command_id { /* ORDER COMMAND: cli_help.c */
                              CLI_CMD_DEVICES,
                              CLI_CMD_MODELS,
                              CLI_CMD_TUNE,
                              CLI_CMD_BENCH,
                              CLI_CMD_VERIFY,
                              CLI_CMD_ROUTING,
                              CLI_CMD_GEN,
                              CLI_CMD_WHY,
                              CLI_CMD_EMIT,
                              CLI_CMD_RUN,
                              CLI_CMD_CACHE,
                              CLI_CMD_HELP,
                              CLI_CMD_COUNT
} cli_command_id;

typedef struct cli_options {
    cli_command_id command;
    bool help, version, json, quiet, dry_run, force, manifest, tune, expert_parallel;
    bool use_deep_gemm, trust_remote_code;
    uint32_t verbose; /* number of -v */
    bool tp_given, ep_given, effort_given;
    uint32_t tp, ep;
    uint64_t seed;
    double budget_seconds;     /* 0: none */
    uint64_t device_bytes_max; /* --mem; 0: default */
    uint64_t keep_bytes;       /* cache clean --keep */
    uint32_t jobs;
    mj_effort effort;
    const char *model, *model_prefix, *problem, *scheme, *layout, *family, *config, *op, *prelude;
    const char *device, *save_dir, *out;
    const char *against;       /* bench: a family; NULL: none */
    const char *estimate_arch; /* tune and bench: instead of a device */
    const char *data_dir, *cache_dir;
    cli_list batch, routing, arch, gemms;
    bool routing_all, gemm1_only, gemm2_only; /* from --routing and --gemm */
    uint32_t token_count_count;               /* --batch, parsed */
    uint32_t token_counts[CLI_LIST_MAX];
    int positional_count; /* what is left: moejit run FILE ARGS..., cache ls, help TOPIC, models
                             NAME */
    char **positionals;   /* freed by cli_options_free; every text points into argv */
} cli_options;

/* Fills `out` from argv (argv[0] is the program; lists are split in place). CLI_OK, or CLI_USAGE
 * with one line on stderr. */
cli_exit cli_parse(int argc, char **argv, cli_options *out);
void cli_options_free(cli_options *options);
/* One line per option of the command, for --help. */
void cli_print_options(FILE *out, cli_command_id command);
/* "64M", "2GiB", "1000" -> bytes; "90", "90s", "5m", "1h" -> seconds. false: not of that form. */
bool cli_parse_bytes(const char *text, uint64_t *out);
bool cli_parse_seconds(const char *text, double *out);
bool cli_parse_u64(const char *text, uint64_t *out);

/* ---- Commands (cli_help.c has the table) ---- */
typedef struct cli_command {
    const char *name, *arguments, *summary;
    cli_exit (*run)(const cli_options *options);
    const char *notes;       /* paragraphs under the options; may be NULL */
    const char *examples[6]; /* NULL-terminated unless full */
} cli_command;
extern const cli_command cli_commands[CLI_CMD_COUNT];
int cli_main(int argc, char **argv);
/* Index in cli_commands, or CLI_CMD_COUNT. */
cli_command_id cli_find_command(const char *name);
const char *cli_nearest_command(const char *name);

cli_exit cli_devices(const cli_options *options);
cli_exit cli_models(const cli_options *options);
cli_exit cli_tune(const cli_options *options);
cli_exit cli_bench(const cli_options *options);
cli_exit cli_verify(const cli_options *options);
cli_exit cli_routing(const cli_options *options);
cli_exit cli_gen(const cli_options *options);
cli_exit cli_why(const cli_options *options);
cli_exit cli_emit(const cli_options *options);
cli_exit cli_run(const cli_options *options);
cli_exit cli_cache(const cli_options *options);
cli_exit cli_help(const cli_options *options);

/* ---- Shared steps (cli_common.c) ---- */
/* "moejit: <text>" on stderr. */
void cli_error(const char *format, ...) MJ_PRINTF(1, 2);
/* Prints the error's line and turns its status into an exit code. */
cli_exit cli_fail(const mj_error *error);
cli_exit cli_exit_of(mj_status status);
/* A context with the folders of the options and a logger on stderr by -v/-q. */
cli_exit cli_context(const cli_options *options, mj_context **out);
/* Flushes stdout; CLI_NOT_SAVED with one line if what was printed did not arrive. */
cli_exit cli_finish(cli_exit code);
/* Prints pretty JSON to stdout and frees `value`. */
cli_exit cli_print_json(mj_json *value);
/* Writes to --out, or to stdout. */
cli_exit cli_write_text(const cli_options *options, const char *text, size_t bytes);

/* ---- The problem of a command line (cli_models.c) ---- */
typedef struct cli_target {
    mj_problem problem;
    mj_model model; /* name empty when --problem was given */
    uint32_t tp, ep;
    char label[160]; /* "mixtral-8x7b, tp 2, ep 1" */
    char note[512];  /* worth telling once; may be empty */
} cli_target;
cli_exit cli_resolve(const cli_options *options, mj_context *context, cli_target *out);
/* The same for other front ends (the script host). `name` is a built-in, a Hugging Face id or a
 * path. */
mj_status cli_find_model(const mj_spec *spec, const char *name, const char *prefix, mj_model *out,
                         mj_config_scheme *scheme, mj_error *error);
/* "--scheme"/"--dtype" word -> name of lua/quant. `of_model` answers "auto" and a word left out. */
mj_status cli_find_scheme(const mj_spec *spec, const char *word, const mj_config_scheme *of_model,
                          char out[MJ_NAME_MAX], mj_error *error);
/* The layout a user asked for, into the problem; NULL: it stays as it is. */
mj_status cli_set_layout(const char *word, mj_problem *problem, mj_error *error);

/* NULL when out of memory. */
mj_json *cli_model_json(const mj_model *model);
mj_json *cli_device_json(const mj_device_info *info);
/* Every --routing is a name of routing.h. */
cli_exit cli_check_routings(const cli_options *options);

/* ---- Interruption (cli_common.c): SIGINT and SIGTERM set a flag that long commands look at ----
 */
void cli_catch_interrupts(void);
bool cli_interrupted(void);

extern const uint32_t cli_usual_batches[18];

#endif
