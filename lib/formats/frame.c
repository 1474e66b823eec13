/*
 * Each frame type has a layout: the list of its fields in wire order. Encoder and decoder walk the same list, so that
 * they cannot disagree, and a new frame is one new row. TABLE's list of columns and ROWS' bytes are the two parts that
 * are not plain fields.
 */
#include "lib/formats/frame.h"

#include <assert.h>
#include <stddef.h>

typedef enum FieldKind {
    FIELD_U8,
    FIELD_U16,
    FIELD_U32,
    FIELD_U64,
    FIELD_ENUM8,
    FIELD_BOOL,
    FIELD_HASH,
    FIELD_TEXT
} FieldKind;

typedef struct Field {
    FieldKind kind;
    uint16_t offset; /* in Frame */
    uint32_t
        limit; /* ENUM8, U8, U16, U32: one past the largest value, 0: none. TEXT: longest, 0: the payload bounds it */
} Field;

#define FIELDS_MAX 6
#define AT(member) (uint16_t) offsetof(Frame, member)

typedef struct Layout {
    const char *name;
    uint8_t count;
    Field fields[FIELDS_MAX];
} Layout;

_Static_assert(sizeof(Operation) == 4 && sizeof(FileEnd) == 4 && sizeof(FileVerdict) == 4 && sizeof(ErrorKind) == 4,
               "ENUM8 fields are stored as int-sized enumerations");

static const Layout layouts[_FRAME_TYPE_MAX] = {
    [FRAME_HELLO] = { "HELLO",
                      4,
                      { { FIELD_U32, AT(hello.magic), 0 },
                        { FIELD_U16, AT(hello.version), 0 },
                        { FIELD_U32, AT(hello.features), 0 },
                        { FIELD_TEXT, AT(hello.program), FRAME_NAME_MAX } } },
    [FRAME_TABLE] = { "TABLE",
                      4, /* then the columns: str name, u8 type, flags, precision, scale */
                      { { FIELD_U16, AT(table.id), FRAME_TABLES_MAX },
                        { FIELD_U8, AT(table.flags), TABLE_DECLARED + 1 },
                        { FIELD_TEXT, AT(table.name), FRAME_NAME_MAX },
                        { FIELD_U32, AT(table.column_count), FRAME_COLUMNS_MAX + 1 } } },
    [FRAME_ROWS] = { "ROWS", 0, {} },
    [FRAME_TRUNCATE] = { "TRUNCATE", 1, { { FIELD_U16, AT(truncate.table), FRAME_TABLES_MAX } } },
    [FRAME_CHECKPOINT] = { "CHECKPOINT",
                           2,
                           { { FIELD_U64, AT(checkpoint.number), 0 }, { FIELD_TEXT, AT(checkpoint.state), 0 } } },
    [FRAME_FILE_BEGIN] = { "FILE_BEGIN",
                           3,
                           { { FIELD_HASH, AT(file.hash), 0 },
                             { FIELD_U64, AT(file.size), 0 },
                             { FIELD_TEXT, AT(file.name), FRAME_NAME_MAX } } },
    [FRAME_FILE_END] = { "FILE_END",
                         5,
                         { { FIELD_ENUM8, AT(file_end.outcome), _FILE_END_MAX },
                           { FIELD_HASH, AT(file_end.hash), 0 },
                           { FIELD_U64, AT(file_end.rows), 0 },
                           { FIELD_U64, AT(file_end.quarantined), 0 },
                           { FIELD_TEXT, AT(file_end.error), 0 } } },
    [FRAME_END] = { "END", 0, {} },
    [FRAME_BEGIN] = { "BEGIN", 2, { { FIELD_TEXT, AT(begin.configuration), 0 }, { FIELD_TEXT, AT(begin.state), 0 } } },
    [FRAME_OPENED] = { "OPENED",
                       4,
                       { { FIELD_U64, AT(opened.sequence), 0 },
                         { FIELD_U64, AT(opened.epoch), 0 },
                         { FIELD_TEXT, AT(opened.run_id), FRAME_NAME_MAX },
                         { FIELD_TEXT, AT(opened.state), 0 } } },
    [FRAME_LOG] = { "LOG",
                    4,
                    { { FIELD_U8, AT(log.priority), 8 },
                      { FIELD_TEXT, AT(log.message), 0 },
                      { FIELD_TEXT, AT(log.table), FRAME_NAME_MAX },
                      { FIELD_TEXT, AT(log.level), FRAME_NAME_MAX } } },
    [FRAME_PROGRESS] = { "PROGRESS",
                         5,
                         { { FIELD_U64, AT(progress.rows), 0 },
                           { FIELD_U64, AT(progress.bytes), 0 },
                           { FIELD_U64, AT(progress.bytes_total), 0 },
                           { FIELD_TEXT, AT(progress.file), FRAME_NAME_MAX },
                           { FIELD_TEXT, AT(progress.phase), FRAME_NAME_MAX } } },
    [FRAME_ERROR] = { "ERROR",
                      2,
                      { { FIELD_ENUM8, AT(error.kind), _ERROR_KIND_MAX }, { FIELD_TEXT, AT(error.message), 0 } } },
    [FRAME_CANCEL] = { "CANCEL", 0, {} },
    [FRAME_WORKER_GONE] = { "WORKER_GONE", 0, {} },
    [FRAME_TAKEN] = { "TAKEN", 1, { { FIELD_U64, AT(taken.number), 0 } } },
    [FRAME_COMMITTED] = { "COMMITTED",
                          3,
                          { { FIELD_U64, AT(committed.sequence), 0 },
                            { FIELD_U64, AT(committed.rows), 0 },
                            { FIELD_TEXT, AT(committed.state), 0 } } },
    [FRAME_FILE_SEEN] = { "FILE_SEEN",
                          3,
                          { { FIELD_HASH, AT(file.hash), 0 },
                            { FIELD_U64, AT(file.size), 0 },
                            { FIELD_TEXT, AT(file.name), FRAME_NAME_MAX } } },
    [FRAME_FILE_VERDICT] = { "FILE_VERDICT",
                             3,
                             { { FIELD_HASH, AT(file_verdict.hash), 0 },
                               { FIELD_ENUM8, AT(file_verdict.verdict), _FILE_VERDICT_MAX },
                               { FIELD_U64, AT(file_verdict.rows), 0 } } },
    [FRAME_FILE_NOTE] = { "FILE_NOTE",
                          3,
                          { { FIELD_ENUM8, AT(file_note.what), _FILE_NOTE_MAX },
                            { FIELD_TEXT, AT(file_note.name), FRAME_NAME_MAX },
                            { FIELD_TEXT, AT(file_note.message), 0 } } },
    [FRAME_FILE_DONE] = { "FILE_DONE",
                          6,
                          { { FIELD_ENUM8, AT(file_done.outcome), _FILE_END_MAX },
                            { FIELD_HASH, AT(file_done.hash), 0 },
                            { FIELD_U64, AT(file_done.rows), 0 },
                            { FIELD_U64, AT(file_done.quarantined), 0 },
                            { FIELD_U64, AT(file_done.sequence), 0 },
                            { FIELD_TEXT, AT(file_done.error), 0 } } },
    [FRAME_DONE] = { "DONE", 2, { { FIELD_U64, AT(done.rows), 0 }, { FIELD_U64, AT(done.bytes), 0 } } },
    [FRAME_FILE_RETIRED] = { "FILE_RETIRED", 1, { { FIELD_HASH, AT(file_retired.hash), 0 } } },
    [FRAME_PLAN] = { "PLAN", 1, { { FIELD_TEXT, AT(plan.statement), 0 } } },
    [FRAME_LINE] = { "LINE",
                     4,
                     { { FIELD_U64, AT(line.time_us), 0 },
                       { FIELD_TEXT, AT(line.level), FRAME_NAME_MAX },
                       { FIELD_TEXT, AT(line.origin), FRAME_NAME_MAX },
                       { FIELD_TEXT, AT(line.message), 0 } } },
    [FRAME_LINES_END] = { "LINES_END", 0, {} },
};

const char *frame_type_name(FrameType type)
{
    return type > 0 && type < _FRAME_TYPE_MAX ? layouts[type].name : "unknown";
}

/* --- encoding --- */

static size_t frame_open(Buffer *buffer, FrameType type)
{
    size_t start = buffer_length(buffer);
    uint8_t header[FRAME_HEADER_SIZE] = { 0, 0, 0, 0, (uint8_t)type };
    buffer_append(buffer, header, sizeof(header));
    return start;
}

static void frame_close(Buffer *buffer, size_t start)
{
    size_t length = buffer_length(buffer) - start - FRAME_HEADER_SIZE;
    assert(length <= FRAME_PAYLOAD_MAX);
    uint32_t n = (uint32_t)length;
    memcpy(buffer_bytes(buffer) + start, &n, sizeof(n));
}

static void put_text(Buffer *buffer, FrameText text)
{
    buffer_append(buffer, &text.length, sizeof(text.length));
    buffer_append(buffer, text.data, text.length);
}

static void put_field(Buffer *buffer, const Field *field, const Frame *frame)
{
    const uint8_t *at = (const uint8_t *)frame + field->offset;
    uint32_t number;
    switch (field->kind) {
    case FIELD_U8:
    case FIELD_BOOL:
        assert(field->limit == 0 || *at < field->limit);
        buffer_append(buffer, at, 1);
        break;
    case FIELD_U16:
        buffer_append(buffer, at, 2);
        break;
    case FIELD_U32:
        buffer_append(buffer, at, 4);
        break;
    case FIELD_U64:
        buffer_append(buffer, at, 8);
        break;
    case FIELD_ENUM8:
        memcpy(&number, at, sizeof(number));
        assert(number > 0 && number < field->limit);
        buffer_append(buffer, &(uint8_t){ (uint8_t)number }, 1);
        break;
    case FIELD_HASH:
        buffer_append(buffer, at, SHA256_SIZE);
        break;
    case FIELD_TEXT: {
        FrameText text;
        memcpy(&text, at, sizeof(text));
        assert(field->limit == 0 || text.length <= field->limit);
        put_text(buffer, text);
        break;
    }
    }
}

void frame_encode(Buffer *buffer, const Frame *frame)
{
    assert(frame->type > 0 && frame->type < _FRAME_TYPE_MAX && frame->type != FRAME_ROWS);
    const Layout *layout = &layouts[frame->type];
    size_t start = frame_open(buffer, frame->type);
    for (uint8_t i = 0; i < layout->count; i++)
        put_field(buffer, &layout->fields[i], frame);
    if (frame->type == FRAME_TABLE)
        for (uint32_t i = 0; i < frame->table.column_count; i++) {
            const FrameColumn *column = &frame->table.columns[i];
            put_text(buffer, column->name);
            uint8_t rest[4] = { (uint8_t)column->type, column->flags, column->precision, column->scale };
            buffer_append(buffer, rest, sizeof(rest));
        }
    frame_close(buffer, start);
}

#define ROWS_HEADER_SIZE 8 /* u16 table, u8 operation, u8 0, u32 rows */

RowsWriter rows_begin(Buffer *buffer, uint16_t table, Operation operation)
{
    /* Positions are kept from the start of the memory: nothing may be consumed while a frame is open. */
    RowsWriter rows = { .buffer = buffer };
    if (buffer->begin > 0 && buffer_length(buffer) == 0)
        buffer_reset(buffer);
    assert(buffer->begin == 0);
    rows.start = frame_open(buffer, FRAME_ROWS);
    uint8_t header[ROWS_HEADER_SIZE] = { 0, 0, (uint8_t)operation };
    memcpy(header, &table, sizeof(table));
    buffer_append(buffer, header, sizeof(header));
    return rows;
}

void rows_end(RowsWriter *rows)
{
    if (rows->count == 0) {
        rows->buffer->end = rows->start;
        return;
    }
    memcpy(buffer_bytes(rows->buffer) + rows->start + FRAME_HEADER_SIZE + 4, &rows->count, sizeof(rows->count));
    frame_close(rows->buffer, rows->start);
}

/* --- decoding --- */

typedef struct Payload {
    const uint8_t *next;
    const uint8_t *end;
} Payload;

static bool take(Payload *payload, void *ret, size_t n)
{
    if ((size_t)(payload->end - payload->next) < n)
        return false;
    memcpy(ret, payload->next, n);
    payload->next += n;
    return true;
}

static bool take_text(Payload *payload, uint32_t limit, FrameText *ret)
{
    uint32_t length;
    if (!take(payload, &length, sizeof(length)) || (size_t)(payload->end - payload->next) < length ||
        (limit && length > limit))
        return false;
    *ret = (FrameText){ (const char *)payload->next, length };
    payload->next += length;
    return true;
}

static bool take_field(Payload *payload, const Field *field, Frame *frame)
{
    uint8_t *at = (uint8_t *)frame + field->offset;
    uint8_t small;
    uint16_t medium;
    uint32_t large;
    switch (field->kind) {
    case FIELD_U8:
        return take(payload, at, 1) && (field->limit == 0 || *at < field->limit);
    case FIELD_BOOL:
        if (!take(payload, &small, 1) || small > 1)
            return false;
        *(bool *)at = small;
        return true;
    case FIELD_U16:
        if (!take(payload, &medium, 2) || (field->limit && medium >= field->limit))
            return false;
        memcpy(at, &medium, 2);
        return true;
    case FIELD_U32:
        if (!take(payload, &large, 4) || (field->limit && large >= field->limit))
            return false;
        memcpy(at, &large, 4);
        return true;
    case FIELD_U64:
        return take(payload, at, 8);
    case FIELD_ENUM8:
        if (!take(payload, &small, 1) || small == 0 || small >= field->limit)
            return false;
        large = small;
        memcpy(at, &large, sizeof(large));
        return true;
    case FIELD_HASH:
        return take(payload, at, SHA256_SIZE);
    case FIELD_TEXT: {
        FrameText text;
        if (!take_text(payload, field->limit, &text))
            return false;
        memcpy(at, &text, sizeof(text));
        return true;
    }
    }
    return false;
}

static bool take_columns(FrameReader *reader, Payload *payload, Frame *frame)
{
    size_t count = frame->table.column_count;
    /* A column is at least 8 bytes: never allocate for more than the payload can hold. */
    if (count > (size_t)(payload->end - payload->next) / 8)
        return false;
    if (count > reader->columns_allocated) {
        reader->columns = xrealloc(reader->columns, count * sizeof(*reader->columns));
        reader->columns_allocated = count;
    }
    for (size_t i = 0; i < count; i++) {
        FrameColumn *column = &reader->columns[i];
        uint8_t rest[4];
        if (!take_text(payload, FRAME_NAME_MAX, &column->name) || !take(payload, rest, sizeof(rest)) || rest[0] == 0 ||
            rest[0] >= _COLUMN_TYPE_MAX || rest[1] & ~_COLUMN_FLAGS)
            return false;
        column->type = rest[0];
        column->flags = rest[1];
        column->precision = rest[2];
        column->scale = rest[3];
    }
    frame->table.columns = reader->columns;
    return true;
}

static bool take_rows(Payload *payload, Frame *frame)
{
    uint8_t header[ROWS_HEADER_SIZE];
    if (!take(payload, header, sizeof(header)) || header[2] == 0 || header[2] >= _OPERATION_MAX || header[3] != 0)
        return false;
    memcpy(&frame->rows.table, header, 2);
    frame->rows.operation = header[2];
    memcpy(&frame->rows.count, header + 4, 4);
    frame->rows.data = payload->next;
    frame->rows.length = (uint32_t)(payload->end - payload->next);
    payload->next = payload->end;
    /* A value is at least one byte, and a row at least one value. */
    return frame->rows.table < FRAME_TABLES_MAX && frame->rows.count > 0 && frame->rows.count <= frame->rows.length;
}

void frame_reader_init(FrameReader *reader, uint32_t payload_max)
{
    assert(payload_max <= FRAME_PAYLOAD_MAX);
    *reader = (FrameReader){ .payload_max = payload_max };
}

void frame_reader_clear(FrameReader *reader)
{
    buffer_clear(&reader->buffer);
    free(reader->columns);
    *reader = (FrameReader){ 0 };
}

/* Room offered to a read() where no larger frame is under way: two full ROWS frames. */
#define FRAME_READ_SIZE (2 * FRAME_ROWS_TARGET)

static uint32_t length_in(const uint8_t *header)
{
    uint32_t length;
    memcpy(&length, header, sizeof(length));
    return length;
}

uint8_t *frame_reader_reserve(FrameReader *reader, size_t *ret_n)
{
    size_t have = buffer_length(&reader->buffer), wanted = FRAME_READ_SIZE;
    if (have == 0)
        buffer_reset(&reader->buffer);
    if (have >= FRAME_HEADER_SIZE) {
        size_t whole =
            (size_t)FRAME_HEADER_SIZE + MIN_OF(length_in(buffer_bytes(&reader->buffer)), reader->payload_max);
        if (whole > have)
            wanted = MAX_OF(whole - have, (size_t)1);
    }
    uint8_t *at = buffer_reserve(&reader->buffer, wanted);
    *ret_n = reader->buffer.allocated - reader->buffer.end;
    return at;
}

void frame_reader_added(FrameReader *reader, size_t n)
{
    buffer_added(&reader->buffer, n);
}

int frame_reader_next(FrameReader *reader, Frame *ret, Error *error)
{
    Buffer *buffer = &reader->buffer;
    if (buffer_length(buffer) < FRAME_HEADER_SIZE)
        return FRAME_E_MORE;
    const uint8_t *header = buffer_bytes(buffer);
    uint32_t length = length_in(header);
    uint8_t type = header[4];
    if (type == 0 || type >= _FRAME_TYPE_MAX || header[5] || header[6] || header[7])
        return error_set(error, ERROR_INTERNAL, "not a frame: unknown type %u or reserved bytes in use", type);
    if (length > reader->payload_max)
        return error_set(error, ERROR_INTERNAL, "frame %s of %u bytes is over the limit of %u bytes",
                         layouts[type].name, length, reader->payload_max);
    if (buffer_length(buffer) - FRAME_HEADER_SIZE < length)
        return FRAME_E_MORE;
    Payload payload = { header + FRAME_HEADER_SIZE, header + FRAME_HEADER_SIZE + length };
    Frame frame = { .type = type };
    const Layout *layout = &layouts[type];
    bool good = true;
    for (uint8_t i = 0; good && i < layout->count; i++)
        good = take_field(&payload, &layout->fields[i], &frame);
    if (good && type == FRAME_TABLE)
        good = take_columns(reader, &payload, &frame);
    else if (good && type == FRAME_ROWS)
        good = take_rows(&payload, &frame);
    if (!good || payload.next != payload.end)
        return error_set(error, ERROR_INTERNAL, "malformed frame %s of %u bytes", layout->name, length);
    /* Only moves the front: the views stay where they are until the next reserve. */
    buffer->begin += FRAME_HEADER_SIZE + length;
    *ret = frame;
    return 0;
}

static_assert(_FRAME_TYPE_MAX <= 32, "types are bits of a number");

bool frame_reader_has(const FrameReader *reader, uint32_t types, size_t *offset)
{
    size_t have = buffer_length(&reader->buffer);
    while (have - *offset >= FRAME_HEADER_SIZE) {
        const uint8_t *header = buffer_bytes(&reader->buffer) + *offset;
        uint32_t length = length_in(header);
        uint8_t type = header[4];
        if (type == 0 || type >= _FRAME_TYPE_MAX || length > reader->payload_max)
            return true;
        if (have - *offset - FRAME_HEADER_SIZE < length)
            return false;
        if (types & UINT32_C(1) << type)
            return true;
        *offset += FRAME_HEADER_SIZE + length;
    }
    return false;
}
