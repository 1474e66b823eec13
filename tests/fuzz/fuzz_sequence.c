/*
 * Any bytes on the op pipe, through codec, checker and the application of operations, into a destination in memory that
 * trusts what destination.h promises and traps where it is broken: the order of its functions, and that every value it
 * is given is one its column can hold. Outside files its tables live as long as the destination, without their rows.
 *
 * The first byte chooses the rules, the second which of the destination's calls fail, and how.
 */
#include <assert.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "connectors/writer/session.h"
#include "lib/basics/text.h"

#define MAX_VALUE 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY_TABLES 64

enum {
    RULE_FILES = 1,
    RULE_NO_CASE = 2,
    RULE_TRUNCATE = 4,
    RULE_ONE_TABLE = 8,
    RULE_INSERT_ONLY = 16,
    RULE_HISTORY = 32, /* with RULE_FILES: files of changes */
    RULE_FULL = 64,
    RULE_LITTLE_MEMORY = 128
};

typedef struct Memory {
    bool in_batch, is_file, is_changes;
    uint8_t begun[FRAME_TABLES_MAX], ensured[FRAME_TABLES_MAX];
    uint64_t batch_rows, committed_rows, sequence;
    unsigned calls, fail_every;
    ErrorKind fail_kind;
    Table tables[MEMORY_TABLES]; /* of operations */
    size_t table_count;
    Buffer last_key; /* of the last row of the open merge, with its operation before it */
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
    memory->in_batch = true;
    memory->is_file = batch->is_file;
    memory->batch_rows = 0;
    memset(memory->begun, 0, sizeof(memory->begun));
    memset(memory->ensured, 0, sizeof(memory->ensured));
    buffer_reset(&memory->last_key);
    return outcome(memory, error);
}

static int memory_files_lost(void *destination, const char *table, uint64_t *ret, Error *error)
{
    Memory *memory = destination;
    assert(*table);
    *ret = memory->sequence % 3;
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

static Table *memory_table(Memory *memory, const char *name)
{
    for (size_t i = 0; i < memory->table_count; i++)
        if (strcmp(memory->tables[i].name, name) == 0)
            return &memory->tables[i];
    return NULL;
}

static void copy_column(Table *to, const FrameColumn *column)
{
    to->columns = xrealloc(to->columns, (to->column_count + 1) * sizeof(*to->columns));
    FrameColumn *copy = &to->columns[to->column_count++];
    *copy = *column;
    copy->name.data = xstrdup(column->name.data);
}

static int memory_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error)
{
    Memory *memory = destination;
    const Table *table = memory_table(memory, name);
    assert(memory->in_batch && !memory->is_file);
    if (outcome(memory, error) < 0)
        return -1;
    *ret_found = table != NULL;
    *ret = (Table){ .name = xstrdup(name) };
    for (size_t i = 0; table && i < table->column_count; i++)
        copy_column(ret, &table->columns[i]);
    return 0;
}

static void add_column(Table *table, const FrameColumn *column)
{
    for (size_t i = 0; i < table->column_count; i++)
        assert(strcmp(table->columns[i].name.data, column->name.data) != 0);
    copy_column(table, column);
}

static int memory_change(void *destination, const Table *table, const SchemaChange *change, Error *error)
{
    Memory *memory = destination;
    Table *is = memory_table(memory, table->name);
    assert(memory->in_batch && change->column < table->column_count);
    if (outcome(memory, error) < 0)
        return -1;
    const FrameColumn *column = &table->columns[change->column];
    if (change->type == SCHEMA_CREATE) {
        assert(!is);
        if (memory->table_count == MEMORY_TABLES)
            return error_set(error, ERROR_TEMPORARY, "the destination is full");
        is = &memory->tables[memory->table_count++];
        *is = (Table){ .name = xstrdup(table->name) };
        for (size_t i = 0; i < table->column_count; i++)
            add_column(is, &table->columns[i]);
        return 0;
    }
    assert(is);
    if (change->type == SCHEMA_ADD) {
        add_column(is, column);
        return 0;
    }
    FrameColumn *old = &is->columns[change->column];
    assert(change->column < is->column_count && strcmp(old->name.data, column->name.data) == 0);
    if (change->type == SCHEMA_WIDEN) {
        Kind from = { old->type, old->precision, old->scale }, to = { column->type, column->precision, column->scale };
        assert(kind_equal(from, change->from) && !kind_equal(from, to));
        Kind join = kind_join(from, to);
        assert(kind_equal(join, to) || to.type == COLUMN_STRING);
        old->type = column->type;
        old->precision = column->precision;
        old->scale = column->scale;
    } else {
        assert(change->type == SCHEMA_INEXACT);
        old->flags |= COLUMN_INEXACT;
    }
    return 0;
}

/* Keys come once, in order, and only with values. */
static void check_key(Memory *memory, const Table *table, const Value *values, Operation operation)
{
    Buffer key = { 0 };
    uint8_t before = (uint8_t)operation;
    buffer_append(&key, &before, 1);
    for (size_t i = 0; i < table->column_count; i++) {
        if (!(table->columns[i].flags & COLUMN_KEY))
            continue;
        assert(values[i].tag != VALUE_NULL && values[i].tag != VALUE_ABSENT);
        Kind kind = { table->columns[i].type, table->columns[i].precision, table->columns[i].scale };
        key_append(&key, kind, &values[i]);
    }
    size_t n = buffer_length(&key), m = buffer_length(&memory->last_key);
    if (m > 0 && buffer_bytes(&memory->last_key)[0] == before && table->column_count > 0) {
        int r = memcmp(buffer_bytes(&memory->last_key), buffer_bytes(&key), MIN_OF(n, m));
        /* With history the start stands in the key too, and is the same in all. */
        assert(r < 0 || (r == 0 && m < n));
    }
    buffer_clear(&memory->last_key);
    memory->last_key = key;
}

static int memory_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    Memory *memory = destination;
    bool insert = rows->rows.operation == OPERATION_INSERT;
    assert(memory->in_batch && rows->rows.count > 0);
    assert(insert == memory->is_file || (memory->is_changes && rows->rows.operation == OPERATION_DELETE));
    if (memory->is_file)
        assert(memory->ensured[table->id] && memory->begun[table->id]);
    if (insert && !memory->is_changes)
        assert(first_row == memory->batch_rows + 1);
    if (!memory->is_file)
        assert(memory_table(memory, table->name)->column_count == table->column_count);
    RowCursor cursor = row_cursor(rows);
    Value *values = xcalloc(table->column_count, sizeof(*values));
    for (uint32_t row = 0; row < rows->rows.count; row++) {
        for (size_t i = 0; i < table->column_count; i++) {
            if (!row_cursor_value(&cursor, &values[i]))
                __builtin_trap();
            check_value(&table->columns[i], &values[i]);
            assert(insert || rows->rows.operation != OPERATION_UPSERT || values[i].tag != VALUE_ABSENT);
        }
        if (!insert)
            check_key(memory, table, values, rows->rows.operation);
    }
    free(values);
    assert(cursor.next == cursor.end);
    if (insert)
        memory->batch_rows += rows->rows.count;
    return outcome(memory, error);
}

static int memory_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error)
{
    Memory *memory = destination;
    assert(memory_table(memory, table));
    *ret = *column & 1;
    return outcome(memory, error);
}

static int memory_merge(void *destination, const Table *table, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && (memory->is_changes || memory_table(memory, table->name)));
    buffer_reset(&memory->last_key);
    return outcome(memory, error);
}

static int memory_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch);
    assert(memory_table(memory, table->name));
    assert(before_us > 0);
    assert(at_us > 0);
    return outcome(memory, error);
}

static int memory_drop(void *destination, const char *name, Error *error)
{
    Memory *memory = destination;
    Table *table = memory_table(memory, name);
    assert(memory->in_batch && table);
    table_clear(table);
    *table = memory->tables[--memory->table_count];
    return outcome(memory, error);
}

static int memory_commit(void *destination, const Batch *batch, Error *error)
{
    Memory *memory = destination;
    assert(memory->in_batch && batch->is_file == memory->is_file);
    assert(!batch->is_file || memory->is_changes || batch->rows == memory->batch_rows);
    memory->batch_rows = batch->rows;
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
                                                .files_lost = memory_files_lost,
                                                .begin = memory_begin,
                                                .ensure_table = memory_ensure,
                                                .file_begin = memory_file_begin,
                                                .write = memory_write,
                                                .describe = memory_describe,
                                                .has_inexact = memory_has_inexact,
                                                .change = memory_change,
                                                .merge = memory_merge,
                                                .soft_delete = memory_soft_delete,
                                                .drop = memory_drop,
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

static void memory_clear(Memory *memory)
{
    for (size_t i = 0; i < memory->table_count; i++)
        table_clear(&memory->tables[i]);
    buffer_clear(&memory->last_key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t rules = data[0], failures = data[1];
    static Memory memory;
    memory = (Memory){ .fail_every = failures & 15, .fail_kind = failures & 16 ? ERROR_DATA : ERROR_TEMPORARY };
    Destination destination = memory_destination;
    unsigned operations = rules & RULE_INSERT_ONLY ? OPERATION_BIT(OPERATION_INSERT) : ~OPERATION_BIT(OPERATION_INSERT);
    int changes_fd = -1;
    if (rules & RULE_FILES) {
        operations = OPERATION_BIT(rules & RULE_HISTORY ? OPERATION_UPSERT : OPERATION_INSERT);
        memory.is_changes = rules & RULE_HISTORY;
        changes_fd = memory.is_changes ? memfd_create("changes", MFD_CLOEXEC) : -1;
    }
    Aside *aside = NULL;
    if (!(rules & RULE_FILES))
        aside = aside_new(memfd_create("aside", MFD_CLOEXEC), rules & RULE_FULL ? 1 << 10 : 1 << 20);
    destination.names_ignore_case = rules & RULE_NO_CASE;
    json_t *dropped = rules & RULE_ONE_TABLE ? json_pack("[s]", "orders") : NULL;
    Writer writer = { .destination = &destination,
                      .handle = &memory,
                      .control = { .fd = -1 },
                      .run_id = "run",
                      .files = rules & RULE_FILES,
                      .rules = { .destination = &destination,
                                 .handle = &memory,
                                 .policy = failures >> 6 & 3,
                                 .history = rules & RULE_HISTORY,
                                 .connection = "orders" },
                      .drop_tables = dropped,
                      .full = rules & RULE_FULL,
                      /* one row; or what a few rows of one table take, and then one of another */
                      .coalesce_memory = rules & RULE_LITTLE_MEMORY ? 1 : 300 << 10,
                      .aside = aside,
                      .changes_fd = changes_fd,
                      .changes =
                          changes_fd < 0 ? NULL : spool_new(changes_fd, rules & RULE_LITTLE_MEMORY ? 1 : 1 << 20),
                      .commit_interval_ms = failures & 32 ? 3600000 : 0 };
    sequence_init(&writer.sequence, &(SequenceRules){ .files = rules & RULE_FILES,
                                                      .rows = !(rules & RULE_FILES),
                                                      .truncate = rules & RULE_TRUNCATE,
                                                      .changes = memory.is_changes,
                                                      .only_table = rules & RULE_ONE_TABLE ? "orders" : NULL,
                                                      .operations = operations,
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
    memory_clear(&memory);
    json_decref(dropped);
    return 0;
}
