/*
 * Growing by half again keeps the amortised cost of an append constant, and consumed bytes at the front are reclaimed
 * before memory is asked for, so that a buffer used as a queue stays as large as its fullest moment.
 */
#include "lib/basics/buffer.h"

#include <stdarg.h>
#include <stdio.h>

#define BUFFER_FIRST_SIZE 256

uint8_t buffer_nothing[16];

static _Noreturn void out_of_memory(void)
{
    static const char text[] = "out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    abort();
}

void *xmalloc(size_t n)
{
    void *pointer = malloc(n ? n : 1);
    if (!pointer)
        out_of_memory();
    return pointer;
}

void *xcalloc(size_t n, size_t size)
{
    void *pointer = calloc(n ? n : 1, size ? size : 1);
    if (!pointer)
        out_of_memory();
    return pointer;
}

void *xrealloc(void *pointer, size_t n)
{
    pointer = realloc(pointer, n ? n : 1);
    if (!pointer)
        out_of_memory();
    return pointer;
}

char *xstrdup(const char *string)
{
    return string ? xstrndup(string, strlen(string)) : NULL;
}

char *xstrndup(const char *string, size_t n)
{
    char *copy = xmalloc(n + 1);
    if (n > 0)
        memcpy(copy, string, n);
    copy[n] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    va_list arguments;
    char *text;
    va_start(arguments, format);
    int n = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (n < 0)
        out_of_memory();
    return text;
}

void buffer_clear(Buffer *buffer)
{
    free(buffer->data);
    *buffer = (Buffer){ 0 };
}

void buffer_reserve_slow(Buffer *buffer, size_t n)
{
    size_t length = buffer_length(buffer);
    /* Moving pays where at least half as much was consumed as has to be moved: else a full queue would move itself at
     * every append. */
    if (buffer->begin > 0 && buffer->allocated - length >= n && buffer->begin >= length / 2) {
        memmove(buffer->data, buffer->data + buffer->begin, length);
    } else {
        size_t wanted =
            MAX_OF(length + n, MAX_OF(buffer->allocated + buffer->allocated / 2, (size_t)BUFFER_FIRST_SIZE));
        if (wanted < n)
            out_of_memory();
        if (buffer->begin == 0) {
            buffer->data = xrealloc(buffer->data, wanted);
        } else {
            uint8_t *data = xmalloc(wanted);
            memcpy(data, buffer->data + buffer->begin, length);
            free(buffer->data);
            buffer->data = data;
        }
        buffer->allocated = wanted;
    }
    buffer->begin = 0;
    buffer->end = length;
}

void buffer_consume(Buffer *buffer, size_t n)
{
    buffer->begin += n;
    if (buffer->begin == buffer->end)
        buffer_reset(buffer);
}

void buffer_trim(Buffer *buffer, size_t keep)
{
    size_t n = buffer_length(buffer);
    if (buffer->allocated - n <= keep)
        return;
    Buffer smaller = { 0 };
    buffer_append(&smaller, buffer_bytes(buffer), n);
    buffer_clear(buffer);
    *buffer = smaller;
}

void buffer_append_string(Buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}

void buffer_printf(Buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char stack[256];
    va_list again;
    va_copy(again, arguments);
    int n = vsnprintf(stack, sizeof(stack), format, arguments);
    if (n >= 0 && (size_t)n < sizeof(stack)) {
        buffer_append(buffer, stack, (size_t)n);
    } else if (n >= 0) {
        uint8_t *at = buffer_reserve(buffer, (size_t)n + 1);
        vsnprintf((char *)at, (size_t)n + 1, format, again);
        buffer_added(buffer, (size_t)n);
    }
    va_end(again);
    va_end(arguments);
}

char *buffer_take_string(Buffer *buffer)
{
    size_t n = buffer_length(buffer);
    char *string;
    if (buffer->begin == 0) {
        *buffer_reserve(buffer, 1) = 0;
        string = (char *)buffer->data;
        *buffer = (Buffer){ 0 };
    } else {
        string = xstrndup((const char *)buffer_bytes(buffer), n);
        buffer_clear(buffer);
    }
    return string;
}
