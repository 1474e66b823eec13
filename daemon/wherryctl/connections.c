/* The commands on whole connections: status, cancel, pause, resume, reload. */
#include <stdio.h>
#include <string.h>

#include "daemon/wherryctl/list.h"
#include "daemon/wherryctl/print.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

/* Where no run is due, why not. */
static const char *next_run(const json_t *connection, char ret[static VALUE_TEXT_SIZE])
{
    const char *next = field_text(connection, "next_run_at"), *frequency = field_text(connection, "frequency");
    const char *state = field_text(connection, "state");
    if (next)
        return print_from_now(next, ret);
    if (state && (strcmp(state, "paused") == 0 || strcmp(state, "broken") == 0))
        return "-";
    return frequency && strcmp(frequency, "manual") == 0 ? frequency : "-";
}

static void add_connection(Table *table, const json_t *connection)
{
    char text[VALUE_TEXT_SIZE];
    const char *state = field_text(connection, "state"), *outcome = field_text(connection, "outcome");
    int64_t rows = field_integer(connection, "rows", -1);
    _cleanup_(freep) char *last =
        outcome ? xasprintf("%s %s", outcome, print_ago(field_text(connection, "last_started_at"), text)) : NULL;

    table_add(table, field_text(connection, "name"), STYLE_NONE);
    table_add(table, state, state_style(state));
    table_add(table, last ? last : "-", outcome_style(outcome));
    table_add(table, rows >= 0 ? print_count(rows, text) : "-", STYLE_NONE);
    table_add(table, next_run(connection, text), STYLE_NONE);
    table_add(table, field_text(connection, "error"), STYLE_BAD);
}

int command_status(const Options *options, char *const *arguments, size_t count)
{
    static const char *const headers[] = { "NAME", "STATE", "LAST", ">ROWS", "NEXT", "ERROR", NULL };
    _cleanup_(freep) char *none =
        xasprintf("no connections: put a pipeline file into %s/pipelines.d, then run \"wherryctl reload\"",
                  options->paths.config_dir);
    const List list = { "List", "connections", headers, add_connection, none };
    json_t *parameters = json_object();
    if (count > 0) {
        json_t *names = json_array();
        for (size_t i = 0; i < count; i++) {
            _cleanup_(freep) char *name = text_escape(arguments[i], strlen(arguments[i]));
            json_array_append_new(names, json_string(name));
        }
        json_object_set_new(parameters, "names", names);
    }
    return list_show(options, &list, parameters);
}

static int order(const Options *options, const char *method, const char *connection, const char *done)
{
    json_t *reply;
    int status = client_ask_or_say(options, method, client_parameters(connection), NULL, &reply);
    if (status != 0)
        return status;
    json_decref(reply);
    printf("%s: %s\n", connection, done);
    return EXIT_DONE;
}

int command_cancel(const Options *options, char *const *arguments, size_t count)
{
    return order(options, "Cancel", arguments[0], "the sync is being cancelled");
}

int command_pause(const Options *options, char *const *arguments, size_t count)
{
    return order(options, "Pause", arguments[0], "paused; \"wherryctl resume\" goes on");
}

int command_resume(const Options *options, char *const *arguments, size_t count)
{
    return order(options, "Resume", arguments[0], "resumed");
}

int command_reload(const Options *options, char *const *arguments, size_t count)
{
    json_t *reply, *broken, *entry;
    size_t i;
    int status = client_ask_or_say(options, "Reload", NULL, NULL, &reply);
    if (status != 0)
        return status;

    int64_t connections = field_integer(reply, "connections", 0);
    broken = json_object_get(reply, "broken");
    printf("reloaded: %lld connection%s", (long long)connections, connections == 1 ? "" : "s");
    if (json_array_size(broken) > 0)
        printf(", %zu broken", json_array_size(broken));
    puts("");
    fflush(stdout);
    json_array_foreach (broken, i, entry) {
        _cleanup_(freep) char *text = printable_lines(json_is_string(entry) ? json_string_value(entry) : "");
        fprintf(stderr, "broken: %s\n", text);
    }
    json_decref(reply);
    return EXIT_DONE;
}
