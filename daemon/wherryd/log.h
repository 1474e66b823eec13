#pragma once
/*
 * The daemon's log: journal fields (sd_journal_sendv, counted) where stderr is the journal, else one readable line on
 * stderr.
 *
 * Nothing in MESSAGE can forge a field or a second line: control characters are escaped, length is bounded
 * (LOG_MESSAGE_MAX).
 */
#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

#include "lib/basics/cleanup.h"

#define LOG_MESSAGE_MAX 8192

typedef struct LogContext {
    const char *connection; /* NULL: none; likewise below */
    const char *run_id;
    const char *message_id;      /* message-id.h */
    const char *connector_level; /* as the connector called it */
    const char *table;
    int threshold; /* a connection's own: the least urgent priority that is said; 0: the daemon's */
} LogContext;

void log_open(void); /* looks whether stderr is the journal (JOURNAL_STREAM) */
void log_set_threshold(int priority);
bool log_is_enabled(int priority, const LogContext *context);
void log_message(int priority, const LogContext *context, const char *format, ...) _public_printf_(3, 4);
/* The N bytes at TEXT, whatever they are. */
void log_text(int priority, const LogContext *context, const char *text, size_t n);
/* TEXT of one or several lines for the person who started us: they stand as they are, to be read whole and copied from,
 * without time and level. In the journal each line is an entry. */
void log_verbatim(int priority, const LogContext *context, const char *text);
#define log_info(...) log_message(LOG_INFO, NULL, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_message(LOG_ERR, NULL, __VA_ARGS__)
