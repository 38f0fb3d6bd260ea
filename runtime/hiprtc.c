/* hiprtc.c: finding hipRTC, and compiling with it in a process of its own. */
#define _GNU_SOURCE
#include "hiprtc.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "code_object.h"
#include "compile_log.h"
#include "hiprtc_exit.h"
#include "hiprtc_find.h"
#include "os.h"
#include "program.h"

#define INSTALL_HINT \
    "install it (Debian, Ubuntu: libhiprtc and libamd-comgr, or libamdhip64 where hipRTC is a part of it; else ROCm) " \
    "or set " \
    "MOEJIT_HIPRTC to the library"

enum {
    LOG_BYTES_MAX = 16 << 20,
    CODE_BYTES_MAX = 256 << 20,
    OPTIONS_MAX = 8,
    ARGUMENTS_MAX = 20,
    TIMEOUT_SECONDS = 120
};

struct mj_hiprtc {
    char path[PATH_MAX];
    char program[PATH_MAX];
    char loader[PATH_MAX]; /* of a library that brings its own C library; else "" */
    char folder[PATH_MAX]; /* the library's; "" if the loader is to find it */
    char identity[96];
};

/* ---- One run of moejit-hiprtc ---- */

static mj_status run_compiler(const mj_hiprtc *hiprtc, const mj_workplace *place, const char *const *options,
                              mj_program *run, mj_error *error)
{
    const char *argv[ARGUMENTS_MAX];
    char search[PATH_MAX + PATH_MAX];
    const char *inherited = getenv("LD_LIBRARY_PATH");
    const char *environment[3] = {"AMD_COMGR_CACHE=0", NULL, NULL}; /* its own cache lies in the home */
    size_t count = 0;
    if (hiprtc->loader[0]) {
        argv[count++] = hiprtc->loader;
        argv[count++] = "--library-path";
        argv[count++] = hiprtc->folder;
    } else if (hiprtc->folder[0]) { /* its companions lie beside it; an empty element would be the current folder */
        bool more = inherited && inherited[0];
        snprintf(search, sizeof search, "LD_LIBRARY_PATH=%s%s%s", hiprtc->folder, more ? ":" : "",
                 more ? inherited : "");
        environment[1] = search;
    }
    argv[count++] = hiprtc->program;
    argv[count++] = hiprtc->path;
    if (options) {
        argv[count++] = place->source;
        argv[count++] = place->object;
        for (size_t i = 0; options[i] && count < ARGUMENTS_MAX - 1; i++) {
            argv[count++] = options[i];
        }
    }
    argv[count] = NULL;
    *run = (mj_program){.argv = argv,
                        .environment = environment,
                        .input = "/dev/null",
                        .output = place->output,
                        .messages = place->messages,
                        .result = options ? place->object : place->output,
                        .timeout_seconds = TIMEOUT_SECONDS};
    mj_status status = mj_program_run(run, error);
    run->argv = run->environment = NULL;
    return status;
}

/* The line of its standard error that tells most: LLVM's own, else the last. */
static void read_last_words(const mj_workplace *place, char *out, size_t bytes)
{
    char *text = NULL;
    size_t text_bytes = 0;
    out[0] = '\0';
    if (mj_os_read_file(place->messages, LOG_BYTES_MAX, &text, &text_bytes, NULL) != MJ_OK) {
        return;
    }
    const char *line = strstr(text, "LLVM ERROR");
    if (!line) {
        while (text_bytes > 0 && (text[text_bytes - 1] == '\n' || text[text_bytes - 1] == ' ')) {
            text[--text_bytes] = '\0';
        }
        line = strrchr(text, '\n') ? strrchr(text, '\n') + 1 : text;
    }
    mj_log_first_error(line, out, bytes);
    free(text);
}

/* ---- Opening ---- */

static mj_status identify(mj_hiprtc *hiprtc, mj_error *error)
{
    mj_workplace place = {0};
    mj_program run;
    char *text = NULL, words[256];
    size_t bytes = 0;
    mj_status status = mj_workplace_make(&place, "kernel.hip", "kernel.co", error);
    if (status == MJ_OK) {
        status = run_compiler(hiprtc, &place, NULL, &run, error);
    }
    if (status == MJ_OK && run.exit_code != 0) {
        read_last_words(&place, words, sizeof words);
        status = run.exit_code > 128
                     ? mj_fail(error, MJ_ERR_NO_COMPILER, "%s: it crashes (signal %d): %s", hiprtc->path,
                               run.exit_code - 128, words)
                     : mj_fail(error, MJ_ERR_NO_COMPILER, "%s", words[0] ? words : "moejit-hiprtc does not run");
    }
    if (status == MJ_OK) {
        status = mj_os_read_file(place.output, LOG_BYTES_MAX, &text, &bytes, error);
    }
    if (status == MJ_OK) {
        snprintf(hiprtc->identity, sizeof hiprtc->identity, "%.*s", (int)strcspn(text, "\n"), text);
        free(text);
    }
    mj_workplace_remove(&place);
    return status;
}

static mj_status load(const char *path, mj_hiprtc **out, mj_error *error)
{
    mj_hiprtc *hiprtc = calloc(1, sizeof *hiprtc);
    mj_status status = MJ_OK;
    *out = NULL;
    if (!hiprtc) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for hipRTC");
    }
    if (!strchr(path, '/')) {
        snprintf(hiprtc->path, sizeof hiprtc->path, "%s", path);
    } else if (!realpath(path, hiprtc->path)) {
        status = mj_fail(error, MJ_ERR_NO_COMPILER, "no such file");
    }
    if (status == MJ_OK && !mj_hiprtc_find_program(hiprtc->program, sizeof hiprtc->program)) {
        status = mj_fail(error, MJ_ERR_NO_COMPILER,
                         "moejit-hiprtc, which runs it, is not beside the program, in ../libexec/moejit or on PATH");
    }
    if (status == MJ_OK) {
        mj_hiprtc_loader(hiprtc->path, hiprtc->folder, hiprtc->loader, sizeof hiprtc->loader);
        status = identify(hiprtc, error);
    }
    if (status != MJ_OK) {
        free(hiprtc);
        return status;
    }
    *out = hiprtc;
    return MJ_OK;
}

void mj_hiprtc_close(mj_hiprtc *hiprtc)
{
    free(hiprtc);
}

typedef struct attempt {
    mj_hiprtc *hiprtc;
    mj_error error; /* of the first file that did not work */
    bool file_tried;
} attempt;

static bool try_path(void *user, const char *path)
{
    attempt *a = user;
    mj_error error = {0};
    if (load(path, &a->hiprtc, &error) != MJ_OK && (!a->error.text[0] || (strchr(path, '/') && !a->file_tried))) {
        a->error = error;
    }
    a->file_tried |= strchr(path, '/') != NULL;
    return a->hiprtc == NULL;
}

static mj_status open_given(const char *path, mj_hiprtc **out, mj_error *error)
{
    struct stat info;
    attempt a = {0};
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        mj_hiprtc_in_folder(path, try_path, &a);
    } else {
        try_path(&a, path);
    }
    *out = a.hiprtc;
    if (a.hiprtc) {
        return MJ_OK;
    }
    return mj_fail(error, MJ_ERR_NO_COMPILER, "hipRTC at %s, as asked for: %s", path,
                   a.error.text[0] ? a.error.text : "no libhiprtc.so or libamdhip64.so in that folder");
}

mj_status mj_hiprtc_open(const char *path, mj_hiprtc **out, mj_error *error)
{
    attempt a = {0};
    *out = NULL;
    path = path && *path ? path : getenv("MOEJIT_HIPRTC");
    if (path && *path) {
        return open_given(path, out, error);
    }
    mj_hiprtc_candidates(try_path, &a);
    *out = a.hiprtc;
    if (a.hiprtc) {
        return MJ_OK;
    }
    if (a.file_tried) {
        return mj_fail(error, MJ_ERR_NO_COMPILER, "hipRTC does not work: %s; " INSTALL_HINT, a.error.text);
    }
    return mj_fail(error, MJ_ERR_NO_COMPILER, "hipRTC, AMD's run-time compiler, is not on this machine: " INSTALL_HINT);
}

const char *mj_hiprtc_identity(const mj_hiprtc *hiprtc)
{
    return hiprtc->identity;
}

const char *mj_hiprtc_path(const mj_hiprtc *hiprtc)
{
    return hiprtc->path;
}

/* ---- Compiling ---- */

static mj_status make_options(const char *target, char *architecture, size_t bytes, const char *options[OPTIONS_MAX],
                              mj_error *error)
{
    size_t length = target ? strlen(target) : 0;
    if (length < 4 || length > 20 || strncmp(target, "gfx", 3) != 0 ||
        strspn(target, "0123456789abcdefghijklmnopqrstuvwxyz-") != length) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "\"%.64s\" is no AMD target (gfx942, gfx1100, ...)",
                       target ? target : "(null)");
    }
    snprintf(architecture, bytes, "--offload-arch=%s", target);
    options[0] = architecture;
    options[1] = "-O3";
    options[2] = "-std=c++17";
    options[3] = NULL;
    return MJ_OK;
}

/* As with NVRTC: the largest over the object's kernels. */
static mj_status read_attributes(mj_compiled *out, const char *target, mj_error *error)
{
    mj_code_object object;
    mj_code_kernel kernel;
    mj_kernel_attributes *a = &out->attributes;
    mj_status status = mj_code_object_read(out->binary, out->binary_bytes, &object, error);
    if (status == MJ_OK &&
        (strlen(object.target) != strcspn(target, ":") || strncmp(object.target, target, strlen(object.target)) != 0)) {
        status = mj_fail(error, MJ_ERR_COMPILE, "hipRTC made code for %s, not for %s", object.target, target);
    }
    for (uint32_t i = 0; status == MJ_OK && i < object.kernel_count; i++) {
        status = mj_code_object_kernel(&object, i, &kernel, error);
        if (status == MJ_OK) {
            a->regs_thread = kernel.vgprs > a->regs_thread ? kernel.vgprs : a->regs_thread;
            a->local_bytes = kernel.scratch_bytes > a->local_bytes ? kernel.scratch_bytes : a->local_bytes;
            a->static_smem_bytes = kernel.lds_bytes > a->static_smem_bytes ? kernel.lds_bytes : a->static_smem_bytes;
            a->threads_block_max = a->threads_block_max == 0 || kernel.threads_block_max < a->threads_block_max
                                       ? kernel.threads_block_max
                                       : a->threads_block_max;
        }
    }
    return status;
}

static mj_status collect(const mj_hiprtc *hiprtc, const mj_program *run, const mj_workplace *place, const char *target,
                         mj_compiled *out, mj_error *error)
{
    char message[512], *code = NULL;
    size_t log_bytes = 0;
    out->compile_seconds = run->cpu_seconds;
    mj_os_read_file(place->output, LOG_BYTES_MAX, &out->log, &log_bytes, NULL);
    if (run->exit_code == 0) {
        mj_status status = mj_os_read_file(place->object, CODE_BYTES_MAX, &code, &out->binary_bytes, error);
        out->binary = code;
        return status == MJ_OK ? read_attributes(out, target, error) : status;
    }
    if (run->exit_code == HIPRTC_EXIT_COMPILE && out->log && strstr(out->log, "error")) {
        mj_log_first_error(out->log, message, sizeof message);
    } else {
        read_last_words(place, message, sizeof message);
    }
    if (run->exit_code > 128) {
        return mj_fail(error, MJ_ERR_COMPILE, "%s crashed (signal %d) on code for %s: %s", hiprtc->identity,
                       run->exit_code - 128, target, message[0] ? message : "no message");
    }
    mj_status status = run->exit_code == HIPRTC_EXIT_LIBRARY ? MJ_ERR_NO_COMPILER
                       : run->exit_code == HIPRTC_EXIT_FILES ? MJ_ERR_IO
                                                             : MJ_ERR_COMPILE;
    return mj_fail(error, status, "%s: %s", hiprtc->identity, message[0] ? message : "no message");
}

static mj_status compile_once(const mj_hiprtc *hiprtc, const char *target, const char *source, size_t source_bytes,
                              bool *crashed, mj_compiled *out, mj_error *error)
{
    mj_workplace place = {0};
    mj_program run;
    char architecture[48];
    const char *options[OPTIONS_MAX];
    memset(out, 0, sizeof *out);
    *crashed = false;
    mj_status status = make_options(target, architecture, sizeof architecture, options, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_workplace_make(&place, "kernel.hip", "kernel.co", error);
    if (status == MJ_OK) {
        status = mj_workplace_write(&place, source, source_bytes, error);
    }
    if (status == MJ_OK) {
        status = run_compiler(hiprtc, &place, options, &run, error);
    }
    if (status == MJ_OK) {
        status = collect(hiprtc, &run, &place, target, out, error);
        *crashed = run.exit_code > 128;
    }
    mj_workplace_remove(&place);
    if (status != MJ_OK) {
        mj_compiled_free(out);
    }
    return status;
}

mj_status mj_hiprtc_try_target(const mj_hiprtc *hiprtc, const char *target, mj_error *error)
{
    static const char source[] = "extern \"C\" __global__ void probe(int *out) { *out = 1; }\n";
    mj_compiled compiled;
    mj_error why = {0};
    bool crashed = false;
    mj_status status = compile_once(hiprtc, target, source, sizeof source - 1, &crashed, &compiled, &why);
    mj_compiled_free(&compiled);
    if (status == MJ_ERR_COMPILE || status == MJ_ERR_FORMAT) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "%s cannot compile for %s: %s", hiprtc->identity, target,
                       crashed ? "it does not know this target" : why.text);
    }
    return status == MJ_OK ? MJ_OK : mj_fail(error, status, "%s", why.text);
}

mj_status mj_hiprtc_compile(const mj_hiprtc *hiprtc, const char *target, const char *source, size_t source_bytes,
                            mj_compiled *out, mj_error *error)
{
    bool crashed = false;
    mj_status status = compile_once(hiprtc, target, source, source_bytes, &crashed, out, error);
    /* An unknown target and an unknown instruction look alike: a trivial kernel tells them apart. */
    mj_error why = {0};
    if (crashed && mj_hiprtc_try_target(hiprtc, target, &why) == MJ_ERR_UNSUPPORTED) {
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "%s", why.text);
    }
    return status;
}
