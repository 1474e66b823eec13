/*
 * What a program may print, line by line: whatever it is, it is taken, said or refused, and what reaches the pipe is
 * well-formed rows of as many values as the table has columns.
 */
#include <assert.h>
#include <poll.h>

#include "connectors/sources/exec/line.h"

#define TABLES_MAX FRAME_TABLES_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct Worker {
    Buffer frames;
    RowsWriter rows;
    bool open;
    uint16_t table;
    Operation operation;
    size_t columns[TABLES_MAX];
};

static void close_rows(Worker *worker)
{
    if (!worker->open)
        return;
    worker->open = false;
    uint32_t count = worker->rows.count;
    rows_end(&worker->rows);
    RowCursor cursor = { buffer_bytes(&worker->frames) + FRAME_HEADER_SIZE + 8,
                         buffer_bytes(&worker->frames) + buffer_length(&worker->frames) };
    Value value;
    for (size_t i = 0; i < count * worker->columns[worker->table]; i++) {
        bool good = row_cursor_value(&cursor, &value);
        assert(good);
        assert(value.tag != VALUE_STRING || value.text.length < (64 << 10));
    }
    assert(count == 0 || cursor.next == cursor.end);
    buffer_reset(&worker->frames);
}

int worker_table(Worker *worker, uint16_t id, const char *name, uint8_t flags, const FrameColumn *columns, size_t count,
                 Error *error)
{
    close_rows(worker);
    assert(count >= worker->columns[id] && *name);
    for (size_t i = 0; i < count; i++)
        assert(columns[i].type > 0 && columns[i].type < _COLUMN_TYPE_MAX && columns[i].name.length > 0);
    worker->columns[id] = count;
    return 0;
}

bool worker_plans(const Worker *worker)
{
    return false;
}

int worker_enough(Worker *worker, Error *error)
{
    return error_set(error, ERROR_CANCELLED, "the plan needs no more");
}

int worker_truncate(Worker *worker, uint16_t table, Error *error)
{
    close_rows(worker);
    return 0;
}

RowsWriter *worker_rows(Worker *worker, uint16_t table, Operation operation)
{
    if (worker->open && worker->table == table && worker->operation == operation)
        return &worker->rows;
    close_rows(worker);
    worker->rows = rows_begin(&worker->frames, table, operation);
    worker->open = true;
    worker->table = table;
    worker->operation = operation;
    return &worker->rows;
}

int worker_send_rows(Worker *worker, Error *error)
{
    close_rows(worker);
    return 0;
}

int worker_checkpoint(Worker *worker, const char *state, Error *error)
{
    assert(state[0] == '{' && state[strlen(state) - 1] == '}');
    close_rows(worker);
    return 0;
}

void worker_log(Worker *worker, int priority, const char *format, ...)
{
    assert(priority >= 0 && priority <= 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Worker worker;
    memset(worker.columns, 0, sizeof(worker.columns));
    const EmitterOptions options = { .base64 = true,
                                     .source_names = size > 0 && data[0] == '#',
                                     .max_value_size = 4096 };
    Emitter *emitter = emitter_new(&worker, &options);
    Lines *lines = lines_new(&worker, emitter);
    const char *text = (const char *)data, *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = newline ? (size_t)(newline - text) : (size_t)(end - text);
        char *line = xstrndup(text, n); /* of its own, so that reading past it is seen */
        Error error = { 0 };
        int r = lines_take(lines, line, n, &error);
        assert((r < 0) == (error.kind != ERROR_NONE));
        error_clear(&error);
        free(line);
        text += n + 1;
    }
    emitter_flush(emitter, NULL);
    close_rows(&worker);
    lines_free(lines);
    emitter_free(emitter);
    return 0;
}
