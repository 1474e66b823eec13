/*
 * PostgreSQL's types by their oids, which are fixed for built-in ones (src/include/catalog/pg_type.dat), and what they
 * mean to us.
 */
#include "connectors/destinations/postgres/postgres.h"

#define TIMESTAMP_DIGITS 6 /* of a second, that a timestamp holds */
#define VARCHAR_HEADER 4   /* VARHDRSZ, which a varchar's modifier counts in */

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
    OID_JSONB = 3802,
};

static const struct {
    PgType type;
    const char *name;
} types[_COLUMN_TYPE_MAX] = {
    [COLUMN_STRING] = { PG_TEXT, "text" },
    [COLUMN_INTEGER] = { PG_INT8, "bigint" },
    [COLUMN_FLOAT] = { PG_FLOAT8, "double precision" },
    [COLUMN_BOOLEAN] = { PG_BOOL, "boolean" },
    [COLUMN_DATE] = { PG_DATE, "date" },
    [COLUMN_TIMESTAMP] = { PG_TIMESTAMPTZ, "timestamp with time zone" },
    [COLUMN_DECIMAL] = { PG_NUMERIC, "numeric" },
    [COLUMN_JSON] = { PG_JSONB, "jsonb" },
    [COLUMN_BINARY] = { PG_BYTEA, "bytea" },
    [COLUMN_SHORT] = { PG_INT2, "smallint" },
    [COLUMN_INT] = { PG_INT4, "integer" },
    [COLUMN_REAL] = { PG_FLOAT4, "real" },
    [COLUMN_DATETIME] = { PG_TIMESTAMP, "timestamp without time zone" },
    [COLUMN_INSTANT] = { PG_TIMESTAMPTZ, "timestamp with time zone" },
};

static const struct {
    uint32_t oid;
    PgType type;
    ColumnType kind;
} known[] = {
    { OID_BOOL, PG_BOOL, COLUMN_BOOLEAN },
    { OID_BYTEA, PG_BYTEA, COLUMN_BINARY },
    { OID_INT8, PG_INT8, COLUMN_INTEGER },
    { OID_INT2, PG_INT2, COLUMN_SHORT },
    { OID_INT4, PG_INT4, COLUMN_INT },
    { OID_TEXT, PG_TEXT, COLUMN_STRING },
    { OID_VARCHAR, PG_TEXT, COLUMN_STRING },
    { OID_JSON, PG_JSON, COLUMN_JSON },
    { OID_JSONB, PG_JSONB, COLUMN_JSON },
    { OID_FLOAT4, PG_FLOAT4, COLUMN_REAL },
    { OID_FLOAT8, PG_FLOAT8, COLUMN_FLOAT },
    { OID_DATE, PG_DATE, COLUMN_DATE },
    { OID_TIMESTAMP, PG_TIMESTAMP, COLUMN_DATETIME },
    { OID_TIMESTAMPTZ, PG_TIMESTAMPTZ, COLUMN_INSTANT },
    { OID_NUMERIC, PG_NUMERIC, COLUMN_DECIMAL },
};

PgType pg_type_of(ColumnType type)
{
    return types[type].type;
}

void pg_type_put(Buffer *sql, ColumnType type, uint8_t precision, uint8_t scale)
{
    buffer_append_string(sql, types[type].name);
    if (type == COLUMN_DECIMAL && precision > 0)
        buffer_printf(sql, "(%u,%u)", precision, scale);
}

/* A numeric's modifier is (precision << 16 | scale) + 4, scale in 11 bits with a sign since PostgreSQL 15. */
static bool numeric_size(int32_t modifier, uint16_t *ret_precision, uint16_t *ret_scale)
{
    if (modifier < 4)
        return true;
    int scale = ((modifier - 4) & 0x7ff) ^ 1024;
    scale -= 1024;
    *ret_precision = (uint16_t)((modifier - 4) >> 16);
    *ret_scale = (uint16_t)scale;
    return scale >= 0 && scale <= *ret_precision;
}

bool pg_column_from(uint32_t oid, int32_t modifier, PgColumn *ret)
{
    for (size_t i = 0; i < ELEMENTSOF(known); i++) {
        if (known[i].oid != oid)
            continue;
        *ret = (PgColumn){ .type = known[i].type };
        /* timestamp(0 … 5): the server would round what it is given, and say nothing. */
        if ((oid == OID_TIMESTAMP || oid == OID_TIMESTAMPTZ) && modifier >= 0 && modifier < TIMESTAMP_DIGITS)
            return false;
        if (oid == OID_VARCHAR && modifier > VARCHAR_HEADER)
            ret->length_max = (uint32_t)(modifier - VARCHAR_HEADER);
        if (oid != OID_NUMERIC)
            return true;
        ret->sized = modifier >= 4;
        return numeric_size(modifier, &ret->precision, &ret->scale);
    }
    return false;
}

bool pg_kind_from(uint32_t oid, int32_t modifier, Kind *ret)
{
    PgColumn column;
    if (!pg_column_from(oid, modifier, &column))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(known); i++)
        if (known[i].oid == oid)
            *ret = (Kind){ .type = known[i].kind };
    if (!column.sized)
        return true;
    ret->precision = (uint8_t)column.precision;
    ret->scale = (uint8_t)column.scale;
    return column.precision <= DECIMAL_DIGITS_MAX;
}

bool pg_type_fits_file(ColumnType type, uint32_t oid, const PgColumn *there)
{
    switch (type) {
    case COLUMN_INTEGER:
        return there->type == PG_INT8 || there->type == PG_INT4 || there->type == PG_INT2;
    case COLUMN_JSON:
        return there->type == PG_JSONB || there->type == PG_JSON;
    default:
        return there->type == types[type].type;
    }
}
