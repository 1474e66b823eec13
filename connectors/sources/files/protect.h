#pragma once
/*
 * Columns whose plain values must not leave this process: encrypted, or replaced by a keyed hash, before a row gets to
 * the pipe. The layout is Filedge's, so that its users decrypt with what they have:
 *
 *   encrypt   base64(0x01 ‖ 12-byte random nonce ‖ 16-byte tag ‖ ciphertext), AES-256-GCM without additional data
 *   hash      base64(HMAC-SHA256)
 *
 * What goes in is the typed value's text as Python's str() prints it (True, 1.5, 1e+16, 2024-01-31T10:20:30+00:00), in
 * UTF-8; text, decimals and JSON as they are, binary as its bytes. NULL goes in as empty text, so that a protected
 * column is never NULL, and does not tell where there was nothing.
 */
#include "lib/formats/frame.h"

#define PROTECTOR_KEY_SIZE 32 /* of AES-256 exactly; of HMAC at least */

typedef enum ProtectionKind { PROTECTION_NONE, PROTECTION_ENCRYPT, PROTECTION_HASH } ProtectionKind;

/* What is done to the rows of a table of COLUMNS columns. */
typedef struct Protector Protector;
Protector *protector_new(size_t columns);
Protector *protector_free(Protector *protector); /* wipes the keys */
/* Copies KEY. To be called before the sandbox closes, once for each column that is to be protected. */
int protector_add(Protector *protector, size_t column, ProtectionKind kind, const uint8_t *key, size_t n, Error *error);

/* Replaces the values of the row that stands in ROWS from MARK on. No plain value is left behind in the buffer. A
 * result of more than VALUE_MAX bytes is an error: negative, the column's index in *RET_COLUMN and *RET_WHY saying why.
 */
int protector_row(Protector *protector, RowsWriter *rows, size_t mark, uint32_t value_max, size_t *ret_column,
                  const char **ret_why);

/* VALUE as Python's str() prints it, appended to RET. */
void python_text(const Value *value, Buffer *ret);
