#pragma once
/* A database of destination-sqlite in a folder of its own, with a run that has begun, and few words for tables and
 * rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connectors/destinations/sqlite/sqlite.h"

#define TEST(f) cmocka_unit_test_setup_teardown(f, sqlite_set_up, sqlite_tear_down)

extern bool cancel;   /* what the writer library says when it is asked */
extern char path[64]; /* the database */
extern Sqlite *self;  /* the destination that is open */
extern Batch batch;   /* the one begun */

int sqlite_set_up(void **state);
int sqlite_tear_down(void **state);
void start(const char *connection); /* a run of it: opens, connects, reads the state, begins */
void stop(void);
/* Commits and begins the next run of "orders": whatever that knows, it has from the database. */
void commit(void);

void ok(int r, Error *error);
#define OK(call)                                    \
    do {                                            \
        _cleanup_(error_clear) Error error = { 0 }; \
        ok((call), &error);                         \
    } while (false)

#define REFUSED(call, wanted, text)                                        \
    do {                                                                   \
        _cleanup_(error_clear) Error error = { 0 };                        \
        assert_int_equal((call), -1);                                      \
        if (!strstr(error.message, (text)))                                \
            fail_msg("\"%s\" does not say \"%s\"", error.message, (text)); \
        assert_int_equal(error.kind, (wanted));                            \
    } while (false)

void sql(const char *text);
/* All rows: columns separated by "|", rows by newlines; NULL is "~". */
void query(const char *text, const char *expected);

/* --- tables --- */

#define KIND(t) ((Kind){ .type = (t) })
extern const Kind decimal_10_2;

#define COLUMNS_MAX 24
typedef struct Made {
    Table table;
    FrameColumn columns[COLUMNS_MAX];
} Made;

void add(Made *made, const char *name, Kind kind, uint8_t flags);
void change(const Made *made, SchemaChangeType type, size_t column);
/* Creates "t": a INTEGER and b STRING are its key, x STRING and y INTEGER are not. */
void make_plain(Made *made);
/* The statements that change() would execute, each ending in ";\n". The caller frees. */
char *plan(const Made *made, SchemaChangeType type, size_t column);
/* "a LONG key, b STRING" as describe() tells it. */
void described(const char *name, const char *expected);

/* --- rows --- */

extern const Value null, absent, yes, no;
Value integer(int64_t i);
Value real(double number);
Value bytes(ValueTag tag, const char *data, size_t n);
Value string(const char *text);
Value day(int32_t days);
Value moment(int64_t seconds, uint32_t nanos, int16_t offset);

/* ROW_COUNT rows of as many VALUES as MADE has columns; returns what write() and merge() say. */
int try_put(const Made *made, Operation operation, const Value *values, size_t row_count, Error *error);
void put(const Made *made, Operation operation, const Value *values, size_t row_count);
#define PUT(made, operation, ...)                            \
    put((made), (operation), (const Value[]){ __VA_ARGS__ }, \
        sizeof((const Value[]){ __VA_ARGS__ }) / sizeof(Value) / (made)->table.column_count)
