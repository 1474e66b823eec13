#pragma once
/* Base64 (RFC 4648 §4), with padding. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t base64_length(size_t n)
{
    return (n + 2) / 3 * 4;
}
/* base64_length(N) characters to RET; no NUL. */
void base64_encode(const void *data, size_t n, char *ret);
/* Strictly: padding where it belongs, nothing between, and zero bits where the padding drops some. RET has room for N /
 * 4
 * * 3 bytes; what it holds after a false is not defined. */
bool base64_decode(const char *text, size_t n, uint8_t *ret, size_t *ret_n);
