/* fake_hiprtc.c: a hipRTC that compiles nothing. $FAKE_HIPRTC scripts it, words separated by blanks:
 *     targets=gfx90a,gfx942   what it knows (all); like the real one it ends the process on another
 *     abort_on=WORD           it ends the process on a source with this word, as on an unknown intrinsic
 *     create=5                results of single functions, by hipRTC's numbers: create, compile, size, code
 * A source with the word BROKEN is rejected with an error on its line; SPILL compiles with scratch memory, OTHER for another
 * target, DAMAGED to half a file. The log is the options, one per line, and what it sees of the process that it runs in. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_code_object.h"

#define EXPORT __attribute__((visibility("default")))
enum { COMPILATION = 6 };

typedef struct program {
    char *source;
    unsigned char code[FAKE_CODE_BYTES_MAX];
    size_t code_bytes;
    char log[4096];
} program;

static int setting(const char *name, int otherwise)
{
    char head[32];
    const char *script = getenv("FAKE_HIPRTC");
    snprintf(head, sizeof head, "%s=", name);
    const char *at = script ? strstr(script, head) : NULL;
    return at ? (int)strtol(at + strlen(head), NULL, 10) : otherwise;
}

/* The word behind "name=" in the script; "" if it is not there. */
static void setting_word(const char *name, char *out, size_t bytes)
{
    const char *script = getenv("FAKE_HIPRTC"), *at = script ? strstr(script, name) : NULL;
    at = at ? at + strlen(name) : "";
    snprintf(out, bytes, "%.*s", (int)strcspn(at, " "), at);
}

EXPORT const char *hiprtcGetErrorString(int result)
{
    return result == COMPILATION ? "HIPRTC_ERROR_COMPILATION" : "HIPRTC_ERROR_FAKE";
}
EXPORT int hiprtcCreateProgram(program **out, const char *source, const char *name, int headers, const char **h,
                               const char **n)
{
    (void)name, (void)h, (void)n;
    int result = setting("create", headers);
    if (result == 0) {
        *out = calloc(1, sizeof **out);
        (*out)->source = strdup(source);
    }
    return result;
}
EXPORT int hiprtcDestroyProgram(program **p)
{
    free((*p)->source);
    free(*p);
    *p = NULL;
    return 0;
}
static int line_of(const char *source, const char *word)
{
    int line = 1;
    for (const char *end = strstr(source, word); source < end; source++) {
        line += *source == '\n';
    }
    return line;
}
static void write_log(program *p, int count, const char **options)
{
    size_t used = 0;
    char self[512];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    self[bytes > 0 ? bytes : 0] = '\0';
    for (int i = 0; i < count; i++) {
        used += (size_t)snprintf(p->log + used, sizeof p->log - used, "%s\n", options[i]);
    }
    const char *cache = getenv("AMD_COMGR_CACHE"), *search = getenv("LD_LIBRARY_PATH");
    snprintf(p->log + used, sizeof p->log - used, "exe %s\ncache %s\nsearch %.1024s\n", self, cache ? cache : "on",
             search ? search : "");
}
EXPORT int hiprtcCompileProgram(program *p, int count, const char **options)
{
    char target[32] = "", known[256], word[64];
    write_log(p, count, options);
    for (int i = 0; i < count; i++) {
        sscanf(options[i], "--offload-arch=%31s", target);
    }
    setting_word("targets=", known, sizeof known);
    if (known[0] && !strstr(known, target)) {
        fprintf(stderr, "munmap_chunk(): invalid pointer\n");
        abort();
    }
    setting_word("abort_on=", word, sizeof word);
    if (word[0] && strstr(p->source, word)) {
        fprintf(stderr, "LLVM ERROR: Cannot select: intrinsic %%llvm.amdgcn.fake\nPLEASE submit a bug report\n");
        abort();
    }
    if (strstr(p->source, "BROKEN")) {
        snprintf(
            p->log, sizeof p->log,
            "moejit.hip:1:1: warning: first of all\nmoejit.hip:%d:5: error: BROKEN is undefined\n1 error generated\n",
            line_of(p->source, "BROKEN"));
        return COMPILATION;
    }
    fake_code code = {.target = strstr(p->source, "OTHER") ? "gfx1100" : target,
                      .kernels = {"first", "second"},
                      .vgprs = 77,
                      .agprs = 12,
                      .sgprs = 30,
                      .lds_bytes = 512,
                      .scratch_bytes = strstr(p->source, "SPILL") ? 24 : 0};
    p->code_bytes = fake_code_object(&code, p->code);
    p->code_bytes /= strstr(p->source, "DAMAGED") ? 2 : 1;
    return setting("compile", 0);
}
EXPORT int hiprtcGetCodeSize(program *p, size_t *bytes)
{
    *bytes = p->code_bytes;
    return setting("size", 0);
}
EXPORT int hiprtcGetCode(program *p, char *out)
{
    memcpy(out, p->code, p->code_bytes);
    return setting("code", 0);
}
EXPORT int hiprtcGetProgramLogSize(program *p, size_t *bytes)
{
    *bytes = strlen(p->log) + 1;
    return 0;
}
EXPORT int hiprtcGetProgramLog(program *p, char *log)
{
    memcpy(log, p->log, strlen(p->log) + 1);
    return 0;
}
