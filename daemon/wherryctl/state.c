/* wherryctl state: a connection's cursor, read, replaced or reset. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/print.h"
#include "lib/basics/buffer.h"

static int get(const Options *options, const char *connection)
{
    json_t *reply;
    int status = client_ask_or_say(options, "GetState", client_parameters(connection), NULL, &reply);
    if (status != 0)
        return status;
    print_json(json_object_get(reply, "state"), true);
    json_decref(reply);
    return EXIT_DONE;
}

static json_t *read_state(const char *path)
{
    bool standard_input = strcmp(path, "-") == 0;
    FILE *file = standard_input ? stdin : fopen(path, "re");
    json_error_t problem;

    if (!file) {
        fprintf(stderr, "wherryctl: \"%s\" cannot be read: %s\n", path, error_errno_text(errno));
        return NULL;
    }
    json_t *state = json_loadf(file, JSON_REJECT_DUPLICATES, &problem);
    if (!standard_input)
        fclose(file);
    if (state && json_is_object(state))
        return state;
    if (state)
        fprintf(stderr, "wherryctl: %s: a state is a JSON object\n", path);
    else
        fprintf(stderr, "wherryctl: %s:%d:%d: %s\n", path, problem.line, problem.column, problem.text);
    json_decref(state);
    return NULL;
}

static int set(const Options *options, const char *connection, json_t *state /* stolen; NULL: reset */)
{
    json_t *reply;
    bool reset = state == NULL;
    json_t *parameters = client_parameters(connection);
    json_object_set_new(parameters, "state", state ? state : json_null());
    int status = client_ask_or_say(options, "SetState", parameters, NULL, &reply);
    if (status != 0)
        return status;
    json_decref(reply);
    printf("%s: the state is %s\n", connection, reset ? "reset to {}" : "set");
    return EXIT_DONE;
}

int command_state(const Options *options, char *const *arguments, size_t count)
{
    const char *verb = arguments[1];

    if (strcmp(verb, "get") == 0 && count == 2)
        return get(options, arguments[0]);
    if (strcmp(verb, "reset") == 0 && count == 2)
        return set(options, arguments[0], NULL);
    if (strcmp(verb, "set") == 0 && count == 3) {
        json_t *state = read_state(arguments[2]);
        return state ? set(options, arguments[0], state) : EXIT_WRONG_USE;
    }
    fputs("wherryctl: say what to do: wherryctl state CONNECTION get | set FILE | reset\n", stderr);
    return EXIT_WRONG_USE;
}
