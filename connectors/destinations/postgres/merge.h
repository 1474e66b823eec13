#pragma once
/*
 * Rows of operations on their way into a table: staged in a temporary table per operation, then merged by one
 * statement. Private to destination-postgres.
 */
#include "connectors/destinations/postgres/postgres.h"

typedef struct Stage {
    char *name;          /* owned; of the temporary table; NULL: not made yet in this transaction */
    bool filled;         /* rows wait for merge() */
    bool *wanted;        /* owned; per column of the table: whether it is staged */
    size_t column_count; /* of the staged table */
    /* UPDATE: which columns its rows name. */
    size_t mask_size; /* bytes */
    uint8_t *mask;    /* owned; of the row that is being staged */
    uint8_t *first;   /* owned; of the first row */
    uint8_t *any;     /* owned; of all rows together */
    bool mixed;       /* they are not all the same */
} Stage;

struct Stage *stages_free(struct Stage *stages); /* as many as there are operations */

/* The slot of a table of operations, made when it is first needed in a batch: the transaction is locked, the table
 * ours. */
int postgres_table_for_rows(Postgres *self, const Table *table, Error *error);
/* Makes what OPERATION's rows are staged in, and appends its name and columns for COPY. */
int postgres_stage(Postgres *self, const Table *table, PgTable *slot, int operation, Buffer *sql, Error *error);
int postgres_merge(void *destination, const Table *table, Error *error);
int postgres_expire(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                    int64_t before_us, Error *error);
int postgres_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error);

static inline void stage_row_begin(Stage *stage)
{
    if (stage->mask_size > 0)
        memset(stage->mask, 0, stage->mask_size);
}
/* get_bit() of a bytea counts from the least significant bit of the first byte. */
static inline void stage_row_names(Stage *stage, size_t column)
{
    if (stage->mask_size > 0)
        stage->mask[column / 8] |= (uint8_t)(1u << column % 8);
}
static inline void stage_row_end(Stage *stage, Buffer *buffer)
{
    if (stage->mask_size > 0) {
        if (!stage->filled)
            memcpy(stage->first, stage->mask, stage->mask_size);
        stage->mixed |= memcmp(stage->first, stage->mask, stage->mask_size) != 0;
        for (size_t i = 0; i < stage->mask_size; i++)
            stage->any[i] |= stage->mask[i];
        encode_bytes(buffer, stage->mask, stage->mask_size);
    }
    stage->filled = true;
}
