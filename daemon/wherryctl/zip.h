#pragma once
/* Writes a ZIP archive (PKWARE's APPNOTE 6.3.10), its files stored as they are: bounds are those of a project. */
#include <stdbool.h>
#include <stdio.h>

#include "lib/basics/buffer.h"
#include "lib/basics/error.h"

typedef struct Zip {
    FILE *file; /* borrowed */
    Buffer directory;
    unsigned count;
    unsigned long long offset;
} Zip;

/* NAME with all that FD has to read. Fails with ERROR where it cannot be read; see ferror(zip->file) for writing. */
int zip_add(Zip *zip, const char *name, int fd, bool executable, Error *error);
void zip_finish(Zip *zip); /* writes the directory, frees */
