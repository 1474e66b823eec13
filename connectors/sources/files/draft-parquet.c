/*
 * A Parquet file says itself what it holds, so nothing of its rows is read. Where several files differ, a column is of
 * the type that takes the values of both.
 */
#include "connectors/sources/files/draft.h"
#include "connectors/sources/files/parquet.h"

static ColumnType wider(ColumnType a, ColumnType b)
{
    if (a == b)
        return a;
    bool a_number = a == COLUMN_INTEGER || a == COLUMN_DECIMAL, b_number = b == COLUMN_INTEGER || b == COLUMN_DECIMAL;
    if (a_number && b_number)
        return COLUMN_DECIMAL;
    if ((a == COLUMN_FLOAT && b == COLUMN_INTEGER) || (a == COLUMN_INTEGER && b == COLUMN_FLOAT))
        return COLUMN_FLOAT;
    if ((a == COLUMN_DATE && b == COLUMN_TIMESTAMP) || (a == COLUMN_TIMESTAMP && b == COLUMN_DATE))
        return COLUMN_TIMESTAMP;
    return COLUMN_STRING;
}

static int take(void *context, const ParquetColumn *described, Error *error)
{
    Draft *draft = context;
    size_t before = draft->column_count;
    DraftColumn *column = draft_column(draft, described->name, strlen(described->name));
    if (!column)
        return error_set(error, ERROR_DATA, "more than %d columns", DRAFT_COLUMNS_MAX);
    column->seen_here = true;
    column->nulls += described->nulls;
    if (draft->column_count > before) {
        column->stated = described->type;
        column->note = described->note;
    } else if (column->stated != described->type) {
        column->stated = wider(column->stated, described->type);
        column->note = "the files have different types";
    }
    return 0;
}

int draft_parquet_read(Draft *draft, Parquet *parquet, DataFile *file, Error *error)
{
    uint64_t rows;
    for (size_t i = 0; i < draft->column_count; i++)
        draft->columns[i].seen_here = false;
    if (parquet_describe(parquet, file, take, draft, &rows, error) < 0)
        return -1;
    for (size_t i = 0; i < draft->column_count; i++)
        draft->columns[i].nulls += !draft->columns[i].seen_here;
    draft->rows += rows;
    return 0;
}
