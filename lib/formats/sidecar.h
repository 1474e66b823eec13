#pragma once
/*
 * What the sidecar with a file's bad rows is called: STEM.HASH12.quarantine.ndjson, as Filedge calls it. The worker
 * writes it, the daemon tells people where it is.
 */
#include <stdbool.h>

#include "lib/basics/hash.h"

#define SIDECAR_SUFFIX ".quarantine.ndjson"
/* Room for a temporary file's name around it. */
#define SIDECAR_NAME_MAX 248

/* For the file called NAME (without folder) with that content. A sidecar's own sidecar keeps the stem. The caller
 * frees. */
char *sidecar_name(const char *name, const uint8_t hash[static SHA256_SIZE]);
/* Whether NAME is what sidecar_name() makes of some file with that content. */
bool sidecar_is_of(const char *name, const uint8_t hash[static SHA256_SIZE]);
