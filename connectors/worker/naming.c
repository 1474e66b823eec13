/*
 * Names are made the way that Fivetran's SDK makes them, character by character over Unicode, because a table that was
 * filled by it must be found again. Only its last resort differs: where it spells any alphabet in Latin letters, other
 * alphabets stay.
 *
 * The tables are Python's, generated when Wherry is built, since the SDK's rules are written in terms of Python's
 * str.isalnum(), islower() and so on; the C library's answers would depend on its locale. A name is normalised once per
 * sync, so that nothing here needs to be fast.
 */
#include "connectors/worker/naming.h"

#include <stdint.h>
#include <string.h>

#define CAPITAL_I_WITH_DOT 0x130
#define COMBINING_DOT 0x307

typedef struct UnicodeRange {
    uint32_t first, last;
} UnicodeRange;

typedef struct UnicodeLetter {
    uint32_t code, other;
} UnicodeLetter;

typedef struct UnicodeLatin {
    uint32_t code;
    char text[5];
} UnicodeLatin;

#include "naming-unicode.h"

/* --- characters --- */

static int compare_range(const void *key, const void *element)
{
    uint32_t code = *(const uint32_t *)key;
    const UnicodeRange *range = element;
    return code < range->first ? -1 : code > range->last;
}

/* Each table begins with the code that it is sorted by. */
static int compare_code(const void *key, const void *element)
{
    uint32_t code = *(const uint32_t *)key, other;
    memcpy(&other, element, sizeof(other));
    return (code > other) - (code < other);
}

#define IN_RANGES(code, ranges) \
    (bsearch(&(code), ranges, ELEMENTSOF(ranges), sizeof((ranges)[0]), compare_range) != NULL)

static bool is_between(uint32_t code, char first, char last)
{
    return code >= (unsigned char)first && code <= (unsigned char)last;
}

static bool is_digit(uint32_t code)
{
    return code < 0x80 ? is_between(code, '0', '9') : IN_RANGES(code, unicode_digit);
}

static bool is_lower(uint32_t code)
{
    return code < 0x80 ? is_between(code, 'a', 'z') : IN_RANGES(code, unicode_lower);
}

static bool is_upper(uint32_t code)
{
    return code < 0x80 ? is_between(code, 'A', 'Z') : IN_RANGES(code, unicode_upper);
}

static bool is_word(uint32_t code)
{
    if (code < 0x80)
        return is_digit(code) || is_lower(code) || is_upper(code) || code == '_';
    return IN_RANGES(code, unicode_word);
}

static uint32_t to_lower(uint32_t code)
{
    if (code < 0x80)
        return is_upper(code) ? code - 'A' + 'a' : code;
    const UnicodeLetter *letter =
        bsearch(&code, unicode_lowercase, ELEMENTSOF(unicode_lowercase), sizeof(unicode_lowercase[0]), compare_code);
    return letter ? letter->other : code;
}

/* --- UTF-8 --- */

/* The character at *NAME, which moves past it. The text is valid. */
static uint32_t take(const char **name)
{
    const unsigned char *bytes = (const unsigned char *)*name;
    unsigned more = bytes[0] < 0x80 ? 0 : bytes[0] < 0xE0 ? 1 : bytes[0] < 0xF0 ? 2 : 3;
    uint32_t code = more == 0 ? bytes[0] : bytes[0] & (0x3Fu >> more);
    for (unsigned i = 1; i <= more; i++)
        code = code << 6 | (bytes[i] & 0x3F);
    *name += more + 1;
    return code;
}

static void put(Buffer *buffer, uint32_t code)
{
    uint8_t bytes[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t first[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = n; i > 1; i--, code >>= 6)
        bytes[i - 1] = (uint8_t)(0x80 | (code & 0x3F));
    bytes[0] = (uint8_t)(first[n] | code);
    buffer_append(buffer, bytes, n);
}

/* --- names --- */

static bool is_plain(const char *name, const char *end)
{
    while (name < end) {
        uint32_t code = take(&name);
        if (!is_word(code) && code != '-' && code != '.')
            return false;
    }
    return true;
}

static void put_transliterated(Buffer *buffer, uint32_t code)
{
    const UnicodeLatin *latin =
        bsearch(&code, unicode_latin, ELEMENTSOF(unicode_latin), sizeof(unicode_latin[0]), compare_code);
    if (latin)
        buffer_append_string(buffer, latin->text);
    else if (code < 0x80 || is_word(code))
        put(buffer, code);
    else if (IN_RANGES(code, unicode_separator))
        put(buffer, '_');
}

static void put_words(Buffer *buffer, const char *name, const char *end)
{
    uint32_t previous = 0;
    bool underscore = false;
    while (name < end) {
        uint32_t code = take(&name);
        if (!is_word(code))
            code = '_';
        bool starts = previous && ((is_lower(previous) && is_upper(code)) || is_digit(previous) != is_digit(code));
        if ((starts || code == '_') && !underscore) {
            put(buffer, '_');
            underscore = true;
        }
        if (code != '_') {
            put(buffer, to_lower(code));
            if (code == CAPITAL_I_WITH_DOT)
                put(buffer, COMBINING_DOT); /* the one letter that becomes two */
            underscore = false;
        }
        previous = code;
    }
}

void naming_normalise(const char *name, size_t n, bool is_table, Buffer *ret)
{
    _cleanup_(buffer_clear) Buffer ascii = { 0 };
    const char *end = name + n;
    if (!is_plain(name, end)) {
        while (name < end)
            put_transliterated(&ascii, take(&name));
        name = (const char *)buffer_bytes(&ascii);
        end = name + buffer_length(&ascii);
    }
    size_t start = ret->end;
    put_words(ret, name, end);
    size_t length = ret->end - start;
    if (!is_table || length < 2)
        return;
    uint8_t *made = ret->data + start;
    if (made[0] == '_' && is_between(made[1], 'a', 'z')) {
        memmove(made, made + 1, length - 1);
        ret->end--;
    }
}
