#pragma once
/*
 * requirements.txt as the installer is to see it: files that it includes ("-r") put in their places, the Connector SDK
 * left out (Wherry's own serves), paths of constraints made absolute.
 */
#include <stdbool.h>

#include "lib/basics/buffer.h"
#include "lib/basics/error.h"

typedef struct Requirements {
    Buffer text;         /* lines, each ended */
    char *left_out;      /* the line that named the SDK, as it stands; NULL: none did */
    bool names_requests; /* one of them is "requests" */
    bool local;          /* some lie in the project's own folder: what is there matters too */
    size_t count;
} Requirements;
void requirements_clear(Requirements *requirements); /* for _cleanup_ too */

/* Reads PROJECT/requirements.txt; absent: no requirements. */
int requirements_read(const char *project, Requirements *ret, Error *error);

/* The project that LINE (comment and continuation gone) requires, as PEP 503 normalises its name; NULL: an option, a
 * path or an address that tells none. The caller frees. */
char *requirement_name(const char *line);
