#pragma once
/* What parquet.c (DuckDB, the file, its columns), parquet-vectors.c (what a column is made of) and parquet-values.c
 * (one value) share. */
#include "connectors/sources/files/parquet.h"
#include "lib/system/duckdb-library.h"

/* What a type of DuckDB's is to us. */
typedef enum ParquetShape {
    SHAPE_OTHER, /* a time of day, a UUID and the like, which DuckDB writes as text where a whole column is asked for */
    SHAPE_BOOLEAN,
    SHAPE_INTEGER, /* that 64 bits with a sign hold */
    SHAPE_NUMBER,  /* a larger one, or a decimal */
    SHAPE_SINGLE,
    SHAPE_DOUBLE,
    SHAPE_DATE,
    SHAPE_TIMESTAMP,
    SHAPE_TEXT,
    SHAPE_BYTES,
    SHAPE_LIST, /* the nested ones come last */
    SHAPE_ARRAY,
    SHAPE_MAP, /* a list of structs of two */
    SHAPE_STRUCT,
} ParquetShape;

/* A column of the file, or a part of a nested one, as the chunk at hand has it. */
typedef struct ParquetVector ParquetVector;
struct ParquetVector {
    ParquetShape shape;
    duckdb_type stored;  /* INTEGER, NUMBER: how */
    uint8_t scale;       /* NUMBER */
    int64_t per_second;  /* TIMESTAMP: ticks */
    int16_t offset;      /* TIMESTAMP: 0, or TIMESTAMP_NAIVE */
    uint64_t array_size; /* ARRAY */
    char *name;          /* owned; in a struct */
    ParquetVector *children;
    size_t child_count;
    /* of the chunk */
    const void *data;
    const uint64_t *validity; /* NULL: no value is NULL */
};

static inline bool parquet_is_null(const ParquetVector *vector, uint64_t row)
{
    return vector->validity && !(vector->validity[row / 64] >> (row % 64) & 1);
}

/* What a vector of TYPE is made of; NULL, or why it cannot be read. DEPTH: 0 for a column. */
const char *parquet_vector_describe(const DuckdbLibrary *duckdb, duckdb_logical_type type, unsigned depth,
                                    ParquetVector *ret);
void parquet_bind(const DuckdbLibrary *duckdb, ParquetVector *vector, duckdb_vector from);
void parquet_vectors_free(ParquetVector *vectors, size_t count);

/* Of a VARCHAR or BLOB that is not NULL. */
const char *parquet_text(const ParquetVector *vector, uint64_t row, size_t *ret_n);
/* The value at ROW, which is not NULL, into COLUMN. */
int parquet_put_value(const FileReader *reader, const FileColumn *column, const ParquetVector *vector, uint64_t row,
                      RowsWriter *rows, Error *error);
/* The same as JSON text; NULL is null. False: it cannot be written so, being no finite number or no possible date. */
bool parquet_write_json(const ParquetVector *vector, uint64_t row, Buffer *to);
