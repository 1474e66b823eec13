/*
 * A question about a file has one of three answers, found in this order: what this sync has already done with the same
 * content; what a user ordered (a full sync, a requeue); what the ledger knows. Everything that the ledger is not sure
 * of goes to the writer, and its answer comes back here, so that the ledger is right afterwards.
 *
 * Nothing is kept in memory but the one open question: the state of every file lies in the store, where PROCESSING with
 * this run's id means that it is being loaded now.
 */
#include "daemon/wherryd/ledger.h"

#include <jansson.h>

#include "lib/basics/clock.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/sidecar.h"

struct Ledger {
    Store *store;
    char *connection, *asked_as, *run_id;
    uint32_t retry_cap;
    bool full;
    bool ordered;
    bool plan;
    bool doubts;     /* in a plan: files that count as loaded may not be there */
    json_t *planned; /* owned; in a plan: hashes of the files that it would load */
    char *quarantine_dir;
    RunCounts *counts;
    /* the question that the writer has */
    bool asked;
    char asked_hash[SHA256_TEXT_SIZE];
    char *asked_name;
};

/* A file as the ledger has it, and as it was offered now. */
typedef struct Offer {
    const char *name; /* printable */
    char hash[SHA256_TEXT_SIZE];
    bool known; /* RECORD is filled */
    FileRecord record;
} Offer;

static void offer_clear(Offer *offer)
{
    file_record_clear(&offer->record);
}

void ledger_answer_clear(LedgerAnswer *answer)
{
    free(answer->note);
    *answer = (LedgerAnswer){ 0 };
}

int ledger_start(Store *store, const LedgerOptions *options, RunCounts *counts, Ledger **ret, Error *error)
{
    int64_t reclaimed = 0;
    if (!options->plan && store_files_reclaim(store, options->connection, &reclaimed, error) < 0)
        return -1;
    counts->reclaimed += reclaimed;
    Ledger *ledger = xcalloc(1, sizeof *ledger);
    ledger->store = store;
    ledger->connection = xstrdup(options->connection);
    ledger->asked_as = xstrdup(options->asked_as ? options->asked_as : options->connection);
    ledger->run_id = xstrdup(options->run_id);
    ledger->retry_cap = options->retry_cap;
    ledger->full = options->full;
    ledger->ordered = options->ordered;
    ledger->plan = options->plan;
    ledger->planned = json_object();
    ledger->quarantine_dir = xstrdup(options->quarantine_dir);
    ledger->counts = counts;
    *ret = ledger;
    return 0;
}

Ledger *ledger_free(Ledger *ledger)
{
    if (!ledger)
        return NULL;
    free(ledger->connection);
    free(ledger->asked_as);
    free(ledger->run_id);
    free(ledger->quarantine_dir);
    free(ledger->asked_name);
    json_decref(ledger->planned);
    free(ledger);
    return NULL;
}

/* The files are doubted once: from here on the cache agrees with the destination, and the marks say what is still to be
 * asked. */
static int doubt(Ledger *ledger, uint64_t sequence, const char *run_id, Error *error)
{
    if (store_files_doubt(ledger->store, ledger->connection, error) < 0)
        return -1;
    return store_connection_put_state(ledger->store, ledger->connection, sequence, run_id, NULL, error);
}

int ledger_opened(Ledger *ledger, uint64_t sequence, FrameText run_id, Error *error)
{
    _cleanup_(stored_connection_clear) StoredConnection cached = { 0 };
    int r = store_connection_get(ledger->store, ledger->connection, &cached, error);
    if (r < 0)
        return r;
    const char *cached_run = cached.run_id ? cached.run_id : "";
    bool same = cached.sequence == sequence && strlen(cached_run) == run_id.length &&
                (run_id.length == 0 || memcmp(cached_run, run_id.data, run_id.length) == 0);
    ledger->doubts = ledger->plan && !same;
    if (same || ledger->plan)
        return 0;
    _cleanup_(freep) char *committed_by = run_id.length > 0 ? xstrndup(run_id.data, run_id.length) : NULL;
    if (store_begin(ledger->store, error) < 0)
        return -1;
    if (doubt(ledger, sequence, committed_by, error) < 0) {
        store_rollback(ledger->store);
        return -1;
    }
    return store_commit(ledger->store, error);
}

static int offer_fetch(Ledger *ledger, Offer *offer, Error *error)
{
    int r = store_file_get(ledger->store, ledger->connection, offer->hash, &offer->record, error);
    offer->known = r == 0;
    return r < 0 ? r : 0;
}

static bool of_this_run(const Ledger *ledger, const FileRecord *record)
{
    return record->last_run_id && strcmp(record->last_run_id, ledger->run_id) == 0;
}

/* Writes the ledger's row of OFFER as it is to be from now on; ERROR_TEXT may be the row's own. */
static int put(Ledger *ledger, Offer *offer, FileState state, const char *error_text, Error *error)
{
    if (ledger->plan)
        return 0;
    FileRecord row = offer->record;
    row.name = (char *)offer->name;
    memcpy(row.hash, offer->hash, sizeof row.hash);
    row.state = state;
    row.error = (char *)error_text;
    row.doubted = false;
    row.updated_ms = 0;
    if (!offer->known && state != FILE_STATE_COMMITTED)
        row.rows = -1;
    return store_file_put(ledger->store, ledger->connection, &row, error);
}

static int load(Ledger *ledger, Offer *offer, LedgerAnswer *ret, Error *error)
{
    FileState before = offer->known ? offer->record.state : FILE_STATE_PENDING;
    if (before == FILE_STATE_COMMITTED)
        offer->record.attempts = 0;
    free(offer->record.last_run_id);
    offer->record.last_run_id = xstrdup(ledger->run_id);
    if (put(ledger, offer, FILE_STATE_PROCESSING, offer->record.error, error) < 0)
        return -1;
    ledger->counts->new_files += !offer->known;
    ledger->counts->retried += before == FILE_STATE_FAILED;
    ret->verdict = LEDGER_LOAD;
    if (ledger->plan)
        json_object_set_new(ledger->planned, offer->hash, json_string(offer->name));
    return 0;
}

static int skip(Ledger *ledger, LedgerAnswer *ret)
{
    ledger->counts->skipped++;
    ret->verdict = LEDGER_SKIP;
    return 0;
}

/* What to type to have NAME tried again. */
static char *requeue_command(const Ledger *ledger, const char *name)
{
    _cleanup_(freep) char *word = text_shell_word(name);
    return xasprintf("wherryctl requeue %s %s%s", ledger->asked_as, *name == '-' ? "-- " : "", word);
}

/* Says so where a file is skipped for what happened under another name, or before it had other content; once per name
 * for good. */
static int skip_as_same(Ledger *ledger, const Offer *offer, const char *what, LedgerAnswer *ret, Error *error)
{
    bool news = true, replaced = false, other_name = strcmp(offer->name, offer->record.name) != 0;
    if (!ledger->plan && store_file_seen(ledger->store, ledger->connection, offer->name, offer->hash, &news, error) < 0)
        return -1;
    if (ledger->ordered && ret->loaded && !other_name &&
        store_file_replaced(ledger->store, ledger->connection, &offer->record, &replaced, error) < 0)
        return -1;
    if (!other_name && !replaced)
        return skip(ledger, ret);
    _cleanup_(freep) char *command = requeue_command(ledger, offer->name);
    _cleanup_(freep) char *remedy =
        ledger->ordered && ret->loaded ? xasprintf("; \"%s\" applies it again", command) : xstrdup("");
    ret->note = other_name ? xasprintf("file \"%s\" has the same content as \"%s\", which %s: skipped%s", offer->name,
                                       offer->record.name, what, remedy)
                           : xasprintf("file \"%s\" has again the content that %s, and other content since: skipped%s",
                                       offer->name, what, remedy);
    ret->repeat = !news;
    return skip(ledger, ret);
}

static int skip_loaded(Ledger *ledger, const Offer *offer, LedgerAnswer *ret, Error *error)
{
    char when[RFC3339_MS_SIZE];
    rfc3339_ms(offer->record.updated_ms, when);
    _cleanup_(freep) char *what = xasprintf("was loaded at %s", when);
    ret->loaded = true;
    return skip_as_same(ledger, offer, what, ret, error);
}

static int skip_in_this_run(Ledger *ledger, const Offer *offer, LedgerAnswer *ret, Error *error)
{
    const char *what = offer->record.state == FILE_STATE_FAILED      ? "has failed in this sync"
                       : offer->record.state == FILE_STATE_COMMITTED ? "this sync has loaded"
                                                                     : "this sync is loading";
    ret->loaded = offer->record.state == FILE_STATE_COMMITTED;
    return skip_as_same(ledger, offer, what, ret, error);
}

static int skip_at_cap(Ledger *ledger, Offer *offer, LedgerAnswer *ret, Error *error)
{
    /* under the name that it has now, which is the one a person can look for */
    if (strcmp(offer->name, offer->record.name) != 0 &&
        put(ledger, offer, FILE_STATE_FAILED, offer->record.error, error) < 0)
        return -1;
    _cleanup_(freep) char *command = requeue_command(ledger, offer->name);
    ret->note = xasprintf(
        "file \"%s\" is left out after %u failed attempts (%s); repair it, or try it again with \"%s\"", offer->name,
        offer->record.attempts, offer->record.error ? offer->record.error : "unknown error", command);
    ret->repeat = ret->left_out = true;
    return skip(ledger, ret);
}

static int ask(Ledger *ledger, const Offer *offer, LedgerAnswer *ret)
{
    ledger->asked = true;
    memcpy(ledger->asked_hash, offer->hash, sizeof ledger->asked_hash);
    free(ledger->asked_name);
    ledger->asked_name = xstrdup(offer->name);
    ret->verdict = LEDGER_ASK_WRITER;
    return 0;
}

int ledger_file_seen(Ledger *ledger, FrameText name, const uint8_t hash[static SHA256_SIZE], LedgerAnswer *ret,
                     Error *error)
{
    _cleanup_(freep) char *printable = text_escape(name.data, name.length);
    _cleanup_(offer_clear) Offer offer = { .name = printable };
    *ret = (LedgerAnswer){ 0 };
    sha256_text(hash, offer.hash);
    if (ledger->asked)
        return error_set(error, ERROR_INTERNAL,
                         "the source asked about file \"%s\" before it had the answer about \"%s\"", printable,
                         ledger->asked_name);
    if (offer_fetch(ledger, &offer, error) < 0)
        return -1;
    ledger->counts->files_scanned++;
    const char *same = json_string_value(json_object_get(ledger->planned, offer.hash));
    if (same) {
        ret->note =
            xasprintf("file \"%s\" has the same content as \"%s\", which this sync would load", printable, same);
        return skip(ledger, ret);
    }
    FileState state = offer.known ? offer.record.state : FILE_STATE_PENDING;
    if (offer.known && state != FILE_STATE_PENDING && of_this_run(ledger, &offer.record))
        return skip_in_this_run(ledger, &offer, ret, error);
    /* Before `forced`: a requeue gives a file new attempts, not endless ones. */
    if (state == FILE_STATE_FAILED && offer.record.attempts >= ledger->retry_cap && !ledger->full)
        return skip_at_cap(ledger, &offer, ret, error);
    if (ledger->full || offer.record.forced)
        return load(ledger, &offer, ret, error);
    if (state == FILE_STATE_COMMITTED && !offer.record.doubted && !ledger->doubts)
        return skip_loaded(ledger, &offer, ret, error);
    return ask(ledger, &offer, ret);
}

/* The destination has it: whatever the ledger thought, it is loaded. */
static int found_there(Ledger *ledger, Offer *offer, int64_t rows, LedgerAnswer *ret, Error *error)
{
    if (offer->known && offer->record.state == FILE_STATE_COMMITTED) {
        if (skip_loaded(ledger, offer, ret, error) < 0)
            return -1;
        return ledger->plan ? 0 : store_file_trust(ledger->store, ledger->connection, offer->hash, error);
    }
    offer->record.rows = rows;
    ret->loaded = true;
    if (put(ledger, offer, FILE_STATE_COMMITTED, NULL, error) < 0)
        return -1;
    return skip(ledger, ret);
}

static int not_there(Ledger *ledger, Offer *offer, LedgerAnswer *ret, Error *error)
{
    if (offer->known && offer->record.state == FILE_STATE_COMMITTED) {
        char when[RFC3339_MS_SIZE];
        rfc3339_ms(offer->record.updated_ms, when);
        ret->note =
            xasprintf("file \"%s\" was loaded at %s, but the destination does not have it any more: it is loaded "
                      "again",
                      offer->name, when);
    }
    return load(ledger, offer, ret, error);
}

int ledger_file_verdict(Ledger *ledger, const uint8_t hash[static SHA256_SIZE], FileVerdict verdict, int64_t rows,
                        LedgerAnswer *ret, Error *error)
{
    _cleanup_(offer_clear) Offer offer = { 0 };
    *ret = (LedgerAnswer){ 0 };
    sha256_text(hash, offer.hash);
    if (!ledger->asked || strcmp(offer.hash, ledger->asked_hash) != 0)
        return error_set(error, ERROR_INTERNAL, "the destination answered about a file that it was not asked about");
    _cleanup_(freep) char *name = take_ptr(ledger->asked_name);
    offer.name = name;
    ledger->asked = false;
    if (offer_fetch(ledger, &offer, error) < 0)
        return -1;
    return verdict == FILE_SKIP ? found_there(ledger, &offer, rows, ret, error) : not_there(ledger, &offer, ret, error);
}

static int done_failed(Ledger *ledger, Offer *offer, FrameText why, char **ret_note, Error *error)
{
    _cleanup_(freep) char *text = why.length > 0 ? text_escape(why.data, why.length) : xstrdup("unknown error");
    offer->record.attempts++;
    if (put(ledger, offer, FILE_STATE_FAILED, text, error) < 0)
        return -1;
    ledger->counts->failed++;
    if (offer->record.attempts >= ledger->retry_cap) {
        _cleanup_(freep) char *command = requeue_command(ledger, offer->name);
        *ret_note = xasprintf("file \"%s\" has failed %u times and is left out from now on; repair it, or try it again "
                              "with \"%s\"",
                              offer->name, offer->record.attempts, command);
    }
    return 0;
}

static int done_loaded(Ledger *ledger, Offer *offer, uint64_t rows, uint64_t quarantined, Error *error)
{
    offer->record.rows = (int64_t)rows;
    offer->record.forced = false;
    offer->record.quarantined = (int64_t)quarantined;
    offer->record.requeued = false;
    free(take_ptr(offer->record.sidecar));
    if (quarantined > 0 && ledger->quarantine_dir) {
        uint8_t hash[SHA256_SIZE];
        (void)sha256_from_text(offer->hash, hash); /* it was made from one */
        _cleanup_(freep) char *name = sidecar_name(offer->name, hash);
        offer->record.sidecar = path_join(ledger->quarantine_dir, name);
    }
    if (put(ledger, offer, FILE_STATE_COMMITTED, NULL, error) < 0)
        return -1;
    ledger->counts->committed++;
    ledger->counts->quarantined_rows += (int64_t)quarantined;
    return 0;
}

/* Nothing was committed, and it is not the file's fault: the next sync takes it. */
static int done_later(Ledger *ledger, Offer *offer, bool changed, char **ret_note, Error *error)
{
    if (put(ledger, offer, FILE_STATE_PENDING, offer->record.error, error) < 0)
        return -1;
    if (changed) {
        ledger->counts->skipped++;
        *ret_note = xasprintf("file \"%s\" changed while it was read: it waits for the next sync", offer->name);
    } else {
        ledger->counts->failed++;
    }
    return 0;
}

int ledger_file_done(Ledger *ledger, const uint8_t hash[static SHA256_SIZE], FileEnd outcome, uint64_t rows,
                     uint64_t quarantined, FrameText why, char **ret_note, Error *error)
{
    _cleanup_(offer_clear) Offer offer = { 0 };
    *ret_note = NULL;
    sha256_text(hash, offer.hash);
    if (offer_fetch(ledger, &offer, error) < 0)
        return -1;
    if (!offer.known || offer.record.state != FILE_STATE_PROCESSING)
        return error_set(error, ERROR_INTERNAL, "the destination reported a file that is not being loaded");
    _cleanup_(freep) char *name = xstrdup(offer.record.name);
    offer.name = name;
    switch (outcome) {
    case FILE_END_LOADED:
        return done_loaded(ledger, &offer, rows, quarantined, error);
    case FILE_END_FAILED:
        return done_failed(ledger, &offer, why, ret_note, error);
    case FILE_END_CHANGED:
    case FILE_END_ABORTED:
        return done_later(ledger, &offer, outcome == FILE_END_CHANGED, ret_note, error);
    default:
        return error_set(error, ERROR_INTERNAL, "the destination reported a file with an outcome that there is not");
    }
}

void ledger_file_note(Ledger *ledger, bool failed)
{
    ledger->counts->files_scanned++;
    *(failed ? &ledger->counts->failed : &ledger->counts->skipped) += 1;
}
