/* Calendar, clock, text, mask, buffer and error: the properties that the rest of Wherry leans on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/basics/buffer.h"
#include "lib/basics/calendar.h"
#include "lib/basics/clock.h"
#include "lib/basics/error.h"
#include "lib/basics/hash.h"
#include "lib/basics/mask.h"
#include "lib/basics/text.h"

static void every_day_goes_both_ways(void **state)
{
    int32_t expected = -719162;
    for (int year = 1; year <= 9999; year++)
        for (unsigned month = 1; month <= 12; month++) {
            char text[64], back[DATE_TEXT_MAX];
            int n = snprintf(text, sizeof(text), "%04d-%02u-00", year, month);
            for (unsigned day = 1; day <= 31; day++) {
                text[8] = (char)('0' + day / 10); /* not by snprintf(): these are millions */
                text[9] = (char)('0' + day % 10);
                int32_t days;
                if (!date_parse(text, (size_t)n, &days))
                    continue; /* impossible dates are listed below */
                assert_int_equal(days, expected);
                expected++;
                assert_int_equal(date_format(days, back), 10);
                assert_memory_equal(back, text, 10);
            }
        }
    assert_int_equal(expected, 2932897); /* 9999-12-31 and one */
}

static void impossible_dates_are_refused(void **state)
{
    static const char *const bad[] = { "2023-02-29", "1900-02-29", "2024-02-30", "2024-13-01",
                                       "2024-00-01", "2024-01-00", "2024-04-31", "0000-01-01",
                                       "2024-1-01",  "2024/01/01", "24-01-01",   "2024-01-1x",
                                       "",           "2024-01",    "+024-01-01", "2024-01-011" };
    int32_t days;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(date_parse(bad[i], strlen(bad[i]), &days));
    assert_true(date_parse("20000229", 8, &days));
}

static void timestamps_keep_fraction_and_zone(void **state)
{
    static const struct {
        const char *text, *expected; /* NULL: refused */
    } cases[] = {
        { "2024-02-29T10:20:30", "2024-02-29T10:20:30" },
        { "2024-02-29 10:20", "2024-02-29T10:20:00" },
        { "2024-02-29", "2024-02-29T00:00:00" },
        { "2024-02-29T10:20:30Z", "2024-02-29T10:20:30+00:00" },
        { "2024-02-29T23:59:59.5-05:30", "2024-02-29T23:59:59.500000-05:30" },
        { "2024-02-29T10:20:30.123456789+0200", "2024-02-29T10:20:30.123456789+02:00" },
        { "2024-02-29T10:20:30.1234567890000", "2024-02-29T10:20:30.123456789" },
        { "2024-02-29T10:20:30,25+02", "2024-02-29T10:20:30.250000+02:00" },
        { "1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.999999" },
        { "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00+23:59" },
        { "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59-23:59" },
        { "2024-02-29T10:20:30.1234567891", NULL },
        { "2024-02-29T24:00:00", NULL },
        { "2024-02-29T10:60:00", NULL },
        { "2024-02-29T10:20:60", NULL },
        { "2024-02-29T10:20:30+24:00", NULL },
        { "2024-02-29T10:20:30+", NULL },
        { "2024-02-29T10:20:30.", NULL },
        { "2024-02-29T10:20:30 ", NULL },
        { "2024-02-29T1:20:30", NULL },
        { "2024-02-29T", NULL },
        { "2023-02-29T10:20:30", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Timestamp timestamp;
        char text[TIMESTAMP_TEXT_MAX];
        bool good = timestamp_parse(cases[i].text, strlen(cases[i].text), &timestamp);
        if (good != (cases[i].expected != NULL))
            fail_msg("\"%s\" was %s", cases[i].text, good ? "accepted" : "refused");
        if (good) {
            text[timestamp_format(&timestamp, text)] = '\0';
            assert_string_equal(text, cases[i].expected);
        }
    }
}

static void wall_times_are_rfc3339(void **state)
{
    char ms[RFC3339_MS_SIZE], us[RFC3339_US_SIZE];
    rfc3339_ms(0, ms);
    assert_string_equal(ms, "1970-01-01T00:00:00.000Z");
    rfc3339_ms(1709202030007, ms);
    assert_string_equal(ms, "2024-02-29T10:20:30.007Z");
    rfc3339_us(1709202030000007, us);
    assert_string_equal(us, "2024-02-29T10:20:30.000007+00:00");
    rfc3339_ms(INT64_MAX, ms); /* a clock that is off must not write past the text */
    int64_t back;
    assert_true(rfc3339_ms_parse("2024-02-29T10:20:30.007Z", &back));
    assert_int_equal(back, 1709202030007);
    assert_false(rfc3339_ms_parse("2024-02-29T10:20:30Z", &back));
}

static void durations_are_exact(void **state)
{
    static const char *const bad[] = { "",    "s",    "15", "-5m",          "1.5h",
                                       "5 m", "5min", "5M", "99999999999d", "18446744073709551617s" };
    uint64_t seconds;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        assert_false(duration_parse(bad[i], &seconds));
    static const char *const good[] = { "0s", "1s", "90s", "15m", "6h", "2d" };
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        char text[DURATION_TEXT_SIZE];
        assert_true(duration_parse(good[i], &seconds));
        duration_format(seconds, text);
        assert_string_equal(text, good[i]);
    }
    assert_true(duration_parse("60m", &seconds));
    assert_int_equal(seconds, 3600);
}

static void uuids_sort_by_time(void **state)
{
    char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];
    uuid7(a);
    int64_t start = clock_wall_ms();
    while (clock_wall_ms() <= start)
        ;
    uuid7(b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '7');
    assert_non_null(strchr("89ab", a[19]));
    assert_true(strcmp(a, b) < 0);
}

static void utf8_is_checked_as_rfc3629_says(void **state)
{
    static const struct {
        const char *text;
        size_t valid;
    } cases[] = {
        { "", 0 },
        { "plain ascii of more than eight bytes", 36 },
        { "h\xc3\xa9llo", 6 },
        { "\xf0\x9f\x98\x80", 4 },
        { "ab\xff", 2 },
        { "ab\xc0\x80", 2 },       /* overlong NUL */
        { "\xe0\x80\x80", 0 },     /* overlong */
        { "\xed\xa0\x80", 0 },     /* surrogate */
        { "\xf4\x90\x80\x80", 0 }, /* past U+10FFFF */
        { "12345678\xe2\x82", 8 }, /* cut short */
        { "1234567\xc3\xa9"
          "89\x80",
          11 },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_int_equal(utf8_valid_length(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

static void escaped_text_cannot_break_a_line(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        { "orders.csv", "orders.csv" }, { "a\nb\tc", "a\\x0Ab\\x09c" }, { "\xff\xc3\xa9", "\\xFF\xc3\xa9" },
        { "\x1b[2J", "\\x1B[2J" },      { "\xc2\x9b", "\\xC2\\x9B" },   { "\xe2\x80\xae", "\\xE2\\x80\\xAE" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *escaped = text_escape(cases[i].text, strlen(cases[i].text));
        assert_string_equal(escaped, cases[i].expected);
    }
    _cleanup_(freep) char *shortened = text_escape_shortened("0123456789", 10, 4);
    assert_string_equal(shortened, "0123…");
}

static void shell_words_are_taken_as_they_are_meant(void **state)
{
    static const char *const cases[][2] = {
        { "orders.yaml", "orders.yaml" },
        { "/a/b-c_1.csv", "/a/b-c_1.csv" },
        { "", "''" },
        { "my file", "'my file'" },
        { "it's", "'it'\\''s'" },
        { "$HOME;`x`", "'$HOME;`x`'" },
        { "a\\x0Ab", "'a\\x0Ab'" },
        { "'a", "''\\''a'" },
        { "\xc3\xa9", "'\xc3\xa9'" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *word = text_shell_word(cases[i][0]);
        assert_string_equal(word, cases[i][1]);
    }
}

static void suggestions_are_near_or_none(void **state)
{
    static const char *const keys[] = { "columns", "format", "frequency", "source", "dest_table", "type", NULL };
    assert_string_equal(text_suggest("colums", keys), "columns");
    assert_string_equal(text_suggest("fromat", keys), "format");
    assert_string_equal(text_suggest("soruce", keys), "source");
    assert_null(text_suggest("quarantine", keys));
    assert_null(text_suggest("x", keys));
    assert_null(text_suggest("", keys));
    assert_true(text_is_name("_orders_2"));
    assert_false(text_is_name("2orders"));
    assert_false(text_is_name("Orders"));
    assert_false(text_is_name(""));
    assert_false(text_is_name("0123456789012345678901234567890123456789012345678901234567890123"));
}

static void secrets_are_hidden_whole(void **state)
{
    Mask *mask = mask_new();
    mask_add(mask, "short");
    mask_add(mask, "hunter22");
    mask_add(mask, "hunter22-and-more");
    mask_add(mask, "first line\nsecond line");
    assert_null(mask_apply(mask, "nothing short here", 18));
    const char *text = "a hunter22-and-more b hunter22hunter22 second line";
    _cleanup_(freep) char *masked = mask_apply(mask, text, strlen(text));
    assert_string_equal(masked, "a **** b ******** ****");
    assert_null(mask_apply(NULL, "x", 1));
    mask = mask_free(mask);
}

static void a_buffer_is_a_queue(void **state)
{
    Buffer buffer = { 0 };
    uint8_t next_in = 0, next_out = 0;
    unsigned random = 1;
    for (int i = 0; i < 20000; i++) {
        random = random * 1103515245 + 12345;
        size_t n = random >> 16 & 63;
        for (size_t j = 0; j < n; j++)
            buffer_append(&buffer, &(uint8_t){ next_in++ }, 1);
        n = MIN_OF((size_t)(random >> 22 & 63), buffer_length(&buffer));
        for (size_t j = 0; j < n; j++)
            assert_int_equal(buffer_bytes(&buffer)[j], next_out++);
        buffer_consume(&buffer, n);
    }
    buffer_reset(&buffer);
    buffer_printf(&buffer, "%0300d", 7);
    _cleanup_(freep) char *string = buffer_take_string(&buffer);
    assert_int_equal(strlen(string), 300);
    assert_int_equal(string[299], '7');
    buffer_clear(&buffer);
}

static void errors_name_their_place(void **state)
{
    Error error = { 0 };
    assert_int_equal(error_set(&error, ERROR_DATA, "not an integer"), -1);
    error_at_file(&error, "or\nders.csv");
    error_at_row(&error, 18, 17);
    error_at_column(&error, "amount");
    error_at_value(&error, "12\0x", 4);
    _cleanup_(freep) char *text = error_format(&error);
    assert_string_equal(text, "or\\x0Aders.csv: line 18, row 17, column \"amount\": not an integer: \"12\\x00x\"");
    Error moved = { 0 };
    error_move(&moved, &error);
    assert_null(error.message);
    error_clear(&moved);
    error_set_errno(&error, ERROR_TEMPORARY, ENOSPC, "cannot write");
    error_prefix(&error, "orders: ");
    _cleanup_(freep) char *full = error_format(&error);
    assert_string_equal(full, "orders: cannot write: no space left on device");
    error_clear(&error);
    error_set(&error, ERROR_CONFIGURATION, "unknown key \"colums\"");
    error_at_file(&error, "orders.yaml");
    error.line = 7;
    error.position = 3;
    _cleanup_(freep) char *place = error_format(&error);
    assert_string_equal(place, "orders.yaml:7:3: unknown key \"colums\"");
    error_clear(&error);
    assert_int_equal(error_set(NULL, ERROR_DATA, "ignored"), -1);
}

static void hashes_are_the_published_ones(void **state)
{
    /* FIPS 180-4 examples; http://www.isthe.com/chongo/tech/comp/fnv/ */
    uint8_t digest[SHA256_SIZE], back[SHA256_SIZE];
    char text[SHA256_TEXT_SIZE];
    Sha256 *hash = sha256_new();
    for (int round = 0; round < 2; round++) {
        sha256_restart(hash);
        sha256_update(hash, "a", 1);
        sha256_update(hash, "bc", 2);
        sha256_finish(hash, digest);
        sha256_text(digest, text);
        assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    assert_true(sha256_from_text(text, back));
    assert_memory_equal(back, digest, SHA256_SIZE);
    assert_false(sha256_from_text("ba78", back));
    text[5] = 'g';
    assert_false(sha256_from_text(text, back));
    hash = sha256_free(hash);
    assert_true(fnv1a64("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_goes_both_ways),
        cmocka_unit_test(impossible_dates_are_refused),
        cmocka_unit_test(timestamps_keep_fraction_and_zone),
        cmocka_unit_test(wall_times_are_rfc3339),
        cmocka_unit_test(durations_are_exact),
        cmocka_unit_test(uuids_sort_by_time),
        cmocka_unit_test(utf8_is_checked_as_rfc3629_says),
        cmocka_unit_test(escaped_text_cannot_break_a_line),
        cmocka_unit_test(shell_words_are_taken_as_they_are_meant),
        cmocka_unit_test(suggestions_are_near_or_none),
        cmocka_unit_test(secrets_are_hidden_whole),
        cmocka_unit_test(a_buffer_is_a_queue),
        cmocka_unit_test(errors_name_their_place),
        cmocka_unit_test(hashes_are_the_published_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
