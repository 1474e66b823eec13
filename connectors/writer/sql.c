/* What destinations that speak SQL have in common. */
#include "connectors/writer/destination.h"

void sql_quote(Buffer *sql, const char *name)
{
    buffer_append(sql, "\"", 1);
    for (const char *c = name; *c; c++) {
        buffer_append(sql, c, 1);
        if (*c == '"')
            buffer_append(sql, c, 1);
    }
    buffer_append(sql, "\"", 1);
}

char *sql_find_inexact(const char *schema, const char *table, const char *column)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "SELECT 1 FROM ");
    if (schema) {
        sql_quote(&sql, schema);
        buffer_append(&sql, ".", 1);
    }
    sql_quote(&sql, table);
    buffer_append_string(&sql, " WHERE ");
    sql_quote(&sql, column);
    buffer_append_string(&sql, " NOT BETWEEN -9007199254740992 AND 9007199254740992 LIMIT 1");
    return buffer_take_string(&sql);
}
