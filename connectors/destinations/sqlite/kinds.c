/*
 * What the columns of a keyed table are declared as, and what the declarations of a table that is there mean.
 *
 * SQLite keeps no types but a column's affinity, which it reads from the words of the declaration
 * (https://sqlite.org/datatype3.html, 3.1); the declaration itself it keeps to the letter, so that is where the kind of
 * a column stands for the next run. Each is chosen for its affinity: what must not lose a digit is text (SQLite's own
 * DECIMAL and JSON are NUMERIC, which makes 1 of "1.0" and 1e+40 of forty digits); dates and times are NUMERIC, which
 * leaves alone what does not look like a number.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "connectors/destinations/sqlite/sqlite.h"

#define DECLARATION_MAX 64

/* The first of a type is what we write; the others are taken for it. */
static const struct {
    const char *declared;
    ColumnType type;
} declarations[] = {
    { "TEXT", COLUMN_STRING },
    { "SMALLINT", COLUMN_SHORT },
    { "INT", COLUMN_INT },
    { "BIGINT", COLUMN_INTEGER },
    { "FLOAT", COLUMN_REAL },
    { "DOUBLE", COLUMN_FLOAT },
    { "BOOLEAN", COLUMN_BOOLEAN },
    { "DATE", COLUMN_DATE },
    { "DATETIME", COLUMN_DATETIME },
    { "TIMESTAMP", COLUMN_INSTANT },
    { "TIMESTAMP_TEXT", COLUMN_TIMESTAMP },
    { "DECIMAL_TEXT", COLUMN_DECIMAL },
    { "JSON_TEXT", COLUMN_JSON },
    { "BLOB", COLUMN_BINARY },
    { "INTEGER", COLUMN_INTEGER }, /* Filedge's and SQLite's own */
    { "REAL", COLUMN_FLOAT },
    { "DOUBLE PRECISION", COLUMN_FLOAT },
    { "INT8", COLUMN_INTEGER },
    { "INT4", COLUMN_INT },
    { "INT2", COLUMN_SHORT },
    { "BOOL", COLUMN_BOOLEAN },
    { "VARCHAR", COLUMN_STRING },
    { "CHAR", COLUMN_STRING },
    { "NVARCHAR", COLUMN_STRING },
    { "CHARACTER VARYING", COLUMN_STRING },
    { "CLOB", COLUMN_STRING },
};

const char *sqlite_declaration(Kind kind, char ret[static SQLITE_DECLARATION_MAX])
{
    const char *declared = "BLOB";
    for (size_t i = 0; i < ELEMENTSOF(declarations); i++)
        if (declarations[i].type == kind.type) {
            declared = declarations[i].declared;
            break;
        }
    if (kind.type == COLUMN_DECIMAL && kind.precision > 0)
        snprintf(ret, SQLITE_DECLARATION_MAX, "%s(%u,%u)", declared, kind.precision, kind.scale);
    else
        snprintf(ret, SQLITE_DECLARATION_MAX, "%s", declared);
    return ret;
}

/* The words before a parenthesis, single spaces between them; what is in it, as up to two numbers. */
static bool split_declaration(const char *declared, char ret_words[static DECLARATION_MAX], unsigned ret_numbers[2])
{
    size_t n = 0;
    const char *c = declared;
    for (; *c && *c != '('; c++) {
        if (isspace((unsigned char)*c) && (n == 0 || ret_words[n - 1] == ' '))
            continue;
        if (n + 1 >= DECLARATION_MAX)
            return false;
        ret_words[n++] = isspace((unsigned char)*c) ? ' ' : *c;
    }
    while (n > 0 && ret_words[n - 1] == ' ')
        n--;
    ret_words[n] = '\0';
    ret_numbers[0] = ret_numbers[1] = 0;
    int end = 0;
    return !*c || (sscanf(c, "(%3u ) %n", &ret_numbers[0], &end) == 1 && end > 0 && !c[end]) ||
           (sscanf(c, "(%3u ,%3u ) %n", &ret_numbers[0], &ret_numbers[1], &end) == 2 && end > 0 && !c[end]) ||
           strncasecmp(ret_words, "DECIMAL", 7) != 0; /* the length of other types means nothing to SQLite */
}

bool sqlite_declared_kind(const char *declared, Kind *ret)
{
    char words[DECLARATION_MAX];
    unsigned numbers[2];
    if (!split_declaration(declared, words, numbers))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(declarations); i++) {
        if (strcasecmp(words, declarations[i].declared) != 0)
            continue;
        bool sized = declarations[i].type == COLUMN_DECIMAL;
        if (sized && (numbers[0] > DECIMAL_DIGITS_MAX || numbers[1] > numbers[0]))
            return false;
        *ret = (Kind){ .type = declarations[i].type };
        if (sized) {
            ret->precision = (uint8_t)numbers[0];
            ret->scale = (uint8_t)numbers[1];
        }
        return true;
    }
    return false;
}

/* --- what is there --- */

static int read_mark(Sqlite *self, const char *table, const char *column, bool *ret, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self,
                       "SELECT 1 FROM _wherry_columns WHERE table_name = ?1 COLLATE NOCASE"
                       " AND column_name = ?2 COLLATE NOCASE AND fact = 'inexact'",
                       &statement, "read a column's marks", error) < 0)
        return -1;
    sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, column, -1, SQLITE_STATIC);
    return sqlite_step(self, statement, ret, "read a column's marks", error);
}

static int add_column(Sqlite *self, Table *table, sqlite3_stmt *row, bool marks, Error *error)
{
    const char *name = (const char *)sqlite3_column_text(row, 0), *type = (const char *)sqlite3_column_text(row, 1);
    Kind kind;
    bool inexact = false;
    if (!name || !type)
        return sqlite_fail(self, SQLITE_NOMEM, "read a table's columns", error);
    if (sqlite3_column_int(row, 4) != 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" in \"%s\": column \"%s\" is generated, so nothing can be written to it; choose "
                         "another table",
                         table->name, self->path, name);
    if (!sqlite_declared_kind(type, &kind))
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" in \"%s\": column \"%s\" is declared as \"%s\", which is no type of a keyed "
                         "table (a decimal is DECIMAL_TEXT(p,s), JSON is JSON_TEXT); declare it as one, or choose "
                         "another table",
                         table->name, self->path, name, type);
    if (marks && read_mark(self, table->name, name, &inexact, error) < 0)
        return -1;
    bool required = sqlite3_column_int(row, 2) != 0, key = sqlite3_column_int(row, 3) != 0;
    table->columns = xrealloc(table->columns, (table->column_count + 1) * sizeof(*table->columns));
    table->columns[table->column_count++] = (FrameColumn){
        .name = { xstrdup(name), (uint32_t)strlen(name) },
        .type = kind.type,
        .flags = (uint8_t)(key        ? COLUMN_KEY
                           : required ? COLUMN_REQUIRED
                                      : 0) |
                 (inexact ? COLUMN_INEXACT : 0),
        .precision = kind.precision,
        .scale = kind.scale,
    };
    return 0;
}

int sqlite_read_columns(Sqlite *self, const char *name, Table *ret, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *columns = NULL;
    bool row, marks;
    if (sqlite_has_table(self, "_wherry_columns", &marks, error) < 0 ||
        sqlite_prepare(self, "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1)", &columns,
                       "read a table's columns", error) < 0)
        return -1;
    sqlite3_bind_text(columns, 1, name, -1, SQLITE_STATIC);
    *ret = (Table){ .name = xstrdup(name) };
    for (;;) {
        if (sqlite_step(self, columns, &row, "read a table's columns", error) < 0)
            break;
        if (!row)
            return 0;
        if (add_column(self, ret, columns, marks, error) < 0)
            break;
    }
    table_clear(ret);
    *ret = (Table){ 0 };
    return -1;
}

/* One key to the database, and two to whoever compares bytes: which of their operations came last would be lost. */
static int check_collations(Sqlite *self, const char *name, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *loose = NULL;
    bool row;
    if (sqlite_prepare(self,
                       "SELECT x.name, x.coll FROM pragma_index_list(?1) l JOIN pragma_index_xinfo(l.name) x"
                       " WHERE l.origin = 'pk' AND x.key AND x.coll <> 'BINARY' COLLATE NOCASE",
                       &loose, "read a table's key", error) < 0)
        return -1;
    sqlite3_bind_text(loose, 1, name, -1, SQLITE_STATIC);
    if (sqlite_step(self, loose, &row, "read a table's key", error) < 0)
        return -1;
    if (!row)
        return 0;
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" in \"%s\": column \"%s\" is part of the key, and by its collation %s texts that "
                     "differ can be equal; declare it without one, or choose another table",
                     name, self->path, (const char *)sqlite3_column_text(loose, 0),
                     (const char *)sqlite3_column_text(loose, 1));
}

int sqlite_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error)
{
    Sqlite *self = destination;
    bool without_rowid;
    if (sqlite_check_name(name, error) < 0 || sqlite_own_table(self, name, error) < 0 ||
        sqlite_find_table(self, name, ret_found, &without_rowid, error) < 0)
        return -1;
    sqlite_table_forget(self, name);
    if (!*ret_found)
        return 0;
    return check_collations(self, name, error) < 0 ? -1 : sqlite_read_columns(self, name, ret, error);
}

int sqlite_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error)
{
    Sqlite *self = destination;
    _cleanup_(freep) char *sql = sql_find_inexact(NULL, table, column);
    _cleanup_(sqlite_finalizep) sqlite3_stmt *find = NULL;
    if (sqlite_prepare(self, sql, &find, "look at a column", error) < 0)
        return -1;
    return sqlite_step(self, find, ret, "look at a column", error);
}
