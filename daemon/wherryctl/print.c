/*
 * How values look. Times the daemon gives as RFC 3339 in UTC; a person wants to know how long ago or how soon, or the
 * clock on the wall. Sizes are decimal (kB, MB), as disks and networks are sold.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/wherryctl/print.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

const char *print_count(int64_t n, char ret[static VALUE_TEXT_SIZE])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRId64, n < 0 ? 0 : n), out = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            ret[out++] = ',';
        ret[out++] = digits[i];
    }
    ret[out] = '\0';
    return ret;
}

const char *print_bytes(int64_t n, char ret[static VALUE_TEXT_SIZE])
{
    static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)n;
    size_t unit = 0;

    if (n < 1000) {
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 " B", n < 0 ? 0 : n);
        return ret;
    }
    value /= 1000;
    while (value >= 999.95 && unit + 1 < ELEMENTSOF(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(ret, VALUE_TEXT_SIZE, "%.1f %s", value, units[unit]);
    return ret;
}

const char *print_seconds(double seconds, char ret[static VALUE_TEXT_SIZE])
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (seconds < 9.95)
        snprintf(ret, VALUE_TEXT_SIZE, "%.*f s", seconds < 0.0995 ? 3 : 1, seconds < 0 ? 0.0 : seconds);
    else if (s < 60)
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 " s", s);
    else if (s < 3600)
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 "m %" PRId64 "s", s / 60, s % 60);
    else
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 "h %" PRId64 "m", s / 3600, s / 60 % 60);
    return ret;
}

/* "45s", "4m", "3h", "2d": one unit is enough to know how soon. */
static const char *print_span(int64_t ms, char ret[static VALUE_TEXT_SIZE])
{
    int64_t s = ms / 1000;
    if (s < 60)
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 "m", s / 60);
    else if (s < 48 * 3600)
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 "h", s / 3600);
    else
        snprintf(ret, VALUE_TEXT_SIZE, "%" PRId64 "d", s / 86400);
    return ret;
}

const char *print_from_now(const char *time, char ret[static VALUE_TEXT_SIZE])
{
    int64_t when;
    char span[VALUE_TEXT_SIZE];
    if (!time || !rfc3339_ms_parse(time, &when))
        strcpy(ret, "-");
    else if (when - clock_wall_ms() < 1000)
        strcpy(ret, "now");
    else
        snprintf(ret, VALUE_TEXT_SIZE, "in %.40s", print_span(when - clock_wall_ms(), span));
    return ret;
}

const char *print_ago(const char *time, char ret[static VALUE_TEXT_SIZE])
{
    int64_t when;
    char span[VALUE_TEXT_SIZE];
    if (!time || !rfc3339_ms_parse(time, &when))
        ret[0] = '\0';
    else
        snprintf(ret, VALUE_TEXT_SIZE, "%.40s ago", print_span(MAX_OF(clock_wall_ms() - when, (int64_t)0), span));
    return ret;
}

const char *print_local_time(const char *time, char ret[static VALUE_TEXT_SIZE])
{
    int64_t when;
    struct tm local;
    ret[0] = '\0';
    if (time && rfc3339_ms_parse(time, &when)) {
        time_t seconds = when / 1000;
        strftime(ret, VALUE_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &local));
    }
    return ret;
}

Style outcome_style(const char *outcome)
{
    if (!outcome)
        return STYLE_NONE;
    if (strcmp(outcome, "succeeded") == 0)
        return STYLE_GOOD;
    return strcmp(outcome, "cancelled") == 0 ? STYLE_WARNING : STYLE_BAD;
}

Style state_style(const char *state)
{
    static const struct {
        const char *state;
        Style style;
    } styles[] = {
        { "syncing", STYLE_ACTIVE }, { "queued", STYLE_ACTIVE },     { "backoff", STYLE_WARNING },
        { "broken", STYLE_BAD },     { "paused", STYLE_FAINT },      { "FAILED", STYLE_BAD },
        { "COMMITTED", STYLE_GOOD }, { "PROCESSING", STYLE_ACTIVE },
    };
    for (size_t i = 0; i < ELEMENTSOF(styles); i++)
        if (state && strcmp(styles[i].state, state) == 0)
            return styles[i].style;
    return STYLE_NONE;
}

void print_json(const json_t *object, bool exact)
{
    size_t flags = (exact ? 0 : JSON_REAL_PRECISION(15)) | (isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
    json_dumpf(object, stdout, flags);
    putchar('\n');
}

char *printable_lines(const char *text)
{
    _cleanup_(buffer_clear) Buffer lines = { 0 };
    for (;;) {
        size_t n = strcspn(text, "\n");
        _cleanup_(freep) char *line = text_escape(text, n);
        buffer_append_string(&lines, line);
        text += n;
        if (*text == '\0' || text[1] == '\0')
            break;
        buffer_append_string(&lines, "\n");
        text++;
    }
    return buffer_take_string(&lines);
}

const char *field_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

int64_t field_integer(const json_t *object, const char *name, int64_t fallback)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}
