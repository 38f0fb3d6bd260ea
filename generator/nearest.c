/* nearest.c: the known name a wrong one was probably meant to be, and whether a list has a name. */
#include "gen.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX 96

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Letters to insert, delete or replace, case ignored; one row of the classic table at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b), row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            size_t replaced = diagonal + !same;
            diagonal = row[j];
            row[j] = min3(row[j] + 1, row[j - 1] + 1, replaced);
        }
    }
    return row[b_length];
}

/* The shortest name that goes on from what was typed: "int4" is far from "int4_w4a16". */
static const char *shortest_beginning_with(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t length = strlen(word);
    for (size_t i = 0; length >= 3 && i < count; i++) {
        if (strncasecmp(names[i], word, length) == 0 && (!best || strlen(names[i]) < strlen(best))) {
            best = names[i];
        }
    }
    return best;
}

const char *mj_nearest_name(const char *word, const char *const *names, size_t count)
{
    size_t length = strlen(word), best_distance = length / 3 + 2; /* farther is no likely slip */
    const char *best = NULL;
    if (length > WORD_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) > WORD_MAX) {
            continue;
        }
        size_t distance = edit_distance(word, names[i]);
        /* "sm_90" is as near to "sm_80" as to "sm_90a": what was typed whole, and then broken off, comes first */
        bool tie_won = best && distance == best_distance && strncmp(names[i], word, length) == 0 &&
                       strncmp(best, word, length) != 0;
        if ((distance < best_distance || tie_won) && distance < strlen(names[i])) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best ? best : shortest_beginning_with(word, names, count);
}

bool mj_list_has(const mj_name_list *list, const char *name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}
