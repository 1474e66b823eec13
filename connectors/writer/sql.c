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
