/*
 * What is there, what comes, what will be: the columns of a target.
 *
 * All joining of kinds happens here, value by value and in the order of the stream, so that neither the cut of batches
 * nor a flush in between can change what a column becomes. Values wait as they came and are converted when they are
 * flushed, to what their column has become by then; since each value has one text, whichever way it came to a STRING
 * column, that is the same as if the column had always been so. The one thing a kind does not tell is whether a column
 * of whole numbers has ever held one that no double holds: that is marked in the destination.
 */
#include "connectors/writer/target.h"

#include <strings.h>

#include "connectors/writer/target-internal.h"

#define LIVE_COLUMNS_MAX 16384
#define NONE SIZE_MAX

static const Kind instant = { .type = COLUMN_INSTANT }, boolean = { .type = COLUMN_BOOLEAN },
                  string = { .type = COLUMN_STRING };

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

/* What makes the table anew, with that verb at its end. The caller frees. */
static char *what_makes(const Target *target)
{
    const char *asked_as = target->rules->asked_as;
    return asked_as ? xasprintf("drop it, and `wherryctl state %s reset`: the next run makes", asked_as)
                    : xasprintf("`wherryctl sync %s --full --tables %s` makes", target->rules->connection,
                                target->live.name);
}

static int refuse_widening(const Target *target, size_t i, Kind to, Error *error)
{
    char from_name[KIND_NAME_MAX], to_name[KIND_NAME_MAX];
    const FrameColumn *column = &target->live.columns[i];
    kind_name(column_kind(column), from_name);
    kind_name(to, to_name);
    _cleanup_(freep) char *remedy = what_makes(target);
    if (column->flags & COLUMN_KEY)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\": column \"%s\" is part of the key and would change from %s to %s, in which keys "
                         "that differ may become one; %s the table anew",
                         target->live.name, column->name.data, from_name, to_name, remedy);
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

/* Before a column of whole numbers that is there becomes one of floats: what others wrote has left no mark. */
static int look_for_inexact(Target *target, size_t i, Kind kind, Error *error)
{
    FrameColumn *column = &target->live.columns[i];
    bool inexact;
    if (!target->there || target->columns[i].there.type != COLUMN_INTEGER || (column->flags & COLUMN_INEXACT) ||
        joined(target, i, kind, false).type != COLUMN_FLOAT)
        return 0;
    if (target->rules->destination->has_inexact(target->rules->handle, target->live.name, column->name.data, &inexact,
                                                error) < 0)
        return -1;
    column->flags |= inexact ? COLUMN_INEXACT : 0;
    return 0;
}

/* What VALUE asks of a column of kind IS, which does not hold it. A SHORT becomes no wider than it has to. */
static Kind kind_needed(Kind is, const Value *value)
{
    if (is.type == COLUMN_SHORT && value->tag == VALUE_INTEGER && value->integer >= INT32_MIN &&
        value->integer <= INT32_MAX)
        return (Kind){ .type = COLUMN_INT };
    return kind_of_value(value);
}

int target_take_odd_value(Target *target, size_t i, const Value *value, Error *error)
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
    Kind needed = kind_needed(column_kind(column), value);
    if (look_for_inexact(target, i, needed, error) < 0)
        return -1;
    Kind to = joined(target, i, needed, inexact);
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
    if (column->flags & COLUMN_UNTYPED)
        return 0;
    return look_for_inexact(target, i, kind, error) < 0 ? -1 : widen(target, i, joined(target, i, kind, false), error);
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
    _cleanup_(freep) char *remedy = what_makes(target);
    if (strcmp(here_text, SYSTEM_COLUMN_ID) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" has the primary key (%s) in the destination, and the source declares none: "
                         "have it declare the key in every sync, before the first row; for a table without a key, "
                         "%s it anew",
                         target->live.name, there_text, remedy);
    return error_set(
        error, ERROR_CONFIGURATION,
        "table \"%s\" has the primary key (%s) in the destination and (%s) in the source; %s the table anew",
        target->live.name, there_text, here_text, remedy);
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
    if (target->there && history != (start != NONE)) {
        _cleanup_(freep) char *remedy = what_makes(target);
        return error_set(error, ERROR_CONFIGURATION, "table \"%s\" was made %s history; %s it anew", target->live.name,
                         history ? "without" : "with", remedy);
    }
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
        target->untyped |= (stream->columns[i].flags & COLUMN_UNTYPED) != 0;
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
    if (is_new && (target->untyped || target->live.column_count == 0))
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
