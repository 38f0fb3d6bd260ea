/* fake_code_object.h: makes the smallest file that is a code object for AMD's GPUs: an ELF header, a note, its metadata. */
#ifndef MOEJIT_FAKE_CODE_OBJECT_H
#define MOEJIT_FAKE_CODE_OBJECT_H

#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct fake_code {
    const char *target; /* "gfx942", perhaps with features; NULL: the metadata does not say */
    uint32_t mach;      /* of e_flags; 0: the one that belongs to the target */
    const char *kernels[4];
    uint32_t vgprs, agprs, sgprs, lds_bytes, scratch_bytes, wavefront_size;
    const char *without; /* a key that every kernel lacks */
} fake_code;

enum { FAKE_CODE_BYTES_MAX = 4096 };

typedef struct fake_writer {
    unsigned char *at;
} fake_writer;

static inline void fake_byte(fake_writer *w, unsigned value)
{
    *w->at++ = (unsigned char)value;
}

static inline void fake_text(fake_writer *w, const char *text)
{
    size_t bytes = strlen(text);
    if (bytes < 32) {
        fake_byte(w, 0xa0 | (unsigned)bytes);
    } else {
        fake_byte(w, 0xd9);
        fake_byte(w, (unsigned)bytes);
    }
    memcpy(w->at, text, bytes);
    w->at += bytes;
}

static inline void fake_number(fake_writer *w, uint32_t value)
{
    if (value < 0x80) {
        fake_byte(w, value);
        return;
    }
    fake_byte(w, value < 0x10000 ? 0xcd : 0xce);
    for (int shift = value < 0x10000 ? 8 : 24; shift >= 0; shift -= 8) {
        fake_byte(w, value >> shift & 0xff);
    }
}

static inline void fake_kernel(fake_writer *w, const fake_code *code, const char *name)
{
    const struct {
        const char *key;
        uint32_t value;
    } rows[] = {{".vgpr_count", code->vgprs},
                {".agpr_count", code->agprs},
                {".sgpr_count", code->sgprs},
                {".group_segment_fixed_size", code->lds_bytes},
                {".private_segment_fixed_size", code->scratch_bytes},
                {".vgpr_spill_count", 0},
                {".wavefront_size", code->wavefront_size ? code->wavefront_size : 64},
                {".max_flat_workgroup_size", 1024},
                {".kernarg_segment_size", 264}};
    unsigned left_out = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        left_out += code->without && strcmp(rows[i].key, code->without) == 0;
    }
    left_out += code->without && strcmp(code->without, ".name") == 0;
    fake_byte(w, 0x80 | (12 - left_out));
    fake_text(w, ".args"); /* the reader must step over what it does not want */
    fake_byte(w, 0x91);
    fake_byte(w, 0x82);
    fake_text(w, ".offset");
    fake_number(w, 70000);
    fake_text(w, ".value_kind");
    fake_text(w, "by_value");
    if (!code->without || strcmp(code->without, ".name") != 0) {
        fake_text(w, ".name");
        fake_text(w, name);
    }
    fake_text(w, ".uses_dynamic_stack");
    fake_byte(w, 0xc2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!code->without || strcmp(rows[i].key, code->without) != 0) {
            fake_text(w, rows[i].key);
            fake_number(w, rows[i].value);
        }
    }
}

static inline uint32_t fake_mach(const char *target)
{
    static const struct {
        const char *target;
        uint32_t mach;
    } rows[] = {{"gfx90a", 0x3f},  {"gfx942", 0x4c},  {"gfx950", 0x4f}, {"gfx1100", 0x41},
                {"gfx1151", 0x4a}, {"gfx1200", 0x48}, {"gfx1201", 0x4e}};
    for (size_t i = 0; target && i < sizeof rows / sizeof rows[0]; i++) {
        size_t bytes = strlen(rows[i].target);
        if (strncmp(rows[i].target, target, bytes) == 0 && (target[bytes] == '\0' || target[bytes] == ':')) {
            return rows[i].mach;
        }
    }
    return 0x30;
}

/* Writes to `out`, FAKE_CODE_BYTES_MAX of it; the number of bytes. */
static inline size_t fake_code_object(const fake_code *code, unsigned char *out)
{
    Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT, 64, 3},
                         .e_type = ET_DYN,
                         .e_machine = 224,
                         .e_version = EV_CURRENT,
                         .e_phoff = sizeof header,
                         .e_flags = code->mach ? code->mach : fake_mach(code->target),
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 1};
    Elf64_Phdr program = {.p_type = PT_NOTE, .p_offset = sizeof header + sizeof program, .p_align = 4};
    Elf64_Nhdr note = {.n_namesz = 7, .n_type = 32};
    char triple[128];
    size_t start = sizeof header + sizeof program, text = start + sizeof note + 8;
    unsigned count = 0;
    while (count < 4 && code->kernels[count]) {
        count++;
    }
    memset(out, 0, FAKE_CODE_BYTES_MAX);
    fake_writer w = {out + text};
    fake_byte(&w, 0x80 | (code->target ? 3u : 2u));
    fake_text(&w, "amdhsa.kernels");
    fake_byte(&w, 0x90 | count);
    for (unsigned i = 0; i < count; i++) {
        fake_kernel(&w, code, code->kernels[i]);
    }
    if (code->target) {
        snprintf(triple, sizeof triple, "amdgcn-amd-amdhsa--%s", code->target);
        fake_text(&w, "amdhsa.target");
        fake_text(&w, triple);
    }
    fake_text(&w, "amdhsa.version");
    fake_byte(&w, 0x92);
    fake_byte(&w, 1);
    fake_byte(&w, 2);
    note.n_descsz = (Elf64_Word)(w.at - (out + text));
    program.p_filesz = program.p_memsz = sizeof note + 8 + ((note.n_descsz + 3u) & ~3u);
    memcpy(out, &header, sizeof header);
    memcpy(out + sizeof header, &program, sizeof program);
    memcpy(out + start, &note, sizeof note);
    memcpy(out + start + sizeof note, "AMDGPU", 7);
    return start + program.p_filesz;
}

#endif
