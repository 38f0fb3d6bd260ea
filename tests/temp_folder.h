/* temp_folder.h: a folder of the test's own. */
#ifndef MOEJIT_TEMP_FOLDER_H
#define MOEJIT_TEMP_FOLDER_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first include"
#endif
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_folder[512];

static inline int temp_remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static inline void temp_folder_remove(void)
{
    if (temp_folder[0]) {
        nftw(temp_folder, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        temp_folder[0] = '\0';
    }
}

/* A fresh, empty one; the last one goes. Ends the test program if none can be had. */
static inline const char *temp_folder_make(void)
{
    const char *base = getenv("TMPDIR");
    temp_folder_remove();
    snprintf(temp_folder, sizeof temp_folder, "%s/moejit-test-XXXXXX", base && base[0] ? base : "/tmp");
    if (!mkdtemp(temp_folder)) {
        perror(temp_folder);
        exit(2);
    }
    return temp_folder;
}

/* "<folder>/<name>"; the next 8 calls leave the text alone. */
static inline const char *temp_path(const char *name)
{
    static char paths[8][1024];
    static unsigned at;
    char *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", temp_folder, name);
    return path;
}

static int temp_count_files_one;
static inline int temp_count_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path, (void)info, (void)walk;
    temp_count_files_one += kind == FTW_F;
    return 0;
}

/* Plain files below a folder, 0 where there is none. */
static inline int temp_count_files_in(const char *folder)
{
    temp_count_files_one = 0;
    nftw(folder, temp_count_one, 16, FTW_PHYS);
    return temp_count_files_one;
}

static inline int temp_count_files(void)
{
    return temp_count_files_in(temp_folder);
}

static inline void temp_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) {
        perror(path);
        exit(2);
    }
}

/* malloc'ed and NUL-terminated; NULL if absent. */
static inline char *temp_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        return NULL;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    size_t got = text ? fread(text, 1, (size_t)size, file) : 0;
    fclose(file);
    if (text) {
        text[got] = '\0';
    }
    if (bytes) {
        *bytes = got;
    }
    return text;
}

#endif
