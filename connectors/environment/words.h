#pragma once
/*
 * What an installer prints: handed on line by line, made printable, and searched for why it failed. It speaks for
 * packages from the network, whose text is not to be trusted.
 */
#include <stdbool.h>
#include <stdio.h>

#include "lib/basics/buffer.h"

typedef struct Words {
    Buffer line;         /* that has not ended yet */
    Buffer reason, last; /* what is said to be wrong; the last line that is not empty */
    bool in_reason;      /* uv's goes over several lines */
} Words;
void words_clear(Words *words); /* for _cleanup_ too */

/* The next N bytes, however they are cut. Whole lines go to TO. */
void words_take(Words *words, const char *bytes, size_t n, FILE *to);
void words_end(Words *words, FILE *to); /* there are no more */
/* Why it failed, on one line: in its own words, or those that it said last. Empty: it said nothing. The caller frees.
 */
char *words_reason(const Words *words);
