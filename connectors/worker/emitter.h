#pragma once
/*
 * Operations on tables, for sources that emit upserts, updates, deletes and truncates: rows of named values become the
 * TABLE and ROWS frames of the pipe.
 *
 * A source declares what it knows of its tables (emitter_declare()), or nothing. A column that it did not declare
 * appears with its first value that is not NULL, as the kind of that value; a column that only ever was NULL does not
 * appear. Values of declared columns are converted as Fivetran's SDK does, as far as nothing is lost: text to numbers,
 * dates and times, numbers to booleans and JSON. What a column of its kind cannot hold without loss is either refused,
 * or, where the value itself is fine, sent as it is: the writer widens the column then.
 *
 * Names are normalised (naming.h) unless the connection says `naming: source`. Two names that meet in one are refused,
 * and so is a name of which nothing is left.
 *
 * In a plan (worker_plans()) the first row or truncate ends the source's reading, after the row's new columns were
 * announced: it fails, and the worker library takes that for a good end.
 *
 * After a failed call nothing of its row was sent: the source may go on with the next one. All errors are of kind
 * ERROR_DATA and name table, row, column and value, but for those of the pipe. Rows are counted from 1 for each table.
 */
#include "connectors/worker/worker.h"
#include "lib/formats/kind.h"

typedef struct Emitter Emitter;

typedef struct EmitterOptions {
    bool source_names;       /* `naming: source` */
    bool base64;             /* the source has no bytes: text in a BINARY column is base64 */
    bool untyped;            /* a plan: declared tables are announced at once, also before a key's kind is known */
    uint64_t max_value_size; /* bytes; 0: any */
} EmitterOptions;

typedef struct EmitterField {
    FrameText name; /* as the source calls it; UTF-8 */
    Value value; /* as what it is: its tag is the kind of an undeclared column. NaN and infinity are sent as NULL, with
                    a warning */
    FrameText exact; /* of a FLOAT: as the source wrote it, for a column declared DECIMAL; empty: not known */
} EmitterField;

typedef struct EmitterColumn {
    FrameText name;
    Kind kind;
} EmitterColumn;

/* Why a value was refused: for sources that have errors of two types for it. */
typedef enum EmitterFault {
    EMITTER_FAULT_NONE,
    EMITTER_FAULT_TYPE,  /* a value of another type than the column may have */
    EMITTER_FAULT_VALUE, /* of the right type, but not one that the column can hold */
} EmitterFault;

Emitter *emitter_new(Worker *worker, const EmitterOptions *options);
Emitter *emitter_free(Emitter *emitter);
DEFINE_CLEANUP(Emitter, emitter_free)

/* Before the first operation on TABLE, once for each. KEYS that are not under COLUMNS get the kind of their first
 * value. The table is announced at once, also where no row comes, unless the kind of a key is not known yet (but see
 * EmitterOptions.untyped). */
int emitter_declare(Emitter *emitter, FrameText table, const FrameText *keys, size_t key_count,
                    const EmitterColumn *columns, size_t column_count, Error *error);
/* One row. UPSERT: columns that are not named become NULL. UPDATE and DELETE need a table with a key, and rows that
 * name all of it; of a DELETE's fields only the key counts. */
int emitter_row(Emitter *emitter, Operation operation, FrameText table, const EmitterField *fields, size_t count,
                Error *error);
int emitter_truncate(Emitter *emitter, FrameText table, Error *error); /* what was in it before is deleted */
/* Before every worker_checkpoint(), and at the end: sends the truncates that waited for a row of their table, which was
 * not declared. */
int emitter_flush(Emitter *emitter, Error *error);

EmitterFault emitter_fault(const Emitter *emitter); /* of the last emitter_row() that failed */

/*
 * For a source that sees row after row with the same names, and puts the values on worker_rows() itself where they are
 * what their columns hold as they are: what emitter_row() would do with such a row. Whatever needs converting, or a
 * word, still goes through emitter_row().
 */
typedef struct EmitterPlace {
    uint32_t field; /* of the names; EMITTER_ABSENT: the row has none for this column */
    Kind kind;
    bool declared; /* else the values go as they are */
    bool key;      /* must not be NULL */
} EmitterPlace;
#define EMITTER_ABSENT UINT32_MAX

typedef struct EmitterPlan {
    uint16_t table;       /* on the pipe */
    uint32_t place_count; /* one for each column that the pipe knows, in its order */
    EmitterPlace *places; /* owned by the caller */
    const uint32_t *now;  /* the plan holds while this is place_count */
    uint64_t *rows;       /* of the table: one more for each row put */
} EmitterPlan;

/* false: there is no such plan, or not yet (a name is new, a key is missing, the table is not on the pipe). */
bool emitter_plan(const Emitter *emitter, Operation operation, FrameText table, const FrameText *names, size_t count,
                  EmitterPlan *ret);
