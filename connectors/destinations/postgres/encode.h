#pragma once
/*
 * Values as PostgreSQL's binary COPY carries them: sans-I/O, exact or refused.
 *
 * A field is a 32-bit length and that many bytes, all integers big-endian. The formats are those of each type's receive
 * function in PostgreSQL 12 to 17 (src/backend/utils/adt).
 */
#include "lib/basics/buffer.h"
#include "lib/formats/value.h"

typedef enum PgType {
    PG_BOOL = 1,
    PG_INT2,
    PG_INT4,
    PG_INT8,
    PG_FLOAT4,
    PG_FLOAT8,
    PG_NUMERIC,
    PG_TEXT,
    PG_BYTEA,
    PG_DATE,
    PG_TIMESTAMP,
    PG_TIMESTAMPTZ,
    PG_JSON,
    PG_JSONB,
    _PG_TYPE_MAX,
} PgType;

typedef struct PgColumn {
    PgType type;
    bool sized; /* NUMERIC(precision, scale): a value with more digits is refused, where the server would round */
    uint16_t precision, scale;
    bool strip_nul;      /* of text */
    bool key;            /* nothing is left out of it: two keys could become one */
    uint32_t length_max; /* of text: characters of a varchar(n), where the server would cut spaces; 0: any */
} PgColumn;

/* The header of a COPY, and its end. */
extern const uint8_t encode_header[19];
#define ENCODE_TRAILER "\377\377"

/* Appends VALUE (of a tag that a column of this type may have) as a field. NULL, or why not: "does not fit …", after
 * which BUFFER is as it was. */
const char *encode_value(Buffer *buffer, const PgColumn *column, const Value *value);

static inline void encode_int16(Buffer *buffer, int16_t value)
{
    uint16_t big = __builtin_bswap16((uint16_t)value);
    buffer_append(buffer, &big, sizeof(big));
}
static inline void encode_int32(Buffer *buffer, int32_t value)
{
    uint32_t big = __builtin_bswap32((uint32_t)value);
    buffer_append(buffer, &big, sizeof(big));
}
static inline void encode_bytes(Buffer *buffer, const void *data, size_t n)
{
    encode_int32(buffer, (int32_t)n);
    buffer_append(buffer, data, n);
}
/* Microseconds since 1970 as a timestamptz, which holds them whatever they are within 64 bits of microseconds less 30
 * years. */
void encode_instant_us(Buffer *buffer, int64_t us);
