/* nvrtc_probe.c: `nvrtc_probe LIBRARY` prints NVRTC's version and succeeds if it compiles for sm_90a. For setup.sh only:
 * stand-alone, because it runs before anything is built. */
#include <dlfcn.h>
#include <stdio.h>

typedef struct nvrtc_program *program_type;

int main(int argc, char **argv)
{
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: nvrtc_probe LIBRARY");
        return 1;
    }
    int (*version)(int *, int *);
    int (*create)(program_type *, const char *, const char *, int, const char *const *, const char *const *);
    int (*compile)(program_type, int, const char *const *);
    *(void **)&version = dlsym(library, "nvrtcVersion");
    *(void **)&create = dlsym(library, "nvrtcCreateProgram");
    *(void **)&compile = dlsym(library, "nvrtcCompileProgram");
    int major = 0, minor = 0;
    if (!version || !create || !compile || version(&major, &minor) != 0) {
        fprintf(stderr, "%s is not NVRTC\n", argv[1]);
        return 1;
    }
    program_type program = NULL;
    const char *options[] = {"--gpu-architecture=sm_90a"};
    const char *source = "extern \"C\" __global__ void probe(int *out) { *out = 1; }";
    if (create(&program, source, "probe.cu", 0, NULL, NULL) != 0 || compile(program, 1, options) != 0) {
        fprintf(stderr, "NVRTC %d.%d cannot compile for sm_90a\n", major, minor);
        return 1;
    }
    printf("%d.%d\n", major, minor);
    return 0;
}
