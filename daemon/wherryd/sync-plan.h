#pragma once
/* What a plan (SYNC_PLAN) is told by its programs, as the interface's Plan. Texts are masked and printable. */
#include "daemon/wherryd/sync.h"
#include "lib/basics/hash.h"

#define SYNC_PLAN_MAX 10000 /* files, and notes */

void sync_plan_begin(Sync *sync); /* before the programs start */
void sync_plan_note(Sync *sync, const char *text);
void sync_plan_statement(Sync *sync, const char *sql);

typedef struct SyncPlanFile {
    const char *name;
    const char *hash; /* NULL: it could not be read */
    uint64_t size;
    const char *state;  /* NEW, or as in the ledger, or CHANGING, UNREADABLE */
    const char *action; /* load | skip | wait | fail | not_reached */
    uint32_t attempts;
    const char *reason; /* NULL: none */
} SyncPlanFile;
void sync_plan_file(Sync *sync, const SyncPlanFile *file);
/* A file that the worker asks about; until sync_plan_action() it is one to skip. */
void sync_plan_seen(Sync *sync, const char *name, const uint8_t hash[static SHA256_SIZE], uint64_t size);
void sync_plan_action(Sync *sync, const char *action, const char *reason); /* of the last; REASON NULL: as it was */
/* A file that was seen, the last with that HASH, or (NULL) called NAME, would fail. False: there is none. */
bool sync_plan_fault(Sync *sync, const char *name, const uint8_t *hash, const char *reason);
/* All was told. ERROR: why the sync would fail; NULL: it would not. WHOLE: at most for its files' sake, of which the
 * others would be loaded. The caller owns the reference. */
json_t *sync_plan_end(Sync *sync, const char *error, bool whole);
