/* host_compile.c: from a source made with prelude "host" to a library. */
#include "host_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A sanitizer looks at the whole stack at every longjmp, and marks each page of the threads' stacks: tens of times the cost of the
 * kernel, which it knows nothing of. So the kernel gets the C library's own functions, in every build: the same text is compiled once
 * (tests/kept/cc). */
static const char host_head[] = "#define _GNU_SOURCE\n"
                                "#undef _FORTIFY_SOURCE\n"
                                "#include <dlfcn.h>\n"
                                "#include <setjmp.h>\n"
                                "#include <stdlib.h>\n"
                                "static __attribute__((noreturn)) void (*host_longjmp)(jmp_buf, int);\n"
                                "static void *(*host_malloc)(size_t), *(*host_calloc)(size_t, size_t);\n"
                                "static void *(*host_realloc)(void *, size_t), (*host_free)(void *);\n"
                                "static __attribute__((constructor)) void host_find(void)\n"
                                "{\n"
                                "    void *libc = dlopen(\"libc.so.6\", RTLD_LAZY | RTLD_NOLOAD);\n"
                                "    host_longjmp = dlsym(libc, \"_longjmp\");\n"
                                "    host_malloc = dlsym(libc, \"malloc\");\n"
                                "    host_calloc = dlsym(libc, \"calloc\");\n"
                                "    host_realloc = dlsym(libc, \"realloc\");\n"
                                "    host_free = dlsym(libc, \"free\");\n"
                                "}\n"
                                "#define _longjmp host_longjmp\n"
                                "#define malloc host_malloc\n"
                                "#define calloc host_calloc\n"
                                "#define realloc host_realloc\n"
                                "#define free host_free\n";

/* -Og: a kernel runs for less long than it is compiled, with more optimisation as with less. */
host_result host_compile(const char *text, char *library, size_t bytes)
{
    const char *folder = getenv("TMPDIR");
    char source[4096], command[9000];
    snprintf(library, bytes, "%s/moejit-host-XXXXXX", folder ? folder : "/tmp");
    int file = mkstemp(library);
    if (file < 0) {
        return HOST_BROKEN;
    }
    close(file);
    snprintf(source, sizeof source, "%s.c", library);
    FILE *out = fopen(source, "w");
    if (!out || fputs(host_head, out) < 0 || fputs(text, out) < 0 || fclose(out) != 0) {
        return HOST_BROKEN;
    }
    const char *flags = getenv("MOEJIT_TEST_HOST_FLAGS");
    snprintf(command, sizeof command, "cc -std=gnu11 %s -w -shared -fPIC -o '%s' -x c - -lm <'%s' 2>/dev/null",
             flags ? flags : "-Og", library, source);
    int code = system(command);
    unlink(source);
    return code == 0 ? HOST_RIGHT : HOST_NO_COMPILE;
}
