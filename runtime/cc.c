/* cc.c: starting the system's C compiler without a shell, in a folder of its own. */
#define _GNU_SOURCE
#include "cc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compile_log.h"
#include "os.h"
#include "program.h"

enum { OUTPUT_BYTES_MAX = 64 << 20, LOG_BYTES_MAX = 4 << 20, IDENTITY_SECONDS = 20 };

static bool is_executable(const char *path)
{
    struct stat info;
    return access(path, X_OK) == 0 && stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static bool find_on_path(const char *name, char out[MJ_CC_PATH_MAX])
{
    const char *folder = getenv("PATH");
    while (folder && *folder) {
        int length = (int)strcspn(folder, ":");
        char path[MJ_CC_PATH_MAX];
        int written = snprintf(path, sizeof path, "%.*s/%s", length, folder, name);
        if (length > 0 && written > 0 && (size_t)written < sizeof path && is_executable(path)) {
            memcpy(out, path, (size_t)written + 1);
            return true;
        }
        folder += length;
        folder += *folder == ':';
    }
    return false;
}

mj_status mj_cc_find(const char *wanted, char out[MJ_CC_PATH_MAX], mj_error *error)
{
    static const char *const names[] = {"cc", "gcc", "clang"};
    const char *given = wanted ? wanted : getenv("MOEJIT_CC");
    if (given && *given) {
        if (strlen(given) >= MJ_CC_PATH_MAX) {
            return mj_fail(error, MJ_ERR_ARGUMENT, "the C compiler's path is too long");
        }
        memcpy(out, given, strlen(given) + 1);
        if (strchr(given, '/') ? is_executable(given) : find_on_path(given, out)) {
            return MJ_OK;
        }
        return mj_fail(error, MJ_ERR_NO_COMPILER, "C compiler %s: not an executable file", given);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (find_on_path(names[i], out)) {
            return MJ_OK;
        }
    }
    return mj_fail(error, MJ_ERR_NO_COMPILER,
                   "no C compiler (cc, gcc, clang) on PATH: install one (Debian, Ubuntu: apt install gcc) "
                   "or set MOEJIT_CC");
}

/* ---- Identity ---- */

/* The value of `#define NAME value` in a list of macros, without quotes; "" if it is not there. */
static void macro_value(const char *macros, const char *name, char *out, size_t bytes)
{
    char head[64];
    int length = snprintf(head, sizeof head, "#define %s ", name);
    const char *at = strstr(macros, head);
    out[0] = '\0';
    if (at) {
        at += length;
        at += *at == '"';
        size_t count = strcspn(at, "\"\r\n");
        snprintf(out, bytes, "%.*s", (int)count, at);
    }
}

static void describe(const char *macros, size_t macro_bytes, char *out, size_t bytes)
{
    char digest[MJ_SHA256_HEX], version[48], major[12], minor[12], patch[12];
    mj_sha256_hex(macros, macro_bytes, digest);
    bool clang = strstr(macros, "#define __clang__ ") != NULL;
    macro_value(macros, clang ? "__clang_major__" : "__GNUC__", major, sizeof major);
    macro_value(macros, clang ? "__clang_minor__" : "__GNUC_MINOR__", minor, sizeof minor);
    macro_value(macros, clang ? "__clang_patchlevel__" : "__GNUC_PATCHLEVEL__", patch, sizeof patch);
    snprintf(version, sizeof version, "%s %s.%s.%s", clang ? "clang" : "gcc", major, minor, patch);
    snprintf(out, bytes, "%s %.8s", major[0] ? version : "cc", digest);
}

mj_status mj_cc_identity(const char *cc, char *out, size_t bytes, mj_error *error)
{
    mj_workplace place = {0};
    char *macros = NULL;
    size_t macro_bytes = 0;
    char message[256];
    out[0] = '\0';
    mj_status status = mj_workplace_make(&place, "kernel.c", "kernel.so", error);
    if (status != MJ_OK) {
        return status;
    }
    const char *environment[] = {place.temporaries, NULL};
    const char *argv[] = {cc, "-march=native", "-O3", "-std=gnu11", "-dM", "-E", "-x", "c", "-", NULL};
    mj_program r = {.argv = argv,
                    .environment = environment,
                    .input = "/dev/null",
                    .output = place.output,
                    .messages = place.messages,
                    .result = place.output,
                    .timeout_seconds = IDENTITY_SECONDS};
    status = mj_program_run(&r, error);
    if (status != MJ_OK) {
        goto done;
    }
    status =
        mj_os_read_file(r.exit_code == 0 ? place.output : place.messages, LOG_BYTES_MAX, &macros, &macro_bytes, error);
    if (status == MJ_OK && r.exit_code != 0) {
        mj_log_first_error(macros, message, sizeof message);
        status = mj_fail(error, MJ_ERR_NO_COMPILER, "%s does not work (exit code %d): %s", cc, r.exit_code, message);
    }
    if (status == MJ_OK) {
        describe(macros, macro_bytes, out, bytes);
    }
done:
    free(macros);
    mj_workplace_remove(&place);
    return status;
}

/* ---- Compiling ---- */

static bool target_is_plain(const char *target)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
    return target && *target && strlen(target) < 48 && strspn(target, allowed) == strlen(target);
}

static mj_status collect(const mj_program *r, const mj_workplace *place, mj_compiled *out, mj_error *error)
{
    char message[512], *object = NULL;
    size_t log_bytes = 0;
    out->compile_seconds = r->cpu_seconds;
    mj_os_read_file(place->messages, LOG_BYTES_MAX, &out->log, &log_bytes, NULL);
    if (r->exit_code != 0) {
        mj_log_first_error(out->log, message, sizeof message);
        return mj_fail(error, MJ_ERR_COMPILE, "%s (exit code %d): %s", r->argv[0], r->exit_code,
                       message[0] ? message : "no message");
    }
    mj_status status = mj_os_read_file(place->object, OUTPUT_BYTES_MAX, &object, &out->binary_bytes, error);
    out->binary = object;
    return status;
}

mj_status mj_cc_compile(const char *cc, const char *target, const char *source, size_t source_bytes,
                        double timeout_seconds, mj_compiled *out, mj_error *error)
{
    mj_workplace place = {0};
    char march[64];
    memset(out, 0, sizeof *out);
    if (!target_is_plain(target)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "\"%s\" is no CPU to compile for", target ? target : "(null)");
    }
    snprintf(march, sizeof march, "-march=%s", target);
    mj_status status = mj_workplace_make(&place, "kernel.c", "kernel.so", error);
    if (status == MJ_OK) {
        status = mj_workplace_write(&place, source, source_bytes, error);
    }
    if (status == MJ_OK) {
        /* no-math-errno lets sqrt and friends inline; values stay IEEE: NaN and infinities are data */
        const char *argv[] = {cc,
                              march,
                              "-O3",
                              "-std=gnu11",
                              "-fno-math-errno",
                              "-fvisibility=hidden",
                              "-shared",
                              "-fPIC",
                              "-o",
                              place.object,
                              "-x",
                              "c",
                              "-",
                              "-x",
                              "none",
                              "-lm",
                              NULL};
        const char *environment[] = {place.temporaries, NULL};
        mj_program r = {.argv = argv,
                        .environment = environment,
                        .input = place.source,
                        .output = place.output,
                        .messages = place.messages,
                        .result = place.object,
                        .timeout_seconds = timeout_seconds};
        status = mj_program_run(&r, error);
        if (status == MJ_OK) {
            status = collect(&r, &place, out, error);
        }
    }
    mj_workplace_remove(&place);
    if (status != MJ_OK) {
        free(out->binary);
        out->binary = NULL;
        out->binary_bytes = 0;
    }
    return status;
}
