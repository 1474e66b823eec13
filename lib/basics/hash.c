/* OpenSSL's EVP picks the processor's SHA instructions (1.5 to 2 GB/s); one context is reused for all the files of a
 * sync. */
#include "lib/basics/hash.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

#include "lib/basics/buffer.h"

struct Sha256 {
    EVP_MD_CTX *context;
    EVP_MD *algorithm; /* fetched once: EVP_sha256() would be looked up again at every restart (OpenSSL 3 migration
                          guide) */
};

Sha256 *sha256_new(void)
{
    Sha256 *hash = xcalloc(1, sizeof(*hash));
    hash->context = EVP_MD_CTX_new();
    hash->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!hash->context || !hash->algorithm)
        abort(); /* OpenSSL without SHA-256 or memory: nothing can be loaded safely */
    sha256_restart(hash);
    return hash;
}

Sha256 *sha256_free(Sha256 *hash)
{
    if (hash) {
        EVP_MD_CTX_free(hash->context);
        EVP_MD_free(hash->algorithm);
        free(hash);
    }
    return NULL;
}

void sha256_restart(Sha256 *hash)
{
    if (EVP_DigestInit_ex2(hash->context, hash->algorithm, NULL) != 1)
        abort();
}

void sha256_update(Sha256 *hash, const void *data, size_t n)
{
    if (EVP_DigestUpdate(hash->context, data, n) != 1)
        abort();
}

void sha256_finish(Sha256 *hash, uint8_t ret_digest[static SHA256_SIZE])
{
    unsigned n = 0;
    if (EVP_DigestFinal_ex(hash->context, ret_digest, &n) != 1)
        abort();
    assert(n == SHA256_SIZE);
}
