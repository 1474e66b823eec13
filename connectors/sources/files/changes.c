/* What makes a row a change: see changes.h. */
#include "connectors/sources/files/changes.h"

#include <string.h>

#include "lib/basics/buffer.h"

struct Changes {
    size_t column_count; /* declared; the operation's column comes after */
    uint8_t *flags;      /* of each, owned */
    bool *required;      /* of the rows that are not deleted, owned */
    json_t *operations;  /* owned; {"insert": ["c", …], "update": […], "delete": […]} */
};

Changes *changes_free(Changes *changes)
{
    if (!changes)
        return NULL;
    free(changes->flags);
    free(changes->required);
    json_decref(changes->operations);
    free(changes);
    return NULL;
}

static bool is_listed(const json_t *list, const char *text, size_t n)
{
    size_t i;
    json_t *item;
    json_array_foreach ((json_t *)(uintptr_t)list, i, item)
        if (json_string_length(item) == n && memcmp(json_string_value(item), text, n) == 0)
            return true;
    return false;
}

static size_t column_of(const FilesSettings *settings, size_t count, const char *source)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(settings->columns[i].source, source) == 0)
            return i;
    return SIZE_MAX;
}

/* The operation's own column, where the field is found as the declared column of that name is, if there is one. */
static void add_operation_column(FilesSettings *settings, const char *source)
{
    size_t count = settings->column_count - 1, declared = column_of(settings, count, source);
    FileColumn *column = &settings->columns[count];
    if (declared != SIZE_MAX)
        *column = settings->columns[declared];
    else if (settings->format == FORMAT_CSV && !settings->header)
        column->position = (uint32_t)strtoul(source, NULL, 10);
    column->source = xstrdup(source);
    column->dest = xstrdup("deleted");
    column->type = COLUMN_STRING;
    column->required = column->protected = false;
    /* A name that no other column has. */
    while (true) {
        size_t i = 0;
        while (i < count && strcasecmp(settings->columns[i].dest, column->dest) != 0)
            i++;
        if (i == count)
            return;
        char *longer = xasprintf("%s_", column->dest);
        free(column->dest);
        column->dest = longer;
    }
}

Changes *changes_parse(const json_t *cdc, FilesSettings *settings)
{
    const json_t *keys = json_object_get(cdc, "keys");
    const char *operation = json_string_value(json_object_get(cdc, "operation_column"));
    const char *sequence = json_string_value(json_object_get(cdc, "sequence_by"));
    if (!operation || !sequence || !json_is_array(keys) || !json_is_object(json_object_get(cdc, "operations")))
        return NULL;
    Changes *changes = xcalloc(1, sizeof(*changes));
    size_t count = changes->column_count = settings->column_count - 1;
    changes->flags = xcalloc(count + 1, sizeof(*changes->flags));
    changes->required = xcalloc(count, sizeof(*changes->required));
    changes->operations = json_incref(json_object_get(cdc, "operations"));
    for (size_t i = 0; i < count; i++) {
        FileColumn *column = &settings->columns[i];
        if (is_listed(keys, column->source, strlen(column->source)))
            changes->flags[i] |= COLUMN_KEY;
        if (column_of(settings, count, sequence) == i)
            changes->flags[i] |= COLUMN_SEQUENCE;
        changes->required[i] = column->required;
        column->required = changes->flags[i] != 0;
    }
    changes->flags[count] = COLUMN_IS_DELETED;
    add_operation_column(settings, operation);
    return changes;
}

uint8_t changes_flags(const Changes *changes, size_t column)
{
    return changes->flags[column];
}

/* -1: none of them. */
static int is_deletion(const Changes *changes, const Value *operation)
{
    static const char *const names[] = { "insert", "update", "delete" };
    if (operation->tag != VALUE_STRING)
        return -1;
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (is_listed(json_object_get(changes->operations, names[i]), operation->text.data, operation->text.length))
            return i == 2;
    return -1;
}

int changes_row(const Changes *changes, const FilesSettings *settings, RowsWriter *rows, size_t mark,
                size_t *ret_column, Value *ret_value, const char **ret_why)
{
    const uint8_t *data = rows->buffer->data;
    RowCursor cursor = { .next = data + rows->start + mark, .end = data + rows->buffer->end };
    Value value = { 0 };
    size_t missing = SIZE_MAX;
    for (size_t i = 0; i < changes->column_count; i++)
        if (!row_cursor_value(&cursor, &value))
            abort(); /* what was put can be taken */
        else if (value.tag == VALUE_NULL && changes->required[i] && missing == SIZE_MAX)
            missing = i;
    size_t operation_at = (size_t)(cursor.next - data) - rows->start;
    if (!row_cursor_value(&cursor, &value))
        abort();
    int deleted = is_deletion(changes, &value);
    *ret_value = (Value){ .tag = VALUE_NULL };
    if (deleted < 0) {
        *ret_column = settings->column_count - 1;
        *ret_value = value;
        *ret_why = value.tag == VALUE_NULL ? "no operation in the \"operation_column\""
                                           : "an operation that \"cdc.operations\" does not list";
        return -1;
    }
    if (!deleted && missing != SIZE_MAX) {
        *ret_column = missing;
        *ret_why = "no value, but the column is required of rows that are not deleted";
        return -1;
    }
    rows_rewind(rows, operation_at);
    rows_put_boolean(rows, deleted);
    return 0;
}
