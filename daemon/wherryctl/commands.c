/*
 * The table of commands. What help shows, what a command line is held against and what a typing error is compared with
 * all come from here, so that they cannot disagree.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/wherryctl/commands.h"
#include "daemon/wherryctl/manual.h"
#include "daemon/wherryctl/options.h"
#include "daemon/wherryctl/table.h"
#include "lib/basics/text.h"
#include "wherry-build.h"

#define ANY_NUMBER UINT_MAX
#define ABOUT_FILE                                                                                                 \
    "A FILE.yaml (a path, or a name that ends so) in place of a connection means what \"wherryctl run\" keeps of " \
    "it;\n"                                                                                                        \
    "that needs no daemon."

/* clang-format off */
static const Command COMMANDS[] = {
    { "status", "[CONNECTION…]", 0, ANY_NUMBER, OPTION_JSON,
      "show the connections: state, last outcome, rows, next run, error", NULL, command_status },
    { "sync", "CONNECTION", 1, 1,
      OPTION_FULL | OPTION_TABLES | OPTION_WAIT | OPTION_FOLLOW | OPTION_JSON,
      "run a connection now",
      "Queues a run and returns at once, or, with --wait or --follow, after it has ended. A connection that is\n"
      "syncing already is joined; a paused one runs once and stays paused. Ctrl-C ends the waiting, not the sync.",
      command_sync },
    { "cancel", "CONNECTION", 1, 1, 0, "end a connection's running or queued sync", NULL, command_cancel },
    { "pause", "CONNECTION", 1, 1, 0, "stop scheduling a connection; its state is kept", NULL, command_pause },
    { "resume", "CONNECTION", 1, 1, 0, "schedule a paused connection again", NULL, command_resume },
    { "reload", "", 0, 0, 0, "read the configuration again",
      "Running syncs finish on what they started with. Files with errors are named; the others are not affected.",
      command_reload },
    { "runs", "[CONNECTION | FILE.yaml]", 0, 1, TAKES_FILE | OPTION_LIMIT | OPTION_JSON,
      "list past and running syncs, newest first", ABOUT_FILE, command_runs },
    { "files", "CONNECTION | FILE.yaml", 1, 1, TAKES_FILE | OPTION_FAILED | OPTION_JSON,
      "list the files that a connection has seen", ABOUT_FILE, command_files },
    { "requeue", "CONNECTION | FILE.yaml  NAME | --all-failed | --quarantined", 1, 2,
      TAKES_FILE | OPTION_ALL_FAILED | OPTION_QUARANTINED, "have a file loaded again by the next sync",
      "Its attempts count from 0 again. A file that was loaded before replaces its own rows, with \"write_mode: truncate\"\n"
      "all rows; with \"cdc\" its changes are made again, over what came after them.\n\n"
      "With --quarantined, the rows that were set aside in the folder \"quarantine.dir\" are loaded from their sidecars,\n"
      "in which you have corrected \"row\". A sidecar is loaded once, as a file of its own, and then renamed to\n"
      "NAME.loaded; rows that are still bad get a new one.\n\n" ABOUT_FILE,
      command_requeue },
    { "state", "CONNECTION | FILE.yaml  get | set FILE | reset", 2, 3, TAKES_FILE,
      "read, replace or reset a connection's state",
      "The state is the source's own JSON object. \"set\" takes it from FILE (\"-\": standard input), \"reset\" makes it\n"
      "{}. Both are refused while the connection is syncing.\n\n" ABOUT_FILE, command_state },
    { "plan", "CONNECTION | FILE.yaml [--dir DIR]", 1, 1, TAKES_FILE | TAKES_UNRUN_FILE | OPTION_DIR | OPTION_JSON,
      "show what the next sync would do, without doing it",
      "Which files it would load, and the statements that it would execute first: what makes and changes tables and\n"
      "indexes, ready to be pasted. The source and the destination are asked as a sync asks them, and nothing is\n"
      "written anywhere. A program (source type exec) runs until its first row; what rows would change is not known.\n"
      "Exits with 1 where the sync would fail, and says why.\n\n"
      "A FILE.yaml (a path, or a name that ends so) in place of a connection needs no daemon, and need not have been\n"
      "run; --dir lends a folder to one without \"source:\", as for \"wherryctl run\".", command_plan },
    { "check", "[FILE…]", 0, ANY_NUMBER, 0, "check configuration files; needs no daemon",
      "Without FILE, everything in the configuration folder is checked. Exits with 2 where something is wrong.",
      command_check },
    { "run", "FILE.yaml [--dir DIR] [--state-dir DIR]", 1, 1, OPTION_DIR | OPTION_JSON,
      "run one pipeline file once; needs no daemon",
      "What it did is kept in --state-dir, by default one under $XDG_STATE_HOME; \"wherryctl files FILE.yaml\" lists the\n"
      "files that it has seen, \"wherryctl requeue FILE.yaml NAME\" has the next run load one again.", command_run },
    { "draft", "FILE…", 1, ANY_NUMBER, 0, "print a pipeline file for data files; needs no daemon",
      "Names, types and the way the files are written are taken from their beginnings, of all FILEs together. What is\n"
      "not certain is a comment. CSV and NDJSON, also compressed, and Parquet, which says itself what it holds.",
      command_draft },
    { "init", "[DIR]", 0, 1, OPTION_TEMPLATE | OPTION_YES | OPTION_NON_INTERACTIVE,
      "begin a connector: connector.py and what belongs to it",
      "Files that are there already stay as they are, with --force all but connector.py. The project is Fivetran's: it\n"
      "runs there unchanged, too.",
      command_init },
    { "debug", "[DIR]", 0, 1, OPTION_CONFIGURATION | OPTION_STATE | OPTION_PYTHON | OPTION_NAMING | OPTION_WITHOUT_MEANING,
      "run a connector's project once, into files/warehouse.db; needs no daemon",
      "The tables are in the schema \"tester\" of that DuckDB file, the state is files/state.json: the next run goes on\n"
      "from there, \"wherryctl reset\" deletes both. The configuration is configuration.json, where none is named.",
      command_debug },
    { "package", "[DIR]", 0, 1, OPTION_YES | OPTION_NON_INTERACTIVE, "pack what deploy would send into files/code.zip",
      "Left out are hidden files, files/, configuration.json, __pycache__, virtual environments and what .gitignore\n"
      "names.", command_package },
    { "reset", "[DIR]", 0, 1, OPTION_YES | OPTION_NON_INTERACTIVE, "delete what debug made: the state and its tables",
      NULL, command_reset },
    { "deploy", "[DIR]", 0, 1,
      OPTION_CONNECTION | OPTION_DESTINATION | OPTION_CONFIGURATION | OPTION_PYTHON | OPTION_NAMING | OPTION_FREQUENCY |
          OPTION_YES | OPTION_NON_INTERACTIVE | OPTION_JSON | OPTION_WITHOUT_MEANING,
      "make a connector's project a connection of the daemon",
      "DIR holds connector.py. The daemon keeps a copy, builds an environment from requirements.txt and runs it on\n"
      "schedule; a new connection is paused at first. What is not said stays as it was deployed before: configuration,\n"
      "destination, Python, naming, frequency. --destination may be left out where wherry.yaml has one. A sync that runs\n"
      "goes on with the code that it started with.", command_deploy },
    { "undeploy", "CONNECTION", 1, 1, OPTION_YES | OPTION_NON_INTERACTIVE | OPTION_JSON,
      "take a deployed connection away again",
      "Its code, environment and configuration are removed. Its rows and its state stay in the destination: deployed\n"
      "again under the same name it is new, and paused, and goes on from there, unless \"wherryctl state CONNECTION\n"
      "reset\" came before or \"wherryctl sync CONNECTION --full\" comes after. A sync that runs goes on to its end.",
      command_undeploy },
    { "configuration", "CONNECTION [set KEY | unset KEY]", 1, 3, OPTION_JSON | OPTION_OF_FORM,
      "list or change what a deployed connector is configured with",
      "Only names are ever shown. The value of \"set\" comes on standard input, without its last line end.",
      command_configuration },
    { "help", "[COMMAND]", 0, 1, OPTION_MANUAL, "explain wherryctl or one command", NULL, command_help },
    { "version", "", 0, 0, 0, "print the version", NULL, command_version },
    { NULL },
};
/* clang-format on */

const Command *commands_all(void)
{
    return COMMANDS;
}

const Command *command_find(const char *name)
{
    for (size_t i = 0; COMMANDS[i].name; i++)
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    return NULL;
}

const char *command_suggest(const char *name)
{
    const char *names[ELEMENTSOF(COMMANDS)] = { 0 };
    for (size_t i = 0; COMMANDS[i].name; i++)
        names[i] = COMMANDS[i].name;
    return text_suggest(name, names);
}

static void print_options(unsigned bits)
{
    for (const OptionName *option = OPTION_NAMES; option->name; option++) {
        if (!(option->bit & bits))
            continue;
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s", option->name, option->value ? " " : "",
                 option->value ? option->value : "");
        size_t width = text_width(left); /* of characters, not of bytes */
        printf("  %s%*s  %s\n", left, width < 18 ? (int)(18 - width) : 0, "", option->summary);
    }
}

void commands_print_help(const Command *command)
{
    if (command) {
        printf("wherryctl %s%s%s\n\n%s\n", command->name, *command->arguments ? " " : "", command->arguments,
               command->summary);
        if (command->details)
            printf("\n%s\n", command->details);
        puts("\nOptions:");
        print_options(command->options | OPTIONS_OF_ALL);
        return;
    }
    puts("wherryctl COMMAND [ARGUMENT…] [OPTION…]: steers wherryd\n");
    for (size_t i = 0; COMMANDS[i].name; i++)
        printf("  %-13s  %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    puts("\nOptions of every command, before or after it:");
    print_options(OPTIONS_OF_ALL);
    puts("\nExit status: 0 done, 1 the sync or a file in it failed, 2 wrong use or configuration, 3 no daemon.");
    puts("\"wherryctl help COMMAND\" says more about one.");
}

int command_help(const Options *options, char *const *arguments, size_t count)
{
    if (options->given & OPTION_MANUAL) {
        manual_print();
        return EXIT_DONE;
    }
    const Command *command = count > 0 ? command_find(arguments[0]) : NULL;
    if (count > 0 && !command) {
        const char *nearest = command_suggest(arguments[0]);
        if (nearest)
            fprintf(stderr, "wherryctl: unknown command \"%s\"; did you mean \"%s\"?\n", arguments[0], nearest);
        else
            fprintf(stderr, "wherryctl: unknown command \"%s\"; see \"wherryctl help\"\n", arguments[0]);
        return EXIT_WRONG_USE;
    }
    commands_print_help(command);
    return EXIT_DONE;
}

int command_version(const Options *options, char *const *arguments, size_t count)
{
    puts("wherryctl " WHERRY_VERSION);
    return EXIT_DONE;
}
