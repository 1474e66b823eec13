/*
 * Names, not contents, tie a sidecar to its file, and only the first digits of the hash at that: a person must be able
 * to read and type them. Whoever acts on a sidecar knows the whole hash of the file that it is looking for.
 */
#include "lib/formats/sidecar.h"

#include <string.h>

#include "lib/basics/buffer.h"

#define HASH_DIGITS 12
#define TAIL_LENGTH (1 + HASH_DIGITS + sizeof(SIDECAR_SUFFIX) - 1)

static bool is_sidecar(const char *name, size_t n)
{
    static const char suffix[] = SIDECAR_SUFFIX;
    if (n <= TAIL_LENGTH || memcmp(name + n - (sizeof(suffix) - 1), suffix, sizeof(suffix) - 1) != 0)
        return false;
    const char *tail = name + n - TAIL_LENGTH;
    return *tail == '.' && strspn(tail + 1, "0123456789abcdef") == HASH_DIGITS;
}

/* Python's os.path.splitext(): without the last ending, unless only dots stand before it. */
static size_t stem_length(const char *name)
{
    size_t n = strlen(name);
    if (is_sidecar(name, n))
        return n - TAIL_LENGTH;
    const char *dot = strrchr(name, '.');
    return dot && strspn(name, ".") < (size_t)(dot - name) ? (size_t)(dot - name) : n;
}

char *sidecar_name(const char *name, const uint8_t hash[static SHA256_SIZE])
{
    char digits[SHA256_TEXT_SIZE];
    size_t n = stem_length(name), room = SIDECAR_NAME_MAX - TAIL_LENGTH;
    sha256_text(hash, digits);
    if (n > room)
        for (n = room; n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80;)
            n--; /* not within a character */
    return xasprintf("%.*s.%.*s" SIDECAR_SUFFIX, (int)n, name, HASH_DIGITS, digits);
}

bool sidecar_is_of(const char *name, const uint8_t hash[static SHA256_SIZE])
{
    char digits[SHA256_TEXT_SIZE];
    size_t n = strlen(name);
    sha256_text(hash, digits);
    return is_sidecar(name, n) && memcmp(name + n - TAIL_LENGTH + 1, digits, HASH_DIGITS) == 0;
}
