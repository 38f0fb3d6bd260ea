/* amd_build.h: one kernel for an AMD target, and what was really built: its metadata and its instructions. */
#ifndef MOEJIT_AMD_BUILD_H
#define MOEJIT_AMD_BUILD_H

#include <ctype.h>

#include "code_object.h"
#include "gen_fixture.h"
#include "hiprtc.h"

#define AMD_MNEMONIC_MAX 48

typedef struct amd_built {
    mj_code_kernel kernel;
    bool disassembled;
    uint32_t matrix_count;         /* matrix instructions */
    char matrix[AMD_MNEMONIC_MAX]; /* which; of several, two of them joined by '+' */
    uint32_t scratch_count;        /* instructions that touch scratch memory */
    uint32_t direct_count;         /* loads from memory to shared memory */
    uint32_t direct_bytes;         /* of a lane of the first of them */
    uint32_t narrow_stores;        /* stores to memory of less than 16 bytes a lane */
} amd_built;

/* The mnemonic of a line of llvm-objdump -d, or "". */
static inline void amd_mnemonic(const char *line, char out[AMD_MNEMONIC_MAX])
{
    size_t length = 0;
    while (isspace((unsigned char)*line)) {
        line++;
    }
    while (length + 1 < AMD_MNEMONIC_MAX && (isalnum((unsigned char)line[length]) || line[length] == '_')) {
        out[length] = line[length];
        length++;
    }
    out[length] = '\0';
}

static inline bool amd_is_matrix(const char *mnemonic)
{
    static const char *const heads[] = {"v_mfma_", "v_smfmac_", "v_wmma_", "v_swmmac_"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        if (strncmp(mnemonic, heads[i], strlen(heads[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* buffer_ instructions reach scratch on older targets; these kernels have no other use for them. */
static inline bool amd_is_scratch(const char *mnemonic)
{
    return strncmp(mnemonic, "scratch_", 8) == 0 || strncmp(mnemonic, "buffer_load", 11) == 0 ||
           strncmp(mnemonic, "buffer_store", 12) == 0;
}

/* Bytes that a lane loads past its registers: gfx90a writes "global_load_dword ... lds", later ones global_load_lds_dword. */
static inline uint32_t amd_direct_bytes(const char *line, const char *mnemonic)
{
    bool named = strncmp(mnemonic, "global_load_lds_", 16) == 0;
    bool flagged = strncmp(mnemonic, "global_load_", 12) == 0 && strstr(line, " lds ");
    return !named && !flagged ? 0 : strstr(mnemonic, "dwordx4") ? 16 : strstr(mnemonic, "dword") ? 4 : 1;
}

static inline bool amd_is_narrow_store(const char *mnemonic)
{
    return strncmp(mnemonic, "global_store_", 13) == 0 && !strstr(mnemonic, "x4") && !strstr(mnemonic, "b128");
}

static inline bool amd_disassemble(const char *objdump, const mj_compiled *compiled, amd_built *out)
{
    char path[64] = "/tmp/moejit-amd-XXXXXX", command[1200], line[1024], mnemonic[AMD_MNEMONIC_MAX];
    uint32_t lines = 0;
    int file = mkstemp(path);
    bool written =
        file >= 0 && write(file, compiled->binary, compiled->binary_bytes) == (ssize_t)compiled->binary_bytes;
    if (file >= 0) {
        close(file);
    }
    snprintf(command, sizeof command, "'%s' -d '%s' 2>/dev/null", objdump, path);
    FILE *pipe = written ? popen(command, "r") : NULL;
    while (pipe && fgets(line, sizeof line, pipe)) {
        amd_mnemonic(line, mnemonic);
        lines++;
        out->scratch_count += amd_is_scratch(mnemonic);
        out->narrow_stores += amd_is_narrow_store(mnemonic);
        uint32_t direct_bytes = amd_direct_bytes(line, mnemonic);
        out->direct_bytes = out->direct_count == 0 ? direct_bytes : out->direct_bytes;
        out->direct_count += direct_bytes > 0;
        if (amd_is_matrix(mnemonic)) {
            out->matrix_count++;
            if (!out->matrix[0]) {
                snprintf(out->matrix, sizeof out->matrix, "%s", mnemonic);
            } else if (strcmp(out->matrix, mnemonic) != 0 && !strchr(out->matrix, '+')) {
                size_t length = strlen(out->matrix);
                snprintf(out->matrix + length, sizeof out->matrix - length, "+%s", mnemonic);
            }
        }
    }
    bool done = pipe && pclose(pipe) == 0 && lines > 20;
    unlink(path);
    return done;
}

/* Compiles and reads back; `objdump` NULL: the metadata alone. false: `why` says what went wrong. */
static inline bool amd_build(const mj_hiprtc *hiprtc, const char *objdump, const mj_kernel_desc *desc,
                             mj_kernel_source *source, amd_built *out, char *why, size_t why_bytes)
{
    mj_error error = {0};
    mj_compiled compiled = {0};
    mj_code_object object = {0};
    memset(out, 0, sizeof *out);
    bool good = mj_generate(fixture_spec, desc, NULL, source, &error) == MJ_OK &&
                mj_hiprtc_compile(hiprtc, source->manifest.compile_target, source->text, source->bytes, &compiled,
                                  &error) == MJ_OK &&
                mj_code_object_read(compiled.binary, compiled.binary_bytes, &object, &error) == MJ_OK &&
                mj_code_object_kernel(&object, 0, &out->kernel, &error) == MJ_OK;
    if (!good) {
        snprintf(why, why_bytes, "%.280s", error.text);
    } else if (strcmp(object.target, desc->arch->compile_target) != 0 || object.kernel_count != 1 ||
               strcmp(out->kernel.name, source->manifest.symbol) != 0) {
        snprintf(why, why_bytes, "%u kernels for %s, the first is %.200s", object.kernel_count, object.target,
                 out->kernel.name);
        good = false;
    } else if (objdump) {
        out->disassembled = amd_disassemble(objdump, &compiled, out);
        good = out->disassembled;
        snprintf(why, why_bytes, "%s", good ? "" : "cannot be disassembled");
    }
    mj_compiled_free(&compiled);
    return good;
}

#endif
