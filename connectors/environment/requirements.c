/*
 * Only as much of pip's format is understood as is needed to know which project a line asks for: comments,
 * continuations, "-r FILE", and a name at the beginning (PEP 508), behind "#egg=" or at the beginning of a wheel's file
 * name. Everything else passes through as it stands, so that pip (or uv) judges it and its words are the user's.
 */
#include "connectors/environment/requirements.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/basics/path.h"
#include "lib/basics/text.h"

#define FILE_MAX (1u << 20)
#define DEPTH_MAX 10
#define SDK "fivetran-connector-sdk"

void requirements_clear(Requirements *requirements)
{
    buffer_clear(&requirements->text);
    free(requirements->left_out);
    *requirements = (Requirements){ 0 };
}

/* --- names --- */

static bool is_name_character(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* PEP 503: runs of "-", "_" and "." become one "-", letters small. NULL: there is no name. */
static char *normalise(const char *name, size_t n)
{
    if (n == 0)
        return NULL;
    char *normal = xmalloc(n + 1), *to = normal;
    for (size_t i = 0; i < n; i++) {
        bool dash = name[i] == '-' || name[i] == '_' || name[i] == '.';
        if (dash && to > normal && to[-1] == '-')
            continue;
        *to++ = dash ? '-' : (char)tolower((unsigned char)name[i]);
    }
    *to = '\0';
    return normal;
}

/* "….whl": a wheel's file name begins with the project's, where "-" is written "_". */
static char *wheel_name(const char *line)
{
    size_t n = strcspn(line, " \t;");
    if (n < 5 || strncmp(line + n - 4, ".whl", 4) != 0)
        return NULL;
    const char *base = line;
    for (size_t i = 0; i < n; i++)
        if (line[i] == '/')
            base = line + i + 1;
    return normalise(base, strcspn(base, "-"));
}

static const char *option_value(const char *line, const char *short_name, const char *long_name)
{
    size_t n = strlen(long_name);
    if (strncmp(line, long_name, n) == 0 && strchr(" \t=", line[n]) && line[n])
        return line + n + 1 + strspn(line + n + 1, " \t");
    n = strlen(short_name);
    if (strncmp(line, short_name, n) == 0)
        return line + n + strspn(line + n, " \t");
    return NULL;
}

char *requirement_name(const char *line)
{
    line += strspn(line, " \t");
    if (line[0] == '-' && !option_value(line, "-e", "--editable"))
        return NULL;
    const char *egg = strstr(line, "#egg=");
    if (egg)
        return normalise(egg + 5, strspn(egg + 5, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"));
    char *wheel = wheel_name(line);
    if (wheel)
        return wheel;
    size_t n = 0;
    while (is_name_character(line[n]))
        n++;
    while (n > 0 && !isalnum((unsigned char)line[n - 1]))
        n--;
    const char *after = line + n + strspn(line + n, " \t");
    if (n == 0 || !isalnum((unsigned char)line[0]) || (*after && !strchr("[<>=!~;@(,", *after)))
        return NULL;
    return normalise(line, n);
}

/* --- lines --- */

/* Lies it in a folder here, rather than in an index? */
static bool is_local(const char *line)
{
    return line[0] == '.' || line[0] == '/' || strncmp(line, "file:", 5) == 0 || strstr(line, "@ file:") ||
           option_value(line, "-e", "--editable");
}

static int read_file(const char *path, const char *shown, unsigned depth, Requirements *ret, Error *error);

static int take_line(const char *line, const char *folder, const char *shown, unsigned depth, Requirements *ret,
                     Error *error)
{
    const char *included = option_value(line, "-r", "--requirement");
    const char *constraint = option_value(line, "-c", "--constraint");
    if ((included || constraint) && !strstr(included ? included : constraint, "://")) {
        _cleanup_(freep) char *path = path_join(folder, included ? included : constraint);
        if (included) {
            _cleanup_(freep) char *printable = text_escape_shortened(included, strlen(included), 200);
            return read_file(path, printable, depth + 1, ret, error);
        }
        buffer_printf(&ret->text, "-c %s\n", path);
        ret->local = true;
        return 0;
    }
    _cleanup_(freep) char *name = requirement_name(line);
    if (name && strcmp(name, SDK) == 0) {
        free(ret->left_out);
        ret->left_out = text_escape_shortened(line, strlen(line), 200);
        return 0;
    }
    ret->names_requests |= name && strcmp(name, "requests") == 0;
    ret->local |= is_local(line);
    ret->count += line[0] != '-' || option_value(line, "-e", "--editable");
    buffer_printf(&ret->text, "%s\n", line);
    return 0;
}

/* Takes the next line off *REST: joined where it is continued, without its comment and outer blanks. */
static char *next_line(const char **rest)
{
    _cleanup_(buffer_clear) Buffer line = { 0 };
    bool continued = true;
    while (continued && **rest) {
        size_t n = strcspn(*rest, "\r\n");
        const char *begin = *rest + strspn(*rest, " \t"), *end = *rest + n;
        continued = n > 0 && end[-1] == '\\' && *begin != '#';
        buffer_append(&line, *rest, n - continued);
        *rest = end + (strncmp(end, "\r\n", 2) == 0 ? 2 : *end != '\0');
    }
    char *text = buffer_take_string(&line);
    for (char *hash = strchr(text, '#'); hash; hash = strchr(hash + 1, '#'))
        if (hash == text || hash[-1] == ' ' || hash[-1] == '\t') {
            *hash = '\0';
            break;
        }
    size_t n = strlen(text), begin = strspn(text, " \t");
    while (n > begin && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    memmove(text, text + begin, n - begin);
    text[n - begin] = '\0';
    return text;
}

static int load(const char *path, const char *shown, Buffer *ret, Error *error)
{
    struct stat status;
    _cleanup_(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", shown);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not a file", shown);
    for (ssize_t n = 1; n > 0 && buffer_length(ret) <= FILE_MAX;) {
        n = read(fd, buffer_reserve(ret, 65536), 65536);
        if (n < 0)
            return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", shown);
        buffer_added(ret, (size_t)n);
    }
    if (buffer_length(ret) > FILE_MAX)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is larger than %u MiB", shown, FILE_MAX >> 20);
    const char *text = (const char *)buffer_bytes(ret);
    if (utf8_valid_length(text, buffer_length(ret)) < buffer_length(ret) || memchr(text, 0, buffer_length(ret)))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not UTF-8 text; save it so", shown);
    return 0;
}

static int read_file(const char *path, const char *shown, unsigned depth, Requirements *ret, Error *error)
{
    _cleanup_(buffer_clear) Buffer content = { 0 };
    if (depth > DEPTH_MAX)
        return error_set(error, ERROR_CONFIGURATION, "requirements.txt includes files more than %d deep, \"%s\" last",
                         DEPTH_MAX, shown);
    if (load(path, shown, &content, error) < 0)
        return -1;
    _cleanup_(freep) char *folder = path_folder(path), *text = buffer_take_string(&content);
    const char *rest = text;
    if (strncmp(rest, "\xef\xbb\xbf", 3) == 0)
        rest += 3;
    while (*rest) {
        _cleanup_(freep) char *line = next_line(&rest);
        if (*line && take_line(line, folder, shown, depth, ret, error) < 0)
            return -1;
    }
    return 0;
}

int requirements_read(const char *project, Requirements *ret, Error *error)
{
    _cleanup_(freep) char *path = path_join(project, "requirements.txt");
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    return read_file(path, "requirements.txt", 0, ret, error);
}
