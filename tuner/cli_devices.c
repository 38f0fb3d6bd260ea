/* cli_devices.c: moejit devices. */
#include <string.h>

#include "cli.h"

#define DEVICES_MAX 64

mj_json *cli_device_json(const mj_device_info *info)
{
    mj_json *row = mj_json_object();
    mj_json_add_string(row, "id", info->id);
    mj_json_add_string(row, "name", info->name);
    mj_json_add_string(row, "arch", info->arch);
    mj_json_add_string(row, "driver", info->driver);
    mj_json_add_string(row, "compiler", info->compiler);
    mj_json_add_bool(row, "usable", info->note[0] == '\0');
    mj_json_add_string(row, "note", info->note);
    mj_json_add_int(row, "sm_count", info->sm_count);
    mj_json_add_int(row, "memory_bytes", (int64_t)info->memory_bytes);
    if (info->memory_free_bytes > 0) {
        mj_json_add_int(row, "memory_free_bytes", (int64_t)info->memory_free_bytes);
    }
    mj_json_add_int(row, "l2_bytes", (int64_t)info->l2_bytes);
    mj_json_add_int(row, "smem_block_bytes_max", info->smem_block_bytes_max);
    mj_json_add_int(row, "clock_mhz", info->clock_mhz);
    return row;
}

static void print_device(const mj_device_info *info, bool verbose)
{
    const double gib = 1073741824.0;
    char free_gib[16] = "-"; /* a GPU tells only once it is open, and this command opens none */
    if (info->memory_free_bytes > 0) {
        snprintf(free_gib, sizeof free_gib, "%.1f", (double)info->memory_free_bytes / gib);
    }
    printf("%-7s %-32s %-9s %8.1f %8s  %-16s %s\n", info->id, info->name, info->arch[0] ? info->arch : "-",
           (double)info->memory_bytes / gib, free_gib, info->driver[0] ? info->driver : "-",
           info->compiler[0] ? info->compiler : "-");
    if (info->note[0]) {
        printf("        not usable: %s\n", info->note);
    }
    if (verbose) {
        printf("        %u %s, last-level cache %.1f MiB, %u bytes of shared memory per block, %u "
               "MHz\n",
               info->sm_count, strcmp(info->arch, "cpu") == 0 ? "threads" : "multiprocessors",
               (double)info->l2_bytes / 1048576.0, info->smem_block_bytes_max, info->clock_mhz);
    }
}

static cli_exit print_devices(const cli_options *options, const mj_device_info *infos, uint32_t count)
{
    mj_json *list = options->json ? mj_json_array() : NULL;
    uint32_t shown = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (options->device && strcmp(options->device, "best") != 0 && strcmp(options->device, infos[i].id) != 0) {
            continue;
        }
        if (options->json) {
            mj_json_push(list, cli_device_json(&infos[i]));
        } else {
            if (shown == 0) {
                printf("%-7s %-32s %-9s %8s %8s  %-16s %s\n", "id", "name", "arch", "GiB", "free GiB", "driver",
                       "compiler");
            }
            print_device(&infos[i], options->verbose > 0);
        }
        shown++;
        if (options->device && strcmp(options->device, "best") == 0 && infos[i].note[0] == '\0') {
            break;
        }
    }
    cli_exit code = options->json ? cli_print_json(list) : CLI_OK;
    if (shown == 0 && code == CLI_OK) {
        cli_error("no device '%s' (see `moejit devices`)", options->device ? options->device : "");
        return CLI_NO_DEVICE;
    }
    return code;
}

cli_exit cli_devices(const cli_options *options)
{
    mj_context *context;
    cli_exit code = cli_context(options, &context);
    if (code != CLI_OK) {
        return code;
    }
    static mj_device_info infos[DEVICES_MAX];
    uint32_t count = 0;
    mj_error error = {MJ_OK, ""};
    if (mj_device_list(context, infos, DEVICES_MAX, &count, &error) != MJ_OK) {
        code = cli_fail(&error);
    } else {
        code = print_devices(options, infos, count < DEVICES_MAX ? count : DEVICES_MAX);
    }
    mj_context_destroy(context);
    return code;
}
