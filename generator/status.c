/* status.c: names and texts of statuses; the one way to fail. */
#include "moejit_types.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct status_row {
    const char *name, *text;
} status_row;

static const status_row rows[] = {/* ORDER STATUS */
#define STATUS_ROW(name, text) {#name, text},
                                  MJ_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};
_Static_assert(sizeof rows / sizeof rows[0] == MJ_STATUS_COUNT, "one row per status");

static bool is_known(mj_status status)
{
    return (unsigned)status < MJ_STATUS_COUNT;
}

const char *mj_status_name(mj_status status)
{
    return is_known(status) ? rows[status].name : "MJ_ERR_UNKNOWN";
}

const char *mj_status_text(mj_status status)
{
    return is_known(status) ? rows[status].text : "a status this version does not know";
}

mj_status mj_fail(mj_error *error, mj_status status, const char *format, ...)
{
    if (error) {
        char text[sizeof error->text]; /* an argument may be error->text itself */
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        error->status = status;
        snprintf(error->text, sizeof error->text, "%s", text);
        for (char *c = error->text; *c; c++) {
            if (*c == '\n' || *c == '\r') { /* one line, whatever the argument held */
                *c = ' ';
            }
        }
    }
    return status;
}
