#pragma once
/* What the files of the store share: the database handle, its prepared statements, and how their errors are told. */
#include <sqlite3.h>

#include "daemon/wherryd/store.h"

#define STORE_STATEMENTS_MAX 40

struct Store {
    char *folder; /* STATE_DIR/daemon */
    char *path;   /* of state.db */
    char *warning;
    int folder_fd, lock_fd;
    sqlite3 *db;
    struct {
        const char *sql;
        sqlite3_stmt *handle;
    } cached[STORE_STATEMENTS_MAX];
    size_t cached_count;
    unsigned depth; /* of store_begin() */
    bool failed;    /* something in this transaction did */
    bool durable;   /* something in this transaction is to be on disk when it commits */
    bool wal;
};

/* --- statements: get, bind (parameters from 1), step or run; done at the end of the scope --- */
typedef struct Statement {
    sqlite3_stmt *handle;
    bool cached;
    int result; /* the first failure of a bind */
} Statement;

/* SQL must be a static string: its address is the key of the cache. */
int statement_get(Store *store, const char *sql, Statement *ret, Error *error);
void statement_done(Statement *statement);
void statement_bind_integer(Statement *statement, int parameter, int64_t value);
void statement_bind_text(Statement *statement, int parameter, const char *text);           /* a view; NULL: NULL */
void statement_bind_blob(Statement *statement, int parameter, const void *data, size_t n); /* a view; no bytes: NULL */
/* 1: a row; 0: the end; negative: failed. */
int statement_step(Store *store, Statement *statement, Error *error);
int statement_run(Store *store, Statement *statement, Error *error); /* to its end */
static inline int64_t statement_integer(const Statement *statement, int column)
{
    return sqlite3_column_int64(statement->handle, column);
}
static inline const char *statement_text(const Statement *statement, int column) /* a view; NULL stays NULL */
{
    return (const char *)sqlite3_column_text(statement->handle, column);
}

/* What SQLite says now, as an ERROR of the state database. Returns -1, and makes the transaction fail. */
int store_failed(Store *store, Error *error);
/* Ends what store_begin() began: commits where RESULT is not negative, else takes it back. */
int store_end(Store *store, int result, Error *error);
/* What was written is to be on disk: at once, or when the transaction commits. */
int store_make_durable(Store *store, Error *error);
/* The row id of a connection, made where there is none. */
int store_connection_id(Store *store, const char *name, int64_t *ret, Error *error);

/* store_open.c */
int store_prepare_folder(Store *store, const char *state_dir, Error *error);
int store_lock(Store *store, const char *state_dir, Error *error);
int store_open_database(Store *store, Error *error);
void store_mark_damaged(Store *store);
