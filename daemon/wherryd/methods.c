/*
 * The methods of org.varlink.service and org.wherry.Manager.
 *
 * The table at the end says what each method takes; check_parameters() holds every call against it, so that a handler
 * only ever sees parameters of the right type. An absent parameter and null are the same, as the interface's `?` means
 * it. Handlers hand over to the manager, which speaks the interface's types already, and turn its MANAGER_E_* into the
 * interface's errors. None of them waits: a sync's end arrives as an event, a state as a callback.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/wherryd/control.h"
#include "daemon/wherryd/interfaces.h"
#include "daemon/wherryd/methods.h"
#include "lib/basics/text.h"
#include "lib/formats/varlink.h"
#include "wherry-build.h"

#define SERVICE "org.varlink.service"
#define MANAGER "org.wherry.Manager"

#define RUNS_LIMIT_DEFAULT 100
#define RUNS_LIMIT_MAX 10000
#define LIST_PIECE 500 /* elements per reply: about 150 kB of files */

typedef enum ParameterType {
    PARAMETER_STRING = 1,
    PARAMETER_STRINGS,
    PARAMETER_BOOLEAN,
    PARAMETER_INTEGER,
    PARAMETER_OBJECT,
    PARAMETER_OBJECTS,
} ParameterType;

typedef struct Parameter {
    const char *name; /* NULL ends the list */
    ParameterType type;
    bool optional;
} Parameter;

typedef struct Method {
    const char *name;
    void (*handle)(Call *call, json_t *parameters);
    bool needs_more;
    Parameter parameters[12];
} Method;

Call *call_free(Call *call)
{
    if (!call)
        return NULL;
    free(call->connection);
    json_decref(call->early_run);
    json_decref(call->list);
    free(call);
    return NULL;
}

void call_reply(Call *call, json_t *parameters)
{
    call->done = true;
    control_call_put(call, varlink_reply(parameters, false));
}

void call_reply_continues(Call *call, json_t *parameters)
{
    control_call_put(call, varlink_reply(parameters, true));
}

void call_error(Call *call, const char *error, json_t *parameters)
{
    call->done = true;
    control_call_put(call, varlink_error(error, parameters));
}

static void invalid_parameter(Call *call, const char *name)
{
    call_error(call, SERVICE ".InvalidParameter", json_pack("{s:s}", "parameter", name));
}

static void error_with_message(Call *call, const char *name, const Error *error)
{
    _cleanup_(freep) char *text = error_format(error);
    size_t length = strlen(text);
    if (utf8_valid_length(text, length) != length) { /* JSON could not hold it */
        char *escaped = text_escape(text, length);
        free(text);
        text = escaped;
    }
    call_error(call, name, json_pack("{s:s}", "message", text));
}

static void failed(Call *call, const Error *error)
{
    assert(error);
    error_with_message(call, error->kind == ERROR_CONFIGURATION ? MANAGER ".BadConfiguration" : MANAGER ".Failed",
                       error);
}

static void no_such_connection(Call *call, const char *name)
{
    call_error(call, MANAGER ".NoSuchConnection",
               json_pack("{s:s, s:s?}", "name", name, "suggestion", manager_suggest(call->manager, name)));
}

/* Answers with what the manager's result R other than 0 means. */
static void answer_result(Call *call, int r, const char *connection, const char *run_id, const char *file,
                          const Error *error)
{
    switch (r) {
    case MANAGER_E_NO_SUCH_CONNECTION:
        no_such_connection(call, connection);
        return;
    case MANAGER_E_BUSY:
        call_error(call, MANAGER ".Busy", json_pack("{s:s, s:s}", "connection", connection, "run_id", run_id));
        return;
    case MANAGER_E_BROKEN:
        error_with_message(call, MANAGER ".BadConfiguration", error);
        return;
    case MANAGER_E_NO_SUCH_FILE:
        call_error(call, MANAGER ".NoSuchFile", json_pack("{s:s}", "name", file ? file : ""));
        return;
    case MANAGER_E_NOT_SYNCING:
        call_error(call, MANAGER ".NotSyncing", json_pack("{s:s}", "connection", connection));
        return;
    case MANAGER_E_EXISTS:
        call_error(call, MANAGER ".Exists", json_pack("{s:s}", "connection", connection));
        return;
    case MANAGER_E_STOPPING:
        call_error(call, MANAGER ".Stopping", NULL);
        return;
    default:
        failed(call, error);
    }
}

/* --- parameters, known to be of the right type --- */

static const char *parameter_string(json_t *parameters, const char *name)
{
    return json_string_value(json_object_get(parameters, name)); /* NULL: absent or null */
}

static bool parameter_true(json_t *parameters, const char *name)
{
    return json_is_true(json_object_get(parameters, name));
}

/* --- lists, which with `more` go out in pieces, at the pace of the reader --- */

static json_t *list_piece(Call *call)
{
    json_t *piece = json_array();
    size_t end = MIN_OF(call->list_next + LIST_PIECE, json_array_size(call->list));
    for (; call->list_next < end; call->list_next++)
        json_array_append(piece, json_array_get(call->list, call->list_next));
    return json_pack("{s:o}", call->list_key, piece);
}

void methods_drained(Call *call)
{
    json_t *piece = list_piece(call);
    if (call->list_next < json_array_size(call->list))
        call_reply_continues(call, piece);
    else
        call_reply(call, piece);
}

static void answer_list(Call *call, const char *key, json_t *list /* stolen */)
{
    if (!call->more || json_array_size(list) <= LIST_PIECE) {
        call_reply(call, json_pack("{s:o}", key, list));
        return;
    }
    call->list_key = key;
    call->list = list;
    call->waits = CALL_WAITS_DRAINED;
    methods_drained(call);
}

/* --- org.varlink.service --- */

static void get_info(Call *call, json_t *parameters)
{
    call_reply(call, json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "Wherry", "product", "wherryd", "version",
                               WHERRY_VERSION, "url", "", "interfaces", SERVICE, MANAGER));
}

static void get_interface_description(Call *call, json_t *parameters)
{
    const char *name = parameter_string(parameters, "interface");
    const char *text = strcmp(name, SERVICE) == 0   ? interface_org_varlink_service
                       : strcmp(name, MANAGER) == 0 ? interface_org_wherry_manager
                                                    : NULL;
    if (!text)
        call_error(call, SERVICE ".InterfaceNotFound", json_pack("{s:s}", "interface", name));
    else
        call_reply(call, json_pack("{s:s}", "description", text));
}

/* --- org.wherry.Manager --- */

static void list(Call *call, json_t *parameters)
{
    json_t *names = json_object_get(parameters, "names");
    const char *unknown = NULL;
    json_t *connections = manager_list(call->manager, json_is_array(names) ? names : NULL, &unknown);

    if (!connections)
        no_such_connection(call, unknown ? unknown : "");
    else
        answer_list(call, "connections", connections);
}

static void state_arrived(Call *call, json_t *parameters /* stolen */, const Error *error);

static void deploy_line(const char *text, size_t n, void *userdata)
{
    Call *call = userdata;
    if (!call->peer || !call->more || control_call_congested(call))
        return;
    _cleanup_(freep) char *printable = text_escape(text, n);
    call_reply_continues(call, json_pack("{s:s, s:n, s:n}", "log", printable, "upload", "deployed"));
}

static bool deploy_wanted(void *userdata)
{
    const Call *call = userdata;
    return call->peer || call->oneway;
}

static void deploy_done(json_t *deployed, const Error *error, void *userdata)
{
    json_t *answer = deployed ? json_pack("{s:O, s:n, s:n}", "deployed", deployed, "upload", "log") : NULL;
    state_arrived(userdata, answer, deployed ? NULL : error);
}

static void deploy(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    char upload[UUID_TEXT_SIZE] = "";
    json_t *configuration = json_object_get(parameters, "configuration");
    json_t *files = json_object_get(parameters, "files");
    const ManagerDeployRequest request = { .connection = parameter_string(parameters, "connection"),
                                           .upload = parameter_string(parameters, "upload"),
                                           .files = json_is_array(files) ? files : NULL,
                                           .configuration = json_is_object(configuration) ? configuration : NULL,
                                           .destination = parameter_string(parameters, "destination"),
                                           .python = parameter_string(parameters, "python"),
                                           .naming = parameter_string(parameters, "naming"),
                                           .frequency = parameter_string(parameters, "frequency"),
                                           .commit = parameter_true(parameters, "commit"),
                                           .overwrite = parameter_true(parameters, "overwrite") };
    const ManagerDeployEvents events = {
        .line = deploy_line, .done = deploy_done, .wanted = deploy_wanted, .userdata = call
    };
    call->waits = request.commit ? CALL_WAITS_STATE : CALL_WAITS_NOT;
    int r = manager_deploy(call->manager, &request, &events, upload, &error);
    if (r == 0 && request.commit)
        return;
    call->waits = CALL_WAITS_NOT;
    if (r != 0)
        answer_result(call, r, request.connection, NULL, NULL, &error);
    else
        call_reply(call, json_pack("{s:s, s:n, s:n}", "upload", upload, "log", "deployed"));
}

static void undeploy(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    json_t *undeployed = NULL;
    int r = manager_undeploy(call->manager, connection, parameter_true(parameters, "commit"), &undeployed, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, NULL, &error);
    else
        call_reply(call, undeployed);
}

static void configure(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    json_t *set = json_object_get(parameters, "set"), *unset = json_object_get(parameters, "unset"), *names = NULL;
    int r = manager_configure(call->manager, connection, json_is_object(set) ? set : NULL,
                              json_is_array(unset) ? unset : NULL, &names, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, NULL, &error);
    else
        call_reply(call, json_pack("{s:o}", "names", names));
    if (r != 0)
        json_decref(names);
}

static json_t *sync_answer(const char *run_id, json_t *progress, json_t *run)
{
    return json_pack("{s:s, s:O?, s:O?}", "run_id", run_id, "progress", progress, "run", run);
}

static void sync_(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    json_t *wait = json_object_get(parameters, "wait");

    json_t *tables = json_object_get(parameters, "tables");
    bool full = parameter_true(parameters, "full");

    if (json_array_size(tables) == 0)
        tables = NULL;
    if (tables && !full) {
        invalid_parameter(call, "tables"); /* only a full sync makes tables anew */
        return;
    }

    /* from here on the listener sees this call, so that a run which ends before manager_sync() returns is not missed */
    call->connection = xstrdup(connection);
    call->waits = CALL_WAITS_RUN;
    int r = manager_sync(call->manager, connection, full, tables, call->run_id, &error);
    if (r != 0) {
        call->waits = CALL_WAITS_NOT;
        answer_result(call, r, connection, call->run_id, NULL, &error);
        return;
    }
    if (call->oneway || json_is_false(wait)) {
        call->waits = CALL_WAITS_NOT;
        call_reply(call, sync_answer(call->run_id, NULL, NULL));
        return;
    }
    if (call->more) {
        json_t *progress = json_pack("{s:s, s:i, s:i, s:n, s:n, s:s}", "run_id", call->run_id, "rows", 0, "bytes", 0,
                                     "bytes_total", "file", "phase", "queued");
        call_reply_continues(call, sync_answer(call->run_id, progress, NULL));
        json_decref(progress);
    }
    if (call->early_run && strcmp(json_string_value(json_object_get(call->early_run, "run_id")), call->run_id) == 0)
        call_reply(call, sync_answer(call->run_id, NULL, call->early_run));
}

static void cancel(Call *call, json_t *parameters)
{
    const char *connection = parameter_string(parameters, "connection");
    int r = manager_cancel(call->manager, connection);
    if (r < 0) {
        _cleanup_(error_clear) Error error = { 0 };
        error_set(&error, ERROR_INTERNAL, "the sync of \"%s\" could not be cancelled", connection);
        failed(call, &error);
    } else if (r > 0) {
        answer_result(call, r, connection, NULL, NULL, NULL);
    } else {
        call_reply(call, NULL);
    }
}

static void pause_(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    int r = manager_pause(call->manager, connection, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, NULL, &error);
    else
        call_reply(call, NULL);
}

static void resume(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    int r = manager_resume(call->manager, connection, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, NULL, &error);
    else
        call_reply(call, NULL);
}

static void reload(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    size_t connections = 0;
    json_t *broken = NULL;
    int r = manager_reload(call->manager, &connections, &broken, &error);
    if (r != 0)
        answer_result(call, r, "", NULL, NULL, &error);
    else
        call_reply(call, json_pack("{s:I, s:o}", "connections", (json_int_t)connections, "broken",
                                   broken ? broken : json_array()));
}

static void runs(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    json_t *given = json_object_get(parameters, "limit");
    int64_t limit = json_is_integer(given) ? json_integer_value(given) : RUNS_LIMIT_DEFAULT;
    json_t *found = NULL;

    if (limit < 1) {
        invalid_parameter(call, "limit");
        return;
    }
    int r = manager_runs(call->manager, connection, MIN_OF(limit, RUNS_LIMIT_MAX), &found, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, NULL, &error);
    else
        answer_list(call, "runs", found);
}

static void files(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    json_t *found = NULL;
    int r = manager_files(call->manager, connection, parameter_true(parameters, "failed"), &found, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, NULL, &error);
    else
        answer_list(call, "files", found);
}

static void requeue(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    const char *file = parameter_string(parameters, "file");
    bool all_failed = parameter_true(parameters, "all_failed");
    int64_t count = 0;

    bool quarantined = parameter_true(parameters, "quarantined");
    if (all_failed + quarantined + (file != NULL) != 1) {
        invalid_parameter(call, "file"); /* one file, or all that failed, or what was set aside */
        return;
    }
    int r = quarantined ? manager_requeue_quarantined(call->manager, connection, &count, &error)
                        : manager_requeue(call->manager, connection, file, all_failed, &count, &error);
    if (r != 0)
        answer_result(call, r, connection, NULL, file, &error);
    else
        call_reply(call, json_pack("{s:I}", "files", (json_int_t)count));
}

/* The manager gives the call back; the caller may have gone meanwhile. */
static void state_arrived(Call *call, json_t *parameters /* stolen */, const Error *error)
{
    call->waits = CALL_WAITS_NOT;
    if (!call->peer) {
        json_decref(parameters);
        call_free(call);
        return;
    }
    if (error) {
        json_decref(parameters);
        failed(call, error);
    } else {
        call_reply(call, parameters);
    }
    if (!call->dispatching)
        control_call_completed(call);
}

static void state_read(json_t *state, const Error *error, void *userdata)
{
    json_t *shown = state ? json_incref(state) : json_object();
    state_arrived(userdata, json_pack("{s:o}", "state", shown), error);
}

static void state_written(json_t *state, const Error *error, void *userdata)
{
    state_arrived(userdata, NULL, error);
}

static void get_state(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");

    call->waits = CALL_WAITS_STATE;
    int r = manager_get_state(call->manager, connection, state_read, call, call->run_id, &error);
    if (r != 0) {
        call->waits = CALL_WAITS_NOT;
        answer_result(call, r, connection, call->run_id, NULL, &error);
    }
}

static void set_state(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");
    json_t *state = json_object_get(parameters, "state");

    call->waits = CALL_WAITS_STATE;
    int r = manager_set_state(call->manager, connection, json_is_object(state) ? state : NULL, state_written, call,
                              call->run_id, &error);
    if (r != 0) {
        call->waits = CALL_WAITS_NOT;
        answer_result(call, r, connection, call->run_id, NULL, &error);
    }
}

static void plan_made(json_t *made, const Error *error, void *userdata)
{
    state_arrived(userdata, made ? json_pack("{s:O}", "plan", made) : NULL, error);
}

static void plan(Call *call, json_t *parameters)
{
    _cleanup_(error_clear) Error error = { 0 };
    const char *connection = parameter_string(parameters, "connection");

    call->waits = CALL_WAITS_STATE;
    int r = manager_plan(call->manager, connection, plan_made, call, call->run_id, &error);
    if (r != 0) {
        call->waits = CALL_WAITS_NOT;
        answer_result(call, r, connection, call->run_id, NULL, &error);
    }
}

static void monitor(Call *call, json_t *parameters)
{
    call->waits = CALL_WAITS_FOREVER;
}

static void event_of_awaited_run(Call *call, ManagerEvent event, const char *connection, json_t *data)
{
    const char *run_id = json_string_value(json_object_get(data, "run_id"));
    if (!run_id)
        return;
    if (call->run_id[0] == '\0' || call->dispatching) {
        if (event == MANAGER_EVENT_RUN && strcmp(connection, call->connection) == 0) {
            json_decref(call->early_run);
            call->early_run = json_incref(data);
        }
        return;
    }
    if (strcmp(run_id, call->run_id) != 0)
        return;
    if (event == MANAGER_EVENT_RUN)
        call_reply(call, sync_answer(run_id, NULL, data));
    else if (event == MANAGER_EVENT_PROGRESS && call->more && !control_call_congested(call))
        call_reply_continues(call, sync_answer(run_id, data, NULL));
}

void methods_event(Call *call, ManagerEvent event, const char *connection, json_t *data)
{
    if (call->waits == CALL_WAITS_RUN)
        event_of_awaited_run(call, event, connection, data);
    else if (call->waits == CALL_WAITS_FOREVER && event == MANAGER_EVENT_CONNECTION)
        call_reply_continues(call, json_pack("{s:O, s:n}", "connection", data, "run"));
    else if (call->waits == CALL_WAITS_FOREVER && event == MANAGER_EVENT_RUN)
        call_reply_continues(call, json_pack("{s:n, s:O}", "connection", "run", data));
}

/* clang-format off */
static const Method METHODS[] = {
    { SERVICE ".GetInfo", get_info },
    { SERVICE ".GetInterfaceDescription", get_interface_description, .parameters = { { "interface", PARAMETER_STRING } } },
    { MANAGER ".List", list, .parameters = { { "names", PARAMETER_STRINGS, true } } },
    { MANAGER ".Sync", sync_, .parameters = { { "connection", PARAMETER_STRING }, { "full", PARAMETER_BOOLEAN, true },
                                              { "tables", PARAMETER_STRINGS, true }, { "wait", PARAMETER_BOOLEAN, true } } },
    { MANAGER ".Cancel", cancel, .parameters = { { "connection", PARAMETER_STRING } } },
    { MANAGER ".Pause", pause_, .parameters = { { "connection", PARAMETER_STRING } } },
    { MANAGER ".Resume", resume, .parameters = { { "connection", PARAMETER_STRING } } },
    { MANAGER ".Reload", reload },
    { MANAGER ".Runs", runs, .parameters = { { "connection", PARAMETER_STRING, true }, { "limit", PARAMETER_INTEGER, true } } },
    { MANAGER ".Files", files, .parameters = { { "connection", PARAMETER_STRING }, { "failed", PARAMETER_BOOLEAN, true } } },
    { MANAGER ".Requeue", requeue, .parameters = { { "connection", PARAMETER_STRING }, { "file", PARAMETER_STRING, true },
                                                   { "all_failed", PARAMETER_BOOLEAN, true },
                                                   { "quarantined", PARAMETER_BOOLEAN, true } } },
    { MANAGER ".GetState", get_state, .parameters = { { "connection", PARAMETER_STRING } } },
    { MANAGER ".SetState", set_state, .parameters = { { "connection", PARAMETER_STRING }, { "state", PARAMETER_OBJECT, true } } },
    { MANAGER ".Deploy", deploy, .parameters = { { "connection", PARAMETER_STRING }, { "upload", PARAMETER_STRING, true },
                                                 { "files", PARAMETER_OBJECTS, true }, { "commit", PARAMETER_BOOLEAN, true },
                                                 { "overwrite", PARAMETER_BOOLEAN, true }, { "destination", PARAMETER_STRING, true },
                                                 { "configuration", PARAMETER_OBJECT, true }, { "python", PARAMETER_STRING, true },
                                                 { "naming", PARAMETER_STRING, true }, { "frequency", PARAMETER_STRING, true } } },
    { MANAGER ".Undeploy", undeploy, .parameters = { { "connection", PARAMETER_STRING }, { "commit", PARAMETER_BOOLEAN, true } } },
    { MANAGER ".Configure", configure, .parameters = { { "connection", PARAMETER_STRING }, { "set", PARAMETER_OBJECT, true },
                                                       { "unset", PARAMETER_STRINGS, true } } },
    { MANAGER ".Plan", plan, .parameters = { { "connection", PARAMETER_STRING } } },
    { MANAGER ".Monitor", monitor, .needs_more = true },
};
/* clang-format on */

static bool has_type(json_t *value, ParameterType type)
{
    size_t i;
    json_t *element;

    switch (type) {
    case PARAMETER_STRING:
        return json_is_string(value);
    case PARAMETER_BOOLEAN:
        return json_is_boolean(value);
    case PARAMETER_INTEGER:
        return json_is_integer(value);
    case PARAMETER_OBJECT:
        return json_is_object(value);
    case PARAMETER_OBJECTS:
        json_array_foreach (value, i, element)
            if (!json_is_object(element))
                return false;
        return json_is_array(value);
    case PARAMETER_STRINGS:
        json_array_foreach (value, i, element)
            if (!json_is_string(element))
                return false;
        return json_is_array(value);
    }
    return false;
}

/* The name of the first parameter that METHOD does not take as it is; NULL: all is well. */
static const char *check_parameters(const Method *method, json_t *parameters)
{
    const char *key;
    json_t *value;

    json_object_foreach (parameters, key, value) {
        const Parameter *p = method->parameters;
        while (p->name && strcmp(p->name, key) != 0)
            p++;
        if (!p->name)
            return key;
    }
    for (const Parameter *p = method->parameters; p->name; p++) {
        value = json_object_get(parameters, p->name);
        bool absent = !value || json_is_null(value);
        if (absent ? !p->optional : !has_type(value, p->type))
            return p->name;
    }
    return NULL;
}

static const Method *find_method(Call *call, const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(METHODS); i++)
        if (strcmp(METHODS[i].name, name) == 0)
            return &METHODS[i];

    const char *dot = strrchr(name, '.');
    _cleanup_(freep) char *interface = xstrndup(name, dot ? (size_t)(dot - name) : 0);
    if (strcmp(interface, SERVICE) == 0 || strcmp(interface, MANAGER) == 0)
        call_error(call, SERVICE ".MethodNotFound", json_pack("{s:s}", "method", name));
    else
        call_error(call, SERVICE ".InterfaceNotFound", json_pack("{s:s}", "interface", dot ? interface : name));
    return NULL;
}

/* Reads one of the call's own flags; false if it is there and not a boolean. */
static bool take_flag(json_t *message, const char *name, bool *ret)
{
    json_t *value = json_object_get(message, name);
    *ret = json_is_true(value);
    return !value || json_is_boolean(value);
}

static void dispatch(Call *call, json_t *message)
{
    json_t *parameters = json_object_get(message, "parameters");
    const char *name = json_string_value(json_object_get(message, "method"));
    const char *wrong = NULL;
    bool upgrade = false;

    if (!take_flag(message, "more", &call->more))
        wrong = "more";
    else if (!take_flag(message, "oneway", &call->oneway))
        wrong = "oneway";
    else if (!take_flag(message, "upgrade", &upgrade))
        wrong = "upgrade";
    else if (!name)
        wrong = "method";
    else if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
        wrong = "parameters";
    if (wrong) {
        call->malformed = true;
        invalid_parameter(call, wrong);
        return;
    }

    if (call->oneway)
        call->more = false; /* there is nobody to stream to */
    const Method *method = find_method(call, name);
    if (!method)
        return;
    if (upgrade) {
        call_error(call, SERVICE ".MethodNotImplemented", json_pack("{s:s}", "method", name));
        return;
    }
    wrong = check_parameters(method, parameters);
    if (wrong)
        invalid_parameter(call, wrong);
    else if (method->needs_more && !call->more)
        call_error(call, SERVICE ".ExpectedMore", NULL);
    else
        method->handle(call, parameters);
}

void methods_dispatch(Call *call, json_t *message)
{
    call->dispatching = true;
    dispatch(call, message);
    call->dispatching = false;
}
