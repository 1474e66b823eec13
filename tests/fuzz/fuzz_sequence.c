/*
 * Any bytes on the op pipe, through codec, checker and the application of operations, into a destination in memory that
 * trusts what destination.h promises and traps where it is broken: the order of its functions, and that every value it
 * is given is one its column can hold.
 *
 * The first byte chooses the rules, the second which of the destination's calls fail, and how.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "connectors/writer/session.h"
#include "lib/basics/text.h"

#define MAX_VALUE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RULE_FILES = 1, RULE_ROWS = 2, RULE_TRUNCATE = 4, RULE_ONE_TABLE = 8, RULE_INSERT_ONLY = 16 };

typedef struct Memory {
    bool in_batch, is_file;
    uint8_t begun[FRAME_TABLES_MAX], ensured[FRAME_TABLES_MAX];
    uint64_t batch_rows, committed_rows, sequence;
    unsigned calls, fail_every;
    ErrorKind fail_kind;
} Memory;

static int outcome(Memory *memory, Error *error)
{
    if (memory->fail_every == 0 || ++memory->calls % memory->fail_every != 0)
        return 0;
    return error_set(error, memory->fail_kind, "the destination fails");
}

static int memory_begin(void *destination, const Batch *batch, Error *error)
{
    Memory *memory = destination;
    assert(!memory->in_batch && batch->sequence == memory->sequence + 1 && batch->epoch > 0 && batch->rows == 0);
    assert(!batch->is_file || batch->file_name);
    *memory = (Memory){ .in_batch = true,
                        .is_file = batch->is_file,
                        .committed_rows = memory->committed_rows,
                        .sequence = memory->sequence,
                        .calls = memory->calls,
                        .fail_every = memory->fail_every,
                        .fail_kind = memory->fail_kind };
    return outcome(memory, error);
}

static int memory_ensure(void *destination, const Table *table, const Batch *batch, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && table->column_count > 0 && strncasecmp(table->name, "_wherry_", 8) != 0);
    memory->ensured[table->id] = 1;
    return outcome(memory, error);
}

static int memory_file_begin(void *destination, const Table *table, const Batch *batch, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && memory->is_file && memory->ensured[table->id] && !memory->begun[table->id]);
    memory->begun[table->id] = 1;
    return outcome(memory, error);
}

static void check_value(const FrameColumn *column, const Value *value)
{
    assert(value->tag == VALUE_NULL || value->tag == VALUE_ABSENT || column_type_accepts(column->type, value->tag));
    char text[MAX_OF(DATE_TEXT_MAX, TIMESTAMP_TEXT_MAX)];
    switch (value->tag) {
    case VALUE_FLOAT:
        assert(isfinite(value->number));
        break;
    case VALUE_DATE:
        assert(date_format(value->days, text) == 10);
        break;
    case VALUE_TIMESTAMP:
        assert(timestamp_format(&value->timestamp, text) <= TIMESTAMP_TEXT_MAX);
        break;
    case VALUE_STRING:
    case VALUE_JSON:
        assert(utf8_valid_length(value->text.data, value->text.length) == value->text.length);
        __attribute__((fallthrough));
    case VALUE_DECIMAL:
    case VALUE_BINARY:
        assert(value->text.length <= MAX_VALUE);
        break;
    default:
        break;
    }
}

static int memory_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && memory->ensured[table->id] && (!memory->is_file || memory->begun[table->id]));
    assert(first_row == memory->batch_rows + 1 && rows->rows.count > 0);
    RowCursor cursor = row_cursor(rows);
    for (uint32_t row = 0; row < rows->rows.count; row++)
        for (size_t i = 0; i < table->column_count; i++) {
            Value value;
            if (!row_cursor_value(&cursor, &value))
                __builtin_trap();
            check_value(&table->columns[i], &value);
        }
    assert(cursor.next == cursor.end);
    memory->batch_rows += rows->rows.count;
    return outcome(memory, error);
}

static int memory_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && memory->ensured[table->id]);
    return outcome(memory, error);
}

static int memory_commit(void *destination, const Batch *batch, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && batch->rows == memory->batch_rows && batch->is_file == memory->is_file);
    if (outcome(memory, error) < 0)
        return -1;
    memory->in_batch = false;
    memory->sequence = batch->sequence;
    memory->committed_rows += memory->batch_rows;
    return 0;
}

static void memory_abort(void *destination)
{
    Memory *memory = destination;
    assert(memory->in_batch);
    memory->in_batch = false;
}

static const Destination memory_destination = { .program = "destination-memory",
                                                .begin = memory_begin,
                                                .ensure_table = memory_ensure,
                                                .file_begin = memory_file_begin,
                                                .write = memory_write,
                                                .soft_delete = memory_soft_delete,
                                                .commit = memory_commit,
                                                .abort = memory_abort };

static int feed(Writer *writer, const uint8_t *data, size_t size, Error *error)
{
    FrameReader reader;
    Frame frame;
    int r = FRAME_E_MORE;
    frame_reader_init(&reader, 1 << 20);
    while (size > 0 && r >= 0 && writer->sequence.state != SEQUENCE_ENDED) {
        size_t room;
        uint8_t *at = frame_reader_reserve(&reader, &room);
        size_t n = MIN_OF(room, size);
        memcpy(at, data, n);
        frame_reader_added(&reader, n);
        data += n;
        size -= n;
        while ((r = frame_reader_next(&reader, &frame, error)) == 0 &&
               (r = apply_operation(writer, &frame, error)) == 0 && writer->sequence.state != SEQUENCE_ENDED) {
        }
    }
    frame_reader_clear(&reader);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t rules = data[0], failures = data[1];
    static Memory memory;
    memory = (Memory){ .fail_every = failures & 15, .fail_kind = failures & 16 ? ERROR_DATA : ERROR_TEMPORARY };
    Writer writer = { .destination = &memory_destination,
                      .handle = &memory,
                      .control = { .fd = -1 },
                      .run_id = "run",
                      .commit_interval_ms = failures & 32 ? 3600000 : 0 };
    sequence_init(&writer.sequence,
                  &(SequenceRules){ .files = rules & RULE_FILES,
                                    .rows = rules & RULE_ROWS,
                                    .truncate = rules & RULE_TRUNCATE,
                                    .only_table = rules & RULE_ONE_TABLE ? "orders" : NULL,
                                    .operations = rules & RULE_INSERT_ONLY ? OPERATION_BIT(OPERATION_INSERT) : ~0u,
                                    .max_value_size = MAX_VALUE,
                                    .destination = "destination-memory" });
    Error error = { 0 };
    int r = feed(&writer, data + 2, size - 2, &error);
    assert((r < 0) == (error.kind != ERROR_NONE));
    assert(writer.in_batch == memory.in_batch || r < 0);
    if (writer.sequence.state == SEQUENCE_ENDED && r == 0)
        assert(!memory.in_batch && writer.rows_committed == memory.committed_rows &&
               writer.rows_seen == memory.committed_rows);
    apply_abort(&writer);
    assert(!memory.in_batch);
    error_clear(&error);
    apply_clear(&writer);
    return 0;
}
