#pragma once
/*
 * Dates and timestamps, proleptic Gregorian, from and to ISO 8601 text, years 0001 to 9999 as Python's datetime has
 * them (what Filedge accepts). Nothing is rounded: more than nine fractional digits are accepted only where the rest is
 * zeros.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMESTAMP_NAIVE INT16_MIN /* as offset: the text named no time zone */

typedef struct Timestamp {
    int64_t seconds; /* since 1970-01-01T00:00:00: UTC, or wall-clock time where offset is TIMESTAMP_NAIVE */
    uint32_t nanos;  /* 0 … 999999999 */
    int16_t offset;  /* minutes east of UTC as written, or TIMESTAMP_NAIVE */
} Timestamp;

int32_t calendar_days(int year, unsigned month, unsigned day); /* since 1970-01-01; the date must be possible */
void calendar_date(int32_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day);

/* "2024-02-29" (also "20240229"); false if malformed or impossible. */
bool date_parse(const char *text, size_t n, int32_t *ret_days);
/* "2024-02-29", optionally followed by T or a space and "10:20[:30[.123456789]]" ("," too) and "Z", "+02", "+0200" or
 * "+02:00". */
bool timestamp_parse(const char *text, size_t n, Timestamp *ret);

#define DATE_TEXT_MAX 16
size_t date_format(int32_t days, char *ret); /* "2024-02-29"; returns the length; writes no NUL */
#define TIMESTAMP_TEXT_MAX 48
/* As Python's isoformat(): "2024-02-29T10:20:30[.ffffff|.fffffffff][+02:00]", in the time zone it was written in. */
size_t timestamp_format(const Timestamp *timestamp, char *ret);
