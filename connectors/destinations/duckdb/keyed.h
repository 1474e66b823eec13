#pragma once
/* Inside destination-duckdb: tables of operations. See keyed-table.c and merge.c. */
#include "connectors/destinations/duckdb/internal.h"

#define DUCK_DECLARATION_MAX 32

/* Where a table stands in this batch. */
typedef enum TableState {
    TABLE_CLEAN, /* as the last commit left it, or only altered */
    TABLE_DIRTY, /* rows were changed: it cannot be altered any more */
    TABLE_OWN,   /* made in this batch: anything goes */
} TableState;

struct KeyedTable {
    char *name;    /* owned */
    Table current; /* owned: as it is there; of a file of changes: as configured */
    TableState state;
    Sink sinks[_OPERATION_MAX]; /* into the staging tables */
    bool staged[_OPERATION_MAX];
};

/* --- kinds.c --- */
const char *duck_declaration(Kind kind, char ret[static DUCK_DECLARATION_MAX]);
bool duck_declared_kind(const char *declared, Kind *ret);
bool duck_is_any_decimal(Kind kind); /* kept as text */
/* The expression that makes of COLUMN's values those of a wider kind. */
void duck_put_widened(Buffer *sql, const char *column, Kind from, Kind to);

/* --- keyed-table.c --- */
KeyedTable *duck_keyed(DuckDb *self, const char *name); /* made where it is not there yet */
int duck_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error);
int duck_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error);
int duck_change(void *destination, const Table *table, const SchemaChange *change, Error *error);
int duck_drop(void *destination, const char *name, Error *error);
void duck_keyed_committed(DuckDb *self);
void duck_keyed_reset(DuckDb *self);

/* --- merge.c --- */
int duck_stage(DuckDb *self, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
int duck_merge(void *destination, const Table *table, Error *error);
/* The end of a file of changes: what was staged since its begin is merged. */
int duck_merge_file(DuckDb *self, const Batch *batch, Error *error);
int duck_expire(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                int64_t before_us, Error *error);
int duck_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error);
