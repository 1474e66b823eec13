/* Which project a line of requirements.txt asks for, and what of the file reaches the installer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "connectors/environment/requirements.h"
#include "lib/basics/path.h"

static void test_names(void **state)
{
    static const char *const cases[][2] = {
        { "requests", "requests" },
        { "requests==2.31.0", "requests" },
        { "fivetran_connector_sdk", "fivetran-connector-sdk" },
        { "Fivetran.Connector__SDK[extra] >= 1, <3", "fivetran-connector-sdk" },
        { "fivetran-connector-sdk>=1; python_version < '3.13'", "fivetran-connector-sdk" },
        { "fivetran-connector-sdk @ https://example.org/x.tar.gz", "fivetran-connector-sdk" },
        { "fivetran-connector-sdk~=2.0", "fivetran-connector-sdk" },
        { "fivetran-connector-sdk (>=2)", "fivetran-connector-sdk" },
        { "git+https://example.org/sdk.git#egg=fivetran_connector_sdk&subdirectory=x", "fivetran-connector-sdk" },
        { "./wheels/fivetran_connector_sdk-2.13.1-py3-none-any.whl", "fivetran-connector-sdk" },
        { "fivetran-connector-sdk-extras", "fivetran-connector-sdk-extras" },
        { "-e git+https://example.org/sdk.git#egg=fivetran_connector_sdk", "fivetran-connector-sdk" },
        { "-r other.txt", NULL },
        { "-c limits.txt#egg=tool", NULL },
        { "--index-url https://example.org", NULL },
        { "./package", NULL },
        { "git+https://example.org/sdk.git#egg=", NULL },
        { "./-1.0.whl", NULL },
        { "", NULL },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *name = requirement_name(cases[i][0]);
        if (cases[i][1])
            assert_string_equal(name ? name : cases[i][0], cases[i][1]);
        else
            assert_null(name);
    }
}

static void put(const char *folder, const char *name, const char *text)
{
    _cleanup_(freep) char *path = path_join(folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
}

static int make_project(void **state)
{
    char path[] = "/tmp/test-requirements-XXXXXX";
    *state = xstrdup(mkdtemp(path));
    return 0;
}

static int remove_project(void **state)
{
    path_remove_tree(-1, *state); /* an absolute name needs no folder */
    free(*state);
    return 0;
}

static char *text_of(const char *project, Requirements *ret)
{
    Error error = { 0 };
    assert_int_equal(requirements_read(project, ret, &error), 0);
    return buffer_take_string(&ret->text);
}

static void test_no_file(void **state)
{
    _cleanup_(requirements_clear) Requirements requirements = { 0 };
    _cleanup_(freep) char *text = text_of(*state, &requirements);
    assert_string_equal(text, "");
    assert_int_equal(requirements.count, 0);
}

static void test_what_reaches_the_installer(void **state)
{
    _cleanup_(requirements_clear) Requirements requirements = { 0 };
    put(*state, "requirements.txt",
        "\xef\xbb\xbf# the tools\r\nRequests>=2  # http\r\n\r\nfivetran_connector_sdk[x]>=1\r\n-r more.txt\r\n"
        "numpy \\\r\n  ==1.0 --hash=sha256:abc\n--extra-index-url https://example.org/#simple\n");
    put(*state, "more.txt", "fivetran-connector-sdk\ridna\r-c limits.txt");
    _cleanup_(freep) char *text = text_of(*state, &requirements);
    _cleanup_(freep) char *expected = xasprintf("Requests>=2\nidna\n-c %s/limits.txt\nnumpy   ==1.0 --hash=sha256:abc\n"
                                                "--extra-index-url https://example.org/#simple\n",
                                                (char *)*state);
    assert_string_equal(text, expected);
    assert_true(requirements.names_requests);
    assert_int_equal(requirements.count, 3);
    assert_string_equal(requirements.left_out, "fivetran-connector-sdk");
}

static void test_local_packages(void **state)
{
    static const char *const lines[] = { "./package", "-e .", "--editable=./x", "file:///srv/x", "x @ file:///srv/x" };
    for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
        _cleanup_(requirements_clear) Requirements requirements = { 0 };
        put(*state, "requirements.txt", lines[i]);
        free(text_of(*state, &requirements));
        assert_true(requirements.local);
        assert_int_equal(requirements.count, 1);
    }
}

static void assert_refused(const char *project, const char *why)
{
    _cleanup_(requirements_clear) Requirements requirements = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(requirements_read(project, &requirements, &error), -1);
    assert_string_equal(error.message, why);
}

static void test_bad_files(void **state)
{
    put(*state, "requirements.txt", "-r absent.txt");
    assert_refused(*state, "\"absent.txt\" cannot be read: no such file or directory");
    put(*state, "requirements.txt", "-r absent\x1b[2J");
    assert_refused(*state, "\"absent\\x1B[2J\" cannot be read: no such file or directory");
    put(*state, "requirements.txt", "-r requirements.txt");
    assert_refused(*state, "requirements.txt includes files more than 10 deep, \"requirements.txt\" last");
    put(*state, "requirements.txt", "\xff\xfer");
    assert_refused(*state, "\"requirements.txt\" is not UTF-8 text; save it so");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test_setup_teardown(test_no_file, make_project, remove_project),
        cmocka_unit_test_setup_teardown(test_what_reaches_the_installer, make_project, remove_project),
        cmocka_unit_test_setup_teardown(test_local_packages, make_project, remove_project),
        cmocka_unit_test_setup_teardown(test_bad_files, make_project, remove_project),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
