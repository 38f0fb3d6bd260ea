/* spec_internal.h: what spec.c and spec_rules.c share. */
#ifndef MOEJIT_SPEC_INTERNAL_H
#define MOEJIT_SPEC_INTERNAL_H

#include "gen.h"
#include "spec_sandbox.h"

/* One kind of data file; names sort the array. */
typedef struct mj_spec_list {
    char *rows; /* count structs of the kind, each beginning with its name */
    uint32_t count;
} mj_spec_list;

/* ORDER KIND: spec.c */
typedef enum mj_spec_kind { MJ_KIND_ARCH, MJ_KIND_SCHEME, MJ_KIND_SPACE, MJ_KIND_MODEL, MJ_KIND_COUNT } mj_spec_kind;

typedef struct mj_rule_cache mj_rule_cache;

struct mj_spec {
    mj_files *files;
    mj_spec_list lists[MJ_KIND_COUNT];
    mj_sandbox **sandboxes; /* one per space, holds its rules; NULL: the space has none */
    mj_rule_cache *caches;  /* one per space */
    mj_spec_options options;
};

/* spec_rules.c. Keeps the file's table (on top of the stack) where the rules find it. May raise. */
void mj_rules_keep(struct lua_State *state);
mj_rule_cache *mj_rule_caches_new(uint32_t count);
void mj_rule_caches_free(mj_rule_cache *caches);

#endif
