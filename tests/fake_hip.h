/* fake_hip.h: what the fake HIP runtime offers a test beside HIP's functions; found with dlsym. Scripts are fake_cuda.h's, from
 * $FAKE_HIP and fake_hip_script:
 *     devices=2     GPUs that exist (1)       arch=942      of all of them (942; 90 is gfx90a)
 *     arch1=1100    of the second             mode=2        their compute mode (0)        free_mib=100 of 1024
 * Results of 700 and more below 800 stay. libfake_hip.so is like ROCm 6; libfake_hip_5.so has ROCm 5's struct of properties and
 * no hipGraphUpload; libfake_hip_old.so is from before graphs could be instantiated with flags. */
#ifndef MOEJIT_FAKE_HIP_H
#define MOEJIT_FAKE_HIP_H

typedef void (*fake_hip_reset_fn)(void);             /* forgets scripts, counts and sticky results */
typedef int (*fake_hip_script_fn)(const char *text); /* 0: a rule could not be read */
/* Calls of a function; or of "live": objects not given back, "device": the thread's current one, "argument": the first word of
 * the last launch's arguments, "argument_bytes", its "dynamic_bytes" of shared memory, "graph_launches": kernels that graphs
 * ran, "stream_flags": of the last stream made. */
typedef long (*fake_hip_count_fn)(const char *name);

#endif
