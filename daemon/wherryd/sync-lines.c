/*
 * What is said in a sync, on its way to the log and, with `log_table: true`, to the writer, which keeps it for a table
 * (connectors/writer/log-table.c). The table has what the log has: masked, escaped, limited in rate, of the
 * connection's log_level and above.
 *
 * The writer may be busy for minutes, and what it has not taken waits in our memory: past a bound lines are left out,
 * and that is said. The last line is the sync's error, so it can only be known when both programs have said all: then
 * the writer is told that nothing follows.
 */
#include <string.h>

#include "daemon/wherryd/message-id.h"
#include "daemon/wherryd/sync-internal.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

#define QUEUE_MAX (1u << 20) /* bytes that wait for the writer */

const char *sync_level(FrameText level)
{
    static const char *const known[] = { "debug", "fine", "info", "warning", "error", "severe", "critical" };
    for (size_t i = 0; i < ELEMENTSOF(known); i++)
        if (strlen(known[i]) == level.length && memcmp(known[i], level.data, level.length) == 0)
            return known[i];
    return NULL;
}

static const char *level_of(int priority)
{
    static const char *const names[] = {
        "critical", "critical", "critical", "error", "warning", "info", "info", "debug"
    };
    return names[priority & LOG_PRIMASK];
}

/* LEVEL is written as Fivetran's log has it; "severe" is also what ended a sync. */
static void send_line(Sync *sync, const char *level, const char *origin, const char *text, size_t n)
{
    char shown[16] = "";
    for (size_t i = 0; level[i] && i + 1 < sizeof(shown); i++)
        shown[i] = (char)(level[i] - 'a' + 'A');
    _cleanup_(freep) char *message = text_escape_shortened(text, n, LOG_MESSAGE_MAX);
    Frame frame = { .type = FRAME_LINE,
                    .line = { .time_us = (uint64_t)clock_wall_us(),
                              .level = frame_text(shown),
                              .origin = frame_text(origin),
                              .message = frame_text(message) } };
    program_send(&sync->writer.program, &frame);
}

static void say_left_out(Sync *sync)
{
    if (sync->lines_left_out == 0)
        return;
    _cleanup_(freep) char *message = xasprintf("%llu lines are left out here: the writer was busy; the log has them",
                                               (unsigned long long)sync->lines_left_out);
    sync->lines_left_out = 0;
    send_line(sync, "warning", LINE_OURS, message, strlen(message));
}

void sync_line(Sync *sync, int priority, const char *level, const char *origin, const char *text, size_t n)
{
    if (!sync->log_table || sync->lines_ended || !log_is_enabled(priority, &sync->context))
        return;
    if (program_waiting(&sync->writer.program) > QUEUE_MAX) {
        sync->lines_left_out++;
        return;
    }
    say_left_out(sync);
    send_line(sync, level ? level : level_of(priority), origin, text, n);
}

void sync_end_lines(Sync *sync)
{
    const Side *writer = &sync->writer;
    bool all_said = (writer->done || writer->error.kind != ERROR_NONE) && !program_is_alive(&sync->worker.program);
    if (!sync->log_table || sync->lines_ended || !all_said)
        return;
    sync_say_suppressed(&sync->worker);
    say_left_out(sync);
    _cleanup_(freep) char *failure = sync_failure(sync);
    if (failure)
        send_line(sync, "severe", LINE_OURS, failure, strlen(failure));
    program_send(&sync->writer.program, &(Frame){ .type = FRAME_LINES_END });
    sync->lines_ended = true;
    /* Its time is its own, however long the worker took to end. */
    sync->deadline_ms = (int64_t)uv_now(sync->options.loop) + SYNC_END_BOUND_MS;
}

void sync_say_suppressed(Side *side)
{
    if (side->limit.suppressed == 0)
        return;
    LogContext context = side->sync->context;
    context.message_id = MESSAGE_LINES_SUPPRESSED;
    _cleanup_(freep) char *message =
        xasprintf("%llu lines of the %s suppressed: more than %d a second", (unsigned long long)side->limit.suppressed,
                  side->program.role, LOG_PER_SECOND);
    side->limit.suppressed = 0;
    log_message(LOG_WARNING, &context, "%s", message);
    sync_line(side->sync, LOG_WARNING, NULL, LINE_OURS, message, strlen(message));
}
