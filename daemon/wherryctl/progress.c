/*
 * The bar shows bytes, since they are what is known of a sync's size beforehand, and says what people ask next: rows a
 * second, time left, which file. It is one line, laid out anew for the terminal's width each time: what does not fit
 * is left out from the right, the bar itself taking the room that remains. Rates are smoothed over a few seconds.
 */
#include <math.h>
#include <string.h>

#include "daemon/wherryctl/print.h"
#include "daemon/wherryctl/progress.h"
#include "daemon/wherryctl/table.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

#define DRAW_EVERY_MS 100
#define LINE_EVERY_MS 10000
#define RATE_OVER_MS 3000.0
#define BAR_MIN 10
#define BAR_MAX 30
#define BAR_FRAME 9 /* "  [" and "] 100%" */

struct Progress {
    FILE *file;
    const char *connection;
    bool bar;
    bool drawn;
    int64_t shown_ms;
    char *last_step; /* phase and file, of the line printed last */
    int64_t sampled_ms;
    int64_t rows, bytes;
    double rows_per_ms, bytes_per_ms;
};

Progress *progress_new(FILE *file, const char *connection)
{
    Progress *progress = xcalloc(1, sizeof(Progress));
    progress->file = file;
    progress->connection = connection;
    progress->bar = terminal_width(file) > 0;
    return progress;
}

static void clear(Progress *progress)
{
    if (progress->drawn)
        fputs("\r\x1b[K", progress->file);
    fflush(progress->file);
    progress->drawn = false;
}

Progress *progress_free(Progress *progress)
{
    if (!progress)
        return NULL;
    clear(progress);
    free(progress->last_step);
    free(progress);
    return NULL;
}

static void sample(Progress *progress, int64_t rows, int64_t bytes)
{
    int64_t now = clock_monotonic_ms(), elapsed = now - progress->sampled_ms;

    if (progress->sampled_ms == 0 || rows < progress->rows || bytes < progress->bytes) {
        progress->rows_per_ms = progress->bytes_per_ms = 0;
    } else if (elapsed < DRAW_EVERY_MS) {
        return;
    } else {
        double rows_now = (double)(rows - progress->rows) / (double)elapsed;
        double bytes_now = (double)(bytes - progress->bytes) / (double)elapsed;
        double weight =
            progress->rows_per_ms == 0 && progress->bytes_per_ms == 0 ? 1 : 1 - exp(-(double)elapsed / RATE_OVER_MS);
        progress->rows_per_ms += weight * (rows_now - progress->rows_per_ms);
        progress->bytes_per_ms += weight * (bytes_now - progress->bytes_per_ms);
    }
    progress->sampled_ms = now;
    progress->rows = rows;
    progress->bytes = bytes;
}

#define PARTS_MAX 5

/* What is said beside the name, in order of importance. */
typedef struct Parts {
    char *texts[PARTS_MAX];
    size_t count;
    size_t width; /* with the two spaces before each */
} Parts;

/* Takes TEXT (owned) if it fits into ROOM columns besides what is there. */
static void parts_add(Parts *parts, size_t room, char *text)
{
    size_t width = text_width(text) + 2;
    if (parts->width + width > room) {
        free(text);
        return;
    }
    parts->texts[parts->count++] = text;
    parts->width += width;
}

static void gather_parts(const Progress *progress, const json_t *report, size_t room, Parts *ret)
{
    char number[VALUE_TEXT_SIZE], of[VALUE_TEXT_SIZE];
    int64_t rows = field_integer(report, "rows", 0), bytes = field_integer(report, "bytes", 0);
    int64_t total = field_integer(report, "bytes_total", 0);
    const char *file = field_text(report, "file"), *phase = field_text(report, "phase");

    if (total <= 0)
        parts_add(ret, room, xstrdup(phase ? phase : ""));
    if (total > 0)
        parts_add(ret, room, xasprintf("%s of %s", print_bytes(bytes, number), print_bytes(total, of)));
    else if (bytes > 0)
        parts_add(ret, room, xstrdup(print_bytes(bytes, number)));
    if (total > 0 && bytes >= total && rows > 0) /* all is read: a rate would only sink while the writer finishes */
        parts_add(ret, room, xasprintf("%s rows, committing", print_count(rows, number)));
    else if (progress->rows_per_ms > 0)
        parts_add(ret, room, xasprintf("%s rows/s", print_count((int64_t)(progress->rows_per_ms * 1000), number)));
    else if (rows > 0)
        parts_add(ret, room, xasprintf("%s rows", print_count(rows, number)));
    if (total > bytes && progress->bytes_per_ms > 0) {
        double seconds = (double)(total - bytes) / progress->bytes_per_ms / 1000;
        parts_add(ret, room, xasprintf("%s left", print_seconds(MIN_OF(seconds, 1e9), number)));
    }
    if (file)
        parts_add(ret, room, text_escape(file, strlen(file)));
}

static void draw_bar(Buffer *line, size_t width, double share)
{
    size_t filled = (size_t)(share * (double)width);
    buffer_append_string(line, "  [");
    for (size_t i = 0; i < width; i++)
        buffer_append_string(line, i < filled ? "#" : "-");
    buffer_printf(line, "] %3d%%", (int)(share * 100));
}

static void draw(Progress *progress, const json_t *report, size_t width)
{
    _cleanup_(buffer_clear) Buffer line = { 0 };
    Parts parts = { 0 };
    int64_t bytes = field_integer(report, "bytes", 0), total = field_integer(report, "bytes_total", 0);
    size_t name = text_fit(progress->connection, width - 1);
    size_t room = width - 1 - MIN_OF(text_width(progress->connection), width - 1);

    buffer_append(&line, progress->connection, name);
    if (total > 0 && room >= BAR_MIN + BAR_FRAME) {
        /* the bar gets what the words leave, within reason */
        gather_parts(progress, report, room - BAR_MIN - BAR_FRAME, &parts);
        draw_bar(&line, MIN_OF(room - parts.width - BAR_FRAME, (size_t)BAR_MAX),
                 (double)MIN_OF(MAX_OF(bytes, (int64_t)0), total) / (double)total);
    } else {
        gather_parts(progress, report, room, &parts);
    }
    for (size_t i = 0; i < parts.count; i++) {
        buffer_printf(&line, "  %s", parts.texts[i]);
        free(parts.texts[i]);
    }
    fprintf(progress->file, "\r%.*s\x1b[K", (int)buffer_length(&line), (const char *)buffer_bytes(&line));
    fflush(progress->file);
    progress->drawn = true;
}

static void print_line(Progress *progress, const json_t *report, const char *step)
{
    char rows[VALUE_TEXT_SIZE], bytes[VALUE_TEXT_SIZE], of[VALUE_TEXT_SIZE];
    int64_t total = field_integer(report, "bytes_total", 0);

    fprintf(progress->file, "%s: %s, %s rows, %s", progress->connection, step,
            print_count(field_integer(report, "rows", 0), rows), print_bytes(field_integer(report, "bytes", 0), bytes));
    if (total > 0)
        fprintf(progress->file, " of %s", print_bytes(total, of));
    fputc('\n', progress->file);
    fflush(progress->file);
}

void progress_show(Progress *progress, const json_t *report)
{
    int64_t now = clock_monotonic_ms();
    const char *phase = field_text(report, "phase"), *file = field_text(report, "file");

    sample(progress, field_integer(report, "rows", 0), field_integer(report, "bytes", 0));
    if (progress->bar) {
        if (progress->shown_ms == 0 || now - progress->shown_ms >= DRAW_EVERY_MS) {
            draw(progress, report, terminal_width(progress->file));
            progress->shown_ms = now;
        }
        return;
    }

    _cleanup_(freep) char *shown = file ? text_escape(file, strlen(file)) : NULL;
    _cleanup_(freep) char *step =
        xasprintf("%s%s%s%s", phase ? phase : "", shown ? " \"" : "", shown ? shown : "", shown ? "\"" : "");
    bool new_step = !progress->last_step || strcmp(progress->last_step, step) != 0;
    /* a thousand small files are not a thousand lines */
    if (progress->last_step && now - progress->shown_ms < (new_step ? 1000 : LINE_EVERY_MS))
        return;
    print_line(progress, report, step);
    free(progress->last_step);
    progress->last_step = take_ptr(step);
    progress->shown_ms = now;
}
