/* Due times are told by the wall clock, which may jump; waits and durations by the monotonic one, which may not. */
#include "lib/basics/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lib/basics/calendar.h"

#define DURATION_MAX_SECONDS (UINT64_C(100) * 366 * 86400)

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

int64_t clock_monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* "2026-11-21T07:00:00" of UNITS per second; returns the fraction. Years outside 1 … 9999 are held at the nearest end.
 */
static int64_t format_seconds(int64_t time, int64_t units, char ret[static 20])
{
    int64_t seconds = floor_divide(time, units), fraction = time - seconds * units;
    if (seconds < INT64_C(-62135596800))
        seconds = INT64_C(-62135596800);
    if (seconds > INT64_C(253402300799))
        seconds = INT64_C(253402300799);
    int64_t days = floor_divide(seconds, 86400);
    unsigned rest = (unsigned)(seconds - days * 86400);
    int year;
    unsigned month, day;
    calendar_date((int32_t)days, &year, &month, &day);
    char text[64];
    snprintf(text, sizeof(text), "%04d-%02u-%02uT%02u:%02u:%02u", year, month, day, rest / 3600, rest / 60 % 60,
             rest % 60);
    memcpy(ret, text, 20);
    return fraction;
}

void rfc3339_ms(int64_t wall_ms, char ret[static RFC3339_MS_SIZE])
{
    char text[20], whole[64];
    int64_t fraction = format_seconds(wall_ms, 1000, text);
    snprintf(whole, sizeof(whole), "%s.%03uZ", text, (unsigned)fraction);
    memcpy(ret, whole, RFC3339_MS_SIZE);
}

void rfc3339_us(int64_t wall_us, char ret[static RFC3339_US_SIZE])
{
    char text[20], whole[64];
    int64_t fraction = format_seconds(wall_us, 1000000, text);
    snprintf(whole, sizeof(whole), "%s.%06u+00:00", text, (unsigned)fraction);
    memcpy(ret, whole, RFC3339_US_SIZE);
}

bool rfc3339_ms_parse(const char *text, int64_t *ret_wall_ms)
{
    Timestamp timestamp;
    if (strlen(text) != RFC3339_MS_SIZE - 1 || text[10] != 'T' || text[RFC3339_MS_SIZE - 2] != 'Z' ||
        !timestamp_parse(text, RFC3339_MS_SIZE - 1, &timestamp))
        return false;
    *ret_wall_ms = timestamp.seconds * 1000 + timestamp.nanos / 1000000;
    return true;
}

bool duration_parse(const char *text, uint64_t *ret_seconds)
{
    uint64_t number = 0;
    const char *next = text;
    for (; *next >= '0' && *next <= '9'; next++) {
        number = number * 10 + (uint64_t)(*next - '0');
        if (number > DURATION_MAX_SECONDS)
            return false;
    }
    if (next == text || !next[0] || next[1])
        return false;
    uint64_t unit = *next == 's' ? 1 : *next == 'm' ? 60 : *next == 'h' ? 3600 : *next == 'd' ? 86400 : 0;
    if (unit == 0 || number > DURATION_MAX_SECONDS / unit)
        return false;
    *ret_seconds = number * unit;
    return true;
}

void duration_format(uint64_t seconds, char ret[static DURATION_TEXT_SIZE])
{
    static const struct {
        uint64_t seconds;
        char name;
    } units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
    size_t i = 0;
    while (units[i].seconds > 1 && (seconds == 0 || seconds % units[i].seconds != 0))
        i++;
    snprintf(ret, DURATION_TEXT_SIZE, "%llu%c", (unsigned long long)(seconds / units[i].seconds), units[i].name);
}

void uuid7(char ret_text[static UUID_TEXT_SIZE])
{
    /* RFC 9562, 5.7: 48 bits of milliseconds, then version, variant and 74 random bits */
    uint8_t b[16];
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        abort(); /* up to 256 bytes never fail nor come short once the pool is ready (getrandom(2)) */
    uint64_t now = (uint64_t)clock_wall_ms();
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(now >> (40 - 8 * i));
    b[6] = (uint8_t)(0x70 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    snprintf(ret_text, UUID_TEXT_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
