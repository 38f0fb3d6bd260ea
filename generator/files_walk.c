/* files_walk.c: see files_walk.h. Limits are far above what data files need; they stop a wrong path ("/") early. */
#include "files_walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX      6
#define FILE_COUNT_MAX 4096
#define FILE_BYTES_MAX ((size_t)4 << 20)
#define PATH_BYTES     4096

static bool has_data_suffix(const char *name)
{
    static const char *const suffixes[] = {".lua", ".tmpl", ".h"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t suffix_length = strlen(suffixes[i]);
        if (length > suffix_length && strcmp(name + length - suffix_length, suffixes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static mj_status read_text(const char *path, mj_data_file *file, mj_error *error)
{
    mj_status status = MJ_OK;
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        return mj_fail(error, MJ_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    }
    struct stat info;
    if (fstat(fileno(stream), &info) != 0 || info.st_size < 0) {
        status = mj_fail(error, MJ_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        goto done;
    }
    if ((uint64_t)info.st_size > FILE_BYTES_MAX) {
        status = mj_fail(error, MJ_ERR_FORMAT, "%s has %lld bytes; a data file may have %zu", path,
                         (long long)info.st_size, FILE_BYTES_MAX);
        goto done;
    }
    file->bytes = (size_t)info.st_size;
    file->text = malloc(file->bytes + 1);
    if (!file->text) {
        status = mj_fail(error, MJ_ERR_MEMORY, "no memory for %s", path);
        goto done;
    }
    if (fread(file->text, 1, file->bytes, stream) != file->bytes) {
        status = mj_fail(error, MJ_ERR_IO, "cannot read %s to its end", path);
        goto done;
    }
    file->text[file->bytes] = 0;
done:
    fclose(stream);
    return status;
}

static mj_status add_file(mj_data_set *set, const char *path, const char *name, mj_error *error)
{
    if (set->count == FILE_COUNT_MAX) {
        return mj_fail(error, MJ_ERR_CAPACITY, "more than %d data files; is this the right folder?", FILE_COUNT_MAX);
    }
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 64;
        mj_data_file *files = realloc(set->files, capacity * sizeof *files);
        if (!files) {
            return mj_fail(error, MJ_ERR_MEMORY, "no memory for the list of data files");
        }
        set->files = files;
        set->capacity = capacity;
    }
    mj_data_file *file = &set->files[set->count++];
    memset(file, 0, sizeof *file);
    file->name = strdup(name);
    if (!file->name) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the name of %s", name);
    }
    return read_text(path, file, error);
}

static mj_status walk(mj_data_set *set, const char *root, const char *folder, int depth, mj_error *error)
{
    char path[PATH_BYTES], name[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", root, folder) >= (int)sizeof path) {
        return mj_fail(error, MJ_ERR_CAPACITY, "path too long below %s", root);
    }
    DIR *directory = opendir(path);
    if (!directory) {
        if (errno == ENOENT && depth == 0) {
            return MJ_OK;
        }
        return mj_fail(error, MJ_ERR_IO, "cannot list %s: %s", path, strerror(errno));
    }
    mj_status status = MJ_OK;
    const struct dirent *entry;
    while (status == MJ_OK && (entry = readdir(directory)) != NULL) {
        struct stat info;
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (snprintf(name, sizeof name, "%s/%s", folder, entry->d_name) >= (int)sizeof name ||
            snprintf(path, sizeof path, "%s/%s", root, name) >= (int)sizeof path) {
            status = mj_fail(error, MJ_ERR_CAPACITY, "path too long below %s", root);
        } else if (stat(path, &info) != 0) {
            status = mj_fail(error, MJ_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        } else if (S_ISDIR(info.st_mode)) {
            status = depth < DEPTH_MAX ? walk(set, root, name, depth + 1, error)
                                       : mj_fail(error, MJ_ERR_FORMAT, "folders nest too deeply at %s", path);
        } else if (S_ISREG(info.st_mode) && has_data_suffix(name)) {
            status = add_file(set, path, name, error);
        }
    }
    closedir(directory);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const mj_data_file *)a)->name, ((const mj_data_file *)b)->name);
}

mj_status mj_data_read(mj_data_set *set, const char *root, const char *folder, mj_error *error)
{
    mj_status status = walk(set, root, folder, 0, error);
    if (status == MJ_OK && set->count > 0) {
        qsort(set->files, set->count, sizeof *set->files, compare_names);
    }
    return status;
}

void mj_data_free(mj_data_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->files[i].name);
        free(set->files[i].text);
    }
    free(set->files);
    memset(set, 0, sizeof *set);
}
