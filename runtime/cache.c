/* cache.c: the folder of cache entries. */
#include "cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_file.h"
#include "context.h"
#include "os.h"
#include "store.h"

#define VERSION_FOLDER            "v1"
#define FILE_TAIL                 ".mjbin"
#define TEMPORARY_AGE_SECONDS_MAX 3600.0
#define PATH_BYTES                1200
enum { PUTS_BETWEEN_SCANS = 64 };

struct mj_cache {
    mj_context *context;
    char *folder;         /* as given */
    char *version_folder; /* <folder>/v1: what is ours */
    uint64_t bytes_max;
    pthread_mutex_t lock; /* guards what follows */
    bool warned;
    uint64_t bytes_known; /* sum of entries at the last scan and what was put since */
    uint32_t puts_until_scan;
};

static void warn_once(mj_cache *cache, const char *what)
{
    pthread_mutex_lock(&cache->lock);
    bool first = !cache->warned;
    cache->warned = true;
    pthread_mutex_unlock(&cache->lock);
    if (first) {
        mj_log(cache->context, 0, "cache: %s", what);
    }
}

/* ---- Open and close --------------------------------------------------------------------------- */

mj_status mj_cache_open(mj_context *context, const char *folder, uint64_t bytes_max, mj_cache **out, mj_error *error)
{
    char path[PATH_BYTES];
    *out = NULL;
    mj_status status = mj_os_join(path, sizeof path - 128, folder, VERSION_FOLDER, error);
    if (status != MJ_OK) {
        return status;
    }
    /* Nothing is made before there is something to keep; what is there must be ours, since its content is run. */
    status = mj_os_check_private_folder(path, error);
    if (status != MJ_OK && status != MJ_ERR_NOT_FOUND) {
        return status;
    }
    mj_cache *cache = mj_alloc(context, sizeof *cache);
    if (!cache) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a cache");
    }
    cache->context = context;
    cache->bytes_max = bytes_max;
    cache->folder = mj_strdup(context, folder);
    cache->version_folder = mj_strdup(context, path);
    if (!cache->folder || !cache->version_folder || pthread_mutex_init(&cache->lock, NULL) != 0) {
        mj_free(context, cache->folder);
        mj_free(context, cache->version_folder);
        mj_free(context, cache);
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a cache");
    }
    *out = cache;
    return MJ_OK;
}

void mj_cache_close(mj_cache *cache)
{
    if (cache) {
        mj_context *context = cache->context;
        pthread_mutex_destroy(&cache->lock);
        mj_free(context, cache->folder);
        mj_free(context, cache->version_folder);
        mj_free(context, cache);
    }
}

const char *mj_cache_folder(const mj_cache *cache)
{
    return cache->folder;
}

void mj_cache_entry_free(mj_cache_entry *entry)
{
    if (entry) {
        mj_compiled_free(&entry->compiled);
        memset(entry, 0, sizeof *entry);
    }
}

/* ---- Get -------------------------------------------------------------------------------------- */

/* File names come from hex digits only, so that no name can leave the folder. */
static mj_status entry_path(const mj_cache *cache, const char *key, char *folder, char *path, mj_error *error)
{
    if (!mj_is_sha256_hex(key)) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "\"%.80s\" is no cache key", key);
    }
    snprintf(folder, PATH_BYTES, "%s/%.2s", cache->version_folder, key); /* fits: checked at open */
    snprintf(path, PATH_BYTES, "%s/%.2s/%s%s", cache->version_folder, key, key, FILE_TAIL);
    return MJ_OK;
}

static mj_status read_entry(const mj_cache *cache, const char *folder, const char *path, const char *key,
                            mj_cache_entry *out, mj_error *error)
{
    char *data = NULL;
    size_t bytes = 0;
    mj_status status = mj_os_check_private_folder(cache->version_folder, error);
    if (status == MJ_OK) {
        status = mj_os_check_private_folder(folder, error);
    }
    if (status == MJ_OK) {
        status = mj_os_read_private_file(path, MJ_CACHE_FILE_BYTES_MAX, &data, &bytes, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    status = mj_cache_decode(data, bytes, out, error);
    free(data);
    if (status == MJ_OK && strcmp(out->key, key) != 0) {
        mj_cache_entry_free(out);
        status = mj_fail(error, MJ_ERR_FORMAT, "it holds another key");
    }
    return status;
}

mj_status mj_cache_get(mj_cache *cache, const char *key, mj_cache_entry *out, mj_error *error)
{
    char folder[PATH_BYTES], path[PATH_BYTES], line[PATH_BYTES];
    mj_error why = {0};
    memset(out, 0, sizeof *out);
    mj_status status = entry_path(cache, key, folder, path, error);
    if (status != MJ_OK) {
        return status;
    }
    status = read_entry(cache, folder, path, key, out, &why);
    if (status == MJ_OK) {
        mj_os_touch(path);
        return MJ_OK;
    }
    if (status == MJ_ERR_MEMORY) {
        return mj_fail(error, status, "%s", why.text);
    }
    if (status == MJ_ERR_FORMAT || status == MJ_ERR_CAPACITY) {
        mj_log(cache->context, 1, "cache: damaged entry %.12s dropped: %s", key, why.text);
        (void)mj_os_remove_file(path, NULL); /* a miss all the same */
    } else if (status == MJ_ERR_IO) {
        snprintf(line, sizeof line, "%.1000s", why.text);
        warn_once(cache, line);
    }
    return mj_fail(error, MJ_ERR_NOT_FOUND, "%.12s is not in the cache", key);
}

/* ---- Scan and trim ---------------------------------------------------------------------------- */

typedef struct cached_file {
    char name[MJ_SHA256_HEX + 32]; /* its folder is its first two characters' */
    char folder[3];
    uint64_t bytes;
    double mtime_seconds;
} cached_file;

typedef struct file_scan {
    mj_cache *cache;
    char folder[3];
    cached_file *files;
    size_t count, capacity;
    bool out_of_memory;
} file_scan;

static bool is_entry_name(const char *name)
{
    return strlen(name) == MJ_SHA256_HEX - 1 + sizeof FILE_TAIL - 1 &&
           strspn(name, "0123456789abcdef") == MJ_SHA256_HEX - 1 && strcmp(name + MJ_SHA256_HEX - 1, FILE_TAIL) == 0;
}

/* Files that are not ours stay, unseen. */
static bool scan_file(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    file_scan *scan = user;
    if ((!is_entry_name(name) && !mj_os_is_temporary(name)) || strlen(name) >= sizeof scan->files->name) {
        return true;
    }
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity ? scan->capacity * 2 : 256;
        cached_file *grown = mj_realloc(scan->cache->context, scan->files, capacity * sizeof *grown);
        if (!grown) {
            scan->out_of_memory = true;
            return false;
        }
        scan->files = grown;
        scan->capacity = capacity;
    }
    cached_file *file = &scan->files[scan->count++];
    memset(file, 0, sizeof *file);
    snprintf(file->name, sizeof file->name, "%s", name);
    memcpy(file->folder, scan->folder, sizeof file->folder);
    file->bytes = bytes;
    file->mtime_seconds = mtime_seconds;
    return true;
}

static bool scan_folder(void *user, const char *name)
{
    file_scan *scan = user;
    char path[PATH_BYTES];
    if (strlen(name) != 2 || strspn(name, "0123456789abcdef") != 2) {
        return true;
    }
    memcpy(scan->folder, name, 3);
    snprintf(path, sizeof path, "%s/%s", scan->cache->version_folder, name);
    (void)mj_os_list_folder(path, scan_file, scan, NULL); /* one that cannot be read counts nothing */
    return !scan->out_of_memory;
}

static mj_status scan_cache(mj_cache *cache, file_scan *scan, mj_error *error)
{
    memset(scan, 0, sizeof *scan);
    scan->cache = cache;
    mj_status status = mj_os_check_private_folder(cache->version_folder, error);
    if (status == MJ_ERR_NOT_FOUND) {
        return MJ_OK; /* nothing kept yet */
    }
    if (status == MJ_OK) {
        status = mj_os_list_subfolders(cache->version_folder, scan_folder, scan, error);
    }
    if (status == MJ_OK && scan->out_of_memory) {
        status = mj_fail(error, MJ_ERR_MEMORY, "no memory to list the cache");
    }
    if (status != MJ_OK) {
        mj_free(cache->context, scan->files);
        scan->files = NULL;
    }
    return status;
}

static int compare_age(const void *a, const void *b)
{
    const cached_file *left = a, *right = b;
    if (left->mtime_seconds != right->mtime_seconds) {
        return left->mtime_seconds < right->mtime_seconds ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

/* A reader that has an entry open keeps it; one that comes later misses and compiles. */
mj_status mj_cache_trim(mj_cache *cache, uint64_t max_bytes, mj_cache_stat *removed, mj_error *error)
{
    file_scan scan;
    char path[PATH_BYTES];
    uint64_t total = 0;
    mj_cache_stat stat = {0};
    mj_status status = scan_cache(cache, &scan, error), first_failure = MJ_OK;
    if (status != MJ_OK) {
        return status;
    }
    if (scan.count) {
        qsort(scan.files, scan.count, sizeof *scan.files, compare_age);
    }
    for (size_t i = 0; i < scan.count; i++) {
        total += is_entry_name(scan.files[i].name) ? scan.files[i].bytes : 0;
    }
    double now = mj_os_wall_seconds();
    for (size_t i = 0; i < scan.count; i++) {
        const cached_file *file = &scan.files[i];
        bool is_entry = is_entry_name(file->name);
        bool abandoned = !is_entry && (max_bytes == 0 || now - file->mtime_seconds > TEMPORARY_AGE_SECONDS_MAX);
        if (!abandoned && !(is_entry && total > max_bytes)) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s/%s", cache->version_folder, file->folder, file->name);
        status = mj_os_remove_file(path, first_failure == MJ_OK ? error : NULL);
        if (status != MJ_OK) {
            first_failure = first_failure == MJ_OK ? status : first_failure;
        } else if (is_entry) {
            total -= file->bytes;
            stat.entry_count++;
            stat.bytes += file->bytes;
        }
    }
    mj_free(cache->context, scan.files);
    pthread_mutex_lock(&cache->lock);
    cache->bytes_known = total;
    cache->puts_until_scan = PUTS_BETWEEN_SCANS;
    pthread_mutex_unlock(&cache->lock);
    if (removed) {
        *removed = stat;
    }
    return first_failure;
}

mj_status mj_cache_list(mj_cache *cache,
                        bool (*visit)(void *user, const mj_cache_entry *header_only, uint64_t bytes, bool damaged),
                        void *user, mj_error *error)
{
    file_scan scan;
    mj_status status = scan_cache(cache, &scan, error);
    bool more = status == MJ_OK;
    for (size_t i = 0; more && i < scan.count; i++) {
        const cached_file *file = &scan.files[i];
        char folder[PATH_BYTES], path[PATH_BYTES], key[MJ_SHA256_HEX];
        mj_cache_entry entry = {0};
        if (!is_entry_name(file->name)) {
            continue;
        }
        snprintf(key, sizeof key, "%.64s", file->name);
        snprintf(folder, sizeof folder, "%s/%s", cache->version_folder, file->folder);
        snprintf(path, sizeof path, "%s/%s/%s", cache->version_folder, file->folder, file->name);
        mj_status found = read_entry(cache, folder, path, key, &entry, NULL);
        if (found == MJ_ERR_NOT_FOUND) {
            continue; /* went away meanwhile */
        }
        memcpy(entry.key, key, sizeof key);
        free(entry.compiled.binary);
        free(entry.compiled.log);
        entry.compiled.binary = NULL;
        entry.compiled.log = NULL;
        more = visit(user, &entry, file->bytes, found != MJ_OK);
    }
    if (status == MJ_OK) {
        mj_free(cache->context, scan.files);
    }
    return status;
}

/* ---- Put -------------------------------------------------------------------------------------- */

/* Trims to a little below the cap, so that not every put past it scans the folder. */
static void keep_below_cap(mj_cache *cache, uint64_t added_bytes)
{
    pthread_mutex_lock(&cache->lock);
    cache->bytes_known += added_bytes;
    bool due = cache->puts_until_scan == 0 || cache->bytes_known > cache->bytes_max;
    if (!due) {
        cache->puts_until_scan--;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!due) {
        return;
    }
    mj_cache_stat removed = {0};
    mj_error why = {0};
    /* First only counts: other processes put and trim as well. */
    mj_status status = mj_cache_trim(cache, cache->bytes_max, &removed, &why);
    if (status == MJ_OK && removed.entry_count > 0) {
        status = mj_cache_trim(cache, cache->bytes_max - cache->bytes_max / 8, NULL, &why);
        mj_log(cache->context, 2, "cache: dropped what was used least");
    }
    if (status != MJ_OK) {
        warn_once(cache, why.text);
    }
}

mj_status mj_cache_put(mj_cache *cache, const mj_cache_entry *entry, mj_error *error)
{
    char folder[PATH_BYTES], path[PATH_BYTES], line[PATH_BYTES];
    char *data = NULL;
    size_t bytes = 0;
    mj_error why = {0};
    mj_status status = entry_path(cache, entry->key, folder, path, error);
    if (status != MJ_OK) {
        return status;
    }
    status = mj_cache_encode(entry, &data, &bytes, error);
    if (status != MJ_OK) {
        return status;
    }
    if (bytes > cache->bytes_max) {
        free(data);
        return mj_fail(error, MJ_ERR_CAPACITY, "the entry alone is larger than the cache may be");
    }
    status = mj_os_make_folder(folder, &why);
    if (status == MJ_OK) {
        status = mj_os_check_private_folder(cache->version_folder, &why);
    }
    if (status == MJ_OK) {
        status = mj_os_check_private_folder(folder, &why);
    }
    if (status == MJ_OK) {
        status = mj_os_write_file_atomic(path, data, bytes, 0600, &why);
    }
    free(data);
    if (status != MJ_OK) {
        snprintf(line, sizeof line, "binaries are not kept: %.1000s", why.text);
        warn_once(cache, line);
        return mj_fail(error, status, "%s", why.text);
    }
    keep_below_cap(cache, bytes);
    return MJ_OK;
}
