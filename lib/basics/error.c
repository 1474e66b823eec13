/*
 * An error is a message and the place it is about. The two are kept apart until a person reads them, because the
 * function that finds an impossible date knows the value, its caller the column, and only the reader of the file the
 * row and the file's name.
 */
#include "lib/basics/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

static void set_message(Error *error, ErrorKind kind, const char *format, va_list arguments)
{
    char *message = NULL;
    if (vasprintf(&message, format, arguments) < 0)
        message = xstrdup(format);
    free(error->message);
    error->message = message;
    error->kind = kind;
}

int error_set(Error *error, ErrorKind kind, const char *format, ...)
{
    if (!error)
        return -1;
    va_list arguments;
    va_start(arguments, format);
    set_message(error, kind, format, arguments);
    va_end(arguments);
    return -1;
}

const char *error_errno_text(int errnum)
{
    static _Thread_local char text[64];
    const char *description = strerrordesc_np(errnum);
    snprintf(text, sizeof text, "%s", description ? description : "unknown error");
    /* "No space left on device" stands in the middle of a sentence here; "RPC struct is bad" stays. */
    if (text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z')
        text[0] = (char)(text[0] | 0x20);
    return text;
}

int error_set_errno(Error *error, ErrorKind kind, int errnum, const char *format, ...)
{
    if (!error)
        return -1;
    va_list arguments;
    va_start(arguments, format);
    set_message(error, kind, format, arguments);
    va_end(arguments);
    _cleanup_(freep) char *attempt = error->message;
    error->message = xasprintf("%s: %s", attempt, error_errno_text(errnum));
    return -1;
}

int error_prefix(Error *error, const char *format, ...)
{
    if (!error)
        return -1;
    va_list arguments;
    _cleanup_(freep) char *old = take_ptr(error->message);
    va_start(arguments, format);
    set_message(error, error->kind, format, arguments);
    va_end(arguments);
    _cleanup_(freep) char *prefix = error->message;
    error->message = xasprintf("%s%s", prefix, old ? old : "");
    return -1;
}

static int replace(char **field, char *value)
{
    free(*field);
    *field = value;
    return -1;
}

int error_at_file(Error *error, const char *file)
{
    return error ? replace(&error->file, file ? text_escape(file, strlen(file)) : NULL) : -1;
}

int error_at_row(Error *error, uint64_t line, uint64_t row)
{
    if (error) {
        error->line = line;
        error->row = row;
    }
    return -1;
}

int error_at_column(Error *error, const char *column)
{
    return error ? replace(&error->column, column ? text_escape(column, strlen(column)) : NULL) : -1;
}

int error_at_value(Error *error, const char *value, size_t length)
{
    return error ? replace(&error->value, value ? text_escape_shortened(value, length, ERROR_VALUE_MAX) : NULL) : -1;
}

char *error_format(const Error *error)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    const char *message = error->message ? error->message : "unknown error";
    if (error->file && error->position > 0) {
        buffer_printf(&text, "%s:%llu:%llu: ", error->file, (unsigned long long)error->line,
                      (unsigned long long)error->position);
    } else {
        const char *separator = "";
        if (error->file) {
            buffer_append_string(&text, error->file);
            separator = ": ";
        }
        if (error->line > 0) {
            buffer_printf(&text, "%sline %llu", separator, (unsigned long long)error->line);
            separator = ", ";
        }
        if (error->row > 0) {
            buffer_printf(&text, "%srow %llu", separator, (unsigned long long)error->row);
            separator = ", ";
        }
        if (error->column) {
            buffer_printf(&text, "%scolumn \"%s\"", separator, error->column);
            separator = ", ";
        }
        if (*separator)
            buffer_append_string(&text, ": ");
    }
    buffer_append_string(&text, message);
    if (error->value)
        buffer_printf(&text, ": \"%s\"", error->value);
    return buffer_take_string(&text);
}

void error_clear(Error *error)
{
    free(error->message);
    free(error->file);
    free(error->column);
    free(error->value);
    *error = (Error){ 0 };
}

void error_move(Error *to, Error *from)
{
    if (to)
        *to = *from;
    else
        error_clear(from);
    *from = (Error){ 0 };
}

const char *error_kind_name(ErrorKind kind)
{
    static const char *const names[_ERROR_KIND_MAX] = {
        [ERROR_NONE] = "none",         [ERROR_CONFIGURATION] = "configuration",
        [ERROR_DATA] = "data",         [ERROR_TEMPORARY] = "temporary",
        [ERROR_CHANGED] = "changed",   [ERROR_CANCELLED] = "cancelled",
        [ERROR_INTERNAL] = "internal", [ERROR_HELD] = "held",
    };
    return kind < _ERROR_KIND_MAX ? names[kind] : "unknown";
}
