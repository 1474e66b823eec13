#pragma once
/*
 * Parquet files, read by DuckDB a chunk at a time. Values keep their types: what a column's declared type cannot hold
 * without loss is an error with row, column and value.
 */
#include "connectors/sources/files/file.h"
#include "connectors/sources/files/reader.h"

typedef struct Parquet Parquet;

#define PARQUET_MEMORY_DEFAULT (UINT64_C(512) << 20)

/* Loads DuckDB's library; to be called before the sandbox. LIBRARY: its path, NULL: wherever it is. MEMORY: what it may
 * use. ERROR_CONFIGURATION where there is none. */
int parquet_open(const char *library, uint64_t memory, Parquet **ret, Error *error);
Parquet *parquet_free(Parquet *parquet);
/* Reads FILE by its descriptor, at random: who wants to know that it stood still hashes it again afterwards. The rows'
 * lines are 0. */
FileReader *parquet_reader_new(Parquet *parquet, const FilesSettings *settings, JsonMemory *json, DataFile *file);

typedef struct ParquetColumn {
    const char *name;
    ColumnType type;  /* that a pipeline would give it */
    bool nulls;       /* it has some, or may have */
    const char *note; /* what a person should know; NULL: nothing */
} ParquetColumn;

/* What FILE says of itself, at its end: its columns one by one to TAKE, and how many rows there are. */
int parquet_describe(Parquet *parquet, DataFile *file,
                     int (*take)(void *context, const ParquetColumn *column, Error *error), void *context,
                     uint64_t *ret_rows, Error *error);
