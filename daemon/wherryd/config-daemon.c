/*
 * wherry.yaml: the daemon's own settings, destinations by name, and defaults for connections. Its destinations are
 * checked and completed here, once; its defaults are checked against every table that a connection could use, and later
 * laid under each connection as the nodes they are, so that a problem with them points into wherry.yaml.
 */
#include <sched.h>
#include <string.h>
#include <syslog.h>

#include "daemon/wherryd/config-internal.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

uint32_t config_log_level(const char *name)
{
    static const struct {
        const char *name;
        uint32_t priority;
    } levels[] = { { "debug", LOG_DEBUG }, { "notice", LOG_NOTICE }, { "warning", LOG_WARNING }, { "error", LOG_ERR } };
    for (size_t i = 0; name && i < ELEMENTSOF(levels); i++)
        if (strcmp(levels[i].name, name) == 0)
            return levels[i].priority;
    return LOG_INFO;
}

uint32_t daemon_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 of them */
    return n > 0 ? (uint32_t)n : 1;
}

void daemon_config_defaults(DaemonConfig *ret)
{
    *ret = (DaemonConfig){
        .max_syncs = 2 * daemon_cores(), .log_level = LOG_INFO, .destinations = json_object(), .defaults = json_object()
    };
}

static void check_defaults(LoadContext *context, const YamlNode *defaults, DaemonConfig *ret, Problems *problems)
{
    if (defaults->kind != YAML_MAP) {
        yaml_problem(problems, defaults, "\"defaults\" must be a map of keys, such as \"frequency: 1h\"");
        return;
    }
    const Key *tables[KEY_TABLES_MAX];
    top_level_keys((const ConnectorKeys *const[2]){ NULL }, tables);
    const ValueContext values = { .problems = problems, .partial = true };
    json_decref(value_read_map(&values, tables, defaults));
    json_decref(ret->defaults);
    ret->defaults = value_read_any(&values, defaults);
    context->defaults = defaults;
}

static void check_destinations(const LoadContext *context, const YamlNode *named, DaemonConfig *ret, Problems *problems)
{
    if (named->kind != YAML_MAP) {
        yaml_problem(problems, named, "\"destinations\" must be a map of names, such as \"main: {type: sqlite, …}\"");
        return;
    }
    for (uint32_t i = 0; i < named->count; i++) {
        const YamlEntry *entry = &named->entries[i];
        _cleanup_(freep) char *printable = text_escape_shortened(entry->key->text, entry->key->count, 80);
        if (!text_is_name(entry->key->text))
            yaml_problem(problems, entry->key,
                         "\"%s\" cannot name a destination: use a-z, 0-9 and _, beginning with a letter or _",
                         printable);
        json_t *destination = destination_check(context, entry->value, problems);
        if (destination)
            json_object_set_new(ret->destinations, entry->key->text, destination);
    }
}

void daemon_check(LoadContext *context, YamlFile *file, DaemonConfig *ret, Problems *problems)
{
    const YamlNode *root = file->root;
    context->destinations = ret->destinations;
    if (!root || yaml_is_null(root))
        return; /* a file of comments: all defaults */
    if (root->kind != YAML_MAP) {
        yaml_problem(problems, root, "wherry.yaml is a map of keys, such as \"max_syncs: 4\"");
        return;
    }
    const ValueContext values = { .problems = problems };
    json_t *settings = value_read_map(&values, (const Key *const[]){ daemon_keys, NULL }, root);
    const json_t *max_syncs = json_object_get(settings, "max_syncs");
    if (json_is_integer(max_syncs))
        ret->max_syncs = (uint32_t)json_integer_value(max_syncs);
    ret->log_level = config_log_level(json_string_value(json_object_get(settings, "log_level")));
    json_decref(settings);

    const YamlNode *destinations = yaml_get(root, "destinations"), *defaults = yaml_get(root, "defaults");
    if (destinations && !yaml_is_null(destinations))
        check_destinations(context, destinations, ret, problems);
    if (defaults && !yaml_is_null(defaults))
        check_defaults(context, defaults, ret, problems);
}
