#pragma once
/* What is wrong with configuration files: collected, so that a person sees all of it at once, in the order of the file.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/basics/cleanup.h"

#define PROBLEMS_MAX 50 /* of one file; what follows is only counted */

typedef struct Problem {
    char *text; /* whole line, with its place */
    uint32_t line, column, order;
    bool warning;
} Problem;

typedef struct Problems {
    Problem *items;
    size_t count;
    size_t errors;  /* all of them, the ones past PROBLEMS_MAX too */
    size_t dropped; /* past PROBLEMS_MAX */
} Problems;

/* "FILE:LINE:COLUMN: [warning: ]…"; LINE 0: "FILE: …". The same text at the same place is kept once. */
void problems_add(Problems *problems, bool warning, const char *file, uint32_t line, uint32_t column,
                  const char *format, ...) _public_printf_(6, 7);
/* The warnings, or the others, one a line, sorted by place; NULL: none. The caller frees. */
char *problems_text(Problems *problems, bool warnings);
void problems_clear(Problems *problems); /* for _cleanup_ too */
