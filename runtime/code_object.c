/* code_object.c: see code_object.h. */
#include "code_object.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

enum {
    MACHINE_AMDGPU = 224, /* e_machine */
    OSABI_HSA = 64,
    MACH_MASK = 0xff, /* of e_flags */
    NOTE_METADATA = 32,
    PROGRAM_HEADERS_MAX = 256,
    BUNDLE_ENTRIES_MAX = 64,
};

typedef struct span {
    const unsigned char *at;
    size_t bytes;
} span;

static mj_status damaged(mj_error *error, const char *what)
{
    return mj_fail(error, MJ_ERR_FORMAT, "code object: %s", what);
}

/* A part of `whole`; false if it is not all inside. */
static bool part(span whole, uint64_t offset, uint64_t bytes, span *out)
{
    if (offset > whole.bytes || bytes > whole.bytes - offset) {
        return false;
    }
    *out = (span){whole.at + offset, (size_t)bytes};
    return true;
}

/* ---- MessagePack: one value at a time, maps and arrays as their head alone ---- */

typedef enum value_kind { VALUE_OTHER, VALUE_UINT, VALUE_BOOL, VALUE_TEXT, VALUE_ARRAY, VALUE_MAP } value_kind;

typedef struct value {
    value_kind kind;
    uint64_t number; /* of UINT and BOOL; the number of elements of ARRAY, of pairs of MAP */
    span text;
} value;

static bool take(span *in, size_t bytes, span *out)
{
    if (!part(*in, 0, bytes, out)) {
        return false;
    }
    in->at += bytes;
    in->bytes -= bytes;
    return true;
}

static bool take_uint(span *in, size_t bytes, uint64_t *out)
{
    span field;
    if (!take(in, bytes, &field)) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < bytes; i++) {
        *out = *out << 8 | field.at[i]; /* big-endian */
    }
    return true;
}

/* Heads 0xc0 to 0xdf: the bytes of the number behind the head, and what that number is. */
typedef struct head_row {
    uint8_t number_bytes;
    enum { NUMBER_VALUE, NUMBER_LENGTH, NUMBER_SKIPPED, NUMBER_INVALID } use;
    value_kind kind;
    uint8_t extra_bytes; /* behind a length: the type of an extension */
} head_row;

static const head_row head_rows[32] = {
    {0, NUMBER_SKIPPED, VALUE_OTHER, 0}, /* nil */
    {0, NUMBER_INVALID, VALUE_OTHER, 0},
    {0, NUMBER_VALUE, VALUE_BOOL, 0}, /* false, true: the number is set by the reader */
    {0, NUMBER_VALUE, VALUE_BOOL, 0},
    {1, NUMBER_LENGTH, VALUE_OTHER, 0}, /* binary */
    {2, NUMBER_LENGTH, VALUE_OTHER, 0},
    {4, NUMBER_LENGTH, VALUE_OTHER, 0},
    {1, NUMBER_LENGTH, VALUE_OTHER, 1}, /* extension */
    {2, NUMBER_LENGTH, VALUE_OTHER, 1},
    {4, NUMBER_LENGTH, VALUE_OTHER, 1},
    {4, NUMBER_SKIPPED, VALUE_OTHER, 0}, /* float */
    {8, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {1, NUMBER_VALUE, VALUE_UINT, 0}, /* unsigned */
    {2, NUMBER_VALUE, VALUE_UINT, 0},
    {4, NUMBER_VALUE, VALUE_UINT, 0},
    {8, NUMBER_VALUE, VALUE_UINT, 0},
    {1, NUMBER_SKIPPED, VALUE_OTHER, 0}, /* signed */
    {2, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {4, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {8, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {2, NUMBER_SKIPPED, VALUE_OTHER, 0}, /* extensions of 1, 2, 4, 8, 16 bytes, and their type */
    {3, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {5, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {9, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {17, NUMBER_SKIPPED, VALUE_OTHER, 0},
    {1, NUMBER_LENGTH, VALUE_TEXT, 0},
    {2, NUMBER_LENGTH, VALUE_TEXT, 0},
    {4, NUMBER_LENGTH, VALUE_TEXT, 0},
    {2, NUMBER_VALUE, VALUE_ARRAY, 0},
    {4, NUMBER_VALUE, VALUE_ARRAY, 0},
    {2, NUMBER_VALUE, VALUE_MAP, 0},
    {4, NUMBER_VALUE, VALUE_MAP, 0},
};

static bool take_value(span *in, value *out)
{
    uint64_t head = 0, length = 0;
    span skipped;
    memset(out, 0, sizeof *out);
    if (!take_uint(in, 1, &head)) {
        return false;
    }
    if (head <= 0x7f || head >= 0xe0) { /* small numbers; the negative ones are of no use here */
        *out = (value){.kind = head <= 0x7f ? VALUE_UINT : VALUE_OTHER, .number = head};
        return true;
    }
    if (head <= 0x9f) {
        *out = (value){.kind = head <= 0x8f ? VALUE_MAP : VALUE_ARRAY, .number = head & 0x0f};
        return true;
    }
    if (head <= 0xbf) {
        out->kind = VALUE_TEXT;
        return take(in, head & 0x1f, &out->text);
    }
    const head_row *row = &head_rows[head - 0xc0];
    out->kind = row->kind;
    switch (row->use) {
    case NUMBER_VALUE:
        out->number = head & 1; /* of a BOOL */
        return row->number_bytes == 0 || take_uint(in, row->number_bytes, &out->number);
    case NUMBER_LENGTH:
        return take_uint(in, row->number_bytes, &length) && take(in, row->extra_bytes, &skipped) &&
               length <= in->bytes && take(in, (size_t)length, &out->text);
    case NUMBER_SKIPPED:
        return take(in, row->number_bytes, &skipped);
    default:
        return false;
    }
}

static uint64_t element_count(const value *v)
{
    return v->kind == VALUE_MAP ? 2 * v->number : v->kind == VALUE_ARRAY ? v->number : 0;
}

/* Past `count` values with all that they hold. No recursion: depth costs nothing, and each value takes a byte at least. */
static bool skip_values(span *in, uint64_t count)
{
    value v;
    while (count > 0) {
        if (count > in->bytes || !take_value(in, &v)) {
            return false;
        }
        count += element_count(&v) - 1;
    }
    return true;
}

static bool text_is(const value *v, const char *text)
{
    return v->kind == VALUE_TEXT && v->text.bytes == strlen(text) && memcmp(v->text.at, text, v->text.bytes) == 0;
}

/* Moves `in`, which stands at a map, to the value of `key`. */
static bool find_key(span *in, const char *key)
{
    value map, name;
    if (!take_value(in, &map) || map.kind != VALUE_MAP) {
        return false;
    }
    for (uint64_t i = 0; i < map.number; i++) {
        if (!take_value(in, &name) || element_count(&name) > 0) {
            return false;
        }
        if (text_is(&name, key)) {
            return true;
        }
        if (!skip_values(in, 1)) {
            return false;
        }
    }
    return false;
}

static bool copy_text(span text, char *out, size_t bytes)
{
    if (text.bytes >= bytes || memchr(text.at, '\0', text.bytes)) {
        return false;
    }
    memcpy(out, text.at, text.bytes);
    out[text.bytes] = '\0';
    return true;
}

/* ---- The file ---- */

/* Offload bundle: magic, count, and for each entry offset, bytes, length of its name, name. The first for a GPU. */
static mj_status unbundle(span file, span *elf, mj_error *error)
{
    static const char magic[] = "__CLANG_OFFLOAD_BUNDLE__";
    uint64_t count = 0, fields[3];
    span field, rest;
    *elf = file;
    if (!part(file, 0, sizeof magic - 1, &field) || memcmp(field.at, magic, sizeof magic - 1) != 0) {
        return MJ_OK;
    }
    part(file, sizeof magic - 1, file.bytes - (sizeof magic - 1), &rest);
    if (!take(&rest, sizeof count, &field)) {
        return damaged(error, "a bundle that is cut short");
    }
    memcpy(&count, field.at, sizeof count);
    for (uint64_t i = 0; i < count && i < BUNDLE_ENTRIES_MAX; i++) {
        span name;
        if (!take(&rest, sizeof fields, &field)) {
            return damaged(error, "a bundle that is cut short");
        }
        memcpy(fields, field.at, sizeof fields);
        if (fields[2] > rest.bytes || !take(&rest, (size_t)fields[2], &name)) {
            return damaged(error, "a bundle that is cut short");
        }
        if (name.bytes >= 3 && memcmp(name.at, "hip", 3) == 0) {
            return part(file, fields[0], fields[1], elf) ? MJ_OK : damaged(error, "a bundle that is cut short");
        }
    }
    return damaged(error, "a bundle without code for a GPU");
}

/* A runtime follows these as well: everything that they point to must be there. */
static bool sections_are_whole(span elf, const Elf64_Ehdr *header)
{
    span sections, content;
    if (header->e_shnum == 0) {
        return true;
    }
    if (header->e_shentsize != sizeof(Elf64_Shdr) ||
        !part(elf, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr), &sections)) {
        return false;
    }
    for (uint32_t i = 0; i < header->e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, sections.at + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL &&
            !part(elf, section.sh_offset, section.sh_size, &content)) {
            return false;
        }
    }
    return true;
}

/* The text of the metadata's note among `notes`: MJ_ERR_NOT_FOUND, without a message, if it is not there. */
static mj_status search_notes(span notes, span *out, mj_error *error)
{
    while (notes.bytes > 0) {
        Elf64_Nhdr note;
        span head, name, text;
        if (!take(&notes, sizeof note, &head)) {
            return damaged(error, "a note that is cut short");
        }
        memcpy(&note, head.at, sizeof note);
        uint64_t name_bytes = ((uint64_t)note.n_namesz + 3) & ~(uint64_t)3;
        uint64_t text_bytes = ((uint64_t)note.n_descsz + 3) & ~(uint64_t)3;
        if (name_bytes > notes.bytes || text_bytes > notes.bytes - name_bytes) {
            return damaged(error, "a note that is cut short");
        }
        take(&notes, (size_t)name_bytes, &name);
        take(&notes, (size_t)text_bytes, &text);
        if (note.n_type == NOTE_METADATA && note.n_namesz == 7 && memcmp(name.at, "AMDGPU", 7) == 0) {
            *out = (span){text.at, note.n_descsz};
            return MJ_OK;
        }
    }
    return MJ_ERR_NOT_FOUND;
}

static mj_status find_metadata(span elf, uint32_t *flags, span *out, mj_error *error)
{
    Elf64_Ehdr header;
    span programs, content;
    if (elf.bytes < sizeof header || memcmp(elf.at, ELFMAG, SELFMAG) != 0) {
        return damaged(error, "no ELF file");
    }
    memcpy(&header, elf.at, sizeof header);
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != MACHINE_AMDGPU || header.e_ident[EI_OSABI] != OSABI_HSA) {
        return damaged(error, "an ELF file, but not for AMD's GPUs");
    }
    *flags = header.e_flags;
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > PROGRAM_HEADERS_MAX ||
        !part(elf, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr), &programs)) {
        return damaged(error, "program headers outside the file");
    }
    if (!sections_are_whole(elf, &header)) {
        return damaged(error, "a section outside the file");
    }
    mj_status status = MJ_ERR_NOT_FOUND;
    for (uint32_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr program;
        memcpy(&program, programs.at + i * sizeof program, sizeof program);
        if (!part(elf, program.p_offset, program.p_filesz, &content)) {
            return damaged(error, "a segment outside the file");
        }
        if (program.p_type == PT_NOTE && status == MJ_ERR_NOT_FOUND) {
            status = search_notes(content, out, error);
        }
    }
    if (status != MJ_ERR_NOT_FOUND) {
        return status;
    }
    return damaged(error, "no metadata note");
}

/* "amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-" */
static mj_status read_target(span metadata, uint32_t flags, mj_code_object *out, mj_error *error)
{
    static const struct {
        uint32_t mach;
        const char *target;
    } machs[] = {/* e_flags, of the targets that have a table in lua/arch */
                 {0x3f, "gfx90a"},  {0x4c, "gfx942"},  {0x4f, "gfx950"}, {0x41, "gfx1100"},
                 {0x4a, "gfx1151"}, {0x48, "gfx1200"}, {0x4e, "gfx1201"}};
    char text[128];
    value target;
    if (!find_key(&metadata, "amdhsa.target") || !take_value(&metadata, &target) || target.kind != VALUE_TEXT ||
        !copy_text(target.text, text, sizeof text)) {
        return damaged(error, "its metadata names no target");
    }
    const char *name = strstr(text, "--");
    size_t length = name ? strcspn(name + 2, ":") : 0;
    if (length < 4 || length >= sizeof out->target || memcmp(name + 2, "gfx", 3) != 0 ||
        strlen(name + 2 + length) >= sizeof out->features) {
        return damaged(error, "its metadata names no target");
    }
    memcpy(out->target, name + 2, length);
    memcpy(out->features, name + 2 + length, strlen(name + 2 + length));
    const char *by_header = NULL;
    bool known = false;
    for (size_t i = 0; i < sizeof machs / sizeof machs[0]; i++) {
        by_header = machs[i].mach == (flags & MACH_MASK) ? machs[i].target : by_header;
        known |= strcmp(machs[i].target, out->target) == 0;
    }
    if (by_header ? strcmp(by_header, out->target) != 0 : known) {
        return mj_fail(error, MJ_ERR_FORMAT, "code object: its header is for %s and its metadata for %s",
                       by_header ? by_header : "another target", out->target);
    }
    return MJ_OK;
}

mj_status mj_code_object_read(const void *data, size_t bytes, mj_code_object *out, mj_error *error)
{
    span elf, metadata;
    uint32_t flags = 0;
    value kernels;
    memset(out, 0, sizeof *out);
    mj_status status = unbundle((span){data, bytes}, &elf, error);
    if (status == MJ_OK) {
        status = find_metadata(elf, &flags, &metadata, error);
    }
    if (status == MJ_OK) {
        status = read_target(metadata, flags, out, error);
    }
    if (status != MJ_OK) {
        return status;
    }
    if (!find_key(&metadata, "amdhsa.kernels") || !take_value(&metadata, &kernels) || kernels.kind != VALUE_ARRAY ||
        kernels.number > metadata.bytes) {
        return damaged(error, "its metadata lists no kernels");
    }
    out->kernel_count = (uint32_t)kernels.number;
    out->kernels = metadata.at;
    out->kernels_bytes = metadata.bytes;
    return MJ_OK;
}

/* ---- A kernel ---- */

typedef struct field_row {
    const char *key;
    size_t offset; /* of the uint32_t in mj_code_kernel */
    bool optional; /* 0 where it is not said */
} field_row;

static const field_row field_rows[] = {
    {".vgpr_count", offsetof(mj_code_kernel, vgprs), false},
    {".agpr_count", offsetof(mj_code_kernel, agprs), true},
    {".sgpr_count", offsetof(mj_code_kernel, sgprs), false},
    {".group_segment_fixed_size", offsetof(mj_code_kernel, lds_bytes), false},
    {".private_segment_fixed_size", offsetof(mj_code_kernel, scratch_bytes), false},
    {".vgpr_spill_count", offsetof(mj_code_kernel, vgpr_spills), true},
    {".sgpr_spill_count", offsetof(mj_code_kernel, sgpr_spills), true},
    {".wavefront_size", offsetof(mj_code_kernel, wavefront_size), false},
    {".max_flat_workgroup_size", offsetof(mj_code_kernel, threads_block_max), false},
    {".kernarg_segment_size", offsetof(mj_code_kernel, kernarg_bytes), false},
};

mj_status mj_code_object_kernel(const mj_code_object *object, uint32_t index, mj_code_kernel *out, mj_error *error)
{
    span in = {object->kernels, object->kernels_bytes};
    value v;
    memset(out, 0, sizeof *out);
    if (index >= object->kernel_count) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "code object: it has %u kernels", object->kernel_count);
    }
    if (!skip_values(&in, index)) {
        return damaged(error, "its metadata is damaged");
    }
    span name = in;
    if (!find_key(&name, ".name") || !take_value(&name, &v) || v.kind != VALUE_TEXT ||
        !copy_text(v.text, out->name, sizeof out->name)) {
        return damaged(error, "a kernel without a name");
    }
    for (size_t i = 0; i < sizeof field_rows / sizeof field_rows[0]; i++) {
        const field_row *row = &field_rows[i];
        span at = in;
        if (!find_key(&at, row->key)) {
            if (row->optional) {
                continue;
            }
            return mj_fail(error, MJ_ERR_FORMAT, "code object: kernel %.64s has no %s", out->name, row->key);
        }
        if (!take_value(&at, &v) || v.kind != VALUE_UINT || v.number > UINT32_MAX) {
            return mj_fail(error, MJ_ERR_FORMAT, "code object: kernel %.64s: %s is no count", out->name, row->key);
        }
        uint32_t number = (uint32_t)v.number;
        memcpy((char *)out + row->offset, &number, sizeof number);
    }
    span stack = in;
    out->dynamic_stack =
        find_key(&stack, ".uses_dynamic_stack") && take_value(&stack, &v) && v.kind == VALUE_BOOL && v.number != 0;
    return MJ_OK;
}
