/* compile_log.c: reading compilers' messages. */
#include "compile_log.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static size_t line_bytes(const char *line)
{
    return strcspn(line, "\r\n");
}

/* "error:" with a following blank or colon in any compiler's form: "file:1:2: error: x",
 * "file(3): error: x", "nvrtc: error: x", "collect2: error: ld returned". */
static bool line_is_error(const char *line, size_t bytes)
{
    static const char *const marks[] = {"error:", "error #", "Error:", "undefined reference"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        const char *at = strstr(line, marks[i]);
        if (at && at < line + bytes) {
            return true;
        }
    }
    return false;
}

static const char *next_line(const char *line)
{
    line += line_bytes(line);
    return line + strspn(line, "\r\n");
}

static void copy_line(const char *line, char *out, size_t bytes)
{
    size_t length = line_bytes(line);
    length = length < bytes - 1 ? length : bytes - 1;
    for (size_t i = 0; i < length; i++) {
        out[i] = (char)(iscntrl((unsigned char)line[i]) ? ' ' : line[i]);
    }
    out[length] = '\0';
}

void mj_log_first_error(const char *log, char *out, size_t bytes)
{
    out[0] = '\0';
    if (!log || bytes < 2) {
        return;
    }
    const char *first = log + strspn(log, " \t\r\n");
    const char *found = first;
    for (const char *line = first; *line; line = next_line(line)) {
        if (line_is_error(line, line_bytes(line))) {
            found = line;
            break;
        }
    }
    copy_line(found, out, bytes);
}

bool mj_log_lost_overlap(const char *log, char *out, size_t bytes)
{
    static const char *const marks[] = {"'setmaxnreg' ignored", "wgmma.mma_async instructions are serialized"};
    out[0] = '\0';
    for (const char *line = log && bytes > 0 ? log : ""; *line; line = next_line(line)) {
        for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
            const char *at = strstr(line, marks[i]);
            if (at && at < line + line_bytes(line)) {
                const char *code = strstr(line, "(C"); /* "(C7508) Potential ..." without what stands before */
                copy_line(code && code < at ? code : line, out, bytes);
                return true;
            }
        }
    }
    return false;
}

/* The number that stands right before `words` in the line, e.g. "40 registers"; 0 if it does not. */
static uint32_t number_before(const char *line, size_t bytes, const char *words)
{
    const char *at = strstr(line, words);
    if (!at || at >= line + bytes) {
        return 0;
    }
    const char *digit = at;
    while (digit > line && isdigit((unsigned char)digit[-1])) {
        digit--;
    }
    return digit < at ? (uint32_t)strtoul(digit, NULL, 10) : 0;
}

static void keep_larger(uint32_t *value, uint32_t candidate)
{
    if (candidate > *value) {
        *value = candidate;
    }
}

void mj_log_ptxas_attributes(const char *log, mj_kernel_attributes *out)
{
    for (const char *line = log ? log : ""; *line; line = next_line(line)) {
        size_t bytes = line_bytes(line);
        keep_larger(&out->regs_thread, number_before(line, bytes, " registers"));
        keep_larger(&out->local_bytes, number_before(line, bytes, " bytes stack frame"));
        keep_larger(&out->local_bytes, number_before(line, bytes, " bytes spill stores"));
        keep_larger(&out->local_bytes, number_before(line, bytes, " bytes lmem"));
        keep_larger(&out->static_smem_bytes, number_before(line, bytes, " bytes smem"));
    }
}
