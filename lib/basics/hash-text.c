/* What is said about hashes, apart from making them: most programs only carry them, and one that does not link OpenSSL
 * starts a millisecond and a half sooner. */
#include <string.h>

#include "lib/basics/hash.h"

void sha256_text(const uint8_t digest[static SHA256_SIZE], char ret_text[static SHA256_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        ret_text[2 * i] = digits[digest[i] >> 4];
        ret_text[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_text[2 * SHA256_SIZE] = '\0';
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool sha256_from_text(const char *text, uint8_t ret_digest[static SHA256_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    if (strlen(text) != SHA256_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_digest, digest, sizeof(digest));
    return true;
}

uint64_t fnv1a64(const void *data, size_t n)
{
    /* http://www.isthe.com/chongo/tech/comp/fnv/: offset basis and prime for 64 bits */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}
