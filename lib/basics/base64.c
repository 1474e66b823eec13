/* Bytes as text that every system passes unharmed, three bytes to four characters. */
#include "lib/basics/base64.h"

void base64_encode(const void *data, size_t n, char *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = data, *end = at + n;
    for (; end - at >= 3; at += 3) {
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        *ret++ = digits[bits >> 18];
        *ret++ = digits[bits >> 12 & 63];
        *ret++ = digits[bits >> 6 & 63];
        *ret++ = digits[bits & 63];
    }
    if (at == end)
        return;
    uint32_t bits = (uint32_t)at[0] << 16 | (end - at == 2 ? (uint32_t)at[1] << 8 : 0);
    *ret++ = digits[bits >> 18];
    *ret++ = digits[bits >> 12 & 63];
    *ret++ = end - at == 2 ? digits[bits >> 6 & 63] : '=';
    *ret = '=';
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, size_t n, uint8_t *ret, size_t *ret_n)
{
    size_t padding = 0;
    if (n % 4 != 0)
        return false;
    while (padding < 2 && padding < n && text[n - padding - 1] == '=')
        padding++;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = i >= n - padding ? 0 : digit_value(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 3) {
            *ret++ = (uint8_t)(bits >> 16);
            *ret++ = (uint8_t)(bits >> 8);
            *ret++ = (uint8_t)bits;
        }
    }
    /* what the padding drops must have been nothing (§3.5) */
    if (padding > 0 && (bits & (padding == 1 ? 0xff : 0xffff)) != 0)
        return false;
    *ret_n = n / 4 * 3 - padding;
    return true;
}
