/*
 * One encoding has many names, and iconv knows fewer spellings of them than Python, by whose names pipelines that come
 * from there are written: a name is tried as it is, and then in the spellings that glibc knows of what Python accepts
 * (latin-1, utf_8, iso8859_15, shift_jis). The checks of a pipeline file and the reader of its files ask here, so that
 * what one accepts the other can read.
 */
#include "connectors/sources/files/encoding.h"

#include <string.h>
#include <strings.h>

bool encoding_is(const char *name, const char *plain)
{
    for (;; name++) {
        if (*name == '-' || *name == '_')
            continue;
        if (strncasecmp(name, plain, 1) != 0)
            return false;
        if (*plain++ == '\0')
            return true;
    }
}

/* SEPARATOR takes the place of "_"; NUL: both "-" and "_" are left out. */
static iconv_t open_spelled(const char *name, char separator)
{
    char spelled[64];
    size_t n = 0;
    for (; *name && n + 1 < sizeof(spelled); name++)
        if ((*name != '_' && *name != '-') || separator != '\0')
            spelled[n++] = *name == '_' && separator != '\0' ? separator : *name;
    spelled[n] = '\0';
    /* An empty name is the locale's; a suffix would ask iconv to drop or to replace what it cannot decode. */
    return n == 0 || strchr(spelled, '/') ? ENCODING_UNKNOWN : iconv_open("UTF-8", spelled);
}

iconv_t encoding_open(const char *name)
{
    iconv_t result = open_spelled(name, '_');
    if (result == ENCODING_UNKNOWN)
        result = open_spelled(name, '-');
    return result == ENCODING_UNKNOWN ? open_spelled(name, '\0') : result;
}
