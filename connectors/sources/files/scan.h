#pragma once
/*
 * Finds the bytes that structure a CSV record (delimiter, line feed, carriage return), 64 at a time as one bit mask.
 *
 * Reads up to 63 bytes past the end it is given: the text must have that slack (INPUT_SLACK).
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCAN_BLOCK 64

/* Bit i is set where text[i] is one of the three. The reference: any machine, eight bytes at a time. */
static inline uint64_t scan_mask_portable(const char *text, char delimiter)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    const uint64_t patterns[] = { ones * (uint8_t)delimiter, ones * '\n', ones * '\r' };
    uint64_t mask = 0;
    for (unsigned i = 0; i < SCAN_BLOCK; i += 8) {
        uint64_t word, hits = 0;
        memcpy(&word, text + i, 8);
        for (unsigned k = 0; k < 3; k++) {
            uint64_t x = word ^ patterns[k];
            /* 0x80 in every byte of x that is zero, exactly (no carries between bytes) */
            hits |= ~(((x & low) + low) | x | low);
        }
        /* The eight marks to the lowest eight bits. */
        mask |= ((hits >> 7) * UINT64_C(0x0102040810204080) >> 56) << i;
    }
    return mask;
}

#ifdef __SSE2__
static inline uint64_t scan_mask(const char *text, char delimiter)
{
    const __m128i delimiters = _mm_set1_epi8(delimiter), feeds = _mm_set1_epi8('\n'), returns = _mm_set1_epi8('\r');
    uint64_t mask = 0;
    for (unsigned i = 0; i < SCAN_BLOCK; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(bytes, delimiters),
                                    _mm_or_si128(_mm_cmpeq_epi8(bytes, feeds), _mm_cmpeq_epi8(bytes, returns)));
        mask |= (uint64_t)(uint16_t)_mm_movemask_epi8(hits) << i;
    }
    return mask;
}
#else
static inline uint64_t scan_mask(const char *text, char delimiter)
{
    return scan_mask_portable(text, delimiter);
}
#endif

typedef struct Scanner {
    const char *block; /* the mask's first byte */
    const char *end;
    uint64_t mask; /* hits in the block that are not passed yet */
    char delimiter;
} Scanner;

static inline Scanner scanner_at(const char *text, const char *end, char delimiter)
{
    return (Scanner){
        .block = text, .end = end, .delimiter = delimiter, .mask = text < end ? scan_mask(text, delimiter) : 0
    };
}

/* The next hit, or `end`. */
static inline const char *scanner_next(Scanner *scanner)
{
    while (scanner->mask == 0) {
        if (scanner->end - scanner->block <= SCAN_BLOCK)
            return scanner->end;
        scanner->block += SCAN_BLOCK;
        scanner->mask = scan_mask(scanner->block, scanner->delimiter);
    }
    const char *at = scanner->block + __builtin_ctzll(scanner->mask);
    if (at >= scanner->end)
        return scanner->end;
    scanner->mask &= scanner->mask - 1;
    return at;
}

/* Whether there is a hit before TEXT, which lies ahead; may say yes wrongly. */
static inline bool scanner_hits_before(const Scanner *scanner, const char *text)
{
    size_t offset = (size_t)(text - scanner->block);
    return offset >= SCAN_BLOCK || (scanner->mask & ((UINT64_C(1) << offset) - 1)) != 0;
}

/* Forgets the hits before TEXT, which lies ahead. */
static inline void scanner_skip_to(Scanner *scanner, const char *text)
{
    size_t offset = (size_t)(text - scanner->block);
    if (offset < SCAN_BLOCK)
        scanner->mask &= ~UINT64_C(0) << offset;
    else
        *scanner = scanner_at(text, scanner->end, scanner->delimiter);
}
