/* cli_common.c: what every command does the same way: errors, contexts, output, interruption. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "os.h"

const uint32_t cli_usual_batches[18] = {1,  2,   4,   8,   16,   24,   32,   48,   64,
                                        96, 128, 256, 512, 1024, 1536, 2048, 3072, 4096};

/* ---- Numbers ---- */
bool cli_parse_u64(const char *text, uint64_t *out)
{
    if (!text || text[0] < '0' || text[0] > '9') {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end) {
        return false;
    }
    *out = value;
    return true;
}

typedef struct unit_row {
    const char *name;
    double factor;
} unit_row;

static bool parse_with_unit(const char *text, const unit_row *units, size_t unit_count, double max, double *out)
{
    if (!text || !((text[0] >= '0' && text[0] <= '9') || text[0] == '.')) {
        return false;
    }
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || !isfinite(value) || text[1] == 'x' || text[1] == 'X') {
        return false;
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (strcmp(end, units[i].name) == 0) {
            *out = value * units[i].factor;
            return *out <= max;
        }
    }
    return false;
}

bool cli_parse_seconds(const char *text, double *out)
{
    static const unit_row units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}};
    return parse_with_unit(text, units, sizeof units / sizeof units[0], 1e9, out) && *out > 0;
}

bool cli_parse_bytes(const char *text, uint64_t *out)
{
    static const unit_row units[] = {{"", 1},
                                     {"K", 1024.0},
                                     {"KiB", 1024.0},
                                     {"M", 1048576.0},
                                     {"MiB", 1048576.0},
                                     {"G", 1073741824.0},
                                     {"GiB", 1073741824.0},
                                     {"T", 1099511627776.0},
                                     {"TiB", 1099511627776.0}};
    double value;
    if (!parse_with_unit(text, units, sizeof units / sizeof units[0], 1e18, &value)) {
        return false;
    }
    *out = (uint64_t)value;
    return true;
}

/* ---- Errors and output ---- */
void cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("moejit: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ORDER STATUS. What a status means to whoever called the command. */
cli_exit cli_exit_of(mj_status status)
{
    static const cli_exit codes[MJ_STATUS_COUNT] = {
        [MJ_OK] = CLI_OK,
        [MJ_ERR_ARGUMENT] = CLI_USAGE,
        [MJ_ERR_MEMORY] = CLI_INTERNAL,
        [MJ_ERR_IO] = CLI_NOT_SAVED,
        [MJ_ERR_NOT_FOUND] = CLI_USAGE,
        [MJ_ERR_FORMAT] = CLI_BAD_FILE,
        [MJ_ERR_VERSION] = CLI_BAD_FILE,
        [MJ_ERR_UNSUPPORTED] = CLI_USAGE,
        [MJ_ERR_ILLEGAL] = CLI_FAILED,
        [MJ_ERR_NO_DEVICE] = CLI_NO_DEVICE,
        [MJ_ERR_NO_COMPILER] = CLI_NO_DEVICE,
        [MJ_ERR_COMPILE] = CLI_FAILED,
        [MJ_ERR_DEVICE] = CLI_FAILED,
        [MJ_ERR_DEVICE_LOST] = CLI_FAILED,
        [MJ_ERR_DEVICE_MEMORY] = CLI_NO_DEVICE,
        [MJ_ERR_TIMEOUT] = CLI_FAILED,
        [MJ_ERR_WRONG_RESULT] = CLI_FAILED,
        [MJ_ERR_UNVERIFIED] = CLI_FAILED,
        [MJ_ERR_CAPACITY] = CLI_FAILED,
        [MJ_ERR_INTERRUPTED] = CLI_INTERRUPTED,
        [MJ_ERR_CHILD] = CLI_FAILED,
        [MJ_ERR_INTERNAL] = CLI_INTERNAL,
    };
    return (unsigned)status < MJ_STATUS_COUNT ? codes[status] : CLI_INTERNAL;
}

cli_exit cli_fail(const mj_error *error)
{
    cli_error("%s", error->text[0] ? error->text : mj_status_text(error->status));
    return cli_exit_of(error->status);
}

static void log_line(void *user, int level, const char *line)
{
    (void)user;
    fprintf(stderr, "moejit: %s%s\n", level == 0 ? "warning: " : "", line);
}

/* Data files that the user names are read at once: a folder that is not there is an input that is missing. */
static cli_exit check_data(mj_context *context)
{
    const mj_spec *spec = NULL;
    mj_error error = {MJ_OK, ""};
    mj_status status = context->data_dir ? mj_context_spec(context, &spec, &error) : MJ_OK;
    cli_exit code = status == MJ_OK ? CLI_OK : cli_fail(&error);
    return status == MJ_ERR_IO || status == MJ_ERR_NOT_FOUND ? CLI_BAD_FILE : code;
}

cli_exit cli_context(const cli_options *options, mj_context **out)
{
    mj_context_options wanted = {
        .log = options->quiet ? NULL : log_line,
        .log_level = (int)options->verbose,
        .data_dir = options->data_dir,
        .cache_dir = options->cache_dir,
        .store_dir = options->save_dir,
    };
    static const uint32_t compile_nothing =
        1u << CLI_CMD_DEVICES | 1u << CLI_CMD_MODELS | 1u << CLI_CMD_ROUTING | 1u << CLI_CMD_GEN | 1u << CLI_CMD_WHY;
    if (compile_nothing >> options->command & 1) {
        wanted.cache_dir = ""; /* one that cannot be used is no matter to them */
    }
    mj_error error = {MJ_OK, ""};
    if (mj_context_create(&wanted, out, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    cli_exit code = options->command == CLI_CMD_CACHE ? CLI_OK : check_data(*out);
    if (code != CLI_OK) {
        mj_context_destroy(*out);
        *out = NULL;
    }
    return code;
}

cli_exit cli_finish(cli_exit code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_error("the output could not be written%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
        return code == CLI_OK ? CLI_NOT_SAVED : code;
    }
    return code;
}

cli_exit cli_print_json(mj_json *value)
{
    char *text = value ? mj_json_print(value, true) : NULL;
    mj_json_free(value);
    if (!text) {
        cli_error("out of memory");
        return CLI_INTERNAL;
    }
    puts(text);
    free(text);
    return CLI_OK;
}

cli_exit cli_write_text(const cli_options *options, const char *text, size_t bytes)
{
    if (!options->out || strcmp(options->out, "-") == 0) {
        fwrite(text, 1, bytes, stdout);
        return CLI_OK;
    }
    mj_error error = {MJ_OK, ""};
    if (mj_os_write_file_atomic(options->out, text, bytes, 0644, &error) != MJ_OK) {
        cli_fail(&error);
        return CLI_NOT_SAVED;
    }
    return CLI_OK;
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND; /* a second Ctrl-C ends at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}
