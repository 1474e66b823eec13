/*
 * Bytes of a pipeline file, and of wherry.yaml: whatever they are, there is either a connection or a problem that says
 * why not, and what is kept of a connection can be read again.
 */
#include <assert.h>
#include <string.h>

#include "daemon/wherryd/config-internal.h"
#include "lib/basics/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7 forgets a buffer of 4 KiB when a syntax error follows a quoted key with many escapes. What we would
 * forget to give back to it, the unit tests find. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}

static void check_text(const char *text)
{
    assert(text && *text);
    assert(utf8_valid_length(text, strlen(text)) == strlen(text));
    for (const char *c = text; *c; c++)
        assert((unsigned char)*c >= ' ' || *c == '\n'); /* nothing reaches a terminal or a log unescaped */
}

static void as_pipeline(const char *data, size_t size, const LoadContext *context)
{
    _cleanup_(problems_clear) Problems problems = { 0 };
    YamlFile file = { .name = "fuzz.yaml", .folder = "/nonexistent" };
    yaml_parse(&file, data, size, &problems);
    ConnectionConfig *config = connection_check(context, "fuzz", &file, &problems);
    assert((config != NULL) == (problems.errors == 0));
    _cleanup_(freep) char *bad = problems_text(&problems, false), *warnings = problems_text(&problems, true);
    assert((bad != NULL) == (config == NULL));
    if (bad)
        check_text(bad);
    if (warnings)
        check_text(warnings);
    if (config) {
        json_t *json = json_loads(config->json, JSON_REJECT_DUPLICATES, NULL);
        assert(json);
        json_decref(json);
    }
    connection_config_free(config);
    yaml_clear(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    PathCache paths = { 0 };
    LoadContext context = { .state_folder = "/nonexistent/state/daemon", .paths = &paths };
    _cleanup_(problems_clear) Problems problems = { 0 };
    YamlFile file = { .name = "wherry.yaml", .folder = "/nonexistent" };
    DaemonConfig daemon;
    daemon_config_defaults(&daemon);
    context.destinations = daemon.destinations;
    as_pipeline((const char *)data, size, &context);

    /* what is good as wherry.yaml also gives its defaults to a connection */
    yaml_parse(&file, (const char *)data, size, &problems);
    if (problems.errors == 0)
        daemon_check(&context, &file, &daemon, &problems);
    static const char bare[] = "source: {type: files, dir: in}\nformat: csv\ndest_table: t\n"
                               "columns: [{source: a, type: string}]\ndestination: {type: sqlite, path: x.db}\n";
    if (problems.errors == 0)
        as_pipeline(bare, sizeof(bare) - 1, &context);
    json_decref(daemon.destinations);
    json_decref(daemon.defaults);
    yaml_clear(&file);
    path_cache_clear(&paths);
    return 0;
}
