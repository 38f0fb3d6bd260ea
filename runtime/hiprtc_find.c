/* hiprtc_find.c: where hipRTC, and the program that runs it, may lie. */
#define _GNU_SOURCE
#include "hiprtc_find.h"

#include <dlfcn.h>
#include <glob.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static int newer_first(const void *a, const void *b)
{
    return -strverscmp(*(char *const *)a, *(char *const *)b);
}

/* Files that match, the highest version first; false once `visit` said stop. */
static bool each_file(const char *pattern, mj_hiprtc_visit visit, void *user)
{
    glob_t found = {0};
    bool go_on = true;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        qsort(found.gl_pathv, found.gl_pathc, sizeof found.gl_pathv[0], newer_first);
        for (size_t i = 0; i < found.gl_pathc && go_on; i++) {
            go_on = visit(user, found.gl_pathv[i]);
        }
    }
    globfree(&found);
    return go_on;
}

/* In ROCm 6 and later both libraries are there: the one with the compiler alone goes first. */
static bool look_in(const char *folders, mj_hiprtc_visit visit, void *user)
{
    static const char *const names[] = {"libhiprtc.so.[0-9]", "libhiprtc.so", "libamdhip64.so.[0-9]", "libamdhip64.so"};
    char pattern[PATH_MAX];
    for (size_t i = 0; i < COUNT(names); i++) {
        int length = snprintf(pattern, sizeof pattern, "%s/%s", folders, names[i]);
        if (length > 0 && (size_t)length < sizeof pattern && !each_file(pattern, visit, user)) {
            return false;
        }
    }
    return true;
}

void mj_hiprtc_in_folder(const char *folder, mj_hiprtc_visit visit, void *user)
{
    static const char *const below[] = {"", "/lib", "/lib64", "/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib"};
    char pattern[PATH_MAX];
    bool go_on = true;
    for (size_t i = 0; i < COUNT(below) && go_on; i++) {
        int length = snprintf(pattern, sizeof pattern, "%s%s", folder, below[i]);
        go_on = length < 0 || (size_t)length >= sizeof pattern || look_in(pattern, visit, user);
    }
}

void mj_hiprtc_candidates(mj_hiprtc_visit visit, void *user)
{
    static const struct {
        const char *variable, *folders;
    } places[] = {
        {"ROCM_PATH", "/lib"},
        {"ROCM_PATH", "/lib64"},
        {"HIP_PATH", "/lib"},
        {NULL, "/opt/rocm/lib"},
        {NULL, "/opt/rocm/lib64"},
        {NULL, "/opt/rocm-[0-9]*/lib"},
        {"VIRTUAL_ENV", "/lib/python3*/site-packages/_rocm_sdk_core/lib"},
        {"VIRTUAL_ENV", "/lib/python3*/site-packages/torch/lib"},
        {NULL, "/usr/local/lib/python3*/dist-packages/torch/lib"},
    };
    static const char *const names[] = {/* the loader's path */
                                        "libhiprtc.so.7", "libhiprtc.so.6",   "libhiprtc.so.5",
                                        "libhiprtc.so",   "libamdhip64.so.5", "libamdhip64.so"};
    char folders[PATH_MAX];
    for (size_t i = 0; i < COUNT(places); i++) {
        const char *base = places[i].variable ? getenv(places[i].variable) : "";
        if (!base || (places[i].variable && base[0] != '/')) {
            continue;
        }
        int length = snprintf(folders, sizeof folders, "%s%s", base, places[i].folders);
        if (length > 0 && (size_t)length < sizeof folders && !look_in(folders, visit, user)) {
            return;
        }
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        if (!visit(user, names[i])) {
            return;
        }
    }
}

bool mj_hiprtc_loader(const char *library, char *folder, char *loader, size_t bytes)
{
    const char *slash = strrchr(library, '/');
    char pattern[PATH_MAX];
    glob_t found = {0};
    loader[0] = folder[0] = '\0';
    if (!slash) {
        return false;
    }
    snprintf(folder, bytes, "%.*s", (int)(slash - library), library);
    snprintf(pattern, sizeof pattern, "%s/ld-linux*.so.*", folder);
    struct stat own, system;
    /* The machine's own folder has the machine's own loader: nothing to change. */
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0 && stat(folder, &own) == 0) {
        Dl_info libc;
        char libc_folder[PATH_MAX];
        bool is_system = false;
        if (dladdr((void *)(uintptr_t)gnu_get_libc_version, &libc) && libc.dli_fname && strrchr(libc.dli_fname, '/')) {
            snprintf(libc_folder, sizeof libc_folder, "%.*s", (int)(strrchr(libc.dli_fname, '/') - libc.dli_fname),
                     libc.dli_fname);
            is_system = stat(libc_folder, &system) == 0 && system.st_ino == own.st_ino && system.st_dev == own.st_dev;
        }
        if (!is_system) {
            snprintf(loader, bytes, "%s", found.gl_pathv[0]);
        }
    }
    globfree(&found);
    return loader[0] != '\0';
}

/* ---- moejit-hiprtc ---- */

static bool try_beside(const char *file, char *out, size_t bytes)
{
    /* The last one: a test's folder lies in the folder of the build. */
    static const char *const places[] = {"", "/../libexec/moejit", "/../../libexec/moejit", "/.."};
    const char *slash = strrchr(file, '/');
    for (size_t i = 0; slash && i < COUNT(places); i++) {
        int length = snprintf(out, bytes, "%.*s%s/moejit-hiprtc", (int)(slash - file), file, places[i]);
        if (length > 0 && (size_t)length < bytes && access(out, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

bool mj_hiprtc_find_program(char *out, size_t bytes)
{
    char self[PATH_MAX];
    Dl_info library;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    if (try_beside(self, out, bytes)) {
        return true;
    }
    if (dladdr((void *)(uintptr_t)mj_hiprtc_find_program, &library) && library.dli_fname &&
        realpath(library.dli_fname, self) && try_beside(self, out, bytes)) {
        return true;
    }
    const char *folder = getenv("PATH");
    while (folder && *folder) {
        int folder_bytes = (int)strcspn(folder, ":");
        int written = snprintf(out, bytes, "%.*s/moejit-hiprtc", folder_bytes, folder);
        if (folder_bytes > 0 && written > 0 && (size_t)written < bytes && access(out, X_OK) == 0) {
            return true;
        }
        folder += folder_bytes;
        folder += *folder == ':';
    }
    return false;
}
