/* fuzz_code_object.c: no bytes break the reader of code objects, and what it accepts it describes within its bounds. */
#include <stdlib.h>
#include <string.h>

#include "code_object.h"

enum { KERNELS_READ_MAX = 64 }; /* an array may claim as many as it has bytes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mj_code_object object;
    mj_code_kernel kernel;
    mj_error error = {0};
    if (mj_code_object_read(data, size, &object, &error) != MJ_OK) {
        if (error.status != MJ_ERR_FORMAT || !error.text[0]) {
            abort();
        }
        return 0;
    }
    if (strncmp(object.target, "gfx", 3) != 0 || object.kernels < data ||
        object.kernels_bytes > size - (size_t)(object.kernels - data)) {
        abort();
    }
    for (uint32_t i = 0; i < object.kernel_count && i < KERNELS_READ_MAX; i++) {
        if (mj_code_object_kernel(&object, i, &kernel, &error) == MJ_OK &&
            !memchr(kernel.name, 0, sizeof kernel.name)) {
            abort();
        }
    }
    return 0;
}
