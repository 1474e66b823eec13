/*
 * Runs as others see them. A program reads the control interface's types; a person reads one line, which says first
 * what happened, then how much, then why not.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/wherryd/record.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

json_t *json_text(const char *text)
{
    if (!text)
        return json_null();
    size_t n = strlen(text);
    if (utf8_valid_length(text, n) == n)
        return json_stringn_nocheck(text, n);
    _cleanup_(freep) char *printable = text_escape(text, n);
    return json_string_nocheck(printable);
}

json_t *json_time(int64_t wall_ms)
{
    if (wall_ms == 0)
        return json_null();
    char text[RFC3339_MS_SIZE];
    rfc3339_ms(wall_ms, text);
    return json_string(text);
}

static void set_counts(json_t *object, const RunRecord *run)
{
    const RunCounts *files = &run->files;
    const struct {
        const char *name;
        int64_t value;
    } counts[] = { { "files_scanned", files->files_scanned },
                   { "new_files", files->new_files },
                   { "committed", files->committed },
                   { "failed", files->failed },
                   { "skipped", files->skipped },
                   { "reclaimed", files->reclaimed },
                   { "retried", files->retried },
                   { "quarantined_rows", files->quarantined_rows } };
    for (size_t i = 0; i < ELEMENTSOF(counts); i++)
        json_object_set_new(object, counts[i].name, run->has_files ? json_integer(counts[i].value) : json_null());
}

json_t *record_run(const RunRecord *run)
{
    json_t *warnings = json_array();
    for (size_t i = 0; i < run->warning_count; i++)
        json_array_append_new(warnings, json_text(run->warnings[i]));
    json_t *object = json_object();
    json_object_set_new(object, "run_id", json_string(run->run_id));
    json_object_set_new(object, "connection", json_text(run->connection));
    json_object_set_new(object, "trigger", json_text(run->trigger));
    json_object_set_new(object, "outcome", json_text(run->outcome));
    json_object_set_new(object, "started_at", json_time(run->started_ms));
    json_object_set_new(object, "finished_at", json_time(run->finished_ms));
    json_object_set_new(object, "duration_s",
                        run->outcome && run->duration_ms >= 0 ? json_real((double)run->duration_ms / 1000)
                                                              : json_null());
    json_object_set_new(object, "rows_committed", json_integer(run->rows_committed));
    json_object_set_new(object, "bytes_processed", json_integer(run->bytes_processed));
    json_object_set_new(object, "checkpoints", json_integer(run->checkpoints));
    json_object_set_new(object, "error", json_text(run->error));
    json_object_set_new(object, "warnings", warnings);
    set_counts(object, run);
    return object;
}

json_t *record_file(const FileRecord *file)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_text(file->name));
    json_object_set_new(object, "hash", json_string(file->hash));
    json_object_set_new(object, "state", json_string(file_state_name(file->state)));
    json_object_set_new(object, "attempts", json_integer(file->attempts));
    json_object_set_new(object, "rows", file->rows < 0 ? json_null() : json_integer(file->rows));
    json_object_set_new(object, "quarantined_rows", json_integer(file->quarantined));
    json_object_set_new(object, "quarantine_path", json_text(file->sidecar));
    json_object_set_new(object, "error", json_text(file->error));
    json_object_set_new(object, "last_run_id", json_text(file->last_run_id));
    json_object_set_new(object, "updated_at", json_time(file->updated_ms));
    return object;
}

json_t *record_progress(const char *run_id, const SyncProgress *progress)
{
    json_t *object = json_object();
    json_object_set_new(object, "run_id", json_string(run_id));
    json_object_set_new(object, "rows", json_integer((json_int_t)progress->rows));
    json_object_set_new(object, "bytes", json_integer((json_int_t)progress->bytes));
    json_object_set_new(object, "bytes_total",
                        progress->bytes_total > 0 ? json_integer((json_int_t)progress->bytes_total) : json_null());
    json_object_set_new(object, "file", json_text(progress->file));
    json_object_set_new(object, "phase", json_text(progress->phase));
    return object;
}

/* --- the line --- */

/* 1204 → "1,204" */
static void put_number(Buffer *line, int64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)number);
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-')
            buffer_append_string(line, ",");
        buffer_append(line, &digits[i], 1);
    }
}

static void put_count(Buffer *line, int64_t number, const char *unit)
{
    put_number(line, number);
    buffer_printf(line, " %s%s", unit, number == 1 ? "" : "s");
}

static void put_bytes(Buffer *line, int64_t bytes)
{
    static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)bytes;
    if (bytes < 1000) {
        buffer_printf(line, "%lld B", (long long)bytes);
        return;
    }
    size_t unit = 0;
    for (value /= 1000; value >= 999.95 && unit + 1 < ELEMENTSOF(units); unit++)
        value /= 1000;
    buffer_printf(line, "%.1f %s", value, units[unit]);
}

static void put_duration(Buffer *line, int64_t ms)
{
    char text[DURATION_TEXT_SIZE];
    if (ms < 100) {
        buffer_printf(line, "%lld ms", (long long)MAX_OF(ms, (int64_t)0));
    } else if (ms < 60000) {
        buffer_printf(line, "%.1f s", (double)ms / 1000);
    } else if (ms < 3600000) {
        buffer_printf(line, "%lld min %lld s", (long long)(ms / 60000), (long long)(ms / 1000 % 60));
    } else {
        duration_format((uint64_t)(ms / 60000 * 60), text);
        buffer_append_string(line, text);
    }
}

static void put_amount(Buffer *line, const RunRecord *run)
{
    if (run->has_files) {
        put_count(line, run->files.committed, "file");
        buffer_append_string(line, ", ");
    }
    put_count(line, run->rows_committed, "row");
    buffer_append_string(line, ", ");
    put_bytes(line, run->bytes_processed);
}

char *record_summary(const RunRecord *run)
{
    _cleanup_(buffer_clear) Buffer line = {};
    bool good = run->outcome && strcmp(run->outcome, "succeeded") == 0;
    if (good && run->has_files && run->files.committed == 0 && run->rows_committed == 0) {
        buffer_append_string(&line, "nothing new: ");
        put_count(&line, run->files.files_scanned, "file");
        buffer_append_string(&line, " seen in ");
        put_duration(&line, run->duration_ms);
    } else if (good) {
        buffer_append_string(&line, "synced ");
        put_amount(&line, run);
        buffer_append_string(&line, " in ");
        put_duration(&line, run->duration_ms);
    } else {
        buffer_printf(&line, "%s after ", run->outcome ? run->outcome : "unfinished");
        put_duration(&line, run->duration_ms);
        if (run->rows_committed > 0 || run->files.committed > 0) {
            buffer_append_string(&line, " (");
            put_amount(&line, run);
            buffer_append_string(&line, " committed)");
        }
        if (run->error)
            buffer_printf(&line, ": %s", run->error);
    }
    return buffer_take_string(&line);
}
