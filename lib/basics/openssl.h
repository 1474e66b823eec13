#pragma once
/*
 * OpenSSL's libcrypto, loaded when it is first needed: loading it takes longer than a small sync, and few need it.
 *
 * What is loaded is a table of its functions under the names of its manual, called as `openssl->EVP_CIPHER_fetch(…)`; a
 * function that somebody needs is one more row of OPENSSL_FUNCTIONS. It runs without openssl.cnf, whose purpose is to
 * bring code of others in. Loading comes before a sandbox, which would have to name its files.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "lib/basics/error.h"

#define OPENSSL_FUNCTIONS(X) \
    X(ERR_error_string_n)    \
    X(ERR_get_error)         \
    X(EVP_CIPHER_CTX_ctrl)   \
    X(EVP_CIPHER_CTX_free)   \
    X(EVP_CIPHER_CTX_new)    \
    X(EVP_CIPHER_fetch)      \
    X(EVP_CIPHER_free)       \
    X(EVP_DecryptFinal_ex)   \
    X(EVP_DecryptInit_ex2)   \
    X(EVP_DecryptUpdate)     \
    X(EVP_EncryptFinal_ex)   \
    X(EVP_EncryptInit_ex2)   \
    X(EVP_EncryptUpdate)     \
    X(EVP_MAC_CTX_free)      \
    X(EVP_MAC_CTX_new)       \
    X(EVP_MAC_fetch)         \
    X(EVP_MAC_final)         \
    X(EVP_MAC_free)          \
    X(EVP_MAC_init)          \
    X(EVP_MAC_update)        \
    X(OPENSSL_init_crypto)

typedef struct OpenSsl {
#define DECLARE(name) __typeof__(&name) name;
    OPENSSL_FUNCTIONS(DECLARE)
#undef DECLARE
} OpenSsl;

/* The same for all who ask, and never given back: contexts of it live as long as the process. WHO needs it, for the
 * ERROR_CONFIGURATION where it is not there (NULL then): "\"encrypt\" and \"hash\" need". Not thread-safe. */
const OpenSsl *openssl_load(const char *who, Error *error);
