/* backends.c: the backends of this build, in the order in which devices are listed. */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

const mj_backend *const *mj_backends(void)
{
    static const mj_backend *const backends[] = {&mj_backend_cuda, &mj_backend_hip, &mj_backend_null, &mj_backend_cpu,
                                                 NULL};
    return backends;
}

void mj_compiled_free(mj_compiled *compiled)
{
    if (compiled) {
        free(compiled->binary);
        free(compiled->log);
        memset(compiled, 0, sizeof *compiled);
    }
}
