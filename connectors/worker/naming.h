#pragma once
/*
 * What tables and columns are called in the destination: the rules of Fivetran's SDK.
 *
 * A name that has other characters than letters, digits, "_", "-" and "." of any alphabet is written in ASCII first:
 * Latin letters lose their accents, spaces and punctuation become "_", signs and symbols go; letters of other alphabets
 * stay as they are. Then whatever is no letter, digit or "_" becomes "_", a "_" stands between a small and a capital
 * letter and between a letter and a digit, all is lower case, and several "_" are one. A table also loses "_" in front
 * of an ASCII letter: userID → user_id, "A-B" → a_b, HTTPServer → httpserver, café → café, "naïve Name" → naive_name.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/basics/buffer.h"

/* Appends NAME (N bytes of valid UTF-8) as a table or a column is called. Appends nothing where no character is left.
 */
void naming_normalise(const char *name, size_t n, bool is_table, Buffer *ret);
