/*
 * The client's half of the control interface. It turns what can go wrong (no daemon, no right to talk to it, an error
 * reply) into the sentence a person needs, and into wherryctl's exit status; commands pass both on unchanged.
 *
 * Where a pipeline file stands in place of a connection, no daemon is asked but a wherryd of our own, which opens what
 * `wherryctl run` keeps of that file and answers the same calls on its standard input (`wherryd --answer`). It speaks
 * for itself on stderr where it cannot, and its exit status is then ours. Only it knows what the connection is called.
 */
#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/print.h"
#include "lib/basics/text.h"
#include "lib/formats/varlink.h"

#define SOCKET_NAME "org.wherry.Manager"
#define INTERFACE "org.wherry.Manager."
#define JOIN_GROUP "join the group \"%s\" (as root: usermod -aG %s YOUR_NAME, then log in again), or use sudo"
#define READ_SIZE 65536

struct Client {
    int fd;
    char *path;
    pid_t pid;        /* of our own wherryd; 0: there is none */
    char *connection; /* what that calls the file's connection */
    char *asked_as;   /* the connection of the last call, as the user named it */
    Buffer input;
    sigset_t wait_mask;
    bool has_wait_mask;
};

int say_error(int status, const Error *error)
{
    if (error->message) {
        _cleanup_(freep) char *text = error_format(error);
        _cleanup_(freep) char *lines = printable_lines(text);
        fprintf(stderr, "wherryctl: %s\n", lines);
    }
    return status;
}

/* Ends our own wherryd by hanging up. What it did is on disk, and what it held is free again, once it has ended. */
static int end_own_daemon(Client *client)
{
    int status = 0;
    client->fd = close_fd(client->fd);
    while (waitpid(client->pid, &status, 0) < 0 && errno == EINTR) {
    }
    client->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

Client *client_free(Client *client)
{
    if (!client)
        return NULL;
    if (client->pid > 0)
        (void)end_own_daemon(client);
    close_fd(client->fd);
    free(client->path);
    free(client->connection);
    free(client->asked_as);
    buffer_clear(&client->input);
    free(client);
    return NULL;
}

void client_set_wait_mask(Client *client, const sigset_t *mask)
{
    client->wait_mask = *mask;
    client->has_wait_mask = true;
}

static int connect_failed(const char *path, int errnum, Error *error)
{
    if (errnum == ENOENT || errnum == ECONNREFUSED || errnum == ENOTDIR)
        error_set(error, ERROR_TEMPORARY,
                  "no daemon listens on \"%s\": start it with \"systemctl start wherryd\", or without systemd with "
                  "\"wherryd\"; if it uses another folder, name that with --runtime-dir",
                  path);
    else if (errnum == EACCES || errnum == EPERM)
        error_set(error, ERROR_CONFIGURATION, "permission denied on \"%s\": " JOIN_GROUP, path, "wherry", "wherry");
    else
        error_set_errno(error, ERROR_TEMPORARY, errnum, "the daemon's socket \"%s\" cannot be reached", path);
    return EXIT_NO_DAEMON;
}

static int start_own_daemon(const Options *options, Client *client, Error *error)
{
    _cleanup_(freep) char *wherryd = paths_wherryd();
    const char *words[12] = { wherryd, "--answer", "--file", options->file };
    size_t n = 4;
    int ends[2];
    if (options->unrun)
        words[n++] = "--unrun";
    if (options->dir) {
        words[n++] = "--dir";
        words[n++] = options->dir;
    }
    if (options->config_dir) {
        words[n++] = "--config-dir";
        words[n++] = options->config_dir;
    }
    if (options->state_dir) {
        words[n++] = "--state-dir";
        words[n++] = options->state_dir;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        error_set_errno(error, ERROR_TEMPORARY, errno, "no socket can be made");
        return EXIT_FAILED;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    int r = posix_spawn(&client->pid, wherryd, &actions, NULL, (char *const *)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close_fd(ends[1]);
    client->fd = ends[0];
    if (r == 0)
        return 0;
    client->pid = 0;
    error_set_errno(error, ERROR_TEMPORARY, r, "\"%s\" cannot be started", wherryd);
    return EXIT_FAILED;
}

static int connect_own_daemon(const Options *options, Client *client, Error *error)
{
    json_t *reply = NULL;
    client->path = xstrdup(options->file);
    int status = start_own_daemon(options, client, error);
    if (status == 0)
        status = client_send(client, "List", NULL, false, error);
    if (status == 0)
        status = client_receive(client, &reply, NULL, error);
    if (status != 0)
        return status;
    client->connection = xstrdup(field_text(json_array_get(json_object_get(reply, "connections"), 0), "name"));
    json_decref(reply);
    return 0;
}

int client_connect(const Options *options, Client **ret, Error *error)
{
    _cleanup_(client_freep) Client *client = xcalloc(1, sizeof(Client));
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    client->fd = -1;
    if (options->file) {
        int status = connect_own_daemon(options, client, error);
        if (status == 0)
            *ret = take_ptr(client);
        return status;
    }
    client->path = xasprintf("%s/" SOCKET_NAME, options->paths.runtime_dir);
    if (strlen(client->path) >= sizeof(address.sun_path)) {
        error_set(error, ERROR_CONFIGURATION,
                  "the socket's path \"%s\" is longer than %zu bytes, so no daemon is there", client->path,
                  sizeof(address.sun_path) - 1);
        return EXIT_NO_DAEMON;
    }
    strcpy(address.sun_path, client->path);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        error_set_errno(error, ERROR_TEMPORARY, errno, "no socket can be made");
        return EXIT_NO_DAEMON;
    }
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return connect_failed(client->path, errno, error);
    *ret = take_ptr(client);
    return 0;
}

static int daemon_gone(Client *client, int errnum, Error *error)
{
    if (client->pid > 0) {
        int status = end_own_daemon(client);
        if (status == 0) {
            error_set(error, ERROR_INTERNAL, "wherryd ended without an answer about \"%s\"", client->path);
            status = EXIT_FAILED;
        }
        return status; /* it has said why */
    }
    if (errnum != 0 && errnum != EPIPE && errnum != ECONNRESET)
        error_set_errno(error, ERROR_TEMPORARY, errnum, "the connection to the daemon on \"%s\" broke", client->path);
    else
        error_set(error, ERROR_TEMPORARY,
                  "the daemon on \"%s\" has closed the connection: was it stopped? its log says why", client->path);
    return EXIT_NO_DAEMON;
}

json_t *client_parameters(const char *name)
{
    _cleanup_(freep) char *escaped = text_escape(name, strlen(name));
    return json_pack("{s:s}", "connection", escaped);
}

int client_send(Client *client, const char *method, json_t *parameters, bool more, Error *error)
{
    _cleanup_(freep) char *name = xasprintf(INTERFACE "%s", method);
    _cleanup_(buffer_clear) Buffer output = { 0 };
    const char *connection = field_text(parameters, "connection");
    free(client->asked_as);
    client->asked_as = xstrdup(connection);
    if (connection && client->connection)
        json_object_set_new(parameters, "connection", json_string(client->connection));
    json_t *message = varlink_call(name, parameters, more);

    varlink_put(&output, message);
    json_decref(message);
    while (buffer_length(&output) > 0) {
        ssize_t n = send(client->fd, buffer_bytes(&output), buffer_length(&output), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 0; /* it may have said why before it closed: client_receive() tells */
        if (n < 0)
            return daemon_gone(client, errno, error);
        buffer_consume(&output, (size_t)n);
    }
    return 0;
}

static const char *text_of(json_t *parameters, const char *key)
{
    const char *text = json_string_value(json_object_get(parameters, key));
    return text ? text : "";
}

/* What an error reply means to a person, and its exit status. */
static int error_reply(const Client *client, const char *name, json_t *p, Error *error)
{
    const char *own = strncmp(name, INTERFACE, strlen(INTERFACE)) == 0 ? name + strlen(INTERFACE) : "";

    if (strcmp(own, "NoSuchConnection") == 0) {
        const char *suggestion = json_string_value(json_object_get(p, "suggestion"));
        if (suggestion)
            error_set(error, ERROR_CONFIGURATION, "there is no connection \"%s\"; did you mean \"%s\"?",
                      text_of(p, "name"), suggestion);
        else if (strchr(text_of(p, "name"), '.') || strchr(text_of(p, "name"), '/'))
            error_set(error, ERROR_CONFIGURATION,
                      "there is no connection \"%s\"; a file outside pipelines.d is run with \"wherryctl run\"",
                      text_of(p, "name"));
        else
            error_set(error, ERROR_CONFIGURATION, "there is no connection \"%s\"; see \"wherryctl status\"",
                      text_of(p, "name"));
        return EXIT_WRONG_USE;
    }
    if (strcmp(own, "NotAllowed") == 0) {
        const char *group = text_of(p, "group");
        error_set(error, ERROR_CONFIGURATION, "the daemon on \"%s\" refuses you: " JOIN_GROUP, client->path, group,
                  group);
        return EXIT_NO_DAEMON;
    }
    if (strcmp(own, "Busy") == 0) {
        error_set(error, ERROR_TEMPORARY,
                  "\"%s\" is syncing (run %s): wait for its end, or end it with \"wherryctl cancel %s\"",
                  text_of(p, "connection"), text_of(p, "run_id"), text_of(p, "connection"));
        return EXIT_FAILED;
    }
    if (strcmp(own, "Exists") == 0) {
        error_set(error, ERROR_CONFIGURATION, "\"%s\" was deployed already", text_of(p, "connection"));
        return EXIT_EXISTS;
    }
    if (strcmp(own, "NotSyncing") == 0) {
        error_set(error, ERROR_CONFIGURATION, "\"%s\" is not syncing: there is nothing to cancel",
                  text_of(p, "connection"));
        return EXIT_WRONG_USE;
    }
    if (strcmp(own, "BadConfiguration") == 0 || strcmp(own, "Failed") == 0) {
        error_set(error, ERROR_CONFIGURATION, "%s", text_of(p, "message"));
        return *own == 'B' ? EXIT_WRONG_USE : EXIT_FAILED;
    }
    if (strcmp(own, "NoSuchFile") == 0) {
        _cleanup_(freep) char *word = text_shell_word(client->asked_as ? client->asked_as : "CONNECTION");
        error_set(error, ERROR_CONFIGURATION,
                  "no file \"%s\" was ever seen; \"wherryctl files %s\" lists those that were", text_of(p, "name"),
                  word);
        return EXIT_WRONG_USE;
    }
    if (strcmp(own, "Stopping") == 0)
        error_set(error, ERROR_TEMPORARY, "the daemon is stopping; once it runs again, the schedule goes on");
    else if (strcmp(own, "TooManyConnections") == 0)
        error_set(error, ERROR_TEMPORARY, "the daemon has too many clients already (its limit is %lld): try again",
                  (long long)json_integer_value(json_object_get(p, "limit")));
    else if (strcmp(name, "org.varlink.service.PermissionDenied") == 0)
        error_set(error, ERROR_CONFIGURATION, "the daemon obeys no process of its own syncs");
    else if (strcmp(name, "org.varlink.service.MethodNotFound") == 0)
        error_set(error, ERROR_CONFIGURATION,
                  "the daemon does not know \"%s\": is it of another version than wherryctl? restart it",
                  text_of(p, "method"));
    else if (strcmp(name, "org.varlink.service.InvalidParameter") == 0)
        error_set(error, ERROR_CONFIGURATION, "the daemon does not accept \"%s\" here", text_of(p, "parameter"));
    else
        error_set(error, ERROR_INTERNAL, "the daemon answered with the error \"%s\"", name);
    return strncmp(name, "org.varlink", 11) == 0 ? EXIT_WRONG_USE : EXIT_NO_DAEMON;
}

/* Reads until a whole message is there. */
static int receive_message(Client *client, json_t **ret, Error *error)
{
    bool look = true;

    for (;;) {
        if (look) {
            int r = varlink_take(&client->input, VARLINK_MESSAGE_MAX, ret, error);
            if (r == 0)
                return 0;
            if (r < 0) {
                error_prefix(error, "the daemon's answer cannot be understood: ");
                return EXIT_FAILED;
            }
        }
        struct pollfd ready = { .fd = client->fd, .events = POLLIN };
        if (ppoll(&ready, 1, NULL, client->has_wait_mask ? &client->wait_mask : NULL) < 0) {
            if (errno == EINTR && client->has_wait_mask)
                return EXIT_INTERRUPTED;
            if (errno == EINTR)
                continue;
        }
        uint8_t *at = buffer_reserve(&client->input, READ_SIZE);
        ssize_t n = recv(client->fd, at, READ_SIZE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return daemon_gone(client, n < 0 ? errno : 0, error);
        buffer_added(&client->input, (size_t)n);
        /* a long answer is not searched again with every piece of it */
        look = memchr(at, '\0', (size_t)n) || buffer_length(&client->input) > VARLINK_MESSAGE_MAX;
    }
}

int client_receive(Client *client, json_t **ret, bool *ret_continues, Error *error)
{
    json_t *message = NULL;
    int status = receive_message(client, &message, error);
    if (status != 0)
        return status;

    json_t *parameters = json_object_get(message, "parameters");
    const char *failure = json_string_value(json_object_get(message, "error"));
    if (failure) {
        status = error_reply(client, failure, parameters, error);
    } else {
        *ret = json_is_object(parameters) ? json_incref(parameters) : json_object();
        if (ret_continues)
            *ret_continues = json_is_true(json_object_get(message, "continues"));
    }
    json_decref(message);
    return status;
}

int client_ask(const Options *options, const char *method, json_t *parameters, const char *list, json_t **ret,
               Error *error)
{
    _cleanup_(client_freep) Client *client = NULL;
    int status = client_connect(options, &client, error);
    if (status != 0) {
        json_decref(parameters);
        return status;
    }
    status = client_send(client, method, parameters, list != NULL, error);

    json_t *whole = NULL;
    for (bool continues = true; status == 0 && continues;) {
        json_t *reply = NULL;
        continues = false;
        status = client_receive(client, &reply, &continues, error);
        if (status != 0)
            break;
        if (!whole) {
            whole = reply;
        } else {
            json_array_extend(json_object_get(whole, list), json_object_get(reply, list));
            json_decref(reply);
        }
    }
    if (status != 0) {
        json_decref(whole);
        return status;
    }
    *ret = whole;
    return 0;
}

int client_ask_or_say(const Options *options, const char *method, json_t *parameters, const char *list, json_t **ret)
{
    _cleanup_(error_clear) Error error = { 0 };
    return say_error(client_ask(options, method, parameters, list, ret, &error), &error);
}
