/*
 * Only who has the key file can read such values, which is the person who ran Fivetran's command: so they are decrypted
 * by wherryctl where it takes a configuration over, and by a wherryd that runs for that person. From then on they are
 * secrets like all others.
 */
#include "lib/formats/encrypted-configuration.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/basics/base64.h"
#include "lib/basics/buffer.h"
#include "lib/basics/openssl.h"
#include "lib/basics/text.h"
#include "lib/formats/configuration.h"

#define KEY_PATH ".fivetran/connector_sdk/config_encryption_key"
#define KEY_SIZE 32
#define KEY_TEXT_MAX 256
#define NONCE_SIZE 12
#define TAG_SIZE 16

static bool is_encrypted(const json_t *value)
{
    return json_is_string(value) &&
           strncmp(json_string_value(value), CONFIGURATION_ENCRYPTED, strlen(CONFIGURATION_ENCRYPTED)) == 0;
}

static int fail(const char *name, const char *path, const char *why, Error *error)
{
    _cleanup_(freep) char *printable = text_escape_shortened(name, strlen(name), 100);
    return error_set(error, ERROR_CONFIGURATION,
                     "invalid configuration; the value of \"%s\" was encrypted by Fivetran's command, and \"%s\"%s; "
                     "write it in clear, it is kept as a secret",
                     printable, path, why);
}

/* Why it cannot be had, said behind the path; NULL: RET has it. */
static const char *read_key(const char *path, uint8_t ret[static KEY_SIZE])
{
    char text[KEY_TEXT_MAX];
    uint8_t bytes[sizeof(text)];
    size_t n, length = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? ", where its key should be, is not there" : ", which holds its key, cannot be read";
    setvbuf(file, NULL, _IONBF, 0); /* no copy is left behind */
    n = fread(text, 1, sizeof(text), file);
    fclose(file);
    while (n > 0 && strchr(" \t\r\n", text[n - 1]))
        n--;
    bool good = n < sizeof(text) && base64_decode(text, n, bytes, &length) && length == KEY_SIZE;
    if (good)
        memcpy(ret, bytes, KEY_SIZE);
    explicit_bzero(text, sizeof(text));
    explicit_bzero(bytes, sizeof(bytes));
    return good ? NULL : " does not hold its key, which is 32 bytes in base64";
}

/* SEALED: nonce, text and tag. The text, in its place; false where the key is not that of it. */
static bool open_sealed(const OpenSsl *openssl, const uint8_t *key, const char *name, uint8_t *sealed, size_t n)
{
    EVP_CIPHER *cipher = openssl->EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    EVP_CIPHER_CTX *context = openssl->EVP_CIPHER_CTX_new();
    uint8_t *text = sealed + NONCE_SIZE, *tag = sealed + n - TAG_SIZE;
    int length = 0, rest = 0, size = (int)(n - NONCE_SIZE - TAG_SIZE);
    bool done = cipher && context && openssl->EVP_DecryptInit_ex2(context, cipher, key, sealed, NULL) == 1 &&
                openssl->EVP_DecryptUpdate(context, NULL, &length, (const uint8_t *)name, (int)strlen(name)) == 1 &&
                openssl->EVP_DecryptUpdate(context, text, &length, text, size) == 1 &&
                openssl->EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
                openssl->EVP_DecryptFinal_ex(context, text + length, &rest) == 1 && length + rest == size;
    openssl->EVP_CIPHER_CTX_free(context);
    openssl->EVP_CIPHER_free(cipher);
    return done;
}

/* VALUE in clear: a new reference; NULL: it does not belong to the key, or is none. */
static json_t *decrypt(const OpenSsl *openssl, const uint8_t *key, const char *name, const json_t *value)
{
    const char *text = json_string_value(value) + strlen(CONFIGURATION_ENCRYPTED);
    size_t n = 0, length = strlen(text);
    _cleanup_(freep) uint8_t *bytes = xcalloc(1, length + 1);
    json_t *clear = NULL;
    if (base64_decode(text, length, bytes, &n) && n >= NONCE_SIZE + TAG_SIZE && n <= CONFIGURATION_BYTES_MAX &&
        open_sealed(openssl, key, name, bytes, n))
        clear = json_stringn((const char *)bytes + NONCE_SIZE, n - NONCE_SIZE - TAG_SIZE); /* NULL: not UTF-8 */
    explicit_bzero(bytes, length + 1);
    return clear;
}

static const char *first_encrypted(json_t *configuration)
{
    const char *name;
    json_t *value;
    json_object_foreach (configuration, name, value)
        if (is_encrypted(value))
            return name;
    return NULL;
}

int configuration_decrypt(json_t *configuration, Error *error)
{
    const char *name = first_encrypted(configuration), *home = getenv("HOME");
    json_t *value;
    void *next;
    uint8_t key[KEY_SIZE];
    if (!name)
        return 0;
    _cleanup_(freep) char *path = xasprintf("%s/" KEY_PATH, home ? home : "~");
    const char *why = read_key(path, key);
    if (why)
        return fail(name, path, why, error);
    const OpenSsl *openssl = openssl_load("a configuration that Fivetran's command has encrypted needs", error);
    int r = openssl ? 0 : -1;
    json_object_foreach_safe (configuration, next, name, value) {
        if (r < 0 || !is_encrypted(value))
            continue;
        json_t *clear = decrypt(openssl, key, name, value);
        r = clear ? json_object_set_new(configuration, name, clear) : fail(name, path, " holds another key", error);
    }
    explicit_bzero(key, sizeof(key));
    return r;
}
