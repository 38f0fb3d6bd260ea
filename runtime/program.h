/* program.h: one run of a compiler that is a program: cc.c's and hiprtc.c's. */
#ifndef MOEJIT_PROGRAM_H
#define MOEJIT_PROGRAM_H

#include "moejit_types.h"

typedef struct mj_program {
    const char *const *argv;               /* NULL-terminated; [0] is the program's path */
    const char *const *environment;        /* "NAME=value" on top of the caller's, NULL-terminated; NULL: none */
    const char *input, *output, *messages; /* files for its standard streams */
    const char *result;                    /* what a run that succeeds leaves, not empty, and no other does */
    double timeout_seconds;
    int exit_code; /* set by the run; 128 + signal if killed. A host program that ignores SIGCHLD, or waits for any child, may take
                      it: then 0 if `result` is there, else 1 */
    double cpu_seconds;
} mj_program;

/* Starts it and waits. It dies with this process, and all that it started if this process leads a group and is killed with it.
 * Messages are in English: compile_log.c reads them.
 * MJ_ERR_CHILD: it could not be started; MJ_ERR_TIMEOUT: it was killed, and all that it started (by /proc where this process leads a
 * group). Time in which this process was stopped does not count. */
mj_status mj_program_run(mj_program *program, mj_error *error);

/* A private temporary folder with the files of one run. Those that killed processes left go when they are an hour old. */
typedef struct mj_workplace {
    char folder[512];
    char source[600], object[600], output[600], messages[600];
    char temporaries[600]; /* "TMPDIR=<folder>", for the environment of a compiler: what it leaves goes too */
} mj_workplace;
mj_status mj_workplace_make(mj_workplace *place, const char *source, const char *object, mj_error *error);
void mj_workplace_remove(const mj_workplace *place);
/* The text becomes the source file. */
mj_status mj_workplace_write(const mj_workplace *place, const char *text, size_t bytes, mj_error *error);

#endif
