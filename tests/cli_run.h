/* cli_run.h: runs the built `moejit` in a private home and keeps what it said. For test_cli.c and test_script.c. */
#ifndef MOEJIT_TEST_CLI_RUN_H
#define MOEJIT_TEST_CLI_RUN_H

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

extern char **environ;

typedef struct cli_run_result {
    int code;        /* exit code; 128 + n: ended by signal n */
    char *out, *err; /* NUL-terminated; replaced by the next run */
    size_t out_bytes;
} cli_run_result;

static char cli_home[512];
static cli_run_result cli_last;

static inline char *cli_slurp(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 16u << 20);
    *bytes = file && text ? fread(text, 1, (16u << 20) - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    return text;
}

/* A folder for this executable's files; HOME and the XDG folders lie in it. */
static inline void cli_set_home(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(cli_home, sizeof cli_home, "%s/moejit-cli-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(cli_home)) {
        perror("mkdtemp");
        exit(1);
    }
    setenv("HOME", cli_home, 1);
    setenv("LC_ALL", "C", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("MOEJIT_STORE_DIR");
    unsetenv("MOEJIT_CACHE_DIR");
    unsetenv("MOEJIT_DATA_DIR");
    unsetenv("OUT"); /* where lua/examples/sweep.lua writes */
}

static inline int cli_shell(const char *command)
{
    char *const argv[] = {"sh", "-c", (char *)command, NULL};
    pid_t pid;
    int state = 0;
    if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) != 0 || waitpid(pid, &state, 0) != pid) {
        return -1;
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

static inline void cli_clean_home(void)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", cli_home);
    cli_shell(command);
    free(cli_last.out);
    free(cli_last.err);
}

/* `words` as a shell would split them; run in cli_home. */
static inline const cli_run_result *cli_run_words(const char *words)
{
    char command[8192], path[600];
    size_t bytes;
    snprintf(command, sizeof command, "cd '%s' && exec '%s/moejit' %s >.out 2>.err </dev/null", cli_home,
             check_build_dir(), words);
    free(cli_last.out);
    free(cli_last.err);
    cli_last.code = cli_shell(command);
    snprintf(path, sizeof path, "%s/.out", cli_home);
    cli_last.out = cli_slurp(path, &cli_last.out_bytes);
    snprintf(path, sizeof path, "%s/.err", cli_home);
    cli_last.err = cli_slurp(path, &bytes);
    return &cli_last;
}

static inline void cli_put_file(const char *name, const char *text)
{
    char path[800];
    snprintf(path, sizeof path, "%s/%s", cli_home, name);
    FILE *file = fopen(path, "w");
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static inline bool cli_one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    return end && end != text && end[1] == '\0';
}

#endif
