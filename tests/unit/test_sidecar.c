/* What sidecars are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/basics/buffer.h"
#include "lib/basics/text.h"
#include "lib/formats/sidecar.h"

#define TAIL ".abcdefabcdef" SIDECAR_SUFFIX

static const uint8_t *hash(void)
{
    static uint8_t digest[SHA256_SIZE];
    const uint8_t begin[] = { 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef };
    memcpy(digest, begin, sizeof(begin));
    return digest;
}

static void test_names(void **state)
{
    static const char *const cases[][2] = {
        { "orders.csv", "orders" TAIL },
        { "orders.csv.gz", "orders.csv" TAIL },
        { "orders", "orders" TAIL },
        { ".hidden", ".hidden" TAIL },
        { "..x", "..x" TAIL },
        { ".a.b", ".a" TAIL },
        { "orders.", "orders" TAIL },
        /* of a sidecar: the stem that it was made of */
        { "orders.0123456789ab.quarantine.ndjson", "orders" TAIL },
        { "orders.0123456789AB.quarantine.ndjson", "orders.0123456789AB.quarantine" TAIL },
        { "orders.0123456789a.quarantine.ndjson", "orders.0123456789a.quarantine" TAIL },
        { ".0123456789ab.quarantine.ndjson", ".0123456789ab.quarantine" TAIL },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *name = sidecar_name(cases[i][0], hash());
        assert_string_equal(name, cases[i][1]);
        assert_true(sidecar_is_of(name, hash()));
    }
}

static void test_long_names(void **state)
{
    for (size_t extra = 0; extra < 2; extra++) {
        char long_name[256] = "";
        memset(long_name, 'x', extra);
        for (size_t i = extra; i + 2 < sizeof(long_name); i += 2)
            memcpy(long_name + i, "\xc3\xa9", 3);
        _cleanup_(freep) char *name = sidecar_name(long_name, hash());
        assert_in_range(strlen(name), SIDECAR_NAME_MAX - 1, SIDECAR_NAME_MAX);
        assert_int_equal(utf8_valid_length(name, strlen(name)), strlen(name));
        assert_true(sidecar_is_of(name, hash()));
    }
}

static void test_others(void **state)
{
    static const char *const names[] = { "orders.csv", "orders.abcdefabcdee" SIDECAR_SUFFIX, "orders" TAIL ".loaded",
                                         TAIL,         "orders-abcdefabcdef" SIDECAR_SUFFIX, "" };
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        assert_false(sidecar_is_of(names[i], hash()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
