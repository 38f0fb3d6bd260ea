/* plan_fixture.h: what tests of whole layers in plans on the cpu device share: the device, and stores of tuned rows for it. */
#ifndef MOEJIT_PLAN_FIXTURE_H
#define MOEJIT_PLAN_FIXTURE_H

#include "device_fixture.h"
#include "os.h"
#include "plan.h"
#include "scheme_layer.h"
#include "store.h"
#include "timed_choice.h"

static device_fixture cpu;

static inline bool open_layers(int argc, char **argv)
{
    CHECK_BEGIN(argc, argv);
    temp_folder_make();
    if (mj_spec_load(NULL, &spec, NULL, NULL) != MJ_OK || !open_fixture(&cpu, "cpu", "store")) {
        printf("FAIL set_up: no spec or no device\n");
        return false;
    }
    return true;
}

/* What main returns. */
static inline int close_layers(void)
{
    close_fixture(&cpu);
    mj_spec_free(spec);
    temp_folder_remove();
    return CHECK_END();
}

static inline bool choose(const mj_problem *problem, mj_op op, const char *family, double time_us, mj_choice *out)
{
    mj_wanted wanted = {
        .problem = problem, .arch = "cpu", .op = op, .family = mj_op_is_gemm(op) ? family : NULL, .device = cpu.device};
    return timed_choice(cpu.context, &wanted, time_us, out);
}

typedef struct timed_op {
    mj_op op;
    double us; /* 0: there is none */
} timed_op;

/* A store of one row, TOKENS_MAX: GEMMs of `family`, the other ops also without a time. */
static inline bool save_timed(const mj_problem *problem, const char *family, const timed_op *ops, size_t count)
{
    static const mj_op simple[] = {MJ_OP_TABLES, MJ_OP_QUANTISE1, MJ_OP_ACTIVATION, MJ_OP_QUANTISE2, MJ_OP_COMBINE};
    const mj_scheme *scheme = NULL;
    char name[512], path[1024];
    mj_store_file file = {.problem = *problem};
    mj_store_row *row = mj_store_row_at(&file, TOKENS_MAX, "uniform");
    bool good = row != NULL && mj_spec_find_scheme(spec, problem->scheme, &scheme, NULL) == MJ_OK;
    for (size_t i = 0; good && i < count; i++) {
        good = ops[i].us <= 0 || choose(problem, ops[i].op, family, ops[i].us, mj_store_row_choice(row, ops[i].op));
    }
    for (size_t i = 0; good && i < sizeof simple / sizeof *simple; i++) {
        bool wanted = !mj_op_is_quantise(simple[i]) || mj_scheme_quantises(scheme);
        good = !wanted || choose(problem, simple[i], NULL, 0, &file.ops[simple[i]]);
    }
    good = good && mj_device_identity(cpu.device, &file.identity, NULL) == MJ_OK &&
           mj_store_file_name(problem, file.identity.device, name, sizeof name, NULL) == MJ_OK &&
           mj_os_make_folder(temp_path("store"), NULL) == MJ_OK &&
           mj_os_join(path, sizeof path, temp_path("store"), name, NULL) == MJ_OK &&
           mj_store_replace(path, &file, NULL) == MJ_OK;
    mj_store_file_free(&file);
    return good;
}

static inline const char *reason(const mj_plan *plan, mj_op op)
{
    const mj_plan_entry *entry = mj_plan_find(plan, op, TOKENS_MAX);
    return entry ? entry->row.reason : "";
}

#endif
