#pragma once
/*
 * The grammar of the op pipe (lib/formats/frame.h), enforced: which frame may stand where, and what may be in it.
 *
 * The worker is not trusted: after sequence_next() has accepted a frame, the rest of the writer may rely on names,
 * table ids, column types, value ranges, UTF-8 and counts without looking again. It is sans-I/O and allocates per
 * table, not per row.
 */
#include "connectors/writer/destination.h"

typedef struct SequenceRules {
    bool files;              /* FILE_BEGIN … FILE_END are allowed */
    bool rows;               /* ROWS, TRUNCATE and CHECKPOINT outside files are */
    const char *only_table;  /* the one table there is, as the worker calls it; NULL: any */
    const char *prefix;      /* put before the names of tables; NULL: nothing */
    unsigned operations;     /* OPERATION_BIT()s; others are refused */
    bool truncate;           /* TRUNCATE is allowed */
    bool changes;            /* files of changes: COLUMN_SEQUENCE and COLUMN_IS_DELETED are allowed */
    bool untyped;            /* a plan of operations: COLUMN_UNTYPED is, of keys */
    uint64_t max_value_size; /* bytes of one value, or of a state */
    const char *destination; /* for messages: "destination-sqlite" */
    const char *log_table;   /* a name that is taken, in any case; NULL: none */
} SequenceRules;

typedef enum SequenceState {
    SEQUENCE_START, /* nothing but HELLO */
    SEQUENCE_OUTSIDE,
    SEQUENCE_IN_FILE,
    SEQUENCE_ENDED, /* nothing at all */
    _SEQUENCE_STATE_MAX,
} SequenceState;

typedef struct SequenceTable {
    Table table;
    /* Per operation, for each column the tags it may have, as bits; made when first needed. */
    uint16_t *accepts[_OPERATION_MAX];
} SequenceTable;

typedef struct Sequence {
    SequenceRules rules; /* its strings are borrowed */
    SequenceState state;
    SequenceTable **tables;
    size_t table_count;
    uint64_t checkpoints;
    uint64_t rows; /* of the open file; outside files, of the sync */
    uint8_t file_hash[SHA256_SIZE];
    bool dropping; /* set by the caller, until FILE_END: the open file has failed, its values are not looked at */
} Sequence;

void sequence_init(Sequence *sequence, const SequenceRules *rules);
void sequence_clear(Sequence *sequence);
/* Accepts FRAME and moves on, or fails: ERROR_DATA where the frame is in order but a value cannot be, with row, column
 * and value (the file's own fault); ERROR_INTERNAL where the stream is not the protocol, after which nothing else may
 * be fed. A FILE_END leaves `rows` as it was, until the next FILE_BEGIN. */
int sequence_next(Sequence *sequence, const Frame *frame, Error *error);
/* The table of an id that was accepted. */
const Table *sequence_table(const Sequence *sequence, uint16_t id);
