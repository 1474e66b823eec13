/*
 * SHA-256 by OpenSSL, which picks the processor's SHA instructions (1.5 to 2 GB/s where there are any).
 *
 * Through SHA256_Init() and friends, deprecated though they are: EVP sets up providers and reads openssl.cnf first,
 * which takes as long as all the rest of an empty sync (measured per process, CPU: 4.5 ms with EVP, 2.5 ms so, 0.5 ms
 * with the static library, which then is these functions alone). What is hashed here names content and keeps no secret.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "lib/basics/hash.h"

#include <openssl/sha.h>

#include "lib/basics/buffer.h"

struct Sha256 {
    SHA256_CTX context;
};

Sha256 *sha256_new(void)
{
    Sha256 *hash = xcalloc(1, sizeof(*hash));
    sha256_restart(hash);
    return hash;
}

Sha256 *sha256_free(Sha256 *hash)
{
    free(hash);
    return NULL;
}

/* None of the three can fail on a context of their own; they return 1. */
void sha256_restart(Sha256 *hash)
{
    (void)SHA256_Init(&hash->context);
}

void sha256_update(Sha256 *hash, const void *data, size_t n)
{
    (void)SHA256_Update(&hash->context, data, n);
}

void sha256_finish(Sha256 *hash, uint8_t ret_digest[static SHA256_SIZE])
{
    (void)SHA256_Final(ret_digest, &hash->context);
}

void sha1_text_upper(const void *data, size_t n, char ret_text[static SHA1_TEXT_SIZE])
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t digest[SHA_DIGEST_LENGTH];
    (void)SHA1(data, n, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        ret_text[2 * i] = digits[digest[i] >> 4];
        ret_text[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_text[SHA1_TEXT_SIZE - 1] = 0;
}
