/* What a sync's worker and writer get of a connection, with its secrets and keys in their places and masked. */
#include "tests/unit/config-files.h"

#include "daemon/wherryd/secret.h"

/* --- what a sync gets --- */

static void test_resolve_parts(void **state)
{
    write_text("etc/pipelines.d/one.yaml", ALL);
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    _cleanup_(error_clear) Error error = { 0 };
    Mask *mask = mask_new();
    json_t *worker, *writer;
    assert_int_equal(config_resolve(set->connections[0], "run-1", true, mask, &worker, &writer, &error), 0);
    _cleanup_(freep) char *to_worker = json_dumps(worker, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *to_writer = json_dumps(writer, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *worker_text = relative(to_worker), *writer_text = relative(to_writer);
    assert_string_equal(
        writer_text,
        "{\"commit_interval\":1,\"connection\":\"one\",\"dest_table\":\"t\",\"destination\":{\"busy_"
        "timeout\":60,\"path\":\"@/etc/pipelines.d/x.db\",\"type\":\"sqlite\"},\"files\":true,\"full\":"
        "true,\"log_table\":false,\"max_value_size\":16777216,\"run_id\":\"run-1\",\"sandbox\":{\"mode\":\"default\"},"
        "\"write_mode\":\"append\"}");
    assert_string_equal(
        worker_text,
        "{\"columns\":[{\"dest\":\"a\",\"required\":true,\"source\":\"a\",\"type\":\"string\"}],"
        "\"commit_interval\":1,\"connection\":\"one\",\"csv\":{\"delimiter\":\",\",\"empty\":\"null\","
        "\"header\":true,\"quote\":\"\\\"\"},\"dest_table\":\"t\",\"encoding\":\"utf-8\",\"format\":"
        "\"csv\",\"frequency\":900,\"full\":true,\"log_level\":\"info\",\"log_table\":false,\"max_value_size\":"
        "16777216,"
        "\"paused\":false,\"retry_cap\":3,\"run_id\":\"run-1\",\"sandbox\":{\"mode\":\"default\"},"
        "\"source\":{\"dir\":\"@/etc/pipelines.d/in\",\"file_pattern\":\"*\",\"type\":\"files\","
        "\"watch\":false},\"source_manifest\":\"optional\",\"stall_timeout\":1800,\"write_mode\":\"append\"}");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* A source of operations: what its program and its writer are told; and defaults that are meant for others. */
static void test_operations(void **state)
{
    mkdir("etc", 0700);
    mkdir("etc/pipelines.d", 0700);
    write_text("etc/wherry.yaml", "defaults: {retry_cap: 7, history: true, frequency: 1h}\n");
    write_text("emit.yaml", "source: {type: exec, command: [./emit.py, ./x], configuration: {city: Oslo, n: 3}}\n"
                            "destination: {type: sqlite, path: x.db}\nnaming: source\n");
    write_text("orders.yaml", ALL);
    _cleanup_(config_set_freep) ConfigSet *files = load_file("orders.yaml", NULL);
    _cleanup_(freep) char *said = said_of_set(files);
    assert_string_equal(said, "");
    _cleanup_(config_set_freep) ConfigSet *set = load_file("emit.yaml", NULL);
    remove("etc/wherry.yaml");
    assert_int_equal(set->connection_count, 1);
    assert_false(set->connections[0]->local);
    Mask *mask = mask_new();
    json_t *worker, *writer;
    assert_int_equal(config_resolve(set->connections[0], "run-1", true, mask, &worker, &writer, NULL), 0);
    _cleanup_(freep) char *to_worker = json_dumps(worker, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *to_writer = json_dumps(writer, JSON_COMPACT | JSON_SORT_KEYS);
    _cleanup_(freep) char *shown_worker = relative(to_worker);
    _cleanup_(freep) char *shown_writer = relative(to_writer);
    assert_non_null(strstr(shown_worker,
                           "\"source\":{\"command\":[\"@/./emit.py\",\"./x\"],\"configuration\":{\"city\":"
                           "\"Oslo\",\"n\":3},\"folder\":\"@\",\"type\":\"exec\"}"));
    assert_non_null(strstr(shown_worker, "\"naming\":\"source\""));
    assert_null(strstr(shown_worker, "retry_cap"));
    assert_string_equal(
        shown_writer,
        "{\"commit_interval\":1,\"connection\":\"emit\",\"destination\":{\"busy_timeout\":60,\"path\":"
        "\"@/x.db\",\"type\":\"sqlite\"},\"files\":false,\"full\":true,\"history\":true,"
        "\"log_table\":false,\"max_value_size\":16777216,\"on_schema_change\":\"allow_all\",\"run_id\":\"run-1\","
        "\"sandbox\":{\"mode\":\"default\"},\"strip_nul\":false}");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* Where a url has its password, as libpq reads it; what is not found is neither masked nor warned of. */
static void test_secret_in_url(void **state)
{
    (void)state;
    static const struct {
        const char *url, *password; /* NULL: none */
    } cases[] = {
        { "postgresql://me:secret@h/d", "secret" },
        { "postgresql://me:se@cret@h/d", "se@cret" },
        { "postgresql://me:se?cr#et@h/d", "se?cr#et" },
        { "https://me:secret@h/d?at=a:b@c", "secret" },
        { "https://h:8086?at=a:b@c", NULL },
        { "postgresql://me@h:5432/d?user=a:b@c", NULL },
        { "postgresql:///d?user=me&password=sec#ret&port=1", "sec#ret" },
        { "postgresql:///d?mypassword=x", NULL },
        { "host=h password=se&c#ret dbname=d", "se&c#ret" },
        { "host=h password = secret dbname=d", "secret" },
        { "password='se cr\\'et' dbname=d", "se cr\\'et" },
        { "password='' dbname=d", NULL },
        { "host=password", NULL },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        size_t n = 0;
        const char *found = secret_in_url(cases[i].url, &n);
        _cleanup_(freep) char *password = found ? xstrndup(found, n) : NULL;
        assert_string_equal(password ? password : "none", cases[i].password ? cases[i].password : "none");
    }
}

/* No key of a files source or a SQLite destination takes a secret: connections made by hand here. */
static void assert_object(const char *content, const char *expected)
{
    write_text("values.json", content);
    ConnectionConfig config = { .name = (char *)"one",
                                .source = "fancy",
                                .json = (char *)"{\"source\": {\"configuration\": {\"$secret\": {\"kind\": \"json\", "
                                                "\"name\": \"values.json\"}}}}" };
    _cleanup_(error_clear) Error error = { 0 };
    Mask *mask = mask_new();
    json_t *worker = NULL, *writer = NULL;
    if (config_resolve(&config, "run-1", false, mask, &worker, &writer, &error) < 0) {
        assert_string_equal(error.message, expected);
        assert_int_equal(error.kind, ERROR_CONFIGURATION);
    } else {
        json_t *values = json_object_get(json_object_get(worker, "source"), "configuration");
        _cleanup_(freep) char *text = json_dumps(values, JSON_COMPACT), *masked = mask_apply(mask, text, strlen(text));
        assert_string_equal(masked ? masked : text, expected);
    }
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

static void test_resolve_objects(void **state)
{
    assert_object("{\"key\": \"is-secret\", \"n\": \"1\"}\n", "{\"key\":\"****\",\"n\":\"1\"}");
    assert_object("{}", "{}");
    assert_object("[]", "the secret \"!json values.json\" is not a JSON object");
    assert_object("{\n \"key\": \"is-secret\",}", "the secret \"!json values.json\" is not JSON: line 2, column 21");
    assert_object("", "the secret \"!json values.json\" is not JSON: line 1, column 0");
}

static void test_resolve_secrets(void **state)
{
    write_text("password", "from a file\n");
    mkdir("credentials", 0700);
    write_text("credentials/token", "from systemd\r\n");
    setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
    setenv("WHERRY_TEST_SECRET", "from the environment", 1);
    ConnectionConfig config = {
        .name = (char *)"one",
        .source = "fancy",
        .json = (char *)"{\"name\": \"one\", \"source\": {\"key\": {\"$secret\": {\"kind\": \"env\", \"name\": "
                        "\"WHERRY_TEST_SECRET\"}}, \"list\": [1, {\"$secret\": {\"kind\": \"file\", \"name\": "
                        "\"password\"}}]}, \"destination\": {\"token\": {\"$secret\": {\"kind\": \"credential\", "
                        "\"name\": \"token\"}}, \"url\": \"db://me:pass%40word@host/x\"}}"
    };
    _cleanup_(error_clear) Error error = { 0 };
    Mask *mask = mask_new();
    json_t *worker, *writer;
    assert_int_equal(config_resolve(&config, "run-1", false, mask, &worker, &writer, &error), 0);
    _cleanup_(freep) char *to_worker = json_dumps(json_object_get(worker, "source"), JSON_COMPACT);
    _cleanup_(freep) char *to_writer = json_dumps(json_object_get(writer, "destination"), JSON_COMPACT);
    assert_string_equal(to_worker, "{\"key\":\"from the environment\",\"list\":[1,\"from a file\"]}");
    assert_string_equal(to_writer, "{\"token\":\"from systemd\",\"url\":\"db://me:pass%40word@host/x\"}");
    assert_null(json_object_get(worker, "destination"));
    assert_null(json_object_get(writer, "source"));
    static const char text[] = "from the environment, from a file, from systemd, pass%40word and pass@word";
    _cleanup_(freep) char *masked = mask_apply(mask, text, strlen(text));
    assert_string_equal(masked, "****, ****, ****, **** and ****");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* A reference in a file, all the way to the worker. */
static void test_secret_of_a_file(void **state)
{
    setenv("WHERRY_TEST_PATTERN", "*.secret", 1);
    write_text("etc/pipelines.d/one.yaml", FREQUENCY FORMAT TABLE COLUMNS DESTINATION
               "source: {type: files, dir: in, file_pattern: !env WHERRY_TEST_PATTERN}\n");
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    assert_null(strstr(set->connections[0]->json, "*.secret"));
    Mask *mask = mask_new();
    _cleanup_(error_clear) Error error = { 0 };
    json_t *worker, *writer;
    assert_int_equal(config_resolve(set->connections[0], "run-1", false, mask, &worker, &writer, &error), 0);
    const json_t *pattern = json_object_get(json_object_get(worker, "source"), "file_pattern");
    assert_string_equal(json_string_value(pattern), "*.secret");
    json_decref(worker);
    json_decref(writer);
    mask_free(mask);
}

/* --- keys of protected columns --- */

#define KEY_COLUMNS(what, reference)                                                          \
    FREQUENCY SOURCE FORMAT TABLE DESTINATION "columns:\n  - {source: a, type: string, " what \
                                              ": {algorithm: " reference "}}\n"
#define KEY_TEXT "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" /* 0123456789abcdef, twice */

/* What the worker gets as the key, or the error. The caller frees. */
static char *resolve_key(const char *pipeline, Mask *mask)
{
    write_text("etc/pipelines.d/one.yaml", pipeline);
    _cleanup_(config_set_freep) ConfigSet *set = load_all(NULL);
    expect_said(set, "");
    assert_null(strstr(set->connections[0]->json, "0123456789abcdef"));
    assert_null(strstr(set->connections[0]->json, KEY_TEXT));
    _cleanup_(error_clear) Error error = { 0 };
    json_t *worker, *writer;
    if (config_resolve(set->connections[0], "run-1", false, mask, &worker, &writer, &error) < 0) {
        assert_int_equal(error.kind, ERROR_CONFIGURATION);
        return error_format(&error);
    }
    const json_t *column = json_array_get(json_object_get(worker, "columns"), 0);
    const json_t *protection = json_object_get(column, json_object_get(column, "hash") ? "hash" : "encrypt");
    char *key = xstrdup(json_string_value(json_object_get(protection, "key")));
    _cleanup_(freep) char *to_writer = json_dumps(writer, JSON_COMPACT);
    assert_null(strstr(to_writer, key));
    json_decref(worker);
    json_decref(writer);
    return key;
}

static void test_keys_of_columns(void **state)
{
    write_text("raw", "0123456789abcdef0123456789abcdef\n");
    write_bytes("binary", "\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\7\0\1\2\3\4\5\6\n\n", 33);
    write_text("base64", KEY_TEXT "\n");
    write_text("short", "too short\n");
    mkdir("credentials", 0700);
    write_text("credentials/data", "0123456789abcdef0123456789abcdef");
    setenv("CREDENTIALS_DIRECTORY", "credentials", 1);
    setenv("WHERRY_TEST_KEY", KEY_TEXT, 1);
    setenv("WHERRY_TEST_NOT_BASE64", "not base64 at all, but long enough to be a key", 1);
    setenv("WHERRY_TEST_SHORT", "c2hvcnQ=", 1);
    setenv("WHERRY_TEST_EMPTY", "", 1);
    unsetenv("WHERRY_TEST_NONE");
    static const struct {
        const char *pipeline, *expected;
    } cases[] = {
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_KEY"), KEY_TEXT },
        { KEY_COLUMNS("hash", "hmac-sha256, key: !env WHERRY_TEST_KEY"), KEY_TEXT },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !file ../../raw"), KEY_TEXT },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !credential data"), KEY_TEXT },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !file ../../binary"),
          "AAECAwQFBgcAAQIDBAUGBwABAgMEBQYHAAECAwQFBgo=" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: !file ../../base64"),
          "TURFeU16UTFOamM0T1dGaVkyUmxaakF4TWpNME5UWTNPRGxoWW1Oa1pXWT0=" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !file ../../base64"),
          "one.yaml:7:70: the key \"!file @/etc/pipelines.d/../../base64\" has 44 bytes; it must have exactly 32, as "
          "they are: a file's "
          "content is not taken for base64" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: secrets:/none/there"),
          "one.yaml:7:67: cannot read the secret \"secrets:/none/there\": no such file or directory" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: !file ../../short"),
          "one.yaml:7:67: the key \"!file @/etc/pipelines.d/../../short\" has 9 bytes; it must have at least 32, as "
          "they are: a file's content "
          "is not taken for base64" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_NONE"),
          "one.yaml:7:70: the key \"env:WHERRY_TEST_NONE\" is not set in wherryd's environment" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_NOT_BASE64"),
          "one.yaml:7:70: the key \"env:WHERRY_TEST_NOT_BASE64\" is not base64 text; \"openssl rand -base64 32\" makes "
          "one" },
        { KEY_COLUMNS("encrypt", "aes-256-gcm, key: !env WHERRY_TEST_SHORT"),
          "one.yaml:7:70: the key \"!env WHERRY_TEST_SHORT\" has 5 bytes; it must have exactly 32" },
        { KEY_COLUMNS("hash", "hmac-sha256, key: env:WHERRY_TEST_EMPTY"),
          "one.yaml:7:67: the key \"env:WHERRY_TEST_EMPTY\" has 0 bytes; it must have at least 32" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Mask *mask = mask_new();
        _cleanup_(freep) char *got = resolve_key(cases[i].pipeline, mask);
        _cleanup_(freep) char *shown = relative(got);
        assert_string_equal(shown, cases[i].expected);
        mask_free(mask);
    }
}

/* As it was given, as the worker gets it, and in hexadecimal. */
static void test_keys_are_masked(void **state)
{
    setenv("WHERRY_TEST_KEY", KEY_TEXT, 1);
    Mask *mask = mask_new();
    free(resolve_key(KEY_COLUMNS("encrypt", "aes-256-gcm, key: env:WHERRY_TEST_KEY"), mask));
    static const char text[] = "a " KEY_TEXT " b 0123456789abcdef0123456789abcdef c "
                               "3031323334353637383961626364656630313233343536373839616263646566";
    _cleanup_(freep) char *masked = mask_apply(mask, text, strlen(text));
    assert_string_equal(masked, "a **** b **** c ****");
    mask_free(mask);
}

static void test_missing_secrets(void **state)
{
    write_text("empty", "\n");
    write_bytes("nul", "sec\0ret-value", 13);
    write_text("latin", "s\xe9"
                        "cret-value");
    _cleanup_(freep) char *large = xmalloc(SECRET_BYTES_MAX + 2);
    memset(large, 'x', SECRET_BYTES_MAX + 1);
    write_bytes("large", large, SECRET_BYTES_MAX + 1);
    mkdir("folder", 0700);
    mkfifo("pipe", 0600);
    unsetenv("CREDENTIALS_DIRECTORY");
    setenv("WHERRY_TEST_EMPTY", "", 1);
    static const struct {
        const char *kind, *name, *said;
    } cases[] = {
        { "env", "WHERRY_TEST_NONE", "the secret \"!env WHERRY_TEST_NONE\" is not set in wherryd's environment" },
        { "env", "WHERRY_TEST_EMPTY", "the secret \"!env WHERRY_TEST_EMPTY\" is empty" },
        { "file", "none", "cannot read the secret \"!file none\": no such file or directory" },
        { "file", "empty", "the secret \"!file empty\" is empty" },
        { "file", "nul", "the secret \"!file nul\" holds a NUL byte" },
        { "file", "latin", "the secret \"!file latin\" is not UTF-8 text" },
        { "file", "large", "the secret \"!file large\" is larger than 64 KiB" },
        { "file", "folder", "the secret \"!file folder\" is not a regular file" },
        { "file", "pipe", "the secret \"!file pipe\" is not a regular file" },
        { "credential", "key",
          "the secret \"!credential key\" needs systemd: add \"LoadCredential=key:/path/to/it\" to wherryd.service" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        json_t *value = json_pack("{s:{s:{s:s,s:s}}}", "a", "$secret", "kind", cases[i].kind, "name", cases[i].name);
        Mask *mask = mask_new();
        _cleanup_(error_clear) Error error = { 0 };
        assert_int_equal(secret_resolve(value, mask, &error), -1);
        assert_int_equal(error.kind, ERROR_CONFIGURATION);
        assert_string_equal(error.message, cases[i].said);
        json_decref(value);
        mask_free(mask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_pipelines(test_resolve_parts),   in_pipelines(test_operations),        in_pipelines(test_resolve_secrets),
        in_pipelines(test_resolve_objects), cmocka_unit_test(test_secret_in_url), in_pipelines(test_secret_of_a_file),
        in_pipelines(test_keys_of_columns), in_pipelines(test_keys_are_masked),   in_pipelines(test_missing_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
