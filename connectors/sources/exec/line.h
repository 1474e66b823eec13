#pragma once
/*
 * What a program prints, line by line: one JSON object is one operation.
 *
 *     {"op": "upsert", "table": "orders", "data": {"id": 1, "note": "first"}}
 *     {"op": "update", "table": "orders", "data": {"id": 1, "note": "second"}}
 *     {"op": "delete", "table": "orders", "keys": {"id": 1}}            "data" is taken for "keys" too
 *     {"op": "truncate", "table": "orders"}
 *     {"op": "checkpoint", "state": {"cursor": 17}}
 *     {"op": "schema", "tables": [{"table": "orders", "primary_key": ["id"],
 *                                  "columns": {"id": "LONG", "price": {"type": "DECIMAL", "precision": 10, "scale":
 * 2}}}]}
 *     {"op": "log", "level": "info", "message": "…"}                    debug, info, notice, warning, error, critical
 *     {"op": "warning", "message": "…"}                                 kept with the run
 *     {"op": "error", "message": "…"}                                   fails the sync
 *
 * A line that does not begin with "{", and an object without "op" or with one that is far from these words, goes to the
 * log and is never data. Whatever else is not as above is an error with the line's number.
 */
#include "connectors/worker/emitter.h"

typedef struct Lines Lines;
Lines *lines_new(Worker *worker, Emitter *emitter);
Lines *lines_free(Lines *lines);
DEFINE_CLEANUP(Lines, lines_free)

/* One line without its end. Negative: it is malformed, or cannot be taken (ERROR naming the line), or the pipe's error.
 */
int lines_take(Lines *lines, const char *line, size_t n, Error *error);
uint64_t lines_count(const Lines *lines); /* so far */
