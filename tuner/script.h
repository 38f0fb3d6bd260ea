/* script.h: the host of Lua sweep scripts (`moejit run FILE.lua`). */
#ifndef MOEJIT_SCRIPT_H
#define MOEJIT_SCRIPT_H

#include "cli.h"

/* Runs options->positionals[0] with the words after it. An error prints one line, "file:line:
 * what". */
cli_exit script_run(const cli_options *options, mj_context *context);
#endif
