/*
 * Stands in for the manager, the log, the group and the monotonic clock by defining their functions here: a program
 * that links this takes the socket's sources and not the daemon's library.
 */
#include "tests/unit/control-fixture.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/wherryd/log.h"
#include "lib/formats/varlink.h"

/* --- the manager --- */

struct Manager manager;
char last_log[1024];
unsigned log_lines;

void log_message(int priority, const LogContext *context, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_log, sizeof(last_log), format, arguments);
    va_end(arguments);
    log_lines++;
}

void event(ManagerEvent kind, json_t *data)
{
    manager.listener(kind, "orders", data, manager.listener_userdata);
    json_decref(data);
}

json_t *finished_run(const char *run_id)
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

int getgrnam_r(const char *name, struct group *group, char *buffer, size_t size, struct group **ret)
{
    assert_string_equal(name, "wherry");
    *group = (struct group){ .gr_gid = WHERRY_GID };
    *ret = geteuid() == 0 ? group : NULL; /* only root can give the socket to it */
    return 0;
}

/* --- the clock, which libuv asks for the time --- */

int64_t now_ms = 1000000;

int clock_gettime(clockid_t id, struct timespec *ret)
{
    if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE)
        return (int)syscall(SYS_clock_gettime, id, ret);
    *ret = (struct timespec){ .tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000 };
    return 0;
}

/* --- a client on the same thread: the loop turns while it waits --- */

void turn(Fixture *f)
{
    for (int i = 0; i < 5; i++, now_ms++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
}

int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

Client client_new(Fixture *f)
{
    Client client = { .fd = connect_to(f->path) };
    turn(f);
    return client;
}

void client_close(Fixture *f, Client *client)
{
    client->fd = close_fd(client->fd);
    buffer_clear(&client->input);
    turn(f);
}

void send_bytes(Fixture *f, Client *client, const void *data, size_t n)
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

void send_text(Fixture *f, Client *client, const char *text)
{
    send_bytes(f, client, text, strlen(text) + 1);
}

json_t *receive(Fixture *f, Client *client)
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

json_t *big_string(void)
{
    _cleanup_(freep) char *text = xmalloc(1 << 20);
    memset(text, 'x', 1 << 20);
    return json_stringn(text, 1 << 20);
}

void assert_nothing(Fixture *f, Client *client)
{
    char byte;
    turn(f);
    assert_int_equal(recv(client->fd, &byte, 1, MSG_PEEK), -1);
    assert_int_equal(errno, EAGAIN);
}

void expect(Fixture *f, Client *client, const char *expected)
{
    json_t *reply = receive(f, client);
    if (!reply)
        fail_msg("closed instead of %s", expected);
    _cleanup_(freep) char *text = json_dumps(reply, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(reply);
    assert_string_equal(text, expected);
}

void expect_closed(Fixture *f, Client *client)
{
    json_t *reply = receive(f, client);
    assert_null(reply);
    client_close(f, client);
}

int control_set_up(void **state)
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

int control_tear_down(void **state)
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

Client client_of(Fixture *f, uid_t uid, gid_t gid, gid_t supplementary)
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
