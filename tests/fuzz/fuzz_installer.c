/*
 * What an installer prints, in pieces whose sizes the first byte decides: all that is handed on is printable, and so is
 * the reason, which is bounded and does not depend on how the bytes were cut.
 */
#include <assert.h>
#include <stdlib.h>

#include "connectors/environment/words.h"
#include "lib/basics/text.h"

#define REASON_BOUND 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t n, bool lines)
{
    assert(utf8_valid_length(text, n) == n);
    for (size_t i = 0; i < n; i++)
        assert(((unsigned char)text[i] >= ' ' && text[i] != 0x7f) || (lines && text[i] == '\n'));
}

static char *reason_of(const char *bytes, size_t n, size_t piece)
{
    _cleanup_(words_clear) Words words = { 0 };
    char *said = NULL;
    size_t said_n = 0;
    FILE *to = open_memstream(&said, &said_n);
    for (size_t at = 0; at < n; at += piece)
        words_take(&words, bytes + at, MIN_OF(piece, n - at), to);
    words_end(&words, to);
    fclose(to);
    check_text(said, said_n, true);
    free(said);
    char *reason = words_reason(&words);
    check_text(reason, strlen(reason), false);
    assert(strlen(reason) < REASON_BOUND);
    return reason;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    _cleanup_(freep) char *pieces = reason_of((const char *)data + 1, size - 1, (size_t)data[0] + 1);
    _cleanup_(freep) char *whole = reason_of((const char *)data + 1, size - 1, size);
    assert(strcmp(pieces, whole) == 0);
    return 0;
}
