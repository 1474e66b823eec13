/*
 * What the columns of a keyed table are declared as, what the declarations of a table that is there mean, and how
 * values that are there become those of a wider kind.
 *
 * A DECIMAL of any size is text, since DuckDB's has 38 digits: that it is one stands in _wherry_columns. The texts that
 * values get in a VARCHAR column are those of value_text(), written in SQL: an ALTER is replayed from the WAL by
 * whichever program opens the database next, so it must not call a function of ours.
 */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "connectors/destinations/duckdb/keyed.h"

static const struct {
    const char *declared;
    ColumnType type;
} declarations[] = {
    { "VARCHAR", COLUMN_STRING },     { "SMALLINT", COLUMN_SHORT },
    { "INTEGER", COLUMN_INT },        { "BIGINT", COLUMN_INTEGER },
    { "FLOAT", COLUMN_REAL },         { "DOUBLE", COLUMN_FLOAT },
    { "BOOLEAN", COLUMN_BOOLEAN },    { "DATE", COLUMN_DATE },
    { "TIMESTAMP", COLUMN_DATETIME }, { "TIMESTAMP WITH TIME ZONE", COLUMN_INSTANT },
    { "JSON", COLUMN_JSON },          { "BLOB", COLUMN_BINARY },
};

bool duck_is_any_decimal(Kind kind)
{
    return kind.type == COLUMN_DECIMAL && kind.precision == 0;
}

const char *duck_declaration(Kind kind, char ret[static DUCK_DECLARATION_MAX])
{
    const char *declared = "VARCHAR";
    for (size_t i = 0; i < ELEMENTSOF(declarations); i++)
        if (declarations[i].type == kind.type)
            declared = declarations[i].declared;
    if (kind.type == COLUMN_DECIMAL && kind.precision > 0)
        snprintf(ret, DUCK_DECLARATION_MAX, "DECIMAL(%u,%u)", kind.precision, kind.scale);
    else
        snprintf(ret, DUCK_DECLARATION_MAX, "%s", declared);
    return ret;
}

bool duck_declared_kind(const char *declared, Kind *ret)
{
    unsigned precision, scale;
    for (size_t i = 0; i < ELEMENTSOF(declarations); i++)
        if (strcmp(declarations[i].declared, declared) == 0) {
            *ret = (Kind){ .type = declarations[i].type };
            return true;
        }
    if (sscanf(declared, "DECIMAL(%u,%u)", &precision, &scale) != 2)
        return false;
    *ret = (Kind){ .type = COLUMN_DECIMAL, .precision = (uint8_t)precision, .scale = (uint8_t)scale };
    return true;
}

/* --- widening --- */

/* The double nearest to the shortest text of a single, not to the single itself. DuckDB's own text of one is not always
 * the shortest. */
static void put_single(Buffer *sql, const char *column)
{
    buffer_append_string(sql, "CAST(CASE ");
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        _cleanup_(freep) char *text = xasprintf("printf('%%.%dg', CAST(%s AS DOUBLE))", digits, column);
        if (digits < FLT_DECIMAL_DIG)
            buffer_printf(sql, "WHEN CAST(%s AS FLOAT) = %s THEN %s ", text, column, text);
        else
            buffer_printf(sql, "ELSE %s END AS DOUBLE)", text);
    }
}

static void put_operand(Buffer *sql, const char *column, Kind from)
{
    if (from.type != COLUMN_REAL) {
        sql_quote(sql, column);
        return;
    }
    _cleanup_(buffer_clear) Buffer quoted = { 0 };
    sql_quote(&quoted, column);
    _cleanup_(freep) char *name = buffer_take_string(&quoted);
    put_single(sql, name);
}

/* EXPRESSION with each @ replaced by the operand. */
static void put_for(Buffer *sql, const char *expression, const char *column, Kind from)
{
    for (const char *c = expression; *c; c++) {
        if (*c == '@')
            put_operand(sql, column, from);
        else
            buffer_append(sql, c, 1);
    }
}

/* DuckDB's own text of a float is its shortest, like ours, but may have an exponent. */
#define FLOAT_TEXT "CAST(@ AS VARCHAR)"
#define FLOAT_DIGITS "replace(regexp_extract(" FLOAT_TEXT ", '^-?([0-9.]+)e', 1), '.', '')"
#define FLOAT_EXPONENT "CAST(regexp_extract(" FLOAT_TEXT ", 'e[+]?(.*)$', 1) AS INTEGER)"
#define FLOAT_LARGE                                                                                            \
    "CASE WHEN " FLOAT_EXPONENT " + 1 >= length(" FLOAT_DIGITS ") THEN rpad(" FLOAT_DIGITS ", " FLOAT_EXPONENT \
    " + 1, '0') ELSE left(" FLOAT_DIGITS ", " FLOAT_EXPONENT " + 1) || '.' || substr(" FLOAT_DIGITS            \
    ", " FLOAT_EXPONENT " + 2) END"
#define FLOAT_SMALL "'0.' || repeat('0', -" FLOAT_EXPONENT " - 1) || " FLOAT_DIGITS
/* What may have been an integer, or still become one, is written as that integer. */
static const char float_text[] =
    "CASE WHEN @ IS NULL THEN NULL WHEN abs(@) < 9223372036854775808 AND @ = trunc(@) THEN"
    " CAST(CAST(@ AS BIGINT) AS VARCHAR) WHEN NOT contains(" FLOAT_TEXT ", 'e') THEN regexp_replace(" FLOAT_TEXT
    ", '[.]0$', '') ELSE CASE WHEN @ < 0 THEN '-' ELSE '' END || CASE"
    " WHEN " FLOAT_EXPONENT " < 0 THEN " FLOAT_SMALL " ELSE " FLOAT_LARGE " END END";

/* A space for the T, microseconds as six digits. */
#define MOMENT_TEXT(moment)                                                                                  \
    "CASE WHEN length(CAST(" moment " AS VARCHAR)) > 19 THEN rpad(replace(CAST(" moment " AS VARCHAR), ' '," \
    " 'T'), 26, '0') ELSE replace(CAST(" moment " AS VARCHAR), ' ', 'T') END"
/* Others may have written times that Wherry does not: their text is DuckDB's. */
#define HAS_TEXT(moment) moment " >= '0001-01-01' AND " moment " < '10000-01-01'"
#define IN_UTC "make_timestamp(epoch_us(@))"
static const char datetime_text[] =
    "CASE WHEN CAST(@ AS VARCHAR) LIKE '% 00:00:00' THEN CAST(CAST(@ AS DATE) AS"
    " VARCHAR) WHEN " HAS_TEXT("@") " THEN " MOMENT_TEXT("@") " ELSE CAST(@ AS VARCHAR) END";
static const char instant_text[] = "CASE WHEN isinf(@) THEN CAST(@ AS VARCHAR) WHEN " HAS_TEXT(
    IN_UTC) " THEN " MOMENT_TEXT(IN_UTC) " || 'Z' ELSE CAST(" IN_UTC " AS VARCHAR) || '+00' END";

static const char *text_of(Kind kind)
{
    switch (kind.type) {
    case COLUMN_DECIMAL:
        /* ".50" where all digits are after the point */
        return kind.scale > 0 ? "rtrim(rtrim(regexp_replace(CAST(@ AS VARCHAR), '^(-?)[.]', '\\10.'), '0'), '.')"
                              : "CAST(@ AS VARCHAR)";
    case COLUMN_REAL:
    case COLUMN_FLOAT:
        return float_text;
    case COLUMN_DATETIME:
        return datetime_text;
    case COLUMN_INSTANT:
        return instant_text;
    case COLUMN_BINARY:
        return "base64(@)";
    default:
        return "CAST(@ AS VARCHAR)";
    }
}

void duck_put_widened(Buffer *sql, const char *column, Kind from, Kind to)
{
    char declaration[DUCK_DECLARATION_MAX];
    duck_declaration(to, declaration);
    if (to.type == COLUMN_STRING || duck_is_any_decimal(to)) {
        put_for(sql, text_of(from), column, from);
        return;
    }
    put_for(sql, "CAST(@ AS ", column, from);
    buffer_printf(sql, "%s)", declaration);
}
