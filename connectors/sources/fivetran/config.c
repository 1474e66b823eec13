/*
 * The keys of a Fivetran connector. Its configuration is what configuration.json was: names and texts, given to
 * schema() and update(). A value that YAML would read as a number must be quoted, since a connector expects text, and
 * which text a number had is not known any more.
 */
#include <string.h>

#include "lib/formats/configuration.h"
#include "lib/formats/key.h"

#define MEMORY (UINT64_C(1) << 30) /* as much as Fivetran gives */

extern const ConnectorKeys source_fivetran_keys;

static const Key own_keys[] = {
    { .name = "project",
      .type = KEY_PATH,
      .required = true,
      .description = "The folder that holds connector.py; relative to this file's folder." },
    { .name = "configuration",
      .type = KEY_ANY,
      .description = "What the connector gets as configuration: names and texts, as configuration.json has them." },
    { .name = "python",
      .type = KEY_STRING,
      .description = "The Python that runs it: a version from 3.10 to 3.14 (\"3.12\") or the path of an interpreter; "
                     "python3 where this is left out." },
    { .name = "environment",
      .type = KEY_PATH,
      .description = "The folder of a virtual environment that holds what the connector imports; its interpreter then "
                     "runs the connector." },
    { 0 }
};

static void complete(json_t *connection, KeyReport *report)
{
    json_t *source = json_object_get(connection, "source");
    json_t *configuration = json_object_get(source, "configuration"), *value;
    const char *name;
    if (json_object_get(source, "python") && json_object_get(source, "environment"))
        key_problem(report, "source.python", "\"environment\" brings its own interpreter; leave \"python\" out");
    if (!configuration || json_is_null(configuration)) {
        json_object_set_new(source, "configuration", json_object());
        return;
    }
    if (!json_is_object(configuration)) {
        key_problem(report, "source.configuration", "\"configuration\" must be a map of names and texts");
        return;
    }
    json_object_foreach (configuration, name, value) {
        /* an object stands for a secret that is not resolved yet */
        if (!json_is_string(value) && !json_is_object(value))
            key_problem(report, "source.configuration", "\"%s\" in \"configuration\" must be text; put it in quotes",
                        name);
        if (json_is_string(value) && configuration_names_secret(name))
            key_warning(report, "source.configuration",
                        "\"%s\" in \"configuration\" is written out; !env, !file or !credential keep it out of here",
                        name);
    }
    if (json_object_size(configuration) > CONFIGURATION_KEYS_MAX)
        key_problem(report, "source.configuration", "\"configuration\" has %zu keys; at most %d are possible",
                    json_object_size(configuration), CONFIGURATION_KEYS_MAX);
}

const ConnectorKeys source_fivetran_keys = {
    .type = "fivetran", .operations = true, .own_schema = true, .own = own_keys, .complete = complete, .memory = MEMORY
};
