#pragma once
/*
 * A table of operations on its way to the destination: what is there, what will be, and the rows between.
 *
 * A Target is made when its table is first needed in a batch. It asks the destination what is there, adds the columns
 * that the stream has and the table lacks, and the system columns; it widens a column when a value comes that the
 * column does not hold. Nothing of this is done to the destination before target_flush(), which first changes the table
 * and then merges the rows that were coalesced until then. What a flush did belongs to the batch's transaction.
 */
#include "connectors/writer/aside.h"
#include "connectors/writer/destination.h"

typedef enum SchemaPolicy {
    SCHEMA_ALLOW_ALL,
    SCHEMA_ALLOW_COLUMNS, /* new columns, no new tables */
    SCHEMA_BLOCK_ALL,     /* neither, and no column widens */
    SCHEMA_STRICT,        /* of files, where nothing is said: new tables; those that are there must be as configured */
} SchemaPolicy;
const char *schema_policy_name(SchemaPolicy policy); /* as the configuration has it */

typedef struct TargetRules {
    const Destination *destination;
    void *handle; /* of the destination */
    SchemaPolicy policy;
    bool history;
    const char *connection; /* for messages */
    const char *asked_as;   /* in place of it, for wherryctl: a file that is run by itself; or NULL */
    void (*changed)(const char *table, void *userdata); /* a table was made or altered; NULL: nobody wants to know */
    void *userdata;
} TargetRules;

typedef struct TargetColumn {
    Kind there;     /* in the destination; type 0: not there */
    bool marked;    /* as inexact, in the destination */
    uint16_t holds; /* tags of which the column holds every value, as bits */
    Value value;    /* of the row that is being taken, or the one being emitted */
} TargetColumn;

typedef struct Target {
    const TargetRules *rules;
    Table live; /* as it will be, column by column */
    TargetColumn *columns;
    bool there; /* the table is */
    bool may_create;
    bool keyed; /* KEYS is set: the key is what it is, for the rest of the sync */
    bool keyless;
    bool untyped; /* a plan: only the first row will tell the types of the key, so the table cannot be made yet */
    size_t *map;  /* from the stream's columns to LIVE's */
    size_t *keys;
    size_t key_count;                               /* without COLUMN_START; of LIVE */
    size_t id, synced, deleted, start, end, active; /* system columns in LIVE; SIZE_MAX: none */
    Coalescer rows;
    Buffer key, text;
} Target;

/* STREAM is the table as the worker describes it, maybe without a single column: then it is only to be truncated, and
 * nothing is created where it is not there. DROP: what is there is dropped first. Inside a batch. */
int target_new(const TargetRules *rules, const Table *stream, bool drop, Target **ret, Error *error);
Target *target_free(Target *target);
/* The worker has described the table anew. */
int target_follow(Target *target, const Table *stream, Error *error);
/* Rows of a ROWS frame that the sequence has checked; FIRST_ROW as in Destination.write. CURSOR stands before row
 * number *ROW of the frame, and moves on. Stops with TARGET_E_FULL after the row that takes target_memory() past
 * MEMORY_MAX: a few small updates of a large row may take any amount. */
enum { TARGET_E_FULL = 1 };
int target_rows(Target *target, const Table *stream, const Frame *rows, uint64_t first_row, RowCursor *cursor,
                uint32_t *row, size_t memory_max, Error *error);
/* Rows that are not in their order: setting them aside spares the destination work. */
bool target_is_unordered(const Target *target);
/* Puts its rows ASIDE; target_forget() after aside_end(), when they are safe there. As aside_put(). */
int target_set_aside(Target *target, Aside *aside);
void target_forget(Target *target);
/* Changes the table and merges the rows, first those that are ASIDE (NULL: none). RET_CHANGED: something was done. */
int target_flush(Target *target, Aside *aside, const Batch *batch, bool *ret_changed, Error *error);
/* After a flush: soft-deletes the rows last written before BEFORE_US. */
int target_soft_delete(Target *target, const Batch *batch, int64_t before_us, Error *error);
/* Changes the table alone, as target_flush() begins. RET_CHANGED is set where something was done: not where the table
 * is new and its key has no types yet. */
int target_change(Target *target, bool *ret_changed, Error *error);
size_t target_memory(const Target *target);
