/*
 * For a person who debugs a connector: what comes over the pipe is told as log lines, "[SchemaChange]: TABLE",
 * "Checkpoint: STATE" and, at the end, "SYNC PROGRESS: {…}" with the number of calls. The writer is who sees all of it,
 * since sources may write to the pipe from more than one process. wherryctl debug makes of it what it shows.
 */
#include <syslog.h>

#include "connectors/writer/session.h"

static void tell_change(const char *table, void *userdata)
{
    writer_log(userdata, LOG_INFO, "[SchemaChange]: %s", table);
}

void debug_begin(Writer *writer, const json_t *configuration)
{
    writer->debug = json_is_true(json_object_get(configuration, "debug"));
    if (!writer->debug)
        return;
    writer->rules.changed = tell_change;
    writer->rules.userdata = writer;
}

void debug_frame(Writer *writer, const Frame *frame)
{
    if (!writer->debug)
        return;
    if (frame->type == FRAME_ROWS && frame->rows.operation < _OPERATION_MAX)
        writer->calls[frame->rows.operation] += frame->rows.count;
    writer->truncates += frame->type == FRAME_TRUNCATE;
    if (frame->type != FRAME_CHECKPOINT)
        return;
    writer->checkpoints++;
    writer_log(writer, LOG_INFO, "Checkpoint: %.*s", (int)MIN_OF(frame->checkpoint.state.length, (uint32_t)INT32_MAX),
               frame->checkpoint.state.data);
}

void debug_end(Writer *writer)
{
    if (!writer->debug)
        return;
    writer_log(writer, LOG_INFO,
               "SYNC PROGRESS: {\"Upserts\": %llu, \"Updates\": %llu, \"Deletes\": %llu, \"Truncates\": %llu, "
               "\"Checkpoints\": %llu}",
               (unsigned long long)(writer->calls[OPERATION_INSERT] + writer->calls[OPERATION_UPSERT]),
               (unsigned long long)writer->calls[OPERATION_UPDATE], (unsigned long long)writer->calls[OPERATION_DELETE],
               (unsigned long long)writer->truncates, (unsigned long long)writer->checkpoints);
}
