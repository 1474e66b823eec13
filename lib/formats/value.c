/* Names as configuration files write them, and which tags each column type may hold. */
#include "lib/formats/value.h"

#include <string.h>

static const char *const type_names[_COLUMN_TYPE_MAX] = {
    [COLUMN_STRING] = "string",
    [COLUMN_INTEGER] = "integer",
    [COLUMN_FLOAT] = "float",
    [COLUMN_BOOLEAN] = "boolean",
    [COLUMN_DATE] = "date",
    [COLUMN_TIMESTAMP] = "timestamp",
    [COLUMN_DECIMAL] = "decimal",
    [COLUMN_JSON] = "json",
    [COLUMN_BINARY] = "binary",
    [COLUMN_SHORT] = "short",
    [COLUMN_INT] = "int",
    [COLUMN_REAL] = "real",
    [COLUMN_DATETIME] = "naive datetime",
    [COLUMN_INSTANT] = "utc datetime",
};

const char *column_type_name(ColumnType type)
{
    return type > 0 && type < _COLUMN_TYPE_MAX ? type_names[type] : "unknown";
}

ColumnType column_type_from_name(const char *name)
{
    for (ColumnType type = 1; type <= COLUMN_BINARY; type++)
        if (strcmp(name, type_names[type]) == 0)
            return type;
    return 0;
}

bool column_type_accepts(ColumnType type, ValueTag tag)
{
    switch (tag) {
    case VALUE_NULL:
    case VALUE_ABSENT:
        return true;
    case VALUE_FALSE:
    case VALUE_TRUE:
        return type == COLUMN_BOOLEAN;
    case VALUE_INTEGER:
        return type == COLUMN_INTEGER || type == COLUMN_INT || type == COLUMN_SHORT;
    case VALUE_FLOAT:
        return type == COLUMN_FLOAT || type == COLUMN_REAL;
    case VALUE_DATE:
        return type == COLUMN_DATE;
    case VALUE_TIMESTAMP:
        return type == COLUMN_TIMESTAMP || type == COLUMN_DATETIME || type == COLUMN_INSTANT;
    case VALUE_STRING:
        return type == COLUMN_STRING;
    case VALUE_DECIMAL:
        return type == COLUMN_DECIMAL;
    case VALUE_JSON:
        return type == COLUMN_JSON;
    case VALUE_BINARY:
        return type == COLUMN_BINARY;
    case _VALUE_TAG_MAX:
        break;
    }
    return false;
}

Value value_instant(int64_t us)
{
    int64_t seconds = us / 1000000, rest = us % 1000000;
    if (rest < 0) {
        rest += 1000000;
        seconds--;
    }
    return (Value){ .tag = VALUE_TIMESTAMP,
                    .timestamp = { .seconds = seconds, .nanos = (uint32_t)rest * 1000, .offset = 0 } };
}
