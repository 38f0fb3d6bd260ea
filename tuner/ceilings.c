/* ceilings.c: what the device's memory and matrix units can do: the roof under which times are judged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "reference.h"

#define CEILING_REPLAYS     20
#define CEILING_SECONDS_MAX 1.0
#define VECTOR_BYTES        16

enum { STREAM_READ = 0, STREAM_COPY = 1 }; /* modes of stream.tmpl */

static double best_of(mj_lab *lab, const mj_loaded_kernel *kernel, const void *from, void *to, uint64_t bytes,
                      int32_t mode, mj_status *status, mj_error *error)
{
    const mj_backend *backend = lab->device->backend;
    void *device = lab->device->handle, *start = NULL, *stop = NULL;
    mj_arg_value values[MJ_ARG_COUNT] = {0};
    values[MJ_ARG_INPUT].pointer = (uint64_t)(uintptr_t)from;
    values[MJ_ARG_OUTPUT].pointer = (uint64_t)(uintptr_t)to;
    values[MJ_ARG_ELEMENT_COUNT].i64 = (int64_t)(bytes / VECTOR_BYTES);
    values[MJ_ARG_MODE].i32 = mode;
    double best_us = 0, spent = 0;
    *status = backend->event_create(device, &start, error);
    if (*status == MJ_OK) {
        *status = backend->event_create(device, &stop, error);
    }
    for (int i = 0; i < CEILING_REPLAYS && *status == MJ_OK && spent < CEILING_SECONDS_MAX; i++) {
        double us = 0;
        *status = backend->event_record(device, start, lab->stream, error);
        if (*status == MJ_OK) {
            *status = mj_kernel_launch(lab->device, kernel, values, 1, lab->stream, error);
        }
        if (*status == MJ_OK) {
            *status = backend->event_record(device, stop, lab->stream, error);
        }
        if (*status == MJ_OK) {
            *status = backend->event_elapsed_us(device, start, stop, &us, error);
        }
        if (us > 0 && (best_us == 0 || us < best_us)) {
            best_us = us;
        }
        spent += us * 1e-6;
    }
    if (start) {
        backend->event_destroy(device, start);
    }
    if (stop) {
        backend->event_destroy(device, stop);
    }
    double moved = (double)bytes * (mode == STREAM_COPY ? 2 : 1);
    return best_us > 0 ? moved / best_us * 1e-3 : 0;
}

mj_status mj_measure_bandwidth(mj_lab *lab, double *gbps, mj_error *error)
{
    static const mj_problem any = {.expert_count = 1,
                                   .expert_total_count = 1,
                                   .top_k = 1,
                                   .hidden = 64,
                                   .intermediate = 64,
                                   .scheme = "bf16",
                                   .layout = "default"};
    *gbps = 0;
    uint64_t l2_bytes = lab->device->info.l2_bytes;
    bool is_cpu = lab->device->info.sm_count > 0 && lab->arch->warp_size <= 1;
    uint64_t bytes = is_cpu ? 256u << 20 : 2048ull << 20;
    bytes =
        bytes < 4 * l2_bytes && is_cpu ? 4 * l2_bytes : bytes; /* a fourth of the first array at most is still there */
    uint64_t third = lab->bytes_max > lab->bytes_used ? (lab->bytes_max - lab->bytes_used) / 3 : 0;
    bytes = (bytes < third ? bytes : third) / 4096 * 4096;
    if (bytes < 4096) {
        return mj_fail(error, MJ_ERR_DEVICE_MEMORY, "no memory to measure the bandwidth with");
    }
    mj_loaded_kernel kernel = {0};
    void *from = NULL, *to = NULL;
    mj_status status = mj_lab_build(lab, &any, MJ_OP_STREAM, NULL, &kernel, error);
    if (status == MJ_OK) {
        status = mj_lab_alloc(lab, bytes, &from, error);
    }
    if (status == MJ_OK) {
        status = mj_lab_alloc(lab, bytes, &to, error);
    }
    if (status == MJ_OK) { /* written, so that every page is really there */
        status = mj_lab_fill(lab, "f32", from, bytes / 4, 1, 1.0f, error);
    }
    if (status == MJ_OK) {
        status = mj_lab_set(lab, to, 0, bytes, error);
    }
    for (int32_t mode = STREAM_READ; mode <= STREAM_COPY && status == MJ_OK; mode++) {
        double rate = best_of(lab, &kernel, from, to, bytes, mode, &status, error);
        *gbps = rate > *gbps ? rate : *gbps;
    }
    mj_lab_free(lab, from, bytes);
    mj_lab_free(lab, to, bytes);
    mj_kernel_unload(lab->device, &kernel);
    return status;
}

/* ---- Matrix units ---- */

#define PRODUCTS_PER_SAMPLE 10
#define PRODUCT_SAMPLES     7

typedef struct product {
    const char *format;
    uint32_t size;
    void *a, *b, *c;
} product;

static mj_status multiply(mj_lab *lab, const product *p, mj_error *error)
{
    return lab->device->backend->dense_product(lab->device->handle, p->format, p->size, p->a, p->b, p->c, lab->stream,
                                               error);
}

static mj_status sample_products(mj_lab *lab, const product *p, void *start, void *stop, double *us, mj_error *error)
{
    const mj_backend *backend = lab->device->backend;
    mj_status status = backend->event_record(lab->device->handle, start, lab->stream, error);
    for (int i = 0; i < PRODUCTS_PER_SAMPLE && status == MJ_OK; i++) {
        status = multiply(lab, p, error);
    }
    if (status == MJ_OK) {
        status = backend->event_record(lab->device->handle, stop, lab->stream, error);
    }
    return status == MJ_OK ? backend->event_elapsed_us(lab->device->handle, start, stop, us, error) : status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static mj_status time_products(mj_lab *lab, const product *p, double *us, mj_error *error)
{
    const mj_backend *backend = lab->device->backend;
    void *start = NULL, *stop = NULL;
    double samples[PRODUCT_SAMPLES];
    mj_status status = multiply(lab, p, error); /* loads the library */
    if (status == MJ_OK) {
        status = backend->event_create(lab->device->handle, &start, error);
    }
    if (status == MJ_OK) {
        status = backend->event_create(lab->device->handle, &stop, error);
    }
    for (int i = 0; i < PRODUCT_SAMPLES && status == MJ_OK; i++) {
        status = sample_products(lab, p, start, stop, &samples[i], error);
    }
    if (status == MJ_OK) {
        qsort(samples, PRODUCT_SAMPLES, sizeof(samples[0]), by_value);
        *us = samples[PRODUCT_SAMPLES / 2] / PRODUCTS_PER_SAMPLE;
    }
    if (start) {
        backend->event_destroy(lab->device->handle, start);
    }
    if (stop) {
        backend->event_destroy(lab->device->handle, stop);
    }
    return status;
}

static mj_status measure_product(mj_lab *lab, const char *format, uint32_t size, double *tflops, mj_error *error)
{
    const uint64_t elements = (uint64_t)size * size;
    product p = {.format = format, .size = size};
    struct {
        void **pointer;
        const char *format;
    } matrices[] = {{&p.a, format}, {&p.b, format}, {&p.c, "bf16"}};
    double us = 0;
    mj_status status = MJ_OK;
    for (int i = 0; i < 3 && status == MJ_OK; i++) {
        status = mj_lab_alloc(lab, elements * mj_ref_format_bytes(matrices[i].format), matrices[i].pointer, error);
    }
    for (int i = 0; i < 2 && status == MJ_OK; i++) { /* random: zeros run faster than any real data */
        status = mj_lab_fill(lab, matrices[i].format, *matrices[i].pointer, elements, (uint64_t)i + 1, 1.0f, error);
    }
    if (status == MJ_OK) {
        status = time_products(lab, &p, &us, error);
    }
    if (status == MJ_OK && us > 0) {
        *tflops = 2.0 * size * (double)elements / us * 1e-6;
    }
    for (int i = 0; i < 3; i++) {
        mj_lab_free(lab, *matrices[i].pointer, elements * mj_ref_format_bytes(matrices[i].format));
    }
    return status;
}

mj_status mj_measure_matrix(mj_lab *lab, const char *format, uint32_t size, mj_matrix_ceiling *out, mj_error *error)
{
    bool is_fp8 = strcmp(format, "e4m3") == 0 || strcmp(format, "e4m3fnuz") == 0;
    mj_error why = {0};
    mj_status status = MJ_OK;
    memset(out, 0, sizeof *out);
    if (!lab->device->backend->dense_product) {
        return MJ_OK;
    }
    if (is_fp8) {
        status = measure_product(lab, format, size, &out->tflops, &why);
        if (status == MJ_ERR_DEVICE_LOST) {
            return mj_fail(error, status, "%s", why.text);
        }
        if (status != MJ_OK) {
            snprintf(out->note, sizeof out->note, "%.150s", why.text);
        }
    }
    if (!(out->tflops > 0)) {
        format = "bf16";
        status = measure_product(lab, format, size, &out->tflops, error);
    }
    if (out->tflops > 0) {
        snprintf(out->product, sizeof out->product, "%.31s", format);
    }
    return status == MJ_ERR_UNSUPPORTED || status == MJ_ERR_DEVICE_MEMORY ? MJ_OK
                                                                          : status; /* the arch's figure serves */
}
