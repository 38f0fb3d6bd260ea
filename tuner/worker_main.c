/* worker_main.c: moejit-worker: opens one device, holds one GEMM's data, verifies and times kernels.
 *
 * Requests carry all they need ("prepare" names problem, op, batch size, routing, seed), so that a replaced worker is brought
 * to the same state by repeating two messages. After a sticky device error it replies and leaves: a context in that state
 * never heals, a new process does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "helper.h"
#include "measure.h"
#include "memory_need.h"
#include "padding.h"
#include "verify.h"
#include "wire.h"

#define SLOT_COUNT         128
#define REFERENCE_PRODUCTS 100000000ull
#define SMALL_PRODUCTS     20000000ull

static const struct {
    const char *routing;
    uint32_t token_count;
} small_cases[] = MJ_SMALL_CASES;
#define SMALL_COUNT (sizeof(small_cases) / sizeof(small_cases[0]))

typedef struct slot { /* a loaded candidate */
    char key[MJ_SHA256_HEX];
    mj_loaded_kernel kernel;
    bool small_passed; /* with the lab's current data */
    uint64_t used;
} slot;

typedef struct worker {
    mj_context *context;
    mj_device *device;
    mj_lab lab;
    mj_case main_case;
    mj_case small[SMALL_COUNT];
    slot slots[SLOT_COUNT];
    uint64_t clock;
} worker;

/* ---- Requests ---- */
static mj_status do_open(worker *w, const mj_json *request, mj_json *reply, mj_error *error)
{
    mj_context_options options;
    char device_id[MJ_NAME_MAX];
    uint64_t bytes_max = 0;
    if (w->context) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "open: already open");
    }
    mj_wire_read_context(request, &options);
    mj_status status = mj_json_read_string(request, "device", device_id, sizeof(device_id), error);
    if (status == MJ_OK) {
        status = mj_wire_read_u64(request, "device_bytes_max", &bytes_max, error);
    }
    if (status == MJ_OK) {
        status = mj_context_create(&options, &w->context, error);
    }
    if (status == MJ_OK) {
        status = mj_device_open(w->context, device_id, &w->device, error);
    }
    if (status == MJ_OK) {
        status = mj_lab_open(w->device, bytes_max, &w->lab, error);
    }
    mj_wire_device device;
    memset(&device, 0, sizeof(device));
    if (status == MJ_OK) {
        status = mj_device_identity(w->device, &device.identity, error);
    }
    if (status == MJ_OK) {
        device.info = *mj_device_get_info(w->device);
        device.shape = w->device->shape;
        mj_json_add(reply, "device", mj_wire_device_to_json(&device));
    }
    return status;
}

static void drop_cases(worker *w)
{
    mj_case_free(&w->lab, &w->main_case);
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        mj_case_free(&w->lab, &w->small[i]);
    }
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        w->slots[i].small_passed = false;
    }
}

static bool same_data(const worker *w, const mj_problem *problem, mj_op op, uint64_t seed)
{
    char have[512], want[512];
    return w->lab.loaded && w->lab.op == op && w->lab.seed == seed &&
           mj_problem_print(&w->lab.problem, have, sizeof(have), NULL) == MJ_OK &&
           mj_problem_print(problem, want, sizeof(want), NULL) == MJ_OK && strcmp(have, want) == 0;
}

static mj_status prepare_case(worker *w, uint32_t token_count, const char *routing, uint64_t seed, bool timed,
                              uint64_t products, mj_case *out, mj_error *error)
{
    mj_finding finding;
    mj_status status = mj_case_prepare(&w->lab, token_count, routing, seed, timed, out, error);
    if (status == MJ_OK) {
        status = mj_verify_reference(&w->lab, out, products, &finding, error);
        if (status == MJ_OK && finding.reason != MJ_REASON_NONE) {
            status = mj_fail(error, MJ_ERR_WRONG_RESULT, "%s", finding.detail);
        }
    }
    return status;
}

static mj_status prepare_data(worker *w, const mj_problem *problem, mj_op op, uint64_t seed, mj_error *error)
{
    if (same_data(w, problem, op, seed)) {
        return MJ_OK;
    }
    drop_cases(w);
    mj_status status = mj_lab_load(&w->lab, problem, op, seed, error);
    for (size_t i = 0; i < SMALL_COUNT && status == MJ_OK; i++) {
        status = prepare_case(w, small_cases[i].token_count, small_cases[i].routing, seed + 100 + i, false,
                              SMALL_PRODUCTS, &w->small[i], error);
    }
    return status;
}

static mj_status do_prepare(worker *w, const mj_json *request, mj_json *reply, mj_error *error)
{
    mj_problem problem;
    mj_op op;
    uint64_t seed = 0;
    int64_t token_count = 0;
    char routing[MJ_NAME_MAX];
    bool timed = false;
    mj_status status = mj_wire_read_problem(request, &problem, error);
    if (status == MJ_OK) {
        status = mj_wire_read_op(request, &op, error);
    }
    if (status == MJ_OK) {
        status = mj_wire_read_u64(request, "seed", &seed, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_int(request, "token_count", 1, INT32_MAX, &token_count, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_string(request, "routing", routing, sizeof(routing), error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_bool(request, "timed", &timed, error);
    }
    if (status == MJ_OK) {
        status = prepare_data(w, &problem, op, seed, error);
    }
    if (status == MJ_OK) {
        mj_case_free(&w->lab, &w->main_case);
        status = prepare_case(w, (uint32_t)token_count, routing, seed, timed, REFERENCE_PRODUCTS, &w->main_case, error);
    }
    if (status == MJ_OK) {
        mj_json_add_number(reply, "bytes", w->main_case.bytes);
        mj_json_add_number(reply, "operations", w->main_case.operations);
        mj_json_add_string(reply, "note", w->main_case.note);
    }
    return status;
}

/* ---- Kernels ---- */
static slot *find_slot(worker *w, const char *key)
{
    slot *oldest = &w->slots[0];
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        slot *s = &w->slots[i];
        if (s->kernel.handle && strcmp(s->key, key) == 0) {
            return s;
        }
        oldest = s->used < oldest->used ? s : oldest;
    }
    mj_kernel_unload(w->device, &oldest->kernel);
    memset(oldest, 0, sizeof(*oldest));
    return oldest;
}

static mj_status load_kernel(worker *w, const mj_json *request, slot **out, mj_error *error)
{
    char key[MJ_SHA256_HEX];
    mj_manifest manifest;
    mj_json *json = NULL;
    mj_cache_entry entry;
    memset(&entry, 0, sizeof(entry));
    mj_status status = w->device ? MJ_OK : mj_fail(error, MJ_ERR_ARGUMENT, "no device is open");
    if (status == MJ_OK) {
        status = mj_json_read_string(request, "cache_key", key, sizeof(key), error);
    }
    if (status != MJ_OK) {
        return status;
    }
    slot *s = find_slot(w, key);
    s->used = ++w->clock;
    *out = s;
    if (s->kernel.handle) {
        return MJ_OK;
    }
    status = mj_json_read_object(request, "manifest", &json, error);
    if (status == MJ_OK) {
        status = mj_manifest_from_json(json, &manifest, error);
    }
    if (status == MJ_OK && !w->context->cache) {
        status = mj_fail(error, MJ_ERR_IO, "no compile cache");
    }
    if (status == MJ_OK) {
        status = mj_cache_get(w->context->cache, key, &entry, error);
    }
    if (status == MJ_OK) {
        status =
            mj_kernel_load(w->device, &manifest, entry.compiled.binary, entry.compiled.binary_bytes, &s->kernel, error);
    }
    if (status == MJ_OK) {
        memcpy(s->key, key, sizeof(s->key));
    }
    mj_cache_entry_free(&entry);
    return status;
}

static void add_finding(mj_json *reply, const mj_finding *finding)
{
    mj_json_add_string(reply, "reason", mj_reason_text(finding->reason));
    mj_json_add_string(reply, "detail", finding->detail);
}

/* Rows that the kernel computes for the prepared case, the mean over its sets. */
static mj_status count_padded(const worker *w, const mj_manifest *manifest, double *out, mj_error *error)
{
    const mj_lab *lab = &w->lab;
    mj_kernel_desc desc = {&lab->problem, lab->arch, lab->scheme, NULL, manifest->op, &manifest->config};
    uint32_t *rows = calloc(lab->problem.expert_count, sizeof(*rows));
    mj_status status = rows ? mj_spec_find_space(lab->spec, manifest->family, &desc.space, error)
                            : mj_fail(error, MJ_ERR_MEMORY, "rows of each expert");
    double sum = 0;
    for (uint32_t i = 0; status == MJ_OK && i < w->main_case.set_count; i++) {
        const int32_t *offsets = w->main_case.sets[i].offsets;
        double padded = 0;
        for (uint32_t e = 0; e < lab->problem.expert_count; e++) {
            rows[e] = (uint32_t)(offsets[e + 1] - offsets[e]);
        }
        status = mj_padded_rows(&desc, rows, &padded, error);
        sum += padded;
    }
    *out = sum / w->main_case.set_count;
    free(rows);
    return status;
}

static mj_status do_verify(worker *w, const mj_json *request, mj_json *reply, mj_error *error)
{
    slot *s = NULL;
    mj_finding finding = {0};
    if (!w->main_case.present) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "verify: nothing is prepared");
    }
    mj_status status = load_kernel(w, request, &s, error);
    if (status == MJ_OK && (s->kernel.manifest.op != w->lab.op)) {
        status = mj_fail(error, MJ_ERR_ARGUMENT, "verify: a kernel of another op");
    }
    for (size_t i = 0; status == MJ_OK && !s->small_passed && i < SMALL_COUNT; i++) {
        if (finding.reason == MJ_REASON_NONE) {
            status = mj_verify_kernel(&w->lab, &w->small[i], &s->kernel, &finding, error);
        }
    }
    if (status == MJ_OK && finding.reason == MJ_REASON_NONE) {
        s->small_passed = true;
        status = mj_verify_kernel(&w->lab, &w->main_case, &s->kernel, &finding, error);
    }
    double padded_rows = 0;
    if (status == MJ_OK) {
        status = count_padded(w, &s->kernel.manifest, &padded_rows, error);
    }
    if (status == MJ_OK) {
        add_finding(reply, &finding);
        mj_json_add_number(reply, "row_error", finding.row_error);
        mj_json_add_number(reply, "padded_rows", padded_rows);
    }
    return status;
}

static mj_status do_time(worker *w, const mj_json *request, mj_json *reply, mj_error *error)
{
    slot *s = NULL;
    int64_t replays = 0, launches = 0;
    mj_timing_request timing_request = {0};
    if (!w->main_case.present) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "time: nothing is prepared");
    }
    mj_status status = mj_json_read_int(request, "replays", 1, MJ_REPLAYS_MAX, &replays, error);
    if (status == MJ_OK) {
        status = mj_json_read_int(request, "launches", 0, MJ_SETS, &launches, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(request, "seconds_max", &timing_request.seconds_max, error);
    }
    if (status == MJ_OK) {
        status = mj_json_read_number(request, "seconds_min", &timing_request.seconds_min, error);
    }
    if (status == MJ_OK) {
        status = load_kernel(w, request, &s, error);
    }
    mj_timing *timing = malloc(sizeof(*timing));
    if (status == MJ_OK && !timing) {
        status = mj_fail(error, MJ_ERR_MEMORY, "samples");
    }
    if (status == MJ_OK) {
        timing_request.replays = (uint32_t)replays;
        timing_request.launches = (uint32_t)launches;
        status = mj_measure(&w->lab, &w->main_case, &s->kernel, &timing_request, timing, error);
    }
    if (status == MJ_OK) {
        mj_json *samples = mj_json_add(reply, "samples_us", mj_json_array());
        for (uint32_t i = 0; i < timing->count; i++) {
            mj_json_push(samples, mj_json_new_number(timing->samples_us[i]));
        }
        mj_json_add_int(reply, "launches", timing->launches);
    }
    free(timing);
    return status;
}

static mj_status do_layer(worker *w, const mj_json *request, mj_json *reply, mj_error *error)
{
    slot *s = NULL;
    mj_finding finding = {0};
    mj_status status = load_kernel(w, request, &s, error);
    if (status == MJ_OK) {
        status = mj_verify_layer_op(&w->lab, &s->kernel, &finding, error);
    }
    if (status == MJ_OK) {
        add_finding(reply, &finding);
    }
    return status;
}

static mj_status do_ceilings(worker *w, const mj_json *request, mj_json *reply, mj_error *error)
{
    const char *product = mj_wire_text(request, "product");
    double gbps = 0;
    mj_matrix_ceiling matrix = {0};
    mj_status status =
        w->device ? mj_measure_bandwidth(&w->lab, &gbps, error) : mj_fail(error, MJ_ERR_ARGUMENT, "no device is open");
    if (status == MJ_OK) {
        status = mj_measure_matrix(&w->lab, product ? product : "bf16", MJ_PRODUCT_SIZE, &matrix, error);
    }
    mj_json_add_number(reply, "memory_gbps", gbps);
    mj_json_add_number(reply, "matrix_tflops", matrix.tflops);
    mj_json_add_string(reply, "matrix_product", matrix.product);
    mj_json_add_string(reply, "matrix_note", matrix.note);
    return status;
}

static const struct {
    const char *name;
    mj_status (*run)(worker *w, const mj_json *request, mj_json *reply, mj_error *error);
} verbs[] = {
    {"open", do_open}, {"prepare", do_prepare}, {"verify", do_verify},
    {"time", do_time}, {"layer", do_layer},     {"ceilings", do_ceilings},
};

static mj_status dispatch(worker *w, const mj_json *request, mj_json *results, mj_error *error)
{
    const char *verb = mj_wire_text(request, "do");
    for (size_t i = 0; verb && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].name, verb) == 0) {
            return verbs[i].run(w, request, results, error);
        }
    }
    return mj_fail(error, MJ_ERR_ARGUMENT, "unknown request %s", verb ? verb : "(none)");
}

/* One request. MJ_ERR_DEVICE_LOST: replied to, and the process must end. */
static mj_status serve(worker *w, mj_helper *helper, const mj_json *request)
{
    mj_error error = {0};
    mj_json *results = mj_json_object();
    mj_status status = dispatch(w, request, results, &error);
    mj_json *reply = mj_reply_new(request, status, &error);
    mj_json_add(reply, "results", results);
    mj_status sent = mj_helper_send(helper, reply, NULL);
    mj_json_free(reply);
    return sent != MJ_OK ? sent : (status == MJ_ERR_DEVICE_LOST ? status : MJ_OK);
}

int main(int argc, char **argv)
{
    static worker w; /* too large for a stack */
    mj_helper helper;
    mj_error error = {0};
    mj_status status = mj_helper_start(argc, argv, &helper, &error);
    if (status != MJ_OK) {
        fprintf(stderr, "moejit-worker: %s\n", error.text);
        return 2;
    }
    while (status == MJ_OK) {
        mj_json *request = NULL;
        status = mj_helper_receive(&helper, &request, &error);
        if (status == MJ_OK) {
            status = serve(&w, &helper, request);
        }
        mj_json_free(request);
    }
    if (status == MJ_ERR_DEVICE_LOST) {
        _exit(3); /* destructors would call into a dead context, and may hang there */
    }
    mj_helper_end(&helper);
    if (w.device) {
        drop_cases(&w);
        for (size_t i = 0; i < SLOT_COUNT; i++) {
            mj_kernel_unload(w.device, &w.slots[i].kernel);
        }
        mj_lab_close(&w.lab);
        mj_device_close(w.device);
    }
    mj_context_destroy(w.context);
    return status == MJ_ERR_NOT_FOUND ? 0 : 2;
}
