/*
 * iconv, one descriptor for all files of a sync: opening one loads modules from /usr/lib, which the sandbox does not
 * show. UTF-16 and UTF-32 have two, one per byte order, because the order is read from the byte order mark of each file
 * (glibc remembers the first file's). Without a mark it is the little-endian one, as Python has it.
 */
#include "connectors/sources/files/charset.h"

#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "connectors/sources/files/encoding.h"
#include "lib/basics/buffer.h"

#define ENCODED_BLOCK_SIZE (64u << 10)

struct Charset {
    char *name;          /* owned */
    iconv_t little, big; /* big: only where the byte order is told by each file */
    iconv_t current;
    size_t unit; /* bytes of a byte order mark; 0: none */
    ByteStream source;
    char block[ENCODED_BLOCK_SIZE];
    size_t begin, end;
    bool started, ended, flushed;
};

int charset_new(Charset **ret, const char *encoding, Error *error)
{
    if (encoding_is(encoding, "utf8") || encoding_is(encoding, "utf8sig")) {
        *ret = NULL;
        return 0;
    }
    Charset *charset = xcalloc(1, sizeof(*charset));
    charset->name = xstrdup(encoding);
    charset->big = ENCODING_UNKNOWN;
    charset->unit = encoding_is(encoding, "utf16") ? 2 : encoding_is(encoding, "utf32") ? 4 : 0;
    charset->little = encoding_open(charset->unit == 2 ? "UTF-16LE" : charset->unit == 4 ? "UTF-32LE" : encoding);
    if (charset->unit > 0)
        charset->big = encoding_open(charset->unit == 2 ? "UTF-16BE" : "UTF-32BE");
    if (charset->little == ENCODING_UNKNOWN || (charset->unit > 0 && charset->big == ENCODING_UNKNOWN)) {
        charset_free(charset);
        return error_set(error, ERROR_CONFIGURATION,
                         "the encoding \"%s\" is not known on this system; \"iconv --list\" shows those that are",
                         encoding);
    }
    *ret = charset;
    return 0;
}

Charset *charset_free(Charset *charset)
{
    if (!charset)
        return NULL;
    if (charset->little != ENCODING_UNKNOWN)
        iconv_close(charset->little);
    if (charset->big != ENCODING_UNKNOWN)
        iconv_close(charset->big);
    free(charset->name);
    free(charset);
    return NULL;
}

/* Reads until there is more than before. *ret false: the source has ended. */
static int fill(Charset *charset, bool *ret, Error *error)
{
    size_t n;
    memmove(charset->block, charset->block + charset->begin, charset->end - charset->begin);
    charset->end -= charset->begin;
    charset->begin = 0;
    if (charset->source.read(charset->source.context, charset->block + charset->end,
                             sizeof(charset->block) - charset->end, &n, error) < 0)
        return -1;
    charset->end += n;
    charset->ended = n == 0;
    *ret = n > 0;
    return 0;
}

/* Reads the byte order mark; it is dropped later with UTF-8's, which it becomes. */
static int start(Charset *charset, Error *error)
{
    bool more = true;
    while (more && charset->end - charset->begin < 4)
        if (fill(charset, &more, error) < 0)
            return -1;
    const char *mark = charset->unit == 2 ? "\xfe\xff" : "\0\0\xfe\xff";
    bool big = charset->unit > 0 && charset->end >= charset->unit && memcmp(charset->block, mark, charset->unit) == 0;
    charset->current = big ? charset->big : charset->little;
    charset->started = true;
    return 0;
}

static int bad_text(const Charset *charset, const char *what, Error *error)
{
    return error_set(error, ERROR_DATA, "%s %s text at the byte 0x%02x: check \"encoding:\"", what, charset->name,
                     (unsigned char)charset->block[charset->begin]);
}

static int charset_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    Charset *charset = context;
    char *to = data;
    size_t room = n;
    if (!charset->started && start(charset, error) < 0)
        return -1;
    while (room == n) {
        char *from = charset->block + charset->begin;
        size_t left = charset->end - charset->begin;
        if (left == 0 && charset->ended) {
            /* Stateful charsets may still hold something back. */
            if (!charset->flushed)
                (void)iconv(charset->current, NULL, NULL, &to, &room);
            charset->flushed = true;
            break;
        }
        size_t r = iconv(charset->current, &from, &left, &to, &room);
        charset->begin = (size_t)(from - charset->block);
        if (room < n)
            break;
        bool more = true;
        if (r == (size_t)-1 && errno == EILSEQ)
            return bad_text(charset, "not valid", error);
        if (r == (size_t)-1 && errno == E2BIG)
            return error_set(error, ERROR_INTERNAL, "no room for a decoded character");
        if (fill(charset, &more, error) < 0)
            return -1;
        if (!more && charset->end > charset->begin)
            return bad_text(charset, "the file ends within a character: not valid", error);
    }
    *ret = n - room;
    return 0;
}

ByteStream charset_stream(Charset *charset, ByteStream source)
{
    charset->source = source;
    charset->begin = charset->end = 0;
    charset->started = charset->ended = charset->flushed = false;
    (void)iconv(charset->little, NULL, NULL, NULL, NULL);
    if (charset->big != ENCODING_UNKNOWN)
        (void)iconv(charset->big, NULL, NULL, NULL, NULL);
    return (ByteStream){ .read = charset_read, .context = charset };
}
