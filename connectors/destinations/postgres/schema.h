#pragma once
/* Tables of operations: what is there, and how it changes. Private to destination-postgres. */
#include "connectors/destinations/postgres/postgres.h"

int postgres_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error);
int postgres_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error);
int postgres_change(void *destination, const Table *table, const SchemaChange *change, Error *error);
int postgres_drop(void *destination, const char *name, Error *error);
/* Locks the transaction and makes the table NAME ours. */
int postgres_take_table(Postgres *self, const char *name, Error *error);
/* How the columns of TABLE, which is there as OID, are encoded: into SLOT. */
int postgres_read_columns(Postgres *self, const Table *table, PgTable *slot, uint32_t oid, Error *error);
