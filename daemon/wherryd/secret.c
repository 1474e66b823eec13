/*
 * A secret is fetched when a sync starts and not before: the daemon keeps references only, so that a rotated password
 * is used by the next sync and none lies in memory in between. Messages name where a secret should have been, never
 * what was found there.
 */
#include "daemon/wherryd/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/basics/base64.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/encrypted-configuration.h"

static void wipe(Buffer *buffer)
{
    if (buffer->data)
        explicit_bzero(buffer->data, buffer->allocated);
    buffer_clear(buffer);
}

/* The content of PATH as it lies. */
static int read_bytes(const char *path, const char *what, size_t most, Buffer *ret, Error *error)
{
    assert(path); /* no reference is without a name: config-value.c */
    _cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot read the secret %s", what);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "the secret %s is not a regular file", what);
    buffer_reserve(ret, most + 4096); /* at once: growing would leave copies */
    for (;;) {
        ssize_t n = read(fd, buffer_reserve(ret, 4096), 4096);
        if (n < 0)
            return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot read the secret %s", what);
        if (n == 0)
            return 0;
        buffer_added(ret, (size_t)n);
        if (buffer_length(ret) > most)
            return error_set(error, ERROR_CONFIGURATION, "the secret %s is larger than %zu KiB", what, most / 1024);
    }
}

/* The content of PATH, which is text, without its final newline. */
static int read_secret_file(const char *path, const char *what, char **ret, Error *error)
{
    _cleanup_(wipe) Buffer content = { 0 };
    if (read_bytes(path, what, SECRET_BYTES_MAX, &content, error) < 0)
        return -1;
    size_t n = buffer_length(&content);
    const char *text = (const char *)buffer_bytes(&content);
    if (n > 0 && text[n - 1] == '\n')
        n -= n > 1 && text[n - 2] == '\r' ? 2 : 1;
    *ret = xstrndup(n > 0 ? text : "", n);
    if (n > 0 && memchr(text, '\0', n))
        error_set(error, ERROR_CONFIGURATION, "the secret %s holds a NUL byte", what);
    return strlen(*ret) == n ? 0 : -1;
}

static int credential_path(const char *name, const char *what, char **ret, Error *error)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder)
        return error_set(error, ERROR_CONFIGURATION,
                         "the secret %s needs systemd: add \"LoadCredential=%s:/path/to/it\" to wherryd.service", what,
                         name);
    *ret = path_join(folder, name);
    return 0;
}

static int read_credential(const char *name, const char *what, char **ret, Error *error)
{
    _cleanup_(freep) char *path = NULL;
    if (credential_path(name, what, &path, error) < 0)
        return -1;
    return read_secret_file(path, what, ret, error);
}

static int read_environment(const char *name, const char *what, char **ret, Error *error)
{
    const char *value = getenv(name);
    if (!value)
        return error_set(error, ERROR_CONFIGURATION, "the secret %s is not set in wherryd's environment", what);
    *ret = xstrdup(value);
    return 0;
}

static int fetch(const json_t *reference, char **ret, Error *error)
{
    const char *kind = json_string_value(json_object_get(reference, "kind"));
    const char *name = json_string_value(json_object_get(reference, "name"));
    assert(kind && name);
    _cleanup_(freep) char *printable = text_escape_shortened(name, strlen(name), 200);
    _cleanup_(freep) char *what = xasprintf("\"!%s %s\"", kind, printable);
    _cleanup_(freep) char *value = NULL;
    int r;
    if (strcmp(kind, "env") == 0)
        r = read_environment(name, what, &value, error);
    else if (strcmp(kind, "file") == 0)
        r = read_secret_file(name, what, &value, error);
    else
        r = read_credential(name, what, &value, error);
    assert(value || r != 0);
    size_t n = r == 0 ? strlen(value) : 0;
    if (r == 0 && n == 0)
        r = error_set(error, ERROR_CONFIGURATION, "the secret %s is empty", what);
    else if (r == 0 && utf8_valid_length(value, n) < n)
        r = error_set(error, ERROR_CONFIGURATION, "the secret %s is not UTF-8 text", what);
    if (r < 0) {
        if (value)
            explicit_bzero(value, strlen(value));
        return -1;
    }
    *ret = take_ptr(value);
    return 0;
}

/* --- a whole object --- */

static void mask_texts(Mask *mask, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)object, key, value)
        if (json_is_string(value))
            mask_add(mask, json_string_value(value));
}

/* jansson's own words quote the text that it stumbled over: they are not passed on. */
static int fetch_object(const json_t *reference, Mask *mask, json_t **ret, Error *error)
{
    const char *path = json_string_value(json_object_get(reference, "name"));
    _cleanup_(freep) char *printable = text_escape_shortened(path, strlen(path), 200);
    _cleanup_(freep) char *what = xasprintf("\"!json %s\"", printable);
    _cleanup_(wipe) Buffer content = { 0 };
    json_error_t problem;
    if (read_bytes(path, what, SECRET_OBJECT_MAX, &content, error) < 0)
        return -1;
    *ret = json_loadb((const char *)buffer_bytes(&content), buffer_length(&content), JSON_REJECT_DUPLICATES, &problem);
    if (!*ret)
        return error_set(error, ERROR_CONFIGURATION, "the secret %s is not JSON: line %d, column %d", what,
                         problem.line, problem.column);
    if (!json_is_object(*ret))
        error_set(error, ERROR_CONFIGURATION, "the secret %s is not a JSON object", what);
    else if (configuration_decrypt(*ret, error) < 0)
        error_prefix(error, "the secret %s: ", what);
    else {
        mask_texts(mask, *ret);
        return 0;
    }
    json_decref(*ret);
    return -1;
}

/* --- key material --- */

static int key_from_text(const char *text, const char *what, Buffer *ret, Error *error)
{
    size_t n = strlen(text), length = 0;
    if (!base64_decode(text, n, buffer_reserve(ret, n + 1), &length))
        return error_set(error, ERROR_CONFIGURATION,
                         "the key %s is not base64 text; \"openssl rand -base64 32\" makes one", what);
    buffer_added(ret, length);
    return 0;
}

/* Filedge takes one newline off, so that what an editor has saved is still the key. */
static int key_from_file(const char *path, const char *what, Buffer *ret, Error *error)
{
    if (read_bytes(path, what, SECRET_BYTES_MAX, ret, error) < 0)
        return -1;
    if (buffer_length(ret) > 0 && ret->data[ret->end - 1] == '\n')
        ret->end--;
    return 0;
}

static int read_key(const char *kind, const char *name, const char *what, Buffer *ret, Error *error)
{
    _cleanup_(freep) char *path = NULL;
    if (strcmp(kind, "env") == 0) {
        const char *value = getenv(name);
        if (value)
            return key_from_text(value, what, ret, error);
        return error_set(error, ERROR_CONFIGURATION, "the key %s is not set in wherryd's environment", what);
    }
    if (strcmp(kind, "file") == 0)
        return key_from_file(name, what, ret, error);
    if (credential_path(name, what, &path, error) < 0)
        return -1;
    return key_from_file(path, what, ret, error);
}

static int check_key_length(const json_t *reference, const char *what, size_t n, Error *error)
{
    size_t minimum = (size_t)json_integer_value(json_object_get(reference, "minimum"));
    size_t maximum = (size_t)json_integer_value(json_object_get(reference, "maximum"));
    if (n >= minimum && (maximum == 0 || n <= maximum))
        return 0;
    bool env = strcmp(json_string_value(json_object_get(reference, "kind")), "env") == 0;
    return error_set(error, ERROR_CONFIGURATION, "the key %s has %zu byte%s; it must have %s%zu%s", what, n,
                     n == 1 ? "" : "s", maximum == minimum ? "exactly " : "at least ", minimum,
                     env ? "" : ", as they are: a file's content is not taken for base64");
}

/* What would give a key away: its base64 and hexadecimal text, and the bytes where they are text. */
static void mask_key(Mask *mask, const Buffer *key, const char *encoded)
{
    size_t n = buffer_length(key);
    _cleanup_(freep) char *text = xstrndup((const char *)buffer_bytes(key), n);
    _cleanup_(freep) char *hex = xmalloc(2 * n + 1);
    for (size_t i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", buffer_bytes(key)[i]);
    hex[2 * n] = '\0';
    mask_add(mask, encoded);
    mask_add(mask, hex);
    if (strlen(text) == n)
        mask_add(mask, text);
    explicit_bzero(text, n);
    explicit_bzero(hex, 2 * n);
}

static int fetch_key(const json_t *reference, Mask *mask, json_t **ret, Error *error)
{
    const char *kind = json_string_value(json_object_get(reference, "kind"));
    const char *name = json_string_value(json_object_get(reference, "name"));
    bool prefix = json_is_true(json_object_get(reference, "prefix")), file = strcmp(kind, "file") == 0;
    _cleanup_(freep) char *printable = text_escape_shortened(name, strlen(name), 200);
    _cleanup_(freep) char *what =
        prefix ? xasprintf("\"%s:%s\"", file ? "secrets" : kind, printable) : xasprintf("\"!%s %s\"", kind, printable);
    _cleanup_(wipe) Buffer key = { 0 };
    if (read_key(kind, name, what, &key, error) < 0 ||
        check_key_length(reference, what, buffer_length(&key), error) < 0)
        return -1;
    size_t length = base64_length(buffer_length(&key));
    _cleanup_(freep) char *encoded = xcalloc(1, length + 1);
    base64_encode(buffer_bytes(&key), buffer_length(&key), encoded);
    mask_key(mask, &key, encoded);
    *ret = json_string(encoded);
    explicit_bzero(encoded, length);
    return 0;
}

/* Where a key was asked for: an error of it shows there. */
static void error_at_reference(const json_t *reference, Error *error)
{
    const json_t *at = json_object_get(reference, "at");
    if (!error)
        return;
    error_at_file(error, json_string_value(json_array_get(at, 0)));
    error->line = (uint64_t)json_integer_value(json_array_get(at, 1));
    error->position = (uint64_t)json_integer_value(json_array_get(at, 2));
}

/* --- in their places --- */

static unsigned hex_digit(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 32) - 'a') + 10;
}

/* Drivers report what they decoded: "p%40ss" is hidden as "p@ss" too. */
static void mask_decoded(Mask *mask, const char *text, size_t n)
{
    _cleanup_(freep) char *decoded = xstrndup(text, n);
    mask_add(mask, decoded);
    char *to = decoded;
    for (const char *from = decoded; *from; from++) {
        if (*from == '%' && strspn(from + 1, "0123456789abcdefABCDEF") >= 2 && strncmp(from + 1, "00", 2) != 0) {
            *to++ = (char)(hex_digit(from[1]) << 4 | hex_digit(from[2]));
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    mask_add(mask, decoded);
}

/* libpq's other places for it: "host=db password = 'x \' y'", and in a url "…?user=me&password=x". */
static const char *password_setting(const char *text, bool is_url, size_t *ret_n)
{
    static const char setting[] = "password";
    for (const char *at = text; (at = strstr(at, setting)); at++) {
        if (at > text && !strchr(is_url ? "?&" : " \t\n", at[-1]))
            continue;
        const char *value = at + strlen(setting);
        value += is_url ? 0 : strspn(value, " \t\n");
        if (*value != '=')
            continue;
        value++;
        value += is_url ? 0 : strspn(value, " \t\n");
        bool quoted = !is_url && *value == '\'';
        const char *ends = is_url ? "&" : quoted ? "'" : " \t\n", *end = value + quoted;
        while (*end && !strchr(ends, *end))
            end += *end == '\\' && end[1] && !is_url ? 2 : 1;
        *ret_n = (size_t)(end - value - quoted);
        return *ret_n > 0 ? value + quoted : NULL;
    }
    return NULL;
}

const char *secret_in_url(const char *text, size_t *ret_n)
{
    const char *authority = strstr(text, "://");
    if (!authority)
        return password_setting(text, false, ret_n);
    authority += 3;
    /* libpq looks for the "@" until the first slash. */
    const char *ends = strncmp(text, "postgres", 8) == 0 ? "/" : "/?#";
    const char *at = memrchr(authority, '@', strcspn(authority, ends));
    const char *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (!colon || colon + 1 == at)
        return password_setting(text, true, ret_n);
    *ret_n = (size_t)(at - colon - 1);
    return colon + 1;
}

static void mask_url_password(Mask *mask, const char *text)
{
    size_t n;
    const char *password = secret_in_url(text, &n);
    if (password)
        mask_decoded(mask, password, n);
}

static bool is_reference(const json_t *value)
{
    const json_t *reference = json_object_get(value, "$secret");
    return json_is_string(json_object_get(reference, "kind")) && json_is_string(json_object_get(reference, "name"));
}

/* A variable of the daemon's environment that may be there; most of them are no secrets. */
static json_t *fetch_variable(const json_t *reference, Mask *mask)
{
    const char *name = json_string_value(json_object_get(reference, "name"));
    const char *value = getenv(name);
    if (!value || !*value || utf8_valid_length(value, strlen(value)) < strlen(value))
        return json_null();
    if (strstr(name, "PASSWORD"))
        mask_add(mask, value);
    mask_url_password(mask, value);
    return json_string(value);
}

/* The value to put in VALUE's place; NULL: none, VALUE stays (and was resolved inside). */
static int resolve_value(json_t *value, Mask *mask, json_t **ret, Error *error)
{
    *ret = NULL;
    if (json_is_string(value))
        mask_url_password(mask, json_string_value(value));
    if (!is_reference(value))
        return secret_resolve(value, mask, error);
    const json_t *reference = json_object_get(value, "$secret");
    if (strcmp(json_string_value(json_object_get(reference, "kind")), "variable") == 0) {
        *ret = fetch_variable(reference, mask);
        return 0;
    }
    if (json_object_get(reference, "minimum")) {
        int r = fetch_key(reference, mask, ret, error);
        if (r < 0)
            error_at_reference(reference, error);
        return r;
    }
    if (strcmp(json_string_value(json_object_get(reference, "kind")), "json") == 0)
        return fetch_object(reference, mask, ret, error);
    char *text;
    if (fetch(reference, &text, error) < 0)
        return -1;
    mask_add(mask, text);
    mask_url_password(mask, text);
    *ret = json_string(text);
    explicit_bzero(text, strlen(text));
    free(text);
    return 0;
}

int secret_resolve(json_t *value, Mask *mask, Error *error)
{
    const char *key;
    json_t *child, *resolved;
    void *next;
    size_t i;
    json_object_foreach_safe (value, next, key, child) {
        if (strcmp(key, "password") == 0 && json_is_string(child))
            mask_add(mask, json_string_value(child));
        if (resolve_value(child, mask, &resolved, error) < 0)
            return -1;
        if (resolved)
            json_object_set_new(value, key, resolved);
    }
    json_array_foreach (value, i, child) {
        if (resolve_value(child, mask, &resolved, error) < 0)
            return -1;
        if (resolved)
            json_array_set_new(value, i, resolved);
    }
    return 0;
}
