/* pack.c: reading packs: registered by the caller or loaded from a folder; see pack.h. */
#include "pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "select.h"

enum { FILE_BYTES_MAX = 256 * 1024 * 1024 };

/* ---- The table ---- */

static mj_status read_head(mj_pack_table *out, mj_error *error)
{
    int64_t version = 0, generator = 0;
    mj_status status = mj_json_read_int(out->root, "moejit_pack", 0, UINT32_MAX, &version, error);
    if (status == MJ_OK && version != MJ_PACK_VERSION) {
        return mj_fail(error, MJ_ERR_VERSION, "pack of format %" PRId64 ", this library reads %d", version,
                       MJ_PACK_VERSION);
    }
    if (status == MJ_OK) {
        status = mj_json_read_int(out->root, "generator", 0, UINT32_MAX, &generator, error);
    }
    if (status == MJ_OK && generator != MJ_GENERATOR_VERSION) {
        return mj_fail(error, MJ_ERR_VERSION,
                       "pack of generator %" PRId64 ", this library is generator %d: emit it again", generator,
                       MJ_GENERATOR_VERSION);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(out->root, "problem", out->problem_text, sizeof out->problem_text, error);
    }
    mj_error why = {0};
    if (status == MJ_OK && (mj_problem_parse(out->problem_text, &out->problem, &why) != MJ_OK ||
                            mj_problem_check(&out->problem, &why) != MJ_OK)) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: problem: %.900s", why.text);
    }
    if (status == MJ_OK) { /* as this library prints it: texts are compared */
        status = mj_problem_print(&out->problem, out->problem_text, sizeof out->problem_text, error);
    }
    return status;
}

const mj_pack_section *mj_pack_table_find(const mj_pack_table *table, const char *arch)
{
    for (uint32_t i = 0; i < table->section_count; i++) {
        if (strcmp(table->sections[i].arch, arch) == 0) {
            return &table->sections[i];
        }
    }
    return NULL;
}

static mj_status read_section(mj_pack_table *table, const mj_json *from, mj_error *error)
{
    mj_pack_section *section = &table->sections[table->section_count];
    mj_status status = mj_json_read_string(from, "arch", section->arch, sizeof section->arch, error);
    if (status == MJ_OK) {
        status = mj_json_read_string(from, "compiler", section->compiler, sizeof section->compiler, error);
    }
    const mj_json *identity = mj_json_get(from, "identity");
    if (status == MJ_OK && identity) {
        status = mj_identity_from_json(identity, &section->identity, error);
        section->has_identity = status == MJ_OK;
    }
    if (status == MJ_OK && mj_pack_table_find(table, section->arch)) {
        status = mj_fail(error, MJ_ERR_FORMAT, "pack: %s is there twice", section->arch);
    }
    section->json = from;
    table->section_count += status == MJ_OK;
    return status;
}

static mj_status read_sections(mj_pack_table *out, mj_error *error)
{
    const mj_json *targets = mj_json_get(out->root, "targets");
    uint32_t count = targets && mj_json_is_array(targets) ? (uint32_t)mj_json_count(targets) : 0;
    if (count == 0 || count > MJ_PACK_TARGETS_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: targets: a list of 1 to %d", MJ_PACK_TARGETS_MAX);
    }
    out->sections = calloc(count, sizeof *out->sections);
    mj_status status = out->sections ? MJ_OK : mj_fail(error, MJ_ERR_MEMORY, "no memory for a pack's targets");
    for (const mj_json *from = mj_json_first(targets); status == MJ_OK && from; from = mj_json_next(from)) {
        status = read_section(out, from, error);
    }
    return status;
}

mj_status mj_pack_table_parse(const char *rows_json, mj_pack_table *out, mj_error *error)
{
    memset(out, 0, sizeof *out);
    mj_status status = mj_json_parse(rows_json, strlen(rows_json), "pack", &out->root, error);
    if (status == MJ_OK) {
        status = read_head(out, error);
    }
    if (status == MJ_OK) {
        status = read_sections(out, error);
    }
    if (status != MJ_OK) {
        mj_pack_table_free(out);
    }
    return status;
}

void mj_pack_table_free(mj_pack_table *table)
{
    mj_json_free(table->root);
    free(table->sections);
    memset(table, 0, sizeof *table);
}

mj_status mj_pack_use_read(const mj_json *use, uint32_t variant_count, mj_pack_use *out, mj_error *error)
{
    int64_t variant = 0;
    memset(out, 0, sizeof *out);
    mj_status status = mj_json_read_int(use, "variant", 0, (int64_t)variant_count - 1, &variant, error);
    if (status == MJ_OK) {
        status = mj_json_read_bool(use, "verified", &out->verified, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(use, "time_us_median", &out->time_us_median, error);
    }
    if (status == MJ_OK && mj_json_get(use, "instead_us")) {
        status = mj_json_read_number(use, "instead_us", &out->instead_us, error);
    }
    out->variant = (uint32_t)variant;
    return status;
}

/* "16" -> 16; 0 for anything else. */
static uint32_t parse_tokens(const char *text)
{
    char *end = NULL;
    unsigned long value = text && text[0] >= '1' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    return end && *end == '\0' && value <= INT32_MAX ? (uint32_t)value : 0;
}

/* Calls visit for every use of a target, in file order. */
typedef struct pack_visit {
    mj_op op;
    uint32_t token_count;
    mj_pack_use use;
} pack_visit;

static mj_status visit_group(const mj_json *group, uint32_t token_count, uint32_t variant_count,
                             mj_status (*visit)(void *user, const pack_visit *at, mj_error *error), void *user,
                             mj_error *error)
{
    for (const mj_json *use = mj_json_first(group); use; use = mj_json_next(use)) {
        pack_visit at = {.token_count = token_count};
        mj_status status = mj_op_parse(mj_json_key(use), &at.op, error);
        if (status != MJ_OK || mj_op_is_gemm(at.op) != (token_count > 0)) {
            return mj_fail(error, MJ_ERR_FORMAT, "pack: %s does not belong where it stands",
                           mj_json_key(use) ? mj_json_key(use) : "a value");
        }
        status = mj_pack_use_read(use, variant_count, &at.use, error);
        if (status == MJ_OK) {
            status = visit(user, &at, error);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    return MJ_OK;
}

static mj_status visit_uses(const mj_pack_section *section, uint32_t variant_count,
                            mj_status (*visit)(void *user, const pack_visit *at, mj_error *error), void *user,
                            mj_error *error)
{
    mj_json *ops = NULL, *rows = NULL;
    mj_status status = mj_json_read_object(section->json, "ops", &ops, error);
    if (status == MJ_OK) {
        status = mj_json_read_object(section->json, "rows", &rows, error);
    }
    if (status == MJ_OK) {
        status = visit_group(ops, 0, variant_count, visit, user, error);
    }
    const mj_json *row = status == MJ_OK ? mj_json_first(rows) : NULL;
    for (; status == MJ_OK && row; row = mj_json_next(row)) {
        uint32_t token_count = parse_tokens(mj_json_key(row));
        if (!token_count || !mj_json_is_object(row)) {
            return mj_fail(error, MJ_ERR_FORMAT, "pack: rows.%s is not a token count and its row",
                           mj_json_key(row) ? mj_json_key(row) : "?");
        }
        status = visit_group(row, token_count, variant_count, visit, user, error);
    }
    return status;
}

/* ---- Checking ---- */

static mj_status parse_manifest(const mj_pack_variant *variant, mj_manifest *out, mj_error *error)
{
    mj_json *root = NULL;
    mj_status status = mj_json_parse(variant->manifest_json, strlen(variant->manifest_json), "manifest", &root, error);
    if (status == MJ_OK) {
        status = mj_manifest_from_json(root, out, error);
    }
    mj_json_free(root);
    return status;
}

typedef struct variant_place {
    mj_op op;
    const mj_pack_section *section;
} variant_place;

static mj_status check_variant(const mj_pack_variant *variant, const mj_pack_table *table, variant_place *place,
                               mj_error *error)
{
    char sha256[MJ_SHA256_HEX], problem[256];
    mj_manifest manifest;
    if (!variant->manifest_json || !variant->binary || !variant->binary_bytes || !variant->binary_sha256) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: a variant without manifest, binary or checksum");
    }
    mj_sha256_hex(variant->binary, variant->binary_bytes, sha256);
    if (strcmp(sha256, variant->binary_sha256) != 0) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: a binary is damaged: sha256 is %.12s.., not %.12s..", sha256,
                       variant->binary_sha256);
    }
    mj_status status = parse_manifest(variant, &manifest, error);
    if (status == MJ_OK) {
        status = mj_problem_print(&manifest.problem, problem, sizeof problem, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    *place = (variant_place){manifest.op, mj_pack_table_find(table, manifest.arch)};
    if (strcmp(problem, table->problem_text) != 0 || !place->section) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: kernel %s is for %s on %s, the pack for %s on %s%s",
                       manifest.symbol, problem, manifest.arch, table->problem_text, table->sections[0].arch,
                       table->section_count > 1 ? " and others" : "");
    }
    return MJ_OK;
}

typedef struct use_check {
    const variant_place *places; /* of each variant */
    const mj_pack_section *section;
} use_check;

static mj_status check_use(void *user, const pack_visit *at, mj_error *error)
{
    const use_check *check = user;
    const variant_place *place = &check->places[at->use.variant];
    if (place->op != at->op || place->section != check->section) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: variant %" PRIu32 " is no %s for %s", at->use.variant,
                       mj_op_name(at->op), check->section->arch);
    }
    return MJ_OK;
}

mj_status mj_pack_check(const mj_pack *pack, mj_error *error)
{
    mj_pack_table table;
    variant_place *places = NULL;
    if (!pack->variants || !pack->rows_json || pack->variant_count == 0 || pack->variant_count > MJ_PACK_VARIANTS_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack: no variants or no table");
    }
    mj_status status = mj_pack_table_parse(pack->rows_json, &table, error);
    if (status != MJ_OK) {
        return status;
    }
    places = calloc(pack->variant_count, sizeof *places);
    if (!places) {
        status = mj_fail(error, MJ_ERR_MEMORY, "no memory to check a pack");
    }
    for (uint32_t i = 0; status == MJ_OK && i < pack->variant_count; i++) {
        status = check_variant(&pack->variants[i], &table, &places[i], error);
    }
    for (uint32_t i = 0; status == MJ_OK && i < table.section_count; i++) {
        use_check check = {places, &table.sections[i]};
        status = visit_uses(&table.sections[i], pack->variant_count, check_use, &check, error);
    }
    free(places);
    mj_pack_table_free(&table);
    return status;
}

/* ---- Registering and loading ---- */

static mj_status keep(mj_context *context, const mj_pack *pack, void *owned, mj_error *error)
{
    mj_status status = MJ_OK;
    pthread_mutex_lock(&context->lock);
    if (context->pack_count == MJ_PACKS_MAX) {
        status = mj_fail(error, MJ_ERR_CAPACITY, "a context holds at most %d packs", MJ_PACKS_MAX);
    } else {
        context->packs[context->pack_count] = pack;
        context->owned_packs[context->pack_count] = owned;
        context->pack_count++;
    }
    pthread_mutex_unlock(&context->lock);
    return status;
}

static mj_status check_and_keep(mj_context *context, const mj_pack *pack, void *owned, mj_error *error)
{
    if (pack->version != MJ_PACK_VERSION) {
        return mj_fail(error, MJ_ERR_VERSION, "pack of format %" PRIu32 ", this library reads %d", pack->version,
                       MJ_PACK_VERSION);
    }
    mj_status status = mj_pack_check(pack, error);
    return status == MJ_OK ? keep(context, pack, owned, error) : status;
}

mj_status mj_pack_register(mj_context *context, const mj_pack *pack, mj_error *error)
{
    if (!context || !pack) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", context ? "pack" : "context");
    }
    return check_and_keep(context, pack, NULL, error);
}

typedef struct file_text {
    char *text;
    size_t bytes;
} file_text;

typedef struct folder_load {
    const char *folder;
    file_text table;
    uint32_t count;
    struct {
        file_text manifest, binary;
        char sha256[MJ_SHA256_HEX];
    } variants[MJ_PACK_VARIANTS_MAX];
} folder_load;

static mj_status read_named(const char *folder, const char *name, file_text *out, mj_error *error)
{
    char path[1024];
    if (!name[0] || name[0] == '.' || strchr(name, '/')) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack.json: \"%s\" is not a file of the pack", name);
    }
    mj_status status = mj_os_join(path, sizeof path, folder, name, error);
    if (status == MJ_OK) {
        status = mj_os_read_file(path, FILE_BYTES_MAX, &out->text, &out->bytes, error);
    }
    return status;
}

static mj_status read_variants(folder_load *load, const mj_json *files, mj_error *error)
{
    if (!mj_json_is_array(files) || mj_json_count(files) == 0 || mj_json_count(files) > MJ_PACK_VARIANTS_MAX) {
        return mj_fail(error, MJ_ERR_FORMAT, "pack.json: files: a list of 1 to %d", MJ_PACK_VARIANTS_MAX);
    }
    for (const mj_json *file = mj_json_first(files); file; file = mj_json_next(file)) {
        char manifest[256], binary[256];
        uint32_t i = load->count++;
        mj_status status = mj_json_read_string(file, "manifest", manifest, sizeof manifest, error);
        if (status == MJ_OK) {
            status = mj_json_read_string(file, "binary", binary, sizeof binary, error);
        }
        if (status == MJ_OK) {
            status = mj_json_read_string(file, "sha256", load->variants[i].sha256, MJ_SHA256_HEX, error);
        }
        if (status == MJ_OK) {
            status = read_named(load->folder, manifest, &load->variants[i].manifest, error);
        }
        if (status == MJ_OK) {
            status = read_named(load->folder, binary, &load->variants[i].binary, error);
        }
        if (status != MJ_OK) {
            return status;
        }
    }
    return MJ_OK;
}

static void *carve(char **at, const void *from, size_t bytes)
{
    char *to = *at;
    memcpy(to, from, bytes);
    *at += (bytes + 63) / 64 * 64;
    return to;
}

/* The pack as one allocation, so that the context frees it with one call. */
static mj_pack *flatten(mj_context *context, const folder_load *load)
{
    size_t bytes = 64 + sizeof(mj_pack) + 64 + load->count * sizeof(mj_pack_variant) + 64 + load->table.bytes + 1 + 64;
    for (uint32_t i = 0; i < load->count; i++) {
        bytes += load->variants[i].manifest.bytes + 1 + load->variants[i].binary.bytes + MJ_SHA256_HEX + 3 * 64;
    }
    char *block = mj_alloc(context, bytes);
    if (!block) {
        return NULL;
    }
    char *at = block;
    mj_pack head = {.version = MJ_PACK_VERSION, .variant_count = load->count};
    mj_pack_variant none = {0};
    mj_pack *pack = carve(&at, &head, sizeof head);
    mj_pack_variant *variants = (mj_pack_variant *)(void *)at;
    at += (load->count * sizeof none + 63) / 64 * 64;
    for (uint32_t i = 0; i < load->count; i++) {
        const file_text *manifest = &load->variants[i].manifest;
        const file_text *binary = &load->variants[i].binary;
        variants[i].binary = carve(&at, binary->text, binary->bytes);
        variants[i].binary_bytes = binary->bytes;
        variants[i].manifest_json = carve(&at, manifest->text, manifest->bytes + 1);
        variants[i].binary_sha256 = carve(&at, load->variants[i].sha256, MJ_SHA256_HEX);
    }
    pack->variants = variants;
    pack->rows_json = carve(&at, load->table.text, load->table.bytes + 1);
    return pack;
}

static mj_status load_folder(mj_context *context, folder_load *load, mj_error *error)
{
    mj_json *root = NULL;
    mj_pack *pack = NULL;
    mj_pack_table table = {0};
    mj_status status = read_named(load->folder, "pack.json", &load->table, error);
    if (status == MJ_OK) { /* the version first: a later format may list its files otherwise */
        status = mj_pack_table_parse(load->table.text, &table, error);
    }
    mj_pack_table_free(&table);
    if (status == MJ_OK) {
        status = mj_json_parse(load->table.text, load->table.bytes, "pack.json", &root, error);
    }
    if (status == MJ_OK) {
        status = read_variants(load, mj_json_get(root, "files"), error);
    }
    mj_json_free(root);
    if (status != MJ_OK) {
        return status;
    }
    pack = flatten(context, load);
    if (!pack) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for a pack");
    }
    status = check_and_keep(context, pack, pack, error);
    if (status != MJ_OK) {
        mj_free(context, pack);
    }
    return status;
}

mj_status mj_pack_load(mj_context *context, const char *folder, mj_error *error)
{
    mj_error why = {0};
    if (!context || !folder) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "%s is null", context ? "folder" : "context");
    }
    folder_load *load = mj_alloc(context, sizeof *load);
    if (!load) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory to read a pack");
    }
    load->folder = folder;
    mj_status status = load_folder(context, load, &why);
    for (uint32_t i = 0; i < load->count; i++) {
        free(load->variants[i].manifest.text); /* from mj_os_read_file */
        free(load->variants[i].binary.text);
    }
    free(load->table.text);
    mj_free(context, load);
    return status == MJ_OK ? MJ_OK : mj_fail(error, status, "%s: %s", folder, why.text);
}

/* ---- Offers ---- */

typedef struct offer_visit {
    mj_plan *plan;
    const mj_pack *pack;
    mj_op op;
    const mj_pack_section *section;
    bool same_identity;
    const char *difference;
    mj_offers *out;
} offer_visit;

static void refuse_another_cpu(const offer_visit *visit, mj_offer *offer)
{
    const mj_pack_section *made = visit->section;
    const mj_device *device = visit->plan->device;
    if (mj_is_of_another_cpu(device, &offer->manifest, made->compiler, made->identity.device)) {
        bool by_name = !mj_is_same_compiler(made->compiler, device->info.compiler);
        offer->is_of_another_cpu = true;
        offer->verified = false;
        snprintf(offer->reason, sizeof offer->reason, "pack: compiled for another CPU: %.32s, not %.32s",
                 by_name ? made->identity.device : made->compiler, by_name ? device->info.name : device->info.compiler);
    }
}

static mj_status add_offer(void *user, const pack_visit *at, mj_error *error)
{
    offer_visit *visit = user;
    if (at->op != visit->op) {
        return MJ_OK;
    }
    const mj_pack_variant *variant = &visit->pack->variants[at->use.variant];
    mj_offer *offer = mj_offers_add(visit->plan->device->context, visit->out);
    if (!offer) {
        return mj_fail(error, MJ_ERR_MEMORY, "no memory for the pack's rows");
    }
    offer->token_count = at->token_count;
    offer->supply = MJ_SUPPLY_BINARY;
    offer->binary = variant->binary;
    offer->binary_bytes = variant->binary_bytes;
    snprintf(offer->key, sizeof offer->key, "%s", variant->binary_sha256);
    offer->origin = MJ_ORIGIN_PACK;
    offer->verified = visit->same_identity && at->use.verified;
    offer->time_us_median = visit->same_identity ? at->use.time_us_median : 0;
    offer->us = at->use.time_us_median;
    offer->instead_us = at->use.instead_us;
    if (!offer->verified) {
        snprintf(offer->reason, sizeof offer->reason, "pack: %s",
                 visit->difference[0] ? visit->difference : "not verified on this device");
    }
    mj_status status = parse_manifest(variant, &offer->manifest, error);
    if (status == MJ_OK) {
        refuse_another_cpu(visit, offer);
    }
    for (uint32_t i = visit->out->count - 1; i > 0; i--) { /* keep them sorted */
        mj_offer *items = visit->out->items;
        if (items[i - 1].token_count <= items[i].token_count) {
            break;
        }
        mj_offer swapped = items[i];
        items[i] = items[i - 1];
        items[i - 1] = swapped;
    }
    return status;
}

mj_status mj_pack_offers(mj_plan *plan, const mj_pack *pack, mj_op op, mj_offers *out, mj_error *error)
{
    mj_pack_table table;
    mj_identity here;
    char difference[96] = "";
    mj_status status = mj_pack_table_parse(pack->rows_json, &table, error);
    if (status != MJ_OK) {
        return status;
    }
    const mj_pack_section *section = mj_pack_table_find(&table, plan->device->info.arch);
    if (strcmp(table.problem_text, plan->problem_text) != 0 || !section) {
        goto done;
    }
    offer_visit visit = {
        .plan = plan, .pack = pack, .op = op, .section = section, .difference = difference, .out = out};
    if (section->has_identity) {
        status = mj_device_identity(plan->device, &here, error);
        if (status != MJ_OK) {
            goto done;
        }
        if (!here.compiler[0]) { /* the binary is the same without its compiler */
            memcpy(here.compiler, section->identity.compiler, sizeof here.compiler);
        }
        visit.same_identity = mj_identity_equal(&section->identity, &here, difference, sizeof difference);
    }
    status = visit_uses(section, pack->variant_count, add_offer, &visit, error);
done:
    mj_pack_table_free(&table);
    return status;
}
