/*
 * From checked frames to the destination's functions, batch by batch.
 *
 * A file is a batch of its own: begin at FILE_BEGIN, commit at FILE_END. Outside files a batch begins with the first
 * operation and is committed at a checkpoint; checkpoints that follow one another faster than `commit_interval` are
 * merged, so state is always committed with exactly the rows before it. Rows after the last checkpoint are committed at
 * END with the state unchanged. A file whose own data is at fault (ERROR_DATA) is rolled back and drained, and the sync
 * goes on.
 */
#include <assert.h>
#include <limits.h>
#include <string.h>
#include <syslog.h>

#include "connectors/writer/session.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

#define MILLISECOND_US 1000

enum { TABLE_UNTOUCHED, TABLE_REPLACED, TABLE_READY }; /* in this batch: Writer.ensured */

static int batch_begin(Writer *writer, Error *error)
{
    if (writer->in_batch)
        return 0;
    writer->batch.sequence = writer->known.sequence + 1;
    writer->batch.epoch = MAX_OF(writer->known.epoch, 1u);
    writer->batch.run_id = writer->run_id;
    writer->batch.state = NULL;
    writer->batch.rows = 0;
    /* Also where the clock was set back: what a batch writes is never older than what the one before wrote. A version
     * that is kept ends a millisecond before the next begins: so much lies between them. */
    writer->batch.started_us =
        MAX_OF(clock_wall_us(), writer->known.updated_us + (writer->rules.history ? MILLISECOND_US : 0));
    writer->batch_began_ms = clock_monotonic_ms();
    writer->in_batch = true;
    writer->batch_changed = false;
    if (writer->sync_began_us == 0)
        writer->sync_began_us = writer->batch.started_us;
    if (writer->ensured_count > 0)
        memset(writer->ensured, 0, writer->ensured_count * sizeof(*writer->ensured));
    return writer->file_is_planned ? 0 : writer->destination->begin(writer->handle, &writer->batch, error);
}

static bool was_told(const Writer *writer, const char *statement)
{
    const char *at = (const char *)buffer_bytes(&writer->told), *end = at + buffer_length(&writer->told);
    while (at < end && strcmp(at, statement) != 0)
        at += strlen(at) + 1;
    return at < end;
}

int apply_plan_tell(Writer *writer, Error *error)
{
    const char *at = (const char *)buffer_bytes(&writer->planned), *end = at + buffer_length(&writer->planned);
    for (; at < end; at += strlen(at) + 1) {
        Frame frame = { .type = FRAME_PLAN, .plan = { .statement = frame_text(at) } };
        if (!was_told(writer, at) && control_send(writer, &frame, error) < 0)
            return -1;
    }
    buffer_append(&writer->told, buffer_bytes(&writer->planned), buffer_length(&writer->planned));
    buffer_reset(&writer->planned);
    return 0;
}

/* What this batch would do: told once it is known to come to its end. */
static int plan_tell(Writer *writer, Error *error)
{
    writer->file_is_planned |= writer->batch.is_file;
    return apply_plan_tell(writer, error);
}

static int batch_commit(Writer *writer, const char *state, Error *error)
{
    assert(writer->in_batch);
    writer->batch.state = state;
    if (!writer->file_is_planned && writer->destination->commit(writer->handle, &writer->batch, error) < 0)
        return -1;
    writer->in_batch = false;
    if (writer->plan)
        return plan_tell(writer, error);
    writer->known.sequence = writer->batch.sequence;
    writer->known.epoch = writer->batch.epoch;
    writer->known.updated_us = writer->batch.started_us + 1;
    writer->rows_committed += writer->batch.rows;
    return 0;
}

void apply_abort(Writer *writer)
{
    if (writer->in_batch && !writer->file_is_planned)
        writer->destination->abort(writer->handle);
    buffer_reset(&writer->planned);
    writer->in_batch = false;
}

void apply_clear(Writer *writer)
{
    operations_reset(writer);
    changes_clear(writer);
    sequence_clear(&writer->sequence);
    committed_state_clear(&writer->known);
    buffer_clear(&writer->planned);
    buffer_clear(&writer->told);
    writer->log_table = log_table_free(writer->log_table);
    free(writer->prefix);
    free(writer->ensured);
    free(writer->file_name);
    free(writer->passed_over);
    free(writer->deferred_state);
    writer->ensured = NULL;
    writer->file_name = writer->passed_over = writer->deferred_state = NULL;
}

/* A table that was dropped, or was given another name, is made anew with the new files alone, while the marks of the
 * older ones keep them from being loaded: once in a sync somebody is told. ANEW: it is about to be made. */
static int warn_of_lost(Writer *writer, const char *table, bool anew, Error *error)
{
    uint64_t lost;
    /* What a full sync loads again is not lost; nor is what a file replaces. */
    bool looked = writer->looked_for_lost || writer->full || (anew && writer->replaces);
    writer->looked_for_lost = true;
    if (looked)
        return 0;
    if (writer->destination->files_lost(writer->handle, table, &lost, error) < 0)
        return -1;
    if (lost == 0)
        return 0;
    const char *asked_as = writer->rules.asked_as;
    _cleanup_(freep) char *count = lost == 1 ? xstrdup("file") : xasprintf("%llu files", (unsigned long long)lost);
    _cleanup_(freep) char *remedy = asked_as ? xasprintf("\"wherryctl requeue %s NAME\" has the next run load %s again",
                                                         asked_as, lost == 1 ? "it" : "one of them")
                                             : xasprintf("\"wherryctl sync %s --full\" loads %s again",
                                                         writer->rules.connection, lost == 1 ? "it" : "them");
    writer_log(writer, LOG_WARNING, "table \"%s\" %s not there: the %s loaded before %s not in it; %s", table,
               anew && !writer->plan ? "was" : "is", count, lost == 1 ? "is" : "are", remedy);
    return 0;
}

static int table_ensure(Writer *writer, uint16_t id, Error *error)
{
    if (id >= writer->ensured_count) {
        size_t count = writer->sequence.table_count;
        writer->ensured = xrealloc(writer->ensured, count * sizeof(*writer->ensured));
        memset(writer->ensured + writer->ensured_count, 0, (count - writer->ensured_count) * sizeof(*writer->ensured));
        writer->ensured_count = count;
    }
    if (writer->ensured[id] == TABLE_READY || writer->file_is_planned)
        return 0;
    Table visible = changes_visible(sequence_table(&writer->sequence, id));
    const Table *table = &visible;
    if ((writer->batch.is_file && warn_of_lost(writer, table->name, true, error) < 0) ||
        writer->destination->ensure_table(writer->handle, table, &writer->batch, error) < 0)
        return -1;
    /* Once per file, however often its columns are replaced: it deletes. */
    if (writer->batch.is_file && writer->ensured[id] == TABLE_UNTOUCHED &&
        writer->destination->file_begin(writer->handle, table, &writer->batch, error) < 0)
        return -1;
    writer->ensured[id] = TABLE_READY;
    return 0;
}

static int tables_ensure(Writer *writer, Error *error)
{
    for (size_t i = 0; i < writer->sequence.table_count; i++)
        if (table_ensure(writer, (uint16_t)i, error) < 0)
            return -1;
    return 0;
}

/* --- files --- */

static int file_report(Writer *writer, FileEnd outcome, const Frame *end, const char *why, Error *error)
{
    Frame done = { .type = FRAME_FILE_DONE,
                   .file_done = { .outcome = outcome,
                                  .rows = outcome == FILE_END_LOADED ? writer->batch.rows : 0,
                                  .quarantined = outcome == FILE_END_LOADED ? end->file_end.quarantined : 0,
                                  .sequence = outcome == FILE_END_LOADED ? writer->known.sequence : 0,
                                  .error = frame_text(why) } };
    memcpy(done.file_done.hash, writer->sequence.file_hash, SHA256_SIZE);
    return control_send(writer, &done, error);
}

static void file_over(Writer *writer)
{
    changes_reset(writer);
    writer->batch.is_file = false;
    writer->batch.file_name = NULL;
    free(writer->file_name);
    writer->file_name = NULL;
}

/* Where a file goes over what those before it left: what is easily missed. */
static void warn_of_order(Writer *writer)
{
    bool ordered = writer->replaces || writer->changes;
    if (writer->replaces && writer->batch.rows == 0)
        writer_log(writer, LOG_WARNING, "file \"%s\" has no rows: with \"write_mode: truncate\" its table is empty now",
                   writer->file_name);
    if (ordered && writer->passed_over)
        writer_log(
            writer, LOG_WARNING,
            "file \"%s\" was loaded, and \"%s\" before it was not: loaded later, that one replaces newer rows, until "
            "the files after it are requeued",
            writer->file_name, writer->passed_over);
    free(writer->passed_over);
    writer->passed_over = NULL;
}

static int file_undo(Writer *writer, FileEnd outcome, const Frame *end, const char *why, Error *error)
{
    if (!writer->passed_over)
        writer->passed_over = xstrdup(writer->file_name);
    apply_abort(writer);
    changes_reset(writer);
    writer->rows_seen -= writer->batch.rows;
    return file_report(writer, outcome, end, why, error);
}

/* An error of the open file itself: it is rolled back and reported, the rest of it will be dropped. */
static int file_fail(Writer *writer, Error *fault, Error *error)
{
    error_at_file(fault, writer->file_name);
    _cleanup_(freep) char *why = error_format(fault);
    int r = file_undo(writer, FILE_END_FAILED, NULL, why, error);
    if (writer->sequence.state == SEQUENCE_IN_FILE)
        writer->sequence.dropping = true;
    else
        file_over(writer);
    return r;
}

static int file_begin(Writer *writer, const Frame *frame, Error *error)
{
    free(writer->file_name);
    writer->file_name = text_escape(frame->file.name.data, frame->file.name.length);
    writer->batch.is_file = true;
    writer->batch.file_name = writer->file_name;
    memcpy(writer->batch.file_hash, frame->file.hash, SHA256_SIZE);
    return batch_begin(writer, error) < 0 ? -1 : tables_ensure(writer, error);
}

static int file_end(Writer *writer, const Frame *frame, bool dropped, Error *error)
{
    int r = 0;
    if (dropped) {
        /* was reported when it failed */
    } else if (frame->file_end.outcome != FILE_END_LOADED) {
        _cleanup_(freep) char *why = text_escape(frame->file_end.error.data, frame->file_end.error.length);
        r = file_undo(writer, frame->file_end.outcome, frame, why, error);
    } else if (memcmp(frame->file_end.hash, writer->sequence.file_hash, SHA256_SIZE) != 0) {
        r = file_undo(writer, FILE_END_CHANGED, frame, "changed while it was read; it waits for the next run", error);
    } else if (writer->sequence.table_count == 0) {
        r = error_set(error, ERROR_INTERNAL, "the worker broke the protocol: a file without a table");
    } else {
        r = writer->changes ? changes_apply(writer, sequence_table(&writer->sequence, 0), error) : 0;
        if (r == 0)
            r = batch_commit(writer, NULL, error);
        if (r == 0)
            r = file_report(writer, FILE_END_LOADED, frame, NULL, error);
        if (r == 0 && !writer->plan)
            warn_of_order(writer);
    }
    if (r == 0)
        file_over(writer);
    return r;
}

/* --- outside files --- */

static int commit_checkpoint(Writer *writer, Error *error)
{
    if (operations_flush(writer, error) < 0)
        return -1;
    _cleanup_(freep) char *state = take_ptr(writer->deferred_state);
    uint64_t rows = writer->batch.rows;
    if (batch_commit(writer, state, error) < 0)
        return -1;
    if (writer->plan)
        return 0;
    Frame frame = { .type = FRAME_COMMITTED,
                    .committed = { .sequence = writer->known.sequence, .rows = rows, .state = frame_text(state) } };
    return control_send(writer, &frame, error);
}

static int take_checkpoint(Writer *writer, const Frame *frame, Error *error)
{
    if (batch_begin(writer, error) < 0)
        return -1;
    free(writer->deferred_state);
    writer->deferred_state = xstrndup(frame->checkpoint.state.data, frame->checkpoint.state.length);
    writer->deferred_clean = true;
    Frame taken = { .type = FRAME_TAKEN, .taken = { .number = frame->checkpoint.number } };
    if (control_send(writer, &taken, error) < 0)
        return -1;
    if (clock_monotonic_ms() - writer->batch_began_ms < writer->commit_interval_ms)
        return 0;
    return commit_checkpoint(writer, error);
}

bool apply_waits(const Writer *writer)
{
    return writer->in_batch && writer->deferred_state && writer->deferred_clean;
}

int apply_settle(Writer *writer, Error *error)
{
    return apply_waits(writer) ? commit_checkpoint(writer, error) : 0;
}

int apply_deferred(Writer *writer, int *ret_ms, Error *error)
{
    *ret_ms = -1;
    if (!apply_waits(writer))
        return 0;
    int64_t left = writer->batch_began_ms + writer->commit_interval_ms - clock_monotonic_ms();
    *ret_ms = (int)MIN_OF(MAX_OF(left, (int64_t)0), (int64_t)INT_MAX);
    return left <= 0 ? commit_checkpoint(writer, error) : 0;
}

/* Rows after the last checkpoint, tables that nobody has looked at yet, and what a full sync has not seen. A batch that
 * turns out to have changed nothing is taken back: an empty sync writes nothing. */
static int take_end(Writer *writer, Error *error)
{
    bool full = writer->full && writer->target_count > 0;
    operations_say_undropped(writer);
    const char *only_table = writer->sequence.rules.only_table;
    _cleanup_(freep) char *name = xasprintf("%s%s", writer->prefix ? writer->prefix : "", only_table ? only_table : "");
    if (writer->files && only_table && warn_of_lost(writer, name, false, error) < 0)
        return -1;
    if (!writer->in_batch && !operations_pending(writer) && !full)
        return 0;
    if (batch_begin(writer, error) < 0 || operations_flush(writer, error) < 0 ||
        (full && operations_delete_unseen(writer, error) < 0))
        return -1;
    if (writer->batch_changed || writer->deferred_state || writer->batch.rows > 0)
        return commit_checkpoint(writer, error);
    apply_abort(writer);
    return 0;
}

int apply_state(Writer *writer, const char *state, Error *error)
{
    if (batch_begin(writer, error) < 0)
        return -1;
    writer->batch.epoch = writer->known.epoch + 1;
    writer->deferred_state = xstrdup(state);
    return commit_checkpoint(writer, error);
}

/* --- rows --- */

static int take_file_rows(Writer *writer, const Frame *frame, Error *error)
{
    if (table_ensure(writer, frame->rows.table, error) < 0)
        return -1;
    const Table *table = sequence_table(&writer->sequence, frame->rows.table);
    if (writer->changes)
        return changes_rows(writer, table, frame, error);
    return writer->destination->write(writer->handle, table, frame, writer->batch.rows + 1, error);
}

static int take_rows(Writer *writer, const Frame *frame, Error *error)
{
    if (batch_begin(writer, error) < 0)
        return -1;
    writer->deferred_clean = false;
    int r = writer->batch.is_file ? take_file_rows(writer, frame, error) : operations_rows(writer, frame, error);
    if (r < 0)
        return -1;
    writer->batch.rows += frame->rows.count;
    writer->rows_seen += frame->rows.count;
    control_progress(writer, "loading");
    return 0;
}

static int take_truncate(Writer *writer, const Frame *frame, Error *error)
{
    if (batch_begin(writer, error) < 0)
        return -1;
    writer->deferred_clean = false;
    return operations_truncate(writer, frame->truncate.table, error);
}

/* A table is created with the batch that needs it; in a file, at once: a file without rows makes its table, too. */
static int take_table(Writer *writer, const Frame *frame, Error *error)
{
    if (!writer->files) {
        operations_table(writer, frame->table.id);
        writer->deferred_clean = false;
        return 0;
    }
    if (writer->changes && writer->batch.rows > 0)
        return error_set(error, ERROR_INTERNAL,
                         "the worker broke the protocol: a table described anew between rows that are being sorted");
    if (frame->table.id < writer->ensured_count && writer->ensured[frame->table.id] == TABLE_READY)
        writer->ensured[frame->table.id] = TABLE_REPLACED;
    writer->deferred_clean = false;
    return writer->batch.is_file ? table_ensure(writer, frame->table.id, error) : 0;
}

static int dispatch(Writer *writer, const Frame *frame, bool dropping, Error *error)
{
    if (writer->plan &&
        (frame->type == FRAME_ROWS || frame->type == FRAME_TRUNCATE || frame->type == FRAME_CHECKPOINT)) {
        if (writer->files)
            return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: frame %s in a plan of files",
                             frame_type_name(frame->type));
        /* It needs no more, whatever the worker still sends. */
        writer->sequence.state = SEQUENCE_ENDED;
        return take_end(writer, error);
    }
    switch (frame->type) {
    case FRAME_TABLE:
        return dropping ? 0 : take_table(writer, frame, error);
    case FRAME_ROWS:
        return dropping ? 0 : take_rows(writer, frame, error);
    case FRAME_TRUNCATE:
        return take_truncate(writer, frame, error);
    case FRAME_CHECKPOINT:
        return take_checkpoint(writer, frame, error);
    case FRAME_FILE_BEGIN:
        return file_begin(writer, frame, error);
    case FRAME_FILE_END:
        return file_end(writer, frame, dropping, error);
    case FRAME_END:
        return take_end(writer, error);
    default:
        return 0;
    }
}

int apply_operation(Writer *writer, const Frame *frame, Error *error)
{
    _cleanup_(error_clear) Error fault = { 0 };
    bool dropping = writer->sequence.dropping;
    debug_frame(writer, frame);
    if (sequence_next(&writer->sequence, frame, &fault) == 0 && dispatch(writer, frame, dropping, &fault) == 0)
        return 0;
    /* Inside a file (the batch says so until its FILE_END is done with) bad data is that file's own. */
    if (fault.kind == ERROR_DATA && writer->batch.is_file)
        return file_fail(writer, &fault, error);
    if (writer->file_name && !fault.file)
        error_at_file(&fault, writer->file_name);
    error_move(error, &fault);
    return -1;
}
