/*
 * A manifest is foreign like the file that it tells of: bounded, parsed inside the sandbox, and nothing in it is
 * required but where the rows come from. Members that are not known are somebody else's, as OpenLineage has it.
 */
#include "connectors/sources/files/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

#include "connectors/sources/files/folder.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

#define SHOWN_MAX 200 /* bytes of one of its texts in the log */

void manifest_clear(Manifest *manifest)
{
    free(manifest->source);
    *manifest = (Manifest){ 0 };
}

static char *shown(yyjson_val *text)
{
    return text_escape_shortened(yyjson_get_str(text), yyjson_get_len(text), SHOWN_MAX);
}

static bool is_text(yyjson_val *value)
{
    return yyjson_is_str(value) && yyjson_get_len(value) > 0;
}

static int check_version(yyjson_val *facet, Error *error)
{
    yyjson_val *version = yyjson_obj_get(facet, "manifest_version");
    if (!version || yyjson_equals_str(version, "1"))
        return 0;
    _cleanup_(freep) char *text = yyjson_is_str(version) ? shown(version) : xstrdup("of another kind than text");
    return error_set(error, ERROR_TEMPORARY, "its \"manifest_version\" is %s; only \"1\" is known", text);
}

static int check_ranges(yyjson_val *inputs, Error *error)
{
    size_t i, count;
    yyjson_val *input;
    yyjson_arr_foreach(inputs, i, count, input)
    {
        yyjson_val *range = yyjson_obj_get(yyjson_obj_get(input, "facets"), "_sourceRange");
        if (range && !yyjson_is_obj(range))
            return error_set(error, ERROR_TEMPORARY, "\"_sourceRange\" of input %zu is not an object", i + 1);
    }
    return 0;
}

static int read_event(yyjson_val *event, Manifest *ret, Error *error)
{
    yyjson_val *job = yyjson_obj_get(event, "job"), *run = yyjson_obj_get(event, "run");
    yyjson_val *facet = yyjson_obj_get(yyjson_obj_get(run, "facets"), "_filedgeManifest");
    yyjson_val *kind = yyjson_obj_get(job, "namespace"), *name = yyjson_obj_get(job, "name");
    yyjson_val *rows = yyjson_obj_get(facet, "record_count"), *id = yyjson_obj_get(run, "runId");
    if (!yyjson_is_obj(event))
        return error_set(error, ERROR_TEMPORARY, "not a JSON object");
    if (check_version(facet, error) < 0)
        return -1;
    if (!is_text(kind) || !is_text(name))
        return error_set(error, ERROR_TEMPORARY,
                         "it lacks \"job.%s\": a manifest says in \"job\" by \"namespace\" and \"name\" where the rows "
                         "come from",
                         is_text(kind) ? "name" : "namespace");
    if (check_ranges(yyjson_obj_get(event, "inputs"), error) < 0)
        return -1;
    if (rows && !yyjson_is_null(rows) && !yyjson_is_uint(rows))
        return error_set(error, ERROR_TEMPORARY, "its \"record_count\" is not a number of rows");

    _cleanup_(buffer_clear) Buffer source = { 0 };
    _cleanup_(freep) char *kind_text = shown(kind), *name_text = shown(name),
                          *run_text = is_text(id) ? shown(id) : NULL;
    buffer_printf(&source, "%s (%s)", name_text, kind_text);
    if (run_text)
        buffer_printf(&source, ", run %s", run_text);
    ret->counted = yyjson_is_uint(rows);
    ret->record_count = ret->counted ? yyjson_get_uint(rows) : 0;
    if (ret->counted)
        buffer_printf(&source, ", %" PRIu64 " row%s", ret->record_count, ret->record_count == 1 ? "" : "s");
    ret->source = buffer_take_string(&source);
    return 0;
}

int manifest_parse(const char *text, size_t n, Manifest *ret, Error *error)
{
    yyjson_read_err why;
    yyjson_doc *document = yyjson_read_opts((char *)text, n, YYJSON_READ_NOFLAG, NULL, &why);
    if (!document)
        return error_set(error, ERROR_TEMPORARY, "not valid JSON at byte %zu: %s", why.pos + 1, why.msg);
    int r = read_event(yyjson_doc_get_root(document), ret, error);
    yyjson_doc_free(document);
    return r;
}

static int read_all(int fd, Buffer *ret, Error *error)
{
    for (;;) {
        ssize_t n = read(fd, buffer_reserve(ret, 16384), 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
        if (n == 0)
            return 0;
        buffer_added(ret, (size_t)n);
        if (buffer_length(ret) > MANIFEST_BYTES_MAX)
            return error_set(error, ERROR_TEMPORARY, "larger than %u MiB", MANIFEST_BYTES_MAX >> 20);
    }
}

int manifest_read(int fd, const char *name, Manifest *ret, Error *error)
{
    _cleanup_(freep) char *path = xasprintf("%s.manifest.json", name);
    _cleanup_(freep) char *why = NULL;
    _cleanup_(buffer_clear) Buffer content = { 0 };
    _cleanup_(close_fdp) int file = -1;
    if (faccessat(fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && (errno == ENOENT || errno == ENAMETOOLONG))
        return MANIFEST_E_MISSING;
    if (folder_open_file(fd, path, true, &file, &why) != FOLDER_FILE)
        return error_set(error, ERROR_TEMPORARY, "%s", why ? why : "cannot be opened");
    if (read_all(file, &content, error) < 0)
        return -1;
    return manifest_parse((const char *)buffer_bytes(&content), buffer_length(&content), ret, error);
}
