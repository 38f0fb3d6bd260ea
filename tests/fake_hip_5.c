/* fake_hip_5.c: the HIP runtime of ROCm 5. */
#define FAKE_HIP_5 1
#include "fake_hip.c"
