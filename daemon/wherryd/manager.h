#pragma once
/*
 * The heart of wherryd: which connections there are, when they run, what runs now. Everything the control interface
 * offers is a function here; what it returns is already in the interface's JSON types (org.wherry.Manager.varlink).
 *
 * All functions run on the loop's thread and never block on a sync.
 */
#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "lib/basics/error.h"

typedef struct Manager Manager;

enum {
    MANAGER_E_NO_SUCH_CONNECTION = 1, /* manager_suggest() for the nearest name */
    MANAGER_E_BUSY,                   /* *ret_run_id names the run */
    MANAGER_E_BROKEN,                 /* the configuration is bad: ERROR has the message */
    MANAGER_E_NO_SUCH_FILE,
    MANAGER_E_NOT_SYNCING,
    MANAGER_E_STOPPING,
    MANAGER_E_EXISTS, /* manager_deploy(): there is one already, and `overwrite` was not said */
};

typedef struct ManagerOptions {
    const char *config_dir, *state_dir, *runtime_dir, *libexec_dir;
    bool once; /* --once: run ONCE_NAMES (none: all) and stop; without once_done, run nothing and only answer */
    const char *const *once_names;
    const char *once_file;        /* --once --file */
    const char *once_dir;         /* --dir */
    const char *once_debug_state; /* with once_file: `wherryctl debug`; see SyncOptions */
    const char *once_asked_as;    /* with once_file: what to tell wherryctl in place of a connection */
    void (*once_run)(const char *connection, const char *summary,
                     void *userdata);  /* one of them has run; may be NULL */
    void (*once_done)(void *userdata); /* all have */
    void *userdata;
    struct Notify *notify; /* who is told (daemon/wherryd/notify.h); NULL: nobody */
} ManagerOptions;

int manager_new(uv_loop_t *loop, const ManagerOptions *options, Manager **ret, Error *error);
Manager *manager_free(Manager *manager);
int manager_start(Manager *manager, Error *error); /* loads the configuration, arms the schedule */
/* Ends running syncs (CANCEL, then after a bound SIGKILL), then calls back. Idempotent. */
void manager_stop(Manager *manager, void (*stopped)(void *userdata), void *userdata);

/* After manager_stop(), for who will not wait for its bound: SIGKILL to what still runs. What was not committed is
 * rolled back, as by any other sudden end. */
void manager_stop_at_once(Manager *manager);

/* --- what the control interface does; json results are new references --- */
json_t *manager_list(Manager *manager, json_t *names /* borrowed array of strings, or NULL: all */,
                     const char **ret_unknown);
const char *manager_suggest(Manager *manager, const char *name);
/* Queues a run, or joins the one that is queued or running. TABLES (borrowed array of strings, or NULL; only with
 * FULL): drop and make anew just these. */
int manager_sync(Manager *manager, const char *connection, bool full, json_t *tables, char ret_run_id[static 37],
                 Error *error);
int manager_cancel(Manager *manager, const char *connection);
int manager_pause(Manager *manager, const char *connection, Error *error);
int manager_resume(Manager *manager, const char *connection, Error *error);
int manager_reload(Manager *manager, size_t *ret_connections, json_t **ret_broken, Error *error);
int manager_runs(Manager *manager, const char *connection /* NULL: all */, int64_t limit, json_t **ret, Error *error);
int manager_files(Manager *manager, const char *connection, bool failed, json_t **ret, Error *error);
int manager_requeue_quarantined(Manager *manager, const char *connection, int64_t *ret, Error *error);
int manager_requeue(Manager *manager, const char *connection, const char *file, bool all_failed, int64_t *ret,
                    Error *error);
/* Asynchronous: a writer is asked. CALLBACK gets the state (borrowed; NULL for set) or an error. MANAGER_E_BUSY while
 * syncing. */
typedef void (*ManagerStateCallback)(json_t *state, const Error *error, void *userdata);
int manager_get_state(Manager *manager, const char *connection, ManagerStateCallback callback, void *userdata,
                      char ret_run_id[static 37], Error *error);
int manager_set_state(Manager *manager, const char *connection, json_t *state /* borrowed; NULL: reset to {} */,
                      ManagerStateCallback callback, void *userdata, char ret_run_id[static 37], Error *error);
/* What the next sync would do, as the interface's Plan: CALLBACK gets it, or an error where it could not even begin.
 * What the sync would fail with stands in it. MANAGER_E_BUSY while syncing: what is left to do is not known before. */
int manager_plan(Manager *manager, const char *connection, ManagerStateCallback callback, void *userdata,
                 char ret_run_id[static 37], Error *error);

/* Puts a connector's project in place, version by version (manager-deploy.c). The first call begins an upload, further
 * ones name it and bring files; the one with `commit` builds the environment and puts the version in place. */
typedef struct ManagerDeployRequest {
    const char *connection;
    const char *upload;                      /* NULL: begins one */
    json_t *files;                           /* borrowed; array of DeployFile; NULL: none */
    json_t *configuration;                   /* borrowed; NULL: what was deployed before is kept */
    const char *destination;                 /* a name of wherry.yaml's; NULL: as before, or the only one there is */
    const char *python, *naming, *frequency; /* NULL: as before, or the default */
    bool commit, overwrite;
} ManagerDeployRequest;
typedef struct ManagerDeployEvents {
    void (*line)(const char *text, size_t n, void *userdata);
    void (*done)(json_t *deployed /* borrowed; NULL: ERROR */, const Error *error, void *userdata);
    bool (*wanted)(void *userdata); /* false: whoever asked has gone, and nothing is put in place */
    void *userdata;
} ManagerDeployEvents;
/* 0: taken; *ret_upload names the upload. With `commit`, EVENTS follow, never from within. MANAGER_E_EXISTS,
 * MANAGER_E_STOPPING. */
int manager_deploy(Manager *manager, const ManagerDeployRequest *request, const ManagerDeployEvents *events,
                   char ret_upload[static 37], Error *error);
/* Takes a deployed connection away, with its code, environment and configuration; without COMMIT only looks. What is
 * removed is described in *ret: {"destination": ?string, "syncing": bool}. */
int manager_undeploy(Manager *manager, const char *connection, bool commit, json_t **ret, Error *error);
/* Changes values of a deployed connection's configuration; returns the names of all there are. */
int manager_configure(Manager *manager, const char *connection, json_t *set /* object of texts, or NULL */,
                      json_t *unset /* array of texts, or NULL */, json_t **ret_names, Error *error);

/* --- what happens --- */
typedef enum ManagerEvent {
    MANAGER_EVENT_CONNECTION, /* data: a Connection */
    MANAGER_EVENT_PROGRESS,   /* data: a Progress (run_id inside) */
    MANAGER_EVENT_RUN,        /* data: a finished Run */
} ManagerEvent;
typedef void (*ManagerListener)(ManagerEvent event, const char *connection, json_t *data /* borrowed */,
                                void *userdata);
typedef struct ManagerSubscription ManagerSubscription;
ManagerSubscription *manager_subscribe(Manager *manager, ManagerListener listener, void *userdata);
ManagerSubscription *manager_unsubscribe(Manager *manager, ManagerSubscription *subscription);

/* Is PID one of our syncs' processes or a descendant of ours? Such are never obeyed. */
bool manager_is_descendant(Manager *manager, pid_t pid);
int manager_once_exit_status(const Manager *manager); /* 0, 1 or 2, as the exit statuses of wherryd --once */
json_t *manager_once_runs(const Manager *manager);    /* array of Run, for --json */
