/*
 * wherryctl sync. The daemon runs the sync whether or not anybody watches, so that Ctrl-C only ends the watching; it is
 * blocked everywhere except while waiting for the next reply, where it cannot be missed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/print.h"
#include "daemon/wherryctl/progress.h"
#include "lib/basics/buffer.h"

static void on_signal(int number)
{
}

/* SIGINT and SIGTERM from here on only interrupt the waiting. */
static void catch_signals(Client *client)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigset_t caught, before;

    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigprocmask(SIG_BLOCK, &caught, &before); /* first: what comes before the first wait must not be swallowed */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigdelset(&before, SIGINT);
    sigdelset(&before, SIGTERM);
    client_set_wait_mask(client, &before);
}

static void append_files(Buffer *text, const json_t *run)
{
    static const struct {
        const char *field, *word;
    } counts[] = {
        { "committed", "committed" },
        { "failed", "failed" },
        { "skipped", "skipped" },
        { "retried", "retried" },
    };
    char number[VALUE_TEXT_SIZE];

    if (!json_is_integer(json_object_get(run, "files_scanned")))
        return;
    int64_t scanned = field_integer(run, "files_scanned", 0);
    buffer_printf(text, ", %s file%s seen", print_count(scanned, number), scanned == 1 ? "" : "s");
    for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
        int64_t n = field_integer(run, counts[i].field, 0);
        if (n > 0)
            buffer_printf(text, ", %s %s", print_count(n, number), counts[i].word);
    }
}

/* Is there a failed file to be seen in the ledger? One that could not even be read has no content to be known by: it is
 * named in the run, and only there. */
static bool ledger_lists_failed(const Options *options, const char *connection)
{
    _cleanup_(error_clear) Error error = { 0 };
    json_t *parameters = client_parameters(connection), *reply = NULL;
    json_object_set_new(parameters, "failed", json_true());
    if (client_ask(options, "Files", parameters, "files", &reply, &error) != 0)
        return false;
    bool any = json_array_size(json_object_get(reply, "files")) > 0;
    json_decref(reply);
    return any;
}

static void print_run(const Options *options, const json_t *run)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    char number[VALUE_TEXT_SIZE];
    const char *connection = field_text(run, "connection"), *outcome = field_text(run, "outcome");
    const char *error = field_text(run, "error");
    int64_t rows = field_integer(run, "rows_committed", 0);
    bool colour = terminal_has_colour(stdout);
    json_t *warning;
    size_t i;

    buffer_printf(&text, " after %s: ", print_seconds(json_number_value(json_object_get(run, "duration_s")), number));
    buffer_printf(&text, "%s row%s", print_count(rows, number), rows == 1 ? "" : "s");
    buffer_printf(&text, ", %s", print_bytes(field_integer(run, "bytes_processed", 0), number));
    append_files(&text, run);
    _cleanup_(freep) char *counts = buffer_take_string(&text);
    printf("%s: %s%s%s%s\n", connection ? connection : "", colour ? style_begin(outcome_style(outcome)) : "",
           outcome ? outcome : "unfinished", colour ? style_begin(STYLE_NONE) : "", counts);
    if (error) {
        _cleanup_(freep) char *lines = printable_lines(error);
        printf("  error: %s\n", lines);
    }
    json_array_foreach (json_object_get(run, "warnings"), i, warning) {
        _cleanup_(freep) char *lines = printable_lines(json_is_string(warning) ? json_string_value(warning) : "");
        printf("  warning: %s\n", lines);
    }
    if (connection && field_integer(run, "failed", 0) > 0 && ledger_lists_failed(options, connection))
        printf("  see \"wherryctl files %s --failed\"\n", connection);
}

static int run_status(const json_t *run)
{
    const char *outcome = field_text(run, "outcome");
    bool succeeded = outcome && strcmp(outcome, "succeeded") == 0 && field_integer(run, "failed", 0) == 0;
    return succeeded ? EXIT_DONE : EXIT_FAILED;
}

/* Waits for the run's end; *RET is the finished Run. */
static int await_run(Client *client, Progress *progress, json_t **ret, Error *error)
{
    for (bool continues = true; continues;) {
        json_t *reply = NULL;
        int status = client_receive(client, &reply, &continues, error);
        if (status != 0)
            return status;
        json_t *report = json_object_get(reply, "progress"), *run = json_object_get(reply, "run");
        if (progress && json_is_object(report))
            progress_show(progress, report);
        if (!continues && json_is_object(run))
            *ret = json_incref(run);
        json_decref(reply);
    }
    if (*ret)
        return 0;
    error_set(error, ERROR_INTERNAL, "the daemon answered without the run's outcome");
    return EXIT_FAILED;
}

static int sync_and_wait(const Options *options, const char *connection, json_t *parameters)
{
    _cleanup_(client_freep) Client *client = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    bool json = options->given & OPTION_JSON, follow = options->given & OPTION_FOLLOW;
    FILE *file = json ? stderr : stdout;
    json_t *run = NULL;

    int status = client_connect(options, &client, &error);
    if (status != 0) {
        json_decref(parameters);
        return say_error(status, &error);
    }
    catch_signals(client);
    status = client_send(client, "Sync", parameters, follow, &error);
    if (status != 0)
        return say_error(status, &error);

    /* --json leaves nothing but the object on stdout, and a bar on stderr only where somebody sees it */
    Progress *progress = follow && (!json || isatty(STDERR_FILENO)) ? progress_new(file, connection) : NULL;
    status = await_run(client, progress, &run, &error);
    progress_free(progress);
    if (status == EXIT_INTERRUPTED)
        fprintf(stderr, "the sync of \"%s\" goes on; end it with \"wherryctl cancel %s\"\n", connection, connection);
    if (status != 0)
        return say_error(status, &error);

    if (json)
        print_json(run, false);
    else
        print_run(options, run);
    status = run_status(run);
    json_decref(run);
    return status;
}

static int sync_and_return(const Options *options, const char *connection, json_t *parameters)
{
    json_t *reply;

    json_object_set_new(parameters, "wait", json_false());
    int status = client_ask_or_say(options, "Sync", parameters, NULL, &reply);
    if (status != 0)
        return status;
    const char *run_id = field_text(reply, "run_id");
    if (options->given & OPTION_JSON) {
        json_t *queued = json_pack("{s:s?, s:b}", "run_id", run_id, "queued", 1);
        print_json(queued, false);
        json_decref(queued);
    } else {
        printf("%s: queued as run %s; \"wherryctl sync %s --follow\" watches it\n", connection, run_id ? run_id : "",
               connection);
    }
    json_decref(reply);
    return EXIT_DONE;
}

/* The names in TEXT, between commas; empty ones are passed over. */
static json_t *split_tables(const char *text)
{
    json_t *tables = json_array();
    while (*text) {
        size_t n = strcspn(text, ",");
        if (n > 0)
            json_array_append_new(tables, json_stringn(text, n));
        text += n + (text[n] == ',');
    }
    return tables;
}

int command_sync(const Options *options, char *const *arguments, size_t count)
{
    if ((options->given & OPTION_TABLES) && !(options->given & OPTION_FULL)) {
        fprintf(stderr, "wherryctl: \"--tables\" goes with \"--full\", which makes tables anew\n");
        return EXIT_WRONG_USE;
    }
    json_t *parameters = client_parameters(arguments[0]);
    if (options->given & OPTION_FULL)
        json_object_set_new(parameters, "full", json_true());
    if (options->given & OPTION_TABLES)
        json_object_set_new(parameters, "tables", split_tables(options->tables));
    if (options->given & (OPTION_WAIT | OPTION_FOLLOW))
        return sync_and_wait(options, arguments[0], parameters);
    return sync_and_return(options, arguments[0], parameters);
}
