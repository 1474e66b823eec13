/*
 * The manager's life: which connections there are, and when the next of them is due.
 *
 * Connections lie in one array sorted by name. A reload reads the files anew and merges: what did not change keeps its
 * pointer and its plans, what changed is planned anew, what is gone leaves at once or with the run that still uses it.
 * A broken file is a connection too, with a problem in place of a configuration, so that `status` shows it.
 *
 * Every connection that will be due lies in a heap, and one wall-clock alarm is set for the first of them. Nothing else
 * wakes the daemon.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/wherryd/log.h"
#include "daemon/wherryd/manager-internal.h"
#include "daemon/wherryd/message-id.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/hash.h"

#define STOP_BOUND_MS (SYNC_END_BOUND_MS + 5 * 1000) /* whatever the kernel does, the daemon ends */

/* --- connections --- */

Connection *connection_free(Connection *connection)
{
    if (!connection)
        return NULL;
    heap_remove(&connection->manager->due, &connection->due);
    watch_free(connection->watch);
    connection_config_free(connection->config);
    free(connection->name);
    free(connection->problem);
    free(connection->last_error);
    free(connection);
    return NULL;
}

static Connection *connection_new(Manager *manager, const char *name)
{
    Connection *connection = xcalloc(1, sizeof *connection);
    *connection = (Connection){ .manager = manager,
                                .name = xstrdup(name),
                                .last_rows = -1,
                                .schedule = { .phase_hash = fnv1a64(name, strlen(name)) } };
    return connection;
}

Connection *manager_find(const Manager *manager, const char *name)
{
    size_t low = 0, high = manager->connection_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, manager->connections[middle]->name);
        if (order == 0)
            return manager->connections[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static const char *static_outcome(const char *outcome)
{
    static const char *const outcomes[] = { "succeeded", "failed", "cancelled", "stalled" };
    for (size_t i = 0; outcome && i < ELEMENTSOF(outcomes); i++)
        if (strcmp(outcomes[i], outcome) == 0)
            return outcomes[i];
    return NULL;
}

/* What an earlier life of the daemon, or of the file, left behind. */
static void connection_recall(Connection *connection, StoredConnection *stored)
{
    ScheduleEntry *entry = &connection->schedule;
    ScheduleEntry fresh = *entry;
    *entry = stored->schedule;
    entry->phase_hash = fresh.phase_hash;
    entry->frequency_s = fresh.frequency_s;
    entry->running = false;
    connection->paused_known = stored->paused_known;
    if (!stored->paused_known)
        entry->paused = fresh.paused;
    connection->last_error = take_ptr(stored->last_error);
    connection->last_outcome = static_outcome(stored->last_outcome);
    connection->last_started_ms = stored->last_started_ms;
    connection->last_rows = stored->last_rows;
}

void connection_count_at_cap(Connection *connection)
{
    connection->files_at_cap = 0;
    if (connection->config && strcmp(connection->config->source, "files") == 0)
        (void)store_files_at_cap(connection->manager->store, connection->name, connection->config->retry_cap,
                                 &connection->files_at_cap, NULL);
}

void connection_arrived(Connection *connection)
{
    if (connection->manager->stopping || connection->schedule.paused || !connection->config)
        return;
    if (connection->run) {
        connection->watch_pending = true;
        return;
    }
    int64_t now = clock_wall_ms();
    if (schedule_due(&connection->schedule, now) <= now)
        return; /* the run that is due takes them */
    run_queue(connection, "watch", SYNC_LOAD, false);
    run_pump(connection->manager);
}

static void on_arrived(void *userdata)
{
    connection_arrived(userdata);
}

static void connection_watch(Connection *connection)
{
    Manager *manager = connection->manager;
    connection->watch = watch_free(connection->watch);
    connection->watch_is_new = true;
    if (!connection->config || !connection->config->watch_dir || manager->options.once)
        return;
    _cleanup_(error_clear) Error error = {};
    if (!manager->watches && watches_new(manager->loop, &manager->watches, &error) < 0) {
        log_message(LOG_WARNING, &(LogContext){ .connection = connection->name }, "%s; files wait for the frequency",
                    error.message);
        return;
    }
    json_t *json = json_loads(connection->config->json, 0, NULL);
    const char *pattern = json_string_value(json_object_get(json_object_get(json, "source"), "file_pattern"));
    if (watch_new(manager->watches, connection->config->watch_dir, pattern ? pattern : "*", on_arrived, connection,
                  &connection->watch, &error) < 0)
        log_message(LOG_WARNING, &(LogContext){ .connection = connection->name }, "%s; files wait for the frequency",
                    error.message);
    json_decref(json);
}

static void log_problem(const Connection *connection)
{
    LogContext context = { .connection = connection->name, .message_id = MESSAGE_CONFIGURATION_BROKEN };
    if (connection->manager->options.once) {
        if (connection->manager->options.once_done) /* else nobody wants to run it */
            log_verbatim(LOG_ERR, &context, connection->problem);
        return;
    }
    for (const char *line = connection->problem; *line;) {
        size_t n = strcspn(line, "\n");
        log_text(LOG_ERR, &context, line, n);
        line += n + (line[n] == '\n');
    }
}

/* The file is good: CONFIG is what it says now. */
static void connection_configure(Connection *connection, ConnectionConfig *config)
{
    ScheduleEntry *entry = &connection->schedule;
    if (connection->config == config) {
        /* The file is as it was, but what it names may have been put right: a secret, a folder, a table. */
        if (entry->waits_for_configuration)
            schedule_reconfigured(entry, config->frequency_s, clock_wall_ms());
        return;
    }
    bool first = !connection->config && !connection->problem;
    connection_config_free(connection->config);
    connection->config = connection_config_ref(config);
    if (connection->run && !connection->run->sync) { /* it will start with what the file says now */
        admission_remove(connection->manager->admission, connection->run);
        admission_add(connection->manager->admission, connection->run, config->identity, config->local);
    }
    free(take_ptr(connection->problem));
    if (!connection->paused_known)
        entry->paused = config->paused;
    if (first)
        entry->frequency_s = config->frequency_s;
    else
        schedule_reconfigured(entry, config->frequency_s, clock_wall_ms());
}

static void connection_break(Connection *connection, const char *problem)
{
    if (connection->problem && strcmp(connection->problem, problem) == 0)
        return;
    connection->config = connection_config_free(connection->config);
    free(connection->problem);
    connection->problem = xstrdup(problem);
    connection->watch = watch_free(connection->watch);
    connection->watch_pending = false;
    log_problem(connection);
}

/* --- due times --- */

void manager_reschedule(Connection *connection)
{
    Manager *manager = connection->manager;
    int64_t due = SCHEDULE_NEVER;
    if (connection->config && !connection->run && !connection->removed && !manager->stopping && !manager->options.once)
        due = schedule_due(&connection->schedule, clock_wall_ms());
    if (due == SCHEDULE_NEVER)
        heap_remove(&manager->due, &connection->due);
    else
        heap_set(&manager->due, &connection->due, due);
}

void manager_arm(Manager *manager)
{
    const HeapNode *first = heap_first(&manager->due);
    if (manager->clock)
        wall_clock_set(manager->clock, first ? first->due_ms : INT64_MAX);
}

static void on_clock(bool jumped, void *userdata)
{
    Manager *manager = userdata;
    if (jumped) {
        log_message(LOG_NOTICE, &(LogContext){ .message_id = MESSAGE_CLOCK_JUMPED },
                    "the clock was set: due times are computed anew");
        for (size_t i = 0; i < manager->connection_count; i++)
            manager_reschedule(manager->connections[i]);
    }
    int64_t now = clock_wall_ms();
    for (HeapNode *first = heap_first(&manager->due); first && first->due_ms <= now;
         first = heap_first(&manager->due)) {
        Connection *connection = (Connection *)((char *)first - offsetof(Connection, due));
        int64_t due = schedule_due(&connection->schedule, now);
        if (due > now) {
            manager_reschedule(connection);
            continue;
        }
        bool retry = connection->schedule.retry_at_ms > 0 && connection->schedule.retry_at_ms <= now;
        run_queue(connection, retry ? "retry" : "schedule", SYNC_LOAD, false);
    }
    run_pump(manager);
    manager_arm(manager);
}

/* --- events --- */

bool manager_is_heard(const Manager *manager)
{
    return manager->subscriptions != NULL;
}

static void sweep_subscriptions(Manager *manager)
{
    for (ManagerSubscription **at = &manager->subscriptions; *at;) {
        ManagerSubscription *subscription = *at;
        if (subscription->listener) {
            at = &subscription->next;
        } else {
            *at = subscription->next;
            free(subscription);
        }
    }
}

void manager_emit(Manager *manager, ManagerEvent event, const char *connection, json_t *data)
{
    manager->emitting++;
    for (ManagerSubscription *subscription = manager->subscriptions; subscription; subscription = subscription->next)
        if (subscription->listener)
            subscription->listener(event, connection, data, subscription->userdata);
    if (--manager->emitting == 0)
        sweep_subscriptions(manager);
    json_decref(data);
}

void manager_emit_connection(Connection *connection)
{
    if (manager_is_heard(connection->manager))
        manager_emit(connection->manager, MANAGER_EVENT_CONNECTION, connection->name, connection_json(connection));
}

ManagerSubscription *manager_subscribe(Manager *manager, ManagerListener listener, void *userdata)
{
    ManagerSubscription *subscription = xcalloc(1, sizeof *subscription);
    *subscription = (ManagerSubscription){ .listener = listener, .userdata = userdata, .next = manager->subscriptions };
    manager->subscriptions = subscription;
    return subscription;
}

ManagerSubscription *manager_unsubscribe(Manager *manager, ManagerSubscription *subscription)
{
    if (subscription) {
        subscription->listener = NULL;
        if (manager->emitting == 0)
            sweep_subscriptions(manager);
    }
    return NULL;
}

void manager_status(Manager *manager)
{
    if (!manager->options.once && !manager->stopping)
        notify_status(manager->options.notify, manager->connection_count, manager->syncing);
}

/* --- reload --- */

/* A connection whose file went and came again while its run went on is the same one. */
static Connection *find_removed(Manager *manager, const char *name)
{
    for (Run *run = manager->runs; run; run = run->next)
        if (run->connection->removed && strcmp(run->connection->name, name) == 0)
            return run->connection;
    return NULL;
}

typedef struct Merge {
    Connection **connections;
    size_t count;
} Merge;

/* RECALL: look into the store for what is new (at start-up, all is read at once instead). */
static Connection *merge_one(Manager *manager, Merge *merge, const char *name, bool recall)
{
    Connection *connection = manager_find(manager, name);
    if (!connection) {
        connection = find_removed(manager, name);
        if (connection)
            connection->removed = false;
    }
    if (!connection) {
        connection = connection_new(manager, name);
        StoredConnection stored = {};
        if (recall && store_connection_get(manager->store, name, &stored, NULL) == 0) {
            connection_recall(connection, &stored);
            stored_connection_clear(&stored);
        }
    }
    connection->kept = true;
    merge->connections[merge->count++] = connection;
    return connection;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(Connection *const *)a)->name, (*(Connection *const *)b)->name);
}

/* Should its file come again, it counts as new: it is due at once. */
static void connection_remove(Connection *connection)
{
    Manager *manager = connection->manager;
    log_message(LOG_INFO, &(LogContext){ .connection = connection->name }, "removed: its file is gone");
    connection->schedule.ever_ran = false;
    connection->schedule.retry_at_ms = 0;
    (void)store_connection_put_schedule(manager->store, connection->name, &connection->schedule,
                                        connection->paused_known, false, NULL);
    connection->removed = true;
    connection->watch = watch_free(connection->watch);
    connection->watch_pending = false;
    heap_remove(&manager->due, &connection->due);
    if (connection->run && !connection->run->sync)
        run_drop(connection->run, "its file was removed");
    else if (!connection->run)
        connection_free(connection);
}

/* Makes MANAGER's connections what SET (taken over) says. Returns how many are broken. */
static size_t manager_merge(Manager *manager, ConfigSet *set, bool recall)
{
    Merge merge = { .connections = xcalloc(set->connection_count + set->problem_count + 1, sizeof *merge.connections) };
    for (size_t i = 0; i < set->connection_count; i++) {
        Connection *connection = merge_one(manager, &merge, set->connections[i]->name, recall);
        bool changed = connection->config != set->connections[i];
        connection_configure(connection, set->connections[i]);
        if (changed)
            connection_watch(connection);
    }
    for (size_t i = 0; i < set->problem_count; i++)
        if (set->problems[i].name)
            connection_break(merge_one(manager, &merge, set->problems[i].name, recall), set->problems[i].message);

    Connection **old = manager->connections;
    size_t old_count = manager->connection_count;
    qsort(merge.connections, merge.count, sizeof *merge.connections, by_name);
    manager->connections = merge.connections;
    manager->connection_count = merge.count;
    for (size_t i = 0; i < old_count; i++)
        if (!old[i]->kept)
            connection_remove(old[i]);
    free(old);
    config_set_free(manager->set);
    manager->set = set;
    for (size_t i = 0; i < merge.count; i++)
        merge.connections[i]->kept = false;
    return set->problem_count;
}

/* What follows a merge, at start and at reload. */
static void manager_settle(Manager *manager)
{
    for (size_t i = 0; i < manager->set->warning_count; i++)
        log_warning("%s", manager->set->warnings[i]);
    log_set_threshold((int)manager->set->daemon.log_level);
    admission_resize(manager->admission, manager->set->daemon.max_syncs);
    for (size_t i = 0; i < manager->connection_count; i++)
        manager_reschedule(manager->connections[i]);
    for (size_t i = 0; i < manager->connection_count; i++) {
        Connection *connection = manager->connections[i];
        if (connection->watch && connection->watch_is_new)
            connection_arrived(connection); /* what came while nobody watched */
        connection->watch_is_new = false;
    }
    manager_arm(manager);
    run_pump(manager);
    manager_status(manager);
    malloc_trim(0); /* parsing leaves much behind */
}

static int load(Manager *manager, ConfigSet **ret, Error *error)
{
    const ManagerOptions *options = &manager->options;
    if (options->once_file)
        return config_load_file(options->config_dir, options->state_dir, options->once_file, options->once_dir, ret,
                                error);
    return config_load(options->config_dir, options->state_dir, manager->set, ret, error);
}

int manager_reload(Manager *manager, size_t *ret_connections, json_t **ret_broken, Error *error)
{
    if (manager->stopping)
        return MANAGER_E_STOPPING;
    ConfigSet *set;
    notify_reloading(manager->options.notify);
    if (load(manager, &set, error) < 0) {
        notify_ready(manager->options.notify);
        return -1;
    }
    size_t broken = manager_merge(manager, set, true);
    manager_settle(manager);
    notify_ready(manager->options.notify);
    log_message(LOG_INFO, &(LogContext){ .message_id = MESSAGE_RELOADED }, "reloaded: %zu connection%s, %zu broken",
                manager->connection_count, manager->connection_count == 1 ? "" : "s", broken);
    if (ret_connections)
        *ret_connections = manager->connection_count;
    if (ret_broken) {
        *ret_broken = json_array();
        for (size_t i = 0; i < manager->connection_count; i++)
            if (manager->connections[i]->problem)
                json_array_append_new(*ret_broken, json_string(manager->connections[i]->name));
    }
    for (size_t i = 0; i < manager->connection_count && manager_is_heard(manager); i++)
        manager_emit_connection(manager->connections[i]);
    return 0;
}

/* --- life --- */

static void on_child(uv_signal_t *signal, int number)
{
    Manager *manager = signal->data;
    trees_reap(manager->trees);
}

int manager_new(uv_loop_t *loop, const ManagerOptions *options, Manager **ret, Error *error)
{
    Manager *manager = xcalloc(1, sizeof *manager);
    manager->loop = loop;
    manager->options = *options;
    manager->once_runs = json_array();
    uv_signal_init(loop, &manager->child_signal);
    uv_timer_init(loop, &manager->stop_timer);
    manager->child_signal.data = manager->stop_timer.data = manager;
    uv_unref((uv_handle_t *)&manager->child_signal);
    uv_unref((uv_handle_t *)&manager->stop_timer);

    int r = store_open(options->state_dir, &manager->store, error);
    if (r == 0)
        r = trees_new(&manager->trees, error);
    if (r == 0 && !options->once)
        r = wall_clock_new(loop, on_clock, manager, &manager->clock, error);
    if (r != 0) {
        manager_free(manager);
        return r;
    }
    if (store_warning(manager->store))
        log_warning("%s", store_warning(manager->store));
    uv_signal_start(&manager->child_signal, on_child, SIGCHLD);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    manager->admission = admission_new(1, cores > 0 ? (uint32_t)cores : 1);
    *ret = manager;
    return 0;
}

static int recall_each(StoredConnection *stored, void *userdata)
{
    Connection *connection = manager_find(userdata, stored->name);
    if (connection)
        connection_recall(connection, stored);
    return 0;
}

#define ABANDONED "wherryd ended while this sync ran"

static int abandoned_each(const char *name, const char *trigger, void *userdata)
{
    Manager *manager = userdata;
    Connection *connection = manager_find(manager, name);
    if (!connection || !connection->config)
        return 0;
    bool manual = strcmp(trigger, "schedule") != 0 && strcmp(trigger, "retry") != 0 && strcmp(trigger, "watch") != 0;
    uint64_t random = 0;
    (void)!getrandom(&random, sizeof random, 0);
    schedule_finished(&connection->schedule, clock_wall_ms(), SCHEDULE_FAILED, manual, random);
    connection->last_outcome = "failed";
    free(connection->last_error);
    connection->last_error = xstrdup(ABANDONED);
    int64_t reclaimed; /* nobody processes these any more */
    if (store_files_reclaim(manager->store, name, &reclaimed, NULL) < 0)
        return -1;
    return store_connection_put_schedule(manager->store, name, &connection->schedule, connection->paused_known, false,
                                         NULL);
}

/* History before plans: what died with the last daemon counts as failed, and then each connection knows where it stood.
 */
static int manager_recall(Manager *manager, Error *error)
{
    if (store_connection_each(manager->store, recall_each, manager, error) < 0 ||
        store_begin(manager->store, error) < 0)
        return -1;
    if (store_runs_abandoned(manager->store, ABANDONED, abandoned_each, manager, error) < 0) {
        store_rollback(manager->store);
        return -1;
    }
    if (store_commit(manager->store, error) < 0)
        return -1;
    for (size_t i = 0; i < manager->connection_count; i++)
        connection_count_at_cap(manager->connections[i]);
    return 0;
}

static int once_start(Manager *manager, Error *error)
{
    const char *const *names = manager->options.once_names;
    for (size_t i = 0; names && names[i]; i++)
        if (!manager_find(manager, names[i])) {
            const char *suggestion = manager_suggest(manager, names[i]);
            return error_set(error, ERROR_CONFIGURATION, "there is no connection \"%s\"%s%s%s", names[i],
                             suggestion ? "; did you mean \"" : "", suggestion ? suggestion : "",
                             suggestion ? "\"?" : "");
        }
    for (size_t i = 0; i < manager->connection_count; i++) {
        Connection *connection = manager->connections[i];
        bool named = !names || !names[0];
        for (size_t k = 0; !named && names[k]; k++)
            named = strcmp(names[k], connection->name) == 0;
        if (!named || connection->run)
            continue;
        if (!connection->config)
            manager->once_status = 2;
        else if (names && names[0] ? true : !connection->schedule.paused || manager->options.once_file)
            run_queue(connection, "once", SYNC_LOAD, false);
    }
    run_pump(manager);
    if (!manager->runs)
        manager->options.once_done(manager->options.userdata);
    return 0;
}

int manager_start(Manager *manager, Error *error)
{
    ConfigSet *set;
    if (load(manager, &set, error) < 0)
        return -1;
    size_t broken = manager_merge(manager, set, false);
    if (manager_recall(manager, error) < 0)
        return -1;
    if (manager->options.once) {
        log_set_threshold((int)set->daemon.log_level);
        admission_resize(manager->admission, set->daemon.max_syncs);
        if (!manager->options.once_done)
            return 0;
        for (size_t i = 0; i < set->warning_count; i++)
            log_warning("%s", set->warnings[i]);
        return once_start(manager, error);
    }
    log_message(LOG_INFO, &(LogContext){ .message_id = MESSAGE_DAEMON_STARTED },
                "started: %zu connection%s, %zu broken; syncs are held together by %s", manager->connection_count,
                manager->connection_count == 1 ? "" : "s", broken, trees_describe(manager->trees));
    manager_deploys_begin(manager);
    manager_settle(manager);
    return 0;
}

static void when_stopped(Manager *manager)
{
    uv_timer_stop(&manager->stop_timer);
    void (*stopped)(void *) = manager->stopped;
    manager->stopped = NULL;
    if (stopped)
        stopped(manager->stopped_userdata);
}

static void on_stop_bound(uv_timer_t *timer)
{
    Manager *manager = timer->data;
    log_error("some processes of syncs cannot be ended; leaving them to the kernel");
    when_stopped(manager);
}

void manager_run_gone(Manager *manager)
{
    if (manager->runs)
        return;
    if (manager->stopping)
        when_stopped(manager);
    else if (manager->options.once && manager->options.once_done)
        manager->options.once_done(manager->options.userdata);
}

void manager_stop(Manager *manager, void (*stopped)(void *userdata), void *userdata)
{
    if (manager->stopping)
        return;
    manager->stopping = true;
    manager->stopped = stopped;
    manager->stopped_userdata = userdata;
    if (!manager->options.once) {
        notify_stopping(manager->options.notify);
        log_message(LOG_INFO, &(LogContext){ .message_id = MESSAGE_DAEMON_STOPPING }, "stopping: %zu syncs to end",
                    manager->syncing);
    }
    uv_timer_start(&manager->stop_timer, on_stop_bound, STOP_BOUND_MS, 0);
    heap_clear(&manager->due);
    manager_arm(manager);
    for (Run *run = manager->runs, *next; run; run = next) {
        next = run->next;
        run->interrupted = true;
        if (run->sync)
            sync_cancel(run->sync, manager->options.once ? "interrupted" : "wherryd was stopped");
        else
            run_drop(run, manager->options.once ? "interrupted" : "wherryd was stopped");
    }
    if (!manager->runs)
        when_stopped(manager);
}

void manager_stop_at_once(Manager *manager)
{
    for (Run *run = manager->runs, *next; run; run = next) {
        next = run->next;
        if (run->sync)
            sync_kill(run->sync);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    Manager *manager = handle->data;
    if (--manager->handles == 0)
        free(manager);
}

Manager *manager_free(Manager *manager)
{
    if (!manager)
        return NULL;
    for (Run *run = manager->runs; run; run = run->next)
        if (run->sync)
            sync_abandon(run->sync);
    manager_deploys_end(manager);
    for (size_t i = 0; i < manager->connection_count; i++)
        connection_free(manager->connections[i]);
    free(manager->connections);
    manager->connections = NULL;
    heap_clear(&manager->due);
    wall_clock_free(manager->clock);
    watches_free(manager->watches);
    admission_free(manager->admission);
    config_set_free(manager->set);
    trees_free(manager->trees);
    store_close(manager->store);
    json_decref(manager->once_runs);
    manager->handles = 2;
    uv_close((uv_handle_t *)&manager->child_signal, on_handle_closed);
    uv_close((uv_handle_t *)&manager->stop_timer, on_handle_closed);
    return NULL;
}

int manager_once_exit_status(const Manager *manager)
{
    return manager->once_status;
}

json_t *manager_once_runs(const Manager *manager)
{
    return manager->once_runs;
}
