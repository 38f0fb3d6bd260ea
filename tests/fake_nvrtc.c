/* fake_nvrtc.c: an NVRTC that compiles nothing. $FAKE_NVRTC scripts it, words separated by blanks:
 *     version=12.4    what it says it is (13.0)        archs=90      the newest target it knows (121)
 *     lost=7508       its log says that setmaxnreg was ignored (7508) or wgmma serialised (7511)
 *     create=5        results of single functions, by NVRTC's numbers: create, compile, size, cubin, version_result
 * A source with the word BROKEN is rejected with an error on its line; one with SPILL compiles with spills. The "cubin" is the
 * options, one per line, then the source. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
enum { COMPILATION = 6 };

typedef struct program {
    char *source, *cubin;
    char log[1024];
} program;

static int setting(const char *name, int otherwise)
{
    char head[32];
    const char *script = getenv("FAKE_NVRTC");
    snprintf(head, sizeof head, "%s=", name);
    const char *at = script ? strstr(script, head) : NULL;
    return at ? (int)strtol(at + strlen(head), NULL, 10) : otherwise;
}

EXPORT int nvrtcVersion(int *major, int *minor)
{
    const char *script = getenv("FAKE_NVRTC"), *at = script ? strstr(script, "version=") : NULL;
    *major = 13;
    *minor = 0;
    if (at && sscanf(at, "version=%d.%d", major, minor) != 2) {
        return 1;
    }
    return setting("version_result", 0);
}
EXPORT const char *nvrtcGetErrorString(int result)
{
    return result == COMPILATION ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_FAKE";
}
EXPORT int nvrtcGetNumSupportedArchs(int *count)
{
    *count = 3;
    return 0;
}
EXPORT int nvrtcGetSupportedArchs(int *archs)
{
    archs[0] = 75;
    archs[1] = 80;
    archs[2] = setting("archs", 90);
    return 0;
}
EXPORT int nvrtcCreateProgram(program **out, const char *source, const char *name, int headers, const char *const *h,
                              const char *const *n)
{
    (void)name, (void)h, (void)n;
    int result = setting("create", headers);
    if (result == 0) {
        *out = calloc(1, sizeof **out);
        (*out)->source = strdup(source);
    }
    return result;
}
EXPORT int nvrtcDestroyProgram(program **p)
{
    free((*p)->source);
    free((*p)->cubin);
    free(*p);
    *p = NULL;
    return 0;
}
static int broken_line(const char *source)
{
    int line = 1;
    for (const char *end = strstr(source, "BROKEN"); source < end; source++) {
        line += *source == '\n';
    }
    return line;
}
EXPORT int nvrtcCompileProgram(program *p, int count, const char *const *options)
{
    size_t bytes = strlen(p->source) + 1;
    if (strstr(p->source, "BROKEN")) {
        snprintf(p->log, sizeof p->log,
                 "warning: first of all\nmoejit.cu(%d): error: BROKEN is undefined\n\n1 error detected\n",
                 broken_line(p->source));
        return COMPILATION;
    }
    for (int i = 0; i < count; i++) {
        bytes += strlen(options[i]) + 1;
    }
    size_t used = 0;
    p->cubin = calloc(1, bytes);
    for (int i = 0; i < count; i++) {
        used += (size_t)snprintf(p->cubin + used, bytes - used, "%s\n", options[i]);
    }
    snprintf(p->cubin + used, bytes - used, "%s", p->source);
    int spills = strstr(p->source, "SPILL") ? 24 : 0, lost = setting("lost", 0);
    const char *advice =
        lost == 7508 ? "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored; unable to determine "
                       "register count at entry.\n"
        : lost == 7511
            ? "ptxas info    : (C7511) Potential Performance Loss: wgmma.mma_async instructions are serialized "
              "due to insufficient register resources for the wgmma pipeline in the function 'k'\n"
            : "";
    snprintf(
        p->log, sizeof p->log,
        "%sptxas info    : Function properties for k\nptxas         .     %d bytes stack frame, %d bytes spill stores, "
        "%d bytes spill loads\nptxas info    : Used 77 registers, used 1 barriers, 512 bytes smem\n",
        advice, spills, spills, spills);
    return setting("compile", 0);
}
EXPORT int nvrtcGetCUBINSize(program *p, size_t *bytes)
{
    *bytes = p->cubin ? strlen(p->cubin) : 0;
    return setting("size", 0);
}
EXPORT int nvrtcGetCUBIN(program *p, char *out)
{
    memcpy(out, p->cubin, strlen(p->cubin));
    return setting("cubin", 0);
}
EXPORT int nvrtcGetProgramLogSize(program *p, size_t *bytes)
{
    *bytes = strlen(p->log) + 1;
    return 0;
}
EXPORT int nvrtcGetProgramLog(program *p, char *log)
{
    memcpy(log, p->log, strlen(p->log) + 1);
    return 0;
}
