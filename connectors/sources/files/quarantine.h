#pragma once
/*
 * Bad rows beside the good: the sidecar of a file, one JSON object a line,
 *
 *     {"row_number": 12, "column": "amount", "error": "not a number: \"12x\"", "row": {"id": "7", "amount": "12x"}}
 *
 * written to a temporary name as the rows come, and given its own, durably, before the commit that counts them. A crash
 * hence leaves at most a sidecar whose file is not committed, which the next try replaces.
 */
#include "connectors/sources/files/reader.h"
#include "lib/basics/hash.h"

typedef struct Quarantine {
    char *path; /* owned; the folder's */
    int folder; /* owned; -1: not open */
    int owner;  /* owned; locked: one sync at a time */
    /* of the file that is being read */
    const FilesSettings *settings; /* not owned */
    char *name, *temporary;        /* owned; NULL: none is open */
    uint8_t hash[SHA256_SIZE];
    int sidecar;  /* owned; -1: no bad row so far */
    bool limited; /* the settings' limits hold */
    bool published;
    uint64_t count;
    char *first; /* owned; what was wrong with the first row */
    Buffer output;
} Quarantine;

#define QUARANTINE_NONE ((Quarantine){ .folder = -1, .owner = -1, .sidecar = -1 })

/* Makes the folder where it is missing, and takes it: it belongs to one connection for good, and to one sync at a time.
 * To be called before the sandbox. */
int quarantine_open(Quarantine *quarantine, const FilesSettings *settings, Error *error);
void quarantine_close(Quarantine *quarantine); /* for what is not open, too */

/* Begins with the file NAME. The rows that its reader gives to quarantine_rows() are counted, and, where LIMITED, are
 * ERROR_DATA once they are too many. */
void quarantine_begin(Quarantine *quarantine, const char *name, const uint8_t hash[static SHA256_SIZE], bool limited);
BadRows quarantine_rows(Quarantine *quarantine);
/* "DIR/NAME". */
char *quarantine_sidecar_path(const Quarantine *quarantine);
/* All ROWS of the file were read: its sidecar is on disk under its name when this returns, or there is none, where no
 * row was bad. ERROR_DATA: too many were. */
int quarantine_publish(Quarantine *quarantine, uint64_t rows, Error *error);
/* The file was not committed: nothing of it stays. */
void quarantine_withdraw(Quarantine *quarantine);
void quarantine_end(Quarantine *quarantine);

/* --- sidecars that are to be loaded ---
 *
 * A sidecar is a file of its own with a hash of its own: that of the hash of the file that its rows come from, then its
 * bytes. The same rows of two files are two files that way, and the same sidecar is loaded once. */

/* The sidecar of the file with that content; NULL: there is none. */
int quarantine_find(const Quarantine *quarantine, const uint8_t hash[static SHA256_SIZE], char **ret, Error *error);
/* The rows of the sidecar NAME are loaded: it gets out of the way, durably. */
int quarantine_retire(const Quarantine *quarantine, const char *name, Error *error);
