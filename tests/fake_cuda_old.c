/* fake_cuda_old.c: a driver from before graphs could be instantiated with flags. */
#define FAKE_CUDA_OLD 1
#include "fake_cuda.c"
