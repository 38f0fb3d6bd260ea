/* select.h: which kernel serves which number of tokens, and why.
 *
 * Sources are asked in a fixed order, op by op:
 *     the store, rows tuned with this device's identity           MJ_ORIGIN_STORE       verified as the tune says
 *     the store, rows of the same arch (other device, driver ...) MJ_ORIGIN_STORE_ARCH  unverified: the first difference
 *     registered packs                                            MJ_ORIGIN_PACK        verified if checked on this identity
 *     the analytic estimate                                       MJ_ORIGIN_ESTIMATE    unverified
 * A source offers rows tuned at certain token counts. M tokens use the offer nearest in log scale: between neighbours a < b
 * the border is sqrt(a*b), which belongs to a. An offer reaches a factor of MJ_REACH to both sides; tokens that no offer of a
 * source reaches go to the next source. What is left when all sources were asked goes to the nearest offer of the first
 * source that has any, however far, and the reason says so. An offer whose kernel cannot be had is skipped and logged.
 *
 * An op that stands in for others (gemm1_act, gemm1_quantise, gemm2_combine) has no tokens of its own: where the first of the others was
 * given tokens, the same source is asked whether it is faster at what that row was tuned at. It then gets the same tokens; the others
 * keep theirs, one that itself stands in for some too: it is run where what replaces it cannot be had.
 */
#ifndef MOEJIT_SELECT_H
#define MOEJIT_SELECT_H

#include "plan.h"
#include "store.h"

#define MJ_REACH 8

typedef enum mj_supply {                  /* where an offer's kernel comes from */
                         MJ_SUPPLY_CACHE, /* cache_key in the compile cache, else made again from the manifest's config */
                         MJ_SUPPLY_REMAKE,  /* made again: the stored manifest is another generator's */
                         MJ_SUPPLY_BINARY,  /* in memory, from a pack */
                         MJ_SUPPLY_ESTIMATE /* chosen and built when it is needed */
} mj_supply;

typedef struct mj_offer {
    uint32_t token_count; /* tuned at; 0: good for any number */
    mj_supply supply;
    mj_manifest manifest;
    const char *tuned_on; /* of the store: the device's name */
    char key[MJ_SHA256_HEX];
    const void *binary;
    size_t binary_bytes;
    mj_origin origin;
    bool verified;
    char reason[112]; /* first part of the row's reason; "" when there is nothing to explain */
    double time_us_median;
    double us;              /* the time that the source has: another device's too, or the estimate's; 0: none */
    double instead_us;      /* of an op that stands in for others: what these take, likewise */
    mj_op instead;          /* while the estimate is asked: the GEMM that instead_us is of so far */
    bool is_of_another_cpu; /* a binary that must not be loaded here: the reason says so */
    bool dead;              /* its kernel cannot be had */
} mj_offer;

typedef struct mj_offers { /* of one source, for one op, sorted by token_count */
    uint32_t count, capacity;
    mj_offer *items;
} mj_offers;

/* A zeroed offer at the end, or NULL when out of memory. */
mj_offer *mj_offers_add(mj_context *context, mj_offers *offers);

/* Both of one version: then their identities differ by the CPU alone. */
bool mj_is_same_compiler(const char *a, const char *b);
/* A binary made for "native", the CPU of the machine that compiled it, and that was another: the same compiler says so. Where there is
 * none here, or another version, the CPU's name must do, as far as it is known (`name` null or empty: not). */
bool mj_is_of_another_cpu(const mj_device *device, const mj_manifest *manifest, const char *compiler, const char *name);

/* Fills plan->entries, ops and kernels. */
mj_status mj_select(mj_plan *plan, mj_error *error);

/* The tokens that an offer between neighbours serves (0: no neighbour), limited to its reach. select.c, for tests. */
typedef struct mj_token_range {
    uint32_t from, to; /* empty: from > to */
} mj_token_range;
mj_token_range mj_offer_range(uint32_t before, uint32_t tokens, uint32_t after, uint32_t reach);

/* ---- Sources ---- */
typedef struct mj_store_source { /* select_store.c: the files that bear on a plan, own device first */
    uint32_t count;
    struct {
        char name[256];
        mj_store_file file;
        bool exact;          /* identity equal */
        char difference[96]; /* if not: the first */
    } files[8];
} mj_store_source;

mj_status mj_store_source_open(mj_plan *plan, mj_store_source *out, mj_error *error);
void mj_store_source_close(mj_store_source *source);
/* Of an op that stands in for others, here and in a pack: only where it is the faster. */
mj_status mj_store_source_offers(mj_plan *plan, const mj_store_source *source, uint32_t file_index, mj_op op,
                                 mj_offers *out, mj_error *error);

/* pack.c: what `pack` holds for the plan's problem and arch; none is MJ_OK. */
mj_status mj_pack_offers(mj_plan *plan, const mj_pack *pack, mj_op op, mj_offers *out, mj_error *error);

#endif
