/*
 * The control socket: peers, their rights, and the bounds on what they may cost.
 *
 * A peer has one call at a time: while it waits for its answer, what the peer sends meanwhile stays in `input` (and
 * past a bound in the socket), so that answers keep their order by themselves. Answers are queued in `output`; one
 * write is in flight at a time and owns `sending`. A peer whose queue passes CONTROL_OUTPUT_MAX, or that reads nothing
 * for CONTROL_IDLE_MS, is dropped: nobody waits for it.
 *
 * Who may not call is told so in answer to its first call, then closed: an answer before the call would be lost by
 * clients that fail on writing first. At most CONTROL_REFUSED_MAX such peers are kept at a time.
 *
 * libuv closes handles asynchronously, so every owner counts its open handles and is freed by the last close callback.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/wherryd/control.h"
#include "daemon/wherryd/log.h"
#include "daemon/wherryd/methods.h"
#include "lib/formats/varlink.h"
#include "lib/system/paths.h"

#define CONTROL_REFUSED_MAX 16
#define CONTROL_FLUSH_MS (5 * 1000)      /* for the last answer of a peer that is being closed */
#define CONTROL_OUTPUT_BUSY (256 * 1024) /* past it no further call of that peer is begun, no progress sent */
#define CONTROL_CALLS_PER_TURN 32        /* of one peer, then the loop turns */
#define CONTROL_READ_SIZE (64 * 1024)
#define CONTROL_GROUPS_MAX 65536          /* NGROUPS_MAX of Linux */
#define CONTROL_LOG_LINES 20              /* per … */
#define CONTROL_LOG_WINDOW_MS (10 * 1000) /* … about peers, so that they cannot flood the log */

typedef enum Refusal {
    REFUSAL_NONE,
    REFUSAL_GROUP,
    REFUSAL_DESCENDANT,
    REFUSAL_TOO_MANY,
    REFUSAL_TOO_MANY_OF_USER,
} Refusal;

typedef struct Peer Peer;
struct Peer {
    Control *control;
    Peer *previous, *next;
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned open_handles;
    struct ucred credentials;
    Refusal refusal;
    Buffer input;
    Buffer output;
    Buffer sending;
    uv_write_t write;
    bool writing;
    bool reading;
    bool finishing; /* nothing more is read; closed once the output is out */
    bool closed;
    Call *call;
};

struct Control {
    uv_loop_t *loop;
    Manager *manager;
    ManagerSubscription *subscription;
    uv_pipe_t listener;
    unsigned references; /* the listener and every peer */
    bool closed;
    char *socket_path; /* that we bound; NULL: handed to us */
    dev_t socket_device;
    ino_t socket_inode;
    gid_t group;
    bool has_group;
    Peer *peers;
    void (*gone)(void *userdata); /* control_new_for(); NULL: there is a listener */
    void *gone_userdata;
    uint64_t log_window_begin;
    unsigned log_lines;
    unsigned log_suppressed;
    char read_buffer[CONTROL_READ_SIZE]; /* shared: every read is copied on at once */
};

static void peer_process(Peer *peer);
static void peer_update_reading(Peer *peer);

/* --- the log, bounded in rate --- */

static void _public_printf_(2, 3) control_log(Control *control, const char *format, ...)
{
    uint64_t now = uv_now(control->loop);
    if (now - control->log_window_begin >= CONTROL_LOG_WINDOW_MS) {
        if (control->log_suppressed > 0)
            log_warning("control: %u lines about peers suppressed", control->log_suppressed);
        control->log_window_begin = now;
        control->log_lines = control->log_suppressed = 0;
    }
    if (++control->log_lines > CONTROL_LOG_LINES) {
        control->log_suppressed++;
        return;
    }

    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log_warning("control: %s", text);
}

/* --- the end of a peer --- */

static void control_unref(Control *control)
{
    if (--control->references > 0)
        return;
    free(control->socket_path);
    free(control);
}

static void on_peer_handle_closed(uv_handle_t *handle)
{
    Peer *peer = handle->data;
    if (--peer->open_handles > 0)
        return;

    if (peer->call) {
        peer->call->peer = NULL;
        if (peer->call->waits != CALL_WAITS_STATE) /* else it is freed when the manager calls back */
            call_free(peer->call);
    }
    if (peer->previous)
        peer->previous->next = peer->next;
    else
        peer->control->peers = peer->next;
    if (peer->next)
        peer->next->previous = peer->previous;
    buffer_clear(&peer->input);
    buffer_clear(&peer->output);
    buffer_clear(&peer->sending);
    if (peer->control->gone && !peer->control->closed)
        peer->control->gone(peer->control->gone_userdata);
    control_unref(peer->control);
    free(peer);
}

static void peer_close(Peer *peer)
{
    if (peer->closed)
        return;
    peer->closed = true;
    uv_close((uv_handle_t *)&peer->pipe, on_peer_handle_closed);
    uv_close((uv_handle_t *)&peer->timer, on_peer_handle_closed);
}

static void _public_printf_(2, 3) peer_drop(Peer *peer, const char *format, ...)
{
    char reason[256];
    va_list arguments;

    if (peer->closed)
        return;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    control_log(peer->control, "closed the connection of process %d, user %u: %s", (int)peer->credentials.pid,
                (unsigned)peer->credentials.uid, reason);
    peer_close(peer);
}

/* --- time --- */

static void on_peer_timer(uv_timer_t *timer)
{
    Peer *peer = timer->data;
    if (peer->writing && !peer->finishing)
        peer_drop(peer, "it did not read its answers for %d s", CONTROL_IDLE_MS / 1000);
    else
        peer_close(peer);
}

/* Runs while the peer is idle, or while it has something to read. */
static void peer_arm(Peer *peer)
{
    if (peer->closed)
        return;
    if (peer->finishing)
        uv_timer_start(&peer->timer, on_peer_timer, CONTROL_FLUSH_MS, 0);
    else if (!peer->call || peer->writing)
        uv_timer_start(&peer->timer, on_peer_timer, CONTROL_IDLE_MS, 0);
    else
        uv_timer_stop(&peer->timer);
}

/* --- output --- */

static size_t peer_unsent(const Peer *peer)
{
    return buffer_length(&peer->output) + buffer_length(&peer->sending);
}

static void peer_flush(Peer *peer);

static void on_written(uv_write_t *request, int status)
{
    Peer *peer = request->data;

    peer->writing = false;
    buffer_reset(&peer->sending);
    if (peer->sending.allocated > CONTROL_OUTPUT_BUSY) {
        /* a list of thousands: it and the JSON it was made of were most of the heap */
        buffer_clear(&peer->sending);
        malloc_trim(0);
    }
    if (peer->closed)
        return;
    if (status < 0) {
        peer_close(peer);
        return;
    }
    peer_flush(peer);
    peer_arm(peer);
    if (peer->writing || peer->closed)
        return;
    if (peer->finishing) {
        peer_close(peer);
        return;
    }
    if (peer->call && peer->call->waits == CALL_WAITS_DRAINED) {
        methods_drained(peer->call);
        if (peer->call->done)
            control_call_completed(peer->call);
    } else if (!peer->call) {
        peer_process(peer);
    }
}

static void peer_flush(Peer *peer)
{
    if (peer->closed || peer->writing || buffer_length(&peer->output) == 0)
        return;

    Buffer empty = peer->sending;
    peer->sending = peer->output;
    peer->output = empty;

    uv_buf_t bytes = uv_buf_init((char *)buffer_bytes(&peer->sending), (unsigned)buffer_length(&peer->sending));
    peer->write.data = peer;
    if (uv_write(&peer->write, (uv_stream_t *)&peer->pipe, &bytes, 1, on_written) < 0) {
        peer_close(peer);
        return;
    }
    peer->writing = true;
    peer_arm(peer);
}

static void peer_put(Peer *peer, const json_t *message)
{
    if (peer->closed)
        return;
    size_t before = buffer_length(&peer->output);
    varlink_put(&peer->output, message);
    if (buffer_length(&peer->output) - before > CONTROL_OUTPUT_MAX) { /* a list of very many files */
        peer->output.end = peer->output.begin + before;
        json_t *error =
            varlink_error("org.wherry.Manager.Failed",
                          json_pack("{s:s}", "message", "the answer is too long for one reply: call with \"more\""));
        varlink_put(&peer->output, error);
        json_decref(error);
    }
    if (peer_unsent(peer) > CONTROL_OUTPUT_MAX) {
        peer_drop(peer, "it reads too slowly: more than %u MiB of answers wait for it", CONTROL_OUTPUT_MAX >> 20);
        return;
    }
    peer_flush(peer);
}

/* Answers with MESSAGE (stolen), then closes. */
static void peer_finish(Peer *peer, json_t *message)
{
    if (message)
        peer_put(peer, message);
    json_decref(message);
    if (peer->closed)
        return;
    peer->finishing = true;
    uv_read_stop((uv_stream_t *)&peer->pipe);
    peer->reading = false;
    if (peer->writing)
        peer_arm(peer);
    else
        peer_close(peer);
}

/* --- what methods.c calls --- */

void control_call_put(Call *call, json_t *message)
{
    Peer *peer = call->peer;
    if (peer && !call->oneway)
        peer_put(peer, message);
    json_decref(message);
}

bool control_call_congested(const Call *call)
{
    const Peer *peer = call->peer;
    return peer && peer_unsent(peer) > CONTROL_OUTPUT_BUSY;
}

void control_call_completed(Call *call)
{
    Peer *peer = call->peer;
    peer->call = call_free(call);
    peer_arm(peer);
    if (!peer->closed)
        peer_process(peer);
}

/* --- input --- */

static json_t *refusal_message(Refusal refusal)
{
    switch (refusal) {
    case REFUSAL_GROUP:
        return varlink_error("org.wherry.Manager.NotAllowed", json_pack("{s:s}", "group", CONTROL_GROUP));
    case REFUSAL_TOO_MANY:
        return varlink_error("org.wherry.Manager.TooManyConnections",
                             json_pack("{s:i}", "limit", CONTROL_CONNECTIONS_MAX));
    case REFUSAL_TOO_MANY_OF_USER:
        return varlink_error("org.wherry.Manager.TooManyConnections",
                             json_pack("{s:i}", "limit", CONTROL_CONNECTIONS_PER_USER_MAX));
    default:
        return varlink_error("org.varlink.service.PermissionDenied", NULL);
    }
}

static void peer_dispatch(Peer *peer, json_t *message)
{
    Call *call = xcalloc(1, sizeof(Call));
    call->manager = peer->control->manager;
    call->peer = peer;
    peer->call = call;
    peer_arm(peer);
    methods_dispatch(call, message);
    if (!call->done)
        return;
    bool malformed = call->malformed;
    peer->call = call_free(call);
    peer_arm(peer);
    if (malformed && !peer->closed) {
        control_log(peer->control, "closed the connection of process %d, user %u: it sent something else than calls",
                    (int)peer->credentials.pid, (unsigned)peer->credentials.uid);
        peer_finish(peer, NULL);
    }
}

static void on_peer_turn(uv_timer_t *timer)
{
    Peer *peer = timer->data;
    peer_arm(peer);
    peer_process(peer);
}

/* Begins the calls that have arrived, until one waits or there is much to read first. A peer that sends calls by the
 * thousand gets a few at a time, so that the loop has time for others. */
static void peer_process(Peer *peer)
{
    unsigned calls = 0;

    while (!peer->closed && !peer->finishing && !peer->call && peer_unsent(peer) < CONTROL_OUTPUT_BUSY) {
        _cleanup_(error_clear) Error error = { 0 };
        json_t *message = NULL;
        int r = varlink_take(&peer->input, CONTROL_MESSAGE_MAX, &message, &error);
        if (r == VARLINK_E_MORE)
            break;
        if (r < 0) {
            control_log(peer->control, "closed the connection of process %d, user %u: %s", (int)peer->credentials.pid,
                        (unsigned)peer->credentials.uid, error.message);
            peer_finish(peer, varlink_error("org.varlink.service.InvalidParameter",
                                            json_pack("{s:s}", "parameter", "message")));
            return;
        }
        peer_dispatch(peer, message);
        json_decref(message);
        if (++calls == CONTROL_CALLS_PER_TURN && !peer->closed && !peer->finishing && !peer->call) {
            /* not 0: libuv would run it in the same turn again */
            uv_timer_start(&peer->timer, on_peer_turn, 1, 0);
            break;
        }
    }
    if (peer->closed || peer->finishing)
        return;
    if (buffer_length(&peer->input) == 0 && peer->input.allocated > CONTROL_READ_SIZE)
        buffer_clear(&peer->input);
    peer_update_reading(peer);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    Peer *peer = handle->data;
    *ret = uv_buf_init(peer->control->read_buffer, CONTROL_READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes);

/* What a peer sends while its call waits is kept up to one message and a bit; the rest stays in the socket. */
static void peer_update_reading(Peer *peer)
{
    if (peer->closed || peer->finishing)
        return;
    bool wanted = buffer_length(&peer->input) <= CONTROL_MESSAGE_MAX;
    if (wanted && !peer->reading)
        uv_read_start((uv_stream_t *)&peer->pipe, on_allocate, on_read);
    else if (!wanted && peer->reading)
        uv_read_stop((uv_stream_t *)&peer->pipe);
    peer->reading = wanted;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    Peer *peer = stream->data;

    if (n == 0 || peer->closed)
        return;
    if (n < 0) {
        /* closing cancels a call that waits; answers that are already on their way still go out */
        if (n == UV_EOF && !peer->call && peer->writing)
            peer_finish(peer, NULL);
        else
            peer_close(peer);
        return;
    }

    buffer_append(&peer->input, bytes->base, (size_t)n);
    /* looking only at what is new keeps a message that arrives in small pieces from being searched again and again */
    bool complete = memchr(bytes->base, '\0', (size_t)n) != NULL;
    bool too_long = buffer_length(&peer->input) > CONTROL_MESSAGE_MAX;
    if (peer->refusal != REFUSAL_NONE) {
        if (complete || buffer_length(&peer->input) > CONTROL_READ_SIZE)
            peer_finish(peer, refusal_message(peer->refusal));
        return;
    }
    if (complete || too_long)
        peer_process(peer);
    peer_update_reading(peer);
}

/* --- the beginning of a peer --- */

static bool is_in_group(Control *control, int fd, gid_t primary)
{
    if (!control->has_group)
        return false;
    if (primary == control->group)
        return true;

    gid_t few[64];
    gid_t *groups = few;
    socklen_t size = sizeof(few);
    bool found = false;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
        if (errno != ERANGE || size > CONTROL_GROUPS_MAX * sizeof(gid_t))
            return false;
        groups = xmalloc(size); /* now it says how many there are */
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
            size = 0;
    }
    for (size_t i = 0; i < size / sizeof(gid_t) && !found; i++)
        found = groups[i] == control->group;
    if (groups != few)
        free(groups);
    return found;
}

static Refusal peer_refusal(Peer *peer, int fd)
{
    Control *control = peer->control;
    const struct ucred *who = &peer->credentials;
    size_t all = 0, of_user = 0;

    if (manager_is_descendant(control->manager, who->pid))
        return REFUSAL_DESCENDANT;
    if (who->uid != 0 && who->uid != geteuid() && !is_in_group(control, fd, who->gid))
        return REFUSAL_GROUP;
    for (const Peer *p = control->peers; p; p = p->next) {
        if (p == peer || p->closed || p->refusal != REFUSAL_NONE)
            continue;
        all++;
        of_user += p->credentials.uid == who->uid;
    }
    return all >= CONTROL_CONNECTIONS_MAX                ? REFUSAL_TOO_MANY
           : of_user >= CONTROL_CONNECTIONS_PER_USER_MAX ? REFUSAL_TOO_MANY_OF_USER
                                                         : REFUSAL_NONE;
}

static size_t refused_peers(const Control *control)
{
    size_t n = 0;
    for (const Peer *p = control->peers; p; p = p->next)
        n += !p->closed && p->refusal != REFUSAL_NONE;
    return n;
}

static const char *refusal_reason(Refusal refusal)
{
    switch (refusal) {
    case REFUSAL_GROUP:
        return "it is neither root nor in the group \"" CONTROL_GROUP "\"";
    case REFUSAL_DESCENDANT:
        return "it belongs to a sync, and no sync may steer the daemon";
    case REFUSAL_TOO_MANY:
        return "there are too many connections already";
    case REFUSAL_TOO_MANY_OF_USER:
        return "this user has too many connections already";
    default:
        return "";
    }
}

static Peer *peer_new(Control *control)
{
    Peer *peer = xcalloc(1, sizeof(Peer));
    peer->control = control;
    control->references++;
    uv_pipe_init(control->loop, &peer->pipe, 0);
    uv_timer_init(control->loop, &peer->timer);
    peer->pipe.data = peer->timer.data = peer;
    peer->open_handles = 2;
    peer->next = control->peers;
    if (peer->next)
        peer->next->previous = peer;
    control->peers = peer;
    return peer;
}

static void on_connection(uv_stream_t *listener, int status)
{
    Control *control = listener->data;
    if (status < 0) {
        control_log(control, "a connection could not be accepted: %s", uv_strerror(status));
        return;
    }

    Peer *peer = peer_new(control);
    int fd = -1;
    socklen_t size = sizeof(peer->credentials);
    if (uv_accept(listener, (uv_stream_t *)&peer->pipe) < 0 || uv_fileno((uv_handle_t *)&peer->pipe, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer->credentials, &size) < 0) {
        peer_close(peer);
        return;
    }

    Refusal refusal = peer_refusal(peer, fd);
    if (refusal != REFUSAL_NONE) {
        control_log(control, "refused process %d, user %u: %s", (int)peer->credentials.pid,
                    (unsigned)peer->credentials.uid, refusal_reason(refusal));
        if (refused_peers(control) >= CONTROL_REFUSED_MAX) {
            peer_close(peer);
            return;
        }
        peer->refusal = refusal;
    }
    peer_update_reading(peer);
    peer_arm(peer);
}

/* --- events --- */

static void on_event(ManagerEvent event, const char *connection, json_t *data, void *userdata)
{
    Control *control = userdata;
    Peer *next;

    /* closing a peer frees it only after the loop has turned, so that the list holds still here */
    for (Peer *peer = control->peers; peer; peer = next) {
        next = peer->next;
        if (!peer->call || peer->closed)
            continue;
        methods_event(peer->call, event, connection, data);
        if (peer->call->done && !peer->call->dispatching)
            control_call_completed(peer->call);
    }
}

/* --- the listening socket --- */

static bool find_group(const char *name, gid_t *ret)
{
    char buffer[16384];
    struct group group, *found = NULL;
    if (getgrnam_r(name, &group, buffer, sizeof(buffer), &found) != 0 || !found)
        return false;
    *ret = found->gr_gid;
    return true;
}

/* Removes a socket that nobody listens on. */
static int remove_stale_socket(const struct sockaddr_un *address, Error *error)
{
    const char *path = address->sun_path;
    struct stat status;

    if (lstat(path, &status) < 0) {
        if (errno == ENOENT)
            return 0;
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the control socket \"%s\" cannot be examined", path);
    }
    if (!S_ISSOCK(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\" is in the way of the control socket and not a socket: remove it", path);

    _cleanup_(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no socket can be made");
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return error_set(error, ERROR_CONFIGURATION,
                         "another wherryd listens on \"%s\": stop it, or choose another --runtime-dir", path);
    if (errno != ECONNREFUSED)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the control socket \"%s\" cannot be tried", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the stale control socket \"%s\" cannot be removed",
                               path);
    return 0;
}

/* Nobody can connect before listen(), so mode and group are set in between. */
static int bind_socket(Control *control, const char *runtime_dir, int *ret, Error *error)
{
    _cleanup_(close_fdp) int fd = -1;
    _cleanup_(freep) char *path = xasprintf("%s/%s", runtime_dir, CONTROL_SOCKET_NAME);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat status;

    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(error, ERROR_CONFIGURATION,
                         "the control socket's path \"%s\" is longer than %zu bytes: choose a shorter --runtime-dir",
                         path, sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    if (paths_make(runtime_dir, 0755, error) < 0 || remove_stale_socket(&address, error) < 0)
        return -1;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no socket can be made");
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the control socket \"%s\" cannot be made", path);
    if (chmod(path, 0660) < 0 || lstat(path, &status) < 0) {
        error_set_errno(error, ERROR_CONFIGURATION, errno, "the control socket \"%s\" cannot be prepared", path);
        unlink(path);
        return -1;
    }
    if (control->has_group && lchown(path, (uid_t)-1, control->group) < 0)
        log_warning("control: \"%s\" cannot be given to the group \"%s\": %s", path, CONTROL_GROUP,
                    error_errno_text(errno));

    control->socket_path = take_ptr(path);
    control->socket_device = status.st_dev;
    control->socket_inode = status.st_ino;
    *ret = take_fd(&fd);
    return 0;
}

static int check_handed_socket(int fd, Error *error)
{
    int domain = 0, listening = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "descriptor %d, handed over as control socket", fd);
    if (domain != AF_UNIX || !listening)
        return error_set(error, ERROR_CONFIGURATION,
                         "descriptor %d, handed over as control socket, is not a listening Unix socket", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    control_unref(handle->data);
}

static Control *control_make(uv_loop_t *loop, Manager *manager)
{
    Control *control = xcalloc(1, sizeof(Control));
    control->loop = loop;
    control->manager = manager;
    control->references = 1;
    control->has_group = find_group(CONTROL_GROUP, &control->group);
    uv_pipe_init(loop, &control->listener, 0);
    control->listener.data = control;
    return control;
}

int control_new_for(uv_loop_t *loop, Manager *manager, int fd, void (*gone)(void *userdata), void *userdata,
                    Control **ret, Error *error)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno,
                               "descriptor %d, handed over for control calls, is not a connected Unix socket", fd);
    Control *control = control_make(loop, manager);
    Peer *peer = peer_new(control);
    peer->credentials = credentials;
    int r = uv_pipe_open(&peer->pipe, fd);
    if (r < 0) {
        control_free(control);
        return error_set(error, ERROR_TEMPORARY, "descriptor %d cannot be read: %s", fd, uv_strerror(r));
    }
    control->gone = gone;
    control->gone_userdata = userdata;
    control->subscription = manager_subscribe(manager, on_event, control);
    peer_update_reading(peer);
    peer_arm(peer);
    *ret = control;
    return 0;
}

int control_new(uv_loop_t *loop, Manager *manager, const char *runtime_dir, int listen_fd, Control **ret, Error *error)
{
    Control *control = control_make(loop, manager);
    int fd = listen_fd, r;

    r = listen_fd >= 0 ? check_handed_socket(listen_fd, error) : bind_socket(control, runtime_dir, &fd, error);
    if (r < 0)
        goto fail;
    r = uv_pipe_open(&control->listener, fd);
    if (r < 0) {
        if (listen_fd < 0)
            close_fd(fd);
        goto fail_uv;
    }
    r = uv_listen((uv_stream_t *)&control->listener, SOMAXCONN, on_connection);
    if (r < 0)
        goto fail_uv;
    control->subscription = manager_subscribe(manager, on_event, control);
    *ret = control;
    return 0;

fail_uv:
    error_set(error, ERROR_TEMPORARY, "the control socket cannot be listened on: %s", uv_strerror(r));
fail:
    control_free(control);
    return -1;
}

static void unlink_own_socket(const Control *control)
{
    struct stat status;
    if (control->socket_path && lstat(control->socket_path, &status) == 0 && status.st_dev == control->socket_device &&
        status.st_ino == control->socket_inode)
        unlink(control->socket_path);
}

Control *control_free(Control *control)
{
    if (!control || control->closed)
        return NULL;
    control->closed = true;
    if (control->subscription)
        control->subscription = manager_unsubscribe(control->manager, control->subscription);
    unlink_own_socket(control);
    for (Peer *peer = control->peers; peer; peer = peer->next) {
        /* what fits into the socket at once is sent; nobody waits for more */
        if (peer->call && !peer->closed)
            call_error(peer->call, "org.wherry.Manager.Stopping", NULL);
        peer_close(peer);
    }
    uv_close((uv_handle_t *)&control->listener, on_listener_closed);
    return NULL;
}
