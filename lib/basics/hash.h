#pragma once
/* SHA-256 (FIPS 180-4, by OpenSSL) as a stream, its hexadecimal text, and FNV-1a for spreading names. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
#define SHA256_TEXT_SIZE 65 /* 64 lower-case hexadecimal digits and the NUL */

typedef struct Sha256 Sha256;
Sha256 *sha256_new(void);
Sha256 *sha256_free(Sha256 *hash);
void sha256_restart(Sha256 *hash);
void sha256_update(Sha256 *hash, const void *data, size_t n);
void sha256_finish(Sha256 *hash, uint8_t ret_digest[static SHA256_SIZE]); /* then restart before the next use */
void sha256_text(const uint8_t digest[static SHA256_SIZE], char ret_text[static SHA256_TEXT_SIZE]);
bool sha256_from_text(const char *text,
                      uint8_t ret_digest[static SHA256_SIZE]); /* false unless exactly 64 hex digits */

#define SHA1_TEXT_SIZE 41
/* SHA-1 (FIPS 180-4) of N bytes as 40 upper-case hexadecimal digits: a name for content, as Fivetran makes it. */
void sha1_text_upper(const void *data, size_t n, char ret_text[static SHA1_TEXT_SIZE]);

uint64_t fnv1a64(const void *data, size_t n);
