/*
 * wherryctl deploy, undeploy and configuration: a project becomes a connection of the daemon's, which builds its
 * environment and keeps its values. Files go over the control socket in pieces, since a call is bounded; the daemon is
 * asked first, so that what it refuses is refused before anything is sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/print.h"
#include "daemon/wherryctl/project.h"
#include "daemon/wherryctl/question.h"
#include "lib/basics/base64.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/configuration.h"

#define PIECE_BYTES (384u << 10) /* in base64 half a MiB: half of what a call may have */
#define VALUE_BYTES_MAX (256u << 10)

typedef struct Deployment {
    const Options *options;
    const char *connection;
    Project project;
    char *configuration_path; /* NULL: none */
    json_t *configuration;    /* NULL: what was deployed before is kept */
    const char *destination, *naming;
    bool overwrite;
    Client *client;
    char *upload;
    json_t *files; /* the next call's */
    size_t gathered;
} Deployment;

static void deployment_clear(Deployment *deployment)
{
    project_clear(&deployment->project);
    free(deployment->configuration_path);
    json_decref(deployment->configuration);
    client_free(deployment->client);
    free(deployment->upload);
    json_decref(deployment->files);
}

static const char *from_environment(const char *given, const char *variable)
{
    const char *value = getenv(variable);
    return given ? given : value && *value ? value : NULL;
}

/* --- what is asked for --- */

static int read_connection(Deployment *deployment, Error *error)
{
    deployment->connection = from_environment(deployment->options->connection, "FIVETRAN_CONNECTION_NAME");
    if (!deployment->connection)
        return error_set(error, ERROR_CONFIGURATION,
                         "say what the connection is to be called: wherryctl deploy "
                         "--connection NAME");
    if (text_is_name(deployment->connection))
        return 0;
    _cleanup_(freep) char *printable =
        text_escape_shortened(deployment->connection, strlen(deployment->connection), 100);
    return error_set(error, ERROR_CONFIGURATION,
                     "\"%s\" cannot name a connection: a-z, 0-9 and _, beginning with a letter or _, at most 63",
                     printable);
}

static int read_configuration(Deployment *deployment, Error *error)
{
    const char *given = from_environment(deployment->options->configuration, "FIVETRAN_CONFIGURATION");
    bool readable = false;
    if (!given)
        return 0;
    deployment->configuration_path = project_find_file(&deployment->project, given);
    if (project_read_configuration(deployment->configuration_path, &deployment->configuration, &readable, error) < 0)
        return -1;
    if (readable)
        fprintf(stderr, "wherryctl: warning: \"%s\" can be read by every user of this machine; chmod 600 it\n", given);
    return 0;
}

static int gather(Deployment *deployment, const char *folder, Error *error)
{
    const Options *options = deployment->options;
    deployment->destination = from_environment(options->destination, "FIVETRAN_DESTINATION_NAME");
    deployment->overwrite = options->given & OPTION_YES;
    const char *naming = from_environment(options->naming, "FIVETRAN_NAMING");
    if (read_connection(deployment, error) < 0 || project_naming(naming, &deployment->naming, error) < 0 ||
        project_open(folder, &deployment->project, error) < 0 || read_configuration(deployment, error) < 0)
        return -1;
    return project_list(&deployment->project, deployment->configuration_path, error);
}

/* Where progress is told: with --json, stdout is the result's alone. */
static FILE *said(const Options *options)
{
    return options->given & OPTION_JSON ? stderr : stdout;
}

/* --- calls --- */

static json_t *call(const Deployment *deployment)
{
    json_t *parameters = client_parameters(deployment->connection);
    json_object_set_new(parameters, "overwrite", json_boolean(deployment->overwrite));
    if (deployment->upload)
        json_object_set_new(parameters, "upload", json_string(deployment->upload));
    const struct {
        const char *key, *value;
    } settings[] = { { "destination", deployment->destination },
                     { "python", deployment->options->python },
                     { "naming", deployment->naming },
                     { "frequency", deployment->options->frequency } };
    for (size_t i = 0; i < ELEMENTSOF(settings); i++)
        if (settings[i].value)
            json_object_set_new(parameters, settings[i].key, json_string(settings[i].value));
    return parameters;
}

static int send_call(Deployment *deployment, json_t *parameters /* stolen */, json_t **ret, Error *error)
{
    int status = client_send(deployment->client, "Deploy", parameters, false, error);
    return status == 0 ? client_receive(deployment->client, ret, NULL, error) : status;
}

/* Begins the upload. Where it is deployed already, a person is asked. */
static int begin(Deployment *deployment, Error *error)
{
    json_t *reply;
    int status = client_connect(deployment->options, &deployment->client, error);
    if (status == 0)
        status = send_call(deployment, call(deployment), &reply, error);
    if (status == EXIT_EXISTS && !deployment->overwrite) {
        _cleanup_(freep) char *question =
            xasprintf("\"%s\" was deployed already. Overwrite its code%s?", deployment->connection,
                      deployment->configuration ? " and its configuration" : "");
        error_clear(error);
        status = ask(deployment->options, question, true);
        if (status != 0)
            return status;
        deployment->overwrite = true;
        deployment->client = client_free(deployment->client); /* it may not wait as long as a person thinks */
        return begin(deployment, error);
    }
    if (status != 0)
        return status;
    deployment->upload = xstrdup(field_text(reply, "upload"));
    json_decref(reply);
    return 0;
}

static int send_files(Deployment *deployment, Error *error)
{
    json_t *parameters = call(deployment), *reply = NULL;
    if (json_array_size(deployment->files) == 0) {
        json_decref(parameters);
        return 0;
    }
    json_object_set_new(parameters, "files", take_ptr(deployment->files));
    deployment->gathered = 0;
    int status = send_call(deployment, parameters, &reply, error);
    if (status == 0)
        json_decref(reply);
    return status;
}

static int add_piece(Deployment *deployment, const ProjectFile *file, const uint8_t *bytes, size_t n, bool append,
                     Error *error)
{
    size_t length = base64_length(n);
    _cleanup_(freep) char *text = xmalloc(length + 1);
    base64_encode(bytes, n, text);
    if (!deployment->files)
        deployment->files = json_array();
    json_array_append_new(deployment->files, json_pack("{s:s, s:s%, s:b, s:b}", "path", file->path, "data", text,
                                                       length, "append", append, "executable", file->executable));
    deployment->gathered += n + strlen(file->path) + 100;
    return deployment->gathered >= PIECE_BYTES ? send_files(deployment, error) : 0;
}

static int upload_file(Deployment *deployment, const ProjectFile *file, uint8_t *room, Error *error)
{
    _cleanup_(close_fdp) int fd = project_open_file(&deployment->project, file, error);
    if (fd < 0)
        return EXIT_WRONG_USE;
    bool append = false;
    for (;;) {
        ssize_t n = read(fd, room, PIECE_BYTES / 2);
        if (n < 0) {
            error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", file->path);
            return EXIT_FAILED;
        }
        if (n == 0 && append)
            return 0;
        int status = add_piece(deployment, file, room, (size_t)n, append, error);
        if (status != 0 || n == 0)
            return status;
        append = true;
    }
}

static int upload(Deployment *deployment, Error *error)
{
    _cleanup_(freep) uint8_t *room = xmalloc(PIECE_BYTES);
    int status = 0;
    for (size_t i = 0; status == 0 && i < deployment->project.count; i++)
        status = upload_file(deployment, &deployment->project.files[i], room, error);
    return status == 0 ? send_files(deployment, error) : status;
}

/* Asks for the version to be put in place, and shows what the builder says meanwhile. */
static int commit(Deployment *deployment, json_t **ret, Error *error)
{
    json_t *parameters = call(deployment);
    json_object_set_new(parameters, "commit", json_true());
    if (deployment->configuration)
        json_object_set(parameters, "configuration", deployment->configuration);
    int status = client_send(deployment->client, "Deploy", parameters, true, error);
    for (bool continues = true; status == 0 && continues;) {
        json_t *reply;
        status = client_receive(deployment->client, &reply, &continues, error);
        if (status != 0)
            break;
        const char *line = field_text(reply, "log");
        if (line) {
            fprintf(said(deployment->options), "  | %s\n", line);
            fflush(said(deployment->options));
        }
        if (!continues)
            *ret = json_incref(json_object_get(reply, "deployed"));
        json_decref(reply);
    }
    return status;
}

static void say_deployed(const Deployment *deployment, const json_t *deployed)
{
    const char *name = deployment->connection;
    int64_t files = field_integer(deployed, "files", 0);
    bool paused = json_is_true(json_object_get(deployed, "paused"));
    printf("%s \"%s\": %lld file%s, Python %s, into \"%s\"%s\n",
           json_is_true(json_object_get(deployed, "created")) ? "deployed" : "deployed again", name, (long long)files,
           files == 1 ? "" : "s", field_text(deployed, "python"), field_text(deployed, "destination"),
           paused ? "; it is paused" : "");
    if (paused)
        printf("start it with\n  wherryctl resume %s\n  wherryctl sync %s --follow\n", name, name);
}

static void say_hints(const Deployment *deployment, const json_t *deployed)
{
    _cleanup_(freep) char *configuration = path_join(deployment->project.folder, "configuration.json");
    if (!deployment->configuration && access(configuration, F_OK) == 0)
        puts(json_is_true(json_object_get(deployed, "created"))
                 ? "configuration.json is not deployed; \"--configuration configuration.json\" does it"
                 : "the configuration stays as it was; \"--configuration configuration.json\" replaces it");
    for (size_t i = 0; i < deployment->project.count; i++)
        if (strcmp(deployment->project.files[i].path, "drivers/installation.sh") == 0)
            printf("drivers/installation.sh is not run: what it installs is the whole machine's; run it as root "
                   "yourself\n");
}

static int deploy(Deployment *deployment, json_t **ret, Error *error)
{
    const Options *options = deployment->options;
    int status = begin(deployment, error);
    if (status != 0)
        return status;
    char bytes[VALUE_TEXT_SIZE];
    fprintf(said(options), "deploying \"%s\": %zu file%s, %s\n", deployment->connection, deployment->project.count,
            deployment->project.count == 1 ? "" : "s", print_bytes((int64_t)deployment->project.bytes, bytes));
    fflush(said(options));
    status = upload(deployment, error);
    return status == 0 ? commit(deployment, ret, error) : status;
}

int command_deploy(const Options *options, char *const *arguments, size_t count)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(deployment_clear) Deployment deployment = { .options = options };
    json_t *deployed = NULL;
    if (gather(&deployment, count > 0 ? arguments[0] : NULL, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    int status = deploy(&deployment, &deployed, &error);
    if (status != 0)
        return say_error(status == EXIT_EXISTS ? EXIT_WRONG_USE : status, &error);
    if (options->given & OPTION_JSON)
        print_json(deployed, false);
    else
        say_deployed(&deployment, deployed), say_hints(&deployment, deployed);
    json_decref(deployed);
    return EXIT_DONE;
}

/* --- undeploy --- */

static int call_undeploy(const Options *options, const char *connection, bool commit, json_t **ret)
{
    json_t *parameters = client_parameters(connection);
    json_object_set_new(parameters, "commit", json_boolean(commit));
    return client_ask_or_say(options, "Undeploy", parameters, NULL, ret);
}

static int ask_to_undeploy(const Options *options, const char *connection)
{
    json_t *reply;
    int status = call_undeploy(options, connection, false, &reply);
    if (status != 0)
        return status;
    if (json_is_true(json_object_get(reply, "syncing")))
        fprintf(said(options),
                "\"%s\" is syncing, and that sync would go on to its end; \"wherryctl cancel %s\" ends it now\n",
                connection, connection);
    json_decref(reply);
    _cleanup_(freep) char *question =
        xasprintf("Remove \"%s\", with its code, environment and configuration?", connection);
    return ask(options, question, true);
}

int command_undeploy(const Options *options, char *const *arguments, size_t count)
{
    const char *connection = arguments[0];
    json_t *reply;
    int status = options->given & OPTION_YES ? 0 : ask_to_undeploy(options, connection);
    if (status == 0)
        status = call_undeploy(options, connection, true, &reply);
    if (status != 0)
        return status;
    const char *destination = field_text(reply, "destination");
    if (options->given & OPTION_JSON) {
        print_json(reply, false);
    } else {
        printf("undeployed \"%s\": its code, environment and configuration are removed\n", connection);
        if (json_is_true(json_object_get(reply, "syncing")))
            puts("its sync goes on to its end, with the code that it has");
        printf("rows and state stay in %s%s%s: deployed again under this name it goes on from there, and\n"
               "\"wherryctl sync %s --full\" then begins anew\n",
               destination ? "\"" : "", destination ? destination : "its destination", destination ? "\"" : "",
               connection);
    }
    json_decref(reply);
    return EXIT_DONE;
}

/* --- configuration --- */

/* A value is a secret: it comes on standard input, where neither the list of processes nor a shell's history has it. */
static int read_value(const char *key, char **ret)
{
    Buffer value = { 0 };
    if (isatty(STDIN_FILENO))
        fprintf(stderr, "the value of \"%s\", then Ctrl-D: ", key);
    for (ssize_t n = 1; n > 0 && buffer_length(&value) <= VALUE_BYTES_MAX;) {
        n = read(STDIN_FILENO, buffer_reserve(&value, 4096), 4096);
        if (n > 0)
            buffer_added(&value, (size_t)n);
    }
    size_t n = buffer_length(&value);
    const char *wrong = n > VALUE_BYTES_MAX                                            ? "it is too large"
                        : memchr(buffer_bytes(&value), 0, n)                           ? "it has a NUL byte"
                        : utf8_valid_length((const char *)buffer_bytes(&value), n) < n ? "it is not UTF-8"
                                                                                       : NULL;
    char *text = buffer_take_string(&value);
    if (n > 0 && text[n - 1] == '\n') /* as echo and an editor end it; a second one stays */
        text[n - 1] = '\0';
    if (!wrong) {
        *ret = text;
        return 0;
    }
    explicit_bzero(text, n);
    free(text);
    fprintf(stderr, "wherryctl: the value of \"%s\" cannot be used: %s\n", key, wrong);
    return EXIT_WRONG_USE;
}

static int print_names(const Options *options, const char *connection, const json_t *reply)
{
    json_t *names = json_object_get(reply, "names"), *name;
    size_t i;
    if (options->given & OPTION_JSON) {
        print_json(reply, false);
        return EXIT_DONE;
    }
    if (json_array_size(names) == 0)
        printf("%s: the configuration is empty\n", connection);
    json_array_foreach (names, i, name) {
        _cleanup_(freep) char *printable = text_escape(json_string_value(name), json_string_length(name));
        puts(printable);
    }
    return EXIT_DONE;
}

int command_configuration(const Options *options, char *const *arguments, size_t count)
{
    json_t *parameters = client_parameters(arguments[0]), *reply;
    const char *verb = count > 1 ? arguments[1] : NULL;
    if (verb && (count != 3 || (strcmp(verb, "set") != 0 && strcmp(verb, "unset") != 0))) {
        json_decref(parameters);
        fputs(
            "wherryctl: say what to do: wherryctl configuration CONNECTION [set KEY | unset KEY]; the value of \"set\" "
            "comes on standard input\n",
            stderr);
        return EXIT_WRONG_USE;
    }
    if (verb && strcmp(verb, "set") == 0) {
        char *value = NULL;
        int status = read_value(arguments[2], &value);
        if (status != 0) {
            json_decref(parameters);
            return status;
        }
        json_object_set_new(parameters, "set", json_pack("{s:s}", arguments[2], value));
        explicit_bzero(value, strlen(value));
        free(value);
    } else if (verb) {
        json_object_set_new(parameters, "unset", json_pack("[s]", arguments[2]));
    }
    int status = client_ask_or_say(options, "Configure", parameters, NULL, &reply);
    if (status != 0)
        return status;
    if (verb)
        printf("%s: \"%s\" is %s; the next sync uses it\n", arguments[0], arguments[2],
               strcmp(verb, "set") == 0 ? "set" : "removed");
    status = verb ? EXIT_DONE : print_names(options, arguments[0], reply);
    json_decref(reply);
    return status;
}
