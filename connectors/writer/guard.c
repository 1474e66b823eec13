/*
 * Differences are gathered, not told one by one: whoever must change a table, or a configuration, wants the whole list.
 */
#include "connectors/writer/guard.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "connectors/writer/session.h"

static bool same_name(const GuardRules *rules, const char *a, const char *b)
{
    return (rules->ignore_case ? strcasecmp(a, b) : strcmp(a, b)) == 0;
}

int guard_check_names(const GuardRules *rules, const Table *table, const char *destination, Error *error)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i].name.data;
        for (size_t k = 0; k < rules->own_count; k++)
            if (same_name(rules, name, rules->own[k].name))
                return error_set(error, ERROR_CONFIGURATION,
                                 "table \"%s\": column \"%s\" is one that Wherry adds; give yours another name",
                                 table->name, name);
        for (size_t k = 0; k < i; k++)
            if (same_name(rules, name, table->columns[k].name.data))
                return error_set(error, ERROR_CONFIGURATION,
                                 "table \"%s\": columns \"%s\" and \"%s\" are the same to %s; rename one of them",
                                 table->name, table->columns[k].name.data, name, destination);
    }
    return 0;
}

Guard guard_begin(const GuardRules *rules, const Table *table)
{
    return (Guard){ .rules = rules,
                    .table = table,
                    .found = xcalloc(table->column_count + rules->own_count, sizeof(bool)) };
}

void guard_clear(Guard *guard)
{
    free(guard->found);
    buffer_clear(&guard->differences);
}

void guard_differs(Guard *guard, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char text[512];
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (buffer_length(&guard->differences) > 0)
        buffer_append_string(&guard->differences, "; ");
    buffer_append_string(&guard->differences, text);
}

static char *type_text(const Guard *guard, size_t column)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    guard->rules->put_type(&text, &guard->table->columns[column]);
    return buffer_take_string(&text);
}

GuardPlace guard_find(Guard *guard, const char *name, const char *type, size_t *ret)
{
    const Table *table = guard->table;
    for (size_t i = 0; i < table->column_count; i++)
        if (same_name(guard->rules, name, table->columns[i].name.data)) {
            guard->found[ *ret = i] = true;
            return GUARD_TABLE;
        }
    for (size_t i = 0; i < guard->rules->own_count; i++)
        if (same_name(guard->rules, name, guard->rules->own[i].name)) {
            guard->found[table->column_count + (*ret = i)] = true;
            return GUARD_OWN;
        }
    guard_differs(guard, "extra column \"%s\" (%s)", name, *type ? type : "no type");
    return GUARD_EXTRA;
}

void guard_differs_in_type(Guard *guard, GuardPlace place, size_t i, const char *name, const char *type)
{
    _cleanup_(freep) char *here = place == GUARD_OWN ? xstrdup(guard->rules->own[i].type) : type_text(guard, i);
    guard_differs(guard, "column \"%s\" is %s there, %s here", name, *type ? type : "without a type", here);
}

void guard_collates(Guard *guard, size_t i, const char *name, const char *collation)
{
    if (collation && *collation && (guard->table->columns[i].flags & COLUMN_KEY))
        guard_differs(guard, "column \"%s\" is a key, and by its collation \"%s\" there texts that differ can be equal",
                      name, collation);
}

static void find_missing(Guard *guard)
{
    const GuardRules *rules = guard->rules;
    size_t count = guard->table->column_count;
    for (size_t i = 0; i < count; i++) {
        _cleanup_(freep) char *type = type_text(guard, i);
        if (!guard->found[i])
            guard_differs(guard, "missing column \"%s\" (%s)", guard->table->columns[i].name.data, type);
    }
    for (size_t i = 0; i < rules->own_count; i++)
        if (!guard->found[count + i] && rules->own[i].missing)
            guard_differs(guard, "missing column %s", rules->own[i].missing);
}

bool guard_next_to_add(Guard *guard, Writer *writer, size_t *ret)
{
    SchemaPolicy policy = writer->rules.policy;
    if ((policy != SCHEMA_ALLOW_ALL && policy != SCHEMA_ALLOW_COLUMNS) || buffer_length(&guard->differences) > 0)
        return false;
    for (size_t i = 0; i < guard->table->column_count; i++)
        if (!guard->found[i]) {
            guard->found[ *ret = i] = true;
            return true;
        }
    return false;
}

int guard_may_create(Writer *writer, const Table *table, Error *error)
{
    SchemaPolicy policy = writer->rules.policy;
    if (policy != SCHEMA_BLOCK_ALL && policy != SCHEMA_ALLOW_COLUMNS)
        return 0;
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" is not in the destination, and `on_schema_change: %s` forbids to make it",
                     table->name, schema_policy_name(policy));
}

int guard_end(Guard *guard, const char *where, Error *error)
{
    find_missing(guard);
    if (buffer_length(&guard->differences) == 0)
        return 0;
    _cleanup_(freep) char *differences = buffer_take_string(&guard->differences);
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" %s has other columns than the configuration: %s; change one of them, or choose "
                     "another table",
                     guard->table->name, where, differences);
}
