/* wherryctl plan: what the next sync would do, for people with its SQL ready to be read, or pasted. */
#include <stdio.h>
#include <string.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/print.h"
#include "lib/basics/buffer.h"

static void print_head(const char *asked_as, const json_t *plan)
{
    const char *table = field_text(plan, "table"), *mode = field_text(plan, "write_mode");
    printf("%s: from %s to %s", asked_as, field_text(plan, "source"), field_text(plan, "destination"));
    if (table)
        printf(", table \"%s\"", table);
    printf("%s%s\n", mode ? ", write_mode " : "", mode ? mode : "");
}

static Style action_style(const char *action)
{
    return strcmp(action, "load") == 0 ? STYLE_GOOD : strcmp(action, "fail") == 0 ? STYLE_BAD : STYLE_WARNING;
}

static void add_file(Table *table, const json_t *file)
{
    char text[VALUE_TEXT_SIZE];
    const char *action = field_text(file, "action"), *state = field_text(file, "state");
    int64_t size = field_integer(file, "size", -1);

    table_add(table, field_text(file, "name"), STYLE_NONE);
    table_add(table, size >= 0 ? print_bytes(size, text) : "-", STYLE_NONE);
    table_add(table, state, state_style(state));
    table_add(table, print_count(field_integer(file, "attempts", 0), text), STYLE_NONE);
    table_add(table, strcmp(action, "not_reached") == 0 ? "not reached" : action, action_style(action));
    table_add(table, field_text(file, "reason"), STYLE_NONE);
}

/* All that is not simply there already: that is most of a folder, and no news. */
static void print_files(const json_t *files)
{
    static const char *const headers[] = { "FILE", ">SIZE", "STATE", ">ATTEMPTS", "WOULD", "WHY", NULL };
    size_t i, shown = 0, loads = 0, there = 0;
    int64_t bytes = 0;
    json_t *file;
    Table *table = table_new(headers);
    json_array_foreach (files, i, file) {
        bool load = strcmp(field_text(file, "action"), "load") == 0;
        loads += load;
        bytes += load ? field_integer(file, "size", 0) : 0;
        if (strcmp(field_text(file, "action"), "skip") == 0 && strcmp(field_text(file, "state"), "COMMITTED") == 0) {
            there++;
            continue;
        }
        add_file(table, file);
        shown++;
    }
    char size[VALUE_TEXT_SIZE], count[VALUE_TEXT_SIZE], loaded[VALUE_TEXT_SIZE];
    printf("\n%s file%s to load", print_count((int64_t)loads, count), loads == 1 ? "" : "s");
    if (loads > 0)
        printf(", %s", print_bytes(bytes, size));
    printf("; %s loaded already\n", print_count((int64_t)there, loaded));
    if (shown > 0)
        table_print(table, stdout);
    table_free(table);
}

static void print_statements(const json_t *statements, bool files)
{
    size_t i;
    json_t *statement;
    if (json_array_size(statements) == 0) {
        puts(files ? "\nno change of tables" : "\nnothing declared changes tables");
        return;
    }
    puts("");
    json_array_foreach (statements, i, statement) {
        _cleanup_(freep) char *lines = printable_lines(json_string_value(statement));
        printf("%s;\n", lines);
    }
}

static void print_notes(const json_t *notes)
{
    size_t i;
    json_t *note;
    if (json_array_size(notes) > 0)
        puts("");
    json_array_foreach (notes, i, note) {
        _cleanup_(freep) char *lines = printable_lines(json_string_value(note));
        printf("-- %s\n", lines);
    }
}

static int print_plan(const Options *options, const char *asked_as, const json_t *plan)
{
    const char *error = field_text(plan, "error");
    if (options->given & OPTION_JSON) {
        print_json(plan, false);
        return error ? EXIT_FAILED : EXIT_DONE;
    }
    const json_t *files = json_object_get(plan, "files");
    print_head(asked_as, plan);
    bool is_files = strcmp(field_text(plan, "source"), "files") == 0;
    if (is_files && (!error || json_array_size(files) > 0))
        print_files(files);
    if (!error || json_array_size(json_object_get(plan, "statements")) > 0)
        print_statements(json_object_get(plan, "statements"), is_files);
    print_notes(json_object_get(plan, "notes"));
    if (!error)
        return EXIT_DONE;
    _cleanup_(freep) char *lines = printable_lines(error);
    fflush(stdout);
    fprintf(stderr, "wherryctl: the sync would fail: %s\n", lines);
    return EXIT_FAILED;
}

int command_plan(const Options *options, char *const *arguments, size_t count)
{
    json_t *reply;
    if (options->dir && !options->file) {
        fputs("wherryctl: \"--dir\" lends a folder to a FILE.yaml; a connection has its own\n", stderr);
        return EXIT_WRONG_USE;
    }
    int status = client_ask_or_say(options, "Plan", client_parameters(arguments[0]), NULL, &reply);
    if (status != 0)
        return status;
    status = print_plan(options, arguments[0], json_object_get(reply, "plan"));
    json_decref(reply);
    return status;
}
