#pragma once
/*
 * What the calls on the control socket do. One table names every method, its parameters and its handler; a call is
 * checked against it before the handler sees it. Sockets, rights and bounds are control.c's.
 *
 * A call is answered once, or, where the caller said `more`, several times with the last one final. A handler that
 * cannot answer at once leaves `waits` set and is continued by events of the manager, by the manager's callback or
 * by the output having drained.
 */
#include <jansson.h>
#include <stdbool.h>

#include "daemon/wherryd/manager.h"
#include "lib/basics/clock.h"

typedef enum CallWaits {
    CALL_WAITS_NOT,
    CALL_WAITS_RUN,     /* Sync: for the end of run_id */
    CALL_WAITS_STATE,   /* GetState, SetState, Plan: the manager holds the call until it calls back */
    CALL_WAITS_DRAINED, /* the rest of a list, in pieces */
    CALL_WAITS_FOREVER, /* Monitor */
} CallWaits;

typedef struct Call {
    Manager *manager;
    void *peer; /* whose call it is; NULL once it has gone */
    bool more;
    bool oneway;
    bool malformed;   /* was no Varlink call at all: its connection is closed after the answer */
    bool done;        /* the final answer is out (or, for oneway, would be) */
    bool dispatching; /* inside methods_dispatch() */
    CallWaits waits;
    char *connection;
    char run_id[UUID_TEXT_SIZE];
    json_t *early_run;    /* a run that ended before manager_sync() returned its id */
    const char *list_key; /* "files" */
    json_t *list;
    size_t list_next;
} Call;

Call *call_free(Call *call);

/* Acts on MESSAGE. Afterwards the call is `done` or waits. */
void methods_dispatch(Call *call, json_t *message);
/* Something happened while CALL waits. */
void methods_event(Call *call, ManagerEvent event, const char *connection, json_t *data);
/* The peer has read what was queued for it (CALL_WAITS_DRAINED). */
void methods_drained(Call *call);

/* The answers; PARAMETERS are stolen. */
void call_reply(Call *call, json_t *parameters);
void call_reply_continues(Call *call, json_t *parameters);
void call_error(Call *call, const char *error, json_t *parameters);

/* --- what control.c provides --- */
void control_call_put(Call *call, json_t *message /* stolen */);
bool control_call_congested(const Call *call); /* much is queued already: progress may be left out */
void control_call_completed(Call *call);       /* `done` was set outside of methods_dispatch(); frees CALL */
