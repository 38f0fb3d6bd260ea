/* cli_kernel.h: words of a command line or a script -> one kernel to build. */
#ifndef MOEJIT_CLI_KERNEL_H
#define MOEJIT_CLI_KERNEL_H

#include "gen.h"
#include "json.h"

typedef struct cli_kernel_words { /* NULL or 0: the default */
    const char *arch;             /* sm_90a */
    const char *op;               /* gemm1 */
    const char *family;           /* what the estimate would choose */
    const char *config;           /* likewise; names left out of it keep the family's default */
    uint32_t tokens;              /* what the estimate chooses for: 64 */
} cli_kernel_words;

typedef struct cli_kernel {
    mj_kernel_desc desc; /* config points at the member below: do not copy the struct */
    mj_config config;
    double estimate_us; /* 0: the config was given */
} cli_kernel;

/* Not checked for legality when a config is given. `problem` must outlive `out`. */
mj_status cli_kernel_resolve(const mj_spec *spec, const mj_problem *problem, const cli_kernel_words *words,
                             cli_kernel *out, mj_error *error);
/* The family's default values, with those of `text` (may be NULL) over them; unknown names are
 * refused. */
mj_status cli_kernel_config(const mj_space *space, const char *text, mj_config *out, mj_error *error);
/* For each family (or only one) that has desc.op on desc.arch: how many configs are legal, and which rules refuse the others.
 * As an item of `list`, or as lines of `text` where that is NULL. `*legal` counts over all. */
mj_status cli_space_map(const mj_spec *spec, mj_kernel_desc desc, const mj_space *only, mj_strbuf *text, mj_json *list,
                        uint64_t *legal, mj_error *error);

#endif
