/*
 * Foreign text is either valid UTF-8 or it is shown escaped: nothing that a file, a file name or a connector says can
 * break a line, forge a journal field or drive a terminal.
 */
#include "lib/basics/text.h"

#include <stdint.h>
#include <string.h>

#include "lib/basics/buffer.h"

/* Length of the sequence at TEXT, 0 if it is not valid: the well-formed byte sequences of Unicode's table 3-7. */
static size_t sequence_length(const uint8_t *text, size_t n)
{
    uint8_t first = text[0];
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (n < length)
        return 0;
    uint8_t low = 0x80, high = 0xbf;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

size_t utf8_valid_length(const char *text, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        /* Most text is ASCII: eight bytes at a time. */
        if (n - i >= 8) {
            memcpy(&word, bytes + i, 8);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += 8;
                continue;
            }
        }
        size_t length = sequence_length(bytes + i, n - i);
        if (length == 0)
            return i;
        i += length;
    }
    return n;
}

/* U+0080 … U+009F are control characters too, and U+2028, U+2029 and the bidirectional overrides reorder or break what
 * a person reads. */
static bool is_printable(const uint8_t *text, size_t length)
{
    if (length == 1)
        return text[0] >= 0x20 && text[0] != 0x7f;
    if (length == 2)
        return !(text[0] == 0xc2 && text[1] < 0xa0);
    if (length == 3 && text[0] == 0xe2 && text[1] == 0x80)
        return !((text[2] >= 0xa8 && text[2] <= 0xae) || text[2] == 0x8e || text[2] == 0x8f);
    if (length == 3 && text[0] == 0xe2 && text[1] == 0x81)
        return !(text[2] >= 0xa6 && text[2] <= 0xa9);
    return true;
}

char *text_escape_shortened(const char *text, size_t n, size_t max)
{
    const uint8_t *bytes = (const uint8_t *)text;
    _cleanup_(buffer_clear) Buffer result = { 0 };
    size_t i = 0;
    while (i < n && buffer_length(&result) < max) {
        size_t length = sequence_length(bytes + i, n - i);
        if (length > 0 && is_printable(bytes + i, length)) {
            buffer_append(&result, bytes + i, length);
        } else {
            length = MAX_OF(length, (size_t)1);
            for (size_t j = 0; j < length; j++)
                buffer_printf(&result, "\\x%02X", bytes[i + j]);
        }
        i += length;
    }
    if (i < n)
        buffer_append_string(&result, "…");
    return buffer_take_string(&result);
}

char *text_escape(const char *text, size_t n)
{
    return text_escape_shortened(text, n, SIZE_MAX);
}

#define SUGGEST_LENGTH_MAX 64

/* Optimal string alignment distance: a swap of neighbours, the commonest slip, counts once. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][SUGGEST_LENGTH_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_length; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN_OF(best, MIN_OF(last[j] + 1, row[j - 1] + 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN_OF(best, before[j - 2] + 1);
            row[j] = best;
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b_length];
}

const char *text_suggest(const char *word, const char *const *candidates)
{
    const char *nearest = NULL;
    size_t length = strlen(word), best = MAX_OF(length / 3, (size_t)1) + 1;
    if (length == 0 || length > SUGGEST_LENGTH_MAX)
        return NULL;
    for (; *candidates; candidates++) {
        size_t candidate_length = strlen(*candidates);
        if (candidate_length > SUGGEST_LENGTH_MAX)
            continue;
        size_t distance = edit_distance(word, length, *candidates, candidate_length);
        /* A word of one or two letters resembles every other: at least half of the candidate must be there. */
        if (distance < best && distance * 2 <= candidate_length) {
            best = distance;
            nearest = *candidates;
        }
    }
    return nearest;
}

char *text_shell_word(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,@%+=-";
    _cleanup_(buffer_clear) Buffer word = { 0 };
    if (*text != '\0' && text[strspn(text, plain)] == '\0') {
        buffer_append_string(&word, text);
        return buffer_take_string(&word);
    }
    buffer_append_string(&word, "'");
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "'");
        buffer_append(&word, at, n);
        at += n;
        if (*at == '\'') {
            buffer_append_string(&word, "'\\''");
            at++;
        }
    }
    buffer_append_string(&word, "'");
    return buffer_take_string(&word);
}

bool text_is_name(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n > 63)
        return false;
    for (size_t i = 0; i < n; i++)
        if (text[i] != '_' && (text[i] < 'a' || text[i] > 'z') && (i == 0 || text[i] < '0' || text[i] > '9'))
            return false;
    return true;
}
