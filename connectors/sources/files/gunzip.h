#pragma once
/* Unpacks gzip (RFC 1952) as a ByteStream over another one, checksums and lengths verified: members one after another,
 * and zeros behind the last. */
#include "connectors/sources/files/input.h"

typedef struct Gunzip Gunzip;
Gunzip *gunzip_new(ByteStream source);
Gunzip *gunzip_free(Gunzip *gunzip);
DEFINE_CLEANUP(Gunzip, gunzip_free)
int gunzip_read(Gunzip *gunzip, void *data, size_t n, size_t *ret, Error *error);
