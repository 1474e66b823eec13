#pragma once
/*
 * The rows of a frame as a table that SQLite reads: one INSERT … SELECT takes them all.
 *
 * A Feed is registered under a name of its own and has the columns of one table, in their order.
 */
#include "connectors/destinations/sqlite/sqlite.h"

/* For a statement that writes TABLE, its columns as they are now; UPDATES: with DO UPDATE. NULL with ERROR. */
Feed *feed_new(Sqlite *self, const Table *table, bool updates, Error *error);
Feed *feed_free(Feed *feed);               /* after the statements that read it; NULL is fine; NULL */
const char *feed_insert(const Feed *feed); /* how a statement begins that reads one */
/* " SELECT * FROM …"; MORE stands after the asterisk. */
void feed_put_select(Buffer *sql, const Feed *feed, const char *more);
/* Executes STATEMENT over ROWS, of which the first has the number FIRST_ROW. */
int feed_run(Feed *feed, sqlite3_stmt *statement, const Frame *rows, uint64_t first_row, Error *error);
