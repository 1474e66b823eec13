/*
 * A sync that only says what it would do: the same programs under the same supervision, told {"plan": true}, and here
 * what they say, put together as the interface's Plan. Nothing of it is written anywhere, state.db included.
 */
#include "daemon/wherryd/sync-plan.h"

#include <string.h>

#include "daemon/wherryd/sync-internal.h"
#include "lib/basics/text.h"

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static const char *worker_key(const Sync *sync, const char *key)
{
    return json_string_value(json_object_get(sync->worker_begin, key));
}

void sync_plan_begin(Sync *sync)
{
    bool files = strcmp(sync->config->source, "files") == 0;
    json_t *plan = sync->plan = json_object();
    json_object_set_new(plan, "connection", json_string(sync->record->connection));
    json_object_set_new(plan, "source", json_string(sync->config->source));
    json_object_set_new(plan, "destination", json_string(sync->config->destination));
    json_object_set_new(plan, "table", text_or_null(files ? worker_key(sync, "dest_table") : NULL));
    json_object_set_new(plan, "write_mode", text_or_null(files ? worker_key(sync, "write_mode") : NULL));
    json_object_set_new(plan, "statements", json_array());
    json_object_set_new(plan, "files", json_array());
    json_object_set_new(plan, "notes", json_array());
    json_object_set_new(sync->worker_begin, "plan", json_true());
}

static json_t *member(const Sync *sync, const char *name)
{
    return json_object_get(sync->plan, name);
}

/* Whether one more goes into the list NAME: a plan is for people, and its answer is one message. */
static bool has_room(const Sync *sync, const char *name)
{
    return json_array_size(member(sync, name)) < SYNC_PLAN_MAX;
}

void sync_plan_note(Sync *sync, const char *text)
{
    if (has_room(sync, "notes"))
        json_array_append_new(member(sync, "notes"), json_string(text));
}

void sync_plan_statement(Sync *sync, const char *sql)
{
    /* The daemon's JSON holds no foreign bytes; a statement has none. */
    json_t *text = json_string(sql);
    if (!text) {
        _cleanup_(freep) char *escaped = text_escape(sql, strlen(sql));
        text = json_string(escaped);
    }
    json_array_append_new(member(sync, "statements"), text);
}

/* --- files --- */

void sync_plan_file(Sync *sync, const SyncPlanFile *file)
{
    sync->planned_file = NULL;
    if (!has_room(sync, "files")) {
        sync->plan_left_out++;
        return;
    }
    json_t *entry = sync->planned_file = json_object();
    json_object_set_new(entry, "name", json_string(file->name));
    json_object_set_new(entry, "hash", text_or_null(file->hash));
    json_object_set_new(entry, "size", file->hash ? json_integer((json_int_t)file->size) : json_null());
    json_object_set_new(entry, "state", json_string(file->state));
    json_object_set_new(entry, "action", json_string(file->action));
    json_object_set_new(entry, "attempts", json_integer(file->attempts));
    json_object_set_new(entry, "reason", text_or_null(file->reason));
    json_array_append_new(member(sync, "files"), entry);
}

void sync_plan_seen(Sync *sync, const char *name, const uint8_t hash[static SHA256_SIZE], uint64_t size)
{
    _cleanup_(file_record_clear) FileRecord record = { 0 };
    _cleanup_(error_clear) Error error = { 0 };
    char text[SHA256_TEXT_SIZE];
    sha256_text(hash, text);
    bool known = store_file_get(sync->options.store, sync->record->connection, text, &record, &error) == 0;
    _cleanup_(freep) char *last = known && record.error ? xasprintf("last time: %s", record.error) : NULL;
    sync_plan_file(sync, &(SyncPlanFile){ .name = name,
                                          .hash = text,
                                          .size = size,
                                          .state = known ? file_state_name(record.state) : "NEW",
                                          .action = "skip",
                                          .attempts = known ? record.attempts : 0,
                                          .reason = last });
}

void sync_plan_action(Sync *sync, const char *action, const char *reason)
{
    if (!sync->planned_file)
        return;
    json_object_set_new(sync->planned_file, "action", json_string(action));
    if (reason)
        json_object_set_new(sync->planned_file, "reason", json_string(reason));
}

bool sync_plan_fault(Sync *sync, const char *name, const uint8_t *hash, const char *reason)
{
    char text[SHA256_TEXT_SIZE] = "";
    if (hash)
        sha256_text(hash, text);
    json_t *files = member(sync, "files");
    for (size_t i = json_array_size(files); i-- > 0;) {
        json_t *entry = json_array_get(files, i);
        const char *its_hash = json_string_value(json_object_get(entry, "hash"));
        if (!its_hash ||
            (hash ? strcmp(its_hash, text) != 0 : strcmp(json_string_value(json_object_get(entry, "name")), name) != 0))
            continue;
        sync->planned_file = entry;
        sync_plan_action(sync, "fail", reason);
        return true;
    }
    return false;
}

/* --- the whole --- */

static void say_replacement(Sync *sync)
{
    const char *mode = json_string_value(member(sync, "write_mode"));
    const char *last = NULL;
    size_t i;
    json_t *file;
    json_array_foreach (member(sync, "files"), i, file)
        if (strcmp(json_string_value(json_object_get(file, "action")), "load") == 0)
            last = json_string_value(json_object_get(file, "name"));
    if (!mode || strcmp(mode, "truncate") != 0 || !last)
        return;
    _cleanup_(freep) char *note = xasprintf(
        "\"write_mode: truncate\": each file replaces all rows of the table; those of \"%s\" are what stays", last);
    sync_plan_note(sync, note);
}

/* Where the sync itself would end, and not only the load of a file, no file is loaded. */
static void reach_no_file(Sync *sync)
{
    size_t i;
    json_t *file;
    json_array_foreach (member(sync, "files"), i, file) {
        const char *action = json_string_value(json_object_get(file, "action"));
        if (strcmp(action, "load") != 0)
            continue;
        json_object_set_new(file, "action", json_string("not_reached"));
        json_object_set_new(file, "reason", json_string("the sync would end before it"));
    }
}

json_t *sync_plan_end(Sync *sync, const char *error, bool whole)
{
    if (error && !whole)
        reach_no_file(sync);
    if (strcmp(sync->config->source, "files") != 0 && !error)
        sync_plan_note(sync,
                       "what the source declares is planned; the rows that it then sends may bring further tables, "
                       "columns and wider types");
    say_replacement(sync);
    if (sync->plan_left_out > 0) {
        _cleanup_(freep) char *note = xasprintf("%zu more files are not shown", sync->plan_left_out);
        sync_plan_note(sync, note);
    }
    json_object_set_new(sync->plan, "error", text_or_null(error));
    json_t *plan = sync->plan;
    sync->plan = NULL;
    return plan;
}
