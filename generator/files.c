/* files.c: the data files by name. Those built into the binary, overlaid by a folder's: a file of the same name
 * replaces the built-in one, a new one joins. Everything is read at open; afterwards nothing changes, so a set may be
 * shared by threads. */
#include "files_embedded.h"
#include "files_walk.h"
#include "gen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct file_row {
    const char *name, *text;
    size_t bytes;
} file_row;

struct mj_files {
    mj_data_set folder;
    file_row *rows;     /* sorted by name, names unique */
    const char **names; /* rows[i].name, so that a folder is a slice of it */
    size_t count;
};

/* Both inputs are sorted: a merge in which the folder's row wins. */
static void merge_rows(mj_files *files)
{
    size_t e = 0, f = 0;
    while (e < mj_embedded_file_count || f < files->folder.count) {
        const mj_embedded_file *built_in = e < mj_embedded_file_count ? &mj_embedded_files[e] : NULL;
        const mj_data_file *own = f < files->folder.count ? &files->folder.files[f] : NULL;
        int order = !built_in ? 1 : !own ? -1 : strcmp(built_in->name, own->name);
        file_row *row = &files->rows[files->count];
        if (order < 0) {
            *row = (file_row){built_in->name, built_in->text, built_in->bytes};
        } else {
            *row = (file_row){own->name, own->text, own->bytes};
        }
        e += order <= 0;
        f += order >= 0;
        files->names[files->count++] = row->name;
    }
}

static mj_status read_folder(mj_files *files, const char *data_dir, mj_error *error)
{
    struct stat info;
    if (stat(data_dir, &info) != 0) {
        return mj_fail(error, MJ_ERR_IO, "data folder %s: %s", data_dir, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return mj_fail(error, MJ_ERR_IO, "data folder %s: not a folder", data_dir);
    }
    mj_status status = mj_data_read(&files->folder, data_dir, "lua", error);
    if (status == MJ_OK) {
        status = mj_data_read(&files->folder, data_dir, "templates", error);
    }
    if (status == MJ_OK && files->folder.count == 0) {
        status = mj_fail(error, MJ_ERR_NOT_FOUND, "data folder %s: holds neither lua/ nor templates/", data_dir);
    }
    return status;
}

mj_status mj_files_open(const char *data_dir, mj_files **out, mj_error *error)
{
    if (!out) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "mj_files_open: out is null");
    }
    *out = NULL;
    mj_files *files = calloc(1, sizeof *files);
    if (!files) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the data files");
    }
    mj_status status = data_dir ? read_folder(files, data_dir, error) : MJ_OK;
    if (status == MJ_OK) {
        size_t capacity = mj_embedded_file_count + files->folder.count + 1;
        files->rows = calloc(capacity, sizeof *files->rows);
        files->names = calloc(capacity, sizeof *files->names);
        if (files->rows && files->names) {
            merge_rows(files);
        } else {
            status = mj_fail(error, MJ_ERR_MEMORY, "no memory for the list of data files");
        }
    }
    if (status != MJ_OK) {
        mj_files_close(files);
        return status;
    }
    *out = files;
    return MJ_OK;
}

void mj_files_close(mj_files *files)
{
    if (!files) {
        return;
    }
    mj_data_free(&files->folder);
    free(files->rows);
    free(files->names);
    free(files);
}

/* First row whose name is not before `name` in byte order. */
static size_t lower_bound(const mj_files *files, const char *name)
{
    size_t low = 0, high = files->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(files->names[middle], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

mj_status mj_files_get(mj_files *files, const char *name, const char **text, size_t *bytes, mj_error *error)
{
    if (!files || !name || !text) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "mj_files_get: null argument");
    }
    size_t i = lower_bound(files, name);
    if (i == files->count || strcmp(files->names[i], name) != 0) {
        const char *near = mj_nearest_name(name, files->names, files->count);
        return mj_fail(error, MJ_ERR_NOT_FOUND, "no data file \"%s\"%s%s%s", name, near ? "; did you mean \"" : "",
                       near ? near : "", near ? "\"?" : "");
    }
    *text = files->rows[i].text;
    if (bytes) {
        *bytes = files->rows[i].bytes;
    }
    return MJ_OK;
}

mj_status mj_files_list(mj_files *files, const char *prefix, const char *const **names, size_t *count, mj_error *error)
{
    if (!files || !prefix || !names || !count) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "mj_files_list: null argument");
    }
    size_t first = lower_bound(files, prefix), last = first, length = strlen(prefix);
    while (last < files->count && strncmp(files->names[last], prefix, length) == 0) {
        last++;
    }
    *names = files->names + first;
    *count = last - first;
    return MJ_OK;
}

void mj_files_digest(mj_files *files, char out[MJ_SHA256_HEX])
{
    mj_sha256 hash;
    mj_sha256_start(&hash);
    for (size_t i = 0; i < files->count; i++) {
        const file_row *row = &files->rows[i];
        mj_sha256_update(&hash, row->name, strlen(row->name) + 1);
        mj_sha256_update(&hash, &row->bytes, sizeof row->bytes);
        mj_sha256_update(&hash, row->text, row->bytes);
    }
    mj_sha256_finish(&hash, out);
}
