/*
 * Wider columns. SQLite cannot change a type, so the table is made anew, filled from the old one and renamed, in the
 * batch's transaction (https://sqlite.org/lang_altertable.html, 7); indexes and triggers are made again from their own
 * text, views and foreign keys of others go on by name. Where the stored values stay as they are, whole numbers that
 * become longer whole numbers, decimals that get more digits, only the declaration is written anew, which takes no time
 * at all (ibid., 8).
 *
 * One pass does for all columns that differ from what TABLE says, so that several widenings of a table copy it once:
 * the ones that follow find nothing to do.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "connectors/destinations/sqlite/declaration.h"
#include "connectors/destinations/sqlite/sqlite.h"

#define NEW_TABLE "_wherry_widening" /* no table that a connection may write has such a name */

typedef struct Widening {
    const Table *table;
    Table live;             /* owned */
    const FrameColumn **to; /* owned; per column of LIVE: as it will be; NULL: as it is */
    size_t count;           /* of those that are not NULL */
    size_t first;           /* in TABLE */
    bool content, key;      /* whether values change; those of a key */
    char *sql;              /* owned: the CREATE TABLE */
    char **objects;         /* owned: indexes and triggers */
    size_t object_count;
} Widening;

static void widening_clear(Widening *widening)
{
    table_clear(&widening->live);
    free(widening->to);
    free(widening->sql);
    for (size_t i = 0; i < widening->object_count; i++)
        free(widening->objects[i]);
    free(widening->objects);
}

/* --- values --- */

static bool is_decimal(const char *text, size_t n)
{
    size_t digits = 0, points = 0;
    for (size_t i = n > 0 && text[0] == '-'; i < n; i++) {
        points += text[i] == '.';
        digits += text[i] >= '0' && text[i] <= '9';
    }
    return digits > 0 && points <= 1 && digits + points + (text[0] == '-') == n;
}

static Value text_as(Kind kind, const char *text, size_t n)
{
    Value value = { .tag = VALUE_STRING };
    if (kind.type == COLUMN_DATE && date_parse(text, n, &value.days))
        value.tag = VALUE_DATE;
    else if ((kind.type == COLUMN_DATETIME || kind.type == COLUMN_INSTANT || kind.type == COLUMN_TIMESTAMP) &&
             timestamp_parse(text, n, &value.timestamp))
        value.tag = VALUE_TIMESTAMP;
    else if (kind.type == COLUMN_DECIMAL && is_decimal(text, n))
        value.tag = VALUE_DECIMAL;
    else if (kind.type == COLUMN_JSON)
        value.tag = VALUE_JSON;
    if (value.tag != VALUE_DATE && value.tag != VALUE_TIMESTAMP) {
        value.text.data = text;
        value.text.length = (uint32_t)n;
    }
    return value;
}

/* What a column of KIND means by a stored value. Others may have stored what its declaration does not say: that is
 * taken as it is. */
static Value stored_value(Kind kind, sqlite3_value *stored)
{
    switch (sqlite3_value_type(stored)) {
    case SQLITE_INTEGER: {
        int64_t integer = sqlite3_value_int64(stored);
        if (kind.type == COLUMN_BOOLEAN && (integer == 0 || integer == 1))
            return (Value){ .tag = integer ? VALUE_TRUE : VALUE_FALSE };
        return (Value){ .tag = VALUE_INTEGER, .integer = integer };
    }
    case SQLITE_FLOAT:
        return (Value){ .tag = VALUE_FLOAT, .number = sqlite3_value_double(stored) };
    case SQLITE_TEXT: {
        const char *text = (const char *)sqlite3_value_text(stored);
        return text ? text_as(kind, text, (size_t)sqlite3_value_bytes(stored)) : (Value){ .tag = VALUE_NULL };
    }
    case SQLITE_BLOB: {
        const char *bytes = sqlite3_value_blob(stored);
        return (Value){ .tag = VALUE_BINARY, .text = { bytes ? bytes : "", (uint32_t)sqlite3_value_bytes(stored) } };
    }
    default:
        return (Value){ .tag = VALUE_NULL };
    }
}

static void return_value(sqlite3_context *context, Kind kind, const Value *value)
{
    char shown[TIMESTAMP_TEXT_MAX];
    switch (value->tag) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        sqlite3_result_int(context, value->tag == VALUE_TRUE);
        break;
    case VALUE_INTEGER:
        sqlite3_result_int64(context, value->integer);
        break;
    case VALUE_FLOAT:
        sqlite3_result_double(context, value->number);
        break;
    case VALUE_DATE:
        sqlite3_result_text(context, shown, (int)date_format(value->days, shown), SQLITE_TRANSIENT);
        break;
    case VALUE_TIMESTAMP:
        sqlite3_result_text(context, shown, (int)sqlite_timestamp_text(kind.type, &value->timestamp, shown),
                            SQLITE_TRANSIENT);
        break;
    case VALUE_BINARY:
        sqlite3_result_blob(context, value->text.data, (int)value->text.length, SQLITE_TRANSIENT);
        break;
    case VALUE_NULL:
    case VALUE_ABSENT:
        sqlite3_result_null(context);
        break;
    default:
        sqlite3_result_text(context, value->text.data, (int)value->text.length, SQLITE_TRANSIENT);
    }
}

/* The kind in argument AT, which is the same in every row. */
static const Kind *kind_argument(sqlite3_context *context, sqlite3_value *argument, int at)
{
    Kind *kind = sqlite3_get_auxdata(context, at);
    if (kind)
        return kind;
    const char *declared = (const char *)sqlite3_value_text(argument);
    kind = xcalloc(1, sizeof(*kind));
    if (!declared || !sqlite_declared_kind(declared, kind)) {
        free(kind);
        return NULL;
    }
    sqlite3_set_auxdata(context, at, kind, free);
    return sqlite3_get_auxdata(context, at); /* NULL: out of memory, and freed */
}

/* wherry_convert(value, 'BIGINT', 'TEXT') */
static void convert(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    Buffer *text = sqlite3_user_data(context);
    const Kind *from = kind_argument(context, arguments[1], 1), *to = kind_argument(context, arguments[2], 2);
    if (!from || !to) {
        sqlite3_result_error(context, "wherry_convert: a type is unknown", -1);
        return;
    }
    Value value = stored_value(*from, arguments[0]);
    if (!kind_holds(*to, &value)) {
        sqlite3_result_value(context, arguments[0]);
        return;
    }
    buffer_reset(text);
    value = value_convert(&value, *to, text);
    return_value(context, *to, &value);
}

int sqlite_register_functions(Sqlite *self, Error *error)
{
    int r = sqlite3_create_function_v2(self->database, "wherry_convert", 3,
                                       SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, &self->converted,
                                       convert, NULL, NULL, NULL);
    return r == SQLITE_OK ? 0 : sqlite_fail(self, r, "open it", error);
}

/* --- what differs --- */

static bool same_content(Kind from, Kind to)
{
    return (kind_is_whole(from) && kind_is_whole(to)) || from.type == to.type ||
           (from.type == COLUMN_REAL && to.type == COLUMN_FLOAT);
}

static int compare(Sqlite *self, Widening *widening, Error *error)
{
    const Table *table = widening->table;
    if (sqlite_read_columns(self, table->name, &widening->live, error) < 0)
        return -1;
    const Table *live = &widening->live;
    widening->to = xcalloc(live->column_count, sizeof(FrameColumn *));
    for (size_t i = 0; i < table->column_count; i++)
        for (size_t k = 0; k < live->column_count; k++) {
            Kind from = column_kind(&live->columns[k]), to = column_kind(&table->columns[i]);
            if (strcasecmp(table->columns[i].name.data, live->columns[k].name.data) != 0 || kind_equal(from, to))
                continue;
            bool content = !same_content(from, to);
            widening->to[k] = &table->columns[i];
            widening->content |= content;
            widening->key |= content && (live->columns[k].flags & COLUMN_KEY);
            if (widening->count++ == 0)
                widening->first = i;
        }
    return 0;
}

static int read_statements(Sqlite *self, Widening *widening, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    bool row;
    if (sqlite_prepare(self,
                       "SELECT type = 'table', sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE"
                       " AND type IN ('table', 'index', 'trigger') AND sql IS NOT NULL ORDER BY rowid",
                       &statement, "read a table's schema", error) < 0)
        return -1;
    sqlite3_bind_text(statement, 1, widening->table->name, -1, SQLITE_STATIC);
    for (;;) {
        if (sqlite_step(self, statement, &row, "read a table's schema", error) < 0)
            return -1;
        if (!row)
            return 0;
        char *sql = xstrdup((const char *)sqlite3_column_text(statement, 1));
        if (sqlite3_column_int(statement, 0)) {
            free(widening->sql);
            widening->sql = sql;
        } else {
            widening->objects = xrealloc(widening->objects, (widening->object_count + 1) * sizeof(char *));
            widening->objects[widening->object_count++] = sql;
        }
    }
}

/* The CREATE TABLE with the types to be. */
static int new_statement(Sqlite *self, const Widening *widening, const char *name, char **ret, Error *error)
{
    size_t count = widening->live.column_count;
    _cleanup_(freep) char(*texts)[SQLITE_DECLARATION_MAX] = xcalloc(count, sizeof(*texts));
    _cleanup_(freep) const char **declared = xcalloc(count, sizeof(*declared));
    for (size_t i = 0; i < count; i++)
        if (widening->to[i])
            declared[i] = sqlite_declaration(column_kind(widening->to[i]), texts[i]);
    *ret = widening->sql ? declaration_edit(widening->sql, name, declared, count) : NULL;
    if (*ret)
        return 0;
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" in \"%s\": a column must be widened, but its CREATE TABLE statement is not one that "
                     "Wherry can change; make the table anew with wider columns, or choose another table",
                     widening->table->name, self->path);
}

/* --- only the declaration --- */

static int read_schema_version(Sqlite *self, int64_t *ret, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    bool row;
    if (sqlite_prepare(self, "PRAGMA schema_version", &statement, "widen a column", error) < 0 ||
        sqlite_step(self, statement, &row, "widen a column", error) < 0)
        return -1;
    *ret = sqlite3_column_int64(statement, 0);
    return 0;
}

static int replace_declaration(Sqlite *self, const char *sql, Error *error)
{
    int64_t version;
    if (sqlite_ddl(self, "PRAGMA writable_schema = ON", "widen a column", error) < 0 ||
        sqlite_ddl(self, sql, "widen a column", error) < 0 ||
        sqlite_ddl(self, "PRAGMA writable_schema = RESET", "widen a column", error) < 0)
        return -1;
    if (self->plan)
        return 0;
    /* Other connections, too, must read the schema again. */
    _cleanup_(freep) char *bump = NULL;
    if (read_schema_version(self, &version, error) < 0)
        return -1;
    bump = xasprintf("PRAGMA schema_version = %lld", (long long)version + 1);
    return sqlite_execute(self, bump, "widen a column", error);
}

static int redeclare(Sqlite *self, const Widening *widening, Error *error)
{
    _cleanup_(freep) char *created = NULL;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (new_statement(self, widening, NULL, &created, error) < 0)
        return -1;
    buffer_append_string(&sql, "UPDATE sqlite_schema SET sql = ");
    sqlite_quote_text(&sql, created);
    buffer_append_string(&sql, " WHERE type = 'table' AND name = ");
    sqlite_quote_text(&sql, widening->table->name);
    buffer_append_string(&sql, " COLLATE NOCASE");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    sqlite3_db_config(self->database, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    int r = replace_declaration(self, text, error);
    sqlite3_db_config(self->database, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0, NULL);
    sqlite3_db_config(self->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return r;
}

/* --- the whole table --- */

static void put_converted(Buffer *sql, const FrameColumn *from, const FrameColumn *to)
{
    char declared[SQLITE_DECLARATION_MAX];
    if (!to) {
        sql_quote(sql, from->name.data);
        return;
    }
    buffer_append_string(sql, "wherry_convert(");
    sql_quote(sql, from->name.data);
    buffer_printf(sql, ", '%s'", sqlite_declaration(column_kind(from), declared));
    buffer_printf(sql, ", '%s')", sqlite_declaration(column_kind(to), declared));
}

/* In the order of the new key, where that is another: rows that come in it are appended. */
static char *copy_statement(const Widening *widening)
{
    const Table *live = &widening->live;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "INSERT INTO \"" NEW_TABLE "\"");
    for (size_t i = 0; i < live->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        sql_quote(&sql, live->columns[i].name.data);
    }
    for (size_t i = 0; i < live->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? ") SELECT " : ", ");
        put_converted(&sql, &live->columns[i], widening->to[i]);
    }
    buffer_append_string(&sql, " FROM ");
    sql_quote(&sql, live->name);
    const char *separator = " ORDER BY ";
    for (size_t i = 0; widening->key && i < live->column_count; i++)
        if (live->columns[i].flags & COLUMN_KEY) {
            buffer_printf(&sql, "%s%zu", separator, i + 1);
            separator = ", ";
        }
    return buffer_take_string(&sql);
}

static int replace_table(Sqlite *self, const char *name, Error *error)
{
    _cleanup_(buffer_clear) Buffer drop = { 0 }, rename = { 0 };
    buffer_append_string(&drop, "DROP TABLE ");
    sql_quote(&drop, name);
    buffer_append_string(&rename, "ALTER TABLE \"" NEW_TABLE "\" RENAME TO ");
    sql_quote(&rename, name);
    _cleanup_(freep) char *drop_text = buffer_take_string(&drop), *rename_text = buffer_take_string(&rename);
    if (sqlite_ddl(self, drop_text, "widen a column", error) < 0)
        return -1;
    /* Else SQLite would look through the views, which refer to a table that is not there at this moment. */
    sqlite3_db_config(self->database, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 1, NULL);
    int r = sqlite_ddl(self, rename_text, "widen a column", error);
    sqlite3_db_config(self->database, SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, 0, NULL);
    return r;
}

static int copy(Sqlite *self, const Widening *widening, Error *error)
{
    _cleanup_(freep) char *created = NULL, *filled = NULL;
    if (new_statement(self, widening, "\"" NEW_TABLE "\"", &created, error) < 0)
        return -1;
    filled = copy_statement(widening);
    if (sqlite_ddl(self, created, "widen a column", error) < 0 ||
        sqlite_ddl(self, filled, "widen a column", error) < 0 || replace_table(self, widening->live.name, error) < 0)
        return -1;
    for (size_t i = 0; i < widening->object_count; i++)
        if (sqlite_ddl(self, widening->objects[i], "widen a column", error) < 0)
            return -1;
    return 0;
}

/* What was meant is what is there now. */
static int verify(Sqlite *self, const Widening *widening, Error *error)
{
    Widening again = { .table = widening->table };
    int r = compare(self, &again, error);
    if (r == 0 && (again.count > 0 || again.live.column_count != widening->live.column_count))
        r = error_set(error, ERROR_INTERNAL, "table \"%s\" in \"%s\": widening a column left another table behind",
                      widening->table->name, self->path);
    widening_clear(&again);
    return r;
}

int sqlite_widen(Sqlite *self, const Table *table, size_t column, Error *error)
{
    _cleanup_(widening_clear) Widening widening = { .table = table };
    if (compare(self, &widening, error) < 0)
        return -1;
    /* A plan has all of them with the first. */
    if (widening.count == 0 || (self->plan && widening.first != column))
        return 0;
    if (read_statements(self, &widening, error) < 0)
        return -1;
    self->phase = "widening a column";
    int r = widening.content ? copy(self, &widening, error) : redeclare(self, &widening, error);
    self->phase = "loading";
    return r < 0 || self->plan ? r : verify(self, &widening, error);
}
