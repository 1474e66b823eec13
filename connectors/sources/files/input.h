#pragma once
/*
 * Text on its way into a parser: a window of bytes that are known to be UTF-8 without NUL, wherever they come from.
 *
 * Bytes are pulled through ByteStreams (a file, what unpacks it, what decodes it), and the parser reads them in place,
 * from data + begin to data + end, moving `begin` past every record it has done. INPUT_SLACK bytes behind `end` may be
 * read, and written as long as they are put back.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/basics/error.h"

typedef struct ByteStream {
    /* 1 … N bytes to DATA; *ret 0: the end. */
    int (*read)(void *context, void *data, size_t n, size_t *ret, Error *error);
    void *context; /* not owned */
} ByteStream;

#define INPUT_BLOCK_SIZE (256u << 10) /* fits the second-level cache with the rows made of it */
#define INPUT_SLACK 64u

typedef struct TextInput {
    char *data;        /* owned */
    size_t begin, end; /* checked text not yet consumed */
    bool ended;        /* no text will follow `end` */
    /* private */
    ByteStream source;
    size_t allocated;
    size_t filled; /* end … filled: the beginning of a character, or what is wrong */
    size_t block_size;
    size_t record_max;
    bool source_ended;
    bool started;
    Error pending; /* to be told when all text before it is consumed */
} TextInput;

/* BLOCK_SIZE 0: INPUT_BLOCK_SIZE. RECORD_MAX: how much may stand unconsumed in the window. */
void text_input_init(TextInput *input, ByteStream source, size_t block_size, size_t record_max);
void text_input_clear(TextInput *input);

enum { TEXT_INPUT_E_END = 1 };

/* More text behind what is there, which may move. Negative also where the next bytes are no text: the place is then the
 * caller's to add. Doubles what is there, so that starting a record again costs little however long it is. */
int text_input_more(TextInput *input, Error *error);

/* The next line without its line feed, in the window, consumed. TEXT_INPUT_E_END: there is none. */
int text_input_line(TextInput *input, char **ret, size_t *ret_length, Error *error);

/* Whether a byte that is no text stands at `end`, for showing it. */
static inline bool text_input_has_bad_byte(const TextInput *input)
{
    return input->end < input->filled;
}
