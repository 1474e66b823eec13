/*
 * One file becomes one connection. What wherry.yaml's defaults say is first laid under the file's own top level, so
 * that all the rest sees a single map whose nodes know which file they came from. Then the tables check every key, and
 * the source's and the destination's complete() whatever needs more than one key to judge. Everything that is wrong is
 * said in one go; only a file without a problem becomes a ConnectionConfig.
 */
#include <assert.h>
#include <string.h>

#include "daemon/wherryd/config-internal.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

#define MESSAGE_MAX 2000                    /* bytes of what a connector says */
#define SCHEMA_NOT_NAMED "schema_not_named" /* in a destination of wherry.yaml: its schema is the default */
#define EXAMPLE_SOURCE "source:\n  {type: files, dir: /srv/incoming}"

/* What complete() sees as a KeyReport. */
typedef struct Report {
    KeyReport head;
    Problems *problems;
    const YamlFile *file;
    const YamlNode *root;
} Report;

/* --- places of keys --- */

/* The deepest node on PATH ("columns[2].type"); EXACT tells whether it is the whole path. */
static const YamlNode *find_node(const YamlNode *root, const char *path, bool *ret_exact)
{
    const YamlNode *node = root;
    *ret_exact = false;
    while (*path) {
        const YamlNode *next = NULL;
        if (*path == '[') {
            char *end;
            unsigned long index = strtoul(path + 1, &end, 10);
            if (node->kind == YAML_LIST && index < node->count)
                next = node->items[index];
            path = end + 1;
        } else {
            path += *path == '.';
            size_t n = strcspn(path, ".[");
            _cleanup_(freep) char *key = xstrndup(path, n);
            next = yaml_get(node, key);
            path += n;
        }
        if (!next)
            return node;
        node = next;
    }
    *ret_exact = true;
    return node;
}

static void report_say(KeyReport *head, bool warning, const char *path, const char *message)
{
    Report *report = (Report *)head;
    bool exact;
    const YamlNode *node = find_node(report->root, path, &exact);
    /* connectors quote values as they are */
    _cleanup_(freep) char *printable = text_escape_shortened(message, strlen(message), MESSAGE_MAX);
    problems_add(report->problems, warning, node->file->name, node->line, node->column, "%s", printable);
}

static bool report_given(KeyReport *head, const char *path)
{
    Report *report = (Report *)head;
    bool exact;
    const YamlNode *node = find_node(report->root, path, &exact);
    return exact && node->file == report->file;
}

/* --- source and destination --- */

static const ConnectorKeys *read_type(Role role, const YamlNode *map, Problems *problems)
{
    const YamlNode *type = yaml_get(map, "type");
    const char *words[ELEMENTSOF(connectors[0]) + 1] = { NULL };
    for (size_t i = 0; connectors[role][i]; i++)
        words[i] = connectors[role][i]->type;
    if (!type || type->kind != YAML_TEXT || yaml_is_null(type)) {
        const YamlNode *place = type ? type : map;
        yaml_problem(problems, place, "\"%s\" needs a type, such as \"type: %s\"", role_name(role), words[0]);
        return NULL;
    }
    const ConnectorKeys *keys = connector_keys(role, type->text);
    if (keys)
        return keys;
    _cleanup_(freep) char *printable = text_escape_shortened(type->text, type->count, 80);
    for (const KeyLater *later = connectors_later[role]; later->word; later++)
        if (strcmp(later->word, type->text) == 0) {
            yaml_problem(problems, type, "%s type \"%s\" is not supported yet", role_name(role), printable);
            return NULL;
        }
    const char *near = text_suggest(type->text, words);
    yaml_problem(problems, type, "unknown %s type \"%s\"; %s \"%s\"%s", role_name(role), printable,
                 near ? "did you mean" : "there is", near ? near : words[0], near ? "?" : "");
    return NULL;
}

/* What stands inside `source:` or `destination:`; NULL after a problem that leaves nothing to look at. */
static json_t *read_connector(Role role, const YamlNode *node, const ConnectorKeys **ret_keys, Problems *problems)
{
    if (node->kind != YAML_MAP) {
        yaml_problem(problems, node, "\"%s\" must be a map with a type, such as {type: %s, …}", role_name(role),
                     connectors[role][0]->type);
        return NULL;
    }
    const ConnectorKeys *keys = read_type(role, node, problems);
    if (!keys)
        return NULL;
    const ValueContext context = { .problems = problems, .secrets = true, .typed = true };
    json_t *object = value_read_map(&context, (const Key *const[]){ keys->own, NULL }, node);
    json_object_set_new(object, "type", json_string(keys->type));
    *ret_keys = keys;
    return object;
}

/* `destination: NAME` */
static json_t *named_destination(const LoadContext *context, const YamlNode *node, const ConnectorKeys **ret_keys,
                                 Problems *problems)
{
    json_t *found = json_object_get(context->destinations, node->text);
    if (found) {
        *ret_keys = connector_keys(ROLE_DESTINATION, json_string_value(json_object_get(found, "type")));
        return json_deep_copy(found);
    }
    _cleanup_(freep) const char **names = xcalloc(json_object_size(context->destinations) + 1, sizeof(char *));
    const char *name;
    json_t *value;
    size_t n = 0;
    json_object_foreach ((json_t *)context->destinations, name, value)
        names[n++] = name;
    const char *near = text_suggest(node->text, names);
    _cleanup_(freep) char *printable = text_escape_shortened(node->text, node->count, 80);
    yaml_problem(problems, node, "wherry.yaml has no destination \"%s\"%s%s%s", printable,
                 near ? "; did you mean \"" : "; add it under \"destinations\", or write {type: sqlite, …} here",
                 near ? near : "", near ? "\"?" : "");
    return NULL;
}

/* A writer that must have its database's whole folder must not have ours with it. */
static void check_whole_folder(const LoadContext *context, const ConnectorKeys *keys, const char *path, Report *report)
{
    _cleanup_(freep) char *folder = xstrdup(path);
    *strrchr(folder, '/') = 0;
    if (!keys->whole_folder || !context->state_folder || path_is_below(path, context->state_folder) ||
        !path_is_below(context->state_folder, *folder ? folder : "/"))
        return;
    const char *at = report->head.given(&report->head, "destination.url") ? "destination.url" : "destination.path";
    key_problem(&report->head, at,
                "the writer may reach all of the database's folder, and in \"%s\" lies wherry's own \"%s\"; put it "
                "into a folder of its own",
                *folder ? folder : "/", context->state_folder);
}

/* The destination's file under its one true name, however it was spelled; NULL: it has none. */
static char *check_database_path(const LoadContext *context, const ConnectorKeys *keys, const json_t *connection,
                                 Report *report)
{
    const char *path = keys->database_path ? keys->database_path(connection) : NULL;
    if (!path)
        return NULL;
    char *canonical = path_canonical_cached(context->paths, path);
    if (context->state_folder && path_is_below(canonical, context->state_folder)) {
        const char *at = report->head.given(&report->head, "destination.url") ? "destination.url" : "destination.path";
        key_problem(&report->head, at, "\"%s\" lies in wherry's own folder \"%s\"; put the database elsewhere", path,
                    context->state_folder);
    }
    check_whole_folder(context, keys, canonical, report);
    return canonical;
}

static char *complete_destination(const LoadContext *context, const ConnectorKeys *keys, const YamlNode *node,
                                  json_t *connection, Report *report)
{
    report->head.folder = node->file->folder;
    if (keys->complete)
        keys->complete(connection, &report->head);
    return check_database_path(context, keys, connection, report);
}

json_t *destination_check(const LoadContext *context, const YamlNode *node, Problems *problems)
{
    const ConnectorKeys *keys = NULL;
    size_t before = problems->errors;
    json_t *destination = read_connector(ROLE_DESTINATION, node, &keys, problems);
    if (!destination)
        return NULL;
    YamlNode word = { .kind = YAML_TEXT, .text = "destination" };
    YamlEntry entry = { .key = &word, .value = (YamlNode *)node };
    YamlNode root = { .file = node->file, .line = node->line, .column = node->column, .kind = YAML_MAP, .count = 1 };
    root.entries = &entry;
    Report report = {
        .head = { .say = report_say, .given = report_given }, .problems = problems, .file = node->file, .root = &root
    };
    json_t *connection = json_pack("{s:o}", "destination", destination);
    free(complete_destination(context, keys, node, connection, &report));
    json_t *result = problems->errors == before ? json_incref(json_object_get(connection, "destination")) : NULL;
    if (result && node->kind == YAML_MAP && !yaml_get(node, "schema") && json_object_get(result, "schema"))
        json_object_set_new(result, SCHEMA_NOT_NAMED, json_true());
    json_decref(connection);
    return result;
}

/* --- the whole file --- */

static void put(YamlNode *map, YamlNode *key, YamlNode *value)
{
    map->entries[map->count++] = (YamlEntry){ .key = key, .value = value };
}

/* "connector" is "destination" from here on. */
static void put_renamed(YamlFile *file, YamlNode *map, const YamlEntry *entry)
{
    YamlNode *key = entry->key;
    if (strcmp(key->text, "connector") == 0) {
        key = yaml_text(file, "destination", key->line, key->column);
        key->file = entry->key->file;
    }
    put(map, key, entry->value);
}

static YamlNode *lent_source(const LoadContext *context, YamlFile *file, const YamlNode *root)
{
    YamlNode *source = yaml_allocate(file, sizeof(*source));
    *source = (YamlNode){ .file = file, .line = root->line, .column = root->column, .kind = YAML_MAP };
    source->entries = yaml_allocate(file, 2 * sizeof(YamlEntry));
    put(source, yaml_text(file, "type", root->line, root->column), yaml_text(file, "files", root->line, root->column));
    put(source, yaml_text(file, "dir", root->line, root->column),
        yaml_text(file, context->lend_dir, root->line, root->column));
    return source;
}

/* The file's own top level, under it the defaults of wherry.yaml, and the lent source. */
static YamlNode *merged_root(const LoadContext *context, YamlFile *file, Problems *problems)
{
    const YamlNode *own = file->root, *defaults = context->defaults;
    uint32_t room = own->count + (defaults ? defaults->count : 0) + 1;
    YamlNode *root = yaml_allocate(file, sizeof(*root));
    *root = *own;
    root->entries = yaml_allocate(file, room * sizeof(YamlEntry));
    root->count = 0;
    for (uint32_t i = 0; i < own->count; i++) {
        const YamlEntry *entry = &own->entries[i];
        if (strcmp(entry->key->text, "connector") == 0 && yaml_get(own, "destination"))
            yaml_problem(problems, entry->key, "\"connector\" and \"destination\" mean the same; keep one");
        else
            put_renamed(file, root, entry);
    }
    const YamlNode *source = yaml_get(own, "source");
    if (source && context->lend_dir)
        yaml_problem(problems, source, "this file has a \"source\" of its own; leave out --dir");
    else if (context->lend_dir)
        put(root, yaml_text(file, "source", own->line, own->column), lent_source(context, file, own));
    for (uint32_t i = 0; defaults && i < defaults->count; i++) {
        const char *key = defaults->entries[i].key->text;
        if (!yaml_get(root, strcmp(key, "connector") == 0 ? "destination" : key))
            put_renamed(file, root, &defaults->entries[i]);
    }
    return root;
}

static json_t *read_source(const LoadContext *context, const YamlNode *root, const ConnectorKeys **ret_keys,
                           Problems *problems)
{
    const YamlNode *node = yaml_get(root, "source");
    if (node)
        return read_connector(ROLE_SOURCE, node, ret_keys, problems);
    yaml_problem(problems, root, "missing key \"source\"; %sadd these two lines, with the folder to read:\n%s",
                 context->lendable ? "name the folder with \"wherryctl run FILE --dir DIR\", or " : "", EXAMPLE_SOURCE);
    return NULL;
}

static json_t *read_destination(const LoadContext *context, const YamlNode *root, const ConnectorKeys **ret_keys,
                                Problems *problems)
{
    const YamlNode *node = yaml_get(root, "destination");
    if (!node) {
        yaml_problem(problems, root,
                     "missing key \"destination\": where rows go, such as {type: sqlite, path: data.db}");
        return NULL;
    }
    if (node->kind == YAML_TEXT && !yaml_is_null(node) && node->reference == YAML_PLAIN_VALUE)
        return named_destination(context, node, ret_keys, problems);
    return read_connector(ROLE_DESTINATION, node, ret_keys, problems);
}

static uint32_t integer_of(const json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

static ConnectionConfig *make_config(const char *name, const json_t *connection, const ConnectorKeys *const keys[2],
                                     const char *database)
{
    const ConnectorKeys *source = keys[ROLE_SOURCE], *destination = keys[ROLE_DESTINATION];
    assert(source && destination);
    const json_t *own = json_object_get(connection, "source");
    ConnectionConfig *config = xcalloc(1, sizeof(*config));
    config->references = 1;
    config->name = xstrdup(name);
    config->source = source->type;
    config->destination = destination->type;
    config->identity = database ? xasprintf("%s:%s", destination->type, database) : NULL;
    if (json_is_true(json_object_get(own, "watch")))
        config->watch_dir = xstrdup(json_string_value(json_object_get(own, "dir")));
    config->quarantine_dir =
        xstrdup(json_string_value(json_object_get(json_object_get(connection, "quarantine"), "dir")));
    const char *write_mode = json_string_value(json_object_get(connection, "write_mode"));
    config->append = write_mode && strcmp(write_mode, "append") == 0;
    config->json = json_dumps(connection, JSON_COMPACT);
    if (!config->json)
        abort();
    config->frequency_s = integer_of(connection, "frequency");
    config->stall_timeout_s = integer_of(connection, "stall_timeout");
    config->retry_cap = integer_of(connection, "retry_cap");
    config->log_level = config_log_level(json_string_value(json_object_get(connection, "log_level")));
    config->paused = json_is_true(json_object_get(connection, "paused"));
    config->local = source->local && destination->local;
    return config;
}

/* Tables of some sources lie in a schema that is called after the connection, where the destination has schemas and
 * names none. */
static void name_schema(const char *name, const YamlNode *root, const ConnectorKeys *source, json_t *destination)
{
    const YamlNode *node = yaml_get(root, "destination");
    bool named = !json_is_true(json_object_get(destination, SCHEMA_NOT_NAMED));
    json_object_del(destination, SCHEMA_NOT_NAMED);
    if (node->kind == YAML_MAP)
        named = yaml_get(node, "schema");
    if (!named && source && source->own_schema && json_object_get(destination, "schema"))
        json_object_set_new(destination, "schema", json_string(name));
}

static json_t *read_connection(const LoadContext *context, const char *name, YamlFile *file, YamlNode *root,
                               const ConnectorKeys *keys[2], char **ret_database, Problems *problems)
{
    json_t *source = read_source(context, root, &keys[ROLE_SOURCE], problems);
    json_t *destination = read_destination(context, root, &keys[ROLE_DESTINATION], problems);
    if (destination)
        name_schema(name, root, keys[ROLE_SOURCE], destination);
    const Key *tables[KEY_TABLES_MAX];
    top_level_keys((const ConnectorKeys *const *)keys, tables);
    /* where the source or destination is unknown, whatever any of that kind knows is let pass */
    const ValueContext values = { .problems = problems, .partial = !keys[ROLE_SOURCE] || !keys[ROLE_DESTINATION] };
    json_t *connection = value_read_map(&values, tables, root);
    json_object_set_new(connection, "source", source ? source : json_null());
    json_object_set_new(connection, "destination", destination ? destination : json_null());

    Report report = {
        .head = { .say = report_say, .given = report_given }, .problems = problems, .file = file, .root = root
    };
    report.head.folder = file->folder;
    if (keys[ROLE_SOURCE] && keys[ROLE_SOURCE]->complete)
        keys[ROLE_SOURCE]->complete(connection, &report.head);
    if (keys[ROLE_DESTINATION])
        *ret_database =
            complete_destination(context, keys[ROLE_DESTINATION], yaml_get(root, "destination"), connection, &report);
    return connection;
}

ConnectionConfig *connection_check(const LoadContext *context, const char *name, YamlFile *file, Problems *problems)
{
    if (!file->root || (yaml_is_null(file->root) && file->root->count == 0)) {
        if (problems->errors == 0)
            problems_add(problems, false, file->name, 1, 1,
                         "the file is empty; it needs a source, a destination, and what to load");
        return NULL;
    }
    if (file->root->kind != YAML_MAP) {
        yaml_problem(problems, file->root, "a pipeline file is a map of keys, such as \"frequency: 15m\"");
        return NULL;
    }
    YamlNode *root = merged_root(context, file, problems);
    const ConnectorKeys *keys[2] = { NULL, NULL };
    _cleanup_(freep) char *database = NULL;
    json_t *connection = read_connection(context, name, file, root, keys, &database, problems);
    json_object_set_new(connection, "name", json_string(name));
    ConnectionConfig *config = NULL;
    if (problems->errors == 0)
        config = make_config(name, connection, (const ConnectorKeys *const *)keys, database);
    json_decref(connection);
    return config;
}
