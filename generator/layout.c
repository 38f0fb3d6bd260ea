/* layout.c: how the rows of gemm1's weights lie in memory. One row per layout; all that reads weights asks here, or the template
 * templates/weight_rows.tmpl, which says the same. */
#include "gen.h"

#include <inttypes.h>
#include <string.h>

typedef struct layout_row {
    const char *name;
    uint32_t turn_rows; /* of gate, then of up; 0: all gate rows, then all up rows */
} layout_row;

static const layout_row layouts[] = {
    {"default", 0},
    {"interleaved8", 8},
};
#define LAYOUT_COUNT (sizeof layouts / sizeof layouts[0])

static const layout_row *find(const char *name)
{
    for (size_t i = 0; i < LAYOUT_COUNT; i++) {
        if (strcmp(layouts[i].name, name) == 0) {
            return &layouts[i];
        }
    }
    return NULL;
}

size_t mj_layout_names(const char *names[MJ_LAYOUTS_MAX])
{
    _Static_assert(LAYOUT_COUNT <= MJ_LAYOUTS_MAX, "room for each");
    for (size_t i = 0; i < LAYOUT_COUNT; i++) {
        names[i] = layouts[i].name;
    }
    return LAYOUT_COUNT;
}

mj_status mj_layout_check(const char *name, const mj_problem *problem, mj_error *error)
{
    const char *names[MJ_LAYOUTS_MAX];
    const layout_row *row = find(name);
    if (!row) {
        const char *near = mj_nearest_name(name, names, mj_layout_names(names));
        return mj_fail(error, MJ_ERR_UNSUPPORTED, "no weight layout \"%s\"%s%s%s", name,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (row->turn_rows && !problem->gated) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "layout %s: the layer is not gated, there are no up rows to take turns",
                       name);
    }
    if (row->turn_rows && problem->intermediate % row->turn_rows) {
        return mj_fail(error, MJ_ERR_ARGUMENT, "layout %s: %" PRIu32 " gate rows (N) are not whole turns of %" PRIu32,
                       name, problem->intermediate, row->turn_rows);
    }
    return MJ_OK;
}

uint32_t mj_layout_turn_rows(const mj_problem *problem, mj_op op)
{
    const layout_row *row = find(problem->layout);
    return row && problem->gated && mj_op_is_gemm1(op) ? row->turn_rows : 0;
}

bool mj_layout_served(const mj_space *space, const mj_problem *problem, mj_op op)
{
    return mj_layout_turn_rows(problem, op) == 0 || mj_list_has(&space->layouts, problem->layout);
}
