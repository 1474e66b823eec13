/*
 * A secret is fetched when a sync starts and not before: the daemon keeps references only, so that a rotated password
 * is used by the next sync and none lies in memory in between. Messages name where a secret should have been, never
 * what was found there.
 */
#include "daemon/wherryd/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

/* The content of PATH without its final newline. */
static int read_secret_file(const char *path, const char *what, char **ret, Error *error)
{
    _cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot read the secret %s", what);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "the secret %s is not a regular file", what);
    _cleanup_(buffer_clear) Buffer content = { 0 };
    for (;;) {
        ssize_t n = read(fd, buffer_reserve(&content, 4096), 4096);
        if (n < 0)
            return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot read the secret %s", what);
        if (n == 0)
            break;
        buffer_added(&content, (size_t)n);
        if (buffer_length(&content) > SECRET_BYTES_MAX)
            return error_set(error, ERROR_CONFIGURATION, "the secret %s is larger than %u KiB", what,
                             SECRET_BYTES_MAX / 1024);
    }
    size_t n = buffer_length(&content);
    const char *text = (const char *)buffer_bytes(&content);
    if (n > 0 && text[n - 1] == '\n')
        n -= n > 1 && text[n - 2] == '\r' ? 2 : 1;
    *ret = xstrndup(n > 0 ? text : "", n);
    if (n > 0 && memchr(text, '\0', n))
        error_set(error, ERROR_CONFIGURATION, "the secret %s holds a NUL byte", what);
    if (n > 0)
        explicit_bzero(buffer_bytes(&content), buffer_length(&content));
    return strlen(*ret) == n ? 0 : -1;
}

static int read_credential(const char *name, const char *what, char **ret, Error *error)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder)
        return error_set(error, ERROR_CONFIGURATION,
                         "the secret %s needs systemd: add \"LoadCredential=%s:/path/to/it\" to wherryd.service", what,
                         name);
    _cleanup_(freep) char *path = path_join(folder, name);
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

const char *secret_in_url(const char *text, size_t *ret_n)
{
    const char *authority = strstr(text, "://");
    if (!authority)
        return NULL;
    authority += 3;
    const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
    const char *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    if (!colon || colon + 1 == at)
        return NULL;
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

/* The value to put in VALUE's place; NULL: none, VALUE stays (and was resolved inside). */
static int resolve_value(json_t *value, Mask *mask, json_t **ret, Error *error)
{
    *ret = NULL;
    if (json_is_string(value))
        mask_url_password(mask, json_string_value(value));
    if (!is_reference(value))
        return secret_resolve(value, mask, error);
    char *text;
    if (fetch(json_object_get(value, "$secret"), &text, error) < 0)
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
