/*
 * Dates as days since 1970-01-01, by Howard Hinnant's days_from_civil
 * (http://howardhinnant.github.io/date_algorithms.html): years begin in March, so that the leap day is the last one,
 * and 400 years repeat. Parsing is by hand because strptime() costs as much as everything else that is done for a row,
 * and because it would accept what must be refused.
 */
#include "lib/basics/calendar.h"

#include <string.h>

#define DAYS_MIN (-719162) /* 0001-01-01 */
#define DAYS_MAX 2932896   /* 9999-12-31 */

int32_t calendar_days(int year, unsigned month, unsigned day)
{
    int y = year - (month <= 2);
    int era = (y >= 0 ? y : y - 399) / 400;
    unsigned of_era = (unsigned)(y - era * 400);
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * 146097 + (int32_t)days - 719468;
}

void calendar_date(int32_t days, int *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    int32_t z = days + 719468;
    int32_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned of_era_days = (unsigned)(z - era * 146097);
    unsigned of_era = (of_era_days - of_era_days / 1460 + of_era_days / 36524 - of_era_days / 146096) / 365;
    unsigned of_year = of_era_days - (365 * of_era + of_era / 4 - of_era / 100);
    unsigned month = (5 * of_year + 2) / 153;
    *ret_day = of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = (int)of_era + era * 400 + (*ret_month <= 2);
}

static bool digits(const char *text, size_t n, unsigned *ret)
{
    unsigned number = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (digit > 9)
            return false;
        number = number * 10 + digit;
    }
    *ret = number;
    return true;
}

static unsigned month_length(unsigned year, unsigned month)
{
    static const uint8_t lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return lengths[month - 1] + (month == 2 && leap);
}

bool date_parse(const char *text, size_t n, int32_t *ret_days)
{
    unsigned year, month, day;
    if (n == 10) {
        if (text[4] != '-' || text[7] != '-' || !digits(text, 4, &year) || !digits(text + 5, 2, &month) ||
            !digits(text + 8, 2, &day))
            return false;
    } else if (n == 8) {
        if (!digits(text, 4, &year) || !digits(text + 4, 2, &month) || !digits(text + 6, 2, &day))
            return false;
    } else {
        return false;
    }
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > month_length(year, month))
        return false;
    *ret_days = calendar_days((int)year, month, day);
    return true;
}

/* ".123456789" or ",…"; more digits only where they are zeros. Returns the bytes used; 0 where malformed. */
static size_t fraction_parse(const char *text, size_t n, uint32_t *ret_nanos)
{
    uint32_t nanos = 0, scale = 100000000;
    size_t i = 1;
    for (; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
        uint32_t digit = (uint32_t)(text[i] - '0');
        if (scale == 0 && digit != 0)
            return 0;
        nanos += digit * scale;
        scale /= 10;
    }
    *ret_nanos = nanos;
    return i > 1 ? i : 0;
}

/* "Z", "+02", "+0200", "+02:00": all of the N bytes. Python's datetime allows offsets of less than 24 hours. */
static bool offset_parse(const char *text, size_t n, int16_t *ret_minutes)
{
    unsigned hours, minutes = 0;
    if (n == 1 && (text[0] == 'Z' || text[0] == 'z')) {
        *ret_minutes = 0;
        return true;
    }
    if (n < 3 || (text[0] != '+' && text[0] != '-') || !digits(text + 1, 2, &hours))
        return false;
    if (n == 5) {
        if (!digits(text + 3, 2, &minutes))
            return false;
    } else if (n == 6) {
        if (text[3] != ':' || !digits(text + 4, 2, &minutes))
            return false;
    } else if (n != 3) {
        return false;
    }
    if (hours > 23 || minutes > 59)
        return false;
    int total = (int)(hours * 60 + minutes);
    *ret_minutes = (int16_t)(text[0] == '-' ? -total : total);
    return true;
}

bool timestamp_parse(const char *text, size_t n, Timestamp *ret)
{
    int32_t days;
    size_t date_length = n >= 10 && text[4] == '-' ? 10 : 8;
    if (n < date_length || !date_parse(text, date_length, &days))
        return false;
    Timestamp timestamp = { .seconds = (int64_t)days * 86400, .offset = TIMESTAMP_NAIVE };
    text += date_length;
    n -= date_length;
    if (n > 0) {
        unsigned hour, minute, second = 0;
        if (n < 6 || (text[0] != 'T' && text[0] != 't' && text[0] != ' ') || text[3] != ':' ||
            !digits(text + 1, 2, &hour) || !digits(text + 4, 2, &minute))
            return false;
        text += 6;
        n -= 6;
        if (n > 0 && text[0] == ':') {
            if (n < 3 || !digits(text + 1, 2, &second))
                return false;
            text += 3;
            n -= 3;
            if (n > 0 && (text[0] == '.' || text[0] == ',')) {
                size_t used = fraction_parse(text, n, &timestamp.nanos);
                if (used == 0)
                    return false;
                text += used;
                n -= used;
            }
        }
        if (hour > 23 || minute > 59 || second > 59)
            return false;
        timestamp.seconds += (int64_t)hour * 3600 + minute * 60 + second;
        if (n > 0) {
            if (!offset_parse(text, n, &timestamp.offset))
                return false;
            timestamp.seconds -= (int64_t)timestamp.offset * 60;
        }
    }
    *ret = timestamp;
    return true;
}

static char *put_digits(char *at, unsigned number, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + n;
}

static char *put_date(char *at, int32_t days)
{
    int year;
    unsigned month, day;
    calendar_date(days < DAYS_MIN ? DAYS_MIN : days > DAYS_MAX ? DAYS_MAX : days, &year, &month, &day);
    at = put_digits(at, (unsigned)year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    return put_digits(at, day, 2);
}

size_t date_format(int32_t days, char *ret)
{
    return (size_t)(put_date(ret, days) - ret);
}

size_t timestamp_format(const Timestamp *timestamp, char *ret)
{
    bool naive = timestamp->offset == TIMESTAMP_NAIVE;
    int64_t local = timestamp->seconds + (naive ? 0 : (int64_t)timestamp->offset * 60);
    int64_t days = local / 86400 - (local % 86400 < 0);
    unsigned rest = (unsigned)(local - days * 86400);
    char *at = put_date(ret, days < DAYS_MIN ? DAYS_MIN : days > DAYS_MAX ? DAYS_MAX : (int32_t)days);
    *at++ = 'T';
    at = put_digits(at, rest / 3600, 2);
    *at++ = ':';
    at = put_digits(at, rest / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, rest % 60, 2);
    if (timestamp->nanos > 0) {
        *at++ = '.';
        at = timestamp->nanos % 1000 == 0 ? put_digits(at, timestamp->nanos / 1000, 6)
                                          : put_digits(at, timestamp->nanos, 9);
    }
    if (!naive) {
        int offset = timestamp->offset < 0 ? -timestamp->offset : timestamp->offset;
        *at++ = timestamp->offset < 0 ? '-' : '+';
        at = put_digits(at, (unsigned)offset / 60, 2);
        *at++ = ':';
        at = put_digits(at, (unsigned)offset % 60, 2);
    }
    return (size_t)(at - ret);
}
