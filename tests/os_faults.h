/* os_faults.h: makes the n-th file operation of os.c fail, or end the process there, as a kill -9 would. One per program. */
#ifndef MOEJIT_OS_FAULTS_H
#define MOEJIT_OS_FAULTS_H

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

static struct {
    long step;        /* operations so far */
    long fault_at;    /* 0: none; else that operation fails, */
    bool forever;     /* and every later one, */
    int code;         /* with this errno, */
    bool dies;        /* or the process ends before it */
    const char *only; /* NULL, or only steps of this name count */
} os_faults;

int mj_os_fault(const char *step, const char *path)
{
    (void)path;
    if (os_faults.only && strcmp(os_faults.only, step) != 0) {
        return 0;
    }
    os_faults.step++;
    bool hit = os_faults.fault_at &&
               (os_faults.forever ? os_faults.step >= os_faults.fault_at : os_faults.step == os_faults.fault_at);
    if (hit && os_faults.dies) {
        _exit(99);
    }
    return hit ? os_faults.code : 0;
}

static inline void os_faults_clear(void)
{
    memset(&os_faults, 0, sizeof os_faults);
}

static inline void os_faults_at(long n, int code)
{
    os_faults_clear();
    os_faults.fault_at = n;
    os_faults.code = code;
}

static inline void os_faults_always(const char *only, int code)
{
    os_faults_at(1, code);
    os_faults.forever = true;
    os_faults.only = only;
}

/* Runs `body` in a child that dies before its n-th operation; true: it died there, false: it came to its end. */
static inline bool os_faults_killed_at(long n, void (*body)(void *user), void *user)
{
    int how = 0;
    pid_t child = fork();
    if (child == 0) {
        os_faults_clear();
        os_faults.fault_at = n;
        os_faults.dies = true;
        body(user);
        _exit(0);
    }
    waitpid(child, &how, 0);
    return WIFEXITED(how) && WEXITSTATUS(how) == 99;
}

#endif
