#pragma once
/*
 * The keys of destinations that are a file: `path`, or `url` in SQLAlchemy's form, which Filedge's pipeline files use:
 * three slashes and a relative path, four and an absolute one.
 */
#include "lib/formats/key.h"

typedef struct DatabaseFile {
    const char *type;    /* "sqlite", in the url too */
    const char *suffix;  /* ".db", for messages */
    const char *missing; /* what to write where neither key is there: "\"url\": the database, such as …" */
    size_t room;         /* the bytes of the longest name beside it, less its own */
} DatabaseFile;

/* After this DESTINATION has no `url`, and `path` is absolute; null after a problem. */
void database_file_complete(const DatabaseFile *file, json_t *destination, KeyReport *report);
/* As ConnectorKeys.database_path. */
const char *database_file_path(const json_t *connection);
