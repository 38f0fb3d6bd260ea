/* schema.h: what a data file may say: one row per key. The same rows check a file (spec_read.c), fill the C struct and
 * describe the format to people (mj_schema_describe). */
#ifndef MOEJIT_SCHEMA_H
#define MOEJIT_SCHEMA_H

#include "gen.h"

typedef enum mj_field_type {                  /* ORDER FIELD: schema.c, spec_read.c */
                             MJ_FIELD_STRING, /* char[capacity]; `choices` restricts it */
                             MJ_FIELD_U32,
                             MJ_FIELD_I32,
                             MJ_FIELD_REAL, /* double */
                             MJ_FIELD_BOOL,
                             MJ_FIELD_ACTIVATION, /* mj_activation by name */
                             MJ_FIELD_NAMES,      /* mj_name_list; `choices` restricts it */
                             MJ_FIELD_STRINGS,    /* char[capacity][element_bytes], count beside */
                             MJ_FIELD_U32S,       /* uint32_t[capacity], count beside */
                             MJ_FIELD_I32S,       /* int32_t[capacity], count beside */
                             MJ_FIELD_REALS,      /* double[capacity], count beside; NaN allowed */
                             MJ_FIELD_RECORD,     /* a nested table, its rows in `record` */
                             MJ_FIELD_RECORDS,  /* a list of them: [capacity] structs of element_bytes, count beside */
                             MJ_FIELD_FUNCTION, /* stays in Lua */
                             MJ_FIELD_TYPE_COUNT
} mj_field_type;

typedef struct mj_field {
    const char *name;
    mj_field_type type;
    bool optional;
    double min, max;  /* of a number, or of each number of a list */
    double fallback;  /* of an optional number or bool */
    const char *text; /* of an optional string */
    const char *unit, *doc;
    size_t offset;   /* in the struct that holds the record */
    size_t capacity; /* bytes of a string; elements of a list */
    size_t element_bytes;
    size_t count_offset;        /* uint32_t with a list's length */
    const char *const *choices; /* NULL-ended */
    const struct mj_schema *record;
} mj_field;

typedef struct mj_schema {
    const char *what; /* "arch" */
    const mj_field *fields;
    uint32_t count;
} mj_schema;

extern const mj_schema mj_schema_arch, mj_schema_scheme, mj_schema_space, mj_schema_model;

/* The rows as text, one per line: key, type, unit, range, default, meaning. */
void mj_schema_describe(const mj_schema *schema, mj_strbuf *out);

#endif
