/*
 * Feeds bytes to the Varlink codec as a socket would: in pieces, whose sizes the first byte decides. Whatever is taken
 * must survive being put and taken again.
 */
#include <stdint.h>
#include <stdlib.h>

#include "lib/formats/varlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(json_t *message)
{
    _cleanup_(buffer_clear) Buffer wire = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    json_t *again = NULL;

    varlink_put(&wire, message);
    if (varlink_take(&wire, SIZE_MAX - 1, &again, &error) != 0 || !json_equal(message, again) ||
        buffer_length(&wire) != 0)
        abort();
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(buffer_clear) Buffer input = { 0 };
    size_t piece, at = 1;

    if (size < 1)
        return 0;
    piece = data[0] ? data[0] : size;
    while (at < size) {
        size_t n = MIN_OF(piece, size - at);
        buffer_append(&input, data + at, n);
        at += n;
        for (;;) {
            _cleanup_(error_clear) Error error = { 0 };
            json_t *message = NULL;
            int r = varlink_take(&input, 4096, &message, &error);
            if (r < 0) {
                if (!error.message)
                    abort();
                return 0;
            }
            if (r == VARLINK_E_MORE)
                break;
            check_round_trip(message);
            json_decref(message);
        }
    }
    return 0;
}
