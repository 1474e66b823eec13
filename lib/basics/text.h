#pragma once
/* UTF-8 and what people are shown of foreign bytes. */
#include <stdbool.h>
#include <stddef.h>

/* Length of the longest valid UTF-8 prefix (RFC 3629: no surrogates, no overlong forms); == n means all of it is valid.
 */
size_t utf8_valid_length(const char *text, size_t n);
/* Printable copy: control characters and bytes that are not UTF-8 become \xHH, a backslash stays. The caller frees. */
char *text_escape(const char *text, size_t n);
/* The same, cut after about MAX bytes with "…" added. */
char *text_escape_shortened(const char *text, size_t n, size_t max);
/* The candidate nearest to WORD by edit distance (at most a third of its length), or NULL: for "did you mean".
 * CANDIDATES ends with NULL. */
const char *text_suggest(const char *word, const char *const *candidates);
/* TEXT as one word of a shell's command line, quoted where it must be. The caller frees. */
char *text_shell_word(const char *text);
bool text_is_name(const char *text); /* ^[_a-z][_a-z0-9]*$, 1 … 63 bytes: what a connection may be called */
