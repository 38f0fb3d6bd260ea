/* fake_hip_old.c: a HIP runtime from before graphs could be instantiated with flags. */
#define FAKE_HIP_OLD 1
#include "fake_hip.c"
