#pragma once
/* Decoding of other charsets than UTF-8 as a ByteStream over another one, by iconv. */
#include "connectors/sources/files/input.h"

typedef struct Charset Charset;
/* For the name in `encoding:`, as iconv or Python spell it. *ret NULL: it is UTF-8, nothing to decode. Loads what iconv
 * needs from disk, so to be called before the sandbox closes. */
int charset_new(Charset **ret, const char *encoding, Error *error);
Charset *charset_free(Charset *charset);
/* Starts over for another file. */
ByteStream charset_stream(Charset *charset, ByteStream source);
