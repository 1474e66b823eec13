/*
 * The ledger's decisions, told as stories: a worker offers files, a destination that is a small set of hashes answers
 * and commits, and in between things go wrong. What counts at the end is what the destination holds, and how often it
 * was loaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/wherryd/ledger.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"

#define FILES_MAX 64

typedef struct World {
    char folder[64];
    Store *store;
    Ledger *ledger;
    RunCounts counts;
    char run_id[16];
    unsigned run;
    uint32_t retry_cap;
    bool full, plan, ordered;
    /* the destination */
    bool holds[FILES_MAX];
    unsigned loads[FILES_MAX]; /* ever committed */
    uint64_t sequence;
    char committed_by[16];
    unsigned asked; /* in this sync */
    /* of the last offer */
    char *note;
    bool repeat;
    bool loaded;
} World;

static int set_up(void **state)
{
    World *world = xcalloc(1, sizeof *world);
    (void)snprintf(world->folder, sizeof world->folder, "/tmp/wherry-ledger-XXXXXX");
    world->retry_cap = 3;
    *state = world;
    return mkdtemp(world->folder) && store_open(world->folder, &world->store, NULL) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    World *world = *state;
    ledger_free(world->ledger);
    store_close(world->store);
    path_remove_tree(AT_FDCWD, world->folder);
    int r = access(world->folder, F_OK) == 0 ? -1 : 0;
    free(world->note);
    free(world);
    return r;
}

/* Content I is a hash of its own. */
static const uint8_t *hash_of(unsigned i)
{
    static uint8_t hashes[FILES_MAX][SHA256_SIZE];
    memset(hashes[i], (int)i + 1, SHA256_SIZE);
    return hashes[i];
}

static FileRecord record_of(World *world, unsigned i)
{
    char hash[SHA256_TEXT_SIZE];
    FileRecord record = { 0 };
    sha256_text(hash_of(i), hash);
    assert_int_equal(store_file_get(world->store, "orders", hash, &record, NULL), 0);
    return record;
}

static void assert_state(World *world, unsigned i, FileState state, uint32_t attempts)
{
    _cleanup_(file_record_clear) FileRecord record = record_of(world, i);
    assert_string_equal(file_state_name(record.state), file_state_name(state));
    assert_int_equal(record.attempts, attempts);
}

static void sync_begins(World *world)
{
    world->ledger = ledger_free(world->ledger); /* the one before may have died with the daemon */
    (void)snprintf(world->run_id, sizeof world->run_id, "run-%u", ++world->run);
    world->counts = (RunCounts){ 0 };
    world->asked = 0;
    LedgerOptions options = { .connection = "orders",
                              .run_id = world->run_id,
                              .retry_cap = world->retry_cap,
                              .full = world->full,
                              .ordered = world->ordered,
                              .plan = world->plan,
                              .quarantine_dir = "/bad" };
    assert_int_equal(ledger_start(world->store, &options, &world->counts, &world->ledger, NULL), 0);
    assert_int_equal(ledger_opened(world->ledger, world->sequence, frame_text(world->committed_by), NULL), 0);
}

/* What the worker is told. */
static LedgerVerdict offer(World *world, const char *name, unsigned i)
{
    _cleanup_(ledger_answer_clear) LedgerAnswer answer = { 0 };
    assert_int_equal(ledger_file_seen(world->ledger, frame_text(name), hash_of(i), &answer, NULL), 0);
    if (answer.verdict == LEDGER_ASK_WRITER) {
        assert_null(answer.note);
        world->asked++;
        FileVerdict verdict = world->holds[i] ? FILE_SKIP : FILE_UNKNOWN;
        assert_int_equal(ledger_file_verdict(world->ledger, hash_of(i), verdict, 9, &answer, NULL), 0);
    }
    free(world->note);
    world->note = take_ptr(answer.note);
    world->repeat = answer.repeat;
    world->loaded = answer.loaded;
    assert_true(answer.verdict == LEDGER_LOAD || answer.verdict == LEDGER_SKIP);
    return answer.verdict;
}

static void destination_commits(World *world, unsigned i)
{
    world->holds[i] = true;
    world->loads[i]++;
    world->sequence++;
    memcpy(world->committed_by, world->run_id, sizeof world->committed_by);
}

static void report(World *world, unsigned i, FileEnd outcome)
{
    char *note = NULL;
    FrameText why = frame_text(outcome == FILE_END_LOADED ? "" : "row 7: bad \xff thing");
    assert_int_equal(store_begin(world->store, NULL), 0);
    assert_int_equal(ledger_file_done(world->ledger, hash_of(i), outcome, 10, 2, why, &note, NULL), 0);
    if (outcome == FILE_END_LOADED)
        assert_int_equal(store_connection_put_state(world->store, "orders", world->sequence, world->run_id, NULL, NULL),
                         0);
    assert_int_equal(store_commit(world->store, NULL), 0);
    free(world->note);
    world->note = note;
}

static void loads(World *world, const char *name, unsigned i)
{
    assert_int_equal(offer(world, name, i), LEDGER_LOAD);
    assert_state(world, i, FILE_STATE_PROCESSING, 0);
    destination_commits(world, i);
    report(world, i, FILE_END_LOADED);
}

static void skips(World *world, const char *name, unsigned i, const char *note)
{
    assert_int_equal(offer(world, name, i), LEDGER_SKIP);
    if (!note)
        assert_null(world->note);
    else if (!world->note || !strstr(world->note, note))
        fail_msg("the note is \"%s\", not \"…%s…\"", world->note ? world->note : "(none)", note);
}

static void fails(World *world, const char *name, unsigned i)
{
    assert_int_equal(offer(world, name, i), LEDGER_LOAD);
    report(world, i, FILE_END_FAILED);
}

static void state_db_is_deleted(World *world)
{
    world->ledger = ledger_free(world->ledger);
    store_close(world->store);
    static const char *const names[] = { "state.db", "state.db-wal", "state.db-shm" };
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_(freep) char *path = xasprintf("%s/daemon/%s", world->folder, names[i]);
        (void)remove(path);
    }
    assert_int_equal(store_open(world->folder, &world->store, NULL), 0);
}

/* --- stories --- */

static void test_each_once(void **state)
{
    World *world = *state;
    sync_begins(world);
    loads(world, "a.csv", 0);
    loads(world, "b.csv", 1);
    assert_int_equal(world->counts.files_scanned, 2);
    assert_int_equal(world->counts.new_files, 2);
    assert_int_equal(world->counts.committed, 2);
    assert_int_equal(world->counts.quarantined_rows, 4);
    _cleanup_(file_record_clear) FileRecord record = record_of(world, 0);
    assert_string_equal(record.name, "a.csv");
    assert_string_equal(record.last_run_id, "run-1");
    assert_int_equal(record.rows, 10);
    assert_int_equal(record.state, FILE_STATE_COMMITTED);
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    skips(world, "b.csv", 1, NULL);
    loads(world, "c.csv", 2);
    assert_int_equal(world->asked, 1); /* what it knows it does not ask about */
    assert_int_equal(world->counts.files_scanned, 3);
    assert_int_equal(world->counts.skipped, 2);
    assert_int_equal(world->counts.new_files, 1);
    assert_int_equal(world->counts.committed, 1);
    assert_int_equal(world->counts.reclaimed + world->counts.retried + world->counts.failed, 0);
}

static int count_requeued(const FileRecord *file, void *userdata)
{
    char expected[SHA256_TEXT_SIZE];
    sha256_text(hash_of(0), expected);
    assert_string_equal(file->hash, expected);
    ++*(int *)userdata;
    return 0;
}

static int requeued(World *world)
{
    int count = 0;
    assert_int_equal(store_sidecars_requeued(world->store, "orders", count_requeued, &count, NULL), 0);
    return count;
}

static void test_rows_set_aside(void **state)
{
    World *world = *state;
    char hash[SHA256_TEXT_SIZE];
    int64_t n = -1;
    sync_begins(world);
    assert_int_equal(store_sidecars_requeue(world->store, "orders", &n, NULL), 0);
    assert_int_equal(n, 0);
    loads(world, "a.csv.gz", 0);
    fails(world, "b.csv", 1);
    _cleanup_(file_record_clear) FileRecord record = record_of(world, 0);
    assert_int_equal(record.quarantined, 2);
    assert_string_equal(record.sidecar, "/bad/a.csv.010101010101.quarantine.ndjson");
    assert_int_equal(requeued(world), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_sidecars_requeue(world->store, "orders", &n, NULL), 0);
        assert_int_equal(n, 1); /* not the failed one */
        assert_int_equal(requeued(world), 1);
    }
    /* the order outlives the sync that could not carry it out */
    sync_begins(world);
    skips(world, "a.csv.gz", 0, NULL);
    assert_true(world->loaded);
    assert_int_equal(requeued(world), 1);
    sha256_text(hash_of(0), hash);
    assert_int_equal(store_sidecar_retired(world->store, "orders", hash, NULL), 0);
    assert_int_equal(requeued(world), 0);
    _cleanup_(file_record_clear) FileRecord after = record_of(world, 0);
    assert_int_equal(after.quarantined, 0);
    assert_null(after.sidecar);
    assert_int_equal(after.state, FILE_STATE_COMMITTED);
    assert_int_equal(after.updated_ms, record.updated_ms);
    /* nobody has ordered it: a worker cannot forget rows on its own */
    world->full = true;
    sync_begins(world);
    loads(world, "a.csv.gz", 0);
    assert_int_equal(store_sidecar_retired(world->store, "orders", hash, NULL), 0);
    _cleanup_(file_record_clear) FileRecord again = record_of(world, 0);
    assert_int_equal(again.quarantined, 2);
}

static void test_left_out_is_not_loaded(void **state)
{
    World *world = *state;
    world->retry_cap = 1;
    sync_begins(world);
    fails(world, "a.csv", 0);
    skips(world, "copy.csv", 0, "has failed in this sync");
    assert_false(world->loaded);
    sync_begins(world);
    skips(world, "a.csv", 0, "left out after 1 failed attempt");
    assert_false(world->loaded);
}

static void loads_whole(World *world, const char *name, unsigned i)
{
    sync_begins(world);
    assert_int_equal(offer(world, name, i), LEDGER_LOAD);
    destination_commits(world, i);
    report(world, i, FILE_END_LOADED);
}

/* A file that is written anew in its place, and one day as it was before. */
static void test_content_that_comes_back(void **state)
{
    World *world = *state;
    world->ordered = true;
    loads_whole(world, "all.csv", 0);
    sync_begins(world);
    skips(world, "all.csv", 0, NULL);
    usleep(2000); /* the ledger keeps milliseconds */
    loads_whole(world, "all.csv", 1);
    sync_begins(world);
    skips(world, "all.csv", 0,
          ", and other content since: skipped; \"wherryctl requeue orders all.csv\" applies it again");
    assert_non_null(strstr(world->note, "file \"all.csv\" has again the content that was loaded at 20"));
    assert_false(world->repeat);
    skips(world, "all.csv", 0, "has again the content");
    assert_true(world->repeat);
    skips(world, "copy.csv", 0, ": skipped; \"wherryctl requeue orders copy.csv\" applies it again");
    int64_t count;
    assert_int_equal(store_files_requeue(world->store, "orders", "all.csv", &count, NULL), 0);
    usleep(2000);
    loads_whole(world, "all.csv", 0);
    sync_begins(world);
    skips(world, "all.csv", 0, NULL);
    world->ordered = false; /* each file's rows stay beside the others' */
    sync_begins(world);
    skips(world, "all.csv", 1, NULL);
}

static void test_same_content(void **state)
{
    World *world = *state;
    sync_begins(world);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    skips(world, "b.csv", 0, "file \"b.csv\" has the same content as \"a.csv\", which this sync is loading: skipped");
    destination_commits(world, 0);
    report(world, 0, FILE_END_LOADED);
    skips(world, "c.csv", 0, "\"c.csv\" has the same content as \"a.csv\", which this sync has loaded");
    fails(world, "d.csv", 1);
    skips(world, "e.csv", 1, "\"e.csv\" has the same content as \"d.csv\", which has failed in this sync");
    assert_state(world, 1, FILE_STATE_FAILED, 1); /* one attempt, not two */
    sync_begins(world);
    skips(world, "b.csv", 0, "\"b.csv\" has the same content as \"a.csv\", which was loaded at 20");
    assert_true(world->repeat);
    skips(world, "new\nname\xff.csv", 0, "file \"new\\x0Aname\\xFF.csv\" has the same");
    assert_false(world->repeat);
    skips(world, "new\nname\xff.csv", 0, "file \"new\\x0Aname\\xFF.csv\" has the same");
    assert_true(world->repeat);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(world->loads[0], 1);
}

static void test_retried_up_to_the_cap(void **state)
{
    World *world = *state;
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        sync_begins(world);
        fails(world, "a.csv", 0);
        assert_state(world, 0, FILE_STATE_FAILED, attempt);
        assert_int_equal(world->counts.retried, attempt > 1);
        assert_int_equal(world->counts.new_files, attempt == 1);
        assert_int_equal(world->counts.failed, 1);
        assert_int_equal(world->note != NULL, attempt == 3);
    }
    assert_non_null(strstr(world->note, "file \"a.csv\" has failed 3 times"));
    assert_non_null(strstr(world->note, "\"wherryctl requeue orders a.csv\""));
    _cleanup_(file_record_clear) FileRecord record = record_of(world, 0);
    assert_string_equal(record.error, "row 7: bad \\xFF thing");
    sync_begins(world);
    skips(world, "a.csv", 0, "file \"a.csv\" is left out after 3 failed attempts (row 7: bad \\xFF thing)");
    assert_true(world->repeat);
    assert_int_equal(world->counts.failed, 0);
    assert_int_equal(world->counts.skipped, 1);
    assert_int_equal(world->counts.retried, 0);
    /* a higher cap gives it more */
    world->retry_cap = 4;
    sync_begins(world);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    destination_commits(world, 0);
    report(world, 0, FILE_END_LOADED);
    _cleanup_(file_record_clear) FileRecord loaded = record_of(world, 0);
    assert_int_equal(loaded.state, FILE_STATE_COMMITTED);
    assert_null(loaded.error);
}

static void test_at_cap_under_another_name(void **state)
{
    World *world = *state;
    world->retry_cap = 0; /* counts as 1 */
    sync_begins(world);
    fails(world, "a.csv", 0);
    sync_begins(world);
    skips(world, "b.csv", 0, "file \"b.csv\" is left out after 1 failed attempts");
    _cleanup_(file_record_clear) FileRecord record = record_of(world, 0);
    assert_string_equal(record.name, "b.csv");
    int64_t n;
    assert_int_equal(store_files_requeue(world->store, "orders", "b.csv", &n, NULL), 0);
    assert_int_equal(n, 1);
}

static void test_requeue_of_a_failed_one(void **state)
{
    World *world = *state;
    world->retry_cap = 1;
    int64_t n;
    sync_begins(world);
    fails(world, "a.csv", 0);
    assert_int_equal(store_files_requeue(world->store, "orders", NULL, &n, NULL), 0);
    sync_begins(world);
    loads(world, "a.csv", 0);
    assert_int_equal(world->counts.new_files, 0);
}

/* A user's order stands until it is carried out, whatever happens on the way. */
static void test_requeue_of_a_loaded_one(void **state)
{
    World *world = *state;
    int64_t n;
    sync_begins(world);
    loads(world, "a.csv", 0);
    assert_int_equal(store_files_requeue(world->store, "orders", "a.csv", &n, NULL), 0);
    sync_begins(world);
    fails(world, "a.csv", 0);
    sync_begins(world);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    report(world, 0, FILE_END_CHANGED);
    sync_begins(world);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    assert_int_equal(world->asked, 0);
    destination_commits(world, 0);
    report(world, 0, FILE_END_LOADED);
    assert_int_equal(world->loads[0], 2);
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
}

static void test_changed_and_aborted(void **state)
{
    World *world = *state;
    sync_begins(world);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    report(world, 0, FILE_END_CHANGED);
    assert_non_null(strstr(world->note, "\"a.csv\" changed while it was read"));
    assert_int_equal(world->counts.skipped, 1);
    assert_int_equal(offer(world, "b.csv", 1), LEDGER_LOAD);
    report(world, 1, FILE_END_ABORTED);
    assert_null(world->note);
    assert_int_equal(world->counts.skipped, 1);
    assert_int_equal(world->counts.failed, 1); /* not loaded, and so told; but no attempt of the file */
    assert_state(world, 0, FILE_STATE_PENDING, 0);
    assert_state(world, 1, FILE_STATE_PENDING, 0);
    loads(world, "a.csv", 0); /* even in the same sync */
    sync_begins(world);
    loads(world, "b.csv", 1);
    assert_int_equal(world->counts.new_files, 0);
}

/* The daemon dies while a file is loaded: before the commit, and after it but before its report. */
static void test_daemon_dies(void **state)
{
    World *world = *state;
    sync_begins(world);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    sync_begins(world);
    assert_int_equal(world->counts.reclaimed, 1);
    assert_int_equal(world->counts.new_files, 0);
    assert_int_equal(offer(world, "a.csv", 0), LEDGER_LOAD);
    destination_commits(world, 0);
    sync_begins(world);
    assert_int_equal(world->counts.reclaimed, 1);
    skips(world, "a.csv", 0, NULL);
    assert_state(world, 0, FILE_STATE_COMMITTED, 0);
    assert_int_equal(world->counts.committed, 0);
    assert_int_equal(world->loads[0], 1);
    sync_begins(world);
    assert_int_equal(world->counts.reclaimed, 0);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(world->asked, 0);
}

static void test_state_db_deleted(void **state)
{
    World *world = *state;
    sync_begins(world);
    loads(world, "a.csv", 0);
    loads(world, "b.csv", 1);
    state_db_is_deleted(world);
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(world->counts.new_files, 0);
    loads(world, "c.csv", 2);
    /* one that was not in the folder then is still known to the destination, though the cache is right again */
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    skips(world, "b.csv", 1, NULL);
    skips(world, "c.csv", 2, NULL);
    assert_int_equal(world->asked, 1);
    assert_int_equal(world->loads[0] + world->loads[1] + world->loads[2], 3);
}

/* The destination is put back to an earlier day, or replaced by an empty one: what it lost is loaded again, whenever it
 * is seen again. */
static void test_destination_restored(void **state)
{
    World *world = *state;
    sync_begins(world);
    loads(world, "a.csv", 0);
    uint64_t backup = world->sequence;
    sync_begins(world);
    loads(world, "b.csv", 1);
    loads(world, "c.csv", 2);
    world->holds[1] = world->holds[2] = false;
    world->sequence = backup;
    memcpy(world->committed_by, "run-1", 6);
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(offer(world, "b.csv", 1), LEDGER_LOAD);
    assert_non_null(strstr(world->note, "file \"b.csv\" was loaded at 20"));
    assert_non_null(strstr(world->note, "does not have it any more"));
    destination_commits(world, 1);
    report(world, 1, FILE_END_LOADED);
    assert_int_equal(world->asked, 2);
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    skips(world, "b.csv", 1, NULL);
    assert_int_equal(world->asked, 0);                       /* it was asked once, that is enough */
    assert_int_equal(offer(world, "c.csv", 2), LEDGER_LOAD); /* was not in the folder before */
    assert_int_equal(world->asked, 1);
}

/* Where nothing is committed after the doubt, what was asked is not asked again. */
static void test_doubt_is_settled_once(void **state)
{
    World *world = *state;
    sync_begins(world);
    loads(world, "a.csv", 0);
    world->sequence += 5; /* someone else's commits */
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(world->asked, 1);
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(world->asked, 0);
    memcpy(world->committed_by, "run-x", 6); /* the same number, by another run */
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    assert_int_equal(world->asked, 1);
}

static void test_full(void **state)
{
    World *world = *state;
    world->retry_cap = 1;
    sync_begins(world);
    loads(world, "a.csv", 0);
    fails(world, "bad.csv", 1);
    world->full = true;
    sync_begins(world);
    loads(world, "a.csv", 0);
    skips(world, "copy.csv", 0, "which this sync has loaded"); /* once is enough */
    fails(world, "bad.csv", 1);
    assert_state(world, 1, FILE_STATE_FAILED, 2);
    assert_int_equal(world->asked, 0);
    assert_int_equal(world->loads[0], 2);
    assert_int_equal(world->counts.new_files, 0);
    /* a file whose full load failed is still in the destination, and found there */
    world->retry_cap = 3;
    sync_begins(world);
    fails(world, "a.csv", 0);
    assert_state(world, 0, FILE_STATE_FAILED, 1);
    world->full = false;
    sync_begins(world);
    skips(world, "a.csv", 0, NULL);
    assert_state(world, 0, FILE_STATE_COMMITTED, 1);
    assert_int_equal(world->loads[0], 2);
    world->full = true; /* what failed before the file was loaded counts no more */
    sync_begins(world);
    fails(world, "a.csv", 0);
    assert_state(world, 0, FILE_STATE_FAILED, 1);
}

static bool is_known(World *world, unsigned i)
{
    char hash[SHA256_TEXT_SIZE];
    _cleanup_(file_record_clear) FileRecord record = { 0 };
    sha256_text(hash_of(i), hash);
    return store_file_get(world->store, "orders", hash, &record, NULL) == 0;
}

static void requeues(World *world, const char *name)
{
    int64_t n;
    assert_int_equal(store_files_requeue(world->store, "orders", name, &n, NULL), 0);
    assert_int_equal(n, 1);
}

/* What waits for a content that its name does not have any more would wait forever. */
static void test_replaced_while_it_waited(void **state)
{
    World *world = *state;
    sync_begins(world);
    fails(world, "failed.csv", 0);
    loads(world, "loaded.csv", 1);
    fails(world, "twice.csv", 2);
    fails(world, "kept.csv", 3);
    assert_int_equal(offer(world, "changing.csv", 4), LEDGER_LOAD);
    report(world, 4, FILE_END_CHANGED);
    requeues(world, "failed.csv");
    requeues(world, "loaded.csv");
    requeues(world, "twice.csv");
    sync_begins(world);
    assert_int_equal(offer(world, "again.csv", 2), LEDGER_LOAD);
    report(world, 2, FILE_END_ABORTED); /* waits under both names */
    loads(world, "failed.csv", 10);
    loads(world, "loaded.csv", 11);
    loads(world, "twice.csv", 12);
    fails(world, "kept.csv", 13);
    loads(world, "changing.csv", 14);
    assert_false(is_known(world, 0));
    assert_false(is_known(world, 4));
    assert_state(world, 2, FILE_STATE_PENDING, 0);
    assert_state(world, 3, FILE_STATE_FAILED, 1); /* history, which waits for nothing */
    /* what the destination has is told as such, and not loaded again under another name without being asked for */
    _cleanup_(file_record_clear) FileRecord loaded = record_of(world, 1);
    assert_int_equal(loaded.state, FILE_STATE_COMMITTED);
    assert_false(loaded.forced);
    sync_begins(world);
    skips(world, "copy.csv", 1, "has the same content as \"loaded.csv\"");
    assert_int_equal(world->loads[1], 1);
    /* and what comes again is loaded */
    loads(world, "failed.csv", 0);
}

static void test_notes_are_counted(void **state)
{
    World *world = *state;
    sync_begins(world);
    ledger_file_note(world->ledger, true);
    ledger_file_note(world->ledger, false);
    ledger_file_note(world->ledger, false);
    assert_int_equal(world->counts.files_scanned, 3);
    assert_int_equal(world->counts.failed, 1);
    assert_int_equal(world->counts.skipped, 2);
}

static void assert_internal(int result, Error *error, const char *part)
{
    assert_int_equal(result, -1);
    assert_int_equal(error->kind, ERROR_INTERNAL);
    assert_non_null(strstr(error->message, part));
    error_clear(error);
}

/* Programs that do not keep to the protocol. */
static void test_out_of_turn(void **state)
{
    World *world = *state;
    LedgerAnswer answer = { 0 };
    Error error = { 0 };
    char *note = NULL;
    sync_begins(world);
    assert_internal(ledger_file_verdict(world->ledger, hash_of(0), FILE_SKIP, 0, &answer, &error), &error, "not asked");
    assert_internal(ledger_file_done(world->ledger, hash_of(0), FILE_END_LOADED, 1, 0, frame_text(""), &note, &error),
                    &error, "not being loaded");
    assert_int_equal(ledger_file_seen(world->ledger, frame_text("a.csv"), hash_of(0), &answer, NULL), 0);
    assert_int_equal(answer.verdict, LEDGER_ASK_WRITER);
    assert_internal(ledger_file_seen(world->ledger, frame_text("b.csv"), hash_of(1), &answer, &error), &error,
                    "before it had the answer about \"a.csv\"");
    assert_internal(ledger_file_verdict(world->ledger, hash_of(1), FILE_SKIP, 0, &answer, &error), &error, "not asked");
    assert_internal(ledger_file_done(world->ledger, hash_of(0), FILE_END_LOADED, 1, 0, frame_text(""), &note, &error),
                    &error, "not being loaded");
    assert_int_equal(ledger_file_verdict(world->ledger, hash_of(0), FILE_UNKNOWN, 0, &answer, &error), 0);
    assert_int_equal(answer.verdict, LEDGER_LOAD);
    assert_internal(ledger_file_done(world->ledger, hash_of(0), (FileEnd)9, 1, 0, frame_text(""), &note, &error),
                    &error, "outcome");
    assert_int_equal(ledger_file_done(world->ledger, hash_of(0), FILE_END_LOADED, 1, 0, frame_text(""), &note, NULL),
                     0);
    assert_internal(ledger_file_done(world->ledger, hash_of(0), FILE_END_LOADED, 1, 0, frame_text(""), &note, &error),
                    &error, "not being loaded"); /* twice */
    assert_int_equal(world->counts.committed, 1);
    assert_null(note);
}

/* Another connection's files are other files. */
static void test_connections_are_apart(void **state)
{
    World *world = *state;
    sync_begins(world);
    loads(world, "a.csv", 0);
    RunCounts counts = { 0 };
    LedgerOptions options = { .connection = "other", .run_id = "run-1", .retry_cap = 3 };
    _cleanup_(ledger_freep) Ledger *other = NULL;
    _cleanup_(ledger_answer_clear) LedgerAnswer answer = { 0 };
    assert_int_equal(ledger_start(world->store, &options, &counts, &other, NULL), 0);
    assert_int_equal(ledger_opened(other, 0, frame_text(""), NULL), 0);
    assert_int_equal(ledger_file_seen(other, frame_text("a.csv"), hash_of(0), &answer, NULL), 0);
    assert_int_equal(answer.verdict, LEDGER_ASK_WRITER);
}

static int append_file(const FileRecord *file, void *userdata)
{
    buffer_printf(userdata, "%s %s %u %d %s;", file->name, file_state_name(file->state), file->attempts, file->doubted,
                  file->last_run_id ? file->last_run_id : "-");
    return 0;
}

/* All that the store holds of the connection. */
static char *all_of(World *world)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
    assert_int_equal(store_files(world->store, "orders", false, append_file, &text, NULL), 0);
    assert_int_equal(store_connection_get(world->store, "orders", &connection, NULL), 0);
    buffer_printf(&text, " %llu %s", (unsigned long long)connection.sequence, connection.run_id);
    return buffer_take_string(&text);
}

/* A plan answers as the sync would, and leaves no trace. */
static void test_plan(void **state)
{
    World *world = *state;
    world->retry_cap = 2;
    sync_begins(world);
    loads(world, "loaded.csv", 0);
    for (int i = 0; i < 2; i++) {
        sync_begins(world);
        fails(world, "capped.csv", 1);
    }
    sync_begins(world);
    fails(world, "failed.csv", 2);
    assert_int_equal(offer(world, "open.csv", 3), LEDGER_LOAD); /* and the daemon dies */
    _cleanup_(freep) char *before = all_of(world);

    world->plan = true;
    sync_begins(world);
    assert_int_equal(world->counts.reclaimed, 0);
    skips(world, "loaded.csv", 0, NULL);
    assert_true(world->loaded);
    assert_int_equal(world->asked, 0);
    skips(world, "copy.csv", 0, "has the same content as \"loaded.csv\", which was loaded at");
    skips(world, "capped.csv", 1, "left out after 2 failed attempts");
    skips(world, "other.csv", 1, "left out after 2 failed attempts"); /* not renamed */
    assert_int_equal(offer(world, "failed.csv", 2), LEDGER_LOAD);
    skips(world, "again.csv", 2, "has the same content as \"failed.csv\", which this sync would load");
    assert_int_equal(offer(world, "open.csv", 3), LEDGER_LOAD);
    assert_int_equal(offer(world, "new.csv", 4), LEDGER_LOAD);
    world->holds[5] = true; /* by a sync of another state.db */
    skips(world, "there.csv", 5, NULL);
    assert_true(world->loaded);
    _cleanup_(freep) char *after = all_of(world);
    assert_string_equal(before, after);

    /* The destination is another one: what counts as loaded is asked about, and stays believed afterwards. */
    world->sequence = 77;
    world->holds[0] = false;
    sync_begins(world);
    assert_int_equal(offer(world, "loaded.csv", 0), LEDGER_LOAD);
    assert_non_null(strstr(world->note, "does not have it any more"));
    assert_int_equal(world->asked, 1);
    _cleanup_(freep) char *last = all_of(world);
    assert_string_equal(before, last);
}

#define ledger_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ledger_test(test_each_once),
        ledger_test(test_rows_set_aside),
        ledger_test(test_left_out_is_not_loaded),
        ledger_test(test_same_content),
        ledger_test(test_content_that_comes_back),
        ledger_test(test_retried_up_to_the_cap),
        ledger_test(test_at_cap_under_another_name),
        ledger_test(test_requeue_of_a_failed_one),
        ledger_test(test_requeue_of_a_loaded_one),
        ledger_test(test_changed_and_aborted),
        ledger_test(test_daemon_dies),
        ledger_test(test_state_db_deleted),
        ledger_test(test_destination_restored),
        ledger_test(test_doubt_is_settled_once),
        ledger_test(test_full),
        ledger_test(test_replaced_while_it_waited),
        ledger_test(test_notes_are_counted),
        ledger_test(test_out_of_turn),
        ledger_test(test_connections_are_apart),
        ledger_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
