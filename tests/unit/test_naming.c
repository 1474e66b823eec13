/* Names as Fivetran's SDK makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/worker/naming.h"

static void assert_name(const char *name, bool is_table, const char *expected)
{
    _cleanup_(buffer_clear) Buffer made = { 0 };
    buffer_append_string(&made, "<"); /* what is there stays */
    naming_normalise(name, strlen(name), is_table, &made);
    buffer_append_string(&made, ">");
    _cleanup_(freep) char *all = xasprintf("<%s>", expected);
    _cleanup_(freep) char *text = buffer_take_string(&made);
    assert_string_equal(text, all);
}

/* What the SDK's own functions give (2.5.1). */
static void names_are_the_sdks(void **state)
{
    static const char *const names[][2] = {
        { "userID", "user_id" },
        { "address1", "address_1" },
        { "HTTPServer", "httpserver" },
        { "a b", "a_b" },
        { "1abc", "1_abc" },
        { "A-B", "a_b" },
        { "a.b", "a_b" },
        { "camelCase2Go", "camel_case_2_go" },
        { "iD", "i_d" },
        { "aBC", "a_bc" },
        { "a1b2", "a_1_b_2" },
        { "URLParser2", "urlparser_2" },
        { "a__b", "a_b" },
        { "trail ", "trail_" },
        { "é", "é" },
        { "ñandú", "ñandú" },
        { "日本", "日本" },
        { "café", "café" },
        { "Ünïcode", "ünïcode" },
        { "Ж", "ж" },
        { "naïve Name", "naive_name" },
        { "x😀y", "xy" },
        { "😀", "" },
        { "order", "order" },
        { "select", "select" },
        { "", "" },
        { "already_fine", "already_fine" },
        { "Straße Nr", "strasse_nr" },
        { "Łódź Æon", "lodz_aeon" },
        { "ﬁeld name", "field_name" },
        { "x²", "x_²" },
        { "e\xCC\x81t", "et" }, /* a combining accent is no letter */
        { "a_B", "a_b" },
        { "aB1C", "a_b_1_c" },
        { "---", "_" },
        { "İx", "i̇x" },
    };
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        assert_name(names[i][0], false, names[i][1]);
        if (names[i][1][0] != '_')
            assert_name(names[i][0], true, names[i][1]);
    }
}

static void tables_lose_underscores_in_front_of_a_letter(void **state)
{
    static const char *const names[][3] = { { "__x", "x", "_x" }, { "$x", "x", "_x" }, { "_1", "_1", "_1" },
                                            { "_é", "_é", "_é" }, { "_", "_", "_" },   { " Table", "table", "_table" },
                                            { "$", "_", "_" },    { "_X", "x", "_x" } };
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        assert_name(names[i][0], true, names[i][1]);
        assert_name(names[i][0], false, names[i][2]);
    }
}

/* Where the SDK would spell any alphabet in Latin letters. */
static void other_alphabets_stay(void **state)
{
    assert_name("Имя клиента", false, "имя_клиента");
    assert_name("名 前", false, "名_前");
    assert_name("a–b", false, "a_b");
    assert_name("temp °C", false, "temp_c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_the_sdks),
        cmocka_unit_test(tables_lose_underscores_in_front_of_a_letter),
        cmocka_unit_test(other_alphabets_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
