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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rules) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
