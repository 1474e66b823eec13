#pragma once
/*
 * The types of connectors' columns: what they are called, how they widen, and what a value looks like in a wider one.
 *
 * A kind is a column type with a decimal's size. Kinds form a lattice, in which a mixture widens to the narrowest kind
 * that holds both without loss:
 *
 *     SHORT < INT < LONG < DECIMAL          NAIVE_DATE < NAIVE_DATETIME          FLOAT < DOUBLE
 *     whole numbers with FLOAT or DOUBLE: DOUBLE, while every one of them is exact in it, else STRING
 *     any other mixture: STRING
 *
 * Each value has one text (value_text()), which does not depend on the kinds that it went through on its way to STRING:
 * numbers in their shortest exact decimal form, without exponent and trailing zeros (a float that is whole and below
 * 2^63 as that very integer); true and false; dates and times as
 * ISO 8601, a naive datetime at midnight as its date, an instant with Z; JSON compact with its keys sorted and its
 * numbers without exponents; bytes in base64. So a column's final content does not depend on where batches are cut.
 */
#include "lib/basics/buffer.h"
#include "lib/basics/error.h"
#include "lib/formats/value.h"

#define DECIMAL_DIGITS_MAX 38 /* a sized decimal has no more; a larger one is of any size */

typedef struct Kind {
    ColumnType type;
    uint8_t precision, scale; /* decimals: digits in all, and after the point; 0, 0: any. Else 0. */
} Kind;

#define KIND_NAME_MAX 24
/* As Fivetran's SDK calls it: "LONG", "DECIMAL(10,2)", "UTC_DATETIME". Returns RET. */
const char *kind_name(Kind kind, char ret[static KIND_NAME_MAX]);
/* A name of Fivetran's SDK, in any case ("XML" is STRING); DECIMAL has no size yet. false: unknown. */
bool kind_from_name(const char *name, Kind *ret);

static inline bool kind_equal(Kind a, Kind b)
{
    return a.type == b.type && a.precision == b.precision && a.scale == b.scale;
}
static inline bool kind_is_whole(Kind kind)
{
    return kind.type == COLUMN_SHORT || kind.type == COLUMN_INT || kind.type == COLUMN_INTEGER;
}

/* The narrowest kind that holds both. Whole numbers with floats give DOUBLE: whether all of them are exact is for the
 * caller to know (integer_is_exact()). */
Kind kind_join(Kind a, Kind b);
/* What an undeclared value is: BOOLEAN, LONG, DOUBLE, NAIVE_DATE, NAIVE_DATETIME, UTC_DATETIME, STRING, JSON, BINARY,
 * or a DECIMAL just large enough. {0} for NULL and ABSENT. */
Kind kind_of_value(const Value *value);
/* Whether a column of KIND holds VALUE as it is or converted without loss, NULL and ABSENT always. */
bool kind_holds(Kind kind, const Value *value);

/* Whether a double holds the integer exactly and has the same text: so do all up to 2^53. Of the larger ones it holds
 * some, but may show them by fewer digits (2^60 as 1152921504606847000), so that a STRING column would tell by which
 * way they came. */
static inline bool integer_is_exact(int64_t integer)
{
    return integer >= -(INT64_C(1) << 53) && integer <= INT64_C(1) << 53;
}

/* Appends the value's one text; nothing for NULL and ABSENT. */
void value_text(const Value *value, Buffer *text);
/* VALUE as a column of KIND keeps it; only where kind_holds(). Text is appended to TEXT, and RET may point into it: it
 * holds until TEXT grows again, so give each value that must live at the same time room first. An instant is shifted to
 * UTC (offset 0), a DECIMAL gets no trailing zeros, a whole DECIMAL loses nothing as LONG never is one. */
Value value_convert(const Value *value, Kind kind, Buffer *text);
/* JSON text, compact, numbers without exponents, keys sorted by bytes, of equal keys the last; text that is not JSON is
 * appended as it is. */
void json_canonical(const char *text, size_t length, Buffer *ret);
/* No fewer bytes than the canonical text of that JSON has. Numbers with exponents can make it hundreds of times as long
 * as TEXT, so whoever takes foreign JSON looks at this first. */
size_t json_canonical_bound(const char *text, size_t length);
