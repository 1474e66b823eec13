/*
 * Operations outside files: one Target per table, and one bound for the memory of all of them.
 *
 * A table is looked at in the destination when it is first needed: by a row, a truncate (which does nothing where the
 * table is not there, and needs none of its columns), or the commit that is to make it although it stays empty. A
 * truncate is a barrier: what came before it is flushed, then all rows are soft-deleted.
 *
 * Past the bound, rows are set aside in a file until the batch's end, where it is worth it; and past the file's bound
 * too, or where there is no room for it, everything is flushed, inside the batch's transaction.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "connectors/writer/session.h"

/* Who says which table to make anew may call it as the source does. */
static bool is_called(const Writer *writer, const char *table, const char *wanted)
{
    return strcmp(table, wanted) == 0 || (writer->prefix && strcmp(table + strlen(writer->prefix), wanted) == 0);
}

static bool is_dropped(const Writer *writer, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)(uintptr_t)writer->drop_tables, i, item) {
        const char *wanted = json_string_value(item);
        if (wanted && is_called(writer, name, wanted))
            return true;
    }
    return false;
}

static bool is_untyped(const Table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].flags & COLUMN_UNTYPED)
            return true;
    return false;
}

void operations_table(Writer *writer, uint16_t id)
{
    if (id >= writer->target_count) {
        size_t count = id + 1u;
        writer->targets = xrealloc(writer->targets, count * sizeof(*writer->targets));
        writer->stale = xrealloc(writer->stale, count * sizeof(*writer->stale));
        writer->declared = xrealloc(writer->declared, count * sizeof(*writer->declared));
        for (size_t i = writer->target_count; i < count; i++) {
            writer->targets[i] = NULL;
            writer->declared[i] = (Table){ 0 };
        }
        writer->target_count = count;
    }
    writer->stale[id] = true;
    const Table *stream = sequence_table(&writer->sequence, id);
    Table *declared = &writer->declared[id];
    if (is_untyped(declared)) /* in a plan: a sync knows of it only now */
        table_clear(declared);
    if ((stream->flags & TABLE_DECLARED) && !writer->targets[id] && !declared->name)
        *declared = table_copy(stream);
}

/* Two tables of the source that the destination takes for one. */
static int check_case(const Writer *writer, const Table *stream, Error *error)
{
    if (!writer->destination->names_ignore_case)
        return 0;
    for (size_t i = 0; i < writer->sequence.table_count; i++) {
        const Table *other = sequence_table(&writer->sequence, (uint16_t)i);
        if (other->id != stream->id && strcasecmp(other->name, stream->name) == 0)
            return error_set(error, ERROR_CONFIGURATION,
                             "tables \"%s\" and \"%s\" are the same to this destination; give one of them another name",
                             sequence_table(&writer->sequence, MIN_OF(other->id, stream->id))->name,
                             sequence_table(&writer->sequence, MAX_OF(other->id, stream->id))->name);
    }
    return 0;
}

/* In a plan: what it would do to the table is done only with a row. */
static void say_untyped(Writer *writer, const Table *table, bool there)
{
    _cleanup_(buffer_clear) Buffer names = { 0 };
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].flags & COLUMN_UNTYPED)
            buffer_printf(&names, "%s%s", buffer_length(&names) > 0 ? ", " : "", table->columns[i].name.data);
    _cleanup_(freep) char *text = buffer_take_string(&names);
    writer_log(writer, LOG_WARNING, "table \"%s\" is %s when its first row tells the types of its key (%s)",
               table->name, there ? "changed" : "made", text);
}

/* What the source has declared is done as a step of its own, before anything that rows bring: so a plan, which has no
 * rows, tells exactly what comes first. */
static int target_make(Writer *writer, uint16_t id, const Table *stream, Error *error)
{
    bool drop = is_dropped(writer, stream->name);
    _cleanup_(table_clear) Table declared = writer->declared[id];
    writer->declared[id] = (Table){ 0 };
    if (check_case(writer, stream, error) < 0)
        return -1;
    writer->batch_changed |= drop;
    const Table *first = declared.name ? &declared : stream;
    if (target_new(&writer->rules, first, drop, &writer->targets[id], error) < 0)
        return -1;
    if (!declared.name)
        return 0;
    bool changed = false;
    if (target_change(writer->targets[id], &changed, error) < 0)
        return -1;
    writer->batch_changed |= changed;
    if (is_untyped(first) && (changed || !writer->targets[id]->there))
        say_untyped(writer, first, writer->targets[id]->there);
    return writer->plan ? 0 : target_follow(writer->targets[id], stream, error);
}

static int target_get(Writer *writer, uint16_t id, Target **ret, Error *error)
{
    assert(id < writer->target_count);
    const Table *stream = sequence_table(&writer->sequence, id);
    Target *target = writer->targets[id];
    int r = 0;
    if (!target) {
        r = target_make(writer, id, stream, error);
    } else if (writer->stale[id]) {
        r = target_follow(target, stream, error);
    }
    if (r < 0)
        return -1;
    writer->stale[id] = false;
    *ret = writer->targets[id];
    return 0;
}

bool operations_pending(const Writer *writer)
{
    for (size_t i = 0; i < writer->target_count; i++)
        if (writer->stale[i])
            return true;
    return false;
}

/* --- memory --- */

void operations_open(Writer *writer)
{
    int fd = writer->set_aside_max > 0 ? spool_open_file() : -1;
    writer->aside = fd >= 0 ? aside_new(fd, writer->set_aside_max) : NULL;
}

static bool has_aside(const Writer *writer)
{
    return writer->aside && !aside_is_empty(writer->aside);
}

/* All rows that wait in memory become a run of those aside. ASIDE_E_FULL: they stay where they are. */
static int set_aside(Writer *writer)
{
    int r = aside_begin(writer->aside);
    for (size_t i = 0; r == 0 && i < writer->target_count; i++)
        if (writer->targets[i])
            r = target_set_aside(writer->targets[i], writer->aside);
    if (r == 0)
        r = aside_end(writer->aside);
    for (size_t i = 0; r == 0 && i < writer->target_count; i++)
        if (writer->targets[i])
            target_forget(writer->targets[i]);
    return r;
}

static int flush_all(Writer *writer, Error *error)
{
    Aside *aside = has_aside(writer) ? writer->aside : NULL;
    if (aside && (set_aside(writer), aside_sort(aside, error)) < 0)
        return -1;
    for (size_t i = 0; i < writer->target_count; i++) {
        if (writer->targets[i] &&
            target_flush(writer->targets[i], aside, &writer->batch, &writer->batch_changed, error) < 0)
            return -1;
        control_progress(writer, "loading");
    }
    if (aside)
        aside_reset(aside);
    return 0;
}

/* Memory is full. What came in the order of its keys goes to the destination at once, as nothing is won by waiting. */
static int make_room(Writer *writer, Error *error)
{
    bool wait = has_aside(writer);
    for (size_t i = 0; !wait && i < writer->target_count; i++)
        wait = writer->targets[i] && target_is_unordered(writer->targets[i]);
    return wait && writer->aside && set_aside(writer) == 0 ? 0 : flush_all(writer, error);
}

int operations_flush(Writer *writer, Error *error)
{
    Target *target;
    for (size_t i = 0; i < writer->target_count; i++)
        if (writer->stale[i] && (!writer->plan || writer->declared[i].name) &&
            target_get(writer, (uint16_t)i, &target, error) < 0)
            return -1;
    return flush_all(writer, error);
}

static size_t memory_of_all(const Writer *writer)
{
    size_t memory = 0;
    for (size_t i = 0; i < writer->target_count; i++)
        if (writer->targets[i])
            memory += target_memory(writer->targets[i]);
    return memory;
}

int operations_rows(Writer *writer, const Frame *frame, Error *error)
{
    Target *target;
    const Table *stream = sequence_table(&writer->sequence, frame->rows.table);
    uint64_t first_row = writer->sequence.rows - frame->rows.count + 1;
    if (target_get(writer, frame->rows.table, &target, error) < 0)
        return -1;
    RowCursor cursor = row_cursor(frame);
    uint32_t row = 0;
    int r;
    do {
        size_t others = memory_of_all(writer) - target_memory(target);
        size_t room = writer->coalesce_memory - MIN_OF(others, writer->coalesce_memory);
        r = target_rows(target, stream, frame, first_row, &cursor, &row, room, error);
        if (r == TARGET_E_FULL && make_room(writer, error) < 0)
            return -1;
    } while (r == TARGET_E_FULL);
    return r;
}

int operations_truncate(Writer *writer, uint16_t id, Error *error)
{
    Target *target;
    if (target_get(writer, id, &target, error) < 0 || (has_aside(writer) && flush_all(writer, error) < 0) ||
        target_flush(target, NULL, &writer->batch, &writer->batch_changed, error) < 0)
        return -1;
    writer->batch_changed |= target->there;
    return target_soft_delete(target, &writer->batch, INT64_MAX, error);
}

/* A name that was mistyped drops nothing, and nobody would know. */
void operations_say_undropped(Writer *writer)
{
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)(uintptr_t)writer->drop_tables, i, item) {
        const char *name = json_string_value(item);
        bool sent = name == NULL;
        for (size_t k = 0; k < writer->sequence.table_count && !sent; k++)
            sent = is_called(writer, sequence_table(&writer->sequence, (uint16_t)k)->name, name);
        if (!sent)
            writer_log(writer, LOG_WARNING, "table \"%s\" was not made anew: the source has sent no such table", name);
    }
}

int operations_delete_unseen(Writer *writer, Error *error)
{
    for (size_t i = 0; i < writer->target_count; i++)
        if (writer->targets[i] &&
            target_soft_delete(writer->targets[i], &writer->batch, writer->sync_began_us, error) < 0)
            return -1;
    writer->batch_changed = true;
    return 0;
}

void operations_reset(Writer *writer)
{
    for (size_t i = 0; i < writer->target_count; i++) {
        target_free(writer->targets[i]);
        table_clear(&writer->declared[i]);
    }
    free(writer->targets);
    free(writer->stale);
    writer->aside = aside_free(writer->aside);
    free(writer->declared);
    writer->targets = NULL;
    writer->stale = NULL;
    writer->declared = NULL;
    writer->target_count = 0;
}
