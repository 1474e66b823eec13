/*
 * The library is asked for by the major version whose headers this was compiled with: within one, OpenSSL keeps its
 * interface.
 */
#include "lib/basics/openssl.h"

#include <dlfcn.h>
#include <openssl/opensslv.h>
#include <stdbool.h>

#define LIBRARY "libcrypto.so." OPENSSL_MSTR(OPENSSL_VERSION_MAJOR)

const OpenSsl *openssl_load(const char *who, Error *error)
{
    static OpenSsl table;
    static bool loaded;
    if (loaded)
        return &table;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    bool found = library != NULL;
#define FIND(name) found = found && (table.name = (__typeof__(&name))dlsym(library, #name));
    OPENSSL_FUNCTIONS(FIND)
    if (!found) {
        error_set(error, ERROR_CONFIGURATION, "%s OpenSSL, install it: %s", who, dlerror());
        if (library)
            dlclose(library);
        return NULL;
    }
    table.OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    loaded = true;
    return &table;
}
