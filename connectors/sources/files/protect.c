/*
 * A row is protected after its values were converted and before anybody else sees it: readers put typed values as for
 * every other table, and this takes the whole row out of the frame's buffer again and puts it back with the protected
 * values replaced. So no reader knows of keys, and a table without protected columns pays nothing.
 *
 * OpenSSL through EVP, which means a provider and its algorithms; they are fetched only when a column asks for them.
 * Nonces come from the kernel, some hundred at a time: the random generator of OpenSSL would have to be set up first,
 * and is seeded from there as well.
 */
#include "connectors/sources/files/protect.h"

#include <errno.h>
#include <math.h>
#include <openssl/params.h>
#include <stdio.h>
#include <sys/random.h>

#include "lib/basics/base64.h"
#include "lib/basics/openssl.h"

#define FRAME_VERSION_BYTE 1
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define HEAD_SIZE (1 + NONCE_SIZE + TAG_SIZE)
#define NONCES_AT_ONCE 256
#define SCRATCH_KEEP (4u << 20) /* a buffer that one giant row has grown past this is given back */

static const OpenSsl *openssl; /* loaded with the first protected column */

static const char cannot[] = "cannot be protected: the cryptographic library failed";
static const char too_long[] =
    "longer than \"max_value_size\" allows once it is protected; raise it to load this value";

typedef struct Protection {
    ProtectionKind kind;
    EVP_CIPHER_CTX *cipher; /* owned; holds the key */
    EVP_MAC_CTX *mac;       /* owned; holds the key */
} Protection;

struct Protector {
    Protection *protections; /* owned; one per column */
    size_t count;
    Buffer row, text, sealed; /* scratch; the first two hold plain values for as long as one row takes */
    uint8_t nonces[NONCES_AT_ONCE][NONCE_SIZE];
    size_t nonces_left;
};

/* --- as Python prints it --- */

static bool reads_back(const char *text, double number)
{
    return strtod(text, NULL) == number;
}

/* The last digit of "d.ddde±xx" one up or down; false where that would carry. */
static bool step_last_digit(char *text, int step)
{
    char *last = strchr(text, 'e') - 1;
    char digit = (char)(*last + step);
    if (digit < '0' || digit > '9')
        return false;
    *last = digit;
    return true;
}

/* The shortest decimal that reads back as NUMBER (finite, not 0, positive), the nearest such, as "d.ddde±xx". The C
 * library rounds to a number of digits; at a power of two the shortest may be its neighbour, which lies on the wide
 * side. */
static void shortest(double number, char ret[static 32])
{
    for (int digits = isnormal(number) ? 15 : 1; digits < 17; digits++) {
        snprintf(ret, 32, "%.*e", digits - 1, number);
        if (reads_back(ret, number))
            return;
        for (int step = -1; digits == 16 && step <= 1; step += 2) {
            char other[32];
            memcpy(other, ret, sizeof(other));
            if (step_last_digit(other, step) && reads_back(other, number)) {
                memcpy(ret, other, sizeof(other));
                return;
            }
        }
    }
    snprintf(ret, 32, "%.16e", number);
}

/* repr(): digits alone from 1e-4 up to below 1e16, always with a point, else "1.5e-07". */
static void put_float(Buffer *to, double number)
{
    if (signbit(number))
        buffer_append_string(to, "-");
    if (number == 0) {
        buffer_append_string(to, "0.0");
        return;
    }
    char text[32], digits[32];
    shortest(fabs(number), text);
    size_t count = 0;
    const char *at = text;
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    int exponent = (int)strtol(at + 1, NULL, 10);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    if (exponent < -4 || exponent >= 16) {
        buffer_append(to, digits, 1);
        if (count > 1)
            buffer_append_string(to, ".");
        buffer_append(to, digits + 1, count - 1);
        buffer_printf(to, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    for (int i = MIN_OF(exponent, 0); i < MAX_OF((int)count, exponent + 2); i++) {
        if (i == exponent + 1)
            buffer_append_string(to, ".");
        buffer_append(to, i >= 0 && i < (int)count ? &digits[i] : "0", 1);
    }
}

void python_text(const Value *value, Buffer *ret)
{
    char shown[TIMESTAMP_TEXT_MAX];
    switch (value->tag) {
    case VALUE_NULL:
    case VALUE_ABSENT:
        return;
    case VALUE_FALSE:
    case VALUE_TRUE:
        buffer_append_string(ret, value->tag == VALUE_TRUE ? "True" : "False");
        return;
    case VALUE_INTEGER:
        buffer_printf(ret, "%lld", (long long)value->integer);
        return;
    case VALUE_FLOAT:
        put_float(ret, value->number);
        return;
    case VALUE_DATE:
        buffer_append(ret, shown, date_format(value->days, shown));
        return;
    case VALUE_TIMESTAMP:
        buffer_append(ret, shown, timestamp_format(&value->timestamp, shown));
        return;
    default:
        buffer_append(ret, value->text.data, value->text.length);
    }
}

/* --- keys --- */

Protector *protector_new(size_t columns)
{
    Protector *protector = xcalloc(1, sizeof(*protector));
    protector->protections = xcalloc(columns, sizeof(Protection));
    protector->count = columns;
    return protector;
}

static void wipe(Buffer *buffer)
{
    if (buffer_length(buffer) > 0)
        explicit_bzero(buffer_bytes(buffer), buffer_length(buffer));
    buffer_reset(buffer);
    if (buffer->allocated > SCRATCH_KEEP)
        buffer_clear(buffer);
}

Protector *protector_free(Protector *protector)
{
    if (!protector)
        return NULL;
    for (size_t i = 0; i < protector->count; i++) {
        if (protector->protections[i].cipher)
            openssl->EVP_CIPHER_CTX_free(protector->protections[i].cipher);
        if (protector->protections[i].mac)
            openssl->EVP_MAC_CTX_free(protector->protections[i].mac);
    }
    free(protector->protections);
    buffer_clear(&protector->row);
    buffer_clear(&protector->text);
    buffer_clear(&protector->sealed);
    free(protector);
    return NULL;
}

static bool set_cipher(Protection *protection, const uint8_t *key)
{
    EVP_CIPHER *cipher = openssl->EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    protection->cipher = openssl->EVP_CIPHER_CTX_new();
    bool done =
        cipher && protection->cipher && openssl->EVP_EncryptInit_ex2(protection->cipher, cipher, key, NULL, NULL) == 1;
    openssl->EVP_CIPHER_free(cipher);
    return done;
}

static bool set_mac(Protection *protection, const uint8_t *key, size_t n)
{
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = { OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof(digest) - 1),
                                      OSSL_PARAM_END };
    EVP_MAC *mac = openssl->EVP_MAC_fetch(NULL, "HMAC", NULL);
    protection->mac = mac ? openssl->EVP_MAC_CTX_new(mac) : NULL;
    bool done = protection->mac && openssl->EVP_MAC_init(protection->mac, key, n, parameters) == 1;
    openssl->EVP_MAC_free(mac);
    return done;
}

int protector_add(Protector *protector, size_t column, ProtectionKind kind, const uint8_t *key, size_t n, Error *error)
{
    Protection *protection = &protector->protections[column];
    if (n < PROTECTOR_KEY_SIZE || (kind == PROTECTION_ENCRYPT && n > PROTECTOR_KEY_SIZE))
        return error_set(error, ERROR_CONFIGURATION, "the key of a protected column has %zu bytes; it needs %s%d", n,
                         kind == PROTECTION_HASH ? "at least " : "", PROTECTOR_KEY_SIZE);
    if (!openssl)
        openssl = openssl_load("\"encrypt\" and \"hash\" need", error);
    if (!openssl)
        return -1;
    protection->kind = kind;
    bool done = kind == PROTECTION_ENCRYPT ? set_cipher(protection, key) : set_mac(protection, key, n);
    if (done)
        return 0;
    char why[256];
    openssl->ERR_error_string_n(openssl->ERR_get_error(), why, sizeof(why));
    return error_set(error, ERROR_INTERNAL, "the cryptographic library does not offer %s: %s",
                     kind == PROTECTION_ENCRYPT ? "AES-256-GCM" : "HMAC-SHA256", why);
}

/* --- values --- */

static bool next_nonce(Protector *protector, uint8_t *ret)
{
    if (protector->nonces_left == 0) {
        uint8_t *at = protector->nonces[0];
        for (size_t left = sizeof(protector->nonces); left > 0;) {
            ssize_t n = getrandom(at, left, 0);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return false;
            at += n;
            left -= (size_t)n;
        }
        protector->nonces_left = NONCES_AT_ONCE;
    }
    memcpy(ret, protector->nonces[--protector->nonces_left], NONCE_SIZE);
    return true;
}

/* Version, nonce, tag and ciphertext of the text to `sealed`. */
static bool encrypt(Protector *protector, const Protection *protection)
{
    size_t n = buffer_length(&protector->text);
    uint8_t *head = buffer_reserve(&protector->sealed, HEAD_SIZE + n);
    uint8_t *nonce = head + 1, *tag = nonce + NONCE_SIZE, *body = tag + TAG_SIZE;
    int length = 0, rest = 0;
    *head = FRAME_VERSION_BYTE;
    if (!next_nonce(protector, nonce) ||
        openssl->EVP_EncryptInit_ex2(protection->cipher, NULL, NULL, nonce, NULL) != 1 ||
        openssl->EVP_EncryptUpdate(protection->cipher, body, &length, buffer_bytes(&protector->text), (int)n) != 1 ||
        openssl->EVP_EncryptFinal_ex(protection->cipher, body + length, &rest) != 1 || (size_t)(length + rest) != n ||
        openssl->EVP_CIPHER_CTX_ctrl(protection->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) != 1)
        return false;
    buffer_added(&protector->sealed, HEAD_SIZE + n);
    return true;
}

static bool hash(Protector *protector, const Protection *protection)
{
    size_t length = 0;
    uint8_t *digest = buffer_reserve(&protector->sealed, EVP_MAX_MD_SIZE);
    if (openssl->EVP_MAC_init(protection->mac, NULL, 0, NULL) != 1 ||
        openssl->EVP_MAC_update(protection->mac, buffer_bytes(&protector->text), buffer_length(&protector->text)) !=
            1 ||
        openssl->EVP_MAC_final(protection->mac, digest, &length, EVP_MAX_MD_SIZE) != 1)
        return false;
    buffer_added(&protector->sealed, length);
    return true;
}

static const char *put_protected(Protector *protector, const Protection *protection, const Value *value,
                                 uint32_t value_max, RowsWriter *rows)
{
    buffer_reset(&protector->sealed);
    python_text(value, &protector->text);
    bool done = protection->kind == PROTECTION_ENCRYPT ? encrypt(protector, protection) : hash(protector, protection);
    wipe(&protector->text);
    if (!done)
        return cannot;
    size_t n = buffer_length(&protector->sealed), length = base64_length(n);
    if (length > value_max)
        return too_long;
    uint8_t *at = buffer_reserve(rows->buffer, 5 + length);
    uint32_t written = (uint32_t)length;
    *at = VALUE_STRING;
    memcpy(at + 1, &written, sizeof(written));
    base64_encode(buffer_bytes(&protector->sealed), n, (char *)at + 5);
    buffer_added(rows->buffer, 5 + length);
    return NULL;
}

/* The row from the copy in `row` to ROWS. */
static int put_row(Protector *protector, RowsWriter *rows, uint32_t value_max, size_t *ret_column, const char **ret_why)
{
    const uint8_t *begin = buffer_bytes(&protector->row);
    RowCursor cursor = { .next = begin, .end = begin + buffer_length(&protector->row) };
    for (size_t i = 0; i < protector->count; i++) {
        const Protection *protection = &protector->protections[i];
        const uint8_t *from = cursor.next;
        Value value;
        if (!row_cursor_value(&cursor, &value))
            abort(); /* the reader put something else than a row */
        if (protection->kind == PROTECTION_NONE) {
            buffer_append(rows->buffer, from, (size_t)(cursor.next - from));
            continue;
        }
        *ret_why = put_protected(protector, protection, &value, value_max, rows);
        *ret_column = i;
        if (*ret_why)
            return -1;
    }
    return 0;
}

int protector_row(Protector *protector, RowsWriter *rows, size_t mark, uint32_t value_max, size_t *ret_column,
                  const char **ret_why)
{
    size_t plain_end = rows->buffer->end;
    buffer_append(&protector->row, rows->buffer->data + rows->start + mark, plain_end - rows->start - mark);
    rows_rewind(rows, mark);
    int r = put_row(protector, rows, value_max, ret_column, ret_why);
    if (rows->buffer->end < plain_end)
        explicit_bzero(rows->buffer->data + rows->buffer->end, plain_end - rows->buffer->end);
    wipe(&protector->row);
    return r;
}
