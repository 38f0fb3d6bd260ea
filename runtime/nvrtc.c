/* nvrtc.c: loading NVRTC and compiling with it. */
#define _GNU_SOURCE
#include "nvrtc.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "compile_log.h"

/* The part of NVRTC's C interface that is used; declared here so that no toolkit is needed to build. */
typedef struct nvrtc_program *nvrtc_program;
typedef int nvrtc_result; /* 0: success */

/* X(return type, name, arguments) */
#define NVRTC_FUNCTIONS(X) \
    X(nvrtc_result, nvrtcVersion, (int *major, int *minor)) \
    X(const char *, nvrtcGetErrorString, (nvrtc_result result)) \
    X(nvrtc_result, nvrtcGetNumSupportedArchs, (int *count)) \
    X(nvrtc_result, nvrtcGetSupportedArchs, (int *archs)) \
    X(nvrtc_result, nvrtcCreateProgram, \
      (nvrtc_program * program, const char *source, const char *name, int header_count, const char *const *headers, \
       const char *const *header_names)) \
    X(nvrtc_result, nvrtcDestroyProgram, (nvrtc_program * program)) \
    X(nvrtc_result, nvrtcCompileProgram, (nvrtc_program program, int option_count, const char *const *options)) \
    X(nvrtc_result, nvrtcGetCUBINSize, (nvrtc_program program, size_t * bytes)) \
    X(nvrtc_result, nvrtcGetCUBIN, (nvrtc_program program, char *cubin)) \
    X(nvrtc_result, nvrtcGetProgramLogSize, (nvrtc_program program, size_t * bytes)) \
    X(nvrtc_result, nvrtcGetProgramLog, (nvrtc_program program, char *log))

#define INSTALL_HINT \
    "install it (pip install nvidia-cuda-nvrtc-cu12, a CUDA toolkit 12.0 or later, or the " \
    "distribution's libnvrtc) or set MOEJIT_NVRTC to the library"

enum { ARCHS_MAX = 128, OPTIONS_MAX = 8, LOG_BYTES_MAX = 16 << 20, CUBIN_BYTES_MAX = 256 << 20 };

struct mj_nvrtc {
    void *library, *builtins;
#define NVRTC_FIELD(type, name, arguments) type(*name) arguments;
    NVRTC_FUNCTIONS(NVRTC_FIELD)
#undef NVRTC_FIELD
    int major, minor;
    int arch_count, archs[ARCHS_MAX];
    char path[PATH_MAX];
    char identity[96];
};

/* ---- Loading ---- */

/* NVRTC opens its builtins by name; where the library lies off the loader's path they are found only
 * if they are loaded already. */
static void load_builtins(mj_nvrtc *nvrtc)
{
    char pattern[PATH_MAX + 64];
    const char *slash = strrchr(nvrtc->path, '/');
    if (!slash) {
        return;
    }
    snprintf(pattern, sizeof pattern, "%.*s/libnvrtc-builtins.so.%d.%d*", (int)(slash - nvrtc->path), nvrtc->path,
             nvrtc->major, nvrtc->minor);
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0) {
        nvrtc->builtins = dlopen(found.gl_pathv[0], RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    }
    globfree(&found);
}

static void set_identity(mj_nvrtc *nvrtc)
{
    char head[32], real[PATH_MAX];
    struct stat info = {0};
    snprintf(head, sizeof head, ".so.%d.%d.", nvrtc->major, nvrtc->minor);
    const char *file = realpath(nvrtc->path, real) ? real : nvrtc->path;
    const char *patch = strstr(file, head);
    if (patch && strspn(patch + strlen(head), "0123456789") == strlen(patch + strlen(head))) {
        snprintf(nvrtc->identity, sizeof nvrtc->identity, "nvrtc %d.%d.%.20s", nvrtc->major, nvrtc->minor,
                 patch + strlen(head));
    } else if (stat(file, &info) == 0) {
        snprintf(nvrtc->identity, sizeof nvrtc->identity, "nvrtc %d.%d (%lld bytes)", nvrtc->major, nvrtc->minor,
                 (long long)info.st_size);
    } else {
        snprintf(nvrtc->identity, sizeof nvrtc->identity, "nvrtc %d.%d", nvrtc->major, nvrtc->minor);
    }
}

static mj_status bind(mj_nvrtc *nvrtc, mj_error *error)
{
    const char *missing = NULL;
#define NVRTC_BIND(type, name, arguments) \
    { \
        void *found = dlsym(nvrtc->library, #name); \
        memcpy(&nvrtc->name, &found, sizeof found); \
        missing = !found && !missing ? #name : missing; \
    }
    NVRTC_FUNCTIONS(NVRTC_BIND)
#undef NVRTC_BIND
    if (missing) {
        return mj_fail(error, MJ_ERR_NO_COMPILER, "%s has no %s: it is no NVRTC, or older than CUDA 11.2", nvrtc->path,
                       missing);
    }
    if (nvrtc->nvrtcVersion(&nvrtc->major, &nvrtc->minor) != 0) {
        return mj_fail(error, MJ_ERR_NO_COMPILER, "%s does not tell its version", nvrtc->path);
    }
    int count = 0;
    if (nvrtc->nvrtcGetNumSupportedArchs(&count) == 0 && count > 0 && count <= ARCHS_MAX &&
        nvrtc->nvrtcGetSupportedArchs(nvrtc->archs) == 0) {
        nvrtc->arch_count = count;
    }
    return MJ_OK;
}

/* The file behind a loaded library, for the identity and for messages. */
static void note_real_path(mj_nvrtc *nvrtc, const char *fallback)
{
    void *function = NULL;
    Dl_info where;
    memcpy(&function, &nvrtc->nvrtcVersion, sizeof function);
    const char *path = dladdr(function, &where) && where.dli_fname ? where.dli_fname : fallback;
    if (path != nvrtc->path) {
        snprintf(nvrtc->path, sizeof nvrtc->path, "%s", path);
    }
}

void mj_nvrtc_close(mj_nvrtc *nvrtc)
{
    if (!nvrtc) {
        return;
    }
    if (nvrtc->library) {
        dlclose(nvrtc->library);
    }
    if (nvrtc->builtins) {
        dlclose(nvrtc->builtins);
    }
    free(nvrtc);
}

static mj_status load(const char *path, mj_nvrtc **out, mj_error *error)
{
    mj_nvrtc *nvrtc = calloc(1, sizeof *nvrtc);
    *out = NULL;
    if (!nvrtc) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for NVRTC");
    }
    snprintf(nvrtc->path, sizeof nvrtc->path, "%s", path);
    mj_status status = MJ_OK;
    /* stays in the process once loaded: unloading it leaks, and the next context would load it again */
    nvrtc->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!nvrtc->library) {
        const char *why = dlerror();
        status = mj_fail(error, MJ_ERR_NO_COMPILER, "%s", why ? why : path);
    } else {
        status = bind(nvrtc, error);
    }
    if (status != MJ_OK) {
        mj_nvrtc_close(nvrtc);
        return status;
    }
    note_real_path(nvrtc, path);
    set_identity(nvrtc);
    load_builtins(nvrtc);
    *out = nvrtc;
    return MJ_OK;
}

typedef struct attempt {
    mj_nvrtc *nvrtc;
    mj_error error; /* of the first that did not load */
    int tried;
} attempt;

static bool try_path(void *user, const char *path)
{
    attempt *a = user;
    mj_error error = {0};
    if (load(path, &a->nvrtc, &error) != MJ_OK && a->tried++ == 0) {
        a->error = error;
    }
    return a->nvrtc == NULL;
}

static mj_status open_given(const char *path, mj_nvrtc **out, mj_error *error)
{
    struct stat info;
    attempt a = {0};
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        mj_nvrtc_in_folder(path, try_path, &a);
    } else {
        try_path(&a, path);
    }
    *out = a.nvrtc;
    if (a.nvrtc) {
        return MJ_OK;
    }
    return mj_fail(error, MJ_ERR_NO_COMPILER, "NVRTC at %s, as asked for: %s", path,
                   a.tried ? a.error.text : "no libnvrtc.so in that folder");
}

mj_status mj_nvrtc_open(const char *path, mj_nvrtc **out, mj_error *error)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"};
    *out = NULL;
    path = path && *path ? path : getenv("MOEJIT_NVRTC");
    if (path && *path) {
        return open_given(path, out, error);
    }
    attempt a = {0};
    mj_nvrtc_candidates(try_path, &a);
    int files_tried = a.tried;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !a.nvrtc; i++) {
        try_path(&a, names[i]);
    }
    *out = a.nvrtc;
    if (a.nvrtc) {
        return MJ_OK;
    }
    if (files_tried) {
        return mj_fail(error, MJ_ERR_NO_COMPILER, "NVRTC cannot be loaded: %s; " INSTALL_HINT, a.error.text);
    }
    return mj_fail(error, MJ_ERR_NO_COMPILER,
                   "NVRTC, NVIDIA's run-time compiler, is not on this machine: " INSTALL_HINT);
}

const char *mj_nvrtc_identity(const mj_nvrtc *nvrtc)
{
    return nvrtc->identity;
}

const char *mj_nvrtc_path(const mj_nvrtc *nvrtc)
{
    return nvrtc->path;
}

/* ---- Compiling ---- */

static mj_status check_target(const mj_nvrtc *nvrtc, const char *target, mj_error *error)
{
    int number = 0, end = 0;
    if (!target || sscanf(target, "sm_%d%n", &number, &end) != 1 || number <= 0 ||
        strspn(target + end, "af") != strlen(target + end)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "\"%s\" is no NVIDIA target (sm_80, sm_90a, ...)",
                       target ? target : "(null)");
    }
    for (int i = 0; i < nvrtc->arch_count; i++) {
        if (nvrtc->archs[i] == number) {
            return MJ_OK;
        }
    }
    if (nvrtc->arch_count == 0) {
        return MJ_OK; /* it does not say: the compiler will */
    }
    return mj_fail(error, MJ_ERR_UNSUPPORTED, "%s (%s) cannot compile for %s; it knows sm_%d to sm_%d", nvrtc->identity,
                   nvrtc->path, target, nvrtc->archs[0], nvrtc->archs[nvrtc->arch_count - 1]);
}

static char *read_log(const mj_nvrtc *nvrtc, nvrtc_program program)
{
    size_t bytes = 0;
    if (nvrtc->nvrtcGetProgramLogSize(program, &bytes) != 0 || bytes > LOG_BYTES_MAX) {
        return NULL;
    }
    char *log = calloc(1, bytes + 1);
    if (log && bytes && nvrtc->nvrtcGetProgramLog(program, log) != 0) {
        log[0] = '\0';
    }
    return log;
}

static mj_status read_cubin(const mj_nvrtc *nvrtc, nvrtc_program program, mj_compiled *out, mj_error *error)
{
    size_t bytes = 0;
    if (nvrtc->nvrtcGetCUBINSize(program, &bytes) != 0 || bytes == 0 || bytes > CUBIN_BYTES_MAX) {
        return mj_fail(error, MJ_ERR_COMPILE, "%s made no cubin", nvrtc->identity);
    }
    out->binary = malloc(bytes);
    if (!out->binary) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a cubin of %zu bytes", bytes);
    }
    out->binary_bytes = bytes;
    nvrtc_result result = nvrtc->nvrtcGetCUBIN(program, out->binary);
    return result == 0 ? MJ_OK
                       : mj_fail(error, MJ_ERR_COMPILE, "%s: %s", nvrtc->identity, nvrtc->nvrtcGetErrorString(result));
}

static mj_status compile_failed(const mj_nvrtc *nvrtc, nvrtc_result result, const char *log, mj_error *error)
{
    char message[640];
    mj_log_first_error(log, message, sizeof message);
    return mj_fail(error, MJ_ERR_COMPILE, "%s: %s", nvrtc->identity,
                   message[0] ? message : nvrtc->nvrtcGetErrorString(result));
}

/* This thread's processor seconds: the clock that the time of others on the machine does not enter. */
static double thread_seconds(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

mj_status mj_nvrtc_compile(const mj_nvrtc *nvrtc, const char *target, const char *source, mj_compiled *out,
                           mj_error *error)
{
    char architecture[64];
    const char *options[OPTIONS_MAX] = {architecture, "-std=c++17", "-default-device", "--ptxas-options=-v"};
    int option_count = 4;
    nvrtc_program program = NULL;
    memset(out, 0, sizeof *out);
    mj_status status = check_target(nvrtc, target, error);
    if (status != MJ_OK) {
        return status;
    }
    snprintf(architecture, sizeof architecture, "--gpu-architecture=%.20s", target);
    if (nvrtc->major >= 13) {
        options[option_count++] = "--no-cache"; /* binaries are cached here; its own lies in the home */
    }
    double start = thread_seconds();
    nvrtc_result result = nvrtc->nvrtcCreateProgram(&program, source, "moejit.cu", 0, NULL, NULL);
    if (result != 0) {
        return mj_fail(error, MJ_ERR_COMPILE, "%s: %s", nvrtc->identity, nvrtc->nvrtcGetErrorString(result));
    }
    result = nvrtc->nvrtcCompileProgram(program, option_count, options);
    out->log = read_log(nvrtc, program);
    status = result == 0 ? read_cubin(nvrtc, program, out, error) : compile_failed(nvrtc, result, out->log, error);
    nvrtc->nvrtcDestroyProgram(&program);
    out->compile_seconds = thread_seconds() - start;
    mj_log_ptxas_attributes(out->log, &out->attributes);
    if (status != MJ_OK) {
        mj_compiled_free(out);
    }
    return status;
}
