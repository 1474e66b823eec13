#pragma once
/* The two clocks, RFC 3339 text, durations, and UUIDv7 (RFC 9562). Wall times are milliseconds since 1970 in UTC. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_ms(void);
int64_t clock_wall_us(void);
int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);

#define RFC3339_MS_SIZE 25 /* "2026-11-21T07:00:00.000Z" and the NUL */
void rfc3339_ms(int64_t wall_ms, char ret[static RFC3339_MS_SIZE]);
#define RFC3339_US_SIZE 33 /* "2026-11-21T07:00:00.000000+00:00" and the NUL: what Filedge writes to _ingested_at */
void rfc3339_us(int64_t wall_us, char ret[static RFC3339_US_SIZE]);
bool rfc3339_ms_parse(const char *text, int64_t *ret_wall_ms); /* only what rfc3339_ms() writes */

/* "[0-9]+(s|m|h|d)" in seconds; false for anything else or above 100 years. */
bool duration_parse(const char *text, uint64_t *ret_seconds);
/* "15m", "90s", "2d": the largest unit that is exact. */
#define DURATION_TEXT_SIZE 24
void duration_format(uint64_t seconds, char ret[static DURATION_TEXT_SIZE]);

#define UUID_TEXT_SIZE 37
void uuid7(char ret_text[static UUID_TEXT_SIZE]);
