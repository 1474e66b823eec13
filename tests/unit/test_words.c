/* What is quoted of an installer that fails, and what is shown of all that it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "connectors/environment/words.h"

static void assert_reason(const char *said, const char *reason, const char *shown)
{
    _cleanup_(words_clear) Words words = { 0 };
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    words_take(&words, said, strlen(said), to);
    words_end(&words, to);
    fclose(to);
    _cleanup_(freep) char *why = words_reason(&words);
    assert_string_equal(why, reason);
    if (shown)
        assert_string_equal(text, shown);
    free(text);
}

static void test_reasons(void **state)
{
    assert_reason("", "", "");
    assert_reason("one\n\n  two  \n\n", "two  ", "one\n\n  two  \n\n");
    assert_reason("Looking\nERROR: Could not find tool (from versions: none)\nERROR: No matching distribution\n",
                  "Could not find tool (from versions: none); No matching distribution", NULL);
    assert_reason("ERROR: Exception:\nTraceback\nOSError: no space left", "OSError: no space left", NULL);
    assert_reason("  × No solution\n  ╰─▶ Because nothing\n      is there.\n      hint: look\n",
                  "Because nothing is there.", NULL);
    assert_reason("error: No solution\n  cause: none\n", "No solution: none", NULL);
}

/* pip, of a package that needs a compiler or a library's headers. */
static void test_a_package_that_cannot_be_built(void **state)
{
    assert_reason(
        "  error: subprocess-exited-with-error\n  \n"
        "  × Getting requirements to build wheel did not run successfully.\n  │ exit code: 1\n"
        "  ╰─> [3 lines of output]\n      running egg_info\n\n      Error: pg_config executable not found.\n"
        "      [end of output]\n  \n  note: This error originates from a subprocess\n"
        "error: subprocess-exited-with-error\n\n"
        "× Getting requirements to build wheel did not run successfully.\n│ exit code: 1\n"
        "╰─> See above for output.\n\nnote: This error originates from a subprocess\n",
        "Getting requirements to build wheel did not run successfully: Error: pg_config executable not found.", NULL);
}

static void test_it_drives_no_terminal(void **state)
{
    assert_reason("a\tb\r\n\x1b[2Jc\xff\n", "\\x1B[2Jc\\xFF", "a b\n\\x1B[2Jc\\xFF\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_a_package_that_cannot_be_built),
        cmocka_unit_test(test_it_drives_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
