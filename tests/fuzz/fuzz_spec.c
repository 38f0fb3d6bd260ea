/* fuzz_spec.c: any bytes as a data file of any kind: sandbox, reader, messages with lines. The first byte picks the kind and
 * whether it runs as a script; limits are tight, so that an input costs milliseconds at most. */
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "spec_read.h"
#include "spec_sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef union any_row {
    mj_arch arch;
    mj_scheme scheme;
    mj_space space;
    mj_model model;
} any_row;

typedef struct fuzz_load {
    mj_reader reader;
    const mj_schema *schema;
    any_row *row;
} fuzz_load;

static int load_body(lua_State *state, void *user)
{
    fuzz_load *load = user;
    mj_sandbox_push_chunk(state, load->reader.file, load->reader.text, load->reader.bytes);
    lua_call(state, 0, 1);
    mj_read_record(&load->reader, load->schema, load->row);
    return 0;
}

/* The reader's promises: lists within their arrays, texts with an end. */
static void check_row(int kind, const any_row *row)
{
    bool fits = true;
    if (kind == 0) {
        fits = row->arch.features.count <= MJ_LIST_MAX && memchr(row->arch.doc, 0, sizeof row->arch.doc);
    } else if (kind == 1) {
        fits = row->scheme.decode_count <= 256 && row->scheme.packing.per_word <= 32;
    } else if (kind == 2) {
        fits = row->space.tunable_count <= MJ_CONFIG_MAX && row->space.rule_count <= 32;
        for (uint32_t i = 0; fits && i < row->space.tunable_count; i++) {
            fits = row->space.tunables[i].value_count <= 32;
        }
    } else {
        fits = row->model.hf_id_count <= 8 && (unsigned)row->model.activation < MJ_ACT_COUNT;
    }
    if (!fits) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const mj_schema *const schemas[] = {&mj_schema_arch, &mj_schema_scheme, &mj_schema_space, &mj_schema_model};
    if (size == 0) {
        return 0;
    }
    int kind = data[0] & 3;
    mj_sandbox_options options = {.memory_bytes_max = 1 << 20,
                                  .instruction_count_max = 20000,
                                  .script = (data[0] & 4) != 0,
                                  .string_bytes_max = 1 << 16};
    mj_sandbox *sandbox;
    if (mj_sandbox_open(&options, &sandbox, NULL) != MJ_OK) {
        abort();
    }
    any_row *row = calloc(1, sizeof *row);
    mj_problem_list problems = {0};
    mj_error error = {0};
    fuzz_load load = {.schema = schemas[kind], .row = row};
    load.reader = (mj_reader){.state = mj_sandbox_state(sandbox),
                              .file = "lua/fuzz.lua",
                              .text = (const char *)data + 1,
                              .bytes = size - 1,
                              .problems = &problems};
    mj_sandbox_run(sandbox, load_body, &load, &error);
    check_row(kind, row);
    mj_sandbox_close(sandbox);
    mj_strbuf_free(&problems.lines);
    free(row);
    return 0;
}
