/*
 * Any bytes, in cuts of any size: the reader neither crashes nor reads too far, and whatever it accepts encodes to the
 * very bytes it came from. The first byte of the input is the size of the cuts.
 */
#include "lib/formats/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_rows(const Frame *frame)
{
    RowCursor cursor = row_cursor(frame);
    Value value;
    while (row_cursor_value(&cursor, &value))
        if (value.tag >= VALUE_STRING && value.text.length > 0)
            (void)*(volatile const char *)&value.text.data[value.text.length - 1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t step = data[0] + 1u;
    data++;
    size--;
    FrameReader reader;
    frame_reader_init(&reader, 1 << 16);
    Buffer again = { 0 };
    Error error = { 0 };
    int r = FRAME_E_MORE;
    for (size_t given = 0; given < size && r >= 0;) {
        size_t room, n = MIN_OF(step, size - given);
        uint8_t *at = frame_reader_reserve(&reader, &room);
        n = MIN_OF(n, room);
        memcpy(at, data + given, n);
        frame_reader_added(&reader, n);
        given += n;
        Frame frame;
        while ((r = frame_reader_next(&reader, &frame, &error)) == 0) {
            if (frame.type == FRAME_ROWS) {
                walk_rows(&frame);
                RowsWriter rows = rows_begin(&again, frame.rows.table, frame.rows.operation);
                buffer_append(&again, frame.rows.data, frame.rows.length);
                rows.count = frame.rows.count;
                rows_end(&rows);
            } else {
                frame_encode(&again, &frame);
            }
        }
    }
    if (buffer_length(&again) > size || memcmp(buffer_bytes(&again), data, buffer_length(&again)) != 0)
        __builtin_trap();
    error_clear(&error);
    buffer_clear(&again);
    frame_reader_clear(&reader);
    return 0;
}
