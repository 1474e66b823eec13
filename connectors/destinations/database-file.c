/* See database-file.h. What the file is, is found out when it is opened; here it only has to have a name. */
#include "connectors/destinations/database-file.h"

#include <limits.h>
#include <string.h>

#include "lib/basics/buffer.h"
#include "lib/basics/path.h"

/* The path in the url VALUE, or NULL after a problem. */
static const char *url_path(const DatabaseFile *file, const json_t *value, KeyReport *report)
{
    const char *url = json_string_value(value), *at = "destination.url";
    if (!url) {
        if (json_is_object(value))
            key_problem(report, at, "the url of a %s destination holds no secret: write it out", file->type);
        return NULL;
    }
    size_t n = strlen(file->type);
    bool scheme = strncmp(url, file->type, n) == 0 && strncmp(url + n, "://", 3) == 0;
    const char *rest = scheme ? url + n + strlen("://") : "";
    if (strstr(url, ":memory:") || (scheme && (!*rest || strcmp(rest, "/") == 0)))
        key_problem(report, at, "a database in memory is gone when the sync ends; name a file");
    else if (*rest != '/')
        key_problem(report, at, "the url of a %s destination is %s:///relative%s or %s:////absolute%s", file->type,
                    file->type, file->suffix, file->type, file->suffix);
    else if (strchr(rest, '?'))
        key_problem(report, at, "parameters after \"?\" are not supported; leave them out");
    else
        return rest + 1;
    return NULL;
}

void database_file_complete(const DatabaseFile *file, json_t *destination, KeyReport *report)
{
    const json_t *url = json_object_get(destination, "url"), *path = json_object_get(destination, "path");
    if (url && path) {
        key_problem(report, "destination.path", "\"path\" and \"url\" name the database twice; keep one");
    } else if (url) {
        const char *relative = url_path(file, url, report);
        char *absolute = relative ? path_join(report->folder, relative) : NULL;
        json_object_set_new(destination, "path", absolute ? json_string(absolute) : json_null());
        free(absolute);
    } else if (!path) {
        key_problem(report, "destination", "missing key %s", file->missing);
    }
    json_object_del(destination, "url");
    const char *name = json_string_value(json_object_get(destination, "path"));
    const char *at = url ? "destination.url" : "destination.path";
    if (name && name[strlen(name) - 1] == '/')
        key_problem(report, at, "the database is a file, not a folder");
    else if (name && strlen(name) + file->room >= PATH_MAX)
        key_problem(report, at, "longer than a path may be (%zu bytes)", PATH_MAX - 1 - file->room);
}

const char *database_file_path(const json_t *connection)
{
    return json_string_value(json_object_get(json_object_get(connection, "destination"), "path"));
}
