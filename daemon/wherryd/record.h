#pragma once
/* What a run, a file, a moment of progress look like to others: the control interface's JSON types, and one line for a
 * person. */
#include <jansson.h>

#include "daemon/wherryd/store.h"
#include "daemon/wherryd/sync.h"

json_t *json_text(const char *text); /* NULL: null; foreign bytes as \xHH */
json_t *json_time(int64_t wall_ms);  /* RFC 3339; 0: null */
json_t *record_run(const RunRecord *run);
json_t *record_file(const FileRecord *file);
json_t *record_progress(const char *run_id, const SyncProgress *progress);
/* "synced 3 files, 1,204 rows, 1.2 MB in 0.4 s", "failed after 0.4 s: …". The caller frees. */
char *record_summary(const RunRecord *run);
