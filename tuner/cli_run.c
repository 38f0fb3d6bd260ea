/* cli_run.c: moejit run FILE.lua. */
#include "cli.h"
#include "script.h"

cli_exit cli_run(const cli_options *options)
{
    if (options->positional_count == 0) {
        cli_error("run: which script? e.g. moejit run lua/examples/sweep.lua");
        return CLI_USAGE;
    }
    mj_context *context;
    cli_exit code = cli_context(options, &context);
    if (code != CLI_OK) {
        return code;
    }
    cli_catch_interrupts();
    code = script_run(options, context);
    mj_context_destroy(context);
    return code;
}
