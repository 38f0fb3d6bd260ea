/* host_run.h: runs a generated source on the CPU, under the host prelude, and compares with runtime/reference.c.
 *
 * Everything happens in a child process with a time limit, so a source that crashes, hangs or spoils memory is an outcome like
 * any other. What the prelude said before a crash is its reason. */
#ifndef MOEJIT_HOST_RUN_H
#define MOEJIT_HOST_RUN_H

#include "gen.h"

typedef enum host_result {
    HOST_RIGHT,
    HOST_WRONG,   /* values, guard bytes, counters */
    HOST_CRASHED, /* a signal; the prelude's own faults too */
    HOST_HUNG,
    HOST_NO_COMPILE,
    HOST_BROKEN, /* the harness itself failed: never a verdict on the source */
} host_result;
const char *host_result_name(host_result result);

/* HOST_RIGHT, or why there is no library. `library`: its path, to be unlinked by the caller. */
host_result host_compile(const char *text, char *library, size_t bytes);

/* Compiles `text` (made with prelude "host") and runs it on every case of its op: for a GEMM ragged, empty-expert, single-token
 * and one-expert routings, twice each. `why` gets one line. */
host_result host_check(const mj_kernel_desc *desc, const mj_manifest *manifest, const char *text, char *why,
                       size_t why_bytes);

/* A kernel that writes codes, with the one of the same config that writes their values: its codes and scales must be what quantise2
 * makes of these, to the bit. One that adds a token's rows, with that of gemm2: what combine makes of these, likewise.
 * `beside` null: there is none. */
host_result host_check_beside(const mj_kernel_desc *desc, const mj_manifest *manifest, const char *text,
                              const mj_manifest *beside, const char *beside_text, char *why, size_t why_bytes);

#endif
