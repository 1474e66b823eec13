#pragma once
/*
 * The one codec of Wherry: operations on the pipe from worker to writer, and the conversation of both with the daemon.
 *
 * It is sans-I/O: bytes in, frames out, and back. Every frame is
 *
 *     u32 length of the payload | u8 type | u8 0 | u16 0 | payload            all integers little-endian
 *
 * and inside a payload `str` is u32 length + bytes, `hash` is 32 bytes. A payload is at most `payload_max` bytes, given
 * by the reader; a payload with bytes left over, a length that runs past its end, an unknown type or a reserved byte
 * that is not 0 is an error, after which the stream is dead. Views (FrameText, FrameRows) point into the reader's
 * buffer and hold until its next frame_reader_reserve().
 *
 * On the pipe (worker → writer), in this order and no other (connectors/writer enforces it):
 *
 *     HELLO (TABLE | ROWS | TRUNCATE | CHECKPOINT | FILE_BEGIN … FILE_END)* END
 *
 * Between FILE_BEGIN and FILE_END stand only TABLE and ROWS. A pipe that ends without END is a failed sync.
 *
 * On the sockets, writer ↔ daemon ↔ worker; each program's first frame is HELLO, the daemon's first is BEGIN:
 *
 *     daemon → writer   BEGIN, FILE_SEEN (a question), CANCEL, WORKER_GONE, LINE, LINES_END
 *     writer → daemon   HELLO, OPENED, FILE_VERDICT, FILE_DONE, TAKEN, COMMITTED, PLAN, LOG, PROGRESS, ERROR, DONE
 *     daemon → worker   BEGIN, FILE_VERDICT, FILE_DONE (the writer's, passed on), TAKEN, CANCEL
 *     worker → daemon   HELLO, FILE_SEEN, FILE_NOTE, FILE_RETIRED, LOG, PROGRESS, ERROR, DONE
 *
 * ROWS: u16 table, u8 operation, u8 0, u32 rows, then the rows one after another, each with as many values as its table
 * has columns. A value is u8 ValueTag and, by tag: INTEGER i64 · FLOAT f64 · DATE i32 · TIMESTAMP i64 u32 i16 · STRING,
 * DECIMAL, JSON, BINARY str · the others nothing.
 *
 * Version and features: both ends send FRAME_VERSION and the features they know in HELLO; another version is refused,
 * an unknown feature bit is ignored.
 */
#include "lib/basics/buffer.h"
#include "lib/basics/error.h"
#include "lib/basics/hash.h"
#include "lib/formats/value.h"

#define FRAME_MAGIC UINT32_C(0x59525257) /* "WRRY" */
#define FRAME_VERSION 1
#define FRAME_HEADER_SIZE 8
#define FRAME_PAYLOAD_MAX UINT32_C(0x40000000) /* 1 GiB: the most any reader may allow */
#define FRAME_CONTROL_MAX (UINT32_C(64) << 20) /* on sockets: BEGIN and OPENED carry configuration and state */
#define FRAME_COLUMNS_MAX 4096
#define FRAME_TABLES_MAX 4096
#define FRAME_NAME_MAX 4096
#define FRAME_ROWS_TARGET (128 << 10) /* a producer ends a ROWS frame when it passes this many bytes */

typedef enum FrameType {
    FRAME_HELLO = 1,
    FRAME_TABLE,
    FRAME_ROWS,
    FRAME_TRUNCATE,
    FRAME_CHECKPOINT,
    FRAME_FILE_BEGIN,
    FRAME_FILE_END,
    FRAME_END,
    FRAME_BEGIN,
    FRAME_OPENED,
    FRAME_LOG,
    FRAME_PROGRESS,
    FRAME_ERROR,
    FRAME_CANCEL,
    FRAME_WORKER_GONE,
    FRAME_TAKEN,
    FRAME_COMMITTED,
    FRAME_FILE_SEEN,
    FRAME_FILE_VERDICT,
    FRAME_FILE_NOTE,
    FRAME_FILE_DONE,
    FRAME_DONE,
    FRAME_FILE_RETIRED,
    FRAME_PLAN,
    FRAME_LINE,
    FRAME_LINES_END,
    _FRAME_TYPE_MAX,
} FrameType;

typedef enum Operation {
    OPERATION_INSERT = 1,
    OPERATION_UPSERT,
    OPERATION_UPDATE,
    OPERATION_DELETE,
    _OPERATION_MAX
} Operation;

typedef struct FrameText {
    const char *data;
    uint32_t length;
} FrameText;

enum {
    COLUMN_DECLARED = 1,
    COLUMN_KEY = 2,
    COLUMN_REQUIRED = 4,
    /* In files of changes: of a key's rows that with the greatest value counts; and the last column, which is not
     * written but says whether the row is deleted. */
    COLUMN_SEQUENCE = 8,
    COLUMN_IS_DELETED = 64,
    /* In a plan: part of the key, and only the first row will tell its type; the one that is given says nothing. */
    COLUMN_UNTYPED = 128,
    _COLUMN_FLAGS = COLUMN_DECLARED | COLUMN_KEY | COLUMN_REQUIRED | COLUMN_SEQUENCE | COLUMN_IS_DELETED |
                    COLUMN_UNTYPED, /* on the pipe */
};
typedef struct FrameColumn {
    FrameText name; /* in the destination; UTF-8 */
    ColumnType type;
    uint8_t flags;
    uint8_t precision, scale; /* of a decimal: digits in all, and after the point; 0, 0: any */
} FrameColumn;

/* What became of a name that was not even hashed. */
typedef enum FileNote {
    FILE_NOTE_WAITS = 0,   /* still changing: the next sync takes it */
    FILE_NOTE_FAILED = 1,  /* unreadable */
    FILE_NOTE_SKIPPED = 2, /* no file, or not any more */
    _FILE_NOTE_MAX,
} FileNote;

typedef enum FileEnd {
    FILE_END_LOADED = 1, /* all of it is on the pipe: commit */
    FILE_END_FAILED,     /* the file itself is bad: roll back, count an attempt */
    FILE_END_CHANGED,    /* it changed while read: roll back, next run */
    FILE_END_ABORTED,    /* reading failed for a reason that is not the file's: roll back, no attempt */
    _FILE_END_MAX,
} FileEnd;

typedef enum FileVerdict {
    FILE_LOAD = 1,
    FILE_SKIP,
    FILE_UNKNOWN /* only in the writer's answer: not there */,
    FILE_LEFT_OUT /* only to a worker: not to be loaded now, although it is not there */,
    _FILE_VERDICT_MAX
} FileVerdict;

enum { TABLE_DECLARED = 1 };

typedef struct Frame {
    FrameType type;
    union {
        struct {
            uint32_t magic; /* u32 */
            uint16_t version;
            uint32_t features;
            FrameText program; /* "source-files", "destination-sqlite" */
        } hello;
        struct {
            uint16_t id; /* 0, 1, 2 … in order of first TABLE; a second TABLE with the same id replaces the columns */
            uint8_t flags;
            FrameText name;
            uint32_t column_count;
            FrameColumn *columns; /* owned by the reader, like the views; when encoding, the caller's */
        } table;
        struct {
            uint16_t table;
            Operation operation;
            uint32_t count;
            const uint8_t *data;
            uint32_t length;
        } rows;
        struct {
            uint16_t table;
        } truncate;
        struct {
            uint64_t number; /* 1, 2, 3 … */
            FrameText state; /* JSON */
        } checkpoint;
        struct {
            uint8_t hash[SHA256_SIZE];
            uint64_t size;
            FrameText name; /* the file's base name, bytes as they are */
        } file;             /* FILE_BEGIN and FILE_SEEN */
        struct {
            FileEnd outcome;
            uint8_t hash[SHA256_SIZE]; /* of the bytes that were loaded */
            uint64_t rows;
            uint64_t quarantined;
            FrameText error; /* for anything but LOADED: the formatted message */
        } file_end;
        struct {
            FrameText configuration; /* JSON object: see connectors/worker and connectors/writer */
            FrameText state;         /* to a worker: the committed state; to a writer: empty */
        } begin;
        struct {
            uint64_t sequence; /* 0 and empty: this destination has never seen the connection */
            uint64_t epoch;
            FrameText run_id; /* that committed last */
            FrameText state;  /* JSON; "{}" at first */
        } opened;
        struct {
            uint8_t priority; /* syslog 0 … 7 */
            FrameText message;
            FrameText table; /* empty: none */
            FrameText level; /* as a connector calls it, "severe"; empty: as the priority says */
        } log;
        struct {
            uint64_t rows;        /* so far in this sync */
            uint64_t bytes;       /* source bytes read so far */
            uint64_t bytes_total; /* 0: unknown */
            FrameText file;       /* being read; empty: none */
            FrameText phase;      /* "scanning", "loading", "committing", … */
        } progress;
        struct {
            ErrorKind kind;
            FrameText message; /* formatted */
        } error;
        struct {
            uint64_t number;
        } taken;
        struct {
            uint64_t sequence;
            uint64_t rows;   /* of this commit */
            FrameText state; /* empty: unchanged */
        } committed;
        struct {
            uint8_t hash[SHA256_SIZE];
            FileVerdict verdict;
            uint64_t rows; /* in the writer's SKIP: as many as it loaded of it; else 0 */
        } file_verdict;
        struct {
            FileNote what;
            FrameText name;
            FrameText message;
        } file_note;
        struct {
            FileEnd outcome;
            uint8_t hash[SHA256_SIZE];
            uint64_t rows;
            uint64_t quarantined;
            uint64_t sequence; /* of the commit; LOADED only */
            FrameText error;
        } file_done;
        struct {
            uint8_t hash[SHA256_SIZE]; /* of the file whose quarantined rows, by order of a user, are loaded now */
        } file_retired;
        struct {
            FrameText statement; /* that would be executed, without its ";" */
        } plan;
        struct {
            uint64_t time_us; /* wall clock */
            FrameText level;  /* "WARNING" */
            FrameText origin; /* who said it: "connector_sdk" */
            FrameText message;
        } line; /* of the sync's log, for the log table */
        struct {
            uint64_t rows;  /* worker: sent; writer: committed */
            uint64_t bytes; /* worker: source bytes read; writer: 0 */
        } done;
    };
} Frame;

const char *frame_type_name(FrameType type); /* "HELLO", … for messages */

/* Appends FRAME (any type but ROWS) to BUFFER. Lengths are asserted: the caller bounds them. */
void frame_encode(Buffer *buffer, const Frame *frame);

static inline FrameText frame_text(const char *string)
{
    return (FrameText){ string, string ? (uint32_t)strlen(string) : 0 };
}

/* --- reading --- */

enum { FRAME_E_MORE = 1 }; /* the next frame is not complete yet: add bytes */

typedef struct FrameReader {
    Buffer buffer;
    uint32_t payload_max;
    FrameColumn *columns; /* of the last TABLE */
    size_t columns_allocated;
} FrameReader;

void frame_reader_init(FrameReader *reader, uint32_t payload_max);
void frame_reader_clear(FrameReader *reader);
/* Room for at least one more byte, and for the whole of a frame whose header is known: *ret_n bytes at the returned
 * pointer. Invalidates views. */
uint8_t *frame_reader_reserve(FrameReader *reader, size_t *ret_n);
void frame_reader_added(FrameReader *reader, size_t n);
/* The next frame; FRAME_E_MORE; or negative with ERROR: the bytes are not the protocol. */
int frame_reader_next(FrameReader *reader, Frame *ret, Error *error);
/* Whether a whole frame of one of TYPES (bits, 1 << FrameType) lies ahead. *OFFSET, 0 at first, is where the next call
 * goes on, as long as frame_reader_next() is not called in between. Bytes that are no frame count as one, so that
 * frame_reader_next() comes to tell. */
bool frame_reader_has(const FrameReader *reader, uint32_t types, size_t *offset);

/* Walks the values of a ROWS frame; every read is bounds-checked. */
typedef struct RowCursor {
    const uint8_t *next;
    const uint8_t *end;
} RowCursor;

static inline RowCursor row_cursor(const Frame *rows)
{
    return (RowCursor){ rows->rows.data, rows->rows.data + rows->rows.length };
}
/* false: the bytes do not hold a well-formed value (UTF-8 is not checked here). */
static inline bool row_cursor_value(RowCursor *cursor, Value *ret);

/* --- writing rows: the hot path of a worker --- */

typedef struct RowsWriter {
    Buffer *buffer;
    size_t start; /* of the open frame's header in the buffer */
    uint32_t count;
} RowsWriter;

RowsWriter rows_begin(Buffer *buffer, uint16_t table, Operation operation); /* opens a ROWS frame */
void rows_end(RowsWriter *rows); /* closes it; a frame without rows is taken back */
static inline size_t rows_size(const RowsWriter *rows)
{
    return rows->buffer->end - rows->start;
}
/* A row: put as many values as the table has columns, then rows_row_done(); to drop a half-put row, rows_rewind() to
 * the mark. */
static inline size_t rows_mark(const RowsWriter *rows)
{
    return rows->buffer->end - rows->start;
}
static inline void rows_rewind(RowsWriter *rows, size_t mark)
{
    rows->buffer->end = rows->start + mark;
}
static inline void rows_row_done(RowsWriter *rows)
{
    rows->count++;
}
static inline void rows_put_null(RowsWriter *rows);
static inline void rows_put_absent(RowsWriter *rows);
static inline void rows_put_boolean(RowsWriter *rows, bool value);
static inline void rows_put_integer(RowsWriter *rows, int64_t value);
static inline void rows_put_float(RowsWriter *rows, double value);
static inline void rows_put_date(RowsWriter *rows, int32_t days);
static inline void rows_put_timestamp(RowsWriter *rows, const Timestamp *value);
static inline void rows_put_text(RowsWriter *rows, ValueTag tag, const char *data,
                                 size_t length); /* STRING, DECIMAL, JSON, BINARY */
static inline void rows_put_value(RowsWriter *rows, const Value *value);

#include "lib/formats/frame-inline.h"
