/* select_store.c: the store's files as offers. Own device's file first, then others of the arch. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "os.h"
#include "select.h"

enum { FILES_MAX = sizeof((mj_store_source *)0)->files / sizeof((mj_store_source *)0)->files[0] };

/* "gcc 12.2.0 d14d2b76": the last word is of what the CPU can do as that compiler says it. */
bool mj_is_same_compiler(const char *a, const char *b)
{
    const char *a_end = strrchr(a, ' '), *b_end = strrchr(b, ' ');
    return a_end && b_end && a_end - a == b_end - b && strncmp(a, b, (size_t)(a_end - a)) == 0;
}

bool mj_is_of_another_cpu(const mj_device *device, const mj_manifest *manifest, const char *compiler, const char *name)
{
    if (strcmp(manifest->compile_target, "native") != 0) {
        return false;
    }
    if (mj_is_same_compiler(compiler, device->info.compiler)) {
        return strcmp(compiler, device->info.compiler) != 0;
    }
    return name && name[0] && strcmp(name, device->info.name) != 0;
}

/* What is missing here and matters to nobody: the cached binary is the same without its compiler. */
static void forgive_missing_compiler(mj_identity *here, const mj_identity *there)
{
    if (!here->compiler[0]) {
        memcpy(here->compiler, there->compiler, sizeof here->compiler);
    }
}

/* Adds the file if it is readable and of this problem and arch; everything else is logged. */
static mj_status take_file(mj_plan *plan, mj_store_source *source, const char *name, const mj_identity *here,
                           mj_error *error)
{
    mj_context *context = plan->device->context;
    char path[1024], problem[256];
    mj_error why = {0};
    mj_store_file file = {0};
    if (source->count == FILES_MAX || mj_os_join(path, sizeof path, context->store_dir, name, NULL) != MJ_OK) {
        return MJ_OK;
    }
    mj_status status = mj_store_load(path, &file, &why);
    if (status == MJ_ERR_NOT_FOUND) {
        return MJ_OK;
    }
    if (status == MJ_ERR_MEMORY) {
        return mj_fail(error, status, "%s", why.text);
    }
    if (status != MJ_OK) {
        mj_log(context, 0, "store: %s skipped: %s", name, why.text);
        return MJ_OK;
    }
    if (mj_problem_print(&file.problem, problem, sizeof problem, NULL) != MJ_OK ||
        strcmp(problem, plan->problem_text) != 0 || strcmp(file.identity.arch, here->arch) != 0) {
        mj_store_file_free(&file);
        return MJ_OK;
    }
    mj_identity self = *here;
    forgive_missing_compiler(&self, &file.identity);
    uint32_t at = source->count++;
    snprintf(source->files[at].name, sizeof source->files[at].name, "%s", name);
    source->files[at].file = file;
    source->files[at].exact =
        mj_identity_equal(&file.identity, &self, source->files[at].difference, sizeof source->files[at].difference);
    if (!source->files[at].exact) {
        mj_log(context, 1, "store: %s: tuned elsewhere: %s", name, source->files[at].difference);
    }
    return MJ_OK;
}

typedef struct folder_scan {
    mj_plan *plan;
    mj_store_source *source;
    const mj_identity *here;
    const char *own_name;
    const char *tail;  /* what follows the device's name in this problem's file names */
    size_t head_bytes; /* what precedes it */
    mj_status status;
    mj_error *error;
} folder_scan;

static bool visit_file(void *user, const char *name, uint64_t bytes, double mtime_seconds)
{
    folder_scan *scan = user;
    size_t name_bytes = strlen(name), tail_bytes = strlen(scan->tail);
    (void)bytes, (void)mtime_seconds;
    if (strcmp(name, scan->own_name) != 0 && name_bytes > scan->head_bytes + tail_bytes &&
        memcmp(name, scan->own_name, scan->head_bytes) == 0 &&
        strcmp(name + name_bytes - tail_bytes, scan->tail) == 0) {
        scan->status = take_file(scan->plan, scan->source, name, scan->here, scan->error);
    }
    return scan->status == MJ_OK && scan->source->count < FILES_MAX;
}

/* Files of other devices: "<head>device_name=<any>,dtype=...": head and tail are the problem's. */
static mj_status scan_folder(mj_plan *plan, mj_store_source *source, const mj_identity *here, const char *own_name,
                             mj_error *error)
{
    static const char marker[] = "device_name=";
    const char *device = strstr(own_name, marker);
    if (!device) {
        return MJ_OK;
    }
    device += sizeof marker - 1;
    const char *tail = strchr(device, ',');
    if (!tail) {
        tail = strstr(device, ".moejit.json");
    }
    if (!tail) {
        return MJ_OK;
    }
    folder_scan scan = {.plan = plan,
                        .source = source,
                        .here = here,
                        .own_name = own_name,
                        .tail = tail,
                        .head_bytes = (size_t)(device - own_name),
                        .error = error};
    mj_error why = {0};
    if (mj_os_list_folder(plan->device->context->store_dir, visit_file, &scan, &why) != MJ_OK) {
        mj_log(plan->device->context, 0, "store: %s", why.text);
    }
    return scan.status;
}

mj_status mj_store_source_open(mj_plan *plan, mj_store_source *out, mj_error *error)
{
    mj_context *context = plan->device->context;
    mj_identity here;
    char own_name[512];
    memset(out, 0, sizeof *out);
    if (!context->store_dir || !context->store_dir[0]) {
        return MJ_OK;
    }
    mj_status status = mj_device_identity(plan->device, &here, error);
    if (status == MJ_OK) {
        status = mj_store_file_name(&plan->problem, here.device, own_name, sizeof own_name, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    status = take_file(plan, out, own_name, &here, error);
    if (status == MJ_OK && (out->count == 0 || !out->files[0].exact)) {
        status = scan_folder(plan, out, &here, own_name, error);
    }
    return status;
}

void mj_store_source_close(mj_store_source *source)
{
    for (uint32_t i = 0; i < source->count; i++) {
        mj_store_file_free(&source->files[i].file);
    }
    memset(source, 0, sizeof *source);
}

static mj_status add_choice(mj_plan *plan, const mj_store_source *source, uint32_t index, mj_op op,
                            const mj_choice *choice, uint32_t token_count, const char *routing, mj_offers *out,
                            mj_error *error)
{
    char problem[256];
    const mj_store_file *file = &source->files[index].file;
    bool exact = source->files[index].exact;
    if (choice->manifest.op != op ||
        mj_problem_print(&choice->manifest.problem, problem, sizeof problem, NULL) != MJ_OK ||
        strcmp(problem, plan->problem_text) != 0) {
        mj_log(plan->device->context, 0, "store: %s: %s M=%" PRIu32 " holds another kernel: skipped",
               source->files[index].name, mj_op_name(op), token_count);
        return MJ_OK;
    }
    mj_offer *offer = mj_offers_add(plan->device->context, out);
    if (!offer) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the store's rows");
    }
    offer->token_count = token_count;
    offer->supply = file->identity.generator_version == MJ_GENERATOR_VERSION ? MJ_SUPPLY_CACHE : MJ_SUPPLY_REMAKE;
    offer->manifest = choice->manifest;
    offer->tuned_on = file->identity.device;
    memcpy(offer->key, choice->cache_key, sizeof offer->key);
    offer->origin = exact ? MJ_ORIGIN_STORE : MJ_ORIGIN_STORE_ARCH;
    offer->verified = exact && choice->verified;
    offer->time_us_median = exact ? choice->time_us_median : 0;
    offer->us = choice->time_us_median;
    if (!exact) {
        snprintf(offer->reason, sizeof offer->reason, "%s", source->files[index].difference);
    } else if (!choice->verified) {
        snprintf(offer->reason, sizeof offer->reason, "the tune did not verify it");
    } else if (strcmp(routing, plan->routing) != 0) {
        snprintf(offer->reason, sizeof offer->reason, "no %s column, %s used", plan->routing, routing);
    } else if (token_count == 0) {
        snprintf(offer->reason, sizeof offer->reason, "checked when the problem was tuned");
    }
    return MJ_OK;
}

mj_status mj_store_source_offers(mj_plan *plan, const mj_store_source *source, uint32_t file_index, mj_op op,
                                 mj_offers *out, mj_error *error)
{
    const mj_store_file *file = &source->files[file_index].file;
    if (!mj_op_is_gemm(op)) {
        const mj_choice *choice = &file->ops[op];
        return choice->present ? add_choice(plan, source, file_index, op, choice, 0, plan->routing, out, error) : MJ_OK;
    }
    const char *routing = mj_store_pick_routing(file, plan->routing);
    mj_status status = MJ_OK;
    for (uint32_t i = 0; status == MJ_OK && i < file->row_count; i++) {
        mj_store_row *row = &file->rows[i];
        const mj_choice *choice = mj_store_row_choice(row, op);
        double instead_us = 0;
        if (!choice->present || !row->token_count || strcmp(row->routing, routing) != 0 ||
            !mj_store_row_prefers(row, op, &instead_us)) {
            continue;
        }
        uint32_t before = out->count;
        status = add_choice(plan, source, file_index, op, choice, row->token_count, routing, out, error);
        if (status == MJ_OK && out->count > before) {
            out->items[before].instead_us = instead_us;
        }
    }
    return status;
}
