/* hiprtc_main.c: moejit-hiprtc: AMD's run-time compiler in a process of its own.
 *
 *   moejit-hiprtc LIBRARY                           prints one line that names the compiler
 *   moejit-hiprtc LIBRARY SOURCE OUTPUT OPTION...   compiles; the compiler's messages go to standard output
 *
 * hipRTC ends its process when it meets a target or an intrinsic that it does not know, so nothing else may live in it.
 * Needs the C library alone: it also runs under the dynamic loader of a private folder that brings its own C library
 * (hiprtc.c). Exit codes are in hiprtc_exit.h; what went wrong is one line on standard error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "hiprtc_exit.h"

/* The part of hipRTC's C interface that is used; declared here so that no SDK is needed to build. */
typedef struct hiprtc_program *hiprtc_program;
typedef int hiprtc_result; /* 0: success */

/* X(return type, name, arguments) */
#define HIPRTC_FUNCTIONS(X) \
    X(const char *, hiprtcGetErrorString, (hiprtc_result result)) \
    X(hiprtc_result, hiprtcCreateProgram, \
      (hiprtc_program * program, const char *source, const char *name, int header_count, const char **headers, \
       const char **header_names)) \
    X(hiprtc_result, hiprtcDestroyProgram, (hiprtc_program * program)) \
    X(hiprtc_result, hiprtcCompileProgram, (hiprtc_program program, int option_count, const char **options)) \
    X(hiprtc_result, hiprtcGetCodeSize, (hiprtc_program program, size_t * bytes)) \
    X(hiprtc_result, hiprtcGetCode, (hiprtc_program program, char *code)) \
    X(hiprtc_result, hiprtcGetProgramLogSize, (hiprtc_program program, size_t * bytes)) \
    X(hiprtc_result, hiprtcGetProgramLog, (hiprtc_program program, char *log))

enum { SOURCE_BYTES_MAX = 64 << 20, CODE_BYTES_MAX = 256 << 20, LOG_BYTES_MAX = 16 << 20 };

typedef struct compiler {
    void *library;
    const char *path;
#define HIPRTC_FIELD(type, name, arguments) type(*name) arguments;
    HIPRTC_FUNCTIONS(HIPRTC_FIELD)
#undef HIPRTC_FIELD
} compiler;

static int fail(int code, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return code;
}

static int load(const char *path, compiler *out)
{
    const char *missing = NULL;
    memset(out, 0, sizeof *out);
    out->path = path;
    out->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!out->library) {
        const char *why = dlerror();
        return fail(HIPRTC_EXIT_LIBRARY, "hipRTC", why ? why : path);
    }
#define HIPRTC_BIND(type, name, arguments) \
    { \
        void *found = dlsym(out->library, #name); \
        memcpy(&out->name, &found, sizeof found); \
        missing = !found && !missing ? #name : missing; \
    }
    HIPRTC_FUNCTIONS(HIPRTC_BIND)
#undef HIPRTC_BIND
    if (missing) {
        fprintf(stderr, "%s has no %s: it holds no hipRTC, or one older than ROCm 5\n", path, missing);
        return HIPRTC_EXIT_LIBRARY;
    }
    return 0;
}

/* ---- Identity: the file names' versions, and a digest of the build ids of all that takes part ---- */

typedef struct identity {
    char text[256];
    uint64_t digest; /* FNV-1a, independent of the order */
} identity;

static uint64_t digest_bytes(uint64_t start, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    uint64_t digest = start;
    for (size_t i = 0; i < bytes; i++) {
        digest = (digest ^ at[i]) * 0x100000001b3u;
    }
    return digest;
}

static uint64_t digest_build_id(const struct dl_phdr_info *object, uint64_t digest)
{
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type != PT_NOTE) {
            continue;
        }
        const char *at = (const char *)(object->dlpi_addr + header->p_vaddr);
        const char *end = at + header->p_memsz;
        while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            size_t name_bytes = ((size_t)note.n_namesz + 3) & ~(size_t)3;
            size_t desc_bytes = ((size_t)note.n_descsz + 3) & ~(size_t)3;
            size_t left = (size_t)(end - at) - sizeof note;
            if (name_bytes > left || desc_bytes > left - name_bytes) {
                break;
            }
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(at + sizeof note, "GNU", 4) == 0) {
                digest = digest_bytes(digest, at + sizeof note + name_bytes, note.n_descsz);
            }
            at += sizeof note + name_bytes + desc_bytes;
        }
    }
    return digest;
}

/* ".../libhiprtc.so.6.4.43484" -> "hiprtc 6.4.43484"; libamdhip64 is the older place of the same compiler. */
static int visit_object(struct dl_phdr_info *object, size_t bytes, void *user)
{
    static const struct {
        const char *stem, *label; /* no label: only in the digest */
    } parts[] = {{"libhiprtc.so", "hiprtc"}, {"libamdhip64.so", "hiprtc"},    {"libamd_comgr.so", "comgr"},
                 {"libLLVM", "LLVM"},        {"libhiprtc-builtins.so", NULL}, {"libclang-cpp", NULL}};
    identity *found = user;
    char real[PATH_MAX];
    struct stat info;
    (void)bytes;
    if (!object->dlpi_name || !object->dlpi_name[0] || !realpath(object->dlpi_name, real)) {
        return 0;
    }
    const char *name = strrchr(real, '/') ? strrchr(real, '/') + 1 : real;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t stem = strlen(parts[i].stem);
        if (strncmp(name, parts[i].stem, stem) != 0) {
            continue;
        }
        uint64_t digest = digest_bytes(0xcbf29ce484222325u, name, strlen(name));
        long long size = stat(real, &info) == 0 ? (long long)info.st_size : 0;
        digest = digest_bytes(digest, &size, sizeof size);
        found->digest += digest_build_id(object, digest);
        const char *version = name + stem + strcspn(name + stem, "0123456789");
        size_t used = strlen(found->text);
        if (parts[i].label && used < sizeof found->text) {
            size_t length = strspn(version, "0123456789.");
            length -= length > 0 && version[length - 1] == '.'; /* "15.so.1" */
            snprintf(found->text + used, sizeof found->text - used, "%s%s%s%.*s", used ? " " : "", parts[i].label,
                     length ? " " : "", (int)(length < 24 ? length : 24), version);
        }
        break;
    }
    return 0;
}

static int is_comgr(struct dl_phdr_info *object, size_t bytes, void *user)
{
    (void)bytes, (void)user;
    return object->dlpi_name && strstr(object->dlpi_name, "libamd_comgr.so") != NULL;
}

/* The compiler behind hipRTC, which the first compilation would open by name, lies beside it as a rule: opening it tells as
 * much in a tenth of the time. */
static void open_comgr(const compiler *c)
{
    char real[PATH_MAX], pattern[PATH_MAX + 32];
    glob_t found = {0};
    Dl_info where;
    void *function = NULL;
    memcpy(&function, &c->hiprtcCreateProgram, sizeof function);
    if (dl_iterate_phdr(is_comgr, NULL) || !dladdr(function, &where) || !realpath(where.dli_fname, real)) {
        return;
    }
    char *slash = strrchr(real, '/');
    snprintf(pattern, sizeof pattern, "%.*s/libamd_comgr.so.[0-9]", (int)(slash ? slash - real : 0), real);
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0) {
        dlopen(found.gl_pathv[found.gl_pathc - 1], RTLD_LAZY | RTLD_LOCAL);
    }
    globfree(&found);
}

/* The target is one that every version knows. */
static int compile_nothing(const compiler *c)
{
    const char *options[] = {"--offload-arch=gfx90a"};
    hiprtc_program program = NULL;
    if (c->hiprtcCreateProgram(&program, "extern \"C\" __global__ void probe() {}", "probe.hip", 0, NULL, NULL) != 0) {
        return fail(HIPRTC_EXIT_LIBRARY, c->path, "cannot make a program");
    }
    hiprtc_result result = c->hiprtcCompileProgram(program, 1, options);
    c->hiprtcDestroyProgram(&program);
    return result == 0 ? 0 : fail(HIPRTC_EXIT_LIBRARY, c->path, "cannot compile an empty kernel for gfx90a");
}

static int print_identity(const compiler *c)
{
    identity found = {{0}, 0};
    open_comgr(c);
    int code = dl_iterate_phdr(is_comgr, NULL) ? 0 : compile_nothing(c);
    if (code != 0) {
        return code;
    }
    dl_iterate_phdr(visit_object, &found);
    printf("%s %08x\n", found.text[0] ? found.text : "hiprtc",
           (unsigned)((found.digest ^ found.digest >> 32) & 0xffffffffu));
    return 0;
}

/* ---- Compiling ---- */

static char *read_source(const char *path)
{
    FILE *file = fopen(path, "rbe");
    struct stat info;
    char *text = NULL;
    if (file && fstat(fileno(file), &info) == 0 && info.st_size >= 0 && info.st_size <= SOURCE_BYTES_MAX) {
        text = calloc(1, (size_t)info.st_size + 1);
        if (text && fread(text, 1, (size_t)info.st_size, file) != (size_t)info.st_size) {
            free(text);
            text = NULL;
        }
    }
    if (file) {
        fclose(file);
    }
    return text;
}

static const char *error_text(const compiler *c, hiprtc_result result)
{
    const char *text = c->hiprtcGetErrorString(result);
    return text ? text : "an error without a text";
}

static void print_log(const compiler *c, hiprtc_program program)
{
    size_t bytes = 0;
    if (c->hiprtcGetProgramLogSize(program, &bytes) != 0 || bytes == 0 || bytes > LOG_BYTES_MAX) {
        return;
    }
    char *log = calloc(1, bytes + 1);
    if (log && c->hiprtcGetProgramLog(program, log) == 0) {
        fputs(log, stdout);
    }
    free(log);
    fflush(stdout);
}

static int write_code(const compiler *c, hiprtc_program program, const char *path)
{
    size_t bytes = 0;
    hiprtc_result result = c->hiprtcGetCodeSize(program, &bytes);
    if (result != 0 || bytes == 0 || bytes > CODE_BYTES_MAX) {
        return fail(HIPRTC_EXIT_COMPILE, "hipRTC", "made no code object");
    }
    char *code = malloc(bytes);
    result = code ? c->hiprtcGetCode(program, code) : -1;
    if (result != 0) {
        free(code);
        return fail(HIPRTC_EXIT_COMPILE, "hipRTC", result < 0 ? "no memory" : error_text(c, result));
    }
    FILE *file = fopen(path, "wbe");
    bool good = file && fwrite(code, 1, bytes, file) == bytes;
    good = file && fclose(file) == 0 && good;
    free(code);
    return good ? 0 : fail(HIPRTC_EXIT_FILES, path, "the code object could not be written");
}

static int compile(const compiler *c, const char *source_path, const char *output, int count, const char **options)
{
    hiprtc_program program = NULL;
    char *source = read_source(source_path);
    if (!source) {
        return fail(HIPRTC_EXIT_FILES, source_path, "could not be read");
    }
    hiprtc_result result = c->hiprtcCreateProgram(&program, source, "moejit.hip", 0, NULL, NULL);
    if (result == 0) {
        result = c->hiprtcCompileProgram(program, count, options);
        print_log(c, program);
    }
    free(source);
    if (result != 0) {
        return fail(HIPRTC_EXIT_COMPILE, "hipRTC", error_text(c, result));
    }
    int code = write_code(c, program, output);
    c->hiprtcDestroyProgram(&program);
    return code;
}

int main(int argc, char **argv)
{
    compiler c;
    struct rlimit none = {0, 0};
    if (argc != 2 && argc < 4) {
        return fail(HIPRTC_EXIT_USAGE, "moejit-hiprtc", "started by moejit, not by hand");
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever wanted this is gone: no use to go on */
    setrlimit(RLIMIT_CORE, &none);
    int code = load(argv[1], &c);
    if (code == 0) {
        code = argc == 2 ? print_identity(&c) : compile(&c, argv[2], argv[3], argc - 4, (const char **)argv + 4);
    }
    fflush(NULL);
    _Exit(code); /* no destructors of a compiler that is of no use any more: they cost time and may crash */
}
