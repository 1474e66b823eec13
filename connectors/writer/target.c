/*
 * What is there, what comes, what will be.
 *
 * All joining of kinds happens here, value by value and in the order of the stream, so that neither the cut of batches
 * nor a flush in between can change what a column becomes. Values wait as they came and are converted when they are
 * flushed, to what their column has become by then; since each value has one text, whichever way it came to a STRING
 * column, that is the same as if the column had always been so. The one thing a kind does not tell is whether a column
 * of whole numbers has ever held one that no double holds: that is marked in the destination.
 */
#include "connectors/writer/target.h"

#include <assert.h>
#include <strings.h>

#include "lib/basics/hash.h"
#include "lib/basics/text.h"

#define LIVE_COLUMNS_MAX 16384
#define ASIDE_MEMORY (1 << 20) /* of rows that were set aside, and are on their way to the destination */
#define NONE SIZE_MAX

static const Kind instant = { .type = COLUMN_INSTANT }, boolean = { .type = COLUMN_BOOLEAN },
                  string = { .type = COLUMN_STRING };

static Kind column_kind(const FrameColumn *column)
{
    return (Kind){ .type = column->type, .precision = column->precision, .scale = column->scale };
}

static void set_column_kind(FrameColumn *column, Kind kind)
{
    column->type = kind.type;
    column->precision = kind.precision;
    column->scale = kind.scale;
}

/* --- columns --- */

static bool is_system_name(const char *name)
{
    return strncasecmp(name, SYSTEM_COLUMN_PREFIX, strlen(SYSTEM_COLUMN_PREFIX)) == 0;
}

/* The tags of which a column of KIND holds any value. */
static uint16_t tags_held(Kind kind)
{
    static const Value extremes[] = {
        { .tag = VALUE_FALSE },
        { .tag = VALUE_TRUE },
        { .tag = VALUE_INTEGER, .integer = INT64_MAX - 1 },
        { .tag = VALUE_FLOAT, .number = 1e300 / 3 },
        { .tag = VALUE_DATE },
        { .tag = VALUE_STRING, .text = { "", 0 } },
        { .tag = VALUE_JSON, .text = { "", 0 } },
        { .tag = VALUE_BINARY, .text = { "", 0 } },
    };
    uint16_t held = 1u << VALUE_NULL | 1u << VALUE_ABSENT;
    for (size_t i = 0; i < ELEMENTSOF(extremes); i++)
        if (kind_holds(kind, &extremes[i]))
            held |= (uint16_t)(1u << extremes[i].tag);
    if (kind.type == COLUMN_STRING || kind.type == COLUMN_TIMESTAMP)
        held |= 1u << VALUE_TIMESTAMP;
    if (kind.type == COLUMN_STRING || (kind.type == COLUMN_DECIMAL && kind.precision == 0))
        held |= 1u << VALUE_DECIMAL;
    return held;
}

static void column_becomes(Target *target, size_t i, Kind kind)
{
    set_column_kind(&target->live.columns[i], kind);
    TargetColumn *column = &target->columns[i];
    column->holds = tags_held(kind);
    /* Large integers are looked at one by one until one of them has left its mark. */
    if (kind_is_whole(kind) && !(target->live.columns[i].flags & COLUMN_INEXACT))
        column->holds &= (uint16_t) ~(1u << VALUE_INTEGER);
}

static size_t column_append(Target *target, const char *name, Kind kind, uint8_t flags)
{
    Table *live = &target->live;
    size_t i = live->column_count++;
    live->columns = xrealloc(live->columns, live->column_count * sizeof(*live->columns));
    target->columns = xrealloc(target->columns, live->column_count * sizeof(*target->columns));
    live->columns[i] = (FrameColumn){ .name = frame_text(xstrdup(name)), .flags = flags };
    target->columns[i] = (TargetColumn){ 0 };
    column_becomes(target, i, kind);
    return i;
}

static size_t column_find(const Target *target, const char *name)
{
    for (size_t i = 0; i < target->live.column_count; i++)
        if (strcmp(target->live.columns[i].name.data, name) == 0)
            return i;
    if (target->rules->destination->names_ignore_case)
        for (size_t i = 0; i < target->live.column_count; i++)
            if (strcasecmp(target->live.columns[i].name.data, name) == 0)
                return i;
    return NONE;
}

/* --- widening --- */

static int refuse_widening(const Target *target, size_t i, Kind to, Error *error)
{
    char from_name[KIND_NAME_MAX], to_name[KIND_NAME_MAX];
    const FrameColumn *column = &target->live.columns[i];
    kind_name(column_kind(column), from_name);
    kind_name(to, to_name);
    if (column->flags & COLUMN_KEY)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\": column \"%s\" is part of the key and would change from %s to %s, in which keys "
                         "that differ may become one; `wherryctl sync %s --full --tables %s` makes the table anew",
                         target->live.name, column->name.data, from_name, to_name, target->rules->connection,
                         target->live.name);
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\": column \"%s\" would change from %s to %s, which `on_schema_change: block_all` "
                     "forbids",
                     target->live.name, column->name.data, from_name, to_name);
}

/* What mixing KIND into column I makes of it: kind_join(), and STRING for whole numbers that no double holds. */
static Kind joined(const Target *target, size_t i, Kind kind, bool inexact)
{
    const FrameColumn *column = &target->live.columns[i];
    Kind is = column_kind(column), to = kind_join(is, kind);
    inexact |= (column->flags & COLUMN_INEXACT) != 0;
    return to.type == COLUMN_FLOAT && inexact && (kind_is_whole(is) || kind_is_whole(kind)) ? string : to;
}

static int widen(Target *target, size_t i, Kind to, Error *error)
{
    FrameColumn *column = &target->live.columns[i];
    Kind is = column_kind(column);
    if (kind_equal(is, to))
        return 0;
    bool injective =
        (kind_is_whole(is) || is.type == COLUMN_DECIMAL) && (kind_is_whole(to) || to.type == COLUMN_DECIMAL);
    bool is_new = target->columns[i].there.type == 0;
    if (((column->flags & COLUMN_KEY) && !injective) || (target->rules->policy == SCHEMA_BLOCK_ALL && !is_new))
        return refuse_widening(target, i, to, error);
    column_becomes(target, i, to);
    return 0;
}

/* A value that its column does not hold for sure. */
static int take_odd_value(Target *target, size_t i, const Value *value, Error *error)
{
    FrameColumn *column = &target->live.columns[i];
    bool inexact = value->tag == VALUE_INTEGER && !integer_is_exact(value->integer);
    if (kind_holds(column_kind(column), value)) {
        if (inexact && kind_is_whole(column_kind(column)) && !(column->flags & COLUMN_INEXACT)) {
            column->flags |= COLUMN_INEXACT;
            column_becomes(target, i, column_kind(column));
        }
        return 0;
    }
    Kind to = joined(target, i, kind_of_value(value), inexact);
    if (inexact)
        column->flags |= COLUMN_INEXACT;
    return widen(target, i, to, error);
}

/* --- following the stream --- */

const char *schema_policy_name(SchemaPolicy policy)
{
    static const char *const names[] = { "allow_all", "allow_columns", "block_all", "strict" };
    return names[policy];
}

static int refuse_new(const Target *target, const char *column, Error *error)
{
    const char *policy = schema_policy_name(target->rules->policy);
    if (!column)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" is not in the destination, and `on_schema_change: %s` forbids to make it",
                         target->live.name, policy);
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" has no column \"%s\", and `on_schema_change: %s` forbids to add it",
                     target->live.name, column, policy);
}

static int check_name(const Target *target, const char *what, const char *name, Error *error)
{
    unsigned max = target->rules->destination->name_max;
    if (max == 0 || strlen(name) <= max)
        return 0;
    return error_set(error, ERROR_CONFIGURATION, "table \"%s\": the name of %s \"%s\" is longer than %u bytes",
                     target->live.name, what, name, max);
}

static int check_column_count(const Target *target, Error *error)
{
    unsigned max = target->rules->destination->columns_max;
    max = max ? max : LIVE_COLUMNS_MAX;
    if (target->live.column_count <= max)
        return 0;
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" would have %zu columns with those that Wherry adds, and the destination can have %u",
                     target->live.name, target->live.column_count, max);
}

static int follow_column(Target *target, const FrameColumn *column, size_t *ret, Error *error)
{
    const char *name = column->name.data;
    Kind kind = column_kind(column);
    if (is_system_name(name))
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\": column \"%s\" has a name that is kept for columns that Wherry adds",
                         target->live.name, name);
    if ((column->flags & COLUMN_KEY) && kind.type == COLUMN_JSON)
        return error_set(error, ERROR_CONFIGURATION, "table \"%s\": column \"%s\" is JSON, which cannot be a key",
                         target->live.name, name);
    size_t i = column_find(target, name);
    if (i == NONE) {
        if (target->there && target->rules->policy == SCHEMA_BLOCK_ALL)
            return refuse_new(target, name, error);
        if (check_name(target, "column", name, error) < 0)
            return -1;
        /* A table that is there, or has rows, has its key: a new column never joins it. */
        *ret = column_append(target, name, kind, target->there || target->keyed ? 0 : column->flags & COLUMN_KEY);
        return check_column_count(target, error);
    }
    *ret = i;
    return widen(target, i, joined(target, i, kind, false), error);
}

/* Two columns of the stream that the destination takes for one. */
static int check_mapping(const Target *target, const Table *stream, Error *error)
{
    size_t live_count = target->live.column_count;
    _cleanup_(freep) size_t *from = xcalloc(live_count + 1, sizeof(*from));
    for (size_t i = 0; i < stream->column_count; i++) {
        size_t *other = &from[target->map[i]];
        if (*other > 0)
            return error_set(
                error, ERROR_CONFIGURATION,
                "table \"%s\": columns \"%s\" and \"%s\" are the same to this destination; rename one of them",
                stream->name, stream->columns[*other - 1].name.data, stream->columns[i].name.data);
        *other = i + 1;
    }
    return 0;
}

static void put_names(Buffer *text, const Table *table, unsigned flag, const char *but)
{
    for (size_t i = 0; i < table->column_count; i++)
        if ((table->columns[i].flags & flag) && strcmp(table->columns[i].name.data, but) != 0)
            buffer_printf(text, "%s%s", buffer_length(text) > 0 ? ", " : "", table->columns[i].name.data);
}

static int refuse_key(const Target *target, const Table *stream, Error *error)
{
    _cleanup_(buffer_clear) Buffer here = { 0 }, there = { 0 };
    put_names(&here, stream, COLUMN_KEY, "");
    if (buffer_length(&here) == 0)
        buffer_append_string(&here, SYSTEM_COLUMN_ID);
    put_names(&there, &target->live, COLUMN_KEY, SYSTEM_COLUMN_START);
    _cleanup_(freep) char *here_text = buffer_take_string(&here), *there_text = buffer_take_string(&there);
    if (target->keyed)
        return error_set(
            error, ERROR_CONFIGURATION,
            "table \"%s\" had the primary key (%s) so far in this sync, and now has (%s); declare it before "
            "the first row",
            target->live.name, there_text, here_text);
    if (strcmp(here_text, SYSTEM_COLUMN_ID) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" has the primary key (%s) in the destination, and the source declares none: "
                         "have it declare the key in every sync, before the first row; for a table without a key, "
                         "`wherryctl sync %s --full --tables %s` makes it anew",
                         target->live.name, there_text, target->rules->connection, target->live.name);
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" has the primary key (%s) in the destination and (%s) in the source; `wherryctl sync "
                     "%s --full --tables %s` makes the table anew",
                     target->live.name, there_text, here_text, target->rules->connection, target->live.name);
}

/* The key of the stream, or COLUMN_ID, must be the key that is there. */
static int check_key(Target *target, const Table *stream, Error *error)
{
    size_t there = 0;
    for (size_t i = 0; i < target->live.column_count; i++)
        there += (target->live.columns[i].flags & COLUMN_KEY) && i != target->start;
    for (size_t i = 0; i < target->key_count; i++)
        if (!(target->live.columns[target->keys[i]].flags & COLUMN_KEY))
            return refuse_key(target, stream, error);
    return there == target->key_count ? 0 : refuse_key(target, stream, error);
}

static void collect_keys(Target *target, const Table *stream)
{
    free(target->keys);
    target->keys = xmalloc((stream->column_count + 1) * sizeof(*target->keys));
    target->key_count = 0;
    /* In the table's order: the stream may name them in another one the next time, and a key is the same key. */
    for (size_t i = 0; i < stream->column_count; i++) {
        if (!(stream->columns[i].flags & COLUMN_KEY))
            continue;
        size_t at = target->key_count++;
        for (; at > 0 && target->keys[at - 1] > target->map[i]; at--)
            target->keys[at] = target->keys[at - 1];
        target->keys[at] = target->map[i];
    }
    target->keyless = target->key_count == 0;
    if (target->keyless)
        target->keys[target->key_count++] = target->id;
}

static size_t system_column(Target *target, const char *name, Kind kind, bool wanted, uint8_t flags)
{
    size_t i = column_find(target, name);
    if (i == NONE && wanted)
        i = column_append(target, name, kind, flags);
    if (i != NONE)
        target->live.columns[i].flags |= COLUMN_SYSTEM;
    return i;
}

static int system_columns(Target *target, bool keyless, Error *error)
{
    bool history = target->rules->history;
    size_t start = column_find(target, SYSTEM_COLUMN_START);
    if (target->there && history != (start != NONE))
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" was made %s history; `wherryctl sync %s --full --tables %s` makes it anew",
                         target->live.name, history ? "without" : "with", target->rules->connection, target->live.name);
    uint8_t key = target->there || target->keyed ? 0 : COLUMN_KEY;
    target->id = system_column(target, SYSTEM_COLUMN_ID, string, keyless, key);
    target->start = system_column(target, SYSTEM_COLUMN_START, instant, history, key);
    target->end = system_column(target, SYSTEM_COLUMN_END, instant, history, 0);
    target->active = system_column(target, SYSTEM_COLUMN_ACTIVE, boolean, history, 0);
    target->synced = system_column(target, SYSTEM_COLUMN_SYNCED, instant, true, 0);
    target->deleted = system_column(target, SYSTEM_COLUMN_DELETED, boolean, !history, 0);
    return check_column_count(target, error);
}

int target_follow(Target *target, const Table *stream, Error *error)
{
    bool keyless = true;
    if (!target->there && stream->column_count == 0)
        return 0;
    if (!target->there && !target->may_create)
        return refuse_new(target, NULL, error);
    target->map = xrealloc(target->map, (stream->column_count + 1) * sizeof(*target->map));
    for (size_t i = 0; i < stream->column_count; i++) {
        keyless &= !(stream->columns[i].flags & COLUMN_KEY);
        if (follow_column(target, &stream->columns[i], &target->map[i], error) < 0)
            return -1;
    }
    if (check_mapping(target, stream, error) < 0 ||
        system_columns(target, keyless && stream->column_count > 0, error) < 0)
        return -1;
    if (stream->column_count == 0)
        return 0;
    collect_keys(target, stream);
    if (check_key(target, stream, error) < 0)
        return -1;
    target->keyed = true;
    return 0;
}

static int target_describe(Target *target, const char *name, bool drop, Error *error)
{
    const Destination *destination = target->rules->destination;
    void *handle = target->rules->handle;
    if (destination->describe(handle, name, &target->live, &target->there, error) < 0)
        return -1;
    if (target->there && drop) {
        if (destination->drop(handle, name, error) < 0)
            return -1;
        target->there = false;
    }
    target->may_create = drop || target->rules->policy == SCHEMA_ALLOW_ALL;
    if (!target->there) {
        table_clear(&target->live);
        target->live.name = xstrdup(name);
        return 0;
    }
    target->columns = xcalloc(target->live.column_count, sizeof(*target->columns));
    for (size_t i = 0; i < target->live.column_count; i++) {
        target->columns[i].there = column_kind(&target->live.columns[i]);
        target->columns[i].marked = (target->live.columns[i].flags & COLUMN_INEXACT) != 0;
        column_becomes(target, i, target->columns[i].there);
    }
    return 0;
}

int target_new(const TargetRules *rules, const Table *stream, bool drop, Target **ret, Error *error)
{
    Target *target = xcalloc(1, sizeof(*target));
    target->rules = rules;
    target->live.name = xstrdup(stream->name);
    int r = check_name(target, "table", stream->name, error);
    table_clear(&target->live);
    if (r == 0)
        r = target_describe(target, stream->name, drop, error);
    if (r == 0) {
        target->live.id = stream->id;
        target->live.flags = rules->history ? TABLE_HISTORY : 0;
        r = target_follow(target, stream, error);
    }
    if (r < 0) {
        target_free(target);
        return -1;
    }
    *ret = target;
    return 0;
}

Target *target_free(Target *target)
{
    if (!target)
        return NULL;
    table_clear(&target->live);
    coalescer_clear(&target->rows);
    buffer_clear(&target->key);
    buffer_clear(&target->text);
    free(target->columns);
    free(target->map);
    free(target->keys);
    free(target);
    return NULL;
}

size_t target_memory(const Target *target)
{
    return coalescer_memory(&target->rows) + target->rows.scratch.allocated + target->key.allocated +
           target->text.allocated;
}

/* --- rows --- */

/* SHA-1 of the values' texts, joined by commas, in the table's order of columns; upper-case hexadecimal. */
static void make_id(Target *target, char ret[static SHA1_TEXT_SIZE])
{
    buffer_reset(&target->text);
    bool first = true;
    for (size_t i = 0; i < target->live.column_count; i++) {
        if (target->live.columns[i].flags & COLUMN_SYSTEM)
            continue;
        if (!first)
            buffer_append_string(&target->text, ",");
        first = false;
        value_text(&target->columns[i].value, &target->text);
    }
    sha1_text_upper(buffer_bytes(&target->text), buffer_length(&target->text), ret);
}

static void take_key(Target *target, char id[static SHA1_TEXT_SIZE])
{
    if (target->keyless) {
        make_id(target, id);
        target->columns[target->id].value = (Value){ .tag = VALUE_STRING, .text = { id, (uint32_t)strlen(id) } };
    }
    buffer_reset(&target->key);
    for (size_t i = 0; i < target->key_count; i++) {
        size_t column = target->keys[i];
        key_append(&target->key, column_kind(&target->live.columns[column]), &target->columns[column].value);
    }
}

static int take_values(Target *target, const Table *stream, RowCursor *cursor, Error *error)
{
    for (size_t i = 0; i < target->live.column_count; i++)
        target->columns[i].value.tag = VALUE_ABSENT;
    for (size_t i = 0; i < stream->column_count; i++) {
        size_t column = target->map[i];
        TargetColumn *at = &target->columns[column];
        if (!row_cursor_value(cursor, &at->value))
            return error_set(error, ERROR_INTERNAL, "a value that was checked cannot be read");
        if (__builtin_expect(!(at->holds >> at->value.tag & 1), 0) &&
            take_odd_value(target, column, &at->value, error) < 0)
            return -1;
    }
    return 0;
}

/* With history: a version that differs in nothing from the one before is none. */
static bool changes_nothing(const Target *target)
{
    for (size_t i = 0; i < target->live.column_count; i++)
        if (target->columns[i].value.tag != VALUE_ABSENT && !(target->live.columns[i].flags & COLUMN_KEY))
            return false;
    return true;
}

int target_rows(Target *target, const Table *stream, const Frame *rows, uint64_t first_row, RowCursor *cursor,
                uint32_t *row, size_t memory_max, Error *error)
{
    size_t count = target->live.column_count;
    _cleanup_(freep) Value *values = xmalloc(count * sizeof(*values));
    char id[SHA1_TEXT_SIZE];
    while (*row < rows->rows.count) {
        if (take_values(target, stream, cursor, error) < 0)
            return error->kind == ERROR_INTERNAL ? -1 : error_at_row(error, 0, first_row + *row);
        take_key(target, id);
        bool only_key = rows->rows.operation == OPERATION_DELETE;
        for (size_t i = 0; i < count; i++)
            values[i] = only_key && !(target->live.columns[i].flags & COLUMN_KEY) ? (Value){ .tag = VALUE_ABSENT }
                                                                                  : target->columns[i].value;
        if (rows->rows.operation == OPERATION_UPSERT)
            coalescer_upsert(&target->rows, &target->key, values, count);
        else if (rows->rows.operation == OPERATION_DELETE)
            coalescer_delete(&target->rows, &target->key, values, count);
        else if (!target->rules->history || !changes_nothing(target))
            coalescer_update(&target->rows, &target->key, values, count, target->rules->history);
        ++*row;
        if (target_memory(target) > memory_max)
            return TARGET_E_FULL;
    }
    return 0;
}

/* --- changing the table --- */

static int do_change(Target *target, SchemaChangeType type, size_t column, Error *error)
{
    SchemaChange change = { .type = type, .column = column };
    if (type == SCHEMA_WIDEN)
        change.from = target->columns[column].there;
    if (target->rules->destination->change(target->rules->handle, &target->live, &change, error) < 0)
        return -1;
    if (target->rules->changed && type != SCHEMA_INEXACT)
        target->rules->changed(target->live.name, target->rules->userdata);
    return 0;
}

static int change_column(Target *target, size_t i, bool *ret_changed, Error *error)
{
    TargetColumn *column = &target->columns[i];
    const FrameColumn *live = &target->live.columns[i];
    SchemaChangeType type = !target->there || kind_equal(column->there, column_kind(live)) ? 0
                            : column->there.type == 0                                      ? SCHEMA_ADD
                                                                                           : SCHEMA_WIDEN;
    if (type != 0) {
        *ret_changed = true;
        if (do_change(target, type, i, error) < 0)
            return -1;
    }
    /* A mark says something only while the column is one of whole numbers. */
    if ((live->flags & COLUMN_INEXACT) && !column->marked && kind_is_whole(column_kind(live))) {
        *ret_changed = true;
        if (do_change(target, SCHEMA_INEXACT, i, error) < 0)
            return -1;
        column->marked = true;
    }
    return 0;
}

int target_change(Target *target, bool *ret_changed, Error *error)
{
    bool is_new = !target->there;
    if (is_new && target->live.column_count == 0)
        return 0;
    if (is_new) {
        *ret_changed = true;
        if (do_change(target, SCHEMA_CREATE, 0, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < target->live.column_count; i++) {
        if (change_column(target, i, ret_changed, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < target->live.column_count; i++)
        target->columns[i].there = column_kind(&target->live.columns[i]);
    target->there = true;
    return 0;
}

/* --- flushing --- */

static Value instant_value(int64_t us)
{
    int64_t seconds = us / 1000000, rest = us % 1000000;
    if (rest < 0) {
        rest += 1000000;
        seconds--;
    }
    return (Value){ .tag = VALUE_TIMESTAMP,
                    .timestamp = { .seconds = seconds, .nanos = (uint32_t)rest * 1000, .offset = 0 } };
}

static Value boolean_value(bool value)
{
    return (Value){ .tag = value ? VALUE_TRUE : VALUE_FALSE };
}

/* The end of what has not ended: the last millisecond of the year 9999. */
static Value end_of_time(void)
{
    return (Value){ .tag = VALUE_TIMESTAMP,
                    .timestamp = { .seconds = INT64_C(253402300799), .nanos = 999000000, .offset = 0 } };
}

static void set_history(Target *target, const CoalescedRow *row, Operation operation, const Batch *batch)
{
    Value now = instant_value(batch->started_us);
    target->columns[target->start].value = now;
    target->columns[target->end].value = (Value){ .tag = VALUE_ABSENT };
    target->columns[target->active].value = (Value){ .tag = VALUE_ABSENT };
    if (operation == OPERATION_DELETE)
        return;
    bool over = row->fate == FATE_DELETED;
    target->columns[target->end].value = over ? now : end_of_time();
    target->columns[target->active].value = boolean_value(!over);
}

/* Whether anything but the key is named: an update of nothing and a delete only say what becomes of the row. */
static bool names_nothing(const Target *target, const CoalescedRow *row)
{
    RowCursor cursor = { .next = row->values, .end = row->values + row->values_length };
    Value value;
    for (size_t i = 0; i < row->columns && row_cursor_value(&cursor, &value); i++)
        if (value.tag != VALUE_ABSENT && !(target->live.columns[i].flags & COLUMN_KEY))
            return false;
    return true;
}

static Operation operation_of(const Target *target, const CoalescedRow *row)
{
    if (row->kind == COALESCED_REPLACE)
        return OPERATION_UPSERT;
    if (target->rules->history && row->fate == FATE_DELETED && names_nothing(target, row))
        return OPERATION_DELETE;
    return OPERATION_UPDATE;
}

static void load_row(Target *target, const CoalescedRow *row, Operation operation, const Batch *batch)
{
    RowCursor cursor = { .next = row->values, .end = row->values + row->values_length };
    ValueTag absent = operation == OPERATION_UPSERT ? VALUE_NULL : VALUE_ABSENT;
    for (size_t i = 0; i < target->live.column_count; i++) {
        Value *value = &target->columns[i].value;
        value->tag = VALUE_ABSENT;
        if (i < row->columns && !row_cursor_value(&cursor, value))
            abort(); /* what was put can be taken */
        if (value->tag == VALUE_ABSENT)
            value->tag = absent;
    }
    target->columns[target->synced].value = instant_value(batch->started_us);
    if (target->rules->history)
        set_history(target, row, operation, batch);
    else
        target->columns[target->deleted].value =
            row->fate == FATE_AS_IT_IS ? (Value){ .tag = VALUE_ABSENT } : boolean_value(row->fate == FATE_DELETED);
}

static void put_row(Target *target, RowsWriter *rows)
{
    for (size_t i = 0; i < target->live.column_count; i++) {
        buffer_reset(&target->text);
        Value value = value_convert(&target->columns[i].value, column_kind(&target->live.columns[i]), &target->text);
        rows_put_value(rows, &value);
    }
    rows_row_done(rows);
}

/* A destination counts the rows of a frame; a person wants to know which row, and has only its key. */
static int fail_row(const Target *target, const CoalescedRow *row, Error *error)
{
    _cleanup_(buffer_clear) Buffer shown = { 0 };
    RowCursor cursor = { .next = row->values, .end = row->values + row->values_length };
    Value value;
    for (size_t i = 0; i < row->columns && row_cursor_value(&cursor, &value); i++)
        if ((target->live.columns[i].flags & COLUMN_KEY) && value.tag != VALUE_ABSENT) {
            buffer_append_string(&shown, buffer_length(&shown) > 0 ? ", " : "");
            value_text(&value, &shown);
        }
    _cleanup_(freep) char *text =
        text_escape_shortened((const char *)buffer_bytes(&shown), buffer_length(&shown), ERROR_VALUE_MAX);
    error_at_row(error, 0, 0);
    return error_prefix(error, "table \"%s\", the row with key (%s): ", target->live.name, text);
}

typedef struct Emission {
    Buffer buffer;
    RowsWriter rows;
    size_t *numbers; /* of the rows in this frame, in the coalescer */
    size_t allocated;
} Emission;

static int emit_frame(Target *target, const Coalescer *rows, Emission *emission, Operation operation, Error *error)
{
    if (emission->rows.count == 0)
        return 0;
    Frame frame = { .type = FRAME_ROWS,
                    .rows = { .table = target->live.id,
                              .operation = operation,
                              .count = emission->rows.count,
                              .data = buffer_bytes(&emission->buffer),
                              .length = (uint32_t)buffer_length(&emission->buffer) } };
    int r = target->rules->destination->write(target->rules->handle, &target->live, &frame, 1, error);
    if (r < 0 && error && error->row > 0 && error->row <= emission->rows.count)
        fail_row(target, &rows->rows[emission->numbers[error->row - 1]], error);
    buffer_reset(&emission->buffer);
    emission->rows.count = 0;
    return r;
}

static int emit_row(Target *target, const Coalescer *rows, Emission *emission, size_t number, Operation operation,
                    Error *error)
{
    if (emission->rows.count == emission->allocated) {
        emission->allocated = emission->allocated ? emission->allocated * 2 : 256;
        emission->numbers = xrealloc(emission->numbers, emission->allocated * sizeof(*emission->numbers));
    }
    emission->numbers[emission->rows.count] = number;
    put_row(target, &emission->rows);
    if (buffer_length(&emission->buffer) < FRAME_ROWS_TARGET)
        return 0;
    return emit_frame(target, rows, emission, operation, error);
}

static int emit_operation(Target *target, const Coalescer *rows, Emission *emission, Operation operation,
                          const Batch *batch, Error *error)
{
    for (size_t i = 0; i < rows->row_count; i++) {
        const CoalescedRow *row = &rows->rows[i];
        if (operation_of(target, row) != operation)
            continue;
        load_row(target, row, operation, batch);
        if (emit_row(target, rows, emission, i, operation, error) < 0)
            return -1;
    }
    return emit_frame(target, rows, emission, operation, error);
}

/* Sorted rows: to the destination. */
static int emit_rows(Target *target, const Coalescer *rows, const Batch *batch, Error *error)
{
    static const Operation order[] = { OPERATION_UPSERT, OPERATION_UPDATE, OPERATION_DELETE };
    Emission emission = { 0 };
    emission.rows.buffer = &emission.buffer;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(order); i++)
        r = emit_operation(target, rows, &emission, order[i], batch, error);
    buffer_clear(&emission.buffer);
    free(emission.numbers);
    return r;
}

static int merge(Target *target, Error *error)
{
    return target->rules->destination->merge(target->rules->handle, &target->live, error);
}

static int flush_aside(Target *target, Aside *aside, const Batch *batch, bool *ret_changed, Error *error)
{
    _cleanup_(coalescer_clear) Coalescer rows = { 0 };
    bool any = false;
    for (;;) {
        int r = aside_next(aside, target->live.id, target->rules->history, ASIDE_MEMORY, &rows, error);
        if (r == ASIDE_E_END)
            return any ? merge(target, error) : 0;
        *ret_changed = any = true;
        if (r < 0 || emit_rows(target, &rows, batch, error) < 0 || (r == ASIDE_E_SPLIT && merge(target, error) < 0))
            return -1;
        coalescer_clear(&rows);
    }
}

bool target_is_unordered(const Target *target)
{
    return target->rows.unordered;
}

int target_set_aside(Target *target, Aside *aside)
{
    coalescer_sort(&target->rows);
    return aside_put(aside, target->live.id, &target->rows);
}

void target_forget(Target *target)
{
    coalescer_reset(&target->rows);
    /* There may be thousands of tables: none keeps what its largest row needed. */
    buffer_clear(&target->rows.scratch);
    buffer_clear(&target->text);
    buffer_clear(&target->key);
}

int target_flush(Target *target, Aside *aside, const Batch *batch, bool *ret_changed, Error *error)
{
    if (target_change(target, ret_changed, error) < 0 ||
        (aside && flush_aside(target, aside, batch, ret_changed, error) < 0))
        return -1;
    int r = 0;
    if (target->rows.row_count > 0) {
        *ret_changed = true;
        coalescer_sort(&target->rows);
        r = emit_rows(target, &target->rows, batch, error);
        if (r == 0)
            r = merge(target, error);
    }
    target_forget(target);
    return r;
}

int target_soft_delete(Target *target, const Batch *batch, int64_t before_us, Error *error)
{
    if (!target->there)
        return 0;
    return target->rules->destination->soft_delete(target->rules->handle, &target->live, before_us, batch->started_us,
                                                   error);
}
