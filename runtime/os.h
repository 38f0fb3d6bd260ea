/* os.h: files, folders, time and paths; the only file that calls the system for them (os.c). */
#ifndef MOEJIT_OS_H
#define MOEJIT_OS_H

#include "moejit_types.h"

/* Whole file, malloc'ed, NUL-terminated beyond `bytes`; MJ_ERR_CAPACITY above `bytes_max`. */
mj_status mj_os_read_file(const char *path, size_t bytes_max, char **text, size_t *bytes, mj_error *error);
/* Temporary in the same folder, write, fsync, rename, fsync folder. The old file is intact on any failure. */
mj_status mj_os_write_file_atomic(const char *path, const void *data, size_t bytes, unsigned mode, mj_error *error);
/* The temporary is "<path>.tmp" + 6 characters; a killed writer leaves it behind, so readers of a folder skip
 * (and cleaners remove, once it is an hour old) what this calls a temporary. */
bool mj_os_is_temporary(const char *name);
/* Creates missing parents with mode 0700. */
mj_status mj_os_make_folder(const char *path, mj_error *error);
/* As mj_os_read_file, but only a plain file (no link) that belongs to this user or to root and that nobody else may
 * write: for content that is executed. Anything else is MJ_ERR_IO. */
mj_status mj_os_read_private_file(const char *path, size_t bytes_max, char **text, size_t *bytes, mj_error *error);
/* The same rule for a folder. Absent: MJ_ERR_NOT_FOUND. */
mj_status mj_os_check_private_folder(const char *path, mj_error *error);
/* Probes by creating and removing a file; false: errno says why. */
bool mj_os_is_writable_folder(const char *path);
/* Appends one whole record with a single write; no partial line on success. For journals. */
mj_status mj_os_append(int fd, const void *data, size_t bytes, mj_error *error);
/* "<a>/<b>"; MJ_ERR_CAPACITY if it does not fit. */
mj_status mj_os_join(char *out, size_t out_bytes, const char *a, const char *b, mj_error *error);
double mj_os_monotonic_seconds(void);
/* XDG folders with fallbacks; "" when there is no home at all. kind: "cache", "data", "state". */
void mj_os_default_folder(const char *kind, char *out, size_t bytes);
/* Visits plain files of a folder in sorted order. A missing folder is empty. */
mj_status mj_os_list_folder(const char *folder,
                            bool (*visit)(void *user, const char *name, uint64_t bytes, double mtime_seconds),
                            void *user, mj_error *error);

/* Visits the folders in a folder, sorted; links to folders are not visited. */
mj_status mj_os_list_subfolders(const char *folder, bool (*visit)(void *user, const char *name), void *user,
                                mj_error *error);
/* Absent is MJ_OK. Of a folder: only if empty. */
mj_status mj_os_remove_file(const char *path, mj_error *error);
mj_status mj_os_remove_folder(const char *path, mj_error *error);
/* A lock among processes on the folder of `path`, waited for at most `seconds`: one that cannot be had (network file systems,
 * a stopped holder) is done without. -1 then; give what came to mj_os_unlock. The end of a process ends its locks. */
int mj_os_lock_folder_of(const char *path, double seconds);
void mj_os_unlock(int lock);
void mj_os_touch(const char *path); /* modification time := now, if it may */
double mj_os_wall_seconds(void);    /* comparable with mtime_seconds; for ages of files only */

/* For tests: a program that defines this function has it called before every step that can fail, with the step's name
 * ("open", "read", "write", "fsync", "close", "rename", "fsync_folder", "mkdir", "unlink") and path. 0 goes on; an
 * errno value makes the step fail with it; it may also end the process. Not defined (the library itself): no cost. */
__attribute__((weak, visibility("hidden"))) int mj_os_fault(const char *step, const char *path);

#endif
