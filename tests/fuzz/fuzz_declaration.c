/* CREATE TABLE statements, held against SQLite itself: where it makes a table of one, the statement with another type
 * for one column makes the same table, but for that column. The first byte says which; a statement that SQLite refuses
 * is only taken apart. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/destinations/sqlite/declaration.h"
#include "lib/basics/buffer.h"

#define COLUMNS_MAX 64
#define START "CREATE TABLE "
#define TYPE "JSON_TEXT"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The columns of table "t": names, types and the rest of what SQLite knows, a line each; COLUMN's type is left out.
 * NULL: SQLite takes it for no table. */
static char *shape_of(const char *sql, size_t column, size_t *ret_count, char **ret_stored)
{
    sqlite3 *database;
    sqlite3_stmt *statement = NULL;
    Buffer shape = { 0 };
    *ret_count = 0;
    if (sqlite3_open(":memory:", &database) != SQLITE_OK)
        abort();
    sqlite3_limit(database, SQLITE_LIMIT_COLUMN, COLUMNS_MAX);
    if (sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(database, "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 't'", -1,
                           &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        *ret_stored = xstrdup((const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
        if (sqlite3_prepare_v2(database,
                               "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo('t')",
                               -1, &statement, NULL) != SQLITE_OK)
            abort();
        for (; sqlite3_step(statement) == SQLITE_ROW; (*ret_count)++)
            for (int i = 0; i < 6; i++)
                if (i != 1 || *ret_count != column) {
                    const char *text = (const char *)sqlite3_column_text(statement, i);
                    buffer_append_string(&shape, text ? text : "~");
                    buffer_append_string(&shape, i == 5 ? "\n" : "|");
                }
    }
    sqlite3_finalize(statement);
    sqlite3_close(database);
    if (*ret_count == 0) {
        buffer_clear(&shape);
        return NULL;
    }
    return buffer_take_string(&shape);
}

static void compare(const char *stored, size_t column, size_t count, const char *shape)
{
    const char *declared[COLUMNS_MAX] = { 0 };
    declared[column] = TYPE;
    _cleanup_(freep) char *edited = declaration_edit(stored, NULL, declared, count);
    if (!edited)
        return; /* it may refuse */
    size_t edited_count;
    _cleanup_(freep) char *again = NULL, *edited_shape = shape_of(edited, column, &edited_count, &again);
    /* AUTOINCREMENT, and what else goes with one type only */
    if (edited_shape && (edited_count != count || strcmp(edited_shape, shape) != 0)) {
        fprintf(stderr, "%s\nbecame\n%s\nand\n%s\nbecame\n%s\n", stored, edited, shape, edited_shape);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    _cleanup_(freep) char *text = xstrndup((const char *)data + 1, n - 1);
    _cleanup_(freep) char *sql = xasprintf(START "%s", text);
    const char *declared[] = { TYPE, NULL, TYPE };
    free(declaration_edit(sql, "\"other\"", declared, 1 + data[0] % ELEMENTSOF(declared)));
    size_t count;
    _cleanup_(freep) char *stored = NULL, *shape = shape_of(sql, SIZE_MAX, &count, &stored);
    if (!shape || count > COLUMNS_MAX)
        return 0;
    size_t column = data[0] % count, ignored;
    _cleanup_(freep) char *same = NULL, *partial = shape_of(sql, column, &ignored, &same);
    compare(stored, column, count, partial);
    return 0;
}
