#pragma once
/*
 * Errors that a person will read.
 *
 * Functions return `int`: 0 is done, negative is failed, positive is a `MODULE_E_*` of the same header that the caller
 * must handle. A function that takes an `Error *` fills it exactly when it returns a negative number; the function that
 * knows the place (file, line, row, column, value) fills it in, callers only add what they know and pass it on. Library
 * code never logs: the program that handles the error says it once, with error_format().
 *
 * Messages are lower case, without a final dot, with values quoted: what happened, to what, and what to do.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lib/basics/cleanup.h"

typedef enum ErrorKind {
    ERROR_NONE = 0,
    ERROR_CONFIGURATION, /* waits for a new configuration: never retried by itself */
    ERROR_DATA,          /* of one input file itself: counts as an attempt of that file */
    ERROR_TEMPORARY,     /* a lock, a full disk, a lost server: retried with backoff, nobody's fault */
    ERROR_CHANGED,       /* a file changed while it was read: it waits for the next run */
    ERROR_CANCELLED,
    ERROR_INTERNAL, /* broken protocol, out of memory: a defect of ours or of a hostile program */
    ERROR_HELD,     /* another program keeps what is needed, maybe for hours: the next due time, no backoff */
    _ERROR_KIND_MAX,
} ErrorKind;

typedef struct Error {
    ErrorKind kind;
    char *message;     /* owned; without the place */
    char *file;        /* owned; NULL = no file; foreign bytes already escaped */
    uint64_t line;     /* 1-based; 0 = unknown */
    uint64_t position; /* 1-based column of a character in that line (configuration files); 0 = unknown */
    uint64_t row;      /* 1-based data row, the header not counted; 0 = unknown */
    char *column;      /* owned; NULL = none */
    char *value;       /* owned; shortened to ERROR_VALUE_MAX bytes, escaped; NULL = none */
} Error;

#define ERROR_VALUE_MAX 80

/* Fills ERROR (which must be empty; NULL is allowed and ignored) and returns -1, so that `return error_set(…)` works.
 */
int error_set(Error *error, ErrorKind kind, const char *format, ...) _public_printf_(3, 4);
/* strerror() as it reads inside a message: lower case at first. In a buffer of the thread, until the next call. */
const char *error_errno_text(int errnum);
/* As error_set(), with ": " and error_errno_text() added. ENOSPC, EDQUOT and EIO and the like should come as
 * ERROR_TEMPORARY. */
int error_set_errno(Error *error, ErrorKind kind, int errnum, const char *format, ...) _public_printf_(4, 5);
/* Replaces the message by PREFIX + message; for callers that know what was attempted. Returns -1. */
int error_prefix(Error *error, const char *format, ...) _public_printf_(2, 3);

/* Place setters; each copies, replaces what was there, and returns -1. LENGTH bytes that are not UTF-8 or control
 * characters are escaped. */
int error_at_file(Error *error, const char *file);
int error_at_row(Error *error, uint64_t line, uint64_t row);
int error_at_column(Error *error, const char *column);
int error_at_value(Error *error, const char *value, size_t length);

/* "orders.csv: line 18, row 17, column "amount": message: "12x"" - only the parts that are known; configuration places
 * read "orders.yaml:7:3: message". Never NULL; the caller frees. */
char *error_format(const Error *error);

void error_clear(Error *error);              /* to empty; for _cleanup_ too */
void error_move(Error *to, Error *from);     /* TO must be empty */
const char *error_kind_name(ErrorKind kind); /* "configuration", "data", … */
