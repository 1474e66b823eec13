/*
 * The keys of an exec source. The command's arguments are seen by every user of the machine who looks at the list of
 * processes, so that no secret may stand there: `configuration` is for these.
 */
#include <string.h>

#include "lib/basics/path.h"
#include "lib/formats/key.h"

extern const ConnectorKeys source_exec_keys;

static const Key own_keys[] = {
    { .name = "command",
      .type = KEY_LIST,
      .required = true,
      .items = KEY_STRING,
      .description = "The program and its arguments; relative to this file's folder, or a name on the path." },
    { .name = "configuration", .type = KEY_ANY, .description = "What the program is given as \"configuration\"." },
    { 0 }
};

static void complete_command(json_t *source, KeyReport *report)
{
    json_t *command = json_object_get(source, "command"), *argument;
    size_t i;
    bool bad = false;
    if (!json_is_array(command))
        return;
    json_array_foreach (command, i, argument) {
        if (json_is_object(argument))
            key_problem(
                report, "source.command",
                "a secret in \"command\" could be seen in the list of processes; put it into \"configuration\"");
        bad |= !json_is_string(argument);
    }
    const char *program = json_string_value(json_array_get(command, 0));
    if (json_array_size(command) == 0 || (program && !*program))
        key_problem(report, "source.command", "\"command\" is empty; name the program to run");
    else if (!bad && program && strchr(program, '/') && program[0] != '/') {
        char *absolute = path_join(report->folder, program);
        json_array_set_new(command, 0, json_string(absolute));
        free(absolute);
    }
}

static void complete(json_t *connection, KeyReport *report)
{
    json_t *source = json_object_get(connection, "source");
    json_t *configuration = json_object_get(source, "configuration");
    complete_command(source, report);
    if (json_is_null(configuration) || !configuration)
        json_object_set_new(source, "configuration", json_object());
    else if (!json_is_object(configuration))
        key_problem(report, "source.configuration", "\"configuration\" must be a map");
    /* where the program starts; a second time it is there already */
    if (!json_object_get(source, "folder"))
        json_object_set_new(source, "folder", json_string(report->folder));
}

const ConnectorKeys source_exec_keys = { .type = "exec", .operations = true, .own = own_keys, .complete = complete };
