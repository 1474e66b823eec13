#pragma once
/*
 * What the parts of the manager share: manager.c (life and reload), manager-run.c (a run from queue to record),
 * manager-control.c (what the control interface asks for), manager-deploy.c (connectors that are deployed; where they
 * lie and how they go is deployed.c's).
 */
#include "daemon/wherryd/admission.h"
#include "daemon/wherryd/config.h"
#include "daemon/wherryd/heap.h"
#include "daemon/wherryd/manager.h"
#include "daemon/wherryd/notify.h"
#include "daemon/wherryd/schedule.h"
#include "daemon/wherryd/store.h"
#include "daemon/wherryd/sync.h"
#include "daemon/wherryd/tree.h"
#include "daemon/wherryd/wallclock.h"
#include "daemon/wherryd/watch.h"

typedef struct Run Run;

/* One pipeline file, good or broken. Ten thousand of them are idle most of the time: what only a sync needs is read
 * when it starts. */
typedef struct Connection {
    Manager *manager;
    char *name;
    ConnectionConfig *config; /* a reference; NULL: broken, and: */
    char *problem;
    ScheduleEntry schedule;
    HeapNode due;
    Run *run; /* queued or running */
    Watch *watch;
    char *last_error;
    const char *last_outcome; /* static; NULL: none */
    int64_t last_started_ms;
    int64_t last_rows;    /* -1: unknown */
    int64_t files_at_cap; /* given up on until requeued */
    bool paused_known;    /* ordered by a person, whatever the file says */
    bool removed;         /* its file is gone; freed with its run */
    bool watch_pending;   /* files came while it ran */
    bool watch_is_new;    /* until the first look at what is there already */
    bool kept;            /* during a reload: its file is still there */
} Connection;

struct Run {
    Manager *manager;
    Connection *connection;
    RunRecord record;
    SyncTask task;
    bool full;
    bool manual;      /* not by the schedule: leaves its slots alone */
    bool interrupted; /* by the end of the daemon */
    bool unstarted;   /* dropped from the queue */
    Sync *sync;       /* NULL: queued */
    json_t *tables;   /* of a full sync: only these; NULL: all */
    json_t *state;    /* SYNC_SET_STATE; NULL: back to {} */
    ManagerStateCallback callback;
    void *userdata;
    Run *previous, *next; /* of all that are queued or running */
};

struct ManagerSubscription {
    ManagerListener listener; /* NULL: unsubscribed while events go out */
    void *userdata;
    ManagerSubscription *next;
};

struct Manager {
    uv_loop_t *loop;
    ManagerOptions options;
    Store *store;
    Trees *trees;
    Admission *admission;
    WallClock *clock;
    Watches *watches;
    uv_signal_t child_signal;
    ConfigSet *set;
    Connection **connections; /* sorted by name */
    size_t connection_count;
    Heap due;
    Run *runs;
    struct Deploy *deploys; /* uploads, and what is being built */
    ManagerSubscription *subscriptions;
    unsigned emitting;
    size_t syncing;
    size_t ended_since_trim; /* runs */
    bool pumping;

    bool stopping;
    unsigned handles; /* still closing, in manager_free() */
    uv_timer_t stop_timer;
    void (*stopped)(void *userdata);
    void *stopped_userdata;

    int once_status;
    json_t *once_runs;
};

/* manager.c */
Connection *manager_find(const Manager *manager, const char *name);
void manager_emit(Manager *manager, ManagerEvent event, const char *connection, json_t *data /* stolen */);
void manager_emit_connection(Connection *connection);
bool manager_is_heard(const Manager *manager);   /* anyone subscribed */
void manager_status(Manager *manager);           /* tells systemd */
void manager_reschedule(Connection *connection); /* its due time may have changed */
void manager_arm(Manager *manager);              /* after one or several of them */
Connection *connection_free(Connection *connection);
void connection_count_at_cap(Connection *connection);
void connection_arrived(Connection *connection); /* files came: run, now or after the run that is */
void manager_run_gone(Manager *manager);         /* a run has left the list */

/* manager-run.c */
/* Queues a run of CONNECTION (which has none), starting it at once where there is a place. NULL run_id: a fresh one. */
Run *run_queue(Connection *connection, const char *trigger, SyncTask task, bool full);
void run_pump(Manager *manager);
void run_drop(Run *run, const char *reason); /* queued only: ends it as cancelled */
bool run_is_scheduled(const Run *run);       /* by schedule, retry or watch: not by a person */

/* manager-deploy.c */
void manager_deploys_begin(Manager *manager);                         /* clears away what another life left half done */
void manager_deploys_end(Manager *manager);                           /* ends what is being built, without a word */
bool manager_deploys_build(const Manager *manager, const char *name); /* right now */

/* manager-control.c */
const char *connection_asked_as(const Connection *connection); /* what a person tells wherryctl to mean it */
json_t *connection_json(Connection *connection);
