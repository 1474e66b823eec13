#pragma once
/*
 * What a column may be, from the values seen of it: a type stays possible for as long as the converter that loads files
 * takes every value, so that what was drafted from a file also loads it.
 */
#include "connectors/sources/files/convert.h"

/* Texts that mean "no value" in many a CSV file. Only one of them can be a pipeline's `csv.null`. */
enum { NULL_MARKERS = 10 };
extern const char *const null_markers[NULL_MARKERS];
#define NO_MARKER NULL_MARKERS

typedef struct DraftColumn {
    char *name;           /* owned, N bytes and a NUL; NULL: the file gives no names */
    size_t length;        /* of the name, which may hold a NUL */
    const char *left_out; /* why no pipeline can have this column; NULL: it can */
    char *dest;           /* owned; set when all is seen */
    uint64_t values, nulls;
    uint64_t markers[NULL_MARKERS]; /* counted neither as values nor as nulls */
    unsigned possible;              /* 1 << ColumnType */
    unsigned signs;                 /* private: what the values look like */
    bool seen_here;                 /* in this row, or in this file's header */
    ColumnType stated;              /* by the file itself; 0: it is inferred from values */
    const char *note;               /* to that: what a person should know of it; NULL: nothing */
} DraftColumn;

typedef struct Inferrer {
    Converter converter;
    Buffer scratch;
} Inferrer;

void draft_column_init(DraftColumn *column, const char *name, size_t n); /* NAME may be NULL */
void draft_column_clear(DraftColumn *column);

/* A field of CSV or fixed width. QUOTED: it cannot be a null marker. */
void draft_column_field(DraftColumn *column, Inferrer *inferrer, const char *text, size_t n, bool quoted);
/* A member of a JSON object. */
void draft_column_json(DraftColumn *column, Inferrer *inferrer, yyjson_val *value);

/* The type with MARKER (or NO_MARKER) as the text of NULL. *RET_COMMENT: what a person should know of it; NULL:
 * nothing. */
ColumnType draft_column_type(const DraftColumn *column, size_t marker, const char **ret_comment);
uint64_t draft_column_nulls(const DraftColumn *column, size_t marker);
/* The marker that gives most columns a better type than text. */
size_t draft_choose_marker(const DraftColumn *columns, size_t count);

/* Whether a row of such values may be a header: TEXT is neither number, date nor the like. */
bool draft_may_be_name(Inferrer *inferrer, const char *text, size_t n);
