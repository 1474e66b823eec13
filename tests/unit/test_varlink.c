/* The Varlink codec: framing, bounds, and what hostile bytes do to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/formats/varlink.h"

#define assert_message_contains(error, part)                         \
    do {                                                             \
        _cleanup_(freep) char *text_ = error_format(error);          \
        if (!strstr(text_, part))                                    \
            fail_msg("\"%s\" does not contain \"%s\"", text_, part); \
    } while (0)

static int take(Buffer *input, size_t max, json_t **ret, Error *error)
{
    *ret = NULL;
    error_clear(error);
    return varlink_take(input, max, ret, error);
}

static void test_takes_whole_messages_only(void **state)
{
    _cleanup_(buffer_clear) Buffer input = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    static const char wire[] = "{\"method\":\"a.B\"}\0{\"parameters\":{\"x\":[1,2.5,null]},\"continues\":true}";
    json_t *message;

    /* byte by byte: a message appears with its NUL, not a byte earlier */
    size_t taken = 0;
    for (size_t i = 0; i < sizeof(wire); i++) {
        buffer_append(&input, wire + i, 1);
        int r = take(&input, 100, &message, &error);
        assert_int_equal(r, wire[i] == '\0' ? 0 : VARLINK_E_MORE);
        if (r == 0 && taken++ == 0)
            assert_string_equal(json_string_value(json_object_get(message, "method")), "a.B");
        json_decref(message);
    }
    assert_int_equal(taken, 2);
    assert_int_equal(buffer_length(&input), 0);

    /* both at once */
    buffer_append(&input, wire, sizeof(wire));
    assert_int_equal(take(&input, 100, &message, &error), 0);
    json_decref(message);
    assert_int_equal(take(&input, 100, &message, &error), 0);
    assert_true(json_is_true(json_object_get(message, "continues")));
    json_decref(message);
    assert_int_equal(take(&input, 100, &message, &error), VARLINK_E_MORE);
}

static void test_length_is_bounded(void **state)
{
    _cleanup_(buffer_clear) Buffer input = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    json_t *message;
    static const char exact[] = "{\"a\":123}"; /* nine bytes */

    buffer_append(&input, exact, sizeof(exact));
    assert_int_equal(take(&input, 9, &message, &error), 0);
    json_decref(message);

    buffer_append(&input, exact, sizeof(exact));
    assert_int_equal(take(&input, 8, &message, &error), -1);
    assert_message_contains(&error, "longer than 8 bytes");

    /* already while it is incomplete */
    buffer_reset(&input);
    buffer_append(&input, exact, 8);
    assert_int_equal(take(&input, 8, &message, &error), VARLINK_E_MORE);
    buffer_append(&input, exact + 8, 1);
    assert_int_equal(take(&input, 8, &message, &error), -1);
}

static void nested(Buffer *input, unsigned depth)
{
    buffer_reset(input);
    buffer_append_string(input, "{\"a\":");
    for (unsigned i = 1; i < depth; i++)
        buffer_append_string(input, "[");
    for (unsigned i = 1; i < depth; i++)
        buffer_append_string(input, "]");
    buffer_append(input, "}", 2);
}

static void test_nesting_is_bounded(void **state)
{
    _cleanup_(buffer_clear) Buffer input = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    json_t *message;

    nested(&input, VARLINK_DEPTH_MAX);
    assert_int_equal(take(&input, 10000, &message, &error), 0);
    json_decref(message);
    nested(&input, VARLINK_DEPTH_MAX + 1);
    assert_int_equal(take(&input, 10000, &message, &error), -1);
    assert_message_contains(&error, "deeper than 64 levels");

    /* brackets inside strings do not nest, whatever is escaped around them */
    buffer_reset(&input);
    buffer_append_string(&input, "{\"a\":\"\\\\\\\"");
    for (unsigned i = 0; i < 100; i++)
        buffer_append_string(&input, "[{");
    buffer_append(&input, "\"}", 3);
    assert_int_equal(take(&input, 10000, &message, &error), 0);
    json_decref(message);
}

static void test_garbage_is_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "", "not JSON" },
        { "hello", "not JSON" },
        { "{\"a\":1", "not JSON" },
        { "{\"a\":1}x", "not JSON" },
        { "[1]", "not a JSON object" },
        { "\"text\"", "not a JSON object" },
        { "null", "not a JSON object" },
        { "{\"a\":\"\xff\"}", "not JSON" },
        { "{\"a\":\"\\u0000\"}", "not JSON" },
        { "{\"a\":1,\"a\":2}", "duplicate" },
        { "{\"a\":99999999999999999999}", "too big" },
        { "\xef\xbb\xbf{}", "not JSON" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(buffer_clear) Buffer input = { 0 };
        _cleanup_(error_clear) Error error = { 0 };
        json_t *message;
        buffer_append(&input, cases[i].text, strlen(cases[i].text) + 1);
        assert_int_equal(take(&input, 1000, &message, &error), -1);
        assert_message_contains(&error, cases[i].part);
        assert_null(message);
    }
}

static void test_puts_what_it_takes(void **state)
{
    _cleanup_(buffer_clear) Buffer wire = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    json_t *messages[] = {
        varlink_call("org.wherry.Manager.List", NULL, false),
        varlink_call("org.wherry.Manager.Sync", json_pack("{s:s}", "connection", "orders"), true),
        varlink_reply(json_pack("{s:f}", "x", 0.1), true),
        varlink_reply(NULL, false),
        varlink_error("org.wherry.Manager.NotAllowed", json_pack("{s:s}", "group", "wherry")),
    };
    static const char *const texts[] = {
        "{\"method\":\"org.wherry.Manager.List\",\"parameters\":{}}",
        "{\"method\":\"org.wherry.Manager.Sync\",\"parameters\":{\"connection\":\"orders\"},\"more\":true}",
        NULL, /* how 0.1 is written is jansson's: what counts is that it comes back */
        "{\"parameters\":{}}",
        "{\"error\":\"org.wherry.Manager.NotAllowed\",\"parameters\":{\"group\":\"wherry\"}}",
    };

    for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
        size_t before = buffer_length(&wire);
        varlink_put(&wire, messages[i]);
        if (texts[i]) {
            assert_string_equal((const char *)buffer_bytes(&wire) + before, texts[i]);
            assert_int_equal(buffer_length(&wire) - before, strlen(texts[i]) + 1);
        }
    }
    for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
        json_t *message;
        assert_int_equal(take(&wire, VARLINK_MESSAGE_MAX, &message, &error), 0);
        assert_true(json_equal(message, messages[i]));
        json_decref(message);
        json_decref(messages[i]);
    }
    assert_int_equal(buffer_length(&wire), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_whole_messages_only), cmocka_unit_test(test_length_is_bounded),
        cmocka_unit_test(test_nesting_is_bounded),        cmocka_unit_test(test_garbage_is_refused),
        cmocka_unit_test(test_puts_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
