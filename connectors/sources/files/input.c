/*
 * The window is one block of memory. What a parser has not consumed moves to its front, and new bytes are read behind
 * it, at least as many as are there already: a parser may therefore begin an unfinished record again from its first
 * byte, which keeps every parser free of states that span blocks, and a record of n bytes is still only read about
 * twice. New bytes are checked while they are in the cache: memchr() for NUL, then UTF-8, both faster than memory.
 *
 * What goes wrong behind the window (a byte that is no text, a truncated archive) is kept until the parser has used up
 * all that came before, so that the error carries the row it belongs to.
 */
#include "connectors/sources/files/input.h"

#include <string.h>

#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

void text_input_init(TextInput *input, ByteStream source, size_t block_size, size_t record_max)
{
    /* The slack from the start: a parser may add to `data` before there is a byte, which NULL does not allow (C11
     * 6.5.6). */
    *input = (TextInput){ .source = source,
                          .data = xcalloc(1, INPUT_SLACK),
                          .allocated = INPUT_SLACK,
                          .block_size = block_size > 0 ? block_size : INPUT_BLOCK_SIZE,
                          .record_max = record_max };
}

void text_input_clear(TextInput *input)
{
    free(input->data);
    error_clear(&input->pending);
    *input = (TextInput){ 0 };
}

static void make_room(TextInput *input, size_t wanted)
{
    size_t kept = input->filled - input->begin;
    if (input->begin > 0) {
        memmove(input->data, input->data + input->begin, kept);
        input->end -= input->begin;
        input->filled = kept;
        input->begin = 0;
    }
    size_t needed = kept + wanted + INPUT_SLACK;
    if (needed > input->allocated) {
        input->data = xrealloc(input->data, needed);
        /* The slack may be read: it must not be uninitialised. */
        memset(input->data + input->allocated, 0, needed - input->allocated);
        input->allocated = needed;
    }
}

static void skip_byte_order_mark(TextInput *input)
{
    if (input->end - input->begin >= 3 && memcmp(input->data + input->begin, "\xef\xbb\xbf", 3) == 0)
        input->begin += 3;
}

static void set_bad_byte(TextInput *input)
{
    unsigned char byte = (unsigned char)input->data[input->end];
    /* `started` comes with the first block as a whole: nothing may stand before the mark in it. */
    bool utf16 = !input->started && input->end == input->begin && input->filled - input->end >= 2 &&
                 (byte == 0xff || byte == 0xfe) && (unsigned char)input->data[input->end + 1] == (byte ^ 1);
    if (utf16)
        error_set(&input->pending, ERROR_DATA, "the file begins as UTF-16 text does: set \"encoding: utf-16\"");
    else if (byte == 0)
        error_set(&input->pending, ERROR_DATA,
                  "a NUL byte, which no text has; UTF-16 text needs \"encoding: utf-16\", other binary files cannot be "
                  "loaded");
    else
        error_set(
            &input->pending, ERROR_DATA,
            "not valid UTF-8 at the byte 0x%02x: set \"encoding:\" to what the file is written in, such as latin-1 "
            "or cp1252",
            byte);
}

/* Bytes at the beginning that are ASCII and not NUL, in steps of 64: nearly all there is in most files. */
static size_t plain_length(const char *text, size_t n)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        uint64_t words[8], special = 0;
        memcpy(words, text + i, sizeof(words));
        /* The high bit of a byte is set by a byte from 0x80 on, and by the borrow of one that is 0. */
        for (size_t k = 0; k < ELEMENTSOF(words); k++)
            special |= words[k] | (words[k] - ones);
        if (special & high)
            break;
    }
    return i;
}

/* Moves `end` over the new bytes that are text. */
static void check_text(TextInput *input)
{
    input->end += plain_length(input->data + input->end, input->filled - input->end);
    const char *start = input->data + input->end;
    size_t n = input->filled - input->end;
    if (n == 0)
        return;
    const char *nul = memchr(start, 0, n);
    size_t limit = nul ? (size_t)(nul - start) : n;
    size_t valid = utf8_valid_length(start, limit);
    input->end += valid;
    /* Fewer bytes than the longest character at the end of a block: the rest of it may follow. */
    if (valid == n || (!nul && n - valid < 4 && !input->source_ended))
        return;
    set_bad_byte(input);
}

static bool is_over(const TextInput *input)
{
    return input->source_ended || input->pending.kind != ERROR_NONE;
}

int text_input_more(TextInput *input, Error *error)
{
    size_t before = input->end - input->begin;
    if (before > input->record_max)
        return error_set(
            error, ERROR_DATA,
            "a row of more than %zu MiB; if it is meant, raise \"max_value_size\", of which a row may have eight times",
            input->record_max >> 20);
    size_t wanted = before;
    while (!is_over(input) &&
           (!input->started || input->end - input->begin == before || input->end - input->begin < before + wanted)) {
        make_room(input, input->block_size);
        size_t n;
        if (input->source.read(input->source.context, input->data + input->filled, input->block_size, &n,
                               &input->pending) < 0)
            break;
        input->filled += n;
        input->source_ended = n == 0;
        check_text(input);
        if (!input->started && (input->end - input->begin >= 3 || is_over(input))) {
            skip_byte_order_mark(input);
            input->started = true;
        }
    }
    if (input->started && input->end - input->begin > before) {
        input->ended = input->source_ended && input->pending.kind == ERROR_NONE && input->end == input->filled;
        return 0;
    }
    if (input->pending.kind != ERROR_NONE) {
        Error told = { 0 };
        error_move(&told, &input->pending);
        /* Whoever asks again is told again. */
        error_set(&input->pending, told.kind, "%s", told.message);
        error_move(error, &told);
        return -1;
    }
    input->ended = true;
    return TEXT_INPUT_E_END;
}

int text_input_line(TextInput *input, char **ret, size_t *ret_length, Error *error)
{
    for (;;) {
        char *begin = input->data + input->begin;
        size_t n = input->end - input->begin;
        char *feed = n > 0 ? memchr(begin, '\n', n) : NULL;
        if (feed || (input->ended && n > 0)) {
            *ret = begin;
            *ret_length = feed ? (size_t)(feed - begin) : n;
            input->begin += *ret_length + (feed != NULL);
            return 0;
        }
        int r = input->ended ? TEXT_INPUT_E_END : text_input_more(input, error);
        if (r < 0 || (r == TEXT_INPUT_E_END && input->begin == input->end))
            return r;
    }
}
