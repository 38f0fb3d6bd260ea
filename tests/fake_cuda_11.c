/* fake_cuda_11.c: a driver from before tensor maps and launches with attributes. */
#define FAKE_CUDA_11 1
#include "fake_cuda.c"
