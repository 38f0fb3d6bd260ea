/* fake_script.h: what the fake vendor libraries share: the rules of a script, counted calls, results that stay, objects that must
 * be given back. Included once, by a library that then defines the three functions below. */
#ifndef MOEJIT_FAKE_SCRIPT_H
#define MOEJIT_FAKE_SCRIPT_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
enum { RULES_MAX = 32, NAMES_MAX = 64 };

typedef struct rule {
    char function[64];
    int nth, result;
} rule;
typedef struct counter {
    char name[64];
    long count;
} counter;
typedef struct fake_setting { /* "name=value" in a script */
    const char *name;
    int *value;
} fake_setting;

static struct {
    pthread_mutex_t lock;
    int ready, sticky, rule_count, counter_count;
    rule rules[RULES_MAX];
    counter counters[NAMES_MAX];
    long live;
} script_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const fake_setting *fake_settings(void); /* ends with a NULL name */
static void fake_defaults(void);                /* sets the settings, and all else that a reset forgets */
static const char *fake_variable(void);         /* the environment variable with the first script */

static int read_rule(const char *text)
{
    char name[64];
    int nth = 0, result = 0;
    if (sscanf(text, " %63[A-Za-z0-9_]@%d=%d", name, &nth, &result) != 3) {
        nth = 0;
        if (sscanf(text, " %63[A-Za-z0-9_]=%d", name, &result) != 2) {
            return 0;
        }
    }
    for (const fake_setting *s = fake_settings(); s->name; s++) {
        if (strcmp(name, s->name) == 0) {
            *s->value = result;
            return 1;
        }
    }
    if (script_state.rule_count == RULES_MAX) {
        return 0;
    }
    rule *r = &script_state.rules[script_state.rule_count++];
    *r = (rule){.nth = nth, .result = result};
    memcpy(r->function, name, sizeof name);
    return 1;
}

static int read_script(const char *script)
{
    while (script && *script) {
        char text[128];
        size_t bytes = strcspn(script, ";");
        snprintf(text, sizeof text, "%.*s", (int)(bytes < 127 ? bytes : 127), script);
        if (text[0] && !read_rule(text)) {
            return 0;
        }
        script += bytes + (script[bytes] == ';');
    }
    return 1;
}

static void make_ready(void)
{
    if (!script_state.ready) {
        script_state.ready = 1;
        fake_defaults();
        read_script(getenv(fake_variable()));
    }
}

static void fake_reset(void)
{
    pthread_mutex_lock(&script_state.lock);
    script_state.ready = script_state.sticky = script_state.rule_count = script_state.counter_count = 0;
    make_ready();
    pthread_mutex_unlock(&script_state.lock);
}

static int fake_script(const char *script)
{
    pthread_mutex_lock(&script_state.lock);
    make_ready();
    int good = read_script(script);
    pthread_mutex_unlock(&script_state.lock);
    return good;
}

/* Calls of a function so far. */
static long fake_calls(const char *function)
{
    for (int i = 0; i < script_state.counter_count; i++) {
        if (strcmp(script_state.counters[i].name, function) == 0) {
            return script_state.counters[i].count;
        }
    }
    return 0;
}

static long count_call(const char *function)
{
    for (int i = 0; i < script_state.counter_count; i++) {
        if (strcmp(script_state.counters[i].name, function) == 0) {
            return ++script_state.counters[i].count;
        }
    }
    if (script_state.counter_count < NAMES_MAX) {
        counter *c = &script_state.counters[script_state.counter_count++];
        snprintf(c->name, sizeof c->name, "%s", function);
        c->count = 1;
    }
    return 1;
}

/* Counts the call; what the script has for it. on_device: an earlier result of 700 to 799 stays, too. */
static int fake_call(const char *function, int on_device)
{
    pthread_mutex_lock(&script_state.lock);
    make_ready();
    long nth = count_call(function);
    int result = on_device ? script_state.sticky : 0;
    for (int i = 0; i < script_state.rule_count && result == 0; i++) {
        const rule *r = &script_state.rules[i];
        result = strcmp(r->function, function) == 0 && (r->nth == 0 || r->nth == nth) ? r->result : 0;
    }
    if (result >= 700 && result < 800) {
        script_state.sticky = result;
    }
    pthread_mutex_unlock(&script_state.lock);
    return result;
}

static void *make(size_t bytes)
{
    size_t room = (bytes ? bytes + 255 : 256) / 256 * 256; /* device memory is aligned to 256 */
    void *object = aligned_alloc(256, room);
    script_state.live++;
    return object ? memset(object, 0, room) : NULL;
}
static int drop(void *object)
{
    script_state.live -= object != NULL;
    free(object);
    return 0;
}

#endif
