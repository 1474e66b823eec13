/*
 * A person who mends a file wants to know everything that is wrong with it, as from a compiler. So nothing here stops
 * at the first problem: each is noted with its place, and at the end they are shown from the top of the file to its
 * bottom, whichever check found them first. A file that is wrong in every line is cut short, since nobody reads a
 * thousand lines.
 */
#include "daemon/wherryd/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/basics/buffer.h"

static bool problems_has(const Problems *problems, const char *text)
{
    for (size_t i = 0; i < problems->count; i++)
        if (strcmp(problems->items[i].text, text) == 0)
            return true;
    return false;
}

void problems_add(Problems *problems, bool warning, const char *file, uint32_t line, uint32_t column,
                  const char *format, ...)
{
    char *message;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&message, format, arguments) < 0)
        abort();
    va_end(arguments);

    const char *mark = warning ? "warning: " : "";
    char *text = line > 0 ? xasprintf("%s:%u:%u: %s%s", file, line, column, mark, message)
                          : xasprintf("%s: %s%s", file, mark, message);
    free(message);
    if (problems_has(problems, text)) {
        free(text);
        return;
    }
    problems->errors += !warning;
    if (problems->count >= PROBLEMS_MAX) {
        problems->dropped++;
        free(text);
        return;
    }
    problems->items = xrealloc(problems->items, (problems->count + 1) * sizeof(Problem));
    problems->items[problems->count] = (Problem){
        .text = text, .line = line, .column = column, .order = (uint32_t)problems->count, .warning = warning
    };
    problems->count++;
}

static int compare_places(const void *a, const void *b)
{
    const Problem *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

char *problems_text(Problems *problems, bool warnings)
{
    if (problems->count > 1)
        qsort(problems->items, problems->count, sizeof(Problem), compare_places);
    _cleanup_(buffer_clear) Buffer text = { 0 };
    for (size_t i = 0; i < problems->count; i++)
        if (problems->items[i].warning == warnings)
            buffer_printf(&text, "%s%s", buffer_length(&text) > 0 ? "\n" : "", problems->items[i].text);
    if (problems->dropped > 0 && !warnings && problems->errors > 0)
        buffer_printf(&text, "%s… and %zu more", buffer_length(&text) > 0 ? "\n" : "", problems->dropped);
    return buffer_length(&text) > 0 ? buffer_take_string(&text) : NULL;
}

void problems_clear(Problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].text);
    free(problems->items);
    *problems = (Problems){ 0 };
}
