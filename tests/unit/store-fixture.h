#pragma once
/* A state database in a folder of its own, for each test of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/wherryd/store.h"
#include "lib/basics/buffer.h"

#define store_test(function) cmocka_unit_test_setup_teardown(function, store_set_up, store_tear_down)

/* The schedule of a connection that has run. */
extern const ScheduleEntry ran;

/* What a callback was shown, as text. */
typedef struct Seen {
    char text[4096];
    size_t count;
} Seen;

int store_set_up(void **state);
int store_tear_down(void **state);

/* The path of NAME in the test's folder; valid until the fourth call after it. */
const char *in_folder(const char *name);

Store *open_store(void);

void put_schedule(Store *store, const char *name, ScheduleEntry entry);

/* How many connections STORE knows; count_connection() counts them one by one, USERDATA being a size_t. */
size_t connections_in(Store *store);
int count_connection(StoredConnection *connection, void *userdata);

void assert_contains(const char *text, const char *part);

/* RESULT is that of a failure of KIND, whose message contains PART and names the database. */
void assert_failed(int result, const Error *error, ErrorKind kind, const char *part);
