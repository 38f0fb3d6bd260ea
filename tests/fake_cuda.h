/* fake_cuda.h: what the fake driver library offers a test beside the driver's functions; found with dlsym.
 *
 * A script is a list of rules separated by ';', from $FAKE_CUDA when the library is first called, and from
 * fake_cuda_script:
 *     devices=2            GPUs that exist (1)              mode=2         their compute mode (0)
 *     capability=90        of each (90)                     free_mib=100   free of 1024 MiB (1024)
 *     cuLaunchKernel@3=700 the third call gives 700; without @n every call does
 * Results of 700 and more below 800 stay: every later call of the context gives them too. */
#ifndef MOEJIT_FAKE_CUDA_H
#define MOEJIT_FAKE_CUDA_H

/* Forgets scripts, counts and sticky results. */
typedef void (*fake_cuda_reset_fn)(void);
/* 0: a rule could not be read. */
typedef int (*fake_cuda_script_fn)(const char *script);
/* Calls of a function, by its symbol; or of "live": objects not given back, "capturing", "pushed": contexts on this
 * thread's stack, "smem": the last cuFuncSetAttribute, "argument": the first word of the last launch's parameter,
 * "graph_launches": kernels that graphs ran, "early": of the last cuLaunchKernelEx, whether it may overlap the kernel before,
 * "stream_flags": of the last cuStreamCreate.
 * cuTensorMapEncodeTiled writes what it is told into the map: eight 64-bit words, see there. */
typedef long (*fake_cuda_count_fn)(const char *name);

#endif
