#pragma once
/*
 * Files of changes (write_mode cdc): each row says whether it was inserted, updated or deleted, and stands for its key.
 *
 * The field that says so is read as one more column after the declared ones. Before a row is done, that column's text
 * becomes a boolean, true for a deletion, which the writer takes for what it is (COLUMN_IS_DELETED). A deleted row
 * needs no more than its key and its sequence, so that columns are required of the others only.
 */
#include <jansson.h>

#include "connectors/sources/files/settings.h"
#include "lib/formats/frame.h"

/* From `cdc` in BEGIN's configuration, once the columns are known. NULL: malformed, which the daemon has ruled out. */
Changes *changes_parse(const json_t *cdc, FilesSettings *settings);
Changes *changes_free(Changes *changes);
/* COLUMN_KEY, COLUMN_SEQUENCE, COLUMN_IS_DELETED of a column. */
uint8_t changes_flags(const Changes *changes, size_t column);
/* Finishes the row that was put from MARK on. Negative: *RET_COLUMN and *RET_WHY say what is wrong; RET_VALUE (TAG
 * VALUE_NULL: none) is what stands there, and holds until ROWS grows. */
int changes_row(const Changes *changes, const FilesSettings *settings, RowsWriter *rows, size_t mark,
                size_t *ret_column, Value *ret_value, const char **ret_why);
