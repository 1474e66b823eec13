#pragma once
/*
 * What is done with a file: the decisions on the ledger in state.db, for one sync. Core passes frames in and does what
 * comes out; nothing here does I/O but to the store.
 *
 * Content, not names, is what is loaded once: a file is its SHA-256. PENDING → PROCESSING → COMMITTED or FAILED; a
 * FAILED one is tried again by later syncs until it has had `retry_cap` attempts, after which it is left out until
 * requeued. Only errors of the file itself count as attempts, and crashes of the worker while it reads it.
 *
 * The ledger alone decides on what it knows to be COMMITTED or beyond its attempts. About all else the writer is asked,
 * who can look into the destination; so is it about COMMITTED files after the destination's last commit was found to be
 * another than the one in the cache (it was restored, or replaced, or the report of a commit was lost). Hence neither a
 * lost state.db nor a lost destination loads a file twice or never.
 *
 * The order of calls: ledger_start() before the programs, ledger_opened() at OPENED, then for each file
 * ledger_file_seen(), perhaps ledger_file_verdict(), perhaps ledger_file_done(); ledger_file_note() at FILE_NOTE.
 * Hashes and names are as they stand in the frames.
 */
#include "daemon/wherryd/store.h"
#include "lib/formats/frame.h"

typedef struct LedgerOptions {
    const char *connection;
    const char *asked_as; /* what a person tells wherryctl to mean it; NULL: its name */
    const char *run_id;
    uint32_t retry_cap;         /* attempts; 0 counts as 1 */
    bool full;                  /* load every file again */
    bool ordered;               /* write_mode truncate or cdc: what is loaded goes over what was loaded before */
    bool plan;                  /* only say what would be done: nothing is written */
    const char *quarantine_dir; /* where rows are set aside; NULL: nowhere */
} LedgerOptions;

typedef enum LedgerVerdict {
    LEDGER_LOAD = 1,   /* answer FILE_LOAD */
    LEDGER_SKIP,       /* answer FILE_SKIP */
    LEDGER_ASK_WRITER, /* send FILE_SEEN to the writer; its answer goes to ledger_file_verdict() */
} LedgerVerdict;

typedef struct LedgerAnswer {
    LedgerVerdict verdict;
    bool loaded;   /* LEDGER_SKIP: since it is in the destination already */
    char *note;    /* owned; NULL: nothing to say. A warning of the run, one line, printable */
    bool repeat;   /* earlier syncs have said it too: not worth a log line again */
    bool left_out; /* the note is about a file that has used up its attempts */
} LedgerAnswer;
void ledger_answer_clear(LedgerAnswer *answer);

typedef struct Ledger Ledger;
/* Puts files that a dead run left in PROCESSING back to PENDING. The strings of OPTIONS are copied. COUNTS (borrowed,
 * outlives the ledger) is kept up to date by every call below. */
int ledger_start(Store *store, const LedgerOptions *options, RunCounts *counts, Ledger **ret, Error *error);
Ledger *ledger_free(Ledger *ledger);
DEFINE_CLEANUP(Ledger, ledger_free)

/* What the destination says it committed last (OPENED), before the first question. Where the cache knows another
 * commit, COMMITTED files are doubted, and the cache takes this one. */
int ledger_opened(Ledger *ledger, uint64_t sequence, FrameText run_id, Error *error);
/* A worker asks: FILE_SEEN. One question at a time: the worker waits for its answer. */
int ledger_file_seen(Ledger *ledger, FrameText name, const uint8_t hash[static SHA256_SIZE], LedgerAnswer *ret,
                     Error *error);
/* The writer's answer about the file that was asked about: FILE_SKIP (it is there), or FILE_UNKNOWN. ERROR_INTERNAL:
 * that was not asked. */
int ledger_file_verdict(Ledger *ledger, const uint8_t hash[static SHA256_SIZE], FileVerdict verdict, int64_t rows,
                        LedgerAnswer *ret, Error *error);
/* FILE_DONE from the writer. ROWS and QUARANTINED as there; WHY: its error text, empty for LOADED. Best called in one
 * transaction (store_begin()) with store_connection_put_state() for the same commit. RET_NOTE (owned by the caller;
 * NULL: nothing to say): for CHANGED, and for a file that has now used up its attempts. ERROR_INTERNAL: no such file is
 * being loaded. */
int ledger_file_done(Ledger *ledger, const uint8_t hash[static SHA256_SIZE], FileEnd outcome, uint64_t rows,
                     uint64_t quarantined, FrameText why, char **ret_note, Error *error);
/* FILE_NOTE from the worker: a file that could not be hashed (FAILED), or is still changing (skipped). */
void ledger_file_note(Ledger *ledger, bool failed);
