/*
 * A table has one owner: who may not write to it is told whose it is. The table of log lines is the one that many
 * connections share, so that it is none's; a connection that has a table of that name keeps it.
 */
#include <string.h>

#include "connectors/writer/destination.h"

#define WAY_OUT "choose another table, or delete its row in _wherry_tables"

int refuse_owner(const char *table, const char *place, const char *owner, const char *who, Error *error)
{
    if (strcmp(who, LOG_TABLE_OWNER) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" in %s belongs to connection \"%s\", and log lines must not be written to it; "
                         "give that one another name",
                         table, place, owner);
    if (strcmp(owner, LOG_TABLE_OWNER) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" in %s holds log lines (`log_table: true`): connection \"%s\" must not write to "
                         "it; " WAY_OUT,
                         table, place, who);
    return error_set(
        error, ERROR_CONFIGURATION,
        "table \"%s\" in %s belongs to connection \"%s\": connection \"%s\" must not write to it; " WAY_OUT, table,
        place, owner, who);
}
