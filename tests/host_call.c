/* host_call.c: fork, call; stderr comes back through a pipe. */
#define _GNU_SOURCE
#include "host_call.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu_entry.h"

enum { CALL_SECONDS = 60, SMEM_ALIGN_BYTES = 1024, NO_KERNEL = 97, NO_MEMORY = 98 };

void *host_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void run_child(const char *library, const char *symbol, const void *args, int32_t blocks, size_t smem_bytes,
                      uint64_t seed)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(CALL_SECONDS);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    mj_host_entry entry = handle ? (mj_host_entry)(uintptr_t)dlsym(handle, symbol) : NULL;
    void *smem = aligned_alloc(SMEM_ALIGN_BYTES, (smem_bytes / SMEM_ALIGN_BYTES + 1) * SMEM_ALIGN_BYTES);
    if (!entry || !smem) {
        _exit(entry ? NO_MEMORY : NO_KERNEL);
    }
    for (int32_t i = 0; i < blocks; i++) {
        mj_host_block block = {.block = i, .grid = blocks, .smem = smem, .seed = seed + (uint64_t)i};
        entry(&block, args);
    }
    _exit(0);
}

/* The prelude's line out of all that came: a sanitizer may have warned of stacks it does not know before. */
static void read_fault(int from, char *why, size_t why_bytes)
{
    char all[16384];
    size_t length = 0;
    ssize_t got = 0;
    while (length + 1 < sizeof all && (got = read(from, all + length, sizeof all - 1 - length)) > 0) {
        length += (size_t)got;
    }
    all[length] = '\0';
    const char *line = strstr(all, "moejit host kernel: ");
    snprintf(why, why_bytes, "%.*s", line ? (int)strcspn(line, "\n") : 0, line ? line : "");
}

host_result host_call(const char *library, const char *symbol, const void *args, int32_t blocks, size_t smem_bytes,
                      uint64_t seed, char *why, size_t why_bytes)
{
    int ends[2], status = 0;
    fflush(NULL);
    if (pipe(ends) != 0) {
        return HOST_BROKEN;
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        run_child(library, symbol, args, blocks, smem_bytes, seed);
    }
    close(ends[1]);
    read_fault(ends[0], why, why_bytes);
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return HOST_BROKEN;
    }
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGALRM ? HOST_HUNG : HOST_CRASHED;
    }
    return WEXITSTATUS(status) == 0 ? HOST_RIGHT : HOST_BROKEN;
}
