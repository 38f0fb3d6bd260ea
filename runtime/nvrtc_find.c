/* nvrtc_find.c: where NVRTC may lie.
 *
 * Toolkits first, then Python's packages: a pattern is a root, from the environment or fixed, and a
 * tail. No program is run: `python3` is only looked up on PATH, its prefix is the folder above bin/.
 */
#define _GNU_SOURCE
#include "nvrtc.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef bool (*visit_fn)(void *user, const char *path);

typedef struct search {
    visit_fn visit;
    void *user;
    bool stopped;
} search;

/* ---- Folders with the library; `*` as in glob ---- */
static const char *const toolkit_folders[] = {
    "lib64",
    "lib",
    "targets/x86_64-linux/lib",
    "targets/sbsa-linux/lib",
};
static const char *const python_folders[] = {
    /* pip's nvidia-cuda-nvrtc (CUDA 13 and later), then nvidia-cuda-nvrtc-cu12, -cu11 */
    "lib/python3*/site-packages/nvidia/cu[0-9]*/lib",       "lib/python3*/site-packages/nvidia/cuda_nvrtc/lib",
    "lib64/python3*/site-packages/nvidia/cu[0-9]*/lib",     "lib64/python3*/site-packages/nvidia/cuda_nvrtc/lib",
    "lib/python3*/dist-packages/nvidia/cu[0-9]*/lib",       "lib/python3*/dist-packages/nvidia/cuda_nvrtc/lib",
    "local/lib/python3*/dist-packages/nvidia/cu[0-9]*/lib", "local/lib/python3*/dist-packages/nvidia/cuda_nvrtc/lib",
};

typedef struct root {
    const char *variable; /* environment variable that holds it, or NULL: `path` is it */
    const char *path;     /* appended to the variable's value */
} root;

static const root toolkit_roots[] = {
    {"CUDA_HOME", ""},   {"CUDA_PATH", ""},    {NULL, "/usr/local/cuda"}, {NULL, "/usr/local/cuda-[0-9]*"},
    {NULL, "/opt/cuda"}, {"CONDA_PREFIX", ""}, {NULL, "/usr/lib/cuda"},
};
static const root python_roots[] = {
    {"VIRTUAL_ENV", ""}, {"CONDA_PREFIX", ""},  {"HOME", "/.local"},    {NULL, "/usr/local"},
    {NULL, "/usr"},      {NULL, "/opt/venv"},   {NULL, "/opt/*/.venv"}, {NULL, "/opt/*/venv"},
    {NULL, "/opt/*"},    {NULL, "/root/.venv"}, {"HOME", "/.venv"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* ---- Globbing ---- */

static int newer_first(const void *a, const void *b)
{
    return -strverscmp(*(char *const *)a, *(char *const *)b);
}

/* Existing paths that match, highest version first, given to `each` until it says stop. */
static void each_match(const char *pattern, bool (*each)(search *s, const char *path), search *s)
{
    glob_t found = {0};
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        qsort(found.gl_pathv, found.gl_pathc, sizeof found.gl_pathv[0], newer_first);
        for (size_t i = 0; i < found.gl_pathc && !s->stopped; i++) {
            s->stopped = !each(s, found.gl_pathv[i]);
        }
    }
    globfree(&found);
}

static bool offer(search *s, const char *path)
{
    return s->visit(s->user, path);
}

static bool look_in_folder(search *s, const char *folder)
{
    static const char *const names[] = {"libnvrtc.so.[0-9]*", "libnvrtc.so"};
    char pattern[PATH_MAX];
    for (size_t i = 0; i < COUNT(names) && !s->stopped; i++) {
        int length = snprintf(pattern, sizeof pattern, "%s/%s", folder, names[i]);
        if (length > 0 && (size_t)length < sizeof pattern) {
            each_match(pattern, offer, s);
        }
    }
    return !s->stopped;
}

void mj_nvrtc_in_folder(const char *folder, visit_fn visit, void *user)
{
    search s = {.visit = visit, .user = user};
    look_in_folder(&s, folder);
}

static void look_below(search *s, const char *prefix, const char *const *folders, size_t count)
{
    char pattern[PATH_MAX];
    for (size_t i = 0; i < count && !s->stopped; i++) {
        int length = snprintf(pattern, sizeof pattern, "%s/%s", prefix, folders[i]);
        if (length > 0 && (size_t)length < sizeof pattern) {
            each_match(pattern, look_in_folder, s);
        }
    }
}

static void look_below_roots(search *s, const root *roots, size_t root_count, const char *const *folders,
                             size_t folder_count)
{
    char prefix[PATH_MAX];
    for (size_t i = 0; i < root_count && !s->stopped; i++) {
        const char *base = roots[i].variable ? getenv(roots[i].variable) : "";
        if (!base || (roots[i].variable && base[0] != '/')) {
            continue;
        }
        int length = snprintf(prefix, sizeof prefix, "%s%s", base, roots[i].path);
        if (length > 0 && (size_t)length < sizeof prefix) {
            look_below(s, prefix, folders, folder_count);
        }
    }
}

/* "<prefix>/bin/python3" -> "<prefix>", of the link itself (a virtual environment) and of its target. */
static void look_below_python(search *s)
{
    char program[PATH_MAX], target[PATH_MAX];
    const char *folder = getenv("PATH");
    while (folder && *folder && !s->stopped) {
        int length = (int)strcspn(folder, ":");
        int written = snprintf(program, sizeof program, "%.*s/python3", length, folder);
        folder += length;
        folder += *folder == ':';
        if (length == 0 || written < 0 || (size_t)written >= sizeof program || access(program, X_OK) != 0) {
            continue;
        }
        char *paths[] = {program, realpath(program, target)};
        for (size_t i = 0; i < COUNT(paths) && !s->stopped; i++) {
            char *slash = paths[i] ? strrchr(paths[i], '/') : NULL;
            if (!slash || slash - paths[i] < 4 || strncmp(slash - 4, "/bin", 4) != 0) {
                continue;
            }
            slash[-4] = '\0';
            look_below(s, paths[i], python_folders, COUNT(python_folders));
        }
        return; /* the first python3 is the one that would run */
    }
}

void mj_nvrtc_candidates(visit_fn visit, void *user)
{
    search s = {.visit = visit, .user = user};
    look_below_roots(&s, toolkit_roots, COUNT(toolkit_roots), toolkit_folders, COUNT(toolkit_folders));
    look_below_roots(&s, python_roots, 2, python_folders, COUNT(python_folders)); /* active ones */
    look_below_python(&s);
    look_below_roots(&s, python_roots + 2, COUNT(python_roots) - 2, python_folders, COUNT(python_folders));
}
