/*
 * The sync's log as a table, where `log_table: true` asks for it: LOG_TABLE beside the tables that are synced, with
 * Fivetran's columns, so that whoever has only the destination sees why a table is not fresh.
 *
 * The daemon hands its lines on as they come, masked and limited in rate, and says when there are no more: after the
 * writer's last word and the worker's end, so that the sync's error is among them. Until then they wait here, the first
 * ones and the last ones of a sync that has more than there is room for. Then they are written, in a transaction of
 * their own, whatever became of all others; and lines that are DAYS old go. Nothing of this may fail a sync or keep the
 * next one waiting: what goes wrong is a warning, and what takes too long is given up.
 *
 * A line's id begins with its run's, which begins with the time: lines of one sync lie together, and old ones first.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "connectors/writer/session.h"
#include "lib/basics/clock.h"

#define DAYS 7
#define DAY_US (INT64_C(24) * 3600 * 1000000)
#define HEAD_MAX (1u << 20) /* bytes of the first lines */
#define TAIL_MAX (1u << 20) /* of the last ones, which are dropped by halves */
#define WRITE_MS 7000       /* the daemon ends us after 10 s */

/* Lines one after another, each as a LineHead and its three texts. */
typedef struct Lines {
    Buffer bytes;
    uint64_t first; /* of the sync's lines, from 0 */
} Lines;

typedef struct LineHead {
    int64_t time_us;
    uint32_t level, origin, message; /* bytes */
} LineHead;

typedef enum LogColumn {
    LOG_ID,
    LOG_EVENT_TIME,
    LOG_CONNECTION_ID,
    LOG_SYNC_ID,
    LOG_LEVEL,
    LOG_MESSAGE,
    LOG_MESSAGE_ORIGIN,
    LOG_SYNCED,
    _LOG_COLUMN_MAX
} LogColumn;

static const struct {
    const char *name;
    ColumnType type;
} log_columns[_LOG_COLUMN_MAX] = {
    [LOG_ID] = { "id", COLUMN_STRING },
    [LOG_EVENT_TIME] = { "event_time", COLUMN_INSTANT },
    [LOG_CONNECTION_ID] = { "connection_id", COLUMN_STRING },
    [LOG_SYNC_ID] = { "sync_id", COLUMN_STRING },
    [LOG_LEVEL] = { "level", COLUMN_STRING },
    [LOG_MESSAGE] = { "message", COLUMN_STRING },
    [LOG_MESSAGE_ORIGIN] = { "message_origin", COLUMN_STRING },
    [LOG_SYNCED] = { SYSTEM_COLUMN_SYNCED, COLUMN_INSTANT },
};

struct LogTable {
    char *name;
    Lines head, older, newer;
    uint64_t count; /* of all lines, those left out too */
    bool ended;
    int64_t give_up_ms; /* monotonic; 0: nothing is being written */

    /* while it is written */
    Batch batch;
    Table table; /* as it is there */
    bool there;
    size_t places[_LOG_COLUMN_MAX]; /* in its columns */
    Buffer buffer;
    RowsWriter rows;
};

LogTable *log_table_new(const char *prefix)
{
    LogTable *log = xcalloc(1, sizeof(*log));
    log->name = xasprintf("%s" LOG_TABLE, prefix ? prefix : "");
    return log;
}

LogTable *log_table_free(LogTable *log)
{
    if (!log)
        return NULL;
    buffer_clear(&log->head.bytes);
    buffer_clear(&log->older.bytes);
    buffer_clear(&log->newer.bytes);
    buffer_clear(&log->buffer);
    table_clear(&log->table);
    free(log->name);
    free(log);
    return NULL;
}

/* --- lines that wait --- */

static void put_line(Lines *lines, const Frame *frame)
{
    LineHead head = { .time_us = (int64_t)MIN_OF(frame->line.time_us, (uint64_t)INT64_MAX),
                      .level = frame->line.level.length,
                      .origin = frame->line.origin.length,
                      .message = frame->line.message.length };
    buffer_append(&lines->bytes, &head, sizeof(head));
    buffer_append(&lines->bytes, frame->line.level.data, head.level);
    buffer_append(&lines->bytes, frame->line.origin.data, head.origin);
    buffer_append(&lines->bytes, frame->line.message.data, head.message);
}

void log_table_take(LogTable *log, const Frame *frame)
{
    if (frame->type == FRAME_LINES_END) {
        log->ended = true;
        return;
    }
    bool in_head = buffer_length(&log->head.bytes) < HEAD_MAX && buffer_length(&log->newer.bytes) == 0;
    if (!in_head && buffer_length(&log->newer.bytes) >= TAIL_MAX / 2) {
        buffer_clear(&log->older.bytes);
        log->older = log->newer;
        log->newer = (Lines){ 0 };
    }
    if (!in_head && buffer_length(&log->newer.bytes) == 0)
        log->newer.first = log->count;
    put_line(in_head ? &log->head : &log->newer, frame);
    log->count++;
}

bool log_table_gives_up(const LogTable *log)
{
    return log && log->give_up_ms > 0 && clock_monotonic_ms() >= log->give_up_ms;
}

/* --- the table --- */

static Table new_table(const char *name)
{
    Table table = { .name = xstrdup(name), .columns = xcalloc(_LOG_COLUMN_MAX, sizeof(FrameColumn)) };
    for (LogColumn i = 0; i < _LOG_COLUMN_MAX; i++)
        table.columns[i] =
            (FrameColumn){ .name = frame_text(xstrdup(log_columns[i].name)), .type = log_columns[i].type };
    table.columns[LOG_ID].flags = COLUMN_KEY;
    table.columns[LOG_SYNCED].flags = COLUMN_SYSTEM;
    table.column_count = _LOG_COLUMN_MAX;
    return table;
}

static bool is_column(const Writer *writer, const FrameColumn *column, LogColumn wanted)
{
    const char *name = column->name.data;
    return strcmp(name, log_columns[wanted].name) == 0 ||
           (writer->destination->names_ignore_case && strcasecmp(name, log_columns[wanted].name) == 0);
}

/* Somebody may have another table of this name, or have changed this one. */
static int find_columns(const Writer *writer, Error *error)
{
    LogTable *log = writer->log_table;
    size_t keys = 0;
    for (size_t i = 0; i < log->table.column_count; i++)
        keys += (log->table.columns[i].flags & COLUMN_KEY) != 0;
    for (LogColumn column = 0; column < _LOG_COLUMN_MAX; column++) {
        size_t i = 0;
        while (i < log->table.column_count && !is_column(writer, &log->table.columns[i], column))
            i++;
        log->places[column] = i;
        if (i < log->table.column_count && log->table.columns[i].type == log_columns[column].type)
            continue;
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" is not one of log lines: it %s column \"%s\"; give it another name, or drop it",
                         log->name, i < log->table.column_count ? "has another type of" : "lacks the",
                         log_columns[column].name);
    }
    if (keys != 1 || !(log->table.columns[log->places[LOG_ID]].flags & COLUMN_KEY))
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" is not one of log lines: its key is not the column \"%s\"; give it another "
                         "name, or drop it",
                         log->name, log_columns[LOG_ID].name);
    return 0;
}

/* Into an open batch. The table's id is none of the stream's. */
static int make_table(Writer *writer, Error *error)
{
    LogTable *log = writer->log_table;
    const Destination *destination = writer->destination;
    if (destination->describe(writer->handle, log->name, &log->table, &log->there, error) < 0)
        return -1;
    if (!log->there) {
        table_clear(&log->table);
        log->table = new_table(log->name);
    }
    log->table.id = (uint16_t)writer->sequence.table_count;
    SchemaChange create = { .type = SCHEMA_CREATE };
    if (!log->there && destination->change(writer->handle, &log->table, &create, error) < 0)
        return -1;
    return find_columns(writer, error);
}

/* --- rows --- */

static Value text_value(const char *data, size_t length)
{
    return (Value){ .tag = VALUE_STRING, .text = { data, (uint32_t)length } };
}

static int write_rows(Writer *writer, Error *error)
{
    LogTable *log = writer->log_table;
    if (log->rows.count == 0)
        return 0;
    Frame frame = { .type = FRAME_ROWS,
                    .rows = { .table = log->table.id,
                              .operation = OPERATION_UPSERT,
                              .count = log->rows.count,
                              .data = buffer_bytes(&log->buffer),
                              .length = (uint32_t)buffer_length(&log->buffer) } };
    int r = writer->destination->write(writer->handle, &log->table, &frame, 1, error);
    buffer_reset(&log->buffer);
    log->rows.count = 0;
    return r;
}

static int put_row(Writer *writer, uint64_t number, const LineHead *head, const char *texts, Error *error)
{
    LogTable *log = writer->log_table;
    _cleanup_(freep) char *id = xasprintf("%s-%08llu", writer->run_id, (unsigned long long)number);
    const char *connection = writer->rules.connection;
    Value values[_LOG_COLUMN_MAX] = {
        [LOG_ID] = text_value(id, strlen(id)),
        [LOG_EVENT_TIME] = value_instant(head->time_us),
        [LOG_CONNECTION_ID] = text_value(connection, strlen(connection)),
        [LOG_SYNC_ID] = text_value(writer->run_id, strlen(writer->run_id)),
        [LOG_LEVEL] = text_value(texts, head->level),
        [LOG_MESSAGE_ORIGIN] = text_value(texts + head->level, head->origin),
        [LOG_MESSAGE] = text_value(texts + head->level + head->origin, head->message),
        [LOG_SYNCED] = value_instant(log->batch.started_us),
    };
    for (size_t i = 0; i < log->table.column_count; i++) {
        Value value = { .tag = VALUE_NULL };
        for (LogColumn column = 0; column < _LOG_COLUMN_MAX; column++)
            if (log->places[column] == i)
                value = values[column];
        rows_put_value(&log->rows, &value);
    }
    rows_row_done(&log->rows);
    return buffer_length(&log->buffer) < FRAME_ROWS_TARGET ? 0 : write_rows(writer, error);
}

static int put_lines(Writer *writer, const Lines *lines, uint64_t *ret_next, Error *error)
{
    const uint8_t *at = buffer_bytes(&lines->bytes), *end = at + buffer_length(&lines->bytes);
    if (at < end)
        *ret_next = lines->first;
    for (; at < end; (*ret_next)++) {
        LineHead head;
        memcpy(&head, at, sizeof(head));
        at += sizeof(head);
        if (put_row(writer, *ret_next, &head, (const char *)at, error) < 0)
            return -1;
        at += head.level + head.origin + head.message;
    }
    return 0;
}

/* In the place of lines that there was no room for. */
static int put_gap(Writer *writer, uint64_t next, Error *error)
{
    static const char level_and_origin[] = "WARNINGlibrary";
    const LogTable *log = writer->log_table;
    const Lines *after = buffer_length(&log->older.bytes) > 0 ? &log->older : &log->newer;
    if (buffer_length(&after->bytes) == 0 || after->first == next)
        return 0;
    LineHead head;
    memcpy(&head, buffer_bytes(&after->bytes), sizeof(head));
    _cleanup_(freep) char *texts = xasprintf("%s%llu lines are left out here: a sync has too many to keep; the log "
                                             "has more of them",
                                             level_and_origin, (unsigned long long)(after->first - next));
    head.level = strlen("WARNING");
    head.origin = strlen("library");
    head.message = (uint32_t)(strlen(texts) - strlen(level_and_origin));
    return put_row(writer, next, &head, texts, error);
}

static int put_all(Writer *writer, Error *error)
{
    const LogTable *log = writer->log_table;
    uint64_t next = 0;
    return put_lines(writer, &log->head, &next, error) < 0 || put_gap(writer, next, error) < 0 ||
                   put_lines(writer, &log->older, &next, error) < 0 || put_lines(writer, &log->newer, &next, error) < 0
               ? -1
               : write_rows(writer, error);
}

/* --- the transaction --- */

static int delete_old(Writer *writer, Error *error)
{
    const LogTable *log = writer->log_table;
    int64_t before_us = log->batch.started_us - DAYS * DAY_US;
    /* A run's id begins with its first moment (RFC 9562, version 7), and no line of it is older. */
    uint64_t ms = (uint64_t)(before_us / 1000);
    _cleanup_(freep) char *key =
        xasprintf("%08llx-%04llx", (unsigned long long)(ms >> 16), (unsigned long long)(ms & 0xffff));
    return writer->destination->expire(writer->handle, &log->table, log_columns[LOG_ID].name, key,
                                       log_columns[LOG_EVENT_TIME].name, before_us, error);
}

static int begin(Writer *writer, Error *error)
{
    LogTable *log = writer->log_table;
    log->batch = (Batch){ .run_id = writer->run_id, .started_us = clock_wall_us(), .log = true };
    log->rows.buffer = &log->buffer;
    return writer->destination->begin(writer->handle, &log->batch, error);
}

static int write_all(Writer *writer, Error *error)
{
    LogTable *log = writer->log_table;
    const Destination *destination = writer->destination;
    if (begin(writer, error) < 0 || make_table(writer, error) < 0 || put_all(writer, error) < 0 ||
        destination->merge(writer->handle, &log->table, error) < 0 || (log->there && delete_old(writer, error) < 0))
        return -1;
    return destination->commit(writer->handle, &log->batch, error);
}

/* The daemon has the last line, or is gone, and with it all who could tell. */
static bool wait_for_end(Writer *writer)
{
    struct pollfd poller = { .fd = writer->control.fd, .events = POLLIN };
    while (!writer->log_table->ended) {
        if (writer->daemon_gone || control_take(writer, NULL) < 0)
            return false;
        if (!writer->log_table->ended && poll(&poller, 1, -1) < 0 && errno != EINTR)
            return false;
    }
    return true;
}

void log_table_finish(Writer *writer)
{
    LogTable *log = writer->log_table;
    if (!wait_for_end(writer) || log->count == 0)
        return;
    writer->cancelled = false; /* that was the sync */
    log->give_up_ms = clock_monotonic_ms() + WRITE_MS;
    _cleanup_(error_clear) Error error = { 0 };
    if (write_all(writer, &error) == 0)
        return;
    writer->destination->abort(writer->handle);
    if (log_table_gives_up(log))
        writer_log(writer, LOG_WARNING, "the log lines of this sync are not in table \"%s\": it took longer than %d s",
                   log->name, WRITE_MS / 1000);
    else
        writer_log(writer, LOG_WARNING, "the log lines of this sync are not in table \"%s\": %s", log->name,
                   error.message);
}

void log_table_plan(Writer *writer)
{
    LogTable *log = writer->log_table;
    _cleanup_(error_clear) Error error = { 0 };
    if (begin(writer, &error) == 0 && make_table(writer, &error) == 0 &&
        writer->destination->commit(writer->handle, &log->batch, &error) == 0)
        return;
    writer->destination->abort(writer->handle);
    buffer_reset(&writer->planned);
    writer_log(writer, LOG_WARNING, "log lines would not be written to table \"%s\": %s", log->name, error.message);
}
