/*
 * One session, driven without ever blocking for longer than a tenth of a second, so that a wait for a lock or a long
 * merge stays within sight of the daemon: it hears that work goes on, and a cancelled sync ends at once. The server
 * notices by itself that we are gone (client_connection_check_interval) and rolls back.
 *
 * Nothing is set for the session, everything by SET LOCAL for a transaction, and statements are prepared unnamed:
 * behind a pooler that hands out server connections per transaction, a session is whoever's comes next.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <syslog.h>

#include "connectors/destinations/postgres/postgres.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

#define WAIT_MS 100 /* between two looks for CANCEL */
#define VERSION_MIN 120000
#define MESSAGE_MAX 1000 /* bytes of what a server says */

int postgres_open(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    const json_t *own = json_object_get(configuration, "destination");
    const char *mode = json_string_value(json_object_get(configuration, "write_mode"));
    const char *schema = json_string_value(json_object_get(own, "schema"));
    Postgres *self = xcalloc(1, sizeof(*self));
    *ret = self;
    self->writer = writer;
    self->plan = writer_plan(writer);
    self->phase = "loading";
    self->connection = xstrdup(json_string_value(json_object_get(configuration, "connection")));
    self->schema = xstrdup(schema ? schema : "public");
    self->truncate = mode && strcmp(mode, "truncate") == 0;
    self->cdc = mode && strcmp(mode, "cdc") == 0;
    self->strip_nul =
        json_is_true(json_object_get(own, "strip_nul")) || json_is_true(json_object_get(configuration, "strip_nul"));
    return postgres_settings(self, own, policy, error);
}

void postgres_disconnect(Postgres *self)
{
    PQfinish(self->server);
    self->server = NULL;
    self->copy.open = false;
    self->locked = false;
}

void postgres_close(void *destination)
{
    Postgres *self = destination;
    postgres_disconnect(self);
    postgres_tables_reset(self);
    free(self->tables);
    buffer_clear(&self->copy.buffer);
    postgres_settings_clear(self);
    free(self->place);
    free(self->connection);
    free(self->schema);
    free(self);
}

/* --- waiting --- */

int postgres_wait(Postgres *self, bool write, int64_t deadline_ms, Error *error)
{
    for (;;) {
        int64_t left = deadline_ms > 0 ? deadline_ms - clock_monotonic_ms() : WAIT_MS;
        if (left <= 0)
            return error_set(error, ERROR_TEMPORARY, "%s: no answer in time", self->place);
        struct pollfd poller = { .fd = PQsocket(self->server), .events = (short)(POLLIN | (write ? POLLOUT : 0)) };
        int n = poll(&poller, 1, (int)MIN_OF(left, (int64_t)WAIT_MS));
        if (n < 0 && errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot wait for the server");
        if (n > 0)
            return 0;
        if (writer_pulse(self->writer, self->phase))
            return error_set(error, ERROR_CANCELLED, "cancelled");
    }
}

/* --- connecting --- */

/* "… FATAL:  28P01: password authentication failed …": with verbose errors the code is in the text, and nowhere else.
 */
static void find_code(const char *text, char ret[static 6])
{
    ret[0] = '\0';
    for (const char *at = text; (at = strstr(at, ":  ")); at++) {
        size_t n = strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (n == 5 && at[8] == ':') {
            memcpy(ret, at + 3, 5);
            ret[5] = '\0';
            return;
        }
    }
}

/* The lines of libpq's message as one, without the codes and places that verbose errors add. The caller frees. */
static char *one_line(const char *text, const char *code)
{
    _cleanup_(buffer_clear) Buffer line = { 0 };
    while (*text) {
        size_t n = strcspn(text, "\n");
        bool place = strncmp(text, "LOCATION:", 9) == 0;
        while (n > 0 && (*text == '\t' || *text == ' ')) {
            text++;
            n--;
        }
        const char *found = *code ? memmem(text, n, code, 5) : NULL;
        if (n > 0 && !place) {
            size_t so_far = buffer_length(&line);
            bool open = so_far > 0 && !strchr(".:;,!?", ((const char *)buffer_bytes(&line))[so_far - 1]);
            buffer_append_string(&line, so_far == 0 ? "" : open ? "; " : " ");
            buffer_append(&line, text, found ? (size_t)(found - text - 1) : n); /* "FATAL:  28P01: …" */
            if (found && found + 7 <= text + n)
                buffer_append(&line, found + 7, (size_t)(text + n - found - 7));
        }
        text += n;
        text += *text == '\n';
    }
    return text_escape_shortened((const char *)buffer_bytes(&line), buffer_length(&line), MESSAGE_MAX);
}

static int fail_connect(Postgres *self, Error *error)
{
    const char *message = PQerrorMessage(self->server);
    char code[6];
    find_code(message, code);
    _cleanup_(freep) char *line = one_line(message, code);
    bool refused = strncmp(code, "28", 2) == 0 || strcmp(code, "3D000") == 0 || PQconnectionNeedsPassword(self->server);
    error_set(error, refused ? ERROR_CONFIGURATION : ERROR_TEMPORARY, "cannot connect to %s: %s", self->place, line);
    postgres_disconnect(self);
    return -1;
}

static void on_notice(void *userdata, const PGresult *result)
{
    Postgres *self = userdata;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!severity || !message || strcmp(severity, "WARNING") != 0)
        return;
    _cleanup_(freep) char *line = text_escape_shortened(message, strlen(message), MESSAGE_MAX);
    writer_log(self->writer, LOG_WARNING, "%s: %s", self->place, line);
}

static int poll_connection(Postgres *self, Error *error)
{
    int64_t deadline = clock_monotonic_ms() + self->connect_timeout_s * 1000 * (int64_t)self->host_count;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    if (PQstatus(self->server) == CONNECTION_BAD)
        return fail_connect(self, error);
    /* As PQconnectPoll() wants it: first write, then as it says. */
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED)
            return fail_connect(self, error);
        if (postgres_wait(self, status == PGRES_POLLING_WRITING, deadline, error) < 0) {
            if (error && error->kind == ERROR_TEMPORARY) {
                error_clear(error);
                error_set(error, ERROR_TEMPORARY, "cannot connect to %s: no answer within %lld s (`connect_timeout`)",
                          self->place, (long long)self->connect_timeout_s);
            }
            postgres_disconnect(self);
            return -1;
        }
        status = PQconnectPoll(self->server);
    }
    return 0;
}

int postgres_connect(void *destination, Error *error)
{
    Postgres *self = destination;
    self->phase = "connecting";
    postgres_disconnect(self);
    self->server = PQconnectStartParams(self->keywords, (const char *const *)self->values, 0);
    if (!self->server)
        return error_set(error, ERROR_TEMPORARY, "cannot connect to %s: out of memory", self->place);
    PQsetErrorVerbosity(self->server, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(self->server, on_notice, self);
    if (poll_connection(self, error) < 0)
        return -1;
    PQsetErrorVerbosity(self->server, PQERRORS_DEFAULT);
    if (PQsetnonblocking(self->server, 1) < 0)
        return fail_connect(self, error);
    self->version = PQserverVersion(self->server);
    self->phase = "loading";
    if (self->version < VERSION_MIN)
        return error_set(error, ERROR_CONFIGURATION, "%s runs PostgreSQL %d; Wherry needs version 12 or later",
                         self->place, self->version / 10000);
    return 0;
}

/* --- failures --- */

static const struct {
    const char *code; /* or its class, the first two characters */
    ErrorKind kind;
    const char *advice; /* or NULL */
} codes[] = {
    { "25006", ERROR_TEMPORARY, "the server is read-only (a standby, or default_transaction_read_only)" },
    { "28", ERROR_CONFIGURATION, NULL },
    { "3D000", ERROR_CONFIGURATION, NULL },
    { "42501", ERROR_TEMPORARY, "grant it to this role" },
    { "53100", ERROR_TEMPORARY, "the server's disk is full; free some space there" },
    { "55P03", ERROR_TEMPORARY, "somebody else holds a lock (`lock_timeout`)" },
    { "57014", ERROR_TEMPORARY, "it took too long (`statement_timeout`), or somebody cancelled it" },
    { "42P01", ERROR_TEMPORARY, "a table was dropped or renamed meanwhile; the next run looks again" },
    { "42703", ERROR_TEMPORARY, "a column was dropped or renamed meanwhile; the next run looks again" },
    { "0A", ERROR_CONFIGURATION, NULL },
    { "22", ERROR_DATA, NULL },
    { "23", ERROR_DATA, NULL },
    { "54", ERROR_DATA, NULL },
};

static void find_kind(const char *code, ErrorKind *ret_kind, const char **ret_advice)
{
    *ret_kind = ERROR_TEMPORARY;
    *ret_advice = NULL;
    for (size_t i = 0; code && i < ELEMENTSOF(codes); i++)
        if (strncmp(code, codes[i].code, strlen(codes[i].code)) == 0) {
            *ret_kind = codes[i].kind;
            *ret_advice = codes[i].advice;
            return;
        }
}

/* "COPY orders, line 17, column note: …", in whatever language: the first number after the table's name. It may stand
 * below other lines, such as "JSON data, line 1: …". */
static uint64_t line_of(const PGresult *result, char **ret_column)
{
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
    while (context && strncmp(context, "COPY ", 5) != 0) {
        context = strchr(context, '\n');
        context += context != NULL;
    }
    const char *end = context ? context + strcspn(context, "\n") : NULL;
    for (const char *at = context; at && (at = memmem(at, (size_t)(end - at), ", ", 2)); at++) {
        at += 2;
        const char *digits = at + strcspn(at, "0123456789,\n");
        if (*digits < '0' || *digits > '9')
            continue;
        char *after;
        uint64_t line = strtoull(digits, &after, 10);
        const char *space = strncmp(after, ", ", 2) == 0 ? strchr(after + 2, ' ') : NULL;
        if (space)
            *ret_column = xstrndup(space + 1, strcspn(space + 1, ":\n"));
        return line;
    }
    return 0;
}

static void put_places(Postgres *self, const PGresult *result, Error *error)
{
    _cleanup_(freep) char *column = NULL;
    uint64_t line = self->copy.open ? line_of(result, &column) : 0;
    const char *named = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
    if (line > 0 && self->copy.operation == OPERATION_INSERT)
        error_at_row(error, 0, self->copy.first_row + line - 1);
    if (named || column)
        error_at_column(error, named ? named : column);
}

int postgres_fail(Postgres *self, const PGresult *result, const char *attempt, Error *error)
{
    const char *code = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *detail = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    ErrorKind kind;
    const char *advice;
    if (!code || PQstatus(self->server) == CONNECTION_BAD) {
        _cleanup_(freep) char *line = one_line(message ? message : PQerrorMessage(self->server), "");
        return error_set(error, ERROR_TEMPORARY, "%s: cannot %s: %s (all of this batch is rolled back)", self->place,
                         attempt, *line ? line : "the connection is lost");
    }
    find_kind(code, &kind, &advice);
    _cleanup_(freep) char *line =
        text_escape_shortened(message ? message : "", message ? strlen(message) : 0, MESSAGE_MAX);
    _cleanup_(freep) char *more = detail ? text_escape_shortened(detail, strlen(detail), MESSAGE_MAX) : NULL;
    size_t n = more ? strlen(more) : 0;
    if (n > 0 && more[n - 1] == '.')
        more[n - 1] = '\0';
    /* Of a staged row the server knows neither the table nor, since many are on their way at once, which one it was. */
    bool staged = self->copy.open && self->copy.operation != OPERATION_INSERT;
    if (kind == ERROR_DATA)
        error_set(error, kind, "%s%s%s%s%s%s", staged ? "table \"" : "",
                  staged ? self->tables[self->copy.table].name : "", staged ? "\": " : "", line, more ? ": " : "",
                  more ? more : "");
    else
        error_set(error, kind, "%s: cannot %s: %s%s%s%s%s", self->place, attempt, line, more ? ": " : "",
                  more ? more : "", advice ? "; " : "", advice ? advice : "");
    if (kind == ERROR_DATA && error)
        put_places(self, result, error);
    return -1;
}

/* --- statements --- */

static int flush(Postgres *self, const char *attempt, Error *error)
{
    int r;
    while ((r = PQflush(self->server)) > 0) {
        if (postgres_wait(self, true, 0, error) < 0)
            return -1;
        if (!PQconsumeInput(self->server))
            return postgres_fail(self, NULL, attempt, error);
    }
    return r < 0 ? postgres_fail(self, NULL, attempt, error) : 0;
}

static int next_result(Postgres *self, PGresult **ret, const char *attempt, Error *error)
{
    while (PQisBusy(self->server)) {
        if (postgres_wait(self, false, 0, error) < 0)
            return -1;
        if (!PQconsumeInput(self->server))
            return postgres_fail(self, NULL, attempt, error);
    }
    *ret = PQgetResult(self->server);
    return 0;
}

int postgres_result(Postgres *self, PGresult **ret, const char *attempt, Error *error)
{
    _cleanup_(result_clearp) PGresult *last = NULL;
    bool failed = false;
    for (;;) {
        PGresult *result = NULL;
        if (next_result(self, &result, attempt, error) < 0)
            return -1;
        if (!result)
            break;
        ExecStatusType status = PQresultStatus(result);
        /* The first failure is what went wrong; there is nothing after it but its echo. */
        if (failed) {
            PQclear(result);
            continue;
        }
        PQclear(last);
        last = result;
        failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN;
        if (status == PGRES_COPY_IN)
            break;
        if (PQstatus(self->server) == CONNECTION_BAD)
            break;
    }
    if (failed || !last)
        return postgres_fail(self, last, attempt, error);
    if (ret)
        *ret = take_ptr(last);
    return 0;
}

int postgres_query(Postgres *self, const char *sql, int count, const char *const *parameters, PGresult **ret,
                   const char *attempt, Error *error)
{
    if (!self->server)
        return error_set(error, ERROR_TEMPORARY, "%s: cannot %s: the connection is lost", self->place, attempt);
    int sent = count == 0 ? PQsendQuery(self->server, sql)
                          : PQsendQueryParams(self->server, sql, count, NULL, parameters, NULL, NULL, 0);
    if (!sent)
        return postgres_fail(self, NULL, attempt, error);
    if (flush(self, attempt, error) < 0)
        return -1;
    return postgres_result(self, ret, attempt, error);
}

int postgres_ddl(Postgres *self, const char *sql, const char *attempt, Error *error)
{
    if (!self->plan)
        return postgres_execute(self, sql, attempt, error);
    plan_add(self->plan, sql);
    return 0;
}

/* --- text of statements --- */

void quote_table(const Postgres *self, Buffer *sql, const char *name)
{
    sql_quote(sql, self->schema);
    buffer_append_string(sql, ".");
    sql_quote(sql, name);
}

char *with_table(const Postgres *self, const char *format, const char *name)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    for (const char *at = format; *at; at++) {
        if (at[0] == '%' && at[1] == 'T') {
            quote_table(self, &sql, name);
            at++;
        } else if (at[0] == '%' && at[1] == 'S') {
            sql_quote(&sql, self->schema);
            at++;
        } else {
            buffer_append(&sql, at, 1);
        }
    }
    return buffer_take_string(&sql);
}

void put_instant(Buffer *sql, int64_t us)
{
    char text[RFC3339_US_SIZE];
    rfc3339_us(us, text);
    buffer_printf(sql, "'%s'::timestamp with time zone", text);
}

void put_element(Buffer *array, const char *value, size_t n)
{
    buffer_append_string(array, buffer_length(array) > 1 ? ",\"" : "\"");
    for (size_t i = 0; i < n; i++) {
        if (value[i] == '"' || value[i] == '\\')
            buffer_append(array, "\\", 1);
        buffer_append(array, value + i, 1);
    }
    buffer_append_string(array, "\"");
}
