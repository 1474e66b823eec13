/* Manifests of any bytes: taken with a source to show, or refused with a reason. */
#include <assert.h>
#include <stddef.h>

#include "connectors/sources/files/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    Manifest manifest = { 0 };
    Error error = { 0 };
    int r = manifest_parse((const char *)data, n, &manifest, &error);
    assert((r == 0) == (manifest.source != NULL));
    assert((r < 0) == (error.kind != ERROR_NONE));
    manifest_clear(&manifest);
    error_clear(&error);
    return 0;
}
