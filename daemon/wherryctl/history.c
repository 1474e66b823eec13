/* The commands on what has happened: runs, files, requeue. */
#include <stdio.h>
#include <string.h>

#include "daemon/wherryctl/list.h"
#include "daemon/wherryctl/print.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

static void add_run(Table *table, const json_t *run)
{
    char text[VALUE_TEXT_SIZE];
    const char *outcome = field_text(run, "outcome");
    const json_t *duration = json_object_get(run, "duration_s");

    table_add(table, print_local_time(field_text(run, "started_at"), text), STYLE_NONE);
    table_add(table, field_text(run, "connection"), STYLE_NONE);
    table_add(table, field_text(run, "trigger"), STYLE_NONE);
    table_add(table, outcome ? outcome : "running", outcome ? outcome_style(outcome) : STYLE_ACTIVE);
    table_add(table, print_count(field_integer(run, "rows_committed", 0), text), STYLE_NONE);
    table_add(table, print_bytes(field_integer(run, "bytes_processed", 0), text), STYLE_NONE);
    table_add(table, json_is_number(duration) ? print_seconds(json_number_value(duration), text) : "-", STYLE_NONE);
    table_add(table, field_text(run, "error"), STYLE_BAD);
}

int command_runs(const Options *options, char *const *arguments, size_t count)
{
    static const char *const headers[] = { "STARTED", "CONNECTION", "TRIGGER", "OUTCOME", ">ROWS",
                                           ">BYTES",  ">TIME",      "ERROR",   NULL };
    static const List list = { "Runs", "runs", headers, add_run, "no runs yet" };
    json_t *parameters = count > 0 ? client_parameters(arguments[0]) : json_object();
    if (options->given & OPTION_LIMIT)
        json_object_set_new(parameters, "limit", json_integer(options->limit));
    return list_show(options, &list, parameters);
}

static void add_file(Table *table, const json_t *file)
{
    char text[VALUE_TEXT_SIZE];
    const char *state = field_text(file, "state");
    int64_t rows = field_integer(file, "rows", -1);

    table_add(table, field_text(file, "name"), STYLE_NONE);
    table_add(table, state, state_style(state));
    table_add(table, print_count(field_integer(file, "attempts", 0), text), STYLE_NONE);
    table_add(table, rows >= 0 ? print_count(rows, text) : "-", STYLE_NONE);
    table_add(table, print_local_time(field_text(file, "updated_at"), text), STYLE_NONE);
    int64_t quarantined = field_integer(file, "quarantined_rows", 0);
    _cleanup_(freep) char *aside = quarantined > 0
                                       ? xasprintf("%lld bad row%s in %s", (long long)quarantined,
                                                   quarantined == 1 ? "" : "s", field_text(file, "quarantine_path"))
                                       : NULL;
    const char *error = field_text(file, "error");
    table_add(table, error ? error : aside, STYLE_BAD);
}

int command_files(const Options *options, char *const *arguments, size_t count)
{
    static const char *const headers[] = { "FILE", "STATE", ">ATTEMPTS", ">ROWS", "UPDATED", "ERROR", NULL };
    bool failed = options->given & OPTION_FAILED;
    const List list = { "Files", "files", headers, add_file, failed ? "no file has failed" : "no files yet" };
    json_t *parameters = client_parameters(arguments[0]);
    json_object_set_new(parameters, "failed", json_boolean(failed));
    return list_show(options, &list, parameters);
}

int command_requeue(const Options *options, char *const *arguments, size_t count)
{
    bool all_failed = options->given & OPTION_ALL_FAILED, quarantined = options->given & OPTION_QUARANTINED;
    json_t *reply;

    if (all_failed + quarantined + (count == 2) != 1) {
        fputs("wherryctl: name one file, or say --all-failed or --quarantined: wherryctl requeue CONNECTION NAME | "
              "--all-failed | --quarantined\n",
              stderr);
        return EXIT_WRONG_USE;
    }
    json_t *parameters = client_parameters(arguments[0]);
    json_object_set_new(parameters, "all_failed", json_boolean(all_failed));
    if (quarantined)
        json_object_set_new(parameters, "quarantined", json_true());
    if (count == 2) {
        /* the daemon knows files by their printable names */
        _cleanup_(freep) char *name = text_escape(arguments[1], strlen(arguments[1]));
        json_object_set_new(parameters, "file", json_string(name));
    }
    int status = client_ask_or_say(options, "Requeue", parameters, NULL, &reply);
    if (status != 0)
        return status;

    int64_t files = field_integer(reply, "files", 0);
    json_decref(reply);
    if (files == 0 && count == 2)
        printf("%s: \"%s\" is being loaded right now, so it is not queued again\n", arguments[0], arguments[1]);
    else if (files == 0)
        puts(quarantined ? "no rows were set aside" : "no file has failed");
    else if (quarantined && options->file)
        printf("%s: the rows set aside from %lld file%s are queued; the next \"wherryctl run\" of it loads them\n",
               arguments[0], (long long)files, files == 1 ? "" : "s");
    else if (quarantined)
        printf("%s: the rows set aside from %lld file%s are queued; \"wherryctl sync %s\" loads them now\n",
               arguments[0], (long long)files, files == 1 ? "" : "s", arguments[0]);
    else if (options->file)
        printf("%s: %lld file%s queued again; the next \"wherryctl run\" of it loads %s\n", arguments[0],
               (long long)files, files == 1 ? "" : "s", files == 1 ? "it" : "them");
    else
        printf("%s: %lld file%s queued again; \"wherryctl sync %s\" loads %s now\n", arguments[0], (long long)files,
               files == 1 ? "" : "s", arguments[0], files == 1 ? "it" : "them");
    return EXIT_DONE;
}
