#pragma once
/* What the daemon lists, as a table. */
#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/table.h"

typedef struct List {
    const char *method;
    const char *field; /* the reply's array */
    const char *const *headers;
    void (*add)(Table *table, const json_t *item); /* a row */
    const char *none;                              /* said where there is nothing */
} List;

/* Asks, and shows the answer, or with --json what the daemon said. PARAMETERS are stolen. Returns the exit status. */
int list_show(const Options *options, const List *list, json_t *parameters);
