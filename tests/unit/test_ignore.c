/* What a .gitignore leaves out; each case was seen to be git's answer, too (`git check-ignore`). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/wherryctl/ignore.h"
#include "lib/basics/buffer.h"

static void test_rules(void **state)
{
    static const struct {
        const char *rules, *path;
        bool folder, left_out;
    } cases[] = {
        { "*.log", "a.log", false, true },
        { "*.log", "x/y/a.log", false, true },
        { "*.log", "a.log2", false, false },
        { "*.log\n!keep.log", "keep.log", false, false },
        { "!keep.log\n*.log", "keep.log", false, true },
        { "/build", "build", true, true },
        { "/build", "x/build", true, false },
        { "build/", "build", true, true },
        { "build/", "build", false, false },
        { "build/", "x/build", true, true },
        { "x/build", "x/build", false, true },
        { "x/build", "y/x/build", false, false },
        { "x/*.py", "x/a.py", false, true },
        { "x/*.py", "x/y/a.py", false, false },
        { "**/a", "a", false, true },
        { "**/a", "x/y/a", false, true },
        { "x/**", "x/y/z", false, true },
        { "x/**", "x", true, false },
        { "x/**/z", "x/z", false, true },
        { "x/**/z", "x/a/b/z", false, true },
        { "x/**/z", "x/az", false, false },
        { "a?c", "abc", false, true },
        { "a?c", "a/c", false, false },
        { "[a-c]x", "bx", false, true },
        { "[!a-c]x", "bx", false, false },
        { "[!a-c]x", "dx", false, true },
        { "[]a]x", "]x", false, true },
        { "[\\]]x", "]x", false, true },
        { "[a-", "[a-", false, false },
        { "[[:digit:]-]x", "7x", false, true },
        { "[[:digit:]-]x", "-x", false, true },
        { "[[:digit:]-]x", "ax", false, false },
        { "[!\x80-\xff]", "\x90", false, false },
        { "a**b", "axxb", false, true },
        { "a**b/c", "a/b/c", false, false },
        { "a/**b", "a/xb", false, true },
        { "**/**/z", "a/z", false, true },
        { "**/a/*b*c", "a/x/a/1b2c", false, true },
        { "*a*b/**/c*d", "xayb/p/q/cd", false, true },
        { "a\\", "a\\", false, false },
        { "a\\*", "a*", false, true },
        { "a\\*", "ab", false, false },
        { "# comment", "# comment", false, false },
        { "\\#a", "#a", false, true },
        { "\\!a", "!a", false, true },
        { "a  \r\nb", "a", false, true },
        { "\n\n", "a", false, false },
        { "/", "a", false, false },
        { "a", "b/a", false, true },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Ignore *ignore = ignore_new(cases[i].rules);
        if (ignore_matches(ignore, cases[i].path, cases[i].folder) != cases[i].left_out)
            fail_msg("\"%s\" and \"%s\"", cases[i].rules, cases[i].path);
        ignore_free(ignore);
    }
}

/* As many ways as there are to share a name among the asterisks: none of them is tried twice. */
static void test_many_asterisks(void **state)
{
    char rules[2000] = "", path[256] = "";
    for (int i = 0; i < 60; i++)
        strcat(rules, "*a");
    strcat(rules, "*b");
    memset(path, 'a', sizeof(path) - 1);
    Ignore *ignore = ignore_new(rules);
    assert_false(ignore_matches(ignore, path, false));
    ignore_free(ignore);
    *rules = '\0';
    for (int i = 0; i < 100; i++)
        strcat(rules, "**/a/");
    strcat(rules, "b");
    for (size_t i = 1; i < sizeof(path) - 2; i += 2)
        path[i] = '/';
    ignore = ignore_new(rules);
    assert_false(ignore_matches(ignore, path, false));
    ignore_free(ignore);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rules), cmocka_unit_test(test_many_asterisks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
