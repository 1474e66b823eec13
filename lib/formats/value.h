#pragma once
/*
 * The values that cross the pipe, and the types of columns.
 *
 * A value keeps its full meaning: 64-bit integers, decimals and JSON of any length as text, timestamps with nanoseconds
 * and the offset they were written with, bytes, NULL distinct from empty. Text views are not NUL-terminated and belong
 * to whoever owns the frame.
 */
#include "lib/basics/calendar.h"

typedef enum ColumnType {
    COLUMN_STRING = 1,
    COLUMN_INTEGER, /* signed 64-bit */
    COLUMN_FLOAT,   /* IEEE 754 double, finite */
    COLUMN_BOOLEAN,
    COLUMN_DATE,
    COLUMN_TIMESTAMP, /* with or without a zone; the value tells */
    COLUMN_DECIMAL,   /* text: [-]digits[.digits], any length */
    COLUMN_JSON,      /* text: one valid JSON value */
    COLUMN_BINARY,
    /* Narrower ones, which only connectors declare (lib/formats/kind.h): */
    COLUMN_SHORT,    /* signed 16-bit */
    COLUMN_INT,      /* signed 32-bit */
    COLUMN_REAL,     /* IEEE 754 single; a value travels as the double nearest to its shortest decimal text */
    COLUMN_DATETIME, /* a timestamp without a zone */
    COLUMN_INSTANT,  /* a timestamp in UTC */
    _COLUMN_TYPE_MAX,
} ColumnType;

const char *column_type_name(ColumnType type);      /* "string", "integer", … as configuration files write it */
ColumnType column_type_from_name(const char *name); /* one that a file's column may have; 0 if unknown */

typedef enum ValueTag {
    VALUE_NULL = 0,
    VALUE_ABSENT, /* the operation does not name this column (update: leave it; upsert: NULL) */
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_INTEGER,
    VALUE_FLOAT,
    VALUE_DATE,
    VALUE_TIMESTAMP,
    VALUE_STRING,
    VALUE_DECIMAL,
    VALUE_JSON,
    VALUE_BINARY,
    _VALUE_TAG_MAX,
} ValueTag;

typedef struct Value {
    ValueTag tag;
    union {
        int64_t integer;
        double number;
        int32_t days; /* since 1970-01-01 */
        Timestamp timestamp;
        struct {
            const char *data;
            uint32_t length;
        } text; /* VALUE_STRING (valid UTF-8), VALUE_DECIMAL, VALUE_JSON, VALUE_BINARY */
    };
} Value;

/* Whether a column of TYPE may hold a value of TAG (NULL and ABSENT always). */
bool column_type_accepts(ColumnType type, ValueTag tag);
/* US microseconds after 1970 began, or before; in UTC. */
Value value_instant(int64_t us);
