/*
 * Files that arrive are loaded without waiting for the frequency. Two events mean that a file is whole: its writer has
 * closed it, or it was renamed into the folder. Anything else (created, written to) says that it is not. libuv's own
 * watcher does not tell these apart, so this is inotify(7) itself.
 *
 * Several connections may watch one folder, for which the kernel has one watch: what the kernel watches is a Place, and
 * every Watch hangs on one. A folder that does not exist yet is waited for in the nearest one above it that does: its
 * Watch hangs there until something is made there, then looks again. When the kernel had to drop events, every watch
 * counts as having seen some.
 */
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/inotify.h>

#include "daemon/wherryd/watch.h"
#include "lib/basics/buffer.h"

#define EVENTS_READ_SIZE 16384
#define ATTACH_ATTEMPTS_MAX 16 /* a folder that comes and goes all the time is looked for again at the next event */
#define EVENTS_ARRIVED (IN_CLOSE_WRITE | IN_MOVED_TO)
#define EVENTS_ABOVE (IN_CREATE | IN_MOVED_TO)
#define EVENTS_GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)

typedef struct Place {
    int descriptor; /* of the kernel's watch */
    unsigned users;
    struct Place *next;
} Place;

struct Watch {
    Watches *watches;
    char *folder, *pattern;
    void (*arrived)(void *userdata);
    void *userdata;
    Place *place;  /* NULL: nothing above it can be watched */
    bool is_there; /* PLACE is the folder itself */
    bool look_again, pending;
    Watch *next;
};

struct Watches {
    uv_poll_t poll;
    uv_timer_t settle;
    bool settling;
    int fd;
    unsigned handles;
    Place *places;
    Watch *all;
};

static void place_release(Watches *watches, Place *place)
{
    if (!place || --place->users > 0)
        return;
    for (Place **at = &watches->places; *at; at = &(*at)->next)
        if (*at == place) {
            *at = place->next;
            break;
        }
    if (place->descriptor >= 0)
        inotify_rm_watch(watches->fd, place->descriptor);
    free(place);
}

/* The place for PATH. The kernel answers with the watch that it has for that folder already, if any. */
static int place_get(Watches *watches, const char *path, Place **ret)
{
    int descriptor = inotify_add_watch(
        watches->fd, path, EVENTS_ARRIVED | EVENTS_ABOVE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK);
    if (descriptor < 0)
        return -errno;
    for (Place *place = watches->places; place; place = place->next)
        if (place->descriptor == descriptor) {
            place->users++;
            *ret = place;
            return 0;
        }
    Place *place = xcalloc(1, sizeof *place);
    *place = (Place){ .descriptor = descriptor, .users = 1, .next = watches->places };
    watches->places = place;
    *ret = place;
    return 0;
}

/* Whether what comes after the first N bytes of FOLDER, one name further down, is there (made since it was last looked
 * for). */
static bool next_is_there(const char *folder, size_t n)
{
    size_t start = n == 1 ? 1 : n + 1; /* "/" is its own slash */
    _cleanup_(freep) char *next = xstrndup(folder, start + strcspn(folder + start, "/"));
    return access(next, X_OK) == 0;
}

/* Hangs WATCH on its folder, or on the nearest one above that is there. */
static int watch_attach_once(Watch *watch, bool *ret_again)
{
    Place *old = watch->place;
    _cleanup_(freep) char *path = xstrdup(watch->folder);
    watch->place = NULL;
    watch->is_there = true;
    int r;
    while ((r = place_get(watch->watches, path, &watch->place)) == -ENOENT || r == -ENOTDIR || r == -EACCES) {
        char *slash = strrchr(path, '/');
        if (!slash || path[1] == 0)
            break;
        watch->is_there = false;
        slash[slash == path ? 1 : 0] = 0;
    }
    *ret_again = r == 0 && !watch->is_there && next_is_there(watch->folder, strlen(path));
    place_release(watch->watches, old);
    return r;
}

static int watch_attach(Watch *watch)
{
    bool again = true;
    int r = 0;
    for (unsigned i = 0; r == 0 && again && i < ATTACH_ATTEMPTS_MAX; i++)
        r = watch_attach_once(watch, &again);
    return r;
}

static void on_settled(uv_timer_t *timer)
{
    Watches *watches = timer->data;
    watches->settling = false;
    /* A callback may make and free watches: start over after each. */
    for (Watch *watch = watches->all; watch;) {
        if (!watch->pending) {
            watch = watch->next;
            continue;
        }
        watch->pending = false;
        watch->arrived(watch->userdata);
        watch = watches->all;
    }
}

static void settle(Watches *watches)
{
    if (watches->settling)
        return;
    watches->settling = true;
    uv_timer_start(&watches->settle, on_settled, WATCH_SETTLE_MS, 0);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static bool is_wanted(const Watch *watch, const char *name)
{
    return !has_suffix(name, ".tmp") && !has_suffix(name, ".manifest.json") && fnmatch(watch->pattern, name, 0) == 0;
}

static void take_event(Watches *watches, const struct inotify_event *event)
{
    const char *name = event->len > 0 ? event->name : "";
    for (Watch *watch = watches->all; watch; watch = watch->next) {
        if (event->mask & IN_Q_OVERFLOW) {
            watch->pending = watch->look_again = true;
            continue;
        }
        if (!watch->place || watch->place->descriptor != event->wd)
            continue;
        if ((event->mask & EVENTS_GONE) || (!watch->is_there && (event->mask & EVENTS_ABOVE)))
            watch->look_again = true;
        else if (watch->is_there && (event->mask & EVENTS_ARRIVED) && !(event->mask & IN_ISDIR) &&
                 is_wanted(watch, name))
            watch->pending = true;
    }
    if (event->mask & IN_IGNORED)
        for (Place *place = watches->places; place; place = place->next)
            if (place->descriptor == event->wd)
                place->descriptor = -1; /* the kernel has dropped it; the number may come again */
}

static void look_again(Watches *watches)
{
    bool any = false;
    for (Watch *watch = watches->all; watch; watch = watch->next) {
        if (watch->look_again) {
            watch->look_again = false;
            watch_attach(watch);
            /* Between its making and this look, files may have arrived unseen; also where the folder was there before,
             * since another may have taken its place by now. */
            watch->pending |= watch->is_there;
        }
        any |= watch->pending;
    }
    if (any)
        settle(watches);
}

static void on_events(uv_poll_t *poll, int status, int events)
{
    Watches *watches = poll->data;
    _Alignas(struct inotify_event) char bytes[EVENTS_READ_SIZE];
    ssize_t n = read(watches->fd, bytes, sizeof bytes);
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const struct inotify_event *)(bytes + at);
        take_event(watches, event);
        at += (ssize_t)(sizeof *event + event->len);
    }
    look_again(watches);
}

int watches_new(uv_loop_t *loop, Watches **ret, Error *error)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0)
        return error_set_errno(
            error, ERROR_TEMPORARY, errno,
            "folders cannot be watched; more may be allowed in /proc/sys/fs/inotify/max_user_instances");
    Watches *watches = xcalloc(1, sizeof *watches);
    watches->fd = fd;
    uv_timer_init(loop, &watches->settle);
    uv_poll_init(loop, &watches->poll, fd);
    watches->poll.data = watches->settle.data = watches;
    watches->handles = 2;
    uv_poll_start(&watches->poll, UV_READABLE, on_events);
    *ret = watches;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    Watches *watches = handle->data;
    if (--watches->handles == 0)
        free(watches);
}

Watches *watches_free(Watches *watches)
{
    if (!watches)
        return NULL;
    uv_close((uv_handle_t *)&watches->poll, on_closed);
    uv_close((uv_handle_t *)&watches->settle, on_closed);
    close_fd(watches->fd);
    return NULL;
}

int watch_new(Watches *watches, const char *folder, const char *pattern, void (*arrived)(void *userdata),
              void *userdata, Watch **ret, Error *error)
{
    Watch *watch = xcalloc(1, sizeof *watch);
    *watch = (Watch){ .watches = watches,
                      .folder = xstrdup(folder),
                      .pattern = xstrdup(pattern),
                      .arrived = arrived,
                      .userdata = userdata,
                      .next = watches->all };
    watches->all = watch;
    int r = watch_attach(watch);
    if (r < 0) {
        watch_free(watch);
        return error_set_errno(error, ERROR_TEMPORARY, -r, "folder \"%s\" cannot be watched%s", folder,
                               r == -ENOSPC ? "; more may be allowed in /proc/sys/fs/inotify/max_user_watches" : "");
    }
    *ret = watch;
    return 0;
}

Watch *watch_free(Watch *watch)
{
    if (!watch)
        return NULL;
    for (Watch **at = &watch->watches->all; *at; at = &(*at)->next)
        if (*at == watch) {
            *at = watch->next;
            break;
        }
    place_release(watch->watches, watch->place);
    free(watch->folder);
    free(watch->pattern);
    free(watch);
    return NULL;
}
