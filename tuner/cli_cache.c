/* cli_cache.c: moejit cache ls|clean. */
#include <string.h>

#include "cli.h"

typedef struct listing {
    mj_json *json; /* NULL: print */
    uint64_t count, bytes, damaged;
} listing;

static bool list_entry(void *user, const mj_cache_entry *entry, uint64_t bytes, bool damaged)
{
    listing *list = user;
    list->count++;
    list->bytes += bytes;
    list->damaged += damaged;
    if (list->json) {
        mj_json *row = mj_json_push(list->json, mj_json_object());
        mj_json_add_string(row, "key", entry->key);
        mj_json_add_string(row, "compiler", entry->compiler);
        mj_json_add_string(row, "target", entry->compile_target);
        mj_json_add_int(row, "bytes", (int64_t)bytes);
        mj_json_add_bool(row, "damaged", damaged);
    } else {
        printf("%.16s %10llu  %-10s %s%s\n", entry->key, (unsigned long long)bytes, entry->compile_target,
               entry->compiler, damaged ? "  DAMAGED" : "");
    }
    return true;
}

static cli_exit cache_ls(const cli_options *options, mj_context *context)
{
    listing list = {.json = options->json ? mj_json_array() : NULL};
    mj_error error = {MJ_OK, ""};
    if (mj_cache_list(context->cache, list_entry, &list, &error) != MJ_OK) {
        mj_json_free(list.json);
        return cli_fail(&error);
    }
    if (list.json) {
        return cli_print_json(list.json);
    }
    printf("%llu binaries, %.1f MiB, %llu damaged, in %s\n", (unsigned long long)list.count,
           (double)list.bytes / 1048576.0, (unsigned long long)list.damaged, mj_cache_folder(context->cache));
    return CLI_OK;
}

static cli_exit cache_clean(const cli_options *options, mj_context *context)
{
    mj_cache_stat removed = {0};
    mj_error error = {MJ_OK, ""};
    if (mj_cache_trim(context->cache, options->keep_bytes, &removed, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    if (options->json) {
        mj_json *root = mj_json_object();
        mj_json_add_int(root, "removed", (int64_t)removed.entry_count);
        mj_json_add_int(root, "bytes", (int64_t)removed.bytes);
        return cli_print_json(root);
    }
    printf("removed %llu binaries, %.1f MiB\n", (unsigned long long)removed.entry_count,
           (double)removed.bytes / 1048576.0);
    return CLI_OK;
}

typedef struct verb_row {
    const char *name;
    cli_exit (*run)(const cli_options *options, mj_context *context);
} verb_row;

cli_exit cli_cache(const cli_options *options)
{
    static const verb_row verbs[] = {{"ls", cache_ls}, {"clean", cache_clean}};
    static const char *const names[] = {"ls", "clean"};
    const char *word = options->positional_count ? options->positionals[0] : "ls";
    const verb_row *verb = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        verb = strcmp(word, verbs[i].name) == 0 ? &verbs[i] : verb;
    }
    if (!verb) {
        const char *near = mj_nearest_name(word, names, 2);
        cli_error("cache: unknown '%s'; %s%s", word, near ? "did you mean " : "ls or clean", near ? near : "");
        return CLI_USAGE;
    }
    mj_context *context;
    cli_exit code = cli_context(options, &context);
    if (code == CLI_OK && !context->cache) {
        cli_error("there is no cache folder (no home?): give --cache-dir");
        code = CLI_NOT_SAVED;
    } else if (code == CLI_OK) {
        code = verb->run(options, context);
    }
    if (context) {
        mj_context_destroy(context);
    }
    return code;
}
