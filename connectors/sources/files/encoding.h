#pragma once
/* Names of character encodings: what iconv calls them, and what Python does, since pipelines come from there. */
#include <iconv.h>
#include <stdbool.h>

#define ENCODING_UNKNOWN ((iconv_t)-1)

/* Is NAME a spelling of PLAIN (lower case, without "-" and "_")? */
bool encoding_is(const char *name, const char *plain);
/* A conversion from NAME to UTF-8, or ENCODING_UNKNOWN. */
iconv_t encoding_open(const char *name);
