/* Manifests: what is taken from one, and what is said of one that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/sources/files/manifest.h"

#define JOB "\"job\": {\"namespace\": \"api\", \"name\": \"stripe.charges\"}"

static void test_manifests(void **state)
{
    static const struct {
        const char *text, *source;
        bool counted;
        uint64_t record_count;
    } cases[] = {
        { "{" JOB "}", "stripe.charges (api)", false, 0 },
        { "{" JOB ", \"run\": {\"runId\": \"r-1\", \"facets\": {\"_filedgeManifest\": {\"manifest_version\": \"1\", "
          "\"record_count\": 1500}}}, \"inputs\": [{\"facets\": {\"_sourceRange\": {\"from\": 1}}}, {}], \"other\": "
          "[]}",
          "stripe.charges (api), run r-1, 1500 rows", true, 1500 },
        { "{" JOB ", \"run\": {\"runId\": \"\", \"facets\": {\"_filedgeManifest\": {\"record_count\": 1}}}}",
          "stripe.charges (api), 1 row", true, 1 },
        { "{" JOB ", \"run\": {\"facets\": {\"_filedgeManifest\": {\"record_count\": null}}}}", "stripe.charges (api)",
          false, 0 },
        { "{" JOB ", \"run\": [], \"inputs\": {}}", "stripe.charges (api)", false, 0 },
        { "{\"job\": {\"namespace\": \"a\\u0007\", \"name\": \"b\\nc\"}}", "b\\x0Ac (a\\x07)", false, 0 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(manifest_clear) Manifest manifest = { 0 };
        _cleanup_(error_clear) Error error = { 0 };
        assert_int_equal(manifest_parse(cases[i].text, strlen(cases[i].text), &manifest, &error), 0);
        assert_string_equal(manifest.source, cases[i].source);
        assert_int_equal(manifest.counted, cases[i].counted);
        assert_int_equal(manifest.record_count, cases[i].record_count);
    }
}

static void test_what_is_none(void **state)
{
    static const char *const cases[][2] = {
        { "", "not valid JSON at byte 1: input length is 0" },
        { "{", "not valid JSON at byte 2: unexpected end of data" },
        { "[]", "not a JSON object" },
        { "{}",
          "it lacks \"job.namespace\": a manifest says in \"job\" by \"namespace\" and \"name\" where the rows come "
          "from" },
        { "{\"job\": {\"namespace\": \"api\", \"name\": \"\"}}",
          "it lacks \"job.name\": a manifest says in \"job\" by \"namespace\" and \"name\" where the rows come from" },
        { "{" JOB ", \"run\": {\"facets\": {\"_filedgeManifest\": {\"manifest_version\": \"2\"}}}}",
          "its \"manifest_version\" is 2; only \"1\" is known" },
        { "{" JOB ", \"run\": {\"facets\": {\"_filedgeManifest\": {\"manifest_version\": 1}}}}",
          "its \"manifest_version\" is of another kind than text; only \"1\" is known" },
        { "{" JOB ", \"run\": {\"facets\": {\"_filedgeManifest\": {\"record_count\": -1}}}}",
          "its \"record_count\" is not a number of rows" },
        { "{" JOB ", \"run\": {\"facets\": {\"_filedgeManifest\": {\"record_count\": \"7\"}}}}",
          "its \"record_count\" is not a number of rows" },
        { "{" JOB ", \"inputs\": [{}, {\"facets\": {\"_sourceRange\": [1]}}]}",
          "\"_sourceRange\" of input 2 is not an object" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(manifest_clear) Manifest manifest = { 0 };
        _cleanup_(error_clear) Error error = { 0 };
        assert_int_equal(manifest_parse(cases[i][0], strlen(cases[i][0]), &manifest, &error), -1);
        assert_int_equal(error.kind, ERROR_TEMPORARY);
        assert_string_equal(error.message, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifests),
        cmocka_unit_test(test_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
