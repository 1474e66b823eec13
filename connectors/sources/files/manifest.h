#pragma once
/*
 * What a producer says of a data file in NAME.manifest.json beside it: an OpenLineage run event, of which Filedge reads
 * these parts.
 *
 *   job.namespace, job.name                          where the file's rows come from; both must be there
 *   producer, run.runId, eventTime                   who wrote the file, in which run, when it was complete
 *   run.facets._filedgeManifest.manifest_version     "1", which is also meant where there is none
 *   run.facets._filedgeManifest.record_count         how many rows it wrote
 *   inputs[].facets._sourceRange                     an object of the producer's own
 */
#include <stdbool.h>
#include <stdint.h>

#include "lib/basics/error.h"

#define MANIFEST_BYTES_MAX (1u << 20)

typedef struct Manifest {
    char *source; /* owned; for the log: "stripe.charges (api), run 17, 1500 rows" */
    bool counted;
    uint64_t record_count; /* where counted */
} Manifest;

enum { MANIFEST_E_MISSING = 1 };
/* The manifest of the data file NAME in the folder open as FD. MANIFEST_E_MISSING: there is none. Negative: it is no
 * such manifest, or cannot be read; ERROR_TEMPORARY, because the data file is not to blame. */
int manifest_read(int fd, const char *name, Manifest *ret, Error *error);
/* The same from TEXT. */
int manifest_parse(const char *text, size_t n, Manifest *ret, Error *error);
void manifest_clear(Manifest *manifest); /* for _cleanup_ too */
