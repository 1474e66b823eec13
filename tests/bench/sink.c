/*
 * The writer of a bench, at the read end of the pipe: takes every frame apart, looks at every value as a writer must
 * (its tag, its length, its UTF-8), and keeps nothing. At the end it says how many rows there were.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/basics/text.h"
#include "lib/formats/frame.h"

static uint32_t widths[FRAME_TABLES_MAX]; /* columns */

static int check_rows(const Frame *frame, Error *error)
{
    RowCursor cursor = row_cursor(frame);
    uint64_t values = (uint64_t)frame->rows.count * widths[frame->rows.table];
    Value value = { 0 };
    for (uint64_t i = 0; i < values; i++) {
        if (!row_cursor_value(&cursor, &value))
            return error_set(error, ERROR_DATA, "value %llu is none", (unsigned long long)i);
        if (value.tag >= VALUE_STRING && value.tag != VALUE_BINARY &&
            utf8_valid_length(value.text.data, value.text.length) != value.text.length)
            return error_set(error, ERROR_DATA, "value %llu is not UTF-8", (unsigned long long)i);
    }
    return cursor.next == cursor.end ? 0 : error_set(error, ERROR_DATA, "bytes are left after the last row");
}

/* All frames that are whole. */
static int check_frames(FrameReader *reader, uint64_t *rows, Error *error)
{
    Frame frame;
    int r;
    while ((r = frame_reader_next(reader, &frame, error)) == 0) {
        if (frame.type == FRAME_TABLE)
            widths[frame.table.id] = frame.table.column_count;
        if (frame.type != FRAME_ROWS)
            continue;
        if (check_rows(&frame, error) < 0)
            return -1;
        *rows += frame.rows.count;
    }
    return r < 0 ? -1 : 0;
}

static int check_pipe(uint64_t *rows, Error *error)
{
    FrameReader reader;
    frame_reader_init(&reader, FRAME_PAYLOAD_MAX);
    int r = 0;
    while (r == 0) {
        size_t room;
        uint8_t *at = frame_reader_reserve(&reader, &room);
        ssize_t n = read(STDIN_FILENO, at, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            r = error_set_errno(error, ERROR_INTERNAL, errno, "cannot read the pipe");
        if (n <= 0)
            break;
        frame_reader_added(&reader, (size_t)n);
        r = check_frames(&reader, rows, error);
    }
    if (r == 0 && buffer_length(&reader.buffer) > 0)
        r = error_set(error, ERROR_DATA, "the last frame is not whole");
    frame_reader_clear(&reader);
    return r;
}

int main(void)
{
    _cleanup_(error_clear) Error error = { 0 };
    uint64_t rows = 0;
    if (check_pipe(&rows, &error) < 0) {
        _cleanup_(freep) char *message = error_format(&error);
        fprintf(stderr, "sink: %s\n", message);
        return 1;
    }
    printf("%llu\n", (unsigned long long)rows);
    return 0;
}
