/* The control socket with a manager that does what the test says: methods, order, streams, rights, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "daemon/wherryd/control.h"
#include "daemon/wherryd/log.h"
#include "lib/basics/clock.h"
#include "lib/formats/varlink.h"
#include "wherry-build.h"

/* --- the manager --- */

struct Manager {
    int result;   /* of the next call */
    json_t *list; /* what manager_list() and manager_files() give; borrowed */
    bool refuse_pid;
    bool end_at_once; /* the run ends inside manager_sync() */
    int syncs;
    bool full;
    char requeued[64];
    ManagerListener listener;
    void *listener_userdata;
    ManagerStateCallback state_callback;
    void *state_userdata;
    bool state_reset;
};

static struct Manager manager;
static char last_log[1024];
static unsigned log_lines;

void log_message(int priority, const LogContext *context, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_log, sizeof(last_log), format, arguments);
    va_end(arguments);
    log_lines++;
}

#define RUN_ID "01900000-0000-7000-8000-000000000001"

static void event(ManagerEvent kind, json_t *data)
{
    manager.listener(kind, "orders", data, manager.listener_userdata);
    json_decref(data);
}

static json_t *finished_run(const char *run_id)
{
    return json_pack("{s:s, s:s, s:s}", "run_id", run_id, "connection", "orders", "outcome", "succeeded");
}

json_t *manager_list(Manager *m, json_t *names, const char **ret_unknown)
{
    if (m->result == MANAGER_E_NO_SUCH_CONNECTION) {
        *ret_unknown = json_string_value(json_array_get(names, 0));
        return NULL;
    }
    return json_incref(m->list);
}
const char *manager_suggest(Manager *m, const char *name)
{
    return strcmp(name, "order") == 0 ? "orders" : NULL;
}
int manager_sync(Manager *m, const char *connection, bool full, json_t *tables, char ret_run_id[static 37],
                 Error *error)
{
    m->syncs++;
    m->full = full;
    if (m->result < 0)
        return error_set(error, ERROR_TEMPORARY, "no space left");
    if (m->result == MANAGER_E_BROKEN)
        error_set(error, ERROR_CONFIGURATION, "unknown key \"colums\"");
    if (m->result == 0) {
        if (m->end_at_once)
            event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
        strcpy(ret_run_id, RUN_ID);
    }
    return m->result;
}
int manager_cancel(Manager *m, const char *connection)
{
    return m->result;
}
int manager_pause(Manager *m, const char *connection, Error *error)
{
    return m->result;
}
int manager_resume(Manager *m, const char *connection, Error *error)
{
    return m->result;
}
int manager_reload(Manager *m, size_t *ret_connections, json_t **ret_broken, Error *error)
{
    *ret_connections = 3;
    *ret_broken = json_pack("[s]", "bad.yaml:1:1: broken");
    return 0;
}
int manager_runs(Manager *m, const char *connection, int64_t limit, json_t **ret, Error *error)
{
    *ret = json_pack("[{s:I, s:s?}]", "limit", (json_int_t)limit, "connection", connection);
    return 0;
}
int manager_files(Manager *m, const char *connection, bool failed, json_t **ret, Error *error)
{
    *ret = json_incref(m->list);
    return 0;
}
int manager_requeue_quarantined(Manager *m, const char *connection, int64_t *ret, Error *error)
{
    if (strcmp(connection, "orders") != 0)
        return error_set(error, ERROR_CONFIGURATION, "connection \"%s\" sets no rows aside", connection);
    strcpy(m->requeued, "quarantined");
    *ret = 3;
    return 0;
}
int manager_requeue(Manager *m, const char *connection, const char *file, bool all_failed, int64_t *ret, Error *error)
{
    snprintf(m->requeued, sizeof(m->requeued), "%s/%s", file ? file : "", all_failed ? "all" : "one");
    *ret = 2;
    return m->result;
}
int manager_get_state(Manager *m, const char *connection, ManagerStateCallback callback, void *userdata,
                      char ret_run_id[static 37], Error *error)
{
    m->state_callback = callback;
    m->state_userdata = userdata;
    if (m->result == MANAGER_E_BUSY)
        strcpy(ret_run_id, RUN_ID);
    return m->result;
}
int manager_set_state(Manager *m, const char *connection, json_t *state, ManagerStateCallback callback, void *userdata,
                      char ret_run_id[static 37], Error *error)
{
    m->state_callback = callback;
    m->state_userdata = userdata;
    m->state_reset = state == NULL;
    if (m->result == MANAGER_E_BUSY)
        strcpy(ret_run_id, RUN_ID);
    return m->result;
}
int manager_plan(Manager *m, const char *connection, ManagerStateCallback callback, void *userdata,
                 char ret_run_id[static 37], Error *error)
{
    return manager_set_state(m, connection, NULL, callback, userdata, ret_run_id, error);
}
int manager_deploy(Manager *m, const ManagerDeployRequest *request, const ManagerDeployEvents *events,
                   char ret_upload[static 37], Error *error)
{
    strcpy(ret_upload, RUN_ID);
    return request->overwrite ? m->result : MANAGER_E_EXISTS;
}
int manager_undeploy(Manager *m, const char *connection, bool commit, json_t **ret, Error *error)
{
    *ret = m->result == 0 ? json_pack("{s:n, s:b}", "destination", "syncing", commit) : NULL;
    return m->result;
}
int manager_configure(Manager *m, const char *connection, json_t *set, json_t *unset, json_t **ret_names, Error *error)
{
    *ret_names = json_pack("[s]", json_object_size(set) > 0 ? json_object_iter_key(json_object_iter(set)) : "none");
    return m->result;
}
ManagerSubscription *manager_subscribe(Manager *m, ManagerListener listener, void *userdata)
{
    m->listener = listener;
    m->listener_userdata = userdata;
    return (ManagerSubscription *)m;
}
ManagerSubscription *manager_unsubscribe(Manager *m, ManagerSubscription *subscription)
{
    assert_ptr_equal(subscription, m);
    m->listener = NULL;
    return NULL;
}
bool manager_is_descendant(Manager *m, pid_t pid)
{
    assert_int_equal(pid, getpid());
    return m->refuse_pid;
}

/* --- the group, which this machine need not have --- */

#define WHERRY_GID 54321

int getgrnam_r(const char *name, struct group *group, char *buffer, size_t size, struct group **ret)
{
    assert_string_equal(name, "wherry");
    *group = (struct group){ .gr_gid = WHERRY_GID };
    *ret = geteuid() == 0 ? group : NULL; /* only root can give the socket to it */
    return 0;
}

/* --- the clock, which libuv asks for the time --- */

static int64_t now_ms = 1000000; /* stands still, except in turn(): a slow machine changes nothing */

int clock_gettime(clockid_t id, struct timespec *ret)
{
    if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
        return (int)syscall(SYS_clock_gettime, id, ret);
    *ret = (struct timespec){ .tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000 };
    return 0;
}

/* --- a client on the same thread: the loop turns while it waits --- */

typedef struct Fixture {
    uv_loop_t loop;
    Control *control;
    char dir[64];
    char path[128];
} Fixture;

typedef struct Client {
    int fd;
    Buffer input;
} Client;

static void turn(Fixture *f)
{
    for (int i = 0; i < 5; i++, now_ms++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static Client client_new(Fixture *f)
{
    Client client = { .fd = connect_to(f->path) };
    turn(f);
    return client;
}

static void client_close(Fixture *f, Client *client)
{
    client->fd = close_fd(client->fd);
    buffer_clear(&client->input);
    turn(f);
}

static void send_bytes(Fixture *f, Client *client, const void *data, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(client->fd, (const char *)data + at, n - at, MSG_NOSIGNAL);
        if (sent > 0)
            at += (size_t)sent;
        else if (errno == EPIPE || errno == ECONNRESET)
            return; /* refused meanwhile */
        turn(f);
    }
}

static void send_text(Fixture *f, Client *client, const char *text)
{
    send_bytes(f, client, text, strlen(text) + 1);
}

/* The next reply; NULL when the server has closed; fails after a minute. */
static json_t *receive(Fixture *f, Client *client)
{
    char bytes[65536];

    for (int waited = 0; waited < 60000;) {
        _cleanup_(error_clear) Error error = { 0 };
        json_t *message = NULL;
        int r = varlink_take(&client->input, 32u << 20, &message, &error);
        assert_true(r >= 0);
        if (r == 0)
            return message;
        turn(f);
        ssize_t n = recv(client->fd, bytes, sizeof(bytes), 0);
        if (n > 0)
            buffer_append(&client->input, bytes, (size_t)n);
        else if (n == 0 || errno == ECONNRESET)
            return NULL;
        else
            waited += 1 + poll(NULL, 0, 1);
    }
    fail_msg("no reply within a minute");
    return NULL;
}

/* 1 MiB of text */
static json_t *big_string(void)
{
    _cleanup_(freep) char *text = xmalloc(1 << 20);
    memset(text, 'x', 1 << 20);
    return json_stringn(text, 1 << 20);
}

static void assert_nothing(Fixture *f, Client *client)
{
    char byte;
    turn(f);
    assert_int_equal(recv(client->fd, &byte, 1, MSG_PEEK), -1);
    assert_int_equal(errno, EAGAIN);
}

static void expect(Fixture *f, Client *client, const char *expected)
{
    json_t *reply = receive(f, client);
    if (!reply)
        fail_msg("closed instead of %s", expected);
    _cleanup_(freep) char *text = json_dumps(reply, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(reply);
    assert_string_equal(text, expected);
}

static void expect_closed(Fixture *f, Client *client)
{
    json_t *reply = receive(f, client);
    assert_null(reply);
    client_close(f, client);
}

#define call(f, client, request, expected) \
    do {                                   \
        send_text(f, client, request);     \
        expect(f, client, expected);       \
    } while (0)

#define M "\"method\":\"org.wherry.Manager."
#define ORDERS "\"parameters\":{\"connection\":\"orders\"}"

static int setup(void **state)
{
    Fixture *f = xcalloc(1, sizeof(Fixture));
    _cleanup_(error_clear) Error error = { 0 };

    manager = (struct Manager){ .list = json_pack("[{s:s}]", "name", "orders") };
    last_log[0] = '\0';
    log_lines = 0;
    strcpy(f->dir, "/tmp/wherry-control-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/run/org.wherry.Manager", f->dir);
    uv_loop_init(&f->loop);
    _cleanup_(freep) char *runtime_dir = xasprintf("%s/run", f->dir);
    if (control_new(&f->loop, &manager, runtime_dir, -1, &f->control, &error) < 0)
        fail_msg("%s", error_format(&error));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    f->control = control_free(f->control);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0); /* every handle was closed */
    assert_int_equal(access(f->path, F_OK), -1);
    _cleanup_(freep) char *run = xasprintf("%s/run", f->dir);
    rmdir(run);
    assert_int_equal(rmdir(f->dir), 0);
    json_decref(manager.list);
    free(f);
    return 0;
}

/* --- tests --- */

static void test_introspection(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    call(f, &client, "{\"method\":\"org.varlink.service.GetInfo\"}",
         "{\"parameters\":{\"interfaces\":[\"org.varlink.service\",\"org.wherry.Manager\"],\"product\":\"wherryd\","
         "\"url\":\"\",\"vendor\":\"Wherry\",\"version\":\"" WHERRY_VERSION "\"}}");

    send_text(f, &client,
              "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
              "\"parameters\":{\"interface\":\"org.wherry.Manager\"}}");
    json_t *reply = receive(f, &client);
    const char *text = json_string_value(json_object_get(json_object_get(reply, "parameters"), "description"));
    FILE *file = fopen(MANAGER_INTERFACE_FILE, "re");
    assert_non_null(file);
    char original[16384];
    size_t n = fread(original, 1, sizeof(original) - 1, file);
    original[n] = '\0';
    fclose(file);
    assert_string_equal(text, original);
    json_decref(reply);
    client_close(f, &client);
}

static void test_protocol_errors(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    static const struct {
        const char *request, *reply;
    } cases[] = {
#define INVALID(name) "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"" name "\"}}"
        { "{\"method\":\"org.foo.Bar.Baz\"}",
          "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"org.foo.Bar\"}}" },
        { "{\"method\":\"nonsense\"}",
          "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"nonsense\"}}" },
        { "{" M "Nothing\"}", "{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"org."
                              "wherry.Manager.Nothing\"}}" },
        { "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"a.b\"}}",
          "{\"error\":\"org.varlink.service.InterfaceNotFound\",\"parameters\":{\"interface\":\"a.b\"}}" },
        { "{" M "Monitor\"}", "{\"error\":\"org.varlink.service.ExpectedMore\",\"parameters\":{}}" },
        { "{" M "List\",\"upgrade\":true}",
          "{\"error\":\"org.varlink.service.MethodNotImplemented\",\"parameters\":{\"method\":"
          "\"org.wherry.Manager.List\"}}" },
        { "{" M "List\",\"parameters\":{\"names\":\"orders\"}}", INVALID("names") },
        { "{" M "List\",\"parameters\":{\"names\":[1]}}", INVALID("names") },
        { "{" M "List\",\"parameters\":{\"colour\":\"red\"}}", INVALID("colour") },
        { "{" M "Sync\"}", INVALID("connection") },
        { "{" M "Sync\",\"parameters\":{\"connection\":null}}", INVALID("connection") },
        { "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"full\":\"yes\"}}", INVALID("full") },
        { "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"tables\":[\"a\"]}}", INVALID("tables") },
        { "{" M "Runs\",\"parameters\":{\"limit\":0}}", INVALID("limit") },
        { "{" M "Requeue\"," ORDERS "}", INVALID("file") },
        { "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"quarantined\":true,\"all_failed\":true}}",
          INVALID("file") },
        { "{" M "SetState\",\"parameters\":{\"connection\":\"orders\",\"state\":[]}}", INVALID("state") },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        call(f, &client, cases[i].request, cases[i].reply);
    assert_int_equal(manager.syncs, 0); /* nothing was done on the way */
    client_close(f, &client);
}

static void test_what_is_no_call_closes(void **state)
{
    Fixture *f = *state;
    static const struct {
        const char *request, *reply;
    } cases[] = {
        { "{}", INVALID("method") },
        { "{\"method\":7}", INVALID("method") },
        { "{" M "List\",\"more\":1}", INVALID("more") },
        { "{" M "List\",\"parameters\":[]}", INVALID("parameters") },
#undef INVALID
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Client client = client_new(f);
        call(f, &client, cases[i].request, cases[i].reply);
        expect_closed(f, &client);
        assert_non_null(strstr(last_log, "something else than calls"));
    }
}

static void test_plain_calls(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    call(f, &client, "{" M "List\"}", "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");
    call(f, &client, "{" M "List\",\"parameters\":{\"names\":null}}",
         "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");
    call(f, &client, "{" M "Reload\"}", "{\"parameters\":{\"broken\":[\"bad.yaml:1:1: broken\"],\"connections\":3}}");
    call(f, &client, "{" M "Runs\",\"parameters\":{\"limit\":7}}",
         "{\"parameters\":{\"runs\":[{\"connection\":null,\"limit\":7}]}}");
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &client, "{" M "Resume\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &client, "{" M "Cancel\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &client, "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"file\":\"a.csv\"}}",
         "{\"parameters\":{\"files\":2}}");
    assert_string_equal(manager.requeued, "a.csv/one");
    call(f, &client, "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"all_failed\":true}}",
         "{\"parameters\":{\"files\":2}}");
    assert_string_equal(manager.requeued, "/all");
    client_close(f, &client);
}

static void test_errors_of_the_manager(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    manager.result = MANAGER_E_NO_SUCH_CONNECTION;
    call(f, &client, "{" M "Sync\",\"parameters\":{\"connection\":\"order\"}}",
         "{\"error\":\"org.wherry.Manager.NoSuchConnection\",\"parameters\":{\"name\":\"order\",\"suggestion\":"
         "\"orders\"}}");
    call(f, &client, "{" M "List\",\"parameters\":{\"names\":[\"x\"]}}",
         "{\"error\":\"org.wherry.Manager.NoSuchConnection\",\"parameters\":{\"name\":\"x\",\"suggestion\":null}}");
    manager.result = MANAGER_E_BROKEN;
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.BadConfiguration\",\"parameters\":{\"message\":\"unknown key "
         "\\\"colums\\\"\"}}");
    manager.result = MANAGER_E_NO_SUCH_FILE;
    call(f, &client, "{" M "Requeue\",\"parameters\":{\"connection\":\"orders\",\"file\":\"a.csv\"}}",
         "{\"error\":\"org.wherry.Manager.NoSuchFile\",\"parameters\":{\"name\":\"a.csv\"}}");
    manager.result = MANAGER_E_BUSY;
    static const char *const methods[] = { "GetState", "SetState" };
    for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
        _cleanup_(freep) char *asked = xasprintf("{" M "%s\"," ORDERS "}", methods[i]);
        call(f, &client, asked,
             "{\"error\":\"org.wherry.Manager.Busy\",\"parameters\":{\"connection\":\"orders\",\"run_id\":\"" RUN_ID
             "\"}}");
    }
    manager.result = MANAGER_E_NOT_SYNCING;
    call(f, &client, "{" M "Cancel\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.NotSyncing\",\"parameters\":{\"connection\":\"orders\"}}");
    manager.result = MANAGER_E_STOPPING;
    call(f, &client, "{" M "Sync\"," ORDERS "}", "{\"error\":\"org.wherry.Manager.Stopping\",\"parameters\":{}}");
    manager.result = -1;
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.Failed\",\"parameters\":{\"message\":\"no space left\"}}");
    client_close(f, &client);
}

static void test_sync_waits_in_order(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), other = client_new(f);

    /* what is asked behind a waiting call is answered behind it; other peers are not held up */
    send_text(f, &client, "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"full\":true}}");
    send_text(f, &client, "{" M "List\"}");
    call(f, &other, "{" M "List\"}", "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s}", "run_id", RUN_ID)); /* not asked for */
    event(MANAGER_EVENT_RUN, finished_run("some-other-run"));
    assert_nothing(f, &client);
    assert_int_equal(manager.syncs, 1);
    assert_true(manager.full);
    event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
    expect(f, &client,
           "{\"parameters\":{\"progress\":null,\"run\":{\"connection\":\"orders\",\"outcome\":\"succeeded\","
           "\"run_id\":\"" RUN_ID "\"},\"run_id\":\"" RUN_ID "\"}}");
    expect(f, &client, "{\"parameters\":{\"connections\":[{\"name\":\"orders\"}]}}");

    call(f, &client, "{" M "Sync\",\"parameters\":{\"connection\":\"orders\",\"wait\":false}}",
         "{\"parameters\":{\"progress\":null,\"run\":null,\"run_id\":\"" RUN_ID "\"}}");

    /* a run that is over before its id is known here */
    manager.end_at_once = true;
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"parameters\":{\"progress\":null,\"run\":{\"connection\":\"orders\",\"outcome\":\"succeeded\","
         "\"run_id\":\"" RUN_ID "\"},\"run_id\":\"" RUN_ID "\"}}");

    /* oneway: done, never answered */
    int before = manager.syncs;
    send_text(f, &client, "{" M "Sync\"," ORDERS ",\"oneway\":true}");
    send_text(f, &client, "{" M "Nonsense\",\"oneway\":true}");
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    assert_int_equal(manager.syncs, before + 1);
    client_close(f, &client);
    client_close(f, &other);
}

static void test_sync_streams(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), leaver = client_new(f);

    call(f, &client, "{" M "Sync\"," ORDERS ",\"more\":true}",
         "{\"continues\":true,\"parameters\":{\"progress\":{\"bytes\":0,\"bytes_total\":null,\"file\":null,\"phase\":"
         "\"queued\",\"rows\":0,\"run_id\":\"" RUN_ID "\"},\"run\":null,\"run_id\":\"" RUN_ID "\"}}");
    send_text(f, &leaver, "{" M "Sync\"," ORDERS ",\"more\":true}");
    json_decref(receive(f, &leaver));
    client_close(f, &leaver); /* cancels its call, not the sync */
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s, s:i}", "run_id", RUN_ID, "rows", 5));
    expect(f, &client,
           "{\"continues\":true,\"parameters\":{\"progress\":{\"rows\":5,\"run_id\":\"" RUN_ID
           "\"},\"run\":null,\"run_id\":\"" RUN_ID "\"}}");
    event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
    expect(f, &client,
           "{\"parameters\":{\"progress\":null,\"run\":{\"connection\":\"orders\",\"outcome\":\"succeeded\","
           "\"run_id\":\"" RUN_ID "\"},\"run_id\":\"" RUN_ID "\"}}");
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s}", "run_id", RUN_ID));
    assert_nothing(f, &client);
    client_close(f, &client);
}

static void test_state_is_asynchronous(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    _cleanup_(error_clear) Error error = { 0 };
    json_t *cursor = json_pack("{s:i}", "cursor", 7);

    send_text(f, &client, "{" M "GetState\"," ORDERS "}");
    assert_nothing(f, &client);
    manager.state_callback(cursor, NULL, manager.state_userdata);
    expect(f, &client, "{\"parameters\":{\"state\":{\"cursor\":7}}}");

    send_text(f, &client, "{" M "SetState\",\"parameters\":{\"connection\":\"orders\",\"state\":{}}}");
    assert_nothing(f, &client);
    assert_false(manager.state_reset);
    manager.state_callback(NULL, NULL, manager.state_userdata);
    expect(f, &client, "{\"parameters\":{}}");

    send_text(f, &client, "{" M "SetState\",\"parameters\":{\"connection\":\"orders\",\"state\":null}}");
    assert_nothing(f, &client);
    assert_true(manager.state_reset);
    error_set(&error, ERROR_TEMPORARY, "\"orders.db\" is locked");
    manager.state_callback(NULL, &error, manager.state_userdata);
    expect(f, &client,
           "{\"error\":\"org.wherry.Manager.Failed\",\"parameters\":{\"message\":\"\\\"orders.db\\\" is locked\"}}");

    /* the caller goes before the answer is there */
    send_text(f, &client, "{" M "GetState\"," ORDERS "}");
    assert_nothing(f, &client);
    client_close(f, &client);
    manager.state_callback(cursor, NULL, manager.state_userdata);
    json_decref(cursor);
}

static void test_monitor(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);

    send_text(f, &client, "{" M "Monitor\",\"more\":true}");
    assert_nothing(f, &client);
    event(MANAGER_EVENT_CONNECTION, json_pack("{s:s}", "name", "orders"));
    event(MANAGER_EVENT_PROGRESS, json_pack("{s:s}", "run_id", RUN_ID));
    event(MANAGER_EVENT_RUN, json_pack("{s:s}", "run_id", RUN_ID));
    expect(f, &client, "{\"continues\":true,\"parameters\":{\"connection\":{\"name\":\"orders\"},\"run\":null}}");
    expect(f, &client, "{\"continues\":true,\"parameters\":{\"connection\":null,\"run\":{\"run_id\":\"" RUN_ID "\"}}}");
    client_close(f, &client);
}

static void test_slow_reader_is_dropped(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), other = client_new(f);
    json_t *big = big_string();

    send_text(f, &client, "{" M "Monitor\",\"more\":true}");
    turn(f);
    for (int i = 0; i < 14; i++) {
        event(MANAGER_EVENT_RUN, json_pack("{s:O}", "error", big));
        turn(f);
    }
    assert_int_equal(log_lines, 0);
    for (int i = 0; i < 4; i++)
        event(MANAGER_EVENT_RUN, json_pack("{s:O}", "error", big));
    assert_int_equal(log_lines, 1);
    assert_non_null(strstr(last_log, "reads too slowly: more than 16 MiB"));
    turn(f);
    json_decref(big);
    call(f, &other, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}"); /* others live on */
    client_close(f, &client);
    client_close(f, &other);
}

static void test_idle_peers_are_closed(void **state)
{
    Fixture *f = *state;
    Client idle = client_new(f), busy = client_new(f), half = client_new(f);

    send_text(f, &busy, "{" M "Sync\"," ORDERS "}");
    now_ms += CONTROL_IDLE_MS - 10000;
    turn(f);
    send_bytes(f, &half, "{\"method\"", 9); /* the beginning of a call is not a call */
    call(f, &idle, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    now_ms += 11000;
    expect_closed(f, &half);
    assert_nothing(f, &idle);
    now_ms += CONTROL_IDLE_MS;
    expect_closed(f, &idle);
    assert_nothing(f, &busy);
    event(MANAGER_EVENT_RUN, finished_run(RUN_ID));
    json_decref(receive(f, &busy));
    assert_nothing(f, &busy);
    now_ms += CONTROL_IDLE_MS + 1;
    expect_closed(f, &busy);
    assert_int_equal(log_lines, 0);
}

static void test_who_does_not_read_is_dropped(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    json_t *big = big_string();

    send_text(f, &client, "{" M "Monitor\",\"more\":true}");
    event(MANAGER_EVENT_RUN, json_pack("{s:O}", "error", big));
    json_decref(big);
    turn(f);
    now_ms += CONTROL_IDLE_MS + 1;
    turn(f);
    assert_int_equal(log_lines, 1);
    assert_non_null(strstr(last_log, "it did not read its answers for 45 s"));
    client_close(f, &client);
}

static void test_garbage_closes_with_an_error(void **state)
{
    Fixture *f = *state;
    static const char refused[] =
        "{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"message\"}}";
    _cleanup_(buffer_clear) Buffer deep = { 0 };
    Client client = client_new(f);

    send_text(f, &client, "GET / HTTP/1.1\r\n\r\n");
    expect(f, &client, refused);
    expect_closed(f, &client);
    assert_non_null(strstr(last_log, "not JSON"));

    client = client_new(f);
    char *big = xmalloc(CONTROL_MESSAGE_MAX + 1);
    memset(big, ' ', CONTROL_MESSAGE_MAX + 1);
    send_bytes(f, &client, big, CONTROL_MESSAGE_MAX + 1);
    free(big);
    expect(f, &client, refused);
    expect_closed(f, &client);
    assert_non_null(strstr(last_log, "longer than 1048576 bytes"));

    client = client_new(f);
    buffer_append_string(&deep, "{\"method\":");
    for (int i = 0; i < 500000; i++)
        buffer_append_string(&deep, "[");
    buffer_append(&deep, "", 1);
    send_bytes(f, &client, buffer_bytes(&deep), buffer_length(&deep));
    expect(f, &client, refused);
    expect_closed(f, &client);
    assert_non_null(strstr(last_log, "nests deeper"));

    /* a good call before the bad bytes is answered */
    client = client_new(f);
    static const char mixed[] = "{" M "Pause\"," ORDERS "}\0]";
    send_bytes(f, &client, mixed, sizeof(mixed));
    expect(f, &client, "{\"parameters\":{}}");
    expect(f, &client, refused);
    expect_closed(f, &client);

    /* the log does not follow every one of them */
    for (int i = 0; i < 60; i++) {
        client = client_new(f);
        send_text(f, &client, "x");
        expect(f, &client, refused);
        expect_closed(f, &client);
    }
    assert_true(log_lines <= 21);
}

static void test_pipelined_calls_are_paced(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    static const char request[] = "{" M "Pause\"," ORDERS "}";
    enum { CALLS = 30000 }; /* 2 MB of calls, half a MB of answers */
    size_t sent = 0, answered = 0;
    _cleanup_(buffer_clear) Buffer all = { 0 };

    for (size_t i = 0; i < CALLS; i++)
        buffer_append(&all, request, sizeof(request));
    while (answered < CALLS) {
        ssize_t n = send(client.fd, buffer_bytes(&all) + sent, buffer_length(&all) - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        turn(f);
        char bytes[4096];
        while ((n = recv(client.fd, bytes, sizeof(bytes), 0)) > 0)
            for (ssize_t i = 0; i < n; i++)
                answered += bytes[i] == '\0';
        assert_true(n != 0);
    }
    assert_int_equal(answered, CALLS);
    client_close(f, &client);
}

static void test_large_answers_are_paced(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    json_t *big = big_string();
    json_decref(manager.list);
    manager.list = json_pack("[o]", big);

    /* whoever asks for much at once is no slow reader: the calls wait, not the answers */
    enum { CALLS = 20 };
    for (int i = 0; i < CALLS; i++)
        send_text(f, &client, "{" M "List\"}");
    char bytes[65536];
    for (int answered = 0; answered < CALLS; turn(f)) {
        ssize_t n = recv(client.fd, bytes, sizeof(bytes), 0);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        for (ssize_t i = 0; i < n; i++)
            answered += bytes[i] == '\0';
    }
    assert_int_equal(log_lines, 0);
    client_close(f, &client);
}

static void test_long_lists_come_in_pieces(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f);
    enum { FILES = 3210 };
    json_decref(manager.list);
    manager.list = json_array();
    for (int i = 0; i < FILES; i++)
        json_array_append_new(manager.list, json_pack("{s:i}", "i", i));

    send_text(f, &client, "{" M "Files\"," ORDERS ",\"more\":true}");
    size_t seen = 0, replies = 0;
    for (bool continues = true; continues; replies++) {
        json_t *reply = receive(f, &client), *piece, *entry;
        size_t i;
        assert_non_null(reply);
        piece = json_object_get(json_object_get(reply, "parameters"), "files");
        json_array_foreach (piece, i, entry)
            assert_int_equal(json_integer_value(json_object_get(entry, "i")), seen++);
        continues = json_is_true(json_object_get(reply, "continues"));
        json_decref(reply);
    }
    assert_int_equal(seen, FILES);
    assert_int_equal(replies, 7);

    /* without `more`, what no client would take as one message is an error and not a dropped connection */
    json_t *big = big_string();
    json_array_clear(manager.list);
    for (int i = 0; i < 17; i++)
        json_array_append(manager.list, big);
    json_decref(big);
    call(f, &client, "{" M "Files\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.Failed\",\"parameters\":{\"message\":\"the answer is too long for one reply: "
         "call with \\\"more\\\"\"}}");
    client_close(f, &client);
}

static void test_own_syncs_are_refused(void **state)
{
    Fixture *f = *state;
    manager.refuse_pid = true;
    Client client = client_new(f);
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.varlink.service.PermissionDenied\",\"parameters\":{}}");
    expect_closed(f, &client);
    assert_int_equal(manager.syncs, 0);
    assert_non_null(strstr(last_log, "no sync may steer the daemon"));
}

static void test_many_calls_take_turns(void **state)
{
    Fixture *f = *state;
    Client many = client_new(f);
    static const char request[] = "{" M "Sync\"," ORDERS ",\"oneway\":true}";
    _cleanup_(buffer_clear) Buffer all = { 0 };

    /* nothing is written for these, so that only the turn itself can go on with them */
    for (int i = 0; i < 500; i++)
        buffer_append(&all, request, sizeof(request));
    assert_int_equal(send(many.fd, buffer_bytes(&all), buffer_length(&all), MSG_NOSIGNAL), buffer_length(&all));
    int before = manager.syncs, most = 0;
    for (int i = 0; i < 500 && manager.syncs < 500; i++, before = manager.syncs) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
        now_ms++;
        most = MAX_OF(most, manager.syncs - before);
    }
    assert_int_equal(manager.syncs, 500);
    assert_in_range(most, 1, 64);
    client_close(f, &many);
}

/* Connects as another user; only root can. */
static Client client_of(Fixture *f, uid_t uid, gid_t gid, gid_t supplementary)
{
    gid_t own[64];
    int own_count = getgroups(ELEMENTSOF(own), own);
    assert_true(own_count >= 0);
    assert_int_equal(setgroups(1, &supplementary), 0);
    assert_int_equal(setegid(gid), 0);
    assert_int_equal(seteuid(uid), 0);
    Client client = { .fd = connect_to(f->path) };
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    assert_int_equal(setgroups((size_t)own_count, own), 0);
    turn(f);
    return client;
}

static void test_others_are_refused(void **state)
{
    Fixture *f = *state;
    struct stat status;
    if (geteuid() != 0)
        skip();

    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_gid, WHERRY_GID);
    assert_int_equal(chmod(f->dir, 0755), 0);
    assert_int_equal(chmod(f->path, 0666), 0); /* were it not for its mode */
    Client client = client_of(f, 65534, 65534, 65534);
    call(f, &client, "{" M "Sync\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.NotAllowed\",\"parameters\":{\"group\":\"wherry\"}}");
    expect_closed(f, &client);
    assert_int_equal(manager.syncs, 0);
    assert_non_null(strstr(last_log, "user 65534"));

    /* members of the group are not, whether it is their first or another one */
    client = client_of(f, 65534, WHERRY_GID, 65534);
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    client_close(f, &client);
    client = client_of(f, 65534, 65534, WHERRY_GID);
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    client_close(f, &client);
}

static void test_connections_are_bounded(void **state)
{
    Fixture *f = *state;
    Client clients[CONTROL_CONNECTIONS_MAX];
    if (geteuid() != 0)
        skip();

    assert_int_equal(chmod(f->dir, 0755), 0);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        clients[i] = client_of(f, (uid_t)(10000 + i / CONTROL_CONNECTIONS_PER_USER_MAX), WHERRY_GID, WHERRY_GID);
    Client *last = &clients[ELEMENTSOF(clients) - 1];
    call(f, last, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    Client extra = client_new(f);
    call(f, &extra, "{" M "Pause\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.TooManyConnections\",\"parameters\":{\"limit\":256}}");
    expect_closed(f, &extra);
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        client_close(f, &clients[i]);
}

static void test_connections_per_user_are_bounded(void **state)
{
    Fixture *f = *state;
    Client clients[CONTROL_CONNECTIONS_PER_USER_MAX + 20];
    for (size_t i = 0; i < CONTROL_CONNECTIONS_PER_USER_MAX; i++)
        clients[i] = client_new(f);
    for (size_t i = CONTROL_CONNECTIONS_PER_USER_MAX; i < ELEMENTSOF(clients); i++)
        clients[i] = client_new(f);

    call(f, &clients[0], "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    call(f, &clients[CONTROL_CONNECTIONS_PER_USER_MAX - 1], "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    Client *extra = &clients[CONTROL_CONNECTIONS_PER_USER_MAX];
    call(f, extra, "{" M "Pause\"," ORDERS "}",
         "{\"error\":\"org.wherry.Manager.TooManyConnections\",\"parameters\":{\"limit\":64}}");
    expect_closed(f, extra);
    /* those beyond what is kept for an answer are closed at once */
    char byte;
    assert_int_equal(recv(clients[ELEMENTSOF(clients) - 1].fd, &byte, 1, 0), 0);
    client_close(f, &clients[ELEMENTSOF(clients) - 1]);
    extra->fd = clients[ELEMENTSOF(clients) - 1].fd = -1;

    /* a place that becomes free is given on */
    client_close(f, &clients[0]);
    clients[0] = client_new(f);
    call(f, &clients[0], "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    for (size_t i = 0; i < ELEMENTSOF(clients); i++)
        if (clients[i].fd >= 0)
            client_close(f, &clients[i]);
}

static void test_stopping_answers_who_waits(void **state)
{
    Fixture *f = *state;
    Client client = client_new(f), pending = client_new(f);
    _cleanup_(error_clear) Error error = { 0 };

    send_text(f, &client, "{" M "Sync\"," ORDERS "}");
    send_text(f, &pending, "{" M "GetState\"," ORDERS "}");
    turn(f);
    f->control = control_free(f->control);
    expect(f, &client, "{\"error\":\"org.wherry.Manager.Stopping\",\"parameters\":{}}");
    expect_closed(f, &client);
    expect(f, &pending, "{\"error\":\"org.wherry.Manager.Stopping\",\"parameters\":{}}");
    expect_closed(f, &pending);
    error_set(&error, ERROR_CANCELLED, "stopping");
    manager.state_callback(NULL, &error, manager.state_userdata);
}

static void refused_socket(Fixture *f, const char *runtime_dir, const char *part)
{
    Control *control = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(control_new(&f->loop, &manager, runtime_dir, -1, &control, &error), -1);
    _cleanup_(freep) char *text = error_format(&error);
    if (!strstr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text, part);
    turn(f);
}

static void test_the_socket_itself(void **state)
{
    Fixture *f = *state;
    struct stat status;
    Control *second = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(freep) char *run = xasprintf("%s/run", f->dir), *other = xasprintf("%s/other", f->dir),
                          *path = xasprintf("%s/other/org.wherry.Manager", f->dir);
    char long_dir[200];

    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    assert_int_equal(stat(run, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    refused_socket(f, run, "another wherryd listens on");

    /* a stale socket is replaced */
    assert_int_equal(mkdir(other, 0755), 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(control_new(&f->loop, &manager, other, -1, &second, &error), 0);
    close(connect_to(path));
    turn(f);

    /* a successor's socket is not taken from it */
    assert_int_equal(unlink(path), 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    control_free(second);
    turn(f);
    assert_int_equal(access(path, F_OK), 0);
    refused_socket(f, other, "is in the way of the control socket and not a socket: remove it");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(other), 0);

    memset(long_dir, 'd', sizeof(long_dir) - 1);
    long_dir[0] = '/';
    long_dir[sizeof(long_dir) - 1] = '\0';
    refused_socket(f, long_dir, "is longer than 107 bytes: choose a shorter --runtime-dir");

    /* the first one's manager subscription was replaced by the second's: take it back for the teardown */
    manager.listener = NULL;
}

static void test_handed_over_socket(void **state)
{
    Fixture *f = *state;
    Control *control = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/handed", f->dir);

    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(control_new(&f->loop, &manager, f->dir, fd, &control, &error), -1);
    close(fd);
    error_clear(&error);
    turn(f);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(control_new(&f->loop, &manager, f->dir, fd, &control, &error), -1);
    _cleanup_(freep) char *text = error_format(&error);
    assert_non_null(strstr(text, "is not a listening Unix socket"));
    error_clear(&error);
    turn(f);

    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(control_new(&f->loop, &manager, f->dir, fd, &control, &error), 0);
    Client client = { .fd = connect_to(address.sun_path) };
    call(f, &client, "{" M "Pause\"," ORDERS "}", "{\"parameters\":{}}");
    client_close(f, &client);
    control_free(control);
    turn(f);
    assert_int_equal(unlink(address.sun_path), 0); /* still there: it is systemd's */
}

#define control_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        control_test(test_introspection),
        control_test(test_protocol_errors),
        control_test(test_what_is_no_call_closes),
        control_test(test_plain_calls),
        control_test(test_errors_of_the_manager),
        control_test(test_sync_waits_in_order),
        control_test(test_sync_streams),
        control_test(test_state_is_asynchronous),
        control_test(test_monitor),
        control_test(test_slow_reader_is_dropped),
        control_test(test_who_does_not_read_is_dropped),
        control_test(test_idle_peers_are_closed),
        control_test(test_garbage_closes_with_an_error),
        control_test(test_pipelined_calls_are_paced),
        control_test(test_many_calls_take_turns),
        control_test(test_large_answers_are_paced),
        control_test(test_long_lists_come_in_pieces),
        control_test(test_own_syncs_are_refused),
        control_test(test_others_are_refused),
        control_test(test_connections_are_bounded),
        control_test(test_connections_per_user_are_bounded),
        control_test(test_stopping_answers_who_waits),
        control_test(test_the_socket_itself),
        control_test(test_handed_over_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
