/* cli_devices.c: moejit devices. */
#include <stdlib.h>
#include <string.h>

#include "backend_cuda.h"
#include "backend_hip.h"
#include "cli.h"
#include "context.h"
#include "hiprtc_targets.h"
#include "os.h"

#define DEVICES_MAX 64
#define TARGETS_MAX 32

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

/* `list`: the rows go there instead. */
static cli_exit print_devices(const cli_options *options, const mj_device_info *infos, uint32_t count, mj_json *list)
{
    uint32_t shown = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (options->device && strcmp(options->device, "best") != 0 && strcmp(options->device, infos[i].id) != 0) {
            continue;
        }
        if (list) {
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
    if (shown == 0) {
        cli_error("no device '%s' (see `moejit devices`)", options->device ? options->device : "");
        return CLI_NO_DEVICE;
    }
    return CLI_OK;
}

/* ---- AMD's compiler: it does not say what it knows, and its cards' owners may have any of a dozen versions ---- */
typedef struct amd_compiler {
    char compiler[96], path[1024];
    uint32_t count;
    const char *targets[TARGETS_MAX]; /* of the archs of this version, owned by the spec */
    bool can[TARGETS_MAX];
} amd_compiler;

static void list_targets(const mj_spec *spec, amd_compiler *out)
{
    for (uint32_t i = 0; i < mj_spec_arch_count(spec) && out->count < TARGETS_MAX; i++) {
        const mj_arch *arch = mj_spec_arch_at(spec, i);
        if (strcmp(arch->vendor, "amd") == 0) {
            out->targets[out->count++] = arch->compile_target;
        }
    }
}

static mj_status find_amd_compiler(mj_context *context, amd_compiler *out, mj_error *error)
{
    const mj_spec *spec = NULL;
    const mj_backend *backend = NULL;
    const mj_hiprtc *hiprtc = NULL;
    void *state = NULL;
    memset(out, 0, sizeof *out);
    mj_status status = mj_context_spec(context, &spec, error);
    if (status == MJ_OK) {
        status = mj_context_backend(context, "hip", &backend, &state, NULL, error);
    }
    if (status == MJ_OK) {
        status = mj_hip_need_hiprtc(state, &hiprtc, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    snprintf(out->compiler, sizeof out->compiler, "%s", mj_hiprtc_identity(hiprtc));
    snprintf(out->path, sizeof out->path, "%.1023s", mj_hiprtc_path(hiprtc));
    list_targets(spec, out);
    /* this command's context has no cache folder, because most of what it does needs none */
    const char *given = getenv("MOEJIT_CACHE_DIR");
    char folder[1024];
    snprintf(folder, sizeof folder, "%.1023s", given ? given : "");
    if (!folder[0]) {
        mj_os_default_folder("cache", folder, sizeof folder);
    }
    return mj_hiprtc_targets(folder, hiprtc, out->targets, out->count, out->can, error);
}

static void print_targets(const amd_compiler *found, bool can, const char *head)
{
    for (uint32_t i = 0; i < found->count; i++) {
        if (found->can[i] == can) {
            printf("%s %s", head, found->targets[i]);
            head = "";
        }
    }
}

/* A machine without AMD's things hears nothing of them, unless it asks. */
static void print_amd_compiler(mj_context *context, bool verbose)
{
    amd_compiler found;
    mj_error error = {MJ_OK, ""};
    mj_status status = find_amd_compiler(context, &found, &error);
    if (found.compiler[0]) {
        printf("%s (%s)\n       ", found.compiler, found.path);
    }
    if (status == MJ_OK) {
        print_targets(&found, true, " compiles for");
        print_targets(&found, false, ", not for");
        printf("\n");
    } else if (found.compiler[0] || verbose || context->hiprtc_path) {
        printf("%s%s\n", found.compiler[0] ? " its targets could not be tried: " : "hiprtc: ", error.text);
    }
}

static mj_json *target_list(const amd_compiler *found, bool can)
{
    mj_json *list = mj_json_array();
    for (uint32_t i = 0; i < found->count; i++) {
        if (found->can[i] == can) {
            mj_json_push(list, mj_json_new_string(found->targets[i]));
        }
    }
    return list;
}

/* The same as one object; nothing where the text form says nothing. */
static void add_amd_compiler(mj_json *list, mj_context *context, bool verbose)
{
    amd_compiler found;
    mj_error error = {MJ_OK, ""};
    mj_status status = find_amd_compiler(context, &found, &error);
    if (!found.compiler[0] && !verbose && !context->hiprtc_path) {
        return;
    }
    mj_json *row = mj_json_object();
    mj_json_add_string(row, "backend", "hip");
    mj_json_add_string(row, "compiler", found.compiler);
    mj_json_add_string(row, "path", found.path);
    if (status == MJ_OK) {
        mj_json_add(row, "targets", target_list(&found, true));
        mj_json_add(row, "not_targets", target_list(&found, false));
    }
    mj_json_add_string(row, "note", error.text);
    mj_json_push(list, row);
}

/* The vendor's library is on this machine, whatever it found. Their backends look for it once they are asked for devices. */
static bool has_library(mj_context *context, const char *name, const char **why)
{
    const mj_backend *backend = NULL;
    void *state = NULL;
    uint32_t count = 0;
    *why = "";
    if (mj_context_backend(context, name, &backend, &state, NULL, NULL) != MJ_OK) {
        return false;
    }
    backend->device_count(state, &count, NULL);
    if (strcmp(name, "cuda") == 0) {
        const mj_cuda_state *cuda = state;
        *why = cuda->driver_error.text;
        return cuda->api.library != NULL;
    }
    const mj_hip_state *hip = state;
    *why = hip->runtime_error.text;
    return hip->api.library != NULL;
}

/* Why there is nothing but the CPU. */
static void print_missing(mj_context *context, const mj_device_info *infos, uint32_t count, bool verbose)
{
    const char *cuda_why, *hip_why;
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(infos[i].id, "cpu", 3) != 0) {
            return;
        }
    }
    bool cuda = has_library(context, "cuda", &cuda_why), hip = has_library(context, "hip", &hip_why);
    printf("no NVIDIA %s, no %s found\n", cuda ? "GPU" : "driver", hip ? "AMD GPU" : "HIP runtime");
    if (verbose) {
        printf("        %s\n        %s\n", cuda_why, hip_why);
    }
}

static cli_exit list_devices(const cli_options *options, mj_context *context, const mj_device_info *infos,
                             uint32_t count)
{
    mj_json *root = options->json ? mj_json_object() : NULL;
    cli_exit code = print_devices(options, infos, count, root ? mj_json_add(root, "devices", mj_json_array()) : NULL);
    if (code != CLI_OK) {
        mj_json_free(root);
        return code;
    }
    mj_json *compilers = root ? mj_json_add(root, "compilers", mj_json_array()) : NULL;
    if (compilers && !options->device) {
        add_amd_compiler(compilers, context, options->verbose > 0);
    } else if (!options->device) {
        print_missing(context, infos, count, options->verbose > 0);
        print_amd_compiler(context, options->verbose > 0);
    }
    return root ? cli_print_json(root) : CLI_OK;
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
        code = list_devices(options, context, infos, count < DEVICES_MAX ? count : DEVICES_MAX);
    }
    mj_context_destroy(context);
    return code;
}
