/*
 * What people ask of the manager, through the control socket. Each function checks first and then acts; what it returns
 * is in the interface's JSON types already. Nothing waits: a sync's end comes as an event, a state through a callback.
 */
#include <assert.h>
#include <string.h>

#include "daemon/wherryd/log.h"
#include "daemon/wherryd/manager-internal.h"
#include "daemon/wherryd/record.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

static const char *connection_state(const Connection *connection)
{
    const ScheduleEntry *entry = &connection->schedule;
    if (connection->run && connection->run->task == SYNC_LOAD)
        return connection->run->sync ? "syncing" : "queued";
    if (!connection->config)
        return "broken";
    if (entry->paused)
        return "paused";
    if (entry->waits_for_configuration)
        return "broken";
    return entry->retry_at_ms > 0 && entry->retry_at_ms != SCHEDULE_NEVER ? "backoff" : "idle";
}

const char *connection_asked_as(const Connection *connection)
{
    const char *once = connection->manager->options.once_asked_as;
    return once ? once : connection->name;
}

static json_t *connection_error(const Connection *connection)
{
    if (connection->problem)
        return json_text(connection->problem);
    if (connection->last_error && connection->schedule.waits_for_configuration && connection->config) {
        _cleanup_(freep) char *text =
            xasprintf("%s; correct it, then \"wherryctl reload\", or \"wherryctl sync %s\" to try again",
                      connection->last_error, connection_asked_as(connection));
        return json_text(text);
    }
    if (connection->last_error)
        return json_text(connection->last_error);
    if (connection->files_at_cap == 0)
        return json_null();
    assert(connection->config); /* else there is a problem */
    _cleanup_(freep) char *text =
        xasprintf("%lld file%s given up on after %u attempts; see them with \"wherryctl files %s --failed\"",
                  (long long)connection->files_at_cap, connection->files_at_cap == 1 ? " was" : "s were",
                  connection->config->retry_cap, connection_asked_as(connection));
    return json_string(text);
}

static json_t *connection_next_run(Connection *connection)
{
    int64_t now = clock_wall_ms(), next;
    if (!connection->config || connection->removed)
        return json_null();
    if (connection->run && connection->run->task == SYNC_LOAD)
        next = connection->schedule.paused ? SCHEDULE_NEVER : schedule_next_slot(&connection->schedule, now);
    else
        next = schedule_due(&connection->schedule, now);
    return next == SCHEDULE_NEVER ? json_null() : json_time(next);
}

static json_t *connection_frequency(const Connection *connection)
{
    char text[DURATION_TEXT_SIZE];
    if (!connection->config)
        return json_null();
    if (connection->config->frequency_s == 0)
        return json_string("manual");
    duration_format(connection->config->frequency_s, text);
    return json_string(text);
}

json_t *connection_json(Connection *connection)
{
    json_t *object = json_object();
    json_object_set_new(object, "name", json_text(connection->name));
    json_object_set_new(object, "source", json_string(connection->config ? connection->config->source : ""));
    json_object_set_new(object, "destination", json_string(connection->config ? connection->config->destination : ""));
    json_object_set_new(object, "frequency", connection_frequency(connection));
    json_object_set_new(object, "state", json_string(connection_state(connection)));
    json_object_set_new(object, "outcome", json_text(connection->last_outcome));
    json_object_set_new(object, "rows", connection->last_rows < 0 ? json_null() : json_integer(connection->last_rows));
    json_object_set_new(object, "last_started_at", json_time(connection->last_started_ms));
    json_object_set_new(object, "next_run_at", connection_next_run(connection));
    json_object_set_new(object, "error", connection_error(connection));
    return object;
}

json_t *manager_list(Manager *manager, json_t *names, const char **ret_unknown)
{
    json_t *list = json_array();
    for (size_t i = 0; !names && i < manager->connection_count; i++)
        json_array_append_new(list, connection_json(manager->connections[i]));
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        Connection *connection = name ? manager_find(manager, name) : NULL;
        if (!connection) {
            *ret_unknown = name ? name : "";
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, connection_json(connection));
    }
    return list;
}

const char *manager_suggest(Manager *manager, const char *name)
{
    _cleanup_(freep) const char **names = xcalloc(manager->connection_count + 1, sizeof *names);
    for (size_t i = 0; i < manager->connection_count; i++)
        names[i] = manager->connections[i]->name;
    return text_suggest(name, names);
}

/* CONNECTION by name, for what cannot be done while the daemon stops. */
static int find(Manager *manager, const char *name, Connection **ret)
{
    *ret = manager_find(manager, name);
    if (!*ret)
        return MANAGER_E_NO_SUCH_CONNECTION;
    return manager->stopping ? MANAGER_E_STOPPING : 0;
}

static int broken(const Connection *connection, Error *error)
{
    error_set(error, ERROR_CONFIGURATION, "%s", connection->problem);
    return MANAGER_E_BROKEN;
}

int manager_sync(Manager *manager, const char *name, bool full, json_t *tables, char ret_run_id[static 37],
                 Error *error)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    Run *run = connection->run;
    if (run) {
        memcpy(ret_run_id, run->record.run_id, sizeof run->record.run_id);
        /* A full sync of all tables does nothing that one of some would not; the other way round it is another one. */
        if (run->task != SYNC_LOAD || (full && !run->full && run->sync) || (full && (run->tables || tables)))
            return MANAGER_E_BUSY;
        run->full |= full;
        return 0;
    }
    if (!connection->config)
        return broken(connection, error);
    if (tables && strcmp(connection->config->source, "files") == 0) {
        error_set(error, ERROR_CONFIGURATION, "the files of \"%s\" go to one table: leave out the tables", name);
        return MANAGER_E_BROKEN;
    }
    run = run_queue(connection, "manual", SYNC_LOAD, full);
    run->tables = json_incref(tables);
    memcpy(ret_run_id, run->record.run_id, sizeof run->record.run_id);
    run_pump(manager); /* RUN may be gone after this */
    manager_arm(manager);
    return 0;
}

int manager_cancel(Manager *manager, const char *name)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    Run *run = connection->run;
    if (!run || (run->task != SYNC_LOAD && run->task != SYNC_PLAN))
        return MANAGER_E_NOT_SYNCING;
    if (run->sync)
        sync_cancel(run->sync, NULL);
    else
        run_drop(run, "cancelled");
    return 0;
}

/* What a person orders holds over restarts, whatever the file says. */
static int put_paused(Connection *connection, const ScheduleEntry *before, Error *error)
{
    if (store_connection_put_schedule(connection->manager->store, connection->name, &connection->schedule, true, true,
                                      error) < 0) {
        bool running = connection->schedule.running;
        connection->schedule = *before;
        connection->schedule.running = running;
        return -1;
    }
    connection->paused_known = true;
    manager_reschedule(connection);
    manager_arm(connection->manager);
    manager_emit_connection(connection);
    return 0;
}

int manager_pause(Manager *manager, const char *name, Error *error)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    ScheduleEntry before = connection->schedule;
    schedule_paused(&connection->schedule);
    if (put_paused(connection, &before, error) < 0)
        return -1;
    connection->watch_pending = false;
    if (connection->run && connection->run->task == SYNC_LOAD && !connection->run->sync &&
        run_is_scheduled(connection->run))
        run_drop(connection->run, "the connection was paused");
    return 0;
}

int manager_resume(Manager *manager, const char *name, Error *error)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    ScheduleEntry before = connection->schedule;
    schedule_resumed(&connection->schedule, clock_wall_ms());
    if (put_paused(connection, &before, error) < 0)
        return -1;
    if (connection->watch)
        connection_arrived(connection); /* what came while it was paused */
    return 0;
}

static int append_run(const RunRecord *run, void *userdata)
{
    json_array_append_new(userdata, record_run(run));
    return 0;
}

int manager_runs(Manager *manager, const char *name, int64_t limit, json_t **ret, Error *error)
{
    if (name && !manager_find(manager, name))
        return MANAGER_E_NO_SUCH_CONNECTION;
    json_t *runs = json_array();
    if (store_runs(manager->store, name, limit, append_run, runs, error) < 0) {
        json_decref(runs);
        return -1;
    }
    *ret = runs;
    return 0;
}

static int append_file(const FileRecord *file, void *userdata)
{
    json_array_append_new(userdata, record_file(file));
    return 0;
}

int manager_files(Manager *manager, const char *name, bool failed, json_t **ret, Error *error)
{
    if (!manager_find(manager, name))
        return MANAGER_E_NO_SUCH_CONNECTION;
    json_t *files = json_array();
    if (store_files(manager->store, name, failed, append_file, files, error) < 0) {
        json_decref(files);
        return -1;
    }
    *ret = files;
    return 0;
}

int manager_requeue(Manager *manager, const char *name, const char *file, bool all_failed, int64_t *ret, Error *error)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    r = store_files_requeue(manager->store, name, all_failed ? NULL : file, ret, error);
    if (r == STORE_E_NOT_FOUND)
        return MANAGER_E_NO_SUCH_FILE;
    if (r < 0)
        return r;
    connection_count_at_cap(connection);
    manager_emit_connection(connection);
    return 0;
}

int manager_requeue_quarantined(Manager *manager, const char *name, int64_t *ret, Error *error)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    if (!connection->config)
        return broken(connection, error);
    if (!connection->config->quarantine_dir)
        return error_set(error, ERROR_CONFIGURATION, "connection \"%s\" sets no rows aside: it has no \"quarantine\"",
                         name);
    if (!connection->config->append)
        return error_set(error, ERROR_CONFIGURATION,
                         "connection \"%s\" has not \"write_mode: append\": its corrected rows would take the place of "
                         "all others; correct the file itself and drop it again",
                         name);
    return store_sidecars_requeue(manager->store, name, ret, error);
}

static int queue_state(Manager *manager, const char *name, SyncTask task, ManagerStateCallback callback, void *userdata,
                       char ret_run_id[static 37], Run **ret, Error *error)
{
    Connection *connection;
    int r = find(manager, name, &connection);
    if (r != 0)
        return r;
    if (connection->run) {
        memcpy(ret_run_id, connection->run->record.run_id, sizeof connection->run->record.run_id);
        return MANAGER_E_BUSY;
    }
    if (!connection->config)
        return broken(connection, error);
    *ret = run_queue(connection, "manual", task, false);
    (*ret)->callback = callback;
    (*ret)->userdata = userdata;
    memcpy(ret_run_id, (*ret)->record.run_id, sizeof(*ret)->record.run_id);
    return 0;
}

int manager_get_state(Manager *manager, const char *name, ManagerStateCallback callback, void *userdata,
                      char ret_run_id[static 37], Error *error)
{
    Run *run;
    int r = queue_state(manager, name, SYNC_GET_STATE, callback, userdata, ret_run_id, &run, error);
    if (r == 0)
        run_pump(manager);
    return r;
}

int manager_set_state(Manager *manager, const char *name, json_t *state, ManagerStateCallback callback, void *userdata,
                      char ret_run_id[static 37], Error *error)
{
    Run *run;
    int r = queue_state(manager, name, SYNC_SET_STATE, callback, userdata, ret_run_id, &run, error);
    if (r != 0)
        return r;
    run->state = state ? json_deep_copy(state) : NULL;
    run_pump(manager);
    return 0;
}

int manager_plan(Manager *manager, const char *name, ManagerStateCallback callback, void *userdata,
                 char ret_run_id[static 37], Error *error)
{
    Run *run;
    int r = queue_state(manager, name, SYNC_PLAN, callback, userdata, ret_run_id, &run, error);
    if (r == 0)
        run_pump(manager);
    return r;
}

bool manager_is_descendant(Manager *manager, pid_t pid)
{
    return trees_contain(manager->trees, pid);
}
