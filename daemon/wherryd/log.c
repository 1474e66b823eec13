/*
 * One entry, two shapes. Under systemd an entry is a set of counted fields sent to the journal, so that a message with
 * any bytes in it stays one message; elsewhere it is a line on stderr that a person reads: time, level, connection,
 * message.
 *
 * The log must never hold the daemon up. A terminal that was stopped with ^S or a pipe whose reader sleeps would block
 * write(), so a line is written only where poll() says that there is room, and what is lost is counted and said later.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "daemon/wherryd/log.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

/* A pipe that poll() calls writable takes this much without blocking (pipe(7), PIPE_BUF). */
#define WRITE_STEP 4096

static int log_threshold = LOG_INFO;
static bool log_journal;
static unsigned long log_lost;

static const char *const level_names[] = { "emergency", "alert",  "critical", "error",
                                           "warning",   "notice", "info",     "debug" };

void log_open(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    log_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
                  st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

void log_set_threshold(int priority)
{
    log_threshold = priority;
}

bool log_is_enabled(int priority, const LogContext *context)
{
    return priority <= (context && context->threshold > 0 ? context->threshold : log_threshold);
}

static void write_line(const char *line, size_t n)
{
    while (n > 0) {
        struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
        if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT)) {
            log_lost++;
            return;
        }
        ssize_t written = write(STDERR_FILENO, line, MIN_OF(n, (size_t)WRITE_STEP));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            log_lost++;
            return;
        }
        line += written;
        n -= (size_t)written;
    }
}

static void to_terminal(int priority, const LogContext *context, const char *message)
{
    char now[RFC3339_MS_SIZE];
    rfc3339_ms(clock_wall_ms(), now);
    if (log_lost > 0) {
        _cleanup_(freep) char *lost =
            xasprintf("%s warning %lu log lines were lost: stderr took none\n", now, log_lost);
        log_lost = 0;
        write_line(lost, strlen(lost));
        if (log_lost > 0)
            return; /* still no room */
    }
    bool known = context && context->connection;
    _cleanup_(freep) char *line = xasprintf("%s %s %s%s%s\n", now, level_names[priority],
                                            known ? context->connection : "", known ? ": " : "", message);
    write_line(line, strlen(line));
}

static struct iovec field(Buffer *buffer, size_t *at, const char *name, const char *value)
{
    buffer_printf(buffer, "%s=%s", name, value);
    struct iovec field = { .iov_base = (void *)*at, .iov_len = buffer->end - *at };
    *at = buffer->end;
    return field;
}

static void to_journal(int priority, const LogContext *context, const char *message)
{
    static const LogContext none;
    const LogContext *c = context ? context : &none;
    const char *const optional[][2] = { { "CONNECTION", c->connection },
                                        { "RUN_ID", c->run_id },
                                        { "MESSAGE_ID", c->message_id },
                                        { "CONNECTOR_LEVEL", c->connector_level },
                                        { "TABLE", c->table } };
    struct iovec fields[2 + ELEMENTSOF(optional) + 1];
    _cleanup_(buffer_clear) Buffer buffer = {};
    size_t at = 0;
    int count = 0;
    char digit[2] = { (char)('0' + priority), 0 };
    fields[count++] = field(&buffer, &at, "MESSAGE", message);
    fields[count++] = field(&buffer, &at, "PRIORITY", digit);
    fields[count++] = field(&buffer, &at, "SYSLOG_IDENTIFIER", "wherryd");
    for (size_t i = 0; i < ELEMENTSOF(optional); i++)
        if (optional[i][1])
            fields[count++] = field(&buffer, &at, optional[i][0], optional[i][1]);
    /* Offsets become addresses only now: the buffer may have moved while it grew. */
    for (int i = 0; i < count; i++)
        fields[i].iov_base = buffer.data + (size_t)fields[i].iov_base;
    sd_journal_sendv(fields, count);
}

void log_text(int priority, const LogContext *context, const char *text, size_t n)
{
    if (!log_is_enabled(priority, context))
        return;
    _cleanup_(freep) char *printable = text_escape_shortened(text, n, LOG_MESSAGE_MAX);
    priority &= LOG_PRIMASK;
    if (log_journal)
        to_journal(priority, context, printable);
    else
        to_terminal(priority, context, printable);
}

void log_verbatim(int priority, const LogContext *context, const char *text)
{
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        if (log_journal) {
            log_text(priority, context, line, n);
        } else {
            _cleanup_(freep) char *printable = text_escape_shortened(line, n, LOG_MESSAGE_MAX);
            _cleanup_(freep) char *whole = xasprintf("%s\n", printable);
            write_line(whole, strlen(whole));
        }
        line += n + (line[n] == '\n');
    }
}

void log_message(int priority, const LogContext *context, const char *format, ...)
{
    if (!log_is_enabled(priority, context))
        return;
    _cleanup_(freep) char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&message, format, arguments);
    va_end(arguments);
    if (n < 0) {
        message = NULL;
        return;
    }
    log_text(priority, context, message, (size_t)n);
}
