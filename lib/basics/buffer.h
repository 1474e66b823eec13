#pragma once
/*
 * A growable array of bytes, consumed at the front and filled at the back. Out of memory aborts the program: every
 * size that foreign input controls is bounded before it gets here.
 */
#include <stdint.h>
#include <string.h>

#include "lib/basics/cleanup.h"

typedef struct Buffer {
    uint8_t *data; /* owned */
    size_t begin;  /* first byte that is not consumed */
    size_t end;    /* one past the last byte */
    size_t allocated;
} Buffer;

extern uint8_t buffer_nothing[];   /* what an empty buffer shows */
void buffer_clear(Buffer *buffer); /* frees; for _cleanup_ too */
void buffer_reserve_slow(Buffer *buffer, size_t n);

/* At least N writable bytes at the returned pointer; follow with buffer_added(). May move the data. */
static inline uint8_t *buffer_reserve(Buffer *buffer, size_t n)
{
    if (__builtin_expect(buffer->allocated - buffer->end < n, 0))
        buffer_reserve_slow(buffer, n);
    return buffer->data + buffer->end;
}
static inline void buffer_added(Buffer *buffer, size_t n)
{
    buffer->end += n;
}
static inline void buffer_append(Buffer *buffer, const void *data, size_t n)
{
    if (n > 0)
        memcpy(buffer_reserve(buffer, n), data, n);
    buffer->end += n;
}
static inline size_t buffer_length(const Buffer *buffer)
{
    return buffer->end - buffer->begin;
}
static inline uint8_t *buffer_bytes(const Buffer *buffer)
{
    /* Of an empty buffer too a pointer that may be added to and handed to memcpy(), which NULL may not (C11 6.5.6,
     * 7.1.4). */
    return buffer->data ? buffer->data + buffer->begin : buffer_nothing;
}
static inline void buffer_reset(Buffer *buffer)
{
    buffer->begin = buffer->end = 0;
}
void buffer_consume(Buffer *buffer, size_t n);
/* Gives back what the buffer has allocated beyond what it holds, where that is more than KEEP bytes. */
void buffer_trim(Buffer *buffer, size_t keep);
void buffer_append_string(Buffer *buffer, const char *string);
void buffer_printf(Buffer *buffer, const char *format, ...) _public_printf_(2, 3);
/* The content as a NUL-terminated string, now owned by the caller; the buffer is empty afterwards. */
char *buffer_take_string(Buffer *buffer);

/* malloc() and friends that abort when memory is out. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *pointer, size_t n);
char *xstrdup(const char *string);            /* NULL stays NULL */
char *xstrndup(const char *string, size_t n); /* exactly N bytes and a NUL */
char *xasprintf(const char *format, ...) _public_printf_(1, 2);
