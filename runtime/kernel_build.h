/* kernel_build.h: kernels made on the spot, with the generator. Without it every function is MJ_ERR_UNSUPPORTED. */
#ifndef MOEJIT_KERNEL_BUILD_H
#define MOEJIT_KERNEL_BUILD_H

#include "launch.h"

typedef struct mj_built { /* mj_built_free */
    mj_manifest manifest;
    mj_cache_entry entry; /* binary and key */
    double estimate_us;   /* of a kernel that was chosen by it; else 0 */
    double instead_us;    /* likewise, of the ops that it stands in for */
} mj_built;
void mj_built_free(mj_built *built);

/* generate -> compile through the cache. Needs no device: `backend_name` picks the compiler. */
mj_status mj_kernel_compile(mj_context *context, const char *backend_name, const mj_kernel_desc *desc, mj_built *out,
                            mj_error *error);
/* The kernel that `manifest` describes, generated again from its problem, arch, op, family and config. */
mj_status mj_kernel_remake(mj_context *context, const char *backend_name, const mj_manifest *manifest, mj_built *out,
                           mj_error *error);
struct mj_ranking;
/* What a kernel is chosen for. */
typedef struct mj_wanted {
    const mj_problem *problem;
    const char *arch;
    mj_op op;
    const char *family;      /* NULL: any */
    uint32_t token_count;    /* of GEMMs; 0: the family's default config, nothing is estimated */
    const mj_device *device; /* corrects the arch's typical figures; NULL: not there */
    mj_op instead;     /* an op that stands in for others: the GEMM among them, which may stand in for some itself */
    double instead_us; /* its estimate */
    /* NULL, or where to keep what the op has to choose from, for its next token count: of the same problem, family and context, not from
     * two threads. First NULL, at the end mj_kernel_forget. */
    struct mj_ranking **ranking;
} mj_wanted;
/* GEMMs with a token count: the estimate's best that also compiles. Else the default config of the first family of the
 * arch that has the op. An op that stands in for others: MJ_ERR_NOT_FOUND unless the estimate takes it for the faster,
 * MJ_ERR_UNSUPPORTED where only the reference has it. */
mj_status mj_kernel_choose(mj_context *context, const char *backend_name, const mj_wanted *wanted, mj_built *out,
                           mj_error *error);
void mj_kernel_forget(struct mj_ranking **ranking);
/* "cuda" for an NVIDIA arch, "cpu": whose compiler builds for it. */
mj_status mj_arch_backend(mj_context *context, const char *arch, const char **backend_name, mj_error *error);

#endif
