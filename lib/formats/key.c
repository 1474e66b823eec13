/* What a connector's complete() says, made into text and handed to the parser, which knows the places. */
#include "lib/formats/key.h"

#include <stdarg.h>
#include <stdio.h>

static void key_say(KeyReport *report, bool warning, const char *path, const char *format, va_list arguments)
{
    char *message;
    if (vasprintf(&message, format, arguments) < 0)
        abort();
    report->say(report, warning, path, message);
    free(message);
}

void key_problem(KeyReport *report, const char *path, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    key_say(report, false, path, format, arguments);
    va_end(arguments);
}

void key_warning(KeyReport *report, const char *path, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    key_say(report, true, path, format, arguments);
    va_end(arguments);
}
