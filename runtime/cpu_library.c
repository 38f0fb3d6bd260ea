/* cpu_library.c: dlopen of bytes. */
#define _GNU_SOURCE
#include "cpu_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* From memory; systems that refuse to execute that get a file that is removed once it is loaded. */
static void *load_from_memory(const void *binary, size_t bytes, int *fd)
{
    char path[40];
    *fd = memfd_create("moejit-kernel", MFD_CLOEXEC);
    if (*fd < 0) {
        return NULL;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", *fd);
    void *library = write_all(*fd, binary, bytes) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        close(*fd);
        *fd = -1;
    }
    return library;
}

static void *load_from_file(const void *binary, size_t bytes)
{
    char path[256];
    const char *base = getenv("TMPDIR");
    int length = snprintf(path, sizeof path, "%s/moejit-kernel-XXXXXX", base && *base == '/' ? base : "/tmp");
    int fd = length > 0 && (size_t)length < sizeof path ? mkostemp(path, O_CLOEXEC) : -1;
    if (fd < 0) {
        return NULL;
    }
    bool written = write_all(fd, binary, bytes);
    written = close(fd) == 0 && written;
    void *library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    unlink(path);
    return library;
}

mj_status mj_cpu_library_load(const void *binary, size_t bytes, mj_cpu_library *out, mj_error *error)
{
    out->handle = load_from_memory(binary, bytes, &out->fd);
    if (!out->handle) {
        out->handle = load_from_file(binary, bytes);
    }
    if (out->handle) {
        return MJ_OK;
    }
    const char *why = dlerror();
    return mj_fail(error, MJ_ERR_FORMAT, "a kernel's binary cannot be loaded: %s", why ? why : "no place to put it");
}

mj_host_entry mj_cpu_library_entry(const mj_cpu_library *library, const char *symbol)
{
    mj_host_entry entry = NULL;
    void *found = dlsym(library->handle, symbol);
    memcpy(&entry, &found, sizeof found);
    return entry;
}

void mj_cpu_library_unload(mj_cpu_library *library)
{
    if (library->handle) {
        dlclose(library->handle);
        if (library->fd >= 0) {
            close(library->fd);
        }
        library->handle = NULL;
    }
}
