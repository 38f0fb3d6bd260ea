/* mutants.h: seeded mutants of generated sources: one mistake put in must be caught under the host prelude, and without it the
 * source must pass.
 *
 * A mutant is a replacement of text that has to occur exactly `times` times in the body: when a template changes so that it no
 * longer occurs, the mutant fails and is to be written anew. */
#ifndef MOEJIT_MUTANTS_H
#define MOEJIT_MUTANTS_H

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gen_fixture.h"
#include "host_run.h"

typedef struct mutant_base {
    const char *name, *problem, *arch, *family;
    mj_op op;
    const char *config;
} mutant_base;

typedef struct mutant {
    const char *name;
    int base, times;
    const char *find, *replace;
} mutant;

typedef struct mutant_outcome { /* shared between processes */
    host_result result;
    bool done;
    char why[300];
} mutant_outcome;

typedef struct mutant_set {
    const mutant_base *bases;
    int base_count;
    const mutant *mutants;
    int mutant_count;
    const char *filter; /* NULL: all */
    mutant_outcome *outcomes;
} mutant_set;

/* Index below base_count: the unchanged source; above: a mutant. NULL: filtered away. */
static inline const mutant_base *mutants_pick(const mutant_set *set, int index, const mutant **found)
{
    *found = index < set->base_count ? NULL : &set->mutants[index - set->base_count];
    if (*found && set->filter && !strstr((*found)->name, set->filter)) {
        return NULL;
    }
    return &set->bases[*found ? (*found)->base : index];
}

/* Replaces in the body; false if the text does not occur `times` times. */
static inline bool mutants_apply(const mj_kernel_source *source, const mutant *m, mj_strbuf *out)
{
    const char *at = source->text + source->body_offset, *hit = NULL;
    int times = 0;
    mj_strbuf_add(out, source->text, source->body_offset);
    while ((hit = strstr(at, m->find))) {
        mj_strbuf_add(out, at, (size_t)(hit - at));
        mj_strbuf_add(out, m->replace, strlen(m->replace));
        at = hit + strlen(m->find);
        times++;
    }
    mj_strbuf_add(out, at, strlen(at));
    return times == m->times && !out->failed;
}

static inline bool mutants_are_due(int index)
{
    return !CHECK_SANITIZED || index % 4 == 0;
}

/* The kernel of the same config that writes values where this one writes their codes, or rows of pairs where it adds them. */
static inline bool mutants_need_beside(mj_op op)
{
    return mj_op_is_gemm(op) && (mj_op_writes_codes(op) || mj_op_combines(op));
}

static inline bool mutants_beside(mj_kernel_desc desc, mj_kernel_source *out, mj_error *error)
{
    desc.op = mj_op_part(desc.op, 0);
    return mj_generate(fixture_spec, &desc, "host", out, error) == MJ_OK;
}

static inline void mutants_run_one(const mutant_base *base, const mutant *m, mutant_outcome *out)
{
    fixture f;
    mj_kernel_source source = {0}, beside = {0};
    mj_error error = {0};
    mj_strbuf text = {0};
    bool two = mutants_need_beside(base->op);
    out->result = HOST_BROKEN;
    if (!fixture_kernel(&f, base->problem, base->arch, base->family, base->op, base->config) ||
        mj_generate(fixture_spec, &f.desc, "host", &source, &error) != MJ_OK ||
        (two && !mutants_beside(f.desc, &beside, &error))) {
        snprintf(out->why, sizeof out->why, "%.250s", error.text);
    } else if (m && !mutants_apply(&source, m, &text)) {
        snprintf(out->why, sizeof out->why, "its text does not occur %d times: %.200s", m->times, m->find);
    } else {
        out->result = host_check_beside(&f.desc, &source.manifest, m ? text.text : source.text,
                                        two ? &beside.manifest : NULL, beside.text, out->why, sizeof out->why);
    }
    mj_kernel_source_free(&source);
    mj_kernel_source_free(&beside);
    mj_strbuf_free(&text);
    out->done = true;
}

static inline void mutants_judge(const mutant_base *base, const mutant *m, const mutant_outcome *o)
{
    static char name[80];
    snprintf(name, sizeof name, "%s%s", m ? "" : "unchanged_", m ? m->name : base->name);
    check_state.name = name;
    if (!o->done) {
        check_fail(__FILE__, __LINE__, "not run");
    } else if (o->result == HOST_BROKEN || o->result == HOST_NO_COMPILE || (!m && o->result != HOST_RIGHT)) {
        check_fail(__FILE__, __LINE__, "%s: %s", host_result_name(o->result), o->why);
    } else if (m && o->result == HOST_RIGHT) {
        check_fail(__FILE__, __LINE__, "not caught");
    } else {
        printf("ok %s%s%s%s%s\n", name, m ? ": " : "", m ? host_result_name(o->result) : "", o->why[0] ? ": " : "",
               o->why);
    }
}

/* Two processes share the work. The spec is open. Returns false if it could not be done. */
static inline bool mutants_run(mutant_set *set)
{
    enum { WORKERS = 2 };
    int count = set->base_count + set->mutant_count;
    size_t bytes = (size_t)count * sizeof *set->outcomes;
    const mutant *m = NULL;
    set->outcomes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (set->outcomes == MAP_FAILED) {
        return false;
    }
    fflush(stdout);
    for (int w = 0; w < WORKERS; w++) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = w * 4; i < count; i += i % 4 == 3 ? 4 * WORKERS - 3 : 1) { /* four at a time */
                const mutant_base *base = mutants_pick(set, i, &m);
                if (base && mutants_are_due(i)) {
                    mutants_run_one(base, m, &set->outcomes[i]);
                }
            }
            fflush(stdout);
            _exit(0);
        }
        if (child < 0) {
            return false;
        }
    }
    while (wait(NULL) > 0) {
    }
    for (int i = 0; i < count; i++) {
        const mutant_base *base = mutants_pick(set, i, &m);
        if (base && mutants_are_due(i)) {
            mutants_judge(base, m, &set->outcomes[i]);
        }
    }
    munmap(set->outcomes, bytes);
    return true;
}

/* The whole test: what main returns. An argument runs only the mutants whose name contains it. */
static inline int mutants_main(int argc, char **argv, mutant_set set)
{
    CHECK_BEGIN(argc, argv);
    set.filter = argc > 1 ? argv[1] : NULL;
    if (!fixture_open() || !mutants_run(&set)) {
        printf("FAIL set_up: no memory, no process or no spec\n");
        return 1;
    }
    mj_spec_free(fixture_spec);
    return CHECK_END();
}

#endif
