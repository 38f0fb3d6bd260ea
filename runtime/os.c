/* os.c: files, folders, time and paths over POSIX. */
#define _GNU_SOURCE
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char temporary_mark[] = ".tmp";
enum { TEMPORARY_RANDOM_CHARS = 6, WRITE_BYTES_MAX = 1 << 30 };

/* true: the step may go on; false: errno is set as if it had failed. */
static bool step_allowed(const char *step, const char *path)
{
    int code = mj_os_fault ? mj_os_fault(step, path) : 0;
    if (code) {
        errno = code;
    }
    return code == 0;
}

static mj_status fail_errno(mj_error *error, const char *what, const char *path)
{
    int code = errno;
    mj_status status = code == ENOENT ? MJ_ERR_NOT_FOUND : code == ENOMEM ? MJ_ERR_MEMORY : MJ_ERR_IO;
    char reason[128];
    return mj_fail(error, status, "cannot %s %s: %s", what, path, strerror_r(code, reason, sizeof reason));
}

/* ---- Reading ---------------------------------------------------------------------------------- */

static int open_retry(const char *path, int flags, unsigned mode)
{
    int fd = -1;
    if (!step_allowed("open", path)) {
        return -1;
    }
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* The file may grow or shrink meanwhile: the loop trusts read(), not st_size. */
static mj_status read_all(int fd, const char *path, size_t size_hint, size_t bytes_max, char **text, size_t *bytes,
                          mj_error *error)
{
    size_t capacity = size_hint < bytes_max ? size_hint : bytes_max, used = 0;
    char *buffer = malloc(capacity + 2); /* one byte to see the end, one for the NUL */
    if (!buffer) {
        return mj_fail(error, MJ_ERR_MEMORY, "cannot read %s: no memory", path);
    }
    for (;;) {
        if (used == capacity + 1) { /* longer than it said */
            size_t larger = capacity > bytes_max / 2 ? bytes_max : capacity * 2 + 4096;
            larger = larger > bytes_max ? bytes_max : larger;
            if (capacity >= bytes_max) {
                free(buffer);
                return mj_fail(error, MJ_ERR_CAPACITY, "%s is larger than %zu bytes", path, bytes_max);
            }
            char *grown = realloc(buffer, larger + 2);
            if (!grown) {
                free(buffer);
                return mj_fail(error, MJ_ERR_MEMORY, "cannot read %s: no memory", path);
            }
            buffer = grown;
            capacity = larger;
        }
        ssize_t got = step_allowed("read", path) ? read(fd, buffer + used, capacity + 1 - used) : -1;
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            mj_status status = fail_errno(error, "read", path);
            free(buffer);
            return status;
        }
        if (got == 0) {
            break;
        }
        used += (size_t)got;
    }
    buffer[used] = '\0';
    *text = buffer;
    *bytes = used;
    return MJ_OK;
}

/* Why content of this owner and mode must not be run, or NULL. */
static const char *distrust(const struct stat *info)
{
    if (info->st_uid != geteuid() && info->st_uid != 0) {
        return "it belongs to another user";
    }
    return info->st_mode & (S_IWGRP | S_IWOTH) ? "others may write to it" : NULL;
}

static mj_status read_file(const char *path, size_t bytes_max, bool private, char **text, size_t *bytes,
                           mj_error *error)
{
    struct stat info;
    mj_status status;
    /* Non-blocking, so that a fifo in a file's place cannot hang the process. */
    int fd = open_retry(path, O_RDONLY | O_NONBLOCK | (private ? O_NOFOLLOW : 0), 0);
    if (fd < 0) {
        return fail_errno(error, "read", path);
    }
    if (fstat(fd, &info) != 0) {
        status = fail_errno(error, "read", path);
    } else if (S_ISDIR(info.st_mode)) {
        status = mj_fail(error, MJ_ERR_IO, "cannot read %s: it is a folder", path);
    } else if (private && !S_ISREG(info.st_mode)) {
        status = mj_fail(error, MJ_ERR_IO, "cannot use %s: it is not a plain file", path);
    } else if (private && distrust(&info)) {
        status = mj_fail(error, MJ_ERR_IO, "cannot use %s: %s", path, distrust(&info));
    } else if (info.st_size > 0 && (uint64_t)info.st_size > bytes_max) {
        status = mj_fail(error, MJ_ERR_CAPACITY, "%s is larger than %zu bytes", path, bytes_max);
    } else {
        size_t hint = info.st_size > 0 ? (size_t)info.st_size : 4096;
        status = read_all(fd, path, hint, bytes_max, text, bytes, error);
    }
    close(fd);
    return status;
}

mj_status mj_os_read_file(const char *path, size_t bytes_max, char **text, size_t *bytes, mj_error *error)
{
    return read_file(path, bytes_max, false, text, bytes, error);
}

mj_status mj_os_read_private_file(const char *path, size_t bytes_max, char **text, size_t *bytes, mj_error *error)
{
    return read_file(path, bytes_max, true, text, bytes, error);
}

mj_status mj_os_check_private_folder(const char *path, mj_error *error)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return fail_errno(error, "use", path);
    }
    if (!S_ISDIR(info.st_mode)) {
        return mj_fail(error, MJ_ERR_IO, "cannot use %s: it is not a folder", path);
    }
    const char *reason = distrust(&info);
    return reason ? mj_fail(error, MJ_ERR_IO, "cannot use %s: %s", path, reason) : MJ_OK;
}

/* ---- Writing ---------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *path, const char *data, size_t bytes)
{
    while (bytes > 0) {
        size_t part = bytes < WRITE_BYTES_MAX ? bytes : WRITE_BYTES_MAX;
        ssize_t wrote = step_allowed("write", path) ? write(fd, data, part) : -1;
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            errno = wrote == 0 ? ENOSPC : errno;
            return false;
        }
        data += wrote;
        bytes -= (size_t)wrote;
    }
    return true;
}

static int open_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    return fd;
}

/* Makes a rename durable. A file system that cannot sync a folder has done all it can. */
static bool sync_parent(const char *path)
{
    int fd = open_parent(path);
    bool done = step_allowed("fsync_folder", path);
    if (done && fd >= 0 && fsync(fd) != 0) {
        done = errno == EINVAL || errno == EROFS || errno == ENOTSUP;
    }
    int code = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = code;
    return done;
}

/* Writes and closes `fd`; "" or the step that failed, with errno set. */
static const char *fill_temporary(int fd, const char *temporary, const void *data, size_t bytes, unsigned mode)
{
    const char *failed = "";
    if (fchmod(fd, (mode_t)mode) != 0 || !write_all(fd, temporary, data, bytes)) {
        failed = "write";
    } else if (!step_allowed("fsync", temporary) || fsync(fd) != 0) {
        failed = "sync";
    }
    int code = errno;
    if (close(fd) != 0 && !failed[0]) {
        return "close";
    }
    if (!failed[0] && !step_allowed("close", temporary)) {
        return "close";
    }
    errno = code;
    return failed;
}

static mj_status replace_file(const char *path, const void *data, size_t bytes, unsigned mode, mj_error *error)
{
    char *temporary = NULL;
    mj_status status = MJ_OK;
    if (asprintf(&temporary, "%s%sXXXXXX", path, temporary_mark) < 0) {
        return mj_fail(error, MJ_ERR_MEMORY, "cannot write %s: no memory", path);
    }
    int fd = step_allowed("open", temporary) ? mkostemp(temporary, O_CLOEXEC) : -1;
    if (fd < 0) {
        status = fail_errno(error, "create a file beside", path);
        free(temporary);
        return status == MJ_ERR_NOT_FOUND ? MJ_ERR_IO : status;
    }
    const char *failed = fill_temporary(fd, temporary, data, bytes, mode);
    if (!failed[0] && (!step_allowed("rename", path) || rename(temporary, path) != 0)) {
        failed = "replace";
    }
    if (failed[0]) {
        status = fail_errno(error, failed, path);
        status = status == MJ_ERR_NOT_FOUND ? MJ_ERR_IO : status; /* the folder went away */
        unlink(temporary);
    } else if (!sync_parent(path)) {
        status = fail_errno(error, "sync the folder of", path);
    }
    free(temporary);
    return status;
}

mj_status mj_os_write_file_atomic(const char *path, const void *data, size_t bytes, unsigned mode, mj_error *error)
{
    struct stat info;
    char *target = NULL;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) { /* the file is replaced, not the link */
        target = realpath(path, NULL);
        if (!target) {
            mj_status status = fail_errno(error, "follow the link", path);
            return status == MJ_ERR_NOT_FOUND ? MJ_ERR_IO : status;
        }
        path = target;
    }
    mj_status status = MJ_OK;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) { /* renaming over /dev/null would succeed for root */
        status = mj_fail(error, MJ_ERR_IO, "cannot write %s: it is not a plain file", path);
    } else {
        status = replace_file(path, data, bytes, mode, error);
    }
    free(target);
    return status;
}

bool mj_os_is_temporary(const char *name)
{
    size_t bytes = strlen(name), tail = sizeof temporary_mark - 1 + TEMPORARY_RANDOM_CHARS;
    return bytes > tail && memcmp(name + bytes - tail, temporary_mark, sizeof temporary_mark - 1) == 0;
}

mj_status mj_os_append(int fd, const void *data, size_t bytes, mj_error *error)
{
    off_t start = lseek(fd, 0, SEEK_END);
    ssize_t wrote = -1;
    do {
        wrote = step_allowed("write", "journal") ? write(fd, data, bytes) : -1;
    } while (wrote < 0 && errno == EINTR);
    if (wrote >= 0 && (size_t)wrote == bytes) {
        return MJ_OK;
    }
    if (wrote >= 0) {
        errno = ENOSPC;
    }
    mj_status status = fail_errno(error, "append to", "the journal");
    /* Takes the torn part back where nobody can have written after it. */
    if (wrote > 0 && start >= 0 && lseek(fd, 0, SEEK_END) == start + wrote && ftruncate(fd, start) != 0) {
        return mj_fail(error, MJ_ERR_IO, "a torn line stays at the end of the journal");
    }
    return status;
}

/* ---- Folders ---------------------------------------------------------------------------------- */

static bool make_one_folder(const char *path)
{
    struct stat info;
    if (!step_allowed("mkdir", path)) {
        return false;
    }
    if (mkdir(path, 0700) == 0) {
        return true;
    }
    int code = errno;
    /* Another process may have made it; a parent that may not be written but is there is no error (EROFS, EACCES). */
    if (stat(path, &info) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(info.st_mode);
    }
    errno = code;
    return false;
}

mj_status mj_os_make_folder(const char *path, mj_error *error)
{
    char *partial = path[0] ? strdup(path) : NULL;
    mj_status status = MJ_OK;
    if (!partial) {
        return mj_fail(error, path[0] ? MJ_ERR_MEMORY : MJ_ERR_ARGUMENT, "cannot make the folder \"%s\"", path);
    }
    for (char *at = partial + 1; status == MJ_OK; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char held = *at;
        *at = '\0';
        if (!make_one_folder(partial)) {
            status = fail_errno(error, "make the folder", partial);
            if (status == MJ_ERR_NOT_FOUND) {
                status = MJ_ERR_IO;
                if (error) {
                    error->status = status;
                }
            }
        }
        *at = held;
        if (held == '\0') {
            break;
        }
    }
    free(partial);
    return status;
}

bool mj_os_is_writable_folder(const char *path)
{
    char *probe = NULL;
    if (asprintf(&probe, "%s/.probe%sXXXXXX", path, temporary_mark) < 0) {
        return false;
    }
    int fd = step_allowed("open", probe) ? mkostemp(probe, O_CLOEXEC) : -1;
    bool writable = fd >= 0 && write_all(fd, probe, "moejit", 6);
    int code = errno;
    if (fd >= 0) {
        close(fd);
        unlink(probe);
    }
    free(probe);
    errno = code;
    return writable;
}

typedef struct name_list {
    char **names;
    size_t count, capacity;
} name_list;

static void free_names(name_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->names[i]);
    }
    free(list->names);
}

static bool add_name(name_list *list, const char *name)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        char **grown = realloc(list->names, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count] = strdup(name);
    return list->names[list->count] && ++list->count;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted names of a folder without "." and ".."; a missing folder is empty. */
static mj_status read_names(const char *folder, name_list *out, mj_error *error)
{
    DIR *directory = step_allowed("open", folder) ? opendir(folder) : NULL;
    if (!directory) {
        return errno == ENOENT ? MJ_OK : fail_errno(error, "list", folder);
    }
    mj_status status = MJ_OK;
    struct dirent *item;
    while (status == MJ_OK && (errno = 0, item = readdir(directory))) {
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0 && !add_name(out, item->d_name)) {
            status = mj_fail(error, MJ_ERR_MEMORY, "cannot list %s: no memory", folder);
        }
    }
    if (status == MJ_OK && errno) {
        status = fail_errno(error, "list", folder);
    }
    closedir(directory);
    if (out->count) {
        qsort(out->names, out->count, sizeof *out->names, compare_names);
    }
    return status;
}

typedef struct folder_walk { /* one of the two visitors */
    bool (*file)(void *user, const char *name, uint64_t bytes, double mtime_seconds);
    bool (*subfolder)(void *user, const char *name);
    void *user;
} folder_walk;

static bool visit_entry(const folder_walk *walk, const char *name, const struct stat *info)
{
    if (walk->file && S_ISREG(info->st_mode)) {
        double mtime = (double)info->st_mtim.tv_sec + (double)info->st_mtim.tv_nsec * 1e-9;
        return walk->file(walk->user, name, (uint64_t)info->st_size, mtime);
    }
    if (walk->subfolder && S_ISDIR(info->st_mode)) {
        return walk->subfolder(walk->user, name);
    }
    return true;
}

static mj_status walk_folder(const char *folder, const folder_walk *walk, mj_error *error)
{
    name_list list = {0};
    mj_status status = read_names(folder, &list, error);
    bool more = status == MJ_OK;
    for (size_t i = 0; more && i < list.count; i++) {
        struct stat info;
        char *path = NULL;
        if (asprintf(&path, "%s/%s", folder, list.names[i]) < 0) {
            status = mj_fail(error, MJ_ERR_MEMORY, "cannot list %s: no memory", folder);
            break;
        }
        if (lstat(path, &info) == 0) { /* else it went away meanwhile */
            more = visit_entry(walk, list.names[i], &info);
        }
        free(path);
    }
    free_names(&list);
    return status;
}

mj_status mj_os_list_folder(const char *folder,
                            bool (*visit)(void *user, const char *name, uint64_t bytes, double mtime_seconds),
                            void *user, mj_error *error)
{
    return walk_folder(folder, &(folder_walk){.file = visit, .user = user}, error);
}

mj_status mj_os_list_subfolders(const char *folder, bool (*visit)(void *user, const char *name), void *user,
                                mj_error *error)
{
    return walk_folder(folder, &(folder_walk){.subfolder = visit, .user = user}, error);
}

mj_status mj_os_remove_file(const char *path, mj_error *error)
{
    if (step_allowed("unlink", path) && unlink(path) == 0) {
        return MJ_OK;
    }
    return errno == ENOENT ? MJ_OK : fail_errno(error, "remove", path);
}

mj_status mj_os_remove_folder(const char *path, mj_error *error)
{
    if (step_allowed("unlink", path) && rmdir(path) == 0) {
        return MJ_OK;
    }
    return errno == ENOENT ? MJ_OK : fail_errno(error, "remove the folder", path);
}

int mj_os_lock_folder_of(const char *path, double seconds)
{
    const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    double end = mj_os_monotonic_seconds() + seconds;
    int fd = open_parent(path);
    while (fd >= 0) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return fd;
        }
        if ((errno != EWOULDBLOCK && errno != EINTR) || mj_os_monotonic_seconds() > end) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    mj_os_unlock(fd);
    return -1;
}

void mj_os_unlock(int lock)
{
    if (lock >= 0) {
        close(lock);
    }
}

void mj_os_touch(const char *path)
{
    int ignored = utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
    (void)ignored; /* a read-only cache cannot be touched */
}

/* ---- Paths and time --------------------------------------------------------------------------- */

mj_status mj_os_join(char *out, size_t out_bytes, const char *a, const char *b, mj_error *error)
{
    size_t a_bytes = strlen(a);
    const char *separator = a_bytes == 0 || a[a_bytes - 1] == '/' ? "" : "/";
    int written = snprintf(out, out_bytes, "%s%s%s", a, separator, b);
    if (written < 0 || (size_t)written >= out_bytes) {
        if (out_bytes) {
            out[0] = '\0';
        }
        return mj_fail(error, MJ_ERR_CAPACITY, "the path of %.100s in %.200s... is too long", b, a);
    }
    return MJ_OK;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double mj_os_monotonic_seconds(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

double mj_os_wall_seconds(void)
{
    return clock_seconds(CLOCK_REALTIME);
}

void mj_os_default_folder(const char *kind, char *out, size_t bytes)
{
    static const struct {
        const char *kind, *variable, *below_home;
    } folders[] = {
        {"cache", "XDG_CACHE_HOME", ".cache/moejit"},
        {"data", "XDG_DATA_HOME", ".local/share/moejit"},
        {"state", "XDG_STATE_HOME", ".local/state/moejit"},
    };
    out[0] = '\0';
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (strcmp(kind, folders[i].kind) != 0) {
            continue;
        }
        const char *base = getenv(folders[i].variable), *home = getenv("HOME");
        if (base && base[0] == '/') { /* XDG: a relative path is to be ignored */
            (void)mj_os_join(out, bytes, base, "moejit", NULL);
        } else if (home && home[0] == '/') {
            (void)mj_os_join(out, bytes, home, folders[i].below_home, NULL);
        }
    }
}
