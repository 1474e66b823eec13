#pragma once
/* The control socket with a manager that does what the test says, a clock that the test turns, and clients on the
 * test's own thread: the loop turns while they wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/wherryd/control.h"
#include "lib/basics/buffer.h"

#define control_test(name) cmocka_unit_test_setup_teardown(name, control_set_up, control_tear_down)

/* --- the manager --- */

struct Manager {
    int result;   /* of the next call */
    json_t *list; /* what manager_list() and manager_files() give; owned */
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

extern struct Manager manager;
extern char last_log[1024];
extern unsigned log_lines;

#define RUN_ID "01900000-0000-7000-8000-000000000001" /* that of every sync */
#define WHERRY_GID 54321                              /* that of the group, which this machine need not have */

void event(ManagerEvent kind, json_t *data); /* takes over DATA */
json_t *finished_run(const char *run_id);

/* --- clock and socket --- */

extern int64_t now_ms; /* stands still, except in turn(): a slow machine changes nothing */

typedef struct Fixture {
    uv_loop_t loop;
    Control *control;
    char dir[64];
    char path[128];
} Fixture;

int control_set_up(void **state);
int control_tear_down(void **state);
void turn(Fixture *f);

/* --- clients --- */

typedef struct Client {
    int fd;
    Buffer input;
} Client;

int connect_to(const char *path);
Client client_new(Fixture *f);
/* Connects as another user; only root can. */
Client client_of(Fixture *f, uid_t uid, gid_t gid, gid_t supplementary);
void client_close(Fixture *f, Client *client);
void send_bytes(Fixture *f, Client *client, const void *data, size_t n);
void send_text(Fixture *f, Client *client, const char *text);
/* The next reply; NULL when the server has closed; fails after a minute. */
json_t *receive(Fixture *f, Client *client);
json_t *big_string(void); /* 1 MiB of text */
void assert_nothing(Fixture *f, Client *client);
void expect(Fixture *f, Client *client, const char *expected);
void expect_closed(Fixture *f, Client *client);

#define call(f, client, request, expected) \
    do {                                   \
        send_text(f, client, request);     \
        expect(f, client, expected);       \
    } while (0)

#define M "\"method\":\"org.wherry.Manager."
#define ORDERS "\"parameters\":{\"connection\":\"orders\"}"
