/* The folder is made anew for each test and goes with it; only what a test opens itself it must close itself. */
#include "tests/unit/store-fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/basics/path.h"

const ScheduleEntry ran = {
    .ever_ran = true, .last_slot_ms = 123456789012, .retry_at_ms = SCHEDULE_NEVER, .failures = UINT32_MAX
};

static char folder[64];

int store_set_up(void **state)
{
    (void)snprintf(folder, sizeof folder, "/tmp/wherry-store-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int store_tear_down(void **state)
{
    path_remove_tree(AT_FDCWD, folder);
    return access(folder, F_OK) == 0 ? -1 : 0;
}

const char *in_folder(const char *name)
{
    static char paths[4][512];
    static size_t turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

Store *open_store(void)
{
    Store *store = NULL;
    Error error = { 0 };
    int r = store_open(in_folder("state"), &store, &error);
    if (r != 0)
        fail_msg("store_open() is %d: %s", r, error.message);
    return store;
}

void assert_contains(const char *text, const char *part)
{
    if (!text || !strcasestr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text ? text : "(null)", part);
}

void assert_failed(int result, const Error *error, ErrorKind kind, const char *part)
{
    assert_int_equal(result, -1);
    assert_int_equal(error->kind, kind);
    assert_contains(error->message, part);
    assert_contains(error->message, "/daemon/state.db\"");
}

void put_schedule(Store *store, const char *name, ScheduleEntry entry)
{
    assert_int_equal(store_connection_put_schedule(store, name, &entry, false, false, NULL), 0);
}

int count_connection(StoredConnection *connection, void *userdata)
{
    ++*(size_t *)userdata;
    return 0;
}

size_t connections_in(Store *store)
{
    size_t n = 0;
    assert_int_equal(store_connection_each(store, count_connection, &n, NULL), 0);
    return n;
}
