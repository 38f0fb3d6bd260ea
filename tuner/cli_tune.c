/* cli_tune.c: tune, bench and verify: options -> mj_tune_options, progress while they run, a report
 * at the end. */
#include <errno.h>
#include <string.h>

#include "cli.h"
#include "cli_kernel.h"
#include "os.h"
#include "progress.h"
#include "report.h"

typedef mj_status (*measure_fn)(mj_context *context, const mj_problem *problem, const mj_tune_options *options,
                                mj_tune_result *out, mj_error *error);

typedef struct measure_job {
    const cli_options *options;
    mj_context *context;
    const mj_spec *spec;
    cli_target target;
    mj_tune_options wanted;
    char config[1024]; /* --config with the family's defaults filled in */
} measure_job;

/* ORDER EFFORT */
static const char *const effort_names[MJ_EFFORT_COUNT] = {"estimate", "quick", "full"};

static cli_exit fill_config(measure_job *job)
{
    const cli_options *options = job->options;
    mj_error error = {MJ_OK, ""};
    const mj_space *space = NULL;
    const mj_space *opponent = NULL;
    const mj_arch *arch = NULL;
    if ((options->family && mj_spec_find_space(job->spec, options->family, &space, &error) != MJ_OK) ||
        (options->against && mj_spec_find_space(job->spec, options->against, &opponent, &error) != MJ_OK) ||
        (options->estimate_arch && mj_spec_find_arch(job->spec, options->estimate_arch, &arch, &error) != MJ_OK)) {
        return cli_fail(&error);
    }
    if (!options->config) {
        return CLI_OK;
    }
    if (!space) {
        cli_error("--config needs --family: a config is a point of one family's space");
        return CLI_USAGE;
    }
    mj_config config;
    if (cli_kernel_config(space, options->config, &config, &error) != MJ_OK ||
        mj_config_print(&config, job->config, sizeof job->config, &error) != MJ_OK) {
        return cli_fail(&error);
    }
    job->wanted.config = job->config;
    return CLI_OK;
}

static cli_exit fill(measure_job *job)
{
    const cli_options *options = job->options;
    job->wanted = (mj_tune_options){
        .device = options->device,
        .token_count_count = options->token_count_count,
        .token_counts = options->token_count_count ? options->token_counts : NULL,
        .routing_count = options->routing.count,
        .routings = options->routing.count ? options->routing.items : NULL,
        .seed = options->seed,
        .effort = options->effort,
        .budget_seconds = options->budget_seconds,
        .device_bytes_max = options->device_bytes_max,
        .force = options->force,
        .gemm1_only = options->gemm1_only,
        .gemm2_only = options->gemm2_only,
        .family = options->family,
        .against = options->against,
        .arch = options->estimate_arch,
        .save_dir = options->save_dir,
        .compile_processes = options->jobs,
        .progress = progress_step,
        .candidate = progress_candidate,
    };
    return fill_config(job);
}

/* Before hours of work, not after. */
static cli_exit check_store(const measure_job *job)
{
    const char *folder = job->options->save_dir ? job->options->save_dir : job->context->store_dir;
    mj_error error = {MJ_OK, ""};
    if (!folder || !*folder) {
        cli_error("there is no folder to save results in: give --save-dir");
        return CLI_NOT_SAVED;
    }
    if (mj_os_make_folder(folder, &error) != MJ_OK) {
        cli_error("%s%s%s", job->options->save_dir ? "--save-dir: " : "", error.text,
                  job->options->save_dir ? "" : " (--save-dir names another place for the results)");
        return CLI_NOT_SAVED;
    }
    if (!mj_os_is_writable_folder(folder)) {
        cli_error("%s: results cannot be saved there: %s", folder, strerror(errno));
        return CLI_NOT_SAVED;
    }
    return CLI_OK;
}

static cli_exit dry_run(const measure_job *job)
{
    mj_tune_forecast forecast = {0};
    mj_error error = {MJ_OK, ""};
    mj_tune_options wanted = job->wanted;
    wanted.force |= job->options->command != CLI_CMD_TUNE; /* only that one skips what is tuned already */
    mj_status status = mj_tune_dry_run(job->context, &job->target.problem, &wanted, &forecast, &error);
    if (status != MJ_OK) {
        return cli_fail(&error);
    }
    if (job->options->command != CLI_CMD_TUNE && forecast.candidates > forecast.rows) { /* one config per row */
        forecast.seconds *= (double)forecast.rows / forecast.candidates;
        forecast.candidates = forecast.rows;
        forecast.kernels = forecast.kernels < forecast.rows ? forecast.kernels : forecast.rows;
        forecast.refused = 0;
    }
    if (job->wanted.against) { /* and one more */
        forecast.seconds *= 2;
        forecast.candidates += forecast.rows;
        forecast.kernels += job->wanted.gemm1_only || job->wanted.gemm2_only ? 1 : 2;
    }
    if (job->options->json) {
        mj_json *root = mj_json_object();
        mj_json_add_int(root, "rows", forecast.rows);
        mj_json_add_int(root, "candidates", forecast.candidates);
        mj_json_add_int(root, "kernels", forecast.kernels);
        mj_json_add_int(root, "refused", (int64_t)forecast.refused);
        mj_json_add_number(root, "seconds", forecast.seconds);
        return cli_print_json(root);
    }
    char time[32];
    progress_print_time(forecast.seconds, time, sizeof time);
    printf("%s: %u rows, %u candidates of %u kernels (%llu refused), about %s\n", job->target.label, forecast.rows,
           forecast.candidates, forecast.kernels, (unsigned long long)forecast.refused, time);
    return CLI_OK;
}

/* What the rows say beyond the status. */
static cli_exit judge_rows(const measure_job *job, const mj_tune_result *result, cli_exit code)
{
    bool verify = job->options->command == CLI_CMD_VERIFY;
    bool timed = !verify && job->wanted.effort != MJ_EFFORT_ESTIMATE;
    uint32_t bad = 0;
    for (uint32_t i = 0; i < result->row_count; i++) {
        const mj_tune_row *row = &result->rows[i];
        bool wrong = row->best.reason != MJ_REASON_NONE || (timed && !(row->best.time_us_median > 0));
        if (wrong && bad++ == 0 && code == CLI_OK) {
            cli_error("M=%u %s %s: %s%s%s", row->token_count, row->routing, mj_op_name(row->op),
                      row->best.reason != MJ_REASON_NONE ? mj_reason_text(row->best.reason) : "no candidate survived",
                      row->best.detail[0] ? ": " : "", row->best.detail);
        }
    }
    if (code == CLI_OK && bad) {
        return CLI_FAILED;
    }
    if (code == CLI_OK && result->budget_spent) {
        cli_error("the budget of %g s was spent: %u rows are finished", job->wanted.budget_seconds, result->row_count);
        return CLI_PARTIAL;
    }
    return code;
}

static bool has_op(const mj_tune_result *result, mj_op op)
{
    for (uint32_t i = 0; i < result->row_count; i++) {
        if (result->rows[i].op == op) {
            return true;
        }
    }
    return false;
}

/* Which part of each family's space is legal, for the GEMMs predicted; into `text` or, if given, `json`. */
static mj_status space_maps(const measure_job *job, const mj_arch *arch, const mj_tune_result *result, mj_strbuf *text,
                            mj_json *json, mj_error *error)
{
    const mj_tune_options *wanted = &job->wanted;
    const mj_space *only = NULL;
    mj_json *maps = json ? mj_json_add(json, "space", mj_json_object()) : NULL;
    mj_kernel_desc desc = {.problem = &job->target.problem, .arch = arch};
    mj_status status = mj_spec_find_scheme(job->spec, job->target.problem.scheme, &desc.scheme, error);
    if (status == MJ_OK && wanted->family) {
        status = mj_spec_find_space(job->spec, wanted->family, &only, error);
    }
    for (int op = 0; op < MJ_OP_COUNT && status == MJ_OK; op++) {
        uint64_t legal = 0;
        desc.op = (mj_op)op;
        if (!has_op(result, desc.op)) {
            continue;
        }
        if (!json) {
            mj_strbuf_addf(text, "\nspace of %s on %s\n", mj_op_name(desc.op), arch->name);
        }
        mj_json *list = maps ? mj_json_add(maps, mj_op_name(desc.op), mj_json_array()) : NULL;
        status = cli_space_map(job->spec, desc, only, text, list, &legal, error);
    }
    return status;
}

/* The predictions, and the space they were chosen from. */
static cli_exit report_predictions(const measure_job *job, const report_subject *subject, const mj_arch *arch,
                                   const mj_tune_result *result)
{
    mj_error error = {MJ_OK, ""};
    mj_strbuf text = {0};
    mj_json *json = job->options->json ? report_json(subject, result) : NULL;
    mj_status status = space_maps(job, arch, result, &text, json, &error);
    if (status == MJ_OK && !json) {
        report_print_predictions(stdout, subject, result);
        fputs(text.text ? text.text : "", stdout);
    }
    mj_strbuf_free(&text);
    if (status == MJ_OK) {
        return json ? cli_print_json(json) : CLI_OK;
    }
    mj_json_free(json);
    return cli_fail(&error);
}

static cli_exit report(const measure_job *job, const mj_tune_result *result, cli_exit code)
{
    bool predicted = job->wanted.effort == MJ_EFFORT_ESTIMATE && job->options->command != CLI_CMD_VERIFY;
    const mj_arch *arch = NULL;
    mj_spec_find_arch(job->spec, result->arch, &arch, NULL);
    report_subject subject = {
        .command = cli_commands[job->options->command].name,
        .label = job->target.label,
        .effort = job->options->command == CLI_CMD_TUNE || predicted ? effort_names[job->wanted.effort] : NULL,
        .predicted = predicted,
        .arch_gbps = arch ? arch->typical.memory_gbps : 0,
        .problem = &job->target.problem,
        .seed = job->wanted.seed,
        .arch_tflops = arch && arch->warp_size > 1 ? arch->typical.matrix_tflops : 0, /* not of a host */
        .interrupted = code == CLI_INTERRUPTED,
    };
    if (predicted && arch) {
        cli_exit printed = report_predictions(job, &subject, arch, result);
        return code == CLI_OK ? printed : code;
    }
    if (job->options->json) {
        cli_exit printed = cli_print_json(report_json(&subject, result));
        return code == CLI_OK ? printed : code;
    }
    if (job->options->command == CLI_CMD_VERIFY) {
        report_print_verify(stdout, &subject, result);
    } else {
        report_print(stdout, &subject, result);
    }
    return code;
}

static void say_interrupted(const measure_job *job, const mj_tune_result *result)
{
    uint32_t saved = 0;
    for (uint32_t i = 0; i < result->row_count; i++) {
        saved += result->rows[i].origin == MJ_ORIGIN_STORE;
    }
    if (job->options->command != CLI_CMD_TUNE) {
        cli_error("interrupted: %u rows are finished", result->row_count);
    } else {
        cli_error("interrupted: %u rows are finished, %u of them saved; the same command goes on from here",
                  result->row_count, saved);
    }
}

static cli_exit measure(measure_job *job, measure_fn run)
{
    progress shown;
    progress_start(&shown, stderr, job->options->quiet, job->options->verbose, cli_interrupted);
    job->wanted.user = &shown;
    mj_tune_result result;
    memset(&result, 0, sizeof result);
    mj_error error = {MJ_OK, ""};
    cli_catch_interrupts();
    mj_status status = run(job->context, &job->target.problem, &job->wanted, &result, &error);
    progress_end(&shown);
    cli_exit code = CLI_OK;
    if (status == MJ_ERR_INTERRUPTED && result.row_count == 0) {
        cli_error("interrupted before a row was finished%s",
                  job->options->command == CLI_CMD_TUNE ? "; the same command goes on from here" : "");
        code = CLI_INTERRUPTED;
    } else if (status == MJ_ERR_INTERRUPTED) {
        say_interrupted(job, &result);
        code = CLI_INTERRUPTED;
    } else if (status != MJ_OK) {
        code = cli_fail(&error);
        /* every name was looked up before: what is not found now is a helper program */
        code = status == MJ_ERR_NOT_FOUND ? CLI_NO_DEVICE : code;
    }
    if (result.not_saved[0] &&
        strncmp(error.text, result.not_saved, strlen(result.not_saved)) != 0) { /* else said above */
        cli_error("not saved: %s", result.not_saved);
        code = CLI_NOT_SAVED;
    }
    code = judge_rows(job, &result, code);
    if (result.row_count) {
        code = report(job, &result, code);
    }
    mj_tune_result_free(&result);
    return code;
}

static cli_exit prepare(const cli_options *options, measure_job *job)
{
    memset(job, 0, sizeof *job);
    job->options = options;
    cli_exit code = cli_check_routings(options);
    if (code == CLI_OK) {
        code = cli_context(options, &job->context);
    }
    mj_error error = {MJ_OK, ""};
    if (code == CLI_OK && mj_context_spec(job->context, &job->spec, &error) != MJ_OK) {
        code = cli_fail(&error);
    }
    if (code == CLI_OK) {
        code = cli_resolve(options, job->context, &job->target);
    }
    if (code == CLI_OK && job->target.note[0] && !options->quiet) {
        fprintf(stderr, "note: %s: %s\n", job->target.label, job->target.note);
    }
    return code == CLI_OK ? fill(job) : code;
}

static cli_exit run_measure(const cli_options *options, measure_fn run)
{
    measure_job job;
    cli_exit code = prepare(options, &job);
    bool saves = options->command == CLI_CMD_TUNE && options->effort != MJ_EFFORT_ESTIMATE;
    if (code == CLI_OK && options->dry_run) {
        code = dry_run(&job);
    } else if (code == CLI_OK) {
        code = saves ? check_store(&job) : CLI_OK;
        if (code == CLI_OK) {
            code = measure(&job, run);
        }
    }
    mj_context_destroy(job.context);
    return code;
}

cli_exit cli_tune(const cli_options *options)
{
    return run_measure(options, mj_tune);
}

cli_exit cli_bench(const cli_options *options)
{
    return run_measure(options, mj_bench);
}

cli_exit cli_verify(const cli_options *options)
{
    return run_measure(options, mj_verify);
}
