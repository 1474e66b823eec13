#pragma once
/* What parquet.c (DuckDB, the file, its columns) and parquet-values.c (one value) share. */
#include "connectors/sources/files/parquet.h"
#include "lib/system/duckdb-library.h"

/* A column of the file, or a part of a nested one, as the chunk at hand has it. */
typedef struct ParquetVector ParquetVector;
struct ParquetVector {
    duckdb_type type;
    duckdb_type integers; /* DECIMAL: what it is stored as */
    uint8_t scale;        /* DECIMAL */
    uint64_t array_size;  /* ARRAY */
    char *name;           /* owned; in a struct */
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

/* Of a VARCHAR or BLOB that is not NULL. */
const char *parquet_text(const ParquetVector *vector, uint64_t row, size_t *ret_n);
/* The value at ROW, which is not NULL, into COLUMN. */
int parquet_put_value(const FileReader *reader, const FileColumn *column, const ParquetVector *vector, uint64_t row,
                      RowsWriter *rows, Error *error);
/* The same as JSON text; NULL is null. False: it cannot be written so, being no finite number or no possible date. */
bool parquet_write_json(const ParquetVector *vector, uint64_t row, Buffer *to);
